package graphsim

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// Whether an object is in groups, directly or by way of other groups, and, for
// the actions that end with Objects, which directory roles it has.

func (c *call) getMemberGroups() { c.memberships("getMemberGroups", false) }

func (c *call) getMemberObjects() { c.memberships("getMemberObjects", true) }

// memberships answers with the ids of all that an object is a member of.
func (c *call) memberships(action string, withRoles bool) {
	given, ok := c.action(action, true, "securityEnabledOnly Edm.Boolean")
	if !ok {
		return
	}
	securityOnly, isBool := given["securityEnabledOnly"].(bool)
	if !isBool {
		c.invalid(errors.New("A value is required for parameter 'securityEnabledOnly'."))
		return
	}
	v, ok := c.subject()
	if !ok {
		return
	}
	ids := []string{}
	for _, g := range c.World.GroupsOf(c.tenant(), idOf(v)) {
		if security, _ := groupValue(g, "securityEnabled"); !securityOnly || security == true {
			ids = append(ids, g.ID)
		}
	}
	if u, ok := v.(*directory.User); ok && withRoles && !securityOnly {
		for _, r := range c.rolesOf(u) {
			ids = append(ids, idOf(r))
		}
	}
	const most = 11_000
	if len(ids) > most {
		c.refuse(http.StatusBadRequest, "Directory_ResultSizeLimitExceeded", fmt.Sprintf("The result set is larger than %d groups: use transitiveMemberOf.", most))
		return
	}
	c.entity("Collection(Edm.String)", object{{"value", ids}})
}

func (c *call) checkMemberGroups() { c.checkMemberships("checkMemberGroups", "groupIds", false) }

func (c *call) checkMemberObjects() { c.checkMemberships("checkMemberObjects", "ids", true) }

// checkMemberships answers with those of some ids that an object is a member
// of. A role is named by its own id or by that of its template.
func (c *call) checkMemberships(action, parameter string, withRoles bool) {
	given, ok := c.action(action, true, parameter+" Collection(Edm.String)")
	if !ok {
		return
	}
	asked := stringsIn(given[parameter])
	if n := len(asked); n == 0 || n > 20 {
		c.invalid(errors.New("The parameter '" + parameter + "' must have 1 to 20 ids."))
		return
	}
	v, ok := c.subject()
	if !ok {
		return
	}
	is := map[string]bool{}
	for _, g := range c.World.GroupsOf(c.tenant(), idOf(v)) {
		is[strings.ToLower(g.ID)] = true
	}
	if u, ok := v.(*directory.User); ok && withRoles {
		for _, template := range u.Roles {
			is[template], is[directoryRole{u.Tenant, template}.id()] = true, true
		}
	}
	in := []string{}
	for _, id := range asked {
		if id = strings.ToLower(id); is[id] {
			in, is[id] = append(in, id), false
		}
	}
	c.entity("Collection(Edm.String)", object{{"value", in}})
}
