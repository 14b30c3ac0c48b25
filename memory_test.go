package fob

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

func remembered(i int, expires time.Time) (Request, *Token) {
	return Request{Tenant: fmt.Sprintf("t%d.example", i), Scopes: []string{"a", "b"}},
		&Token{Access: NewSecret(fmt.Sprint("token ", i)), Expires: expires, RefreshOn: expires, Origin: OriginFlow}
}

func TestMemoryIsReadWhileItGrows(t *testing.T) {
	var m memory
	now := time.Now()
	const n = 5000
	var wg sync.WaitGroup
	for w := range 2 {
		wg.Go(func() {
			for i := w; i < n; i += 2 {
				req, token := remembered(i, now.Add(time.Hour))
				m.remember(0, &req, token, now, 0)
			}
		})
		wg.Go(func() {
			for i := range n {
				req, token := remembered(i, now)
				if got := m.lookup(&req, now); got != nil && !got.Access.Equal(token.Access) {
					t.Errorf("request %d got another's token", i)
				}
			}
		})
	}
	wg.Wait()
	for i := range n {
		req, token := remembered(i, now)
		if got := m.lookup(&req, now); got == nil || !got.Access.Equal(token.Access) || got.Origin != OriginCache {
			t.Fatalf("request %d: %+v", i, got)
		}
	}
	m.forget()
	req, token := remembered(0, now.Add(time.Hour))
	if m.lookup(&req, now) != nil {
		t.Error("something is remembered after everything was forgotten")
	}
	if m.remember(0, &req, token, now, 0); m.lookup(&req, now) != nil {
		t.Error("what was found before everything was forgotten is remembered after it")
	}
}

func TestMemoryDropsWhatHasExpired(t *testing.T) {
	var m memory
	now := time.Now()
	for i := range 100_000 {
		req, token := remembered(i, now.Add(-time.Minute))
		m.remember(0, &req, token, now, 0)
	}
	if n := len(m.table.Load().slots); n > 1024 {
		t.Errorf("%d slots for tokens that have all expired", n)
	}
}

func TestMemoryTellsRequestsApart(t *testing.T) {
	var m memory
	now := time.Now()
	base := Request{Tenant: "t", Account: "a", Scopes: []string{"x", "y"}}
	_, token := remembered(1, now.Add(time.Hour))
	m.remember(0, &base, token, now, 0)
	for name, req := range map[string]Request{
		"tenant":       {Tenant: "u", Account: "a", Scopes: []string{"x", "y"}},
		"account":      {Tenant: "t", Account: "b", Scopes: []string{"x", "y"}},
		"scope":        {Tenant: "t", Account: "a", Scopes: []string{"z", "y"}},
		"more":         {Tenant: "t", Account: "a", Scopes: []string{"x", "z"}},
		"fewer":        {Tenant: "t", Account: "a", Scopes: []string{"x"}},
		"none":         {Tenant: "t", Account: "a"},
		"fresh":        {Tenant: "t", Account: "a", Scopes: []string{"x", "y"}, Fresh: true},
		"claims":       {Tenant: "t", Account: "a", Scopes: []string{"x", "y"}, Claims: "{}"},
		"more life":    {Tenant: "t", Account: "a", Scopes: []string{"x", "y"}, MinValid: 2 * time.Hour},
		"swapped":      {Tenant: "a", Account: "t", Scopes: []string{"x", "y"}},
		"run together": {Tenant: "t", Account: "a", Scopes: []string{"xy"}},
	} {
		if m.lookup(&req, now) != nil {
			t.Errorf("a request with another %s was answered", name)
		}
	}
	if m.lookup(&base, now) == nil || m.lookup(&base, now.Add(2*time.Hour)) != nil {
		t.Error("the request itself is not answered while its token lives")
	}
}

func TestAMemoryStoreDoesNotGrowWithItsCallers(t *testing.T) {
	s := MemoryStore().(*memoryStore)
	for _, key := range []string{"token-aa", "account-aa", "token-bb"} {
		if err := s.Put(t.Context(), key, []byte("x")); err != nil {
			t.Fatal(err)
		}
		unlock, err := s.Lock(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		if _, err := s.Lock(ctx, key); err == nil {
			t.Error("two have the lock")
		}
		cancel()
		unlock()
	}
	if len(s.locks) != 0 {
		t.Errorf("%d locks are left that nobody has", len(s.locks))
	}
	old := time.Now().Add(-49 * time.Hour)
	s.records["token-aa"] = memoryRecord{[]byte("x"), old}
	s.records["account-aa"] = memoryRecord{[]byte("x"), old}
	s.swept = old
	if err := s.Put(t.Context(), "token-cc", []byte("x")); err != nil {
		t.Fatal(err)
	}
	for key, stays := range map[string]bool{"token-aa": false, "account-aa": true, "token-bb": true, "token-cc": true} {
		if _, err := s.Get(t.Context(), key); (err == nil) != stays {
			t.Errorf("%s: %v", key, err)
		}
	}
}
