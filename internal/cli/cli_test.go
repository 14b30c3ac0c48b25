package cli

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/aadsts"
)

// ran is the outcome of a command.
type ran struct {
	status         int
	stdout, stderr string
}

// runFob runs a command in this process, with nothing of its environment.
func runFob(t *testing.T, environ []string, args ...string) ran {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status := Run(t.Context(), Env{Args: args, Environ: append([]string{"FOB_CACHE_DIR=" + filepath.Join(t.TempDir(), "cache")}, environ...),
		Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr})
	return ran{status, stdout.String(), stderr.String()}
}

// resolved runs "fob token" as far as its settings.
func resolved(t *testing.T, environ []string, args ...string) (*settings, error) {
	t.Helper()
	inv := &invocation{Env: Env{Environ: append([]string{"FOB_CACHE_DIR=" + t.TempDir()}, environ...), Args: append([]string{"token"}, args...),
		Stdin: strings.NewReader("from-stdin\n"), Stdout: &bytes.Buffer{}, Stderr: &bytes.Buffer{}}}
	cmd := inv.tokenCommand()
	var s *settings
	var err error
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		inv.flags.set = cmd.Flags().Changed
		s, err = inv.resolve(tokenFlags)
		return nil
	}
	root := &cobra.Command{Use: "fob"}
	root.AddCommand(cmd)
	root.SetArgs(inv.Args)
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s, err
}

func TestFlagsWinOverAzureVariablesOverTerraformVariables(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("from-file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	azure := []string{"AZURE_TENANT_ID=azure.example", "AZURE_CLIENT_ID=azure-client", "AZURE_CLIENT_SECRET=azure-secret"}
	arm := []string{"ARM_TENANT_ID=arm.example", "ARM_CLIENT_ID=arm-client", "ARM_CLIENT_SECRET=arm-secret"}
	for _, test := range []struct {
		name                     string
		environ, args            []string
		tenant, client, password value
	}{
		{"nothing", nil, nil, value{}, value{}, value{}},
		{"Terraform's", arm, nil, value{"arm.example", "ARM_TENANT_ID"}, value{"arm-client", "ARM_CLIENT_ID"}, value{"arm-secret", "ARM_CLIENT_SECRET"}},
		{"both", append(arm[:3:3], azure...), nil, value{"azure.example", "AZURE_TENANT_ID"}, value{"azure-client", "AZURE_CLIENT_ID"}, value{"azure-secret", "AZURE_CLIENT_SECRET"}},
		{"flags too", append(arm[:3:3], azure...), []string{"-t", "flag.example", "-c", "flag-client", "--client-secret-file", secret},
			value{"flag.example", "--tenant"}, value{"flag-client", "--client-id"}, value{"from-file", "--client-secret-file"}},
		{"stdin", azure, []string{"--client-secret-file", "-"},
			value{"azure.example", "AZURE_TENANT_ID"}, value{"azure-client", "AZURE_CLIENT_ID"}, value{"from-stdin", "--client-secret-file"}},
		{"one of each", append(arm[:1:1], azure[1]), []string{"--tenant", "flag.example"}, value{"flag.example", "--tenant"}, value{"azure-client", "AZURE_CLIENT_ID"}, value{}},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := resolved(t, test.environ, test.args...)
			if err != nil {
				t.Fatal(err)
			}
			var password value
			if secret, ok := s.credential.(fob.ClientSecret); ok {
				password = value{secret.Reveal(), s.credentialFrom}
			}
			if s.tenant != test.tenant || s.clientID != test.client || password != test.password {
				t.Errorf("tenant %v, client %v, secret %v", s.tenant, s.clientID, password)
			}
		})
	}
}

func TestTheCloudFollowsFromFlagsAndEnvironment(t *testing.T) {
	for _, test := range []struct {
		name                   string
		environ, args          []string
		authority, graph, from string
		scope                  string
	}{
		{"default", nil, nil, "https://login.microsoftonline.com", "https://graph.microsoft.com", "default", "https://graph.microsoft.com/.default"},
		{"cloud", nil, []string{"--cloud", "usgov"}, "https://login.microsoftonline.us", "https://graph.microsoft.us", "--cloud", "https://graph.microsoft.us/.default"},
		{"variable", []string{"AZURE_AUTHORITY_HOST=https://login.microsoftonline.us/"}, nil, "https://login.microsoftonline.us/", "https://graph.microsoft.us", "AZURE_AUTHORITY_HOST", "https://graph.microsoft.us/.default"},
		{"flag over variable", []string{"AZURE_AUTHORITY_HOST=https://login.microsoftonline.us"}, []string{"--authority-host", "login.partner.microsoftonline.cn"},
			"login.partner.microsoftonline.cn", "https://microsoftgraph.chinacloudapi.cn", "--authority-host", "https://microsoftgraph.chinacloudapi.cn/.default"},
		{"another Graph", nil, []string{"--cloud", "usgov", "--graph-host", "https://dod-graph.microsoft.us"}, "https://login.microsoftonline.us", "https://dod-graph.microsoft.us", "--cloud", "https://dod-graph.microsoft.us/.default"},
		{"a local Graph", nil, []string{"--graph-host", "https://localhost:8443"}, "https://login.microsoftonline.com", "https://localhost:8443", "default", "https://graph.microsoft.com/.default"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, err := resolved(t, test.environ, test.args...)
			if err != nil {
				t.Fatal(err)
			}
			if s.authority.Host != test.authority || s.graph.text != test.graph || s.authorityFrom != test.from || s.scopes[0] != test.scope {
				t.Errorf("authority %s (%s), graph %s, scope %s", s.authority.Host, s.authorityFrom, s.graph.text, s.scopes[0])
			}
		})
	}
}

func TestResourcesBecomeScopes(t *testing.T) {
	for _, test := range []struct {
		resource, want string
		cloud          fob.Cloud
	}{
		{"graph", "https://graph.microsoft.com/.default", fob.Public},
		{"GRAPH", "https://graph.microsoft.us/.default", fob.USGovernment},
		{"keyvault", "https://vault.azure.cn/.default", fob.China},
		{"storage", "https://storage.azure.com/.default", fob.China},
		{"devops", "499b84ac-1321-427f-aa17-267ca6975798/.default", fob.Public},
		{"servicebus", "https://servicebus.azure.net//.default", fob.Public},
		{"https://management.core.windows.net/", "https://management.core.windows.net//.default", fob.Public},
		{"https://management.core.windows.net", "https://management.core.windows.net/.default", fob.Public},
		{"api://my-api", "api://my-api/.default", fob.Public},
		{"499b84ac-1321-427f-aa17-267ca6975798", "499b84ac-1321-427f-aa17-267ca6975798/.default", fob.Public},
		{"https://vault.azure.net/.default", "https://vault.azure.net/.default", fob.Public},
	} {
		if got, err := resourceScope(test.resource, test.cloud); got != test.want || err != nil {
			t.Errorf("%s of the cloud %s is %s, %v; want %s", test.resource, test.cloud.Name, got, err, test.want)
		}
	}
	for _, resource := range []string{"", "vault.azure.net", "nonsense", "devops "} {
		cloud := fob.China
		if _, err := resourceScope(resource, cloud); err == nil {
			t.Errorf("%q is a resource of the cloud %s", resource, cloud.Name)
		}
	}
}

func TestDefaultScopeOfASingleScope(t *testing.T) {
	for scope, want := range map[string]string{
		"User.Read":                              "https://graph.microsoft.com/.default",
		"https://graph.microsoft.com/User.Read":  "https://graph.microsoft.com/.default",
		"https://graph.microsoft.com":            "https://graph.microsoft.com/.default",
		"api://fob-api/access_as_user":           "api://fob-api/.default",
		"https://vault.azure.net/.default":       "https://vault.azure.net/.default",
		"https://servicebus.azure.net//.default": "https://servicebus.azure.net//.default",
	} {
		if got := defaultScopeOf(scope); got != want {
			t.Errorf("of %s: %s, want %s", scope, got, want)
		}
	}
}

func TestShellsKeepEveryCharacter(t *testing.T) {
	const nasty = `a'b"c$d` + "`e\\f"
	for shell, want := range map[string]string{
		"bash":       `export X='a'\''b"c$d` + "`e\\f'",
		"fish":       `set -gx X 'a\'b"c$d` + "`e\\\\f'",
		"powershell": `$env:X = 'a''b"c$d` + "`e\\f'",
	} {
		if got, err := assignment(shell, "X", nasty); got != want || err != nil {
			t.Errorf("%s: %s, %v; want %s", shell, got, err, want)
		}
	}
	if line, err := assignment("cmd", "X", "a&b"); err == nil {
		t.Errorf("cmd would run what is behind the ampersand: %s", line)
	}
	if got := quotePowerShell("it’s"); got != "'it’’s'" {
		t.Errorf("PowerShell ends a string at a typographic quote: %s", got)
	}
}

func TestEveryCodeIsReportedWithCauseAndFix(t *testing.T) {
	inv := &invocation{command: "fob token", settings: &settings{}}
	n := 0
	for code := range aadsts.All() {
		n++
		refusal := &fob.Error{Status: code.Status, Code: code.OAuthError, Codes: []int{code.Number}, Description: code.String() + ": text", Grant: "client_credentials"}
		r := inv.describe(refusal)
		if r.cause == "" || r.fix == "" || r.text == "" {
			t.Errorf("%s is reported without cause or fix: %+v", code, r)
		}
		switch r.status {
		case StatusInteraction, StatusRefused, StatusUnavailable:
		default:
			t.Errorf("%s ends with status %d", code, r.status)
		}
	}
	if n < 280 {
		t.Errorf("only %d codes", n)
	}
}

func TestARefusalWithoutANumberIsExplainedByItsOAuthError(t *testing.T) {
	inv := &invocation{command: "fob token"}
	if r := inv.describe(&fob.Error{Status: 401, Code: "invalid_client", Grant: "client_credentials"}); r.cause == "" || r.fix == "" || r.status != StatusRefused {
		t.Errorf("%+v", r)
	}
}

func TestTextsOfServersAreHarmless(t *testing.T) {
	inv := &invocation{Env: Env{Stderr: &bytes.Buffer{}}}
	e := &apiError{status: 400, host: "graph", request: "GET /", code: "Bad\x1b[31m", message: "line\nbreak \u202e\x9b"}
	r := inv.describe(e)
	if strings.ContainsAny(r.text, "\x1b\n\u202e\u009b") {
		t.Errorf("%q", r.text)
	}
}

func TestEveryCommandHasExamplesThatParse(t *testing.T) {
	inv := &invocation{}
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Name() != "help" && cmd.Example == "" {
			t.Errorf("%s has no examples", cmd.CommandPath())
		}
		if cmd.Short == "" {
			t.Errorf("%s does not say what it does", cmd.CommandPath())
		}
		for line := range strings.Lines(cmd.Example) {
			checkExample(t, strings.TrimSpace(line))
		}
		for _, c := range cmd.Commands() {
			visit(c)
		}
	}
	visit(inv.root())
}

// checkExample finds every "fob …" in a line of a shell, and parses it.
func checkExample(t *testing.T, line string) {
	t.Helper()
	found := false
	line, _, _ = strings.Cut(line, "#")
	for _, part := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune("|()<>;&\"", r) }) {
		words := strings.Fields(strings.ReplaceAll(part, "'", ""))
		if len(words) == 0 || words[0] != "fob" {
			continue
		}
		found = true
		inv := &invocation{Env: Env{Args: words[1:]}}
		cmd, rest, err := inv.root().Find(words[1:])
		if err != nil || len(words) > 1 && cmd.Name() == "fob" {
			t.Errorf("%q: there is no such command (%v)", line, err)
			continue
		}
		if err := cmd.ParseFlags(rest); err != nil {
			t.Errorf("%q: %v", line, err)
		} else if err := cmd.ValidateArgs(cmd.Flags().Args()); err != nil {
			t.Errorf("%q: %v", line, err)
		}
	}
	if !found {
		t.Errorf("%q does not run fob", line)
	}
}

func TestHelpFitsTheScreenAndRepeatsTheExitStatus(t *testing.T) {
	inv := &invocation{}
	for _, cmd := range inv.root().Commands() {
		got := runFob(t, nil, cmd.Name(), "--help")
		if got.status != StatusDone || !strings.Contains(got.stdout, exitStatusTable) || !strings.Contains(got.stdout, "Examples:") {
			t.Errorf("help of %s: status %d\n%s", cmd.Name(), got.status, got.stdout)
		}
		about, _, _ := strings.Cut(got.stdout, "Usage:")
		for line := range strings.Lines(about) {
			if displayWidth(strings.TrimRight(line, "\n")) > 80 {
				t.Errorf("help of %s has a line of more than 80 columns: %s", cmd.Name(), line)
			}
		}
	}
}

func TestAFlagWithASecretIsHiddenFromHelpAndCompletion(t *testing.T) {
	if got := runFob(t, nil, "token", "--help"); strings.Contains(got.stdout, "refused (") == false || strings.Contains(got.stdout, "--client-secret ") {
		t.Error(got.stdout)
	}
	if got := runFob(t, nil, "__complete", "token", "--client-"); strings.Contains(got.stdout, "--client-secret\t") || !strings.Contains(got.stdout, "--client-secret-file") {
		t.Error(got.stdout)
	}
}

func TestAnInterruptedCommandEndsWithStatus130(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out bytes.Buffer
	status := Run(ctx, Env{Args: []string{"token", "-t", "t.example", "-c", "c"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out,
		Environ: []string{"AZURE_CLIENT_SECRET=s", "FOB_CACHE_DIR=" + t.TempDir()}})
	if status != StatusInterrupted || out.Len() > 0 {
		t.Errorf("status %d, output %q", status, out.String())
	}
}

func TestParagraphsHangUnderTheirFirstLine(t *testing.T) {
	if got := hang("one two three", 4, 12); got != "one two\n    three" {
		t.Errorf("%q", got)
	}
	if got := hang("one two three", 4, 0); got != "one two three" {
		t.Errorf("without a width: %q", got)
	}
}

func TestATableLinesUp(t *testing.T) {
	var b strings.Builder
	writeTable(&b, terminal{}, [][]string{{"A", "B"}, {"long", "x"}})
	if b.String() != "A     B\nlong  x\n" {
		t.Errorf("%q", b.String())
	}
}

func TestAQRCodeIsSquareWithAQuietZone(t *testing.T) {
	picture, width := qrPicture("https://login.microsoft.com/device")
	lines := strings.Split(strings.TrimRight(picture, "\n"), "\n")
	if len(lines) != (width+1)/2 {
		t.Errorf("%d lines for %d dots", len(lines), width)
	}
	for i, line := range lines {
		if displayWidth(line) != width || !strings.HasPrefix(line, "██") && i < len(lines)-1 {
			t.Errorf("line %d: %q", i, line)
		}
	}
}
