package cli

import (
	"os"

	"golang.org/x/sys/windows"
)

// enableEscapes asks the console to understand escape sequences, and reports
// whether it does. Consoles before Windows 10 do not.
func enableEscapes(f *os.File) bool {
	handle := windows.Handle(f.Fd())
	var mode uint32
	if windows.GetConsoleMode(handle, &mode) != nil {
		return true // a terminal of another kind, such as mintty
	}
	return windows.SetConsoleMode(handle, mode|windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING) == nil
}
