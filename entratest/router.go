package entratest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"html"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/fobauth/fob/entratest/internal/graphsim"
	"github.com/fobauth/fob/entratest/internal/sts"
)

// ServeHTTP answers for sign-in, Graph and Resource Manager, and remembers the
// request.
func (e *Emulator) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	e.log.record(w, e.pace.of(w, r), e.world.Now, func(w http.ResponseWriter, r *http.Request) {
		face := e.faceOf(r)
		if f, ok := e.paths.next(r.URL.Path); ok {
			e.misbehave(w, r, f, face)
			return
		}
		switch face {
		case graphFace:
			e.graph.ServeHTTP(w, r)
		case armFace:
			e.graph.ARM(w, r)
		case storageFace:
			e.graph.Storage(w, r)
		case indexFace:
			e.index(w, r)
		default:
			e.sts.ServeHTTP(w, r)
		}
	})
}

type face int

const (
	stsFace face = iota
	graphFace
	armFace
	indexFace
	storageFace // of a Handler, which has no other origin for it
)

// faceOf says which service a request is for: by the host name where that
// tells, else by the first segment of the path.
func (e *Emulator) faceOf(r *http.Request) face {
	segment, _, _ := strings.Cut(strings.TrimLeft(r.URL.Path, "/"), "/")
	segment = strings.ToLower(segment)
	authority, graph, arm := e.isAt(r, e.cfg.AuthorityURL), e.isAt(r, e.cfg.GraphURL), e.isAt(r, e.cfg.ARMURL)
	host := hostname(r.Host)
	switch named := authority || graph || arm; {
	case graph && !authority && !arm, !named && strings.HasPrefix(host, "graph."):
		return graphFace
	case arm && !authority && !graph, !named && strings.HasPrefix(host, "management."):
		return armFace
	case segment == "":
		return indexFace
	case segment == "storage" && e.certificateShown == nil:
		return storageFace
	case authority && !graph && !arm, !named && (strings.HasPrefix(host, "login.") || host == "sts.windows.net"):
		return stsFace
	}
	switch segment {
	case "v1.0", "beta", "oidc":
		return graphFace
	case "subscriptions", "tenants", "metadata", "providers":
		return armFace
	}
	return stsFace
}

func (e *Emulator) isAt(r *http.Request, origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(withoutDefaultPort(r.Host), u.Host)
}

func hostname(hostport string) string {
	if host, _, err := net.SplitHostPort(hostport); err == nil {
		hostport = host
	}
	return strings.ToLower(strings.Trim(hostport, "[]"))
}

// authorityOf is the authority that belongs to an API by the name it was
// reached by.
func (e *Emulator) authorityOf(r *http.Request) string {
	switch host := hostname(r.Host); {
	case host == "graph.microsoft.com", host == "graph.windows.net", strings.HasPrefix(host, "management.azure."), host == "management.core.windows.net":
		return "https://login.microsoftonline.com"
	case strings.HasPrefix(host, "graph.microsoft.us"), strings.HasPrefix(host, "management.usgovcloudapi."):
		return "https://login.microsoftonline.us"
	case host == "microsoftgraph.chinacloudapi.cn", host == "management.chinacloudapi.cn":
		return "https://login.partner.microsoftonline.cn"
	}
	return e.cfg.AuthorityURL
}

// verify tells the APIs what to think of an access token.
func (e *Emulator) verify(raw string) (map[string]any, graphsim.Verdict) {
	claims, err := e.sts.VerifyAccessToken(raw)
	switch {
	case err == nil:
		return claims, graphsim.Good
	case errors.Is(err, sts.ErrExpired):
		return nil, graphsim.Expired
	}
	// Not good. A token is called forged only if it has the form of one and the
	// clock is not to blame, which somebody may have set back.
	var parts []string
	if parts = strings.Split(raw, "."); len(parts) != 3 {
		return nil, graphsim.Malformed
	}
	var times struct {
		NotBefore float64 `json:"nbf"`
	}
	for _, part := range parts[:2] {
		text, err := base64.RawURLEncoding.DecodeString(part)
		if err != nil || json.Unmarshal(text, &times) != nil {
			return nil, graphsim.Malformed
		}
	}
	if times.NotBefore > float64(e.Now().Unix()) {
		return nil, graphsim.Expired
	}
	return nil, graphsim.BadSignature
}

// index is what a person sees who opens the emulator's address in a browser.
func (e *Emulator) index(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "nothing to post here: token endpoints begin with a tenant", http.StatusMethodNotAllowed)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	var b strings.Builder
	row := func(name, value, link string) {
		b.WriteString("<tr><th scope=row>" + html.EscapeString(name) + "</th><td>")
		if link != "" {
			b.WriteString(`<a href="` + html.EscapeString(link) + `">` + html.EscapeString(value) + "</a>")
		} else {
			b.WriteString("<code>" + html.EscapeString(value) + "</code>")
		}
		b.WriteString("</td></tr>\n")
	}
	b.WriteString("<!DOCTYPE html>\n<html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'><title>fob emulator</title>\n" +
		"<style>:root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:48rem;margin:3rem auto;padding:0 1rem}" +
		"th{text-align:left;font-weight:600;padding-right:1.5rem;vertical-align:top;white-space:nowrap}td{overflow-wrap:anywhere}" +
		"@media(max-width:40rem){th,td{display:block;padding:0}}</style>\n" +
		"<h1>fob emulator</h1>\n<p>Microsoft Entra ID and Microsoft Graph on this machine, for tests. Nothing here is secret and nothing is real.</p>\n")
	b.WriteString("<h2>Where to go</h2>\n<table>\n")
	row("Enter a device code", e.URL()+"/devicelogin", e.URL()+"/devicelogin")
	row("Microsoft Graph", e.GraphURL()+"/v1.0/me", "")
	row("Resource Manager", e.ARMURL()+"/subscriptions?api-version=2022-12-01", "")
	if e.controlURL != "" {
		row("Controls", e.controlURL, "")
	}
	b.WriteString("</table>\n")
	for _, t := range e.world.Tenants() {
		authority := e.URL() + "/" + t.ID
		b.WriteString("<h2>" + html.EscapeString(t.Name) + "</h2>\n<table>\n")
		row("Tenant", t.ID, "")
		row("Domains", strings.Join(t.Domains, ", "), "")
		row("Discovery", authority+"/v2.0/.well-known/openid-configuration", authority+"/v2.0/.well-known/openid-configuration")
		for _, u := range e.world.Users(t.ID) {
			row(u.DisplayName, u.UPN, "")
		}
		for _, a := range e.world.Apps(t.ID) {
			if !a.FirstParty {
				row(a.Name, a.ClientID, "")
			}
		}
		b.WriteString("</table>\n")
	}
	b.WriteString("</html>\n")
	_, _ = w.Write([]byte(b.String()))
}
