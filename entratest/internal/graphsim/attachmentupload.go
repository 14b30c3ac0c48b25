package graphsim

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// maxLargeAttachment is the largest file that is attached in fragments.
const maxLargeAttachment = 150 << 20

// attachmentUpload is a large attachment on its way to a message.
type attachmentUpload struct {
	arrival
	owner, message string
	made           *attachment
}

func (c *call) createAttachmentSession() {
	given, ok := c.action("createUploadSession", true, "AttachmentItem attachmentItem")
	if !ok {
		return
	}
	item, _ := given["AttachmentItem"].(map[string]any)
	size, _ := item["size"].(float64)
	name := str(item["name"])
	switch {
	case str(item["attachmentType"]) != "file":
		c.refuse(http.StatusBadRequest, "ErrorInvalidRequest", "The attachmentType of the AttachmentItem must be 'file'.")
		return
	case name == "":
		c.refuse(http.StatusBadRequest, "ErrorInvalidRequest", "The attachment has no name.")
		return
	case size < maxAttachment:
		c.refuse(http.StatusBadRequest, "ErrorAttachmentSizeShouldNotBeLessThanMinimumSize", "Attachment size must be greater than the minimum size.")
		return
	case size > maxLargeAttachment:
		c.refuse(http.StatusBadRequest, "ErrorAttachmentSizeLimitExceeded", "The attachment is larger than 150 MB.")
		return
	}
	c.onMessage(func(u *directory.User, m *message) {
		up := &attachmentUpload{arrival: arrival{total: int(size), expires: c.World.Now().Add(sessionLife)}, owner: u.ID, message: m.id, made: c.newAttachment()}
		up.made.name, up.made.kind = name, str(item["contentType"])
		up.made.inline, up.made.contentID = item["isInline"] == true, str(item["contentId"])
		if up.made.kind == "" {
			up.made.kind = "application/octet-stream"
		}
		secret := newSecretPath()
		c.mail.mu.Lock()
		if c.mail.uploads == nil {
			c.mail.uploads = map[string]*attachmentUpload{}
		}
		for k, old := range c.mail.uploads { // nobody will come back for these
			if c.World.Now().After(old.expires) {
				delete(c.mail.uploads, k)
			}
		}
		c.mail.uploads[secret] = up
		c.mail.mu.Unlock()
		c.answer(http.StatusCreated, "microsoft.graph.uploadSession", object{{"uploadUrl", c.storageOrigin() + "/storage/attachment/" + secret}, {"expirationDateTime", date(up.expires)}, {"nextExpectedRanges", []string{"0-"}}})
	})
}

// uploadAttachment answers at the address of an attachment's upload, in the
// words of Outlook, which is behind it.
func (c *call) uploadAttachment(secret string) {
	content, ok := c.readFragment()
	if !ok {
		return
	}
	up, finished := c.attachmentFragment(secret, content)
	if !finished {
		return
	}
	up.made.content, up.made.modified = up.content(), c.World.Now()
	c.mail.mu.Lock()
	b := c.mail.box(up.owner)
	var m *message
	if i := slices.IndexFunc(b.messages, func(m *message) bool { return m.id == up.message }); i >= 0 {
		m = b.messages[i]
	}
	c.mail.mu.Unlock()
	if m == nil {
		c.itemNotFound()
		return
	}
	c.mail.replace(up.owner, m, func(n *message) { n.attachments = append(slices.Clone(n.attachments), up.made) })
	c.w.Header().Set("Location", fmt.Sprintf("%s/api/v2.0/Users('%s')/Messages('%s')/Attachments('%s')", c.storageOrigin(), up.owner, up.message, up.made.id))
	c.w.Header().Set("Content-Length", "0")
	c.w.WriteHeader(http.StatusCreated)
}

// attachmentFragment takes a fragment and says whether it was the last one, or
// answers.
func (c *call) attachmentFragment(secret string, content []byte) (up *attachmentUpload, finished bool) {
	c.mail.mu.Lock()
	defer c.mail.mu.Unlock()
	up = c.mail.uploads[secret]
	if up == nil || c.World.Now().After(up.expires) {
		delete(c.mail.uploads, secret)
		c.noSession()
		return nil, false
	}
	switch c.r.Method {
	case http.MethodDelete:
		delete(c.mail.uploads, secret)
		c.noContent()
	case http.MethodPut:
		if !c.fragment(&up.arrival, content, 1) {
			break
		}
		if up.done() {
			delete(c.mail.uploads, secret)
			return up, true
		}
		up.expires = c.World.Now().Add(sessionLife)
		c.send(http.StatusOK, "application/json; charset=utf-8", object{{"ExpirationDateTime", up.expires.UTC().Format(time.RFC3339)}, {"NextExpectedRanges", []string{strconv.Itoa(up.have)}}})
	default:
		c.w.Header().Set("Allow", "DELETE, PUT")
		c.refuse(http.StatusMethodNotAllowed, "invalidRequest", "The HTTP method is not allowed for this address.")
	}
	return up, false
}
