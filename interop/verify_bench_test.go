package interop

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/entratest"
	"github.com/fobauth/fob/internal/insight"
)

// BenchmarkVerifyIDToken verifies one ID token with the keys at hand: bare RSA
// is the floor, and everybody takes turns, so that a noisy machine is as noisy
// for all. What each checks beside the signature differs: fob verify reports
// twelve checks in words.
func BenchmarkVerifyIDToken(b *testing.B) {
	e := entratest.New(b)
	client := &fob.Client{
		Authority: fob.Authority{Host: e.URL(), Tenant: entratest.TenantID}, ID: entratest.CLIClientID, HTTP: e.Client(),
		Flow: fob.AuthorizationCode{Open: func(ctx context.Context, page string) error { return e.Browse(ctx, page, entratest.AdaUPN) }},
	}
	signedIn, err := client.SignIn(b.Context(), fob.Request{Scopes: []string{"User.Read"}})
	if err != nil {
		b.Fatal(err)
	}
	raw := signedIn.ID.Reveal()

	issuer := e.URL() + "/" + entratest.TenantID + "/v2.0"
	response, err := e.Client().Get(e.URL() + "/" + entratest.TenantID + "/discovery/v2.0/keys")
	if err != nil {
		b.Fatal(err)
	}
	document, err := io.ReadAll(response.Body)
	response.Body.Close()
	if err != nil {
		b.Fatal(err)
	}
	key := firstKey(b, document)
	keys, err := insight.ParseKeys(document)
	if err != nil {
		b.Fatal(err)
	}
	verifier := oidc.NewVerifier(issuer, &oidc.StaticKeySet{PublicKeys: []crypto.PublicKey{key}}, &oidc.Config{ClientID: entratest.CLIClientID})
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}), jwt.WithIssuer(issuer), jwt.WithAudience(entratest.CLIClientID))
	dot := strings.LastIndexByte(raw, '.')
	signature, err := base64.RawURLEncoding.DecodeString(raw[dot+1:])
	if err != nil {
		b.Fatal(err)
	}
	digest := sha256.Sum256([]byte(raw[:dot]))

	contestants := []struct {
		name   string
		verify func() error
	}{
		{"bare-RSA", func() error { return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) }},
		{"fob.Client", func() error { _, err := client.VerifyIDToken(b.Context(), signedIn.ID, ""); return err }},
		{"fob-verify", func() error {
			v := insight.Verify(b.Context(), signedIn.ID, insight.VerifyOptions{Keys: keys, Issuer: issuer, Audience: []string{entratest.CLIClientID}, Now: time.Now()})
			if v.Verdict != insight.Verified {
				b.Fatal(v.Summary)
			}
			return nil
		}},
		{"go-oidc", func() error { _, err := verifier.Verify(b.Context(), raw); return err }},
		{"golang-jwt", func() error {
			_, err := parser.Parse(raw, func(*jwt.Token) (any, error) { return key, nil })
			return err
		}},
	}
	spent := make([]time.Duration, len(contestants))
	for b.Loop() {
		for i, c := range contestants {
			start := time.Now()
			if err := c.verify(); err != nil {
				b.Fatalf("%s: %v", c.name, err)
			}
			spent[i] += time.Since(start)
		}
	}
	for i, c := range contestants {
		b.ReportMetric(float64(spent[i])/float64(spent[0]), "x-RSA:"+c.name)
	}
	b.ReportMetric(float64(spent[0].Microseconds())/float64(b.N), "µs:bare-RSA")
}

func firstKey(b *testing.B, document []byte) *rsa.PublicKey {
	b.Helper()
	var set struct {
		Keys []struct{ N, E string }
	}
	if err := json.Unmarshal(document, &set); err != nil || len(set.Keys) == 0 {
		b.Fatalf("%d keys: %v", len(set.Keys), err)
	}
	n, errN := base64.RawURLEncoding.DecodeString(set.Keys[0].N)
	e, errE := base64.RawURLEncoding.DecodeString(set.Keys[0].E)
	if errN != nil || errE != nil {
		b.Fatal(errN, errE)
	}
	return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
}
