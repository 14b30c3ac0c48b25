package graphsim

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Files are read and written at addresses that are permissions in themselves.
// They are at another origin than Graph's and take no token: one that is sent
// along is refused, so that a client which gives its token away is found out.

const (
	fragmentUnit = 320 << 10
	maxFragment  = 60 << 20
	sessionLife  = time.Hour
	downloadLife = 5 * time.Minute
)

// arrival is what comes in fragments.
type arrival struct {
	total   int // -1: not known yet
	have    int // bytes
	parts   [][]byte
	expires time.Time
}

func (a *arrival) done() bool { return a.total >= 0 && a.have == a.total }

func (a *arrival) content() []byte { return slices.Concat(a.parts...) }

// upload is a file of a drive on its way.
type upload struct {
	arrival
	tenant, owner      string
	parent, name       string // of the item
	behavior           string
	deferred           bool // commit only when asked to
	origin             fileTimes
	graphOrigin, graph string // origin and version of the request that began it
}

// storageOrigin is where uploads and downloads go.
func (s *Server) storageOrigin() string {
	if s.StorageURL != nil {
		return s.StorageURL()
	}
	return s.GraphURL
}

func newSecretPath() string {
	raw := make([]byte, 24)
	rand.Read(raw)
	return base64.RawURLEncoding.EncodeToString(raw)
}

// sign makes the end of an address that only this server can make. The caller
// holds the lock of the drives.
func (d *drives) sign(text string) string {
	if d.key == nil {
		d.key = make([]byte, 32)
		rand.Read(d.key)
	}
	h := hmac.New(sha256.New, d.key)
	h.Write([]byte(text))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil))
}

// downloadURL is the address of a file's content, good for minutes. The caller
// holds the lock of the drives.
func (c *call) downloadURL(i *item) string {
	text := i.owner + "/" + i.id + "/" + strconv.FormatInt(c.World.Now().Add(downloadLife).Unix(), 10)
	return c.storageOrigin() + "/storage/download/" + text + "/" + c.Server.drives.sign(text)
}

func (c *call) createUploadSession() {
	given, ok := c.action("createUploadSession", false, "item driveItemUploadableProperties", "deferCommit Edm.Boolean")
	if !ok {
		return
	}
	u, ok := c.driveUser()
	if !ok {
		return
	}
	up := &upload{arrival: arrival{total: -1, expires: c.World.Now().Add(sessionLife)}, tenant: c.tenant(), owner: u.ID, graphOrigin: c.origin(), graph: c.version}
	up.deferred, _ = given["deferCommit"].(bool)
	wanted, _ := given["item"].(map[string]any)
	up.behavior = str(wanted[conflictBehavior])
	size := 0
	for name, v := range wanted {
		switch name {
		case conflictBehavior, "name", "@odata.type", "description":
		case "fileSystemInfo":
			if err := up.origin.set(v); err != nil {
				c.refuse(http.StatusBadRequest, "invalidRequest", err.Error())
				return
			}
		case "fileSize":
			n, _ := v.(float64)
			size = int(n)
		default:
			c.refuse(http.StatusBadRequest, "invalidRequest", "The property '"+name+"' of the item is not supported.")
			return
		}
	}
	d := &c.Server.drives
	d.mu.Lock()
	defer d.mu.Unlock()
	t := d.tree(u.ID, c.World.Now())
	if t.used()+size > driveQuota {
		c.overQuota()
		return
	}
	existing := c.findItem(t)
	if want := c.r.Header.Get("If-Match"); want != "" && (existing == nil || !c.ifMatch(existing.etag())) {
		c.modified()
		return
	}
	if c.byPath {
		parent, name, ok := c.folderFor(t)
		if !ok {
			return
		}
		up.parent, up.name = parent.id, name
		if existing != nil && strings.EqualFold(up.behavior, "fail") {
			c.refuse(http.StatusConflict, "nameAlreadyExists", "The specified item name already exists.")
			return
		}
	} else {
		if existing == nil || existing.folder {
			c.noItem()
			return
		}
		up.parent, up.name, up.behavior = existing.parent, existing.name, "replace"
	}
	secret := newSecretPath()
	if d.uploads == nil {
		d.uploads = map[string]*upload{}
	}
	for k, old := range d.uploads { // nobody will come back for these
		if c.World.Now().After(old.expires) {
			delete(d.uploads, k)
		}
	}
	d.uploads[secret] = up
	c.entity("microsoft.graph.uploadSession", append(object{{"uploadUrl", c.storageOrigin() + "/storage/upload/" + secret}}, up.state()...))
}

func (u *upload) state() object {
	next := []string{}
	if !u.done() {
		next = append(next, strconv.Itoa(u.have)+"-")
	}
	return object{{"expirationDateTime", date(u.expires)}, {"nextExpectedRanges", next}}
}

// Storage answers at the addresses for uploads and downloads, and for looking
// how far a copy is.
func (s *Server) Storage(w http.ResponseWriter, r *http.Request) {
	c := s.newCall(w, r)
	if c.preflight() {
		return
	}
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	switch {
	case r.Header.Get("Authorization") != "":
		c.refuse(http.StatusUnauthorized, "unauthenticated", "This address is a permission in itself: send no Authorization header.")
	case len(parts) == 3 && parts[0] == "storage" && parts[1] == "upload":
		c.upload(parts[2])
	case len(parts) == 3 && parts[0] == "storage" && parts[1] == "attachment":
		c.uploadAttachment(parts[2])
	case len(parts) == 3 && parts[0] == "storage" && parts[1] == "monitor":
		c.monitor(parts[2])
	case len(parts) == 6 && parts[0] == "storage" && parts[1] == "download":
		c.serveFile(parts[2], parts[3], parts[4], parts[5])
	default:
		c.noItem()
	}
}

// readsOnly reports whether a request reads, and refuses any other.
func (c *call) readsOnly() bool {
	if c.r.Method == http.MethodGet || c.r.Method == http.MethodHead {
		return true
	}
	c.w.Header().Set("Allow", "GET, HEAD")
	c.refuse(http.StatusMethodNotAllowed, "invalidRequest", "The HTTP method is not allowed for this address.")
	return false
}

func (c *call) serveFile(owner, id, expires, signature string) {
	if !c.readsOnly() {
		return
	}
	d := &c.Server.drives
	d.mu.Lock()
	genuine := hmac.Equal([]byte(signature), []byte(d.sign(owner+"/"+id+"/"+expires)))
	var i *item
	if genuine {
		i = d.tree(owner, c.World.Now()).byID(id)
	}
	d.mu.Unlock()
	until, _ := strconv.ParseInt(expires, 10, 64)
	switch {
	case !genuine || c.World.Now().Unix() > until:
		c.refuse(http.StatusUnauthorized, "unauthenticated", "The address has expired: ask Graph for the content again.")
		return
	case i == nil:
		c.noItem()
		return
	}
	h := c.w.Header()
	h.Set("Content-Type", i.kind)
	h.Set("ETag", i.etag())
	h.Set("Content-Disposition", fmt.Sprintf("attachment; filename=%q", i.name))
	http.ServeContent(c.w, c.r, "", i.modified, bytes.NewReader(i.content))
}

func (c *call) noSession() {
	body := c.errorBody("itemNotFound", "The upload session was not found.")
	inner := body[0].value.(object)
	inner[2].value = append(object{{"code", "uploadSessionNotFound"}}, inner[2].value.(object)...)
	c.send(http.StatusNotFound, "application/json", body)
}

// readFragment reads a fragment, or answers. It may come slowly: the caller
// holds no lock.
func (c *call) readFragment() ([]byte, bool) {
	body := http.MaxBytesReader(c.w, c.r.Body, maxFragment)
	var content []byte
	var err error
	if n := c.r.ContentLength; n >= 0 && n <= maxFragment {
		content, err = readLength(body, int(n))
	} else {
		content, err = io.ReadAll(body)
	}
	switch tooLarge := (*http.MaxBytesError)(nil); {
	case errors.As(err, &tooLarge):
		c.refuse(http.StatusRequestEntityTooLarge, "invalidRequest", "The fragment is larger than 60 MiB.")
		return nil, false
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.refuse(http.StatusRequestTimeout, "invalidRequest", bodyTooSlow)
		return nil, false
	case err != nil:
		c.refuse(http.StatusBadRequest, "invalidRequest", "The fragment broke off: "+err.Error())
		return nil, false
	}
	return content, true
}

// readLength reads n bytes. Small pieces are read in one go; the memory for large
// ones comes as their bytes do, for anybody can claim a length.
func readLength(r io.Reader, n int) ([]byte, error) {
	content := make([]byte, min(n, 4<<20))
	have, err := io.ReadFull(r, content)
	for err == nil && have < n {
		grown := make([]byte, min(n, 4*have))
		copy(grown, content)
		var more int
		more, err = io.ReadFull(r, grown[have:])
		content, have = grown, have+more
	}
	return content[:have], err
}

// upload answers at the address of an upload.
func (c *call) upload(secret string) {
	content, ok := c.readFragment()
	if !ok {
		return
	}
	d := &c.Server.drives
	d.mu.Lock()
	defer d.mu.Unlock()
	up := d.uploads[secret]
	if up == nil || c.World.Now().After(up.expires) {
		delete(d.uploads, secret)
		c.noSession()
		return
	}
	c.base, c.version = up.graphOrigin, up.graph
	switch c.r.Method {
	case http.MethodGet:
		c.send(http.StatusOK, "application/json; charset=utf-8", up.state())
	case http.MethodDelete:
		delete(d.uploads, secret)
		c.noContent()
	case http.MethodPost:
		if !up.deferred || !up.done() {
			c.refuse(http.StatusBadRequest, "invalidRequest", "The upload is not complete, or it was not deferred.")
			return
		}
		c.commit(secret, up)
	case http.MethodPut:
		if c.fragment(&up.arrival, content, fragmentUnit) {
			up.expires = c.World.Now().Add(sessionLife)
			if up.done() && !up.deferred {
				c.commit(secret, up)
				return
			}
			c.send(http.StatusAccepted, "application/json; charset=utf-8", up.state())
		}
	default:
		c.w.Header().Set("Allow", "DELETE, GET, POST, PUT")
		c.refuse(http.StatusMethodNotAllowed, "invalidRequest", "The HTTP method is not allowed for this address.")
	}
}

// fragment takes the next part of a file, or answers. All but the last are a
// multiple of unit.
func (c *call) fragment(up *arrival, content []byte, unit int) bool {
	var from, to, total int
	if n, err := fmt.Sscanf(c.r.Header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &total); n != 3 || err != nil || from < 0 || to < from || total <= to {
		c.refuse(http.StatusBadRequest, "invalidRequest", "The Content-Range header is missing or malformed: write 'bytes 0-327679/1000000'.")
		return false
	}
	out := func(code, message string) bool {
		body := c.errorBody("invalidRange", message)
		inner := body[0].value.(object)
		inner[2].value = append(object{{"code", code}}, inner[2].value.(object)...)
		c.send(http.StatusRequestedRangeNotSatisfiable, "application/json", body)
		return false
	}
	switch {
	case to-from+1 != len(content):
		c.refuse(http.StatusBadRequest, "invalidRequest", "Declared content length does not match the provided number of bytes.")
		return false
	case up.total >= 0 && total != up.total:
		c.refuse(http.StatusBadRequest, "invalidRequest", "The total size in Content-Range is not that of the fragments before.")
		return false
	case from < up.have:
		return out("fragmentOverlap", "The uploaded fragment overlaps with data that has already been received.")
	case from > up.have:
		return out("fragmentOutOfOrder", "The uploaded fragment is not the next one.")
	case to+1 != total && len(content)%unit != 0:
		c.refuse(http.StatusBadRequest, "invalidRequest", "The size of a fragment must be a multiple of 320 KiB, except for the last one.")
		return false
	case total > driveQuota:
		c.overQuota()
		return false
	}
	up.total = total
	up.parts, up.have = append(up.parts, content), up.have+len(content)
	return true
}

// commit makes the item of a complete upload and answers with it.
func (c *call) commit(secret string, up *upload) {
	d := &c.Server.drives
	t := d.tree(up.owner, c.World.Now())
	parent := t.byID(up.parent)
	if parent == nil {
		c.noItem()
		return
	}
	i, isNew, ok := c.place(t, parent, up.name, up.behavior, "replace")
	if !ok {
		return
	}
	delete(d.uploads, secret)
	c.store(t, i, isNew, up.content(), "", up.origin)
}
