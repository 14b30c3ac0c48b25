package graph

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/maphash"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// digest shortens a link to what tells it from others.
func digest(link string) string {
	sum := sha256.Sum256([]byte(link))
	return string(sum[:16])
}

// Pages goes through a collection, page after page, and yields its items as
// they are, one JSON value each. An item is good until the next one; clone it
// to keep it. After an error, which is the last thing yielded, the items so far
// are not the whole collection.
//
// The header, for ConsistencyLevel or Prefer, goes along with every page. A
// page is asked for when the items before it are used up, is read whole, and
// only from the origin that the walk began at. Null items are left out.
func (c *Client) Pages(ctx context.Context, address string, header http.Header) iter.Seq2[jsontext.Value, error] {
	return func(yield func(jsontext.Value, error) bool) {
		w, err := c.walk(address, header)
		if err != nil {
			yield(nil, err)
			return
		}
		w.each(ctx, w.home, func(p *page) bool {
			for i := range p.items {
				if !yield(p.item(i), nil) {
					return false
				}
			}
			return true
		}, func(err error) { yield(nil, err) })
	}
}

// each reads the pages from link on, until do says no or a page cannot be read.
func (w *walk) each(ctx context.Context, link *url.URL, do func(*page) bool, fail func(error)) {
	p := &page{}
	for {
		if err := w.get(ctx, link, nil, p, nil); err != nil {
			fail(err)
			return
		}
		if !do(p) || p.next == "" {
			return
		}
		link, _ = NextLink(w.home, p.next) // get has checked it
	}
}

// Count returns how many items a collection has, by its $count segment. It
// keeps the $filter and $search of address and asks with ConsistencyLevel:
// eventual, which the directory wants.
func (c *Client) Count(ctx context.Context, address string) (int64, error) {
	u, err := c.Resolve(address)
	if err != nil {
		return 0, err
	}
	counted := *u
	counted.Path = strings.TrimSuffix(u.Path, "/") + "/$count"
	if u.RawPath != "" {
		counted.RawPath = strings.TrimSuffix(u.RawPath, "/") + "/$count"
	}
	var kept []string
	for option := range strings.SplitSeq(u.RawQuery, "&") {
		name, _, _ := strings.Cut(strings.ToLower(option), "=")
		if name = strings.TrimPrefix(strings.TrimPrefix(name, "%24"), "$"); name == "filter" || name == "search" {
			kept = append(kept, option)
		}
	}
	counted.RawQuery = strings.Join(kept, "&")
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, counted.String(), nil)
	if err != nil {
		return 0, err
	}
	req.Header.Set("ConsistencyLevel", "eventual")
	how := call{home: &counted}
	resp, err := c.send(req, how)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	body, err := readAll(c.whole(resp), 64)
	if err != nil {
		return 0, c.failed(req, how, err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(strings.TrimPrefix(string(body), "\ufeff")), 10, 64)
	if err != nil || n < 0 {
		return 0, badAnswer(how, resp, body, "not a number")
	}
	return n, nil
}

// Changes is a delta query: the items of a collection, or what has changed
// since the link of an earlier one.
type Changes struct {
	c       *Client
	address string
	header  http.Header
	link    string
	resync  bool
}

// Delta begins a delta query at address: the delta function of a collection
// ("/users/delta") or the link that an earlier query ended with. Nothing is
// sent before [Changes.Items] is used.
func (c *Client) Delta(address string, header http.Header) *Changes {
	return &Changes{c: c, address: address, header: header}
}

// Link is where the next query goes on. It is empty until Items has come to
// its end without an error. It holds a token of the service: keep it like a
// file's content, not like a secret.
func (d *Changes) Link() string { return d.link }

// Resync reports whether the service had forgotten where the query left off
// and sent the whole collection again: what is not among the items is gone, no
// matter what was known before.
func (d *Changes) Resync() bool { return d.resync }

// Items goes through the changes as [Client.Pages] does through a collection.
// Removed items have an "@removed" member. The same item may come more than
// once; the last one counts.
//
// A service that never comes to an end is given up as by Pages, after pages that
// lead back or hold nothing, and also after a thousand pages in a row with
// changes that it had sent before.
//
// A link that is too old is followed to the full query that the service offers
// instead, see [Changes.Resync]. Where it offers none, the error is
// [ErrExpired].
func (d *Changes) Items(ctx context.Context) iter.Seq2[jsontext.Value, error] {
	return func(yield func(jsontext.Value, error) bool) {
		d.link, d.resync = "", false
		w, err := d.c.walk(d.address, d.header)
		if err != nil {
			yield(nil, err)
			return
		}
		said := echoes{pages: map[uint64]bool{}}
		link, stopped := w.home, false
		for link != nil {
			var failure error
			from := link
			link = nil
			w.each(ctx, from, func(p *page) bool {
				if said.add(p); said.again > maxEmpty {
					failure = fmt.Errorf("%s sent %d pages in a row with changes that it had sent before; is it a loop?", w.home.Host, said.again)
					return false
				}
				for i := range p.items {
					if !yield(p.item(i), nil) {
						stopped = true
						return false
					}
				}
				d.link = p.delta
				return true
			}, func(err error) { failure = err })
			if stopped {
				d.link = ""
				return
			}
			if failure != nil {
				if link = d.restart(w, failure); link == nil {
					d.link = ""
					yield(nil, failure)
					return
				}
				said = echoes{pages: map[uint64]bool{}}
			}
		}
		if d.link == "" {
			yield(nil, fmt.Errorf("%s ended the changes without a link to the next ones; is %s a delta query?", w.home.Host, shown(w.home.Path)))
			return
		}
		if _, err := NextLink(w.home, d.link); err != nil {
			d.link = ""
			yield(nil, err)
		}
	}
}

// echoes notices a service that tells the same changes again and again, each
// time with a new link, and never comes to an end. Lists of other kinds may have
// pages that are alike: items without what tells them apart.
type echoes struct {
	pages map[uint64]bool // by their items
	again int             // pages in a row that were there before; those without items do not count
}

var echoSeed = maphash.MakeSeed()

func (e *echoes) add(p *page) {
	if len(p.items) == 0 {
		return
	}
	var sum uint64
	for i := range p.items {
		sum = sum*31 + maphash.Bytes(echoSeed, p.item(i))
	}
	if e.again++; !e.pages[sum] {
		e.pages[sum], e.again = true, 0
	}
}

// restart returns where a full query begins, if failure is the service's offer
// of one and it is the first.
func (d *Changes) restart(w *walk, failure error) *url.URL {
	var refused *Error
	if d.resync || !errors.As(failure, &refused) || refused.Status != http.StatusGone || refused.location == "" {
		return nil
	}
	link, err := NextLink(w.home, refused.location)
	if err != nil {
		return nil
	}
	d.resync = true
	w.seen = map[string]bool{}
	return link
}
