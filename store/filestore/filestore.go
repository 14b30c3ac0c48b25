// Package filestore keeps the records of a [fob.Store] in a directory, sealed,
// for one user and all of the user's processes.
//
//	store, err := filestore.Open(dir)
//
// # What is in the directory
//
//	key          32 random bytes, readable by their owner only
//	token-5f1c…  one record a file, named by its key
//	locks/       one empty lock file for each key that was locked lately
//	.tmp-…       a record on its way; an old one is left from a crash
//
// # What is promised
//
// Records are sealed with AES-256-GCM under a random nonce. The format and the
// record's key are sealed with it: a record that was changed, cut, renamed or
// exchanged for another is damaged, and a damaged record counts as not stored.
// A thief needs the key file too; who can read the user's files has both.
//
// A record is written to a file of its own, flushed to the disk and renamed
// into place, and then the directory is flushed. A process or machine that
// stops at any moment leaves the old record or the new one, and what [Store.Put]
// has returned from stays.
//
// On Unix the directory is kept at mode 0700 and files at 0600, whatever the
// umask. Open refuses what somebody else may have had a hand in: a directory
// that others own or can write, a key that others can read. Nothing in the
// directory is read or written through a symbolic link. On Windows the access
// lists of the user's profile protect the directory; it belongs in there.
//
// Access tokens live for a day at most. A token record or a lock file that is a
// week old is removed when something is put, so that a server which gets a token
// for each of its callers does not fill the disk. Records of accounts stay until
// they are deleted.
package filestore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/fobauth/fob"
)

// MaxRecord is the size in bytes of the largest record that a [Store] takes.
const MaxRecord = 1 << 20

// ErrDamaged is what [Store.Get] and [Store.Verify] find instead of a record
// that was changed or cut, that was sealed with another key, or that is no file.
// Such an error is also [fob.ErrNotStored].
var ErrDamaged = errors.New("damaged")

const (
	keyName    = "key"
	locksName  = "locks"
	tempPrefix = ".tmp-"
	// A writer that has not renamed its file after so long is not going to.
	tempLife = time.Hour
	// Nobody can use a token that was stored so long ago.
	tokenPrefix = "token-"
	tokenLife   = 7 * 24 * time.Hour
	// Of uploads there are as many locks; their records go when they are complete.
	uploadPrefix = "upload-"
	// A process that puts records all day looks for old ones so often.
	sweepEvery = time.Hour
)

// Store is a [fob.Store] in a directory; see the package comment for what it
// promises. It is safe for concurrent use, and so are several Stores in one
// directory, in one process or in many. [Open] makes one.
type Store struct {
	dir   string
	root  *os.Root
	key   atomic.Pointer[sealer] // the key as last read
	turns fob.Store              // whose locks let the goroutines that ask for a name through one at a time
	swept atomic.Int64           // when old files were last looked for, Unix time
}

var _ fob.Store = (*Store)(nil)

// Open opens the store in the directory dir. What does not exist yet is
// created: parents, directory and key. Any number of processes may do so at
// once, they agree on one key.
func Open(dir string) (*Store, error) {
	s, err := openDir(dir, true)
	if err != nil {
		return nil, err
	}
	// Only the first start ever waits here, for others that start just now.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if _, err := s.currentKey(ctx); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

// Clear deletes all records and the key of the store in dir, as [Store.Clear]
// does, also when Open refuses the key. Clearing a store that does not exist is
// no error.
func Clear(ctx context.Context, dir string) error {
	s, err := openDir(dir, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer s.Close()
	return s.Clear(ctx)
}

// Close lets go of the directory. It must not be used together with other
// methods; locks that are held stay until they are unlocked.
func (s *Store) Close() error { return s.root.Close() }

// Dir returns the store's directory as an absolute path.
func (s *Store) Dir() string { return s.dir }

// Get returns the record under key. There being none is [fob.ErrNotStored]; a
// damaged one is that and [ErrDamaged], and the error names its file.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	if err := ready(ctx, key); err != nil {
		return nil, err
	}
	record, _, err := s.read(key)
	return record, err
}

// Put stores record, at most [MaxRecord] bytes, under key. When it returns
// without an error the record is on the disk.
func (s *Store) Put(ctx context.Context, key string, record []byte) error {
	if err := ready(ctx, key); err != nil {
		return err
	}
	if len(record) > MaxRecord {
		return fmt.Errorf("the store takes records of up to %d bytes, not of %d", MaxRecord, len(record))
	}
	// Here and not in Open: reading a token must not cost reading a directory.
	s.sweep()
	// The key is read again, because another process may have cleared the store
	// since; what is sealed with a removed key is lost.
	k, err := s.currentKey(ctx)
	if err != nil {
		return err
	}
	return s.write(key, k.seal(key, record))
}

// Delete removes the record under key, also a damaged one. Removing what is not
// there is no error.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := ready(ctx, key); err != nil {
		return err
	}
	if err := s.remove(key); err != nil {
		return err
	}
	return s.flush()
}

// List yields the keys of all records, sorted, damaged ones too. If the
// directory cannot be read or ctx ends, that error is the last thing it yields.
func (s *Store) List(ctx context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		names, err := s.names(".")
		if err != nil {
			yield("", err)
			return
		}
		slices.Sort(names)
		for _, name := range names {
			if !validKey(name) {
				continue
			}
			if err := ctx.Err(); err != nil {
				yield("", err)
				return
			}
			if !yield(name, nil) {
				return
			}
		}
	}
}

// Record is what [Store.Verify] says about one record; its content stays sealed.
type Record struct {
	// Key is what the record is stored under.
	Key string
	// Size is the size of its file in bytes, zero if that is unknown.
	Size int64
	// ModTime is when it was put, zero if that is unknown.
	ModTime time.Time
	// Err is why [Store.Get] would not return the record, nil if it would.
	Err error
}

// Verify reads and opens every record and yields what it found, sorted by key.
// If the directory cannot be read or ctx ends, that error is the last thing it
// yields; trouble with one record is in [Record].Err.
func (s *Store) Verify(ctx context.Context) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for key, err := range s.List(ctx) {
			if err != nil {
				yield(Record{}, err)
				return
			}
			_, info, err := s.read(key)
			if errors.Is(err, fob.ErrNotStored) && !errors.Is(err, ErrDamaged) {
				continue // deleted since it was listed
			}
			r := Record{Key: key, Err: err}
			if info != nil {
				r.Size, r.ModTime = info.Size(), info.ModTime()
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

// Clear deletes all records and, last, the key. It goes on past a record that it
// cannot remove: without the key, what stays can never be opened. The store
// can be used afterwards, it starts over with a new key.
func (s *Store) Clear(ctx context.Context) error {
	var failed error // the first time
	stay := 0
	for key, err := range s.List(ctx) {
		if err == nil {
			err = s.remove(key)
		}
		if err != nil {
			stay++
		}
		failed = cmp.Or(failed, err)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.swept.Store(0)
	s.sweep()
	locks, _ := s.names(locksName)
	for _, name := range locks {
		s.removeLock(name)
	}
	if stay > 1 {
		failed = fmt.Errorf("%w, and %d more of its records", failed, stay-1)
	}
	if err := s.remove(keyName); err != nil {
		return fmt.Errorf("the key is still there, and opens what else is: %w", err)
	}
	if failed != nil {
		return fmt.Errorf("what stays cannot be opened, for the key is gone: %w", failed)
	}
	return s.flush()
}

// ready is what every method asks first.
func ready(ctx context.Context, key string) error {
	if !validKey(key) {
		return fmt.Errorf("%.100q is not a store key: those are a lower-case word, a dash and hexadecimal digits", key)
	}
	return ctx.Err()
}

// validKey reports whether key is one by the rules of [fob.Store]. Such a key
// is a safe file name, and different from all other names in the directory.
func validKey(key string) bool {
	word, digest, ok := strings.Cut(key, "-")
	return ok && word != "" && digest != "" && len(key) <= 80 &&
		strings.Trim(word, "abcdefghijklmnopqrstuvwxyz") == "" &&
		strings.Trim(digest, "0123456789abcdef") == ""
}

// read returns the record under key and what is known of its file.
func (s *Store) read(key string) ([]byte, fs.FileInfo, error) {
	sealed, info, err := s.readFile(key, MaxRecord+sealOverhead)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fob.ErrNotStored
	}
	var record []byte
	if err == nil {
		k := s.key.Load()
		record, err = k.open(key, sealed)
		if errors.Is(err, errSeal) {
			// Another process may have cleared the store and started over.
			if now, keyErr := s.readKey(); keyErr == nil && now != k {
				record, err = now.open(key, sealed)
			}
		}
	}
	if _, ok := errors.AsType[defect](err); ok || errors.Is(err, fs.ErrPermission) {
		return nil, info, fmt.Errorf("the record %s is %w (%w) and counts as %w", s.path(key), ErrDamaged, bare(err), fob.ErrNotStored)
	}
	if err != nil {
		return nil, info, fmt.Errorf("reading the record %s: %w", s.path(key), bare(err))
	}
	return record, info, nil
}

// A defect is why the content of a file is of no use.
type defect string

func (d defect) Error() string { return string(d) }

// readFile reads a file of at most limit bytes. Anything but a regular file is a
// defect and is not waited for.
func (s *Store) readFile(name string, limit int64) ([]byte, fs.FileInfo, error) {
	// A symbolic link that takes the file's place after this look cannot lead
	// out of the root, and inside it there is nothing to gain: records are
	// sealed with their names, and of keys there is one.
	info, err := s.root.Lstat(name)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, info, notRegular(info)
	}
	f, err := s.root.OpenFile(name, os.O_RDONLY|nonblock, 0)
	if err != nil {
		return nil, info, err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return nil, info, err
	}
	switch {
	case !info.Mode().IsRegular():
		return nil, info, notRegular(info)
	case info.Size() > limit:
		return nil, info, defect(fmt.Sprintf("it has %d bytes, more than any record", info.Size()))
	}
	// Files are replaced, never written in place, so the size holds.
	content := make([]byte, info.Size())
	if _, err := io.ReadFull(f, content); err != nil {
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = defect("it was cut while it was read")
		}
		return nil, info, err
	}
	return content, info, nil
}

func notRegular(info fs.FileInfo) defect {
	return defect(fmt.Sprintf("it is not a regular file but %s", info.Mode()))
}

// write puts content under name, whole or not at all, and on the disk.
func (s *Store) write(name string, content []byte) (err error) {
	temp := tempPrefix + rand.Text()
	defer func() {
		if err != nil {
			s.root.Remove(temp)
			err = fmt.Errorf("writing %s: %w", s.path(name), bare(err))
		}
	}()
	// O_EXCL never follows a symbolic link.
	f, err := s.root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	// Chmod because the umask may have taken the owner's bits away.
	if err = cmp.Or(err, f.Chmod(0o600), f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := s.root.Rename(temp, name); err != nil {
		return err
	}
	return s.flush()
}

func (s *Store) remove(name string) error {
	if err := s.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing %s: %w", s.path(name), bare(err))
	}
	return nil
}

// flush makes names that were added, replaced or removed survive a power cut.
func (s *Store) flush() error {
	f, err := s.root.Open(".")
	if err == nil {
		defer f.Close()
		err = syncDir(f)
	}
	if err != nil {
		return fmt.Errorf("flushing the store directory %s: %w", s.dir, bare(err))
	}
	return nil
}

// names lists the directory dir of the store, "." for itself.
func (s *Store) names(dir string) ([]string, error) {
	f, err := s.root.Open(dir)
	var names []string
	if err == nil {
		defer f.Close()
		names, err = f.Readdirnames(-1)
	}
	if err != nil {
		return nil, fmt.Errorf("listing the directory %s: %w", s.path(dir), bare(err))
	}
	return names, nil
}

// sweep removes files that have had their time: what crashed writers left,
// tokens and locks. It is housekeeping: what it cannot do now, it or the next
// process does later.
func (s *Store) sweep() {
	now, last := time.Now(), s.swept.Load()
	if now.Unix()-last < int64(sweepEvery/time.Second) || !s.swept.CompareAndSwap(last, now.Unix()) {
		return
	}
	old := func(name string, life time.Duration) bool {
		info, err := s.root.Lstat(name)
		return err == nil && now.Sub(info.ModTime()) > life
	}
	names, _ := s.names(".")
	for _, name := range names {
		if strings.HasPrefix(name, tempPrefix) && old(name, tempLife) || strings.HasPrefix(name, tokenPrefix) && old(name, tokenLife) {
			s.root.Remove(name)
		}
	}
	locks, _ := s.names(locksName)
	for _, name := range locks {
		if (strings.HasPrefix(name, tokenPrefix) || strings.HasPrefix(name, uploadPrefix)) && old(filepath.Join(locksName, name), tokenLife) {
			s.removeLock(name)
		}
	}
}

// bare drops what package os puts before a cause: the caller names the record,
// and a temporary name or one below the root says nothing to anybody.
func bare(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	if l, ok := errors.AsType[*os.LinkError](err); ok {
		return l.Err
	}
	return err
}

// path names a file of the store in messages.
func (s *Store) path(name string) string { return filepath.Join(s.dir, name) }
