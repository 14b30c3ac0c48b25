package graphsim

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fobauth/fob/entratest/internal/directory"
)

const armAudience = "https://management.azure.com/"

// azure is Resource Manager with the roles of a world file.
func azure(t *testing.T, world string) (*face, string) {
	f := start(t)
	if err := directory.Load(f.World, []byte(world), "."); err != nil {
		t.Fatal(err)
	}
	return f, "/arm/subscriptions/" + SubscriptionID(directory.TenantID)
}

const (
	armVersion  = "?api-version=2022-04-01"
	roles       = "/providers/Microsoft.Authorization/roleAssignments"
	definitions = "/providers/Microsoft.Authorization/roleDefinitions"
	newRole     = roles + "/0a0a0a0a-0000-4000-8000-000000000001" + armVersion
)

func roleBody(definition, principal string) string {
	return `{"properties":{"roleDefinitionId":"/subscriptions/x` + definitions + `/` + definition + `","principalId":"` + principal + `"}}`
}

// assigned are the principals of a list of role assignments.
func (a answer) assigned() string {
	var all []string
	for _, v := range list(a.body["value"]) {
		all = append(all, fmt.Sprint(inside(inside(v, "properties"), "principalId")))
	}
	return fmt.Sprint(all)
}

func TestRolesAreGivenAndTaken(t *testing.T) {
	f, at := azure(t, "")
	ada := user("user_impersonation", "aud", armAudience)
	group := at + "/resourceGroups/lab"
	f.write("PUT", group+armVersion, ada, `{"location":"westeurope"}`).want(t, "a group", 201, "")
	all := f.get(at+roles+armVersion, ada).want(t, "roles", 200, "")
	daemon := must(f.World.Registration(directory.DaemonAppID)).PrincipalID
	if all.assigned() != fmt.Sprint([]string{directory.AdaID, directory.BenID, directory.CleoID, daemon}) {
		t.Errorf("at first: %s", all.text)
	}
	made := f.write("PUT", group+newRole, ada, roleBody(directory.AzureOwner, directory.ReadersGroupID)).want(t, "give", 201, "")
	p := made.body["properties"]
	if made.str("id") != strings.TrimPrefix(group, "/arm")+strings.TrimSuffix(newRole, armVersion) || inside(p, "principalType") != "Group" || inside(p, "scope") != strings.TrimPrefix(group, "/arm") ||
		!strings.HasSuffix(fmt.Sprint(inside(p, "roleDefinitionId")), definitions+"/"+directory.AzureOwner) {
		t.Errorf("made: %s", made.text)
	}
	f.write("PUT", group+newRole, ada, roleBody(directory.AzureOwner, directory.ReadersGroupID)).want(t, "give again", 200, "")
	for _, c := range []struct{ filter, want string }{
		{"principalId eq '" + directory.BenID + "'", "[" + directory.BenID + "]"},
		{"assignedTo('" + directory.BenID + "')", "[" + directory.BenID + " " + directory.ReadersGroupID + "]"},
		{"atScope() and assignedTo('" + directory.BenID + "')", "[" + directory.BenID + "]"},
	} {
		if a := f.get(at+roles+armVersion+"&$filter="+enc(c.filter), ada).want(t, c.filter, 200, ""); a.assigned() != c.want {
			t.Errorf("%s: %s", c.filter, a.text)
		}
	}
	if a := f.get(group+roles+armVersion+"&$filter=atScope()", ada); len(a.values("name")) != 5 {
		t.Errorf("in the group: %s", a.text)
	}
	other := strings.Replace(newRole, "0001?", "0002?", 1)
	for _, c := range []struct {
		trigger, method, path, body string
		status                      int
		code                        string
	}{
		{"the same by another name", "PUT", group + other, roleBody(directory.AzureOwner, directory.ReadersGroupID), 409, "RoleAssignmentExists"},
		{"another by the same name", "PUT", group + newRole, roleBody(directory.AzureReader, directory.ReadersGroupID), 400, "RoleAssignmentUpdateNotPermitted"},
		{"no such role", "PUT", at + other, roleBody("0b0b0b0b-0000-4000-8000-000000000001", directory.BenID), 404, "RoleDefinitionDoesNotExist"},
		{"to nobody", "PUT", at + other, roleBody(directory.AzureReader, "0b0b0b0b-0000-4000-8000-000000000001"), 400, "PrincipalNotFound"},
		{"to another kind", "PUT", at + other, strings.Replace(roleBody(directory.AzureReader, directory.BenID), `"}}`, `","principalType":"Group"}}`, 1), 400, "UnmatchedPrincipalType"},
		{"without an id", "PUT", at + roles + "/reader" + armVersion, roleBody(directory.AzureReader, directory.BenID), 400, "InvalidRoleAssignmentId"},
		{"of nothing", "PUT", at + other, `{}`, 400, "InvalidCreateRoleAssignmentRequest"},
		{"no JSON", "PUT", at + other, `{`, 400, "InvalidRequestContent"},
		{"one that is not there", "GET", at + other, ``, 404, "RoleAssignmentNotFound"},
		{"nothing to take", "DELETE", at + other, ``, 204, ""},
		{"another filter", "GET", at + roles + armVersion + "&$filter=" + enc("scope eq 'x'"), ``, 400, "InvalidFilter"},
		{"another option", "GET", at + roles + armVersion + "&$top=1", ``, 400, "InvalidQueryParameter"},
	} {
		f.write(c.method, c.path, ada, c.body).want(t, c.trigger, c.status, c.code)
	}
	if a := f.do("DELETE", group+newRole, ada).want(t, "take", 200, ""); a.str("name") != made.str("name") {
		t.Errorf("taken: %s", a.text)
	}
	f.get(group+newRole, ada).want(t, "taken", 404, "RoleAssignmentNotFound")
}

func TestRoleDefinitionsHaveTheirRealIDs(t *testing.T) {
	f, at := azure(t, "")
	ada := user("user_impersonation", "aud", armAudience)
	a := f.get(at+definitions+armVersion+"&$filter="+enc("roleName eq 'Reader'"), ada).want(t, "by name", 200, "")
	if fmt.Sprint(a.values("name")) != "[acdd72a7-3385-48ef-bd42-f606fba81ae7]" || !strings.Contains(a.text, `"actions":["*/read"],"notActions":[],`) {
		t.Errorf("by name: %s", a.text)
	}
	if a := f.get("/arm"+definitions+"/"+directory.AzureOwner+armVersion, ada).want(t, "by id", 200, ""); inside(a.body["properties"], "roleName") != "Owner" || a.str("id") != definitions+"/"+directory.AzureOwner {
		t.Errorf("by id: %s", a.text)
	}
	if a := f.get(at+definitions+armVersion, ada); len(a.values("name")) < 5 {
		t.Errorf("all: %s", a.text)
	}
}

func TestRolesCountOnceAWorldFileGivesOne(t *testing.T) {
	f, at := azure(t, `
[[user]]
upn = "dora@fob.example"

[[user]]
upn = "eve@fob.example"

[[azure_role]]
principal = "dora@fob.example"
role = "Contributor"
resource_group = "lab"

[[azure_role]]
principal = "fob API"
role = "User Access Administrator"
`)
	as := func(upn string) string {
		return user("user_impersonation", "aud", armAudience, "upn", upn, "oid", must(f.World.User("", upn)).ID)
	}
	ada, dora, cleo, eve := as("ada@fob.example"), as("dora@fob.example"), as("cleo@fob.example"), as("eve@fob.example")
	group := at + "/resourceGroups/lab"
	f.write("PUT", group+armVersion, cleo, `{"location":"westeurope"}`).want(t, "a reader writes", 403, "AuthorizationFailed")
	f.write("PUT", group+armVersion, dora, `{"location":"westeurope"}`).want(t, "a contributor to the group writes it", 201, "")
	f.write("PUT", at+"/resourceGroups/other"+armVersion, ada, `{"location":"westeurope"}`).want(t, "an owner writes", 201, "")
	a := f.write("PUT", at+"/resourceGroups/other"+armVersion, dora, `{"location":"westeurope"}`).want(t, "a contributor to the group writes another", 403, "AuthorizationFailed")
	if want := "The client 'dora@fob.example' with object id '" + must(f.World.User("", "dora@fob.example")).ID + "' does not have authorization to perform action 'Microsoft.Resources/subscriptions/resourceGroups/write' over scope '" +
		strings.TrimPrefix(at, "/arm") + "/resourceGroups/other' or the scope is invalid. If access was recently granted, please refresh your credentials."; a.message() != want {
		t.Errorf("said %s", a.message())
	}
	for who, want := range map[string]string{ada: "[lab other]", dora: "[lab]", cleo: "[lab other]"} {
		if a := f.get(at+"/resourceGroups"+armVersion, who); fmt.Sprint(a.values("name")) != want {
			t.Errorf("groups: %s", a.text)
		}
	}
	f.write("PUT", group+newRole, dora, roleBody(directory.AzureReader, directory.BenID)).want(t, "a contributor gives roles", 403, "AuthorizationFailed")
	keeper := token("good", map[string]any{"aud": armAudience, "tid": directory.TenantID, "oid": must(f.World.Registration(directory.APIAppID)).PrincipalID})
	f.write("PUT", at+newRole, keeper, roleBody(directory.AzureReader, must(f.World.User("", "eve@fob.example")).ID)).want(t, "an administrator of access gives one", 201, "")
	f.do("DELETE", group+armVersion, keeper).want(t, "and deletes nothing else", 403, "AuthorizationFailed")
	if a := f.get(group+armVersion, eve).want(t, "who was given a role reads", 200, ""); a.str("name") != "lab" {
		t.Errorf("read: %s", a.text)
	}
	if a := f.get(at+"/providers/Microsoft.Authorization/permissions"+armVersion, eve); !strings.Contains(a.text, `{"value":[{"actions":["*/read"],`) {
		t.Errorf("permissions: %s", a.text)
	}
	f.do("DELETE", at+newRole, keeper).want(t, "take it", 200, "")
	f.get(at+armVersion, eve).want(t, "without a role", 403, "AuthorizationFailed")
	f.get(group+armVersion, eve).want(t, "without a role", 403, "AuthorizationFailed")
	if a := f.get("/arm/subscriptions"+armVersion, eve); len(a.values("id")) != 0 {
		t.Errorf("subscriptions of who has no role: %s", a.text)
	}
	if a := f.get("/arm/subscriptions"+armVersion, dora); len(a.values("id")) != 1 {
		t.Errorf("subscriptions of who has one in a group: %s", a.text)
	}
}
