package entratest_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fobauth/fob/entratest"
)

func controlled(t *testing.T) (*entratest.Emulator, func(method, path, body string, header ...string) answer) {
	t.Helper()
	e := entratest.New(t, func(cfg *entratest.Config) { cfg.ControlListen = "127.0.0.1:0" })
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return e, func(method, path, body string, header ...string) answer {
		t.Helper()
		r, err := http.NewRequest(method, e.ControlURL()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			if r.Header.Set(header[i], header[i+1]); header[i] == "Host" {
				r.Host = header[i+1]
			}
		}
		a := do(t, c, r)
		if !json.Valid([]byte(a.text)) {
			t.Errorf("%s %s: not JSON: %s", method, path, a.text)
		}
		return a
	}
}

func TestWebPagesCannotUseTheControls(t *testing.T) {
	_, control := controlled(t)
	for name, header := range map[string][]string{
		"a page's script":          {"Origin", "https://evil.example"},
		"an opaque origin":         {"Origin", "null"},
		"a name rebound to us":     {"Host", "evil.example"},
		"a form of another site":   {"Sec-Fetch-Site", "cross-site"},
		"a page of another port":   {"Sec-Fetch-Site", "same-site"},
		"a name that ends like us": {"Host", "localhost.evil.example:80"},
	} {
		if a := control("GET", "/world", "", header...); a.status != 403 || a.str("error") == "" {
			t.Errorf("%s: %d %s", name, a.status, a.text)
		}
	}
	if a := control("GET", "/world", "", "Host", "localhost"); a.status != 200 {
		t.Errorf("localhost: %d", a.status)
	}
}

func TestTheHelpListsEveryControl(t *testing.T) {
	_, control := controlled(t)
	a := control("GET", "/", "")
	calls, _ := a.body["calls"].([]any)
	if a.status != 200 || len(calls) < 12 {
		t.Errorf("got %d %s", a.status, a.text)
	}
}

func TestADeviceCodeIsApprovedOverHTTP(t *testing.T) {
	e, control := controlled(t)
	ask := func() answer {
		return post(t, e, e.URL()+"/"+entratest.TenantID+"/oauth2/v2.0/devicecode", url.Values{"client_id": {entratest.CLIClientID}, "scope": {"User.Read"}})
	}
	poll := func(d answer) answer {
		return post(t, e, tokenURL(e), url.Values{"grant_type": {"device_code"}, "client_id": {entratest.CLIClientID}, "device_code": {d.str("device_code")}})
	}
	d := ask()
	if a := control("GET", "/device", ""); !strings.Contains(a.text, d.str("user_code")) {
		t.Errorf("pending: %s", a.text)
	}
	if a := control("POST", "/device/approve", `{"user_code":"`+d.str("user_code")+`","user":"ada@fob.example"}`); a.status != 200 {
		t.Fatalf("approve: %s", a.text)
	}
	if a := poll(d); a.status != 200 {
		t.Errorf("after approval: %s", a.text)
	}
	d = ask()
	if a := control("POST", "/device/deny", `{"user_code":"`+d.str("user_code")+`"}`); a.status != 200 {
		t.Fatalf("deny: %s", a.text)
	}
	if a := poll(d); a.str("error") != "authorization_declined" {
		t.Errorf("after denial: %s", a.text)
	}
}

func TestTheClockIsMovedOverHTTP(t *testing.T) {
	e, control := controlled(t)
	before := e.Now()
	if a := control("POST", "/clock", `{"advance":"90m"}`); a.status != 200 || e.Now().Sub(before) < 90*time.Minute {
		t.Errorf("advance: %s", a.text)
	}
	if a := control("POST", "/clock", `{"set":"2031-02-03T04:05:06Z"}`); !strings.HasPrefix(a.str("now"), "2031-02-03T04:0") {
		t.Errorf("set: %s", a.text)
	}
	if a := control("GET", "/clock", ""); !strings.HasPrefix(a.str("now"), "2031-02-03T04:0") {
		t.Errorf("get: %s", a.text)
	}
}

func TestRequestsFailOverHTTP(t *testing.T) {
	e, control := controlled(t)
	if a := control("POST", "/fail", `{"n":1,"status":503,"retry_after":"3"}`); a.status != 200 {
		t.Fatal(a.text)
	}
	if a := post(t, e, tokenURL(e), daemonForm()); a.status != 503 || a.header.Get("Retry-After") != "3" {
		t.Errorf("got %d %v", a.status, a.header)
	}
	appToken(t, e)
}

func TestKeysRotateSessionsEndAndChallengesComeOverHTTP(t *testing.T) {
	e, control := controlled(t)
	old := appToken(t, e)
	if a := control("POST", "/keys/rotate", ""); a.status != 200 {
		t.Fatal(a.text)
	}
	if kid(t, old) == kid(t, appToken(t, e)) {
		t.Error("the key is the same")
	}
	signedIn := userSignIn(t, e, entratest.CleoUPN, "User.Read offline_access", nil)
	if a := control("POST", "/revoke", `{"user":"cleo@fob.example"}`); a.status != 200 {
		t.Fatal(a.text)
	}
	if a := post(t, e, tokenURL(e), url.Values{"grant_type": {"refresh_token"}, "client_id": {entratest.CLIClientID}, "refresh_token": {signedIn.str("refresh_token")}}); a.str("error") != "invalid_grant" {
		t.Errorf("after revocation: %s", a.text)
	}
	form := daemonForm()
	form.Set("claims", `{"access_token":{"xms_cc":{"values":["cp1"]}}}`)
	token := post(t, e, tokenURL(e), form).str("access_token")
	if a := control("POST", "/challenge", `{"n":1}`); a.status != 200 {
		t.Fatal(a.text)
	}
	if a := get(t, e, e.GraphURL()+"/v1.0/users", token); a.status != 401 {
		t.Errorf("no challenge: %d", a.status)
	}
}

func TestTheLogIsReadAndClearedOverHTTP(t *testing.T) {
	e, control := controlled(t)
	appToken(t, e)
	if a := control("GET", "/requests", ""); !strings.Contains(a.text, `"client_secret": [`) || strings.Contains(a.text, entratest.DaemonSecret) {
		t.Errorf("got %s", a.text)
	}
	control("DELETE", "/requests", "")
	if a := control("GET", "/requests", ""); a.text != "[]\n" {
		t.Errorf("after clearing: %s", a.text)
	}
}

func TestACertificateIsAddedOverHTTP(t *testing.T) {
	_, control := controlled(t)
	path := "/apps/" + entratest.DaemonClientID + "/certificate"
	if a := control("POST", path, string(testCertificate(t))); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.text)
	}
	withKey := "-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n" + string(testCertificate(t))
	if a := control("POST", path, withKey); a.status != 200 {
		t.Errorf("a file that begins with the key: got %d %s", a.status, a.text)
	}
	if a := control("POST", path, "no PEM"); a.status != 400 || !strings.Contains(a.str("error"), "PEM") {
		t.Errorf("no PEM: %d %s", a.status, a.text)
	}
	if a := control("POST", "/apps/nobody/certificate", string(testCertificate(t))); a.status != 400 {
		t.Errorf("no app: %d %s", a.status, a.text)
	}
}

func TestTheWorldIsDescribedOverHTTP(t *testing.T) {
	_, control := controlled(t)
	a := control("GET", "/world", "")
	for _, want := range []string{entratest.TenantID, entratest.AdaID, entratest.PlatformGroupID, entratest.DaemonClientID, "fob.example"} {
		if !strings.Contains(a.text, want) {
			t.Errorf("no %s", want)
		}
	}
	if strings.Contains(a.text, entratest.DaemonSecret) {
		t.Error("a secret is shown")
	}
}

func TestMistakesAtTheControlsAreExplained(t *testing.T) {
	_, control := controlled(t)
	for _, c := range []struct {
		method, path, body string
		status             int
		says               string
	}{
		{"GET", "/nowhere", "", 404, "GET / lists"},
		{"GET", "/revoke", "", 405, "use POST"},
		{"POST", "/revoke", "", 400, "the body is empty"},
		{"POST", "/revoke", `{"usr":"ada"}`, 400, "usr"},
		{"POST", "/revoke", `{"user":"nobody"}`, 400, "nobody"},
		{"POST", "/clock", `{"advance":"tomorrow"}`, 400, "duration"},
		{"POST", "/clock", `{}`, 400, "advance"},
		{"POST", "/clock", `{"set":"9999-12-31T23:59:59Z"}`, 400, "hundred years"},
		{"POST", "/clock", `{"advance":"-2562047h"}`, 400, "hundred years"},
		{"POST", "/fail", `{"n":1}`, 400, "says nothing"},
		{"POST", "/fail", `{"status":503}`, 400, "n is missing"},
		{"POST", "/challenge", `{}`, 400, "n is missing"},
		{"POST", "/clock", `{"advance":"1m"}{"advance":"1m"}`, 400, "more in the body"},
		{"POST", "/device/approve", `{"user_code":"ABC","user":"ada@fob.example"}`, 400, "ABC"},
	} {
		if a := control(c.method, c.path, c.body); a.status != c.status || !strings.Contains(a.str("error"), c.says) {
			t.Errorf("%s %s %s: %d %s", c.method, c.path, c.body, a.status, a.text)
		}
	}
}
