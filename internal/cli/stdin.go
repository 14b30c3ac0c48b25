package cli

import (
	"errors"
	"io"
	"os"
	"os/signal"

	"golang.org/x/term"
)

// errInterrupted is a Ctrl-C where no context could be asked.
var errInterrupted = errors.New("interrupted")

// readStdinSecret reads a secret from stdin. A person who types or pastes it
// does not see it on the screen.
func (inv *invocation) readStdinSecret(flag string) ([]byte, error) {
	f, ok := inv.Stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return readAtMost(inv.Stdin, "stdin", maxSecretFile)
	}
	before, err := term.GetState(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	io.WriteString(inv.Stderr, "Paste what "+flag+" is to read, then Enter (it is not shown): ")
	defer io.WriteString(inv.Stderr, "\n")
	type answer struct {
		data []byte
		err  error
	}
	done := make(chan answer, 1)
	interrupted := make(chan os.Signal, 1)
	signal.Notify(interrupted, os.Interrupt)
	defer signal.Stop(interrupted)
	go func() { // ends with the line, or with the process
		data, err := term.ReadPassword(int(f.Fd()))
		done <- answer{data, err}
	}()
	select {
	case a := <-done:
		return a.data, a.err
	case <-interrupted:
		// Or the shell would go on without showing what is typed.
		return nil, errors.Join(errInterrupted, term.Restore(int(f.Fd()), before))
	}
}
