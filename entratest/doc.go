// Package entratest is Microsoft Entra ID and Microsoft Graph for tests: real
// HTTPS on loopback, the protocols and refusals of the real service, and a
// small world of users and apps with fixed ids. No tenant, no network.
//
// # A test
//
//	func TestOurDaemonReadsUsers(t *testing.T) {
//		emu := entratest.New(t)
//		err := daemon.Run(daemon.Config{
//			Authority:  emu.URL() + "/" + entratest.TenantID,
//			Graph:      emu.GraphURL(),
//			ClientID:   entratest.DaemonClientID,
//			Secret:     entratest.DaemonSecret,
//			HTTPClient: emu.Client(),
//		})
//		...
//	}
//
// [New] gives every test an emulator of its own: it is ready in a few
// milliseconds, so there is no reason to share one. [Start] is the same for
// programs, [Handler] for a server that already exists. The command fob
// emulator is [Start] behind a command line.
//
// # The world
//
// The tenant [TenantID] has three users (Ada is an administrator, Ben and Cleo
// are not), two groups, and apps for every flow: the constants of this package
// name them, their passwords and secrets. [Emulator.AddUser],
// [Emulator.AddGroup], [Emulator.AddApp], [Emulator.AddSecret] and
// [Emulator.AddCertificate] add what a test needs besides; a world file
// (Config.WorldFile) describes whole tenants. Ids are the same in every run.
//
// A world file extends the default world, or replaces it:
//
//	replace = true                      # begin with nothing but Microsoft's own apps
//
//	[[tenant]]
//	name = "Contoso"                    # ids may be left out: they are made from the names
//	domains = ["contoso.example"]
//
//	[[user]]
//	upn = "mira@contoso.example"        # the domain says the tenant
//	password = "mira-password-1"
//	roles = ["Global Administrator"]
//
//	[[group]]
//	name = "Readers"
//	members = ["mira@contoso.example"]
//
//	[[app]]
//	id = "11111111-0000-4000-8000-000000000001"
//	name = "nightly job"
//	secret = [{ value = "nightly-secret" }]
//	certificates = ["nightly.pem"]      # beside the world file
//	granted."https://graph.microsoft.com" = ["User.Read.All"]
//
// An entry with the id or name of something that exists changes it. A word that
// is not known is an error that names its line.
//
// # Graph
//
// Users, groups, apps, service principals, grants, role assignments, mail,
// photos and files can be read and written, with the permissions, query rules
// and error bodies of the real service; delta queries follow the changes, and
// $batch takes twenty requests. What is changed there counts everywhere: a
// secret made by addPassword signs in. What Graph has and the emulator has not
// is refused with 501, a query option that it does not implement with 400.
// Config.GeneratedUsers adds a million users that take no memory,
// [Emulator.Throttle] counts resource units, and files go up and down at
// [Emulator.StorageURL], which refuses tokens.
//
// # Making things happen
//
// Nothing misbehaves unless it is told to. [Emulator.Fail] makes requests fail
// with an AADSTS number, a status with Retry-After, or a dropped connection.
// [Emulator.Advance] moves the clock past a token's end: never sleep.
// [Emulator.Approve] and [Emulator.Deny] are the person at the device page.
// [Emulator.RotateKeys], [Emulator.Revoke] and [Emulator.ChallengeClaims] are
// what happens to long-running programs. The same controls are reachable over
// HTTP, on a port of their own, with Config.ControlListen.
//
// # Seeing what happened
//
// [Emulator.Requests] lists what was asked, with secrets removed: how many
// requests a flow takes, which parameters a client sends, which AADSTS number
// it was refused with.
//
// # Other programs
//
// Clients demand HTTPS, so the emulator brings a certificate authority, which
// is limited to localhost and the names it was asked for and is never installed
// anywhere. [Emulator.Client] trusts it; [Emulator.Env] is the environment that
// makes other programs trust it and find the emulator. Clients whose hosts are
// compiled in work when somebody points Microsoft's names at the emulator, see
// Config.Impersonate.
//
// # What is promised
//
// Refusals carry the AADSTS number, OAuth error, status and body of the real
// service. What the emulator does not implement it refuses; it never ignores a
// query option of Graph. It is for tests alone: every secret of its world is
// public, so it listens on loopback unless Config.InsecureListenOnAnyAddress
// says otherwise.
package entratest
