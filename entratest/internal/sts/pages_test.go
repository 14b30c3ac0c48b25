package sts

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// everyPage shows each kind of page once, with probe wherever somebody else
// decides what a page says.
func everyPage(t *testing.T, probe string) map[string]*view {
	t.Helper()
	s := newSurfer(t)
	s.sts.World.UpdateApp(directory.WebAppID, func(a *directory.App) {
		a.Name = "web " + probe
		a.RequiredAccess = map[string][]string{directory.GraphAppID: {"Calendars.Read"}}
	})
	s.sts.World.UpdateApp(directory.APIAppID, func(a *directory.App) {
		a.Scopes = append(a.Scopes, directory.Scope{Value: "probe", Name: "words " + probe})
	})
	s.sts.World.PutTenant(&directory.Tenant{ID: directory.TenantID, Name: "org " + probe, Domains: []string{"fob.example"}})
	s.changeBen(func(u *directory.User) { u.DisplayName = "Ben " + probe })

	pages := map[string]*view{}
	pages["sign-in"] = s.get(authorizePath, webRequest("state", probe, "login_hint", probe, "domain_hint", probe, "nonce", probe, "x-unknown", probe))
	pages["failed sign-in"] = pages["sign-in"].signIn(probe, probe)
	pages["consent"] = s.get(authorizePath, webRequest("state", probe, "scope", "api://fob-api/probe Calendars.Read")).ben()
	pages["picker"] = s.get(authorizePath, webRequest("state", probe, "prompt", "select_account"))
	pages["approval"] = s.get(authorizePath, webRequest("state", probe, "scope", "AuditLog.Read.All"))
	pages["form_post"] = s.get(authorizePath, webRequest("state", probe, "response_mode", "form_post"))
	pages["form_post of an error"] = s.get(authorizePath, webRequest("state", probe, "response_mode", "form_post", "scope", "api://"+probe+"/x"))
	pages["unknown client"] = s.get(authorizePath, webRequest("client_id", probe))
	pages["redirect URI"] = s.get(authorizePath, webRequest("redirect_uri", "https://x.example/"+probe))
	pages["tenant"] = s.get("/"+url.PathEscape(strings.ReplaceAll(probe, "/", ""))+"/oauth2/v2.0/authorize", webRequest())
	pages["sign-out"] = s.get("/common/oauth2/v2.0/logout", url.Values{"post_logout_redirect_uri": {probe}, "state": {probe}})
	pages["code"] = s.get("/devicelogin", url.Values{"otc": {probe}})
	pages["wrong code"] = pages["code"].press("action", "next")
	pages["lookup"] = s.get("/error", url.Values{"code": {"50011"}})
	pages["unknown code"] = s.get("/error", url.Values{"code": {probe}})
	pages["admin consent"] = s.get("/"+directory.TenantID+"/adminconsent", url.Values{"client_id": {directory.WebAppID}, "state": {probe}}).ada()
	_, code := s.waiting(func(d *device) { d.Client = directory.WebAppID })
	pages["confirm"] = s.enterCode(code).press("as", "ben@fob.example")
	pages["done"] = pages["confirm"].press("action", "continue")
	return pages
}

func TestWhatOthersSayIsTextAndNothingElse(t *testing.T) {
	for _, probe := range []string{
		`<script>alert(1)</script>`,
		`"><img src=x onerror=alert(1)>`,
		`'><svg/onload=alert(1)>`,
		`</title></style><iframe src=//evil.example>`,
		`&lt;b&gt;&#60;script&#62;`,
		"\u202etxt.exe\u0000",
	} {
		plain := everyPage(t, "harmless")
		for name, v := range everyPage(t, probe) {
			if v.away != nil {
				t.Errorf("%s: %q leads away to %s", name, probe, v.away)
				continue
			}
			if got, want := v.tags, plain[name].tags; !slices.Equal(got, want) {
				t.Errorf("%s: %q makes elements %v, want %v", name, probe, got, want)
			}
			if strings.Contains(v.body, "<script>alert") || strings.Contains(v.body, "<img") || strings.Contains(v.body, "<iframe") {
				t.Errorf("%s: %q is in the page as it is", name, probe)
			}
		}
	}
}

func TestStateComesBackThroughEveryFormAsItWas(t *testing.T) {
	for _, state := range []string{`<script>"'&amp;`, "a b+c%20d", "\u202e\u00e9\U0001f511", "x\r\ny", strings.Repeat("s", 3000)} {
		s := newSurfer(t)
		v := s.get(authorizePath, webRequest("state", state, "scope", "Calendars.Read")).ben()
		if got := v.press("action", "accept").answered(webRedirect).Get("state"); got != state {
			t.Errorf("state %q is %q in a query", state, got)
		}
		v = s.get(authorizePath, webRequest("state", state, "response_mode", "form_post"))
		// Forms send line ends as CR LF, and an HTML parser reads CR LF as LF.
		if got := v.forms[0].fields.Get("state"); got != strings.ReplaceAll(state, "\r\n", "\n") && got != state {
			t.Errorf("state %q is %q in a form", state, got)
		}
	}
}

func TestEveryPageIsLockedDown(t *testing.T) {
	for name, v := range everyPage(t, "harmless") {
		h := v.header
		for header, want := range map[string]string{
			"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
			"Cache-Control": "no-store, no-cache", "Content-Type": "text/html; charset=utf-8",
		} {
			if h.Get(header) != want {
				t.Errorf("%s: %s is %q, want %q", name, header, h.Get(header), want)
			}
		}
		policy := h.Get("Content-Security-Policy")
		for _, want := range []string{"default-src 'none'", "base-uri 'none'", "frame-ancestors 'none'", "style-src 'sha256-", "form-action 'self'"} {
			if !strings.Contains(policy, want) {
				t.Errorf("%s: policy %q lacks %q", name, policy, want)
			}
		}
		if strings.Contains(policy, "unsafe") || strings.Contains(policy, "*") {
			t.Errorf("%s: policy %q is too wide", name, policy)
		}
		if form := strings.HasPrefix(name, "form_post"); form != strings.Contains(policy, "script-src") || form != slices.Contains(v.tags, "script") {
			t.Errorf("%s: script where there should be none, or none where there should be", name)
		}
		if strings.Contains(v.body, "src=") || strings.Contains(v.body, "url(") || strings.Contains(v.body, "@import") || slices.Contains(v.tags, "link") {
			t.Errorf("%s: it loads something", name)
		}
	}
}

func TestEveryPageIsReadable(t *testing.T) {
	for name, v := range everyPage(t, "harmless") {
		if !strings.Contains(v.body, `<html lang="en">`) || !strings.Contains(v.body, `name="viewport"`) {
			t.Errorf("%s: no language or viewport", name)
		}
		for _, tag := range []string{"title", "main", "h1"} {
			if n := count(v.tags, tag); n != 1 {
				t.Errorf("%s: %d of <%s>", name, n, tag)
			}
		}
		if !strings.Contains(v.text, "fob emulator - not Microsoft; for tests only") {
			t.Errorf("%s: does not say what it is", name)
		}
		for _, f := range v.forms {
			for field := range f.fields {
				if (field == "loginfmt" || field == "passwd" || field == "otc") && v.labels[field] == "" {
					t.Errorf("%s: %s has no label", name, field)
				}
			}
		}
	}
}

func TestAProblemIsTiedToItsField(t *testing.T) {
	s := newSurfer(t)
	for _, fresh := range []*view{s.get("/devicelogin", nil), s.get(authorizePath, cliRequest())} {
		if strings.Contains(fresh.body, `aria-invalid="`) || strings.Contains(fresh.body, `role="alert"`) {
			t.Errorf("a page that has just begun complains: %s", fresh.text)
		}
	}
	for field, v := range map[string]*view{
		"otc":      s.enterCode("AAAA"),
		"passwd":   s.get(authorizePath, cliRequest()).signIn("ben@fob.example", "wrong"),
		"loginfmt": s.get(authorizePath, cliRequest()).signIn("nobody@fob.example", "wrong"),
	} {
		_, after, _ := strings.Cut(v.body, `id="`+field+`"`)
		input, _, _ := strings.Cut(after, ">")
		if !strings.Contains(input, `aria-invalid="true" aria-describedby="problem"`) || !strings.Contains(v.body, `role="alert" id="problem"`) {
			t.Errorf("%s is not marked: %s", field, input)
		}
	}
}

func count(list []string, what string) int {
	n := 0
	for _, one := range list {
		if one == what {
			n++
		}
	}
	return n
}

func TestTheWayToTheAppIsOpenInThePolicy(t *testing.T) {
	for redirect, want := range map[string]string{
		"http://localhost:51004/cb":     "http://localhost:51004",
		"https://app.example/cb?x=1":    "https://app.example",
		"http://[::1]:8400/":            "http:",
		"myapp://auth":                  "myapp:",
		"urn:ietf:wg:oauth:2.0:oob":     "urn:",
		"":                              "",
		"https://a.example; script-src": "",
		"x y:z":                         "",
	} {
		if got := formTarget(redirect); got != want {
			t.Errorf("%q: %q, want %q", redirect, got, want)
		}
	}
}

func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	s := newSurfer(t)
	v := s.get(authorizePath, cliRequest())
	to, _ := v.url.Parse(v.forms[0].action)
	fields := url.Values{"loginfmt": {"ben@fob.example"}, "passwd": {"ben-password-1"}, "action": {"signin"}}
	good := v.forms[0].fields.Get(canaryField)

	for name, canary := range map[string]string{"none": "", "made up": "AAAA", "of another request": s.get(authorizePath, webRequest()).forms[0].fields.Get(canaryField)} {
		forged := change(url.Values{}, nil)
		for k, vs := range fields {
			forged[k] = vs
		}
		forged.Set(canaryField, canary)
		s.do(http.MethodPost, to.String(), forged).shows(400, "AADSTS165900")
		if t.Failed() {
			t.Fatalf("canary: %s", name)
		}
	}
	fields.Set(canaryField, good)
	s.do(http.MethodPost, to.String(), fields).answered(cliRedirect)
	s.freshCookies() // a canary is no good in another browser
	s.do(http.MethodPost, to.String(), fields).shows(400, "AADSTS165900")
}

func TestAPasswordThatComesWithoutOurFormDoesNotEndUpInAnAddress(t *testing.T) {
	s := newSurfer(t)
	request := cliRequest("passwd", "sesame", "loginfmt", "ben@fob.example")
	v := s.do(http.MethodPost, s.origin+authorizePath, request).shows(400, "AADSTS165900")
	if strings.Contains(v.body, "sesame") {
		t.Error("the page repeats the password")
	}
}

func TestASignInChangesTheSession(t *testing.T) {
	s := newSurfer(t)
	cookie := func() string {
		at, _ := url.Parse(s.origin)
		for _, c := range s.client.Jar.Cookies(at) {
			if c.Name == sessionCookie {
				return c.Value
			}
		}
		return ""
	}
	s.get(authorizePath, webRequest()).ben().answered(webRedirect)
	before := cookie()
	s.get(authorizePath, webRequest("prompt", "login")).ben().answered(webRedirect)
	if after := cookie(); before == "" || after == before {
		t.Errorf("session %q became %q", before, after)
	}
	if _, alive := s.sts.session(before); alive {
		t.Error("the old session is alive")
	}
}

func TestCookiesAreOutOfReachForScripts(t *testing.T) {
	v := newSurfer(t).get(authorizePath, cliRequest()).ben()
	cookies := v.header.Values("Set-Cookie")
	if len(cookies) == 0 {
		t.Fatal("no cookie")
	}
	for _, c := range cookies {
		for _, want := range []string{"HttpOnly", "Secure", "SameSite=None", "Path=/"} {
			if !strings.Contains(c, want) {
				t.Errorf("cookie %q lacks %s", c, want)
			}
		}
	}
}

func TestPagesAnswerOnlyToLinksAndForms(t *testing.T) {
	s := newSurfer(t)
	v := s.do(http.MethodPut, s.origin+authorizePath+"?"+cliRequest().Encode(), nil)
	v.shows(http.StatusMethodNotAllowed, "AADSTS900561")
	if v.header.Get("Allow") == "" {
		t.Error("it does not say what is allowed")
	}
}

func TestAnErrorURILeadsToAnExplanation(t *testing.T) {
	s := newSurfer(t)
	q := s.get(authorizePath, webRequest("prompt", "none")).told(webRedirect, "login_required", "AADSTS50058")
	s.do(http.MethodGet, q.Get("error_uri"), nil).shows(200, "AADSTS50058", "What to do")
	s.get("/error", url.Values{"code": {"1"}}).shows(404, "Nothing is known")
}
