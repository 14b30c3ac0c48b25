package fob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
)

// There are two kinds of record, and an index. An account record holds what
// all tokens of one account and client share; a token record one access token;
// the index names the accounts of a client, without secrets. They are JSON;
// unknown members are ignored, so that an older fob reads a newer one's.

// accountRecord is a signed-in account with its refresh token.
type accountRecord struct {
	Account   Account   `json:"account"`
	ClientID  string    `json:"client_id"`
	Authority string    `json:"authority"`
	Refresh   Secret    `json:"-"`
	ID        Secret    `json:"-"`
	Tokens    []string  `json:"tokens,omitempty"` // keys of the account's token records
	Updated   time.Time `json:"updated"`
}

// tokenRecord is an access token with what is needed to judge it.
type tokenRecord struct {
	*Token
	Obtained time.Time
}

// due reports whether it is time to renew, or there is nothing to renew.
func (r tokenRecord) due(now time.Time) bool { return r.Token == nil || !now.Before(r.RefreshOn) }

// serves reports whether the token may be handed out for req as it is.
func (r tokenRecord) serves(req Request, now time.Time) bool {
	// A token from the future was stored before the clock was set right; when it
	// ends nobody knows.
	return r.Obtained.Before(now.Add(clockSkew)) && r.Token.serves(req, now)
}

// answers reports whether a token that was stored since the caller asked does
// for a request that wants a fresh one. A claims challenge needs an answer of
// its own.
func (r tokenRecord) answers(req Request, since, now time.Time) bool {
	return r.Token != nil && req.Fresh && req.Claims == "" && r.Obtained.After(since) && r.Token.Valid(now, req.minValid())
}

type indexRecord struct {
	Accounts []Account `json:"accounts"`
}

func (i *indexRecord) remove(id string) {
	i.Accounts = slices.DeleteFunc(i.Accounts, func(a Account) bool { return a.ID == id })
}

// place says where things of one request are kept: whose token it is, and the
// keys of its records.
type place struct {
	account                       accountRecord // zero for tokens of the application itself
	accountKey, tokenKey, lockKey string
}

// place finds whose token req wants. The account's record is not read yet:
// that is for whoever holds its lock, see [Client.open].
func (c *Client) place(ctx context.Context, req Request) (place, error) {
	switch f := c.flow().(type) {
	case ClientCredentials:
		return c.appPlace(req, "app"), nil
	case OnBehalfOf:
		return c.appPlace(req, "obo "+digest(f.Assertion.Reveal())), nil
	}
	// An account id says all that is needed to find its records.
	account, err := Account{ID: strings.ToLower(req.Account)}, error(nil)
	if !isAccountID(req.Account) {
		if account, err = c.pick(ctx, req.Account); err != nil {
			return place{}, err
		}
	}
	p := c.placeOf(req, account)
	p.account.Account = account
	return p, nil
}

// open reads the account's record. Its refresh token is the latest only while
// the place is locked.
func (c *Client) open(ctx context.Context, p *place) error {
	if p.account.Account.ID == "" {
		return nil
	}
	record, err := c.loadAccount(ctx, p.accountKey)
	if err != nil {
		if !errors.Is(err, ErrNotStored) {
			return err // not to be taken for "nobody is signed in"
		}
		c.warn(err)
	}
	if record.Account.ID != "" {
		p.account = record
	}
	return nil
}

// lock waits for its turn at the records under key. Where a store has no locks
// to give, on a full disk or a file system without any, work goes on: they keep
// two from asking at once, they do not keep the records whole.
func (c *Client) lock(ctx context.Context, key string) (unlock func(), err error) {
	unlock, err = c.store().Lock(ctx, key)
	switch {
	case err == nil:
		return unlock, nil
	case ctx.Err() != nil:
		return nil, err
	}
	c.warn(fmt.Errorf("going on without the store's lock: %w", err))
	return func() {}, nil
}

// isAccountID reports whether name is two GUIDs with a dot between.
func isAccountID(name string) bool {
	user, tenant, ok := strings.Cut(name, ".")
	return ok && uuid.Validate(user) == nil && len(user) == 36 && uuid.Validate(tenant) == nil && len(tenant) == 36
}

// of returns the place for the account that a flow came back with.
func (p place) of(c *Client, req Request, account Account) place {
	if p.accountKey == "" { // its token record is its own, whomever it speaks for
		return p
	}
	if account.ID == p.account.Account.ID {
		p.account.Account = account
		return p
	}
	next := c.placeOf(req, account)
	next.account.Account = account
	return next
}

// appPlace is where a token of the application lies. One such token is
// independent of all others, so its lock is its own.
func (c *Client) appPlace(req Request, subject string) place {
	key := "token-" + digest(c.tokenIdentity(req, subject)...)
	return place{tokenKey: key, lockKey: key}
}

// placeOf is where a user's token lies. All tokens of an account share its
// refresh token, so they share its lock.
func (c *Client) placeOf(req Request, account Account) place {
	key := "account-" + digest(c.Authority.origin(), strings.ToLower(c.ID), account.ID)
	return place{
		accountKey: key, lockKey: key,
		tokenKey: "token-" + digest(c.tokenIdentity(req, "user "+account.ID)...),
	}
}

// tokenIdentity is everything that makes one token record different from
// another.
func (c *Client) tokenIdentity(req Request, subject string) []string {
	scopes := make([]string, 0, len(req.Scopes))
	for _, s := range req.Scopes {
		scopes = append(scopes, strings.ToLower(s))
	}
	slices.Sort(scopes)
	scopes = slices.Compact(scopes)
	return append([]string{
		c.Authority.origin(), c.Authority.WithTenant(req.Tenant).tenant(), strings.ToLower(c.ID), subject,
		strings.ToLower(strings.Join(c.Capabilities, " ")),
	}, scopes...)
}

// digest hashes parts so that no two lists of parts run together.
func digest(parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// pick finds an account by id or user name; empty means the only one. It is
// the zero Account if nobody is known and nobody was named.
func (c *Client) pick(ctx context.Context, name string) (Account, error) {
	index, err := c.loadIndex(ctx)
	if err != nil {
		if !errors.Is(err, ErrNotStored) {
			return Account{}, err // not to be taken for "nobody is signed in"
		}
		c.warn(err)
	}
	var found []Account
	for _, a := range index.Accounts {
		if name == "" || a.is(name) {
			found = append(found, a)
		}
	}
	switch {
	case len(found) == 1:
		return found[0], nil
	case len(found) > 1:
		names := make([]string, len(found))
		for i, a := range found {
			names[i] = orElse(a.Username, a.ID)
			if name != "" { // the same user name in several tenants
				names[i] = a.ID
			}
		}
		return Account{}, fmt.Errorf("%d accounts are signed in; name the one to use: %s", len(found), strings.Join(names, ", "))
	case name != "" && c.flow() == nil:
		return Account{}, fmt.Errorf("%s is not signed in to this client: %w", clean(name), ErrInteraction)
	}
	return Account{}, nil
}

// storedAccount and storedToken are the records as they are written. Only here
// do secrets become text; the store seals it.
type storedAccount struct {
	accountRecord
	RefreshText string `json:"refresh_token,omitempty"`
	IDText      string `json:"id_token,omitempty"`
}

type storedToken struct {
	AccessText string    `json:"access_token"`
	Scopes     []string  `json:"scopes"`
	Asked      []string  `json:"asked"`
	Expires    time.Time `json:"expires"`
	RefreshOn  time.Time `json:"refresh_on"`
	Obtained   time.Time `json:"obtained"`
	Account    Account   `json:"account"`
	Tenant     string    `json:"tenant"`
	ClientID   string    `json:"client_id"`
	Authority  string    `json:"authority"`
	Proof      string    `json:"proof,omitempty"` // the mark of the credential that got it
}

// read gets and decodes a record. No record is not an error: it leaves into as
// it is. A damaged one is, beside that.
func (c *Client) read(ctx context.Context, key string, into record) error {
	data, err := c.store().Get(ctx, key)
	switch {
	case err == ErrNotStored: // as it is; wrapped, it says that a record was damaged
		return nil
	case err != nil:
		return fmt.Errorf("reading the store: %w", err)
	}
	if err := decodeRecord(data, into); err != nil {
		return fmt.Errorf("reading the store: record %s is not of this version of fob (%s) and counts as %w", key, jsonCause(err), ErrNotStored)
	}
	return nil
}

func (c *Client) write(ctx context.Context, key string, record any) error {
	data, err := json.Marshal(record)
	if err != nil {
		return err
	}
	if err := c.store().Put(ctx, key, data); err != nil {
		return fmt.Errorf("writing the store: %w", err)
	}
	return nil
}

func (c *Client) loadAccount(ctx context.Context, key string) (accountRecord, error) {
	var s storedAccount
	err := c.read(ctx, key, &s)
	s.Refresh, s.ID = NewSecret(s.RefreshText), NewSecret(s.IDText)
	return s.accountRecord, err
}

func (c *Client) loadToken(ctx context.Context, key string) tokenRecord {
	var s storedToken
	if err := c.read(ctx, key, &s); err != nil {
		c.warn(err)
		return tokenRecord{}
	}
	if proof := c.proof(); s.AccessText == "" || s.Proof != proof && s.Proof != "" && proof != "" {
		return tokenRecord{} // none, or got with a credential that may be better than ours
	}
	return tokenRecord{Obtained: s.Obtained, Token: &Token{
		Access: NewSecret(s.AccessText), Type: "Bearer", Scopes: s.Scopes, Expires: s.Expires, RefreshOn: s.RefreshOn,
		Origin: OriginCache, Account: s.Account, Tenant: s.Tenant,
	}}
}

// proof is the mark of the client's credential.
func (c *Client) proof() string {
	if c.Credential == nil {
		return ""
	}
	return c.Credential.mark()
}

func (c *Client) loadIndex(ctx context.Context) (indexRecord, error) {
	var index indexRecord
	err := c.read(ctx, c.indexKey(), &index)
	return index, err
}

func (c *Client) indexKey() string {
	return "index-" + digest(c.Authority.origin(), strings.ToLower(c.ID))
}

// updateIndex changes the index under its lock. It is the innermost lock:
// nobody takes another while holding it.
func (c *Client) updateIndex(ctx context.Context, change func(*indexRecord)) error {
	unlock, err := c.lock(ctx, c.indexKey())
	if err != nil {
		return fmt.Errorf("locking the list of accounts: %w", err)
	}
	defer unlock()
	index, err := c.loadIndex(ctx)
	if err != nil && !errors.Is(err, ErrNotStored) {
		return err
	}
	change(&index)
	if len(index.Accounts) == 0 { // which a full disk does not keep from being told
		return c.store().Delete(ctx, c.indexKey())
	}
	return c.write(ctx, c.indexKey(), index)
}

// keep stores what was acquired. A store that fails does not take the token
// away from its caller.
func (c *Client) keep(ctx context.Context, req Request, p place, t *Token) *Token {
	// The request may have used up the caller's time; what was obtained is
	// kept all the same, or a rotated refresh token would be lost.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), exchangeTime)
	defer cancel()
	if err := c.save(ctx, req, p, t); err != nil {
		c.warn(fmt.Errorf("the token was obtained but not kept: %w", err))
	}
	return withoutRefresh(t)
}

func withoutRefresh(t *Token) *Token {
	if t.Refresh.IsZero() {
		return t
	}
	bare := *t
	bare.Refresh = Secret{}
	return &bare
}

// save writes the account first: of all that can be lost in between, the
// refresh token is the only thing that a person would have to replace.
func (c *Client) save(ctx context.Context, req Request, p place, t *Token) error {
	if p.accountKey != "" && p.account.Account.ID != "" {
		record := storedAccount{accountRecord: p.account}
		record.ClientID, record.Authority, record.Updated = c.ID, c.Authority.origin(), c.now().UTC()
		if !slices.Contains(record.Tokens, p.tokenKey) {
			record.Tokens = append(slices.Clone(record.Tokens), p.tokenKey)
		}
		// A server that sends no new refresh token lets us keep the old one
		// (RFC 6749 section 6).
		if !t.Refresh.IsZero() {
			record.Refresh = t.Refresh
		}
		if !t.ID.IsZero() {
			record.ID = t.ID
		}
		record.RefreshText, record.IDText = record.Refresh.Reveal(), record.ID.Reveal()
		if err := c.write(ctx, p.accountKey, record); err != nil {
			return err
		}
		index, err := c.loadIndex(ctx)
		if err != nil || !slices.Contains(index.Accounts, record.Account) {
			if err := c.updateIndex(ctx, func(index *indexRecord) {
				index.remove(record.Account.ID)
				index.Accounts = append(index.Accounts, record.Account)
			}); err != nil {
				return err
			}
		}
	}
	return c.write(ctx, p.tokenKey, storedToken{
		AccessText: t.Access.Reveal(), Scopes: t.Scopes, Asked: req.Scopes, Expires: t.Expires, RefreshOn: t.RefreshOn,
		Obtained: c.now(), Account: t.Account, Tenant: t.Tenant, ClientID: c.ID, Authority: c.Authority.origin(),
		Proof: c.proof(),
	})
}

// RecordInfo describes a stored record without its secrets.
type RecordInfo struct {
	Kind       string // "account", "token" or "index"
	Account    Account
	ClientID   string
	Authority  string    // scheme and host
	Tenant     string    // that a token was asked for
	Scopes     []string  // that a token was asked for
	Expires    time.Time // of a token
	Obtained   time.Time // when a token was stored, or an account last renewed
	HasRefresh bool      // whether an account has a refresh token
}

// DescribeRecord reads what [Store.Get] returned for key, for lists of what is
// stored. The secrets stay where they are.
func DescribeRecord(key string, record []byte) (RecordInfo, error) {
	kind, _, _ := strings.Cut(key, "-")
	info := RecordInfo{Kind: kind}
	var err error
	switch kind {
	case "account":
		var s storedAccount
		err = decodeRecord(record, &s)
		info.Account, info.ClientID, info.Authority, info.Obtained = s.Account, s.ClientID, s.Authority, s.Updated
		info.HasRefresh = s.RefreshText != ""
	case "token":
		var s storedToken
		err = decodeRecord(record, &s)
		info.Account, info.ClientID, info.Authority, info.Obtained = s.Account, s.ClientID, s.Authority, s.Obtained
		info.Tenant, info.Scopes, info.Expires = s.Tenant, s.Asked, s.Expires
	case "index":
		err = decodeRecord(record, new(indexRecord))
	default:
		err = fmt.Errorf("no record of fob is called %s", clean(key))
	}
	if err != nil {
		return info, fmt.Errorf("record %s: %w", clean(key), err)
	}
	return info, nil
}
