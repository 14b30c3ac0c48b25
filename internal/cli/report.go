package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/aadsts"
	"github.com/fobauth/fob/internal/insight"
)

// problem is an error of the command line's own, with its advice.
type problem struct {
	status          int
	text            string
	cause, fix, try string
	err             error // what lies behind it, if anything
}

func (p *problem) Error() string {
	switch {
	case p.err == nil, p.text != "" && p.err == fob.ErrInteraction: // which says no more
		return p.text
	case p.text == "":
		return p.err.Error()
	}
	return p.text + ": " + p.err.Error()
}

func (p *problem) Unwrap() error { return p.err }

// report is an error as people and scripts get to read it.
type report struct {
	status          int
	text            string // one line for people
	cause, fix, try string
	refusal         *fob.Error // what the server said, if it was the server
	kind            string     // the "error" member where no server gave one
}

// describe turns an error into words. It is the only place that does.
func (inv *invocation) describe(err error) report {
	r := report{status: StatusFailed, text: oneLine(err.Error()), kind: "failed"}

	var refusal *fob.Error
	var bad *fob.BadAnswerError
	var api *apiError
	var own *problem
	switch {
	case errors.As(err, &api):
		inv.describeAPI(&r, api)
	case errors.As(err, &refusal):
		r.refusal, r.kind = refusal, refusal.Code
		r.status = StatusRefused
		explain(&r, refusal)
		inv.explainRefreshToken(&r, refusal)
		if s, code := inv.settings, refusal.AADSTS(); s != nil && s.tenant.text != "" && s.clientID.text != "" && (code == 65001 || code == 90094) {
			r.fix += "; administrators consent at " + strings.TrimSuffix(s.authority.TokenEndpoint(), "oauth2/v2.0/token") + "adminconsent?client_id=" + url.QueryEscape(s.clientID.text)
		}
		switch {
		case errors.Is(err, fob.ErrInteraction):
			r.status = StatusInteraction
		case errors.Is(err, fob.ErrUnavailable):
			r.status = StatusUnavailable
		}
		r.try = inv.tryAfter(refusal)
	case errors.Is(err, fob.ErrInteraction):
		r.status, r.kind = StatusInteraction, "interaction_required"
		r.try = inv.loginLine()
	case errors.As(err, &bad):
		r.kind = "bad_answer"
		if errors.Is(err, fob.ErrUnavailable) {
			r.status, r.kind = StatusUnavailable, "unavailable"
			r.fix = laterFix(bad.RetryAfter)
		}
	case errors.As(err, &own) && own.status == StatusUsage: // whichever request came upon it
	case errors.Is(err, fob.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		r.status, r.kind = StatusUnavailable, "unavailable"
		inv.adviseNetwork(&r, err)
	}
	if fix := adviseSystem(err); fix != "" {
		r.cause, r.fix, r.try = "", fix, ""
	}
	if errors.As(err, &own) {
		if own.status != 0 {
			r.status = own.status
		}
		if own.status == StatusUsage {
			r.kind = "wrong_usage"
		}
		r.cause, r.fix, r.try = or(own.cause, r.cause), or(own.fix, r.fix), or(own.try, r.try)
	}
	return r
}

// laterFix is the advice to come back when the server said so.
func laterFix(after time.Duration) string {
	switch seconds := (after + time.Second - 1) / time.Second; {
	case seconds <= 0:
		return "try again later"
	case seconds == 1:
		return "try again after 1 second"
	default:
		return fmt.Sprintf("try again after %d seconds", seconds)
	}
}

// explain adds what package aadsts knows about a refusal.
func explain(r *report, refusal *fob.Error) {
	for i := len(refusal.Codes) - 1; i >= 0; i-- {
		if code, ok := aadsts.Lookup(refusal.Codes[i]); ok {
			r.cause, r.fix = code.Cause, code.Fix
			named := code.Owner == aadsts.Admin && strings.Contains(code.Fix, "administrator")
			if code.Owner != aadsts.Caller && code.Owner != aadsts.User && !named {
				r.fix += " (ask " + code.Owner.String() + ")"
			}
			return
		}
	}
	if e := insight.ExplainFailure(refusal); len(e.Causes) > 0 { // by its word, or where to look the number up
		r.cause, r.fix = e.Causes[0].Cause, e.Causes[0].Fix
	}
}

// explainRefreshToken says of a refresh token that was given that it is none.
func (inv *invocation) explainRefreshToken(r *report, refusal *fob.Error) {
	s := inv.settings
	if s == nil || s.refreshToken.IsZero() || refusal.AADSTS() != 9002313 {
		return
	}
	if t, err := insight.DecodeToken(s.refreshToken, time.Time{}); err != nil || len(t.Claims) == 0 {
		return
	}
	r.cause = "what was given is a token for an API or about a person; a refresh token is another one"
	r.fix = "give the refresh_token of the answer, or sign in"
}

// tryAfter is the command that helps after a refusal, with the user's own
// values in it.
func (inv *invocation) tryAfter(refusal *fob.Error) string {
	s := inv.settings
	code := refusal.AADSTS()
	switch {
	case errors.Is(refusal, fob.ErrInteraction):
		if refusal.Claims != "" {
			return inv.loginLine() + " --claims " + inv.quote(refusal.Claims)
		}
		return inv.loginLine()
	case errors.Is(refusal, fob.ErrUnavailable):
		return ""
	case s == nil:
		return explainLine(code)
	case code == 7000218: // no credential came, and the app is not public
		return inv.line(s, "--client-secret-file", "-")
	case s.credential != nil && (code == 70011 || code == 1002012 || code == 28002 || code == 900144) && len(s.scopes) > 0:
		if scope := defaultScopeOf(s.scopes[0]); scope != s.scopes[0] {
			again := *s
			again.scopes = []string{scope}
			return inv.line(&again)
		}
	case code == 7000215 && s.secretFile != "":
		return inv.line(s, "--client-secret-file", "-")
	case code == 700027 && inv.flags.certificate != "":
		plain := *s
		plain.scopesFrom = "default" // the doctor asks for no scope
		return "fob doctor certificate" + strings.TrimPrefix(inv.line(&plain), inv.command)
	case (code == 700016 || code == 90002 || code == 900023) && s.tenant.from != "--tenant":
		return inv.command + " --verbose" // shows where the wrong value comes from
	}
	return explainLine(code)
}

func explainLine(code int) string {
	if _, ok := aadsts.Lookup(code); !ok {
		return ""
	}
	return fmt.Sprintf("fob explain %d", code)
}

// adviseNetwork says what to do about a host that did not answer.
func (inv *invocation) adviseNetwork(r *report, err error) {
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var late *lateError
	var elsewhere *elsewhereError
	var op *net.OpError
	var outdated x509.CertificateInvalidError
	var host x509.HostnameError
	var noTLS tls.RecordHeaderError
	var proxy *proxyRefusal
	emulator := inv.settings != nil && inv.settings.emulator != nil
	switch {
	case errors.As(err, &outdated) && outdated.Reason == x509.Expired && outdated.Cert != nil:
		ended := "ended on " + outdated.Cert.NotAfter.UTC().Format(time.DateOnly)
		if begins := outdated.Cert.NotBefore; time.Now().Before(begins) {
			ended = "is good only from " + begins.UTC().Format(time.DateOnly) + " on"
		}
		r.cause = "the server's certificate " + ended + ", or this machine's clock is wrong: it says " + time.Now().UTC().Format("2006-01-02 15:04 UTC")
		r.fix = "set the clock; if it is right, whoever runs the server has to renew the certificate"
	case errors.As(err, &host):
		r.cause = "whoever answers there is not " + oneLine(host.Host) + ": a proxy, the sign-in page of a guest network, or a server of another name"
		r.fix = "check the host's name and the proxy (HTTPS_PROXY, NO_PROXY), and sign in to the network with a browser if it wants that"
	case errors.As(err, &noTLS), errors.Is(err, http.ErrSchemeMismatch):
		r.cause = "what answers there does not speak TLS: another program has that port, or a proxy or a guest network is in between"
		r.fix = "check the host and the port, the proxy (HTTPS_PROXY, NO_PROXY) and the network, then try again"
	case errors.As(err, &proxy):
		r.cause, r.fix = proxy.advice()
	case errors.As(err, &verification) || errors.As(err, &authority):
		r.cause = "the server's certificate is not from an authority that this machine trusts; a proxy that reads TLS traffic looks like that"
		r.fix = "name the proxy's (or the emulator's) authority with --ca-file or SSL_CERT_FILE"
		if inv.settings != nil && !emulator && isLoopbackURL(inv.settings.authority.Host) {
			r.cause = "the server is local and its certificate is its own"
			r.fix = "for the emulator use --emulator, which trusts its authority; for another server name its authority with --ca-file"
		}
	case errors.As(err, &late):
		r.fix = fmt.Sprintf("try again, or wait longer than %s with --timeout", late.after)
	case errors.As(err, &elsewhere):
		r.fix = "check that " + oneLine(elsewhere.host) + " is the right host and runs, and the proxy (HTTPS_PROXY, NO_PROXY), then try again"
	case errors.As(err, &op) && op.Op == "proxyconnect":
		r.cause = "the proxy that HTTPS_PROXY names does not answer"
		r.fix = "correct HTTPS_PROXY, or list the host in NO_PROXY if it is reached without one"
	case emulator:
		r.cause = "the emulator at " + inv.settings.emulator.URL + " does not answer; it may have ended"
		r.fix = "start it, in another terminal"
		r.try = "fob emulator"
	case errors.Is(err, context.DeadlineExceeded) && inv.flags.timeout > 0:
		r.fix = fmt.Sprintf("try again, or wait longer than %s with --timeout", inv.flags.timeout)
	default:
		r.fix = "check the network, the proxy (HTTPS_PROXY, NO_PROXY) and the authority host, then try again"
		if name := insight.UnreadableProxy(inv.getenv); name != "" {
			r.cause = name + " holds no address, so the connection was made without that proxy"
			r.fix = "write it like http://proxy.example:8080, or unset it"
		}
	}
}

// adviseSystem says what to do where the operating system has no more to give,
// whatever it was wanted for. It is empty for all other errors.
func adviseSystem(err error) string {
	err = posix(err)
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return "make room on the disk, or have the quota raised, then try again"
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return "let programs open more files (ulimit -n), or have fewer of them run at once, then try again"
	case errors.Is(err, syscall.EFBIG):
		return "let programs write larger files (ulimit -f), then try again"
	case errors.Is(err, syscall.EROFS):
		return "name a place that can be written; for tokens with --cache-dir or FOB_CACHE_DIR"
	case errors.Is(err, syscall.ENOLCK):
		return "name a place on a local disk, for this file system has no locks; for tokens with --cache-dir or FOB_CACHE_DIR"
	case errors.Is(err, syscall.EIO):
		return "the disk reports an error: look into the system's log, then try again"
	}
	return ""
}

// write prints the report to stderr: words, or with -o json one JSON object.
func (r report) write(inv *invocation) {
	if inv.wantsJSON() {
		r.writeJSON(inv.Stderr)
		return
	}
	t := inv.terminal(inv.Stderr)
	var b strings.Builder
	add := func(label, style, text string) {
		if text == "" {
			return
		}
		b.WriteString(t.paint(style, label))
		indent := displayWidth(label)
		b.WriteString(hang(text, indent, t.textWidth()))
		b.WriteByte('\n')
	}
	add("fob: error: ", styleBad, r.text)
	add("cause: ", styleLabel, r.cause)
	add("fix:   ", styleLabel, r.fix)
	if r.try != "" { // never wrapped: it is there to be copied
		b.WriteString(t.paint(styleLabel, "try:   ") + r.try + "\n")
	}
	io.WriteString(inv.Stderr, b.String())
}

func (r report) writeJSON(w io.Writer) {
	form := struct {
		Error         string `json:"error"`
		Description   string `json:"error_description"`
		Codes         []int  `json:"error_codes"`
		Suberror      string `json:"suberror"`
		Claims        string `json:"claims"`
		TraceID       string `json:"trace_id"`
		CorrelationID string `json:"correlation_id"`
		Timestamp     string `json:"timestamp"`
		Cause         string `json:"cause"`
		Fix           string `json:"fix"`
		Try           string `json:"try"`
	}{Error: r.kind, Description: r.text, Codes: []int{}, Cause: r.cause, Fix: r.fix, Try: r.try}
	if e := r.refusal; e != nil {
		form.Suberror, form.Claims = e.Suberror, e.Claims
		form.TraceID, form.CorrelationID, form.Timestamp = e.TraceID, e.CorrelationID, e.Timestamp
		form.Description = or(e.Description, r.text)
		if e.Codes != nil {
			form.Codes = e.Codes
		}
	}
	text, err := json.Marshal(form)
	if err != nil {
		text = []byte(`{"error":"failed"}`)
	}
	w.Write(append(text, '\n'))
}

// wantsJSON looks at the arguments themselves, because an error may have come
// before the flags were read.
func (inv *invocation) wantsJSON() bool {
	for i, arg := range inv.Args {
		switch {
		case arg == "--":
			return false
		case (arg == "-o" || arg == "-vo" || arg == "--output") && i+1 < len(inv.Args):
			return strings.EqualFold(inv.Args[i+1], "json")
		}
		for _, flag := range []string{"-o", "-o=", "-vo", "--output="} {
			if form, ok := strings.CutPrefix(arg, flag); ok && strings.EqualFold(form, "json") {
				return true
			}
		}
	}
	return false
}

// note tells the person something beside the answer.
func (inv *invocation) note(format string, args ...any) {
	fmt.Fprintf(inv.Stderr, "fob: note: %s\n", oneLine(fmt.Sprintf(format, args...)))
}

// warn tells the person, once, about something that went wrong without failing.
func (inv *invocation) warn(err error) {
	if errors.Is(err, context.Canceled) {
		return // that was the person
	}
	text := err.Error()
	if fix := adviseSystem(err); fix != "" {
		text += "; " + fix
	}
	if _, told := inv.warnings.LoadOrStore(text, true); !told {
		fmt.Fprintf(inv.Stderr, "fob: warning: %s\n", oneLine(text))
	}
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}
