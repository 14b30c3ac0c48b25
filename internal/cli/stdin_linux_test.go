package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openTerminal opens a terminal: the side of the keyboard and screen, and that
// of the program.
func openTerminal(t *testing.T) (person, program *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Skip("there are no terminals here: ", err)
	}
	t.Cleanup(func() { person.Close() })
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if program, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { program.Close() })
	return person, program
}

func TestASecretIsReadFromATerminalThatDoesNotShowIt(t *testing.T) {
	token := strings.Repeat("0123456789abcdef", 1<<10) // the system's own line has 4 KiB
	for typed, want := range map[string]struct {
		line string
		err  error
	}{
		token + "\r":             {token, nil},
		"wrong\x15right!\x7f\r":  {"right", nil},
		"\x7fabc\n":              {"abc", nil},
		"abc\x04":                {"abc", nil},
		"abc\x03":                {"", errInterrupted},
		"pasted\rrm -rf build\r": {"pasted", nil},
	} {
		person, program := openTerminal(t)
		before, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		type answer struct {
			line []byte
			err  error
		}
		done := make(chan answer, 1)
		go func() {
			line, err := readHidden(program)
			done <- answer{line, err}
		}()
		// A person types once the prompt is there, which is after this.
		for now, ends := before, time.Now().Add(10*time.Second); now.Lflag&unix.ICANON != 0; time.Sleep(time.Millisecond) {
			if now, err = unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS); err != nil || time.Now().After(ends) {
				t.Fatal("the terminal is as before: ", err)
			}
		}
		if _, err := io.WriteString(person, typed); err != nil {
			t.Fatal(err)
		}
		if got := <-done; string(got.line) != want.line || !errors.Is(got.err, want.err) {
			t.Errorf("typed %.20q: read %d bytes, %v", typed, len(got.line), got.err)
		}
		if after, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS); err != nil || *after != *before {
			t.Errorf("typed %.20q: the terminal is left as %+v, %v", typed, after, err)
		}
		shown := make([]byte, 1)
		if err := person.SetReadDeadline(time.Now().Add(10 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if n, _ := person.Read(shown); n > 0 {
			t.Errorf("typed %.20q: it was shown", typed)
		}
	}
}

func TestASignalAtThePromptLeavesTheTerminalAsItWas(t *testing.T) {
	for _, sig := range []unix.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
		_, program := openTerminal(t)
		before, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		inv := &invocation{Env: Env{Stdin: program, Stderr: io.Discard}}
		done := make(chan error, 1)
		go func() {
			_, err := inv.readStdinSecret("--client-secret-file")
			done <- err
		}()
		for now, ends := before, time.Now().Add(10*time.Second); now.Lflag&unix.ICANON != 0; time.Sleep(time.Millisecond) {
			if now, err = unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS); err != nil || time.Now().After(ends) {
				t.Fatal("the terminal is as before: ", err)
			}
		}
		if err := unix.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
		if err := <-done; !errors.Is(err, errInterrupted) {
			t.Errorf("%v: %v", sig, err)
		}
		if after, err := unix.IoctlGetTermios(int(program.Fd()), unix.TCGETS); err != nil || *after != *before {
			t.Errorf("%v: the terminal is left as %+v, %v", sig, after, err)
		}
	}
}
