package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"syscall"

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
	signal.Notify(interrupted, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT)
	defer signal.Stop(interrupted)
	go func() { // ends with the line, or with the process
		data, err := readHidden(f)
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

// readHidden reads a line that a terminal does not show. The terminals of Unix
// cut lines that they edit themselves at 4 KiB, which a token may have, so the
// few keys that matter are handled here.
func readHidden(f *os.File) ([]byte, error) {
	if runtime.GOOS == "windows" {
		return term.ReadPassword(int(f.Fd()))
	}
	before, err := term.MakeRaw(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	defer term.Restore(int(f.Fd()), before)
	var line []byte
	chunk := make([]byte, 4<<10)
	for {
		n, err := f.Read(chunk)
		for _, key := range chunk[:n] {
			switch key {
			case '\r', '\n', 'D' - '@': // Enter, Ctrl-D
				return line, nil
			case 'C' - '@':
				return nil, errInterrupted
			case 'U' - '@':
				line = nil
			case '\b', 0x7f:
				line = line[:max(len(line)-1, 0)]
			default:
				line = append(line, key)
			}
		}
		switch {
		case len(line) > maxSecretFile:
			return nil, fmt.Errorf("stdin has more than %d KiB; it cannot be what was meant", maxSecretFile>>10)
		case errors.Is(err, io.EOF):
			return line, nil
		case err != nil:
			return nil, err
		}
	}
}
