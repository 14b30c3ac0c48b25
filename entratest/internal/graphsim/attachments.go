package graphsim

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"mime"
	"net/http"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// attachment is what is attached to a message: a file, another message, or a
// link to a file. Nobody changes it.
type attachment struct {
	id, name, kind, contentID, location string
	inline                              bool
	content                             []byte
	item                                *message
	link                                fields // nil: it is no link
	modified                            time.Time
}

// maxAttachment is the largest file that is attached in one request.
const maxAttachment = 3 << 20

// The types of attachments. Lists show all three, and are asked for them as for
// files. What a link has of its own is in the beta version only.
var (
	attachmentType          = &entityType{name: "fileAttachment", set: "attachments", bases: []string{"attachment"}, value: attachmentValue}
	itemAttachmentType      = &entityType{name: "itemAttachment", set: "attachments", bases: []string{"attachment"}, expands: []string{"item"}, value: attachmentValue}
	referenceAttachmentType = &entityType{name: "referenceAttachment", set: "attachments", bases: []string{"attachment"}, value: attachmentValue}
	betaReferenceType       = &entityType{name: "referenceAttachment", set: "attachments", bases: []string{"attachment", "betaReferenceAttachment"}, value: attachmentValue}
)

func (a *attachment) typ() *entityType {
	switch {
	case a.item != nil:
		return itemAttachmentType
	case a.link != nil:
		return referenceAttachmentType
	}
	return attachmentType
}

func attachmentValue(v any, name string) (any, bool) {
	a := v.(*attachment)
	switch name {
	case "id":
		return a.id, true
	case "name":
		return a.name, true
	case "contentType":
		return text(a.kind), true
	case "size":
		if a.item != nil {
			return len(a.item.mime(a.id)), true
		}
		return len(a.content), true
	case "isInline":
		return a.inline, true
	case "lastModifiedDateTime":
		return date(a.modified), true
	}
	switch { // what only one of them has
	case a.link != nil:
		return a.link.get(name), slices.ContainsFunc(a.link, func(f field) bool { return f.name == name })
	case a.item != nil:
		return nil, false
	}
	switch name {
	case "contentId":
		return text(a.contentID), true
	case "contentLocation":
		return text(a.location), true
	case "contentBytes":
		return base64.StdEncoding.EncodeToString(a.content), true
	}
	return nil, false
}

func (c *call) newAttachment() *attachment {
	c.mail.mu.Lock()
	defer c.mail.mu.Unlock()
	return &attachment{id: c.mail.newID("attachment"), modified: c.World.Now()}
}

// header is the head of the attachment's part in MIME.
func (a *attachment) header() textproto.MIMEHeader {
	disposition := "attachment"
	if a.inline {
		disposition = "inline"
	}
	h := textproto.MIMEHeader{"Content-Type": {oneLine(a.kind)}, "Content-Transfer-Encoding": {"base64"},
		"Content-Disposition": {mime.FormatMediaType(disposition, map[string]string{"filename": a.name})}}
	if a.item != nil {
		h.Set("Content-Type", "message/rfc822")
		h.Set("Content-Transfer-Encoding", "7bit")
	}
	if a.contentID != "" {
		h.Set("Content-ID", "<"+oneLine(a.contentID)+">")
	}
	return h
}

// attachment makes an attachment out of a JSON value, or answers.
func (c *call) attachment(v any) (*attachment, bool) {
	body, _ := v.(map[string]any)
	readOnly := []string{"id", "lastModifiedDateTime"}
	var given fields
	var ok bool
	a := c.newAttachment()
	switch kind := strings.TrimPrefix(str(body["@odata.type"]), "#"); kind {
	case "microsoft.graph.fileAttachment":
		given, ok = c.fieldsOf(body, attachmentType, readOnly, "size")
		ok = ok && c.attachedFile(a, given)
	case "microsoft.graph.itemAttachment":
		given, ok = c.fieldsOf(body, itemAttachmentType, readOnly, "size", "item")
		ok = ok && c.attachedItem(a, given.get("item"))
	case "microsoft.graph.referenceAttachment":
		t := referenceAttachmentType
		if c.version == "beta" {
			t = betaReferenceType
		}
		given, ok = c.fieldsOf(body, t, readOnly, "size")
		ok = ok && c.attachedLink(a, given)
	default:
		c.refuse(http.StatusBadRequest, "UnableToDeserializePostBody", "were unable to deserialize the attachment: its @odata.type must be #microsoft.graph.fileAttachment, itemAttachment or referenceAttachment.")
	}
	switch {
	case !ok:
		return nil, false
	case given.text("name") == "":
		c.refuse(http.StatusBadRequest, "ErrorInvalidRequest", "The attachment has no name.")
		return nil, false
	}
	a.name, a.inline, a.kind = given.text("name"), given.get("isInline") == true, cmp.Or(given.text("contentType"), a.kind)
	return a, true
}

// attachedFile puts a file into an attachment, or answers.
func (c *call) attachedFile(a *attachment, given fields) bool {
	content, err := base64.StdEncoding.DecodeString(given.text("contentBytes"))
	switch {
	case err != nil || given.get("contentBytes") == nil:
		c.refuse(http.StatusBadRequest, "RequestBodyRead", "The contentBytes of the attachment are not base64.")
		return false
	case len(content) > maxAttachment:
		c.refuse(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "An attachment of 3 MB or more takes an upload session.")
		return false
	}
	a.content, a.contentID, a.location, a.kind = content, given.text("contentId"), given.text("contentLocation"), "application/octet-stream"
	return true
}

// attachedItem puts another message into an attachment, or answers.
func (c *call) attachedItem(a *attachment, v any) bool {
	item, _ := v.(map[string]any)
	switch kind := strings.TrimPrefix(str(item["@odata.type"]), "#"); kind {
	case "microsoft.graph.message":
	case "microsoft.graph.event", "microsoft.graph.contact":
		c.refuse(http.StatusNotImplemented, "NotImplemented", "The emulator attaches messages, not items of the type '"+kind+"'.")
		return false
	default:
		c.refuse(http.StatusBadRequest, "ErrorInvalidProperty", "The property 'Item' is required when creating the entity.")
		return false
	}
	given, ok := c.fieldsOf(item, messageType, nil, "attachments")
	if !ok {
		return false
	}
	inner := message{values: map[string]any{"subject": "", "isDraft": true, "body": map[string]any{"contentType": "text", "content": ""}}}
	a.item = &inner
	return c.write(a.item, given)
}

// attachedLink puts a link to a file into an attachment, or answers. Version 1.0
// has no word for the address, and so makes none.
func (c *call) attachedLink(a *attachment, given fields) bool {
	if given.text("sourceUrl") == "" {
		c.refuse(http.StatusBadRequest, "ErrorInvalidProperty", "The property 'SourceUrl' is required when creating the entity.")
		return false
	}
	a.link = fields{{"isFolder", given.get("isFolder") == true}, {"permission", cmp.Or(given.text("permission"), "other")},
		{"providerType", cmp.Or(given.text("providerType"), "other")}, {"sourceUrl", given.get("sourceUrl")},
		{"previewUrl", given.get("previewUrl")}, {"thumbnailUrl", given.get("thumbnailUrl")}}
	return true
}

// showAttachment shows an attachment, or those of its properties that are
// selected.
func (c *call) showAttachment(a *attachment, selected []string) object {
	if a.link != nil && c.version == "beta" {
		return c.withType(betaReferenceType.show(a, selected), betaReferenceType)
	}
	return c.typed(a, selected)
}

func attachmentContext(u *directory.User, m *message) string {
	return "users('" + u.ID + "')/messages('" + m.id + "')/attachments"
}

func (c *call) attachments() {
	q, ok := c.query(attachmentType, collection&^expandable)
	if !ok {
		return
	}
	c.onMessage(func(u *directory.User, m *message) {
		c.collect(q, attachmentType, attachmentContext(u, m), all(m.attachments), func(v any) object { return c.showAttachment(v.(*attachment), q.selected) })
	})
}

// onAttachment finds the attachment of the path and works on it, or answers
// 404.
func (c *call) onAttachment(do func(u *directory.User, m *message, a *attachment)) {
	c.onMessage(func(u *directory.User, m *message) {
		i := slices.IndexFunc(m.attachments, func(a *attachment) bool { return a.id == c.arg(2) })
		if i < 0 {
			c.itemNotFound()
			return
		}
		do(u, m, m.attachments[i])
	})
}

func (c *call) oneAttachment() {
	q, ok := c.query(attachmentType, expandable)
	if !ok {
		return
	}
	c.onAttachment(func(u *directory.User, m *message, a *attachment) {
		o := c.showAttachment(a, q.selected)
		for _, e := range q.expand { // there is nothing to expand but the item
			if a.item != nil {
				o = append(o, member{e.relation, c.typed(a.item, e.selected)})
			}
		}
		c.entity(attachmentContext(u, m)+q.columns()+"/$entity", o)
	})
}

func (c *call) attachmentValue() {
	if !c.noOptions() {
		return
	}
	c.onAttachment(func(_ *directory.User, _ *message, a *attachment) {
		kind, content := a.kind, a.content
		switch {
		case a.link != nil:
			c.refuse(http.StatusMethodNotAllowed, "ErrorInvalidOperation", "'$value' segment is not supported for the given attachment. '$value' segment is only supported for File Attachments and Item Attachments.")
			return
		case a.item != nil:
			kind, content = "text/plain", a.item.mime(a.id)
		}
		c.w.Header().Set("Content-Type", kind)
		c.w.Header().Set("Content-Length", strconv.Itoa(len(content)))
		c.w.Write(content)
	})
}

func (c *call) addAttachment() {
	body, ok := c.readObject(true)
	if !ok || !c.noOptions() {
		return
	}
	c.onMessage(func(u *directory.User, m *message) {
		a, ok := c.attachment(body)
		if !ok {
			return
		}
		m = c.mail.replace(u.ID, m, func(n *message) { n.attachments = append(slices.Clone(n.attachments), a) })
		c.created(attachmentContext(u, m)+"/$entity", fmt.Sprintf("/users/%s/messages/%s/attachments/%s", u.ID, m.id, a.id), c.showAttachment(a, nil))
	})
}

func (c *call) deleteAttachment() {
	if !c.noOptions() {
		return
	}
	c.onAttachment(func(u *directory.User, m *message, a *attachment) {
		c.mail.replace(u.ID, m, func(n *message) {
			n.attachments = slices.DeleteFunc(slices.Clone(n.attachments), func(o *attachment) bool { return o == a })
		})
		c.noContent()
	})
}
