package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/graph"
)

// apiError is the refusal of an API.
type apiError struct {
	status        int
	host, request string // who refused what
	method, path  string // of the request, for Graph's table of permissions
	code, message string // as the API says
	details       []graph.Detail
	requestID     string
	retryAfter    time.Duration
	claims        string // of a challenge
	token         *fob.Token
	err           error // the same as package graph has it
}

func (e *apiError) Error() string {
	text := e.message
	if text == "" {
		text = or(http.StatusText(e.status), e.host+" answered")
	}
	if e.code != "" {
		text = e.code + ": " + text
	}
	for _, d := range e.details {
		if d.Message != "" && !strings.Contains(text, d.Message) {
			text += "; " + d.Message
		}
	}
	text += fmt.Sprintf(" (HTTP %d, %s", e.status, e.request)
	if e.requestID != "" {
		text += ", request id " + e.requestID
	}
	return text + ")"
}

// Unwrap returns the error of package graph.
func (e *apiError) Unwrap() error { return e.err }

// lateError says that --timeout ended a call.
type lateError struct {
	call  *call
	after time.Duration
}

func (e *lateError) Error() string {
	c := e.call
	text := fmt.Sprintf("%s %s: ", c.method, clip(oneLine(c.target.Host+c.target.Path), 120))
	if c.all {
		text += "the list was not complete after " + e.after.String()
	} else {
		text += "no whole answer within " + e.after.String()
	}
	if why := c.why.Load(); why != 0 {
		text += fmt.Sprintf("; before, it answered with HTTP %d", why)
	}
	if c.method == http.MethodPost || c.method == http.MethodPatch {
		text += "; it may have been carried out all the same: look before you repeat it"
	}
	return text
}

// Unwrap returns what such an error is everywhere else.
func (e *lateError) Unwrap() error { return context.DeadlineExceeded }

// elsewhereError says that a host does not answer which is not the emulator's,
// although the token is.
type elsewhereError struct {
	error
	host string
}

// Unwrap returns what happened.
func (e *elsewhereError) Unwrap() error { return e.error }

// isElsewhere reports whether err is about another host than the emulator's.
func (c *call) isElsewhere(err error) bool {
	var token *tokenError
	running := c.inv.settings.emulator
	target := c.target.String()
	return running != nil && !errors.As(err, &token) && !sameOrigin(target, running.URL) && !sameOrigin(target, running.Graph) && !sameOrigin(target, running.ARM)
}

// refused adds to the refusal of an API which token it was about, and says of
// a call that took too long what that means. Other errors stay what they are.
func (c *call) refused(err error) error {
	var e *graph.Error
	switch {
	case errors.As(err, &e):
	case errors.Is(err, context.Canceled) && errors.Is(err, graph.ErrUncertain):
		c.inv.note("%s %s was interrupted; it may have been carried out all the same: look before you repeat it", c.method, c.target.Host+c.target.Path)
		return err
	case errors.Is(err, context.DeadlineExceeded):
		return &lateError{c, c.inv.flags.timeout}
	case errors.Is(err, fob.ErrUnavailable) && c.isElsewhere(err):
		return &elsewhereError{err, c.target.Host}
	default:
		return err
	}
	return &apiError{status: e.Status, host: e.Host, request: e.Method + " " + clip(or(e.Path, e.Host), 120), method: e.Method, path: e.Path,
		code: e.Code, message: e.Message, details: e.Details, requestID: e.RequestID, retryAfter: e.RetryAfter, claims: e.Claims, token: c.source.last(), err: err}
}

// describeAPI turns the refusal of an API into words.
func (inv *invocation) describeAPI(r *report, e *apiError) {
	r.kind, r.text = or(e.code, "http_"+fmt.Sprint(e.status)), oneLine(e.Error())
	r.status = StatusFailed
	switch {
	case e.status == http.StatusUnauthorized && e.claims != "" && e.token != nil && e.token.Account.ID != "":
		r.status = StatusInteraction
		r.cause = "a policy wants a stronger or a newer sign-in than the stored one"
		r.fix = "sign in again, with the claims that the API asks for"
		r.try = inv.loginLine() + " --claims " + inv.quote(e.claims)
	case e.status == http.StatusUnauthorized && inv.describeAudience(r, e):
	case e.status == http.StatusUnauthorized:
		r.status = StatusRefused
		r.cause = "the API does not accept the token: it is for another API, expired or revoked"
		r.fix = "get a fresh one; if that is refused too, check the audience with --resource or --scope"
		r.try = inv.again("--force-refresh")
	case e.status == http.StatusForbidden:
		r.status = StatusRefused
		inv.describeForbidden(r, e)
	case errors.Is(e, graph.ErrExpired):
		r.cause = "links to further pages and to changes are good for a while only"
		r.fix = "start again from the first page"
	case e.status == http.StatusInsufficientStorage:
		r.cause = "there is no space left where it was to go"
		r.fix = "make room there, or have the quota raised"
	case errors.Is(e, fob.ErrUnavailable):
		r.status = StatusUnavailable
		r.fix = laterFix(e.retryAfter)
		if e.retryAfter > 0 {
			r.fix += ", or wait for it with a longer --timeout"
		}
	case strings.HasPrefix(e.message, "/me request is only valid"):
		r.cause = "the token is the app's own: there is no signed-in user whom /me could mean"
		r.fix = "name a user, /users/ID, or sign one in with an app that has 'Allow public client flows'"
		if s := inv.settings; s != nil && s.credential == nil {
			r.try = inv.loginLine()
		}
	case e.code == "MissingApiVersionParameter":
		r.fix = "say which version of the API is meant; the reference of the resource type names it"
		r.try = inv.again("--query api-version=2022-12-01")
	case strings.HasPrefix(e.message, noSegment) && inv.describeSegment(r, e):
	case e.status == http.StatusNotFound:
		r.fix = "check the path and the id; names of properties and paths are case-sensitive in parts"
	}
}

// noSegment is how Graph begins to say which part of a path it does not know.
const noSegment = "Resource not found for the segment"

// describeSegment says what to try for a part of a path that Graph does not
// know; false if there is nothing to say.
func (inv *invocation) describeSegment(r *report, e *apiError) bool {
	name, _, _ := strings.Cut(strings.TrimPrefix(e.message, noSegment+" '"), "'")
	if near := graph.SimilarSegment(e.path, name); near != "" {
		r.fix = "perhaps " + near + " was meant"
		corrected := false
		line := inv.rerun(func(arg string) string {
			path, _, _ := strings.Cut(arg, "?")
			parts := strings.Split(path, "/")
			i := slices.Index(parts, name)
			if corrected || i < 0 || !strings.Contains(path, "://") && !strings.HasSuffix(e.path, "/"+strings.TrimLeft(path, "/")) {
				return arg // not the address
			}
			corrected, parts[i] = true, near
			return strings.Join(parts, "/") + arg[len(path):]
		})
		if corrected {
			r.try = line
		}
		return true
	}
	if hasSegment(e.path, "/beta") {
		return false
	}
	r.fix = "check how the path is spelled; some are in the beta version only"
	r.try = inv.again("--beta")
	return true
}

// describeAudience says of a token that a flag made one for another API which
// flag that was; false if none did.
func (inv *invocation) describeAudience(r *report, e *apiError) bool {
	s := inv.settings
	if s == nil || s.scopesFrom == "default" || !strings.Contains(strings.ToLower(e.message), "audience") {
		return false
	}
	r.status = StatusRefused
	r.cause = "the token is for " + oneLine(strings.Join(s.scopes, " ")) + ", and this API is another one"
	r.fix = "leave " + s.scopesFrom + " out: the token then follows from the address"
	return true
}

// describeForbidden says which permission is missing, as far as the table of
// Microsoft Graph's endpoints and the token's own claims tell.
func (inv *invocation) describeForbidden(r *report, e *apiError) {
	have, ok := graph.RightsOf(e.token)
	r.cause = "the token is good but does not allow this: " + permissionsOf(have)
	r.fix = "grant the permission that the API's documentation names, to the app for itself or to the user and the app together, and have it consented to"
	delegated, application, known := graph.Permissions(e.method, e.path)
	if !ok || !known || inv.settings == nil || hostname(inv.settings.graph.text) != hostname(e.host) {
		return
	}
	want, kind := delegated, "a delegated permission"
	if have.AppOnly {
		want, kind = application, "an application permission"
	}
	if len(want) == 0 || slices.ContainsFunc(want, have.Has) {
		if why := graph.Explain403(e.method, e.path, have); why != "" {
			r.fix = why
		}
		return
	}
	r.fix = "grant the permission " + oneLine(want[0]) + " to the app as " + kind
	if others := want[1:]; len(others) > 0 {
		r.fix += " (" + someOf(others) + " would do, too)"
	}
	r.fix += ", have it consented to, and get a new token with --force-refresh"
}

// someOf lists the first few names.
func someOf(names []string) string {
	const few = 5
	list := oneLine(strings.Join(names[:min(few, len(names))], ", "))
	if more := len(names) - few; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list
}

// permissionsOf says what a token allows, by its own claims. They are for the
// API to read, but nothing else says it.
func permissionsOf(have graph.Rights) string {
	switch {
	case len(have.Scopes) > 0:
		return "it has the scopes " + oneLine(strings.Join(have.Scopes, ", "))
	case len(have.Roles) > 0:
		return "it has the app roles " + oneLine(strings.Join(have.Roles, ", "))
	}
	return "it has no scopes and no app roles"
}

// again is the command that ran, with more words; empty if it was tried before,
// or as rerun says.
func (inv *invocation) again(more string) string {
	if slices.Contains(inv.Args, more) {
		return ""
	}
	line := inv.rerun(func(arg string) string { return arg })
	if line == "" {
		return ""
	}
	return line + " " + more
}

// rerun is the command that ran, each argument as change makes it; empty if it
// is too long to be read, or has what is not for a log.
func (inv *invocation) rerun(change func(arg string) string) string {
	words := []string{"fob"}
	for _, arg := range inv.Args {
		if strings.HasPrefix(arg, "--body") || strings.HasPrefix(arg, "--header") || strings.HasPrefix(arg, "-H") || strings.HasPrefix(arg, "--claims") {
			return ""
		}
		words = append(words, inv.quote(change(arg)))
	}
	if line := strings.Join(words, " "); len(line) <= 500 {
		return line
	}
	return ""
}
