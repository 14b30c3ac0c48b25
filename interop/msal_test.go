package interop

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/public"

	"github.com/fobauth/fob/entratest"
)

// MSAL for Go takes any https authority, if it is not to be validated at
// Microsoft's.

// msalApp returns MSAL's client for an app with a credential.
func msalApp(t *testing.T, emu *entratest.Emulator, clientID string, credential confidential.Credential, options ...confidential.Option) confidential.Client {
	t.Helper()
	client, err := confidential.New(authority(emu), clientID, credential, slices.Concat([]confidential.Option{
		confidential.WithHTTPClient(emu.Client()), confidential.WithInstanceDiscovery(false)}, options)...)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func msalSecret(t *testing.T, secret string) confidential.Credential {
	t.Helper()
	credential, err := confidential.NewCredFromSecret(secret)
	if err != nil {
		t.Fatal(err)
	}
	return credential
}

// msalUser returns MSAL's client for the app that people sign in to.
func msalUser(t *testing.T, emu *entratest.Emulator, options ...public.Option) public.Client {
	t.Helper()
	client, err := public.New(entratest.CLIClientID, slices.Concat([]public.Option{public.WithAuthority(authority(emu)),
		public.WithHTTPClient(emu.Client()), public.WithInstanceDiscovery(false)}, options)...)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// msalPassword signs ben in with his password.
func msalPassword(t *testing.T, client public.Client, scopes ...string) public.AuthResult {
	t.Helper()
	got, err := client.AcquireTokenByUsernamePassword(t.Context(), scopes, entratest.BenUPN, entratest.BenPassword)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestMSALSignsInWithASecret(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	got, err := msalApp(t, emu, entratest.DaemonClientID, msalSecret(t, entratest.DaemonSecret)).AcquireTokenByCredential(t.Context(), []string{graphDefault})
	if err != nil {
		t.Fatal(err)
	}
	wantClaims(t, got.AccessToken, "tid", entratest.TenantID, "appid", entratest.DaemonClientID, "idtyp", "app")
	wantGraph(t, emu, got.AccessToken, "/v1.0/users")
}

func TestMSALTellsThatASecretIsWrong(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	_, err := msalApp(t, emu, entratest.DaemonClientID, msalSecret(t, entratest.DaemonSecretID)).AcquireTokenByCredential(t.Context(), []string{graphDefault})
	wantRefusal(t, err, "401", "invalid_client", "AADSTS7000215: Invalid client secret provided.", "Trace ID:", "Correlation ID:")
}

func TestMSALSignsInWithACertificate(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	c := registered(t, emu, entratest.DaemonClientID)
	credential, err := confidential.NewCredFromCert([]*x509.Certificate{c.leaf}, c.key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := msalApp(t, emu, entratest.DaemonClientID, credential).AcquireTokenByCredential(t.Context(), []string{graphDefault})
	if err != nil {
		t.Fatal(err)
	}
	wantClaims(t, got.AccessToken, "appidacr", "2")
	wantGraph(t, emu, got.AccessToken, "/v1.0/users")
}

func TestMSALSignsInWithACertificateAndItsChain(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	c := registered(t, emu, entratest.DaemonClientID)
	credential, err := confidential.NewCredFromCert([]*x509.Certificate{c.leaf}, c.key)
	if err != nil {
		t.Fatal(err)
	}
	got, err := msalApp(t, emu, entratest.DaemonClientID, credential, confidential.WithX5C()).AcquireTokenByCredential(t.Context(), []string{graphDefault})
	if err != nil {
		t.Fatal(err)
	}
	wantGraph(t, emu, got.AccessToken, "/v1.0/users")
}

func TestMSALTellsThatACertificateIsNotRegistered(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	c := registered(t, emu)
	credential, err := confidential.NewCredFromCert([]*x509.Certificate{c.leaf}, c.key)
	if err != nil {
		t.Fatal(err)
	}
	_, err = msalApp(t, emu, entratest.DaemonClientID, credential).AcquireTokenByCredential(t.Context(), []string{graphDefault})
	wantRefusal(t, err, "invalid_client", "AADSTS700027")
}

func TestMSALSignsInWithTheTokenOfAnotherIssuer(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	other, app := federated(t, emu)
	credential := confidential.NewCredFromAssertionCallback(func(_ context.Context, o confidential.AssertionRequestOptions) (string, error) {
		if o.ClientID != app.ClientID || !strings.HasPrefix(o.TokenEndpoint, authority(emu)) {
			t.Errorf("the callback was told client %s and token endpoint %s", o.ClientID, o.TokenEndpoint)
		}
		return other.token(workload)
	})
	got, err := msalApp(t, emu, app.ClientID, credential).AcquireTokenByCredential(t.Context(), []string{graphDefault})
	if err != nil {
		t.Fatal(err)
	}
	wantClaims(t, got.AccessToken, "appid", app.ClientID)
	wantGraph(t, emu, got.AccessToken, "/v1.0/users")
}

func TestMSALTellsThatAnotherIssuersTokenIsForAnotherWorkload(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	other, app := federated(t, emu)
	credential := confidential.NewCredFromAssertionCallback(func(context.Context, confidential.AssertionRequestOptions) (string, error) {
		return other.token("system:serviceaccount:jobs:stranger")
	})
	_, err := msalApp(t, emu, app.ClientID, credential).AcquireTokenByCredential(t.Context(), []string{graphDefault})
	wantRefusal(t, err, "invalid_client", "AADSTS700213")
}

func TestMSALKeepsAnAppTokenInItsCache(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	client := msalApp(t, emu, entratest.DaemonClientID, msalSecret(t, entratest.DaemonSecret))
	first, err := client.AcquireTokenByCredential(t.Context(), []string{graphDefault})
	if err != nil {
		t.Fatal(err)
	}
	emu.ClearRequests()
	second, err := client.AcquireTokenByCredential(t.Context(), []string{graphDefault})
	if err != nil {
		t.Fatal(err)
	}
	if second.AccessToken != first.AccessToken {
		t.Error("the second token is another one")
	}
	if got := emu.Requests(); len(got) != 0 {
		t.Errorf("%d requests for a token that was in the cache", len(got))
	}
}

func TestMSALGetsANewAppTokenForAClaimsChallenge(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	client := msalApp(t, emu, entratest.DaemonClientID, msalSecret(t, entratest.DaemonSecret), confidential.WithClientCapabilities([]string{"cp1"}))
	first, err := client.AcquireTokenByCredential(t.Context(), []string{graphDefault})
	if err != nil {
		t.Fatal(err)
	}
	second, err := client.AcquireTokenByCredential(t.Context(), []string{graphDefault},
		confidential.WithClaims(`{"access_token":{"nbf":{"essential":true,"value":"1700000000"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if second.AccessToken == first.AccessToken {
		t.Error("the challenge was answered with the token that was challenged")
	}
	for _, token := range []string{first.AccessToken, second.AccessToken} {
		if got, _ := claimsOf(t, token)["xms_cc"].([]any); !slices.Contains(got, any("CP1")) {
			t.Errorf("xms_cc is %v, want CP1 in it", got)
		}
	}
}

func TestMSALActsOnBehalfOfAUser(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	user := msalPassword(t, msalUser(t, emu), apiScope)
	wantClaims(t, user.AccessToken, "aud", entratest.APIClientID, "scp", "access_as_user")

	api := msalApp(t, emu, entratest.APIClientID, msalSecret(t, entratest.APISecret))
	got, err := api.AcquireTokenOnBehalfOf(t.Context(), user.AccessToken, []string{userRead})
	if err != nil {
		t.Fatal(err)
	}
	wantClaims(t, got.AccessToken, "appid", entratest.APIClientID, "oid", entratest.BenID)
	if me := wantGraph(t, emu, got.AccessToken, "/v1.0/me"); me["id"] != entratest.BenID {
		t.Errorf("/me is %v, want ben", me["id"])
	}
}

func TestMSALKeepsATokenOnBehalfOfAUserInItsCache(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	user := msalPassword(t, msalUser(t, emu), apiScope)
	api := msalApp(t, emu, entratest.APIClientID, msalSecret(t, entratest.APISecret))
	first, err := api.AcquireTokenOnBehalfOf(t.Context(), user.AccessToken, []string{userRead})
	if err != nil {
		t.Fatal(err)
	}
	emu.ClearRequests()
	second, err := api.AcquireTokenOnBehalfOf(t.Context(), user.AccessToken, []string{userRead})
	if err != nil {
		t.Fatal(err)
	}
	if second.AccessToken != first.AccessToken {
		t.Error("the second token is another one")
	}
	wantExchanges(t, emu, 0)
}

func TestMSALRedeemsACodeOfAWebApp(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	client := msalApp(t, emu, entratest.WebClientID, msalSecret(t, entratest.WebSecret))
	app := newApp(t)
	address, err := client.AuthCodeURL(t.Context(), entratest.WebClientID, app.redirect, []string{userRead})
	if err != nil {
		t.Fatal(err)
	}
	const verifier = "a-verifier-that-has-at-least-forty-three-characters"
	sum := sha256.Sum256([]byte(verifier))
	address += "&" + url.Values{"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"}}.Encode()
	code := app.answer(t, newPerson(emu.Client(), entratest.BenUPN, entratest.BenPassword), address).Get("code")

	got, err := client.AcquireTokenByAuthCode(t.Context(), code, app.redirect, []string{userRead}, confidential.WithChallenge(verifier))
	if err != nil {
		t.Fatal(err)
	}
	if got.Account.PreferredUsername != entratest.BenUPN {
		t.Errorf("the account is %q, want ben's", got.Account.PreferredUsername)
	}
	wantGraph(t, emu, got.AccessToken, "/v1.0/me")
}

func TestMSALTellsThatACodeVerifierIsWrong(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	client := msalApp(t, emu, entratest.WebClientID, msalSecret(t, entratest.WebSecret))
	app := newApp(t)
	address, err := client.AuthCodeURL(t.Context(), entratest.WebClientID, app.redirect, []string{userRead})
	if err != nil {
		t.Fatal(err)
	}
	address += "&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"
	code := app.answer(t, newPerson(emu.Client(), entratest.BenUPN, entratest.BenPassword), address).Get("code")
	_, err = client.AcquireTokenByAuthCode(t.Context(), code, app.redirect, []string{userRead},
		confidential.WithChallenge("another-verifier-of-at-least-forty-three-characters"))
	wantRefusal(t, err, "invalid_grant", "AADSTS501481")
}

func TestMSALSignsInWithADeviceCode(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	code, err := msalUser(t, emu, public.WithHTTPClient(approving(t, emu))).AcquireTokenByDeviceCode(t.Context(), []string{userRead})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(code.Result.Message, code.Result.UserCode) || !strings.Contains(code.Result.Message, code.Result.VerificationURL) {
		t.Errorf("message %q names not both %q and %q", code.Result.Message, code.Result.VerificationURL, code.Result.UserCode)
	}
	got, err := code.AuthenticationResult(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got.Account.HomeAccountID != entratest.BenID+"."+entratest.TenantID {
		t.Errorf("home account %q, want ben's", got.Account.HomeAccountID)
	}
	if polls := asked(emu, "/token"); len(polls) < 2 {
		t.Errorf("%d polls: MSAL never heard that it must wait", len(polls))
	}
	wantGraph(t, emu, got.AccessToken, "/v1.0/me")
}

func TestMSALTellsThatADeviceCodeWasDeclined(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	code, err := msalUser(t, emu).AcquireTokenByDeviceCode(t.Context(), []string{userRead})
	if err != nil {
		t.Fatal(err)
	}
	if err := emu.Deny(code.Result.UserCode); err != nil {
		t.Fatal(err)
	}
	_, err = code.AuthenticationResult(t.Context())
	wantRefusal(t, err, "authorization_declined")
}

func TestMSALSignsInWithABrowserAndAFormPost(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	who := newPerson(emu.Client(), entratest.BenUPN, entratest.BenPassword)
	got, err := msalUser(t, emu).AcquireTokenInteractive(t.Context(), []string{userRead}, public.WithOpenURL(who.visit))
	if err != nil {
		t.Fatal(err)
	}
	if got.IDToken.PreferredUsername != entratest.BenUPN || got.IDToken.Name != "Ben Ostrow" {
		t.Errorf("the ID token is of %q (%q), want ben", got.IDToken.PreferredUsername, got.IDToken.Name)
	}
	authorize := asked(emu, "/authorize")
	if len(authorize) == 0 || authorize[0].Query.Get("response_mode") != "form_post" || authorize[0].Query.Get("code_challenge_method") != "S256" {
		t.Errorf("MSAL asked %v, want form_post and PKCE", authorize)
	}
	wantGraph(t, emu, got.AccessToken, "/v1.0/me")
}

func TestMSALsUserPicksAnAccountTheSecondTime(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	client := msalUser(t, emu)
	who := newPerson(emu.Client(), entratest.BenUPN, entratest.BenPassword)
	if _, err := client.AcquireTokenInteractive(t.Context(), []string{userRead}, public.WithOpenURL(who.visit)); err != nil {
		t.Fatal(err)
	}
	who.password, who.pages = "forgotten", nil
	got, err := client.AcquireTokenInteractive(t.Context(), []string{userRead}, public.WithOpenURL(who.visit))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(who.pages[0], "Pick an account") {
		t.Errorf("ben saw %q, want to pick an account first", who.pages)
	}
	wantGraph(t, emu, got.AccessToken, "/v1.0/me")
}

func TestMSALAsksAPersonForConsentInTheBrowser(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	who := newPerson(emu.Client(), entratest.BenUPN, entratest.BenPassword)
	got, err := msalUser(t, emu).AcquireTokenInteractive(t.Context(), []string{"https://graph.microsoft.com/Calendars.Read"}, public.WithOpenURL(who.visit))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(who.pages, func(title string) bool { return strings.HasPrefix(title, "Permissions requested") }) {
		t.Errorf("ben saw %q, and nothing asked for his consent", who.pages)
	}
	if !slices.Contains(strings.Fields(claimsOf(t, got.AccessToken)["scp"].(string)), "Calendars.Read") {
		t.Errorf("scp is %v, want Calendars.Read in it", claimsOf(t, got.AccessToken)["scp"])
	}
}

func TestMSALTellsThatTheBrowserSentAWrongRedirect(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	app, err := emu.AddApp(entratest.App{Name: "elsewhere", Public: true, NativeRedirects: []string{"myapp://elsewhere"}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := public.New(app.ClientID, public.WithAuthority(authority(emu)), public.WithHTTPClient(emu.Client()), public.WithInstanceDiscovery(false))
	if err != nil {
		t.Fatal(err)
	}
	who := newPerson(emu.Client(), entratest.BenUPN, entratest.BenPassword)
	_, err = client.AcquireTokenInteractive(t.Context(), []string{userRead}, public.WithOpenURL(who.visit))
	wantRefusal(t, err, "AADSTS50011")
}

func TestMSALRenewsAUserTokenInSilence(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t, short)
	client := msalUser(t, emu)
	first := msalPassword(t, client, userRead)
	emu.ClearRequests()
	second, err := client.AcquireTokenSilent(t.Context(), []string{userRead}, public.WithSilentAccount(first.Account))
	if err != nil {
		t.Fatal(err)
	}
	if second.AccessToken == first.AccessToken {
		t.Error("the token that ran out came back")
	}
	if got := asked(emu, "/token"); len(got) != 1 || got[0].Form.Get("grant_type") != "refresh_token" {
		t.Errorf("MSAL asked %v, want one refresh", got)
	}
	wantGraph(t, emu, second.AccessToken, "/v1.0/me")
}

func TestMSALRenewsWithARenewedRefreshToken(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t, short)
	client := msalUser(t, emu)
	first := msalPassword(t, client, userRead)
	for range 3 {
		if _, err := client.AcquireTokenSilent(t.Context(), []string{userRead}, public.WithSilentAccount(first.Account)); err != nil {
			t.Fatal(err)
		}
	}
	wantExchanges(t, emu, 4)
}

func TestMSALGetsATokenForAnotherAPIInSilence(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	client := msalUser(t, emu)
	first := msalPassword(t, client, userRead)
	got, err := client.AcquireTokenSilent(t.Context(), []string{apiScope}, public.WithSilentAccount(first.Account))
	if err != nil {
		t.Fatal(err)
	}
	wantClaims(t, got.AccessToken, "aud", entratest.APIClientID, "ver", "2.0")
}

func TestMSALKeepsAUserTokenInItsCache(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	client := msalUser(t, emu)
	first := msalPassword(t, client, userRead)
	emu.ClearRequests()
	second, err := client.AcquireTokenSilent(t.Context(), []string{userRead}, public.WithSilentAccount(first.Account))
	if err != nil {
		t.Fatal(err)
	}
	if second.AccessToken != first.AccessToken {
		t.Error("the second token is another one")
	}
	if got := emu.Requests(); len(got) != 0 {
		t.Errorf("%d requests for a token that was in the cache", len(got))
	}
}

func TestMSALAnswersAClaimsChallengeInSilence(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	client := msalUser(t, emu, public.WithClientCapabilities([]string{"CP1"}))
	first := msalPassword(t, client, userRead)
	second, err := client.AcquireTokenSilent(t.Context(), []string{userRead}, public.WithSilentAccount(first.Account),
		public.WithClaims(`{"access_token":{"nbf":{"essential":true,"value":"1700000000"}}}`))
	if err != nil {
		t.Fatal(err)
	}
	if second.AccessToken == first.AccessToken {
		t.Error("the challenge was answered with the token that was challenged")
	}
	if got, _ := claimsOf(t, second.AccessToken)["xms_cc"].([]any); !slices.Contains(got, any("CP1")) {
		t.Errorf("xms_cc is %v, want CP1 in it", got)
	}
}

func TestMSALTellsThatARevokedSessionNeedsAPerson(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t, short)
	client := msalUser(t, emu)
	first := msalPassword(t, client, userRead)
	if err := emu.Revoke(entratest.BenUPN); err != nil {
		t.Fatal(err)
	}
	_, err := client.AcquireTokenSilent(t.Context(), []string{userRead}, public.WithSilentAccount(first.Account))
	wantRefusal(t, err, "invalid_grant", "AADSTS50173")
}

func TestMSALSignsInWithAPassword(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	got := msalPassword(t, msalUser(t, emu), userRead)
	if len(asked(emu, "/"+entratest.BenUPN)) != 1 {
		t.Error("MSAL did not ask for the user's realm")
	}
	wantGraph(t, emu, got.AccessToken, "/v1.0/me")
}

func TestMSALTellsThatAPasswordIsWrong(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	_, err := msalUser(t, emu).AcquireTokenByUsernamePassword(t.Context(), []string{userRead}, entratest.BenUPN, "guess")
	wantRefusal(t, err, "invalid_grant", "AADSTS50126")
}

func TestMSALTellsThatAPasswordIsNotEnough(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	if _, err := emu.AddUser(entratest.User{UPN: "dana@fob.example", Password: "dana-password-1", MFARequired: true}); err != nil {
		t.Fatal(err)
	}
	_, err := msalUser(t, emu).AcquireTokenByUsernamePassword(t.Context(), []string{userRead}, "dana@fob.example", "dana-password-1")
	wantRefusal(t, err, "AADSTS50076")
}

func TestMSALKnowsTheTenantByItsDomain(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	client := msalUser(t, emu, public.WithAuthority(emu.URL()+"/"+entratest.TenantDomain))
	got := msalPassword(t, client, userRead)
	if got.IDToken.TenantID != entratest.TenantID {
		t.Errorf("the tenant is %q, want %q", got.IDToken.TenantID, entratest.TenantID)
	}
	if _, err := client.AcquireTokenSilent(t.Context(), []string{apiScope}, public.WithSilentAccount(got.Account)); err != nil {
		t.Errorf("no token in silence afterwards: %v", err)
	}
}

func TestMSALFindsTheTenantOfAUserByOrganizations(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	app, err := emu.AddApp(entratest.App{Name: "for every tenant", Public: true, MultiTenant: true,
		Consented: map[string][]string{entratest.GraphAppID: {"User.Read", "openid", "profile", "offline_access"}}})
	if err != nil {
		t.Fatal(err)
	}
	client, err := public.New(app.ClientID, public.WithAuthority(emu.URL()+"/organizations"), public.WithHTTPClient(emu.Client()), public.WithInstanceDiscovery(false))
	if err != nil {
		t.Fatal(err)
	}
	got := msalPassword(t, client, userRead)
	if got.IDToken.TenantID != entratest.TenantID {
		t.Errorf("the tenant is %q, want %q", got.IDToken.TenantID, entratest.TenantID)
	}
	emu.ClearRequests()
	again, err := client.AcquireTokenSilent(t.Context(), []string{userRead}, public.WithSilentAccount(got.Account))
	if err != nil || again.AccessToken != got.AccessToken || len(emu.Requests()) != 0 {
		t.Errorf("the token is not in the cache: error %v, %d requests", err, len(emu.Requests()))
	}
}

func TestMSALTellsThatATenantDoesNotExist(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	client := msalUser(t, emu, public.WithAuthority(emu.URL()+"/nowhere.example"))
	_, err := client.AcquireTokenByUsernamePassword(t.Context(), []string{userRead}, entratest.BenUPN, entratest.BenPassword)
	wantRefusal(t, err, "AADSTS90002")
}

// offline reaches the emulator by its own name, and no other host.
type offline struct {
	next  http.RoundTripper
	host  string
	hosts []string // asked in vain
}

func (o *offline) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host == o.host {
		return o.next.RoundTrip(r)
	}
	o.hosts = append(o.hosts, r.URL.Host)
	return nil, errors.New("no such host in this test")
}

// With instance discovery on, MSAL asks Microsoft about every authority that it
// does not know: whoever does not impersonate Microsoft must turn it off.
func TestMSALValidatesAnUnknownAuthorityAtMicrosoft(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	transport := &offline{next: emu.Client().Transport, host: strings.TrimPrefix(emu.URL(), "https://")}
	client := msalUser(t, emu, public.WithInstanceDiscovery(true), public.WithHTTPClient(&http.Client{Transport: transport}))
	_, err := client.AcquireTokenByUsernamePassword(t.Context(), []string{userRead}, entratest.BenUPN, entratest.BenPassword)
	if err == nil || !slices.Contains(transport.hosts, "login.microsoftonline.com") {
		t.Errorf("asked %q, error %v: want login.microsoftonline.com to be asked", transport.hosts, err)
	}
}

// An emulator that answers by Microsoft's names needs no setting at all.
func TestMSALAcceptsTheEmulatorInPlaceOfMicrosoft(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"login.microsoftonline.com", "login.windows.net", "login.microsoft.com"} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			emu := entratest.New(t, func(cfg *entratest.Config) { cfg.Impersonate = entratest.MicrosoftHosts() })
			client, err := confidential.New("https://"+host+"/"+entratest.TenantID, entratest.DaemonClientID, msalSecret(t, entratest.DaemonSecret),
				confidential.WithHTTPClient(emu.Client()))
			if err != nil {
				t.Fatal(err)
			}
			got, err := client.AcquireTokenByCredential(t.Context(), []string{graphDefault})
			if err != nil {
				t.Fatal(err)
			}
			wantClaims(t, got.AccessToken, "iss", "https://sts.windows.net/"+entratest.TenantID+"/", "aud", "https://graph.microsoft.com")
			if len(asked(emu, "/discovery/instance")) == 0 {
				t.Error("MSAL did not validate the authority")
			}
			req, err := http.NewRequest(http.MethodGet, "https://graph.microsoft.com/v1.0/users", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+got.AccessToken)
			res, err := emu.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusOK {
				t.Errorf("Graph answered %s: %s", res.Status, body)
			}
		})
	}
}

func TestMSALGoesFromHomeToATenantThatTheUserVisits(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	if _, err := emu.AddUser(entratest.User{Tenant: entratest.OtherTenantDomain, UPN: "zed@other.example", Password: "zed-password-1"}); err != nil {
		t.Fatal(err)
	}
	guest, err := emu.AddUser(entratest.User{Home: "zed@other.example"})
	if err != nil {
		t.Fatal(err)
	}
	client, err := public.New(entratest.AzureCLIClientID, public.WithAuthority(emu.URL()+"/organizations"), public.WithHTTPClient(emu.Client()), public.WithInstanceDiscovery(false))
	if err != nil {
		t.Fatal(err)
	}
	scopes := []string{"https://management.azure.com/.default"}
	home, err := client.AcquireTokenByUsernamePassword(t.Context(), scopes, "zed@other.example", "zed-password-1")
	if err != nil {
		t.Fatal(err)
	}
	wantClaims(t, home.AccessToken, "tid", entratest.OtherTenantID)
	visit, err := client.AcquireTokenSilent(t.Context(), scopes, public.WithSilentAccount(home.Account), public.WithTenantID(entratest.TenantID))
	if err != nil {
		t.Fatal(err)
	}
	wantClaims(t, visit.AccessToken, "tid", entratest.TenantID, "oid", guest.ID, "idp", emu.URL()+"/"+entratest.OtherTenantID+"/", "unique_name", "zed@other.example")
	if visit.Account.HomeAccountID != home.Account.HomeAccountID {
		t.Errorf("on a visit the account is %q, at home %q", visit.Account.HomeAccountID, home.Account.HomeAccountID)
	}
}
