package entratest

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"
)

// pace is how fast the body of a request has to come: within grace, and in so
// much more as rate allows for what has come already. A client that sends by
// drops, or never ends, loses its connection soon; a large file over a slow line
// arrives.
type pace struct {
	grace time.Duration
	rate  int // bytes a second
}

// usualPace lets the largest fragment of an upload take an hour.
func usualPace() pace { return pace{grace: 30 * time.Second, rate: 16 << 10} }

func (p pace) until(started time.Time, received int64) time.Time {
	return started.Add(p.grace + time.Duration(received)*time.Second/time.Duration(p.rate))
}

// of returns the request with a body that ends, with [os.ErrDeadlineExceeded]
// if it must. That holds for bodies which nobody reads, too: the server skips
// them before it answers.
func (p pace) of(w http.ResponseWriter, r *http.Request) *http.Request {
	if r.Body == nil || r.Body == http.NoBody {
		return r
	}
	b := &pacedBody{ReadCloser: r.Body, connection: http.NewResponseController(w), pace: p, started: time.Now()}
	b.wait(b.until(b.started, 0))
	paced := *r
	paced.Body = b
	return &paced
}

type pacedBody struct {
	io.ReadCloser
	pace
	connection *http.ResponseController
	started    time.Time
	received   int64
}

// wait sets how long reading from the connection may take. Connections that
// know no deadlines are noticed to be slow when something comes.
func (b *pacedBody) wait(until time.Time) { _ = b.connection.SetReadDeadline(until) }

func (b *pacedBody) Read(p []byte) (int, error) {
	until := b.until(b.started, b.received)
	if !time.Now().Before(until) {
		return 0, os.ErrDeadlineExceeded
	}
	b.wait(until)
	n, err := b.ReadCloser.Read(p)
	b.received += int64(n)
	if errors.Is(err, io.EOF) {
		b.wait(time.Time{}) // from now on the connection only waits for the answer
	}
	return n, err
}
