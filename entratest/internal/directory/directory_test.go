package directory

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTheDefaultWorld(t *testing.T) {
	w := Default()
	for _, name := range []string{TenantID, strings.ToUpper(TenantID), "fob.example", "FobExample.OnMicrosoft.com"} {
		if tenant, ok := w.Tenant(name); !ok || tenant.ID != TenantID {
			t.Errorf("tenant %s: %v %v", name, tenant, ok)
		}
	}
	var upns []string
	for _, u := range w.Users(TenantID) {
		upns = append(upns, u.UPN)
	}
	if diff := cmp.Diff([]string{"ada@fob.example", "ben@fob.example", "cleo@fob.example"}, upns); diff != "" {
		t.Errorf("users (-want +got):\n%s", diff)
	}
	if u, ok := w.User("", "BEN@fob.example"); !ok || u.ID != BenID || u.Admin() {
		t.Errorf("ben: %v %v", u, ok)
	}
	if roles := w.AppRolesOf(TenantID, DaemonAppID, GraphAppID); !slices.Contains(roles, "User.Read.All") {
		t.Errorf("daemon's roles at Graph: %v", roles)
	}
	if scopes := w.Consented(TenantID, CLIAppID, GraphAppID, BenID); !slices.Contains(scopes, "User.Read") || slices.Contains(scopes, "Mail.Read") {
		t.Errorf("the CLI's scopes at Graph: %v", scopes)
	}
	if groups := w.GroupsOf(TenantID, BenID); len(groups) != 2 {
		t.Errorf("ben's groups: %v", groups)
	}
}

func TestGraphPublishesItsPermissions(t *testing.T) {
	w := Default()
	graph, ok := w.Resource(TenantID, "https://graph.microsoft.com/")
	if !ok || graph.ClientID != GraphAppID || len(graph.Scopes) < 600 || len(graph.AppRoles) < 500 {
		t.Fatalf("graph: %v", ok)
	}
	for _, value := range []string{"openid", "User.Read", "mail.read"} {
		if s, ok := graph.Scope(value); !ok || len(s.ID) != 36 {
			t.Errorf("scope %s: %v %v", value, s, ok)
		}
	}
	if s, _ := graph.Scope("User.Read"); s.ID != "e1fe6dd8-ba31-4d61-89e7-88639da4683d" || s.AdminOnly {
		t.Errorf("User.Read: %+v", s)
	}
	if s, _ := graph.Scope("Directory.Read.All"); !s.AdminOnly {
		t.Errorf("Directory.Read.All: %+v", s)
	}
}

func TestResourcesAreFoundByAllTheirNames(t *testing.T) {
	w := Default()
	w.AddResourceOrigin(ARMAppID, "https://localhost:8443")
	for name, id := range map[string]string{"https://management.core.windows.net/": ARMAppID, "https://management.core.windows.net//": ARMAppID, ARMAppID: ARMAppID,
		"https://LOCALHOST:8443/": ARMAppID, "api://fob-api": APIAppID, "api://" + APIAppID + "/": APIAppID, "https://vault.azure.net": "cfa8b339-82a2-471a-a3c9-0fc0be7a4093"} {
		if r, ok := w.Resource(TenantID, name); !ok || r.ClientID != id {
			t.Errorf("%s: %v %v", name, r, ok)
		}
	}
	for _, name := range []string{"", "api://typo", "https://graph.microsoft.com/v1.0"} {
		if r, ok := w.Resource(TenantID, name); ok {
			t.Errorf("%q is %s", name, r.Name)
		}
	}
}

func TestAnAppOfAnotherTenantHasToBeInstalled(t *testing.T) {
	w := Default()
	if _, ok := w.App(TenantID, PartnerAppID); ok {
		t.Error("it is there before")
	}
	w.Install(TenantID, PartnerAppID)
	a, ok := w.App(TenantID, PartnerAppID)
	if !ok || w.PrincipalID(TenantID, a) == w.PrincipalID(OtherTenantID, a) {
		t.Errorf("%v %v", a, ok)
	}
	if _, ok := w.App(OtherTenantID, DaemonAppID); ok {
		t.Error("the other tenant sees the daemon")
	}
}

func TestAChangedAppKeepsNoOldNames(t *testing.T) {
	w := Default()
	w.UpdateApp(APIAppID, func(a *App) { a.IdentifierURIs = []string{"api://renamed"} })
	if _, ok := w.Resource(TenantID, "api://fob-api"); ok {
		t.Error("the old name is still good")
	}
	if a, ok := w.Resource(TenantID, "api://renamed"); !ok || a.ClientID != APIAppID || a.Identifier() != "api://renamed" {
		t.Errorf("%v %v", a, ok)
	}
	if w.UpdateApp(TenantID, func(*App) {}) {
		t.Error("an app was updated that is not there")
	}
}

func TestADomainThatATenantGaveUpIsNobodys(t *testing.T) {
	w := Default()
	if err := Load(w, []byte("[[tenant]]\nid = '"+TenantID+"'\ndomains = ['new.example']\n"), "."); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.Tenant("fob.example"); ok {
		t.Error("the old domain is still good")
	}
	if tenant, ok := w.Tenant("new.example"); !ok || tenant.Name != "Fob Example" || len(w.Tenants()) != 2 {
		t.Errorf("%v %v", tenant, ok)
	}
}

func TestARenamedUserIsFoundByTheNewNameOnly(t *testing.T) {
	w := Default()
	u, _ := w.User("", BenID)
	c := *u
	c.UPN = "benedict@fob.example"
	w.PutUser(&c)
	if _, ok := w.User("", "ben@fob.example"); ok {
		t.Error("the old name is still good")
	}
	if got, ok := w.User(TenantID, "benedict@fob.example"); !ok || got.ID != BenID || len(w.Users(TenantID)) != 3 {
		t.Errorf("%v %v", got, ok)
	}
}

func TestADeletedUserIsInNoGroup(t *testing.T) {
	w := Default()
	before, _ := w.Group(TenantID, "Platform")
	if !w.DeleteUser(TenantID, "ben@fob.example") || w.DeleteUser(TenantID, BenID) {
		t.Error("a user can be deleted once")
	}
	after, _ := w.Group(TenantID, PlatformGroupID)
	if slices.Contains(after.Members, BenID) || !slices.Contains(before.Members, BenID) {
		t.Errorf("before %v, after %v: values that were given out do not change", before.Members, after.Members)
	}
	if !w.DeleteGroup(TenantID, ReadersGroupID) || len(w.Groups(TenantID)) != 1 {
		t.Errorf("groups: %v", w.Groups(TenantID))
	}
}

func TestADeletedAppComesBackToItsOwnNamesOnly(t *testing.T) {
	w := Default()
	vault, _ := w.Registration(VaultAPIAppID)
	w.DeleteApp(TenantID, VaultAPIAppID)
	heir := &App{ClientID: "33333333-0000-4000-8000-000000000003", Tenant: TenantID, Name: "heir", IdentifierURIs: vault.IdentifierURIs}
	if err := w.CreateApp(heir); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Restore(TenantID, vault.ObjectID); !errors.Is(err, ErrConflict) {
		t.Errorf("restored: %v", err)
	}
	if r, _ := w.Resource(TenantID, vault.IdentifierURIs[0]); r != heir {
		t.Errorf("the name is that of %s", r.Name)
	}
	w.DeleteApp(TenantID, heir.ClientID)
	if _, err := w.Restore(TenantID, vault.ObjectID); err != nil {
		t.Error(err)
	}
}

func TestDeletedObjectsAreBounded(t *testing.T) {
	w := Default()
	w.deleted = make([]Deleted, maxDeleted)
	w.DeleteUser(TenantID, BenID)
	if n := len(w.deleted); n > maxDeleted || w.deleted[n-1].ID != BenID {
		t.Errorf("%d deleted objects are kept, the last is %s", n, w.deleted[n-1].ID)
	}
}

func TestGroupsMayNestInCircles(t *testing.T) {
	w := Default()
	w.PutGroup(&Group{ID: ReadersGroupID, Tenant: TenantID, Name: "Readers", Members: []string{PlatformGroupID, CleoID}})
	w.PutGroup(&Group{ID: PlatformGroupID, Tenant: TenantID, Name: "Platform", Members: []string{AdaID, ReadersGroupID}})
	if groups := w.GroupsOf(TenantID, AdaID); len(groups) != 2 {
		t.Errorf("ada's groups: %v", groups)
	}
	w.AssignRole(RoleAssignment{TenantID, PlatformGroupID, APIAppID, "Tasks.Approve"})
	if roles := w.AppRolesOf(TenantID, CleoID, APIAppID); !slices.Equal(roles, []string{"Tasks.Approve"}) {
		t.Errorf("cleo's roles through groups: %v", roles)
	}
}

func TestConsentAddsUpAndCanBeWithdrawn(t *testing.T) {
	w := Default()
	for _, g := range []Grant{{TenantID, WebAppID, ARMAppID, "", []string{"user_impersonation"}}, {TenantID, WebAppID, ARMAppID, BenID, []string{"x"}}, {TenantID, WebAppID, ARMAppID, BenID, []string{"y", "x"}}} {
		w.Grant(g)
	}
	if got := w.Consented(TenantID, WebAppID, ARMAppID, BenID); !slices.Equal(got, []string{"user_impersonation", "x", "y"}) {
		t.Errorf("ben: %v", got)
	}
	if got := w.Consented(TenantID, WebAppID, ARMAppID, AdaID); !slices.Equal(got, []string{"user_impersonation"}) {
		t.Errorf("ada: %v", got)
	}
	w.Ungrant(TenantID, WebAppID, ARMAppID, "")
	if got := w.Consented(TenantID, WebAppID, ARMAppID, AdaID); len(got) != 0 {
		t.Errorf("ada afterwards: %v", got)
	}
}

func TestTheClockCanBeMoved(t *testing.T) {
	w := Default()
	w.Advance(time.Hour)
	if d := time.Until(w.Now()); d < 59*time.Minute || d > time.Hour {
		t.Errorf("an hour ahead is %v ahead", d)
	}
	at := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	w.SetTime(at)
	if d := w.Now().Sub(at); d < 0 || d > time.Minute {
		t.Errorf("set to %v, it is %v", at, w.Now())
	}
}

func TestAWorldTakesManyAtOnce(t *testing.T) {
	w := Default()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				w.RevokeSessions(BenID)
				w.UpdateApp(DaemonAppID, func(a *App) { a.Name += "." })
				w.Users(TenantID)
				w.AppRolesOf(TenantID, BenID, APIAppID)
				w.Grant(Grant{Tenant: TenantID, Client: WebAppID, Resource: ARMAppID, Scopes: []string{"x"}})
				w.Consented(TenantID, WebAppID, ARMAppID, BenID)
			}
		})
	}
	wg.Wait()
	if !w.RevokeSessions("ben@fob.example") {
		t.Error("ben is gone")
	}
}

const contoso = `
replace = true

[[tenant]]
name = "Contoso"
domains = ["contoso.example"]

[[user]]
upn = "mira@contoso.example"
given_name = "Mira"
surname = "Keller"
password = "mira-password-1"
roles = ["Global Administrator"]

[[user]]
upn = "noa@contoso.example"
mfa_required = true

[[group]]
name = "Readers"
members = ["mira@contoso.example"]

[[app]]
id = "11111111-0000-4000-8000-000000000001"
name = "nightly job"
secret = [{ value = "nightly-secret", begins = 2029-01-01T00:00:00Z, expires = 2030-01-01T00:00:00Z }, { id = "11111111-0000-4000-8000-0000000000aa", value = "second" }]
certificate = [{ file = "nightly.pem", name = "nights", begins = 2029-01-01T00:00:00Z, expires = 2030-01-01T00:00:00Z }]
federated = [{ issuer = "https://ci.example", subject = "build", keys = "keys.json" }]
granted."https://graph.microsoft.com" = ["User.Read.All"]
granted."tasks" = ["Tasks.Do"]
consented."https://graph.microsoft.com" = ["User.Read"]

[[app]]
name = "tasks"
identifier_uris = ["api://tasks"]
token_version = 2
optional_claims = ["upn"]
id_token_claims = ["email"]
group_claims = "SecurityGroup"
scope = [{ value = "use" }, { value = "manage", admin_only = true }]
role = [{ value = "Tasks.Do", for_apps = true }, { value = "Tasks.See", for_users = true }]

[[grant]]
client = "nightly job"
resource = "api://tasks"
user = "noa@contoso.example"
scopes = ["use"]

[[assignment]]
principal = "Readers"
resource = "tasks"
role = "Tasks.See"
`

// besideTheFile makes a directory with what contoso names.
func besideTheFile(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	text := append([]byte("-----BEGIN OTHER-----\n-----END OTHER-----\n"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	for name, content := range map[string][]byte{"nightly.pem": text, "keys.json": []byte(`{"keys":[]}`), "empty.pem": nil} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestAWorldFileReplacesTheWorld(t *testing.T) {
	w := Default()
	if err := Load(w, []byte(contoso), besideTheFile(t)); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.Tenant(TenantID); ok || len(w.Tenants()) != 1 {
		t.Error("the default tenant is still there")
	}
	tenant, ok := w.Tenant("contoso.example")
	if !ok {
		t.Fatal("no tenant")
	}
	mira, ok := w.User("", "mira@contoso.example")
	if !ok || !mira.Admin() || mira.DisplayName != "Mira Keller" || mira.Tenant != tenant.ID || mira.Mail != mira.UPN {
		t.Errorf("mira: %+v", mira)
	}
	noa, _ := w.User("", "noa@contoso.example")
	if noa.DisplayName != "noa" || !noa.MFARequired {
		t.Errorf("noa: %+v", noa)
	}
	a, ok := w.App(tenant.ID, "11111111-0000-4000-8000-000000000001")
	if !ok || len(a.Secrets) != 2 || a.Secrets[0].Begins.Year() != 2029 || a.Secrets[0].Expires.Year() != 2030 || len(a.Certificates) != 1 || a.Certificates[0].Begins.Year() != 2029 || a.Certificates[0].Expires.Year() != 2030 || a.Certificates[0].Name != "nights" || a.Federated[0].Audience != "api://AzureADTokenExchange" || len(a.Federated[0].Keys) == 0 {
		t.Errorf("app: %+v", a)
	}
	tasks, ok := w.Resource(tenant.ID, "api://tasks")
	if !ok || tasks.TokenVersion != 2 || tasks.GroupClaims != "SecurityGroup" || len(tasks.OptionalClaims) != 1 || len(tasks.IDTokenClaims) != 1 || !tasks.Scopes[1].AdminOnly {
		t.Errorf("tasks: %+v", tasks)
	}
	got := map[string][]string{
		"roles at Graph":  w.AppRolesOf(tenant.ID, a.ClientID, GraphAppID),
		"roles at tasks":  w.AppRolesOf(tenant.ID, a.ClientID, tasks.ClientID),
		"mira at tasks":   w.AppRolesOf(tenant.ID, mira.ID, tasks.ClientID),
		"noa's consent":   w.Consented(tenant.ID, a.ClientID, tasks.ClientID, noa.ID),
		"mira's consent":  w.Consented(tenant.ID, a.ClientID, tasks.ClientID, mira.ID),
		"consent at all":  w.Consented(tenant.ID, a.ClientID, GraphAppID, mira.ID),
		"required access": a.RequiredAccess[GraphAppID],
	}
	want := map[string][]string{"roles at Graph": {"User.Read.All"}, "roles at tasks": {"Tasks.Do"}, "mira at tasks": {"Tasks.See"}, "noa's consent": {"use"},
		"mira's consent": nil, "consent at all": {"User.Read"}, "required access": {"User.Read"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("permissions (-want +got):\n%s", diff)
	}
	again := Default()
	if err := Load(again, []byte(contoso), besideTheFile(t)); err != nil {
		t.Fatal(err)
	}
	if u, _ := again.User("", "mira@contoso.example"); u.ID != mira.ID {
		t.Error("ids that the file leaves out are not the same every time")
	}
}

func TestAWorldFileExtendsAndChanges(t *testing.T) {
	w := Default()
	err := Load(w, []byte(`
[[user]]
upn = "ben@fob.example"
job_title = "Director"
disabled = true

[[user]]
upn = "dee@fob.example"

[[group]]
name = "Readers"
members = ["dee@fob.example", "Platform"]

[[app]]
id = "`+DaemonAppID+`"
secret = [{ value = "only-this-one" }]
installed_in = ["other.example"]
`), ".")
	if err != nil {
		t.Fatal(err)
	}
	ben, _ := w.User(TenantID, "ben@fob.example")
	if ben.ID != BenID || ben.JobTitle != "Director" || !ben.Disabled || ben.Password != "ben-password-1" || ben.Surname != "Ostrow" || len(ben.BusinessPhones) != 1 {
		t.Errorf("ben: %+v", ben)
	}
	dee, ok := w.User(TenantID, "dee@fob.example")
	if !ok || len(w.Users(TenantID)) != 4 {
		t.Errorf("dee: %+v", dee)
	}
	readers, _ := w.Group(TenantID, "Readers")
	if !slices.Equal(readers.Members, []string{dee.ID, PlatformGroupID}) || readers.Description == "" {
		t.Errorf("readers: %+v", readers)
	}
	daemon, _ := w.App(OtherTenantID, DaemonAppID)
	if daemon == nil || len(daemon.Secrets) != 1 || daemon.Secrets[0].Value != "only-this-one" || len(daemon.WebRedirects) != 2 || len(daemon.RequiredAccess) == 0 {
		t.Errorf("daemon: %+v", daemon)
	}
}

func TestAWorldFileKeepsWhatItCannotSay(t *testing.T) {
	w := Default()
	if err := w.UpdateGroup(TenantID, ReadersGroupID, func(g *Group) error { g.Owners = []string{AdaID}; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := Load(w, []byte(`
[[user]]
upn = "ben@fob.example"
password = "another"

[[group]]
name = "Readers"
description = "Who may read"
`), "."); err != nil {
		t.Fatal(err)
	}
	if ben, _ := w.User(TenantID, BenID); ben.Manager != AdaID || ben.Password != "another" {
		t.Errorf("ben: %+v", ben)
	}
	if g, _ := w.Group(TenantID, ReadersGroupID); !slices.Equal(g.Owners, []string{AdaID}) || len(g.Members) != 2 || g.Description != "Who may read" {
		t.Errorf("readers: %+v", g)
	}
}

func TestAGroupOfItsOwnIdIsAnotherOne(t *testing.T) {
	w := Default()
	if err := Load(w, []byte("[[group]]\nid = '33333333-0000-4000-8000-000000000003'\nname = 'Readers'\n"), "."); err != nil {
		t.Fatal(err)
	}
	if g, ok := w.Group(TenantID, "33333333-0000-4000-8000-000000000003"); !ok || len(g.Members) != 0 {
		t.Errorf("the new group: %+v", g)
	}
	if g, _ := w.Group(TenantID, ReadersGroupID); g == nil || len(g.Members) != 2 {
		t.Errorf("the old one: %+v", g)
	}
}

func TestClientsThatAreTrustedAreFoundInAnyCase(t *testing.T) {
	w := Default()
	if err := Load(w, []byte("[[app]]\nid = 'AAAAAAAA-0000-4000-8000-000000000001'\nname = 'x'\nscope = [{ value = 'use' }]\npre_authorized.'BBBBBBBB-0000-4000-8000-000000000001' = ['use']\n"), "."); err != nil {
		t.Fatal(err)
	}
	if got := w.Consented(TenantID, "bbbbbbbb-0000-4000-8000-000000000001", "aaaaaaaa-0000-4000-8000-000000000001", BenID); !slices.Equal(got, []string{"use"}) {
		t.Errorf("consented %q", got)
	}
}

// The order of grants and assignments is that of the lists in Graph.
func TestEqualFilesMakeEqualWorlds(t *testing.T) {
	text := []byte("[[app]]\nid = 'aaaaaaaa-0000-4000-8000-000000000001'\nname = 'x'\n" +
		"granted.'https://graph.microsoft.com' = ['User.Read.All']\ngranted.'api://fob-api' = ['Tasks.Read.All']\n" +
		"consented.'https://graph.microsoft.com' = ['User.Read']\nconsented.'api://fob-api' = ['access_as_user']\nconsented.'api://fob-vault' = ['read']\n")
	load := func() ([]Grant, []RoleAssignment) {
		w := Default()
		if err := Load(w, text, "."); err != nil {
			t.Fatal(err)
		}
		return w.Grants(TenantID), w.RoleAssignments(TenantID)
	}
	grants, roles := load()
	for range 20 {
		g, r := load()
		if diff := cmp.Diff(grants, g) + cmp.Diff(roles, r); diff != "" {
			t.Fatalf("another order:\n%s", diff)
		}
	}
}

func TestAWorldFileHasGuests(t *testing.T) {
	const text = `
[[user]]
upn = "nora@other.example"
name = "Nora Vale"
password = "nora-password-1"

[[user]]
home = "nora@other.example"
roles = ["Directory Readers"]

[[user]]
tenant = "other.example"
home = "ben@fob.example"
guest = false                   # works there like a member
name = "Ben from Fob"
`
	w := Default()
	for range 2 { // the second time the guests are there already
		if err := Load(w, []byte(text), ""); err != nil {
			t.Fatal(err)
		}
	}
	nora, _ := w.User("", "nora@other.example")
	here, ok := w.UserOf(TenantID, nora)
	if !ok || here.UPN != "nora_other.example#EXT#@fobexample.onmicrosoft.com" || !here.Guest || here.DisplayName != "Nora Vale" || here.Mail != "nora@other.example" || len(here.Roles) != 1 {
		t.Errorf("nora as a guest: %+v", here)
	}
	if account, ok := w.Account(here); !ok || account != nora {
		t.Errorf("the guest's account: %+v", account)
	}
	ben, _ := w.User("", BenID)
	there, ok := w.UserOf(OtherTenantID, ben)
	if !ok || there.UPN != "ben_fob.example#EXT#@other.example" || there.Guest || there.DisplayName != "Ben from Fob" || there.GivenName != "Ben" {
		t.Errorf("ben in the other tenant: %+v", there)
	}
	if n := len(w.Users(OtherTenantID)); n != 2 {
		t.Errorf("%d users in the other tenant", n)
	}
	w.DeleteUser(OtherTenantID, there.ID)
	if _, still := w.UserOf(OtherTenantID, ben); still {
		t.Error("a guest who was deleted is still known")
	}
	if _, err := w.Restore(OtherTenantID, there.ID); err != nil {
		t.Fatal(err)
	}
	if back, _ := w.UserOf(OtherTenantID, ben); back == nil || back.ID != there.ID {
		t.Errorf("restored: %+v", back)
	}
}

func TestAWorldFileThatIsWrongSaysWhere(t *testing.T) {
	dir := besideTheFile(t)
	for want, text := range map[string]string{
		`line 2: `: "x = 1\ny = = 2\n",
		`line 3: unknown key "user.pasword", did you mean "password"?`:                      "[[user]]\nupn = 'x@fob.example'\npasword = 'x'\n",
		`line 1: unknown key "tennant", did you mean "tenant"?`:                             "[[tennant]]\nid = 'x'\n",
		`line 3: unknown key "app.secret.vlaue", did you mean "value"?`:                     "[[app]]\nname = 'x'\nsecret = [{ vlaue = 'x' }]\n",
		`user 1: upn "x" is not of the form name@domain`:                                    "[[user]]\nupn = 'x'\n",
		`user 1: there is no tenant "y.example"`:                                            "[[user]]\nupn = 'x@y.example'\ntenant = 'y.example'\n",
		`user 1: role "Boss" is not known`:                                                  "[[user]]\nupn = 'x@fob.example'\nroles = ['Boss']\n",
		`user 1: there is no user "eve@x.example" to be at home`:                            "[[user]]\nhome = 'eve@x.example'\n",
		`user 1: "ben@fob.example" is at home in this very tenant`:                          "[[user]]\nhome = 'ben@fob.example'\n",
		`user 1: who has a home has the password of there`:                                  "[[user]]\ntenant = 'other.example'\nhome = 'ben@fob.example'\npassword = 'x'\n",
		`user 2: "ben_fob.example#EXT#@other.example" is a guest: name the user at home`:    "[[user]]\ntenant = 'other.example'\nhome = 'ben@fob.example'\n[[user]]\nhome = 'ben_fob.example#EXT#@other.example'\n",
		`user 2: "ben@fob.example" is a guest of this tenant already`:                       "[[user]]\ntenant = 'other.example'\nhome = 'ben@fob.example'\n[[user]]\ntenant = 'other.example'\nhome = 'ben@fob.example'\nupn = 'x@other.example'\n",
		`user 1: id "7" is not a GUID`:                                                      "[[user]]\nid = '7'\nupn = 'x@fob.example'\n",
		`user 1: there is no tenant to put it in`:                                           "replace = true\n[[user]]\nupn = 'x@fob.example'\n",
		`tenant 1: give it an id or a domain`:                                               "[[tenant]]\nname = 'x'\n",
		`group 1: there is no user or group "eve@fob.example"`:                              "[[group]]\nname = 'x'\nmembers = ['eve@fob.example']\n",
		`app 1: give it a name`:                                                             "[[app]]\ntenant = 'fob.example'\n",
		`app 1: audience "Everybody" is not one of`:                                         "[[app]]\nname = 'x'\naudience = 'Everybody'\n",
		`app 1: group_claims "Everybody" is not one of`:                                     "[[app]]\nname = 'x'\ngroup_claims = 'Everybody'\n",
		`app 1: token_version 3 is neither 1 nor 2`:                                         "[[app]]\nname = 'x'\ntoken_version = 3\n",
		`is Microsoft's own`:                                                                "[[app]]\nid = '" + GraphAppID + "'\nname = 'x'\n",
		`app 1: open `:                                                                      "[[app]]\nname = 'x'\ncertificates = ['nowhere.pem']\n",
		`app 1: a certificate has no file`:                                                  "[[app]]\nname = 'x'\ncertificate = [{ name = 'x' }]\n",
		`app 1: the certificate in nightly.pem expires before it begins`:                    "[[app]]\nname = 'x'\ncertificate = [{ file = 'nightly.pem', begins = 2030-01-01, expires = 2029-01-01 }]\n",
		`app 1: the secret "s" expires before it begins`:                                    "[[app]]\nname = 'x'\nsecret = [{ name = 's', value = 'x', begins = 2030-01-01, expires = 2029-01-01 }]\n",
		`app 1: empty.pem has no certificate`:                                               "[[app]]\nname = 'x'\ncertificates = ['empty.pem']\n",
		`the role "R" is for nobody`:                                                        "[[app]]\nname = 'x'\nrole = [{ value = 'R' }]\n",
		`app "x": Microsoft Graph has no app role "User.Reed.All", did you mean "User.Read`: "[[app]]\nname = 'x'\ngranted.'https://graph.microsoft.com' = ['User.Reed.All']\n",
		`app "x": there is no resource "api://no"`:                                          "[[app]]\nname = 'x'\nconsented.'api://no' = ['y']\n",
		`has no scope "user.read", did you mean "User.Read"?`:                               "[[grant]]\nclient = 'fob CLI'\nresource = 'https://graph.microsoft.com'\nscopes = ['user.read']\n",
		`user 1: upn "Ben@fob.example" is taken by the user with the id ` + BenID:           "[[user]]\nid = '33333333-0000-4000-8000-000000000003'\nupn = 'Ben@fob.example'\n",
		`tenant 1: the domain "fob.example" belongs to the tenant ` + TenantID:              "[[tenant]]\nid = '33333333-0000-4000-8000-000000000003'\ndomains = ['new.example', 'fob.example']\n",
		`line 6: unknown key "grant.name"`:                                                  "[[user]]\nupn = 'a@fob.example'\nname = 'x'\n\n[[grant]]\nname = 'y'\n",
		`line 7: unknown key "app.scopes", did you mean "scope"?`:                           "[[grant]]\nscopes = ['access_as_user']\nclient = 'fob CLI'\nresource = 'api://fob-api'\n[[app]]\nname = 'x'\nscopes = ['y']\n",
		`line 4: unknown key "user.x"`:                                                      "[[user]]\nupn = 'a@fob.example'\n\n[user.x]\ny = 1\n",
		`line 4: unknown key "app.secret.vlaue"`:                                            "[[app]]\nname = 'x'\nsecret = [\n  {vlaue = 'x'},\n]\n",
		`user 1: user.upn: incompatible types`:                                              "[[user]]\nupn = 5\n[[user]]\nupn = 'a@fob.example'\n",
		`app 1: app.secret.expires: parsing time`:                                           "[[app]]\nname = 'x'\nsecret = [{ value = 'x', expires = 'tomorrow' }]\n",
		`app 1: app.secret.value: incompatible types`:                                       "[[app]]\nname = 'x'\nsecret = [{ value = 1 }]\n",
		`app 1: pre_authorized: id "fob CLI" is not a GUID: give a client id`:               "[[app]]\nname = 'x'\npre_authorized.'fob CLI' = ['y']\n",
		`azure_role 1: there is no user, group or app "nobody"`:                             "[[azure_role]]\nprincipal = 'nobody'\nrole = 'Reader'\n",
		`azure_role 1: role "Boss" is not known`:                                            "[[azure_role]]\nprincipal = 'fob daemon'\nrole = 'Boss'\n",
		`assignment 1: there is no user, group or app "nobody"`:                             "[[assignment]]\nprincipal = 'nobody'\nresource = 'api://fob-api'\n",
	} {
		if err := Load(Default(), []byte(text), dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\ngot  %v\nwant %s", text, err, want)
		}
	}
}
