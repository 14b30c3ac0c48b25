package fob

import (
	"bytes"
	"errors"
	"io"
	"time"

	"github.com/go-json-experiment/json/jsontext"
)

// Records are written by the json package and read by hand, as are assertions,
// which are read with them. A program that prints a stored token does little
// else than to read two records, and for that much the tables that json makes
// of their types cost more than all the rest: opening the store, reading the
// files and unsealing them.

// record is a kind of record. member takes the member called name, whose value
// comes next.
type record interface {
	member(r *recordReader, name string)
}

// decodeRecord reads data, one JSON object, into into. Members that into does
// not know are ignored.
func decodeRecord(data []byte, into record) error {
	r := &recordReader{json: jsontext.NewDecoder(bytes.NewReader(data))}
	r.object(into.member)
	if r.err != nil {
		return r.err
	}
	switch _, err := r.json.ReadToken(); {
	case err == nil:
		return errors.New("something follows the object")
	case err != io.EOF:
		return err
	}
	return nil
}

// recordReader reads values. After an error it reads nothing more.
type recordReader struct {
	json *jsontext.Decoder
	err  error
}

// errRecordType is a value of another type than records have there.
var errRecordType = errors.New("a value of the wrong type")

// next reads a token of kind; null stands for the zero value of everything and
// is false, as is an error.
func (r *recordReader) next(kind jsontext.Kind) (jsontext.Token, bool) {
	if r.err != nil {
		return jsontext.Token{}, false
	}
	t, err := r.json.ReadToken()
	switch {
	case err != nil:
		r.err = err
	case t.Kind() == kind:
		return t, true
	case t.Kind() != 'n':
		r.err = errRecordType
	}
	return jsontext.Token{}, false
}

// more reports whether another member or element follows, and reads the end of
// the object or array if none does.
func (r *recordReader) more() bool {
	if r.err != nil {
		return false
	}
	switch r.json.PeekKind() {
	case '}', ']':
		_, r.err = r.json.ReadToken()
		return false
	}
	return true
}

func (r *recordReader) object(member func(r *recordReader, name string)) {
	if _, ok := r.next('{'); !ok {
		return
	}
	for r.more() {
		if name, ok := r.next('"'); ok {
			member(r, name.String())
		}
	}
}

func (r *recordReader) array(element func()) {
	if _, ok := r.next('['); !ok {
		return
	}
	for r.more() {
		element()
	}
}

func (r *recordReader) text(into *string) {
	if t, ok := r.next('"'); ok {
		*into = t.String()
	}
}

func (r *recordReader) texts(into *[]string) {
	r.array(func() {
		var s string
		r.text(&s)
		*into = append(*into, s)
	})
}

// oneOrMore reads a text, or an array of them.
func (r *recordReader) oneOrMore(into *[]string) {
	if r.err == nil && r.json.PeekKind() == '[' {
		r.texts(into)
		return
	}
	var s string
	r.text(&s)
	*into = []string{s}
}

func (r *recordReader) time(into *time.Time) {
	if t, ok := r.next('"'); ok {
		r.err = into.UnmarshalText([]byte(t.String()))
	}
}

func (r *recordReader) skip() {
	if r.err == nil {
		r.err = r.json.SkipValue()
	}
}

func (a *Account) member(r *recordReader, name string) {
	switch name {
	case "id":
		r.text(&a.ID)
	case "username":
		r.text(&a.Username)
	case "name":
		r.text(&a.Name)
	case "tenant":
		r.text(&a.Tenant)
	default:
		r.skip()
	}
}

func (s *storedAccount) member(r *recordReader, name string) {
	switch name {
	case "account":
		r.object(s.Account.member)
	case "client_id":
		r.text(&s.ClientID)
	case "authority":
		r.text(&s.Authority)
	case "tokens":
		r.texts(&s.Tokens)
	case "updated":
		r.time(&s.Updated)
	case "refresh_token":
		r.text(&s.RefreshText)
	case "id_token":
		r.text(&s.IDText)
	default:
		r.skip()
	}
}

func (s *storedToken) member(r *recordReader, name string) {
	switch name {
	case "access_token":
		r.text(&s.AccessText)
	case "scopes":
		r.texts(&s.Scopes)
	case "asked":
		r.texts(&s.Asked)
	case "expires":
		r.time(&s.Expires)
	case "refresh_on":
		r.time(&s.RefreshOn)
	case "obtained":
		r.time(&s.Obtained)
	case "account":
		r.object(s.Account.member)
	case "tenant":
		r.text(&s.Tenant)
	case "client_id":
		r.text(&s.ClientID)
	case "authority":
		r.text(&s.Authority)
	case "proof":
		r.text(&s.Proof)
	default:
		r.skip()
	}
}

func (i *indexRecord) member(r *recordReader, name string) {
	if name != "accounts" {
		r.skip()
		return
	}
	r.array(func() {
		var a Account
		r.object(a.member)
		i.Accounts = append(i.Accounts, a)
	})
}
