package directory

import (
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Why something was not done.
var (
	ErrNotFound = errors.New("there is no such object")
	ErrConflict = errors.New("the name is taken")
)

// The kinds of objects that are deleted softly or have a history, by the names
// that Graph has for the types.
const (
	UserKind  = "user"
	GroupKind = "group"
	AppKind   = "application"
)

// retention is how long a deleted object can be restored.
const retention = 30 * 24 * time.Hour

// Deleted is an object that can still be restored.
type Deleted struct {
	Tenant, Kind, ID string // ID is an object id
	At               time.Time
	User             *User // one of the three
	Group            *Group
	App              *App

	memberOf []string // ids of the groups it was in
}

// maxDeleted bounds what can be restored.
const maxDeleted = 100_000

// bury keeps a deleted object for a while. Where there are too many, the oldest
// go before their time.
func (w *World) bury(d Deleted) {
	d.At = w.Now()
	if len(w.deleted) >= maxDeleted {
		w.deleted = slices.Delete(w.deleted, 0, maxDeleted/2)
	}
	w.deleted = append(w.deleted, d)
}

// DeletedItems returns what can be restored in a tenant, in the order of its
// deletion.
func (w *World) DeletedItems(tenant string) []Deleted {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.Now()
	w.deleted = slices.DeleteFunc(w.deleted, func(d Deleted) bool { return now.Sub(d.At) > retention })
	var items []Deleted
	for _, d := range w.deleted {
		if d.Tenant == tenant {
			items = append(items, d)
		}
	}
	return items
}

// Restore brings a deleted object back. It returns ErrConflict if somebody has
// taken its name.
func (w *World) Restore(tenant, id string) (Deleted, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := w.findDeleted(tenant, id)
	if i < 0 {
		return Deleted{}, ErrNotFound
	}
	d := w.deleted[i]
	switch d.Kind {
	case UserKind:
		if _, taken := w.user(tenant, d.User.UPN); taken {
			return d, ErrConflict
		}
		w.putUser(d.User)
	case GroupKind:
		w.putGroup(d.Group)
	case AppKind:
		if w.appTaken(d.App) {
			return d, ErrConflict
		}
		w.putApp(d.App)
	}
	w.deleted = slices.Delete(w.deleted, i, i+1)
	for _, id := range d.memberOf {
		if g, ok := w.groupBy[id]; ok {
			c := *g
			c.Members = append(slices.Clone(g.Members), d.ID)
			w.putGroup(&c)
		}
	}
	return d, nil
}

// Purge deletes a deleted object for good; it says whether there was one.
func (w *World) Purge(tenant, id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := w.findDeleted(tenant, id)
	if i < 0 {
		return false
	}
	d := w.deleted[i]
	w.deleted = slices.Delete(w.deleted, i, i+1)
	if d.Kind != AppKind {
		w.changed(Change{Tenant: tenant, Kind: d.Kind, ID: d.ID, User: d.User, Group: d.Group, Removed: "deleted"})
	}
	return true
}

func (w *World) findDeleted(tenant, id string) int {
	return slices.IndexFunc(w.deleted, func(d Deleted) bool {
		return d.Tenant == tenant && strings.EqualFold(d.ID, id) && w.Now().Sub(d.At) <= retention
	})
}

// Change is one change of a user or a group.
type Change struct {
	Seq              uint64
	Tenant, Kind, ID string
	User             *User  // before the change; nil if there was none
	Group            *Group // before the change; nil if there was none
	Removed          string // "changed" if it can be restored, "deleted" if not, empty if it is there
}

// maxChanges bounds the history.
const maxChanges = 100_000

func (w *World) changed(c Change) {
	w.seq++
	c.Seq = w.seq
	if len(w.changes) >= maxChanges {
		w.changes = slices.Delete(w.changes, 0, maxChanges/2)
	}
	w.changes = append(w.changes, c)
}

// Seq is the number of the last change.
func (w *World) Seq() uint64 {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.seq
}

// Changes returns the changes of a tenant after one with a number, oldest
// first, and the number of the last change of all. It is not ok if the history
// does not reach back that far.
func (w *World) Changes(tenant, kind string, after uint64) (list []Change, last uint64, ok bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if after > w.seq || after < w.seq && (len(w.changes) == 0 || w.changes[0].Seq > after+1) {
		return nil, w.seq, false
	}
	for _, c := range w.changes {
		if c.Seq > after && c.Tenant == tenant && c.Kind == kind {
			list = append(list, c)
		}
	}
	return list, w.seq, true
}

// NewID makes an object id that was not there before. Equal worlds make equal
// ids.
func (w *World) NewID(kind string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.made++
	return derivedID("made", kind, strconv.FormatUint(w.made, 10))
}

// CreateApp adds an app unless its client id or one of its identifier URIs is
// taken.
func (w *World) CreateApp(a *App) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.appTaken(a) {
		return ErrConflict
	}
	w.putApp(a)
	return nil
}

// appTaken says whether another app has a name of a.
func (w *World) appTaken(a *App) bool {
	_, taken := w.appBy[strings.ToLower(a.ClientID)]
	return taken || slices.ContainsFunc(a.IdentifierURIs, func(uri string) bool { return w.resources[normalIdentifier(uri)] != nil })
}

// DeleteApp removes an app of a tenant with its grants and role assignments
// there; it says whether there was one. For 30 days it is one of
// [World.DeletedItems].
func (w *World) DeleteApp(tenant, clientID string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.appBy[strings.ToLower(clientID)]
	if !ok || a.Tenant != tenant {
		return false
	}
	w.forgetApp(a)
	delete(w.appBy, a.ClientID)
	w.apps = slices.DeleteFunc(w.apps, func(o *App) bool { return o == a })
	w.disown(tenant, a.ClientID)
	w.bury(Deleted{Tenant: tenant, Kind: AppKind, ID: a.ObjectID, App: a})
	return true
}

// disown removes what an app has been granted in a tenant, and others at it.
func (w *World) disown(tenant, clientID string) {
	w.grants = slices.DeleteFunc(w.grants, func(g Grant) bool {
		return g.Tenant == tenant && (g.Client == clientID || g.Resource == clientID)
	})
	w.roles = slices.DeleteFunc(w.roles, func(r RoleAssignment) bool {
		return r.Tenant == tenant && (r.Principal == clientID || r.Resource == clientID)
	})
}

// Uninstall removes the service principal of an app from a tenant, and with it
// what the app has been granted there.
func (w *World) Uninstall(tenant, clientID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	clientID = strings.ToLower(clientID)
	if a, ok := w.appBy[clientID]; ok {
		c := *a
		c.PrincipalOwners = maps.Clone(a.PrincipalOwners)
		delete(c.PrincipalOwners, tenant)
		if a.Tenant == tenant {
			c.NoPrincipal, c.PrincipalSecrets = true, nil
		}
		w.putApp(&c)
	}
	delete(w.installed, tenant+"/"+clientID)
	w.disown(tenant, clientID)
}

// SetGrant makes the scopes of g all that its client has been granted there.
func (w *World) SetGrant(g Grant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, old := range w.grants {
		if old.Tenant == g.Tenant && old.Client == g.Client && old.Resource == g.Resource && old.User == g.User {
			w.grants[i].Scopes = slices.Clone(g.Scopes)
			return
		}
	}
	g.Scopes = slices.Clone(g.Scopes)
	w.grants = append(w.grants, g)
}

// UnassignRole withdraws an app role; it says whether it was assigned.
func (w *World) UnassignRole(a RoleAssignment) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.roles)
	w.roles = slices.DeleteFunc(w.roles, func(o RoleAssignment) bool { return o == a })
	return len(w.roles) < n
}
