package sts

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// signingKey signs tokens. Its id is the thumbprint of its certificate.
type signingKey struct {
	id      string // base64url(SHA-1(certificate)): kid and x5t
	private *rsa.PrivateKey
	cert    []byte // DER

	headerV1, headerV2 string // of a JWT, encoded
}

func newSigningKey(private *rsa.PrivateKey, cert []byte) *signingKey {
	thumb := sha1.Sum(cert)
	k := &signingKey{id: base64.RawURLEncoding.EncodeToString(thumb[:]), private: private, cert: cert}
	k.headerV1 = encodeSegment(fmt.Appendf(nil, `{"typ":"JWT","alg":"RS256","x5t":"%s","kid":"%s"}`, k.id, k.id))
	k.headerV2 = encodeSegment(fmt.Appendf(nil, `{"typ":"JWT","alg":"RS256","kid":"%s"}`, k.id))
	return k
}

// sign makes a JWT of claims.
func (k *signingKey) sign(version int, claims any) (string, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", err
	}
	header := k.headerV1
	if version == 2 {
		header = k.headerV2
	}
	signed := header + "." + encodeSegment(payload)
	digest := sha256.Sum256([]byte(signed))
	sig, err := rsa.SignPKCS1v15(nil, k.private, crypto.SHA256, digest[:])
	if err != nil {
		return "", err
	}
	return signed + "." + encodeSegment(sig), nil
}

func encodeSegment(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

//go:embed testonly-signing-key.pem
var testOnlyKeyFile []byte

// testOnlyKey is the key that every server starts with. Making one takes longer
// than starting the rest of the emulator, and a fixed one has a fixed id.
var testOnlyKey = sync.OnceValue(func() *signingKey {
	block, rest := pem.Decode(testOnlyKeyFile)
	cert, _ := pem.Decode(rest)
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		panic("sts: embedded signing key: " + err.Error())
	}
	return newSigningKey(private.(*rsa.PrivateKey), cert.Bytes)
})

// keyring holds the keys that tokens are verified with; the newest one signs.
type keyring struct {
	mu   sync.Mutex // orders rotations
	keys atomic.Pointer[[]*signingKey]
}

// maxKeys is how many keys the ring publishes. Tokens outlive no more than a
// few rotations.
const maxKeys = 8

func (k *keyring) start() { k.keys.Store(&[]*signingKey{testOnlyKey()}) }

func (k *keyring) current() *signingKey { return (*k.keys.Load())[0] }

func (k *keyring) find(id string) (*signingKey, bool) {
	for _, key := range *k.keys.Load() {
		if key.id == id {
			return key, true
		}
	}
	return nil, false
}

// RotateKeys makes a new signing key. The old ones stay published, so tokens
// that they signed stay good.
func (s *Server) RotateKeys() error {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return fmt.Errorf("make a signing key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return fmt.Errorf("make a signing key: %w", err)
	}
	now := s.World.Now()
	template := x509.Certificate{SerialNumber: serial, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(5, 0, 0),
		Subject: pkix.Name{Organization: []string{"fob emulator - TEST ONLY, WORTHLESS"}, CommonName: "fob emulator token signing"}}
	cert, err := x509.CreateCertificate(rand.Reader, &template, &template, &private.PublicKey, private)
	if err != nil {
		return fmt.Errorf("make a signing key: %w", err)
	}
	s.keys.mu.Lock()
	defer s.keys.mu.Unlock()
	ring := append([]*signingKey{newSigningKey(private, cert)}, *s.keys.keys.Load()...)
	if len(ring) > maxKeys {
		ring = ring[:maxKeys]
	}
	s.keys.keys.Store(&ring)
	return nil
}

type jwk struct {
	Type   string   `json:"kty"`
	Use    string   `json:"use"`
	ID     string   `json:"kid"`
	X5T    string   `json:"x5t"`
	N      string   `json:"n"`
	E      string   `json:"e"`
	X5C    []string `json:"x5c"`
	Cloud  string   `json:"cloud_instance_name,omitempty"`
	Issuer string   `json:"issuer,omitempty"`
}

func (s *Server) publishKeysV1(w http.ResponseWriter, r *http.Request, at authority) {
	s.publishKeys(w, r, "")
}

// publishKeysV2 names in each key the issuer that it is good for.
func (s *Server) publishKeysV2(w http.ResponseWriter, r *http.Request, at authority) {
	tenant := "{tenantid}"
	if at.Tenant != nil {
		tenant = at.Tenant.ID
	}
	s.publishKeys(w, r, at.issuer(tenant, 2))
}

func (s *Server) publishKeys(w http.ResponseWriter, r *http.Request, issuer string) {
	set := struct {
		Keys []jwk `json:"keys"`
	}{}
	for _, k := range *s.keys.keys.Load() {
		key := jwk{Type: "RSA", Use: "sig", ID: k.id, X5T: k.id, Issuer: issuer,
			N: encodeSegment(k.private.N.Bytes()), E: encodeSegment(big.NewInt(int64(k.private.E)).Bytes()),
			X5C: []string{base64.StdEncoding.EncodeToString(k.cert)}}
		if issuer != "" {
			key.Cloud = "microsoftonline.com"
		}
		set.Keys = append(set.Keys, key)
	}
	s.publish(w, r, set)
}

// VerifyAccessToken returns the claims of a token of this server, after
// checking its signature and its times by the world's clock. Whom it is for is
// the caller's business.
func (s *Server) VerifyAccessToken(raw string) (map[string]any, error) {
	payload, err := s.verify(raw)
	if err != nil {
		return nil, err
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		return nil, errors.New("token claims are not a JSON object")
	}
	now := float64(s.World.Now().Unix())
	nbf, _ := claims["nbf"].(float64)
	exp, _ := claims["exp"].(float64)
	switch {
	case now >= exp:
		return nil, ErrExpired
	case now < nbf-clockSkew.Seconds():
		return nil, errors.New("token is not valid yet")
	}
	return claims, nil
}

// ErrExpired says that a token of this server is too old.
var ErrExpired = errors.New("token has expired")

// clockSkew is how far the clocks of two machines may be apart.
const clockSkew = 5 * time.Minute

// verify returns the payload of a token that one of the server's keys signed.
func (s *Server) verify(raw string) ([]byte, error) {
	signed, sig, ok := cutLast(raw, ".")
	header, payload, ok2 := strings.Cut(signed, ".")
	if !ok || !ok2 || strings.Contains(payload, ".") {
		return nil, errors.New("token is not a JWT of three parts")
	}
	var h struct {
		Alg, Kid string
	}
	text, err := base64.RawURLEncoding.DecodeString(header)
	if err == nil {
		err = json.NewDecoder(bytes.NewReader(text)).Decode(&h)
	}
	if err != nil {
		return nil, errors.New("token header is not base64url of JSON")
	}
	key, ok := s.keys.find(h.Kid)
	if h.Alg != "RS256" || !ok {
		return nil, errors.New("token is not signed by a key of this server")
	}
	sum, err := base64.RawURLEncoding.DecodeString(sig)
	if err != nil {
		return nil, errors.New("token signature is not base64url")
	}
	digest := sha256.Sum256([]byte(signed))
	if rsa.VerifyPKCS1v15(&key.private.PublicKey, crypto.SHA256, digest[:], sum) != nil {
		return nil, errors.New("token signature is invalid")
	}
	return base64.RawURLEncoding.DecodeString(payload)
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}
