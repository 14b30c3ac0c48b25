package insight

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fobauth/fob"
	"github.com/go-jose/go-jose/v4"
)

const (
	tenantID = "22222222-0000-4000-8000-000000000002"
	appID    = "11111111-0000-4000-8000-000000000001"
	v2Issuer = "https://login.microsoftonline.com/" + tenantID + "/v2.0"
)

// noon is the time of all tests, in a zone of its own so that goldens do not
// depend on the machine.
var noon = time.Date(2026, 9, 21, 12, 0, 0, 0, time.FixedZone("", 2*3600))

var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// mint signs claims as RS256 with testKey under the key id "k1"; header members
// are added.
func mint(t testing.TB, claims map[string]any, header map[string]any) string {
	t.Helper()
	head := map[string]any{"typ": "JWT", "alg": "RS256", "kid": "k1"}
	for k, v := range header {
		head[k] = v
	}
	h, _ := json.Marshal(head)
	c, _ := json.Marshal(claims)
	input := base64.RawURLEncoding.EncodeToString(h) + "." + base64.RawURLEncoding.EncodeToString(c)
	digest := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPKCS1v15(nil, testKey(), crypto.SHA256, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	return input + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func testKeys(t testing.TB) *KeySet {
	t.Helper()
	set, err := ParseKeys(publicJWKS("k1", "https://login.microsoftonline.com/{tenantid}/v2.0"))
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func publicJWKS(kid, issuer string) []byte {
	public := testKey().PublicKey
	return fmt.Appendf(nil, `{"keys":[{"kty":"RSA","use":"sig","kid":%q,"n":%q,"e":"AQAB","issuer":%q}]}`,
		kid, base64.RawURLEncoding.EncodeToString(public.N.Bytes()), issuer)
}

// apiClaims is a good v2 token for appID.
func apiClaims(change map[string]any) map[string]any {
	claims := map[string]any{
		"aud": appID, "iss": v2Issuer, "iat": noon.Unix() - 60, "nbf": noon.Unix() - 60, "exp": noon.Unix() + 3600,
		"azp": "33333333-0000-4000-8000-000000000003", "azpacr": "1", "oid": "44444444-0000-4000-8000-000000000004",
		"sub": "44444444-0000-4000-8000-000000000004", "roles": []string{"Orders.Read.All"}, "tid": tenantID, "uti": "Zx9", "ver": "2.0",
	}
	for k, v := range change {
		if v == nil {
			delete(claims, k)
		} else {
			claims[k] = v
		}
	}
	return claims
}

func wanted(t testing.TB) VerifyOptions {
	return VerifyOptions{Keys: testKeys(t), Audience: []string{appID}, Tenant: tenantID, Now: noon}
}

func TestAGoodTokenIsVerified(t *testing.T) {
	v := Verify(t.Context(), fob.NewSecret(mint(t, apiClaims(nil), nil)), wanted(t))
	if v.Verdict != Verified || v.Summary != "Verified" {
		t.Fatalf("%+v", v)
	}
}

func TestAnAudienceMayBeAList(t *testing.T) {
	claims := apiClaims(map[string]any{"aud": []string{"https://other.example", appID}, "exp": json.Number(fmt.Sprintf("%d.5", noon.Unix()+60))})
	if v := Verify(t.Context(), fob.NewSecret(mint(t, claims, nil)), wanted(t)); v.Verdict != Verified {
		t.Fatalf("%+v", v)
	}
}

func TestEachBadTokenFailsTheOneCheckThatIsAboutIt(t *testing.T) {
	opt := wanted(t)
	opt.Nonce = "n-1"
	good := func(change map[string]any) map[string]any {
		c := apiClaims(map[string]any{"nonce": "n-1"})
		for k, v := range change {
			if v == nil {
				delete(c, k)
			} else {
				c[k] = v
			}
		}
		return c
	}
	other := "99999999-0000-4000-8000-000000000009"
	for name, tt := range map[string]struct {
		claims map[string]any
		header map[string]any
		check  string
		help   string
	}{
		"another tenant":      {good(map[string]any{"tid": other, "iss": strings.Replace(v2Issuer, tenantID, other, 1)}), nil, CheckTenant, "another tenant"},
		"tid against iss":     {good(map[string]any{"iss": strings.Replace(v2Issuer, tenantID, other, 1)}), nil, CheckIssuer, "another tenant"},
		"issuer's slash":      {good(map[string]any{"iss": v2Issuer + "/"}), nil, CheckIssuer, "slash"},
		"v1 issuer":           {good(map[string]any{"iss": "https://sts.windows.net/" + tenantID + "/"}), nil, CheckIssuer, "v1 token"},
		"no tid":              {good(map[string]any{"tid": "", "iss": "https://login.microsoftonline.com//v2.0"}), nil, CheckIssuer, "tid"},
		"audience with api:":  {good(map[string]any{"aud": "api://" + appID}), nil, CheckAudience, "api://"},
		"another API":         {good(map[string]any{"aud": "https://graph.microsoft.com"}), nil, CheckAudience, "Microsoft Graph"},
		"expired":             {good(map[string]any{"exp": noon.Unix() - 301}), nil, CheckExpires, "new token"},
		"no end":              {good(map[string]any{"exp": nil}), nil, CheckExpires, "for ever"},
		"a huge end":          {good(map[string]any{"exp": json.Number("1e400")}), nil, CheckExpires, "for ever"},
		"an end in a text":    {good(map[string]any{"exp": fmt.Sprint(noon.Unix() + 3600)}), nil, CheckForm, "RFC 7519"},
		"a start in a text":   {good(map[string]any{"nbf": "2026-09-21T12:00:00Z"}), nil, CheckForm, "RFC 7519"},
		"a start at null":     {good(map[string]any{"nbf": json.RawMessage("null")}), nil, CheckForm, "RFC 7519"},
		"a far start":         {good(map[string]any{"nbf": json.Number("1e300")}), nil, CheckNotBefore, "badly made"},
		"audience of numbers": {good(map[string]any{"aud": []any{appID, 5}}), nil, CheckForm, "RFC 7519"},
		"audience of objects": {good(map[string]any{"aud": map[string]any{"aud": appID}}), nil, CheckForm, "RFC 7519"},
		"a subject of many":   {good(map[string]any{"sub": []string{"a"}}), nil, CheckForm, "RFC 7519"},
		"not yet":             {good(map[string]any{"nbf": noon.Unix() + 301}), nil, CheckNotBefore, "clock"},
		"nonce":               {good(map[string]any{"nonce": "n-2"}), nil, CheckNonce, "sign-in"},
		"unknown key":         {good(nil), map[string]any{"kid": "k2"}, CheckKey, "forged"},
		"critical extensions": {good(nil), map[string]any{"crit": []string{"b64"}, "b64": false}, CheckHeader, "critical"},
		"algorithm none":      {good(nil), map[string]any{"alg": "none"}, CheckAlgorithm, "not signed"},
		"algorithm None":      {good(nil), map[string]any{"alg": "NoNe"}, CheckAlgorithm, "not signed"},
		"another algorithm":   {good(nil), map[string]any{"alg": "PS256"}, CheckAlgorithm, "RS256"},
		"a proof":             {good(nil), map[string]any{"typ": "pop"}, CheckHeader, "proof of possession"},
	} {
		t.Run(name, func(t *testing.T) {
			v := Verify(t.Context(), fob.NewSecret(mint(t, tt.claims, tt.header)), opt)
			if v.Verdict != Refused {
				t.Fatalf("it is %s: %+v", v.Verdict, v.Checks)
			}
			for _, c := range v.Checks {
				if c.Result == Fail && c.Name != tt.check && name != "no tid" {
					t.Errorf("check %q failed too: %+v", c.Name, c)
				}
			}
			if c := v.Check(tt.check); c == nil || c.Result != Fail || !strings.Contains(c.Help+c.Expected, tt.help) {
				t.Errorf("check %q does not say %q: %+v", tt.check, tt.help, c)
			}
		})
	}
}

func TestHMACWithThePublicKeyIsRefused(t *testing.T) {
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: publicJWKS("k1", "")}, (&jose.SignerOptions{}).WithHeader("kid", "k1"))
	if err != nil {
		t.Fatal(err)
	}
	claims, _ := json.Marshal(apiClaims(nil))
	signed, _ := signer.Sign(claims)
	compact, _ := signed.CompactSerialize()
	opt := wanted(t)
	opt.Algorithms = []string{"RS256", "HS256"} // even when somebody asks for it
	v := Verify(t.Context(), fob.NewSecret(compact), opt)
	if c := v.Check(CheckAlgorithm); v.Verdict != Refused || c.Result != Fail || !strings.Contains(c.Help, "forged") {
		t.Fatalf("%+v", v)
	}
}

func TestASecretKeyInAKeySetIsLeftOut(t *testing.T) {
	_, err := ParseKeys([]byte(`{"keys":[{"kty":"oct","kid":"k1","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`))
	if err == nil || !strings.Contains(err.Error(), "no RSA or EC key") {
		t.Fatal(err)
	}
}

func TestRSAKeysOfWrongSizeAreLeftOut(t *testing.T) {
	for _, bytes := range []int{128, 2000} {
		n := base64.RawURLEncoding.EncodeToString(append([]byte{0xff}, make([]byte, bytes-1)...))
		_, err := ParseKeys(fmt.Appendf(nil, `{"keys":[{"kty":"RSA","kid":"k1","n":%q,"e":"AQAB"}]}`, n))
		if err == nil || !strings.Contains(err.Error(), "bits") {
			t.Errorf("%d bytes: %v", bytes, err)
		}
	}
}

func TestKeysThatTheTokenBringsAreIgnored(t *testing.T) {
	asked := false
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer evil.Close()
	header := map[string]any{"jku": evil.URL, "x5u": evil.URL, "kid": "theirs",
		"jwk": map[string]any{"kty": "RSA", "n": base64.RawURLEncoding.EncodeToString(testKey().N.Bytes()), "e": "AQAB"}}
	v := Verify(t.Context(), fob.NewSecret(mint(t, apiClaims(nil), header)), wanted(t))
	if v.Verdict != Refused || v.Check(CheckKey).Result != Fail || asked {
		t.Fatalf("asked %v, %+v", asked, v)
	}
	if c := v.Check(CheckHeader); c == nil || !strings.Contains(c.Found, "jku, x5u, jwk") {
		t.Errorf("the report does not say what it ignored: %+v", c)
	}
}

func TestKeysOfAnUnknownIssuerAreNotFetched(t *testing.T) {
	evil := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the token's own issuer was asked") }))
	defer evil.Close()
	opt := wanted(t)
	opt.Keys = nil
	v := Verify(t.Context(), fob.NewSecret(mint(t, apiClaims(map[string]any{"iss": evil.URL + "/" + tenantID + "/v2.0"}), nil)), opt)
	if v.Verdict != Unverified || v.Check(CheckKey).Result != Skipped {
		t.Fatalf("%+v", v)
	}
}

func TestKeysAreFetchedFromTheAuthorityThatWasNamed(t *testing.T) {
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/" + tenantID + "/v2.0/.well-known/openid-configuration":
			fmt.Fprintf(w, `{"issuer":%q,"jwks_uri":%q}`, v2Issuer, server.URL+"/keys")
		case "/keys":
			w.Write(publicJWKS("k1", ""))
		default:
			http.Redirect(w, r, "/keys", http.StatusFound)
		}
	}))
	defer server.Close()
	opt := wanted(t)
	opt.Keys, opt.Authority = nil, fob.Authority{Host: server.URL, Tenant: tenantID}
	token := fob.NewSecret(mint(t, apiClaims(nil), nil))
	if v := Verify(t.Context(), token, opt); v.Verdict != Verified {
		t.Fatalf("%+v", v)
	}
	opt.Authority.Tenant = "elsewhere.example" // answered by a redirect
	if v := Verify(t.Context(), token, opt); v.Verdict != Unverified || !strings.Contains(v.Check(CheckKey).Found, "302") {
		t.Fatalf("a redirect was followed: %+v", v)
	}
}

func TestAGraphTokenIsSaidToBeUnverifiableInsteadOfInvalid(t *testing.T) {
	token := mint(t, apiClaims(map[string]any{"aud": "https://graph.microsoft.com"}), map[string]any{"nonce": "abc"})
	i := strings.IndexByte(token, '.')
	var header map[string]any
	raw, _ := base64.RawURLEncoding.DecodeString(token[:i])
	json.Unmarshal(raw, &header)
	header["nonce"] = "what was signed differs"
	raw, _ = json.Marshal(header)
	token = base64.RawURLEncoding.EncodeToString(raw) + token[i:]
	opt := wanted(t)
	opt.Audience = nil
	v := Verify(t.Context(), fob.NewSecret(token), opt)
	c := v.Check(CheckSignature)
	if v.Verdict != Unverified || c.Result != Skipped || !strings.Contains(c.Found, "Microsoft Graph") {
		t.Fatalf("%+v", v)
	}
}

func TestAChangedTokenIsRefused(t *testing.T) {
	token := mint(t, apiClaims(nil), nil)
	other := mint(t, apiClaims(map[string]any{"roles": []string{"Everything"}}), nil)
	a, b := strings.Split(token, "."), strings.Split(other, ".")
	v := Verify(t.Context(), fob.NewSecret(b[0]+"."+b[1]+"."+a[2]), wanted(t))
	if v.Verdict != Refused || v.Check(CheckSignature).Result != Fail {
		t.Fatalf("%+v", v)
	}
}

func TestATokenThatReadsTwoWaysIsRefused(t *testing.T) {
	payload := base64.RawURLEncoding.EncodeToString([]byte(`{"aud":"a","aud":"b","exp":1}`))
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","kid":"k1"}`))
	v := Verify(t.Context(), fob.NewSecret(header+"."+payload+".AA"), wanted(t))
	if c := v.Check(CheckForm); v.Verdict != Refused || !strings.Contains(c.Found, `"aud" is in it twice`) {
		t.Fatalf("%+v", v)
	}
}

// TestWycheproof runs the JSON web signature vectors of C2SP's Wycheproof. Only
// those with a public key apply: a shared secret is refused on principle.
func TestWycheproof(t *testing.T) {
	var suite struct {
		TestGroups []struct {
			Comment string
			Public  json.RawMessage
			Tests   []struct {
				ID      int `json:"tcId"`
				Comment string
				JWS     json.RawMessage
				Result  string
			}
		}
	}
	readJSON(t, "testdata/wycheproof/json_web_signature_test.json", &suite)
	accepted, refused := 0, 0
	for _, group := range suite.TestGroups {
		if group.Public == nil {
			continue
		}
		var public struct{ Alg string }
		json.Unmarshal(group.Public, &public)
		for _, tt := range group.Tests {
			var jws string
			if json.Unmarshal(tt.JWS, &jws) != nil {
				jws = string(tt.JWS) // the JSON form, which is no token
			}
			want := tt.Result == "valid"
			// These keys say an algorithm that is not their token's (PS256 for
			// PS384) or that does not exist (ES521); RFC 7517 section 4.4 lets us
			// take them at their word.
			if strings.HasPrefix(group.Comment, "rfc7520") && public.Alg != "RS256" {
				want = false
			}
			got := signatureVerifies(group.Public, jws, public.Alg)
			if got != want {
				t.Errorf("%s %d %s: accepted %v, want %v", group.Comment, tt.ID, tt.Comment, got, want)
			}
			if got {
				accepted++
			} else {
				refused++
			}
		}
	}
	if accepted < 25 || refused < 300 {
		t.Errorf("accepted %d and refused %d: the vectors were not really run", accepted, refused)
	}
}

// signatureVerifies is the part of Verify that is about signatures alone; the
// payloads of published vectors are no claims.
func signatureVerifies(jwks []byte, compact, algorithm string) bool {
	set, err := ParseKeys(jwks)
	if err != nil {
		return false
	}
	head, _, _ := strings.Cut(compact, ".")
	raw, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return false
	}
	header, odd, err := parseObject(raw)
	t := &parsedToken{compact: compact, header: header}
	if err != nil || odd != nil || !new(Verification).header(t) {
		return false
	}
	alg, ok := new(Verification).algorithm(t, VerifyOptions{Algorithms: []string{algorithm}})
	if !ok {
		return false
	}
	_, outcome, _ := set.judge(compact, header, alg)
	return outcome == goodSignature
}

func TestTheSignaturesOfRFC7520Verify(t *testing.T) {
	for _, name := range []string{"4_1.rsa_v15_signature", "4_2.rsa-pss_signature", "4_3.ecdsa_signature"} {
		var vector struct {
			Input struct {
				Key json.RawMessage
				Alg string
			}
			Output struct{ Compact string }
		}
		readJSON(t, "testdata/rfc7520/jws/"+name+".json", &vector)
		if !signatureVerifies(vector.Input.Key, vector.Output.Compact, vector.Input.Alg) {
			t.Errorf("%s does not verify", name)
		}
		last := byte('A')
		if vector.Output.Compact[len(vector.Output.Compact)-4] == last {
			last = 'B'
		}
		changed := vector.Output.Compact[:len(vector.Output.Compact)-4] + string(last) + vector.Output.Compact[len(vector.Output.Compact)-3:]
		if signatureVerifies(vector.Input.Key, changed, vector.Input.Alg) {
			t.Errorf("%s verifies although it was changed", name)
		}
	}
	var secret struct {
		Input struct {
			Key json.RawMessage
			Alg string
		}
		Output struct{ Compact string }
	}
	readJSON(t, "testdata/rfc7520/jws/4_4.hmac-sha2_integrity_protection.json", &secret)
	if signatureVerifies(secret.Input.Key, secret.Output.Compact, secret.Input.Alg) {
		t.Error("a signature with a shared secret was accepted")
	}
}

// The example of RFC 7515 appendix A.2.
const (
	rfc7515Key = `{"kty":"RSA","n":"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ","e":"AQAB"}`
	rfc7515JWS = "eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
)

func TestTheExampleOfRFC7515Verifies(t *testing.T) {
	keys, err := ParseKeys([]byte(rfc7515Key))
	if err != nil {
		t.Fatal(err)
	}
	v := Verify(t.Context(), fob.NewSecret(rfc7515JWS), VerifyOptions{Keys: keys, Issuer: "joe", Now: time.Unix(1300819000, 0)})
	if v.Verdict != Verified || v.Check(CheckIssuer).Result != Pass || v.Check(CheckExpires).Result != Pass {
		t.Fatalf("%+v", v)
	}
	v = Verify(t.Context(), fob.NewSecret(rfc7515JWS), VerifyOptions{Keys: keys, Issuer: "joe", Now: noon})
	if v.Verdict != Refused || v.Check(CheckExpires).Result != Fail {
		t.Fatalf("%+v", v)
	}
}

func TestTheThumbprintOfRFC7638(t *testing.T) {
	const key = `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`
	thumbprint, err := KeyThumbprint([]byte(key))
	if err != nil || thumbprint != "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs" {
		t.Fatalf("%q, %v", thumbprint, err)
	}
}

func TestTheChallengeOfRFC7636(t *testing.T) {
	const verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
	if got := CodeChallenge(fob.NewSecret(verifier)); got != "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM" {
		t.Fatal(got)
	}
}

func readJSON(t *testing.T, name string, into any) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(bytes.NewReader(data)).Decode(into); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkVerify measures a whole verification and, in turns with it so that
// both meet the same machine, the bare signature. The metric x-bare-RSA should
// stay below 2.
func BenchmarkVerify(b *testing.B) {
	token, opt := mint(b, apiClaims(nil), nil), wanted(b)
	raw := fob.NewSecret(token)
	i := strings.LastIndexByte(token, '.')
	signature, _ := base64.RawURLEncoding.DecodeString(token[i+1:])
	digest := sha256.Sum256([]byte(token[:i]))
	var whole, bare time.Duration
	for b.Loop() {
		start := time.Now()
		if v := Verify(context.Background(), raw, opt); v.Verdict != Verified {
			b.Fatal(v.Summary)
		}
		between := time.Now()
		if rsa.VerifyPKCS1v15(&testKey().PublicKey, crypto.SHA256, digest[:], signature) != nil {
			b.Fatal("it does not verify")
		}
		whole, bare = whole+between.Sub(start), bare+time.Since(between)
	}
	b.ReportMetric(float64(whole)/float64(bare), "x-bare-RSA")
	b.ReportMetric(float64(whole.Nanoseconds())/float64(b.N), "ns/verification")
}
