package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

func (inv *invocation) headerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "header [flags]", Short: "Print the Authorization header",
		Long: "Prints the Authorization header with an access token, in the form that another\n" +
			"program takes: a header line, a hashtable for PowerShell's -Headers, a config\n" +
			"for curl -K -, or JSON. It gets the token as \"fob token\" does.",
		Example: "fob header -o curl | curl -K - https://graph.microsoft.com/v1.0/me\n" +
			"Invoke-RestMethod https://graph.microsoft.com/v1.0/me -Headers (fob header -o powershell | Invoke-Expression)\n" +
			"fob emulator run -- fob header",
	}
	inv.outputFlag(cmd.Flags(), "header", "powershell", "curl", "json")
	inv.sharedFlags(cmd.Flags(), tokenFlags)
	return inv.define(cmd, func(cmd *cobra.Command, _ []string) error {
		token, err := inv.token(cmd.Context())
		if err != nil {
			return err
		}
		value := token.Type + " " + token.Access.Reveal()
		switch inv.flags.output {
		case "powershell":
			return inv.print("@{ Authorization = " + quotePowerShell(value) + " }\n")
		case "curl":
			// A token is visible ASCII without quotes or backslashes, or it
			// would not have been accepted.
			return inv.print(`header = "Authorization: ` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(value) + "\"\n")
		case "json":
			return inv.printJSON(struct {
				Authorization string `json:"Authorization"`
			}{value})
		}
		return inv.print("Authorization: " + value + "\n")
	})
}
