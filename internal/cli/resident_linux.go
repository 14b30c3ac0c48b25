package cli

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// forgetPages lets go of the pages of the program's own file. Most of those
// that are resident were needed once, to start and to get the token; the
// system brings back what is needed again. Where that cannot be done nothing
// is lost but memory.
func forgetPages() {
	program, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return
	}
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	var from, to uint64
	ours := false
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		words := strings.Fields(lines.Text())
		switch {
		case len(words) == 6: // from-to rw-p offset device inode path
			low, high, _ := strings.Cut(words[0], "-")
			var errs [2]error
			from, errs[0] = strconv.ParseUint(low, 16, 64)
			to, errs[1] = strconv.ParseUint(high, 16, 64)
			ours = errs == [2]error{} && words[5] == program && !strings.Contains(words[1], "w")
		case len(words) == 3 && words[0] == "Anonymous:" && words[1] == "0" && ours:
			// Every page is as it is in the file. (Of a program that the loader
			// relocated some are not, and must stay.)
			syscall.Syscall(syscall.SYS_MADVISE, uintptr(from), uintptr(to-from), syscall.MADV_DONTNEED)
			ours = false
		}
	}
}
