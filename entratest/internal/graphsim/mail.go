package graphsim

import (
	"encoding/base64"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// mailboxes are the mail of everybody.
type mailboxes struct {
	mu    sync.Mutex // guards below, and all messages and folders
	boxes map[string]*mailbox
	made  int
	// uploads are large attachments on their way, by what makes their address
	// secret.
	uploads map[string]*attachmentUpload
}

// mailbox is the mail of a user. Messages are replaced as a whole, so that
// those handed out stay as they are.
type mailbox struct {
	owner    string
	made     int64      // when, in nanoseconds
	folders  []folder   // that somebody made
	messages []*message // oldest first
	history
}

// message is a message as JSON has it.
type message struct {
	id, folder  string // the folder's key
	version     int
	arrived     uint64 // the change of the mailbox by which it came into the folder
	changed     uint64 // the last one of it
	values      map[string]any
	attachments []*attachment
}

var messageType = &entityType{name: "message", set: "messages", bases: []string{"outlookItem"}, expands: []string{"attachments"},
	value: func(v any, name string) (any, bool) {
		m := v.(*message)
		switch name {
		case "id":
			return m.id, true
		case "changeKey":
			return m.changeKey(), true
		case "hasAttachments":
			return slices.ContainsFunc(m.attachments, func(a *attachment) bool { return !a.inline }), true
		}
		value, ok := m.values[name]
		return value, ok
	}}

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

// mailbox finds the user whose mail is asked for, and the folder if the path
// names one, or answers.
func (c *call) mailbox() (u *directory.User, in folder, ok bool) {
	if u, ok = c.mailboxOwner(); ok {
		in, ok = c.findFolder(u, c.folder)
	}
	return u, in, ok
}

// box returns a mailbox. The caller holds the lock.
func (m *mailboxes) box(owner string) *mailbox {
	if m.boxes == nil {
		m.boxes = map[string]*mailbox{}
	}
	if m.boxes[owner] == nil {
		m.boxes[owner] = &mailbox{owner: owner, made: time.Now().UnixNano()}
	}
	return m.boxes[owner]
}

// newID makes an id of an item. The caller holds the lock.
func (m *mailboxes) newID(kind string) string {
	m.made++
	return "AAMk" + derivedToken(kind, fmt.Sprint(m.made))
}

// put stores a message in a folder of a mailbox under a new id, or under the
// one it has. The caller holds the lock.
func (m *mailboxes) put(owner, folder string, msg message) *message {
	if msg.id == "" {
		msg.id = m.newID("message")
	}
	msg.folder, msg.version = folder, msg.version+1
	msg.values = maps.Clone(msg.values)
	msg.values["parentFolderId"] = folderID(owner, folder)
	b := m.box(owner)
	msg.arrived = b.touch(folder)
	msg.changed = msg.arrived
	b.messages = append(b.messages, &msg)
	return &msg
}

// replace puts a changed copy in the place of a message, as it is by now.
func (m *mailboxes) replace(owner string, old *message, change func(*message)) *message {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.box(owner)
	i := slices.IndexFunc(b.messages, func(m *message) bool { return m.id == old.id })
	next := *old
	if i >= 0 {
		next = *b.messages[i]
	}
	next.version++
	next.values = maps.Clone(next.values)
	change(&next)
	next.values["parentFolderId"] = folderID(owner, next.folder)
	if i < 0 {
		return &next
	}
	was := b.messages[i]
	if was.folder != next.folder {
		b.lose(was.id, was.folder, was.arrived)
	}
	next.changed = b.touch(next.folder)
	if was.folder != next.folder {
		next.arrived = next.changed
	}
	b.messages[i] = &next
	return &next
}

// remove takes a message out of a mailbox, and says whether it was there. The
// caller holds the lock.
func (b *mailbox) remove(id string) bool {
	i := slices.IndexFunc(b.messages, func(m *message) bool { return m.id == id })
	if i < 0 {
		return false
	}
	b.lose(id, b.messages[i].folder, b.messages[i].arrived)
	b.messages = slices.Delete(b.messages, i, i+1)
	return true
}

func (c *call) showMessage(m *message, selected []string) object {
	o := messageType.show(m, selected)
	if kind := c.bodyType(); kind != "" {
		for i := range o {
			if o[i].name == "body" || o[i].name == "uniqueBody" && o[i].value != nil {
				o[i].value = asBody(o[i].value, kind)
			}
		}
	}
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

// maxPageSize is how many items the client wants at a time, or answers 400.
func (c *call) maxPageSize() (page int, ok bool) {
	size := c.preference("odata.maxpagesize")
	if size == "" {
		return mailPage, true
	}
	page, err := strconv.Atoi(size)
	if err != nil || page < 1 || page > maxMailPage {
		c.refuse(http.StatusBadRequest, "BadRequest", "The value of odata.maxpagesize is not a page size.")
		return 0, false
	}
	c.applied("odata.maxpagesize=" + size)
	return page, true
}

// messages answers with the messages of a mailbox, or of a folder in it.
func (c *call) messages() {
	page, ok := c.maxPageSize()
	if !ok {
		return
	}
	c.preferBody()
	q, ok := c.queryOf(messageType, collection|skippable, page, maxMailPage)
	if !ok {
		return
	}
	u, in, ok := c.mailbox()
	if !ok {
		return
	}
	c.mail.mu.Lock()
	all := slices.Clone(c.mail.box(u.ID).messages)
	c.mail.mu.Unlock()
	slices.Reverse(all) // newest first
	var rows []any
	for _, m := range all {
		if c.folder == "" || m.folder == in.key {
			rows = append(rows, m)
		}
	}
	c.collect(q, messageType, "users('"+u.ID+"')/messages", rows, func(v any) object { return c.showMessage(v.(*message), q.selected) })
}

func (c *call) itemNotFound() {
	c.refuse(http.StatusNotFound, "ErrorItemNotFound", "The specified object was not found in the store.")
}

// onMessage finds the message of the path and works on it, or answers 404; 412
// if it is not the one that If-Match speaks of.
func (c *call) onMessage(do func(u *directory.User, m *message)) {
	u, in, ok := c.mailbox()
	if !ok {
		return
	}
	c.mail.mu.Lock()
	b := c.mail.box(u.ID)
	var m *message
	if i := slices.IndexFunc(b.messages, func(m *message) bool { return m.id == c.arg(1) }); i >= 0 && (c.folder == "" || b.messages[i].folder == in.key) {
		m = b.messages[i]
	}
	c.mail.mu.Unlock()
	switch {
	case m == nil:
		c.itemNotFound()
	case !c.ifMatch(m.etag()):
		c.refuse(http.StatusPreconditionFailed, "ErrorIrresolvableConflict", "The send or update operation could not be performed because the change key passed in the request does not match the current change key for the item.")
	default:
		do(u, m)
	}
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
	q, ok := c.query(messageType, expandable)
	if !ok {
		return
	}
	c.onMessage(func(u *directory.User, m *message) {
		c.preferBody()
		c.w.Header().Set("ETag", m.etag())
		if none := c.r.Header.Get("If-None-Match"); none != "" && strings.TrimPrefix(none, "W/") == strings.TrimPrefix(m.etag(), "W/") {
			c.w.WriteHeader(http.StatusNotModified)
			return
		}
		if o, ok := c.expanded(c.showMessage(m, q.selected), m, q); ok {
			c.entity("users('"+u.ID+"')/messages"+q.columns()+"/$entity", o)
		}
	})
}

var messageReadOnly = []string{"id", "createdDateTime", "lastModifiedDateTime", "changeKey", "receivedDateTime", "sentDateTime", "hasAttachments",
	"bodyPreview", "parentFolderId", "conversationId", "conversationIndex", "webLink", "isDraft", "uniqueBody"}

func (c *call) createMessage() {
	if c.isMIME() {
		if u, in, ok := c.mailbox(); ok && c.noOptions() {
			if draft, ok := c.readMIME(u); ok {
				c.keep(u, in.key, draft)
			}
		}
		return
	}
	body, ok := c.readObject(true)
	if !ok || !c.noOptions() {
		return
	}
	u, in, ok := c.mailbox()
	if !ok {
		return
	}
	if draft, ok := c.draft(u, body); ok {
		c.keep(u, in.key, draft)
	}
}

// keep stores a draft in a folder, the one for drafts if that is empty, and
// answers with it.
func (c *call) keep(u *directory.User, folder string, draft message) {
	if folder == "" {
		folder = "drafts"
	}
	c.mail.mu.Lock()
	m := c.mail.put(u.ID, folder, draft)
	c.mail.mu.Unlock()
	c.createdMessage(u, m)
}

func (c *call) createdMessage(u *directory.User, m *message) {
	c.w.Header().Set("ETag", m.etag())
	c.created("users('"+u.ID+"')/messages/$entity", "/users/"+u.ID+"/messages/"+m.id, c.showMessage(m, nil))
}

func (c *call) updateMessage() {
	given, ok := c.fields(messageType, messageReadOnly)
	if !ok {
		return
	}
	c.onMessage(func(u *directory.User, m *message) {
		next := c.mail.replace(u.ID, m, func(n *message) {
			for _, f := range given {
				n.values[f.name] = f.value
			}
			n.values["lastModifiedDateTime"] = date(c.World.Now())
			complete(n.values)
		})
		c.w.Header().Set("ETag", next.etag())
		c.entity("users('"+u.ID+"')/messages/$entity", c.showMessage(next, nil))
	})
}

func (c *call) deleteMessage() {
	if !c.noOptions() {
		return
	}
	c.onMessage(func(u *directory.User, m *message) {
		if m.folder != "deleteditems" {
			c.mail.replace(u.ID, m, func(n *message) { n.folder = "deleteditems" })
		} else {
			c.mail.mu.Lock()
			c.mail.box(u.ID).remove(m.id)
			c.mail.mu.Unlock()
		}
		c.noContent()
	})
}

func (c *call) moveMessage() { c.transfer("move") }
func (c *call) copyMessage() { c.transfer("copy") }

// transfer moves or copies a message to another folder, where it has another
// id: but the one it had, if it was moved and the client prefers ids that stay.
func (c *call) transfer(operation string) {
	given, ok := c.action(operation, true, "destinationId Edm.String")
	if !ok {
		return
	}
	c.onMessage(func(u *directory.User, m *message) {
		key := str(given["destinationId"])
		if key == "" {
			c.refuse(http.StatusBadRequest, "ErrorInvalidRequest", "The value of the parameter 'destinationId' is empty.")
			return
		}
		to, ok := c.findFolder(u, key)
		if !ok {
			return
		}
		there := *m
		if there.id = ""; operation == "move" && strings.EqualFold(c.preference("IdType"), "ImmutableId") {
			there.id = m.id
		}
		c.mail.mu.Lock()
		still := operation == "copy" || c.mail.box(u.ID).remove(m.id) // somebody else may have moved it
		var placed *message
		if still {
			placed = c.mail.put(u.ID, to.key, there)
		}
		c.mail.mu.Unlock()
		if !still {
			c.itemNotFound()
			return
		}
		c.createdMessage(u, placed)
	})
}
