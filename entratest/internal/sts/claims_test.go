package sts

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// change changes an app.
func (v *service) change(app string, change func(*directory.App)) { v.World.UpdateApp(app, change) }

// named are the elements of a claim that is a list.
func named(claims map[string]any, claim string) string {
	list, _ := claims[claim].([]any)
	return fmt.Sprint(list)
}

func TestTokensNameTheGroupsThatAnAppAsksFor(t *testing.T) {
	v := serve(t)
	const inner, unified = "f0b00000-1002-4000-8000-0000000000a1", "f0b00000-1002-4000-8000-0000000000a2"
	v.World.PutGroup(&directory.Group{ID: inner, Tenant: directory.TenantID, Name: "Outer", Members: []string{directory.PlatformGroupID}})
	v.World.PutGroup(&directory.Group{ID: unified, Tenant: directory.TenantID, Name: "Mail list", Unified: true, Members: []string{directory.BenID}})
	v.World.AssignRole(directory.RoleAssignment{Tenant: directory.TenantID, Principal: directory.ReadersGroupID, Resource: directory.APIAppID})
	v.World.AssignRole(directory.RoleAssignment{Tenant: directory.TenantID, Principal: inner, Resource: directory.APIAppID})
	for kind, want := range map[string]string{
		"": "[]", "None": "[]", "DirectoryRole": "[]",
		"SecurityGroup":    fmt.Sprint([]string{directory.PlatformGroupID, directory.ReadersGroupID, inner}),
		"All":              fmt.Sprint([]string{directory.PlatformGroupID, directory.ReadersGroupID, inner, unified}),
		"ApplicationGroup": fmt.Sprint([]string{directory.ReadersGroupID}), // ben is in the other one through a group only
	} {
		for _, app := range []string{directory.APIAppID, directory.CLIAppID} {
			v.change(app, func(a *directory.App) { a.GroupClaims = kind })
		}
		a := v.ben("scope", "api://fob-api/access_as_user openid profile").ok()
		access, id := a.claims("access_token"), a.claims("id_token")
		if got := named(access, "groups"); got != want {
			t.Errorf("%q: the access token names %s, want %s", kind, got, want)
		}
		if kind == "ApplicationGroup" { // assigned to the API, not to the client
			want = "[]"
		}
		if got := named(id, "groups"); got != want {
			t.Errorf("%q: the ID token names %s, want %s", kind, got, want)
		}
		if roles := kind == "SecurityGroup" || kind == "All" || kind == "DirectoryRole"; (access["wids"] != nil) != roles || (id["wids"] != nil) != roles {
			t.Errorf("%q: wids %v and %v", kind, access["wids"], id["wids"])
		}
	}
}

func TestTooManyGroupsAreNotInAToken(t *testing.T) {
	s := newSurfer(t)
	add := func(n int) {
		for i := range n {
			s.sts.World.PutGroup(&directory.Group{ID: fmt.Sprintf("f0b00000-1002-4000-8001-%012d", i), Tenant: directory.TenantID, Name: fmt.Sprint("G", i), Members: []string{directory.BenID}})
		}
	}
	add(3) // ben is in two others
	s.sts.World.UpdateApp(directory.WebAppID, func(a *directory.App) { a.GroupClaims = "SecurityGroup" })
	idToken := func(changes ...string) map[string]any {
		t.Helper()
		v := s.get(authorizePath, webRequest(append([]string{"response_type", "id_token", "nonce", "n-1"}, changes...)...))
		if v.away == nil && len(v.forms) > 0 && v.forms[0].fields.Get("id_token") == "" {
			v = v.ben()
		}
		if v.away == nil {
			return payloadOf(t, v.forms[0].fields.Get("id_token"))
		}
		q, err := url.ParseQuery(v.away.EscapedFragment())
		if err != nil {
			t.Fatal(err)
		}
		return payloadOf(t, q.Get("id_token"))
	}
	if c := idToken(); len(c["groups"].([]any)) != 5 || c["hasgroups"] != nil {
		t.Errorf("five in a URL: %v", c)
	}
	add(4)
	if c := idToken(); c["groups"] != nil || c["hasgroups"] != true {
		t.Errorf("six in a URL: %v", c)
	}
	if c := idToken("response_mode", "form_post"); len(c["groups"].([]any)) != 6 {
		t.Errorf("six in a form: %v", c)
	}
	add(199)
	c := idToken("response_mode", "form_post")
	want := "map[src1:map[endpoint:https://graph.windows.net/" + directory.TenantID + "/users/" + directory.BenID + "/getMemberObjects]]"
	if c["groups"] != nil || fmt.Sprint(c["_claim_names"]) != "map[groups:src1]" || fmt.Sprint(c["_claim_sources"]) != want {
		t.Errorf("201: %v", c)
	}
}

func TestOptionalClaimsAreThereWhenAskedFor(t *testing.T) {
	v := serve(t)
	ask := func() answer {
		return v.ben("scope", "api://fob-api/access_as_user openid profile").ok()
	}
	optional := map[string]any{"acct": 0.0, "email": "ben@fob.example", "family_name": "Ostrow", "given_name": "Ben", "ipaddr": "127.0.0.1", "upn": "ben@fob.example"}
	a := ask()
	for claim := range optional {
		if a.claims("access_token")[claim] != nil || a.claims("id_token")[claim] != nil {
			t.Errorf("%s is there unasked", claim)
		}
	}
	all := []string{"acct", "auth_time", "email", "family_name", "given_name", "ipaddr", "upn", "login_hint"}
	v.change(directory.APIAppID, func(a *directory.App) { a.OptionalClaims = all })
	v.change(directory.CLIAppID, func(a *directory.App) { a.IDTokenClaims = all })
	a = ask()
	for name, token := range map[string]map[string]any{"the access token": a.claims("access_token"), "the ID token": a.claims("id_token")} {
		for claim, want := range optional {
			if token[claim] != want {
				t.Errorf("%s has %s %v, want %v", name, claim, token[claim], want)
			}
		}
		if at, _ := token["auth_time"].(float64); at == 0 || at > token["iat"].(float64) {
			t.Errorf("%s has auth_time %v", name, token["auth_time"])
		}
	}

	s := newSurfer(t)
	hint, _ := a.claims("id_token")["login_hint"].(string)
	if !strings.HasPrefix(hint, "O.") || strings.Contains(hint, "@") {
		t.Errorf("login_hint %q", hint)
	}
	s.get(authorizePath, cliRequest()).ben().answered(cliRedirect)
	s.get(authorizePath, cliRequest("prompt", "none", "login_hint", hint)).answered(cliRedirect)
	s.get(authorizePath, cliRequest("prompt", "none", "login_hint", "ada@fob.example")).told(cliRedirect, "login_required", "AADSTS50058: ")
}

func TestAnAuthenticationContextThatWasAskedForIsInTheToken(t *testing.T) {
	const step = `{"access_token":{"acrs":{"essential":true,"value":"c1"},"xms_cc":{"values":["cp1"]}}}`
	v := serve(t)
	if c := v.ben("claims", step).ok().claims("access_token"); named(c, "acrs") != "[c1]" || named(c, "xms_cc") != "[CP1]" {
		t.Errorf("with a password: %v", c)
	}
	code := v.codeFor(func(c *authCode) { c.Claims = step })
	if c := v.redeemCode(code).ok().claims("access_token"); named(c, "acrs") != "[c1]" {
		t.Errorf("with a code: %v", c)
	}
	if c := v.ben().ok().claims("access_token"); c["acrs"] != nil {
		t.Errorf("unasked: %v", c)
	}
	v.ben("claims", `{"access_token":{"acrs":5}}`).refusedWith(50117, "invalid_request", http.StatusBadRequest)
}
