package interop

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// app is the server of an app that waits for the answer to a sign-in.
type app struct {
	redirect string // http://localhost and a port
	got      chan url.Values
}

func newApp(t *testing.T) *app {
	t.Helper()
	a := &app{got: make(chan url.Values, 1)}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		a.got <- r.Form
		io.WriteString(w, "you may close this window")
	}))
	t.Cleanup(srv.Close)
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	a.redirect = "http://localhost:" + u.Port()
	return a
}

// answer sends somebody to sign in and returns what the app was told.
func (a *app) answer(t *testing.T, who *person, address string) url.Values {
	t.Helper()
	if err := who.visit(address); err != nil {
		t.Fatal(err)
	}
	got := <-a.got
	if got.Has("error") {
		t.Fatalf("the app was told %s", got)
	}
	return got
}
