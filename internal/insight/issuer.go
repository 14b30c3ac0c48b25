package insight

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fobauth/fob"
)

// clockSkew is how far two clocks may be apart.
const clockSkew = 5 * time.Minute

// issuerTenant returns the tenant that an issuer of Entra speaks for; "" when
// the issuer does not have Entra's form.
func issuerTenant(issuer string) string {
	u, err := url.Parse(issuer)
	if err != nil || u.Host == "" {
		return ""
	}
	segment, rest, _ := strings.Cut(strings.TrimPrefix(u.Path, "/"), "/")
	if !isGUID(segment) || rest != "" && strings.TrimSuffix(rest, "/") != "v2.0" {
		return ""
	}
	return segment
}

// microsoftIssuer returns the authority whose keys sign for an issuer, and
// whether the host is one of Microsoft's: keys are fetched from those unasked.
func microsoftIssuer(issuer string) (fob.Authority, bool) {
	u, err := url.Parse(issuer)
	if err != nil || u.Scheme != "https" || u.Port() != "" || u.User != nil {
		return fob.Authority{}, false
	}
	authority := fob.Authority{Tenant: issuerTenant(issuer)}
	switch host := strings.ToLower(u.Hostname()); {
	case slices.Contains([]string{"sts.windows.net", "login.windows.net", "login.microsoft.com", "login.microsoftonline.com"}, host):
		authority.Host = fob.Public.AuthorityHost
	case host == "login.microsoftonline.us":
		authority.Host = fob.USGovernment.AuthorityHost
	case slices.Contains([]string{"sts.chinacloudapi.cn", "login.partner.microsoftonline.cn", "login.chinacloudapi.cn"}, host):
		authority.Host = fob.China.AuthorityHost
	case strings.HasSuffix(host, ".ciamlogin.com"):
		authority.Host = "https://" + host
	default:
		return fob.Authority{}, false
	}
	return authority, authority.Tenant != ""
}
