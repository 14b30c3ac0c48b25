package graphsim

import (
	"html"
	"maps"
	"net/http"
	"net/mail"
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
			m.attachments = append(slices.Clip(m.attachments), a)
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
	if c.isMIME() {
		if draft, ok := c.readMIME(u); ok {
			c.post(u, draft, true)
		}
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
	if from := addressOf(draft.values["from"]); !strings.EqualFold(from, u.Mail) && !strings.EqualFold(from, u.UPN) {
		c.refuse(http.StatusForbidden, "ErrorSendAsDenied", "The user account which was used to submit this request does not have the right to send mail on behalf of the specified sending account., Cannot submit message.")
		return false
	}
	now := date(c.World.Now())
	c.mail.mu.Lock()
	defer c.mail.mu.Unlock()
	sent := message{values: maps.Clone(draft.values), attachments: draft.attachments}
	sent.values["isDraft"], sent.values["isRead"], sent.values["sentDateTime"], sent.values["receivedDateTime"] = false, true, now, now
	if sent.values["internetMessageId"] == nil { // else its MIME has one
		sent.values["internetMessageId"] = "<" + c.mail.newID("mail") + "@emulator.example>"
	}
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
		if u, ok := c.World.User(t.ID, address); ok && strings.EqualFold(u.Mail, address) && !u.External() {
			return u
		}
		for _, u := range c.World.Users(t.ID) {
			if strings.EqualFold(u.Mail, address) && !u.External() {
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
	if c.isMIME() { // is the whole answer
		c.answerMIME(send)
		return
	}
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

// answerMIME sends or keeps an answer that came as MIME.
func (c *call) answerMIME(send bool) {
	if !c.noOptions() {
		return
	}
	c.onMessage(func(u *directory.User, m *message) {
		draft, ok := c.readMIME(u)
		switch {
		case !ok:
		case send:
			c.post(u, draft, true)
		default:
			c.keep(u, "", draft)
		}
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
