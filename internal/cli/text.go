package cli

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/fobauth/fob/internal/harmless"
)

// oneLine makes a text harmless for a terminal: control characters, line
// breaks and marks that change the direction of writing become spaces.
func oneLine(s string) string {
	var b strings.Builder
	b.Grow(len(s))
	for _, r := range s {
		if r == utf8.RuneError || harmless.Unsafe(r) {
			r = ' '
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// oneLineBytes is oneLine for a text that is harmless nearly always, and then
// not copied.
func oneLineBytes(text []byte) []byte {
	if !isHarmless(text, ' ') {
		return []byte(oneLine(string(text)))
	}
	return bytes.TrimSpace(text)
}

// isHarmless reports whether a terminal shows text as it is. Control characters
// of ASCII from least on do no harm.
func isHarmless(text []byte, least byte) bool {
	for i := 0; i < len(text); {
		if c := text[i]; least <= c && c < 0x7f {
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		if r == utf8.RuneError || harmless.Unsafe(r) {
			return false
		}
		i += size
	}
	return true
}

// quoted puts a value of the user into a sentence, bounded in length.
func quoted(s string) string {
	s = oneLine(s)
	if utf8.RuneCountInString(s) > 60 {
		s = string([]rune(s)[:60]) + "…"
	}
	return `"` + s + `"`
}

// displayWidth is how many columns s takes. Our own texts have no wide
// characters; names of people may, and then a column more does no harm.
func displayWidth(s string) int { return utf8.RuneCountInString(s) }

// hang breaks text into lines of at most width columns, the first of which
// begins at column indent, as the others then do. A width of 0 means no end.
func hang(text string, indent, width int) string {
	if width == 0 || indent+displayWidth(text) <= width {
		return text
	}
	var b strings.Builder
	column := indent
	for i, word := range strings.Fields(text) {
		switch w := displayWidth(word); {
		case i == 0:
			column += w
		case column+1+w > width:
			b.WriteByte('\n')
			b.WriteString(strings.Repeat(" ", indent))
			column = indent + w
		default:
			b.WriteByte(' ')
			column += 1 + w
		}
		b.WriteString(word)
	}
	return b.String()
}

// paragraph writes a labelled text, wrapped on a terminal.
func paragraph(b *strings.Builder, t terminal, label, text string) {
	const indent = 10
	fmt.Fprintf(b, "  %s%s\n", t.paint(styleLabel, fmt.Sprintf("%-*s", indent-2, label)), hang(text, indent, t.textWidth()))
}
