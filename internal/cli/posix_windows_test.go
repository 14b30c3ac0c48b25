package cli

import (
	"io/fs"
	"strings"
	"testing"

	"golang.org/x/sys/windows"
)

func TestAFullDiskOfWindowsIsNamed(t *testing.T) {
	err := &fs.PathError{Op: "write", Path: "f", Err: windows.ERROR_DISK_FULL}
	if advice := adviseSystem(err); !strings.Contains(advice, "make room on the disk") {
		t.Errorf("the advice is %q", advice)
	}
}
