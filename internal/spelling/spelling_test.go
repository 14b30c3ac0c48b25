package spelling

import (
	"testing"

	"pgregory.net/rapid"
)

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "token", 5}, {"token", "token", 0}, {"tokn", "token", 1}, {"tokne", "token", 2},
		{"kitten", "sitting", 3}, {"flaw", "lawn", 2},
	} {
		if got := Distance(c.a, c.b); got != c.want {
			t.Errorf("%q and %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestDistanceIsAMetric(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		word := rapid.StringMatching(`[a-c]{0,7}`)
		a, b, c := word.Draw(t, "a"), word.Draw(t, "b"), word.Draw(t, "c")
		if d := Distance(a, b); d != Distance(b, a) || (d == 0) != (a == b) || d > Distance(a, c)+Distance(c, b) {
			t.Errorf("%q, %q, %q: %d", a, b, c, d)
		}
	})
}
