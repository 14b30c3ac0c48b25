package graphsim

import (
	"encoding/base64"
	"fmt"
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
		o = append(o, member{"@odata.nextLink", c.nextLink(q, c.pageToken(strconv.Itoa(end)+"."+id(end-1)))})
	}
	c.odata(append(o, member{"value", value}))
}

// resume returns where the page of a token begins, or answers 400. What was
// deleted in the meantime moves the rest: the token knows the last object that
// was seen.
func (c *call) resume(q query, n int, id func(int) string) (begin int, ok bool) {
	if q.token == "" {
		return 0, true
	}
	position, ok := c.pagePosition(q.token)
	if !ok {
		return 0, false
	}
	offset, last, _ := strings.Cut(position, ".")
	begin, err := strconv.Atoi(offset)
	if err != nil || begin < 1 {
		c.badToken()
		return 0, false
	}
	if begin <= n && id(begin-1) == last {
		return begin, true
	}
	for i := range n {
		if id(i) == last {
			return i + 1, true
		}
	}
	return min(begin-1, n), true
}

// nextLink is the address of the next page, on the caller's own origin,
// whatever that is: clients refuse to send their token anywhere else.
func (c *call) nextLink(q query, token string) string {
	return c.origin() + c.r.URL.EscapedPath() + "?" + strings.Join(append(slices.Clone(q.again), "$skiptoken="+token), "&")
}

// A page token is a position and the time it was made at. Clients must not
// look inside, and nothing is lost when they do.
func (c *call) pageToken(position string) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "fob2.%d.%s", c.World.Now().Unix(), position))
}

// pagePosition returns the position in a token, or answers 400.
func (c *call) pagePosition(token string) (string, bool) {
	text, err := base64.RawURLEncoding.DecodeString(token)
	made, position, found := strings.Cut(strings.TrimPrefix(string(text), "fob2."), ".")
	when, err2 := strconv.ParseInt(made, 10, 64)
	if err != nil || err2 != nil || !found || !strings.HasPrefix(string(text), "fob2.") {
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

func (c *call) badToken() {
	c.refuse(http.StatusBadRequest, "Request_BadRequest", "Skip token provided is not valid.")
}

// count answers a /$count segment.
func (c *call) count(n int) {
	c.w.Header().Set("Content-Type", "text/plain")
	fmt.Fprint(c.w, n)
}
