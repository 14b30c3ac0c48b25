package cli

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestADownloadThatBrokeOffGoesOnWithoutTheTokenAtTheStorage(t *testing.T) {
	content := strings.Repeat("0123456789", 1000)
	broken := true
	var ranges []string
	storage := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the storage got the token")
		}
		ranges = append(ranges, r.Header.Get("Range"))
		w.Header().Set("ETag", `"one"`)
		if broken {
			w.Header().Set("Content-Length", strconv.Itoa(len(content)))
			io.WriteString(w, content[:4000])
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	}))
	defer storage.Close()
	run, _ := apiWith(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, storage.URL+"/file", http.StatusFound)
	})
	file := filepath.Join(t.TempDir(), "file.bin")
	got := run("", "get", "/me/drive/items/1/content", "--output-file", file, "--timeout", "1s")
	if got.status == StatusDone || !strings.Contains(got.stderr, "goes on from there") {
		t.Fatalf("%+v", got)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("half a file has the name of the whole one")
	}
	broken = false
	before := len(ranges)
	got = run("", "get", "/me/drive/items/1/content", "--output-file", file)
	text, err := os.ReadFile(file)
	if got.status != StatusDone || err != nil || string(text) != content || ranges[before] != "bytes=4000-" {
		t.Errorf("%+v, %v, %d bytes, ranges %v", got, err, len(text), ranges)
	}
	if left, _ := filepath.Glob(file + ".*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestAPartOfAFileThatWasAskedForIsNotCompleted(t *testing.T) {
	run, _ := apiWith(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader("0123456789"))
	})
	file := filepath.Join(t.TempDir(), "part.bin")
	got := run("", "get", "/me/drive/items/1/content", "--output-file", file, "--header", "Range: bytes=2-4")
	if text, err := os.ReadFile(file); got.status != StatusDone || err != nil || string(text) != "234" {
		t.Errorf("%+v, %q, %v", got, text, err)
	}
}
