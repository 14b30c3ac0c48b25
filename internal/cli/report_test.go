package cli

import (
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestWhatTheSystemHasNoMoreOfIsNamedWithWhatToDo(t *testing.T) {
	for _, of := range []struct {
		err    error
		advice string
	}{
		{&fs.PathError{Op: "write", Path: "f", Err: syscall.ENOSPC}, "make room on the disk"},
		{&os.LinkError{Op: "rename", Old: "f", New: "g", Err: syscall.EDQUOT}, "the quota raised"},
		{&net.OpError{Op: "dial", Err: os.NewSyscallError("socket", syscall.EMFILE)}, "ulimit -n"},
		{&fs.PathError{Op: "write", Path: "f", Err: syscall.EFBIG}, "ulimit -f"},
		{&fs.PathError{Op: "open", Path: "f", Err: syscall.EROFS}, "a place that can be written"},
		{&fs.PathError{Op: "flock", Path: "f", Err: syscall.ENOLCK}, "on a local disk"},
		{&problem{status: StatusFailed, text: "opening", err: &fs.PathError{Op: "read", Path: "f", Err: syscall.EIO}}, "the system's log"},
	} {
		var stderr strings.Builder
		inv := &invocation{Env: Env{Stdout: io.Discard, Stderr: &stderr}}
		if r := inv.describe(of.err); !strings.Contains(r.fix, of.advice) || r.try != "" {
			t.Errorf("%v: fix %q, try %q", of.err, r.fix, r.try)
		}
		if inv.warn(of.err); !strings.Contains(stderr.String(), of.advice) {
			t.Errorf("%v: warned %q", of.err, stderr.String())
		}
	}
}

func TestTheTimeToComeBackIsRoundedUp(t *testing.T) {
	for after, want := range map[time.Duration]string{
		0: "try again later", time.Millisecond: "try again after 1 second", 3 * time.Second: "try again after 3 seconds", 3100 * time.Millisecond: "try again after 4 seconds",
	} {
		if got := laterFix(after); got != want {
			t.Errorf("%v: %q, want %q", after, got, want)
		}
	}
}

func TestTheDoctorTellsAStoreThatCannotBeLockedFromOneThatCannotBeWritten(t *testing.T) {
	for err, want := range map[error]string{
		fs.ErrPermission: "let yourself write to /tokens", syscall.ENOSPC: "make room on the disk", syscall.ENOLCK: "name a place on a local disk",
	} {
		f := lockFinding("/tokens", fmt.Errorf("locking: %w", err))
		if !strings.Contains(f.Do, want) || strings.Contains(f.What, "nothing can be written") != (err == fs.ErrPermission) {
			t.Errorf("%v: %+v", err, f)
		}
	}
}
