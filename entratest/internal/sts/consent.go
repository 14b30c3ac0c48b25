package sts

import (
	"cmp"
	"net/http"
	"slices"
	"strings"
	"unicode"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// ask is what an app asks one resource for, on behalf of a person.
type ask struct {
	target   target // zero for the sign-in itself
	resource *directory.App
	scopes   []directory.Scope
	signIn   bool
}

// signInScopes ask for a sign-in rather than for data. They belong to Microsoft Graph.
var signInScopes = []directory.Scope{
	{Value: "openid", Name: "Sign you in"},
	{Value: "profile", Name: "View your basic profile"},
	{Value: "email", Name: "View your email address"},
	{Value: "offline_access", Name: "Maintain access to data you have given it access to"},
}

// asked finds what a request asks for by its scopes (v2) or its resource (v1):
// the sign-in scopes first, then resource by resource.
func (s *Server) asked(tenant *directory.Tenant, app *directory.App, scope, resource string, v1 bool) ([]ask, *refusal) {
	w, refused := s.wantedAtDoor(tenant, app, scope, resource, v1)
	if refused != nil {
		return nil, refused
	}
	var asks []ask
	if graph, ok := s.World.Resource(tenant.ID, directory.GraphAppID); ok && (w.OpenID || w.Profile || w.Email || w.Offline) {
		signIn := ask{resource: graph, signIn: true}
		for i, wanted := range []bool{w.OpenID, w.Profile, w.Email, w.Offline} {
			if wanted {
				signIn.scopes = append(signIn.scopes, signInScopes[i])
			}
		}
		asks = append(asks, signIn)
	}
	for _, t := range w.Targets {
		values := t.Scopes
		if t.Default && !t.Self {
			values = app.RequiredAccess[t.Resource.ClientID]
			if len(values) == 0 && len(s.World.Consented(tenant.ID, app.ClientID, t.Resource.ClientID, "")) == 0 {
				return nil, no(650057, "Invalid resource. The client has requested access to a resource which is not listed in the requested permissions in the client's application registration. Client app ID: %s(%s). Resource value from request: %s. Resource app ID: %s.", app.ClientID, app.Name, t.Name, t.Resource.ClientID)
			}
		}
		one := ask{target: t, resource: t.Resource}
		for _, value := range values {
			if known, ok := t.Resource.Scope(value); ok {
				one.scopes = append(one.scopes, known)
			}
		}
		asks = append(asks, one)
	}
	return asks, nil
}

// wantedAtDoor reads what a request that a person answers asks for. At v1 the
// resource may be left out until the code is redeemed: then it is a sign-in.
func (s *Server) wantedAtDoor(tenant *directory.Tenant, app *directory.App, scope, resource string, v1 bool) (wanted, *refusal) {
	switch {
	case !v1:
		return s.parseScope(tenant, app, scope)
	case resource != "":
		return s.parseResource(tenant, app, resource)
	}
	return wanted{OpenID: true, Profile: true}, nil
}

// lacking is the part of what is asked that nobody has consented to yet. Who
// has let an app in at all is not asked again whether it may sign them in.
func (s *Server) lacking(tenant string, app *directory.App, user string, asked []ask) []ask {
	var left []ask
	known := slices.ContainsFunc(asked, func(a ask) bool {
		return len(s.World.Consented(tenant, app.ClientID, a.resource.ClientID, user)) > 0
	})
	for _, a := range asked {
		switch {
		case a.signIn && !known:
			left = append(left, a)
		case !a.signIn:
			if scopes := s.missing(tenant, app, user, a.target); len(scopes) > 0 {
				left = append(left, ask{resource: a.resource, scopes: scopes})
			}
		}
	}
	return left
}

// permissions puts what is asked in words.
func permissions(asked []ask) []permission {
	var all []permission
	for _, a := range asked {
		for _, one := range a.scopes {
			all = append(all, permission{inWords(cmp.Or(one.UserName, one.Name), one.Value), one.Value, a.resource.Name})
		}
	}
	return all
}

// inWords is the name of a permission. Those of Microsoft Graph have none
// here, but their values read Thing.Verb or Thing.Verb.All.
func inWords(name, value string) string {
	if name != "" && name != value {
		return name
	}
	if value == "User.Read" {
		return "Sign you in and read your profile"
	}
	thing, rest, _ := strings.Cut(value, ".")
	verb, reach, _ := strings.Cut(rest, ".")
	does, ok := map[string]string{"Read": "Read", "ReadBasic": "Read basic", "ReadWrite": "Read and write", "Send": "Send",
		"Create": "Create", "Manage": "Manage", "Invite": "Invite"}[verb]
	if !ok {
		return value
	}
	var words strings.Builder
	words.WriteString(does + " ")
	for i, c := range thing { // AuditLog: audit log
		if i > 0 && unicode.IsUpper(c) && unicode.IsLower(rune(thing[i-1])) {
			words.WriteByte(' ')
		}
		words.WriteRune(unicode.ToLower(c))
	}
	if reach == "All" {
		words.WriteString(" data of your whole organization")
	} else if reach == "Shared" {
		words.WriteString(" that are shared with you")
	}
	return words.String()
}

// consent makes sure that the visitor has allowed the app what it asks for,
// with prompts as the app would have them. Where that takes a page, it has shown
// the page and returns false.
func (s *Server) consent(w http.ResponseWriter, r *http.Request, b browser, d door, in *visitor, asked []ask, prompt []string) (bool, *refusal) {
	tenant := in.user.Tenant
	lacking := s.lacking(tenant, d.app, in.user.ID, asked)
	again := slices.Contains(prompt, "consent") || slices.Contains(prompt, "admin_consent")
	accepted := b.does() == "accept"
	foreign := slices.IndexFunc(lacking, func(one ask) bool { return d.app.FirstParty && !one.resource.FirstParty })
	switch {
	case len(lacking) == 0 && (!again || accepted):
		return true, nil
	case foreign >= 0:
		return false, notPreauthorized(d.app, lacking[foreign].resource)
	case slices.Contains(prompt, "none"):
		return false, noConsent(d.app).as("consent_required")
	case !in.user.Admin() && slices.ContainsFunc(lacking, ask.adminOnly):
		s.askAdministrator(w, r, d, in, lacking)
		return false, nil
	case !accepted:
		shown := lacking
		if again {
			shown = asked
		}
		consentPage{action: d.action, canary: d.canary, leadsTo: d.leadsTo, org: d.org(), app: d.appName(), who: in.person(),
			permissions: permissions(shown), admin: in.user.Admin()}.page().send(w)
		return false, nil
	}
	holder := in.user.ID
	if in.user.Admin() && b.answer.Get("everybody") != "" {
		holder = ""
	}
	s.grant(tenant, d.app, holder, lacking)
	s.logConsent(r, in.user, d.app, holder == "", lacking)
	return true, nil
}

// askAdministrator says that somebody else has to allow it.
func (s *Server) askAdministrator(w http.ResponseWriter, r *http.Request, d door, in *visitor, lacking []ask) {
	refused := no(90094, "The grant requires admin permission: %s asks for access that only an administrator can allow.", d.app.Name)
	approvalPage{action: d.action, canary: d.canary, leadsTo: d.leadsTo, org: d.org(), app: d.appName(), who: in.person(),
		permissions: permissions(lacking), details: s.details(w, r, refused)}.page().send(w)
}

// adminOnly says whether only an administrator may allow it.
func (a ask) adminOnly() bool {
	return slices.ContainsFunc(a.scopes, func(one directory.Scope) bool { return one.AdminOnly })
}

// grant records consent by user, or by an administrator for everybody. An app
// of another tenant becomes known here by it.
func (s *Server) grant(tenant string, app *directory.App, user string, allowed []ask) {
	if _, known := s.World.App(tenant, app.ClientID); !known {
		s.World.Install(tenant, app.ClientID)
	}
	for _, a := range allowed {
		values := make([]string, 0, len(a.scopes))
		for _, one := range a.scopes {
			values = append(values, one.Value)
		}
		s.World.Grant(directory.Grant{Tenant: tenant, Client: app.ClientID, Resource: a.resource.ClientID, User: user, Scopes: values})
	}
}
