package graphsim

import (
	"encoding/base64"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// principal is the service principal of an app in a tenant.
type principal struct {
	app    *directory.App
	tenant string
	id     string
}

// ID is the object id.
func (p principal) ID() string { return p.id }

// owners are the object ids of those who own the service principal. The owners
// of its registration are others.
func (p principal) owners() []string { return p.app.PrincipalOwners[p.tenant] }

// microsoft is the tenant that Microsoft's own apps are at home in.
const microsoft = "f8cdef31-a31e-4b4a-93e4-5f571e91255a"

var principalType = &entityType{name: "servicePrincipal", set: "servicePrincipals", bases: []string{"directoryObject"}, strict: true, keys: []string{"appId"}, expands: []string{"appRoleAssignments", "memberOf", "ownedObjects", "owners", "transitiveMemberOf"},
	value: func(v any, name string) (any, bool) { return v.(principal).value(name) }}

func (p principal) value(name string) (any, bool) {
	a := p.app
	switch name {
	case "id":
		return p.id, true
	case "appId":
		return a.ClientID, true
	case "displayName", "appDisplayName":
		return a.Name, true
	case "createdDateTime":
		return date(a.Created), true
	case "accountEnabled":
		return !a.Disabled, true
	case "appOwnerOrganizationId":
		if a.FirstParty {
			return microsoft, true
		}
		return a.Tenant, true
	case "appRoleAssignmentRequired":
		return a.AssignmentNeeded, true
	case "servicePrincipalType":
		return "Application", true
	case "signInAudience":
		return string(a.Audience), true
	case "servicePrincipalNames":
		return append([]string{a.ClientID}, a.IdentifierURIs...), true
	case "replyUrls":
		return slices.Concat([]string{}, a.WebRedirects, a.SPARedirects, a.NativeRedirects), true
	case "appRoles":
		return appRoles(a), true
	case "oauth2PermissionScopes":
		return scopes(a), true
	case "owners": // of a filter that counts them
		return p.owners(), true
	case "passwordCredentials": // those of the registration are its own
		if a.Tenant == p.tenant {
			return passwords(a.PrincipalSecrets), true
		}
		return []object{}, true
	case "keyCredentials":
		return []object{}, true
	}
	if a.Tenant == p.tenant {
		if value, ok := a.More["servicePrincipal/"+name]; ok {
			return value, true
		}
	}
	return nil, false
}

func (c *call) principalOf(a *directory.App) principal {
	return principal{a, c.tenant(), c.World.PrincipalID(c.tenant(), a)}
}

func (c *call) allPrincipals() []any {
	var rows []any
	for _, a := range c.World.Apps(c.tenant()) {
		if !a.NoPrincipal {
			rows = append(rows, c.principalOf(a))
		}
	}
	return rows
}

func (c *call) principals() {
	c.list(principalType, collection, c.allPrincipals)
}

// lookupPrincipal finds a service principal by its object id.
func (c *call) lookupPrincipal(id string) (principal, bool) {
	for _, v := range c.allPrincipals() {
		if p := v.(principal); strings.EqualFold(p.id, id) {
			return p, true
		}
	}
	return principal{}, false
}

// findPrincipal looks a service principal up, or answers 404; 403 if it is to
// be changed by an app that may only change its own.
func (c *call) findPrincipal(key string) (principal, bool) {
	p, ok := c.lookupPrincipal(key)
	if !ok {
		c.notFound(key)
		return principal{}, false
	}
	if c.r.Method != http.MethodGet && c.ownedOnly() && !slices.Contains(p.owners(), c.token.text("oid")) {
		c.denied()
		return principal{}, false
	}
	return p, true
}

// principalKeeper is the right of a service principal's owners and of
// administrators.
func principalKeeper(c *call) bool {
	p, ok := c.lookupPrincipal(c.arg(0))
	return ok && slices.Contains(p.owners(), c.token.text("oid")) || appAdministrator(c)
}

func (c *call) principal() { c.one(principalType) }

func (c *call) createPrincipal() {
	given, ok := c.fields(principalType, []string{"id", "displayName", "appDisplayName"})
	if !ok || !c.require(given, principalType, "appId") {
		return
	}
	a, ok := c.World.Registration(given.text("appId"))
	if !ok || a.Tenant != c.tenant() && a.Audience == directory.MyOrg {
		c.invalid(errors.New("The appId '" + given.text("appId") + "' of the service principal does not reference a valid application object."))
		return
	}
	if c.ownedOnly() && !c.owned(a) {
		c.denied()
		return
	}
	if _, there := c.World.App(c.tenant(), a.ClientID); there && !a.NoPrincipal {
		c.refuse(http.StatusConflict, "Request_MultipleObjectsWithSameKeyValue", "The service principal cannot be created, updated, or restored because the service principal name "+a.ClientID+" is already in use.")
		return
	}
	if a.Tenant == c.tenant() {
		c.World.UpdateApp(a.ClientID, func(a *directory.App) { a.NoPrincipal = false; setPrincipal(a, given) })
	} else {
		c.World.Install(c.tenant(), a.ClientID)
	}
	if !c.token.delegated() { // an app owns what it makes; people who may make one need not
		_ = c.changeOwners(a, true, func(owners *[]string) error { return refer(owners, c.token.text("oid"), "owners", "") })
	}
	a, _ = c.World.App(c.tenant(), a.ClientID)
	p := c.principalOf(a)
	c.created("servicePrincipals/$entity", "/servicePrincipals/"+p.id, principalType.show(p, nil))
}

func setPrincipal(a *directory.App, given fields) {
	for _, f := range given {
		on, _ := f.value.(bool)
		switch f.name {
		case "appId":
		case "accountEnabled":
			a.Disabled = !on
		case "appRoleAssignmentRequired":
			a.AssignmentNeeded = on
		default:
			if a.More == nil {
				a.More = map[string]any{}
			}
			a.More["servicePrincipal/"+f.name] = f.value
		}
	}
}

func (c *call) updatePrincipal() {
	given, ok := c.fields(principalType, []string{"id", "appId", "displayName", "appDisplayName", "appRoles", "oauth2PermissionScopes", "signInAudience", "servicePrincipalType", "appOwnerOrganizationId"})
	if !ok {
		return
	}
	p, ok := c.findPrincipal(c.arg(0))
	if !ok {
		return
	}
	if p.app.Tenant != c.tenant() {
		c.refuse(http.StatusNotImplemented, "NotImplemented", "The emulator changes service principals of the tenant's own apps only.")
		return
	}
	c.World.UpdateApp(p.app.ClientID, func(a *directory.App) { setPrincipal(a, given) })
	c.noContent()
}

func (c *call) deletePrincipal() {
	p, ok := c.findPrincipal(c.arg(0))
	if !ok || !c.noOptions() {
		return
	}
	if p.app.FirstParty {
		c.invalid(errors.New("Specified App Principal ID is a Microsoft internal application."))
		return
	}
	c.World.Uninstall(c.tenant(), p.app.ClientID)
	c.noContent()
}

// assignment is an app role that somebody has been given.
type assignment struct {
	directory.RoleAssignment
	roleID, principalID, principalType, principalName, resourceID, resourceName string
}

// noRole is the id of the role that stands for no role in particular.
const noRole = "00000000-0000-0000-0000-000000000000"

var assignmentType = &entityType{name: "appRoleAssignment", bases: []string{"directoryObject"}, strict: true,
	value: func(v any, name string) (any, bool) {
		a := v.(assignment)
		switch name {
		case "id":
			return a.id(), true
		case "appRoleId":
			return a.roleID, true
		case "principalId":
			return a.principalID, true
		case "principalType":
			return a.principalType, true
		case "principalDisplayName":
			return a.principalName, true
		case "resourceId":
			return a.resourceID, true
		case "resourceDisplayName":
			return a.resourceName, true
		}
		return nil, false
	}}

func (a assignment) id() string {
	return derivedToken("assignment", a.principalID, a.resourceID, a.roleID)
}

// assignments are all role assignments of the tenant.
func (c *call) assignments() []assignment {
	var out []assignment
	for _, r := range c.World.RoleAssignments(c.tenant()) {
		if a, ok := c.assignment(r); ok {
			out = append(out, a)
		}
	}
	return out
}

func (c *call) assignment(r directory.RoleAssignment) (assignment, bool) {
	a := assignment{RoleAssignment: r, roleID: noRole}
	resource, ok := c.World.App(c.tenant(), r.Resource)
	if !ok {
		return a, false
	}
	a.resourceID, a.resourceName = c.World.PrincipalID(c.tenant(), resource), resource.Name
	for _, role := range resource.AppRoles {
		if role.Value == r.Role {
			a.roleID = role.ID
		}
	}
	if u, ok := c.World.User(c.tenant(), r.Principal); ok {
		a.principalID, a.principalType, a.principalName = u.ID, "User", u.DisplayName
	} else if g, ok := c.World.Group(c.tenant(), r.Principal); ok {
		a.principalID, a.principalType, a.principalName = g.ID, "Group", g.Name
	} else if app, ok := c.World.App(c.tenant(), r.Principal); ok {
		a.principalID, a.principalType, a.principalName = c.World.PrincipalID(c.tenant(), app), "ServicePrincipal", app.Name
	} else {
		return a, false
	}
	return a, true
}

// assignmentsOf are the roles that a principal has been given.
func (c *call) assignmentsOf(id string) []assignment {
	return slices.DeleteFunc(c.assignments(), func(a assignment) bool { return a.principalID != id })
}

func (c *call) listAssignments(context string, list []assignment) {
	q, ok := c.query(assignmentType, collection&^expandable)
	if !ok {
		return
	}
	c.collect(q, assignmentType, context+"/appRoleAssignments", all(list), func(v any) object { return assignmentType.show(v, q.selected) })
}

// appRoleAssignments answers with the app roles that an object was given.
func (c *call) appRoleAssignments() {
	if v, ok := c.subject(); ok {
		c.listAssignments(typeOf(v).set+"('"+idOf(v)+"')", c.assignmentsOf(idOf(v)))
	}
}

func (c *call) assignedTo() {
	if p, ok := c.findPrincipal(c.arg(0)); ok {
		c.listAssignments("servicePrincipals('"+p.id+"')", slices.DeleteFunc(c.assignments(), func(a assignment) bool { return a.resourceID != p.id }))
	}
}

func (c *call) assignToUser() {
	if u, ok := c.findUser(c.arg(0)); ok {
		c.assign("/users/"+u.ID+"/appRoleAssignments/", u.ID)
	}
}

func (c *call) assignRole() {
	p, ok := c.lookupPrincipal(c.arg(0))
	if !ok {
		c.notFound(c.arg(0))
		return
	}
	c.assign("/servicePrincipals/"+p.id+"/appRoleAssignments/", p.id)
}

// assign makes a role assignment for the principal or the resource in the path.
func (c *call) assign(location, inPath string) {
	given, ok := c.fields(assignmentType, []string{"id", "createdDateTime"})
	if !ok || !c.require(given, assignmentType, "principalId", "resourceId", "appRoleId") {
		return
	}
	principalID, resourceID, roleID := given.text("principalId"), given.text("resourceId"), given.text("appRoleId")
	if !strings.EqualFold(principalID, inPath) && !strings.EqualFold(resourceID, inPath) {
		c.invalid(errors.New("The principalId or the resourceId must be that of the address."))
		return
	}
	resource, ok := c.lookupPrincipal(resourceID)
	if !ok {
		c.notFound(resourceID)
		return
	}
	grant := directory.RoleAssignment{Tenant: c.tenant(), Resource: resource.app.ClientID}
	v, _ := c.object(principalID)
	person := false
	switch v := v.(type) {
	case *directory.User:
		grant.Principal, person = v.ID, true
	case *directory.Group:
		grant.Principal, person = v.ID, true
	case principal:
		grant.Principal = v.app.ClientID
	default:
		c.notFound(principalID)
		return
	}
	if roleID != noRole {
		i := slices.IndexFunc(resource.app.AppRoles, func(r directory.AppRole) bool { return strings.EqualFold(r.ID, roleID) })
		if i < 0 || person && !resource.app.AppRoles[i].ForUsers || !person && !resource.app.AppRoles[i].ForApps {
			c.invalid(errors.New("Permission being assigned was not found on application '" + resource.app.ClientID + "'."))
			return
		}
		grant.Role = resource.app.AppRoles[i].Value
	}
	if slices.Contains(c.World.RoleAssignments(c.tenant()), grant) {
		c.invalid(errors.New("Permission being assigned already exists on the object"))
		return
	}
	c.World.AssignRole(grant)
	a, _ := c.assignment(grant)
	c.created("appRoleAssignments/$entity", location+a.id(), assignmentType.show(a, nil))
}

func (c *call) unassignRole() {
	p, ok := c.lookupPrincipal(c.arg(0))
	if !ok {
		c.notFound(c.arg(0))
		return
	}
	for _, a := range c.assignments() {
		if a.id() == c.arg(1) && (a.principalID == p.id || a.resourceID == p.id) {
			c.World.UnassignRole(a.RoleAssignment)
			c.noContent()
			return
		}
	}
	c.notFound(c.arg(1))
}

// consent is a delegated grant with the ids that Graph has for it.
type consent struct {
	directory.Grant
	clientID, resourceID string // of service principals
}

var consentType = &entityType{name: "oAuth2PermissionGrant", set: "oauth2PermissionGrants", strict: true,
	value: func(v any, name string) (any, bool) {
		g := v.(consent)
		switch name {
		case "id":
			return g.id(), true
		case "clientId":
			return g.clientID, true
		case "consentType":
			if g.User == "" {
				return "AllPrincipals", true
			}
			return "Principal", true
		case "principalId":
			return text(g.User), true
		case "resourceId":
			return g.resourceID, true
		case "scope":
			return strings.Join(g.Scopes, " "), true
		}
		return nil, false
	}}

// id is made of the ids of those concerned, as the real ones are.
func (g consent) id() string {
	raw, _ := hex.DecodeString(strings.ReplaceAll(g.clientID+g.resourceID+g.User, "-", ""))
	return base64.RawURLEncoding.EncodeToString(raw)
}

func (c *call) consents() []consent {
	var out []consent
	for _, g := range c.World.Grants(c.tenant()) {
		client, ok := c.World.App(c.tenant(), g.Client)
		resource, ok2 := c.World.App(c.tenant(), g.Resource)
		if ok && ok2 && len(g.Scopes) > 0 {
			out = append(out, consent{g, c.World.PrincipalID(c.tenant(), client), c.World.PrincipalID(c.tenant(), resource)})
		}
	}
	return out
}

func (c *call) listConsents(list []consent) {
	q, ok := c.query(consentType, collection&^expandable)
	if !ok {
		return
	}
	c.collect(q, consentType, "oauth2PermissionGrants", all(list), func(v any) object { return consentType.show(v, q.selected) })
}

func (c *call) grants() { c.listConsents(c.consents()) }

func (c *call) principalGrants() {
	if p, ok := c.findPrincipal(c.arg(0)); ok {
		c.listConsents(slices.DeleteFunc(c.consents(), func(g consent) bool { return g.clientID != p.id }))
	}
}

func (c *call) userGrants() {
	if u, ok := c.findUser(c.arg(0)); ok {
		c.listConsents(slices.DeleteFunc(c.consents(), func(g consent) bool { return g.User != u.ID }))
	}
}

func (c *call) findGrant() (consent, bool) {
	for _, g := range c.consents() {
		if g.id() == c.arg(0) {
			return g, true
		}
	}
	c.notFound(c.arg(0))
	return consent{}, false
}

func (c *call) grant() {
	q, ok := c.query(consentType, 0)
	if !ok {
		return
	}
	if g, ok := c.findGrant(); ok {
		c.entity("oauth2PermissionGrants"+q.columns()+"/$entity", consentType.show(g, q.selected))
	}
}

func (c *call) createGrant() {
	// startTime and expiryTime are gone from v1.0, and scripts still send them.
	given, ok := c.fields(consentType, []string{"id"}, "startTime", "expiryTime")
	if !ok || !c.require(given, consentType, "clientId", "consentType", "resourceId", "scope") {
		return
	}
	client, ok := c.lookupPrincipal(given.text("clientId"))
	resource, ok2 := c.lookupPrincipal(given.text("resourceId"))
	if !ok || !ok2 {
		c.invalid(errors.New("Property clientId or resourceId is invalid: give object ids of service principals."))
		return
	}
	g := directory.Grant{Tenant: c.tenant(), Client: client.app.ClientID, Resource: resource.app.ClientID}
	user := given.text("principalId")
	switch kind := given.text("consentType"); {
	case kind == "AllPrincipals" && user == "":
	case kind == "Principal" && user != "":
		u, ok := c.findUser(user)
		if !ok {
			return
		}
		g.User = u.ID
	default:
		c.invalid(errors.New("Invalid value specified for property 'principalId' of resource 'OAuth2PermissionGrant'."))
		return
	}
	if g.Scopes, ok = c.grantable(resource.app, given.text("scope")); !ok {
		return
	}
	if slices.ContainsFunc(c.consents(), func(old consent) bool {
		return old.Client == g.Client && old.Resource == g.Resource && old.User == g.User
	}) {
		c.refuse(http.StatusConflict, "Request_MultipleObjectsWithSameKeyValue", "Permission entry already exists.")
		return
	}
	c.World.SetGrant(g)
	made := consent{g, client.id, resource.id}
	c.created("oauth2PermissionGrants/$entity", "/oauth2PermissionGrants/"+made.id(), consentType.show(made, nil))
}

// grantable splits scopes and checks that a resource has them, or answers 400.
func (c *call) grantable(resource *directory.App, text string) ([]string, bool) {
	values := strings.Fields(text)
	for i, value := range values {
		s, ok := resource.Scope(value)
		if !ok {
			c.invalid(errors.New("The scope '" + value + "' does not exist on the resource '" + resource.ClientID + "'."))
			return nil, false
		}
		values[i] = s.Value
	}
	return values, true
}

func (c *call) updateGrant() {
	given, ok := c.fields(consentType, []string{"id", "clientId", "consentType", "principalId", "resourceId"})
	if !ok || !c.require(given, consentType, "scope") {
		return
	}
	g, ok := c.findGrant()
	if !ok {
		return
	}
	resource, _ := c.World.App(c.tenant(), g.Resource)
	if g.Scopes, ok = c.grantable(resource, given.text("scope")); ok {
		c.World.SetGrant(g.Grant)
		c.noContent()
	}
}

func (c *call) deleteGrant() {
	if g, ok := c.findGrant(); ok && c.noOptions() {
		c.World.Ungrant(c.tenant(), g.Client, g.Resource, g.User)
		c.noContent()
	}
}
