package insight

import (
	_ "embed"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fobauth/fob"
)

//go:embed data/permissions.tsv
var permissionsTable string

// Fit says whether a token suits an API, check by check.
type Fit struct {
	Summary string  `json:"summary"`
	Notice  string  `json:"notice"`
	API     API     `json:"api"`
	Method  string  `json:"method,omitempty"`
	Path    string  `json:"path,omitempty"`
	Fits    bool    `json:"fits"`
	Checks  []Check `json:"checks"`
	// Missing are the permissions of which one is needed, the least privileged
	// first; empty when the token has one, or when fob does not know the
	// operation.
	Missing []string `json:"missing,omitempty"`
	// Try is the command that gets a token that fits.
	Try string `json:"try,omitempty"`

	delegated bool
}

// Call is what a token is wanted for.
type Call struct {
	// Target is a URL to call, a resource URI, an application id, or a short
	// name such as graph, arm or vault.
	Target string
	// Method is the HTTP method; empty means GET.
	Method string
	// Tenant is the tenant id to expect; empty means any.
	Tenant string
}

// Against holds a token against what an API wants of it: the audience and its
// spelling, the kind of token, the permission that the operation needs (for
// about 110 operations of Microsoft Graph), the tenant and the times. It
// verifies nothing. The error is [ErrNoToken] when raw is none.
func Against(raw fob.Secret, call Call, now time.Time) (*Fit, error) {
	t, err := DecodeToken(raw, now)
	if err != nil {
		return nil, err
	}
	f := &Fit{Notice: NothingVerified, Method: strings.ToUpper(first(call.Method, http.MethodGet))}
	var address *url.URL
	f.API, address = apiWanted(call.Target)
	if address != nil {
		f.Path = tidy(address.Path)
	}
	f.API.Resource = tidy(f.API.Resource)
	if t.parsed == nil {
		f.Summary = "Nobody but the API can tell: " + t.Summary
		f.Checks = []Check{{CheckForm, Skipped, "", string(t.Kind), ""}}
		return f, nil
	}
	claims := t.parsed.payload
	f.kind(t)
	f.audience(claims.texts("aud"))
	f.permission(t)
	if call.Tenant != "" {
		check := Check{CheckTenant, Pass, tidy(call.Tenant), tidy(claims.text("tid")), ""}
		if !strings.EqualFold(call.Tenant, claims.text("tid")) {
			check.Result, check.Help = Fail, "the resource belongs to another tenant; ask for a token of that tenant (--tenant)"
		}
		f.Checks = append(f.Checks, check)
	}
	var v Verification
	v.times(claims, now)
	f.Checks = append(f.Checks, v.Checks...)
	f.judge()
	return f, nil
}

func (f *Fit) kind(t *Token) {
	check := Check{"kind", Pass, "an access token", "an " + string(t.Kind), ""}
	switch {
	case t.Kind == IDToken:
		check.Result, check.Help = Fail, "an ID token tells an app who signed in; APIs want the access token (fob token)"
	case t.Kind == ClientAssertion:
		check.Result, check.Found, check.Help = Fail, "a client assertion", "it proves an app to the token endpoint; exchange it for an access token"
	case t.Kind == FederatedToken:
		check.Result, check.Found, check.Help = Fail, "a token of another issuer", "exchange it for an access token of Entra (--federated-token-file)"
	case t.Kind != AccessToken:
		check.Result, check.Found = Skipped, "a "+string(t.Kind)
	}
	if t.SpeaksFor != "" && check.Result == Pass {
		check.Found = "an access token of " + map[string]string{"app": "an app itself", "user": "a user", "device": "a device"}[t.SpeaksFor]
	}
	f.Checks = append(f.Checks, check)
}

func (f *Fit) audience(found []string) {
	check := Check{CheckAudience, Fail, f.API.label(), tidy(strings.Join(found, ", ")), ""}
	accepted := append([]string{f.API.Resource}, f.API.URIs...)
	if f.API.AppID != "" {
		accepted = append(accepted, f.API.AppID)
	}
	if f.API.AppID == graphAppID && f.API.Resource != graphAppID {
		// One cloud's Graph takes no token of another's.
		accepted = []string{f.API.Resource, graphAppID}
	}
	for _, aud := range found {
		plain := strings.TrimSuffix(aud, "/")
		switch {
		case slices.Contains(accepted, aud), f.API.Name != "" && slices.Contains(accepted, plain):
			// Microsoft's own APIs take every spelling of themselves.
			check.Result = Pass
		default:
			check.Help = first(check.Help, audienceSpelling(aud, f.API.Resource))
		}
	}
	if check.Result == Fail && (check.Help == "" || f.API.Name != "") {
		is := ""
		if len(found) > 0 {
			if api := apiOf(found[0]); api.Name != "" {
				is = "the token is for " + api.Name + "; "
			}
		}
		check.Help = is + "the API answers 401. Ask for the scope " + f.scope()
	}
	f.Checks = append(f.Checks, check)
}

func (f *Fit) scope() string {
	return f.API.Resource + "/.default"
}

func (f *Fit) permission(t *Token) {
	if t.Kind != AccessToken {
		return
	}
	app := t.SpeaksFor == "app" || len(t.Scopes) == 0 && len(t.Roles) > 0
	have := t.Scopes
	scheme, what := "delegated", "scope"
	if app {
		have, scheme, what = t.Roles, "application", "role"
	}
	var names []string
	for _, p := range have {
		names = append(names, p.Name)
	}
	f.delegated = !app
	found := first(strings.Join(names, ", "), "no "+what)
	if f.API.AppID != graphAppID || f.Path == "" {
		switch {
		case len(names) == 0 && app:
			f.Checks = append(f.Checks, Check{"permission", Fail, "a role", found, "the app was granted no application permission for this API; grant one, let an administrator consent, then get a new token"})
		case len(names) == 0:
			f.Checks = append(f.Checks, Check{"permission", Fail, "a scope", found, "ask for the scopes that the call needs"})
		default:
			f.Checks = append(f.Checks, Check{"permission", Skipped, "", found, "fob does not know what this operation needs"})
		}
		return
	}
	op, ok := operation(f.Method, f.Path)
	if !ok {
		f.Checks = append(f.Checks, Check{"permission", Skipped, "", found, "fob does not know what " + f.Method + " " + f.Path + " needs; Microsoft Graph's reference page of the operation says it"})
		return
	}
	needed := slices.Concat(op.least[scheme], op.more[scheme])
	switch {
	case len(needed) == 0 && app:
		help := "an app that speaks for itself cannot do this: sign a user in (fob login)"
		if strings.HasPrefix(strings.ToLower(op.path), "/me") {
			help = "/me is the signed-in user, and this token has none: use /users/{id}, or sign a user in (fob login)"
		}
		f.Checks = append(f.Checks, Check{"permission", Fail, "a user's token", "an app-only token", help})
		return
	case len(needed) == 0:
		f.Checks = append(f.Checks, Check{"permission", Fail, "an app-only token", "a user's token", "no user can do this; use an app with an application permission"})
		return
	}
	for _, name := range names {
		if i := strings.LastIndexByte(name, '/'); i >= 0 {
			name = name[i+1:]
		}
		if slices.ContainsFunc(needed, func(n string) bool { return strings.EqualFold(n, name) }) {
			f.Checks = append(f.Checks, Check{"permission", Pass, "", name + " opens " + f.Method + " " + op.path, ""})
			return
		}
	}
	f.Missing = slices.Clone(needed)
	if len(f.Missing) > 5 {
		f.Missing = f.Missing[:5]
	}
	f.Checks = append(f.Checks, Check{"permission", Fail, strings.Join(f.Missing, " or ") + " (" + what + ")", found,
		"grant " + needed[0] + " (the least that does), consent to it, then get a new token: one that is there does not change"})
}

type graphOperation struct {
	method, path string
	least, more  map[string][]string // by scheme
}

var graphOperations = sync.OnceValue(func() map[string]*graphOperation {
	all := map[string]*graphOperation{}
	for _, row := range tableRows(permissionsTable) {
		id := row[0] + " " + row[1]
		if all[id] == nil {
			all[id] = &graphOperation{row[0], row[1], map[string][]string{}, map[string][]string{}}
		}
		all[id].least[row[2]], all[id].more[row[2]] = strings.Fields(row[3]), strings.Fields(row[4])
	}
	return all
})

// operation finds what a path of Microsoft Graph needs. Segments that are no
// word of the API are ids.
func operation(method, path string) (*graphOperation, bool) {
	path = strings.ToLower(strings.TrimRight(path, "/"))
	for _, version := range []string{"/v1.0", "/beta"} {
		path = strings.TrimPrefix(path, version)
	}
	if op, ok := graphOperations()[method+" "+path]; ok {
		return op, true
	}
	asked := strings.Split(path, "/")
	var best *graphOperation
	fewest := len(asked) + 1
	for _, op := range graphOperations() {
		known := strings.Split(op.path, "/")
		if op.method != method || len(known) != len(asked) {
			continue
		}
		ids := 0
		for i, segment := range known {
			switch {
			case segment == "{id}" && asked[i] != "":
				ids++
			case segment != asked[i]:
				ids = len(asked) + 1
			}
		}
		if ids < fewest {
			best, fewest = op, ids
		}
	}
	return best, best != nil
}

func (f *Fit) judge() {
	f.Fits = true
	var failed []string
	for _, c := range f.Checks {
		if c.Result == Fail {
			f.Fits = false
			failed = append(failed, c.Name)
		}
	}
	target := first(f.API.Name, f.API.Resource)
	if f.Fits {
		f.Summary = "The token suits " + target
		return
	}
	f.Summary = "The token does not suit " + target + ": " + strings.Join(failed, ", ")
	scope := f.scope()
	if len(f.Missing) > 0 && f.delegated {
		scope = f.API.Resource + "/" + f.Missing[0]
	}
	if shellSafe(scope) == scope { // what came from outside is put into a command only then
		f.Try = "fob token --force-refresh --scope " + scope
	}
}

// Render writes the fit for people.
func (f *Fit) Render(w io.Writer, style Style) error {
	p := newPage(w, style)
	p.title(f.Summary)
	p.text(0, f.Notice)
	p.blank()
	p.checks(f.Checks)
	if f.Try != "" {
		p.blank()
		p.line(p.paint(ToneLabel, "try: ") + p.paint(ToneTry, f.Try))
	}
	return p.err
}
