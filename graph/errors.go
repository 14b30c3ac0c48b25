package graph

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/internal/origin"
)

// What callers of this package branch on with [errors.Is], besides
// [fob.ErrUnavailable] and [fob.ErrInteraction].
var (
	// ErrExpired says that a link to the next page, to the changes or to an
	// upload is too old: start again from the beginning.
	ErrExpired = errors.New("the link has expired")
	// ErrUncertain says that a write got no answer, or none that can be read: it
	// may have been carried out all the same.
	ErrUncertain = errors.New("it may have been carried out all the same")
	// ErrChanged says that a file was changed while it was sent. What was sent
	// of it has been given up.
	ErrChanged = errors.New("the file was changed while it was sent")
)

// uncertain is why a write, which is not tried again, got no answer.
type uncertain struct{ error }

func (u *uncertain) Error() string {
	return u.error.Error() + "; " + ErrUncertain.Error() + ": look before you repeat it"
}

func (u *uncertain) Unwrap() []error { return []error{u.error, ErrUncertain} }

// Error is a refusal by an API. Everything in it is safe to print.
type Error struct {
	Method string // of the request
	Host   string // who refused
	Path   string // what was asked for, without its query; empty for addresses that are secrets
	Status int    // the HTTP status

	Code    string   // the API's word: "Request_ResourceNotFound". Branch on this
	Inner   string   // the innermost, finest word, if there are several
	Message string   // the API's sentence, or what is wrong with its answer
	Details []Detail // what exactly, for some refusals of the directory

	RequestID       string        // what Microsoft's support finds the request by
	ClientRequestID string        // what we called the request
	Diagnostic      string        // the data centre that answered, for support
	Date            string        // the service's clock, as it wrote it
	RetryAfter      time.Duration // how long it asked to wait; 0 if it did not
	Claims          string        // a claims challenge that no token has satisfied, as JSON

	location string // where a 410 says to begin again
}

// Detail is one part of a refusal.
type Detail struct{ Code, Message, Target string }

// Error says who refused what and why, in one line.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: ", e.Method, shown(e.Host+e.Path))
	if e.Message != "" {
		b.WriteString(e.Message)
	} else {
		b.WriteString(http.StatusText(e.Status))
	}
	b.WriteString(" (")
	if e.Code != "" {
		b.WriteString(e.Code + ", ")
	}
	if e.Inner != "" && e.Inner != e.Code {
		b.WriteString(e.Inner + ", ")
	}
	fmt.Fprintf(&b, "HTTP %d", e.Status)
	if e.RequestID != "" {
		b.WriteString(", request id " + e.RequestID)
	}
	b.WriteString(")")
	return b.String()
}

// Is makes errors.Is(err, fob.ErrUnavailable) true for what may succeed later,
// errors.Is(err, fob.ErrInteraction) for a claims challenge that is open, and
// errors.Is(err, ErrExpired) for links that are too old.
func (e *Error) Is(target error) bool {
	switch target {
	case fob.ErrUnavailable:
		switch e.Status {
		case 501, 505, 507: // not implemented, no such version, no space: that stays so
			return false
		}
		return e.Status == 408 || e.Status == 429 || 500 <= e.Status && e.Status < 600
	case fob.ErrInteraction:
		return e.Status == 401 && e.Claims != ""
	case ErrExpired:
		return e.Status == 410 || e.has("Directory_ExpiredPageToken", "resyncRequired", "syncStateNotFound", "syncStateInvalid", "uploadSessionNotFound") ||
			e.Status == 400 && badPageToken().MatchString(e.Message)
	}
	return false
}

// badPageToken is what services without a word of their own say of a page token
// that is too old or no longer theirs.
var badPageToken = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)token not found|\bskip ?token\b`)
})

func (e *Error) has(codes ...string) bool {
	for _, code := range codes {
		if strings.EqualFold(e.Code, code) || strings.EqualFold(e.Inner, code) {
			return true
		}
	}
	return false
}

const maxRefusal = 1 << 20 // bytes of an error answer that are read

// refusal reads an answer that says no, and closes it.
func refusal(resp *http.Response, how call) *Error {
	defer resp.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	e := refusalOf(resp.StatusCode, resp.Header, body)
	e.Method, e.Host = resp.Request.Method, shown(resp.Request.URL.Host)
	if !how.open && origin.Of(resp.Request.URL) == origin.Of(how.home) {
		e.Path = clean(resp.Request.URL.Path)
	}
	return e
}

func refusalOf(status int, h http.Header, body []byte) *Error {
	e := &Error{
		Status:          status,
		RequestID:       clean(h.Get("Request-Id")),
		ClientRequestID: clean(h.Get("Client-Request-Id")),
		Diagnostic:      clean(h.Get("X-Ms-Ags-Diagnostic")),
		Date:            clean(h.Get("Date")),
	}
	if e.RequestID == "" {
		e.RequestID = clean(h.Get("X-Ms-Request-Id"))
	}
	e.location = h.Get("Location")
	e.RetryAfter, _ = retryAfter(h, time.Now())
	if status == http.StatusUnauthorized {
		e.Claims = fob.ClaimsChallenge(h)
	}
	if !e.decode(body) {
		e.Message = unusable(status, h, body)
	}
	return e
}

// unusable says in words what an answer is that is no error of an API.
func unusable(status int, h http.Header, body []byte) string {
	location := h.Get("Location")
	switch {
	case 300 <= status && status < 400 && location != "":
		return "a redirect, which is followed for reads only; is the address complete?"
	case len(body) == 0 && http.StatusText(status) == "":
		return "a status that HTTP does not have, without a reason"
	case len(body) == 0:
		return strings.ToLower(http.StatusText(status)) + ", without a reason"
	case isHTML(h, body):
		return "an HTML page instead of an answer; is a proxy or a sign-in page in the way?"
	}
	return "an answer that is no error of this API"
}

// isHTML reports whether an answer is a page for people.
func isHTML(h http.Header, body []byte) bool {
	start := strings.ToLower(string(body[:min(len(body), 512)]))
	return strings.Contains(start, "<html") || strings.Contains(start, "<!doctype") || strings.Contains(h.Get("Content-Type"), "text/html")
}

// badAnswer is an answer that says yes and cannot be used.
func badAnswer(how call, resp *http.Response, body []byte, why string) error {
	if isHTML(resp.Header, body) {
		why = "an HTML page instead of JSON; is a proxy or a sign-in page in the way?"
	}
	return fmt.Errorf("%s gave no usable answer (HTTP %d): %s", how.place(), resp.StatusCode, why)
}

// storageError is how Azure Storage says no.
var storageError = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?s)<Error>.*?<Code>([^<]*)</Code>\s*<Message>([^<]*)</Message>`)
})

// decode reads an error answer of any of Microsoft's APIs, leniently. It
// reports whether there was one.
func (e *Error) decode(body []byte) bool {
	if m := storageError().FindSubmatch(body); m != nil {
		e.Code, e.Message = clean(string(m[1])), clean(string(m[2]))
		return true
	}
	var answer map[string]any
	err := json.Unmarshal(bytes.TrimPrefix(body, byteOrderMark), &answer, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if err != nil {
		return false
	}
	inner, ok := member(answer, "error").(map[string]any)
	if !ok {
		inner, ok = member(answer, "odata.error").(map[string]any)
	}
	if !ok {
		// OAuth's form, and what is older than any convention.
		e.Code, e.Message = shown(text(answer, "error", "code")), text(answer, "error_description", "message")
		return e.Code != "" || e.Message != ""
	}
	e.Code, e.Message = shown(text(inner, "code")), text(inner, "message")
	details, _ := member(inner, "details").([]any)
	for _, d := range details[:min(len(details), 20)] {
		if d, ok := d.(map[string]any); ok {
			e.Details = append(e.Details, Detail{text(d, "code"), text(d, "message"), text(d, "target")})
		}
	}
	for range 20 {
		if inner, ok = member(inner, "innerError").(map[string]any); !ok {
			break
		}
		if code := text(inner, "code"); code != "" {
			e.Inner = shown(code)
		}
		fill(&e.RequestID, text(inner, "request-id"))
		fill(&e.ClientRequestID, text(inner, "client-request-id"))
		if date := text(inner, "date"); date != "" {
			e.Date = date
		}
	}
	return e.Code != "" || e.Message != ""
}

// member finds a member of an object, in whatever case the service writes it.
func member(object map[string]any, name string) any {
	if v, ok := object[name]; ok {
		return v
	}
	for key, v := range object {
		if strings.EqualFold(key, name) {
			return v
		}
	}
	return nil
}

// text returns the first of the named members that is a string. OData version
// 3 wraps messages into an object.
func text(object map[string]any, names ...string) string {
	for _, name := range names {
		switch v := member(object, name).(type) {
		case string:
			return clean(v)
		case map[string]any:
			if s, ok := v["value"].(string); ok {
				return clean(s)
			}
		}
	}
	return ""
}

func fill(to *string, s string) {
	if *to == "" {
		*to = s
	}
}
