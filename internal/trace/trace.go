// Package trace tells what went over the wire, without the secrets.
//
// A [Recorder] is an http.RoundTripper around another one. It keeps of every
// exchange what explains it and removes what must not be kept at the source:
// before anything is stored, and before anything is shortened. Values are kept
// by an allow-list of names, everything else reads "[redacted]" (or, in the
// answers of APIs, its kind and size); tokens that are JWTs leave a few harmless
// claims; and every secret that was seen is searched for in all that is kept
// later, so that a server's echo does not bring it back.
//
// What was recorded is written as a story in plain text, as HAR 1.2, as Markdown
// with a Mermaid sequence diagram, and as one self-contained HTML page. All four
// are safe to attach to a ticket.
package trace

import (
	"bytes"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/fobauth/fob/internal/redact"
)

// Recorder is an http.RoundTripper that keeps what went through it. It is safe
// for concurrent use. Its zero value records around http.DefaultTransport.
type Recorder struct {
	// Base sends the requests. Nil means http.DefaultTransport.
	Base http.RoundTripper
	// Now reads the clock. Nil means time.Now.
	Now func() time.Time
	// Done, if set, is called with every exchange once its answer has been read,
	// one call at a time.
	Done func(Exchange)

	once   sync.Once
	secret *secrets // behind a pointer, so that formatting a Recorder shows none

	telling sync.Mutex // held while Done runs

	mu        sync.Mutex // guards the fields below
	exchanges []*Exchange
	dropped   int
}

// Exchange is one request and its answer. It holds no secret.
type Exchange struct {
	Started  time.Time
	Duration time.Duration // until the answer was read
	Method   string
	URL      string
	Host     string
	Request  Message
	Status   int // 0: no answer
	Answer   Message
	// Error says why there is no answer.
	Error string
	// Tokens are the harmless claims of the tokens that were sent or received.
	Tokens []Token
}

// Message is a request's or an answer's headers and content.
type Message struct {
	Headers []Pair
	// Fields are the fields of a form, or the members of a JSON object, nested
	// ones with their names joined by dots.
	Fields []Pair
	Type   string // the media type
	Size   int64  // of the content in bytes; -1: not known
	// Note says why the content is not in Fields.
	Note string
}

// Pair is a name and its value.
type Pair struct{ Name, Value string }

// Token is what may be shown of a JWT.
type Token struct {
	Where  string // the field, header or member that held it
	Claims []Pair
}

const (
	maxExchanges = 500
	maxContent   = 256 << 10 // larger contents are not kept at all
	// Redacted stands where a secret was.
	Redacted = redact.Mark
)

func (r *Recorder) secrets() *secrets {
	r.once.Do(func() { r.secret = &secrets{} })
	return r.secret
}

func (r *Recorder) now() time.Time {
	if r.Now != nil {
		return r.Now()
	}
	return time.Now()
}

// RoundTrip sends req and records the exchange. The answer's content is
// recorded while the caller reads it; the exchange is complete when the caller
// has reached its end or closed it.
func (r *Recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	base := r.Base
	if base == nil {
		base = http.DefaultTransport
	}
	e := &Exchange{Started: r.now()}
	sent, err := r.request(e, req)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	if len(r.exchanges) < maxExchanges {
		r.exchanges = append(r.exchanges, e)
	} else {
		r.dropped++
	}
	r.mu.Unlock()
	resp, err := base.RoundTrip(sent)
	if err != nil {
		r.complete(e, func() { e.Error = r.secrets().scrub(err.Error()) })
		return nil, err
	}
	clone := *resp
	content := &content{body: resp.Body, done: func(kept []byte, size int64, whole bool) {
		r.complete(e, func() { r.answer(e, &clone, kept, size, whole) })
	}}
	// An upgraded connection's body is also written to: it is left alone.
	if resp.Body == nil || resp.Body == http.NoBody || req.Method == http.MethodHead || resp.StatusCode == http.StatusSwitchingProtocols {
		r.complete(e, func() { r.answer(e, &clone, nil, 0, true) })
		return resp, nil
	}
	resp.Body = content
	return resp, nil
}

func (r *Recorder) complete(e *Exchange, fill func()) {
	r.mu.Lock()
	fill()
	e.Duration = max(r.now().Sub(e.Started), 0)
	done := *e
	r.mu.Unlock()
	if r.Done != nil {
		r.telling.Lock()
		defer r.telling.Unlock()
		r.Done(done)
	}
}

// HideAddress removes an address that is a permission in itself, such as that
// of an upload, from what is recorded from now on. Its host stays.
func (r *Recorder) HideAddress(address string) {
	if u, err := url.Parse(address); err == nil {
		r.secrets().learn(u.EscapedPath())
		r.secrets().learnValues(u.Query(), queryShown)
	}
}

// Exchanges returns what was recorded, in the order of the requests, and how
// many more there were than are kept.
func (r *Recorder) Exchanges() (all []Exchange, dropped int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.exchanges {
		all = append(all, *e)
	}
	return all, r.dropped
}

// request records req and returns the request to send: req itself, or a copy
// whose body can still be read.
func (r *Recorder) request(e *Exchange, req *http.Request) (*http.Request, error) {
	s := r.secrets()
	media, _, _ := mime.ParseMediaType(req.Header.Get("Content-Type"))
	var form url.Values
	note := ""
	switch {
	case req.Body == nil || req.Body == http.NoBody:
	case media != "application/x-www-form-urlencoded":
		note = "the content is not recorded"
	case req.ContentLength > maxContent:
		note = "the form is too large to record"
	default:
		body, err := io.ReadAll(io.LimitReader(req.Body, maxContent+1))
		if err != nil {
			req.Body.Close()
			return nil, err
		}
		copied := *req
		copied.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(body), req.Body), req.Body}
		req = &copied
		if len(body) > maxContent {
			note = "the form is too large to record"
		} else if form, err = url.ParseQuery(string(body)); err != nil {
			form, note = nil, "the form cannot be read"
		}
	}
	// First learn every secret of the request, then write anything down.
	s.learnHeader(req.Header)
	s.learnValues(form, formShown)
	s.learnValues(req.URL.Query(), queryShown)
	if fragment, err := url.ParseQuery(req.URL.Fragment); err == nil {
		s.learnValues(fragment, queryShown)
	}
	if req.URL.User != nil {
		password, _ := req.URL.User.Password()
		s.learn(password)
	}
	e.Method, e.Host = tidy(req.Method), tidy(req.URL.Host)
	e.URL = s.address(req.URL)
	e.Request = Message{Headers: s.headers(req.Header), Type: tidy(media), Size: req.ContentLength, Note: note}
	for _, name := range sortedKeys(form) {
		for _, value := range form[name] {
			e.Request.Fields = append(e.Request.Fields, Pair{tidy(name), s.field(e, "the form's "+name, name, value, formShown)})
		}
	}
	if scheme, token, ok := strings.Cut(req.Header.Get("Authorization"), " "); ok {
		s.token(e, "the "+tidy(scheme)+" token of the request", token)
	}
	return req, nil
}

func (r *Recorder) answer(e *Exchange, resp *http.Response, kept []byte, size int64, whole bool) {
	s := r.secrets()
	media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	s.learnHeader(resp.Header)
	e.Status = resp.StatusCode
	e.Answer = Message{Type: tidy(media), Size: size}
	m := &e.Answer
	switch isJSON := media == "application/json" || strings.HasSuffix(media, "+json") || strings.HasPrefix(strings.TrimSpace(string(kept[:min(len(kept), 16)])), "{"); {
	case size == 0:
	case !whole:
		m.Note = "the content is too large to record, or was not read to its end"
	case !isJSON:
		m.Note = "the content is not recorded"
	default:
		if !s.json(e, m, kept) {
			m.Fields, m.Note = nil, "the content is no JSON that can be read"
		}
	}
	// Headers come last: by now the secrets of the content are known.
	m.Headers = s.headers(resp.Header)
}

// content hands an answer's content on and keeps a copy of it.
type content struct {
	body io.ReadCloser
	once sync.Once
	done func(kept []byte, size int64, whole bool)

	kept []byte
	size int64
	full bool // more than maxContent came
}

// Read reads from the answer's content.
func (c *content) Read(p []byte) (int, error) {
	n, err := c.body.Read(p)
	c.size += int64(n)
	if !c.full {
		if c.full = len(c.kept)+n > maxContent; c.full {
			c.kept = nil
		} else {
			c.kept = append(c.kept, p[:n]...)
		}
	}
	if err != nil {
		c.finish(err == io.EOF)
	}
	return n, err
}

// Close closes the answer's content.
func (c *content) Close() error {
	err := c.body.Close()
	c.finish(false)
	return err
}

func (c *content) finish(end bool) {
	c.once.Do(func() {
		// Many readers stop at the last brace of a JSON value, not at the end.
		whole := !c.full && (end || bytes.HasSuffix(bytes.TrimSpace(c.kept), []byte("}")))
		c.done(c.kept, c.size, whole)
		c.kept = nil
	})
}
