package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/fobauth/fob/internal/insight"
)

func (inv *invocation) diffCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "diff A B [flags]", Short: "Compare two tokens",
		Long: "Compares two tokens claim by claim: the one that works with the one that does\n" +
			"not. A and B are files; one of them may be - for stdin. What differs in any two\n" +
			"tokens (times, ids) is kept apart. Nothing is verified.",
		Example: "fob diff works.txt fails.txt\n" +
			"fob token --force-refresh | fob diff yesterday.txt -\n" +
			"fob diff works.txt fails.txt -o json",
		Args: func(cmd *cobra.Command, args []string) error {
			switch {
			case len(args) != 2:
				return &problem{status: StatusUsage, text: "name two tokens: files, or - for stdin", try: "fob token | fob diff yesterday.txt -"}
			case args[0] == "-" && args[1] == "-":
				return &problem{status: StatusUsage, text: "both tokens cannot come from stdin", fix: "put one of them into a file"}
			}
			return nil
		},
	}
	inv.outputFlag(cmd.Flags(), "text", "json")
	return inv.define(cmd, func(cmd *cobra.Command, args []string) error {
		a, err := inv.tokenFrom(args[0])
		if err != nil {
			return err
		}
		b, err := inv.tokenFrom(args[1])
		if err != nil {
			return err
		}
		comparison, err := insight.Diff(a, b, time.Now())
		if err != nil {
			return inv.noToken(err)
		}
		return inv.show(comparison)
	})
}
