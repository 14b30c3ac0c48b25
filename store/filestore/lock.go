package filestore

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// Lock waits for its turn among the goroutines of this Store first and then for
// the lock file, so that of many waiters in a process only one asks the system.
// The system releases the lock of a process that ends, however it ends.
func (s *Store) Lock(ctx context.Context, key string) (unlock func(), err error) {
	if err := ready(ctx, key); err != nil {
		return nil, err
	}
	return s.lock(ctx, key)
}

// lock is Lock for names of our own, too.
func (s *Store) lock(ctx context.Context, name string) (unlock func(), err error) {
	pass, err := s.turns.Lock(ctx, name)
	if err != nil {
		return nil, err
	}
	// An open file of its own for each holder: a lock belongs to the open file,
	// two holders that shared one would both have it.
	file := flock.New(filepath.Join(s.dir, locksName, name+".lock"), flock.SetFlag(lockFlags), flock.SetPermissions(0o600))
	if err := s.waitLock(ctx, file); err != nil {
		pass()
		return nil, err
	}
	return sync.OnceFunc(func() {
		file.Close()
		pass()
	}), nil
}

func (s *Store) waitLock(ctx context.Context, file *flock.Flock) error {
	if err := s.makeLocksDir(); err != nil {
		return err
	}
	repaired := false
	for pause := time.Millisecond; ; pause = min(pause*3/2, 20*time.Millisecond) {
		locked, err := file.TryLock()
		switch {
		case locked && s.inPlace(file):
			return nil
		case locked:
			// It was removed between being opened and being locked. Whoever comes
			// now locks a new file of that name; so do we.
			file.Close()
			continue
		case errors.Is(err, fs.ErrPermission) && !repaired:
			// The umask of the process that made them may have taken the owner's bits.
			s.root.Chmod(locksName, 0o700)
			s.root.Chmod(filepath.Join(locksName, filepath.Base(file.Path())), 0o600)
			repaired = true
			continue
		case err != nil && !errors.Is(err, syscall.EINTR): // which network file systems answer to any signal
			return fmt.Errorf("locking %s: %w", file.Path(), bare(err))
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// inPlace reports whether a locked file still has its name. Without the name
// it keeps nobody out.
func (s *Store) inPlace(file *flock.Flock) bool {
	own, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := s.root.Lstat(filepath.Join(locksName, filepath.Base(file.Path())))
	return err == nil && os.SameFile(own, named)
}

// removeLock removes the lock file name unless somebody has it. It goes while
// it is locked: who waits for it sees then that it has lost its name.
func (s *Store) removeLock(name string) {
	file := flock.New(filepath.Join(s.dir, locksName, name), flock.SetFlag(lockFlags&^os.O_CREATE), flock.SetPermissions(0o600))
	defer file.Close()
	if locked, err := file.TryLock(); err == nil && locked && s.inPlace(file) {
		s.root.Remove(filepath.Join(locksName, name))
	}
}

func (s *Store) makeLocksDir() error {
	info, err := s.root.Lstat(locksName)
	if errors.Is(err, fs.ErrNotExist) {
		if err := s.root.Mkdir(locksName, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("creating %s: %w", s.path(locksName), bare(err))
		}
		info, err = s.root.Lstat(locksName)
	}
	if err != nil {
		return fmt.Errorf("looking at %s: %w", s.path(locksName), bare(err))
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a directory but %s: remove it, then try again", s.path(locksName), info.Mode())
	}
	return nil
}
