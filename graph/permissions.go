package graph

import (
	_ "embed"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/go-json-experiment/json"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/internal/spelling"
)

//go:embed permissions.tsv
var permissionTable string

// Permissions returns which of Microsoft Graph's permissions allow a request:
// with a user's token (delegated) and with a token of the application itself.
// Any one entry of a list will do, see [Rights.Has]; those with the least
// rights come first. An empty list means that such tokens are not accepted.
// path is what follows the host, with or without the version and with real ids
// in it. ok says whether the endpoint is known.
func Permissions(method, path string) (delegated, application []string, ok bool) {
	method = strings.ToUpper(method)
	if method == http.MethodHead || method == "" {
		method = http.MethodGet
	}
	segments := templateOf(path)
	if method == http.MethodGet {
		// The references to what a list holds are as free as the list. Elsewhere
		// they are what is added and removed.
		segments = slices.DeleteFunc(segments, func(s string) bool { return s == "$ref" })
	}
	if row := rowOf(method, segments); row != nil {
		return row.delegated, row.application, true
	}
	if len(segments) > 1 && segments[0] == "me" {
		if row := rowOf(method, slices.Concat([]string{"users", "{id}"}, segments[1:])); row != nil {
			return row.delegated, nil, true // an application is nobody
		}
	}
	return nil, nil, false
}

func rowOf(method string, segments []string) *permissionRow {
	if len(segments) == 0 || segments[0] == "$batch" {
		return nil
	}
	for _, row := range permissions() {
		if row.method == method && row.covers(segments) {
			return row
		}
	}
	return nil
}

// permissionRow is one method and path template, "{id}" standing for any id.
type permissionRow struct {
	method                 string
	segments               []string
	delegated, application []string
}

// covers reports whether a path, as templateOf writes it, is one of the row. A
// qualified name is a function of the row's, or a cast, which narrows what a
// list holds and changes no permission.
func (r *permissionRow) covers(path []string) bool {
	at := 0
	for _, segment := range path {
		name, qualified := strings.CutPrefix(segment, "microsoft.graph.")
		switch {
		case at < len(r.segments) && r.segments[at] == name:
			at++
		case qualified:
		case at < len(r.segments) && r.segments[at] == "{id}" && !strings.HasPrefix(name, "$"):
			at++
		default:
			return false
		}
	}
	return at == len(r.segments)
}

// permissions is the table, plain words before ids.
var permissions = sync.OnceValue(func() []*permissionRow {
	var rows []*permissionRow
	for line := range strings.Lines(permissionTable) {
		column := strings.Split(strings.TrimRight(line, "\r\n"), "\t")
		if len(column) != 5 || column[0] == "method" {
			continue
		}
		segments := templateOf(column[1])
		i := slices.IndexFunc(rows, func(r *permissionRow) bool {
			return r.method == column[0] && slices.Equal(r.segments, segments)
		})
		if i < 0 {
			i = len(rows)
			rows = append(rows, &permissionRow{method: column[0], segments: segments})
		}
		names := closestFirst(column[0], column[3]+","+column[4])
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

// SimilarSegment returns what unknown, a part of path that Microsoft Graph said
// it does not know there, may have been meant to be: "users" for "usrs" in
// "/v1.0/usrs/1", in lower case. It is empty if nothing is much like it, or if
// the table of permissions does not have the parts before it.
func SimilarSegment(path, unknown string) string {
	segments := templateOf(path)
	if len(segments) > 0 && segments[0] == "me" {
		segments = slices.Concat([]string{"users", "{id}"}, segments[1:])
	}
	rows := permissions()
	for i, segment := range segments {
		var next []*permissionRow
		for _, r := range rows {
			if i < len(r.segments) && (r.segments[i] == segment || r.segments[i] == "{id}" && !strings.HasPrefix(segment, "$")) {
				next = append(next, r)
			}
		}
		if len(next) > 0 {
			rows = next
			continue
		}
		if len(segment) > maxSegment || segment != strings.ToLower(unknown) {
			return ""
		}
		best, distance := "", 2+len(segment)/6
		for _, r := range rows {
			if i >= len(r.segments) || r.segments[i] == "{id}" {
				continue
			}
			if d := spelling.Distance(r.segments[i], segment); d < distance {
				best, distance = r.segments[i], d
			}
		}
		return best
	}
	return ""
}

// maxSegment is more than any part of a path has that is no id.
const maxSegment = 100

// closestFirst reads the names of a row, the least of them before the others,
// each in the order of the alphabet, and puts first what a person would choose:
// to read, what cannot write; then what is of the same service as the least.
func closestFirst(method, list string) []string {
	var names []string
	for name := range strings.SplitSeq(list, ",") {
		if name = strings.TrimSpace(name); name != "" && !strings.HasPrefix(name, "(") {
			names = append(names, name)
		}
	}
	readsMore := func(name string) int {
		if method == http.MethodGet && (strings.Contains(name, "Write") || !strings.Contains(name, ".Read")) {
			return 1
		}
		return 0
	}
	// What is least stays first, unless it is more than reading takes.
	if i := slices.IndexFunc(names, func(name string) bool { return readsMore(name) == 0 }); i > 0 {
		least := names[i]
		names = slices.Insert(slices.Delete(names, i, i+1), 0, least)
	}
	if len(names) < 3 {
		return names
	}
	service, _, _ := strings.Cut(names[0], ".")
	distance := func(name string) int {
		if !strings.HasPrefix(name, service+".") {
			return 2 + readsMore(name)
		}
		return readsMore(name)
	}
	slices.SortStableFunc(names[1:], func(a, b string) int { return distance(a) - distance(b) })
	return names
}

// inBrackets is a segment with a key, "users('ada@contoso.com')", or with the
// parameters of a function, "delta(token='latest')" or "search(q='plan')".
var inBrackets = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^([a-z.]+)\((.*)\)$`) })

// openKey is the beginning of one that goes on behind a slash: its text is in
// quotes that are not closed.
var openKey = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[a-z.]+\((?:[a-z]+=)?'[^']*(?:''[^']*)*$`) })

// templateOf writes a path like the table: lower case, without the version and
// what only says how the answer is wanted, keys as segments of their own, and
// every item of every drive by its id.
func templateOf(path string) []string {
	path, _, _ = strings.Cut(strings.ToLower(path), "?")
	var whole []string
	key, inDrive := "", false
	for i, s := range strings.Split(strings.Trim(path, "/"), "/") {
		if plain, err := url.PathUnescape(s); err == nil {
			s = plain
		}
		switch s = key + s; {
		case !inDrive && openKey().MatchString(s):
			key = s + "/"
			continue
		case s == "" || i == 0 && isVersion(s) || s == "$count" || s == "$value":
			continue
		}
		key = ""
		inDrive = inDrive || strings.HasSuffix(s, ":") // file names are no keys
		m := inBrackets().FindStringSubmatch(s)
		switch {
		case m == nil:
			whole = append(whole, s)
		case m[2] == "" || slices.Contains([]string{"delta", "microsoft.graph.delta", "search", "microsoft.graph.search"}, m[1]):
			whole = append(whole, m[1])
		default:
			whole = append(whole, m[1], "{id}")
		}
	}
	if key != "" {
		whole = append(whole, key) // is never closed
	}
	return ofDrive(ofMail(whole))
}

// ofMail writes a folder within another one as one of the mailbox, and the
// messages of a folder as those of the mailbox.
func ofMail(path []string) []string {
	for i := slices.Index(path, "mailfolders"); i >= 0 && i+2 < len(path); {
		switch path[i+2] {
		case "childfolders":
			path = slices.Delete(path, i+1, i+3)
		case "messages":
			return slices.Delete(path, i, i+2)
		default:
			return path
		}
	}
	return path
}

// ofDrive writes the path of a drive, whoever's it is, as /drives/{id}, and that
// of an item in it, however it is named, as /drives/{id}/items/{id}.
func ofDrive(path []string) []string {
	var rest []string
	switch {
	case len(path) >= 2 && path[0] == "me" && path[1] == "drive":
		rest = path[2:]
	case len(path) >= 3 && (path[0] == "users" || path[0] == "groups" || path[0] == "sites") && path[2] == "drive":
		rest = path[3:]
	case len(path) >= 2 && path[0] == "drives":
		rest = path[2:]
	default:
		return path
	}
	drive := []string{"drives", "{id}"}
	if len(rest) == 0 {
		return drive
	}
	item, byPath := 0, false
	switch name, colon := strings.CutSuffix(rest[0], ":"); {
	case name == "root":
		item, byPath = 1, colon
	case (name == "items" || name == "special") && len(rest) > 1:
		item, byPath = 2, strings.HasSuffix(rest[1], ":")
	default:
		return append(drive, rest...)
	}
	for byPath && item < len(rest) { // up to the colon that ends the path
		byPath = !strings.HasSuffix(rest[item], ":")
		item++
	}
	return slices.Concat(drive, []string{"items", "{id}"}, rest[item:])
}

// Rights are the permissions that a token carries.
type Rights struct {
	Scopes  []string // delegated permissions, from the claim scp
	Roles   []string // application permissions, from the claim roles
	AppOnly bool     // the token speaks for the application, without a user
}

// Has reports whether the rights contain an entry of the lists of
// [Permissions]: a permission, or several joined by " and " that are needed
// together. An entry that says for what it is meant ("Group.ReadWrite.All for a
// group"), because the address does not tell, is had by nobody for sure.
func (r Rights) Has(entry string) bool {
	held := r.Scopes
	if r.AppOnly {
		held = r.Roles
	}
	for name := range strings.SplitSeq(entry, " and ") {
		if !slices.Contains(held, name) {
			return false
		}
	}
	return true
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
	if i := slices.IndexFunc(want, have.Has); i >= 0 {
		if have.AppOnly {
			return fmt.Sprintf("the token has %s, which should do; a licence, a policy or an application access policy may stand against it", some(want[i:i+1]))
		}
		return fmt.Sprintf("the token has %s, which should do for the application; the user may lack the right (a directory role, a licence)", some(want[i:i+1]))
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
