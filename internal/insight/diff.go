package insight

import (
	"io"
	"strings"
	"time"

	"github.com/fobauth/fob"
)

// Comparison is two tokens, claim by claim.
type Comparison struct {
	Summary string `json:"summary"`
	Notice  string `json:"notice"`
	Same    int    `json:"same"` // how many members are the same in both
	// Differences are the members that differ, header first, in a's order.
	Differences []Difference `json:"differences,omitempty"`
	// Expected says how many of them differ in any two tokens (times, ids).
	Expected int `json:"expected"`
}

// Difference is one member that is not the same in both tokens.
type Difference struct {
	Where string `json:"where"` // "header" or "claim"
	Name  string `json:"name"`
	A     string `json:"a,omitempty"`
	B     string `json:"b,omitempty"`
	// Added and Removed are the items of a list (scopes, roles, groups) that
	// only b, or only a, has.
	Added   []string `json:"added,omitempty"`
	Removed []string `json:"removed,omitempty"`
	Meaning string   `json:"meaning,omitempty"`
	// Always says that this member differs in any two tokens.
	Always bool `json:"always,omitempty"`
}

// Diff compares two tokens. It verifies neither. The error says which text is
// no token.
func Diff(a, b fob.Secret, now time.Time) (*Comparison, error) {
	x, err := parseJWT(trimToken(a.Reveal()))
	if err != nil {
		return nil, wrapped("the first text", err)
	}
	y, err := parseJWT(trimToken(b.Reveal()))
	if err != nil {
		return nil, wrapped("the second text", err)
	}
	c := &Comparison{Notice: NothingVerified}
	c.members("header", x.header, y.header, now)
	c.members("claim", x.payload, y.payload, now)
	for _, d := range c.Differences {
		if d.Always {
			c.Expected++
		}
	}
	switch real := len(c.Differences) - c.Expected; {
	case len(c.Differences) == 0:
		c.Summary = "Both say the same"
	case real == 0:
		c.Summary = "They differ only in what differs in any two tokens"
	default:
		c.Summary = "They differ in " + count(int64(real), "member")
	}
	return c, nil
}

func wrapped(which string, err error) error { return noTokenAs{which, err} }

type noTokenAs struct {
	which string
	err   error
}

func (e noTokenAs) Error() string { return e.which + " is " + e.err.Error() }
func (e noTokenAs) Unwrap() error { return e.err }

func (c *Comparison) members(where string, a, b object, now time.Time) {
	var names []string
	seen := map[string]bool{}
	for _, m := range append(append(object{}, a...), b...) {
		if !seen[m.name] {
			seen[m.name] = true
			names = append(names, m.name)
		}
	}
	for _, name := range names {
		x, y := a.raw(name), b.raw(name)
		if string(x) == string(y) {
			c.Same++
			continue
		}
		d := Difference{Where: where, Name: tidy(name), Meaning: meanings()[where+" "+name]}
		d.Always = x != nil && y != nil && strings.Contains(" iat nbf exp auth_time aio uti jti rh nonce at_hash c_hash xms_st sid ", " "+name+" ")
		switch name {
		case "scp":
			d.Removed, d.Added = without(strings.Fields(a.text(name)), strings.Fields(b.text(name))), without(strings.Fields(b.text(name)), strings.Fields(a.text(name)))
		case "roles", "groups", "wids", "amr", "aud":
			d.Removed, d.Added = without(a.texts(name), b.texts(name)), without(b.texts(name), a.texts(name))
		}
		if d.Removed == nil && d.Added == nil {
			d.A, d.B = valueOf(a, name, now), valueOf(b, name, now)
		}
		if name == "scp" && d.Removed == nil && d.Added == nil {
			c.Same++ // the same scopes in another order
			continue
		}
		c.Differences = append(c.Differences, d)
	}
}

func valueOf(o object, name string, now time.Time) string {
	v := o.raw(name)
	if v == nil {
		return ""
	}
	text := shown(v)
	if n, ok := o.number(name); ok && strings.Contains(" iat nbf exp auth_time ", " "+name+" ") {
		if at := momentAt(n, now); at != nil {
			return at.text()
		}
	}
	if note := noteOn(member{name, v}); note != "" {
		text += " = " + note
	}
	return text
}

// without returns the items of a that b does not have, made harmless.
func without(a, b []string) []string {
	there := map[string]bool{}
	for _, s := range b {
		there[s] = true
	}
	var rest []string
	for _, s := range a {
		if !there[s] {
			rest = append(rest, tidy(s))
		}
	}
	return rest
}

// Render writes the comparison for people.
func (c *Comparison) Render(w io.Writer, style Style) error {
	p := newPage(w, style)
	p.title(c.Summary)
	p.text(0, c.Notice)
	size := 0
	for _, d := range c.Differences {
		size = max(size, min(columns(d.Name), 20))
	}
	for _, always := range []bool{false, true} {
		started := false
		for _, d := range c.Differences {
			if d.Always != always {
				continue
			}
			if !started {
				p.section(map[bool]string{false: "Differences (- first, + second)", true: "Different in any two tokens"}[always])
				started = true
			}
			name := d.Name
			if d.Where == "header" {
				name += " (header)"
			}
			if d.Meaning != "" && !always {
				name += ": " + d.Meaning
			}
			p.hang("  ", ToneLabel, name)
			for _, side := range []struct {
				lead string
				tone Tone
				text string
				list []string
			}{{"    - ", ToneBad, d.A, d.Removed}, {"    + ", ToneGood, d.B, d.Added}} {
				switch {
				case len(side.list) > 0:
					p.hang(side.lead, side.tone, strings.Join(side.list, ", "))
				case d.Added == nil && d.Removed == nil:
					p.hang(side.lead, side.tone, first(side.text, "(not there)"))
				}
			}
		}
	}
	if c.Same > 0 {
		p.blank()
		p.line(p.paint(ToneFaint, "The same in both: "+count(int64(c.Same), "member")))
	}
	return p.err
}
