package sts

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"

	"github.com/fobauth/fob/entratest/internal/directory"
)

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(id+":"+secret))
}

func unsigned(header, claims map[string]any) string {
	h, _ := json.Marshal(header)
	c, _ := json.Marshal(claims)
	return encodeSegment(h) + "." + encodeSegment(c) + "."
}

// spa redeems a code of the single-page app from a page of origin.
func (v *service) spa(origin string) answer {
	v.t.Helper()
	code := v.codeFor(func(c *authCode) {
		c.Client, c.Public, c.SPA, c.RedirectURI = directory.SPAAppID, false, true, "http://localhost"
	})
	return v.postForm(tokenPath, fields(redemption(code, "client_id", directory.SPAAppID, "redirect_uri", "http://localhost")...), "Origin", origin)
}

// without drops the members that are random, after checking that they are there.
func without(t *testing.T, m map[string]any, names ...string) map[string]any {
	t.Helper()
	m = object(m)
	for _, n := range names {
		if s, ok := m[n].(string); !ok || s == "" {
			t.Errorf("member %s is %v, want text", n, m[n])
		}
		delete(m, n)
	}
	return m
}

// wantTimes drops the times from claims, after checking that the token begins
// back ago and lives for life from now.
func wantTimes(t *testing.T, v *service, claims map[string]any, back, life time.Duration) map[string]any {
	t.Helper()
	now := float64(v.World.Now().Unix())
	iat, nbf, exp := claims["iat"].(float64), claims["nbf"].(float64), claims["exp"].(float64)
	if iat != nbf || now-iat-back.Seconds() > 5 || now-iat-back.Seconds() < 0 || exp-iat != (back+life).Seconds() {
		t.Errorf("iat %v, nbf %v, exp %v at %v", iat, nbf, exp, now)
	}
	c := object(claims)
	delete(c, "iat")
	delete(c, "nbf")
	delete(c, "exp")
	return c
}

func TestAppTokenForGraph(t *testing.T) {
	v := serve(t)
	a := v.daemon().ok()
	if diff := cmp.Diff(map[string]any{"expires_in": 3599.0, "ext_expires_in": 3599.0, "token_type": "Bearer"}, without(t, a.body, "access_token")); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	header, claims := decodeJWT(t, a.text("access_token"))
	kid := testOnlyKey().id
	if diff := cmp.Diff(map[string]any{"alg": "RS256", "typ": "JWT", "kid": kid, "x5t": kid}, header); diff != "" {
		t.Errorf("header (-want +got):\n%s", diff)
	}
	app, _ := v.World.Registration(directory.DaemonAppID)
	iss := v.BaseURL + "/" + directory.TenantID + "/"
	want := map[string]any{"aud": "https://graph.microsoft.com", "iss": iss, "idp": iss, "app_displayname": "fob daemon", "appid": directory.DaemonAppID, "appidacr": "1",
		"idtyp": "app", "oid": app.PrincipalID, "sub": app.PrincipalID, "roles": []any{"User.Read.All", "Group.Read.All", "Organization.Read.All", "Directory.Read.All"},
		"tid": directory.TenantID, "ver": "1.0", "tenant_region_scope": "EU", "xms_tcdt": 1767603600.0, "wids": []any{"0997a1d0-0d1d-4acb-b408-d5ca73121e90"}}
	if diff := cmp.Diff(want, wantTimes(t, v, without(t, claims, "uti", "aio", "rh"), 5*time.Minute, 3599*time.Second)); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func TestUserTokenForGraph(t *testing.T) {
	v := serve(t)
	a := v.ben("client_info", "1").ok()
	want := map[string]any{"expires_in": 3599.0, "ext_expires_in": 3599.0, "token_type": "Bearer",
		"scope":       "Directory.Read.All Group.Read.All User.Read User.Read.All User.ReadBasic.All email openid profile",
		"client_info": base64.RawURLEncoding.EncodeToString([]byte(`{"uid":"` + directory.BenID + `","utid":"` + directory.TenantID + `"}`))}
	if diff := cmp.Diff(want, without(t, a.body, "access_token", "refresh_token", "id_token")); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	claims := wantTimes(t, v, without(t, a.claims("access_token"), "uti", "aio", "rh", "sub", "sid"), 0, 3599*time.Second)
	delete(claims, "xms_st")
	wantClaims := map[string]any{"aud": directory.GraphAppID, "iss": v.BaseURL + "/" + directory.TenantID + "/", "acct": 0.0, "acr": "1", "amr": []any{"pwd"},
		"app_displayname": "fob CLI", "appid": directory.CLIAppID, "appidacr": "0", "family_name": "Ostrow", "given_name": "Ben", "idtyp": "user", "ipaddr": "127.0.0.1",
		"name": "Ben Ostrow", "oid": directory.BenID, "scp": want["scope"], "tenant_region_scope": "EU", "tid": directory.TenantID,
		"unique_name": "ben@fob.example", "upn": "ben@fob.example", "ver": "1.0", "wids": []any{everybodysRole}, "xms_tcdt": 1767603600.0}
	if diff := cmp.Diff(wantClaims, claims); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func TestUserTokenForAnAPIOfVersion2(t *testing.T) {
	v := serve(t)
	a := v.post(tokenPath, "grant_type", "password", "client_id", directory.CLIAppID, "username", "ada@fob.example", "password", "ada-password-1", "scope", "api://fob-api/access_as_user").ok()
	if a.text("scope") != "api://fob-api/access_as_user" || a.body["id_token"] != nil || a.body["refresh_token"] != nil {
		t.Errorf("answer %s", a.raw)
	}
	header, claims := decodeJWT(t, a.text("access_token"))
	if _, has := header["x5t"]; has {
		t.Error("the header of a version 2 token has x5t")
	}
	want := map[string]any{"aud": directory.APIAppID, "iss": v.BaseURL + "/" + directory.TenantID + "/v2.0", "azp": directory.CLIAppID, "azpacr": "0", "idtyp": "user",
		"name": "Ada Quill", "oid": directory.AdaID, "preferred_username": "ada@fob.example", "roles": []any{"Tasks.Approve"}, "scp": "access_as_user",
		"tid": directory.TenantID, "ver": "2.0"}
	if diff := cmp.Diff(want, wantTimes(t, v, without(t, claims, "uti", "aio", "rh", "sub", "sid"), 0, 3599*time.Second)); diff != "" {
		t.Errorf("claims (-want +got):\n%s", diff)
	}
}

func TestIDTokens(t *testing.T) {
	v := serve(t)
	a := v.redeemCode(v.codeFor(func(c *authCode) { c.Scope += " email" })).ok()
	want := map[string]any{"aud": directory.CLIAppID, "iss": v.BaseURL + "/" + directory.TenantID + "/v2.0", "name": "Ben Ostrow", "nonce": "n-1", "oid": directory.BenID,
		"preferred_username": "ben@fob.example", "email": "ben@fob.example", "tid": directory.TenantID, "ver": "2.0"}
	if diff := cmp.Diff(want, wantTimes(t, v, without(t, a.claims("id_token"), "uti", "aio", "rh", "sub", "sid"), 0, 3599*time.Second)); diff != "" {
		t.Errorf("version 2 (-want +got):\n%s", diff)
	}
	bare := v.ben("scope", "openid").ok().claims("id_token")
	if bare["name"] != nil || bare["oid"] != nil || bare["preferred_username"] != nil {
		t.Errorf("without profile the ID token says %v", bare)
	}
	v1 := v.post(tokenPathV1, "grant_type", "password", "client_id", directory.CLIAppID, "username", "ben@fob.example", "password", "ben-password-1", "resource", "https://graph.microsoft.com").ok()
	claims := v1.claims("id_token")
	if claims["ver"] != "1.0" || claims["upn"] != "ben@fob.example" || claims["unique_name"] != "ben@fob.example" || claims["iss"] != v.BaseURL+"/"+directory.TenantID+"/" {
		t.Errorf("version 1 says %v", claims)
	}
}

func TestSubjectsArePairwiseAndLasting(t *testing.T) {
	v := serve(t)
	first, again := v.ben().ok().claims("id_token")["sub"], v.ben().ok().claims("id_token")["sub"]
	other := v.ben("client_id", directory.VSCodeAppID).ok().claims("id_token")["sub"]
	if first != again || first == other {
		t.Errorf("sub %v, then %v, for another app %v", first, again, other)
	}
}

func TestAnswersOfVersion1AreStrings(t *testing.T) {
	v := serve(t)
	a := v.post(tokenPathV1, "grant_type", "client_credentials", "client_id", directory.DaemonAppID, "client_secret", "daemon-secret-value-2", "resource", "https://management.core.windows.net/").ok()
	for _, name := range []string{"expires_in", "ext_expires_in", "expires_on", "not_before", "resource", "token_type"} {
		a.text(name)
	}
	if aud := a.claims("access_token")["aud"]; aud != "https://management.core.windows.net/" || a.text("resource") != aud {
		t.Errorf("aud %v, resource %v: the slash has to stay", aud, a.body["resource"])
	}
	user := v.post(tokenPathV1, "grant_type", "password", "client_id", directory.CLIAppID, "username", "ben@fob.example", "password", "ben-password-1", "resource", directory.GraphAppID).ok()
	user.text("refresh_token")
	again := v.post(tokenPathV1, "grant_type", "refresh_token", "client_id", directory.CLIAppID, "refresh_token", user.text("refresh_token")).ok()
	if again.text("resource") != directory.GraphAppID {
		t.Errorf("renewed without a resource: %s", again.raw)
	}
	v.renew(user.text("refresh_token")).ok() // at v2, where nothing but the first request names a resource
}

func TestSecretsByHeaderAreDecoded(t *testing.T) {
	v := serve(t)
	v.World.UpdateApp(directory.DaemonAppID, func(a *directory.App) { a.Secrets[1].Value = "a+b/c%d:e f~" })
	a := v.postForm(tokenPath, fields("grant_type", "client_credentials", "scope", graphAll),
		"Authorization", basic(strings.ReplaceAll(directory.DaemonAppID, "-", "%2D"), "a%2Bb%2Fc%25d%3Ae+f~"))
	a.ok()
	v.daemon("client_secret", "daemon-secret-value-1").ok()
	v.daemon("client_secret", "a+b/c%d:e f~").ok()
}

func TestAudiencesAreAsAskedFor(t *testing.T) {
	v := serve(t)
	for scope, want := range map[string]string{
		"https://graph.microsoft.com/.default":                    "https://graph.microsoft.com",
		directory.GraphAppID + "/.default":                        directory.GraphAppID,
		"https://management.core.windows.net//.default":           "https://management.core.windows.net/",
		"https://management.azure.com/.default":                   "https://management.azure.com",
		"api://fob-api/.default":                                  directory.APIAppID,
		directory.DaemonAppID + "/.default":                       directory.DaemonAppID,
		graphAll + " openid offline_access profile":               "https://graph.microsoft.com",
		"api://" + directory.APIAppID + "/.default openid  email": directory.APIAppID,
	} {
		if aud := v.daemon("scope", scope).ok().claims("access_token")["aud"]; aud != want {
			t.Errorf("%s: aud %v, want %s", scope, aud, want)
		}
	}
}

func TestTheEmulatorsOwnOriginIsGraph(t *testing.T) {
	v := serve(t)
	v.World.AddResourceOrigin(directory.GraphAppID, "https://localhost:18811")
	claims := v.daemon("scope", "https://localhost:18811/.default").ok().claims("access_token")
	if claims["aud"] != "https://localhost:18811" || len(claims["roles"].([]any)) == 0 {
		t.Errorf("claims %v", claims)
	}
}

func TestContinuousAccess(t *testing.T) {
	v := serve(t)
	for _, capability := range []string{"cp1", "CP1"} {
		a := v.daemon("claims", `{"access_token":{"xms_cc":{"values":["`+capability+`"]}}}`).ok()
		if diff := cmp.Diff([]any{"CP1"}, a.claims("access_token")["xms_cc"]); diff != "" || a.body["expires_in"] != 86399.0 || a.body["refresh_in"] != 43199.0 {
			t.Errorf("%s: %s %s", capability, a.raw, diff)
		}
	}
	if c := v.daemon("claims", `{"access_token":{"nbf":{"essential":true,"value":"1"}}}`).ok().claims("access_token"); c["xms_cc"] != nil {
		t.Errorf("a challenge alone switched it on: %v", c)
	}
	if c := v.daemon("scope", "api://fob-api/.default", "claims", `{"access_token":{"xms_cc":{"values":["cp1"]}}}`).ok().claims("access_token"); c["xms_cc"] != nil {
		t.Errorf("an API that does not ask for xms_cc got it: %v", c)
	}
}

func TestAChosenLifetimeIsThatOfEveryToken(t *testing.T) {
	v := serve(t)
	v.TokenLifetime = time.Minute
	for _, claims := range []string{"-", `{"access_token":{"xms_cc":{"values":["cp1"]}}}`} {
		a := v.daemon("claims", claims).ok()
		if exp := int64(a.claims("access_token")["exp"].(float64)) - v.World.Now().Unix(); a.body["expires_in"] != 60.0 || exp > 60 || a.body["refresh_in"] != nil {
			t.Errorf("claims %s: %s, ends in %d s", claims, a.raw, exp)
		}
	}
}

func TestNoTwoTokensAreEqual(t *testing.T) {
	v := serve(t)
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				raw := v.daemon().text("access_token")
				mu.Lock()
				seen[raw] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if len(seen) != 40 {
		t.Errorf("%d different tokens of 40", len(seen))
	}
}

func TestRefreshTokens(t *testing.T) {
	v := serve(t)
	first := v.ben().ok()
	old := first.text("refresh_token")
	second := v.renew(old).ok() // without a scope: as before
	if second.text("scope") != first.text("scope") || second.text("refresh_token") == old {
		t.Errorf("renewed: %s", second.raw)
	}
	second.text("id_token")
	v.renew(old).ok() // the old one stays good
	api := v.renew(old, "scope", "api://fob-api/.default").ok()
	if api.claims("access_token")["aud"] != directory.APIAppID {
		t.Errorf("for another resource: %s", api.raw)
	}
	both := v.renew(old, "scope", "api://fob-api/.default https://graph.microsoft.com/.default").ok()
	if both.claims("access_token")["aud"] != directory.APIAppID {
		t.Errorf("the first of two resources wins: %s", both.raw)
	}

	v.World.Advance(80 * 24 * time.Hour)
	third := v.renew(old).ok().text("refresh_token")
	v.World.Advance(80 * 24 * time.Hour) // 160 days after the sign-in, 80 after the last use
	v.renew(third).ok()
}

func TestATokenIsBoundToTheKeyThatIsNamed(t *testing.T) {
	v := serve(t)
	cnf := base64.RawURLEncoding.EncodeToString([]byte(`{"kid":"thumbprint"}`))
	for name, a := range map[string]answer{"an app": v.daemon("token_type", "pop", "req_cnf", cnf), "a person": v.ben("token_type", "pop", "req_cnf", cnf)} {
		if bound, _ := a.ok().claims("access_token")["cnf"].(map[string]any); a.text("token_type") != "pop" || bound["kid"] != "thumbprint" {
			t.Errorf("%s: %s", name, a.raw)
		}
	}
	if a := v.daemon("token_type", "Bearer").ok(); a.text("token_type") != "Bearer" || a.claims("access_token")["cnf"] != nil {
		t.Errorf("a bearer's: %s", a.raw)
	}
	v.daemon("token_type", "pop").refusedWith(50167, "invalid_request", http.StatusBadRequest)
	v.daemon("token_type", "pop", "req_cnf", "e30").refusedWith(50167, "invalid_request", http.StatusBadRequest)
	v.daemon("token_type", "ssh-cert", "req_cnf", cnf).refusedWith(90010, "invalid_request", http.StatusBadRequest)
	v.obo(v.apiToken(), "requested_token_type", "urn:ietf:params:oauth:token-type:saml2").refusedWith(90010, "invalid_request", http.StatusBadRequest)
}

func TestANewRefreshTokenComesWhereOneIsAskedFor(t *testing.T) {
	v := serve(t)
	first := v.ben("scope", "User.Read offline_access").ok().text("refresh_token")
	for scope, want := range map[string]bool{"": true, "User.Read offline_access": true, "User.Read": false, graphAll: false} {
		var pairs []string
		if scope != "" {
			pairs = []string{"scope", scope}
		}
		if a := v.renew(first, pairs...).ok(); (a.body["refresh_token"] != nil) != want {
			t.Errorf("scope %q: %s", scope, a.raw)
		}
	}
}

func TestRefreshTokensOfOneServerAreNothingToAnother(t *testing.T) {
	raw := serve(t).ben().ok().text("refresh_token")
	serve(t).renew(raw).refusedWith(70000, "invalid_grant", http.StatusBadRequest)
}

func TestARevocationSparesLaterSignIns(t *testing.T) {
	v := serve(t)
	if err := v.Revoke(directory.BenID); err != nil {
		t.Fatal(err)
	}
	v.World.Advance(time.Second)
	v.renew(v.ben().ok().text("refresh_token")).ok()
	if v.Revoke("eve@fob.example") == nil {
		t.Error("nobody was revoked")
	}
}

func TestTokensOfTheSecondOfARevocationCanBeToldApart(t *testing.T) {
	v := serve(t)
	v.World.SetTime(time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC))
	before := v.apiToken()
	if err := v.Revoke("ben@fob.example"); err != nil {
		t.Fatal(err)
	}
	after := v.apiToken()
	v.obo(before).refusedWith(50173, "invalid_grant", http.StatusBadRequest)
	v.obo(after).ok()
	u, _ := v.World.User("", "ben@fob.example")
	_, b := decodeJWT(t, before)
	_, a := decodeJWT(t, after)
	if at := float64(u.SessionsRevoked.Unix()); b["iat"].(float64) > at || a["iat"].(float64) <= at {
		t.Errorf("revoked at %v, tokens of %v and %v", at, b["iat"], a["iat"])
	}
}

// MSAL for JavaScript puts its telemetry into the body, others say which
// character set they use, and new versions send what nobody has heard of.
func TestWhatClientsSendBesidesIsTolerated(t *testing.T) {
	v := serve(t)
	form := fields("grant_type", "client_credentials", "client_id", directory.DaemonAppID, "client_secret", "daemon-secret-value-1", "scope", graphAll+" openid offline_access profile",
		"client_info", "1", "x-client-SKU", "msal.js.node", "x-client-VER", "3.0.0", "x-client-current-telemetry", "5|771,0,,,|,", "x-ms-lib-capability", "retry-after, h429",
		"X-AnchorMailbox", "Oid:1@2", "fmi_path", "", "brand_new", "1")
	a := v.postBody(tokenPath+"?slice=testslice&dc=x", "application/x-www-form-urlencoded; charset=utf-8", form.Encode(), "X-Client-Ver", "1.0", "Return-Client-Request-Id", "false").ok()
	if a.body["client_info"] != nil || a.body["id_token"] != nil || a.body["refresh_token"] != nil || a.body["scope"] != nil {
		t.Errorf("an app got what is for users: %s", a.raw)
	}
}

func TestAnOversizedRequestIsRefused(t *testing.T) {
	v := serve(t)
	v.daemon("scope", strings.Repeat("x", maxBody)).refusedWith(9002313, "invalid_request", http.StatusRequestEntityTooLarge)
	v.withAssertion(strings.Repeat("x", maxAssertion+1)).refusedWith(50027, "invalid_client", http.StatusUnauthorized)
}

func TestFamilyRefreshTokens(t *testing.T) {
	v := serve(t)
	a := v.ben("client_id", directory.VSCodeAppID).ok()
	if a.text("foci") != "1" {
		t.Errorf("foci is %v", a.body["foci"])
	}
	b := v.renew(a.text("refresh_token"), "client_id", directory.AzurePowerShellAppID).ok()
	if b.claims("access_token")["appid"] != directory.AzurePowerShellAppID {
		t.Errorf("claims %v", b.claims("access_token"))
	}
}

func TestSinglePageApps(t *testing.T) {
	v := serve(t)
	a := v.spa("http://localhost").ok()
	if a.header.Get("Access-Control-Allow-Origin") != "http://localhost" || a.body["refresh_token_expires_in"] != 86400.0 && a.body["refresh_token_expires_in"] != 86399.0 {
		t.Errorf("answer %v %s", a.header, a.raw)
	}
	v.World.Advance(23 * time.Hour)
	form := fields("grant_type", "refresh_token", "client_id", directory.SPAAppID, "refresh_token", a.text("refresh_token"))
	b := v.postForm(tokenPath, form, "Origin", "http://localhost").ok()
	if left := b.body["refresh_token_expires_in"].(float64); left > 3601 || left < 3500 {
		t.Errorf("after 23 hours %v seconds are left: the lifetime is fixed", left)
	}
	v.postForm(tokenPath, form).refusedWith(9002327, "invalid_request", http.StatusBadRequest)

	denied := v.postForm(tokenPath, fields(redemption(v.codeFor(nil))...), "Origin", "https://page.example")
	denied.refusedWith(9002326, "invalid_request", http.StatusBadRequest)
	if got := denied.header.Get("Access-Control-Allow-Origin"); got != "https://page.example" {
		t.Errorf("a page that is no single-page app may not read why it is refused: %q", got)
	}
	wrong := v.postForm(tokenPath, fields("grant_type", "refresh_token", "client_id", directory.CLIAppID, "refresh_token", "rubbish"), "Origin", "https://page.example")
	if got := wrong.header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("a page may read %s", wrong.raw)
	}

	r, err := http.NewRequest(http.MethodOptions, v.BaseURL+tokenPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Access-Control-Request-Headers", "x-client-sku")
	if p := v.do(r); p.status != http.StatusNoContent || p.header.Get("Access-Control-Allow-Headers") != "x-client-sku" {
		t.Errorf("preflight: %d %v", p.status, p.header)
	}
}

func TestPlainPKCE(t *testing.T) {
	v := serve(t)
	v.redeemCode(v.codeFor(func(c *authCode) { c.Challenge, c.ChallengeMethod = verifier, "plain" })).ok()
}

func TestAFailedRedemptionDoesNotSpendTheCode(t *testing.T) {
	v := serve(t)
	code := v.codeFor(nil)
	v.redeemCode(code, "code_verifier", "wrong").refusedWith(501481, "invalid_grant", http.StatusBadRequest)
	v.redeemCode(code).ok()
}

func TestOnlyOneOfManyRedeemsACode(t *testing.T) {
	v := serve(t)
	code := v.codeFor(nil)
	var wg sync.WaitGroup
	statuses := make([]int, 8)
	for i := range statuses {
		wg.Go(func() { statuses[i] = v.redeemCode(code).status })
	}
	wg.Wait()
	if n := len(slices.DeleteFunc(statuses, func(s int) bool { return s != http.StatusOK })); n != 1 {
		t.Errorf("%d redemptions succeeded", n)
	}
}

func TestACodeMayNameTheResourceLater(t *testing.T) {
	v := serve(t)
	a := v.redeemCode(v.codeFor(func(c *authCode) { c.Scope = "User.Read openid offline_access api://fob-api/access_as_user" }), "scope", "api://fob-api/access_as_user").ok()
	if a.claims("access_token")["aud"] != directory.APIAppID {
		t.Errorf("claims %v", a.claims("access_token"))
	}
	a.text("id_token")
	a.text("refresh_token")
}

func TestDeviceCodes(t *testing.T) {
	v := serve(t)
	d := v.device().ok()
	if d.body["expires_in"] != 900.0 || d.body["interval"] != 5.0 || d.text("verification_uri") != v.BaseURL+"/devicelogin" || len(d.text("user_code")) != 9 ||
		!strings.Contains(d.text("message"), d.text("user_code")) {
		t.Errorf("answer %s", d.raw)
	}
	pending := v.PendingDevices()
	if len(pending) != 1 || pending[0].UserCode != d.text("user_code") || pending[0].ClientID != directory.CLIAppID {
		t.Errorf("pending %v", pending)
	}
	if err := v.Approve(strings.ToLower(d.text("user_code")[:4])+"-"+d.text("user_code")[4:], "ben@fob.example"); err != nil {
		t.Fatal(err)
	}
	if len(v.PendingDevices()) != 0 || v.Approve(d.text("user_code"), "ben@fob.example") == nil {
		t.Error("an approved request is still pending")
	}
	a := v.poll(d.text("device_code")).ok()
	if a.claims("access_token")["upn"] != "ben@fob.example" {
		t.Errorf("claims %v", a.claims("access_token"))
	}
	v.renew(a.text("refresh_token")).ok()
	v.poll(d.text("device_code")).refusedWith(54005, "invalid_grant", http.StatusBadRequest)
}

// The forms in which real clients poll: MSAL for Go and JavaScript, MSAL for
// Python, and old tools at v1.
func TestDeviceCodePollsInAllSpellings(t *testing.T) {
	v := serve(t)
	for name, poll := range map[string]func(code string) answer{
		"short": func(c string) answer {
			return v.poll(c, "grant_type", "device_code", "client_info", "1", "scope", "User.Read")
		},
		"both code, URN": func(c string) answer { return v.poll(c, "code", c) },
		"v1": func(c string) answer {
			return v.post(tokenPathV1, "grant_type", "device_code", "client_id", directory.CLIAppID, "code", c, "resource", "https://graph.microsoft.com")
		},
	} {
		d := v.device().ok()
		if err := v.Approve(d.text("user_code"), "cleo@fob.example"); err != nil {
			t.Fatal(err)
		}
		if a := poll(d.text("device_code")); a.status != http.StatusOK {
			t.Errorf("%s: %s", name, a.raw)
		}
	}
	d := v.post("/fob.example/oauth2/devicecode", "client_id", directory.CLIAppID, "resource", "https://graph.microsoft.com").ok()
	if d.text("expires_in") != "900" || d.text("interval") != "5" || d.text("verification_url") == "" {
		t.Errorf("v1: %s", d.raw)
	}
}

func TestADeviceCodeIsPolledAtItsTenant(t *testing.T) {
	v := serve(t)
	d := v.post("/organizations/oauth2/v2.0/devicecode", "client_id", directory.AzureCLIAppID, "scope", "https://management.core.windows.net//.default offline_access openid profile").ok()
	if err := v.Approve(d.text("user_code"), "ada@fob.example"); err != nil {
		t.Fatal(err)
	}
	poll := []string{"grant_type", "device_code", "client_id", directory.AzureCLIAppID, "device_code", d.text("device_code")}
	v.post(tokenPath, poll...).refusedWith(700005, "invalid_grant", http.StatusBadRequest)
	a := v.post("/organizations/oauth2/v2.0/token", poll...).ok()
	if c := a.claims("access_token"); c["tid"] != directory.TenantID || c["aud"] != "https://management.core.windows.net/" || c["scp"] != "user_impersonation" {
		t.Errorf("claims %v", c)
	}
	if iss := a.claims("id_token")["iss"]; iss != v.BaseURL+"/"+directory.TenantID+"/v2.0" {
		t.Errorf("iss %v: it names the tenant of the user, not the alias", iss)
	}
}

func TestApprovalConsentsAsFarAsTheUserMay(t *testing.T) {
	v := serve(t)
	d := v.device("scope", "Mail.Read").ok()
	if err := v.Approve(d.text("user_code"), "ben@fob.example"); err != nil {
		t.Fatal(err)
	}
	v.poll(d.text("device_code")).ok()
	admin := v.device("scope", "AuditLog.Read.All").ok()
	if err := v.Approve(admin.text("user_code"), "ben@fob.example"); err == nil || !strings.Contains(err.Error(), "90094") {
		t.Errorf("ben consented to an administrator's permission: %v", err)
	}
	if err := v.Approve(admin.text("user_code"), "ada@fob.example"); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{"code": v.Approve("AAAAAAAAA", "ben@fob.example"), "user": v.Approve(v.device().ok().text("user_code"), "eve@fob.example"), "deny": v.Deny("AAAAAAAAA")} {
		if err == nil {
			t.Errorf("an unknown %s is no error", name)
		}
	}
}

func TestApprovalIsASignInLikeOnThePage(t *testing.T) {
	v := serve(t)
	v.update("ben@fob.example", func(u *directory.User) { u.MFARequired = true })
	d := v.device().ok()
	if err := v.Approve(d.text("user_code"), "ben@fob.example"); err != nil {
		t.Fatal(err)
	}
	if amr := v.poll(d.text("device_code")).ok().claims("access_token")["amr"]; !reflect.DeepEqual(amr, []any{"pwd", "mfa"}) {
		t.Errorf("amr %v of somebody who needs a second factor", amr)
	}
	v.update("ben@fob.example", func(u *directory.User) { u.Locked = true })
	if err := v.Approve(v.device().ok().text("user_code"), "ben@fob.example"); err == nil || !strings.Contains(err.Error(), "AADSTS50053") {
		t.Errorf("who is locked out came in: %v", err)
	}

	v.World.UpdateApp(directory.PartnerAppID, func(a *directory.App) { a.AllowPublicFlows, a.Secrets = true, nil })
	d = v.post("/organizations/oauth2/v2.0/devicecode", "client_id", directory.PartnerAppID, "scope", "User.Read").ok()
	if err := v.Approve(d.text("user_code"), "cleo@fob.example"); err != nil {
		t.Fatalf("an app that comes to a new tenant: %v", err)
	}
	v.post("/organizations/oauth2/v2.0/token", "grant_type", "device_code", "client_id", directory.PartnerAppID, "device_code", d.text("device_code")).ok()
	if _, known := v.World.App(directory.TenantID, directory.PartnerAppID); !known {
		t.Error("the app is not known in the tenant that it has come to")
	}
}

func TestWhoIsNotAssignedGetsNoTokenForTheAppItself(t *testing.T) {
	v := serve(t)
	v.ben("scope", directory.CLIAppID+"/.default").ok()
	v.World.UpdateApp(directory.CLIAppID, func(a *directory.App) { a.AssignmentNeeded = true })
	v.ben().refusedWith(50105, "invalid_grant", http.StatusBadRequest)
	v.ben("scope", directory.CLIAppID+"/.default").refusedWith(50105, "invalid_grant", http.StatusBadRequest)
}

func TestAGuestIsNoMember(t *testing.T) {
	v := serve(t)
	v.update("ben@fob.example", func(u *directory.User) { u.Guest, u.Mail = true, "ben@home.example" })
	a := v.ben().ok()
	if c := a.claims("access_token"); c["acct"] != 1.0 || c["wids"] != nil || c["email"] != "ben@home.example" {
		t.Errorf("access token: %v", c)
	}
	if c := a.claims("id_token"); c["email"] != "ben@home.example" {
		t.Errorf("ID token: %v", c)
	}
}

func TestOnBehalfOf(t *testing.T) {
	v := serve(t)
	a := v.obo(v.apiToken(), "client_info", "1", "scope", "https://graph.microsoft.com/User.Read openid profile offline_access").ok()
	c := a.claims("access_token")
	if c["aud"] != "https://graph.microsoft.com" || c["appid"] != directory.APIAppID || c["oid"] != directory.BenID || c["appidacr"] != "1" || !strings.Contains(c["scp"].(string), "User.Read") {
		t.Errorf("claims %v", c)
	}
	a.text("client_info")
	v.post(tokenPath, "grant_type", "refresh_token", "client_id", directory.APIAppID, "client_secret", "api-secret-value-1", "refresh_token", a.text("refresh_token")).ok()
	v.post("/common/oauth2/v2.0/token", "grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer").refusedWith(900144, "invalid_request", http.StatusBadRequest)
}

func TestCertificateAssertions(t *testing.T) {
	v := serve(t)
	v.World.AddCertificate(directory.DaemonAppID, otherKey().cert)
	v.World.AddCertificate(directory.DaemonAppID, clientKey().cert)
	k := clientKey()
	der := base64.StdEncoding.EncodeToString(k.cert.Raw)
	now := v.World.Now().Unix()
	for name, c := range map[string]struct{ header, claims map[string]any }{
		"PS256, base64url":                {certHeader(), v.certClaims()},
		"MSAL for Go: standard base64":    {certHeader("x5t#S256", base64.StdEncoding.EncodeToString(k.sha256())), v.certClaims()},
		"MSAL for Python: padded":         {certHeader("alg", "RS256", "x5t#S256", nil, "x5t", base64.URLEncoding.EncodeToString(k.sha1())), v.certClaims()},
		"MSAL for .NET: times as strings": {certHeader("x5c", der), v.certClaims("nbf", fmt.Sprint(now), "exp", fmt.Sprint(now+600))},
		"a chain":                         {certHeader("x5c", []string{der}), v.certClaims()},
		"a chain alone":                   {certHeader("x5t#S256", nil, "x5c", []string{der}), v.certClaims()},
		"kid alone":                       {certHeader("x5t#S256", nil, "kid", encodeSegment(k.sha1())), v.certClaims()},
		"no nbf":                          {certHeader(), v.certClaims("nbf", nil)},
		"a clock that is late":            {certHeader(), v.certClaims("nbf", now+240)},
		"the v1 URL at Microsoft":         {certHeader(), v.certClaims("aud", "https://login.microsoftonline.com/fobexample.onmicrosoft.com/oauth2/token")},
		"the v2 URL with a domain":        {certHeader(), v.certClaims("aud", v.BaseURL+"/fob.example/oauth2/v2.0/token")},
		"the issuer":                      {certHeader(), v.certClaims("aud", v.BaseURL+"/"+directory.TenantID+"/v2.0")},
		"sts.windows.net":                 {certHeader(), v.certClaims("aud", "https://sts.windows.net/"+directory.TenantID+"/")},
		"aud as a list":                   {certHeader(), v.certClaims("aud", []string{v.BaseURL + tokenPath})},
	} {
		a := v.withAssertion(k.jwt(c.header, c.claims))
		if a.status != http.StatusOK {
			t.Errorf("%s: %s", name, a.raw)
			continue
		}
		if acr := a.claims("access_token")["appidacr"]; acr != "2" {
			t.Errorf("%s: appidacr %v, want 2", name, acr)
		}
	}
}

func TestAnAssertionMayNameTheHostThatItWasSentTo(t *testing.T) {
	v := serve(t)
	v.World.AddCertificate(directory.DaemonAppID, clientKey().cert)
	form := fields("grant_type", "client_credentials", "client_id", directory.DaemonAppID, "scope", graphAll, "client_assertion_type", assertionType,
		"client_assertion", clientKey().jwt(certHeader(), v.certClaims("aud", "https://entra.test:8443"+tokenPath)))
	r, err := http.NewRequest(http.MethodPost, v.BaseURL+tokenPath, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	v.do(r).refusedWith(50027, "invalid_client", http.StatusUnauthorized)
	r.Body, r.Host = http.NoBody, "entra.test:8443"
	if r.Body, err = r.GetBody(); err != nil {
		t.Fatal(err)
	}
	v.do(r).ok()
}

func TestAssertionAudiencesElsewhereAreRefused(t *testing.T) {
	v := serve(t)
	v.World.AddCertificate(directory.DaemonAppID, clientKey().cert)
	for _, aud := range []string{"https://login.microsoftonline.com/other.example/oauth2/v2.0/token", "https://login.evil.example/" + directory.TenantID + "/oauth2/v2.0/token",
		v.BaseURL + "/" + directory.TenantID + "/oauth2/v2.0/authorize", directory.DaemonAppID, ""} {
		v.withAssertion(clientKey().jwt(certHeader(), v.certClaims("aud", aud))).refusedWith(50027, "invalid_client", http.StatusUnauthorized)
	}
}

func TestAnExpiredCertificateIsRefused(t *testing.T) {
	v := serve(t)
	v.World.AddCertificate(directory.DaemonAppID, clientKey().cert)
	v.World.Advance(2 * 365 * 24 * time.Hour)
	a := v.withAssertion(clientKey().jwt(certHeader(), v.certClaims()))
	a.refusedWith(700027, "invalid_client", http.StatusUnauthorized)
	if !strings.Contains(a.text("error_description"), "expired") {
		t.Error(a.raw)
	}
}

func TestFederatedAssertions(t *testing.T) {
	header := map[string]any{"alg": "RS256", "typ": "JWT", "kid": "k1"}
	t.Run("keys in the world", func(t *testing.T) {
		v := serve(t)
		v.trustIssuer(nil)
		a := v.withAssertion(otherKey().jwt(header, v.external())).ok()
		if a.claims("access_token")["appidacr"] != "2" {
			t.Errorf("claims %v", a.claims("access_token"))
		}
		v.withAssertion(otherKey().jwt(object(header, "alg", "PS256"), v.external())).refusedWith(50027, "invalid_client", http.StatusUnauthorized)
		v.withAssertion(otherKey().jwt(object(header, "typ", "http://openid.net/specs/jwt/1.0"), v.external())).ok()
		v.withAssertion(otherKey().jwt(object(header, "kid", "k2"), v.external())).refusedWith(700027, "invalid_client", http.StatusUnauthorized)
		v.withAssertion(otherKey().jwt(header, v.external("exp", v.World.Now().Add(-time.Hour).Unix()))).refusedWith(700024, "invalid_client", http.StatusUnauthorized)
	})
	for name, start := range map[string]func(http.Handler) *httptest.Server{"an issuer on this machine": httptest.NewServer, "with TLS": httptest.NewTLSServer} {
		t.Run(name, func(t *testing.T) {
			v := serve(t)
			mux := http.NewServeMux()
			issuer := start(mux)
			t.Cleanup(issuer.Close)
			mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, issuer.URL, issuer.URL+"/keys")
			})
			mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(otherKey().jwks()) })
			v.trustIssuer(func(f *directory.FederatedCredential) { f.Issuer, f.Keys = issuer.URL, nil })
			v.withAssertion(otherKey().jwt(header, v.external("iss", issuer.URL))).ok()
			issuer.Close()
			v.withAssertion(otherKey().jwt(header, v.external("iss", issuer.URL))).refusedWith(50166, "invalid_client", http.StatusBadRequest)
		})
	}
}

func TestTheTokenOfOneAppCanStandInForTheCredentialOfAnother(t *testing.T) {
	v := serve(t)
	app, _ := v.World.Registration(directory.DaemonAppID)
	issuer := v.BaseURL + "/" + directory.TenantID + "/v2.0"
	v.World.UpdateApp(directory.WebAppID, func(a *directory.App) {
		a.Federated = []directory.FederatedCredential{
			{Issuer: issuer, Subject: app.PrincipalID, Audience: "api://AzureADTokenExchange"},
			{Issuer: issuer, Subject: pairwise(directory.TenantID, directory.BenID, directory.TokenExchangeAppID), Audience: "api://AzureADTokenExchange"},
		}
	})
	own := v.daemon("scope", "api://AzureADTokenExchange/.default").ok().text("access_token")
	a := v.withAssertion(own, "client_id", directory.WebAppID).ok()
	if c := a.claims("access_token"); c["appid"] != directory.WebAppID || c["appidacr"] != "2" {
		t.Errorf("claims %v", c)
	}
	forged := own[:len(own)-8] + "AAAAAAAA"
	v.withAssertion(forged, "client_id", directory.WebAppID).refusedWith(700027, "invalid_client", http.StatusUnauthorized)
	person := v.ben("scope", "api://AzureADTokenExchange/user_impersonation").ok().text("access_token")
	v.withAssertion(person, "client_id", directory.WebAppID).refusedWith(700229, "invalid_client", http.StatusUnauthorized)
	v.World.Advance(2 * time.Hour)
	v.withAssertion(own, "client_id", directory.WebAppID).refusedWith(700024, "invalid_client", http.StatusUnauthorized)
}

// Whatever is posted, the answer is a token or a refusal, in JSON.
func FuzzTokenEndpoint(f *testing.F) {
	for _, grant := range []string{"client_credentials", "password", "refresh_token", "authorization_code", "device_code", "urn:ietf:params:oauth:grant-type:jwt-bearer"} {
		f.Add(grant, "User.Read openid", "x", `{"access_token":{"xms_cc":{"values":["cp1"]}}}`)
	}
	f.Add("client_credentials", "//.default /x api:///.default ://", "a.b.c", "{}")
	f.Add("client_credentials", graphAll, clientKey().jwt(certHeader("x5c", []any{}, "kid", "%"), map[string]any{"iss": "::", "sub": "", "aud": nil}), "[]")
	f.Add("client_credentials", graphAll, clientKey().jwt(certHeader("alg", "none"), map[string]any{"iss": directory.DaemonAppID, "sub": directory.DaemonAppID, "exp": "x"}), "null")
	s := New(Config{BaseURL: "https://localhost:8443"})
	f.Fuzz(func(t *testing.T, grant, scope, value, claims string) {
		for _, id := range []string{directory.DaemonAppID, directory.CLIAppID} {
			form := fields("grant_type", grant, "client_id", id, "scope", scope, "claims", claims, "client_assertion_type", assertionType, "requested_token_use", "on_behalf_of",
				"username", "ben@fob.example", "password", "ben-password-1", "code", value, "device_code", value, "refresh_token", value, "assertion", value, "client_assertion", value)
			if id == directory.CLIAppID {
				form.Del("client_assertion")
			}
			r := httptest.NewRequest(http.MethodPost, tokenPath, strings.NewReader(form.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			var body map[string]any
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || body["access_token"] == nil && body["error"] == nil {
				t.Errorf("status %d: %s", w.Code, w.Body)
			}
		}
	})
}

func TestAMultiTenantAppHasAPrincipalOfItsOwnInEachTenant(t *testing.T) {
	v := serve(t)
	v.World.Install(directory.TenantID, directory.PartnerAppID)
	form := []string{"grant_type", "client_credentials", "client_id", directory.PartnerAppID, "client_secret", "partner-secret-value-1", "scope", graphAll}
	here := v.post(tokenPath, form...).ok().claims("access_token")
	home := v.post("/other.example/oauth2/v2.0/token", form...).ok().claims("access_token")
	if here["oid"] == home["oid"] || here["tid"] != directory.TenantID || home["tid"] != directory.OtherTenantID || here["roles"] != nil {
		t.Errorf("here %v\nat home %v", here, home)
	}
}

func TestKeyRotation(t *testing.T) {
	v := serve(t)
	before := v.daemon().ok().text("access_token")
	if err := v.RotateKeys(); err != nil {
		t.Fatal(err)
	}
	after := v.daemon().ok().text("access_token")
	h1, _ := decodeJWT(t, before)
	h2, _ := decodeJWT(t, after)
	if h1["kid"] == h2["kid"] {
		t.Error("the key id did not change")
	}
	var set jose.JSONWebKeySet
	if err := json.Unmarshal([]byte(v.get("/common/discovery/v2.0/keys").ok().raw), &set); err != nil {
		t.Fatal(err)
	}
	for _, raw := range []string{before, after} {
		tok, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.RS256})
		if err != nil {
			t.Fatal(err)
		}
		if err := tok.Claims(set, &map[string]any{}); err != nil {
			t.Errorf("an independent reader of the published keys: %v", err)
		}
		if _, err := v.VerifyAccessToken(raw); err != nil {
			t.Error(err)
		}
	}
	for range maxKeys + 1 {
		if err := v.RotateKeys(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := v.VerifyAccessToken(before); err == nil {
		t.Error("a key that is no longer published verifies")
	}
}

func TestVerifyAccessToken(t *testing.T) {
	v := serve(t)
	raw := v.daemon().ok().text("access_token")
	if c, err := v.VerifyAccessToken(raw); err != nil || c["appid"] != directory.DaemonAppID {
		t.Errorf("%v, %v", c, err)
	}
	parts := strings.Split(raw, ".")
	for name, bad := range map[string]string{
		"empty": "", "no parts": "abc", "altered": raw[:len(raw)-6] + "AAAAAA", "other claims": parts[0] + "." + encodeSegment([]byte(`{"exp":9e9}`)) + "." + parts[2],
		"no algorithm": encodeSegment([]byte(`{"alg":"none"}`)) + "." + parts[1] + ".", "four parts": raw + ".x",
	} {
		if _, err := v.VerifyAccessToken(bad); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	v.World.Advance(time.Hour)
	if _, err := v.VerifyAccessToken(raw); err != ErrExpired {
		t.Errorf("after an hour: %v", err)
	}
	v.World.Advance(-2 * time.Hour)
	if _, err := v.VerifyAccessToken(raw); err == nil {
		t.Error("a token from the future is good")
	}
}

// The requests of the two scripts that this emulator is for: a daemon with a
// secret, one with a certificate, a refresh token, and the device code loop.
func TestTheTutorialsRequests(t *testing.T) {
	v := serve(t)
	v.World.AddCertificate(directory.DaemonAppID, clientKey().cert)
	const domainPath = "/fobexample.onmicrosoft.com/oauth2/v2.0/token"

	v.post(domainPath, "client_id", directory.DaemonAppID, "scope", graphAll, "client_secret", "daemon-secret-value-1", "grant_type", "client_credentials").ok()

	now := v.World.Now().Unix()
	assertion := clientKey().jwt(map[string]any{"alg": "RS256", "typ": "JWT", "x5t": encodeSegment(clientKey().sha1())},
		map[string]any{"aud": "https://login.microsoftonline.com/fobexample.onmicrosoft.com/oauth2/token", "exp": now + 7200, "iss": directory.DaemonAppID,
			"jti": newGUID(), "nbf": now, "sub": directory.DaemonAppID})
	v.post(domainPath, "client_id", directory.DaemonAppID, "client_assertion", assertion, "client_assertion_type", assertionType, "scope", graphAll, "grant_type", "client_credentials").ok()

	d := v.post("/fobexample.onmicrosoft.com/oauth2/v2.0/devicecode", "client_id", directory.CLIAppID, "scope", graphAll+" offline_access").ok()
	poll := []string{"grant_type", "urn:ietf:params:oauth:grant-type:device_code", "client_id", directory.CLIAppID, "device_code", d.text("device_code")}
	v.post(domainPath, poll...).refusedWith(70016, "authorization_pending", http.StatusBadRequest)
	if err := v.Approve(d.text("user_code"), "ben@fob.example"); err != nil {
		t.Fatal(err)
	}
	signedIn := v.post(domainPath, poll...).ok()

	v.post(domainPath, "grant_type", "refresh_token", "refresh_token", signedIn.text("refresh_token"), "client_id", directory.CLIAppID).ok().text("refresh_token")

	// Its mistakes get a clear answer.
	v.post(domainPath, "grant_type", "refresh_token", "scope", "", "refresh_token", signedIn.text("refresh_token")).refusedWith(900144, "invalid_request", http.StatusBadRequest)
	v.post(domainPath, "grant_type", "client_credentials", "scope", "", "client_id", directory.DaemonAppID, "client_secret", "daemon-secret-value-1").refusedWith(900144, "invalid_request", http.StatusBadRequest)
}

func TestStoresAreBounded(t *testing.T) {
	var s store[int]
	for i := range storeLimit + 10 {
		s.put(fmt.Sprint(i), i)
	}
	if _, old := s.m["9"]; len(s.m) != storeLimit || len(s.order) != storeLimit || old {
		t.Errorf("%d entries, %d in order, the oldest kept: %v", len(s.m), len(s.order), old)
	}
}

func BenchmarkAppToken(b *testing.B) {
	s := New(Config{BaseURL: "https://localhost:8443"})
	form := fields("grant_type", "client_credentials", "client_id", directory.DaemonAppID, "client_secret", "daemon-secret-value-1", "scope", graphAll).Encode()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			r := httptest.NewRequest(http.MethodPost, tokenPath, strings.NewReader(form))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			s.ServeHTTP(w, r)
			if w.Code != http.StatusOK {
				b.Fatal(w.Body)
			}
		}
	})
}

// The floor for BenchmarkAppToken: nothing is faster than its signature.
func BenchmarkSignature(b *testing.B) {
	k := testOnlyKey()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := k.sign(1, map[string]string{"aud": "x"}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		New(Config{})
	}
}

func TestAWebServerGetsACodeForItsPage(t *testing.T) {
	v := serve(t)
	v.change(directory.WebAppID, func(a *directory.App) { a.SPARedirects = []string{"https://localhost/page"} })
	redeem := func(more ...string) answer {
		code := v.codeFor(func(c *authCode) {
			c.Client, c.Public, c.RedirectURI = directory.WebAppID, false, "https://localhost/callback"
		})
		return v.redeemCode(code, append([]string{"client_id", directory.WebAppID, "client_secret", "web-secret-value-1", "redirect_uri", "https://localhost/callback"}, more...)...).ok()
	}
	if a := redeem(); a.body["spa_code"] != nil {
		t.Errorf("unasked: %s", a.raw)
	}
	code := redeem("return_spa_code", "1").text("spa_code")
	page := func(redirect string, headers ...string) answer {
		return v.postForm(tokenPath, fields("grant_type", "authorization_code", "client_id", directory.WebAppID, "code", code, "redirect_uri", redirect), headers...)
	}
	page("https://localhost/callback", "Origin", "https://localhost").refusedWith(500112, "invalid_grant", http.StatusBadRequest)
	page("https://localhost/page").refusedWith(9002327, "invalid_request", http.StatusBadRequest) // no page has asked
	a := page("https://localhost/page", "Origin", "https://localhost").ok()
	if a.claims("access_token")["oid"] != directory.BenID || a.body["refresh_token_expires_in"] == nil {
		t.Errorf("the page got %s", a.raw)
	}
	page("https://localhost/page", "Origin", "https://localhost").refusedWith(54005, "invalid_grant", http.StatusBadRequest)
}
