package sts

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// surfer is a browser without script: it shows pages, fills in forms, keeps
// cookies, and follows redirects as far as they stay at the emulator.
type surfer struct {
	t      *testing.T
	sts    *Server
	origin string
	client *http.Client
}

func newSurfer(t *testing.T) *surfer {
	t.Helper()
	s := &surfer{t: t, sts: New(Config{})}
	srv := httptest.NewTLSServer(s.sts)
	t.Cleanup(srv.Close)
	s.sts.BaseURL, s.origin = srv.URL, srv.URL
	s.client = srv.Client()
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	s.freshCookies()
	return s
}

// freshCookies makes it the browser of somebody who has never been here.
func (s *surfer) freshCookies() {
	jar, err := cookiejar.New(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	s.client.Jar = jar
}

// view is what the browser shows: a page, or where it has been sent away to.
type view struct {
	s      *surfer
	url    *url.URL // of the page
	status int
	header http.Header
	body   string
	away   *url.URL // where a redirect leads that leaves the emulator
	text   string   // what a person reads
	forms  []pageForm
	labels map[string]string // of inputs: for to text
	tags   []string
}

type pageForm struct {
	method, action string
	fields         url.Values // hidden and text inputs, as the page has them
	buttons        [][2]string
}

func (s *surfer) do(method, to string, form url.Values) *view {
	s.t.Helper()
	for range 5 {
		var body io.Reader
		if form != nil {
			body = strings.NewReader(form.Encode())
		}
		req, err := http.NewRequest(method, to, body)
		if err != nil {
			s.t.Fatal(err)
		}
		if form != nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		res, err := s.client.Do(req)
		if err != nil {
			s.t.Fatal(err)
		}
		data, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil {
			s.t.Fatal(err)
		}
		v := &view{s: s, url: req.URL, status: res.StatusCode, header: res.Header, body: string(data)}
		if res.StatusCode/100 != 3 {
			v.read()
			return v
		}
		v.away, err = req.URL.Parse(res.Header.Get("Location"))
		if err != nil {
			s.t.Fatal(err)
		}
		if !strings.HasPrefix(v.away.String(), s.origin+"/") {
			return v
		}
		method, to, form = http.MethodGet, v.away.String(), nil
	}
	s.t.Fatal("redirected in circles")
	return nil
}

func (s *surfer) get(path string, query url.Values) *view {
	s.t.Helper()
	to := s.origin + path
	if query != nil {
		to += "?" + query.Encode()
	}
	return s.do(http.MethodGet, to, nil)
}

// read parses the page.
func (v *view) read() {
	v.s.t.Helper()
	root, err := html.Parse(strings.NewReader(v.body))
	if err != nil {
		v.s.t.Fatal(err)
	}
	v.labels = map[string]string{}
	var words []string
	var form *pageForm
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		at := map[string]string{}
		for _, a := range n.Attr {
			at[a.Key] = a.Val
		}
		if n.Type == html.TextNode && n.Parent.Data != "style" && n.Parent.Data != "script" && strings.TrimSpace(n.Data) != "" {
			words = append(words, strings.TrimSpace(n.Data))
		}
		if n.Type == html.ElementNode {
			v.tags = append(v.tags, n.Data)
			for key := range at {
				if strings.HasPrefix(key, "on") || key == "style" {
					v.s.t.Errorf("<%s> has the attribute %s=%q", n.Data, key, at[key])
				}
			}
			switch n.Data {
			case "form":
				v.forms = append(v.forms, pageForm{method: at["method"], action: at["action"], fields: url.Values{}})
				form = &v.forms[len(v.forms)-1]
			case "label":
				v.labels[at["for"]] = textOf(n)
			case "input":
				if form != nil && at["type"] != "checkbox" {
					form.fields.Add(at["name"], at["value"])
				}
			case "button":
				if form != nil {
					form.buttons = append(form.buttons, [2]string{at["name"], at["value"]})
				}
			}
		}
		for c := n.FirstChild; c != nil; c = c.NextSibling {
			walk(c)
		}
	}
	walk(root)
	v.text = strings.Join(words, " ")
}

func textOf(n *html.Node) string {
	if n.Type == html.TextNode {
		return n.Data
	}
	var b strings.Builder
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		b.WriteString(textOf(c))
	}
	return b.String()
}

// press fills in fields ("name", "value" ...) of the form that has the button
// and presses it.
func (v *view) press(name, value string, fields ...string) *view {
	v.s.t.Helper()
	for _, f := range v.forms {
		if !slices.Contains(f.buttons, [2]string{name, value}) {
			continue
		}
		filled := url.Values{}
		for k, vs := range f.fields {
			filled[k] = slices.Clone(vs)
		}
		for i := 0; i+1 < len(fields); i += 2 {
			filled.Set(fields[i], fields[i+1])
		}
		if name != "" {
			filled.Set(name, value)
		}
		to, err := v.url.Parse(f.action)
		if err != nil {
			v.s.t.Fatal(err)
		}
		return v.s.do(strings.ToUpper(f.method), to.String(), filled)
	}
	v.s.t.Fatalf("no button %s=%s on the page (status %d):\n%s", name, value, v.status, v.text)
	return nil
}

// signIn fills in the sign-in page.
func (v *view) signIn(upn, password string) *view {
	v.s.t.Helper()
	return v.press("action", "signin", "loginfmt", upn, "passwd", password)
}

// ben signs in as somebody who is no administrator.
func (v *view) ben() *view {
	v.s.t.Helper()
	return v.signIn("ben@fob.example", "ben-password-1")
}

func (v *view) ada() *view {
	v.s.t.Helper()
	return v.signIn("ada@fob.example", "ada-password-1")
}

// shows checks that a page is there on which a person can read all the words.
func (v *view) shows(status int, words ...string) *view {
	v.s.t.Helper()
	if v.away != nil {
		v.s.t.Fatalf("sent away to %s instead of a page with %q", v.away, words)
	}
	if v.status != status {
		v.s.t.Errorf("status %d, want %d: %s", v.status, status, v.text)
	}
	for _, w := range words {
		if !strings.Contains(v.text, w) {
			v.s.t.Errorf("page does not say %q:\n%s", w, v.text)
		}
	}
	return v
}

// answered returns what an app at the redirect URI was told in a query.
func (v *view) answered(redirect string) url.Values {
	v.s.t.Helper()
	if v.away == nil {
		v.s.t.Fatalf("no redirect but a page (status %d):\n%s", v.status, v.text)
	}
	got := *v.away
	got.RawQuery = ""
	if got.String() != redirect || v.status != http.StatusFound {
		v.s.t.Fatalf("sent to %s with %d, want %s with 302", &got, v.status, redirect)
	}
	return v.away.Query()
}

// told checks that the app was told of an error by a query.
func (v *view) told(redirect, oauth, description string) url.Values {
	v.s.t.Helper()
	q := v.answered(redirect)
	if q.Get("error") != oauth || !strings.HasPrefix(q.Get("error_description"), description) {
		v.s.t.Errorf("told %q, want %s and %s", q, oauth, description)
	}
	if q.Has("code") {
		v.s.t.Error("an error came with a code")
	}
	return q
}

const rfcChallenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" // RFC 7636, appendix B

// cliRequest is a good request of a public client; changes are "name", "value"
// pairs, where an empty value takes the parameter away.
func cliRequest(changes ...string) url.Values {
	return change(url.Values{
		"client_id":             {directory.CLIAppID},
		"redirect_uri":          {"http://localhost:51004"},
		"response_type":         {"code"},
		"scope":                 {"User.Read openid profile offline_access"},
		"state":                 {"st=1&<2>"},
		"code_challenge":        {rfcChallenge},
		"code_challenge_method": {"S256"},
	}, changes)
}

// webRequest is a good request of a web app.
func webRequest(changes ...string) url.Values {
	return change(url.Values{
		"client_id":     {directory.WebAppID},
		"redirect_uri":  {"https://localhost/callback"},
		"response_type": {"code"},
		"scope":         {"User.Read openid profile"},
		"state":         {"s"},
	}, changes)
}

func change(q url.Values, changes []string) url.Values {
	for i := 0; i+1 < len(changes); i += 2 {
		if changes[i+1] == "" {
			q.Del(changes[i])
			continue
		}
		q.Set(changes[i], changes[i+1])
	}
	return q
}

const (
	authorizePath = "/" + directory.TenantID + "/oauth2/v2.0/authorize"
	cliRedirect   = "http://localhost:51004/"
	webRedirect   = "https://localhost/callback"
)
