package insight

import (
	_ "embed"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/aadsts"
	"github.com/fobauth/fob/internal/redact"
	"github.com/fobauth/fob/internal/spelling"
	"github.com/go-json-experiment/json/jsontext"
)

// Explanation says what an error means and what to do.
type Explanation struct {
	// Source says what kind of text was understood: "answer of the token
	// endpoint", "WWW-Authenticate header" and so on.
	Source  string `json:"source"`
	Summary string `json:"summary"`
	// Causes are what is known about the error, the cause itself first.
	Causes []Cause `json:"causes"`
	// Facts are what the text says beside: ids, times, the decoded claims
	// challenge. Callers add what they know about the request.
	Facts []Fact `json:"facts,omitempty"`
	// Near are codes or words that the text may have meant.
	Near []Suggestion `json:"near,omitempty"`
}

// Cause is what one code or error word means.
type Cause struct {
	// Name is the code ("AADSTS50011") or the word ("invalid_grant").
	Name    string `json:"name"`
	Title   string `json:"title,omitempty"`
	Meaning string `json:"meaning"`
	Cause   string `json:"cause,omitempty"`
	// Owner is whose job the fix is.
	Owner string `json:"owner,omitempty"`
	Fix   string `json:"fix,omitempty"`
	// Try is a command that proves the fix.
	Try string `json:"try,omitempty"`
	// Evidence says how sure this is: documented, observed or unconfirmed.
	Evidence string `json:"evidence,omitempty"`
}

// Fact is a detail of an error or of the request that met it.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Suggestion is a code or word that may have been meant.
type Suggestion struct {
	Name    string `json:"name"`
	Meaning string `json:"meaning"`
}

//go:embed data/errors.tsv
var errorsTable string

var errorWords = sync.OnceValue(func() [][]string { return tableRows(errorsTable) })

// word returns what is known about an error word; case matters little.
func word(families, name string) (Cause, bool) {
	for _, row := range errorWords() {
		if strings.Contains(families, row[0]) && strings.EqualFold(row[1], name) {
			return Cause{Name: row[1], Meaning: row[2], Cause: row[3], Fix: row[4], Owner: aadsts.Owner(row[5]).String(), Try: row[6]}, true
		}
	}
	return Cause{}, false
}

// Explain understands an error in whatever form it was copied: a number
// ("50011", "AADSTS50011"), a text with such codes in it, as programs print when
// they fail, the JSON answer of a token endpoint or of an API, with or without
// its status and headers, a WWW-Authenticate header, the address of a redirect
// with error=, an error word ("invalid_grant"), or a topic ("redirect uri
// mismatch"). An answer that holds tokens is told from an error; what is secret
// in a text is not repeated. Of a text that it does not understand it says so,
// with the closest that it knows. It needs no network.
func Explain(text string) *Explanation {
	understanding := []func(string) *Explanation{explainAnswer, explainNumber, explainJSON, explainChallenge, explainRedirect, explainCodes, explainWord, explainOutput, explainToken}
	if len(text) > maxToken {
		text = text[:maxToken]
		understanding = understanding[:len(understanding)-1] // no token is so long
	}
	text = strings.TrimSpace(strings.ToValidUTF8(text, " "))
	for _, understand := range understanding {
		if e := understand(text); e != nil {
			if e.Summary == "" && len(e.Causes) > 0 {
				e.Summary = e.Causes[0].headline()
			}
			return e
		}
	}
	e := &Explanation{Source: "text", Summary: "fob does not know this error"}
	e.Causes = []Cause{{Name: "text", Meaning: "no code, error word or answer of a server was found in it",
		Fix: "give the whole answer of the server, a WWW-Authenticate header, the address of the redirect, or a code", Try: "fob explain AADSTS50011"}}
	return e
}

// ExplainFailure explains a refusal that fob itself received.
func ExplainFailure(err *fob.Error) *Explanation {
	e := &Explanation{Source: "answer of " + err.Host}
	e.addCodes(err.Codes)
	e.addWord("suberror", err.Suberror)
	e.addWord("oauth", err.Code)
	e.fact("error", err.Code)
	e.fact("suberror", err.Suberror)
	e.fact("HTTP status", strconv.Itoa(err.Status))
	e.fact("the server says", err.Description)
	e.fact("claims challenge", err.Claims)
	e.fact("trace id", err.TraceID)
	e.fact("correlation id", err.CorrelationID)
	e.fact("timestamp", err.Timestamp)
	e.Summary = "fob does not know this error"
	if len(e.Causes) > 0 {
		e.Summary = e.Causes[0].headline()
	}
	return e
}

func (c Cause) headline() string {
	if c.Title != "" {
		return c.Name + " (" + c.Title + "): " + c.Meaning
	}
	return c.Name + ": " + c.Meaning
}

func (e *Explanation) fact(name, value string) {
	if value = tidy(redact.Text(value)); value != "" {
		e.Facts = append(e.Facts, Fact{name, value})
	}
}

const maxCodes = 5 // explained in full; a text with more is no error message

// addCodes explains codes, the cause last among them, the cause first.
func (e *Explanation) addCodes(codes []int) {
	for _, number := range slices.Backward(codes) {
		if len(e.Causes) == maxCodes {
			return
		}
		code, ok := aadsts.Lookup(number)
		if !ok {
			e.Causes = append(e.Causes, Cause{
				Name: "AADSTS" + strconv.Itoa(number), Meaning: "not in fob's table",
				Fix: "look it up: https://login.microsoftonline.com/error?code=" + strconv.Itoa(number),
			})
			for i, near := range aadsts.Near(number) {
				if i < 5 {
					e.Near = append(e.Near, Suggestion{near.String(), near.Meaning})
				}
			}
			continue
		}
		e.Causes = append(e.Causes, Cause{
			Name: code.String(), Title: code.Name, Meaning: code.Meaning, Cause: code.Cause,
			Owner: code.Owner.String(), Fix: code.Fix, Try: proof(code), Evidence: code.Evidence.Meaning.String(),
		})
	}
}

func (e *Explanation) addWord(families, name string) {
	// Next to a code the word adds nothing.
	if len(e.Causes) > 0 || name == "" {
		return
	}
	if c, ok := word(families, name); ok {
		e.Causes = append(e.Causes, c)
	}
}

// proof is a command that shows whether a fix worked.
func proof(code aadsts.Code) string {
	switch code.Number {
	case 7000215, 7000222:
		return "fob token --client-secret-file FILE --force-refresh"
	case 700027, 50027, 700030, 50012:
		return "fob doctor certificate"
	case 700024:
		return "fob doctor clock"
	case 70021, 700211, 700212, 700213, 7002138, 50166, 700229:
		return "fob doctor federation"
	case 90002, 900023, 50194, 50059, 9001023, 90013:
		return "fob token --tenant TENANT --force-refresh"
	case 70011, 1002012, 28003, 900144, 700022, 700023, 650053, 500011, 650057, 901002:
		return "fob token --scope https://graph.microsoft.com/.default --force-refresh"
	case 7000218, 70016, 70018, 70019, 70020:
		return "fob login --device-code"
	case 50011, 500112, 500113, 9002325, 9002326, 9002327, 700051, 700054, 65001, 65004, 90094:
		return "fob login"
	}
	switch code.OAuthError {
	case "interaction_required", "login_required", "consent_required", "invalid_grant", "access_denied":
		return "fob login"
	}
	switch code.Owner {
	case aadsts.User:
		return "fob login"
	case aadsts.Network:
		return "fob doctor network"
	case aadsts.Issuer:
		return "fob doctor federation"
	}
	return "fob token --force-refresh"
}

// explainJSON understands the answers of token endpoints and of APIs, also
// with other text around them.
func explainJSON(text string) *Explanation {
	if strings.HasPrefix(strings.ToLower(strings.TrimSpace(text)), "www-authenticate") {
		return nil
	}
	for o := range objects(text) {
		if o.raw("error").Kind() == '"' {
			return explainOAuth("answer of the token endpoint", o.text("error"), o)
		}
		for _, name := range []string{"error", "odata.error"} {
			if inner, _, err := parseObject(o.raw(name)); err == nil {
				return explainAPI(inner)
			}
		}
		if e := explainTokens(o); e != nil {
			return e
		}
	}
	return nil
}

func explainOAuth(source, name string, o object) *Explanation {
	e := &Explanation{Source: source}
	description := o.text("error_description")
	codes := aadsts.Parse(description)
	for _, raw := range numbers(o.raw("error_codes")) {
		if !slices.Contains(codes, raw) {
			codes = append([]int{raw}, codes...)
		}
	}
	e.addCodes(codes)
	e.addWord("suberror", o.text("suberror"))
	e.addWord("oauth", name)
	if m := strings.ToLower(description); len(codes) == 0 && (m == "identity not found" || strings.Contains(m, "user assigned identities exist")) {
		e.Causes = []Cause{{Name: name, Meaning: "this machine does not have the managed identity that was asked for", Owner: aadsts.Caller.String(),
			Cause: "none is assigned to it, the client id is of another one, or it has several and none was named",
			Fix:   "assign the identity to this machine, or name it by its client id"}}
	}
	if len(e.Causes) == 0 {
		e.Summary = "fob does not know the error " + clean(name, 100)
		e.suggestWord(name)
	}
	e.fact("error", name)
	e.fact("suberror", o.text("suberror"))
	main, trailer := splitTrailer(description)
	e.fact("the server says", main)
	e.fact("claims challenge", o.text("claims"))
	e.fact("trace id", first(o.text("trace_id"), trailer[0]))
	e.fact("correlation id", first(o.text("correlation_id"), trailer[1]))
	e.fact("timestamp", first(o.text("timestamp"), trailer[2]))
	return e
}

func numbers(v jsontext.Value) []int {
	var all []int
	if v.Kind() != '[' {
		return nil
	}
	for _, text := range strings.FieldsFunc(string(v), func(r rune) bool { return r < '0' || r > '9' }) {
		if n, err := strconv.Atoi(text); err == nil && len(all) < maxCodes {
			all = append(all, n)
		}
	}
	return all
}

var trailerForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`\s+Trace ID:\s*([A-Za-z0-9-]+)(?:\s+Correlation ID:\s*([A-Za-z0-9-]+))?(?:\s+Timestamp:\s*([0-9:\- ]+Z))?`)
})

// splitTrailer takes the ids off the end of Entra's descriptions: trace id,
// correlation id, timestamp.
func splitTrailer(description string) (string, [3]string) {
	m := trailerForm().FindStringSubmatchIndex(description)
	if m == nil {
		return description, [3]string{}
	}
	var ids [3]string
	for i := range ids {
		if from := m[2*i+2]; from >= 0 {
			ids[i] = description[from:m[2*i+3]]
		}
	}
	return description[:m[0]], ids
}

func explainAPI(o object) *Explanation {
	e := &Explanation{Source: "error of an API (Microsoft Graph, Resource Manager)"}
	code, message := o.text("code"), o.text("message")
	if inner, _, err := parseObject(o.raw("message")); err == nil {
		message = object(inner).text("value") // the old Azure AD Graph
	}
	e.addCodes(aadsts.Parse(message))
	c, ok := word("api", code)
	if inner, _, err := parseObject(o.raw("innererror")); err == nil { // Key Vault tells its reasons apart there
		if reason, known := word("api", object(inner).text("code")); known && strings.HasPrefix(reason.Name, code+"By") {
			c, ok = reason, true
		}
	}
	if ok && len(e.Causes) == 0 {
		e.Causes = append(e.Causes, sharpen(c, message))
	}
	if len(e.Causes) == 0 {
		e.Summary = "fob does not know the error code " + clean(code, 100) + "; the API's own message is the best there is"
		e.suggestWord(code)
	}
	e.fact("error code", code)
	e.fact("the API says", message)
	for _, name := range []string{"innerError", "innererror"} {
		if inner, _, err := parseObject(o.raw(name)); err == nil {
			e.fact("request id", object(inner).text("request-id"))
			e.fact("client request id", object(inner).text("client-request-id"))
			e.fact("date", object(inner).text("date"))
		}
	}
	return e
}

// sharpen uses what the API's sentence gives away.
func sharpen(c Cause, message string) Cause {
	m := strings.ToLower(message)
	switch {
	case strings.Contains(m, "'authorization' header is missing"): // Resource Manager
		c.Cause, c.Fix = "no token was sent", "send the header Authorization: Bearer <token>"
		c.Try = "fob get https://management.azure.com/subscriptions?api-version=2022-12-01"
	case strings.Contains(m, "token is empty"):
		c.Cause, c.Fix = "no token was sent", "send the header Authorization: Bearer <token>"
		c.Try = "fob get /organization"
	case strings.Contains(m, "expired"):
		c.Cause, c.Fix, c.Try = "the token has expired, or the clock of one machine is wrong", "get a new token", "fob token --force-refresh"
	case strings.Contains(m, "audience"):
		c.Cause, c.Fix = "the scope of the token request named another API", "ask for a token for this API"
		if c.Name == "InvalidAuthenticationToken" { // else it is not Graph's
			c.Try = "fob token --resource graph"
		}
	case strings.Contains(m, "permission on key vault"):
		c.Cause, c.Fix, c.Try = "the vault's access policies do not allow it to the caller", "add an access policy for the caller's object id", ""
	case strings.Contains(m, "invalid issuer"):
		c.Cause, c.Fix, c.Try = "the token is from another tenant than the resource", "ask for a token of that tenant", "fob token --tenant TENANT --force-refresh"
	case strings.Contains(m, "not well formed"), strings.Contains(m, "80049217"), strings.Contains(m, "parsing failed"):
		c.Cause, c.Fix, c.Try = "the token was cut or changed when it was copied, or it is not an access token (an ID token, a refresh token)", "get a new one and send it whole", "fob get /organization"
	case strings.Contains(m, "continuous access evaluation"):
		c.Cause, c.Fix, c.Try = "the session was revoked, the password changed or the network did (continuous access evaluation)", "sign in again, or send the claims of the WWW-Authenticate header with the next token request", "fob login"
	case strings.Contains(m, "delegated authentication flow"):
		c.Cause, c.Fix, c.Try = "/me means the signed-in user, and an app-only token has none", "use /users/{id}, or sign a user in", "fob get /users"
	case strings.Contains(m, "raop"):
		c.Cause = "an application access policy keeps the app out of this mailbox"
	}
	return c
}

// explainChallenge understands a WWW-Authenticate header.
func explainChallenge(text string) *Explanation {
	value := text
	if i := strings.Index(strings.ToLower(text), "www-authenticate:"); i >= 0 {
		value, _, _ = strings.Cut(strings.TrimSpace(text[i+len("www-authenticate:"):]), "\n")
		if i := strings.Index(strings.ToLower(value), "bearer "); i > 0 { // behind Negotiate or Basic
			value = value[i:]
		}
	}
	scheme, rest, _ := strings.Cut(value, " ")
	if !slices.Contains([]string{"bearer", "pop"}, strings.ToLower(scheme)) || value != "" && !strings.Contains(rest, "=") || len(rest) > 40 && isTokenText(rest) {
		return nil
	}
	parameter := parameters(rest)
	e := &Explanation{Source: "WWW-Authenticate header"}
	e.addCodes(aadsts.Parse(parameter["error_description"]))
	e.addWord("oauth", parameter["error"])
	if claims := fob.ClaimsChallenge(http.Header{"Www-Authenticate": {value}}); claims != "" {
		e.fact("claims challenge", claims)
		if len(e.Causes) > 0 && e.Causes[0].Name == "insufficient_claims" {
			e.Causes[0].Cause = challengeCause(claims)
			e.Causes[0].Try = "fob token --claims '" + strings.ReplaceAll(tidy(claims), "'", `'\''`) + "'"
		}
	}
	if len(e.Causes) == 0 {
		c := Cause{Name: "401", Meaning: "the API wants a token", Cause: "no token was sent, or the one sent is not accepted",
			Owner: aadsts.Caller.String(), Fix: "send a token for this API in the Authorization header", Try: "fob decode --for URL"}
		e.Causes = append(e.Causes, c)
	}
	for _, name := range []string{"error", "error_description", "authorization_uri", "authorization", "resource", "resource_id", "scope", "realm", "client_id"} {
		e.fact(name, parameter[name])
	}
	if e.Causes[0].Name == "401" {
		if resource := tidy(first(parameter["resource"], parameter["resource_id"])); resource != "" && !strings.ContainsAny(resource, "'\"\\$`; ") {
			e.Causes[0].Try = "fob token --resource " + resource
		} else if parameter["client_id"] == graphAppID {
			e.Causes[0].Try = "fob token --resource graph"
		}
	}
	return e
}

// challengeCause says in words what a claims challenge asks for.
func challengeCause(claims string) string {
	switch {
	case strings.Contains(claims, `"acrs"`):
		return "the operation wants a stronger sign-in (an authentication context of Conditional Access)"
	case strings.Contains(claims, `"xms_rp_ipaddr"`):
		return "the API sees another network address than the sign-in did"
	case strings.Contains(claims, `"nbf"`):
		return "older tokens were revoked: the password changed, the account was disabled or an administrator revoked the sessions"
	case strings.Contains(claims, `"polids"`):
		return "a Conditional Access policy of the API wants more from the user"
	}
	return "a policy of the API wants more than the token proves"
}

var parameterForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`([A-Za-z_][A-Za-z0-9_-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,]+))`)
})

func parameters(s string) map[string]string {
	all := map[string]string{}
	for _, m := range parameterForm().FindAllStringSubmatch(s, 100) {
		if name := strings.ToLower(m[1]); all[name] == "" {
			all[name] = first(strings.ReplaceAll(m[2], `\"`, `"`), m[3])
		}
	}
	return all
}

// explainRedirect understands an address, or a form, with error=.
func explainRedirect(text string) *Explanation {
	if strings.ContainsAny(text, "\n{") {
		return nil
	}
	if !strings.Contains(text, "error=") {
		return explainReturn(text)
	}
	_, query, found := strings.Cut(text, "?")
	if i := strings.IndexByte(text, '#'); i >= 0 && strings.Contains(text[i:], "error=") {
		query, found = text[i+1:], true
	}
	if !found {
		query = text
	}
	query, _, _ = strings.Cut(query, "#")
	form, err := url.ParseQuery(query)
	if err != nil || form.Get("error") == "" {
		return nil
	}
	var o object
	for _, name := range []string{"error_description", "suberror", "claims"} {
		quoted, err := jsontext.AppendQuote(nil, form.Get(name))
		if err == nil {
			o = append(o, member{name, quoted})
		}
	}
	e := explainOAuth("redirect of the sign-in page", form.Get("error"), o)
	if strings.EqualFold(form.Get("error_subcode"), "cancel") {
		e.Summary = "the person closed the sign-in page"
	}
	e.fact("error_subcode", form.Get("error_subcode"))
	e.fact("more at", form.Get("error_uri"))
	return e
}

// explainReturn tells the address that a sign-in ended at from an error, and
// repeats nothing of it. An error_uri is a code.
func explainReturn(text string) *Explanation {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return nil
	}
	query, fragment := u.Query(), u.EscapedFragment()
	if u.Path == "/error" {
		return explainCodes("AADSTS" + query.Get("code"))
	}
	if query.Get("code") == "" || query.Get("state") == "" && query.Get("session_state") == "" {
		if form, err := url.ParseQuery(fragment); err != nil || first(form.Get("code"), form.Get("access_token"), form.Get("id_token")) == "" {
			return nil
		}
	}
	return &Explanation{Source: "redirect of the sign-in page", Summary: "this is the end of a sign-in that worked, no error",
		Causes: []Cause{{Name: "redirect", Meaning: "the sign-in page sent the browser back, with a code or tokens", Owner: aadsts.Caller.String(),
			Cause: "nothing listens at the redirect URI, so the browser shows the address",
			Fix:   "let the program that began the sign-in listen there; whoever has this address may be able to sign in with it, so show it to nobody", Try: "fob login"}}}
}

var typedCode = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)\bA+D+S*T+S*[\s\x{a0}\x{200b}:_#-]*(\d{4,8})\b`) })

func explainCodes(text string) *Explanation {
	codes := aadsts.Parse(text)
	if len(codes) == 0 {
		// The prefix as people type it, and as line breaks leave it.
		for _, m := range typedCode().FindAllStringSubmatch(text, 8) {
			if code, err := strconv.Atoi(m[1]); err == nil {
				codes = append(codes, code)
			}
		}
	}
	if len(codes) == 0 {
		return nil
	}
	e := &Explanation{Source: "AADSTS code"}
	e.addCodes(codes)
	main, ids := splitTrailer(text)
	if strings.Contains(main, " ") {
		e.Source = "text with an AADSTS code"
		e.fact("the server says", sentenceOf(main, ids != [3]string{}))
	}
	e.fact("trace id", ids[0])
	e.fact("correlation id", ids[1])
	e.fact("timestamp", ids[2])
	return e
}

func explainWord(text string) *Explanation {
	if len(text) > 200 {
		return nil
	}
	if c, ok := word("oauth", text); ok {
		e := &Explanation{Source: "OAuth error", Causes: []Cause{c}}
		if guide, ok := aadsts.Topic(text); ok {
			e.guide(guide)
		}
		return e
	}
	if c, ok := word("suberror api", text); ok {
		return &Explanation{Source: "error word", Causes: []Cause{c}}
	}
	if guide, ok := aadsts.Topic(text); ok {
		e := &Explanation{Source: "topic", Summary: guide.Title}
		e.Causes = []Cause{{Name: guide.Title, Meaning: guide.Cause, Fix: guide.Fix}}
		e.guide(guide)
		return e
	}
	var found []aadsts.Code
	if !strings.ContainsAny(text, ".{}") {
		found = aadsts.Search(text)
	}
	if len(found) > 0 {
		e := &Explanation{Source: "words", Summary: fmt.Sprintf("%s for %q", count(int64(len(found)), "code"), clean(text, 60))}
		for i, code := range found {
			if i == 8 {
				break
			}
			e.Near = append(e.Near, Suggestion{code.String(), code.Meaning})
		}
		return e
	}
	if e := (&Explanation{Source: "error word"}); e.suggestWord(text) {
		e.Summary = "fob does not know " + clean(text, 60)
		return e
	}
	return nil
}

func (e *Explanation) guide(g aadsts.Guide) {
	for i, number := range g.Codes {
		if code, ok := aadsts.Lookup(number); ok && i < 8 {
			e.Near = append(e.Near, Suggestion{code.String(), code.Meaning})
		}
	}
}

// suggestWord adds the error words that are close to what was typed.
func (e *Explanation) suggestWord(typed string) bool {
	typed = strings.ToLower(clean(typed, 60))
	for _, row := range errorWords() {
		if len(typed) > 3 && spelling.Distance(typed, strings.ToLower(row[1])) <= 1+len(typed)/6 && len(e.Near) < 5 {
			e.Near = append(e.Near, Suggestion{row[1], row[2]})
		}
	}
	return len(e.Near) > 0
}

func explainToken(text string) *Explanation {
	if _, err := parseJWT(trimToken(text)); err != nil && unreadable(trimToken(text)) == nil {
		return nil
	}
	return &Explanation{Source: "token", Summary: "this is a token, no error",
		Causes: []Cause{{Name: "token", Meaning: "tokens are read by another command", Fix: "decode it, from standard input so that it is not kept in the shell's history", Try: "fob decode -"}}}
}

// Render writes the explanation for people.
func (e *Explanation) Render(w io.Writer, style Style) error {
	p := newPage(w, style)
	p.title(e.Summary)
	for i, c := range e.Causes {
		if i > 0 {
			p.section(c.headline())
		}
		p.field("cause", 9, c.Cause)
		if c.Owner != "" {
			p.field("whose job", 9, c.Owner)
		}
		if i == 0 && c.Title == "" && e.Source == "topic" {
			p.field("cause", 9, c.Meaning)
		}
		p.field("fix", 9, c.Fix)
		if c.Try != "" {
			p.line("  " + p.paint(ToneLabel, pad("try", 9)+"  ") + p.paint(ToneTry, c.Try))
		}
		if c.Evidence == aadsts.Unconfirmed.String() {
			p.field("sure?", 9, "known, but not confirmed by a page or a recorded answer")
		}
	}
	if len(e.Facts) > 0 {
		p.section("From the " + e.Source)
		size := 0
		for _, f := range e.Facts {
			size = max(size, columns(f.Name))
		}
		for _, f := range e.Facts {
			p.field(f.Name, size, f.Value)
		}
	}
	if len(e.Near) > 0 {
		title := "Close to it"
		if e.Source == "topic" || e.Source == "OAuth error" {
			title = "Codes that often stand behind it"
		}
		p.section(title)
		for _, s := range e.Near {
			p.field(s.Name, 13, s.Meaning)
		}
	}
	return p.err
}
