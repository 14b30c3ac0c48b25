package graphsim

import (
	"crypto/sha1"
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// entityType is a type of Graph: the properties it has, the ones it shows
// unasked, and where the values of those that the world knows come from.
type entityType struct {
	name   string
	base   string // properties of another type that it has too
	shown  []string
	values func(v any) map[string]any
}

// singleOnly are properties that another service keeps: a single user has
// them, a collection answers 501.
var singleOnly = []string{"aboutMe", "birthday", "hireDate", "interests", "mySite", "pastProjects", "preferredName", "responsibilities", "schools", "skills", "mailboxSettings"}

var (
	userType = &entityType{name: "user", base: "directoryObject",
		shown: []string{"businessPhones", "displayName", "givenName", "jobTitle", "mail", "mobilePhone", "officeLocation",
			"preferredLanguage", "surname", "userPrincipalName", "id"},
		values: func(v any) map[string]any { return userValues(v.(*directory.User)) }}
	groupType = &entityType{name: "group", base: "directoryObject",
		shown: []string{"id", "deletedDateTime", "classification", "createdDateTime", "description", "displayName", "expirationDateTime",
			"groupTypes", "isAssignableToRole", "mail", "mailEnabled", "mailNickname", "membershipRule", "membershipRuleProcessingState",
			"onPremisesDomainName", "onPremisesLastSyncDateTime", "onPremisesNetBiosName", "onPremisesSamAccountName",
			"onPremisesSecurityIdentifier", "onPremisesSyncEnabled", "preferredDataLocation", "preferredLanguage", "proxyAddresses",
			"renewedDateTime", "resourceBehaviorOptions", "resourceProvisioningOptions", "securityEnabled", "securityIdentifier", "theme",
			"visibility", "onPremisesProvisioningErrors"},
		values: func(v any) map[string]any { return groupValues(v.(*directory.Group)) }}
	organizationType = &entityType{name: "organization", base: "directoryObject",
		shown: []string{"id", "deletedDateTime", "businessPhones", "city", "country", "countryLetterCode", "createdDateTime", "defaultUsageLocation",
			"displayName", "marketingNotificationEmails", "onPremisesLastSyncDateTime", "onPremisesSyncEnabled", "postalCode",
			"preferredLanguage", "securityComplianceNotificationMails", "securityComplianceNotificationPhones", "state", "street",
			"technicalNotificationMails", "tenantType", "assignedPlans", "provisionedPlans", "verifiedDomains"},
		values: func(v any) map[string]any { return organizationValues(v.(*directory.Tenant)) }}
	roleType = &entityType{name: "directoryRole", base: "directoryObject",
		shown:  []string{"id", "deletedDateTime", "description", "displayName", "roleTemplateId"},
		values: func(v any) map[string]any { return roleValues(v.(directoryRole)) }}
	// objectType stands for the collections that hold several types: a property
	// of any of them may be selected.
	objectType = &entityType{name: "directoryObject", base: "user group directoryRole"}
)

// show writes the selected properties of v, or those that are shown unasked.
// A property that exists but that nothing in the world fills is null, or an
// empty collection.
func (t *entityType) show(v any, selected []string) object {
	names := selected
	if names == nil {
		names = t.shown
	} else if slices.Contains(names, "*") {
		names = schema()[t.name].names
	}
	values := t.values(v)
	o := make(object, 0, len(names))
	for _, name := range names {
		value, known := values[name]
		if !known {
			edm, exists := t.property(name)
			if !exists {
				continue // selected in a mixed collection, and of another type
			}
			if strings.HasPrefix(edm, "Collection(") {
				value = []any{}
			}
		}
		o = append(o, member{name, value})
	}
	return o
}

// properties parses a $select and gives the names their proper case.
func (t *entityType) properties(list string) ([]string, error) {
	var out []string
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if name == "*" {
			out = append(out, name)
			continue
		}
		proper, ok := t.find(name)
		if !ok {
			return nil, fmt.Errorf("Could not find a property named '%s' on type 'microsoft.graph.%s'.", name, t.name)
		}
		if !slices.Contains(out, proper) {
			out = append(out, proper)
		}
	}
	return out, nil
}

func (t *entityType) find(name string) (string, bool) {
	for _, of := range append([]string{"entity", "directoryObject", t.name}, strings.Fields(t.base)...) {
		if proper, ok := schema()[of].proper[strings.ToLower(name)]; ok {
			return proper, true
		}
	}
	return "", false
}

// property returns the EDM type of a property, by its proper name.
func (t *entityType) property(name string) (string, bool) {
	for _, of := range append([]string{"entity", "directoryObject", t.name}, strings.Fields(t.base)...) {
		if edm, ok := schema()[of].edm[name]; ok {
			return edm, true
		}
	}
	return "", false
}

type typeSchema struct {
	names  []string          // in the schema's order
	proper map[string]string // lower case to proper name
	edm    map[string]string // proper name to EDM type
}

//go:embed properties.tsv
var propertiesTSV string

var schema = sync.OnceValue(func() map[string]typeSchema {
	types := map[string]typeSchema{}
	for line := range strings.Lines(propertiesTSV) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 4 {
			continue
		}
		t, ok := types[f[0]]
		if !ok {
			t = typeSchema{proper: map[string]string{}, edm: map[string]string{}}
		}
		t.names = append(t.names, f[1])
		t.proper[strings.ToLower(f[1])] = f[1]
		t.edm[f[1]] = f[2]
		types[f[0]] = t
	}
	for name, t := range types {
		if name != "entity" && name != "directoryObject" {
			t.names = append([]string{"id", "deletedDateTime"}, t.names...)
			types[name] = t
		}
	}
	return types
})

func userValues(u *directory.User) map[string]any {
	kind := "Member"
	if u.Guest {
		kind = "Guest"
	}
	nick, _, _ := strings.Cut(u.UPN, "@")
	_, domain, _ := strings.Cut(u.UPN, "@")
	proxies := []string{}
	if u.Mail != "" {
		proxies = append(proxies, "SMTP:"+u.Mail)
	}
	valid := u.Created
	if u.SessionsRevoked.After(valid) {
		valid = u.SessionsRevoked
	}
	return map[string]any{
		"id": u.ID, "userPrincipalName": u.UPN, "displayName": text(u.DisplayName), "givenName": text(u.GivenName), "surname": text(u.Surname),
		"mail": text(u.Mail), "jobTitle": text(u.JobTitle), "department": text(u.Department), "officeLocation": text(u.Office),
		"preferredLanguage": text(u.PreferredLanguage), "mobilePhone": text(u.MobilePhone), "businessPhones": append([]string{}, u.BusinessPhones...),
		"accountEnabled": !u.Disabled, "userType": kind, "createdDateTime": date(u.Created), "mailNickname": nick, "proxyAddresses": proxies,
		"signInSessionsValidFromDateTime": date(valid),
		"identities":                      []object{{{"signInType", "userPrincipalName"}, {"issuer", domain}, {"issuerAssignedId", u.UPN}}},
	}
}

func groupValues(g *directory.Group) map[string]any {
	kinds := []string{}
	if g.Unified {
		kinds = append(kinds, "Unified")
	}
	proxies := []string{}
	if g.Mail != "" {
		proxies = append(proxies, "SMTP:"+g.Mail)
	}
	return map[string]any{
		"id": g.ID, "displayName": g.Name, "description": text(g.Description), "mail": text(g.Mail), "createdDateTime": date(g.Created),
		"renewedDateTime": date(g.Created), "groupTypes": kinds, "mailEnabled": g.Unified || g.Mail != "", "securityEnabled": !g.Unified,
		"mailNickname": strings.ReplaceAll(strings.ToLower(g.Name), " ", "-"), "proxyAddresses": proxies,
	}
}

func organizationValues(t *directory.Tenant) map[string]any {
	domains := []object{}
	for i, d := range t.Domains {
		domains = append(domains, object{{"capabilities", "Email, OfficeCommunicationsOnline"}, {"isDefault", i == 0},
			{"isInitial", strings.HasSuffix(d, ".onmicrosoft.com")}, {"name", d}, {"type", "Managed"}})
	}
	return map[string]any{"id": t.ID, "displayName": t.Name, "tenantType": "AAD", "verifiedDomains": domains}
}

// directoryRole is an administrator role that somebody of a tenant has.
type directoryRole struct{ tenant, template string }

var roleNames = map[string]string{
	directory.GlobalAdministrator:          "Global Administrator",
	"fe930be7-5e62-47db-91af-98c3a49a38b1": "User Administrator",
	"88d8e3e3-8f55-4a1e-953a-9b9898b8876b": "Directory Readers",
}

func roleValues(r directoryRole) map[string]any {
	return map[string]any{"id": derivedID("role", r.tenant, r.template), "roleTemplateId": r.template, "displayName": text(roleNames[r.template])}
}

// derivedID makes an id that is the same in every run.
func derivedID(names ...string) string {
	sum := sha1.Sum([]byte(strings.Join(names, "\x00")))
	sum[6], sum[8] = sum[6]&0x0f|0x50, sum[8]&0x3f|0x80 // a GUID of version 5
	return fmt.Sprintf("%x-%x-%x-%x-%x", sum[0:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16])
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
