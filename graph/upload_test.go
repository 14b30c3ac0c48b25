package graph

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
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
	mu        sync.Mutex // guards the fields below
	have      []byte
	size      int
	pieces    []string
	cancelled int
	expires   time.Time                                         // what it says
	before    func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	item      http.HandlerFunc                                  // answers at the item's own address
	url       string
}

func (s *storage) serve(t testing.TB) *httptest.Server {
	return stranger(t, func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.before != nil && s.before(w, r) {
			return
		}
		switch r.Method {
		case http.MethodGet:
			s.accepted(w, r)
			return
		case http.MethodDelete:
			s.cancelled++
			says(204, "")(w, r)
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
	says(status, fmt.Sprintf(`{"ExpirationDateTime":%q,"NextExpectedRanges":["%d-"]}`, s.expires.Format(time.RFC3339), len(s.have)))(w, r)
}

func (s *storage) graph(t testing.TB) (*world, *int) {
	target := s.serve(t)
	s.url = target.URL
	sessions := 0
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if s.item != nil && r.Method == "GET" && r.URL.Path == "/v1.0/me/drive/root:/a.bin" {
			s.item(w, r)
			return
		}
		if r.Method == "GET" {
			says(404, `{"error":{"code":"itemNotFound","message":"m"}}`)(w, r)
			return
		}
		if body, _ := io.ReadAll(r.Body); r.Header.Get("Authorization") != "Bearer secret" || string(body) != `{"item":{}}` || r.Method != "POST" {
			t.Errorf("%s with %q", r.Method, body)
		}
		sessions++
		s.mu.Lock()
		s.have = nil
		s.mu.Unlock()
		says(200, `{"uploadUrl":"`+target.URL+`/up?tempauth=key","nextExpectedRanges":["0-"],"expirationDateTime":"`+s.expires.Format(time.RFC3339)+`"}`)(w, r)
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

// sessions remembers what OnSession is told, in a word each.
type sessions []string

func (s *sessions) told(is UploadSession) {
	word := "over"
	if !is.URL.IsZero() {
		word = "open"
	}
	*s = append(*s, word)
}

func TestAnUploadArrivesInPieces(t *testing.T) {
	content := randomBytes(3*pieceUnit + 17)
	expires := time.Now().Add(time.Hour).Truncate(time.Second)
	s := &storage{size: len(content), expires: expires}
	w, sessions := s.graph(t)
	var done []int64
	var told []UploadSession
	item, err := upload(t, w, content, func(u *Upload) {
		u.Progress = func(d, size int64) { done = append(done, d) }
		u.OnSession = func(s UploadSession) { told = append(told, s) }
		u.Piece = pieceUnit + 5
	})
	if err != nil || item != `{"id":"item"}` || !bytes.Equal(s.have, content) || len(s.pieces) != 4 || *sessions != 1 {
		t.Errorf("%q, %v: %q", item, err, s.pieces)
	}
	if fmt.Sprint(done) != fmt.Sprint([]int{0, pieceUnit, 2 * pieceUnit, 3 * pieceUnit}) {
		t.Errorf("progress %v", done)
	}
	if len(told) != 2 || !strings.Contains(told[0].URL.Reveal(), "tempauth") || !told[0].Expires.Equal(expires) || told[1] != (UploadSession{}) {
		t.Errorf("told of %v", told)
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

func TestAnUploadOfAnEarlierRunThatIsRefusedBeginsAnew(t *testing.T) {
	content := randomBytes(2 * pieceUnit)
	for _, status := range []int{400, 401, 403, 404, 410} {
		s := &storage{size: len(content)}
		s.before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != "GET" {
				return false
			}
			says(status, `{"error":{"code":"itemNotFound","message":"m"}}`)(w, r)
			return true
		}
		w, begun := s.graph(t)
		var told sessions
		item, err := upload(t, w, content, func(u *Upload) {
			u.URL, u.OnSession = fob.NewSecret(s.url+"/old"), told.told
		})
		if err != nil || item == "" || !bytes.Equal(s.have, content) || *begun != 1 || fmt.Sprint(told) != "[over open over]" {
			t.Errorf("%d: %v, %d sessions, told %v", status, err, *begun, told)
		}
	}
}

func TestAServiceThatFailsDoesNotEndAnUpload(t *testing.T) {
	content := randomBytes(3 * pieceUnit)
	for name, trouble := range map[string]http.HandlerFunc{
		"storm":           says(500, ""),
		"busy for a year": says(429, "", "Retry-After", "31536000"),
		"no space":        says(507, `{"error":{"code":"quotaLimitReached","message":"m"}}`),
		"a proxy's no":    says(403, "<html>"),
		"cut":             func(w http.ResponseWriter, r *http.Request) { io.CopyN(io.Discard, r.Body, 1000); breaks(w, r) },
	} {
		t.Run(name, func(t *testing.T) {
			s := &storage{size: len(content)}
			ill := true
			s.before = func(w http.ResponseWriter, r *http.Request) bool {
				if ill && len(s.have) > 0 {
					trouble(w, r)
					return true
				}
				return false
			}
			w, begun := s.graph(t)
			var last UploadSession
			var told sessions
			remember := func(u *Upload) { u.OnSession = func(s UploadSession) { last = s; told.told(s) } }
			if _, err := upload(t, w, content, remember); err == nil || fmt.Sprint(told) != "[open]" || s.cancelled > 0 {
				t.Fatalf("%v, told %v", err, told)
			}
			s.mu.Lock()
			ill = false
			s.mu.Unlock()
			item, err := upload(t, w, content, func(u *Upload) { remember(u); u.URL = last.URL })
			if err != nil || item == "" || !bytes.Equal(s.have, content) || *begun != 1 || len(s.pieces) != 3 || told[len(told)-1] != "over" {
				t.Errorf("%v, %d sessions, pieces %v, told %v", err, *begun, s.pieces, told)
			}
		})
	}
}

func TestAnUploadThatWasThrottledWaitsAsLongAsItIsAsked(t *testing.T) {
	for _, status := range []int{429, 503} {
		content := randomBytes(3 * pieceUnit)
		s := &storage{size: len(content)}
		puts := 0
		s.before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == "PUT" {
				puts++
			}
			if r.Method == "PUT" && puts == 2 {
				says(status, "", "Retry-After", "42")(w, r)
				return true
			}
			return false
		}
		w, _ := s.graph(t)
		_, err := upload(t, w, content, nil)
		if waits := w.clock.waited(); err != nil || len(waits) != 1 || waits[0] != 42*time.Second || puts != 4 {
			t.Errorf("%d: %v, waited %v, %d pieces sent", status, err, waits, puts)
		}
	}
}

func TestAnUploadThatIsRefusedForGoodIsCancelled(t *testing.T) {
	content := randomBytes(2 * pieceUnit)
	for _, status := range []int{400, 409, 412} {
		s := &storage{size: len(content)}
		s.before = func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == "PUT" && len(s.have) > 0 {
				says(status, `{"error":{"code":"nameAlreadyExists","message":"The name is taken."}}`)(w, r)
				return true
			}
			return false
		}
		w, begun := s.graph(t)
		var told sessions
		_, err := upload(t, w, content, func(u *Upload) { u.OnSession = told.told })
		wantError(t, err, "nameAlreadyExists")
		if s.cancelled != 1 || *begun != 1 || fmt.Sprint(told) != "[open over]" {
			t.Errorf("%d: cancelled %d times, %d sessions, told %v", status, s.cancelled, *begun, told)
		}
	}
}

func TestAnUploadWhoseLastAnswerWasLostIsFoundInItsPlace(t *testing.T) {
	content := randomBytes(3*pieceUnit + 5)
	hash, err := quickXor(bytes.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	there := fmt.Sprintf(`{"id":"found","size":%d,"file":{"hashes":{"quickXorHash":%q}}}`, len(content), hash)
	for name, test := range map[string]struct {
		item  string
		begun int
	}{
		"the file":       {there, 1},
		"another size":   {strings.Replace(there, `"size":`, `"size":1`, 1), 2},
		"other bytes":    {strings.Replace(there, hash, "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", 1), 2},
		"without a hash": {strings.Replace(there, "quickXorHash", "sha1Hash", 1), 2},
		"a folder":       {`{"id":"folder","folder":{}}`, 2},
		"nothing usable": {`[]`, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := &storage{size: len(content), item: says(200, test.item)}
			lost := false
			s.before = func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case r.Method == "PUT" && !lost && len(s.have) == 3*pieceUnit:
					lost = true
					io.Copy(io.Discard, r.Body)
					breaks(w, r)
				case r.Method == "GET" && lost: // it is complete, so there is no session
					says(404, "")(w, r)
					return true
				}
				return false
			}
			w, begun := s.graph(t)
			var told sessions
			item, err := upload(t, w, content, func(u *Upload) { u.OnSession = told.told })
			if err != nil || *begun != test.begun || told[len(told)-1] != "over" {
				t.Errorf("%s, %v, %d sessions, told %v", item, err, *begun, told)
			}
			if test.begun == 1 && (item != there || len(s.pieces) != 3) {
				t.Errorf("%s, pieces %v", item, s.pieces)
			}
		})
	}
}

func TestAServiceThatHasItAllAndSaysNothingIsNotSentItAgain(t *testing.T) {
	content := randomBytes(10)
	s := &storage{size: len(content)}
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		says(202, `{"nextExpectedRanges":[]}`)(w, r)
		return true
	}
	w, begun := s.graph(t)
	var told sessions
	_, err := upload(t, w, content, func(u *Upload) { u.OnSession = told.told })
	wantError(t, err, "has the whole file", "look there")
	if *begun != 1 || s.cancelled > 0 || fmt.Sprint(told) != "[open over]" {
		t.Errorf("%d sessions, told %v", *begun, told)
	}
}

func TestAFileThatChangesIsNotUploaded(t *testing.T) {
	content := randomBytes(4 * pieceUnit)
	for name, test := range map[string]struct {
		change func(f *os.File) error
		says   string
	}{
		"grows":       {func(f *os.File) error { _, err := f.WriteAt([]byte("more"), int64(len(content))); return err }, "bytes now, not 1310720"},
		"shrinks":     {func(f *os.File) error { return f.Truncate(3*pieceUnit + 1) }, "it has 983041 bytes now, not 1310720"},
		"is emptied":  {func(f *os.File) error { return f.Truncate(0) }, "it has 0 bytes now"},
		"is written":  {func(f *os.File) error { return os.Chtimes(f.Name(), time.Time{}, time.Now().Add(time.Minute)) }, "it was written to at"},
		"is unlinked": {func(f *os.File) error { return os.Remove(f.Name()) }, ""},
	} {
		for _, after := range []int64{0, 2 * pieceUnit, 3 * pieceUnit} {
			t.Run(fmt.Sprintf("%s after %d", name, after), func(t *testing.T) {
				file, err := os.CreateTemp(t.TempDir(), "")
				if err != nil {
					t.Fatal(err)
				}
				defer file.Close()
				if _, err := file.Write(content); err != nil {
					t.Fatal(err)
				}
				s := &storage{size: len(content)}
				w, begun := s.graph(t)
				var told sessions
				_, err = upload(t, w, nil, func(u *Upload) {
					u.Content, u.Size, u.OnSession = file, int64(len(content)), told.told
					u.Progress = func(done, _ int64) {
						if done == after {
							if err := test.change(file); err != nil {
								t.Error(err)
							}
						}
					}
				})
				if test.says == "" { // who has it open still has it
					if err != nil || !bytes.Equal(s.have, content) {
						t.Error(err)
					}
					return
				}
				wantError(t, err, "the file was changed while it was sent", test.says)
				if !errors.Is(err, ErrChanged) || int64(len(s.have)) != after || s.cancelled != 1 || *begun != 1 || fmt.Sprint(told) != "[open over]" {
					t.Errorf("%v: the service has %d bytes, told %v", err, len(s.have), told)
				}
				if waits := w.clock.waited(); len(waits) > 0 {
					t.Errorf("it was tried again after %v", waits)
				}
			})
		}
	}
}

func TestAFileOfAnotherSizeThanSaidIsNotSent(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(name, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	w := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was sent") })
	_, err = upload(t, w, nil, func(u *Upload) { u.Content, u.Size = file, 3 })
	wantError(t, err, "it has 7 bytes now, not 3")
}

// brokenDisk cannot be read behind its first piece.
type brokenDisk struct{}

func (brokenDisk) ReadAt(p []byte, at int64) (int, error) {
	if at >= pieceUnit {
		return 0, errors.New("input/output error")
	}
	return len(p), nil
}

func TestAFileThatCannotBeReadEndsItsUploadAtOnce(t *testing.T) {
	s := &storage{size: 3 * pieceUnit}
	w, _ := s.graph(t)
	var told sessions
	_, err := upload(t, w, nil, func(u *Upload) { u.Content, u.Size, u.OnSession = brokenDisk{}, 3*pieceUnit, told.told })
	wantError(t, err, "reading the file: input/output error")
	if waits := w.clock.waited(); len(waits) > 0 || len(s.have) != pieceUnit || fmt.Sprint(told) != "[open]" {
		t.Errorf("waited %v, %d bytes are there, told %v", waits, len(s.have), told)
	}
}

func TestOnlyWhatIsMissingIsSent(t *testing.T) {
	content := randomBytes(6*pieceUnit + 9)
	have := bytes.Clone(content)
	clear(have[pieceUnit : 2*pieceUnit+7])
	clear(have[5*pieceUnit:])
	missing := []string{fmt.Sprintf("%d-%d", pieceUnit, 2*pieceUnit+6), fmt.Sprintf("%d-", 5*pieceUnit)}
	var sent []string
	target := stranger(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "PUT" {
			var from, to, total int
			fmt.Sscanf(r.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &total)
			sent = append(sent, fmt.Sprintf("%d-%d", from, to))
			io.ReadFull(r.Body, have[from:to+1])
			if missing = missing[1:]; len(missing) == 0 {
				says(201, `{"id":"item"}`)(w, r)
				return
			}
		}
		says(202, `{"nextExpectedRanges":`+asJSON(missing)+`}`)(w, r)
	})
	w := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a session was begun") })
	_, err := upload(t, w, content, func(u *Upload) { u.URL, u.Piece = fob.NewSecret(target.URL+"/up"), 8*pieceUnit })
	want := fmt.Sprintf("[%d-%d %d-%d]", pieceUnit, 2*pieceUnit+6, 5*pieceUnit, len(content)-1)
	if err != nil || !bytes.Equal(have, content) || fmt.Sprint(sent) != want {
		t.Errorf("%v, sent %v, want %s", err, sent, want)
	}
}

func TestRangesThatMakeNoSenseEndAnUpload(t *testing.T) {
	for _, next := range []string{"", "-", "-5", "abc", "9-3", "11", "0-11", "5-x", "99999999999999999999-", "0--1", "3-2"} {
		target := stranger(t, says(200, `{"nextExpectedRanges":[`+asJSON(next)+`]}`))
		w := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a session was begun") })
		_, err := upload(t, w, randomBytes(10), func(u *Upload) { u.URL = fob.NewSecret(target.URL + "/up") })
		wantError(t, err, "the service expects the range", "of a file of 10 bytes")
	}
	for next, want := range map[string]gap{"0": {0, 10}, "0-": {0, 10}, "4-7": {4, 8}, "9-9": {9, 10}, "4-9": {4, 10}, "4-10": {4, 10}, "10-": {10, 10}, " 3-": {3, 10}} {
		if got, err := (session{Next: []string{next}}).next(10); err != nil || got != want {
			t.Errorf("%q is %v, %v", next, got, err)
		}
	}
}

func TestPiecesThatDoNotGetThroughBecomeSmallerForAWhile(t *testing.T) {
	content := randomBytes(40 * pieceUnit)
	s := &storage{size: len(content)}
	var sizes []int64
	s.before = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != "PUT" {
			return false
		}
		sizes = append(sizes, r.ContentLength/pieceUnit)
		if len(s.have) == 8*pieceUnit && r.ContentLength > pieceUnit {
			breaks(w, r)
		}
		return false
	}
	w, begun := s.graph(t)
	_, err := upload(t, w, content, func(u *Upload) { u.Piece = 8*pieceUnit + 1 })
	if err != nil || !bytes.Equal(s.have, content) || *begun != 1 || fmt.Sprint(sizes) != "[8 8 4 2 1 2 4 8 8 8 1]" {
		t.Errorf("%v, pieces of %v units", err, sizes)
	}
}

func TestASessionThatIsProlongedIsTold(t *testing.T) {
	content := randomBytes(5 * pieceUnit)
	began := time.Now().Truncate(time.Second)
	s := &storage{size: len(content), expires: began}
	s.before = func(_ http.ResponseWriter, r *http.Request) bool {
		s.expires = began.Add(time.Duration(len(s.have)/pieceUnit) * 2 * time.Minute)
		return false
	}
	w, _ := s.graph(t)
	var told []time.Duration
	_, err := upload(t, w, content, func(u *Upload) {
		u.OnSession = func(s UploadSession) {
			if !s.URL.IsZero() {
				told = append(told, s.Expires.Sub(began))
			}
		}
	})
	if err != nil || fmt.Sprint(told) != "[0s 6m0s]" {
		t.Errorf("%v, told %v", err, told)
	}
}

func TestTheHeadersOfAnUploadGoWithItsBeginningOnly(t *testing.T) {
	content := randomBytes(10)
	s := &storage{size: len(content)}
	s.before = func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("If-Match") != "" {
			t.Error("the storage got a header of the caller's")
		}
		return false
	}
	target := s.serve(t)
	var match, kind string
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		match, kind = r.Header.Get("If-Match"), r.Header.Get("Content-Type")
		says(200, `{"uploadUrl":"`+target.URL+`/up"}`)(w, r)
	})
	_, err := upload(t, w, content, func(u *Upload) {
		u.Header = http.Header{"If-Match": {`"1"`}, "Content-Type": {"image/png"}}
	})
	if err != nil || match != `"1"` || kind != "application/json" {
		t.Errorf("%v: If-Match %s, Content-Type %s", err, match, kind)
	}
}

func TestAnUploadIsGivenUp(t *testing.T) {
	for status, fine := range map[int]bool{204: true, 404: true, 410: true, 403: false} {
		cancelled := 0
		target := stranger(t, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != "DELETE" || r.URL.RawQuery != "key=1" {
				t.Errorf("%s %s", r.Method, r.URL)
			}
			cancelled++
			says(status, "")(w, r)
		})
		w := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("home was asked") })
		err := w.CancelUpload(t.Context(), fob.NewSecret(target.URL+"/up?key=1"))
		if (err == nil) != fine || cancelled != 1 {
			t.Errorf("%d: %v", status, err)
		}
	}
	w := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("home was asked") })
	wantError(t, w.CancelUpload(t.Context(), fob.NewSecret("http://storage.example/x")), "not https")
}

// zeros is a file without a disk.
type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) { clear(p); return len(p), nil }

func TestAnUploadNeedsTheMemoryOfNoPiece(t *testing.T) {
	const size = 120 << 20
	var have int64
	target := stranger(t, func(w http.ResponseWriter, r *http.Request) {
		n, _ := io.Copy(io.Discard, r.Body)
		if have += n; have == size {
			says(201, `{"id":"item"}`)(w, r)
			return
		}
		says(202, fmt.Sprintf(`{"nextExpectedRanges":["%d-"]}`, have))(w, r)
	})
	w := serve(t, says(200, `{"uploadUrl":"`+target.URL+`/up"}`))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := upload(t, w, nil, func(u *Upload) { u.Content, u.Size, u.Piece = zeros{}, size, maxPiece })
	runtime.ReadMemStats(&after)
	// Of both sides together.
	if used := after.TotalAlloc - before.TotalAlloc; err != nil || used > 4<<20 {
		t.Errorf("%v: %d KiB were allocated", err, used>>10)
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
