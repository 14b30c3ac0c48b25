package cli

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fobauth/fob"
)

func (inv *invocation) accountsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "accounts [flags]", Aliases: []string{"whoami", "status"},
		Short: "List who is signed in",
		Long: "Lists who is signed in, to which tenant and with which client, when the sign-in\n" +
			"was last renewed, and where it is kept. Nothing is sent anywhere.",
		Example: "fob accounts\nfob accounts -o json",
	}
	inv.outputFlag(cmd.Flags(), "table", "json")
	inv.sharedFlags(cmd.Flags(), storeFlags)
	return inv.define(cmd, func(cmd *cobra.Command, _ []string) error {
		s := &settings{}
		inv.settings = s
		if err := inv.resolveCacheDir(s); err != nil {
			return err
		}
		all, damaged, err := inv.storedAccounts(cmd.Context(), s)
		if err != nil {
			return err
		}
		inv.warnOf(damaged)
		slices.SortFunc(all, func(a, b fob.RecordInfo) int {
			return strings.Compare(a.Account.Username+a.ClientID, b.Account.Username+b.ClientID)
		})
		if inv.flags.output == "json" {
			forms := make([]accountForm, len(all))
			for i, a := range all {
				forms[i] = describeAccount(a, s)
			}
			return inv.printJSON(forms)
		}
		if len(all) == 0 {
			inv.note("nobody is signed in; sign in with: fob login --tenant TENANT --client-id CLIENT_ID")
			return nil
		}
		return inv.printAccounts(all, s)
	})
}

// accountForm is what "fob accounts -o json" prints for each account.
type accountForm struct {
	Username  string `json:"username"`
	Name      string `json:"name"`
	ID        string `json:"id"`
	Tenant    string `json:"tenant"`
	ClientID  string `json:"clientId"`
	Authority string `json:"authority"`
	RenewedAt string `json:"renewedAt"`
	// GoodUntil is when the sign-in ends if it is never used again.
	GoodUntil string `json:"goodUntil"`
	Store     string `json:"store"`
}

// refreshLife is how long Entra keeps a refresh token that is not used. The
// token itself does not say, and policies may end it sooner.
const refreshLife = 90 * 24 * time.Hour

func describeAccount(a fob.RecordInfo, s *settings) accountForm {
	form := accountForm{
		Username: a.Account.Username, Name: a.Account.Name, ID: a.Account.ID, Tenant: a.Account.Tenant,
		ClientID: a.ClientID, Authority: a.Authority, RenewedAt: a.Obtained.UTC().Format(time.RFC3339), Store: storeDir(s),
	}
	if a.HasRefresh {
		form.GoodUntil = a.Obtained.Add(refreshLife).UTC().Format(time.RFC3339)
	}
	return form
}

func (inv *invocation) printAccounts(all []fob.RecordInfo, s *settings) error {
	t := inv.terminal(inv.Stdout)
	rows := [][]string{{"WHO", "TENANT", "CLIENT", "UNTIL", "AT"}}
	for _, a := range all {
		until := "signed out"
		if a.HasRefresh {
			until = a.Obtained.Add(refreshLife).Local().Format(time.DateOnly)
		}
		rows = append(rows, []string{or(a.Account.Username, a.Account.ID), a.Account.Tenant, a.ClientID, until, hostname(a.Authority)})
	}
	var b strings.Builder
	if t.is && t.width < 130 { // a table would be wider than the screen
		for _, row := range rows[1:] {
			b.WriteString(t.paint(styleHead, row[0]) + "\n")
			for i, label := range []string{"tenant", "client", "until", "at"} {
				paragraph(&b, t, label, row[i+1])
			}
		}
	} else {
		writeTable(&b, t, rows)
	}
	fmt.Fprintf(&b, "%s\n", t.paint(styleDim, "kept in "+oneLine(storeDir(s))+"; \"until\" is when a sign-in ends that is never used, a policy may end it sooner"))
	return inv.print(b.String())
}

// writeTable writes rows in columns, the first row as the head.
func writeTable(b *strings.Builder, t terminal, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], displayWidth(oneLine(cell)))
		}
	}
	for n, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			cell = oneLine(cell)
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-displayWidth(cell)+2))
			}
		}
		if n == 0 {
			b.WriteString(t.paint(styleLabel, line.String()) + "\n")
		} else {
			b.WriteString(line.String() + "\n")
		}
	}
}
