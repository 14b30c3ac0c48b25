package insight

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/fobauth/fob"
)

// FederatedCredential is one federated identity credential of an app
// registration, as Microsoft Graph lists it.
type FederatedCredential struct {
	Name      string   `json:"name"`
	Issuer    string   `json:"issuer"`
	Subject   string   `json:"subject"`
	Audiences []string `json:"audiences"`
}

// Federation holds an assertion against the credentials of an app.
type Federation struct {
	Summary string `json:"summary"`
	// Presented is what the assertion says.
	Presented FederatedCredential `json:"presented"`
	// Matched is the name of the credential that accepts it; empty if none does.
	Matched string `json:"matched,omitempty"`
	// Credentials are the registered ones, the closest first.
	Credentials []CredentialMatch `json:"credentials"`
	Findings    []Finding         `json:"findings,omitempty"`
}

// CredentialMatch is one registered credential, held against the assertion.
type CredentialMatch struct {
	Name    string         `json:"name"`
	Matches bool           `json:"matches"`
	Parts   []PartMismatch `json:"parts,omitempty"` // those that differ
}

// PartMismatch is an issuer, subject or audience that is not the registered one.
type PartMismatch struct {
	Part       string `json:"part"` // "issuer", "subject" or "audience"
	Registered string `json:"registered"`
	Presented  string `json:"presented"`
	// Code is the AADSTS code that Entra answers with.
	Code int `json:"code"`
	// Why names the difference: capital letters, a slash, environment against ref.
	Why string `json:"why"`
	// Marks has "^" under every character of Presented that differs.
	Marks string `json:"marks"`
}

// CompareFederation holds the token of another issuer against the federated
// credentials of an app as Entra does, letter by letter. It verifies no
// signature. The error is [ErrNoToken] when the assertion is none.
func CompareFederation(assertion fob.Secret, registered []FederatedCredential, now time.Time) (*Federation, error) {
	t, err := parseJWT(trimToken(assertion.Reveal()))
	if err != nil {
		return nil, err
	}
	c := t.payload
	f := &Federation{Presented: FederatedCredential{Issuer: tidy(c.text("iss")), Subject: tidy(c.text("sub"))}}
	for _, a := range c.texts("aud") {
		f.Presented.Audiences = append(f.Presented.Audiences, tidy(a))
	}
	say := func(s Severity, what, why, do, try string) {
		f.Findings = append(f.Findings, Finding{s, what, why, do, try})
	}
	for _, r := range registered {
		m := CredentialMatch{Name: tidy(r.Name)}
		m.part("issuer", r.Issuer, c.text("iss"), 700211)
		m.part("subject", r.Subject, c.text("sub"), 700213)
		want := first(append(slices.Clone(r.Audiences), fob.Public.FederationAudience)...)
		if audiences := c.texts("aud"); !slices.Contains(audiences, want) {
			m.part("audience", want, strings.Join(audiences, " "), 700212)
		}
		if m.Matches = len(m.Parts) == 0; m.Matches {
			f.Matched = m.Name
		}
		f.Credentials = append(f.Credentials, m)
	}
	slices.SortStableFunc(f.Credentials, func(a, b CredentialMatch) int { return a.badness() - b.badness() })
	if alg := t.header.text("alg"); alg != "RS256" {
		say(Problem, "the assertion is signed with "+first(tidy(alg), "nothing"), "Entra takes RS256 from other issuers", "have the issuer sign with RS256", "")
	}
	if exp, ok := c.number("exp"); ok && exp <= now.Unix() {
		at := momentAt(exp, now)
		say(Problem, "the assertion expired "+relative(time.Unix(exp, 0).Sub(now)), "Entra refuses it (AADSTS700024)"+map[bool]string{true: "; it was good until " + at.text()}[at != nil], "take a fresh one for every sign-in: CI systems give theirs for minutes only", "")
	}
	if strings.HasPrefix(c.text("iss"), "http://") {
		say(Problem, "the issuer is no https address", "Entra fetches its keys over public TLS (AADSTS50166)", "use an issuer that Entra can reach", "")
	}
	switch {
	case len(registered) == 0:
		f.Summary = "The app has no federated credentials"
		say(Problem, "no federated credential is registered", "Entra trusts nobody's tokens for this app (AADSTS70021)", "register issuer, subject and audience as presented above", "")
	case f.Matched != "":
		f.Summary = "The credential " + f.Matched + " accepts this assertion"
		say(Note, "a new credential works only after some minutes", "until then Entra answers AADSTS70021", "wait up to five minutes, then try again", "fob token --federated-token-file FILE --force-refresh")
	default:
		f.Summary = "No registered credential accepts this assertion"
		say(Problem, "Entra compares issuer, subject and audience letter by letter", "", "change the registration to what is presented, or the workflow to what is registered", "fob token --federated-token-file FILE --force-refresh")
	}
	return f, nil
}

func (m *CredentialMatch) part(name, registered, presented string, code int) {
	if registered == presented {
		return
	}
	if code == 700213 && strings.EqualFold(registered, presented) {
		code = 7002138
	}
	m.Parts = append(m.Parts, PartMismatch{
		Part: name, Registered: tidy(registered), Presented: tidy(presented), Code: code,
		Why: whyDifferent(name, registered, presented), Marks: marks(tidy(registered), tidy(presented)),
	})
}

func (m *CredentialMatch) badness() int {
	sum := 0
	for _, p := range m.Parts {
		sum += 1000 + strings.Count(p.Marks, "^")
	}
	return sum
}

func whyDifferent(part, registered, presented string) string {
	r, p := subjectFields(registered), subjectFields(presented)
	switch {
	case presented == "":
		return "the assertion has none"
	case strings.EqualFold(registered, presented):
		return "only capital letters differ"
	case strings.TrimRight(registered, "/") == strings.TrimRight(presented, "/"):
		return "only the slash at the end differs"
	case strings.TrimSpace(registered) == strings.TrimSpace(presented):
		return "white space around it differs"
	case part == "audience":
		return "ask the issuer for the audience " + tidy(registered)
	case part != "subject" || r == nil || p == nil:
		return "another " + part
	case r["repo"] != p["repo"]:
		if strings.EqualFold(r["repo"], p["repo"]) {
			return "the repository differs in capital letters"
		}
		return "another repository"
	case r["environment"] != "" && p["environment"] == "":
		return "registered for an environment, but the job names none: add \"environment: " + tidy(r["environment"]) + "\" to the job, or register the ref"
	case r["environment"] == "" && p["environment"] != "":
		return "the job runs in an environment, and then GitHub leaves the ref out: register \"environment:" + tidy(p["environment"]) + "\", or take the environment out of the job"
	case r["environment"] != p["environment"]:
		return "another environment"
	case strings.Contains(presented, ":pull_request"):
		return "the job runs for a pull request, which has a subject of its own"
	case strings.Contains(presented, "refs/tags/") != strings.Contains(registered, "refs/tags/"):
		return "a tag against a branch"
	case r["ref"] != p["ref"]:
		return "another branch or tag"
	}
	return "another subject"
}

// subjectFields takes GitHub's subjects apart: repo:OWNER/NAME:ref:REF. Others
// are nil.
func subjectFields(subject string) map[string]string {
	if !strings.HasPrefix(subject, "repo:") {
		return nil
	}
	fields := map[string]string{}
	parts := strings.Split(subject, ":")
	for i := 0; i+1 < len(parts); i += 2 {
		fields[parts[i]] = parts[i+1]
	}
	return fields
}

// marks puts "^" under the characters of b that are not those of a.
func marks(a, b string) string {
	x, y := []rune(a), []rune(b)
	line := []byte(strings.Repeat(" ", len(y)+1))
	if len(x) == len(y) {
		for i := range y {
			if x[i] != y[i] {
				line[i] = '^'
			}
		}
		return strings.TrimRight(string(line), " ")
	}
	from := 0
	for from < len(x) && from < len(y) && x[from] == y[from] {
		from++
	}
	to, end := len(y), len(x)
	for to > from && end > from && y[to-1] == x[end-1] {
		to, end = to-1, end-1
	}
	if to == from {
		to++ // something is missing here
	}
	for i := from; i < to; i++ {
		line[i] = '^'
	}
	return strings.TrimRight(string(line), " ")
}

// Render writes the comparison for people.
func (f *Federation) Render(w io.Writer, style Style) error {
	p := newPage(w, style)
	p.title(f.Summary)
	p.blank()
	p.line(p.paint(ToneLabel, "  presented by the assertion"))
	p.field("  issuer", 10, f.Presented.Issuer)
	p.field("  subject", 10, f.Presented.Subject)
	p.field("  audience", 10, strings.Join(f.Presented.Audiences, ", "))
	for _, c := range f.Credentials {
		p.blank()
		if c.Matches {
			p.hang("  ok    ", ToneGood, "credential "+c.Name)
			continue
		}
		p.hang("  FAIL  ", ToneBad, "credential "+c.Name)
		for _, part := range c.Parts {
			p.hang("    "+part.Part+": ", ToneLabel, fmt.Sprintf("%s (AADSTS%d)", part.Why, part.Code))
			for from := 0; ; {
				// Both values in pieces that fit, the marks below each piece.
				size := p.width - 18
				r, got, mark := piece(part.Registered, from, size), piece(part.Presented, from, size), piece(part.Marks, from, size)
				if r == "" && got == "" {
					break
				}
				p.line("      registered  " + r)
				p.line("      presented   " + got)
				if strings.TrimSpace(mark) != "" {
					p.line("                  " + p.paint(ToneBad, mark))
				}
				from += size
			}
		}
	}
	if len(f.Findings) > 0 {
		p.section("What to do")
		p.findings(f.Findings)
	}
	return p.err
}

func piece(s string, from, size int) string {
	runes := []rune(s)
	if from >= len(runes) {
		return ""
	}
	return string(runes[from:min(from+size, len(runes))])
}
