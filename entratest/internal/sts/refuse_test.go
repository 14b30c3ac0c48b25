package sts

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fobauth/fob/aadsts"
	"github.com/fobauth/fob/entratest/internal/directory"
)

var (
	guidForm      = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)
	timestampForm = regexp.MustCompile(`^\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ$`)
)

// wellFormedRefusal checks the shape that all refusals share.
func wellFormedRefusal(a answer, code int) {
	a.t.Helper()
	trace, correlation, stamp := a.text("trace_id"), a.text("correlation_id"), a.text("timestamp")
	if !guidForm.MatchString(trace) || !strings.HasSuffix(trace, "00") || !guidForm.MatchString(correlation) || !timestampForm.MatchString(stamp) {
		a.t.Errorf("trace %q, correlation %q, timestamp %q are not of the service's form", trace, correlation, stamp)
	}
	text := a.text("error_description")
	head, tail := fmt.Sprintf("AADSTS%d: ", code), fmt.Sprintf(" Trace ID: %s Correlation ID: %s Timestamp: %s", trace, correlation, stamp)
	if !strings.HasPrefix(text, head) || !strings.HasSuffix(text, tail) || len(text) < len(head)+len(tail)+10 || strings.Contains(text, "%!") {
		a.t.Errorf("description %q, want %q ... %q", text, head, tail)
	}
	if uri, has := a.body["error_uri"]; has && !strings.HasSuffix(uri.(string), fmt.Sprintf("/error?code=%d", code)) {
		a.t.Errorf("error_uri is %v", uri)
	}
	for name, want := range map[string]string{"Content-Type": "application/json; charset=utf-8", "Cache-Control": "no-store, no-cache", "Pragma": "no-cache",
		"X-Ms-Request-Id": trace, "X-Ms-Clitelem": fmt.Sprintf("1,%d,0,,", code), "X-Ms-Srs": "1.P", "X-Xss-Protection": "0", "P3p": `CP="DSP CUR OTPi IND OTRi ONL FIN"`} {
		if got := a.header.Get(name); got != want {
			a.t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
}

// Every case is named after what triggers the refusal.
func TestRefusals(t *testing.T) {
	const (
		cli, daemon, api      = directory.CLIAppID, directory.DaemonAppID, directory.APIAppID
		bad, grant            = "invalid_request", "invalid_grant"
		scope, client, nobody = "invalid_scope", "invalid_client", "unauthorized_client"
	)
	cases := []struct {
		trigger string
		code    int
		oauth   string
		request func(v *service) answer
	}{
		// The request as a whole.
		{"a GET at the token endpoint", 900561, bad, func(v *service) answer { return v.get(tokenPath) }},
		{"a JSON body", 900144, bad, func(v *service) answer {
			return v.postBody(tokenPath, "application/json", `{"grant_type":"client_credentials"}`)
		}},
		{"no grant_type", 900144, bad, func(v *service) answer { return v.daemon("grant_type", "-") }},
		{"no client_id", 900144, bad, func(v *service) answer { return v.daemon("client_id", "-") }},
		{"a form that is not percent-encoded", 9002313, bad, func(v *service) answer {
			return v.postBody(tokenPath, "application/x-www-form-urlencoded", "grant_type=%zz")
		}},
		{"a parameter twice", 9002313, bad, func(v *service) answer {
			return v.postBody(tokenPath, "application/x-www-form-urlencoded", "grant_type=client_credentials&grant_type=client_credentials")
		}},
		{"an unknown grant type", 70003, "unsupported_grant_type", func(v *service) answer { return v.daemon("grant_type", "magic") }},
		{"a claims parameter that is still base64", 50117, bad, func(v *service) answer { return v.daemon("claims", "eyJhY2Nlc3NfdG9rZW4iOnt9fQ==") }},
		{"resource at the v2 endpoint", 901002, bad, func(v *service) answer { return v.daemon("resource", "https://graph.microsoft.com") }},
		{"no resource at the v1 endpoint", 900144, bad, func(v *service) answer {
			return v.post(tokenPathV1, "grant_type", "client_credentials", "client_id", daemon, "client_secret", "daemon-secret-value-1", "scope", graphAll)
		}},

		// The tenant.
		{"a tenant id that does not exist", 90002, bad, func(v *service) answer {
			return v.post("/f0b00000-9999-4000-8000-000000000001/oauth2/v2.0/token", "grant_type", "client_credentials")
		}},
		{"a domain that does not exist", 90002, bad, func(v *service) answer { return v.get("/nowhere.example/v2.0/.well-known/openid-configuration") }},
		{"a placeholder for a tenant", 900023, bad, func(v *service) answer { return v.get("/your-tenant-id/v2.0/.well-known/openid-configuration") }},
		{"the empty tenant id", 900021, bad, func(v *service) answer {
			return v.get("/00000000-0000-0000-0000-000000000000/v2.0/.well-known/openid-configuration")
		}},
		{"instance discovery for an unknown host", 50049, "invalid_instance", func(v *service) answer {
			return v.get("/common/discovery/instance?api-version=1.1&authorization_endpoint=https%3A%2F%2Flogin.evil.example%2Fcommon%2Foauth2%2Fauthorize")
		}},
		{"instance discovery without a version", 50050, bad, func(v *service) answer { return v.get("/common/discovery/instance") }},
		{"client credentials at /common", 50059, bad, func(v *service) answer {
			return v.post("/common/oauth2/v2.0/token", "grant_type", "client_credentials", "client_id", daemon, "client_secret", "x", "scope", graphAll)
		}},
		{"a password at /common", 9001023, bad, func(v *service) answer {
			return v.post("/common/oauth2/v2.0/token", "grant_type", "password", "client_id", directory.AzureCLIAppID, "username", "ben@fob.example", "password", "ben-password-1", "scope", graphAll)
		}},
		{"a single-tenant app at /organizations", 50194, bad, func(v *service) answer {
			return v.post("/organizations/oauth2/v2.0/devicecode", "client_id", cli, "scope", "User.Read")
		}},
		{"a work app at /consumers", 9002332, bad, func(v *service) answer {
			return v.post("/consumers/oauth2/v2.0/devicecode", "client_id", cli, "scope", "User.Read")
		}},

		// The client and its secret.
		{"a client id that does not exist", 700016, nobody, func(v *service) answer { return v.daemon("client_id", "f0b00000-1003-4000-8000-0000000000ff") }},
		{"an app of another tenant", 700016, nobody, func(v *service) answer {
			return v.daemon("client_id", directory.PartnerAppID, "client_secret", "partner-secret-value-1")
		}},
		{"a client id that is no GUID", 700038, nobody, func(v *service) answer { return v.daemon("client_id", "my-app") }},
		{"a disabled app", 7000112, nobody, func(v *service) answer {
			return v.daemon("client_id", directory.DisabledAppID, "client_secret", "disabled-secret-value-1")
		}},
		{"an app without a service principal", 7000229, client, func(v *service) answer {
			return v.daemon("client_id", directory.NoPrincipalAppID, "client_secret", "unborn-secret-value-1")
		}},
		{"a wrong secret", 7000215, client, func(v *service) answer { return v.daemon("client_secret", "daemon-secret-value-3") }},
		{"an expired secret", 7000222, client, func(v *service) answer {
			return v.daemon("client_id", directory.ExpiredAppID, "client_secret", "expired-secret-value-1")
		}},
		{"client credentials without a credential", 7000216, client, func(v *service) answer { return v.daemon("client_secret", "-") }},
		{"a public client with a secret", 700025, client, func(v *service) answer { return v.ben("client_secret", "anything") }},
		{"a device code poll of an app without public flows", 7000218, client, func(v *service) answer {
			return v.poll(v.device("client_id", daemon).ok().text("device_code"), "client_id", daemon)
		}},
		{"one client id in the header and another in the body", 7000110, bad, func(v *service) answer {
			return v.postForm(tokenPath, fields("grant_type", "client_credentials", "client_id", cli, "scope", graphAll), "Authorization", basic(daemon, "daemon-secret-value-1"))
		}},

		// The scope.
		{"no scope", 900144, bad, func(v *service) answer { return v.daemon("scope", "-") }},
		{"a delegated scope for an app token", 1002012, scope, func(v *service) answer { return v.daemon("scope", "https://graph.microsoft.com/User.Read") }},
		{"only OpenID scopes for an app token", 700023, scope, func(v *service) answer { return v.daemon("scope", "openid profile") }},
		{"two resources for an app token", 700022, scope, func(v *service) answer { return v.daemon("scope", graphAll+" https://vault.azure.net/.default") }},
		{"a resource that does not exist", 500011, "invalid_resource", func(v *service) answer { return v.daemon("scope", "api://typo/.default") }},
		{"a resource without a permission", 70011, scope, func(v *service) answer { return v.ben("scope", "https://graph.microsoft.com") }},
		{".default beside a named scope", 70011, scope, func(v *service) answer { return v.ben("scope", graphAll+" User.Read") }},
		{"a scope that the resource does not have", 650053, "access_denied", func(v *service) answer { return v.ben("scope", "User.Reed") }},
		{"an app without a role at an API that needs one", 501051, client, func(v *service) answer { return v.daemon("scope", "api://fob-vault/.default") }},
		{"a user who is not assigned to an API that needs it", 50105, grant, func(v *service) answer {
			v.World.Grant(directory.Grant{Tenant: directory.TenantID, Client: cli, Resource: directory.VaultAPIAppID, Scopes: []string{"read"}})
			return v.ben("scope", "api://fob-vault/read")
		}},
		{"a user who is not assigned to the client itself", 50105, grant, func(v *service) answer {
			v.World.UpdateApp(cli, func(a *directory.App) { a.AssignmentNeeded = true })
			return v.ben()
		}},
		{"a scope without consent", 65001, grant, func(v *service) answer { return v.ben("scope", "Mail.Read") }},
		{"a first-party client at one's own API", 65002, bad, func(v *service) answer {
			return v.ben("client_id", directory.AzureCLIAppID, "scope", "api://fob-api/access_as_user")
		}},
		{"a disabled resource", 500014, "invalid_resource", func(v *service) answer {
			v.World.UpdateApp(api, func(a *directory.App) { a.Disabled = true })
			return v.daemon("scope", "api://fob-api/.default")
		}},

		// Certificates.
		{"an assertion that is no JWT", 50027, client, func(v *service) answer { return v.withAssertion("rubbish") }},
		{"an assertion without a signature", 50027, client, func(v *service) answer {
			return v.withAssertion(unsigned(certHeader("alg", "none"), v.certClaims()))
		}},
		{"an assertion with HS256", 50027, client, func(v *service) answer {
			return v.withAssertion(clientKey().jwt(certHeader("alg", "HS256"), v.certClaims()))
		}},
		{"an assertion without a thumbprint", 50027, client, func(v *service) answer {
			return v.withAssertion(clientKey().jwt(certHeader("x5t#S256", nil), v.certClaims()))
		}},
		{"an assertion for another audience", 50027, client, func(v *service) answer {
			return v.withAssertion(clientKey().jwt(certHeader(), v.certClaims("aud", "https://api.example/")))
		}},
		{"an assertion of an unknown certificate", 700027, client, func(v *service) answer {
			return v.withAssertion(otherKey().jwt(certHeader("x5t#S256", encodeSegment(otherKey().sha256())), v.certClaims()))
		}},
		{"an assertion signed with another key", 700027, client, func(v *service) answer {
			return v.withAssertion(otherKey().jwt(certHeader(), v.certClaims()))
		}},
		{"an assertion that is too old", 700024, client, func(v *service) answer {
			return v.withAssertion(clientKey().jwt(certHeader(), v.certClaims("exp", v.World.Now().Add(-6*time.Minute).Unix())))
		}},
		{"an assertion from the future", 700024, client, func(v *service) answer {
			return v.withAssertion(clientKey().jwt(certHeader(), v.certClaims("nbf", v.World.Now().Add(6*time.Minute).Unix())))
		}},
		{"an assertion of another app", 700021, client, func(v *service) answer {
			return v.withAssertion(clientKey().jwt(certHeader(), v.certClaims("iss", api, "sub", api)))
		}},
		{"an assertion whose sub is not its iss", 50048, client, func(v *service) answer {
			return v.withAssertion(clientKey().jwt(certHeader(), v.certClaims("sub", api)))
		}},
		{"an assertion of an unheard-of type", 90023, bad, func(v *service) answer {
			return v.withAssertion(clientKey().jwt(certHeader(), v.certClaims()), "client_assertion_type", "urn:example:type")
		}},

		// Other issuers.
		{"an issuer with a slash too many", 700211, client, func(v *service) answer {
			return v.withAssertion(otherKey().jwt(map[string]any{"alg": "RS256"}, v.external("iss", "https://issuer.example/")))
		}},
		{"another audience of a trusted issuer", 700212, client, func(v *service) answer {
			return v.withAssertion(otherKey().jwt(map[string]any{"alg": "RS256"}, v.external("aud", "api://azureadtokenexchange")))
		}},
		{"another branch of a trusted issuer", 700213, client, func(v *service) answer {
			return v.withAssertion(otherKey().jwt(map[string]any{"alg": "RS256"}, v.external("sub", "repo:fob/example:ref:refs/heads/dev")))
		}},
		{"a subject in another case", 7002138, client, func(v *service) answer {
			return v.withAssertion(otherKey().jwt(map[string]any{"alg": "RS256"}, v.external("sub", "repo:Fob/example:ref:refs/heads/main")))
		}},
		{"an external token that is not a JWT by its typ", 5002727, bad, func(v *service) answer {
			return v.withAssertion(otherKey().jwt(map[string]any{"alg": "RS256", "typ": "secevent+jwt"}, v.external()))
		}},
		{"an issuer on another machine", 50166, client, func(v *service) answer {
			v.trustIssuer(func(f *directory.FederatedCredential) { f.Keys = nil })
			return v.withAssertion(otherKey().jwt(map[string]any{"alg": "RS256"}, v.external()))
		}},
		{"an external token signed by somebody else", 700027, client, func(v *service) answer {
			return v.withAssertion(clientKey().jwt(map[string]any{"alg": "RS256"}, v.external()))
		}},

		// Passwords.
		{"a user name that does not exist", 50034, grant, func(v *service) answer { return v.ben("username", "eve@fob.example") }},
		{"a wrong password", 50126, grant, func(v *service) answer { return v.ben("password", "ada-password-1") }},
		{"a user without a password", 50056, grant, func(v *service) answer {
			v.update("ben@fob.example", func(u *directory.User) { u.Password = "" })
			return v.ben()
		}},
		{"a locked account", 50053, grant, func(v *service) answer {
			v.update("ben@fob.example", func(u *directory.User) { u.Locked = true })
			return v.ben()
		}},
		{"an expired password", 50055, grant, func(v *service) answer {
			v.update("ben@fob.example", func(u *directory.User) { u.PasswordExpired = true })
			return v.ben()
		}},
		{"a disabled account", 50057, grant, func(v *service) answer {
			v.update("ben@fob.example", func(u *directory.User) { u.Disabled = true })
			return v.ben()
		}},
		{"a password where a second factor is due", 50076, grant, func(v *service) answer {
			v.update("ben@fob.example", func(u *directory.User) { u.MFARequired = true })
			return v.ben()
		}},

		// Authorization codes.
		{"a code that nobody gave out", 9002313, grant, func(v *service) answer { return v.redeemCode("rubbish") }},
		{"a code for the second time", 54005, grant, func(v *service) answer {
			code := v.codeFor(nil)
			v.redeemCode(code).ok()
			return v.redeemCode(code)
		}},
		{"a code after ten minutes", 70008, grant, func(v *service) answer {
			code := v.codeFor(nil)
			v.World.Advance(10 * time.Minute)
			return v.redeemCode(code)
		}},
		{"a code of another client", 70000, grant, func(v *service) answer {
			return v.redeemCode(v.codeFor(func(c *authCode) { c.Client = directory.WebAppID }))
		}},
		{"a code at another tenant", 700005, grant, func(v *service) answer {
			v.World.Install(directory.OtherTenantID, cli)
			return v.post("/other.example/oauth2/v2.0/token", redemption(v.codeFor(nil))...)
		}},
		{"a code without its redirect URI", 700009, bad, func(v *service) answer { return v.redeemCode(v.codeFor(nil), "redirect_uri", "-") }},
		{"a code with another redirect URI", 500112, grant, func(v *service) answer { return v.redeemCode(v.codeFor(nil), "redirect_uri", "http://localhost:50124") }},
		{"a code with another verifier", 501481, grant, func(v *service) answer { return v.redeemCode(v.codeFor(nil), "code_verifier", verifier+"x") }},
		{"a code without its verifier", 50148, grant, func(v *service) answer { return v.redeemCode(v.codeFor(nil), "code_verifier", "-") }},
		{"a code with an empty scope", 28003, scope, func(v *service) answer { return v.redeemCode(v.codeFor(nil), "scope", "") }},
		{"a code of a web app without its secret", 7000218, client, func(v *service) answer {
			return v.redeemCode(v.codeFor(func(c *authCode) { c.Client, c.Public = directory.WebAppID, false }), "client_id", directory.WebAppID)
		}},
		{"a code of a single-page app from a program", 9002327, bad, func(v *service) answer {
			return v.redeemCode(v.codeFor(func(c *authCode) { c.Client, c.Public, c.SPA = directory.SPAAppID, false, true }), "client_id", directory.SPAAppID)
		}},
		{"a code of a native app from a page", 9002326, bad, func(v *service) answer {
			return v.postForm(tokenPath, fields(redemption(v.codeFor(nil))...), "Origin", "https://page.example")
		}},
		{"a secret from a page", 9002326, bad, func(v *service) answer {
			return v.postForm(tokenPath, fields("grant_type", "client_credentials", "client_id", daemon, "client_secret", "daemon-secret-value-1", "scope", graphAll), "Origin", "https://page.example")
		}},
		{"a password from a page, even that of a single-page app", 9002326, bad, func(v *service) answer {
			return v.postForm(tokenPath, fields("grant_type", "password", "client_id", directory.SPAAppID, "username", "ben@fob.example", "password", "ben-password-1", "scope", "User.Read"), "Origin", "http://localhost")
		}},

		// Refresh tokens.
		{"a refresh token of a native app from a page", 9002326, bad, func(v *service) answer {
			return v.postForm(tokenPath, fields("grant_type", "refresh_token", "client_id", cli, "refresh_token", v.ben().ok().text("refresh_token")), "Origin", "https://page.example")
		}},
		{"a refresh token without client_id", 900144, bad, func(v *service) answer {
			return v.renew(v.ben().ok().text("refresh_token"), "client_id", "-")
		}},
		{"a refresh token with an empty scope", 28003, scope, func(v *service) answer { return v.renew(v.ben().ok().text("refresh_token"), "scope", "") }},
		{"a refresh token that is rubbish", 9002313, grant, func(v *service) answer { return v.renew("rubbish") }},
		{"a refresh token that has been tampered with", 70000, grant, func(v *service) answer {
			raw := v.ben().ok().text("refresh_token")
			return v.renew(raw[:len(raw)-8] + "AAAAAAAA")
		}},
		{"a refresh token of another client", 70000, grant, func(v *service) answer {
			return v.renew(v.ben().ok().text("refresh_token"), "client_id", daemon, "client_secret", "daemon-secret-value-1")
		}},
		{"a refresh token after its user's sessions were revoked", 50173, grant, func(v *service) answer {
			raw := v.ben().ok().text("refresh_token")
			if err := v.Revoke("ben@fob.example"); err != nil {
				v.t.Fatal(err)
			}
			return v.renew(raw)
		}},
		{"a refresh token unused for 90 days", 700082, grant, func(v *service) answer {
			raw := v.ben().ok().text("refresh_token")
			v.World.Advance(90 * 24 * time.Hour)
			return v.renew(raw)
		}},
		{"a refresh token of a single-page app after 24 hours", 700084, grant, func(v *service) answer {
			raw := v.spa("http://localhost").ok().text("refresh_token")
			v.World.Advance(24 * time.Hour)
			return v.postForm(tokenPath, fields("grant_type", "refresh_token", "client_id", directory.SPAAppID, "refresh_token", raw), "Origin", "http://localhost")
		}},
		{"a refresh token of a deleted user", 50034, grant, func(v *service) answer {
			raw := v.ben().ok().text("refresh_token")
			v.World.DeleteUser(directory.TenantID, directory.BenID)
			return v.renew(raw)
		}},
		{"a refresh token in a tenant without its user", 50020, grant, func(v *service) answer {
			v.World.Install(directory.OtherTenantID, cli)
			return v.post("/other.example/oauth2/v2.0/token", "grant_type", "refresh_token", "client_id", cli, "refresh_token", v.ben().ok().text("refresh_token"))
		}},

		// Device codes.
		{"a device code that nobody has decided", 70016, "authorization_pending", func(v *service) answer { return v.poll(v.device().ok().text("device_code")) }},
		{"a device code that nobody gave out", 70018, "bad_verification_code", func(v *service) answer { return v.poll("rubbish") }},
		{"a device code after 15 minutes", 70020, "expired_token", func(v *service) answer {
			code := v.device().ok().text("device_code")
			v.World.Advance(15 * time.Minute)
			return v.poll(code)
		}},
		{"a device code that the user has declined", 65004, "authorization_declined", func(v *service) answer {
			a := v.device().ok()
			if err := v.Deny(a.text("user_code")); err != nil {
				v.t.Fatal(err)
			}
			return v.poll(a.text("device_code"))
		}},
		{"a device code request without a scope", 900144, bad, func(v *service) answer { return v.device("scope", "-") }},

		// On behalf of.
		{"on-behalf-of without a user's token", 900144, bad, func(v *service) answer { return v.obo("") }},
		{"on-behalf-of with a token for Graph", 500131, grant, func(v *service) answer { return v.obo(v.ben().ok().text("access_token")) }},
		{"on-behalf-of with an altered token", 50013, grant, func(v *service) answer {
			raw := v.apiToken()
			return v.obo(raw[:len(raw)-8] + "AAAAAAAA")
		}},
		{"on-behalf-of with an expired token", 500133, grant, func(v *service) answer {
			raw := v.apiToken()
			v.World.Advance(time.Hour)
			return v.obo(raw)
		}},
		{"on-behalf-of with an app's token", 7000114, nobody, func(v *service) answer {
			return v.obo(v.daemon("scope", "api://fob-api/.default").ok().text("access_token"))
		}},
		{"on-behalf-of with an ID token", 240002, grant, func(v *service) answer {
			a := v.redeemCode(v.codeFor(func(c *authCode) { c.Client, c.Public, c.Scope = api, false, "openid profile User.Read" }), "client_id", api, "client_secret", "api-secret-value-1")
			return v.obo(a.ok().text("id_token"))
		}},
		{"on-behalf-of without consent", 65001, grant, func(v *service) answer { return v.obo(v.apiToken(), "scope", "Mail.Read") }},
		{"on-behalf-of without a credential", 7000216, client, func(v *service) answer { return v.obo(v.apiToken(), "client_secret", "-") }},
	}
	seen := map[int]bool{}
	for _, c := range cases {
		seen[c.code] = true
		t.Run(c.trigger, func(t *testing.T) {
			v := serve(t)
			v.World.AddCertificate(daemon, clientKey().cert)
			v.trustIssuer(nil)
			status := http.StatusBadRequest
			if c.oauth == client && c.code != 501051 && c.code != 50166 {
				status = http.StatusUnauthorized
			}
			c.request(v).refusedWith(c.code, c.oauth, status)
		})
	}
	if len(seen) < 60 {
		t.Errorf("%d codes are covered, want 60", len(seen))
	}
}

func TestTheSameWrongRequestIsRefusedInTheSameWords(t *testing.T) {
	v, s := serve(t), newSurfer(t)
	q := webRequest()
	for _, name := range []string{"scope", "state", "nonce", "prompt"} {
		q[name] = []string{"a", "b"}
	}
	for range 20 {
		if a := v.postForm(tokenPath, q); !strings.Contains(a.text("error_description"), "'nonce' is there more than once") {
			t.Fatal(a.raw)
		}
		s.get(authorizePath, q).shows(400, "AADSTS90023", "'nonce' is duplicated")
	}
}

func TestARefusalCarriesTheClientsRequestID(t *testing.T) {
	v := serve(t)
	const id = "22222222-aaaa-4bbb-8ccc-111111111111"
	a := v.postForm(tokenPath, fields("grant_type", "password"), "client-request-id", id)
	if a.text("correlation_id") != id || a.header.Get("Client-Request-Id") != id {
		t.Errorf("correlation id %v, header %q, want %s", a.body["correlation_id"], a.header.Get("Client-Request-Id"), id)
	}
	if a := v.postForm(tokenPath, fields("grant_type", "password", "client-request-id", id)); a.text("correlation_id") != id {
		t.Errorf("an id in the body is not taken over: %s", a.raw)
	}
	if a := v.postForm(tokenPath, fields("grant_type", "password"), "client-request-id", "not a guid"); !guidForm.MatchString(a.text("correlation_id")) || a.header.Get("Client-Request-Id") != "" {
		t.Errorf("an id that is no GUID is taken over: %s", a.raw)
	}
}

func TestAPollReportsTheIDOfTheDeviceCodeRequest(t *testing.T) {
	v := serve(t)
	const id = "22222222-aaaa-4bbb-8ccc-111111111112"
	d := v.postForm(devicePath, fields("client_id", directory.CLIAppID, "scope", "User.Read"), "client-request-id", id).ok()
	a := v.postForm(tokenPath, fields("grant_type", "device_code", "client_id", directory.CLIAppID, "device_code", d.text("device_code")),
		"client-request-id", newGUID())
	if a.text("correlation_id") != id {
		t.Errorf("correlation id %s, want %s", a.text("correlation_id"), id)
	}
}

func TestASecretIDInPlaceOfItsValueIsHinted(t *testing.T) {
	a := serve(t).daemon("client_secret", directory.DaemonSecretID2)
	a.refusedWith(7000215, "invalid_client", http.StatusUnauthorized)
	if !strings.Contains(a.text("error_description"), "the ID of one of its secrets") {
		t.Errorf("no hint in %s", a.raw)
	}
}

func TestAnUnknownCertificateIsNamedInTheRefusal(t *testing.T) {
	v := serve(t)
	v.World.AddCertificate(directory.DaemonAppID, otherKey().cert)
	a := v.withAssertion(clientKey().jwt(certHeader("alg", "RS256", "x5t#S256", nil, "x5t", encodeSegment(clientKey().sha1())), v.certClaims()))
	a.refusedWith(700027, "invalid_client", http.StatusUnauthorized)
	for _, want := range []string{"Reason - The key was not found", fmt.Sprintf("%X", clientKey().sha1()), fmt.Sprintf("%X", otherKey().sha1())} {
		if !strings.Contains(a.text("error_description"), want) {
			t.Errorf("%q is missing in %s", want, a.raw)
		}
	}
}

func TestSuberrorsTellWhatKindOfHelpIsNeeded(t *testing.T) {
	v := serve(t)
	if a := v.ben("scope", "Mail.Read"); a.body["suberror"] != "consent_required" {
		t.Errorf("missing consent: %s", a.raw)
	}
	refresh := v.ben("client_id", directory.VSCodeAppID).ok().text("refresh_token")
	if a := v.renew(refresh, "client_id", directory.AzureCLIAppID); a.body["suberror"] != "client_mismatch" {
		t.Errorf("a client out of the family: %s", a.raw)
	}
	v.update("ben@fob.example", func(u *directory.User) { u.MFARequired = true })
	if a := v.ben(); a.body["suberror"] != "basic_action" {
		t.Errorf("second factor: %s", a.raw)
	}
}

func TestUnknownPathsAreNeverJSON(t *testing.T) {
	v := serve(t)
	for _, path := range []string{"/oauth2/v2.0/token", "/" + directory.TenantID + "/v2.0/token", "/" + directory.TenantID + "/oauth2/v3.0/token", "/entra/" + directory.TenantID + "/oauth2/v2.0/token"} {
		a := v.post(path, "grant_type", "client_credentials")
		if a.status != http.StatusNotFound || a.body != nil || !strings.HasPrefix(a.header.Get("Content-Type"), "text/html") {
			t.Errorf("%s: status %d, %s %s", path, a.status, a.header.Get("Content-Type"), a.raw)
		}
	}
}

func TestAnswersSayWhatTheTableSays(t *testing.T) {
	for _, code := range []int{7000215, 700016, 500011, 70016, 90002} {
		c, ok := aadsts.Lookup(code)
		if n := no(code, "x"); !ok || n.OAuth != c.OAuthError {
			t.Errorf("%d: %s, the table has %s", code, n.OAuth, c.OAuthError)
		}
	}
}

func TestFaults(t *testing.T) {
	v := serve(t)
	v.Fail(2, Fault{Endpoint: "token", Code: 90055, RetryAfter: "7"})
	v.Fail(1, Fault{Status: http.StatusBadGateway})
	v.device().refusedOutside(http.StatusBadGateway) // a fault for any endpoint does not wait for its turn
	for range 2 {
		a := v.daemon()
		a.refusedWith(90055, "temporarily_unavailable", http.StatusTooManyRequests)
		if a.header.Get("Retry-After") != "7" {
			t.Errorf("Retry-After is %q", a.header.Get("Retry-After"))
		}
	}
	v.daemon().ok()

	v.Fail(1, Fault{Code: 50076, OAuth: "interaction_required", Claims: `{"access_token":{}}`, Suberror: "basic_action"})
	a := v.ben()
	a.refusedWith(50076, "interaction_required", http.StatusBadRequest)
	if a.body["claims"] != `{"access_token":{}}` || a.body["suberror"] != "basic_action" {
		t.Errorf("claims challenge: %s", a.raw)
	}

	v.Fail(1, Fault{Drop: true})
	if res, err := v.http.PostForm(v.BaseURL+tokenPath, nil); err == nil {
		_ = res.Body.Close()
		t.Error("a dropped connection answers")
	}

	v.Fail(5, Fault{Code: 90033})
	v.Fail(0, Fault{})
	v.daemon().ok()
}

// refusedOutside wants the answer of a front end: a status and HTML.
func (a answer) refusedOutside(status int) {
	a.t.Helper()
	if a.status != status || a.body != nil || !strings.Contains(a.raw, "<h1>") {
		a.t.Errorf("status %d, want %d and HTML: %s", a.status, status, a.raw)
	}
}
