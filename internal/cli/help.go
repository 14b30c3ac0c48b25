package cli

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const exitStatusTable = `Exit status:
  0    done
  1    failed
  2    wrong usage
  3    a person must sign in
  4    refused (credential, consent, permission, policy)
  5    not reachable or throttled: try again later
  130  interrupted
`

// help prints the help of a command to stdout. It is written by hand because
// text/template would double the size of the program.
func (inv *invocation) help(cmd *cobra.Command, _ []string) {
	t := inv.terminal(inv.Stdout)
	var b strings.Builder
	b.WriteString(or(cmd.Long, cmd.Short) + "\n\n")

	b.WriteString(t.paint(styleTitle, "Usage:") + "\n  " + cmd.UseLine() + "\n")
	if cmd.HasAvailableSubCommands() {
		if !cmd.HasParent() {
			b.WriteString("  fob COMMAND --help\n")
		}
		b.WriteString("\n" + t.paint(styleTitle, "Commands:") + "\n")
		width := 0
		for _, c := range cmd.Commands() {
			width = max(width, len(c.Name()))
		}
		for _, c := range cmd.Commands() {
			if c.IsAvailableCommand() {
				fmt.Fprintf(&b, "  %-*s  %s\n", width, c.Name(), c.Short)
			}
		}
	}
	if len(cmd.Aliases) > 0 {
		b.WriteString("\n" + t.paint(styleTitle, "Aliases:") + " " + strings.Join(cmd.Aliases, ", ") + "\n")
	}
	if cmd.Example != "" {
		b.WriteString("\n" + t.paint(styleTitle, "Examples:") + "\n")
		for line := range strings.Lines(cmd.Example) {
			b.WriteString("  " + strings.TrimRight(line, "\n") + "\n")
		}
	}
	own, shared := splitFlags(cmd.Flags())
	if text := own.FlagUsagesWrapped(t.textWidth()); text != "" {
		b.WriteString("\n" + t.paint(styleTitle, "Flags:") + "\n" + text)
	}
	if text := shared.FlagUsagesWrapped(t.textWidth()); text != "" {
		b.WriteString("\n" + t.paint(styleTitle, "Who, where and how to sign in:") + "\n" + text)
	}
	b.WriteString("\n" + exitStatusTable)
	// pflag would show the value that --trace has when it is given none.
	text := strings.ReplaceAll(b.String(), `--trace file[="-"]`, "--trace[=file]    ")
	io.WriteString(inv.Stdout, text)
}

// sharedFlag marks the flags that mean the same on every command.
const sharedFlag = "fob_shared"

func splitFlags(all *pflag.FlagSet) (own, shared *pflag.FlagSet) {
	own, shared = pflag.NewFlagSet("", pflag.ContinueOnError), pflag.NewFlagSet("", pflag.ContinueOnError)
	all.VisitAll(func(f *pflag.Flag) {
		if f.Annotations[sharedFlag] != nil {
			shared.AddFlag(f)
		} else {
			own.AddFlag(f)
		}
	})
	return own, shared
}
