package fob_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fobauth/fob/entratest"
)

// These tests keep docs/emulator.md true: what it shows is run, what it lists
// is compared with the code.

const emulatorPage = "docs/emulator.md"

func readEmulatorPage(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(emulatorPage)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// section returns what is below a heading, up to the next one of its level or
// above.
func section(t *testing.T, page, heading string) string {
	t.Helper()
	_, rest, found := strings.Cut(page, "\n"+heading+"\n")
	if !found {
		t.Fatalf("%s has no heading %q", emulatorPage, heading)
	}
	level := len(heading) - len(strings.TrimLeft(heading, "#"))
	if end := regexp.MustCompile(fmt.Sprintf(`(?m)^#{1,%d} `, level)).FindStringIndex(withoutCode(rest)); end != nil {
		rest = rest[:end[0]]
	}
	return rest
}

// withoutCode blanks fenced blocks, whose comments look like headings. Every
// offset stays what it was.
func withoutCode(page string) string {
	return regexp.MustCompile("(?ms)^```.*?^```$").ReplaceAllStringFunc(page, func(block string) string { return strings.Repeat(" ", len(block)) })
}

// fenced returns the blocks of a language.
func fenced(t *testing.T, page, language string) []string {
	t.Helper()
	var blocks []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(page, -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("%s has no %s block: this test checks nothing", emulatorPage, language)
	}
	return blocks
}

func TestTheEmulatorPagesWorldFilesLoad(t *testing.T) {
	blocks := fenced(t, readEmulatorPage(t), "toml")
	t.Chdir(t.TempDir())
	writeNightlyFiles(t)
	for i, block := range blocks {
		emu, err := entratest.Start(entratest.Config{World: []byte(block)})
		if err != nil {
			t.Errorf("TOML block %d of %s: %v", i+1, emulatorPage, err)
			continue
		}
		if err := emu.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestTheEmulatorPagesWholeWorldIssuesTokens(t *testing.T) {
	blocks := fenced(t, readEmulatorPage(t), "toml")
	whole := slices.IndexFunc(blocks, func(b string) bool { return strings.HasPrefix(b, "replace = true") })
	if whole < 0 {
		t.Fatalf("%s has no world file that replaces the fixed world", emulatorPage)
	}
	t.Chdir(t.TempDir())
	writeNightlyFiles(t)
	emu := entratest.New(t, func(cfg *entratest.Config) { cfg.World = []byte(blocks[whole]) })
	for secret, want := range map[string]int{"nightly-secret-value": http.StatusOK, "last-years-secret-value": http.StatusUnauthorized} {
		res, err := emu.Client().PostForm(emu.URL()+"/contoso.example/oauth2/v2.0/token", url.Values{"grant_type": {"client_credentials"},
			"client_id": {"c0a70500-0000-4000-8000-000000000032"}, "client_secret": {secret}, "scope": {"api://reports/.default"}})
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("%s: %s: %s", secret, res.Status, body)
		}
	}
}

// writeNightlyFiles writes the files that the page's examples name into the
// current directory.
func writeNightlyFiles(t *testing.T) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now(), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"nightly.pem":  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		"ci-keys.json": []byte(`{"keys":[]}`),
	} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// worldTables are the structs of a world file and where the page lists their
// keys.
var worldTables = map[string]string{
	"worldFile": "### The file", "fileTenant": "### `[[tenant]]`", "fileUser": "### `[[user]]`", "fileGroup": "### `[[group]]`",
	"fileApp": "### `[[app]]`", "fileSecret": "### `[[app.secret]]`", "fileCertificate": "### `[[app.certificate]]`", "fileFederated": "### `[[app.federated]]`",
	"fileScope": "### `[[app.scope]]`", "fileRole": "### `[[app.role]]`", "fileGrant": "### `[[grant]]`", "fileAssignment": "### `[[assignment]]`",
	"fileAzureRole": "### `[[azure_role]]`",
}

func TestTheEmulatorPageListsExactlyTheKeysOfTheWorldFile(t *testing.T) {
	page := readEmulatorPage(t)
	keys := worldKeys(t)
	for name := range worldTables {
		if keys[name] == nil {
			t.Errorf("worldfile.go has no struct %s with toml tags: correct worldTables (docs_test.go)", name)
		}
	}
	for name, want := range keys {
		heading, ok := worldTables[name]
		if !ok {
			t.Errorf("worldfile.go has the struct %s, of which worldTables (docs_test.go) and %s know nothing", name, emulatorPage)
			continue
		}
		got := firstColumn(section(t, page, heading))
		for _, key := range want {
			if !slices.Contains(got, key) {
				t.Errorf("%s does not say under %q what %s is", emulatorPage, heading, key)
			}
		}
		for _, key := range got {
			if !slices.Contains(want, key) {
				t.Errorf("%s says under %q what %s is, which a world file does not know", emulatorPage, heading, key)
			}
		}
	}
}

// worldKeys returns the toml tags of each struct of worldfile.go.
func worldKeys(t *testing.T) map[string][]string {
	t.Helper()
	keys := map[string][]string{}
	ast.Inspect(parseFile(t, "entratest/internal/directory/worldfile.go"), func(n ast.Node) bool {
		spec, ok := n.(*ast.TypeSpec)
		if !ok {
			return true
		}
		fields, ok := spec.Type.(*ast.StructType)
		if !ok {
			return false
		}
		for _, f := range fields.Fields.List {
			if f.Tag == nil {
				continue
			}
			tag, err := strconv.Unquote(f.Tag.Value)
			if err != nil {
				t.Fatal(err)
			}
			if key := reflect.StructTag(tag).Get("toml"); key != "" {
				keys[spec.Name.Name] = append(keys[spec.Name.Name], key)
			}
		}
		return false
	})
	return keys
}

func parseFile(t *testing.T, path string) *ast.File {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// firstColumn returns the words in backticks that begin the rows of tables.
func firstColumn(text string) []string {
	var words []string
	for _, row := range regexp.MustCompile("(?m)^\\| (`[^|]*) \\|").FindAllStringSubmatch(text, -1) {
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(row[1], -1) {
			words = append(words, m[1])
		}
	}
	return words
}

func TestTheEmulatorPageTellsTheIdsAndSecretsOfTheFixedWorld(t *testing.T) {
	world := section(t, readEmulatorPage(t), "## The fixed world")
	told := 0
	for path, form := range map[string]string{
		"entratest/ids.go":                        `^[a-z]\S*[a-z0-9]$`, // passwords, secrets, domains; import paths aside
		"entratest/internal/directory/ids.go":     `^[0-9a-f-]{36}$`,
		"entratest/internal/directory/default.go": `-(password|value)-\d$|^(api|https?)://(fob|localhost|issuer)`,
	} {
		matches := regexp.MustCompile(form).MatchString
		ast.Inspect(parseFile(t, path), func(n ast.Node) bool {
			if _, ok := n.(*ast.ImportSpec); ok {
				return false
			}
			literal, ok := n.(*ast.BasicLit)
			if !ok || literal.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(literal.Value)
			if err == nil && matches(text) {
				if told++; !strings.Contains(world, "`"+text+"`") {
					t.Errorf("%s does not tell %q, which %s has", emulatorPage, text, path)
				}
			}
			return true
		})
	}
	if told < 40 {
		t.Errorf("only %d words were looked for: this test has lost its eyes", told)
	}
}

func TestTheEmulatorPageNamesTheConstantsOfTheFixedWorld(t *testing.T) {
	world := section(t, readEmulatorPage(t), "## The fixed world")
	for _, declaration := range parseFile(t, "entratest/ids.go").Decls {
		constants, ok := declaration.(*ast.GenDecl)
		if !ok || constants.Tok != token.CONST {
			continue
		}
		for _, spec := range constants.Specs {
			for _, name := range spec.(*ast.ValueSpec).Names {
				if !strings.Contains(world, "`"+name.Name+"`") {
					t.Errorf("%s does not name entratest.%s", emulatorPage, name.Name)
				}
			}
		}
	}
}

// curl is a command of the page's section on controls.
type curl struct {
	line, method, path, body string
}

// bodyFile is a body that curl reads from a file.
const bodyFile = "@nightly.pem"

// controlCalls reads the curl commands of the section on controls.
func controlCalls(t *testing.T) []curl {
	t.Helper()
	var calls []curl
	for _, block := range fenced(t, section(t, readEmulatorPage(t), "## Controls"), "sh") {
		for line := range strings.Lines(block) {
			line = strings.TrimSpace(line)
			words, err := shellWords(line)
			if err != nil || len(words) == 0 || words[0] != "curl" {
				t.Fatalf("%q is not a curl command that this test can read: %v", line, err)
			}
			calls = append(calls, readCurl(t, line, words[1:]))
		}
	}
	return calls
}

func readCurl(t *testing.T, line string, words []string) curl {
	t.Helper()
	c := curl{line: line, method: http.MethodGet}
	explicit := ""
	for i := 0; i < len(words); i++ {
		switch word := words[i]; {
		case word == "-sS":
		case i+1 < len(words) && word == "-X":
			i++
			explicit = words[i]
		case i+1 < len(words) && (word == "-d" || word == "--data-binary"):
			i++
			c.method, c.body = http.MethodPost, words[i]
		case strings.HasPrefix(word, "$FOB_EMULATOR_CONTROL/") && c.path == "":
			c.path = strings.TrimPrefix(word, "$FOB_EMULATOR_CONTROL")
		default:
			t.Fatalf("%q: this test cannot read %q", line, word)
		}
	}
	if explicit != "" {
		c.method = explicit
	}
	return c
}

// shellWords splits a line as a shell does, as far as words, both kinds of
// quotes and comments go.
func shellWords(line string) ([]string, error) {
	var words []string
	for rest := strings.TrimLeft(line, " "); rest != "" && rest[0] != '#'; rest = strings.TrimLeft(rest, " ") {
		var word strings.Builder
		for rest != "" && rest[0] != ' ' {
			if quote := rest[0]; quote == '"' || quote == '\'' {
				inside, after, closed := strings.Cut(rest[1:], string(quote))
				if !closed {
					return nil, fmt.Errorf("a quote is not closed: %s", rest)
				}
				word.WriteString(inside)
				rest = after
				continue
			}
			word.WriteByte(rest[0])
			rest = rest[1:]
		}
		words = append(words, word.String())
	}
	return words, nil
}

func TestTheEmulatorPagesCurlCommandsAreAnswered(t *testing.T) {
	calls := controlCalls(t)
	t.Chdir(t.TempDir())
	writeNightlyFiles(t)
	for _, c := range calls {
		t.Run(c.method+c.path, func(t *testing.T) {
			emu := entratest.New(t, func(cfg *entratest.Config) { cfg.ControlListen = "127.0.0.1:0" })
			body := c.body
			if body == bodyFile {
				text, err := os.ReadFile(strings.TrimPrefix(bodyFile, "@"))
				if err != nil {
					t.Fatal(err)
				}
				body = string(text)
			}
			if strings.Contains(body, `"user_code"`) {
				code := waitingDevice(t, emu)
				body = regexp.MustCompile(`("user_code": )"[A-Z0-9]{9}"`).ReplaceAllString(body, `$1"`+code+`"`)
			}
			if got := callControl(t, emu, c.method, c.path, body); got.status/100 != 2 {
				t.Errorf("%s\nis answered with %d: %s", c.line, got.status, got.body)
			}
		})
	}
}

func TestTheEmulatorPageHasACurlCommandForEveryControl(t *testing.T) {
	emu := entratest.New(t, func(cfg *entratest.Config) { cfg.ControlListen = "127.0.0.1:0" })
	var help struct {
		Calls []struct{ Call string }
	}
	if err := json.Unmarshal(callControl(t, emu, http.MethodGet, "/", "").body, &help); err != nil || len(help.Calls) == 0 {
		t.Fatalf("the control server lists no calls: %v", err)
	}
	calls := controlCalls(t)
	for _, known := range help.Calls {
		method, path, _ := strings.Cut(known.Call, " ")
		form := regexp.MustCompile("^" + regexp.MustCompile(`\\\{[a-z]+\\\}`).ReplaceAllString(regexp.QuoteMeta(path), "[^/]+") + "$")
		if !slices.ContainsFunc(calls, func(c curl) bool { return c.method == method && form.MatchString(c.path) }) {
			t.Errorf("%s has no curl command for %s", emulatorPage, known.Call)
		}
	}
}

// waitingDevice returns a code that waits for a person.
func waitingDevice(t *testing.T, emu *entratest.Emulator) string {
	t.Helper()
	res, err := emu.Client().PostForm(emu.URL()+"/"+entratest.TenantID+"/oauth2/v2.0/devicecode",
		url.Values{"client_id": {entratest.CLIClientID}, "scope": {"https://graph.microsoft.com/User.Read"}})
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	pending := emu.PendingDevices()
	if len(pending) != 1 {
		t.Fatalf("%d codes wait, want 1", len(pending))
	}
	return pending[0].UserCode
}

type controlAnswer struct {
	status int
	body   []byte
}

func callControl(t *testing.T, emu *entratest.Emulator, method, path, body string) controlAnswer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, emu.ControlURL()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := emu.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return controlAnswer{res.StatusCode, text}
}

func TestTheEmulatorPageNamesTheFlagsOfTheCommand(t *testing.T) {
	start := section(t, readEmulatorPage(t), "## Start it")
	source, err := os.ReadFile("internal/cli/emulator.go")
	if err != nil {
		t.Fatal(err)
	}
	flags := regexp.MustCompile(`\.\w+VarP?\(&[\w.]+, "([a-z-]+)"`).FindAllSubmatch(source, -1)
	if len(flags) < 10 {
		t.Fatalf("only %d flags were found in internal/cli/emulator.go: this test has lost its eyes", len(flags))
	}
	for _, m := range flags {
		if !strings.Contains(start, "--"+string(m[1])) {
			t.Errorf("%s does not name --%s", emulatorPage, m[1])
		}
	}
}

func TestTheEmulatorPagesGoProgramsPass(t *testing.T) {
	dir := t.TempDir()
	args := []string{"test", "-count=1"}
	for i, block := range fenced(t, readEmulatorPage(t), "go") {
		file := filepath.Join(dir, fmt.Sprintf("block%d_test.go", i+1))
		if err := os.WriteFile(file, []byte(block), 0o600); err != nil {
			t.Fatal(err)
		}
		args = append(args, file)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Errorf("the Go blocks of %s do not pass: %v\n%s", emulatorPage, err, out)
	}
}

func TestTheEmulatorPagesLinksLeadSomewhere(t *testing.T) {
	page := readEmulatorPage(t)
	anchors := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(withoutCode(page), -1) {
		kept := regexp.MustCompile(`[^\w -]`).ReplaceAllString(strings.ToLower(m[1]), "")
		anchors[strings.ReplaceAll(kept, " ", "-")] = true
	}
	links := regexp.MustCompile(`\]\(#([^)]*)\)`).FindAllStringSubmatch(page, -1)
	if len(links) == 0 {
		t.Fatalf("%s has no links: this test checks nothing", emulatorPage)
	}
	for _, m := range links {
		if !anchors[m[1]] {
			t.Errorf("%s links to #%s, which is no heading", emulatorPage, m[1])
		}
	}
}
