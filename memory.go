package fob

import (
	"context"
	"hash/maphash"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// memory is what a client remembers of its own answers: tokens as they are
// handed out, found by the request without any decoding. A hit takes no lock
// and allocates nothing; it costs a hash and a look into a table.
type memory struct {
	table atomic.Pointer[table]
	epoch atomic.Int64 // how often everything was forgotten

	mu sync.Mutex // held by who changes the table
}

// table is an open-addressed hash table that grows and never shrinks. Readers
// look into it while one writer adds: a slot gets its entry before its hash.
type table struct {
	slots []slot // a power of two, at most half of them taken
	taken int    // guarded by memory.mu
}

// slot is one place of a table, 16 bytes, so that a look costs one line of the
// processor's cache. Hash 0 means that nothing is there.
type slot struct {
	hash  atomic.Uint64
	entry atomic.Pointer[entry]
}

// find returns the entry with hash h, or nil. A table may be nil.
func (t *table) find(h uint64) *entry {
	if t == nil {
		return nil
	}
	mask := uint64(len(t.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		switch t.slots[i].hash.Load() {
		case h:
			return t.slots[i].entry.Load()
		case 0:
			return nil
		}
	}
}

// put stores e under h. Only the holder of memory.mu may call it.
func (t *table) put(h uint64, e *entry) {
	mask := uint64(len(t.slots) - 1)
	for i := h & mask; ; i = (i + 1) & mask {
		switch t.slots[i].hash.Load() {
		case 0:
			t.taken++
			t.slots[i].entry.Store(e)
			t.slots[i].hash.Store(h)
			return
		case h:
			t.slots[i].entry.Store(e)
			return
		}
	}
}

// grown returns a table with room for more, without what has expired by now.
func (t *table) grown(now int64) *table {
	live := 0
	if t != nil {
		for i := range t.slots {
			if e := t.slots[i].entry.Load(); e != nil && e.expires > now {
				live++
			}
		}
	}
	size := 64
	for size < 4*live {
		size *= 2
	}
	next := &table{slots: make([]slot, size)}
	if t != nil {
		for i := range t.slots {
			if e := t.slots[i].entry.Load(); e != nil && e.expires > now {
				next.put(t.slots[i].hash.Load(), e)
			}
		}
	}
	return next
}

// entry is one remembered answer. It is not changed once it is in the map. It
// repeats of the request and the token what a lookup compares, side by side:
// among 100,000 entries a hit costs what it misses in the processor's caches.
type entry struct {
	tenant, account, scope string
	more                   []string // the scopes behind the first
	since, renew, expires  int64    // when it was remembered; when to try a renewal; the end of the token's life (Unix nanoseconds)
	token                  *Token
}

// seed makes the hashes of this process unpredictable to whoever chooses the
// scopes.
var seed = maphash.MakeSeed()

// hash covers what tells remembered answers apart. Entries are compared in
// full, so a collision costs a miss and never a wrong token.
func hash(req *Request) uint64 {
	h := maphash.String(seed, req.Tenant)
	h = h*31 + maphash.String(seed, req.Account)
	for _, s := range req.Scopes {
		h = h*31 + maphash.String(seed, s)
	}
	return max(h, 1) // 0 is an empty slot
}

// lookup returns the token that answers req at time now without an attempt to
// renew it, or nil.
func (m *memory) lookup(req *Request, now time.Time) *Token {
	if req.Fresh || req.Claims != "" {
		return nil
	}
	e := m.table.Load().find(hash(req))
	scope, more := splitScopes(req)
	if e == nil || e.scope != scope || e.tenant != req.Tenant || e.account != req.Account || !slices.Equal(e.more, more) {
		return nil
	}
	// Before since the clock was put back: how long the token lives is for the
	// record in the store to say.
	if at := now.UnixNano(); at >= e.renew || e.expires-at <= int64(req.minValid()) || at < e.since-int64(clockSkew) {
		return nil
	}
	return e.token
}

func splitScopes(req *Request) (first string, more []string) {
	if len(req.Scopes) == 0 {
		return "", nil
	}
	return req.Scopes[0], req.Scopes[1:]
}

// remember keeps t as the answer to req. The token is handed out by many
// callers from now on, and comes from memory for all of them. For the time of
// rest no renewal is tried, although it may be due.
func (m *memory) remember(epoch int64, req *Request, t *Token, now time.Time, rest time.Duration) {
	kept := t
	if t.Origin != OriginCache || !t.Refresh.IsZero() {
		c := *t
		c.Origin, c.Refresh = OriginCache, Secret{}
		kept = &c
	}
	scope, more := splitScopes(req)
	e := &entry{
		tenant: req.Tenant, account: req.Account, scope: scope, more: slices.Clone(more), token: kept,
		since: now.UnixNano(), renew: max(t.RefreshOn.UnixNano(), now.Add(rest).UnixNano()), expires: t.Expires.UnixNano(),
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.epoch.Load() != epoch {
		return // read before a sign-in or a sign-out
	}
	known := m.table.Load()
	if known == nil || 2*(known.taken+1) > len(known.slots) {
		known = known.grown(e.since)
		m.table.Store(known)
	}
	known.put(hash(req), e)
}

// forget drops everything: who is signed in has changed.
func (m *memory) forget() {
	m.mu.Lock()
	m.epoch.Add(1)
	m.table.Store(nil)
	m.mu.Unlock()
}

// flights lets callers that want the same answer share one attempt.
type flights[T any] struct {
	mu   sync.Mutex // guards the map
	open map[string]*flight[T]
}

type flight[T any] struct {
	done   chan struct{}
	answer T
	err    error
	ended  bool // the leader's own context was over
}

func flightKey(req *Request) string {
	return digest(append([]string{req.Tenant, req.Account, req.Claims, req.minValid().String(), strconv.FormatBool(req.Fresh)}, req.Scopes...)...)
}

// share runs obtain, or waits for the caller that is running it for the same
// key. A caller whose leader gave up because its own time was over tries
// itself.
func (f *flights[T]) share(ctx context.Context, key string, obtain func() (T, error)) (T, error) {
	for {
		f.mu.Lock()
		if f.open == nil {
			f.open = map[string]*flight[T]{}
		}
		shared, following := f.open[key]
		if !following {
			shared = &flight[T]{done: make(chan struct{})}
			f.open[key] = shared
		}
		f.mu.Unlock()
		if following {
			select {
			case <-shared.done:
			case <-ctx.Done():
				var none T
				return none, ctx.Err()
			}
			if shared.ended && isContext(shared.err) && ctx.Err() == nil {
				continue
			}
			return shared.answer, shared.err
		}
		// Deferred, so that a Flow that panics does not leave its followers
		// waiting.
		func() {
			shared.err = errAbandoned
			defer func() {
				f.mu.Lock()
				delete(f.open, key)
				f.mu.Unlock()
				close(shared.done)
			}()
			shared.answer, shared.err = obtain()
			shared.ended = ctx.Err() != nil
		}()
		return shared.answer, shared.err
	}
}
