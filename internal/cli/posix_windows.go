package cli

import (
	"errors"
	"syscall"

	"golang.org/x/sys/windows"
)

// posix returns what other systems call an error of Windows.
func posix(err error) error {
	number, ok := errors.AsType[syscall.Errno](err)
	if !ok {
		return err
	}
	switch number {
	case windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL:
		return syscall.ENOSPC
	case windows.ERROR_DISK_QUOTA_EXCEEDED:
		return syscall.EDQUOT
	case windows.ERROR_TOO_MANY_OPEN_FILES, windows.WSAEMFILE:
		return syscall.EMFILE
	case windows.ERROR_WRITE_PROTECT:
		return syscall.EROFS
	case windows.ERROR_IO_DEVICE, windows.ERROR_CRC:
		return syscall.EIO
	}
	return err
}
