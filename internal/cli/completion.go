package cli

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/fobauth/fob/internal/insight"
)

func (inv *invocation) completionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "completion bash|zsh|fish|powershell", Short: "Print the completion script of a shell",
		Long: "Prints the script that makes a shell complete fob's commands, flags and the\n" +
			"values that they take.",
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

// completeValues tells the shell what may follow each flag of cmd and the
// commands below it: the values that the flag takes, files, or nothing.
func completeValues(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if complete := valuesOf(f); complete != nil {
			cmd.RegisterFlagCompletionFunc(f.Name, complete) // fails for one that has some only
		}
	})
	takesFile := strings.Contains(cmd.Use, "FILE") || strings.Contains(cmd.Use, "-- COMMAND") || cmd.Name() == "diff"
	if !takesFile && cmd.ValidArgs == nil && cmd.ValidArgsFunction == nil {
		cmd.ValidArgsFunction = cobra.NoFileCompletions
	}
	for _, c := range cmd.Commands() {
		completeValues(c)
	}
}

// valuesOf completes the values of a flag; nil means with the names of files.
func valuesOf(f *pflag.Flag) cobra.CompletionFunc {
	among := func(values ...string) cobra.CompletionFunc {
		return cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp)
	}
	if c, ok := f.Value.(*choice); ok {
		return among(c.among...)
	}
	switch f.Name {
	case "resource", "for":
		return among(resourceNames()...)
	case "shell":
		return among(shells...)
	case "algorithm":
		return among(insight.SignatureAlgorithms()...)
	case "throttle":
		return among("real")
	case "trace":
		var endings []string
		for _, form := range traceForms {
			endings = append(endings, strings.TrimPrefix(form, "."))
		}
		return cobra.FixedCompletions(endings, cobra.ShellCompDirectiveFilterFileExt)
	}
	switch kind, _ := pflag.UnquoteUsage(f); kind {
	case "file":
		return nil
	case "directory":
		return cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
	}
	return cobra.NoFileCompletions
}
