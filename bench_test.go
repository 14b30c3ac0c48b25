package fob_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"golang.org/x/oauth2"

	"github.com/fobauth/fob"
)

// instant is a Flow that invents a token, so that benchmarks measure what
// stands before it.
type instant struct{}

func (instant) Acquire(_ context.Context, c *fob.Client, req fob.Request) (*fob.Token, error) {
	expires := time.Now().Add(24 * time.Hour)
	return &fob.Token{Access: fob.NewSecret("at " + req.Tenant), Type: "Bearer", Scopes: req.Scopes, Expires: expires, RefreshOn: expires}, nil
}

// nothing is a Store that keeps nothing.
type nothing struct{}

func (nothing) Get(context.Context, string) ([]byte, error)  { return nil, fob.ErrNotStored }
func (nothing) Put(context.Context, string, []byte) error    { return nil }
func (nothing) Delete(context.Context, string) error         { return nil }
func (nothing) Lock(context.Context, string) (func(), error) { return func() {}, nil }

// BenchmarkMemoryHit is a token that this process got before, among 1, 10,000
// and 100,000 others. The floor is what any such cache must do: look at the
// clock, take a lock, find a string of the request in a map. ReuseTokenSource
// of golang.org/x/oauth2 stands beside it, which knows a single token.
func BenchmarkMemoryHit(b *testing.B) {
	for _, n := range []int{1, 10_000, 100_000} {
		client := &fob.Client{ID: "id", Flow: instant{}, Store: nothing{}}
		requests := make([]fob.Request, n)
		scopes := []string{"https://graph.microsoft.com/.default"}
		for i := range requests {
			requests[i] = fob.Request{Tenant: fmt.Sprintf("t%d.example", i), Scopes: scopes}
			if _, err := client.Token(b.Context(), requests[i]); err != nil {
				b.Fatal(err)
			}
		}
		var mu sync.RWMutex
		known := map[string]time.Time{}
		for _, r := range requests {
			known[r.Tenant] = time.Now().Add(time.Hour)
		}
		floor := perOperation(b, func(i int) {
			now := time.Now()
			mu.RLock()
			expires := known[requests[i%n].Tenant]
			mu.RUnlock()
			if expires.Before(now) {
				b.Fatal("expired")
			}
		})
		source := oauth2.ReuseTokenSource(&oauth2.Token{AccessToken: "at", Expiry: time.Now().Add(time.Hour)}, nil)
		beside := perOperation(b, func(int) { source.Token() })
		b.Run(fmt.Sprintf("tokens=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				// A stride that visits all tokens and defeats prefetching.
				if _, err := client.Token(b.Context(), requests[i*7919%n]); err != nil {
					b.Fatal(err)
				}
				i++
			}
			each := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
			b.ReportMetric(floor, "floor-ns/op")
			b.ReportMetric(each/floor, "x-floor")
			b.ReportMetric(beside, "oauth2-ns/op")
		})
	}
}

// perOperation times f by itself, in nanoseconds.
func perOperation(b *testing.B, f func(i int)) float64 {
	b.Helper()
	const n = 200_000
	start := time.Now()
	for i := range n {
		f(i * 7919)
	}
	return float64(time.Since(start).Nanoseconds()) / n
}
