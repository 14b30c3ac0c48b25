package graph

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/gofrs/flock"
)

// checkpoint is where an export to a file can go on: everything before Offset
// is on the disk, and the parts name what comes behind it.
type checkpoint struct {
	Version int     `json:"version"`
	Address string  `json:"address"`
	Offset  int64   `json:"offset"`
	Items   int64   `json:"items"`
	Head    string  `json:"head,omitzero"` // of the file, which tells its form
	Parts   []*part `json:"parts"`
}

const checkpointVersion = 1

// CheckpointFile is where an export to the file name remembers how far it has
// come. It exists as long as the export is not complete.
func CheckpointFile(name string) string { return name + ".checkpoint" }

// ExportFile is [Client.Export] to a file, which can be interrupted at any
// moment, also by kill -9 or a power cut. Called again with the same name and
// address it goes on where the last checkpoint was: no item is missing and
// none is there twice. The services forget their page links after a while;
// then the error is [ErrExpired], and the export has to start again, which it
// does when the checkpoint file is removed.
//
// A file that exists without a checkpoint is left alone unless o.Replace is
// set, and then until the first page has come. A second export to a file that
// is being written is refused.
func (c *Client) ExportFile(ctx context.Context, name, address string, o ExportOptions) (progress Progress, err error) {
	u, err := c.Resolve(address)
	if err != nil {
		return Progress{}, err
	}
	unlock, err := lockFile(CheckpointFile(name)+".lock", "another export is writing "+name)
	if err != nil {
		return Progress{}, err
	}
	defer unlock()
	state, err := loadCheckpoint(name, u.String(), string(o.Head))
	if err != nil {
		return Progress{}, err
	}
	e := exporter{c: c, o: o, began: c.now()}
	var file *os.File
	if state != nil {
		file, err = resume(name, state)
	} else {
		state = &checkpoint{Version: checkpointVersion, Address: u.String(), Head: string(o.Head)}
		if state.Parts, err = c.split(address, o.Parallel); err != nil {
			return Progress{}, err
		}
		file, err = create(name, o.Replace)
	}
	if err != nil {
		return Progress{}, err
	}
	defer func() {
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
	}()
	e.to, e.parts = file, state.Parts
	e.progress = Progress{Items: state.Items, Bytes: state.Offset, resumed: state.Items}
	if state.Offset == 0 {
		// What is in the file stays until there is something in its place.
		e.begin = func() error {
			if err := file.Truncate(0); err != nil {
				return err
			}
			return e.write(o.Head)
		}
	}
	e.whole = e.progress.Bytes

	interval, last := o.Checkpoint, c.now()
	if interval == 0 {
		interval = time.Second
	}
	// Disks are slow, so a checkpoint is on its way to one while the export goes
	// on. There is one at a time, and the last is waited for.
	var saving chan error
	e.saved = func(force bool) error {
		if saving != nil && (force || len(saving) > 0) {
			err := <-saving
			saving = nil
			if err != nil {
				return err
			}
		}
		now := c.now()
		if saving != nil || !force && now.Sub(last) < interval {
			return nil
		}
		last = now
		state.Offset, state.Items = e.whole, e.progress.Items
		text, err := json.Marshal(state)
		if err != nil {
			return err
		}
		saving = make(chan error, 1)
		go func() { saving <- saveCheckpoint(name, file, text) }()
		if !force {
			return nil
		}
		err = <-saving
		saving = nil
		return err
	}
	if err := e.saved(true); err != nil {
		return e.progress, err
	}
	switch err = e.run(ctx); {
	case errors.Is(err, ErrExpired):
		return e.progress, fmt.Errorf("%w (remove %s to do so)", err, CheckpointFile(name))
	case err != nil && e.begin != nil:
		// Nothing has come that could be gone on from.
		err = errors.Join(err, os.Remove(CheckpointFile(name)))
		if info, statErr := file.Stat(); statErr == nil && info.Size() == 0 {
			err = errors.Join(err, os.Remove(name))
		}
		return e.progress, err
	case err != nil:
		return e.progress, err
	}
	// The last thing, and nobody waits for the disk: whoever is killed before,
	// or finds the checkpoint there again after a power cut, goes on with an
	// export that has nothing left to do.
	return e.progress, os.Remove(CheckpointFile(name))
}

func create(name string, replace bool) (*os.File, error) {
	flags := os.O_WRONLY | os.O_CREATE | os.O_EXCL
	if replace {
		flags = os.O_WRONLY | os.O_CREATE
	}
	if info, err := os.Stat(name); err == nil && info.Size() == 0 {
		flags &^= os.O_EXCL // as good as no file: perhaps what an interrupted start left
	}
	file, err := os.OpenFile(name, flags, 0o600)
	if errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w; choose another name, or say that it may be replaced", err)
	}
	return file, err
}

// resume opens an export that was interrupted, without what was written after
// its last checkpoint.
func resume(name string, state *checkpoint) (*os.File, error) {
	file, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("going on with an export: %w; to start again remove %s", err, CheckpointFile(name))
	}
	info, err := file.Stat()
	if err == nil && info.Size() < state.Offset {
		err = fmt.Errorf("%s is shorter than at its last checkpoint; to start again remove it and %s", name, CheckpointFile(name))
	}
	if err == nil && state.Offset > 0 {
		err = file.Truncate(state.Offset)
	}
	if err == nil {
		_, err = file.Seek(state.Offset, io.SeekStart)
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

// lockFile makes sure that nobody else does what is being done: busy says what
// that is. The system lets go of the lock of a process that was killed.
func lockFile(path, busy string) (unlock func(), err error) {
	for range 10 {
		lock := flock.New(path, flock.SetFlag(os.O_CREATE|os.O_RDWR|noFollow), flock.SetPermissions(0o600))
		held, err := lock.TryLock()
		if err != nil {
			return nil, fmt.Errorf("making a lock: %w", err)
		}
		if !held {
			break
		}
		own, err := lock.Stat()
		if named, namedErr := os.Lstat(path); err == nil && namedErr == nil && os.SameFile(own, named) {
			return func() {
				os.Remove(path) // while it is held: who comes now locks a new one
				lock.Unlock()
			}, nil
		}
		lock.Close() // it was removed before we had it, and keeps nobody out
	}
	return nil, fmt.Errorf("%s; wait for it, or choose another name", busy)
}

// loadCheckpoint returns the checkpoint of an export to name, or nil.
func loadCheckpoint(name, address, head string) (*checkpoint, error) {
	file := CheckpointFile(name)
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var state checkpoint
	switch err := json.Unmarshal(text, &state); {
	case err != nil || state.Offset < 0 || len(state.Parts) == 0:
		return nil, fmt.Errorf("%s is damaged; remove it to start the export again", file)
	case state.Version != checkpointVersion:
		return nil, fmt.Errorf("%s is of another version of this program; remove it to start the export again", file)
	case state.Address != address:
		return nil, fmt.Errorf("%s belongs to an export of %s that is not complete; finish that one, or remove the file, or choose another name", file, shown(state.Address))
	case state.Head != head:
		return nil, fmt.Errorf("%s belongs to an export in another form or with other columns; finish that one, or remove the file to start again", file)
	}
	return &state, nil
}

// saveCheckpoint replaces the checkpoint in one step: whatever happens, there
// is the old one or the new one. First the items get to the disk, then what
// says that they are there.
func saveCheckpoint(name string, items *os.File, text []byte) error {
	if err := items.Sync(); err != nil {
		return fmt.Errorf("writing the export: %w", err)
	}
	file := CheckpointFile(name)
	if err := writeSynced(file+".new", text); err != nil {
		return fmt.Errorf("writing the checkpoint: %w", err)
	}
	if err := os.Rename(file+".new", file); err != nil {
		return fmt.Errorf("writing the checkpoint: %w", err)
	}
	return syncDirectory(name)
}

func writeSynced(name string, text []byte) error {
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

// syncDirectory makes a new or removed name in the directory of name last.
func syncDirectory(name string) error {
	if runtime.GOOS == "windows" {
		return nil // directories cannot be synced there, and need not be
	}
	dir, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	err = dir.Sync()
	return errors.Join(err, dir.Close())
}
