package sts

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// service is a Server that is reached over HTTPS, and the client that talks to
// it.
type service struct {
	*Server
	t    *testing.T
	http *http.Client
}

const (
	tokenPath   = "/" + directory.TenantID + "/oauth2/v2.0/token"
	tokenPathV1 = "/" + directory.TenantID + "/oauth2/token"
	devicePath  = "/" + directory.TenantID + "/oauth2/v2.0/devicecode"
	graphAll    = "https://graph.microsoft.com/.default"
)

func serve(t *testing.T) *service {
	t.Helper()
	s := New(Config{})
	ts := httptest.NewTLSServer(s)
	t.Cleanup(ts.Close)
	s.BaseURL = ts.URL
	c := ts.Client()
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &service{s, t, c}
}

// answer is what came back.
type answer struct {
	t      *testing.T
	status int
	header http.Header
	raw    string
	body   map[string]any // nil if it is not a JSON object
}

func (v *service) do(r *http.Request) answer {
	v.t.Helper()
	res, err := v.http.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	a := answer{t: v.t, status: res.StatusCode, header: res.Header, raw: string(raw)}
	_ = json.Unmarshal(raw, &a.body)
	return a
}

func (v *service) get(path string) answer {
	v.t.Helper()
	r, err := http.NewRequest(http.MethodGet, v.BaseURL+path, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	return v.do(r)
}

// fields makes a form of names and values in turn. A name that comes again
// replaces; a value of "-" takes the field out.
func fields(pairs ...string) url.Values {
	f := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		f.Set(pairs[i], pairs[i+1])
		if pairs[i+1] == "-" {
			f.Del(pairs[i])
		}
	}
	return f
}

func (v *service) postForm(path string, form url.Values, headers ...string) answer {
	v.t.Helper()
	return v.postBody(path, "application/x-www-form-urlencoded", form.Encode(), headers...)
}

func (v *service) postBody(path, kind, body string, headers ...string) answer {
	v.t.Helper()
	r, err := http.NewRequest(http.MethodPost, v.BaseURL+path, strings.NewReader(body))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Content-Type", kind)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return v.do(r)
}

// post posts a form of names and values in turn.
func (v *service) post(path string, pairs ...string) answer {
	v.t.Helper()
	return v.postForm(path, fields(pairs...))
}

// daemon asks for an app token with a secret, changed by pairs.
func (v *service) daemon(pairs ...string) answer {
	v.t.Helper()
	return v.post(tokenPath, append([]string{"grant_type", "client_credentials", "client_id", directory.DaemonAppID,
		"client_secret", "daemon-secret-value-1", "scope", graphAll}, pairs...)...)
}

// ben signs Ben in with his password at the fob CLI, changed by pairs.
func (v *service) ben(pairs ...string) answer {
	v.t.Helper()
	return v.post(tokenPath, append([]string{"grant_type", "password", "client_id", directory.CLIAppID, "username", "ben@fob.example",
		"password", "ben-password-1", "scope", "User.Read openid profile offline_access"}, pairs...)...)
}

// renew redeems a refresh token at the fob CLI, changed by pairs.
func (v *service) renew(refresh string, pairs ...string) answer {
	v.t.Helper()
	return v.post(tokenPath, append([]string{"grant_type", "refresh_token", "client_id", directory.CLIAppID, "refresh_token", refresh}, pairs...)...)
}

// verifier is a PKCE verifier, challenge its S256 challenge.
const verifier = "a-verifier-that-is-long-enough-for-the-rules-0123"

func challenge() string {
	h := sha256.Sum256([]byte(verifier))
	return base64.RawURLEncoding.EncodeToString(h[:])
}

// codeFor gives out a code for Ben at the fob CLI, changed by change.
func (v *service) codeFor(change func(*authCode)) string {
	c := authCode{signIn: signIn{User: directory.BenID, Session: newGUID(), Time: v.World.Now(), Methods: []string{"pwd"}}, Client: directory.CLIAppID,
		Segment: directory.TenantID, Tenant: directory.TenantID, RedirectURI: "http://localhost:50123", Public: true,
		Challenge: challenge(), ChallengeMethod: "S256", Scope: "User.Read openid profile offline_access", Nonce: "n-1"}
	if change != nil {
		change(&c)
	}
	return v.newCode(c)
}

// redeemCode redeems a code at the fob CLI, changed by pairs.
func (v *service) redeemCode(code string, pairs ...string) answer {
	v.t.Helper()
	return v.post(tokenPath, redemption(code, pairs...)...)
}

func redemption(code string, pairs ...string) []string {
	return append([]string{"grant_type", "authorization_code", "client_id", directory.CLIAppID, "code", code,
		"redirect_uri", "http://localhost:50123", "code_verifier", verifier}, pairs...)
}

// apiToken is a token of Ben for the fob API.
func (v *service) apiToken() string {
	v.t.Helper()
	return v.ben("scope", "api://fob-api/access_as_user").ok().text("access_token")
}

// obo trades a user's token at the fob API, changed by pairs.
func (v *service) obo(assertion string, pairs ...string) answer {
	v.t.Helper()
	return v.post(tokenPath, append([]string{"grant_type", "urn:ietf:params:oauth:grant-type:jwt-bearer", "client_id", directory.APIAppID,
		"client_secret", "api-secret-value-1", "assertion", assertion, "scope", "User.Read", "requested_token_use", "on_behalf_of"}, pairs...)...)
}

// device asks for a device code, changed by pairs, and returns the answer.
func (v *service) device(pairs ...string) answer {
	v.t.Helper()
	return v.post(devicePath, append([]string{"client_id", directory.CLIAppID, "scope", "User.Read openid profile offline_access"}, pairs...)...)
}

// poll asks how a device code fares, changed by pairs.
func (v *service) poll(code string, pairs ...string) answer {
	v.t.Helper()
	return v.post(tokenPath, append([]string{"grant_type", "urn:ietf:params:oauth:grant-type:device_code", "client_id", directory.CLIAppID, "device_code", code}, pairs...)...)
}

func (v *service) update(user string, change func(*directory.User)) {
	v.t.Helper()
	u, ok := v.World.User("", user)
	if !ok {
		v.t.Fatalf("no user %s", user)
	}
	c := *u
	change(&c)
	v.World.PutUser(&c)
}

// ok wants a success.
func (a answer) ok() answer {
	a.t.Helper()
	if a.status != http.StatusOK {
		a.t.Fatalf("status %d, want 200: %s", a.status, a.raw)
	}
	return a
}

func (a answer) text(member string) string {
	a.t.Helper()
	s, ok := a.body[member].(string)
	if !ok {
		a.t.Fatalf("member %s is %T, want a string: %s", member, a.body[member], a.raw)
	}
	return s
}

// claims are what the JWT in a member says.
func (a answer) claims(member string) map[string]any {
	a.t.Helper()
	_, c := decodeJWT(a.t, a.text(member))
	return c
}

func decodeJWT(t *testing.T, raw string) (header, claims map[string]any) {
	t.Helper()
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is not a JWT", raw)
	}
	for i, into := range []*map[string]any{&header, &claims} {
		text, err := base64.RawURLEncoding.DecodeString(parts[i])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatal(err)
		}
	}
	return header, claims
}

// refusedWith wants a refusal with an AADSTS number, in the complete form.
func (a answer) refusedWith(code int, oauth string, status int) {
	a.t.Helper()
	codes, _ := a.body["error_codes"].([]any)
	if len(codes) != 1 || codes[0] != float64(code) || a.body["error"] != oauth || a.status != status {
		a.t.Fatalf("status %d: %s\nwant %d %s AADSTS%d", a.status, a.raw, status, oauth, code)
	}
	wellFormedRefusal(a, code)
}

// testKey is an RSA key with a self-signed certificate, made once for all tests.
type testKey struct {
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

var clientKey, otherKey = sync.OnceValue(newTestKey), sync.OnceValue(newTestKey)

func newTestKey() testKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	return testKey{key, cert}
}

func (k testKey) sha1() []byte   { h := sha1.Sum(k.cert.Raw); return h[:] }
func (k testKey) sha256() []byte { h := sha256.Sum256(k.cert.Raw); return h[:] }

// jwt signs claims, with RS256 or PS256 as the header says.
func (k testKey) jwt(header, claims map[string]any) string {
	h, _ := json.Marshal(header)
	c, _ := json.Marshal(claims)
	signed := encodeSegment(h) + "." + encodeSegment(c)
	digest := sha256.Sum256([]byte(signed))
	var sig []byte
	var err error
	if header["alg"] == "PS256" {
		sig, err = rsa.SignPSS(rand.Reader, k.key, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	} else {
		sig, err = rsa.SignPKCS1v15(rand.Reader, k.key, crypto.SHA256, digest[:])
	}
	if err != nil {
		panic(err)
	}
	return signed + "." + encodeSegment(sig)
}

// an object, changed by pairs of names and values; nil takes a member out.
func object(base map[string]any, pairs ...any) map[string]any {
	o := map[string]any{}
	for k, val := range base {
		o[k] = val
	}
	for i := 0; i < len(pairs); i += 2 {
		o[pairs[i].(string)] = pairs[i+1]
		if pairs[i+1] == nil {
			delete(o, pairs[i].(string))
		}
	}
	return o
}

// certHeader and certClaims are those of a good client assertion of the daemon.
func certHeader(pairs ...any) map[string]any {
	return object(map[string]any{"alg": "PS256", "typ": "JWT", "x5t#S256": encodeSegment(clientKey().sha256())}, pairs...)
}

func (v *service) certClaims(pairs ...any) map[string]any {
	now := v.World.Now().Unix()
	return object(map[string]any{"aud": v.BaseURL + tokenPath, "iss": directory.DaemonAppID, "sub": directory.DaemonAppID,
		"jti": newGUID(), "nbf": now, "iat": now, "exp": now + 600}, pairs...)
}

// withAssertion asks for an app token of the daemon with a JWT.
func (v *service) withAssertion(jwt string, pairs ...string) answer {
	v.t.Helper()
	return v.daemon(append([]string{"client_secret", "-", "client_assertion_type", assertionType, "client_assertion", jwt}, pairs...)...)
}

// external are the claims of a good token of the issuer that the daemon trusts.
func (v *service) external(pairs ...any) map[string]any {
	now := v.World.Now().Unix()
	return object(map[string]any{"aud": "api://AzureADTokenExchange", "iss": "https://issuer.example", "sub": "repo:fob/example:ref:refs/heads/main",
		"nbf": now, "exp": now + 300}, pairs...)
}

// trustIssuer gives the daemon's federated credential the keys of otherKey.
func (v *service) trustIssuer(change func(*directory.FederatedCredential)) {
	v.World.UpdateApp(directory.DaemonAppID, func(a *directory.App) {
		a.Federated[0].Keys = otherKey().jwks()
		if change != nil {
			change(&a.Federated[0])
		}
	})
}

func (k testKey) jwks() []byte {
	text, _ := json.Marshal(map[string]any{"keys": []any{map[string]any{"kty": "RSA", "kid": "k1", "n": encodeSegment(k.key.N.Bytes()), "e": "AQAB"}}})
	return text
}
