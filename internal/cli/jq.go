package cli

import (
	"bytes"
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/itchyny/gojq"
)

// errEnough is how a filter says that nothing more is wanted.
var errEnough = errors.New("enough")

// compileJQ compiles the filter of --jq; nil if there is none. The filter sees
// neither files nor the environment.
func compileJQ(source string) (*gojq.Code, error) {
	if source == "" {
		return nil, nil
	}
	query, err := gojq.Parse(source)
	var code *gojq.Code
	if err == nil {
		code, err = gojq.Compile(query)
	}
	if err != nil {
		p := &problem{status: StatusUsage, text: "the filter of --jq: " + oneLine(err.Error())}
		var parse *gojq.ParseError
		if errors.As(err, &parse) && parse.Token != "" && parse.Offset <= len(source) {
			p.fix = fmt.Sprintf("look at character %d, %s; quote the filter for the shell", parse.Offset, quoted(parse.Token))
		}
		return nil, p
	}
	return code, nil
}

// filtered puts a filter in front of a sink.
type filtered struct {
	ctx    context.Context // a filter may run for ever
	filter *gojq.Code
	to     sink
	names  map[string]string // of members, so that each is kept once
	missed func()            // told of a list of which the filter wanted what only its items have; may be nil
}

func (f *filtered) item(v jsontext.Value) error {
	if f.names == nil {
		f.names = map[string]string{}
	}
	r := valueReader{d: jsontext.NewDecoder(bytes.NewBuffer(v), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)), names: f.names}
	input, err := r.value()
	if err != nil {
		return err
	}
	results, nulls := 0, 0
	for all := f.filter.RunWithContext(f.ctx, input); ; {
		result, ok := all.Next()
		if !ok {
			if nulls > 0 && nulls == results && f.missed != nil && isList(input) {
				f.missed()
			}
			return nil
		}
		if results++; result == nil {
			nulls++
		}
		if err, ok := result.(error); ok {
			var halt *gojq.HaltError
			switch {
			case errors.As(err, &halt) && halt.Value() == nil:
				return errEnough
			case f.ctx.Err() != nil:
				return f.ctx.Err()
			}
			return &problem{text: "the filter of --jq: " + oneLine(err.Error()), fix: "see what it gets: the same command without --jq"}
		}
		text, err := gojq.Marshal(result)
		if err != nil {
			return err
		}
		if err := f.to.item(text); err != nil {
			return err
		}
	}
}

// isList reports whether a value is a page of a list.
func isList(v any) bool {
	object, _ := v.(map[string]any)
	_, ok := object["value"].([]any)
	return ok
}

func (f *filtered) end(complete bool) error { return f.to.end(complete) }

// maxValues bounds the memory of what a filter gets. A user of a directory
// takes four times the length of its JSON; an object with one short member,
// which is nothing but a table for eight, takes 70 times.
const maxValues = 256 << 20

// jqMemory is where the program begins to collect what it does not need any
// more at once: the answer, the values and the results have room in it.
const jqMemory = 400 << 20

// What Go takes for a value, rounded up; beside the place where it is kept,
// which is counted with the array or the object that it is in.
const (
	bytesOfText   = 32             // and its length
	bytesOfNumber = 8              // as an int
	bytesOfArray  = 24             // and for each element:
	bytesOfPlace  = 2 * 16         // arrays grow
	bytesOfObject = 48 + 8*32 + 32 // of up to eight members
	bytesOfTable  = 352            // of the ninth
	bytesOfMember = 96             // of each behind it
)

// valueReader makes of JSON the values that gojq wants.
type valueReader struct {
	d     *jsontext.Decoder
	names map[string]string
	taken int
}

// take counts memory before it is asked for.
func (r *valueReader) take(bytes int) error {
	if r.taken += bytes; r.taken <= maxValues {
		return nil
	}
	return &problem{text: fmt.Sprintf("--jq would take more than %d MiB of memory for one answer", maxValues>>20),
		fix: "let it see less at a time: with --all it gets the items one by one, and --query '$top=100' makes pages smaller; or write all of it with -o ndjson or \"fob export\", and filter the file"}
}

// What empty arrays and objects are; gojq changes no value that it is given.
var (
	emptyArray  any = []any{}
	emptyObject any = map[string]any{}
)

func (r *valueReader) value() (any, error) {
	t, err := r.d.ReadToken()
	if err != nil {
		return nil, err
	}
	switch t.Kind() {
	case '{':
		return r.object()
	case '[':
		return r.array()
	case '"':
		text := t.String()
		return text, r.take(bytesOfText + len(text))
	case '0':
		text := t.String()
		if n, err := strconv.Atoi(text); err == nil && text != "-0" {
			return n, r.take(bytesOfNumber)
		}
		return stdjson.Number(text), r.take(bytesOfText + len(text)) // ids may be longer than a float64 keeps
	case 't', 'f':
		return t.Bool(), nil
	}
	return nil, nil
}

func (r *valueReader) array() (any, error) {
	if r.d.PeekKind() == ']' {
		_, err := r.d.ReadToken()
		return emptyArray, err
	}
	var all []any
	err := r.take(bytesOfArray)
	for err == nil && r.d.PeekKind() != ']' {
		if err = r.take(bytesOfPlace); err != nil {
			break
		}
		var v any
		v, err = r.value()
		all = append(all, v)
	}
	if err == nil {
		_, err = r.d.ReadToken()
	}
	return all, err
}

func (r *valueReader) object() (any, error) {
	if r.d.PeekKind() == '}' {
		_, err := r.d.ReadToken()
		return emptyObject, err
	}
	if err := r.take(bytesOfObject); err != nil {
		return nil, err
	}
	all := map[string]any{}
	for r.d.PeekKind() != '}' {
		name, err := r.name()
		if err != nil {
			return nil, err
		}
		switch n := len(all); {
		case n == 8:
			err = r.take(bytesOfTable)
		case n > 8:
			err = r.take(bytesOfMember)
		}
		if err != nil {
			return nil, err
		}
		if all[name], err = r.value(); err != nil {
			return nil, err
		}
	}
	_, err := r.d.ReadToken()
	return all, err
}

// name reads the name of a member. Those of one collection are the same few.
func (r *valueReader) name() (string, error) {
	t, err := r.d.ReadToken()
	if err != nil {
		return "", err
	}
	name := t.String()
	if known, ok := r.names[name]; ok {
		return known, nil
	}
	if len(r.names) < 1000 && len(name) <= 100 {
		r.names[name] = name
	}
	return name, r.take(bytesOfText + len(name))
}
