package entratest

import (
	"github.com/fobauth/fob/entratest/internal/directory"
	"github.com/fobauth/fob/entratest/internal/graphsim"
)

// The tenants of the default world.
const (
	// TenantID is the tenant "Fob Example".
	TenantID = directory.TenantID
	// TenantDomain is its default domain, good in place of the id.
	TenantDomain = "fob.example"
	// OtherTenantID is the tenant "Other Example", for what one tenant may not
	// do in another.
	OtherTenantID = directory.OtherTenantID
	// OtherTenantDomain is its domain.
	OtherTenantDomain = "other.example"
)

// The users of the default world.
const (
	// AdaID is Ada Quill, who is a global administrator.
	AdaID = directory.AdaID
	// AdaUPN is what Ada types to sign in.
	AdaUPN = "ada@fob.example"
	// AdaPassword is Ada's password.
	AdaPassword = "ada-password-1"
	// BenID is Ben Ostrow, a member of both groups.
	BenID = directory.BenID
	// BenUPN is what Ben types to sign in.
	BenUPN = "ben@fob.example"
	// BenPassword is Ben's password.
	BenPassword = "ben-password-1"
	// CleoID is Cleo Marsh.
	CleoID = directory.CleoID
	// CleoUPN is what Cleo types to sign in.
	CleoUPN = "cleo@fob.example"
	// CleoPassword is Cleo's password.
	CleoPassword = "cleo-password-1"
)

// The groups of the default world.
const (
	// PlatformGroupID is the group "Platform": Ada and Ben.
	PlatformGroupID = directory.PlatformGroupID
	// ReadersGroupID is the group "Readers": Ben and Cleo.
	ReadersGroupID = directory.ReadersGroupID
)

// The apps of the default world, by client id.
const (
	// CLIClientID is a public client: device code, and a loopback redirect to
	// http://localhost on any port. Reading users and groups of Graph and
	// APIClientID's access_as_user are consented for everybody.
	CLIClientID = directory.CLIAppID
	// DaemonClientID is a confidential client with two secrets, room for
	// certificates ([Emulator.AddCertificate]) and a federated credential. It
	// may read users, groups, the organization and the directory on its own.
	DaemonClientID = directory.DaemonAppID
	// DaemonSecret is one of its secrets.
	DaemonSecret = "daemon-secret-value-1"
	// DaemonSecret2 is the other one.
	DaemonSecret2 = "daemon-secret-value-2"
	// DaemonSecretID is the id of DaemonSecret: what people send by mistake
	// (AADSTS7000215).
	DaemonSecretID = directory.DaemonSecretID1
	// APIClientID is a web API: api://fob-api with the scope access_as_user and
	// the app roles Tasks.Read.All (for apps) and Tasks.Approve (for users).
	APIClientID = directory.APIAppID
	// APISecret is the API's own secret, for on-behalf-of.
	APISecret = "api-secret-value-1"
	// WebClientID is a web app: redirects to https://localhost/callback and to
	// http://localhost/callback.
	WebClientID = directory.WebAppID
	// WebSecret is its secret.
	WebSecret = "web-secret-value-1"
	// SPAClientID is a single-page app.
	SPAClientID = directory.SPAAppID
	// ExpiredClientID is an app whose secret has expired (AADSTS7000222).
	ExpiredClientID = directory.ExpiredAppID
	// ExpiredSecret is that secret.
	ExpiredSecret = "expired-secret-value-1"
	// DisabledClientID is an app that an administrator turned off
	// (AADSTS7000112).
	DisabledClientID = directory.DisabledAppID
	// DisabledSecret is its secret.
	DisabledSecret = "disabled-secret-value-1"
	// NoPrincipalClientID is an app without a service principal
	// (AADSTS7000229).
	NoPrincipalClientID = directory.NoPrincipalAppID
)

// Ids of Microsoft's that every world has.
const (
	// GraphAppID is Microsoft Graph.
	GraphAppID = directory.GraphAppID
	// ARMAppID is Azure Resource Manager.
	ARMAppID = directory.ARMAppID
	// AzureCLIClientID is the Azure CLI.
	AzureCLIClientID = directory.AzureCLIAppID
	// AzurePowerShellClientID is Azure PowerShell.
	AzurePowerShellClientID = directory.AzurePowerShellAppID
	// GraphPowerShellClientID is Microsoft Graph PowerShell.
	GraphPowerShellClientID = directory.GraphPowerShellAppID
	// VSCodeClientID is Visual Studio Code.
	VSCodeClientID = directory.VSCodeAppID
)

// SubscriptionID returns the id of the one Azure subscription that Resource
// Manager shows for a tenant.
func SubscriptionID(tenant string) string { return graphsim.SubscriptionID(tenant) }
