package insight

import (
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/fobauth/fob"
	"github.com/go-json-experiment/json/jsontext"
)

// Kind is what a token is.
type Kind string

// The kinds of token.
const (
	AccessToken      Kind = "access token"
	IDToken          Kind = "ID token"
	ClientAssertion  Kind = "client assertion"
	FederatedToken   Kind = "token of another issuer"
	EncryptedToken   Kind = "encrypted token"
	OpaqueToken      Kind = "opaque token"
	RefreshToken     Kind = "refresh token"
	PersonalToken    Kind = "access token of a personal account"
	UnidentifiedJSON Kind = "JWT"
)

// NothingVerified is said by every decoded token.
const NothingVerified = "Nothing was verified: anybody can write a token like this. \"fob verify\" checks one."

// Token is what a token says about itself. Nothing of it has been verified.
type Token struct {
	Kind    Kind   `json:"kind"`
	Summary string `json:"summary"`
	// Notice is always [NothingVerified].
	Notice  string `json:"notice"`
	Version string `json:"version,omitempty"`
	// SpeaksFor is "app", "user" or "device"; empty when the token does not tell.
	SpeaksFor string       `json:"speaksFor,omitempty"`
	API       *API         `json:"api,omitempty"`
	Client    *Party       `json:"client,omitempty"`
	Issued    *Moment      `json:"issued,omitempty"`
	NotBefore *Moment      `json:"notBefore,omitempty"`
	Expires   *Moment      `json:"expires,omitempty"`
	Expired   bool         `json:"expired"`
	Scopes    []Permission `json:"scopes,omitempty"`
	Roles     []Permission `json:"roles,omitempty"`
	Header    []Claim      `json:"header,omitempty"`
	Claims    []Claim      `json:"claims,omitempty"`
	Findings  []Finding    `json:"findings,omitempty"`

	parsed *parsedToken
}

// Party is an application, by id and, when it is known, by name.
type Party struct {
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	// FirstParty says that the id is one of Microsoft's own clients.
	FirstParty bool `json:"firstParty,omitempty"`
}

// Permission is a scope or an app role, with what it allows in words where
// its name tells.
type Permission struct {
	Name  string `json:"name"`
	Words string `json:"words,omitempty"`
}

// Claim is one member of a token's header or payload.
type Claim struct {
	Name    string         `json:"name"`
	Value   jsontext.Value `json:"value"`
	Meaning string         `json:"meaning,omitempty"`
	// Note says what this very value means.
	Note string `json:"note,omitempty"`
	// Time is set for claims that are times.
	Time *Moment `json:"time,omitempty"`
}

// maxToken is more than any token has that a server would take in a header.
const maxToken = 1 << 20

// parsedToken is a JWT taken apart.
type parsedToken struct {
	compact         string
	header, payload object
	odd             []string
}

// ErrNoToken is the cause of every refusal to read a text as a token.
var ErrNoToken = errors.New("not a token")

func noToken(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrNoToken, fmt.Sprintf(format, args...))
}

// trimToken takes off what comes along when tokens are copied: white space,
// quotes, the words before them in a header or in curl's option, and the line
// breaks of a window or a mail.
func trimToken(raw string) string {
	text, before := raw, ""
	for text != before {
		before = text
		text = strings.Trim(text, " \t\r\n\"'`“”,;")
		for _, word := range []string{"-h ", "authorization:", "bearer ", "pop "} {
			if len(text) > len(word) && strings.EqualFold(text[:len(word)], word) {
				text = text[len(word):]
			}
		}
	}
	if strings.HasPrefix(text, "ey") {
		text = strings.NewReplacer("\r", "", "\n", "").Replace(text)
	}
	return text
}

// parseJWT takes a signed JWT apart without judging it.
func parseJWT(text string) (*parsedToken, error) {
	switch {
	case text == "":
		return nil, noToken("the text is empty")
	case len(text) > maxToken:
		return nil, noToken("it has %d bytes; nothing that signs in is larger than 1 MiB", len(text))
	}
	head, rest, found := strings.Cut(text, ".")
	body, signature, more := strings.Cut(rest, ".")
	if !found || !more || strings.Contains(signature, ".") {
		switch dots := strings.Count(text, "."); {
		case !strings.HasPrefix(text, "ey"):
			return nil, noToken("it has not the form of a JWT; refresh tokens, codes and some access tokens can be read by the server alone")
		case dots < 2:
			return nil, noToken("it ends before the second dot of a signed JWT; it was probably cut when it was copied")
		default:
			return nil, noToken("it has %d dots where a signed JWT has two; four are in an encrypted one, which its API alone can read", dots)
		}
	}
	header, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(head, "="))
	if err != nil {
		return nil, noToken("its first part is not base64url; copy the whole token, without line breaks")
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(body, "="))
	if err != nil {
		return nil, noToken("its second part is not base64url; copy the whole token, without line breaks")
	}
	t := &parsedToken{compact: text}
	var odd []string
	if t.header, odd, err = parseObject(header); err != nil {
		return nil, noToken("its header cannot be read: %v", err)
	}
	for _, o := range odd {
		t.odd = append(t.odd, "header: "+o)
	}
	if t.payload, odd, err = parseObject(payload); err != nil {
		return nil, noToken("its payload cannot be read: %v", err)
	}
	for _, o := range odd {
		t.odd = append(t.odd, "payload: "+o)
	}
	return t, nil
}

// DecodeToken says what a token says about itself at the time now: for people
// who hold it and for APIs that got it. It verifies nothing. Tokens that nobody
// but their receiver can read (encrypted and opaque ones) are named as what
// they are. The error is [ErrNoToken] when raw is none, or too large.
func DecodeToken(raw fob.Secret, now time.Time) (*Token, error) {
	text := trimToken(raw.Reveal())
	if len(text) <= maxToken {
		if t := unreadable(text); t != nil {
			return t, nil
		}
	}
	parsed, err := parseJWT(text)
	if err != nil {
		return nil, err
	}
	t := &Token{Notice: NothingVerified, parsed: parsed}
	claims := parsed.payload
	t.Kind = kindOf(claims)
	t.Version = tidy(claims.text("ver"))
	t.SpeaksFor = speaksFor(claims)
	if t.Kind == IDToken || t.Kind == AccessToken || t.Kind == ClientAssertion || t.Kind == FederatedToken {
		if audience := claims.texts("aud"); len(audience) > 0 && t.Kind != IDToken {
			api := apiOf(tidy(audience[0]))
			t.API = &api
		}
	}
	if id := tidy(first(claims.text("appid"), claims.text("azp"))); id != "" {
		t.Client = party(id, tidy(claims.text("app_displayname")))
	} else if t.Kind == IDToken {
		t.Client = party(tidy(strings.Join(claims.texts("aud"), " ")), "")
	} else if t.Kind == ClientAssertion {
		t.Client = party(tidy(claims.text("sub")), "")
	}
	if at, ok := claims.number("iat"); ok {
		t.Issued = momentAt(at, now)
	}
	if at, ok := claims.number("nbf"); ok {
		t.NotBefore = momentAt(at, now)
	}
	if at, ok := claims.number("exp"); ok {
		t.Expires = momentAt(at, now)
		t.Expired = at <= now.Unix()
	}
	for scope := range strings.FieldsSeq(claims.text("scp")) {
		t.Scopes = append(t.Scopes, permission(scope, false))
	}
	for _, role := range claims.texts("roles") {
		t.Roles = append(t.Roles, permission(role, t.SpeaksFor == "app"))
	}
	t.Header = described("header", parsed.header, now)
	t.Claims = described("claim", claims, now)
	t.Findings = t.findings(now)
	t.Summary = t.summarize()
	return t, nil
}

func first(texts ...string) string {
	for _, s := range texts {
		if s != "" {
			return s
		}
	}
	return ""
}

func party(id, name string) *Party {
	p := &Party{ID: id, Name: name}
	if known := knownClients()[strings.ToLower(id)]; known != "" {
		p.Name, p.FirstParty = known, true
	}
	return p
}

func (p *Party) label() string {
	switch {
	case p == nil:
		return ""
	case p.Name == "":
		return p.ID
	case p.FirstParty:
		return p.Name + " (" + p.ID + "), one of Microsoft's own clients"
	}
	return p.Name + " (" + p.ID + ")"
}

// unreadable recognizes the tokens that are not for their holder to read.
func unreadable(text string) *Token {
	t := &Token{Notice: NothingVerified}
	dots := strings.Count(text, ".")
	head, _, _ := strings.Cut(text, ".")
	switch {
	case dots == 4 && strings.HasPrefix(text, "ey"):
		header, err := base64.RawURLEncoding.DecodeString(head)
		if err != nil {
			return nil
		}
		members, _, err := parseObject(header)
		if err != nil || !object(members).has("enc") {
			return nil
		}
		t.Kind = EncryptedToken
		t.Header = described("header", members, time.Time{})
		for i := range t.Header {
			if t.Header[i].Name == "alg" {
				t.Header[i].Meaning, t.Header[i].Note = "how its key is encrypted", ""
			}
		}
		t.Summary = "an encrypted token (JWE): only the API that it is for can read it. That is no fault of the token; send it as it is."
	case strings.HasPrefix(text, "EwB") && dots == 0, strings.HasPrefix(text, "EwA") && dots == 0, strings.HasPrefix(text, "EwC") && dots == 0:
		t.Kind = PersonalToken
		t.Summary = "an access token of a personal Microsoft account: encrypted for the API, in Microsoft's own compact form, no JWT. That is no fault of the token; send it as it is."
	case len(text) > 60 && (strings.HasPrefix(text, "0.A") || strings.HasPrefix(text, "1.A") || strings.HasPrefix(text, "M.C") || strings.HasPrefix(text, "M.R") || strings.HasPrefix(text, "OAQABAAAA") || strings.HasPrefix(text, "AQABAAAA")) && isTokenText(text):
		t.Kind = RefreshToken
		t.Summary = "a refresh token, or an authorization code: it has no content for its holder, only the server that issued it can read it. Keep it secret: it signs in. \"fob login --refresh-token-file\" takes a refresh token into the store."
	case len(text) > 40 && !strings.HasPrefix(text, "ey") && isTokenText(text) && dots < 2:
		t.Kind = OpaqueToken
		t.Summary = "an opaque token: it is no JWT, and only whoever issued it can say what it stands for"
	default:
		return nil
	}
	return t
}

func isTokenText(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || strings.ContainsRune("-._~+/=!*$", r))
	}) < 0
}

// kindOf tells tokens apart by their claims; Entra writes no kind into them.
func kindOf(c object) Kind {
	entra := issuerTenant(c.text("iss")) != ""
	audience := strings.Join(c.texts("aud"), " ")
	switch {
	case c.has("scp"), c.has("appid"), c.has("appidacr"), c.has("azpacr"), entra && c.has("roles") && c.text("idtyp") == "app":
		return AccessToken
	case c.text("iss") != "" && c.text("iss") == c.text("sub") && strings.Contains(audience, "/oauth2/"):
		return ClientAssertion
	case entra && c.has("azp"):
		return AccessToken
	case entra && (c.has("nonce") || c.has("preferred_username") || c.has("name") || c.has("at_hash") || isGUID(audience)):
		return IDToken
	case entra:
		return AccessToken
	case c.text("iss") != "" && c.text("sub") != "":
		return FederatedToken
	}
	return UnidentifiedJSON
}

func speaksFor(c object) string {
	switch idtyp := c.text("idtyp"); {
	case idtyp == "app", idtyp == "user", idtyp == "device":
		return idtyp
	case c.has("scp"), c.has("preferred_username"), c.has("upn"), c.has("unique_name"):
		return "user"
	case c.text("oid") != "" && c.text("oid") == c.text("sub"):
		return "app"
	case issuerTenant(c.text("iss")) != "" && c.has("name"):
		return "user"
	}
	return ""
}

func (t *Token) summarize() string {
	switch {
	case t.Expires == nil:
		return t.label()
	case t.Expired:
		return t.label() + ", expired " + t.Expires.Relative
	}
	return t.label() + ", expires " + t.Expires.Relative
}

// label says what the token is, at any time.
func (t *Token) label() string {
	var b strings.Builder
	switch {
	case t.SpeaksFor == "app" && t.Kind == AccessToken:
		b.WriteString("an app-only access token")
	case t.SpeaksFor == "user" && t.Kind == AccessToken:
		b.WriteString("a user's access token")
	case t.Kind == IDToken, t.Kind == AccessToken:
		b.WriteString("an " + string(t.Kind))
	default:
		b.WriteString("a " + string(t.Kind))
	}
	if t.Version != "" {
		b.WriteString(" (v" + strings.TrimSuffix(t.Version, ".0") + ")")
	}
	if t.API != nil {
		b.WriteString(" for " + t.API.label())
	} else if t.Kind == IDToken && t.Client != nil {
		b.WriteString(" for the app " + t.Client.label())
	}
	return b.String()
}

//go:embed data/claims.tsv
var claimsTable string

var meanings = sync.OnceValue(func() map[string]string {
	all := map[string]string{}
	for _, row := range tableRows(claimsTable) {
		all[row[0]+" "+row[1]] = row[2]
	}
	return all
})

func described(where string, members object, now time.Time) []Claim {
	var all []Claim
	for _, m := range members {
		c := Claim{Name: tidy(m.name), Value: harmlessJSON(m.value), Meaning: meanings()[where+" "+m.name]}
		switch m.name {
		case "iat", "nbf", "exp", "auth_time", "pwd_exp", "xms_tcdt":
			if n, ok := members.number(m.name); ok && m.name != "pwd_exp" {
				if c.Time = momentAt(n, now); c.Time == nil {
					c.Note = "no time that a calendar has"
				}
			}
		default:
			c.Note = noteOn(m)
		}
		all = append(all, c)
	}
	return all
}

// noteOn says what a value means, where the value is a code or an id that has
// a name.
func noteOn(m member) string {
	text := stringOf(m.value)
	switch m.name {
	case "aud":
		return apiOf(text).Name
	case "appid", "azp":
		return knownClients()[strings.ToLower(text)]
	case "appidacr", "azpacr":
		return map[string]string{"0": "it did not: a public client", "1": "with a client secret", "2": "with a certificate or a federated assertion"}[text]
	case "alg":
		switch text {
		case "none":
			return "not signed at all"
		case "RS256":
			return "RSA, PKCS #1 v1.5, SHA-256"
		case "PS256":
			return "RSA-PSS, SHA-256"
		case "ES256":
			return "ECDSA, P-256, SHA-256"
		case "HS256":
			return "HMAC with a shared secret"
		}
	case "tid":
		switch strings.ToLower(text) {
		case "9188040d-6c67-4c5b-b112-36a304b66dad":
			return "personal Microsoft accounts"
		case "72f988bf-86f1-41af-91ab-2d7cd011db47":
			return "Microsoft's own tenant"
		case "f8cdef31-a31e-4b4a-93e4-5f571e91255a":
			return "Microsoft Services"
		}
	case "amr":
		words := map[string]string{"pwd": "password", "rsa": "certificate or key", "otp": "one-time code", "fed": "another identity provider", "wia": "Windows sign-in", "mfa": "several factors", "ngcmfa": "Windows Hello or similar, several factors"}
		var all []string
		for _, method := range (object{m}).texts("amr") {
			if word := words[method]; word != "" {
				all = append(all, word)
			}
		}
		return strings.Join(all, ", ")
	case "ver":
		return map[string]string{"1.0": "v1 format", "2.0": "v2 format"}[text]
	}
	return ""
}

func (t *Token) findings(now time.Time) []Finding {
	var all []Finding
	h, c := t.parsed.header, t.parsed.payload
	for _, odd := range t.parsed.odd {
		all = append(all, Finding{Warning, odd, "", "do not use this token", ""})
	}
	if wrong := c.mistyped(); len(wrong) > 0 && t.Kind == ClientAssertion {
		all = append(all, Finding{Note, strings.Join(wrong, "; "), "MSAL for .NET writes the times of client assertions like this, and Entra takes them; RFC 7519 does not", "", ""})
	} else if len(wrong) > 0 && t.Kind != UnidentifiedJSON {
		all = append(all, Finding{Warning, strings.Join(wrong, "; "), "RFC 7519 wants it otherwise: one reader takes such a claim for what it looks like, another for none", "accept no such token", ""})
	}
	switch alg := h.text("alg"); {
	case strings.EqualFold(alg, "none"):
		all = append(all, Finding{Problem, "the token is not signed (alg none)", "anybody can have written it", "accept no such token anywhere", ""})
	case strings.HasPrefix(alg, "HS"):
		all = append(all, Finding{Warning, "the token is signed with a shared secret (" + tidy(alg) + ")", "Entra never does so; whoever can check it can also forge it", "find out who made it", ""})
	}
	for _, name := range []string{"jku", "x5u", "jwk"} {
		if h.has(name) {
			all = append(all, Finding{Warning, "the header brings its own key (" + name + ")", "a verifier that follows it accepts anybody's token", "verifiers must take keys from the issuer only", ""})
		}
	}
	if t.graphNonce() {
		all = append(all, Finding{Note, "the header has a nonce: only " + first(apiName(t.API), "the API") + " itself can verify this token",
			"its signature was made over another header than the one you see", "do not verify it; it is for the API, not for you", ""})
	}
	if t.Expired && t.Expires != nil {
		all = append(all, Finding{Problem, "expired " + t.Expires.Relative, "APIs answer 401 InvalidAuthenticationToken", "get a new one", "fob token --force-refresh"})
	}
	if nbf, ok := c.number("nbf"); ok && nbf > now.Add(clockSkew).Unix() && t.NotBefore != nil {
		all = append(all, Finding{Problem, "not valid yet: it starts " + t.NotBefore.Relative, "APIs answer 401", "compare this machine's clock with the real time", "fob doctor clock"})
	}
	if !c.has("exp") && t.Kind != UnidentifiedJSON {
		all = append(all, Finding{Warning, "the token never ends (no exp)", "a stolen one stays good for ever", "accept no such token", ""})
	}
	switch {
	case t.Kind == AccessToken && t.SpeaksFor == "app" && len(t.Roles) == 0:
		all = append(all, Finding{Warning, "an app-only token without roles", "the app was granted no application permission for this API, so most calls end with 403",
			"add application permissions to the app registration, let an administrator consent, then get a new token", "fob token --force-refresh"})
	case t.Kind == AccessToken && t.SpeaksFor == "user" && len(t.Scopes) == 0 && len(t.Roles) == 0:
		all = append(all, Finding{Warning, "a user's token without scopes", "the API will refuse most calls", "ask for the scopes that the calls need", ""})
	}
	if t.Kind == IDToken {
		all = append(all, Finding{Note, "an ID token tells an app who signed in", "APIs refuse it", "send the access token to APIs", "fob token"})
	}
	if t.Client != nil && t.Client.FirstParty && t.Kind == AccessToken {
		all = append(all, Finding{Note, "it was issued to " + t.Client.Name + ", one of Microsoft's own clients", "fine for a test; for your own scripts Microsoft may block it or ask for more at any time (AADSTS65002)",
			"register an app of your own", ""})
	}
	if c.has("_claim_names") || c.has("hasgroups") {
		all = append(all, Finding{Note, "not all groups fit into the token", "a token carries at most 200", "ask Graph for the rest", "fob get /me/transitiveMemberOf"})
	}
	return all
}

func apiName(a *API) string {
	if a == nil {
		return ""
	}
	return a.Name
}

// graphNonce reports whether the token is of the kind that only Microsoft's
// API can verify.
func (t *Token) graphNonce() bool { return t.parsed != nil && t.parsed.header.has("nonce") }

// Render writes the token for people.
func (t *Token) Render(w io.Writer, style Style) error {
	p := newPage(w, style)
	p.title(strings.ToUpper(t.Summary[:1]) + t.Summary[1:])
	p.text(0, t.Notice)
	if t.Client != nil || t.Expires != nil || t.SpeaksFor != "" {
		p.blank()
		p.field("API", 10, func() string {
			if t.API == nil {
				return ""
			}
			return t.API.label()
		}())
		p.field("app", 10, t.Client.label())
		p.field("speaks for", 10, map[string]string{"app": "the app itself", "user": "a user", "device": "a device"}[t.SpeaksFor])
		p.field("issued", 10, t.Issued.text())
		p.field("valid from", 10, t.NotBefore.text())
		p.field("expires", 10, t.Expires.text())
	}
	p.permissions("Scopes (in the user's name)", t.Scopes)
	p.permissions("Roles", t.Roles)
	p.claims("Header", t.Header)
	p.claims("Claims", t.Claims)
	if len(t.Findings) > 0 {
		p.section("Worth knowing")
		p.findings(t.Findings)
	}
	return p.err
}

func (m *Moment) text() string {
	if m == nil {
		return ""
	}
	return m.Local + " (" + m.Relative + ")"
}

func (p *page) permissions(title string, all []Permission) {
	if len(all) == 0 {
		return
	}
	p.section(title)
	size := 0
	for _, x := range all {
		size = max(size, min(columns(x.Name), p.width/2))
	}
	for _, x := range all {
		p.hang("  "+pad(x.Name, size)+"  ", ToneLabel, x.Words)
	}
}

const shownClaims = 200 // more are counted only

func (p *page) claims(title string, all []Claim) {
	if len(all) == 0 {
		return
	}
	p.section(title)
	size := 0
	for _, c := range all {
		size = max(size, min(columns(c.Name), 20))
	}
	for i, c := range all {
		if i == shownClaims {
			p.text(2, fmt.Sprintf("and %d more", len(all)-i))
			return
		}
		text := shown(c.Value)
		if c.Time != nil {
			text += " = " + c.Time.text()
		}
		if c.Note != "" {
			text += " = " + c.Note
		}
		lead := "  " + pad(c.Name, size) + "  "
		if columns(lead) > p.width/2 {
			p.text(2, c.Name)
			lead = strings.Repeat(" ", size+4)
		}
		// A wide page has the meaning beside the value, a narrow one below.
		if beside := size + 4 + 60; c.Meaning != "" && p.width >= 140 && columns(text) < 60 {
			p.hang(pad(lead+text, beside)+"  ", ToneLabel, c.Meaning)
			continue
		}
		p.hang(lead, ToneLabel, text)
		if c.Meaning != "" {
			p.hang(strings.Repeat(" ", size+4), ToneFaint, "("+c.Meaning+")")
		}
	}
}
