package graph

import (
	_ "embed"
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/fobauth/fob"
)

//go:embed permissions.tsv
var permissionTable string

// Permissions returns which of Microsoft Graph's permissions allow a request:
// with a user's token (delegated) and with a token of the application itself.
// Any one of a list will do; those with the least rights come first. An empty
// list means that such tokens are not accepted. path is what follows the host,
// with or without the version and with real ids in it. ok says whether the
// endpoint is known.
func Permissions(method, path string) (delegated, application []string, ok bool) {
	if method == http.MethodHead || method == "" {
		method = http.MethodGet
	}
	segments := templateOf(path)
	if len(segments) == 0 || segments[0] == "$batch" {
		return nil, nil, false
	}
	for _, row := range permissions() {
		if row.method != strings.ToUpper(method) || !row.covers(segments) {
			continue
		}
		return row.delegated, row.application, true
	}
	return nil, nil, false
}

// permissionRow is one method and path template, "{id}" standing for any id.
type permissionRow struct {
	method                 string
	segments               []string
	delegated, application []string
}

func (r *permissionRow) covers(segments []string) bool {
	return slices.EqualFunc(r.segments, segments, func(want, got string) bool {
		return want == got || want == "{id}"
	})
}

// permissions is the table, plain words before ids.
var permissions = sync.OnceValue(func() []*permissionRow {
	var rows []*permissionRow
	for line := range strings.Lines(permissionTable) {
		column := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
		if len(column) != 5 || column[0] == "method" {
			continue
		}
		segments := strings.Split(strings.Trim(column[1], "/"), "/")
		i := slices.IndexFunc(rows, func(r *permissionRow) bool {
			return r.method == column[0] && slices.Equal(r.segments, segments)
		})
		if i < 0 {
			i = len(rows)
			rows = append(rows, &permissionRow{method: column[0], segments: segments})
		}
		var names []string
		for _, list := range column[3:] {
			for name := range strings.SplitSeq(list, ",") {
				if name = strings.TrimSpace(name); name != "" && !strings.HasPrefix(name, "(") {
					names = append(names, name)
				}
			}
		}
		switch column[2] {
		case "DelegatedWork":
			rows[i].delegated = names
		case "Application":
			rows[i].application = names
		}
	}
	ids := func(r *permissionRow) int { return strings.Count(strings.Join(r.segments, "/"), "{id}") }
	slices.SortStableFunc(rows, func(a, b *permissionRow) int { return ids(a) - ids(b) })
	return rows
})

var keyInBrackets = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([a-z]+)\([^)]+\)$`) })

// templateOf writes a path like the table: lower case, without version, casts,
// empty brackets and what only says how the answer is wanted.
func templateOf(path string) []string {
	path, _, _ = strings.Cut(strings.ToLower(path), "?")
	var segments []string
	for i, s := range strings.Split(strings.Trim(path, "/"), "/") {
		s = strings.TrimSuffix(strings.Replace(s, "%24", "$", 1), "()")
		switch {
		case s == "" || i == 0 && isVersion(s):
		case s == "$count" || s == "$value" || s == "$ref":
		case strings.HasPrefix(s, "microsoft.graph."):
			// A cast narrows what a list holds; a function has a name of its own.
			if s = strings.TrimPrefix(s, "microsoft.graph."); s == "delta" || strings.HasPrefix(s, "get") || strings.HasPrefix(s, "check") {
				segments = append(segments, s)
			}
		default:
			if m := keyInBrackets().FindStringSubmatch(s); m != nil {
				segments = append(segments, m[1], "{id}")
				continue
			}
			segments = append(segments, s)
		}
	}
	return segments
}

// Rights are the permissions that a token carries.
type Rights struct {
	Scopes  []string // delegated permissions, from the claim scp
	Roles   []string // application permissions, from the claim roles
	AppOnly bool     // the token speaks for the application, without a user
}

// RightsOf reads a token's rights. ok is false for tokens that are no JWT;
// access tokens are only meant to be read by the API, so this is for messages
// to people and for no decision.
func RightsOf(token *fob.Token) (rights Rights, ok bool) {
	if token == nil {
		return Rights{}, false
	}
	parts := strings.Split(token.Access.Reveal(), ".")
	if len(parts) != 3 {
		return Rights{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return Rights{}, false
	}
	var claims struct {
		Scp   string   `json:"scp"`
		Roles []string `json:"roles"`
		Idtyp string   `json:"idtyp"`
	}
	if json.Unmarshal(payload, &claims) != nil {
		return Rights{}, false
	}
	rights = Rights{Scopes: strings.Fields(claims.Scp), Roles: claims.Roles}
	rights.AppOnly = claims.Idtyp == "app" || claims.Idtyp == "" && len(rights.Scopes) == 0
	return rights, true
}

// Explain403 says in a sentence or two what a token lacks for a request to
// Microsoft Graph, and what to do. It is empty if the endpoint is not known.
func Explain403(method, path string, have Rights) string {
	delegated, application, ok := Permissions(method, path)
	if !ok {
		return ""
	}
	want, held, kind, other := delegated, have.Scopes, "delegated", application
	if have.AppOnly {
		want, held, kind, other = application, have.Roles, "application", delegated
	}
	switch {
	case len(want) == 0 && len(other) > 0 && have.AppOnly:
		return fmt.Sprintf("no application may do this; sign a user in, with %s", some(other))
	case len(want) == 0 && len(other) > 0:
		return fmt.Sprintf("no user's token may do this; use an application's token, with %s", some(other))
	case len(want) == 0:
		return ""
	}
	for _, name := range held {
		if slices.Contains(want, name) {
			if have.AppOnly {
				return fmt.Sprintf("the token has %s, which should do; a licence, a policy or an application access policy may stand against it", clean(name))
			}
			return fmt.Sprintf("the token has %s, which should do for the application; the user may lack the right (a directory role, a licence)", clean(name))
		}
	}
	has := "none"
	if len(held) > 0 {
		has = some(held)
	}
	return fmt.Sprintf("this needs one of the %s permissions %s; the token has %s. Add one to the app registration, consent to it, and get a new token", kind, some(want), has)
}

// some lists the first few names.
func some(names []string) string {
	const few = 6
	list := clean(strings.Join(names[:min(len(names), few)], ", "))
	if len(names) > few {
		list += fmt.Sprintf(" (and %d more)", len(names)-few)
	}
	return list
}
