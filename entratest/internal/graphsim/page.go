package graphsim

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// collect filters, sorts and answers a collection, or its count. set is what
// the context URL calls it; show writes an object.
func (c *call) collect(q query, t *entityType, set string, rows []any, show func(any) object) {
	kept := make([]any, 0, len(rows))
	for _, v := range rows {
		if q.matches(v, t) {
			kept = append(kept, v)
		}
	}
	if c.segmentCount {
		c.count(len(kept))
		return
	}
	q.sort(kept, t)
	total := len(kept)
	kept = kept[min(q.skip, len(kept)):]
	id := func(i int) string {
		v, _ := t.get(kept[i], "id")
		s, _ := v.(string)
		return s
	}
	begin, ok := c.resume(q, len(kept), id)
	if !ok {
		return
	}
	end := len(kept)
	if q.top > 0 {
		end = min(begin+q.top, len(kept))
	}
	value := make([]object, 0, end-begin) // never null: clients iterate over it
	for _, v := range kept[begin:end] {
		o, ok := c.expanded(show(v), v, q)
		if !ok {
			return
		}
		value = append(value, o)
	}
	var o object
	if !c.noMetadata() {
		o = append(o, member{"@odata.context", c.metadata(set + q.columns())})
	}
	if q.count && q.token == "" {
		o = append(o, member{"@odata.count", total})
	}
	if end < len(kept) {
		o = append(o, member{"@odata.nextLink", c.nextLink(q, c.pageToken(q, bookmark(end, len(kept), id)))})
	}
	c.odata(append(o, member{"value", value}))
}

// resume returns where the page of a token begins, or answers 400.
func (c *call) resume(q query, n int, id func(int) string) (begin int, ok bool) {
	if q.token == "" {
		return 0, true
	}
	position, ok := c.pagePosition(q)
	if !ok {
		return 0, false
	}
	if begin, ok = findBookmark(position, n, id); !ok {
		c.badToken()
	}
	return begin, ok
}

// following is how many rows a bookmark names beside the one seen last.
const following = 16

// bookmark is a place in a list whose rows come and go: behind the first at
// rows. It names the last of them and some that follow, so that whoever deletes
// all that a page shows still gets all that comes after.
func bookmark(at, n int, id func(int) string) string {
	b := strconv.Itoa(at)
	for i := at - 1; i < min(n, at+following); i++ {
		b += "."
		if i >= 0 {
			b += short(id(i))
		}
	}
	return b
}

// findBookmark returns where a bookmark is now.
func findBookmark(mark string, n int, id func(int) string) (at int, ok bool) {
	names := strings.Split(mark, ".")
	at, err := strconv.Atoi(names[0])
	if err != nil || at < 0 || len(names) < 2 {
		return 0, false
	}
	if at == 0 || at <= n && short(id(at-1)) == names[1] {
		return at, true
	}
	rows := make(map[string]int, n)
	for i := range n {
		rows[short(id(i))] = i
	}
	behind := -1
	if i, left := rows[names[1]]; left {
		behind = i + 1
	}
	for _, name := range names[2:] {
		i, left := rows[name]
		switch {
		case !left:
			continue
		case behind < 0 || max(at-i, i-at) < max(at-behind, behind-at): // the one seen last is gone, or was renamed
			return i, true
		}
		return behind, true
	}
	switch {
	case behind >= 0:
		return behind, true
	case len(names) < 2+following: // all that was left is gone
		return n, true
	}
	return min(at, n), true
}

// short is the name of a row in a bookmark.
func short(id string) string {
	h := fnv.New64a()
	h.Write([]byte(id))
	return strconv.FormatUint(h.Sum64(), 36)
}

// nextLink is the address of the next page, on the caller's own origin,
// whatever that is: clients refuse to send their token anywhere else.
func (c *call) nextLink(q query, token string) string {
	return c.origin() + c.r.URL.EscapedPath() + "?" + strings.Join(append(slices.Clone(q.again), "$skiptoken="+token), "&")
}

// listing is what a page token belongs to: the list and what narrows and orders
// it, but not how much of it is shown at a time.
func (c *call) listing(q query) string {
	return strings.Join(slices.Concat([]string{c.version, c.tenant(), c.at.pattern, c.folder, c.cast}, c.args, q.narrowed), "\n")
}

// pageToken is a position and the time it was made at.
func (c *call) pageToken(q query, position string) string {
	return seal(c.listing(q), strconv.FormatInt(c.World.Now().Unix(), 10)+"."+position)
}

// pagePosition returns the position in the token of a query, or answers 400.
func (c *call) pagePosition(q query) (string, bool) {
	text, ok := unseal(c.listing(q), q.token)
	made, position, _ := strings.Cut(text, ".")
	when, err := strconv.ParseInt(made, 10, 64)
	if !ok || err != nil {
		c.badToken()
		return "", false
	}
	life := c.PageTokenLife
	if life == 0 {
		life = time.Hour
	}
	if c.World.Now().Sub(time.Unix(when, 0)) > life {
		c.refuse(http.StatusBadRequest, "Directory_ExpiredPageToken", "The specified page token value has expired and can no longer be included in your request.")
		return "", false
	}
	return position, true
}

// seal writes what a client is to bring back. Nothing is lost when it looks
// inside, but what it changes or brings to another place is found out.
func seal(listing, text string) string {
	sum := sha256.Sum256([]byte(listing + "\x00" + text))
	return base64.RawURLEncoding.EncodeToString(append(sum[:sealSize:sealSize], text...))
}

const sealSize = 9

func unseal(listing, sealed string) (string, bool) {
	b, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil || len(b) < sealSize {
		return "", false
	}
	text := string(b[sealSize:])
	return text, seal(listing, text) == sealed
}

func (c *call) badToken() {
	c.refuse(http.StatusBadRequest, "Request_BadRequest", "Skip token provided is not valid.")
}

// count answers a /$count segment.
func (c *call) count(n int) {
	c.w.Header().Set("Content-Type", "text/plain")
	fmt.Fprint(c.w, n)
}
