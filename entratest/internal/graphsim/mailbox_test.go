package graphsim

import (
	"encoding/base64"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"strings"
	"testing"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// sent sends a message from ada to ben, cc cleo, and returns its id in ben's
// inbox.
func (f *face) sent(subject, content, more string) string {
	f.t.Helper()
	body := `{"message":{"subject":"` + subject + `","body":{"contentType":"text","content":"` + content + `"},` + to("ben@fob.example") +
		`,"ccRecipients":[{"emailAddress":{"address":"cleo@fob.example","name":"Cleo"}}]` + more + `}}`
	f.write("POST", "/v1.0/me/sendMail", user(mailScopes), body).want(f.t, "send", 202, "")
	return f.get("/v1.0/users/ben@fob.example/mailFolders/inbox/messages?$top=1", app("Mail.Read")).values("id")[0]
}

const file = `{"@odata.type":"#microsoft.graph.fileAttachment","name":"notes.txt","contentType":"text/plain","contentBytes":"aGVsbG8="}`

func subjectsIn(f *face, who, folder string) string {
	f.t.Helper()
	return fmt.Sprint(f.get("/v1.0/users/"+who+"@fob.example/mailFolders/"+folder+"/messages?$select=subject", app("Mail.Read")).values("subject"))
}

func TestAMessageIsMovedAndCopied(t *testing.T) {
	f := start(t)
	ben := user(mailScopes, "oid", directory.BenID)
	id := f.sent("S", "x", "")
	done := f.write("POST", "/v1.0/me/mailFolders", ben, `{"displayName":"Done"}`).want(t, "create a folder", 201, "")
	if done.header.Get("Location") != f.url+"/v1.0/users/"+directory.BenID+"/mailFolders/"+done.str("id") {
		t.Errorf("made at %s", done.header.Get("Location"))
	}
	moved := f.write("POST", "/v1.0/me/messages/"+id+"/move", ben, `{"DestinationId":"`+done.str("id")+`"}`).want(t, "move", 201, "")
	if moved.str("id") == id || moved.str("parentFolderId") != done.str("id") || moved.str("subject") != "S" || moved.header.Get("ETag") != moved.str("@odata.etag") {
		t.Errorf("moved: %s", moved.text)
	}
	f.get("/v1.0/me/messages/"+id, ben).want(t, "the old id", 404, "ErrorItemNotFound")
	if got := subjectsIn(f, "ben", "inbox") + subjectsIn(f, "ben", done.str("id")); got != "[][S]" {
		t.Errorf("after the move: %s", got)
	}
	same := f.write("POST", "/v1.0/me/messages/"+moved.str("id")+"/move", ben, `{"destinationId":"archive"}`, "Prefer", `IdType="ImmutableId"`).want(t, "move with the same id", 201, "")
	if same.str("id") != moved.str("id") || same.header.Get("Preference-Applied") != `IdType="ImmutableId"` {
		t.Errorf("moved: %s %v", same.text, same.header)
	}
	copied := f.write("POST", "/v1.0/me/mailFolders/archive/messages/"+same.str("id")+"/copy", ben, `{"destinationId":"inbox"}`).want(t, "copy", 201, "")
	if copied.str("id") == same.str("id") || subjectsIn(f, "ben", "inbox")+subjectsIn(f, "ben", "archive") != "[S][S]" {
		t.Errorf("copied: %s", copied.text)
	}
	if a := f.get("/v1.0/me/mailFolders/archive/messages/$count", ben); a.text != "1" {
		t.Errorf("count: %s", a.text)
	}
	f.get("/v1.0/me/mailFolders/inbox/messages/"+same.str("id"), ben).want(t, "in another folder", 404, "ErrorItemNotFound")
	f.write("POST", "/v1.0/me/messages/"+same.str("id")+"/move", ben, `{"destinationId":"nowhere"}`).want(t, "move to nowhere", 404, "ErrorItemNotFound")
	f.write("POST", "/v1.0/me/messages/"+same.str("id")+"/move", ben, `{}`).want(t, "move without a folder", 400, "ErrorInvalidRequest")
	f.write("POST", "/v1.0/me/messages/"+same.str("id")+"/move", ben, `{"destination":"inbox"}`).want(t, "move with another parameter", 400, "BadRequest")
	f.write("POST", "/v1.0/me/messages/"+same.str("id")+"/move", user("Mail.Read", "oid", directory.BenID), `{"destinationId":"inbox"}`).want(t, "move without permission", 403, "ErrorAccessDenied")
	f.write("POST", "/v1.0/me/messages/"+same.str("id")+"/move", ben, `{"destinationId":"inbox"}`, "If-Match", `W/"x"`).want(t, "move another version", 412, "ErrorIrresolvableConflict")
}

func TestMailFoldersAreMadeRenamedAndDeleted(t *testing.T) {
	f := start(t)
	ada := user(mailScopes)
	if a := f.get("/v1.0/me/mailFolders", ada); fmt.Sprint(a.values("displayName")) != "[Archive Deleted Items Drafts Inbox Junk Email Outbox Sent Items]" {
		t.Errorf("folders: %s", a.text)
	}
	id := f.write("POST", "/v1.0/me/mailFolders", ada, `{"displayName":"Projects"}`).want(t, "create", 201, "").str("id")
	inner := f.write("POST", "/v1.0/me/mailFolders/"+id+"/childFolders", ada, `{"displayName":"One"}`).want(t, "create inside", 201, "")
	f.write("POST", "/v1.0/me/mailFolders", ada, `{"displayName":"projects"}`).want(t, "create again", 409, "ErrorFolderExists")
	f.write("POST", "/v1.0/me/mailFolders", ada, `{"displayName":" "}`).want(t, "create without a name", 400, "ErrorInvalidRequest")
	f.write("POST", "/v1.0/me/mailFolders", ada, `{"displayName":"x","colour":"red"}`).want(t, "an unknown property", 400, "RequestBodyRead")
	f.write("POST", "/v1.0/me/mailFolders", user("Mail.Read"), `{"displayName":"x"}`).want(t, "without permission", 403, "ErrorAccessDenied")
	if a := f.get("/v1.0/me/mailFolders/"+id, ada); a.body["childFolderCount"] != 1.0 || inner.str("parentFolderId") != id {
		t.Errorf("folder: %s", a.text)
	}
	if a := f.get("/v1.0/me/mailFolders/msgfolderroot/childFolders?$filter="+enc("displayName eq 'Projects'"), ada); len(a.values("id")) != 1 {
		t.Errorf("below the root: %s", a.text)
	}
	if a := f.write("PATCH", "/v1.0/me/mailFolders/"+id, ada, `{"displayName":"Work"}`).want(t, "rename", 200, ""); a.str("displayName") != "Work" {
		t.Errorf("renamed: %s", a.text)
	}
	f.write("PATCH", "/v1.0/me/mailFolders/"+id, ada, `{"displayName":"Inbox"}`).want(t, "rename to another's name", 409, "ErrorFolderExists")
	f.write("PATCH", "/v1.0/me/mailFolders/inbox", ada, `{"displayName":"In"}`).want(t, "rename the inbox", 400, "ErrorDeleteDistinguishedFolder")
	f.do("DELETE", "/v1.0/me/mailFolders/inbox", ada).want(t, "delete the inbox", 400, "ErrorDeleteDistinguishedFolder")
	f.write("POST", "/v1.0/me/mailFolders/"+inner.str("id")+"/messages", ada, `{"subject":"inside"}`).want(t, "a draft in a folder", 201, "")
	f.do("DELETE", "/v1.0/me/mailFolders/"+id, ada).want(t, "delete", 204, "")
	if a := f.get("/v1.0/me/mailFolders/deleteditems/childFolders", ada); fmt.Sprint(a.values("displayName")) != "[Work]" {
		t.Errorf("deleted: %s", a.text)
	}
	if got := subjectsIn(f, "ada", inner.str("id")); got != "[inside]" {
		t.Errorf("in the deleted folder: %s", got)
	}
	f.do("DELETE", "/v1.0/me/mailFolders/"+id, ada).want(t, "delete for good", 204, "")
	f.get("/v1.0/me/mailFolders/"+inner.str("id"), ada).want(t, "what was inside", 404, "ErrorItemNotFound")
	if a := f.get("/v1.0/me/messages", ada); len(a.values("id")) != 0 {
		t.Errorf("the messages are still there: %s", a.text)
	}
	f.write("POST", "/v1.0/me/mailFolders/inbox/move", ada, `{"destinationId":"archive"}`).want(t, "move a folder", 501, "NotImplemented")
}

func TestAnswersGoToWhoeverTheyAreFor(t *testing.T) {
	f := start(t)
	ben := user(mailScopes, "oid", directory.BenID)
	id := f.sent("Plan", "What <about> it?", `,"attachments":[`+file+`]`)
	at := "/v1.0/me/messages/" + id

	f.write("POST", at+"/reply", ben, `{"Comment":"Fine."}`).want(t, "reply", 202, "")
	got := f.get("/v1.0/users/ada@fob.example/mailFolders/inbox/messages", app("Mail.Read")).body["value"].([]any)[0].(map[string]any)
	content := fmt.Sprint(inside(got["body"], "content"))
	if got["subject"] != "RE: Plan" || !strings.HasPrefix(content, "Fine.\r\n") || !strings.Contains(content, "From: Ada Quill <ada@fob.example>") || !strings.HasSuffix(content, "What <about> it?") || got["hasAttachments"] != false {
		t.Errorf("the reply: %v", got)
	}
	original := f.get(at, ben)
	if got["conversationId"] != original.str("conversationId") || subjectsIn(f, "cleo", "inbox") != "[Plan]" {
		t.Errorf("conversation %v; cleo has %s", got["conversationId"], subjectsIn(f, "cleo", "inbox"))
	}

	f.write("POST", at+"/replyAll", ben, `{"message":{"body":{"contentType":"html","content":"<b>Yes</b>"}}}`).want(t, "reply to all", 202, "")
	got = f.get("/v1.0/users/cleo@fob.example/mailFolders/inbox/messages", app("Mail.Read")).body["value"].([]any)[0].(map[string]any)
	content = fmt.Sprint(inside(got["body"], "content"))
	if got["subject"] != "RE: Plan" || !strings.HasPrefix(content, "<b>Yes</b><hr>From: Ada Quill &lt;ada@fob.example&gt;") || !strings.HasSuffix(content, "What &lt;about&gt; it?") ||
		len(list(got["toRecipients"])) != 1 || addressOf(list(got["ccRecipients"])[0]) != "cleo@fob.example" {
		t.Errorf("the reply to all: %v", got)
	}

	f.write("POST", at+"/forward", ben, `{"comment":"Look","toRecipients":[{"emailAddress":{"address":"cleo@fob.example"}}]}`).want(t, "forward", 202, "")
	a := f.get("/v1.0/users/cleo@fob.example/mailFolders/inbox/messages?$top=1&$expand=attachments($select=name)", app("Mail.Read"))
	if fmt.Sprint(a.values("subject")) != "[FW: Plan]" || !strings.Contains(a.text, `"hasAttachments":true`) || !strings.Contains(a.text, `"attachments":[{"@odata.type":"#microsoft.graph.fileAttachment","name":"notes.txt"}]`) {
		t.Errorf("forwarded: %s", a.text)
	}
	if got := subjectsIn(f, "ben", "sentitems"); got != "[FW: Plan RE: Plan RE: Plan]" {
		t.Errorf("sent items: %s", got)
	}
	f.write("POST", at+"/forward", ben, `{"comment":"Look"}`).want(t, "forward to nobody", 400, "ErrorInvalidRecipients")
	f.write("POST", at+"/forward", ben, `{`+to("cleo@fob.example")+`,"message":{`+to("cleo@fob.example")+`}}`).want(t, "forward to two lists", 400, "ErrorInvalidRequest")
	f.write("POST", at+"/reply", ben, `{`+to("cleo@fob.example")+`}`).want(t, "a parameter of forward", 400, "BadRequest")
	f.write("POST", at+"/reply", ben, `{"comment":"x","message":{"body":{"contentType":"text","content":"y"}}}`).want(t, "a comment and a body", 400, "ErrorInvalidRequest")
	f.write("POST", at+"/reply", user("Mail.ReadWrite", "oid", directory.BenID), `{}`).want(t, "without permission", 403, "ErrorAccessDenied")
	f.write("POST", "/v1.0/me/messages/AAMkx/reply", ben, `{}`).want(t, "no such message", 404, "ErrorItemNotFound")
}

func TestAnAnswerIsDraftedThenSent(t *testing.T) {
	f := start(t)
	ben := user(mailScopes, "oid", directory.BenID)
	at := "/v1.0/me/messages/" + f.sent("RE: Plan", "x", "")
	draft := f.do("POST", at+"/createReplyAll", ben).want(t, "draft", 201, "")
	if draft.str("subject") != "RE: Plan" || draft.body["isDraft"] != true || addressOf(list(draft.body["toRecipients"])[0]) != "ada@fob.example" || addressOf(list(draft.body["ccRecipients"])[0]) != "cleo@fob.example" {
		t.Errorf("draft: %s", draft.text)
	}
	if subjectsIn(f, "ben", "drafts") != "[RE: Plan]" {
		t.Error("the draft is not among the drafts")
	}
	f.write("PATCH", "/v1.0/me/messages/"+draft.str("id"), ben, `{"subject":"RE: Plan B"}`).want(t, "change", 200, "")
	f.do("POST", "/v1.0/me/messages/"+draft.str("id")+"/send", ben).want(t, "send", 202, "")
	if got := subjectsIn(f, "ada", "inbox") + subjectsIn(f, "ben", "drafts"); got != "[RE: Plan B][]" {
		t.Errorf("sent: %s", got)
	}
	if a := f.do("POST", at+"/createForward", ben).want(t, "forward later", 201, ""); a.str("subject") != "FW: Plan" || len(list(a.body["toRecipients"])) != 0 {
		t.Errorf("forward: %s", a.text)
	}
	f.do("POST", at+"/createReply", ben).want(t, "reply later", 201, "")
	f.do("POST", at+"/createReply", user("Mail.Send", "oid", directory.BenID)).want(t, "without permission", 403, "ErrorAccessDenied")
}

func TestAttachmentsAreKeptWithTheirMessage(t *testing.T) {
	f := start(t)
	ada := user(mailScopes)
	draft := f.write("POST", "/v1.0/me/messages", ada, `{"subject":"A",`+to("ben@fob.example")+`}`).want(t, "draft", 201, "")
	at := "/v1.0/me/messages/" + draft.str("id")
	made := f.write("POST", at+"/attachments", ada, file).want(t, "attach", 201, "")
	if made.str("@odata.type") != "#microsoft.graph.fileAttachment" || made.body["size"] != 5.0 || made.str("contentBytes") != "aGVsbG8=" ||
		made.header.Get("Location") != f.url+"/v1.0/users/"+directory.AdaID+"/messages/"+draft.str("id")+"/attachments/"+made.str("id") {
		t.Errorf("attached: %s %v", made.text, made.header)
	}
	f.write("POST", at+"/attachments", ada, strings.Replace(file, `"name":"notes.txt"`, `"name":"dot.png","isInline":true,"contentId":"dot"`, 1)).want(t, "attach inline", 201, "")
	if a := f.get(at+"/attachments?$select=name,isInline", ada); fmt.Sprint(a.values("name")) != "[notes.txt dot.png]" || strings.Contains(a.text, "contentBytes") {
		t.Errorf("list: %s", a.text)
	}
	a := f.get(at+"/attachments/"+made.str("id")+"/$value", ada).want(t, "value", 200, "")
	if a.text != "hello" || a.header.Get("Content-Type") != "text/plain" {
		t.Errorf("value: %q %v", a.text, a.header)
	}
	if a := f.get(at, ada); a.body["hasAttachments"] != true {
		t.Errorf("message: %s", a.text)
	}
	f.do("POST", at+"/send", ada).want(t, "send", 202, "")
	arrived := f.get("/v1.0/users/ben@fob.example/messages", app("Mail.Read")).values("id")[0]
	at = "/v1.0/users/ben@fob.example/messages/" + arrived
	if a := f.get(at+"/attachments", app("Mail.Read")); fmt.Sprint(a.values("name")) != "[notes.txt dot.png]" {
		t.Errorf("arrived: %s", a.text)
	}

	a = f.get(at+"/$value", app("Mail.Read"))
	parsed, err := mail.ReadMessage(strings.NewReader(a.text))
	if err != nil {
		t.Fatal(err)
	}
	_, parameters, _ := mime.ParseMediaType(parsed.Header.Get("Content-Type"))
	parts := multipart.NewReader(parsed.Body, parameters["boundary"])
	var names []string
	for part, err := parts.NextPart(); err == nil; part, err = parts.NextPart() {
		names = append(names, part.FileName())
		if encoded, _ := io.ReadAll(part); part.FileName() != "" && string(encoded) != base64.StdEncoding.EncodeToString([]byte("hello")) {
			t.Errorf("the part %s has %q", part.FileName(), encoded)
		}
	}
	if fmt.Sprint(names) != "[ notes.txt dot.png]" {
		t.Errorf("the parts are %v in %s", names, a.text)
	}

	mine := f.write("POST", "/v1.0/me/sendMail", ada, `{"message":{"subject":"B",`+to("ada@fob.example")+`,"attachments":[`+file+`]}}`)
	mine.want(t, "send with an attachment", 202, "")
	box := f.get("/v1.0/me/mailFolders/inbox/messages?$expand=attachments", ada).body["value"].([]any)[0].(map[string]any)
	one := list(box["attachments"])[0].(map[string]any)
	at = "/v1.0/me/messages/" + box["id"].(string) + "/attachments/"
	f.do("DELETE", at+one["id"].(string), user("Mail.Read")).want(t, "delete without permission", 403, "ErrorAccessDenied")
	f.do("DELETE", at+one["id"].(string), ada).want(t, "delete", 204, "")
	f.get(at+one["id"].(string), ada).want(t, "deleted", 404, "ErrorItemNotFound")
	f.get(at, user("Mail.ReadBasic")).want(t, "without permission", 403, "ErrorAccessDenied")
	f.get("/v1.0/me/messages?$expand=attachments", user("Mail.ReadBasic")).want(t, "expanded without permission", 403, "ErrorAccessDenied")

	for what, c := range map[string]struct {
		body   string
		status int
		code   string
	}{
		"of no type":           {`{"name":"x","contentBytes":""}`, 400, "UnableToDeserializePostBody"},
		"of another type":      {`{"@odata.type":"#microsoft.graph.attachment","name":"x"}`, 400, "UnableToDeserializePostBody"},
		"without a name":       {strings.Replace(file, `"name":"notes.txt",`, "", 1), 400, "ErrorInvalidRequest"},
		"without content":      {strings.Replace(file, `,"contentBytes":"aGVsbG8="`, "", 1), 400, "RequestBodyRead"},
		"that is not base64":   {strings.Replace(file, `aGVsbG8=`, "hello", 1), 400, "RequestBodyRead"},
		"with something else":  {strings.Replace(file, `"name"`, `"nme"`, 1), 400, "RequestBodyRead"},
		"that is too large":    {strings.Replace(file, `aGVsbG8=`, strings.Repeat("AAAA", 1<<20+1), 1), 413, "BadRequest"},
		"that is a bit larger": {strings.Replace(file, `aGVsbG8=`, strings.Repeat("AAAA", 1<<20-200), 1), 201, ""},
	} {
		f.write("POST", at, ada, c.body).want(t, "an attachment "+what, c.status, c.code)
	}
}

func TestLargeAttachmentsComeInFragments(t *testing.T) {
	f := startStorage(t)
	ada := user(mailScopes)
	at := "/v1.0/me/messages/" + f.write("POST", "/v1.0/me/messages", ada, `{"subject":"A"}`).str("id") + "/attachments"
	session := func(size int) string {
		return fmt.Sprintf(`{"AttachmentItem":{"attachmentType":"file","name":"big.bin","size":%d}}`, size)
	}
	const size = 4 << 20
	made := f.write("POST", at+"/createUploadSession", ada, session(size)).want(t, "begin", 201, "")
	if fmt.Sprint(made.body["nextExpectedRanges"]) != "[0-]" || made.str("expirationDateTime") == "" {
		t.Errorf("session: %s", made.text)
	}
	put := func(token string, from, to int) answer {
		return f.send("PUT", made.str("uploadUrl"), token, strings.NewReader(strings.Repeat("x", to-from)), "Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, to-1, size))
	}
	put(ada, 0, 10).want(t, "with a token", 401, "unauthenticated")
	if a := put("", 0, 1<<20).want(t, "the first", 200, ""); fmt.Sprint(a.body["NextExpectedRanges"]) != "[1048576]" || a.body["ExpirationDateTime"] == nil {
		t.Errorf("after the first: %s", a.text)
	}
	put("", 2<<20, 3<<20).want(t, "not the next", 416, "invalidRange")
	if a := f.get(at, ada); len(a.values("name")) != 0 {
		t.Errorf("half of it is there: %s", a.text)
	}
	if a := put("", 1<<20, size).want(t, "the last", 201, ""); !strings.Contains(a.header.Get("Location"), "/Attachments('") || a.text != "" {
		t.Errorf("after the last: %v %s", a.header, a.text)
	}
	put("", 0, 10).want(t, "once more", 404, "itemNotFound")
	a := f.get(at+"?$select=id,name,size", ada)
	if fmt.Sprint(a.values("name"), a.body["value"].([]any)[0].(map[string]any)["size"]) != fmt.Sprint("[big.bin] ", float64(size)) {
		t.Errorf("attached: %s", a.text)
	}
	if a := f.get(at+"/"+a.values("id")[0]+"/$value", ada); len(a.text) != size {
		t.Errorf("%d bytes are attached", len(a.text))
	}
	f.write("POST", at+"/createUploadSession", ada, session(1000)).want(t, "of a small one", 400, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize")
	f.write("POST", at+"/createUploadSession", ada, session(200<<20)).want(t, "of a huge one", 400, "ErrorAttachmentSizeLimitExceeded")
	f.write("POST", at+"/createUploadSession", ada, `{}`).want(t, "of nothing", 400, "ErrorInvalidRequest")
	f.write("POST", at+"/createUploadSession", user("Mail.Read"), session(size)).want(t, "without permission", 403, "ErrorAccessDenied")
	made = f.write("POST", at+"/createUploadSession", ada, session(size))
	f.do("DELETE", made.str("uploadUrl"), "").want(t, "give up", 204, "")
	put("", 0, 10).want(t, "given up", 404, "itemNotFound")
	made = f.write("POST", at+"/createUploadSession", ada, session(size))
	f.do("GET", made.str("uploadUrl"), "").want(t, "look", 405, "invalidRequest")
}

// asMIME sends a message in MIME, as Graph wants it.
func (f *face) asMIME(path, token, raw string) answer {
	f.t.Helper()
	return f.send("POST", path, token, strings.NewReader(base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(raw, "\n", "\r\n")))), "Content-Type", "text/plain")
}

const rawMessage = `From: Ada Quill <ada@fob.example>
To: =?utf-8?q?Ben_=C3=96strow?= <ben@fob.example>,
 cleo@fob.example
Subject: =?utf-8?B?R3LDvGV6aQ==?= all
Message-ID: <one@fob.example>
Importance: High
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=outer

--outer
Content-Type: multipart/related; boundary=inner

--inner
Content-Type: multipart/alternative; boundary=choice

--choice
Content-Type: text/plain; charset=utf-8

plain
--choice
Content-Type: text/html; charset=iso-8859-1
Content-Transfer-Encoding: quoted-printable

<p>Gr=FCezi <img src=3D"cid:dot">=
</p>
--choice--
--inner
Content-Type: image/png; name=dot.png
Content-ID: <dot>
Content-Transfer-Encoding: base64

iVBORw0K
Ggo=
--inner--
--outer
Content-Type: text/csv
Content-Disposition: attachment; filename="=?utf-8?q?Z=C3=A4hler.csv?="

a,b
--outer
Content-Type: message/rfc822

From: cleo@fob.example
To: ada@fob.example
Subject: Inner

inside
--outer--
`

func TestAMessageInMIMEIsTakenApart(t *testing.T) {
	f := start(t)
	ada := user(mailScopes)
	f.asMIME("/v1.0/me/sendMail", ada, rawMessage).want(t, "send", 202, "")
	box := f.get("/v1.0/users/ben@fob.example/mailFolders/inbox/messages?$expand=attachments", app("Mail.Read")).want(t, "inbox", 200, "")
	got := list(box.body["value"])[0].(map[string]any)
	if got["subject"] != "Grüezi all" || got["importance"] != "high" || got["internetMessageId"] != "<one@fob.example>" || got["hasAttachments"] != true || got["isDraft"] != false {
		t.Errorf("arrived: %v", got)
	}
	if to := list(got["toRecipients"]); len(to) != 2 || nameOf(to[0]) != "Ben Östrow" || addressOf(to[1]) != "cleo@fob.example" {
		t.Errorf("to %v", to)
	}
	if body := got["body"]; inside(body, "contentType") != "html" || inside(body, "content") != `<p>Grüezi <img src="cid:dot"></p>` {
		t.Errorf("body: %v", body)
	}
	var shown []string
	for _, v := range list(got["attachments"]) {
		a := v.(map[string]any)
		shown = append(shown, fmt.Sprint(a["@odata.type"], a["name"], a["contentType"], a["isInline"], a["contentBytes"]))
	}
	if want := "[#microsoft.graph.fileAttachmentdot.pngimage/pngtrueiVBORw0KGgo= #microsoft.graph.fileAttachmentZähler.csvtext/csvfalseYSxi #microsoft.graph.itemAttachmentInner<nil> false <nil>]"; fmt.Sprint(shown) != want {
		t.Errorf("attached %v\n   want %s", shown, want)
	}

	// What comes out again says the same.
	raw := f.get("/v1.0/users/ben@fob.example/messages/"+got["id"].(string)+"/$value", app("Mail.Read")).want(t, "MIME", 200, "")
	f.asMIME("/v1.0/me/messages", user(mailScopes, "oid", directory.BenID), strings.ReplaceAll(raw.text, "\r\n", "\n")).want(t, "draft", 201, "")
	again := list(f.get("/v1.0/users/ben@fob.example/mailFolders/drafts/messages?$expand=attachments", app("Mail.Read")).body["value"])[0].(map[string]any)
	for _, name := range []string{"subject", "importance", "internetMessageId", "body", "toRecipients", "from"} {
		if fmt.Sprint(again[name]) != fmt.Sprint(got[name]) {
			t.Errorf("%s was %v, and is %v", name, got[name], again[name])
		}
	}
	if again["isDraft"] != true || len(list(again["attachments"])) != 3 {
		t.Errorf("the draft: %v", again)
	}
	if parsed, err := mail.ReadMessage(strings.NewReader(raw.text)); err != nil {
		t.Error(err)
	} else if _, err := parsed.Header.Date(); err != nil {
		t.Errorf("the date is none: %v", err)
	}
}

func TestAnAnswerInMIMEIsSentAsItIs(t *testing.T) {
	f := start(t)
	ben := user(mailScopes, "oid", directory.BenID)
	at := "/v1.0/me/messages/" + f.sent("Plan", "x", "")
	raw := "From: ben@fob.example\nTo: cleo@fob.example\nSubject: Other\n\nMine"
	f.asMIME(at+"/reply", ben, raw).want(t, "reply", 202, "")
	if draft := f.asMIME(at+"/createForward", ben, raw).want(t, "draft a forward", 201, ""); draft.str("subject") != "Other" || inside(draft.body["body"], "content") != "Mine" {
		t.Errorf("draft: %s", draft.text)
	}
	if got := subjectsIn(f, "cleo", "inbox"); got != "[Other Plan]" {
		t.Errorf("cleo has %s", got)
	}
}

func TestNoPropertyAddsAHeader(t *testing.T) {
	f := start(t)
	ada := user(mailScopes)
	evil := `x\r\nX-Evil: 1`
	body := `{"subject":"` + evil + `","internetMessageId":"<` + evil + `>",` + to("ben@fob.example") + `,"from":{"emailAddress":{"name":"` + evil + `","address":"ada@fob.example"}},"attachments":[{"@odata.type":"#microsoft.graph.fileAttachment","name":"` +
		evil + `","contentType":"` + evil + `","contentId":"` + evil + `","contentBytes":""}]}`
	id := f.write("POST", "/v1.0/me/messages", ada, body).want(t, "draft", 201, "").str("id")
	if a := f.get("/v1.0/me/messages/"+id+"/$value", ada).want(t, "MIME", 200, ""); strings.Contains(a.text, "\nX-Evil") {
		t.Errorf("%s", a.text)
	}
}

func TestBadMIMEIsRefused(t *testing.T) {
	f := start(t)
	ada := user(mailScopes)
	f.send("POST", "/v1.0/me/sendMail", ada, strings.NewReader("To: ben@fob.example"), "Content-Type", "text/plain").want(t, "not base64", 400, "ErrorMimeContentInvalidBase64String")
	f.send("POST", "/v1.0/me/sendMail", ada, strings.NewReader(""), "Content-Type", "text/plain").want(t, "nothing", 400, "ErrorMimeContentInvalidBase64String")
	f.asMIME("/v1.0/me/sendMail", ada, "no header").want(t, "no header", 400, "ErrorMimeContentInvalid")
	f.asMIME("/v1.0/me/sendMail", ada, "To: ben@\n\nx").want(t, "a bad address", 400, "ErrorMimeContentInvalid")
	f.asMIME("/v1.0/me/sendMail", ada, "To: ben@fob.example\nContent-Type: multipart/mixed\n\nx").want(t, "no boundary", 400, "ErrorMimeContentInvalid")
	f.asMIME("/v1.0/me/sendMail", ada, "To: ben@fob.example\nContent-Type: text/plain; charset=koi8-r\n\nx").want(t, "another character set", 501, "NotImplemented")
	f.asMIME("/v1.0/me/sendMail", ada, "Subject: x\n\nx").want(t, "nobody", 400, "ErrorInvalidRecipients")
	f.asMIME("/v1.0/me/sendMail", ada, "From: cleo@fob.example\nTo: ben@fob.example\n\nx").want(t, "as somebody else", 403, "ErrorSendAsDenied")
	f.asMIME("/v1.0/me/messages", user("Mail.Read"), "Subject: x\n\nx").want(t, "without permission", 403, "ErrorAccessDenied")
	f.asMIME("/v1.0/me/sendMail", ada, strings.Repeat("Content-Type: message/rfc822\n\n", maxMIMEDepth+2)+"Subject: x\n\nx").want(t, "too deep", 400, "ErrorMimeContentInvalid")
}

func TestMessagesAreAttachedToMessages(t *testing.T) {
	f := start(t)
	ada := user(mailScopes)
	at := "/v1.0/me/messages/" + f.write("POST", "/v1.0/me/messages", ada, `{"subject":"A"}`).str("id") + "/attachments"
	made := f.write("POST", at, ada, `{"@odata.type":"#microsoft.graph.itemAttachment","name":"The plan","item":{"@odata.type":"microsoft.graph.message","subject":"Plan","body":{"contentType":"html","content":"<b>x</b>"},`+to("ben@fob.example")+`}}`).want(t, "attach", 201, "")
	if made.str("@odata.type") != "#microsoft.graph.itemAttachment" || made.str("name") != "The plan" || made.body["contentType"] != nil || made.body["size"].(float64) < 100 || strings.Contains(made.text, "contentBytes") || strings.Contains(made.text, "Plan\"") {
		t.Errorf("attached: %s", made.text)
	}
	a := f.get(at+"/"+made.str("id")+"?$expand=microsoft.graph.itemattachment/item", ada).want(t, "expand", 200, "")
	if item := a.body["item"]; inside(item, "@odata.type") != "#microsoft.graph.message" || inside(item, "subject") != "Plan" || inside(item, "id") != "" {
		t.Errorf("item: %s", a.text)
	}
	if a := f.get(at+"/"+made.str("id")+"?$expand=microsoft.graph.itemattachment/item($select=subject)", ada); !strings.Contains(a.text, `"item":{"@odata.type":"#microsoft.graph.message","subject":"Plan"}`) {
		t.Errorf("item: %s", a.text)
	}
	f.get(at+"/"+made.str("id")+"?$expand=item", ada).want(t, "expand what not all have", 400, "BadRequest")
	if a := f.get(at+"/"+made.str("id")+"/$value", ada).want(t, "value", 200, ""); !strings.Contains(a.text, "Subject: Plan\r\n") || !strings.HasPrefix(a.header.Get("Content-Type"), "text/plain") {
		t.Errorf("value: %s", a.text)
	}
	f.write("POST", at, ada, `{"@odata.type":"#microsoft.graph.itemAttachment","name":"x"}`).want(t, "without an item", 400, "ErrorInvalidProperty")
	f.write("POST", at, ada, `{"@odata.type":"#microsoft.graph.itemAttachment","name":"x","item":{"@odata.type":"microsoft.graph.event"}}`).want(t, "an event", 501, "NotImplemented")
	f.write("POST", at, ada, `{"@odata.type":"#microsoft.graph.itemAttachment","name":"x","item":{"@odata.type":"microsoft.graph.message","subjekt":""}}`).want(t, "a misspelt item", 400, "RequestBodyRead")
}

func TestLinksAreAttachedInBetaOnly(t *testing.T) {
	f := start(t)
	ada := user(mailScopes)
	at := "/me/messages/" + f.write("POST", "/v1.0/me/messages", ada, `{"subject":"A"}`).str("id") + "/attachments"
	link := `{"@odata.type":"#microsoft.graph.referenceAttachment","name":"Plan","sourceUrl":"https://contoso.example/plan.docx","providerType":"oneDriveBusiness","permission":"Edit"}`
	f.write("POST", "/v1.0"+at, ada, link).want(t, "in v1.0", 400, "RequestBodyRead")
	f.write("POST", "/v1.0"+at, ada, `{"@odata.type":"#microsoft.graph.referenceAttachment","name":"Plan"}`).want(t, "without an address", 400, "ErrorInvalidProperty")
	f.write("POST", "/beta"+at, ada, strings.Replace(link, "oneDriveBusiness", "oneDrive", 1)).want(t, "of nobody", 400, "Request_BadRequest")
	made := f.write("POST", "/beta"+at, ada, link).want(t, "in beta", 201, "")
	if made.str("@odata.type") != "#microsoft.graph.referenceAttachment" || made.str("sourceUrl") != "https://contoso.example/plan.docx" || made.str("permission") != "edit" || made.body["isFolder"] != false || made.body["previewUrl"] != nil {
		t.Errorf("attached: %s", made.text)
	}
	if a := f.get("/v1.0"+at, ada); fmt.Sprint(a.values("name")) != "[Plan]" || strings.Contains(a.text, "sourceUrl") || strings.Contains(a.text, "contentBytes") {
		t.Errorf("in v1.0: %s", a.text)
	}
	f.get("/beta"+at+"/"+made.str("id")+"/$value", ada).want(t, "value", 405, "ErrorInvalidOperation")
}
