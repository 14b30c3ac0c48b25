package graphsim

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// put stores a small file in the drive of whom the token is for.
func (f *face) put(t *testing.T, token, path, content string) answer {
	t.Helper()
	a := f.send("PUT", "/v1.0/me/drive/root:/"+path+":/content", token, strings.NewReader(content), "Content-Type", "text/plain")
	if a.status != 200 && a.status != 201 {
		t.Fatalf("put %s: %d %s", path, a.status, a.text)
	}
	return a
}

// follow reads a delta to its end: the names of what is there, the ids of what
// is gone, and where it goes on.
func (f *face) follow(t *testing.T, token, path string, header ...string) (there []string, gone []string, link string) {
	t.Helper()
	for pages := 0; path != ""; pages++ {
		a := f.get(path, token, header...).want(t, path, 200, "")
		for _, v := range a.body["value"].([]any) {
			i := v.(map[string]any)
			if i["deleted"] != nil {
				gone = append(gone, fmt.Sprint(i["id"]))
				continue
			}
			there = append(there, fmt.Sprint(i["name"]))
		}
		path, link = a.str("@odata.nextLink"), a.str("@odata.deltaLink")
		if (path == "") == (link == "") || pages > 20 {
			t.Fatalf("page %d: %s", pages, a.text)
		}
	}
	return there, gone, link
}

func TestADrivesDeltaTellsWhatHasChanged(t *testing.T) {
	f := startStorage(t)
	ada := user(driveScopes)
	is := func(what string, got []string, want string) {
		t.Helper()
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %s", what, got, want)
		}
	}
	f.put(t, ada, "box/inner/a.txt", "a")
	b := f.put(t, ada, "b.txt", "b")
	there, gone, link := f.follow(t, ada, "/v1.0/me/drive/root/delta")
	is("from the beginning", there, "root box b.txt inner a.txt")
	is("nothing is gone yet", gone, "")
	there, gone, again := f.follow(t, ada, link)
	is("nothing has changed", append(there, gone...), "")

	f.put(t, ada, "box/inner/a.txt", "changed")
	f.write("PATCH", "/v1.0/me/drive/items/"+b.str("id"), ada, `{"name":"c.txt"}`).want(t, "rename", 200, "")
	f.write("PATCH", "/v1.0/me/drive/items/"+b.str("id"), ada, `{"name":"d.txt"}`).want(t, "rename again", 200, "")
	there, _, _ = f.follow(t, ada, again)
	is("each once, behind its parents", there, "root d.txt box inner a.txt")
	there, _, link = f.follow(t, ada, again, "deltaExcludeParent", "true")
	is("without parents", there, "d.txt a.txt")

	inner := f.get("/v1.0/me/drive/root:/box/inner", ada).str("id")
	f.do("DELETE", "/v1.0/me/drive/root:/box", ada).want(t, "delete", 204, "")
	f.put(t, ada, "e.txt", "e")
	there, gone, last := f.follow(t, ada, link, "deltaExcludeParent", "true")
	is("made", there, "e.txt")
	if len(gone) != 3 || !strings.Contains(strings.Join(gone, " "), inner) {
		t.Errorf("gone: %v", gone)
	}
	there, gone, _ = f.follow(t, ada, "/v1.0/me/drive/root/delta()")
	is("who begins has nothing to delete", append(there, gone...), "root d.txt e.txt")

	// All spellings of a token; the root by its id, as sync clients have it.
	token := last[strings.Index(last, "token=")+6:]
	f.do("DELETE", "/v1.0/me/drive/root:/e.txt", ada).want(t, "delete", 204, "")
	drive, root := f.get("/v1.0/me/drive", ada).str("id"), f.get("/v1.0/me/drive/root", ada).str("id")
	for _, path := range []string{"/me/drive/root/delta(token='" + token + "')", "/me/drive/root/microsoft.graph.delta(token='" + token + "')", "/drives/" + drive + "/items/" + root + "/delta?token=" + token} {
		there, gone, next := f.follow(t, ada, "/v1.0"+path, "deltaExcludeParent", "1")
		if len(gone) != 1 || len(there) != 0 || !strings.Contains(next, "/delta?token=") {
			t.Errorf("%s: %v %v %s", path, there, gone, next)
		}
	}
}

func TestADeltaOfADriveHasPagesAndBeginnings(t *testing.T) {
	f := startStorage(t)
	ada := user(driveScopes)
	for i := range 7 {
		f.put(t, ada, fmt.Sprintf("%d.txt", i), "x")
	}
	a := f.get("/v1.0/me/drive/root/delta?$top=3&$select=id,name", ada, "deltaExcludeParent", "true").want(t, "a page", 200, "")
	if fmt.Sprint(a.values("name")) != "[root 0.txt 1.txt]" || strings.Contains(a.text, "eTag") || a.str("@odata.nextLink") == "" {
		t.Errorf("page: %s", a.text)
	}
	// What changes between the pages is told after the last one.
	f.put(t, ada, "4.txt", "changed")
	f.do("DELETE", "/v1.0/me/drive/root:/3.txt", ada).want(t, "delete", 204, "")
	there, _, link := f.follow(t, ada, a.str("@odata.nextLink"), "deltaExcludeParent", "true")
	if fmt.Sprint(there) != "[2.txt 5.txt 6.txt]" {
		t.Errorf("the other pages: %v", there)
	}
	there, gone, _ := f.follow(t, ada, link, "deltaExcludeParent", "true")
	if fmt.Sprint(there) != "[4.txt]" || len(gone) != 1 {
		t.Errorf("afterwards: %v %v", there, gone)
	}

	there, gone, link = f.follow(t, ada, "/v1.0/me/drive/root/delta?token=latest")
	if len(there)+len(gone) != 0 {
		t.Errorf("latest: %v %v", there, gone)
	}
	before := f.World.Now().UTC()
	f.World.Advance(time.Hour)
	f.put(t, ada, "new.txt", "x")
	for _, from := range []string{link, "/v1.0/me/drive/root/delta?token=" + enc(before.Add(time.Minute).Format(time.RFC3339))} {
		if there, _, _ := f.follow(t, ada, from, "deltaExcludeParent", "true"); fmt.Sprint(there) != "[new.txt]" {
			t.Errorf("%s: %v", from, there)
		}
	}
	a = f.get("/v1.0/me/drive/root/delta", ada)
	for _, absent := range []string{"cTag", `"path"`} {
		if strings.Contains(a.text, absent) {
			t.Errorf("a delta tells of %s: %s", absent, a.text)
		}
	}
	f.do("DELETE", "/v1.0/me/drive/root:/new.txt", ada)
	a = f.get(link, ada)
	if !strings.Contains(a.text, `"deleted":{"state":"deleted"}`) || strings.Contains(a.text, "new.txt") {
		t.Errorf("deleted: %s", a.text)
	}

	f.get("/v1.0/me/drive/root/delta?token=rubbish", ada).want(t, "rubbish", 400, "invalidRequest")
	f.get("/v1.0/me/drive/root/delta?$top=0", ada).want(t, "no page", 400, "invalidRequest")
	f.get("/v1.0/me/drive/root/delta?$top=1&%24TOP=2", ada).want(t, "two pages", 400, "invalidRequest")
	f.get("/v1.0/me/drive/root/delta?$filter=x", ada).want(t, "a filter", 400, "invalidRequest")
	f.get("/v1.0/me/drive/root/delta(token='latest')?token=latest", ada).want(t, "two tokens", 400, "invalidRequest")
	f.get("/v1.0/me/drive/root:/4.txt:/delta", ada).want(t, "of a file", 400, "notSupported")
	f.get(strings.Replace(link, "/me/", "/users/ben@fob.example/", 1), app("Files.Read.All")).want(t, "another's token", 400, "invalidRequest")
	f.get("/v1.0/users/ben@fob.example/drive/root/delta", ada).want(t, "another's drive", 403, "accessDenied")
	f.get("/v1.0/users/delta(token='latest')", app("User.Read.All")).want(t, "users have another token", 400, "BadRequest")
	f.World.Advance(8 * 24 * time.Hour)
	if a := f.get(link, ada).want(t, "too old", 410, "resyncRequired"); a.header.Get("Location") != f.url+"/v1.0/me/drive/root/delta" || !strings.Contains(a.text, "resyncChangesApplyDifferences") {
		t.Errorf("too old: %v %s", a.header, a.text)
	}
	other := startStorage(t)
	other.get(strings.TrimPrefix(link, f.url), ada).want(t, "of an emulator that has ended", 410, "resyncRequired")
}

func TestACopyIsFollowedWithoutAToken(t *testing.T) {
	f := startStorage(t)
	ada := user(driveScopes)
	file := f.put(t, ada, "box/a.txt", "hello")
	box := f.get("/v1.0/me/drive/root:/box", ada).str("id")
	copied := func(what, path, body string) string {
		t.Helper()
		where := f.write("POST", "/v1.0/me/drive/"+path, ada, body).want(t, what, 202, "").header.Get("Location")
		if !strings.HasPrefix(where, f.StorageURL()) {
			t.Fatalf("%s is told of at %s", what, where)
		}
		if a := f.get(where, "").want(t, what, 202, ""); a.str("status") != "inProgress" || a.body["resourceId"] != nil {
			t.Errorf("%s, at first: %s", what, a.text)
		}
		a := f.get(where, "").want(t, what, 202, "")
		if a.str("status") != "completed" || a.body["percentageComplete"] != 100.0 {
			t.Errorf("%s, then: %s", what, a.text)
		}
		f.get(where, ada).want(t, "with a token", 401, "unauthenticated")
		return f.get("/v1.0/me/drive/items/"+a.str("resourceId"), ada).want(t, what, 200, "").str("name")
	}
	at := "items/" + file.str("id") + "/copy"
	if name := copied("under another name", at, `{"name":"b.txt"}`); name != "b.txt" {
		t.Errorf("copied to %s", name)
	}
	if name := copied("beside it", at+"?@microsoft.graph.conflictBehavior=rename", `{}`); name != "a 1.txt" {
		t.Errorf("copied to %s", name)
	}
	drive := f.get("/v1.0/me/drive", ada).str("id")
	if name := copied("into a folder", at, `{"parentReference":{"driveId":"`+drive+`","id":"root"},"name":"c.txt"}`); name != "c.txt" {
		t.Errorf("copied to %s", name)
	}
	copied("a folder", "items/"+box+"/copy", `{"parentReference":{"path":"/drive/root:"},"name":"crate"}`)
	where := f.get("/v1.0/me/drive/root:/crate/b.txt:/content", ada).want(t, "what is in it", 302, "").header.Get("Location")
	if a := f.get(where, ""); a.text != "hello" {
		t.Errorf("content: %q", a.text)
	}
	if there, _, _ := f.follow(t, ada, "/v1.0/me/drive/root/delta"); len(there) != 10 {
		t.Errorf("everything: %v", there)
	}
	for _, c := range []struct {
		what, path, body string
		status           int
		code             string
	}{
		{"the same name", at, `{}`, 409, "nameAlreadyExists"},
		{"into itself", "items/" + box + "/copy", `{"parentReference":{"id":"` + box + `"}}`, 400, "invalidRequest"},
		{"into a file", at, `{"parentReference":{"id":"` + file.str("id") + `"}}`, 400, "invalidRequest"},
		{"nowhere", at, `{"parentReference":{"id":"nowhere"}}`, 404, "itemNotFound"},
		{"into another drive", at, `{"parentReference":{"driveId":"b!other","id":"root"}}`, 501, "notSupported"},
		{"the root", "root/copy", `{"name":"x"}`, 400, "invalidRequest"},
		{"a bad name", at, `{"name":"a:b"}`, 400, "invalidRequest"},
		{"what it cannot do", at, `{"includeAllVersionHistory":true}`, 400, "invalidRequest"},
		{"over a folder", "items/" + box + "/copy?@microsoft.graph.conflictBehavior=replace", `{"name":"crate"}`, 409, "nameAlreadyExists"},
	} {
		f.write("POST", "/v1.0/me/drive/"+c.path, ada, c.body).want(t, c.what, c.status, c.code)
	}
	f.write("POST", "/v1.0/me/drive/"+at, user("Files.Read"), `{"name":"x"}`).want(t, "without permission", 403, "accessDenied")
	f.get(f.StorageURL()+"/storage/monitor/guessed", "").want(t, "a guess", 404, "itemNotFound")
}

func TestADriveIsSearchedByNames(t *testing.T) {
	f := startStorage(t)
	ada := user(driveScopes)
	f.put(t, ada, "Plans/Budget 2026.txt", "x")
	f.put(t, ada, "Plans/it's/budget notes.txt", "x")
	f.put(t, ada, "other.txt", "x")
	for path, want := range map[string]string{
		"/root/search(q='budget')":                                       "Budget 2026.txt, budget notes.txt",
		"/search(q='BUDGET%202026')":                                     "Budget 2026.txt",
		"/root/search(q='it''s')":                                        "it's",
		"/root:/Plans/it's:/search(q='budget')":                          "budget notes.txt",
		"/root/search(q='')?$select=name&$orderby=name":                  "Budget 2026.txt, budget notes.txt, it's, other.txt, Plans",
		"/root/microsoft.graph.search(q='other')?$top=1&$select=id,name": "other.txt",
		"/root/search(q='nothing')":                                      "",
	} {
		a := f.get("/v1.0/me/drive"+path, ada).want(t, path, 200, "")
		var got []string
		for _, name := range a.values("name") {
			got = append(got, fmt.Sprint(name))
		}
		if strings.Join(got, ", ") != want {
			t.Errorf("%s: %q, want %s", path, got, want)
		}
	}
	f.get("/v1.0/me/drive/root/search", ada).want(t, "without words", 400, "invalidRequest")
	f.get("/v1.0/users/ben@fob.example/drive/root/search(q='')", ada).want(t, "another's drive", 403, "accessDenied")
}

func TestDrivesAndTheRootSiteAreFound(t *testing.T) {
	f := startStorage(t)
	ada := user(driveScopes + " Sites.Read.All")
	one := f.get("/v1.0/me/drive", ada).want(t, "drive", 200, "")
	f.World.Advance(time.Hour)
	f.put(t, ada, "a.txt", "hello")
	a := f.get("/v1.0/me/drives?$select=id,webUrl,lastModifiedDateTime", ada).want(t, "drives", 200, "")
	if fmt.Sprint(a.values("id")) != "["+one.str("id")+"]" || fmt.Sprint(a.values("webUrl")) != "["+one.str("webUrl")+"]" || fmt.Sprint(a.values("lastModifiedDateTime")) == "["+one.str("lastModifiedDateTime")+"]" {
		t.Errorf("drives: %s after %s", a.text, one.text)
	}
	if a := f.get("/v1.0/drives/"+one.str("id")+"?$select=quota", ada).want(t, "by its id", 200, ""); !strings.Contains(a.text, `"used":5}`) || strings.Contains(a.text, "webUrl") {
		t.Errorf("quota: %s", a.text)
	}
	f.get("/v1.0/users/ben@fob.example/drives", ada).want(t, "another's", 403, "accessDenied")

	site := f.get("/v1.0/sites/root?$select=id,webUrl", ada).want(t, "site", 200, "")
	if site.str("webUrl") != "https://fobexample.sharepoint.com" {
		t.Errorf("site: %s", site.text)
	}
	f.get("/v1.0/sites/"+site.str("id"), ada).want(t, "by its id", 200, "")
	f.get("/v1.0/sites/fobexample.sharepoint.com", ada).want(t, "by its host", 200, "")
	f.get("/v1.0/sites/root", user("Files.Read")).want(t, "without permission", 403, "accessDenied")
	f.get("/v1.0/sites/elsewhere.sharepoint.com", ada).want(t, "another", 404, "itemNotFound")
	for _, path := range []string{"/sites", "/sites/root/lists", "/sites/root/drives", "/me/drive/recent", "/me/drive/sharedWithMe()", "/me/drive/items/x/permissions", "/me/drive/items/y/listItem", "/me/drive/root:/a.txt:/createLink", "/shares/x"} {
		f.get("/v1.0"+path, ada).want(t, path, 501, "NotImplemented")
	}
	f.get("/v1.0/me/drive/recents", ada).want(t, "misspelt", 400, "BadRequest")
	f.get("/v1.0/sites/root/list", ada).want(t, "misspelt", 400, "BadRequest")
}
