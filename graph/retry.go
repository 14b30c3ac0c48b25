package graph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fobauth/fob/internal/origin"
)

// Wait is a pause before something is tried again.
type Wait struct {
	Method string        // of the request
	Place  string        // host and path, without the query
	Status int           // what was answered; 0 if nothing was
	Err    error         // why nothing was answered; nil if something was
	For    time.Duration // how long
	Try    int           // how many tries there were; 0 while others are throttled
}

// retrying tries a request again while that is safe and the client has
// patience.
type retrying struct {
	base http.RoundTripper
	c    *Client
	how  call
}

func (r retrying) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	tries := r.c.attempts(req.Method, r.how)
	again := req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
	var before error // why the last attempt got no answer
	for attempt := req; ; {
		if err := r.c.lanes.wait(ctx, r.c, req); err != nil {
			closeBody(attempt.Body)
			return nil, err
		}
		resp, err := r.base.RoundTrip(attempt)
		r.c.lanes.learn(r.c, req.URL, resp)
		if !again || !tries.again(ctx, resp, err) {
			if resp != nil && resp.StatusCode >= 400 && ctx.Err() != nil {
				// The caller gave up while waiting: that is the news.
				resp.Body.Close()
				return nil, ctx.Err()
			}
			if before != nil && tries.repeatable && errors.Is(err, context.DeadlineExceeded) {
				err = before // says more than that the time is over
			}
			return resp, err
		}
		before = err
		if resp != nil {
			drain(resp.Body)
		}
		attempt = req.Clone(ctx)
		if req.GetBody != nil {
			if attempt.Body, err = req.GetBody(); err != nil {
				return nil, fmt.Errorf("reading the body once more: %w", err)
			}
		}
	}
}

// drain reads what is left of an answer, so that its connection can be used
// again, unless that would take longer than a new one.
func drain(body io.ReadCloser) {
	io.CopyN(io.Discard, body, 64<<10)
	body.Close()
}

// attempts counts the tries of one call and decides about the next.
type attempts struct {
	c          *Client
	method     string
	how        call
	repeatable bool // doing it twice is as good as once
	tries      int
	failures   int // tries that ended in neither an answer nor a throttle
	waited     time.Duration
}

func (c *Client) attempts(method string, how call) *attempts {
	return &attempts{c: c, method: method, how: how, repeatable: isRepeatable(method, how)}
}

func isRepeatable(method string, how call) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodDelete, http.MethodOptions:
		return true
	}
	return how.safe
}

// maxFailures bounds the tries that a failing service or network gets. One
// that throttles is only bounded by the client's patience.
const maxFailures = 5

// again decides whether to try once more after resp or err, and waits until
// then.
func (a *attempts) again(ctx context.Context, resp *http.Response, err error) bool {
	status, asked, named := 0, time.Duration(0), false
	if resp != nil {
		status = resp.StatusCode
		asked, named = retryAfter(resp.Header, a.c.now())
	}
	if !a.worth(status, named, err) {
		return false
	}
	return a.pause(ctx, status, asked, err)
}

// worth decides whether the same request could do better and does no harm.
// named says that the service told when to come again, which it does before it
// has done anything.
func (a *attempts) worth(status int, named bool, err error) bool {
	a.tries++
	switch {
	case err != nil:
		a.failures++
		var lost *unreachable
		return errors.As(err, &lost) && !lost.hopeless() && (a.repeatable || lost.unsent()) && a.failures < maxFailures
	case status == 429 || status == 503 || status == 509:
		return a.repeatable || named
	case status == 408 || status == 500 || status == 502 || status == 504:
		a.failures++
		return a.repeatable && a.failures < maxFailures
	}
	return false
}

// pause waits as long as was asked, or longer every time if nothing was. It
// reports false, without waiting, if that is longer than the client's patience
// or the time that ctx leaves.
func (a *attempts) pause(ctx context.Context, status int, asked time.Duration, err error) bool {
	d := asked
	if d > 0 {
		// A little late, each client a little differently.
		d += time.Duration(a.c.random() * min(float64(asked)/10, float64(5*time.Second)))
	} else {
		most := min(time.Second<<min(a.tries-1, 6), time.Minute)
		d = max(time.Duration(a.c.random()*float64(most)), 100*time.Millisecond)
	}
	if a.waited+d > a.c.patience() || !a.c.leaves(ctx, d) {
		return false
	}
	a.waited += d
	if a.c.OnWait != nil {
		a.c.OnWait(Wait{Method: a.method, Place: a.how.place(), Status: status, Err: err, For: d, Try: a.tries})
	}
	return a.c.pause(ctx, d) == nil
}

func (c *Client) patience() time.Duration {
	if c.Patience == 0 {
		return 5 * time.Minute
	}
	return c.Patience
}

// orEnd is err, or that the caller gave up, which explains all the rest.
func orEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// leaves reports whether ctx lasts longer than d from now.
func (c *Client) leaves(ctx context.Context, d time.Duration) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() == nil && (!ok || c.now().Add(d).Before(deadline))
}

func (c *Client) pause(ctx context.Context, d time.Duration) error {
	c.waited.Add(int64(d))
	if c.sleep != nil {
		return c.sleep(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) random() float64 {
	if c.jitter != nil {
		return c.jitter()
	}
	return rand.Float64()
}

// retryAfter reads how long a service wants to be left alone: seconds, also
// decimal ones, or a date, which is compared with the service's own clock if
// it told that. Of Retry-After and SharePoint's RateLimit-Reset the longer
// counts. Rubbish, and what is not in the future, is nothing.
func retryAfter(h http.Header, now time.Time) (d time.Duration, named bool) {
	if s := strings.TrimSpace(h.Get("Retry-After")); s != "" {
		if date, err := http.ParseTime(s); err == nil {
			if server, err := http.ParseTime(h.Get("Date")); err == nil {
				now = server
			}
			d, named = min(date.Sub(now), longest), true
		} else {
			d, named = parseSeconds(s)
		}
	}
	if h.Get("RateLimit-Remaining") == "0" {
		if reset, ok := parseSeconds(h.Get("RateLimit-Reset")); ok && reset > d {
			d, named = reset, true
		}
	}
	return max(d, 0), named
}

func parseSeconds(s string) (time.Duration, bool) {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || f < 0 || math.IsNaN(f) {
		return 0, false
	}
	return time.Duration(min(f, longest.Seconds()) * float64(time.Second)), true
}

// longest is longer than anybody's patience, and no sum with it overflows.
const longest = 24 * time.Hour

// lanes are the parts of services that throttle on their own. What one request
// is told goes for all that share its lane: requests made meanwhile count
// against the limit, too.
type lanes struct {
	mu    sync.Mutex // guards until
	until map[string]time.Time
}

// laneOf is the origin and the first word of the path behind the version.
func laneOf(u *url.URL) string {
	path := strings.TrimPrefix(u.Path, "/")
	first, rest, _ := strings.Cut(path, "/")
	if isVersion(first) {
		first, _, _ = strings.Cut(rest, "/")
	}
	return origin.Of(u) + "/" + strings.ToLower(first)
}

// learn closes the lane of u as long as its answer asks for.
func (l *lanes) learn(c *Client, u *url.URL, resp *http.Response) {
	if resp == nil {
		return
	}
	var asked time.Duration
	if resp.StatusCode == 429 || resp.StatusCode == 503 {
		asked, _ = retryAfter(resp.Header, c.now())
	} else if used := resp.Header.Get("X-Ms-Throttle-Limit-Percentage"); used != "" {
		// The directory tells from 0.8 of its limit on how much of it is used
		// up. Slowing down before 1 is faster than being stopped.
		if f, err := strconv.ParseFloat(used, 64); err == nil && f >= 0.9 && f < 10 {
			asked = time.Duration((f - 0.8) * float64(time.Second))
		}
	}
	if asked <= 0 {
		return
	}
	until := c.now().Add(asked)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until == nil {
		l.until = map[string]time.Time{}
	}
	if lane := laneOf(u); until.After(l.until[lane]) {
		l.until[lane] = until
	}
}

// wait holds a request back while its lane is closed.
func (l *lanes) wait(ctx context.Context, c *Client, req *http.Request) error {
	u := req.URL
	l.mu.Lock()
	until := time.Time{}
	if len(l.until) > 0 {
		until = l.until[laneOf(u)]
	}
	l.mu.Unlock()
	d := until.Sub(c.now())
	switch {
	case until.IsZero() || d <= 0:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case d > c.patience() || !c.leaves(ctx, d):
		return &Error{Method: req.Method, Host: shown(u.Host), Path: clean(u.Path), Status: http.StatusTooManyRequests, RetryAfter: d,
			Message: fmt.Sprintf("not sent: the service throttles and wants to be left alone for another %s, longer than there is time", d.Round(time.Second))}
	}
	// Not all that are held back at the same moment.
	d += time.Duration(c.random() * float64(d) / 10)
	if c.OnWait != nil {
		c.OnWait(Wait{Method: req.Method, Place: shown(u.Host), Status: http.StatusTooManyRequests, For: d})
	}
	return c.pause(ctx, d)
}
