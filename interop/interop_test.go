package interop

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/fobauth/fob/entratest"
)

const (
	graphDefault = "https://graph.microsoft.com/.default"
	userRead     = "https://graph.microsoft.com/User.Read"
	apiScope     = "api://fob-api/access_as_user"
)

// short makes tokens that live for a minute. Clients take a token that ends
// within five minutes for expired, and have no clock that could be moved.
func short(cfg *entratest.Config) { cfg.TokenLifetime = time.Minute }

// quick makes clients that wait between two polls wait as little as the
// protocol allows.
func quick(cfg *entratest.Config) { cfg.DeviceInterval = time.Second }

func authority(emu *entratest.Emulator) string { return emu.URL() + "/" + entratest.TenantID }

// claimsOf reads a token without checking it: what it says is compared with
// what was asked for. That it is signed is for the clients to find out.
func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	claims := jwt.MapClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(token, claims); err != nil {
		t.Fatalf("reading a token: %v", err)
	}
	return claims
}

// wantClaims compares claims given as name, value pairs.
func wantClaims(t *testing.T, token string, want ...any) {
	t.Helper()
	claims := claimsOf(t, token)
	for i := 0; i+1 < len(want); i += 2 {
		if got := claims[want[i].(string)]; got != want[i+1] {
			t.Errorf("claim %v is %v, want %v", want[i], got, want[i+1])
		}
	}
}

// wantGraph calls Graph with a token, which must be good for that.
func wantGraph(t *testing.T, emu *entratest.Emulator, token, path string) map[string]any {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, emu.GraphURL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := emu.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s: %s", path, res.Status, body)
	}
	var object map[string]any
	if err := json.Unmarshal(body, &object); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return object
}

// asked returns the requests whose path ends so, such as "/token".
func asked(emu *entratest.Emulator, ending string) []entratest.Request {
	return slices.DeleteFunc(emu.Requests(), func(r entratest.Request) bool { return !strings.HasSuffix(r.Path, ending) })
}

// wantExchanges checks how many requests the token endpoint has answered.
func wantExchanges(t *testing.T, emu *entratest.Emulator, n int) {
	t.Helper()
	if got := asked(emu, "/token"); len(got) != n {
		t.Errorf("%d requests to the token endpoint, want %d", len(got), n)
	}
}

// wantRefusal checks that a client's error tells the user what Entra ID said.
func wantRefusal(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not say %q: %v", part, err)
		}
	}
}

// certificate is a key with a certificate for it, made once for all tests.
type certificate struct {
	leaf *x509.Certificate
	key  *rsa.PrivateKey
}

var newCertificate = sync.OnceValues(func() (certificate, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return certificate{}, err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fob daemon"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return certificate{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	return certificate{leaf, key}, err
})

// registered returns a certificate that the daemon may use.
func registered(t *testing.T, emu *entratest.Emulator, clientIDs ...string) certificate {
	t.Helper()
	c, err := newCertificate()
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range clientIDs {
		if err := emu.AddCertificate(id, c.leaf); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// file writes certificate and key as PEM, as people keep them.
func (c certificate) file(t *testing.T) string {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "daemon.pem")
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.leaf.Raw}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// pfx packs certificate and key without a password.
func (c certificate) pfx(t *testing.T) []byte {
	t.Helper()
	data, err := pkcs12.Modern.Encode(c.key, c.leaf, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// issuer is somebody else's token service, such as a CI system or a cluster.
type issuer struct {
	url string
	key crypto.Signer
}

const workload = "system:serviceaccount:jobs:nightly"

// federated starts an issuer and adds an app that trusts it for one workload.
func federated(t *testing.T, emu *entratest.Emulator) (*issuer, entratest.App) {
	t.Helper()
	c, err := newCertificate()
	if err != nil {
		t.Fatal(err)
	}
	other := &issuer{key: c.key}
	mux := http.NewServeMux()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]string{"issuer": other.url, "jwks_uri": other.url + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		json.NewEncoder(w).Encode(map[string]any{"keys": []map[string]string{{"kty": "RSA", "use": "sig", "kid": "key-1", "alg": "RS256",
			"n": base64.RawURLEncoding.EncodeToString(c.key.N.Bytes()), "e": base64.RawURLEncoding.EncodeToString(big.NewInt(int64(c.key.E)).Bytes())}}})
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	other.url = srv.URL
	app, err := emu.AddApp(entratest.App{Name: "nightly", Federated: []entratest.FederatedCredential{{Issuer: other.url, Subject: workload}},
		Granted: map[string][]string{entratest.GraphAppID: {"User.Read.All"}}})
	if err != nil {
		t.Fatal(err)
	}
	return other, app
}

// token is what the issuer gives a workload to identify itself with.
func (i *issuer) token(subject string) (string, error) {
	now := time.Now()
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.MapClaims{"iss": i.url, "sub": subject, "aud": "api://AzureADTokenExchange",
		"iat": now.Unix(), "nbf": now.Unix(), "exp": now.Add(time.Hour).Unix()})
	token.Header["kid"] = "key-1"
	return token.SignedString(i.key)
}

// watched is a transport that tells what was answered before the client knows.
type watched struct {
	next   http.RoundTripper
	answer func(*http.Request, *http.Response)
}

func (w watched) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := w.next.RoundTrip(r)
	if err == nil {
		w.answer(r, res)
	}
	return res, err
}

// approving returns a client of the emulator; as soon as a poll for a device
// code has been answered with "not yet", ben approves the code.
func approving(t *testing.T, emu *entratest.Emulator) *http.Client {
	t.Helper()
	return &http.Client{Transport: watched{emu.Client().Transport, func(r *http.Request, res *http.Response) {
		if !strings.HasSuffix(r.URL.Path, "/token") || res.StatusCode != http.StatusBadRequest {
			return
		}
		for _, d := range emu.PendingDevices() {
			if err := emu.Approve(d.UserCode, entratest.BenUPN); err != nil {
				t.Errorf("approving %s: %v", d.UserCode, err)
			}
		}
	}}}
}
