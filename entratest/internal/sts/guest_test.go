package sts

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fobauth/fob/entratest/internal/directory"
)

const (
	zedID     = "f0b00000-2001-4000-8000-000000000001" // at home
	zedHereID = "f0b00000-1001-4000-8000-0000000000ee" // as a guest
	zedUPN    = "zed@other.example"
	zedHere   = "zed_other.example#EXT#@fobexample.onmicrosoft.com"
	armAll    = "https://management.azure.com/.default"
)

// invite makes zed of Other Example a guest of Fob Example.
func invite(w *directory.World) {
	w.PutUser(&directory.User{ID: zedID, Tenant: directory.OtherTenantID, UPN: zedUPN, DisplayName: "Zed", Mail: zedUPN, Password: "zed-password-1"})
	here, _ := w.Tenant(directory.TenantID)
	w.PutUser(&directory.User{ID: zedHereID, Tenant: here.ID, UPN: directory.GuestUPN(here, zedUPN), DisplayName: "Zed (guest)", Mail: zedUPN, Guest: true, Home: zedID})
}

func withGuest(t *testing.T) *service {
	v := serve(t)
	invite(v.World)
	return v
}

// zed signs in with a password, where ben does.
func (v *service) zed(pairs ...string) answer {
	return v.ben(append([]string{"username", zedUPN, "password", "zed-password-1"}, pairs...)...)
}

// atHome signs zed in at organizations, as Azure CLI does.
func (v *service) atHome(pairs ...string) answer {
	return v.post("/organizations/oauth2/v2.0/token", append([]string{"grant_type", "password", "client_id", directory.AzureCLIAppID, "username", zedUPN, "password", "zed-password-1",
		"scope", armAll + " openid profile offline_access", "client_info", "1"}, pairs...)...)
}

// visit redeems a refresh token of zed at another tenant.
func (v *service) visit(tenant, refresh string) answer {
	return v.post("/"+tenant+"/oauth2/v2.0/token", "grant_type", "refresh_token", "client_id", directory.AzureCLIAppID, "refresh_token", refresh, "scope", armAll+" openid profile", "client_info", "1")
}

func TestAGuestComesWithTheAccountOfHome(t *testing.T) {
	v := withGuest(t)
	a := v.zed("client_info", "1").ok()
	home := v.BaseURL + "/" + directory.OtherTenantID + "/"
	for claim, want := range map[string]any{"tid": directory.TenantID, "oid": zedHereID, "idp": home, "acct": 1.0, "unique_name": zedUPN, "upn": zedHere, "name": "Zed (guest)", "email": zedUPN} {
		if got := a.claims("access_token")[claim]; got != want {
			t.Errorf("the access token has %s %v, want %v", claim, got, want)
		}
	}
	for claim, want := range map[string]any{"tid": directory.TenantID, "oid": zedHereID, "idp": home, "preferred_username": zedUPN, "email": zedUPN} {
		if got := a.claims("id_token")[claim]; got != want {
			t.Errorf("the ID token has %s %v, want %v", claim, got, want)
		}
	}
	info, _ := base64.RawURLEncoding.DecodeString(a.text("client_info"))
	if string(info) != `{"uid":"`+zedID+`","utid":"`+directory.OtherTenantID+`"}` {
		t.Errorf("client_info %s", info)
	}

	api := v.renew(a.text("refresh_token"), "scope", "api://fob-api/access_as_user").ok()
	if c := api.claims("access_token"); c["idp"] != home || c["preferred_username"] != zedUPN || c["upn"] != nil || c["oid"] != zedHereID {
		t.Errorf("a token of version 2: %v", c)
	}
	v.World.UpdateApp(directory.APIAppID, func(a *directory.App) { a.OptionalClaims = []string{"upn"} })
	api = v.renew(a.text("refresh_token"), "scope", "api://fob-api/access_as_user").ok()
	if c := api.claims("access_token"); c["upn"] != zedHere {
		t.Errorf("an API that wants to know: %v", c)
	}
	if c := v.obo(api.text("access_token"), "scope", "https://graph.microsoft.com/User.Read").ok().claims("access_token"); c["oid"] != zedHereID || c["idp"] != home {
		t.Errorf("on behalf of a guest: %v", c)
	}
	if c := v.ben().ok().claims("access_token"); c["idp"] != nil || c["acct"] != 0.0 || c["upn"] != "ben@fob.example" {
		t.Errorf("a member: %v", c)
	}
}

func TestARefreshTokenIsGoodWhereverTheAccountIsAGuest(t *testing.T) {
	v := withGuest(t)
	a := v.atHome().ok()
	if c := a.claims("access_token"); c["tid"] != directory.OtherTenantID || c["oid"] != zedID || c["idp"] != nil || c["acct"] != 0.0 {
		t.Errorf("at home: %v", c)
	}
	visiting := v.visit(directory.TenantID, a.text("refresh_token")).ok()
	if c := visiting.claims("access_token"); c["tid"] != directory.TenantID || c["oid"] != zedHereID || c["idp"] == nil {
		t.Errorf("on a visit: %v", c)
	}
	if visiting.text("client_info") != a.text("client_info") {
		t.Error("on a visit it is another account")
	}
	again := v.zed("client_id", directory.AzureCLIAppID, "scope", armAll+" offline_access").ok()
	if c := v.visit("organizations", again.text("refresh_token")).ok().claims("access_token"); c["tid"] != directory.OtherTenantID {
		t.Errorf("and home again: %v", c)
	}
	v.World.PutTenant(&directory.Tenant{ID: "f0b00000-3000-4000-8000-000000000003", Name: "Third", Domains: []string{"third.example"}})
	v.visit("third.example", a.text("refresh_token")).refusedWith(50020, "invalid_grant", http.StatusBadRequest)
}

func TestAGuestIsKeptOutByEitherTenant(t *testing.T) {
	change := func(id string, change func(*directory.User)) func(v *service) {
		return func(v *service) {
			u, _ := v.World.User("", id)
			c := *u
			change(&c)
			v.World.PutUser(&c)
		}
	}
	disable := func(u *directory.User) { u.Disabled = true }
	for name, c := range map[string]struct {
		happens     func(v *service)
		home, visit int
	}{
		"disabled here":                  {change(zedHereID, disable), 0, 50057},
		"disabled at home":               {change(zedID, disable), 50057, 50057},
		"password expired":               {change(zedID, func(u *directory.User) { u.PasswordExpired = true }), 50055, 50055},
		"account deleted":                {func(v *service) { v.World.DeleteUser(directory.OtherTenantID, zedID) }, 50034, 50034},
		"guest deleted":                  {func(v *service) { v.World.DeleteUser(directory.TenantID, zedHereID) }, 0, 50020},
		"sessions of the account ended":  {func(v *service) { _ = v.Revoke(zedUPN) }, 50173, 50173},
		"sessions ended, by the guest's": {func(v *service) { _ = v.Revoke(zedHere) }, 50173, 50173},
	} {
		v := withGuest(t)
		refresh := v.atHome().ok().text("refresh_token")
		c.happens(v)
		for tenant, code := range map[string]int{"organizations": c.home, directory.TenantID: c.visit} {
			a := v.visit(tenant, refresh)
			if code == 0 && a.status != 200 || code != 0 && !strings.Contains(a.raw, fmt.Sprintf("AADSTS%d:", code)) {
				t.Errorf("%s: at %s %s", name, tenant, a.raw)
			}
		}
	}
}

func TestNobodySignsInAsSomebodyFromElsewhere(t *testing.T) {
	v := withGuest(t)
	v.zed("username", zedHere).refusedWith(50034, "invalid_grant", http.StatusBadRequest)
	v.zed("password", "wrong").refusedWith(50126, "invalid_grant", http.StatusBadRequest)
	v.World.Install(directory.OtherTenantID, directory.CLIAppID)
	v.post("/other.example/oauth2/v2.0/token", "grant_type", "password", "client_id", directory.CLIAppID, "username", "ben@fob.example", "password", "ben-password-1", "scope", "User.Read").
		refusedWith(50020, "invalid_grant", http.StatusBadRequest)
	v.update(zedUPN, func(u *directory.User) { u.MFARequired = true })
	v.zed().refusedWith(50076, "invalid_grant", http.StatusBadRequest)
}

func TestAGuestSignsInWithABrowser(t *testing.T) {
	s := newSurfer(t)
	invite(s.sts.World)
	redeem := func(q url.Values) map[string]any {
		v := s.do(http.MethodPost, s.origin+tokenPath, url.Values{"grant_type": {"authorization_code"}, "client_id": {directory.CLIAppID}, "code": {q.Get("code")},
			"redirect_uri": {"http://localhost:51004"}, "code_verifier": {"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"}, "scope": {"User.Read"}})
		var answer struct {
			Access string `json:"access_token"`
		}
		if err := json.Unmarshal([]byte(v.body), &answer); err != nil || answer.Access == "" {
			t.Fatalf("status %d, %s", v.status, v.body)
		}
		return payloadOf(t, answer.Access)
	}
	page := s.get(authorizePath, cliRequest())
	if !strings.Contains(page.body, zedUPN) || strings.Contains(page.body, "#EXT#") {
		t.Error("the page offers the guest by another name than that of home")
	}
	if c := redeem(page.signIn(zedUPN, "zed-password-1").answered(cliRedirect)); c["oid"] != zedHereID || c["tid"] != directory.TenantID {
		t.Errorf("with a password: %v", c)
	}
	// The session is that of the account: good at home, and hinted at by its name.
	q := s.get("/common/oauth2/v2.0/authorize", cliRequest("client_id", directory.AzureCLIAppID, "scope", armAll, "prompt", "none", "login_hint", zedUPN)).answered(cliRedirect)
	if c, _ := s.sts.code(q.Get("code")); c.Tenant != directory.OtherTenantID || c.User != zedID {
		t.Errorf("at common: %+v", c)
	}
	if c := redeem(s.get(authorizePath, cliRequest("prompt", "none", "login_hint", zedUPN)).answered(cliRedirect)); c["oid"] != zedHereID {
		t.Errorf("in silence: %v", c)
	}
	s.freshCookies()
	s.get(authorizePath, cliRequest()).signIn(zedHere, "zed-password-1").shows(200, "(AADSTS50034)")
	s.freshCookies()
	if c := redeem(s.get(authorizePath, cliRequest()).press("as", zedUPN).answered(cliRedirect)); c["oid"] != zedHereID {
		t.Errorf("with a click: %v", c)
	}
	s.freshCookies()
	s.sts.World.PutUser(&directory.User{ID: "f0b00000-1001-4000-8000-0000000000ef", Tenant: directory.TenantID, UPN: "mo_nowhere.example#EXT#@fobexample.onmicrosoft.com", DisplayName: "Mo", Guest: true,
		More: map[string]any{"creationType": "Invitation"}})
	if page := s.get(authorizePath, cliRequest()); strings.Contains(page.body, "mo_nowhere") {
		t.Error("the page offers a guest whose account is nowhere")
	}
	s.get("/other.example/oauth2/v2.0/authorize", cliRequest("client_id", directory.AzureCLIAppID, "scope", armAll)).ben().shows(200, "(AADSTS50020)")
}

func TestAGuestSignsInOnADevice(t *testing.T) {
	v := withGuest(t)
	d := v.device().ok()
	if err := v.Approve(d.text("user_code"), zedUPN); err != nil {
		t.Fatal(err)
	}
	if c := v.poll(d.text("device_code")).ok().claims("access_token"); c["oid"] != zedHereID || c["tid"] != directory.TenantID || c["idp"] == nil {
		t.Errorf("claims %v", c)
	}
	d = v.device().ok()
	if err := v.Approve(d.text("user_code"), zedHere); err != nil { // means the same person
		t.Fatal(err)
	}
	v.poll(d.text("device_code")).ok()
}

func TestATokenOfTheImplicitGrantKnowsWhatItsClientCan(t *testing.T) {
	s := newSurfer(t)
	s.sts.World.UpdateApp(directory.WebAppID, func(a *directory.App) { a.AccessTokenImplicit = true })
	v := s.get(authorizePath, webRequest("response_type", "id_token token", "nonce", "n-1", "scope", "openid User.Read", "claims", `{"access_token":{"xms_cc":{"values":["cp1"]}}}`)).ben()
	q, err := url.ParseQuery(v.away.EscapedFragment())
	if err != nil || q.Get("expires_in") != "86399" {
		t.Fatalf("answer %v", q)
	}
	c := payloadOf(t, q.Get("access_token"))
	if can, _ := c["xms_cc"].([]any); len(can) != 1 || can[0] != "CP1" || c["exp"].(float64)-c["iat"].(float64) < 86000 {
		t.Errorf("claims %v", c)
	}
}
