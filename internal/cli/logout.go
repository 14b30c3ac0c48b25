package cli

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/store/filestore"
)

func (inv *invocation) logoutCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "logout [flags]", Short: "Forget a sign-in",
		Long: "Forgets a sign-in: its refresh token, its access tokens and its uploads that are\n" +
			"not complete are removed from the store. Tokens that were handed out stay valid\n" +
			"until they expire; an administrator can revoke the sessions of a user. --all\n" +
			"forgets everything that is stored, also the tokens of apps.",
		Example: "fob logout\nfob logout --account ada@contoso.com\nfob logout --all",
	}
	cmd.Flags().BoolVar(&all, "all", false, "forget everything that is stored")
	inv.outputFlag(cmd.Flags(), "text", "json")
	inv.sharedFlags(cmd.Flags(), whoFlags|storeFlags)
	return inv.define(cmd, func(cmd *cobra.Command, _ []string) error {
		ctx := cmd.Context()
		if err := inv.checkIdentityFlags(); err != nil {
			return err
		}
		s := &settings{authorityFrom: "default"}
		inv.settings = s
		if err := inv.resolveCacheDir(s); err != nil {
			return err
		}
		if all {
			if inv.flags.account != "" || inv.flags.tenant != "" || inv.flags.clientID != "" {
				return &problem{status: StatusUsage, text: "--all forgets everything; it goes with no account, tenant or client"}
			}
			if err := s.hasPlace(); err != nil {
				return err
			}
			return inv.forgetAll(ctx, s)
		}
		s.tenant, s.clientID = value{inv.flags.tenant, "--tenant"}, value{inv.flags.clientID, "--client-id"}
		known, err := inv.signedIn(ctx, s)
		switch {
		case err != nil:
			return err
		case known == nil:
			p := &problem{status: StatusFailed, text: "nobody is signed in", fix: "there is nothing to forget; tokens of apps are forgotten with --all"}
			if inv.flags.account != "" || inv.flags.tenant != "" || inv.flags.clientID != "" {
				p.text, p.fix, p.try = "no such account is signed in", "", "fob accounts"
			}
			if _, damaged, err := inv.storedAccounts(ctx, s); err == nil && len(damaged) > 0 {
				p.fix = "whose the sign-ins are that cannot be read nobody can tell; forget everything to forget them"
				p.try = "fob logout --all"
			}
			return p
		}
		store, err := inv.openStore(s)
		if err != nil {
			return err
		}
		var warnings []error // which say no more than the error, if there is one
		c := &fob.Client{Authority: fob.Authority{Host: known.Authority}, ID: known.ClientID, Store: store, Warn: func(err error) { warnings = append(warnings, err) }}
		gone, err := c.SignOut(ctx, known.Account.ID)
		if err != nil {
			text := "the sign-in is still there"
			if gone.ID != "" { // only the list of accounts could not be written
				text = "the sign-in is forgotten, but still listed"
			}
			return &problem{text: text, err: err, fix: s.adviseToWrite()}
		}
		inv.warnOf(warnings)
		// The address of an upload is a permission of the account's, too.
		if err := inv.forgetUploads(ctx, store, func(r uploadRecord) bool {
			return r.Account.ID == known.Account.ID && strings.EqualFold(r.ClientID, known.ClientID)
		}); err != nil {
			return err
		}
		return inv.told(struct {
			Forgotten string `json:"forgotten"`
		}{or(gone.Username, gone.ID)}, "forgot "+or(gone.Username, gone.ID))
	})
}

// forgetAll clears the store, also one whose records cannot be read.
func (inv *invocation) forgetAll(ctx context.Context, s *settings) error {
	// Under its lock first, or a renewal that is under way would put the sign-in
	// back.
	var warnings []error // which say no more than the error, if there is one
	warn := func(err error) { warnings = append(warnings, err) }
	if all, _, err := inv.storedAccounts(ctx, s); err == nil {
		for _, a := range all {
			c := &fob.Client{Authority: fob.Authority{Host: a.Authority}, ID: a.ClientID, Store: inv.opened, Warn: warn}
			if _, err := c.SignOut(ctx, a.Account.ID); err != nil {
				warn(err)
			}
		}
	}
	switch err := filestore.Clear(ctx, storeDir(s)); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return &problem{text: "not everything could be removed", err: err, fix: s.adviseToWrite()}
	}
	inv.warnOf(warnings)
	return inv.told(struct {
		Forgotten string `json:"forgotten"`
	}{"all"}, "forgot everything in "+storeDir(s))
}

// adviseToWrite says how what is stored can be removed that cannot be now.
func (s *settings) adviseToWrite() string {
	return "see that you may read and write " + storeDir(s) + " and all that is in it, and that it is on no read-only file system; then try again, or remove it by hand"
}

// told prints the outcome of a command that did something.
func (inv *invocation) told(form any, words ...string) error {
	if inv.flags.output == "json" {
		return inv.printJSON(form)
	}
	return inv.print(oneLine(strings.Join(words, " ")) + "\n")
}
