package fob_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/entratest"
	"github.com/fobauth/fob/store/filestore"
)

// incoming is an access token for the API, of the user who calls it.
func incoming(t *testing.T, e *entratest.Emulator, upn string) fob.Secret {
	t.Helper()
	c := user(e)
	signIn(t, e, c, upn)
	return mustToken(t, c, fob.Request{Scopes: []string{"api://fob-api/access_as_user"}}).Access
}

func api(e *entratest.Emulator, store fob.Store, flow fob.Flow) *fob.Client {
	return &fob.Client{Authority: fob.Authority{Host: e.URL(), Tenant: entratest.TenantID}, ID: entratest.APIClientID, HTTP: e.Client(),
		Credential: fob.ClientSecret{Secret: fob.NewSecret(entratest.APISecret)}, Store: store, Flow: flow}
}

func TestOnBehalfOfTokensAreKeptByCallerAndCallersAreNoAccounts(t *testing.T) {
	e := entratest.New(t)
	store := fob.MemoryStore()
	ada, ben := incoming(t, e, entratest.AdaUPN), incoming(t, e, entratest.BenUPN)
	for _, flows := range [][2]fob.Flow{
		{fob.OnBehalfOf{Assertion: ada}, fob.OnBehalfOf{Assertion: ben}},
		{&fob.OnBehalfOf{Assertion: ada}, &fob.OnBehalfOf{Assertion: ben}},
	} {
		for i, upn := range []string{entratest.AdaUPN, entratest.BenUPN} {
			for range 2 { // two services that share the store
				if got := claims(t, mustToken(t, api(e, store, flows[i]), fob.Request{Scopes: graphDefault}))["upn"]; got != upn {
					t.Errorf("on behalf of %s came a token of %v", upn, got)
				}
			}
		}
		if app := claims(t, mustToken(t, api(e, store, &fob.ClientCredentials{}), fob.Request{Scopes: graphDefault})); app["idtyp"] != "app" {
			t.Errorf("the app itself got a token of %v", app["upn"])
		}
	}
	n := 0
	for _, r := range e.Requests() {
		if r.Form.Get("requested_token_use") == "on_behalf_of" {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d on-behalf-of requests for two callers", n)
	}
	if accounts, err := api(e, store, nil).Accounts(t.Context()); err != nil || len(accounts) != 0 {
		t.Errorf("callers became accounts: %v, %v", accounts, err)
	}
}

// spoilt is a store in which the records of one kind are damaged.
type spoilt struct {
	fob.Store
	kind string // empty: none yet
}

func (s *spoilt) Get(ctx context.Context, key string) ([]byte, error) {
	if s.kind != "" && strings.HasPrefix(key, s.kind) {
		return nil, fmt.Errorf("damaged: %w", fob.ErrNotStored)
	}
	return s.Store.Get(ctx, key)
}

func TestADamagedRecordStopsNeitherSignInNorSignOut(t *testing.T) {
	for _, kind := range []string{"account-", "index-", "token-"} {
		e := entratest.New(t)
		store := &spoilt{Store: fob.MemoryStore()}
		c := user(e)
		c.Store = store
		signedIn := signIn(t, e, c, entratest.AdaUPN)
		store.kind = kind
		if kind == "index-" {
			if got := mustToken(t, c, fob.Request{Scopes: graphDefault, Account: signedIn.Account.ID}); got.Account.Username != entratest.AdaUPN {
				t.Errorf("%s damaged: %+v", kind, got.Account)
			}
			if _, err := c.SignOut(t.Context(), signedIn.Account.ID); err != nil {
				t.Errorf("%s damaged: signing out: %v", kind, err)
			}
		}
		c.Flow = fob.AuthorizationCode{Open: func(ctx context.Context, page string) error { return e.Browse(ctx, page, entratest.AdaUPN) }}
		if _, err := c.SignIn(t.Context(), fob.Request{Scopes: graphDefault}); err != nil {
			t.Errorf("%s damaged: signing in: %v", kind, err)
		}
	}
}

// faulty is a store in which some things fail.
type faulty struct {
	fob.Store
	unreadable            string // kind of record that cannot be read
	old                   string // kind of record that another version wrote
	isFull, isWithoutLock bool
}

func (f *faulty) Get(ctx context.Context, key string) ([]byte, error) {
	switch {
	case f.unreadable != "" && strings.HasPrefix(key, f.unreadable):
		return nil, errDisk
	case f.old != "" && strings.HasPrefix(key, f.old):
		return []byte(`{"account": 2, "accounts": 2, "access_token": 2}`), nil
	}
	return f.Store.Get(ctx, key)
}

func (f *faulty) Put(ctx context.Context, key string, record []byte) error {
	if f.isFull {
		return errDisk
	}
	return f.Store.Put(ctx, key, record)
}

func (f *faulty) Lock(ctx context.Context, key string) (func(), error) {
	if f.isWithoutLock {
		return nil, errDisk
	}
	return f.Store.Lock(ctx, key)
}

func TestARecordThatCannotBeReadIsNotTakenForASignOut(t *testing.T) {
	e := entratest.New(t)
	store := &faulty{Store: fob.MemoryStore()}
	c := user(e)
	c.Store = store
	signedIn := signIn(t, e, c, entratest.AdaUPN)
	c.Flow = fob.AuthorizationCode{Open: func(context.Context, string) error {
		t.Error("a person was asked to sign in")
		return errDisk
	}}
	store.unreadable = "account-"
	_, err := c.Token(t.Context(), fob.Request{Scopes: graphDefault, Fresh: true})
	if !errors.Is(err, errDisk) || errors.Is(err, fob.ErrInteraction) {
		t.Errorf("the error is %v", err)
	}
	// Which tokens are the account's stands in the record.
	if _, err := c.SignOut(t.Context(), signedIn.Account.ID); !errors.Is(err, errDisk) {
		t.Errorf("signing out: %v", err)
	}
	store.unreadable = ""
	mustToken(t, c, fob.Request{Scopes: graphDefault, Fresh: true})
}

func TestARecordOfAnotherVersionIsReplacedByASignIn(t *testing.T) {
	for _, kind := range []string{"account-", "index-", "token-"} {
		e := entratest.New(t)
		store := &faulty{Store: fob.MemoryStore()}
		c := user(e)
		c.Store = store
		signIn(t, e, c, entratest.AdaUPN)
		store.old = kind
		c.Flow = fob.AuthorizationCode{Open: func(ctx context.Context, page string) error { return e.Browse(ctx, page, entratest.AdaUPN) }}
		if _, err := c.SignIn(t.Context(), fob.Request{Scopes: graphDefault}); err != nil {
			t.Errorf("%s of another version: signing in: %v", kind, err)
		}
	}
}

func TestAStoreWithoutLocksKeepsASignInAndForgetsIt(t *testing.T) {
	e := entratest.New(t)
	c := user(e)
	var warned []error
	c.Store, c.Warn = &faulty{Store: fob.MemoryStore(), isWithoutLock: true}, func(err error) { warned = append(warned, err) }
	signedIn := signIn(t, e, c, entratest.AdaUPN)
	mustToken(t, c, fob.Request{Scopes: graphDefault, Fresh: true})
	if _, err := c.SignOut(t.Context(), signedIn.Account.ID); err != nil {
		t.Error(err)
	}
	if accounts, err := c.Accounts(t.Context()); err != nil || len(accounts) > 0 {
		t.Errorf("signed in are %v, %v", accounts, err)
	}
	if text := fmt.Sprint(warned); !strings.Contains(text, "without the store's lock") {
		t.Errorf("warned of %v", warned)
	}
}

func TestAFullDiskKeepsNobodyFromSigningOut(t *testing.T) {
	e := entratest.New(t)
	store := &faulty{Store: fob.MemoryStore()}
	c := user(e)
	c.Store = store
	signedIn := signIn(t, e, c, entratest.AdaUPN)
	store.isFull, store.isWithoutLock = true, true
	if _, err := c.SignOut(t.Context(), signedIn.Account.ID); err != nil {
		t.Error(err)
	}
	if accounts, err := c.Accounts(t.Context()); err != nil || len(accounts) > 0 {
		t.Errorf("signed in are %v, %v", accounts, err)
	}
}

func TestAFleetWithALivingTokenDoesNotWaitForADeadServer(t *testing.T) {
	var down atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		fmt.Fprint(w, `{"access_token":"x","token_type":"Bearer","expires_in":3600}`)
	}))
	defer s.Close()
	dir := filepath.Join(t.TempDir(), "store")
	var clock clock
	process := func() *fob.Client {
		store, err := filestore.Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { store.Close() })
		return &fob.Client{Authority: fob.Authority{Host: s.URL, Tenant: "t.example"}, ID: "id",
			Credential: fob.ClientSecret{Secret: fob.NewSecret("secret")}, Store: store, Now: clock.Now}
	}
	mustToken(t, process(), fob.Request{Scopes: graphDefault})
	clock.Advance(57 * time.Minute)
	down.Store(true)
	var wg sync.WaitGroup
	for range 30 {
		c := process()
		wg.Go(func() {
			if _, err := c.Token(t.Context(), fob.Request{Scopes: graphDefault}); err != nil {
				t.Errorf("a token that is good for 3 minutes was withheld: %v", err)
			}
		})
	}
	wg.Wait()
}

// held is a store whose locks nobody gets.
type held struct{ fob.Store }

func (h held) Lock(ctx context.Context, _ string) (func(), error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestALivingTokenIsHandedOutWhileAnotherProcessHoldsTheLock(t *testing.T) {
	e := entratest.New(t)
	var clock clock
	first, second := daemon(e), daemon(e)
	first.Store = fob.MemoryStore()
	second.Store = held{first.Store}
	first.Now, second.Now = clock.Now, clock.Now
	old := mustToken(t, first, fob.Request{Scopes: graphDefault})
	clock.Advance(57 * time.Minute)
	if got := mustToken(t, second, fob.Request{Scopes: graphDefault}); !got.Access.Equal(old.Access) {
		t.Error("another token came back")
	}
}

func TestCallersBehindABlackHoleFailTogether(t *testing.T) {
	var requests atomic.Int32
	stop := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { requests.Add(1); <-stop }))
	defer s.Close()
	defer close(stop)
	c := &fob.Client{Authority: fob.Authority{Host: s.URL, Tenant: "t.example"}, ID: "id",
		Credential: fob.ClientSecret{Secret: fob.NewSecret("secret")}, HTTP: &http.Client{Timeout: 200 * time.Millisecond}}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := c.Token(t.Context(), fob.Request{Scopes: graphDefault}); !errors.Is(err, fob.ErrUnavailable) {
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if n := requests.Load(); n > 2*3 { // one attempt has three tries; a late caller may begin another
		t.Errorf("%d requests for callers that should have shared", n)
	}
}

func TestAProgramMayReplaceTheDefaultTransport(t *testing.T) {
	original := http.DefaultTransport
	http.DefaultTransport = noNetwork{t}
	defer func() { http.DefaultTransport = original }()
	e := entratest.New(t)
	mustToken(t, daemon(e), fob.Request{Scopes: graphDefault})
}

func TestATokenFromAClockThatWasAheadIsNotHandedOut(t *testing.T) {
	e := entratest.New(t)
	var clock clock
	store := fob.MemoryStore()
	first, second := daemon(e), daemon(e)
	first.Store, second.Store, first.Now, second.Now = store, store, clock.Now, clock.Now
	clock.Advance(24 * time.Hour)
	ahead := mustToken(t, first, fob.Request{Scopes: graphDefault})
	clock.Advance(-22 * time.Hour)
	for name, c := range map[string]*fob.Client{"the process that got it": first, "another process": second} {
		if token := mustToken(t, c, fob.Request{Scopes: graphDefault}); token.Access.Equal(ahead.Access) {
			t.Errorf("%s hands out a token from 22 hours ahead for another %v", name, token.Expires.Sub(clock.Now()))
		}
	}
}

func TestWhileOneCallerRenewsOthersGetTheOldToken(t *testing.T) {
	var clock clock
	inside, release := make(chan struct{}), make(chan struct{})
	c := daemon(entratest.New(t))
	c.Now = clock.Now
	c.Flow = flowFunc(func(ctx context.Context, c *fob.Client, req fob.Request) (*fob.Token, error) {
		if clock.offset.Load() > 0 {
			close(inside)
			<-release
			if until, ok := ctx.Deadline(); !ok || time.Until(until) > 10*time.Second {
				t.Errorf("the renewal of a living token may take until %v", until)
			}
		}
		return fob.ClientCredentials{}.Acquire(ctx, c, req)
	})
	old := mustToken(t, c, fob.Request{Scopes: graphDefault})
	clock.Advance(57 * time.Minute)
	var renewed *fob.Token
	var wg sync.WaitGroup
	wg.Go(func() { renewed, _ = c.Token(t.Context(), fob.Request{Scopes: graphDefault}) })
	<-inside
	if got := mustToken(t, c, fob.Request{Scopes: graphDefault}); !got.Access.Equal(old.Access) {
		t.Error("a caller waited for the renewal")
	}
	close(release)
	wg.Wait()
	if got := mustToken(t, c, fob.Request{Scopes: graphDefault}); renewed == nil || !got.Access.Equal(renewed.Access) || got.Access.Equal(old.Access) {
		t.Error("the renewed token is not the one handed out after the renewal")
	}
}

func TestNobodyIsAskedToSignInWhileTheTokenLives(t *testing.T) {
	e := entratest.New(t)
	var clock clock
	asked := 0
	c := user(e)
	c.Now = clock.Now
	c.Flow = fob.AuthorizationCode{Open: func(ctx context.Context, page string) error { asked++; return e.Browse(ctx, page, entratest.AdaUPN) }}
	old := mustToken(t, c, fob.Request{Scopes: graphDefault})
	if err := e.Revoke(entratest.AdaUPN); err != nil {
		t.Fatal(err)
	}
	clock.Advance(time.Until(old.RefreshOn) + time.Second)
	if got := mustToken(t, c, fob.Request{Scopes: graphDefault}); !got.Access.Equal(old.Access) || asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	rest := old.Expires.Sub(clock.Now())
	clock.Advance(rest)
	e.Advance(rest)
	if got := mustToken(t, c, fob.Request{Scopes: graphDefault}); got.Access.Equal(old.Access) || asked != 2 {
		t.Errorf("at its end: asked %d times", asked)
	}
}

func TestWhoeverWasNotAskedForIsNotSignedIn(t *testing.T) {
	e := entratest.New(t)
	for _, asked := range []string{entratest.BenUPN, entratest.BenID + "." + entratest.TenantID} {
		c := user(e)
		c.Flow = fob.AuthorizationCode{Open: func(ctx context.Context, page string) error { return e.Browse(ctx, page, entratest.AdaUPN) }}
		for name, get := range map[string]func(context.Context, fob.Request) (*fob.Token, error){"Token": c.Token, "SignIn": c.SignIn} {
			token, err := get(t.Context(), fob.Request{Scopes: graphDefault, Account: asked})
			if err == nil || !strings.Contains(err.Error(), entratest.AdaUPN+" signed in, but "+asked+" was asked for") {
				t.Errorf("%s of %s: %v, %v", name, asked, token, err)
			}
			if accounts, err := c.Accounts(t.Context()); err != nil || len(accounts) != 0 {
				t.Errorf("%s of %s kept %v, %v", name, asked, accounts, err)
			}
		}
	}
}

// watched is a store that remembers what is in it.
type watched struct {
	fob.Store
	keys map[string]bool
}

func (w watched) Put(ctx context.Context, key string, record []byte) error {
	w.keys[key] = true
	return w.Store.Put(ctx, key, record)
}

func (w watched) Delete(ctx context.Context, key string) error {
	delete(w.keys, key)
	return w.Store.Delete(ctx, key)
}

func TestAnAccountThatSignsInAnewKeepsTheListOfItsTokens(t *testing.T) {
	e := entratest.New(t)
	c := user(e)
	store := watched{fob.MemoryStore(), map[string]bool{}}
	c.Store = store
	signIn(t, e, c, entratest.AdaUPN)
	for key := range store.keys {
		if strings.HasPrefix(key, "index-") { // lost: nobody seems to be signed in
			store.Delete(t.Context(), key)
		}
	}
	c.Flow = fob.AuthorizationCode{Open: func(ctx context.Context, page string) error { return e.Browse(ctx, page, entratest.AdaUPN) }}
	mustToken(t, c, fob.Request{Scopes: []string{"https://graph.microsoft.com/User.Read"}})
	if _, err := c.SignOut(t.Context(), entratest.AdaUPN); err != nil {
		t.Fatal(err)
	}
	for key := range store.keys {
		if !strings.HasPrefix(key, "index-") {
			t.Errorf("%s stays after the sign-out", key)
		}
	}
}

func TestAnIDTokenOfAnotherTenantIsRefused(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	encode := base64.RawURLEncoding.EncodeToString
	const mine, other = "11111111-1111-4111-8111-111111111111", "22222222-2222-4222-8222-222222222222"
	var s *httptest.Server
	s = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "openid-configuration") {
			fmt.Fprintf(w, `{"issuer":"%s/%s/v2.0","jwks_uri":"%s/keys"}`, s.URL, mine, s.URL)
			return
		}
		fmt.Fprintf(w, `{"keys":[{"kty":"RSA","use":"sig","kid":"k","n":"%s","e":"AQAB","issuer":"%s/{tenantid}/v2.0"}]}`, encode(key.N.Bytes()), s.URL)
	}))
	defer s.Close()
	c := &fob.Client{Authority: fob.Authority{Host: s.URL, Tenant: mine}, ID: "me"}
	for _, tenant := range []string{mine, other} {
		text := encode([]byte(`{"alg":"RS256","kid":"k"}`)) + "." + encode(fmt.Appendf(nil, `{"aud":"me","iss":"%s/%s/v2.0","tid":"%s","exp":%d}`, s.URL, tenant, tenant, time.Now().Add(time.Hour).Unix()))
		sum := sha256.Sum256([]byte(text))
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.VerifyIDToken(t.Context(), fob.NewSecret(text+"."+encode(signature)), "")
		if good := err == nil; good != (tenant == mine) {
			t.Errorf("tenant %s: %v", tenant, err)
		}
	}
}

// gate holds back who reads a token record.
type gate struct {
	fob.Store
	armed         atomic.Bool
	read, release chan struct{}
}

func (g *gate) Get(ctx context.Context, key string) ([]byte, error) {
	record, err := g.Store.Get(ctx, key)
	if strings.HasPrefix(key, "token-") && g.armed.CompareAndSwap(true, false) {
		close(g.read)
		<-g.release
	}
	return record, err
}

func TestATokenReadBeforeASignOutIsNotRememberedAfterIt(t *testing.T) {
	e := entratest.New(t)
	store := &gate{Store: fob.MemoryStore(), read: make(chan struct{}), release: make(chan struct{})}
	in, c := user(e), user(e)
	in.Store, c.Store, c.Flow = store, store, nil
	signIn(t, e, in, entratest.AdaUPN)
	store.armed.Store(true)
	var wg sync.WaitGroup
	wg.Go(func() { c.Token(t.Context(), fob.Request{Scopes: graphDefault}) })
	<-store.read
	if _, err := c.SignOut(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	close(store.release)
	wg.Wait()
	if token, err := c.Token(t.Context(), fob.Request{Scopes: graphDefault}); err == nil {
		t.Errorf("after signing out, the token of %s", token.Account.Username)
	}
}

func TestAnEndedContextIsNotTakenForASignOut(t *testing.T) {
	e := entratest.New(t)
	c := user(e)
	signIn(t, e, c, entratest.AdaUPN)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Token(ctx, fob.Request{Scopes: graphDefault, Account: entratest.AdaUPN, Fresh: true}); errors.Is(err, fob.ErrInteraction) || err == nil {
		t.Errorf("got %v", err)
	}
}

func TestAClaimsChallengeInARefusalIsHarmlessOrAbsent(t *testing.T) {
	for claims, want := range map[string]string{
		`{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`: `{"access_token":{"acrs":{"essential":true,"value":"c1"}}}`,
		"{\n \"a\": 1\n}":             `{"a":1}`,
		`{"a":"` + canary + `"}`:      `{"a":"[redacted]"}`,
		"{\"a\":\"\u009b31m\u202e\"}": "",
		"nonsense":                    "",
	} {
		c := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"error":"interaction_required","claims":%q}`, claims)
		})
		_, err := c.Token(t.Context(), fob.Request{Scopes: graphDefault})
		var refusal *fob.Error
		if !errors.As(err, &refusal) || refusal.Claims != want {
			t.Errorf("%q: %v with %q, want %q", claims, err, refusal.Claims, want)
		}
	}
}

func TestAWrongSecretIsNotCoveredUpByAStoredToken(t *testing.T) {
	e := entratest.New(t)
	store := fob.MemoryStore()
	with := func(secret string) (*fob.Token, error) {
		c := daemon(e)
		c.Store, c.Credential = store, fob.ClientSecret{Secret: fob.NewSecret(secret)}
		return c.Token(t.Context(), fob.Request{Scopes: graphDefault})
	}
	if _, err := with(entratest.DaemonSecret); err != nil {
		t.Fatal(err)
	}
	_, err := with("a wrong secret")
	var refusal *fob.Error
	if !errors.As(err, &refusal) || refusal.AADSTS() != 7000215 {
		t.Errorf("the wrong secret: %v", err)
	}
	if token, err := with(entratest.DaemonSecret); err != nil || token.Origin != fob.OriginCache {
		t.Errorf("the right one afterwards: %v, %v", token, err)
	}
	certificate := newCertificate(t)
	if err := e.AddCertificate(entratest.DaemonClientID, certificate.Leaf); err != nil {
		t.Fatal(err)
	}
	c := daemon(e)
	c.Store, c.Credential = store, certificate
	if token := mustToken(t, c, fob.Request{Scopes: graphDefault}); token.Origin != fob.OriginFlow {
		t.Errorf("another credential of the app got its token from %s", token.Origin)
	}
}
