package fob_test

import (
	"crypto/rand"
	"errors"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/entratest"
)

// issuer is an identity provider that app registrations may trust, as a CI
// system or a Kubernetes cluster is.
type issuer struct {
	*httptest.Server
	signer jose.Signer
}

// startIssuer serves discovery and keys on loopback, as the emulator asks of
// the issuers it trusts.
func startIssuer() *issuer {
	data, err := os.ReadFile(filepath.Join("testdata", "certificate.pem"))
	if err != nil {
		log.Fatal(err)
	}
	certificate, err := fob.ParseCertificate(data, fob.Secret{})
	if err != nil {
		log.Fatal(err)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: jose.JSONWebKey{Key: certificate.Key, KeyID: "k1"}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	i := &issuer{httptest.NewServer(mux), signer}
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		json.MarshalWrite(w, map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys"})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		jwk := jose.JSONWebKey{Key: certificate.Key.Public(), KeyID: "k1", Use: "sig", Algorithm: "RS256"}
		text, _ := jwk.MarshalJSON()
		w.Write([]byte(`{"keys":[` + string(text) + `]}`))
	})
	return i
}

func (i *issuer) token(subject, audience string) string {
	payload, err := json.Marshal(map[string]any{"iss": i.URL, "sub": subject, "aud": audience, "jti": rand.Text(),
		"iat": time.Now().Unix(), "nbf": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix()})
	if err != nil {
		log.Fatal(err)
	}
	signed, err := i.signer.Sign(payload)
	if err != nil {
		log.Fatal(err)
	}
	text, err := signed.CompactSerialize()
	if err != nil {
		log.Fatal(err)
	}
	return text
}

func TestATokenOfATrustedIssuerSignsInAndIsReadAnewEachTime(t *testing.T) {
	e := entratest.New(t)
	other := startIssuer()
	defer other.Close()
	app, err := e.AddApp(entratest.App{
		Name:      "federated",
		Federated: []entratest.FederatedCredential{{Issuer: other.URL, Subject: "repo:acme/shop:ref:refs/heads/main"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "token")
	c := &fob.Client{Authority: fob.Authority{Host: e.URL(), Tenant: entratest.TenantID}, ID: app.ClientID, HTTP: e.Client(),
		Credential: fob.AssertionFile(path)}
	for _, test := range []struct {
		subject, audience string
		refused           int
	}{
		{"repo:acme/shop:ref:refs/heads/main", "api://AzureADTokenExchange", 0},
		{"repo:acme/shop:ref:refs/heads/dev", "api://AzureADTokenExchange", 700213},
		{"repo:acme/SHOP:ref:refs/heads/main", "api://AzureADTokenExchange", 7002138},
		{"repo:acme/shop:ref:refs/heads/main", "api://other", 700212},
		{"repo:acme/shop:ref:refs/heads/main", "api://AzureADTokenExchange", 0},
	} {
		if err := os.WriteFile(path, []byte(other.token(test.subject, test.audience)+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := c.Token(t.Context(), fob.Request{Scopes: graphDefault, Fresh: true})
		var refusal *fob.Error
		switch {
		case test.refused == 0 && err != nil:
			t.Errorf("%s for %s: %v", test.subject, test.audience, err)
		case test.refused != 0 && (!errors.As(err, &refusal) || refusal.AADSTS() != test.refused):
			t.Errorf("%s for %s: got %v, want AADSTS%d", test.subject, test.audience, err, test.refused)
		}
	}
}

func TestAWrongAssertionIsNotCoveredUpByAStoredToken(t *testing.T) {
	e := entratest.New(t)
	other := startIssuer()
	defer other.Close()
	const subject, audience = "repo:acme/shop:ref:refs/heads/main", "api://AzureADTokenExchange"
	app, err := e.AddApp(entratest.App{Name: "federated", Federated: []entratest.FederatedCredential{{Issuer: other.URL, Subject: subject}}})
	if err != nil {
		t.Fatal(err)
	}
	path, store := filepath.Join(t.TempDir(), "token"), fob.MemoryStore()
	for _, test := range []struct {
		text   string
		origin fob.Origin
		want   string
	}{
		{other.token(subject, audience), fob.OriginFlow, ""},
		{other.token(subject, audience), fob.OriginCache, ""}, // the next one of the same workload
		{other.token("repo:acme/shop:ref:refs/heads/dev", audience), "", "AADSTS700213"},
		{other.token(subject, "api://other"), "", "AADSTS700212"},
		{"a secret", "", "does not hold a JWT"},
		{other.token(subject, audience), fob.OriginCache, ""},
		{"", fob.OriginCache, ""}, // no file: nothing speaks against the token
	} {
		os.Remove(path)
		if test.text != "" {
			if err := os.WriteFile(path, []byte(test.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		credentials := []fob.Credential{fob.AssertionFile(path)}
		if test.text != "" {
			credentials = append(credentials, fob.ClientAssertion{Secret: fob.NewSecret(test.text)})
		}
		for i, credential := range credentials {
			c := &fob.Client{Authority: fob.Authority{Host: e.URL(), Tenant: entratest.TenantID}, ID: app.ClientID, HTTP: e.Client(),
				Credential: credential, Store: store}
			token, err := c.Token(t.Context(), fob.Request{Scopes: graphDefault})
			switch {
			case test.want == "" && err != nil:
				t.Errorf("%T: %v", credential, err)
			case test.want == "" && i == 0 && token.Origin != test.origin:
				t.Errorf("%T: the token came from %s, not from %s", credential, token.Origin, test.origin)
			case test.want == "" && i > 0 && token.Origin != fob.OriginCache:
				t.Errorf("%T: did not find what a file got", credential)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) && !strings.Contains(err.Error(), "is not a JWT")):
				t.Errorf("%T: got %v, want %s", credential, err, test.want)
			}
		}
	}
}
