package graph

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
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
	if err := req.Context().Err(); err != nil {
		closeBody(req.Body)
		return nil, err // nothing was sent
	}
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
	if resp.StatusCode >= 300 {
		resp.Body = &steady{ReadCloser: resp.Body, limit: w.limit}
	}
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
		return &interrupted{w.caller.Err()}
	case context.Cause(w.ctx) == errStalled:
		return &unreachable{errStalled}
	}
	return &unreachable{err}
}

// interrupted is the end of a request that was on its way already.
type interrupted struct{ error }

func (i *interrupted) Error() string {
	if errors.Is(i.error, context.DeadlineExceeded) {
		return "the time for it was over"
	}
	return "it was interrupted"
}

func (i *interrupted) Unwrap() error { return i.error }

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

// slowest is how many bytes a second are an answer that moves: one now and
// then, from a service or a proxy that hangs, is none.
const slowest = 1 << 10

// steady gives an answer up that comes by drops for as long as one may stand
// still. It is for answers that are wanted whole; one that is passed on as it
// comes may be a stream of events.
type steady struct {
	io.ReadCloser
	limit time.Duration
	spent time.Duration // waiting for the bytes so far; not what the caller does with them
	n     int
}

func (s *steady) Read(p []byte) (int, error) {
	began := time.Now()
	n, err := s.ReadCloser.Read(p)
	s.n += n
	if s.spent += time.Since(began); s.spent < s.limit {
		return n, err
	}
	if err == nil && float64(s.n) < slowest*s.spent.Seconds() {
		err = &unreachable{errStalled}
	}
	s.spent, s.n = 0, 0
	return n, err
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
	case strings.HasPrefix(u.err.Error(), "stream error: "): // of HTTP/2
		return "the service broke off: " + clean(u.err.Error())
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
	return errors.As(u.err, &op) && op.Op == "dial" || u.distrusted()
}

// distrusted reports whether there was nobody whom to send the request to: TLS
// did not come about.
func (u *unreachable) distrusted() bool {
	var cert *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	return errors.As(u.err, &cert) || errors.As(u.err, &record) && record.Conn != nil || errors.Is(u.err, http.ErrSchemeMismatch)
}

// hopeless reports whether the next try would end the same way.
func (u *unreachable) hopeless() bool {
	var dns *net.DNSError
	var file *fs.PathError // of a certificate authority, for example
	var final interface{ Permanent() bool }
	return errors.As(u.err, &dns) && dns.IsNotFound || errors.As(u.err, &file) ||
		errors.As(u.err, &final) && final.Permanent() || u.distrusted()
}
