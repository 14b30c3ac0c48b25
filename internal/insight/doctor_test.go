package insight

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fobauth/fob"
)

// said joins all that a checkup says.
func said(c *Checkup) string {
	var b strings.Builder
	for _, f := range c.Findings {
		fmt.Fprintf(&b, "%s: %s | %s | %s | %s\n", f.Severity, f.What, f.Why, f.Do, f.Try)
	}
	return b.String()
}

// dated is a TLS server whose clock stands at noon.
func dated(t *testing.T) *httptest.Server {
	t.Helper()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("credentials were sent")
		}
		w.Header().Set("Date", noon.UTC().Format(http.TimeFormat))
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

func noEnvironment(string) string { return "" }

func TestAGoodNetworkIsAllRight(t *testing.T) {
	server := dated(t)
	transport := server.Client().Transport.(*http.Transport).Clone()
	c := Network{Hosts: []string{server.URL}, Transport: transport, Getenv: noEnvironment, Now: func() time.Time { return noon }}.Check(t.Context())
	if c.Worst() != OK || !strings.Contains(said(c), "IPv4") || !strings.Contains(said(c), "TLS 1.3") || !strings.Contains(said(c), "the clock is right") {
		t.Fatal(said(c))
	}
}

func TestAnInterceptorIsNamed(t *testing.T) {
	server := dated(t)
	transport := &http.Transport{} // does not trust the server's certificate
	c := Network{Hosts: []string{server.URL}, Transport: transport, Getenv: noEnvironment, Now: func() time.Time { return noon }}.Check(t.Context())
	if c.Worst() != Problem || !strings.Contains(said(c), "signed by Acme Co, which this machine does not trust") || !strings.Contains(said(c), "--ca-file") {
		t.Fatal(said(c))
	}
}

func TestAnInterceptorThatTheMachineTrustsIsNamedToo(t *testing.T) {
	server := dated(t)
	transport := server.Client().Transport.(*http.Transport).Clone()
	// The name is Microsoft's, the connection goes to the test server, and the
	// certificate is for the test server's name.
	transport.TLSClientConfig.ServerName = "example.com"
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}
	u, _ := url.Parse(server.URL)
	address := "https://login.microsoftonline.com:" + u.Port()
	lookup := func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	c := Network{Hosts: []string{address}, Transport: transport, Lookup: lookup, Getenv: noEnvironment, Now: func() time.Time { return noon }}.Check(t.Context())
	if c.Worst() != Warning || !strings.Contains(said(c), "is intercepted by Acme Co") {
		t.Fatal(said(c))
	}
}

func TestAClockThatIsWrongIsSeenInTheServersDate(t *testing.T) {
	server := dated(t)
	transport := server.Client().Transport.(*http.Transport).Clone()
	c := Network{Hosts: []string{server.URL}, Transport: transport, Getenv: noEnvironment, Now: func() time.Time { return noon.Add(10 * time.Minute) }}.Check(t.Context())
	if c.Worst() != Problem || !strings.Contains(said(c), "clock is 10 minutes ahead") || !strings.Contains(said(c), "AADSTS700024") {
		t.Fatal(said(c))
	}
}

func TestTheClockAloneIsLookedAt(t *testing.T) {
	server := dated(t)
	n := Network{Hosts: []string{server.URL}, Transport: server.Client().Transport.(*http.Transport).Clone(), Getenv: noEnvironment, Now: func() time.Time { return noon.Add(-time.Minute) }}
	if c := n.Clock(t.Context()); len(c.Findings) != 1 || c.Worst() != Warning || !strings.Contains(said(c), "60 seconds behind") {
		t.Error(said(c))
	}
	server.Close()
	if c := n.Clock(t.Context()); c.Worst() != Problem || !strings.Contains(said(c), "fob doctor network") {
		t.Error(said(c))
	}
}

func TestANameWithoutAddressIsAProblem(t *testing.T) {
	lookup := func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such host") }
	c := Network{Hosts: []string{"https://login.microsoftonline.com"}, Transport: &http.Transport{}, Lookup: lookup, Getenv: noEnvironment}.Check(t.Context())
	if c.Worst() != Problem || !strings.Contains(said(c), "cannot be found") {
		t.Fatal(said(c))
	}
}

func TestIPv6ThatLeadsNowhereIsAWarning(t *testing.T) {
	server := dated(t)
	u, _ := url.Parse(server.URL)
	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, server.Listener.Addr().String())
	}
	// The server listens on 127.0.0.1 only: its port at ::1 is closed.
	lookup := func(context.Context, string) ([]netip.Addr, error) {
		return []netip.Addr{netip.MustParseAddr("::1"), netip.MustParseAddr("127.0.0.1")}, nil
	}
	c := Network{Hosts: []string{"https://example.com:" + u.Port()}, Transport: transport, Lookup: lookup, Getenv: noEnvironment, Now: func() time.Time { return noon }}.Check(t.Context())
	if c.Worst() != Warning || !strings.Contains(said(c), "IPv6 address that cannot be reached") {
		t.Fatal(said(c))
	}
}

func TestAProxyIsNamedWithoutItsPassword(t *testing.T) {
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusProxyAuthRequired) }))
	defer proxy.Close()
	u, _ := url.Parse(proxy.URL)
	u.User = url.UserPassword("ada", "hunter22")
	env := func(name string) string {
		if name == "HTTPS_PROXY" {
			return u.String()
		}
		return ""
	}
	c := Network{Hosts: []string{"https://login.microsoftonline.com"}, Transport: &http.Transport{Proxy: http.ProxyURL(u)}, Getenv: env}.Check(t.Context())
	text := said(c)
	if strings.Contains(text, "hunter22") || strings.Contains(text, "ada:") || !strings.Contains(text, "reached by the proxy "+u.Host) || c.Worst() != Problem {
		t.Fatal(text)
	}
}

func TestWhoseProxyDoesNotAnswerIsNotAdvisedToSetOne(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	closed, _ := url.Parse(server.URL)
	server.Close()
	nowhere := &url.URL{Scheme: "http", Host: "proxy.invalid:8080"}
	lookup := func(context.Context, string) ([]netip.Addr, error) { return nil, errors.New("no such host") }
	for _, proxy := range []*url.URL{closed, nowhere} {
		c := Network{Hosts: []string{"https://login.microsoftonline.com"}, Transport: &http.Transport{Proxy: http.ProxyURL(proxy)}, Lookup: lookup, Getenv: noEnvironment}.Check(t.Context())
		if text := said(c); c.Worst() != Problem || !strings.Contains(text, "correct HTTPS_PROXY") || strings.Contains(text, "set HTTPS_PROXY\n") {
			t.Errorf("%s: %s", proxy, text)
		}
	}
}

func TestTheCacheIsLookedAtFromOutside(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("modes protect nothing there")
	}
	dir := filepath.Join(t.TempDir(), "cache")
	if c := CheckCache(dir, nil); c.Worst() != Note || !strings.Contains(said(c), "no cache yet") {
		t.Error(said(c))
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	records := []CacheRecord{{Name: "token-1"}, {Name: "token-2"}, {Name: "account-1"}}
	if c := CheckCache(dir, records); c.Worst() != OK || !strings.Contains(said(c), "1 account record, 2 token records") {
		t.Error(said(c))
	}
	records[0].Damaged = "it does not open"
	if c := CheckCache(dir, records); c.Worst() != Warning || !strings.Contains(said(c), "token-1") {
		t.Error(said(c))
	}
	if err := os.WriteFile(filepath.Join(dir, "key"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []os.FileMode{0o755, 0o770} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		if c := CheckCache(dir, nil); c.Worst() != Problem || !strings.Contains(said(c), "chmod 700") {
			t.Error(mode, said(c))
		}
	}
	if err := os.Chmod(filepath.Join(dir, "key"), 0o644); err != nil {
		t.Fatal(err)
	}
	if c := CheckCache(dir, nil); !strings.Contains(said(c), "1 file in the cache may be read by others") {
		t.Error(said(c))
	}
}

func TestARegisteredCertificateIsFoundByEitherSpellingOfItsThumbprint(t *testing.T) {
	data, err := os.ReadFile("testdata/certificate.pem")
	if err != nil {
		t.Fatal(err)
	}
	cert, err := ReadCertificate(data, fob.Secret{}, noon)
	if err != nil {
		t.Fatal(err)
	}
	padded := strings.NewReplacer("-", "+", "_", "/").Replace(cert.X5T) + "="
	for _, id := range []string{cert.SHA1, strings.ToLower(cert.SHA1), padded} {
		c := CheckCertificate(cert, []KeyCredential{{"a", id, noon.AddDate(1, 0, 0)}}, nil, noon)
		if !strings.Contains(said(c), "has this certificate") {
			t.Errorf("%s: %s", id, said(c))
		}
	}
	refusal := &fob.Error{Code: "invalid_client", Codes: []int{700027}, Description: "AADSTS700027: unknown"}
	c := CheckCertificate(cert, []KeyCredential{}, []SignIn{{"PS256 with x5t#S256", refusal}}, noon)
	if text := said(c); !strings.Contains(text, "no certificates") || !strings.Contains(text, "refused PS256") || !strings.Contains(text, "AADSTS700027: unknown") {
		t.Error(text)
	}
}

func TestSetUpsWithoutAMistakeHaveNoWarning(t *testing.T) {
	for _, s := range []Setup{
		{},
		{Tenant: "contoso.onmicrosoft.com", ClientID: appID, Secret: fob.NewSecret("aB38Q~abcdefghijklmnopqrstuvwxyz0123456789"), Scopes: []string{"https://graph.microsoft.com/.default", "offline_access", "openid"}},
		{Tenant: tenantID, ClientID: appID, Scopes: []string{"User.Read", "https://graph.microsoft.com/Mail.Read"}, Delegated: true, Redirect: "http://localhost", CredentialEnds: noon.AddDate(0, 0, 31)},
	} {
		if found := s.Warnings(noon); len(found) != 0 {
			t.Errorf("%+v", found)
		}
	}
}

func TestEachMistakeOfASetUpIsSaid(t *testing.T) {
	const secret = "aB38Q~abcdefghijklmnopqrstuvwxyz0123456789"
	for name, tt := range map[string]struct {
		setup Setup
		want  string
	}{
		"a variable":             {Setup{Tenant: "$tenantId"}, "placeholder"},
		"a variable in braces":   {Setup{Tenant: "${AZURE_TENANT_ID}"}, "placeholder"},
		"a template":             {Setup{ClientID: "YOUR_CLIENT_ID"}, "placeholder"},
		"the zero id":            {Setup{ClientID: "00000000-0000-0000-0000-000000000000"}, "placeholder"},
		"no GUID":                {Setup{ClientID: "my-app"}, "no GUID"},
		"tenant and client":      {Setup{ClientID: appID, Tenant: appID}, "are the same"},
		"the API's id":           {Setup{ClientID: graphAppID}, "that of an API: Microsoft Graph"},
		"the secret's id":        {Setup{Secret: fob.NewSecret(appID)}, "secret's id"},
		"a new line":             {Setup{Secret: fob.NewSecret(secret + "\n")}, "white space"},
		"a short secret":         {Setup{Secret: fob.NewSecret("abc")}, "fewer than 16"},
		"a dash in the secret":   {Setup{Secret: fob.NewSecret(secret + "–x")}, "dash"},
		"a dash in the tenant":   {Setup{Tenant: "22222222–0000-4000-8000-000000000002"}, "dash"},
		"an invisible character": {Setup{Tenant: "contoso.com\u200b"}, "invisible"},
		"no slash":               {Setup{Scopes: []string{"https://graph.microsoft.com.default"}}, "slash"},
		"two APIs":               {Setup{Scopes: []string{"https://graph.microsoft.com/.default https://vault.azure.net/.default"}}, "several APIs"},
		"an app and a scope":     {Setup{Secret: fob.NewSecret(secret), Scopes: []string{"User.Read"}}, "AADSTS1002012"},
		"an expired credential":  {Setup{CredentialEnds: noon.Add(-time.Hour)}, "expired 60 minutes ago"},
		"an ending certificate":  {Setup{Certificate: &x509.Certificate{NotAfter: noon.AddDate(0, 0, 5)}}, "certificate expires in 5 days"},
	} {
		found := tt.setup.Warnings(noon)
		c := &Checkup{Area: "x", Findings: found}
		if len(found) != 1 || !strings.Contains(said(c), tt.want) || strings.Contains(said(c), "abcdefghij") {
			t.Errorf("%s: %s", name, said(c))
		}
	}
}

func TestFederationIsComparedLetterByLetter(t *testing.T) {
	credential := FederatedCredential{"ci", "https://token.actions.githubusercontent.com", "repo:Acme/shop:environment:production", []string{"api://AzureADTokenExchange"}}
	for name, tt := range map[string]struct {
		change func(*FederatedCredential)
		code   int
		why    string
	}{
		"slash":       {func(c *FederatedCredential) { c.Issuer += "/" }, 700211, "slash"},
		"case":        {func(c *FederatedCredential) { c.Subject = strings.ToLower(c.Subject) }, 7002138, "capital letters"},
		"ref":         {func(c *FederatedCredential) { c.Subject = "repo:Acme/shop:ref:refs/heads/main" }, 700213, "runs in an environment"},
		"environment": {func(c *FederatedCredential) { c.Subject = "repo:Acme/shop:environment:test" }, 700213, "another environment"},
		"repository":  {func(c *FederatedCredential) { c.Subject = "repo:Acme/other:environment:production" }, 700213, "another repository"},
		"audience":    {func(c *FederatedCredential) { c.Audiences = []string{"api://other"} }, 700212, "api://other"},
	} {
		c := credential
		tt.change(&c)
		f, err := CompareFederation(unsigned(t, plainHeader, gitHub), []FederatedCredential{c}, noon)
		if err != nil {
			t.Fatal(err)
		}
		if f.Matched != "" || len(f.Credentials[0].Parts) != 1 {
			t.Errorf("%s: %+v", name, f)
			continue
		}
		if p := f.Credentials[0].Parts[0]; p.Code != tt.code || !strings.Contains(p.Why, tt.why) || !strings.Contains(p.Marks, "^") {
			t.Errorf("%s: %+v", name, p)
		}
	}
	f, err := CompareFederation(unsigned(t, plainHeader, gitHub), []FederatedCredential{credential}, noon)
	if err != nil || f.Matched != "ci" {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestTheClosestCredentialComesFirst(t *testing.T) {
	f, err := CompareFederation(unsigned(t, plainHeader, gitHub), []FederatedCredential{
		{"far", "https://other.example", "x", nil},
		{"near", "https://token.actions.githubusercontent.com", "repo:acme/shop:environment:production", nil},
	}, noon)
	if err != nil || f.Credentials[0].Name != "near" {
		t.Fatalf("%+v, %v", f, err)
	}
}

func TestMarksStandUnderWhatDiffers(t *testing.T) {
	for _, tt := range [][3]string{
		{"abc", "aBc", " ^"},
		{"abc", "abcd", "   ^"},
		{"abcd", "abc", "   ^"},
		{"a-main", "a-test-x", "  ^^^^^^"},
		{"", "ab", "^^"},
		{"ab", "", "^"},
	} {
		if got := marks(tt[0], tt[1]); got != tt[2] {
			t.Errorf("%q against %q: %q", tt[0], tt[1], got)
		}
	}
}

func TestAProxyWithoutAnAddressIsNamed(t *testing.T) {
	for value, readable := range map[string]bool{
		"": true, "http://proxy.example:8080": true, "proxy.example:8080": true, "proxy": true, "https://u:p%40x@[::1]:3128": true, "socks5://proxy.example": true,
		"127.0.0.1:1:2": false, "http://": false, "http://proxy.example:port": false, "http://u:p@s%sword@proxy": false, ":8080": false,
	} {
		env := func(name string) string { return map[string]string{"https_proxy": value}[name] }
		if got := UnreadableProxy(env); (got == "") != readable || !readable && got != "HTTPS_PROXY" {
			t.Errorf("%s: %q", value, got)
		}
		c := Network{Hosts: []string{"https://127.0.0.1:1"}, Transport: &http.Transport{}, Getenv: env}.Check(t.Context())
		if got := strings.Contains(fmt.Sprint(c.Findings), "holds no address"); got == readable {
			t.Errorf("%s: %v", value, c.Findings)
		}
	}
}
