package graphsim

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// startStorage gives uploads and downloads an origin of their own.
func startStorage(t *testing.T) *face {
	t.Helper()
	f := start(t)
	srv := httptest.NewTLSServer(http.HandlerFunc(f.Storage))
	t.Cleanup(srv.Close)
	f.StorageURL = func() string { return srv.URL }
	transport := f.hc.Transport.(*http.Transport)
	transport.TLSClientConfig.RootCAs.AddCert(srv.Certificate())
	f.hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return f
}

const driveScopes = "Files.ReadWrite User.Read"

func TestASmallFileIsPutAndDownloadedElsewhere(t *testing.T) {
	f := startStorage(t)
	ada := user(driveScopes)
	a := f.send("PUT", "/v1.0/me/drive/root:/reports/2026%20(1).txt:/content", ada, strings.NewReader("hello"), "Content-Type", "text/plain").want(t, "put", 201, "")
	id, etag := a.str("id"), a.str("eTag")
	if a.str("name") != "2026 (1).txt" || a.body["size"] != 5.0 || a.header.Get("Location") == "" || a.header.Get("ETag") != etag {
		t.Errorf("item: %s", a.text)
	}
	a = f.get("/v1.0/me/drive/items/"+id+"/content", ada).want(t, "download", 302, "")
	where := a.header.Get("Location")
	if !strings.HasPrefix(where, f.StorageURL()) || strings.HasPrefix(where, f.url) {
		t.Fatalf("redirected to %s", where)
	}
	if a = f.get(where, ""); a.text != "hello" || a.header.Get("ETag") != etag {
		t.Errorf("content: %d %q", a.status, a.text)
	}
	if a = f.get(where, "", "Range", "bytes=1-3"); a.status != 206 || a.text != "ell" {
		t.Errorf("range: %d %q", a.status, a.text)
	}
	f.get(where, ada).want(t, "with a token", 401, "unauthenticated")
	f.get(where+"x", "").want(t, "a forged address", 401, "unauthenticated")
	f.World.Advance(6 * time.Minute)
	f.get(where, "").want(t, "too late", 401, "unauthenticated")
	if a = f.get("/v1.0/me/drive/root:/reports:/children?$select=name", ada); fmt.Sprint(a.values("name")) != "[2026 (1).txt]" {
		t.Errorf("children: %s", a.text)
	}
	f.get("/v1.0/me/drive/root:/nothing", ada).want(t, "nothing", 404, "itemNotFound")
}

func TestFilesHaveTheHashOfDrives(t *testing.T) {
	// Content and hash in base64, as the real service gives it.
	for content, want := range map[string]string{
		"": "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", "Sg==": "SgAAAAAAAAAAAAAAAQAAAAAAAAA=", "tbQ=": "taAFAAAAAAAAAAAAAgAAAAAAAAA=", "0pZP": "0rDEEwAAAAAAAAAAAwAAAAAAAAA=",
		"jRRDVA==": "jaDAEKgAAAAAAAAABAAAAAAAAAA=", "2fuxhBJXtpWFe8dOfdGeHw==": "O9tHLAghgSvYohKFyMMxnNCHaHg=", "VXs4t4tfXGiWAL6dlhEMm0YQF0f2w9rzX0CvIVeuW56o6/ec2auMpKeU2VeteEK5": "sq24lSf7wXLH8eigHl07X+qPTps=",
	} {
		raw, err := base64.StdEncoding.DecodeString(content)
		if err != nil {
			t.Fatal(err)
		}
		if got := quickXorHash(raw); got != want {
			t.Errorf("%q has the hash %s, want %s", content, got, want)
		}
	}
	f := startStorage(t)
	a := f.send("PUT", "/v1.0/me/drive/root:/a.bin:/content", user(driveScopes), strings.NewReader("J"), "Content-Type", "text/plain").want(t, "put", 201, "")
	if !strings.Contains(a.text, `"hashes":{"quickXorHash":"SgAAAAAAAAAAAAAAAQAAAAAAAAA="}`) {
		t.Errorf("item: %s", a.text)
	}
}

func TestFilesAreMovedAndKeepTheirTimes(t *testing.T) {
	f := startStorage(t)
	ada := user(driveScopes)
	info := func(a answer) string {
		of, _ := a.body["fileSystemInfo"].(map[string]any)
		return fmt.Sprint(of["lastModifiedDateTime"])
	}
	folder := f.write("POST", "/v1.0/me/drive/root/children", ada, `{"name":"new","folder":{}}`).want(t, "folder", 201, "").str("id")
	file := f.send("PUT", "/v1.0/me/drive/root:/old/a.txt:/content", ada, strings.NewReader("hello"), "Content-Type", "text/plain").want(t, "put", 201, "")
	if info(file) != file.str("lastModifiedDateTime") {
		t.Errorf("nobody has said of what time it is: %s", file.text)
	}
	const at = "/v1.0/me/drive/items/"
	a := f.write("PATCH", at+file.str("id"), ada, `{"name":"b.txt","parentReference":{"id":"`+folder+`"},"fileSystemInfo":{"lastModifiedDateTime":"2020-02-03T04:05:06Z"}}`).want(t, "move", 200, "")
	if info(a) != "2020-02-03T04:05:06Z" || a.str("lastModifiedDateTime") == info(a) {
		t.Errorf("times: %s", a.text)
	}
	f.get("/v1.0/me/drive/root:/old/a.txt", ada).want(t, "where it was", 404, "itemNotFound")
	f.write("PATCH", at+file.str("id"), ada, `{"parentReference":{"path":"/drive/root:/old"}}`).want(t, "move by path", 200, "")
	if a = f.get("/v1.0/me/drive/root:/old/b.txt", ada).want(t, "where it is", 200, ""); info(a) != "2020-02-03T04:05:06Z" {
		t.Errorf("a move changed the time: %s", a.text)
	}
	session := f.write("POST", "/v1.0/me/drive/root:/c.txt:/createUploadSession", ada, `{"item":{"fileSystemInfo":{"lastModifiedDateTime":"2019-01-02T03:04:05Z"}}}`).want(t, "session", 200, "")
	a = f.send("PUT", session.str("uploadUrl"), "", strings.NewReader("hello"), "Content-Range", "bytes 0-4/5").want(t, "upload", 201, "")
	if info(a) != "2019-01-02T03:04:05Z" {
		t.Errorf("uploaded: %s", a.text)
	}
	for body, code := range map[string]string{
		`{"parentReference":{"id":"` + file.str("id") + `"}}`:             "invalidRequest", // into itself
		`{"parentReference":{"id":"nowhere"}}`:                            "itemNotFound",
		`{"parentReference":{"driveId":"b!other","id":"root"}}`:           "itemNotFound",
		`{"name":"c.txt","parentReference":{"path":"/drive/root:"}}`:      "nameAlreadyExists",
		`{"fileSystemInfo":{"lastModifiedDateTime":"yesterday"}}`:         "invalidRequest",
		`{"fileSystemInfo":{"forgottenDateTime":"2020-02-03T04:05:06Z"}}`: "invalidRequest",
		`{"description":"mine"}`:                                          "invalidRequest",
	} {
		if a := f.write("PATCH", at+file.str("id"), ada, body); a.code() != code {
			t.Errorf("%s: %s", body, a.text)
		}
	}
	f.write("PATCH", at+folder, ada, `{"parentReference":{"id":"`+file.str("id")+`"}}`).want(t, "into a file", 400, "invalidRequest")
}

func TestFilesHaveETags(t *testing.T) {
	f := startStorage(t)
	ada := user(driveScopes)
	put := func(body, match string) answer {
		h := []string{"Content-Type", "text/plain"}
		if match != "" {
			h = append(h, "If-Match", match)
		}
		return f.send("PUT", "/v1.0/me/drive/root:/a.txt:/content", ada, strings.NewReader(body), h...)
	}
	first := put("1", "").str("eTag")
	second := put("2", first).want(t, "the current one", 200, "").str("eTag")
	put("3", first).want(t, "an old one", 412, "resourceModified")
	f.write("PATCH", "/v1.0/me/drive/root:/a.txt", ada, `{"name":"b.txt"}`, "If-Match", first).want(t, "rename an old one", 412, "resourceModified")
	f.do("DELETE", "/v1.0/me/drive/root:/a.txt", ada, "If-Match", first).want(t, "delete an old one", 412, "resourceModified")
	if a := f.get("/v1.0/me/drive/root:/a.txt", ada, "If-None-Match", second); a.status != 304 {
		t.Errorf("unchanged: %d", a.status)
	}
	f.write("PATCH", "/v1.0/me/drive/root:/a.txt", ada, `{"name":"b.txt"}`, "If-Match", second).want(t, "rename", 200, "")
	f.do("DELETE", "/v1.0/me/drive/root:/b.txt", ada).want(t, "delete", 204, "")
	f.do("DELETE", "/v1.0/me/drive/root:/b.txt", ada).want(t, "delete again", 404, "itemNotFound")
}

func TestFoldersAndNames(t *testing.T) {
	f := startStorage(t)
	ada := user(driveScopes)
	f.write("POST", "/v1.0/me/drive/root/children", ada, `{"name":"Box","folder":{}}`).want(t, "folder", 201, "")
	f.write("POST", "/v1.0/me/drive/root/children", ada, `{"name":"box","folder":{}}`).want(t, "the same", 409, "nameAlreadyExists")
	a := f.write("POST", "/v1.0/me/drive/root/children", ada, `{"name":"box","folder":{},"@microsoft.graph.conflictBehavior":"rename"}`).want(t, "renamed", 201, "")
	if a.str("name") != "box 1" {
		t.Errorf("renamed to %s", a.str("name"))
	}
	f.write("POST", "/v1.0/me/drive/root/children", ada, `{"name":"a:b","folder":{}}`).want(t, "a bad name", 400, "invalidRequest")
	f.send("PUT", "/v1.0/me/drive/root:/Box/x.txt:/content", ada, strings.NewReader("x"), "Content-Type", "text/plain").want(t, "inside", 201, "")
	f.do("DELETE", "/v1.0/me/drive/root:/Box", ada).want(t, "delete", 204, "")
	f.get("/v1.0/me/drive/root:/Box/x.txt", ada).want(t, "inside of what is gone", 404, "itemNotFound")
	f.get("/v1.0/users/ben@fob.example/drive/root", ada).want(t, "another's drive", 403, "accessDenied")
	id := f.get("/v1.0/me/drive", ada).str("id")
	f.get("/v1.0/drives/"+id+"/items/root/children", ada).want(t, "by its id", 200, "")
}

// session begins an upload and returns its address.
func (f *face) session(t *testing.T, token, path, body string) string {
	t.Helper()
	a := f.write("POST", "/v1.0/me/drive/root:/"+path+":/createUploadSession", token, body).want(t, "session", 200, "")
	if fmt.Sprint(a.body["nextExpectedRanges"]) != "[0-]" || a.str("expirationDateTime") == "" || !strings.HasPrefix(a.str("uploadUrl"), f.StorageURL()) {
		t.Fatalf("session: %s", a.text)
	}
	return a.str("uploadUrl")
}

func (f *face) fragment(url string, content []byte, from, total int, header ...string) answer {
	f.t.Helper()
	return f.send("PUT", url, "", bytes.NewReader(content), append([]string{"Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, from+len(content)-1, total)}, header...)...)
}

func TestALargeFileGoesUpInFragments(t *testing.T) {
	f := startStorage(t)
	ada := user(driveScopes)
	file := bytes.Repeat([]byte("0123456789"), 2*fragmentUnit/10+7)
	total := len(file)
	url := f.session(t, ada, "big.bin", `{"item":{"@microsoft.graph.conflictBehavior":"rename"}}`)

	f.fragment(url, file[:1000], 0, total).want(t, "not a multiple of 320 KiB", 400, "invalidRequest")
	f.fragment(url, file[fragmentUnit:2*fragmentUnit], fragmentUnit, total).want(t, "out of order", 416, "invalidRange")
	f.send("PUT", url, "", bytes.NewReader(file[:fragmentUnit])).want(t, "no range", 400, "invalidRequest")
	f.send("PUT", url, "", bytes.NewReader(file[:10]), "Content-Range", fmt.Sprintf("bytes 0-%d/%d", fragmentUnit-1, total)).want(t, "too short", 400, "invalidRequest")
	f.fragment(url, file[:fragmentUnit], 0, total, "Authorization", "Bearer x").want(t, "with a token", 401, "unauthenticated")
	a := f.fragment(url, file[:fragmentUnit], 0, total).want(t, "the first", 202, "")
	if fmt.Sprint(a.body["nextExpectedRanges"]) != "[327680-]" {
		t.Errorf("next: %s", a.text)
	}
	f.fragment(url, file[:fragmentUnit], 0, total).want(t, "again", 416, "invalidRange")
	f.fragment(url, file[fragmentUnit:2*fragmentUnit], fragmentUnit, total+1).want(t, "another total", 400, "invalidRequest")
	if a = f.get(url, ""); fmt.Sprint(a.body["nextExpectedRanges"]) != "[327680-]" {
		t.Errorf("asked: %s", a.text)
	}
	f.fragment(url, file[fragmentUnit:2*fragmentUnit], fragmentUnit, total).want(t, "the second", 202, "")
	a = f.fragment(url, file[2*fragmentUnit:], 2*fragmentUnit, total).want(t, "the last", 201, "")
	if a.body["size"] != float64(total) || !strings.HasPrefix(a.header.Get("Location"), f.url+"/v1.0/") {
		t.Errorf("item: %v %s", a.header, a.text)
	}
	f.fragment(url, file[:fragmentUnit], 0, total).want(t, "after the end", 404, "itemNotFound")
	if got := f.get(f.get("/v1.0/me/drive/root:/big.bin:/content", ada).header.Get("Location"), "").text; got != string(file) {
		t.Errorf("what came back has %d bytes, not %d", len(got), total)
	}
}

func TestUploadsConflictExpireAndCanBeCancelled(t *testing.T) {
	f := startStorage(t)
	ada := user(driveScopes)
	file := []byte("small")
	one := f.session(t, ada, "x.txt", `{"item":{"@microsoft.graph.conflictBehavior":"fail"}}`)
	two := f.session(t, ada, "x.txt", `{"item":{"@microsoft.graph.conflictBehavior":"fail"}}`)
	three := f.session(t, ada, "x.txt", `{"item":{"@microsoft.graph.conflictBehavior":"rename"}}`)
	four := f.session(t, ada, "x.txt", ``)
	f.fragment(one, file, 0, 5).want(t, "the first", 201, "")
	f.fragment(two, file, 0, 5).want(t, "fail", 409, "nameAlreadyExists")
	if a := f.fragment(three, file, 0, 5).want(t, "rename", 201, ""); a.str("name") != "x 1.txt" {
		t.Errorf("renamed to %s", a.str("name"))
	}
	f.fragment(four, file, 0, 5).want(t, "replace", 200, "")
	gone := f.session(t, ada, "y.txt", `{}`)
	f.do("DELETE", gone, "").want(t, "cancel", 204, "")
	f.get(gone, "").want(t, "cancelled", 404, "itemNotFound")
	old := f.session(t, ada, "y.txt", `{}`)
	f.World.Advance(2 * time.Hour)
	f.get(old, "").want(t, "expired", 404, "itemNotFound")
	deferred := f.session(t, ada, "z.txt", `{"deferCommit":true}`)
	f.fragment(deferred, file, 0, 5).want(t, "all of it", 202, "")
	f.get("/v1.0/me/drive/root:/z.txt", ada).want(t, "not yet", 404, "itemNotFound")
	f.send("POST", deferred, "", nil).want(t, "commit", 201, "")
	f.write("POST", "/v1.0/me/drive/root:/huge.bin:/createUploadSession", ada, `{"item":{"fileSize":99999999999}}`).want(t, "too large", 507, "quotaLimitReached")
}

// Files.ReadWrite.All is of all files that the user may open, and nobody shares
// theirs. An app opens all.
func TestFilesOfOthersStayClosedToUsers(t *testing.T) {
	f := start(t)
	ben := user("Files.ReadWrite.All User.Read", "oid", directory.BenID)
	ada := user("Files.ReadWrite.All User.Read")
	for _, tok := range []string{ben, ada} {
		for _, path := range []string{"/v1.0/users/cleo@fob.example/drive/root/children", "/v1.0/users/" + directory.CleoID + "/drive"} {
			f.get(path, tok).want(t, path, 403, "accessDenied")
		}
		f.send("PUT", "/v1.0/users/cleo@fob.example/drive/root:/a.txt:/content", tok, strings.NewReader("a"), "Content-Type", "text/plain").want(t, "write", 403, "accessDenied")
		own := f.get("/v1.0/me/drive", tok).want(t, "the own drive", 200, "").str("id")
		f.get("/v1.0/drives/"+own+"/root", tok).want(t, "the own drive by its id", 200, "")
	}
	cleo := f.get("/v1.0/users/cleo@fob.example/drive", app("Files.Read.All")).want(t, "an app", 200, "").str("id")
	f.get("/v1.0/drives/"+cleo+"/root", ben).want(t, "another's drive by its id", 403, "accessDenied")
}

func TestALengthThatIsOnlyClaimedTakesLittleMemory(t *testing.T) {
	f := start(t)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 4 {
		r := httptest.NewRequest("PUT", "/storage/upload/guessed", strings.NewReader("x"))
		r.ContentLength = maxFragment
		w := httptest.NewRecorder()
		f.Storage(w, r)
		if w.Code != 400 || !strings.Contains(w.Body.String(), "broke off") {
			t.Errorf("%d %s", w.Code, w.Body)
		}
	}
	runtime.ReadMemStats(&after)
	if took := after.TotalAlloc - before.TotalAlloc; took > maxFragment {
		t.Errorf("four requests of a byte took %d bytes", took)
	}
}
