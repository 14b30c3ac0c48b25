package graphsim

import (
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

var (
	userType = &entityType{name: "user", set: "users", bases: []string{"directoryObject"}, strict: true, keys: []string{"userPrincipalName"},
		expands: []string{"manager", "directReports", "memberOf", "transitiveMemberOf"},
		shown: []string{"businessPhones", "displayName", "givenName", "jobTitle", "mail", "mobilePhone", "officeLocation",
			"preferredLanguage", "surname", "userPrincipalName", "id"},
		value: func(v any, name string) (any, bool) { return userValue(v.(*directory.User), name) }}
	groupType = &entityType{name: "group", set: "groups", bases: []string{"directoryObject"}, strict: true, keys: []string{"uniqueName"},
		expands: []string{"members", "owners", "memberOf", "transitiveMembers", "transitiveMemberOf"},
		shown: []string{"id", "deletedDateTime", "classification", "createdDateTime", "description", "displayName", "expirationDateTime",
			"groupTypes", "isAssignableToRole", "mail", "mailEnabled", "mailNickname", "membershipRule", "membershipRuleProcessingState",
			"onPremisesDomainName", "onPremisesLastSyncDateTime", "onPremisesNetBiosName", "onPremisesSamAccountName",
			"onPremisesSecurityIdentifier", "onPremisesSyncEnabled", "preferredDataLocation", "preferredLanguage", "proxyAddresses",
			"renewedDateTime", "resourceBehaviorOptions", "resourceProvisioningOptions", "securityEnabled", "securityIdentifier", "theme",
			"visibility", "onPremisesProvisioningErrors"},
		value: func(v any, name string) (any, bool) { return groupValue(v.(*directory.Group), name) }}
	organizationType = &entityType{name: "organization", set: "organization", bases: []string{"directoryObject"}, strict: true,
		shown: []string{"id", "deletedDateTime", "businessPhones", "city", "country", "countryLetterCode", "createdDateTime", "defaultUsageLocation",
			"displayName", "marketingNotificationEmails", "onPremisesLastSyncDateTime", "onPremisesSyncEnabled", "postalCode",
			"preferredLanguage", "securityComplianceNotificationMails", "securityComplianceNotificationPhones", "state", "street",
			"technicalNotificationMails", "tenantType", "assignedPlans", "provisionedPlans", "verifiedDomains"},
		value: func(v any, name string) (any, bool) { return organizationValue(v.(*directory.Tenant), name) }}
	domainType = &entityType{name: "domain", set: "domains",
		value: func(v any, name string) (any, bool) { return v.(domain).value(name) }}
	roleType = &entityType{name: "directoryRole", set: "directoryRoles", bases: []string{"directoryObject"}, strict: true, keys: []string{"roleTemplateId"},
		shown: []string{"id", "deletedDateTime", "description", "displayName", "roleTemplateId"},
		value: func(v any, name string) (any, bool) { return v.(directoryRole).value(name) }}
	roleTemplateType = &entityType{name: "directoryRoleTemplate", set: "directoryRoleTemplates", bases: []string{"directoryObject"}, strict: true,
		value: func(v any, name string) (any, bool) { return v.(directoryRole).templateValue(name) }}
	// objectType stands for the collections that hold several types: a property
	// of any of them may be selected.
	objectType = &entityType{name: "directoryObject", set: "directoryObjects", bases: []string{"user", "group", "directoryRole", "application", "servicePrincipal", "device"}, strict: true,
		value: func(v any, name string) (any, bool) {
			t := typeOf(v)
			if value, exists := t.get(v, name); exists {
				return value, true
			}
			return nil, false
		}}
)

// typeOf returns the type of a directory object, or of mail.
func typeOf(v any) *entityType {
	switch v := v.(type) {
	case *directory.User:
		return userType
	case *directory.Group:
		return groupType
	case directoryRole:
		return roleType
	case principal:
		return principalType
	case *directory.App:
		return applicationType
	case *directory.Device:
		return deviceType
	case *message:
		return messageType
	case *attachment:
		return v.typ()
	}
	panic(fmt.Sprintf("graphsim: %T is not a directory object", v))
}

// idOf is the object id of a directory object.
func idOf(v any) string {
	switch v := v.(type) {
	case *directory.User:
		return v.ID
	case *directory.Group:
		return v.ID
	case *directory.Device:
		return v.ID
	}
	id, _ := typeOf(v).value(v, "id")
	s, _ := id.(string)
	return s
}

// userText is where a user keeps a property that is any text; nil if it is none.
func userText(u *directory.User, name string) *string {
	switch name {
	case "givenName":
		return &u.GivenName
	case "surname":
		return &u.Surname
	case "mail":
		return &u.Mail
	case "jobTitle":
		return &u.JobTitle
	case "department":
		return &u.Department
	case "officeLocation":
		return &u.Office
	case "preferredLanguage":
		return &u.PreferredLanguage
	case "mobilePhone":
		return &u.MobilePhone
	}
	return nil
}

func userValue(u *directory.User, name string) (any, bool) {
	if s := userText(u, name); s != nil {
		return text(*s), true
	}
	switch name {
	case "id":
		return u.ID, true
	case "userPrincipalName":
		return u.UPN, true
	case "displayName":
		return text(u.DisplayName), true
	case "businessPhones":
		return append([]string{}, u.BusinessPhones...), true
	case "accountEnabled":
		return !u.Disabled, true
	case "userType":
		return userTypeOf(u), true
	case "createdDateTime":
		return date(u.Created), true
	case "signInSessionsValidFromDateTime":
		if u.SessionsRevoked.After(u.Created) {
			return date(u.SessionsRevoked), true
		}
		return date(u.Created), true
	case "lastPasswordChangeDateTime":
		if u.PasswordChanged.IsZero() {
			return date(u.Created), true
		}
		return date(u.PasswordChanged), true
	case "proxyAddresses":
		if u.Mail == "" {
			return []string{}, true
		}
		return []string{"SMTP:" + u.Mail}, true
	case "assignedLicenses", "assignedPlans", "licenseAssignmentStates", "provisionedPlans":
		return licenseValue(u, name), true
	case "identities":
		_, domain, _ := strings.Cut(u.UPN, "@")
		own := object{{"signInType", "userPrincipalName"}, {"issuer", domain}, {"issuerAssignedId", u.UPN}}
		if u.Home != "" {
			return []object{{{"signInType", "federated"}, {"issuer", "ExternalAzureAD"}, {"issuerAssignedId", nil}}, own}, true
		}
		return []object{own}, true
	case "creationType", "externalUserState", "externalUserStateChangeDateTime":
		if _, said := u.More[name]; !said && u.Home != "" {
			return map[string]any{"creationType": "Invitation", "externalUserState": "Accepted", "externalUserStateChangeDateTime": date(u.Created)}[name], true
		}
	case "mailNickname":
		if nick, ok := u.More[name]; ok {
			return nick, true
		}
		nick, _, _ := strings.Cut(u.UPN, "@")
		return nick, true
	}
	value, ok := u.More[name]
	return value, ok
}

func userTypeOf(u *directory.User) string {
	if u.Guest {
		return "Guest"
	}
	return "Member"
}

func groupValue(g *directory.Group, name string) (any, bool) {
	switch name {
	case "id":
		return g.ID, true
	case "displayName":
		return g.Name, true
	case "description":
		return text(g.Description), true
	case "mail":
		return text(g.Mail), true
	case "createdDateTime", "renewedDateTime":
		return date(g.Created), true
	case "owners": // of a filter that counts them
		return g.Owners, true
	case "proxyAddresses":
		if g.Mail == "" {
			return []string{}, true
		}
		return []string{"SMTP:" + g.Mail}, true
	}
	if value, ok := g.More[name]; ok {
		return value, true
	}
	switch name {
	case "groupTypes":
		if g.Unified {
			return []string{"Unified"}, true
		}
		return []string{}, true
	case "mailEnabled":
		return g.Unified || g.Mail != "", true
	case "securityEnabled":
		return !g.Unified, true
	case "mailNickname":
		return strings.ReplaceAll(strings.ToLower(g.Name), " ", "-"), true
	case "securityIdentifier":
		return securityIdentifier(g.ID), true
	}
	return nil, false
}

// securityIdentifier is the SID that an object id is written as.
func securityIdentifier(id string) any {
	raw, err := hex.DecodeString(strings.ReplaceAll(id, "-", ""))
	if err != nil || len(raw) != 16 {
		return nil
	}
	// The first three groups of a GUID are little endian numbers.
	part := func(a, b, c, d int) uint32 {
		return uint32(raw[a]) | uint32(raw[b])<<8 | uint32(raw[c])<<16 | uint32(raw[d])<<24
	}
	return fmt.Sprintf("S-1-12-1-%d-%d-%d-%d", part(3, 2, 1, 0), part(5, 4, 7, 6), part(8, 9, 10, 11), part(12, 13, 14, 15))
}

func organizationValue(t *directory.Tenant, name string) (any, bool) {
	switch name {
	case "id":
		return t.ID, true
	case "displayName":
		return t.Name, true
	case "tenantType":
		return "AAD", true
	case "verifiedDomains":
		domains := []object{}
		for i, d := range t.Domains {
			domains = append(domains, object{{"capabilities", "Email, OfficeCommunicationsOnline"}, {"isDefault", i == 0},
				{"isInitial", initialDomain(d)}, {"name", d}, {"type", "Managed"}})
		}
		return domains, true
	}
	return nil, false
}

func initialDomain(name string) bool { return strings.HasSuffix(name, ".onmicrosoft.com") }

// domain is a verified domain of a tenant.
type domain struct {
	name  string
	first bool
}

func (d domain) value(name string) (any, bool) {
	switch name {
	case "id":
		return d.name, true
	case "authenticationType":
		return "Managed", true
	case "isDefault":
		return d.first, true
	case "isInitial":
		return initialDomain(d.name), true
	case "isRoot", "isVerified", "isAdminManaged":
		return true, true
	case "supportedServices":
		return []string{"Email", "OfficeCommunicationsOnline"}, true
	}
	return nil, false
}

// directoryRole is an administrator role of a tenant.
type directoryRole struct{ tenant, template string }

func (r directoryRole) id() string { return derivedID("role", r.tenant, r.template) }

func (r directoryRole) value(name string) (any, bool) {
	switch name {
	case "id":
		return r.id(), true
	case "roleTemplateId":
		return r.template, true
	}
	return r.templateValue(name)
}

func (r directoryRole) templateValue(name string) (any, bool) {
	switch name {
	case "id":
		return r.template, true
	case "displayName", "description":
		i := slices.IndexFunc(roleNames, func(n [2]string) bool { return n[0] == r.template })
		switch {
		case i < 0:
			return nil, true
		case name == "description":
			return "The directory role " + roleNames[i][1], true
		}
		return roleNames[i][1], true
	}
	return nil, false
}

// The template ids of the directory roles that mean something here.
const (
	userAdministrator             = "fe930be7-5e62-47db-91af-98c3a49a38b1"
	groupsAdministrator           = "fdd7a751-b60b-444a-984c-02652fe8fa1c"
	applicationAdministrator      = "9b895d92-2cd3-44c7-9d02-a6ac2d5ea5c3"
	cloudApplicationAdministrator = "158c047a-c907-4556-b7ef-446551a6b5f7"
	privilegedRoleAdministrator   = "e8611ab8-c189-46e8-94e1-60213ab1f814"
	licenseAdministrator          = "4d6ac14f-3453-41d0-bef9-a3e0c569773a"
	cloudDeviceAdministrator      = "7698a772-787b-4ac8-901f-60d6b08affd2"
	reportsReader                 = "4a5d8f65-41da-4de4-8968-e035b65339cf"
	securityReader                = "5d6b6bb7-de71-4623-b4af-96380a352509"
)

// roleNames are the template ids and names of directory roles, by name.
var roleNames = [][2]string{
	{applicationAdministrator, "Application Administrator"},
	{cloudApplicationAdministrator, "Cloud Application Administrator"},
	{cloudDeviceAdministrator, "Cloud Device Administrator"},
	{"88d8e3e3-8f55-4a1e-953a-9b9898b8876b", "Directory Readers"},
	{directory.GlobalAdministrator, "Global Administrator"},
	{groupsAdministrator, "Groups Administrator"},
	{licenseAdministrator, "License Administrator"},
	{privilegedRoleAdministrator, "Privileged Role Administrator"},
	{reportsReader, "Reports Reader"},
	{securityReader, "Security Reader"},
	{userAdministrator, "User Administrator"},
}

// derivedID makes an id that is the same in every run.
func derivedID(names ...string) string {
	sum := sha1.Sum([]byte(strings.Join(names, "\x00")))
	sum[6], sum[8] = sum[6]&0x0f|0x50, sum[8]&0x3f|0x80 // a GUID of version 5
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
}

// derivedToken makes an id of the kind that is not a GUID, the same in every
// run.
func derivedToken(names ...string) string {
	sum := sha1.Sum([]byte(strings.Join(names, "\x00")))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// text is null where the world has nothing to say.
func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func date(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

func contains(list []string, s string) bool {
	return slices.ContainsFunc(list, func(e string) bool { return strings.EqualFold(e, s) })
}
