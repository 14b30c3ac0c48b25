package graphsim

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

func (c *call) organizations() {
	c.list(organizationType, pageable, func() []any {
		t, _ := c.World.Tenant(c.tenant())
		return []any{t}
	})
}

func (c *call) organization() {
	q, ok := c.query(organizationType, 0)
	if !ok {
		return
	}
	if !strings.EqualFold(c.arg(0), c.tenant()) {
		c.notFound(c.arg(0))
		return
	}
	t, _ := c.World.Tenant(c.tenant())
	c.entity("organization"+q.columns()+"/$entity", organizationType.show(t, q.selected))
}

func (c *call) domains() {
	c.list(domainType, pageable, func() (rows []any) {
		t, _ := c.World.Tenant(c.tenant())
		for i, name := range t.Domains {
			rows = append(rows, domain{name, i == 0})
		}
		return rows
	})
}

// roles are the directory roles of the tenant: the one that there always is,
// and those that somebody has.
func (c *call) roles() []directoryRole {
	templates := []string{directory.GlobalAdministrator}
	for _, u := range c.World.Users(c.tenant()) {
		for _, template := range u.Roles {
			if !slices.Contains(templates, template) {
				templates = append(templates, template)
			}
		}
	}
	var roles []directoryRole
	for _, template := range templates {
		roles = append(roles, directoryRole{c.tenant(), template})
	}
	return roles
}

func (c *call) directoryRoles() {
	c.list(roleType, 0, func() []any { return all(c.roles()) })
}

// findRole looks a directory role up by its id, or answers 404.
func (c *call) findRole(id string) (directoryRole, bool) {
	for _, r := range c.roles() {
		if strings.EqualFold(r.id(), id) {
			return r, true
		}
	}
	c.notFound(id)
	return directoryRole{}, false
}

func (c *call) directoryRole() { c.one(roleType) }

func (c *call) roleMembers() {
	q, ok := c.query(objectType, 0)
	if !ok {
		return
	}
	r, ok := c.findRole(c.arg(0))
	if !ok {
		return
	}
	var members []any
	for _, u := range c.World.Users(c.tenant()) {
		if slices.Contains(u.Roles, r.template) {
			members = append(members, u)
		}
	}
	q.top = 0
	c.objects(q, members)
}

func (c *call) addRoleMember() {
	v, ok := c.reference()
	if !ok {
		return
	}
	r, ok := c.findRole(c.arg(0))
	if !ok {
		return
	}
	u, ok := v.(*directory.User)
	if !ok {
		c.refuse(http.StatusNotImplemented, "NotImplemented", "The emulator gives directory roles to users only.")
		return
	}
	err := c.World.UpdateUser(c.tenant(), u.ID, func(u *directory.User) error {
		u.Roles = slices.Clone(u.Roles)
		return refer(&u.Roles, r.template, "members", "")
	})
	if !c.conflict(err, "members") {
		c.noContent()
	}
}

func (c *call) removeRoleMember() {
	r, ok := c.findRole(c.arg(0))
	if !ok {
		return
	}
	err := c.World.UpdateUser(c.tenant(), c.arg(1), func(u *directory.User) error {
		if !slices.Contains(u.Roles, r.template) {
			return directory.ErrNotFound
		}
		u.Roles = slices.DeleteFunc(slices.Clone(u.Roles), func(t string) bool { return t == r.template })
		return nil
	})
	if errors.Is(err, directory.ErrNotFound) {
		c.notFound(c.arg(1))
		return
	}
	if !c.conflict(err, "members") {
		c.noContent()
	}
}

func (c *call) roleTemplates() {
	c.list(roleTemplateType, 0, func() (rows []any) {
		for _, r := range roleNames {
			rows = append(rows, directoryRole{c.tenant(), r[0]})
		}
		return rows
	})
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
	u, ok := c.findUser(c.token.text("oid"))
	if !ok {
		return
	}
	// Subjects are pairwise: the client knows the person by that of its ID token,
	// which the access token says besides its own.
	sub := cmp.Or(str(inside(c.token["xms_st"], "sub")), c.token.text("sub"))
	o := object{{"sub", sub}, {"name", u.DisplayName}, {"family_name", u.Surname}, {"given_name", u.GivenName},
		{"picture", c.origin() + "/v1.0/me/photo/$value"}}
	if u.Mail != "" && slices.Contains(c.token.permissions(), "email") {
		o = append(o, member{"email", u.Mail})
	}
	c.send(http.StatusOK, "application/json; charset=utf-8", o)
}
