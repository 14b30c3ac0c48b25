package graphsim

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"image/jpeg"
	"strings"
	"testing"

	"github.com/fobauth/fob/entratest/internal/directory"
)

const mailScopes = "Mail.Send Mail.ReadWrite User.Read"

func to(address string) string {
	return `"toRecipients":[{"emailAddress":{"address":"` + address + `"}}]`
}

func TestMailThatIsSentArrives(t *testing.T) {
	f := start(t)
	ada, ben := user(mailScopes), user(mailScopes, "oid", directory.BenID)
	// As msgraph-sdk-go writes it.
	a := f.write("POST", "/v1.0/me/sendMail", ada, `{"Message":{"@odata.type":"#microsoft.graph.message","subject":"Hello","body":{"contentType":"Text","content":"How   are you?"},`+to("BEN@fob.example")+`},"SaveToSentItems":true}`)
	if a.want(t, "send", 202, ""); a.header.Get("Content-Length") != "0" || a.text != "" {
		t.Errorf("sent: %v %q", a.header, a.text)
	}
	a = f.get("/v1.0/me/mailFolders/sentitems/messages?$select=subject,isDraft", ada)
	if got := a.values("subject"); fmt.Sprint(got) != "[Hello]" {
		t.Errorf("sent items: %s", a.text)
	}
	a = f.get("/v1.0/me/messages?$filter="+enc("isRead eq false and from/emailAddress/address eq 'ada@fob.example'")+"&$orderby="+enc("receivedDateTime desc")+"&$count=true", ben)
	if fmt.Sprint(a.values("bodyPreview")) != "[How are you?]" || a.body["@odata.count"] != 1.0 {
		t.Fatalf("inbox: %s", a.text)
	}
	item := a.body["value"].([]any)[0].(map[string]any)
	id, etag := item["id"].(string), item["@odata.etag"].(string)
	if a = f.get("/v1.0/me/mailFolders/inbox", ben); a.body["unreadItemCount"] != 1.0 {
		t.Errorf("folder: %s", a.text)
	}
	f.write("PATCH", "/v1.0/me/messages/"+id, ben, `{"isRead":true}`, "If-Match", `W/"other"`).want(t, "another version", 412, "ErrorIrresolvableConflict")
	a = f.write("PATCH", "/v1.0/me/messages/"+id, ben, `{"isRead":true}`, "If-Match", etag).want(t, "read", 200, "")
	if a.str("@odata.etag") == etag {
		t.Error("the version is still the same")
	}
	f.write("PATCH", "/v1.0/me/messages/"+id, ben, `{"isRead":false}`, "If-Match", etag).want(t, "an old version", 412, "ErrorIrresolvableConflict")
	if a = f.get("/v1.0/me/messages/"+id+"/$value", ben); !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") || !strings.Contains(a.text, "Subject: Hello\r\n") {
		t.Errorf("MIME: %s", a.text)
	}
	if a = f.get("/v1.0/me/messages?$search="+enc(`"hello"`), ben); len(a.values("id")) != 1 {
		t.Errorf("search: %s", a.text)
	}
	f.do("DELETE", "/v1.0/me/messages/"+id, ben).want(t, "delete", 204, "")
	if a = f.get("/v1.0/me/mailFolders/deleteditems/messages", ben); len(a.values("id")) != 1 {
		t.Errorf("deleted items: %s", a.text)
	}
	f.do("DELETE", "/v1.0/me/messages/"+id, ben).want(t, "delete for good", 204, "")
	f.get("/v1.0/me/messages/"+id, ben).want(t, "gone", 404, "ErrorItemNotFound")
}

func TestMailIsNotForEverybody(t *testing.T) {
	f := start(t)
	f.get("/v1.0/users/ben@fob.example/messages", user(mailScopes)).want(t, "another's mail", 403, "ErrorAccessDenied")
	f.get("/v1.0/users/ben@fob.example/messages", app("Mail.Read")).want(t, "an app", 200, "")
	f.get("/v1.0/me/messages", user("User.Read")).want(t, "without permission", 403, "ErrorAccessDenied")
	f.write("POST", "/v1.0/me/sendMail", user("Mail.Read"), `{"message":{`+to("ben@fob.example")+`}}`).want(t, "send without permission", 403, "ErrorAccessDenied")
	f.World.PutUser(&directory.User{ID: "f0b00000-1001-4000-8000-0000000000aa", Tenant: directory.TenantID, UPN: "robot@fob.example"})
	f.get("/v1.0/users/robot@fob.example/messages", app("Mail.Read")).want(t, "no mailbox", 404, "MailboxNotEnabledForRESTAPI")
	f.write("POST", "/v1.0/me/sendMail", user(mailScopes), `{"message":{"subject":"x"}}`).want(t, "to nobody", 400, "ErrorInvalidRecipients")
	f.write("POST", "/v1.0/me/sendMail", user(mailScopes), `{"message":{`+to("not an address")+`}}`).want(t, "to no address", 400, "ErrorInvalidRecipients")
	f.write("POST", "/v1.0/me/sendMail", user(mailScopes), `{"massage":{}}`).want(t, "a misspelt parameter", 400, "BadRequest")
	a := f.write("POST", "/v1.0/me/sendMail", user(mailScopes), `{"message":{"subjekt":"x"}}`).want(t, "a misspelt property", 400, "RequestBodyRead")
	if a.message() != "The property 'subjekt' does not exist on type 'microsoft.graph.message'. Make sure to only use property names that are defined by the type or mark the type as open type." {
		t.Errorf("a misspelt property: %s", a.message())
	}
	f.write("POST", "/v1.0/me/messages", user(mailScopes), `{"importance":"HIGH"}`).want(t, "a member in another case", 201, "")
	f.write("POST", "/v1.0/me/messages", user(mailScopes), `{"importance":"urgent"}`).want(t, "no member", 400, "Request_BadRequest")
	f.write("POST", "/v1.0/me/messages", user(mailScopes), `{"body":{"kind":"Text","content":"x"}}`).want(t, "a misspelt property of a part", 400, "RequestBodyRead")
}

func TestBasicPermissionHidesTheBody(t *testing.T) {
	f := start(t)
	f.write("POST", "/v1.0/me/sendMail", user(mailScopes), `{"message":{"subject":"S","body":{"contentType":"text","content":"secret"},`+to("ada@fob.example")+`}}`)
	if a := f.get("/v1.0/me/messages", user("Mail.ReadBasic")); a.status != 200 || strings.Contains(a.text, "secret") || !strings.Contains(a.text, `"subject":"S"`) {
		t.Errorf("got %s", a.text)
	}
}

func TestMailPagesAreTenAndCanBeSkipped(t *testing.T) {
	f := start(t)
	ada := user(mailScopes)
	for i := range 12 {
		f.write("POST", "/v1.0/me/messages", ada, fmt.Sprintf(`{"subject":"%02d"}`, i)).want(t, "draft", 201, "")
	}
	if got := f.every("/v1.0/me/messages?$select=subject", ada, "subject"); len(got) != 12 || got[0] != "11" {
		t.Errorf("all: %v", got)
	}
	if a := f.get("/v1.0/me/messages", ada); len(a.values("id")) != 10 {
		t.Errorf("a page has %d", len(a.values("id")))
	}
	if a := f.get("/v1.0/me/messages?$skip=11", ada); fmt.Sprint(a.values("subject")) != "[00]" {
		t.Errorf("skipped: %s", a.text)
	}
	a := f.get("/v1.0/me/messages", ada, "Prefer", `IdType="ImmutableId", odata.maxpagesize=3`)
	if len(a.values("id")) != 3 || a.header.Get("Preference-Applied") != `IdType="ImmutableId", odata.maxpagesize=3` {
		t.Errorf("preferred: %v", a.header)
	}
}

func TestTheBodyComesInTheFormThatIsPreferred(t *testing.T) {
	f := start(t)
	ada := user(mailScopes)
	id := f.write("POST", "/v1.0/me/messages", ada, `{"body":{"contentType":"html","content":"<style>p{}</style><p>One &amp; <b>two</b></p>three"}}`).str("id")
	for path, at := range map[string]func(answer) any{
		"/v1.0/me/messages/" + id: func(a answer) any { return a.body["body"] },
		"/v1.0/me/messages":       func(a answer) any { return inside(list(a.body["value"])[0], "body") },
	} {
		a := f.get(path, ada, "Prefer", `IdType="ImmutableId"`, "Prefer", `outlook.body-content-type="text"`)
		if got := at(a); inside(got, "contentType") != "text" || inside(got, "content") != "One & two\r\nthree" || !strings.Contains(a.header.Get("Preference-Applied"), `outlook.body-content-type="text"`) {
			t.Errorf("%s: %s %v", path, a.text, a.header)
		}
		if got := at(f.get(path, ada)); inside(got, "contentType") != "html" {
			t.Errorf("%s: it stays %v", path, got)
		}
	}
	id = f.write("POST", "/v1.0/me/messages", ada, `{"body":{"contentType":"text","content":"1 < 2"}}`).str("id")
	if a := f.get("/v1.0/me/messages/"+id, ada, "Prefer", `outlook.body-content-type="html"`); inside(a.body["body"], "content") != "<html><body>1 &lt; 2</body></html>" {
		t.Errorf("as HTML: %s", a.text)
	}
}

func TestDeltaIsNobodysID(t *testing.T) {
	f := start(t)
	f.get("/v1.0/me/mailFolders/inbox/messages/delta()", user(mailScopes)).want(t, "mail", 200, "")
	f.get("/v1.0/applications/delta()", app("Application.Read.All")).want(t, "apps", 501, "NotImplemented")
	f.get("/v1.0/users/delta", app("User.Read.All")).want(t, "users", 200, "")
}

func TestADraftIsSentOnce(t *testing.T) {
	f := start(t)
	ada := user(mailScopes)
	a := f.write("POST", "/v1.0/me/messages", ada, `{"subject":"D",`+to("ben@fob.example")+`}`)
	id := a.str("id")
	a = f.do("POST", "/v1.0/me/messages/"+id+"/send", ada).want(t, "send", 202, "")
	f.do("POST", "/v1.0/me/messages/"+id+"/send", ada).want(t, "send again", 404, "ErrorItemNotFound")
	if a = f.get("/v1.0/users/ben@fob.example/mailFolders/inbox/messages", app("Mail.Read")); fmt.Sprint(a.values("subject")) != "[D]" {
		t.Errorf("arrived: %s", a.text)
	}
}

func TestMIMEIsSent(t *testing.T) {
	f := start(t)
	raw := "From: ada@fob.example\r\nTo: ben@fob.example\r\nSubject: =?utf-8?q?Gr=C3=BCezi?=\r\n\r\nSalü"
	a := f.send("POST", "/v1.0/me/sendMail", user(mailScopes), strings.NewReader(base64.StdEncoding.EncodeToString([]byte(raw))), "Content-Type", "text/plain")
	a.want(t, "send", 202, "")
	if a = f.get("/v1.0/users/ben@fob.example/messages", app("Mail.Read")); fmt.Sprint(a.values("subject")) != "[Grüezi]" {
		t.Errorf("arrived: %s", a.text)
	}
}

func TestPhotosArePictures(t *testing.T) {
	f := start(t)
	ada := user("User.Read User.ReadWrite ProfilePhoto.ReadWrite.All")
	a := f.get("/v1.0/me/photos/48x48/$value", ada).want(t, "value", 200, "")
	img, err := jpeg.DecodeConfig(strings.NewReader(a.text))
	if err != nil || img.Width != 48 || a.header.Get("Content-Type") != "image/jpeg" {
		t.Errorf("%v %v %v", img, err, a.header)
	}
	if a = f.get("/v1.0/me/photo", ada); a.str("id") != "240X240" || a.str("@odata.mediaContentType") != "image/jpeg" {
		t.Errorf("photo: %s", a.text)
	}
	f.get("/v1.0/me/photos/47x47/$value", ada).want(t, "no such size", 400, "ErrorInvalidImageId")
	f.get("/v1.0/users/ben@fob.example/photo/$value", app("User.Read.All")).want(t, "none", 404, "ImageNotFound")
	picture := draw("x", 64)
	f.send("PUT", "/v1.0/users/ben@fob.example/photo/$value", ada, bytes.NewReader(picture), "Content-Type", "image/jpeg").want(t, "set", 200, "")
	if a = f.get("/v1.0/users/ben@fob.example/photo/$value", app("User.Read.All")); a.text != string(picture) {
		t.Errorf("got another picture, of %d bytes", len(a.text))
	}
	f.send("PUT", "/v1.0/me/photo/$value", ada, strings.NewReader("no picture"), "Content-Type", "image/jpeg").want(t, "no picture", 400, "ErrorInvalidImage")
}

func TestMailForAGuestArrivesAtHome(t *testing.T) {
	f := start(t)
	const home, here = "f0b00000-2001-4000-8000-000000000001", "f0b00000-1001-4000-8000-0000000000ee"
	f.World.PutUser(&directory.User{ID: home, Tenant: directory.OtherTenantID, UPN: "zed@other.example", Mail: "zed@other.example"})
	f.World.PutUser(&directory.User{ID: here, Tenant: directory.TenantID, UPN: "zed_other.example#EXT#@fob.example", Mail: "zed@other.example", Guest: true, Home: home})
	f.write("POST", "/v1.0/me/sendMail", user(mailScopes), `{"message":{"subject":"x","toRecipients":[{"emailAddress":{"address":"zed@other.example"}}]}}`).want(t, "sent", 202, "")
	f.mail.mu.Lock()
	defer f.mail.mu.Unlock()
	if there, away := len(f.mail.box(home).messages), len(f.mail.box(here).messages); there != 1 || away != 0 {
		t.Errorf("%d at home, %d with the guest", there, away)
	}
}
