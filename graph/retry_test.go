package graph

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fobauth/fob"
)

func TestRetryAfterIsReadInEveryForm(t *testing.T) {
	now := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		header []string
		want   time.Duration
		named  bool
	}{
		{nil, 0, false},
		{[]string{"Retry-After", "10"}, 10 * time.Second, true},
		{[]string{"Retry-After", "0.249"}, 249 * time.Millisecond, true},
		{[]string{"Retry-After", " 2.5 "}, 2500 * time.Millisecond, true},
		{[]string{"Retry-After", "Sun, 01 Mar 2026 08:00:30 GMT"}, 30 * time.Second, true},
		{[]string{"Retry-After", "Sun, 01 Mar 2026 09:00:30 GMT", "Date", "Sun, 01 Mar 2026 09:00:00 GMT"}, 30 * time.Second, true},
		{[]string{"Retry-After", "Sun, 01 Mar 2026 07:00:00 GMT"}, 0, true},
		{[]string{"Retry-After", "-5"}, 0, false},
		{[]string{"Retry-After", "soon"}, 0, false},
		{[]string{"Retry-After", "NaN"}, 0, false},
		{[]string{"Retry-After", "1e300"}, 24 * time.Hour, true},
		{[]string{"Retry-After", "1e9"}, 24 * time.Hour, true},
		{[]string{"Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"}, 24 * time.Hour, true},
		{[]string{"Retry-After", "-1e300"}, 0, false},
		{[]string{"Retry-After", "5", "RateLimit-Remaining", "0", "RateLimit-Reset", "7"}, 7 * time.Second, true},
		{[]string{"RateLimit-Remaining", "3", "RateLimit-Reset", "7"}, 0, false},
	} {
		h := http.Header{}
		for i := 0; i < len(test.header); i += 2 {
			h.Set(test.header[i], test.header[i+1])
		}
		if d, named := retryAfter(h, now); d != test.want || named != test.named {
			t.Errorf("%q: %v, %v; want %v, %v", test.header, d, named, test.want, test.named)
		}
	}
}

func TestOnlyWhatIsSafeIsSentAgain(t *testing.T) {
	throttled := []string{"Retry-After", "3"}
	for _, test := range []struct {
		method string
		answer http.HandlerFunc
		tries  int
	}{
		{"GET", says(429, "", throttled...), 2},
		{"GET", says(429, ""), 2},
		{"GET", says(503, ""), 2},
		{"GET", says(504, ""), 2},
		{"GET", says(500, ""), 2},
		{"GET", says(502, ""), 2},
		{"GET", breaks, 2},
		{"GET", says(400, ""), 1},
		{"GET", says(403, "", throttled...), 1},
		{"GET", says(501, ""), 1},
		{"PUT", says(500, ""), 2},
		{"PUT", breaks, 2},
		{"DELETE", says(503, ""), 2},
		{"POST", says(429, "", throttled...), 2},
		{"POST", says(503, "", throttled...), 2},
		{"POST", says(429, ""), 1},
		{"POST", says(503, ""), 1},
		{"POST", says(500, "", throttled...), 1},
		{"POST", says(504, "", throttled...), 1},
		{"POST", breaks, 1},
		{"PATCH", says(429, "", throttled...), 2},
		{"PATCH", says(502, ""), 1},
		{"PATCH", breaks, 1},
	} {
		var mu sync.Mutex // guards the fields below
		tries, bodies := 0, ""
		first := answers(test.answer, says(200, "ok"))
		w := serve(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			mu.Lock()
			tries++
			bodies += string(body)
			mu.Unlock()
			first(w, r)
		})
		_, err := do(t, w, test.method, "/x", "body")
		mu.Lock()
		if tries != test.tries || (err == nil) != (tries == 2) {
			t.Errorf("%s: %d tries, want %d; %v", test.method, tries, test.tries, err)
		}
		if want := strings.Repeat("body", tries); bodies != want {
			t.Errorf("%s: the tries carried %q, want %q", test.method, bodies, want)
		}
		mu.Unlock()
	}
}

func TestABodyThatCannotBeReadTwiceIsSentOnce(t *testing.T) {
	tries := 0
	w := serve(t, func(w http.ResponseWriter, r *http.Request) { tries++; says(429, "", "Retry-After", "1")(w, r) })
	req, _ := http.NewRequest("PUT", "/x", io.MultiReader(strings.NewReader("body")))
	_, err := w.Do(req)
	if wantError(t, err, "HTTP 429"); tries != 1 {
		t.Errorf("%d tries", tries)
	}
}

func TestABrokenPostSaysThatItMayHaveHappened(t *testing.T) {
	w := serve(t, breaks)
	_, err := do(t, w, "POST", "/users", "{}")
	wantError(t, err, "POST", "/v1.0/users", "may have been carried out")
	if !errors.Is(err, fob.ErrUnavailable) {
		t.Error("it is not marked as unavailable")
	}
}

func TestAWaitIsAsLongAsTheServiceAsks(t *testing.T) {
	w := serve(t, answers(says(429, "", "Retry-After", "17"), says(503, "", "Retry-After", "0.25"), says(200, "")))
	var told []Wait
	w.OnWait = func(wait Wait) { told = append(told, wait) }
	if _, err := get(t, w, "/users"); err != nil {
		t.Fatal(err)
	}
	waits := w.clock.waited()
	if len(waits) != 2 || waits[0] != 17*time.Second || waits[1] != 250*time.Millisecond {
		t.Errorf("waited %v", waits)
	}
	if len(told) != 2 || told[0].Status != 429 || told[0].For != 17*time.Second || told[1].Try != 2 || !strings.HasSuffix(told[0].Place, "/v1.0/users") {
		t.Errorf("was told of %+v", told)
	}
}

func TestWaitsGrowWithFullJitterWhereTheServiceNamesNone(t *testing.T) {
	w := serve(t, says(429, ""))
	w.jitter = func() float64 { return 0.5 }
	w.Patience = 2 * time.Minute
	_, err := get(t, w, "/users")
	wantError(t, err, "HTTP 429")
	waits := w.clock.waited()
	for i, want := range []float64{.5, 1, 2, 4, 8, 16} {
		if waits[i].Seconds() != want {
			t.Errorf("wait %d is %v", i, waits[i])
		}
	}
	var sum time.Duration
	for _, d := range waits {
		sum += d
	}
	if sum > w.Patience || sum < w.Patience-time.Minute {
		t.Errorf("waited %v in all, with a patience of %v", sum, w.Patience)
	}
}

func TestAWaitNeverPassesTheDeadline(t *testing.T) {
	w := serve(t, says(429, `{"error":{"code":"TooManyRequests","message":"m"}}`, "Retry-After", "60"))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, "GET", "/users", nil)
	_, err := w.Do(req)
	var e *Error
	if !errors.As(err, &e) || e.RetryAfter != time.Minute || len(w.clock.waited()) != 0 {
		t.Errorf("%v after waiting %v", err, w.clock.waited())
	}
}

// overdue is a context whose deadline is when done is closed.
type overdue struct {
	context.Context
	done chan struct{}
}

func (o overdue) Done() <-chan struct{} { return o.done }

func (o overdue) Err() error {
	select {
	case <-o.done:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

func TestWhatFailedBeforeTheDeadlineIsTold(t *testing.T) {
	ctx := overdue{t.Context(), make(chan struct{})}
	w := serve(t, answers(breaks, func(_ http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		close(ctx.done)
		<-r.Context().Done()
	}))
	req, _ := http.NewRequestWithContext(ctx, "GET", "/users", nil)
	_, err := w.Do(req)
	wantError(t, err, "the connection broke")
}

func TestAThrottleHoldsBackOtherRequestsToTheSamePart(t *testing.T) {
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			says(429, "", "Retry-After", "20")(w, r)
			return
		}
		says(200, "")(w, r)
	})
	w.Patience = 10 * time.Second
	_, err := do(t, w, "POST", "/users", "{}")
	wantError(t, err, "429")
	_, err = get(t, w, "/users/1")
	wantError(t, err, "GET", "/v1.0/users/1: not sent", "left alone for another 20s")
	var refused *Error
	if !errors.As(err, &refused) || refused.RetryAfter != 20*time.Second || !errors.Is(err, fob.ErrUnavailable) {
		t.Errorf("%+v", refused)
	}
	w.Patience = 0
	if _, err := get(t, w, "/groups"); err != nil || len(w.clock.waited()) != 0 {
		t.Errorf("groups: %v after %v", err, w.clock.waited())
	}
	if _, err := get(t, w, "/users/1"); err != nil {
		t.Fatal(err)
	}
	if waits := w.clock.waited(); len(waits) != 1 || waits[0] != 20*time.Second {
		t.Errorf("waited %v", waits)
	}
}

func TestTheClientSlowsDownBeforeItIsThrottled(t *testing.T) {
	w := serve(t, says(200, "", "X-Ms-Throttle-Limit-Percentage", "1.2"))
	for range 2 {
		if _, err := get(t, w, "/users"); err != nil {
			t.Fatal(err)
		}
	}
	if waits := w.clock.waited(); len(waits) != 1 || waits[0].Round(time.Millisecond) != 400*time.Millisecond {
		t.Errorf("waited %v", waits)
	}
}

func TestWithoutPatienceNothingIsTriedAgain(t *testing.T) {
	tries := 0
	w := serve(t, func(w http.ResponseWriter, r *http.Request) { tries++; says(503, "")(w, r) })
	w.Patience = -1
	if _, err := get(t, w, "/x"); err == nil || tries != 1 {
		t.Errorf("%v after %d tries", err, tries)
	}
}

func TestACertificateThatIsNotTrustedIsNotTriedAgain(t *testing.T) {
	server := httptest.NewUnstartedServer(says(200, ""))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	defer server.Close()
	w := serve(t, says(200, ""))
	w.Audiences[server.URL] = testScope
	_, err := get(t, w, server.URL+"/x")
	wantError(t, err, "certificate")
	if len(w.clock.waited()) != 0 {
		t.Errorf("waited %v", w.clock.waited())
	}
}

func TestAConnectionThatStandsStillIsGivenUp(t *testing.T) {
	done := make(chan struct{})
	w := serve(t, func(w http.ResponseWriter, r *http.Request) { <-done })
	defer close(done)
	w.Stall = 20 * time.Millisecond
	w.Patience = -1
	_, err := get(t, w, "/x")
	wantError(t, err, "stood still")
	if !errors.Is(err, fob.ErrUnavailable) {
		t.Error("it is not marked as unavailable")
	}
}

func TestAThrottleThatIsLongerThanAnybodysPatienceIsNotWaitedFor(t *testing.T) {
	requests := 0
	w := serve(t, func(w http.ResponseWriter, r *http.Request) { requests++; says(429, "", "Retry-After", "86400")(w, r) })
	for range 2 {
		_, err := get(t, w, "/users")
		if !errors.Is(err, fob.ErrUnavailable) {
			t.Error(err)
		}
	}
	if requests != 1 || len(w.clock.waited()) != 0 {
		t.Errorf("%d requests, waited %v", requests, w.clock.waited())
	}
	w = serve(t, says(503, "", "Retry-After", "Fri, 31 Dec 9999 23:59:59 GMT"))
	if _, err := get(t, w, "/users"); !errors.Is(err, fob.ErrUnavailable) || len(w.clock.waited()) != 0 {
		t.Errorf("%v, waited %v", err, w.clock.waited())
	}
}

func TestACallerWhoGivesUpWhileWaitingIsToldThat(t *testing.T) {
	w := serve(t, says(429, "", "Retry-After", "5"))
	for name := range calls(t, t.Context(), w, "/good") {
		ctx, cancel := context.WithCancel(t.Context())
		waits := 0
		w.OnWait = func(Wait) { waits++; cancel() }
		err := calls(t, ctx, w, "/good")[name]()
		if !errors.Is(err, context.Canceled) || waits == 0 {
			t.Errorf("%s: %v after %d waits", name, err, waits)
		}
		w.clock.sleep(t.Context(), time.Minute) // the service is not angry any more
	}
}
