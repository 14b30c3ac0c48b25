package fob

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"github.com/fobauth/fob/internal/pfx"
)

// Credential is how a confidential client proves who it is: a [ClientSecret],
// a [Certificate], or an assertion: an [AssertionFile], a [ClientAssertion] or
// any [Assertion]. A public client has none.
//
// A stored token is handed out to the credential that got it, and to its like:
// a wrong secret is refused by the server and not covered up by the token that
// the right one got. Assertions are alike if they name the same issuer, subject
// and audience, so that the next one of a CI system finds the token. An
// Assertion gets every stored token: to call it may take a request of its own.
type Credential interface {
	// authenticate adds the proof for the token endpoint audience to form.
	authenticate(ctx context.Context, c *Client, audience string, form url.Values) error
	// mark tells the credential from others without giving it away. It stands
	// inside the sealed record of the tokens that the credential got. Empty means
	// that nothing can be told.
	mark() string
}

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// ClientSecret is a secret that was made for the app registration: its value,
// not its id.
type ClientSecret struct{ Secret }

func (s ClientSecret) authenticate(_ context.Context, _ *Client, _ string, form url.Values) error {
	if s.IsZero() {
		return errors.New("the client secret is empty; the variable or file it came from may be unset")
	}
	form.Set("client_secret", s.Reveal())
	return nil
}

func (s ClientSecret) mark() string { return "secret " + digest(s.Reveal()) }

// Assertion is a function that returns a signed JWT of somebody else whom the
// app registration trusts (a federated credential), or one signed by a key
// that fob does not hold. It is called for every exchange, and only then, so
// that short-lived assertions are always fresh. One in a file is an
// [AssertionFile].
type Assertion func(ctx context.Context) (Secret, error)

func (a Assertion) authenticate(ctx context.Context, c *Client, audience string, form url.Values) error {
	assertion, err := a(ctx)
	if err != nil {
		return err
	}
	return ClientAssertion{assertion}.authenticate(ctx, c, audience, form)
}

func (a Assertion) mark() string { return "" } // a stored token is to save the call

// ClientAssertion is a client assertion that was made elsewhere: a JWT that is
// sent as it is, for as long as it lives.
type ClientAssertion struct{ Secret }

func (a ClientAssertion) authenticate(_ context.Context, _ *Client, _ string, form url.Values) error {
	switch {
	case a.IsZero():
		return errors.New("the client assertion is empty")
	case !isJWT(a.Reveal()):
		return errors.New("the client assertion is not a JWT (three parts with dots between)")
	}
	form.Set("client_assertion_type", assertionType)
	form.Set("client_assertion", a.Reveal())
	return nil
}

func (a ClientAssertion) mark() string { return "assertion " + digest(assertedBy(a.Reveal())...) }

// Certificate signs an assertion for every exchange with the private key of a
// certificate that is registered with the app
// (https://learn.microsoft.com/entra/identity-platform/certificate-credentials).
// [ParseCertificate] makes one from a PEM or PFX file.
type Certificate struct {
	// Leaf is the certificate itself, with an RSA key.
	Leaf *x509.Certificate
	// Intermediates follow the leaf in the x5c header if SendChain is set.
	Intermediates []*x509.Certificate
	// Key is the private key. It may live in hardware; for PS256 it must be
	// able to make RSA-PSS signatures. Encoders leave it out.
	Key crypto.Signer `json:"-" xml:"-" yaml:"-" toml:"-"`
	// Algorithm is "PS256" with the SHA-256 thumbprint, or "RS256" with the
	// SHA-1 thumbprint, the form of older scripts and of AD FS. Empty is PS256.
	Algorithm string
	// SendChain puts the certificate and its intermediates into the assertion,
	// which subject name and issuer authentication needs.
	SendChain bool
}

// assertionLife is how long an assertion is good for. Microsoft advises 5 to
// 10 minutes.
const assertionLife = 10 * time.Minute

func (c *Certificate) authenticate(_ context.Context, client *Client, audience string, form url.Values) error {
	assertion, err := c.Assertion(client.ID, audience, client.now())
	if err != nil {
		return err
	}
	form.Set("client_assertion_type", assertionType)
	form.Set("client_assertion", assertion.Reveal())
	return nil
}

func (c *Certificate) mark() string {
	if c.Leaf == nil {
		return ""
	}
	return "certificate " + digest(string(c.Leaf.Raw))
}

// Assertion signs a client assertion (RFC 7523) for the client id and the
// token endpoint audience, good from now on for ten minutes. [Client] does so
// by itself; the method is for those who send the assertion on their own.
func (c *Certificate) Assertion(clientID, audience string, now time.Time) (Secret, error) {
	if c.Leaf == nil || c.Key == nil {
		return Secret{}, errors.New("the certificate credential needs both the certificate and its private key")
	}
	if err := matches(c.Leaf, c.Key); err != nil {
		return Secret{}, err
	}
	header := map[string]any{"typ": "JWT"}
	var options crypto.SignerOpts
	switch c.Algorithm {
	case "", "PS256":
		sum := sha256.Sum256(c.Leaf.Raw)
		header["alg"], header["x5t#S256"] = "PS256", base64.RawURLEncoding.EncodeToString(sum[:])
		// RFC 7518 section 3.5 fixes the length of the salt; the longest that
		// fits, which signers choose when they are left alone, does not verify
		// everywhere.
		options = &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	case "RS256":
		sum := sha1.Sum(c.Leaf.Raw)
		header["alg"], header["x5t"] = "RS256", base64.RawURLEncoding.EncodeToString(sum[:])
		options = crypto.SHA256
	default:
		return Secret{}, fmt.Errorf("assertion algorithm %q is not PS256 or RS256", clean(c.Algorithm))
	}
	if c.SendChain {
		chain := []string{base64.StdEncoding.EncodeToString(c.Leaf.Raw)}
		for _, cert := range c.Intermediates {
			chain = append(chain, base64.StdEncoding.EncodeToString(cert.Raw))
		}
		header["x5c"] = chain
	}
	payload := map[string]any{
		"aud": audience, "iss": clientID, "sub": clientID, "jti": uuid.NewString(),
		"nbf": now.Unix(), "iat": now.Unix(), "exp": now.Add(assertionLife).Unix(),
	}
	var parts [2]string
	for i, part := range []any{header, payload} {
		text, err := json.Marshal(part, json.Deterministic(true))
		if err != nil {
			return Secret{}, err
		}
		parts[i] = base64.RawURLEncoding.EncodeToString(text)
	}
	signed := parts[0] + "." + parts[1]
	sum := sha256.Sum256([]byte(signed))
	signature, err := c.Key.Sign(rand.Reader, sum[:], options)
	if err != nil {
		return Secret{}, fmt.Errorf("signing the client assertion with %s: %w", header["alg"], err)
	}
	return NewSecret(signed + "." + base64.RawURLEncoding.EncodeToString(signature)), nil
}

// matches reports why key cannot sign for cert.
func matches(cert *x509.Certificate, key crypto.Signer) error {
	public, ok := cert.PublicKey.(*rsa.PublicKey)
	switch {
	case !ok:
		return errors.New("the certificate's key is not RSA; Entra takes RSA keys of 2048 bits and more")
	case public.N.BitLen() < 2048:
		return fmt.Errorf("the certificate's RSA key has %d bits; Entra wants 2048 or more", public.N.BitLen())
	case !public.Equal(key.Public()):
		return errors.New("the private key does not belong to the certificate; export both together")
	}
	return nil
}

// ParseCertificate reads a certificate with its private key: PEM blocks in any
// order, or a PFX (PKCS #12) file opened with password. The first certificate
// that the key belongs to is the leaf, the others are intermediates. A PFX file
// that asks for more than ten million rounds of key derivation is refused.
func ParseCertificate(data []byte, password Secret) (*Certificate, error) {
	if block, _ := pem.Decode(data); block == nil {
		key, certs, err := pfx.Decode(data, password.Reveal())
		if err != nil {
			return nil, err
		}
		return assemble(key, certs, "PFX")
	}
	var key crypto.Signer
	var certs []*x509.Certificate
	for rest := data; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		switch {
		case block.Type == "CERTIFICATE":
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("reading a certificate of the PEM file: %w", err)
			}
			certs = append(certs, cert)
		case block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "":
			return nil, errors.New("the PEM file's private key is encrypted; use a PFX file (openssl pkcs12 -export -in cert.pem -out cert.pfx), whose password fob takes")
		case strings.HasSuffix(block.Type, "PRIVATE KEY"):
			if key != nil {
				return nil, errors.New("the PEM file has more than one private key; leave the one that belongs to the certificate")
			}
			var err error
			if key, err = parseKey(block); err != nil {
				return nil, err
			}
		}
	}
	return assemble(key, certs, "PEM")
}

func parseKey(block *pem.Block) (crypto.Signer, error) {
	var parsed any
	var err error
	switch block.Type {
	case "RSA PRIVATE KEY":
		parsed, err = x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		parsed, err = x509.ParseECPrivateKey(block.Bytes)
	default:
		parsed, err = x509.ParsePKCS8PrivateKey(block.Bytes)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the PEM file's private key: %w", err)
	}
	key, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a key of type %T cannot sign", parsed)
	}
	return key, nil
}

func assemble(key crypto.Signer, certs []*x509.Certificate, kind string) (*Certificate, error) {
	switch {
	case key == nil && len(certs) == 0:
		return nil, fmt.Errorf("the %s file has neither a certificate nor a private key", kind)
	case key == nil:
		return nil, fmt.Errorf("the %s file has no private key; export the certificate together with its key", kind)
	case len(certs) == 0:
		return nil, fmt.Errorf("the %s file has no certificate; put the certificate beside the key", kind)
	}
	for i, cert := range certs {
		if public, ok := cert.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); ok && public.Equal(key.Public()) {
			rest := append(append([]*x509.Certificate{}, certs[:i]...), certs[i+1:]...)
			if err := matches(cert, key); err != nil {
				return nil, err
			}
			return &Certificate{Leaf: cert, Intermediates: rest, Key: key}, nil
		}
	}
	return nil, fmt.Errorf("the private key of the %s file does not belong to any certificate in it", kind)
}
