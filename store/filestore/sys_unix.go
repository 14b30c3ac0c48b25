//go:build unix

package filestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

const (
	// nonblock keeps the opening of a FIFO from waiting for its other end.
	nonblock = syscall.O_NONBLOCK
	// Read and write, because some network file systems lock no less.
	lockFlags = os.O_CREATE | os.O_RDWR | syscall.O_NOFOLLOW | syscall.O_NONBLOCK
)

// checkDirMode returns an error if others own or can write the directory, and
// reports whether they can merely look into it.
func checkDirMode(dir string, info fs.FileInfo) (loose bool, err error) {
	if owner, ok := ownedByOther(info); ok {
		return false, fmt.Errorf("the store directory %s belongs to user %d, and this is user %d: name a directory of your own", dir, owner, os.Geteuid())
	}
	mode := info.Mode().Perm()
	if mode&0o022 != 0 {
		return false, fmt.Errorf("others can write to the store directory %s (mode %#o): chmod 700 %q, then try again", dir, mode, dir)
	}
	return mode&0o077 != 0, nil
}

// checkKey returns a defect if somebody else may know or have chosen the key.
func checkKey(info fs.FileInfo) error {
	if owner, ok := ownedByOther(info); ok {
		return defect(fmt.Sprintf("it belongs to user %d, who knows the key", owner))
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return defect(fmt.Sprintf("others can read or write it (mode %#o), so they may know the key", mode))
	}
	return nil
}

func ownedByOther(info fs.FileInfo) (owner uint32, ok bool) {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return stat.Uid, int(stat.Uid) != os.Geteuid()
}

// syncDir flushes a directory where the file system can do that.
func syncDir(f *os.File) error {
	err := f.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		return nil
	}
	return err
}
