package entratest_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/fobauth/fob/entratest"
)

func TestAGuestLooksAtGraph(t *testing.T) {
	keeper := admin(t)
	e := keeper.e
	if _, err := e.AddUser(entratest.User{Tenant: entratest.OtherTenantDomain, UPN: "zed@other.example", DisplayName: "Zed", Password: "zed-password-1"}); err != nil {
		t.Fatal(err)
	}
	guest, err := e.AddUser(entratest.User{Home: "zed@other.example"})
	if err != nil {
		t.Fatal(err)
	}
	if guest.UPN != "zed_other.example#EXT#@fobexample.onmicrosoft.com" || !guest.Guest || guest.DisplayName != "Zed" || guest.Mail != "zed@other.example" {
		t.Errorf("the guest: %+v", guest)
	}
	for _, home := range []string{"nobody@other.example", entratest.BenUPN, guest.ID} {
		if _, err := e.AddUser(entratest.User{Home: home}); err == nil || !strings.Contains(err.Error(), "at home in another tenant") {
			t.Errorf("a guest from %s: %v", home, err)
		}
	}
	g := graph{t: t, e: e, hc: e.Client()}
	g.token = post(t, e, tokenURL(e), url.Values{"grant_type": {"password"}, "client_id": {entratest.CLIClientID}, "username": {"zed@other.example"}, "password": {"zed-password-1"},
		"scope": {"https://graph.microsoft.com/User.Read"}}).str("access_token")
	me := g.call(200, "GET", "/me?$select=id,userPrincipalName,userType,creationType,externalUserState,identities,mail", "")
	for name, want := range map[string]string{"id": guest.ID, "userPrincipalName": guest.UPN, "userType": "Guest", "creationType": "Invitation", "externalUserState": "Accepted", "mail": "zed@other.example"} {
		if got := me.str(name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if !strings.Contains(me.text, `{"signInType":"federated","issuer":"ExternalAzureAD","issuerAssignedId":null}`) {
		t.Errorf("identities: %s", me.text)
	}
	g.call(403, "GET", "/users", "")                                                                                // guests do not look around
	if got := keeper.call(200, "POST", "/users/"+guest.ID+"/revokeSignInSessions", "").body["value"]; got != true { // does nothing: the sessions are at home
		t.Errorf("revoked: %v", got)
	}
	if since := keeper.call(200, "GET", "/users/zed_other.example%23EXT%23@fobexample.onmicrosoft.com?$select=createdDateTime,signInSessionsValidFromDateTime", ""); since.str("createdDateTime") != since.str("signInSessionsValidFromDateTime") {
		t.Errorf("sessions: %s", since.text)
	}
}
