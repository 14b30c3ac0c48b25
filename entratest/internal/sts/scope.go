package sts

import (
	"slices"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// wanted is what a scope or resource parameter asks for.
type wanted struct {
	OpenID, Profile, Email, Offline bool
	Targets                         []target // one for each resource, in the order of their first mention
}

// target is what is asked of one resource.
type target struct {
	Resource *directory.App
	Name     string   // the resource as the request wrote it; "" for bare names, which mean Microsoft Graph
	Default  bool     // {resource}/.default
	Scopes   []string // values of named delegated permissions
	Self     bool     // a client that asks for a token for itself, by its client id
}

// audience is the aud of access tokens in version 1 form.
func (t target) audience() string {
	if t.Name == "" {
		return t.Resource.ClientID
	}
	return t.Name
}

// qualified returns a scope as the request would write it.
func (t target) qualified(value string) string {
	if t.Name == "" {
		return value
	}
	return t.Name + "/" + value
}

const invalidScopeText = "The provided value for the input parameter 'scope' is not valid. "

// parseScope reads a scope parameter of the v2 endpoint for a client in a
// tenant. It does not ask for consent.
func (s *Server) parseScope(tenant *directory.Tenant, client *directory.App, scope string) (wanted, *refusal) {
	var w wanted
	for _, item := range strings.Fields(scope) {
		switch strings.ToLower(item) {
		case "openid":
			w.OpenID = true
			continue
		case "profile":
			w.Profile = true
			continue
		case "email":
			w.Email = true
			continue
		case "offline_access":
			w.Offline = true
			continue
		}
		name, value, refused := splitScope(client, item)
		if refused != nil {
			return w, refused
		}
		resource, refused := s.resource(tenant, client, name)
		if refused != nil {
			return w, refused
		}
		t := w.target(resource, name)
		t.Self = name != "" && strings.EqualFold(name, client.ClientID)
		if value == ".default" {
			t.Default = true
			continue
		}
		known, ok := resource.Scope(value)
		if !ok {
			return w, no(650053, "The application '%s' asked for scope '%s' that doesn't exist on the resource '%s'. Contact the app vendor.",
				client.Name, value, resource.ClientID)
		}
		if !slices.Contains(t.Scopes, known.Value) {
			t.Scopes = append(t.Scopes, known.Value)
		}
	}
	for _, t := range w.Targets {
		if t.Default && len(t.Scopes) > 0 {
			return w, no(70011, "The provided request must include a 'scope' input parameter. "+invalidScopeText+
				"The scope %s is not valid. .default scope can't be combined with resource-specific scopes.", scope)
		}
	}
	if len(w.Targets) == 0 && w.OpenID { // a sign-in: the token is for Graph's userinfo endpoint
		resource, refused := s.resource(tenant, client, "")
		if refused != nil {
			return w, refused
		}
		w.target(resource, "")
	}
	return w, nil
}

// splitScope parts a scope into the resource, "" for Microsoft Graph, and the
// permission.
func splitScope(client *directory.App, item string) (resource, value string, refused *refusal) {
	resource, value, ok := cutLast(item, "/")
	switch {
	case !ok && strings.EqualFold(item, client.ClientID): // the old way to ask for a token for oneself
		return item, ".default", nil
	case !ok && !isGUID(item) && !strings.ContainsAny(item, ":\"\\"):
		return "", item, nil
	case ok && value != "" && resource != "" && !strings.HasSuffix(resource, ":/"): // "https://host" has no permission
		return resource, value, nil
	}
	return "", "", no(70011, "The provided request must include a 'scope' input parameter. "+invalidScopeText+
		"The scope %s is not valid. The scope format is invalid. Scope must be in a valid URI form <https://example/scope> or a valid Guid <guid/scope>.", item)
}

// resource finds a resource by the name that a request gives it.
func (s *Server) resource(tenant *directory.Tenant, client *directory.App, name string) (*directory.App, *refusal) {
	if name == "" {
		name = directory.GraphAppID
	}
	in, where := "", "the tenant of the user"
	if tenant != nil {
		in, where = tenant.ID, tenant.Name
	}
	r, ok := s.World.Resource(in, name)
	if !ok && tenant == nil { // at common nobody has signed in yet: what the client's tenant knows will do
		r, ok = s.World.Resource(client.Tenant, name)
	}
	switch {
	case !ok || r.NoPrincipal:
		return nil, no(500011, "The resource principal named %s was not found in the tenant named %s. This can happen if the application has not been installed by the "+
			"administrator of the tenant or consented to by any user in the tenant. You might have sent your authentication request to the wrong tenant.", name, where)
	case r.Disabled:
		return nil, no(500014, "The service principal for resource '%s' is disabled. This indicate that a subscription within the tenant has lapsed, "+
			"or that the administrator for this tenant has disabled the application, preventing tokens from being issued for it.", name)
	}
	return r, nil
}

// target returns the target for a resource, making it on its first mention.
func (w *wanted) target(resource *directory.App, name string) *target {
	for i := range w.Targets {
		if w.Targets[i].Resource.ClientID == resource.ClientID {
			return &w.Targets[i]
		}
	}
	w.Targets = append(w.Targets, target{Resource: resource, Name: name})
	return &w.Targets[len(w.Targets)-1]
}

// only returns the one resource of a token request.
func (w wanted) only(scope string) (target, *refusal) {
	switch len(w.Targets) {
	case 0:
		return target{}, no(700023, invalidScopeText+"The scope '%s' does not name a resource, so there is nothing to issue an access token for.", scope)
	case 1:
		return w.Targets[0], nil
	}
	return target{}, no(700022, invalidScopeText+"The scope %s contains more than one resource: a token is for one resource only.", scope)
}

// oidc lists the sign-in scopes that were asked for. offline_access is none of
// them: it shows in the answer by the refresh token.
func (w wanted) oidc() []string {
	var l []string
	for _, o := range []struct {
		asked bool
		name  string
	}{{w.OpenID, "openid"}, {w.Profile, "profile"}, {w.Email, "email"}} {
		if o.asked {
			l = append(l, o.name)
		}
	}
	return l
}

// resourceOnly is what a resource parameter of the v1 endpoint asks for: the
// same as {resource}/.default with a sign-in and a refresh token.
func (s *Server) parseResource(tenant *directory.Tenant, client *directory.App, name string) (wanted, *refusal) {
	w := wanted{OpenID: true, Profile: true, Offline: true}
	resource, refused := s.resource(tenant, client, name)
	if refused != nil {
		return w, refused
	}
	t := w.target(resource, name)
	t.Default = true
	t.Self = strings.EqualFold(name, client.ClientID)
	return w, nil
}

// missing returns the scopes of a target that a client may not use yet for a
// user. For .default they are those of the app registration's list.
func (s *Server) missing(tenant string, client *directory.App, user string, t target) []directory.Scope {
	if t.Self {
		return nil
	}
	have := s.World.Consented(tenant, client.ClientID, t.Resource.ClientID, user)
	ask := t.Scopes
	if t.Default && len(have) == 0 {
		ask = client.RequiredAccess[t.Resource.ClientID]
	}
	var miss []directory.Scope
	for _, value := range ask {
		if sc, ok := t.Resource.Scope(value); ok && !slices.Contains(have, sc.Value) {
			miss = append(miss, sc)
		}
	}
	return miss
}

// granted returns the scopes that a token for a target carries: what was asked
// for and whatever else the client may use there, as Entra does. It refuses
// where consent is missing.
func (s *Server) granted(tenant string, client *directory.App, user *directory.User, w wanted, t target) ([]string, *refusal) {
	if client.AssignmentNeeded && len(s.World.AppRolesOf(tenant, user.ID, client.ClientID)) == 0 {
		return nil, notAssigned(user, client)
	}
	if t.Self {
		return []string{"User.Read"}, nil
	}
	have := s.World.Consented(tenant, client.ClientID, t.Resource.ClientID, user.ID)
	if client.FirstParty && !t.Resource.FirstParty && len(have) == 0 {
		return nil, notPreauthorized(client, t.Resource).as("invalid_request")
	}
	if t.Default && len(have) == 0 || len(s.missing(tenant, client, user.ID, t)) > 0 {
		return nil, noConsent(client).as("invalid_grant").sub("consent_required")
	}
	if t.Resource.AssignmentNeeded && len(s.World.AppRolesOf(tenant, user.ID, t.Resource.ClientID)) == 0 {
		return nil, notAssigned(user, t.Resource)
	}
	have = slices.DeleteFunc(slices.Clone(have), func(v string) bool { return v == "offline_access" })
	if t.Resource.ClientID == directory.GraphAppID {
		for _, o := range w.oidc() { // a sign-in needs no consent beyond the person's presence
			if !slices.Contains(have, o) {
				have = append(have, o)
			}
		}
	}
	slices.Sort(have)
	return have, nil
}

// notPreauthorized refuses an app of Microsoft's at an API that is not: nobody can
// consent to it.
func notPreauthorized(client, resource *directory.App) *refusal {
	return no(65002, "Consent between first party application '%s' and first party resource '%s' must be configured via preauthorization - "+
		"applications owned and operated by Microsoft must get approval from the API owner before requesting tokens for that API.", client.ClientID, resource.ClientID)
}

// noConsent refuses an app that nobody has allowed what it asks for.
func noConsent(client *directory.App) *refusal {
	return no(65001, "The user or administrator has not consented to use the application with ID '%s' named '%s'. "+
		"Send an interactive authorization request for this user and resource.", client.ClientID, client.Name)
}

// notAssigned refuses a person at an app that takes assigned people only.
func notAssigned(user *directory.User, app *directory.App) *refusal {
	return no(50105, "Your administrator has configured the application %s ('%s') to block users unless they are specifically granted ('assigned') access to the application. "+
		"The signed in user '%s' is blocked because they are not a direct member of a group with access, nor had access directly assigned by an administrator. "+
		"Please contact your administrator to assign access to this application.", app.Name, app.ClientID, user.UPN).as("invalid_grant")
}
