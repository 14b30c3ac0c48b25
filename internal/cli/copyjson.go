package cli

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"
)

// copyJSON copies an answer as it comes, however long it is, and says if it was
// not the whole of one JSON value: whoever reads on does not see why.
func copyJSON(w io.Writer, answer io.Reader, wanted bool) error {
	start := bufio.NewReader(answer)
	if mark, _ := start.Peek(len(byteOrderMark)); string(mark) == byteOrderMark {
		start.Discard(len(byteOrderMark))
	}
	first, _ := start.Peek(1)
	if len(first) == 0 && !wanted {
		return nil
	}
	all := io.TeeReader(start, w)
	from := &outline{from: all}
	from.by = jsontext.NewDecoder(from, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	err := from.by.SkipValue()
	if err == nil {
		if _, err = from.by.ReadToken(); err == io.EOF {
			return nil
		}
		err = errors.New("there is more behind the end of the JSON")
	}
	if _, copyErr := io.Copy(io.Discard, all); copyErr != nil {
		return copyErr
	}
	if syntax := (*jsontext.SyntacticError)(nil); errors.As(err, &syntax) {
		syntax.ByteOffset += from.left
	}
	return broken(err, first)
}

// outline is JSON in which what is inside long texts, such as a file in base64,
// is left out when it has been looked at: whoever checks the rest would have to
// keep one text of any length.
type outline struct {
	from io.Reader
	by   *jsontext.Decoder // who reads it
	n    int64             // bytes that came
	left int64             // of these left out
	err  error             // what was wrong with one that was left out

	inText bool
	text   int // bytes of the text so far
	escape int // 0: there is none; escaped: its letter comes next; below: so many digits
}

const (
	escaped  = 5
	longText = 64 << 10
	longest  = 1 << 20 // of what is no text
)

// Read reads what is left of the outline.
func (o *outline) Read(p []byte) (int, error) {
	for o.err == nil {
		if o.n-o.left-o.by.InputOffset() > longest {
			return 0, fmt.Errorf("something that is no text has more than %d MiB at byte %d", longest>>20, o.n)
		}
		n, err := o.from.Read(p)
		kept := p[:0]
		for i, c := range p[:n] {
			keep, broken := o.next(c)
			if broken {
				o.err = fmt.Errorf("broken JSON at byte %d", o.n+int64(i))
				return len(kept), nil
			}
			if keep {
				kept = append(kept, c)
			}
		}
		o.n += int64(n)
		o.left += int64(n - len(kept))
		if len(kept) > 0 || err != nil {
			return len(kept), err
		}
	}
	return 0, o.err
}

// next reports whether a byte is part of the outline, and whether it is wrong
// where it would be left out.
func (o *outline) next(c byte) (keep, broken bool) {
	if !o.inText {
		o.inText, o.text = c == '"', 0
		return true, false
	}
	o.text++
	long := o.text > longText
	switch {
	case o.escape == escaped:
		if o.escape = 0; c == 'u' {
			o.escape = 4
		}
		broken = bytes.IndexByte([]byte(`"\/bfnrtu`), c) < 0
	case o.escape > 0:
		o.escape--
		broken = !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f')
	case c == '"':
		o.inText = false
		return true, false
	case c == '\\':
		o.escape = escaped
	default:
		broken = c < ' '
	}
	return !long, long && broken
}
