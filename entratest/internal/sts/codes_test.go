package sts

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/fobauth/fob/aadsts"
)

// What the emulator refuses with, fob must be able to explain.
func TestEveryCodeThatIsRefusedWithIsInTheTable(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	refusal := regexp.MustCompile(`\bno\((\d{5,8}),`)
	codes := map[int]bool{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range refusal.FindAllSubmatch(source, -1) {
			code, err := strconv.Atoi(string(m[1]))
			if err != nil {
				t.Fatal(err)
			}
			codes[code] = true
			if entry, ok := aadsts.Lookup(code); !ok || entry.Cause == "" || entry.Fix == "" {
				t.Errorf("%s refuses with AADSTS%d, for which aadsts.tsv has no cause and fix", name, code)
			}
		}
	}
	if len(codes) < 40 {
		t.Errorf("found %d codes: this test does not understand how refusals are written", len(codes))
	}
}
