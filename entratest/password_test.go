package entratest_test

import (
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fobauth/fob/entratest"
)

func TestANewPasswordEndsWhatPublicClientsHave(t *testing.T) {
	keeper := admin(t)
	e := keeper.e
	form := func(client, secret string, more ...string) url.Values {
		f := url.Values{"client_id": {client}, "scope": {"https://graph.microsoft.com/User.Read offline_access"}, "claims": {`{"access_token":{"xms_cc":{"values":["cp1"]}}}`}}
		if secret != "" {
			f.Set("client_secret", secret)
		}
		for i := 0; i < len(more); i += 2 {
			f.Set(more[i], more[i+1])
		}
		return f
	}
	signIn := func(client, secret, password string) answer {
		return post(t, e, tokenURL(e), form(client, secret, "grant_type", "password", "username", entratest.BenUPN, "password", password))
	}
	renew := func(client, secret, refresh string) answer {
		return post(t, e, tokenURL(e), form(client, secret, "grant_type", "refresh_token", "refresh_token", refresh))
	}
	program := signIn(entratest.CLIClientID, "", entratest.BenPassword)
	web := signIn(entratest.WebClientID, entratest.WebSecret, entratest.BenPassword)
	ben := keeper
	ben.token = program.str("access_token")
	ben.call(200, "GET", "/me", "")

	keeper.call(204, "PATCH", "/users/"+entratest.BenID, `{"passwordProfile":{"forceChangePasswordNextSignIn":true}}`)
	if a := signIn(entratest.CLIClientID, "", entratest.BenPassword); !strings.Contains(a.text, "AADSTS50055") {
		t.Errorf("to be changed: %s", a.text)
	}
	keeper.call(204, "PATCH", "/users/"+entratest.BenID, `{"passwordProfile":{"forceChangePasswordNextSignIn":false}}`)
	if a := renew(entratest.CLIClientID, "", program.str("refresh_token")); a.status != 200 {
		t.Errorf("the password is as it was: %s", a.text)
	}
	e.Advance(time.Minute)
	keeper.call(204, "PATCH", "/users/"+entratest.BenID, `{"passwordProfile":{"password":"ben-password-2","forceChangePasswordNextSignIn":false}}`)
	changed := keeper.call(200, "GET", "/users/"+entratest.BenID+"?$select=createdDateTime,lastPasswordChangeDateTime", "")
	if changed.str("lastPasswordChangeDateTime") <= changed.str("createdDateTime") {
		t.Errorf("changed: %s", changed.text)
	}
	if a := renew(entratest.CLIClientID, "", program.str("refresh_token")); !strings.Contains(a.text, "AADSTS50173") {
		t.Errorf("a public client: %s", a.text)
	}
	if a := renew(entratest.WebClientID, entratest.WebSecret, web.str("refresh_token")); a.status != 200 {
		t.Errorf("a confidential client: %s", a.text)
	}
	if a := ben.call(401, "GET", "/me", ""); !strings.Contains(a.header.Get("WWW-Authenticate"), "insufficient_claims") {
		t.Errorf("the access token: %s", a.text)
	}
	if a := signIn(entratest.CLIClientID, "", entratest.BenPassword); !strings.Contains(a.text, "AADSTS50126") {
		t.Errorf("the old password: %s", a.text)
	}
	again := signIn(entratest.CLIClientID, "", "ben-password-2")
	if a := renew(entratest.CLIClientID, "", again.str("refresh_token")); a.status != 200 {
		t.Errorf("with the new password: %s", a.text)
	}
	ben.token = again.str("access_token")
	ben.call(200, "GET", "/me", "")
}
