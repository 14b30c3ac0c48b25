package trace

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// WriteFile writes the recorder's exchanges to a file, in the form that its
// name ends with: .har, .md, .html, or .txt. An existing file is replaced. Only
// its owner can read it: it has no secrets, but it has names.
func (r *Recorder) WriteFile(name string) error {
	var write func(io.Writer) error
	switch strings.ToLower(filepath.Ext(name)) {
	case ".har":
		write = r.WriteHAR
	case ".md", ".markdown":
		write = r.WriteMarkdown
	case ".html", ".htm":
		write = r.WriteHTML
	case ".txt", ".log":
		write = r.WriteStory
	default:
		return fmt.Errorf("the trace file %s should end in .html, .md, .har or .txt: that chooses its form", filepath.Base(name))
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// Title says what an exchange is for, as far as its address and form tell.
func (e Exchange) Title() string {
	path := e.URL
	if u, err := url.Parse(e.URL); err == nil {
		path = strings.ToLower(u.Path)
	}
	switch {
	case strings.HasSuffix(path, "/token") && e.field("grant_type") != "":
		return grantTitle(e.field("grant_type"), e.field("requested_token_use"))
	case strings.HasSuffix(path, "/devicecode"):
		return "ask for a device code"
	case strings.HasSuffix(path, "/authorize"):
		return "ask a person to sign in"
	case strings.HasSuffix(path, "/.well-known/openid-configuration"):
		return "read the authority's metadata"
	case strings.Contains(path, "/discovery/") && strings.HasSuffix(path, "keys"):
		return "read the signing keys"
	case strings.Contains(path, "/discovery/instance"):
		return "ask which cloud this is"
	case strings.Contains(path, "/metadata/identity"), strings.Contains(path, "/msi/token"):
		return "ask the managed identity endpoint"
	}
	path, _, _ = strings.Cut(e.path(), "?")
	return e.Method + " " + path
}

func grantTitle(grant, use string) string {
	switch grant {
	case "client_credentials":
		return "get a token for the app itself"
	case "refresh_token":
		return "renew with the refresh token"
	case "authorization_code":
		return "redeem the authorization code"
	case "urn:ietf:params:oauth:grant-type:device_code", "device_code":
		return "ask whether the person has signed in"
	case "urn:ietf:params:oauth:grant-type:jwt-bearer":
		if use == "on_behalf_of" {
			return "get a token on the caller's behalf"
		}
	case "password":
		return "sign in with a password"
	}
	return "exchange a grant (" + grant + ")"
}

func (e Exchange) field(name string) string { return find(e.Request.Fields, name) }

func find(all []Pair, name string) string {
	for _, p := range all {
		if p.Name == name {
			return p.Value
		}
	}
	return ""
}

// Outcome says in a few words what came back.
func (e Exchange) Outcome() string {
	if e.Status == 0 {
		if e.Error == "" {
			return "no answer yet"
		}
		return "no answer: " + e.Error
	}
	text := fmt.Sprintf("%d %s", e.Status, http.StatusText(e.Status))
	answer := e.Answer.Fields
	switch {
	case find(answer, "error") != "":
		text += ": " + find(answer, "error")
		if code, _, found := strings.Cut(find(answer, "error_description"), ":"); found && strings.HasPrefix(code, "AADSTS") {
			text += ", " + code
		}
	case find(answer, "error.code") != "":
		text += ": " + find(answer, "error.code")
	case find(answer, "access_token") != "":
		text += ": a token"
		if seconds := find(answer, "expires_in"); seconds != "" {
			text += " for " + seconds + " s"
		}
		if find(answer, "refresh_token") != "" {
			text += ", and a refresh token"
		}
	case find(answer, "device_code") != "":
		text += ": a device code"
	case find(answer, "value") != "":
		text += ": " + find(answer, "value")
	case e.Status >= 300 && e.Status < 400 && find(e.Answer.Headers, "Location") != "":
		text += ": go to " + find(e.Answer.Headers, "Location")
	}
	return text
}

func (e Exchange) path() string {
	_, rest, found := strings.Cut(e.URL, "://")
	if !found {
		return e.URL
	}
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		return rest[i:]
	}
	return "/"
}

func (e Exchange) elapsed() string {
	return fmt.Sprintf("%d ms", e.Duration.Milliseconds())
}

// Story writes one exchange for people, some lines of plain text.
func (e Exchange) Story(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", capital(e.Title()))
	fmt.Fprintf(&b, "  > %s %s\n", e.Method, e.URL)
	for _, p := range e.Request.Fields {
		fmt.Fprintf(&b, "  >   %s = %s\n", p.Name, p.Value)
	}
	if find(e.Request.Headers, "Authorization") != "" {
		fmt.Fprintf(&b, "  >   Authorization: %s\n", find(e.Request.Headers, "Authorization"))
	}
	if e.Request.Note != "" {
		fmt.Fprintf(&b, "  >   (%s)\n", e.Request.Note)
	}
	fmt.Fprintf(&b, "  < %s (%s)\n", e.Outcome(), e.elapsed())
	for _, p := range e.Answer.Fields {
		fmt.Fprintf(&b, "  <   %s = %s\n", p.Name, p.Value)
	}
	for _, name := range []string{"Retry-After", "Www-Authenticate", "X-Ms-Request-Id", "Request-Id", "Client-Request-Id"} {
		if v := find(e.Answer.Headers, name); v != "" {
			fmt.Fprintf(&b, "  <   %s: %s\n", name, v)
		}
	}
	if e.Answer.Note != "" {
		fmt.Fprintf(&b, "  <   (%s)\n", e.Answer.Note)
	}
	for _, t := range e.Tokens {
		fmt.Fprintf(&b, "  * %s:\n", t.Where)
		for _, c := range t.Claims {
			fmt.Fprintf(&b, "  *   %s = %s\n", c.Name, claimText(c))
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// claimText adds the time to claims that are times.
func claimText(c Pair) string {
	if c.Name == "iat" || c.Name == "nbf" || c.Name == "exp" {
		var unix int64
		if _, err := fmt.Sscan(c.Value, &unix); err == nil && unix > 0 && unix < 253402300800 {
			return c.Value + " (" + time.Unix(unix, 0).UTC().Format("2006-01-02 15:04:05Z") + ")"
		}
	}
	return c.Value
}

// WriteStory writes all exchanges as plain text.
func (r *Recorder) WriteStory(w io.Writer) error {
	all, dropped := r.Exchanges()
	for i, e := range all {
		if i > 0 {
			if _, err := io.WriteString(w, "\n"); err != nil {
				return err
			}
		}
		if err := e.Story(w); err != nil {
			return err
		}
	}
	return more(w, dropped)
}

func more(w io.Writer, dropped int) error {
	if dropped == 0 {
		return nil
	}
	_, err := fmt.Fprintf(w, "\n%d more exchanges were not kept.\n", dropped)
	return err
}

// WriteHAR writes all exchanges as an HTTP archive (HAR 1.2), for browsers'
// developer tools and other viewers.
func (r *Recorder) WriteHAR(w io.Writer) error {
	type pair struct {
		Name  string `json:"name"`
		Value string `json:"value"`
	}
	pairs := func(all []Pair) []pair {
		list := []pair{}
		for _, p := range all {
			list = append(list, pair(p))
		}
		return list
	}
	type object = map[string]any
	entries := []object{}
	all, dropped := r.Exchanges()
	for _, e := range all {
		query := []pair{}
		if u, err := url.Parse(e.URL); err == nil {
			values := u.Query()
			for _, name := range sortedKeys(values) {
				for _, v := range values[name] {
					query = append(query, pair{name, v})
				}
			}
		}
		request := object{
			"method": e.Method, "url": e.URL, "httpVersion": "HTTP/1.1", "cookies": []any{}, "headers": pairs(e.Request.Headers),
			"queryString": query, "headersSize": -1, "bodySize": e.Request.Size,
		}
		if e.Request.Type != "" {
			request["postData"] = object{"mimeType": e.Request.Type, "params": pairs(e.Request.Fields), "text": "", "comment": e.Request.Note}
		}
		content := object{"size": e.Answer.Size, "mimeType": e.Answer.Type, "comment": e.Answer.Note}
		if len(e.Answer.Fields) > 0 {
			members := object{}
			for _, p := range e.Answer.Fields {
				members[p.Name] = p.Value
			}
			text, err := json.Marshal(members)
			if err != nil {
				return err
			}
			content["text"] = string(text)
		}
		milliseconds := float64(e.Duration.Microseconds()) / 1000
		entries = append(entries, object{
			"startedDateTime": e.Started.Format(time.RFC3339Nano), "time": milliseconds, "request": request,
			"response": object{
				"status": e.Status, "statusText": http.StatusText(e.Status), "httpVersion": "HTTP/1.1", "cookies": []any{},
				"headers": pairs(e.Answer.Headers), "content": content, "redirectURL": find(e.Answer.Headers, "Location"),
				"headersSize": -1, "bodySize": e.Answer.Size, "comment": e.Error,
			},
			"cache": object{}, "timings": object{"send": 0, "wait": milliseconds, "receive": 0}, "comment": e.Title(),
		})
	}
	comment := "Secrets were removed when this was recorded."
	if dropped > 0 {
		comment += fmt.Sprintf(" %d more exchanges were not kept.", dropped)
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(object{"log": object{"version": "1.2", "creator": object{"name": "fob", "version": "1"}, "entries": entries, "comment": comment}})
}

// hosts are the hosts of the exchanges, in their order.
func hosts(all []Exchange) []string {
	var names []string
	for _, e := range all {
		known := false
		for _, n := range names {
			known = known || n == e.Host
		}
		if !known {
			names = append(names, e.Host)
		}
	}
	return names
}

// WriteMarkdown writes all exchanges as Markdown with a Mermaid sequence
// diagram, which code hosts draw.
func (r *Recorder) WriteMarkdown(w io.Writer) error {
	all, dropped := r.Exchanges()
	var b strings.Builder
	b.WriteString("# What went over the wire\n\nSecrets were removed when this was recorded.\n\n```mermaid\nsequenceDiagram\n    participant P as this program\n")
	names := hosts(all)
	for i, name := range names {
		fmt.Fprintf(&b, "    participant H%d as %s\n", i, mermaid(name))
	}
	for i, e := range all {
		lane := 0
		for j, name := range names {
			if name == e.Host {
				lane = j
			}
		}
		fmt.Fprintf(&b, "    P->>H%d: %d. %s\n", lane, i+1, mermaid(e.Title()))
		arrow := "-->>"
		if e.Status == 0 {
			arrow = "--x"
		}
		fmt.Fprintf(&b, "    H%d%sP: %s\n", lane, arrow, mermaid(e.Outcome()))
	}
	b.WriteString("```\n")
	for i, e := range all {
		fmt.Fprintf(&b, "\n## %d. %s\n\n", i+1, capital(e.Title()))
		// Four spaces make a block that no content can end.
		block := func(format string, args ...any) { b.WriteString("    " + fmt.Sprintf(format, args...) + "\n") }
		block("%s %s", e.Method, e.URL)
		for _, p := range e.Request.Headers {
			block("%s: %s", p.Name, p.Value)
		}
		for _, p := range e.Request.Fields {
			block("  %s = %s", p.Name, p.Value)
		}
		if e.Request.Note != "" {
			block("  (%s)", e.Request.Note)
		}
		b.WriteString("\nAnswer after " + e.elapsed() + ":\n\n")
		block("%s", e.Outcome())
		for _, p := range e.Answer.Headers {
			block("%s: %s", p.Name, p.Value)
		}
		for _, p := range e.Answer.Fields {
			block("  %s = %s", p.Name, p.Value)
		}
		if e.Answer.Note != "" {
			block("  (%s)", e.Answer.Note)
		}
		for _, t := range e.Tokens {
			b.WriteString("\nDecoded, not verified:\n\n")
			block("%s", t.Where)
			for _, c := range t.Claims {
				block("  %s = %s", c.Name, claimText(c))
			}
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return err
	}
	return more(w, dropped)
}

// mermaid makes a text that cannot leave its place in a diagram.
func mermaid(s string) string {
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 ._,/?=&()-[]'", r) {
			return r
		}
		if r == ':' {
			return '∶' // looks the same, and is no syntax
		}
		return ' '
	}, s)
	return shorten(s, 100)
}

func shorten(s string, limit int) string {
	runes := []rune(s)
	if len(runes) <= limit {
		return s
	}
	return string(runes[:limit-1]) + "…"
}
