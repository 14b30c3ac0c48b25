package cli

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestAnExportTakesItsFormFromTheName(t *testing.T) {
	run, _ := apiWith(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("p") == "" {
			fmt.Fprintf(w, `{"@odata.nextLink":"https://%s/v1.0/groups?p=2","value":[{"id":"1","name":"=one","tags":["a","b"]}]}`, r.Host)
			return
		}
		fmt.Fprint(w, `{"value":[{"id":"2","late":true}]}`)
	})
	dir := t.TempDir()
	for _, test := range []struct {
		to, want string
		args     []string
	}{
		{"groups.ndjson", `{"id":"1","name":"=one","tags":["a","b"]}` + "\n" + `{"id":"2","late":true}` + "\n", nil},
		{"groups.csv", "id,name,tags,late\r\n1,'=one,\"[\"\"a\"\",\"\"b\"\"]\",\r\n2,,,true\r\n", nil},
		{"groups.txt", "name,id\r\n'=one,1\r\n,2\r\n", []string{"-o", "csv", "--query", "$select=name,id"}},
	} {
		file := filepath.Join(dir, test.to)
		got := run("", append([]string{"export", "/groups", "--to", file}, test.args...)...)
		text, err := os.ReadFile(file)
		if got.status != StatusDone || got.stdout != "" || err != nil || string(text) != test.want {
			t.Errorf("%s: %+v, %v\n%s", test.to, got, err, text)
		}
	}
	if got := run("", "export", "/groups", "--to", "-"); got.stdout != `{"id":"1","name":"=one","tags":["a","b"]}`+"\n"+`{"id":"2","late":true}`+"\n" || got.status != StatusDone {
		t.Errorf("%+v", got)
	}
}

func TestAnExportThatBrokeOffGoesOn(t *testing.T) {
	for _, form := range []string{"ndjson", "csv"} {
		fail := true
		first := 0
		run, _ := apiWith(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Query().Get("p") {
			case "":
				first++
				fmt.Fprintf(w, `{"@odata.nextLink":"https://%s/v1.0/groups?p=2","value":[{"id":"1"}]}`, r.Host)
			case "2":
				if fail {
					w.WriteHeader(400)
					fmt.Fprint(w, `{"error":{"code":"Word","message":"Sentence."}}`)
					return
				}
				fmt.Fprint(w, `{"value":[{"id":"2"}]}`)
			}
		})
		file := filepath.Join(t.TempDir(), "groups."+form)
		args := []string{"export", "/groups?$select=id", "--to", file}
		if got := run("", args...); got.status != StatusFailed || !strings.Contains(got.stderr, "goes on from there") {
			t.Errorf("%+v", got)
		}
		fail = false
		want := map[string]string{"ndjson": `{"id":"1"}` + "\n" + `{"id":"2"}` + "\n", "csv": "id\r\n1\r\n2\r\n"}[form]
		if got := run("", args...); got.status != StatusDone || fileText(t, file) != want || first != 1 {
			t.Errorf("%+v, first page read %d times\n%s", got, first, fileText(t, file))
		}
		if left, _ := filepath.Glob(file + ".*"); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

func TestAnExportEndsWithItsTimeoutAndGoesOn(t *testing.T) {
	var answers atomic.Bool // page 2
	run, _ := apiWith(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Query().Get("p") == "":
			fmt.Fprintf(w, `{"@odata.nextLink":"https://%s/v1.0/groups?p=2","value":[{"id":"1"}]}`, r.Host)
		case !answers.Load():
			<-r.Context().Done()
		default:
			fmt.Fprint(w, `{"value":[{"id":"2"}]}`)
		}
	})
	file := filepath.Join(t.TempDir(), "groups.ndjson")
	began := time.Now()
	got := run("", "export", "/groups", "--to", file, "--timeout", "1s")
	if took := time.Since(began); took > 10*time.Second || got.status != StatusUnavailable || !strings.Contains(lastError(got.stderr), "the list was not complete after 1s") {
		t.Errorf("after %s: %+v", took, got)
	}
	answers.Store(true)
	if got := run("", "export", "/groups", "--to", file); got.status != StatusDone || fileText(t, file) != "{\"id\":\"1\"}\n{\"id\":\"2\"}\n" {
		t.Errorf("%+v\n%s", got, fileText(t, file))
	}
}

func TestAnExportWhosePlaceIsForgottenBeginsAgain(t *testing.T) {
	for _, form := range []string{"ndjson", "csv"} {
		walks := 0 // of which the service remembers those after the first
		run, _ := apiWith(t, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Query().Get("p") {
			case "":
				walks++
				fmt.Fprintf(w, `{"@odata.nextLink":"https://%s/v1.0/groups?p=%d","value":[{"id":"1"}]}`, r.Host, walks)
			case "1":
				w.WriteHeader(400)
				fmt.Fprint(w, `{"error":{"code":"Directory_ExpiredPageToken","message":"The specified page token value has expired."}}`)
			default:
				fmt.Fprint(w, `{"value":[{"id":"2"}]}`)
			}
		})
		file := filepath.Join(t.TempDir(), "groups."+form)
		args := []string{"export", "/groups?$select=id", "--to", file}
		if got := run("", args...); got.status != StatusFailed || !strings.Contains(got.stderr, "run the same command once more") {
			t.Errorf("%+v", got)
		}
		want := map[string]string{"ndjson": `{"id":"1"}` + "\n" + `{"id":"2"}` + "\n", "csv": "id\r\n1\r\n2\r\n"}[form]
		if got := run("", args...); got.status != StatusDone || fileText(t, file) != want || !strings.Contains(got.stderr, "exporting everything again") {
			t.Errorf("%+v\n%s", got, fileText(t, file))
		}
	}
}

func TestAnExportInParallelIsOfUsersOnly(t *testing.T) {
	run, requests := recording(t, 200, `{"value":[]}`)
	file := filepath.Join(t.TempDir(), "out.ndjson")
	if got := run("", "export", "/groups", "--to", file, "--parallel", "4"); got.status == StatusDone || len(*requests) > 0 {
		t.Errorf("%+v", got)
	}
	if got := run("", "export", "/users", "--to", file, "--parallel", "4"); got.status != StatusDone || len(*requests) != 37 {
		t.Errorf("%d requests, %+v", len(*requests), got)
	}
	if got := run("", "export", "/users"); got.status != StatusUsage || !strings.Contains(got.stderr, "--to items.ndjson") {
		t.Errorf("%+v", got)
	}
}
