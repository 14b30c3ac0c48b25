package graphsim

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// activities are what the log of changes has, the newest first.
func (f *face) activities(filter string) string {
	f.t.Helper()
	if filter != "" {
		filter = "?$filter=" + enc(filter)
	}
	a := f.get("/v1.0/auditLogs/directoryAudits"+filter, app("AuditLog.Read.All")).want(f.t, "the log", 200, "")
	return strings.Join(a.values("activityDisplayName"), ", ")
}

func TestChangesAreWrittenDown(t *testing.T) {
	f := start(t)
	daemon := token("good", map[string]any{"aud": directory.GraphAppID, "tid": directory.TenantID, "oid": "sp", "appid": directory.DaemonAppID,
		"roles": []string{"User.ReadWrite.All", "Group.ReadWrite.All", "User.DeleteRestore.All", "Directory.Read.All"}})
	made := f.write("POST", "/v1.0/users", daemon, mira, "client-request-id", "f0b00000-9999-4000-8000-00000000aaaa").want(t, "create", 201, "")
	f.write("PATCH", "/v1.0/users/mira@fob.example", daemon, `{"city":"Basel","jobTitle":"Planner"}`).want(t, "change", 204, "")
	f.write("PATCH", "/v1.0/users/mira@fob.example", daemon, `{"shoeSize":43}`).want(t, "change what there is not", 400, "Request_BadRequest")
	f.write("POST", "/v1.0/groups/"+directory.ReadersGroupID+"/members/$ref", user("Group.ReadWrite.All", "appid", directory.CLIAppID), `{"@odata.id":"https://graph.microsoft.com/v1.0/directoryObjects/`+made.str("id")+`"}`).want(t, "join", 204, "")
	f.do("DELETE", "/v1.0/users/"+made.str("id"), daemon).want(t, "delete", 204, "")
	f.do("POST", "/v1.0/directory/deletedItems/"+made.str("id")+"/restore", daemon).want(t, "restore", 200, "")
	if got := f.activities(""); got != "Restore user, Delete user, Add member to group, Update user, Add user" {
		t.Errorf("activities: %s", got)
	}

	a := f.get("/v1.0/auditLogs/directoryAudits", app("AuditLog.Read.All"))
	entries := a.body["value"].([]any)
	shown := func(i int, name string) string {
		text, _ := json.Marshal(entries[i].(map[string]any)[name])
		return string(text)
	}
	if got, want := shown(4, "initiatedBy"), `{"app":{"appId":"`+directory.DaemonAppID+`","displayName":"fob daemon","servicePrincipalId":"`+must(f.World.Registration(directory.DaemonAppID)).PrincipalID+`","servicePrincipalName":null},"user":null}`; got != want {
		t.Errorf("by an app\n got %s\nwant %s", got, want)
	}
	if got := shown(2, "initiatedBy"); !strings.HasPrefix(got, `{"app":null,"user":{"displayName":"Ada Quill","id":"`+directory.AdaID+`","ipAddress":"127.0.0.1"`) {
		t.Errorf("by a user: %s", got)
	}
	if got, want := shown(3, "targetResources"), `[{"displayName":"Mira Keller","groupType":null,"id":"`+made.str("id")+`","modifiedProperties":[`+
		`{"displayName":"City","newValue":"\"Basel\"","oldValue":"\"Bern\""},{"displayName":"JobTitle","newValue":"\"Planner\"","oldValue":null}],"type":"User","userPrincipalName":"mira@fob.example"}]`; got != want {
		t.Errorf("what was changed\n got %s\nwant %s", got, want)
	}
	if got := shown(2, "targetResources"); !strings.Contains(got, `"type":"User"`) || !strings.Contains(got, `"displayName":"Readers"`) {
		t.Errorf("who joined what: %s", got)
	}
	if strings.Contains(a.text, "mira-password-1") {
		t.Error("the log has a password")
	}
	if shown(4, "correlationId") != `"f0b00000-9999-4000-8000-00000000aaaa"` || shown(4, "id") != `"`+made.header.Get("request-id")+`"` || shown(4, "category") != `"UserManagement"` || shown(4, "operationType") != `"Add"` {
		t.Errorf("the first: %v", entries[4])
	}

	if got := f.activities("activityDisplayName eq 'Add user' or category eq 'GroupManagement'"); got != "Add member to group, Add user" {
		t.Errorf("filtered: %s", got)
	}
	if got := f.activities("targetResources/any(t:t/userPrincipalName eq 'mira@fob.example') and initiatedBy/user/userPrincipalName eq 'ada@fob.example'"); got != "Add member to group" {
		t.Errorf("by its parts: %s", got)
	}
	f.World.Advance(time.Hour)
	f.write("PATCH", "/v1.0/users/ben@fob.example", daemon, `{"city":"Bern"}`).want(t, "change later", 204, "")
	if got := f.activities("activityDateTime ge " + f.World.Now().Add(-time.Minute).UTC().Format(time.RFC3339)); got != "Update user" {
		t.Errorf("since: %s", got)
	}
	if one := f.get("/v1.0/auditLogs/directoryAudits/"+made.header.Get("request-id")+"?$select=activityDisplayName", app("AuditLog.Read.All")); one.str("activityDisplayName") != "Add user" {
		t.Errorf("one: %s", one.text)
	}
	if a := f.get("/v1.0/auditLogs/directoryAudits?$top=2", app("AuditLog.Read.All")); len(a.values("id")) != 2 || a.str("@odata.nextLink") == "" {
		t.Errorf("a page: %s", a.text)
	}
}

func TestEveryWriteOfTheDirectoryIsWrittenDown(t *testing.T) {
	unlogged := []string{"/$batch", "getMemberGroups", "checkMemberGroups", "getMemberObjects", "checkMemberObjects", "getByIds", "/photo"}
	for _, r := range routes() {
		read := r.method == "GET"
		for _, s := range unlogged {
			read = read || strings.Contains(r.pattern, s)
		}
		if r.face == directoryWork && read == (r.audit != nil) {
			t.Errorf("%s %s: audit is %v", r.method, r.pattern, r.audit)
		}
	}
}

func TestTheLogsAreForThoseWhoMayReadThem(t *testing.T) {
	f := start(t)
	for _, log := range []string{"signIns", "directoryAudits"} {
		f.get("/v1.0/auditLogs/"+log, user("AuditLog.Read.All")).want(t, "an administrator", 200, "")
		f.get("/v1.0/auditLogs/"+log, user("AuditLog.Read.All", "oid", directory.BenID)).want(t, "somebody", 403, "Authorization_RequestDenied")
		f.get("/v1.0/auditLogs/"+log, app("User.Read.All")).want(t, "without permission", 403, "Authorization_RequestDenied")
		f.get("/v1.0/auditLogs/"+log+"/x", app("AuditLog.Read.All")).want(t, "none", 404, "Request_ResourceNotFound")
		f.get("/v1.0/auditLogs/"+log+"?$expand=x", app("AuditLog.Read.All")).want(t, "$expand", 400, "BadRequest")
		f.get("/v1.0/auditLogs/"+log+"?$top=1001", app("AuditLog.Read.All")).want(t, "too large a page", 400, "Request_UnsupportedQuery")
	}
	_ = f.World.UpdateUser(directory.TenantID, directory.BenID, func(u *directory.User) error { u.Roles = []string{reportsReader}; return nil })
	f.get("/v1.0/auditLogs/signIns", user("AuditLog.Read.All", "oid", directory.BenID)).want(t, "a reader of reports", 200, "")
}

func TestLogsForgetTheOldest(t *testing.T) {
	f := start(t)
	ada := must(f.World.User(directory.TenantID, directory.AdaID))
	for i := range 2500 {
		f.World.AddSignIn(directory.SignIn{ID: fmt.Sprintf("%04d", i), Tenant: directory.TenantID, At: f.World.Now(), Kind: "interactiveUser", User: ada, App: must(f.World.Registration(directory.CLIAppID))})
	}
	ids := f.every("/v1.0/auditLogs/signIns?$select=id", app("AuditLog.Read.All"), "id")
	if len(ids) != 2000 || ids[0] != "2499" || ids[1999] != "0500" {
		t.Errorf("%d, from %s to %s", len(ids), ids[0], ids[len(ids)-1])
	}
}
