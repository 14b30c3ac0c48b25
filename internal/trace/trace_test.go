package trace

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

// canary is in every secret of these tests.
const canary = "C4naryMustNotLeave"

func jwt(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"typ":"JWT","alg":"RS256","kid":"k1"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("sig"+canary))
}

// place is where a test puts a secret.
func secret(place string) string { return canary + "-" + place + "/+ \"&" }

// exercise sends requests with a secret in every place, to a server that
// answers with secrets in every place and echoes what it got.
func exercise(t *testing.T, r *Recorder) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header()["Date"] = nil
		req.ParseForm()
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Set-Cookie", "session="+secret("set-cookie")+"; Path=/")
		w.Header().Set("X-Unknown", secret("answer header"))
		w.Header().Set("X-Ms-Request-Id", "11111111-aaaa-4bbb-8ccc-000000000700")
		switch {
		case strings.HasSuffix(req.URL.Path, "/token") && req.Form.Get("grant_type") == "client_credentials":
			json.NewEncoder(w).Encode(map[string]any{
				"token_type": "Bearer", "expires_in": 3599, "scope": "https://graph.microsoft.com/.default",
				"access_token":  jwt(`{"aud":"https://graph.microsoft.com","iss":"https://sts.windows.net/t/","appid":"a","roles":["User.Read.All"],"exp":1790003900,"name":"` + canary + ` Person"}`),
				"refresh_token": "0.A" + secret("refresh token"), "id_token": jwt(`{"aud":"a","name":"` + canary + `"}`),
				"client_info": secret("client info"), "unknown_member": secret("unknown member"),
			})
		case strings.HasSuffix(req.URL.Path, "/token"):
			w.WriteHeader(http.StatusBadRequest)
			// An error that repeats what it was sent, as servers do.
			json.NewEncoder(w).Encode(map[string]any{
				"error": "invalid_grant", "suberror": "bad_token", "error_codes": []int{70000},
				"error_description": "AADSTS70000: cannot use " + req.Form.Get("refresh_token") + " or " + url.QueryEscape(req.Form.Get("client_secret")) + ", see https://example.test/x?code=" + canary,
			})
		case strings.HasSuffix(req.URL.Path, "/devicecode"):
			code := secret("user code")
			json.NewEncoder(w).Encode(map[string]any{"device_code": secret("device code"), "user_code": code, "interval": 5,
				"verification_uri": "https://microsoft.com/devicelogin", "message": "Enter " + code + " there."})
		case strings.HasSuffix(req.URL.Path, "/redirect"):
			w.Header().Set("Location", "http://localhost:51004/?code="+url.QueryEscape(secret("code"))+"&state="+url.QueryEscape(secret("state"))+"#access_token="+canary)
			w.WriteHeader(http.StatusFound)
		case strings.HasSuffix(req.URL.Path, "/denied"):
			w.Header().Set("WWW-Authenticate", `Bearer realm="", error="insufficient_claims", claims="eyJhIjp7fX0=", nonce="`+canary+`"`)
			w.WriteHeader(http.StatusUnauthorized)
			json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": "InvalidAuthenticationToken",
				"message": "bad token " + strings.TrimPrefix(req.Header.Get("Authorization"), "Bearer "), "innerError": map[string]any{"request-id": "r-1", "date": "2026-03-01T08:15:30"}}})
		case strings.HasSuffix(req.URL.Path, "/page"):
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<p>"+canary+"</p>")
		default:
			json.NewEncoder(w).Encode(map[string]any{"@odata.context": "https://graph.microsoft.com/v1.0/$metadata#users", "value": []any{map[string]any{"displayName": canary}}})
		}
	}))
	defer server.Close()
	// A host name that is the same in every run.
	to, _ := url.Parse(server.URL)
	direct := &http.Transport{}
	defer direct.CloseIdleConnections()
	r.Base = rewrite{to, direct}
	client := &http.Client{Transport: r, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}

	do := func(method, address string, form url.Values, change func(*http.Request)) {
		t.Helper()
		var body io.Reader
		if form != nil {
			body = strings.NewReader(form.Encode())
		}
		req, err := http.NewRequest(method, address, body)
		if err != nil {
			t.Fatal(err)
		}
		if form != nil {
			req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		}
		if change != nil {
			change(req)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	const sts, graph = "https://login.microsoftonline.com/contoso.com/oauth2/v2.0", "https://graph.microsoft.com/v1.0"
	do("POST", sts+"/devicecode", url.Values{"client_id": {"a"}, "scope": {"User.Read"}}, nil)
	do("POST", sts+"/token", url.Values{"grant_type": {"client_credentials"}, "client_id": {"a"}, "scope": {"https://graph.microsoft.com/.default"},
		"client_secret": {secret("client secret")}, "client_assertion": {jwt(`{"aud":"` + sts + `/token","sub":"` + canary + `"}`)}, "unknown_field": {secret("unknown field")}}, nil)
	do("POST", sts+"/token?secret="+canary, url.Values{"grant_type": {"refresh_token"}, "client_id": {"a"}, "refresh_token": {"0.A" + secret("old refresh token")},
		"client_secret": {secret("client secret")}, "code": {secret("code")}, "code_verifier": {secret("verifier")}, "password": {secret("password")},
		"username": {canary + "@contoso.com"}, "assertion": {jwt(`{"aud":"b"}`)}, "device_code": {secret("device code")}}, func(req *http.Request) {
		req.SetBasicAuth("a", url.QueryEscape(secret("basic")))
		req.Header.Set("Cookie", "session="+secret("cookie"))
		req.Header.Set("X-Api-Key", secret("api key"))
	})
	do("GET", "https://login.microsoftonline.com/redirect?login_hint="+canary+"&client_id=a", nil, nil)
	bearer := func(req *http.Request) {
		req.Header.Set("Authorization", "Bearer "+jwt(`{"aud":"https://graph.microsoft.com","scp":"User.Read","upn":"`+canary+`@contoso.com"}`))
	}
	do("GET", graph+"/users?$top=5&$skiptoken="+canary+"&sig="+canary, nil, bearer)
	do("GET", graph+"/me/denied", nil, bearer)
	do("GET", "https://user:"+canary+"@graph.microsoft.com/page", nil, bearer)
	do("POST", graph+"/applications/1/addPassword", nil, func(req *http.Request) {
		req.Body = io.NopCloser(strings.NewReader(`{"secretText":"` + canary + `"}`))
		req.Header.Set("Content-Type", "application/json")
	})
}

// rewrite sends every request to one server.
type rewrite struct {
	to   *url.URL
	next http.RoundTripper
}

func (r rewrite) RoundTrip(req *http.Request) (*http.Response, error) {
	moved := req.Clone(req.Context())
	moved.URL.Scheme, moved.URL.Host, moved.URL.User = r.to.Scheme, r.to.Host, nil
	return r.next.RoundTrip(moved)
}

// steps is a clock that goes on 50 ms whenever it is read.
func steps() func() time.Time {
	var mu sync.Mutex
	now := time.Date(2026, 9, 21, 10, 0, 0, 0, time.UTC)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(50 * time.Millisecond)
		return now
	}
}

func forms(r *Recorder) map[string]func(io.Writer) error {
	return map[string]func(io.Writer) error{"story.txt": r.WriteStory, "trace.har": r.WriteHAR, "trace.md": r.WriteMarkdown, "trace.html": r.WriteHTML}
}

func TestNoSecretIsInAnyForm(t *testing.T) {
	r := &Recorder{Now: steps()}
	exercise(t, r)
	for name, write := range forms(r) {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		for _, form := range []string{canary, base64.StdEncoding.EncodeToString([]byte(canary))[:20], base64.RawURLEncoding.EncodeToString([]byte("sig" + canary))} {
			if i := strings.Index(b.String(), form); i >= 0 {
				t.Errorf("%s has a secret: …%s…", name, b.String()[max(0, i-200):min(b.Len(), i+60)])
			}
		}
		if !strings.Contains(b.String(), "[redacted") || !strings.Contains(b.String(), "AADSTS70000") || !strings.Contains(b.String(), "InvalidAuthenticationToken") {
			t.Errorf("%s does not tell what happened", name)
		}
	}
	all, _ := r.Exchanges()
	for _, text := range []string{fmt.Sprintf("%+v", all), fmt.Sprintf("%+v %#v", r, r.secret)} {
		if strings.Contains(text, canary) {
			t.Error("a formatted recorder shows a secret")
		}
	}
}

func TestASecretIsFoundInEverySpelling(t *testing.T) {
	const secret = `p/w+d = "Ünder" ~&<x>`
	var s secrets
	s.learn(secret)
	quoted, _ := json.Marshal(secret)
	for name, echo := range map[string]string{
		"itself": secret, "a query": url.QueryEscape(secret), "a path": url.PathEscape(secret), "JSON": string(quoted),
		"a query of .NET": "p%2fw%2bd+%3d+%22%c3%9cnder%22+~%26%3cx%3e", "Basic": base64.StdEncoding.EncodeToString([]byte(secret)),
		"base64url": base64.RawURLEncoding.EncodeToString([]byte(secret)),
	} {
		if got := s.scrub("you sent " + echo); !strings.Contains(got, Redacted) || strings.Contains(got, "nder") {
			t.Errorf("%s: %s", name, got)
		}
	}
}

func TestTheFormsAreAsTheyWere(t *testing.T) {
	r := &Recorder{Now: steps()}
	exercise(t, r)
	for name, write := range forms(r) {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		golden(t, name, b.Bytes())
	}
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(want, got) {
		t.Errorf("%s is not as it was; look at it and run: go test ./internal/trace -update\n%s", path, got)
	}
}

func TestTheCallerReadsWhatTheServerSent(t *testing.T) {
	want := strings.Repeat("0123456789", maxContent/5) // larger than what is kept
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		if string(body) != "a=b&client_secret=hidden" {
			t.Errorf("the server got %q", body)
		}
		w.Header().Set("Content-Type", "application/json")
		io.WriteString(w, want)
	}))
	defer server.Close()
	r := &Recorder{}
	resp, err := (&http.Client{Transport: r}).Post(server.URL, "application/x-www-form-urlencoded", strings.NewReader("a=b&client_secret=hidden"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(got) != want {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	all, _ := r.Exchanges()
	if len(all) != 1 || all[0].Answer.Size != int64(len(want)) || !strings.Contains(all[0].Answer.Note, "too large") || all[0].Answer.Fields != nil {
		t.Fatalf("%+v", all)
	}
}

func TestARequestWithoutAnAnswerIsRecordedWithoutItsSecret(t *testing.T) {
	r := &Recorder{Base: broken{}}
	req, _ := http.NewRequest("GET", "https://login.microsoftonline.com/?code="+canary, nil)
	req.Header.Set("Authorization", "Bearer "+canary)
	if _, err := r.RoundTrip(req); err == nil {
		t.Fatal("no error")
	}
	all, _ := r.Exchanges()
	if len(all) != 1 || all[0].Status != 0 || !strings.Contains(all[0].Error, "refused") || strings.Contains(fmt.Sprintf("%+v", all), canary) {
		t.Fatalf("%+v", all)
	}
}

type broken struct{}

func (broken) RoundTrip(r *http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("connection refused with %s", r.Header.Get("Authorization"))
}

func TestMarkupOfAServerStaysText(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(400)
		io.WriteString(w, `{"error":"</svg><script>alert(1)</script>","error_description":"\u001b[2J\u202e\n## heading\n`+"```"+`\n<img src=x onerror=alert(1)>","x\"><script>":1}`)
	}))
	defer server.Close()
	r := &Recorder{}
	resp, err := (&http.Client{Transport: r}).Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	for name, write := range forms(r) {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatal(err)
		}
		text := b.String()
		for _, bad := range []string{"\x1b", "\u202e", "\n## heading", "\n```\n<"} {
			if strings.Contains(text, bad) {
				t.Errorf("%s has %q", name, bad)
			}
		}
		if name == "trace.html" && (strings.Contains(text, "<script") || strings.Contains(text, "<img")) {
			t.Error("the page has the server's markup")
		}
	}
}

func TestTheHARHasWhatTheFormatAsksFor(t *testing.T) {
	r := &Recorder{Now: steps()}
	exercise(t, r)
	var b bytes.Buffer
	if err := r.WriteHAR(&b); err != nil {
		t.Fatal(err)
	}
	var har struct {
		Log struct {
			Version string
			Creator struct{ Name, Version string }
			Entries []struct {
				StartedDateTime time.Time
				Time            float64
				Request         struct {
					Method, URL, HTTPVersion string
					Cookies, Headers         []any
					QueryString              []struct{ Name, Value string }
				}
				Response struct {
					Status  int
					Content struct {
						Size     int
						MimeType string
						Text     string
					}
				}
				Cache, Timings map[string]any
			}
		}
	}
	if err := json.Unmarshal(b.Bytes(), &har); err != nil {
		t.Fatal(err)
	}
	if har.Log.Version != "1.2" || har.Log.Creator.Name == "" || len(har.Log.Entries) != 8 {
		t.Fatalf("%+v", har.Log)
	}
	for i, e := range har.Log.Entries {
		if e.StartedDateTime.IsZero() || e.Time <= 0 || e.Request.URL == "" || e.Request.Cookies == nil || e.Request.Headers == nil ||
			e.Request.QueryString == nil || e.Response.Status == 0 || e.Cache == nil || e.Timings["wait"] == nil {
			t.Errorf("entry %d lacks something: %+v", i, e)
		}
	}
}

func TestATraceFileIsForItsOwnerOnly(t *testing.T) {
	r := &Recorder{Now: steps()}
	exercise(t, r)
	dir := t.TempDir()
	for _, name := range []string{"a.har", "a.md", "a.html", "a.txt"} {
		path := filepath.Join(dir, name)
		if err := r.WriteFile(path); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(path)
		if err != nil || info.Size() == 0 || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	if err := r.WriteFile(filepath.Join(dir, "a.pdf")); err == nil || !strings.Contains(err.Error(), ".html") {
		t.Error(err)
	}
}

func TestManyExchangesAtOnceAreAllRecorded(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { io.WriteString(w, `{"value":[]}`) }))
	defer server.Close()
	var told int
	r := &Recorder{}
	r.Done = func(Exchange) { told++ } // one call at a time: the race detector sees whether that holds
	client := &http.Client{Transport: r}
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			resp, err := client.Get(server.URL)
			if err != nil {
				t.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		})
	}
	group.Wait()
	if all, dropped := r.Exchanges(); len(all) != 20 || dropped != 0 || told != 20 {
		t.Fatal(len(all), dropped, told)
	}
}

func TestMoreSecretsThanCanBeRememberedHideEverything(t *testing.T) {
	s := &secrets{}
	for i := range maxSecrets {
		s.learn(fmt.Sprintf("secret-%d", i))
	}
	s.learn(canary)
	if got := s.scrub("the server says " + canary); got != Redacted {
		t.Fatal(got)
	}
}

// TestABrowserDrawsTheDiagram opens the page in Chromium, where there is one,
// and looks at the pixels: the arrows' colour must be there.
func TestABrowserDrawsTheDiagram(t *testing.T) {
	chromium, err := exec.LookPath("chromium")
	if err != nil && os.Getenv("CI") == "true" {
		t.Fatal("chromium is not installed (Debian package chromium)")
	}
	if err != nil {
		t.Skip("chromium is not installed (Debian package chromium)")
	}
	r := &Recorder{Now: steps()}
	exercise(t, r)
	dir := t.TempDir()
	page, picture := filepath.Join(dir, "trace.html"), filepath.Join(dir, "trace.png")
	if err := r.WriteFile(page); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), chromium, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--user-data-dir="+dir,
		"--window-size=1100,900", "--screenshot="+picture, "file://"+page).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if n := arrows(t, picture); n < 2000 {
		t.Errorf("the picture has %d pixels of the arrows' colour: the diagram is not there", n)
	}
}
