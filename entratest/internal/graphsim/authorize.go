package graphsim

import (
	"cmp"
	_ "embed"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// claims are the claims of an access token.
type claims map[string]any

func (t claims) text(name string) string { s, _ := t[name].(string); return s }

func (t claims) list(name string) []string {
	var out []string
	switch v := t[name].(type) {
	case []any:
		for _, e := range v {
			if s, ok := e.(string); ok {
				out = append(out, s)
			}
		}
	case []string:
		out = v
	case string:
		out = strings.Fields(v)
	}
	return out
}

// delegated says whether a user stands behind the token.
func (t claims) delegated() bool { return t.text("scp") != "" }

// client is the client id of the app that the token was issued to.
func (t claims) client() string { return cmp.Or(t.text("appid"), t.text("azp")) }

// permissions are the scopes of a delegated token, the roles of another.
func (t claims) permissions() []string {
	if t.delegated() {
		return t.list("scp")
	}
	return t.list("roles")
}

// continuous says whether the client declared that it understands claims
// challenges: the others never get one.
func (t claims) continuous() bool {
	return slices.ContainsFunc(t.list("xms_cc"), func(s string) bool { return strings.EqualFold(s, "cp1") })
}

// authorize checks the access token in Graph's order and says whether the
// request may go on; otherwise it has answered 401.
func (c *call) authorize() bool {
	raw, key, err := c.accessToken()
	switch {
	case err != nil:
		return c.unauthorized("Access token validation failure. "+err.Error(), "")
	case raw == "":
		return c.unauthorized("Access token is empty.", "")
	}
	got, verdict := c.Verify(raw)
	switch verdict {
	case Good:
	case Malformed:
		return c.unauthorized("CompactToken parsing failed with error code: 80049217", "")
	case BadSignature:
		return c.unauthorized("Access token validation failure. Invalid signature.", "")
	case Expired:
		return c.unauthorized("Access token has expired or is not yet valid.", "")
	}
	c.token = got
	if !audience(c.token.text("aud"), directory.GraphAppID, "https://graph.microsoft.com", c.GraphURL) {
		return c.unauthorized("Access token validation failure. Invalid audience.", "")
	}
	if _, ok := c.World.Tenant(c.token.text("tid")); !ok {
		c.challengeHeader("")
		c.refuse(http.StatusUnauthorized, "Authorization_IdentityNotFound", "The identity of the calling application could not be established.")
		return false
	}
	if err := c.heldBy(key); err != nil {
		return c.unauthorized("Access token validation failure. "+err.Error(), "")
	}
	if payload, ok := c.challenge(); ok {
		return c.unauthorized("Continuous access evaluation resulted in challenge with result: InteractionRequired and code: TokenCreatedWithOutdatedPolicies", payload)
	}
	return true
}

// challenge returns the claims that the token must be renewed for, if it must.
func (c *call) challenge() (payload string, ok bool) {
	if !c.token.continuous() {
		return "", false
	}
	const form = `{"access_token":{"nbf":{"essential":true,"value":"%d"}}}`
	if issued, _ := c.token["iat"].(float64); c.token.delegated() {
		user, ok := c.World.User(c.token.text("tid"), c.token.text("oid"))
		var account *directory.User
		if ok {
			account, ok = c.World.Account(user)
		}
		switch {
		case !ok || user.Disabled || account.Disabled: // the sign-in service will say which
			return fmt.Sprintf(form, c.World.Now().Unix()), true
		// Tokens know whole seconds. One of the very second is from before: the
		// sign-in service dates those that come after a second later.
		case !account.TokensValidFrom().IsZero() && int64(issued) <= account.TokensValidFrom().Unix():
			return fmt.Sprintf(form, account.TokensValidFrom().Unix()+1), true
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.challenges <= 0 {
		return "", false
	}
	c.challenges--
	return fmt.Sprintf(form, c.World.Now().Unix()), true
}

func (c *call) unauthorized(message, payload string) bool {
	c.challengeHeader(payload)
	c.refuse(http.StatusUnauthorized, "InvalidAuthenticationToken", message)
	return false
}

// challengeHeader writes what WWW-Authenticate offers, each in one line. Clients
// cut it at commas and decode the claims as strict base64, padding included. Many
// look at the first line only, and Azure's for Python takes a claims challenge for
// one only if it stands alone.
func (c *call) challengeHeader(payload string) {
	where := fmt.Sprintf(`realm="", authorization_uri="%s/common/oauth2/authorize", client_id="%s"`, c.AuthorityURL(c.r), directory.GraphAppID)
	if payload != "" {
		claims := base64.StdEncoding.EncodeToString([]byte(payload))
		c.w.Header().Set("WWW-Authenticate", "Bearer "+where+`, error="insufficient_claims", claims="`+claims+`"`)
		return
	}
	c.w.Header()["Www-Authenticate"] = []string{"Bearer " + where, "PoP " + where + `, nonce="` + c.nonce() + `"`}
}

// allowed says whether the token opens the endpoint of the call, and whether
// the user behind it may do that.
func (c *call) allowed() bool {
	if c.at.needs == open {
		return true
	}
	if !c.may(c.at.needs) {
		return false
	}
	if !c.token.delegated() {
		return true
	}
	if c.guest() && c.at.method == http.MethodGet && !(c.at.person && len(c.args) > 0 && c.self(c.arg(0))) && c.at.pattern != "/organization" {
		return false // guests do not look around
	}
	return c.at.right == nil || c.at.right(c)
}

func (c *call) guest() bool {
	u, ok := c.World.User(c.tenant(), c.token.text("oid"))
	return ok && u.Guest
}

// may says whether the token opens an endpoint, named as the tables of
// permissions do: "GET /users/{id}".
func (c *call) may(endpoint string) bool {
	have := c.token.permissions()
	if !c.token.delegated() {
		return anyOf(permissionTable()[endpoint+"\tApplication"], have)
	}
	if slices.Contains(have, "Directory.AccessAsUser.All") && (c.at == nil || c.at.face == directoryWork) {
		return true // whatever the user may do
	}
	other := c.at != nil && c.at.person && len(c.args) > 0 && !c.self(c.arg(0))
	if other {
		have = slices.DeleteFunc(slices.Clone(have), selfOnly)
	}
	if method, path, _ := strings.Cut(endpoint, " "); !other && strings.HasPrefix(path, "/users/{id}") {
		if anyOf(permissionTable()[method+" /me"+strings.TrimPrefix(path, "/users/{id}")+"\tDelegatedWork"], have) {
			return true
		}
	}
	return anyOf(permissionTable()[endpoint+"\tDelegatedWork"], have)
}

// selfOnly are the delegated permissions that reach only what is the signed-in
// user's own. Files.Read.All and Sites.Read.All are of all files that the user may open: nobody
// shares any here, and an administrator may open no more than others.
func selfOnly(p string) bool {
	return p == "User.Read" || p == "User.ReadWrite" || strings.HasPrefix(p, "Mail.") || strings.HasPrefix(p, "Files.") || strings.HasPrefix(p, "Sites.")
}

// anyOf says whether one of the accepted permissions is there; those joined by
// a + only count together.
func anyOf(accepted, have []string) bool {
	return slices.ContainsFunc(accepted, func(a string) bool {
		for p := range strings.SplitSeq(a, "+") {
			if !slices.Contains(have, p) {
				return false
			}
		}
		return true
	})
}

// denied answers 403.
func (c *call) denied() {
	switch {
	case c.at != nil && c.at.face == mailWork:
		c.refuse(http.StatusForbidden, "ErrorAccessDenied", "Access is denied. Check credentials and try again.")
	case c.at != nil && c.at.face == driveWork:
		c.refuse(http.StatusForbidden, "accessDenied", "Access denied")
	default:
		c.refuse(http.StatusForbidden, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.")
	}
}

// audience compares as Graph does: the application id, or an address with or
// without its last slash.
func audience(aud, appID string, names ...string) bool {
	if aud == "" {
		return false
	}
	return strings.EqualFold(aud, appID) || slices.ContainsFunc(names, func(n string) bool {
		return n != "" && strings.EqualFold(strings.TrimSuffix(aud, "/"), strings.TrimSuffix(n, "/"))
	})
}

func bearer(r *http.Request) string {
	scheme, raw, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return ""
	}
	return strings.TrimSpace(raw)
}

//go:embed endpoint-permissions.tsv
var endpointPermissions string

//go:embed more-permissions.tsv
var morePermissions string

// permissionTable maps "GET /users/{id}", a tab and DelegatedWork or
// Application to the permissions that open the endpoint.
var permissionTable = sync.OnceValue(func() map[string][]string {
	table := map[string][]string{}
	for _, text := range []string{endpointPermissions, morePermissions} {
		for f := range rows(text, 5) {
			table[f[0]+" "+f[1]+"\t"+f[2]] = strings.Fields(strings.ReplaceAll(f[3]+" "+f[4], ",", " "))
		}
	}
	return table
})
