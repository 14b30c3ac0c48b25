package entratest_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"io"
	"runtime"
	"testing"

	"github.com/fobauth/fob/entratest"
)

// BenchmarkStart measures an emulator from nothing to its first answer over
// HTTPS, and what it keeps of the heap when idle. Goals: 50 ms, 20 MiB.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		e, err := entratest.Start(entratest.Config{})
		if err != nil {
			b.Fatal(err)
		}
		res, err := e.Client().Get(e.URL() + "/" + entratest.TenantID + "/v2.0/.well-known/openid-configuration")
		if err != nil {
			b.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		b.StopTimer()
		e.Close()
		b.StartTimer()
	}
	b.StopTimer()
	e, err := entratest.Start(entratest.Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer e.Close()
	appToken(b, e)
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapAlloc)/(1<<20), "idle-MiB")
	b.ReportMetric(float64(b.Elapsed().Microseconds())/1000/float64(b.N), "ready-ms")
}

// BenchmarkClientCredentials measures app tokens over HTTPS. The floor is the
// signature that every token needs; the ratio says what all the rest costs.
func BenchmarkClientCredentials(b *testing.B) {
	e := entratest.New(b)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256([]byte("header.payload"))
	var floor float64
	b.Run("signing", func(b *testing.B) {
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				if _, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:]); err != nil {
					b.Error(err)
				}
			}
		})
		floor = float64(b.Elapsed().Nanoseconds()) / float64(b.N)
	})
	b.Run("https", func(b *testing.B) {
		to := tokenURL(e)
		form := daemonForm()
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				res, err := e.Client().PostForm(to, form)
				if err != nil {
					b.Error(err)
					return
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode != 200 {
					b.Errorf("status %d", res.StatusCode)
				}
			}
		})
		each := float64(b.Elapsed().Nanoseconds()) / float64(b.N)
		b.ReportMetric(1e9/each, "tokens/s")
		if floor > 0 {
			b.ReportMetric(each/floor, "x-signing")
		}
	})
}
