package insight

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"os"
	"strings"
	"time"

	"github.com/fobauth/fob"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"software.sslmate.com/src/go-pkcs12"

	"github.com/fobauth/fob/internal/pfx"
)

// Certificate is a certificate as Entra looks at it.
type Certificate struct {
	Summary    string    `json:"summary"`
	Subject    string    `json:"subject"`
	Issuer     string    `json:"issuer"`
	Serial     string    `json:"serial"`
	NotBefore  *Moment   `json:"notBefore"`
	NotAfter   *Moment   `json:"notAfter"`
	DaysLeft   int       `json:"daysLeft"`
	KeyType    string    `json:"keyType"`
	KeyBits    int       `json:"keyBits"`
	Signature  string    `json:"signatureAlgorithm"`
	Usage      []string  `json:"usage,omitempty"`
	SelfSigned bool      `json:"selfSigned"`
	HasKey     bool      `json:"hasPrivateKey"`
	X5T        string    `json:"x5t"`      // SHA-1, base64url
	X5TS256    string    `json:"x5t#S256"` // SHA-256, base64url
	SHA1       string    `json:"sha1"`     // hexadecimal, as the portal shows it
	SHA256     string    `json:"sha256"`   // hexadecimal
	Chain      []string  `json:"chain,omitempty"`
	Findings   []Finding `json:"findings,omitempty"`
}

const maxCertificateFile = 4 << 20

// ReadCertificate looks at a certificate file: PEM (with or without a private
// key), PFX or DER. Unlike [fob.ParseCertificate], which wants a pair that can
// sign in, it describes whatever is there and says what is wrong with it.
func ReadCertificate(data []byte, password fob.Secret, now time.Time) (*Certificate, error) {
	if len(data) > maxCertificateFile {
		return nil, errors.New("the file is larger than 4 MiB: it is no certificate")
	}
	found, err := readCertificates(data, password)
	if err != nil {
		return nil, err
	}
	if len(found.certs) == 0 {
		return nil, errors.New("the file has a private key but no certificate; put the certificate beside the key")
	}
	leaf, belongs := found.certs[0], false
	if found.key != nil {
		for i, cert := range found.certs {
			if public, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); ok && public.Equal(found.key.Public()) {
				found.certs[0], found.certs[i] = cert, found.certs[0]
				leaf, belongs = cert, true
				break
			}
		}
	}
	c := describe(leaf, now)
	c.HasKey = found.key != nil || found.locked
	for _, cert := range found.certs[1:] {
		c.Chain = append(c.Chain, tidy(cert.Subject.String()))
	}
	switch {
	case found.key != nil && !belongs:
		c.Findings = append(c.Findings, Finding{Problem, "the private key does not belong to the certificate", "whatever it signs is refused (AADSTS700027)", "export key and certificate together", ""})
	case found.locked:
		c.Findings = append(c.Findings, Finding{Problem, "the private key is encrypted inside the PEM file", "fob cannot use it like this", "make a PFX file of it, whose password fob takes", "openssl pkcs12 -export -in FILE -out cert.pfx"})
	case found.key == nil:
		c.Findings = append(c.Findings, Finding{Note, "there is no private key in the file", "it can be registered, but not sign in", "", ""})
	}
	c.Summary = c.verdict()
	return c, nil
}

type certificateFile struct {
	certs  []*x509.Certificate
	key    crypto.Signer
	locked bool // there is a key, encrypted
}

func readCertificates(data []byte, password fob.Secret) (certificateFile, error) {
	var f certificateFile
	block, _ := pem.Decode(data)
	if block == nil {
		if cert, err := x509.ParseCertificate(data); err == nil {
			f.certs = []*x509.Certificate{cert}
			return f, nil
		}
		var err error
		f.key, f.certs, err = pfx.Decode(data, password.Reveal())
		return f, err
	}
	for rest := data; len(f.certs) < 100; {
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch {
		case block.Type == "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return f, fmt.Errorf("reading a certificate of the PEM file: %w", err)
			}
			f.certs = append(f.certs, cert)
		case block.Type == "ENCRYPTED PRIVATE KEY", block.Headers["DEK-Info"] != "":
			f.locked = true
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			for _, parse := range []func([]byte) (any, error){
				x509.ParsePKCS8PrivateKey,
				func(b []byte) (any, error) { return x509.ParsePKCS1PrivateKey(b) },
				func(b []byte) (any, error) { return x509.ParseECPrivateKey(b) },
			} {
				if parsed, err := parse(block.Bytes); err == nil {
					f.key, _ = parsed.(crypto.Signer)
				}
			}
			if f.key == nil {
				return f, errors.New("the PEM file's private key cannot be read")
			}
		}
	}
	if len(f.certs) == 0 && f.key == nil && !f.locked {
		return f, errors.New("the PEM file has neither a certificate nor a private key")
	}
	return f, nil
}

func describe(cert *x509.Certificate, now time.Time) *Certificate {
	short, long := sha1.Sum(cert.Raw), sha256.Sum256(cert.Raw)
	c := &Certificate{
		Subject: tidy(cert.Subject.String()), Issuer: tidy(cert.Issuer.String()), Serial: colons(cert.SerialNumber.Bytes()),
		NotBefore: momentAt(cert.NotBefore.Unix(), now), NotAfter: momentAt(cert.NotAfter.Unix(), now),
		DaysLeft: int(cert.NotAfter.Sub(now).Hours() / 24), Signature: cert.SignatureAlgorithm.String(),
		SelfSigned: bytes.Equal(cert.RawSubject, cert.RawIssuer), Usage: usages(cert),
		X5T: base64.RawURLEncoding.EncodeToString(short[:]), X5TS256: base64.RawURLEncoding.EncodeToString(long[:]),
		SHA1: strings.ToUpper(hex.EncodeToString(short[:])), SHA256: strings.ToUpper(hex.EncodeToString(long[:])),
	}
	say := func(s Severity, what, why, do, try string) {
		c.Findings = append(c.Findings, Finding{s, what, why, do, try})
	}
	const renew = "fob cert new"
	switch public := cert.PublicKey.(type) {
	case *rsa.PublicKey:
		c.KeyType, c.KeyBits = "RSA", public.N.BitLen()
		switch {
		case c.KeyBits < 2048:
			say(Problem, fmt.Sprintf("the RSA key has %d bits", c.KeyBits), "Entra wants 2048 or more", "make a new certificate", renew)
		case c.KeyBits > 4096:
			say(Note, fmt.Sprintf("the RSA key has %d bits", c.KeyBits), "every sign-in takes longer, for no gain", "", "")
		}
	case *ecdsa.PublicKey:
		c.KeyType, c.KeyBits = "EC "+public.Curve.Params().Name, public.Curve.Params().BitSize
		say(Problem, "the key is an EC key", "Entra takes RSA keys only for client certificates", "make a certificate with an RSA key", renew)
	default:
		c.KeyType = cert.PublicKeyAlgorithm.String()
		say(Problem, "the key is no RSA key", "Entra takes RSA keys only for client certificates", "make a certificate with an RSA key", renew)
	}
	switch left := cert.NotAfter.Sub(now); {
	case left <= 0:
		say(Problem, "the certificate expired "+relative(left), "Entra refuses what it signs (AADSTS700027)", "make and register a new one", renew)
	case left < 30*24*time.Hour:
		say(Warning, "the certificate expires "+relative(left), "sign-in stops that day", "register a new one now; both work side by side", renew)
	}
	if wait := cert.NotBefore.Sub(now); wait > 0 {
		say(Problem, "the certificate is not valid before "+relative(wait), "Entra refuses what it signs until then", "wait, or compare this machine's clock with the real time", "fob doctor clock")
	}
	switch cert.SignatureAlgorithm {
	case x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.MD5WithRSA, x509.DSAWithSHA1:
		say(Warning, "the certificate is signed with "+c.Signature, "the digest is broken, and policies refuse it; Entra itself looks at the key only", "make a new one", renew)
	}
	if cert.KeyUsage != 0 && cert.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		say(Warning, "the certificate is not for digital signatures (key usage)", "some key stores refuse to sign with it", "make one with the usage digitalSignature", renew)
	}
	return c
}

func colons(b []byte) string {
	text := strings.ToUpper(hex.EncodeToString(b))
	var pairs []string
	for i := 0; i+1 < len(text); i += 2 {
		pairs = append(pairs, text[i:i+2])
	}
	return strings.Join(pairs, ":")
}

func usages(cert *x509.Certificate) []string {
	var all []string
	for _, u := range []struct {
		bit  x509.KeyUsage
		name string
	}{{x509.KeyUsageDigitalSignature, "digital signature"}, {x509.KeyUsageContentCommitment, "content commitment"},
		{x509.KeyUsageKeyEncipherment, "key encipherment"}, {x509.KeyUsageDataEncipherment, "data encipherment"}, {x509.KeyUsageCertSign, "certificate signing"}, {x509.KeyUsageCRLSign, "CRL signing"}} {
		if cert.KeyUsage&u.bit != 0 {
			all = append(all, u.name)
		}
	}
	for _, u := range cert.ExtKeyUsage {
		switch u {
		case x509.ExtKeyUsageClientAuth:
			all = append(all, "client authentication")
		case x509.ExtKeyUsageServerAuth:
			all = append(all, "server authentication")
		}
	}
	return all
}

func (c *Certificate) verdict() string {
	worst := OK
	for _, f := range c.Findings {
		switch {
		case f.Severity == Problem:
			worst = Problem
		case f.Severity == Warning && worst != Problem:
			worst = Warning
		}
	}
	switch {
	case worst == Problem:
		return "This certificate cannot sign in: " + c.Subject
	case worst == Warning:
		return "This certificate works, but look at the warnings: " + c.Subject
	case !c.HasKey:
		return "This certificate can be registered with an app: " + c.Subject
	}
	return "This certificate can sign in: " + c.Subject
}

// Render writes the certificate for people.
func (c *Certificate) Render(w io.Writer, style Style) error {
	p := newPage(w, style)
	p.title(c.Summary)
	p.blank()
	const size = 11
	p.field("subject", size, c.Subject)
	if c.SelfSigned {
		p.field("issuer", size, "itself (self-signed)")
	} else {
		p.field("issuer", size, c.Issuer)
	}
	p.field("serial", size, c.Serial)
	p.field("valid from", size, c.NotBefore.text())
	p.field("valid until", size, c.NotAfter.text())
	key := c.KeyType
	if c.KeyBits > 0 {
		key += fmt.Sprintf(", %d bits", c.KeyBits)
	}
	p.field("key", size, key)
	p.field("private key", size, map[bool]string{true: "in the file", false: "not in the file"}[c.HasKey])
	p.field("signed with", size, c.Signature)
	p.field("usage", size, strings.Join(c.Usage, ", "))
	p.field("chain", size, strings.Join(c.Chain, "; "))
	p.section("Thumbprints")
	p.field("x5t#S256", size, c.X5TS256+" (the one that assertions carry)")
	p.field("x5t", size, c.X5T+" (older form, SHA-1)")
	p.field("SHA-1", size, c.SHA1+" (as the portal shows it)")
	p.field("SHA-256", size, c.SHA256)
	if len(c.Findings) > 0 {
		p.section("Worth knowing")
		p.findings(c.Findings)
	}
	return p.err
}

// NewCertificate makes an RSA key of bits (2048 to 4096) and a self-signed
// certificate for it, valid from now for days (1 to 3650). Subject is a common
// name, "fob on build-7", or begins with "CN=".
func NewCertificate(subject string, bits, days int, now time.Time) (*KeyPair, error) {
	name := strings.TrimSpace(strings.TrimPrefix(subject, "CN="))
	switch {
	case name == "" || name != clean(name, 64):
		return nil, errors.New("the subject is a name of at most 64 characters, like CN=reporting")
	case bits != 2048 && bits != 3072 && bits != 4096:
		return nil, fmt.Errorf("an RSA key of %d bits is not made; choose 2048, 3072 or 4096", bits)
	case days < 1 || days > 3650:
		return nil, fmt.Errorf("a certificate for %d days is not made; choose 1 to 3650", days)
	}
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		return nil, fmt.Errorf("making the key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("making the serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial.Add(serial, big.NewInt(1)),
		Subject:      pkix.Name{CommonName: name},
		// A few minutes back, for servers whose clocks are behind.
		NotBefore: now.Add(-clockSkew).UTC().Truncate(time.Second), NotAfter: now.AddDate(0, 0, days).UTC().Truncate(time.Second),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true, SignatureAlgorithm: x509.SHA256WithRSA,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("making the certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &KeyPair{cert, key}, nil
}

// KeyPair is a new certificate and its private key.
type KeyPair struct {
	Certificate *x509.Certificate
	Key         *rsa.PrivateKey
}

// PEM returns key and certificate in one PEM text: what --certificate takes.
// It is as secret as the key in it.
func (k *KeyPair) PEM() (fob.Secret, error) {
	der, err := x509.MarshalPKCS8PrivateKey(k.Key)
	if err != nil {
		return fob.Secret{}, fmt.Errorf("writing the key: %w", err)
	}
	key := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	return fob.NewSecret(string(key) + string(k.CertificatePEM())), nil
}

// CertificatePEM returns the certificate alone: what is uploaded.
func (k *KeyPair) CertificatePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: k.Certificate.Raw})
}

// PFX returns key and certificate as a PKCS #12 file that opens with password
// (AES-256, PBKDF2).
func (k *KeyPair) PFX(password fob.Secret) (fob.Secret, error) {
	if password.IsZero() {
		return fob.Secret{}, errors.New("a PFX file without a password protects nothing; give one (--certificate-password-file)")
	}
	data, err := pkcs12.Modern.Encode(k.Key, k.Certificate, nil, password.Reveal())
	if err != nil {
		return fob.Secret{}, fmt.Errorf("writing the PFX file: %w", err)
	}
	return fob.NewSecret(string(data)), nil
}

// WriteSecret writes content to a new file that only its owner can read. It
// never replaces a file: the key in it may be the only copy.
func WriteSecret(name string, content fob.Secret) error {
	return writeNew(name, []byte(content.Reveal()), 0o600)
}

// WritePublic writes content that is no secret to a new file. It never
// replaces a file.
func WritePublic(name string, content []byte) error { return writeNew(name, content, 0o644) }

func writeNew(name string, content []byte, mode os.FileMode) (err error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s is already there and is not replaced; choose another name (--out)", name)
	}
	if err != nil {
		return err
	}
	defer func() {
		if closed := f.Close(); err == nil {
			err = closed
		}
		if err != nil {
			os.Remove(name) // half a key is worse than none
		}
	}()
	if _, err = f.Write(content); err != nil {
		return err
	}
	return f.Sync()
}

// Registration says how a certificate is made known to an app registration.
type Registration struct {
	Certificate *Certificate `json:"certificate"`
	Steps       []string     `json:"steps"`
	// Method, URL and Body are the call to Microsoft Graph that does it.
	Method string         `json:"method"`
	URL    string         `json:"url"`
	Body   jsontext.Value `json:"body"`
}

// Register says how to register cert with the app that has the client id
// appID; an empty one leaves a gap to fill. The PATCH replaces all certificates
// of the app, so it says how to keep those that are there.
func Register(cert *x509.Certificate, appID string, now time.Time) (*Registration, error) {
	if appID != "" && !isGUID(appID) {
		return nil, fmt.Errorf("%q is no client id: it is a GUID", clean(appID, 60))
	}
	c := describe(cert, now)
	c.Summary = c.verdict()
	thumbprint := sha1.Sum(cert.Raw)
	body, err := json.Marshal(map[string]any{"keyCredentials": []any{map[string]any{
		"type": "AsymmetricX509Cert", "usage": "Verify", "displayName": c.Subject,
		"key":                 base64.StdEncoding.EncodeToString(cert.Raw),
		"customKeyIdentifier": base64.StdEncoding.EncodeToString(thumbprint[:]),
		"startDateTime":       cert.NotBefore.UTC().Format(time.RFC3339), "endDateTime": cert.NotAfter.UTC().Format(time.RFC3339),
	}}}, json.Deterministic(true), jsontext.WithIndent("  "))
	if err != nil {
		return nil, err
	}
	return &Registration{
		Certificate: c,
		Steps: []string{
			"Entra admin center: App registrations, your app, Certificates & secrets, Certificates, Upload certificate. Upload the certificate file, not the key.",
			"Compare the thumbprint there with SHA-1 above.",
			"Or send the PATCH below to Microsoft Graph (Application.ReadWrite.OwnedBy or All). It replaces the whole list: add the certificates that must stay, as GET shows them.",
		},
		Method: "PATCH",
		URL:    "https://graph.microsoft.com/v1.0/applications(appId='" + first(appID, "YOUR-CLIENT-ID") + "')",
		Body:   body,
	}, nil
}

// Render writes the registration for people.
func (r *Registration) Render(w io.Writer, style Style) error {
	if err := r.Certificate.Render(w, style); err != nil {
		return err
	}
	p := newPage(w, style)
	p.section("Register it")
	for i, step := range r.Steps {
		p.hang(fmt.Sprintf("  %d. ", i+1), ToneLabel, step)
	}
	p.blank()
	p.try(2, r.Method+" "+r.URL)
	// As it is, to be copied: the lines are fob's own and have no foreign text
	// but the base64 of the certificate and its cleaned name.
	for l := range strings.SplitSeq(string(r.Body), "\n") {
		p.line("  " + strings.ReplaceAll(l, "\t", "  "))
	}
	return p.err
}
