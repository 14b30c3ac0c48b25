package directory

import (
	"slices"
	"time"
)

// SignIn is what a tenant remembers of somebody who signed in, or tried to.
type SignIn struct {
	ID, Correlation         string // the ids of the request
	Tenant                  string
	At                      time.Time
	Kind                    string // interactiveUser, nonInteractiveUser or servicePrincipal
	User                    *User  // nil: the app signed in as itself
	Account                 *User  // of User; nil too if it is gone
	App, Resource           *App   // Resource is nil if it was not known yet
	Protocol, IP, UserAgent string
	Code                    int    // AADSTS; zero: it was let in
	Reason                  string // of a refusal
}

// Audit is what a tenant remembers of a change of its directory.
type Audit struct {
	ID, Correlation               string
	Tenant                        string
	At                            time.Time
	Category, Operation, Activity string
	User                          *User // who did it; nil: an app as itself
	App                           *App  // that it was done with
	IP                            string
	Targets                       []AuditTarget
}

// AuditTarget is what was changed.
type AuditTarget struct {
	ID, Type, Name, UPN string // UPN is a user's
	Changed             []AuditChange
}

// AuditChange is a property that was changed, with its values as JSON.
type AuditChange struct{ Name, Old, New string }

// maxLogged is how much of each log is remembered.
const maxLogged = 2000

// ring remembers the last of many.
type ring[T any] struct {
	list []T
	next int // where the next one goes, once it is full
}

func (r *ring[T]) add(v T) {
	if len(r.list) < maxLogged {
		r.list = append(r.list, v)
		return
	}
	r.list[r.next] = v
	r.next = (r.next + 1) % maxLogged
}

// newest returns all that keep says, the newest first.
func (r *ring[T]) newest(keep func(*T) bool) []T {
	var out []T
	for i := range r.list {
		if v := &r.list[(r.next+i)%len(r.list)]; keep(v) {
			out = append(out, *v)
		}
	}
	slices.Reverse(out)
	return out
}

// AddSignIn remembers a sign-in.
func (w *World) AddSignIn(s SignIn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.signIns.add(s)
}

// SignIns returns the sign-ins of a tenant, the newest first.
func (w *World) SignIns(tenant string) []SignIn {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.signIns.newest(func(s *SignIn) bool { return s.Tenant == tenant })
}

// AddAudit remembers a change.
func (w *World) AddAudit(a Audit) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.audits.add(a)
}

// Audits returns the changes of a tenant, the newest first.
func (w *World) Audits(tenant string) []Audit {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.audits.newest(func(a *Audit) bool { return a.Tenant == tenant })
}
