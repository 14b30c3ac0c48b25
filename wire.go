package fob

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/fobauth/fob/internal/harmless"
)

// The grant types that fob sends itself.
const (
	grantClientCredentials = "client_credentials"
	grantAuthorizationCode = "authorization_code"
	grantRefreshToken      = "refresh_token"
	grantDeviceCode        = "urn:ietf:params:oauth:grant-type:device_code"
	grantOnBehalfOf        = "urn:ietf:params:oauth:grant-type:jwt-bearer"
)

// Bounds of what a server may make us do.
const (
	maxAnswer      = 4 << 20          // bytes of a body, after decompression
	maxHeader      = 64 << 10         // bytes of response headers
	maxDepth       = 64               // nesting of JSON
	maxLife        = 10 * 365 * 86400 // seconds; longer lives are a mistake of the server
	exchangeTime   = 30 * time.Second // for one exchange with its retries, where ctx has no deadline
	maxRetryAfter  = 20 * time.Second // a longer wait is the caller's decision
	exchangeTries  = 3
	firstRetryWait = 500 * time.Millisecond
)

// oidcScopes come along with every user's request: an ID token says who signed
// in, a refresh token spares the next sign-in.
var oidcScopes = []string{"openid", "profile", "offline_access"}

// Exchange sends one grant to the token endpoint and decodes the answer. It is
// the door for every grant type, also those that fob has no [Flow] for: grant
// holds grant_type and its parameters; Exchange adds the client id, the scopes
// and claims of req and the client's credential. It stores nothing.
//
// A refusal is an [*Error]. Redirects are not followed, answers are read to
// 4 MiB at the most, and without a deadline in ctx the exchange takes 30
// seconds at the most. 429, 5xx and lost connections are tried again up to
// twice, except for grants that may be spent by the first try.
func (c *Client) Exchange(ctx context.Context, req Request, grant url.Values) (*Token, error) {
	authority := c.Authority.WithTenant(req.Tenant)
	if err := authority.Check(); err != nil {
		return nil, err
	}
	if c.ID == "" {
		return nil, errors.New("no client id; give the Application (client) ID of your app registration")
	}
	form := make(url.Values, len(grant)+6)
	for name, values := range grant {
		form[name] = values
	}
	form.Set("client_id", c.ID)
	forUser := form.Get("grant_type") != grantClientCredentials
	if scope := c.scope(req, forUser); scope != "" && !form.Has("scope") {
		form.Set("scope", scope)
	}
	if forUser {
		form.Set("client_info", "1")
	}
	claims, err := c.claims(req)
	if err != nil {
		return nil, err
	}
	if claims != "" {
		form.Set("claims", claims)
	}
	if c.Credential != nil {
		if err := c.Credential.authenticate(ctx, c, authority.TokenEndpoint(), form); err != nil {
			return nil, err
		}
	}
	body, err := c.post(ctx, authority.TokenEndpoint(), form)
	if err != nil {
		return nil, err
	}
	token, err := c.decodeToken(body, authority, req.Scopes)
	if err != nil {
		return nil, &BadAnswerError{Host: hostOf(authority.TokenEndpoint()), Status: 200, Why: err.Error()}
	}
	return token, nil
}

// scope returns the scope parameter. Named scopes of an app-only request are
// sent as they are: the server's refusal explains them best.
func (c *Client) scope(req Request, forUser bool) string {
	scopes := slices.Clone(req.Scopes)
	if forUser {
		for _, s := range oidcScopes {
			if !slices.Contains(scopes, s) {
				scopes = append(scopes, s)
			}
		}
	}
	return strings.Join(scopes, " ")
}

// claims merges the client's capabilities with the challenge of req.
func (c *Client) claims(req Request) (string, error) {
	if len(c.Capabilities) == 0 && req.Claims == "" {
		return "", nil
	}
	merged := map[string]any{}
	if req.Claims != "" {
		if err := decodeObject([]byte(req.Claims), &merged); err != nil {
			return "", fmt.Errorf("the claims challenge is not a JSON object (if it came from a WWW-Authenticate header, it is base64: decode it first): %w", err)
		}
	}
	if len(c.Capabilities) > 0 {
		access, ok := merged["access_token"].(map[string]any)
		if !ok {
			if merged["access_token"] != nil {
				return "", errors.New("the claims challenge has an access_token member that is no object")
			}
			access = map[string]any{}
		}
		access["xms_cc"] = map[string]any{"values": c.Capabilities}
		merged["access_token"] = access
	}
	text, err := json.Marshal(merged, json.Deterministic(true))
	return string(text), err
}

// post sends form and returns the body of a 200 answer; every other answer is
// an error.
func (c *Client) post(ctx context.Context, endpoint string, form url.Values) ([]byte, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, exchangeTime)
		defer cancel()
	}
	hide := redactor(form)
	encoded := form.Encode()
	for try := 1; ; try++ {
		body, err := c.postOnce(ctx, endpoint, encoded, form.Get("grant_type"), hide)
		if err == nil || try == exchangeTries || ctx.Err() != nil || !retryable(err, form.Get("grant_type")) {
			return body, err
		}
		// Full jitter: a fleet that was cut off together does not come back together.
		wait := time.Duration((0.5 + rand.Float64()/2) * float64(firstRetryWait<<(try-1)))
		wait = max(wait, askedToWait(err))
		if deadline, ok := ctx.Deadline(); wait > maxRetryAfter || ok && time.Until(deadline) < wait {
			return nil, err
		}
		if c.pause(ctx, wait) != nil {
			return nil, err
		}
	}
}

// askedToWait is how long the server that err is from asked to wait.
func askedToWait(err error) time.Duration {
	var refusal *Error
	var bad *BadAnswerError // a front end in trouble answers with a web page
	switch {
	case errors.As(err, &refusal):
		return refusal.RetryAfter
	case errors.As(err, &bad):
		return bad.RetryAfter
	}
	return 0
}

// retryable says whether sending the same form again is safe and may help.
func retryable(err error, grant string) bool {
	if !errors.Is(err, ErrUnavailable) {
		return false
	}
	switch grant {
	case grantClientCredentials, grantRefreshToken, grantOnBehalfOf, "":
	default:
		// A code that was redeemed by a request whose answer was lost is spent
		// (AADSTS54005). Device codes are polled again anyway.
		return false
	}
	var dns *net.DNSError // names that do not resolve will not in a second
	return !errors.As(err, &dns) && !isLasting(err)
}

// isLasting says whether a lost connection will be lost for as long as nobody
// does anything about it: certificates that are not trusted, files that cannot
// be read, and what a transport says so of. A proxy that refuses a password may
// lock its user out.
func isLasting(err error) bool {
	var file *fs.PathError
	var final interface{ Permanent() bool }
	var verification *tls.CertificateVerificationError
	var authority x509.UnknownAuthorityError
	var host x509.HostnameError
	return errors.As(err, &file) || errors.As(err, &final) && final.Permanent() ||
		errors.As(err, &verification) || errors.As(err, &authority) || errors.As(err, &host)
}

func (c *Client) postOnce(ctx context.Context, endpoint, form, grant string, hide func(string) string) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(form))
	if err != nil {
		return nil, err
	}
	id := uuid.NewString()
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("client-request-id", id)
	r.Header.Set("return-client-request-id", "true")
	status, header, body, err := c.roundTrip(r)
	if err != nil {
		return nil, err
	}
	if status == http.StatusOK && bytes.HasPrefix(bytes.TrimLeft(body, jsonSpace), []byte("{")) {
		return body, nil
	}
	if 300 <= status && status < 400 {
		return nil, &BadAnswerError{Host: hostOf(endpoint), Status: status,
			Why: "a redirect, which is not followed because the request carries secrets; check the authority host and the proxy"}
	}
	refusal := &Error{Status: status, Host: hostOf(endpoint), Grant: grant, RetryAfter: retryAfter(header, c.now())}
	if status == http.StatusOK || !refusal.decode(body, hide) {
		return nil, &BadAnswerError{Host: hostOf(endpoint), Status: status, Why: notJSON(status, header, body), RetryAfter: refusal.RetryAfter}
	}
	if refusal.CorrelationID == "" {
		refusal.CorrelationID = id
	}
	return nil, refusal
}

// roundTrip sends r with the headers that every request to an authority
// carries, follows no redirect, and reads the answer within bounds.
func (c *Client) roundTrip(r *http.Request) (status int, header http.Header, body []byte, err error) {
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "fob")
	r.Header.Set("x-client-SKU", "fob")
	resp, err := c.http().Do(r)
	if err != nil {
		return 0, nil, nil, &unreachable{r.Method + " " + r.URL.Host, bareCause(err)}
	}
	defer resp.Body.Close()
	body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return 0, nil, nil, &unreachable{"reading the answer of " + r.URL.Host, bareCause(err)}
	}
	if len(body) > maxAnswer {
		return 0, nil, nil, &BadAnswerError{Host: r.URL.Host, Status: resp.StatusCode, Why: "more than 4 MiB; no token answer is that long"}
	}
	return resp.StatusCode, resp.Header, body, nil
}

// bareCause drops the URL that net/http puts before a cause: it is long, and
// where it is useful the caller names the host.
func bareCause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no complete answer in time: %w", err)
	}
	return err
}

// http returns the client's HTTP client, changed to follow no redirect.
func (c *Client) http() *http.Client {
	var h http.Client
	if c.HTTP != nil {
		h = *c.HTTP
	} else {
		h.Transport = defaultTransport()
	}
	h.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	h.Jar = nil
	return &h
}

var defaultTransport = sync.OnceValue(func() http.RoundTripper {
	t, ok := http.DefaultTransport.(*http.Transport)
	if !ok { // replaced by the program
		t = &http.Transport{Proxy: http.ProxyFromEnvironment, ForceAttemptHTTP2: true, IdleConnTimeout: 90 * time.Second, TLSHandshakeTimeout: 10 * time.Second}
	}
	t = t.Clone()
	t.MaxResponseHeaderBytes = maxHeader
	t.ResponseHeaderTimeout = exchangeTime
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	return t
})

// decode reads an error answer leniently: whatever of it is a string is of
// use. It reports whether there was an error answer at all.
func (e *Error) decode(body []byte, hide func(string) string) bool {
	var members map[string]jsontext.Value
	if decodeObject(body, &members) != nil {
		return false
	}
	text := func(name string) string {
		var s string
		if json.Unmarshal(members[name], &s) != nil {
			return ""
		}
		return clean(hide(s))
	}
	e.Code, e.Suberror, e.Description = text("error"), text("suberror"), text("error_description")
	if e.Code == "" && e.Description == "" {
		return false
	}
	e.TraceID, e.CorrelationID, e.Timestamp = text("trace_id"), text("correlation_id"), text("timestamp")
	var trace, correlation, timestamp string
	e.Description, trace, correlation, timestamp = splitTrailer(e.Description)
	e.TraceID, e.CorrelationID, e.Timestamp = orElse(e.TraceID, trace), orElse(e.CorrelationID, correlation), orElse(e.Timestamp, timestamp)
	// The claims go back to the server in the next request, so they are kept
	// as they are, if they are JSON.
	var claims string
	if json.Unmarshal(members["claims"], &claims) == nil && decodeObject([]byte(claims), new(map[string]any)) == nil {
		challenge := jsontext.Value(hide(claims))
		if challenge.Compact() == nil && clean(string(challenge)) == string(challenge) {
			e.Claims = string(challenge)
		}
	}
	var numbers []jsontext.Value
	if json.Unmarshal(members["error_codes"], &numbers) == nil {
		for _, n := range numbers {
			if code, err := strconv.Atoi(strings.Trim(string(n), `"`)); err == nil && code > 0 && len(e.Codes) < 8 {
				e.Codes = append(e.Codes, code)
			}
		}
	}
	if len(e.Codes) == 0 {
		e.Codes = aadstsNumbers(e.Description)
	}
	return true
}

func orElse(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

// tokenAnswer is RFC 6749 section 5.1 with Entra's members.
type tokenAnswer struct {
	AccessToken  string  `json:"access_token"`
	TokenType    string  `json:"token_type"`
	ExpiresIn    seconds `json:"expires_in"`
	RefreshIn    seconds `json:"refresh_in"`
	RefreshToken string  `json:"refresh_token"`
	IDToken      string  `json:"id_token"`
	Scope        string  `json:"scope"`
	ClientInfo   string  `json:"client_info"`
}

// seconds is a span that servers write as a number or as a numeric string
// (Entra's v1 endpoint and managed identities).
type seconds int64

// UnmarshalJSON reads 3599, 3599.0 and "3599".
func (s *seconds) UnmarshalJSON(data []byte) error {
	f, err := strconv.ParseFloat(strings.Trim(string(data), `"`), 64)
	if err != nil || !(0 <= f && f <= maxLife) { // NaN compares false
		return fmt.Errorf("%s is not a sensible number of seconds", clean(string(data)))
	}
	*s = seconds(f)
	return nil
}

func (c *Client) decodeToken(body []byte, authority Authority, asked []string) (*Token, error) {
	var a tokenAnswer
	if err := decodeObject(body, &a); err != nil {
		return nil, err
	}
	switch {
	case a.AccessToken == "":
		return nil, errors.New("it has no access_token")
	case !isTokenText(a.AccessToken):
		return nil, errors.New("its access_token has characters that cannot stand in a header")
	case a.TokenType != "" && !strings.EqualFold(a.TokenType, "Bearer"):
		return nil, fmt.Errorf("its token_type is %q, not Bearer", clean(a.TokenType))
	case a.ExpiresIn == 0:
		return nil, errors.New("it does not say how long the token lives (expires_in)")
	}
	now := c.now()
	t := &Token{
		Access: NewSecret(a.AccessToken), Refresh: NewSecret(a.RefreshToken), ID: NewSecret(a.IDToken),
		Type: "Bearer", Scopes: slices.Clone(asked), Origin: OriginFlow, Tenant: authority.tenant(),
		Expires: now.Add(time.Duration(a.ExpiresIn) * time.Second),
	}
	if scopes := strings.Fields(a.Scope); len(scopes) > 0 {
		t.Scopes = scopes
		for i := range scopes {
			scopes[i] = clean(scopes[i])
		}
	}
	t.RefreshOn = refreshOn(now, t.Expires, time.Duration(a.RefreshIn)*time.Second)
	t.Account = accountOf(a.ClientInfo, a.IDToken)
	return t, nil
}

// refreshOn says when to renew: when the server says so; else at half of a
// long life (2 hours and more), as MSAL does; else 5 minutes before the end,
// or a quarter of the life if that is shorter.
func refreshOn(now, expires time.Time, in time.Duration) time.Time {
	life := expires.Sub(now)
	switch {
	case 0 < in && in < life:
		return now.Add(in)
	case life >= 2*time.Hour:
		return now.Add(life / 2)
	default:
		return expires.Add(-min(5*time.Minute, life/4))
	}
}

// isTokenText reports whether s is of visible ASCII, as a header value that is
// nothing but one word has to be.
func isTokenText(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= 0x20 || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// decodeObject reads one JSON object strictly: valid UTF-8, no member twice,
// nothing behind it, no deeper than maxDepth.
func decodeObject(body []byte, into any) error {
	d := jsontext.NewDecoder(bytes.NewReader(body))
	if d.PeekKind() != '{' {
		return errors.New("it is not a JSON object")
	}
	for {
		if _, err := d.ReadToken(); err != nil {
			return fmt.Errorf("its JSON is broken: %s", jsonCause(err))
		}
		switch depth := d.StackDepth(); {
		case depth > maxDepth:
			return fmt.Errorf("its JSON is nested deeper than %d levels", maxDepth)
		case depth == 0:
			if _, err := d.ReadToken(); err != io.EOF {
				return errors.New("something stands behind its JSON object")
			}
			if err := json.Unmarshal(body, into); err != nil {
				return fmt.Errorf("its JSON has a member of the wrong type: %s", jsonCause(err))
			}
			return nil
		}
	}
}

// jsonCause says where JSON went wrong without quoting it: a value may be a
// secret.
func jsonCause(err error) string {
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		if errors.Is(err, jsontext.ErrDuplicateName) {
			return fmt.Sprintf("the member %s stands there twice", clean(string(syntax.JSONPointer)))
		}
		return fmt.Sprintf("at byte %d", syntax.ByteOffset)
	}
	var semantic *json.SemanticError
	if errors.As(err, &semantic) {
		return clean(string(semantic.JSONPointer))
	}
	return "at its end"
}

// notJSON says what a request was answered with instead of what it should have
// been.
func notJSON(status int, header http.Header, body []byte) string {
	kind, _, _ := strings.Cut(header.Get("Content-Type"), ";")
	switch start := bytes.TrimLeft(body, jsonSpace+"\ufeff"); {
	case status == http.StatusTooManyRequests:
		return "too many requests were sent"
	case status >= 500:
		return "the service, or a proxy on the way to it, is in trouble"
	case len(start) == 0:
		return "an empty body instead of JSON"
	case start[0] == '<' || strings.Contains(strings.ToLower(kind), "html"):
		return "a web page instead of JSON; a proxy, a captive portal or a wrong authority host answers like that"
	case start[0] == '{' || strings.Contains(strings.ToLower(kind), "json"):
		return "JSON that is no OAuth answer; check the authority host"
	default:
		return fmt.Sprintf("%q instead of JSON; check the authority host and the proxy", clean(kind))
	}
}

// jsonSpace is what may stand around a JSON value.
const jsonSpace = " \r\n\t"

// retryAfter reads Retry-After: seconds, decimal seconds or an HTTP date.
// Rubbish and the past count as absent.
func retryAfter(header http.Header, now time.Time) time.Duration {
	value := strings.TrimSpace(header.Get("Retry-After"))
	if value == "" {
		return 0
	}
	if s, err := strconv.ParseFloat(value, 64); err == nil {
		if s > 0 && s < maxLife {
			return time.Duration(s * float64(time.Second))
		}
		return 0
	}
	if at, err := http.ParseTime(value); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

// secretFields are the parameters of a form whose values must not come back
// in an error text.
var secretFields = []string{
	"client_secret", "client_assertion", "refresh_token", "code", "code_verifier",
	"device_code", "password", "assertion", "user_federated_identity_credential",
}

// redactor returns a function that takes the secrets of form out of a text, in
// the spellings a server might echo them in.
func redactor(form url.Values) func(string) string {
	var pairs []string
	for _, field := range secretFields {
		for _, value := range form[field] {
			if len(value) < 4 {
				continue // would take single letters out of every word
			}
			for _, spelling := range harmless.Spellings(value) {
				pairs = append(pairs, spelling, redacted)
			}
		}
	}
	return strings.NewReplacer(pairs...).Replace
}

func hostOf(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil {
		return u.Host
	}
	return "the server"
}
