package cli

import "github.com/spf13/cobra"

func (inv *invocation) tourCommand() *cobra.Command {
	return inv.define(&cobra.Command{Use: "tour"}, func(cmd *cobra.Command, _ []string) error { return nil })
}
