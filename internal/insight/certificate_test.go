package insight

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/fobauth/fob"
	"github.com/go-json-experiment/json"
)

func newPair(t *testing.T) *KeyPair {
	t.Helper()
	pair, err := NewCertificate("CN=reporting", 2048, 365, noon)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

func TestANewCertificateSignsInFromPEMAndFromPFX(t *testing.T) {
	pair := newPair(t)
	text, err := pair.PEM()
	if err != nil {
		t.Fatal(err)
	}
	password := fob.NewSecret("correct horse")
	pfx, err := pair.PFX(password)
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]struct {
		data     string
		password fob.Secret
	}{"PEM": {text.Reveal(), fob.Secret{}}, "PFX": {pfx.Reveal(), password}} {
		parsed, err := fob.ParseCertificate([]byte(file.data), file.password)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if _, err := parsed.Assertion(appID, "https://login.microsoftonline.com/t/oauth2/v2.0/token", noon); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		c, err := ReadCertificate([]byte(file.data), file.password, noon)
		if err != nil || !c.HasKey || len(c.Findings) != 0 || c.KeyBits != 2048 || c.DaysLeft != 365 || !c.SelfSigned || c.Subject != "CN=reporting" {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
	if _, err := pair.PFX(fob.Secret{}); err == nil {
		t.Error("a PFX file without a password was made")
	}
}

func TestCertificatesThatMakeNoSenseAreNotMade(t *testing.T) {
	for _, tt := range []struct {
		subject    string
		bits, days int
	}{{"", 2048, 10}, {"CN=\x1b[2J", 2048, 10}, {"a", 1024, 10}, {"a", 8192, 10}, {"a", 2048, 0}, {"a", 2048, 40000}} {
		if _, err := NewCertificate(tt.subject, tt.bits, tt.days, noon); err == nil {
			t.Errorf("%+v was made", tt)
		}
	}
}

func TestThumbprintsAreTheOnesOfTheDocumentation(t *testing.T) {
	data, err := os.ReadFile("testdata/certificate.pem")
	if err != nil {
		t.Fatal(err)
	}
	// openssl x509 -in certificate.pem -noout -fingerprint -sha1 (and -sha256)
	c, err := ReadCertificate(data, fob.Secret{}, noon)
	if err != nil || c.SHA1 != opensslSHA1 || c.SHA256 != opensslSHA256 {
		t.Fatalf("%+v, %v", c, err)
	}
	if raw, _ := base64.RawURLEncoding.DecodeString(c.X5T); len(raw) != 20 {
		t.Error(c.X5T)
	}
	if raw, _ := base64.RawURLEncoding.DecodeString(c.X5TS256); len(raw) != 32 {
		t.Error(c.X5TS256)
	}
}

// selfSigned makes a certificate with what a test wants to be wrong.
func selfSigned(t *testing.T, key crypto.Signer, change func(*x509.Certificate)) []byte {
	t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "a"}, NotBefore: noon.Add(-time.Hour), NotAfter: noon.AddDate(1, 0, 0)}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestProblemsOfACertificateAreSaid(t *testing.T) {
	good := testKey()
	t.Setenv("GODEBUG", "rsa1024min=0")
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	nothing := func(*x509.Certificate) {}
	for name, tt := range map[string]struct {
		der  []byte
		want string
	}{
		"an EC key":      {selfSigned(t, curve, nothing), "EC key"},
		"a small key":    {selfSigned(t, small, nothing), "1024 bits"},
		"expired":        {selfSigned(t, good, func(c *x509.Certificate) { c.NotAfter = noon.Add(-48 * time.Hour) }), "expired 2 days ago"},
		"soon expired":   {selfSigned(t, good, func(c *x509.Certificate) { c.NotAfter = noon.AddDate(0, 0, 29) }), "expires in 29 days"},
		"not yet valid":  {selfSigned(t, good, func(c *x509.Certificate) { c.NotBefore = noon.AddDate(0, 0, 3) }), "not valid before in 3 days"},
		"another usage":  {selfSigned(t, good, func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageKeyEncipherment }), "digital signatures"},
		"SHA-1":          {selfSigned(t, good, func(c *x509.Certificate) { c.SignatureAlgorithm = x509.SHA1WithRSA }), "signed with SHA1-RSA"},
		"no private key": {selfSigned(t, good, nothing), "no private key"},
	} {
		c, err := ReadCertificate(tt.der, fob.Secret{}, noon)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		found := false
		for _, f := range c.Findings {
			found = found || strings.Contains(f.What, tt.want)
		}
		if !found {
			t.Errorf("%s: %+v", name, c.Findings)
		}
	}
}

func TestAKeyThatDoesNotBelongIsSeen(t *testing.T) {
	other, err := newPair(t).PEM()
	if err != nil {
		t.Fatal(err)
	}
	key, _ := pem.Decode([]byte(other.Reveal()))
	c, err := ReadCertificate(append(pem.EncodeToMemory(key), newPair(t).CertificatePEM()...), fob.Secret{}, noon)
	if err != nil || !strings.Contains(c.Summary, "cannot sign in") || !strings.Contains(c.Findings[0].What, "does not belong") {
		t.Fatalf("%+v, %v", c, err)
	}
}

func TestFilesThatAreNoCertificateAreRefused(t *testing.T) {
	pair := newPair(t)
	pfx, err := pair.PFX(fob.NewSecret("right"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := pair.PEM()
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(key.Reveal()))
	for name, tt := range map[string]struct {
		data, password, want string
	}{
		"text":            {"hello", "", "neither PEM"},
		"nothing":         {"", "", "neither PEM"},
		"wrong password":  {pfx.Reveal(), "wrong", "does not open"},
		"no password":     {pfx.Reveal(), "", "wants a password"},
		"only a key":      {string(pem.EncodeToMemory(block)), "", "no certificate"},
		"too large":       {strings.Repeat("a", 5<<20), "", "4 MiB"},
		"broken PEM part": {"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "", "certificate"},
	} {
		if _, err := ReadCertificate([]byte(tt.data), fob.NewSecret(tt.password), noon); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAKeyFileIsForItsOwnerAndNeverReplaced(t *testing.T) {
	name := filepath.Join(t.TempDir(), "key.pem")
	if err := WriteSecret(name, fob.NewSecret("first")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(name); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if err := WriteSecret(name, fob.NewSecret("second")); err == nil || !strings.Contains(err.Error(), "already there") {
		t.Error(err)
	}
	if content, _ := os.ReadFile(name); string(content) != "first" {
		t.Errorf("%q", content)
	}
}

func TestTheRegistrationCarriesTheCertificateAndNoKey(t *testing.T) {
	pair := newPair(t)
	r, err := Register(pair.Certificate, appID, noon)
	if err != nil {
		t.Fatal(err)
	}
	var body struct {
		KeyCredentials []struct {
			Type, Usage, Key, CustomKeyIdentifier string
			EndDateTime                           time.Time
		} `json:"keyCredentials"`
	}
	if err := json.Unmarshal(r.Body, &body, json.MatchCaseInsensitiveNames(true)); err != nil {
		t.Fatal(err)
	}
	k := body.KeyCredentials[0]
	der, _ := base64.StdEncoding.DecodeString(k.Key)
	cert, err := x509.ParseCertificate(der)
	if err != nil || !cert.Equal(pair.Certificate) || k.Type != "AsymmetricX509Cert" || k.Usage != "Verify" || !k.EndDateTime.Equal(pair.Certificate.NotAfter) {
		t.Fatalf("%+v, %v", k, err)
	}
	if !strings.Contains(r.URL, appID) || r.Method != "PATCH" {
		t.Error(r.Method, r.URL)
	}
	if _, err := Register(pair.Certificate, "')/x", noon); err == nil {
		t.Error("a client id that is none was taken")
	}
}

const (
	opensslSHA1   = "D079A99DD833BB12F31D37D797040E4FDE1ABA88"
	opensslSHA256 = "6E293355F1B46B3B993B3D9548AD1A53B0E06099A6E7567524E62B1D31EBB7BB"
)
