package entratest

import (
	"cmp"
	"crypto/sha1"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// User is a person to add to the world. Only UPN must be set.
type User struct {
	ID          string // an object id; empty: made from the UPN, the same in every run
	Tenant      string // an id or domain; empty: the emulator's first tenant
	UPN         string // what the user types to sign in
	DisplayName string
	GivenName   string
	Surname     string
	Mail        string // empty: the UPN
	JobTitle    string
	Password    string
	Roles       []string // directory roles, by role template id
	Guest       bool
	// Home is the user of another tenant (an object id or a user principal name)
	// who is this guest: who signs in there, with the name and the password of
	// there, and comes in here with what the two tenants say. UPN may be empty then.
	Home string

	Disabled        bool // sign-in is refused with AADSTS50057
	Locked          bool // with AADSTS50053
	PasswordExpired bool // with AADSTS50055
	MFARequired     bool // a password alone is refused with AADSTS50076
}

// AddUser adds a user, or replaces the one with the same id. It returns the
// user with what was filled in.
func (e *Emulator) AddUser(u User) (User, error) {
	tenant, err := e.tenant(u.Tenant)
	if err != nil {
		return u, fmt.Errorf("adding user %q: %w", u.UPN, err)
	}
	home := &directory.User{}
	if u.Tenant = tenant; u.Home != "" {
		var ok bool
		if home, ok = e.world.User("", u.Home); !ok || home.Home != "" || home.Tenant == tenant {
			return u, fmt.Errorf("adding user %q: there is no user %q who is at home in another tenant", u.UPN, u.Home)
		}
		in, _ := e.world.Tenant(tenant)
		u.Home, u.Guest = home.ID, true
		u.UPN = cmp.Or(u.UPN, directory.GuestUPN(in, home.UPN))
		u.Mail, u.DisplayName = cmp.Or(u.Mail, home.Mail), cmp.Or(u.DisplayName, home.DisplayName)
	}
	if !strings.Contains(u.UPN, "@") {
		return u, fmt.Errorf("adding user %q: UPN must be of the form name@domain", u.UPN)
	}
	if u.ID == "" {
		u.ID = derivedID("user", tenant, strings.ToLower(u.UPN))
	}
	if known, ok := e.world.UserOf(tenant, home); ok && !strings.EqualFold(known.ID, u.ID) {
		return u, fmt.Errorf("adding user %q: %q is a guest there already, with the id %s", u.UPN, home.UPN, known.ID)
	}
	if u.Mail == "" {
		u.Mail = u.UPN
	}
	if u.DisplayName == "" {
		u.DisplayName, _, _ = strings.Cut(u.UPN, "@")
	}
	e.world.PutUser(&directory.User{ID: u.ID, Tenant: tenant, UPN: u.UPN, DisplayName: u.DisplayName, GivenName: u.GivenName, Surname: u.Surname,
		Mail: u.Mail, JobTitle: u.JobTitle, Password: u.Password, Roles: slices.Clone(u.Roles), Guest: u.Guest, Home: home.ID, Disabled: u.Disabled,
		Locked: u.Locked, PasswordExpired: u.PasswordExpired, MFARequired: u.MFARequired})
	return u, nil
}

// RemoveUser removes a user (an object id or a user principal name).
func (e *Emulator) RemoveUser(user string) error {
	u, ok := e.world.User("", user)
	if !ok || !e.world.DeleteUser(u.Tenant, u.ID) {
		return fmt.Errorf("removing user %q: there is no such user", user)
	}
	return nil
}

// Group is a group to add to the world. Only Name must be set.
type Group struct {
	ID          string // an object id; empty: made from the name, the same in every run
	Tenant      string // an id or domain; empty: the emulator's first tenant
	Name        string
	Description string
	Members     []string // object ids of users and groups, or user principal names
}

// AddGroup adds a group, or replaces the one with the same id. It returns the
// group with what was filled in.
func (e *Emulator) AddGroup(g Group) (Group, error) {
	tenant, err := e.tenant(g.Tenant)
	if err == nil && g.Name == "" {
		err = errors.New("Name is empty")
	}
	if err != nil {
		return g, fmt.Errorf("adding group %q: %w", g.Name, err)
	}
	if g.Tenant = tenant; g.ID == "" {
		g.ID = derivedID("group", tenant, g.Name)
	}
	g.Members = slices.Clone(g.Members)
	for i, m := range g.Members {
		if u, ok := e.world.User(tenant, m); ok {
			g.Members[i] = u.ID
		} else if inner, ok := e.world.Group(tenant, m); ok {
			g.Members[i] = inner.ID
		} else {
			return g, fmt.Errorf("adding group %q: there is no user or group %q", g.Name, m)
		}
	}
	e.world.PutGroup(&directory.Group{ID: g.ID, Tenant: tenant, Name: g.Name, Description: g.Description, Members: slices.Clone(g.Members)})
	return g, nil
}

// App is an app to add to the world: its registration, its service principal
// and what it was granted. Only Name must be set.
type App struct {
	ClientID string // empty: made from the name, the same in every run
	Tenant   string // an id or domain; empty: the emulator's first tenant
	Name     string

	Public          bool     // allows public client flows: device code, passwords
	WebRedirects    []string // redirect URIs of the platform Web
	SPARedirects    []string // of a single-page application
	NativeRedirects []string // of a desktop app; "http://localhost" matches any port

	Secrets      []string            // client secrets, which never expire
	Certificates []*x509.Certificate // that client assertions may be signed with
	Federated    []FederatedCredential

	IdentifierURIs []string // its names as an API, such as "api://my-api"
	Scopes         []string // delegated permissions that it exposes
	AppRoles       []string // roles that it exposes to apps and users
	TokenVersion   int      // of access tokens for it: 1 or 2 (0 is 1)
	MultiTenant    bool     // takes accounts of every tenant
	OptionalClaims []string // of access tokens for it, such as "upn"
	IDTokenClaims  []string // optional ones of its ID tokens, such as "auth_time"
	GroupClaims    string   // which groups its tokens name: "SecurityGroup", "ApplicationGroup", "DirectoryRole" or "All"

	// Consented are delegated permissions that everybody has consented to: the
	// API's client id or identifier URI, and scopes of it.
	Consented map[string][]string
	// Granted are application permissions: the API's client id or identifier
	// URI, and app roles of it.
	Granted map[string][]string
}

// FederatedCredential trusts assertions of another issuer in place of a secret.
type FederatedCredential struct {
	Issuer, Subject string
	Audience        string // empty: api://AzureADTokenExchange
	Keys            []byte // the issuer's keys, a JWK set; empty: asked of the issuer, which must then be on loopback
}

func (f FederatedCredential) named(name string) directory.FederatedCredential {
	if f.Audience == "" {
		f.Audience = "api://AzureADTokenExchange"
	}
	return directory.FederatedCredential{Name: name, Issuer: f.Issuer, Subject: f.Subject, Audience: f.Audience, Keys: slices.Clone(f.Keys)}
}

// AddApp adds an app, or replaces the one with the same client id. It returns
// the app with what was filled in.
func (e *Emulator) AddApp(a App) (App, error) {
	tenant, err := e.tenant(a.Tenant)
	if err == nil && a.Name == "" {
		err = errors.New("Name is empty")
	}
	if err != nil {
		return a, fmt.Errorf("adding app %q: %w", a.Name, err)
	}
	if !directory.GoodGroupClaims(a.GroupClaims) {
		return a, fmt.Errorf("adding app %q: GroupClaims %q is not one of SecurityGroup, ApplicationGroup, DirectoryRole, All", a.Name, a.GroupClaims)
	}
	if a.Tenant = tenant; a.ClientID == "" {
		a.ClientID = derivedID("app", tenant, a.Name)
	}
	app := &directory.App{ClientID: a.ClientID, Tenant: tenant, Name: a.Name, Audience: directory.MyOrg, AllowPublicFlows: a.Public,
		WebRedirects: slices.Clone(a.WebRedirects), SPARedirects: slices.Clone(a.SPARedirects), NativeRedirects: slices.Clone(a.NativeRedirects),
		IdentifierURIs: slices.Clone(a.IdentifierURIs), TokenVersion: a.TokenVersion,
		OptionalClaims: slices.Clone(a.OptionalClaims), IDTokenClaims: slices.Clone(a.IDTokenClaims), GroupClaims: a.GroupClaims}
	if a.MultiTenant {
		app.Audience = directory.MultipleOrgs
	}
	for _, s := range a.Secrets {
		app.Secrets = append(app.Secrets, directory.AppSecret{ID: derivedID("secret", a.ClientID, s), Value: s})
	}
	for _, cert := range a.Certificates {
		app.Certificates = append(app.Certificates, directory.AppCertificate{Certificate: cert})
	}
	for i, f := range a.Federated {
		app.Federated = append(app.Federated, f.named(fmt.Sprintf("federated-%d", i+1)))
	}
	for _, s := range a.Scopes {
		app.Scopes = append(app.Scopes, directory.Scope{ID: derivedID("scope", a.ClientID, s), Value: s, Name: s})
	}
	for _, r := range a.AppRoles {
		app.AppRoles = append(app.AppRoles, directory.AppRole{ID: derivedID("role", a.ClientID, r), Value: r, Name: r, ForApps: true, ForUsers: true})
	}
	// Everything is looked up before anything changes.
	consented, err := e.resources(tenant, a.Consented)
	if err != nil {
		return a, fmt.Errorf("adding app %q: %w", a.Name, err)
	}
	granted, err := e.resources(tenant, a.Granted)
	if err != nil {
		return a, fmt.Errorf("adding app %q: %w", a.Name, err)
	}
	e.world.PutApp(app)
	for api, scopes := range consented {
		e.world.Grant(directory.Grant{Tenant: tenant, Client: a.ClientID, Resource: api, Scopes: scopes})
	}
	for api, roles := range granted {
		for _, role := range roles {
			e.world.AssignRole(directory.RoleAssignment{Tenant: tenant, Principal: a.ClientID, Resource: api, Role: role})
		}
	}
	return a, nil
}

// resources replaces the names of APIs by their client ids.
func (e *Emulator) resources(tenant string, byName map[string][]string) (map[string][]string, error) {
	byID := map[string][]string{}
	for name, values := range byName {
		api, ok := e.world.Resource(tenant, name)
		if !ok {
			return nil, fmt.Errorf("there is no API %q: give a client id or an identifier URI", name)
		}
		byID[api.ClientID] = append(byID[api.ClientID], values...)
	}
	return byID, nil
}

// AddSecret gives an app one more client secret.
func (e *Emulator) AddSecret(clientID, value string) error {
	if !e.world.UpdateApp(clientID, func(a *directory.App) {
		a.Secrets = append(a.Secrets, directory.AppSecret{ID: derivedID("secret", clientID, value), Value: value})
	}) {
		return noApp("adding a secret", clientID)
	}
	return nil
}

// AddFederatedCredential makes an app trust one more issuer's assertions.
func (e *Emulator) AddFederatedCredential(clientID string, f FederatedCredential) error {
	if !e.world.UpdateApp(clientID, func(a *directory.App) {
		a.Federated = append(a.Federated, f.named(fmt.Sprintf("federated-%d", len(a.Federated)+1)))
	}) {
		return noApp("adding a federated credential", clientID)
	}
	return nil
}

// tenant returns the id of a tenant, by default of the first one.
func (e *Emulator) tenant(idOrDomain string) (string, error) {
	if idOrDomain == "" {
		idOrDomain = e.TenantID()
	}
	t, ok := e.world.Tenant(idOrDomain)
	if !ok {
		return "", fmt.Errorf("there is no tenant %q", idOrDomain)
	}
	return t.ID, nil
}

// derivedID makes an id that is the same in every run.
func derivedID(names ...string) string {
	sum := sha1.Sum([]byte(strings.Join(names, "\x00")))
	sum[6], sum[8] = sum[6]&0x0f|0x50, sum[8]&0x3f|0x80 // a GUID of version 5
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}
