package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fobauth/fob"
)

const testScope = "https://graph.microsoft.com/.default"

// tokens is a source that counts. Every token contains the word "secret".
type tokens struct {
	mu    sync.Mutex // guards asked
	asked []fob.Request
}

func (s *tokens) Token(_ context.Context, req fob.Request) (*fob.Token, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, req)
	name := "secret"
	if req.Claims != "" {
		name = "secret-with-claims"
	}
	return &fob.Token{Access: fob.NewSecret(name), Type: "Bearer", Expires: time.Now().Add(time.Hour)}, nil
}

// clock is a time that only moves by waiting.
type clock struct {
	mu    sync.Mutex // guards the fields below
	now   time.Time
	waits []time.Duration
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) sleep(ctx context.Context, d time.Duration) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
	c.waits = append(c.waits, d)
	return ctx.Err()
}

func (c *clock) waited() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.waits)
}

// world is a client, the service that it calls, and the time between them.
type world struct {
	*Client
	server *httptest.Server
	source *tokens
	clock  *clock
}

func serve(t testing.TB, handler http.HandlerFunc) *world {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // faults are what is tested
	server.Start()
	t.Cleanup(server.Close)
	w := &world{server: server, source: &tokens{}, clock: &clock{now: time.Now().Truncate(time.Second)}}
	w.Client = &Client{
		Source:    w.source,
		Base:      server.URL + "/v1.0",
		Audiences: map[string]string{server.URL: testScope},
		HTTP:      &http.Client{Transport: &http.Transport{MaxResponseHeaderBytes: 64 << 10}},
		Now:       w.clock.Now,
		sleep:     w.clock.sleep,
		jitter:    func() float64 { return 0 },
		Stall:     10 * time.Second,
	}
	t.Cleanup(w.HTTP.CloseIdleConnections)
	return w
}

// stranger is a server that must never see a token.
func stranger(t testing.TB, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		noToken(t, r)
		handler(w, r)
	}))
	t.Cleanup(server.Close)
	return server
}

func noToken(t testing.TB, r *http.Request) {
	for name, values := range r.Header {
		if v := strings.Join(values, " "); strings.Contains(v, "secret") || name == "Authorization" || name == "Cookie" {
			t.Errorf("%s was sent to a stranger: %s", name, v)
		}
	}
	if strings.Contains(r.URL.String(), "secret") {
		t.Errorf("a token was sent to a stranger: %s", r.URL)
	}
}

// answers gives one answer after the other, the last one again and again.
func answers(list ...http.HandlerFunc) http.HandlerFunc {
	var mu sync.Mutex
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		next := list[0]
		if len(list) > 1 {
			list = list[1:]
		}
		mu.Unlock()
		next(w, r)
	}
}

func says(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

// breaks ends the connection without an answer.
func breaks(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }

func get(t testing.TB, w *world, address string) (string, error) {
	t.Helper()
	return do(t, w, http.MethodGet, address, "")
}

func do(t testing.TB, w *world, method, address, body string) (string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := w.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	return string(text), err
}

func collect(t testing.TB, w *world, address string) ([]string, error) {
	t.Helper()
	var all []string
	for item, err := range w.Pages(t.Context(), address, nil) {
		if err != nil {
			return all, err
		}
		all = append(all, string(item))
	}
	return all, nil
}

func wantError(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	text := err.Error()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("error %q does not say %q", text, part)
		}
	}
	if strings.Contains(text, "secret") || strings.ContainsAny(text, "\n\x1b") {
		t.Errorf("error %q holds what no error may hold", text)
	}
}

func asJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(err)
	}
	return string(text)
}
