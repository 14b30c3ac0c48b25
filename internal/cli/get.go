package cli

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/fobauth/fob"
)

func (inv *invocation) getCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "get URL|PATH [flags]", Short: "Call Microsoft Graph or Azure Resource Manager",
		Long: "Calls an API with GET and a token for it, and prints the answer. A path such as\n" +
			"/me means Microsoft Graph v1.0, /beta/me its beta version, and /subscriptions\n" +
			"Azure Resource Manager. The token is sent to the API's own origin and nowhere\n" +
			"else. For another API say with --resource or --scope which token it takes.",
		Example: "fob get /me\n" +
			"fob get '/users?$select=id,displayName' --all -o ndjson\n" +
			"fob emulator run -- fob get /users --all",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &problem{status: StatusUsage, text: "name one URL or path", try: "fob get /me"}
			}
			return nil
		},
	}
	inv.outputFlag(cmd.Flags(), "json", "ndjson")
	cmd.Flags().BoolVar(&all, "all", false, "follow the links to further pages, and print the items of all")
	inv.sharedFlags(cmd.Flags(), tokenFlags)
	return inv.define(cmd, func(cmd *cobra.Command, args []string) error {
		call, err := inv.call(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		switch {
		case all || inv.flags.output == "ndjson":
			return call.items(cmd.Context(), all)
		default:
			return call.page(cmd.Context())
		}
	})
}

// call is one call of an API.
type call struct {
	inv    *invocation
	target *url.URL
	client *http.Client
	source *lastToken
}

// call prepares a call of the URL or path that was given.
func (inv *invocation) call(ctx context.Context, given string) (*call, error) {
	s, err := inv.resolve(tokenFlags)
	if err != nil {
		return nil, err
	}
	// Whose sign-in it is may decide which cloud, and so which Graph.
	c, req, err := inv.client(ctx, s)
	if err != nil {
		return nil, err
	}
	target, scope, err := inv.target(s, given)
	if err != nil {
		return nil, err
	}
	if s.scopesFrom == "default" {
		s.scopes = []string{scope}
		req.Scopes = s.scopes
	}
	source := &lastToken{source: c}
	transport := &fob.Transport{Source: source, Request: req, Origins: []string{origin(target)}, Base: inv.roundTripper(s)}
	return &call{inv: inv, target: target, client: &http.Client{Transport: transport}, source: source}, nil
}

// lastToken remembers the token that was sent, for the report on a refusal.
type lastToken struct {
	source fob.TokenSource
	token  *fob.Token
}

func (l *lastToken) Token(ctx context.Context, req fob.Request) (*fob.Token, error) {
	token, err := l.source.Token(ctx, req)
	if err == nil {
		l.token = token
	}
	return token, err
}

// target finds the address that was meant, and the scope of a token for it.
func (inv *invocation) target(s *settings, given string) (*url.URL, string, error) {
	arm := s.cloud.ARM
	if s.emulator != nil {
		arm = s.emulator.ARM
	}
	graphScope, armScope := s.graphAudience+"/.default", s.cloud.ARM+"/.default"
	full, scope := given, ""
	if !strings.Contains(given, "://") {
		path := "/" + strings.TrimLeft(given, "/")
		switch {
		case hasSegment(path, "/subscriptions") || hasSegment(path, "/providers") || hasSegment(path, "/tenants"):
			full, scope = arm+path, armScope
		case hasSegment(path, "/v1.0") || hasSegment(path, "/beta"):
			full, scope = s.graph.text+path, graphScope
		default:
			full, scope = s.graph.text+"/v1.0"+path, graphScope
		}
	}
	u, err := url.Parse(strings.ReplaceAll(full, " ", "%20"))
	switch {
	case err != nil || u.Host == "":
		return nil, "", &problem{status: StatusUsage, text: quoted(given) + " is neither a URL nor a path", try: "fob get /me"}
	case u.User != nil:
		return nil, "", &problem{status: StatusUsage, text: "the URL has a user or a password in it; the token goes to no such address"}
	case u.Scheme != "https" && !(u.Scheme == "http" && isLoopbackURL(full)):
		return nil, "", &problem{status: StatusUsage, text: quoted(given) + " is not https; tokens are sent over https only"}
	}
	u.Fragment = ""
	if scope != "" {
		return u, scope, nil
	}
	switch {
	case sameOrigin(full, s.graph.text) && s.emulator != nil && sameOrigin(arm, s.graph.text) && (hasSegment(u.Path, "/subscriptions") || hasSegment(u.Path, "/providers")):
		return u, armScope, nil // the emulator is both at one address
	case sameOrigin(full, s.graph.text):
		return u, graphScope, nil
	case sameOrigin(full, arm):
		return u, armScope, nil
	case s.scopesFrom != "default":
		return u, "", nil
	}
	p := &problem{status: StatusUsage, text: "fob does not know which token " + quoted(u.Host) + " takes",
		fix: "say so with --resource or --scope; it is sent to that host and nowhere else",
		try: "fob get " + inv.quote(given) + " --resource RESOURCE"}
	if s.emulator != nil {
		p.fix = "with the emulator give the path alone, or say with --resource which of its tokens to send there"
		p.try = "fob get " + inv.quote(u.RequestURI())
	}
	return nil, "", p
}

func hasSegment(path, segment string) bool {
	rest, ok := strings.CutPrefix(path, segment)
	return ok && (rest == "" || rest[0] == '/' || rest[0] == '?')
}

// send requests one page. The answer is a success.
func (c *call) send(ctx context.Context, address *url.URL) (*http.Response, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json, */*;q=0.1")
	r.Header.Set("User-Agent", "fob")
	resp, err := c.client.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the address is long, and is named below where it helps
		}
		var own *problem
		var refusal *fob.Error
		if errors.Is(err, fob.ErrInteraction) || errors.As(err, &refusal) || errors.As(err, &own) || errors.Is(err, context.Canceled) {
			return nil, err
		}
		return nil, &problem{status: StatusUnavailable, text: "GET " + address.Host, err: errors.Join(err, fob.ErrUnavailable)}
	}
	if resp.StatusCode/100 != 2 {
		defer resp.Body.Close()
		return nil, c.refused(resp)
	}
	return resp, nil
}

// page prints one answer as it is, indented for a person.
func (c *call) page(ctx context.Context) error {
	ctx, cancel, err := c.inv.withTimeout(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	resp, err := c.send(ctx, c.target)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	isJSON := kind == "application/json" || strings.HasSuffix(kind, "+json")
	person := c.inv.terminal(c.inv.Stdout).is
	switch {
	case person && isJSON:
		return indent(c.inv.Stdout, resp.Body)
	case person && kind != "" && !strings.HasPrefix(kind, "text/"):
		return &problem{status: StatusUsage, text: "the answer is " + quoted(kind) + ", which is not for a terminal", fix: "write it to a file with > FILE"}
	case person:
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if err := c.inv.print(oneLine(line) + "\n"); err != nil {
				return err
			}
		}
		return nil
	}
	w := &lastByte{w: c.inv.Stdout}
	if _, err := io.Copy(w, resp.Body); err != nil {
		return fmt.Errorf("reading the answer: %w", err)
	}
	if isJSON && w.last != '\n' {
		return c.inv.print("\n")
	}
	return nil
}

// lastByte remembers how the output ended.
type lastByte struct {
	w    io.Writer
	last byte
}

func (l *lastByte) Write(p []byte) (int, error) {
	if len(p) > 0 {
		l.last = p[len(p)-1]
	}
	return l.w.Write(p)
}

// indent prints JSON for a person, token by token, however long it is.
func indent(w io.Writer, r io.Reader) error {
	d := jsontext.NewDecoder(r, jsontext.AllowDuplicateNames(true))
	e := jsontext.NewEncoder(visible{w}, jsontext.WithIndent("  "), jsontext.AllowDuplicateNames(true))
	for {
		token, err := d.ReadToken()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return fmt.Errorf("reading the answer: %w", err)
		}
		if err := e.WriteToken(token); err != nil {
			return err
		}
	}
}

// visible writes JSON with the characters escaped on which a terminal would
// act. They can only be in strings.
type visible struct{ w io.Writer }

func (v visible) Write(p []byte) (int, error) {
	var b strings.Builder
	for _, r := range string(p) {
		if r >= 0x7f && unprintable(r) && r <= 0xffff {
			fmt.Fprintf(&b, `\u%04x`, r)
		} else if r > 0xffff && unprintable(r) {
			b.WriteRune(' ')
		} else {
			b.WriteRune(r)
		}
	}
	_, err := io.WriteString(v.w, b.String())
	return len(p), err
}

// items prints the items of a page, or of all pages: one a line, or as one
// array.
func (c *call) items(ctx context.Context, all bool) error {
	out := &itemWriter{inv: c.inv, array: c.inv.flags.output == "json"}
	seen := map[string]bool{}
	for address := c.target; address != nil; {
		if seen[address.String()] {
			return fmt.Errorf("the API's next link leads back to a page that was read before (page %d); it would never end", len(seen))
		}
		seen[address.String()] = true
		next, err := c.pageItems(ctx, address, out)
		if err != nil {
			return err
		}
		address = nil
		if next != "" && all {
			if address, err = c.follow(next); err != nil {
				return err
			}
		}
	}
	return out.end()
}

// follow checks a next link: it is the API's own word, but the token goes to
// the API alone.
func (c *call) follow(link string) (*url.URL, error) {
	next, err := c.target.Parse(link)
	if err != nil {
		return nil, fmt.Errorf("the API's next link is no URL")
	}
	if !sameOrigin(next.String(), c.target.String()) || next.User != nil {
		return nil, fmt.Errorf("the API's next link leads to %s, another origin than %s; it is not followed", quoted(next.Host), quoted(c.target.Host))
	}
	return next, nil
}

func (c *call) pageItems(ctx context.Context, address *url.URL, out *itemWriter) (next string, err error) {
	ctx, cancel, err := c.inv.withTimeout(ctx) // for each page: there may be thousands
	if err != nil {
		return "", err
	}
	defer cancel()
	resp, err := c.send(ctx, address)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	d := jsontext.NewDecoder(resp.Body, jsontext.AllowDuplicateNames(true))
	next, err = readItems(d, out)
	if err != nil && !errors.Is(err, errOutput) {
		return "", fmt.Errorf("reading the answer: %w", err)
	}
	return next, err
}

// errOutput marks an error of writing, not of the answer.
var errOutput = errors.New("writing the output")

// readItems writes the members of "value" as they come, or the whole object if
// it is no collection. It returns the link to the next page.
func readItems(d *jsontext.Decoder, out *itemWriter) (next string, err error) {
	if d.PeekKind() != '{' {
		whole, err := d.ReadValue()
		if err != nil {
			return "", err
		}
		return "", out.item(whole)
	}
	if _, err := d.ReadToken(); err != nil {
		return "", err
	}
	collection := false
	whole := []byte{'{'}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return "", err
		}
		member := name.String()
		if member == "value" && d.PeekKind() == '[' {
			collection = true
			if _, err := d.ReadToken(); err != nil {
				return "", err
			}
			for d.PeekKind() != ']' {
				item, err := d.ReadValue()
				if err != nil {
					return "", err
				}
				if err := out.item(item); err != nil {
					return "", err
				}
			}
			if _, err := d.ReadToken(); err != nil {
				return "", err
			}
			continue
		}
		raw, err := d.ReadValue()
		if err != nil {
			return "", err
		}
		if (member == "@odata.nextLink" || member == "nextLink") && raw.Kind() == '"' {
			if err := json.Unmarshal(raw, &next); err != nil {
				return "", err
			}
		}
		if !collection {
			if len(whole) > 1 {
				whole = append(whole, ',')
			}
			if whole, err = jsontext.AppendQuote(whole, member); err != nil {
				return "", err
			}
			whole = append(append(whole, ':'), raw...)
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return "", err
	}
	if !collection {
		return "", out.item(append(whole, '}'))
	}
	return next, nil
}

// itemWriter prints items: as lines, or as the members of one array.
type itemWriter struct {
	inv   *invocation
	array bool
	count int
}

func (w *itemWriter) item(v jsontext.Value) error {
	v = v.Clone()
	if err := v.Compact(jsontext.AllowDuplicateNames(true)); err != nil {
		return err
	}
	before := ""
	if w.array {
		before = ",\n"
		if w.count == 0 {
			before = "[\n"
		}
	}
	w.count++
	text := before + string(v)
	if !w.array {
		text += "\n"
	}
	if _, err := io.WriteString(visible{w.inv.Stdout}, text); err != nil {
		return fmt.Errorf("%w: %w", errOutput, err)
	}
	return nil
}

func (w *itemWriter) end() error {
	switch {
	case !w.array:
		return nil
	case w.count == 0:
		return w.inv.print("[]\n")
	}
	return w.inv.print("\n]\n")
}

// apiError is the refusal of an API.
type apiError struct {
	status        int
	host, request string // who refused what
	code, message string // as the API says
	requestID     string
	retryAfter    string
	claims        string // of a challenge
	token         *fob.Token
}

func (e *apiError) Error() string {
	text := e.message
	if e.code != "" {
		text = e.code + ": " + text
	}
	if text == "" {
		text = e.host + " answered"
	}
	text += fmt.Sprintf(" (HTTP %d, %s", e.status, e.request)
	if e.requestID != "" {
		text += ", request id " + e.requestID
	}
	return text + ")"
}

// refused reads the error answer of Graph, ARM and their like.
func (c *call) refused(resp *http.Response) error {
	e := &apiError{status: resp.StatusCode, host: resp.Request.URL.Host, token: c.source.token,
		request: resp.Request.Method + " " + resp.Request.URL.Path, requestID: oneLine(or(resp.Header.Get("request-id"), resp.Header.Get("x-ms-request-id"))),
		retryAfter: oneLine(resp.Header.Get("Retry-After")), claims: fob.ClaimsChallenge(resp.Header)}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return e
	}
	var answer struct {
		Error struct {
			Code    string `json:"code"`
			Message string `json:"message"`
			Inner   struct {
				RequestID string `json:"request-id"`
			} `json:"innerError"`
		} `json:"error"`
	}
	if json.Unmarshal(body, &answer, jsontext.AllowDuplicateNames(true)) == nil {
		e.code, e.message = oneLine(answer.Error.Code), oneLine(answer.Error.Message)
		e.requestID = or(e.requestID, oneLine(answer.Error.Inner.RequestID))
	}
	return e
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
	case e.status == http.StatusUnauthorized:
		r.status = StatusRefused
		r.cause = "the API does not accept the token: it is for another API, expired or revoked"
		r.fix = "get a fresh one; if that is refused too, check the audience with --resource or --scope"
		r.try = inv.command + " " + inv.quote(inv.lastArgument()) + " --force-refresh"
	case e.status == http.StatusForbidden:
		r.status = StatusRefused
		r.cause = "the token is good but does not allow this: " + permissionsOf(e.token)
		r.fix = "grant the permission that the API's documentation names, to the app for itself or to the user and the app together, and have it consented to"
	case e.status == http.StatusTooManyRequests || e.status >= 500 && e.status != http.StatusNotImplemented:
		r.status = StatusUnavailable
		r.fix = "try again later"
		if e.retryAfter != "" {
			r.fix = "try again after " + e.retryAfter + " seconds"
		}
	case e.status == http.StatusNotFound:
		r.fix = "check the path and the id; names of properties and paths are case-sensitive in parts"
	}
}

func (inv *invocation) lastArgument() string {
	for _, arg := range inv.Args[min(1, len(inv.Args)):] {
		if !strings.HasPrefix(arg, "-") {
			return arg
		}
	}
	return ""
}

// permissionsOf says what a token allows, by its own claims. They are for the
// API to read, but nothing else says it.
func permissionsOf(t *fob.Token) string {
	var claims struct {
		Scopes string   `json:"scp"`
		Roles  []string `json:"roles"`
	}
	if t != nil {
		if parts := strings.Split(t.Access.Reveal(), "."); len(parts) == 3 {
			if payload, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
				_ = json.Unmarshal(payload, &claims) // what cannot be read is not said
			}
		}
	}
	switch {
	case claims.Scopes != "":
		return "it has the scopes " + oneLine(strings.Join(strings.Fields(claims.Scopes), ", "))
	case len(claims.Roles) > 0:
		return "it has the app roles " + oneLine(strings.Join(claims.Roles, ", "))
	}
	return "it has no scopes and no app roles"
}
