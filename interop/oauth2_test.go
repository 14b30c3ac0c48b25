package interop

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"

	"github.com/fobauth/fob/entratest"
)

// golang.org/x/oauth2 knows nothing of Entra ID: it is told the endpoints.

func endpoint(emu *entratest.Emulator) oauth2.Endpoint {
	base := authority(emu) + "/oauth2/v2.0/"
	return oauth2.Endpoint{AuthURL: base + "authorize", TokenURL: base + "token", DeviceAuthURL: base + "devicecode"}
}

func oauth2Context(t *testing.T, client *http.Client) context.Context {
	return context.WithValue(t.Context(), oauth2.HTTPClient, client)
}

func TestOAuth2GetsAnAppToken(t *testing.T) {
	t.Parallel()
	for _, style := range []struct {
		name string
		oauth2.AuthStyle
	}{{"with the secret in the body", oauth2.AuthStyleInParams}, {"with HTTP Basic", oauth2.AuthStyleInHeader}, {"by trying which", oauth2.AuthStyleAutoDetect}} {
		t.Run(style.name, func(t *testing.T) {
			t.Parallel()
			emu := entratest.New(t)
			config := clientcredentials.Config{ClientID: entratest.DaemonClientID, ClientSecret: entratest.DaemonSecret,
				TokenURL: endpoint(emu).TokenURL, Scopes: []string{graphDefault}, AuthStyle: style.AuthStyle}
			token, err := config.Token(oauth2Context(t, emu.Client()))
			if err != nil {
				t.Fatal(err)
			}
			if token.TokenType != "Bearer" || !token.Valid() || token.Expiry.IsZero() {
				t.Errorf("token type %q, valid until %v", token.TokenType, token.Expiry)
			}
			wantGraph(t, emu, token.AccessToken, "/v1.0/users")
		})
	}
}

func TestOAuth2TellsWhyItWasRefused(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	config := clientcredentials.Config{ClientID: entratest.DaemonClientID, ClientSecret: "guess", TokenURL: endpoint(emu).TokenURL,
		Scopes: []string{graphDefault}, AuthStyle: oauth2.AuthStyleInParams}
	_, err := config.Token(oauth2Context(t, emu.Client()))
	wantRefusal(t, err, `"invalid_client"`, "AADSTS7000215")
}

func TestOAuth2SignsInWithADeviceCode(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t, quick)
	ctx := oauth2Context(t, emu.Client())
	config := oauth2.Config{ClientID: entratest.CLIClientID, Endpoint: endpoint(emu), Scopes: []string{userRead, "offline_access"}}
	code, err := config.DeviceAuth(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if code.Interval != 1 || code.Expiry.IsZero() {
		t.Errorf("interval %d, expiry %v", code.Interval, code.Expiry)
	}
	if err := emu.Approve(code.UserCode, entratest.BenUPN); err != nil {
		t.Fatal(err)
	}
	token, err := config.DeviceAccessToken(ctx, code)
	if err != nil {
		t.Fatal(err)
	}
	if token.RefreshToken == "" {
		t.Error("no refresh token, although offline_access was asked for")
	}
	wantGraph(t, emu, token.AccessToken, "/v1.0/me")
}

func TestOAuth2WaitsForADeviceCode(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t, quick)
	ctx := oauth2Context(t, approving(t, emu))
	config := oauth2.Config{ClientID: entratest.CLIClientID, Endpoint: endpoint(emu), Scopes: []string{userRead}}
	code, err := config.DeviceAuth(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := config.DeviceAccessToken(ctx, code); err != nil {
		t.Fatal(err)
	}
	wantExchanges(t, emu, 2)
}

// signIn takes ben through the browser and redeems the code.
func signIn(t *testing.T, emu *entratest.Emulator, config oauth2.Config, options ...oauth2.AuthCodeOption) *oauth2.Token {
	t.Helper()
	app := newApp(t)
	config.RedirectURL = app.redirect
	verifier := oauth2.GenerateVerifier()
	address := config.AuthCodeURL("state-1", append(options, oauth2.S256ChallengeOption(verifier))...)
	got := app.answer(t, newPerson(emu.Client(), entratest.BenUPN, entratest.BenPassword), address)
	if got.Get("state") != "state-1" {
		t.Errorf("state %q came back, want state-1", got.Get("state"))
	}
	token, err := config.Exchange(oauth2Context(t, emu.Client()), got.Get("code"), oauth2.VerifierOption(verifier))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestOAuth2RedeemsACodeWithPKCE(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	token := signIn(t, emu, oauth2.Config{ClientID: entratest.CLIClientID, Endpoint: endpoint(emu), Scopes: []string{userRead}})
	wantGraph(t, emu, token.AccessToken, "/v1.0/me")
}

func TestOAuth2RedeemsACodeOfAWebAppWithPKCE(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	token := signIn(t, emu, oauth2.Config{ClientID: entratest.WebClientID, ClientSecret: entratest.WebSecret, Endpoint: endpoint(emu), Scopes: []string{userRead}})
	wantGraph(t, emu, token.AccessToken, "/v1.0/me")
}

func TestOAuth2CannotRedeemACodeTwice(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	app := newApp(t)
	config := oauth2.Config{ClientID: entratest.CLIClientID, Endpoint: endpoint(emu), Scopes: []string{userRead}, RedirectURL: app.redirect}
	verifier := oauth2.GenerateVerifier()
	code := app.answer(t, newPerson(emu.Client(), entratest.BenUPN, entratest.BenPassword),
		config.AuthCodeURL("s", oauth2.S256ChallengeOption(verifier))).Get("code")
	ctx := oauth2Context(t, emu.Client())
	if _, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier)); err != nil {
		t.Fatal(err)
	}
	_, err := config.Exchange(ctx, code, oauth2.VerifierOption(verifier))
	wantRefusal(t, err, "invalid_grant", "AADSTS54005")
}

func TestOAuth2RefreshesAToken(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	config := oauth2.Config{ClientID: entratest.CLIClientID, Endpoint: endpoint(emu), Scopes: []string{userRead, "offline_access"}}
	first := signIn(t, emu, config)
	second, err := config.TokenSource(oauth2Context(t, emu.Client()), &oauth2.Token{RefreshToken: first.RefreshToken}).Token()
	if err != nil {
		t.Fatal(err)
	}
	if second.RefreshToken == "" || second.RefreshToken == first.RefreshToken {
		t.Error("the refresh token did not change")
	}
	wantGraph(t, emu, second.AccessToken, "/v1.0/me")
}

func TestOAuth2TellsThatAPersonDeclined(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	app := newApp(t)
	config := oauth2.Config{ClientID: entratest.CLIClientID, Endpoint: endpoint(emu), Scopes: []string{"https://graph.microsoft.com/Calendars.Read"}, RedirectURL: app.redirect}
	who := newPerson(emu.Client(), entratest.BenUPN, entratest.BenPassword)
	who.declines = true
	if err := who.visit(config.AuthCodeURL("s", oauth2.S256ChallengeOption(oauth2.GenerateVerifier()))); err != nil {
		t.Fatal(err)
	}
	if got := <-app.got; got.Get("error") != "access_denied" || got.Get("state") != "s" {
		t.Errorf("the app was told %v, want access_denied", url.Values(got))
	}
}
