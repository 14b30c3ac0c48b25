package directory

import (
	_ "embed"
	"strings"
	"sync"
	"time"
)

// oidcScopes are the permissions of Microsoft Graph that ask for a sign-in
// rather than for data.
var oidcScopes = []string{"openid", "profile", "email", "offline_access"}

// Default returns the world that the emulator starts with. Its ids are
// constants of this package; it never changes between versions except by
// growing.
func Default() *World {
	w := New()
	day := time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)
	w.PutTenant(&Tenant{ID: TenantID, Name: "Fob Example", Domains: []string{"fob.example", "fobexample.onmicrosoft.com"}})
	w.PutTenant(&Tenant{ID: OtherTenantID, Name: "Other Example", Domains: []string{"other.example"}})

	for i, u := range []User{
		{ID: AdaID, UPN: "ada@fob.example", GivenName: "Ada", Surname: "Quill", JobTitle: "Platform Lead", Department: "Platform",
			Office: "Tower 3", BusinessPhones: []string{"+41 44 555 01 01"}, Password: "ada-password-1", Roles: []string{GlobalAdministrator}},
		{ID: BenID, UPN: "ben@fob.example", GivenName: "Ben", Surname: "Ostrow", JobTitle: "Site Reliability Engineer", Department: "Platform",
			Office: "Tower 3", BusinessPhones: []string{"+41 44 555 01 02"}, Password: "ben-password-1"},
		{ID: CleoID, UPN: "cleo@fob.example", GivenName: "Cleo", Surname: "Marsh", JobTitle: "Auditor", Department: "Finance",
			Office: "Annexe", Password: "cleo-password-1"},
	} {
		u.Tenant, u.DisplayName, u.Mail = TenantID, u.GivenName+" "+u.Surname, u.UPN
		u.PreferredLanguage = "en-GB"
		if u.ID != AdaID {
			u.Manager = AdaID
		}
		u.Created = day.Add(time.Duration(i) * time.Hour)
		w.PutUser(&u)
	}
	w.PutGroup(&Group{ID: PlatformGroupID, Tenant: TenantID, Name: "Platform", Description: "Who runs the platform", Members: []string{AdaID, BenID}, Created: day})
	w.PutGroup(&Group{ID: ReadersGroupID, Tenant: TenantID, Name: "Readers", Description: "Who may read reports", Members: []string{BenID, CleoID}, Created: day})

	w.PutDevice(&Device{ID: AdaDeviceID, Tenant: TenantID, DeviceID: "f0b00000-1007-4000-8000-000000000001", Name: "ADA-LAPTOP", OS: "Windows", OSVersion: "10.0.26100.2314",
		Trust: "AzureAd", Compliant: true, Managed: true, Owner: AdaID, Registered: day})
	w.PutDevice(&Device{ID: BenDeviceID, Tenant: TenantID, DeviceID: "f0b00000-1007-4000-8000-000000000002", Name: "Ben's phone", OS: "Android", OSVersion: "16",
		Trust: "Workplace", Owner: BenID, Registered: day.Add(time.Hour)})

	for _, a := range defaultApps() {
		w.PutApp(a)
	}

	graph := []string{"User.Read", "User.ReadBasic.All", "User.Read.All", "Group.Read.All", "Directory.Read.All"}
	w.Grant(Grant{Tenant: TenantID, Client: CLIAppID, Resource: GraphAppID, Scopes: union(graph, oidcScopes)})
	w.Grant(Grant{Tenant: TenantID, Client: CLIAppID, Resource: APIAppID, Scopes: []string{"access_as_user"}})
	for _, client := range []string{APIAppID, DaemonAppID, WebAppID, SPAAppID} {
		w.Grant(Grant{Tenant: TenantID, Client: client, Resource: GraphAppID, Scopes: union([]string{"User.Read"}, oidcScopes)})
	}
	for _, client := range []string{WebAppID, SPAAppID} {
		w.Grant(Grant{Tenant: TenantID, Client: client, Resource: APIAppID, Scopes: []string{"access_as_user"}})
	}
	for _, r := range firstParty() {
		if _, ok := r.Scope("user_impersonation"); ok {
			w.Grant(Grant{Tenant: TenantID, Client: CLIAppID, Resource: r.ClientID, Scopes: []string{"user_impersonation"}})
		}
	}
	for _, role := range []string{"User.Read.All", "Group.Read.All", "Organization.Read.All", "Directory.Read.All"} {
		w.AssignRole(RoleAssignment{TenantID, DaemonAppID, GraphAppID, role})
	}
	w.AssignRole(RoleAssignment{TenantID, DaemonAppID, APIAppID, "Tasks.Read.All"})
	w.AssignRole(RoleAssignment{TenantID, AdaID, APIAppID, "Tasks.Approve"})

	daemon, _ := w.Registration(DaemonAppID)
	for _, r := range []AzureRole{{TenantID, AdaID, AzureOwner, ""}, {TenantID, BenID, AzureContributor, ""}, {TenantID, CleoID, AzureReader, ""},
		{TenantID, w.PrincipalID(TenantID, daemon), AzureContributor, ""}} {
		w.AddAzureRole(r, false)
	}
	return w
}

func defaultApps() []*App {
	apps := []*App{
		{ClientID: CLIAppID, Name: "fob CLI", AllowPublicFlows: true, NativeRedirects: []string{"http://localhost", "https://login.microsoftonline.com/common/oauth2/nativeclient"},
			RequiredAccess: map[string][]string{GraphAppID: {"User.Read", "User.ReadBasic.All", "User.Read.All", "Group.Read.All", "Directory.Read.All"}, APIAppID: {"access_as_user"}}},
		{ClientID: DaemonAppID, Name: "fob daemon", WebRedirects: []string{"https://localhost/callback", "http://localhost/callback"},
			Secrets: []AppSecret{{ID: DaemonSecretID1, Name: "first", Value: "daemon-secret-value-1"}, {ID: DaemonSecretID2, Name: "second", Value: "daemon-secret-value-2"}},
			Federated: []FederatedCredential{{Name: "main", Issuer: "https://issuer.example",
				Subject: "repo:fob/example:ref:refs/heads/main", Audience: "api://AzureADTokenExchange"}},
			RequiredAccess: map[string][]string{GraphAppID: {"User.Read"}}},
		{ClientID: APIAppID, Name: "fob API", IdentifierURIs: []string{"api://" + APIAppID, "api://fob-api"}, TokenVersion: 2,
			Scopes: []Scope{{ID: derivedID(APIAppID, "access_as_user"), Value: "access_as_user", Name: "Use the fob API as you"},
				{ID: derivedID(APIAppID, "admin_everything"), Value: "admin_everything", Name: "Administer the fob API", AdminOnly: true}},
			AppRoles: []AppRole{{ID: derivedID(APIAppID, "Tasks.Read.All"), Value: "Tasks.Read.All", Name: "Read all tasks", ForApps: true},
				{ID: derivedID(APIAppID, "Tasks.Approve"), Value: "Tasks.Approve", Name: "Approve tasks", ForUsers: true}},
			Secrets:        []AppSecret{{ID: derivedID(APIAppID, "secret"), Name: "main", Value: "api-secret-value-1"}},
			OptionalClaims: []string{"idtyp"}, RequiredAccess: map[string][]string{GraphAppID: {"User.Read"}}},
		{ClientID: WebAppID, Name: "fob web", WebRedirects: []string{"https://localhost/callback", "http://localhost/callback", "http://localhost"}, IDTokenImplicit: true,
			Secrets:        []AppSecret{{ID: derivedID(WebAppID, "secret"), Name: "main", Value: "web-secret-value-1"}},
			RequiredAccess: map[string][]string{GraphAppID: {"User.Read"}, APIAppID: {"access_as_user"}}},
		{ClientID: SPAAppID, Name: "fob SPA", SPARedirects: []string{"https://localhost/spa", "http://localhost/spa", "http://localhost"},
			RequiredAccess: map[string][]string{GraphAppID: {"User.Read"}, APIAppID: {"access_as_user"}}},
		{ClientID: ExpiredAppID, Name: "fob expired", Secrets: []AppSecret{{ID: derivedID(ExpiredAppID, "secret"), Name: "old", Value: "expired-secret-value-1",
			Expires: time.Date(2026, 1, 6, 0, 0, 0, 0, time.UTC)}}},
		{ClientID: DisabledAppID, Name: "fob disabled", Disabled: true, AllowPublicFlows: true, Secrets: []AppSecret{{ID: derivedID(DisabledAppID, "secret"), Value: "disabled-secret-value-1"}}},
		{ClientID: NoPrincipalAppID, Name: "fob unborn", NoPrincipal: true, Secrets: []AppSecret{{ID: derivedID(NoPrincipalAppID, "secret"), Value: "unborn-secret-value-1"}}},
		{ClientID: VaultAPIAppID, Name: "fob vault", IdentifierURIs: []string{"api://fob-vault"}, AssignmentNeeded: true,
			Scopes: []Scope{{ID: derivedID(VaultAPIAppID, "read"), Value: "read", Name: "Read the fob vault"}}},
	}
	for _, a := range apps {
		a.Tenant, a.Audience = TenantID, MyOrg
	}
	return append(apps, &App{ClientID: PartnerAppID, Tenant: OtherTenantID, Name: "Other Partner", Audience: MultipleOrgs,
		WebRedirects: []string{"https://partner.other.example/callback"},
		Secrets:      []AppSecret{{ID: derivedID(PartnerAppID, "secret"), Value: "partner-secret-value-1"}}})
}

// firstParty returns Microsoft's own apps, made anew.
func firstParty() []*App {
	impersonation := func(id string) []Scope {
		return []Scope{{ID: derivedID(id, "user_impersonation"), Value: "user_impersonation", Name: "Access the service as you"}}
	}
	clients := []string{AzureCLIAppID, AzurePowerShellAppID, GraphPowerShellAppID, VSCodeAppID}
	preauthorise := func(scopes ...string) map[string][]string {
		m := map[string][]string{}
		for _, c := range clients {
			m[c] = scopes
		}
		return m
	}

	mayRead := append([]string{"User.Read", "User.ReadBasic.All", "User.Read.All", "Group.Read.All", "Directory.Read.All"}, oidcScopes...)
	graph := &App{ClientID: GraphAppID, Name: "Microsoft Graph", IdentifierURIs: []string{"https://graph.microsoft.com"}, TokenVersion: 1,
		PreAuthorized:  preauthorise(mayRead...),
		OptionalClaims: []string{"idtyp"}}
	graph.Scopes, graph.AppRoles = graphPermissions()
	for _, c := range []string{AzureCLIAppID, AzurePowerShellAppID} { // with these an administrator administers
		graph.PreAuthorized[c] = append([]string{"Application.ReadWrite.All", "AppRoleAssignment.ReadWrite.All", "AuditLog.Read.All",
			"DelegatedPermissionGrant.ReadWrite.All", "Directory.AccessAsUser.All", "Group.ReadWrite.All", "User.ReadWrite.All"}, mayRead...)
	}
	apps := []*App{graph}

	for _, r := range []struct {
		id, name string
		uris     []string
	}{
		{ARMAppID, "Windows Azure Service Management API", []string{"https://management.azure.com", "https://management.core.windows.net"}},
		{"00000002-0000-0000-c000-000000000000", "Windows Azure Active Directory", []string{"https://graph.windows.net"}},
		{exchangeAppID, "Office 365 Exchange Online", []string{"https://outlook.office365.com", "https://outlook.office.com"}},
		{"00000009-0000-0000-c000-000000000000", "Power BI Service", []string{"https://analysis.windows.net/powerbi/api"}},
		{"022907d3-0f1b-48f7-badc-1ba6abab6d66", "Azure SQL Database", []string{"https://database.windows.net"}},
		{"cfa8b339-82a2-471a-a3c9-0fc0be7a4093", "Azure Key Vault", []string{"https://vault.azure.net"}},
		{"e406a681-f3d4-42a8-90b6-c2b029497af1", "Azure Storage", []string{"https://storage.azure.com"}},
		{"6dae42f8-4368-4678-94ff-3960e28e3630", "Azure Kubernetes Service AAD Server", nil},
		{"6256c85f-0aad-4d50-b960-e6e9b21efe35", "Azure Arc-enabled Kubernetes", nil},
		{"499b84ac-1321-427f-aa17-267ca6975798", "Azure DevOps", []string{"https://app.vssps.visualstudio.com"}},
		{TokenExchangeAppID, "AAD Token Exchange Endpoint", []string{"api://AzureADTokenExchange"}},
	} {
		a := &App{ClientID: r.id, Name: r.name, IdentifierURIs: r.uris, TokenVersion: 1,
			Scopes: impersonation(r.id), PreAuthorized: preauthorise("user_impersonation")}
		switch r.id {
		case TokenExchangeAppID:
			a.TokenVersion = 2 // so that the issuer in its tokens is the one that trusts name
		case exchangeAppID:
			for _, p := range [][2]string{{"IMAP.AccessAsUser.All", "Read and write your mail by IMAP"}, {"POP.AccessAsUser.All", "Read and write your mail by POP"},
				{"SMTP.Send", "Send mail as you by SMTP"}, {"EWS.AccessAsUser.All", "Access your mailboxes by Exchange Web Services"}} {
				a.Scopes = append(a.Scopes, Scope{ID: derivedID(r.id, p[0]), Value: p[0], Name: p[1]})
			}
			for _, p := range [][2]string{{"IMAP.AccessAsApp", "Read and write all mail by IMAP"}, {"POP.AccessAsApp", "Read and write all mail by POP"},
				{"SMTP.SendAsApp", "Send mail as anybody by SMTP"}, {"full_access_as_app", "Access all mailboxes by Exchange Web Services"}} {
				a.AppRoles = append(a.AppRoles, AppRole{ID: derivedID(r.id, p[0]), Value: p[0], Name: p[1], ForApps: true})
			}
		}
		apps = append(apps, a)
	}
	for _, c := range []struct{ id, name string }{
		{AzureCLIAppID, "Microsoft Azure CLI"}, {AzurePowerShellAppID, "Microsoft Azure PowerShell"},
		{GraphPowerShellAppID, "Microsoft Graph Command Line Tools"}, {VSCodeAppID, "Visual Studio Code"},
	} {
		apps = append(apps, &App{ClientID: c.id, Name: c.name, AllowPublicFlows: true, Family: c.id == AzurePowerShellAppID || c.id == VSCodeAppID,
			NativeRedirects: []string{"http://localhost", "https://login.microsoftonline.com/common/oauth2/nativeclient"}})
	}
	for _, a := range apps {
		a.FirstParty, a.Audience = true, OrgsAndPeople
	}
	return apps
}

//go:embed graph-permissions.tsv
var permissionTable string

type permissions struct {
	scopes []Scope
	roles  []AppRole
}

// parsePermissions reads the table once, however many worlds there are.
var parsePermissions = sync.OnceValue(func() permissions {
	p := permissions{make([]Scope, 0, 800), make([]AppRole, 0, 800)}
	for i, id := range []string{"37f7f235-527c-4136-accd-4a02d197296e", "14dad69e-099b-42c9-810b-d002981feec1",
		"64a6cdd6-aab1-4aaf-94b8-3cc8405e90d0", "7427e0e9-2fba-42fe-b0c0-848c9e6a8182"} {
		p.scopes = append(p.scopes, Scope{ID: id, Value: oidcScopes[i], Name: oidcScopes[i]})
	}
	for line := range strings.Lines(permissionTable) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(f) < 5 {
			continue
		}
		if f[1] != "" {
			p.scopes = append(p.scopes, Scope{ID: f[1], Value: f[0], Name: f[0], AdminOnly: f[3] == "true"})
		}
		if f[2] != "" {
			p.roles = append(p.roles, AppRole{ID: f[2], Value: f[0], Name: f[0], ForApps: true})
		}
	}
	return p
})

// graphPermissions returns what Microsoft Graph publishes. The slices are
// shared: nobody changes them.
func graphPermissions() ([]Scope, []AppRole) {
	p := parsePermissions()
	return p.scopes, p.roles
}
