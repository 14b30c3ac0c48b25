package fob

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// deviceServer answers device code requests with device, and polls with polls
// in turn. The emulator never says slow_down unasked, and never lies.
func deviceServer(t *testing.T, device string, polls ...string) (*Client, *[]time.Duration) {
	t.Helper()
	var mu sync.Mutex // guards polls: a dropped connection's handler may still run
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if strings.HasSuffix(r.URL.Path, "/devicecode") {
			io.WriteString(w, device)
			return
		}
		mu.Lock()
		if len(polls) == 0 {
			mu.Unlock()
			t.Error("polled on after the end")
			w.WriteHeader(http.StatusTeapot)
			return
		}
		answer := polls[0]
		polls = polls[1:]
		mu.Unlock()
		switch {
		case answer == "drop":
			panic(http.ErrAbortHandler)
		case strings.HasPrefix(answer, "<"):
			w.WriteHeader(http.StatusBadGateway)
		case !strings.Contains(answer, "access_token"):
			w.WriteHeader(http.StatusBadRequest)
			answer = `{"error":"` + answer + `"}`
		}
		io.WriteString(w, answer)
	}))
	t.Cleanup(server.Close)
	var waits []time.Duration
	now := time.Now()
	return &Client{
		Authority: Authority{Host: server.URL, Tenant: "t.example"}, ID: "id",
		Flow: DeviceCode{Prompt: func(context.Context, DeviceCodePrompt) error { return nil }},
		Now:  func() time.Time { return now },
		sleep: func(ctx context.Context, d time.Duration) error {
			waits = append(waits, d)
			now = now.Add(d)
			return ctx.Err()
		},
	}, &waits
}

const (
	device = `{"device_code":"dc","user_code":"ABC","verification_uri":"https://microsoft.com/devicelogin","expires_in":900,"interval":2,"message":"m"}`
	atLast = `{"access_token":"at","token_type":"Bearer","expires_in":3599}`
)

func spans(n ...int) []time.Duration {
	var d []time.Duration
	for _, s := range n {
		d = append(d, time.Duration(s)*time.Second)
	}
	return d
}

func TestPollingKeepsTheServersIntervalAndSlowsDownForGood(t *testing.T) {
	for name, test := range map[string]struct {
		device string
		polls  []string
		waits  []time.Duration
	}{
		"pending":             {device, []string{"authorization_pending", "authorization_pending", atLast}, spans(2, 2, 2)},
		"slow down":           {device, []string{"slow_down", "authorization_pending", "slow_down", atLast}, spans(2, 7, 7, 12)},
		"no interval":         {strings.Replace(device, `,"interval":2`, "", 1), []string{"authorization_pending", atLast}, spans(5, 5)},
		"interval in a text":  {strings.Replace(device, `:2,`, `:"3",`, 1), []string{atLast}, spans(3)},
		"interval of a year":  {strings.Replace(device, `:2,`, `:31536000,`, 1), []string{atLast}, spans(60)},
		"lost connection":     {device, []string{"drop", atLast}, spans(2, 2)},
		"gateway in trouble":  {device, []string{"<html>", "<html>", atLast}, spans(2, 2, 2)},
		"the server is sorry": {device, []string{"temporarily_unavailable", atLast}, spans(2, 2)},
	} {
		c, waits := deviceServer(t, test.device, test.polls...)
		if _, err := c.Token(t.Context(), Request{Scopes: []string{"User.Read"}}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if !slices.Equal(*waits, test.waits) {
			t.Errorf("%s: waited %v, want %v", name, *waits, test.waits)
		}
	}
}

func TestPollingEndsAtEveryOtherErrorAndAtTheEndOfTheCode(t *testing.T) {
	for _, code := range []string{"authorization_declined", "bad_verification_code", "expired_token", "invalid_client", "invalid_grant", "access_denied", "something_new"} {
		c, _ := deviceServer(t, device, "authorization_pending", code)
		_, err := c.Token(t.Context(), Request{Scopes: []string{"User.Read"}})
		var refusal *Error
		if !errors.As(err, &refusal) || refusal.Code != code {
			t.Errorf("%s: got %v", code, err)
		}
	}
	pending := slices.Repeat([]string{"authorization_pending"}, 449)
	c, waits := deviceServer(t, device, pending...)
	_, err := c.Token(t.Context(), Request{Scopes: []string{"User.Read"}})
	if !errors.Is(err, ErrInteraction) || !strings.Contains(err.Error(), "not used in time") || len(*waits) != 450 {
		t.Errorf("after %d waits: %v", len(*waits), err)
	}
	// Whoever entered the code in time is not told that it was too late.
	c, _ = deviceServer(t, device, slices.Repeat([]string{"drop"}, 449)...)
	if _, err := c.Token(t.Context(), Request{Scopes: []string{"User.Read"}}); !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrInteraction) {
		t.Errorf("a server that was never reached: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	c, _ = deviceServer(t, device)
	c.Flow = DeviceCode{Prompt: func(context.Context, DeviceCodePrompt) error { cancel(); return nil }}
	if _, err := c.Token(ctx, Request{Scopes: []string{"User.Read"}}); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled wait: %v", err)
	}
}

// locked is a proxy that has refused a password for good.
type locked struct{}

func (locked) Error() string   { return "the proxy refuses the password" }
func (locked) Permanent() bool { return true }

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestPollingEndsWhenTheTransportSaysForGood(t *testing.T) {
	c, waits := deviceServer(t, device)
	c.HTTP = &http.Client{Transport: transportFunc(func(r *http.Request) (*http.Response, error) {
		if strings.HasSuffix(r.URL.Path, "/token") {
			return nil, locked{}
		}
		return http.DefaultTransport.RoundTrip(r)
	})}
	_, err := c.Token(t.Context(), Request{Scopes: []string{"User.Read"}})
	var final locked
	if !errors.As(err, &final) || !errors.Is(err, ErrUnavailable) || len(*waits) != 1 {
		t.Errorf("after %d polls: %v", len(*waits), err)
	}
}

func TestADeviceCodeThatCannotBeShownIsRefused(t *testing.T) {
	for name, answer := range map[string]string{
		"page is a script":      strings.Replace(device, "https://microsoft.com/devicelogin", "javascript:alert(1)", 1),
		"page is plain http":    strings.Replace(device, "https://microsoft.com", "http://microsoft.com", 1),
		"page with line breaks": strings.Replace(device, "devicelogin", `device\nlogin`, 1),
		"no page":               strings.Replace(device, "verification_uri", "other", 1),
		"no user code":          strings.Replace(device, "user_code", "other", 1),
		"no device code":        strings.Replace(device, `"device_code"`, `"other"`, 1),
		"no end":                strings.Replace(device, "expires_in", "other", 1),
		"code with a space":     strings.Replace(device, `"dc"`, `"d c"`, 1),
	} {
		c, _ := deviceServer(t, answer)
		if _, err := c.Token(t.Context(), Request{Scopes: []string{"User.Read"}}); err == nil || !strings.Contains(err.Error(), "no usable answer") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
