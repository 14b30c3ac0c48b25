package graphsim

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// crew adds n users, u000 and so on, who are all in a new group.
func (f *face) crew(n int) (ids []string, group string) {
	group = "f0b00000-1002-4000-8000-0000000c0001"
	for i := range n {
		id := fmt.Sprintf("f0b00000-1001-4000-8000-0000000c%04x", i)
		f.World.PutUser(&directory.User{ID: id, Tenant: directory.TenantID, UPN: fmt.Sprintf("u%03d@fob.example", i), DisplayName: fmt.Sprintf("U %03d", n-i),
			Created: f.World.Now().Add(time.Duration(i) * time.Second)})
		ids = append(ids, id)
	}
	f.World.PutGroup(&directory.Group{ID: group, Tenant: directory.TenantID, Name: "Crew", Members: slices.Clone(ids), Created: f.World.Now()})
	return ids, group
}

// Scripts that clean up delete all that a page shows, then ask for the next.
func TestWhoDeletesWhatAPageShowsStillGetsAllThatFollows(t *testing.T) {
	for _, c := range []struct {
		what, path, remove string
		crowd              int
	}{
		{"users", "/v1.0/users?$top=5&$select=id", "/v1.0/users/%s", 0},
		{"users in an order", "/v1.0/users?$top=5&$select=id&$orderby=displayName", "/v1.0/users/%s", 0},
		{"users before generated ones", "/v1.0/users?$top=5&$select=id&$filter=" + enc("startswith(displayName,'U ')"), "/v1.0/users/%s", 100},
		{"members", "/v1.0/groups/f0b00000-1002-4000-8000-0000000c0001/members?$top=5&$select=id", "/v1.0/groups/f0b00000-1002-4000-8000-0000000c0001/members/%s/$ref", 0},
		{"users by delta", "/v1.0/users/delta?$select=id", "/v1.0/users/%s", 0},
	} {
		t.Run(c.what, func(t *testing.T) {
			f := startCrowd(t, c.crowd)
			n := 43
			if strings.Contains(c.path, "delta") {
				n = 2*deltaPage + 3
			}
			ids, _ := f.crew(n)
			tok := app("User.ReadWrite.All", "User.DeleteRestore.All", "GroupMember.ReadWrite.All", "Directory.Read.All")
			seen := map[string]int{}
			for path := c.path; path != ""; {
				a := f.get(path, tok).want(t, path, 200, "")
				for _, id := range a.values("id") {
					if seen[id]++; slices.Contains(ids, id) {
						f.write("DELETE", fmt.Sprintf(c.remove, id), tok, "").want(t, "delete", 204, "")
					}
				}
				path = a.str("@odata.nextLink")
			}
			for _, id := range ids {
				if seen[id] != 1 {
					t.Errorf("%s was shown %d times", id, seen[id])
				}
			}
		})
	}
}

func TestAPageGoesOnWhereItWasWhenOthersComeGoAndChange(t *testing.T) {
	f := start(t)
	ids, _ := f.crew(60)
	tok := app("User.ReadWrite.All", "Directory.Read.All")
	seen := map[string]int{}
	page := 0
	for path := "/v1.0/users?$top=10&$select=id&$orderby=displayName"; path != ""; page++ {
		a := f.get(path, tok).want(t, path, 200, "")
		shown := a.values("id")
		for _, id := range shown {
			seen[id]++
		}
		last := shown[len(shown)-1]
		switch page {
		case 1: // the last one seen goes to the end
			f.write("PATCH", "/v1.0/users/"+last, tok, `{"displayName":"Z"}`).want(t, "rename", 204, "")
			seen[last]-- // and may be shown again
		case 2: // or to the beginning, and those before it go away
			f.write("PATCH", "/v1.0/users/"+last, tok, `{"displayName":"A"}`).want(t, "rename", 204, "")
		case 3:
			for _, id := range shown[5:] {
				f.World.DeleteUser(directory.TenantID, id)
			}
			f.World.PutUser(&directory.User{ID: "f0b00000-1001-4000-8000-0000000d0001", Tenant: directory.TenantID, UPN: "new@fob.example", DisplayName: "A new one", Created: f.World.Now()})
		}
		path = a.str("@odata.nextLink")
	}
	for _, id := range ids {
		if seen[id] != 1 {
			t.Errorf("%s was shown %d times", id, seen[id])
		}
	}
}

func TestATokenIsGoodOnlyWhereItCameFrom(t *testing.T) {
	f := startCrowd(t, 500)
	f.crew(3)
	tok := app("User.Read.All", "Group.Read.All", "Directory.Read.All")
	elsewhere := token("good", map[string]any{"aud": directory.GraphAppID, "tid": directory.OtherTenantID, "oid": "sp", "roles": []string{"User.Read.All", "Group.Read.All"}})
	cut := func(link, option string) string {
		_, value, ok := strings.Cut(link, option+"=")
		if !ok {
			t.Fatalf("no %s in %q", option, link)
		}
		return value
	}
	skip := cut(f.get("/v1.0/users?$top=2", tok).str("@odata.nextLink"), "$skiptoken")
	groups := cut(f.get("/v1.0/groups?$top=1&$filter="+enc("securityEnabled eq true"), tok).str("@odata.nextLink"), "$skiptoken")
	delta := cut(f.get("/v1.0/groups/delta", tok).str("@odata.deltaLink"), "$deltatoken")
	pages := cut(f.get("/v1.0/users/delta", tok).str("@odata.nextLink"), "$skiptoken")
	changed := func(sealed string, at int) string {
		b, _ := base64.RawURLEncoding.DecodeString(sealed)
		b[(at+len(b))%len(b)] ^= 1
		return base64.RawURLEncoding.EncodeToString(b)
	}
	for what, c := range map[string]struct{ path, token, code string }{
		"a page of users for groups":      {"/v1.0/groups?$skiptoken=" + skip, tok, "Request_BadRequest"},
		"of another filter":               {"/v1.0/groups?$skiptoken=" + groups, tok, "Request_BadRequest"},
		"of another tenant":               {"/v1.0/users?$skiptoken=" + skip, elsewhere, "Request_BadRequest"},
		"changed":                         {"/v1.0/users?$skiptoken=" + changed(skip, -1), tok, "Request_BadRequest"},
		"changed at its beginning":        {"/v1.0/users?$skiptoken=" + changed(skip, 0), tok, "Request_BadRequest"},
		"cut off":                         {"/v1.0/users?$skiptoken=" + skip[:4], tok, "Request_BadRequest"},
		"a delta of another tenant":       {"/v1.0/groups/delta?$deltatoken=" + delta, elsewhere, "syncStateInvalid"},
		"a delta of groups for users":     {"/v1.0/users/delta?$deltatoken=" + delta, tok, "syncStateInvalid"},
		"a changed delta":                 {"/v1.0/groups/delta?$deltatoken=" + changed(delta, -2), tok, "syncStateInvalid"},
		"a delta as a page":               {"/v1.0/groups/delta?$skiptoken=" + delta, tok, "syncStateInvalid"},
		"a page as a delta":               {"/v1.0/users/delta?$deltatoken=" + pages, tok, "syncStateInvalid"},
		"a page of a list for a delta":    {"/v1.0/users/delta?$skiptoken=" + skip, tok, "syncStateInvalid"},
		"a page of a delta for the list":  {"/v1.0/users?$skiptoken=" + pages, tok, "Request_BadRequest"},
		"the beginning of nothing at all": {"/v1.0/users?$skiptoken=", tok, ""},
	} {
		a := f.get(c.path, c.token)
		if want := map[bool]int{true: 200, false: 400}[c.code == ""]; a.status != want || a.code() != c.code {
			t.Errorf("%s: %d %s, want %d %s", what, a.status, a.text, want, c.code)
		}
	}
	// How much is shown at a time may change.
	if a := f.get("/v1.0/users?$top=3&$select=id&$skiptoken="+skip, tok).want(t, "other columns", 200, ""); len(a.values("id")) != 3 {
		t.Errorf("another page size: %s", a.text)
	}
	// No state is good that a client makes up, whatever it says.
	for _, state := range []string{`{"p":true,"o":-5}`, `{"p":true,"d":true,"o":-1,"u":9}`, `{"c":["nope"]}`} {
		made := base64.RawURLEncoding.EncodeToString([]byte("user." + state))
		for _, option := range []string{"$skiptoken", "$deltatoken"} {
			f.get("/v1.0/users/delta?"+option+"="+made, tok).want(t, state, 400, "syncStateInvalid")
		}
	}
}

func TestWordsAreLookedForInMailOnly(t *testing.T) {
	f := start(t)
	tok := app("AuditLog.Read.All", "Mail.ReadWrite", "Files.ReadWrite.All", "Application.ReadWrite.All", "Directory.Read.All")
	for _, path := range []string{"/v1.0/auditLogs/signIns", "/v1.0/auditLogs/directoryAudits", "/v1.0/users/ada@fob.example/mailFolders", "/v1.0/users/ada@fob.example/drive/root/children"} {
		f.get(path+"?$search=x", tok).want(t, path, 400, "BadRequest")
	}
	f.World.AddSignIn(directory.SignIn{Tenant: directory.TenantID, ID: "f0b00000-9999-4000-8000-000000000001"})
	f.get("/v1.0/auditLogs/signIns?$search=x", tok).want(t, "with a sign-in", 400, "BadRequest")
	f.get("/v1.0/users/ada@fob.example/messages?$search=x", tok).want(t, "mail", 200, "")
}
