package entratest_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fobauth/fob/entratest"
)

// graph is a client of the emulator's Graph.
type graph struct {
	t     testing.TB
	e     *entratest.Emulator
	token string
	hc    *http.Client
	app   string // the client id of the app that the token is for
}

// admin is an app that may do everything that these tests do.
func admin(t testing.TB, changes ...func(*entratest.Config)) graph {
	t.Helper()
	e := entratest.New(t, changes...)
	a, err := e.AddApp(entratest.App{Name: "admin", Secrets: []string{"admin-secret"}, Granted: map[string][]string{"https://graph.microsoft.com": {
		"User.ReadWrite.All", "User.DeleteRestore.All", "Group.ReadWrite.All", "Application.ReadWrite.All", "Directory.ReadWrite.All", "AppRoleAssignment.ReadWrite.All",
		"DelegatedPermissionGrant.ReadWrite.All", "Mail.Send", "Mail.ReadWrite", "Files.ReadWrite.All", "RoleManagement.ReadWrite.Directory"}}})
	if err != nil {
		t.Fatal(err)
	}
	got := post(t, e, tokenURL(e), url.Values{"grant_type": {"client_credentials"}, "client_id": {a.ClientID}, "client_secret": {"admin-secret"}, "scope": {"https://graph.microsoft.com/.default"}})
	if got.status != 200 {
		t.Fatal(got.text)
	}
	c := *e.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return graph{t, e, got.str("access_token"), &c, a.ClientID}
}

// call sends a request, and fails the test unless the status is the one
// wanted. Headers are names and values.
func (g graph) call(status int, method, path, body string, header ...string) answer {
	g.t.Helper()
	if strings.HasPrefix(path, "/") {
		path = g.e.GraphURL() + "/v1.0" + path
	}
	r, err := http.NewRequest(method, path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	if g.token != "" {
		r.Header.Set("Authorization", "Bearer "+g.token)
	}
	if strings.HasPrefix(body, "{") {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	a := do(g.t, g.hc, r)
	if a.status != status {
		g.t.Fatalf("%s %s: %d %s, want %d", method, path, a.status, a.text, status)
	}
	return a
}

// signIn asks for an app's token and returns the answer.
func (g graph) signIn(form url.Values) answer {
	form.Set("grant_type", "client_credentials")
	if form.Get("scope") == "" {
		form.Set("scope", "https://graph.microsoft.com/.default")
	}
	return post(g.t, g.e, tokenURL(g.e), form)
}

func TestASecretMadeInGraphSignsIn(t *testing.T) {
	g := admin(t)
	app := g.call(201, "POST", "/applications", `{"displayName":"nightly"}`)
	secret := g.call(200, "POST", "/applications/"+app.str("id")+"/addPassword", `{"passwordCredential":{"displayName":"first"}}`)
	form := url.Values{"client_id": {app.str("appId")}, "client_secret": {secret.str("secretText")}}
	if a := g.signIn(form); a.status == 200 {
		t.Errorf("signed in without a service principal: %s", a.text)
	}
	g.call(201, "POST", "/servicePrincipals", `{"appId":"`+app.str("appId")+`"}`)
	g.call(409, "POST", "/servicePrincipals", `{"appId":"`+app.str("appId")+`"}`)
	if a := g.signIn(form); a.status != 200 {
		t.Fatalf("the secret does not sign in: %s", a.text)
	}
	shown := g.call(200, "GET", "/applications(appId='"+app.str("appId")+"')?$select=passwordCredentials", "")
	if s := shown.text; strings.Contains(s, secret.str("secretText")) || !strings.Contains(s, `"hint":"`+secret.str("secretText")[:3]+`"`) {
		t.Errorf("shown later: %s", s)
	}
	g.call(204, "POST", "/applications/"+app.str("id")+"/removePassword", `{"keyId":"`+secret.str("keyId")+`"}`)
	if a := g.signIn(form); a.status != 401 {
		t.Errorf("the removed secret: %d %s", a.status, a.text)
	}
	g.call(204, "DELETE", "/applications/"+app.str("id"), "")
	g.call(404, "GET", "/applications/"+app.str("id"), "")
	g.call(200, "POST", "/directory/deletedItems/"+app.str("id")+"/restore", "")
	g.call(200, "GET", "/applications/"+app.str("id"), "")
}

func TestASecretOfAServicePrincipalSignsIn(t *testing.T) {
	g := admin(t)
	at := "/servicePrincipals/" + g.call(200, "GET", "/servicePrincipals(appId='"+entratest.DaemonClientID+"')", "").str("id")
	made := g.call(200, "POST", at+"/addPassword", `{"passwordCredential":{"displayName":"its own"}}`)
	form := url.Values{"client_id": {entratest.DaemonClientID}, "client_secret": {made.str("secretText")}}
	if a := g.signIn(form); a.status != 200 {
		t.Errorf("signed in: %s", a.text)
	}
	if a := g.call(200, "GET", at+"?$select=passwordCredentials", ""); !strings.Contains(a.text, `"displayName":"its own"`) || strings.Contains(a.text, made.str("secretText")) {
		t.Errorf("shown: %s", a.text)
	}
	if a := g.call(200, "GET", "/applications(appId='"+entratest.DaemonClientID+"')", ""); strings.Contains(a.text, "its own") {
		t.Errorf("the registration has it too: %s", a.text)
	}
	g.call(204, "POST", at+"/removePassword", `{"keyId":"`+made.str("keyId")+`"}`)
	if a := g.signIn(form); a.status != 401 || !strings.Contains(a.text, "AADSTS7000215") {
		t.Errorf("removed: %s", a.text)
	}
	g.call(400, "POST", at+"/removePassword", `{"keyId":"`+made.str("keyId")+`"}`)
	elsewhere := g.call(200, "GET", "/servicePrincipals(appId='"+entratest.GraphAppID+"')", "").str("id")
	g.call(501, "POST", "/servicePrincipals/"+elsewhere+"/addPassword", `{}`)
}

func TestAnAppRoleAssignedInGraphIsInTheToken(t *testing.T) {
	g := admin(t)
	app := g.call(201, "POST", "/applications", `{"displayName":"nightly"}`)
	secret := g.call(200, "POST", "/applications/"+app.str("id")+"/addPassword", `{}`).str("secretText")
	sp := g.call(201, "POST", "/servicePrincipals", `{"appId":"`+app.str("appId")+`"}`).str("id")
	api := g.call(200, "GET", "/servicePrincipals(appId='"+entratest.GraphAppID+"')?$select=id", "").str("id")
	const userReadAll = "df021288-bdef-4463-88db-98f22de89214"
	body := `{"principalId":"` + sp + `","resourceId":"` + api + `","appRoleId":"` + userReadAll + `"}`
	made := g.call(201, "POST", "/servicePrincipals/"+sp+"/appRoleAssignments", body)
	if made.str("principalType") != "ServicePrincipal" || made.str("resourceDisplayName") != "Microsoft Graph" {
		t.Errorf("made: %s", made.text)
	}
	g.call(400, "POST", "/servicePrincipals/"+sp+"/appRoleAssignments", body)
	form := url.Values{"client_id": {app.str("appId")}, "client_secret": {secret}}
	mine := g
	mine.token = g.signIn(form).str("access_token")
	mine.call(200, "GET", "/users", "")
	if a := g.call(200, "GET", "/servicePrincipals/"+api+"/appRoleAssignedTo?$filter=principalDisplayName+eq+'nightly'", ""); !strings.Contains(a.text, made.str("id")) {
		t.Errorf("assigned to: %s", a.text)
	}
	g.call(204, "DELETE", "/servicePrincipals/"+sp+"/appRoleAssignments/"+made.str("id"), "")
	mine.token = g.signIn(form).str("access_token")
	if a := mine.call(403, "GET", "/users", ""); a.errorCode() != "Authorization_RequestDenied" {
		t.Errorf("without the role: %s", a.text)
	}
}

func TestConsentGivenInGraphIsInTheToken(t *testing.T) {
	g := admin(t)
	client := g.call(200, "GET", "/servicePrincipals(appId='"+entratest.CLIClientID+"')", "").str("id")
	api := g.call(200, "GET", "/servicePrincipals(appId='"+entratest.GraphAppID+"')?$select=id", "").str("id")
	ben := func() string {
		a := userSignIn(t, g.e, entratest.BenUPN, "https://graph.microsoft.com/.default", nil)
		return " " + a.str("scope") + " "
	}
	if strings.Contains(ben(), "/Mail.Read ") || strings.Contains(ben(), " Mail.Read ") {
		t.Fatalf("consented before: %s", ben())
	}
	made := g.call(201, "POST", "/oauth2PermissionGrants", `{"clientId":"`+client+`","consentType":"Principal","principalId":"`+entratest.BenID+`","resourceId":"`+api+`","scope":" Mail.Read User.Read"}`)
	if s := ben(); !strings.Contains(s, "Mail.Read ") {
		t.Errorf("granted, but the scopes are %s", s)
	}
	g.call(204, "PATCH", "/oauth2PermissionGrants/"+made.str("id"), `{"scope":"Files.Read"}`)
	if s := ben(); strings.Contains(s, "Mail.Read ") || !strings.Contains(s, "Files.Read ") {
		t.Errorf("changed, but the scopes are %s", s)
	}
	g.call(204, "DELETE", "/oauth2PermissionGrants/"+made.str("id"), "")
	if s := ben(); strings.Contains(s, "Files.Read ") {
		t.Errorf("deleted, but the scopes are %s", s)
	}
	if a := g.call(409, "POST", "/oauth2PermissionGrants", `{"clientId":"`+client+`","consentType":"AllPrincipals","resourceId":"`+api+`","scope":"User.Read"}`); a.errorCode() != "Request_MultipleObjectsWithSameKeyValue" {
		t.Errorf("twice: %s", a.text)
	}
}

func TestAUserMadeInGraphSignsIn(t *testing.T) {
	g := admin(t)
	u := g.call(201, "POST", "/users", `{"accountEnabled":true,"displayName":"Mira","mailNickname":"mira","userPrincipalName":"mira@fob.example","passwordProfile":{"password":"mira-password-1","forceChangePasswordNextSignIn":false}}`)
	if a := userSignIn(t, g.e, "mira@fob.example", "User.Read", nil); a.str("access_token") == "" {
		t.Error(a.text)
	}
	g.call(204, "PATCH", "/users/"+u.str("id"), `{"accountEnabled":false}`)
	base := g.e.URL() + "/" + entratest.TenantID + "/oauth2/v2.0/"
	a := post(t, g.e, base+"token", url.Values{"grant_type": {"password"}, "client_id": {entratest.CLIClientID}, "username": {"mira@fob.example"}, "password": {"mira-password-1"}, "scope": {"User.Read"}})
	if a.status == 200 {
		t.Error("a disabled user signed in")
	}
}

func TestAFederatedCredentialIsKeptWithItsApp(t *testing.T) {
	g := admin(t)
	app := g.call(200, "GET", "/applications(appId='"+entratest.DaemonClientID+"')", "").str("id")
	path := "/applications/" + app + "/federatedIdentityCredentials"
	made := g.call(201, "POST", path, `{"name":"ci","issuer":"https://ci.example","subject":"repo:a/b","audiences":["api://AzureADTokenExchange"]}`)
	g.call(409, "POST", path, `{"name":"ci","issuer":"https://other.example","subject":"x","audiences":["api://AzureADTokenExchange"]}`)
	g.call(400, "POST", path, `{"name":"two","issuer":"https://ci.example","subject":"y","audiences":["a","b"]}`)
	g.call(204, "PATCH", path+"/"+made.str("id"), `{"subject":"repo:a/c"}`)
	if a := g.call(200, "GET", path+"/ci", ""); a.str("subject") != "repo:a/c" || a.str("id") != made.str("id") {
		t.Errorf("changed: %s", a.text)
	}
	g.call(204, "DELETE", path+"/"+made.str("id"), "")
	g.call(404, "GET", path+"/ci", "")
}

func TestFilesGoElsewhereWithoutTheToken(t *testing.T) {
	g := admin(t)
	// Some clients send their token to every port of a host.
	graph, err1 := url.Parse(g.e.GraphURL())
	if storage, err2 := url.Parse(g.e.StorageURL()); err1 != nil || err2 != nil || storage.Hostname() == graph.Hostname() {
		t.Fatalf("uploads go to Graph's host: %s", storage)
	}
	session := g.call(200, "POST", "/users/"+entratest.AdaID+"/drive/root:/a.bin:/createUploadSession", `{"item":{}}`)
	file := bytes.Repeat([]byte("x"), 1000)
	if a := g.call(401, "PUT", session.str("uploadUrl"), string(file), "Content-Range", "bytes 0-999/1000"); a.errorCode() != "unauthenticated" {
		t.Errorf("with a token: %s", a.text)
	}
	bare := g
	bare.token = ""
	bare.call(201, "PUT", session.str("uploadUrl"), string(file), "Content-Range", "bytes 0-999/1000")
	where := g.call(302, "GET", "/users/"+entratest.AdaID+"/drive/root:/a.bin:/content", "").header.Get("Location")
	if !strings.HasPrefix(where, g.e.StorageURL()+"/") {
		t.Errorf("redirected to %s", where)
	}
	g.call(401, "GET", where, "")
	if a := bare.call(200, "GET", where, ""); sha256.Sum256([]byte(a.text)) != sha256.Sum256(file) {
		t.Errorf("got %d bytes", len(a.text))
	}
	for _, r := range g.e.Requests() {
		if strings.HasPrefix(r.Path, "/storage/upload/") && r.Method == "PUT" {
			return
		}
	}
	t.Error("the log knows nothing of uploads")
}

func TestAHandlerServesFilesItself(t *testing.T) {
	e, err := entratest.Handler(entratest.Config{AuthorityURL: "https://emulator.example"})
	if err != nil {
		t.Fatal(err)
	}
	if e.StorageURL() != e.GraphURL() {
		t.Errorf("files go to %s", e.StorageURL())
	}
}

func TestFaultsReachIntoABatch(t *testing.T) {
	g := admin(t)
	if err := g.e.Fail(1, entratest.Fault{Path: "/v1.0/users", Status: 429, RetryAfter: "0.249"}); err != nil {
		t.Fatal(err)
	}
	const requests = `{"requests":[{"id":"1","method":"GET","url":"/groups"},{"id":"2","method":"GET","url":"/users?$top=1"},{"id":"3","method":"GET","url":"/users?$top=1"}]}`
	a := g.call(200, "POST", "/$batch", requests)
	var body struct {
		Responses []struct {
			ID      string
			Status  int
			Headers map[string]string
		}
	}
	if err := json.Unmarshal([]byte(a.text), &body); err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprintf("%d %d %d %s", body.Responses[0].Status, body.Responses[1].Status, body.Responses[2].Status, body.Responses[1].Headers["Retry-After"])
	if got != "200 429 200 0.249" {
		t.Errorf("got %s", got)
	}
}

func TestThrottlingIsSetAndGoesByTheClock(t *testing.T) {
	g := admin(t, func(cfg *entratest.Config) { cfg.Throttle = entratest.Throttle{Units: 2} })
	g.call(200, "GET", "/users", "")
	if a := g.call(429, "GET", "/users", ""); a.errorCode() != "TooManyRequests" || a.header.Get("Retry-After") == "" {
		t.Errorf("throttled: %v %s", a.header, a.text)
	}
	g.e.Advance(30 * time.Second)
	g.call(200, "GET", "/users", "")
	if err := g.e.Throttle(entratest.Throttle{}); err != nil {
		t.Fatal(err)
	}
	for range 5 {
		g.call(200, "GET", "/users", "")
	}
	if g.e.Throttle(entratest.Throttle{RetryAfter: "never"}) == nil || g.e.Throttle(entratest.Throttle{Units: -2}) == nil {
		t.Error("nonsense is accepted")
	}
	if _, err := entratest.Start(entratest.Config{Throttle: entratest.Throttle{Writes: -1}}); err == nil {
		t.Error("nonsense is accepted in a configuration")
	}
}

func TestGeneratedUsersSignInAndAreListed(t *testing.T) {
	g := admin(t, func(cfg *entratest.Config) { cfg.GeneratedUsers = 1_000_000 })
	if a := g.call(200, "GET", "/users/$count", "", "ConsistencyLevel", "eventual"); a.text != "1000003" {
		t.Errorf("there are %s", a.text)
	}
	a := g.call(200, "GET", "/users?$top=1&$select=id,userPrincipalName&$filter=startswith(userPrincipalName,'q')", "")
	u := a.body["value"].([]any)[0].(map[string]any)
	base := g.e.URL() + "/" + entratest.TenantID + "/oauth2/v2.0/"
	got := post(t, g.e, base+"token", url.Values{"grant_type": {"password"}, "client_id": {entratest.CLIClientID}, "username": {u["userPrincipalName"].(string)},
		"password": {entratest.GeneratedPassword}, "scope": {"User.Read"}})
	mine := g
	mine.token = got.str("access_token")
	if me := mine.call(200, "GET", "/me", ""); me.str("id") != u["id"] {
		t.Errorf("signed in as %s, not %v", me.text, u)
	}
}

func TestGraphStillTakesEveryoneAtOnce(t *testing.T) {
	g := admin(t, func(cfg *entratest.Config) { cfg.GeneratedUsers = 5000 })
	done := make(chan error, 8)
	for worker := range 8 {
		go func() {
			for i := range 6 {
				upn := fmt.Sprintf("w%d-%d@fob.example", worker, i)
				body := `{"accountEnabled":true,"displayName":"W","mailNickname":"w","userPrincipalName":"` + upn + `","passwordProfile":{"password":"password-1"}}`
				for _, c := range []struct{ method, path, body string }{{"POST", "/users", body}, {"PATCH", "/users/" + upn, `{"city":"Bern"}`},
					{"GET", "/users?$top=999", ""}, {"GET", "/users/delta", ""}, {"POST", "/users/" + entratest.AdaID + "/sendMail", `{"message":{"toRecipients":[{"emailAddress":{"address":"ben@fob.example"}}]}}`},
					{"PUT", "/users/" + entratest.AdaID + "/drive/root:/" + upn + ":/content", "x"}, {"DELETE", "/users/" + upn, ""}} {
					r, _ := http.NewRequest(c.method, g.e.GraphURL()+"/v1.0"+c.path, strings.NewReader(c.body))
					r.Header.Set("Authorization", "Bearer "+g.token)
					r.Header.Set("Content-Type", "application/json")
					res, err := g.hc.Do(r)
					if err != nil {
						done <- err
						return
					}
					text, _ := io.ReadAll(res.Body)
					res.Body.Close()
					if res.StatusCode >= 300 {
						done <- fmt.Errorf("%s %s: %d %s", c.method, c.path, res.StatusCode, text)
						return
					}
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestThrottlingIsSetOverHTTP(t *testing.T) {
	g := admin(t, func(cfg *entratest.Config) { cfg.ControlListen = "127.0.0.1:0" })
	bare := g
	bare.token = ""
	bare.call(200, "POST", g.e.ControlURL()+"/throttle", `{"units":1,"retry_after":"none"}`)
	g.call(429, "GET", "/users", "")
	bare.call(400, "POST", g.e.ControlURL()+"/throttle", `{"retry_after":"never"}`)
	bare.call(200, "POST", g.e.ControlURL()+"/throttle", `{}`)
	g.call(200, "GET", "/users", "")
}
