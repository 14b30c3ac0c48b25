package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fobauth/fob/internal/trace"
)

// toStderr is --trace without a file.
const toStderr = "-"

var traceForms = []string{".html", ".md", ".har", ".txt"}

// checkTrace refuses a trace file that could not be written in the end, before
// anything is sent.
func (inv *invocation) checkTrace() error {
	name := inv.flags.trace
	if name == "" || name == toStderr {
		return nil
	}
	if !slices.Contains(traceForms, strings.ToLower(filepath.Ext(name))) {
		return &problem{status: StatusUsage, text: "--trace " + quoted(name) + " has no form that fob writes",
			fix: "let its name end in .html, .md, .har or .txt, or leave it out to see the story on stderr", try: inv.command + " --trace=trace.html"}
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		if info, err := os.Stat(filepath.Dir(name)); err != nil || !info.IsDir() {
			return &problem{status: StatusUsage, text: "there is no directory for --trace " + quoted(name), fix: "make it first, or name another file"}
		}
		return nil
	}
	if err != nil {
		return &problem{status: StatusUsage, text: "looking at --trace", err: err}
	}
	defer f.Close()
	head := make([]byte, 8<<10)
	n, err := io.ReadFull(f, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return &problem{status: StatusUsage, text: "looking at --trace", err: err}
	}
	if n > 0 && !isTrace(head[:n]) {
		return &problem{status: StatusUsage, text: "--trace " + quoted(name) + " is a file already, and no trace of fob's; it is not replaced",
			fix: "name another file, or remove this one"}
	}
	return nil
}

// noTraceFileApart refuses the file of --trace as a word of its own, which is an
// argument: the file can be left out.
func (inv *invocation) noTraceFileApart(others cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		for _, arg := range args {
			if inv.flags.trace == toStderr && slices.Contains(traceForms, strings.ToLower(filepath.Ext(arg))) && slices.Contains(inv.Args, "--trace") &&
				slices.Index(inv.Args, arg) == slices.Index(inv.Args, "--trace")+1 {
				return &problem{status: StatusUsage, text: "the file of --trace goes behind an equals sign", try: cmd.CommandPath() + " --trace=" + inv.quote(arg)}
			}
		}
		return others(cmd, args)
	}
}

// isTrace recognises the beginning of what package trace writes.
func isTrace(head []byte) bool {
	return bytes.Contains(head, []byte("<title>What went over the wire</title>")) || bytes.HasPrefix(head, []byte("# What went over the wire\n")) ||
		bytes.Contains(head, []byte("\"log\"")) && bytes.Contains(head, []byte("Secrets were removed when this was recorded.")) ||
		bytes.Contains(head, []byte("\n  > ")) && bytes.Contains(head, []byte("\n  < "))
}

// traced records what goes through base if --trace wants it. All connections of
// a command are recorded together.
func (inv *invocation) traced(base http.RoundTripper) http.RoundTripper {
	if inv.flags.trace == "" {
		return base
	}
	inv.startTrace.Do(func() {
		inv.tracer = &trace.Recorder{Base: base}
		for _, address := range inv.hidden {
			inv.tracer.HideAddress(address)
		}
		if inv.flags.trace == toStderr {
			t := inv.terminal(inv.Stderr)
			inv.tracer.Done = func(e trace.Exchange) {
				var story strings.Builder
				e.Story(&story)
				for line := range strings.Lines(story.String()) {
					inv.tellStory(t, line)
				}
			}
		}
	})
	return inv.tracer
}

// hide keeps an address that is a permission in itself out of the trace.
func (inv *invocation) hide(address string) {
	switch {
	case inv.flags.trace == "" || address == "":
	case inv.tracer == nil:
		inv.hidden = append(inv.hidden, address)
	default:
		inv.tracer.HideAddress(address)
	}
}

// tellStory writes one line of an exchange to stderr.
func (inv *invocation) tellStory(t terminal, line string) {
	line = strings.TrimRight(line, "\n")
	style := styleDim
	switch {
	case !strings.HasPrefix(line, "  "):
		style = styleHead
	case strings.HasPrefix(line, "  > ") || strings.HasPrefix(line, "  < "):
		style = ""
	}
	if style != "" {
		line = t.paint(style, line)
	}
	fmt.Fprintln(inv.Stderr, line)
}

// finishTrace writes the trace file, also of a command that failed: that is
// when it is wanted.
func (inv *invocation) finishTrace() {
	name := inv.flags.trace
	if name == "" || name == toStderr {
		return
	}
	if inv.tracer == nil {
		inv.note("nothing was sent, so there is no trace to write to %s", name)
		return
	}
	if err := writeTrace(inv.tracer, name); err != nil {
		inv.warn(fmt.Errorf("writing the trace: %w", err))
		return
	}
	all, _ := inv.tracer.Exchanges()
	if len(all) == 1 {
		inv.note("1 exchange is in %s, without its secrets", name)
		return
	}
	inv.note("%d exchanges are in %s, without their secrets", len(all), name)
}

// writeTrace replaces name in one step, with a file that its owner alone can
// read.
func writeTrace(r *trace.Recorder, name string) error {
	temp, err := os.CreateTemp(filepath.Dir(name), ".tmp-*"+strings.ToLower(filepath.Ext(name)))
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // which fails once it has its real name
	if err := errors.Join(temp.Close(), r.WriteFile(temp.Name())); err != nil {
		return err
	}
	return os.Rename(temp.Name(), name)
}
