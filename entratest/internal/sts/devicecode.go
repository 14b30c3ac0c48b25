package sts

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

func (s *Server) deviceCodeV1(w http.ResponseWriter, r *http.Request, at authority) {
	s.startDevice(w, r, at, true)
}

func (s *Server) deviceCodeV2(w http.ResponseWriter, r *http.Request, at authority) {
	s.startDevice(w, r, at, false)
}

// startDevice gives out a device code and the code that a person enters. It asks
// for no credential, and it lets apps pass that may not use the flow: those are
// told when they poll, as Entra does it.
func (s *Server) startDevice(w http.ResponseWriter, r *http.Request, at authority, v1 bool) {
	d, refused := s.readDeviceRequest(w, r, at, v1)
	if refused != nil {
		s.write(w, r, refused)
		return
	}
	d.correlation = correlationID(r)
	code := s.newDevice(d)
	page := at.Base + "/devicelogin"
	interval := s.DeviceInterval
	if interval == 0 {
		interval = 5
	}
	seconds := int(deviceLifetime.Seconds())
	body := map[string]any{"device_code": code, "user_code": d.UserCode,
		"message": fmt.Sprintf("To sign in, use a web browser to open the page %s and enter the code %s to authenticate.", page, d.UserCode)}
	if v1 {
		body["verification_url"], body["expires_in"], body["interval"] = page, strconv.Itoa(seconds), strconv.Itoa(interval)
	} else {
		body["verification_uri"], body["expires_in"], body["interval"] = page, seconds, interval
	}
	s.answer(w, r, http.StatusOK, newTraceID(), d.correlation, 0, body)
}

func (s *Server) readDeviceRequest(w http.ResponseWriter, r *http.Request, at authority, v1 bool) (*device, *refusal) {
	form, refused := readForm(w, r)
	if refused != nil {
		return nil, refused
	}
	client, refused := s.findClient(at, form.Get("client_id"), "device_code")
	if refused != nil {
		return nil, refused
	}
	claims := form.Get("claims")
	if _, refused := readClaims(claims); refused != nil {
		return nil, refused
	}
	d := &device{Client: client.ClientID, Segment: at.Segment, tenant: at.name(), Claims: claims, V1: v1, Scope: form.Get("scope"), Resource: form.Get("resource")}
	switch {
	case v1 && d.Resource == "":
		return nil, absent("resource")
	case v1:
		_, refused = s.parseResource(at.Tenant, client, d.Resource)
		return d, refused
	case form.Has("resource"):
		return nil, no(901002, "The 'resource' request parameter is not supported.")
	case strings.TrimSpace(d.Scope) == "":
		return nil, absent("scope")
	}
	asked, refused := s.parseScope(at.Tenant, client, d.Scope)
	if refused != nil {
		return nil, refused
	}
	_, refused = asked.only(d.Scope)
	return d, refused
}

// Approve lets a user sign in at the device page and consent to what the client
// asks for, without a browser and without a password. It fails for what the
// user could not do there either.
func (s *Server) Approve(userCode, upn string) error {
	d, ok := s.deviceFor(userCode)
	if !ok {
		return fmt.Errorf("no device code request waits for the code %q", userCode)
	}
	u, ok := s.World.User("", upn)
	if !ok {
		return fmt.Errorf("no user has the name %q", upn)
	}
	account, ok := s.World.Account(u)
	if !ok {
		return fmt.Errorf("%s is a guest whose account does not exist any more", upn)
	}
	named, _ := s.World.Tenant(d.Segment) // nil at organizations and common
	u = account
	if named != nil {
		u, ok = s.World.UserOf(named.ID, account)
	}
	if !ok || d.tenant == consumerTenant {
		return fmt.Errorf("%s is not in the tenant %q that the device code was asked from", upn, d.Segment)
	}
	if refused := s.barred(u); refused != nil {
		return fmt.Errorf("%s cannot sign in: AADSTS%d: %s", upn, refused.Code, refused.Text)
	}
	client, refused := s.appFor(named, d.Client)
	if refused != nil {
		return fmt.Errorf("AADSTS%d: %s", refused.Code, refused.Text)
	}
	tenant := s.tenantOf(u)
	var asked wanted
	if d.V1 {
		asked, refused = s.parseResource(tenant, client, d.Resource)
	} else {
		asked, refused = s.parseScope(tenant, client, d.Scope)
	}
	if refused != nil {
		return fmt.Errorf("AADSTS%d: %s", refused.Code, refused.Text)
	}
	for _, t := range asked.Targets {
		if err := s.consentFor(u, client, t); err != nil {
			return err
		}
	}
	if !s.decideDevice(userCode, deviceApproved, s.newSignIn(u, account)) {
		return fmt.Errorf("the device code request for %q has been decided or has expired", userCode)
	}
	s.grant(tenant.ID, client, u.ID, nil) // known here from now on
	return nil
}

// consentFor records the consent of a user to a target.
func (s *Server) consentFor(u *directory.User, client *directory.App, t target) error {
	if client.FirstParty && !t.Resource.FirstParty {
		return nil // consent does not help: the poll is refused with 65002
	}
	var values []string
	for _, sc := range s.missing(u.Tenant, client, u.ID, t) {
		if sc.AdminOnly && !u.Admin() {
			return fmt.Errorf("%s may not consent to %s of %s: AADSTS90094: an administrator has to", u.UPN, sc.Value, t.Resource.Name)
		}
		values = append(values, sc.Value)
	}
	if len(values) > 0 {
		s.World.Grant(directory.Grant{Tenant: u.Tenant, Client: client.ClientID, Resource: t.Resource.ClientID, User: u.ID, Scopes: values})
	}
	return nil
}

// Deny lets somebody refuse a device code request.
func (s *Server) Deny(userCode string) error {
	if !s.decideDevice(userCode, deviceDenied, signIn{}) {
		return fmt.Errorf("no device code request waits for the code %q", userCode)
	}
	return nil
}

// Revoke voids all refresh tokens and sessions of a user, named by user name or
// object id.
func (s *Server) Revoke(user string) error {
	u, ok := s.World.User("", user)
	if ok {
		u, ok = s.World.Account(u) // the sessions of guests are those of their accounts
	}
	if !ok || !s.World.RevokeSessions(u.ID) {
		return fmt.Errorf("no user has the name %q", user)
	}
	return nil
}
