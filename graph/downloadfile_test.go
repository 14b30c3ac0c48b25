package graph

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// wantFile checks that a download is complete and left nothing else.
func wantFile(t *testing.T, name string, content []byte) {
	t.Helper()
	got, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%s has %d bytes, not the %d of the file; %v", name, len(got), len(content), err)
	}
	if info, err := os.Lstat(name); err == nil && runtime.GOOS != "windows" && info.Mode() != 0o600 {
		t.Errorf("%s has the mode %v", name, info.Mode())
	}
	if left, _ := filepath.Glob(name + ".*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func served(content []byte, etag string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", etag)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	}
}

func TestADownloadToAFileGoesOnInTheNextCall(t *testing.T) {
	content := randomBytes(100_000)
	broken := true
	var asked []string
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Header.Get("Range"))
		if broken && r.Header.Get("Range") != "" {
			says(403, "")(w, r)
			return
		}
		patchy(content, `"v"`, map[bool]int{true: 30_000, false: 100_000}[broken])(w, r)
	})
	name := filepath.Join(t.TempDir(), "a.bin")
	f, err := w.DownloadFile(t.Context(), name, "/x", Download{})
	if wantError(t, err, "HTTP 403"); f.Size != 30_000 || f.ETag != `"v"` {
		t.Fatalf("%+v, %v", f, err)
	}
	if _, err := os.Stat(name); err == nil {
		t.Error("half a file has the name of the whole")
	}
	for _, part := range []string{PartialFile(name), PartialFile(name) + ".etag"} {
		if info, err := os.Stat(part); err != nil || runtime.GOOS != "windows" && info.Mode() != 0o600 {
			t.Errorf("%s: %v", part, err)
		}
	}
	broken = false
	f, err = w.DownloadFile(t.Context(), name, "/x", Download{})
	if err != nil || f.Size != 100_000 || fmt.Sprint(asked) != "[ bytes=30000- bytes=30000-]" {
		t.Errorf("%+v, %v, asked for %q", f, err, asked)
	}
	wantFile(t, name, content)
}

func TestWhatNobodyCanGoOnWithIsNotKept(t *testing.T) {
	for _, etag := range []string{"", `W/"v"`} {
		w := serve(t, answers(patchy(randomBytes(1000), etag, 400), says(403, "")))
		name := filepath.Join(t.TempDir(), "a.bin")
		_, err := w.DownloadFile(t.Context(), name, "/x", Download{})
		wantError(t, err, "HTTP 403")
		if left, _ := filepath.Glob(filepath.Join(filepath.Dir(name), "*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

func TestADownloadToAFileThatIsKilledAgainAndAgainIsWholeAndFetchedOnce(t *testing.T) {
	content := randomBytes(4 << 20)
	name := filepath.Join(t.TempDir(), "a.bin")
	var mu sync.Mutex // guards the fields below
	var victim *os.Process
	kill, resumed, twice, etag := true, 0, 0, `"v"`
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		there := int64(0)
		if info, err := os.Stat(PartialFile(name)); err == nil {
			there = info.Size()
		}
		from := int64(0)
		if h := r.Header.Get("Range"); h != "" {
			fmt.Sscanf(h, "bytes=%d-", &from)
		}
		if r.Header.Get("If-Range") == etag {
			resumed++
			if from != there {
				twice++
			}
		}
		if !kill {
			served(content, etag)(w, r)
			return
		}
		w.Header().Set("ETag", etag)
		w.Header().Set("Content-Length", fmt.Sprint(int64(len(content))-from))
		if r.Header.Get("If-Range") == etag && from > 0 {
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
			w.WriteHeader(http.StatusPartialContent)
		} else {
			from = 0
		}
		n := rand.N(min(256<<10, int64(len(content))-from))
		w.Write(content[from : from+n])
		w.(http.Flusher).Flush()
		// It dies when some of that is on the disk, or nothing yet.
		enough := from + rand.N(n+1)
		for deadline := time.Now().Add(time.Second); time.Now().Before(deadline); runtime.Gosched() {
			if info, err := os.Stat(PartialFile(name)); err == nil && info.Size() >= enough && (from > 0 || info.Size() <= n) {
				break
			}
		}
		victim.Kill()
	})
	run := func() {
		t.Helper()
		cmd := child(t, "download", w.server.URL, name)
		cmd.Stderr = nil
		mu.Lock()
		err := cmd.Start()
		victim = cmd.Process
		mu.Unlock()
		if err != nil {
			t.Fatal(err)
		}
		if cmd.Wait() == nil {
			t.Fatal("it ended by itself")
		}
	}
	for i := range 20 {
		if i == 10 { // the file changes while nobody fetches it
			content, etag = randomBytes(4<<20+1), `"w"`
			content[0]++
		}
		run()
	}
	kill = false
	f, err := w.DownloadFile(t.Context(), name, "/content", Download{})
	if err != nil || resumed < 5 || twice > 0 {
		t.Errorf("%+v, %v: went on %d times, %d of them not from where it was", f, err, resumed, twice)
	}
	wantFile(t, name, content)
}

func TestADownloadKilledWhileItMakesItsFilesBeginsAgain(t *testing.T) {
	content := randomBytes(1000)
	for name, files := range map[string]map[string]string{
		"nothing but the ETag":     {".etag": "\"v\"\n"},
		"nothing in the part":      {"": "", ".etag": "\"v\"\n"},
		"no ETag yet":              {"": ""},
		"half an ETag":             {"": "1234", ".etag": "\""},
		"an empty ETag":            {"": "1234", ".etag": ""},
		"an ETag that is none":     {"": "1234", ".etag": "\"v\"\r\nX-Injected: 1\n"},
		"an endless ETag":          {"": "1234", ".etag": `"` + strings.Repeat("v", maxTag) + `"`},
		"an ETag of another":       {"": "1234", ".etag": "\"w\"\n"},
		"more than there is":       {"": strings.Repeat("x", 2000), ".etag": "\"w\"\n"},
		"a lock that nobody holds": {".lock": ""},
	} {
		t.Run(name, func(t *testing.T) {
			to := filepath.Join(t.TempDir(), "a.bin")
			for suffix, text := range files {
				if err := os.WriteFile(PartialFile(to)+suffix, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			w := serve(t, served(content, `"v"`))
			if f, err := w.DownloadFile(t.Context(), to, "/x", Download{}); err != nil || f.Size != 1000 {
				t.Errorf("%+v, %v", f, err)
			}
			wantFile(t, to, content)
		})
	}
}

func TestADownloadThatWasCompleteButForItsNameIsNotFetchedAgain(t *testing.T) {
	content := randomBytes(1000)
	to := filepath.Join(t.TempDir(), "a.bin")
	for suffix, text := range map[string]string{"": string(content), ".etag": "\"v\"\n"} {
		if err := os.WriteFile(PartialFile(to)+suffix, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") == "" {
			t.Error("it was fetched again")
		}
		served(content, `"v"`)(w, r)
	})
	if _, err := w.DownloadFile(t.Context(), to, "/x", Download{}); err != nil {
		t.Error(err)
	}
	wantFile(t, to, content)
}

func TestADownloadReplacesWhatWasThereOnlyWhenItIsComplete(t *testing.T) {
	to := filepath.Join(t.TempDir(), "a.bin")
	if err := os.WriteFile(to, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	w := serve(t, says(403, ""))
	if _, err := w.DownloadFile(t.Context(), to, "/x", Download{}); err == nil {
		t.Error("no error")
	}
	if text, err := os.ReadFile(to); err != nil || string(text) != "before" {
		t.Errorf("%s, %v", text, err)
	}
	w = serve(t, says(200, "after"))
	if _, err := w.DownloadFile(t.Context(), to, "/x", Download{}); err != nil {
		t.Error(err)
	}
	wantFile(t, to, []byte("after"))
}

func TestADownloadLeavesFilesOfOthersAlone(t *testing.T) {
	w := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	dir := t.TempDir()
	to := filepath.Join(dir, "a.bin")
	if err := os.WriteFile(PartialFile(to), []byte("a friend's"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := w.DownloadFile(t.Context(), to, "/x", Download{})
	wantError(t, err, "a.bin.partial is in the way of the download and no part of one", "remove it, or choose another name")
	if text, err := os.ReadFile(PartialFile(to)); err != nil || string(text) != "a friend's" {
		t.Errorf("%s, %v", text, err)
	}
	_, err = w.DownloadFile(t.Context(), dir, "/x", Download{})
	wantError(t, err, "is a directory")
	_, err = w.DownloadFile(t.Context(), filepath.Join(dir, "missing", "a.bin"), "/x", Download{})
	wantError(t, err, "making a lock", "missing")
	if err := os.Mkdir(PartialFile(filepath.Join(dir, "b")), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err = w.DownloadFile(t.Context(), filepath.Join(dir, "b"), "/x", Download{})
	wantError(t, err, "b.partial is in the way of the download and no regular file")
}

func TestTwoDownloadsToOneFileAreOneTooMany(t *testing.T) {
	content := randomBytes(1000)
	to := filepath.Join(t.TempDir(), "a.bin")
	var second error
	first := true
	var w *world
	w = serve(t, func(rw http.ResponseWriter, r *http.Request) {
		if first {
			first = false
			_, second = w.DownloadFile(r.Context(), to, "/x", Download{})
		}
		served(content, `"v"`)(rw, r)
	})
	if _, err := w.DownloadFile(t.Context(), to, "/x", Download{}); err != nil {
		t.Error(err)
	}
	wantError(t, second, "another download is writing "+to, "wait for it")
	wantFile(t, to, content)
}

func TestADiskThatIsFullEndsADownload(t *testing.T) {
	w := serve(t, says(200, strings.Repeat("x", 5<<20)))
	_, err := w.Download(t.Context(), "/x", smallDisk{}, Download{})
	wantError(t, err, "writing the file")
	_, err = w.Download(t.Context(), "/x", Sequential(io.Discard), Download{Offset: 3, ETag: `"v"`})
	if err != nil { // it begins again, which nothing has been written of yet
		t.Error(err)
	}
}
