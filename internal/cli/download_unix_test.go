//go:build unix

package cli

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestAPipeIsWrittenToAndNotReplaced(t *testing.T) {
	for want, more := range map[string][]string{`{"a":1}`: nil, "1\n": {"--jq", ".a"}} {
		pipe := filepath.Join(t.TempDir(), "pipe")
		if err := syscall.Mkfifo(pipe, 0o600); err != nil {
			t.Fatal(err)
		}
		text := make(chan string)
		go func() {
			in, err := os.Open(pipe)
			if err != nil {
				t.Error(err)
			}
			got, _ := io.ReadAll(in)
			in.Close()
			text <- string(got)
		}()
		run, _ := apiWith(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"a":1}`) })
		got := run("", append([]string{"get", "/me", "--output-file", pipe}, more...)...)
		if came := <-text; got.status != StatusDone || came != want {
			t.Errorf("%v: %+v, %q came out", more, got, came)
		}
		if info, err := os.Lstat(pipe); err != nil || info.Mode().IsRegular() {
			t.Errorf("%v: the pipe is gone, %v", more, err)
		}
	}
}
