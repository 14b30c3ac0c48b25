package sts

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

const (
	canaryField   = "canary"
	actionField   = "action"
	browserCookie = "fobBrowser" // which browser it is: what canaries are bound to
	sessionCookie = "fobSession" // who is signed in there; changes with every sign-in
)

// ownFields are the fields of our own forms that are no parameters of a request.
var ownFields = []string{canaryField, actionField, "loginfmt", "passwd", "as", "everybody"}

// browser is one request of a browser. The request that started it all travels
// in the query of every form's action, so that no state is kept for a sign-in
// which nobody finishes, and any number of tabs get along.
type browser struct {
	params url.Values // the request, whether it came in the query or in a body
	answer url.Values // what a form of ours sends; nil where the request has just begun
	id     string
}

// browser reads a request. It refuses a form that did not come from a page
// which this server showed to this browser.
func (s *Server) browser(w http.ResponseWriter, r *http.Request) (browser, *refusal) {
	b := browser{params: r.URL.Query()}
	if c, err := r.Cookie(browserCookie); err == nil && len(c.Value) == 22 {
		b.id = c.Value
	}
	if r.Method == http.MethodPost {
		if refused := parseForm(w, r); refused != nil {
			return b, refused
		}
		ours := slices.ContainsFunc([]string{canaryField, "loginfmt", "passwd"}, r.PostForm.Has)
		switch {
		case !ours:
			maps.Copy(b.params, r.PostForm)
		case b.id == "" || subtle.ConstantTimeCompare([]byte(r.PostForm.Get(canaryField)), []byte(b.canary())) != 1:
			return b, no(165900, "The request tokens do not match the user context. Go back to the app and sign in again, with cookies allowed.")
		default:
			b.answer = r.PostForm
		}
	}
	for _, field := range ownFields {
		b.params.Del(field)
	}
	if b.id == "" {
		b.id = randomID()
		s.setCookie(w, browserCookie, b.id)
	}
	return b, nil
}

// canary proves that a form comes from a page that was shown to this browser
// for this very request: other sites can read neither cookie nor page.
func (b browser) canary() string {
	sum := sha256.Sum256([]byte("canary\x00" + b.id + "\x00" + b.params.Encode()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// self is where a form on the page posts to: the same address, with the request.
func (b browser) self() string { return "?" + b.params.Encode() }

// does says what the person chose on a form of ours: "" where there was none.
func (b browser) does() string { return b.answer.Get(actionField) }

// setCookie sets a cookie that scripts cannot read. Where the server is
// reached by https it may come along when another site starts a sign-in by
// POST or in a frame, as those of Entra ID do.
func (s *Server) setCookie(w http.ResponseWriter, name, value string) {
	c := &http.Cookie{Name: name, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
	if strings.HasPrefix(s.BaseURL, "https:") {
		c.Secure, c.SameSite = true, http.SameSiteNoneMode
	}
	if value == "" {
		c.MaxAge = -1
	}
	http.SetCookie(w, c)
}

// randomID is 128 random bits in 22 characters.
func randomID() string {
	var b [16]byte
	rand.Read(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}
