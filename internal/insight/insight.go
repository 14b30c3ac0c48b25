// Package insight looks into tokens, errors, certificates and set-ups and says
// what it found and what to do about it.
//
// [DecodeToken] reads a token, [Verify] checks one, [Diff] compares two and
// [Against] compares one with what an API wants. [Explain] understands an error
// in any of its forms. [ReadCertificate] and [NewCertificate] look after
// certificates, [CompareFederation] after federated credentials, and the Check
// functions are what "fob doctor" runs. [Setup.Warnings]
// finds mistakes before they cost a request.
//
// Every function is a function of its arguments, the clock among them; only
// [Verify] and the network checks talk to anybody. Each returns a report: a
// struct for JSON, with a Render method that writes it for people. Reports hold
// no secret. Whatever in them came from a token, a server or a file is written
// without control characters.
package insight

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fobauth/fob/internal/harmless"
)

// Report is what every function of this package returns: marshal it for
// machines, render it for people.
type Report interface {
	// Render writes the report as plain text. The error is w's.
	Render(w io.Writer, style Style) error
}

// Style says how a report is written. Its zero value is plain text of 80
// columns.
type Style struct {
	// Width is the number of columns; 0 means 80, and less than 40 counts as 40.
	Width int
	// Paint adds colour to a piece of text that has already been made harmless
	// and laid out. Nil means no colour.
	Paint func(Tone, string) string
}

// Tone is what a piece of text means, for those who colour it.
type Tone int

// The tones.
const (
	ToneTitle Tone = iota // the first line of a report, and section names
	ToneLabel             // what a value is
	ToneGood              // a check that passed
	ToneWarn              // worth a look
	ToneBad               // a check that failed
	ToneFaint             // side remarks
	ToneTry               // a command to copy
)

// Severity says how bad a finding is.
type Severity string

// The severities, best first.
const (
	OK      Severity = "ok"      // looked at and good
	Note    Severity = "note"    // worth knowing, nothing to do
	Warning Severity = "warning" // works today, will hurt
	Problem Severity = "problem" // does not work
)

// Finding is one thing that a look found: what it is, why it matters and what
// to do.
type Finding struct {
	Severity Severity `json:"severity"`
	What     string   `json:"what"`
	Why      string   `json:"why,omitempty"`
	Do       string   `json:"do,omitempty"`
	// Try is a command that does it, or proves that it is done.
	Try string `json:"try,omitempty"`
}

// Result is the outcome of one check.
type Result string

// The results of a check.
const (
	Pass    Result = "pass"
	Fail    Result = "fail"
	Skipped Result = "skipped"
)

// Check is one comparison of what was expected with what was found.
type Check struct {
	Name     string `json:"name"`
	Result   Result `json:"result"`
	Expected string `json:"expected,omitempty"`
	Found    string `json:"found,omitempty"`
	// Help says why the check matters and what to do, when it did not pass.
	Help string `json:"help,omitempty"`
}

// Moment is a time as machines and people want it.
type Moment struct {
	Unix     int64  `json:"unix"`
	Local    string `json:"local"`
	Relative string `json:"relative"`
}

// momentAt says when unix is, in now's time zone and seen from now. It returns
// nil for times that no calendar has.
func momentAt(unix int64, now time.Time) *Moment {
	const year10000 = 253402300800
	if unix <= 0 || unix >= year10000 {
		return nil
	}
	at := time.Unix(unix, 0).In(now.Location())
	return &Moment{unix, at.Format("2006-01-02 15:04:05 -07:00"), relative(at.Sub(now))}
}

// relative says how far away a time is: "in 59 minutes", "2 days ago".
func relative(d time.Duration) string {
	past := d < 0
	d = d.Abs()
	var text string
	switch {
	case d < time.Second:
		return "now"
	case d < 2*time.Minute:
		text = count(int64(d/time.Second), "second")
	case d < 2*time.Hour:
		text = count(int64(d/time.Minute), "minute")
	case d < 48*time.Hour:
		text = count(int64(d/time.Hour), "hour")
	default:
		text = count(int64(d/(24*time.Hour)), "day")
	}
	if past {
		return text + " ago"
	}
	return "in " + text
}

func count(n int64, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

// clean makes a foreign text harmless; at most limit bytes of it stay.
func clean(s string, limit int) string { return harmless.Text(s, limit) }

// maxText is how much of a foreign text a report keeps.
const maxText = 1000

func tidy(s string) string { return clean(s, maxText) }

// page lays a report out. It remembers the first error of its writer.
type page struct {
	w     io.Writer
	style Style
	width int
	err   error
}

func newPage(w io.Writer, style Style) *page {
	width := style.Width
	switch {
	case width == 0:
		width = 80
	case width < 40:
		width = 40
	}
	return &page{w: w, style: style, width: width}
}

func (p *page) paint(tone Tone, text string) string {
	if p.style.Paint == nil || text == "" {
		return text
	}
	return p.style.Paint(tone, text)
}

func (p *page) line(text string) {
	if p.err == nil {
		_, p.err = io.WriteString(p.w, strings.TrimRight(text, " ")+"\n")
	}
}

func (p *page) blank() { p.line("") }

func (p *page) title(text string) {
	for _, l := range wrap(text, p.width) {
		p.line(p.paint(ToneTitle, l))
	}
}

func (p *page) section(text string) {
	p.blank()
	p.title(text)
}

// text writes a paragraph with indent spaces before each line.
func (p *page) text(indent int, text string) { p.hang(strings.Repeat(" ", indent), ToneFaint, text) }

// hang writes a paragraph behind a lead, the following lines indented by the
// lead's width.
func (p *page) hang(lead string, tone Tone, text string) {
	indent := columns(lead)
	for i, l := range wrap(text, p.width-indent) {
		if i == 0 {
			p.line(p.paint(tone, lead) + l)
		} else {
			p.line(strings.Repeat(" ", indent) + l)
		}
	}
}

// field writes a labelled value; labels take size columns.
func (p *page) field(label string, size int, text string) {
	if text != "" {
		p.hang("  "+pad(label, size)+"  ", ToneLabel, text)
	}
}

// try writes a command by itself on one line, however long: so it can be
// copied.
func (p *page) try(indent int, command string) {
	if command != "" {
		p.line(strings.Repeat(" ", indent) + p.paint(ToneTry, command))
	}
}

func (p *page) findings(all []Finding) {
	for _, f := range all {
		lead, tone := f.Severity.lead()
		p.hang(lead, tone, f.What)
		indent := columns(lead)
		if f.Why != "" {
			p.text(indent, f.Why)
		}
		if f.Do != "" {
			p.hang(strings.Repeat(" ", indent)+"do: ", ToneLabel, f.Do)
		}
		if f.Try != "" {
			p.line(strings.Repeat(" ", indent) + p.paint(ToneLabel, "try: ") + p.paint(ToneTry, f.Try))
		}
	}
}

func (s Severity) lead() (string, Tone) {
	switch s {
	case OK:
		return "  ok       ", ToneGood
	case Note:
		return "  note     ", ToneFaint
	case Warning:
		return "  warning  ", ToneWarn
	}
	return "  problem  ", ToneBad
}

func (p *page) checks(all []Check) {
	size := 0
	for _, c := range all {
		size = max(size, len(c.Name))
	}
	for _, c := range all {
		tone := map[Result]Tone{Pass: ToneGood, Fail: ToneBad, Skipped: ToneFaint}[c.Result]
		word := map[Result]string{Pass: "ok", Fail: "FAIL", Skipped: "skip"}[c.Result]
		lead := "  " + pad(word, 4) + "  " + pad(c.Name, size) + "  "
		indent := strings.Repeat(" ", columns(lead))
		switch {
		case c.Result == Fail && (c.Expected != "" || c.Found != ""):
			p.hang(lead, tone, "found "+orNothing(c.Found))
			if c.Expected != "" {
				p.hang(indent, tone, "expected "+c.Expected)
			}
		case c.Found != "":
			p.hang(lead, tone, c.Found)
		case c.Expected != "":
			p.hang(lead, tone, c.Expected)
		case c.Help != "":
			p.hang(lead, tone, c.Help)
			continue
		default:
			p.line(p.paint(tone, lead))
		}
		if c.Help != "" && c.Result != Pass {
			p.hang(indent, tone, c.Help)
		}
	}
}

func orNothing(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

func pad(s string, size int) string {
	if n := size - columns(s); n > 0 {
		return s + strings.Repeat(" ", n)
	}
	return s
}

// columns is how many columns a harmless text takes: two for the wide letters
// of East Asia and for pictographs, none for combining marks.
func columns(s string) int {
	n := 0
	for _, r := range s {
		switch {
		case 0x300 <= r && r <= 0x36f, 0x20d0 <= r && r <= 0x20ff:
		case 0x1100 <= r && r <= 0x115e, 0x2e80 <= r && r <= 0xa4cf, 0xac00 <= r && r <= 0xd7a3, 0xf900 <= r && r <= 0xfaff,
			0xfe30 <= r && r <= 0xfe6f, 0xff00 <= r && r <= 0xff60, 0xffe0 <= r && r <= 0xffe6, 0x1f300 <= r && r <= 0x1faff,
			0x20000 <= r && r <= 0x3fffd:
			n += 2
		default:
			n++
		}
	}
	return n
}

// wrap breaks text into lines of at most width columns, between words where it
// can. Every text of a report passes here, so here it is made harmless again,
// whoever forgot to.
func wrap(text string, width int) []string {
	width = max(width, 10)
	var lines []string
	line, used := "", 0
	for word := range strings.FieldsSeq(clean(text, 64<<10)) {
		size := columns(word)
		switch {
		case used == 0:
		case used+1+size <= width:
			line += " " + word
			used += 1 + size
			continue
		default:
			lines = append(lines, line)
			line, used = "", 0
		}
		for size > width {
			cut, taken := 0, 0
			for i, r := range word {
				if w := columns(string(r)); taken+w <= width {
					taken, cut = taken+w, i+utf8.RuneLen(r)
					continue
				}
				break
			}
			// Addresses are easier to read when they break behind a slash.
			if slash := strings.LastIndexByte(word[:cut], '/') + 1; slash > cut/2 {
				cut = slash
			}
			lines = append(lines, word[:cut])
			word = word[cut:]
			size = columns(word)
		}
		line, used = word, size
	}
	return append(lines, line)
}
