package sts

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"
)

// What the server remembers between two requests. All of it is bounded: when a
// store is full its oldest entry goes. Refresh tokens are not remembered at
// all: a token is its own record, sealed under a key that dies with the server.

const (
	codeLifetime       = 10 * time.Minute
	deviceLifetime     = 15 * time.Minute
	sessionLifetime    = 24 * time.Hour
	refreshInactivity  = 90 * 24 * time.Hour
	spaRefreshLifetime = 24 * time.Hour
	storeLimit         = 20_000
)

type state struct {
	seal cipher.AEAD

	mu       sync.Mutex // guards the stores and the entries in them
	codes    store[*authCode]
	devices  store[*device] // by device code
	byUser   store[*device] // by user code
	sessions store[*session]
	visits   store[[]visit] // of the apps that a session has signed in to, by its sid
}

func (st *state) start() {
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	block, _ := aes.NewCipher(key) // cannot fail: the key has a good length
	st.seal, _ = cipher.NewGCMWithRandomNonce(block)
}

// store is a map that holds no more than storeLimit entries.
type store[V any] struct {
	m     map[string]V
	order []string // oldest first; may name entries that are gone
}

func (s *store[V]) put(k string, v V) {
	if s.m == nil {
		s.m = map[string]V{}
	}
	for len(s.order) >= storeLimit {
		delete(s.m, s.order[0])
		s.order = s.order[1:]
	}
	s.m[k] = v
	s.order = append(s.order, k)
}

// signIn is what a person's sign-in leaves in codes, refresh tokens and tokens.
type signIn struct {
	User    string    `json:"u"`           // object id of the account
	Session string    `json:"s,omitempty"` // the sid claim
	Time    time.Time `json:"t"`           // when the person proved who they are
	Methods []string  `json:"m,omitempty"` // amr: pwd, mfa
}

// authCode is what an authorization code stands for.
type authCode struct {
	signIn
	Client          string // client id
	Segment         string // the tenant segment of the authorize request
	Tenant          string // the tenant that was signed in to
	RedirectURI     string // as the request had it
	SPA             bool   // the redirect URI belongs to a single-page application
	Public          bool   // the redirect URI belongs to a mobile or desktop application
	Challenge       string // PKCE
	ChallengeMethod string // S256 or plain; empty without a challenge
	Scope           string // as the request had it (v2)
	Resource        string // as the request had it (v1)
	Nonce           string
	Claims          string // the claims parameter
	V1              bool   // from the v1 endpoint

	expires  time.Time
	redeemed bool
}

// newCode remembers c and returns the code for it.
func (s *Server) newCode(c authCode) string {
	c.expires = s.World.Now().Add(codeLifetime)
	code := "1." + randomToken(48)
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.codes.put(code, &c)
	return code
}

// code returns what an authorization code stands for, without redeeming it.
func (s *Server) code(code string) (authCode, bool) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	c, ok := s.state.codes.m[code]
	if !ok {
		return authCode{}, false
	}
	return *c, true
}

// redeem marks a code as used; it says whether this was the first time.
func (s *Server) redeem(code string) bool {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	c, ok := s.state.codes.m[code]
	if !ok || c.redeemed {
		return false
	}
	c.redeemed = true
	return true
}

type deviceStatus int

const (
	devicePending deviceStatus = iota
	deviceApproved
	deviceDenied
	deviceRedeemed
)

// device is a device code request.
type device struct {
	signIn
	UserCode    string
	Client      string // client id
	Segment     string // the tenant segment of the request
	Scope       string // as the request had it (v2)
	Resource    string // as the request had it (v1)
	Claims      string // the claims parameter
	V1          bool
	Status      deviceStatus
	Expires     time.Time
	tenant      string // the authority's name: polls go to the same
	correlation string // the id of the request, which polls report too
}

// newDevice remembers d and returns its device code; it fills in the user code.
func (s *Server) newDevice(d *device) string {
	d.Expires = s.World.Now().Add(deviceLifetime)
	code := "GAQABAAEAAAD" + randomToken(48)
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	for d.UserCode == "" || s.state.byUser.m[d.UserCode] != nil {
		d.UserCode = newUserCode()
	}
	s.state.devices.put(code, d)
	s.state.byUser.put(d.UserCode, d)
	return code
}

// device returns the request with a device code.
func (s *Server) device(deviceCode string) (device, bool) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	d, ok := s.state.devices.m[deviceCode]
	if !ok {
		return device{}, false
	}
	return *d, true
}

// deviceFor returns the request with a user code, however a person types it.
func (s *Server) deviceFor(userCode string) (device, bool) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	d, ok := s.state.byUser.m[normalUserCode(userCode)]
	if !ok {
		return device{}, false
	}
	return *d, true
}

// decideDevice records what a person said about a pending request; it says
// whether there was one to decide.
func (s *Server) decideDevice(userCode string, status deviceStatus, by signIn) bool {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	d, ok := s.state.byUser.m[normalUserCode(userCode)]
	if !ok || d.Status != devicePending || !s.World.Now().Before(d.Expires) {
		return false
	}
	d.Status, d.signIn = status, by
	return true
}

// redeemDevice marks an approved request as used; it says whether this was the
// first time.
func (s *Server) redeemDevice(deviceCode string) bool {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	d, ok := s.state.devices.m[deviceCode]
	if !ok || d.Status != deviceApproved {
		return false
	}
	d.Status = deviceRedeemed
	return true
}

// The letters and digits of user codes: none that are mistaken for another.
const userCodeAlphabet = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"

func newUserCode() string {
	b := make([]byte, 9)
	_, _ = rand.Read(b)
	for i := range b {
		b[i] = userCodeAlphabet[int(b[i])%len(userCodeAlphabet)] // 32 divides 256: no bias
	}
	return string(b)
}

func normalUserCode(code string) string {
	return strings.Map(func(c rune) rune {
		if c == ' ' || c == '-' {
			return -1
		}
		return c
	}, strings.ToUpper(strings.TrimSpace(code)))
}

// session is a browser that somebody has signed in with.
type session struct {
	signIn
	Tenant  string
	expires time.Time
}

// newSession remembers a browser session and returns the value of its cookie.
func (s *Server) newSession(tenant string, by signIn) string {
	cookie := randomToken(32)
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	s.state.sessions.put(cookie, &session{by, tenant, s.World.Now().Add(sessionLifetime)})
	return cookie
}

// session returns the session with a cookie, if it is alive and its user's
// grants have not been revoked since.
func (s *Server) session(cookie string) (session, bool) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	se, ok := s.state.sessions.m[cookie]
	if !ok || !s.World.Now().Before(se.expires) {
		return session{}, false
	}
	u, ok := s.World.User(se.Tenant, se.User)
	if !ok || u.Disabled || revoked(u.SessionsRevoked, se.Time) || revoked(u.PasswordChanged, se.Time) {
		return session{}, false
	}
	return *se, true
}

// endSession forgets a session.
func (s *Server) endSession(cookie string) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	if se, ok := s.state.sessions.m[cookie]; ok {
		delete(s.state.visits.m, se.Session)
	}
	delete(s.state.sessions.m, cookie)
}

// visit is an app that somebody signed in to in a tenant.
type visit struct{ app, tenant string }

// visited notes that a session has signed in to an app.
func (s *Server) visited(sid string, v visit) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	before, known := s.state.visits.m[sid]
	switch {
	case slices.Contains(before, v):
	case known:
		s.state.visits.m[sid] = append(before, v)
	default:
		s.state.visits.put(sid, []visit{v})
	}
}

// visitsOf returns the apps that a session has signed in to, and its sid.
func (s *Server) visitsOf(cookie string) (sid string, all []visit) {
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	se, ok := s.state.sessions.m[cookie]
	if !ok {
		return "", nil
	}
	return se.Session, slices.Clone(s.state.visits.m[se.Session])
}

// revoked says whether a revocation at time at voids what was granted at since.
func revoked(at, since time.Time) bool { return !at.IsZero() && !since.After(at) }

// refreshToken is what a refresh token says to the server that sealed it.
type refreshToken struct {
	signIn
	Client string `json:"c"`
	Tenant string `json:"n"`           // where the account is at home
	Scope  string `json:"p,omitempty"` // of the request that it came from
	V1     bool   `json:"o,omitempty"` // that request was to the v1 endpoint
	SPA    bool   `json:"w,omitempty"` // of a single-page application
	Public bool   `json:"k,omitempty"` // of a client that sends no credential

	// Resource is what the v1 request named in place of a scope.
	Resource string `json:"r,omitempty"`

	Born   time.Time `json:"b"` // of the first token of the chain
	Issued time.Time `json:"i"`
}

// sealRefresh makes the opaque text of a refresh token.
func (s *Server) sealRefresh(t refreshToken) (string, error) {
	plain, err := json.Marshal(t)
	if err != nil {
		return "", err
	}
	return "1." + base64.RawURLEncoding.EncodeToString(s.state.seal.Seal(nil, nil, plain, nil)), nil
}

// openRefresh reads a refresh token. It fails for everything that this server
// did not make.
func (s *Server) openRefresh(raw string) (refreshToken, bool) {
	var t refreshToken
	text, ok := strings.CutPrefix(raw, "1.")
	if !ok {
		return t, false
	}
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return t, false
	}
	plain, err := s.state.seal.Open(nil, nil, sealed, nil)
	if err != nil {
		return t, false
	}
	return t, json.Unmarshal(plain, &t) == nil
}

// randomToken returns n random bytes as text.
func randomToken(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

// PendingDevice is a device code request that waits for a person.
type PendingDevice struct {
	UserCode, ClientID, Tenant, Scope string
	Expires                           time.Time
}

// PendingDevices returns the device code requests that wait for a person,
// oldest first.
func (s *Server) PendingDevices() []PendingDevice {
	now := s.World.Now()
	s.state.mu.Lock()
	defer s.state.mu.Unlock()
	var all []PendingDevice
	for _, code := range s.state.byUser.order {
		if d, ok := s.state.byUser.m[code]; ok && d.Status == devicePending && now.Before(d.Expires) {
			all = append(all, PendingDevice{d.UserCode, d.Client, d.Segment, d.Scope + d.Resource, d.Expires})
		}
	}
	return slices.Clip(all)
}
