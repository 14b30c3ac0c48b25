// Package harmless makes the texts of strangers fit to be shown: to terminals,
// which obey control characters; to logs, which are read line by line; and to
// eyes, which marks that change the direction of writing or show nothing at all
// deceive. It is one package so that there is one list of these.
package harmless

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// Text returns s on one line: every run of spaces, unsafe characters and bytes
// that are no UTF-8 is one space, and none stands at the ends. Of a longer text
// limit bytes stay, up to the end of a character, and an ellipsis. Secrets must
// have been taken out before: half of one that was cut is found by nobody.
func Text(s string, limit int) string {
	if len(s) <= limit && isWord(s) {
		return s
	}
	var b strings.Builder
	space := true
	for _, r := range s {
		if b.Len() >= limit {
			return strings.TrimRight(b.String(), " ") + "…"
		}
		if r == ' ' || r == 0xa0 || r == utf8.RuneError || Unsafe(r) {
			if !space {
				b.WriteByte(' ')
				space = true
			}
			continue
		}
		b.WriteRune(r)
		space = false
	}
	return strings.TrimRight(b.String(), " ")
}

// isWord reports whether s is of visible ASCII only, as most texts are.
func isWord(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// Unsafe reports whether a terminal would act on r, or a reader would not see
// it: the control characters of ASCII and Unicode, line separators, marks of
// direction, fillers, joiners, selectors and tags.
func Unsafe(r rune) bool {
	return r < 0x20 || 0x7f <= r && r < 0xa0 || r == 0xad || r == 0x034f || r == 0x061c || 0x115f <= r && r <= 0x1160 ||
		0x180b <= r && r <= 0x180f || 0x200b <= r && r <= 0x200f || 0x2028 <= r && r <= 0x202e || 0x2060 <= r && r <= 0x206f ||
		r == 0x3164 || 0xfe00 <= r && r <= 0xfe0f || r == 0xfeff || r == 0xffa0 || 0xfff9 <= r && r <= 0xfffb ||
		0x1d173 <= r && r <= 0x1d17a || 0xe0000 <= r && r <= 0xe0fff
}

// Depth is how deep the brackets of a JSON text nest. It stops counting above
// limit, so that it takes as long as reading the text once, at the most.
func Depth(text []byte, limit int) int {
	level, deepest, quoted := 0, 0, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{', c == '[':
			if level++; level > limit {
				return level
			}
			deepest = max(deepest, level)
		case c == '}', c == ']':
			level--
		}
	}
	return deepest
}

// Spellings returns the forms in which a server may send a secret back: as it
// is, escaped for a URL, in base64, and quoted in JSON.
func Spellings(secret string) []string {
	query, path := url.QueryEscape(secret), url.PathEscape(secret)
	spellings := []string{secret, query, path, lowerHex(query), lowerHex(path),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret))}
	if quoted, err := jsontext.AppendQuote(nil, secret); err == nil { // else it is no UTF-8, so in no JSON
		spellings = append(spellings, string(quoted[1:len(quoted)-1]))
		if err := (*jsontext.Value)(&quoted).Format(jsontext.EscapeForHTML(true)); err == nil {
			spellings = append(spellings, string(quoted[1:len(quoted)-1]))
		}
	}
	return spellings
}

// lowerHex writes the escapes of a URL as .NET does: %2f.
func lowerHex(escaped string) string {
	b := []byte(escaped)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:], bytes.ToLower(b[i+1:i+3]))
		}
	}
	return string(b)
}
