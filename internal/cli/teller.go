package cli

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fobauth/fob/entratest"
)

// teller lays out the tour: prose, requests beside their answers where the
// screen is wide, below each other where it is not.
type teller struct {
	terminal
	w        io.Writer
	columns  int
	chapters int
	started  time.Time
	err      error // of the first write that failed
}

// Screens: below wideScreen requests and answers stand below each other, and
// nothing is wider than widestScreen.
const (
	plainWidth   = 80 // of output that is no terminal
	wideScreen   = 130
	widestScreen = 160
	proseWidth   = 100
)

func newTeller(inv *invocation) *teller {
	t := &teller{terminal: inv.terminal(inv.Stdout), w: inv.Stdout, columns: plainWidth, started: time.Now()}
	if t.is {
		t.columns = max(40, min(t.width, widestScreen))
	}
	return t
}

func (t *teller) line(s string) {
	if t.err == nil {
		_, t.err = io.WriteString(t.w, strings.TrimRight(s, " ")+"\n")
	}
}

func (t *teller) title(name, about string) {
	t.line("")
	t.line(t.paint(styleHead, name))
	t.line(t.paint(styleDim, hang(about, 0, t.columns)))
	t.line("")
}

func (t *teller) chapter(name string) {
	t.chapters++
	head := fmt.Sprintf("━━ %d  %s ", t.chapters, name)
	t.line("")
	t.line(t.paint(styleHead, head+strings.Repeat("━", max(0, t.columns-displayWidth(head)))))
	t.line("")
}

// prose is a paragraph; painted words in it do not count as longer.
func (t *teller) prose(text string) {
	for _, line := range wrap(text, min(t.columns, proseWidth)) {
		t.line(line)
	}
	t.line("")
}

// code is a line to be typed, never wrapped.
func (t *teller) code(text string) {
	t.line("    " + t.paint(styleName, text))
	if strings.Contains(text, "-Headers $header") || strings.HasPrefix(text, "fob get /me ") || strings.HasPrefix(text, "fob token |") {
		t.line("")
	}
}

// event is something that happens outside the wire.
func (t *teller) event(text string) {
	for i, line := range wrap(text, min(t.columns, proseWidth)-4) {
		if i == 0 {
			t.line("  " + t.paint("33", "●") + " " + line)
		} else {
			t.line("    " + line)
		}
	}
	t.line("")
}

func (t *teller) good(text string) {
	t.line("  " + t.paint(styleGood, "✓") + " " + hang(text, 4, min(t.columns, proseWidth)))
	t.line("")
}

func (t *teller) advice(label, text string) {
	t.line("  " + t.paint(styleLabel, fmt.Sprintf("%-6s", label)) + " " + hang(text, 9, min(t.columns, proseWidth)))
	if label == "fix" {
		t.line("")
	}
}

// notes say what a field or a claim is for, in a few words.
var notes = sync.OnceValue(func() map[string]string {
	return map[string]string{
		"grant_type": "which flow", "client_id": "which app", "client_secret": "proves that it is the app",
		"client_assertion": "the same, signed with the key", "client_assertion_type": "the assertion is a JWT",
		"scope": "what for", "device_code": "the program's half of the code",
		"code": "from the browser", "code_verifier": "proves that we asked", "code_challenge": "a hash of the verifier", "code_challenge_method": "SHA-256",
		"response_mode": "as a POST, out of the history", "state": "the answer must repeat it", "nonce": "the ID token must repeat it", "client_info": "say whose token it is",
		"redirect_uri": "where to come back to", "response_type": "an authorization code is wanted",
		"user_code": "the person's half", "verification_uri": "where to enter it", "expires_in": "seconds it lives",
		"interval": "seconds between two polls", "token_type": "how to send it", "access_token": "for the API",
		"refresh_token": "for the next access token", "id_token": "for the program", "ext_expires_in": "in an outage",
		"Authorization": "the access token", "error_codes": "what to look up",
		"aud": "for whom it is", "scp": "what the user's app may do", "roles": "what the app may do", "iss": "who issued it",
		"appid": "which app asked", "azp": "which app asked", "tid": "which tenant", "oid": "the user's id for good", "exp": "until when",
		"idtyp": "app: nobody signed in", "appidacr": "1: with a secret, 2: with a certificate", "name": "who signed in",
		"preferred_username": "what people call the user", "sub": "who it speaks about", "jti": "never the same twice",
		"nbf": "from when", "alg": "how it is signed", "x5t#S256": "which certificate", "typ": "what it is",
	}
})

// answerNotes differ from what the same name means in a request.
var answerNotes = map[string]string{"scope": "what was granted", "device_code": "the program's half", "code": "the word to branch on"}

// hidden are fields that say nothing to a reader.
var hidden = []string{"correlation_id", "trace_id", "timestamp", "error_uri", "@odata.context", "ext_expires_in", "businessPhones",
	"mobilePhone", "preferredLanguage", "officeLocation", "givenName", "surname", "mail", "client_info", "suberror"}

// show prints exchanges.
func (t *teller) show(exchanges ...exchange) {
	for _, x := range exchanges {
		if t.columns < wideScreen {
			for _, line := range append(t.request(x, t.columns), t.answer(x, t.columns)...) {
				t.line(line)
			}
		} else {
			half := (t.columns - 3) / 2
			left, right := t.request(x, half), t.answer(x, half)
			for i := range max(len(left), len(right)) {
				t.line(cell(left, i, half) + t.paint(styleDim, " │ ") + cell(right, i, half))
			}
		}
		t.line("")
	}
}

// showBriefly prints one line for each exchange.
func (t *teller) showBriefly(exchanges ...exchange) {
	for _, x := range exchanges {
		grant := ""
		for _, f := range x.sent {
			if f.name == "grant_type" {
				grant = "  " + f.value
			}
		}
		t.line("  " + t.paint(styleGood, "→") + " " + x.method + " " + x.address + grant)
		t.line("  " + t.paint(styleName, "←") + " " + t.statusText(x.status))
	}
	t.line("")
}

func cell(lines []string, i, width int) string {
	if i >= len(lines) {
		return strings.Repeat(" ", width)
	}
	return lines[i] + strings.Repeat(" ", max(0, width-painted(lines[i])))
}

func (t *teller) request(x exchange, width int) []string {
	lines := []string{"  " + t.paint(styleGood, "→") + " " + t.paint(styleLabel, x.method) + " " + cut(x.address, width-len(x.method)-5)}
	return append(lines, t.fields(x.sent, nil, width)...)
}

func (t *teller) answer(x exchange, width int) []string {
	if x.status == 0 { // a page for a browser, not asked for by us
		return nil
	}
	lines := []string{"  " + t.paint(styleName, "←") + " " + t.statusText(x.status) + t.paint(styleDim, fmt.Sprintf("  %.0f ms", max(1, float64(x.took.Microseconds())/1000)))}
	answer := x.answer
	if strings.HasSuffix(x.address, "/openid-configuration") || strings.HasSuffix(x.address, "/keys") {
		answer = slices.DeleteFunc(slices.Clone(answer), func(f field) bool { return f.name != "issuer" && f.name != "jwks_uri" && f.name != "keys" })
		for i, f := range answer {
			if f.name == "keys" {
				answer[i].value = fmt.Sprintf("%d", strings.Count(f.value, `"kid"`))
			}
		}
	}
	lines = append(lines, t.fields(answer, answerNotes, width)...)
	for _, item := range x.items {
		lines = append(lines, "      • "+cut(item, width-8))
	}
	return lines
}

func (t *teller) statusText(status int) string {
	style := styleGood
	if status >= 400 {
		style = styleBad
	}
	return t.paint(style, fmt.Sprintf("%d %s", status, http.StatusText(status)))
}

// fields prints names, values and, where there is room, what they are for.
// Sentences wrap, other values are cut.
func (t *teller) fields(fields []field, special map[string]string, width int) []string {
	names := 0
	for _, f := range fields {
		if !slices.Contains(hidden, f.name) {
			names = max(names, displayWidth(f.name))
		}
	}
	names = min(names, 21)
	var lines []string
	for _, f := range fields {
		if slices.Contains(hidden, f.name) {
			continue
		}
		value := f.value
		if value == "" {
			value = `""`
		}
		indent := 6 + names + 2
		label := "      " + t.paint(styleDim, fmt.Sprintf("%-*s", names, f.name)) + "  "
		if strings.Contains(value, " ") && displayWidth(value) > width-indent && f.name != "id_token" {
			for i, part := range wrap(value, width-indent) {
				if i == 0 {
					lines = append(lines, label+part)
				} else {
					lines = append(lines, strings.Repeat(" ", indent)+part)
				}
			}
			continue
		}
		value = cut(value, width-indent)
		note := special[f.name]
		if note == "" {
			note = notes()[f.name]
		}
		line := label + value
		if room := width - indent - displayWidth(value) - 3; note != "" && displayWidth(note) <= room {
			line += " " + t.paint(styleDim, "("+note+")")
		}
		lines = append(lines, line)
	}
	return lines
}

// says prints chosen claims of a token.
func (t *teller) says(head string, claims map[string]any, names ...string) {
	var fields []field
	for _, name := range names {
		if v, ok := claims[name]; ok {
			fields = append(fields, field{name, claimText(name, v)})
		}
	}
	t.line("  " + t.paint(styleLabel, head))
	special := map[string]string{}
	if aud := fmt.Sprint(claims["aud"]); strings.Contains(aud, "graph.microsoft.com") || aud == entratest.GraphAppID {
		special["aud"] = "for Microsoft Graph"
	}
	for _, line := range t.fields(fields, special, min(t.columns, proseWidth)) {
		t.line(line)
	}
	t.line("")
}

func claimText(name string, v any) string {
	switch v := v.(type) {
	case []any:
		words := make([]string, len(v))
		for i, w := range v {
			words[i] = fmt.Sprint(w)
		}
		return oneLine(strings.Join(words, " "))
	case float64:
		if name == "exp" || name == "nbf" || name == "iat" {
			return fmt.Sprintf("%.0f (%s)", v, time.Unix(int64(v), 0).UTC().Format("2006-01-02 15:04 UTC"))
		}
		return fmt.Sprint(v)
	}
	text := oneLine(fmt.Sprint(v))
	if strings.Contains(text, "://") { // the tenant is what makes these long
		text = strings.ReplaceAll(text, entratest.TenantID, "{tenant}")
	}
	return text
}

// cut shortens s to width columns.
func cut(s string, width int) string {
	r := []rune(s)
	if len(r) <= width || width < 2 {
		return s
	}
	return string(r[:width-1]) + "…"
}

// wrap breaks text, in which words may be painted, into lines.
func wrap(text string, width int) []string {
	var lines []string
	line, used := "", 0
	for _, word := range strings.Fields(text) {
		w := painted(word)
		switch {
		case line == "":
			line, used = word, w
		case used+1+w > width:
			lines = append(lines, line)
			line, used = word, w
		default:
			line, used = line+" "+word, used+1+w
		}
	}
	return append(lines, line)
}

// painted is the width of a text without its escape sequences.
func painted(s string) int {
	width, inside := 0, false
	for _, r := range s {
		switch {
		case r == '\x1b':
			inside = true
		case inside:
			inside = r != 'm'
		default:
			width++
		}
	}
	return width
}
