package cli

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// drive takes one file in pieces. Its upload addresses are at another host than
// Graph's, hold the word "hidden" and want no token.
type drive struct {
	t      *testing.T
	fob    func(stdin string, args ...string) ran
	cache  string
	stdout io.Writer // nil: what it prints is returned

	mu         sync.Mutex // guards the fields below
	have       []byte
	sessions   int // begun
	cancelled  []string
	asked      []string // how far it is
	pieces     []string
	plain      int // bytes that came in one request
	properties string
	match      string
	life       time.Duration
	answer     func(w http.ResponseWriter, piece int) bool // true: it has answered a piece
	conflict   bool
}

// rooms are where drives keep their files, one test after the other: the race
// detector makes large memory dear that is new.
var rooms sync.Pool

const driveFile = "/users/ada/drive/root:/a b.bin:/content"

func newDrive(t *testing.T) *drive {
	d := &drive{t: t, cache: t.TempDir(), life: time.Hour}
	if room, ok := rooms.Get().(*[]byte); ok {
		d.have = (*room)[:0]
	}
	t.Cleanup(func() { rooms.Put(&d.have) })
	storage := httptest.NewTLSServer(http.HandlerFunc(d.store))
	t.Cleanup(storage.Close)
	flags, environ := apiServer(t, func(w http.ResponseWriter, r *http.Request) {
		d.mu.Lock()
		defer d.mu.Unlock()
		switch {
		case r.Header.Get("Authorization") != "Bearer the-token":
			t.Errorf("%s %s without its token", r.Method, r.URL)
		case r.Method == "POST" && strings.HasSuffix(r.URL.Path, "/createUploadSession"):
			body, _ := io.ReadAll(r.Body)
			d.sessions++
			d.have, d.properties, d.match = d.have[:0], string(body), r.Header.Get("If-Match")
			fmt.Fprintf(w, `{"uploadUrl":"%s/hidden-%d","expirationDateTime":%q}`, storage.URL, d.sessions, time.Now().Add(d.life).Format(time.RFC3339))
		case r.Method == "PUT":
			n, _ := io.Copy(io.Discard, r.Body)
			d.plain += int(n)
			io.WriteString(w, `{"id":"item"}`)
		default:
			w.WriteHeader(404)
			io.WriteString(w, `{"error":{"code":"itemNotFound","message":"m"}}`)
		}
	})
	d.fob = func(stdin string, args ...string) ran {
		var stdout, stderr bytes.Buffer
		env := Env{Args: append(slices.Clone(args), flags...), Environ: environ, Stdin: strings.NewReader(stdin), Stdout: &stdout, Stderr: &stderr}
		if d.stdout != nil {
			env.Stdout = d.stdout
		}
		return ran{Run(t.Context(), env), stdout.String(), stderr.String()}
	}
	return d
}

func (d *drive) store(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r.Header.Get("Authorization") != "" {
		d.t.Error("the upload address got the token")
	}
	if r.URL.Path != fmt.Sprintf("/hidden-%d", d.sessions) && r.Method != "DELETE" {
		w.WriteHeader(404)
		return
	}
	switch r.Method {
	case "DELETE":
		d.cancelled = append(d.cancelled, r.URL.Path)
		w.WriteHeader(204)
		return
	case "GET":
		d.asked = append(d.asked, r.URL.Path)
	case "PUT":
		piece := r.Header.Get("Content-Range")
		d.pieces = append(d.pieces, piece)
		if d.answer != nil && d.answer(w, len(d.pieces)) {
			return
		}
		var from, to, size int
		fmt.Sscanf(piece, "bytes %d-%d/%d", &from, &to, &size)
		if from != len(d.have) || to < from || to >= size || r.ContentLength != int64(to-from+1) {
			d.t.Errorf("piece %s has %d bytes, and %d were there", piece, r.ContentLength, len(d.have))
			w.WriteHeader(416)
			return
		}
		d.have = slices.Grow(d.have, size-from) // once
		if _, err := io.ReadFull(r.Body, d.have[from:to+1]); err != nil {
			if err != io.ErrUnexpectedEOF { // who sent it gave up
				d.t.Errorf("piece %s: %v", piece, err)
			}
			return
		}
		if d.have = d.have[:to+1]; len(d.have) == size {
			w.WriteHeader(201)
			io.WriteString(w, `{"id":"item","size":1}`)
			return
		}
		w.WriteHeader(202)
	}
	fmt.Fprintf(w, `{"expirationDateTime":%q,"nextExpectedRanges":["%d-"]}`, time.Now().Add(d.life).Format(time.RFC3339), len(d.have))
}

// refuse makes the n-th piece fail.
func (d *drive) refuse(n int) {
	d.answer = func(w http.ResponseWriter, piece int) bool {
		if piece != n {
			return false
		}
		w.WriteHeader(507)
		io.WriteString(w, `{"error":{"code":"quotaLimitReached","message":"Insufficient space available."}}`)
		return true
	}
}

// put runs fob put for a file.
func (d *drive) put(file string, more ...string) ran {
	d.t.Helper()
	return d.fob("", append([]string{"put", driveFile, "--body", "@" + file, "--cache-dir", d.cache}, more...)...)
}

// uploads lists what of an upload is stored.
func (d *drive) uploads() (n int) {
	d.t.Helper()
	got := runFob(d.t, nil, "cache", "list", "--cache-dir", d.cache, "-o", "json")
	if got.status != StatusDone || strings.Contains(got.stdout, "hidden") {
		d.t.Errorf("%+v", got)
	}
	return strings.Count(got.stdout, `"kind":"upload"`)
}

const largeSize = 11<<20 + 5 // two pieces

// largeContents is what is in the large files.
var largeContents = sync.OnceValue(func() []byte {
	content := make([]byte, largeSize)
	rand.Read(content)
	return content
})

func largeFile(t *testing.T, size int) (name string, content []byte) {
	t.Helper()
	content = largeContents()[:size:size]
	name = filepath.Join(t.TempDir(), "large.bin")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return name, content
}

func TestALargeFileForADriveGoesUpInPieces(t *testing.T) {
	d := newDrive(t)
	file, content := largeFile(t, largeSize)
	got := d.put(file)
	if got.status != StatusDone || got.stdout != `{"id":"item","size":1}`+"\n" || strings.Contains(got.stderr, "note") || !bytes.Equal(d.have, content) || len(d.pieces) != 2 {
		t.Errorf("%+v, pieces %v", got, d.pieces)
	}
	if !strings.Contains(d.properties, `"replace"`) || d.uploads() != 0 {
		t.Errorf("began with %s, %d uploads are stored", d.properties, d.uploads())
	}
}

func TestAnUploadThatBrokeOffGoesOnInTheNextRun(t *testing.T) {
	d := newDrive(t)
	d.refuse(2)
	file, content := largeFile(t, largeSize)
	got := d.put(file)
	if got.status != StatusFailed || !strings.Contains(got.stderr, "fob: note: 10485760 of 11534341 bytes of "+file+" are there; the same command goes on from there") || d.uploads() != 1 || len(d.cancelled) > 0 {
		t.Fatalf("%+v, %d uploads are stored", got, d.uploads())
	}
	if got := runFob(t, nil, "cache", "list", "--cache-dir", d.cache); !strings.Contains(got.stdout, "upload") || !strings.Contains(got.stdout, "/drive/root:/a%20b.bin:/content") || !strings.Contains(got.stdout, "the app itself") {
		t.Errorf("%+v", got)
	}
	err := filepath.WalkDir(d.cache, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		if info, statErr := e.Info(); bytes.Contains(text, []byte("hidden")) || statErr != nil || info.Mode().Perm()&0o077 != 0 && os.PathSeparator == '/' {
			t.Errorf("%s (%v) is open to others, or holds the address in clear", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	got = d.put(file)
	want := "[bytes 0-10485759/11534341 bytes 10485760-11534340/11534341 bytes 10485760-11534340/11534341]"
	if got.status != StatusDone || strings.Contains(got.stderr, "note") || !bytes.Equal(d.have, content) || d.sessions != 1 || len(d.asked) != 1 || fmt.Sprint(d.pieces) != want || d.uploads() != 0 {
		t.Errorf("%+v: %d sessions, asked %d times, pieces %v, %d uploads are stored", got, d.sessions, len(d.asked), d.pieces, d.uploads())
	}
}

func TestWhoIsKilledAfterAnUploadIsToldByTheNextRun(t *testing.T) {
	d := newDrive(t)
	file, content := largeFile(t, largeSize)
	// What is kept while the answer is printed is what a kill leaves.
	left := map[string][]byte{}
	d.stdout = writerFunc(func(p []byte) (int, error) {
		names, _ := filepath.Glob(filepath.Join(d.cache, "store", uploadPrefix+"*"))
		for _, name := range names {
			left[name], _ = os.ReadFile(name)
		}
		return len(p), nil
	})
	if got := d.put(file); got.status != StatusDone || d.uploads() != 0 || len(left) != 1 {
		t.Fatalf("%+v, %d uploads are stored, of %d", got, d.uploads(), len(left))
	}
	for name, text := range left {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d.stdout = nil
	got := d.put(file)
	if got.status != StatusDone || got.stdout != `{"id":"item","size":1}`+"\n" || d.sessions != 1 || len(d.pieces) != 2 || d.uploads() != 0 {
		t.Errorf("%+v: %d sessions, pieces %v, %d uploads are stored", got, d.sessions, d.pieces, d.uploads())
	}
	if got := d.put(file); got.status != StatusDone || d.sessions != 2 || !bytes.Equal(d.have, content) {
		t.Errorf("%+v: %d sessions: who was told and sends it again means it", got, d.sessions)
	}
}

func TestAnUploadBeginsAnewWhenItIsAnother(t *testing.T) {
	for name, test := range map[string]struct {
		change    func(d *drive, file string) error
		more      []string
		cancelled int
		added     string // to the file
	}{
		"a longer file": {func(_ *drive, file string) error {
			f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
			if err != nil {
				return err
			}
			_, err = f.WriteString("more")
			return errors.Join(err, f.Close())
		}, nil, 1, "more"},
		"a file that was written":  {func(_ *drive, file string) error { return os.Chtimes(file, time.Time{}, time.Now().Add(time.Minute)) }, nil, 1, ""},
		"another client":           {nil, []string{"--client-id", "another"}, 0, ""},
		"another tenant":           {nil, []string{"--tenant", "another.example"}, 0, ""},
		"another condition":        {nil, []string{"--header", `If-Match: "2"`}, 0, ""},
		"another conflict":         {nil, []string{"--query", "@microsoft.graph.conflictBehavior=fail"}, 0, ""},
		"no cache":                 {nil, []string{"--no-cache"}, 0, ""},
		"another cache":            {nil, []string{"--cache-dir", t.TempDir()}, 0, ""},
		"forgotten by the service": {func(d *drive, _ string) error { d.sessions++; return nil }, nil, 0, ""},
		"forgotten by the user": {func(d *drive, _ string) error {
			if got := runFob(t, nil, "cache", "clear", "--yes", "--cache-dir", d.cache); got.status != StatusDone {
				return fmt.Errorf("%+v", got)
			}
			return nil
		}, nil, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDrive(t)
			d.refuse(2)
			file, content := largeFile(t, largeSize)
			if got := d.put(file); got.status != StatusFailed {
				t.Fatalf("%+v", got)
			}
			if test.change != nil {
				if err := test.change(d, file); err != nil {
					t.Fatal(err)
				}
			}
			before := d.sessions
			got := d.put(file, test.more...)
			whole, found := bytes.CutSuffix(d.have, []byte(test.added))
			if got.status != StatusDone || strings.Contains(got.stderr, "note") || d.sessions != before+1 || !found || !bytes.Equal(whole, content) {
				t.Errorf("%+v: %d sessions, %d bytes", got, d.sessions, len(d.have))
			}
			if len(d.cancelled) != test.cancelled || test.cancelled == 1 && d.cancelled[0] != "/hidden-1" {
				t.Errorf("cancelled: %v", d.cancelled)
			}
		})
	}
}

func TestAnUploadThatHasExpiredIsForgotten(t *testing.T) {
	d := newDrive(t)
	d.life = -time.Minute
	d.refuse(2)
	file, content := largeFile(t, largeSize)
	if got := d.put(file); got.status != StatusFailed || d.uploads() != 1 {
		t.Fatalf("%+v", got)
	}
	if got := runFob(t, nil, "cache", "list", "--cache-dir", d.cache); !strings.Contains(got.stdout, "expired") {
		t.Errorf("%+v", got)
	}
	// The next upload of anything takes all away that have expired.
	other, _ := largeFile(t, 5<<20)
	d.answer = nil
	if got := d.put(other); got.status != StatusDone || d.uploads() != 0 {
		t.Errorf("%+v, %d uploads are stored", got, d.uploads())
	}
	if got := d.put(file); got.status != StatusDone || d.sessions != 3 || len(d.asked) > 0 || !bytes.Equal(d.have, content) {
		t.Errorf("%+v: %d sessions, asked for %v", got, d.sessions, d.asked)
	}
}

func TestWithoutACacheNoUploadIsKept(t *testing.T) {
	d := newDrive(t)
	d.refuse(2)
	file, _ := largeFile(t, largeSize)
	if got := d.put(file, "--no-cache"); got.status != StatusFailed || strings.Contains(got.stderr, "goes on") || d.uploads() != 0 {
		t.Errorf("%+v", got)
	}
}

func TestAnUploadEndsWithTheTimeoutThatIsGivenAndGoesOn(t *testing.T) {
	d := newDrive(t)
	file, content := largeFile(t, largeSize)
	enough := make(chan struct{})
	d.answer = func(_ http.ResponseWriter, piece int) bool {
		if piece == 2 {
			<-enough
		}
		return piece == 2
	}
	got := d.put(file, "--timeout", "2s")
	close(enough)
	if got.status != StatusUnavailable || !strings.Contains(got.stderr, "no whole answer within 2s") || !strings.Contains(got.stderr, "note: 10485760 of") {
		t.Errorf("%+v", got)
	}
	d.mu.Lock()
	d.answer = nil
	d.mu.Unlock()
	if got := d.put(file); got.status != StatusDone || d.sessions != 1 || !bytes.Equal(d.have, content) {
		t.Errorf("%+v, %d sessions", got, d.sessions)
	}
}

func TestOneFileIsSentToOnePlaceByOneRunAtATime(t *testing.T) {
	d := newDrive(t)
	file, content := largeFile(t, largeSize)
	var second ran
	d.answer = func(_ http.ResponseWriter, piece int) bool {
		if piece == 2 { // while the first is under way
			second = d.put(file)
		}
		return false
	}
	first := d.put(file)
	if first.status != StatusDone || !bytes.Equal(d.have, content) || d.sessions != 1 {
		t.Errorf("%+v, %d sessions", first, d.sessions)
	}
	if second.status != StatusFailed || !strings.Contains(second.stderr, "another fob is sending") {
		t.Errorf("%+v", second)
	}
}

func TestAFileThatChangesWhileItIsSentIsNotLeftHalfThere(t *testing.T) {
	d := newDrive(t)
	file, _ := largeFile(t, largeSize)
	d.answer = func(_ http.ResponseWriter, piece int) bool {
		if piece == 1 {
			if err := os.Truncate(file, 5<<20); err != nil {
				t.Error(err)
			}
		}
		return false
	}
	got := d.put(file)
	if got.status != StatusFailed || !strings.Contains(got.stderr, "the file was changed while it was sent: it has 5242880 bytes now, not 11534341") || strings.Contains(got.stderr, "goes on") {
		t.Errorf("%+v", got)
	}
	if len(d.cancelled) != 1 || d.uploads() != 0 || d.sessions != 1 {
		t.Errorf("cancelled %v, %d sessions, %d uploads are stored", d.cancelled, d.sessions, d.uploads())
	}
}

func TestWhatBecameOfAnUploadIsPrintedAsWanted(t *testing.T) {
	file, _ := largeFile(t, 5<<20)
	out := filepath.Join(t.TempDir(), "item.json")
	for want, more := range map[string][]string{
		"item\n":                        {"--jq", ".id"},
		"id,size\r\nitem,1\r\n":         {"-o", "csv"},
		`{"id":"item","size":1}` + "\n": {"-o", "ndjson"},
		"":                              {"--output-file", out},
	} {
		d := newDrive(t)
		if got := d.put(file, more...); got.status != StatusDone || got.stdout != want {
			t.Errorf("%v: %+v", more, got)
		}
	}
	if text, err := os.ReadFile(out); err != nil || string(text) != `{"id":"item","size":1}`+"\n" {
		t.Errorf("%s, %v", text, err)
	}
	d := newDrive(t)
	if got := d.put(file, "--jq", ".id |"); got.status != StatusUsage || d.sessions > 0 {
		t.Errorf("%+v, %d sessions", got, d.sessions)
	}
}

func TestATraceShowsNoUploadAddress(t *testing.T) {
	d := newDrive(t)
	d.refuse(2)
	file, _ := largeFile(t, largeSize)
	for _, name := range []string{"", "=first.html", "=next.har", "=last.md"} {
		trace := "--trace"
		if name != "" {
			trace = "--trace=" + filepath.Join(t.TempDir(), name[1:])
		}
		got := d.put(file, trace, "-v", "--include")
		text := got.stdout + got.stderr
		if name != "" {
			more, err := os.ReadFile(trace[len("--trace="):])
			if err != nil {
				t.Fatal(err)
			}
			text += string(more)
		}
		if !strings.Contains(text, "PUT") || strings.Contains(text, "hidden") {
			t.Errorf("%s: %s", trace, text)
		}
		if name == "=next.har" { // the one after it finds a changed file
			if err := os.Chtimes(file, time.Time{}, time.Now().Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
		}
		d.refuse(len(d.pieces) + 1)
	}
	if d.sessions != 2 || len(d.cancelled) != 1 {
		t.Errorf("%d sessions, cancelled %v", d.sessions, d.cancelled)
	}
}

func TestConditionsOfAPutHoldForAnUpload(t *testing.T) {
	file, _ := largeFile(t, 5<<20)
	d := newDrive(t)
	if got := d.put(file, "--header", `If-Match: "7"`, "--query", "@microsoft.graph.conflictBehavior=fail"); got.status != StatusDone || d.match != `"7"` || !strings.Contains(d.properties, `"fail"`) {
		t.Errorf("%+v: If-Match %s, %s", got, d.match, d.properties)
	}
}

func TestWhatComesOnStdinGoesToADriveHoweverLongItIs(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("TMP", temp) // what Windows calls it
	for size, pieces := range map[int]int{0: 0, 100: 0, largeContent: 0, largeContent + 1: 1, largeSize: 2, 31 << 20: 4} {
		d := newDrive(t)
		content := bytes.Repeat([]byte("x"), size)
		d.answer = func(http.ResponseWriter, int) bool {
			if size > 30<<20 {
				if left, _ := filepath.Glob(filepath.Join(temp, "*")); os.PathSeparator == '/' && len(left) > 0 {
					t.Errorf("what was on stdin has a name: %v", left)
				}
			}
			return false
		}
		got := d.fob(string(content), "put", driveFile, "--body", "-", "--cache-dir", d.cache)
		if got.status != StatusDone || len(d.pieces) != pieces || d.uploads() != 0 {
			t.Errorf("%d bytes: %+v in %d pieces", size, got, len(d.pieces))
		}
		if pieces > 0 && !bytes.Equal(d.have, content) || pieces == 0 && d.plain != size {
			t.Errorf("%d bytes: %d came in pieces, %d in one", size, len(d.have), d.plain)
		}
	}
	d := newDrive(t)
	d.refuse(2)
	if got := d.fob(strings.Repeat("x", largeSize), "put", driveFile, "--body", "-", "--cache-dir", d.cache); got.status != StatusFailed || strings.Contains(got.stderr, "goes on") || d.uploads() != 0 {
		t.Errorf("%+v", got)
	}
	if left, err := filepath.Glob(filepath.Join(temp, "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
	t.Setenv("TMPDIR", filepath.Join(temp, "missing"))
	t.Setenv("TMP", filepath.Join(temp, "missing"))
	if got := d.fob(strings.Repeat("x", largeSize), "put", driveFile, "--body", "-"); got.status != StatusFailed || !strings.Contains(got.stderr, "name with TMPDIR a directory") {
		t.Errorf("%+v", got)
	}
}
