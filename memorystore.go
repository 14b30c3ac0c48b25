package fob

import (
	"context"
	"slices"
	"sync"
)

// MemoryStore returns a [Store] that lives as long as the process. Clients
// that share it share their sign-ins.
func MemoryStore() Store { return &memoryStore{} }

type memoryStore struct {
	mu      sync.Mutex // guards the maps
	records map[string][]byte
	locks   map[string]chan struct{} // a lock is held while its channel is full
}

func (s *memoryStore) Get(ctx context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	record, ok := s.records[key]
	if !ok {
		return nil, ErrNotStored
	}
	return slices.Clone(record), ctx.Err()
}

func (s *memoryStore) Put(ctx context.Context, key string, record []byte) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.records == nil {
		s.records = map[string][]byte{}
	}
	s.records[key] = append([]byte{}, record...)
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
		s.locks = map[string]chan struct{}{}
	}
	lock := s.locks[key]
	if lock == nil {
		lock = make(chan struct{}, 1)
		s.locks[key] = lock
	}
	s.mu.Unlock()
	select {
	case lock <- struct{}{}:
		return func() { <-lock }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
