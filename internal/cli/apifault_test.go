package cli

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// faults are what networks and services do, and the exit statuses that may
// follow from them.
var faults = map[string]struct {
	answer   http.HandlerFunc
	statuses []int
}{
	"400":                      {refuse(400, ""), []int{StatusFailed}},
	"401":                      {refuse(401, ""), []int{StatusRefused}},
	"403":                      {refuse(403, ""), []int{StatusRefused}},
	"404":                      {refuse(404, ""), []int{StatusFailed}},
	"409":                      {refuse(409, ""), []int{StatusFailed}},
	"410":                      {refuse(410, ""), []int{StatusFailed}},
	"412":                      {refuse(412, ""), []int{StatusFailed}},
	"429":                      {refuse(429, ""), []int{StatusUnavailable}},
	"429 for an hour":          {refuse(429, "3600"), []int{StatusUnavailable}},
	"429 with rubbish":         {refuse(429, "soon"), []int{StatusUnavailable}},
	"500":                      {refuse(500, ""), []int{StatusUnavailable}},
	"501":                      {refuse(501, ""), []int{StatusFailed}},
	"502 without a body":       {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(502) }, []int{StatusUnavailable}},
	"503":                      {refuse(503, "0.05"), []int{StatusUnavailable}},
	"504":                      {refuse(504, ""), []int{StatusUnavailable}},
	"HTML of a proxy":          {body("text/html", "<html>sign in</html>"), []int{StatusFailed, StatusDone}},
	"half a JSON":              {body("application/json", `{"value":[{"id":"1"},{"id`), []int{StatusFailed, StatusUnavailable, StatusDone}},
	"no JSON":                  {body("application/json", `value=1`), []int{StatusFailed, StatusDone}},
	"JSON and more":            {body("application/json", `{"value":[]} more`), []int{StatusFailed, StatusDone}},
	"two lists":                {body("application/json", `{"value":[{"id":"1"}],"value":[{"id":"2"}]}`), []int{StatusFailed, StatusDone}},
	"a link that is a number":  {body("application/json", `{"value":[{"id":"1"}],"@odata.nextLink":5}`), []int{StatusFailed, StatusDone}},
	"two links":                {body("application/json", `{"value":[{"id":"1"}],"@odata.nextLink":"/a","@odata.nextLink":"/b"}`), []int{StatusFailed, StatusDone}},
	"endless brackets":         {body("application/json", `{"value":`+strings.Repeat("[", 200_000)), []int{StatusFailed, StatusDone}},
	"an empty answer":          {body("application/json", ""), []int{StatusFailed, StatusUnavailable, StatusDone}},
	"a status of its own":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(999) }, []int{StatusFailed}},
	"a year of throttling":     {refuse(503, "Fri, 31 Dec 9999 23:59:59 GMT"), []int{StatusUnavailable}},
	"a wait of less than none": {refuse(429, "-1"), []int{StatusUnavailable}},
	"no HTTP":                  {rawAnswer("SSH-2.0-OpenSSH_9.2\r\n"), []int{StatusUnavailable}},
	"a chunk that is none":     {rawAnswer("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n"), []int{StatusUnavailable}},
	"a header without end":     {rawAnswer("HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 200_000)), []int{StatusUnavailable}},
	"hints without end":        {rawAnswer(strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 20_000)), []int{StatusUnavailable}},
	"a connection that breaks": {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, []int{StatusUnavailable}},
	"a body that breaks off": {func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "1000")
		io.WriteString(w, `{"value":[`)
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}, []int{StatusFailed, StatusUnavailable}},
	"silence":                     {func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body); <-r.Context().Done() }, []int{StatusUnavailable}},
	"a redirect that never ends":  {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, 302) }, []int{StatusFailed, StatusUnavailable}},
	"a redirect to this machine":  {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://10.0.0.1/", 302) }, []int{StatusFailed, StatusUnavailable}},
	"an error with escapes in it": {body("application/json", "{\"error\":{\"code\":\"\x1b[2J\",\"message\":\"a\\u001b[31mb\\nfob: try: rm\"}}"), []int{StatusFailed, StatusDone}},
}

func refuse(status int, after string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if after != "" {
			w.Header().Set("Retry-After", after)
		}
		w.WriteHeader(status)
		io.WriteString(w, `{"error":{"code":"Word","message":"Sentence.","innerError":{"request-id":"r"}}}`)
	}
}

func body(kind, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		io.WriteString(w, text)
	}
}

// rawAnswer answers with bytes instead of HTTP.
func rawAnswer(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		io.WriteString(conn, text)
	}
}

func TestEveryFaultOfEveryCallEndsInTimeWithAStatusAndAMessage(t *testing.T) {
	calls := map[string]func(dir string) []string{
		"get":    func(string) []string { return []string{"get", "/users"} },
		"ndjson": func(string) []string { return []string{"get", "/users", "-o", "ndjson"} },
		"all":    func(string) []string { return []string{"get", "/users", "--all"} },
		"post":   func(string) []string { return []string{"post", "/groups", "--body", "{}", "-o", "ndjson"} },
		"batch":  func(dir string) []string { return []string{"batch", filepath.Join(dir, "batch")} },
		"export": func(dir string) []string {
			return []string{"export", "/users", "--to", filepath.Join(dir, "users.ndjson")}
		},
		"snapshot": func(dir string) []string {
			return []string{"export", "/users", "--to", filepath.Join(dir, "users.ndjson"), "--delta"}
		},
		"csv": func(dir string) []string {
			return []string{"export", "/users", "--to", filepath.Join(dir, "users.csv")}
		},
		"download": func(dir string) []string {
			return []string{"get", "/me/photo/$value", "--output-file", filepath.Join(dir, "me.jpg")}
		},
	}
	for call, args := range calls {
		for name, fault := range faults {
			t.Run(call+"/"+name, func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				if err := os.WriteFile(filepath.Join(dir, "batch"), []byte(`{"url":"/me"}`), 0o600); err != nil {
					t.Fatal(err)
				}
				run, _ := apiWith(t, fault.answer)
				// A fault that may be waited out is waited for shortly; the others
				// answer at once, but a busy machine may take its time.
				patience := "10s"
				if slices.Contains(fault.statuses, StatusUnavailable) {
					patience = "200ms"
				}
				began := time.Now()
				got := run("", append(args(dir), "--timeout", patience)...)
				if took := time.Since(began); took > 30*time.Second {
					t.Errorf("it took %s", took)
				}
				if !slices.Contains(fault.statuses, got.status) {
					t.Errorf("status %d", got.status)
				}
				// JSON that is printed as it came is for its reader to judge, if it is
				// whole; so is a file.
				asItCame := call == "get" && slices.Contains([]string{"two lists", "a link that is a number", "two links"}, name) || call == "download"
				fine := name == "an error with escapes in it" || name == "an empty answer" && call == "post"
				if got.status == StatusDone && !asItCame && !fine {
					t.Errorf("a fault was taken for an answer: %s", got.stdout)
				}
				if got.status != StatusDone && !strings.HasPrefix(lastError(got.stderr), "fob: error: ") {
					t.Errorf("no message: %s", got.stderr)
				}
				if strings.Contains(got.stderr, "jsontext") {
					t.Errorf("stderr %q", got.stderr)
				}
				if strings.ContainsAny(got.stderr, "\x1b") || strings.Contains(got.stderr, "the-token") {
					t.Errorf("stderr %q", got.stderr)
				}
				if got.status != StatusDone && call == "all" && jsontext.Value(got.stdout).IsValid() && got.stdout != "" {
					t.Errorf("half a list looks like a whole one: %s", got.stdout)
				}
				if text, err := os.ReadFile(filepath.Join(dir, "me.jpg")); err == nil && got.status != StatusDone {
					t.Errorf("the file is there: %s", text)
				}
			})
		}
	}
}

// lastError is the line of stderr that says what went wrong: notes may come
// before it.
func lastError(stderr string) string {
	for line := range strings.Lines(stderr) {
		if strings.HasPrefix(line, "fob: error: ") {
			return line
		}
	}
	return ""
}
