package graph

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/fobauth/fob"
)

var defaultTransport = sync.OnceValue(func() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxResponseHeaderBytes = 64 << 10
	t.MaxIdleConnsPerHost = 32
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	return t
})

var errStalled = errors.New("the connection stood still for too long")

// watched ends a request that stands still, and marks what went wrong on the
// network as such: above it, every other error is somebody else's.
type watched struct {
	base  http.RoundTripper
	limit time.Duration
}

func (w watched) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(req.Context())
	watch := &watch{ctx: ctx, caller: req.Context(), cancel: cancel, limit: w.limit}
	watch.timer = time.AfterFunc(w.limit, func() { cancel(errStalled) })
	out := req.WithContext(ctx)
	if req.Body != nil && req.Body != http.NoBody {
		// Sending a large body takes longer than any answer.
		out.Body = sending{req.Body, watch}
	}
	resp, err := w.base.RoundTrip(out)
	watch.timer.Stop()
	if err != nil {
		err = watch.explain(err)
		cancel(nil)
		return nil, err
	}
	resp.Body = &receiving{resp.Body, watch}
	return resp, nil
}

type watch struct {
	ctx, caller context.Context
	cancel      context.CancelCauseFunc
	timer       *time.Timer
	limit       time.Duration
}

// explain tells a network that failed from a caller who gave up.
func (w *watch) explain(err error) error {
	switch {
	case w.caller.Err() != nil:
		return w.caller.Err()
	case context.Cause(w.ctx) == errStalled:
		return &unreachable{errStalled}
	}
	return &unreachable{err}
}

type sending struct {
	io.ReadCloser
	watch *watch
}

func (s sending) Read(p []byte) (int, error) {
	s.watch.timer.Reset(s.watch.limit)
	return s.ReadCloser.Read(p)
}

type receiving struct {
	io.ReadCloser
	watch *watch
}

func (r *receiving) Read(p []byte) (int, error) {
	// Only the network is watched, not how long the caller thinks between two
	// reads.
	r.watch.timer.Reset(r.watch.limit)
	n, err := r.ReadCloser.Read(p)
	r.watch.timer.Stop()
	if err != nil && err != io.EOF {
		err = r.watch.explain(err)
	}
	return n, err
}

func (r *receiving) Close() error {
	r.watch.timer.Stop()
	err := r.ReadCloser.Close()
	r.watch.cancel(nil)
	return err
}

// unreachable is a request that got no answer, or not all of it.
type unreachable struct{ err error }

func (u *unreachable) Error() string {
	var dns *net.DNSError
	switch {
	case errors.As(u.err, &dns) && dns.IsNotFound:
		return "there is no host of this name"
	case errors.Is(u.err, io.EOF) || errors.Is(u.err, io.ErrUnexpectedEOF):
		return "the connection broke before the whole answer was there"
	case strings.Contains(u.err.Error(), "response headers exceeded"):
		return "the header of the answer is too large"
	}
	return clean(strings.Replace(u.err.Error(), "net/http: HTTP/1.x transport connection broken: ", "the connection broke: ", 1))
}

func (u *unreachable) Unwrap() error        { return u.err }
func (u *unreachable) Is(target error) bool { return target == fob.ErrUnavailable }

// unsent reports whether the request cannot have reached anybody.
func (u *unreachable) unsent() bool {
	var op *net.OpError
	return errors.As(u.err, &op) && op.Op == "dial"
}

// hopeless reports whether the next try would end the same way.
func (u *unreachable) hopeless() bool {
	var dns *net.DNSError
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	return errors.As(u.err, &dns) && dns.IsNotFound || errors.As(u.err, &cert) || errors.As(u.err, &record)
}
