package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/store/filestore"
)

func (inv *invocation) cacheCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "cache COMMAND", Short: "See, check and clear what is stored",
		Long: "Shows what fob keeps on this machine, without the secrets in it: sign-ins,\n" +
			"access tokens and uploads that are not complete, each sealed in a file of its\n" +
			"own.",
		Example: "fob cache list\nfob cache verify\nfob cache clear --yes",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return nil
		},
	}
	cmd.AddCommand(inv.cacheListCommand(), inv.cacheVerifyCommand(), inv.cacheClearCommand())
	return inv.define(cmd, func(cmd *cobra.Command, _ []string) error { return cmd.Help() })
}

func (inv *invocation) cacheListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "list [flags]", Short: "List what is stored",
		Long: "Lists what is stored: sign-ins with the time of their last renewal, access tokens\n" +
			"and uploads that are not complete with what they are for and when they end. The\n" +
			"secrets stay sealed.",
		Example: "fob cache list\nfob cache list -o json",
	}
	inv.outputFlag(cmd.Flags(), "table", "json")
	inv.sharedFlags(cmd.Flags(), storeFlags)
	return inv.define(cmd, func(cmd *cobra.Command, _ []string) error {
		all, err := inv.cached(cmd.Context())
		if err != nil {
			return err
		}
		if inv.flags.output == "json" {
			return inv.printJSON(all)
		}
		dir := storeDir(inv.settings)
		if len(all) == 0 {
			inv.note("nothing is stored in %s", dir)
			return nil
		}
		return inv.printCached(all, dir)
	})
}

func (inv *invocation) cacheVerifyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "verify [flags]", Short: "Check that every stored record can be read",
		Long: "Opens every record and says which were changed, cut or sealed with another key.\n" +
			"fob passes over these as if they were not there; a sign-in writes new ones. The\n" +
			"exit status is 1 if there is one.",
		Example: "fob cache verify\nfob cache verify -o json",
	}
	inv.outputFlag(cmd.Flags(), "text", "json")
	inv.sharedFlags(cmd.Flags(), storeFlags)
	return inv.define(cmd, func(cmd *cobra.Command, _ []string) error {
		all, err := inv.cached(cmd.Context())
		if err != nil {
			return err
		}
		dir := storeDir(inv.settings)
		damaged := slices.DeleteFunc(slices.Clone(all), func(c cachedRecord) bool { return c.Problem == "" })
		if len(damaged) > 0 {
			inv.status = StatusFailed
		}
		if inv.flags.output == "json" {
			return inv.printJSON(struct {
				Dir     string         `json:"directory"`
				Records int            `json:"records"`
				Damaged []cachedRecord `json:"damaged"`
			}{dir, len(all), damaged})
		}
		t := inv.terminal(inv.Stdout)
		var b strings.Builder
		for _, c := range damaged {
			b.WriteString(t.paint(styleBad, "damaged") + " " + c.Key + ": " + hang(oneLine(c.Problem), 8, t.textWidth()) + "\n")
		}
		switch {
		case len(all) == 0:
			inv.note("nothing is stored in %s", dir)
			return nil
		case len(damaged) == 0:
			fmt.Fprintf(&b, "%s in %s, all good\n", records(len(all)), oneLine(dir))
		default:
			fmt.Fprintf(&b, "%s in %s, %d of them damaged\n", records(len(all)), oneLine(dir), len(damaged))
			b.WriteString("fix:   forget everything and sign in again; fob passes over damaged records until then\ntry:   fob cache clear\n")
		}
		return inv.print(b.String())
	})
}

func records(n int) string {
	if n == 1 {
		return "1 record"
	}
	return fmt.Sprintf("%d records", n)
}

func (inv *invocation) cacheClearCommand() *cobra.Command {
	var yes bool
	cmd := &cobra.Command{
		Use: "clear [flags]", Short: "Forget everything that is stored",
		Long: "Forgets all sign-ins, tokens and uploads that are not complete, and the key that\n" +
			"seals them; also where the key or the records cannot be read. Tokens that were\n" +
			"handed out stay valid until they expire. On a terminal it asks first; a script is taken at its word.",
		Example: "fob cache clear\nfob cache clear --yes -o json",
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	inv.outputFlag(cmd.Flags(), "text", "json")
	inv.sharedFlags(cmd.Flags(), storeFlags)
	return inv.define(cmd, func(cmd *cobra.Command, _ []string) error {
		s := &settings{}
		inv.settings = s
		if err := inv.resolveCacheDir(s); err != nil {
			return err
		}
		if err := s.hasPlace(); err != nil {
			return err
		}
		if !yes && inv.personAtStdin() {
			sure, err := inv.ask(cmd.Context(), "Forget all sign-ins and tokens in "+oneLine(storeDir(s))+"? [y/N] ")
			if err != nil {
				return err
			}
			if !sure {
				inv.note("nothing was removed")
				inv.status = StatusFailed
				return nil
			}
		}
		failure := os.Remove(failureFile(s.cacheDir.text))
		if err := inv.forgetAll(cmd.Context(), s); err != nil {
			return err
		}
		if failure != nil && !errors.Is(failure, fs.ErrNotExist) {
			inv.warn(failure)
		}
		return nil
	})
}

// hasPlace returns an error if there is no directory to keep things in. What is
// below no directory would be in the one that the command runs in.
func (s *settings) hasPlace() error {
	if s.cacheDir.text != "" {
		return nil
	}
	_, err := os.UserCacheDir() // says what is not set
	return &problem{status: StatusUsage, text: "there is no place to keep tokens", err: err, fix: "name a directory with --cache-dir or FOB_CACHE_DIR"}
}

// ask asks the person at the terminal a question; only yes is yes.
func (inv *invocation) ask(ctx context.Context, question string) (bool, error) {
	if _, err := fmt.Fprint(inv.Stderr, question); err != nil {
		return false, err
	}
	line, err := bufio.NewReader(inv.Stdin).ReadString('\n')
	if ctx.Err() != nil {
		return false, ctx.Err()
	}
	if err != nil {
		fmt.Fprintln(inv.Stderr) // the answer was the end of the input
	}
	answer := strings.ToLower(strings.TrimSpace(line))
	return answer == "y" || answer == "yes", nil
}

// cachedRecord is a stored record as "fob cache list -o json" prints it.
type cachedRecord struct {
	Kind      string   `json:"kind"` // "account", "token", "upload" or "index"
	Username  string   `json:"username,omitempty"`
	AccountID string   `json:"accountId,omitempty"`
	ClientID  string   `json:"clientId,omitempty"`
	Authority string   `json:"authority,omitempty"`
	Tenant    string   `json:"tenant,omitempty"`
	Scopes    []string `json:"scopes,omitempty"`
	// File is what is uploaded to Target.
	File   string `json:"file,omitempty"`
	Target string `json:"target,omitempty"`
	// StoredAt is when a token was stored, or a sign-in last renewed.
	StoredAt string `json:"storedAt,omitempty"`
	// ExpiresAt is when a token or an upload ends.
	ExpiresAt string `json:"expiresAt,omitempty"`
	Expired   bool   `json:"expired,omitempty"`
	Size      int64  `json:"size"`
	Key       string `json:"key"`
	// Problem says why it cannot be read.
	Problem string `json:"problem,omitempty"`

	stored, expires time.Time
}

// cached reads what is stored. A store that does not exist holds nothing, and
// is not made by looking.
func (inv *invocation) cached(ctx context.Context) ([]cachedRecord, error) {
	s := &settings{}
	inv.settings = s
	if err := inv.resolveCacheDir(s); err != nil {
		return nil, err
	}
	if err := s.hasPlace(); err != nil {
		return nil, err
	}
	all := []cachedRecord{}
	if _, err := os.Stat(storeDir(s)); errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	store, err := inv.openStore(s)
	if err != nil {
		return nil, err
	}
	for record, err := range store.Verify(ctx) {
		if err != nil {
			return nil, err
		}
		all = append(all, describeCached(ctx, store, record))
	}
	return all, nil
}

func describeCached(ctx context.Context, store *filestore.Store, record filestore.Record) cachedRecord {
	kind, _, _ := strings.Cut(record.Key, "-")
	c := cachedRecord{Kind: kind, Key: record.Key, Size: record.Size}
	err := record.Err
	var content []byte
	if err == nil {
		content, err = store.Get(ctx, record.Key)
	}
	var info fob.RecordInfo
	switch {
	case err != nil:
	case kind == strings.TrimSuffix(uploadPrefix, "-"):
		var r uploadRecord
		r, err = parseUpload(content)
		info = fob.RecordInfo{Account: r.Account, ClientID: r.ClientID, Authority: r.Authority, Tenant: r.Tenant, Expires: r.Expires, Obtained: r.Stored}
		c.File, c.Target = r.File, r.Target
	default:
		info, err = fob.DescribeRecord(record.Key, content)
	}
	if err != nil {
		c.Problem = oneLine(err.Error())
		return c
	}
	c.Username, c.AccountID = info.Account.Username, info.Account.ID
	c.ClientID, c.Authority, c.Scopes = info.ClientID, info.Authority, info.Scopes
	c.Tenant = or(info.Tenant, info.Account.Tenant)
	if c.stored = info.Obtained; !info.Obtained.IsZero() {
		c.StoredAt = info.Obtained.UTC().Format(time.RFC3339)
	}
	if c.expires = info.Expires; !info.Expires.IsZero() {
		c.ExpiresAt = info.Expires.UTC().Format(time.RFC3339)
		c.Expired = !time.Now().Before(info.Expires)
	}
	return c
}

func (inv *invocation) printCached(all []cachedRecord, dir string) error {
	t := inv.terminal(inv.Stdout)
	rows := [][]string{{"WHAT", "WHOSE", "FOR", "TENANT", "CLIENT", "UNTIL"}}
	for _, c := range all {
		if c.Kind == "index" && c.Problem == "" {
			continue // it names what the others hold
		}
		what, until := c.Kind, c.expires.Local().Format(time.DateTime)
		switch {
		case c.Problem != "":
			what, until = "damaged "+c.Kind, "cannot be read"
		case c.Kind == "account":
			what, until = "sign-in", "renewed "+c.stored.Local().Format(time.DateTime)
		case c.Expired:
			until = "expired"
		}
		whose := or(c.Username, c.AccountID)
		if whose == "" && (c.Kind == "token" || c.Kind == "upload") && c.Problem == "" {
			whose = "the app itself"
		}
		rows = append(rows, []string{what, whose, or(strings.Join(c.Scopes, " "), c.Target), c.Tenant, c.ClientID, until})
	}
	var b strings.Builder
	if t.is && t.width < 160 { // a table would be wider than the screen
		for _, row := range rows[1:] {
			b.WriteString(t.paint(styleHead, oneLine(strings.TrimSuffix(row[0]+" of "+row[1], " of "))) + "\n")
			for i, label := range []string{"for", "tenant", "client", "until"} {
				if row[i+2] != "" {
					paragraph(&b, t, label, oneLine(row[i+2]))
				}
			}
		}
	} else {
		writeTable(&b, t, rows)
	}
	fmt.Fprintf(&b, "%s\n", t.paint(styleDim, "sealed in "+oneLine(dir)))
	return inv.print(b.String())
}
