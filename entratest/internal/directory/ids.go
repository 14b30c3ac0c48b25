package directory

// Application ids that every tenant knows.
const (
	GraphAppID           = "00000003-0000-0000-c000-000000000000" // Microsoft Graph
	ARMAppID             = "797f4846-ba00-4fd7-ba43-dac1f8f63013" // Azure Resource Manager
	AzureCLIAppID        = "04b07795-8ddb-461a-bbee-02f9e1bf7b46"
	AzurePowerShellAppID = "1950a258-227b-4e31-a9cf-717495945fc2"
	GraphPowerShellAppID = "14d82eec-204b-4c2f-b7e8-296a70dab67e"
	VSCodeAppID          = "aebc6443-996d-45c2-90f0-388ff96faa56"
	exchangeAppID        = "00000002-0000-0ff1-ce00-000000000000" // Exchange Online
	TokenExchangeAppID   = "fb60f99c-7a34-4190-8149-302f77469936" // api://AzureADTokenExchange
)

// The ids of the world that the emulator starts with. They never change.
const (
	TenantID      = "f0b00000-1000-4000-8000-000000000001"
	OtherTenantID = "f0b00000-2000-4000-8000-000000000002"

	AdaID  = "f0b00000-1001-4000-8000-000000000001" // an administrator
	BenID  = "f0b00000-1001-4000-8000-000000000002"
	CleoID = "f0b00000-1001-4000-8000-000000000003"

	PlatformGroupID = "f0b00000-1002-4000-8000-000000000001" // ada, ben
	ReadersGroupID  = "f0b00000-1002-4000-8000-000000000002" // ben, cleo

	AdaDeviceID = "f0b00000-1006-4000-8000-000000000001" // a laptop; an object id, as those above
	BenDeviceID = "f0b00000-1006-4000-8000-000000000002" // a phone

	CLIAppID         = "f0b00000-1003-4000-8000-000000000001" // public client
	DaemonAppID      = "f0b00000-1003-4000-8000-000000000002" // confidential client
	APIAppID         = "f0b00000-1003-4000-8000-000000000003" // a web API of one's own
	WebAppID         = "f0b00000-1003-4000-8000-000000000004" // platform Web
	SPAAppID         = "f0b00000-1003-4000-8000-000000000005" // single page
	ExpiredAppID     = "f0b00000-1003-4000-8000-000000000006" // its secret has expired
	DisabledAppID    = "f0b00000-1003-4000-8000-000000000007" // an administrator turned it off
	NoPrincipalAppID = "f0b00000-1003-4000-8000-000000000008" // registered, without a service principal
	VaultAPIAppID    = "f0b00000-1003-4000-8000-000000000009" // an API that takes assigned principals only
	PartnerAppID     = "f0b00000-1003-4000-8000-00000000000a" // multi-tenant, at home in the other tenant

	DaemonSecretID1 = "f0b00000-1004-4000-8000-000000000001"
	DaemonSecretID2 = "f0b00000-1004-4000-8000-000000000002"
)

// GlobalAdministrator is the role template id of the directory role that may
// consent to everything.
const GlobalAdministrator = "62e90394-69f5-4237-9190-012177145e10"
