package sts

import (
	"encoding/json"
	"net"
	"net/http"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// What happens here is written down for the tenant, which reads it in Graph's
// sign-in log.

func clientIP(r *http.Request) string {
	ip, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return ip
}

// signedIn writes down a sign-in, or the refusal of one. trace is the id by
// which the client knows the request.
func (s *Server) signedIn(r *http.Request, trace string, e directory.SignIn, refused *refusal) {
	e.ID, e.At, e.IP, e.UserAgent = trace, s.World.Now(), clientIP(r), r.UserAgent()
	if e.User != nil {
		e.Account, _ = s.World.Account(e.User)
	}
	if e.Correlation = sentRequestID(r); e.Correlation == "" {
		e.Correlation = trace
	}
	if refused != nil {
		e.Code, e.Reason = refused.Code, refused.Text
	}
	s.World.AddSignIn(e)
}

// loggedGrant is the kind of sign-in that a grant is to the log, and its
// protocol. The redemption of a code is none: the person signed in before.
func loggedGrant(grantType string) (kind, protocol string) {
	switch grantType {
	case "client_credentials":
		return "servicePrincipal", "none"
	case "password":
		return "interactiveUser", "ropc"
	case "device_code", "urn:ietf:params:oauth:grant-type:device_code":
		return "interactiveUser", "deviceCode"
	case "refresh_token", "urn:ietf:params:oauth:grant-type:jwt-bearer":
		return "nonInteractiveUser", "none"
	}
	return "", ""
}

// logToken writes down what the token endpoint answers, if it is clear whom it
// is about.
func (q *tokenRequest) logToken(trace string, i issuance, refused *refusal) {
	kind, protocol := loggedGrant(q.grantType)
	user, tenant := i.user, q.at.Tenant
	if user == nil && kind == "interactiveUser" && q.at.Tenant != nil {
		if account, ok := q.s.findAccount(q.form.Get("username")); ok {
			user, _ = q.s.World.UserOf(q.at.Tenant.ID, account)
		}
	}
	if user != nil {
		tenant = q.s.tenantOf(user)
	}
	waiting := refused != nil && (refused.Code == 70016 || refused.OAuth == "slow_down")
	if kind == "" || q.client == nil || tenant == nil || waiting || user == nil && kind != "servicePrincipal" {
		return
	}
	q.s.signedIn(q.r, trace, directory.SignIn{Tenant: tenant.ID, Kind: kind, Protocol: protocol, User: user, App: q.client, Resource: i.target.Resource}, refused)
}

// logDoor writes down that somebody came in by the browser, or was refused.
func (s *Server) logDoor(r *http.Request, app *directory.App, resource *directory.App, u *directory.User, refused *refusal) {
	if app != nil && u != nil {
		s.signedIn(r, newTraceID(), directory.SignIn{Tenant: u.Tenant, Kind: "interactiveUser", Protocol: "oAuth2", User: u, App: app, Resource: resource}, refused)
	}
}

// logConsent writes down that a user consented, for everybody or for one.
func (s *Server) logConsent(r *http.Request, by *directory.User, app *directory.App, everybody bool, allowed []ask) {
	var values []string
	for _, a := range allowed {
		for _, one := range a.scopes {
			values = append(values, a.resource.Name+"/"+one.Value)
		}
	}
	quote := func(v any) string { text, _ := json.Marshal(v); return string(text) }
	a := directory.Audit{ID: newGUID(), Correlation: sentRequestID(r), Tenant: by.Tenant, At: s.World.Now(), Category: "ApplicationManagement", Operation: "Assign",
		Activity: "Consent to application", User: by, IP: clientIP(r), Targets: []directory.AuditTarget{{ID: s.World.PrincipalID(by.Tenant, app), Type: "ServicePrincipal", Name: app.Name,
			Changed: []directory.AuditChange{{Name: "ConsentContext.IsAdminConsent", New: quote(everybody)}, {Name: "ConsentAction.Permissions", New: quote(strings.Join(values, ", "))}}}}}
	if a.Correlation == "" {
		a.Correlation = a.ID
	}
	s.World.AddAudit(a)
}
