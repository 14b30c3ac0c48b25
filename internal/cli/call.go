package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/graph"
)

// call is one call of an API.
type call struct {
	*request
	inv    *invocation
	target *url.URL
	scopes []string
	header http.Header // of every request
	client *graph.Client
	app    *fob.Client
	source *lastToken
	seen   *lastAnswer  // nil without --include
	why    atomic.Int64 // the status that was last waited for
	// uploaded is what became of content that went up in pieces: the answer.
	uploaded jsontext.Value
}

// call prepares a call of the URL or path that was given.
func (inv *invocation) call(ctx context.Context, given string, r *request) (*call, error) {
	c := &call{request: r, inv: inv}
	var err error
	if c.header, err = readHeaders(r.headers); err != nil {
		return nil, err
	}
	s, err := inv.resolve(tokenFlags)
	if err != nil {
		return nil, err
	}
	// Whose sign-in it is may decide which cloud, and so which Graph.
	tokens, req, err := inv.client(ctx, s)
	if err != nil && !(r.dryRun && errors.Is(err, fob.ErrInteraction)) {
		return nil, err
	}
	target, scope, err := inv.target(s, given, r.query)
	if err != nil {
		return nil, err
	}
	c.target = target
	if err := r.complete(target, s.graph.text); err != nil {
		return nil, err
	}
	c.scopes = s.scopes
	if s.scopesFrom == "default" {
		c.scopes = []string{scope}
	}
	s.scopes = c.scopes
	inv.tell("%s %s with a token for %s", r.method, target.Host+target.Path, strings.Join(c.scopes, " "))
	if r.method == http.MethodGet && sameOrigin(target.String(), s.graph.text) {
		c.consistent()
	}
	c.app, c.source = tokens, &lastToken{source: tokens, req: req}
	way := inv.roundTripper(s)
	if r.include {
		c.seen = &lastAnswer{base: way}
		way = c.seen
	}
	c.client = &graph.Client{
		Source: c.source, Base: s.graph.text + "/v1.0", HTTP: &http.Client{Transport: way},
		Scopes: c.scopes, OnWait: func(w graph.Wait) {
			c.why.Store(int64(w.Status))
			inv.onWait(w)
		},
	}
	if r.beta {
		c.client.Base = s.graph.text + "/beta"
	}
	if inv.flags.set("timeout") {
		c.client.Patience = inv.flags.timeout
	}
	return c, nil
}

// complete adds what --query and --beta say to the address.
func (r *request) complete(u *url.URL, graphOrigin string) error {
	for _, pair := range r.query {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			p := &problem{status: StatusUsage, text: "--query wants NAME=VALUE, not " + quoted(pair), fix: "to choose from the answer use --jq"}
			if ok {
				p.cause, p.fix = eatenCause, eatenFix
			}
			return p
		}
		if u.RawQuery != "" {
			u.RawQuery += "&"
		}
		u.RawQuery += strings.ReplaceAll(strings.ReplaceAll(url.QueryEscape(name), "%24", "$")+"="+url.QueryEscape(value), "+", "%20")
	}
	if !r.beta {
		return nil
	}
	rest, ok := strings.CutPrefix(u.Path, "/v1.0")
	switch {
	case hasSegment(u.Path, "/beta"):
	case !ok || !hasSegment(u.Path, "/v1.0") || !sameOrigin(u.String(), graphOrigin):
		return &problem{status: StatusUsage, text: "--beta is a version of Microsoft Graph, which " + quoted(u.Host+u.Path) + " is not"}
	default:
		u.Path = "/beta" + rest
		u.RawPath = strings.Replace(u.RawPath, "/v1.0", "/beta", 1)
	}
	return nil
}

// lastToken remembers the token that was sent, for the report on a refusal.
type lastToken struct {
	source fob.TokenSource
	req    fob.Request // what the flags say

	mu    sync.Mutex // guards token: an export asks for several pages at once
	token *fob.Token
}

// Token returns a token as the flags want it, for the scopes of req.
func (l *lastToken) Token(ctx context.Context, req fob.Request) (*fob.Token, error) {
	whole := l.req
	whole.Scopes = req.Scopes
	if req.Claims != "" {
		whole.Claims = req.Claims
	}
	// Fresh at first: not for each of a thousand pages.
	whole.Fresh = req.Fresh || whole.Fresh && l.last() == nil
	token, err := l.source.Token(ctx, whole)
	if err != nil {
		return nil, &tokenError{err}
	}
	l.mu.Lock()
	l.token = token
	l.mu.Unlock()
	return token, nil
}

// tokenError is why there was no token: nothing that the API did.
type tokenError struct{ error }

// Unwrap returns the error as the source of the tokens has it.
func (e *tokenError) Unwrap() error { return e.error }

func (l *lastToken) last() *fob.Token {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.token
}

// lastAnswer remembers the answer that came last, for --include, which is about
// one request.
type lastAnswer struct {
	base http.RoundTripper
	resp *http.Response
}

// RoundTrip sends req.
func (l *lastAnswer) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := l.base.RoundTrip(req)
	l.resp = resp
	return resp, err
}

// onWait says why nothing happens: always to whoever asked, and where a person
// would begin to wonder.
func (inv *invocation) onWait(w graph.Wait) {
	why := "no answer"
	switch {
	case w.Status == http.StatusTooManyRequests:
		why = "it throttles"
	case w.Status != 0:
		why = fmt.Sprintf("it answered with HTTP %d", w.Status)
	}
	switch {
	case inv.flags.verbose:
		inv.tell("waiting %s for %s: %s", w.For.Round(100*time.Millisecond), w.Place, why)
	case w.For >= 3*time.Second && inv.terminal(inv.Stderr).is:
		inv.note("waiting %s for %s: %s", w.For.Round(time.Second), w.Place, why)
	}
}

// target finds the address that was meant, and the scope of a token for it.
// query is what --query adds.
func (inv *invocation) target(s *settings, given string, query []string) (*url.URL, string, error) {
	if err := inv.mangled(given); err != nil {
		return nil, "", err
	}
	given = strings.ReplaceAll(given, "#EXT#", "%23EXT%23") // in the user names of guests; no fragment is meant
	arm := s.cloud.ARM
	if s.emulator != nil {
		arm = s.emulator.ARM
	}
	graphScope, armScope := s.graphAudience+"/.default", s.cloud.ARM+"/.default"
	full, scope := given, ""
	if !strings.Contains(given, "://") {
		path := "/" + strings.TrimLeft(given, "/")
		switch {
		case isARM(path, query):
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
	case sameOrigin(full, s.graph.text) && s.emulator != nil && sameOrigin(arm, s.graph.text) && isARM(u.RequestURI(), query):
		return u, armScope, nil // the emulator is both at one address
	case sameOrigin(full, s.graph.text):
		return u, graphScope, nil
	case sameOrigin(full, arm):
		return u, armScope, nil
	case s.scopesFrom != "default":
		return u, "", nil
	}
	if s.emulator == nil {
		scope, service, err := graph.Audience(u.String())
		switch {
		case err == nil:
			inv.tell("%s is %s", u.Host, service)
			return u, scope, nil
		case !errors.Is(err, graph.ErrUnknownHost):
			return nil, "", &problem{status: StatusUsage, err: err}
		}
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

const (
	eatenCause = "within double quotes a shell replaces $select, $filter and the like by nothing"
	eatenFix   = "put the address into single quotes: '/users?$select=id'"
)

// mangled refuses an address of which a shell has left something that no API
// has, or that lacks its https://.
func (inv *invocation) mangled(given string) error {
	path, options, _ := strings.Cut(given, "?")
	for option := range strings.SplitSeq(options, "&") {
		if strings.HasPrefix(option, "=") {
			return &problem{status: StatusUsage, text: "an option of the address has no name: " + quoted(option), cause: eatenCause, fix: eatenFix}
		}
	}
	first, rest, _ := strings.Cut(path, "/")
	switch {
	case len(path) > 2 && path[1] == ':' && (path[2] == '/' || path[2] == '\\'):
		return &problem{status: StatusUsage, text: quoted(given) + " is a path of Windows, not one of an API",
			cause: "Git Bash makes it of everything that begins with a slash", fix: "leave the first slash out, or set MSYS_NO_PATHCONV=1", try: inv.command + " me"}
	case rest != "" && strings.Contains(first, ".") && knownHost(first):
		return &problem{status: StatusUsage, text: quoted(given) + " lacks its https://", try: inv.command + " " + inv.quote("https://"+given)}
	}
	return nil
}

func knownHost(host string) bool {
	_, _, err := graph.Audience("https://" + host)
	return err == nil
}

// isARM tells a path of Azure Resource Manager, with the options that --query
// adds, from those of Microsoft Graph: by what Graph does not have. Graph's own
// subscriptions are reached with /v1.0/subscriptions.
func isARM(path string, query []string) bool {
	path = strings.ToLower(path)
	if hasSegment(path, "/v1.0") || hasSegment(path, "/beta") {
		return false
	}
	_, options, _ := strings.Cut(path, "?")
	return hasSegment(path, "/subscriptions") || hasSegment(path, "/providers") || hasSegment(path, "/tenants") || hasSegment(path, "/metadata/endpoints") ||
		slices.ContainsFunc(slices.Concat(strings.Split(options, "&"), query), func(option string) bool {
			return strings.HasPrefix(strings.ToLower(option), "api-version=")
		})
}

func hasSegment(path, segment string) bool {
	rest, ok := strings.CutPrefix(path, segment)
	return ok && (rest == "" || rest[0] == '/' || rest[0] == '?')
}

// run does what the flags say.
func (c *call) run(ctx context.Context) error {
	ctx, cancel, err := c.withGivenTimeout(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	content, err := c.content()
	if err != nil {
		return err
	}
	defer content.close()
	switch {
	case c.dryRun:
		return c.show(content)
	case c.isDownload():
		return c.download(ctx)
	case c.isLargeUpload(content):
		if _, err := compileJQ(c.jq); err != nil {
			return err // before hours have passed
		}
		var told func()
		if c.uploaded, told, err = c.upload(ctx, content); err != nil {
			return err
		}
		defer told()
	}
	if c.outputFile == "" {
		return c.print(ctx, content, c.inv.Stdout)
	}
	return replaceFile(c.outputFile, func(w io.Writer) error { return c.print(ctx, content, w) })
}

// withGivenTimeout bounds a call of any number of requests, by a --timeout that
// was given: how long a whole list takes nobody knows beforehand.
func (c *call) withGivenTimeout(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if !c.inv.flags.set("timeout") {
		return ctx, func() {}, nil
	}
	return c.inv.withTimeout(ctx)
}

// print sends the request and writes the answer to w in the form wanted.
func (c *call) print(ctx context.Context, content *content, w io.Writer) error {
	filter, err := compileJQ(c.jq)
	if err != nil {
		return err
	}
	itemwise := c.all || c.inv.flags.output != "json"
	if filter == nil && !itemwise {
		return c.page(ctx, content, w)
	}
	out := c.inv.sink(w, c.columns(), filter != nil && c.raw)
	if a, ok := out.(*arrayWriter); ok && !c.all {
		out = a.lines // each result is a value of its own, as jq prints them
	}
	if filter != nil {
		limit := debug.SetMemoryLimit(-1)
		defer debug.SetMemoryLimit(limit)
		debug.SetMemoryLimit(min(limit, jqMemory))
		jq := &filtered{ctx: ctx, filter: filter, to: out}
		if !itemwise && !strings.Contains(c.jq, "value") && !strings.Contains(c.jq, "@odata") { // which are of the list
			jq.missed = func() {
				c.inv.note("the answer is a list, and the filter found nothing in it; let it begin with .value[], or give --all: then it gets one item at a time")
			}
		}
		out = jq
	}
	if c.all {
		err = c.pages(ctx, out)
	} else {
		err = c.items(ctx, content, w, out, itemwise)
	}
	if errors.Is(err, errEnough) {
		err = nil
	}
	if endErr := out.end(err == nil); err == nil {
		err = endErr
	}
	return err
}

// send sends the request. The answer is a success.
func (c *call) send(ctx context.Context, content *content) (*http.Response, error) {
	if c.uploaded != nil {
		return answerOf(c.uploaded), nil
	}
	r, err := http.NewRequestWithContext(ctx, c.method, c.target.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header = c.header.Clone()
	if r.Header.Get("Accept") == "" {
		r.Header.Set("Accept", "application/json, */*;q=0.1")
	}
	if err := content.attach(r); err != nil {
		return nil, err
	}
	resp, err := c.client.Do(r)
	return resp, c.refused(err)
}

// head prints status and headers of the last answer for --include.
func (c *call) head(w io.Writer) error {
	if c.seen == nil || c.seen.resp == nil {
		return nil
	}
	resp := c.seen.resp
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\n", resp.Proto, oneLine(resp.Status))
	names := make([]string, 0, len(resp.Header))
	for name := range resp.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		for _, value := range resp.Header[name] {
			fmt.Fprintf(&b, "%s: %s\n", oneLine(name), oneLine(value))
		}
	}
	_, err := io.WriteString(w, b.String()+"\n")
	return err
}

// answer sends the request and prints the head of the answer, also of one that
// says no.
func (c *call) answer(ctx context.Context, content *content, w io.Writer) (*http.Response, error) {
	resp, err := c.send(ctx, content)
	if headErr := c.head(w); headErr != nil && err == nil {
		resp.Body.Close()
		err = headErr
	}
	return resp, err
}

// page prints one answer as it is, indented for a person.
func (c *call) page(ctx context.Context, content *content, w io.Writer) error {
	ctx, cancel, err := c.inv.withTimeout(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	resp, err := c.answer(ctx, content, w)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	if err := c.refusePage(kind); err != nil {
		return err
	}
	isJSON := kind == "application/json" || strings.HasSuffix(kind, "+json")
	person := c.inv.terminal(w).is
	switch {
	case person && isJSON:
		body, err := c.whole(resp)
		if err != nil {
			return err
		}
		return c.reading(broken(indent(w, bytes.NewReader(body)), body))
	case person && kind != "" && !strings.HasPrefix(kind, "text/"):
		return &problem{status: StatusUsage, text: "the answer is " + quoted(kind) + ", which is not for a terminal", fix: "write it to a file with --output-file FILE"}
	case person:
		text, err := c.whole(resp)
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(text)) {
			if _, err := io.WriteString(w, oneLine(line)+"\n"); err != nil {
				return writing(err)
			}
		}
		return nil
	}
	last := &lastByte{w: w}
	if isJSON {
		err = copyJSON(last, resp.Body, c.method == http.MethodGet && resp.StatusCode == http.StatusOK)
	} else {
		_, err = io.Copy(last, resp.Body)
	}
	if err != nil {
		return c.reading(err)
	}
	if (isJSON || strings.HasPrefix(kind, "text/")) && last.last != '\n' && last.last != 0 {
		_, err = io.WriteString(w, "\n")
	}
	return err
}

// refusePage is an error where a page for people is in the place of an answer:
// of a proxy, or of a sign-in. The text of a note, a mail or a file may be one.
func (c *call) refusePage(contentType string) error {
	kind, _, _ := mime.ParseMediaType(contentType)
	last := strings.ToLower(c.target.Path[strings.LastIndexByte(c.target.Path, '/')+1:])
	if kind != "text/html" || c.header.Get("Accept") != "" || last == "content" || last == "$value" || strings.HasSuffix(last, ".html") || strings.HasSuffix(last, ".htm") {
		return nil
	}
	return &problem{err: c.reading(errHTML), fix: "if a page is what you want, ask for it with --header 'Accept: text/html'"}
}

const byteOrderMark = "\ufeff"

// lastByte remembers how the output ended.
type lastByte struct {
	w    io.Writer
	last byte
}

// Write writes p.
func (l *lastByte) Write(p []byte) (int, error) {
	if len(p) > 0 {
		l.last = p[len(p)-1]
	}
	n, err := l.w.Write(p)
	return n, writing(err)
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
			return err
		}
		if err := e.WriteToken(token); err != nil {
			return writing(err)
		}
	}
}

// items prints the items of one answer, or what the filter makes of it as a
// whole.
func (c *call) items(ctx context.Context, content *content, w io.Writer, out sink, itemwise bool) error {
	ctx, cancel, err := c.inv.withTimeout(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	resp, err := c.answer(ctx, content, w)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := c.whole(resp)
	switch {
	case err != nil:
		return err
	case len(bytes.TrimSpace(body)) == 0 && c.method == http.MethodGet && resp.StatusCode == http.StatusOK:
		return c.reading(errEmpty)
	case len(bytes.TrimSpace(body)) == 0:
		return nil
	}
	// All of it is looked at before any of it is printed.
	if _, err := readItems(body, nowhere{}); err != nil {
		return c.reading(err)
	}
	if itemwise {
		_, err = readItems(body, out)
	} else {
		err = out.item(body)
	}
	return c.reading(err)
}

// pages prints the items of all pages.
func (c *call) pages(ctx context.Context, out sink) error {
	first, next, err := c.firstPage(ctx)
	if err != nil {
		return err
	}
	if _, err := readItems(first, out); err != nil {
		return c.reading(err)
	}
	if next == "" {
		return nil
	}
	link, err := graph.NextLink(c.target, next)
	switch {
	case err != nil:
		return err
	case link.String() == c.target.String():
		return errors.New("the API's next link leads back to the same page; the list would never end")
	}
	for item, err := range c.client.Pages(ctx, link.String(), c.header) {
		if err != nil {
			return c.refused(err)
		}
		if err := out.item(item); err != nil {
			return err
		}
	}
	return nil
}

// firstPage reads the first answer whole before anything of it is printed. It
// may turn out to be no collection.
func (c *call) firstPage(ctx context.Context) (page []byte, next string, err error) {
	ctx, cancel, err := c.inv.withTimeout(ctx)
	if err != nil {
		return nil, "", err
	}
	defer cancel()
	for try := 1; ; try++ {
		resp, err := c.send(ctx, nil)
		if err != nil {
			return nil, "", err
		}
		page, err = c.whole(resp)
		resp.Body.Close()
		if err == nil {
			if resp.StatusCode != http.StatusOK && len(page) == 0 {
				return []byte(`{"value":[]}`), "", nil // it says that there is nothing
			}
			if next, err = readItems(page, nowhere{}); err == nil {
				return page, next, nil
			}
			err = c.reading(err)
		}
		if !errors.Is(err, fob.ErrUnavailable) || try == 3 {
			return nil, "", err
		}
	}
}

// maxAnswer bounds an answer that is looked into. One that is printed as it
// comes may have any length.
const maxAnswer = 64 << 20

// whole reads an answer to its end.
func (c *call) whole(resp *http.Response) ([]byte, error) {
	body := make([]byte, 0, 64<<10)
	for {
		n, err := resp.Body.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		switch {
		case err == io.EOF:
			return graph.MendJSON(body), nil
		case err != nil:
			return nil, c.reading(err)
		case len(body) > maxAnswer:
			return nil, fmt.Errorf("an answer of more than %d MiB; ask for fewer items with $top, or for less of each with $select", maxAnswer>>20)
		case len(body) == cap(body): // in few steps, because every one leaves a copy behind
			body = append(make([]byte, 0, min(4*cap(body), maxAnswer+1)), body...)
		}
	}
}

// reading says that an error is about the answer, if it is not about the
// output.
func (c *call) reading(err error) error {
	var own *problem
	switch {
	case err == nil || errors.Is(err, errOutput) || errors.Is(err, errEnough) || errors.As(err, &own):
		return err
	case c.method != http.MethodGet && !errors.Is(err, context.DeadlineExceeded):
		return c.refused(fmt.Errorf("the request was carried out, but reading its answer: %w", err))
	}
	return c.refused(fmt.Errorf("reading the answer: %w", err))
}

// cutError is as good as a broken connection: not every proxy tells them apart.
type cutError string

const (
	errCut   cutError = "it ends in the middle of its JSON"
	errEmpty cutError = "it is empty"
)

func (e cutError) Error() string { return string(e) }

// Is makes errors.Is(err, fob.ErrUnavailable) true.
func (e cutError) Is(target error) bool { return target == fob.ErrUnavailable }

var errHTML = errors.New("an HTML page instead of JSON; is a proxy or a sign-in page in the way?")

// broken says in words what is wrong with a body that is no JSON.
func broken(err error, body []byte) error {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		if len(bytes.TrimSpace(body)) == 0 {
			return errEmpty
		}
		return errCut
	case !errors.As(err, &syntax):
		return err
	case bytes.HasPrefix(bytes.TrimSpace(body), []byte("<")):
		return errHTML
	}
	return fmt.Errorf("broken JSON at byte %d", syntax.ByteOffset)
}

// readItems writes the members of "value" to out, or all of the body if it is
// no collection. It returns the link to the next page.
func readItems(body []byte, out sink) (next string, err error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true)) // a Buffer is not copied
	collection, next, err := readCollection(d, out)
	if err == nil {
		if _, err = d.ReadToken(); err != io.EOF {
			return "", errors.New("there is more behind the end of the JSON")
		}
		if err = nil; !collection {
			next, err = "", out.item(jsontext.Value(bytes.TrimSpace(body)))
		}
	}
	return next, broken(err, body)
}

func readCollection(d *jsontext.Decoder, out sink) (collection bool, next string, err error) {
	if d.PeekKind() != '{' {
		return false, "", d.SkipValue()
	}
	if _, err := d.ReadToken(); err != nil {
		return false, "", err
	}
	var wrong error // with the link, if it is one
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return false, "", err
		}
		switch name.String() {
		case "value":
			if d.PeekKind() != '[' {
				err = d.SkipValue()
				break
			}
			if collection {
				return false, "", errors.New(`it has two "value" arrays`)
			}
			collection = true
			err = readElements(d, out)
		case "@odata.nextLink", "nextLink":
			var raw jsontext.Value
			if raw, err = d.ReadValue(); err == nil && raw.Kind() != 'n' {
				var link string
				if len(raw) > graph.MaxLink || json.Unmarshal(raw, &link) != nil || next != "" && next != link {
					wrong = errLink
				}
				next = link
			}
		default:
			err = d.SkipValue()
		}
		if err != nil {
			return false, "", err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return false, "", err
	}
	if collection && wrong != nil {
		return true, "", wrong
	}
	return collection, next, nil
}

var errLink = fmt.Errorf("its link to the next page is none or has more than %d KiB, or there are two of them", graph.MaxLink>>10)

func readElements(d *jsontext.Decoder, out sink) error {
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != ']' {
		item, err := d.ReadValue()
		if err != nil {
			return err
		}
		if item.Kind() == 'n' {
			continue // some services send null items; they hold nothing
		}
		if err := out.item(item); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}
