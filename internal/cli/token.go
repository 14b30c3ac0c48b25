package cli

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fobauth/fob"
)

func (inv *invocation) tokenCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "token [flags]", Aliases: []string{"get-access-token", "print-access-token"},
		Short: "Print an access token",
		Long: "Prints an access token: the stored one while it is good, else a renewed or a\n" +
			"new one. What is given decides how: a refresh token is exchanged; with a\n" +
			"secret, a certificate or a federated token the app signs in as itself;\n" +
			"otherwise the token is for the user who signed in with \"fob login\".\n\n" +
			"-o env prints a line that sets FOB_ACCESS_TOKEN in the shell of --shell.",
		Example: "fob token                                        # Graph, the signed-in user\n" +
			"fob token -t TENANT -c CLIENT_ID --client-secret-file secret.txt\n" +
			"fob emulator run -- fob token -r arm -o json     # with no tenant at all",
	}
	inv.outputFlag(cmd.Flags(), "text", "json", "env")
	cmd.Flags().StringVar(&inv.flags.shell, "shell", "", "with -o env, quote for this `shell`: bash, fish, powershell or cmd (default: the one in use)")
	inv.sharedFlags(cmd.Flags(), tokenFlags)
	return inv.define(cmd, func(cmd *cobra.Command, _ []string) error {
		shell, err := inv.shell(inv.flags.shell)
		if err != nil {
			return err
		}
		token, err := inv.token(cmd.Context())
		if err != nil {
			return err
		}
		switch inv.flags.output {
		case "json":
			return inv.printJSON(describeToken(token))
		case "env":
			line, err := assignment(shell, "FOB_ACCESS_TOKEN", token.Access.Reveal())
			if err != nil {
				return err
			}
			return inv.print(line + "\n")
		}
		return inv.print(token.Access.Reveal() + "\n")
	})
}

// token gets a token by the flags of the running command.
func (inv *invocation) token(ctx context.Context) (*fob.Token, error) {
	s, err := inv.resolve(tokenFlags)
	if err != nil {
		return nil, err
	}
	c, req, err := inv.client(ctx, s)
	if err != nil {
		return nil, err
	}
	if _, person := c.Flow.(fob.DeviceCode); !person {
		var cancel context.CancelFunc
		if ctx, cancel, err = inv.withTimeout(ctx); err != nil {
			return nil, err
		}
		defer cancel()
	}
	token, err := c.Token(ctx, req)
	if err != nil {
		return nil, err
	}
	if inv.flags.verbose { // the time zone is a file to read
		inv.tell("token: from %s, good until %s", originWords(token.Origin), token.Expires.Local().Format(time.DateTime))
	}
	return token, nil
}

func originWords(o fob.Origin) string {
	switch o {
	case fob.OriginCache:
		return "the cache"
	case fob.OriginRefresh:
		return "a stored refresh token"
	}
	return "a new sign-in"
}

// tokenForm is what "fob token -o json" prints. Scripts read it: members keep
// their names and meanings.
type tokenForm struct {
	AccessToken string `json:"accessToken"`
	// ExpiresOn is local time, as Azure CLI prints it.
	ExpiresOn string `json:"expiresOn"`
	// ExpiresEpoch is in seconds since 1970: the one to trust.
	ExpiresEpoch int64  `json:"expires_on"`
	ExpiresAt    string `json:"expiresAt"`
	Tenant       string `json:"tenant"`
	TokenType    string `json:"tokenType"`
	Scope        string `json:"scope"`
	Account      string `json:"account"` // empty: the app itself
	Origin       string `json:"origin"`
}

func describeToken(t *fob.Token) tokenForm {
	return tokenForm{
		AccessToken:  t.Access.Reveal(),
		ExpiresOn:    t.Expires.Local().Format("2006-01-02 15:04:05.000000"),
		ExpiresEpoch: t.Expires.Unix(),
		ExpiresAt:    t.Expires.UTC().Format(time.RFC3339),
		Tenant:       t.Tenant, TokenType: t.Type, Scope: strings.Join(t.Scopes, " "),
		Account: or(t.Account.Username, t.Account.ID), Origin: string(t.Origin),
	}
}
