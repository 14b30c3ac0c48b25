package aadsts

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func TestTableHasNineColumnsAndIsSorted(t *testing.T) {
	last, lines := 0, 0
	for line := range strings.Lines(rows()) {
		lines++
		if n := strings.Count(line, "\t"); n != 8 {
			t.Fatalf("%d tabs in %q, want 8", n, line)
		}
		if number := numberOf(line); number <= last {
			t.Errorf("%d comes after %d: sort the table by code", number, last)
		} else {
			last = number
		}
	}
	if lines < 290 {
		t.Errorf("the table has %d codes, it had 290: none may be dropped", lines)
	}
}

func TestEveryCodeIsFoundAndNoOther(t *testing.T) {
	known := map[int]bool{}
	for code := range All() {
		known[code.Number] = true
		got, ok := Lookup(code.Number)
		if !ok || got != code {
			t.Errorf("Lookup(%d) = %+v, %v; All says %+v", code.Number, got, ok, code)
		}
	}
	for number := range known {
		for _, other := range []int{number - 1, number + 1, -number, 0, 1 << 40} {
			if _, ok := Lookup(other); ok != known[other] {
				t.Errorf("Lookup(%d) found: %v", other, ok)
			}
		}
	}
}

func TestEveryCodeNamesACauseAndAnAction(t *testing.T) {
	verbs := strings.Fields(`Add Align Approve Ask Assign Build Cache Change Check Compare Complete Configure Confirm Consent
		Continue Copy Correct Create Decode Disable Drop Enable Enrol Enter Fall Find Fix Get Grant Have Honour Install Invite
		Issue Keep Look Make Open POST Present Publish Put Read Redeem Register Remediate Remove Repeat Request Reset Retry
		Send Set Share Shorten Sign Simplify Start Stop Submit Upload Use Verify Wait Write`)
	for code := range All() {
		if len(code.Cause) < 15 || strings.EqualFold(code.Cause, code.Meaning) {
			t.Errorf("%v: cause %q explains nothing", code, code.Cause)
		}
		first := strings.TrimRight(strings.Fields(code.Fix + " -")[0], ",;")
		if !slices.Contains(verbs, first) {
			t.Errorf("%v: fix %q does not start with a verb that this test knows", code, code.Fix)
		}
		if code.Meaning == "" {
			t.Errorf("%v has no meaning", code)
		}
	}
}

func TestEveryCodeHasAUsualOAuthErrorAndStatus(t *testing.T) {
	word := regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)
	for code := range All() {
		if !word.MatchString(code.OAuthError) {
			t.Errorf("%v: OAuthError %q is not one word", code, code.OAuthError)
		}
		if !strings.HasPrefix(code.OAuthNote, code.OAuthError) && code.OAuthNote != "" {
			t.Errorf("%v: the note %q does not begin with the usual %q", code, code.OAuthNote, code.OAuthError)
		}
		if code.Status < 300 || code.Status > 599 {
			t.Errorf("%v: HTTP status %d", code, code.Status)
		}
	}
}

func TestEveryCodeHasAKnownOwnerAndConfidence(t *testing.T) {
	for code := range All() {
		if code.Owner.String() == string(code.Owner) {
			t.Errorf("%v: unknown owner %q", code, code.Owner)
		}
		for _, c := range []Confidence{code.Evidence.Meaning, code.Evidence.OAuthError} {
			if c.String() == string(c) {
				t.Errorf("%v: unknown confidence %q", code, c)
			}
		}
	}
}

func TestSeveralOAuthErrorsLeaveTheUsualOneAndANote(t *testing.T) {
	for number, want := range map[int]string{50011: "invalid_request", 50053: "invalid_grant", 50076: "invalid_grant", 65001: "invalid_grant"} {
		code, _ := Lookup(number)
		if code.OAuthError != want || code.OAuthNote == "" {
			t.Errorf("%v: usual error %q with note %q, want %q and a note", code, code.OAuthError, code.OAuthNote, want)
		}
	}
	if code, _ := Lookup(7000215); code.OAuthError != "invalid_client" || code.OAuthNote != "" || code.Status != 401 {
		t.Errorf("%v: %q (%q), HTTP %d", code, code.OAuthError, code.OAuthNote, code.Status)
	}
}

func TestParseFindsCodesTheCauseLast(t *testing.T) {
	for text, want := range map[string][]int{
		"": nil,
		"AADSTS7000215: Invalid client secret provided. Trace ID: 50011": {7000215},
		"AADSTS70002: Error validating credentials. AADSTS50012: Bad.":   {70002, 50012},
		"AADSTS50012: outer AADSTS70002: middle AADSTS50012: inner":      {70002, 50012},
		"aadsts50011":                {50011},
		" 50011\n":                   {50011},
		"50011 and more":             nil,
		"AADSTS":                     nil,
		"AADSTSx AADSTS":             nil,
		"AADSTS12345678901234567890": nil,
		"AADSAADSTS16000":            {16000},
		"-5":                         nil,
		"0":                          nil,
	} {
		if got := Parse(text); !slices.Equal(got, want) {
			t.Errorf("Parse(%q) = %v, want %v", text, got, want)
		}
	}
}

func TestParseOfAHostileTextKeepsEveryCodeOnce(t *testing.T) {
	text := strings.Repeat("AADSTS50011 AADSTS50012 ", 1<<16)
	if got := Parse(text); !slices.Equal(got, []int{50011, 50012}) {
		t.Errorf("got %d codes, want two", len(got))
	}
}

func TestSearchPutsTheBestMatchFirst(t *testing.T) {
	for words, want := range map[string]int{
		"InvalidClientSecret":   7000215,
		"empty scope":           28003,
		"authorization-pending": 70016,
		"7000215":               7000215,
	} {
		found := Search(words)
		if len(found) == 0 || found[0].Number != want {
			t.Errorf("Search(%q) = %v, want %d first", words, found, want)
		}
	}
}

func TestSearchWantsEveryWord(t *testing.T) {
	for _, words := range []string{"secret zeppelin", "zeppelin", "", " _- "} {
		if found := Search(words); len(found) > 0 {
			t.Errorf("Search(%q) found %v", words, found)
		}
	}
}

func TestNearFindsOneSlipOfTheFinger(t *testing.T) {
	for typed, want := range map[int]int{
		50012:   50011,   // a wrong digit
		700215:  7000215, // a missing digit
		500011:  50011,   // an additional digit
		7000251: 7000215, // two digits swapped
	} {
		if !slices.ContainsFunc(Near(typed), func(c Code) bool { return c.Number == want }) {
			t.Errorf("Near(%d) = %v, want %d among them", typed, Near(typed), want)
		}
	}
	for _, code := range Near(50011) {
		if code.Number == 50011 || code.Number == 50020 {
			t.Errorf("Near(50011) names %v", code)
		}
	}
	if found := Near(31415926); len(found) > 0 {
		t.Errorf("Near(31415926) = %v", found)
	}
}

func TestTopicKnowsTheUsualWords(t *testing.T) {
	for word, want := range map[string]string{
		"invalid_scope": "Invalid scope", "Invalid Scope": "Invalid scope", "InvalidScope": "Invalid scope",
		"invalid-client": "Invalid client", "invalid_client": "Invalid client",
		"expired token": "Expired token", "expired_token": "Expired token",
		"redirect": "Redirect URI mismatch", "redirect_uri": "Redirect URI mismatch", "redirect-uri-mismatch": "Redirect URI mismatch",
	} {
		if got, ok := Topic(word); !ok || got.Title != want {
			t.Errorf("Topic(%q) = %q, %v; want %q", word, got.Title, ok, want)
		}
	}
	for _, word := range []string{"", " ", "weather", "invalid"} {
		if got, ok := Topic(word); ok {
			t.Errorf("Topic(%q) = %q, want nothing", word, got.Title)
		}
	}
}

func TestGuidesNameOnlyCodesOfTheTable(t *testing.T) {
	for _, guide := range Guides() {
		if guide.Cause == "" || guide.Fix == "" || len(guide.Codes) == 0 {
			t.Errorf("%s is incomplete", guide.Title)
		}
		for _, number := range guide.Codes {
			if _, ok := Lookup(number); !ok {
				t.Errorf("%s names %d, which is not in the table", guide.Title, number)
			}
		}
		if _, ok := Topic(guide.Title); !ok {
			t.Errorf("%s is not found by its own title", guide.Title)
		}
	}
}

func TestLookupReadsOneLine(t *testing.T) {
	// One allocation is the slice of fields. Parsing the whole table would
	// take hundreds, and the command line would pay for it at every start.
	if n := testing.AllocsPerRun(100, func() { Lookup(7000215) }); n > 1 {
		t.Errorf("Lookup allocates %v times, want at most once", n)
	}
}

func BenchmarkLookup(b *testing.B) {
	for b.Loop() {
		Lookup(7000215)
	}
}

func ExampleLookup() {
	code, _ := Lookup(7000215)
	fmt.Printf("%v: %s.\ncause: %s\nfix: %s\nask: %v\n", code, code.Meaning, code.Cause, code.Fix, code.Owner)
	// Output:
	// AADSTS7000215: The client secret is wrong.
	// cause: Secret ID copied instead of the value; secret of another app; fresh secret not replicated yet; a script that did not URL-encode it
	// fix: Copy the secret's value, not its id; wait a minute if it is new; else create a new one
	// ask: whoever sends the request
}

func ExampleParse() {
	text := "AADSTS70002: Error validating credentials. AADSTS50012: Invalid client secret is provided."
	codes := Parse(text)
	cause, _ := Lookup(codes[len(codes)-1])
	fmt.Println(codes, cause.Name)
	// Output: [70002 50012] AuthenticationFailed
}

func BenchmarkSearch(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if len(Search("redirect uri mismatch")) == 0 {
			b.Fatal("nothing was found")
		}
	}
}
