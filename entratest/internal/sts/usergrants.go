package sts

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// The grants by which a client acts for a user.

// authorizationCode redeems a code of the authorize endpoint.
func (q *tokenRequest) authorizationCode() (issuance, *refusal) {
	s := q.s
	raw := q.form.Get("code")
	if raw == "" {
		return issuance{}, absent("code")
	}
	code, ok := s.code(raw)
	now := s.World.Now()
	switch {
	case !ok:
		return issuance{}, no(9002313, "Invalid request. Request is malformed or invalid: this is no authorization code of this server.").as("invalid_grant")
	case code.redeemed:
		return issuance{}, redeemedBefore()
	case !now.Before(code.expires):
		return issuance{}, no(70008, "The provided authorization code or refresh token has expired due to inactivity. Send a new interactive authorization request for this user and resource.").as("invalid_grant")
	case code.Client != q.client.ClientID:
		return issuance{}, no(70000, "Provided grant is invalid or malformed: the code was issued to the application '%s'.", code.Client).as("invalid_grant")
	case q.at.Tenant != nil && q.at.Tenant.ID != code.Tenant:
		return issuance{}, no(700005, "Provided Authorization Code is intended to use against other tenant, thus rejected. OAuth2 Authorization Code must be redeemed against same tenant it was acquired for.").as("invalid_grant")
	}
	if refused := q.checkRedemption(code); refused != nil {
		return issuance{}, refused
	}
	auth, refused := q.redeemer(code)
	if refused != nil {
		return issuance{}, refused
	}
	tenant, _ := s.World.Tenant(code.Tenant)
	account, refused := q.signedIn("", code.User, code.signIn, timestamp(code.Time))
	if refused != nil {
		return issuance{}, refused
	}
	user, refused := q.userIn(tenant, account)
	if refused != nil {
		return issuance{}, refused
	}
	earlier, _ := readClaims(code.Claims) // well formed: the authorize endpoint has read it
	q.asks = q.asks.or(earlier)
	i := q.issuance(tenant, auth)
	i.nonce = code.Nonce
	i.asked, refused = q.wantedForUser(tenant, code.Scope, code.Resource, code.V1)
	if refused != nil {
		return i, refused
	}
	if first, refused := s.parseScope(tenant, q.client, code.Scope); refused == nil { // a sign-in once asked for stays asked for
		i.asked.OpenID = i.asked.OpenID || first.OpenID
		i.asked.Profile = i.asked.Profile || first.Profile
		i.asked.Email = i.asked.Email || first.Email
		i.asked.Offline = i.asked.Offline || first.Offline
	}
	if len(i.asked.Targets) == 0 {
		_, refused = i.asked.only(code.Scope)
		return i, refused
	}
	i.target = i.asked.Targets[0]
	i, refused = q.forUser(i, visitor{user, account, code.signIn}, refreshToken{Scope: code.Scope, Resource: code.Resource, V1: code.V1, SPA: code.SPA, Public: auth == publicClient}, q.v1 || i.asked.Offline)
	if refused != nil {
		return i, refused
	}
	if !s.redeem(raw) { // somebody was faster
		return i, redeemedBefore()
	}
	if q.form.Get("return_spa_code") == "1" && !code.SPA && len(q.client.SPARedirects) > 0 {
		code.SPA, code.Public, code.RedirectURI, code.Challenge, code.redeemed = true, false, "", "", false
		i.spaCode = s.newCode(code)
	}
	return i, nil
}

// redeemedBefore refuses a code that has been used, of a browser or of a device.
func redeemedBefore() *refusal {
	return no(54005, "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.").as("invalid_grant")
}

// checkRedemption checks that who redeems a code is who asked for it.
func (q *tokenRequest) checkRedemption(code authCode) *refusal {
	redirect, verifier := q.form.Get("redirect_uri"), q.form.Get("code_verifier")
	platform, registered := matchRedirect(q.client, redirect)
	switch {
	case code.SPA && code.RedirectURI == "": // a web server has got it for its page
		if !registered || platform != spaPlatform {
			return no(500112, "The reply address '%.200s' is not one of the application's page.", redirect).as("invalid_grant")
		}
		return nil
	case redirect == "" && code.RedirectURI != "":
		return no(700009, "Reply address must be provided when presenting an authorization code requested with an explicit reply address.").as("invalid_request")
	case redirect != code.RedirectURI:
		return no(500112, "The reply address '%.200s' does not match the reply address '%s' provided when requesting Authorization code.", redirect, code.RedirectURI).as("invalid_grant")
	case code.Challenge == "" && verifier == "":
		return nil
	case verifier == "":
		return no(50148, "The code_verifier does not match the code_challenge supplied in the authorization request for PKCE: there is none.").as("invalid_grant")
	}
	if code.ChallengeMethod == "S256" {
		h := sha256.Sum256([]byte(verifier))
		verifier = base64.RawURLEncoding.EncodeToString(h[:])
	}
	if !sameSecret(verifier, code.Challenge) {
		return no(501481, "The Code_Verifier does not match the code_challenge supplied in the authorization request.").as("invalid_grant")
	}
	return nil
}

// redeemer authenticates the client of a code, by the platform of its redirect
// URI: pages in a browser and native apps have no secret, web servers have one.
func (q *tokenRequest) redeemer(code authCode) (string, *refusal) {
	if refused := q.checkOrigin(code.SPA); refused != nil {
		return "", refused
	}
	if code.SPA || code.Public {
		return q.asPublic()
	}
	return q.asConfidential()
}

// notForPages refuses a web page where the app is none.
const notForPages = 9002326

// checkOrigin keeps pages and programs apart: the tokens of a single-page app are
// redeemed by its page, where the browser adds an Origin, and no others are.
func (q *tokenRequest) checkOrigin(spa bool) *refusal {
	origin := q.r.Header.Get("Origin")
	switch {
	case spa && origin == "":
		return no(9002327, "Tokens issued for the 'Single-Page Application' client-type may only be redeemed via cross-origin requests.").as("invalid_request")
	case !spa && origin != "":
		return no(notForPages, "Cross-origin token redemption is permitted only for the 'Single-Page Application' client-type. Request origin: '%.200s'.", origin).as("invalid_request")
	}
	return nil
}

// refreshToken trades a refresh token for new tokens. The old one stays good:
// Entra does not take back what a client may still need.
func (q *tokenRequest) refreshToken() (issuance, *refusal) {
	s := q.s
	raw := q.form.Get("refresh_token")
	if raw == "" {
		return issuance{}, absent("refresh_token")
	}
	t, ok := s.openRefresh(raw)
	now := s.World.Now()
	issuedTo, _ := s.World.Registration(t.Client)
	switch {
	case !ok && !strings.HasPrefix(raw, "1."):
		return issuance{}, no(9002313, "Invalid request. Request is malformed or invalid: this is no refresh token.").as("invalid_grant")
	case !ok:
		return issuance{}, no(70000, "Provided grant is invalid or malformed.").as("invalid_grant").sub("bad_token")
	case t.Client != q.client.ClientID && issuedTo != nil && issuedTo.Family && q.client.FirstParty && !q.client.Family:
		return issuance{}, no(70000, "Provided grant is invalid or malformed: the application '%s' is not in the family of the token.", q.client.ClientID).as("invalid_grant").sub("client_mismatch")
	case t.Client != q.client.ClientID && !(issuedTo != nil && issuedTo.Family && q.client.Family):
		return issuance{}, no(70000, "Provided grant is invalid or malformed: the refresh token was issued to the application '%s'.", t.Client).as("invalid_grant").sub("bad_token")
	case t.SPA && !now.Before(t.Born.Add(spaRefreshLifetime)):
		return issuance{}, no(700084, "The refresh token was issued to a single page app (SPA), and therefore has a fixed, limited lifetime of 1.00:00:00, which can't be extended. "+
			"It is now expired and a new sign in request must be sent by the SPA to the sign in page. The token was issued on %s.", timestamp(t.Born)).as("invalid_grant").sub("token_expired")
	case !now.Before(t.Issued.Add(refreshInactivity)):
		return issuance{}, no(700082, "The refresh token has expired due to inactivity. The token was issued on %s and was inactive for 90.00:00:00.", timestamp(t.Issued)).as("invalid_grant").sub("token_expired")
	}
	refused := q.checkOrigin(t.SPA)
	if refused != nil {
		return issuance{}, refused
	}
	authenticate := q.asConfidential
	if t.Public || t.SPA {
		authenticate = q.asPublic
	}
	auth, refused := authenticate()
	if refused != nil {
		return issuance{}, refused
	}
	account, refused := q.signedIn(t.Tenant, t.User, t.signIn, timestamp(t.Issued))
	if refused != nil {
		return issuance{}, refused
	}
	if (t.Public || t.SPA) && revoked(account.PasswordChanged, t.Time) { // web servers keep theirs
		return issuance{}, voided(timestamp(t.Issued), account.PasswordChanged)
	}
	tenant := q.tenantFor(account)
	user, refused := q.userIn(tenant, account) // good wherever the account is a guest
	if refused != nil {
		return issuance{}, refused
	}
	i := q.issuance(tenant, auth)
	if i.asked, refused = q.wantedForRefresh(tenant, t); refused != nil {
		return i, refused
	}
	i.target = i.asked.Targets[0]
	// A new refresh token comes where one is asked for: by saying so, or by
	// leaving the scope as it was.
	offline := q.v1 || q.form.Get("scope") == "" || i.asked.Offline
	return q.forUser(i, visitor{user, account, t.signIn}, t, offline)
}

// wantedForRefresh is wantedForUser where the first of several resources wins,
// because a refresh token is good for any.
func (q *tokenRequest) wantedForRefresh(tenant *directory.Tenant, t refreshToken) (wanted, *refusal) {
	var w wanted
	var refused *refusal
	if scope := q.form.Get("scope"); !q.v1 && strings.TrimSpace(scope) != "" {
		w, refused = q.s.parseScope(tenant, q.client, scope)
	} else {
		w, refused = q.wantedForUser(tenant, t.Scope, t.Resource, t.V1)
	}
	if refused == nil && len(w.Targets) == 0 {
		_, refused = w.only(q.form.Get("scope"))
	}
	return w, refused
}

// password signs a user in with name and password, which works for people
// without a second factor only.
func (q *tokenRequest) password() (issuance, *refusal) {
	s := q.s
	for _, name := range []string{"username", "password"} {
		if q.form.Get(name) == "" {
			return issuance{}, absent(name)
		}
	}
	auth, refused := q.withoutRedirect()
	if refused != nil {
		return issuance{}, refused
	}
	account, refused := s.checkPassword(q.at.Tenant, q.form.Get("username"), q.form.Get("password"))
	if refused != nil {
		return issuance{}, refused
	}
	tenant := q.tenantFor(account)
	user, refused := q.userIn(tenant, account)
	if refused != nil {
		return issuance{}, refused
	}
	if user.MFARequired || account.MFARequired {
		return issuance{}, no(50076, "Due to a configuration change made by your administrator, or because you moved to a new location, you must use multi-factor authentication to access '%s'.",
			directory.GraphAppID).as("invalid_grant").sub("basic_action")
	}
	i := q.issuance(tenant, auth)
	if i.asked, refused = q.wantedForUser(tenant, "", "", q.v1); refused != nil {
		return i, refused
	}
	i.target = i.asked.Targets[0]
	return q.forUser(i, visitor{user, account, s.newSignIn(user, account)}, refreshToken{Scope: q.form.Get("scope"), Resource: q.form.Get("resource"), V1: q.v1, Public: auth == publicClient}, q.v1 || i.asked.Offline)
}

// withoutRedirect authenticates the client of a flow that has no redirect URI:
// the setting "Allow public client flows" decides whether it is public.
func (q *tokenRequest) withoutRedirect() (string, *refusal) {
	if q.client.AllowPublicFlows {
		return q.asPublic()
	}
	return q.asConfidential()
}

// deviceCode polls for the outcome of a device code request. How often is not
// looked at: MSAL for Go begins with 50 ms, and others take slow_down for the
// end.
func (q *tokenRequest) deviceCode() (issuance, *refusal) {
	s := q.s
	raw := q.form.Get("device_code")
	if raw == "" {
		raw = q.form.Get("code") // the v1 name
	}
	if raw == "" {
		return issuance{}, absent("device_code")
	}
	auth, refused := q.withoutRedirect()
	if refused != nil {
		return issuance{}, refused
	}
	d, ok := s.device(raw)
	if !ok {
		return issuance{}, no(70018, "Invalid verification code due to User typing in wrong user code for device code flow.").as("bad_verification_code")
	}
	switch {
	case d.Client != q.client.ClientID:
		refused = no(70000, "Provided grant is invalid or malformed: the device code was issued to the application '%s'.", d.Client).as("invalid_grant")
	case d.tenant != q.at.name():
		refused = no(700005, "Provided device code is intended to use against other tenant, thus rejected. It must be redeemed against the tenant it was acquired for.").as("invalid_grant")
	case d.Status == deviceRedeemed:
		refused = redeemedBefore()
	case d.Status == deviceDenied:
		refused = no(65004, "User declined to consent to access the app.").as("authorization_declined")
	case !s.World.Now().Before(d.Expires):
		refused = no(70020, "The provided value for the input parameter 'device_code' is not valid. This device code has expired.").as("expired_token")
	case d.Status == devicePending:
		refused = no(70016, "OAuth 2.0 device flow error. Authorization is pending. Continue polling.").as("authorization_pending")
	}
	if refused != nil {
		refused.correlation = d.correlation
		return issuance{}, refused
	}
	account, refused := q.signedIn("", d.User, d.signIn, timestamp(d.Time))
	if refused != nil {
		return issuance{}, refused
	}
	tenant := q.tenantFor(account)
	user, refused := q.userIn(tenant, account)
	if refused != nil {
		return issuance{}, refused
	}
	earlier, _ := readClaims(d.Claims) // well formed: the device code endpoint has read it
	q.asks = q.asks.or(earlier)
	i := q.issuance(tenant, auth)
	if d.V1 {
		i.asked, refused = s.parseResource(tenant, q.client, d.Resource)
	} else {
		i.asked, refused = s.parseScope(tenant, q.client, d.Scope)
	}
	if refused != nil {
		return i, refused
	}
	i.target = i.asked.Targets[0]
	i, refused = q.forUser(i, visitor{user, account, d.signIn}, refreshToken{Scope: d.Scope, Resource: d.Resource, V1: d.V1, Public: auth == publicClient}, q.v1 || i.asked.Offline)
	if refused != nil {
		return i, refused
	}
	if !s.redeemDevice(raw) { // somebody was faster
		return i, redeemedBefore()
	}
	return i, nil
}

// onBehalfOf lets an API act for the user whose token it has received.
func (q *tokenRequest) onBehalfOf() (issuance, *refusal) {
	s := q.s
	raw := q.form.Get("assertion")
	switch {
	case raw == "":
		return issuance{}, absent("assertion")
	case q.form.Get("requested_token_use") == "":
		return issuance{}, absent("requested_token_use")
	case q.form.Get("requested_token_use") != "on_behalf_of":
		return issuance{}, no(90023, "Invalid request: the value '%.100s' of the parameter 'requested_token_use' is not supported.", q.form.Get("requested_token_use"))
	case q.form.Get("requested_token_type") != "" && q.form.Get("requested_token_type") != "urn:ietf:params:oauth:token-type:access_token":
		return issuance{}, no(90010, "The requested_token_type '%.100s' is not supported.", q.form.Get("requested_token_type"))
	case !q.hasCredential():
		return issuance{}, no(7000216, "'client_assertion', 'client_secret' or 'request' is required for the '%s' grant type.", q.grantType).as("invalid_client")
	}
	auth, refused := q.asConfidential()
	if refused != nil {
		return issuance{}, refused
	}
	who, refused := q.userAssertion(raw)
	if refused != nil {
		return issuance{}, refused
	}
	tenant, _ := s.World.Tenant(who.user.Tenant)
	if tenant == nil || q.at.Tenant != nil && q.at.Tenant.ID != tenant.ID {
		return issuance{}, no(50013, "Assertion failed signature validation. [Reason - The assertion was issued in another tenant.]").as("invalid_grant")
	}
	i := q.issuance(tenant, auth)
	if i.asked, refused = q.wantedForUser(tenant, "", "", q.v1); refused != nil {
		return i, refused
	}
	i.target = i.asked.Targets[0]
	return q.forUser(i, who, refreshToken{Scope: q.form.Get("scope"), Resource: q.form.Get("resource"), V1: q.v1}, i.asked.Offline)
}

// userAssertion reads the token that a user's client has sent to the API which
// makes this request.
func (q *tokenRequest) userAssertion(raw string) (who visitor, refused *refusal) {
	s := q.s
	payload, err := s.verify(raw)
	if err != nil {
		return who, no(50013, "Assertion failed signature validation. [Reason - %v.]", err).as("invalid_grant")
	}
	var c struct {
		Audience  string   `json:"aud"`
		Issued    int64    `json:"iat"`
		NotBefore int64    `json:"nbf"`
		Expires   int64    `json:"exp"`
		Scopes    string   `json:"scp"`
		AppID     string   `json:"appid"`
		Party     string   `json:"azp"`
		User      string   `json:"oid"`
		Tenant    string   `json:"tid"`
		Session   string   `json:"sid"`
		Methods   []string `json:"amr"`
	}
	if err := json.Unmarshal(payload, &c); err != nil {
		return who, no(50013, "Assertion failed signature validation. [Reason - its claims are no JSON object.]").as("invalid_grant")
	}
	meant, ok := s.World.Resource(c.Tenant, c.Audience)
	now := s.World.Now()
	switch {
	case !ok || meant.ClientID != q.client.ClientID:
		return who, no(500131, "Assertion audience does not match the Client app presenting the assertion. The audience in the assertion was '%s' and the expected audience is '%s' "+
			"or one of the Application Uris of this application with App ID '%s'(%s).", c.Audience, q.client.Identifier(), q.client.ClientID, q.client.Name).as("invalid_grant")
	case now.Unix() >= c.Expires || now.Add(clockSkew).Unix() < c.NotBefore:
		return who, no(500133, "Assertion is not within its valid time range. Ensure that the access token is not expired before using it for user assertion, or request a new token. "+
			"Current time: %s, expiry time of assertion %s.", timestamp(now), timestamp(time.Unix(c.Expires, 0))).as("invalid_grant")
	case c.AppID == "" && c.Party == "":
		return who, no(240002, "Input id_token cannot be used as 'urn:ietf:params:oauth:grant-type:jwt-bearer' grant.").as("invalid_grant")
	case c.Scopes == "":
		return who, no(7000114, "Application '%s' is not allowed to make application on-behalf-of calls.", q.client.ClientID).as("unauthorized_client")
	}
	by := signIn{User: c.User, Session: c.Session, Time: time.Unix(c.Issued, 0), Methods: c.Methods}
	user, refused := q.signedIn(c.Tenant, c.User, by, timestamp(by.Time))
	if refused != nil {
		return who, refused
	}
	account, _ := s.World.Account(user) // who has none may not sign in
	by.User = account.ID
	return visitor{user, account, by}, nil
}
