package graphsim

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// write sends a JSON body.
func (f *face) write(method, path, token, body string, header ...string) answer {
	f.t.Helper()
	return f.send(method, path, token, strings.NewReader(body), append([]string{"Content-Type", "application/json"}, header...)...)
}

// want fails the test unless an answer has a status and, if not empty, a code.
func (a answer) want(t *testing.T, what string, status int, code string) answer {
	t.Helper()
	if a.status != status || a.code() != code {
		t.Errorf("%s: got %d %s, want %d %s: %s", what, a.status, a.code(), status, code, a.text)
	}
	return a
}

func (a answer) str(name string) string { s, _ := a.body[name].(string); return s }

func (a answer) values(property string) []string {
	var out []string
	list, _ := a.body["value"].([]any)
	for _, v := range list {
		s, _ := v.(map[string]any)[property].(string)
		out = append(out, s)
	}
	return out
}

const mira = `{"accountEnabled":true,"displayName":"Mira Keller","mailNickname":"mira","userPrincipalName":"mira@fob.example",
	"passwordProfile":{"password":"mira-password-1","forceChangePasswordNextSignIn":false},"city":"Bern","@odata.type":"#microsoft.graph.user"}`

// writer is the token of an app that may do everything to the directory.
var writer = app("User.ReadWrite.All", "Group.ReadWrite.All", "Directory.ReadWrite.All", "User.DeleteRestore.All", "Application.ReadWrite.All", "Application.Read.All",
	"AppRoleAssignment.ReadWrite.All", "DelegatedPermissionGrant.ReadWrite.All", "RoleManagement.ReadWrite.Directory", "Directory.Read.All", "Group.Create")

func TestAUserIsCreatedChangedDeletedAndRestored(t *testing.T) {
	f := start(t)
	a := f.write("POST", "/v1.0/users", writer, mira).want(t, "create", 201, "")
	id := a.str("id")
	if a.header.Get("Location") != f.url+"/v1.0/users/"+id || a.str("@odata.context") != f.url+"/v1.0/$metadata#users/$entity" {
		t.Errorf("created: %v %s", a.header, a.text)
	}
	f.write("PATCH", "/v1.0/users/mira@fob.example", writer, `{"JobTitle":"Planner","city":null,"userPrincipalName":"mira.keller@fob.example"}`).want(t, "change", 204, "")
	a = f.get("/v1.0/users/mira.keller@fob.example?$select=jobTitle,city,mailNickname", writer)
	if a.str("jobTitle") != "Planner" || a.body["city"] != nil || a.str("mailNickname") != "mira" {
		t.Errorf("changed: %s", a.text)
	}
	f.get("/v1.0/users/mira@fob.example", writer).want(t, "the old name", 404, "Request_ResourceNotFound")
	f.do("DELETE", "/v1.0/users/"+id, writer).want(t, "delete", 204, "")
	f.do("DELETE", "/v1.0/users/"+id, writer).want(t, "delete again", 404, "Request_ResourceNotFound")
	a = f.get("/v1.0/directory/deletedItems/microsoft.graph.user", writer)
	if !slices.Equal(a.values("id"), []string{id}) || a.values("deletedDateTime")[0] == "" {
		t.Errorf("deleted items: %s", a.text)
	}
	f.get("/v1.0/directory/deletedItems/"+id, writer).want(t, "deleted item", 200, "")
	f.do("POST", "/v1.0/directory/deletedItems/"+id+"/restore", writer).want(t, "restore", 200, "")
	f.get("/v1.0/users/"+id, writer).want(t, "restored", 200, "")
	f.do("DELETE", "/v1.0/users/"+id, writer).want(t, "delete once more", 204, "")
	f.do("DELETE", "/v1.0/directory/deletedItems/"+id, writer).want(t, "delete for good", 204, "")
	f.do("POST", "/v1.0/directory/deletedItems/"+id+"/restore", writer).want(t, "restore what is gone", 404, "Request_ResourceNotFound")
}

func TestADuplicateNameIsAConflictWithDetails(t *testing.T) {
	f := start(t)
	a := f.write("POST", "/v1.0/users", writer, strings.Replace(mira, "mira@fob", "BEN@fob", 1)).want(t, "create", 400, "Request_BadRequest")
	details, _ := json.Marshal(a.body["error"].(map[string]any)["details"])
	const message = "Another object with the same value for property userPrincipalName already exists."
	if want := `[{"code":"ObjectConflict","message":"` + message + `","target":"userPrincipalName"}]`; string(details) != want || a.message() != message {
		t.Errorf("got  %s %s\nwant %s", a.message(), details, want)
	}
	f.write("PATCH", "/v1.0/users/cleo@fob.example", writer, `{"userPrincipalName":"ben@fob.example"}`).want(t, "rename", 400, "Request_BadRequest")
}

func TestWritesThatAreWrongAreRefused(t *testing.T) {
	f := start(t)
	const required = "A value is required for property '%s' of resource '%s'."
	without := func(name string) string {
		var m map[string]any
		_ = json.Unmarshal([]byte(mira), &m)
		delete(m, name)
		b, _ := json.Marshal(m)
		return string(b)
	}
	group := `{"displayName":"G","mailEnabled":false,"mailNickname":"g","securityEnabled":true`
	for _, c := range []struct {
		what, method, path, body string
		status                   int
		code, message            string
	}{
		{"no body", "POST", "/v1.0/users", "", 400, "BadRequest", "Empty Payload. JSON content expected."},
		{"no JSON", "POST", "/v1.0/users", "{", 400, "BadRequest", "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format."},
		{"a member twice in JSON", "PATCH", "/v1.0/users/ben@fob.example", `{"city":"Bern","city":"Basel"}`, 400, "BadRequest", "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format."},
		{"bad UTF-8", "PATCH", "/v1.0/users/ben@fob.example", "{\"city\":\"B\xff\"}", 400, "BadRequest", "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format."},
		{"half a character", "PATCH", "/v1.0/users/ben@fob.example", `{"city":"\ud800"}`, 400, "BadRequest", "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format."},
		{"a property twice in two cases", "PATCH", "/v1.0/users/ben@fob.example", `{"city":"Bern","City":"Basel"}`, 400, "Request_BadRequest", "The property 'city' is given more than once."},
		{"parameters of an action that has none", "POST", "/v1.0/users/ben@fob.example/revokeSignInSessions", `{"all":true}`, 400, "BadRequest", "The parameter 'all' in the request payload is not a valid parameter for the operation 'revokeSignInSessions'."},
		{"members that are no list", "PATCH", "/v1.0/groups/" + directory.ReadersGroupID, `{"members@odata.bind":5}`, 400, "Request_BadRequest", "Invalid value specified for property 'members@odata.bind' of resource 'Group'."},
		{"no displayName", "POST", "/v1.0/users", without("displayName"), 400, "Request_BadRequest", fmt.Sprintf(required, "displayName", "User")},
		{"no accountEnabled", "POST", "/v1.0/users", without("accountEnabled"), 400, "Request_BadRequest", fmt.Sprintf(required, "accountEnabled", "User")},
		{"no password", "POST", "/v1.0/users", without("passwordProfile"), 400, "Request_BadRequest", fmt.Sprintf(required, "passwordProfile", "User")},
		{"a profile without a password", "POST", "/v1.0/users", strings.Replace(mira, `"password":"mira-password-1",`, "", 1), 400, "Request_BadRequest", "A value is required for property 'password' of resource 'PasswordProfile'."},
		{"a short password", "POST", "/v1.0/users", strings.Replace(mira, "mira-password-1", "short", 1), 400, "Request_BadRequest", "The specified password does not comply with password complexity requirements. Please provide a different password."},
		{"a foreign domain", "POST", "/v1.0/users", strings.Replace(mira, "mira@fob.example", "mira@other.example", 1), 400, "Request_BadRequest", "The domain portion of the userPrincipalName property is invalid. You must use one of the verified domain names in your organization."},
		{"an unknown property", "PATCH", "/v1.0/users/ben@fob.example", `{"shoeSize":43}`, 400, "Request_BadRequest", "Invalid property 'shoeSize'."},
		{"an unknown property of a part", "PATCH", "/v1.0/users/ben@fob.example", `{"passwordProfile":{"pasword":"x"}}`, 400, "Request_BadRequest", "Invalid property 'pasword'."},
		{"an unknown property of a part in a list", "PATCH", "/v1.0/applications/" + must(f.World.Registration(directory.DaemonAppID)).ObjectID, `{"appRoles":[{"id":"f0b00000-9999-4000-8000-000000000001","kind":"x"}]}`, 400, "Request_BadRequest", "Invalid property 'kind'."},
		{"a part of another type", "PATCH", "/v1.0/users/ben@fob.example", `{"passwordProfile":"x"}`, 400, "Request_BadRequest", "Invalid value specified for property 'passwordProfile' of resource 'User'."},
		{"an unknown parameter", "POST", "/v1.0/users/ben@fob.example/getMemberGroups", `{"securityEnabled":true}`, 400, "BadRequest", "The parameter 'securityEnabled' in the request payload is not a valid parameter for the operation 'getMemberGroups'."},
		{"a parameter of another type", "POST", "/v1.0/users/ben@fob.example/getMemberGroups", `{"securityEnabledOnly":"no"}`, 400, "Request_BadRequest", "Invalid value specified for parameter 'securityEnabledOnly' of the operation 'getMemberGroups'."},
		{"a property that is read-only", "PATCH", "/v1.0/users/ben@fob.example", `{"createdDateTime":"2026-01-01T00:00:00Z"}`, 400, "Request_BadRequest", "Property 'createdDateTime' is read-only and cannot be set."},
		{"a value of another type", "PATCH", "/v1.0/users/ben@fob.example", `{"displayName":7}`, 400, "Request_BadRequest", "Invalid value specified for property 'displayName' of resource 'User'."},
		{"null for a collection", "PATCH", "/v1.0/users/ben@fob.example", `{"businessPhones":null}`, 400, "Request_BadRequest", "Invalid value specified for property 'businessPhones' of resource 'User'."},
		{"a query option", "PATCH", "/v1.0/users/ben@fob.example?$select=id", `{"city":"Bern"}`, 400, "BadRequest", "The query option '$select' is not supported for this request."},
		{"nobody", "PATCH", "/v1.0/users/nobody@fob.example", `{"city":"Bern"}`, 404, "Request_ResourceNotFound", "Resource 'nobody@fob.example' does not exist or one of its queried reference-property objects are not present."},
		{"a group without nickname", "POST", "/v1.0/groups", `{"displayName":"G","mailEnabled":false,"securityEnabled":true}`, 400, "Request_BadRequest", fmt.Sprintf(required, "mailNickname", "Group")},
		{"a group of an unknown kind", "POST", "/v1.0/groups", group + `,"groupTypes":["Club"]}`, 400, "Request_BadRequest", "Invalid value specified for property 'groupTypes' of resource 'Group'."},
		{"a member that is nobody", "POST", "/v1.0/groups", group + `,"members@odata.bind":["https://graph.microsoft.com/v1.0/users/f0b00000-9999-4000-8000-000000000001"]}`, 400, "Request_BadRequest",
			"Resource 'f0b00000-9999-4000-8000-000000000001' does not exist or one of its queried reference-property objects are not present."},
		{"a reference that is none", "POST", "/v1.0/groups/" + directory.ReadersGroupID + "/members/$ref", `{"@odata.id":"ben"}`, 400, "Request_BadRequest", "Invalid URL format specified in @odata.id property. Please specify a valid URL for the target resource."},
		{"a member twice", "POST", "/v1.0/groups/" + directory.ReadersGroupID + "/members/$ref", `{"@odata.id":"https://graph.microsoft.com/v1.0/directoryObjects/` + directory.BenID + `"}`, 400, "Request_BadRequest",
			"One or more added object references already exist for the following modified properties: 'members'."},
		{"an app without a name", "POST", "/v1.0/applications", `{}`, 400, "Request_BadRequest", fmt.Sprintf(required, "displayName", "Application")},
		{"an identifier that is taken", "POST", "/v1.0/applications", `{"displayName":"A","identifierUris":["api://fob-api"]}`, 400, "Request_BadRequest", "Another object with the same value for property identifierUris already exists."},
	} {
		t.Run(c.what, func(t *testing.T) {
			a := f.write(c.method, c.path, writer, c.body).want(t, c.what, c.status, c.code)
			if a.message() != c.message {
				t.Errorf("message\n got %s\nwant %s", a.message(), c.message)
			}
		})
	}
	f.send("POST", "/v1.0/users", writer, strings.NewReader(mira), "Content-Type", "text/plain").want(t, "a body of another type", 415, "UnsupportedMediaType")
	f.send("POST", "/v1.0/users", writer, strings.NewReader(mira)).want(t, "a body of no type", 400, "BadRequest")
}

func TestUsersMayDoWhatTheirRolesSay(t *testing.T) {
	f := start(t)
	const scopes = "User.ReadWrite.All Group.ReadWrite.All Application.ReadWrite.All User.ReadWrite Directory.AccessAsUser.All"
	ben := user(scopes, "oid", directory.BenID)
	ada := user(scopes)
	f.write("POST", "/v1.0/users", ben, mira).want(t, "ben creates a user", 403, "Authorization_RequestDenied")
	f.write("POST", "/v1.0/users", ada, mira).want(t, "ada creates a user", 201, "")
	f.write("PATCH", "/v1.0/users/cleo@fob.example", ben, `{"city":"Bern"}`).want(t, "ben changes cleo", 403, "Authorization_RequestDenied")
	f.write("PATCH", "/v1.0/me", ben, `{"city":"Bern"}`).want(t, "ben changes himself", 204, "")
	f.write("PATCH", "/v1.0/me", ben, `{"accountEnabled":false}`).want(t, "ben disables himself", 403, "Authorization_RequestDenied")
	f.write("PATCH", "/v1.0/groups/"+directory.ReadersGroupID, ben, `{"description":"x"}`).want(t, "ben changes a group", 403, "Authorization_RequestDenied")
	mine := f.write("POST", "/v1.0/groups", ben, `{"displayName":"Mine","mailEnabled":false,"mailNickname":"mine","securityEnabled":true}`).want(t, "ben creates a group", 201, "").str("id")
	f.write("PATCH", "/v1.0/groups/"+mine, ben, `{"description":"x"}`).want(t, "ben changes his group", 204, "")
	own := f.write("POST", "/v1.0/applications", ben, `{"displayName":"Ben's app"}`).want(t, "ben registers an app", 201, "").str("id")
	f.write("POST", "/v1.0/applications/"+own+"/addPassword", ben, `{}`).want(t, "ben gives his app a secret", 200, "")
	daemon, _ := f.World.Registration(directory.DaemonAppID)
	f.write("POST", "/v1.0/applications/"+daemon.ObjectID+"/addPassword", ben, `{}`).want(t, "ben gives another app a secret", 403, "Authorization_RequestDenied")
	f.get("/v1.0/users", ben).want(t, "ben reads", 200, "")
}

func TestGuestsSeeThemselvesOnly(t *testing.T) {
	f := start(t)
	f.World.PutUser(&directory.User{ID: "f0b00000-1001-4000-8000-0000000000aa", Tenant: directory.TenantID, UPN: "guest@fob.example", Guest: true})
	guest := user("User.Read User.Read.All Directory.Read.All", "oid", "f0b00000-1001-4000-8000-0000000000aa")
	f.get("/v1.0/users", guest).want(t, "users", 403, "Authorization_RequestDenied")
	f.get("/v1.0/users/ben@fob.example", guest).want(t, "ben", 403, "Authorization_RequestDenied")
	f.get("/v1.0/me", guest).want(t, "me", 200, "")
}

func TestMembersAreBoundAddedRemovedAndCounted(t *testing.T) {
	f := start(t)
	ref := func(id string) string { return `{"@odata.id":"` + f.url + `/v1.0/directoryObjects/` + id + `"}` }
	outer := f.write("POST", "/v1.0/groups", writer, `{"displayName":"Outer","mailEnabled":false,"mailNickname":"outer","securityEnabled":true,
		"members@odata.bind":["`+f.url+`/v1.0/groups/`+directory.ReadersGroupID+`"],"owners@odata.bind":["https://graph.microsoft.com/v1.0/users/`+directory.AdaID+`"]}`).want(t, "create", 201, "").str("id")
	if a := f.get("/v1.0/groups/"+outer+"/members", writer); a.body["value"].([]any)[0].(map[string]any)["@odata.type"] != "#microsoft.graph.group" {
		t.Errorf("members: %s", a.text)
	}
	a := f.get("/v1.0/groups/"+outer+"/transitiveMembers?$select=id", writer)
	if got := a.values("id"); !slices.Equal(got, []string{directory.ReadersGroupID, directory.BenID, directory.CleoID}) {
		t.Errorf("transitive members: %s", a.text)
	}
	f.write("POST", "/v1.0/groups/"+outer+"/members/$ref", writer, ref(directory.AdaID)).want(t, "add", 204, "")
	if a := f.get("/v1.0/groups/"+outer+"/members/microsoft.graph.user?$count=true", writer, "ConsistencyLevel", "eventual"); names(a) != "Ada Quill" || a.body["@odata.count"] != 1.0 {
		t.Errorf("users among the members: %s", a.text)
	}
	f.get("/v1.0/groups/"+outer+"/members/microsoft.graph.user", writer).want(t, "a cast without its header", 400, "Request_UnsupportedQuery")
	if a := f.get("/v1.0/groups/"+outer+"/members/$count", writer, "ConsistencyLevel", "eventual"); a.text != "2" {
		t.Errorf("count: %s", a.text)
	}
	if a := f.get("/v1.0/users/cleo@fob.example/transitiveMemberOf?$select=displayName", writer); names(a) != "Readers, Outer" {
		t.Errorf("cleo's groups: %s", a.text)
	}
	if a := f.get("/v1.0/groups/"+outer+"/owners", writer); names(a) != "Ada Quill" {
		t.Errorf("owners: %s", a.text)
	}
	f.do("DELETE", "/v1.0/groups/"+outer+"/members/"+directory.AdaID+"/$ref", writer).want(t, "remove", 204, "")
	f.do("DELETE", "/v1.0/groups/"+outer+"/members/"+directory.AdaID+"/$ref", writer).want(t, "remove again", 404, "Request_ResourceNotFound")
	f.write("PATCH", "/v1.0/groups/"+outer, writer, `{"members@odata.bind":["`+f.url+`/v1.0/users/`+directory.AdaID+`"]}`).want(t, "bind", 204, "")
	many := strings.Repeat(`"`+f.url+`/v1.0/users/`+directory.AdaID+`",`, 21)
	f.write("PATCH", "/v1.0/groups/"+outer, writer, `{"members@odata.bind":[`+strings.TrimSuffix(many, ",")+`]}`).want(t, "bind 21", 400, "Request_BadRequest")
	f.do("DELETE", "/v1.0/groups/"+outer, writer).want(t, "delete", 204, "")
	f.get("/v1.0/directory/deletedItems/"+outer, writer).want(t, "a security group is gone for good", 404, "Request_ResourceNotFound")
}

func TestGroupsOfAnObjectAreTold(t *testing.T) {
	f := start(t)
	a := f.write("POST", "/v1.0/users/ben@fob.example/getMemberGroups", writer, `{"SecurityEnabledOnly":true}`).want(t, "getMemberGroups", 200, "")
	if want := fmt.Sprintf("[%s %s]", directory.PlatformGroupID, directory.ReadersGroupID); fmt.Sprint(a.body["value"]) != want {
		t.Errorf("got %s", a.text)
	}
	a = f.write("POST", "/v1.0/users/ben@fob.example/microsoft.graph.checkMemberGroups", writer, `{"groupIds":["`+directory.ReadersGroupID+`","f0b00000-9999-4000-8000-000000000001"]}`)
	if fmt.Sprint(a.body["value"]) != "["+directory.ReadersGroupID+"]" {
		t.Errorf("checkMemberGroups: %s", a.text)
	}
	a = f.write("POST", "/v1.0/directoryObjects/getByIds", writer, `{"ids":["`+directory.AdaID+`","`+directory.ReadersGroupID+`","f0b00000-9999-4000-8000-000000000001"],"types":["user"]}`)
	if names(a) != "Ada Quill" || a.body["value"].([]any)[0].(map[string]any)["@odata.type"] != "#microsoft.graph.user" {
		t.Errorf("getByIds: %s", a.text)
	}
	a = f.write("POST", "/v1.0/directoryObjects/getByIds", writer, `{"ids":["`+directory.AdaID+`","`+directory.ReadersGroupID+`"],"types":["group","servicePrincipal","directoryObjectPartnerReference"]}`)
	if names(a) != "Readers" {
		t.Errorf("getByIds with the types of Azure CLI: %s", a.text)
	}
	f.write("POST", "/v1.0/directoryObjects/getByIds", writer, `{"ids":["`+directory.AdaID+`"],"types":["person"]}`).want(t, "what is no directory object", 400, "Request_BadRequest")
	ids := strings.Repeat(`"`+directory.AdaID+`",`, 1001)
	f.write("POST", "/v1.0/directoryObjects/getByIds", writer, `{"ids":[`+strings.TrimSuffix(ids, ",")+`]}`).want(t, "1001 ids", 400, "Request_BadRequest")
}

func TestAManagerIsSetAndRemoved(t *testing.T) {
	f := start(t)
	if a := f.get("/v1.0/users/ben@fob.example/manager", writer); a.str("displayName") != "Ada Quill" {
		t.Errorf("ben's manager: %s", a.text)
	}
	if a := f.get("/v1.0/me/directReports", user("User.Read User.Read.All")); names(a) != "Ben Ostrow, Cleo Marsh" {
		t.Errorf("ada's reports: %s", a.text)
	}
	f.write("PUT", "/v1.0/users/ada@fob.example/manager/$ref", writer, `{"@odata.id":"https://x/v1.0/users/`+directory.BenID+`"}`).want(t, "a circle", 400, "Request_BadRequest")
	f.write("PUT", "/v1.0/users/cleo@fob.example/manager/$ref", writer, `{"@odata.id":"https://x/v1.0/users/`+directory.BenID+`"}`).want(t, "set", 204, "")
	if a := f.get("/v1.0/users/cleo@fob.example?$expand=manager($select=id,displayName)", writer); a.body["manager"].(map[string]any)["displayName"] != "Ben Ostrow" {
		t.Errorf("expanded: %s", a.text)
	}
	f.do("DELETE", "/v1.0/users/cleo@fob.example/manager/$ref", writer).want(t, "remove", 204, "")
	f.get("/v1.0/users/cleo@fob.example/manager", writer).want(t, "nobody", 404, "Request_ResourceNotFound")
}

func TestAnExpandedRelationHasTwentyAtMost(t *testing.T) {
	f := start(t)
	for i := range 30 {
		u := &directory.User{ID: fmt.Sprintf("f0b00000-1001-4000-8000-0000000f%04x", i), Tenant: directory.TenantID, UPN: fmt.Sprintf("u%d@fob.example", i)}
		f.World.PutUser(u)
		_ = f.World.UpdateGroup(directory.TenantID, directory.PlatformGroupID, func(g *directory.Group) error { g.Members = append(g.Members, u.ID); return nil })
	}
	a := f.get("/v1.0/groups?$expand=members", writer)
	if n := len(a.body["value"].([]any)[0].(map[string]any)["members"].([]any)); n != 20 {
		t.Errorf("%d members", n)
	}
	f.get("/v1.0/groups?$expand=members", app("Group.ReadBasic.All")).want(t, "members", 200, "")
	f.get("/v1.0/groups?$expand=owners", app("Group.ReadBasic.All")).want(t, "owners without permission", 403, "Authorization_RequestDenied")
}

func TestAdministratorsAreMadeAndUnmade(t *testing.T) {
	f := start(t)
	a := f.get("/v1.0/directoryRoles", writer)
	if names(a) != "Global Administrator" {
		t.Fatal(a.text)
	}
	role := a.values("id")[0]
	members := "/v1.0/directoryRoles(roleTemplateId='" + directory.GlobalAdministrator + "')/members"
	if a := f.get(members, writer); names(a) != "Ada Quill" {
		t.Errorf("members: %s", a.text)
	}
	f.write("POST", "/v1.0/directoryRoles/"+role+"/members/$ref", writer, `{"@odata.id":"https://x/v1.0/directoryObjects/`+directory.BenID+`"}`).want(t, "add", 204, "")
	if u, _ := f.World.User("", directory.BenID); !u.Admin() {
		t.Error("ben is no administrator")
	}
	f.do("DELETE", "/v1.0/directoryRoles/"+role+"/members/"+directory.BenID+"/$ref", writer).want(t, "remove", 204, "")
	if u, _ := f.World.User("", directory.BenID); u.Admin() {
		t.Error("ben is an administrator still")
	}
}

func TestEveryRouteHasItsPermissions(t *testing.T) {
	all := routes()
	grow(all)
	for _, r := range all {
		if r.needs == open {
			continue
		}
		if len(permissionTable()[r.needs+"\tDelegatedWork"]) == 0 {
			t.Errorf("%s %s: there is no row %q for users", r.method, r.pattern, r.needs)
		}
		if len(permissionTable()[r.needs+"\tApplication"]) == 0 {
			t.Errorf("%s %s: there is no row %q for apps", r.method, r.pattern, r.needs)
		}
	}
}

func TestMembershipsAreToldForEveryKindOfObject(t *testing.T) {
	f := start(t)
	all := app("Directory.Read.All", "Group.ReadWrite.All", "User.Read.All")
	principal := f.get("/v1.0/servicePrincipals(appId='"+directory.DaemonAppID+"')?$select=id", all).str("id")
	f.write("POST", "/v1.0/groups/"+directory.ReadersGroupID+"/members/$ref", all, `{"@odata.id":"https://graph.microsoft.com/v1.0/directoryObjects/`+principal+`"}`).want(t, "an app", 204, "")
	f.write("POST", "/v1.0/groups/"+directory.ReadersGroupID+"/members/$ref", all, `{"@odata.id":"https://graph.microsoft.com/v1.0/devices/`+directory.AdaDeviceID+`"}`).want(t, "a device", 204, "")
	f.write("POST", "/v1.0/groups/"+directory.PlatformGroupID+"/members/$ref", all, `{"@odata.id":"https://graph.microsoft.com/v1.0/groups/`+directory.ReadersGroupID+`"}`).want(t, "a group", 204, "")
	both := directory.PlatformGroupID + " " + directory.ReadersGroupID
	role := directoryRole{directory.TenantID, directory.GlobalAdministrator}.id()
	for _, c := range []struct{ path, groups, objects string }{
		{"/users/" + directory.AdaID, directory.PlatformGroupID, role + " " + directory.PlatformGroupID},
		{"/groups/" + directory.ReadersGroupID, directory.PlatformGroupID, directory.PlatformGroupID},
		{"/servicePrincipals/" + principal, both, both},
		{"/devices/" + directory.AdaDeviceID, both, both},
	} {
		for _, path := range []string{c.path, "/directoryObjects/" + c.path[strings.LastIndexByte(c.path, '/')+1:]} {
			is := func(action, body, want string) {
				t.Helper()
				a := f.write("POST", "/v1.0"+path+"/"+action, all, body).want(t, path+"/"+action, 200, "")
				got := strings.Fields(strings.Trim(fmt.Sprint(a.body["value"]), "[]"))
				if slices.Sort(got); strings.Join(got, " ") != want {
					t.Errorf("%s/%s: %s, want %s", path, action, got, want)
				}
			}
			is("getMemberGroups", `{"securityEnabledOnly":false}`, c.groups)
			is("getMemberObjects", `{"securityEnabledOnly":false}`, c.objects)
			is("getMemberObjects", `{"securityEnabledOnly":true}`, c.groups)
			asked := `["` + strings.ReplaceAll(both, " ", `","`) + `","` + role + `","f0b00000-9999-4000-8000-000000000001"]`
			is("checkMemberGroups", `{"groupIds":`+asked+`}`, c.groups)
			is("checkMemberObjects", `{"ids":`+asked+`}`, c.objects)
		}
	}
	a := f.write("POST", "/v1.0/me/checkMemberObjects", user("User.Read"), `{"ids":["`+directory.GlobalAdministrator+`"]}`).want(t, "by the template of a role", 200, "")
	if fmt.Sprint(a.body["value"]) != "["+directory.GlobalAdministrator+"]" {
		t.Errorf("got %s", a.text)
	}
	if a := f.get("/v1.0/servicePrincipals/"+principal+"/memberOf?$select=displayName", all); names(a) != "Readers" {
		t.Errorf("memberOf: %s", a.text)
	}
	if a := f.get("/v1.0/servicePrincipals/"+principal+"/transitiveMemberOf?$select=displayName", all); names(a) != "Readers, Platform" {
		t.Errorf("transitiveMemberOf: %s", a.text)
	}
	const one = `{"securityEnabledOnly":false}`
	f.write("POST", "/v1.0/users/ben@fob.example/getMemberObjects", user("User.Read"), one).want(t, "another's", 403, "Authorization_RequestDenied")
	f.write("POST", "/v1.0/directoryObjects/"+directory.BenID+"/getMemberGroups", app("User.Read.All"), one).want(t, "any object with the permission for one kind", 403, "Authorization_RequestDenied")
	f.write("POST", "/v1.0/directoryObjects/f0b00000-9999-4000-8000-000000000001/getMemberGroups", all, one).want(t, "nobody", 404, "Request_ResourceNotFound")
	f.write("POST", "/v1.0/servicePrincipals/"+principal+"/getMemberObjects", all, `{}`).want(t, "without its parameter", 400, "Request_BadRequest")
	ids := strings.TrimSuffix(strings.Repeat(`"`+directory.BenID+`",`, 21), ",")
	f.write("POST", "/v1.0/devices/"+directory.AdaDeviceID+"/checkMemberObjects", all, `{"ids":[`+ids+`]}`).want(t, "21 ids", 400, "Request_BadRequest")
}

func TestServicePrincipalsHaveOwnersOfTheirOwn(t *testing.T) {
	f := start(t)
	all := app("Application.ReadWrite.All", "Directory.ReadWrite.All", "Directory.Read.All", "Group.ReadWrite.All", "User.Read.All")
	registration := f.get("/v1.0/applications(appId='"+directory.WebAppID+"')?$select=id", all).str("id")
	principal := f.get("/v1.0/servicePrincipals(appId='"+directory.WebAppID+"')?$select=id", all).str("id")
	daemon := f.get("/v1.0/servicePrincipals(appId='"+directory.DaemonAppID+"')?$select=id", all).str("id")
	at := "/v1.0/servicePrincipals/" + principal
	owner := func(id string) string {
		return `{"@odata.id":"https://graph.microsoft.com/v1.0/directoryObjects/` + id + `"}`
	}
	f.write("PATCH", at, user("Application.ReadWrite.All", "oid", directory.BenID), `{"notes":"mine"}`).want(t, "nobody's", 403, "Authorization_RequestDenied")
	f.write("POST", at+"/owners/$ref", all, owner(directory.BenID)).want(t, "a user", 204, "")
	f.write("POST", at+"/owners/$ref", all, owner(daemon)).want(t, "an app", 204, "")
	f.write("POST", at+"/owners/$ref", all, owner(directory.BenID)).want(t, "again", 400, "Request_BadRequest")
	f.write("POST", at+"/owners/$ref", all, owner(directory.ReadersGroupID)).want(t, "a group", 400, "Request_BadRequest")
	if a := f.get(at+"/owners?$select=displayName", all); names(a) != "Ben Ostrow, fob daemon" {
		t.Errorf("owners: %s", a.text)
	}
	if a := f.get(at+"/owners/$ref", all); !strings.Contains(a.text, "/directoryObjects/"+directory.BenID) {
		t.Errorf("references: %s", a.text)
	}
	if a := f.get(at+"?$expand=owners($select=displayName)", all); !strings.Contains(a.text, `"displayName":"Ben Ostrow"`) {
		t.Errorf("expanded: %s", a.text)
	}
	if a := f.get("/v1.0/applications/"+registration+"/owners", all); names(a) != "" {
		t.Errorf("the registration's: %s", a.text)
	}
	f.write("PATCH", at, user("Application.ReadWrite.All", "oid", directory.BenID), `{"notes":"mine"}`).want(t, "the owner's", 204, "")
	f.write("PATCH", at, token("good", map[string]any{"aud": directory.GraphAppID, "tid": directory.TenantID, "oid": daemon, "roles": []string{"Application.ReadWrite.OwnedBy"}}),
		`{"notes":"mine"}`).want(t, "an app's own", 204, "")
	f.write("PATCH", at, app("Application.ReadWrite.OwnedBy"), `{"notes":"mine"}`).want(t, "another app's", 403, "Authorization_RequestDenied")

	f.write("POST", "/v1.0/applications/"+registration+"/owners/$ref", all, owner(directory.BenID)).want(t, "of the registration too", 204, "")
	f.write("POST", "/v1.0/groups/"+directory.ReadersGroupID+"/owners/$ref", all, owner(directory.BenID)).want(t, "of a group", 204, "")
	types := "[#microsoft.graph.group #microsoft.graph.application #microsoft.graph.servicePrincipal]"
	for _, path := range []string{"/v1.0/users/ben@fob.example/ownedObjects", "/v1.0/me/ownedObjects"} {
		if a := f.get(path, user("User.Read Directory.Read.All", "oid", directory.BenID)); fmt.Sprint(a.values("@odata.type")) != types {
			t.Errorf("%s: %s", path, a.text)
		}
	}
	if a := f.get("/v1.0/me/ownedObjects/microsoft.graph.application?$count=true&$select=displayName", user("User.Read Directory.Read.All", "oid", directory.BenID), "ConsistencyLevel", "eventual"); names(a) != "fob web" {
		t.Errorf("applications: %s", a.text)
	}
	if a := f.get("/v1.0/servicePrincipals/"+daemon+"/ownedObjects?$select=displayName", all); names(a) != "fob web" {
		t.Errorf("the app's: %s", a.text)
	}
	f.get("/v1.0/users/ben@fob.example/ownedObjects", user("User.Read")).want(t, "another's", 403, "Authorization_RequestDenied")
	f.do("DELETE", at+"/owners/"+directory.BenID+"/$ref", all).want(t, "remove", 204, "")
	f.do("DELETE", at+"/owners/"+directory.BenID+"/$ref", all).want(t, "remove again", 404, "Request_ResourceNotFound")
	if a := f.get(at+"/owners?$select=displayName", all); names(a) != "fob daemon" {
		t.Errorf("left: %s", a.text)
	}
	// An app owns what it makes.
	maker := token("good", map[string]any{"aud": directory.GraphAppID, "tid": directory.TenantID, "oid": daemon, "roles": []string{"Application.ReadWrite.OwnedBy"}})
	made := f.write("POST", "/v1.0/applications", maker, `{"displayName":"made"}`).want(t, "make", 201, "")
	sp := f.write("POST", "/v1.0/servicePrincipals", maker, `{"appId":"`+made.str("appId")+`"}`).want(t, "make its principal", 201, "")
	if a := f.get("/v1.0/servicePrincipals/"+sp.str("id")+"/owners?$select=displayName", all); names(a) != "fob daemon" {
		t.Errorf("owners of what it made: %s", a.text)
	}
	f.do("DELETE", "/v1.0/servicePrincipals/"+sp.str("id"), maker).want(t, "delete what it made", 204, "")
}

func TestWhatAnAppAsksForIsTheRegistrations(t *testing.T) {
	f := start(t)
	all := app("Application.ReadWrite.All")
	graph, _ := f.World.Registration(directory.GraphAppID)
	api, _ := f.World.Registration(directory.APIAppID)
	mail, _ := graph.Scope("Mail.Read")
	read, _ := graph.Scope("User.Read")
	access, _ := api.Scope("access_as_user")
	everybody, _ := graph.Role("User.Read.All")
	const unknown = "f0b00000-9999-4000-8000-000000000001"
	shows := func(id, want string) {
		t.Helper()
		a := f.get("/v1.0/applications/"+id+"?$select=requiredResourceAccess", all).want(t, "read", 200, "")
		if !strings.HasSuffix(a.text, `,"requiredResourceAccess":[`+want+`]}`) {
			t.Errorf("%s, want %s", a.text, want)
		}
	}
	ask := func(id, kind string) string { return `{"id":"` + id + `","type":"` + kind + `"}` }
	of := func(resource string, access ...string) string {
		return `{"resourceAppId":"` + resource + `","resourceAccess":[` + strings.Join(access, ",") + `]}`
	}
	web := f.get("/v1.0/applications(appId='"+directory.WebAppID+"')?$select=id", all).str("id")
	shows(web, of(directory.GraphAppID, ask(read.ID, "Scope"))+","+of(directory.APIAppID, ask(access.ID, "Scope")))

	// The id of a scope and that of the role of the same name are not the same.
	wanted := of(directory.GraphAppID, ask(mail.ID, "Scope"), ask(everybody.ID, "Role")) + "," + of(unknown, ask(unknown, "Role"))
	f.write("PATCH", "/v1.0/applications/"+web, all, `{"requiredResourceAccess":[`+wanted+`]}`).want(t, "write", 204, "")
	shows(web, wanted)
	a, _ := f.World.Registration(directory.WebAppID)
	if fmt.Sprint(a.RequiredAccess, a.RequiredRoles[directory.GraphAppID]) != "map["+directory.GraphAppID+":[Mail.Read]] [User.Read.All]" {
		t.Errorf("sign-in asks for %v and %v", a.RequiredAccess, a.RequiredRoles)
	}
	if a := f.get("/v1.0/applications?$select=displayName&$filter="+enc("requiredResourceAccess/any(r:r/resourceAppId eq '"+unknown+"')")+"&$count=true", all, "ConsistencyLevel", "eventual"); names(a) != "fob web" {
		t.Errorf("filtered: %s", a.text)
	}
	made := f.write("POST", "/v1.0/applications", all, `{"displayName":"made","requiredResourceAccess":[`+of(directory.GraphAppID, ask(read.ID, "Scope"))+`]}`).want(t, "create", 201, "")
	shows(made.str("id"), of(directory.GraphAppID, ask(read.ID, "Scope")))
	f.write("PATCH", "/v1.0/applications/"+web, all, `{"requiredResourceAccess":[]}`).want(t, "clear", 204, "")
	shows(web, "")
	for _, wrong := range []string{of(directory.GraphAppID, ask(mail.ID, "Delegated")), of("", ask(mail.ID, "Scope")), `{"resourceAppId":"` + unknown + `","resourceAccess":[{"type":"Scope"}]}`} {
		f.write("PATCH", "/v1.0/applications/"+web, all, `{"requiredResourceAccess":[`+wrong+`]}`).want(t, wrong, 400, "Request_BadRequest")
	}
}

func TestAnApplicationKeepsWhatItIsTold(t *testing.T) {
	f := start(t)
	tok := app("Application.ReadWrite.All")
	const body = `{"displayName":"kept","groupMembershipClaims":"SecurityGroup",
		"web":{"homePageUrl":"https://kept.example","logoutUrl":"https://kept.example/out","redirectUris":["https://kept.example/in"]},
		"api":{"acceptMappedClaims":true,"knownClientApplications":["f0b00000-1003-4000-8000-000000000001"],"requestedAccessTokenVersion":2,
			"oauth2PermissionScopes":[{"id":"5f000000-0000-4000-8000-000000000011","value":"read","type":"User","isEnabled":false,
			"adminConsentDisplayName":"Read","adminConsentDescription":"Reads all","userConsentDisplayName":"Read yours","userConsentDescription":null}]},
		"appRoles":[{"id":"5f000000-0000-4000-8000-000000000012","value":"Do","displayName":"Do","description":"Does it","isEnabled":false,"allowedMemberTypes":["User"]}],
		"optionalClaims":{"accessToken":[{"name":"upn","additionalProperties":["include_externally_authenticated_upn"]}],"idToken":[{"name":"email","essential":true}],"saml2Token":[]}}`
	id := f.write("POST", "/v1.0/applications", tok, body).want(t, "made", 201, "").str("id")
	shown := f.get("/v1.0/applications/"+id, tok).text
	for _, part := range []string{`"groupMembershipClaims":"SecurityGroup"`, `"homePageUrl":"https://kept.example"`, `"logoutUrl":"https://kept.example/out"`, `"acceptMappedClaims":true`,
		`"knownClientApplications":["f0b00000-1003-4000-8000-000000000001"]`, `"adminConsentDescription":"Reads all"`, `"userConsentDisplayName":"Read yours"`, `"userConsentDescription":null`,
		`"isEnabled":false,"type":"User"`, `"description":"Does it"`, `"isEnabled":false,"origin"`, `"include_externally_authenticated_upn"`} {
		if !strings.Contains(shown, part) {
			t.Errorf("no %s in %s", part, shown)
		}
	}
	a, _ := f.World.Registration(f.get("/v1.0/applications/"+id, tok).str("appId"))
	if fmt.Sprint(a.OptionalClaims, a.IDTokenClaims, a.GroupClaims) != "[upn] [email]SecurityGroup" {
		t.Errorf("what tokens are to have: %v %v %v", a.OptionalClaims, a.IDTokenClaims, a.GroupClaims)
	}
	if _, on := a.Scope("read"); on {
		t.Error("a scope that is off can be asked for")
	}
	f.write("PATCH", "/v1.0/applications/"+id, tok, `{"web":{"logoutUrl":null},"api":{"requestedAccessTokenVersion":null},"optionalClaims":null,"groupMembershipClaims":null}`).want(t, "changed", 204, "")
	shown = f.get("/v1.0/applications/"+id, tok).text
	for _, part := range []string{`"homePageUrl":"https://kept.example","logoutUrl":null`, `"requestedAccessTokenVersion":null`, `"optionalClaims":null`, `"groupMembershipClaims":null`} {
		if !strings.Contains(shown, part) {
			t.Errorf("no %s in %s", part, shown)
		}
	}
	f.write("PATCH", "/v1.0/applications/"+id, tok, `{"groupMembershipClaims":"Everything"}`).want(t, "no such groups", 400, "Request_BadRequest")
}

func TestWhatIsMissingIsMadeWhereThatIsPreferred(t *testing.T) {
	f := start(t)
	tok := app("Application.ReadWrite.All", "Group.ReadWrite.All")
	const byName = "/v1.0/applications(uniqueName='the''one')"
	f.write("PATCH", byName, tok, `{"displayName":"one"}`).want(t, "without the wish", 404, "Request_ResourceNotFound")
	made := f.write("PATCH", byName, tok, `{"displayName":"one"}`, "Prefer", "create-if-missing").want(t, "made", 201, "")
	if made.str("uniqueName") != "the'one" || made.str("displayName") != "one" || made.header.Get("Preference-Applied") != "create-if-missing" || !strings.HasSuffix(made.header.Get("Location"), "/applications/"+made.str("id")) {
		t.Errorf("made: %v %s", made.header, made.text)
	}
	f.write("PATCH", byName, tok, `{"displayName":"two"}`, "Prefer", "create-if-missing").want(t, "changed", 204, "")
	if a := f.get(byName, tok); a.str("id") != made.str("id") || a.str("displayName") != "two" {
		t.Errorf("changed: %s", a.text)
	}
	f.write("PATCH", "/v1.0/applications(uniqueName='other')", tok, `{"signInAudience":"AzureADMyOrg"}`, "Prefer", "create-if-missing").want(t, "without a name", 400, "Request_BadRequest")

	principal := "/v1.0/servicePrincipals(appId='" + made.str("appId") + "')"
	if p := f.write("PATCH", principal, tok, `{"displayName":"any"}`, "Prefer", "create-if-missing").want(t, "a principal", 201, ""); p.str("appId") != made.str("appId") {
		t.Errorf("a principal: %s", p.text)
	}
	f.write("PATCH", principal, tok, `{"accountEnabled":false}`, "Prefer", "create-if-missing").want(t, "a principal that is there", 204, "")

	group := f.write("PATCH", "/v1.0/groups(uniqueName='crew')", tok, `{"displayName":"Crew","mailEnabled":false,"mailNickname":"crew","securityEnabled":true}`, "Prefer", "create-if-missing").want(t, "a group", 201, "")
	if a := f.get("/v1.0/groups(uniqueName='crew')", tok); a.str("id") != group.str("id") {
		t.Errorf("a group: %s", a.text)
	}
	f.write("PATCH", "/v1.0/groups(uniqueName='other')", app("Group.Read.All"), `{}`, "Prefer", "create-if-missing").want(t, "without permission", 403, "Authorization_RequestDenied")
}
