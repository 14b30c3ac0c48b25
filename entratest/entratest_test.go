package entratest_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fobauth/fob/entratest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// daemonForm asks for an app token for Graph.
func daemonForm() url.Values {
	return url.Values{"grant_type": {"client_credentials"}, "client_id": {entratest.DaemonClientID}, "client_secret": {entratest.DaemonSecret},
		"scope": {"https://graph.microsoft.com/.default"}}
}

func tokenURL(e *entratest.Emulator) string {
	return e.URL() + "/" + entratest.TenantID + "/oauth2/v2.0/token"
}

type answer struct {
	status int
	header http.Header
	body   map[string]any
	text   string
}

func (a answer) str(name string) string { s, _ := a.body[name].(string); return s }

func (a answer) errorCode() string {
	e, _ := a.body["error"].(map[string]any)
	s, _ := e["code"].(string)
	return s
}

func do(t testing.TB, c *http.Client, r *http.Request) answer {
	t.Helper()
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, text: string(text)}
	_ = json.Unmarshal(text, &a.body)
	return a
}

func post(t testing.TB, e *entratest.Emulator, to string, form url.Values) answer {
	t.Helper()
	r, _ := http.NewRequest("POST", to, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return do(t, e.Client(), r)
}

func get(t testing.TB, e *entratest.Emulator, from, token string) answer {
	t.Helper()
	r, err := http.NewRequest("GET", from, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	return do(t, e.Client(), r)
}

func appToken(t testing.TB, e *entratest.Emulator) string {
	t.Helper()
	a := post(t, e, tokenURL(e), daemonForm())
	if a.status != 200 || a.str("access_token") == "" {
		t.Fatalf("client credentials: %d %s", a.status, a.text)
	}
	return a.str("access_token")
}

// userSignIn runs the device code flow and returns the token answer.
func userSignIn(t testing.TB, e *entratest.Emulator, user, scope string, more url.Values) answer {
	t.Helper()
	base := e.URL() + "/" + entratest.TenantID + "/oauth2/v2.0/"
	d := post(t, e, base+"devicecode", url.Values{"client_id": {entratest.CLIClientID}, "scope": {scope}})
	if d.status != 200 {
		t.Fatalf("devicecode: %s", d.text)
	}
	if err := e.Approve(d.str("user_code"), user); err != nil {
		t.Fatal(err)
	}
	form := url.Values{"grant_type": {"urn:ietf:params:oauth:grant-type:device_code"}, "client_id": {entratest.CLIClientID}, "device_code": {d.str("device_code")}}
	for k, v := range more {
		form[k] = v
	}
	a := post(t, e, base+"token", form)
	if a.status != 200 {
		t.Fatalf("token: %s", a.text)
	}
	return a
}

func TestAnAppTokenOpensUsersOfGraph(t *testing.T) {
	e := entratest.New(t)
	a := get(t, e, e.GraphURL()+"/v1.0/users", appToken(t, e))
	if a.status != 200 || len(a.body["value"].([]any)) != 3 {
		t.Errorf("got %d %s", a.status, a.text)
	}
}

func TestASignedInUserSeesHerself(t *testing.T) {
	e := entratest.New(t)
	token := userSignIn(t, e, entratest.AdaUPN, "User.Read", nil).str("access_token")
	if a := get(t, e, e.GraphURL()+"/v1.0/me", token); a.str("id") != entratest.AdaID {
		t.Errorf("got %d %s", a.status, a.text)
	}
	if a := get(t, e, e.GraphURL()+"/v1.0/me", appToken(t, e)); a.status != 400 || a.errorCode() != "BadRequest" {
		t.Errorf("an app at /me: %d %s", a.status, a.text)
	}
}

// Clients compare the two, as OpenID Connect Core section 5.3.2 wants it.
func TestUserinfoSpeaksOfWhomTheIDTokenSpeaksOf(t *testing.T) {
	e := entratest.New(t)
	a := userSignIn(t, e, entratest.AdaUPN, "openid profile User.Read", nil)
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(a.str("id_token"), ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	var id struct {
		Subject string `json:"sub"`
	}
	if err := json.Unmarshal(payload, &id); err != nil || id.Subject == "" {
		t.Fatalf("ID token %s: %v", payload, err)
	}
	if info := get(t, e, e.GraphURL()+"/oidc/userinfo", a.str("access_token")); info.str("sub") != id.Subject {
		t.Errorf("the subject is %s, and that of the ID token %s", info.text, id.Subject)
	}
}

func TestATokenForTheEmulatorsOwnGraphAddressIsGood(t *testing.T) {
	e := entratest.New(t)
	form := daemonForm()
	form.Set("scope", e.GraphURL()+"/.default")
	a := post(t, e, tokenURL(e), form)
	if a = get(t, e, e.GraphURL()+"/v1.0/users", a.str("access_token")); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.text)
	}
}

func TestGraphRefusesTokensForTheirTrueFaults(t *testing.T) {
	e := entratest.New(t)
	good := appToken(t, e)
	head, sig := good[:strings.LastIndex(good, ".")+1], good[strings.LastIndex(good, ".")+1:]
	forged := head + flip(sig)
	for _, c := range []struct{ fault, token, message string }{
		{"none", "", "Access token is empty."},
		{"cut off", good[:40], "CompactToken parsing failed with error code: 80049217"},
		{"forged", forged, "Access token validation failure. Invalid signature."},
	} {
		a := get(t, e, e.GraphURL()+"/v1.0/users", c.token)
		if m := a.body["error"].(map[string]any)["message"]; a.status != 401 || m != c.message {
			t.Errorf("%s: %d %v", c.fault, a.status, m)
		}
	}
	e.Advance(2 * time.Hour)
	a := get(t, e, e.GraphURL()+"/v1.0/users", good)
	if m := a.body["error"].(map[string]any)["message"]; a.status != 401 || m != "Access token has expired or is not yet valid." {
		t.Errorf("expired: %d %v", a.status, m)
	}
	e.Advance(-24 * time.Hour)
	a = get(t, e, e.GraphURL()+"/v1.0/users", good)
	if m := a.body["error"].(map[string]any)["message"]; a.status != 401 || m != "Access token has expired or is not yet valid." {
		t.Errorf("not yet valid: %d %v", a.status, m)
	}
}

// flip changes a signature without leaving its alphabet.
func flip(sig string) string {
	if sig[0] == 'A' {
		return "B" + sig[1:]
	}
	return "A" + sig[1:]
}

func TestResourceManagerWantsItsOwnAudience(t *testing.T) {
	e := entratest.New(t)
	form := daemonForm()
	form.Set("scope", "https://management.azure.com/.default")
	token := post(t, e, tokenURL(e), form).str("access_token")
	a := get(t, e, e.ARMURL()+"/subscriptions?api-version=2019-11-01", token)
	if a.status != 200 || !strings.Contains(a.text, entratest.SubscriptionID(entratest.TenantID)) {
		t.Errorf("got %d %s", a.status, a.text)
	}
	if a = get(t, e, e.ARMURL()+"/subscriptions?api-version=2019-11-01", appToken(t, e)); a.errorCode() != "InvalidAuthenticationTokenAudience" {
		t.Errorf("a token for Graph: %d %s", a.status, a.text)
	}
}

func TestBothHTTPVersionsAreSpoken(t *testing.T) {
	e := entratest.New(t)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(e.CAPEM())
	old := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, NextProtos: []string{"http/1.1"}}, DisableKeepAlives: true}}
	for want, c := range map[string]*http.Client{"HTTP/2.0": e.Client(), "HTTP/1.1": old} {
		res, err := c.Get(e.URL())
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if res.Proto != want {
			t.Errorf("got %s, want %s", res.Proto, want)
		}
	}
}

func TestTheIndexTellsPeopleWhereToGo(t *testing.T) {
	e := entratest.New(t)
	if _, err := e.AddUser(entratest.User{UPN: "x@fob.example", DisplayName: "<script>alert(1)</script>"}); err != nil {
		t.Fatal(err)
	}
	a := get(t, e, e.URL()+"/", "")
	for _, want := range []string{entratest.TenantID, "ada@fob.example", "/devicelogin", entratest.CLIClientID, "&lt;script&gt;"} {
		if !strings.Contains(a.text, want) {
			t.Errorf("no %s in the page", want)
		}
	}
	if strings.Contains(a.text, "<script") {
		t.Error("a user's name became markup")
	}
	for _, secret := range []string{entratest.DaemonSecret, entratest.AdaPassword} {
		if strings.Contains(a.text, secret) {
			t.Error("the page shows a secret")
		}
	}
}

func TestABrowserIsNotToldToAvoidHTTPOnLocalhost(t *testing.T) {
	e := entratest.New(t, impersonate)
	if a := post(t, e, tokenURL(e), url.Values{}); a.header.Get("Strict-Transport-Security") != "" {
		t.Error("Strict-Transport-Security on localhost would break every http redirect there")
	}
	if a := post(t, e, "https://login.microsoftonline.com/"+entratest.TenantID+"/oauth2/v2.0/token", url.Values{}); a.header.Get("Strict-Transport-Security") == "" {
		t.Error("no Strict-Transport-Security under Microsoft's name")
	}
}

func impersonate(cfg *entratest.Config) { cfg.Impersonate = entratest.MicrosoftHosts() }

func TestImpersonatedHostsAreToldApartByName(t *testing.T) {
	e := entratest.New(t, impersonate)
	a := get(t, e, "https://login.microsoftonline.com/"+entratest.TenantID+"/v2.0/.well-known/openid-configuration", "")
	if want := "https://login.microsoftonline.com/" + entratest.TenantID + "/v2.0"; a.str("issuer") != want {
		t.Errorf("issuer %q, want %q", a.str("issuer"), want)
	}
	if a = get(t, e, "https://graph.microsoft.com/me", ""); a.errorCode() != "BadRequest" {
		t.Errorf("a path without version at Graph: %s", a.text)
	}
	a = get(t, e, "https://graph.microsoft.com/v1.0/users?$top=1", appToken(t, e))
	if next := a.str("@odata.nextLink"); !strings.HasPrefix(next, "https://graph.microsoft.com/v1.0/users?") {
		t.Errorf("nextLink %q", next)
	}
	if a = get(t, e, "https://graph.microsoft.com/v1.0/me", ""); !strings.Contains(a.header.Get("WWW-Authenticate"), "https://login.microsoftonline.com/common/") {
		t.Errorf("challenge %q", a.header.Get("WWW-Authenticate"))
	}
	if a = get(t, e, "https://management.azure.com/subscriptions", ""); a.errorCode() != "MissingApiVersionParameter" {
		t.Errorf("Resource Manager: %s", a.text)
	}
}

func TestNamesOfOnesOwnAreToldApartByHost(t *testing.T) {
	e := entratest.New(t, func(cfg *entratest.Config) {
		cfg.AuthorityURL, cfg.GraphURL, cfg.ARMURL = "https://entra.test:8443", "https://api.test:8443", "https://arm.test:8443/"
	})
	if a := get(t, e, "https://entra.test:8443/common/v2.0/.well-known/openid-configuration", ""); !strings.HasPrefix(a.str("token_endpoint"), "https://entra.test:8443/") {
		t.Errorf("token endpoint %q", a.str("token_endpoint"))
	}
	if a := get(t, e, "https://api.test:8443/anything", ""); a.errorCode() != "BadRequest" {
		t.Errorf("Graph: %s", a.text)
	}
	if a := get(t, e, "https://entra.test:8443/v1.0/me", ""); a.status != 404 && a.status != 400 || a.errorCode() != "" {
		t.Errorf("sign-in answered for Graph: %d %s", a.status, a.text)
	}
	form := daemonForm()
	form.Set("scope", "https://arm.test:8443/.default")
	token := post(t, e, tokenURL(e), form).str("access_token")
	if a := get(t, e, "https://arm.test:8443/tenants?api-version=2020-01-01", token); a.status != 200 {
		t.Errorf("Resource Manager: %d %s", a.status, a.text)
	}
}

func TestANameOfOnesOwnMayBeginLikeMicrosofts(t *testing.T) {
	e := entratest.New(t, func(cfg *entratest.Config) { cfg.AuthorityURL = "https://graph.corp.test:8443" })
	if a := get(t, e, e.GraphURL()+"/v1.0/users", appToken(t, e)); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.text)
	}
}

func TestAnAddressThatOthersReachIsRefused(t *testing.T) {
	for _, address := range []string{":0", "0.0.0.0:0", "[::]:0", "192.0.2.1:443", "example.com:443"} {
		e, err := entratest.Start(entratest.Config{Listen: address})
		if err == nil {
			e.Close()
			t.Fatalf("%s: was opened", address)
		}
		if !strings.Contains(err.Error(), "InsecureListenOnAnyAddress") {
			t.Errorf("%s: %v does not say how to allow it", address, err)
		}
	}
	e := entratest.New(t, func(cfg *entratest.Config) { cfg.Listen, cfg.InsecureListenOnAnyAddress = "0.0.0.0:0", true })
	if a := get(t, e, e.URL(), ""); a.status != 200 {
		t.Errorf("allowed: %d", a.status)
	}
}

func TestTheControlServerIsNeverReachedByOthers(t *testing.T) {
	_, err := entratest.Start(entratest.Config{ControlListen: "0.0.0.0:0", InsecureListenOnAnyAddress: true})
	if err == nil || !strings.Contains(err.Error(), "loopback") {
		t.Errorf("got %v", err)
	}
}

func TestMistakesInTheConfigurationAreNamed(t *testing.T) {
	for want, cfg := range map[string]entratest.Config{
		"AuthorityURL":       {AuthorityURL: "http://localhost:1"},
		"has a path":         {AuthorityURL: "https://localhost:1/entra"},
		"word token":         {AuthorityURL: "https://token.test"},
		"not an origin":      {GraphURL: "https://user@graph.test"},
		"TLSKey":             {TLSCert: "cert.pem"},
		"twice":              {World: []byte{}, WorldFile: "world.toml"},
		"DeviceInterval":     {DeviceInterval: time.Millisecond},
		"TokenLifetime":      {TokenLifetime: -time.Second},
		"not a host name":    {Impersonate: []string{"https://login.microsoftonline.com"}},
		"world file":         {WorldFile: "entratest_test.go"},
		"no-such-file":       {WorldFile: "no-such-file.toml"},
		"reading TLSCert":    {TLSCert: "no-such.pem", TLSKey: "no-such.pem"},
		"control server":     {ControlListen: "127.0.0.1:99999"},
		"address 127.0.0.1":  {Listen: "127.0.0.1"},
		"starting the emula": {Listen: "127.0.0.1:99999"},
	} {
		e, err := entratest.Start(cfg)
		if err == nil {
			e.Close()
			t.Errorf("%s: no error", want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want it to name %s", err, want)
		}
	}
}

func TestNewFailsTheTestWhenTheEmulatorCannotStart(t *testing.T) {
	var f failed
	entratest.New(&f, func(cfg *entratest.Config) { cfg.Listen = "192.0.2.1:1" })
	if !strings.Contains(f.message, "not a loopback address") {
		t.Errorf("got %q", f.message)
	}
}

type failed struct{ message string }

func (f *failed) Helper()        {}
func (f *failed) Cleanup(func()) {}
func (f *failed) Fatalf(format string, args ...any) {
	f.message = strings.ReplaceAll(format, "%v", args[0].(error).Error())
}

func TestARestartKeepsTheTrustOfClients(t *testing.T) {
	dir := t.TempDir()
	keep := func(cfg *entratest.Config) { cfg.StateDir = dir }
	first := entratest.New(t, keep)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(first.CAPEM())
	first.Close()
	second := entratest.New(t, keep)
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	res, err := c.Get(second.URL())
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
}

func TestProgramsElsewhereFindTheCertificateAuthority(t *testing.T) {
	t.Chdir(t.TempDir())
	file, err := entratest.New(t, func(cfg *entratest.Config) { cfg.StateDir = "state" }).CAFile()
	if err != nil || !filepath.IsAbs(file) {
		t.Errorf("CAFile is %q (%v), which another directory does not know", file, err)
	}
}

func TestClientsThatWereNotToldRefuseTheCertificate(t *testing.T) {
	var log syncBuffer
	e := entratest.New(t, func(cfg *entratest.Config) { cfg.ErrorLog = logger(&log) })
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: x509.NewCertPool()}}}
	if _, err := c.Get(e.URL()); err == nil {
		t.Error("a client without the authority was let through")
	}
	e.Close()
	if !strings.Contains(log.String(), "TLS handshake error") {
		t.Errorf("the error log says %q", log.String())
	}
}

func TestOnesOwnCertificateIsUsed(t *testing.T) {
	dir := t.TempDir()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(7), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, _ := x509.MarshalPKCS8PrivateKey(key)
	write := func(name, kind string, der []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	cert := write("cert.pem", "CERTIFICATE", der)
	e := entratest.New(t, func(cfg *entratest.Config) { cfg.TLSCert, cfg.TLSKey = cert, write("key.pem", "PRIVATE KEY", private) })
	res, err := e.Client().Get(e.URL())
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.TLS.PeerCertificates[0].SerialNumber.Int64() != 7 {
		t.Error("another certificate was shown")
	}
	if file, _ := e.CAFile(); file != cert {
		t.Errorf("CAFile %q", file)
	}
}

func TestEnvMakesOtherProgramsFindAndTrustIt(t *testing.T) {
	e := entratest.New(t, func(cfg *entratest.Config) { cfg.ControlListen = "127.0.0.1:0" })
	env, err := e.Env()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"FOB_EMULATOR=" + e.URL(), "AZURE_AUTHORITY_HOST=" + e.URL() + "/", "AZURE_TENANT_ID=" + entratest.TenantID,
		"AZURE_CLIENT_ID=" + entratest.DaemonClientID, "AZURE_CLIENT_SECRET=" + entratest.DaemonSecret, "FOB_EMULATOR_CONTROL=" + e.ControlURL()} {
		if !slices.Contains(env, want) {
			t.Errorf("no %s in %v", want, env)
		}
	}
	if curl, err := exec.LookPath("curl"); err != nil {
		t.Log("curl is not installed")
	} else {
		cmd := exec.Command(curl, "-sS", "--noproxy", "*", "-o", os.DevNull, "-w", "%{http_code}", e.URL())
		cmd.Env = append(os.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "200" {
			t.Errorf("curl: %v %s", err, out)
		}
	}
	file, _ := e.CAFile()
	e.Close()
	if _, err := os.Stat(file); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the temporary CA file is still there: %v", err)
	}
	if err := e.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}

func TestBothLoopbackAddressesAnswer(t *testing.T) {
	if l, err := net.Listen("tcp", "[::1]:0"); err != nil {
		t.Skip("no IPv6 here")
	} else {
		l.Close()
	}
	e := entratest.New(t)
	_, port, _ := net.SplitHostPort(e.Addr())
	if a := get(t, e, "https://[::1]:"+port+"/", ""); a.status != 200 {
		t.Errorf("got %d", a.status)
	}
}

func TestAHandlerAnswersOnAServerOfOnesOwn(t *testing.T) {
	if _, err := entratest.Handler(entratest.Config{}); err == nil || !strings.Contains(err.Error(), "AuthorityURL") {
		t.Errorf("without AuthorityURL: %v", err)
	}
	srv := httptest.NewUnstartedServer(nil)
	e, err := entratest.Handler(entratest.Config{AuthorityURL: "https://" + srv.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	srv.Config.Handler = e
	srv.StartTLS()
	defer srv.Close()
	r, _ := http.NewRequest("POST", tokenURL(e), strings.NewReader(daemonForm().Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if a := do(t, srv.Client(), r); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.text)
	}
	if _, err := e.CAFile(); err == nil {
		t.Error("a handler offered a CA file")
	}
}

func TestNoPersonIsNeededToApproveADeviceCode(t *testing.T) {
	e := entratest.New(t)
	base := e.URL() + "/" + entratest.TenantID + "/oauth2/v2.0/"
	d := post(t, e, base+"devicecode", url.Values{"client_id": {entratest.CLIClientID}, "scope": {"User.Read"}})
	pending := e.PendingDevices()
	if len(pending) != 1 || pending[0].UserCode != d.str("user_code") || pending[0].ClientID != entratest.CLIClientID {
		t.Fatalf("pending: %+v", pending)
	}
	poll := url.Values{"grant_type": {"device_code"}, "client_id": {entratest.CLIClientID}, "device_code": {d.str("device_code")}}
	if a := post(t, e, base+"token", poll); a.str("error") != "authorization_pending" {
		t.Errorf("before: %s", a.text)
	}
	if err := e.Deny(d.str("user_code")); err != nil {
		t.Fatal(err)
	}
	if a := post(t, e, base+"token", poll); a.str("error") != "authorization_declined" {
		t.Errorf("after: %s", a.text)
	}
	if err := e.Approve("NOTACODE1", entratest.AdaUPN); err == nil {
		t.Error("an unknown code was approved")
	}
}

func TestTheDeviceIntervalIsAnnounced(t *testing.T) {
	e := entratest.New(t, func(cfg *entratest.Config) { cfg.DeviceInterval = time.Second })
	d := post(t, e, e.URL()+"/"+entratest.TenantID+"/oauth2/v2.0/devicecode", url.Values{"client_id": {entratest.CLIClientID}, "scope": {"User.Read"}})
	if d.body["interval"] != 1.0 {
		t.Errorf("got %s", d.text)
	}
}

func TestFailMakesTheNextRequestsFail(t *testing.T) {
	for name, c := range map[string]struct {
		fault  entratest.Fault
		url    func(*entratest.Emulator) string
		status int
		text   string
	}{
		"a code":           {entratest.Fault{Code: 50196}, tokenURL, 400, `AADSTS50196`},
		"a status":         {entratest.Fault{Status: 503, RetryAfter: "7"}, tokenURL, 503, "<h1>Service Unavailable</h1>"},
		"Graph is busy":    {entratest.Fault{Status: 429, RetryAfter: "7", Path: "/v1.0/"}, func(e *entratest.Emulator) string { return e.GraphURL() + "/v1.0/users" }, 429, `"code":"TooManyRequests"`},
		"everything fails": {entratest.Fault{Status: 500, Path: "/"}, (*entratest.Emulator).URL, 500, "Internal Server Error"},
	} {
		t.Run(name, func(t *testing.T) {
			e := entratest.New(t)
			if err := e.Fail(2, c.fault); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				a := post(t, e, c.url(e), daemonForm())
				if a.status != c.status || !strings.Contains(a.text, c.text) || a.header.Get("Retry-After") != c.fault.RetryAfter {
					t.Errorf("got %d %q %s", a.status, a.header.Get("Retry-After"), a.text)
				}
			}
			if a := post(t, e, c.url(e), daemonForm()); a.status == c.status {
				t.Errorf("a third request failed too: %s", a.text)
			}
		})
	}
}

func TestFailCanDropTheConnection(t *testing.T) {
	for _, path := range []string{"token", "/"} {
		e := entratest.New(t)
		e.Fail(1, entratest.Fault{Drop: true, Path: path})
		if res, err := e.Client().PostForm(tokenURL(e), daemonForm()); err == nil {
			res.Body.Close()
			t.Errorf("%s: got an answer: %d", path, res.StatusCode)
		}
		appToken(t, e)
		if log := e.Requests(); log[0].Status != 0 || log[1].Status != 200 {
			t.Errorf("%s: the log says %d and %d", path, log[0].Status, log[1].Status)
		}
	}
}

func TestFailForgetsAndRefusesNonsense(t *testing.T) {
	e := entratest.New(t)
	e.Fail(9, entratest.Fault{Status: 500})
	e.Fail(9, entratest.Fault{Status: 500, Path: "/"})
	e.Fail(0, entratest.Fault{})
	appToken(t, e)
	for _, f := range []entratest.Fault{{}, {Status: 99}, {Status: 500, Path: "tokens"}, {Code: 50196, Path: "/v1.0"}, {Code: -1}} {
		if err := e.Fail(1, f); err == nil {
			t.Errorf("%+v was accepted", f)
		}
	}
}

func TestRotatedKeysArePublishedBesideTheOldOnes(t *testing.T) {
	e := entratest.New(t)
	old := appToken(t, e)
	if err := e.RotateKeys(); err != nil {
		t.Fatal(err)
	}
	if kid(t, old) == kid(t, appToken(t, e)) {
		t.Error("the key is the same")
	}
	if a := get(t, e, e.GraphURL()+"/v1.0/users", old); a.status != 200 {
		t.Errorf("a token of the old key: %d %s", a.status, a.text)
	}
}

func kid(t *testing.T, token string) string {
	t.Helper()
	head, _, _ := strings.Cut(token, ".")
	text, err := base64.RawURLEncoding.DecodeString(head)
	var h struct{ Kid string }
	if err == nil {
		err = json.Unmarshal(text, &h)
	}
	if err != nil {
		t.Fatal(err)
	}
	return h.Kid
}

func TestARevokedUsersTokensAreChallengedUntilRenewed(t *testing.T) {
	e := entratest.New(t)
	capable := url.Values{"claims": {`{"access_token":{"xms_cc":{"values":["cp1"]}}}`}}
	signedIn := userSignIn(t, e, entratest.BenUPN, "User.Read offline_access", capable)
	me := e.GraphURL() + "/v1.0/me"
	if a := get(t, e, me, signedIn.str("access_token")); a.status != 200 {
		t.Fatalf("before: %s", a.text)
	}
	if err := e.Revoke(entratest.BenUPN); err != nil {
		t.Fatal(err)
	}
	a := get(t, e, me, signedIn.str("access_token"))
	if a.status != 401 || len(a.header["Www-Authenticate"]) != 1 || !strings.Contains(a.header.Get("WWW-Authenticate"), `error="insufficient_claims"`) {
		t.Errorf("after: %d %v", a.status, a.header)
	}
	a = post(t, e, tokenURL(e), url.Values{"grant_type": {"refresh_token"}, "client_id": {entratest.CLIClientID}, "refresh_token": {signedIn.str("refresh_token")}})
	if a.str("error") != "invalid_grant" {
		t.Errorf("the refresh token still works: %s", a.text)
	}
	again := userSignIn(t, e, entratest.BenUPN, "User.Read offline_access", capable)
	if a := get(t, e, me, again.str("access_token")); a.status != 200 {
		t.Errorf("after signing in again: %d %s", a.status, a.text)
	}
	if err := e.Revoke("nobody@fob.example"); err == nil {
		t.Error("an unknown user was revoked")
	}
}

func TestAChallengeIsSatisfiedByANewToken(t *testing.T) {
	e := entratest.New(t)
	form := daemonForm()
	form.Set("claims", `{"access_token":{"xms_cc":{"values":["cp1"]}}}`)
	token := post(t, e, tokenURL(e), form).str("access_token")
	e.ChallengeClaims(1)
	a := get(t, e, e.GraphURL()+"/v1.0/users", token)
	_, claims, _ := strings.Cut(a.header.Get("WWW-Authenticate"), `claims="`)
	text, err := base64.StdEncoding.DecodeString(strings.TrimSuffix(claims, `"`))
	if a.status != 401 || err != nil || !json.Valid(text) {
		t.Fatalf("got %d %v %v", a.status, a.header, err)
	}
	form.Set("claims", string(text))
	if a = get(t, e, e.GraphURL()+"/v1.0/users", post(t, e, tokenURL(e), form).str("access_token")); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.text)
	}
}

func TestTheClockCanBeSet(t *testing.T) {
	e := entratest.New(t)
	at := time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)
	e.SetTime(at)
	if d := e.Now().Sub(at); d < 0 || d > time.Minute {
		t.Errorf("it is %v", e.Now())
	}
}

func TestTheLogKnowsWhatPeopleWereRefusedWith(t *testing.T) {
	e := entratest.New(t)
	client := e.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for _, c := range []struct {
		redirect, scope, mode string
		code                  int
	}{
		{"http://elsewhere.example", "User.Read", "query", 50011}, // shown on a page
		{"http://localhost", "api://nothing/x", "query", 500011},
		{"http://localhost", "api://nothing/x", "form_post", 500011},
	} {
		q := url.Values{"client_id": {entratest.CLIClientID}, "response_type": {"code"}, "redirect_uri": {c.redirect}, "scope": {c.scope}, "response_mode": {c.mode}}
		res, err := client.Get(e.URL() + "/" + entratest.TenantID + "/oauth2/v2.0/authorize?" + q.Encode())
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.Copy(io.Discard, res.Body) // its end says that the request is in the log
		res.Body.Close()
		if log := e.Requests(); err != nil || log[len(log)-1].Code != c.code {
			t.Errorf("%s by %s: %+v %v, want %d", c.scope, c.mode, log, err, c.code)
		}
	}
}

func TestTheLogShowsWhatWasAskedWithoutSecrets(t *testing.T) {
	e := entratest.New(t)
	form := daemonForm()
	form.Set("client_secret", "not-the-secret")
	post(t, e, tokenURL(e), form)
	token := appToken(t, e)
	get(t, e, e.GraphURL()+"/v1.0/users?$top=1", token)
	log := e.Requests()
	if len(log) != 3 {
		t.Fatalf("%d requests", len(log))
	}
	refused, granted, users := log[0], log[1], log[2]
	if refused.Status != 401 || refused.Code != 7000215 || refused.Form.Get("client_secret") != "[redacted]" || refused.Form.Get("client_id") != entratest.DaemonClientID {
		t.Errorf("refused: %+v", refused)
	}
	if granted.Status != 200 || granted.Code != 0 || granted.Method != "POST" || granted.Path != "/"+entratest.TenantID+"/oauth2/v2.0/token" {
		t.Errorf("granted: %+v", granted)
	}
	if users.Authorization != "Bearer [redacted]" || users.Query.Get("$top") != "1" || users.Proto != "HTTP/2.0" || users.Duration <= 0 {
		t.Errorf("users: %+v", users)
	}
	text, _ := json.Marshal(log)
	for _, secret := range []string{"not-the-secret", entratest.DaemonSecret, token} {
		if bytes.Contains(text, []byte(secret)) {
			t.Errorf("the log holds %s", secret)
		}
	}
	e.ClearRequests()
	if len(e.Requests()) != 0 {
		t.Error("the log was not cleared")
	}
}

func TestWhatIsAddedToTheWorldCanSignIn(t *testing.T) {
	e := entratest.New(t)
	user, err := e.AddUser(entratest.User{UPN: "dee@fob.example", Password: "dee-password-1"})
	if err != nil {
		t.Fatal(err)
	}
	app, err := e.AddApp(entratest.App{Name: "nightly", Secrets: []string{"nightly-secret"}, Granted: map[string][]string{"https://graph.microsoft.com": {"User.Read.All"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.AddSecret(app.ClientID, "nightly-secret-2"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.AddGroup(entratest.Group{Name: "Night shift", Members: []string{"dee@fob.example", entratest.BenID}}); err != nil {
		t.Fatal(err)
	}
	form := daemonForm()
	form.Set("client_id", app.ClientID)
	for _, secret := range []string{"nightly-secret", "nightly-secret-2"} {
		form.Set("client_secret", secret)
		token := post(t, e, tokenURL(e), form).str("access_token")
		if a := get(t, e, e.GraphURL()+"/v1.0/users/dee@fob.example", token); a.str("id") != user.ID {
			t.Errorf("%s: %d %s", secret, a.status, a.text)
		}
		if a := get(t, e, e.GraphURL()+"/v1.0/groups", token); a.status != 403 {
			t.Errorf("groups without permission: %d", a.status)
		}
	}
	dee := userSignIn(t, e, "dee@fob.example", "User.Read Group.Read.All", nil).str("access_token")
	if a := get(t, e, e.GraphURL()+"/v1.0/me/memberOf?$select=displayName", dee); !strings.Contains(a.text, "Night shift") {
		t.Errorf("memberOf: %s", a.text)
	}
	if err := e.RemoveUser("dee@fob.example"); err != nil {
		t.Fatal(err)
	}
	if a := get(t, e, e.GraphURL()+"/v1.0/me", dee); a.status != 404 {
		t.Errorf("/me of a removed user: %d", a.status)
	}
}

func TestAnAssertionOfAnIssuerThatWasAddedIsGood(t *testing.T) {
	e := entratest.New(t)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	b64 := base64.RawURLEncoding.EncodeToString
	keys := `{"keys":[{"kty":"RSA","kid":"k","alg":"RS256","use":"sig","n":"` + b64(key.N.Bytes()) + `","e":"AQAB"}]}`
	if err := e.AddFederatedCredential(entratest.DaemonClientID, entratest.FederatedCredential{Issuer: "https://ci.example", Subject: "job:1", Keys: []byte(keys)}); err != nil {
		t.Fatal(err)
	}
	claims := fmt.Sprintf(`{"iss":"https://ci.example","sub":"job:1","aud":"api://AzureADTokenExchange","iat":%d,"nbf":%[1]d,"exp":%d}`, e.Now().Unix(), e.Now().Unix()+300)
	signed := b64([]byte(`{"alg":"RS256","typ":"JWT","kid":"k"}`)) + "." + b64([]byte(claims))
	digest := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	form := daemonForm()
	form.Del("client_secret")
	form.Set("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
	form.Set("client_assertion", signed+"."+b64(sig))
	if a := post(t, e, tokenURL(e), form); a.status != 200 {
		t.Errorf("got %d %s", a.status, a.text)
	}
	if err := e.AddFederatedCredential("nobody", entratest.FederatedCredential{}); err == nil {
		t.Error("a credential of nobody was accepted")
	}
}

const contoso = `
replace = true

[[tenant]]
name = "Contoso"
domains = ["contoso.example"]

[[user]]
upn = "mira@contoso.example"

[[app]]
id = "11111111-0000-4000-8000-000000000001"
name = "nightly job"
secret = [{ value = "nightly-secret" }]
granted."https://graph.microsoft.com" = ["User.Read.All"]
`

func TestAWorldFileReplacesTheWorld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "world.toml")
	if err := os.WriteFile(path, []byte(contoso), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, set := range map[string]func(*entratest.Config){
		"file": func(cfg *entratest.Config) { cfg.WorldFile = path },
		"text": func(cfg *entratest.Config) { cfg.World = []byte(contoso) },
	} {
		t.Run(name, func(t *testing.T) {
			e := entratest.New(t, set)
			token := post(t, e, e.URL()+"/contoso.example/oauth2/v2.0/token", url.Values{"grant_type": {"client_credentials"},
				"client_id": {"11111111-0000-4000-8000-000000000001"}, "client_secret": {"nightly-secret"}, "scope": {e.GraphURL() + "/.default"}}).str("access_token")
			a := get(t, e, e.GraphURL()+"/v1.0/users?$select=userPrincipalName", token)
			if _, value, _ := strings.Cut(a.text, `"value":`); value != `[{"userPrincipalName":"mira@contoso.example"}]}` {
				t.Errorf("users: %s", a.text)
			}
			if e.TenantID() == entratest.TenantID || e.TenantID() == "" {
				t.Errorf("TenantID %q", e.TenantID())
			}
			env, err := e.Env()
			if err != nil || slices.ContainsFunc(env, func(s string) bool { return strings.HasPrefix(s, "AZURE_CLIENT_ID=") }) {
				t.Errorf("the environment names an app that is not there: %v %v", env, err)
			}
		})
	}
}

func TestAMistakeInAWorldFileNamesTheFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "world.toml")
	if err := os.WriteFile(path, []byte("[[usr]]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := entratest.Start(entratest.Config{WorldFile: path})
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "usr") {
		t.Errorf("got %v", err)
	}
}

func TestWhatCannotBeAddedIsRefused(t *testing.T) {
	e := entratest.New(t)
	_, noTenant := e.AddUser(entratest.User{UPN: "x@y.example", Tenant: "nowhere.example"})
	_, noUPN := e.AddUser(entratest.User{DisplayName: "X"})
	_, noMember := e.AddGroup(entratest.Group{Name: "g", Members: []string{"nobody"}})
	_, noName := e.AddApp(entratest.App{})
	_, noAPI := e.AddApp(entratest.App{Name: "a", Granted: map[string][]string{"api://nowhere": {"x"}}})
	for what, err := range map[string]error{"a tenant that is not there": noTenant, "a user without a name": noUPN, "a member that is not there": noMember,
		"an app without a name": noName, "an API that is not there": noAPI, "a secret of nobody": e.AddSecret("x", "y"),
		"a certificate of nobody": e.AddCertificate("x", &x509.Certificate{}), "removing nobody": e.RemoveUser("nobody")} {
		if err == nil {
			t.Errorf("%s was accepted", what)
		}
	}
}

func TestAnEmulatorServesManyAtOnce(t *testing.T) {
	e := entratest.New(t)
	var wg sync.WaitGroup
	for range 16 {
		wg.Go(func() {
			for range 8 {
				res, err := e.Client().PostForm(tokenURL(e), daemonForm())
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if res.StatusCode != 200 {
					t.Errorf("got %d", res.StatusCode)
				}
			}
		})
	}
	wg.Wait()
	if n := len(e.Requests()); n != 128 {
		t.Errorf("the log has %d requests", n)
	}
}

func testCertificate(t *testing.T) []byte {
	t.Helper()
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

type syncBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func logger(w io.Writer) *log.Logger { return log.New(w, "", 0) }
