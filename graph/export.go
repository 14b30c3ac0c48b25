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
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// ExportOptions say how a collection is exported. The zero value writes
// NDJSON, page after page.
type ExportOptions struct {
	// Header goes along with every page: ConsistencyLevel, Prefer.
	Header http.Header
	// Parallel is how many parts of the collection are read at once. Above 1
	// the address must be that of /users, and the items come in no order: the
	// collection is split by the first character of the user principal name,
	// with a last part for all other users.
	Parallel int
	// Encode appends an item to dst. Nil appends the JSON on a line of its own.
	Encode func(dst []byte, item jsontext.Value) ([]byte, error)
	// Head is written before the first item, such as the first line of a CSV.
	Head []byte
	// Total is how many items are expected, see [Client.Count]; for Progress.
	Total int64
	// Progress, if set, is told after every page.
	Progress func(Progress)
	// Replace lets ExportFile write over a file that exists.
	Replace bool
	// Checkpoint is the time between two checkpoints of ExportFile. Zero means
	// a second.
	Checkpoint time.Duration
}

// Progress is how far an export has come.
type Progress struct {
	Items     int64         // written so far, those before a resumption included
	Total     int64         // expected; 0 if unknown
	Bytes     int64         // written so far
	Pages     int           // read by this run
	Elapsed   time.Duration // of this run
	Throttled time.Duration // time spent waiting for the service, in all parts together

	resumed int64 // items that were there before this run
}

// Rate is the items per second of this run.
func (p Progress) Rate() float64 {
	if p.Elapsed <= 0 {
		return 0
	}
	return float64(p.Items-p.resumed) / p.Elapsed.Seconds()
}

// Left is how long the rest takes at this rate; 0 if that is not known.
func (p Progress) Left() time.Duration {
	rate := p.Rate()
	if p.Total <= p.Items || rate == 0 {
		return 0
	}
	return time.Duration(float64(p.Total-p.Items) / rate * float64(time.Second))
}

// Export writes a collection of any size to w, one item a line, in memory for
// a few pages. The next page is asked for as soon as its link is known, while
// the one before is still arriving. Every item is checked to be valid JSON and
// copied as it is; only line breaks within it are taken out.
//
// Only whole pages are written. After an error w holds the first part of the
// collection; [Client.ExportFile] can go on from there.
func (c *Client) Export(ctx context.Context, w io.Writer, address string, o ExportOptions) (Progress, error) {
	parts, err := c.split(address, o.Parallel)
	if err != nil {
		return Progress{}, err
	}
	e := exporter{c: c, o: o, to: w, parts: parts, began: c.now()}
	if err := e.write(o.Head); err != nil {
		return e.progress, err
	}
	err = e.run(ctx)
	return e.progress, err
}

// part is a chain of pages that is read on its own.
type part struct {
	Next     string `json:"next,omitzero"`     // the page to read next
	Done     bool   `json:"done,omitzero"`     // there is none
	Advanced bool   `json:"advanced,omitzero"` // the directory wants ConsistencyLevel: eventual for it
}

// exporter writes the pages of all parts, in the goroutine that runs it.
type exporter struct {
	c        *Client
	o        ExportOptions
	to       io.Writer
	parts    []*part
	progress Progress
	began    time.Time
	waited   int64 // of the client, when this began
	out      []byte
	whole    int64                  // bytes written up to the end of a page
	saved    func(force bool) error // nil: nothing to save
	begin    func() error           // before the first page is written; nil: it was, or there is nothing to do
}

// filled is a page on its way from a reader to the writer.
type filled struct {
	part *part
	page *page
}

func (e *exporter) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	e.waited = e.c.waited.Load()
	e.progress.Total = e.o.Total

	readers := max(1, min(e.o.Parallel, len(e.parts)))
	todo := make(chan *part, len(e.parts))
	for _, p := range e.parts {
		if !p.Done {
			todo <- p
		}
	}
	close(todo)
	full, free := make(chan filled), make(chan *page, readers+1)
	large := newRoom(e.c.maxPage() / 2)
	for range readers + 1 {
		p := &page{room: large}
		p.more = func(bytes int) error { return large.take(ctx, p, bytes) }
		free <- p
	}
	var all sync.WaitGroup
	for range readers {
		all.Go(func() {
			for p := range todo {
				if err := e.read(ctx, p, free, full); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	go func() { all.Wait(); close(full) }()

	var broken error // of the writer; from then on pages are only taken, so that the readers end
	for f := range full {
		// What has come is kept, also when what comes after it was refused.
		if broken == nil {
			if broken = e.put(f); broken != nil {
				cancel(broken)
			}
		}
		large.give(f.page)
		free <- f.page
	}
	err := context.Cause(ctx)
	if e.saved != nil {
		if saveErr := e.saved(true); err == nil {
			err = saveErr
		}
	}
	return err
}

// read walks through one part and hands its pages over in order. The answer
// for the next page is under way while one is read and written.
func (e *exporter) read(ctx context.Context, part *part, free <-chan *page, full chan<- filled) error {
	header := e.o.Header
	if part.Advanced {
		if header = header.Clone(); header == nil {
			header = http.Header{}
		}
		header.Set("ConsistencyLevel", "eventual")
	}
	w, err := e.c.walk(part.Next, header)
	if err != nil {
		return err
	}
	var ahead *foreseen
	defer func() { ahead.drop() }()
	for link := w.home; link != nil; {
		var p *page
		select {
		case p = <-free:
		case <-ctx.Done():
			return nil
		}
		resp, err := ahead.take(link)
		ahead = nil
		if err != nil {
			return err
		}
		err = w.get(ctx, link, resp, p, func(next string) {
			// What is wrong with the link is told when the page is whole.
			if u, err := NextLink(w.home, next); err == nil {
				ahead = w.foresee(ctx, u)
			}
		})
		if err != nil {
			return err
		}
		link = nil
		if p.next != "" {
			link, _ = NextLink(w.home, p.next) // get has checked it
		}
		select {
		case full <- filled{part, p}:
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

// foreseen is a request for a page that was sent before its turn.
type foreseen struct {
	link   string
	cancel context.CancelFunc
	answer chan answer
}

type answer struct {
	resp *http.Response
	err  error
}

func (w *walk) foresee(ctx context.Context, link *url.URL) *foreseen {
	ctx, cancel := context.WithCancel(ctx)
	f := &foreseen{link: link.String(), cancel: cancel, answer: make(chan answer, 1)}
	go func() {
		resp, err := w.ask(ctx, link)
		f.answer <- answer{resp, err}
	}()
	return f
}

// take waits for the answer, or drops it if it is not the one to link: a page
// that was read twice may lead elsewhere the second time.
func (f *foreseen) take(link *url.URL) (*http.Response, error) {
	if f == nil {
		return nil, nil
	}
	if f.link != link.String() {
		f.drop()
		return nil, nil
	}
	a := <-f.answer
	if a.err != nil {
		f.cancel()
		return nil, a.err
	}
	a.resp.Body = closing{a.resp.Body, f.cancel}
	return a.resp, nil
}

// drop gives the request up and waits for its end.
func (f *foreseen) drop() {
	if f == nil {
		return
	}
	f.cancel()
	if a := <-f.answer; a.resp != nil {
		a.resp.Body.Close()
	}
}

type closing struct {
	io.ReadCloser
	done context.CancelFunc
}

func (c closing) Close() error {
	err := c.ReadCloser.Close()
	c.done()
	return err
}

// largeWrite is where one more system call costs nothing any more.
const largeWrite = 128 << 10

// put writes one page.
func (e *exporter) put(f filled) error {
	p := f.page
	if e.begin != nil {
		if err := e.begin(); err != nil {
			return err
		}
		e.begin = nil
	}
	// Each a fast scan, which ContainsAny is not.
	broken := e.o.Encode == nil && (bytes.IndexByte(p.body, '\n') >= 0 || bytes.IndexByte(p.body, '\r') >= 0)
	for i := range p.items {
		if err := e.append(p.item(i), broken); err != nil {
			return err
		}
	}
	if err := e.flush(); err != nil {
		return err
	}
	f.part.Next, f.part.Done = p.next, p.next == ""
	e.whole = e.progress.Bytes
	e.progress.Items += int64(len(p.items))
	e.progress.Pages++
	if e.progress.Total == 0 && p.count > 0 && len(e.parts) == 1 {
		e.progress.Total = p.count
	}
	e.progress.Elapsed = e.c.now().Sub(e.began)
	e.progress.Throttled = time.Duration(e.c.waited.Load() - e.waited)
	if e.saved != nil {
		if err := e.saved(false); err != nil {
			return err
		}
	}
	if e.o.Progress != nil {
		e.o.Progress(e.progress)
	}
	return nil
}

// append puts one item behind the others. broken says that there may be line
// breaks within it.
func (e *exporter) append(item jsontext.Value, broken bool) error {
	var err error
	switch {
	case e.o.Encode != nil:
		// Few forms are longer than JSON, and what is long is copied once.
		if e.out, err = e.o.Encode(slices.Grow(e.out, len(item)), item); err != nil {
			return err
		}
	case broken:
		if err := item.Compact(pageSyntax); err != nil {
			return err
		}
		fallthrough
	default:
		if len(item) >= largeWrite { // is not copied
			if err := e.flush(); err != nil {
				return err
			}
			if err := e.write(item); err != nil {
				return err
			}
			item = nil
		}
		e.out = append(append(e.out, item...), '\n')
	}
	if len(e.out) >= largeWrite {
		return e.flush()
	}
	return nil
}

// flush writes what has gathered.
func (e *exporter) flush() error {
	err := e.write(e.out)
	if e.out = e.out[:0]; cap(e.out) > 8*largeWrite {
		e.out = nil
	}
	return err
}

func (e *exporter) write(b []byte) error {
	if len(b) == 0 {
		return nil
	}
	n, err := e.to.Write(b)
	e.progress.Bytes += int64(n)
	if err != nil {
		return fmt.Errorf("writing the export: %w", err)
	}
	return nil
}

// firstCharacters are what user principal names begin with, nearly all; for
// the others there is a part of its own.
const firstCharacters = "abcdefghijklmnopqrstuvwxyz0123456789"

// split returns the parts of a collection that are read side by side: one, or
// one for each first character of a user principal name and one for the rest,
// which together are everybody.
func (c *Client) split(address string, parallel int) ([]*part, error) {
	u, err := c.Resolve(address)
	if err != nil {
		return nil, err
	}
	if parallel <= 1 {
		return []*part{{Next: u.String()}}, nil
	}
	var options []string
	filter := ""
	for option := range strings.SplitSeq(u.RawQuery, "&") {
		name, value, _ := strings.Cut(option, "=")
		name = strings.ToLower(strings.Replace(name, "%24", "$", 1))
		switch strings.TrimPrefix(name, "$") {
		case "":
		case "filter":
			if filter, err = url.QueryUnescape(value); err != nil {
				return nil, errors.New("the $filter is not percent-encoded as it should be")
			}
		case "search", "orderby", "skiptoken", "skip", "count":
			return nil, fmt.Errorf("an export in parallel cannot be combined with %s; leave that out, or read one page after the other", shown(name))
		default:
			options = append(options, option)
		}
	}
	if !strings.HasSuffix(strings.ToLower(strings.TrimRight(u.Path, "/")), "/users") {
		return nil, fmt.Errorf("only /users can be exported in parallel, by the first character of the user principal name; %s cannot", shown(u.Path))
	}
	with := func(condition string, more ...string) string {
		if filter != "" {
			condition = "(" + filter + ") and " + condition
		}
		part := *u
		part.RawQuery = strings.Join(append(slices.Concat(options, more), "$filter="+url.QueryEscape(condition)), "&")
		return part.String()
	}
	var parts []*part
	var rest []string
	for _, r := range firstCharacters {
		begins := fmt.Sprintf("startswith(userPrincipalName,'%c')", r)
		rest = append(rest, "not("+begins+")")
		parts = append(parts, &part{Next: with(begins)})
	}
	return append(parts, &part{Next: with(strings.Join(rest, " and "), "$count=true"), Advanced: true}), nil
}
