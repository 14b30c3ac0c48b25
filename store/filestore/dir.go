package filestore

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fobauth/fob"
)

// openDir opens the directory of a store, after a look at who else may get at
// it, and creates it first if create says so. The key is not read.
func openDir(dir string, create bool) (*Store, error) {
	if dir == "" {
		return nil, errors.New("the store needs a directory: its name is empty")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("finding the store directory: %w", err)
	}
	named, err := os.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) && create {
		if err := makeDir(dir); err != nil {
			return nil, fmt.Errorf("creating the store directory: %w", err)
		}
		named, err = os.Lstat(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("opening the store directory %s: %w", dir, bare(err))
	}
	if !named.IsDir() {
		return nil, fmt.Errorf("the store directory %s is not a directory but %s: name the directory itself", dir, named.Mode())
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the store directory %s: %w", dir, bare(err))
	}
	s := &Store{dir: dir, root: root, turns: fob.MemoryStore()}
	if err := s.checkDir(named); err != nil {
		root.Close()
		return nil, err
	}
	return s, nil
}

// checkDir makes sure that the open directory is the one that was named and
// that it is the user's alone.
func (s *Store) checkDir(named fs.FileInfo) error {
	info, err := s.root.Lstat(".")
	if err != nil {
		return fmt.Errorf("looking at the store directory %s: %w", s.dir, bare(err))
	}
	if !os.SameFile(named, info) {
		return fmt.Errorf("the store directory %s was exchanged for another while it was opened: try again", s.dir)
	}
	loose, err := checkDirMode(s.dir, info)
	if err != nil || !loose {
		return err
	}
	f, err := s.root.Open(".")
	if err == nil {
		defer f.Close()
		err = f.Chmod(0o700)
	}
	if err != nil {
		return fmt.Errorf("closing the store directory %s to others: %w", s.dir, bare(err))
	}
	return nil
}

// makeDir creates dir and those of its parents that are missing, each for the
// user alone, which is more than os.MkdirAll does under an odd umask.
func makeDir(dir string) error {
	parent := filepath.Dir(dir)
	err := os.Mkdir(dir, 0o700)
	if errors.Is(err, fs.ErrNotExist) && parent != dir {
		if err := makeDir(parent); err != nil {
			return err
		}
		err = os.Mkdir(dir, 0o700)
	}
	if errors.Is(err, fs.ErrExist) {
		return nil // another process was faster
	}
	if err != nil {
		return err
	}
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if info.IsDir() && info.Mode().Perm() != 0o700 {
		if err := os.Chmod(dir, 0o700); err != nil {
			return err
		}
	}
	f, err := os.Open(parent)
	if err != nil {
		return nil // we may write there but not read; the entry is made
	}
	defer f.Close()
	return syncDir(f)
}
