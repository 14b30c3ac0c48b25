package cli

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/aadsts"
	"github.com/fobauth/fob/entratest"
)

func (inv *invocation) tourCommand() *cobra.Command {
	var interactive bool
	cmd := &cobra.Command{
		Use: "tour [flags]", Short: "Walk through every flow, shown and explained",
		Long: "Starts the emulator in this process and walks through every way to get a token:\n" +
			"what is sent over the wire, what comes back, what the token says, and why. Then\n" +
			"the four errors that everybody meets, and three calls of Microsoft Graph. All\n" +
			"of it is real HTTPS, on this machine alone; nothing is kept.",
		Example: "fob tour\nfob tour --interactive    # you sign in, with a browser\nfob tour | less",
	}
	cmd.Flags().BoolVar(&interactive, "interactive", false, "wait for you at the device page")
	return inv.define(cmd, func(cmd *cobra.Command, _ []string) error {
		inv.watch()
		e, err := entratest.Start(entratest.Config{DeviceInterval: time.Second})
		if err != nil {
			return err
		}
		defer e.Close()
		t := &tour{inv: inv, emulator: e, interactive: interactive, teller: newTeller(inv)}
		t.recorder = &recorder{base: e.Client().Transport, tenant: e.TenantID()}
		return t.walk(cmd.Context())
	})
}

// tour is one walk through the flows.
type tour struct {
	*teller
	inv         *invocation
	emulator    *entratest.Emulator
	recorder    *recorder
	interactive bool

	person   *fob.Client // the public client that a user signs in to
	user     *fob.Token  // the user's token, with refresh and ID token
	app      *fob.Token  // a token of the app itself
	username string
	keys     []exchange // how the ID token was checked
}

const (
	tourScope  = "https://graph.microsoft.com/.default"
	tourChosen = "User.Read User.ReadBasic.All Group.Read.All"
)

func (t *tour) walk(ctx context.Context) error {
	t.title("fob tour", "every way to a Microsoft Entra ID token, over real HTTPS, on this machine alone")
	t.prose("An emulator of Entra ID and Microsoft Graph is running in this process at " + t.emulator.URL() + ". Its tenant {tenant} is " +
		t.emulator.TenantID() + " (" + entratest.TenantDomain + "). What is sent is shown with " + t.paint(styleGood, "→") + ", what comes back with " +
		t.paint(styleName, "←") + "; secrets are taken out before anything is shown.")
	for _, step := range []func(context.Context) error{
		t.deviceCode, t.browser, t.clientSecret, t.certificate, t.refreshToken, t.idToken, t.header,
		t.invalidScope, t.invalidClient, t.expiredToken, t.redirectMismatch, t.homework,
	} {
		if err := step(ctx); err != nil {
			return err
		}
		if t.err != nil { // nobody reads any more
			return t.err
		}
	}
	t.summary()
	return t.err
}

// client makes a client of the emulator that the recorder listens to.
func (t *tour) client(id string, credential fob.Credential) *fob.Client {
	return &fob.Client{
		Authority: fob.Authority{Host: t.emulator.URL(), Tenant: t.emulator.TenantID()}, ID: id, Credential: credential,
		HTTP: &http.Client{Transport: t.recorder}, Now: t.emulator.Now,
	}
}

func (t *tour) deviceCode(ctx context.Context) error {
	t.chapter("Device code: a person signs in on another screen")
	t.prose("For scripts on machines without a browser. The program asks for a code and shows it; the person enters it on a phone; the program polls. " +
		"It is a public client: it has no secret, so \"Allow public client flows\" must be on.")
	t.person = t.client(entratest.CLIClientID, nil)
	t.person.Flow = fob.DeviceCode{Prompt: func(_ context.Context, p fob.DeviceCodePrompt) error {
		t.show(t.recorder.take()...)
		if t.interactive {
			return t.waitForReader(p)
		}
		t.event("Ada opens the page on her phone, types " + p.UserCode + ", and signs in.")
		return t.emulator.Approve(p.UserCode, entratest.AdaUPN)
	}}
	token, err := t.person.SignIn(ctx, fob.Request{Scopes: strings.Fields(tourChosen)})
	if err != nil {
		return err
	}
	t.user, t.username = token, token.Account.Username
	var polls []exchange
	for _, x := range t.recorder.take() {
		if x.method == http.MethodGet {
			t.keys = append(t.keys, x)
		} else {
			polls = append(polls, x)
		}
	}
	t.prose("The program asks every second here (every 5 s at Entra) until the answer is no longer authorization_pending.")
	t.show(polls[len(polls)-1])
	t.says("The access token says", claimsOf(token.Access), "aud", "scp", "name", "appid", "tid", "exp")
	return nil
}

func (t *tour) waitForReader(p fob.DeviceCodePrompt) error {
	caFile, err := t.emulator.CAFile()
	if err != nil {
		return err
	}
	t.event("Your turn: open " + p.VerificationURI + " and enter " + t.paint("1;7", " "+p.UserCode+" "))
	t.prose("Sign in as " + entratest.AdaUPN + " with " + entratest.AdaPassword + ". The browser warns, because the emulator's certificate authority is its own and " +
		"installed nowhere: go on past the warning (Advanced, then Proceed), or let the browser trust " + caFile + " until the tour ends. Ctrl-C gives up.")
	return t.err
}

func (t *tour) browser(ctx context.Context) error {
	t.chapter("Authorization code: a person signs in with the browser of this machine")
	t.prose("The program opens the sign-in page and listens on a port of this machine for the browser to come back with a code. PKCE ties the code to this " +
		"program: the page gets a hash (code_challenge), and only who knows what was hashed (code_verifier) can redeem the code.")
	c := t.client(entratest.CLIClientID, nil)
	c.Flow = fob.AuthorizationCode{Open: func(ctx context.Context, page string) error {
		u, err := url.Parse(page)
		if err != nil {
			return err
		}
		t.show(t.recorder.describe(http.MethodGet, u))
		t.event("Ada signs in on that page; the browser comes back with the code.")
		return t.emulator.Browse(ctx, page, entratest.AdaUPN)
	}}
	token, err := c.SignIn(ctx, fob.Request{Scopes: strings.Fields(tourChosen)})
	if err != nil {
		return err
	}
	for _, x := range t.recorder.take() {
		if x.method == http.MethodPost {
			t.show(x)
		}
	}
	t.says("The access token says", claimsOf(token.Access), "aud", "scp", "name", "appid")
	return nil
}

func (t *tour) clientSecret(ctx context.Context) error {
	t.chapter("Client secret: an app signs in as itself")
	t.prose("For jobs without people. The app sends its secret and asks for everything that an administrator granted it: the scope is <resource>/.default, never a single permission.")
	c := t.client(entratest.DaemonClientID, fob.ClientSecret{Secret: fob.NewSecret(entratest.DaemonSecret)})
	token, err := c.Token(ctx, fob.Request{Scopes: []string{tourScope}})
	if err != nil {
		return err
	}
	t.app = token
	t.show(t.recorder.take()...)
	t.says("The access token says", claimsOf(token.Access), "aud", "roles", "idtyp", "appid", "appidacr", "exp")
	t.prose("It has roles in place of scp, and nobody's name: it speaks for the app. There is no refresh token, because the app can ask again at any time.")
	return nil
}

func (t *tour) certificate(ctx context.Context) error {
	t.chapter("Certificate: the same, without a secret that travels")
	t.prose("The app signs a short-lived assertion with its private key. Entra has the certificate and checks the signature; the key never leaves the machine.")
	credential, err := newCertificate(t.emulator.Now())
	if err != nil {
		return err
	}
	if err := t.emulator.AddCertificate(entratest.DaemonClientID, credential.Leaf); err != nil {
		return err
	}
	t.event("A certificate is made (RSA, 2048 bits) and registered with the app.")
	c := t.client(entratest.DaemonClientID, credential)
	assertion, err := credential.Assertion(c.ID, c.Authority.TokenEndpoint(), t.emulator.Now())
	if err != nil {
		return err
	}
	head, body := partsOf(assertion)
	t.says("The assertion's header", head, "alg", "typ", "x5t#S256")
	t.says("The assertion's claims", body, "aud", "iss", "sub", "jti", "nbf", "exp")
	if _, err := c.Token(ctx, fob.Request{Scopes: []string{tourScope}, Fresh: true}); err != nil {
		return err
	}
	t.show(t.recorder.take()...)
	t.prose("Older scripts sign with RS256 and the SHA-1 thumbprint x5t: fob does so with --assertion-algorithm RS256.")
	return nil
}

// newCertificate makes a certificate as one would register it.
func newCertificate(now time.Time) (*fob.Certificate, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(now.Unix()), Subject: pkix.Name{CommonName: "fob tour"},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	return &fob.Certificate{Leaf: leaf, Key: key}, err
}

func (t *tour) refreshToken(ctx context.Context) error {
	t.chapter("Refresh token: a new access token, without the person")
	t.prose("offline_access brought a refresh token along with the sign-in. It is exchanged for a new access token, also for another API of the same tenant, " +
		"and for a new refresh token: keep the new one, the old one ends some day.")
	c := t.client(entratest.CLIClientID, nil)
	token, err := fob.RefreshToken{Token: t.user.Refresh}.Acquire(ctx, c, fob.Request{Scopes: strings.Fields(tourChosen)})
	if err != nil {
		return err
	}
	t.show(t.recorder.take()...)
	id := t.user.ID
	t.user = token
	if t.user.ID.IsZero() {
		t.user.ID = id
	}
	return nil
}

func (t *tour) idToken(ctx context.Context) error {
	t.chapter("ID token: who signed in")
	t.prose("It is for the program, not for an API: never send it to one. Before it is believed its signature is checked with a key that Entra publishes, " +
		"and its issuer, audience and times.")
	claims, err := t.person.VerifyIDToken(ctx, t.user.ID, "")
	if err != nil {
		return err
	}
	t.show(append(t.keys, t.recorder.take()...)...)
	t.says("The ID token says", claimsOf(t.user.ID), "iss", "aud", "preferred_username", "name", "oid", "tid", "exp")
	t.good("signature, issuer, audience and times are right: " + claims.PreferredUsername + " signed in")
	return nil
}

func (t *tour) header(ctx context.Context) error {
	t.chapter("The Authorization header")
	t.prose("Every API call carries the access token in one header. In PowerShell:")
	t.code(`$header = @{ Authorization = 'Bearer ` + short(t.app.Access.Reveal()) + `' }`)
	t.code(`Invoke-RestMethod ` + t.emulator.GraphURL() + `/v1.0/users -Headers $header`)
	t.prose("That is what \"fob header -o powershell\" prints. The same call, made here with the app's token:")
	return t.call(ctx, t.app, "/v1.0/users", http.StatusOK)
}

func (t *tour) invalidScope(ctx context.Context) error {
	t.chapter("Gotcha 1: invalid scope")
	t.prose("An app asks for a single permission, and an old script for none at all.")
	for _, scope := range []string{"https://graph.microsoft.com/User.Read", ""} {
		if err := t.post(ctx, url.Values{"grant_type": {"client_credentials"}, "client_id": {entratest.DaemonClientID},
			"client_secret": {entratest.DaemonSecret}, "scope": {scope}}); err != nil {
			return err
		}
	}
	t.guide("invalid scope")
	return nil
}

func (t *tour) invalidClient(ctx context.Context) error {
	t.chapter("Gotcha 2: invalid client")
	t.prose("The portal shows a secret's value and its id side by side. Here the id was copied.")
	if err := t.post(ctx, url.Values{"grant_type": {"client_credentials"}, "client_id": {entratest.DaemonClientID},
		"client_secret": {entratest.DaemonSecretID}, "scope": {tourScope}}); err != nil {
		return err
	}
	t.guide("invalid client")
	return nil
}

func (t *tour) expiredToken(ctx context.Context) error {
	t.chapter("Gotcha 3: expired token")
	t.prose("An access token lives for about an hour. The API refuses it then with an error of its own, which is no AADSTS code.")
	t.emulator.Advance(2 * time.Hour)
	t.event("The emulator's clock moves on by two hours.")
	if err := t.call(ctx, t.user, "/v1.0/me", http.StatusUnauthorized); err != nil {
		return err
	}
	t.prose("The refresh token is still good, so nobody has to sign in:")
	c := t.client(entratest.CLIClientID, nil)
	token, err := fob.RefreshToken{Token: t.user.Refresh}.Acquire(ctx, c, fob.Request{Scopes: strings.Fields(tourChosen)})
	if err != nil {
		return err
	}
	t.showBriefly(t.recorder.take()...)
	t.user = token
	t.guide("expired token")
	return nil
}

func (t *tour) redirectMismatch(ctx context.Context) error {
	t.chapter("Gotcha 4: redirect URI mismatch")
	t.prose("A browser sign-in names the address to come back to. This one is not registered, so Entra shows the error to the person and redirects nowhere.")
	query := url.Values{"client_id": {entratest.WebClientID}, "response_type": {"code"}, "redirect_uri": {"https://localhost/wrong"}, "scope": {"openid User.Read"}}
	if err := t.get(ctx, t.emulator.URL()+"/"+t.emulator.TenantID()+"/oauth2/v2.0/authorize?"+query.Encode(), nil); err != nil {
		return err
	}
	t.show(t.recorder.take()...)
	t.guide("redirect")
	return nil
}

func (t *tour) homework(ctx context.Context) error {
	t.chapter("Three calls with one token")
	t.prose("What all of this is for: " + t.username + "'s token, renewed a moment ago, in three calls of Microsoft Graph.")
	for _, path := range []string{"/v1.0/me", "/v1.0/users", "/v1.0/me/memberOf"} {
		if err := t.call(ctx, t.user, path, http.StatusOK); err != nil {
			return err
		}
	}
	return nil
}

func (t *tour) summary() {
	t.chapter("What now")
	t.good(fmt.Sprintf("every flow, four errors, %d requests, in %.1f s", t.recorder.count, time.Since(t.started).Seconds()))
	t.prose("The same with your own hands, still with no tenant:")
	t.code("fob emulator                        # in another terminal")
	t.code("fob login --emulator                # as " + entratest.AdaUPN + ", " + entratest.AdaPassword)
	t.code("fob get /me --emulator")
	t.prose("With your tenant, after you registered an app:")
	t.code("fob login --tenant TENANT --client-id CLIENT_ID")
	t.code("fob get /me                         # or: fob token, fob header")
	t.prose("And when Entra says no: fob explain AADSTS50011, or any other code, or a topic such as \"invalid scope\".")
}

// call makes one API call and shows it.
func (t *tour) call(ctx context.Context, token *fob.Token, path string, want int) error {
	if err := t.get(ctx, t.emulator.GraphURL()+path, token); err != nil {
		return err
	}
	made := t.recorder.take()
	t.show(made...)
	if got := made[len(made)-1].status; got != want {
		return fmt.Errorf("GET %s answered %d where the tour expects %d", path, got, want)
	}
	return nil
}

func (t *tour) get(ctx context.Context, address string, token *fob.Token) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	if token != nil {
		r.Header.Set("Authorization", token.Type+" "+token.Access.Reveal())
	}
	return t.send(r)
}

// post sends a form as a script would, with its mistakes.
func (t *tour) post(ctx context.Context, form url.Values) error {
	address := fob.Authority{Host: t.emulator.URL(), Tenant: t.emulator.TenantID()}.TokenEndpoint()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if err := t.send(r); err != nil {
		return err
	}
	t.show(t.recorder.take()...)
	return nil
}

func (t *tour) send(r *http.Request) error {
	resp, err := (&http.Client{Transport: t.recorder, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(r)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// guide gives the advice on one of the four gotchas.
func (t *tour) guide(topic string) {
	if g, ok := aadsts.Topic(topic); ok {
		t.advice("cause", g.Cause)
		t.advice("fix", g.Fix)
	}
}

// claimsOf decodes a token for the reader's eyes, without checking anything.
func claimsOf(token fob.Secret) map[string]any {
	_, claims := partsOf(token)
	return claims
}

func partsOf(token fob.Secret) (header, claims map[string]any) {
	parts := strings.Split(token.Reveal(), ".")
	if len(parts) != 3 {
		return nil, nil
	}
	for i, into := range []*map[string]any{&header, &claims} {
		if text, err := base64.RawURLEncoding.DecodeString(parts[i]); err == nil {
			_ = json.Unmarshal(text, into) // what cannot be read is not shown
		}
	}
	return header, claims
}
