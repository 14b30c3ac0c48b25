package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// BenchmarkStoredToken is `fob token` with a stored token, measured in CPU
// time of the process (user and system). The floor is a program that links
// cobra and net/http and reads one file; both run in turn, so that a noisy
// machine is as noisy for both.
func BenchmarkStoredToken(b *testing.B) {
	f := newFleet(b)
	f.signIn(b, 0)
	floor := filepath.Join(b.TempDir(), "floor")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", floor, "./testdata/floor")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	file := filepath.Join(b.TempDir(), "file")
	if err := os.WriteFile(file, []byte(strings.Repeat("x", 2000)), 0o600); err != nil {
		b.Fatal(err)
	}
	cpu := func(c *exec.Cmd) time.Duration {
		c.Env = f.env
		if out, err := c.Output(); err != nil || len(out) < 1000 {
			b.Fatalf("%s: %v, %d bytes", c.Path, err, len(out))
		}
		return c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	}
	f.emulator.ClearRequests()
	var ours, theirs time.Duration
	for b.Loop() {
		ours += cpu(exec.Command(f.fob, "token"))
		theirs += cpu(exec.Command(floor, file))
	}
	if n := len(f.emulator.Requests()); n != 0 {
		b.Fatalf("%d requests for a stored token", n)
	}
	b.ReportMetric(float64(ours.Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(theirs.Microseconds())/float64(b.N), "floor-cpu-µs/op")
	b.ReportMetric(float64(ours)/float64(theirs), "x-floor")
}
