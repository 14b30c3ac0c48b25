package trace

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/fobauth/fob/internal/harmless"
	"github.com/fobauth/fob/internal/redact"
)

// formShown are the form fields whose values are no secrets. All others are
// redacted, known or not.
var formShown = words(`grant_type client_id scope resource redirect_uri response_type response_mode prompt
	client_assertion_type requested_token_use requested_token_type subject_token_type token_type code_challenge_method claims
	client_info audience fmi_path mkt domain_hint`)

// queryShown are the query parameters whose values are no secrets.
var queryShown = words(`client_id scope resource redirect_uri response_type response_mode prompt code_challenge_method claims client_info
	domain_hint mkt api-version authorization_endpoint error error_subcode error_uri error_description appid serviceConnectionId audience
	$top $skip $select $filter $expand $orderby $count $search $format $apply deltaDays`)

// headersShown are the headers whose values are no secrets.
var headersShown = words(`accept accept-encoding accept-language cache-control content-type content-length content-encoding date
	expires pragma retry-after user-agent consistencylevel prefer preference-applied metadata client-request-id
	return-client-request-id request-id x-ms-request-id x-ms-correlation-request-id x-ms-ests-server x-ms-srs x-ms-clitelem
	x-ms-lib-capability x-ms-ags-diagnostic x-ms-region x-client-sku x-client-ver x-client-os x-client-cpu x-client-dm x-app-name
	x-app-ver strict-transport-security server vary transfer-encoding www-authenticate location content-location allow
	x-content-type-options access-control-allow-origin x-http-method-override`)

// answerShown are the members of JSON answers whose values are no secrets.
// Others leave their kind and size: an API's answer is its user's data.
var answerShown = words(`token_type scope expires_in ext_expires_in refresh_in expires_on not_before resource foci
	error error_description error_codes error_uri suberror error_subcode timestamp trace_id correlation_id claims interval verification_uri
	verification_url message issuer authorization_endpoint token_endpoint device_authorization_endpoint end_session_endpoint jwks_uri
	userinfo_endpoint tenant_discovery_endpoint api-version cloud_instance_name tenant_region_scope msgraph_host
	error.code error.message error.target error.date error.innerError.code error.innerError.message error.innerError.date
	error.innerError.request-id error.innerError.client-request-id error.innererror.request-id error.innererror.date @odata.context @odata.count`)

// words returns what tells whether a name, in any case, is in a list. The table
// is made when it is first asked: most commands are not recorded.
func words(list string) func(name string) bool {
	table := sync.OnceValue(func() map[string]bool {
		all := map[string]bool{}
		for name := range strings.FieldsSeq(list) {
			all[strings.ToLower(name)] = true
		}
		return all
	})
	return func(name string) bool { return table()[strings.ToLower(name)] }
}

// answerSecret are members that are secrets in any answer.
var answerSecret = words(`access_token refresh_token id_token device_code user_code spa_code code client_info secrettext password token
	value_token oidctoken assertion client_secret session_state nonce key`)

// harmlessClaims may be shown of any JWT: they say what it is for and until
// when, and name no person.
var harmlessClaims = []string{"alg", "typ", "kid", "x5t", "x5t#S256", "aud", "iss", "tid", "appid", "azp", "appidacr", "azpacr", "idtyp", "ver", "scp", "roles", "iat", "nbf", "exp"}

// secrets knows every secret that was seen, to find it again in what servers
// echo.
type secrets struct {
	mu   sync.Mutex // guards the fields below
	all  map[string]bool
	full bool // there were more than fit: from then on nothing is shown
}

const (
	minSecret  = 6      // shorter ones would be found in every other word
	maxSecrets = 20_000 // with every form
)

// learn remembers a secret in the forms in which it may come back.
func (s *secrets) learn(secret string) {
	if len(secret) < minSecret {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all == nil {
		s.all = map[string]bool{}
	}
	if s.full = s.full || len(s.all) >= maxSecrets; !s.full {
		for _, form := range harmless.Spellings(secret) {
			s.all[form] = true
		}
	}
}

// Format hides the secrets from whoever prints the recorder.
func (s *secrets) Format(f fmt.State, _ rune) { f.Write([]byte(Redacted)) }

func (s *secrets) learnValues(values url.Values, shown func(string) bool) {
	for name, all := range values {
		if !shown(name) {
			for _, v := range all {
				s.learn(v)
			}
		}
	}
}

func (s *secrets) learnHeader(h http.Header) {
	for name, values := range h {
		for _, v := range values {
			switch strings.ToLower(name) {
			case "authorization", "proxy-authorization":
				scheme, credentials, _ := strings.Cut(v, " ")
				s.learn(credentials)
				if strings.EqualFold(scheme, "Basic") {
					if pair, err := base64.StdEncoding.DecodeString(credentials); err == nil {
						_, password, _ := strings.Cut(string(pair), ":")
						s.learn(password)
						if plain, err := url.QueryUnescape(password); err == nil {
							s.learn(plain)
						}
					}
				}
			case "cookie", "set-cookie":
				for part := range strings.SplitSeq(v, ";") {
					_, value, _ := strings.Cut(part, "=")
					if len(value) > 12 { // not "Path=/" and the like
						s.learn(value)
					}
				}
			case "location", "content-location":
				if u, err := url.Parse(v); err == nil {
					s.learnValues(u.Query(), queryShown)
					if fragment, err := url.ParseQuery(u.Fragment); err == nil {
						s.learnValues(fragment, queryShown)
					}
				}
			default:
				if !headersShown(name) && len(v) >= 16 {
					s.learn(v)
				}
			}
		}
	}
}

var urlForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`https?://[^\s"'<>\\]+`) })

// scrub makes a text that may be shown: without the secrets that were seen,
// without what looks like one, without control characters, and only then short.
func (s *secrets) scrub(text string) string {
	text = urlForm().ReplaceAllStringFunc(text, func(address string) string {
		u, err := url.Parse(address)
		if err != nil || u.RawQuery == "" && u.Fragment == "" && u.User == nil {
			return address
		}
		return s.plainAddress(u)
	})
	return tidy(s.remove(text))
}

func (s *secrets) remove(text string) string {
	s.mu.Lock()
	var known []string
	for secret := range s.all {
		if len(secret) <= len(text) && strings.Contains(text, secret) {
			known = append(known, secret)
		}
	}
	full := s.full
	s.mu.Unlock()
	if full {
		return Redacted
	}
	// Long ones first: one may be a part of another.
	sort.Slice(known, func(i, j int) bool { return len(known[i]) > len(known[j]) })
	for _, secret := range known {
		text = strings.ReplaceAll(text, secret, Redacted)
	}
	return redact.Text(text)
}

// field is the value of a form field to show.
func (s *secrets) field(e *Exchange, where, name, value string, shown func(string) bool) string {
	if shown(name) {
		return s.scrub(value)
	}
	return s.token(e, where, value)
}

// token records the harmless claims of a secret that is a JWT, and returns what
// to show in its place.
func (s *secrets) token(e *Exchange, where, value string) string {
	parts := strings.Split(value, ".")
	if len(parts) != 3 || !strings.HasPrefix(value, "ey") {
		return Redacted
	}
	found := map[string]any{}
	for _, part := range parts[:2] {
		raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(part, "="))
		if err != nil {
			return Redacted
		}
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.UseNumber()
		if harmless.Depth(raw, maxDepth) > maxDepth || dec.Decode(&found) != nil {
			return Redacted
		}
	}
	t := Token{Where: tidy(where)}
	for _, name := range harmlessClaims {
		if v, ok := found[name]; ok {
			t.Claims = append(t.Claims, Pair{name, s.claim(v)})
		}
	}
	e.Tokens = append(e.Tokens, t)
	aud := ""
	if v, ok := found["aud"]; ok {
		aud = " for " + s.claim(v)
	}
	return "[redacted: a JWT" + aud + "]"
}

func (s *secrets) claim(v any) string {
	switch v := v.(type) {
	case string:
		return s.scrub(v)
	case []any:
		var all []string
		for _, item := range v {
			all = append(all, fmt.Sprint(item))
		}
		return s.scrub(strings.Join(all, " "))
	case json.Number:
		return tidy(v.String())
	}
	return Redacted
}

// headers are a message's headers to show, by name.
func (s *secrets) headers(h http.Header) []Pair {
	var all []Pair
	for _, name := range sortedKeys(h) {
		for _, value := range h[name] {
			switch lower := strings.ToLower(name); {
			case lower == "location" || lower == "content-location":
				u, err := url.Parse(value)
				if err != nil {
					value = Redacted
				} else {
					value = s.address(u)
				}
			case lower == "www-authenticate":
				value = s.scrub(nonceForm().ReplaceAllString(value, `$1="`+Redacted+`"`))
			case headersShown(lower):
				value = s.scrub(value)
			case lower == "authorization" || lower == "proxy-authorization":
				scheme, _, found := strings.Cut(value, " ")
				if value = Redacted; found && len(scheme) <= 16 {
					value = tidy(scheme) + " " + Redacted
				}
			default:
				value = Redacted
			}
			all = append(all, Pair{tidy(name), value})
		}
	}
	return all
}

var nonceForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)\b(nonce|opaque|token|nextnonce)\s*=\s*"?[^",\s]*"?`)
})

// address is a URL to show.
func (s *secrets) address(u *url.URL) string { return tidy(s.remove(s.plainAddress(u))) }

func (s *secrets) plainAddress(u *url.URL) string {
	var b strings.Builder
	if u.Scheme != "" {
		b.WriteString(u.Scheme + "://")
	}
	if u.User != nil {
		b.WriteString(Redacted + "@")
	}
	b.WriteString(u.Host)
	for i, segment := range strings.Split(u.EscapedPath(), "/") {
		if i > 0 {
			b.WriteByte('/')
		}
		// No name is that long; upload addresses and message ids are.
		if len(segment) > 80 {
			segment = Redacted
		}
		b.WriteString(segment)
	}
	parameters := func(lead, raw string) {
		values, err := url.ParseQuery(raw)
		if err != nil {
			b.WriteString(lead + Redacted)
			return
		}
		for _, name := range sortedKeys(values) {
			for _, value := range values[name] {
				shown := Redacted
				if queryShown(name) {
					shown = value
					if inner, err := url.Parse(value); err == nil && inner.Host != "" {
						shown = s.plainAddress(inner)
					}
				}
				b.WriteString(lead + tidy(name) + "=" + shown)
				lead = "&"
			}
		}
	}
	if u.RawQuery != "" {
		parameters("?", u.RawQuery)
	}
	switch {
	case u.Fragment == "":
	case strings.Contains(u.Fragment, "=") || len(u.Fragment) > 80:
		parameters("#", u.Fragment)
	default:
		b.WriteString("#" + u.Fragment)
	}
	return b.String()
}

const (
	maxDepth  = 64
	maxFields = 100
)

// json records the members of a JSON answer; false if it cannot be read.
func (s *secrets) json(e *Exchange, m *Message, data []byte) bool {
	if harmless.Depth(data, maxDepth) > maxDepth {
		return false
	}
	dec := json.NewDecoder(bytes.NewReader(data))
	dec.UseNumber()
	var value any
	if dec.Decode(&value) != nil {
		return false
	}
	// First learn the secrets of the whole answer, then write anything down.
	s.learnJSON("", value)
	if object, ok := value.(map[string]any); ok {
		s.members(e, m, "", object)
	} else {
		m.Note = kind(value)
	}
	return true
}

func (s *secrets) learnJSON(prefix string, value any) {
	switch value := value.(type) {
	case map[string]any:
		for name, v := range value {
			if text, ok := v.(string); ok && isSecret(prefix, name) {
				s.learn(text)
			}
			s.learnJSON(prefix+name+".", v)
		}
	case []any:
		for _, v := range value {
			s.learnJSON(prefix, v)
		}
	}
}

// isSecret reports whether a member of an answer is a secret by its name. An
// error's code is none.
func isSecret(prefix, name string) bool {
	name = strings.ToLower(name)
	return answerSecret(name) && !(name == "code" && strings.HasPrefix(prefix, "error."))
}

func (s *secrets) members(e *Exchange, m *Message, prefix string, object map[string]any) {
	for _, name := range sortedKeys(object) {
		if len(m.Fields) == maxFields {
			m.Note = "more members are not shown"
			return
		}
		path, value := prefix+name, object[name]
		shown := ""
		switch inner, nested := value.(map[string]any); {
		case nested && (path == "error" || strings.EqualFold(path, "error.innererror")):
			s.members(e, m, path+".", inner)
			continue
		case isSecret(prefix, name):
			shown = Redacted
			if text, ok := value.(string); ok {
				shown = s.token(e, "the answer's "+name, text)
			}
		case answerShown(path):
			shown = s.plain(value)
		default:
			shown = kind(value)
		}
		m.Fields = append(m.Fields, Pair{tidy(s.remove(path)), shown})
	}
}

func (s *secrets) plain(value any) string {
	switch v := value.(type) {
	case string:
		return s.scrub(v)
	case json.Number:
		return tidy(v.String())
	case bool:
		return strconv.FormatBool(v)
	case []any:
		var all []string
		for _, item := range v {
			switch item.(type) {
			case string, json.Number:
				all = append(all, fmt.Sprint(item))
			default:
				return kind(value)
			}
		}
		return s.scrub(strings.Join(all, ", "))
	}
	return kind(value)
}

// kind says what a value is without saying the value.
func kind(value any) string {
	switch v := value.(type) {
	case nil:
		return "(null)"
	case string:
		return fmt.Sprintf("(text, %d characters)", utf8.RuneCountInString(v))
	case json.Number:
		return "(number)"
	case bool:
		return "(true or false)"
	case []any:
		return fmt.Sprintf("(list of %d)", len(v))
	case map[string]any:
		return fmt.Sprintf("(object of %d)", len(v))
	}
	return "(value)"
}

func sortedKeys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

const maxText = 2000

// tidy makes a text harmless. Secrets have been removed before.
func tidy(s string) string { return harmless.Text(s, maxText) }
