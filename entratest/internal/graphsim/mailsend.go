package graphsim

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"html"
	"maps"
	"mime"
	"mime/multipart"
	"net/http"
	"net/mail"
	"net/textproto"
	"slices"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// draft makes a message out of the members of a body, or answers 400.
func (c *call) draft(u *directory.User, body map[string]any) (message, bool) {
	given, ok := c.fieldsOf(body, messageType, messageReadOnly, "attachments")
	if !ok {
		return message{}, false
	}
	m := c.emptyDraft(u)
	return m, c.write(&m, given)
}

// emptyDraft is a message of a user that nothing was written into yet.
func (c *call) emptyDraft(u *directory.User) message {
	sender := map[string]any{"emailAddress": map[string]any{"name": u.DisplayName, "address": u.Mail}}
	now := date(c.World.Now())
	return message{values: map[string]any{"createdDateTime": now, "lastModifiedDateTime": now, "receivedDateTime": now, "sentDateTime": now, "categories": []any{},
		"importance": "normal", "isDraft": true, "isRead": true, "isReadReceiptRequested": false, "isDeliveryReceiptRequested": nil,
		"inferenceClassification": "focused", "flag": map[string]any{"flagStatus": "notFlagged"}, "sender": sender, "from": sender, "subject": "",
		"body": map[string]any{"contentType": "text", "content": ""}}}
}

// write writes the fields of a body into a draft, or answers 400.
func (c *call) write(m *message, given fields) bool {
	for _, f := range given {
		if f.name != "attachments" {
			m.values[f.name] = f.value
			continue
		}
		for _, v := range list(f.value) {
			a, ok := c.attachment(v)
			if !ok {
				return false
			}
			m.attachments = append(m.attachments, a)
		}
	}
	for _, name := range []string{"toRecipients", "ccRecipients", "bccRecipients", "replyTo"} {
		for _, r := range list(m.values[name]) {
			if address := addressOf(r); !validAddress(address) {
				c.refuse(http.StatusBadRequest, "ErrorInvalidRecipients", "At least one recipient isn't valid., Recipient '"+address+"' is not resolved.")
				return false
			}
		}
	}
	complete(m.values)
	return true
}

// complete fills in what follows from the rest of a message.
func complete(values map[string]any) {
	content := str(inside(values["body"], "content"))
	preview := []rune(strings.Join(strings.Fields(content), " "))
	values["bodyPreview"] = string(preview[:min(255, len(preview))])
	values["body"] = map[string]any{"contentType": strings.ToLower(str(inside(values["body"], "contentType"))), "content": content}
	if values["conversationId"] == nil {
		values["conversationId"] = "AAQk" + derivedToken("conversation", strings.ToLower(bareSubject(str(values["subject"]))))
	}
}

// bareSubject is a subject without what answers put in front of it.
func bareSubject(s string) string {
	for {
		prefix, rest, ok := strings.Cut(s, ": ")
		if !ok || !contains([]string{"re", "fw", "fwd"}, prefix) {
			return s
		}
		s = rest
	}
}

func addressOf(recipient any) string {
	return str(inside(inside(recipient, "emailAddress"), "address"))
}

func nameOf(recipient any) string { return str(inside(inside(recipient, "emailAddress"), "name")) }

func validAddress(s string) bool {
	a, err := mail.ParseAddress(s)
	return err == nil && a.Address == s
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
	draft, ok := c.draft(u, wanted)
	if !ok {
		return
	}
	save := true
	if v, said := given["saveToSentItems"].(bool); said {
		save = v
	}
	c.post(u, draft, save)
}

// sendMIME sends a message that came as base64 of its MIME form.
func (c *call) sendMIME(u *directory.User) {
	raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(c.body)), ""))
	if err != nil {
		c.refuse(http.StatusBadRequest, "ErrorMimeContentInvalidBase64String", "Invalid base64 string for MIME content.")
		return
	}
	parsed, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		c.refuse(http.StatusBadRequest, "ErrorMimeContentInvalid", "The MIME content is not valid.")
		return
	}
	kind, _, _ := mime.ParseMediaType(parsed.Header.Get("Content-Type"))
	if strings.HasPrefix(kind, "multipart/") {
		c.refuse(http.StatusNotImplemented, "NotImplemented", "The emulator sends MIME of one part: send attachments as JSON.")
		return
	}
	recipients := func(header string) []any {
		out := []any{}
		addresses, _ := parsed.Header.AddressList(header)
		for _, a := range addresses {
			out = append(out, map[string]any{"emailAddress": map[string]any{"name": a.Name, "address": a.Address}})
		}
		return out
	}
	subject, _ := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	form := "text"
	if kind == "text/html" {
		form = "html"
	}
	_, content, _ := strings.Cut(strings.ReplaceAll(string(raw), "\r\n", "\n"), "\n\n")
	draft, ok := c.draft(u, map[string]any{"subject": subject, "toRecipients": recipients("To"), "ccRecipients": recipients("Cc"), "bccRecipients": recipients("Bcc"),
		"body": map[string]any{"contentType": form, "content": content}})
	if ok {
		c.post(u, draft, true)
	}
}

// post delivers a message and answers 202; or answers 400, and says that it was
// not sent.
func (c *call) post(u *directory.User, draft message, save bool) bool {
	var recipients []*directory.User
	n := 0
	for _, name := range []string{"toRecipients", "ccRecipients", "bccRecipients"} {
		for _, r := range list(draft.values[name]) {
			n++
			if to := c.byMail(addressOf(r)); to != nil && !slices.Contains(recipients, to) {
				recipients = append(recipients, to)
			}
		}
	}
	if n == 0 {
		c.refuse(http.StatusBadRequest, "ErrorInvalidRecipients", "At least one recipient isn't valid., A message can't be sent because it contains no recipients.")
		return false
	}
	now := date(c.World.Now())
	c.mail.mu.Lock()
	defer c.mail.mu.Unlock()
	sent := message{values: maps.Clone(draft.values), attachments: draft.attachments}
	sent.values["isDraft"], sent.values["isRead"], sent.values["sentDateTime"], sent.values["receivedDateTime"] = false, true, now, now
	sent.values["internetMessageId"] = "<" + c.mail.newID("mail") + "@emulator.example>"
	if save {
		c.mail.put(u.ID, "sentitems", sent)
	}
	sent.values["isRead"], sent.values["bccRecipients"] = false, []any{}
	for _, to := range recipients {
		c.mail.put(to.ID, "inbox", sent)
	}
	c.w.Header().Set("Content-Length", "0")
	c.w.WriteHeader(http.StatusAccepted)
	return true
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
	if !c.noOptions() {
		return
	}
	c.onMessage(func(u *directory.User, m *message) {
		if m.values["isDraft"] != true {
			c.refuse(http.StatusBadRequest, "ErrorInvalidOperation", "The message is not a draft.")
			return
		}
		if c.post(u, *m, true) {
			c.mail.mu.Lock()
			c.mail.box(u.ID).remove(m.id)
			c.mail.mu.Unlock()
		}
	})
}

func (c *call) reply()          { c.answerMessage("reply", true) }
func (c *call) replyAll()       { c.answerMessage("replyAll", true) }
func (c *call) forward()        { c.answerMessage("forward", true) }
func (c *call) createReply()    { c.answerMessage("createReply", false) }
func (c *call) createReplyAll() { c.answerMessage("createReplyAll", false) }
func (c *call) createForward()  { c.answerMessage("createForward", false) }

// answerMessage makes a message out of another one: to who sent it, to all who
// have it, or to others. It is sent, or kept as a draft.
func (c *call) answerMessage(operation string, send bool) {
	all, forward := strings.HasSuffix(operation, "ReplyAll") || operation == "replyAll", strings.HasSuffix(strings.ToLower(operation), "forward")
	parameters := []string{"message message", "comment Edm.String"}
	if forward {
		parameters = append(parameters, "toRecipients Collection(recipient)")
	}
	given, ok := c.action(operation, false, parameters...)
	if !ok {
		return
	}
	wanted, _ := given["message"].(map[string]any)
	changes, ok := c.fieldsOf(wanted, messageType, messageReadOnly, "attachments")
	if !ok {
		return
	}
	comment, body := str(given["comment"]), changes.get("body")
	to := list(given["toRecipients"])
	switch {
	case comment != "" && body != nil:
		c.refuse(http.StatusBadRequest, "ErrorInvalidRequest", "Specify either a comment or the body of the message, not both.")
		return
	case to != nil && changes.get("toRecipients") != nil:
		c.refuse(http.StatusBadRequest, "ErrorInvalidRequest", "Specify either toRecipients or the toRecipients of the message, not both.")
		return
	}
	c.onMessage(func(u *directory.User, m *message) {
		draft := c.emptyDraft(u)
		v := draft.values
		v["conversationId"] = m.values["conversationId"]
		if forward {
			v["subject"], v["toRecipients"] = "FW: "+bareSubject(str(m.values["subject"])), to
			draft.attachments = m.attachments
		} else {
			v["subject"] = "RE: " + bareSubject(str(m.values["subject"]))
			v["toRecipients"], v["ccRecipients"] = answered(u, m, all)
		}
		if !c.write(&draft, changes) {
			return
		}
		if body != nil {
			comment = str(inside(body, "content"))
		}
		v["body"] = quoted(m, comment, str(inside(body, "contentType")))
		complete(v)
		if send {
			c.post(u, draft, true)
			return
		}
		c.keep(u, "", draft)
	})
}

// answered are the recipients of an answer to a message: who sent it and, of an
// answer to all, everybody else who has it but the user.
func answered(u *directory.User, m *message, all bool) (to, cc []any) {
	to = list(m.values["replyTo"])
	if len(to) == 0 {
		to = []any{m.values["from"]}
	}
	if !all {
		return to, []any{}
	}
	others := func(name string) []any {
		return slices.DeleteFunc(slices.Clone(list(m.values[name])), func(r any) bool {
			return strings.EqualFold(addressOf(r), u.Mail) || slices.ContainsFunc(to, func(t any) bool { return strings.EqualFold(addressOf(t), addressOf(r)) })
		})
	}
	more := others("toRecipients")
	return append(slices.Clone(to), more...), others("ccRecipients")
}

// quoted is the body of an answer: what is said, and below it the message that
// it is an answer to.
func quoted(m *message, said, kind string) map[string]any {
	var to []string
	for _, r := range list(m.values["toRecipients"]) {
		to = append(to, addressOf(r))
	}
	from := m.values["from"]
	lines := []string{"From: " + nameOf(from) + " <" + addressOf(from) + ">", "Sent: " + str(m.values["sentDateTime"]), "To: " + strings.Join(to, "; "),
		"Subject: " + str(m.values["subject"])}
	was, content := str(inside(m.values["body"], "contentType")), str(inside(m.values["body"], "content"))
	if was != "html" && !strings.EqualFold(kind, "html") {
		return map[string]any{"contentType": "text", "content": said + "\r\n________________________________\r\n" + strings.Join(lines, "\r\n") + "\r\n\r\n" + content}
	}
	if !strings.EqualFold(kind, "html") {
		said = html.EscapeString(said)
	}
	if was != "html" {
		content = html.EscapeString(content)
	}
	for i := range lines {
		lines[i] = html.EscapeString(lines[i])
	}
	return map[string]any{"contentType": "html", "content": said + "<hr>" + strings.Join(lines, "<br>") + "<br><br>" + content}
}

// messageMIME answers with a message as it travels.
func (c *call) messageMIME() {
	if !c.noOptions() {
		return
	}
	c.onMessage(func(_ *directory.User, m *message) {
		var to []string
		for _, r := range list(m.values["toRecipients"]) {
			to = append(to, addressOf(r))
		}
		kind := "text/plain; charset=utf-8"
		if str(inside(m.values["body"], "contentType")) == "html" {
			kind = "text/html; charset=utf-8"
		}
		content := str(inside(m.values["body"], "content"))
		c.w.Header().Set("Content-Type", "text/plain")
		fmt.Fprintf(c.w, "From: %s\r\nTo: %s\r\nSubject: %s\r\nDate: %s\r\nMessage-ID: %s\r\nMIME-Version: 1.0\r\n",
			addressOf(m.values["from"]), strings.Join(to, ", "), mime.QEncoding.Encode("utf-8", str(m.values["subject"])), m.values["createdDateTime"], m.values["internetMessageId"])
		if len(m.attachments) == 0 {
			fmt.Fprintf(c.w, "Content-Type: %s\r\n\r\n%s", kind, content)
			return
		}
		parts := multipart.NewWriter(c.w)
		_ = parts.SetBoundary(derivedToken("boundary", m.id)) // it has the form of one
		fmt.Fprintf(c.w, "Content-Type: multipart/mixed; boundary=\"%s\"\r\n\r\n", parts.Boundary())
		// Who has gone away does not get the rest.
		body, _ := parts.CreatePart(textproto.MIMEHeader{"Content-Type": {kind}})
		fmt.Fprint(body, content)
		for _, a := range m.attachments {
			part, _ := parts.CreatePart(a.header())
			fmt.Fprint(part, base64.StdEncoding.EncodeToString(a.content))
		}
		_ = parts.Close()
	})
}
