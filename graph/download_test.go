package graph

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/fobauth/fob"
)

// memoryFile is a target for downloads.
type memoryFile struct{ b []byte }

func (m *memoryFile) WriteAt(p []byte, at int64) (int, error) {
	if need := int(at) + len(p); need > len(m.b) {
		m.b = append(m.b, make([]byte, need-len(m.b))...)
	}
	return copy(m.b[at:], p), nil
}

func TestADownloadFollowsToStorageWithoutTheToken(t *testing.T) {
	content := randomBytes(1 << 20)
	other := stranger(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "a.bin", time.Time{}, bytes.NewReader(content))
	})
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer secret" {
			t.Error("no token at home")
		}
		http.Redirect(w, r, other.URL+"/blob?sig=key", http.StatusFound)
	})
	var to memoryFile
	var last, size int64
	f, err := w.Download(t.Context(), "/me/drive/items/1/content", &to, Download{Progress: func(d, s int64) { last, size = d, s }})
	if err != nil || !bytes.Equal(to.b, content) || f.Size != 1<<20 || f.ETag != `"1"` || last != 1<<20 || size != 1<<20 {
		t.Errorf("%+v, %v, %d of %d", f, err, last, size)
	}
}

// patchy serves content, but breaks each answer off after some bytes.
func patchy(content []byte, etag string, bytesPerAnswer int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		from := 0
		if h := r.Header.Get("Range"); h != "" {
			fmt.Sscanf(h, "bytes=%d-", &from)
			w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
		}
		w.Header().Set("ETag", etag)
		w.Header().Set("Content-Length", fmt.Sprint(len(content)-from))
		if from > 0 {
			w.WriteHeader(http.StatusPartialContent)
		}
		w.Write(content[from:min(from+bytesPerAnswer, len(content))])
		if from+bytesPerAnswer < len(content) {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
	}
}

func TestADownloadGoesOnAfterABreak(t *testing.T) {
	content := randomBytes(100_000)
	w := serve(t, patchy(content, `"v"`, 9_000))
	var to memoryFile
	if f, err := w.Download(t.Context(), "/x/content", &to, Download{}); err != nil || !bytes.Equal(to.b, content) || f.Size != 100_000 {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestADownloadOfAnEarlierRunGoesOn(t *testing.T) {
	content := randomBytes(100_000)
	var ranges []string
	inner := patchy(content, `"v"`, 1<<20)
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		ranges = append(ranges, r.Header.Get("Range")+" "+r.Header.Get("If-Range"))
		inner(w, r)
	})
	to := memoryFile{bytes.Clone(content[:60_000])}
	f, err := w.Download(t.Context(), "/x/content", &to, Download{Offset: 60_000, ETag: `"v"`})
	if err != nil || !bytes.Equal(to.b, content) || f.Size != 100_000 || len(ranges) != 1 || ranges[0] != `bytes=60000- "v"` {
		t.Errorf("%+v, %v, %q", f, err, ranges)
	}
}

func TestAFileThatChangedIsFetchedFromItsBeginning(t *testing.T) {
	fresh := randomBytes(50_000)
	for name, handler := range map[string]http.HandlerFunc{
		"whole file instead of the rest": func(w http.ResponseWriter, r *http.Request) { w.Header().Set("ETag", `"new"`); w.Write(fresh) },
		"rest of another file":           patchy(fresh, `"new"`, 1<<20),
		"nothing behind the old end": func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Range") != "" {
				says(416, "", "Content-Range", "bytes */50000", "ETag", `"new"`)(w, r)
				return
			}
			w.Header().Set("ETag", `"new"`)
			w.Write(fresh)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := serve(t, handler)
			to := memoryFile{make([]byte, 20_000)}
			f, err := w.Download(t.Context(), "/x", &to, Download{Offset: 20_000, ETag: `"old"`})
			if err != nil || f.Size != 50_000 || !bytes.Equal(to.b[:f.Size], fresh) || f.ETag != `"new"` {
				t.Errorf("%+v, %v", f, err)
			}
		})
	}
}

func TestADownloadThatIsCompleteIsRecognized(t *testing.T) {
	w := serve(t, says(416, "", "Content-Range", "bytes */300"))
	if f, err := w.Download(t.Context(), "/x", &memoryFile{}, Download{Offset: 300}); err != nil || f.Size != 300 {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestAnswersThatAreNotTheFileAreRefused(t *testing.T) {
	for want, handler := range map[string]http.HandlerFunc{
		"another part":    says(206, "abc", "Content-Range", "bytes 7-9/10"),
		"the encoding":    says(200, "abc", "Content-Encoding", "br"),
		"holds no file":   says(204, ""),
		"itemNotFound":    says(404, `{"error":{"code":"itemNotFound","message":"m"}}`),
		"an HTML page in": says(403, "<!DOCTYPE html>"),
	} {
		w := serve(t, handler)
		_, err := w.Download(t.Context(), "/x", &memoryFile{}, Download{Offset: 5})
		wantError(t, err, want)
	}
}

func TestADownloadThatNeverEndsUpWholeSaysWhatIsThere(t *testing.T) {
	content := randomBytes(1000)
	w := serve(t, answers(patchy(content, `"v"`, 400), breaks))
	f, err := w.Download(t.Context(), "/x", &memoryFile{}, Download{})
	if wantError(t, err, "broke"); f.Size != 400 || f.ETag != `"v"` || !errors.Is(err, fob.ErrUnavailable) {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestAStreamTakesADownloadInOrderOnly(t *testing.T) {
	var b bytes.Buffer
	to := Sequential(&b)
	if _, err := to.WriteAt([]byte("ab"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := to.WriteAt([]byte("c"), 2); err != nil || b.String() != "abc" {
		t.Errorf("%q, %v", b.String(), err)
	}
	if _, err := to.WriteAt([]byte("x"), 0); err == nil {
		t.Error("it took a second beginning")
	}
}
