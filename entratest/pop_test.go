package entratest_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fobauth/fob/entratest"
)

// jwk is the public key of a signer, and its thumbprint (RFC 7638).
func (s signer) jwk() (key map[string]string, thumbprint string) {
	b64 := base64.RawURLEncoding.EncodeToString
	key = map[string]string{"kty": "RSA", "n": b64(s.key.N.Bytes()), "e": b64(big.NewInt(int64(s.key.E)).Bytes())}
	sum := sha256.Sum256([]byte(`{"e":"` + key["e"] + `","kty":"RSA","n":"` + key["n"] + `"}`))
	return key, b64(sum[:])
}

// boundTo asks for a token of the daemon that is bound to a key.
func (s signer) boundTo(e *entratest.Emulator, resource string) string {
	s.t.Helper()
	_, thumbprint := s.jwk()
	form := daemonForm()
	form.Set("token_type", "pop")
	form.Set("req_cnf", base64.RawURLEncoding.EncodeToString([]byte(`{"kid":"`+thumbprint+`"}`)))
	form.Set("scope", resource+"/.default")
	return post(s.t, e, tokenURL(e), form).str("access_token")
}

// request signs an HTTP request, as MSAL does, with other claims where given.
func (s signer) request(e *entratest.Emulator, method, address, token string, claims ...any) string {
	s.t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		s.t.Fatal(err)
	}
	key, _ := s.jwk()
	all := map[string]any{"at": token, "ts": e.Now().Unix(), "m": method, "u": u.Host, "p": u.EscapedPath(), "nonce": "a1b2c3", "cnf": map[string]any{"jwk": key}}
	for i := 0; i < len(claims); i += 2 {
		all[claims[i].(string)] = claims[i+1]
	}
	text, err := json.Marshal(all)
	if err != nil {
		s.t.Fatal(err)
	}
	return s.sign(string(text))
}

// send sends a request with an Authorization header.
func send(t testing.TB, e *entratest.Emulator, method, address, authorization string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	if authorization != "" {
		req.Header.Set("Authorization", authorization)
	}
	res, err := e.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var body struct {
		Error struct{ Message string }
	}
	_ = json.NewDecoder(res.Body).Decode(&body) // a success has none
	return res, body.Error.Message
}

func TestABoundTokenTravelsInASignedRequest(t *testing.T) {
	e := entratest.New(t)
	s := newSigner(t)
	users := e.GraphURL() + "/v1.0/users?$top=1"
	first, _ := send(t, e, "GET", users, "")
	challenges := first.Header.Values("WWW-Authenticate")
	if len(challenges) != 2 || !strings.HasPrefix(challenges[0], "Bearer ") || !strings.HasPrefix(challenges[1], `PoP realm="", authorization_uri="`) {
		t.Fatalf("challenges %q", challenges)
	}
	_, rest, _ := strings.Cut(challenges[1], `nonce="`)
	nonce := strings.TrimSuffix(rest, `"`)
	token := s.boundTo(e, "https://graph.microsoft.com")
	res, message := send(t, e, "GET", users, "PoP "+s.request(e, "GET", users, token, "nonce", nonce))
	if res.StatusCode != 200 || !strings.HasPrefix(res.Header.Get("Authentication-Info"), `nextnonce="`) {
		t.Errorf("%s %s, Authentication-Info %q", res.Status, message, res.Header.Get("Authentication-Info"))
	}
	if res, message := send(t, e, "GET", users, "pop "+s.request(e, "GET", users, token)); res.StatusCode != 200 {
		t.Errorf("with a nonce of its own: %s %s", res.Status, message)
	}
	arm := e.ARMURL() + "/subscriptions?api-version=2022-12-01"
	if res, message := send(t, e, "GET", arm, "PoP "+s.request(e, "GET", arm, s.boundTo(e, "https://management.azure.com"))); res.StatusCode != 200 {
		t.Errorf("Resource Manager: %s %s", res.Status, message)
	}
	e.Advance(6 * time.Minute)
	if res, message := send(t, e, "GET", users, "PoP "+s.request(e, "GET", users, token, "nonce", nonce)); res.StatusCode != 401 || !strings.Contains(message, "its nonce has expired") {
		t.Errorf("with the nonce of six minutes ago: %s %s", res.Status, message)
	}
}

func TestASignedRequestThatProvesNothingIsRefused(t *testing.T) {
	e := entratest.New(t)
	s, thief := newSigner(t), newSigner(t)
	users := e.GraphURL() + "/v1.0/users"
	token, bearer := s.boundTo(e, "https://graph.microsoft.com"), post(t, e, tokenURL(e), daemonForm()).str("access_token")
	now := e.Now().Unix()
	own, _ := s.jwk()
	for authorization, want := range map[string]string{
		"Bearer " + token: "The token is bound to a key: send it in a signed HTTP request",
		"PoP " + token:    "its cnf has no jwk",
		"PoP rubbish":     "it is not a JWT",
		"PoP " + thief.request(e, "GET", users, token):                                         "another key than the one that its token is bound to",
		"PoP " + thief.request(e, "GET", users, token, "cnf", map[string]any{"jwk": own}):      "no key of the signer verifies its signature",
		"PoP " + s.request(e, "GET", users, bearer):                                            "is not bound to a key",
		"PoP " + s.request(e, "GET", users, ""):                                                "no access token in the claim at",
		"PoP " + s.request(e, "GET", users, token, "ts", now-400):                              "its ts is not within five minutes of now",
		"PoP " + s.request(e, "GET", users, token, "ts", now+400):                              "its ts is not within five minutes of now",
		"PoP " + s.request(e, "GET", users, token, "m", "POST"):                                "its m is not the method of the request, GET",
		"PoP " + s.request(e, "GET", users, token, "u", "graph.microsoft.com"):                 "its u is not the host of the request, localhost",
		"PoP " + s.request(e, "GET", users, token, "p", "/v1.0/groups"):                        "its p is not the path of the request, /v1.0/users",
		"PoP " + s.request(e, "GET", users, token, "cnf", map[string]any{"kid": "thumbprint"}): "its cnf has no jwk",
		"PoP " + s.request(e, "GET", users, s.boundTo(e, "https://management.azure.com")):      "Invalid audience",
	} {
		res, message := send(t, e, "GET", users, authorization)
		if res.StatusCode != 401 || !strings.Contains(message, want) || len(res.Header.Values("WWW-Authenticate")) != 2 {
			t.Errorf("want %q: %s %q", want, res.Status, message)
		}
	}
	arm := e.ARMURL() + "/subscriptions?api-version=2022-12-01"
	if res, message := send(t, e, "GET", arm, "Bearer "+s.boundTo(e, "https://management.azure.com")); res.StatusCode != 401 || !strings.Contains(message, "bound to a key") {
		t.Errorf("Resource Manager: %s %s", res.Status, message)
	}
}
