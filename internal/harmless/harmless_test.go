package harmless

import (
	"slices"
	"strings"
	"testing"
	"unicode"
)

func TestNothingThatMovesTheCursorOrHidesIsLeft(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if 0xd800 <= r && r <= 0xdfff {
			continue // no characters
		}
		got := Text("a"+string(r)+"b", 100)
		dangerous := unicode.In(r, unicode.Cc, unicode.Zl, unicode.Zp, unicode.Bidi_Control, unicode.Variation_Selector)
		if dangerous && got != "a b" {
			t.Errorf("%U: %q", r, got)
		}
		if unicode.IsLetter(r) && unicode.IsGraphic(r) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r) && got == "a b" {
			t.Errorf("the letter %U is lost", r)
		}
	}
}

func TestATextIsOneLineAndNoLongerThanItsLimit(t *testing.T) {
	for in, want := range map[string]string{
		"":                              "",
		"AADSTS50076":                   "AADSTS50076",
		" two\r\n\t words\u00a0":        "two words",
		"\x1b]0;owned\x07\u202egnp.exe": "]0;owned gnp.exe",
		"\xff\xfe":                      "",
		"José 李":                        "José 李",
		"0123456789abcdefg":             "0123456789abcdef…",
		"0123456789abcde \n fg":         "0123456789abcde…",
		"0123456789abcde" + "éé":        "0123456789abcdeé…",
		strings.Repeat("\u200b", 1<<10): "",
	} {
		if got := Text(in, 16); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestASecretIsKnownInEverySpelling(t *testing.T) {
	got := Spellings(`a/b <c"~ü`)
	for _, want := range []string{`a/b <c"~ü`, "a%2Fb+%3Cc%22~%C3%BC", "a%2fb+%3cc%22~%c3%bc", "a%2Fb%20%3Cc%22~%C3%BC", `a/b <c\"~ü`, `a/b \u003cc\"~ü`, "YS9iIDxjIn7DvA=="} {
		if !slices.Contains(got, want) {
			t.Errorf("%s is not among %q", want, got)
		}
	}
	for _, s := range Spellings("plain\xff") {
		if s == "" {
			t.Error("an empty spelling is everywhere")
		}
	}
}

func TestDepthStopsAboveItsLimit(t *testing.T) {
	for text, want := range map[string]int{
		``: 0, `7`: 0, `{}`: 1, `[{"a":[]},[]]`: 3, `"[[["`: 0, `{"\"[":"\\"}`: 1, `]]{}`: 0,
		strings.Repeat("[", 1<<20): 5,
	} {
		if got := Depth([]byte(text), 4); got != want {
			t.Errorf("%.20s: %d, want %d", text, got, want)
		}
	}
}
