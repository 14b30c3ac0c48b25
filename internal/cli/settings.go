package cli

import (
	"encoding/base64"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/pflag"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/internal/origin"
)

// flags are the values of the flags of the command that runs.
type flags struct {
	tenant, clientID, resource, account          string
	scopes                                       []string
	secretFile, certificate, certificatePassword string
	certificateThumbprint, assertionAlgorithm    string
	sendChain                                    bool
	federatedTokenFile, refreshTokenFile         string
	deviceCode                                   bool
	cloud, authorityHost, graphHost              string
	emulator                                     bool
	claims                                       string
	forceRefresh                                 bool
	minValid                                     time.Duration
	silent, noCache                              bool
	cacheDir                                     string
	timeout                                      time.Duration
	output, shell                                string
	verbose                                      bool
	trace                                        string
	caFile                                       string

	set func(name string) bool // whether a flag was given
}

// A flag group is a part of the flags that mean the same on every command.
type flagGroup int

const (
	whoFlags        flagGroup = 1 << iota // tenant, client, account
	whereFlags                            // cloud, hosts, emulator, network
	storeFlags                            // where tokens are kept
	credentialFlags                       // what proves who the client is
	signInFlags                           // how a person signs in
	scopeFlags                            // what the token is for
	freshFlags                            // how old it may be, and whether to ask
	tokenFlags      = whoFlags | whereFlags | storeFlags | credentialFlags | signInFlags | scopeFlags | freshFlags
	loginFlags      = whoFlags | whereFlags | storeFlags | signInFlags | scopeFlags
)

func (inv *invocation) sharedFlags(fs *pflag.FlagSet, groups flagGroup) {
	f := &inv.flags
	own := map[string]bool{}
	fs.VisitAll(func(flag *pflag.Flag) { own[flag.Name] = true })
	if groups&whoFlags != 0 {
		fs.StringVarP(&f.tenant, "tenant", "t", "", "tenant `id` or domain (AZURE_TENANT_ID)")
		fs.StringVarP(&f.clientID, "client-id", "c", "", "application (client) `id` (AZURE_CLIENT_ID)")
		fs.StringVarP(&f.account, "account", "a", "", "which signed-in `user`, by user name or account id")
	}
	if groups&scopeFlags != 0 {
		fs.StringArrayVarP(&f.scopes, "scope", "s", nil, "`scope` wanted; repeat, or separate by spaces (default: Graph's .default)")
		fs.StringVarP(&f.resource, "resource", "r", "", "`resource` wanted, adds /.default: a URL, an id or graph, arm, vault, storage, sql, devops …")
		fs.StringVar(&f.claims, "claims", "", "a claims challenge to satisfy: `JSON`, base64 as in the header, or @FILE")
	}
	if groups&freshFlags != 0 {
		fs.BoolVar(&f.forceRefresh, "force-refresh", false, "a stored token won't do")
		fs.DurationVar(&f.minValid, "min-valid", 0, "at least this much `life` left")
		fs.BoolVar(&f.silent, "silent", false, "never ask a person; status 3 instead")
	}
	if groups&credentialFlags != 0 {
		fs.StringVar(&f.secretFile, "client-secret-file", "", "`file` with the client secret; - is stdin")
		fs.StringVar(&f.certificate, "certificate", "", "`file` with certificate and private key, PEM or PFX")
		fs.StringVar(&f.certificatePassword, "certificate-password-file", "", "`file` with the PFX file's password")
		fs.StringVar(&f.certificateThumbprint, "certificate-thumbprint", "", "refuse the certificate file unless it has this `thumbprint`")
		fs.Var(&choice{&f.assertionAlgorithm, []string{"PS256", "RS256"}, true}, "assertion-algorithm", "`algorithm` of the assertion: PS256 (default), or RS256 for old scripts and AD FS")
		fs.BoolVar(&f.sendChain, "send-certificate-chain", false, "send x5c, for subject name and issuer authentication")
		fs.StringVar(&f.federatedTokenFile, "federated-token-file", "", "`file` with another provider's token, read at each exchange; - is stdin")
	}
	if groups&signInFlags != 0 {
		fs.StringVar(&f.refreshTokenFile, "refresh-token-file", "", "`file` with a refresh token; - is stdin")
		fs.BoolVar(&f.deviceCode, "device-code", false, "sign in on another screen, with a code")
	}
	if groups&whereFlags != 0 {
		fs.Var(&choice{&f.cloud, []string{fob.Public.Name, fob.USGovernment.Name, fob.China.Name}, true}, "cloud", "`name` of the cloud: public, usgov or china")
		fs.StringVar(&f.authorityHost, "authority-host", "", "`URL` to sign in at (AZURE_AUTHORITY_HOST)")
		fs.StringVar(&f.graphHost, "graph-host", "", "`URL` of Microsoft Graph")
		fs.BoolVar(&f.emulator, "emulator", false, "talk to the local emulator (FOB_EMULATOR)")
		fs.StringVar(&f.caFile, "ca-file", "", "`file` with certificate authorities to trust as well, PEM")
		fs.StringVar(&f.trace, "trace", "", "show what goes over the wire, without secrets; in a `file` that ends in .html, .md, .har or .txt")
		fs.Lookup("trace").NoOptDefVal = toStderr
		fs.DurationVar(&f.timeout, "timeout", time.Minute, "give up after this `time`; a sign-in may take as long as its code lives")
	}
	if groups&storeFlags != 0 {
		if groups&freshFlags != 0 {
			fs.BoolVar(&f.noCache, "no-cache", false, "neither read nor keep tokens")
		}
		fs.StringVar(&f.cacheDir, "cache-dir", "", "`directory` where tokens are kept (FOB_CACHE_DIR)")
	}
	fs.BoolVarP(&f.verbose, "verbose", "v", false, "say where each value comes from")
	mark := map[string][]string{sharedFlag: {}}
	fs.VisitAll(func(flag *pflag.Flag) {
		if !own[flag.Name] {
			flag.Annotations = mark
		}
	})
}

// outputFlag adds --output/-o with the forms that the command has; the first
// is the default.
func (inv *invocation) outputFlag(fs *pflag.FlagSet, forms ...string) {
	inv.flags.output = forms[0]
	fs.VarP(&choice{value: &inv.flags.output, among: forms}, "output", "o", strings.Join(forms, ", "))
}

// choice is a flag with a few possible values, in any case. Shells complete
// them.
type choice struct {
	value *string
	among []string
	empty bool // whether nothing will do, too, as if the flag were left out
}

func (c *choice) String() string {
	if c.value == nil {
		return ""
	}
	return *c.value
}

func (c *choice) Type() string {
	if len(c.among) == 0 {
		return ""
	}
	return "form"
}

func (c *choice) Set(s string) error {
	i := slices.IndexFunc(c.among, func(known string) bool { return strings.EqualFold(known, s) })
	switch {
	case i >= 0:
		*c.value = c.among[i]
	case s == "" && c.empty:
		*c.value = ""
	default:
		return &problem{status: StatusUsage, text: "one of " + strings.Join(c.among, ", ")}
	}
	return nil
}

// value is a setting and where it comes from.
type value struct{ text, from string }

// first returns the first value that is set.
func first(values ...value) value {
	for _, v := range values {
		if v.text != "" {
			return v
		}
	}
	return value{}
}

// settings are what a command runs with, after flags, environment, the store
// and defaults were asked, in this order.
type settings struct {
	tenant, clientID value
	authority        fob.Authority
	authorityFrom    string
	cloud            fob.Cloud
	graph            value  // origin of Microsoft Graph
	graphAudience    string // what tokens for it are asked for
	emulator         *Announcement
	caFile           value
	cacheDir         value
	scopes           []string
	scopesFrom       string
	claims           string

	credential     fob.Credential // nil: none was given
	credentialFrom string
	secretFile     string     // of the client secret, if it came from one
	refreshToken   fob.Secret // a refresh token that was given
	refreshFrom    string
	usedStdin      string // which flag reads stdin
}

// resolve finds every value that the command needs. groups are the flags that
// the command has.
func (inv *invocation) resolve(groups flagGroup) (*settings, error) {
	s := &settings{}
	inv.settings = s
	if inv.flags.minValid < 0 {
		return s, &problem{status: StatusUsage, text: "--min-valid is less than nothing", fix: "give a span like 10m"}
	}
	if err := inv.resolveCacheDir(s); err != nil {
		return s, err
	}
	if err := inv.resolvePlace(s); err != nil {
		return s, err
	}
	f := &inv.flags
	s.tenant = first(value{trimID(f.tenant), "--tenant"}, inv.variable(s, "AZURE_TENANT_ID"), inv.variable(s, "ARM_TENANT_ID"))
	s.clientID = first(value{trimID(f.clientID), "--client-id"}, inv.variable(s, "AZURE_CLIENT_ID"), inv.variable(s, "ARM_CLIENT_ID"))
	if groups&scopeFlags != 0 {
		if err := inv.resolveScopes(s); err != nil {
			return s, err
		}
	}
	if groups&(credentialFlags|signInFlags) != 0 {
		if err := inv.resolveCredential(s, groups); err != nil {
			return s, err
		}
	}
	s.authority = s.authority.WithTenant(s.tenant.text)
	if err := s.authority.Check(); err != nil {
		return s, &problem{status: StatusUsage, err: err}
	}
	return s, nil
}

// variable returns a variable of the environment that says who signs in. Such
// variables are about another cloud when the emulator was asked for by a flag,
// unless they are from the emulator itself.
func (inv *invocation) variable(s *settings, name string) value {
	text := inv.getenv(name)
	if text == "" {
		return value{}
	}
	if s.emulator != nil && inv.flags.emulator && inv.getenv("FOB_EMULATOR") == "" && !sameOrigin(inv.getenv("AZURE_AUTHORITY_HOST"), s.emulator.URL) {
		inv.tell("%s is not used with --emulator", name)
		return value{}
	}
	if strings.HasSuffix(name, "_ID") {
		text = trimID(text)
	}
	return value{text, name}
}

// trimID takes from an id what was copied along, and the line end that a file
// from Windows leaves in a variable.
func trimID(id string) string { return strings.Trim(id, " \t\r\n\u00a0\ufeff") }

func (inv *invocation) resolveCacheDir(s *settings) error {
	s.cacheDir = first(value{inv.flags.cacheDir, "--cache-dir"}, value{inv.getenv("FOB_CACHE_DIR"), "FOB_CACHE_DIR"})
	if s.cacheDir.text == "" {
		// Without a home there is no place; who needs one says so.
		if dir, err := os.UserCacheDir(); err == nil {
			s.cacheDir = value{filepath.Join(dir, "fob"), "default"}
		}
	}
	return nil
}

// resolvePlace finds cloud, authority, Graph and emulator.
func (inv *invocation) resolvePlace(s *settings) error {
	f := &inv.flags
	var named []string
	for _, name := range []string{"emulator", "cloud", "authority-host"} {
		if f.set(name) && !(name == "emulator" && !f.emulator) {
			named = append(named, "--"+name)
		}
	}
	if len(named) > 1 {
		return &problem{status: StatusUsage, text: strings.Join(named, " and ") + " contradict each other", fix: "give one of them"}
	}
	s.cloud = fob.Public
	var err error
	environment := inv.getenv("AZURE_AUTHORITY_HOST")
	wantsEmulator := inv.getenv("FOB_EMULATOR")
	switch {
	case f.cloud != "":
		if s.cloud, err = fob.CloudNamed(f.cloud); err != nil {
			return &problem{status: StatusUsage, err: err}
		}
		s.authority.Host, s.authorityFrom = s.cloud.AuthorityHost, "--cloud"
	case f.authorityHost != "":
		s.authority.Host, s.authorityFrom = f.authorityHost, "--authority-host"
	case f.emulator || truthy(wantsEmulator):
		s.authorityFrom = "--emulator"
		if !f.emulator {
			s.authorityFrom = "FOB_EMULATOR"
		}
		if s.emulator, err = inv.findEmulator(s.cacheDir.text, wantsEmulator); err != nil {
			return err
		}
		s.authority.Host = s.emulator.URL
	case environment != "":
		s.authority.Host, s.authorityFrom = environment, "AZURE_AUTHORITY_HOST"
	case inv.getenv("ARM_ENVIRONMENT") != "":
		if s.cloud, err = terraformCloud(inv.getenv("ARM_ENVIRONMENT")); err != nil {
			return err
		}
		s.authority.Host, s.authorityFrom = s.cloud.AuthorityHost, "ARM_ENVIRONMENT"
	default:
		s.authority.Host, s.authorityFrom = s.cloud.AuthorityHost, "default"
	}
	if f.cloud == "" && s.emulator == nil {
		s.cloud = cloudOf(s.authority.Host)
	}
	s.graph, s.graphAudience = value{s.cloud.Graph, s.authorityFrom}, s.cloud.Graph
	if s.emulator != nil {
		s.graph.text = s.emulator.Graph
	}
	if f.graphHost != "" {
		origin, err := originFlag("--graph-host", f.graphHost)
		if err != nil {
			return err
		}
		s.graph = value{origin, "--graph-host"}
		if !isLoopbackURL(origin) {
			s.graphAudience = origin // another Graph, such as dod-graph.microsoft.us
		}
	}
	s.caFile = first(value{f.caFile, "--ca-file"})
	if s.caFile.text == "" && s.emulator != nil {
		s.caFile = value{s.emulator.CAFile, s.authorityFrom}
	}
	return nil
}

// terraformCloud knows the clouds by Terraform's names.
func terraformCloud(name string) (fob.Cloud, error) {
	switch strings.ToLower(name) {
	case "public", "usgovernment", "china":
		return fob.CloudNamed(strings.Replace(strings.ToLower(name), "usgovernment", "usgov", 1))
	}
	return fob.Cloud{}, &problem{status: StatusUsage, text: "ARM_ENVIRONMENT is " + quoted(name) + "; fob knows public, usgovernment and china",
		fix: "name the place to sign in with --authority-host"}
}

func truthy(s string) bool {
	switch strings.ToLower(s) {
	case "", "0", "false", "no", "off":
		return false
	}
	return true
}

// cloudOf finds the cloud that an authority host belongs to; unknown hosts
// count as the public cloud.
func cloudOf(host string) fob.Cloud {
	switch hostname(host) {
	case "login.microsoftonline.us":
		return fob.USGovernment
	case "login.partner.microsoftonline.cn", "login.chinacloudapi.cn":
		return fob.China
	}
	return fob.Public
}

func hostname(address string) string {
	if !strings.Contains(address, "://") {
		address = "https://" + address
	}
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Hostname())
}

func isLoopbackURL(address string) bool {
	return origin.IsLoopback(hostname(address))
}

// originFlag reads a flag that names a scheme and a host.
func originFlag(flag, s string) (string, error) {
	if !strings.Contains(s, "://") {
		s = "https://" + s
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "":
		return "", &problem{status: StatusUsage, text: flag + " wants a scheme and a host like https://graph.microsoft.com, not " + quoted(s)}
	case u.Scheme != "https" && !(u.Scheme == "http" && isLoopbackURL(s)):
		return "", &problem{status: StatusUsage, text: flag + " " + quoted(s) + " is not https; tokens are sent over https only (http is accepted on loopback)"}
	}
	return plainAddress(u), nil
}

// plainAddress is scheme, host and port, without a port that goes without saying.
func plainAddress(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if u.Scheme == "https" {
		host = strings.TrimSuffix(host, ":443")
	}
	return u.Scheme + "://" + host
}

func sameOrigin(a, b string) bool {
	ua, errA := url.Parse(a)
	ub, errB := url.Parse(b)
	return errA == nil && errB == nil && ua.Host != "" && origin.Of(ua) == origin.Of(ub)
}

// resolveScopes finds what the token is for.
func (inv *invocation) resolveScopes(s *settings) error {
	f := &inv.flags
	for _, given := range f.scopes {
		s.scopes = append(s.scopes, strings.Fields(strings.ReplaceAll(given, ",", " "))...)
	}
	s.scopesFrom = "--scope"
	if f.set("scope") && len(s.scopes) == 0 {
		return &problem{status: StatusUsage, text: "--scope is empty",
			cause: "a variable that is not set, or the empty scope of an old script; the v2 endpoint refuses a request without scope",
			fix:   "leave --scope out to get Microsoft Graph's, or name what the token is for", try: inv.command + " --scope " + s.graphAudience + "/.default"}
	}
	if f.set("resource") {
		scope, err := resourceScope(f.resource, s.cloud)
		if err != nil {
			return err
		}
		s.scopes = append(s.scopes, scope)
		s.scopesFrom = strings.TrimPrefix(s.scopesFrom+" and --resource", "--scope and ")
		if len(f.scopes) > 0 {
			s.scopesFrom = "--scope and --resource"
		}
	}
	if len(s.scopes) == 0 {
		s.scopes, s.scopesFrom = []string{s.graphAudience + "/.default"}, "default"
	}
	claims, err := inv.readClaims(f.claims)
	s.claims = claims
	return err
}

// readClaims reads a claims challenge: JSON, base64 of it in either alphabet,
// or @FILE with one of these.
func (inv *invocation) readClaims(text string) (string, error) {
	if path, ok := strings.CutPrefix(text, "@"); ok {
		data, err := readBounded(path, maxSecretFile)
		if err != nil {
			return "", &problem{status: StatusUsage, text: "reading --claims", err: err}
		}
		text = string(data)
	}
	text = strings.TrimSpace(text)
	if text == "" {
		return "", nil
	}
	if !strings.HasPrefix(text, "{") {
		decoded, err := base64.RawStdEncoding.DecodeString(strings.NewReplacer("-", "+", "_", "/", "=", "").Replace(text))
		if err != nil {
			return "", &problem{status: StatusUsage, text: "--claims is neither a JSON object nor base64 of one",
				fix: "copy the claims of the WWW-Authenticate header as they are, or put them into a file and give --claims @FILE"}
		}
		text = string(decoded)
	}
	if v := jsontext.Value(text); !v.IsValid() || v.Kind() != '{' {
		return "", &problem{status: StatusUsage, text: "--claims is not a JSON object", fix: "quote it for your shell, or put it into a file and give --claims @FILE"}
	}
	return text, nil
}

// tell prints a line of --verbose.
func (inv *invocation) tell(format string, args ...any) {
	if inv.flags.verbose {
		fmt.Fprintf(inv.Stderr, "fob: %s\n", oneLine(fmt.Sprintf(format, args...)))
	}
}

// tellSettings says where each value comes from.
func (inv *invocation) tellSettings(s *settings) {
	if !inv.flags.verbose {
		return
	}
	for _, line := range []struct {
		name string
		v    value
	}{
		{"tenant", s.tenant}, {"client id", s.clientID},
		{"authority", value{s.authority.Host, s.authorityFrom}}, {"graph", s.graph},
		{"credential", value{credentialName(s), s.credentialFrom}},
		{"scope", value{strings.Join(s.scopes, " "), s.scopesFrom}},
		{"trusts", s.caFile}, {"cache", s.cacheDir},
	} {
		if line.v.text != "" && line.v.from != "" {
			inv.tell("%s: %s (%s)", line.name, line.v.text, line.v.from)
		}
	}
}

func credentialName(s *settings) string {
	switch s.credential.(type) {
	case fob.ClientSecret:
		return "client secret"
	case *fob.Certificate:
		return "certificate"
	case fob.AssertionFile, fob.ClientAssertion:
		return "federated token"
	}
	return ""
}
