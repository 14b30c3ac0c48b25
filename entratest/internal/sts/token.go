package sts

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// maxBody is how much of a request is read. The largest honest one carries a
// certificate chain and a user's token.
const maxBody = 256 << 10

func (s *Server) tokenV1(w http.ResponseWriter, r *http.Request, at authority) {
	s.token(w, r, at, true)
}

func (s *Server) tokenV2(w http.ResponseWriter, r *http.Request, at authority) {
	s.token(w, r, at, false)
}

// token is the token endpoint: read, find the client, and let the grant decide.
func (s *Server) token(w http.ResponseWriter, r *http.Request, at authority, v1 bool) {
	if r.Method == http.MethodOptions {
		preflight(w, r)
		return
	}
	q, refused := s.readTokenRequest(w, r, at, v1)
	var i issuance
	if refused == nil {
		i, refused = q.grant()
	}
	if origin := r.Header.Get("Origin"); origin != "" && (q.client != nil && len(q.client.SPARedirects) > 0 || refused != nil && refused.Code == notForPages) {
		w.Header().Set("Access-Control-Allow-Origin", origin) // a page may read why it is refused
		w.Header().Set("Vary", "Origin")
	}
	trace := newTraceID()
	q.logToken(trace, i, refused)
	if refused != nil {
		refused.trace = trace
		s.write(w, r, refused)
		return
	}
	s.issue(w, r, trace, i)
}

// preflight lets browsers ask before they post. Whose redemption is permitted is
// decided when they do.
func preflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "POST, OPTIONS")
	h.Set("Access-Control-Allow-Headers", r.Header.Get("Access-Control-Request-Headers"))
	h.Set("Access-Control-Max-Age", "86400")
	w.WriteHeader(http.StatusNoContent)
}

// tokenRequest is a request to the token endpoint whose form has been read.
type tokenRequest struct {
	s         *Server
	r         *http.Request
	at        authority
	v1        bool
	form      url.Values
	grantType string
	client    *directory.App
	basic     string // the secret of an Authorization header
	asks      claimsRequest
	boundKey  string // that who uses the token has to prove; empty: it is a bearer's
}

// grants are the values of grant_type, in all spellings that clients send.
var grants = sync.OnceValue(func() map[string]func(*tokenRequest) (issuance, *refusal) {
	return map[string]func(*tokenRequest) (issuance, *refusal){
		"client_credentials": (*tokenRequest).clientCredentials,
		"authorization_code": (*tokenRequest).authorizationCode,
		"refresh_token":      (*tokenRequest).refreshToken,
		"password":           (*tokenRequest).password,
		"device_code":        (*tokenRequest).deviceCode,
		"urn:ietf:params:oauth:grant-type:device_code": (*tokenRequest).deviceCode,
		"urn:ietf:params:oauth:grant-type:jwt-bearer":  (*tokenRequest).onBehalfOf,
	}
})

// readForm reads a form-encoded body. A parameter that comes twice is refused,
// as RFC 6749 section 3.2 wants it.
func readForm(w http.ResponseWriter, r *http.Request) (url.Values, *refusal) {
	if r.Method != http.MethodPost {
		return nil, no(900561, "The endpoint only accepts POST, OPTIONS requests. Received a %s request.", r.Method)
	}
	if refused := parseForm(w, r); refused != nil {
		return nil, refused
	}
	if name, twice := duplicated(r.PostForm); twice {
		return nil, no(9002313, "Invalid request. The parameter '%.100s' is there more than once.", name)
	}
	return r.PostForm, nil
}

// duplicated finds the first parameter, by name, that comes more than once.
func duplicated(q url.Values) (name string, twice bool) {
	for n, values := range q {
		if len(values) > 1 && (!twice || n < name) {
			name, twice = n, true
		}
	}
	return name, twice
}

// parseForm reads a form as far as forms go, in size and in time.
func parseForm(w http.ResponseWriter, r *http.Request) *refusal {
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	err := r.ParseForm()
	if err == nil {
		return nil
	}
	refused := no(9002313, "Invalid request. Request is malformed or invalid.")
	switch tooLarge := (*http.MaxBytesError)(nil); {
	case errors.As(err, &tooLarge):
		refused.Status, refused.Text = http.StatusRequestEntityTooLarge, "Invalid request. The request body is larger than 256 KiB."
	case errors.Is(err, os.ErrDeadlineExceeded):
		refused.Status, refused.Text = http.StatusRequestTimeout, "Invalid request. The request body did not arrive in time."
	}
	return refused
}

func absent(parameter string) *refusal {
	return no(900144, "The request body must contain the following parameter: '%s'.", parameter)
}

// readTokenRequest reads what all grants have in common.
func (s *Server) readTokenRequest(w http.ResponseWriter, r *http.Request, at authority, v1 bool) (*tokenRequest, *refusal) {
	q := &tokenRequest{s: s, r: r, at: at, v1: v1}
	var refused *refusal
	if q.form, refused = readForm(w, r); refused != nil {
		return q, refused
	}
	q.grantType = q.form.Get("grant_type")
	if q.grantType == "" {
		return q, absent("grant_type")
	}
	if _, ok := grants()[q.grantType]; !ok {
		return q, no(70003, "The app requested an unsupported grant type '%.200s'.", q.grantType)
	}
	id := q.form.Get("client_id")
	if user, secret, ok := r.BasicAuth(); ok { // RFC 6749 section 2.3.1: both are form-encoded first
		user, err1 := url.QueryUnescape(user)
		secret, err2 := url.QueryUnescape(secret)
		switch {
		case err1 != nil || err2 != nil:
			return q, no(9002313, "Invalid request. The Authorization header is malformed.")
		case id != "" && !strings.EqualFold(id, user):
			return q, no(7000110, "Request is ambiguous, multiple application identifiers found. ClientId found from the request: '%s', '%s'.", id, user)
		}
		id, q.basic = user, secret
	}
	if q.client, refused = s.findClient(at, id, q.grantType); refused != nil {
		return q, refused
	}
	if !v1 && q.form.Has("resource") {
		return q, no(901002, "The 'resource' request parameter is not supported.")
	}
	if q.boundKey, refused = boundKey(q.form); refused != nil {
		return q, refused
	}
	claims := q.form.Get("claims")
	if claims == "" {
		claims = r.URL.Query().Get("claims")
	}
	q.asks, refused = readClaims(claims)
	return q, refused
}

// boundKey reads which key a token is to be bound to, by the thumbprint of RFC
// 7638: signed HTTP requests have such tokens. Other bindings are refused, for a
// client must not take what anybody can use for something better.
func boundKey(form url.Values) (string, *refusal) {
	switch kind := strings.ToLower(form.Get("token_type")); kind {
	case "", "bearer":
		return "", nil
	case "pop":
	default:
		return "", no(90010, "The token_type '%.100s' is not supported.", kind)
	}
	var key struct {
		ID string `json:"kid"`
	}
	text, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(form.Get("req_cnf"), "="))
	if err != nil || json.Unmarshal(text, &key) != nil || key.ID == "" {
		return "", no(50167, "The request has an invalid 'req_cnf': it is not base64url of an object with a 'kid'.")
	}
	return key.ID, nil
}

// findClient finds the client of a request and refuses it where it may ask for
// nothing at all.
func (s *Server) findClient(at authority, id, grantType string) (*directory.App, *refusal) {
	switch {
	case id == "":
		return nil, absent("client_id")
	case !isGUID(id):
		return nil, no(700038, "%.100s is not a valid application identifier.", id).as("unauthorized_client")
	case at.Tenant == nil && grantType == "client_credentials":
		return nil, no(50059, "No tenant-identifying information found in either the request or implied by any provided credentials.")
	case at.Tenant == nil && grantType == "password" && at.Segment != "organizations":
		return nil, no(9001023, "The grant type is not supported over the /common or /consumers endpoints. Please use the /organizations or tenant-specific endpoint.")
	}
	if at.Tenant == nil {
		app, ok := s.World.Registration(id)
		switch {
		case !ok:
			return nil, unknownApp(id, at.Segment)
		case at.name() == consumerTenant && app.Audience != directory.OrgsAndPeople:
			return app, no(9002332, "Application '%s'(%s) is configured for use by Azure Active Directory users only. Please do not use the /consumers endpoint to serve this request.", app.ClientID, app.Name)
		case app.Audience == directory.MyOrg || app.Audience == "":
			return app, no(50194, "Application '%s'(%s) is not configured as a multi-tenant application. Usage of the /%s endpoint is not supported for such apps. "+
				"Use a tenant-specific endpoint or configure the application to be multi-tenant.", app.ClientID, app.Name, at.Segment)
		}
		return app, s.usable(app, "")
	}
	app, ok := s.World.App(at.Tenant.ID, id)
	if !ok {
		return nil, unknownApp(id, at.Tenant.Name)
	}
	return app, s.usable(app, at.Tenant.ID)
}

func unknownApp(id, directoryName string) *refusal {
	return no(700016, "Application with identifier '%s' was not found in the directory '%s'. This can happen if the application has not been installed by the administrator of the tenant "+
		"or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant.", id, directoryName).as("unauthorized_client")
}

func (s *Server) usable(app *directory.App, tenant string) *refusal {
	switch {
	case app.NoPrincipal:
		return no(7000229, "The client application %s is missing service principal in the tenant %s. See instructions here: https://go.microsoft.com/fwlink/?linkid=2225119", app.ClientID, tenant).as("invalid_client")
	case app.Disabled:
		return no(7000112, "Application '%s'(%s) is disabled.", app.ClientID, app.Name).as("unauthorized_client")
	}
	return nil
}

func (q *tokenRequest) grant() (issuance, *refusal) {
	switch q.grantType {
	case "authorization_code", "refresh_token": // these know whether they belong to a page
	default:
		if refused := q.checkOrigin(false); refused != nil {
			return issuance{}, refused
		}
	}
	return grants()[q.grantType](q)
}

// hasCredential says whether the client sent anything to prove who it is.
func (q *tokenRequest) hasCredential() bool {
	return q.basic != "" || q.form.Get("client_secret") != "" || q.form.Get("client_assertion") != ""
}

// asPublic refuses a credential: a public client has none to send.
func (q *tokenRequest) asPublic() (string, *refusal) {
	if q.hasCredential() {
		return "", no(700025, "Client is public so neither 'client_assertion' nor 'client_secret' should be presented.").as("invalid_client")
	}
	return publicClient, nil
}

// asConfidential checks the client's credential and says what kind it is.
func (q *tokenRequest) asConfidential() (string, *refusal) {
	app := q.client
	if !q.hasCredential() {
		return "", no(7000218, "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.").as("invalid_client")
	}
	if app.AllowPublicFlows && len(app.Secrets)+len(app.PrincipalSecrets)+len(app.Certificates)+len(app.Federated) == 0 {
		return q.asPublic()
	}
	assertion, secret := q.form.Get("client_assertion"), q.form.Get("client_secret")
	switch {
	case assertion != "" && (secret != "" || q.basic != ""), secret != "" && q.basic != "":
		return "", no(9002313, "Invalid request. The request has more than one client credential.")
	case assertion != "":
		return certificateClient, q.checkAssertion(assertion)
	case secret == "":
		secret = q.basic
	}
	return secretClient, q.s.checkSecret(app, secret)
}

// checkSecret compares a secret with all those of an app and of its service
// principal.
func (s *Server) checkSecret(app *directory.App, secret string) *refusal {
	now := s.World.Now()
	var outdated, isID bool
	for _, known := range slices.Concat(app.Secrets, app.PrincipalSecrets) {
		switch {
		case sameSecret(known.Value, secret):
			if known.Good(now) {
				return nil
			}
			outdated = true
		case sameSecret(known.ID, secret):
			isID = true
		}
	}
	if outdated { // of one that has not begun, the service says the same
		return no(7000222, "The provided client secret keys for app '%s' are expired. Visit the Azure portal to create new keys for your app, "+
			"or consider using certificate credentials for added security.", app.ClientID).as("invalid_client")
	}
	hint := ""
	if isID {
		hint = " What was sent is the ID of one of its secrets."
	}
	return no(7000215, "Invalid client secret provided. Ensure the secret being sent in the request is the client secret value, not the client secret ID, "+
		"for a secret added to app '%s'.%s", app.ClientID, hint).as("invalid_client")
}

// clientCredentials lets an app act for itself.
func (q *tokenRequest) clientCredentials() (issuance, *refusal) {
	s := q.s
	if !q.hasCredential() {
		return issuance{}, no(7000216, "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.").as("invalid_client")
	}
	auth, refused := q.asConfidential()
	if refused != nil {
		return issuance{}, refused
	}
	i := q.issuance(q.at.Tenant, auth)
	i.asked, i.target, refused = q.wantedForApp()
	if refused != nil {
		return i, refused
	}
	roles := s.World.AppRolesOf(i.tenant.ID, q.client.ClientID, i.target.Resource.ClientID)
	if i.target.Resource.AssignmentNeeded && len(roles) == 0 {
		return i, no(501051, "Application '%s'(%s) is not assigned to a role for the application '%s'(%s).",
			q.client.ClientID, q.client.Name, i.target.Resource.ClientID, i.target.Resource.Name)
	}
	i.roles = appRoles(roles)
	return i, nil
}

// wantedForApp reads what an app asks for itself: one resource and all that it
// has been given there.
func (q *tokenRequest) wantedForApp() (wanted, target, *refusal) {
	s := q.s
	if q.v1 {
		name := q.form.Get("resource")
		if name == "" {
			return wanted{}, target{}, absent("resource")
		}
		w, refused := s.parseResource(q.at.Tenant, q.client, name)
		if refused != nil {
			return w, target{}, refused
		}
		return w, w.Targets[0], nil
	}
	scope := q.form.Get("scope")
	if strings.TrimSpace(scope) == "" {
		return wanted{}, target{}, absent("scope")
	}
	named := false
	for _, item := range strings.Fields(scope) {
		switch strings.ToLower(item) {
		case "openid", "profile", "email", "offline_access": // MSAL for Go always adds them
		default:
			named = true
			if !strings.HasSuffix(item, "/.default") && !strings.EqualFold(item, q.client.ClientID) {
				return wanted{}, target{}, no(1002012, "The provided value for scope %s is not valid. Client credential flows must have a scope value with /.default suffixed to the resource identifier (application ID URI).", item).as("invalid_scope")
			}
		}
	}
	w, refused := s.parseScope(q.at.Tenant, q.client, scope)
	if refused != nil {
		return w, target{}, refused
	}
	if !named {
		w.Targets = nil // a sign-in of nobody
	}
	t, refused := w.only(scope)
	return w, t, refused
}

// issuance begins the answer to a request.
func (q *tokenRequest) issuance(tenant *directory.Tenant, auth string) issuance {
	return issuance{at: q.at, v1: q.v1, tenant: tenant, client: q.client, clientAuth: auth, ipAddress: clientIP(q.r),
		asks: q.asks, boundKey: q.boundKey, clientInfo: q.form.Get("client_info") == "1"}
}

// forUser completes an answer with what a user lets the client do. Without a
// refresh token to carry on, a new chain begins where one was asked for.
func (q *tokenRequest) forUser(i issuance, who visitor, chain refreshToken, offline bool) (issuance, *refusal) {
	s := q.s
	i.visitor = who
	var refused *refusal
	if i.scopes, refused = s.granted(i.tenant.ID, i.client, i.user, i.asked, i.target); refused != nil {
		return i, refused
	}
	i.roles = appRoles(s.World.AppRolesOf(i.tenant.ID, i.user.ID, i.target.Resource.ClientID))
	if offline {
		now := s.World.Now()
		chain.signIn, chain.Client, chain.Tenant, chain.Issued = i.signIn, i.client.ClientID, i.account.Tenant, now
		if chain.Born.IsZero() {
			chain.Born = now
		}
		i.refresh = &chain
	}
	return i, nil
}

// signedIn finds the user of a grant that was given earlier, and refuses if it
// is good for nothing any more.
func (q *tokenRequest) signedIn(tenant, id string, since signIn, issued string) (*directory.User, *refusal) {
	u, ok := q.s.World.User(tenant, id)
	if !ok {
		return nil, no(50034, "The user account {EUII Hidden} does not exist in the directory: it has been deleted.").as("invalid_grant")
	}
	if refused := q.s.mayUse(u); refused != nil {
		return nil, refused
	}
	if account, _ := q.s.World.Account(u); revoked(account.SessionsRevoked, since.Time) {
		return nil, voided(issued, account.SessionsRevoked)
	}
	return u, nil
}

// voided refuses a grant that was given before all of its user were voided.
func voided(issued string, from time.Time) *refusal {
	return no(50173, "The provided grant has expired due to it being revoked, a fresh auth token is needed. The user might have changed or reset their password. "+
		"The grant was issued on '%s' and the TokensValidFrom date (before which tokens are not valid) for this user is '%s'.", issued, timestamp(from)).as("invalid_grant").sub("bad_token")
}

// userIn returns the user that an account is in a tenant, and refuses where it
// is none.
func (q *tokenRequest) userIn(tenant *directory.Tenant, account *directory.User) (*directory.User, *refusal) {
	u, ok := q.s.World.UserOf(tenant.ID, account)
	if !ok {
		return nil, no(50020, "User account '{EUII Hidden}' from identity provider '%s' does not exist in tenant '%s' and cannot access the application '%s'(%s) in that tenant. "+
			"The account needs to be added as an external user in the tenant first.", q.at.issuer(account.Tenant, 1), tenant.Name, q.client.ClientID, q.client.Name).as("invalid_grant")
	}
	return u, q.s.mayUse(u)
}

// tenantFor is the tenant that a request of an account is to: the one that it
// names, or else where the account is at home.
func (q *tokenRequest) tenantFor(account *directory.User) *directory.Tenant {
	if q.at.Tenant != nil {
		return q.at.Tenant
	}
	return q.s.tenantOf(account)
}

// wantedForUser reads what a request of a user asks for, given what the first
// leg asked for, if there was one.
func (q *tokenRequest) wantedForUser(tenant *directory.Tenant, firstScope, firstResource string, firstV1 bool) (wanted, *refusal) {
	s := q.s
	if q.v1 {
		resource := q.form.Get("resource")
		if resource == "" {
			resource = firstResource
		}
		if resource != "" {
			return s.parseResource(tenant, q.client, resource)
		}
		if firstScope == "" {
			return wanted{}, absent("resource")
		}
		return s.parseScope(tenant, q.client, firstScope)
	}
	if q.form.Has("scope") {
		scope := q.form.Get("scope")
		if strings.TrimSpace(scope) == "" {
			return wanted{}, no(28003, "Provided value for the input parameter scope cannot be empty when requesting an access token using the provided authorization code. Please specify a valid scope.")
		}
		w, refused := s.parseScope(tenant, q.client, scope)
		if refused != nil {
			return w, refused
		}
		_, refused = w.only(scope)
		return w, refused
	}
	switch {
	case firstV1 && firstResource != "":
		return s.parseResource(tenant, q.client, firstResource)
	case firstScope != "":
		return s.parseScope(tenant, q.client, firstScope)
	}
	return wanted{}, absent("scope")
}
