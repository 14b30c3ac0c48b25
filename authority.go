package fob

import (
	"fmt"
	"net/url"
	"strings"

	"github.com/fobauth/fob/internal/origin"
)

// Cloud is one of Microsoft's separate clouds: the hosts that belong together.
// A token of one cloud is refused by every other.
type Cloud struct {
	Name          string // "public", "usgov" or "china"
	AuthorityHost string // where users and apps sign in
	Graph         string // Microsoft Graph
	ARM           string // Azure Resource Manager
	// FederationAudience is the audience that a federated credential expects
	// in an external assertion.
	FederationAudience string
}

// The clouds with public endpoints
// (https://learn.microsoft.com/entra/identity-platform/authentication-national-cloud).
var (
	Public = Cloud{
		Name: "public", AuthorityHost: "https://login.microsoftonline.com",
		Graph: "https://graph.microsoft.com", ARM: "https://management.azure.com",
		FederationAudience: "api://AzureADTokenExchange",
	}
	USGovernment = Cloud{
		Name: "usgov", AuthorityHost: "https://login.microsoftonline.us",
		Graph: "https://graph.microsoft.us", ARM: "https://management.usgovcloudapi.net",
		FederationAudience: "api://AzureADTokenExchangeUSGov",
	}
	China = Cloud{
		Name: "china", AuthorityHost: "https://login.partner.microsoftonline.cn",
		Graph: "https://microsoftgraph.chinacloudapi.cn", ARM: "https://management.chinacloudapi.cn",
		FederationAudience: "api://AzureADTokenExchangeChina",
	}
)

// CloudNamed finds a cloud by its name, in any case.
func CloudNamed(name string) (Cloud, error) {
	for _, c := range []Cloud{Public, USGovernment, China} {
		if strings.EqualFold(c.Name, name) {
			return c, nil
		}
	}
	return Cloud{}, fmt.Errorf("no cloud is called %q; there are public, usgov and china", clean(name))
}

// Authority says where tokens come from: a sign-in host and a tenant of it.
// It is a value; its zero value is every work and school account of the public
// cloud.
type Authority struct {
	// Host is the scheme and host, "https://login.microsoftonline.us"; a bare
	// host name means https. Plain http is accepted on loopback only. Empty
	// means the public cloud.
	Host string
	// Tenant is a tenant id, one of its domains, or one of "organizations",
	// "common" and "consumers". Empty means "organizations".
	Tenant string
}

// WithTenant returns the authority with another tenant, or a itself if tenant
// is empty.
func (a Authority) WithTenant(tenant string) Authority {
	if tenant != "" {
		a.Tenant = tenant
	}
	return a
}

// TokenEndpoint returns the URL where grants are exchanged for tokens.
func (a Authority) TokenEndpoint() string { return a.url("/oauth2/v2.0/token") }

// DeviceCodeEndpoint returns the URL that issues device codes (RFC 8628).
func (a Authority) DeviceCodeEndpoint() string { return a.url("/oauth2/v2.0/devicecode") }

// AuthorizationEndpoint returns the URL where a browser signs in.
func (a Authority) AuthorizationEndpoint() string { return a.url("/oauth2/v2.0/authorize") }

// LogoutEndpoint returns the URL that ends a browser's session.
func (a Authority) LogoutEndpoint() string { return a.url("/oauth2/v2.0/logout") }

// MetadataEndpoint returns the URL of the OpenID configuration.
func (a Authority) MetadataEndpoint() string { return a.url("/v2.0/.well-known/openid-configuration") }

func (a Authority) url(path string) string { return a.origin() + "/" + a.tenant() + path }

func (a Authority) tenant() string {
	if a.Tenant == "" {
		return "organizations"
	}
	return strings.ToLower(a.Tenant)
}

func (a Authority) origin() string {
	host := strings.TrimRight(a.Host, "/")
	switch {
	case host == "":
		return Public.AuthorityHost
	case !strings.Contains(host, "://"):
		host = "https://" + host
	}
	return strings.ToLower(host)
}

// Check reports what is wrong with the authority: a host that is no plain
// https origin, or a tenant that cannot be a path segment.
func (a Authority) Check() error {
	u, err := url.Parse(a.origin())
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "":
		return fmt.Errorf("%q is not an authority host; write it like %s", clean(a.Host), Public.AuthorityHost)
	case a.origin() != u.Scheme+"://"+u.Host: // userinfo, a path, a query or a fragment, also an empty one
		return fmt.Errorf("authority host %q has more than a scheme and a host; the tenant goes into the tenant setting", clean(a.Host))
	case u.Scheme == "http" && !origin.IsLoopback(u.Hostname()):
		return fmt.Errorf("authority host %q is plain http; secrets are sent over https only (http is accepted on loopback)", clean(a.Host))
	case u.Scheme != "https" && u.Scheme != "http":
		return fmt.Errorf("authority host %q does not start with https://", clean(a.Host))
	}
	tenant := a.tenant()
	if len(tenant) > 253 || strings.Trim(tenant, ".") == "" || strings.ContainsFunc(tenant, notTenantRune) {
		return fmt.Errorf("%q is not a tenant; give the tenant id (a GUID) or one of its domains, like contoso.onmicrosoft.com", clean(a.Tenant))
	}
	return nil
}

func notTenantRune(r rune) bool {
	return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '.' || r == '-' || r == '_')
}
