// Package origin compares web addresses as browsers do. It is one package
// because where a token may go must have one answer.
package origin

import (
	"net"
	"net/url"
	"strings"
)

// Of returns the scheme, host and port of u, the port also where u leaves it
// out: "https://graph.microsoft.com:443".
func Of(u *url.URL) string {
	port := u.Port()
	switch {
	case port != "":
	case u.Scheme == "https":
		port = "443"
	case u.Scheme == "http":
		port = "80"
	}
	return u.Scheme + "://" + net.JoinHostPort(strings.ToLower(u.Hostname()), port)
}

// IsLoopback reports whether host, without a port, means this machine: a
// loopback address, or localhost. Names below localhost do not count, although
// RFC 6761 section 6.3 reserves them: resolvers ask the network for them.
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}
