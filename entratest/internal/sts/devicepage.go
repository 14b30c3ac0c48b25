package sts

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// guesses bounds how often user codes can be tried: a code has nine characters
// because a person types it, and is only safe while nobody can try many.
type guesses struct {
	mu    sync.Mutex // guards the wrong ones of the last minute
	wrong []time.Time
}

const guessesAMinute = 30

// spent says whether there were too many wrong codes in the minute before now.
func (g *guesses) spent(now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wrong = slices.DeleteFunc(g.wrong, func(t time.Time) bool { // also what a clock that was set back has not seen yet
		return !t.After(now.Add(-time.Minute)) || t.After(now)
	})
	return len(g.wrong) >= guessesAMinute
}

func (g *guesses) miss(now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.wrong = append(g.wrong, now)
}

// devicePage is where a person enters the code that a device shows, signs in
// and confirms. The code travels in the query of the forms from then on.
func (s *Server) devicePage(w http.ResponseWriter, r *http.Request, _ authority) {
	b, refused := s.browser(w, r)
	if refused != nil {
		s.refusePage(w, r, refused)
		return
	}
	code := b.params.Get("otc")
	entered := b.answer != nil
	if typed, ok := b.answer["otc"]; ok {
		code = typed[0]
		b.params.Set("otc", code)
	}
	askCode := func(wrong string) {
		b.params.Del("otc")
		codePage{action: b.self(), canary: b.canary(), code: code, problem: problem{"otc", wrong}}.page().send(w)
	}
	if !entered {
		askCode("")
		return
	}
	found, wrong := s.enteredDevice(code)
	if wrong != "" {
		askCode(wrong)
		return
	}
	at, refused := s.authority(r, found.Segment)
	if refused != nil {
		s.refusePage(w, r, refused)
		return
	}
	app, refused := s.appFor(at.Tenant, found.Client)
	if refused != nil {
		s.refusePage(w, r, refused)
		return
	}

	d := door{action: b.self(), canary: b.canary(), app: app, tenant: at.Tenant, closed: at.name() == consumerTenant,
		hint: b.answer.Get("loginfmt")}
	in, wrongSignIn := s.visitor(w, r, b, d)
	switch {
	case wrongSignIn.text != "":
		s.askSignIn(w, d, wrongSignIn)
		return
	case in == nil, b.does() == "other", b.does() == "switch":
		d.hint = ""
		s.askSignIn(w, d, problem{})
		return
	case b.does() == "next": // signed in before: whose account is it to be?
		s.askWhich(w, d, in)
		return
	case b.does() == "decline", b.does() == "cancel":
		if !s.decideDevice(code, deviceDenied, signIn{}) {
			askCode(codeUsed)
			return
		}
		donePage("You have not been signed in", d.org(),
			p(text("The device has been told that you declined. You can close this window."))).send(w)
		return
	}

	home := s.tenantOf(in.user)
	d.tenant = home
	asks, refused := s.asked(home, app, found.Scope, found.Resource, found.V1)
	if refused != nil {
		s.refusePage(w, r, refused)
		return
	}
	if b.does() != "continue" && b.does() != "accept" {
		confirmPage{action: d.action, canary: d.canary, org: d.org(), app: app.Name, who: in.person()}.page().send(w)
		return
	}
	allowed, refused := s.consent(w, r, b, d, in, asks, nil)
	switch {
	case refused != nil:
		s.refusePage(w, r, refused)
		return
	case !allowed:
		return
	}
	if !s.decideDevice(code, deviceApproved, in.signIn) {
		askCode(codeUsed)
		return
	}
	donePage(app.Name, d.org(),
		p(text("You have signed in to "), called(app.Name), text(" on your device. You may now close this window."))).send(w)
}

const codeUsed = "That code has already been used. Start again on your device to get a new one. (AADSTS90120)"

// enteredDevice finds the request that a person means, or says why there is none.
func (s *Server) enteredDevice(code string) (device, string) {
	now := s.World.Now()
	if normalUserCode(code) == "" {
		return device{}, "Enter the code that your device shows. (AADSTS90119)"
	}
	if s.guesses.spent(now) {
		return device{}, "Too many codes were wrong. Wait a minute, then try again."
	}
	found, ok := s.deviceFor(code)
	switch {
	case !ok:
		s.guesses.miss(now)
		return device{}, "That code didn't work. Check the code and try again. (AADSTS70018)"
	case found.Status != devicePending:
		return device{}, codeUsed
	case !now.Before(found.Expires):
		return device{}, "That code has expired. Start again on your device to get a new one. (AADSTS70019)"
	}
	return found, ""
}
