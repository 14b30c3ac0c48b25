package graphsim

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// related returns what a relation leads to. One object rather than many is
// returned as single.
func (c *call) related(v any, relation string) (many []any, single bool) {
	switch v := v.(type) {
	case *directory.User:
		switch relation {
		case "manager":
			if m, ok := c.World.User(c.tenant(), v.Manager); ok && v.Manager != "" {
				return []any{m}, true
			}
			return nil, true
		case "directReports":
			return c.reportsOf(v.ID), false
		case "ownedDevices", "registeredDevices":
			return c.devicesOf(v), false
		case "memberOf":
			return append(c.groupsWith(v.ID), c.rolesOf(v)...), false
		case "transitiveMemberOf":
			return append(all(c.World.GroupsOf(c.tenant(), v.ID)), c.rolesOf(v)...), false
		case "ownedObjects":
			return c.ownedBy(v.ID), false
		}
	case *directory.Group:
		switch relation {
		case "members":
			return c.resolve(v.Members), false
		case "owners":
			return c.resolve(v.Owners), false
		case "memberOf":
			return c.groupsWith(v.ID), false
		case "transitiveMembers":
			return c.within(v), false
		case "transitiveMemberOf":
			return all(c.World.GroupsOf(c.tenant(), v.ID)), false
		}
	case *directory.App:
		return c.resolve(v.Owners), false
	case *directory.Device:
		switch relation {
		case "registeredOwners", "registeredUsers":
			return c.resolve([]string{v.Owner}), false
		case "memberOf":
			return c.groupsWith(v.ID), false
		case "transitiveMemberOf":
			return all(c.World.GroupsOf(c.tenant(), v.ID)), false
		}
	case principal:
		switch relation {
		case "appRoleAssignments":
			return all(c.assignmentsOf(v.ID())), false
		case "owners":
			return c.resolve(v.owners()), false
		case "ownedObjects":
			return c.ownedBy(v.ID()), false
		case "memberOf":
			return c.groupsWith(v.ID()), false
		case "transitiveMemberOf":
			return all(c.World.GroupsOf(c.tenant(), v.ID())), false
		}
	case *message:
		return all(v.attachments), false
	}
	return nil, false
}

// ownedBy are the groups, registrations and service principals that somebody
// owns.
func (c *call) ownedBy(id string) []any {
	var of []any
	for _, g := range c.World.Groups(c.tenant()) {
		if slices.Contains(g.Owners, id) {
			of = append(of, g)
		}
	}
	for _, v := range c.registrations() {
		if slices.Contains(v.(*directory.App).Owners, id) {
			of = append(of, v)
		}
	}
	for _, v := range c.allPrincipals() {
		if slices.Contains(v.(principal).owners(), id) {
			of = append(of, v)
		}
	}
	return of
}

// expanded adds the relations that $expand asks for, or answers 403.
func (c *call) expanded(o object, v any, q query) (object, bool) {
	for _, e := range q.expand {
		t := typeOf(v)
		path := []string{t.set, "{id}", e.relation}
		if t == messageType {
			path = append([]string{"users", "{id}"}, path...)
		}
		if r := endpoint(http.MethodGet, path...); r == nil || !c.may(r.needs) {
			c.denied()
			return nil, false
		}
		many, single := c.related(v, e.relation)
		if single {
			if len(many) == 1 {
				o = append(o, member{e.relation, c.typed(many[0], e.selected)})
			}
			continue
		}
		shown := []object{}
		for _, other := range many[:min(len(many), maxExpanded)] {
			if a, ok := other.(assignment); ok {
				shown = append(shown, assignmentType.show(a, nil))
				continue
			}
			if a, ok := other.(*attachment); ok {
				shown = append(shown, c.showAttachment(a, e.selected))
				continue
			}
			shown = append(shown, c.typed(other, e.selected))
		}
		o = append(o, member{e.relation, shown})
	}
	return o, true
}

// object finds a directory object of the tenant by its id.
func (c *call) object(id string) (any, bool) {
	if u, ok := c.World.User(c.tenant(), id); ok && strings.EqualFold(u.ID, id) {
		return u, true
	}
	if g, ok := c.World.Group(c.tenant(), id); ok && strings.EqualFold(g.ID, id) {
		return g, true
	}
	if p, ok := c.lookupPrincipal(id); ok && strings.EqualFold(p.ID(), id) {
		return p, true
	}
	if a, ok := c.lookupApp(id); ok && strings.EqualFold(a.ObjectID, id) {
		return a, true
	}
	if d, ok := c.World.Device(c.tenant(), id); ok {
		return d, true
	}
	for _, r := range c.roles() {
		if strings.EqualFold(r.id(), id) {
			return r, true
		}
	}
	return nil, false
}

// subject finds the directory object that the path begins with, or answers 404.
func (c *call) subject() (any, bool) {
	var v any
	ok := false
	switch set, _, _ := strings.Cut(strings.TrimPrefix(c.at.pattern, "/"), "/"); set {
	case "{person}", "users":
		v, ok = c.findUser(c.arg(0))
	case "groups":
		v, ok = c.findGroup(c.arg(0))
	case "applications":
		v, ok = c.findApp(c.arg(0))
	case "servicePrincipals":
		v, ok = c.findPrincipal(c.arg(0))
	case "devices":
		v, ok = c.findDevice()
	case "directoryRoles":
		v, ok = c.findRole(c.arg(0))
	case "directoryObjects":
		if v, ok = c.object(c.arg(0)); !ok {
			c.notFound(c.arg(0))
		}
	}
	return v, ok
}

// list answers with a collection that paths begin with: all at once where there
// are no pages.
func (c *call) list(t *entityType, allowed int, rows func() []any) {
	q, ok := c.query(t, allowed)
	if !ok {
		return
	}
	if allowed&pageable == 0 {
		q.top = 0
	}
	c.collect(q, t, t.set, rows(), func(v any) object { return t.show(v, q.selected) })
}

// one answers with the object that the path names.
func (c *call) one(t *entityType) {
	q, ok := c.query(t, expandable)
	if !ok {
		return
	}
	v, ok := c.subject()
	if !ok {
		return
	}
	if o, ok := c.expanded(t.show(v, q.selected), v, q); ok {
		c.entity(t.set+q.columns()+"/$entity", o)
	}
}

// relation answers with what a relation of the object in the path leads to.
func (c *call) relation() {
	q, ok := c.relationQuery()
	if !ok {
		return
	}
	if v, ok := c.subject(); ok {
		many, _ := c.related(v, c.at.relation)
		c.objects(q, many)
	}
}

// resolve finds directory objects, leaving out those that are gone.
func (c *call) resolve(ids []string) []any {
	var out []any
	for _, id := range ids {
		if v, ok := c.object(id); ok {
			out = append(out, v)
		}
	}
	return out
}

// relationQuery reads the options of a collection of several types, or of the
// one that the path narrows it to.
func (c *call) relationQuery() (query, bool) {
	t := c.castType()
	if t == nil {
		c.refuse(http.StatusBadRequest, "BadRequest", "Resource not found for the segment 'microsoft.graph."+c.cast+"'.")
		return query{}, false
	}
	if c.cast != "" && !(c.eventual() && (c.segmentCount || strings.Contains(strings.ToLower(c.r.URL.RawQuery), "count=true"))) {
		c.refuse(http.StatusBadRequest, "Request_UnsupportedQuery", "Unsupported Query.")
		return query{}, false
	}
	if c.references {
		return c.query(t, collection&^expandable&^filterable|plain)
	}
	return c.query(t, collection)
}

func (c *call) castType() *entityType {
	if c.cast == "" {
		return objectType
	}
	for _, t := range []*entityType{userType, groupType, roleType, principalType, applicationType, deviceType} {
		if strings.EqualFold(t.name, c.cast) {
			return t
		}
	}
	return nil
}

// objects answers with a collection of several types, or of the one that the
// path narrows it to.
func (c *call) objects(q query, rows []any) {
	t := c.castType()
	if c.references {
		c.collect(q, objectType, "Collection($ref)", rows, c.referTo)
		return
	}
	if t == objectType {
		c.collect(q, objectType, "directoryObjects", rows, func(v any) object { return c.mixed(v, q.selected) })
		return
	}
	rows = slices.DeleteFunc(rows, func(v any) bool { return typeOf(v) != t })
	c.collect(q, t, t.set, rows, func(v any) object { return t.show(v, q.selected) })
}

// referTo shows an object as no more than its address.
func (c *call) referTo(v any) object {
	return object{{"@odata.id", c.origin() + "/" + c.version + "/directoryObjects/" + idOf(v)}}
}

// mixed shows an object of a collection of several types: with its type, and
// with everything but its id hidden when the token may list the relation but
// not read the type.
func (c *call) mixed(v any, selected []string) object {
	t := typeOf(v)
	if c.may("GET /" + strings.ToLower(t.set)) {
		return c.typed(v, selected)
	}
	o := t.show(v, selected)
	for i := range o {
		if o[i].name != "id" {
			o[i].value = nil
		}
	}
	return c.withType(o, t)
}

func (c *call) typed(v any, selected []string) object {
	t := typeOf(v)
	return c.withType(t.show(v, selected), t)
}

func (c *call) withType(o object, t *entityType) object {
	if c.noMetadata() {
		return o
	}
	return append(object{{"@odata.type", "#microsoft.graph." + t.name}}, o...)
}

func (c *call) directoryObject() {
	q, ok := c.query(objectType, 0)
	if !ok {
		return
	}
	v, ok := c.object(c.arg(0))
	if !ok {
		c.notFound(c.arg(0))
		return
	}
	c.entity("directoryObjects/$entity", c.typed(v, q.selected))
}

// directoryTypes are what getByIds can be narrowed to. Azure CLI asks for
// partner references, which nobody has here.
var directoryTypes = []string{"administrativeUnit", "application", "appRoleAssignment", "contract", "device", "directoryObject", "directoryObjectPartnerReference",
	"directoryRole", "directoryRoleTemplate", "group", "groupSettingTemplate", "organization", "orgContact", "servicePrincipal", "user"}

func (c *call) getByIDs() {
	given, ok := c.action("getByIds", true, "ids Collection(Edm.String)", "types Collection(Edm.String)")
	if !ok {
		return
	}
	const most = 1000
	ids, types := stringsIn(given["ids"]), stringsIn(given["types"])
	if n := len(ids); n == 0 || n > most {
		c.invalid(fmt.Errorf("The parameter 'ids' must have 1 to %d ids.", most))
		return
	}
	for i, name := range types {
		if !contains(directoryTypes, name) {
			c.invalid(fmt.Errorf("Invalid value specified for parameter 'types': '%s'.", name))
			return
		}
		if strings.EqualFold(name, "directoryObject") {
			types = nil
			break
		}
		types[i] = strings.ToLower(name)
	}
	shown := []object{}
	for _, v := range c.resolve(ids) {
		if types == nil || slices.Contains(types, strings.ToLower(typeOf(v).name)) {
			shown = append(shown, c.typed(v, nil))
		}
	}
	c.entity("directoryObjects", object{{"value", shown}})
}

// deletedType is the type that a deleted item was of, and what it was.
func deletedType(d directory.Deleted) (*entityType, any) {
	switch d.Kind {
	case directory.UserKind:
		return userType, d.User
	case directory.GroupKind:
		return groupType, d.Group
	}
	return applicationType, d.App
}

// showDeleted shows a deleted item with the time of its deletion.
func showDeleted(d directory.Deleted, selected []string) object {
	t, v := deletedType(d)
	if selected == nil && t.shown != nil {
		selected = t.shown
		if !slices.Contains(selected, "deletedDateTime") {
			selected = append([]string{"deletedDateTime"}, selected...)
		}
	}
	o := t.show(v, selected)
	for i := range o {
		if o[i].name == "deletedDateTime" {
			o[i].value = date(d.At)
		}
	}
	return o
}

func (c *call) deletedItems() {
	t := map[string]*entityType{"user": userType, "group": groupType, "application": applicationType}[c.cast]
	switch {
	case c.cast == "":
		c.refuse(http.StatusBadRequest, "Request_BadRequest", "The collection of all deleted items cannot be listed: add a type, such as microsoft.graph.user.")
		return
	case t == nil:
		c.refuse(http.StatusBadRequest, "BadRequest", "Resource not found for the segment 'microsoft.graph."+c.cast+"'.")
		return
	case !c.may("GET /directory/deleteditems/" + c.cast):
		c.denied()
		return
	}
	shownAs := &entityType{name: t.name, set: t.set, bases: t.bases, shown: t.shown, strict: true, value: func(v any, name string) (any, bool) {
		d := v.(directory.Deleted)
		if name == "deletedDateTime" {
			return date(d.At), true
		}
		_, was := deletedType(d)
		return t.value(was, name)
	}}
	q, ok := c.query(shownAs, collection&^expandable)
	if !ok {
		return
	}
	var rows []any
	for _, d := range c.World.DeletedItems(c.tenant()) {
		if of, _ := deletedType(d); of == t {
			rows = append(rows, d)
		}
	}
	c.collect(q, shownAs, t.set, rows, func(v any) object { return showDeleted(v.(directory.Deleted), q.selected) })
}

// findDeleted looks a deleted item up, or answers 403 or 404.
func (c *call) findDeleted(method string) (directory.Deleted, bool) {
	for _, d := range c.World.DeletedItems(c.tenant()) {
		if !strings.EqualFold(d.ID, c.arg(0)) {
			continue
		}
		allowed := c.may(method + " /directory/deleteditems/" + d.Kind)
		if method != http.MethodGet && c.token.delegated() && !administrator(map[string]string{directory.UserKind: userAdministrator,
			directory.GroupKind: groupsAdministrator, directory.AppKind: applicationAdministrator}[d.Kind])(c) {
			allowed = false
		}
		if !allowed {
			c.denied()
		}
		return d, allowed
	}
	c.notFound(c.arg(0))
	return directory.Deleted{}, false
}

func (c *call) deletedItem() {
	d, ok := c.findDeleted(http.MethodGet)
	if !ok || !c.noOptions() {
		return
	}
	t, _ := deletedType(d)
	c.entity("directoryObjects/$entity", c.withType(showDeleted(d, nil), t))
}

func (c *call) restore() {
	d, ok := c.findDeleted(http.MethodPost)
	if !ok || !c.noOptions() {
		return
	}
	t, v := deletedType(d)
	if _, err := c.World.Restore(c.tenant(), d.ID); err != nil {
		if errors.Is(err, directory.ErrConflict) {
			c.conflict(err, map[string]string{directory.UserKind: "userPrincipalName", directory.AppKind: "identifierUris"}[d.Kind])
			return
		}
		c.notFound(d.ID)
		return
	}
	c.entity("directoryObjects/$entity", c.typed(v, t.shown))
}

func (c *call) purge() {
	d, ok := c.findDeleted(http.MethodPost)
	if !ok {
		return
	}
	c.World.Purge(c.tenant(), d.ID)
	c.noContent()
}
