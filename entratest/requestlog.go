package entratest

import (
	"bytes"
	"cmp"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Request is what the emulator remembers of a request it answered. Secrets in
// the query, the form and the Authorization header are removed before they get
// here: their values read "[redacted]". Path is as it was sent: that of an upload
// or a download is a secret itself, for as long as it is good.
type Request struct {
	Time          time.Time     `json:"time"` // by the emulator's clock
	Method        string        `json:"method"`
	Host          string        `json:"host"`
	Path          string        `json:"path"`
	Proto         string        `json:"proto"` // "HTTP/1.1" or "HTTP/2.0"
	Query         url.Values    `json:"query,omitempty"`
	Form          url.Values    `json:"form,omitempty"`          // of a body that is a form
	Authorization string        `json:"authorization,omitempty"` // the scheme, and that there was something
	UserAgent     string        `json:"user_agent,omitempty"`
	Range         string        `json:"range,omitempty"` // the header of that name or Content-Range: the part of a file
	Status        int           `json:"status"`          // 0: the connection was dropped on request
	Code          int           `json:"code,omitempty"`  // the AADSTS number of a refusal
	Duration      time.Duration `json:"duration_ns"`
}

const (
	logSize  = 2000    // requests remembered
	maxForm  = 1 << 20 // bytes of a form that are looked at
	redacted = "[redacted]"
)

// requestLog is a ring: the oldest requests make room.
type requestLog struct {
	mu   sync.Mutex // guards below
	ring []Request
	next int // where the next one goes, once the ring is full
}

func (l *requestLog) add(r Request) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.ring) < logSize {
		l.ring = append(l.ring, r)
		return
	}
	l.ring[l.next] = r
	l.next = (l.next + 1) % logSize
}

// all returns the requests, oldest first.
func (l *requestLog) all() []Request {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(append(make([]Request, 0, len(l.ring)), l.ring[l.next:]...), l.ring[:l.next]...)
}

func (l *requestLog) clear() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring, l.next = nil, 0
}

// record serves a request with next and remembers it.
func (l *requestLog) record(w http.ResponseWriter, r *http.Request, now func() time.Time, next http.HandlerFunc) {
	entry := Request{Time: now(), Method: r.Method, Host: r.Host, Path: r.URL.Path, Proto: r.Proto,
		Query: redact(r.URL.Query()), Form: form(r), UserAgent: r.UserAgent(),
		Range: cmp.Or(r.Header.Get("Range"), r.Header.Get("Content-Range"))}
	if scheme, value, found := strings.Cut(r.Header.Get("Authorization"), " "); found && value != "" {
		entry.Authorization = scheme + " " + redacted
	} else if scheme != "" {
		entry.Authorization = redacted
	}
	started := time.Now()
	observed := &observer{ResponseWriter: w, host: r.Host}
	answered := false
	defer func() { // also when a fault drops the connection by a panic
		if answered {
			entry.Status = max(observed.status, http.StatusOK)
		}
		entry.Code = refusalCode(w.Header())
		entry.Duration = time.Since(started)
		l.add(entry)
	}()
	next(observed, r)
	answered = true
}

// observer sees the status of an answer, and takes out what does not suit a
// server on localhost.
type observer struct {
	http.ResponseWriter
	host   string
	status int
}

func (o *observer) WriteHeader(status int) {
	if o.status == 0 {
		o.status = status
	}
	// Sign-in states it, as the real one does. On localhost a browser that
	// trusts the certificate would take it for every port of the machine, and
	// open http://localhost redirects by https from then on.
	if loopbackHost(o.host) {
		o.Header().Del("Strict-Transport-Security")
	}
	o.ResponseWriter.WriteHeader(status)
}

func (o *observer) Write(b []byte) (int, error) {
	if o.status == 0 {
		o.WriteHeader(http.StatusOK)
	}
	return o.ResponseWriter.Write(b)
}

// Unwrap lets http.ResponseController find what the connection can do.
func (o *observer) Unwrap() http.ResponseWriter { return o.ResponseWriter }

// refusalCode finds the AADSTS number in the headers of an answer, where the
// sign-in service states it for telemetry.
func refusalCode(h http.Header) int {
	f := strings.Split(h.Get("X-Ms-Clitelem")+",0", ",")
	n, _ := strconv.Atoi(f[1])
	return n
}

// form parses a body that is a form, and leaves it to be read again.
func form(r *http.Request) url.Values {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "application/x-www-form-urlencoded" || r.Body == nil || r.Header.Get("Content-Encoding") != "" {
		return nil
	}
	head, err := io.ReadAll(io.LimitReader(r.Body, maxForm+1))
	r.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), r.Body), r.Body}
	if err != nil || len(head) > maxForm {
		return nil
	}
	values, err := url.ParseQuery(string(head))
	if err != nil && len(values) == 0 {
		return nil
	}
	return redact(values)
}

// redact removes the values that would let a reader of the log sign in. An
// empty value stays: that it was empty is often the finding.
func redact(values url.Values) url.Values {
	if len(values) == 0 {
		return nil
	}
	for name, list := range values {
		for i, v := range list {
			if v != "" && (secretName(name) || strings.HasPrefix(v, "eyJ")) {
				list[i] = redacted
			}
		}
	}
	return values
}

func secretName(name string) bool {
	name = strings.ToLower(name)
	switch name {
	case "code", "device_code", "code_verifier", "otp", "cookie", "session", "canary":
		return true
	case "client_assertion_type", "assertion_type", "requested_token_use", "subject_token_type", "requested_token_type", "token_type", "$skiptoken":
		return false // they only look like a secret's
	}
	for _, part := range []string{"secret", "passw", "pwd", "assertion", "token", "verifier"} {
		if strings.Contains(name, part) {
			return true
		}
	}
	return false
}
