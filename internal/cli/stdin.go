package cli

import (
	"io"
	"os"

	"golang.org/x/term"
)

// readStdinSecret reads a secret from stdin. A person who types or pastes it
// does not see it on the screen.
func (inv *invocation) readStdinSecret(flag string) ([]byte, error) {
	f, ok := inv.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return readAtMost(inv.Stdin, "stdin", maxSecretFile)
	}
	io.WriteString(inv.Stderr, "Paste what "+flag+" is to read, then Enter (it is not shown): ")
	data, err := term.ReadPassword(int(f.Fd()))
	io.WriteString(inv.Stderr, "\n")
	return data, err
}
