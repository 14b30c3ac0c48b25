package graph

import (
	"regexp"
	"strings"
	"sync"
	"unicode/utf8"
)

// maxText is how much of a server's sentence is kept.
const maxText = 2048

// jwt is what an access token looks like. Some services quote the one that
// they refuse.
var jwt = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)*`) })

// clean makes a text of a server harmless for a terminal, a log and a CSV:
// tokens in it are gone, control characters, line breaks, bidirectional and
// invisible marks become spaces, runs of them one space; at most maxText bytes
// stay.
func clean(s string) string {
	s = jwt().ReplaceAllLiteralString(s, "[redacted]")
	var b strings.Builder
	space := true
	for _, r := range s {
		if b.Len() >= maxText {
			b.WriteString("…")
			break
		}
		switch {
		case r == utf8.RuneError, r < 0x21, 0x7f <= r && r <= 0xa0, r == 0x061c,
			0x200b <= r && r <= 0x200f, 0x2028 <= r && r <= 0x202f, 0x2060 <= r && r <= 0x206f,
			r == 0xfeff, 0xfff9 <= r && r <= 0xfffb, 0xe0000 <= r && r <= 0xe007f:
			if !space {
				b.WriteByte(' ')
				space = true
			}
		default:
			b.WriteRune(r)
			space = false
		}
	}
	return strings.TrimRight(b.String(), " ")
}
