package interop

import (
	"net/http"
	"testing"

	"github.com/hashicorp/go-azure-sdk/sdk/auth"
	"github.com/hashicorp/go-azure-sdk/sdk/environments"

	"github.com/fobauth/fob/entratest"
)

// HashiCorp's SDK is what Terraform's providers sign in with. It writes every
// request by itself, and learns a cloud from the metadata of Resource Manager.

// hashicorpToken signs the daemon in at a cloud and returns a token for one of its APIs.
func hashicorpToken(t *testing.T, cloud environments.Environment, api environments.Api, with auth.Credentials) string {
	t.Helper()
	with.Environment, with.TenantID, with.ClientID = cloud, entratest.TenantID, entratest.DaemonClientID
	authorizer, err := auth.NewAuthorizerFromCredentials(t.Context(), with, api)
	if err != nil {
		t.Fatal(err)
	}
	token, err := authorizer.Token(t.Context(), &http.Request{})
	if err != nil {
		t.Fatal(err)
	}
	return token.AccessToken
}

// hashicorp signs in at the public cloud, which leads to the emulator here.
func hashicorp(t *testing.T, emu *entratest.Emulator) {
	secret := auth.Credentials{EnableAuthenticatingUsingClientSecret: true, ClientSecret: entratest.DaemonSecret}
	public := *environments.AzurePublic()
	wantUsers(t, hashicorpToken(t, public, public.MicrosoftGraph, secret))

	described, err := environments.FromEndpoint(t.Context(), "https://management.azure.com")
	if err != nil {
		t.Fatal(err)
	}
	wantUsers(t, hashicorpToken(t, *described, described.MicrosoftGraph, secret))
	wantClaims(t, hashicorpToken(t, *described, described.ResourceManager, secret), "aud", "https://management.azure.com")

	c := registered(t, emu, entratest.DaemonClientID)
	wantUsers(t, hashicorpToken(t, public, public.MicrosoftGraph, auth.Credentials{EnableAuthenticatingUsingClientCertificate: true, ClientCertificateData: c.pfx(t)}))

	secret.ClientSecret = "guess"
	secret.Environment, secret.TenantID, secret.ClientID = public, entratest.TenantID, entratest.DaemonClientID
	authorizer, err := auth.NewAuthorizerFromCredentials(t.Context(), secret, public.MicrosoftGraph)
	if err == nil {
		_, err = authorizer.Token(t.Context(), &http.Request{})
	}
	wantRefusal(t, err, "AADSTS7000215", "invalid_client")
}
