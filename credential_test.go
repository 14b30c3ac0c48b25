package fob

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	stdjson "encoding/json"
	"encoding/pem"
	"encoding/xml"
	"io"
	"log/slog"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"software.sslmate.com/src/go-pkcs12"
)

var testKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func selfSigned(t *testing.T, public, private any) *x509.Certificate {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "fob test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

func pemBlock(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}

func TestACertificateIsReadFromEveryUsualFile(t *testing.T) {
	key := testKey()
	cert := selfSigned(t, key.Public(), key)
	other, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	issuer := selfSigned(t, other.Public(), other)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pfx, err := pkcs12.Modern.Encode(key, cert, []*x509.Certificate{issuer}, "pass word")
	if err != nil {
		t.Fatal(err)
	}
	legacy, err := pkcs12.LegacyDES.Encode(key, cert, nil, "")
	if err != nil {
		t.Fatal(err)
	}
	certPEM, issuerPEM := pemBlock("CERTIFICATE", cert.Raw), pemBlock("CERTIFICATE", issuer.Raw)
	for name, test := range map[string]struct {
		data     []byte
		password string
		chain    int
	}{
		"PEM, PKCS #8 key first":    {append(pemBlock("PRIVATE KEY", pkcs8), certPEM...), "", 0},
		"PEM, PKCS #1 key last":     {append(bytes.Clone(certPEM), pemBlock("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key))...), "", 0},
		"PEM, issuer before leaf":   {bytes.Join([][]byte{issuerPEM, certPEM, pemBlock("PRIVATE KEY", pkcs8)}, []byte("some text\n")), "", 1},
		"PEM with CRLF line ends":   {bytes.ReplaceAll(append(pemBlock("PRIVATE KEY", pkcs8), certPEM...), []byte("\n"), []byte("\r\n")), "", 0},
		"PFX with a password":       {pfx, "pass word", 1},
		"PFX without one, old form": {legacy, "", 0},
	} {
		got, err := ParseCertificate(test.data, NewSecret(test.password))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if !got.Leaf.Equal(cert) || len(got.Intermediates) != test.chain || !key.PublicKey.Equal(got.Key.Public()) {
			t.Errorf("%s: another certificate or chain came out", name)
		}
	}
}

func TestACertificateFileThatWillNotDoSaysWhy(t *testing.T) {
	key := testKey()
	cert := selfSigned(t, key.Public(), key)
	weak, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Skip("this Go makes no weak keys: ", err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	curvePKCS8, err := x509.MarshalPKCS8PrivateKey(curve)
	if err != nil {
		t.Fatal(err)
	}
	pfx, err := pkcs12.Modern.Encode(key, cert, nil, "right")
	if err != nil {
		t.Fatal(err)
	}
	keyPEM, certPEM := pemBlock("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(key)), pemBlock("CERTIFICATE", cert.Raw)
	for name, test := range map[string]struct {
		data           []byte
		password, want string
	}{
		"empty":            {nil, "", "neither PEM"},
		"text":             {[]byte("hello"), "", "neither PEM"},
		"only the key":     {keyPEM, "", "no certificate"},
		"only the cert":    {certPEM, "", "no private key"},
		"two keys":         {bytes.Join([][]byte{keyPEM, keyPEM, certPEM}, nil), "", "more than one private key"},
		"foreign key":      {append(pemBlock("PRIVATE KEY", curvePKCS8), certPEM...), "", "does not belong to any certificate"},
		"elliptic curve":   {append(pemBlock("PRIVATE KEY", curvePKCS8), pemBlock("CERTIFICATE", selfSigned(t, curve.Public(), curve).Raw)...), "", "not RSA"},
		"1024 bits":        {append(pemBlock("RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(weak)), pemBlock("CERTIFICATE", selfSigned(t, weak.Public(), weak).Raw)...), "", "has 1024 bits"},
		"encrypted PEM":    {append(pemBlock("ENCRYPTED PRIVATE KEY", []byte{1}), certPEM...), "", "is encrypted"},
		"wrong password":   {pfx, "wrong", "does not open with this password"},
		"password missing": {pfx, "", "wants a password"},
		"broken cert":      {append(keyPEM, pemBlock("CERTIFICATE", []byte{1, 2})...), "", "reading a certificate"},
		"broken PFX":       {append([]byte{0x30, 0x82}, make([]byte, 40)...), "", "the PFX file is cut, damaged or of a kind"},
		"a cut PFX":        {pfx[:len(pfx)/2], "right", "the PFX file is cut"},
		"a cut PEM":        {keyPEM[:300], "", "the PEM file is cut or damaged"},
		"DER cert":         {cert.Raw, "", "a certificate without its private key"},
	} {
		_, err := ParseCertificate(test.data, NewSecret(test.password))
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want it to say %q", name, err, test.want)
		}
		if err != nil && test.password != "" && strings.Contains(err.Error(), test.password+"\"") {
			t.Errorf("%s: the password shows in %v", name, err)
		}
	}
}

func TestAnAssertionIsWhatEntraDocuments(t *testing.T) {
	key := testKey()
	cert := selfSigned(t, key.Public(), key)
	now := time.Now()
	sum1, sum256 := sha1.Sum(cert.Raw), sha256.Sum256(cert.Raw)
	for _, test := range []struct {
		algorithm   string
		chain       bool
		want        jose.SignatureAlgorithm
		name, thumb string
	}{
		{"", false, jose.PS256, "x5t#S256", base64.RawURLEncoding.EncodeToString(sum256[:])},
		{"PS256", true, jose.PS256, "x5t#S256", base64.RawURLEncoding.EncodeToString(sum256[:])},
		{"RS256", false, jose.RS256, "x5t", base64.RawURLEncoding.EncodeToString(sum1[:])},
	} {
		c := &Certificate{Leaf: cert, Key: key, Algorithm: test.algorithm, SendChain: test.chain}
		assertion, err := c.Assertion("client-id", "https://login.example/t/oauth2/v2.0/token", now)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := jose.ParseSignedCompact(assertion.Reveal(), []jose.SignatureAlgorithm{test.want})
		if err != nil {
			t.Fatal(err)
		}
		payload, err := signed.Verify(key.Public())
		if err != nil {
			t.Fatal(err)
		}
		if test.want == jose.PS256 {
			// Libraries verify any length of the salt, Entra does not have to.
			text, encoded := assertion.Reveal()[:strings.LastIndex(assertion.Reveal(), ".")], assertion.Reveal()[strings.LastIndex(assertion.Reveal(), ".")+1:]
			sum, signature := sha256.Sum256([]byte(text)), must(base64.RawURLEncoding.DecodeString(encoded))
			if err := rsa.VerifyPSS(&key.PublicKey, crypto.SHA256, sum[:], signature, &rsa.PSSOptions{SaltLength: sha256.Size}); err != nil {
				t.Errorf("the salt is not as long as the hash: %v", err)
			}
		}
		var header map[string]any
		part, _, _ := strings.Cut(assertion.Reveal(), ".")
		raw, _ := base64.RawURLEncoding.DecodeString(part)
		if err := json.Unmarshal(raw, &header); err != nil {
			t.Fatal(err)
		}
		if header["typ"] != "JWT" || header[test.name] != test.thumb {
			t.Errorf("%s: header %v", test.want, header)
		}
		if chain, _ := header["x5c"].([]any); test.chain != (len(chain) == 1 && chain[0] == base64.StdEncoding.EncodeToString(cert.Raw)) {
			t.Errorf("%s: x5c %v", test.want, header["x5c"])
		}
		var claims struct {
			Aud, Iss, Sub, Jti string
			Nbf, Exp           int64
		}
		if err := json.Unmarshal(payload, &claims, json.MatchCaseInsensitiveNames(true)); err != nil {
			t.Fatal(err)
		}
		if claims.Aud != "https://login.example/t/oauth2/v2.0/token" || claims.Iss != "client-id" || claims.Sub != "client-id" || claims.Jti == "" ||
			claims.Nbf != now.Unix() || claims.Exp != now.Unix()+600 {
			t.Errorf("%s: claims %+v", test.want, claims)
		}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// hardware is a key that lets itself be used and not be seen.
type hardware struct{ key *rsa.PrivateKey }

func (h hardware) Public() crypto.PublicKey { return h.key.Public() }
func (h hardware) Sign(r io.Reader, digest []byte, o crypto.SignerOpts) ([]byte, error) {
	return h.key.Sign(r, digest, o)
}

func TestAnySignerCanBeTheKey(t *testing.T) {
	key := testKey()
	for _, algorithm := range []string{"PS256", "RS256"} {
		c := &Certificate{Leaf: selfSigned(t, key.Public(), key), Key: hardware{key}, Algorithm: algorithm}
		assertion, err := c.Assertion("id", "aud", time.Now())
		if err != nil {
			t.Fatal(err)
		}
		signed, err := jose.ParseSignedCompact(assertion.Reveal(), []jose.SignatureAlgorithm{jose.SignatureAlgorithm(algorithm)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := signed.Verify(key.Public()); err != nil {
			t.Errorf("%s: %v", algorithm, err)
		}
	}
}

func TestAFederatedTokenIsReadAnewEveryTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "token")
	sent := func() (string, error) {
		form := url.Values{}
		err := AssertionFile(path).authenticate(t.Context(), nil, "", form)
		return form.Get("client_assertion"), err
	}
	for _, token := range []string{"a.b.c", "d.e.f"} {
		if err := os.WriteFile(path, []byte(token+"\r\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := sent(); err != nil || got != token {
			t.Errorf("%q, %v", got, err)
		}
	}
	for name, content := range map[string]string{"empty": "", "no JWT": "hello", "two lines": "a.b\n.c", "huge": strings.Repeat("a", maxAssertion) + ".b.c"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := sent(); err == nil {
			t.Errorf("%s: was taken for a token", name)
		}
	}
	os.Remove(path)
	if _, err := sent(); err == nil || !strings.Contains(err.Error(), "federated token") {
		t.Errorf("missing file: %v", err)
	}
}

func TestAnAssertionThatCanBeReadOnceIsLeftForTheExchange(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no files for open pipes")
	}
	pipe, w, err := os.Pipe() // as <(command) gives it
	if err != nil {
		t.Fatal(err)
	}
	defer pipe.Close()
	if _, err := w.WriteString("a.b.c"); err != nil {
		t.Fatal(err)
	}
	w.Close()
	file, form := AssertionFile("/dev/fd/"+strconv.Itoa(int(pipe.Fd()))), url.Values{}
	if mark := file.mark(); mark != "" {
		t.Errorf("the mark is %q", mark)
	}
	if err := file.authenticate(t.Context(), nil, "", form); err != nil || form.Get("client_assertion") != "a.b.c" {
		t.Errorf("sent %q, %v", form.Get("client_assertion"), err)
	}
}

func TestAssertionsAreToldApartByWhatTheServerCompares(t *testing.T) {
	jwt := func(header, payload string) string {
		part := base64.RawURLEncoding.EncodeToString
		return part([]byte(header)) + "." + part([]byte(payload)) + ".c2ln"
	}
	const header = `{"alg":"RS256","kid":"k1"}`
	federated := jwt(header, `{"iss":"https://ci.example","sub":"repo:acme/shop","aud":"api://x","jti":"1","exp":1}`)
	own := jwt(`{"x5t#S256":"one"}`, `{"iss":"app","sub":"app","aud":"https://login.example","jti":"1"}`)
	for name, test := range map[string]struct {
		one, other string
		alike      bool
	}{
		"the next one":               {federated, jwt(`{"alg":"RS256","kid":"k2"}`, `{"jti":"2","exp":2,"nbf":"x","aud":["api://x"],"iss":"https://ci.example","sub":"repo:acme/shop"}`), true},
		"another subject":            {federated, jwt(header, `{"iss":"https://ci.example","sub":"repo:acme/SHOP","aud":"api://x"}`), false},
		"another issuer":             {federated, jwt(header, `{"iss":"https://ci.example/","sub":"repo:acme/shop","aud":"api://x"}`), false},
		"another audience":           {federated, jwt(header, `{"iss":"https://ci.example","sub":"repo:acme/shop","aud":"api://y"}`), false},
		"parts that run together":    {federated, jwt(header, `{"iss":"https://ci.examplerepo:","sub":"acme/shop","aud":"api://x"}`), false},
		"the app's own, signed anew": {own, jwt(`{"x5t#S256":"one"}`, `{"iss":"app","sub":"app","aud":"https://login.example","jti":"2"}`), true},
		"the app's own, another key": {own, jwt(`{"x5t#S256":"two"}`, `{"iss":"app","sub":"app","aud":"https://login.example","jti":"1"}`), false},
		"without claims":             {jwt("{}", "{}"), jwt("{}", "{}"), true},
		"unreadable":                 {"a.b.c", "a.b.d", false},
		"of odd types":               {jwt("{}", `{"iss":1,"n":1}`), jwt("{}", `{"iss":1,"n":2}`), false},
	} {
		one, other := ClientAssertion{NewSecret(test.one)}.mark(), ClientAssertion{NewSecret(test.other)}.mark()
		if (one == other) != test.alike {
			t.Errorf("%s: alike is %v", name, one == other)
		}
	}
}

func TestEncodersLeaveThePrivateKeyOut(t *testing.T) {
	key := testKey()
	c := &Certificate{Leaf: selfSigned(t, key.Public(), key), Key: key}
	for name, encode := range map[string]func(any) ([]byte, error){"json": stdjson.Marshal, "xml": xml.Marshal,
		"json v2": func(v any) ([]byte, error) { return json.Marshal(v) }} {
		text, err := encode(struct{ Credential *Certificate }{c})
		for _, part := range []string{key.D.String(), base64.StdEncoding.EncodeToString(key.D.Bytes()), key.Primes[0].String()} {
			if strings.Contains(string(text), part) {
				t.Errorf("%s shows the private key (%v)", name, err)
			}
		}
	}
	var out bytes.Buffer
	slog.New(slog.NewJSONHandler(&out, nil)).Info("m", "credential", c)
	if strings.Contains(out.String(), key.D.String()) {
		t.Error("a log shows the private key")
	}
}
