package sts

import (
	"net/http"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// logout ends the session of the browser. It sends the person back only to an
// address that some app has registered: an app that is named must be the one.
func (s *Server) logout(w http.ResponseWriter, r *http.Request, at authority) {
	q := r.URL.Query()
	if r.Method == http.MethodPost {
		if refused := parseForm(w, r); refused != nil {
			s.refusePage(w, r, refused)
			return
		}
		q = r.Form
	}
	s.endBrowserSession(r)
	s.setCookie(w, sessionCookie, "")
	if back := q.Get("post_logout_redirect_uri"); back != "" && s.leaveTo(at, q.Get("client_id"), back) {
		var fields []attr
		if q.Has("state") {
			fields = append(fields, attr{"state", q.Get("state")})
		}
		sendAway(w, answerURL(back, queryMode, fields))
		return
	}
	donePage("You signed out of your account", "", dim(text("It's a good idea to close all browser windows."))).send(w)
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
