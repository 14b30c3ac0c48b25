package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/fobauth/fob/graph"
)

// changing is an API with a few groups, and lists of changes that a test sets.
type changing struct {
	items   string            // the collection
	changes map[string]string // by token: the items
	next    map[string]string // by token: the token of the next list
	gone    map[string]string // by token: where to begin again instead; empty for nowhere
	asked   []string
}

func (c *changing) serve(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/v1.0")
	token := r.URL.Query().Get("$deltatoken")
	c.asked = append(c.asked, path+" "+token)
	link := func(token string) string {
		return fmt.Sprintf("https://%s/v1.0/groups/delta?$deltatoken=%s", r.Host, token)
	}
	again, isGone := c.gone[token]
	switch {
	case path == "/groups":
		fmt.Fprintf(w, `{"value":[%s]}`, c.items)
	case path != "/groups/delta":
		w.WriteHeader(404)
	case isGone:
		if again != "" {
			w.Header().Set("Location", link(again))
		}
		w.WriteHeader(http.StatusGone)
		io.WriteString(w, `{"error":{"code":"resyncRequired","message":"Too old."}}`)
	default:
		fmt.Fprintf(w, `{"value":[%s],"@odata.deltaLink":%q}`, c.changes[token], link(c.next[token]))
	}
}

func (c *changing) start(t *testing.T) (export func(args ...string) ran, file string) {
	run, _ := apiWith(t, c.serve)
	file = filepath.Join(t.TempDir(), "groups.ndjson")
	return func(args ...string) ran {
		return run("", append([]string{"export", "/groups", "--to", file, "--delta"}, args...)...)
	}, file
}

func fileText(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestASnapshotIsKeptCurrent(t *testing.T) {
	c := &changing{items: `{"id":"1","name":"one","x":1},{"id":"2","name":"two"},{"id":"3","name":"three"}`,
		changes: map[string]string{"a": `{"id":"1","name":"uno"},{"id":"4","name":"four"},{"id":"2","@removed":{"reason":"deleted"}},{"id":"5"},{"id":"4","y":2},{"id":"5","@removed":{"reason":"changed"}},{"id":"9","@removed":{"reason":"deleted"}}`},
		next:    map[string]string{"latest": "a", "a": "b", "b": "c"}}
	export, file := c.start(t)
	if got := export(); got.status != StatusDone || got.stdout != "" || fileText(t, file) != `{"id":"1","name":"one","x":1}`+"\n"+`{"id":"2","name":"two"}`+"\n"+`{"id":"3","name":"three"}`+"\n" {
		t.Fatalf("%+v\n%s", got, fileText(t, file))
	}
	want := `{"id":"1","name":"uno","x":1}` + "\n" + `{"id":"3","name":"three"}` + "\n" + `{"id":"4","name":"four","y":2}` + "\n"
	if got := export("-v"); got.status != StatusDone || fileText(t, file) != want || !strings.Contains(got.stderr, "1 new, 1 changed, 1 removed") {
		t.Errorf("%+v\n%s", got, fileText(t, file))
	}
	if got := export(); got.status != StatusDone || fileText(t, file) != want {
		t.Errorf("%+v\n%s", got, fileText(t, file))
	}
	// The place is asked for before the items: what changes meanwhile is not lost.
	if want := []string{"/groups/delta latest", "/groups ", "/groups/delta a", "/groups/delta b"}; fmt.Sprint(c.asked) != fmt.Sprint(want) {
		t.Errorf("asked %q", c.asked)
	}
}

func TestChangesThatWereAppliedBeforeACrashDoNoHarmTwice(t *testing.T) {
	c := &changing{items: `{"id":"1","name":"one"},{"id":"2"}`,
		changes: map[string]string{"a": `{"id":"1","name":"uno"},{"id":"3"},{"id":"2","@removed":{}}`}, next: map[string]string{"latest": "a", "a": "b"}}
	export, file := c.start(t)
	export()
	state := fileText(t, snapshotFile(file))
	export()
	once := fileText(t, file)
	if err := os.WriteFile(snapshotFile(file), []byte(state), 0o600); err != nil { // as if it had not been saved
		t.Fatal(err)
	}
	if got := export(); got.status != StatusDone || fileText(t, file) != once || once != `{"id":"1","name":"uno"}`+"\n"+`{"id":"3"}`+"\n" {
		t.Errorf("%+v\n%s\n%s", got, once, fileText(t, file))
	}
}

func TestAServiceThatForgotSendsEverythingAndTheRestIsGone(t *testing.T) {
	c := &changing{items: `{"id":"1","old":1},{"id":"2"}`, changes: map[string]string{"full": `{"id":"1","new":1},{"id":"3"}`},
		next: map[string]string{"latest": "a", "full": "b"}, gone: map[string]string{"a": "full"}}
	export, file := c.start(t)
	export()
	if got := export(); got.status != StatusDone || fileText(t, file) != `{"id":"1","new":1}`+"\n"+`{"id":"3"}`+"\n" {
		t.Errorf("%+v\n%s", got, fileText(t, file))
	}
}

func TestAPlaceThatIsTooOldMeansANewExport(t *testing.T) {
	c := &changing{items: `{"id":"1"}`, next: map[string]string{"latest": "a"}, gone: map[string]string{"a": ""}}
	export, file := c.start(t)
	export()
	c.items, c.next["latest"] = `{"id":"2"}`, "b"
	if got := export(); got.status != StatusDone || fileText(t, file) != `{"id":"2"}`+"\n" || !strings.Contains(got.stderr, "exporting everything again") {
		t.Errorf("%+v\n%s", got, fileText(t, file))
	}
}

func TestASnapshotIsOfOneAddress(t *testing.T) {
	c := &changing{items: `{"id":"1"}`, next: map[string]string{"latest": "a"}}
	run, _ := apiWith(t, c.serve)
	file := filepath.Join(t.TempDir(), "groups.ndjson")
	run("", "export", "/groups", "--to", file, "--delta")
	for _, args := range [][]string{{"/groups?$select=id"}, {"/groups?$filter=x eq 1", "--replace"}} {
		if got := run("", append([]string{"export", "--to", file, "--delta"}, args...)...); got.status != StatusUsage {
			t.Errorf("%v: %+v", args, got)
		}
	}
	if got := run("", "export", "/groups", "--to", file); got.status != StatusUsage || !strings.Contains(got.stderr, "exists") {
		t.Errorf("%+v", got)
	}
}

func TestMembershipsAreFolded(t *testing.T) {
	c := &changing{changes: map[string]string{
		"": `{"id":"1","members@delta":[{"id":"a"},{"id":"b"}]},{"id":"2","name":"two"},{"id":"1","members@delta":[{"id":"c"}]},{"id":"3","owners@delta":[{"id":"x"}]}`,
		"a": `{"id":"1","members@delta":[{"id":"d"},{"id":"a","@removed":{"reason":"deleted"}}]},{"id":"2","members@delta":[{"id":"e"}]},
			{"id":"1","members@delta":[{"id":"d","@removed":{"reason":"deleted"}},{"id":"b","n":1}]},{"id":"4","members@delta":[{"id":"f"},{"id":"f","@removed":{}}]}`,
		"b": `{"id":"1","@removed":{"reason":"changed"}},{"id":"1","name":"again","members@delta":[{"id":"z"}]}`,
	}, next: map[string]string{"": "a", "a": "b", "b": "c"}}
	run, _ := apiWith(t, c.serve)
	file := filepath.Join(t.TempDir(), "groups.ndjson")
	export := func() ran { return run("", "export", "/groups?$select=name,members", "--to", file, "--delta") }
	for _, want := range []string{
		`{"id":"1","members":[{"id":"a"},{"id":"b"},{"id":"c"}]}` + "\n" + `{"id":"2","name":"two"}` + "\n" + `{"id":"3"}` + "\n",
		`{"id":"1","members":[{"id":"b","n":1},{"id":"c"}]}` + "\n" + `{"id":"2","name":"two","members":[{"id":"e"}]}` + "\n" + `{"id":"3"}` + "\n" + `{"id":"4","members":[]}` + "\n",
		`{"id":"1","name":"again","members":[{"id":"z"}]}` + "\n" + `{"id":"2","name":"two","members":[{"id":"e"}]}` + "\n" + `{"id":"3"}` + "\n" + `{"id":"4","members":[]}` + "\n",
	} {
		state, _ := os.ReadFile(snapshotFile(file))
		if got := export(); got.status != StatusDone || fileText(t, file) != want {
			t.Errorf("%+v\n%s", got, fileText(t, file))
		}
		if state == nil {
			continue
		}
		if err := os.WriteFile(snapshotFile(file), state, 0o600); err != nil { // as if it had not been saved
			t.Fatal(err)
		}
		if got := export(); got.status != StatusDone || fileText(t, file) != want {
			t.Errorf("twice: %+v\n%s", got, fileText(t, file))
		}
	}
}

func TestAManagerIsOneOrNone(t *testing.T) {
	for _, test := range [][2]string{
		{`{"id":"1","manager@delta":[{"id":"m"}]}`, `{"id":"1","manager":{"id":"m"}}`},
		{`{"id":"1","manager":{"id":"m"},"manager@delta":[{"id":"n"},{"id":"m","@removed":{}}]}`, `{"id":"1","manager":{"id":"n"}}`},
		{`{"id":"1","manager":{"id":"m"},"manager@delta":[{"id":"m","@removed":{}}]}`, `{"id":"1","manager":null}`},
		{`{"id":"1","manager":{"id":"m"},"note":"@delta"}`, `{"id":"1","manager":{"id":"m"},"note":"@delta"}`},
		{`{"id":"1","members@delta":[{"id":"m"}]}`, `{"id":"1"}`},
	} {
		if got, err := fold([]byte(test[0]), []string{"manager"}); err != nil || string(got) != test[1] {
			t.Errorf("%s: %s, %v", test[0], got, err)
		}
	}
	if _, err := fold([]byte(`{"id":"1","manager@delta":["x"]}`), []string{"manager"}); err == nil {
		t.Error("what is no object is no manager")
	}
}

func TestMergingKeepsWhatStayedTheSame(t *testing.T) {
	for _, test := range []struct{ old, news, want string }{
		{`{"id":"1","a":1,"b":2}`, `{"id":"1","b":3,"c":4}`, `{"id":"1","a":1,"b":3,"c":4}`},
		{`{}`, `{"a":null}`, `{"a":null}`},
		{`{"a":{"x":1}}`, `{"a":[]}`, `{"a":[]}`},
	} {
		got, err := merge([]byte(test.old), []byte(test.news))
		if err != nil || string(got) != test.want || !json.Valid(got) {
			t.Errorf("%s and %s: %s, %v", test.old, test.news, got, err)
		}
	}
}

func TestTheProgressOfAnExportInOneLine(t *testing.T) {
	if got := progressText(graph.Progress{Items: 1234, Total: 10000}); got != "1,234 of 10,000 items  12 %" {
		t.Error(got)
	}
	if got := progressText(graph.Progress{Items: 500000, Total: 1000000, Elapsed: 2e9, Throttled: 65e9}); got != "500,000 of 1,000,000 items  50 %  250,000/s  throttled 1m5s  2 s left" {
		t.Error(got)
	}
}

func TestChangesOfAnyLengthAreNotKept(t *testing.T) {
	l := newChangeList()
	l.left = 10_000
	for range 1000 { // what comes again takes the place of what was there
		for _, item := range []string{`{"id":"1","name":"one"}`, `{"id":"2","@removed":{}}`, `{"id":"2","name":"two"}`} {
			if err := l.add(jsontext.Value(item)); err != nil {
				t.Fatal(err)
			}
		}
	}
	var err error
	n := 0
	for ; err == nil && n < 1000; n++ {
		err = l.add(jsontext.Value(fmt.Sprintf(`{"id":"n%d"}`, n)))
	}
	if err == nil || !strings.Contains(err.Error(), "more than 1 GiB of changes, or of changes without end") || n < 20 {
		t.Errorf("after %d changes: %v", n, err)
	}
	l.left = 10_000
	for n, err = 0, nil; err == nil && n < 1000; n++ { // a group whose members come page after page
		err = l.add(jsontext.Value(fmt.Sprintf(`{"id":"1","members@delta":[{"id":"m%d"}]}`, n)))
	}
	if err == nil || n < 100 {
		t.Errorf("after %d members: %v", n, err)
	}
}
