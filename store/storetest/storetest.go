// Package storetest checks that a [fob.Store] keeps its contract.
//
// A store's own test calls [Test], and [TestShared] if processes or machines
// share what it stores:
//
//	func TestStore(t *testing.T) {
//		storetest.Test(t, func(t *testing.T) fob.Store { return mystore.New() })
//	}
package storetest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fobauth/fob"
)

// patience ends a test that hangs. No test waits for it to pass.
const patience = 30 * time.Second

// Test runs the conformance tests. It calls open once for each of them, and
// each needs an empty store; open cleans up with t.Cleanup.
func Test(t *testing.T, open func(t *testing.T) fob.Store) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(*testing.T, fob.Store)
	}{
		{"an unknown key is not stored", unknownKey},
		{"get returns what was put byte for byte", roundTrip},
		{"put replaces the record", overwrite},
		{"the longest key works", longestKey},
		{"delete removes the record and no other", deleteOne},
		{"deleting what is not there is no error", deleteNothing},
		{"a deleted key can be put again", putAfterDelete},
		{"keys are independent", independentKeys},
		{"a record belongs to its caller", noAliasing},
		{"concurrent readers see no torn record", noTornRecord},
		{"a lock has one holder", exclusion},
		{"locks of different keys do not wait for each other", independentLocks},
		{"a lock does not hinder get, put and delete", lockIsAdvice},
		{"unlock lets the next one in", handOver},
		{"a lock can be taken again and again", relock},
		{"lock ends with an ended context", endedContext},
		{"lock stops waiting when its context ends", endingContext},
		{"who stopped waiting leaves no lock behind", abandonedWait},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
}

// TestShared runs the conformance tests of a store that is open twice, as two
// processes have it open. It calls open once for each of them; open returns two
// stores that share their records, empty at first.
func TestShared(t *testing.T, open func(t *testing.T) (one, other fob.Store)) {
	t.Helper()
	for _, c := range []struct {
		name string
		test func(t *testing.T, one, other fob.Store)
	}{
		{"each sees what the other puts and deletes", sharedRecords},
		{"each waits for the other's lock", sharedLock},
		{"no update under the lock is lost", sharedCounter},
	} {
		t.Run(c.name, func(t *testing.T) {
			one, other := open(t)
			c.test(t, one, other)
		})
	}
}

// Key returns a store key as [fob.Store] describes them, made from name: the
// same for the same name and another for another.
func Key(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "token-" + hex.EncodeToString(sum[:])
}

func unknownKey(t *testing.T, s fob.Store) {
	wantNone(t, s, Key("a"))
}

func roundTrip(t *testing.T, s fob.Store) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	for name, record := range map[string][]byte{
		"nil":        nil,
		"empty":      {},
		"zero byte":  {0},
		"text":       []byte("{\"a\": \"ü\"}\r\n"),
		"every byte": all,
		"1 MiB":      bytes.Repeat(all, 1<<20/256),
	} {
		put(t, s, Key(name), record)
		wantRecord(t, s, Key(name), record)
	}
}

func overwrite(t *testing.T, s fob.Store) {
	key := Key("a")
	for _, record := range []string{"first", "the second is longer", "3rd", ""} {
		put(t, s, key, []byte(record))
		wantRecord(t, s, key, []byte(record))
	}
}

func longestKey(t *testing.T, s fob.Store) {
	key := "account-" + strings.Repeat("0123456789abcdef", 5)[:72]
	put(t, s, key, []byte("a"))
	wantRecord(t, s, key, []byte("a"))
	lock(t, s, key)()
}

func deleteOne(t *testing.T, s fob.Store) {
	put(t, s, Key("a"), []byte("a"))
	put(t, s, Key("b"), []byte("b"))
	del(t, s, Key("a"))
	wantNone(t, s, Key("a"))
	wantRecord(t, s, Key("b"), []byte("b"))
}

func deleteNothing(t *testing.T, s fob.Store) {
	del(t, s, Key("a"))
	del(t, s, Key("a"))
}

func putAfterDelete(t *testing.T, s fob.Store) {
	put(t, s, Key("a"), []byte("old"))
	del(t, s, Key("a"))
	put(t, s, Key("a"), []byte("new"))
	wantRecord(t, s, Key("a"), []byte("new"))
}

func independentKeys(t *testing.T, s fob.Store) {
	// The word is part of the key, and so is every digit.
	keys := []string{"token-0a", "account-0a", "token-0b", "token-0", "token-0a0", "tokens-0a"}
	for _, key := range keys {
		put(t, s, key, []byte(key))
	}
	for _, key := range keys {
		wantRecord(t, s, key, []byte(key))
	}
}

func noAliasing(t *testing.T, s fob.Store) {
	key, record := Key("a"), []byte("record")
	put(t, s, key, record)
	clear(record)
	got, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != "record" {
		t.Fatalf("a change of what was put changed the record to %q", got)
	}
	clear(got)
	wantRecord(t, s, key, []byte("record"))
}

func noTornRecord(t *testing.T, s fob.Store) {
	const writers, rounds = 4, 25
	key := Key("a")
	put(t, s, key, pattern(0))
	var writing, reading sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		writing.Go(func() {
			for i := range rounds {
				if err := s.Put(t.Context(), key, pattern(uint32(w*rounds+i))); err != nil {
					t.Errorf("put: %v", err)
				}
			}
		})
		reading.Go(func() {
			for {
				if record, err := s.Get(t.Context(), key); err != nil {
					t.Errorf("get while others put: %v", err)
				} else if !isPattern(record) {
					t.Errorf("get while others put: a record of %d bytes that nobody put", len(record))
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	writing.Wait()
	close(done)
	reading.Wait()
}

// pattern returns a record whose length and every byte follow from n.
func pattern(n uint32) []byte {
	record := make([]byte, 4*(1+n%5000))
	for i := 0; i < len(record); i += 4 {
		binary.BigEndian.PutUint32(record[i:], n)
	}
	return record
}

func isPattern(record []byte) bool {
	return len(record) >= 4 && bytes.Equal(record, pattern(binary.BigEndian.Uint32(record)))
}

func exclusion(t *testing.T, s fob.Store) {
	const goroutines, rounds = 16, 10
	key := Key("a")
	var inside atomic.Int32
	count := 0 // the lock guards it, the race detector watches it
	var wg sync.WaitGroup
	for range goroutines {
		wg.Go(func() {
			for range rounds {
				unlock, err := s.Lock(t.Context(), key)
				if err != nil {
					t.Errorf("lock: %v", err)
					return
				}
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d hold the lock at once", n)
				}
				count++
				inside.Add(-1)
				unlock()
			}
		})
	}
	wg.Wait()
	if count != goroutines*rounds {
		t.Errorf("the lock was held %d times, want %d", count, goroutines*rounds)
	}
}

func independentLocks(t *testing.T, s fob.Store) {
	defer lock(t, s, Key("a"))()
	defer lock(t, s, Key("b"))()
	defer lock(t, s, Key("c"))()
}

func lockIsAdvice(t *testing.T, s fob.Store) {
	key := Key("a")
	defer lock(t, s, key)()
	put(t, s, key, []byte("a"))
	wantRecord(t, s, key, []byte("a"))
	del(t, s, key)
	wantNone(t, s, key)
}

func handOver(t *testing.T, s fob.Store) {
	waitsFor(t, s, s)
}

func relock(t *testing.T, s fob.Store) {
	for range 10 {
		lock(t, s, Key("a"))()
	}
}

func endedContext(t *testing.T, s fob.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	defer lock(t, s, Key("a"))()
	if unlock, err := s.Lock(ctx, Key("a")); !errors.Is(err, context.Canceled) {
		if err == nil {
			unlock()
		}
		t.Fatalf("lock with a cancelled context: error %v, want context.Canceled", err)
	}
}

func endingContext(t *testing.T, s fob.Store) {
	defer lock(t, s, Key("a"))()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	if unlock, err := s.Lock(ctx, Key("a")); !errors.Is(err, context.DeadlineExceeded) {
		if err == nil {
			unlock()
		}
		t.Fatalf("lock of what is held until after the deadline: error %v, want context.DeadlineExceeded", err)
	}
}

func abandonedWait(t *testing.T, s fob.Store) {
	key := Key("a")
	unlock := lock(t, s, key)
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for range 8 {
		wg.Go(func() {
			if _, err := s.Lock(ctx, key); !errors.Is(err, context.Canceled) {
				t.Errorf("a wait that was cancelled: error %v, want context.Canceled", err)
			}
		})
	}
	cancel()
	wg.Wait()
	unlock()
	lock(t, s, key)()
}

func sharedRecords(t *testing.T, one, other fob.Store) {
	key := Key("a")
	wantNone(t, other, key)
	put(t, one, key, []byte("first"))
	wantRecord(t, other, key, []byte("first"))
	put(t, other, key, []byte("second"))
	wantRecord(t, one, key, []byte("second"))
	del(t, one, key)
	wantNone(t, other, key)
}

func sharedLock(t *testing.T, one, other fob.Store) {
	waitsFor(t, one, other)
	waitsFor(t, other, one)
	defer lock(t, one, Key("b"))()
	defer lock(t, other, Key("c"))()
}

func sharedCounter(t *testing.T, one, other fob.Store) {
	const goroutines, rounds = 4, 10
	key := Key("a")
	put(t, one, key, make([]byte, 8))
	increment := func(s fob.Store) error {
		unlock, err := s.Lock(t.Context(), key)
		if err != nil {
			return err
		}
		defer unlock()
		record, err := s.Get(t.Context(), key)
		if err != nil {
			return err
		}
		n := binary.BigEndian.Uint64(record)
		return s.Put(t.Context(), key, binary.BigEndian.AppendUint64(nil, n+1))
	}
	var wg sync.WaitGroup
	for _, s := range slices.Repeat([]fob.Store{one, other}, goroutines) {
		wg.Go(func() {
			for range rounds {
				if err := increment(s); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	wantRecord(t, other, key, binary.BigEndian.AppendUint64(nil, 2*goroutines*rounds))
}

// waitsFor checks that a lock taken in holder keeps waiter out until it is
// unlocked, and no longer.
func waitsFor(t *testing.T, holder, waiter fob.Store) {
	t.Helper()
	key := Key("a")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	unlock := lock(t, holder, key)
	var released atomic.Bool
	result := make(chan error)
	go func() {
		next, err := waiter.Lock(ctx, key)
		if err == nil {
			if !released.Load() {
				err = errors.New("it was had while another held it")
			}
			next()
		}
		result <- err
	}()
	// A context that ends in between gives a waiter that does not wait time to
	// show itself.
	soon, stop := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer stop()
	if second, err := waiter.Lock(soon, key); err == nil {
		second()
		t.Error("the lock was had while another held it")
	}
	released.Store(true)
	unlock()
	if err := <-result; err != nil {
		t.Errorf("waiting for the lock: %v", err)
	}
}

func put(t *testing.T, s fob.Store, key string, record []byte) {
	t.Helper()
	if err := s.Put(t.Context(), key, record); err != nil {
		t.Fatalf("put %s: %v", key, err)
	}
}

func del(t *testing.T, s fob.Store, key string) {
	t.Helper()
	if err := s.Delete(t.Context(), key); err != nil {
		t.Fatalf("delete %s: %v", key, err)
	}
}

func lock(t *testing.T, s fob.Store, key string) (unlock func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	unlock, err := s.Lock(ctx, key)
	if err != nil {
		t.Fatalf("lock %s: %v", key, err)
	}
	return unlock
}

func wantRecord(t *testing.T, s fob.Store, key string, want []byte) {
	t.Helper()
	got, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatalf("get %s: %v", key, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatalf("get %s: %s, want %s", key, brief(got), brief(want))
	}
}

func wantNone(t *testing.T, s fob.Store, key string) {
	t.Helper()
	if got, err := s.Get(t.Context(), key); !errors.Is(err, fob.ErrNotStored) {
		t.Fatalf("get %s: %s and error %v, want fob.ErrNotStored", key, brief(got), err)
	}
}

func brief(record []byte) string {
	if len(record) > 40 {
		return fmt.Sprintf("%d bytes, %q…", len(record), record[:40])
	}
	return fmt.Sprintf("%d bytes, %q", len(record), record)
}
