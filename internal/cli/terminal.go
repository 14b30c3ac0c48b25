package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// terminal is how a stream may be written to.
type terminal struct {
	is    bool // a person looks at it
	color bool
	width int // columns; 0 if it is no terminal
}

// terminal finds out what w is.
func (inv *invocation) terminal(w io.Writer) terminal {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return terminal{}
	}
	t := terminal{is: true, width: 80, color: inv.getenv("NO_COLOR") == "" && inv.getenv("TERM") != "dumb"}
	if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 0 {
		t.width = width
	}
	if t.color {
		t.color = enableEscapes(f)
	}
	return t
}

// textWidth is where prose is wrapped; lines that are longer than that are
// hard to read however wide the screen is.
func (t terminal) textWidth() int {
	if !t.is {
		return 0
	}
	return min(t.width, 100)
}

// The styles, as SGR parameters. They are the terminal's own colours, which
// its user has chosen to be readable.
const (
	styleBad   = "1;31"
	styleGood  = "32"
	styleLabel = "1"
	styleDim   = "2"
	styleHead  = "1;36"
	styleName  = "36"
	styleTitle = "1"
)

func (t terminal) paint(style, s string) string {
	if !t.color || s == "" {
		return s
	}
	return "\x1b[" + style + "m" + s + "\x1b[0m"
}
