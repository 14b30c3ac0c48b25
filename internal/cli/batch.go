package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/graph"
)

func (inv *invocation) batchCommand() *cobra.Command {
	r := &request{method: http.MethodPost}
	parallel := 1
	cmd := &cobra.Command{
		Use: "batch FILE|- [flags]", Short: "Send many requests to Microsoft Graph, twenty at once",
		Long: "Reads requests, one JSON object a line, and prints their answers in the same\n" +
			"order, one a line. Any number of requests is sent by the twenty, with Graph's\n" +
			"$batch; what is throttled is sent again.\n\n" +
			"A request has the members url, method (GET if it is left out), id (the number\n" +
			"of its line), headers, body and dependsOn, the ids of requests that must\n" +
			"succeed before it. An answer has id, status, headers and body, or error where\n" +
			"there was no answer. A file as Graph itself takes it, {\"requests\":[…]}, is\n" +
			"read, too.\n\n" +
			"The exit status is 0 if all requests succeeded; otherwise it says what could\n" +
			"help, as that of a single request does. A --timeout that is given bounds all\n" +
			"of them together. Where the answer to writes got lost, their errors say that\n" +
			"they may have been carried out; what was not sent says that.",
		Example: "fob batch requests.ndjson\n" +
			"echo '{\"url\":\"/me\"}' | fob batch -\n" +
			"fob batch requests.ndjson --parallel 4",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &problem{status: StatusUsage, text: "name the file with the requests, or - for stdin", try: "fob batch requests.ndjson"}
			}
			return nil
		},
	}
	cmd.Flags().IntVar(&parallel, "parallel", 1, "send up to `n` batches side by side, in no order")
	cmd.Flags().BoolVar(&r.beta, "beta", false, "Microsoft Graph's beta version")
	inv.sharedFlags(cmd.Flags(), tokenFlags)
	return inv.define(cmd, func(cmd *cobra.Command, args []string) error {
		if parallel < 1 || parallel > 50 {
			return &problem{status: StatusUsage, text: "--parallel wants a number from 1 to 50"}
		}
		c, err := inv.call(cmd.Context(), "/$batch", r)
		if err != nil {
			return err
		}
		requests, err := inv.readBatch(args[0])
		if err != nil {
			return err
		}
		if err := c.client.CheckBatch(requests); err != nil {
			return &problem{status: StatusUsage, err: err, fix: "nothing was sent; addresses of a batch are relative to the version, like /users"}
		}
		c.client.Parallel = parallel
		return c.batch(cmd.Context(), requests)
	})
}

// maxBatchLine bounds one request of a batch. Graph takes about 4 MiB.
const maxBatchLine = 16 << 20

// readBatch reads the requests of a file.
func (inv *invocation) readBatch(name string) ([]graph.BatchRequest, error) {
	in := inv.Stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, &problem{status: StatusUsage, text: "reading the requests", err: err}
		}
		defer file.Close()
		in = file
	} else if s := inv.settings; s.usedStdin != "" {
		return nil, &problem{status: StatusUsage, text: s.usedStdin + " and the requests cannot both be read from stdin", fix: "put one of them into a file"}
	}
	requests, err := parseBatch(in)
	if err != nil {
		return nil, &problem{status: StatusUsage, text: "the requests of " + quoted(name), err: err,
			fix: `write one JSON object a line, like {"method":"GET","url":"/me"}`}
	}
	return requests, nil
}

func parseBatch(in io.Reader) ([]graph.BatchRequest, error) {
	var requests []graph.BatchRequest
	lines := bufio.NewReaderSize(in, 64<<10)
	switch start, _ := lines.Peek(3); {
	case isUTF16(start):
		return nil, errors.New("it is written in UTF-16, as Windows PowerShell's > does; write it as text: Set-Content -Encoding utf8")
	case isMarked(start):
		lines.Discard(len(start))
	}
	d := jsontext.NewDecoder(io.LimitReader(lines, 1<<40))
	for n := 1; ; n++ {
		if d.PeekKind() == 0 {
			if _, err := d.ReadToken(); err == io.EOF {
				break
			}
		}
		value, err := d.ReadValue()
		switch {
		case err != nil:
			return nil, fmt.Errorf("request %d: %w", n, badLine(value, err))
		case len(value) > maxBatchLine && !bytes.Contains(value[:64], []byte(`"requests"`)):
			return nil, fmt.Errorf("request %d has more than %d MiB", n, maxBatchLine>>20)
		}
		var whole struct {
			Requests []graph.BatchRequest `json:"requests"`
		}
		if n == 1 && json.Unmarshal(value, &whole) == nil && whole.Requests != nil {
			requests = whole.Requests
			continue
		}
		var r graph.BatchRequest
		if err := json.Unmarshal(value, &r, json.RejectUnknownMembers(true)); err != nil {
			return nil, fmt.Errorf("request %d: %w", n, badLine(value, err))
		}
		if r.URL == "" {
			return nil, fmt.Errorf("request %d has no url", n)
		}
		requests = append(requests, r)
	}
	return requests, completeBatch(requests)
}

// badLine says in words what is wrong with a request.
func badLine(value jsontext.Value, err error) error {
	var syntax *jsontext.SyntacticError
	var kind *json.SemanticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName) && errors.As(err, &syntax):
		return fmt.Errorf("its member %s is there twice", quoted(syntax.JSONPointer.LastToken()))
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("it ends in the middle of its JSON")
	case errors.As(err, &syntax):
		return fmt.Errorf("broken JSON at byte %d of the file", syntax.ByteOffset)
	case !errors.As(err, &kind):
		return err
	case kind.JSONPointer == "":
		return errors.New("it is no JSON object")
	case errors.Is(err, json.ErrUnknownName):
		return fmt.Errorf("no request has a member %s", quoted(kind.JSONPointer.LastToken()))
	}
	wanted := map[reflect.Kind]string{reflect.String: "a string", reflect.Map: "an object", reflect.Slice: "an array"}[kind.GoType.Kind()]
	return fmt.Errorf("its member %s is not %s", quoted(string(kind.JSONPointer)[1:]), or(wanted, "what it should be"))
}

// completeBatch gives every request an id and, where it has a body, a type.
func completeBatch(requests []graph.BatchRequest) error {
	taken := map[string]bool{}
	for _, r := range requests {
		id := strings.ToLower(r.ID)
		if id != "" && taken[id] {
			return fmt.Errorf("two requests have the id %s (case does not count)", quoted(r.ID))
		}
		taken[id] = true
	}
	for i := range requests {
		r := &requests[i]
		if r.ID == "" {
			r.ID = strconv.Itoa(i + 1)
			for n := 1; taken[r.ID]; n++ {
				r.ID = fmt.Sprintf("%d.%d", i+1, n)
			}
			taken[r.ID] = true
		}
		if r.Body.Kind() == 'n' {
			r.Body = nil
		}
		hasType := false
		for name := range r.Header {
			if strings.EqualFold(name, "Authorization") {
				return fmt.Errorf("request %s has an Authorization header; leave it out: the batch has a token", quoted(r.ID))
			}
			hasType = hasType || strings.EqualFold(name, "Content-Type")
		}
		if r.Body != nil && r.Body.Kind() == '{' && !hasType {
			// Graph refuses a body without, and the answer does not say so.
			if r.Header == nil {
				r.Header = map[string]string{}
			}
			r.Header["Content-Type"] = "application/json"
		}
	}
	return nil
}

// batchWindow is how many requests are sent before their answers are printed.
const batchWindow = 400

// batch sends the requests and prints the answers.
func (c *call) batch(ctx context.Context, requests []graph.BatchRequest) error {
	out := bufio.NewWriterSize(c.inv.Stdout, 64<<10)
	window := batchWindow
	if slices.ContainsFunc(requests, func(r graph.BatchRequest) bool { return len(r.DependsOn) > 0 }) {
		window = max(1, len(requests)) // what depends on what is known to the whole only
	}
	ctx, cancel, err := c.withGivenTimeout(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	var failed []error
	var ended error // all of it
	for some := range slices.Chunk(requests, window) {
		answers, err := unsent(some), ended
		if ended == nil {
			answers, err = c.client.Batch(ctx, some)
		}
		for _, a := range answers {
			if a.Err != nil {
				failed = append(failed, a.Err)
			}
			if err := writeAnswer(out, a); err != nil {
				return err
			}
		}
		if flushErr := out.Flush(); flushErr != nil {
			return flushErr
		}
		ended = err
	}
	if ended == nil {
		return c.batchProblem(failed, len(requests))
	}
	if !slices.ContainsFunc(failed, isUncertain) {
		return c.refused(ended)
	}
	advice := uncertainOf(failed) + "; what was not sent can be sent again"
	if errors.Is(ended, context.Canceled) { // which says no more
		c.inv.note("the batch was interrupted; %s", advice)
	}
	return &problem{err: c.refused(ended), fix: advice}
}

// unsent are the answers to requests that come behind the end.
func unsent(requests []graph.BatchRequest) []graph.BatchResponse {
	answers := make([]graph.BatchResponse, len(requests))
	for i, r := range requests {
		answers[i] = graph.BatchResponse{ID: r.ID, Err: errUnsent}
	}
	return answers
}

var errUnsent = errors.New("not sent: the batch ended before")

func isUncertain(err error) bool { return errors.Is(err, graph.ErrUncertain) }

// uncertainOf says what to do about writes that nobody knows of whether they
// were carried out.
func uncertainOf(failed []error) string {
	n := 0
	for _, err := range failed {
		n += boolInt(isUncertain(err))
	}
	return fmt.Sprintf("look what became of the writes that may have been carried out before you send them again: %d, as their errors say", n)
}

// answerForm is one line of the output of "fob batch".
type answerForm struct {
	ID     string            `json:"id"`
	Status int               `json:"status"`
	Header map[string]string `json:"headers,omitempty"`
	Body   jsontext.Value    `json:"body,omitzero"`
	Error  string            `json:"error,omitzero"`
}

func writeAnswer(w io.Writer, a graph.BatchResponse) error {
	form := answerForm{ID: a.ID, Status: a.Status, Header: a.Header, Body: a.Body}
	if a.Err != nil && a.Body == nil {
		form.Error = oneLine(a.Err.Error())
	}
	line, err := json.Marshal(form, jsontext.AllowDuplicateNames(true), json.Deterministic(true))
	if err != nil {
		return err
	}
	// Here, where characters are whole: a buffer's end may cut one in two.
	_, err = visible{w}.Write(append(line, '\n'))
	return err
}

// batchProblem sums up what went wrong: its status is that of a single request
// where all failed alike.
func (c *call) batchProblem(failed []error, of int) error {
	if len(failed) == 0 {
		return nil
	}
	alike := func(is func(error) bool) bool {
		return !slices.ContainsFunc(failed, func(err error) bool { return !is(err) })
	}
	p := &problem{text: fmt.Sprintf("%d of %d requests did not succeed", len(failed), of), status: StatusFailed,
		fix: "look in the answers for an error, and for a status of 400 and more", cause: "the first: " + oneLine(failed[0].Error())}
	switch {
	case alike(func(err error) bool { return errors.Is(err, fob.ErrUnavailable) }):
		p.status, p.fix = StatusUnavailable, "send them again later"
		if slices.ContainsFunc(failed, isUncertain) {
			p.fix = uncertainOf(failed)
		}
	case alike(func(err error) bool {
		var e *graph.Error
		return errors.As(err, &e) && (e.Status == http.StatusForbidden || e.Status == http.StatusUnauthorized)
	}):
		p.status = StatusRefused
		var e *graph.Error
		if have, ok := graph.RightsOf(c.source.last()); ok && errors.As(failed[0], &e) {
			p.fix = or(graph.Explain403(e.Method, e.Path, have), p.fix)
		}
	}
	return p
}
