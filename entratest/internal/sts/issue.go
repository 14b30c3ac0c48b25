package sts

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// How long tokens live. Entra draws a number between 60 and 90 minutes; the
// emulator always takes the same one.
const (
	defaultLifetime = 3599 * time.Second
	longLifetime    = 86399 * time.Second // for clients and resources that can revoke in between
)

// How a client proved who it is: the claims appidacr and azpacr.
const (
	publicClient      = "0"
	secretClient      = "1"
	certificateClient = "2"
)

// issuance is everything that decides what an answer of the token endpoint
// contains.
type issuance struct {
	at         authority
	v1         bool // asked at the v1 endpoint
	tenant     *directory.Tenant
	client     *directory.App
	clientAuth string // publicClient and so on
	visitor           // user is nil: the app acts for itself
	asked      wanted
	target     target
	scopes     []string // granted, of the target; nil without a user
	roles      []string // app roles at the target
	nonce      string   // for the ID token
	ipAddress  string
	asks       claimsRequest
	implicit   bool   // the token travels in a URL
	boundKey   string // that who uses the token has to prove; empty: it is a bearer's
	clientInfo bool   // the client wants to know whose tokens these are
	refresh    *refreshToken
	spaCode    string // for the page of the same app (return_spa_code)
}

// accessClaims are the claims of access tokens of both versions, in the order in
// which Entra writes them.
type accessClaims struct {
	Audience          string            `json:"aud"`
	Issuer            string            `json:"iss"`
	IssuedAt          int64             `json:"iat"`
	NotBefore         int64             `json:"nbf"`
	Expires           int64             `json:"exp"`
	Account           *int              `json:"acct,omitempty"`
	AuthContext       string            `json:"acr,omitempty"`
	AuthContexts      []string          `json:"acrs,omitempty"`
	AIO               string            `json:"aio"`
	Methods           []string          `json:"amr,omitempty"`
	AppName           string            `json:"app_displayname,omitempty"`
	AppID             string            `json:"appid,omitempty"`
	AppIDAuth         string            `json:"appidacr,omitempty"`
	AuthTime          int64             `json:"auth_time,omitempty"`
	AuthorizedParty   string            `json:"azp,omitempty"`
	AuthorizedAuth    string            `json:"azpacr,omitempty"`
	Confirmation      map[string]string `json:"cnf,omitempty"`
	Email             string            `json:"email,omitempty"`
	FamilyName        string            `json:"family_name,omitempty"`
	GivenName         string            `json:"given_name,omitempty"`
	Provider          string            `json:"idp,omitempty"`
	Type              string            `json:"idtyp,omitempty"`
	IPAddress         string            `json:"ipaddr,omitempty"`
	Name              string            `json:"name,omitempty"`
	ObjectID          string            `json:"oid"`
	PreferredUsername string            `json:"preferred_username,omitempty"`
	RH                string            `json:"rh"`
	Roles             []string          `json:"roles,omitempty"`
	Scopes            string            `json:"scp,omitempty"`
	Session           string            `json:"sid,omitempty"`
	Subject           string            `json:"sub"`
	Region            string            `json:"tenant_region_scope,omitempty"`
	Tenant            string            `json:"tid"`
	UniqueName        string            `json:"unique_name,omitempty"`
	UPN               string            `json:"upn,omitempty"`
	ID                string            `json:"uti"`
	Version           string            `json:"ver"`
	DirectoryRoles    []string          `json:"wids,omitempty"`
	ClientCan         []string          `json:"xms_cc,omitempty"`
	SubjectOf         map[string]string `json:"xms_st,omitempty"`
	TenantCreated     int64             `json:"xms_tcdt,omitempty"`
	groupClaims
}

// everybodysRole is the directory role that all members have without being
// given it. Guests do not.
const everybodysRole = "b79fbf4d-3ef9-4689-8143-76b194e85509"

// tenantCreated is when every tenant of the emulator says it was made.
const tenantCreated = 1767603600

// accessToken makes the access token and says how long it lives.
func (s *Server) accessToken(i issuance) (string, time.Duration, error) {
	resource := i.target.Resource
	version := max(resource.TokenVersion, 1)
	graph := resource.ClientID == directory.GraphAppID
	lifetime := s.lifetime()
	now := s.World.Now()
	c := accessClaims{
		Issuer: i.at.issuer(i.tenant.ID, version), IssuedAt: now.Unix(), AIO: randomToken(24), Roles: i.roles,
		RH: "1.A" + pairwise(i.tenant.ID, i.client.ClientID, "rh") + ".", Tenant: i.tenant.ID, ID: randomToken(16), Version: strconv.Itoa(version) + ".0",
	}
	wants := func(claim string) bool { return slices.Contains(resource.OptionalClaims, claim) }
	if i.asks.revocable && (resource.FirstParty || wants("xms_cc")) {
		if s.TokenLifetime == 0 {
			lifetime = longLifetime
		}
		c.ClientCan = []string{"CP1"}
	}
	typed := resource.FirstParty || wants("idtyp")
	if version == 1 {
		c.Audience, c.AppID, c.AppIDAuth = i.target.audience(), i.client.ClientID, i.clientAuth
	} else {
		c.Audience, c.AuthorizedParty, c.AuthorizedAuth = resource.ClientID, i.client.ClientID, i.clientAuth
	}
	if version == 1 && resource.FirstParty {
		c.AppName = i.client.Name
	}
	if graph {
		c.Region, c.TenantCreated = "EU", tenantCreated
	}

	if u := i.user; u == nil {
		c.IssuedAt -= int64(clockSkew.Seconds()) // so that clocks that are late accept it
		c.ObjectID = s.World.PrincipalID(i.tenant.ID, i.client)
		c.Subject = c.ObjectID
		if version == 1 {
			c.Provider = c.Issuer
		}
		if typed {
			c.Type = "app"
		}
		if graph {
			c.DirectoryRoles = []string{"0997a1d0-0d1d-4acb-b408-d5ca73121e90"}
		}
		c.groupClaims = s.groupsOf(resource, i.tenant.ID, c.ObjectID, i.implicit)
	} else {
		account := i.account
		s.World.Accept(u)
		if account.TokensValidFrom().Unix() == c.IssuedAt {
			// The claim has whole seconds: without this, nobody could tell a token
			// that was issued after a revocation in this second from one before.
			c.IssuedAt++
		}
		c.ObjectID, c.Name, c.Session = u.ID, u.DisplayName, i.Session
		if account.Tenant != u.Tenant {
			c.Provider = i.at.issuer(account.Tenant, 1)
		}
		c.Subject = pairwise(i.tenant.ID, u.ID, resource.ClientID)
		c.Scopes = strings.Join(i.scopes, " ")
		if version == 1 {
			c.AuthContext, c.Methods = "1", i.Methods
			c.UniqueName = account.UPN
		} else {
			c.PreferredUsername = account.UPN
		}
		if version == 1 || wants("acct") {
			c.Account = accountStatus(u)
		}
		if version == 1 || wants("family_name") {
			c.FamilyName = u.Surname
		}
		if version == 1 || wants("given_name") {
			c.GivenName = u.GivenName
		}
		if version == 1 || wants("ipaddr") {
			c.IPAddress = i.ipAddress
		}
		if version == 1 && u.Guest || wants("email") {
			c.Email = u.Mail
		}
		if wants("auth_time") {
			c.AuthTime = i.Time.Unix()
		}
		if version == 1 || resource.NamesGroups("SecurityGroup", "DirectoryRole", "All") {
			c.DirectoryRoles = directoryRoles(u)
		}
		c.AuthContexts = i.asks.contexts
		c.groupClaims = s.groupsOf(resource, i.tenant.ID, u.ID, i.implicit)
		// The directory's name of a guest is for those who ask for it.
		if wants("upn") || version == 1 && (u == account || resource.FirstParty) {
			c.UPN = u.UPN
		}
		if typed {
			c.Type = "user"
		}
		if graph {
			c.SubjectOf = map[string]string{"sub": pairwise(i.tenant.ID, u.ID, i.client.ClientID)}
		}
	}
	if i.boundKey != "" {
		c.Confirmation = map[string]string{"kid": i.boundKey}
	}
	c.NotBefore = c.IssuedAt
	c.Expires = now.Add(lifetime).Unix()
	token, err := s.keys.current().sign(version, c)
	return token, lifetime, err
}

func (s *Server) lifetime() time.Duration {
	if s.TokenLifetime > 0 {
		return s.TokenLifetime
	}
	return defaultLifetime
}

// pairwise makes the subject under which an app knows a user: always the same,
// and another one for every app.
func pairwise(tenant, user, app string) string {
	h := sha256.Sum256([]byte(tenant + "/" + user + "/" + app))
	return base64.RawURLEncoding.EncodeToString(h[:])
}

// accountStatus is the claim acct: 1 for guests.
func accountStatus(u *directory.User) *int {
	status := 0
	if u.Guest {
		status = 1
	}
	return &status
}

// directoryRoles is the claim wids of a user.
func directoryRoles(u *directory.User) []string {
	if u.Guest {
		return u.Roles
	}
	return append(slices.Clone(u.Roles), everybodysRole)
}

// groupClaims say which groups somebody is in, or where to ask.
type groupClaims struct {
	Groups    []string               `json:"groups,omitempty"`
	HasGroups bool                   `json:"hasgroups,omitempty"`
	Names     map[string]string      `json:"_claim_names,omitempty"`
	Sources   map[string]claimSource `json:"_claim_sources,omitempty"`
}

type claimSource struct {
	Endpoint string `json:"endpoint"`
}

// More groups than these do not fit into a token, or into one that travels in a
// URL.
const (
	maxGroups         = 200
	maxGroupsImplicit = 5
)

// groupsOf returns what the tokens of an app say about the groups of a user or
// a service principal.
func (s *Server) groupsOf(app *directory.App, tenant, principal string, implicit bool) groupClaims {
	if app.GroupClaims == "" {
		return groupClaims{}
	}
	var ids []string
	for _, g := range s.World.GroupsOf(tenant, principal) {
		switch {
		case app.NamesGroups("All"), app.NamesGroups("SecurityGroup") && !g.Unified,
			app.NamesGroups("ApplicationGroup") && slices.Contains(g.Members, principal) && s.World.Assigned(tenant, g.ID, app.ClientID):
			ids = append(ids, g.ID)
		}
	}
	switch {
	case implicit && len(ids) > maxGroupsImplicit:
		return groupClaims{HasGroups: true}
	case len(ids) > maxGroups: // the service still names the API from before Graph
		return groupClaims{Names: map[string]string{"groups": "src1"},
			Sources: map[string]claimSource{"src1": {"https://graph.windows.net/" + tenant + "/users/" + principal + "/getMemberObjects"}}}
	}
	return groupClaims{Groups: ids}
}

type idClaims struct {
	Audience          string   `json:"aud"`
	Issuer            string   `json:"iss"`
	IssuedAt          int64    `json:"iat"`
	NotBefore         int64    `json:"nbf"`
	Expires           int64    `json:"exp"`
	Account           *int     `json:"acct,omitempty"`
	AIO               string   `json:"aio"`
	Methods           []string `json:"amr,omitempty"`
	AuthTime          int64    `json:"auth_time,omitempty"`
	AtHash            string   `json:"at_hash,omitempty"`
	CodeHash          string   `json:"c_hash,omitempty"`
	Email             string   `json:"email,omitempty"`
	FamilyName        string   `json:"family_name,omitempty"`
	GivenName         string   `json:"given_name,omitempty"`
	IPAddress         string   `json:"ipaddr,omitempty"`
	Provider          string   `json:"idp,omitempty"`
	LoginHint         string   `json:"login_hint,omitempty"`
	Name              string   `json:"name,omitempty"`
	Nonce             string   `json:"nonce,omitempty"`
	ObjectID          string   `json:"oid,omitempty"`
	PreferredUsername string   `json:"preferred_username,omitempty"`
	RH                string   `json:"rh"`
	Roles             []string `json:"roles,omitempty"`
	Session           string   `json:"sid,omitempty"`
	Subject           string   `json:"sub"`
	Tenant            string   `json:"tid"`
	UniqueName        string   `json:"unique_name,omitempty"`
	UPN               string   `json:"upn,omitempty"`
	ID                string   `json:"uti"`
	Version           string   `json:"ver"`
	DirectoryRoles    []string `json:"wids,omitempty"`
	groupClaims
}

// idToken makes the ID token of an issuance, in the version of the endpoint. A
// token that travels with a code or an access token through the browser vouches
// for them by their hash; leave them empty otherwise.
func (s *Server) idToken(i issuance, code, accessToken string) (string, error) {
	now := s.World.Now()
	version := 2
	if i.v1 {
		version = 1
	}
	u := i.user
	c := idClaims{
		Audience: i.client.ClientID, Issuer: i.at.issuer(i.tenant.ID, version), IssuedAt: now.Unix(), NotBefore: now.Unix(), Expires: now.Add(s.lifetime()).Unix(),
		AIO: randomToken(24), AtHash: halfHash(accessToken), CodeHash: halfHash(code), Nonce: i.nonce, RH: "1.A" + pairwise(i.tenant.ID, i.client.ClientID, "rh") + ".",
		Roles: appRoles(s.World.AppRolesOf(i.tenant.ID, u.ID, i.client.ClientID)), Session: i.Session,
		Subject: pairwise(i.tenant.ID, u.ID, i.client.ClientID), Tenant: i.tenant.ID, ID: randomToken(16), Version: strconv.Itoa(version) + ".0",
	}
	account := i.account
	if account.Tenant != u.Tenant {
		c.Provider = i.at.issuer(account.Tenant, 1)
	}
	if i.asked.Profile || i.v1 {
		c.ObjectID, c.Name = u.ID, u.DisplayName
	}
	switch {
	case i.v1:
		c.Methods, c.FamilyName, c.GivenName, c.IPAddress, c.UniqueName = i.Methods, u.Surname, u.GivenName, i.ipAddress, account.UPN
		if u == account {
			c.UPN = u.UPN
		}
	case i.asked.Profile:
		c.PreferredUsername = account.UPN
	}
	wants := func(claim string) bool { return slices.Contains(i.client.IDTokenClaims, claim) }
	if i.asked.Email || u.Guest || wants("email") {
		c.Email = u.Mail
	}
	if wants("acct") {
		c.Account = accountStatus(u)
	}
	if wants("auth_time") {
		c.AuthTime = i.Time.Unix()
	}
	if wants("family_name") {
		c.FamilyName = u.Surname
	}
	if wants("given_name") {
		c.GivenName = u.GivenName
	}
	if wants("ipaddr") {
		c.IPAddress = i.ipAddress
	}
	if wants("upn") {
		c.UPN = u.UPN
	}
	if wants("login_hint") {
		c.LoginHint = loginHint(account)
	}
	if i.client.NamesGroups("SecurityGroup", "DirectoryRole", "All") {
		c.DirectoryRoles = directoryRoles(u)
	}
	c.groupClaims = s.groupsOf(i.client, i.tenant.ID, u.ID, i.implicit)
	return s.keys.current().sign(version, c)
}

// loginHint is the claim login_hint: nobody's business what is in it.
func loginHint(account *directory.User) string {
	return "O." + base64.RawURLEncoding.EncodeToString([]byte(account.UPN))
}

// hinted is the user name that a login_hint means: it may be that claim.
func hinted(hint string) string {
	if text, ok := strings.CutPrefix(hint, "O."); ok {
		if upn, err := base64.RawURLEncoding.DecodeString(text); err == nil {
			return string(upn)
		}
	}
	return hint
}

// halfHash is the form of at_hash and c_hash: the left half of SHA-256.
func halfHash(of string) string {
	if of == "" {
		return ""
	}
	h := sha256.Sum256([]byte(of))
	return base64.RawURLEncoding.EncodeToString(h[:16])
}

// appRoles drops assignments without a role, which give access and no claim.
func appRoles(values []string) []string {
	return slices.DeleteFunc(values, func(v string) bool { return v == "" })
}

// clientInfo says to a client whose tokens it has got: the account's, which is
// the same in all tenants.
func clientInfo(account *directory.User) string {
	return base64.RawURLEncoding.EncodeToString([]byte(`{"uid":"` + account.ID + `","utid":"` + account.Tenant + `"}`))
}

// issue answers a token request.
func (s *Server) issue(w http.ResponseWriter, r *http.Request, trace string, i issuance) {
	body, err := s.tokenAnswer(i)
	if err != nil {
		s.refuse(w, r, 50000, "There was an error issuing a token: %v.", err)
		return
	}
	s.answer(w, r, http.StatusOK, trace, correlationID(r), 0, body)
}

// tokenAnswer makes the members of a successful answer: numbers at the v2
// endpoint, strings at v1.
func (s *Server) tokenAnswer(i issuance) (map[string]any, error) {
	access, lifetime, err := s.accessToken(i)
	if err != nil {
		return nil, err
	}
	seconds := int(lifetime.Seconds())
	body := map[string]any{"token_type": "Bearer", "access_token": access}
	if i.boundKey != "" {
		body["token_type"] = "pop"
	}
	if i.v1 {
		now := s.World.Now()
		body["expires_in"], body["ext_expires_in"] = strconv.Itoa(seconds), strconv.Itoa(seconds)
		body["not_before"] = strconv.FormatInt(now.Unix(), 10)
		body["expires_on"] = strconv.FormatInt(now.Add(lifetime).Unix(), 10)
		body["resource"] = i.target.audience()
		if i.user != nil {
			body["scope"] = strings.Join(i.scopes, " ")
		}
	} else {
		body["expires_in"], body["ext_expires_in"] = seconds, seconds
		if lifetime == longLifetime {
			body["refresh_in"] = seconds / 2
		}
		if i.user != nil {
			body["scope"] = i.scopeAnswer()
		}
	}
	if i.user == nil {
		return body, nil
	}
	if i.clientInfo {
		body["client_info"] = clientInfo(i.account)
	}
	if i.spaCode != "" {
		body["spa_code"] = i.spaCode
	}
	if i.asked.OpenID {
		if body["id_token"], err = s.idToken(i, "", ""); err != nil {
			return nil, err
		}
	}
	if i.refresh != nil {
		if body["refresh_token"], err = s.sealRefresh(*i.refresh); err != nil {
			return nil, err
		}
		if i.refresh.SPA {
			body["refresh_token_expires_in"] = int(i.refresh.Born.Add(spaRefreshLifetime).Sub(s.World.Now()).Seconds())
		}
		if i.client.Family {
			body["foci"] = "1"
		}
	}
	return body, nil
}

// scopeAnswer is the scope member: what was granted, spelt as it was asked for,
// and .default where that was the question.
func (i issuance) scopeAnswer() string {
	var out []string
	for _, v := range i.scopes {
		switch v {
		case "openid", "profile", "email":
			out = append(out, v)
		default:
			out = append(out, i.target.qualified(v))
		}
	}
	for _, v := range i.asked.oidc() {
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	if i.target.Default {
		out = append(out, i.target.qualified(".default"))
	}
	return strings.Join(out, " ")
}

// claimsRequest is what a claims parameter asks for.
type claimsRequest struct {
	revocable bool     // the client can be told in between that a token is void: it understands a challenge (cp1)
	contexts  []string // authentication contexts that an API has asked for (acrs)
}

// or is a request with what an earlier one of the same sign-in asked for.
func (c claimsRequest) or(earlier claimsRequest) claimsRequest {
	c.revocable = c.revocable || earlier.revocable
	if c.contexts == nil {
		c.contexts = earlier.contexts
	}
	return c
}

// readClaims reads a claims parameter, JSON, and refuses what is not well formed.
func readClaims(claims string) (c claimsRequest, refused *refusal) {
	if claims == "" {
		return c, nil
	}
	malformed := no(50117, "Failed to parse request.Claims parameter '%.200s'.", claims)
	var sent struct {
		Access map[string]json.RawMessage `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(claims), &sent); err != nil {
		return c, malformed
	}
	asked := map[string][]string{}
	for _, name := range []string{"xms_cc", "acrs"} {
		var claim struct {
			Value  string   `json:"value"`
			Values []string `json:"values"`
		}
		if raw, ok := sent.Access[name]; ok && json.Unmarshal(raw, &claim) != nil {
			return c, malformed
		}
		for _, v := range append(claim.Values, claim.Value) {
			if v != "" {
				asked[name] = append(asked[name], v)
			}
		}
	}
	c.contexts = asked["acrs"]
	c.revocable = slices.ContainsFunc(asked["xms_cc"], func(v string) bool { return strings.EqualFold(v, "cp1") }) // in any case
	return c, nil
}
