package graph

import (
	"github.com/fobauth/fob/internal/harmless"
	"github.com/fobauth/fob/internal/redact"
)

// maxText is how much of a server's sentence is kept.
const maxText = 2048

// clean makes a text of a server harmless for a terminal, a log and a CSV, and
// takes the tokens out of it: some services quote the one that they refuse.
func clean(s string) string { return harmless.Text(redact.Text(s), maxText) }
