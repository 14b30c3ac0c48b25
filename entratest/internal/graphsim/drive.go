package graphsim

import (
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// driveQuota is how much a drive holds. Its files are in memory.
const driveQuota = 256 << 20

// The hosts that the web pages of drives and sites would be on.
const (
	personalHost = "fobexample-my.sharepoint.com"
	siteHost     = "fobexample.sharepoint.com"
)

// drives are the files of everybody.
type drives struct {
	mu      sync.Mutex // guards below
	trees   map[string]*tree
	uploads map[string]*upload  // by the secret of their addresses
	copies  map[string]*copying // likewise
	key     []byte              // signs addresses for downloads
	made    int
}

// tree is the drive of a user. Items are replaced as a whole, so that those
// handed out stay as they are.
type tree struct {
	owner  string
	items  []*item // the root first
	gone   []*item // deleted, the last one last
	seq    uint64  // numbers the changes
	forgot uint64  // of deleted items that are not remembered: the last change
}

// item is a file or a folder.
type item struct {
	id, parent, name  string // the root has no parent
	owner             string
	folder            bool
	content           []byte
	kind, hash        string // of the content
	created, modified time.Time
	origin            fileTimes // of the file that it is a copy of
	version           int
	made              int    // in which order
	seq               uint64 // the number of its last change
	deleted           bool
	children          int // filled when it is shown
	path              string
}

// fileTimes are what a client says of a file on its own disk.
type fileTimes struct{ created, modified time.Time }

// set reads a fileSystemInfo. What it does not say stays as it is.
func (f *fileTimes) set(v any) error {
	info, ok := v.(map[string]any)
	if !ok {
		return errors.New("fileSystemInfo must be an object.")
	}
	for name, v := range info {
		at, err := time.Parse(time.RFC3339, str(v))
		switch name {
		case "createdDateTime":
			f.created = at
		case "lastModifiedDateTime":
			f.modified = at
		case "lastAccessedDateTime", "@odata.type":
			continue
		default:
			return fmt.Errorf("fileSystemInfo has no '%s'.", name)
		}
		if err != nil {
			return fmt.Errorf("The value of '%s' is not a time.", name)
		}
	}
	return nil
}

func driveID(owner string) string {
	raw, _ := hex.DecodeString(strings.ReplaceAll(owner, "-", ""))
	return "b!" + base64.RawURLEncoding.EncodeToString(raw)
}

// driveOwner is the id of the user whose drive has an id.
func driveOwner(id string) (string, bool) {
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(id, "b!"))
	if err != nil || len(raw) != 16 || !strings.HasPrefix(id, "b!") {
		return "", false
	}
	return fmt.Sprintf("%x-%x-%x-%x-%x", raw[0:4], raw[4:6], raw[6:8], raw[8:10], raw[10:16]), true
}

func (i *item) etag() string { return fmt.Sprintf(`"{%s},%d"`, i.id, i.version) }

var itemType = &entityType{name: "driveItem",
	value: func(v any, name string) (any, bool) {
		i := v.(*item)
		switch name {
		case "id":
			return i.id, true
		case "name":
			return i.name, true
		case "eTag":
			return i.etag(), true
		case "cTag":
			return fmt.Sprintf(`"c:{%s},%d"`, i.id, i.version), true
		case "size":
			return len(i.content), true
		case "createdDateTime":
			return date(i.created), true
		case "lastModifiedDateTime":
			return date(i.modified), true
		case "fileSystemInfo":
			info := i.origin
			if info.created.IsZero() {
				info.created = i.created
			}
			if info.modified.IsZero() {
				info.modified = i.modified
			}
			return object{{"createdDateTime", date(info.created)}, {"lastModifiedDateTime", date(info.modified)}}, true
		case "webUrl":
			return "https://" + personalHost + "/personal/" + i.owner + "/Documents" + i.path, true
		case "file":
			if i.folder {
				return nil, true
			}
			return object{{"mimeType", i.kind}, {"hashes", object{{"quickXorHash", i.hash}}}}, true
		case "folder":
			if !i.folder {
				return nil, true
			}
			return object{{"childCount", i.children}}, true
		case "deleted":
			if i.deleted {
				return object{{"state", "deleted"}}, true
			}
			return nil, true
		case "root":
			if i.parent == "" {
				return object{}, true
			}
			return nil, true
		case "parentReference":
			ref := object{{"driveId", driveID(i.owner)}, {"driveType", "business"}}
			if i.parent != "" {
				ref = append(ref, member{"id", i.parent}, member{"path", "/drive/root:" + strings.TrimSuffix(path.Dir(i.path), "/")})
			}
			return ref, true
		}
		return nil, false
	}}

// showItem shows an item. What does not apply to it is left out, not null.
func (c *call) showItem(i *item, selected []string) object {
	o := slices.DeleteFunc(itemType.show(i, selected), func(m member) bool {
		return m.value == nil && (m.name == "file" || m.name == "folder" || m.name == "root" || m.name == "deleted")
	})
	if !i.folder && !c.noMetadata() && selected == nil {
		o = append(object{{"@microsoft.graph.downloadUrl", c.downloadURL(i)}}, o...)
	}
	return o
}

// tree returns the drive of a user. The caller holds the lock.
func (d *drives) tree(owner string, now time.Time) *tree {
	if d.trees == nil {
		d.trees = map[string]*tree{}
	}
	t := d.trees[owner]
	if t == nil {
		t = &tree{owner: owner, seq: 1, items: []*item{{id: "01" + derivedToken("root", owner), owner: owner, name: "root", folder: true, created: now, modified: now, version: 1, seq: 1}}}
		d.trees[owner] = t
	}
	return t
}

func (t *tree) byID(id string) *item {
	for _, i := range t.items {
		if i.id == id {
			return i
		}
	}
	return nil
}

func (t *tree) child(parent, name string) *item {
	for _, i := range t.items {
		if i.parent == parent && strings.EqualFold(i.name, name) {
			return i
		}
	}
	return nil
}

// shown completes an item with what follows from the others.
func (t *tree) shown(i *item) *item {
	c := *i
	for _, o := range t.items {
		if o.parent == i.id {
			c.children++
		}
	}
	for at := i; at != nil && at.parent != ""; at = t.byID(at.parent) {
		c.path = "/" + at.name + c.path
	}
	return &c
}

func (t *tree) used() int {
	n := 0
	for _, i := range t.items {
		n += len(i.content)
	}
	return n
}

// replace puts a changed copy in the place of an item.
func (t *tree) replace(old *item, change func(*item)) *item {
	c := *old
	c.version++
	t.seq++
	c.seq = t.seq
	change(&c)
	t.items[slices.Index(t.items, old)] = &c
	return &c
}

// baseItem is the item that the path of the request begins at: the root, or one
// that is named by its id.
func (c *call) baseItem(t *tree) *item {
	if len(c.args) > 1 && c.args[1] != "root" {
		return t.byID(c.args[1])
	}
	return t.items[0]
}

// findItem looks the item of the path up. The caller holds the lock.
func (c *call) findItem(t *tree) *item {
	at := c.baseItem(t)
	for name := range strings.SplitSeq(c.path, "/") {
		if at != nil && name != "" {
			at = t.child(at.id, name)
		}
	}
	return at
}

func (c *call) noItem() {
	c.refuse(http.StatusNotFound, "itemNotFound", "The resource could not be found.")
}

// onItem finds the item of the path under the lock and works on it. change is
// for requests that change it: their If-Match is checked.
func (c *call) onItem(change bool, do func(t *tree, i *item)) {
	u, ok := c.driveUser()
	if !ok {
		return
	}
	d := &c.Server.drives
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tree(u.ID, c.World.Now())
	i := c.findItem(t)
	switch {
	case i == nil:
		c.noItem()
	case change && !c.ifMatch(i.etag()):
		c.modified()
	default:
		do(t, i)
	}
}

func (c *call) modified() {
	c.refuse(http.StatusPreconditionFailed, "resourceModified", "ETag does not match current item's value")
}

func (c *call) driveUser() (*directory.User, bool) {
	u, ok := c.World.User(c.tenant(), c.arg(0))
	if !ok {
		c.noItem()
	}
	return u, ok
}

// ownDrive is the drive of a user, as it is shown.
type ownDrive struct {
	of            *directory.User
	used          int
	made, changed time.Time
}

var driveType = &entityType{name: "drive",
	value: func(v any, name string) (any, bool) {
		d := v.(ownDrive)
		switch name {
		case "id":
			return driveID(d.of.ID), true
		case "driveType":
			return "business", true
		case "name":
			return "OneDrive", true
		case "webUrl":
			return "https://" + personalHost + "/personal/" + d.of.ID + "/Documents", true
		case "createdDateTime":
			return date(d.made), true
		case "lastModifiedDateTime":
			return date(d.changed), true
		case "owner":
			return object{{"user", object{{"id", d.of.ID}, {"displayName", d.of.DisplayName}}}}, true
		case "quota":
			return object{{"deleted", 0}, {"remaining", driveQuota - d.used}, {"state", "normal"}, {"total", driveQuota}, {"used", d.used}}, true
		}
		return nil, false
	}}

// ownDrive finds the drive that the path names, or answers 404.
func (c *call) ownDrive() (ownDrive, bool) {
	u, ok := c.driveUser()
	if !ok {
		return ownDrive{}, false
	}
	d := &c.Server.drives
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tree(u.ID, c.World.Now())
	own := ownDrive{of: u, used: t.used(), made: t.items[0].created}
	for _, i := range slices.Concat(t.items, t.gone) {
		if i.modified.After(own.changed) {
			own.changed = i.modified
		}
	}
	return own, true
}

func (c *call) drive() {
	q, ok := c.query(driveType, 0)
	if !ok {
		return
	}
	if d, ok := c.ownDrive(); ok {
		c.entity("drives"+q.columns()+"/$entity", driveType.show(d, q.selected))
	}
}

// drivesOf answers with all drives of a user, who has one.
func (c *call) drivesOf() {
	q, ok := c.query(driveType, pageable)
	if !ok {
		return
	}
	if d, ok := c.ownDrive(); ok {
		c.collect(q, driveType, "drives", []any{d}, func(v any) object { return driveType.show(v, q.selected) })
	}
}

func (c *call) itemContext(i *item) string { return "users('" + i.owner + "')/drive/items/$entity" }

func (c *call) driveItem() {
	q, ok := c.query(itemType, 0)
	if !ok {
		return
	}
	c.onItem(false, func(t *tree, i *item) {
		c.w.Header().Set("ETag", i.etag())
		if none := c.r.Header.Get("If-None-Match"); none == i.etag() {
			c.w.WriteHeader(http.StatusNotModified)
			return
		}
		c.entity(c.itemContext(i), c.showItem(t.shown(i), q.selected))
	})
}

func (c *call) children() {
	q, ok := c.queryOf(itemType, collection&^expandable, 200, 1000)
	if !ok {
		return
	}
	c.onItem(false, func(t *tree, i *item) {
		var rows []any
		for _, o := range t.items {
			if o.parent == i.id {
				rows = append(rows, t.shown(o))
			}
		}
		slices.SortFunc(rows, func(a, b any) int {
			return strings.Compare(strings.ToLower(a.(*item).name), strings.ToLower(b.(*item).name))
		})
		c.collect(q, itemType, "users('"+i.owner+"')/drive/items('"+i.id+"')/children", rows, func(v any) object { return c.showItem(v.(*item), q.selected) })
	})
}

const conflictBehavior = "@microsoft.graph.conflictBehavior"

// invalidName says whether OneDrive refuses a name.
func invalidName(name string) bool {
	return name == "" || name == "." || name == ".." || len(name) > 400 || strings.ContainsAny(name, `"*:<>?/\|`) || strings.TrimSpace(name) != name
}

func (c *call) badName() {
	c.refuse(http.StatusBadRequest, "invalidRequest", "The provided name cannot contain any of the following characters: \" * : < > ? / \\ |")
}

func (c *call) createFolder() {
	body, ok := c.readObject(true)
	if !ok || !c.noOptions() {
		return
	}
	name := str(body["name"])
	if _, folder := body["folder"].(map[string]any); !folder {
		c.refuse(http.StatusBadRequest, "invalidRequest", "Only folders are created here: send \"folder\": {}.")
		return
	}
	if invalidName(name) {
		c.badName()
		return
	}
	c.onItem(false, func(t *tree, parent *item) {
		made, _, ok := c.place(t, parent, name, str(body[conflictBehavior]), "fail")
		if !ok {
			return
		}
		made = t.replace(made, func(i *item) { i.folder = true })
		c.created(c.itemContext(made), "/users/"+made.owner+"/drive/items/"+made.id, c.showItem(t.shown(made), nil))
	})
}

// place finds or makes the item with a name in a folder, as the conflict
// behaviour wants it, or answers 409. The caller holds the lock.
func (c *call) place(t *tree, parent *item, name, behavior, unsaid string) (made *item, isNew, ok bool) {
	if behavior == "" {
		behavior = unsaid
	}
	old := t.child(parent.id, name)
	if old != nil {
		switch strings.ToLower(behavior) {
		case "replace":
			if old.folder {
				c.refuse(http.StatusConflict, "nameAlreadyExists", "The specified item name already exists.")
				return nil, false, false
			}
			return old, false, true
		case "rename":
			base, ext := strings.TrimSuffix(name, path.Ext(name)), path.Ext(name)
			for n := 1; t.child(parent.id, name) != nil; n++ {
				name = fmt.Sprintf("%s %d%s", base, n, ext)
			}
		case "fail":
			c.refuse(http.StatusConflict, "nameAlreadyExists", "The specified item name already exists.")
			return nil, false, false
		default:
			c.refuse(http.StatusBadRequest, "invalidRequest", "The value '"+behavior+"' of "+conflictBehavior+" is not valid.")
			return nil, false, false
		}
	}
	now := c.World.Now()
	d := &c.Server.drives
	d.made++
	t.seq++
	made = &item{id: "01" + derivedToken("item", t.owner, strconv.Itoa(d.made)), owner: t.owner, parent: parent.id, name: name, created: now, modified: now, made: d.made, seq: t.seq}
	t.items = append(t.items, made)
	return made, true, true
}

// folderFor finds the folder that the path of a new file is in, making what is
// missing, and the file's name; or answers. The caller holds the lock.
func (c *call) folderFor(t *tree) (parent *item, name string, ok bool) {
	if parent = c.baseItem(t); parent == nil {
		c.noItem()
		return nil, "", false
	}
	parts := strings.Split(strings.Trim(c.path, "/"), "/")
	for _, part := range parts {
		if invalidName(part) {
			c.badName()
			return nil, "", false
		}
	}
	for _, part := range parts[:len(parts)-1] {
		next := t.child(parent.id, part)
		if next == nil {
			next, _, _ = c.place(t, parent, part, "fail", "")
			next = t.replace(next, func(i *item) { i.folder = true })
		}
		if !next.folder {
			c.refuse(http.StatusConflict, "nameAlreadyExists", "The specified item name already exists.")
			return nil, "", false
		}
		parent = next
	}
	return parent, parts[len(parts)-1], true
}

func (c *call) updateItem() {
	body, ok := c.readObject(true)
	if !ok || !c.noOptions() {
		return
	}
	c.onItem(true, func(t *tree, i *item) {
		next := *i
		for k, v := range body {
			var err error
			switch {
			case strings.HasPrefix(k, "@odata."), k == conflictBehavior:
			case k == "name":
				if next.name = str(v); invalidName(next.name) {
					c.badName()
					return
				}
			case k == "fileSystemInfo":
				err = next.origin.set(v)
			case k == "parentReference":
				parent := t.referred(v)
				if parent == nil {
					c.noItem()
					return
				}
				next.parent = parent.id
			default:
				err = fmt.Errorf("The emulator changes name, place and times of an item, not '%s'.", k)
			}
			if err != nil {
				c.refuse(http.StatusBadRequest, "invalidRequest", err.Error())
				return
			}
		}
		if i.parent == "" {
			c.refuse(http.StatusBadRequest, "invalidRequest", "The root cannot be changed.")
			return
		}
		for at := t.byID(next.parent); at != nil; at = t.byID(at.parent) {
			if at == i || !at.folder {
				c.refuse(http.StatusBadRequest, "invalidRequest", "An item cannot be moved into a file or into itself.")
				return
			}
		}
		if other := t.child(next.parent, next.name); other != nil && other != i {
			c.refuse(http.StatusConflict, "nameAlreadyExists", "The specified item name already exists.")
			return
		}
		changed := t.replace(i, func(i *item) {
			i.name, i.parent, i.origin, i.modified = next.name, next.parent, next.origin, c.World.Now()
		})
		c.entity(c.itemContext(changed), c.showItem(t.shown(changed), nil))
	})
}

// referred finds the folder that a parentReference means, by id or by path.
func (t *tree) referred(v any) *item {
	ref, _ := v.(map[string]any)
	if drive := str(ref["driveId"]); drive != "" && drive != driveID(t.owner) {
		return nil
	}
	if id := str(ref["id"]); id != "" && id != "root" {
		return t.byID(id)
	}
	_, path, ok := strings.Cut(str(ref["path"]), "root:")
	if !ok && str(ref["id"]) != "root" {
		return nil
	}
	at := t.items[0]
	for name := range strings.SplitSeq(path, "/") {
		if at != nil && name != "" {
			at = t.child(at.id, name)
		}
	}
	return at
}

func (c *call) deleteItem() {
	if !c.noOptions() {
		return
	}
	c.onItem(true, func(t *tree, i *item) {
		if i.parent == "" {
			c.refuse(http.StatusBadRequest, "invalidRequest", "The root cannot be deleted.")
			return
		}
		gone := map[string]bool{i.id: true}
		for grew := true; grew; {
			grew = false
			for _, o := range t.items {
				if gone[o.parent] && !gone[o.id] {
					gone[o.id], grew = true, true
				}
			}
		}
		for _, o := range t.items {
			if gone[o.id] {
				t.seq++
				t.gone = append(t.gone, &item{id: o.id, parent: o.parent, owner: o.owner, folder: o.folder, kind: o.kind, hash: o.hash, modified: c.World.Now(), made: o.made, seq: t.seq, deleted: true})
			}
		}
		t.items = slices.DeleteFunc(t.items, func(o *item) bool { return gone[o.id] })
		if old := len(t.gone) - maxGone; old > 0 {
			t.forgot = t.gone[old-1].seq
			t.gone = slices.Delete(t.gone, 0, old)
		}
		c.noContent()
	})
}

// behaviorOption reads the one query option that uploads have, or answers 400.
func (c *call) behaviorOption() (string, bool) {
	options, err := c.options()
	if err != nil {
		c.refuse(http.StatusBadRequest, "BadRequest", err.Error())
		return "", false
	}
	behavior := ""
	for _, o := range options {
		if !strings.EqualFold(o.name, conflictBehavior) {
			c.refuse(http.StatusBadRequest, "BadRequest", "The query option '"+o.sent+"' is not supported for this request.")
			return "", false
		}
		behavior = o.value
	}
	return behavior, true
}

func (c *call) putContent() {
	behavior, ok := c.behaviorOption()
	if !ok {
		return
	}
	u, ok := c.driveUser()
	if !ok {
		return
	}
	d := &c.Server.drives
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tree(u.ID, c.World.Now())
	if !c.byPath { // a file that is there already
		i := c.findItem(t)
		switch {
		case i == nil:
			c.noItem()
		case i.folder:
			c.refuse(http.StatusBadRequest, "invalidRequest", "A folder has no content.")
		case !c.ifMatch(i.etag()):
			c.modified()
		default:
			c.store(t, i, false, c.body, c.r.Header.Get("Content-Type"), fileTimes{})
		}
		return
	}
	if old := c.findItem(t); c.r.Header.Get("If-Match") != "" && (old == nil || !c.ifMatch(old.etag())) {
		c.modified()
		return
	}
	if t.used()+len(c.body) > driveQuota {
		c.overQuota()
		return
	}
	parent, name, ok := c.folderFor(t)
	if !ok {
		return
	}
	if i, isNew, ok := c.place(t, parent, name, behavior, "replace"); ok {
		c.store(t, i, isNew, c.body, c.r.Header.Get("Content-Type"), fileTimes{})
	}
}

func (c *call) overQuota() {
	c.refuse(http.StatusInsufficientStorage, "quotaLimitReached", "Insufficient space available.")
}

// store gives an item its content and answers with it. The caller holds the
// lock.
func (c *call) store(t *tree, i *item, isNew bool, content []byte, kind string, origin fileTimes) {
	if t.used()-len(i.content)+len(content) > driveQuota {
		c.overQuota()
		return
	}
	if byName := mime.TypeByExtension(path.Ext(i.name)); byName != "" || kind == "" {
		kind = byName
	}
	if kind == "" {
		kind = "application/octet-stream"
	}
	next := t.replace(i, func(i *item) {
		i.content, i.kind, i.hash, i.modified, i.origin = content, kind, quickXorHash(content), c.World.Now(), origin
	})
	c.w.Header().Set("ETag", next.etag())
	if isNew {
		c.created(c.itemContext(next), "/users/"+next.owner+"/drive/items/"+next.id, c.showItem(t.shown(next), nil))
		return
	}
	c.entity(c.itemContext(next), c.showItem(t.shown(next), nil))
}

// quickXorHash is how drives tell contents apart: every byte is xored into a
// circle of 160 bits, each 11 bits after the one before, and the length into
// the last 64.
func quickXorHash(content []byte) string {
	var circle [20]byte
	for i := range 8 {
		circle[12+i] = byte(len(content) >> (8 * i))
	}
	// After 160 bytes it begins again where it began.
	var turns [160]byte
	for len(content) > 0 {
		content = content[subtle.XORBytes(turns[:], turns[:], content):]
	}
	for i, b := range turns {
		at := 11 * i % 160
		circle[at/8] ^= b << (at % 8)
		circle[(at/8+1)%20] ^= b >> (8 - at%8)
	}
	return base64.StdEncoding.EncodeToString(circle[:])
}

func (c *call) download() {
	if !c.noOptions() {
		return
	}
	c.onItem(false, func(t *tree, i *item) {
		if i.folder {
			c.refuse(http.StatusBadRequest, "notSupported", "A folder has no content.")
			return
		}
		c.w.Header().Set("Location", c.downloadURL(i))
		c.w.Header().Set("Content-Length", "0")
		c.w.WriteHeader(http.StatusFound)
	})
}
