package fob

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/fobauth/fob/internal/origin"
)

// IDClaims is what an ID token says about the person who signed in
// (https://learn.microsoft.com/entra/identity-platform/id-token-claims-reference).
type IDClaims struct {
	Issuer            string `json:"iss"`
	Audience          string `json:"aud"`
	Subject           string `json:"sub"`
	ObjectID          string `json:"oid"`
	Tenant            string `json:"tid"`
	Name              string `json:"name"`
	PreferredUsername string `json:"preferred_username"`
	Nonce             string `json:"nonce"`
	Version           string `json:"ver"`
	IssuedAt          int64  `json:"iat"`
	NotBefore         int64  `json:"nbf"`
	Expires           int64  `json:"exp"`
}

// DecodeIDToken reads the claims of an ID token without checking anything:
// not who signed it, not for whom, not when. Use [Client.VerifyIDToken] before
// you trust them.
func DecodeIDToken(raw Secret) (IDClaims, error) {
	var claims IDClaims
	parts := strings.Split(raw.Reveal(), ".")
	if len(parts) != 3 {
		return claims, errors.New("the ID token is no JWT: it does not have three parts")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return claims, errors.New("the ID token is no JWT: its payload is not base64url")
	}
	if err := decodeObject(payload, &claims); err != nil {
		return claims, fmt.Errorf("the ID token's payload cannot be read: %w", err)
	}
	return claims, nil
}

// clockSkew is how far two clocks may be apart.
const clockSkew = 5 * time.Minute

// VerifyIDToken checks an ID token of this client in full (OpenID Connect Core
// section 3.1.3.7): signed with RS256 by a key that the authority publishes,
// issued by the token's own tenant, for this client id, inside its times, and
// with the nonce of the sign-in if there was one. The cheap checks come first.
// The error says which check failed. Keys are fetched when they are first
// needed and again for an unknown key id, at most once a minute.
func (c *Client) VerifyIDToken(ctx context.Context, raw Secret, nonce string) (IDClaims, error) {
	return c.verifyIDToken(ctx, c.Authority, raw, nonce)
}

func (c *Client) verifyIDToken(ctx context.Context, authority Authority, raw Secret, nonce string) (IDClaims, error) {
	claims, err := DecodeIDToken(raw)
	if err != nil {
		return claims, err
	}
	now := c.now()
	switch {
	case claims.Audience != c.ID:
		return claims, fmt.Errorf("the ID token is for %q, not for this client", clean(claims.Audience))
	case claims.Expires == 0 || now.After(time.Unix(claims.Expires, 0).Add(clockSkew)):
		return claims, errors.New("the ID token has expired; if it is new, this machine's clock is ahead")
	case claims.NotBefore != 0 && now.Before(time.Unix(claims.NotBefore, 0).Add(-clockSkew)):
		return claims, errors.New("the ID token is not valid yet; this machine's clock is behind")
	case nonce != "" && claims.Nonce != nonce:
		return claims, errors.New("the ID token has another nonce: it does not belong to this sign-in")
	case claims.Tenant == "":
		return claims, errors.New("the ID token names no tenant (tid)")
	}
	header, signed, signature, err := splitSigned(raw)
	if err != nil {
		return claims, err
	}
	key, err := c.signingKey(ctx, authority, header.KeyID)
	if err != nil {
		return claims, err
	}
	digest := sha256.Sum256(signed)
	if rsa.VerifyPKCS1v15(key.public, crypto.SHA256, digest[:], signature) != nil {
		return claims, errors.New("the ID token's signature does not verify with the authority's key")
	}
	if want := strings.ReplaceAll(key.issuer, "{tenantid}", claims.Tenant); claims.Issuer != want {
		return claims, fmt.Errorf("the ID token's issuer is %q where %q was expected", clean(claims.Issuer), clean(want))
	}
	return claims, nil
}

// idHeader is the part of a JWS header (RFC 7515 section 4.1) that decides.
type idHeader struct {
	Algorithm string         `json:"alg"`
	KeyID     string         `json:"kid"`
	Critical  jsontext.Value `json:"crit"`
}

// splitSigned takes a JWS apart that is signed with RS256: the one algorithm
// allowed, which keeps "none" and HMAC with the public key out.
func splitSigned(raw Secret) (header idHeader, signed, signature []byte, err error) {
	text := []byte(raw.Reveal())
	dot, last := bytes.IndexByte(text, '.'), bytes.LastIndexByte(text, '.') // DecodeIDToken has seen that there are two
	content, err := base64.RawURLEncoding.DecodeString(string(text[:dot]))
	if err == nil {
		err = decodeObject(content, &header)
	}
	switch {
	case err != nil:
		return header, nil, nil, errors.New("the ID token is no JWT: its header cannot be read")
	case header.Algorithm != "RS256":
		return header, nil, nil, errors.New("the ID token is not signed with RS256")
	case header.Critical != nil:
		return header, nil, nil, errors.New("the ID token's header has extensions (crit) that are not known here")
	}
	signature, err = base64.RawURLEncoding.Strict().DecodeString(string(text[last+1:]))
	if err != nil {
		return header, nil, nil, errors.New("the ID token is no JWT: its signature is not base64url")
	}
	return header, text[:last], signature, nil
}

// checkSignIn verifies the ID token that came with a sign-in. Without one
// there is nothing to check: the access token is for the API to judge.
func (c *Client) checkSignIn(ctx context.Context, authority Authority, t *Token, nonce string) error {
	if t.ID.IsZero() {
		return nil
	}
	_, err := c.verifyIDToken(ctx, authority, t.ID, nonce)
	return err
}

// signingKey is a key of an authority and the issuer it signs for, which may
// hold the template {tenantid}.
type signingKey struct {
	public *rsa.PublicKey
	issuer string
}

// keyring is the keys of one authority as last fetched.
type keyring struct {
	fetches flights[struct{}] // one at a time

	mu      sync.Mutex // guards the fields below; not held while fetching
	keys    map[string]signingKey
	fetched time.Time
}

const (
	keyLife      = 24 * time.Hour // Microsoft asks for a look at least this often
	keyFetchRest = time.Minute    // between fetches for unknown key ids
)

func (c *Client) signingKey(ctx context.Context, authority Authority, id string) (signingKey, error) {
	endpoint := authority.MetadataEndpoint()
	ring, _ := c.keyrings.LoadOrStore(endpoint, new(keyring))
	k := ring.(*keyring)
	now := c.now()
	key, known, old := k.look(id, now)
	if old {
		_, err := k.fetches.share(ctx, "", func() (struct{}, error) {
			if _, _, old := k.look(id, now); !old {
				return struct{}{}, nil // somebody was faster
			}
			keys, err := c.fetchKeys(ctx, authority)
			if err == nil {
				k.mu.Lock()
				k.keys, k.fetched = keys, now
				k.mu.Unlock()
			}
			return struct{}{}, err
		})
		if err != nil {
			return signingKey{}, fmt.Errorf("fetching the authority's signing keys: %w", err)
		}
		key, known, _ = k.look(id, now)
	}
	if !known {
		return signingKey{}, fmt.Errorf("the ID token was signed with key %q, which %s does not publish", clean(id), hostOf(endpoint))
	}
	return key, nil
}

// look finds a key, and reports whether keys are to be fetched before its word
// is taken.
func (k *keyring) look(id string, now time.Time) (key signingKey, known, old bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	key, known = k.keys[id]
	age := now.Sub(k.fetched)
	return key, known, age >= keyLife || !known && age >= keyFetchRest
}

func (c *Client) fetchKeys(ctx context.Context, authority Authority) (map[string]signingKey, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, exchangeTime)
		defer cancel()
	}
	var metadata struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	if err := c.getJSON(ctx, authority.MetadataEndpoint(), &metadata); err != nil {
		return nil, err
	}
	at, err := url.Parse(metadata.Keys)
	if err != nil || at.Scheme != "https" && !(at.Scheme == "http" && origin.IsLoopback(at.Hostname())) {
		return nil, errors.New("the authority's metadata has no https address for its keys")
	}
	var set struct {
		Keys []struct {
			Type   string `json:"kty"`
			ID     string `json:"kid"`
			Use    string `json:"use"`
			N      string `json:"n"`
			E      string `json:"e"`
			Issuer string `json:"issuer"`
		} `json:"keys"`
	}
	if err := c.getJSON(ctx, metadata.Keys, &set); err != nil {
		return nil, err
	}
	keys := map[string]signingKey{}
	for _, k := range set.Keys {
		n, errN := base64.RawURLEncoding.DecodeString(k.N)
		e, errE := base64.RawURLEncoding.DecodeString(k.E)
		// One odd key does not spoil the others; n is bounded because the cost
		// of a verification grows with it.
		if k.Type != "RSA" || k.Use == "enc" || errN != nil || errE != nil || len(e) > 4 || len(n) < 256 || len(n) > 1024 {
			continue
		}
		public := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
		// The document of one tenant names its issuer, while its keys carry the
		// template: they sign for every tenant.
		issuer := metadata.Issuer
		if strings.Contains(issuer, "{tenantid}") {
			issuer = orElse(k.Issuer, issuer)
		}
		keys[k.ID] = signingKey{public, issuer}
	}
	if len(keys) == 0 {
		return nil, errors.New("the authority publishes no RSA keys")
	}
	return keys, nil
}

// getJSON reads a public document of an authority.
func (c *Client) getJSON(ctx context.Context, address string, into any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	status, header, body, err := c.roundTrip(r)
	switch {
	case err != nil:
		return err
	case status != http.StatusOK:
		refusal := &Error{Status: status, Host: r.URL.Host}
		if refusal.decode(body, func(s string) string { return s }) {
			return refusal
		}
		return &BadAnswerError{Host: r.URL.Host, Status: status, Why: notJSON(status, header, body)}
	}
	if err := decodeObject(body, into); err != nil {
		return &BadAnswerError{Host: r.URL.Host, Status: status, Why: err.Error()}
	}
	return nil
}

// accountOf says who a token answer is about: client_info names the account
// for good, the ID token has the names that people know. Both may be missing.
func accountOf(clientInfo, idToken string) Account {
	var a Account
	if claims, err := DecodeIDToken(NewSecret(idToken)); err == nil {
		a.Username, a.Name, a.Tenant = clean(claims.PreferredUsername), clean(claims.Name), clean(claims.Tenant)
		if claims.ObjectID != "" && claims.Tenant != "" {
			a.ID = claims.ObjectID + "." + claims.Tenant
		}
	}
	var info struct {
		UID  string `json:"uid"`
		UTID string `json:"utid"`
	}
	if data, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(clientInfo, "=")); err == nil &&
		json.Unmarshal(data, &info) == nil && info.UID != "" && info.UTID != "" {
		a.ID = info.UID + "." + info.UTID
		a.Tenant = orElse(a.Tenant, clean(info.UTID))
	}
	a.ID = strings.ToLower(clean(a.ID))
	return a
}
