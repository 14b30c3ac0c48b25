package sts

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

func TestASignInEndsAtTheAppWithACode(t *testing.T) {
	s := newSurfer(t)
	page := s.get(authorizePath, cliRequest("client_info", "1")).shows(200, "Sign in", "fob CLI", "Fob Example", "not Microsoft")
	q := page.ben().answered(cliRedirect)
	if got, want := q.Get("state"), "st=1&<2>"; got != want {
		t.Errorf("state %q, want %q", got, want)
	}
	if !isGUID(q.Get("session_state")) {
		t.Errorf("session_state %q is no GUID", q.Get("session_state"))
	}
	info, err := base64.RawURLEncoding.DecodeString(q.Get("client_info"))
	if err != nil || string(info) != `{"uid":"`+directory.BenID+`","utid":"`+directory.TenantID+`"}` {
		t.Errorf("client_info %q: %v", info, err)
	}
	code, ok := s.sts.code(q.Get("code"))
	if !ok {
		t.Fatalf("code %q is unknown", q.Get("code"))
	}
	want := authCode{signIn: code.signIn, Client: directory.CLIAppID, Segment: directory.TenantID, Tenant: directory.TenantID,
		RedirectURI: "http://localhost:51004", Public: true, Challenge: rfcChallenge, ChallengeMethod: "S256",
		Scope: "User.Read openid profile offline_access", expires: code.expires}
	if !reflect.DeepEqual(code, want) {
		t.Errorf("code stands for %+v, want %+v", code, want)
	}
	if code.User != directory.BenID || code.Session != q.Get("session_state") || strings.Join(code.Methods, " ") != "pwd" {
		t.Errorf("signed in as %+v", code.signIn)
	}
}

func TestAnAnswerIsNotKeptByAnybodyOnItsWay(t *testing.T) {
	s := newSurfer(t)
	v := s.get(authorizePath, cliRequest()).ben()
	v.answered(cliRedirect)
	if got := v.header.Get("Cache-Control"); !strings.Contains(got, "no-store") {
		t.Errorf("Cache-Control %q", got)
	}
	if got := v.header.Get("Referrer-Policy"); got != "no-referrer" {
		t.Errorf("Referrer-Policy %q", got)
	}
}

func TestAPersonCanSignInWithAClick(t *testing.T) {
	s := newSurfer(t)
	q := s.get(authorizePath, cliRequest()).press("as", "cleo@fob.example").answered(cliRedirect)
	if c, _ := s.sts.code(q.Get("code")); c.User != directory.CleoID {
		t.Errorf("signed in as %q", c.User)
	}
}

func TestWhoIsSignedInIsNotAskedAgain(t *testing.T) {
	s := newSurfer(t)
	first := s.get(authorizePath, cliRequest()).ben().answered(cliRedirect)
	again := s.get(authorizePath, webRequest()).answered(webRedirect)
	if first.Get("session_state") != again.Get("session_state") {
		t.Error("the session has changed")
	}
	if s.get(authorizePath, webRequest("prompt", "none")).answered(webRedirect).Get("code") == "" {
		t.Error("no code for prompt=none")
	}
}

func TestASessionEnds(t *testing.T) {
	for name, end := range map[string]func(*surfer){
		"with time":               func(s *surfer) { s.sts.World.Advance(sessionLifetime) },
		"when it is revoked":      func(s *surfer) { s.sts.World.RevokeSessions(directory.BenID) },
		"with the user":           func(s *surfer) { s.sts.World.DeleteUser(directory.TenantID, directory.BenID) },
		"with the sign-out":       func(s *surfer) { s.get("/common/oauth2/v2.0/logout", nil) },
		"with the cookies":        func(s *surfer) { s.freshCookies() },
		"when the user is barred": func(s *surfer) { s.changeBen(func(u *directory.User) { u.Locked = true }) },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSurfer(t)
			s.get(authorizePath, webRequest()).ben().answered(webRedirect)
			end(s)
			s.get(authorizePath, webRequest("prompt", "none")).told(webRedirect, "login_required", "AADSTS50058: ")
		})
	}
}

// changeBen replaces ben by a changed copy.
func (s *surfer) changeBen(change func(*directory.User)) {
	s.t.Helper()
	old, ok := s.sts.World.User(directory.TenantID, directory.BenID)
	if !ok {
		s.t.Fatal("no ben")
	}
	u := *old
	change(&u)
	s.sts.World.PutUser(&u)
}

func TestPrompts(t *testing.T) {
	signedIn := func(t *testing.T) *surfer {
		s := newSurfer(t)
		s.get(authorizePath, webRequest()).ben().answered(webRedirect)
		return s
	}
	t.Run("login asks for the password again", func(t *testing.T) {
		v := signedIn(t).get(authorizePath, webRequest("prompt", "login")).shows(200, "Sign in")
		if v.ben().answered(webRedirect).Get("code") == "" {
			t.Error("no code")
		}
	})
	t.Run("select_account offers who is signed in", func(t *testing.T) {
		s := signedIn(t)
		v := s.get(authorizePath, webRequest("prompt", "select_account")).shows(200, "Pick an account", "Ben Ostrow (signed in)")
		q := v.press("as", "ben@fob.example").answered(webRedirect)
		if c, _ := s.sts.code(q.Get("code")); c.User != directory.BenID {
			t.Errorf("picked %q", c.User)
		}
	})
	t.Run("select_account lets somebody else in", func(t *testing.T) {
		s := signedIn(t)
		v := s.get(authorizePath, webRequest("prompt", "select_account")).press("action", "other").shows(200, "Sign in")
		q := v.ada().answered(webRedirect)
		if c, _ := s.sts.code(q.Get("code")); c.User != directory.AdaID {
			t.Errorf("signed in as %q", c.User)
		}
	})
	t.Run("consent shows what was allowed before", func(t *testing.T) {
		v := signedIn(t).get(authorizePath, webRequest("prompt", "consent")).shows(200, "Permissions requested", "Sign you in and read your profile")
		if v.press("action", "accept").answered(webRedirect).Get("code") == "" {
			t.Error("no code")
		}
	})
	t.Run("login and consent may come together", func(t *testing.T) {
		v := signedIn(t).get(authorizePath, webRequest("prompt", "login consent")).shows(200, "Sign in")
		v.ben().shows(200, "Permissions requested").press("action", "accept").answered(webRedirect)
	})
	t.Run("none goes with no other", func(t *testing.T) {
		signedIn(t).get(authorizePath, webRequest("prompt", "none login")).told(webRedirect, "invalid_request", "AADSTS90023: ")
	})
	t.Run("there are no others", func(t *testing.T) {
		signedIn(t).get(authorizePath, webRequest("prompt", "login sometimes")).told(webRedirect, "invalid_request", "AADSTS90023: Unsupported 'prompt' value 'sometimes'.")
		signedIn(t).get(authorizePath, webRequest("prompt", "create")).shows(200) // MSAL's
	})
	t.Run("none asks nobody for consent", func(t *testing.T) {
		signedIn(t).get(authorizePath, webRequest("prompt", "none", "scope", "Calendars.Read")).told(webRedirect, "consent_required", "AADSTS65001: ")
	})
	t.Run("none does not take somebody else for the hint", func(t *testing.T) {
		signedIn(t).get(authorizePath, webRequest("prompt", "none", "login_hint", "ada@fob.example")).told(webRedirect, "login_required", "AADSTS50058: ")
	})
}

func TestALoginHintFillsInTheName(t *testing.T) {
	s := newSurfer(t)
	v := s.get(authorizePath, cliRequest("login_hint", "ben@fob.example")).shows(200, "Sign in")
	if got := v.forms[0].fields.Get("loginfmt"); got != "ben@fob.example" {
		t.Errorf("user name is %q", got)
	}
	v.press("action", "signin", "passwd", "ben-password-1").answered(cliRedirect)
	s.get(authorizePath, cliRequest("login_hint", "ada@fob.example")).shows(200, "Sign in") // ben's session is not ada's
}

func TestASignInThatFailsSaysWhyOnThePage(t *testing.T) {
	for name, c := range map[string]struct {
		upn, password string
		change        func(*directory.User)
		says          string
	}{
		"wrong password":    {"ben@fob.example", "wrong", nil, "Your account or password is incorrect. (AADSTS50126)"},
		"unknown user":      {"nobody@fob.example", "x", nil, "(AADSTS50034)"},
		"user of elsewhere": {"zed@other.example", "zed-password-1", nil, "(AADSTS50020)"},
		"locked":            {"ben@fob.example", "ben-password-1", func(u *directory.User) { u.Locked = true }, "(AADSTS50053)"},
		"disabled":          {"ben@fob.example", "ben-password-1", func(u *directory.User) { u.Disabled = true }, "(AADSTS50057)"},
		"expired password":  {"ben@fob.example", "ben-password-1", func(u *directory.User) { u.PasswordExpired = true }, "(AADSTS50055)"},
		"no name":           {"", "x", nil, "(AADSTS90014)"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSurfer(t)
			s.sts.World.PutUser(&directory.User{ID: "f0b00000-2001-4000-8000-000000000001", Tenant: directory.OtherTenantID, UPN: "zed@other.example", DisplayName: "Zed", Password: "zed-password-1"})
			if c.change != nil {
				s.changeBen(c.change)
			}
			v := s.get(authorizePath, cliRequest()).signIn(c.upn, c.password).shows(200, c.says)
			if got := v.forms[0].fields.Get("loginfmt"); got != c.upn {
				t.Errorf("the name typed was %q and is now %q", c.upn, got)
			}
			if strings.Contains(v.body, "value=\""+c.password) && c.password != "x" {
				t.Error("the page repeats the password")
			}
			v.ada().answered(cliRedirect) // and it goes on from there
		})
	}
}

func TestAClickDoesNotLetInWhoIsBarred(t *testing.T) {
	s := newSurfer(t)
	v := s.get(authorizePath, cliRequest())
	s.changeBen(func(u *directory.User) { u.Disabled = true })
	v.press("as", "ben@fob.example").shows(200, "(AADSTS50057)")
}

func TestGivingUpIsToldToTheApp(t *testing.T) {
	s := newSurfer(t)
	q := s.get(authorizePath, cliRequest()).press("action", "cancel").told(cliRedirect, "access_denied", "AADSTS65004: ")
	if q.Get("error_subcode") != "cancel" || q.Get("state") != "st=1&<2>" {
		t.Errorf("told %v", q)
	}
}

// Requests that are refused before anybody signs in.
func TestRefusalsThatTheAppIsToldOf(t *testing.T) {
	for _, c := range []struct {
		name    string
		request url.Values
		path    string
		oauth   string
		code    string
	}{
		{"no response type", webRequest("response_type", ""), "", "invalid_request", "AADSTS900144"},
		{"unknown response type", webRequest("response_type", "magic"), "", "unsupported_response_type", "AADSTS70005"},
		{"unknown response mode", webRequest("response_mode", "pigeon"), "", "invalid_request", "AADSTS70007"},
		{"no scope", webRequest("scope", ""), "", "invalid_request", "AADSTS900144"},
		{"a resource at v2", webRequest("resource", "https://graph.microsoft.com"), "", "invalid_request", "AADSTS901002"},
		{"method without challenge", cliRequest("code_challenge", ""), "", "invalid_request", "AADSTS50147"},
		{"unknown challenge method", cliRequest("code_challenge_method", "S512"), "", "invalid_request", "AADSTS50149"},
		{"short challenge", cliRequest("code_challenge", "abc"), "", "invalid_request", "AADSTS501491"},
		{"padded challenge", cliRequest("code_challenge", rfcChallenge+"="), "", "invalid_request", "AADSTS501491"},
		{"long plain challenge", cliRequest("code_challenge", strings.Repeat("a", 129), "code_challenge_method", "plain"), "", "invalid_request", "AADSTS501491"},
		{"claims that are not JSON", webRequest("claims", "eyJ9"), "", "invalid_request", "AADSTS50117"},
		{"no session", webRequest("prompt", "none"), "", "login_required", "AADSTS50058"},
		{"unknown scope", webRequest("scope", "Moon.Read"), "", "access_denied", "AADSTS650053"},
		{"unknown resource", webRequest("scope", "api://nowhere/read"), "", "invalid_resource", "AADSTS500011"},
		{"resource that is not in the registration", webRequest("scope", "https://vault.azure.net/.default"), "", "invalid_resource", "AADSTS650057"},
		{".default with another scope", webRequest("scope", "https://graph.microsoft.com/.default https://graph.microsoft.com/User.Read"), "", "invalid_scope", "AADSTS70011"},
		{"unknown resource at v1", webRequest("scope", "", "resource", "https://nowhere.example"), "/" + directory.TenantID + "/oauth2/authorize", "invalid_resource", "AADSTS500011"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSurfer(t)
			path, redirect := authorizePath, webRedirect
			if c.path != "" {
				path = c.path
			}
			if c.request.Get("client_id") == directory.CLIAppID {
				redirect = cliRedirect
			}
			q := s.get(path, c.request).told(redirect, c.oauth, c.code+": ")
			if q.Get("state") != c.request.Get("state") {
				t.Errorf("state %q", q.Get("state"))
			}
			if d := q.Get("error_description"); !strings.Contains(d, " Trace ID: ") || !strings.Contains(d, " Correlation ID: ") || !strings.Contains(d, " Timestamp: ") {
				t.Errorf("description %q lacks its trailer", d)
			}
			if want := s.origin + "/error?code=" + strings.TrimPrefix(c.code, "AADSTS"); q.Get("error_uri") != want {
				t.Errorf("error_uri %q, want %q", q.Get("error_uri"), want)
			}
		})
	}
}

func TestRefusalsThatComeByFragment(t *testing.T) {
	for name, c := range map[string]struct {
		request url.Values
		code    string
	}{
		"an ID token that is not enabled":        {cliRequest("response_type", "id_token", "nonce", "n"), "AADSTS700054"},
		"a hybrid answer that is not enabled":    {cliRequest("response_type", "code id_token", "nonce", "n"), "AADSTS700054"},
		"an access token that is not enabled":    {cliRequest("response_type", "token"), "AADSTS700051"},
		"an ID token without a nonce":            {webRequest("response_type", "id_token"), "AADSTS900144"},
		"types that do not go together":          {webRequest("response_type", "code token"), "AADSTS70005"},
		"an ID token without openid":             {webRequest("response_type", "id_token", "nonce", "n", "scope", "User.Read"), "AADSTS70011"},
		"an ID token that would go into a query": {webRequest("response_type", "id_token", "nonce", "n", "response_mode", "query"), "AADSTS70007"},
	} {
		t.Run(name, func(t *testing.T) {
			v := newSurfer(t).get(authorizePath, c.request)
			if v.away == nil {
				t.Fatalf("a page: %s", v.text)
			}
			q, err := url.ParseQuery(v.away.EscapedFragment())
			if err != nil || v.away.RawQuery != "" || !strings.HasPrefix(q.Get("error_description"), c.code+": ") {
				t.Errorf("answer %s, want %s in the fragment", v.away, c.code)
			}
		})
	}
}

func TestASinglePageAppNeedsPKCE(t *testing.T) {
	request := cliRequest("client_id", directory.SPAAppID, "redirect_uri", "http://localhost/spa", "code_challenge", "", "code_challenge_method", "")
	s := newSurfer(t)
	s.get(authorizePath, request).told("http://localhost/spa", "invalid_request", "AADSTS9002325: ")
	request.Set("code_challenge", rfcChallenge)
	request.Set("code_challenge_method", "S256")
	q := s.get(authorizePath, request).ben().answered("http://localhost/spa")
	if c, _ := s.sts.code(q.Get("code")); !c.SPA || c.Public {
		t.Errorf("code of a single-page app is %+v", c)
	}
}

// Refusals that no redirect may follow: nobody knows whose address it is.
func TestRefusalsThatStayOnThePage(t *testing.T) {
	const evil = "https://evil.example/take"
	for _, c := range []struct {
		name, path string
		request    url.Values
		says       string
	}{
		{"no client", "", webRequest("client_id", ""), "AADSTS900144"},
		{"unknown client", "", webRequest("client_id", "f0b00000-1003-4000-8000-0000000000ff", "redirect_uri", evil), "AADSTS700016"},
		{"client of another tenant", "/" + directory.OtherTenantID + "/oauth2/v2.0/authorize", webRequest(), "AADSTS700016"},
		{"disabled client", "", webRequest("client_id", directory.DisabledAppID), "AADSTS7000112"},
		{"client without principal", "", webRequest("client_id", directory.NoPrincipalAppID), "AADSTS7000229"},
		{"single-tenant client at common", "/common/oauth2/v2.0/authorize", webRequest(), "AADSTS50194"},
		{"unknown tenant", "/nowhere.example/oauth2/v2.0/authorize", webRequest(), "AADSTS90002"},
		{"client without redirect URIs", "", webRequest("client_id", directory.APIAppID), "AADSTS500113"},
		{"no redirect URI", "", webRequest("redirect_uri", ""), "AADSTS900971"},
		{"foreign redirect URI", "", webRequest("redirect_uri", evil), "AADSTS50011"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := authorizePath
			if c.path != "" {
				path = c.path
			}
			for _, mode := range []string{"query", "fragment", "form_post"} {
				c.request.Set("response_mode", mode)
				v := newSurfer(t).get(path, c.request)
				if v.status < 400 {
					t.Errorf("status %d", v.status)
				}
				v.shows(v.status, "having trouble signing you in", c.says, "Correlation Id", "Timestamp")
				if len(v.forms) > 0 || v.header.Get("Location") != "" || strings.Contains(v.header.Get("Content-Security-Policy"), "evil") {
					t.Error("the page leads on")
				}
			}
		})
	}
}

func TestRedirectURIs(t *testing.T) {
	s := newSurfer(t)
	s.sts.World.UpdateApp(directory.WebAppID, func(a *directory.App) {
		a.WebRedirects = []string{"https://app.example/Auth/callback", "https://app.example/q?x=1", "http://127.0.0.1:8400/cb", "urn:ietf:wg:oauth:2.0:oob"}
		a.NativeRedirects = []string{"http://localhost", "http://localhost/deep", "myapp://auth", "javascript:alert(1)"}
	})
	for sent, good := range map[string]bool{
		"http://localhost":                               true,
		"http://localhost/":                              true,
		"http://localhost:1":                             true,
		"http://localhost:51004/":                        true,
		"http://localhost:51004/deep":                    true,
		"http://127.0.0.1:9999/cb":                       true,
		"https://app.example/Auth/callback":              true,
		"https://app.example/q?x=1":                      true,
		"urn:ietf:wg:oauth:2.0:oob":                      true,
		"myapp://auth":                                   true,
		"http://localhost:51004/Deep":                    false,
		"http://localhost:51004/deep/":                   false,
		"http://localhost:51004/other":                   false,
		"http://localhost:51004/?x=1":                    false,
		"http://localhost:51004/#x":                      false,
		"https://localhost":                              false,
		"http://127.0.0.1:51004":                         false,
		"http://[::1]:51004":                             false,
		"http://localhost.evil.example":                  false,
		"http://localhost@evil.example":                  false,
		"http://evil.example@localhost":                  false,
		"http://localhost:51004@evil.example/":           false,
		"http://localhost\\@evil.example":                false,
		"http://localhost:51004/%2e%2e/deep":             false,
		"http:\\\\localhost":                             false,
		"//localhost":                                    false,
		"https://app.example/auth/callback":              false,
		"https://app.example/Auth/callback/":             false,
		"https://app.example/Auth/callback?x":            false,
		"https://app.example:8443/Auth/callback":         false,
		"http://app.example/Auth/callback":               false,
		"https://app.example/Auth/callback\r\nX-Evil: 1": false,
		"https://app.example/Auth/callback#fragment":     false,
		"javascript:alert(1)":                            false,
		"data:text/html,<script>alert(1)</script>":       false,
		"myapp://auth/evil":                              false,
		" http://localhost":                              false,
	} {
		v := s.get(authorizePath, webRequest("redirect_uri", sent))
		switch says := strings.Contains(v.text, "AADSTS50011"); {
		case good && (v.status != 200 || says):
			t.Errorf("%q is refused: %s", sent, v.text)
		case !good && (!says || v.away != nil || v.header.Get("X-Evil") != ""):
			t.Errorf("%q is not refused (status %d)", sent, v.status)
		}
	}
}

func TestAnAnswerKeepsWhatTheRedirectURIHas(t *testing.T) {
	for _, c := range []struct{ redirect, mode, want string }{
		{"https://a.example/cb", queryMode, "https://a.example/cb?code=c+1%26&state=%3Cs%3E"},
		{"https://a.example/cb?x=1", queryMode, "https://a.example/cb?x=1&code=c+1%26&state=%3Cs%3E"},
		{"https://a.example/cb", fragmentMode, "https://a.example/cb#code=c+1%26&state=%3Cs%3E"},
		{"http://localhost:5", queryMode, "http://localhost:5/?code=c+1%26&state=%3Cs%3E"},
		{"http://localhost:5", fragmentMode, "http://localhost:5/#code=c+1%26&state=%3Cs%3E"},
		{"urn:ietf:wg:oauth:2.0:oob", queryMode, "urn:ietf:wg:oauth:2.0:oob?code=c+1%26&state=%3Cs%3E"},
		{"myapp://auth", queryMode, "myapp://auth/?code=c+1%26&state=%3Cs%3E"},
	} {
		if got := answerURL(c.redirect, c.mode, []attr{{"code", "c 1&"}, {"state", "<s>"}}); got != c.want {
			t.Errorf("%s by %s: %s, want %s", c.redirect, c.mode, got, c.want)
		}
	}
}

func TestFormPostCarriesTheAnswerInAFormThatWorksWithoutScript(t *testing.T) {
	s := newSurfer(t)
	v := s.get(authorizePath, cliRequest("response_mode", "form_post")).ben().shows(200, "Continue")
	if len(v.forms) != 1 {
		t.Fatalf("%d forms", len(v.forms))
	}
	f := v.forms[0]
	if f.method != "post" || f.action != "http://localhost:51004" || len(f.buttons) != 1 {
		t.Errorf("form %+v", f)
	}
	if _, ok := s.sts.code(f.fields.Get("code")); !ok || f.fields.Get("state") != "st=1&<2>" || f.fields.Get("session_state") == "" {
		t.Errorf("fields %v", f.fields)
	}
	sum := sha256.Sum256([]byte(autoSubmit))
	policy := v.header.Get("Content-Security-Policy")
	for _, want := range []string{"default-src 'none'", "script-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'", "form-action 'self' http://localhost:51004"} {
		if !strings.Contains(policy, want) {
			t.Errorf("policy %q lacks %q", policy, want)
		}
	}
	if strings.Count(v.body, "<script>") != 1 || !strings.Contains(v.body, "<script>"+autoSubmit+"</script>") {
		t.Error("the page does not submit itself")
	}
}

func TestFormPostTellsOfRefusals(t *testing.T) {
	v := newSurfer(t).get(authorizePath, cliRequest("response_mode", "form_post", "prompt", "none")).shows(200)
	f := v.forms[0]
	if f.action != "http://localhost:51004" || f.fields.Get("error") != "login_required" || f.fields.Get("state") != "st=1&<2>" {
		t.Errorf("form %+v", f)
	}
}

func TestFragmentCarriesACodeWhenAsked(t *testing.T) {
	v := newSurfer(t).get(authorizePath, cliRequest("response_mode", "fragment")).ben()
	q, err := url.ParseQuery(v.away.EscapedFragment())
	if err != nil || q.Get("code") == "" || q.Get("state") != "st=1&<2>" || v.away.RawQuery != "" {
		t.Errorf("answer %s", v.away)
	}
}

func TestARequestMayComeByPost(t *testing.T) {
	s := newSurfer(t)
	v := s.do(http.MethodPost, s.origin+authorizePath, cliRequest())
	if v.shows(200, "Sign in").ben().answered(cliRedirect).Get("state") != "st=1&<2>" {
		t.Error("state has changed on the way")
	}
}

func TestVersion1TakesAResource(t *testing.T) {
	s := newSurfer(t)
	q := s.get("/"+directory.TenantID+"/oauth2/authorize", webRequest("scope", "", "resource", "https://graph.microsoft.com")).ben().answered(webRedirect)
	if c, _ := s.sts.code(q.Get("code")); !c.V1 || c.Resource != "https://graph.microsoft.com" || c.Scope != "" {
		t.Errorf("code %+v", c)
	}
}

func TestTheTenantOfAPersonIsFoundAtCommon(t *testing.T) {
	s := newSurfer(t)
	s.sts.World.PutUser(&directory.User{ID: "f0b00000-2001-4000-8000-000000000001", Tenant: directory.OtherTenantID, UPN: "zed@other.example", DisplayName: "Zed", Password: "zed-password-1"})
	request := cliRequest("client_id", directory.AzureCLIAppID, "scope", "https://management.azure.com//.default openid")
	q := s.get("/common/oauth2/v2.0/authorize", request).signIn("zed@other.example", "zed-password-1").answered(cliRedirect)
	if c, _ := s.sts.code(q.Get("code")); c.Tenant != directory.OtherTenantID || c.Segment != "common" {
		t.Errorf("code %+v", c)
	}
	s.freshCookies()
	s.get("/consumers/oauth2/v2.0/authorize", request).ben().shows(200, "(AADSTS50020)")
}

func TestTheCodeOfASignInIsRedeemedWithItsVerifier(t *testing.T) {
	s := newSurfer(t)
	q := s.get("/organizations/oauth2/v2.0/authorize", cliRequest("client_id", directory.AzureCLIAppID, "nonce", "n-1")).ben().answered(cliRedirect)
	v := s.do(http.MethodPost, s.origin+"/organizations/oauth2/v2.0/token", url.Values{
		"grant_type": {"authorization_code"}, "client_id": {directory.AzureCLIAppID}, "code": {q.Get("code")},
		"redirect_uri": {"http://localhost:51004"}, "code_verifier": {"dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"}, // RFC 7636, appendix B
	})
	var answer struct {
		ID     string `json:"id_token"`
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(v.body), &answer); err != nil || answer.ID == "" {
		t.Fatalf("status %d, %s", v.status, v.body)
	}
	id := payloadOf(t, answer.ID)
	if id["nonce"] != "n-1" || id["sid"] != q.Get("session_state") || id["oid"] != directory.BenID {
		t.Errorf("ID token %v", id)
	}
}

func TestAHybridAnswerVouchesForItsCode(t *testing.T) {
	s := newSurfer(t)
	v := s.get(authorizePath, webRequest("response_type", "code id_token", "nonce", "n-1", "response_mode", "form_post")).ben().shows(200)
	f := v.forms[0].fields
	claims := payloadOf(t, f.Get("id_token"))
	sum := sha256.Sum256([]byte(f.Get("code")))
	for claim, want := range map[string]any{
		"c_hash": base64.RawURLEncoding.EncodeToString(sum[:16]), "nonce": "n-1", "aud": directory.WebAppID, "tid": directory.TenantID,
		"iss": s.origin + "/" + directory.TenantID + "/v2.0", "preferred_username": "ben@fob.example", "sid": f.Get("session_state"), "ver": "2.0", "at_hash": nil,
	} {
		if claims[claim] != want {
			t.Errorf("%s is %v, want %v", claim, claims[claim], want)
		}
	}
	if c, ok := s.sts.code(f.Get("code")); !ok || c.Nonce != "n-1" {
		t.Errorf("code %+v", c)
	}
}

func TestAnImplicitAnswerCarriesTokensInTheFragment(t *testing.T) {
	s := newSurfer(t)
	s.sts.World.UpdateApp(directory.WebAppID, func(a *directory.App) { a.AccessTokenImplicit = true })
	v := s.get(authorizePath, webRequest("response_type", "id_token token", "nonce", "n-1", "scope", "openid User.Read")).ben()
	q, err := url.ParseQuery(v.away.EscapedFragment())
	if err != nil || q.Has("code") || q.Get("token_type") != "Bearer" || q.Get("expires_in") != "3599" || !strings.Contains(q.Get("scope"), "User.Read") {
		t.Fatalf("answer %v", q)
	}
	sum := sha256.Sum256([]byte(q.Get("access_token")))
	if got := payloadOf(t, q.Get("id_token"))["at_hash"]; got != base64.RawURLEncoding.EncodeToString(sum[:16]) {
		t.Errorf("at_hash %v", got)
	}
	if got := payloadOf(t, q.Get("access_token"))["appid"]; got != directory.WebAppID {
		t.Errorf("access token for %v", got)
	}
}

func TestAnIDTokenComesAloneWhenAskedFor(t *testing.T) {
	v := newSurfer(t).get(authorizePath, webRequest("response_type", "id_token", "nonce", "n-1")).ben()
	q, err := url.ParseQuery(v.away.EscapedFragment())
	if err != nil || q.Has("code") || q.Has("access_token") || payloadOf(t, q.Get("id_token"))["nonce"] != "n-1" {
		t.Errorf("answer %v", q)
	}
}

func TestASessionIsGoodForItsOwnTenantOnly(t *testing.T) {
	s := newSurfer(t)
	s.get(authorizePath, webRequest()).ben().answered(webRedirect)
	elsewhere := cliRequest("client_id", directory.AzureCLIAppID, "prompt", "none")
	s.get("/"+directory.OtherTenantID+"/oauth2/v2.0/authorize", elsewhere).told(cliRedirect, "login_required", "AADSTS50058: ")
	s.get("/common/oauth2/v2.0/authorize", elsewhere).answered(cliRedirect)
}

func TestVersion1HasIDTokensOfItsOwn(t *testing.T) {
	s := newSurfer(t)
	request := webRequest("scope", "", "response_type", "id_token", "nonce", "n-1")
	v := s.get("/"+directory.TenantID+"/oauth2/authorize", request).ben()
	q, err := url.ParseQuery(v.away.EscapedFragment())
	if err != nil {
		t.Fatal(err)
	}
	if id := payloadOf(t, q.Get("id_token")); id["ver"] != "1.0" || id["upn"] != "ben@fob.example" || id["nonce"] != "n-1" {
		t.Errorf("ID token %v", id)
	}
}

func TestWhatTheBrowserCannotCarryIsRefused(t *testing.T) {
	s := newSurfer(t)
	s.sts.World.UpdateApp(directory.WebAppID, func(a *directory.App) { a.AccessTokenImplicit = true })
	v := s.get(authorizePath, webRequest("response_type", "token", "scope", "User.Read api://fob-api/access_as_user")).ben()
	q, err := url.ParseQuery(v.away.EscapedFragment())
	if err != nil || !strings.HasPrefix(q.Get("error_description"), "AADSTS700022: ") || q.Has("access_token") {
		t.Errorf("a token for two resources: %v", q)
	}
}

func TestAPersonWhoIsNotAssignedStaysOut(t *testing.T) {
	s := newSurfer(t)
	s.sts.World.UpdateApp(directory.WebAppID, func(a *directory.App) { a.AssignmentNeeded = true })
	s.get(authorizePath, webRequest()).ben().told(webRedirect, "access_denied", "AADSTS50105: ")
	s.sts.World.AssignRole(directory.RoleAssignment{Tenant: directory.TenantID, Principal: directory.BenID, Resource: directory.WebAppID})
	s.get(authorizePath, webRequest()).answered(webRedirect)
}

func TestClaimsTravelWithTheCode(t *testing.T) {
	const claims = `{"access_token":{"xms_cc":{"values":["cp1"]}}}`
	s := newSurfer(t)
	q := s.get(authorizePath, webRequest("claims", claims)).ben().answered(webRedirect)
	if c, _ := s.sts.code(q.Get("code")); c.Claims != claims {
		t.Errorf("claims %q", c.Claims)
	}
}

func TestADuplicatedParameterIsRefused(t *testing.T) {
	q := webRequest()
	q.Add("scope", "openid")
	newSurfer(t).get(authorizePath, q).shows(400, "AADSTS90023", "'scope' is duplicated")
}

func TestACodeHasAnEnd(t *testing.T) {
	s := newSurfer(t)
	q := s.get(authorizePath, cliRequest()).ben().answered(cliRedirect)
	c, _ := s.sts.code(q.Get("code"))
	if left := c.expires.Sub(s.sts.World.Now()); left <= 9*time.Minute || left > 10*time.Minute {
		t.Errorf("it lives %s", left)
	}
}

func payloadOf(t *testing.T, raw string) map[string]any {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no JWT", raw)
	}
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(data, &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}
