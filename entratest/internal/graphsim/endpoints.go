package graphsim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// route finds the endpoint of a path below the version.
func (c *call) route(path []string) {
	at := func(i int) string {
		if i < len(path) {
			return strings.ToLower(path[i])
		}
		return ""
	}
	var endpoint func()
	unknown := -1         // the segment that leads nowhere
	known := missingSets  // what the real service has in its place
	var inner *entityType // or the type whose properties it might be
	switch at(0) {
	case "me":
		if !c.token.delegated() {
			c.refuse(http.StatusBadRequest, "BadRequest", "/me request is only valid with delegated authentication flow.")
			return
		}
		endpoint, unknown = c.userPath("", path, 1)
		known, inner = missingOfUser, userType
	case "users":
		known, inner = missingOfUser, userType
		switch {
		case len(path) == 1:
			endpoint = c.users
		case at(1) == "$count" && len(path) == 2:
			endpoint = c.countUsers
		case missing([]string{"delta"}, at(1)):
			unknown = 1
		default:
			endpoint, unknown = c.userPath(path[1], path, 2)
		}
	case "groups":
		known, inner = missingOfGroup, groupType
		switch {
		case len(path) == 1:
			endpoint = c.groups
		case at(1) == "$count" && len(path) == 2:
			endpoint = c.countGroups
		case missing([]string{"delta"}, at(1)):
			unknown = 1
		case len(path) == 2:
			endpoint = func() { c.group(path[1]) }
		case at(2) == "members" && len(path) == 3:
			endpoint = func() { c.members(path[1]) }
		case at(2) == "members":
			unknown = 3
		default:
			unknown = 2
		}
	case "organization":
		known, inner = nil, organizationType
		switch len(path) {
		case 1:
			endpoint = c.organizations
		case 2:
			endpoint = func() { c.organization(path[1]) }
		default:
			unknown = 2
		}
	default:
		unknown = 0
	}
	if endpoint == nil {
		segment := strings.Join(path[min(unknown, len(path)):min(unknown+1, len(path))], "")
		property := false
		if inner != nil {
			_, property = inner.find(segment)
		}
		if missing(known, segment) || property {
			c.refuse(http.StatusNotImplemented, "NotImplemented", "The emulator has no '"+segment+"' here: it has me, users, groups, organization, memberOf and members.")
			return
		}
		c.refuse(http.StatusBadRequest, "BadRequest", "Resource not found for the segment '"+segment+"'.")
		return
	}
	if c.r.Method != http.MethodGet {
		c.w.Header().Set("Allow", http.MethodGet)
		c.refuse(http.StatusMethodNotAllowed, "Request_BadRequest", "Specified HTTP method is not allowed for the request target. (The emulator's Graph is read-only.)")
		return
	}
	endpoint()
}

// userPath finds the endpoint of a user (empty: the signed-in one) whose
// relations begin at path[i].
func (c *call) userPath(user string, path []string, i int) (endpoint func(), unknown int) {
	switch {
	case len(path) == i:
		return func() { c.user(user) }, -1
	case !strings.EqualFold(path[i], "memberOf"):
		return nil, i
	case len(path) > i+1:
		return nil, i + 1
	}
	return func() { c.memberOf(user) }, -1
}

func (c *call) tenant() string { return c.token.text("tid") }

func (c *call) users() {
	if !c.may("/users") {
		c.denied()
		return
	}
	q, ok := c.query(userType, pageable|countable)
	if !ok {
		return
	}
	page(c, q, "users", c.World.Users(c.tenant()), func(u *directory.User) object { return userType.show(u, q.selected) })
}

func (c *call) countUsers() {
	if !c.may("/users") {
		c.denied()
		return
	}
	c.count(len(c.World.Users(c.tenant())))
}

// user answers with the user named in the path, or the signed-in one.
func (c *call) user(name string) {
	allowed := c.may("/me")
	if name != "" {
		allowed = c.mayBeyondSelf("/users/{id}") || c.self(name) && c.may("/users/{id}")
	}
	if !allowed {
		c.denied()
		return
	}
	q, ok := c.query(userType, 0)
	if !ok {
		return
	}
	if u, ok := c.findUser(name); ok {
		c.entity("users"+q.columns()+"/$entity", userType.show(u, q.selected))
	}
}

// self says whether name is the signed-in user's.
func (c *call) self(name string) bool {
	if !c.token.delegated() {
		return false
	}
	u, ok := c.World.User(c.tenant(), name)
	return ok && u.ID == c.token.text("oid")
}

// findUser looks a user up, or answers 404.
func (c *call) findUser(name string) (*directory.User, bool) {
	if name == "" {
		name = c.token.text("oid")
	}
	u, ok := c.World.User(c.tenant(), name)
	if !ok {
		c.notFound(name)
	}
	return u, ok
}

func (c *call) notFound(name string) {
	c.refuse(http.StatusNotFound, "Request_ResourceNotFound",
		"Resource '"+name+"' does not exist or one of its queried reference-property objects are not present.")
}

func (c *call) memberOf(name string) {
	allowed := c.may("/me/memberof")
	if name != "" {
		allowed = c.mayBeyondSelf("/users/{id}/memberof") || c.self(name) && c.may("/users/{id}/memberof")
	}
	if !allowed {
		c.denied()
		return
	}
	q, ok := c.query(objectType, pageable|countable)
	if !ok {
		return
	}
	u, ok := c.findUser(name)
	if !ok {
		return
	}
	var of []any
	for _, g := range c.World.Groups(c.tenant()) {
		if slices.Contains(g.Members, u.ID) {
			of = append(of, g)
		}
	}
	for _, role := range u.Roles {
		of = append(of, directoryRole{tenant: u.Tenant, template: role})
	}
	page(c, q, "directoryObjects", of, func(v any) object { return c.mixed(v, q) })
}

func (c *call) groups() {
	if !c.may("/groups") {
		c.denied()
		return
	}
	q, ok := c.query(groupType, pageable|countable)
	if !ok {
		return
	}
	page(c, q, "groups", c.World.Groups(c.tenant()), func(g *directory.Group) object { return groupType.show(g, q.selected) })
}

func (c *call) countGroups() {
	if !c.may("/groups") {
		c.denied()
		return
	}
	c.count(len(c.World.Groups(c.tenant())))
}

func (c *call) group(id string) {
	if !c.may("/groups/{id}") {
		c.denied()
		return
	}
	q, ok := c.query(groupType, 0)
	if !ok {
		return
	}
	if g, ok := c.findGroup(id); ok {
		c.entity("groups"+q.columns()+"/$entity", groupType.show(g, q.selected))
	}
}

// findGroup looks a group up by its id (Graph knows no other key), or answers
// 404.
func (c *call) findGroup(id string) (*directory.Group, bool) {
	g, ok := c.World.Group(c.tenant(), id)
	if !ok || !strings.EqualFold(g.ID, id) {
		c.notFound(id)
		return nil, false
	}
	return g, true
}

func (c *call) members(id string) {
	if !c.may("/groups/{id}/members") {
		c.denied()
		return
	}
	q, ok := c.query(objectType, pageable|countable)
	if !ok {
		return
	}
	g, ok := c.findGroup(id)
	if !ok {
		return
	}
	var members []any
	for _, m := range g.Members {
		if u, ok := c.World.User(c.tenant(), m); ok {
			members = append(members, u)
		} else if inner, ok := c.World.Group(c.tenant(), m); ok {
			members = append(members, inner)
		}
	}
	page(c, q, "directoryObjects", members, func(v any) object { return c.mixed(v, q) })
}

// mixed shows an object of a collection of several types: with its type, and
// with everything but its id hidden when the token may list the relation but
// not read the type.
func (c *call) mixed(v any, q query) object {
	var (
		o        object
		name     string
		readable bool
	)
	switch v := v.(type) {
	case *directory.User:
		o, name, readable = userType.show(v, q.selected), "user", c.may("/users")
	case *directory.Group:
		o, name, readable = groupType.show(v, q.selected), "group", c.may("/groups")
	case directoryRole:
		o, name = roleType.show(v, q.selected), "directoryRole"
		readable = slices.Contains(c.token.permissions(), "Directory.Read.All") || slices.Contains(c.token.permissions(), "RoleManagement.Read.Directory")
	}
	if !readable {
		for i := range o {
			if o[i].name != "id" {
				o[i].value = nil
			}
		}
	}
	if c.noMetadata() {
		return o
	}
	return append(object{{"@odata.type", "#microsoft.graph." + name}}, o...)
}

func (c *call) organizations() {
	if !c.may("/organization") {
		c.denied()
		return
	}
	q, ok := c.query(organizationType, pageable)
	if !ok {
		return
	}
	t, _ := c.World.Tenant(c.tenant())
	page(c, q, "organization", []*directory.Tenant{t}, func(t *directory.Tenant) object { return organizationType.show(t, q.selected) })
}

func (c *call) organization(id string) {
	if !c.may("/organization") {
		c.denied()
		return
	}
	q, ok := c.query(organizationType, 0)
	if !ok {
		return
	}
	if !strings.EqualFold(id, c.tenant()) {
		c.notFound(id)
		return
	}
	t, _ := c.World.Tenant(c.tenant())
	c.entity("organization"+q.columns()+"/$entity", organizationType.show(t, q.selected))
}

// oidc is OpenID Connect's userinfo, which Entra leaves to Graph.
func (c *call) oidc(path []string) {
	switch {
	case len(path) != 1 || !strings.EqualFold(path[0], "userinfo"):
		if c.authorize() {
			c.refuse(http.StatusBadRequest, "BadRequest", "Resource not found for the segment '"+strings.Join(path[:min(1, len(path))], "")+"'.")
		}
		return
	case !c.authorize():
		return
	case c.r.Method != http.MethodGet && c.r.Method != http.MethodPost:
		c.w.Header().Set("Allow", "GET, POST")
		c.refuse(http.StatusMethodNotAllowed, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
		return
	case !c.token.delegated():
		c.refuse(http.StatusBadRequest, "BadRequest", "/oidc/userinfo request is only valid with delegated authentication flow.")
		return
	case !slices.Contains(c.token.permissions(), "openid"):
		c.denied()
		return
	}
	u, ok := c.findUser("")
	if !ok {
		return
	}
	// The same person has the same subject here as in the ID token only when
	// the token says so: subjects are pairwise.
	o := object{{"sub", c.token.text("sub")}, {"name", u.DisplayName}, {"family_name", u.Surname}, {"given_name", u.GivenName},
		{"picture", c.origin() + "/v1.0/me/photo/$value"}}
	if u.Mail != "" && slices.Contains(c.token.permissions(), "email") {
		o = append(o, member{"email", u.Mail})
	}
	c.send(http.StatusOK, "application/json; charset=utf-8", o)
}

// count answers a /$count segment.
func (c *call) count(n int) {
	if !c.eventual() {
		c.refuse(http.StatusBadRequest, "Request_BadRequest", "$count is not currently supported.")
		return
	}
	if _, ok := c.query(objectType, 0); !ok {
		return
	}
	c.w.Header().Set("Content-Type", "text/plain")
	fmt.Fprint(c.w, n)
}
