package graph

import (
	"encoding/base64"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fobauth/fob"
)

func TestPermissionsAreFoundByRealPaths(t *testing.T) {
	for _, test := range []struct{ method, path, delegated, application string }{
		{"GET", "/me", "User.Read", ""},
		{"GET", "/v1.0/me?$select=id", "User.Read", ""},
		{"GET", "/users", "User.ReadBasic.All", "User.ReadBasic.All"},
		{"HEAD", "/beta/users/", "User.ReadBasic.All", "User.ReadBasic.All"},
		{"GET", "/users/$count", "User.ReadBasic.All", "User.ReadBasic.All"},
		{"GET", "/users/mira@fabrikam.example", "User.ReadBasic.All", "User.ReadBasic.All"},
		{"GET", "/users('mira@fabrikam.example')", "User.ReadBasic.All", "User.ReadBasic.All"},
		{"DELETE", "/users/1", "User.DeleteRestore.All", "User.DeleteRestore.All"},
		{"GET", "/users/delta()", "User.Read.All", "User.Read.All"},
		{"GET", "/users/microsoft.graph.delta", "User.Read.All", "User.Read.All"},
		{"get", "/applications(appId='5')", "Application.Read.All", "Application.Read.All"},
		{"GET", "/me/transitiveMemberOf/microsoft.graph.group", "User.Read", ""},
		{"POST", "/me/sendMail", "Mail.Send", "Mail.Send"},
		{"POST", "/users/1/microsoft.graph.getMemberGroups", "Application.Read.All", "Application.Read.All"},
		{"GET", "/me/photo/$value", "User.Read", ""},
		{"GET", "/me/photos/48x48/$value", "User.Read", ""},
		{"GET", "/groups/1/members/microsoft.graph.user/$count", "GroupMember.Read.All", "GroupMember.Read.All"},
		{"GET", "/groups/1/members/$ref", "GroupMember.Read.All", "GroupMember.Read.All"},
		{"POST", "/groups/1/members/$ref", "GroupMember.ReadWrite.All", "GroupMember.ReadWrite.All"},
		{"DELETE", "/groups/1/members/2/$ref", "GroupMember.ReadWrite.All", "GroupMember.ReadWrite.All"},
		{"GET", "/users/microsoft.graph.delta()", "User.Read.All", "User.Read.All"},
		{"GET", "/groups/delta(token='latest')", "Group.Read.All", "Group.Read.All"},
		{"GET", "/users('it''s/odd')/messages", "Mail.Read", "Mail.Read"},
		{"GET", "/users%28%27a%40b%27%29", "User.ReadBasic.All", "User.ReadBasic.All"},
		{"GET", "/groups(uniqueName='a(b)')/members", "GroupMember.Read.All", "GroupMember.Read.All"},
		{"GET", "/directory/deletedItems/microsoft.graph.group", "Group.Read.All", "Group.Read.All"},
		{"PUT", "/me/manager/$ref", "User.ReadWrite.All", ""},
		{"GET", "/me/mailFolders/inbox/childFolders/1/messages/2/attachments", "Mail.Read", ""},
		{"GET", "/users/1/mailFolders/inbox/childFolders", "Mail.ReadBasic", "Mail.ReadBasic.All"},
		{"PATCH", "/me/mailFolders/inbox/childFolders/1", "Mail.ReadWrite", ""},
		{"GET", "/me/drive", "Files.Read", "Files.Read.All"},
		{"GET", "/me/drive/root", "Files.Read", "Files.Read.All"},
		{"GET", "/me/drive/root/children", "Files.Read", "Files.Read.All"},
		{"GET", "/me/drive/root:/children", "Files.Read", "Files.Read.All"},
		{"GET", "/me/drive/root:/a/b:/children", "Files.Read", "Files.Read.All"},
		{"PUT", "/me/drive/root:/a/b.txt:/content", "Files.ReadWrite", "Files.ReadWrite.All"},
		{"PUT", "/beta/users/ada@fob.example/drive/root:/a('1)/b.txt:/content", "Files.ReadWrite", "Files.ReadWrite.All"},
		{"POST", "/drives/1/items/2:/x:/createUploadSession", "Files.ReadWrite", "Files.ReadWrite.All"},
		{"POST", "/drives/1/items/2:/x:/microsoft.graph.createUploadSession", "Files.ReadWrite", "Files.ReadWrite.All"},
		{"POST", "/groups/1/drive/items/2/createUploadSession", "Files.ReadWrite", "Files.ReadWrite.All"},
		{"PATCH", "/sites/1/drive/items/2", "Files.ReadWrite", "Files.ReadWrite.All"},
		{"DELETE", "/me/drive/root:/a/b.txt", "Files.ReadWrite", "Files.ReadWrite.All"},
		{"DELETE", "/me/drive/root:/a/b.txt:", "Files.ReadWrite", "Files.ReadWrite.All"},
		{"GET", "/me/drive/special/approot:/a.txt:/content", "Files.Read", "Files.Read.All"},
	} {
		delegated, application, ok := Permissions(test.method, test.path)
		if !ok {
			t.Errorf("%s %s is not known", test.method, test.path)
			continue
		}
		for kind, pair := range map[string][2]any{"delegated": {delegated, test.delegated}, "application": {application, test.application}} {
			names, want := pair[0].([]string), pair[1].(string)
			if want == "" && len(names) > 0 || want != "" && !slices.Contains(names, want) {
				t.Errorf("%s %s: %s %q, want %q", test.method, test.path, kind, names, want)
			}
		}
	}
}

func TestThePermissionToAskForComesFirst(t *testing.T) {
	for path, want := range map[string][]string{
		"/groups":         {"Group.ReadBasic.All", "Group.Read.All", "Group.ManageProtection.All"},
		"/users":          {"User.ReadBasic.All", "User.Read.All", "User.ReadWrite.All"},
		"/me/messages":    {"Mail.ReadBasic", "Mail.Read", "Mail.ReadWrite"},
		"/applications/1": {"Application.Read.All", "Application.ReadWrite.All", "Directory.Read.All"},
	} {
		if got, _, _ := Permissions("GET", path); len(got) < 3 || !slices.Equal(got[:3], want) {
			t.Errorf("%s: %q, want %q first", path, got, want)
		}
	}
	if got, _, _ := Permissions("POST", "/groups"); len(got) < 2 || got[0] != "Group.ReadWrite.All" {
		t.Errorf("%q", got)
	}
}

func TestPathsThatAreNotInTheTableAreNotGuessed(t *testing.T) {
	for _, path := range []string{"", "/", "/$batch", "/v1.0/$batch", "/nothing", "/users/1/nothing", "/me/messages/1/2/3", "/users('never closed", "/users('never/closed",
		"/me/drive/recent", "/me/drive/items", "/me/drive/root:/a:/nothing", "/drives", "/directory/deletedItems", "/users/delta/1"} {
		if _, _, ok := Permissions("GET", path); ok {
			t.Errorf("%q is known", path)
		}
	}
	if _, _, ok := Permissions("DELETE", "/me"); ok {
		t.Error("DELETE /me is known")
	}
	// Without $ref it would be the member that is deleted.
	if _, _, ok := Permissions("DELETE", "/groups/1/members/2"); ok {
		t.Error("DELETE /groups/1/members/2 is known")
	}
}

// examples are what real paths have in place of an {id}.
var examples = []string{"2a", "ada@fob.example", "b!x-Y_z", "00000000-0000-4000-8000-000000000001"}

func TestEveryRowOfThePermissionTableIsFoundByItsOwnExamples(t *testing.T) {
	rows := 0
	for line := range strings.Lines(permissionTable) {
		column := strings.Split(strings.TrimSpace(line), "\t")
		if len(column) < 4 || column[0] == "method" {
			continue
		}
		rows++
		for _, id := range examples {
			path := strings.ReplaceAll(column[1], "{id}", id)
			quoted := regexp.MustCompile(`/([a-z]+)/\{id\}`).ReplaceAllString(column[1], "/$1('"+id+"')")
			for _, written := range []string{path, "/v1.0" + path, "/beta" + strings.ToUpper(path) + "/", path + "?$select=id", quoted, strings.ReplaceAll(path, "@", "%40")} {
				row := rowOf(column[0], templateOf(written))
				if row == nil || !slices.Equal(row.segments, templateOf(column[1])) {
					t.Errorf("%s %s, written %s, is taken for %+v", column[0], column[1], written, row)
				}
			}
		}
	}
	if rows < 300 {
		t.Errorf("only %d rows", rows)
	}
}

// The emulator decides by a table of its own, so that a wrong row does not
// confirm itself; here it is only asked which endpoints there are.
func TestEveryEndpointOfTheEmulatorIsInThePermissionTable(t *testing.T) {
	source, err := os.ReadFile("../entratest/internal/graphsim/routes.go")
	if err != nil {
		t.Fatal(err)
	}
	spelled := strings.NewReplacer("{person}", "users/1", "{messages}", "mailFolders/1/messages", "{drive}", "me/drive", "{item}", "root:/a/b.txt:",
		"{cast}", "microsoft.graph.user", "{id}", "2")
	endpoints := 0
	for _, m := range regexp.MustCompile(`\{method: "(\w+)", pattern: "([^"]+)"`).FindAllStringSubmatch(string(source), -1) {
		endpoints++
		if path := spelled.Replace(m[2]); path != "/$batch" {
			if delegated, application, ok := Permissions(m[1], path); !ok || len(delegated)+len(application) == 0 {
				t.Errorf("%s %s (%s) is not known: it has no row in permissions.tsv", m[1], path, m[2])
			}
		}
	}
	if endpoints < 100 {
		t.Errorf("only %d endpoints: this test does not find them", endpoints)
	}
}

func TestPermissionsThatAreNeededTogetherCountTogether(t *testing.T) {
	const entry = "AppRoleAssignment.ReadWrite.All and Application.Read.All"
	delegated, _, _ := Permissions("POST", "/servicePrincipals/1/appRoleAssignments")
	if !slices.Contains(delegated, entry) {
		t.Fatalf("%q", delegated)
	}
	one, both := Rights{Scopes: []string{"Application.Read.All"}}, Rights{Scopes: []string{"Application.Read.All", "AppRoleAssignment.ReadWrite.All"}}
	if one.Has(entry) || !both.Has(entry) || (Rights{AppOnly: true, Scopes: both.Scopes}).Has(entry) {
		t.Error("one of two is taken for both")
	}
	if got := Explain403("POST", "/servicePrincipals/1/appRoleAssignments", one); !strings.Contains(got, "AppRoleAssignment.ReadWrite.All and Application.Read.All") {
		t.Error(got)
	}
}

func jwtOf(payload string) *fob.Token {
	encode := base64.RawURLEncoding.EncodeToString
	return &fob.Token{Access: fob.NewSecret(encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(payload)) + ".x")}
}

func TestRightsAreReadFromAToken(t *testing.T) {
	if r, ok := RightsOf(jwtOf(`{"scp":"User.Read Mail.Send","roles":[]}`)); !ok || r.AppOnly || !slices.Equal(r.Scopes, []string{"User.Read", "Mail.Send"}) {
		t.Errorf("%+v, %v", r, ok)
	}
	if r, ok := RightsOf(jwtOf(`{"roles":["User.Read.All"],"idtyp":"app"}`)); !ok || !r.AppOnly || r.Roles[0] != "User.Read.All" {
		t.Errorf("%+v, %v", r, ok)
	}
	for _, token := range []*fob.Token{nil, {}, {Access: fob.NewSecret("opaque")}, {Access: fob.NewSecret("a.!.c")}, {Access: fob.NewSecret("a.eA.c")}} {
		if _, ok := RightsOf(token); ok {
			t.Errorf("%v has rights", token)
		}
	}
}

func TestARefusalIsExplainedByWhatTheTokenLacks(t *testing.T) {
	for _, test := range []struct {
		method, path string
		have         Rights
		want         []string
	}{
		{"GET", "/users", Rights{Scopes: []string{"User.Read"}}, []string{"one of the delegated permissions User.ReadBasic.All", "the token has User.Read", "consent"}},
		{"GET", "/users", Rights{AppOnly: true}, []string{"application permissions", "the token has none"}},
		{"GET", "/me", Rights{AppOnly: true, Roles: []string{"User.Read.All"}}, []string{"sign a user in", "User.Read"}},
		{"GET", "/users", Rights{Scopes: []string{"User.Read.All"}}, []string{"has User.Read.All", "the user may lack"}},
		{"GET", "/users", Rights{AppOnly: true, Roles: []string{"Directory.Read.All"}}, []string{"has Directory.Read.All", "policy"}},
	} {
		got := Explain403(test.method, test.path, test.have)
		for _, want := range test.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s %s %+v: %q does not say %q", test.method, test.path, test.have, got, want)
			}
		}
	}
	if got := Explain403("GET", "/nothing", Rights{}); got != "" {
		t.Errorf("an unknown endpoint is explained: %q", got)
	}
}

func TestASimilarSegmentIsFound(t *testing.T) {
	long := strings.Repeat("u", 1<<16)
	for _, test := range []struct{ path, segment, want string }{
		{"/usrs", "usrs", "users"}, {"/v1.0/user", "user", "users"}, {"/beta/Gruops?$top=1", "Gruops", "groups"}, {"/mee", "mee", "me"},
		{"/servicePrincipal/1", "servicePrincipal", "serviceprincipals"}, {"/me/mesages", "mesages", "messages"},
		{"/me/sendMails", "sendMails", "sendmail"}, {"/users/ada@fob.example/mailFolder/inbox", "mailFolder", "mailfolders"},
		{"/users", "users", ""}, {"/users/ada", "ada", ""}, {"/me", "me", ""}, {"/", "", ""}, {"", "", ""}, {"/qwertyuiop", "qwertyuiop", ""},
		{"/users/1/qwertyuiop", "qwertyuiop", ""}, {"/me/microsoft.graph.odd", "microsoft.graph.odd", ""}, {"/" + long, long, ""},
		{"/usrs/1/mesages", "mesages", ""}, // Graph knows more than the table: what is before it was right
	} {
		if got := SimilarSegment(test.path, test.segment); got != test.want {
			t.Errorf("%.30s: %q, want %q", test.path, got, test.want)
		}
	}
}
