package graph

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fobauth/fob/internal/origin"
)

// parseAddress reads an absolute address and refuses every one that a token
// must not go to, whatever the host: plain http, IP addresses, user
// information, hosts that are spelled so that two parsers may disagree.
// Loopback is excepted from the first two rules.
func parseAddress(address string) (*url.URL, error) {
	if i := strings.IndexFunc(address, func(r rune) bool { return r <= ' ' || r == '\\' || r >= 0x7f }); i >= 0 {
		return nil, fmt.Errorf("%s holds %q; percent-encode it", shown(address), address[i])
	}
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("%s is not a URL", shown(address))
	}
	return u, checkAddress(u)
}

func checkAddress(u *url.URL) error {
	host := u.Hostname()
	loopback := origin.IsLoopback(host)
	switch {
	case host == "" || u.Opaque != "":
		return fmt.Errorf("%s has no host; write it like https://graph.microsoft.com/v1.0/me", shown(u.String()))
	case u.User != nil:
		return fmt.Errorf("%s has a user name before its host; remove it", shown(u.Host))
	case u.Scheme != "https" && !(u.Scheme == "http" && loopback):
		return fmt.Errorf("%s://%s is not https, and tokens travel over https only (http is accepted on loopback)", shown(u.Scheme), shown(u.Host))
	case !loopback && net.ParseIP(host) != nil:
		return fmt.Errorf("%s is an IP address; use the name of the service", shown(host))
	case net.ParseIP(host) == nil && !plainHost(host):
		return fmt.Errorf("%s is not a plain host name; write it in lower-case ASCII without a dot at its end", shown(host))
	}
	return nil
}

// plainHost reports whether every program reads host the same way.
func plainHost(host string) bool {
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || strings.ContainsFunc(label, func(r rune) bool {
			return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '-' || r == '_')
		}) {
			return false
		}
	}
	return true
}

// NextLink reads a link to the next page or to the changes that page, an
// address, has answered with. It refuses one that leads to another origin,
// which no token for page may see.
func NextLink(page *url.URL, link string) (*url.URL, error) {
	// OData allows links that are relative to the page.
	if u, err := url.Parse(link); err == nil && u.Scheme == "" && u.Host == "" && u.User == nil && link != "" {
		link = page.ResolveReference(u).String()
	}
	u, err := parseAddress(link)
	if err != nil {
		return nil, fmt.Errorf("%s sent a link that is not followed: %w", shown(page.Host), err)
	}
	if origin.Of(u) != origin.Of(page) {
		return nil, fmt.Errorf("%s sent a link to another place, %s; it is not followed, because the token would go there", shown(page.Host), shown(origin.Of(u)))
	}
	return u, nil
}

// away reads an address that carries its own permission (an upload URL, the
// target of a redirect) and needs no token: any https host may be meant. Only
// a service on loopback may send its callers to loopback.
func away(home *url.URL, u *url.URL) error {
	if err := checkAddress(u); err != nil {
		return fmt.Errorf("%s points elsewhere, which is not followed: %w", home.Host, err)
	}
	if origin.IsLoopback(u.Hostname()) && !origin.IsLoopback(home.Hostname()) {
		return fmt.Errorf("%s points to this machine, %s, which is not followed", home.Host, shown(u.Host))
	}
	return nil
}

// redirects is the policy of a call that began at home: reads follow it
// anywhere that is safe, without what is meant for home alone; writes never.
func redirects(home *url.URL) func(*http.Request, []*http.Request) error {
	return func(next *http.Request, sent []*http.Request) error {
		first := sent[0]
		if first.Method != http.MethodGet && first.Method != http.MethodHead {
			return http.ErrUseLastResponse
		}
		if len(sent) > maxRedirects {
			return errors.New("redirected too often; is it a loop?")
		}
		if err := away(home, next.URL); err != nil {
			return err
		}
		// The address of the page before may be a secret, and a cookie or an
		// Authorization header of the caller's own is for home.
		next.Header.Del("Referer")
		if origin.Of(next.URL) != origin.Of(home) {
			// What the caller sends is for home, and any header may be a key.
			next.Body, next.GetBody, next.ContentLength = nil, nil, 0
			for name := range next.Header {
				if !slices.Contains([]string{"Accept", "Accept-Encoding", "Range", "If-Range", "User-Agent"}, name) {
					next.Header.Del(name)
				}
			}
		}
		return nil
	}
}

const maxRedirects = 5

// withoutQuery makes the path of a request harmless.
func withoutQuery(s string) string {
	s, _, _ = strings.Cut(s, "?")
	return clean(s)
}

// shown makes a text of unknown origin short and harmless for a message.
func shown(s string) string {
	s = withoutQuery(s)
	if len(s) > 120 {
		s = strings.ToValidUTF8(s[:120], "") + "…"
	}
	return s
}
