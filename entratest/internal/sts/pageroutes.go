package sts

import (
	"net/http"
	"strconv"
	"sync"

	"github.com/fobauth/fob/aadsts"
)

// pageRoutes are the endpoints that people see in a browser: by the path after
// the tenant in lower case ("oauth2/v2.0/authorize"), or by the whole path where
// there is no tenant ("/devicelogin"). "userrealm" gets all paths below it.
var pageRoutes = sync.OnceValue(func() map[string]handler {
	return map[string]handler{
		"oauth2/authorize":      forBrowsers(func(s *Server, w http.ResponseWriter, r *http.Request, at authority) { s.authorize(w, r, at, true) }),
		"oauth2/v2.0/authorize": forBrowsers(func(s *Server, w http.ResponseWriter, r *http.Request, at authority) { s.authorize(w, r, at, false) }),
		"oauth2/logout":         forBrowsers((*Server).logout),
		"oauth2/v2.0/logout":    forBrowsers((*Server).logout),
		"oauth2/deviceauth":     forBrowsers((*Server).devicePage),
		"adminconsent":          forBrowsers((*Server).adminConsent),
		"v2.0/adminconsent":     forBrowsers((*Server).adminConsent),
		"userrealm":             (*Server).userRealm,
		"/devicelogin":          forBrowsers((*Server).devicePage),
		"/error":                forBrowsers((*Server).lookupPage),
	}
})

// forBrowsers lets through what a link or a form sends.
func forBrowsers(next handler) handler {
	return func(s *Server, w http.ResponseWriter, r *http.Request, at authority) {
		switch r.Method {
		case http.MethodGet, http.MethodHead, http.MethodPost:
			next(s, w, r, at)
		default:
			w.Header().Set("Allow", "GET, HEAD, POST")
			refused := no(900561, "The endpoint only accepts GET and POST requests. Received a %s request.", r.Method)
			refused.Status = http.StatusMethodNotAllowed
			s.refusePage(w, r, refused)
		}
	}
}

// lookupPage explains an error code: it is where the error_uri of an answer leads.
func (s *Server) lookupPage(w http.ResponseWriter, r *http.Request, _ authority) {
	number, _ := strconv.Atoi(r.URL.Query().Get("code"))
	known, ok := aadsts.Lookup(number)
	if !ok {
		page{title: "Error code", status: http.StatusNotFound, body: []markup{
			h1("Nothing is known about this code"),
			p(text("Ask for another one: /error?code=50011")),
		}}.send(w)
		return
	}
	page{title: known.String(), wide: true, body: []markup{
		h1(known.String()), dim(text(known.Name)), p(text(known.Meaning + ".")),
		refusalDetails{cause: known.Cause, fix: known.Fix}.list(),
	}}.send(w)
}

// explain says what is usually behind a code, and what helps.
func explain(code int) (cause, fix string) {
	known, _ := aadsts.Lookup(code)
	return known.Cause, known.Fix
}
