package cli

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/internal/insight"
)

// failure is the last refusal of a server, kept for "fob explain". It holds no
// secret: what was sent is told by names and ids, and what came back has been
// cleared of the secrets that were sent.
type failure struct {
	At            time.Time `json:"at"`
	Command       string    `json:"command"` // without its arguments
	Flow          string    `json:"flow,omitempty"`
	Credential    string    `json:"credential,omitempty"` // its kind
	ClientID      string    `json:"client_id,omitempty"`
	Tenant        string    `json:"tenant,omitempty"`
	Scopes        []string  `json:"scopes,omitempty"`
	Host          string    `json:"host,omitempty"`
	Status        int       `json:"http_status,omitempty"`
	Error         string    `json:"error"`
	Suberror      string    `json:"suberror,omitempty"`
	Codes         []int     `json:"error_codes,omitempty"`
	Description   string    `json:"error_description"`
	Claims        string    `json:"claims,omitempty"`
	TraceID       string    `json:"trace_id,omitempty"`
	CorrelationID string    `json:"correlation_id,omitempty"`
	Timestamp     string    `json:"timestamp,omitempty"`
	Try           string    `json:"try,omitempty"`
}

const maxFailure = 64 << 10

func failureFile(cacheDir string) string { return filepath.Join(cacheDir, "last-failure.json") }

// rememberFailure keeps r for "fob explain" if it is the refusal of a server.
// That it cannot be kept is no reason to say more than the refusal.
func (inv *invocation) rememberFailure(r report) {
	s := inv.settings
	if s == nil || s.cacheDir.text == "" || !r.fromServer() {
		return
	}
	f := failure{
		At: time.Now().UTC(), Command: inv.command, Credential: credentialName(s), ClientID: s.clientID.text, Tenant: s.tenant.text,
		Scopes: s.scopes, Error: r.kind, Description: r.text, Try: r.try,
	}
	// An API refuses the token, and how that was had follows from what was given.
	switch {
	case !s.refreshToken.IsZero():
		f.Flow = "refresh_token"
	case s.credential != nil:
		f.Flow = "client_credentials"
	default:
		f.Flow = "stored"
	}
	if e := r.refusal; e != nil {
		f.Flow, f.Host, f.Status, f.Suberror, f.Codes, f.Claims = e.Grant, e.Host, e.Status, e.Suberror, e.Codes, e.Claims
		f.Description, f.TraceID, f.CorrelationID, f.Timestamp = e.Description, e.TraceID, e.CorrelationID, e.Timestamp
	}
	text, err := json.Marshal(f)
	if err != nil || len(text) > maxFailure || os.MkdirAll(s.cacheDir.text, 0o700) != nil {
		return
	}
	temp, err := os.CreateTemp(s.cacheDir.text, ".tmp-failure-")
	if err != nil {
		return
	}
	_, err = temp.Write(text)
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), failureFile(s.cacheDir.text))
	}
	if err != nil {
		os.Remove(temp.Name())
	}
}

// fromServer reports whether r tells what a server said.
func (r report) fromServer() bool {
	switch r.kind {
	case "failed", "wrong_usage", "bad_answer", "unavailable", "interaction_required":
		return r.refusal != nil
	}
	return true
}

// explainLast explains the last command that a server refused.
func (inv *invocation) explainLast() (*insight.Explanation, error) {
	s := &settings{}
	if err := inv.resolveCacheDir(s); err != nil {
		return nil, err
	}
	if err := s.hasPlace(); err != nil {
		return nil, err
	}
	text, err := readBounded(failureFile(s.cacheDir.text), maxFailure)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &problem{status: StatusFailed, text: "no command of fob was refused yet", cause: "nothing is kept in " + s.cacheDir.text,
			fix: "give a code, the text of an error, or a topic", try: "fob explain AADSTS700016"}
	}
	if err != nil {
		return nil, err
	}
	var f failure
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, &problem{status: StatusFailed, text: "what is kept of the last failure cannot be read", err: err, fix: "remove " + failureFile(s.cacheDir.text)}
	}
	if time.Since(f.At) > time.Minute {
		// "fob token || fob explain" may be about a failure that was no refusal.
		inv.note("the last refusal by a server was at %s, of %s", f.At.Local().Format(time.DateTime), f.Command)
	}
	return f.explain(), nil
}

func (f failure) explain() *insight.Explanation {
	var e *insight.Explanation
	if f.Status != 0 {
		e = insight.ExplainFailure(&fob.Error{
			Status: f.Status, Code: f.Error, Suberror: f.Suberror, Description: f.Description, Codes: f.Codes, Claims: f.Claims,
			TraceID: f.TraceID, CorrelationID: f.CorrelationID, Timestamp: f.Timestamp, Grant: f.Flow, Host: f.Host,
		})
	} else {
		// An API's error word; the rest of its answer is in the text.
		e = insight.Explain(f.Error)
		e.Source = "answer of the API"
		if !understood(e) {
			e.Summary = oneLine(f.Description)
		}
		e.Facts = append(e.Facts, insight.Fact{Name: "the API says", Value: oneLine(f.Description)})
	}
	// The command that was advised has the user's own values in it.
	if len(e.Causes) > 0 && f.Try != "" && !strings.HasPrefix(f.Try, "fob explain") {
		e.Causes[0].Try = oneLine(f.Try)
	}
	e.Source += " and the request"
	var request []insight.Fact
	for _, fact := range []insight.Fact{
		{Name: "command", Value: f.Command}, {Name: "when", Value: f.At.Local().Format(time.DateTime)}, {Name: "flow", Value: flowWords(f.Flow)},
		{Name: "credential", Value: f.Credential}, {Name: "app", Value: f.ClientID}, {Name: "tenant", Value: f.Tenant}, {Name: "scope", Value: strings.Join(f.Scopes, " ")},
	} {
		if fact.Value = oneLine(fact.Value); fact.Value != "" {
			request = append(request, fact)
		}
	}
	e.Facts = append(request, e.Facts...)
	return e
}

// flowWords names a grant as people do.
func flowWords(grant string) string {
	switch grant {
	case "client_credentials":
		return "client credentials: the app as itself"
	case "refresh_token":
		return "renewal with a refresh token"
	case "authorization_code":
		return "sign-in with a browser"
	case "urn:ietf:params:oauth:grant-type:device_code":
		return "sign-in with a device code"
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		return "on behalf of a user"
	case "stored":
		return "the stored token of the user who signed in"
	}
	return grant
}
