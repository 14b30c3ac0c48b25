package sts

import (
	"cmp"
	"fmt"
	"net/http"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// door is what the pages on one person's way to an app have in common.
type door struct {
	action, canary string            // of their forms
	leadsTo        string            // the redirect URI, where the way ends at one
	app            *directory.App    // nil: no app in particular
	tenant         *directory.Tenant // nil: people of any tenant
	closed         bool              // an authority that nobody of this world belongs to
	hint           string            // the user name to begin with
	cancel         bool              // giving up is told to the app
}

func (d door) org() string {
	if d.tenant == nil {
		return ""
	}
	return d.tenant.Name
}

func (d door) appName() string {
	if d.app == nil {
		return ""
	}
	return d.app.Name
}

// visitor is a person who has shown who they are.
type visitor struct {
	user    *directory.User // in the tenant at hand, perhaps as a guest
	account *directory.User // that the person has signed in with
	signIn
}

// person is how pages show the visitor.
func (v *visitor) person() person { return person{upn: v.account.UPN, name: v.user.DisplayName} }

// tenantOf is the tenant that a user is in.
func (s *Server) tenantOf(u *directory.User) *directory.Tenant {
	t, _ := s.World.Tenant(u.Tenant)
	return t
}

// visitor finds who is there: by the form that has just been sent, or else by
// the session of the browser. It returns nil for nobody who may come in at d,
// and what is wrong with a sign-in that failed.
func (s *Server) visitor(w http.ResponseWriter, r *http.Request, b browser, d door) (*visitor, problem) {
	upn, clicked := strings.TrimSpace(b.answer.Get("loginfmt")), b.answer.Has("as")
	if clicked {
		upn = b.answer.Get("as")
	}
	if b.does() != "signin" && !clicked {
		return s.sessionVisitor(r, d), problem{}
	}
	user, wrong := s.checkSignIn(r, d, upn, b.answer.Get("passwd"), clicked)
	if wrong.text != "" {
		return nil, wrong
	}
	if before := s.sessionVisitor(r, d); clicked && before != nil && before.user == user {
		return before, problem{} // picked, not signed in anew
	}
	account, _ := s.World.Account(user) // who has none is barred
	by := s.newSignIn(user, account)
	s.endBrowserSession(r)
	s.setCookie(w, sessionCookie, s.newSession(account.Tenant, by))
	return &visitor{user, account, by}, problem{}
}

// newSignIn is what it leaves that somebody signs in now, with an account and as
// a user: with a second factor where one is needed.
func (s *Server) newSignIn(user, account *directory.User) signIn {
	by := signIn{User: account.ID, Session: newGUID(), Time: s.World.Now(), Methods: []string{"pwd"}}
	if user.MFARequired || account.MFARequired {
		by.Methods = append(by.Methods, "mfa")
	}
	return by
}

// sessionVisitor finds who is signed in with this browser and may come in at d.
func (s *Server) sessionVisitor(r *http.Request, d door) *visitor {
	c, err := r.Cookie(sessionCookie)
	if err != nil {
		return nil
	}
	in, ok := s.session(c.Value)
	if !ok || d.closed {
		return nil
	}
	account, ok := s.World.User(in.Tenant, in.User)
	if !ok {
		return nil
	}
	user, ok := s.userAt(d, account)
	if !ok || s.barred(user) != nil {
		return nil
	}
	return &visitor{user, account, in.signIn}
}

// userAt returns the user that an account is for those who come in at d.
func (s *Server) userAt(d door, account *directory.User) (*directory.User, bool) {
	if d.tenant == nil {
		return account, true
	}
	return s.World.UserOf(d.tenant.ID, account)
}

// endBrowserSession forgets the session that the browser has, if any.
func (s *Server) endBrowserSession(r *http.Request) {
	if c, err := r.Cookie(sessionCookie); err == nil {
		s.endSession(c.Value)
	}
}

// checkSignIn finds the user who signs in. A click on a person of the list
// needs no password: that list is what an emulator has in place of secrets.
func (s *Server) checkSignIn(r *http.Request, d door, upn, password string, clicked bool) (*directory.User, problem) {
	if upn == "" {
		return nil, problem{"loginfmt", "Enter your user name. (AADSTS90014)"}
	}
	account, known := s.findAccount(upn)
	var user *directory.User
	here := false
	if known {
		user, here = s.userAt(d, account)
	}
	var refused *refusal
	switch {
	case known && (d.closed || !here):
		refused = no(50020, "The user is of another tenant.")
	case known && clicked:
		refused = s.barred(user)
	default:
		if _, refused = s.checkPassword(d.tenant, upn, password); refused == nil {
			refused = s.mayUse(user)
		}
	}
	if refused == nil {
		return user, problem{}
	}
	if known {
		s.logDoor(r, d.app, nil, cmp.Or(user, account), refused)
	}
	words, field := "You cannot sign in here.", "loginfmt"
	switch refused.Code {
	case 50034:
		words = "We couldn't find an account with that user name."
	case 50020:
		words = "This account does not exist in the organization that you are signing in to."
	case 50126:
		words, field = "Your account or password is incorrect.", "passwd"
	case 50056:
		words, field = "This account has no password.", "passwd"
	case 50053:
		words = "Your account is temporarily locked to prevent unauthorized use. Try again later."
	case 50057:
		words = "Your account has been disabled. Contact your support person, then try again."
	case 50055:
		words = "Your password has expired. Change it, then sign in again."
	}
	return nil, problem{field, fmt.Sprintf("%s (AADSTS%d)", words, refused.Code)}
}

// barred refuses those who cannot sign in although they are who they say.
func (s *Server) barred(u *directory.User) *refusal {
	if account, ok := s.World.Account(u); ok && account.Locked {
		return no(50053, "The account is locked.")
	}
	return s.mayUse(u)
}

// peopleAt are those who are offered for a click.
func (s *Server) peopleAt(d door) []person {
	const enough = 8
	if d.closed {
		return nil
	}
	tenants := []*directory.Tenant{d.tenant}
	if d.tenant == nil {
		tenants = s.World.Tenants()
	}
	var all []person
	for _, t := range tenants {
		for _, u := range s.World.Users(t.ID) {
			if s.barred(u) != nil || len(all) >= enough || d.tenant == nil && u.Home != "" { // who comes at home
				continue
			}
			account, _ := s.World.Account(u)
			all = append(all, person{upn: account.UPN, name: u.DisplayName})
		}
	}
	return all
}

// askSignIn shows the sign-in page. What was typed stays, the password does not.
func (s *Server) askSignIn(w http.ResponseWriter, d door, wrong problem) {
	signInPage{action: d.action, canary: d.canary, leadsTo: d.leadsTo, org: d.org(), app: d.appName(),
		hint: d.hint, problem: wrong, people: s.peopleAt(d), cancel: d.cancel}.page().send(w)
}

// askWhich shows the account picker: who is signed in, then the others.
func (s *Server) askWhich(w http.ResponseWriter, d door, in *visitor) {
	first := in.person()
	first.signedIn = true
	people := []person{first}
	for _, who := range s.peopleAt(d) {
		if who.upn != first.upn {
			people = append(people, who)
		}
	}
	pickPage{action: d.action, canary: d.canary, leadsTo: d.leadsTo, org: d.org(), app: d.appName(), people: people}.page().send(w)
}

// refusePage shows a refusal to a person.
func (s *Server) refusePage(w http.ResponseWriter, r *http.Request, refused *refusal) {
	s.details(w, r, refused).page().send(w)
}

// details puts a refusal in words for a page, and its ids into the headers.
func (s *Server) details(w http.ResponseWriter, r *http.Request, refused *refusal) refusalDetails {
	d := refusalDetails{status: refused.Status, description: fmt.Sprintf("AADSTS%d: %s", refused.Code, refused.Text),
		trace: newTraceID(), correlation: correlationID(r), timestamp: timestamp(s.World.Now())}
	d.cause, d.fix = explain(refused.Code)
	identify(w, d.trace, refused.Code)
	return d
}
