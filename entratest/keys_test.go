package entratest_test

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/fobauth/fob/entratest"
)

// signer is a certificate with its key.
type signer struct {
	t    testing.TB
	key  *rsa.PrivateKey
	cert *x509.Certificate
}

func newSigner(t testing.TB) signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	return signer{t, key, cert}
}

// sign makes a JWT, as the documentation says one is made.
func (s signer) sign(claims string) string {
	s.t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	thumbprint := sha256.Sum256(s.cert.Raw)
	signed := b64([]byte(`{"alg":"PS256","typ":"JWT","x5t#S256":"`+b64(thumbprint[:])+`"}`)) + "." + b64([]byte(claims))
	digest := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPSS(rand.Reader, s.key, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
	if err != nil {
		s.t.Fatal(err)
	}
	return signed + "." + b64(sig)
}

// signIn asks for a token of an app with a client assertion.
func (s signer) signIn(e *entratest.Emulator, clientID string) answer {
	s.t.Helper()
	now := e.Now().Unix()
	claims := fmt.Sprintf(`{"iss":"%s","sub":"%[1]s","aud":"%s","jti":"%d","nbf":%d,"exp":%d}`, clientID, tokenURL(e), time.Now().UnixNano(), now, now+300)
	return post(s.t, e, tokenURL(e), url.Values{"grant_type": {"client_credentials"}, "client_id": {clientID}, "scope": {"https://graph.microsoft.com/.default"},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {s.sign(claims)}})
}

func TestAnAssertionOfACertificateThatWasAddedIsGood(t *testing.T) {
	e := entratest.New(t)
	s := newSigner(t)
	if a := s.signIn(e, entratest.DaemonClientID); a.status != 401 || !strings.Contains(a.text, "AADSTS700027") {
		t.Errorf("before: %d %s", a.status, a.text)
	}
	if err := e.AddCertificate(entratest.DaemonClientID, s.cert); err != nil {
		t.Fatal(err)
	}
	if a := s.signIn(e, entratest.DaemonClientID); a.status != 200 {
		t.Errorf("after: %d %s", a.status, a.text)
	}
}

// rolling is an app that rolls its keys, and the call that does it.
type rolling struct {
	graph
	id  string // object id
	old signer
}

func startRolling(t testing.TB) rolling {
	t.Helper()
	g := admin(t)
	r := rolling{g, g.call(200, "GET", "/applications(appId='"+entratest.DaemonClientID+"')?$select=id", "").str("id"), newSigner(t)}
	if err := g.e.AddCertificate(entratest.DaemonClientID, r.old.cert); err != nil {
		t.Fatal(err)
	}
	r.token = r.old.signIn(g.e, entratest.DaemonClientID).str("access_token")
	return r
}

func (r rolling) proof(by signer, claims ...any) string {
	now := r.e.Now().Unix()
	all := map[string]any{"aud": "00000002-0000-0000-c000-000000000000", "iss": r.id, "nbf": now, "exp": now + 600}
	for i := 0; i < len(claims); i += 2 {
		all[claims[i].(string)] = claims[i+1]
	}
	return by.sign(fmt.Sprintf(`{"aud":"%v","iss":"%v","nbf":%v,"exp":%v}`, all["aud"], all["iss"], all["nbf"], all["exp"]))
}

func addKeyBody(added signer, proof string) string {
	return `{"keyCredential":{"type":"AsymmetricX509Cert","usage":"Verify","key":"` + base64.StdEncoding.EncodeToString(added.cert.Raw) + `"},"passwordCredential":null,"proof":"` + proof + `"}`
}

func TestAnAppRollsItsOwnKey(t *testing.T) {
	r := startRolling(t)
	next := newSigner(t)
	made := r.call(200, "POST", "/applications/"+r.id+"/addKey", addKeyBody(next, r.proof(r.old)))
	if made.str("keyId") == "" || made.str("type") != "AsymmetricX509Cert" || !strings.HasSuffix(made.str("@odata.context"), "/$metadata#microsoft.graph.keyCredential") {
		t.Errorf("added: %s", made.text)
	}
	for name, s := range map[string]signer{"old": r.old, "new": next} {
		if a := s.signIn(r.e, entratest.DaemonClientID); a.status != 200 {
			t.Errorf("the %s key: %d %s", name, a.status, a.text)
		}
	}
	list := r.call(200, "GET", "/applications/"+r.id+"?$select=keyCredentials", "").text
	if !strings.Contains(list, made.str("keyId")) {
		t.Errorf("listed: %s", list)
	}
	_, oldID, _ := strings.Cut(list, `"keyId":"`)
	r.call(204, "POST", "/applications(appId='"+entratest.DaemonClientID+"')/removeKey", `{"keyId":"`+oldID[:36]+`","proof":"`+r.proof(next)+`"}`)
	if a := r.old.signIn(r.e, entratest.DaemonClientID); a.status != 401 || !strings.Contains(a.text, "AADSTS700027") {
		t.Errorf("the old key after its removal: %d %s", a.status, a.text)
	}
	if a := next.signIn(r.e, entratest.DaemonClientID); a.status != 200 {
		t.Errorf("the new key: %d %s", a.status, a.text)
	}
	r.call(400, "POST", "/applications/"+r.id+"/removeKey", `{"keyId":"`+oldID[:36]+`","proof":"`+r.proof(next)+`"}`)
}

func TestAProofThatProvesNothingIsRefused(t *testing.T) {
	r := startRolling(t)
	now := r.e.Now().Unix()
	next := newSigner(t)
	for reason, proof := range map[string]string{
		"no key of the signer verifies its signature":           r.proof(next),
		"The aud of the proof is 'https://graph.microsoft.com'": r.proof(r.old, "aud", "https://graph.microsoft.com"),
		"the object id of the application":                      r.proof(r.old, "iss", entratest.DaemonClientID),
		"it has expired, begins later or has no exp":            r.proof(r.old, "nbf", now-3600, "exp", now-3000),
		"begins later":          r.proof(r.old, "nbf", now+3600, "exp", now+4000),
		"more than ten minutes": r.proof(r.old, "exp", now+3600),
		"it has 1 parts, not 3": "rubbish",
		"padding":               r.proof(r.old) + "=",
	} {
		a := r.call(401, "POST", "/applications/"+r.id+"/addKey", addKeyBody(next, proof))
		if a.errorCode() != "Authentication_MissingOrMalformed" || !strings.Contains(a.text, `"message":"Access Token missing or malformed."`) || !strings.Contains(a.text, reason) {
			t.Errorf("%s: %s", reason, a.text)
		}
	}
	r.call(403, "POST", "/applications/"+r.id+"/addKey", addKeyBody(next, ""))
	r.call(501, "POST", "/applications/"+r.id+"/addKey", `{"keyCredential":{"type":"X509CertAndPassword","usage":"Sign","key":""},"passwordCredential":{"secretText":"x"},"proof":"x"}`)
	r.call(400, "POST", "/applications/"+r.id+"/addKey", `{"keyCredential":{"type":"AsymmetricX509Cert","usage":"Verify","key":"AAAA"},"proof":"x"}`)
	r.call(400, "POST", "/applications/"+r.id+"/addKey", `{"keyCredential":{"type":"AsymmetricX509Cert","usage":"Verify","key":"AAAA","kind":"x"},"proof":"x"}`)
	r.call(400, "POST", "/applications/"+r.id+"/addKey", addKeyBody(r.old, r.proof(r.old))) // is there already
	if a := next.signIn(r.e, entratest.DaemonClientID); a.status != 401 {
		t.Errorf("the key was added: %d %s", a.status, a.text)
	}
	r.e.Advance(25 * time.Hour) // the old key has expired: nothing can be proven any more
	r.token = post(t, r.e, tokenURL(r.e), daemonForm()).str("access_token")
	if a := r.call(401, "POST", "/applications/"+r.id+"/addKey", addKeyBody(next, r.proof(r.old))); !strings.Contains(a.text, "no valid certificate") {
		t.Errorf("expired: %s", a.text)
	}
}

func TestAnothersKeysAreRolledWithPermissionOnly(t *testing.T) {
	r := startRolling(t)
	next := newSigner(t)
	stranger := r
	stranger.token = r.signIn(url.Values{"client_id": {entratest.APIClientID}, "client_secret": {entratest.APISecret}}).str("access_token")
	stranger.call(403, "POST", "/applications/"+r.id+"/addKey", addKeyBody(next, r.proof(r.old)))
	keeper := r
	keeper.token = r.signIn(url.Values{"client_id": {r.app}, "client_secret": {"admin-secret"}}).str("access_token")
	keeper.call(200, "POST", "/applications/"+r.id+"/addKey", addKeyBody(next, r.proof(r.old)))
}

func TestACredentialCountsFromItsStartToItsEnd(t *testing.T) {
	r := startRolling(t)
	keeper := r
	keeper.token = r.signIn(url.Values{"client_id": {r.app}, "client_secret": {"admin-secret"}}).str("access_token")
	at := func(d time.Duration) string { return r.e.Now().Add(d).UTC().Format(time.RFC3339) }
	app := "/applications/" + r.id

	secret := keeper.call(200, "POST", app+"/addPassword", `{"passwordCredential":{"displayName":"soon","startDateTime":"`+at(time.Hour)+`","endDateTime":"`+at(3*time.Hour)+`"}}`)
	openEnd := keeper.call(200, "POST", app+"/addPassword", `{"passwordCredential":{"startDateTime":"2030-01-01T00:00:00Z"}}`)
	if openEnd.str("endDateTime") != "2032-01-01T00:00:00Z" {
		t.Errorf("without an end it ends at %s", openEnd.str("endDateTime"))
	}
	keeper.call(400, "POST", app+"/addPassword", `{"passwordCredential":{"startDateTime":"2030-01-01T00:00:00Z","endDateTime":"2029-01-01T00:00:00Z"}}`)

	next := newSigner(t)
	credential := func(s signer, from, until string) string {
		return `{"keyCredentials":[{"type":"AsymmetricX509Cert","usage":"Verify","displayName":"next","keyId":"5f000000-0000-4000-8000-000000000001","startDateTime":"` + from +
			`","endDateTime":"` + until + `","key":"` + base64.StdEncoding.EncodeToString(s.cert.Raw) + `"}]}`
	}
	if a := keeper.call(400, "PATCH", app, credential(next, at(0), at(48*time.Hour))); a.errorCode() != "KeyCredentialsInvalidEndDate" {
		t.Errorf("an end after that of the certificate: %s", a.text)
	}
	start := at(time.Hour)
	keeper.call(204, "PATCH", app, credential(next, start, at(3*time.Hour)))
	shown := keeper.call(200, "GET", app+"?$select=keyCredentials", "").text
	if !strings.Contains(shown, `"startDateTime":"`+start) || !strings.Contains(shown, `"displayName":"next"`) || !strings.Contains(shown, `"keyId":"5f000000-`) {
		t.Errorf("shown: %s", shown)
	}
	keeper.call(204, "PATCH", app, `{"keyCredentials":[{"type":"AsymmetricX509Cert","usage":"Verify","keyId":"5f000000-0000-4000-8000-000000000001"}]}`)
	keeper.call(400, "PATCH", app, `{"keyCredentials":[{"type":"AsymmetricX509Cert","usage":"Verify","keyId":"5f000000-0000-4000-8000-000000000001","endDateTime":"`+at(time.Hour)+`"}]}`)

	withSecret := func() answer {
		return post(t, r.e, tokenURL(r.e), url.Values{"grant_type": {"client_credentials"}, "client_id": {entratest.DaemonClientID}, "client_secret": {secret.str("secretText")},
			"scope": {"https://graph.microsoft.com/.default"}})
	}
	for _, when := range []struct {
		name string
		good bool
	}{{"before", false}, {"during", true}, {"after", false}} {
		if a := withSecret(); (a.status == 200) != when.good || !when.good && !strings.Contains(a.text, "AADSTS7000222") {
			t.Errorf("the secret %s its time: %d %s", when.name, a.status, a.text)
		}
		if a := next.signIn(r.e, entratest.DaemonClientID); (a.status == 200) != when.good || !when.good && (!strings.Contains(a.text, "AADSTS700027") || !strings.Contains(a.text, "The key used is expired., ") || !strings.Contains(a.text, "Found key 'Start=")) {
			t.Errorf("the certificate %s its time: %d %s", when.name, a.status, a.text)
		}
		r.e.Advance(2 * time.Hour)
	}
}
