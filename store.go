package fob

import (
	"context"
	"errors"
)

// Store keeps records between calls, and between processes if it is shared by
// them. It sees names and opaque bytes only. Implementations are safe for
// concurrent use; package storetest checks that they keep this contract.
//
// A key is a lower-case word, a dash and a digest in lower-case hexadecimal
// ("token-5f1c…", at most 80 bytes), so that it can be a file name as it is.
type Store interface {
	// Get returns the record last put under key, whole, or an error that is
	// [ErrNotStored] if there is none. A record that was damaged or cannot be
	// opened also counts as not stored; the error says so.
	Get(ctx context.Context, key string) ([]byte, error)
	// Put stores record under key. It is atomic: a reader sees the old record
	// or the new one, also after a crash in between.
	Put(ctx context.Context, key string, record []byte) error
	// Delete removes the record under key. Removing what is not there is no
	// error.
	Delete(ctx context.Context, key string) error
	// Lock waits until no other holder has key locked, takes the lock and
	// returns the function that releases it, to be called once. It ends with
	// the context's error when ctx ends first. A lock is advice, it may be
	// lost: holders look again after they have it, then act.
	Lock(ctx context.Context, key string) (unlock func(), err error)
}

// ErrNotStored is what [Store.Get] returns when there is no usable record.
var ErrNotStored = errors.New("not stored")
