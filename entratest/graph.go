package entratest

import (
	"fmt"
	"net"
	"net/http"

	"github.com/fobauth/fob/entratest/internal/directory"
	"github.com/fobauth/fob/entratest/internal/graphsim"
)

// GeneratedPassword is the password of every user that Config.GeneratedUsers
// made.
const GeneratedPassword = directory.GeneratedPassword

// Throttle says how much an app may ask of a tenant before Graph answers 429.
// The zero value lets everything through.
type Throttle struct {
	// Units are the resource units of an app and tenant per 10 seconds: a
	// request costs 1 to 5, as Microsoft's table says. Zero does not throttle;
	// -1 is what the real service gives a tenant of the same size.
	Units int `json:"units,omitempty"`
	// Writes are the requests per 150 seconds that are not GET. Zero does not
	// throttle them.
	Writes int `json:"writes,omitempty"`
	// RetryAfter is how the header of that name is written: empty for whole
	// seconds, "decimal", "date", or "none" for no header at all.
	RetryAfter string `json:"retry_after,omitempty"`
}

func (t Throttle) check() error {
	switch t.RetryAfter {
	case "", "decimal", "date", "none":
	default:
		return fmt.Errorf(`throttling: RetryAfter %q is not known: leave it out, or write "decimal", "date" or "none"`, t.RetryAfter)
	}
	if t.Units < -1 || t.Writes < 0 {
		return fmt.Errorf("throttling: %d units and %d writes are no limits: 0 is none, -1 units what the real service has", t.Units, t.Writes)
	}
	return nil
}

// Throttle sets the limits of Graph and gives every app its full allowance. It
// goes by the emulator's clock: [Emulator.Advance] fills it up again.
func (e *Emulator) Throttle(t Throttle) error {
	if err := t.check(); err != nil {
		return err
	}
	e.graph.Throttle(graphsim.Throttle(t))
	return nil
}

// StorageURL is the origin that file uploads and downloads are sent to. It is
// another one than Graph's and refuses requests with an Authorization header:
// the real service gives such addresses out on other hosts, where a token is
// nobody's business. It begins to listen when it is first needed. A [Handler]
// has none of its own and uses Graph's.
func (e *Emulator) StorageURL() string {
	if e.certificateShown == nil {
		return e.cfg.GraphURL
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.storageURL != "" || e.closed {
		return e.storageURL
	}
	address := e.cfg.StorageListen
	if address == "" {
		host, _, _ := net.SplitHostPort(e.address)
		address = net.JoinHostPort(host, "0")
	}
	l, err := net.Listen("tcp", address)
	if err != nil {
		e.cfg.ErrorLog.Printf("listening for uploads and downloads: %v", err)
		return e.cfg.GraphURL
	}
	s := e.newServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e.log.record(w, e.pace.of(w, r), e.world.Now, func(w http.ResponseWriter, r *http.Request) {
			if f, ok := e.paths.next(r.URL.Path); ok {
				e.misbehave(w, r, f, graphFace)
				return
			}
			e.graph.Storage(w, r)
		})
	}))
	s.TLSConfig = e.certificateShown.Clone()
	e.serving.Go(func() { _ = s.ServeTLS(l, "", "") })
	// Clients that give their token to every port of a host, as the Graph client
	// for JavaScript does, must see another host, too.
	e.storageURL = "https://" + publicHost(e.cfg.Listen, l.Addr().String())
	if tcp, ok := l.Addr().(*net.TCPAddr); ok && tcp.IP.IsLoopback() && e.cfg.TLSCert == "" {
		e.storageURL = "https://" + tcp.String()
	}
	return e.storageURL
}

// batchFault is Fail for the requests inside of a $batch.
func (e *Emulator) batchFault(path string) (status int, retryAfter string, fail bool) {
	f, ok := e.paths.next(path)
	if ok && f.Drop {
		f.Status = http.StatusServiceUnavailable // a part of an answer cannot be dropped
	}
	return f.Status, f.RetryAfter, ok
}
