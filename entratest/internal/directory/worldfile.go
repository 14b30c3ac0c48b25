package directory

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"github.com/fobauth/fob/internal/spelling"
)

// The world file, as TOML:
//
//	replace = true                      # begin with nothing but Microsoft's own apps
//
//	[[tenant]]
//	id = "..."                          # ids may be left out: they are made from the names
//	name = "Contoso"
//	domains = ["contoso.example"]
//
//	[[user]]
//	upn = "mira@contoso.example"        # the domain says the tenant
//	password = "..."
//	roles = ["Global Administrator"]
//
//	[[group]]
//	name = "Readers"
//	members = ["mira@contoso.example"]
//
//	[[app]]
//	id = "..."                          # the client id
//	name = "nightly job"
//	certificates = ["nightly.pem"]      # beside the world file
//	secret = [{ value = "..." }]
//	granted."https://graph.microsoft.com" = ["User.Read.All"]     # app permissions
//	consented."https://graph.microsoft.com" = ["User.Read"]       # delegated ones, for everybody
//
// An entry with the id, user name or name of something that exists changes it:
// what the entry gives replaces what was there.
type worldFile struct {
	Replace    bool             `toml:"replace"`
	Tenants    []fileTenant     `toml:"tenant"`
	Users      []toml.Primitive `toml:"user"`
	Groups     []toml.Primitive `toml:"group"`
	Apps       []toml.Primitive `toml:"app"`
	Grants     []fileGrant      `toml:"grant"`
	Assignment []fileAssignment `toml:"assignment"`
	AzureRoles []fileAzureRole  `toml:"azure_role"`
}

type fileTenant struct {
	ID      string   `toml:"id"`
	Name    string   `toml:"name"`
	Domains []string `toml:"domains"`
}

type fileUser struct {
	ID                string   `toml:"id"`
	Tenant            string   `toml:"tenant"`
	UPN               string   `toml:"upn"`
	Name              string   `toml:"name"`
	GivenName         string   `toml:"given_name"`
	Surname           string   `toml:"surname"`
	Mail              string   `toml:"mail"`
	JobTitle          string   `toml:"job_title"`
	Department        string   `toml:"department"`
	Office            string   `toml:"office"`
	PreferredLanguage string   `toml:"preferred_language"`
	MobilePhone       string   `toml:"mobile_phone"`
	BusinessPhones    []string `toml:"business_phones"`
	Password          string   `toml:"password"`
	Disabled          bool     `toml:"disabled"`
	Guest             bool     `toml:"guest"`
	Home              string   `toml:"home"`
	PasswordExpired   bool     `toml:"password_expired"`
	Locked            bool     `toml:"locked"`
	MFARequired       bool     `toml:"mfa_required"`
	Roles             []string `toml:"roles"`
}

type fileGroup struct {
	ID          string   `toml:"id"`
	Tenant      string   `toml:"tenant"`
	Name        string   `toml:"name"`
	Description string   `toml:"description"`
	Mail        string   `toml:"mail"`
	Unified     bool     `toml:"unified"`
	Members     []string `toml:"members"`
}

type fileApp struct {
	ID                  string              `toml:"id"`
	Tenant              string              `toml:"tenant"`
	Name                string              `toml:"name"`
	Audience            Audience            `toml:"audience"`
	AllowPublicFlows    bool                `toml:"allow_public_flows"`
	WebRedirects        []string            `toml:"web_redirects"`
	SPARedirects        []string            `toml:"spa_redirects"`
	NativeRedirects     []string            `toml:"native_redirects"`
	LogoutURL           string              `toml:"logout_url"`
	IDTokenImplicit     bool                `toml:"id_token_implicit"`
	AccessTokenImplicit bool                `toml:"access_token_implicit"`
	Secrets             []fileSecret        `toml:"secret"`
	Certificates        []string            `toml:"certificates"`
	Certificate         []fileCertificate   `toml:"certificate"`
	Federated           []fileFederated     `toml:"federated"`
	IdentifierURIs      []string            `toml:"identifier_uris"`
	TokenVersion        int                 `toml:"token_version"`
	Scopes              []fileScope         `toml:"scope"`
	Roles               []fileRole          `toml:"role"`
	PreAuthorized       map[string][]string `toml:"pre_authorized"`
	AssignmentNeeded    bool                `toml:"assignment_needed"`
	Disabled            bool                `toml:"disabled"`
	NoPrincipal         bool                `toml:"no_principal"`
	OptionalClaims      []string            `toml:"optional_claims"`
	IDTokenClaims       []string            `toml:"id_token_claims"`
	GroupClaims         string              `toml:"group_claims"`
	Required            map[string][]string `toml:"required"`
	Granted             map[string][]string `toml:"granted"`
	Consented           map[string][]string `toml:"consented"`
	InstalledIn         []string            `toml:"installed_in"`
}

type fileSecret struct {
	ID      string    `toml:"id"`
	Name    string    `toml:"name"`
	Value   string    `toml:"value"`
	Begins  time.Time `toml:"begins"`
	Expires time.Time `toml:"expires"`
}

type fileCertificate struct {
	ID      string    `toml:"id"`
	Name    string    `toml:"name"`
	File    string    `toml:"file"`
	Begins  time.Time `toml:"begins"`
	Expires time.Time `toml:"expires"`
}

type fileFederated struct {
	Name     string `toml:"name"`
	Issuer   string `toml:"issuer"`
	Subject  string `toml:"subject"`
	Audience string `toml:"audience"`
	Keys     string `toml:"keys"` // path of a JWK set
}

type fileScope struct {
	ID        string `toml:"id"`
	Value     string `toml:"value"`
	Name      string `toml:"name"`
	AdminOnly bool   `toml:"admin_only"`
}

type fileRole struct {
	ID       string `toml:"id"`
	Value    string `toml:"value"`
	Name     string `toml:"name"`
	ForUsers bool   `toml:"for_users"`
	ForApps  bool   `toml:"for_apps"`
}

type fileGrant struct {
	Tenant   string   `toml:"tenant"`
	Client   string   `toml:"client"`
	Resource string   `toml:"resource"`
	User     string   `toml:"user"`
	Scopes   []string `toml:"scopes"`
}

type fileAssignment struct {
	Tenant    string `toml:"tenant"`
	Principal string `toml:"principal"` // a user's name, a group's name or a client id
	Resource  string `toml:"resource"`
	Role      string `toml:"role"`
}

type fileAzureRole struct {
	Tenant        string `toml:"tenant"`
	Principal     string `toml:"principal"` // as of an assignment
	Role          string `toml:"role"`
	ResourceGroup string `toml:"resource_group"`
}

// Load extends w by a world file, or replaces it where the file says so. Paths
// in the file are relative to dir. The world is half changed after an error.
func Load(w *World, text []byte, dir string) error {
	var f worldFile
	md, err := toml.Decode(string(text), &f)
	if err != nil {
		var syntax toml.ParseError
		if errors.As(err, &syntax) {
			return fmt.Errorf("line %d: %s", syntax.Position.Line, syntax.Message)
		}
		return err
	}
	if f.Replace {
		w.clear()
	}
	l := &loader{w: w, md: md, dir: dir}
	for i, t := range f.Tenants {
		l.step(fmt.Sprintf("tenant %d", i+1), func() error { return l.tenant(t) })
	}
	for i, p := range f.Users {
		l.step(fmt.Sprintf("user %d", i+1), func() error { return l.user(p) })
	}
	for i, p := range f.Groups {
		l.step(fmt.Sprintf("group %d", i+1), func() error { return l.group(p) })
	}
	for i, p := range f.Apps {
		l.step(fmt.Sprintf("app %d", i+1), func() error { return l.app(p) })
	}
	for _, later := range l.later { // grants may name apps further down
		l.step(later.what, later.do)
	}
	for i, g := range f.Grants {
		l.step(fmt.Sprintf("grant %d", i+1), func() error { return l.grant(g) })
	}
	for i, a := range f.Assignment {
		l.step(fmt.Sprintf("assignment %d", i+1), func() error { return l.assignment(a) })
	}
	for i, r := range f.AzureRoles {
		l.step(fmt.Sprintf("azure_role %d", i+1), func() error { return l.azureRole(r) })
	}
	// A misspelt key is the likelier cause of whatever else is wrong. After a
	// value of the wrong type, though, keys that nobody got to look unknown, too.
	if unknown := l.md.Undecoded(); len(unknown) > 0 && !l.unread {
		return unknownKey(text, unknown[0])
	}
	return l.err
}

// loader puts the entries of a world file into a world.
type loader struct {
	w     *World
	md    toml.MetaData
	dir   string
	later []laterStep
	err   error // the first one

	unread bool // an entry could not be read, so that err says why
}

type laterStep struct {
	what string
	do   func() error
}

func (l *loader) step(what string, do func() error) {
	if err := do(); err != nil && l.err == nil {
		l.err = fmt.Errorf("%s: %w", what, err)
	}
}

// decode reads an entry. What the entry does not give stays as it is in into.
func (l *loader) decode(p toml.Primitive, into any) error {
	err := l.md.PrimitiveDecode(p, into)
	if err == nil {
		return nil
	}
	l.unread = l.unread || l.err == nil
	// The line that the error names is where the key stands in the last entry
	// that has it. Which entry this one is, [Load] says.
	_, rest, _ := strings.Cut(err.Error(), "(last key ")
	quoted, what, ok := strings.Cut(rest, "): ")
	if key, bad := strconv.Unquote(quoted); ok && bad == nil {
		return fmt.Errorf("%s: %s", key, what)
	}
	return err
}

func (l *loader) tenant(f fileTenant) error {
	if f.ID == "" && len(f.Domains) == 0 {
		return errors.New("give it an id or a domain")
	}
	t := &Tenant{ID: f.ID, Name: f.Name, Domains: f.Domains}
	names := f.Domains
	if f.ID != "" {
		names = []string{f.ID}
	}
	for _, name := range names {
		if old, ok := l.w.Tenant(name); ok {
			t = &Tenant{ID: old.ID, Name: or(f.Name, old.Name), Domains: given(f.Domains, old.Domains)}
			break
		}
	}
	for _, domain := range f.Domains {
		if other, ok := l.w.Tenant(domain); ok && !strings.EqualFold(other.ID, t.ID) {
			return fmt.Errorf("the domain %q belongs to the tenant %s (%s)", domain, other.ID, other.Name)
		}
	}
	if t.ID == "" {
		t.ID = derivedID("tenant", t.Domains[0])
	}
	if t.Name == "" {
		t.Name = append(t.Domains, t.ID)[0]
	}
	if err := wantGUID(t.ID); err != nil {
		return err
	}
	l.w.PutTenant(t)
	return nil
}

// tenantOf finds the tenant of an entry: the one it names, that of a domain, or
// the first one.
func (l *loader) tenantOf(named, domain string) (*Tenant, error) {
	if named == "" {
		if t, ok := l.w.Tenant(domain); ok && domain != "" {
			return t, nil
		}
		all := l.w.Tenants()
		if len(all) == 0 {
			return nil, errors.New("there is no tenant to put it in: add a [[tenant]]")
		}
		return all[0], nil
	}
	t, ok := l.w.Tenant(named)
	if !ok {
		return nil, fmt.Errorf("there is no tenant %q: add a [[tenant]] with this id or domain", named)
	}
	return t, nil
}

func (l *loader) user(p toml.Primitive) error {
	var f fileUser
	if err := l.decode(p, &f); err != nil {
		return err
	}
	var home *User
	if f.Home != "" {
		var err error
		if home, err = l.home(&f); err != nil {
			return err
		}
	}
	var u User
	if old, ok := l.w.User("", or(f.ID, f.UPN)); ok {
		u = *old
	} else if home != nil {
		u = User{Guest: true, UPN: f.UPN, DisplayName: home.DisplayName, GivenName: home.GivenName, Surname: home.Surname, Mail: home.Mail}
	}
	f = fileUser{ID: u.ID, Tenant: u.Tenant, UPN: u.UPN, Name: u.DisplayName, GivenName: u.GivenName, Surname: u.Surname, Mail: u.Mail, JobTitle: u.JobTitle,
		Department: u.Department, Office: u.Office, PreferredLanguage: u.PreferredLanguage, MobilePhone: u.MobilePhone, Password: u.Password,
		Disabled: u.Disabled, Guest: u.Guest, PasswordExpired: u.PasswordExpired, Locked: u.Locked, MFARequired: u.MFARequired}
	if err := l.decode(p, &f); err != nil { // again, over what there was
		return err
	}
	if home != nil {
		u.Home = home.ID
		if f.Password != "" {
			return errors.New("who has a home has the password of there")
		}
	}
	name, domain, ok := strings.Cut(f.UPN, "@")
	if !ok || name == "" || domain == "" {
		return fmt.Errorf("upn %q is not of the form name@domain", f.UPN)
	}
	t, err := l.tenantOf(f.Tenant, domain)
	if err != nil {
		return err
	}
	if f.ID == "" {
		f.ID = derivedID("user", t.ID, strings.ToLower(f.UPN))
	}
	if err := wantGUID(f.ID); err != nil {
		return err
	}
	if other, ok := l.w.User("", f.UPN); ok && !strings.EqualFold(other.ID, f.ID) {
		return fmt.Errorf("upn %q is taken by the user with the id %s", f.UPN, other.ID)
	}
	if f.Name == "" {
		f.Name = strings.TrimSpace(f.GivenName + " " + f.Surname)
	}
	if f.Name == "" {
		f.Name = name
	}
	if f.Mail == "" {
		f.Mail = f.UPN
	}
	if f.Roles != nil {
		u.Roles = nil
		for _, r := range f.Roles {
			id, err := directoryRole(r)
			if err != nil {
				return err
			}
			u.Roles = append(u.Roles, id)
		}
	}
	u.ID, u.Tenant, u.UPN, u.DisplayName, u.GivenName, u.Surname, u.Mail = f.ID, t.ID, f.UPN, f.Name, f.GivenName, f.Surname, f.Mail
	u.JobTitle, u.Department, u.Office, u.PreferredLanguage, u.MobilePhone = f.JobTitle, f.Department, f.Office, f.PreferredLanguage, f.MobilePhone
	u.BusinessPhones, u.Password = given(f.BusinessPhones, u.BusinessPhones), f.Password
	u.Disabled, u.Guest, u.PasswordExpired, u.Locked, u.MFARequired = f.Disabled, f.Guest, f.PasswordExpired, f.Locked, f.MFARequired
	l.w.PutUser(&u) // with what a file cannot say: a manager, licences
	return nil
}

// home finds the account of a guest, in another tenant, and fills in the name
// that the guest has here.
func (l *loader) home(f *fileUser) (*User, error) {
	t, err := l.tenantOf(f.Tenant, "")
	if err != nil {
		return nil, err
	}
	home, ok := l.w.User("", f.Home)
	switch {
	case !ok:
		return nil, fmt.Errorf("there is no user %q to be at home: users must come before their guests", f.Home)
	case home.Home != "":
		return nil, fmt.Errorf("%q is a guest: name the user at home", f.Home)
	case home.Tenant == t.ID:
		return nil, fmt.Errorf("%q is at home in this very tenant: set the tenant that the guest is in", f.Home)
	}
	guest, known := l.w.UserOf(t.ID, home)
	switch {
	case known && f.ID == "" && f.UPN == "":
		f.ID, f.UPN = guest.ID, guest.UPN
	case known && !strings.EqualFold(or(f.ID, guest.ID), guest.ID), known && f.ID == "" && !strings.EqualFold(f.UPN, guest.UPN):
		return nil, fmt.Errorf("%q is a guest of this tenant already, with the id %s", f.Home, guest.ID)
	}
	f.UPN = or(f.UPN, GuestUPN(t, home.UPN))
	return home, nil
}

// given is what a file gives, or else what there was.
func given[T any](file, before []T) []T {
	if file != nil {
		return file
	}
	return before
}

// directoryRoles are the role template ids by which the file may call roles.
func directoryRoles() map[string]string {
	return map[string]string{"Global Administrator": GlobalAdministrator, "User Administrator": "fe930be7-5e62-47db-91af-98c3a49a38b1",
		"Directory Readers": "88d8e3e3-8f55-4a1e-953a-9b9898b8876b"}
}

func directoryRole(name string) (string, error) {
	if id, ok := directoryRoles()[name]; ok {
		return id, nil
	}
	if err := wantGUID(name); err != nil {
		return "", fmt.Errorf("role %q is not known: give the id of its template, or one of %s", name, strings.Join(slices.Sorted(maps.Keys(directoryRoles())), ", "))
	}
	return strings.ToLower(name), nil
}

func (l *loader) group(p toml.Primitive) error {
	var f fileGroup
	if err := l.decode(p, &f); err != nil {
		return err
	}
	t, err := l.tenantOf(f.Tenant, "")
	if err != nil {
		return err
	}
	var g Group
	if old, ok := l.w.Group(t.ID, or(f.ID, f.Name)); ok {
		g = *old
	}
	f = fileGroup{ID: g.ID, Tenant: g.Tenant, Name: g.Name, Description: g.Description, Mail: g.Mail, Unified: g.Unified}
	if err := l.decode(p, &f); err != nil { // again, over what there was
		return err
	}
	if f.Name == "" {
		return errors.New("give it a name")
	}
	if f.ID == "" {
		f.ID = derivedID("group", t.ID, f.Name)
	}
	if err := wantGUID(f.ID); err != nil {
		return err
	}
	if f.Members != nil {
		g.Members = nil
		for _, m := range f.Members {
			id, err := l.member(t.ID, m)
			if err != nil {
				return err
			}
			g.Members = append(g.Members, id)
		}
	}
	g.ID, g.Tenant, g.Name, g.Description, g.Mail, g.Unified = f.ID, t.ID, f.Name, f.Description, f.Mail, f.Unified
	l.w.PutGroup(&g)
	return nil
}

// member finds the object id of a user or group.
func (l *loader) member(tenant, name string) (string, error) {
	if u, ok := l.w.User(tenant, name); ok {
		return u.ID, nil
	}
	if g, ok := l.w.Group(tenant, name); ok {
		return g.ID, nil
	}
	return "", fmt.Errorf("there is no user or group %q in the tenant", name)
}

func (l *loader) app(p toml.Primitive) error {
	var f fileApp
	if err := l.decode(p, &f); err != nil {
		return err
	}
	var a App
	if old, ok := l.w.Registration(f.ID); ok && f.ID != "" {
		if old.FirstParty {
			return fmt.Errorf("%s (%s) is Microsoft's own: an app of yours needs another id", f.ID, old.Name)
		}
		a = *old
	}
	f = fileApp{ID: a.ClientID, Tenant: a.Tenant, Name: a.Name, Audience: a.Audience, AllowPublicFlows: a.AllowPublicFlows, IDTokenImplicit: a.IDTokenImplicit,
		AccessTokenImplicit: a.AccessTokenImplicit, TokenVersion: a.TokenVersion, AssignmentNeeded: a.AssignmentNeeded, Disabled: a.Disabled, NoPrincipal: a.NoPrincipal, GroupClaims: a.GroupClaims,
		LogoutURL: a.LogoutURL}
	if err := l.decode(p, &f); err != nil { // again, over what there was
		return err
	}
	t, err := l.tenantOf(f.Tenant, "")
	if err != nil {
		return err
	}
	if f.Name == "" {
		return errors.New("give it a name")
	}
	if f.ID == "" {
		f.ID = derivedID("app", t.ID, f.Name)
	}
	if err := wantGUID(f.ID); err != nil {
		return err
	}
	switch f.Audience {
	case "":
		f.Audience = MyOrg
	case MyOrg, MultipleOrgs, OrgsAndPeople:
	default:
		return fmt.Errorf("audience %q is not one of %s, %s, %s", f.Audience, MyOrg, MultipleOrgs, OrgsAndPeople)
	}
	if f.TokenVersion < 0 || f.TokenVersion > 2 {
		return fmt.Errorf("token_version %d is neither 1 nor 2", f.TokenVersion)
	}
	if !GoodGroupClaims(f.GroupClaims) {
		return fmt.Errorf("group_claims %q is not one of None, SecurityGroup, DirectoryRole, ApplicationGroup, All", f.GroupClaims)
	}
	a.IDTokenClaims, a.GroupClaims, a.LogoutURL = given(f.IDTokenClaims, a.IDTokenClaims), f.GroupClaims, f.LogoutURL
	a.ClientID, a.Tenant, a.Name, a.Audience, a.AllowPublicFlows = f.ID, t.ID, f.Name, f.Audience, f.AllowPublicFlows
	a.IDTokenImplicit, a.AccessTokenImplicit, a.TokenVersion = f.IDTokenImplicit, f.AccessTokenImplicit, f.TokenVersion
	a.AssignmentNeeded, a.Disabled, a.NoPrincipal = f.AssignmentNeeded, f.Disabled, f.NoPrincipal
	a.WebRedirects, a.SPARedirects, a.NativeRedirects = given(f.WebRedirects, a.WebRedirects), given(f.SPARedirects, a.SPARedirects), given(f.NativeRedirects, a.NativeRedirects)
	a.IdentifierURIs, a.OptionalClaims = given(f.IdentifierURIs, a.IdentifierURIs), given(f.OptionalClaims, a.OptionalClaims)
	if err := l.credentials(f, &a); err != nil {
		return err
	}
	if f.Scopes != nil {
		a.Scopes = nil
		for _, s := range f.Scopes {
			if s.Value == "" {
				return errors.New("a scope has no value")
			}
			a.Scopes = append(a.Scopes, Scope{ID: or(s.ID, derivedID(f.ID, "scope", s.Value)), Value: s.Value, Name: or(s.Name, s.Value), AdminOnly: s.AdminOnly})
		}
	}
	if f.Roles != nil {
		a.AppRoles = nil
		for _, r := range f.Roles {
			if !r.ForUsers && !r.ForApps {
				return fmt.Errorf("the role %q is for nobody: set for_users or for_apps", r.Value)
			}
			a.AppRoles = append(a.AppRoles, AppRole{ID: or(r.ID, derivedID(f.ID, "role", r.Value)), Value: r.Value, Name: or(r.Name, r.Value), ForUsers: r.ForUsers, ForApps: r.ForApps})
		}
	}
	if f.PreAuthorized != nil {
		a.PreAuthorized = map[string][]string{}
		for client, scopes := range f.PreAuthorized {
			if err := wantGUID(client); err != nil {
				return fmt.Errorf("pre_authorized: %w: give a client id", err)
			}
			a.PreAuthorized[strings.ToLower(client)] = scopes
		}
	}
	l.w.PutApp(&a)
	for _, in := range f.InstalledIn {
		other, err := l.tenantOf(in, "")
		if err != nil {
			return err
		}
		l.w.Install(other.ID, a.ClientID)
	}
	l.later = append(l.later, laterStep{fmt.Sprintf("app %q", a.Name), func() error { return l.permissions(f, t.ID, a.ClientID) }})
	return nil
}

func or(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func (l *loader) credentials(f fileApp, a *App) error {
	if f.Secrets != nil {
		a.Secrets = nil
		for i, s := range f.Secrets {
			switch {
			case s.Value == "":
				return errors.New("a secret has no value")
			case !s.Expires.IsZero() && !s.Expires.After(s.Begins):
				return fmt.Errorf("the secret %q expires before it begins", s.Name)
			}
			a.Secrets = append(a.Secrets, AppSecret{ID: or(s.ID, derivedID(f.ID, "secret", fmt.Sprint(i))), Name: s.Name, Value: s.Value, Begins: s.Begins, Expires: s.Expires})
		}
	}
	if f.Certificates != nil || f.Certificate != nil {
		a.Certificates = nil
		for _, path := range f.Certificates {
			f.Certificate = append(f.Certificate, fileCertificate{File: path})
		}
		for _, c := range f.Certificate {
			if c.File == "" {
				return errors.New("a certificate has no file")
			}
			cert, err := l.certificate(c.File)
			if err != nil {
				return err
			}
			known := AppCertificate{cert, strings.ToLower(c.ID), c.Name, c.Begins, c.Expires}
			switch from, until := known.Validity(); {
			case c.ID != "" && wantGUID(c.ID) != nil:
				return wantGUID(c.ID)
			case !until.After(from):
				return fmt.Errorf("the certificate in %s expires before it begins", c.File)
			}
			a.Certificates = append(a.Certificates, known)
		}
	}
	if f.Federated != nil {
		a.Federated = nil
		for _, c := range f.Federated {
			if c.Issuer == "" || c.Subject == "" {
				return errors.New("a federated credential needs an issuer and a subject")
			}
			credential := FederatedCredential{Name: c.Name, Issuer: c.Issuer, Subject: c.Subject, Audience: or(c.Audience, "api://AzureADTokenExchange")}
			if c.Keys != "" {
				var err error
				if credential.Keys, err = os.ReadFile(l.path(c.Keys)); err != nil {
					return fmt.Errorf("keys of the issuer %s: %w", c.Issuer, err)
				}
			}
			a.Federated = append(a.Federated, credential)
		}
	}
	return nil
}

func (l *loader) path(p string) string {
	if filepath.IsAbs(p) {
		return p
	}
	return filepath.Join(l.dir, p)
}

// certificate reads the first certificate of a PEM file. A private key beside
// it is of no interest here.
func (l *loader) certificate(path string) (*x509.Certificate, error) {
	text, err := os.ReadFile(l.path(path))
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("certificate in %s: %w", path, err)
			}
			return cert, nil
		}
	}
	return nil, fmt.Errorf("%s has no certificate in PEM form", path)
}

// permissions puts in force what an app has been granted, in the same order every
// time: lists of grants and assignments show it.
func (l *loader) permissions(f fileApp, tenant, client string) error {
	required := map[string][]string{}
	for _, name := range slices.Sorted(maps.Keys(f.Required)) {
		scopes := f.Required[name]
		r, err := l.resource(tenant, name)
		if err != nil {
			return err
		}
		required[r.ClientID] = scopes
	}
	for _, name := range slices.Sorted(maps.Keys(f.Granted)) {
		values := f.Granted[name]
		r, err := l.resource(tenant, name)
		if err != nil {
			return err
		}
		for _, value := range values {
			if err := l.assign(tenant, client, r, value); err != nil {
				return err
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.Consented)) {
		scopes := f.Consented[name]
		r, err := l.resource(tenant, name)
		if err != nil {
			return err
		}
		if err := l.consent(Grant{Tenant: tenant, Client: client, Scopes: scopes}, r); err != nil {
			return err
		}
		if _, ok := required[r.ClientID]; !ok && f.Required == nil { // what is consented has been asked for
			required[r.ClientID] = scopes
		}
	}
	if len(required) > 0 {
		l.w.UpdateApp(client, func(a *App) { a.RequiredAccess = required })
	}
	return nil
}

func (l *loader) resource(tenant, name string) (*App, error) {
	r, ok := l.w.Resource(tenant, name)
	if !ok {
		for _, a := range l.w.Apps(tenant) {
			if a.Name == name {
				return a, nil
			}
		}
		return nil, fmt.Errorf("there is no resource %q: give an identifier URI, a client id or the name of an app", name)
	}
	return r, nil
}

func (l *loader) assign(tenant, principal string, r *App, role string) error {
	if role != "" && !slices.ContainsFunc(r.AppRoles, func(a AppRole) bool { return a.Value == role }) {
		return fmt.Errorf("%s has no app role %q%s", r.Name, role, near(role, roleValues(r)))
	}
	l.w.AssignRole(RoleAssignment{tenant, principal, r.ClientID, role})
	return nil
}

func roleValues(r *App) []string {
	var values []string
	for _, a := range r.AppRoles {
		values = append(values, a.Value)
	}
	return values
}

func (l *loader) consent(g Grant, r *App) error {
	g.Resource = r.ClientID
	var known []string
	for _, s := range r.Scopes {
		known = append(known, s.Value)
	}
	for _, s := range g.Scopes {
		if !slices.Contains(known, s) {
			return fmt.Errorf("%s has no scope %q%s", r.Name, s, near(s, known))
		}
	}
	l.w.Grant(g)
	return nil
}

func (l *loader) grant(f fileGrant) error {
	t, err := l.tenantOf(f.Tenant, "")
	if err != nil {
		return err
	}
	client, err := l.resource(t.ID, f.Client)
	if err != nil {
		return err
	}
	r, err := l.resource(t.ID, f.Resource)
	if err != nil {
		return err
	}
	g := Grant{Tenant: t.ID, Client: client.ClientID, Scopes: f.Scopes}
	if f.User != "" {
		u, ok := l.w.User(t.ID, f.User)
		if !ok {
			return fmt.Errorf("there is no user %q in the tenant", f.User)
		}
		g.User = u.ID
	}
	return l.consent(g, r)
}

func (l *loader) assignment(f fileAssignment) error {
	t, err := l.tenantOf(f.Tenant, "")
	if err != nil {
		return err
	}
	r, err := l.resource(t.ID, f.Resource)
	if err != nil {
		return err
	}
	if id, err := l.member(t.ID, f.Principal); err == nil {
		return l.assign(t.ID, id, r, f.Role)
	}
	app, err := l.resource(t.ID, f.Principal)
	if err != nil {
		return fmt.Errorf("there is no user, group or app %q in the tenant", f.Principal)
	}
	return l.assign(t.ID, app.ClientID, r, f.Role)
}

// azureRoles are the definitions by which the file may call Azure's roles.
func azureRoles() map[string]string {
	return map[string]string{"Owner": AzureOwner, "Contributor": AzureContributor, "Reader": AzureReader, "User Access Administrator": "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9"}
}

func (l *loader) azureRole(f fileAzureRole) error {
	t, err := l.tenantOf(f.Tenant, "")
	if err != nil {
		return err
	}
	role, ok := azureRoles()[f.Role]
	if !ok {
		if role = strings.ToLower(f.Role); wantGUID(role) != nil {
			return fmt.Errorf("role %q is not known: give the id of its definition, or one of %s", f.Role, strings.Join(slices.Sorted(maps.Keys(azureRoles())), ", "))
		}
	}
	principal, err := l.member(t.ID, f.Principal)
	if err != nil {
		app, err := l.resource(t.ID, f.Principal)
		if err != nil {
			return fmt.Errorf("there is no user, group or app %q in the tenant", f.Principal)
		}
		principal = l.w.PrincipalID(t.ID, app)
	}
	l.w.AddAzureRole(AzureRole{Tenant: t.ID, Principal: principal, Role: role, ResourceGroup: f.ResourceGroup}, true)
	return nil
}

func wantGUID(id string) error {
	ok := len(id) == 36
	for i, c := range id {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		ok = ok && dash == (c == '-') && (dash || strings.ContainsRune("0123456789abcdefABCDEF", c))
	}
	if !ok {
		return fmt.Errorf("id %q is not a GUID", id)
	}
	return nil
}

// unknownKey says where a key that means nothing is, and what it may mean.
func unknownKey(text []byte, key toml.Key) error {
	name, path := key[len(key)-1], strings.Join(key, ".")
	line, table := 0, ""
	for i, l := range strings.Split(string(text), "\n") {
		l = strings.TrimSpace(l)
		if strings.HasPrefix(l, "[") {
			head, _, _ := strings.Cut(l, "]")
			table = strings.NewReplacer("[", "", `"`, "", "'", "", " ", "").Replace(head)
			l = ""
		}
		l = strings.Trim(l, "{ ")
		before, _, _ := strings.Cut(l, "=")
		last := before[strings.LastIndexAny(before, ".,{ ")+1:]
		here := strings.Trim(strings.TrimSpace(before), `"'`) == name || last == name || strings.Contains(l, " "+name+" =")
		if table == path || here && (table == "" || strings.HasPrefix(path, table+".")) {
			line = i + 1
			break
		}
	}
	where := ""
	if line > 0 {
		where = fmt.Sprintf("line %d: ", line)
	}
	return fmt.Errorf("%sunknown key %q%s", where, key.String(), near(name, keysAt(key[:len(key)-1])))
}

// keysAt lists the keys that a table of the file may have.
func keysAt(table toml.Key) []string {
	types := map[string]any{"": worldFile{}, "tenant": fileTenant{}, "user": fileUser{}, "group": fileGroup{}, "app": fileApp{}, "app.secret": fileSecret{}, "app.certificate": fileCertificate{},
		"app.federated": fileFederated{}, "app.scope": fileScope{}, "app.role": fileRole{}, "grant": fileGrant{}, "assignment": fileAssignment{},
		"azure_role": fileAzureRole{}}
	t, ok := types[strings.Join(table, ".")]
	if !ok {
		return nil
	}
	var keys []string
	for i := range reflect.TypeOf(t).NumField() {
		keys = append(keys, reflect.TypeOf(t).Field(i).Tag.Get("toml"))
	}
	return keys
}

// near proposes the known word that is most like word, if any is much like it.
func near(word string, known []string) string {
	best, distance := "", len(word)/3+2
	for _, k := range known {
		if d := spelling.Distance(strings.ToLower(word), strings.ToLower(k)); d < distance {
			best, distance = k, d
		}
	}
	if best == "" {
		return ""
	}
	return fmt.Sprintf(", did you mean %q?", best)
}
