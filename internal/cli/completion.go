package cli

import "github.com/spf13/cobra"

func (inv *invocation) completionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "completion bash|zsh|fish|powershell", Short: "Print the completion script of a shell",
		Long: "Prints the script that makes a shell complete fob's commands and flags.",
		Example: "source <(fob completion bash)                      # this shell only\n" +
			"fob completion fish > ~/.config/fish/completions/fob.fish\n" +
			"fob completion powershell | Out-String | Invoke-Expression",
		ValidArgs: []string{"bash", "zsh", "fish", "powershell"},
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &problem{status: StatusUsage, text: "name one shell: bash, zsh, fish or powershell", try: "fob completion bash"}
			}
			return nil
		},
	}
	return inv.define(cmd, func(cmd *cobra.Command, args []string) error {
		switch root := cmd.Root(); args[0] {
		case "bash":
			return root.GenBashCompletionV2(inv.Stdout, true)
		case "zsh":
			return root.GenZshCompletion(inv.Stdout)
		case "fish":
			return root.GenFishCompletion(inv.Stdout, true)
		case "powershell", "pwsh":
			return root.GenPowerShellCompletionWithDesc(inv.Stdout)
		}
		return &problem{status: StatusUsage, text: "there is no completion for " + quoted(args[0]) + "; there is for bash, zsh, fish and powershell"}
	})
}
