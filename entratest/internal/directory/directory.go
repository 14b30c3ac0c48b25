// Package directory is the emulator's world: tenants, users, groups, apps,
// grants and the clock. It knows no HTTP and no tokens; internal/sts issues
// tokens from it and internal/graphsim shows it as Microsoft Graph.
//
// A [World] is safe for concurrent use. The values that its methods return are
// shared: readers do not change them. Changes go through methods of World,
// which replace a value as a whole.
package directory

import (
	"crypto/x509"
	"slices"
	"strings"
	"time"
)

// Tenant is one directory.
type Tenant struct {
	ID      string   // a lower-case GUID
	Name    string   // the organisation's display name
	Domains []string // verified domains, the default one first
}

// User is a person of a tenant.
type User struct {
	ID, Tenant                           string // object id; tenant id
	UPN, DisplayName, GivenName, Surname string
	Mail, JobTitle, Department, Office   string
	PreferredLanguage, MobilePhone       string
	BusinessPhones                       []string
	Password                             string // in the clear: the emulator's users are invented
	Disabled, Guest                      bool
	PasswordExpired, Locked, MFARequired bool     // what a sign-in or ROPC is refused for (50055, 50053, 50076)
	Roles                                []string // directory role template ids, the wids claim
	Created                              time.Time
	SessionsRevoked                      time.Time // grants issued before it are void (50173)
	PasswordChanged                      time.Time // those of public clients issued before it are void, too
	Manager                              string    // a user's object id
	Home                                 string    // of somebody from another tenant: the object id of the account there, which signs in
	Licenses                             []License
	More                                 map[string]any // further properties by the names that Graph has for them, as JSON values
}

// TokensValidFrom is when the last thing happened that makes Graph challenge
// tokens from before: somebody ended the sessions, or changed the password.
func (u *User) TokensValidFrom() time.Time {
	if u.PasswordChanged.After(u.SessionsRevoked) {
		return u.PasswordChanged
	}
	return u.SessionsRevoked
}

// External says whether the user signs in with an account from elsewhere: that of
// another tenant, or one that no tenant of the world has.
func (u *User) External() bool { return u.Home != "" || u.More["creationType"] == "Invitation" }

// GuestUPN is the user principal name of somebody from elsewhere in a tenant.
func GuestUPN(t *Tenant, name string) string {
	domain := t.ID
	for _, d := range slices.Backward(t.Domains) { // at last the default one, unless there is an initial one
		if !strings.HasSuffix(domain, ".onmicrosoft.com") {
			domain = d
		}
	}
	return strings.Replace(name, "@", "_", 1) + "#EXT#@" + domain
}

// Group is a set of users and groups of a tenant.
type Group struct {
	ID, Tenant, Name, Description, Mail string
	Unified                             bool     // a Microsoft 365 group rather than a security group
	Members, Owners                     []string // object ids
	Created                             time.Time
	More                                map[string]any // further properties by the names that Graph has for them, as JSON values
}

// Audience says whose accounts an app takes (signInAudience).
type Audience string

// The audiences of an app registration.
const (
	MyOrg         Audience = "AzureADMyOrg"
	MultipleOrgs  Audience = "AzureADMultipleOrgs"
	OrgsAndPeople Audience = "AzureADandPersonalMicrosoftAccount"
)

// App is an app registration together with its service principal in its
// tenant. First-party apps (Tenant empty) exist in every tenant.
type App struct {
	ClientID, ObjectID, PrincipalID string // application id; object ids of registration and service principal
	Tenant                          string
	Name                            string
	Audience                        Audience
	FirstParty                      bool
	Family                          bool // shares refresh tokens with other apps of its maker (foci)

	AllowPublicFlows                     bool     // "Allow public client flows" (isFallbackPublicClient)
	WebRedirects                         []string // platform Web: confidential
	SPARedirects                         []string // platform Single-page application
	NativeRedirects                      []string // platform Mobile and desktop
	IDTokenImplicit, AccessTokenImplicit bool

	Secrets      []AppSecret
	Certificates []AppCertificate
	Federated    []FederatedCredential

	IdentifierURIs   []string // the names it has as a resource, beside its client id
	TokenVersion     int      // of access tokens for it: 1 or 2 (0 is 1)
	Scopes           []Scope
	AppRoles         []AppRole
	PreAuthorized    map[string][]string // client id to scope values that need no consent
	AssignmentNeeded bool                // appRoleAssignmentRequired
	Disabled         bool                // the service principal's accountEnabled=false (7000112)
	NoPrincipal      bool                // registered, but no service principal (7000229)
	OptionalClaims   []string            // of access tokens for it: idtyp, xms_cc ...
	IDTokenClaims    []string            // optional ones of its ID tokens: email, auth_time ...
	GroupClaims      string              // groupMembershipClaims: which groups its tokens name; empty is none
	RequiredAccess   map[string][]string // resource client id to scope values: what .default asks for. A value that only app roles have is a role
	RequiredRoles    map[string][]string // resource client id to values of app roles, whatever scopes have the same

	HomePage, LogoutURL string
	KnownClients        []string // knownClientApplications

	Created time.Time
	Owners  []string       // object ids of users and service principals
	More    map[string]any // further properties of the registration by the names that Graph has for them, as JSON values

	PrincipalOwners  map[string][]string // tenant to the owners of the service principal there
	PrincipalSecrets []AppSecret         // of the service principal at home, good beside those of the registration

	world *World // that it is in
}

// GoodGroupClaims says whether a value of groupMembershipClaims means something:
// one or more of the words that Entra has for it.
func GoodGroupClaims(v string) bool {
	for word := range strings.SplitSeq(v, ",") {
		if v != "" && !slices.Contains([]string{"None", "SecurityGroup", "DirectoryRole", "ApplicationGroup", "All"}, strings.TrimSpace(word)) {
			return false
		}
	}
	return true
}

// NamesGroups says whether tokens of a name groups, or roles, of a kind.
func (a *App) NamesGroups(kinds ...string) bool {
	for word := range strings.SplitSeq(a.GroupClaims, ",") {
		if slices.Contains(kinds, strings.TrimSpace(word)) {
			return true
		}
	}
	return false
}

// AppSecret is a client secret.
type AppSecret struct {
	ID, Name, Value string
	Begins, Expires time.Time // zero: always; never
}

// Good says whether the secret counts at a time.
func (s AppSecret) Good(at time.Time) bool {
	return !at.Before(s.Begins) && (s.Expires.IsZero() || at.Before(s.Expires))
}

// AppCertificate is a certificate that an app may sign its assertions with.
type AppCertificate struct {
	*x509.Certificate
	ID, Name        string    // empty: made from the certificate; its subject
	Begins, Expires time.Time // zero: those of the certificate
}

// Validity returns from when until when the certificate counts.
func (c AppCertificate) Validity() (from, until time.Time) {
	from, until = c.NotBefore, c.NotAfter
	if !c.Begins.IsZero() {
		from = c.Begins
	}
	if !c.Expires.IsZero() {
		until = c.Expires
	}
	return from, until
}

// Good says whether the certificate counts at a time.
func (c AppCertificate) Good(at time.Time) bool {
	from, until := c.Validity()
	return !at.Before(from) && !at.After(until)
}

// FederatedCredential trusts the assertions of another issuer.
// Its keys are in Keys, or come from the issuer's discovery document where
// Keys is empty; the emulator reads one only from a loopback address.
type FederatedCredential struct {
	ID, Name, Issuer, Subject, Audience string // ID is an object id, which may be missing
	Description                         string
	Keys                                []byte // a JWK set
}

// Scope is a delegated permission that an app exposes.
type Scope struct {
	ID, Value, Name string
	AdminOnly       bool // only an administrator may consent
	Disabled        bool

	Description               string // for administrators; empty: the name
	UserName, UserDescription string // what users read in place of name and description
}

// AppRole is an application permission that an app exposes.
type AppRole struct {
	ID, Value, Name   string
	Description       string // empty: the name
	ForUsers, ForApps bool
	Disabled          bool
}

// Grant is consent: Client may act on Resource with Scopes for User, or for
// everybody where User is empty.
type Grant struct {
	Tenant, Client, Resource, User string // ids: tenant, client id, client id, object id
	Scopes                         []string
}

// RoleAssignment gives a principal (a user's object id, or an app's client id)
// an app role of Resource in a tenant.
type RoleAssignment struct {
	Tenant, Principal, Resource, Role string
}
