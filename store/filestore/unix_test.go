//go:build unix

package filestore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/fobauth/fob"
)

func TestModesDoNotDependOnTheUmask(t *testing.T) {
	for _, umask := range []int{0, 0o022, 0o777} {
		t.Run(fmt.Sprintf("%#o", umask), func(t *testing.T) {
			parent := filepath.Join(tempDir(t), "parent")
			defer syscall.Umask(syscall.Umask(umask))
			s := open(t, filepath.Join(parent, "store"))
			put(t, s, "token-0a", "a")
			for range 2 { // the second time the lock file exists
				unlock, err := s.Lock(t.Context(), "token-0a")
				if err != nil {
					t.Fatal(err)
				}
				unlock()
			}
			wantRecord(t, open(t, s.Dir()), "token-0a", "a")
			for path, want := range map[string]os.FileMode{
				parent: 0o700, s.Dir(): 0o700, s.path(keyName): 0o600, s.path("token-0a"): 0o600,
			} {
				if mode := stat(t, path).Mode().Perm(); mode != want {
					t.Errorf("%s has mode %#o, want %#o", path, mode, want)
				}
			}
			if mode := stat(t, s.path("locks/token-0a.lock")).Mode().Perm(); mode&^0o600 != 0 {
				t.Errorf("the lock file has mode %#o, want no more than 0600", mode)
			}
			if mode := stat(t, s.path("locks")).Mode().Perm(); mode&^0o700 != 0 {
				t.Errorf("the directory of lock files has mode %#o, want no more than 0700", mode)
			}
		})
	}
}

func TestOpenClosesAReadableDirectoryToOthers(t *testing.T) {
	dir := tempDir(t)
	chmod(t, dir, 0o755)
	open(t, dir)
	if mode := stat(t, dir).Mode().Perm(); mode != 0o700 {
		t.Errorf("its mode is %#o, want 0700", mode)
	}
}

func TestOpenRefusesADirectoryThatOthersCanWrite(t *testing.T) {
	for _, mode := range []os.FileMode{0o770, 0o720, 0o702, 0o777 | os.ModeSticky} {
		t.Run(mode.String(), func(t *testing.T) {
			dir := tempDir(t)
			chmod(t, dir, mode)
			wantRefused(t, dir, fmt.Sprintf("chmod 700 %q", dir))
			if len(dirNames(t, dir)) != 0 {
				t.Error("something was created in it")
			}
			chmod(t, dir, 0o700) // as the error says
			open(t, dir)
		})
	}
}

func TestOpenRefusesADirectoryOfAnotherUser(t *testing.T) {
	dir := "/" // belongs to root
	if os.Geteuid() == 0 {
		dir = tempDir(t)
		if err := os.Chown(dir, 65534, -1); err != nil {
			t.Fatal(err)
		}
	}
	wantRefused(t, dir, "belongs to user")
}

func TestOpenRefusesAKeyThatOthersMayKnow(t *testing.T) {
	for _, mode := range []os.FileMode{0o640, 0o604, 0o620, 0o666} {
		t.Run(mode.String(), func(t *testing.T) {
			dir := tempDir(t)
			put(t, open(t, dir), "token-0a", "a")
			chmod(t, filepath.Join(dir, keyName), mode)
			wantRefused(t, dir, "fob cache clear")
			// Clear is the way out that the error names.
			if err := Clear(t.Context(), dir); err != nil {
				t.Fatal(err)
			}
			wantNotStored(t, open(t, dir), "token-0a")
		})
	}
}

func TestPutRefusesAKeyThatOthersMayKnow(t *testing.T) {
	s := open(t, tempDir(t))
	chmod(t, s.path(keyName), 0o644)
	if err := s.Put(t.Context(), "token-0a", []byte("a")); err == nil {
		t.Error("no error")
	}
	wantNotStored(t, s, "token-0a")
}

func TestOpenRefusesASymbolicLink(t *testing.T) {
	target, link := tempDir(t), filepath.Join(tempDir(t), "store")
	symlink(t, target, link)
	wantRefused(t, link, "not a directory")
	if len(dirNames(t, target)) != 0 {
		t.Error("something was created behind the link")
	}
}

func TestOpenRefusesAKeyThatIsASymbolicLink(t *testing.T) {
	dir, elsewhere := tempDir(t), filepath.Join(tempDir(t), "key")
	writeFile(t, elsewhere, make([]byte, keySize))
	symlink(t, elsewhere, filepath.Join(dir, keyName))
	wantRefused(t, dir, "not a regular file")
}

func TestOpenRefusesADanglingLinkForAKey(t *testing.T) {
	dir, elsewhere := tempDir(t), filepath.Join(tempDir(t), "key")
	symlink(t, elsewhere, filepath.Join(dir, keyName))
	wantRefused(t, dir, "not a regular file")
	if _, err := os.Lstat(elsewhere); err == nil {
		t.Error("the key was created behind the link")
	}
}

func TestOpenDoesNotWaitForAFIFOInPlaceOfTheKey(t *testing.T) {
	dir := tempDir(t)
	mkfifo(t, filepath.Join(dir, keyName))
	wantRefused(t, dir, "not a regular file")
}

func TestARecordThatIsNoFileIsDamaged(t *testing.T) {
	for name, plant := range map[string]func(t *testing.T, s *Store, path string){
		"link to another record":  func(t *testing.T, s *Store, path string) { symlink(t, "token-0b", path) },
		"link to its former self": func(t *testing.T, s *Store, path string) { symlink(t, "saved", path) },
		"absolute link":           func(t *testing.T, s *Store, path string) { symlink(t, s.path("saved"), path) },
		"link out of the store":   func(t *testing.T, s *Store, path string) { symlink(t, "/etc/passwd", path) },
		"dangling link":           func(t *testing.T, s *Store, path string) { symlink(t, "nowhere", path) },
		"link to itself":          func(t *testing.T, s *Store, path string) { symlink(t, "token-0a", path) },
		"FIFO":                    func(t *testing.T, s *Store, path string) { mkfifo(t, path) },
		"directory": func(t *testing.T, s *Store, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t, tempDir(t))
			put(t, s, "token-0a", "a")
			put(t, s, "token-0b", "b")
			if err := os.Rename(s.path("token-0a"), s.path("saved")); err != nil {
				t.Fatal(err)
			}
			plant(t, s, s.path("token-0a"))
			wantDamaged(t, s, "token-0a")
			for r, err := range s.Verify(t.Context()) {
				if err != nil || (r.Key == "token-0a") != errors.Is(r.Err, ErrDamaged) {
					t.Errorf("verify reports %+v, %v", r, err)
				}
			}
			if err := s.Delete(t.Context(), "token-0a"); err != nil {
				t.Fatal(err)
			}
			wantNotStored(t, s, "token-0a")
			wantRecord(t, s, "token-0b", "b")
		})
	}
}

func TestPutReplacesALinkAndNotItsTarget(t *testing.T) {
	s := open(t, tempDir(t))
	elsewhere := filepath.Join(tempDir(t), "file")
	writeFile(t, elsewhere, []byte("precious"))
	symlink(t, elsewhere, s.path("token-0a"))
	put(t, s, "token-0a", "a")
	wantRecord(t, s, "token-0a", "a")
	if got := readFile(t, elsewhere); string(got) != "precious" {
		t.Errorf("the link's target is now %q", got)
	}
}

func TestLockRefusesALockFileThatIsALink(t *testing.T) {
	s := open(t, tempDir(t))
	elsewhere := filepath.Join(tempDir(t), "file")
	symlink(t, elsewhere, s.path("locks/token-0a.lock"))
	wantNoLock(t, s)
	if _, err := os.Lstat(elsewhere); err == nil {
		t.Error("a file was created behind the link")
	}
}

func TestLockRefusesALinkInPlaceOfItsDirectory(t *testing.T) {
	s := open(t, tempDir(t))
	if err := os.RemoveAll(s.path("locks")); err != nil {
		t.Fatal(err)
	}
	elsewhere := tempDir(t)
	symlink(t, elsewhere, s.path("locks"))
	wantNoLock(t, s)
	if len(dirNames(t, elsewhere)) != 0 {
		t.Error("a file was created behind the link")
	}
}

func wantNoLock(t *testing.T, s *Store) {
	t.Helper()
	_, err := s.Lock(t.Context(), "token-0a")
	if err == nil || errors.Is(err, context.Canceled) || errors.Is(err, fob.ErrNotStored) {
		t.Errorf("lock: error %v, want a refusal", err)
	}
}

func wantRefused(t *testing.T, dir, text string) {
	t.Helper()
	_, err := Open(dir)
	if err == nil || !strings.Contains(err.Error(), text) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("open %s: error %v, want one that names it and says %q", dir, err, text)
	}
}

func stat(t *testing.T, path string) os.FileInfo {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func symlink(t *testing.T, target, path string) {
	t.Helper()
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}

func mkfifo(t *testing.T, path string) {
	t.Helper()
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
}
