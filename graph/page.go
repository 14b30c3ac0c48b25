package graph

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// page is one answer of a collection, read whole before anything of it is
// used: a connection that breaks in the middle costs a request and neither
// loses nor repeats an item. Pages are used again, so that a walk of any
// length needs the memory of one or two.
type page struct {
	body  []byte
	items []span // the elements of "value" in body; nulls are left out
	next  string // the link to the next page, as the service wrote it
	delta string // the link to later changes, on the last page of a delta query
	count int64  // of the whole collection, if that was asked for; else -1

	reader  bytes.Buffer
	decoder jsontext.Decoder

	room  *room                 // that it shares with others; nil: there are none
	more  func(bytes int) error // is asked before it becomes larger than usual; nil: it may
	taken int                   // how much of the room it has
}

type span struct{ start, end int }

func (p *page) item(i int) jsontext.Value {
	return jsontext.Value(p.body[p.items[i].start:p.items[i].end])
}

// What a page takes as a rule, and what no service sends.
const (
	usualPage  = 2 << 20
	usualItems = 64 << 10
	maxItems   = 1 << 20
)

// MaxLink is how long a link to a further page may be, in bytes of its JSON.
const MaxLink = 64 << 10

// claim asks for more than a usual page has.
func (p *page) claim(bytes int) error {
	if p.more == nil {
		return nil
	}
	return p.more(bytes)
}

var (
	errNoCollection = errors.New(`the answer is no collection (it has no "value" array); ask for it as a single object`)
	errTruncated    = errors.New("the answer ends in the middle of its JSON")
)

// pageSyntax is JSON as services write it. Names are not compared, which would
// cost more than all the rest.
var pageSyntax = jsontext.AllowDuplicateNames(true)

func (p *page) restart() {
	p.reader = *bytes.NewBuffer(p.body)
	p.decoder.Reset(&p.reader, pageSyntax)
}

// parse checks the whole body and finds what is of use in it.
func (p *page) parse() error {
	p.items, p.next, p.delta, p.count = p.items[:0], "", "", -1
	p.restart()
	err := p.members()
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		return errTruncated
	case err != nil:
		var syntax *jsontext.SyntacticError
		if errors.As(err, &syntax) {
			return fmt.Errorf("broken JSON at byte %d", syntax.ByteOffset)
		}
	}
	return err
}

var byteOrderMark = []byte("\ufeff")

// MendJSON returns an answer of a service as strict parsers want it: without a
// byte order mark, and with U+FFFD in place of what is no character. Services
// cut texts to a length in the middle of one. An answer that needs none of this
// is returned as it is.
func MendJSON(answer []byte) []byte {
	answer = bytes.TrimPrefix(answer, byteOrderMark)
	if !utf8.Valid(answer) {
		answer = bytes.ToValidUTF8(answer, []byte("\ufffd"))
	}
	var mended []byte
	kept := 0 // up to where answer is in mended
	for i := 0; ; {
		next := bytes.IndexByte(answer[i:], '\\')
		if next < 0 || i+next+1 >= len(answer) {
			break
		}
		i += next
		switch first, second := escaped(answer[i:]), escaped(answer[min(i+6, len(answer)):]); {
		case first < 0: // an escape of two letters
			i += 2
		case utf16.DecodeRune(first, second) != unicode.ReplacementChar:
			i += 12
		case utf16.IsSurrogate(first):
			if mended == nil {
				mended = make([]byte, 0, len(answer))
			}
			mended = append(append(mended, answer[kept:i]...), `\ufffd`...)
			i += 6
			kept = i
		default:
			i += 6
		}
	}
	if kept == 0 {
		return answer
	}
	return append(mended, answer[kept:]...)
}

// escaped reads the \uXXXX that s begins with; -1 if there is none.
func escaped(s []byte) rune {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(s[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}

func (p *page) members() error {
	d := &p.decoder
	if d.PeekKind() != '{' {
		if _, err := d.ReadValue(); err != nil {
			return err
		}
		return errNoCollection
	}
	d.ReadToken()
	values := 0
	for d.PeekKind() != '}' {
		name, err := d.ReadValue()
		if err != nil {
			return err
		}
		switch string(envelopeName(name)) {
		case "value":
			if values++; values > 1 {
				return errors.New(`an answer with two "value" arrays`)
			}
			if d.PeekKind() != '[' {
				if _, err := d.ReadValue(); err != nil {
					return err
				}
				return errNoCollection
			}
			if err := p.elements(); err != nil {
				return err
			}
		case "@odata.nextLink", "nextLink":
			err = p.link(&p.next)
		case "@odata.deltaLink":
			err = p.link(&p.delta)
		case "@odata.count":
			var v jsontext.Value
			if v, err = d.ReadValue(); err == nil && json.Unmarshal(v, &p.count) != nil {
				p.count = -1
			}
		default:
			err = d.SkipValue()
		}
		if err != nil {
			return err
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	if values == 0 {
		return errNoCollection
	}
	if _, err := d.ReadToken(); err != io.EOF {
		return errors.New("more behind the end of the JSON")
	}
	return nil
}

// envelopeName is the name of a member, if it can be one that is looked for.
func envelopeName(quoted jsontext.Value) []byte {
	switch {
	case len(quoted) > 100:
		return nil
	case bytes.IndexByte(quoted, '\\') < 0:
		return quoted[1 : len(quoted)-1]
	}
	name, _ := jsontext.AppendUnquote(nil, quoted)
	return name
}

func (p *page) elements() error {
	d := &p.decoder
	d.ReadToken()
	for d.PeekKind() != ']' {
		v, err := d.ReadValue()
		if err != nil {
			return err
		}
		if v.Kind() == 'n' {
			continue // services of the directory do send null items; they hold nothing
		}
		if n := len(p.items); n == cap(p.items) && n >= usualItems {
			if n >= maxItems {
				return fmt.Errorf("a page of more than %d items; ask for fewer with $top", maxItems)
			}
			if err := p.claim(n * int(unsafe.Sizeof(span{}))); err != nil {
				return err
			}
			p.items = slices.Grow(p.items, n)
		}
		end := int(d.InputOffset())
		p.items = append(p.items, span{end - len(v), end})
	}
	_, err := d.ReadToken()
	return err
}

func (p *page) link(to *string) error {
	v, err := p.decoder.ReadValue()
	switch {
	case err != nil:
		return err
	case v.Kind() == 'n':
		return nil
	case v.Kind() != '"':
		return errors.New("a link to the next page that is no text")
	case len(v) > MaxLink:
		return fmt.Errorf("a link to the next page of more than %d KiB", MaxLink>>10)
	}
	link, err := jsontext.AppendUnquote(nil, v)
	if err == nil && *to != "" && *to != string(link) {
		return errors.New("an answer with two links to the next page")
	}
	*to = string(link)
	return err
}

// peek looks for the link to the next page in a body that may not be complete
// yet: Graph writes it in front of the items. decided says that reading more
// will not change the answer.
func (p *page) peek() (next string, decided bool) {
	p.restart()
	d := &p.decoder
	if token, err := d.ReadToken(); err != nil || token.Kind() != '{' {
		return "", err == nil
	}
	for {
		name, err := d.ReadToken()
		switch {
		case err != nil:
			return "", false
		case name.Kind() != '"' || name.String() == "value":
			return "", true
		case name.String() == "@odata.nextLink" || name.String() == "nextLink":
			if link, err := d.ReadToken(); err == nil && link.Kind() == '"' {
				return link.String(), true
			}
			return "", false
		}
		if d.SkipValue() != nil {
			return "", false
		}
	}
}

// read reads a whole body into the page and parses it. foresee, if not nil, is
// told of the next page as soon as its link is there.
// length is what was announced; -1 if nothing was.
func (p *page) read(from io.Reader, length int64, most int, foresee func(next string)) error {
	tooLarge := fmt.Errorf("a page of more than %d MiB; ask for fewer items with $top, or for less of each with $select", most>>20)
	if length > int64(most) {
		return tooLarge
	}
	// One byte more, to see the end without growing; an announcement alone
	// gets no more than a page of usual size.
	p.body = slices.Grow(p.body[:0], int(min(max(length+1, 64<<10), 1<<20)))
	for {
		if len(p.body) == cap(p.body) {
			if err := p.grow(int(length), most); err != nil {
				return err
			}
		}
		n, err := from.Read(p.body[len(p.body):cap(p.body)])
		p.body = p.body[:len(p.body)+n]
		if len(p.body) > most {
			return tooLarge
		}
		if foresee != nil && n > 0 {
			if next, decided := p.peek(); decided || len(p.body) > 64<<10 {
				if next != "" {
					foresee(next)
				}
				foresee = nil
			}
		}
		if err == io.EOF {
			if err = p.parse(); err == nil || errors.Is(err, errTruncated) {
				return err
			}
			if len(p.body) > usualPage {
				if err := p.claim(len(p.body)); err != nil { // it would be there twice
					return err
				}
			}
			if mended := MendJSON(p.body); !bytes.Equal(mended, p.body) {
				p.body = mended
				err = p.parse()
			}
			return err
		}
		if err != nil {
			return err
		}
	}
}

// grow makes room for more of a body. What is large already grows in a few
// steps: memory that a step has asked for is touched when something is written
// there, and what it was copied from is wasted.
func (p *page) grow(announced, most int) error {
	size := cap(p.body) + cap(p.body)/2
	switch {
	case announced >= len(p.body):
		size = announced + 1
	case size > usualPage:
		for size = most/16 + 1; size <= cap(p.body); size *= 4 {
		}
	}
	size = min(size, most+1)
	if size > usualPage {
		if err := p.claim(size - max(cap(p.body), usualPage)); err != nil {
			return err
		}
	}
	p.body = append(p.room.buffer(size), p.body...)
	return nil
}

// room is what pages larger than usual that are under way at the same time may
// take, all of them together: one waits until another has been used. The first
// that has to wait gets what it wants all the same, or none would ever be whole.
type room struct {
	mu      sync.Mutex // guards the rest
	left    int        // bytes; below zero while there is a first
	first   *page
	spare   []byte        // the largest that was given back
	changed chan struct{} // closed when a page has given back what it took
}

func newRoom(bytes int) *room { return &room{left: bytes, changed: make(chan struct{})} }

// take waits until p may have so many bytes more.
func (r *room) take(ctx context.Context, p *page, bytes int) error {
	for {
		r.mu.Lock()
		if r.left < bytes && r.first == nil {
			r.first = p
		}
		if r.left >= bytes || r.first == p {
			r.left -= bytes
			p.taken += bytes
			r.mu.Unlock()
			return nil
		}
		changed := r.changed
		r.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// buffer makes a body of the size, of one that is not used any more if it can.
func (r *room) buffer(size int) []byte {
	if r == nil {
		return make([]byte, 0, size)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	body := r.spare
	if cap(body) < size || cap(body) > 2*size {
		return make([]byte, 0, size)
	}
	r.spare = nil
	return body[:0]
}

// give takes back what p has, which has been used.
func (r *room) give(p *page) {
	if p.taken == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if cap(p.body) > usualPage {
		if cap(p.body) > cap(r.spare) {
			r.spare = p.body
		}
		p.body = nil
	}
	if cap(p.items) > usualItems {
		p.items = nil
	}
	p.reader = bytes.Buffer{}
	p.decoder.Reset(&p.reader)
	r.left += p.taken
	p.taken = 0
	if r.first == p {
		r.first = nil
	}
	close(r.changed)
	r.changed = make(chan struct{})
}

// walk is the state of going through a collection from page to page.
type walk struct {
	c      *Client
	home   *url.URL
	header http.Header
	seen   map[string]bool // links that were followed, by digest
	empty  int             // pages without items in a row
}

// walk begins at address, which may be relative. The header, without what
// would name the length or the form of a body, goes along with every page:
// services forget it.
func (c *Client) walk(address string, header http.Header) (*walk, error) {
	home, err := c.Resolve(address)
	if err != nil {
		return nil, err
	}
	h := header.Clone()
	if h == nil {
		h = http.Header{}
	}
	if h.Get("Accept") == "" {
		h.Set("Accept", "application/json")
	}
	return &walk{c: c, home: home, header: h, seen: map[string]bool{}}, nil
}

// ask sends the request for one page.
func (w *walk) ask(ctx context.Context, link *url.URL) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, link.String(), nil)
	if err != nil {
		return nil, err
	}
	req.Header = w.header
	resp, err := w.c.send(req, call{home: link})
	if errors.Is(err, ErrExpired) && link.RawQuery != w.home.RawQuery {
		return nil, fmt.Errorf("%w; the list cannot be continued: start it again from its first page", err)
	}
	return resp, err
}

// get reads one page. resp is the answer to a request for it that was sent
// before, or nil.
func (w *walk) get(ctx context.Context, link *url.URL, resp *http.Response, p *page, foresee func(string)) error {
	how := call{home: link}
	tries := w.c.attempts(http.MethodGet, how)
	for {
		if resp == nil {
			var err error
			if resp, err = w.ask(ctx, link); err != nil {
				return err
			}
		}
		err := p.read(w.c.whole(resp), resp.ContentLength, w.c.maxPage(), foresee)
		resp.Body.Close()
		var lost *unreachable
		switch {
		case err == nil:
			return w.check(p, link)
		case errors.Is(err, errTruncated):
			// As good as a broken connection: not every proxy tells them apart.
			err = &unreachable{io.ErrUnexpectedEOF}
		case !errors.As(err, &lost) && ctx.Err() == nil:
			return badAnswer(how, resp, p.body, err.Error())
		}
		if !tries.again(ctx, nil, err) {
			return fmt.Errorf("GET %s: %w", how.place(), orEnd(ctx, err))
		}
		resp, foresee = nil, nil
	}
}

// maxEmpty is how many pages without any item are believed in a row.
const maxEmpty = 1000

// check looks at where the page leads.
func (w *walk) check(p *page, link *url.URL) error {
	if len(p.items) > 0 {
		w.empty = 0
	} else if w.empty++; w.empty > maxEmpty {
		return fmt.Errorf("%s sent %d pages without an item in a row; is it a loop?", w.home.Host, w.empty)
	}
	if p.next == "" {
		return nil
	}
	next, err := NextLink(w.home, p.next)
	if err != nil {
		return err
	}
	w.seen[digest(link.String())] = true
	if w.seen[digest(next.String())] {
		return fmt.Errorf("%s sent a link to a page that was read before, a known fault of some services; the list cannot be completed", w.home.Host)
	}
	return nil
}
