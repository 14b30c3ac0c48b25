package sts

import (
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/fobauth/fob/entratest/internal/directory"
)

func TestConsentIsAskedInWordsAndRemembered(t *testing.T) {
	s := newSurfer(t)
	request := webRequest("scope", "Calendars.Read Mail.Send openid")
	v := s.get(authorizePath, request).ben().shows(200, "Permissions requested", "fob web", "Ben Ostrow", "Read calendars", "Send mail", "Microsoft Graph")
	v.press("action", "accept").answered(webRedirect)
	given := s.sts.World.Consented(directory.TenantID, directory.WebAppID, directory.GraphAppID, directory.BenID)
	if !slices.Contains(given, "Calendars.Read") || !slices.Contains(given, "Mail.Send") {
		t.Errorf("ben has consented to %v", given)
	}
	s.get(authorizePath, request).answered(webRedirect)

	s.freshCookies() // another person has not been asked
	s.get(authorizePath, request).signIn("cleo@fob.example", "cleo-password-1").shows(200, "Permissions requested")
}

func TestDeniedConsentLeavesNothingBehind(t *testing.T) {
	s := newSurfer(t)
	v := s.get(authorizePath, webRequest("scope", "Calendars.Read")).ben().shows(200, "Permissions requested")
	q := v.press("action", "cancel").told(webRedirect, "access_denied", "AADSTS65004: ")
	if q.Get("error_subcode") != "cancel" || q.Get("state") != "s" {
		t.Errorf("told %v", q)
	}
	if given := s.sts.World.Consented(directory.TenantID, directory.WebAppID, directory.GraphAppID, directory.BenID); slices.Contains(given, "Calendars.Read") {
		t.Error("it was granted all the same")
	}
}

func TestConsentForEverybodyIsForAdministratorsOnly(t *testing.T) {
	request := webRequest("scope", "Calendars.Read")
	for name, c := range map[string]struct {
		who       func(*view) *view
		everybody bool
	}{
		"administrator": {(*view).ada, true},
		"another":       {(*view).ben, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSurfer(t)
			c.who(s.get(authorizePath, request)).press("action", "accept", "everybody", "yes").answered(webRedirect)
			given := s.sts.World.Consented(directory.TenantID, directory.WebAppID, directory.GraphAppID, directory.CleoID)
			if slices.Contains(given, "Calendars.Read") != c.everybody {
				t.Errorf("cleo has %v", given)
			}
		})
	}
}

func TestWhatOnlyAnAdministratorMayAllow(t *testing.T) {
	s := newSurfer(t)
	request := webRequest("scope", "AuditLog.Read.All")
	v := s.get(authorizePath, request).ben().shows(400, "Need admin approval", "AADSTS90094", "Read audit log data of your whole organization")
	v.press("action", "cancel").told(webRedirect, "access_denied", "AADSTS65004: ")
	if slices.Contains(v.forms[0].buttons, [2]string{"action", "accept"}) {
		t.Error("the page offers to accept")
	}
}

func TestAnAdministratorMayTakeOverWhereApprovalIsNeeded(t *testing.T) {
	s := newSurfer(t)
	v := s.get(authorizePath, webRequest("scope", "AuditLog.Read.All")).ben().press("action", "switch").shows(200, "Sign in")
	v.ada().shows(200, "Permissions requested").press("action", "accept").answered(webRedirect)
}

func TestAPersonCannotAcceptWhatNeedsAnAdministrator(t *testing.T) {
	s := newSurfer(t)
	v := s.get(authorizePath, webRequest("scope", "AuditLog.Read.All")).ben()
	forged := v.forms[0].fields
	forged.Set("action", "accept")
	to, _ := v.url.Parse(v.forms[0].action)
	s.do("POST", to.String(), forged).shows(400, "Need admin approval")
}

func TestMicrosoftsAppsGetNoConsentForOtherAPIs(t *testing.T) {
	s := newSurfer(t)
	request := cliRequest("client_id", directory.AzureCLIAppID, "scope", "api://fob-api/access_as_user")
	s.get(authorizePath, request).ben().told(cliRedirect, "invalid_request", "AADSTS65002: ")
}

func TestMailProgramsAskForExchange(t *testing.T) {
	s := newSurfer(t)
	q := s.get(authorizePath, webRequest("scope", "offline_access https://outlook.office.com/IMAP.AccessAsUser.All https://outlook.office.com/SMTP.Send")).ben().
		shows(200, "Read and write your mail by IMAP", "Send mail as you by SMTP").press("action", "accept").answered(webRedirect)
	v := s.do(http.MethodPost, s.origin+tokenPath, url.Values{"grant_type": {"authorization_code"}, "client_id": {directory.WebAppID},
		"client_secret": {"web-secret-value-1"}, "code": {q.Get("code")}, "redirect_uri": {webRedirect}})
	var answer struct {
		Access  string `json:"access_token"`
		Refresh string `json:"refresh_token"`
	}
	if err := json.Unmarshal([]byte(v.body), &answer); err != nil || answer.Access == "" || answer.Refresh == "" {
		t.Fatalf("status %d, %s", v.status, v.body)
	}
	if c := payloadOf(t, answer.Access); c["aud"] != "https://outlook.office.com" || c["scp"] != "IMAP.AccessAsUser.All SMTP.Send" {
		t.Errorf("claims %v", c)
	}
}

func TestAnAppOfAnotherTenantComesInByConsent(t *testing.T) {
	const redirect = "https://partner.other.example/callback"
	s := newSurfer(t)
	request := webRequest("client_id", directory.PartnerAppID, "redirect_uri", redirect, "scope", "openid User.Read")
	if _, known := s.sts.World.App(directory.TenantID, directory.PartnerAppID); known {
		t.Fatal("it is there from the start")
	}
	s.get("/organizations/oauth2/v2.0/authorize", request).ben().shows(200, "Other Partner").press("action", "accept").answered(redirect)
	if _, known := s.sts.World.App(directory.TenantID, directory.PartnerAppID); !known {
		t.Error("it is not installed")
	}
}

func TestAdminConsent(t *testing.T) {
	path := "/" + directory.TenantID + "/adminconsent"
	request := func(changes ...string) url.Values {
		return change(url.Values{"client_id": {directory.WebAppID}, "redirect_uri": {webRedirect}, "state": {"a b&c"}}, changes)
	}
	prepare := func(t *testing.T) *surfer {
		s := newSurfer(t)
		s.sts.World.UpdateApp(directory.WebAppID, func(a *directory.App) {
			a.RequiredAccess = map[string][]string{directory.GraphAppID: {"Calendars.Read"}, directory.APIAppID: {"Tasks.Read.All"}}
		})
		return s
	}
	t.Run("an administrator allows what the registration lists", func(t *testing.T) {
		s := prepare(t)
		v := s.get(path, request()).ada().shows(200, "Review for your organization", "Read calendars", "Read all tasks")
		q := v.press("action", "accept").answered(webRedirect)
		if q.Get("admin_consent") != "True" || q.Get("tenant") != directory.TenantID || q.Get("state") != "a b&c" {
			t.Errorf("told %v", q)
		}
		if given := s.sts.World.Consented(directory.TenantID, directory.WebAppID, directory.GraphAppID, directory.CleoID); !slices.Contains(given, "Calendars.Read") {
			t.Errorf("cleo has %v", given)
		}
		if roles := s.sts.World.AppRolesOf(directory.TenantID, directory.WebAppID, directory.APIAppID); !slices.Contains(roles, "Tasks.Read.All") {
			t.Errorf("the app has %v", roles)
		}
	})
	t.Run("a role is listed beside the scope of its name", func(t *testing.T) {
		s := prepare(t)
		s.sts.World.UpdateApp(directory.WebAppID, func(a *directory.App) {
			a.RequiredAccess, a.RequiredRoles = nil, map[string][]string{directory.GraphAppID: {"User.Read.All"}}
		})
		s.get(path, request()).ada().shows(200, "Review for your organization").press("action", "accept").answered(webRedirect)
		if given := s.sts.World.Consented(directory.TenantID, directory.WebAppID, directory.GraphAppID, directory.CleoID); slices.Contains(given, "User.Read.All") {
			t.Errorf("cleo has %v", given)
		}
		if roles := s.sts.World.AppRolesOf(directory.TenantID, directory.WebAppID, directory.GraphAppID); !slices.Contains(roles, "User.Read.All") {
			t.Errorf("the app has %v", roles)
		}
	})
	t.Run("v2 takes the scopes of the request", func(t *testing.T) {
		s := prepare(t)
		v := s.get("/common/v2.0/adminconsent", request("client_id", directory.CLIAppID, "redirect_uri", "http://localhost:1")).shows(400, "AADSTS50194")
		v = s.get("/"+directory.TenantID+"/v2.0/adminconsent", request("scope", "https://graph.microsoft.com/Mail.Send")).ada().shows(200, "Send mail")
		v.press("action", "accept").answered(webRedirect)
		if given := s.sts.World.Consented(directory.TenantID, directory.WebAppID, directory.GraphAppID, directory.CleoID); !slices.Contains(given, "Mail.Send") || slices.Contains(given, "Calendars.Read") {
			t.Errorf("cleo has %v", given)
		}
	})
	t.Run("canceling is told to the app", func(t *testing.T) {
		s := prepare(t)
		v := s.get(path, request()).ada().press("action", "cancel")
		q := v.answered(webRedirect)
		if q.Get("error") != "permission_denied" || q.Get("error_description") != "The admin canceled the request" || q.Get("state") != "a b&c" {
			t.Errorf("told %v", q)
		}
	})
	t.Run("others are asked to find an administrator", func(t *testing.T) {
		s := prepare(t)
		v := s.get(path, request()).ben().shows(400, "Need admin approval", "AADSTS90094")
		v.press("action", "switch").ada().shows(200, "Review for your organization")
	})
	t.Run("a foreign redirect URI is not followed", func(t *testing.T) {
		prepare(t).get(path, request("redirect_uri", "https://evil.example/")).shows(400, "AADSTS50011")
	})
	t.Run("without a redirect URI there is a page", func(t *testing.T) {
		prepare(t).get(path, request("redirect_uri", "")).ada().press("action", "accept").shows(200, "fob web is ready")
	})
}

func TestMicrosoftsOwnAppIsToldWhichAPIHasNotLetItIn(t *testing.T) {
	q := newSurfer(t).get(authorizePath, cliRequest("client_id", directory.VSCodeAppID, "redirect_uri", "http://localhost", "scope", "openid Mail.Read api://fob-api/access_as_user")).ben().
		told("http://localhost/", "invalid_request", "AADSTS65002: ")
	if !strings.Contains(q.Get("error_description"), "first party resource '"+directory.APIAppID+"'") {
		t.Errorf("told %q", q.Get("error_description"))
	}
}
