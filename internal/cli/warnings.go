package cli

import (
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/internal/insight"
)

// warned is base, with a look at the settings before the first request: what
// will be refused, or will stop working soon, is said on stderr. A stored token
// needs no request, and so no look.
func (inv *invocation) warned(s *settings, base http.RoundTripper) http.RoundTripper {
	return &attentive{base: base, look: sync.OnceFunc(func() { inv.warnAbout(s) })}
}

type attentive struct {
	base http.RoundTripper
	look func()
}

func (a *attentive) RoundTrip(r *http.Request) (*http.Response, error) {
	a.look()
	return a.base.RoundTrip(r)
}

// warnAbout prints what is wrong with what the user is about to sign in with.
func (inv *invocation) warnAbout(s *settings) {
	setup := insight.Setup{Tenant: s.tenant.text, ClientID: s.clientID.text, Scopes: s.scopes, Delegated: s.credential == nil}
	switch credential := s.credential.(type) {
	case fob.ClientSecret:
		setup.Secret = credential.Secret
	case *fob.Certificate:
		setup.Certificate = credential.Leaf
	}
	for _, f := range setup.Warnings(time.Now()) {
		if f.Severity != insight.Warning && f.Severity != insight.Problem {
			continue
		}
		text := f.What
		if f.Why != "" {
			text += ": " + f.Why
		}
		if f.Do != "" {
			text += "; " + f.Do
		}
		if f.Try != "" {
			text += " (" + f.Try + ")"
		}
		fmt.Fprintf(inv.Stderr, "fob: warning: %s\n", oneLine(text))
	}
}
