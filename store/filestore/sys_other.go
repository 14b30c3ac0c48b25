//go:build !unix

package filestore

import (
	"io/fs"
	"os"
)

const (
	nonblock  = 0
	lockFlags = os.O_CREATE | os.O_RDWR
)

// Windows keeps the directory by the access lists that it inherits from the
// user's profile; file modes say nothing there.
func checkDirMode(string, fs.FileInfo) (loose bool, err error) { return false, nil }

func checkKey(fs.FileInfo) error { return nil }

// syncDir does nothing: a directory cannot be flushed there, NTFS journals its
// names.
func syncDir(*os.File) error { return nil }
