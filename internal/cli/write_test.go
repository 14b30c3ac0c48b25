package cli

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// sent is a request that reached the API.
type sent struct {
	method, path, query, body string
	header                    http.Header
}

// recording answers every request alike and remembers it.
func recording(t *testing.T, status int, body string) (run func(stdin string, args ...string) ran, requests *[]sent) {
	requests = new([]sent)
	var mu sync.Mutex // guards requests while they come side by side
	run, _ = apiWith(t, func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		*requests = append(*requests, sent{r.Method, r.URL.Path, r.URL.RawQuery, string(b), r.Header})
		w.WriteHeader(status)
		io.WriteString(w, body)
	})
	return run, requests
}

func TestEveryMethodSendsItsBodyWithItsType(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "body.json")
	picture := filepath.Join(dir, "me.jpg")
	wide, odd := filepath.Join(dir, "wide.json"), filepath.Join(dir, "odd.json") // as PowerShell's > writes them
	inWide, inOdd := "\xff\xfe{\x00\"\x00a\x00\"\x00:\x00\"\x00\xe9\x00\"\x00}\x00", "\xff\xfe{\x00\"\x00"
	for name, text := range map[string]string{file: `{"from":"file"}`, picture: "\xff\xd8\xff", wide: inWide, odd: inOdd} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		args                   []string
		stdin                  string
		method, body, kindSent string
	}{
		{[]string{"post", "/groups", "--body", `{"a":1}`}, "", "POST", `{"a":1}`, "application/json"},
		{[]string{"patch", "/me", "--body", "@" + file}, "", "PATCH", `{"from":"file"}`, "application/json"},
		{[]string{"put", "/me/photo/$value", "--body", "@" + picture}, "", "PUT", "\xff\xd8\xff", "image/jpeg"},
		{[]string{"post", "/groups", "--body", "-"}, ` {"from":"stdin"}`, "POST", ` {"from":"stdin"}`, "application/json"},
		{[]string{"post", "/x", "--body", "plain", "-H", "Content-Type: text/plain"}, "", "POST", "plain", "text/plain"},
		{[]string{"post", "/groups", "--body", "@" + wide}, "", "POST", `{"a":"é"}`, "application/json"},
		{[]string{"patch", "/me", "--body", "-"}, inWide, "PATCH", `{"a":"é"}`, "application/json"},
		{[]string{"put", "/me/drive/root:/wide.json:/content", "--body", "@" + wide}, "", "PUT", inWide, "application/json"},
		{[]string{"post", "/groups", "--body", "-"}, "\ufeff{}", "POST", "{}", "application/json"},
		{[]string{"post", "/x", "--body", "-", "-H", "Content-Type: application/octet-stream"}, inWide, "POST", inWide, "application/octet-stream"},
		{[]string{"post", "/x", "--body", "-", "-H", "Content-Type: application/JSON"}, inWide, "POST", `{"a":"é"}`, "application/JSON"},
		{[]string{"post", "/groups", "--body", "@" + odd}, "", "POST", inOdd, "application/json"},
		{[]string{"post", "/me/revokeSignInSessions"}, "", "POST", "", ""},
		{[]string{"delete", "/groups/1"}, "", "DELETE", "", ""},
		{[]string{"api", "/me"}, "", "GET", "", ""},
		{[]string{"api", "/groups", "--body", "{}"}, "", "POST", "{}", "application/json"},
		{[]string{"rest", "-X", "patch", "/groups", "--body", "{}"}, "", "PATCH", "{}", "application/json"},
	} {
		run, requests := recording(t, 200, `{"ok":true}`)
		got := run(test.stdin, test.args...)
		if got.status != StatusDone || got.stdout != "{\"ok\":true}\n" || len(*requests) != 1 {
			t.Errorf("%v: %+v, %d requests", test.args, got, len(*requests))
			continue
		}
		r := (*requests)[0]
		if r.method != test.method || r.body != test.body || r.header.Get("Content-Type") != test.kindSent || r.header.Get("Authorization") != "Bearer the-token" {
			t.Errorf("%v sent %+v", test.args, r)
		}
	}
}

func TestWhatIsPutToBeKeptStaysInUTF16(t *testing.T) {
	wide := filepath.Join(t.TempDir(), "wide.json")
	if err := os.WriteFile(wide, []byte("\xff\xfe{\x00}\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	run, _ := recording(t, 200, "{}")
	for path, noted := range map[string]bool{"/subscriptions/1/resourceGroups/2": true, "/me/drive/root:/wide.json:/content": false, "/me/photo/$value": false} {
		got := run("", "put", path, "--body", "@"+wide, "--dry-run")
		if got.status != StatusDone || strings.Contains(got.stderr, "it is sent in UTF-8") != noted {
			t.Errorf("%s: %+v", path, got)
		}
	}
}

func TestABodyThatIsNoJSONIsRefusedBeforeItIsSent(t *testing.T) {
	run, requests := recording(t, 200, "{}")
	for _, args := range [][]string{
		{"post", "/groups", "--body", "{'a':1}"}, {"post", "/groups", "--body", "@no-such-file"}, {"api", "-X", "GET", "/me", "--body", "{}"},
		{"api", "-X", "BREW", "/me"}, {"post", "/x", "-H", "Host: other"}, {"post", "/x", "-H", "no colon"}, {"get", "/x", "-H", "A: b\r\nC: d"}, {"get", "/x", "--query", "value"},
		{"get", "/x", "--all", "--include"}, {"get", "/x", "--jq", ".a |"}, {"get", "https://myvault.vault.azure.net/x", "--beta"},
	} {
		if got := run("", args...); got.status != StatusUsage || got.stdout != "" {
			t.Errorf("%v: %+v", args, got)
		}
	}
	if len(*requests) > 0 {
		t.Errorf("sent %+v", *requests)
	}
}

func TestAFileNamedWithoutItsAtSignIsRecognised(t *testing.T) {
	run, _ := recording(t, 200, "{}")
	file := filepath.Join(t.TempDir(), "body.json")
	if err := os.WriteFile(file, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := run("", "post", "/groups", "--body", file); !strings.Contains(got.stderr, "put an @ in front of its name") {
		t.Errorf("%+v", got)
	}
}

func TestAnAuthorizationHeaderIsRefusedWithoutBeingRepeated(t *testing.T) {
	run, requests := recording(t, 200, "{}")
	got := run("", "get", "/me", "--header", "Authorization: Bearer secret-token")
	if got.status != StatusUsage || len(*requests) > 0 || strings.Contains(got.stderr, "secret-token") {
		t.Errorf("%+v, %d requests", got, len(*requests))
	}
}

func TestADryRunShowsTheRequestAndSendsNothing(t *testing.T) {
	run, requests := recording(t, 200, "{}")
	got := run("", "post", "/groups", "--body", `{"a":1}`, "--dry-run", "--beta", "-H", "Prefer: return=minimal")
	want := "/beta/groups\nAccept: application/json, */*;q=0.1\nAuthorization: Bearer [redacted]\nContent-Type: application/json\nPrefer: return=minimal\n\n{\"a\":1}\n"
	if got.status != StatusDone || !strings.HasPrefix(got.stdout, "POST https://127.0.0.1:") || !strings.HasSuffix(got.stdout, want) ||
		!strings.Contains(got.stderr, "the token would be for https://graph.microsoft.com/.default") || len(*requests) > 0 {
		t.Errorf("%+v, %d requests", got, len(*requests))
	}
}

func TestADryRunNeedsNobodyToBeSignedIn(t *testing.T) {
	if got := runFob(t, nil, "get", "/me", "--dry-run"); got.status != StatusDone || !strings.HasPrefix(got.stdout, "GET https://graph.microsoft.com/v1.0/me\n") {
		t.Errorf("%+v", got)
	}
}

func TestQueryValuesAreEncoded(t *testing.T) {
	run, requests := recording(t, 200, "{}")
	if got := run("", "get", "/users?$top=1", "--query", "$filter=displayName eq 'A&B+C'", "--query", "$orderby=displayName", "-H", "ConsistencyLevel: session"); got.status != StatusDone {
		t.Fatalf("%+v", got)
	}
	if q := (*requests)[0].query; q != "$top=1&$filter=displayName%20eq%20%27A%26B%2BC%27&$orderby=displayName" {
		t.Error(q)
	}
}

func TestIncludePrintsStatusAndHeadersOfSuccessAndRefusal(t *testing.T) {
	run, _ := apiWith(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Request-Id", "r-1")
		if r.URL.Path == "/v1.0/no" {
			w.WriteHeader(404)
		}
		io.WriteString(w, `{}`)
	})
	if got := run("", "get", "/me", "--include"); !strings.HasPrefix(got.stdout, "HTTP/") || !strings.Contains(got.stdout, " 200 OK\n") ||
		!strings.Contains(got.stdout, "\nRequest-Id: r-1\n") || !strings.HasSuffix(got.stdout, "\n\n{}\n") {
		t.Errorf("%+v", got)
	}
	if got := run("", "get", "/no", "--include"); !strings.Contains(got.stdout, " 404 Not Found\n") || got.status != StatusFailed {
		t.Errorf("%+v", got)
	}
}

func TestAWriteWhoseAnswerIsLostIsNotRepeatedAndSaysSo(t *testing.T) {
	requests := 0
	run, _ := apiWith(t, func(http.ResponseWriter, *http.Request) {
		requests++
		panic(http.ErrAbortHandler)
	})
	got := run("", "post", "/groups", "--body", "{}")
	if got.status != StatusUnavailable || requests != 1 || !strings.Contains(got.stderr, "look before you repeat it") {
		t.Errorf("%d requests, %+v", requests, got)
	}
}
