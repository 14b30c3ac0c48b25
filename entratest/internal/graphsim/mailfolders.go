package graphsim

import (
	"net/http"
	"slices"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// folder is a mail folder. Its key is a well-known name or, of one that
// somebody made, its id; parent is the key of the folder that it is in.
type folder struct {
	owner, key, parent, display string
	total, unread, children     int    // filled when it is shown
	arrived                     uint64 // the change of the mailbox that made it
}

// mailRoot is the folder that all others are in.
const mailRoot = "msgfolderroot"

// wellKnown are the keys and names of the folders that every mailbox has.
var wellKnown = [][2]string{{"archive", "Archive"}, {"deleteditems", "Deleted Items"}, {"drafts", "Drafts"}, {"inbox", "Inbox"}, {"junkemail", "Junk Email"},
	{"outbox", "Outbox"}, {"sentitems", "Sent Items"}}

func folderID(owner, key string) string {
	if strings.HasPrefix(key, "AAMk") {
		return key
	}
	return "AAMk" + derivedToken("folder", owner, key)
}

var folderType = &entityType{name: "mailFolder", set: "mailFolders",
	value: func(v any, name string) (any, bool) {
		f := v.(folder)
		switch name {
		case "id":
			return folderID(f.owner, f.key), true
		case "displayName":
			return f.display, true
		case "parentFolderId":
			return folderID(f.owner, f.parent), true
		case "totalItemCount":
			return f.total, true
		case "unreadItemCount":
			return f.unread, true
		case "childFolderCount":
			return f.children, true
		case "isHidden":
			return false, true
		}
		return nil, false
	}}

// folders are all folders of a mailbox, the root first.
func (c *call) folders(u *directory.User) []folder {
	c.mail.mu.Lock()
	defer c.mail.mu.Unlock()
	b := c.mail.box(u.ID)
	out := []folder{{owner: u.ID, key: mailRoot, parent: "root", display: "Top of Information Store"}}
	for _, f := range wellKnown {
		out = append(out, folder{owner: u.ID, key: f[0], parent: mailRoot, display: f[1]})
	}
	out = append(out, b.folders...)
	for i := range out {
		f := &out[i]
		for _, other := range out {
			if other.parent == f.key {
				f.children++
			}
		}
		for _, m := range b.messages {
			if m.folder == f.key {
				f.total++
				if m.values["isRead"] != true {
					f.unread++
				}
			}
		}
	}
	return out
}

// findFolder looks a folder up by its id or its well-known name, or answers
// 404. No key is no folder.
func (c *call) findFolder(u *directory.User, key string) (folder, bool) {
	if key == "" {
		return folder{}, true
	}
	for _, f := range c.folders(u) {
		if strings.EqualFold(f.key, key) || folderID(u.ID, f.key) == key {
			return f, true
		}
	}
	c.itemNotFound()
	return folder{}, false
}

// onFolder finds the folder of the path and works on it; the root if the path
// names none.
func (c *call) onFolder(do func(u *directory.User, f folder)) {
	u, ok := c.mailboxOwner()
	if !ok {
		return
	}
	key := mailRoot
	if len(c.args) > 1 {
		key = c.arg(1)
	}
	if f, ok := c.findFolder(u, key); ok {
		do(u, f)
	}
}

// mailFolders answers with the folders in a folder.
func (c *call) mailFolders() {
	q, ok := c.queryOf(folderType, collection&^expandable|skippable, mailPage, maxMailPage)
	if !ok {
		return
	}
	c.onFolder(func(u *directory.User, in folder) {
		rows := all(slices.DeleteFunc(c.folders(u), func(f folder) bool { return f.parent != in.key }))
		c.collect(q, folderType, "users('"+u.ID+"')/mailFolders", rows, func(v any) object { return folderType.show(v, q.selected) })
	})
}

func (c *call) mailFolder() {
	q, ok := c.query(folderType, 0)
	if !ok {
		return
	}
	c.onFolder(func(u *directory.User, f folder) {
		c.entity("users('"+u.ID+"')/mailFolders"+q.columns()+"/$entity", folderType.show(f, q.selected))
	})
}

var folderReadOnly = []string{"id", "childFolderCount", "parentFolderId", "totalItemCount", "unreadItemCount"}

// folderNamed checks the name that a folder is to have among those beside it, or
// answers 400 or 409.
func (c *call) folderNamed(u *directory.User, parent, key, name string) bool {
	switch {
	case strings.TrimSpace(name) == "":
		c.refuse(http.StatusBadRequest, "ErrorInvalidRequest", "The folder has no displayName.")
		return false
	case slices.ContainsFunc(c.folders(u), func(f folder) bool { return f.parent == parent && f.key != key && strings.EqualFold(f.display, name) }):
		c.refuse(http.StatusConflict, "ErrorFolderExists", "A folder with the specified name already exists., Could not create folder '"+name+"'.")
		return false
	}
	return true
}

func (c *call) createMailFolder() {
	given, ok := c.fields(folderType, folderReadOnly)
	if !ok {
		return
	}
	if given.get("isHidden") == true {
		c.refuse(http.StatusNotImplemented, "NotImplemented", "The emulator's mail folders are not hidden.")
		return
	}
	c.onFolder(func(u *directory.User, in folder) {
		if !c.folderNamed(u, in.key, "", given.text("displayName")) {
			return
		}
		c.mail.mu.Lock()
		f := folder{owner: u.ID, key: c.mail.newID("folder"), parent: in.key, display: given.text("displayName")}
		b := c.mail.box(u.ID)
		f.arrived = b.touch(f.key, in.key)
		b.folders = append(b.folders, f)
		c.mail.mu.Unlock()
		c.created("users('"+u.ID+"')/mailFolders/$entity", "/users/"+u.ID+"/mailFolders/"+f.key, folderType.show(f, nil))
	})
}

// onOwnFolder works on a folder that somebody made: the others are always
// there. change is called under the lock.
func (c *call) onOwnFolder(allowed func(u *directory.User, f folder) bool, change func(b *mailbox, i int)) {
	c.onFolder(func(u *directory.User, f folder) {
		if !strings.HasPrefix(f.key, "AAMk") {
			c.refuse(http.StatusBadRequest, "ErrorDeleteDistinguishedFolder", "Distinguished folders cannot be deleted or renamed.")
			return
		}
		if !allowed(u, f) {
			return
		}
		c.mail.mu.Lock()
		b := c.mail.box(u.ID)
		i := slices.IndexFunc(b.folders, func(o folder) bool { return o.key == f.key })
		if i >= 0 {
			change(b, i)
		}
		c.mail.mu.Unlock()
		if c.r.Method == http.MethodDelete {
			c.noContent()
			return
		}
		c.mailFolder()
	})
}

func (c *call) updateMailFolder() {
	given, ok := c.fields(folderType, append([]string{"isHidden"}, folderReadOnly...))
	if !ok {
		return
	}
	name := given.text("displayName")
	c.onOwnFolder(func(u *directory.User, f folder) bool { return c.folderNamed(u, f.parent, f.key, name) },
		func(b *mailbox, i int) {
			b.folders[i].display = name
			b.touch(b.folders[i].key)
		})
}

// deleteMailFolder moves a folder to the deleted items, or deletes it for good
// with all that is in it if it is there already.
func (c *call) deleteMailFolder() {
	if !c.noOptions() {
		return
	}
	c.onOwnFolder(func(*directory.User, folder) bool { return true }, func(b *mailbox, i int) {
		parent := b.folders[i].parent
		b.touch(b.folders[i].key, parent, "deleteditems")
		if parent != "deleteditems" {
			b.folders[i].parent = "deleteditems"
			return
		}
		gone := []string{b.folders[i].key}
		for n := 0; n < len(gone); n++ {
			for _, f := range b.folders {
				if f.parent == gone[n] {
					gone = append(gone, f.key)
				}
			}
		}
		for _, m := range b.messages {
			if slices.Contains(gone, m.folder) {
				b.lose(m.id, m.folder, m.arrived)
			}
		}
		for _, f := range b.folders {
			if slices.Contains(gone, f.key) {
				b.lose(f.key, "", f.arrived)
			}
		}
		b.folders = slices.DeleteFunc(b.folders, func(f folder) bool { return slices.Contains(gone, f.key) })
		b.messages = slices.DeleteFunc(b.messages, func(m *message) bool { return slices.Contains(gone, m.folder) })
	})
}
