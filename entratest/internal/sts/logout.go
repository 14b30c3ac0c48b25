package sts

import (
	"net/http"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// logout ends the session of the browser, and tells the apps that it has signed in
// to, those with a logout URL (OpenID Connect Front-Channel Logout). It sends the
// person back only to an address that some app has registered: an app that is named
// must be the one.
func (s *Server) logout(w http.ResponseWriter, r *http.Request, at authority) {
	q := r.URL.Query()
	if r.Method == http.MethodPost {
		if refused := parseForm(w, r); refused != nil {
			s.refusePage(w, r, refused)
			return
		}
		q = r.Form
	}
	told := s.toldOfLogout(r, at)
	s.endBrowserSession(r)
	s.setCookie(w, sessionCookie, "")
	if back := q.Get("post_logout_redirect_uri"); back != "" && s.leaveTo(at, q.Get("client_id"), back) {
		var fields []attr
		if q.Has("state") {
			fields = append(fields, attr{"state", q.Get("state")})
		}
		next := answerURL(back, queryMode, fields)
		if len(told) == 0 {
			sendAway(w, next)
			return
		}
		signedOut(told, next).send(w)
		return
	}
	signedOut(told, "").send(w)
}

// signedOut is the page that calls the apps of a session that is over, and then
// goes where the last of them wants it to go.
func signedOut(told []string, next string) page {
	lines := []markup{dim(text("It's a good idea to close all browser windows."))}
	for _, address := range told {
		lines = append(lines, tag("iframe", attrs{{"src", address}, {"title", "signing out"}, {"hidden", ""}}))
	}
	pg := donePage("You signed out of your account", "", lines...)
	pg.frames, pg.next = told, next
	return pg
}

// toldOfLogout returns the addresses of the apps that want to know when the
// session of the browser ends.
func (s *Server) toldOfLogout(r *http.Request, at authority) []string {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil
	}
	var told []string
	sid, visits := s.visitsOf(c.Value)
	for _, v := range visits {
		app, ok := s.World.App(v.tenant, v.app)
		if !ok || !strings.Contains(formTarget(app.LogoutURL), "://") { // no page of the web
			continue
		}
		told = append(told, answerURL(app.LogoutURL, queryMode, []attr{{"sid", sid}, {"iss", at.issuer(v.tenant, 2)}}))
	}
	return told
}

// leaveTo says whether a person may be sent to a URL after signing out.
func (s *Server) leaveTo(at authority, clientID, to string) bool {
	if clientID != "" {
		app, refused := s.appFor(at.Tenant, clientID)
		if refused != nil {
			return false
		}
		_, ok := matchRedirect(app, to)
		return ok
	}
	tenants := s.World.Tenants()
	if at.Tenant != nil {
		tenants = []*directory.Tenant{at.Tenant}
	}
	for _, t := range tenants {
		for _, app := range s.World.Apps(t.ID) {
			if _, ok := matchRedirect(app, to); ok {
				return true
			}
		}
	}
	return false
}
