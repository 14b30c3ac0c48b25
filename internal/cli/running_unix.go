//go:build !windows

package cli

import (
	"errors"
	"syscall"
)

// isRunning reports whether there is a process with this id.
func isRunning(pid int) bool {
	err := syscall.Kill(pid, 0)
	return pid > 0 && (err == nil || errors.Is(err, syscall.EPERM))
}
