package insight

import (
	"crypto/x509"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/fobauth/fob"
)

// Setup is what somebody is about to sign in with. Every field is optional.
type Setup struct {
	Tenant   string
	ClientID string
	// Secret is the client secret. No finding shows any of it.
	Secret fob.Secret
	Scopes []string
	// CredentialEnds is when the credential expires, where that is known.
	CredentialEnds time.Time
	// Certificate is the certificate that signs in.
	Certificate *x509.Certificate
	// Redirect is the redirect URI of a browser sign-in.
	Redirect string
	// Delegated says that a person signs in, not the app itself.
	Delegated bool
}

// Warnings returns what is wrong, or soon will be, with a set-up: nothing that
// needs a request to be found. None means none.
func (s Setup) Warnings(now time.Time) []Finding {
	var all []Finding
	say := func(severity Severity, what, why, do, try string) {
		all = append(all, Finding{severity, what, why, do, try})
	}
	for _, v := range []struct{ name, text string }{
		{"tenant", s.Tenant}, {"client id", s.ClientID}, {"redirect URI", s.Redirect}, {"scope", strings.Join(s.Scopes, " ")},
	} {
		if quote := pasted(v.text); quote != "" {
			say(Problem, fmt.Sprintf("the %s has %s in it: %s", v.name, quote, clean(v.text, 80)), "web pages and word processors change quotes and dashes when text is copied", "type it by hand", "")
		}
		if placeholder(v.text) {
			say(Problem, fmt.Sprintf("the %s is still a placeholder: %s", v.name, clean(v.text, 80)), "somebody's example, or a variable that was not set", "put your own value there; the app's overview page shows it", "")
		}
	}
	s.ids(say)
	s.secret(say)
	s.scopes(say)
	if end := s.CredentialEnds; !end.IsZero() {
		expiring(say, "the credential", end.Sub(now))
	}
	if s.Certificate != nil {
		expiring(say, "the certificate", s.Certificate.NotAfter.Sub(now))
	}
	return all
}

type sayer func(severity Severity, what, why, do, try string)

func expiring(say sayer, what string, left time.Duration) {
	switch {
	case left <= 0:
		say(Problem, what+" expired "+relative(left), "Entra refuses it", "make a new one", "fob cert new")
	case left < 30*24*time.Hour:
		say(Warning, what+" expires "+relative(left), "sign-in stops that day", "make a new one now; both work side by side", "fob cert new")
	}
}

func (s Setup) ids(say sayer) {
	id := strings.ToLower(s.ClientID)
	switch {
	case id == "" || placeholder(id) || pasted(id) != "":
	case !isGUID(id):
		say(Problem, "the client id is no GUID: "+clean(s.ClientID, 80), "Entra knows apps by their Application (client) ID", "copy it from the app's overview page", "")
	case strings.EqualFold(s.ClientID, s.Tenant):
		say(Problem, "client id and tenant are the same", "one was copied in place of the other", "compare both with the app's overview page: Application (client) ID, Directory (tenant) ID", "")
	case knownClients()[id] != "":
		say(Warning, "the client id is "+knownClients()[id]+", one of Microsoft's own clients",
			"Microsoft decides what it may ask for (AADSTS65002) and may block it for scripts at any time; sign-in logs show its name, not yours",
			"register an app of your own with 'Allow public client flows'; that takes two minutes", "")
	case apiOf(id).Name != "":
		say(Problem, "the client id is that of an API: "+apiOf(id).Name, "the client id names your own app; the API goes into the scope", "copy Application (client) ID from your app's overview page", "")
	}
}

// ObjectIDHint says what to look at when the server does not know a client id
// (AADSTS700016): each app has two ids that look alike.
func ObjectIDHint(clientID string) Finding {
	return Finding{Note, "an app registration has an object id beside its client id, and both are GUIDs",
		"the server knows apps by the client id only", "compare " + clean(clientID, 60) + " with Application (client) ID on the app's overview page", ""}
}

func (s Setup) secret(say sayer) {
	text := s.Secret.Reveal()
	switch {
	case text == "":
	case isGUID(strings.TrimSpace(text)):
		say(Problem, "the client secret looks like the secret's id (a GUID)", "the portal shows the id for ever and the value once; Entra refuses the id (AADSTS7000215)",
			"make a new secret and copy the column Value at once, or use a certificate", "fob cert new")
	case strings.TrimSpace(text) != text:
		say(Warning, "the client secret begins or ends with white space", "it was probably copied along; Entra compares every character", "write the file without it", "")
	case len(text) > 2 && text[0] == text[len(text)-1] && (text[0] == '"' || text[0] == '\''):
		say(Warning, "the client secret has quotes around it", "a shell takes them away, a file and docker's --env-file do not; Entra compares every character", "write it without them", "")
	case pasted(text) != "":
		say(Problem, "the client secret has "+pasted(text)+" in it", "web pages and word processors change quotes and dashes when text is copied", "copy the value again", "")
	case placeholder(text):
		say(Problem, "the client secret is still a placeholder", "somebody's example, or a variable that was not set", "put the secret's value there", "")
	case len(text) < 16:
		say(Warning, "the client secret has fewer than 16 characters", "Entra's secrets have about 40; this one was probably cut", "copy the whole value", "")
	}
}

func (s Setup) scopes(say sayer) {
	var defaults, named []string
	apis := map[string]bool{}
	for _, scope := range strings.Fields(strings.Join(s.Scopes, " ")) {
		switch scope {
		case "openid", "profile", "email", "offline_access":
			continue
		}
		resource := "https://graph.microsoft.com"
		if i := strings.LastIndexByte(scope, '/'); i > 0 {
			resource = strings.TrimRight(scope[:i], "/")
		}
		apis[strings.ToLower(resource)] = true
		if strings.HasSuffix(scope, ".default") {
			defaults = append(defaults, scope)
			if !strings.HasSuffix(scope, "/.default") {
				say(Problem, "the scope "+clean(scope, 80)+" lacks its slash", "it is read as the name of a permission (AADSTS70011)", "write <resource>/.default", "")
			}
		} else {
			named = append(named, scope)
		}
	}
	switch {
	case len(defaults) > 0 && len(named) > 0:
		say(Problem, "the scopes mix "+clean(defaults[0], 80)+" with "+clean(named[0], 80), "the server refuses that (AADSTS70011): .default means everything that was granted already",
			"ask for one or the other", "fob token --scope "+shellSafe(defaults[0]))
	case len(apis) > 1:
		say(Problem, "the scopes name several APIs", "one token is for one API (AADSTS28000, 70011)", "ask for one token for each API", "")
	case len(named) > 0 && !s.Delegated && (!s.Secret.IsZero() || s.Certificate != nil):
		say(Problem, "an app that signs in as itself cannot ask for "+clean(named[0], 80), "it gets what an administrator granted, all at once (AADSTS1002012)",
			"ask for <resource>/.default", "fob token --scope https://graph.microsoft.com/.default")
	}
}

// shellSafe returns s if a shell takes it as one plain word, else a gap to
// fill.
func shellSafe(s string) string {
	for _, r := range s {
		if !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._~:/@+,%", r)) {
			return "SCOPE"
		}
	}
	return s
}

// pasted says which character betrays that a text came through a web page or
// a word processor.
func pasted(s string) string {
	for _, r := range s {
		switch r {
		case '“', '”', '„', '‟', '«', '»', '″':
			return "a curly quote (" + string(r) + ")"
		case '‘', '’', '‚', '‛', '′':
			return "a curly apostrophe (" + string(r) + ")"
		case '‐', '‑', '‒', '–', '—', '―', '−':
			return "a dash that is no hyphen (" + string(r) + ")"
		case 0xa0, 0x202f, 0x2007:
			return "a no-break space"
		case 0x200b, 0x200c, 0x200d, 0xfeff, 0xad:
			return "an invisible character"
		}
	}
	return ""
}

var placeholderForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^\s*(<[^>]*>|\$\{?[a-z_][a-z0-9_.:]*\}?|%[a-z_]+%|\{\{?[^}]*\}?\}|\[[^\]]*\]|your[-_ ].*|x{4,}(-x+)*|(x{8}-)?0{8}-0{4}-0{4}-0{4}-0{12}|changeme|replace[-_ ]?me|(tenant|client|app)[-_ ]?id|todo)\s*$`)
})

func placeholder(s string) bool { return s != "" && len(s) < 200 && placeholderForm().MatchString(s) }

// Checkup is the findings of one area, as "fob doctor" prints them.
type Checkup struct {
	Area     string    `json:"area"`
	Findings []Finding `json:"findings"`
}

// Worst returns the worst severity among the findings.
func (c *Checkup) Worst() Severity {
	worst := OK
	rank := map[Severity]int{OK: 0, Note: 1, Warning: 2, Problem: 3}
	for _, f := range c.Findings {
		if rank[f.Severity] > rank[worst] {
			worst = f.Severity
		}
	}
	return worst
}

// Render writes the findings for people.
func (c *Checkup) Render(w io.Writer, style Style) error {
	p := newPage(w, style)
	p.title(strings.ToUpper(c.Area[:1]) + c.Area[1:])
	p.findings(c.Findings)
	if len(c.Findings) == 0 {
		p.text(2, "nothing to say")
	}
	return p.err
}

func (c *Checkup) say(severity Severity, what, why, do, try string) {
	c.Findings = append(c.Findings, Finding{severity, what, why, do, try})
}
