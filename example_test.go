package fob_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/entratest"
)

// The examples run against the emulator. For the real thing leave Host and
// HTTP out: the zero Authority is Microsoft's public cloud.
func startEmulator() *entratest.Emulator {
	emulator, err := entratest.Start(entratest.Config{DeviceInterval: time.Second})
	if err != nil {
		log.Fatal(err)
	}
	return emulator
}

// An application that speaks for itself, with a client secret.
func ExampleClientCredentials() {
	emulator := startEmulator()
	defer emulator.Close()

	client := &fob.Client{
		Authority:  fob.Authority{Host: emulator.URL(), Tenant: entratest.TenantID},
		ID:         entratest.DaemonClientID,
		Credential: fob.ClientSecret{Secret: fob.NewSecret(entratest.DaemonSecret)},
		HTTP:       emulator.Client(),
	}
	request := fob.Request{Scopes: []string{"https://graph.microsoft.com/.default"}}
	for range 2 {
		token, err := client.Token(context.Background(), request)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(token.Type, token.Access, "from", token.Origin)
	}
	// Output:
	// Bearer [redacted] from flow
	// Bearer [redacted] from cache
}

// An application that proves itself with a certificate. The key may as well
// be a PFX file, or a crypto.Signer in hardware.
func ExampleCertificate() {
	emulator := startEmulator()
	defer emulator.Close()
	pem, err := os.ReadFile(filepath.Join("testdata", "certificate.pem"))
	if err != nil {
		log.Fatal(err)
	}
	certificate, err := fob.ParseCertificate(pem, fob.Secret{})
	if err != nil {
		log.Fatal(err)
	}
	// What an administrator does once, on the app registration's page.
	if err := emulator.AddCertificate(entratest.DaemonClientID, certificate.Leaf); err != nil {
		log.Fatal(err)
	}

	client := &fob.Client{
		Authority:  fob.Authority{Host: emulator.URL(), Tenant: entratest.TenantID},
		ID:         entratest.DaemonClientID,
		Credential: certificate,
		HTTP:       emulator.Client(),
	}
	token, err := client.Token(context.Background(), fob.Request{Scopes: []string{"https://graph.microsoft.com/.default"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.Type, token.Access)
	// Output: Bearer [redacted]
}

// An application that another identity provider vouches for, with a token in
// a file: Kubernetes, or a CI system. The app registration trusts the issuer
// and the subject.
func ExampleAssertionFile() {
	emulator := startEmulator()
	defer emulator.Close()
	provider := startIssuer()
	defer provider.Close()
	app, err := emulator.AddApp(entratest.App{Name: "deploy", Federated: []entratest.FederatedCredential{
		{Issuer: provider.URL, Subject: "repo:acme/shop:ref:refs/heads/main"},
	}})
	if err != nil {
		log.Fatal(err)
	}
	path := filepath.Join(os.TempDir(), "fob-example-federated-token")
	defer os.Remove(path)
	if err := os.WriteFile(path, []byte(provider.token("repo:acme/shop:ref:refs/heads/main", "api://AzureADTokenExchange")), 0o600); err != nil {
		log.Fatal(err)
	}

	client := &fob.Client{
		Authority:  fob.Authority{Host: emulator.URL(), Tenant: entratest.TenantID},
		ID:         app.ClientID,
		Credential: fob.AssertionFile(path), // often os.Getenv("AZURE_FEDERATED_TOKEN_FILE")
		HTTP:       emulator.Client(),
	}
	token, err := client.Token(context.Background(), fob.Request{Scopes: []string{"https://graph.microsoft.com/.default"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.Type, token.Access)
	// Output: Bearer [redacted]
}

// A person signs in on another screen.
func ExampleDeviceCode() {
	emulator := startEmulator()
	defer emulator.Close()

	client := &fob.Client{
		Authority: fob.Authority{Host: emulator.URL(), Tenant: entratest.TenantID},
		ID:        entratest.CLIClientID,
		HTTP:      emulator.Client(),
		Flow: fob.DeviceCode{Prompt: func(_ context.Context, p fob.DeviceCodePrompt) error {
			fmt.Println("a code of", len(p.UserCode), "letters and digits")
			return emulator.Approve(p.UserCode, entratest.AdaUPN) // what the person does
		}},
	}
	token, err := client.Token(context.Background(), fob.Request{Scopes: []string{"User.Read"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.Account.Name, "signed in")
	// Output:
	// a code of 9 letters and digits
	// Ada Quill signed in
}

// A person signs in with the browser of this machine.
func ExampleAuthorizationCode() {
	emulator := startEmulator()
	defer emulator.Close()

	client := &fob.Client{
		Authority: fob.Authority{Host: emulator.URL(), Tenant: entratest.TenantID},
		ID:        entratest.CLIClientID,
		HTTP:      emulator.Client(),
		Flow: fob.AuthorizationCode{Open: func(ctx context.Context, page string) error {
			return emulator.Browse(ctx, page, entratest.AdaUPN) // in a program: open page in the browser
		}},
	}
	token, err := client.SignIn(context.Background(), fob.Request{Scopes: []string{"User.Read"}})
	if err != nil {
		log.Fatal(err)
	}
	id, err := client.VerifyIDToken(context.Background(), token.ID, "")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(id.Name, id.PreferredUsername)
	// Output: Ada Quill ada@fob.example
}

// A refresh token that came from somewhere else is kept, renewed and used from
// now on.
func ExampleRefreshToken() {
	emulator := startEmulator()
	defer emulator.Close()
	fromElsewhere := refreshTokenOf(emulator, entratest.AdaUPN)

	client := &fob.Client{
		Authority: fob.Authority{Host: emulator.URL(), Tenant: entratest.TenantID},
		ID:        entratest.CLIClientID,
		HTTP:      emulator.Client(),
		Flow:      fob.RefreshToken{Token: fromElsewhere},
	}
	if _, err := client.SignIn(context.Background(), fob.Request{Scopes: []string{"User.Read"}}); err != nil {
		log.Fatal(err)
	}
	token, err := client.Token(context.Background(), fob.Request{Scopes: []string{"User.Read"}, Fresh: true})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.Account.Username, "by", token.Origin)
	// Output: ada@fob.example by refresh
}

// A service that was called with Ada's token calls Graph in her name.
func ExampleOnBehalfOf() {
	emulator := startEmulator()
	defer emulator.Close()
	caller := &fob.Client{
		Authority: fob.Authority{Host: emulator.URL(), Tenant: entratest.TenantID},
		ID:        entratest.CLIClientID, HTTP: emulator.Client(),
		Flow: fob.RefreshToken{Token: refreshTokenOf(emulator, entratest.AdaUPN)},
	}
	incoming, err := caller.Token(context.Background(), fob.Request{Scopes: []string{"api://fob-api/access_as_user"}})
	if err != nil {
		log.Fatal(err)
	}

	service := &fob.Client{
		Authority:  fob.Authority{Host: emulator.URL(), Tenant: entratest.TenantID},
		ID:         entratest.APIClientID,
		Credential: fob.ClientSecret{Secret: fob.NewSecret(entratest.APISecret)},
		Flow:       fob.OnBehalfOf{Assertion: incoming.Access},
		HTTP:       emulator.Client(),
	}
	token, err := service.Token(context.Background(), fob.Request{Scopes: []string{"User.Read"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("for", token.Account.Username)
	// Output: for ada@fob.example
}

// An http.Client that sends the token to Graph, and to nobody else.
func ExampleTransport() {
	emulator := startEmulator()
	defer emulator.Close()
	client := &fob.Client{
		Authority:  fob.Authority{Host: emulator.URL(), Tenant: entratest.TenantID},
		ID:         entratest.DaemonClientID,
		Credential: fob.ClientSecret{Secret: fob.NewSecret(entratest.DaemonSecret)},
		HTTP:       emulator.Client(),
	}

	graph := &http.Client{Transport: &fob.Transport{
		Source:  client,
		Request: fob.Request{Scopes: []string{"https://graph.microsoft.com/.default"}},
		Origins: []string{emulator.GraphURL()}, // for the real Graph, the scope says it
		Base:    emulator.Client().Transport,
	}}
	resp, err := graph.Get(emulator.GraphURL() + "/v1.0/users?$select=displayName&$top=1")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(resp.Status, len(body) > 0)
	// Output: 200 OK true
}

// refreshTokenOf is a refresh token that some other tool got for a user.
func refreshTokenOf(emulator *entratest.Emulator, user string) fob.Secret {
	client := &fob.Client{
		Authority: fob.Authority{Host: emulator.URL(), Tenant: entratest.TenantID},
		ID:        entratest.CLIClientID, HTTP: emulator.Client(),
		Flow: fob.AuthorizationCode{Open: func(ctx context.Context, page string) error {
			return emulator.Browse(ctx, page, user)
		}},
	}
	token, err := client.SignIn(context.Background(), fob.Request{Scopes: []string{"User.Read"}})
	if err != nil {
		log.Fatal(err)
	}
	return token.Refresh
}
