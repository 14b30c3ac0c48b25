package graph

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-json-experiment/json/jsontext"
)

// library serves n users with numbers in pages of size.
func library(n, size int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		first, _ := strconv.Atoi(r.URL.Query().Get("$skiptoken"))
		var b bytes.Buffer
		b.WriteString("{")
		last := min(first+size, n)
		if last < n {
			fmt.Fprintf(&b, `"@odata.nextLink":"http://%s/v1.0/users?$skiptoken=%d",`, r.Host, last)
		}
		b.WriteString(`"value":[`)
		for i := first; i < last; i++ {
			if i > first {
				b.WriteString(",")
			}
			fmt.Fprintf(&b, `{"id":"%06d"}`, i)
		}
		b.WriteString("]}")
		says(200, b.String())(w, r)
	}
}

// wantUsers checks that text has every user of 0 to n-1 on a line, once.
func wantUsers(t testing.TB, text []byte, n int) {
	t.Helper()
	seen := map[string]int{}
	for line := range bytes.Lines(text) {
		var user struct{ ID string }
		if err := stdjson.Unmarshal(line, &user); err != nil || !bytes.HasSuffix(line, []byte("\n")) {
			t.Fatalf("line %q: %v", line, err)
		}
		seen[user.ID]++
	}
	for i := range n {
		if id := fmt.Sprintf("%06d", i); seen[id] != 1 {
			t.Fatalf("user %s is there %d times", id, seen[id])
		}
	}
	if len(seen) != n {
		t.Errorf("%d users, want %d", len(seen), n)
	}
}

func TestExportWritesEveryItemOnALine(t *testing.T) {
	w := serve(t, library(2500, 99))
	var out bytes.Buffer
	var told []Progress
	p, err := w.Export(t.Context(), &out, "/users", ExportOptions{Total: 2500, Progress: func(p Progress) { told = append(told, p) }})
	if err != nil {
		t.Fatal(err)
	}
	wantUsers(t, out.Bytes(), 2500)
	if p.Items != 2500 || p.Pages != 26 || p.Bytes != int64(out.Len()) || p.Total != 2500 || len(told) != 26 || told[0].Items != 99 {
		t.Errorf("progress %+v, told %d times", p, len(told))
	}
}

func TestExportTakesLineBreaksOutOfItems(t *testing.T) {
	w := serve(t, says(200, "{\"value\": [\r\n {\"a\":\r\n 1, \"b\": \"x\\ny\"},\n 7 ]}"))
	var out bytes.Buffer
	if _, err := w.Export(t.Context(), &out, "/users", ExportOptions{}); err != nil || out.String() != "{\"a\":1,\"b\":\"x\\ny\"}\n7\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestExportEncodesAsItIsTold(t *testing.T) {
	w := serve(t, library(3, 2))
	var out bytes.Buffer
	_, err := w.Export(t.Context(), &out, "/users", ExportOptions{Head: []byte("id\n"), Encode: func(dst []byte, item jsontext.Value) ([]byte, error) {
		return append(append(dst, item[7:13]...), '\n'), nil
	}})
	if err != nil || out.String() != "id\n000000\n000001\n000002\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestTheNextPageIsAskedForWhileOneIsArriving(t *testing.T) {
	asked := make(chan struct{})
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "" {
			close(asked)
			says(200, `{"value":[{"id":"000001"}]}`)(w, r)
			return
		}
		fmt.Fprintf(w, `{"@odata.nextLink":"http://%s/v1.0/users?next","value":[`, r.Host)
		w.(http.Flusher).Flush()
		<-asked // the rest of this page comes only after the request for the next
		w.Write([]byte(`{"id":"000000"}]}`))
	})
	var out bytes.Buffer
	if _, err := w.Export(t.Context(), &out, "/users", ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	wantUsers(t, out.Bytes(), 2)
}

func TestAPageThatLeadsElsewhereWhenReadAgainIsFollowedThere(t *testing.T) {
	first := true
	var mu sync.Mutex
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		switch r.URL.RawQuery {
		case "":
			link := "right"
			body := `{"@odata.nextLink":"http://` + r.Host + `/v1.0/users?%s","value":[{"id":"000000"}]}`
			if first {
				first = false
				w.Header().Set("Content-Length", "500")
				fmt.Fprintf(w, body[:len(body)-10], "wrong")
				return
			}
			says(200, fmt.Sprintf(body, link))(w, r)
		case "wrong":
			says(200, `{"value":[{"id":"999999"}]}`)(w, r)
		case "right":
			says(200, `{"value":[{"id":"000001"}]}`)(w, r)
		}
	})
	var out bytes.Buffer
	if _, err := w.Export(t.Context(), &out, "/users", ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	wantUsers(t, out.Bytes(), 2)
}

func TestExportEndsWithItsContext(t *testing.T) {
	w := serve(t, library(1000, 10))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	_, err := w.Export(ctx, discard{}, "/users", ExportOptions{Progress: func(p Progress) {
		if p.Pages == 3 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestAWriterThatFailsEndsTheExport(t *testing.T) {
	w := serve(t, library(1000, 10))
	_, err := w.Export(t.Context(), brokenWriter{}, "/users", ExportOptions{})
	if wantError(t, err, "writing the export"); !errors.Is(err, errDiskFull) {
		t.Error("the cause is lost")
	}
}

var errDiskFull = errors.New("no space left on device")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errDiskFull }

// directory answers the filters of an export in parallel over names.
func directory(t testing.TB, names []string) http.HandlerFunc {
	begins := regexp.MustCompile(`startswith\(userPrincipalName,'(.)'\)`)
	return func(w http.ResponseWriter, r *http.Request) {
		filter := r.URL.Query().Get("$filter")
		rest := strings.Contains(filter, "not(")
		if rest != (r.Header.Get("ConsistencyLevel") == "eventual") || rest != (r.URL.Query().Get("$count") == "true") {
			t.Errorf("%q came with ConsistencyLevel %q", filter, r.Header.Get("ConsistencyLevel"))
		}
		if !strings.HasPrefix(filter, "(accountEnabled eq true) and ") || r.URL.Query().Get("$top") != "999" {
			t.Errorf("got %s", r.URL)
		}
		var items []string
		for i, name := range names {
			match := false
			for _, m := range begins.FindAllStringSubmatch(filter, -1) {
				match = match || strings.EqualFold(name[:1], m[1])
			}
			if match != rest {
				items = append(items, fmt.Sprintf(`{"id":"%06d"}`, i))
			}
		}
		says(200, `{"value":[`+strings.Join(items, ",")+`]}`)(w, r)
	}
}

func TestAnExportInPartsBringsEverybodyOnce(t *testing.T) {
	var names []string
	for i := range 500 {
		names = append(names, fmt.Sprintf("%c%d@x", "abcdefghijklmnopqrstuvwxyz0123456789_'-ABZ"[i%42], i))
	}
	w := serve(t, directory(t, names))
	var out bytes.Buffer
	p, err := w.Export(t.Context(), &out, "/users?$top=999&$filter=accountEnabled eq true", ExportOptions{Parallel: 4})
	if err != nil || p.Items != 500 {
		t.Fatalf("%+v, %v", p, err)
	}
	wantUsers(t, out.Bytes(), 500)
}

func TestOnlyUsersAreExportedInParts(t *testing.T) {
	w := serve(t, says(200, `{"value":[]}`))
	for address, want := range map[string]string{"/groups": "only /users", "/users?$orderby=displayName": "$orderby", "/users?%24search=x": "$search"} {
		_, err := w.Export(t.Context(), discard{}, address, ExportOptions{Parallel: 2})
		wantError(t, err, want)
	}
}

func TestOneFailingPartEndsTheExport(t *testing.T) {
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.RawQuery, url.QueryEscape("'m'")) {
			says(403, `{"error":{"code":"Authorization_RequestDenied","message":"no"}}`)(w, r)
			return
		}
		says(200, `{"value":[]}`)(w, r)
	})
	_, err := w.Export(t.Context(), discard{}, "/users", ExportOptions{Parallel: 3})
	wantError(t, err, "Authorization_RequestDenied")
}

func TestAnInterruptedExportGoesOnWhereItWas(t *testing.T) {
	name := filepath.Join(t.TempDir(), "users.ndjson")
	inner := library(1000, 10)
	var failAt atomic.Int64
	failAt.Store(300)
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if first, _ := strconv.Atoi(r.URL.Query().Get("$skiptoken")); int64(first) == failAt.Load() {
			says(403, `{"error":{"code":"x","message":"m"}}`)(w, r)
			return
		}
		inner(w, r)
	})
	_, err := w.ExportFile(t.Context(), name, "/users", ExportOptions{Checkpoint: 1})
	wantError(t, err, "HTTP 403")
	// What was written behind the last checkpoint goes.
	file, _ := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	file.WriteString(`{"id":"0002`)
	file.Close()

	failAt.Store(-1)
	p, err := w.ExportFile(t.Context(), name, "/users", ExportOptions{Checkpoint: 1})
	if err != nil || p.Items != 1000 || p.Pages != 70 {
		t.Fatalf("%+v, %v", p, err)
	}
	text, _ := os.ReadFile(name)
	wantUsers(t, text, 1000)
	if _, err := os.Stat(CheckpointFile(name)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the checkpoint is still there: %v", err)
	}
	if info, _ := os.Stat(name); runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the file is open to others: %v", info.Mode())
	}
}

func TestAnExportThatWasKilledWhenItWasCompleteIsComplete(t *testing.T) {
	for _, n := range []int{0, 200} {
		requests := 0
		inner := library(n, 99)
		w := serve(t, func(w http.ResponseWriter, r *http.Request) { requests++; inner(w, r) })
		name := filepath.Join(t.TempDir(), "users.ndjson")
		_, err := w.ExportFile(t.Context(), name, "/users", ExportOptions{})
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		last, err := stdjson.Marshal(checkpoint{Version: checkpointVersion, Address: w.server.URL + "/v1.0/users", Offset: int64(len(text)), Items: int64(n), Parts: []*part{{Done: true}}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(CheckpointFile(name), last, 0o600); err != nil {
			t.Fatal(err)
		}
		requests = 0
		p, err := w.ExportFile(t.Context(), name, "/users", ExportOptions{})
		again, _ := os.ReadFile(name)
		if left, _ := filepath.Glob(name + ".*"); err != nil || requests > 0 || p.Items != int64(n) || !bytes.Equal(text, again) || len(left) > 0 {
			t.Errorf("%d items: %v, %d requests, %+v, %d bytes of %d, left behind: %v", n, err, requests, p, len(again), len(text), left)
		}
	}
}

func TestARefusedExportLeavesTheOldFileAlone(t *testing.T) {
	w := serve(t, says(400, `{"error":{"code":"BadRequest","message":"m"}}`))
	old, fresh := filepath.Join(t.TempDir(), "old.ndjson"), filepath.Join(t.TempDir(), "new.ndjson")
	if err := os.WriteFile(old, []byte("what was there\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{old, fresh} {
		_, err := w.ExportFile(t.Context(), name, "/userz", ExportOptions{Replace: true})
		wantError(t, err, "HTTP 400")
		if _, err := os.Stat(CheckpointFile(name)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: a checkpoint of nothing: %v", name, err)
		}
	}
	if text, err := os.ReadFile(old); err != nil || string(text) != "what was there\n" {
		t.Errorf("the old file: %q, %v", text, err)
	}
	if _, err := os.Stat(fresh); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("an empty file was left: %v", err)
	}
	good := serve(t, library(20, 10))
	if _, err := good.ExportFile(t.Context(), old, "/users", ExportOptions{Replace: true}); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(old)
	wantUsers(t, text, 20)
}

func TestAnExportIsNotGoneOnWithInAnotherForm(t *testing.T) {
	name := filepath.Join(t.TempDir(), "users")
	inner := library(100, 10)
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("$skiptoken") == "50" {
			says(403, "")(w, r)
			return
		}
		inner(w, r)
	})
	if _, err := w.ExportFile(t.Context(), name, "/users", ExportOptions{Checkpoint: 1}); err == nil {
		t.Fatal("no error")
	}
	_, err := w.ExportFile(t.Context(), name, "/users", ExportOptions{Checkpoint: 1, Head: []byte("id\n")})
	wantError(t, err, "in another form")
}

func TestTwoExportsToOneFileAreRefused(t *testing.T) {
	name := filepath.Join(t.TempDir(), "users.ndjson")
	inner := library(20, 10)
	inside, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() { close(inside); <-release })
		inner(w, r)
	})
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := w.ExportFile(t.Context(), name, "/users", ExportOptions{}); err != nil {
			t.Error(err)
		}
	})
	<-inside
	_, err := w.ExportFile(t.Context(), name, "/users", ExportOptions{})
	wantError(t, err, "another export is writing")
	close(release)
	wg.Wait()
	text, _ := os.ReadFile(name)
	wantUsers(t, text, 20)
	if left, _ := filepath.Glob(name + ".*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAnExportThatIsKilledLosesAndRepeatsNothing(t *testing.T) {
	name := filepath.Join(t.TempDir(), "users.ndjson")
	inner := library(3000, 10)
	var mu sync.Mutex // guards the fields below
	var victim *os.Process
	requests, killAt := 0, 0
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		if requests++; requests == killAt {
			victim.Kill()
			return
		}
		inner(w, r)
	})
	for _, at := range []int{1, 2, 37, 90, 5, 61} {
		cmd := child(t, "exportfile", w.server.URL, name)
		cmd.Stderr = nil
		mu.Lock()
		err := cmd.Start()
		victim, requests, killAt = cmd.Process, 0, at
		mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		if cmd.Wait(); requests < at {
			t.Fatalf("ended by itself after %d requests", requests)
		}
	}
	killAt = 0
	if _, err := w.ExportFile(t.Context(), name, "/users", ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(name)
	wantUsers(t, text, 3000)
}

func TestAnExportInPartsGoesOnWhereItWas(t *testing.T) {
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("%c%d@x", 'a'+i%26, i))
	}
	name := filepath.Join(t.TempDir(), "users.ndjson")
	inner := directory(t, names)
	var healthy atomic.Bool
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if !healthy.Load() && strings.Contains(r.URL.RawQuery, url.QueryEscape("'k'")) {
			says(403, "")(w, r)
			return
		}
		inner(w, r)
	})
	const address = "/users?$top=999&$filter=accountEnabled%20eq%20true"
	if _, err := w.ExportFile(t.Context(), name, address, ExportOptions{Parallel: 3}); err == nil {
		t.Fatal("no error")
	}
	healthy.Store(true)
	if p, err := w.ExportFile(t.Context(), name, address, ExportOptions{Parallel: 3}); err != nil || p.Items != 100 || p.Pages >= 37 {
		t.Fatalf("%+v, %v", p, err)
	}
	text, _ := os.ReadFile(name)
	wantUsers(t, text, 100)
}

func TestADiskThatIsFullLeavesACheckpointThatHolds(t *testing.T) {
	name := filepath.Join(t.TempDir(), "users.ndjson")
	state := &checkpoint{Parts: []*part{{Next: "x"}}}
	e := exporter{c: &Client{}, to: &fullDisk{room: 25}, parts: state.Parts}
	p := &page{body: []byte(`{"value":[{"id":"000000"},{"id":"000001"}]}`)}
	if err := p.parse(); err != nil {
		t.Fatal(err)
	}
	if err := e.put(filled{e.parts[0], p}); err == nil || e.whole != 0 || state.Parts[0].Next != "x" || e.progress.Bytes != 25 {
		t.Errorf("%v: %d whole, next %q, %+v (%s)", err, e.whole, state.Parts[0].Next, e.progress, name)
	}
}

type fullDisk struct{ room int }

func (d *fullDisk) Write(p []byte) (int, error) {
	n := min(len(p), d.room)
	d.room -= n
	if n < len(p) {
		return n, errDiskFull
	}
	return n, nil
}

func TestACheckpointOfSomethingElseIsRefused(t *testing.T) {
	w := serve(t, library(10, 10))
	for name, test := range map[string]struct{ file, checkpoint, want string }{
		"damaged":       {"", `{"version":`, "is damaged"},
		"other version": {"", `{"version":9,"parts":[{}]}`, "another version"},
		"other address": {"", `{"version":1,"address":"https://x.example/groups","parts":[{}]}`, "belongs to an export of"},
		"file is short": {"ab", `{"version":1,"address":"` + w.server.URL + `/v1.0/users","offset":3,"parts":[{}]}`, "is shorter"},
		"file is there": {"ab", "", "choose another name"},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "users.ndjson")
			os.WriteFile(file, []byte(test.file), 0o600)
			if test.checkpoint != "" {
				os.WriteFile(CheckpointFile(file), []byte(test.checkpoint), 0o600)
			}
			_, err := w.ExportFile(t.Context(), file, "/users", ExportOptions{})
			wantError(t, err, test.want)
			if text, _ := os.ReadFile(file); string(text) != test.file {
				t.Errorf("the file was changed to %q", text)
			}
		})
	}
}

func TestAnExpiredCheckpointSaysWhatToRemove(t *testing.T) {
	name := filepath.Join(t.TempDir(), "users.ndjson")
	inner := library(100, 10)
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.RawQuery, "=50") {
			says(400, `{"error":{"code":"Directory_ExpiredPageToken","message":"expired"}}`)(w, r)
			return
		}
		inner(w, r)
	})
	_, err := w.ExportFile(t.Context(), name, "/users", ExportOptions{})
	if wantError(t, err, "remove", ".checkpoint"); !errors.Is(err, ErrExpired) {
		t.Error("it is not marked as expired")
	}
}

func TestExportIsFastInFlatMemory(t *testing.T) {
	if testing.Short() || raceEnabled {
		t.Skip("an export of a million users")
	}
	file := filepath.Join(t.TempDir(), "users.ndjson")
	m := measure(t, "export", userServer(t), file)
	if perUser := float64(m.Allocs) / 1e6; m.Items != 1_000_000 || perUser > 0.2 {
		t.Errorf("%d users with %.3f allocations each", m.Items, perUser)
	}
	if m.Early > 0 && m.Resident > m.Early+3<<10 {
		t.Errorf("memory grows from %d to %d KiB", m.Early, m.Resident)
	}
	lines := 0
	f, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	last := ""
	for s := bufio.NewScanner(f); s.Scan(); lines++ {
		last = s.Text()
	}
	if lines != 1_000_000 || !strings.HasSuffix(last, `00999999"}`) {
		t.Errorf("%d lines, the last is %s", lines, last)
	}
}

// heavy is what is written, and the memory that was in use meanwhile.
type heavy struct{ written, most uint64 }

func (h *heavy) Write(b []byte) (int, error) {
	h.written += uint64(len(b))
	if len(b) > 1<<20 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		h.most = max(h.most, m.HeapAlloc)
	}
	return len(b), nil
}

func TestLargePagesOfAllPartsTogetherAreBounded(t *testing.T) {
	const size, large = 12 << 20, 18 // of all 37, which come nine at once
	chunk := []byte(strings.Repeat("x", 64<<10))
	var asked atomic.Int64
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"value":["`)
		if asked.Add(1) <= large {
			for range size / len(chunk) {
				w.Write(chunk)
			}
		}
		io.WriteString(w, `"]}`)
	})
	w.MaxPage = 13 << 20
	var to heavy
	p, err := w.Export(t.Context(), &to, "/users", ExportOptions{Parallel: 8})
	if err != nil || p.Items != 37 || to.written != large*size+37*3 {
		t.Fatalf("%+v, %v", p, err)
	}
	// One and a half times MaxPage, what is not yet large of nine, and what was
	// read last, to be used again.
	if bound := uint64(w.MaxPage/2*3 + 9*usualPage + 20<<20); to.most > bound {
		t.Errorf("%d MiB at once, of at most %d", to.most>>20, bound>>20)
	}
}

func TestAServiceRepeatsAMemberAndBreaksLines(t *testing.T) {
	w := serve(t, says(200, "{\"value\":[\n{\"a\":1,\n\"a\":2}]}"))
	var out bytes.Buffer
	if _, err := w.Export(t.Context(), &out, "/users", ExportOptions{}); err != nil || out.String() != "{\"a\":1,\"a\":2}\n" {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

func TestALongItemIsOneLine(t *testing.T) {
	long := `"` + strings.Repeat("x", 3*largeWrite) + `"`
	w := serve(t, says(200, `{"value":[1,`+long+`,2,`+long+`]}`))
	var out bytes.Buffer
	if _, err := w.Export(t.Context(), &out, "/users", ExportOptions{}); err != nil || out.String() != "1\n"+long+"\n2\n"+long+"\n" {
		t.Errorf("%d bytes, %v", out.Len(), err)
	}
}

func TestExportWorksOverHTTP2AndCompressed(t *testing.T) {
	inner := library(1000, 99)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 || r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("%s with Accept-Encoding %q", r.Proto, r.Header.Get("Accept-Encoding"))
		}
		recorded := httptest.NewRecorder()
		inner(recorded, r)
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		z.Write(bytes.ReplaceAll(recorded.Body.Bytes(), []byte("http://"), []byte("https://")))
		z.Close()
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	elsewhere := server.Client() // finds the server by names that are not this machine's
	elsewhere.Transport.(*http.Transport).DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}
	c := &Client{Source: &tokens{}, Base: "https://example.com/v1.0", Audiences: map[string]string{"https://example.com/": testScope}, HTTP: elsewhere}
	var out bytes.Buffer
	if _, err := c.Export(t.Context(), &out, "/users", ExportOptions{}); err != nil {
		t.Fatal(err)
	}
	wantUsers(t, out.Bytes(), 1000)
}

func TestThisMachineIsAskedForPlainAnswers(t *testing.T) {
	asked := make(chan string, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- r.Header.Get("Accept-Encoding")
		w.WriteHeader(http.StatusNoContent)
	}))
	defer server.Close()
	c := &Client{Source: &tokens{}, Base: server.URL, Audiences: map[string]string{server.URL + "/": testScope}}
	for want, header := range map[string]http.Header{"identity": {}, "br": {"Accept-Encoding": {"br"}}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "/me", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header = header
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := <-asked; got != want {
			t.Errorf("asked with Accept-Encoding %q, want %q", got, want)
		}
	}
}
