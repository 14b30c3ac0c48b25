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
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

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
}

type span struct{ start, end int }

func (p *page) item(i int) jsontext.Value {
	return jsontext.Value(p.body[p.items[i].start:p.items[i].end])
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
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		switch name.String() {
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
		end := int(d.InputOffset())
		p.items = append(p.items, span{end - len(v), end})
	}
	_, err := d.ReadToken()
	return err
}

func (p *page) link(to *string) error {
	v, err := p.decoder.ReadToken()
	switch {
	case err != nil:
		return err
	case v.Kind() == 'n':
		return nil
	case v.Kind() != '"':
		return errors.New("a link to the next page that is no text")
	case *to != "" && *to != v.String():
		return errors.New("an answer with two links to the next page")
	}
	*to = v.String()
	return nil
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
	// One byte more, to see the end without growing; an announcement alone
	// gets no more than a page of usual size.
	p.body = slices.Grow(p.body[:0], int(min(max(length+1, 64<<10), 1<<20)))
	for {
		if len(p.body) == cap(p.body) {
			p.body = slices.Grow(p.body, cap(p.body)/2)
		}
		n, err := from.Read(p.body[len(p.body):cap(p.body)])
		p.body = p.body[:len(p.body)+n]
		if len(p.body) > most {
			return fmt.Errorf("a page of more than %d MiB; ask for fewer items with $top, or for less of each with $select", most>>20)
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
