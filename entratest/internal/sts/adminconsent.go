package sts

import (
	"net/http"
	"slices"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// adminConsent is where an administrator allows an app for the whole
// organization: what its registration lists, or the scopes that are named (v2).
func (s *Server) adminConsent(w http.ResponseWriter, r *http.Request, at authority) {
	b, refused := s.browser(w, r)
	if refused != nil {
		s.refusePage(w, r, refused)
		return
	}
	clientID, redirect := b.params.Get("client_id"), b.params.Get("redirect_uri")
	if clientID == "" {
		s.refusePage(w, r, absent("client_id"))
		return
	}
	app, refused := s.appFor(at.Tenant, clientID)
	if refused != nil {
		s.refusePage(w, r, refused)
		return
	}
	if _, ok := matchRedirect(app, redirect); redirect != "" && !ok {
		s.refusePage(w, r, wrongRedirect(app, redirect))
		return
	}
	finish := func(title, words string, fields ...attr) {
		if redirect == "" {
			donePage(title, "", p(text(words))).send(w)
			return
		}
		if state := b.params.Get("state"); state != "" {
			fields = append(fields, attr{"state", state})
		}
		sendAway(w, answerURL(redirect, queryMode, fields))
	}
	if b.does() == "cancel" {
		finish("Nothing was changed", "You have not given the app anything. You can close this window.",
			attr{"error", "permission_denied"}, attr{"error_description", "The admin canceled the request"})
		return
	}

	d := door{action: b.self(), canary: b.canary(), leadsTo: redirect, app: app, tenant: at.Tenant,
		closed: at.name() == consumerTenant, hint: b.answer.Get("loginfmt"), cancel: true}
	in, wrong := s.visitor(w, r, b, d)
	if in == nil || b.does() == "switch" {
		s.askSignIn(w, d, wrong)
		return
	}
	home := s.tenantOf(in.user)
	d.tenant = home
	delegated, roles, refused := s.listed(home, app, b.params.Get("scope"))
	switch {
	case refused != nil:
		s.refusePage(w, r, refused)
		return
	case !in.user.Admin():
		s.askAdministrator(w, r, d, in, delegated)
		return
	case b.does() != "accept":
		adminConsentPage{action: d.action, canary: d.canary, leadsTo: redirect, org: d.org(), app: app.Name, who: in.person(),
			delegated: permissions(delegated), application: rolePermissions(roles)}.page().send(w)
		return
	}
	s.grant(home.ID, app, "", delegated)
	s.logConsent(r, in.user, app, true, delegated)
	for _, of := range roles {
		for _, role := range of.roles {
			s.World.AssignRole(directory.RoleAssignment{Tenant: home.ID, Principal: app.ClientID, Resource: of.resource.ClientID, Role: role.Value})
		}
	}
	finish(app.Name+" is ready", "The app may now be used by everybody in your organization. You can close this window.",
		attr{"admin_consent", "True"}, attr{"tenant", home.ID})
}

// askRoles is what an app asks one resource for to use by itself.
type askRoles struct {
	resource *directory.App
	roles    []directory.AppRole
}

// listed is what an administrator allows: the scopes that are named, or all
// that the registration lists. What is listed is delegated where the resource
// has a scope of the name, unless it is listed as an app role.
func (s *Server) listed(tenant *directory.Tenant, app *directory.App, scope string) ([]ask, []askRoles, *refusal) {
	if scope != "" && !strings.Contains(scope, "/.default") {
		delegated, refused := s.asked(tenant, app, scope, "", false)
		return delegated, nil, refused
	}
	var delegated []ask
	var byItself []askRoles
	for _, known := range s.World.Apps(tenant.ID) { // in the order of the world, not of a map
		a, own := ask{resource: known}, askRoles{resource: known}
		roles := app.RequiredRoles[known.ClientID]
		for _, value := range app.RequiredAccess[known.ClientID] {
			if scope, ok := known.Scope(value); ok {
				a.scopes = append(a.scopes, scope)
			} else {
				roles = append(slices.Clip(roles), value)
			}
		}
		for _, value := range roles {
			if role, ok := known.Role(value); ok {
				own.roles = append(own.roles, role)
			}
		}
		if len(a.scopes) > 0 {
			delegated = append(delegated, a)
		}
		if len(own.roles) > 0 {
			byItself = append(byItself, own)
		}
	}
	return delegated, byItself, nil
}

func rolePermissions(asked []askRoles) []permission {
	var all []permission
	for _, a := range asked {
		for _, role := range a.roles {
			all = append(all, permission{inWords(role.Name, role.Value), role.Value, a.resource.Name})
		}
	}
	return all
}
