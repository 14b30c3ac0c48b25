package graphsim

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/big"
	"strconv"
	"strings"
	"time"
)

// A token that is bound to a key (its claim cnf) is worth nothing by itself: it
// travels in a signed HTTP request (draft-ietf-oauth-signed-http-request), a JWT
// that its holder signs for one request: "Authorization: PoP …". The claims are
// those that Microsoft's libraries write.
type signedRequest struct {
	AccessToken string  `json:"at"`
	Time        float64 `json:"ts"`
	Method      string  `json:"m"`
	Host        string  `json:"u"`
	Path        string  `json:"p"`
	Nonce       string  `json:"nonce"`
	Holder      struct {
		Key struct {
			Type     string `json:"kty"`
			Modulus  string `json:"n"`
			Exponent string `json:"e"`
		} `json:"jwk"`
	} `json:"cnf"`
}

const (
	proofLife  = 5 * time.Minute // of a signed request, and of a nonce
	maxModulus = 8192 / 8        // of a key; larger ones take seconds to verify with
)

// key is the public key that the request says it was signed with, and its
// thumbprint (RFC 7638), by which tokens name it.
func (q signedRequest) key() (key *rsa.PublicKey, thumbprint string, err error) {
	k := q.Holder.Key
	n, err1 := base64.RawURLEncoding.DecodeString(strings.TrimRight(k.Modulus, "="))
	e, err2 := base64.RawURLEncoding.DecodeString(strings.TrimRight(k.Exponent, "="))
	if k.Type != "RSA" || err1 != nil || err2 != nil || len(n) == 0 || len(n) > maxModulus || len(e) == 0 || len(e) > 4 {
		return nil, "", errors.New("its cnf has no jwk that is an RSA key of up to 8192 bits")
	}
	b64 := base64.RawURLEncoding.EncodeToString
	sum := sha256.Sum256([]byte(`{"e":"` + b64(e) + `","kty":"RSA","n":"` + b64(n) + `"}`))
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, b64(sum[:]), nil
}

// accessToken returns the access token of the request, and for one in a signed
// request the thumbprint of the key that has signed it.
func (c *call) accessToken() (raw, key string, err error) {
	scheme, raw, _ := strings.Cut(c.r.Header.Get("Authorization"), " ")
	raw = strings.TrimSpace(raw)
	if !strings.EqualFold(scheme, "PoP") || raw == "" {
		return bearer(c.r), "", nil
	}
	refuse := func(why string) (string, string, error) {
		return "", "", errors.New("The signed HTTP request is refused: " + why + ".")
	}
	var q signedRequest
	parts := strings.Split(raw, ".")
	payload, err := base64.RawURLEncoding.DecodeString(parts[min(1, len(parts)-1)])
	if err != nil || json.Unmarshal(payload, &q) != nil {
		return refuse("it is not a JWT with the claims of one")
	}
	public, key, err := q.key()
	if err != nil {
		return refuse(err.Error())
	}
	if _, err := c.Signed(raw, []crypto.PublicKey{public}); err != nil {
		return refuse(err.Error())
	}
	now, signed := c.World.Now(), time.Unix(int64(q.Time), 0)
	path := strings.Trim(q.Path, "/")
	switch {
	case q.AccessToken == "":
		return refuse("it has no access token in the claim at")
	case now.Sub(signed) > proofLife || signed.Sub(now) > proofLife:
		return refuse("its ts is not within five minutes of now")
	case q.Method != c.r.Method: // RFC 9110: methods are case-sensitive
		return refuse("its m is not the method of the request, " + c.r.Method)
	case !strings.EqualFold(strings.TrimSuffix(q.Host, ":443"), strings.TrimSuffix(c.r.Host, ":443")):
		return refuse("its u is not the host of the request, " + c.r.Host)
	case path != strings.Trim(c.r.URL.EscapedPath(), "/") && path != strings.Trim(c.r.URL.Path, "/"):
		return refuse("its p is not the path of the request, " + c.r.URL.EscapedPath())
	case c.oldNonce(q.Nonce):
		return refuse("its nonce has expired")
	}
	return q.AccessToken, key, nil
}

// nonce is what the next signed request may have in its claim of that name.
func (c *call) nonce() string {
	return seal("nonce", strconv.FormatInt(c.World.Now().Unix(), 10))
}

// oldNonce says whether a nonce is one of ours from long ago. Others are random
// numbers that libraries write where they know none of ours.
func (c *call) oldNonce(nonce string) bool {
	text, ours := unseal("nonce", nonce)
	made, err := strconv.ParseInt(text, 10, 64)
	return ours && err == nil && c.World.Now().Sub(time.Unix(made, 0)) > proofLife
}

// heldBy says whether the token of the call is used as it may be: a bound one in
// a request that its key has signed, another by whoever bears it.
func (c *call) heldBy(key string) error {
	confirmation, _ := c.token["cnf"].(map[string]any)
	to, _ := confirmation["kid"].(string)
	switch {
	case key == "" && confirmation == nil:
		return nil
	case key == "":
		return errors.New("The token is bound to a key: send it in a signed HTTP request, as Authorization: PoP.")
	case to == "":
		return errors.New("The token of the signed HTTP request is not bound to a key: ask for it with token_type=pop and req_cnf.")
	case to != key:
		return errors.New("The HTTP request is signed with another key than the one that its token is bound to.")
	}
	c.w.Header().Set("Authentication-Info", `nextnonce="`+c.nonce()+`"`)
	return nil
}
