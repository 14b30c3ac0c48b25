package cli

import (
	"bytes"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// api is a server that gives tokens and is an API at the same time, for what
// the emulator never does.
func api(t *testing.T, answer http.HandlerFunc) (get func(args ...string) ran, address string) {
	t.Helper()
	run, address := apiWith(t, answer)
	return func(args ...string) ran { return run("", append([]string{"get"}, args...)...) }, address
}

// apiWith is api for any command, with what it reads from stdin.
func apiWith(t *testing.T, answer http.HandlerFunc) (run func(stdin string, args ...string) ran, address string) {
	t.Helper()
	flags, environ := apiServer(t, answer)
	return func(stdin string, args ...string) ran {
		var stdout, stderr bytes.Buffer
		status := Run(t.Context(), Env{Args: append(slices.Clone(args), flags...), Environ: environ, Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr})
		return ran{status, stdout.String(), stderr.String()}
	}, flags[1]
}

// apiServer starts the server of api and returns how a command finds it: the
// address first.
func apiServer(t *testing.T, answer http.HandlerFunc) (flags, environ []string) {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/oauth2/v2.0/token") {
			fmt.Fprint(w, `{"access_token":"the-token","token_type":"Bearer","expires_in":3600}`)
			return
		}
		answer(w, r)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // faults are what is tested
	server.StartTLS()
	t.Cleanup(server.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return []string{"--authority-host", server.URL, "--graph-host", server.URL, "--ca-file", ca},
		[]string{"AZURE_CLIENT_SECRET=secret", "AZURE_CLIENT_ID=client", "AZURE_TENANT_ID=tenant.example", "FOB_CACHE_DIR=" + filepath.Join(t.TempDir(), "cache")}
}

func TestANextLinkToAnotherOriginIsNotFollowed(t *testing.T) {
	visited := false
	other := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visited = true }))
	defer other.Close()
	call, _ := api(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"value":[{"id":1}],"@odata.nextLink":%q}`, other.URL+"/next")
	})
	got := call("/users", "--all", "-o", "ndjson")
	if got.status != StatusFailed || got.stdout != "{\"id\":1}\n" || !strings.Contains(got.stderr, "a link to another place, "+other.URL) || visited {
		t.Errorf("%+v", got)
	}
}

func TestANextLinkThatLeadsBackEnds(t *testing.T) {
	for _, first := range []string{"/users", "/users?p=1"} {
		requests := 0
		call, _ := api(t, func(w http.ResponseWriter, r *http.Request) {
			requests++
			fmt.Fprintf(w, `{"value":[{"page":%q}],"@odata.nextLink":"https://%s/v1.0/users?p=1"}`, r.URL.Query().Get("p"), r.Host)
		})
		got := call(first, "--all", "-o", "ndjson")
		if got.status != StatusFailed || requests > 2 || !strings.Contains(got.stderr, "leads back") && !strings.Contains(got.stderr, "read before") {
			t.Errorf("%s: %d requests, %+v", first, requests, got)
		}
	}
}

func TestANextLinkOfAnyLengthIsNotSent(t *testing.T) {
	call, _ := api(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "" {
			t.Error("it was sent")
		}
		fmt.Fprintf(w, `{"value":[{"id":1}],"@odata.nextLink":"https://%s/v1.0/users?p=%s"}`, r.Host, strings.Repeat("x", 1<<20))
	})
	got := call("/users", "--all", "-o", "ndjson")
	if got.status != StatusFailed || got.stdout != "" || !strings.Contains(got.stderr, "has more than 64 KiB") {
		t.Errorf("%+v", got)
	}
}

func TestAnAnswerWithoutValueIsOneItem(t *testing.T) {
	call, _ := api(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "{ \"a\" : 1,\n \"value\" : \"text\" }")
	})
	if got := call("/me", "-o", "ndjson"); got.stdout != "{\"a\":1,\"value\":\"text\"}\n" || got.status != StatusDone {
		t.Errorf("%+v", got)
	}
	if got := call("/me", "--all"); got.stdout != "[\n{\"a\":1,\"value\":\"text\"}\n]\n" {
		t.Errorf("%+v", got)
	}
}

func TestTheTokenDoesNotFollowARedirectToAnotherHost(t *testing.T) {
	var got []string
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("Authorization"))
	}))
	defer other.Close()
	call, _ := api(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer the-token" {
			t.Errorf("the API got %q", r.Header.Get("Authorization"))
		}
		http.Redirect(w, r, other.URL+"/blob", http.StatusFound)
	})
	if out := call("/me/photo/$value"); out.status != StatusDone {
		t.Errorf("%+v", out)
	}
	if len(got) != 1 || got[0] != "" {
		t.Errorf("the other host got %q", got)
	}
}

func TestTheStatusFollowsFromTheAnswer(t *testing.T) {
	for code, want := range map[int]int{400: StatusFailed, 401: StatusRefused, 403: StatusRefused, 404: StatusFailed, 429: StatusUnavailable, 501: StatusFailed, 503: StatusUnavailable} {
		call, _ := api(t, func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(code)
			fmt.Fprint(w, `{"error":{"code":"Word","message":"Sentence."}}`)
		})
		got := call("/me", "--timeout", "1s") // or it would wait for those that get better
		if got.status != want || !strings.Contains(got.stderr, fmt.Sprintf("fob: error: Word: Sentence. (HTTP %d, GET /v1.0/me)", code)) {
			t.Errorf("HTTP %d: %+v", code, got)
		}
	}
}

func TestTargets(t *testing.T) {
	for _, test := range []struct{ given, address, scope string }{
		{"/me", "https://graph.microsoft.com/v1.0/me", "https://graph.microsoft.com/.default"},
		{"me", "https://graph.microsoft.com/v1.0/me", "https://graph.microsoft.com/.default"},
		{"/beta/me", "https://graph.microsoft.com/beta/me", "https://graph.microsoft.com/.default"},
		{"/v1.0/users?$top=1", "https://graph.microsoft.com/v1.0/users?$top=1", "https://graph.microsoft.com/.default"},
		{"/subscriptions?api-version=2022-12-01", "https://management.azure.com/subscriptions?api-version=2022-12-01", "https://management.azure.com/.default"},
		{"/metadata/endpoints?api-version=2022-09-01", "https://management.azure.com/metadata/endpoints?api-version=2022-09-01", "https://management.azure.com/.default"},
		{"/Tenants", "https://management.azure.com/Tenants", "https://management.azure.com/.default"},
		{"/resources?$top=1&api-version=2021-04-01", "https://management.azure.com/resources?$top=1&api-version=2021-04-01", "https://management.azure.com/.default"},
		{"/v1.0/subscriptions?api-version=1", "https://graph.microsoft.com/v1.0/subscriptions?api-version=1", "https://graph.microsoft.com/.default"},
		{"/$metadata", "https://graph.microsoft.com/v1.0/$metadata", "https://graph.microsoft.com/.default"},
		{"/metadata", "https://graph.microsoft.com/v1.0/metadata", "https://graph.microsoft.com/.default"},
		{"https://management.azure.com/tenants?api-version=1", "https://management.azure.com/tenants?api-version=1", "https://management.azure.com/.default"},
		{"https://myvault.vault.azure.net/secrets?api-version=7.4", "https://myvault.vault.azure.net/secrets?api-version=7.4", "https://vault.azure.net/.default"},
		{"https://contoso.sharepoint.com/_api/web", "https://contoso.sharepoint.com/_api/web", "https://contoso.sharepoint.com/.default"},
		{"https://graph.microsoft.us/v1.0/me", "https://graph.microsoft.us/v1.0/me", "https://graph.microsoft.us/.default"},
		{"https://dev.azure.com/org/_apis/projects", "https://dev.azure.com/org/_apis/projects", "499b84ac-1321-427f-aa17-267ca6975798/.default"},
		{"https://GRAPH.microsoft.com:443/v1.0/me#x", "https://GRAPH.microsoft.com:443/v1.0/me", "https://graph.microsoft.com/.default"},
	} {
		s, err := resolved(t, nil)
		if err != nil {
			t.Fatal(err)
		}
		u, scope, err := new(invocation).target(s, test.given, nil)
		if err != nil || u.String() != test.address || scope != test.scope {
			t.Errorf("%s is %v with %s, %v", test.given, u, scope, err)
		}
	}
	for _, given := range []string{"https://evil.example/v1.0/me", "http://graph.microsoft.com/v1.0/me", "https://graph.microsoft.com.evil.example/", "https://graph.microsoft.com@evil.example/",
		"https://graph.microsoft.com:444/v1.0/me", "ftp://graph.microsoft.com/", "https:///me"} {
		s, err := resolved(t, nil)
		if err != nil {
			t.Fatal(err)
		}
		if u, _, err := new(invocation).target(s, given, nil); err == nil {
			t.Errorf("a token would go to %v", u)
		}
	}
}

func TestATimeoutBoundsAllPagesOfAList(t *testing.T) {
	page := func(w http.ResponseWriter, r *http.Request, items string) {
		fmt.Fprintf(w, `{"value":[%s],"@odata.nextLink":"https://%s/v1.0/users?p=%d"}`, items, r.Host, time.Now().UnixNano())
	}
	for name, answer := range map[string]http.HandlerFunc{
		"pages that never end": func(w http.ResponseWriter, r *http.Request) { page(w, r, `{"id":1}`) },
		"a second page that hangs": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "" {
				page(w, r, `{"id":1}`)
				return
			}
			<-r.Context().Done()
		},
		"a second page that drips": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "" {
				page(w, r, `{"id":1}`)
				return
			}
			for r.Context().Err() == nil {
				io.WriteString(w, " ")
				w.(http.Flusher).Flush()
				select {
				case <-r.Context().Done():
				case <-time.After(10 * time.Millisecond):
				}
			}
		},
		"a second page that is throttled": func(w http.ResponseWriter, r *http.Request) {
			if r.URL.RawQuery == "" {
				page(w, r, `{"id":1}`)
				return
			}
			w.Header().Set("Retry-After", "0.05")
			w.WriteHeader(429)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			call, _ := api(t, answer)
			began := time.Now()
			got := call("/users", "--all", "-o", "ndjson", "--timeout", "1s")
			if took := time.Since(began); got.status != StatusUnavailable || took > 10*time.Second || !strings.HasPrefix(got.stdout, "{\"id\":1}\n") {
				t.Errorf("after %s: %.500v", took, got)
			}
			if line := lastError(got.stderr); name != "a second page that is throttled" && !strings.HasSuffix(line, "/v1.0/users: the list was not complete after 1s\n") {
				t.Errorf("it says %q", line)
			}
		})
	}
}

func TestAnAnswerThatIsPrintedAsItCameIsWholeJSONOrNoSuccess(t *testing.T) {
	type want struct {
		status       int
		stdout, says string
	}
	for answer, want := range map[string]want{
		`{"a":1,"a":"\ud800"}`: {StatusDone, "{\"a\":1,\"a\":\"\\ud800\"}\n", ""},
		"\ufeff{}":             {StatusDone, "{}\n", ""},
		`"a`:                   {StatusUnavailable, "\"a", "ends in the middle of its JSON"},
		"":                     {StatusUnavailable, "", "it is empty"},
		`{} {}`:                {StatusFailed, "{} {}", "more behind the end"},
		`{"a":nil}` + strings.Repeat(" ", 100_000): {StatusFailed, `{"a":nil}` + strings.Repeat(" ", 100_000), "broken JSON at byte 6"},
	} {
		call, _ := api(t, body("application/json; charset=utf-8", answer))
		if got := call("/users"); got.status != want.status || got.stdout != want.stdout || !strings.Contains(lastError(got.stderr), want.says) {
			t.Errorf("%.20q: %.300v", answer, got)
		}
	}
	call, _ := api(t, body("text/html; charset=utf-8", "<p>a</p>"))
	for _, args := range [][]string{{"/me/onenote/pages/1/content"}, {"/me/messages/1/$value"}, {"/files/a.html"}, {"/me", "--header", "Accept: text/html"}} {
		if got := call(args...); got.status != StatusDone || got.stdout != "<p>a</p>\n" {
			t.Errorf("%v: %v", args, got)
		}
	}
	if got := call("/me"); got.status != StatusFailed || got.stdout != "" || !strings.Contains(got.stderr, "HTML page") || !strings.Contains(got.stderr, "Accept: text/html") {
		t.Errorf("%v", got)
	}
	file := filepath.Join(t.TempDir(), "me")
	if got := call("/me", "--output-file", file); got.status != StatusFailed || !strings.Contains(got.stderr, "HTML page") {
		t.Errorf("%v", got)
	}
	if left, _ := filepath.Glob(file + "*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	run, _ := apiWith(t, body("application/json", ""))
	if got := run("", "post", "/users", "--body", "{}"); got.status != StatusDone || got.stdout != "" {
		t.Errorf("%v", got)
	}
}

func TestJSONIsCheckedBehindTextsOfAnyLength(t *testing.T) {
	long := strings.Repeat("A", 5<<20)
	for _, test := range []struct{ answer, want string }{
		{`{"contentBytes":"` + long + `"}`, ""},
		{`{"contentBytes":"` + strings.Repeat(`\u00e9\n\"`, 1<<19) + `","` + long + `":[1]}`, ""},
		{`{"contentBytes":"` + long, "it ends in the middle of its JSON"},
		{`{"contentBytes":"` + long + `\`, "it ends in the middle of its JSON"},
		{`{"contentBytes":"` + long + `"`, "it ends in the middle of its JSON"},
		{`{"contentBytes":"` + long + `"}]`, "there is more behind the end of the JSON"},
		{`{"contentBytes":"` + long + `",x`, fmt.Sprintf("broken JSON at byte %d", 17+len(long)+2)},
		{`{"contentBytes":"` + long + "\n\"}", fmt.Sprintf("broken JSON at byte %d", 17+len(long))},
		{`{"contentBytes":"` + long + `\x"}`, fmt.Sprintf("broken JSON at byte %d", 17+len(long)+1)},
		{`{"contentBytes":"` + long + `\u12g4"}`, fmt.Sprintf("broken JSON at byte %d", 17+len(long)+4)},
		{`{"a":1` + strings.Repeat("1", 5<<20) + `}`, "something that is no text has more than 1 MiB"},
	} {
		kept := 0
		var out strings.Builder
		in := io.TeeReader(strings.NewReader(test.answer), writerFunc(func(p []byte) (int, error) { kept = max(kept, len(p)); return len(p), nil }))
		err := copyJSON(&out, in, true)
		if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) || kept > 2<<20 {
			t.Errorf("%.20s … %s: %v, %d bytes at once", test.answer, test.answer[len(test.answer)-10:], err, kept)
		}
		if out.String() != test.answer {
			t.Errorf("%d of %d bytes were copied", out.Len(), len(test.answer))
		}
	}
}

func FuzzJSONIsJudgedAlikeWithAndWithoutLongTexts(f *testing.F) {
	for _, text := range []string{`["~"]`, `{"~":"\u00~"}`, `["~\"`, `["~\u12"]`, `"~" 1`, "[\"~\n\"]", `["\~"]`, `~`, `["a~\/\x"]`, `"~\~"`} {
		f.Add(text)
	}
	// Each ~ becomes a long text.
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1000 {
			return
		}
		whole := jsontext.Value(strings.ReplaceAll(text, "~", strings.Repeat("A", longText+1)))
		valid := whole.IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
		if err := copyJSON(io.Discard, strings.NewReader(string(whole)), true); (err == nil) != valid && !strings.HasPrefix(text, byteOrderMark) {
			t.Errorf("%q: %v, but it is valid: %v", text, err, valid)
		}
	})
}

func TestATimeoutSaysOfAWriteThatItMayHaveHappened(t *testing.T) {
	run, _ := apiWith(t, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // to return would be to answer, perhaps just in time
	})
	for _, args := range [][]string{{"post", "/groups", "--body", "{}"}, {"batch", "-"}} {
		got := run(`{"url":"/groups","method":"POST"}`, append(args, "--timeout", "300ms")...)
		if got.status != StatusUnavailable || !strings.Contains(lastError(got.stderr), "no whole answer within 300ms; it may have been carried out all the same") || strings.Contains(got.stdout, "not sent") {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

func TestAHostileNextLinkIsSaidInWords(t *testing.T) {
	for link, want := range map[string]string{
		"https://user@HOST/v1.0/users?p=2":    "has a user name before its host",
		"http://HOST/v1.0/users?p=2":          "sent a link to another place, http://HOST; it is not followed",
		"https://evil.example/v1.0/users":     "sent a link to another place, https://evil.example:443; it is not followed",
		"javascript:alert(1)":                 "sent a link that is not followed",
		"//evil.example/v1.0/users":           "sent a link that is not followed",
		"https://HOST\\\\@evil.example/users": "sent a link that is not followed",
	} {
		var host string
		call, _ := api(t, func(w http.ResponseWriter, r *http.Request) {
			host = r.Host
			fmt.Fprintf(w, `{"value":[{"id":1}],"@odata.nextLink":"%s"}`, strings.ReplaceAll(link, "HOST", r.Host))
		})
		got := call("/users", "--all", "-o", "ndjson")
		if got.status != StatusFailed || got.stdout != "{\"id\":1}\n" || !strings.Contains(lastError(got.stderr), strings.ReplaceAll(want, "HOST", host)) {
			t.Errorf("%s: %+v", link, got)
		}
	}
}

func TestAnAnswerWithoutContentHasNoItems(t *testing.T) {
	call, _ := api(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	for want, args := range map[string][]string{"[]\n": {"--all"}, "": {"-o", "ndjson"}} {
		if got := call(append([]string{"/users"}, args...)...); got.status != StatusDone || got.stdout != want {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

func TestARefusedTokenIsTriedAgainWithTheSameWords(t *testing.T) {
	call, _ := api(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(401) })
	got := call("/users?$top=1", "--timeout", "5s", "-o", "ndjson")
	if got.status != StatusRefused || !strings.Contains(got.stderr, "\ntry:   fob get '/users?$top=1' --timeout 5s -o ndjson ") || !strings.HasSuffix(got.stderr, " --force-refresh\n") {
		t.Errorf("%+v", got)
	}
	for _, args := range [][]string{{"--force-refresh"}, {"--header", "X-Key: hush"}, {"-HX-Key:hush"}, {"--query", "a=" + strings.Repeat("b", 500)}} {
		if got := call(append([]string{"/users"}, args...)...); strings.Contains(got.stderr, "try:") || strings.Contains(got.stderr, "hush") {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

func TestARefusalWithoutASentenceHasWords(t *testing.T) {
	for _, body := range []string{`{"error":"Word"}`, `{"error":{"code":"Word","message":""}}`} {
		call, _ := api(t, func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(409); io.WriteString(w, body) })
		if got := call("/users"); !strings.Contains(got.stderr, "fob: error: Word: Conflict (HTTP 409, GET /v1.0/users)\n") {
			t.Errorf("%+v", got)
		}
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
