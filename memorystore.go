package fob

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"
)

// MemoryStore returns a [Store] that lives as long as the process. Clients
// that share it share their sign-ins. Access tokens live for a day or so;
// records of them are dropped when they are older than that, so that a server
// which gets a token for each of its callers does not grow.
func MemoryStore() Store { return &memoryStore{} }

type memoryStore struct {
	mu      sync.Mutex // guards the fields below
	records map[string]memoryRecord
	locks   map[string]*memoryLock // that somebody has or awaits
	swept   time.Time              // when old records were last looked for
}

type memoryRecord struct {
	content []byte
	put     time.Time
}

type memoryLock struct {
	held  chan struct{} // full while somebody has it
	users int           // guarded by memoryStore.mu; who have or await it
}

// No access token that was stored so long ago is good any more, and so often
// that is looked at.
const (
	memoryTokenLife = 48 * time.Hour
	memorySweep     = time.Hour
)

func (s *memoryStore) Get(ctx context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record, ok := s.records[key]
	if !ok {
		return nil, ErrNotStored
	}
	return slices.Clone(record.content), ctx.Err()
}

func (s *memoryStore) Put(ctx context.Context, key string, record []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	now := time.Now()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records == nil {
		s.records, s.swept = map[string]memoryRecord{}, now
	}
	if now.Sub(s.swept) > memorySweep {
		s.swept = now
		for key, r := range s.records {
			if strings.HasPrefix(key, "token-") && now.Sub(r.put) > memoryTokenLife {
				delete(s.records, key)
			}
		}
	}
	s.records[key] = memoryRecord{append([]byte{}, record...), now}
	return nil
}

func (s *memoryStore) Delete(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.records, key)
	return nil
}

func (s *memoryStore) Lock(ctx context.Context, key string) (func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.mu.Lock()
	if s.locks == nil {
		s.locks = map[string]*memoryLock{}
	}
	lock := s.locks[key]
	if lock == nil {
		lock = &memoryLock{held: make(chan struct{}, 1)}
		s.locks[key] = lock
	}
	lock.users++
	s.mu.Unlock()

	leave := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if lock.users--; lock.users == 0 {
			delete(s.locks, key)
		}
	}
	select {
	case lock.held <- struct{}{}:
		return func() { <-lock.held; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}
