package sts

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fobauth/fob/aadsts"
)

// A refusal is one answer of the sign-in service that says no.
type refusal struct {
	Code     int    // the AADSTS number
	OAuth    string // the member error
	Status   int    // HTTP
	Text     string // what follows the number
	Suberror string
	Claims   string // a claims challenge, JSON

	correlation string // overrides the id of the request at hand
	trace       string // of the answer; empty: a new one
}

// no makes a refusal with the OAuth error and the status that the code usually
// has.
func no(code int, format string, args ...any) *refusal {
	n := &refusal{Code: code, OAuth: "invalid_request", Status: http.StatusBadRequest, Text: fmt.Sprintf(format, args...)}
	if c, ok := aadsts.Lookup(code); ok && c.OAuthError != "" {
		n.OAuth = c.OAuthError
		if c.Status >= 400 {
			n.Status = c.Status
		}
	}
	return n
}

// as gives a refusal another OAuth error, for codes whose error depends on the
// grant.
func (n *refusal) as(oauth string) *refusal {
	n.OAuth, n.Status = oauth, http.StatusBadRequest
	if oauth == "invalid_client" {
		n.Status = http.StatusUnauthorized
	}
	return n
}

func (n *refusal) sub(suberror string) *refusal {
	n.Suberror = suberror
	return n
}

// timestamp is how Entra writes times in errors.
func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05Z") }

// description is the member error_description, with the ids in single spaces
// as the service sends it today.
func (n *refusal) description(now time.Time, trace, correlation string) string {
	return fmt.Sprintf("AADSTS%d: %s Trace ID: %s Correlation ID: %s Timestamp: %s", n.Code, n.Text, trace, correlation, timestamp(now))
}

// hasLookupPage says whether Microsoft's error page knows the code.
func (n *refusal) hasLookupPage() bool {
	_, ok := aadsts.Lookup(n.Code)
	return ok && n.Code != 70003 && n.Code != 700038 // both seen without error_uri
}

// refuse answers with an AADSTS error in JSON.
func (s *Server) refuse(w http.ResponseWriter, r *http.Request, code int, format string, args ...any) {
	s.write(w, r, no(code, format, args...))
}

// write answers with a refusal in JSON.
func (s *Server) write(w http.ResponseWriter, r *http.Request, n *refusal) {
	body := struct {
		Error         string `json:"error"`
		Description   string `json:"error_description"`
		Codes         []int  `json:"error_codes"`
		Timestamp     string `json:"timestamp"`
		TraceID       string `json:"trace_id"`
		CorrelationID string `json:"correlation_id"`
		URI           string `json:"error_uri,omitempty"`
		Suberror      string `json:"suberror,omitempty"`
		Claims        string `json:"claims,omitempty"`
	}{Error: n.OAuth, Codes: []int{n.Code}, TraceID: cmp.Or(n.trace, newTraceID()), CorrelationID: n.correlation, Suberror: n.Suberror, Claims: n.Claims}
	now := s.World.Now()
	if body.CorrelationID == "" {
		body.CorrelationID = correlationID(r)
	}
	body.Timestamp = timestamp(now)
	body.Description = n.description(now, body.TraceID, body.CorrelationID)
	if n.hasLookupPage() {
		body.URI = s.base(r) + "/error?code=" + strconv.Itoa(n.Code)
	}
	s.answer(w, r, n.Status, body.TraceID, body.CorrelationID, n.Code, body)
}

// identify says in the headers which answer this is, and the AADSTS number that
// it says no with. The log of requests reads it there.
func identify(w http.ResponseWriter, trace string, code int) {
	w.Header().Set("X-Ms-Request-Id", trace)
	w.Header().Set("X-Ms-Clitelem", "1,"+strconv.Itoa(code)+",0,,")
}

// answer sends a JSON body with the headers of the token service.
func (s *Server) answer(w http.ResponseWriter, r *http.Request, status int, trace, correlation string, code int, body any) {
	h := w.Header()
	h.Set("Cache-Control", "no-store, no-cache")
	h.Set("Pragma", "no-cache")
	h.Set("Expires", "-1")
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Strict-Transport-Security", "max-age=31536000; includeSubDomains")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("P3p", `CP="DSP CUR OTPi IND OTRi ONL FIN"`)
	h.Set("X-Xss-Protection", "0")
	h.Set("X-Ms-Ests-Server", "2.1.0.0 - EMULATOR")
	h.Set("X-Ms-Srs", "1.P")
	identify(w, trace, code)
	if sentRequestID(r) != "" {
		h.Set("Client-Request-Id", correlation)
	}
	data, err := marshal(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	_, _ = w.Write(data)
}

// marshal is JSON without the escapes for HTML that would hide & and < in URLs
// and texts.
func marshal(v any) ([]byte, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return []byte(strings.TrimSuffix(b.String(), "\n")), nil
}

// correlationID is the client's own id for the request where it sent one, and
// otherwise a new one.
func correlationID(r *http.Request) string {
	if id := sentRequestID(r); id != "" {
		return id
	}
	return newGUID()
}

// sentRequestID is the id that the client gave the request: in a header, as most
// do, or in the body, as MSAL for JavaScript does.
func sentRequestID(r *http.Request) string {
	id := r.Header.Get("client-request-id")
	if id == "" {
		id = r.PostForm.Get("client-request-id")
	}
	if id == "" && r.URL.RawQuery != "" {
		id = r.URL.Query().Get("client-request-id")
	}
	if !isGUID(id) {
		return ""
	}
	return strings.ToLower(id)
}

// newGUID makes a random id.
func newGUID() string {
	var b [16]byte
	_, _ = rand.Read(b[:])
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[0:4], b[4:6], b[6:8], b[8:10], b[10:16])
}

// newTraceID makes an id that ends in 00, as the service's do.
func newTraceID() string { return newGUID()[:34] + "00" }

// Fault is a misbehaviour on request.
type Fault struct {
	// Endpoint is "token" or "devicecode". Empty means both.
	Endpoint string
	// Code is an AADSTS number to refuse with. OAuth and Suberror override
	// what the code usually comes with.
	Code            int
	OAuth, Suberror string
	// Claims is a claims challenge to send along with Code.
	Claims string
	// Status is the HTTP status; without a Code the body is that of a front
	// end in trouble, HTML.
	Status int
	// RetryAfter is the value of the header of that name.
	RetryAfter string
	// Drop closes the connection without an answer.
	Drop bool
}

// faults are the misbehaviours that are still to come.
type faults struct {
	mu   sync.Mutex // guards next ones
	todo []pendingFault
}

type pendingFault struct {
	left int
	Fault
}

// Fail makes the next n requests that f.Endpoint matches misbehave as f says.
// Faults are used up in the order in which they were asked for. With n < 1 all
// that are still to come are forgotten.
func (s *Server) Fail(n int, f Fault) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	if n < 1 {
		s.faults.todo = nil
		return
	}
	s.faults.todo = append(s.faults.todo, pendingFault{n, f})
}

// next takes the first fault that matches a path.
func (q *faults) next(path string) (Fault, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i := range q.todo {
		f := &q.todo[i]
		if f.Endpoint != "" && !strings.HasSuffix(path, "/"+f.Endpoint) {
			continue
		}
		fault := f.Fault
		if f.left--; f.left == 0 {
			q.todo = append(q.todo[:i], q.todo[i+1:]...)
		}
		return fault, true
	}
	return Fault{}, false
}

func (s *Server) misbehave(w http.ResponseWriter, r *http.Request, f Fault) {
	if f.Drop {
		panic(http.ErrAbortHandler) // net/http's way to close the connection
	}
	if f.RetryAfter != "" {
		w.Header().Set("Retry-After", f.RetryAfter)
	}
	if f.Code == 0 {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(f.Status)
		fmt.Fprintf(w, "<!DOCTYPE html><title>%d</title><h1>%s</h1>\n", f.Status, http.StatusText(f.Status))
		return
	}
	n := no(f.Code, "The emulator was asked to refuse this request.")
	c, _ := aadsts.Lookup(f.Code)
	if c.Meaning != "" {
		n.Text = c.Meaning + ". (The emulator was asked to refuse this request.)"
	}
	if f.OAuth != "" {
		n.as(f.OAuth)
	}
	if f.Status != 0 {
		n.Status = f.Status
	}
	n.Suberror, n.Claims = f.Suberror, f.Claims
	s.write(w, r, n)
}
