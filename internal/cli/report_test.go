package cli

import (
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
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
