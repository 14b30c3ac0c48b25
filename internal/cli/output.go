package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/fobauth/fob/internal/harmless"
)

// sink takes the items of an answer and prints them in one of the forms.
type sink interface {
	item(v jsontext.Value) error
	// end prints what is left. complete says that there are no more items;
	// otherwise those so far are only some of them.
	end(complete bool) error
}

// sink returns the form that -o asks for. columns are those of a table, if
// they are known beforehand; raw prints strings as they are.
func (inv *invocation) sink(w io.Writer, columns []string, raw bool) sink {
	lines := &lineWriter{w: bufio.NewWriterSize(w, 64<<10), raw: raw, person: inv.terminal(w).is}
	switch inv.flags.output {
	case "table":
		return &tableWriter{inv: inv, lines: lines, term: inv.terminal(w), grid: grid{columns: columns, named: columns != nil}}
	case "csv":
		return &csvWriter{inv: inv, lines: lines, grid: grid{columns: columns, named: columns != nil}}
	case "json":
		if !raw {
			return &arrayWriter{lines: lines}
		}
	}
	return lines
}

// errOutput marks an error of writing, not of the answer.
var errOutput = errors.New("writing the output")

func writing(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", errOutput, err)
}

// nowhere is a sink for what only has to be read.
type nowhere struct{}

func (nowhere) item(jsontext.Value) error { return nil }
func (nowhere) end(bool) error            { return nil }

// visible writes JSON with the characters escaped on which a terminal would
// act. They can only be in strings.
type visible struct{ w io.Writer }

// Write writes p, which holds whole characters.
func (v visible) Write(p []byte) (int, error) {
	if isHarmless(p, 0) { // JSON has no control characters but those between its values
		return v.w.Write(p)
	}
	var b strings.Builder
	for _, r := range string(p) {
		switch {
		case r < 0x7f || r != utf8.RuneError && !harmless.Unsafe(r):
			b.WriteRune(r)
		case r <= 0xffff:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		}
	}
	_, err := io.WriteString(v.w, b.String())
	return len(p), err
}

// lineWriter prints every item on a line of its own.
type lineWriter struct {
	w       *bufio.Writer
	raw     bool // strings without quotes
	person  bool // a terminal is at the other end
	buffer  []byte
	flushed time.Time
}

func (l *lineWriter) item(v jsontext.Value) error {
	if err := l.put("", v, "\n"); err != nil {
		return err
	}
	return l.flush(false)
}

func (l *lineWriter) put(before string, v jsontext.Value, after string) error {
	l.buffer = slices.Grow(resized(l.buffer), len(before)+len(v)+len(after))
	l.buffer = append(append(l.buffer, before...), v...)
	text := jsontext.Value(l.buffer[len(before):])
	if err := text.Compact(jsontext.AllowDuplicateNames(true)); err != nil {
		return err
	}
	l.buffer = l.buffer[:len(before)+len(text)]
	if l.raw && text.Kind() == '"' {
		var s string
		if err := json.Unmarshal(text, &s, jsontext.AllowInvalidUTF8(true)); err != nil {
			return err
		}
		if l.person {
			s = oneLine(s)
		}
		_, err := io.WriteString(l.w, s+after)
		return writing(err)
	}
	_, err := visible{l.w}.Write(append(l.buffer, after...))
	return writing(err)
}

// resized is an empty buffer to be used again, unless it once held something
// unusually long.
func resized(buffer []byte) []byte {
	if cap(buffer) > 1<<20 {
		return nil
	}
	return buffer[:0]
}

// flush passes on what has gathered: at once to a person, otherwise so often
// that whoever reads has something to do.
func (l *lineWriter) flush(now bool) error {
	if !now && !l.person && time.Since(l.flushed) < 100*time.Millisecond {
		return nil
	}
	l.flushed = time.Now()
	return writing(l.w.Flush())
}

func (l *lineWriter) end(bool) error { return l.flush(true) }

// arrayWriter prints the items as one JSON array.
type arrayWriter struct {
	lines *lineWriter
	count int
}

func (a *arrayWriter) item(v jsontext.Value) error {
	before := ",\n"
	if a.count == 0 {
		before = "[\n"
	}
	a.count++
	if err := a.lines.put(before, v, ""); err != nil {
		return err
	}
	return a.lines.flush(false)
}

// end closes the array, unless it is not whole: half an array that parses
// would be taken for all there is.
func (a *arrayWriter) end(complete bool) error {
	text := "\n]\n"
	if a.count == 0 {
		text = "[]\n"
	}
	if !complete {
		text = ""
	}
	if _, err := a.lines.w.WriteString(text); err != nil {
		return writing(err)
	}
	return a.lines.flush(true)
}

// tableCell is one value of a table.
type tableCell struct {
	text   []byte
	number bool // or true and false: no text of anybody's
}

// grid turns items into rows.
type grid struct {
	columns []string
	named   bool            // the columns were asked for, and not found in items
	seen    map[string]bool // the columns that were found
	other   []string        // members that have no column

	// What is used again for every item, of which there may be millions.
	index   map[string]int // by name, in lower case
	places  map[string]int // by name, as it stands in an item; -1: there is no column for it
	cells   []tableCell
	texts   []byte // of cells, if they are not as they stand in the item
	reader  bytes.Buffer
	decoder jsontext.Decoder
}

// maxColumns is what a spreadsheet takes.
const maxColumns = 16_384

// members yields the members of an object, or the value itself as "value". The
// name is as it stands there, in quotes.
func (g *grid) members(v jsontext.Value, yield func(name, value jsontext.Value) error) error {
	if v.Kind() != '{' {
		return yield(jsontext.Value(`"value"`), v)
	}
	g.reader = *bytes.NewBuffer(v)
	d := &g.decoder
	d.Reset(&g.reader, jsontext.AllowDuplicateNames(true))
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() == '"' {
		name, err := d.ReadValue()
		if err != nil {
			return err
		}
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		if err := yield(name, value); err != nil {
			return err
		}
	}
	_, err := d.ReadToken()
	return err
}

// memberName reads a name of members. ours says that it is no remark about
// another member.
func memberName(name jsontext.Value) (text string, ours bool, err error) {
	unquoted, err := jsontext.AppendUnquote(nil, name)
	return string(unquoted), !bytes.Contains(unquoted, []byte("@odata.")), err
}

// look finds columns in an item.
func (g *grid) look(v jsontext.Value) error {
	if g.seen == nil {
		g.seen = map[string]bool{}
	}
	return g.members(v, func(name, _ jsontext.Value) error {
		text, ours, err := memberName(name)
		if ours && !g.seen[text] && len(g.columns) < maxColumns {
			g.seen[text] = true
			g.columns = append(g.columns, text)
		}
		return err
	})
}

// row reads an item. The row is good until the next one.
func (g *grid) row(v jsontext.Value) ([]tableCell, error) {
	if g.index == nil {
		g.index, g.places, g.cells = map[string]int{}, map[string]int{}, make([]tableCell, len(g.columns))
		for i, name := range g.columns {
			g.index[strings.ToLower(name)] = i
		}
	}
	clear(g.cells)
	g.texts = resized(g.texts)
	err := g.members(v, func(name, value jsontext.Value) error {
		i, ok := g.places[string(name)]
		if !ok {
			var err error
			if i, err = g.place(name); err != nil {
				return err
			}
		}
		if i < 0 {
			return nil
		}
		var err error
		g.cells[i], err = g.cell(value)
		return err
	})
	return g.cells, err
}

// place finds the column of a member.
func (g *grid) place(name jsontext.Value) (int, error) {
	text, ours, err := memberName(name)
	if err != nil {
		return 0, err
	}
	i, ok := g.index[strings.ToLower(text)]
	if !ok || !ours {
		i = -1
		if ours && !g.named && len(g.other) < 100 && !slices.Contains(g.other, text) {
			g.other = append(g.other, text)
		}
	}
	if len(g.places) < maxColumns {
		g.places[string(name)] = i
	}
	return i, nil
}

// cell reads a JSON value. What has parts stays JSON.
func (g *grid) cell(v jsontext.Value) (tableCell, error) {
	start := len(g.texts)
	switch v.Kind() {
	case 'n':
		return tableCell{}, nil
	case '"':
		text := v[1 : len(v)-1]
		var err error
		if bytes.IndexByte(text, '\\') >= 0 {
			g.texts, err = jsontext.AppendUnquote(slices.Grow(g.texts, len(v)), v)
			text = g.texts[start:]
		}
		return tableCell{text: oneLineBytes(text)}, err
	case '{', '[':
		g.texts = append(slices.Grow(g.texts, len(v)), v...)
		whole := jsontext.Value(g.texts[start:])
		err := whole.Compact(jsontext.AllowDuplicateNames(true))
		if len(whole) == len("[]") {
			return tableCell{}, err
		}
		return tableCell{text: oneLineBytes(whole)}, err
	}
	return tableCell{text: v, number: true}, nil
}

// sample is how many items are looked at before the columns are settled, and
// how many bytes of them.
const (
	sample      = 200
	sampleBytes = 4 << 20
)

// waiting are items that come before the columns are known.
type waiting struct {
	items []jsontext.Value
	bytes int
}

// add keeps one more, and reports whether these are enough.
func (w *waiting) add(v jsontext.Value) (enough bool) {
	w.items = append(w.items, v.Clone())
	w.bytes += len(v)
	return len(w.items) >= sample || w.bytes >= sampleBytes
}

// csvWriter prints a table as RFC 4180 has it.
type csvWriter struct {
	inv     *invocation
	lines   *lineWriter // to where, and how often
	grid    grid
	waiting waiting
	begun   bool
	buffer  []byte
}

func (c *csvWriter) item(v jsontext.Value) error {
	if c.begun {
		return c.write(v)
	}
	if c.grid.named {
		if err := c.begin(); err != nil {
			return err
		}
		return c.write(v)
	}
	enough := c.waiting.add(v)
	if err := c.grid.look(v); err != nil || !enough {
		return err
	}
	return c.begin()
}

func (c *csvWriter) begin() error {
	c.begun = true
	if _, err := c.lines.w.Write(csvHead(c.grid.columns)); err != nil {
		return writing(err)
	}
	for _, v := range c.waiting.items {
		if err := c.write(v); err != nil {
			return err
		}
	}
	c.waiting = waiting{}
	return nil
}

func (c *csvWriter) write(v jsontext.Value) error {
	row, err := c.grid.row(v)
	if err != nil {
		return err
	}
	c.buffer = appendCSV(slices.Grow(resized(c.buffer), len(v)), row)
	if _, err = c.lines.w.Write(c.buffer); err != nil {
		return writing(err)
	}
	return c.lines.flush(false)
}

func (c *csvWriter) end(bool) error {
	if !c.begun && len(c.grid.columns) > 0 {
		if err := c.begin(); err != nil {
			return err
		}
	}
	c.inv.tellOther(c.grid.other)
	return c.lines.flush(true)
}

// tellOther says what did not fit into the columns.
func (inv *invocation) tellOther(names []string) {
	if len(names) > 0 {
		inv.note("there is no column for %s, which only later items have; name the columns with $select", someOf(names))
	}
}

func csvHead(columns []string) []byte {
	return appendCSV(nil, headOf(columns))
}

func headOf(columns []string) []tableCell {
	row := make([]tableCell, len(columns))
	for i, name := range columns {
		row[i].text = []byte(oneLine(name))
	}
	return row
}

// appendCSV appends one line. A text that a spreadsheet would run as a formula
// gets an apostrophe in front, which shows it as a text.
func appendCSV(dst []byte, row []tableCell) []byte {
	for i, c := range row {
		if i > 0 {
			dst = append(dst, ',')
		}
		text := c.text
		if !c.number && startsFormula(text) {
			text = slices.Concat([]byte("'"), text)
		}
		if !needsQuotes(text) {
			dst = append(dst, text...)
			continue
		}
		dst = append(dst, '"')
		for _, b := range text {
			if b == '"' {
				dst = append(dst, '"')
			}
			dst = append(dst, b)
		}
		dst = append(dst, '"')
	}
	return append(dst, '\r', '\n')
}

// needsQuotes reports whether a reader could take a part of text for something
// else than a part of it.
func needsQuotes(text []byte) bool {
	for _, b := range text {
		switch b {
		case '"', ',', '\r', '\n', ';':
			return true
		}
	}
	return len(text) != len(bytes.TrimSpace(text))
}

// startsFormula reports whether a spreadsheet may take a text for a formula:
// some do for full-width signs, too, and after what they leave out.
func startsFormula(text []byte) bool {
	switch first, _ := utf8.DecodeRune(text); first {
	case '=', '+', '-', '@', '＝', '＋', '－', '＠', '\t', '\r', '\n':
		return true
	case ' ':
		return startsFormula(bytes.TrimLeft(text, " \t\r\n"))
	}
	return false
}

// tableWriter prints columns for a person. The widths follow from the first
// items, so that a list of any length needs no memory.
type tableWriter struct {
	inv     *invocation
	lines   *lineWriter // to where, and how often
	term    terminal
	grid    grid
	waiting waiting
	count   int   // items so far
	shown   []int // columns, in their order
	widths  []int
	left    []string // columns that the terminal has no room for
	buffer  []byte
}

func (t *tableWriter) item(v jsontext.Value) error {
	t.count++
	if t.widths != nil {
		row, err := t.grid.row(v)
		if err != nil {
			return err
		}
		return t.line(row, "")
	}
	enough := t.waiting.add(v)
	if !t.grid.named {
		if err := t.grid.look(v); err != nil {
			return err
		}
	}
	if !enough {
		return nil
	}
	return t.begin()
}

// begin settles the columns: those that say nothing are left out, as are, on a
// terminal, those at the end that it has no room for.
func (t *tableWriter) begin() error {
	head := headOf(t.grid.columns)
	used := make([]bool, len(head))
	t.widths = make([]int, len(head))
	for _, v := range t.waiting.items {
		row, err := t.grid.row(v)
		if err != nil {
			return err
		}
		for i := range row {
			used[i] = used[i] || len(row[i].text) > 0
			t.widths[i] = max(t.widths[i], min(cellWidth(row[i].text), widest))
		}
	}
	for i, name := range head {
		if t.grid.named || used[i] {
			t.widths[i] = max(t.widths[i], cellWidth(name.text))
			t.shown = append(t.shown, i)
		}
	}
	if !t.grid.named {
		// An id is long and says little: it goes to the end.
		slices.SortStableFunc(t.shown, func(a, b int) int { return boolInt(t.grid.columns[a] == "id") - boolInt(t.grid.columns[b] == "id") })
	}
	if t.term.is {
		t.left = t.fit()
	}
	if err := t.line(head, styleLabel); err != nil {
		return err
	}
	for _, v := range t.waiting.items {
		row, err := t.grid.row(v)
		if err == nil {
			err = t.line(row, "")
		}
		if err != nil {
			return err
		}
	}
	t.waiting = waiting{}
	return nil
}

// widest is how wide a column becomes at most; what is longer stands out. Every
// line is filled up to there.
const widest = 1000

// narrow is the width below which a column is not cut.
const narrow = 16

// fit makes the columns as wide as the terminal: the widest are cut first, and
// when all are narrow the last ones are left out.
func (t *tableWriter) fit() (left []string) {
	for i := range t.widths {
		t.widths[i] = min(t.widths[i], t.term.width)
	}
	if room := t.term.width/3 + 1; len(t.shown) > room { // for one letter of each
		for _, i := range t.shown[room:] {
			left = append(left, t.grid.columns[i])
		}
		t.shown = t.shown[:room]
	}
	for {
		total, widest := 2*(len(t.shown)-1), -1
		for _, i := range t.shown {
			total += t.widths[i]
			if t.widths[i] > narrow && (widest < 0 || t.widths[i] > t.widths[widest]) {
				widest = i
			}
		}
		switch {
		case total <= t.term.width || len(t.shown) <= 1:
			return left
		case widest >= 0:
			t.widths[widest]--
		default:
			last := len(t.shown) - 1
			left = append([]string{t.grid.columns[t.shown[last]]}, left...)
			t.shown = t.shown[:last]
		}
	}
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (t *tableWriter) line(row []tableCell, style string) error {
	b := resized(t.buffer)
	for _, i := range t.shown {
		text := row[i].text
		if t.term.is {
			text = []byte(clip(string(text), t.widths[i]))
		}
		pad := max(0, t.widths[i]-cellWidth(text))
		if row[i].number {
			b = append(appendSpaces(b, pad), text...)
		} else {
			b = appendSpaces(append(b, text...), pad)
		}
		b = append(b, "  "...)
	}
	t.buffer = b
	b = bytes.TrimRight(b, " ")
	if style != "" {
		b = []byte(t.term.paint(style, string(b)))
	}
	if _, err := t.lines.w.Write(append(b, '\n')); err != nil {
		return writing(err)
	}
	return t.lines.flush(false)
}

func appendSpaces(b []byte, n int) []byte {
	for range n {
		b = append(b, ' ')
	}
	return b
}

func (t *tableWriter) end(bool) error {
	switch {
	case t.widths == nil && t.count > 0:
		if err := t.begin(); err != nil {
			return err
		}
	case t.count == 0:
		t.inv.note("there are no items")
	}
	if err := t.lines.flush(true); err != nil {
		return err
	}
	if len(t.left) > 0 {
		t.inv.note("the terminal has no room for %s; choose with $select, or print all with -o csv", someOf(t.left))
	}
	t.inv.tellOther(t.grid.other)
	return nil
}

// clip shortens a text to width columns.
func clip(s string, width int) string {
	if cellWidth(s) <= width {
		return s
	}
	column := 0
	for i, r := range s {
		w := runeWidth(r)
		if column+w > width-1 {
			return s[:i] + "…"
		}
		column += w
	}
	return s
}

// cellWidth is how many columns of a terminal s takes.
func cellWidth[T string | []byte](s T) int {
	width := 0
	for i := 0; i < len(s); {
		if s[i] < utf8.RuneSelf {
			width++
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		width += runeWidth(r)
		i += size
	}
	return width
}

// runeWidth is 2 for the characters of East Asia and for pictures, 0 for marks
// on the character before.
func runeWidth(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case 0x1100 <= r && r <= 0x115f, 0x2e80 <= r && r <= 0x303e, 0x3041 <= r && r <= 0xa4cf, 0xa960 <= r && r <= 0xa97f,
		0xac00 <= r && r <= 0xd7a3, 0xf900 <= r && r <= 0xfaff, 0xfe30 <= r && r <= 0xfe6f, 0xff00 <= r && r <= 0xff60,
		0xffe0 <= r && r <= 0xffe6, 0x1f300 <= r && r <= 0x1f64f, 0x1f680 <= r && r <= 0x1f6ff, 0x1f900 <= r && r <= 0x1faff,
		0x20000 <= r && r <= 0x3fffd:
		return 2
	}
	return 1
}

// columns are the properties that a $select names, in its order.
func (c *call) columns() []string {
	if c.jq != "" {
		return nil // the filter makes its own
	}
	return selected(c.target.RawQuery)
}

func selected(query string) []string {
	for option := range strings.SplitSeq(query, "&") {
		name, value, _ := strings.Cut(option, "=")
		if name = strings.TrimPrefix(strings.ToLower(unescaped(name)), "$"); name != "select" {
			continue
		}
		var columns []string
		for column := range strings.SplitSeq(unescaped(value), ",") {
			if column = strings.TrimSpace(column); column != "" && column != "*" && utf8.ValidString(column) {
				columns = append(columns, column)
			}
		}
		return columns
	}
	return nil
}
