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
	if f, err := w.Download(t.Context(), "/x", &memoryFile{}, Download{Offset: 300, ETag: `"v"`}); err != nil || f.Size != 300 {
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
		_, err := w.Download(t.Context(), "/x", &memoryFile{}, Download{Offset: 5, ETag: `"v"`})
		wantError(t, err, want)
	}
}

// someOf answers with a part of a file, whatever was asked for.
func someOf(content []byte, contentRange, etag string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Range", contentRange)
		if etag != "" {
			w.Header().Set("ETag", etag)
		}
		w.WriteHeader(http.StatusPartialContent)
		w.(http.Flusher).Flush() // so that no length is sent
		w.Write(content)
	}
}

func TestOnlyTheRestOfTheSameFileIsAppended(t *testing.T) {
	whole := randomBytes(100)
	for name, test := range map[string]struct {
		etag   string // of what is there
		first  http.HandlerFunc
		ranges string // asked for
	}{
		"the same":                    {`"v"`, someOf(whole[40:], "bytes 40-99/100", `"v"`), `[bytes=40-]`},
		"a part without an ETag":      {`"v"`, someOf(whole[40:], "bytes 40-99/100", ""), `[bytes=40- ]`},
		"a part with a weak ETag":     {`"v"`, someOf(whole[40:], "bytes 40-99/100", `W/"v"`), `[bytes=40- ]`},
		"a part of another":           {`"v"`, someOf(whole[40:], "bytes 40-99/100", `"w"`), `[bytes=40- ]`},
		"an end of another":           {`"v"`, says(416, "", "Content-Range", "bytes */40", "ETag", `"w"`), `[bytes=40- ]`},
		"an end elsewhere":            {`"v"`, says(416, "", "Content-Range", "bytes */39"), `[bytes=40- ]`},
		"an end without a place":      {`"v"`, says(416, ""), `[bytes=40- ]`},
		"what is there has weak ETag": {`W/"v"`, nil, `[]`},
		"what is there has no ETag":   {"", nil, `[]`},
		"all of it":                   {`"v"`, says(200, string(whole), "ETag", `"v"`), `[bytes=40-]`},
	} {
		t.Run(name, func(t *testing.T) {
			var ranges []string
			all := says(200, string(whole), "ETag", `"v"`)
			w := serve(t, func(w http.ResponseWriter, r *http.Request) {
				ranges = append(ranges, r.Header.Get("Range"))
				if test.first != nil && len(ranges) == 1 {
					test.first(w, r)
					return
				}
				all(w, r)
			})
			to := memoryFile{bytes.Clone(whole[:40])}
			if name != "the same" {
				clear(to.b) // it is another file's
			}
			f, err := w.Download(t.Context(), "/x", &to, Download{Offset: 40, ETag: test.etag})
			if err != nil || f.Size != 100 || !bytes.Equal(to.b, whole) || fmt.Sprint(ranges) != test.ranges {
				t.Errorf("%+v, %v, asked for %q", f, err, ranges)
			}
		})
	}
}

func TestAnAnswerThatIsLongerOrShorterThanItSaysIsNoFile(t *testing.T) {
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Range", "bytes 0-99/100")
		w.WriteHeader(http.StatusPartialContent)
		endless(w, string(make([]byte, 60)))
	})
	var to memoryFile
	if _, err := w.Download(t.Context(), "/x", &to, Download{}); len(to.b) > 100 {
		t.Errorf("%d bytes were written", len(to.b))
	} else {
		wantError(t, err, "more of the file than the 100 bytes that were announced")
	}
	// A part that ends before the file does is followed by the next.
	whole := randomBytes(100)
	w = serve(t, answers(someOf(whole[:40], "bytes 0-39/100", `"v"`), someOf(whole[40:70], "bytes 40-69/100", `"v"`), someOf(whole[70:], "bytes 70-99/100", `"v"`)))
	to.b = nil
	if f, err := w.Download(t.Context(), "/x", &to, Download{}); err != nil || !bytes.Equal(to.b, whole) || f.Size != 100 {
		t.Errorf("%+v, %v", f, err)
	}
	// One that says where it is, and is shorter, lies.
	w = serve(t, someOf(whole[:40], "bytes 0-99/100", `"v"`))
	f, err := w.Download(t.Context(), "/x", &to, Download{})
	if wantError(t, err, "another part"); f.Size != 40 {
		t.Errorf("%+v", f)
	}
}

func TestADownloadThatCannotGoOnEnds(t *testing.T) {
	for name, handler := range map[string]func(n int) http.HandlerFunc{
		"another file every time":     func(n int) http.HandlerFunc { return patchy(randomBytes(1000), fmt.Sprintf(`"%d"`, n), 400) },
		"no ETag":                     func(int) http.HandlerFunc { return patchy(randomBytes(1000), "", 400) },
		"the beginning again":         func(int) http.HandlerFunc { return says(206, "abc", "Content-Range", "bytes 0-2/10", "ETag", `"v"`) },
		"from its beginning, no more": func(int) http.HandlerFunc { return fromBeginning(randomBytes(1000), 400) },
	} {
		t.Run(name, func(t *testing.T) {
			n := 0
			w := serve(t, func(w http.ResponseWriter, r *http.Request) { n++; handler(n)(w, r) })
			if _, err := w.Download(t.Context(), "/x", &memoryFile{}, Download{}); err == nil || n > 12 {
				t.Errorf("%v after %d requests", err, n)
			}
		})
	}
}

// fromBeginning knows no ranges, and breaks off.
func fromBeginning(content []byte, n int) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"v"`)
		w.Header().Set("Content-Length", fmt.Sprint(len(content)))
		w.Write(content[:n])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
}

func TestADownloadFollowsNoUnsafeRedirect(t *testing.T) {
	for target, want := range map[string]string{
		"http://storage.example/x":          "not https",
		"https://user:pass@storage.example": "user name",
		"https://10.0.0.1/x":                "IP address",
		"ftp://storage.example/x":           "not https",
		"https://storage.example./x":        "not a plain host name",
	} {
		w := serve(t, says(302, "", "Location", target))
		_, err := w.Download(t.Context(), "/x", &memoryFile{}, Download{})
		wantError(t, err, want)
	}
}

func TestADownloadFollowsAChainOfStoragesWithoutWhatIsForHome(t *testing.T) {
	content := randomBytes(1000)
	last := stranger(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Key") != "" || r.Header.Get("Referer") != "" {
			t.Errorf("the storage got %v", r.Header)
		}
		w.Header().Set("ETag", `"v"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(content))
	})
	next := last.URL + "/blob?sig=key"
	for range 3 {
		to := next
		next = stranger(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("X-Key") != "" {
				t.Error("the caller's header went on")
			}
			http.Redirect(w, r, to, http.StatusTemporaryRedirect)
		}).URL + "/hop?sig=key"
	}
	w := serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, next, http.StatusFound) })
	to := memoryFile{bytes.Clone(content[:10])}
	f, err := w.Download(t.Context(), "/x", &to, Download{Header: http.Header{"X-Key": {"1"}}, Offset: 10, ETag: `"v"`})
	if err != nil || f.Size != 1000 || !bytes.Equal(to.b, content) {
		t.Errorf("%+v, %v", f, err)
	}
	w = serve(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/again", http.StatusFound) })
	_, err = w.Download(t.Context(), "/x", &memoryFile{}, Download{})
	wantError(t, err, "redirected too often")
}

func TestAnEncodingThatIsNoneIsTaken(t *testing.T) {
	w := serve(t, says(200, "abc", "Content-Encoding", "Identity"))
	if f, err := w.Download(t.Context(), "/x", &memoryFile{}, Download{}); err != nil || f.Size != 3 {
		t.Errorf("%+v, %v", f, err)
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
