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
	if _, err := e.AddUser(entratest.User{Home: "zed@other.example", UPN: "zed@fob.example"}); err == nil || !strings.Contains(err.Error(), "is a guest there already, with the id "+guest.ID) {
		t.Errorf("the same guest by another name: %v", err)
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

func TestAGuestIsInvited(t *testing.T) {
	keeper := admin(t)
	e := keeper.e
	if _, err := e.AddUser(entratest.User{Tenant: entratest.OtherTenantDomain, UPN: "zed@other.example", DisplayName: "Zed", Password: "zed-password-1"}); err != nil {
		t.Fatal(err)
	}
	const invitation = `{"invitedUserEmailAddress":"zed@other.example","inviteRedirectUrl":"https://app.example","invitedUserMessageInfo":{"messageLanguage":"en-US"}}`
	made := keeper.call(201, "POST", "/invitations", invitation)
	guest, _ := made.body["invitedUser"].(map[string]any)
	id, _ := guest["id"].(string)
	if id == "" || made.str("status") != "PendingAcceptance" || made.str("invitedUserType") != "Guest" || !strings.HasPrefix(made.str("inviteRedeemUrl"), e.URL()+"/redeem?rd=https%3A%2F%2F") {
		t.Fatalf("invited: %s", made.text)
	}
	state := func() string {
		return keeper.call(200, "GET", "/users/"+id+"?$select=externalUserState", "").str("externalUserState")
	}
	if got := state(); got != "PendingAcceptance" {
		t.Errorf("invited, the guest is %s", got)
	}
	signedIn := post(t, e, tokenURL(e), url.Values{"grant_type": {"password"}, "client_id": {entratest.CLIClientID}, "username": {"zed@other.example"}, "password": {"zed-password-1"},
		"scope": {"https://graph.microsoft.com/User.Read"}})
	if signedIn.status != 200 {
		t.Fatalf("the guest signs in: %s", signedIn.text)
	}
	if got := state(); got != "Accepted" {
		t.Errorf("signed in, the guest is %s", got)
	}
	again := keeper.call(201, "POST", "/invitations", invitation)
	if now, _ := again.body["invitedUser"].(map[string]any); now["id"] != id || again.str("status") != "Completed" {
		t.Errorf("invited again: %s", again.text)
	}
	stranger := keeper.call(201, "POST", "/invitations", `{"invitedUserEmailAddress":"mo@nowhere.example","invitedUserDisplayName":"Mo","inviteRedirectUrl":"https://app.example"}`)
	mo, _ := stranger.body["invitedUser"].(map[string]any)
	if u := keeper.call(200, "GET", "/users/"+mo["id"].(string)+"?$select=displayName,userPrincipalName,userType,creationType", ""); u.str("displayName") != "Mo" || u.str("userPrincipalName") != "mo_nowhere.example#EXT#@fobexample.onmicrosoft.com" || u.str("userType") != "Guest" || u.str("creationType") != "Invitation" {
		t.Errorf("somebody whom no tenant knows: %s", u.text)
	}
	again = keeper.call(201, "POST", "/invitations", `{"invitedUserEmailAddress":"mo@nowhere.example","inviteRedirectUrl":"https://app.example"}`)
	if now, _ := again.body["invitedUser"].(map[string]any); now["id"] != mo["id"] || again.str("status") != "PendingAcceptance" {
		t.Errorf("somebody whom no tenant knows, invited again: %s", again.text)
	}
	if a := post(t, e, tokenURL(e), url.Values{"grant_type": {"password"}, "client_id": {entratest.CLIClientID}, "username": {"mo_nowhere.example#EXT#@fobexample.onmicrosoft.com"}, "password": {"x"},
		"scope": {"https://graph.microsoft.com/User.Read"}}); !strings.Contains(a.text, "AADSTS50034") {
		t.Errorf("somebody whom no tenant knows signs in: %s", a.text)
	}
	for _, body := range []string{`{"invitedUserEmailAddress":"ben@fob.example","inviteRedirectUrl":"https://app.example"}`, `{"invitedUserEmailAddress":"no address","inviteRedirectUrl":"https://app.example"}`,
		`{"invitedUserEmailAddress":"zed@other.example"}`, `{"invitedUserEmailAddress":"zed@other.example","inviteRedirectUrl":"https://app.example","invitedUserType":"Boss"}`} {
		keeper.call(400, "POST", "/invitations", body)
	}
	g := keeper
	g.token = signedIn.str("access_token")
	g.call(403, "POST", "/invitations", invitation)

	yan, err := e.AddUser(entratest.User{Tenant: entratest.OtherTenantDomain, UPN: "yan@other.example", Password: "yan-password-1"})
	if err != nil {
		t.Fatal(err)
	}
	reset := func(status int, who string) answer {
		return keeper.call(status, "POST", "/invitations", `{"invitedUserEmailAddress":"yan@other.example","inviteRedirectUrl":"https://app.example","resetRedemption":true,"invitedUser":{"id":"`+who+`"}}`)
	}
	if now, _ := reset(201, id).body["invitedUser"].(map[string]any); now["id"] != id || state() != "PendingAcceptance" {
		t.Errorf("reset: %v, %s", now, state())
	}
	signIn := func(user, password string) answer {
		return post(t, e, tokenURL(e), url.Values{"grant_type": {"password"}, "client_id": {entratest.CLIClientID}, "username": {user}, "password": {password}, "scope": {"https://graph.microsoft.com/User.Read"}})
	}
	if a := signIn(yan.UPN, yan.Password); a.status != 200 || state() != "Accepted" {
		t.Errorf("the guest comes with another account: %s, %s", a.text, state())
	}
	if a := signIn("zed@other.example", "zed-password-1"); !strings.Contains(a.text, "AADSTS50020") {
		t.Errorf("the guest comes with the account of before: %s", a.text)
	}
	reset(400, entratest.BenID)   // who is at home here
	reset(400, mo["id"].(string)) // another guest has the account
	reset(400, "no such user")
	keeper.call(400, "POST", "/invitations", `{"invitedUserEmailAddress":"yan@other.example","inviteRedirectUrl":"https://app.example","invitedUser":{"id":"`+id+`"}}`)
}
