package cli

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/fobauth/fob/internal/insight"
)

func (inv *invocation) decodeCommand() *cobra.Command {
	var clipboard bool
	var call insight.Call
	cmd := &cobra.Command{
		Use: "decode [TOKEN|FILE|-] [flags]", Short: "Say what a token says",
		Long: "Says in words what is in a token: what kind it is, whom it speaks for, which API\n" +
			"takes it, what it allows, until when. The token comes from stdin, a file, the\n" +
			"clipboard or, less well, the command line. Nothing is verified and nothing is\n" +
			"sent anywhere.\n\n" +
			"With --for the token is held against what an API wants: the audience and its\n" +
			"spelling, the kind of token, the permission. The exit status is 1 if it does\n" +
			"not fit.",
		Example: "fob token | fob decode\n" +
			"fob decode --clipboard -o json\n" +
			"fob token | fob decode --for https://graph.microsoft.com/v1.0/users",
		Args: atMostOne("a token"),
	}
	cmd.Flags().BoolVar(&clipboard, "clipboard", false, "read the token from the clipboard")
	cmd.Flags().StringVar(&call.Target, "for", "", "hold it against what this `API` wants: a URL to call, a resource, graph, arm, vault …")
	call.Method = "GET"
	cmd.Flags().Var(&choice{value: &call.Method, among: methods}, "method", "with --for, the HTTP `method` of the call")
	inv.outputFlag(cmd.Flags(), "text", "json")
	return inv.define(cmd, func(cmd *cobra.Command, args []string) error {
		if call.Target == "" && cmd.Flags().Changed("method") {
			return &problem{status: StatusUsage, text: "--method is about a call, and none is named", fix: "add --for URL"}
		}
		token, err := inv.tokenInput(args, clipboard)
		if err != nil {
			return err
		}
		if call.Target == "" {
			decoded, err := insight.DecodeToken(token, time.Now())
			if err != nil {
				return inv.noToken(err)
			}
			return inv.show(decoded)
		}
		fit, err := insight.Against(token, call, time.Now())
		if err != nil {
			return inv.noToken(err)
		}
		if !fit.Fits {
			inv.status = StatusFailed
		}
		return inv.show(fit)
	})
}

// atMostOne allows one argument, and does not repeat what it refuses.
func atMostOne(what string) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > 1 {
			return &problem{status: StatusUsage, text: "\"" + cmd.CommandPath() + "\" takes " + what + ", and no more", try: cmd.CommandPath() + " --help"}
		}
		return nil
	}
}
