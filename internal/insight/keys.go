package insight

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/internal/origin"
	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// KeySet is the public keys that may have signed a token, and the issuer they
// sign for. [ParseKeys] and [FetchKeys] make one.
type KeySet struct {
	keys   []key
	issuer string // from the metadata; "" for a key file
	origin string // for people: a host, or "the key file"
	// refused says why keys were left out.
	refused []string
}

type key struct {
	jose.JSONWebKey
	issuer     string // Entra's addition; may hold {tenantid}
	thumbprint string // x5t
}

const (
	maxKeys     = 1000
	maxKeyBytes = 1 << 20
	fetchTime   = 20 * time.Second
)

// ParseKeys reads a JSON web key set (RFC 7517), or a single key. Keys that no
// token should be signed with are left out: secret ones (anybody who can check
// such a signature can forge it), RSA below 2048 and above 8192 bits, keys for
// encryption. The error says why no key is left.
func ParseKeys(data []byte) (*KeySet, error) {
	if len(data) > maxKeyBytes {
		return nil, errors.New("the key set is larger than 1 MiB")
	}
	members, _, err := parseObject(data)
	if err != nil {
		return nil, fmt.Errorf("reading the key set: %w", err)
	}
	list := []jsontext.Value{data}
	if raw := (object(members)).raw("keys"); raw != nil {
		list = nil
		if err := json.Unmarshal(raw, &list); err != nil {
			return nil, errors.New("reading the key set: its member keys is no list")
		}
	}
	set := &KeySet{origin: "the key set"}
	for i, raw := range list {
		if i == maxKeys {
			return nil, fmt.Errorf("the key set has more than %d keys", maxKeys)
		}
		k, err := parseKey(raw)
		if err != nil {
			set.refused = append(set.refused, fmt.Sprintf("key %d: %v", i+1, err))
			continue
		}
		set.keys = append(set.keys, k)
	}
	if len(set.keys) == 0 {
		return nil, fmt.Errorf("the key set has no key that can verify a token: %s", tidy(strings.Join(set.refused, "; ")))
	}
	return set, nil
}

func parseKey(raw jsontext.Value) (key, error) {
	members, _, err := parseObject(raw)
	if err != nil {
		return key{}, err
	}
	o := object(members)
	if n := len(o.text("n")); n > 8192/6+8 {
		return key{}, errors.New("the RSA key has more than 8192 bits")
	}
	if ops := o.texts("key_ops"); o.has("key_ops") && !slices.Contains(ops, "verify") {
		return key{}, errors.New("it is not for verifying (key_ops)")
	}
	var k key
	if err := k.UnmarshalJSON(raw); err != nil {
		// Some sets carry certificates that do not parse; the key itself does.
		var bare []member
		for _, m := range members {
			if !strings.HasPrefix(m.name, "x5") {
				bare = append(bare, m)
			}
		}
		if err := k.UnmarshalJSON(compose(bare)); err != nil {
			return key{}, errors.New("it cannot be read")
		}
	}
	switch public := k.Key.(type) {
	case *rsa.PublicKey:
		if bits := public.N.BitLen(); bits < 2048 || bits > 8192 {
			return key{}, fmt.Errorf("the RSA key has %d bits; 2048 to 8192 are accepted", bits)
		}
	case *rsa.PrivateKey:
		k.JSONWebKey = k.Public()
	case *ecdsa.PublicKey:
	case *ecdsa.PrivateKey:
		k.JSONWebKey = k.Public()
	default:
		return key{}, errors.New("it is no RSA or EC key")
	}
	if k.Use == "enc" {
		return key{}, errors.New("it is for encryption (use)")
	}
	k.issuer, k.thumbprint = o.text("issuer"), o.text("x5t")
	return k, nil
}

func compose(members []member) []byte {
	var b strings.Builder
	b.WriteByte('{')
	for i, m := range members {
		if i > 0 {
			b.WriteByte(',')
		}
		name, _ := jsontext.AppendQuote(nil, m.name)
		b.Write(name)
		b.WriteByte(':')
		b.Write(m.value)
	}
	b.WriteByte('}')
	return []byte(b.String())
}

// FetchKeys gets the keys that an authority publishes, for tokens of the format
// version ("1.0" or "2.0"). It follows no redirect, reads at most 1 MiB, and
// takes the keys from an https address only (plain http on loopback).
func FetchKeys(ctx context.Context, client *http.Client, authority fob.Authority, version string) (*KeySet, error) {
	if err := authority.Check(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	endpoint := authority.MetadataEndpoint()
	if version == "1.0" {
		endpoint = strings.Replace(endpoint, "/v2.0/.well-known/", "/.well-known/", 1)
	}
	body, err := fetch(ctx, client, endpoint)
	if err != nil {
		return nil, err
	}
	members, _, err := parseObject(body)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", endpoint, err)
	}
	metadata := object(members)
	at, err := url.Parse(metadata.text("jwks_uri"))
	if err != nil || at.Scheme != "https" && !(at.Scheme == "http" && origin.IsLoopback(at.Hostname())) {
		return nil, fmt.Errorf("%s names no https address for its keys", endpoint)
	}
	body, err = fetch(ctx, client, at.String())
	if err != nil {
		return nil, err
	}
	set, err := ParseKeys(body)
	if err != nil {
		return nil, err
	}
	set.origin, set.issuer = at.Host, metadata.text("issuer")
	return set, nil
}

func fetch(ctx context.Context, client *http.Client, address string) ([]byte, error) {
	if client == nil {
		client = http.DefaultClient
	}
	bare := *client
	bare.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	bare.Jar = nil
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	resp, err := bare.Do(r)
	if err != nil {
		return nil, fmt.Errorf("fetching the signing keys: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("fetching the signing keys: %s answered HTTP %d; check the tenant and --authority-host", r.URL.Host, resp.StatusCode)
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxKeyBytes+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("fetching the signing keys: %w", err)
	case len(body) > maxKeyBytes:
		return nil, fmt.Errorf("fetching the signing keys: the answer of %s is larger than 1 MiB", r.URL.Host)
	}
	return body, nil
}

// candidates returns the keys that a header names. A header that names none
// leaves no choice only where there is one key.
func (s *KeySet) candidates(kid, thumbprint string) []key {
	const most = 4 // of one id; each costs a verification
	var found []key
	for _, k := range s.keys {
		switch {
		case len(found) == most:
		case kid != "" && k.KeyID == kid,
			kid == "" && thumbprint != "" && k.thumbprint == thumbprint,
			kid == "" && thumbprint == "" && len(s.keys) == 1,
			len(s.keys) == 1 && k.KeyID == "":
			found = append(found, k)
		}
	}
	return found
}

// KeyThumbprint returns the SHA-256 thumbprint of a JSON web key (RFC 7638) in
// base64url, as proof-of-possession tokens name it in cnf.
func KeyThumbprint(jwk []byte) (string, error) {
	set, err := ParseKeys(jwk)
	if err != nil {
		return "", err
	}
	sum, err := set.keys[0].Thumbprint(crypto.SHA256)
	return base64.RawURLEncoding.EncodeToString(sum), err
}

// CodeChallenge returns the S256 challenge of a PKCE verifier (RFC 7636
// section 4.2), to compare with the one of a recorded sign-in request.
func CodeChallenge(verifier fob.Secret) string {
	sum := sha256.Sum256([]byte(verifier.Reveal()))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
