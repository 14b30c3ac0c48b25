package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/graph"
)

// export is what the flags of "fob export" say.
type export struct {
	*call
	address  string
	to       string
	form     string // ndjson or csv
	parallel int
	delta    bool
	replace  bool
}

func (inv *invocation) exportCommand() *cobra.Command {
	r := &request{method: http.MethodGet}
	x := export{parallel: 1}
	cmd := &cobra.Command{
		Use: "export URL|PATH --to FILE|- [flags]", Short: "Copy a collection of any size to a file",
		Long: "Copies a collection of any size to a file, one JSON object a line, or as CSV if\n" +
			"the name ends in .csv. It needs little memory however long the list is, reads\n" +
			"the next page while one is written, and waits as long as the service asks.\n\n" +
			"Interrupted in any way, also by kill -9, the same command goes on where it was:\n" +
			"no item is lost and none is there twice. FILE.checkpoint holds the place.\n\n" +
			"--delta keeps a file current: the first run copies everything, each later one\n" +
			"asks only for what has changed since. FILE.delta holds the place. Where $select\n" +
			"names members, owners or manager, these are kept current as well.",
		Example: "fob export /users --to users.ndjson\n" +
			"fob export '/users?$select=id,displayName,mail' --to users.csv --parallel 8\n" +
			"fob export /users --to users.ndjson --delta\n" +
			"fob export /groups --to - | jq .displayName",
		Args: oneAddress,
	}
	fs := cmd.Flags()
	fs.StringVar(&x.to, "to", "", "`file` to write: .ndjson, .csv, or - for stdout")
	inv.outputFlag(fs, "ndjson", "csv")
	fs.IntVar(&x.parallel, "parallel", 1, "read `n` parts of /users side by side, in no order")
	fs.BoolVar(&x.delta, "delta", false, "keep the file current: later runs ask for changes only")
	fs.BoolVar(&x.replace, "replace", false, "write over a file that exists")
	fs.StringArrayVar(&r.query, "query", nil, "add `NAME=VALUE` to the query, encoded as it must be; repeat")
	fs.StringArrayVarP(&r.headers, "header", "H", nil, "add a header, `NAME:VALUE`; repeat for several")
	fs.BoolVar(&r.beta, "beta", false, "Microsoft Graph's beta version")
	inv.sharedFlags(fs, tokenFlags)
	return inv.define(cmd, func(cmd *cobra.Command, args []string) error {
		x.form, r.all = inv.flags.output, true
		if !fs.Changed("output") && strings.EqualFold(filepath.Ext(x.to), ".csv") {
			x.form = "csv"
		}
		if err := x.check(args[0], inv); err != nil {
			return err
		}
		c, err := inv.call(cmd.Context(), args[0], r)
		if err != nil {
			return err
		}
		x.call, x.address = c, c.target.String()
		c.client.Source = &forgetting{TokenSource: c.client.Source}
		if !inv.flags.set("timeout") {
			// Nobody exports a directory to hear that it is busy.
			c.client.Patience = longPatience
		}
		ctx, cancel, err := c.withGivenTimeout(cmd.Context())
		if err != nil {
			return err
		}
		defer cancel()
		// So little is allocated that to collect it often costs nothing.
		defer debug.SetGCPercent(debug.SetGCPercent(20))
		switch {
		case x.to == "-":
			return x.toStdout(ctx)
		case x.delta:
			return x.keepCurrent(ctx)
		}
		return x.toFile(ctx, x.replace)
	})
}

func (x *export) check(address string, inv *invocation) error {
	usage := func(text, fix string) error { return &problem{status: StatusUsage, text: text, fix: fix} }
	switch {
	case x.to == "":
		p := &problem{status: StatusUsage, text: "say with --to where the items go", try: "fob export " + inv.quote(address) + " --to items.ndjson"}
		return p
	case x.parallel < 1 || x.parallel > 64:
		return usage("--parallel wants a number from 1 to 64", "")
	case x.delta && x.to == "-":
		return usage("--delta keeps a file current, and - is none", "name a file with --to")
	case x.delta && x.form == "csv":
		return usage("--delta keeps an NDJSON file current; CSV does not hold what a change is applied to", "name a file that ends in .ndjson")
	}
	return hasDirectory("--to", x.to)
}

// hasDirectory refuses a file to write that has no directory to be in.
func hasDirectory(flag, file string) error {
	if info, err := os.Stat(filepath.Dir(file)); errors.Is(err, fs.ErrNotExist) || err == nil && !info.IsDir() {
		return &problem{status: StatusUsage, text: "there is no directory for " + flag + " " + quoted(file), fix: "make it first, or name another file"}
	}
	return nil
}

// prepare makes the options of an export. from is a file that is there
// already, whose first line says what the columns are.
func (x *export) prepare(ctx context.Context, from string) (graph.ExportOptions, *meter, error) {
	m := x.inv.meter("")
	o := graph.ExportOptions{Header: x.header, Parallel: x.parallel}
	o.Progress = func(p graph.Progress) {
		if p.Pages <= 2 {
			forgetPages() // from here on it is the same few, page after page
		}
		m.items(p)
	}
	x.client.OnWait = func(w graph.Wait) {
		if x.inv.flags.verbose {
			m.clear()
			x.inv.onWait(w)
		}
	}
	if m.term.is {
		// For the time that is left; many collections cannot tell.
		if total, err := x.client.Count(ctx, x.address); err == nil {
			o.Total = total
		}
	}
	if x.form != "csv" {
		return o, m, nil
	}
	columns, err := x.csvColumns(ctx, from)
	if err != nil {
		return o, m, err
	}
	g := &grid{columns: columns, named: true}
	o.Head = csvHead(columns)
	o.Encode = func(dst []byte, item jsontext.Value) ([]byte, error) {
		row, err := g.row(item)
		if err != nil {
			return dst, err
		}
		return appendCSV(dst, row), nil
	}
	return o, m, nil
}

// csvColumns are those that $select names, else those of the first items.
func (x *export) csvColumns(ctx context.Context, from string) ([]string, error) {
	if named := x.columns(); named != nil {
		return named, nil
	}
	if from != "" {
		return csvHeadOf(from)
	}
	var g grid
	n := 0
	for item, err := range x.client.Pages(ctx, x.address, x.header) {
		if err != nil {
			return nil, x.refused(err)
		}
		if err := g.look(item); err != nil {
			return nil, err
		}
		if n++; n == sample {
			break
		}
	}
	if len(g.columns) == 0 {
		return nil, &problem{text: "there are no items to take the columns from", fix: "name the columns with $select"}
	}
	x.inv.tell("the columns are those of the first %d items: %s", n, strings.Join(g.columns, ", "))
	return g.columns, nil
}

// csvHeadOf reads the columns of an export that was interrupted. Their names
// are properties of an API and have no commas.
func csvHeadOf(name string) ([]string, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	start := make([]byte, 64<<10)
	n, err := io.ReadFull(file, start)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, err
	}
	line, _, ok := strings.Cut(string(start[:n]), "\r\n")
	if !ok {
		return nil, fmt.Errorf("%s has no first line with its columns; remove it and %s to start again", name, graph.CheckpointFile(name))
	}
	return strings.Split(line, ","), nil
}

func (x *export) toStdout(ctx context.Context) error {
	o, m, err := x.prepare(ctx, "")
	if err != nil {
		return err
	}
	var w io.Writer = x.inv.Stdout
	if x.inv.terminal(w).is {
		w, o.Progress = visible{w}, nil
	}
	_, err = x.client.Export(ctx, w, x.address, o)
	m.clear()
	return x.refused(err)
}

// toFile exports to the file, or goes on with an export to it.
func (x *export) toFile(ctx context.Context, replace bool) error {
	from, resumes := "", false
	if info, err := os.Stat(graph.CheckpointFile(x.to)); err == nil && info.Size() > 0 {
		resumes = true
		if written, err := os.Stat(x.to); err == nil && written.Size() > 0 {
			from = x.to
		}
		x.inv.tell("going on with the export that %s is about", graph.CheckpointFile(x.to))
	} else if _, err := os.Stat(x.to); err == nil && !replace {
		return &problem{status: StatusUsage, text: quoted(x.to) + " exists", fix: "choose another name, or say with --replace that it may be written over"}
	}
	o, m, err := x.prepare(ctx, from)
	if err != nil {
		return err
	}
	o.Replace = replace
	p, err := x.client.ExportFile(ctx, x.to, x.address, o)
	m.clear()
	switch {
	case err == nil:
		if m.term.is || x.inv.flags.verbose {
			x.inv.note("%s items are in %s, after %s", thousands(p.Items), x.to, p.Elapsed.Round(10*time.Millisecond))
		}
		return nil
	case errors.Is(err, graph.ErrExpired) && resumes && p.Pages == 0:
		// Half an export must not look like a whole one, whatever comes now.
		x.inv.note("the service has forgotten where the last run ended; exporting everything again")
		if err := errors.Join(os.Truncate(x.to, 0), os.Remove(graph.CheckpointFile(x.to))); err != nil {
			return err
		}
		return x.toFile(ctx, true)
	case errors.Is(err, graph.ErrExpired):
		return &problem{err: x.refused(err), fix: "run the same command once more: it begins again"}
	}
	if _, statErr := os.Stat(graph.CheckpointFile(x.to)); statErr == nil {
		x.inv.note("%s items are in %s; the same command goes on from there", thousands(p.Items), x.to)
	}
	return x.refused(err)
}

// forgetting lets go of what it took to get the first token.
type forgetting struct {
	fob.TokenSource
	once sync.Once
}

func (f *forgetting) Token(ctx context.Context, req fob.Request) (*fob.Token, error) {
	token, err := f.TokenSource.Token(ctx, req)
	f.once.Do(forgetPages)
	return token, err
}
