package interop

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"net/http"
	"testing"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/golang-jwt/jwt/v5"
	"golang.org/x/oauth2"

	"github.com/fobauth/fob/entratest"
)

// go-oidc believes nothing: the issuer of discovery must be the URL that was
// asked, and keys and ID tokens are checked as the specification says.

func discovered(t *testing.T, emu *entratest.Emulator) (context.Context, *oidc.Provider) {
	t.Helper()
	ctx := oidc.ClientContext(t.Context(), emu.Client())
	provider, err := oidc.NewProvider(ctx, authority(emu)+"/v2.0")
	if err != nil {
		t.Fatal(err)
	}
	return ctx, provider
}

// oidcSignIn returns ben's tokens for the web app.
func oidcSignIn(t *testing.T, emu *entratest.Emulator, provider *oidc.Provider, nonce string) (*oauth2.Token, string) {
	t.Helper()
	token := signIn(t, emu, oauth2.Config{ClientID: entratest.WebClientID, ClientSecret: entratest.WebSecret, Endpoint: provider.Endpoint(),
		Scopes: []string{oidc.ScopeOpenID, "profile", "email", userRead}}, oidc.Nonce(nonce))
	raw, ok := token.Extra("id_token").(string)
	if !ok {
		t.Fatal("no ID token came")
	}
	return token, raw
}

func TestGoOIDCFindsTheEndpointsOfTheTenant(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	_, provider := discovered(t, emu)
	want := endpoint(emu)
	if got := provider.Endpoint(); got.AuthURL != want.AuthURL || got.TokenURL != want.TokenURL || got.DeviceAuthURL != want.DeviceAuthURL {
		t.Errorf("endpoints %+v, want %+v", got, want)
	}
}

func TestGoOIDCVerifiesAnIDToken(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	ctx, provider := discovered(t, emu)
	_, raw := oidcSignIn(t, emu, provider, "nonce-1")
	got, err := provider.Verifier(&oidc.Config{ClientID: entratest.WebClientID}).Verify(ctx, raw)
	if err != nil {
		t.Fatal(err)
	}
	var claims struct {
		OID, TID, Name, Email string
		Username              string `json:"preferred_username"`
	}
	if err := got.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	if got.Nonce != "nonce-1" || claims.OID != entratest.BenID || claims.TID != entratest.TenantID || claims.Username != entratest.BenUPN ||
		claims.Name != "Ben Ostrow" || claims.Email != entratest.BenUPN {
		t.Errorf("nonce %q, claims %+v", got.Nonce, claims)
	}
}

func TestGoOIDCRefusesAnIDTokenForAnotherApp(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	ctx, provider := discovered(t, emu)
	_, raw := oidcSignIn(t, emu, provider, "n")
	if _, err := provider.Verifier(&oidc.Config{ClientID: entratest.CLIClientID}).Verify(ctx, raw); err == nil {
		t.Error("an ID token for the web app was taken for the CLI's")
	}
}

func TestGoOIDCFollowsARotationOfKeys(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	ctx, provider := discovered(t, emu)
	verifier := provider.Verifier(&oidc.Config{ClientID: entratest.WebClientID})
	_, before := oidcSignIn(t, emu, provider, "n")
	if _, err := verifier.Verify(ctx, before); err != nil {
		t.Fatal(err)
	}
	if err := emu.RotateKeys(); err != nil {
		t.Fatal(err)
	}
	_, after := oidcSignIn(t, emu, provider, "n")
	if keyID(t, before) == keyID(t, after) {
		t.Error("the key did not change")
	}
	for when, raw := range map[string]string{"after": after, "before": before} {
		if _, err := verifier.Verify(ctx, raw); err != nil {
			t.Errorf("ID token from %s the rotation: %v", when, err)
		}
	}
}

func keyID(t *testing.T, raw string) any {
	t.Helper()
	token, _, err := jwt.NewParser().ParseUnverified(raw, jwt.MapClaims{})
	if err != nil {
		t.Fatal(err)
	}
	return token.Header["kid"]
}

func TestGoOIDCReadsUserInfo(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	ctx, provider := discovered(t, emu)
	token, raw := oidcSignIn(t, emu, provider, "n")
	id, err := provider.Verifier(&oidc.Config{ClientID: entratest.WebClientID}).Verify(ctx, raw)
	if err != nil {
		t.Fatal(err)
	}
	info, err := provider.UserInfo(ctx, oauth2.StaticTokenSource(token))
	if err != nil {
		t.Fatal(err)
	}
	var claims struct{ Name string }
	if err := info.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	if claims.Name != "Ben Ostrow" || info.Email != entratest.BenUPN || info.Subject == "" || info.Subject != id.Subject {
		t.Errorf("user info %+v, name %q", info, claims.Name)
	}
}

// publishedKeys reads the tenant's keys as an API without a library would.
func publishedKeys(t *testing.T, emu *entratest.Emulator) jwt.Keyfunc {
	t.Helper()
	res, err := emu.Client().Get(authority(emu) + "/discovery/v2.0/keys")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var set struct{ Keys []struct{ Kid, N, E string } }
	if err := json.NewDecoder(res.Body).Decode(&set); err != nil || res.StatusCode != http.StatusOK {
		t.Fatalf("reading the keys: %s, %v", res.Status, err)
	}
	keys := map[any]*rsa.PublicKey{}
	for _, k := range set.Keys {
		n, err1 := base64.RawURLEncoding.DecodeString(k.N)
		e, err2 := base64.RawURLEncoding.DecodeString(k.E)
		if err1 != nil || err2 != nil {
			t.Fatalf("key %s: %v, %v", k.Kid, err1, err2)
		}
		keys[k.Kid] = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	}
	return func(token *jwt.Token) (any, error) {
		if key, ok := keys[token.Header["kid"]]; ok {
			return key, nil
		}
		return nil, jwt.ErrTokenUnverifiable
	}
}

func TestGolangJWTVerifiesAnAccessTokenAsAnAPIWould(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	user := msalPassword(t, msalUser(t, emu), apiScope)
	_, err := jwt.Parse(user.AccessToken, publishedKeys(t, emu), jwt.WithValidMethods([]string{"RS256"}), jwt.WithExpirationRequired(),
		jwt.WithIssuedAt(), jwt.WithIssuer(authority(emu)+"/v2.0"), jwt.WithAudience(entratest.APIClientID))
	if err != nil {
		t.Error(err)
	}
}

func TestGolangJWTRefusesAnAccessTokenThatWasChanged(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	raw := []byte(msalPassword(t, msalUser(t, emu), apiScope).AccessToken)
	raw[len(raw)/2] ^= 1
	if _, err := jwt.Parse(string(raw), publishedKeys(t, emu)); err == nil {
		t.Error("a token that was changed was taken for good")
	}
}
