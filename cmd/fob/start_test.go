package main

import (
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// What packages do before main is paid by every command, and most of all by a
// token from the store. Bytes are counted, because they are the same each
// time; the benchmark measures the rest.
func TestStartingCostsNoPackageMuch(t *testing.T) {
	path, err := buildFob()
	if err != nil {
		t.Fatal(err)
	}
	c := exec.Command(path, "version")
	c.Env = append(os.Environ(), "GODEBUG=inittrace=1")
	out, err := c.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	lines := regexp.MustCompile(`(?m)^init (\S+) @.*?, (\d+) bytes, \d+ allocs`).FindAllStringSubmatch(string(out), -1)
	if len(lines) < 20 {
		t.Fatalf("the trace names %d packages: this test checks nothing\n%s", len(lines), out)
	}
	const most = 12 << 10
	known := map[string]int{
		"github.com/itchyny/gojq": 256 << 10, // makes its table of functions for whoever links it; --jq is worth that
	}
	for _, m := range lines {
		bytes, err := strconv.Atoi(m[2])
		if err != nil {
			t.Fatal(err)
		}
		if bytes > max(most, known[m[1]]) && strings.Contains(m[1], ".") {
			t.Errorf("%s allocates %d bytes at start, more than %d; make tables and regular expressions when they are first used (sync.OnceValue), or do without the package", m[1], bytes, most)
		}
	}
}
