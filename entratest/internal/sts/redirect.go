package sts

import (
	"net/url"
	"slices"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// platform is the kind of place that a redirect URI is registered for. It
// decides how the code that goes there can be redeemed.
type platform string

const (
	webPlatform    platform = "web"
	spaPlatform    platform = "spa"
	nativePlatform platform = "native"
)

// matchRedirect finds the platform under which app has registered the redirect
// URI sent, as Entra ID compares them: character by character, except that the
// port of a loopback address does not matter.
func matchRedirect(app *directory.App, sent string) (platform, bool) {
	for _, registered := range []struct {
		platform platform
		uris     []string
	}{{spaPlatform, app.SPARedirects}, {nativePlatform, app.NativeRedirects}, {webPlatform, app.WebRedirects}} {
		if slices.ContainsFunc(registered.uris, func(uri string) bool { return sameRedirect(uri, sent) }) {
			return registered.platform, true
		}
	}
	return "", false
}

func sameRedirect(registered, sent string) bool {
	s, err := url.Parse(sent)
	if err != nil || s.Scheme == "" || s.Fragment != "" || strings.Contains(sent, "#") || executable(s.Scheme) {
		return false
	}
	if registered == sent {
		return true
	}
	r, err := url.Parse(registered)
	return err == nil && r.Hostname() != "" && loopback(r) && s.User == nil &&
		s.Scheme == r.Scheme && s.Hostname() == r.Hostname() &&
		orSlash(s.EscapedPath()) == orSlash(r.EscapedPath()) &&
		s.RawQuery == r.RawQuery && s.ForceQuery == r.ForceQuery
}

// loopback says whether the port of u is not compared. An address is only
// equal to itself: who registered localhost has not registered 127.0.0.1.
func loopback(u *url.URL) bool {
	switch u.Hostname() {
	case "localhost":
		return u.Scheme == "http" || u.Scheme == "https"
	case "127.0.0.1":
		return u.Scheme == "http"
	}
	return false
}

func orSlash(path string) string {
	if path == "" {
		return "/"
	}
	return path
}

// executable schemes would run in our page instead of leaving it.
func executable(scheme string) bool {
	return slices.Contains([]string{"javascript", "data", "vbscript", "blob", "about"}, strings.ToLower(scheme))
}

// answerURL puts the fields of an answer where response_mode says: behind "?"
// or "#". A URI without a path gets the slash that Entra ID adds.
func answerURL(redirect, mode string, fields []attr) string {
	if u, err := url.Parse(redirect); err == nil && u.Host != "" && u.Path == "" {
		u.Path = "/"
		redirect = u.String()
	}
	if len(fields) == 0 {
		return redirect
	}
	var b strings.Builder
	b.WriteString(redirect)
	switch {
	case mode == fragmentMode:
		b.WriteByte('#')
	case !strings.Contains(redirect, "?"):
		b.WriteByte('?')
	case !strings.HasSuffix(redirect, "?") && !strings.HasSuffix(redirect, "&"):
		b.WriteByte('&')
	}
	for i, f := range fields {
		if i > 0 {
			b.WriteByte('&')
		}
		b.WriteString(url.QueryEscape(f.name) + "=" + url.QueryEscape(f.value))
	}
	return b.String()
}
