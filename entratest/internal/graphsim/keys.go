package graphsim

import (
	"net/http"
	"slices"
	"strings"
)

// typeOfSet is the type of what a collection has, nil for one whose objects
// have no other keys than their ids.
func typeOfSet(segment string) *entityType {
	for _, t := range []*entityType{userType, groupType, applicationType, principalType, roleType, deviceType, federatedType} {
		if strings.EqualFold(t.set, segment) {
			return t
		}
	}
	return nil
}

// key reads a segment that names an object of a collection. One in the form
// name='value' names it by another property than its id, which Graph has for a
// few: it becomes the id, or stays as it is if there is no such object. Of any
// other property key answers 400.
func (c *call) key(set, segment string) (id string, ok bool) {
	name, value, named := strings.Cut(segment, "=")
	quoted := len(value) >= 2 && value[0] == '\'' && value[len(value)-1] == '\''
	t := typeOfSet(set)
	if !named || !quoted || t == nil {
		return segment, true
	}
	i := slices.IndexFunc(t.keys, func(k string) bool { return strings.EqualFold(k, strings.TrimSpace(name)) })
	if i < 0 {
		keys := strings.Join(append([]string{"id"}, t.keys...), ", ")
		c.refuse(http.StatusBadRequest, "BadRequest", "The key '"+name+"' of the request is not one of 'microsoft.graph."+t.name+"', which has: "+keys+".")
		return "", false
	}
	if id, found := c.idBy(t, t.keys[i], strings.ReplaceAll(value[1:len(value)-1], "''", "'")); found {
		return id, true
	}
	return segment, true
}

// idBy is the id of the object whose property has a value.
func (c *call) idBy(t *entityType, property, value string) (string, bool) {
	var rows []any
	switch t {
	case userType: // of whom there may be a million
		u, ok := c.World.User(c.tenant(), value)
		if !ok || !strings.EqualFold(u.UPN, value) {
			return "", false
		}
		return u.ID, true
	case groupType:
		rows = all(c.World.Groups(c.tenant()))
	case applicationType:
		rows = c.registrations()
	case principalType:
		rows = c.allPrincipals()
	case roleType:
		rows = all(c.roles())
	case deviceType:
		rows = all(c.World.Devices(c.tenant()))
	case federatedType: // their names are good as ids
		return value, true
	}
	for _, v := range rows {
		if got, _ := t.value(v, property); strings.EqualFold(str(got), value) && value != "" {
			return idOf(v), true
		}
	}
	return "", false
}
