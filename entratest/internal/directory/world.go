package directory

import (
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// World is everything that the emulator knows. The zero value is empty: start
// from [Default], or from New and a world file.
type World struct {
	offset atomic.Int64 // nanoseconds that the world's clock is ahead of the real one

	mu        sync.RWMutex // guards all below
	tenants   []*Tenant
	tenantBy  map[string]*Tenant // id and domains, lower case
	users     []*User
	userBy    map[string]*User // tenant + "/" + id or UPN, lower case
	guestBy   map[string]*User // tenant + "/" + id of the account at home
	groups    []*Group
	groupBy   map[string]*Group // id
	apps      []*App
	appBy     map[string]*App // client id, lower case
	resources map[string]*App // identifier, as normalIdentifier writes it
	installed map[string]bool // tenant + "/" + client id of foreign apps with a principal there
	grants    []Grant
	roles     []RoleAssignment

	azureRoles  []AzureRole
	azureStrict map[string]bool // tenants where these count

	devices []*Device
	signIns ring[SignIn]
	audits  ring[Audit]

	crowd   *Crowd        // nil: nobody is generated
	touched map[int]*User // of the crowd, changed or (nil) deleted
	reached []int         // the keys of touched, in order
	deleted []Deleted
	changes []Change
	seq     uint64 // of the last change
	made    uint64 // numbers new ids
}

// New returns a world with no tenants that knows Microsoft's own apps.
func New() *World {
	w := &World{}
	w.clear()
	return w
}

// clear empties the world, keeping its clock and Microsoft's own apps.
func (w *World) clear() {
	w.mu.Lock()
	w.tenants, w.users, w.groups, w.apps, w.grants, w.roles = nil, nil, nil, nil, nil, nil
	w.tenantBy = map[string]*Tenant{}
	w.userBy, w.guestBy = map[string]*User{}, map[string]*User{}
	w.groupBy = map[string]*Group{}
	w.appBy = map[string]*App{}
	w.resources = map[string]*App{}
	w.installed = map[string]bool{}
	w.azureRoles, w.azureStrict = nil, map[string]bool{}
	w.devices, w.crowd, w.touched, w.reached, w.deleted = nil, nil, nil, nil, nil
	w.mu.Unlock()
	for _, a := range firstParty() {
		w.PutApp(a)
	}
}

// Now returns the world's time: the real clock, moved by Advance and SetTime.
func (w *World) Now() time.Time {
	return time.Now().Add(time.Duration(w.offset.Load()))
}

// Advance moves the world's clock by d.
func (w *World) Advance(d time.Duration) { w.offset.Add(int64(d)) }

// SetTime makes it t in the world, from where the clock runs on.
func (w *World) SetTime(t time.Time) { w.offset.Store(int64(time.Until(t))) }

// Tenant returns the tenant with this id or verified domain, in any case.
func (w *World) Tenant(idOrDomain string) (*Tenant, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	t, ok := w.tenantBy[strings.ToLower(idOrDomain)]
	return t, ok
}

// Tenants returns all tenants, in the order in which they were added.
func (w *World) Tenants() []*Tenant {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return slices.Clone(w.tenants)
}

// PutTenant adds t, or replaces the tenant with its id.
func (w *World) PutTenant(t *Tenant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t.ID = strings.ToLower(t.ID)
	maps.DeleteFunc(w.tenantBy, func(_ string, old *Tenant) bool { return old.ID == t.ID })
	w.tenants = put(w.tenants, t, func(o *Tenant) bool { return o.ID == t.ID })
	w.tenantBy[t.ID] = t
	for _, d := range t.Domains {
		w.tenantBy[strings.ToLower(d)] = t
	}
}

// User returns the user of a tenant with this object id or user principal
// name, in any case. An empty tenant looks in all of them.
func (w *World) User(tenant, idOrUPN string) (*User, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.user(tenant, idOrUPN)
}

func (w *World) user(tenant, idOrUPN string) (*User, bool) {
	if u, ok := w.userBy[strings.ToLower(tenant+"/"+idOrUPN)]; ok {
		return u, true
	}
	if i, ok := w.inCrowd(tenant, idOrUPN); ok {
		if _, touched := w.touched[i]; !touched { // else it is deleted, or has another name now
			return w.crowd.User(i), true
		}
	}
	return nil, false
}

func (w *World) inCrowd(tenant, idOrUPN string) (int, bool) {
	if w.crowd == nil || tenant != "" && tenant != w.crowd.Tenant {
		return 0, false
	}
	return w.crowd.Index(idOrUPN)
}

// Account returns the account that somebody signs in with: the user, or what a
// guest has in the tenant where it is at home. It is not ok if there is none.
func (w *World) Account(u *User) (*User, bool) {
	if !u.External() {
		return u, true
	}
	return w.User("", u.Home)
}

// Accept notes that a guest who was invited has come.
func (w *World) Accept(u *User) {
	if u.More["externalUserState"] != "PendingAcceptance" {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	u, ok := w.user(u.Tenant, u.ID)
	if !ok || u.More["externalUserState"] != "PendingAcceptance" {
		return
	}
	c := *u
	c.More = maps.Clone(u.More)
	c.More["externalUserState"], c.More["externalUserStateChangeDateTime"] = "Accepted", w.Now().UTC().Format(time.RFC3339)
	w.putUser(&c)
}

// UserOf returns the user that an account is in a tenant: itself where it is at
// home, and elsewhere a guest.
func (w *World) UserOf(tenant string, account *User) (*User, bool) {
	if account.Tenant == tenant {
		return account, true
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	u, ok := w.guestBy[tenant+"/"+account.ID]
	return u, ok
}

// Users returns the users of a tenant in the order of their creation. Those of
// a [Crowd] are not among them, unless they were changed.
func (w *World) Users(tenant string) []*User {
	w.mu.RLock()
	defer w.mu.RUnlock()
	us := w.kept(tenant)
	for _, i := range w.reached {
		if u := w.touched[i]; u != nil && u.Tenant == tenant {
			us = append(us, u)
		}
	}
	return us
}

func (w *World) kept(tenant string) []*User {
	var us []*User
	sorted := true
	for _, u := range w.users {
		if u.Tenant == tenant {
			sorted = sorted && (len(us) == 0 || !u.Created.Before(us[len(us)-1].Created))
			us = append(us, u)
		}
	}
	if !sorted {
		slices.SortStableFunc(us, func(a, b *User) int { return a.Created.Compare(b.Created) })
	}
	return us
}

// People is everybody of a tenant at one moment.
type People struct {
	Kept    []*User       // in the order of their creation
	Crowd   *Crowd        // nil where nobody is generated
	Touched map[int]*User // users of the crowd that are not as generated; nil ones are deleted
	Reached []int         // the keys of Touched, in order
}

// Len is how many there are.
func (p People) Len() int {
	n := len(p.Kept)
	if p.Crowd != nil {
		n += p.Crowd.Len()
	}
	for _, u := range p.Touched {
		if u == nil {
			n--
		}
	}
	return n
}

// People returns everybody of a tenant.
func (w *World) People(tenant string) People {
	w.mu.RLock()
	defer w.mu.RUnlock()
	p := People{Kept: w.kept(tenant)}
	if w.crowd != nil && w.crowd.Tenant == tenant {
		p.Crowd, p.Touched, p.Reached = w.crowd, maps.Clone(w.touched), slices.Clone(w.reached)
	}
	return p
}

// Generate adds n users to a tenant that take no memory; see [Crowd]. One
// tenant of a world has a crowd.
func (w *World) Generate(tenant string, n int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	t, ok := w.tenantBy[strings.ToLower(tenant)]
	switch {
	case !ok || len(t.Domains) == 0:
		return fmt.Errorf("generating users: there is no tenant %q with a domain", tenant)
	case n < 0 || n > 1<<31-1:
		return fmt.Errorf("generating users: %d is not a number of users", n)
	case w.crowd != nil:
		return fmt.Errorf("generating users: there are generated users already")
	case n == 0:
		return nil
	}
	w.crowd, w.touched = newCrowd(t.ID, strings.ToLower(t.Domains[0]), n), map[int]*User{}
	return nil
}

// PutUser adds u, or replaces the user with its id.
func (w *World) PutUser(u *User) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.putUser(u)
}

func (w *World) putUser(u *User) {
	u.ID = strings.ToLower(u.ID)
	before, existed := w.user(u.Tenant, u.ID)
	w.forgetUser(u.Tenant, u.ID)
	if u.Created.IsZero() {
		u.Created = w.Now()
	}
	if i, ok := w.inCrowd(u.Tenant, u.ID); ok {
		w.touch(i, u)
	} else if existed {
		w.users[slices.Index(w.users, before)] = u
	} else {
		w.users = append(w.users, u)
	}
	for _, tenant := range []string{u.Tenant, ""} {
		w.userBy[strings.ToLower(tenant+"/"+u.ID)] = u
		w.userBy[strings.ToLower(tenant+"/"+u.UPN)] = u
	}
	if u.Home != "" {
		w.guestBy[u.Tenant+"/"+u.Home] = u
	}
	w.changed(Change{Tenant: u.Tenant, Kind: UserKind, ID: u.ID, User: before})
}

func (w *World) touch(i int, u *User) {
	if _, again := w.touched[i]; !again {
		at, _ := slices.BinarySearch(w.reached, i)
		w.reached = slices.Insert(w.reached, at, i)
	}
	w.touched[i] = u
}

// CreateUser adds u unless its user principal name is taken.
func (w *World) CreateUser(u *User) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, taken := w.user(u.Tenant, u.UPN); taken {
		return ErrConflict
	}
	w.putUser(u)
	return nil
}

// UpdateUser replaces a user by a copy that change has changed, unless change
// returns an error or the new user principal name is taken.
func (w *World) UpdateUser(tenant, id string, change func(*User) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	old, ok := w.user(tenant, id)
	if !ok {
		return ErrNotFound
	}
	c := *old
	c.More = maps.Clone(old.More)
	if err := change(&c); err != nil {
		return err
	}
	if other, taken := w.user(tenant, c.UPN); taken && other.ID != c.ID {
		return ErrConflict
	}
	w.putUser(&c)
	return nil
}

// DeleteUser removes a user and the user's memberships; it says whether there
// was one. For 30 days the user is one of [World.DeletedItems]. Grants and
// tokens of the user are good for nothing in the meantime.
func (w *World) DeleteUser(tenant, id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	u, ok := w.user(tenant, id)
	if !ok {
		return false
	}
	w.forgetUser(tenant, u.ID)
	if i, ok := w.inCrowd(u.Tenant, u.ID); ok {
		w.touch(i, nil)
	} else {
		w.users = slices.DeleteFunc(w.users, func(o *User) bool { return o == u })
	}
	w.bury(Deleted{Tenant: u.Tenant, Kind: UserKind, ID: u.ID, User: u, memberOf: w.leaveGroups(u.ID)})
	w.changed(Change{Tenant: u.Tenant, Kind: UserKind, ID: u.ID, User: u, Removed: "changed"})
	return true
}

// leaveGroups takes an object out of all groups and returns their ids.
func (w *World) leaveGroups(id string) []string {
	var left []string
	for _, g := range slices.Clone(w.groups) {
		if slices.Contains(g.Members, id) {
			c := *g
			c.Members = slices.DeleteFunc(slices.Clone(g.Members), func(m string) bool { return m == id })
			w.putGroup(&c)
			left = append(left, g.ID)
		}
	}
	return left
}

// forgetUser takes a user out of the index, by the names it has now.
func (w *World) forgetUser(tenant, id string) {
	old, ok := w.userBy[strings.ToLower(tenant+"/"+id)]
	if !ok {
		return
	}
	for _, t := range []string{tenant, ""} {
		delete(w.userBy, strings.ToLower(t+"/"+old.ID))
		delete(w.userBy, strings.ToLower(t+"/"+old.UPN))
	}
	if guest := old.Tenant + "/" + old.Home; w.guestBy[guest] == old {
		delete(w.guestBy, guest)
	}
}

// RevokeSessions voids all grants of a user that were made until now; it says
// whether there is such a user.
func (w *World) RevokeSessions(userID string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	u, ok := w.user("", userID)
	if !ok {
		return false
	}
	c := *u
	c.SessionsRevoked = w.Now()
	w.putUser(&c)
	return true
}

// Group returns the group of a tenant with this object id or display name.
func (w *World) Group(tenant, idOrName string) (*Group, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if g, ok := w.groupBy[strings.ToLower(idOrName)]; ok && g.Tenant == tenant {
		return g, true
	}
	for _, g := range w.groups {
		if g.Tenant == tenant && g.Name == idOrName {
			return g, true
		}
	}
	return nil, false
}

// Groups returns the groups of a tenant, in the order of their creation.
func (w *World) Groups(tenant string) []*Group {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var gs []*Group
	for _, g := range w.groups {
		if g.Tenant == tenant {
			gs = append(gs, g)
		}
	}
	return gs
}

// GroupsOf returns the groups that a user or group is a member of, directly or
// through other groups.
func (w *World) GroupsOf(tenant, id string) []*Group {
	all := w.Groups(tenant)
	member := map[string]bool{id: true}
	var of []*Group
	for grew := true; grew; { // groups may nest, in circles too
		grew = false
		for _, g := range all {
			if !member[g.ID] && slices.ContainsFunc(g.Members, func(m string) bool { return member[m] }) {
				member[g.ID], grew = true, true
				of = append(of, g)
			}
		}
	}
	return of
}

// PutGroup adds g, or replaces the group with its id.
func (w *World) PutGroup(g *Group) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.putGroup(g)
}

func (w *World) putGroup(g *Group) {
	g.ID = strings.ToLower(g.ID)
	if g.Created.IsZero() {
		g.Created = w.Now()
	}
	before := w.groupBy[g.ID]
	if before != nil {
		w.groups[slices.Index(w.groups, before)] = g
	} else {
		w.groups = append(w.groups, g)
	}
	w.groupBy[g.ID] = g
	w.changed(Change{Tenant: g.Tenant, Kind: GroupKind, ID: g.ID, Group: before})
}

// UpdateGroup replaces a group by a copy that change has changed, unless
// change returns an error.
func (w *World) UpdateGroup(tenant, id string, change func(*Group) error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	old, ok := w.groupBy[strings.ToLower(id)]
	if !ok || old.Tenant != tenant {
		return ErrNotFound
	}
	c := *old
	c.Members, c.Owners, c.More = slices.Clone(old.Members), slices.Clone(old.Owners), maps.Clone(old.More)
	if err := change(&c); err != nil {
		return err
	}
	w.putGroup(&c)
	return nil
}

// DeleteGroup removes a group and says whether there was one. A Microsoft 365
// group is one of [World.DeletedItems] for 30 days; a security group is gone.
func (w *World) DeleteGroup(tenant, id string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	g, ok := w.groupBy[strings.ToLower(id)]
	if !ok || g.Tenant != tenant {
		return false
	}
	w.groups = slices.DeleteFunc(w.groups, func(o *Group) bool { return o == g })
	delete(w.groupBy, g.ID)
	left := w.leaveGroups(g.ID)
	removed := "deleted"
	if g.Unified {
		removed = "changed"
		w.bury(Deleted{Tenant: tenant, Kind: GroupKind, ID: g.ID, Group: g, memberOf: left})
	}
	w.changed(Change{Tenant: tenant, Kind: GroupKind, ID: g.ID, Group: g, Removed: removed})
	return true
}

// App returns the app with this client id as a tenant sees it: its own,
// Microsoft's, or one of another tenant that has a service principal there.
func (w *World) App(tenant, clientID string) (*App, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	a, ok := w.appBy[strings.ToLower(clientID)]
	if !ok || !w.visible(tenant, a) {
		return nil, false
	}
	return a, true
}

// Registration returns the app with this client id, whichever tenant it lives
// in.
func (w *World) Registration(clientID string) (*App, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	a, ok := w.appBy[strings.ToLower(clientID)]
	return a, ok
}

func (w *World) visible(tenant string, a *App) bool {
	return a.FirstParty || a.Tenant == tenant || w.installed[tenant+"/"+a.ClientID]
}

// Apps returns the apps that a tenant sees, Microsoft's own among them.
func (w *World) Apps(tenant string) []*App {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var as []*App
	for _, a := range w.apps {
		if w.visible(tenant, a) {
			as = append(as, a)
		}
	}
	return as
}

// PutApp adds a, or replaces the app with its client id. Object ids that are
// missing are made up from the client id, always the same.
func (w *World) PutApp(a *App) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.putApp(a)
}

func (w *World) putApp(a *App) {
	a.ClientID = strings.ToLower(a.ClientID)
	if a.ObjectID == "" {
		a.ObjectID = derivedID("application", a.ClientID)
	}
	if a.PrincipalID == "" {
		a.PrincipalID = derivedID("principal", a.Tenant, a.ClientID)
	}
	if old, ok := w.appBy[a.ClientID]; ok {
		w.forgetApp(old)
	}
	if a.world != w {
		a.world = w
	}
	w.apps = put(w.apps, a, func(o *App) bool { return o.ClientID == a.ClientID })
	w.appBy[a.ClientID] = a
	w.resources[a.ClientID] = a
	for _, uri := range a.IdentifierURIs {
		w.resources[normalIdentifier(uri)] = a
	}
}

// forgetApp takes an app out of the index of resources.
func (w *World) forgetApp(old *App) {
	maps.DeleteFunc(w.resources, func(_ string, r *App) bool { return r == old })
}

// UpdateApp replaces an app by a copy that change has changed; it says whether
// there is such an app.
func (w *World) UpdateApp(clientID string, change func(*App)) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	a, ok := w.appBy[strings.ToLower(clientID)]
	if !ok {
		return false
	}
	c := *a
	c.More, c.Owners = maps.Clone(a.More), slices.Clone(a.Owners)
	c.Secrets, c.Certificates, c.Federated = slices.Clone(a.Secrets), slices.Clone(a.Certificates), slices.Clone(a.Federated)
	c.PrincipalSecrets, c.PrincipalOwners = slices.Clone(a.PrincipalSecrets), maps.Clone(a.PrincipalOwners)
	c.IdentifierURIs = slices.Clone(a.IdentifierURIs)
	c.WebRedirects, c.SPARedirects, c.NativeRedirects = slices.Clone(a.WebRedirects), slices.Clone(a.SPARedirects), slices.Clone(a.NativeRedirects)
	change(&c)
	w.putApp(&c)
	return true
}

// AddCertificate registers a certificate for an app; it says whether there is
// such an app.
func (w *World) AddCertificate(clientID string, cert *x509.Certificate) bool {
	return w.UpdateApp(clientID, func(a *App) { a.Certificates = append(a.Certificates, AppCertificate{Certificate: cert}) })
}

// Install gives an app of another tenant a service principal in tenant.
func (w *World) Install(tenant, clientID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.installed[tenant+"/"+strings.ToLower(clientID)] = true
}

// PrincipalID is the package's function of the same name.
func (w *World) PrincipalID(tenant string, a *App) string { return PrincipalID(tenant, a) }

// PrincipalID returns the object id of an app's service principal in a tenant.
func PrincipalID(tenant string, a *App) string {
	if a.Tenant == tenant {
		return a.PrincipalID
	}
	return derivedID("principal", tenant, a.ClientID)
}

// AddResourceOrigin makes origin ("https://localhost:8443") another name of
// the app appID, so that a client which derives a scope from a URL of the
// emulator gets a token for what answers there.
func (w *World) AddResourceOrigin(appID, origin string) {
	w.UpdateApp(appID, func(a *App) { a.IdentifierURIs = append(a.IdentifierURIs, origin) })
}

// Resource returns the app that a tenant knows under a client id or an
// identifier URI. A trailing slash makes no difference, nor does the case.
func (w *World) Resource(tenant, identifier string) (*App, bool) {
	w.mu.RLock()
	defer w.mu.RUnlock()
	a, ok := w.resources[normalIdentifier(identifier)]
	if !ok || !w.visible(tenant, a) {
		return nil, false
	}
	return a, true
}

func normalIdentifier(uri string) string {
	return strings.ToLower(strings.TrimRight(uri, "/"))
}

// Grant records consent. Scopes already granted stay.
func (w *World) Grant(g Grant) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, old := range w.grants {
		if old.Tenant == g.Tenant && old.Client == g.Client && old.Resource == g.Resource && old.User == g.User {
			w.grants[i].Scopes = union(old.Scopes, g.Scopes)
			return
		}
	}
	g.Scopes = slices.Clone(g.Scopes)
	w.grants = append(w.grants, g)
}

// Ungrant withdraws the consent that a client has for a resource, everybody's
// where user is empty and that user's otherwise.
func (w *World) Ungrant(tenant, client, resource, user string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.grants = slices.DeleteFunc(w.grants, func(g Grant) bool {
		return g.Tenant == tenant && g.Client == client && g.Resource == resource && g.User == user
	})
}

// Grants returns the consents of a tenant.
func (w *World) Grants(tenant string) []Grant {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var gs []Grant
	for _, g := range w.grants {
		if g.Tenant == tenant {
			gs = append(gs, g)
		}
	}
	return gs
}

// Consented returns the scopes of resource (a client id) that client may use
// for user: what everybody has been given, what the user has, and what the
// resource has pre-authorised. Ids are client ids and an object id.
func (w *World) Consented(tenant, client, resource, user string) []string {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var scopes []string
	for _, g := range w.grants {
		if g.Tenant == tenant && g.Client == client && g.Resource == resource && (g.User == "" || g.User == user) {
			scopes = union(scopes, g.Scopes)
		}
	}
	if r, ok := w.appBy[resource]; ok {
		scopes = union(scopes, r.PreAuthorized[client])
	}
	return scopes
}

// AssignRole gives a principal (a user's or group's object id, or an app's
// client id) an app role of a resource.
func (w *World) AssignRole(a RoleAssignment) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.roles, a) {
		w.roles = append(w.roles, a)
	}
}

// RoleAssignments returns the app role assignments of a tenant.
func (w *World) RoleAssignments(tenant string) []RoleAssignment {
	w.mu.RLock()
	defer w.mu.RUnlock()
	var as []RoleAssignment
	for _, a := range w.roles {
		if a.Tenant == tenant {
			as = append(as, a)
		}
	}
	return as
}

// AppRolesOf returns the values of the app roles that a principal (a user's
// object id, or an app's client id) has at a resource, those of a user's
// groups among them. An assignment without a role gives the empty value.
func (w *World) AppRolesOf(tenant, principal, resource string) []string {
	holders := []string{principal}
	if _, person := w.User(tenant, principal); person {
		for _, g := range w.GroupsOf(tenant, principal) {
			holders = append(holders, g.ID)
		}
	}
	w.mu.RLock()
	defer w.mu.RUnlock()
	var values []string
	for _, a := range w.roles {
		if a.Tenant == tenant && a.Resource == resource && slices.Contains(holders, a.Principal) && !slices.Contains(values, a.Role) {
			values = append(values, a.Role)
		}
	}
	return values
}

// Assigned says whether a principal (a group's object id, for one) is assigned to
// a resource, with a role or without.
func (w *World) Assigned(tenant, principal, resource string) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return slices.ContainsFunc(w.roles, func(a RoleAssignment) bool {
		return a.Tenant == tenant && a.Principal == principal && a.Resource == resource
	})
}

// Scope returns the delegated permission of a with this value, in any case.
func (a *App) Scope(value string) (Scope, bool) {
	for _, s := range a.Scopes {
		if strings.EqualFold(s.Value, value) && !s.Disabled {
			return s, true
		}
	}
	return Scope{}, false
}

// Required is what a registration asks of one resource: ids of its scopes, and
// of its app roles.
type Required struct {
	Resource      string // client id
	Scopes, Roles []string
}

// Required returns what the registration asks for, by the ids that the
// resources have for it now: what they do not have is left out, unless it was
// asked for by its id. It reads the world that a is in.
func (a *App) Required() []Required {
	if a.world == nil {
		return nil
	}
	resources := union(slices.Collect(maps.Keys(a.RequiredAccess)), slices.Collect(maps.Keys(a.RequiredRoles)))
	slices.Sort(resources)
	var all []Required
	for _, id := range resources {
		of, ok := a.world.Registration(id)
		if !ok {
			of = &App{}
		}
		r := Required{Resource: id}
		for _, value := range a.RequiredAccess[id] {
			if scope, ok := of.Scope(value); ok {
				r.Scopes = append(r.Scopes, scope.ID)
			} else if role, ok := of.Role(value); ok {
				r.Roles = append(r.Roles, role.ID)
			} else if wantGUID(value) == nil {
				r.Scopes = append(r.Scopes, value)
			}
		}
		for _, value := range a.RequiredRoles[id] {
			if role, ok := of.Role(value); ok {
				r.Roles = append(r.Roles, role.ID)
			} else if wantGUID(value) == nil {
				r.Roles = append(r.Roles, value)
			}
		}
		all = append(all, r)
	}
	return all
}

// Role returns the app role of a with this value that apps may have.
func (a *App) Role(value string) (AppRole, bool) {
	for _, r := range a.AppRoles {
		if r.Value == value && r.ForApps {
			return r, true
		}
	}
	return AppRole{}, false
}

// Identifier returns the name by which a is best known as a resource: its
// first identifier URI, or else its client id.
func (a *App) Identifier() string {
	if len(a.IdentifierURIs) > 0 {
		return a.IdentifierURIs[0]
	}
	return a.ClientID
}

// Admin says whether u may consent for everybody.
func (u *User) Admin() bool { return slices.Contains(u.Roles, GlobalAdministrator) }

// put replaces the element that same finds, or appends v.
func put[T any](list []T, v T, same func(T) bool) []T {
	if i := slices.IndexFunc(list, same); i >= 0 {
		list[i] = v
		return list
	}
	return append(list, v)
}

func union(a, b []string) []string {
	out := slices.Clone(a)
	for _, s := range b {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// derivedID makes a GUID out of names, always the same for the same names.
func derivedID(names ...string) string {
	h := sha256.Sum256([]byte(strings.Join(names, "\x00")))
	h[6] = h[6]&0x0f | 0x40
	h[8] = h[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}
