package fob

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Client is one app registration in one cloud. Its zero value with an ID works
// for whoever is signed in; set Credential for a confidential client and Flow
// for what to do when nothing usable is stored. A Client is safe for
// concurrent use and must not be copied or changed after its first use.
type Client struct {
	// Authority says where to sign in: cloud and tenant.
	Authority Authority
	// ID is the Application (client) ID of the app registration.
	ID string
	// Credential proves who the client is. Nil for a public client.
	Credential Credential
	// Flow acquires a token when nothing usable is stored. Nil means
	// ClientCredentials for a client with a Credential, and otherwise nothing:
	// Token then fails with ErrInteraction.
	Flow Flow
	// Capabilities are what the program can handle, sent with every request.
	// "cp1" promises to answer claims challenges, as [Transport] does, and
	// gets tokens that live for a day and can be revoked at any moment.
	Capabilities []string
	// Store keeps tokens. Nil means in memory, for this client alone.
	Store Store
	// HTTP sends the requests. Its redirect policy and cookies are not used.
	// Where its transport fails, a request is not repeated if the error is an
	// [io/fs.PathError], or has a method Permanent() bool that says true. Nil
	// means a client of fob's own with bounded headers and the proxy of the
	// environment.
	HTTP *http.Client
	// Now is the clock. Nil means time.Now.
	Now func() time.Time
	// Warn, if set, is told what went wrong without failing a call: a store
	// that cannot be written, a damaged record, a renewal that failed while
	// the old token lives. It may be called from several goroutines.
	Warn func(err error)

	memory   memory          // tokens of this process, decoded
	flights  flights[*Token] // calls under way
	keyrings sync.Map        // metadata URL to *keyring
	private  struct {        // the store of a client without one
		sync.Once
		Store
	}
	sleep func(context.Context, time.Duration) error // nil: real time; tests move a clock
}

// Flow acquires a token from scratch: from a credential, or from a person.
type Flow interface {
	// Acquire gets a new token for req with the client's ID, Authority and
	// Credential, usually through [Client.Exchange]. It stores nothing.
	Acquire(ctx context.Context, c *Client, req Request) (*Token, error)
}

// Token returns an access token for req: the stored one while it is good, else
// a renewed one, else what the client's Flow acquires. Many callers that want
// the same token at once share one request, also across processes that share
// the Store.
//
// From [Token.RefreshOn] on one caller tries a renewal first, for ten seconds
// at the most, while others get the old token. As long as that lives, a renewal
// that fails is no failure, and [AuthorizationCode] and [DeviceCode] disturb
// nobody. A refusal by the server is an [*Error]; errors.Is(err,
// [ErrInteraction]) says that a person must sign in.
func (c *Client) Token(ctx context.Context, req Request) (*Token, error) {
	now := c.now()
	if t := c.memory.lookup(&req, now); t != nil {
		return t, nil
	}
	return c.flights.share(ctx, flightKey(&req), func() (*Token, error) {
		return c.obtain(ctx, req, now)
	})
}

// obtain is Token's way through the store and over the network. since is when
// the caller asked: with Request.Fresh, a token that another process stored
// after that is as good as one of our own.
func (c *Client) obtain(ctx context.Context, req Request, since time.Time) (*Token, error) {
	epoch := c.memory.epoch.Load()
	place, err := c.place(ctx, req)
	if err != nil {
		return nil, err
	}
	old := c.loadToken(ctx, place.tokenKey)
	if now := c.now(); !old.due(now) && old.serves(req, now) {
		c.memory.remember(epoch, &req, old.Token, now, 0)
		return old.Token, nil
	}

	// While the old token lives nobody is kept waiting for another process that
	// is renewing it.
	patience, cancel := ctx, context.CancelFunc(func() {})
	if old.serves(req, c.now()) {
		patience, cancel = context.WithTimeout(ctx, livingWait)
	}
	unlock, err := c.store().Lock(patience, place.lockKey)
	waited := patience.Err() != nil
	cancel()
	switch {
	case err == nil:
		defer unlock()
		// Whoever held the lock before us may have done our work.
		old = c.loadToken(ctx, place.tokenKey)
		now := c.now()
		if !old.due(now) && (old.serves(req, now) || old.answers(req, since, now)) {
			c.memory.remember(epoch, &req, old.Token, now, 0)
			return old.Token, nil
		}
	case waited && old.serves(req, c.now()):
		c.memory.remember(epoch, &req, old.Token, c.now(), time.Second)
		return old.Token, nil
	case ctx.Err() != nil:
		return nil, fmt.Errorf("waiting for another process that renews this token: %w", ctx.Err())
	default:
		c.warn(fmt.Errorf("going on without the store's lock: %w", err))
	}

	flow, trying, cancel := c.flow(), ctx, context.CancelFunc(func() {})
	if now := c.now(); old.serves(req, now) {
		// This caller tries; those who ask meanwhile get the old token. Nobody
		// is sent to a sign-in page while it lives.
		c.memory.remember(epoch, &req, old.Token, now, renewalRest)
		trying, cancel = context.WithTimeout(ctx, renewalTime)
		if asksPerson(flow) {
			flow = nil
		}
	}
	token, err := c.acquire(trying, req, place, flow)
	cancel()
	now := c.now()
	switch {
	case err == nil:
	case old.serves(req, now):
		c.warn(fmt.Errorf("renewing the token early: %w", err))
		c.memory.remember(epoch, &req, old.Token, now, renewalRest)
		return old.Token, nil
	default:
		return nil, err
	}
	if !token.Valid(now, req.minValid()) && req.MinValid > 0 {
		return nil, fmt.Errorf("the new token lives for %s, and %s was asked for; no new one lives longer",
			token.Expires.Sub(now).Round(time.Second), req.MinValid)
	}
	c.memory.remember(epoch, &req, token, now, 0)
	return token, nil
}

// What early renewal may cost a caller whose old token would do.
const (
	livingWait  = 100 * time.Millisecond // for the lock
	renewalTime = 10 * time.Second       // for the renewal itself
	renewalRest = 30 * time.Second       // one that failed is not tried again for so long
)

// acquire gets a new token for req and stores it: with the account's refresh
// token if there is one, else with flow.
func (c *Client) acquire(ctx context.Context, req Request, place place, flow Flow) (*Token, error) {
	if err := c.open(ctx, &place); err != nil {
		return nil, err
	}
	var refused error
	if !place.account.Refresh.IsZero() {
		token, err := RefreshToken{place.account.Refresh}.Acquire(ctx, c, req)
		switch {
		case err == nil && token.Account.ID != "" && token.Account.ID != place.account.Account.ID:
			return nil, &BadAnswerError{Host: hostOf(c.Authority.TokenEndpoint()), Status: 200, Why: "a token of another account than the refresh token's"}
		case err == nil:
			token.Origin = OriginRefresh
			token.Account = place.account.Account
			return c.keep(ctx, req, place, token), nil
		case !errors.Is(err, ErrInteraction) || flow == nil:
			return nil, err
		}
		refused = err
	}
	if flow == nil {
		return nil, nobody(req, place)
	}
	token, err := flow.Acquire(ctx, c, req)
	if err != nil {
		if refused != nil {
			return nil, fmt.Errorf("%w (the stored sign-in no longer does: %w)", err, refused)
		}
		return nil, err
	}
	if err := askedFor(req, place.account.Account, token.Account); err != nil {
		return nil, err
	}
	next := place.of(c, req, token.Account)
	if next.accountKey != place.accountKey {
		if err := c.open(ctx, &next); err != nil { // it may be signed in already, and more tokens be its own
			c.warn(err)
		}
		next.account.Account = token.Account
	}
	return c.keep(ctx, req, next, token), nil
}

// askedFor refuses a sign-in of anyone but the account that req names, which
// is known if it signed in before. A token of no user is no sign-in.
func askedFor(req Request, known, signedIn Account) error {
	if req.Account == "" || signedIn.ID == "" || signedIn.is(orElse(known.ID, req.Account)) {
		return nil
	}
	return fmt.Errorf("%s signed in, but %s was asked for; sign in as that user, or ask for no account in particular",
		orElse(signedIn.Username, signedIn.ID), clean(req.Account))
}

// SignIn runs the client's Flow now, whatever is stored, and keeps the account
// that signed in with its refresh token. Unlike [Client.Token] it fails if the
// store cannot keep it. The token it returns carries the refresh and ID token.
func (c *Client) SignIn(ctx context.Context, req Request) (*Token, error) {
	flow := c.flow()
	if flow == nil {
		return nil, errors.New("the client has no Flow to sign in with")
	}
	token, err := flow.Acquire(ctx, c, req)
	if err != nil {
		return nil, err
	}
	if token.Account.ID == "" {
		return nil, errors.New("the answer names no account (no id_token and no client_info), so there is nothing to keep; use the token directly instead")
	}
	if err := askedFor(req, Account{}, token.Account); err != nil {
		return nil, err
	}
	place := c.placeOf(req, token.Account)
	unlock, err := c.lock(ctx, place.lockKey)
	if err != nil {
		return nil, fmt.Errorf("locking the account's record: %w", err)
	}
	defer unlock()
	if place.account, err = c.loadAccount(ctx, place.accountKey); err != nil {
		if !errors.Is(err, ErrNotStored) {
			return nil, err
		}
		c.warn(err) // a damaged record is replaced by this one
		place.account = accountRecord{}
	}
	place.account.Account = token.Account
	if err := c.save(ctx, req, place, token); err != nil {
		return nil, err
	}
	// What was remembered for "the only account" may not be right any more.
	c.memory.forget()
	return token, nil
}

// SignOut forgets an account: its refresh token and its access tokens. account
// is an id or a user name; empty means the only one known. Tokens that were
// handed out stay valid until they expire. An error that comes with the account
// is of the list of accounts: it still has one whose tokens are gone.
func (c *Client) SignOut(ctx context.Context, account string) (Account, error) {
	known, err := Account{ID: strings.ToLower(account)}, error(nil)
	if !isAccountID(account) {
		if known, err = c.pick(ctx, account); err != nil {
			return Account{}, err
		}
	}
	if known.ID == "" {
		return Account{}, fmt.Errorf("nobody is signed in to this client: %w", ErrInteraction)
	}
	place := c.placeOf(Request{}, known)
	unlock, err := c.lock(ctx, place.lockKey)
	if err != nil {
		return Account{}, fmt.Errorf("locking the account's record: %w", err)
	}
	defer unlock()
	record, err := c.loadAccount(ctx, place.accountKey)
	if err != nil {
		if !errors.Is(err, ErrNotStored) {
			return Account{}, err // without it nobody knows which tokens are the account's
		}
		c.warn(err)
	}
	if record.Account.ID != "" {
		known = record.Account
	}
	defer c.memory.forget() // when the records are gone
	for _, key := range record.Tokens {
		if err := c.store().Delete(ctx, key); err != nil {
			return Account{}, fmt.Errorf("forgetting a token: %w", err)
		}
	}
	if err := c.store().Delete(ctx, place.accountKey); err != nil {
		return Account{}, fmt.Errorf("forgetting the account: %w", err)
	}
	if err := c.updateIndex(ctx, func(index *indexRecord) { index.remove(known.ID) }); err != nil {
		return known, fmt.Errorf("the tokens are gone, but the list of accounts still has the account: %w", err)
	}
	return known, nil
}

// Accounts lists who is signed in to this client, oldest first.
func (c *Client) Accounts(ctx context.Context) ([]Account, error) {
	index, err := c.loadIndex(ctx)
	return index.Accounts, err
}

// nobody says why there is no token without a person.
func nobody(req Request, place place) error {
	switch {
	case place.account.Account.Username != "":
		return fmt.Errorf("%s has no refresh token any more: %w", place.account.Account.Username, ErrInteraction)
	case req.Account != "":
		return fmt.Errorf("%s is not signed in: %w", clean(req.Account), ErrInteraction)
	}
	return fmt.Errorf("nobody is signed in: %w", ErrInteraction)
}

// asksPerson reports whether a flow of fob's own waits for somebody.
func asksPerson(f Flow) bool {
	switch f.(type) {
	case AuthorizationCode, *AuthorizationCode, DeviceCode, *DeviceCode:
		return true
	}
	return false
}

func (c *Client) flow() Flow {
	switch f := c.Flow.(type) {
	case nil:
		if c.Credential != nil {
			return ClientCredentials{}
		}
	case *ClientCredentials: // pointers to flows are flows, too
		return *f
	case *OnBehalfOf:
		return *f
	}
	return c.Flow
}

func (c *Client) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

func (c *Client) store() Store {
	if c.Store != nil {
		return c.Store
	}
	c.private.Do(func() { c.private.Store = MemoryStore() })
	return c.private.Store
}

func (c *Client) warn(err error) {
	if c.Warn != nil {
		c.Warn(err)
	}
}

// pause waits for d or for the end of ctx.
func (c *Client) pause(ctx context.Context, d time.Duration) error {
	if c.sleep != nil {
		return c.sleep(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (req *Request) minValid() time.Duration {
	if req.MinValid > 0 {
		return req.MinValid
	}
	return DefaultMinValid
}

// serves reports whether the token may be handed out for req as it is.
func (t *Token) serves(req Request, now time.Time) bool {
	return t != nil && !req.Fresh && req.Claims == "" && t.Valid(now, req.minValid())
}
