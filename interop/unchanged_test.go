package interop

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/confidential"

	"github.com/fobauth/fob/entratest"
)

// inside says that this process runs where Microsoft's names lead to it.
const inside = "FOB_INTEROP_INSIDE"

// A program whose hosts are compiled in needs no change at all: its names for
// Microsoft lead to the emulator, and SSL_CERT_FILE or its like says whom to
// trust. On Linux root can have that for one process tree.
func TestProgramsWithoutAnySettingSignInAtTheEmulator(t *testing.T) {
	if os.Getenv(inside) != "" {
		inPlaceOfMicrosoft(t)
		return
	}
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("only root on Linux can lead Microsoft's names elsewhere for one process")
	}
	for _, tool := range []string{"unshare", "ip", "mount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is missing: apt-get install util-linux iproute2", tool)
		}
	}
	if out, err := exec.CommandContext(t.Context(), "unshare", "-mn", "true").CombinedOutput(); err != nil {
		t.Skipf("this machine gives no process a network of its own: %v: %s", err, out)
	}
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("127.0.0.1 localhost "+strings.Join(entratest.MicrosoftHosts(), " ")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "-mn", "sh", "-ec", `ip link set lo up; mount --bind "$0" /etc/hosts; exec "$@"`, hosts,
		program, "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(plainEnvironment(), inside+"=yes")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if strings.Count(string(out), "    --- PASS: ") < 2 {
		t.Fatalf("the Go clients did not run:\n%s", out)
	}
	t.Logf("inside:\n%s", out)
}

func inPlaceOfMicrosoft(t *testing.T) {
	emu := entratest.New(t, quick, func(cfg *entratest.Config) {
		cfg.Listen, cfg.Impersonate, cfg.ControlListen = "127.0.0.1:443", entratest.MicrosoftHosts(), "127.0.0.1:0"
	})
	ca, err := emu.CAFile()
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{"SSL_CERT_FILE": ca, "NODE_EXTRA_CA_CERTS": ca, "REQUESTS_CA_BUNDLE": ca, "AZURE_TENANT_ID": entratest.TenantID,
		"AZURE_CLIENT_ID": entratest.DaemonClientID, "AZURE_CLIENT_SECRET": entratest.DaemonSecret} {
		t.Setenv(name, value)
	}
	t.Run("MSAL for Go", func(t *testing.T) {
		client, err := confidential.New("https://login.microsoftonline.com/"+entratest.TenantID, entratest.DaemonClientID, msalSecret(t, entratest.DaemonSecret))
		if err != nil {
			t.Fatal(err)
		}
		got, err := client.AcquireTokenByCredential(t.Context(), []string{graphDefault})
		if err != nil {
			t.Fatal(err)
		}
		wantUsers(t, got.AccessToken)
	})
	t.Run("azidentity", func(t *testing.T) {
		credential, err := azidentity.NewDefaultAzureCredential(nil)
		wantUsers(t, azToken(t, credential, err))
	})
	t.Run("HashiCorp", func(t *testing.T) { hashicorp(t, emu) })
	t.Run("JavaScript", func(t *testing.T) {
		node, err := exec.LookPath("node")
		if err != nil {
			t.Skip("node is missing")
		}
		if _, err := os.Stat("node/node_modules"); err != nil {
			t.Skipf("the JavaScript clients are not installed; run: %s", installNode)
		}
		cmd := exec.CommandContext(t.Context(), node, "--test", "unchanged.mjs")
		cmd.Dir = "node"
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	})
	t.Run("Python", func(t *testing.T) { python(t, emu) })
	t.Run("Azure CLI", func(t *testing.T) { azureCLI(t, emu) })
}

// debianPython is the interpreter that Debian's packages are for.
const debianPython = "/usr/bin/python3"

func python(t *testing.T, emu *entratest.Emulator) {
	if err := exec.CommandContext(t.Context(), debianPython, "-c", "import msal").Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("MSAL for Python is missing: apt-get install python3-msal")
		}
		t.Skip("MSAL for Python is missing: apt-get install python3-msal")
	}
	useDesktop(t, emu)
	t.Setenv("BROWSER", os.Getenv("BROWSER")+" %s &") // else Python waits for it to end, and it for Python
	t.Setenv("FOB_EMULATOR_CONTROL", emu.ControlURL())
	t.Setenv("FOB_INTEROP_CERTIFICATE", registered(t, emu, entratest.DaemonClientID).file(t))
	cmd := exec.CommandContext(t.Context(), debianPython, "-B", "-W", "ignore", "test_msal.py")
	cmd.Dir = "python"
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "\nOK\n") {
		t.Fatalf("%v\n%s", err, out)
	}
}

// azureCLI runs where somebody has it: it is too large to be installed for this.
func azureCLI(t *testing.T, emu *entratest.Emulator) {
	if _, err := exec.LookPath("az"); err != nil {
		t.Skip("az is missing: apt-get install azure-cli")
	}
	t.Setenv("AZURE_CONFIG_DIR", t.TempDir())
	t.Setenv("AZURE_CORE_COLLECT_TELEMETRY", "false")
	az := func(args ...string) string {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), "az", append(args, "-o", "tsv")...).Output()
		if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
			t.Fatalf("az %s: %v\n%s", args, err, exit.Stderr)
		} else if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(out))
	}
	certificate := registered(t, emu, entratest.DaemonClientID).file(t)
	for _, credential := range []string{entratest.DaemonSecret, certificate} {
		az("login", "--service-principal", "-u", entratest.DaemonClientID, "-p", credential, "--tenant", entratest.TenantDomain)
		if got := az("account", "show", "--query", "id"); got != entratest.SubscriptionID(entratest.TenantID) {
			t.Errorf("the subscription is %q", got)
		}
		wantUsers(t, az("account", "get-access-token", "--resource-type", "ms-graph", "--query", "accessToken"))
	}
	az("login", "-u", entratest.AdaUPN, "-p", entratest.AdaPassword)
	if got := az("ad", "signed-in-user", "show", "--query", "id"); got != entratest.AdaID {
		t.Errorf("signed in is %q", got)
	}
	app := az("ad", "app", "create", "--display-name", "made by az", "--query", "appId")
	if got := az("ad", "app", "list", "--display-name", "made by az", "--query", "[].appId"); got == "" || got != app {
		t.Errorf("az made app %q and lists %q", app, got)
	}
	if got := az("ad", "user", "get-member-groups", "--id", entratest.BenUPN, "--query", "[].displayName"); got != "Platform\nReaders" {
		t.Errorf("ben's groups are %q", got)
	}
}

// wantUsers calls Graph by its real name and by the means of any program.
func wantUsers(t *testing.T, token string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, "https://graph.microsoft.com/v1.0/users", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var users struct{ Value []any }
	if err := json.NewDecoder(res.Body).Decode(&users); err != nil || res.StatusCode != http.StatusOK || len(users.Value) != 3 {
		t.Errorf("Graph answered %s with %d users (%v), want 3", res.Status, len(users.Value), err)
	}
}
