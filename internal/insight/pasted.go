package insight

import (
	"bytes"
	"iter"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fobauth/fob"
	"github.com/go-json-experiment/json/jsontext"
)

// What people copy out of terminals and logs: answers with their headers, the
// output of other programs, and answers that are no error at all.

// maxObjects is how many braces of a text are tried for the beginning of an
// object.
const maxObjects = 64

// objects finds the JSON objects of a text, those within others last.
func objects(text string) iter.Seq[object] {
	return func(yield func(object) bool) {
		data, from := []byte(text), 0
		for range maxObjects {
			next := bytes.IndexByte(data[from:], '{')
			if next < 0 {
				return
			}
			from += next
			d := jsontext.NewDecoder(bytes.NewBuffer(data[from:]), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
			if whole, err := d.ReadValue(); err == nil {
				if members, _, err := parseObject(whole); err == nil && !yield(members) {
					return
				}
			}
			from++
		}
	}
}

// explainTokens tells an answer that holds tokens from an error. It repeats
// none of them.
func explainTokens(o object) *Explanation {
	e := &Explanation{Source: "answer of the token endpoint"}
	secret := false
	for _, row := range [][3]string{{"access token", "access_token", "accessToken"}, {"ID token", "id_token", "idToken"}, {"refresh token", "refresh_token", "refreshToken"}} {
		text := first(o.text(row[1]), o.text(row[2]))
		if text == "" {
			continue
		}
		secret = true
		switch t, err := DecodeToken(fob.NewSecret(text), time.Time{}); {
		case row[0] == "refresh token":
			e.fact(row[0], "for its holder it has no content; it signs in, so keep it like a password")
		case err != nil:
			e.fact(row[0], "no JWT that can be read; it may have been cut")
		case t.Expires != nil:
			e.fact(row[0], t.label()+", until "+t.Expires.Local)
		case t.parsed == nil:
			e.fact(row[0], string(t.Kind)+": only the API that it is for can read it")
		default:
			e.fact(row[0], t.label())
		}
	}
	switch {
	case secret:
		e.Summary = "this is an answer with tokens, no error"
		e.Causes = []Cause{{Name: "tokens", Meaning: "the sign-in worked", Cause: "whoever has this text can act with it until the tokens end",
			Fix: "decode it, from standard input so that it is not kept in the shell's history; if it was shown to others, revoke the sign-in", Try: "fob decode -"}}
	case o.has("device_code") && o.has("user_code"):
		e.Source, e.Summary = "answer of the device code endpoint", "this is the beginning of a sign-in with a device code, no error"
		e.Causes = []Cause{{Name: "device code", Meaning: "the sign-in waits for a person", Fix: "open the page and enter the user code, while the program polls the token endpoint", Try: "fob login --device-code"}}
		e.fact("user code", o.text("user_code"))
		e.fact("page", first(o.text("verification_uri"), o.text("verification_url")))
	default:
		return nil
	}
	for _, name := range []string{"token_type", "scope", "expires_in", "expires_on", "expiresOn"} {
		if v := o.raw(name); v.Kind() == '"' {
			e.fact(name, o.text(name))
		} else if v.Kind() == '0' {
			e.fact(name, string(v))
		}
	}
	return e
}

var (
	statusLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^HTTP/[0-9.]+ ([1-5][0-9]{2})\b`) })
	headerLine = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([A-Za-z0-9-]{2,60}): ?(.*)$`) })
)

// shownHeaders are those that say something about a failure. Others are not
// repeated: among them are keys and cookies.
var shownHeaders = [][2]string{
	{"request id", "request-id"}, {"request id", "x-ms-request-id"}, {"client request id", "client-request-id"}, {"correlation id", "x-ms-correlation-request-id"},
	{"wait", "retry-after"}, {"date", "date"}, {"data centre", "x-ms-ags-diagnostic"},
}

// explainAnswer understands an answer with its status and headers, as curl -i,
// curl -v and browsers show it. Of several the last counts.
func explainAnswer(text string) *Explanation {
	if !strings.Contains(text, "HTTP/") {
		return nil
	}
	status, header, rest := 0, map[string]string{}, []string(nil)
	inHeader := false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if strings.HasPrefix(line, "> ") || strings.HasPrefix(line, "* ") {
			continue // what curl -v sent, and thought
		}
		line = strings.TrimPrefix(strings.TrimPrefix(line, "< "), "<")
		var m []string
		if inHeader {
			m = headerLine().FindStringSubmatch(line)
		}
		switch begin := statusLine().FindStringSubmatch(line); {
		case begin != nil:
			status, _ = strconv.Atoi(begin[1])
			header, rest, inHeader = map[string]string{}, nil, true
			if i := strings.IndexByte(line, '{'); i >= 0 { // its line breaks were lost
				rest = append(rest, line[i:])
			}
		case m != nil && header["www-authenticate"] != "" && strings.EqualFold(m[1], "WWW-Authenticate"):
			header["www-authenticate"] += ", " + m[2] // one for each scheme
		case m != nil:
			header[strings.ToLower(m[1])] = m[2]
		default:
			inHeader = false
			rest = append(rest, line)
		}
	}
	if status == 0 {
		return nil
	}
	body := strings.TrimSpace(strings.Join(rest, "\n"))
	e := explainJSON(body)
	if e == nil {
		e = explainCodes(body)
	}
	if challenge := header["www-authenticate"]; challenge != "" {
		if c := explainChallenge("WWW-Authenticate: " + challenge); c != nil && (e == nil || c.Causes[0].Name == "insufficient_claims") {
			if e != nil {
				c.Facts = append(c.Facts, e.Facts...)
			}
			e = c
		}
	}
	if e == nil {
		e = explainStatus(status)
	}
	known := map[string]bool{}
	for _, f := range e.Facts {
		known[f.Name] = true
	}
	e.Facts = append([]Fact{{"HTTP status", strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))}}, e.Facts...)
	for _, shown := range shownHeaders {
		if !known[shown[0]] && header[shown[1]] != "" {
			known[shown[0]] = true
			e.fact(shown[0], header[shown[1]])
		}
	}
	return e
}

var statusNumber = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^(?:HTTP |HTTP status |status |status code )?([1-5][0-9]{2})$`)
})

// explainNumber understands a status that somebody typed. No AADSTS code is as
// short.
func explainNumber(text string) *Explanation {
	m := statusNumber().FindStringSubmatch(text)
	if m == nil {
		return nil
	}
	status, _ := strconv.Atoi(m[1])
	return explainStatus(status)
}

// explainStatus says what a status alone means.
func explainStatus(status int) *Explanation {
	e := &Explanation{Source: "answer of the server"}
	names := map[int]string{400: "BadRequest", 401: "InvalidAuthenticationToken", 403: "Forbidden", 404: "ResourceNotFound", 429: "TooManyRequests",
		500: "serviceNotAvailable", 502: "serviceNotAvailable", 503: "serviceNotAvailable", 504: "serviceNotAvailable"}
	if c, ok := word("api", names[status]); ok {
		c.Name = "HTTP " + strconv.Itoa(status)
		e.Causes = []Cause{c}
		return e
	}
	c := Cause{Name: "HTTP " + strconv.Itoa(status), Meaning: strings.ToLower(first(http.StatusText(status), "no status that HTTP has")), Fix: "give the body of the answer, too: the error is in it"}
	if status == http.StatusProxyAuthRequired {
		c.Meaning, c.Fix, c.Try = "the proxy wants its own user and password", "put them into HTTPS_PROXY: http://USER:PASSWORD@proxy.example:8080", "fob doctor network"
	}
	if status < 400 {
		c.Meaning, c.Fix = "this is no error", ""
	}
	e.Causes = []Cause{c}
	return e
}

// httpStatus finds the status as programs print it: "(401) Unauthorized", "403
// (Forbidden)". The words keep other numbers out.
var httpStatus = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)\b([45][0-9]{2})\)?:? \(?(?:Bad Request|Unauthorized|Forbidden|Not Found|Too Many Requests|Internal Server Error|Bad Gateway|Service Unavailable|Gateway Time-?out)\b`)
})

// explainOutput finds the name of an error in what a program printed, in XML, or
// in JSON that was cut; where there is none, an HTTP status.
func explainOutput(text string) *Explanation {
	e := &Explanation{Source: "output of a program"}
	if strings.Contains(strings.ToLower(text), "x-ms-diagnostics") {
		// The header of Exchange and SharePoint. Its category is no OAuth error.
		c, _ := word("oauth", "invalid_token")
		c.Try = "fob decode --for URL"
		e.Causes = []Cause{sharpen(c, text)}
		return e
	}
	notOfName := func(r rune) bool { return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') }
	for name := range strings.FieldsFuncSeq(text, notOfName) {
		if len(name) <= len("Unauthorized") { // short ones are words of English, too
			continue
		}
		if c, ok := word("oauth api", name); ok && c.Name == name {
			if len(text) < maxText { // a longer one says more than this
				c = sharpen(c, text)
			}
			e.Causes = []Cause{c}
			return e
		}
	}
	if m := httpStatus().FindStringSubmatch(text); m != nil {
		status, _ := strconv.Atoi(m[1])
		return explainStatus(status)
	}
	return nil
}

// sentenceOf is what the server says in the output of a program or in a page,
// without the words and the stack around it: a page holds keys of the sign-in on
// the same line. whole says that main ends where the sentence does.
func sentenceOf(main string, whole bool) string {
	at := typedCode().FindStringIndex(main)
	if at == nil {
		return ""
	}
	before, main := main[:at[0]], main[at[0]:]
	switch {
	case strings.HasSuffix(before, `"`): // a member of JSON or a script
		main, _, _ = strings.Cut(main, `"`)
		main = strings.TrimRight(main, `\`)
		if plain, err := jsontext.AppendUnquote(nil, `"`+main+`"`); err == nil {
			main = string(plain)
		}
	case strings.Contains(before, "<"): // the words of a page
		main, _, _ = strings.Cut(main, "<")
	}
	if whole {
		return main
	}
	line, _, _ := strings.Cut(main, "\n")
	return line
}
