package sts

import (
	"cmp"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// The values of response_mode.
const (
	queryMode    = "query"
	fragmentMode = "fragment"
	formPostMode = "form_post"
)

// authorization is a request to the authorize endpoint, as far as it has been
// found to be good.
type authorization struct {
	v1       bool
	tenant   *directory.Tenant // nil where people of any tenant may come
	app      *directory.App
	platform platform
	redirect string // where answers go; "" until it is known to be the app's

	code, idToken, token bool // what response_type asks for
	mode                 string
	state, nonce         string
	scope                string
	resource             string // v1
	challenge, method    string // PKCE
	prompt               []string
	hint, claims         string
	clientInfo           bool
}

// checkAuthorization reads the parameters of an authorization request. With a
// refusal it returns what it had understood: redirect is set once the app may
// be told of it.
func (s *Server) checkAuthorization(tenant *directory.Tenant, q url.Values, v1 bool) (authorization, *refusal) {
	a := authorization{v1: v1, tenant: tenant, state: q.Get("state")}
	if name, twice := duplicated(q); twice {
		return a, no(90023, "The request is not properly formatted. The parameter '%.100s' is duplicated.", name)
	}
	clientID := q.Get("client_id")
	if clientID == "" {
		return a, absent("client_id")
	}
	app, refused := s.appFor(tenant, clientID)
	if refused != nil {
		return a, refused
	}
	a.app = app

	sent := q.Get("redirect_uri")
	switch {
	case len(app.WebRedirects)+len(app.SPARedirects)+len(app.NativeRedirects) == 0:
		return a, no(500113, "No reply address is registered for the application.")
	case sent == "":
		return a, no(900971, "No reply address provided.")
	}
	p, ok := matchRedirect(app, sent)
	if !ok {
		return a, wrongRedirect(app, sent)
	}
	a.platform, a.redirect = p, sent

	if refused := a.readResponse(q); refused != nil {
		return a, refused
	}
	if refused := a.readChallenge(q); refused != nil {
		return a, refused
	}
	return a, a.readRest(q)
}

// appFor finds the app that a person is to sign in to.
func (s *Server) appFor(tenant *directory.Tenant, clientID string) (*directory.App, *refusal) {
	where := "Microsoft Entra ID"
	if tenant != nil {
		where = tenant.Name
	}
	// An app for several organizations comes to a new one by consent.
	app, ok := s.World.Registration(clientID)
	if ok && tenant != nil && app.Audience == directory.MyOrg {
		app, ok = s.World.App(tenant.ID, clientID)
	}
	switch {
	case !ok:
		return nil, no(700016, "Application with identifier '%s' was not found in the directory '%s'. This can happen if the application has not been installed by the administrator of the tenant or consented to by any user in the tenant. You may have sent your authentication request to the wrong tenant.", clientID, where)
	case app.NoPrincipal:
		return nil, no(7000229, "The client application %s is missing service principal in the tenant %s.", app.ClientID, where)
	case app.Disabled:
		return nil, no(7000112, "Application '%s'(%s) is disabled.", app.ClientID, app.Name)
	case tenant == nil && !app.FirstParty && app.Audience == directory.MyOrg:
		return nil, no(50194, "Application '%s'(%s) is not configured as a multi-tenant application. Usage of the /common endpoint is not supported for such apps. Use a tenant-specific endpoint or configure the application to be multi-tenant.", app.ClientID, app.Name)
	}
	return app, nil
}

// readResponse decides what is answered, and how.
func (a *authorization) readResponse(q url.Values) *refusal {
	types := strings.Fields(q.Get("response_type"))
	a.code, a.idToken, a.token = slices.Contains(types, "code"), slices.Contains(types, "id_token"), slices.Contains(types, "token")
	a.mode = queryMode
	if a.idToken || a.token {
		a.mode = fragmentMode
	}
	mode := q.Get("response_mode")
	known := slices.Contains([]string{queryMode, fragmentMode, formPostMode}, mode)
	bare := mode == queryMode && (a.idToken || a.token) // a token in a query ends up in logs
	if known && !bare {
		a.mode = mode
	}

	slices.Sort(types)
	switch {
	case len(types) == 0:
		return absent("response_type")
	case !slices.Contains([]string{"code", "id_token", "token", "id_token token", "code id_token"}, strings.Join(types, " ")):
		return no(70005, "The application requested an unsupported response type '%s'.", q.Get("response_type"))
	case bare, mode != "" && !known:
		return no(70007, "'%s' is not a supported value of 'response_mode' when requesting '%s'.", mode, strings.Join(types, " "))
	case a.token && !a.app.AccessTokenImplicit:
		return no(700051, "response_type 'token' is not enabled for the application.")
	case a.idToken && !a.app.IDTokenImplicit:
		return no(700054, "response_type 'id_token' is not enabled for the application.")
	}
	return nil
}

var base64URL43 = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`) })

// readChallenge reads what binds the code to who asked for it (RFC 7636).
func (a *authorization) readChallenge(q url.Values) *refusal {
	a.challenge, a.method = q.Get("code_challenge"), q.Get("code_challenge_method")
	if !a.code {
		return nil
	}
	if a.challenge == "" {
		switch {
		case a.method != "":
			return no(50147, "Invalid size of Code_Challenge parameter: code_challenge_method came without code_challenge.")
		case a.platform == spaPlatform:
			return no(9002325, "Proof Key for Code Exchange is required for cross-origin authorization code redemption.")
		}
		return nil
	}
	a.method = cmp.Or(a.method, "plain")
	switch {
	case a.method != "S256" && a.method != "plain":
		return no(50149, "Invalid Code_challenge_method parameter.")
	case a.method == "S256" && !base64URL43().MatchString(a.challenge), len(a.challenge) < 43, len(a.challenge) > 128:
		return no(501491, "Invalid size of Code_Challenge parameter.")
	}
	return nil
}

// readRest reads the parameters that say who is to sign in, and to what.
func (a *authorization) readRest(q url.Values) *refusal {
	a.scope, a.nonce, a.resource = strings.TrimSpace(q.Get("scope")), q.Get("nonce"), q.Get("resource")
	a.prompt, a.hint = strings.Fields(q.Get("prompt")), hinted(q.Get("login_hint"))
	a.clientInfo = q.Get("client_info") == "1"
	a.claims = q.Get("claims")
	_, refused := readClaims(a.claims)
	switch {
	case !a.v1 && q.Has("resource"):
		return no(901002, "The 'resource' request parameter is not supported.")
	case !a.v1 && a.scope == "":
		return absent("scope")
	case a.idToken && !a.v1 && !slices.Contains(strings.Fields(a.scope), "openid"):
		return no(70011, "The provided request must include an 'openid' scope when response_type includes 'id_token'.")
	case a.idToken && a.nonce == "":
		return absent("nonce")
	case refused != nil:
		return refused
	case a.asks("none") && len(a.prompt) > 1:
		return no(90023, "The prompt value 'none' cannot be combined with another.")
	}
	if i := slices.IndexFunc(a.prompt, func(p string) bool { return !slices.Contains(prompts, p) }); i >= 0 {
		return no(90023, "Unsupported 'prompt' value '%.100s'.", a.prompt[i])
	}
	return nil
}

// prompts are the values of prompt: those of OpenID Connect, those that MSAL
// knows besides, and those of version 1.
var prompts = []string{"none", "login", "consent", "select_account", "create", "attempt_none", "admin_consent", "refresh_session"}

// asks says whether the app asks for this prompt.
func (a authorization) asks(prompt string) bool { return slices.Contains(a.prompt, prompt) }

// authorize is the endpoint where a person signs in and consents, and where
// the app gets its answer from.
func (s *Server) authorize(w http.ResponseWriter, r *http.Request, at authority, v1 bool) {
	b, refused := s.browser(w, r)
	if refused != nil {
		s.refusePage(w, r, refused)
		return
	}
	a, refused := s.checkAuthorization(at.Tenant, b.params, v1)
	var asks []ask
	if refused == nil && at.Tenant != nil { // before anybody is asked for a password in vain
		asks, refused = s.asked(at.Tenant, a.app, a.scope, a.resource, v1)
	}
	switch {
	case refused != nil && a.redirect == "":
		s.refusePage(w, r, refused)
		return
	case refused != nil:
		s.answerRefusal(w, r, a, refused)
		return
	case b.does() == "cancel":
		s.answerRefusal(w, r, a, no(65004, "User declined to consent to access the app."))
		return
	}

	d := door{action: b.self(), canary: b.canary(), leadsTo: a.redirect, app: a.app, tenant: at.Tenant,
		closed: at.name() == consumerTenant, hint: cmp.Or(b.answer.Get("loginfmt"), a.hint), cancel: true}
	in, wrong := s.visitor(w, r, b, d)
	expected := in != nil && (a.hint == "" || strings.EqualFold(a.hint, in.account.UPN))
	begun := b.answer != nil // a form of ours has been sent: the prompts at the door are done with
	switch {
	case wrong.text != "":
		s.askSignIn(w, d, wrong)
		return
	case a.asks("none") && !expected:
		s.answerRefusal(w, r, a, no(50058, "A silent sign-in request was sent but no user is signed in."))
		return
	case b.does() == "other", b.does() == "switch":
		d.hint = ""
		s.askSignIn(w, d, problem{})
		return
	case !begun && in != nil && a.asks("select_account"):
		s.askWhich(w, d, in)
		return
	case in == nil, !begun && (!expected || a.asks("login") || a.asks("create")):
		s.askSignIn(w, d, problem{})
		return
	}

	home := s.tenantOf(in.user)
	if at.Tenant == nil {
		if asks, refused = s.asked(home, a.app, a.scope, a.resource, v1); refused != nil {
			s.answerRefusal(w, r, a, refused)
			return
		}
	}
	if a.app.AssignmentNeeded && len(s.World.AppRolesOf(home.ID, in.user.ID, a.app.ClientID)) == 0 {
		s.answerRefusal(w, r, a, notAssigned(in.user, a.app).as("access_denied"))
		return
	}
	d.tenant = home
	allowed, refused := s.consent(w, r, b, d, in, asks, a.prompt)
	switch {
	case refused != nil:
		s.answerRefusal(w, r, a, refused)
	case allowed:
		s.answerGrant(w, r, at, a, in)
	}
}

// wrongRedirect refuses a redirect URI. It is shown to the person and never
// followed: it may belong to somebody else.
func wrongRedirect(app *directory.App, sent string) *refusal {
	return no(50011, "The redirect URI '%s' specified in the request does not match the redirect URIs configured for the application '%s'. Make sure the redirect URI sent in the request matches one added to your application in the Azure portal. Navigate to https://aka.ms/redirectUriMismatchError to learn more about how to troubleshoot this error.", sent, app.ClientID)
}

// answerRefusal tells the app that there will be nothing.
func (s *Server) answerRefusal(w http.ResponseWriter, r *http.Request, a authorization, refused *refusal) {
	trace := newTraceID()
	identify(w, trace, refused.Code)
	fields := []attr{{"error", refused.OAuth}, {"error_description", refused.description(s.World.Now(), trace, correlationID(r))}}
	if refused.Code == 65004 {
		fields = append(fields, attr{"error_subcode", "cancel"})
	}
	if refused.hasLookupPage() {
		fields = append(fields, attr{"error_uri", s.base(r) + "/error?code=" + strconv.Itoa(refused.Code)})
	}
	s.answerApp(w, a, fields)
}

// answerApp sends fields to the app in the way it asked for.
func (s *Server) answerApp(w http.ResponseWriter, a authorization, fields []attr) {
	if a.state != "" {
		fields = append(fields, attr{"state", a.state})
	}
	if a.mode == formPostMode {
		answerPage(a.redirect, fields).send(w)
		return
	}
	sendAway(w, answerURL(a.redirect, a.mode, fields))
}

// sendAway redirects to a URL that has been found to belong to an app. The
// answer carries codes and tokens: nothing keeps it, nothing tells where it came from.
func sendAway(w http.ResponseWriter, to string) {
	h := w.Header()
	h.Set("Cache-Control", "no-store, no-cache")
	h.Set("Pragma", "no-cache")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Location", to)
	w.WriteHeader(http.StatusFound)
}

// answerGrant gives the app what it asked for.
func (s *Server) answerGrant(w http.ResponseWriter, r *http.Request, at authority, a authorization, in *visitor) {
	home := s.tenantOf(in.user)
	var resource *directory.App
	if asked, refused := s.wantedAtDoor(home, a.app, a.scope, a.resource, a.v1); refused == nil && len(asked.Targets) > 0 {
		resource = asked.Targets[0].Resource
	}
	s.logDoor(r, a.app, resource, in.user, nil)
	s.visited(in.Session, visit{a.app.ClientID, home.ID})
	s.grant(home.ID, a.app, in.user.ID, nil) // known here from now on, even with nothing left to consent to
	var fields []attr
	code := ""
	if a.code {
		code = s.newCode(authCode{signIn: in.signIn, Client: a.app.ClientID, Segment: at.Segment, Tenant: home.ID,
			RedirectURI: a.redirect, SPA: a.platform == spaPlatform, Public: a.platform == nativePlatform,
			Challenge: a.challenge, ChallengeMethod: a.method,
			Scope: a.scope, Resource: a.resource, Nonce: a.nonce, Claims: a.claims, V1: a.v1})
		fields = append(fields, attr{"code", code})
	}
	if a.idToken || a.token {
		tokens, refused := s.frontTokens(r, at, a, home, in, code)
		if refused != nil {
			s.answerRefusal(w, r, a, refused)
			return
		}
		fields = append(fields, tokens...)
	}
	if a.clientInfo {
		fields = append(fields, attr{"client_info", clientInfo(in.account)})
	}
	fields = append(fields, attr{"session_state", in.Session})
	s.answerApp(w, a, fields)
}

// frontTokens makes the tokens that go to the app through the browser: the
// implicit grant, and the ID token of the hybrid flow.
func (s *Server) frontTokens(r *http.Request, at authority, a authorization, home *directory.Tenant, in *visitor, code string) ([]attr, *refusal) {
	asked, refused := s.wantedAtDoor(home, a.app, a.scope, a.resource, a.v1)
	if refused != nil {
		return nil, refused
	}
	i := issuance{at: at, v1: a.v1, tenant: home, client: a.app, clientAuth: publicClient, visitor: *in,
		asked: asked, nonce: a.nonce, ipAddress: clientIP(r)}
	i.implicit = a.mode == fragmentMode
	i.asks, _ = readClaims(a.claims) // well formed: readRest has read it
	var fields []attr
	access := ""
	if a.token {
		if i.target, refused = asked.only(a.scope); refused != nil {
			return nil, refused
		}
		if i.scopes, refused = s.granted(home.ID, a.app, in.user, asked, i.target); refused != nil {
			return nil, refused
		}
		i.roles = appRoles(s.World.AppRolesOf(home.ID, in.user.ID, i.target.Resource.ClientID))
		token, lifetime, err := s.accessToken(i)
		if err != nil {
			return nil, no(50000, "There was an error issuing a token: %v.", err)
		}
		access = token
		fields = append(fields, attr{"access_token", access}, attr{"token_type", "Bearer"},
			attr{"expires_in", strconv.Itoa(int(lifetime.Seconds()))}, attr{"scope", i.scopeAnswer()})
	}
	if a.idToken {
		token, err := s.idToken(i, code, access)
		if err != nil {
			return nil, no(50000, "There was an error issuing a token: %v.", err)
		}
		fields = append(fields, attr{"id_token", token})
	}
	return fields, nil
}
