// Package aadsts explains the error codes of Microsoft Entra ID: what a code
// means, why it usually comes, what helps, and whose job that is.
//
// [Parse] finds the codes in a server's text, [Lookup] explains one, [Search]
// finds codes by words, [Near] by a misspelt number, and [Topic] gives the
// advice for the four kinds of trouble that newcomers meet first.
//
// All facts come from one embedded text file, aadsts.tsv, whose head tells
// their sources. Nothing is parsed before it is asked for, and Lookup reads one
// line only. Microsoft may change numbers and texts at any time: use this
// package to explain an error, never to decide what a program does next. That
// is what the OAuth error and suberror of an answer are for.
package aadsts

import (
	"cmp"
	_ "embed"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// table holds the lines of aadsts.tsv, sorted by code.
//
//go:embed aadsts.tsv
var table string

// Code is what is known about one AADSTS code.
type Code struct {
	// Number is the code itself, the digits after "AADSTS".
	Number int
	// Name is Microsoft's symbolic name of the code.
	Name string
	// OAuthError is the usual "error" value of the answer, a single word. The
	// same code can come with another one, see OAuthNote and Evidence.
	OAuthError string
	// OAuthNote says in words which other values have been seen and where. It
	// is empty when OAuthError is the only one known.
	OAuthNote string
	// Status is the usual HTTP status of the answer.
	Status int
	// Meaning says what the server complains about.
	Meaning string
	// Cause says why that usually happens; several causes are separated by
	// semicolons or commas, the most likely first.
	Cause string
	// Fix says what to do and starts with a verb.
	Fix string
	// Owner is who can do it.
	Owner Owner
	// Evidence says how sure all this is.
	Evidence Evidence
}

// String returns the code as Microsoft writes it: "AADSTS50011".
func (c Code) String() string { return "AADSTS" + strconv.Itoa(c.Number) }

// Owner is who can fix an error.
type Owner string

// The owners of a fix.
const (
	Caller    Owner = "caller"    // whoever writes or runs the program that sends the request
	User      Owner = "user"      // the person who signs in
	App       Owner = "app"       // the owner of the app registration
	Admin     Owner = "admin"     // an administrator of the tenant
	Issuer    Owner = "issuer"    // whoever runs the other identity provider
	Network   Owner = "network"   // whoever runs the network and its proxies
	Microsoft Owner = "microsoft" // Microsoft; callers can only try again
)

// String says who that is, in words that fit after "ask": "an administrator of
// the tenant".
func (o Owner) String() string {
	switch o {
	case Caller:
		return "whoever sends the request"
	case User:
		return "the person who signs in"
	case App:
		return "the owner of the app registration"
	case Admin:
		return "an administrator of the tenant"
	case Issuer:
		return "whoever runs the other identity provider"
	case Network:
		return "whoever runs the network"
	case Microsoft:
		return "Microsoft"
	}
	return string(o)
}

// Evidence says how sure an entry is: its texts, and its OAuth error.
type Evidence struct {
	Meaning    Confidence // of Meaning, Cause and Fix
	OAuthError Confidence // of OAuthError and Status
}

// Confidence says where a fact comes from.
type Confidence string

// The grades of confidence, best first.
const (
	Documented  Confidence = "D" // by Microsoft
	Observed    Confidence = "I" // in a public issue, a client's source or a recorded answer
	Unconfirmed Confidence = "K" // known by those who wrote the table, not yet seen in print
)

// String says it in a word: "documented", "observed" or "unconfirmed".
func (c Confidence) String() string {
	switch c {
	case Documented:
		return "documented"
	case Observed:
		return "observed"
	case Unconfirmed:
		return "unconfirmed"
	}
	return string(c)
}

// Lookup returns the entry of a code, and whether there is one. It reads about
// nine lines of the table and allocates next to nothing.
func Lookup(number int) (Code, bool) {
	rest := rows()
	for rest != "" {
		// A binary search over bytes: move the middle back to the start of
		// its line, compare that line, go on in the half that is left.
		start := strings.LastIndexByte(rest[:len(rest)/2], '\n') + 1
		line, after, _ := strings.Cut(rest[start:], "\n")
		switch at := numberOf(line); {
		case at == number:
			return parseRow(line), true
		case at < number:
			rest = after
		default:
			rest = rest[:start]
		}
	}
	return Code{}, false
}

// All yields every code, sorted by number.
func All() iter.Seq[Code] {
	return func(yield func(Code) bool) {
		for line := range strings.Lines(rows()) {
			if !yield(parseRow(strings.TrimSuffix(line, "\n"))) {
				return
			}
		}
	}
}

// rows returns the table without its head: one line a code.
func rows() string {
	const columns = "\ncode\tname\toauth_error\tmeaning\tcause\tfix\thttp\tevidence\towner\n"
	_, body, _ := strings.Cut(table, columns)
	return body
}

func numberOf(line string) int {
	digits, _, _ := strings.Cut(line, "\t")
	number, _ := strconv.Atoi(digits)
	return number
}

// parseRow takes one line of the table apart. The table is part of the program
// and its form is tested, so a damaged line has no error of its own.
func parseRow(line string) Code {
	field := strings.Split(line, "\t")
	status, _ := strconv.Atoi(field[6])
	usual, note, _ := strings.Cut(field[2], " ")
	if note != "" {
		usual, note = strings.TrimSuffix(usual, ";"), field[2]
	}
	meaning, oauth, _ := strings.Cut(field[7], "/")
	return Code{
		Number:     numberOf(line),
		Name:       field[1],
		OAuthError: usual,
		OAuthNote:  note,
		Status:     status,
		Meaning:    field[3],
		Cause:      field[4],
		Fix:        field[5],
		Owner:      Owner(field[8]),
		Evidence:   Evidence{Confidence(meaning), Confidence(oauth)},
	}
}

// Parse returns the codes named in a text, each once, in the order of their
// last appearance: "AADSTS50011" in any case, or a text that is nothing but a
// number. Old answers nest an inner error in an outer one; then the last code
// is the cause. Parse does not ask whether a code is in the table.
func Parse(description string) []int {
	const longest = 9 // digits; no code comes near it
	if text := strings.TrimSpace(description); len(text) <= longest {
		if number, err := strconv.ParseUint(text, 10, 32); err == nil && number > 0 {
			return []int{int(number)}
		}
	}
	var found []int
	const prefix = "AADSTS"
	for rest := description; len(rest) > len(prefix); {
		if !strings.EqualFold(rest[:len(prefix)], prefix) {
			rest = rest[1:]
			continue
		}
		rest = rest[len(prefix):]
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if number, err := strconv.Atoi(rest[:digits]); err == nil && digits <= longest {
			found = append(found, number)
		}
		rest = rest[digits:]
	}
	// The last appearance counts: walk back and keep what is new. A map,
	// because a hostile server may send a megabyte of codes.
	seen := make(map[int]bool, len(found))
	kept := found[:0:0]
	for _, number := range slices.Backward(found) {
		if !seen[number] {
			seen[number] = true
			kept = append(kept, number)
		}
	}
	slices.Reverse(kept)
	return kept
}

// Search returns the codes whose entry contains every one of the words, best
// match first: a word counts most in the name or the OAuth error, then in the
// meaning, then in cause and fix. Case, hyphens and underscores do not matter.
// No words find nothing.
func Search(words string) []Code {
	wanted := strings.Fields(fold(words))
	if len(wanted) == 0 {
		return nil
	}
	type match struct {
		code  Code
		score int
	}
	var matches []match
	all := entries()
	for i := range all {
		entry := &all[i]
		score := 0
		for _, word := range wanted {
			points := entry.worth(word)
			if points == 0 {
				score = 0
				break
			}
			score += points
		}
		if score > 0 {
			matches = append(matches, match{entry.Code, score})
		}
	}
	slices.SortStableFunc(matches, func(a, b match) int { return cmp.Compare(b.score, a.score) })
	codes := make([]Code, len(matches))
	for i, m := range matches {
		codes[i] = m.code
	}
	return codes
}

// entry is a code with its texts as they are compared with words.
type entry struct {
	Code
	number, name, oauth, meaning, rest string
}

// entries are made once: to fold the texts takes a hundred times as long as to
// look through them.
var entries = sync.OnceValue(func() []entry {
	var all []entry
	for c := range All() {
		all = append(all, entry{c, strconv.Itoa(c.Number), strings.ToLower(c.Name), fold(c.OAuthError), fold(c.Meaning), fold(c.Cause + " " + c.Fix + " " + c.OAuthNote)})
	}
	return all
})

// worth says how much a word tells about a code; 0 means it is not there.
func (e *entry) worth(word string) int {
	switch {
	case word == e.number:
		return 10
	case strings.Contains(e.name, word), strings.Contains(e.oauth, word):
		return 4
	case strings.Contains(e.meaning, word):
		return 2
	case strings.Contains(e.rest, word):
		return 1
	}
	return 0
}

// fold makes texts comparable: lower-case letters and digits, with one space
// for everything else.
func fold(text string) string {
	return strings.Join(strings.FieldsFunc(strings.ToLower(text), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}), " ")
}

// Near returns the codes that are one slip of the finger away from number: a
// wrong, missing or additional digit, or two neighbours swapped. The number
// itself is not among them.
func Near(number int) []Code {
	typed := strconv.Itoa(number)
	var near []Code
	for line := range strings.Lines(rows()) {
		digits, _, _ := strings.Cut(line, "\t")
		if oneSlip(typed, digits) {
			near = append(near, parseRow(strings.TrimSuffix(line, "\n")))
		}
	}
	return near
}

// oneSlip reports whether exactly one edit makes a into b.
func oneSlip(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	switch len(b) - len(a) {
	case 0:
		return i < len(a) && (a[i+1:] == b[i+1:] ||
			i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:])
	case 1:
		return a[i:] == b[i+1:]
	}
	return false
}
