package fob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// browse sends what a browser would, without following or pooling anything.
func browse(t *testing.T, method, address, host string, form url.Values) (int, string) {
	t.Helper()
	var body io.Reader
	if method == http.MethodPost {
		body = strings.NewReader(form.Encode())
	} else if form != nil {
		address += "?" + form.Encode()
	}
	r, err := http.NewRequestWithContext(t.Context(), method, address, body)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		r.Host = host
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(text)
}

func TestTheLoopbackListenerTakesOneAnswerWithItsState(t *testing.T) {
	for _, method := range []string{http.MethodGet, http.MethodPost} {
		cb, err := listenForCallback(0, "the-state")
		if err != nil {
			t.Fatal(err)
		}
		at := fmt.Sprintf("http://127.0.0.1:%d/", cb.port)
		good := url.Values{"state": {"the-state"}, "code": {"the-code"}}
		for name, test := range map[string]struct {
			method, path, host string
			form               url.Values
			status             int
		}{
			"another host name":      {method, "", "evil.example", good, 421},
			"another port":           {method, "", "localhost:1", good, 421},
			"another path":           {method, "favicon.ico", "", nil, 404},
			"another method":         {http.MethodPut, "", "", nil, 405},
			"no state":               {method, "", "", url.Values{"code": {"x"}}, 400},
			"wrong state":            {method, "", "", url.Values{"code": {"x"}, "state": {"guess"}}, 400},
			"state twice":            {method, "", "", url.Values{"code": {"x"}, "state": {"the-state", "guess"}}, 400},
			"code twice":             {method, "", "", url.Values{"code": {"x", "y"}, "state": {"the-state"}}, 400},
			"neither code nor error": {method, "", "", url.Values{"state": {"the-state"}}, 400},
		} {
			if status, _ := browse(t, test.method, at+test.path, test.host, test.form); status != test.status {
				t.Errorf("%s %s: %d, want %d", method, name, status, test.status)
			}
		}
		if status, text := browse(t, method, at, "", good); status != 200 || !strings.Contains(text, "Done in the browser") {
			t.Errorf("%s: good answer: %d %s", method, status, text)
		}
		if status, _ := browse(t, method, at, "", good); status != http.StatusGone {
			t.Errorf("%s: a second answer: %d", method, status)
		}
		answer, err := cb.wait(t.Context())
		if err != nil || answer.Get("code") != "the-code" {
			t.Errorf("%s: %v, %v", method, answer, err)
		}
		cb.close()
		if conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", cb.port)); err == nil {
			conn.Close()
			t.Errorf("%s: still listening after the end", method)
		}
	}
}

func TestTheLoopbackListenerAnswersBothLoopbackAddresses(t *testing.T) {
	cb, err := listenForCallback(0, "s")
	if err != nil {
		t.Fatal(err)
	}
	defer cb.close()
	for _, address := range []string{"127.0.0.1", "::1"} {
		conn, err := net.Dial("tcp", net.JoinHostPort(address, fmt.Sprint(cb.port)))
		if err != nil {
			if probe, err := net.Listen("tcp6", "[::1]:0"); err != nil && address == "::1" {
				continue // this machine has no IPv6
			} else if err == nil {
				probe.Close()
			}
			t.Errorf("%s: %v", address, err)
			continue
		}
		conn.Close()
	}
}

func TestAPortThatSomebodyElseHasOnOneLoopbackAddressDoesNotDo(t *testing.T) {
	other, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("this machine has no IPv6")
	}
	defer other.Close()
	if cb, err := listenForCallback(other.Addr().(*net.TCPAddr).Port, "s"); err == nil {
		cb.close()
		t.Error("a browser that goes to ::1 gives the answer to another program")
	}
}

func TestTheRefusalOfTheSignInPageIsReported(t *testing.T) {
	client := &Client{ID: "id", Flow: AuthorizationCode{Open: func(_ context.Context, page string) error {
		u, err := url.Parse(page)
		if err != nil {
			return err
		}
		q := u.Query()
		browse(t, http.MethodPost, q.Get("redirect_uri"), "", url.Values{"state": {q.Get("state")}, "error": {"access_denied"},
			"error_description": {"AADSTS65004: User declined.\x1b[31m\r\nTrace ID: t1\r\nCorrelation ID: c1\r\nTimestamp: 2026-01-05 10:11:12Z"}})
		return nil
	}}}
	_, err := client.Token(t.Context(), Request{Scopes: []string{"User.Read"}})
	var refusal *Error
	if !errors.As(err, &refusal) || refusal.Code != "access_denied" || refusal.AADSTS() != 65004 || refusal.CorrelationID != "c1" || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("got %v", err)
	}
}

func TestTheSignInEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	client := &Client{ID: "id", Flow: AuthorizationCode{Open: func(context.Context, string) error { cancel(); return nil }}}
	if _, err := client.Token(ctx, Request{Scopes: []string{"User.Read"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
