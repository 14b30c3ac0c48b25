package graphsim

import (
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

// attachment is a file that is attached to a message. Nobody changes it.
type attachment struct {
	id, name, kind, contentID, location string
	inline                              bool
	content                             []byte
	modified                            time.Time
}

// maxAttachment is the largest file that is attached in one request.
const maxAttachment = 3 << 20

var attachmentType = &entityType{name: "fileAttachment", set: "attachments", bases: []string{"attachment"},
	value: func(v any, name string) (any, bool) {
		a := v.(*attachment)
		switch name {
		case "id":
			return a.id, true
		case "name":
			return a.name, true
		case "contentType":
			return a.kind, true
		case "size":
			return len(a.content), true
		case "isInline":
			return a.inline, true
		case "contentId":
			return text(a.contentID), true
		case "contentLocation":
			return text(a.location), true
		case "lastModifiedDateTime":
			return date(a.modified), true
		case "contentBytes":
			return base64.StdEncoding.EncodeToString(a.content), true
		}
		return nil, false
	}}

// header is the head of the attachment's part in MIME.
func (a *attachment) header() textproto.MIMEHeader {
	disposition := "attachment"
	if a.inline {
		disposition = "inline"
	}
	h := textproto.MIMEHeader{"Content-Type": {a.kind}, "Content-Transfer-Encoding": {"base64"},
		"Content-Disposition": {mime.FormatMediaType(disposition, map[string]string{"filename": a.name})}}
	if a.contentID != "" {
		h.Set("Content-ID", "<"+a.contentID+">")
	}
	return h
}

// attachment makes an attachment out of a JSON value, or answers.
func (c *call) attachment(v any) (*attachment, bool) {
	body, _ := v.(map[string]any)
	switch kind := str(body["@odata.type"]); strings.TrimPrefix(kind, "#") {
	case "microsoft.graph.fileAttachment":
	case "microsoft.graph.itemAttachment", "microsoft.graph.referenceAttachment":
		c.refuse(http.StatusNotImplemented, "NotImplemented", "The emulator's messages have attachments of the type fileAttachment only, not '"+kind+"'.")
		return nil, false
	default:
		c.refuse(http.StatusBadRequest, "UnableToDeserializePostBody", "were unable to deserialize the attachment: its @odata.type must be #microsoft.graph.fileAttachment.")
		return nil, false
	}
	given, ok := c.fieldsOf(body, attachmentType, []string{"id", "lastModifiedDateTime"}, "size")
	if !ok {
		return nil, false
	}
	content, err := base64.StdEncoding.DecodeString(given.text("contentBytes"))
	switch {
	case given.text("name") == "":
		c.refuse(http.StatusBadRequest, "ErrorInvalidRequest", "The attachment has no name.")
		return nil, false
	case err != nil || given.get("contentBytes") == nil:
		c.refuse(http.StatusBadRequest, "RequestBodyRead", "The contentBytes of the attachment are not base64.")
		return nil, false
	case len(content) > maxAttachment:
		c.refuse(http.StatusRequestEntityTooLarge, "RequestEntityTooLarge", "An attachment of 3 MB or more takes an upload session, which the emulator has not.")
		return nil, false
	}
	a := &attachment{name: given.text("name"), kind: given.text("contentType"), contentID: given.text("contentId"), location: given.text("contentLocation"), inline: given.get("isInline") == true,
		content: content, modified: c.World.Now()}
	if a.kind == "" {
		a.kind = "application/octet-stream"
	}
	c.mail.mu.Lock()
	a.id = c.mail.newID("attachment")
	c.mail.mu.Unlock()
	return a, true
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
		c.collect(q, attachmentType, attachmentContext(u, m), all(m.attachments), func(v any) object { return c.typed(v, q.selected) })
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
	q, ok := c.query(attachmentType, 0)
	if !ok {
		return
	}
	c.onAttachment(func(u *directory.User, m *message, a *attachment) {
		c.entity(attachmentContext(u, m)+q.columns()+"/$entity", c.typed(a, q.selected))
	})
}

func (c *call) attachmentValue() {
	if !c.noOptions() {
		return
	}
	c.onAttachment(func(_ *directory.User, _ *message, a *attachment) {
		c.w.Header().Set("Content-Type", a.kind)
		c.w.Header().Set("Content-Length", strconv.Itoa(len(a.content)))
		c.w.Write(a.content)
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
		m = c.mail.replace(u.ID, m, func(n *message) { n.attachments = append(slices.Clone(m.attachments), a) })
		c.created(attachmentContext(u, m)+"/$entity", fmt.Sprintf("/users/%s/messages/%s/attachments/%s", u.ID, m.id, a.id), c.typed(a, nil))
	})
}

func (c *call) deleteAttachment() {
	if !c.noOptions() {
		return
	}
	c.onAttachment(func(u *directory.User, m *message, a *attachment) {
		c.mail.replace(u.ID, m, func(n *message) {
			n.attachments = slices.DeleteFunc(slices.Clone(m.attachments), func(o *attachment) bool { return o == a })
		})
		c.noContent()
	})
}
