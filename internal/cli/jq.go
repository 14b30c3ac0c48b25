package cli

import (
	"bytes"
	"context"
	stdjson "encoding/json"
	"errors"
	"fmt"

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
}

func (f *filtered) item(v jsontext.Value) error {
	d := stdjson.NewDecoder(bytes.NewReader(v))
	d.UseNumber() // ids may be longer than a float64 keeps
	var input any
	if err := d.Decode(&input); err != nil {
		return err
	}
	for results := f.filter.RunWithContext(f.ctx, input); ; {
		result, ok := results.Next()
		if !ok {
			return nil
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

func (f *filtered) end(complete bool) error { return f.to.end(complete) }
