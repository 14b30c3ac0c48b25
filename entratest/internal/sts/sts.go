// Package sts is the emulator's security token service: discovery, keys, the
// token and device code endpoints and the sign-in pages of Microsoft Entra ID,
// over a [directory.World].
//
// The grants verify what Entra verifies and refuse with its AADSTS numbers,
// texts, OAuth errors, HTTP status and body shape. Where Entra and the emulator
// part: access tokens for Microsoft Graph are signed like all others (Entra
// puts a nonce into their header, which makes them unverifiable for anybody but
// Graph), lifetimes are always the same, and no request leaves the machine.
//
// A request comes in at [Server.ServeHTTP], which finds the tenant in the first
// path segment and the handler by the rest. Every refusal is a *refusal and is
// written by one function.
package sts

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// Config says what a Server serves and by which names it is reached.
type Config struct {
	// World is what there is to sign in to. Nil means [directory.Default].
	World *directory.World
	// BaseURL is the origin of the sign-in service as clients see it,
	// "https://localhost:8443", without a slash at the end. Endpoints and
	// issuers begin with it, unless a request came to one of Microsoft's own
	// host names: then they begin with that.
	BaseURL string
	// GraphURL and ARMURL are the origins of the emulated APIs, for the
	// userinfo endpoint and for scopes that are derived from a URL.
	GraphURL, ARMURL string
	// DeviceInterval is the seconds between two polls that a device code
	// answer asks for. Zero means 5.
	DeviceInterval int
	// TokenLifetime is how long access and ID tokens live. Zero means 3599 s, and
	// 86399 s for access tokens that can be revoked in between.
	TokenLifetime time.Duration
}

// Server answers for the sign-in service. Make one with [New]. Its Config may
// be completed until the first request; after that it is read-only.
type Server struct {
	Config
	keys    keyring
	state   state
	faults  faults
	guesses guesses
}

// New returns a Server for cfg.
func New(cfg Config) *Server {
	if cfg.World == nil {
		cfg.World = directory.Default()
	}
	s := &Server{Config: cfg}
	s.keys.start()
	s.state.start()
	for app, origin := range map[string]string{directory.GraphAppID: cfg.GraphURL, directory.ARMAppID: cfg.ARMURL} {
		if origin != "" {
			s.World.AddResourceOrigin(app, origin)
		}
	}
	return s
}

// A handler answers a request that came to an authority.
type handler func(*Server, http.ResponseWriter, *http.Request, authority)

// routes are the endpoints that programs call, by the path after the tenant in
// lower case. Those that people see are in pageRoutes.
var routes = sync.OnceValue(func() map[string]handler {
	return map[string]handler{
		"discovery/instance":                    (*Server).instanceDiscovery,
		".well-known/openid-configuration":      (*Server).openIDConfigurationV1,
		"v2.0/.well-known/openid-configuration": (*Server).openIDConfigurationV2,
		"discovery/keys":                        (*Server).publishKeysV1,
		"discovery/v2.0/keys":                   (*Server).publishKeysV2,
		"oauth2/token":                          (*Server).tokenV1,
		"oauth2/v2.0/token":                     (*Server).tokenV2,
		"oauth2/devicecode":                     (*Server).deviceCodeV1,
		"oauth2/v2.0/devicecode":                (*Server).deviceCodeV2,
	}
})

// ServeHTTP answers one request. It is safe for concurrent use.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.ToLower(r.URL.Path)
	if strings.HasSuffix(path, "/token") || strings.HasSuffix(path, "/devicecode") {
		if f, ok := s.faults.next(path); ok {
			s.misbehave(w, r, f)
			return
		}
	}
	if page, ok := pageRoutes()[path]; ok { // "/devicelogin" and other paths without a tenant
		page(s, w, r, authority{Base: s.base(r), Segment: "common"})
		return
	}
	segment, rest, _ := strings.Cut(strings.TrimPrefix(path, "/"), "/")
	rest = strings.TrimSuffix(rest, "/")
	answer, program := routes()[rest]
	if !program {
		page, ok := pageRoutes()[rest]
		if strings.HasPrefix(rest, "userrealm/") { // the user name is part of the path
			page, ok = pageRoutes()["userrealm"]
		}
		if !ok || segment == "" {
			notFound(w)
			return
		}
		answer = page
	}
	at, refused := s.authority(r, segment)
	switch {
	case refused == nil:
		answer(s, w, r, at)
	case program || strings.HasPrefix(rest, "userrealm"):
		s.write(w, r, refused)
	default:
		s.refusePage(w, r, refused)
	}
}

// notFound answers as Entra's front end does: with HTML. A JSON body must never
// come from here, because MSAL for Node takes the 404 with a JSON body of an
// unknown token path for a success without a token.
func notFound(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusNotFound)
	_, _ = w.Write([]byte("<!DOCTYPE html><title>404</title><h1>404 - File or directory not found.</h1>" +
		"<p>The emulator has no page here. Every path begins with a tenant: /{tenant}/oauth2/v2.0/token.</p>\n"))
}

// cloudHosts are the sign-in hosts of Microsoft's clouds: the first of each
// group is the preferred one. The emulator may be reached by any of them when
// its user maps the name to loopback.
var cloudHosts = [][]string{
	{"login.microsoftonline.com", "login.windows.net", "login.microsoft.com", "sts.windows.net"},
	{"login.partner.microsoftonline.cn", "login.chinacloudapi.cn"},
	{"login.microsoftonline.de"},
	{"login.microsoftonline.us", "login.usgovcloudapi.net"},
	{"login-us.microsoftonline.com"},
}

func microsoftHost(host string) bool {
	host = strings.ToLower(host)
	return slices.ContainsFunc(cloudHosts, func(group []string) bool { return slices.Contains(group, host) })
}

// base returns the origin that answers to r begin with.
func (s *Server) base(r *http.Request) string {
	if host, _, _ := strings.Cut(r.Host, ":"); microsoftHost(host) {
		return "https://" + strings.ToLower(r.Host)
	}
	return s.BaseURL
}

// consumerTenant is where Microsoft keeps personal accounts. The emulator has
// none, but it answers for the name.
const consumerTenant = "9188040d-6c67-4c5b-b112-36a304b66dad"

// authority is where a request was sent: an origin and a tenant segment.
type authority struct {
	Base    string            // origin, without a slash at the end
	Segment string            // the tenant segment as the client wrote it, in lower case
	Tenant  *directory.Tenant // nil at common, organizations and consumers
}

// authority finds the tenant that the first path segment means.
func (s *Server) authority(r *http.Request, segment string) (authority, *refusal) {
	at := authority{Base: s.base(r), Segment: segment}
	switch segment {
	case "common", "organizations", "consumers", consumerTenant:
		return at, nil
	case "00000000-0000-0000-0000-000000000000":
		return at, no(900021, "Requested tenant identifier '%s' is not valid. Tenant identifiers may not be an empty GUID.", segment)
	}
	var ok bool
	if at.Tenant, ok = s.World.Tenant(segment); ok {
		return at, nil
	}
	if isGUID(segment) || domainName(segment) {
		return at, no(90002, "Tenant '%s' not found. Check to make sure you have the correct tenant ID and are signing into the correct cloud. "+
			"Check with your subscription administrator, this may happen if there are no active subscriptions for the tenant.", segment)
	}
	return at, no(900023, "Specified tenant identifier '%s' is neither a valid DNS name, nor a valid external domain.", segment)
}

// name is the tenant as answers spell it: the id where there is a tenant, and
// otherwise the alias.
func (at authority) name() string {
	switch {
	case at.Tenant != nil:
		return at.Tenant.ID
	case at.Segment == "consumers":
		return consumerTenant
	}
	return at.Segment
}

// url returns an endpoint of the authority.
func (at authority) url(path string) string { return at.Base + "/" + at.name() + "/" + path }

// issuer returns the iss of tokens of a tenant. Version 1 has a host of its own
// at Microsoft; an emulator that goes by another name has only that name, and
// clients compare the issuer with it.
func (at authority) issuer(tenant string, version int) string {
	if version == 2 {
		return at.Base + "/" + tenant + "/v2.0"
	}
	if u, err := url.Parse(at.Base); err == nil && microsoftHost(u.Hostname()) {
		if strings.HasSuffix(u.Hostname(), ".cn") {
			return "https://sts.chinacloudapi.cn/" + tenant + "/"
		}
		return "https://sts.windows.net/" + tenant + "/"
	}
	return at.Base + "/" + tenant + "/"
}

func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range []byte(s) {
		switch {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case !('0' <= c && c <= '9' || 'a' <= c && c <= 'f' || 'A' <= c && c <= 'F'):
			return false
		}
	}
	return true
}

func domainName(s string) bool {
	return strings.Contains(s, ".") && !strings.HasPrefix(s, ".") && !strings.HasSuffix(s, ".") &&
		!strings.ContainsFunc(s, func(c rune) bool {
			return !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-' || c == '.')
		})
}
