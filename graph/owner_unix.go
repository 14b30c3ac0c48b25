//go:build unix

package graph

import (
	"io/fs"
	"os"
	"syscall"
)

// noFollow opens no symbolic link, and waits for nobody at a FIFO.
const noFollow = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// ownedByOther reports whether somebody else may have put a file there.
func ownedByOther(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) != os.Geteuid()
}
