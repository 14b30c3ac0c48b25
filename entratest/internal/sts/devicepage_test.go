package sts

import (
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// waiting makes a device code request and returns its codes.
func (s *surfer) waiting(changes ...func(*device)) (deviceCode, userCode string) {
	d := &device{Client: directory.CLIAppID, Segment: directory.TenantID, tenant: directory.TenantID, Scope: "User.Read openid offline_access"}
	for _, c := range changes {
		c(d)
	}
	return s.sts.newDevice(d), d.UserCode
}

func (s *surfer) enterCode(code string) *view {
	s.t.Helper()
	return s.get("/devicelogin", nil).shows(200, "Enter code").press("action", "next", "otc", code)
}

func TestADeviceIsSignedInByItsCode(t *testing.T) {
	s := newSurfer(t)
	deviceCode, userCode := s.waiting()
	v := s.enterCode(userCode).shows(200, "Sign in", "fob CLI")
	v = v.ben().shows(200, "Are you trying to sign in to fob CLI?", "Ben Ostrow")
	if d, _ := s.sts.device(deviceCode); d.Status != devicePending {
		t.Error("the device is signed in before the person has confirmed")
	}
	v.press("action", "continue").shows(200, "You have signed in to fob CLI on your device.")
	if d, _ := s.sts.device(deviceCode); d.Status != deviceApproved || d.User != directory.BenID || d.Session == "" || d.Time.IsZero() {
		t.Errorf("device %+v", d)
	}
}

func TestAUserCodeMayBeTypedInAnyWay(t *testing.T) {
	for name, typed := range map[string]func(string) string{
		"lower case":  strings.ToLower,
		"with spaces": func(c string) string { return " " + c[:3] + " " + c[3:] + " " },
		"with dashes": func(c string) string { return c[:4] + "-" + c[4:] },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSurfer(t)
			_, code := s.waiting()
			s.enterCode(typed(code)).shows(200, "Sign in")
		})
	}
}

func TestACodeCanBePartOfTheAddress(t *testing.T) {
	s := newSurfer(t)
	_, code := s.waiting()
	for _, path := range []string{"/devicelogin", "/common/oauth2/deviceauth"} {
		v := s.get(path, url.Values{"otc": {code}}).shows(200, "Enter code")
		if got := v.forms[0].fields.Get("otc"); got != code {
			t.Errorf("%s fills in %q", path, got)
		}
		v.press("action", "next").shows(200, "Sign in")
	}
}

func TestWhoIsSignedInChoosesTheAccountForTheDevice(t *testing.T) {
	s := newSurfer(t)
	s.get(authorizePath, webRequest()).ben().answered(webRedirect)
	deviceCode, code := s.waiting()
	v := s.enterCode(code).shows(200, "Pick an account", "Ben Ostrow (signed in)").press("as", "ben@fob.example")
	v.shows(200, "Are you trying to sign in").press("action", "continue").shows(200, "You have signed in")
	if d, _ := s.sts.device(deviceCode); d.User != directory.BenID {
		t.Errorf("device %+v", d)
	}
}

func TestADeviceCanBeTurnedAway(t *testing.T) {
	s := newSurfer(t)
	deviceCode, code := s.waiting()
	s.enterCode(code).ben().press("action", "decline").shows(200, "You have not been signed in")
	if d, _ := s.sts.device(deviceCode); d.Status != deviceDenied {
		t.Errorf("device %+v", d)
	}
}

func TestADeviceAsksForConsentThatIsMissing(t *testing.T) {
	s := newSurfer(t)
	deviceCode, code := s.waiting(func(d *device) { d.Scope = "Mail.Send" })
	v := s.enterCode(code).ben().press("action", "continue").shows(200, "Permissions requested", "Send mail")
	v.press("action", "accept").shows(200, "You have signed in")
	if d, _ := s.sts.device(deviceCode); d.Status != deviceApproved {
		t.Errorf("device %+v", d)
	}

	deviceCode, code = s.waiting(func(d *device) { d.Scope = "Calendars.Read" })
	v = s.enterCode(code).press("as", "ben@fob.example").press("action", "continue").shows(200, "Permissions requested")
	v.press("action", "cancel").shows(200, "You have not been signed in")
	if d, _ := s.sts.device(deviceCode); d.Status != deviceDenied {
		t.Errorf("device %+v", d)
	}
}

func TestCodesThatDoNotWork(t *testing.T) {
	for name, c := range map[string]struct {
		code func(*surfer) string
		says string
	}{
		"empty":   {func(*surfer) string { return " - " }, "(AADSTS90119)"},
		"unknown": {func(*surfer) string { return "AAAAAAAAA" }, "(AADSTS70018)"},
		"expired": {func(s *surfer) string { _, code := s.waiting(); s.sts.World.Advance(deviceLifetime); return code }, "(AADSTS70019)"},
		"used": {func(s *surfer) string {
			_, code := s.waiting()
			s.sts.decideDevice(code, deviceApproved, signIn{User: directory.BenID})
			return code
		}, "(AADSTS90120)"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSurfer(t)
			v := s.enterCode(c.code(s)).shows(200, "Enter code", c.says)
			_, good := s.waiting()
			v.press("action", "next", "otc", good).shows(200, "Sign in")
		})
	}
}

func TestACodeIsDecidedOnce(t *testing.T) {
	s := newSurfer(t)
	_, code := s.waiting()
	confirm := s.enterCode(code).ben().shows(200, "Are you trying")
	confirm.press("action", "continue").shows(200, "You have signed in")
	confirm.press("action", "decline").shows(200, "(AADSTS90120)")
}

func TestUserCodesCannotBeGuessed(t *testing.T) {
	s := newSurfer(t)
	page := s.get("/devicelogin", nil)
	for i := range guessesAMinute {
		page.press("action", "next", "otc", fmt.Sprintf("WRONG%04d", i)).shows(200, "(AADSTS70018)")
	}
	_, code := s.waiting()
	page.press("action", "next", "otc", code).shows(200, "Too many codes were wrong")
	s.sts.World.Advance(time.Minute)
	page.press("action", "next", "otc", code).shows(200, "Sign in")
}

func TestWrongCodesOfAClockThatWasSetBackAreForgotten(t *testing.T) {
	s := newSurfer(t)
	for range guessesAMinute {
		s.sts.guesses.miss(s.sts.World.Now())
	}
	if now := s.sts.World.Now(); !s.sts.guesses.spent(now) || s.sts.guesses.spent(now.Add(-time.Hour)) {
		t.Error("nobody can enter a code until the clock is where it was")
	}
}

func TestADevicePageRefusesWhatTheTokenEndpointWould(t *testing.T) {
	for says, change := range map[string]func(*device){
		"AADSTS90002":  func(d *device) { d.Segment = "gone.example" },
		"AADSTS700016": func(d *device) { d.Client = "f0b00000-1003-4000-8000-0000000000ff" },
		"AADSTS50194":  func(d *device) { d.Segment = "common" },
	} {
		s := newSurfer(t)
		_, code := s.waiting(change)
		s.enterCode(code).shows(400, says)
	}
	for says, change := range map[string]func(*device){
		"AADSTS650053": func(d *device) { d.Scope = "Moon.Read" },
		"AADSTS65002":  func(d *device) { d.Client, d.Scope = directory.AzureCLIAppID, "api://fob-api/access_as_user" },
	} {
		s := newSurfer(t)
		deviceCode, code := s.waiting(change)
		v := s.enterCode(code).ben()
		if len(v.forms) > 0 {
			v = v.press("action", "continue")
		}
		v.shows(400, says)
		if d, _ := s.sts.device(deviceCode); d.Status != devicePending {
			t.Errorf("%s: device %+v", says, d)
		}
	}
}

func TestAWrongPasswordAtTheDevicePageCanBePutRight(t *testing.T) {
	s := newSurfer(t)
	deviceCode, code := s.waiting()
	v := s.enterCode(code).signIn("ben@fob.example", "wrong").shows(200, "(AADSTS50126)", "fob CLI")
	v.ben().press("action", "continue").shows(200, "You have signed in")
	if d, _ := s.sts.device(deviceCode); d.Status != deviceApproved {
		t.Errorf("device %+v", d)
	}
}

// What the device gets to see: the grant at the token endpoint.
func TestTheDeviceLearnsWhatThePersonDecided(t *testing.T) {
	for name, c := range map[string]struct {
		button string
		status int
		answer string
	}{
		"continue": {"continue", 200, `"access_token"`},
		"decline":  {"decline", 400, `"error":"authorization_declined"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSurfer(t)
			deviceCode, userCode := s.waiting()
			s.enterCode(userCode).ben().press("action", c.button)
			v := s.do("POST", s.origin+"/"+directory.TenantID+"/oauth2/v2.0/token", url.Values{
				"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {directory.CLIAppID}, "device_code": {deviceCode}})
			if v.status != c.status || !strings.Contains(v.body, c.answer) {
				t.Errorf("status %d, %s", v.status, v.body)
			}
		})
	}
}
