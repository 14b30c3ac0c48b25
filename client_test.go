package fob_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/entratest"
)

var graphDefault = []string{"https://graph.microsoft.com/.default"}

// clock is a client's clock that tests move.
type clock struct{ offset atomic.Int64 }

func (c *clock) Now() time.Time          { return time.Now().Add(time.Duration(c.offset.Load())) }
func (c *clock) Advance(d time.Duration) { c.offset.Add(int64(d)) }

// daemon is the emulator's confidential client.
func daemon(e *entratest.Emulator) *fob.Client {
	return &fob.Client{
		Authority:  fob.Authority{Host: e.URL(), Tenant: entratest.TenantID},
		ID:         entratest.DaemonClientID,
		Credential: fob.ClientSecret{Secret: fob.NewSecret(entratest.DaemonSecret)},
		HTTP:       e.Client(),
	}
}

// user is the emulator's public client at which Ada signs in by device code.
func user(e *entratest.Emulator) *fob.Client {
	return &fob.Client{
		Authority: fob.Authority{Host: e.URL(), Tenant: entratest.TenantID},
		ID:        entratest.CLIClientID,
		HTTP:      e.Client(),
		Flow: fob.DeviceCode{Prompt: func(_ context.Context, p fob.DeviceCodePrompt) error {
			return e.Approve(p.UserCode, entratest.AdaUPN)
		}},
	}
}

// quick makes device codes ask for the shortest interval there is.
func quick(cfg *entratest.Config) { cfg.DeviceInterval = time.Second }

// tokenRequests counts what reached a token endpoint.
func tokenRequests(e *entratest.Emulator) int {
	n := 0
	for _, r := range e.Requests() {
		if strings.HasSuffix(r.Path, "/token") {
			n++
		}
	}
	return n
}

func mustToken(t *testing.T, c *fob.Client, req fob.Request) *fob.Token {
	t.Helper()
	token, err := c.Token(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// claims reads an access token of the emulator, as nobody may do with a real
// one.
func claims(t *testing.T, token *fob.Token) map[string]any {
	t.Helper()
	parts := strings.Split(token.Access.Reveal(), ".")
	if len(parts) != 3 {
		t.Fatalf("the access token has %d parts", len(parts))
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(payload, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestAColdAppTokenIsExactlyOneRequestAndAStoredOneNone(t *testing.T) {
	e := entratest.New(t)
	store := fob.MemoryStore()
	first, second := daemon(e), daemon(e)
	first.Store, second.Store = store, store
	cold := mustToken(t, first, fob.Request{Scopes: graphDefault})
	if n := len(e.Requests()); n != 1 {
		t.Errorf("a cold token took %d requests", n)
	}
	if cold.Origin != fob.OriginFlow || cold.Type != "Bearer" || cold.Account != (fob.Account{}) || cold.Tenant != entratest.TenantID {
		t.Errorf("got %+v", cold)
	}
	for _, c := range []*fob.Client{first, second} {
		warm := mustToken(t, c, fob.Request{Scopes: graphDefault})
		if !warm.Access.Equal(cold.Access) || warm.Origin != fob.OriginCache {
			t.Errorf("another token, or from %s", warm.Origin)
		}
	}
	if n := len(e.Requests()); n != 1 {
		t.Errorf("a stored token took %d requests", n-1)
	}
}

func TestTheOrderAndCaseOfScopesDoNotMatter(t *testing.T) {
	e := entratest.New(t)
	c := user(e)
	c.Flow = fob.AuthorizationCode{Open: func(ctx context.Context, page string) error { return e.Browse(ctx, page, entratest.AdaUPN) }}
	mustToken(t, c, fob.Request{Scopes: []string{"User.Read", "Group.Read.All"}})
	before := tokenRequests(e)
	mustToken(t, c, fob.Request{Scopes: []string{"group.read.all", "User.Read", "User.Read"}})
	if n := tokenRequests(e) - before; n != 0 {
		t.Errorf("the same scopes in another spelling took %d requests", n)
	}
}

func TestTokensOfDifferentTenantsScopesAndClientsAreKeptApart(t *testing.T) {
	e := entratest.New(t)
	store := fob.MemoryStore()
	a, b := daemon(e), daemon(e)
	b.ID, b.Credential = entratest.APIClientID, fob.ClientSecret{Secret: fob.NewSecret(entratest.APISecret)}
	a.Store, b.Store = store, store
	graph := mustToken(t, a, fob.Request{Scopes: graphDefault})
	arm := mustToken(t, a, fob.Request{Scopes: []string{"https://management.azure.com/.default"}})
	other := mustToken(t, b, fob.Request{Scopes: graphDefault})
	domain := mustToken(t, a, fob.Request{Scopes: graphDefault, Tenant: entratest.TenantDomain})
	seen := map[string]bool{}
	for _, token := range []*fob.Token{graph, arm, other, domain} {
		seen[token.Access.Reveal()] = true
	}
	if len(seen) != 4 {
		t.Errorf("%d different tokens where 4 were asked for", len(seen))
	}
	if claims(t, arm)["aud"] == claims(t, graph)["aud"] || claims(t, other)["appid"] != entratest.APIClientID {
		t.Error("a token of another request came back")
	}
}

func TestAnEarlyRenewalThatFailsIsNoFailureWhileTheTokenLives(t *testing.T) {
	e := entratest.New(t)
	var clock clock
	var warned []error
	c := daemon(e)
	c.Now, c.Warn = clock.Now, func(err error) { warned = append(warned, err) }
	old := mustToken(t, c, fob.Request{Scopes: graphDefault})
	clock.Advance(time.Until(old.RefreshOn) + time.Second)
	if err := e.Fail(1, entratest.Fault{Code: 7000222}); err != nil {
		t.Fatal(err)
	}
	before := tokenRequests(e)
	for range 3 {
		if got := mustToken(t, c, fob.Request{Scopes: graphDefault}); !got.Access.Equal(old.Access) {
			t.Fatal("another token came back")
		}
	}
	if n := tokenRequests(e) - before; n != 1 {
		t.Errorf("the failed renewal was tried %d times in a row", n)
	}
	if len(warned) != 1 || !strings.Contains(warned[0].Error(), "7000222") {
		t.Errorf("warned of %v", warned)
	}
	clock.Advance(time.Minute)
	if got := mustToken(t, c, fob.Request{Scopes: graphDefault}); got.Access.Equal(old.Access) {
		t.Error("the renewal was not tried again after its rest")
	}
}

func TestATokenThatCannotBeRenewedFailsAtItsEnd(t *testing.T) {
	e := entratest.New(t)
	var clock clock
	c := daemon(e)
	c.Now = clock.Now
	mustToken(t, c, fob.Request{Scopes: graphDefault})
	clock.Advance(2 * time.Hour)
	e.Advance(2 * time.Hour)
	if err := e.Fail(1, entratest.Fault{Code: 7000222}); err != nil {
		t.Fatal(err)
	}
	_, err := c.Token(t.Context(), fob.Request{Scopes: graphDefault})
	var refusal *fob.Error
	if !errors.As(err, &refusal) || refusal.AADSTS() != 7000222 || refusal.Code != "invalid_client" {
		t.Errorf("got %v", err)
	}
}

func TestManyGoroutinesAndOneExpiredTokenMakeOneRequest(t *testing.T) {
	e := entratest.New(t)
	var clock clock
	store := fob.MemoryStore()
	clients := []*fob.Client{daemon(e), daemon(e), daemon(e), daemon(e)}
	for _, c := range clients {
		c.Store, c.Now = store, clock.Now
	}
	mustToken(t, clients[0], fob.Request{Scopes: graphDefault})
	clock.Advance(2 * time.Hour)
	e.Advance(2 * time.Hour)
	before := tokenRequests(e)
	var wg sync.WaitGroup
	answers := make([]string, 256)
	for i := range answers {
		wg.Go(func() {
			token, err := clients[i%len(clients)].Token(t.Context(), fob.Request{Scopes: graphDefault})
			if err != nil {
				t.Error(err)
				return
			}
			answers[i] = token.Access.Reveal()
		})
	}
	wg.Wait()
	if n := tokenRequests(e) - before; n != 1 {
		t.Errorf("%d requests", n)
	}
	if slices.Sort(answers); answers[0] == "" || answers[0] != answers[len(answers)-1] {
		t.Error("the answers differ")
	}
}

func TestFollowersDoNotFailBecauseTheirLeaderGaveUp(t *testing.T) {
	e := entratest.New(t)
	inside, release := make(chan struct{}), make(chan struct{})
	c := daemon(e)
	var calls atomic.Int32
	c.Flow = flowFunc(func(ctx context.Context, c *fob.Client, req fob.Request) (*fob.Token, error) {
		if calls.Add(1) == 1 {
			close(inside)
			<-ctx.Done()
			<-release
			return nil, ctx.Err()
		}
		return fob.ClientCredentials{}.Acquire(ctx, c, req)
	})
	leader, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if _, err := c.Token(leader, fob.Request{Scopes: graphDefault}); !errors.Is(err, context.Canceled) {
			t.Errorf("the leader got %v", err)
		}
	})
	<-inside
	wg.Go(func() {
		if _, err := c.Token(t.Context(), fob.Request{Scopes: graphDefault}); err != nil {
			t.Errorf("the follower got %v", err)
		}
	})
	cancel()
	close(release)
	wg.Wait()
}

type flowFunc func(context.Context, *fob.Client, fob.Request) (*fob.Token, error)

func (f flowFunc) Acquire(ctx context.Context, c *fob.Client, req fob.Request) (*fob.Token, error) {
	return f(ctx, c, req)
}

func TestATokenDoesNotChangeWithTheRequestItWasAnAnswerTo(t *testing.T) {
	scopes := slices.Clone(graphDefault)
	c := daemon(entratest.New(t))
	token := mustToken(t, c, fob.Request{Scopes: scopes})
	scopes[0] = "changed"
	if !slices.Equal(token.Scopes, graphDefault) {
		t.Errorf("its scopes are %q now", token.Scopes)
	}
}

func TestAFreshTokenIsNotTheStoredOne(t *testing.T) {
	e := entratest.New(t)
	c := daemon(e)
	old := mustToken(t, c, fob.Request{Scopes: graphDefault})
	fresh := mustToken(t, c, fob.Request{Scopes: graphDefault, Fresh: true})
	if fresh.Access.Equal(old.Access) {
		t.Error("the stored token came back")
	}
	if after := mustToken(t, c, fob.Request{Scopes: graphDefault}); !after.Access.Equal(fresh.Access) {
		t.Error("the fresh token was not kept")
	}
}

func TestMoreLifeThanThereIsIsAnErrorNotAShorterToken(t *testing.T) {
	e := entratest.New(t)
	c := daemon(e)
	old := mustToken(t, c, fob.Request{Scopes: graphDefault})
	if same := mustToken(t, c, fob.Request{Scopes: graphDefault, MinValid: 30 * time.Minute}); !same.Access.Equal(old.Access) {
		t.Error("a token with life enough was replaced")
	}
	_, err := c.Token(t.Context(), fob.Request{Scopes: graphDefault, MinValid: 30 * time.Hour})
	if err == nil || !strings.Contains(err.Error(), "30h0m0s") {
		t.Errorf("got %v", err)
	}
}

func TestAClaimsChallengeBypassesTheStore(t *testing.T) {
	e := entratest.New(t)
	c := daemon(e)
	c.Capabilities = []string{"cp1"}
	old := mustToken(t, c, fob.Request{Scopes: graphDefault})
	challenged := mustToken(t, c, fob.Request{Scopes: graphDefault, Claims: `{"access_token":{"nbf":{"essential":true,"value":"1790000000"}}}`})
	if challenged.Access.Equal(old.Access) {
		t.Error("the stored token answered a challenge")
	}
	if got := fmt.Sprint(claims(t, challenged)["xms_cc"]); !strings.EqualFold(got, "[cp1]") {
		t.Errorf("xms_cc is %s", got)
	}
	if after := mustToken(t, c, fob.Request{Scopes: graphDefault}); !after.Access.Equal(challenged.Access) {
		t.Error("the token that answered the challenge was not kept")
	}
}

func TestAStoreThatFailsCostsAWarningAndNotTheToken(t *testing.T) {
	e := entratest.New(t)
	var warned []error
	c := daemon(e)
	c.Store, c.Warn = brokenStore{}, func(err error) { warned = append(warned, err) }
	mustToken(t, c, fob.Request{Scopes: graphDefault})
	if text := fmt.Sprint(warned); !strings.Contains(text, "disk full") || !strings.Contains(text, "not kept") {
		t.Errorf("warned of %v", warned)
	}
}

type brokenStore struct{}

var errDisk = errors.New("disk full")

func (brokenStore) Get(context.Context, string) ([]byte, error)  { return nil, errDisk }
func (brokenStore) Put(context.Context, string, []byte) error    { return errDisk }
func (brokenStore) Delete(context.Context, string) error         { return errDisk }
func (brokenStore) Lock(context.Context, string) (func(), error) { return nil, errDisk }

func TestWithoutAnyoneSignedInAPersonIsAskedFor(t *testing.T) {
	e := entratest.New(t)
	c := user(e)
	c.Flow = nil
	for _, account := range []string{"", "ada@fob.example"} {
		if _, err := c.Token(t.Context(), fob.Request{Scopes: graphDefault, Account: account}); !errors.Is(err, fob.ErrInteraction) {
			t.Errorf("account %q: %v", account, err)
		}
	}
	if n := len(e.Requests()); n != 0 {
		t.Errorf("%d requests were made to find out", n)
	}
}

// signIn signs upn in at the client by the browser flow.
func signIn(t *testing.T, e *entratest.Emulator, c *fob.Client, upn string) *fob.Token {
	t.Helper()
	c.Flow = fob.AuthorizationCode{Open: func(ctx context.Context, page string) error { return e.Browse(ctx, page, upn) }}
	token, err := c.SignIn(t.Context(), fob.Request{Scopes: graphDefault})
	if err != nil {
		t.Fatal(err)
	}
	c.Flow = nil
	return token
}

func TestASignInIsRenewedSilentlyAndForOtherResources(t *testing.T) {
	e := entratest.New(t)
	var clock clock
	c := user(e)
	c.Now = clock.Now
	first := signIn(t, e, c, entratest.AdaUPN)
	if first.Account.Username != entratest.AdaUPN || first.Account.ID != entratest.AdaID+"."+entratest.TenantID || first.Refresh.IsZero() || first.ID.IsZero() {
		t.Errorf("got %+v", first)
	}
	clock.Advance(2 * time.Hour)
	e.Advance(2 * time.Hour)
	renewed := mustToken(t, c, fob.Request{Scopes: graphDefault})
	if renewed.Origin != fob.OriginRefresh || renewed.Access.Equal(first.Access) || !renewed.Refresh.IsZero() {
		t.Errorf("got %+v", renewed)
	}
	api := mustToken(t, c, fob.Request{Scopes: []string{"api://fob-api/access_as_user"}})
	if claims(t, api)["scp"] != "access_as_user" {
		t.Errorf("claims %v", claims(t, api))
	}
}

func TestARevokedSignInAsksForAPerson(t *testing.T) {
	e := entratest.New(t)
	c := user(e)
	signIn(t, e, c, entratest.AdaUPN)
	if err := e.Revoke(entratest.AdaUPN); err != nil {
		t.Fatal(err)
	}
	_, err := c.Token(t.Context(), fob.Request{Scopes: graphDefault, Fresh: true})
	var refusal *fob.Error
	if !errors.Is(err, fob.ErrInteraction) || !errors.As(err, &refusal) || refusal.AADSTS() != 50173 {
		t.Errorf("got %v", err)
	}
}

func TestSeveralAccountsMustBeNamed(t *testing.T) {
	e := entratest.New(t)
	c := user(e)
	signIn(t, e, c, entratest.AdaUPN)
	signIn(t, e, c, entratest.BenUPN)
	if _, err := c.Token(t.Context(), fob.Request{Scopes: graphDefault}); err == nil || !strings.Contains(err.Error(), entratest.AdaUPN) || !strings.Contains(err.Error(), entratest.BenUPN) {
		t.Errorf("got %v", err)
	}
	for _, name := range []string{entratest.BenUPN, strings.ToUpper(entratest.BenUPN), entratest.BenID + "." + entratest.TenantID} {
		if token := mustToken(t, c, fob.Request{Scopes: graphDefault, Account: name}); token.Account.Username != entratest.BenUPN {
			t.Errorf("%s: %s", name, token.Account.Username)
		}
	}
	if _, err := c.SignOut(t.Context(), entratest.BenUPN); err != nil {
		t.Fatal(err)
	}
	if token := mustToken(t, c, fob.Request{Scopes: graphDefault}); token.Account.Username != entratest.AdaUPN {
		t.Errorf("after Ben left: %s", token.Account.Username)
	}
	if _, err := c.Token(t.Context(), fob.Request{Scopes: graphDefault, Account: entratest.BenUPN}); !errors.Is(err, fob.ErrInteraction) {
		t.Errorf("Ben after he left: %v", err)
	}
	if accounts, err := c.Accounts(t.Context()); err != nil || len(accounts) != 1 {
		t.Errorf("%v, %v", accounts, err)
	}
}

func TestASignInByDeviceCode(t *testing.T) {
	e := entratest.New(t, quick)
	token := mustToken(t, user(e), fob.Request{Scopes: graphDefault})
	if token.Account.Username != entratest.AdaUPN || !strings.Contains(fmt.Sprint(claims(t, token)["scp"]), "User.Read") {
		t.Errorf("%+v", token)
	}
}

func TestADeclinedDeviceCodeEndsTheWait(t *testing.T) {
	e := entratest.New(t, quick)
	c := user(e)
	c.Flow = fob.DeviceCode{Prompt: func(_ context.Context, p fob.DeviceCodePrompt) error { return e.Deny(p.UserCode) }}
	_, err := c.Token(t.Context(), fob.Request{Scopes: graphDefault})
	var refusal *fob.Error
	if !errors.As(err, &refusal) || refusal.Code != "authorization_declined" {
		t.Errorf("got %v", err)
	}
}

func TestPollingSurvivesServerErrorsAndLostConnections(t *testing.T) {
	e := entratest.New(t, quick)
	c := user(e)
	c.Flow = fob.DeviceCode{Prompt: func(_ context.Context, p fob.DeviceCodePrompt) error {
		if err := e.Fail(1, entratest.Fault{Status: 503, Path: "token"}); err != nil {
			return err
		}
		if err := e.Fail(1, entratest.Fault{Drop: true, Path: "token"}); err != nil {
			return err
		}
		return e.Approve(p.UserCode, entratest.AdaUPN)
	}}
	mustToken(t, c, fob.Request{Scopes: graphDefault})
}

func TestADeviceCodeNeedsPublicClientFlows(t *testing.T) {
	e := entratest.New(t, quick)
	c := user(e)
	c.ID = entratest.WebClientID
	_, err := c.Token(t.Context(), fob.Request{Scopes: graphDefault})
	var refusal *fob.Error
	if !errors.As(err, &refusal) || refusal.AADSTS() != 7000218 {
		t.Errorf("got %v", err)
	}
}

func TestARefreshTokenFromOutsideIsUsedAndKeptBySignIn(t *testing.T) {
	e := entratest.New(t)
	outside := signIn(t, e, user(e), entratest.AdaUPN).Refresh
	c := user(e)
	c.Flow = fob.RefreshToken{Token: outside}
	if token := mustToken(t, c, fob.Request{Scopes: graphDefault}); token.Account.Username != entratest.AdaUPN {
		t.Errorf("%+v", token)
	}
	keeper := user(e)
	keeper.Flow = fob.RefreshToken{Token: outside}
	kept, err := keeper.SignIn(t.Context(), fob.Request{Scopes: graphDefault})
	if err != nil {
		t.Fatal(err)
	}
	if kept.Refresh.Equal(outside) {
		t.Error("the refresh token was not rotated")
	}
	keeper.Flow = nil
	if again := mustToken(t, keeper, fob.Request{Scopes: graphDefault, Fresh: true}); again.Origin != fob.OriginRefresh {
		t.Errorf("from %s", again.Origin)
	}
}

func TestARefreshTokenThatIsNoWordIsRefusedBeforeItIsSent(t *testing.T) {
	c := &fob.Client{ID: "id", HTTP: &http.Client{Transport: noNetwork{t}}}
	for _, bad := range []string{"", "two words", "line\nbreak"} {
		c.Flow = fob.RefreshToken{Token: fob.NewSecret(bad)}
		if _, err := c.Token(t.Context(), fob.Request{Scopes: graphDefault}); err == nil {
			t.Errorf("%q was sent", bad)
		}
	}
}

func TestAServiceCallsOnBehalfOfItsCaller(t *testing.T) {
	e := entratest.New(t)
	c := user(e)
	signIn(t, e, c, entratest.AdaUPN)
	incoming := mustToken(t, c, fob.Request{Scopes: []string{"api://fob-api/access_as_user"}})
	service := &fob.Client{
		Authority: c.Authority, ID: entratest.APIClientID, HTTP: e.Client(),
		Credential: fob.ClientSecret{Secret: fob.NewSecret(entratest.APISecret)},
		Flow:       fob.OnBehalfOf{Assertion: incoming.Access},
	}
	token := mustToken(t, service, fob.Request{Scopes: []string{"https://graph.microsoft.com/User.Read"}})
	if got := claims(t, token); got["upn"] != entratest.AdaUPN || got["appid"] != entratest.APIClientID {
		t.Errorf("claims %v", got)
	}
	before := tokenRequests(e)
	mustToken(t, service, fob.Request{Scopes: []string{"https://graph.microsoft.com/User.Read"}})
	if n := tokenRequests(e) - before; n != 0 {
		t.Errorf("the same caller again took %d requests", n)
	}
}

func newCertificate(t *testing.T) *fob.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(7), Subject: pkix.Name{CommonName: "daemon"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &fob.Certificate{Leaf: leaf, Key: key}
}

func TestACertificateSignsInInEveryForm(t *testing.T) {
	e := entratest.New(t)
	certificate := newCertificate(t)
	if err := e.AddCertificate(entratest.DaemonClientID, certificate.Leaf); err != nil {
		t.Fatal(err)
	}
	for _, form := range []fob.Certificate{{}, {Algorithm: "PS256"}, {Algorithm: "RS256"}, {SendChain: true}, {Algorithm: "RS256", SendChain: true}} {
		form.Leaf, form.Key = certificate.Leaf, certificate.Key
		c := daemon(e)
		c.Credential = &form
		token := mustToken(t, c, fob.Request{Scopes: graphDefault})
		if got := claims(t, token)["appidacr"]; got != "2" {
			t.Errorf("%s chain=%v: appidacr %v", form.Algorithm, form.SendChain, got)
		}
	}
	c := daemon(e)
	c.Credential = newCertificate(t)
	_, err := c.Token(t.Context(), fob.Request{Scopes: graphDefault})
	var refusal *fob.Error
	if !errors.As(err, &refusal) || refusal.AADSTS() != 700027 || errors.Is(err, fob.ErrInteraction) {
		t.Errorf("an unknown certificate: %v", err)
	}
}

func TestTheSignInPageRefusesARedirectURIThatIsNotRegistered(t *testing.T) {
	e := entratest.New(t)
	c := user(e)
	c.ID = entratest.DaemonClientID
	c.Flow = fob.AuthorizationCode{Open: func(ctx context.Context, page string) error { return e.Browse(ctx, page, entratest.AdaUPN) }}
	_, err := c.SignIn(t.Context(), fob.Request{Scopes: graphDefault})
	if err == nil || !strings.Contains(err.Error(), "AADSTS50011") {
		t.Errorf("got %v", err)
	}
}

func TestAnIDTokenIsVerifiedInFull(t *testing.T) {
	e := entratest.New(t)
	c := user(e)
	id := signIn(t, e, c, entratest.AdaUPN).ID
	got, err := c.VerifyIDToken(t.Context(), id, "")
	if err != nil || got.ObjectID != entratest.AdaID || got.Audience != entratest.CLIClientID {
		t.Fatalf("%+v, %v", got, err)
	}
	parts := strings.Split(id.Reveal(), ".")
	headed := func(header string) string {
		return base64.RawURLEncoding.EncodeToString([]byte(header)) + "." + parts[1] + "." + parts[2]
	}
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`))
	tampered := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(mustDecode(t, parts[1]), entratest.AdaUPN, entratest.BenUPN, 1)))
	for name, test := range map[string]struct{ raw, nonce, want string }{
		"wrong nonce":    {id.Reveal(), "guess", "another nonce"},
		"changed claims": {parts[0] + "." + tampered + "." + parts[2], "", "signature"},
		"no signature":   {none + "." + parts[1] + ".", "", "not signed with RS256"},
		"HMAC":           {headed(`{"alg":"HS256","kid":"k"}`), "", "not signed with RS256"},
		"PS256":          {headed(`{"alg":"PS256","kid":"k"}`), "", "not signed with RS256"},
		"two algorithms": {headed(`{"alg":"RS256","alg":"none","kid":"k"}`), "", "header cannot be read"},
		"a list":         {headed(`["RS256"]`), "", "header cannot be read"},
		"an extension":   {headed(`{"alg":"RS256","kid":"k","b64":false,"crit":["b64"]}`), "", "extensions (crit)"},
		"unknown key":    {headed(`{"alg":"RS256","kid":"k"}`), "", "does not publish"},
		"no key":         {headed(`{"alg":"RS256"}`), "", "does not publish"},
		"odd signature":  {parts[0] + "." + parts[1] + "." + "!" + parts[2], "", "signature is not base64url"},
		"half signature": {parts[0] + "." + parts[1] + "." + parts[2][:100], "", "does not verify"},
		"cut":            {parts[0] + "." + parts[1], "", "three parts"},
		"rubbish":        {"a.b.c", "", "no JWT"},
	} {
		if _, err := c.VerifyIDToken(t.Context(), fob.NewSecret(test.raw), test.nonce); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want it to say %q", name, err, test.want)
		}
	}
	other := user(e)
	other.ID = entratest.WebClientID
	if _, err := other.VerifyIDToken(t.Context(), id, ""); err == nil || !strings.Contains(err.Error(), "not for this client") {
		t.Errorf("another client: %v", err)
	}
	late := user(e)
	late.Now = func() time.Time { return time.Now().Add(3 * time.Hour) }
	if _, err := late.VerifyIDToken(t.Context(), id, ""); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("three hours later: %v", err)
	}
	if err := e.RotateKeys(); err != nil {
		t.Fatal(err)
	}
	rotated := signIn(t, e, user(e), entratest.AdaUPN).ID
	c.Now = func() time.Time { return time.Now().Add(2 * time.Minute) }
	if _, err := c.VerifyIDToken(t.Context(), rotated, ""); err != nil {
		t.Errorf("after the keys were rotated: %v", err)
	}
}

func TestUnknownKeysHaveTheKeySetFetchedOnce(t *testing.T) {
	e := entratest.New(t)
	c := user(e)
	id := signIn(t, e, user(e), entratest.AdaUPN).ID.Reveal()
	_, rest, _ := strings.Cut(id, ".")
	e.ClearRequests()
	var wg sync.WaitGroup
	for i := range 32 {
		guess := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"alg":"RS256","kid":"guess %d"}`, i)) + "." + rest
		wg.Go(func() {
			if _, err := c.VerifyIDToken(t.Context(), fob.NewSecret(guess), ""); err == nil || !strings.Contains(err.Error(), "does not publish") {
				t.Error(err)
			}
			if _, err := c.VerifyIDToken(t.Context(), fob.NewSecret(id), ""); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	fetched := 0
	for _, r := range e.Requests() {
		if strings.HasSuffix(r.Path, "/keys") {
			fetched++
		}
	}
	if fetched != 1 {
		t.Errorf("the keys were fetched %d times", fetched)
	}
}

func mustDecode(t *testing.T, part string) string {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestTheTransportAuthorizesAndAnswersAClaimsChallengeOnce(t *testing.T) {
	e := entratest.New(t)
	c := user(e)
	c.Capabilities = []string{"cp1"}
	signIn(t, e, c, entratest.AdaUPN)
	api := &http.Client{Transport: &fob.Transport{
		Source: c, Request: fob.Request{Scopes: graphDefault}, Origins: []string{e.GraphURL()}, Base: e.Client().Transport,
	}}
	get := func() int {
		resp, err := api.Get(e.GraphURL() + "/v1.0/me")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if status := get(); status != 200 {
		t.Fatalf("status %d", status)
	}
	e.ChallengeClaims(1)
	before := tokenRequests(e)
	if status := get(); status != 200 || tokenRequests(e)-before != 1 {
		t.Errorf("after one challenge: status %d, %d token requests", status, tokenRequests(e)-before)
	}
	e.ChallengeClaims(2)
	before = tokenRequests(e)
	if status := get(); status != 401 || tokenRequests(e)-before != 1 {
		t.Errorf("after a second challenge in a row: status %d, %d token requests", status, tokenRequests(e)-before)
	}
}
