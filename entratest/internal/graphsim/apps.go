package graphsim

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

var applicationType = &entityType{name: "application", set: "applications", bases: []string{"directoryObject"}, strict: true, keys: []string{"appId", "uniqueName"}, expands: []string{"owners"},
	value: func(v any, name string) (any, bool) { return applicationValue(v.(*directory.App), name) }}

func applicationValue(a *directory.App, name string) (any, bool) {
	switch name {
	case "id":
		return a.ObjectID, true
	case "appId":
		return a.ClientID, true
	case "displayName":
		return a.Name, true
	case "createdDateTime":
		return date(a.Created), true
	case "signInAudience":
		return string(a.Audience), true
	case "identifierUris":
		return append([]string{}, a.IdentifierURIs...), true
	case "isFallbackPublicClient":
		return a.AllowPublicFlows, true
	case "owners": // of a filter that counts them
		return a.Owners, true
	case "passwordCredentials":
		return passwords(a.Secrets), true
	case "keyCredentials":
		return keys(a), true
	case "appRoles":
		return appRoles(a), true
	case "api":
		var version any
		if a.TokenVersion != 0 {
			version = a.TokenVersion
		}
		trusted := []object{}
		for _, client := range slices.Sorted(maps.Keys(a.PreAuthorized)) {
			ids := []string{}
			for _, value := range a.PreAuthorized[client] {
				if s, ok := a.Scope(value); ok {
					ids = append(ids, s.ID)
				}
			}
			trusted = append(trusted, object{{"appId", client}, {"delegatedPermissionIds", ids}})
		}
		return object{{"acceptMappedClaims", a.More["api.acceptMappedClaims"]}, {"knownClientApplications", append([]string{}, a.KnownClients...)}, {"oauth2PermissionScopes", scopes(a)},
			{"preAuthorizedApplications", trusted}, {"requestedAccessTokenVersion", version}}, true
	case "web":
		return object{{"homePageUrl", text(a.HomePage)}, {"logoutUrl", text(a.LogoutURL)}, {"redirectUris", append([]string{}, a.WebRedirects...)},
			{"implicitGrantSettings", object{{"enableAccessTokenIssuance", a.AccessTokenImplicit}, {"enableIdTokenIssuance", a.IDTokenImplicit}}}}, true
	case "spa":
		return object{{"redirectUris", append([]string{}, a.SPARedirects...)}}, true
	case "publicClient":
		return object{{"redirectUris", append([]string{}, a.NativeRedirects...)}}, true
	case "requiredResourceAccess":
		return requiredAccess(a), true
	case "groupMembershipClaims":
		return text(a.GroupClaims), true
	case "optionalClaims":
		if _, said := a.More[name]; !said && len(a.OptionalClaims)+len(a.IDTokenClaims) > 0 {
			return object{{"accessToken", optionalClaims(a.OptionalClaims)}, {"idToken", optionalClaims(a.IDTokenClaims)}, {"saml2Token", []object{}}}, true
		}
	}
	value, ok := a.More[name]
	return value, ok
}

func optionalClaims(names []string) []object {
	out := []object{}
	for _, name := range names {
		out = append(out, object{{"additionalProperties", []string{}}, {"essential", false}, {"name", name}, {"source", nil}})
	}
	return out
}

// claimNames are the names of the optional claims of one kind of token.
func claimNames(optional any, token string) []string {
	var names []string
	for _, claim := range list(inside(optional, token)) {
		names = append(names, str(inside(claim, "name")))
	}
	return names
}

// requiredAccess shows what a registration asks its resources for.
func requiredAccess(a *directory.App) []object {
	out := []object{}
	for _, r := range a.Required() {
		access := []object{}
		for _, id := range r.Scopes {
			access = append(access, object{{"id", id}, {"type", "Scope"}})
		}
		for _, id := range r.Roles {
			access = append(access, object{{"id", id}, {"type", "Role"}})
		}
		out = append(out, object{{"resourceAppId", r.Resource}, {"resourceAccess", access}})
	}
	return out
}

// required is a requiredResourceAccess that was read: resource client ids to
// values of scopes and of app roles.
type required struct{ scopes, roles map[string][]string }

// readRequired reads the requiredResourceAccess of a body, if it has one, or
// answers 400. Entra does not look whether the ids mean anything; those that do
// are what .default asks for.
func (c *call) readRequired(given fields) bool {
	for i, f := range given {
		if f.name != "requiredResourceAccess" {
			continue
		}
		read := required{map[string][]string{}, map[string][]string{}}
		for _, r := range list(f.value) {
			id := strings.ToLower(str(inside(r, "resourceAppId")))
			resource, known := c.World.Registration(id)
			if !known {
				resource = &directory.App{}
			}
			for _, a := range list(inside(r, "resourceAccess")) {
				value := strings.ToLower(str(inside(a, "id")))
				switch kind := str(inside(a, "type")); {
				case id == "" || value == "" || kind != "Scope" && kind != "Role":
					c.invalid(errors.New("Invalid value specified for property 'requiredResourceAccess' of resource 'Application'."))
					return false
				case kind == "Scope":
					if at := slices.IndexFunc(resource.Scopes, func(s directory.Scope) bool { return strings.EqualFold(s.ID, value) }); at >= 0 {
						value = resource.Scopes[at].Value
					}
					read.scopes[id] = append(read.scopes[id], value)
				default:
					if at := slices.IndexFunc(resource.AppRoles, func(r directory.AppRole) bool { return strings.EqualFold(r.ID, value) }); at >= 0 {
						value = resource.AppRoles[at].Value
					}
					read.roles[id] = append(read.roles[id], value)
				}
			}
		}
		given[i].value = read
	}
	return true
}

func appRoles(a *directory.App) []object {
	out := []object{}
	for _, r := range a.AppRoles {
		types := []string{}
		if r.ForUsers {
			types = append(types, "User")
		}
		if r.ForApps {
			types = append(types, "Application")
		}
		out = append(out, object{{"allowedMemberTypes", types}, {"description", cmp.Or(r.Description, r.Name)}, {"displayName", r.Name}, {"id", r.ID}, {"isEnabled", !r.Disabled},
			{"origin", "Application"}, {"value", r.Value}})
	}
	return out
}

func scopes(a *directory.App) []object {
	out := []object{}
	for _, s := range a.Scopes {
		kind := "User"
		if s.AdminOnly {
			kind = "Admin"
		}
		if s.Description == "" && s.UserName == "" { // not from Graph, which wants a description
			s.Description, s.UserName, s.UserDescription = s.Name, s.Name, s.Name
		}
		out = append(out, object{{"adminConsentDescription", text(s.Description)}, {"adminConsentDisplayName", s.Name}, {"id", s.ID}, {"isEnabled", !s.Disabled}, {"type", kind},
			{"userConsentDescription", text(s.UserDescription)}, {"userConsentDisplayName", text(s.UserName)}, {"value", s.Value}})
	}
	return out
}

// ownedOnly says whether the token is an app's that may only see to apps of its
// own.
func (c *call) ownedOnly() bool {
	have := c.token.permissions()
	return !c.token.delegated() && slices.Contains(have, "Application.ReadWrite.OwnedBy") &&
		!slices.ContainsFunc(have, func(p string) bool {
			return p == "Application.Read.All" || p == "Application.ReadWrite.All" || p == "Directory.Read.All" || p == "Directory.ReadWrite.All"
		})
}

func (c *call) owned(a *directory.App) bool {
	return slices.Contains(a.Owners, c.token.text("oid"))
}

// registrations are the apps that are registered in the tenant.
func (c *call) registrations() []any {
	var rows []any
	for _, a := range c.World.Apps(c.tenant()) {
		if a.Tenant == c.tenant() {
			rows = append(rows, a)
		}
	}
	return rows
}

func (c *call) applications() {
	c.list(applicationType, collection, c.registrations)
}

// lookupApp finds a registration by its object id.
func (c *call) lookupApp(id string) (*directory.App, bool) {
	for _, v := range c.registrations() {
		if a := v.(*directory.App); strings.EqualFold(a.ObjectID, id) {
			return a, true
		}
	}
	return nil, false
}

// findApp looks a registration up, or answers 404; 403 if it is to be changed
// by an app that may only change its own.
func (c *call) findApp(key string) (*directory.App, bool) {
	a, ok := c.lookupApp(key)
	if !ok {
		c.notFound(key)
		return nil, false
	}
	if c.r.Method != http.MethodGet && c.ownedOnly() && !c.owned(a) {
		c.denied()
		return nil, false
	}
	return a, true
}

func (c *call) application() { c.one(applicationType) }

var appReadOnly = []string{"id", "appId", "createdDateTime", "deletedDateTime", "publisherDomain", "passwordCredentials", "certification", "disabledByMicrosoftStatus", "verifiedPublisher"}

func (c *call) createApplication() {
	given, ok := c.fields(applicationType, appReadOnly)
	if !ok || !c.require(given, applicationType, "displayName") || !c.readRequired(given) {
		return
	}
	t, _ := c.World.Tenant(c.tenant())
	a := &directory.App{ClientID: c.World.NewID("client"), ObjectID: c.World.NewID("application"), Tenant: c.tenant(), Audience: directory.MyOrg,
		NoPrincipal: true, Created: c.World.Now(), Owners: []string{c.token.text("oid")}, More: map[string]any{"publisherDomain": slices.Concat(t.Domains, []string{""})[0]}}
	if err := setApp(a, given); err != nil {
		c.invalid(err)
		return
	}
	if !c.conflict(c.World.CreateApp(a), "identifierUris") {
		c.created("applications/$entity", "/applications/"+a.ObjectID, applicationType.show(a, nil))
	}
}

// setApp fills a registration from the fields of a body.
func setApp(a *directory.App, given fields) error {
	for _, f := range given {
		wrong := fmt.Errorf("Invalid value specified for property '%s' of resource 'Application'.", f.name)
		switch f.name {
		case "displayName":
			if a.Name = str(f.value); a.Name == "" {
				return wrong
			}
		case "signInAudience":
			a.Audience = directory.Audience(str(f.value))
			if !slices.Contains([]directory.Audience{directory.MyOrg, directory.MultipleOrgs, directory.OrgsAndPeople, "PersonalMicrosoftAccount"}, a.Audience) {
				return wrong
			}
		case "identifierUris":
			a.IdentifierURIs = stringsIn(f.value)
		case "isFallbackPublicClient":
			a.AllowPublicFlows, _ = f.value.(bool)
		case "web":
			if v := inside(f.value, "redirectUris"); v != nil {
				a.WebRedirects = stringsIn(v)
			}
			if v := inside(f.value, "implicitGrantSettings"); v != nil {
				a.IDTokenImplicit, _ = inside(v, "enableIdTokenIssuance").(bool)
				a.AccessTokenImplicit, _ = inside(v, "enableAccessTokenIssuance").(bool)
			}
			web, _ := f.value.(map[string]any)
			for name, into := range map[string]*string{"homePageUrl": &a.HomePage, "logoutUrl": &a.LogoutURL} {
				if v, said := web[name]; said {
					*into = str(v)
				}
			}
		case "spa":
			a.SPARedirects = stringsIn(inside(f.value, "redirectUris"))
		case "publicClient":
			a.NativeRedirects = stringsIn(inside(f.value, "redirectUris"))
		case "api":
			api, _ := f.value.(map[string]any)
			if v, said := api["requestedAccessTokenVersion"]; said {
				version, _ := v.(float64)
				if v != nil && version != 1 && version != 2 {
					return wrong
				}
				a.TokenVersion = int(version)
			}
			if v, said := api["knownClientApplications"]; said {
				a.KnownClients = stringsIn(v)
			}
			if v, said := api["acceptMappedClaims"]; said {
				keepMore(a, "api.acceptMappedClaims", v)
			}
			if v := inside(f.value, "oauth2PermissionScopes"); v != nil {
				a.Scopes = nil
				for _, s := range list(v) {
					a.Scopes = append(a.Scopes, directory.Scope{ID: str(inside(s, "id")), Value: str(inside(s, "value")),
						Name: str(inside(s, "adminConsentDisplayName")), AdminOnly: inside(s, "type") == "Admin", Disabled: inside(s, "isEnabled") == false,
						Description: str(inside(s, "adminConsentDescription")), UserName: str(inside(s, "userConsentDisplayName")), UserDescription: str(inside(s, "userConsentDescription"))})
				}
			}
			if v := inside(f.value, "preAuthorizedApplications"); v != nil {
				a.PreAuthorized = map[string][]string{}
				for _, p := range list(v) {
					var values []string
					for _, id := range stringsIn(inside(p, "delegatedPermissionIds")) {
						i := slices.IndexFunc(a.Scopes, func(s directory.Scope) bool { return strings.EqualFold(s.ID, id) })
						if i < 0 {
							return wrong
						}
						values = append(values, a.Scopes[i].Value)
					}
					a.PreAuthorized[strings.ToLower(str(inside(p, "appId")))] = values
				}
			}
		case "appRoles":
			a.AppRoles = nil
			for _, r := range list(f.value) {
				types := stringsIn(inside(r, "allowedMemberTypes"))
				a.AppRoles = append(a.AppRoles, directory.AppRole{ID: str(inside(r, "id")), Value: str(inside(r, "value")), Name: str(inside(r, "displayName")),
					Description: str(inside(r, "description")), Disabled: inside(r, "isEnabled") == false, ForUsers: slices.Contains(types, "User"), ForApps: slices.Contains(types, "Application")})
			}
		case "requiredResourceAccess":
			read, _ := f.value.(required)
			a.RequiredAccess, a.RequiredRoles = read.scopes, read.roles
		case "keyCredentials":
			certificates, err := certificatesIn(f.value, a)
			switch dates := (credentialError{}); {
			case errors.As(err, &dates):
				return err
			case err != nil:
				return wrong
			}
			a.Certificates = certificates
		case "groupMembershipClaims":
			if a.GroupClaims = str(f.value); !directory.GoodGroupClaims(a.GroupClaims) {
				return wrong
			}
		case "optionalClaims":
			a.OptionalClaims, a.IDTokenClaims = claimNames(f.value, "accessToken"), claimNames(f.value, "idToken")
			keepMore(a, f.name, f.value)
		default:
			keepMore(a, f.name, f.value)
		}
	}
	return nil
}

func keepMore(a *directory.App, name string, value any) {
	if a.More == nil {
		a.More = map[string]any{}
	}
	a.More[name] = value
}

func (c *call) updateApplication() {
	given, ok := c.fields(applicationType, appReadOnly)
	if !ok || !c.readRequired(given) {
		return
	}
	a, ok := c.findApp(c.arg(0))
	if !ok {
		return
	}
	trial := *a
	trial.More = maps.Clone(a.More)
	if err := setApp(&trial, given); err != nil {
		c.invalid(err)
		return
	}
	for _, f := range given {
		for _, uri := range stringsIn(f.value) {
			if other, taken := c.World.Resource(c.tenant(), uri); f.name == "identifierUris" && taken && other.ClientID != a.ClientID {
				c.conflict(directory.ErrConflict, "identifierUris")
				return
			}
		}
	}
	c.World.UpdateApp(a.ClientID, func(a *directory.App) { _ = setApp(a, given) })
	c.noContent()
}

func (c *call) deleteApplication() {
	if a, ok := c.findApp(c.arg(0)); ok && c.noOptions() {
		c.World.DeleteApp(c.tenant(), a.ClientID)
		c.noContent()
	}
}

func (c *call) addAppOwner() {
	v, ok := c.reference()
	if !ok {
		return
	}
	if a, ok := c.findApp(c.arg(0)); ok {
		c.own(a, false, v)
	}
}

func (c *call) removeAppOwner() {
	if a, ok := c.findApp(c.arg(0)); ok && c.noOptions() {
		c.disown(a, false)
	}
}

func (c *call) addPrincipalOwner() {
	v, ok := c.reference()
	if !ok {
		return
	}
	if p, ok := c.findPrincipal(c.arg(0)); ok {
		c.own(p.app, true, v)
	}
}

func (c *call) removePrincipalOwner() {
	if p, ok := c.findPrincipal(c.arg(0)); ok && c.noOptions() {
		c.disown(p.app, true)
	}
}

// own makes a user or a service principal an owner of a registration, or of its
// service principal here.
func (c *call) own(a *directory.App, principal bool, owner any) {
	if t := typeOf(owner); t != userType && t != principalType {
		c.invalid(errors.New("An invalid operation was included in the following modified references: 'owners'."))
		return
	}
	err := c.changeOwners(a, principal, func(owners *[]string) error { return refer(owners, idOf(owner), "owners", "") })
	if !c.conflict(err, "owners") {
		c.noContent()
	}
}

// disown takes the owner away that the path ends with.
func (c *call) disown(a *directory.App, principal bool) {
	err := c.changeOwners(a, principal, func(owners *[]string) error {
		if !unrefer(owners, c.arg(1)) {
			return directory.ErrNotFound
		}
		return nil
	})
	if err != nil {
		c.notFound(c.arg(1))
		return
	}
	c.noContent()
}

func (c *call) changeOwners(a *directory.App, principal bool, change func(*[]string) error) error {
	var err error
	c.World.UpdateApp(a.ClientID, func(a *directory.App) {
		if !principal {
			err = change(&a.Owners)
			return
		}
		owners := slices.Clone(a.PrincipalOwners[c.tenant()])
		if err = change(&owners); err != nil {
			return
		}
		if a.PrincipalOwners == nil {
			a.PrincipalOwners = map[string][]string{}
		}
		a.PrincipalOwners[c.tenant()] = owners
	})
	return err
}

// federated is a federated credential of an app.
type federated struct {
	directory.FederatedCredential
	app string
}

func (f federated) id() string {
	if f.ID != "" {
		return f.ID
	}
	return derivedID("federated", f.app, f.Name)
}

var federatedType = &entityType{name: "federatedIdentityCredential", set: "federatedIdentityCredentials", keys: []string{"name"},
	value: func(v any, name string) (any, bool) {
		f := v.(federated)
		switch name {
		case "id":
			return f.id(), true
		case "name":
			return f.Name, true
		case "issuer":
			return f.Issuer, true
		case "subject":
			return f.Subject, true
		case "audiences":
			return []string{f.Audience}, true
		case "description":
			return text(f.Description), true
		}
		return nil, false
	}}

func federatedOf(a *directory.App) []any {
	var rows []any
	for _, f := range a.Federated {
		rows = append(rows, federated{f, a.ClientID})
	}
	return rows
}

func federatedContext(a *directory.App) string {
	return "applications('" + a.ObjectID + "')/federatedIdentityCredentials"
}

func (c *call) federatedCredentials() {
	q, ok := c.query(federatedType, collection&^expandable)
	if !ok {
		return
	}
	if a, ok := c.findApp(c.arg(0)); ok {
		c.collect(q, federatedType, federatedContext(a), federatedOf(a), func(v any) object { return federatedType.show(v, q.selected) })
	}
}

// findFederated looks a federated credential up by its id or its name, or
// answers 404.
func (c *call) findFederated() (*directory.App, int, bool) {
	a, ok := c.findApp(c.arg(0))
	if !ok {
		return nil, 0, false
	}
	i := slices.IndexFunc(federatedOf(a), func(v any) bool {
		f := v.(federated)
		return strings.EqualFold(f.id(), c.arg(1)) || f.Name == c.arg(1)
	})
	if i < 0 {
		c.notFound(c.arg(1))
	}
	return a, i, i >= 0
}

func (c *call) federatedCredential() {
	q, ok := c.query(federatedType, 0)
	if !ok {
		return
	}
	if a, i, ok := c.findFederated(); ok {
		c.entity(federatedContext(a)+q.columns()+"/$entity", federatedType.show(federatedOf(a)[i], q.selected))
	}
}

func setFederated(f *directory.FederatedCredential, given fields) error {
	for _, field := range given {
		switch field.name {
		case "name":
			f.Name = str(field.value)
		case "issuer":
			f.Issuer, f.Keys = str(field.value), nil
		case "subject":
			f.Subject = str(field.value)
		case "description":
			f.Description = str(field.value)
		case "audiences":
			audiences := stringsIn(field.value)
			if len(audiences) != 1 {
				return errors.New("Invalid value specified for property 'audiences' of resource 'FederatedIdentityCredential': give one.")
			}
			f.Audience = audiences[0]
		}
	}
	return nil
}

func (c *call) addFederatedCredential() {
	given, ok := c.fields(federatedType, []string{"id"})
	if !ok || !c.require(given, federatedType, "audiences", "issuer", "name", "subject") {
		return
	}
	a, ok := c.findApp(c.arg(0))
	if !ok {
		return
	}
	f := directory.FederatedCredential{ID: c.World.NewID("federated")}
	if err := setFederated(&f, given); err != nil {
		c.invalid(err)
		return
	}
	const most = 20
	for _, old := range a.Federated {
		if old.Name == f.Name || old.Issuer == f.Issuer && old.Subject == f.Subject {
			c.refuse(http.StatusConflict, "Request_MultipleObjectsWithSameKeyValue", "FederatedIdentityCredential with name "+f.Name+" already exists, or another one has its issuer and subject.")
			return
		}
	}
	if len(a.Federated) >= most {
		c.invalid(fmt.Errorf("An application has at most %d federated identity credentials.", most))
		return
	}
	c.World.UpdateApp(a.ClientID, func(a *directory.App) { a.Federated = append(a.Federated, f) })
	c.created(federatedContext(a)+"/$entity", "/applications/"+a.ObjectID+"/federatedIdentityCredentials/"+f.ID, federatedType.show(federated{f, a.ClientID}, nil))
}

func (c *call) updateFederatedCredential() {
	given, ok := c.fields(federatedType, []string{"id", "name"})
	if !ok {
		return
	}
	a, i, ok := c.findFederated()
	if !ok {
		return
	}
	f := a.Federated[i]
	if err := setFederated(&f, given); err != nil {
		c.invalid(err)
		return
	}
	name := f.Name
	c.World.UpdateApp(a.ClientID, func(a *directory.App) {
		for i := range a.Federated {
			if a.Federated[i].Name == name {
				a.Federated[i] = f
			}
		}
	})
	c.noContent()
}

func (c *call) removeFederatedCredential() {
	a, i, ok := c.findFederated()
	if !ok || !c.noOptions() {
		return
	}
	name := a.Federated[i].Name
	c.World.UpdateApp(a.ClientID, func(a *directory.App) {
		a.Federated = slices.DeleteFunc(a.Federated, func(f directory.FederatedCredential) bool { return f.Name == name })
	})
	c.noContent()
}
