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
