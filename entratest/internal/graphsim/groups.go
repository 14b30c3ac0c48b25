package graphsim

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

func (c *call) groups() {
	c.list(groupType, collection, func() []any { return all(c.World.Groups(c.tenant())) })
}

func (c *call) group() { c.one(groupType) }

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

var groupReadOnly = []string{"id", "createdDateTime", "deletedDateTime", "mail", "proxyAddresses", "renewedDateTime", "securityIdentifier",
	"expirationDateTime", "onPremisesSyncEnabled", "onPremisesLastSyncDateTime", "onPremisesSamAccountName", "onPremisesDomainName",
	"onPremisesNetBiosName", "onPremisesSecurityIdentifier", "onPremisesProvisioningErrors"}

const (
	bindMembers = "members@odata.bind"
	bindOwners  = "owners@odata.bind"
	maxBind     = 20 // references in one request
)

func (c *call) createGroup() {
	given, ok := c.fields(groupType, groupReadOnly, bindMembers, bindOwners)
	if !ok || !c.require(given, groupType, "displayName", "mailEnabled", "mailNickname", "securityEnabled") {
		return
	}
	g := &directory.Group{ID: c.World.NewID("group"), Tenant: c.tenant(), Created: c.World.Now()}
	if err := c.setGroup(g, given); err != nil {
		c.invalid(err)
		return
	}
	mailEnabled, security := g.More["mailEnabled"] == true, g.More["securityEnabled"] == true
	switch {
	case g.Unified && !mailEnabled, !g.Unified && mailEnabled:
		c.invalid(errors.New("The service does not currently support writes of mail-enabled groups. Please ensure that the mail-enablement property is unset and the security-enablement property is set."))
		return
	case !g.Unified && !security:
		c.invalid(errors.New("Invalid value specified for property 'securityEnabled' of resource 'Group'."))
		return
	}
	if g.Unified {
		t, _ := c.World.Tenant(c.tenant())
		g.Mail = str(g.More["mailNickname"]) + "@" + t.Domains[0]
	}
	if c.token.delegated() && len(g.Owners) == 0 {
		g.Owners = []string{c.token.text("oid")}
	}
	c.World.PutGroup(g)
	c.created("groups/$entity", "/groups/"+g.ID, groupType.show(g, nil))
}

// setGroup fills a group from the fields of a body.
func (c *call) setGroup(g *directory.Group, given fields) error {
	if g.More == nil {
		g.More = map[string]any{}
	}
	for _, f := range given {
		switch f.name {
		case "displayName":
			if g.Name = str(f.value); g.Name == "" {
				return errors.New("Invalid value specified for property 'displayName' of resource 'Group'.")
			}
		case "description":
			g.Description = str(f.value)
		case "groupTypes":
			kinds := stringsIn(f.value)
			if slices.ContainsFunc(kinds, func(k string) bool { return k != "Unified" && k != "DynamicMembership" }) {
				return errors.New("Invalid value specified for property 'groupTypes' of resource 'Group'.")
			}
			g.Unified = slices.Contains(kinds, "Unified")
			g.More[f.name] = f.value
		case bindMembers, bindOwners:
			ids, err := c.bound(f)
			if err != nil {
				return err
			}
			list := &g.Members
			if f.name == bindOwners {
				list = &g.Owners
			}
			for _, id := range ids {
				if err := refer(list, id, strings.TrimSuffix(f.name, "@odata.bind"), g.ID); err != nil {
					return err
				}
			}
		default:
			g.More[f.name] = f.value
		}
	}
	return nil
}

// bound returns the ids of the objects that a bind refers to.
func (c *call) bound(f field) ([]string, error) {
	addresses, ok := f.value.([]any)
	if !ok {
		return nil, fmt.Errorf("Invalid value specified for property '%s' of resource 'Group'.", f.name)
	}
	if len(addresses) > maxBind {
		return nil, fmt.Errorf("The request body contains more than %d references in '%s'.", maxBind, f.name)
	}
	var ids []string
	for _, a := range addresses {
		id, ok := c.referred(str(a))
		v, found := c.object(id)
		if !ok || !found {
			return nil, fmt.Errorf("Resource '%s' does not exist or one of its queried reference-property objects are not present.", id)
		}
		ids = append(ids, idOf(v))
	}
	return ids, nil
}

// refer adds a reference that is not there yet.
func refer(list *[]string, id, relation, self string) error {
	if slices.Contains(*list, id) {
		return fmt.Errorf("One or more added object references already exist for the following modified properties: '%s'.", relation)
	}
	if id == self {
		return errors.New("An invalid operation was included in the following modified references: '" + relation + "'.")
	}
	*list = append(*list, id)
	return nil
}

// unrefer takes a reference away, and says whether it was there.
func unrefer(list *[]string, id string) bool {
	i := slices.IndexFunc(*list, func(m string) bool { return strings.EqualFold(m, id) })
	if i >= 0 {
		*list = slices.Delete(*list, i, i+1)
	}
	return i >= 0
}

func (c *call) updateGroup() {
	given, ok := c.fields(groupType, append([]string{"groupTypes"}, groupReadOnly...), bindMembers, bindOwners)
	if !ok {
		return
	}
	g, ok := c.findGroup(c.arg(0))
	if !ok {
		return
	}
	// References are looked up before the world is held.
	changed := *g
	changed.Members, changed.Owners, changed.More = slices.Clone(g.Members), slices.Clone(g.Owners), map[string]any{}
	if err := c.setGroup(&changed, given); err != nil {
		if strings.HasPrefix(err.Error(), "Resource '") {
			c.refuse(404, "Request_ResourceNotFound", err.Error())
			return
		}
		c.invalid(err)
		return
	}
	added, owners := changed.Members[len(g.Members):], changed.Owners[len(g.Owners):]
	err := c.World.UpdateGroup(c.tenant(), g.ID, func(g *directory.Group) error {
		for _, id := range added {
			if err := refer(&g.Members, id, "members", g.ID); err != nil {
				return err
			}
		}
		for _, id := range owners {
			if err := refer(&g.Owners, id, "owners", g.ID); err != nil {
				return err
			}
		}
		g.Name, g.Description = changed.Name, changed.Description
		if g.More == nil {
			g.More = map[string]any{}
		}
		for k, v := range changed.More {
			g.More[k] = v
		}
		return nil
	})
	if !c.conflict(err, "displayName") {
		c.noContent()
	}
}

func (c *call) deleteGroup() {
	if g, ok := c.findGroup(c.arg(0)); ok && c.noOptions() {
		c.World.DeleteGroup(c.tenant(), g.ID)
		c.noContent()
	}
}

// within are the members of a group, of its groups and so on.
func (c *call) within(g *directory.Group) []any {
	var found []any
	seen := map[string]bool{g.ID: true}
	for todo := []*directory.Group{g}; len(todo) > 0; todo = todo[1:] {
		for _, v := range c.resolve(todo[0].Members) {
			if seen[idOf(v)] {
				continue
			}
			seen[idOf(v)] = true
			found = append(found, v)
			if inner, ok := v.(*directory.Group); ok {
				todo = append(todo, inner)
			}
		}
	}
	return found
}

func (c *call) addMember() {
	c.addReference("members", func(g *directory.Group) *[]string { return &g.Members })
}
func (c *call) addOwner() {
	c.addReference("owners", func(g *directory.Group) *[]string { return &g.Owners })
}

func (c *call) addReference(relation string, of func(*directory.Group) *[]string) {
	v, ok := c.reference()
	if !ok {
		return
	}
	g, ok := c.findGroup(c.arg(0))
	if !ok {
		return
	}
	switch t := typeOf(v); {
	case t == applicationType || t == roleType, relation == "owners" && t == groupType:
		c.invalid(errors.New("An invalid operation was included in the following modified references: '" + relation + "'."))
		return
	}
	err := c.World.UpdateGroup(c.tenant(), g.ID, func(g *directory.Group) error { return refer(of(g), idOf(v), relation, g.ID) })
	if !c.conflict(err, relation) {
		c.noContent()
	}
}

func (c *call) removeMember() {
	c.removeReference(func(g *directory.Group) *[]string { return &g.Members })
}
func (c *call) removeOwner() {
	c.removeReference(func(g *directory.Group) *[]string { return &g.Owners })
}

func (c *call) removeReference(of func(*directory.Group) *[]string) {
	g, ok := c.findGroup(c.arg(0))
	if !ok || !c.noOptions() {
		return
	}
	id := c.arg(1)
	err := c.World.UpdateGroup(c.tenant(), g.ID, func(g *directory.Group) error {
		if !unrefer(of(g), id) {
			return directory.ErrNotFound
		}
		return nil
	})
	if errors.Is(err, directory.ErrNotFound) {
		c.notFound(id)
		return
	}
	if !c.conflict(err, "members") {
		c.noContent()
	}
}
