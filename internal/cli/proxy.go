package cli

import (
	"context"
	"net/http"
	"net/url"
	"strings"
)

// proxyRefusal is the answer of a proxy that did not connect to a host.
type proxyRefusal struct {
	proxy, host string
	status      int
	reason      string
	schemes     []string // that it takes of who asks, in lower case
	named       bool     // whether who asks was told
}

// proxyAnswered looks at what a proxy says to a CONNECT; net/http would keep the
// reason alone.
func proxyAnswered(_ context.Context, proxy *url.URL, request *http.Request, answer *http.Response) error {
	if answer.StatusCode == http.StatusOK {
		return nil
	}
	_, reason, _ := strings.Cut(answer.Status, " ")
	refusal := &proxyRefusal{proxy: proxy.Host, host: request.Host, status: answer.StatusCode, reason: reason, named: proxy.User != nil}
	for _, challenge := range answer.Header.Values("Proxy-Authenticate") {
		scheme, _, _ := strings.Cut(strings.TrimSpace(challenge), " ")
		refusal.schemes = append(refusal.schemes, strings.ToLower(scheme))
	}
	return refusal
}

func (p *proxyRefusal) Error() string {
	return "the proxy " + p.proxy + " did not connect to " + p.host + ": " + oneLine(or(p.reason, http.StatusText(p.status)))
}

// Permanent keeps fob from asking again: a password that was refused three
// times may be locked.
func (p *proxyRefusal) Permanent() bool { return p.status < 500 }

// advice says why, and what to do about it.
func (p *proxyRefusal) advice() (cause, fix string) {
	basic := len(p.schemes) == 0
	for _, scheme := range p.schemes {
		basic = basic || scheme == "basic"
	}
	switch {
	case p.status == http.StatusProxyAuthRequired && !basic:
		return "the proxy wants to know who asks in a way that fob does not speak, such as Negotiate or NTLM",
			"run a local proxy that does, such as px or cntlm, and name it in HTTPS_PROXY; or list the host in NO_PROXY if it is reached without one"
	case p.status == http.StatusProxyAuthRequired && p.named:
		return "the proxy refuses the user or the password that HTTPS_PROXY has", "correct them; what is no letter or digit is written in percent: %40 for @"
	case p.status == http.StatusProxyAuthRequired:
		return "the proxy wants to know who asks", "put user and password into HTTPS_PROXY: http://USER:PASSWORD@" + p.proxy
	case p.status >= 500:
		return "the proxy reached no such host, or is in trouble", "check the host's name, then try again"
	}
	return "the proxy does not let this host be reached", "ask whoever runs the proxy to allow " + oneLine(p.host) + ", or list the host in NO_PROXY if it is reached without one"
}
