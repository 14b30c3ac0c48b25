package entratest

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"time"
)

// Config says how an emulator is reached and what it knows. The zero value is
// what tests want: a free port on loopback, a certificate authority of its own
// and the default world.
type Config struct {
	// Listen is the address to listen on. Empty means "127.0.0.1:0", a free
	// port. An address that other machines can reach is refused unless
	// InsecureListenOnAnyAddress is set.
	Listen string
	// AuthorityURL, GraphURL and ARMURL are the origins by which clients reach
	// sign-in, Microsoft Graph and Azure Resource Manager, such as
	// "https://entra:8443". Empty means https://localhost with the port that is
	// listened on, for Graph and ARM the authority's. Where their hosts differ
	// the emulator tells the three apart by the Host header, otherwise by the
	// path.
	AuthorityURL, GraphURL, ARMURL string
	// Names are more host names and IP addresses for the certificate.
	Names []string
	// Impersonate are host names of Microsoft that clients have compiled in and
	// that somebody has pointed at the emulator, in a hosts file for example:
	// see [MicrosoftHosts]. The certificate covers them, and answers to requests
	// that come by such a name use that name.
	Impersonate []string
	// TLSCert and TLSKey are PEM files with a certificate chain and its key, to
	// be used in place of a certificate by the emulator's own authority.
	TLSCert, TLSKey string
	// StateDir is a directory that keeps the certificate authority, so that a
	// client which trusts it still does after a restart. Empty keeps it in
	// memory.
	StateDir string
	// WorldFile is a TOML file that extends the default world, or replaces it.
	WorldFile string
	// World is the same as WorldFile, but the text itself. Files that it names
	// are looked up in the current directory.
	World []byte
	// DeviceInterval is the time between two polls that device code answers ask
	// for, in whole seconds. Zero means 5 s.
	DeviceInterval time.Duration
	// TokenLifetime is how long access tokens and ID tokens live. Zero means
	// 3599 s, and 86399 s for the access tokens of clients that understand claims
	// challenges.
	TokenLifetime time.Duration
	// GeneratedUsers adds this many users to the first tenant. They are computed
	// when they are asked for and take no memory until they are changed, so a
	// million will do. Their names begin with every letter and digit, and their
	// password is [GeneratedPassword].
	GeneratedUsers int
	// Throttle makes Graph answer 429 to who asks too much.
	Throttle Throttle
	// StorageListen is the address for file uploads and downloads; see
	// [Emulator.StorageURL]. Empty means a free port beside Listen.
	StorageListen string
	// ControlListen is the address of the control server (plain HTTP, loopback
	// only), such as "127.0.0.1:0". Empty means that there is none.
	ControlListen string
	// InsecureListenOnAnyAddress lets Listen be an address that other machines
	// can reach. Everybody who reaches the emulator gets a token for everything
	// in its world: its passwords and secrets are public.
	InsecureListenOnAnyAddress bool
	// ErrorLog is told of connections that fail, for example because a client
	// does not trust the certificate. Nil means that nobody is.
	ErrorLog *log.Logger
}

// MicrosoftHosts returns the host names of Microsoft's public cloud that
// clients have compiled in, for Config.Impersonate.
func MicrosoftHosts() []string {
	return []string{
		"login.microsoftonline.com", "login.microsoft.com", "login.windows.net", "sts.windows.net",
		"graph.microsoft.com", "graph.windows.net", "management.azure.com", "management.core.windows.net",
	}
}

// check returns cfg with its gaps filled, or says what is wrong with it.
func (cfg Config) check() (Config, error) {
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	if err := loopback(cfg.Listen); err != nil && !cfg.InsecureListenOnAnyAddress {
		return cfg, fmt.Errorf("listening on %s: %w: use 127.0.0.1, or set InsecureListenOnAnyAddress (everybody who can reach the emulator gets every token)", cfg.Listen, err)
	}
	if cfg.StorageListen != "" {
		if err := loopback(cfg.StorageListen); err != nil && !cfg.InsecureListenOnAnyAddress {
			return cfg, fmt.Errorf("uploads and downloads on %s: %w: use 127.0.0.1, or set InsecureListenOnAnyAddress", cfg.StorageListen, err)
		}
	}
	if cfg.ErrorLog == nil {
		cfg.ErrorLog = log.New(io.Discard, "", 0)
	}
	if err := cfg.Throttle.check(); err != nil {
		return cfg, err
	}
	if cfg.GeneratedUsers < 0 {
		return cfg, fmt.Errorf("GeneratedUsers %d is less than none", cfg.GeneratedUsers)
	}
	if cfg.ControlListen != "" {
		if err := loopback(cfg.ControlListen); err != nil {
			return cfg, fmt.Errorf("control server on %s: %w: use 127.0.0.1, there is no way to allow more", cfg.ControlListen, err)
		}
	}
	for _, u := range []struct {
		name string
		url  *string
	}{{"AuthorityURL", &cfg.AuthorityURL}, {"GraphURL", &cfg.GraphURL}, {"ARMURL", &cfg.ARMURL}} {
		if *u.url == "" {
			continue
		}
		var err error
		if *u.url, err = origin(*u.url); err != nil {
			return cfg, fmt.Errorf("%s %w", u.name, err)
		}
	}
	for _, path := range []*string{&cfg.StateDir, &cfg.TLSCert} { // programs elsewhere are told of them
		if *path == "" {
			continue
		}
		var err error
		if *path, err = filepath.Abs(*path); err != nil {
			return cfg, fmt.Errorf("finding the current directory: %w", err)
		}
	}
	if (cfg.TLSCert == "") != (cfg.TLSKey == "") {
		return cfg, errors.New("TLSCert and TLSKey belong together: give both or neither")
	}
	if cfg.WorldFile != "" && cfg.World != nil {
		return cfg, errors.New("WorldFile and World say the same thing twice: give one")
	}
	switch {
	case cfg.DeviceInterval < 0, cfg.DeviceInterval%time.Second != 0:
		return cfg, fmt.Errorf("DeviceInterval %v is not in whole seconds: give time.Second or more", cfg.DeviceInterval)
	case cfg.TokenLifetime < 0, cfg.TokenLifetime%time.Second != 0:
		return cfg, fmt.Errorf("TokenLifetime %v is not in whole seconds: tokens know no others", cfg.TokenLifetime)
	}
	return cfg, nil
}

var errNotLoopback = errors.New("not a loopback address")

func loopback(address string) error {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback() {
		return nil
	}
	return errNotLoopback
}

// withoutDefaultPort writes a host as JavaScript does, whose clients compare it
// with what they were told.
func withoutDefaultPort(host string) string { return strings.TrimSuffix(host, ":443") }

// origin checks an address by which clients reach the emulator, and removes
// what does not belong to an origin.
func origin(s string) (string, error) {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return "", fmt.Errorf("is not a URL: %w", err)
	case u.Scheme != "https":
		return "", fmt.Errorf("%q does not begin with https://: clients refuse every other authority", s)
	case u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", fmt.Errorf("%q is not an origin: give https://HOST:PORT", s)
	case u.Path != "" && u.Path != "/":
		return "", fmt.Errorf("%q has a path: clients expect the tenant right after the host", s)
	case strings.Contains(strings.ToLower(u.Host), "token"):
		// MSAL for Go makes the device code URL from the token URL by replacing
		// every "token" in it.
		return "", fmt.Errorf("%q has the word token in its host, which breaks device code in MSAL for Go: use another name", s)
	}
	return "https://" + withoutDefaultPort(strings.ToLower(u.Host)), nil
}
