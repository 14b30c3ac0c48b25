package graphsim

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// unzip returns what a compressed answer says.
func (a answer) unzip(t *testing.T) string {
	t.Helper()
	if a.header.Get("Content-Encoding") != "gzip" || a.header.Get("Content-Length") != "" && len(a.text) == 0 {
		t.Fatalf("not compressed: %v %.100s", a.header, a.text)
	}
	z, err := gzip.NewReader(strings.NewReader(a.text))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestAnswersAreCompressedForWhoeverAsksForIt(t *testing.T) {
	f := startCrowd(t, 2000)
	tok := app("User.Read.All", "Group.Read.All", "Directory.Read.All")
	for _, path := range []string{"/v1.0/users?$top=999", "/v1.0/groups", "/v1.0/users/ada@fob.example?$select=id", "/v1.0/nothing", "/v1.0/users/nobody@fob.example"} {
		stable := func(s string) string { // but for the ids of two requests
			before, _, _ := strings.Cut(s, `,"innerError"`)
			before, after, found := strings.Cut(before, "$skiptoken=")
			if found {
				before += after[strings.Index(after, `"`):]
			}
			return before
		}
		plain := f.get(path, tok, "Accept-Encoding", "identity")
		if plain.header.Get("Content-Encoding") != "" || plain.header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s, plain: %v", path, plain.header)
		}
		zipped := f.get(path, tok, "Accept-Encoding", "br, gzip;q=0.8")
		if zipped.status != plain.status || stable(zipped.unzip(t)) != stable(plain.text) || zipped.header.Get("Vary") != "Accept-Encoding" {
			t.Errorf("%s, compressed: %d %v", path, zipped.status, zipped.header)
		}
		if path == "/v1.0/users?$top=999" && len(zipped.text)*4 > len(plain.text) {
			t.Errorf("%d bytes compressed are %d", len(plain.text), len(zipped.text))
		}
	}
	for _, encoding := range []string{"br", "gzip;q=0", "gzip; q=0.0, br", "identity"} {
		if a := f.get("/v1.0/groups", tok, "Accept-Encoding", encoding); a.header.Get("Content-Encoding") != "" {
			t.Errorf("%s: compressed", encoding)
		}
	}
	f.get("/v1.0/groups", tok, "Accept-Encoding", "*").unzip(t)
}

func TestWhatDoesNotShrinkIsNotCompressed(t *testing.T) {
	f := start(t)
	ada := user(mailScopes + " User.ReadWrite Files.ReadWrite")
	if a := f.get("/v1.0/me/photo/$value", ada, "Accept-Encoding", "gzip"); a.header.Get("Content-Encoding") != "" || a.header.Get("Content-Type") != "image/jpeg" {
		t.Errorf("a photo: %v", a.header)
	}
	if a := f.write("PATCH", "/v1.0/me", ada, `{"city":"Bern"}`, "Accept-Encoding", "gzip").want(t, "no content", 204, ""); a.header.Get("Content-Encoding") != "" {
		t.Errorf("no content: %v", a.header)
	}
	a := f.write("POST", "/v1.0/me/sendMail", ada, `{"message":{`+to("ben@fob.example")+`}}`, "Accept-Encoding", "gzip").want(t, "sent", 202, "")
	if a.header.Get("Content-Encoding") != "" || a.header.Get("Content-Length") != "0" {
		t.Errorf("sent: %v", a.header)
	}
	f.send("PUT", "/v1.0/me/drive/root:/a.txt:/content", ada, strings.NewReader("0123456789"), "Content-Type", "text/plain").want(t, "a file", 201, "")
	f.hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	a = f.get("/v1.0/me/drive/root:/a.txt:/content", ada, "Accept-Encoding", "gzip")
	if a.status != 302 || a.header.Get("Content-Encoding") != "" {
		t.Errorf("to the file: %d %v", a.status, a.header)
	}
	w := httptest.NewRecorder()
	r := httptest.NewRequest("GET", a.header.Get("Location"), nil)
	r.Header.Set("Accept-Encoding", "gzip")
	r.Header.Set("Range", "bytes=2-4")
	if f.Storage(w, r); w.Code != 206 || w.Body.String() != "234" || w.Header().Get("Content-Encoding") != "" {
		t.Errorf("a part of the file: %d %q %v", w.Code, w.Body, w.Header())
	}
}

func TestABatchIsCompressedAsAWhole(t *testing.T) {
	f := start(t)
	a := f.write("POST", "/v1.0/$batch", app("Group.Read.All"), `{"requests":[{"id":"1","method":"GET","url":"/groups?$select=id","headers":{"Accept-Encoding":"gzip"}}]}`, "Accept-Encoding", "gzip")
	text := a.unzip(t)
	if !strings.Contains(text, `"body":{"@odata.context"`) || strings.Contains(text, "Encoding") {
		t.Errorf("got %s", text)
	}
}

func TestACompressedPageAllocatesLittleMore(t *testing.T) {
	f := startCrowd(t, 2000)
	measure := func(encoding string) float64 {
		r := httptest.NewRequest("GET", f.url+"/v1.0/users?$top=999", nil)
		r.Header.Set("Authorization", "Bearer "+app("User.Read.All"))
		r.Header.Set("Accept-Encoding", encoding)
		return testing.AllocsPerRun(50, func() { f.ServeHTTP(&nowhere{header: http.Header{}}, r) })
	}
	if plain, zipped := measure("identity"), measure("gzip"); zipped > plain+20 {
		t.Errorf("%v allocations, and %v compressed", plain, zipped)
	}
}
