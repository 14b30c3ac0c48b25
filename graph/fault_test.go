package graph

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fobauth/fob"
)

// raw answers with bytes instead of HTTP.
func raw(answer func(net.Conn)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer conn.Close()
		answer(conn)
	}
}

func rawText(text string) http.HandlerFunc {
	return raw(func(c net.Conn) { io.WriteString(c, text) })
}

// bomb is 64 MiB of one letter, which travel as 64 KiB. A compressed text may
// consist of several, so that the letters need not be compressed again and again.
var bomb = sync.OnceValue(func() []byte {
	compressed := func(text []byte) []byte {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(text)
		z.Close()
		return b.Bytes()
	}
	return append(compressed([]byte(`{"value":["`)), bytes.Repeat(compressed(bytes.Repeat([]byte("x"), 1<<20)), 64)...)
})

func endless(w io.Writer, chunk string) {
	for {
		if _, err := io.WriteString(w, chunk); err != nil {
			return
		}
	}
}

const ok200 = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"

// A fault is something that networks, proxies and services do to a client. In
// calls named by fine it is none: they take any answer as it is.
type fault struct {
	name   string
	answer http.HandlerFunc
	fine   []string
	says   string // in the error of every call
}

func faults(stop <-chan struct{}, strangerURL string) []fault {
	anyBody := []string{"get", "post", "download"}
	claims := `Bearer error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte(`{"access_token":{}}`)) + `"`
	return []fault{
		{"connection closed", breaks, nil, "broke"},
		{"closed within the header", rawText(ok200[:25]), nil, "broke"},
		{"closed within the body", rawText(ok200 + "Content-Length: 100\r\n\r\n{\"value\":["), nil, "broke"},
		{"closed within a chunk", rawText(ok200 + "Transfer-Encoding: chunked\r\n\r\n50\r\n{\"value\":["), nil, "broke"},
		{"silence", raw(func(c net.Conn) { <-stop }), nil, "stood still"},
		{"silence within the body", raw(func(c net.Conn) { io.WriteString(c, ok200+"Content-Length: 100\r\n\r\n{"); <-stop }), nil, "stood still"},
		{"not HTTP", rawText("SSH-2.0-OpenSSH_9.2\r\n"), nil, "malformed"},
		{"endless header", raw(func(c net.Conn) { io.WriteString(c, ok200); endless(c, "X-A: "+strings.Repeat("a", 1000)+"\r\n") }), nil, "header"},
		{"endless 100 Continue", raw(func(c net.Conn) { endless(c, "HTTP/1.1 103 Early Hints\r\n\r\n") }), nil, "header"},
		{"endless body", raw(func(c net.Conn) {
			io.WriteString(c, ok200+"\r\n{\"value\":[\"")
			endless(c, strings.Repeat("x", 64<<10))
		}), []string{"get", "post"}, ""},
		{"compressed bomb", says(200, string(bomb()), "Content-Encoding", "gzip"), anyBody, ""},
		{"broken compression", says(200, "no gzip at all", "Content-Encoding", "gzip"), nil, "gzip"},
		{"empty answer", says(200, ""), anyBody, ""},
		{"HTML with status 200", says(200, "<!DOCTYPE html><title>Sign in</title>", "Content-Type", "text/html"), anyBody, "HTML page"},
		{"HTML with status 502", says(502, "<html>Bad gateway</html>", "Content-Type", "text/html"), nil, "HTML page"},
		{"broken JSON", says(200, `{"value":[{"a":tru}]}`), anyBody, ""},
		{"JSON that ends early", says(200, `{"value":[{"a":1}`), anyBody, ""},
		{"JSON of another kind", says(200, `["a"]`), anyBody, ""},
		{"deep JSON", says(200, `{"value":`+strings.Repeat("[", 200_000)), anyBody, ""},
		{"throttled forever", says(429, `{"error":{"code":"TooManyRequests","message":"slow down"}}`), nil, "slow down"},
		{"throttled for a year", says(429, `{"error":{"code":"TooManyRequests","message":"slow down"}}`, "Retry-After", "31536000"), nil, ""},
		{"down forever", says(503, "", "Retry-After", "rubbish"), nil, "HTTP 503"},
		{"redirect loop", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) }, nil, "redirect"},
		{"redirect to a stranger over http", says(307, "", "Location", "http://stranger.example/?x"), nil, ""},
		{"redirect to a failing stranger", says(302, "", "Location", strangerURL), nil, ""},
		{"escape sequences", says(400, `{"error":{"code":"\u001b[2J","message":"a\r\nb\u009b31m\u202e"}}`), nil, "HTTP 400"},
		{"token echoed", says(400, `{"error":{"code":"x","message":"bad token eyJhbGciOiJub25lIn0.eyJzZWNyZXQiOjF9.secret"}}`), nil, "[redacted]"},
		{"claims challenge forever", says(401, `{"error":{"code":"InvalidAuthenticationToken","message":"challenge"}}`, "WWW-Authenticate", claims), nil, "challenge"},
	}
}

// calls is every way to call a service.
func calls(t testing.TB, ctx context.Context, w *world, pieces string) map[string]func() error {
	send := func(method string) func() error {
		return func() error {
			req, _ := http.NewRequestWithContext(ctx, method, "/users", strings.NewReader("{}"))
			resp, err := w.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			_, err = io.CopyN(io.Discard, resp.Body, 1<<20)
			if err == io.EOF {
				err = nil
			}
			return err
		}
	}
	return map[string]func() error{
		"get":  send("GET"),
		"post": send("POST"),
		"pages": func() error {
			for _, err := range w.Pages(ctx, "/users", nil) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"delta": func() error {
			for _, err := range w.Delta("/users/delta", nil).Items(ctx) {
				if err != nil {
					return err
				}
			}
			return nil
		},
		"count":  func() error { _, err := w.Count(ctx, "/users"); return err },
		"export": func() error { _, err := w.Export(ctx, discard{}, "/users", ExportOptions{}); return err },
		"export in parts": func() error {
			_, err := w.Export(ctx, discard{}, "/users", ExportOptions{Parallel: 2})
			return err
		},
		"export to a file": func() error {
			_, err := w.ExportFile(ctx, filepath.Join(t.TempDir(), "x"), "/users", ExportOptions{})
			return err
		},
		"batch": func() error {
			got, err := w.Batch(ctx, []BatchRequest{{URL: "/me"}, {URL: "/users", Method: "POST"}})
			if err == nil {
				err = got[0].Err
			}
			return err
		},
		"upload": func() error {
			_, err := w.Upload(ctx, Upload{Session: "/createUploadSession", Content: bytes.NewReader(randomBytes(9)), Size: 9})
			return err
		},
		"upload of a piece": func() error {
			_, err := w.Upload(ctx, Upload{Session: pieces, Content: bytes.NewReader(randomBytes(9)), Size: 9})
			return err
		},
		"download": func() error {
			_, err := w.Download(ctx, "/content", smallDisk{}, Download{})
			return err
		},
	}
}

type smallDisk struct{}

func (smallDisk) WriteAt(p []byte, at int64) (int, error) {
	if at > 4<<20 {
		return 0, errDiskFull
	}
	return len(p), nil
}

// TestEveryFaultEndsEveryCallWithOneClearLine sends every fault into every
// call. Each must end by itself, long before its deadline, after a bounded
// number of requests, with a message that names what was called in one line.
func TestEveryFaultEndsEveryCallWithOneClearLine(t *testing.T) {
	stop := make(chan struct{})
	t.Cleanup(func() { close(stop) })
	failing := stranger(t, says(403, "<html>no</html>", "Content-Type", "text/html"))
	table := faults(stop, failing.URL)
	if len(table) < 22 {
		t.Fatalf("%d faults", len(table))
	}
	for _, f := range table {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			var requests atomic.Int64
			w := serve(t, func(w http.ResponseWriter, r *http.Request) {
				requests.Add(1)
				if r.URL.Path == "/v1.0/good" {
					says(200, `{"uploadUrl":"http://`+r.Host+`/up?tempauth=secret-key"}`)(w, r)
					return
				}
				if r.URL.Path == "/up" && r.Header.Get("Authorization") != "" {
					t.Error("the upload URL got a token")
				}
				f.answer(w, r)
			})
			if strings.HasPrefix(f.name, "silence") {
				w.Stall = 15 * time.Millisecond
			}
			w.jitter = func() float64 { return 0.5 }
			w.MaxPage = 1 << 20
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			all := calls(t, ctx, w, "/good")
			for name, call := range all {
				requests.Store(0)
				err := call()
				if slices.Contains(f.fine, name) && (err == nil || name == "download") {
					continue
				}
				if err == nil {
					t.Errorf("%s: no error", name)
					continue
				}
				if ctx.Err() != nil {
					t.Fatalf("%s: only ended with its deadline: %v", name, err)
				}
				text := err.Error()
				if name != "get" && name != "post" || !errors.Is(err, io.ErrUnexpectedEOF) {
					if !strings.Contains(text, f.says) && name != "download" {
						t.Errorf("%s: %q does not say %q", name, text, f.says)
					}
				}
				if strings.ContainsAny(text, "\r\n\x1b\u009b\u202e") || strings.Contains(text, "secret") || len(text) > 400 {
					t.Errorf("%s: the message is not fit to be shown: %q", name, text)
				}
				if n := requests.Load(); n > 60 {
					t.Errorf("%s: %d requests", name, n)
				}
			}
		})
	}
}

func TestAnAnswerThatComesByDropsIsGivenUp(t *testing.T) {
	for name, status := range map[string]string{"an answer": ok200, "a refusal": "HTTP/1.1 400 Bad Request\r\n"} {
		w := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/v1.0/good" {
				says(200, `{"uploadUrl":"http://`+r.Host+`/up"}`)(w, r)
				return
			}
			raw(func(c net.Conn) {
				io.WriteString(c, status+"Content-Length: 100000\r\n\r\n{")
				drops := time.NewTicker(time.Millisecond)
				defer drops.Stop()
				for range drops.C {
					if _, err := io.WriteString(c, " "); err != nil {
						return
					}
				}
			})(w, r)
		})
		// In this time a connection that moves brings more than a drop a
		// millisecond.
		w.Stall = 50 * time.Millisecond
		w.Patience = -1
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for call, do := range calls(t, ctx, w, "/good") {
			if call == "download" || name == "an answer" && (call == "get" || call == "post") {
				continue // what came is passed on
			}
			if err := do(); ctx.Err() != nil || err == nil || name == "an answer" && !errors.Is(err, fob.ErrUnavailable) {
				t.Errorf("%s of %s: %v", name, call, err)
			}
		}
	}
}

func TestAServiceThatIsNotTrustedGotNothing(t *testing.T) {
	stranger := httptest.NewUnstartedServer(says(200, "{}"))
	stranger.Config.ErrorLog = log.New(io.Discard, "", 0)
	stranger.StartTLS()
	t.Cleanup(stranger.Close)
	other := httptest.NewServer(says(200, "{}"))
	t.Cleanup(other.Close)
	for _, address := range []string{stranger.URL, "https" + strings.TrimPrefix(other.URL, "http")} {
		w := serve(t, says(200, ""))
		w.Base = address + "/v1.0"
		w.Audiences[address] = testScope
		_, err := do(t, w, "POST", "/users", "{}")
		if err == nil || strings.Contains(err.Error(), "carried out") || len(w.clock.waited()) > 0 {
			t.Errorf("%v, after %v", err, w.clock.waited())
		}
	}
}

func TestAServiceThatIsNotThereEndsEveryCall(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := "http://" + listener.Addr().String()
	listener.Close()
	w := serve(t, says(200, ""))
	w.Base = address + "/v1.0"
	w.Audiences[address] = testScope
	for name, call := range calls(t, t.Context(), w, "/good") {
		err := call()
		if wantError(t, err, "refused"); !strings.Contains(fmt.Sprint(err), "/v1.0/") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
