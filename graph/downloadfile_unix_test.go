//go:build unix

package graph

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestADownloadIsWrittenThroughNoLink(t *testing.T) {
	content := randomBytes(1000)
	for _, suffix := range []string{"", ".partial", ".partial.etag", ".partial.lock"} {
		for _, target := range []string{"victim", "missing"} {
			t.Run(suffix+" to "+target, func(t *testing.T) {
				dir := t.TempDir()
				to, victim := filepath.Join(dir, "a.bin"), filepath.Join(dir, "victim")
				if err := os.WriteFile(victim, []byte("\"v\"\n"), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Symlink(target, to+suffix); err != nil {
					t.Fatal(err)
				}
				w := serve(t, served(content, `"v"`))
				_, err := w.DownloadFile(t.Context(), to, "/x", Download{})
				switch suffix {
				case ".partial":
					wantError(t, err, "is in the way of the download and no regular file")
				case ".partial.lock":
					wantError(t, err, "making a lock")
				default:
					if err != nil {
						t.Error(err)
					}
					wantFile(t, to, content)
				}
				if text, err := os.ReadFile(victim); err != nil || string(text) != "\"v\"\n" {
					t.Errorf("the target of the link is now %q, %v", text, err)
				}
				if _, err := os.Stat(filepath.Join(dir, "missing")); err == nil {
					t.Error("the target of the link was made")
				}
			})
		}
	}
}

func TestAPartThatSomebodyElsePlantedIsNotBelieved(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	content := randomBytes(1000)
	for _, planted := range []string{"", ".etag"} {
		to := filepath.Join(t.TempDir(), "a.bin")
		for suffix, text := range map[string]string{"": "planted", ".etag": "\"v\"\n"} {
			if err := os.WriteFile(PartialFile(to)+suffix, []byte(text), 0o666); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chown(PartialFile(to)+planted, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		w := serve(t, served(content, `"v"`))
		if _, err := w.DownloadFile(t.Context(), to, "/x", Download{}); err != nil {
			t.Error(err)
		}
		wantFile(t, to, content)
	}
}

func TestADownloadIntoAPipeIsWrittenAsItComes(t *testing.T) {
	content := randomBytes(100_000)
	to := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(to, 0o600); err != nil {
		t.Fatal(err)
	}
	got := make(chan []byte)
	go func() {
		in, err := os.Open(to)
		if err != nil {
			t.Error(err)
		}
		text, _ := io.ReadAll(in)
		in.Close()
		got <- text
	}()
	w := serve(t, patchy(content, `"v"`, 40_000))
	if f, err := w.DownloadFile(t.Context(), to, "/x", Download{}); err != nil || f.Size != 100_000 {
		t.Errorf("%+v, %v", f, err)
	}
	if !bytes.Equal(<-got, content) {
		t.Error("something else came out of the pipe")
	}
	if info, err := os.Lstat(to); err != nil || info.Mode().IsRegular() {
		t.Errorf("the pipe is gone: %v", err)
	}
	if left, _ := filepath.Glob(to + ".*"); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
