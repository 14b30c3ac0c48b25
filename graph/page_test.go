package graph

import (
	"bytes"
	stdjson "encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"pgregory.net/rapid"
)

// TestAPageSaysWhatTheStandardDecoderSays draws answers of every shape and
// compares.
func TestAPageSaysWhatTheStandardDecoderSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		value := rapid.OneOf(
			rapid.Just(`null`), rapid.Just(`{}`), rapid.Just(`[ ]`), rapid.Just(`-1.5e3`),
			rapid.Custom(func(t *rapid.T) string { return asJSON(rapid.String().Draw(t, "text")) }),
			rapid.Custom(func(t *rapid.T) string {
				return `{"id":` + asJSON(rapid.String().Draw(t, "id")) + `, "value":[1,{"@odata.nextLink":"no"}]}`
			}))
		space := rapid.SampledFrom([]string{"", " ", "\n\t"})
		values := rapid.SliceOfN(value, 0, 8).Draw(t, "values")
		next := rapid.SampledFrom([]string{"", "https://x.example/a?b=\\", "ü"}).Draw(t, "next")
		parts := []string{`"value":` + space.Draw(t, "space") + `[` + strings.Join(values, ","+space.Draw(t, "space")) + `]`}
		if next != "" {
			parts = append(parts, `"@odata.nextLink" : `+asJSON(next))
		}
		parts = append(parts, `"@odata.count":`+rapid.SampledFrom([]string{"7", "-1", `"x"`, "null"}).Draw(t, "count"), `"other":`+value.Draw(t, "other"))
		body := "{" + strings.Join(rapid.Permutation(parts).Draw(t, "order"), space.Draw(t, "space")+",") + "}"

		p := &page{}
		var from io.Reader = strings.NewReader(body)
		if rapid.Bool().Draw(t, "slowly") {
			from = iotest.OneByteReader(from)
		}
		foreseen := ""
		if err := p.read(from, -1, 1<<20, func(link string) { foreseen = link }); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		var want []string
		for _, v := range values {
			if v != "null" {
				want = append(want, v)
			}
		}
		var got []string
		for i := range p.items {
			got = append(got, string(p.item(i)))
		}
		if !slices.Equal(got, want) || p.next != next || foreseen != "" && foreseen != next {
			t.Fatalf("%s: items %q, next %q, foreseen %q", body, got, p.next, foreseen)
		}
	})
}

// FuzzPage looks for a body that this package and the standard decoder judge
// differently.
func FuzzPage(f *testing.F) {
	for _, seed := range []string{`{"value":[1,"a",null]}`, `{"nextLink":"x","value":[{}]}`, `{"value":[`, `[]`, `{"value":[1]}x`, `{"a":"\ud800"}`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p := &page{body: bytes.Clone(body)}
		p.peek()
		if err := p.parse(); err != nil {
			return
		}
		if !stdjson.Valid(body) {
			t.Fatalf("%q is taken for valid", body)
		}
		for i := range p.items {
			if !stdjson.Valid(p.item(i)) {
				t.Fatalf("item %q of %q is no JSON", p.item(i), body)
			}
		}
	})
}
