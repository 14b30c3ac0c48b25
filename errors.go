package fob

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fobauth/fob/internal/harmless"
)

// What callers branch on with [errors.Is].
var (
	// ErrInteraction says that a person must sign in: nothing usable is
	// stored, or the server wants an interactive step (multi-factor
	// authentication, consent, a new password).
	ErrInteraction = errors.New("a person must sign in")
	// ErrUnavailable says that the server could not be reached, failed or is
	// throttling: the same request may succeed later.
	ErrUnavailable = errors.New("not available at the moment")
)

// Error is a refusal by the server: the error answer of RFC 6749 section 5.2
// with Entra's members. Everything in it is safe to print: control characters
// are gone, and so is every secret of the request.
type Error struct {
	Status      int    // the HTTP status
	Code        string // the OAuth error: "invalid_grant". Branch on this, not on the numbers
	Suberror    string // Entra's finer word: "consent_required"
	Description string // Entra's sentence, with its AADSTS number, without the ids at its end
	Codes       []int  // the AADSTS numbers, the cause last; empty when there are none
	Claims      string // a claims challenge for the next request, JSON; often empty
	TraceID     string
	// CorrelationID is what a tenant's sign-in log finds this attempt by.
	CorrelationID string
	Timestamp     string        // as the server wrote it: "2026-01-05 10:11:12Z"
	RetryAfter    time.Duration // how long the server asked to wait; 0 if it did not
	Grant         string        // the grant_type that was refused; "" at other endpoints
	Host          string        // who refused
}

// Error says who refused what and why, in one line.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Description != "" {
		b.WriteString(e.Description)
	} else {
		fmt.Fprintf(&b, "%s answered", e.Host)
	}
	b.WriteString(" (")
	if e.Code != "" {
		b.WriteString(e.Code + ", ")
	}
	fmt.Fprintf(&b, "HTTP %d", e.Status)
	if e.CorrelationID != "" {
		b.WriteString(", correlation id " + e.CorrelationID)
	}
	b.WriteString(")")
	return b.String()
}

// Is makes errors.Is(err, ErrInteraction) and errors.Is(err, ErrUnavailable)
// work.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrInteraction:
		return e.interaction()
	case ErrUnavailable:
		return e.Status == 408 || e.Status == 429 || e.Status >= 500 || e.Code == "temporarily_unavailable"
	}
	return false
}

func (e *Error) interaction() bool {
	switch e.Suberror {
	case "message_only", "client_mismatch", "protection_policy_required":
		return false // signing in again would end the same
	}
	switch e.Code {
	case "interaction_required", "login_required", "consent_required":
		// An app that speaks for itself has nobody who could interact.
		return e.Grant != grantClientCredentials
	case "invalid_grant", "expired_token":
		// The refresh token, code or password no longer does. The assertion of
		// an on-behalf-of call is the caller's business, unless the suberror says
		// what the person is to do.
		switch e.Grant {
		case grantRefreshToken, grantDeviceCode, grantAuthorizationCode:
			return true
		case grantOnBehalfOf:
			return e.Suberror != ""
		}
	}
	return false
}

// AADSTS returns the number that names the cause, or 0 if the server gave none.
func (e *Error) AADSTS() int {
	if len(e.Codes) == 0 {
		return 0
	}
	return e.Codes[len(e.Codes)-1]
}

// unreachable is a request that got no answer.
type unreachable struct {
	what string
	err  error
}

func (u *unreachable) Error() string        { return u.what + ": " + clean(u.err.Error()) } // a proxy's word may be in it
func (u *unreachable) Unwrap() error        { return u.err }
func (u *unreachable) Is(target error) bool { return target == ErrUnavailable }

// BadAnswerError is an answer that is no OAuth answer at all: a proxy's page,
// a redirect, broken JSON. Nothing of the answer's body is in its text.
type BadAnswerError struct {
	Host   string // who answered
	Status int    // the HTTP status
	Why    string // what is wrong with the answer, and what that usually means
	// RetryAfter is how long the server asked to wait; 0 if it did not.
	RetryAfter time.Duration
}

// Error names the host, the status and what is wrong.
func (e *BadAnswerError) Error() string {
	return fmt.Sprintf("%s gave no usable answer (HTTP %d): %s", e.Host, e.Status, e.Why)
}

// Is makes errors.Is(err, ErrUnavailable) true for 429 and 5xx.
func (e *BadAnswerError) Is(target error) bool {
	return target == ErrUnavailable && (e.Status == 429 || e.Status >= 500)
}

// splitTrailer cuts the ids from the end of a description, where Entra puts
// them behind line breaks (older) or single spaces (newer).
func splitTrailer(description string) (text, trace, correlation, timestamp string) {
	text, rest, found := strings.Cut(description, " Trace ID: ")
	if !found {
		return description, "", "", ""
	}
	trace, rest, _ = strings.Cut(rest, " Correlation ID: ")
	correlation, timestamp, _ = strings.Cut(rest, " Timestamp: ")
	return strings.TrimRight(text, " "), trace, correlation, timestamp
}

// aadstsNumbers finds the numbers in a description, in order, the first few.
// By hand, because a regular expression costs every start of a program.
func aadstsNumbers(description string) []int {
	var codes []int
	for len(codes) < 8 {
		_, rest, found := strings.Cut(description, "AADSTS")
		if !found {
			break
		}
		digits := 0
		for digits < len(rest) && digits < 9 && '0' <= rest[digits] && rest[digits] <= '9' {
			digits++
		}
		if code, err := strconv.Atoi(rest[:digits]); err == nil {
			codes = append(codes, code)
		}
		description = rest
	}
	return codes
}

// maxText is how much of a server's sentence is kept.
const maxText = 2048

// clean makes a text of a server or a file harmless for a terminal, a log and
// a CSV.
func clean(s string) string { return harmless.Text(s, maxText) }

// errAbandoned is what followers of a call that panicked get.
var errAbandoned = errors.New("the call that was getting this token did not finish")

func isContext(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}
