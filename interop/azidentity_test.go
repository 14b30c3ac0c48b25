package interop

import (
	"context"
	"crypto/x509"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	azruntime "github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/fobauth/fob/entratest"
)

// azidentity is pointed at another authority by its cloud configuration, or by
// AZURE_AUTHORITY_HOST; every credential must be told not to validate it.

func azOptions(emu *entratest.Emulator) azcore.ClientOptions {
	return azcore.ClientOptions{Cloud: cloud.Configuration{ActiveDirectoryAuthorityHost: emu.URL()}, Transport: emu.Client()}
}

// azToken gets a token, whose scopes are Graph's unless others are given.
func azToken(t *testing.T, credential azcore.TokenCredential, err error, scopes ...string) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if scopes == nil {
		scopes = []string{graphDefault}
	}
	got, err := credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: scopes})
	if err != nil {
		t.Fatal(err)
	}
	return got.Token
}

func TestAzidentitySignsInWithASecret(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	credential, err := azidentity.NewClientSecretCredential(entratest.TenantID, entratest.DaemonClientID, entratest.DaemonSecret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: azOptions(emu), DisableInstanceDiscovery: true})
	wantGraph(t, emu, azToken(t, credential, err), "/v1.0/users")
}

func TestAzidentityTellsThatASecretIsWrong(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	credential, err := azidentity.NewClientSecretCredential(entratest.TenantID, entratest.DaemonClientID, "guess",
		&azidentity.ClientSecretCredentialOptions{ClientOptions: azOptions(emu), DisableInstanceDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	_, err = credential.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{graphDefault}})
	wantRefusal(t, err, "RESPONSE 401", "AADSTS7000215", "invalid_client")
	wantExchanges(t, emu, 1)
}

func TestAzidentityTriesAgainWhenTheServiceFails(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]entratest.Fault{
		"throttled":         {Path: "token", Status: http.StatusTooManyRequests},
		"unavailable":       {Path: "token", Status: http.StatusServiceUnavailable},
		"without an answer": {Path: "token", Drop: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			emu := entratest.New(t)
			options := azOptions(emu)
			options.Retry = policy.RetryOptions{RetryDelay: time.Millisecond}
			credential, err := azidentity.NewClientSecretCredential(entratest.TenantID, entratest.DaemonClientID, entratest.DaemonSecret,
				&azidentity.ClientSecretCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true})
			if err != nil {
				t.Fatal(err)
			}
			if err := emu.Fail(2, fault); err != nil {
				t.Fatal(err)
			}
			wantGraph(t, emu, azToken(t, credential, nil), "/v1.0/users")
			wantExchanges(t, emu, 3)
		})
	}
}

func TestAzidentitySignsInWithACertificate(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	c := registered(t, emu, entratest.DaemonClientID)
	credential, err := azidentity.NewClientCertificateCredential(entratest.TenantID, entratest.DaemonClientID, []*x509.Certificate{c.leaf}, c.key,
		&azidentity.ClientCertificateCredentialOptions{ClientOptions: azOptions(emu), DisableInstanceDiscovery: true})
	wantGraph(t, emu, azToken(t, credential, err), "/v1.0/users")
}

func TestAzidentitySignsInWithACertificateAndItsChain(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	c := registered(t, emu, entratest.DaemonClientID)
	credential, err := azidentity.NewClientCertificateCredential(entratest.TenantID, entratest.DaemonClientID, []*x509.Certificate{c.leaf}, c.key,
		&azidentity.ClientCertificateCredentialOptions{ClientOptions: azOptions(emu), DisableInstanceDiscovery: true, SendCertificateChain: true})
	wantGraph(t, emu, azToken(t, credential, err), "/v1.0/users")
}

func TestAzidentitySignsInWithTheTokenOfAnotherIssuer(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	other, app := federated(t, emu)
	credential, err := azidentity.NewClientAssertionCredential(entratest.TenantID, app.ClientID,
		func(context.Context) (string, error) { return other.token(workload) },
		&azidentity.ClientAssertionCredentialOptions{ClientOptions: azOptions(emu), DisableInstanceDiscovery: true})
	wantGraph(t, emu, azToken(t, credential, err), "/v1.0/users")
}

func TestAzidentitySignsInAsAWorkloadOfACluster(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	other, app := federated(t, emu)
	token, err := other.token(workload)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	credential, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{ClientOptions: azOptions(emu),
		DisableInstanceDiscovery: true, ClientID: app.ClientID, TenantID: entratest.TenantID, TokenFilePath: path})
	wantGraph(t, emu, azToken(t, credential, err), "/v1.0/users")
}

func TestAzidentitySignsInWithADeviceCode(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	options := azOptions(emu)
	options.Transport = approving(t, emu)
	var shown azidentity.DeviceCodeMessage
	credential, err := azidentity.NewDeviceCodeCredential(&azidentity.DeviceCodeCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true,
		ClientID: entratest.CLIClientID, TenantID: entratest.TenantID,
		UserPrompt: func(_ context.Context, m azidentity.DeviceCodeMessage) error { shown = m; return nil }})
	wantGraph(t, emu, azToken(t, credential, err, userRead), "/v1.0/me")
	if shown.UserCode == "" || !strings.HasPrefix(shown.VerificationURL, emu.URL()) || !strings.Contains(shown.Message, shown.UserCode) {
		t.Errorf("the user was shown %+v", shown)
	}
}

// By default people sign in to the Azure CLI's registration, by way of
// organizations.
func TestAzidentitySignsInWithADeviceCodeByDefaultSettings(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	options := azOptions(emu)
	options.Transport = approving(t, emu)
	credential, err := azidentity.NewDeviceCodeCredential(&azidentity.DeviceCodeCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true,
		UserPrompt: func(context.Context, azidentity.DeviceCodeMessage) error { return nil }})
	token := azToken(t, credential, err, "https://management.azure.com/.default")
	wantClaims(t, token, "appid", entratest.AzureCLIClientID, "tid", entratest.TenantID, "scp", "user_impersonation")
}

func TestAzidentityRenewsAUserTokenInSilence(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t, short)
	options := azOptions(emu)
	options.Transport = approving(t, emu)
	credential, err := azidentity.NewDeviceCodeCredential(&azidentity.DeviceCodeCredentialOptions{ClientOptions: options, DisableInstanceDiscovery: true,
		ClientID: entratest.CLIClientID, TenantID: entratest.TenantID,
		UserPrompt: func(context.Context, azidentity.DeviceCodeMessage) error { return nil }})
	first := azToken(t, credential, err, userRead)
	second := azToken(t, credential, err, userRead)
	if first == second {
		t.Error("the token that ran out came back")
	}
	if got := asked(emu, "/devicecode"); len(got) != 1 {
		t.Errorf("%d device codes: the second token was not got in silence", len(got))
	}
}

func TestAzidentityOpensABrowser(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("on " + runtime.GOOS + " the browser is not found on PATH")
	}
	emu := entratest.New(t)
	useDesktop(t, emu)
	credential, err := azidentity.NewInteractiveBrowserCredential(&azidentity.InteractiveBrowserCredentialOptions{ClientOptions: azOptions(emu),
		DisableInstanceDiscovery: true, ClientID: entratest.CLIClientID, TenantID: entratest.TenantID})
	token := azToken(t, credential, err, userRead)
	if me := wantGraph(t, emu, token, "/v1.0/me"); me["id"] != entratest.BenID {
		t.Errorf("/me is %v, want ben", me["id"])
	}
}

func TestAzidentityActsOnBehalfOfAUser(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	user := msalPassword(t, msalUser(t, emu), apiScope)
	options := &azidentity.OnBehalfOfCredentialOptions{ClientOptions: azOptions(emu), DisableInstanceDiscovery: true}
	credential, err := azidentity.NewOnBehalfOfCredentialWithSecret(entratest.TenantID, entratest.APIClientID, user.AccessToken, entratest.APISecret, options)
	if me := wantGraph(t, emu, azToken(t, credential, err, userRead), "/v1.0/me"); me["id"] != entratest.BenID {
		t.Errorf("/me is %v, want ben", me["id"])
	}
}

func TestAzidentityActsOnBehalfOfAUserWithACertificate(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	user := msalPassword(t, msalUser(t, emu), apiScope)
	c := registered(t, emu, entratest.APIClientID)
	options := &azidentity.OnBehalfOfCredentialOptions{ClientOptions: azOptions(emu), DisableInstanceDiscovery: true}
	credential, err := azidentity.NewOnBehalfOfCredentialWithCertificate(entratest.TenantID, entratest.APIClientID, user.AccessToken,
		[]*x509.Certificate{c.leaf}, c.key, options)
	if me := wantGraph(t, emu, azToken(t, credential, err, userRead), "/v1.0/me"); me["id"] != entratest.BenID {
		t.Errorf("/me is %v, want ben", me["id"])
	}
}

func TestAzidentitySignsInWithAPassword(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	//lint:ignore SA1019 old programs still have it
	credential, err := azidentity.NewUsernamePasswordCredential(entratest.TenantID, entratest.CLIClientID, entratest.BenUPN, entratest.BenPassword,
		&azidentity.UsernamePasswordCredentialOptions{ClientOptions: azOptions(emu), DisableInstanceDiscovery: true})
	wantGraph(t, emu, azToken(t, credential, err, userRead), "/v1.0/me")
}

// azEnvironment sets the variables that every Azure SDK reads, and no other.
func azEnvironment(t *testing.T, emu *entratest.Emulator, variables map[string]string) {
	t.Helper()
	for _, pair := range os.Environ() {
		if name, _, _ := strings.Cut(pair, "="); strings.HasPrefix(name, "AZURE_") {
			t.Setenv(name, "")
			os.Unsetenv(name)
		}
	}
	t.Setenv("AZURE_AUTHORITY_HOST", emu.URL()+"/")
	t.Setenv("AZURE_TENANT_ID", entratest.TenantID)
	t.Setenv("AZURE_CLIENT_ID", entratest.DaemonClientID)
	for name, value := range variables {
		t.Setenv(name, value)
	}
}

func TestAzidentityReadsASecretFromTheEnvironment(t *testing.T) {
	emu := entratest.New(t)
	azEnvironment(t, emu, map[string]string{"AZURE_CLIENT_SECRET": entratest.DaemonSecret2})
	credential, err := azidentity.NewEnvironmentCredential(&azidentity.EnvironmentCredentialOptions{
		ClientOptions: azcore.ClientOptions{Transport: emu.Client()}, DisableInstanceDiscovery: true})
	wantGraph(t, emu, azToken(t, credential, err), "/v1.0/users")
}

func TestAzidentityReadsACertificateFromTheEnvironment(t *testing.T) {
	emu := entratest.New(t)
	azEnvironment(t, emu, map[string]string{"AZURE_CLIENT_CERTIFICATE_PATH": registered(t, emu, entratest.DaemonClientID).file(t)})
	credential, err := azidentity.NewEnvironmentCredential(&azidentity.EnvironmentCredentialOptions{
		ClientOptions: azcore.ClientOptions{Transport: emu.Client()}, DisableInstanceDiscovery: true})
	wantGraph(t, emu, azToken(t, credential, err), "/v1.0/users")
}

func TestAzidentitysDefaultCredentialReadsTheEnvironment(t *testing.T) {
	emu := entratest.New(t)
	azEnvironment(t, emu, map[string]string{"AZURE_CLIENT_SECRET": entratest.DaemonSecret})
	credential, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
		ClientOptions: azcore.ClientOptions{Transport: emu.Client()}, DisableInstanceDiscovery: true})
	wantGraph(t, emu, azToken(t, credential, err), "/v1.0/users")
}

func TestAzidentitysDefaultCredentialFindsAWorkloadOfACluster(t *testing.T) {
	emu := entratest.New(t)
	other, app := federated(t, emu)
	token, err := other.token(workload)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	azEnvironment(t, emu, map[string]string{"AZURE_FEDERATED_TOKEN_FILE": path, "AZURE_CLIENT_ID": app.ClientID})
	credential, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{
		ClientOptions: azcore.ClientOptions{Transport: emu.Client()}, DisableInstanceDiscovery: true})
	wantGraph(t, emu, azToken(t, credential, err), "/v1.0/users")
}

// An emulator that answers by Microsoft's names needs no setting but trust.
func TestAzidentityAcceptsTheEmulatorInPlaceOfMicrosoft(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t, func(cfg *entratest.Config) { cfg.Impersonate = entratest.MicrosoftHosts() })
	credential, err := azidentity.NewClientSecretCredential(entratest.TenantID, entratest.DaemonClientID, entratest.DaemonSecret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: azcore.ClientOptions{Transport: emu.Client()}})
	wantGraph(t, emu, azToken(t, credential, err), "/v1.0/users")
}

// azPipeline is what every client of an Azure SDK sends its requests through.
func azPipeline(emu *entratest.Emulator, credential azcore.TokenCredential) azruntime.Pipeline {
	return azruntime.NewPipeline("interop", "v1", azruntime.PipelineOptions{
		PerRetry: []policy.Policy{azruntime.NewBearerTokenPolicy(credential, []string{graphDefault}, nil)},
	}, &policy.ClientOptions{Transport: emu.Client()})
}

func azGet(t *testing.T, pipeline azruntime.Pipeline, address string) *http.Response {
	t.Helper()
	req, err := azruntime.NewRequest(t.Context(), http.MethodGet, address)
	if err != nil {
		t.Fatal(err)
	}
	res, err := pipeline.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res
}

func TestAzcoreAnswersAClaimsChallengeOnce(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	credential, err := azidentity.NewClientSecretCredential(entratest.TenantID, entratest.DaemonClientID, entratest.DaemonSecret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: azOptions(emu), DisableInstanceDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	emu.ChallengeClaims(1)
	if res := azGet(t, azPipeline(emu, credential), emu.GraphURL()+"/v1.0/users"); res.StatusCode != http.StatusOK {
		t.Errorf("%s, want the request to be replayed with a token that answers the challenge", res.Status)
	}
	var statuses []int
	for _, r := range asked(emu, "/users") {
		statuses = append(statuses, r.Status)
	}
	if !slices.Equal(statuses, []int{http.StatusUnauthorized, http.StatusOK}) {
		t.Errorf("Graph answered %v, want 401 and then 200", statuses)
	}
	exchanges := asked(emu, "/token")
	if len(exchanges) != 2 || !strings.Contains(exchanges[1].Form.Get("claims"), "nbf") {
		t.Errorf("azidentity asked %v, want the challenge's claims in the second request", exchanges)
	}
}

func TestAzcoreGivesUpWhenItIsChallengedAgain(t *testing.T) {
	t.Parallel()
	emu := entratest.New(t)
	credential, err := azidentity.NewClientSecretCredential(entratest.TenantID, entratest.DaemonClientID, entratest.DaemonSecret,
		&azidentity.ClientSecretCredentialOptions{ClientOptions: azOptions(emu), DisableInstanceDiscovery: true})
	if err != nil {
		t.Fatal(err)
	}
	emu.ChallengeClaims(5)
	if res := azGet(t, azPipeline(emu, credential), emu.GraphURL()+"/v1.0/users"); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("%s, want 401", res.Status)
	}
	if got := asked(emu, "/users"); len(got) != 2 {
		t.Errorf("%d requests to Graph, want 2", len(got))
	}
}
