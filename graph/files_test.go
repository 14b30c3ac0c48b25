package graph

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/fobauth/fob"
)

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{7}).Read(b)
	return b
}

// storage is where upload URLs lead: another server, which sees no token.
type storage struct {
	mu     sync.Mutex // guards the fields below
	have   []byte
	size   int
	pieces []string
	before func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
}

func (s *storage) serve(t testing.TB) *httptest.Server {
	return stranger(t, func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.before != nil && s.before(w, r) {
			return
		}
		if r.Method == http.MethodGet {
			s.accepted(w, r)
			return
		}
		var from, to, total int
		if _, err := fmt.Sscanf(r.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &total); err != nil || int64(to-from+1) != r.ContentLength || total != s.size {
			t.Errorf("piece %q with %d bytes: %v", r.Header.Get("Content-Range"), r.ContentLength, err)
		}
		if to+1 != total && (to-from+1)%pieceUnit != 0 {
			t.Errorf("piece of %d bytes", to-from+1)
		}
		if from != len(s.have) {
			says(416, `{"error":{"code":"invalidRange","message":"already there"}}`)(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		s.pieces = append(s.pieces, r.Header.Get("Content-Range"))
		s.have = append(s.have, body...)
		if len(s.have) == total {
			says(201, `{"id":"item"}`)(w, r)
			return
		}
		s.accepted(w, r)
	})
}

func (s *storage) accepted(w http.ResponseWriter, r *http.Request) {
	status := http.StatusAccepted
	if r.Method == http.MethodGet {
		status = http.StatusOK
	}
	says(status, fmt.Sprintf(`{"NextExpectedRanges":["%d-"]}`, len(s.have)))(w, r)
}

func (s *storage) graph(t testing.TB) (*world, *int) {
	target := s.serve(t)
	sessions := 0
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if body, _ := io.ReadAll(r.Body); r.Header.Get("Authorization") != "Bearer secret" || string(body) != `{"item":{}}` || r.Method != "POST" {
			t.Errorf("%s with %q", r.Method, body)
		}
		sessions++
		s.mu.Lock()
		s.have = nil
		s.mu.Unlock()
		says(200, `{"uploadUrl":"`+target.URL+`/up?tempauth=key","nextExpectedRanges":["0-"]}`)(w, r)
	})
	return w, &sessions
}

func upload(t testing.TB, w *world, content []byte, change func(*Upload)) (string, error) {
	u := Upload{Session: "/me/drive/root:/a.bin:/createUploadSession", Properties: jsontext.Value(`{"item":{}}`),
		Content: bytes.NewReader(content), Size: int64(len(content)), Piece: pieceUnit}
	if change != nil {
		change(&u)
	}
	item, err := w.Upload(t.Context(), u)
	return string(item), err
}

func TestAnUploadArrivesInPieces(t *testing.T) {
	content := randomBytes(3*pieceUnit + 17)
	s := &storage{size: len(content)}
	w, sessions := s.graph(t)
	var done []int64
	var told fob.Secret
	item, err := upload(t, w, content, func(u *Upload) {
		u.Progress = func(d, size int64) { done = append(done, d) }
		u.Started = func(url fob.Secret) { told = url }
		u.Piece = pieceUnit + 5
	})
	if err != nil || item != `{"id":"item"}` || !bytes.Equal(s.have, content) || len(s.pieces) != 4 || *sessions != 1 {
		t.Errorf("%q, %v: %q", item, err, s.pieces)
	}
	if len(done) != 3 || done[0] != pieceUnit || !strings.Contains(told.Reveal(), "tempauth") {
		t.Errorf("progress %v", done)
	}
}

func TestAnUploadGoesOnAfterABreak(t *testing.T) {
	content := randomBytes(4 * pieceUnit)
	for name, trouble := range map[string]func(s *storage, w http.ResponseWriter, r *http.Request){
		"piece lost": func(s *storage, w http.ResponseWriter, r *http.Request) { breaks(w, r) },
		"answer lost": func(s *storage, w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			s.have = append(s.have, body...)
			breaks(w, r)
		},
		"unavailable": func(s *storage, w http.ResponseWriter, r *http.Request) { says(503, "", "Retry-After", "3")(w, r) },
		"gateway":     func(s *storage, w http.ResponseWriter, r *http.Request) { says(502, "<html>")(w, r) },
		"already there": func(s *storage, w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			s.have = append(s.have, body...)
			says(416, "")(w, r)
		},
		"only a part kept": func(s *storage, w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			s.have = append(s.have, body[:100]...)
			s.accepted(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &storage{size: len(content)}
			puts := 0
			s.before = func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == "PUT" {
					puts++
				}
				if puts == 2 && r.Method == "PUT" {
					trouble(s, w, r)
					return true
				}
				return false
			}
			w, sessions := s.graph(t)
			if item, err := upload(t, w, content, nil); err != nil || item != `{"id":"item"}` || !bytes.Equal(s.have, content) || *sessions != 1 {
				t.Errorf("%q, %v, %d sessions", item, err, *sessions)
			}
		})
	}
}

func TestAnUploadThatWasForgottenBeginsAgain(t *testing.T) {
	content := randomBytes(3 * pieceUnit)
	s := &storage{size: len(content)}
	puts := 0
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if puts++; puts == 2 {
			says(404, `{"error":{"code":"itemNotFound","message":"The upload session was not found"}}`)(w, r)
			return true
		}
		return false
	}
	w, sessions := s.graph(t)
	if _, err := upload(t, w, content, nil); err != nil || *sessions != 2 || !bytes.Equal(s.have, content) {
		t.Errorf("%v, %d sessions", err, *sessions)
	}
}

func TestAnUploadThatIsForgottenAgainAndAgainEnds(t *testing.T) {
	s := &storage{size: 10, before: func(w http.ResponseWriter, r *http.Request) bool { says(404, "")(w, r); return true }}
	w, sessions := s.graph(t)
	_, err := upload(t, w, randomBytes(10), nil)
	if wantError(t, err, "forgot"); *sessions != maxSessions || !errors.Is(err, ErrExpired) {
		t.Errorf("%v, %d sessions", err, *sessions)
	}
}

func TestAnUploadOfAnEarlierRunGoesOn(t *testing.T) {
	content := randomBytes(3 * pieceUnit)
	s := &storage{size: len(content), have: bytes.Clone(content[:pieceUnit])}
	target := s.serve(t)
	w := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a session was begun") })
	item, err := upload(t, w, content, func(u *Upload) { u.URL = fob.NewSecret(target.URL + "/up"); u.Session = "" })
	if err != nil || item == "" || !bytes.Equal(s.have, content) || len(s.pieces) != 2 {
		t.Errorf("%v: %q", err, s.pieces)
	}
}

func TestAnUploadThatIsRefusedSaysWhyAndNotWhere(t *testing.T) {
	s := &storage{size: 10, before: func(w http.ResponseWriter, r *http.Request) bool {
		says(409, `{"error":{"code":"nameAlreadyExists","message":"The name is taken."}}`)(w, r)
		return true
	}}
	w, _ := s.graph(t)
	_, err := upload(t, w, randomBytes(10), nil)
	wantError(t, err, "nameAlreadyExists")
	if strings.Contains(err.Error(), "tempauth") || strings.Contains(err.Error(), "/up") {
		t.Errorf("the upload URL is in %q", err)
	}
}

func TestAnUploadWithoutHeadwayEnds(t *testing.T) {
	s := &storage{size: 10}
	s.before = func(w http.ResponseWriter, r *http.Request) bool { s.accepted(w, r); return true }
	w, _ := s.graph(t)
	_, err := upload(t, w, randomBytes(10), nil)
	wantError(t, err, "no headway")
}

func TestAnUploadURLThatIsNotSafeIsNotUsed(t *testing.T) {
	for _, target := range []string{"", "http://storage.example/x", "https://a:b@storage.example/", "https://10.0.0.1/x", "ftp://storage.example/x", "/relative", "https://storage.example./"} {
		w := serve(t, says(200, `{"uploadUrl":`+asJSON(target)+`}`))
		_, err := upload(t, w, randomBytes(10), nil)
		wantError(t, err, "beginning the upload")
	}
}

func TestWhatCannotBeUploadedIsSaidAtOnce(t *testing.T) {
	w := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	for want, u := range map[string]Upload{
		"empty file":          {Session: "/x", Content: bytes.NewReader(nil)},
		"Content and Size":    {Session: "/x", Size: 3},
		"createUploadSession": {Content: bytes.NewReader([]byte("x")), Size: 1},
	} {
		_, err := w.Upload(t.Context(), u)
		wantError(t, err, want)
	}
}

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
