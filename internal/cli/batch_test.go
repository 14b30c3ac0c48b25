package cli

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/go-json-experiment/json"
)

// batching answers $batch: every request succeeds with its own url as the body
// unless that names a status. Answers come in reverse order.
func batching(t *testing.T) (run func(stdin string, args ...string) ran, sizes *[]int) {
	sizes = new([]int)
	run, _ = apiWith(t, func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			Requests []struct {
				ID, URL, Method string
				Headers         map[string]string
				Body            any
			}
		}
		b, _ := io.ReadAll(r.Body)
		if err := json.Unmarshal(b, &in, json.MatchCaseInsensitiveNames(true)); err != nil || !strings.HasSuffix(r.URL.Path, "/$batch") {
			t.Errorf("%s: %v", r.URL, err)
		}
		*sizes = append(*sizes, len(in.Requests))
		var answers []string
		for _, q := range in.Requests {
			status := 200
			fmt.Sscanf(q.URL, "/status/%d", &status)
			body := fmt.Sprintf(`{"url":%q,"type":%q}`, q.URL, q.Headers["Content-Type"])
			if status >= 400 {
				body = `{"error":{"code":"Word","message":"Sentence."}}`
			}
			answers = append([]string{fmt.Sprintf(`{"id":%q,"status":%d,"body":%s}`, q.ID, status, body)}, answers...)
		}
		fmt.Fprintf(w, `{"responses":[%s]}`, strings.Join(answers, ","))
	})
	return run, sizes
}

func TestABatchIsSplitAndItsAnswersComeInOrder(t *testing.T) {
	run, sizes := batching(t)
	var in strings.Builder
	in.WriteString("\ufeff") // editors of Windows begin a file so
	for i := range 45 {
		fmt.Fprintf(&in, `{"url":"/users/%d"}`+"\n", i)
	}
	got := run(in.String(), "batch", "-")
	lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
	if got.status != StatusDone || len(lines) != 45 || fmt.Sprint(*sizes) != "[20 20 5]" {
		t.Fatalf("%v, %+v", *sizes, got)
	}
	for i, line := range lines {
		if want := fmt.Sprintf(`{"id":"%d","status":200,"body":{"url":"/users/%d","type":""}}`, i+1, i); line != want {
			t.Errorf("line %d: %s", i, line)
		}
	}
}

func TestTheCharactersOfABatchStayWhole(t *testing.T) {
	run, _ := batching(t)
	var in strings.Builder
	for i := range 60 {
		fmt.Fprintf(&in, `{"id":"%d%s","url":"/me"}`+"\n", i, strings.Repeat("ü", 1500+i))
	}
	got := run(in.String(), "batch", "-")
	if got.status != StatusDone || strings.Count(got.stdout, "ü") < 60*1500 {
		t.Fatalf("status %d, %d characters", got.status, strings.Count(got.stdout, "ü"))
	}
	if n := strings.Count(got.stdout, "\ufffd") + strings.Count(got.stdout, `\ufffd`); n != 0 {
		t.Errorf("%d characters were cut in two", n)
	}
}

func TestABodyInABatchGetsItsTypeAndIdsAreKept(t *testing.T) {
	run, _ := batching(t)
	got := run(`{"id":"make","method":"post","url":"/groups","body":{"a":1}}`+"\n\n"+`{"url":"/me","dependsOn":["make"],"body":null}`, "batch", "-")
	if want := `{"id":"make","status":200,"body":{"url":"/groups","type":"application/json"}}` + "\n" + `{"id":"2","status":200,"body":{"url":"/me","type":""}}` + "\n"; got.stdout != want || got.status != StatusDone {
		t.Errorf("%+v", got)
	}
	if got := run(`{"requests":[{"id":"1","method":"GET","url":"/me"}]}`, "batch", "-"); got.status != StatusDone || !strings.Contains(got.stdout, `"url":"/me"`) {
		t.Errorf("%+v", got)
	}
}

func TestTheStatusOfABatchFollowsFromWhatFailed(t *testing.T) {
	for in, want := range map[string]int{"/me": StatusDone, "/status/404 /me": StatusFailed, "/status/403 /status/403": StatusRefused, "/status/403 /status/404": StatusFailed} {
		run, _ := batching(t)
		var lines strings.Builder
		for url := range strings.FieldsSeq(in) {
			fmt.Fprintf(&lines, `{"url":%q}`+"\n", url)
		}
		got := run(lines.String(), "batch", "-")
		if got.status != want || strings.Count(got.stdout, "\n") != len(strings.Fields(in)) {
			t.Errorf("%s: %+v", in, got)
		}
	}
}

func TestABatchWhoseAnswerIsCutSaysWhichWritesMayHaveHappened(t *testing.T) {
	for name, lost := range map[string]http.HandlerFunc{
		"in the middle of its JSON": body("application/json", `{"responses":[{"id":"3","status":201},{"id":"4","sta`),
		"before its length": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `{"responses":[{"id":"3","status":201}`)
		},
		"at once": func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
	} {
		run, _ := apiWith(t, lost)
		var in strings.Builder
		in.WriteString(`{"url":"/me"}` + "\n")
		for range batchWindow {
			in.WriteString(`{"url":"/groups","method":"POST","body":{}}` + "\n")
		}
		got := run(in.String(), "batch", "-")
		lines := strings.Split(strings.TrimSpace(got.stdout), "\n")
		if got.status != StatusUnavailable || len(lines) != batchWindow+1 {
			t.Fatalf("%s: status %d, %d lines, %s", name, got.status, len(lines), got.stderr)
		}
		if !strings.Contains(lastError(got.stderr), "may have been carried out") || !strings.Contains(got.stderr, "fix:   look what became of the writes that may have been carried out before you send them again: 19, as their errors say; what was not sent can be sent again\n") {
			t.Errorf("%s: %s", name, got.stderr)
		}
		for i, line := range lines {
			maybe, not := strings.Contains(line, "may have been carried out"), strings.Contains(line, `"error":"not sent: `)
			if maybe != (0 < i && i < 20) || not != (i >= 20) {
				t.Errorf("%s: %d: %s", name, i, line)
			}
		}
	}
}

func TestAWriteWithoutAPartInTheAnswerIsUncertain(t *testing.T) {
	run, _ := apiWith(t, body("application/json", `{"responses":[]}`))
	got := run(`{"url":"/groups","method":"POST","body":{}}`, "batch", "-")
	if got.status != StatusUnavailable || !strings.Contains(got.stderr, "before you send them again: 1, as their errors say") || !strings.Contains(got.stdout, "may have been carried out") {
		t.Errorf("%+v", got)
	}
}

func TestAMalformedBatchIsWrongUsageAndSendsNothing(t *testing.T) {
	for _, in := range []string{"{", `{"method":"GET"}`, `{"url":"/me","colour":1}`, `["/me"]`, `{"url":"/a","id":"X"}{"url":"/b","id":"x"}`, `{"url":"/a","headers":{"authorization":"Bearer x"}}`,
		`{"url":"/a","dependsOn":["nobody"]}`, `{"url":"https://other.example/a"}`, `{"requests":[{"id":"1","method":"GET"}]}`, `{"url":"//other.example/a"}`,
		strings.Repeat(`{"url":"/me"}`, 1000) + `{"url":"/$batch"}`, `{"url":"/a","id":"1","dependsOn":["2"]}{"url":"/b","id":"2","dependsOn":["1"]}`} {
		run, sizes := batching(t)
		if got := run(in, "batch", "-"); got.status != StatusUsage || got.stdout != "" || len(*sizes) > 0 {
			t.Errorf("%s: %+v", in, got)
		}
	}
}

func TestWhatIsWrongWithABatchIsSaidInWords(t *testing.T) {
	for in, want := range map[string]string{
		"{\"url\":\"/me\"}\nx":            "request 2: broken JSON at byte 14 of the file",
		"\xff\xfe{\x00}\x00":              "it is written in UTF-16",
		`{"url":"/me"`:                    "request 1: it ends in the middle of its JSON",
		`[{"url":"/me"}]`:                 "request 1: it is no JSON object",
		`{"url":5}`:                       `request 1: its member "url" is not a string`,
		`{"url":"/me","headers":{"a":5}}`: `request 1: its member "headers/a" is not a string`,
		`{"url":"/me","dependsOn":"1"}`:   `request 1: its member "dependsOn" is not an array`,
		`{"url":"/me","colour":1}`:        `request 1: no request has a member "colour"`,
		`{"url":"/a","url":"/b"}`:         `request 1: its member "url" is there twice`,
		`{"url":"/a","method":"GET /b"}`:  `request "1" of the batch has the method "GET /B", which is none`,
	} {
		run, sizes := batching(t)
		if got := run(in, "batch", "-"); got.status != StatusUsage || len(*sizes) > 0 || !strings.Contains(lastError(got.stderr), want) || strings.Contains(got.stderr, "json:") {
			t.Errorf("%s: %+v", in, got)
		}
	}
}
