package entratest

import (
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fobauth/fob/entratest/internal/sts"
)

// PendingDevice is a device code that waits for a person.
type PendingDevice struct {
	UserCode string    `json:"user_code"`
	ClientID string    `json:"client_id"`
	Tenant   string    `json:"tenant"` // as the client asked: an id, a domain or an alias
	Scope    string    `json:"scope"`
	Expires  time.Time `json:"expires"`
}

// PendingDevices returns the device codes that wait for a person, oldest first.
func (e *Emulator) PendingDevices() []PendingDevice {
	pending := []PendingDevice{}
	for _, d := range e.sts.PendingDevices() {
		pending = append(pending, PendingDevice(d))
	}
	return pending
}

// Approve signs a user (an object id or a user principal name) in at a device
// code, as a person would on the device page.
func (e *Emulator) Approve(userCode, user string) error { return e.sts.Approve(userCode, user) }

// Deny declines a device code.
func (e *Emulator) Deny(userCode string) error { return e.sts.Deny(userCode) }

// Now is the emulator's time.
func (e *Emulator) Now() time.Time { return e.world.Now() }

// Advance moves the emulator's clock, so that tokens and codes expire without
// waiting. TLS goes by the real clock.
func (e *Emulator) Advance(d time.Duration) { e.world.Advance(d) }

// SetTime sets the emulator's clock, which keeps running.
func (e *Emulator) SetTime(t time.Time) { e.world.SetTime(t) }

// RotateKeys makes a new key for signing tokens. The old keys stay published.
func (e *Emulator) RotateKeys() error { return e.sts.RotateKeys() }

// Revoke ends all sessions of a user (an object id or a user principal name):
// refresh tokens and sign-in cookies from before are refused, and Graph answers
// access tokens from before with a claims challenge if the client declared that
// it understands one.
func (e *Emulator) Revoke(user string) error { return e.sts.Revoke(user) }

// ChallengeClaims makes the next n calls to Graph whose token is good and says
// that its client understands claims challenges (xms_cc with cp1) answer 401
// with one, as continuous access evaluation does.
func (e *Emulator) ChallengeClaims(n int) { e.graph.ChallengeClaims(n) }

// Requests returns the requests answered so far, oldest first: the last 2,000.
func (e *Emulator) Requests() []Request { return e.log.all() }

// ClearRequests forgets the requests answered so far.
func (e *Emulator) ClearRequests() { e.log.clear() }

// Fault is a failure that a test asks for. At least one of Code, Status and
// Drop says what happens.
type Fault struct {
	// Path says which requests fail: "token" or "devicecode" is that endpoint of
	// any tenant, empty is both, and what begins with a slash is the beginning
	// of a path: "/v1.0/users", or "/" for everything. The requests inside of a
	// $batch have paths too: "/v1.0/users" makes those fail one by one.
	Path string `json:"path,omitempty"`
	// Code is an AADSTS number for the token and devicecode endpoints to refuse
	// with. OAuth and Suberror replace the OAuth error that the code usually
	// comes with, Claims adds a claims challenge (JSON).
	Code     int    `json:"code,omitempty"`
	OAuth    string `json:"oauth,omitempty"`
	Suberror string `json:"suberror,omitempty"`
	Claims   string `json:"claims,omitempty"`
	// Status is the HTTP status. Without a Code the body is what a front end in
	// trouble sends: HTML at sign-in, an error object at Graph.
	Status int `json:"status,omitempty"`
	// RetryAfter is the value of the header of that name: seconds, a date, or
	// whatever the client is to be surprised with.
	RetryAfter string `json:"retry_after,omitempty"`
	// Drop closes the connection without an answer.
	Drop bool `json:"drop,omitempty"`
}

// Fail makes the next n requests that f.Path matches fail as f says. Faults are
// used up in the order in which they were asked for; n below 1 forgets all that
// are still to come.
func (e *Emulator) Fail(n int, f Fault) error {
	if n < 1 {
		e.sts.Fail(0, sts.Fault{})
		e.paths.clear()
		return nil
	}
	slash := strings.HasPrefix(f.Path, "/")
	switch {
	case f.Code == 0 && f.Status == 0 && !f.Drop:
		return errors.New("failing requests: the fault says nothing: set Code, Status or Drop")
	case f.Code < 0, f.Status != 0 && (f.Status < 200 || f.Status > 599):
		return fmt.Errorf("failing requests: code %d with status %d does not exist: statuses are 200 to 599", f.Code, f.Status)
	case slash && f.Code != 0:
		return fmt.Errorf("failing requests: a Code belongs to the token and devicecode endpoints: leave Path %q out, or set a Status", f.Path)
	case !slash && !slices.Contains([]string{"", "token", "devicecode"}, f.Path):
		return fmt.Errorf(`failing requests: Path %q is not known: write "token", "devicecode" or a path that begins with a slash`, f.Path)
	}
	if slash {
		e.paths.add(n, f)
		return nil
	}
	e.sts.Fail(n, sts.Fault{Endpoint: f.Path, Code: f.Code, OAuth: f.OAuth, Suberror: f.Suberror, Claims: f.Claims,
		Status: f.Status, RetryAfter: f.RetryAfter, Drop: f.Drop})
	return nil
}

// pathFaults are the faults still to come that go by path.
type pathFaults struct {
	mu   sync.Mutex // guards list
	list []*pathFault
}

type pathFault struct {
	left int
	Fault
}

func (p *pathFaults) add(n int, f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = append(p.list, &pathFault{n, f})
}

func (p *pathFaults) clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.list = nil
}

func (p *pathFaults) next(path string) (Fault, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, f := range p.list {
		if len(path) < len(f.Path) || !strings.EqualFold(path[:len(f.Path)], f.Path) {
			continue
		}
		if f.left--; f.left == 0 {
			p.list = slices.Delete(p.list, i, i+1)
		}
		return f.Fault, true
	}
	return Fault{}, false
}

// misbehave answers a request as a fault says.
func (e *Emulator) misbehave(w http.ResponseWriter, r *http.Request, f Fault, at face) {
	if f.Drop {
		panic(http.ErrAbortHandler) // net/http's way to close a connection
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	if at == graphFace || at == armFace {
		code := map[int]string{http.StatusTooManyRequests: "TooManyRequests", http.StatusServiceUnavailable: "serviceNotAvailable",
			http.StatusGatewayTimeout: "UnknownError", http.StatusInternalServerError: "generalException"}[f.Status]
		if code == "" {
			code = strings.ReplaceAll(http.StatusText(f.Status), " ", "")
		}
		e.graph.Refuse(w, r, f.Status, code, "The emulator was asked to fail this request.")
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(f.Status)
	fmt.Fprintf(w, "<!DOCTYPE html><title>%d</title><h1>%s</h1>\n", f.Status, http.StatusText(f.Status))
}

// AddCertificate registers a certificate for an app, which may then sign its
// assertions with the key.
func (e *Emulator) AddCertificate(clientID string, cert *x509.Certificate) error {
	if !e.world.AddCertificate(clientID, cert) {
		return noApp("adding a certificate", clientID)
	}
	return nil
}

func noApp(doing, clientID string) error {
	return fmt.Errorf("%s: there is no app with the client id %q", doing, clientID)
}
