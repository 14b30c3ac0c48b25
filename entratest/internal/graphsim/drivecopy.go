package graphsim

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

// copyLife is how long the progress of a copy can be asked for.
const copyLife = time.Hour

// copying is a copy that was begun.
type copying struct {
	made    string // the id of the copy
	looked  bool
	expires time.Time
}

// copyItem copies a file or a folder with all that is in it. Graph does so
// behind the caller's back, and tells of it at an address that takes no token.
func (c *call) copyItem() {
	behavior, ok := c.behaviorOption()
	if !ok {
		return
	}
	body, ok := c.readObject(false)
	if !ok {
		return
	}
	var to any
	name := ""
	for _, sent := range slices.Sorted(maps.Keys(body)) {
		switch {
		case annotation(sent):
		case sent == conflictBehavior:
			behavior = str(body[sent])
		case strings.EqualFold(sent, "parentReference"):
			to = body[sent]
		case strings.EqualFold(sent, "name") && body[sent] != nil:
			if name = str(body[sent]); invalidName(name) {
				c.badName()
				return
			}
		case strings.EqualFold(sent, "name"):
		default:
			c.refuse(http.StatusBadRequest, "invalidRequest", "The emulator's copy has no parameter '"+sent+"': it has parentReference and name.")
			return
		}
	}
	c.onItem(false, func(t *tree, i *item) {
		parent := t.byID(i.parent)
		if drive := str(inside(to, "driveId")); drive != "" && drive != driveID(t.owner) {
			c.refuse(http.StatusNotImplemented, "notSupported", "The emulator copies within a drive only.")
			return
		}
		if to != nil {
			parent = t.referred(to)
		}
		size := 0
		for _, o := range t.items {
			if t.within(o, i) {
				size += len(o.content)
			}
		}
		switch {
		case i.parent == "":
			c.refuse(http.StatusBadRequest, "invalidRequest", "The root cannot be copied.")
			return
		case parent == nil:
			c.noItem()
			return
		case !parent.folder || t.within(parent, i):
			c.refuse(http.StatusBadRequest, "invalidRequest", "An item cannot be copied into a file or into itself.")
			return
		case t.used()+size > driveQuota:
			c.overQuota()
			return
		}
		if name == "" {
			name = i.name
		}
		if old := t.child(parent.id, name); old != nil && i.folder && strings.EqualFold(behavior, "replace") {
			c.refuse(http.StatusConflict, "nameAlreadyExists", "The specified item name already exists.")
			return
		}
		made, _, ok := c.place(t, parent, name, behavior, "fail")
		if !ok {
			return
		}
		if made != i {
			made = c.copyInto(t, i, made)
		}
		d := &c.Server.drives
		if d.copies == nil {
			d.copies = map[string]*copying{}
		}
		now := c.World.Now()
		maps.DeleteFunc(d.copies, func(_ string, old *copying) bool { return now.After(old.expires) })
		secret := newSecretPath()
		d.copies[secret] = &copying{made: made.id, expires: now.Add(copyLife)}
		c.w.Header().Set("Location", c.storageOrigin()+"/storage/monitor/"+secret)
		c.w.Header().Set("Content-Length", "0")
		c.w.WriteHeader(http.StatusAccepted)
	})
}

// copyInto makes an item a copy of another, with all that is in it. The caller
// holds the lock.
func (c *call) copyInto(t *tree, from, to *item) *item {
	to = t.replace(to, func(i *item) {
		i.folder, i.content, i.kind, i.hash, i.origin, i.modified = from.folder, from.content, from.kind, from.hash, from.origin, c.World.Now()
	})
	for _, child := range slices.Clone(t.items) {
		if child.parent == from.id {
			if made, _, ok := c.place(t, to, child.name, "fail", ""); ok {
				c.copyInto(t, child, made)
			}
		}
	}
	return to
}

// monitor tells how far a copy is. The first look finds it under way, so that
// clients which take the first answer for the last are found out.
func (c *call) monitor(secret string) {
	if !c.readsOnly() {
		return
	}
	d := &c.Server.drives
	d.mu.Lock()
	defer d.mu.Unlock()
	job := d.copies[secret]
	switch {
	case job == nil || c.World.Now().After(job.expires):
		c.noItem()
	case !job.looked:
		job.looked = true
		c.send(http.StatusAccepted, "application/json; charset=utf-8", object{{"operation", "itemCopy"}, {"percentageComplete", 50.0}, {"status", "inProgress"}})
	default:
		c.send(http.StatusAccepted, "application/json; charset=utf-8", object{{"operation", "itemCopy"}, {"percentageComplete", 100.0}, {"resourceId", job.made}, {"status", "completed"}})
	}
}
