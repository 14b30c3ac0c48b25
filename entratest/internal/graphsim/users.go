package graphsim

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

func (c *call) tenant() string { return c.token.text("tid") }

// all makes a collection of anything.
func all[T any](list []T) []any {
	out := make([]any, len(list))
	for i, v := range list {
		out[i] = v
	}
	return out
}

func (c *call) users() {
	q, ok := c.query(userType, collection)
	if !ok {
		return
	}
	people := c.World.People(c.tenant())
	if people.Crowd != nil {
		c.crowd(q, people)
		return
	}
	c.collect(q, userType, "users", all(people.Kept), func(v any) object { return userType.show(v, q.selected) })
}

func (c *call) user() { c.one(userType) }

// self says whether name is the signed-in user's.
func (c *call) self(name string) bool {
	if !c.token.delegated() {
		return false
	}
	if strings.EqualFold(name, c.token.text("oid")) {
		return true
	}
	u, ok := c.World.User(c.tenant(), name)
	return ok && u.ID == c.token.text("oid")
}

// findUser looks a user up, or answers 404.
func (c *call) findUser(name string) (*directory.User, bool) {
	u, ok := c.World.User(c.tenant(), name)
	if !ok {
		c.notFound(name)
	}
	return u, ok
}

func (c *call) notFound(name string) {
	c.refuse(http.StatusNotFound, "Request_ResourceNotFound",
		"Resource '"+name+"' does not exist or one of its queried reference-property objects are not present.")
}

// userReadOnly are the properties of a user that somebody else keeps.
var userReadOnly = []string{"id", "createdDateTime", "deletedDateTime", "proxyAddresses", "signInSessionsValidFromDateTime", "onPremisesSyncEnabled",
	"onPremisesLastSyncDateTime", "onPremisesSamAccountName", "onPremisesDomainName", "onPremisesSecurityIdentifier", "onPremisesUserPrincipalName",
	"onPremisesDistinguishedName", "provisionedPlans", "assignedPlans", "assignedLicenses", "licenseAssignmentStates", "lastPasswordChangeDateTime",
	"securityIdentifier", "imAddresses", "isResourceAccount", "legalAgeGroupClassification", "identities", "creationType", "signInActivity"}

func (c *call) createUser() {
	given, ok := c.fields(userType, userReadOnly)
	if !ok || !c.require(given, userType, "accountEnabled", "displayName", "mailNickname", "passwordProfile", "userPrincipalName") {
		return
	}
	u := &directory.User{ID: c.World.NewID("user"), Tenant: c.tenant(), Created: c.World.Now(), More: map[string]any{}}
	t, _ := c.World.Tenant(c.tenant())
	if err := setUser(u, t, given); err != nil {
		c.invalid(err)
		return
	}
	if u.Password == "" {
		c.invalid(errors.New("A value is required for property 'password' of resource 'PasswordProfile'."))
		return
	}
	if c.conflict(c.World.CreateUser(u), "userPrincipalName") {
		return
	}
	c.created("users/$entity", "/users/"+u.ID, userType.show(u, nil))
}

func (c *call) invalid(err error) {
	code := "Request_BadRequest"
	if of := (credentialError{}); errors.As(err, &of) {
		code = of.code
	}
	c.refuse(http.StatusBadRequest, code, err.Error())
}

// noOptions answers 400 if there are query options: a write has none.
func (c *call) noOptions() bool {
	options, err := c.options()
	if err != nil {
		c.refuse(http.StatusBadRequest, "BadRequest", err.Error())
		return false
	}
	if len(options) > 0 {
		c.refuse(http.StatusBadRequest, "BadRequest", "The query option '"+options[0].sent+"' is not supported for this request.")
		return false
	}
	return true
}

// conflict answers what the directory says to a name that is taken, and says
// whether it has answered.
func (c *call) conflict(err error, property string) bool {
	switch {
	case err == nil:
		return false
	case errors.Is(err, directory.ErrConflict):
		message := "Another object with the same value for property " + property + " already exists."
		body := c.errorBody("Request_BadRequest", message)
		inner := body[0].value.(object)
		body[0].value = append(object{inner[0], inner[1], {"details", []object{{{"code", "ObjectConflict"}, {"message", message}, {"target", property}}}}}, inner[2:]...)
		c.send(http.StatusBadRequest, "application/json", body)
	case errors.Is(err, directory.ErrNotFound):
		c.notFound(c.arg(0))
	default:
		c.invalid(err)
	}
	return true
}

// setUser fills a user of a tenant from the fields of a body.
func setUser(u *directory.User, of *directory.Tenant, given fields) error {
	for _, f := range given {
		s := str(f.value)
		if into := userText(u, f.name); into != nil {
			*into = s
			continue
		}
		switch f.name {
		case "accountEnabled":
			on, ok := f.value.(bool)
			if !ok {
				return fmt.Errorf("Invalid value specified for property 'accountEnabled' of resource 'User'.")
			}
			u.Disabled = !on
		case "displayName":
			if s == "" {
				return fmt.Errorf("Invalid value specified for property 'displayName' of resource 'User'.")
			}
			u.DisplayName = s
		case "businessPhones":
			u.BusinessPhones = stringsIn(f.value)
			if len(u.BusinessPhones) > 1 {
				return fmt.Errorf("Invalid value specified for property 'businessPhones' of resource 'User'.")
			}
		case "userType":
			if s != "" && s != "Member" && s != "Guest" {
				return fmt.Errorf("Invalid value specified for property 'userType' of resource 'User'.")
			}
			u.Guest = s == "Guest"
		case "userPrincipalName":
			name, domain, _ := strings.Cut(s, "@")
			if name == "" || strings.ContainsAny(s, " /?\\") || strings.Contains(domain, "@") {
				return fmt.Errorf("Property userPrincipalName is invalid.")
			}
			if !contains(of.Domains, domain) {
				return fmt.Errorf("The domain portion of the userPrincipalName property is invalid. You must use one of the verified domain names in your organization.")
			}
			u.UPN = s
		case "passwordProfile":
			if password, given := inside(f.value, "password").(string); given {
				if len(password) < 8 {
					return fmt.Errorf("The specified password does not comply with password complexity requirements. Please provide a different password.")
				}
				u.Password, u.PasswordExpired = password, false
			}
			if expired, given := inside(f.value, "forceChangePasswordNextSignIn").(bool); given {
				u.PasswordExpired = expired
			}
		default:
			if u.More == nil {
				u.More = map[string]any{}
			}
			u.More[f.name] = f.value
		}
	}
	return nil
}

// ownToChange are the properties that users may change of themselves.
var ownToChange = []string{"aboutMe", "birthday", "businessPhones", "city", "country", "displayName", "givenName", "interests", "jobTitle", "mobilePhone", "mySite",
	"officeLocation", "passwordProfile", "pastProjects", "postalCode", "preferredLanguage", "preferredName", "responsibilities", "schools", "skills",
	"state", "streetAddress", "surname", "usageLocation"}

func (c *call) updateUser() {
	given, ok := c.fields(userType, userReadOnly)
	if !ok {
		return
	}
	u, ok := c.findUser(c.arg(0))
	if !ok {
		return
	}
	if c.token.delegated() && !administrator(userAdministrator)(c) && slices.ContainsFunc(given, func(f field) bool { return !slices.Contains(ownToChange, f.name) }) {
		c.denied()
		return
	}
	t, _ := c.World.Tenant(c.tenant())
	change := func(u *directory.User) error {
		if inside(given.get("passwordProfile"), "password") != nil {
			u.PasswordChanged = c.World.Now()
		}
		return setUser(u, t, given)
	}
	if !c.conflict(c.World.UpdateUser(c.tenant(), u.ID, change), "userPrincipalName") {
		c.noContent()
	}
}

func (c *call) deleteUser() {
	u, ok := c.findUser(c.arg(0))
	if !ok || !c.noOptions() {
		return
	}
	c.World.DeleteUser(c.tenant(), u.ID)
	c.noContent()
}

func (c *call) manager() {
	q, ok := c.query(userType, 0)
	if !ok {
		return
	}
	u, ok := c.findUser(c.arg(0))
	if !ok {
		return
	}
	m, ok := c.World.User(c.tenant(), u.Manager)
	if u.Manager == "" || !ok {
		c.notFound("manager")
		return
	}
	if c.references {
		c.entity("$ref", c.referTo(m))
		return
	}
	c.entity("directoryObjects/$entity", c.typed(m, q.selected))
}

func (c *call) setManager() {
	v, ok := c.reference()
	if !ok {
		return
	}
	u, ok := c.findUser(c.arg(0))
	if !ok {
		return
	}
	m, ok := v.(*directory.User)
	if !ok {
		c.invalid(errors.New("An invalid operation was included in the following modified references: 'manager'."))
		return
	}
	for at := m; at != nil; { // a manager is nobody's own report
		if at.ID == u.ID {
			c.invalid(errors.New("Invalid object: the manager would report to the user, directly or through others."))
			return
		}
		above, ok := c.World.User(c.tenant(), at.Manager)
		if at.Manager == "" || !ok {
			break
		}
		at = above
	}
	if !c.conflict(c.World.UpdateUser(c.tenant(), u.ID, func(u *directory.User) error { u.Manager = m.ID; return nil }), "manager") {
		c.noContent()
	}
}

func (c *call) removeManager() {
	u, ok := c.findUser(c.arg(0))
	if !ok {
		return
	}
	if u.Manager == "" {
		c.notFound("manager")
		return
	}
	if !c.conflict(c.World.UpdateUser(c.tenant(), u.ID, func(u *directory.User) error { u.Manager = ""; return nil }), "manager") {
		c.noContent()
	}
}

// reportsOf are the users whose manager a user is. Nobody of the crowd has
// one, unless somebody has set it.
func (c *call) reportsOf(id string) []any {
	var reports []any
	for _, u := range c.World.Users(c.tenant()) {
		if u.Manager == id {
			reports = append(reports, u)
		}
	}
	return reports
}

// groupsWith are the groups that an object is directly in.
func (c *call) groupsWith(id string) []any {
	var of []any
	for _, g := range c.World.Groups(c.tenant()) {
		if slices.Contains(g.Members, id) {
			of = append(of, g)
		}
	}
	return of
}

func (c *call) rolesOf(u *directory.User) []any {
	var of []any
	for _, template := range u.Roles {
		of = append(of, directoryRole{u.Tenant, template})
	}
	return of
}

func (c *call) revokeSignInSessions() {
	if _, ok := c.action("revokeSignInSessions", false); !ok {
		return
	}
	u, ok := c.findUser(c.arg(0))
	if !ok {
		return
	}
	if !u.External() { // guests have their sessions at home
		c.World.RevokeSessions(u.ID)
	}
	c.entity("Edm.Boolean", object{{"value", true}})
}
