package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/store/filestore"
)

// storeDir is where the records are, below the cache directory.
func storeDir(s *settings) string { return filepath.Join(s.cacheDir.text, "store") }

// client builds what the settings describe: one app registration, with the
// flow that follows from what was given.
func (inv *invocation) client(ctx context.Context, s *settings) (*fob.Client, fob.Request, error) {
	c := &fob.Client{HTTP: &http.Client{Transport: inv.warned(s, inv.roundTripper(s))}, Warn: inv.warn}
	req := inv.request(s)
	switch {
	case !s.refreshToken.IsZero():
		if err := s.require("a refresh token", false); err != nil {
			return nil, req, err
		}
		c.Credential, c.Flow = s.credential, fob.RefreshToken{Token: s.refreshToken}
	case s.credential != nil:
		if err := s.require("a "+credentialName(s), true); err != nil {
			return nil, req, err
		}
		if inv.flags.account != "" {
			return nil, req, &problem{status: StatusUsage, text: "--account names a user, but " + s.credentialFrom + " makes the app sign in as itself",
				fix: "leave one of them out"}
		}
		c.Credential = s.credential
	default:
		known, err := inv.signedIn(ctx, s)
		if err != nil {
			return nil, req, err
		}
		if known != nil {
			if err := inv.adopt(s, *known); err != nil {
				return nil, req, err
			}
			req.Account = known.Account.ID
		}
		s.defaultsOfEmulator()
		if inv.flags.deviceCode && !inv.flags.silent {
			if s.clientID.text == "" {
				return nil, req, noClientID()
			}
			c.Flow = fob.DeviceCode{Prompt: inv.devicePrompt(devicePromptOptions{})}
		} else if known == nil {
			return nil, req, inv.nobody(s)
		}
	}
	account := req.Account
	req = inv.request(s) // once more: the account may have brought its cloud
	req.Account = account
	c.ID, c.Authority = s.clientID.text, s.authority
	if err := s.authority.Check(); err != nil {
		return nil, req, &problem{status: StatusUsage, err: err}
	}
	var err error
	c.Store, err = inv.store(s)
	inv.tellSettings(s)
	return c, req, err
}

// require says what is missing for a flow that uses the credential what.
func (s *settings) require(what string, ownTenant bool) error {
	s.defaultsOfEmulator()
	var missing []string
	if s.clientID.text == "" {
		missing = append(missing, "--client-id (or AZURE_CLIENT_ID)")
	}
	if ownTenant && (s.tenant.text == "" || s.tenant.text == "organizations" || s.tenant.text == "common" || s.tenant.text == "consumers") {
		want := "--tenant (or AZURE_TENANT_ID) with the app's own tenant"
		if s.tenant.text != "" {
			want += ", which " + s.tenant.text + " is not"
		}
		missing = append(missing, want)
	}
	if len(missing) == 0 {
		return nil
	}
	return &problem{status: StatusUsage, text: what + " is given, but not " + strings.Join(missing, " and "),
		fix: "copy both from the app registration's overview page: Application (client) ID and Directory (tenant) ID"}
}

// defaultsOfEmulator fills in the world of the emulator.
func (s *settings) defaultsOfEmulator() {
	if s.emulator == nil {
		return
	}
	if s.tenant.text == "" {
		s.tenant = value{s.emulator.TenantID, "the emulator's world"}
	}
	if s.clientID.text == "" {
		s.clientID = value{s.emulator.PublicClientID, "the emulator's world"}
		if s.credential != nil {
			s.clientID.text = s.emulator.DaemonClientID
		}
	}
	s.authority = s.authority.WithTenant(s.tenant.text)
}

// adopt takes over what a stored sign-in says.
func (inv *invocation) adopt(s *settings, known fob.RecordInfo) error {
	const from = "the signed-in account"
	if s.clientID.text == "" {
		s.clientID = value{known.ClientID, from}
	}
	if s.tenant.text == "" {
		s.tenant = value{known.Account.Tenant, from}
	}
	s.authority = s.authority.WithTenant(s.tenant.text)
	if s.authorityFrom != "default" || sameOrigin(s.authority.Host, known.Authority) {
		return nil
	}
	s.authority.Host, s.authorityFrom = known.Authority, from
	running, err := inv.findEmulator(s.cacheDir.text, known.Authority)
	if _, none := errors.AsType[*problem](err); err != nil && !none {
		return err // or its user would be taken for one of the cloud's
	}
	if err == nil {
		s.emulator = running
		s.graph = value{running.Graph, from}
		if s.caFile.text == "" {
			s.caFile = value{running.CAFile, from}
		}
		return nil
	}
	s.cloud = cloudOf(known.Authority)
	if s.graph.from != "--graph-host" {
		s.graph, s.graphAudience = value{s.cloud.Graph, from}, s.cloud.Graph
	}
	s.scopes = nil // the short names and the default mean that cloud's
	return inv.resolveScopes(s)
}

// request is the part of the settings that says which token.
func (inv *invocation) request(s *settings) fob.Request {
	return fob.Request{
		Scopes: s.scopes, Account: inv.flags.account, Claims: s.claims,
		Fresh: inv.flags.forceRefresh, MinValid: inv.flags.minValid,
	}
}

// signedIn finds the account to use among those in the store: the only one
// that fits what was given. It is nil if there is none.
func (inv *invocation) signedIn(ctx context.Context, s *settings) (*fob.RecordInfo, error) {
	if inv.flags.noCache {
		return nil, nil
	}
	all, damaged, err := inv.storedAccounts(ctx, s)
	if err != nil {
		return nil, err
	}
	inv.warnOf(damaged)
	var found []fob.RecordInfo
	for _, a := range all {
		if inv.fits(a, s) {
			found = append(found, a)
		}
	}
	// The tenant chooses among several; a single account may be a guest there.
	if local := slices.DeleteFunc(slices.Clone(found), func(a fob.RecordInfo) bool { return !atHome(a, s) }); len(local) > 0 {
		found = local
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return &found[0], nil
	}
	names := make([]string, len(found))
	sameName := false
	for i, a := range found {
		names[i] = or(a.Account.Username, a.Account.ID)
		sameName = sameName || i > 0 && names[i] == names[0]
	}
	p := &problem{status: StatusUsage, text: fmt.Sprintf("%d accounts are signed in: %s", len(found), strings.Join(names, ", ")),
		fix: "name the one to use with --account", try: inv.command + " --account " + inv.quote(names[0])}
	if sameName {
		p.fix = "tell them apart with --tenant, --client-id or --account ID (fob accounts -o json shows the ids)"
		p.try = inv.command + " --account " + inv.quote(names[0]) + " --client-id " + found[0].ClientID
	}
	return nil, p
}

// fits reports whether a stored account is one that the settings mean.
func (inv *invocation) fits(a fob.RecordInfo, s *settings) bool {
	name := inv.flags.account
	switch {
	case name != "" && !strings.EqualFold(name, a.Account.Username) && !strings.EqualFold(name, a.Account.ID):
		return false
	case s.clientID.text != "" && !strings.EqualFold(s.clientID.text, a.ClientID):
		return false
	case s.authorityFrom != "default" && !sameOrigin(withScheme(s.authority.Host), a.Authority):
		return false
	}
	return true
}

// atHome reports whether the tenant that was asked for is one that the account
// signed in to, or its own. A domain may be any tenant's.
func atHome(a fob.RecordInfo, s *settings) bool {
	_, home, _ := strings.Cut(a.Account.ID, ".")
	return !isGUID(s.tenant.text) || strings.EqualFold(s.tenant.text, a.Account.Tenant) || strings.EqualFold(s.tenant.text, home)
}

func withScheme(host string) string {
	if strings.Contains(host, "://") {
		return strings.TrimRight(host, "/")
	}
	return "https://" + strings.TrimRight(host, "/")
}

// storedAccounts lists the sign-ins of all clients, and those that cannot be
// read. A store that does not exist is not made by looking.
func (inv *invocation) storedAccounts(ctx context.Context, s *settings) (all []fob.RecordInfo, damaged []error, err error) {
	if err := s.hasPlace(); err != nil {
		return nil, nil, err
	}
	if _, err := os.Lstat(storeDir(s)); errors.Is(err, fs.ErrNotExist) {
		return nil, nil, nil
	}
	store, err := inv.openStore(s)
	if err != nil {
		return nil, nil, err
	}
	for key, err := range store.List(ctx) {
		if err != nil {
			return nil, nil, err
		}
		if !strings.HasPrefix(key, "account-") {
			continue
		}
		record, err := store.Get(ctx, key)
		switch {
		case errors.Is(err, filestore.ErrDamaged):
			damaged = append(damaged, err)
			continue
		case errors.Is(err, fob.ErrNotStored):
			continue // deleted since it was listed
		case err != nil:
			return nil, nil, err
		}
		info, err := fob.DescribeRecord(key, record)
		if err != nil {
			damaged = append(damaged, err)
			continue
		}
		all = append(all, info)
	}
	return all, damaged, nil
}

func (inv *invocation) warnOf(all []error) {
	for _, err := range all {
		inv.warn(err)
	}
}

// store opens the store of the settings. Who brings a credential gets a token
// also where nothing can be kept.
func (inv *invocation) store(s *settings) (fob.Store, error) {
	// A refresh token from outside is exchanged and forgotten: to keep it is
	// what "fob login" is for.
	if inv.flags.noCache || !s.refreshToken.IsZero() {
		return fob.MemoryStore(), nil
	}
	store, err := inv.openStore(s)
	switch {
	case err == nil:
		return store, nil
	case s.credential != nil:
		inv.warn(fmt.Errorf("going on without keeping tokens: %w", errors.Unwrap(err)))
		return fob.MemoryStore(), nil
	}
	return nil, err
}

// openStore opens the store, once for a command: it is closed with it.
func (inv *invocation) openStore(s *settings) (*filestore.Store, error) {
	if inv.opened != nil {
		return inv.opened, nil
	}
	if err := s.hasPlace(); err != nil {
		return nil, err
	}
	store, err := filestore.Open(storeDir(s))
	if err != nil {
		p := &problem{err: err, text: "opening the token store", fix: adviseSystem(err)}
		// What the store itself refuses, it says what to do about.
		_, system := errors.AsType[syscall.Errno](err)
		switch {
		case p.fix != "" || !system:
		case errors.Is(err, fs.ErrPermission):
			p.fix = "make it readable for you again, forget what is in it with fob cache clear, or name another directory with --cache-dir or FOB_CACHE_DIR"
		default:
			p.fix = "name another directory with --cache-dir or FOB_CACHE_DIR"
		}
		return nil, p
	}
	inv.opened = store
	return store, nil
}

// nobody says that no flow follows from what was given.
func (inv *invocation) nobody(s *settings) error {
	p := &problem{err: fob.ErrInteraction, text: "nobody is signed in", try: inv.loginLine()}
	switch {
	case inv.flags.account != "":
		p.text = inv.flags.account + " is not signed in"
	case inv.flags.noCache:
		p.text = "with --no-cache no stored sign-in is used"
		p.fix = "give a credential: --client-secret-file, --certificate, --federated-token-file or --refresh-token-file"
		return p
	case s.clientID.text != "" && s.clientID.from != "the emulator's world":
		p.text = "nobody is signed in to client " + oneLine(s.clientID.text)
	}
	p.fix = "sign in, or make the app sign in as itself with --client-secret-file, --certificate or --federated-token-file"
	return p
}

func noClientID() error {
	return &problem{status: StatusUsage, text: "signing in needs the id of an app registration of your own: --client-id (or AZURE_CLIENT_ID)",
		cause: "fob has no app registration that works in every tenant; ids of Microsoft's own tools, such as Azure CLI's 04b07795-8ddb-461a-bbee-02f9e1bf7b46, get tokens only for the APIs that pre-authorised them",
		fix:   "register an app (Entra admin center, App registrations, New registration), allow public client flows, and add the redirect URI http://localhost under Mobile and desktop applications",
		try:   "fob emulator   # and in another terminal: fob login --emulator"}
}

// loginLine is the "fob login" that fits what was given.
func (inv *invocation) loginLine() string {
	line := []string{"fob", "login"}
	s := inv.settings
	if s == nil {
		return strings.Join(line, " ")
	}
	add := func(flag string, v value, placeholder string) {
		switch {
		case v.text != "" && v.from != "the emulator's world":
			line = append(line, flag, inv.quote(v.text))
		case s.emulator == nil:
			line = append(line, flag, placeholder)
		}
	}
	if s.emulator != nil {
		line = append(line, "--emulator")
	}
	add("--tenant", s.tenant, "TENANT")
	add("--client-id", s.clientID, "CLIENT_ID")
	line = append(line, inv.placeWords(s)...)
	if s.scopesFrom != "default" {
		for _, scope := range s.scopes {
			line = append(line, "--scope", inv.quote(scope))
		}
	}
	return strings.Join(line, " ")
}

// placeWords are the flags that say where, as they were given.
func (inv *invocation) placeWords(s *settings) []string {
	var words []string
	switch s.authorityFrom {
	case "--cloud":
		words = append(words, "--cloud", s.cloud.Name)
	case "--authority-host":
		words = append(words, "--authority-host", inv.quote(s.authority.Host))
	}
	if s.caFile.from == "--ca-file" {
		words = append(words, "--ca-file", inv.quote(s.caFile.text))
	}
	return words
}

// line is the running command with the values of s that were given as flags,
// and with more appended.
func (inv *invocation) line(s *settings, more ...string) string {
	words := strings.Fields(inv.command)
	if s.emulator != nil && s.authorityFrom == "--emulator" {
		words = append(words, "--emulator")
	}
	for _, given := range []struct {
		flag string
		v    value
	}{{"--tenant", s.tenant}, {"--client-id", s.clientID}} {
		if given.v.from == given.flag {
			words = append(words, given.flag, inv.quote(given.v.text))
		}
	}
	words = append(words, inv.placeWords(s)...)
	if len(more) == 0 {
		if s.secretFile != "" {
			words = append(words, "--client-secret-file", inv.quote(s.secretFile))
		}
		if inv.flags.certificate != "" {
			words = append(words, "--certificate", inv.quote(inv.flags.certificate))
		}
		if inv.flags.federatedTokenFile != "" {
			words = append(words, "--federated-token-file", inv.quote(inv.flags.federatedTokenFile))
		}
	}
	if s.scopesFrom != "default" {
		for _, scope := range s.scopes {
			words = append(words, "--scope", inv.quote(scope))
		}
	}
	return strings.Join(append(words, more...), " ")
}

// withTimeout bounds a command that waits for no person.
func (inv *invocation) withTimeout(ctx context.Context) (context.Context, context.CancelFunc, error) {
	if inv.flags.timeout <= 0 {
		return nil, nil, &problem{status: StatusUsage, text: "--timeout must be more than 0"}
	}
	ctx, cancel := context.WithTimeout(ctx, inv.flags.timeout)
	return ctx, cancel, nil
}

// roundTripper sends requests, trusting --ca-file or the emulator as well. It
// is built at the first request: a stored token needs none.
func (inv *invocation) roundTripper(s *settings) http.RoundTripper {
	return &lazyTransport{build: sync.OnceValues(func() (http.RoundTripper, error) {
		inv.watch()
		t, err := inv.transport(s)
		if err != nil {
			return nil, err
		}
		return inv.traced(t), nil
	})}
}

// transport makes connections, trusting --ca-file or the emulator as well.
func (inv *invocation) transport(s *settings) (*http.Transport, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxResponseHeaderBytes = 64 << 10
	t.ResponseHeaderTimeout = 30 * time.Second
	t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	t.OnProxyConnectResponse = proxyAnswered
	if s.caFile.text == "" {
		return t, nil
	}
	data, err := readBounded(s.caFile.text, maxCertificateFile)
	if err != nil {
		return nil, &problem{status: StatusUsage, text: "reading the certificate authorities of " + s.caFile.from, err: err}
	}
	pool := x509.NewCertPool()
	if s.emulator == nil || s.caFile.text != s.emulator.CAFile {
		if system, err := x509.SystemCertPool(); err == nil {
			pool = system
		}
	}
	if !pool.AppendCertsFromPEM(data) {
		return nil, &problem{status: StatusUsage, text: "there is no PEM certificate in " + s.caFile.text}
	}
	t.TLSClientConfig.RootCAs = pool
	return t, nil
}

type lazyTransport struct {
	build func() (http.RoundTripper, error)
}

func (l *lazyTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	t, err := l.build()
	if err != nil {
		if r.Body != nil {
			r.Body.Close()
		}
		return nil, err
	}
	return t.RoundTrip(r)
}
