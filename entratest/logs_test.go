package entratest_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/fobauth/fob/entratest"
)

// reader is an app that may read the logs of an emulator.
func reader(t testing.TB) graph {
	t.Helper()
	g := admin(t)
	api := g.call(200, "GET", "/servicePrincipals(appId='"+entratest.GraphAppID+"')?$select=id", "").str("id")
	me := g.call(200, "GET", "/servicePrincipals(appId='"+g.app+"')?$select=id", "").str("id")
	const auditLogReadAll = "b0afded3-3588-46d8-8b3d-9842eff778da"
	g.call(201, "POST", "/servicePrincipals/"+me+"/appRoleAssignments", `{"principalId":"`+me+`","resourceId":"`+api+`","appRoleId":"`+auditLogReadAll+`"}`)
	g.token = g.signIn(url.Values{"client_id": {g.app}, "client_secret": {"admin-secret"}}).str("access_token")
	return g
}

// rows are some properties of what a log has, the newest first.
func (g graph) rows(path string, properties ...string) []string {
	g.t.Helper()
	var out []string
	for _, v := range g.call(200, "GET", g.e.GraphURL()+path, "").body["value"].([]any) {
		var row []string
		for _, p := range properties {
			value := v
			for name := range strings.SplitSeq(p, "/") {
				value = value.(map[string]any)[name]
			}
			if n, ok := value.(float64); ok {
				value = int(n)
			}
			row = append(row, fmt.Sprint(value))
		}
		out = append(out, strings.Join(row, " "))
	}
	return out
}

func (g graph) ropc(user, password string) answer {
	return post(g.t, g.e, tokenURL(g.e), url.Values{"grant_type": {"password"}, "client_id": {entratest.CLIClientID}, "username": {user}, "password": {password},
		"scope": {"https://graph.microsoft.com/User.Read offline_access"}})
}

func TestWhoSignsInIsInTheLog(t *testing.T) {
	g := reader(t)
	good := g.ropc(entratest.BenUPN, entratest.BenPassword)
	bad := g.ropc(entratest.BenUPN, "wrong")
	g.ropc("nobody@fob.example", "wrong")
	got := g.rows("/v1.0/auditLogs/signIns", "userPrincipalName", "appDisplayName", "resourceDisplayName", "status/errorCode", "isInteractive")
	if want := []string{"ben@fob.example fob CLI <nil> 50126 true", "ben@fob.example fob CLI Microsoft Graph 0 true"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the log\n got %q\nwant %q", got, want)
	}
	ids := g.rows("/v1.0/auditLogs/signIns", "id")
	if ids[1] != good.header.Get("X-Ms-Request-Id") || ids[0] != bad.str("trace_id") {
		t.Errorf("the ids %v are not %s, %s", ids, bad.str("trace_id"), good.header.Get("X-Ms-Request-Id"))
	}
	one := g.call(200, "GET", "/auditLogs/signIns/"+ids[0], "")
	status, _ := one.body["status"].(map[string]any)
	if !strings.HasPrefix(fmt.Sprint(status["failureReason"]), "Error validating credentials") || one.str("ipAddress") != "127.0.0.1" {
		t.Errorf("one: %s", one.text)
	}
	if got := g.rows("/v1.0/auditLogs/signIns?$filter="+url.QueryEscape("status/errorCode ne 0 and startswith(userPrincipalName,'ben')"), "status/errorCode"); fmt.Sprint(got) != "[50126]" {
		t.Errorf("filtered: %v", got)
	}
	post(t, g.e, tokenURL(g.e), url.Values{"grant_type": {"refresh_token"}, "client_id": {entratest.CLIClientID}, "refresh_token": {good.str("refresh_token")}})
	form := daemonForm()
	form.Set("client_secret", "wrong")
	post(t, g.e, tokenURL(g.e), form)
	if n := len(g.rows("/v1.0/auditLogs/signIns", "id")); n != 2 {
		t.Errorf("the log of people has %d", n)
	}
	const beta = "/beta/auditLogs/signIns?$filter="
	if got := g.rows(beta+url.QueryEscape("signInEventTypes/any(t:t eq 'nonInteractiveUser')"), "userPrincipalName"); fmt.Sprint(got) != "[ben@fob.example]" {
		t.Errorf("without a person at hand: %v", got)
	}
	got = g.rows(beta+url.QueryEscape("signInEventTypes/any(t:t eq 'servicePrincipal')"), "servicePrincipalName", "status/errorCode")
	if want := []string{"fob daemon 7000215", "admin 0", "admin 0"}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("of apps: %q", got)
	}
}

func TestAPersonAtTheBrowserIsInTheLogOnce(t *testing.T) {
	g := reader(t)
	var code string
	app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		code = r.Form.Get("code")
	}))
	defer app.Close()
	redirect := strings.Replace(app.URL, "127.0.0.1", "localhost", 1)
	if err := g.e.Browse(t.Context(), authorizeURL(g.e, entratest.CLIClientID, redirect, "query"), entratest.BenUPN); err != nil {
		t.Fatal(err)
	}
	if a := post(t, g.e, tokenURL(g.e), url.Values{"grant_type": {"authorization_code"}, "client_id": {entratest.CLIClientID}, "code": {code}, "redirect_uri": {redirect}}); a.status != 200 {
		t.Fatal(a.text)
	}
	if got := g.rows("/v1.0/auditLogs/signIns", "userPrincipalName", "appId", "resourceDisplayName"); fmt.Sprint(got) != "[ben@fob.example "+entratest.CLIClientID+" Microsoft Graph]" {
		t.Errorf("the log: %v", got)
	}
}

func TestADeviceSignsInOnce(t *testing.T) {
	g := reader(t)
	started := post(t, g.e, strings.Replace(tokenURL(g.e), "/token", "/devicecode", 1), url.Values{"client_id": {entratest.CLIClientID}, "scope": {"User.Read"}})
	poll := func() answer {
		return post(t, g.e, tokenURL(g.e), url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {entratest.CLIClientID}, "device_code": {started.str("device_code")}})
	}
	poll() // too early
	if err := g.e.Approve(started.str("user_code"), entratest.CleoUPN); err != nil {
		t.Fatal(err)
	}
	poll()
	if got := g.rows("/beta/auditLogs/signIns", "userPrincipalName", "authenticationProtocol", "status/errorCode"); fmt.Sprint(got) != "[cleo@fob.example deviceCode 0]" {
		t.Errorf("the log: %v", got)
	}
}

func TestConsentIsInTheLogOfChanges(t *testing.T) {
	g := reader(t)
	app, err := g.e.AddApp(entratest.App{Name: "desk", Public: true, NativeRedirects: []string{"http://localhost"}})
	if err != nil {
		t.Fatal(err)
	}
	listener := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	defer listener.Close()
	if err := g.e.Browse(t.Context(), authorizeURL(g.e, app.ClientID, strings.Replace(listener.URL, "127.0.0.1", "localhost", 1), "query"), entratest.BenUPN); err != nil {
		t.Fatal(err)
	}
	a := g.call(200, "GET", "/auditLogs/directoryAudits?$filter="+url.QueryEscape("activityDisplayName eq 'Consent to application'"), "")
	if !strings.Contains(a.text, `"userPrincipalName":"ben@fob.example"`) || !strings.Contains(a.text, `"displayName":"desk"`) || !strings.Contains(a.text, `Microsoft Graph/User.Read`) {
		t.Errorf("the log: %s", a.text)
	}
}
