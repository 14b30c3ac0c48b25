package graphsim

import (
	"encoding/base64"
	"fmt"
	"mime"
	"net/http"
	"net/mail"
	"slices"
	"strings"
	"sync"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// mailboxes are the mail of everybody.
type mailboxes struct {
	mu    sync.Mutex // guards below, and all messages
	boxes map[string]*mailbox
	made  int
}

// mailbox is the mail of a user. Messages are replaced as a whole, so that
// those handed out stay as they are.
type mailbox struct {
	owner    string
	messages []*message // oldest first
}

// message is a message as JSON has it.
type message struct {
	id, folder string
	version    int
	values     map[string]any
}

var mailFolderNames = [][2]string{{"inbox", "Inbox"}, {"drafts", "Drafts"}, {"sentitems", "Sent Items"}, {"deleteditems", "Deleted Items"}}

// folder is a mail folder with its counts.
type folder struct {
	owner, name, display string
	total, unread        int
}

func folderID(owner, name string) string { return "AAMk" + derivedToken("folder", owner, name) }

var (
	messageType = &entityType{name: "message", bases: []string{"outlookItem"},
		value: func(v any, name string) (any, bool) {
			m := v.(*message)
			switch name {
			case "id":
				return m.id, true
			case "changeKey":
				return m.changeKey(), true
			}
			value, ok := m.values[name]
			return value, ok
		}}
	folderType = &entityType{name: "mailFolder",
		value: func(v any, name string) (any, bool) {
			f := v.(folder)
			switch name {
			case "id":
				return folderID(f.owner, f.name), true
			case "displayName":
				return f.display, true
			case "parentFolderId":
				return folderID(f.owner, "msgfolderroot"), true
			case "totalItemCount":
				return f.total, true
			case "unreadItemCount":
				return f.unread, true
			case "childFolderCount":
				return 0, true
			case "isHidden":
				return false, true
			}
			return nil, false
		}}
)

func (m *message) changeKey() string {
	return base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%s.%d", m.id, m.version))
}

func (m *message) etag() string { return `W/"` + m.changeKey() + `"` }

// mailHas says whether a word is in what a search of mail looks at.
func mailHas(v any, word string) bool {
	m := v.(*message)
	text := fmt.Sprint(m.values["subject"], " ", inside(m.values["body"], "content"), " ", m.values["from"], " ", m.values["toRecipients"])
	return strings.Contains(strings.ToLower(text), strings.ToLower(word))
}

// mailboxOwner finds the user whose mail is asked for, or answers.
func (c *call) mailboxOwner() (*directory.User, bool) {
	u, ok := c.World.User(c.tenant(), c.arg(0))
	switch {
	case !ok:
		c.refuse(http.StatusNotFound, "ErrorInvalidUser", "The requested user '"+c.arg(0)+"' is invalid.")
	case u.Mail == "":
		c.refuse(http.StatusNotFound, "MailboxNotEnabledForRESTAPI", "The mailbox is either inactive, soft-deleted, or is hosted on-premise.")
		return nil, false
	}
	return u, ok
}

// box returns a mailbox. The caller holds the lock.
func (m *mailboxes) box(owner string) *mailbox {
	if m.boxes == nil {
		m.boxes = map[string]*mailbox{}
	}
	if m.boxes[owner] == nil {
		m.boxes[owner] = &mailbox{owner: owner}
	}
	return m.boxes[owner]
}

// put stores a message in a folder of a mailbox. The caller holds the lock.
func (m *mailboxes) put(owner, folder string, values map[string]any) *message {
	m.made++
	msg := &message{id: "AAMk" + derivedToken("message", fmt.Sprint(m.made)), folder: folder, version: 1, values: values}
	msg.values["parentFolderId"] = folderID(owner, folder)
	b := m.box(owner)
	b.messages = append(b.messages, msg)
	return msg
}

func (c *call) showMessage(m *message, selected []string) object {
	o := messageType.show(m, selected)
	if !slices.Contains(c.token.permissions(), "Mail.Read") && !slices.Contains(c.token.permissions(), "Mail.ReadWrite") {
		for i := range o { // Mail.ReadBasic
			if o[i].name == "body" || o[i].name == "bodyPreview" || o[i].name == "uniqueBody" {
				o[i].value = nil
			}
		}
	}
	if c.noMetadata() {
		return o
	}
	return append(object{{"@odata.etag", m.etag()}}, o...)
}

const (
	mailPage    = 10
	maxMailPage = 1000
)

func (c *call) messages() { c.listMessages("") }

func (c *call) folderMessages() { c.listMessages(c.arg(1)) }

func (c *call) listMessages(folderKey string) {
	page := mailPage
	if _, size, ok := strings.Cut(strings.ToLower(c.r.Header.Get("Prefer")), "odata.maxpagesize="); ok {
		if _, err := fmt.Sscanf(size, "%d", &page); err != nil || page < 1 || page > maxMailPage {
			c.refuse(http.StatusBadRequest, "BadRequest", "The value of odata.maxpagesize is not a page size.")
			return
		}
		c.w.Header().Set("Preference-Applied", fmt.Sprintf("odata.maxpagesize=%d", page))
	}
	q, ok := c.queryOf(messageType, collection&^expandable|skippable, page, maxMailPage)
	if !ok {
		return
	}
	u, ok := c.mailboxOwner()
	if !ok {
		return
	}
	in, ok := c.findFolder(u, folderKey)
	if !ok {
		return
	}
	c.mail.mu.Lock()
	all := slices.Clone(c.mail.box(u.ID).messages)
	c.mail.mu.Unlock()
	slices.Reverse(all) // newest first
	var rows []any
	for _, m := range all {
		if folderKey == "" || m.folder == in.name {
			rows = append(rows, m)
		}
	}
	c.collect(q, messageType, "users('"+u.ID+"')/messages", rows, func(v any) object { return c.showMessage(v.(*message), q.selected) })
}

// findFolder looks a folder up by its id or its well-known name, or answers
// 404. No key is no folder.
func (c *call) findFolder(u *directory.User, key string) (folder, bool) {
	if key == "" {
		return folder{}, true
	}
	for _, f := range c.folders(u) {
		if strings.EqualFold(f.name, key) || folderID(u.ID, f.name) == key {
			return f, true
		}
	}
	c.itemNotFound()
	return folder{}, false
}

func (c *call) itemNotFound() {
	c.refuse(http.StatusNotFound, "ErrorItemNotFound", "The specified object was not found in the store.")
}

func (c *call) folders(u *directory.User) []folder {
	c.mail.mu.Lock()
	defer c.mail.mu.Unlock()
	var out []folder
	for _, f := range mailFolderNames {
		count := folder{owner: u.ID, name: f[0], display: f[1]}
		for _, m := range c.mail.box(u.ID).messages {
			if m.folder == f[0] {
				count.total++
				if m.values["isRead"] != true {
					count.unread++
				}
			}
		}
		out = append(out, count)
	}
	return out
}

func (c *call) mailFolders() {
	q, ok := c.queryOf(folderType, collection&^expandable|skippable, mailPage, maxMailPage)
	if !ok {
		return
	}
	if u, ok := c.mailboxOwner(); ok {
		c.collect(q, folderType, "users('"+u.ID+"')/mailFolders", all(c.folders(u)), func(v any) object { return folderType.show(v, q.selected) })
	}
}

func (c *call) mailFolder() {
	q, ok := c.query(folderType, 0)
	if !ok {
		return
	}
	u, ok := c.mailboxOwner()
	if !ok {
		return
	}
	if f, ok := c.findFolder(u, c.arg(1)); ok {
		c.entity("users('"+u.ID+"')/mailFolders/$entity", folderType.show(f, q.selected))
	}
}

// findMessage looks a message up, or answers 404; 412 if it is not the one that
// If-Match speaks of.
func (c *call) findMessage(u *directory.User) (*message, bool) {
	c.mail.mu.Lock()
	b := c.mail.box(u.ID)
	i := slices.IndexFunc(b.messages, func(m *message) bool { return m.id == c.arg(1) })
	var m *message
	if i >= 0 {
		m = b.messages[i]
	}
	c.mail.mu.Unlock()
	if m == nil {
		c.itemNotFound()
		return nil, false
	}
	if !c.ifMatch(m.etag()) {
		c.refuse(http.StatusPreconditionFailed, "ErrorIrresolvableConflict", "The send or update operation could not be performed because the change key passed in the request does not match the current change key for the item.")
		return nil, false
	}
	return m, true
}

// ifMatch says whether the condition of the request, if any, holds.
func (c *call) ifMatch(etag string) bool {
	want := c.r.Header.Get("If-Match")
	if want == "" || want == "*" {
		return true
	}
	// Several are separated by commas, which an ETag may have too: but each is
	// in quotes.
	return strings.Contains(want, strings.TrimPrefix(etag, "W/"))
}

func (c *call) message() {
	q, ok := c.query(messageType, 0)
	if !ok {
		return
	}
	u, ok := c.mailboxOwner()
	if !ok {
		return
	}
	m, ok := c.findMessage(u)
	if !ok {
		return
	}
	c.w.Header().Set("ETag", m.etag())
	if none := c.r.Header.Get("If-None-Match"); none != "" && strings.TrimPrefix(none, "W/") == strings.TrimPrefix(m.etag(), "W/") {
		c.w.WriteHeader(http.StatusNotModified)
		return
	}
	c.entity("users('"+u.ID+"')/messages"+q.columns()+"/$entity", c.showMessage(m, q.selected))
}

func (c *call) messageMIME() {
	u, ok := c.mailboxOwner()
	if !ok || !c.noOptions() {
		return
	}
	m, ok := c.findMessage(u)
	if !ok {
		return
	}
	var to []string
	for _, r := range list(m.values["toRecipients"]) {
		to = append(to, str(inside(inside(r, "emailAddress"), "address")))
	}
	kind := "text/plain"
	if strings.EqualFold(str(inside(m.values["body"], "contentType")), "html") {
		kind = "text/html"
	}
	c.w.Header().Set("Content-Type", "text/plain")
	fmt.Fprintf(c.w, "From: %s\r\nTo: %s\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: %s\r\nMIME-Version: 1.0\r\nContent-Type: %s; charset=utf-8\r\n\r\n%s",
		str(inside(inside(m.values["from"], "emailAddress"), "address")), strings.Join(to, ", "), mime.QEncoding.Encode("utf-8", str(m.values["subject"])),
		m.values["createdDateTime"], m.values["internetMessageId"], kind, str(inside(m.values["body"], "content")))
}

var messageReadOnly = []string{"id", "createdDateTime", "lastModifiedDateTime", "changeKey", "receivedDateTime", "sentDateTime", "hasAttachments",
	"bodyPreview", "parentFolderId", "conversationId", "conversationIndex", "webLink", "isDraft", "uniqueBody"}

// draft makes the values of a message out of the members of a body, or answers
// 400.
func (c *call) draft(u *directory.User, body map[string]any) (map[string]any, bool) {
	given, ok := c.fieldsOf(body, messageType, messageReadOnly, "attachments")
	if !ok {
		return nil, false
	}
	if a := list(given.get("attachments")); len(a) > 0 {
		c.refuse(http.StatusNotImplemented, "NotImplemented", "The emulator's mail has no attachments.")
		return nil, false
	}
	sender := map[string]any{"emailAddress": map[string]any{"name": u.DisplayName, "address": u.Mail}}
	now := date(c.World.Now())
	values := map[string]any{"createdDateTime": now, "lastModifiedDateTime": now, "receivedDateTime": now, "sentDateTime": now, "categories": []any{},
		"hasAttachments": false, "importance": "normal", "isDraft": true, "isRead": true, "isReadReceiptRequested": false, "isDeliveryReceiptRequested": nil,
		"inferenceClassification": "focused", "flag": map[string]any{"flagStatus": "notFlagged"}, "sender": sender, "from": sender, "subject": "",
		"body": map[string]any{"contentType": "text", "content": ""}}
	for _, f := range given {
		if f.name == "attachments" {
			continue
		}
		values[f.name] = f.value
	}
	for _, name := range []string{"toRecipients", "ccRecipients", "bccRecipients", "replyTo"} {
		for _, r := range list(values[name]) {
			if address := str(inside(inside(r, "emailAddress"), "address")); !validAddress(address) {
				c.refuse(http.StatusBadRequest, "ErrorInvalidRecipients", "At least one recipient isn't valid., Recipient '"+address+"' is not resolved.")
				return nil, false
			}
		}
	}
	return complete(values), true
}

// complete fills in what follows from the rest of a message.
func complete(values map[string]any) map[string]any {
	content := str(inside(values["body"], "content"))
	preview := []rune(strings.Join(strings.Fields(content), " "))
	values["bodyPreview"] = string(preview[:min(255, len(preview))])
	if body, ok := values["body"].(map[string]any); ok {
		values["body"] = map[string]any{"contentType": strings.ToLower(str(inside(body, "contentType"))), "content": content}
	}
	subject := strings.ToLower(strings.TrimPrefix(strings.ToLower(str(values["subject"])), "re: "))
	values["conversationId"] = "AAQk" + derivedToken("conversation", subject)
	return values
}

func validAddress(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s
}

func (c *call) createMessage() {
	body, ok := c.readObject(true)
	if !ok || !c.noOptions() {
		return
	}
	u, ok := c.mailboxOwner()
	if !ok {
		return
	}
	values, ok := c.draft(u, body)
	if !ok {
		return
	}
	c.mail.mu.Lock()
	m := c.mail.put(u.ID, "drafts", values)
	c.mail.mu.Unlock()
	c.w.Header().Set("ETag", m.etag())
	c.created("users('"+u.ID+"')/messages/$entity", "/users/"+u.ID+"/messages/"+m.id, c.showMessage(m, nil))
}

func (c *call) updateMessage() {
	given, ok := c.fields(messageType, messageReadOnly)
	if !ok {
		return
	}
	u, ok := c.mailboxOwner()
	if !ok {
		return
	}
	m, ok := c.findMessage(u)
	if !ok {
		return
	}
	next := c.mail.replace(u.ID, m, func(n *message) {
		for _, f := range given {
			n.values[f.name] = f.value
		}
		n.values["lastModifiedDateTime"] = date(c.World.Now())
		complete(n.values)
	})
	c.w.Header().Set("ETag", next.etag())
	c.entity("users('"+u.ID+"')/messages/$entity", c.showMessage(next, nil))
}

// replace puts a changed copy in the place of a message.
func (m *mailboxes) replace(owner string, old *message, change func(*message)) *message {
	m.mu.Lock()
	defer m.mu.Unlock()
	next := &message{id: old.id, folder: old.folder, version: old.version + 1, values: map[string]any{}}
	for k, v := range old.values {
		next.values[k] = v
	}
	change(next)
	b := m.box(owner)
	if i := slices.IndexFunc(b.messages, func(m *message) bool { return m.id == old.id }); i >= 0 {
		b.messages[i] = next
	}
	return next
}

func (c *call) deleteMessage() {
	u, ok := c.mailboxOwner()
	if !ok || !c.noOptions() {
		return
	}
	m, ok := c.findMessage(u)
	if !ok {
		return
	}
	if m.folder != "deleteditems" {
		c.mail.replace(u.ID, m, func(n *message) {
			n.folder = "deleteditems"
			n.values["parentFolderId"] = folderID(u.ID, n.folder)
		})
	} else {
		c.mail.mu.Lock()
		b := c.mail.box(u.ID)
		b.messages = slices.DeleteFunc(b.messages, func(o *message) bool { return o.id == m.id })
		c.mail.mu.Unlock()
	}
	c.noContent()
}

func (c *call) sendMail() {
	if !c.noOptions() {
		return
	}
	u, ok := c.mailboxOwner()
	if !ok {
		return
	}
	if kind, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type")); kind == "text/plain" {
		c.sendMIME(u)
		return
	}
	given, ok := c.action("sendMail", true, "message message", "saveToSentItems Edm.Boolean")
	if !ok {
		return
	}
	wanted, ok := given["message"].(map[string]any)
	if !ok {
		c.refuse(http.StatusBadRequest, "ErrorInvalidRequest", "The value of the parameter 'message' is empty.")
		return
	}
	values, ok := c.draft(u, wanted)
	if !ok {
		return
	}
	save := true
	if v, said := given["saveToSentItems"].(bool); said {
		save = v
	}
	c.post(u, values, save)
}

// sendMIME sends a message that came as base64 of its MIME form.
func (c *call) sendMIME(u *directory.User) {
	raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(c.body)), ""))
	if err != nil {
		c.refuse(http.StatusBadRequest, "ErrorMimeContentInvalidBase64String", "Invalid base64 string for MIME content.")
		return
	}
	parsed, err := mail.ReadMessage(strings.NewReader(string(raw)))
	if err != nil {
		c.refuse(http.StatusBadRequest, "ErrorMimeContentInvalid", "The MIME content is not valid.")
		return
	}
	var to []any
	addresses, _ := parsed.Header.AddressList("To")
	for _, a := range addresses {
		to = append(to, map[string]any{"emailAddress": map[string]any{"name": a.Name, "address": a.Address}})
	}
	subject, _ := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	kind := "text"
	if strings.HasPrefix(parsed.Header.Get("Content-Type"), "text/html") {
		kind = "html"
	}
	_, content, _ := strings.Cut(strings.ReplaceAll(string(raw), "\r\n", "\n"), "\n\n")
	values, ok := c.draft(u, map[string]any{"subject": subject, "toRecipients": to, "body": map[string]any{"contentType": kind, "content": content}})
	if ok {
		c.post(u, values, true)
	}
}

// post delivers a message and answers 202.
func (c *call) post(u *directory.User, values map[string]any, save bool) {
	var recipients []*directory.User
	n := 0
	for _, name := range []string{"toRecipients", "ccRecipients", "bccRecipients"} {
		for _, r := range list(values[name]) {
			n++
			address := str(inside(inside(r, "emailAddress"), "address"))
			if to := c.byMail(address); to != nil && !slices.Contains(recipients, to) {
				recipients = append(recipients, to)
			}
		}
	}
	if n == 0 {
		c.refuse(http.StatusBadRequest, "ErrorInvalidRecipients", "At least one recipient isn't valid., A message can't be sent because it contains no recipients.")
		return
	}
	now := date(c.World.Now())
	c.mail.mu.Lock()
	defer c.mail.mu.Unlock()
	c.mail.made++
	number := fmt.Sprint(c.mail.made)
	copyOf := func(read bool) map[string]any {
		v := map[string]any{}
		for name, value := range values {
			v[name] = value
		}
		v["isDraft"], v["isRead"], v["sentDateTime"], v["receivedDateTime"] = false, read, now, now
		v["internetMessageId"] = "<" + derivedToken("mail", number) + "@emulator.example>"
		return v
	}
	if save {
		c.mail.put(u.ID, "sentitems", copyOf(true))
	}
	for _, to := range recipients {
		v := copyOf(false)
		v["bccRecipients"] = []any{}
		c.mail.put(to.ID, "inbox", v)
	}
	c.w.Header().Set("Content-Length", "0")
	c.w.WriteHeader(http.StatusAccepted)
}

// byMail finds who gets mail at an address, in any tenant.
func (c *call) byMail(address string) *directory.User {
	for _, t := range c.World.Tenants() {
		if u, ok := c.World.User(t.ID, address); ok && strings.EqualFold(u.Mail, address) {
			return u
		}
		for _, u := range c.World.Users(t.ID) {
			if strings.EqualFold(u.Mail, address) {
				return u
			}
		}
	}
	return nil
}

func (c *call) sendDraft() {
	u, ok := c.mailboxOwner()
	if !ok || !c.noOptions() {
		return
	}
	m, ok := c.findMessage(u)
	if !ok {
		return
	}
	if m.values["isDraft"] != true {
		c.refuse(http.StatusBadRequest, "ErrorInvalidOperation", "The message is not a draft.")
		return
	}
	observed := &statusOf{ResponseWriter: c.w}
	c.w = observed
	c.post(u, m.values, true)
	if observed.status == http.StatusAccepted {
		c.mail.mu.Lock()
		b := c.mail.box(u.ID)
		b.messages = slices.DeleteFunc(b.messages, func(o *message) bool { return o.id == m.id })
		c.mail.mu.Unlock()
	}
}

// statusOf sees the status of an answer.
type statusOf struct {
	http.ResponseWriter
	status int
}

func (s *statusOf) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}
