package graph

import (
	"regexp"
	"sync"

	"github.com/fobauth/fob/internal/harmless"
)

// maxText is how much of a server's sentence is kept.
const maxText = 2048

// jwt is what an access token looks like. Some services quote the one that
// they refuse.
var jwt = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`eyJ[\w-]{8,}\.[\w-]+(?:\.[\w-]*)*`) })

// clean makes a text of a server harmless for a terminal, a log and a CSV, and
// takes the tokens out of it.
func clean(s string) string {
	return harmless.Text(jwt().ReplaceAllLiteralString(s, "[redacted]"), maxText)
}
