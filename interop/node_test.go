package interop

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/fobauth/fob/entratest"
)

const installNode = "npm ci --prefix interop/node"

// TestNode runs the tests of node/, each file against an emulator of its own.
func TestNode(t *testing.T) {
	missing := t.Skipf
	if os.Getenv("CI") == "true" {
		missing = t.Fatalf
	}
	if _, err := os.Stat("node/node_modules"); err != nil {
		missing("the JavaScript clients are not installed; run: %s", installNode)
	}
	node, err := exec.LookPath("node")
	if err != nil {
		missing("node is missing: install Node.js 20 or newer, then run: %s", installNode)
	}
	chromium, err := exec.LookPath("chromium")
	if err != nil {
		missing("chromium is missing: apt-get install chromium")
	}
	files, err := filepath.Glob("node/*.test.mjs")
	if err != nil || len(files) == 0 {
		t.Fatalf("no tests in node/: %v", err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, ".test.mjs"), func(t *testing.T) {
			t.Parallel()
			runNode(t, node, name, "FOB_INTEROP_CHROMIUM="+chromium)
		})
	}
}

var passed = regexp.MustCompile(`(?m)^# pass [1-9]`)

func runNode(t *testing.T, node, name string, more ...string) {
	emu := entratest.New(t, quick, func(cfg *entratest.Config) {
		cfg.ControlListen = "127.0.0.1:0"
		cfg.World = []byte("[[app]]\nid = '" + entratest.DaemonClientID + "'\ngranted.'https://graph.microsoft.com' = ['Files.ReadWrite.All', 'Mail.ReadWrite']\n")
	})
	certificate := registered(t, emu, entratest.DaemonClientID).file(t)
	env, err := emu.Env()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "--test", "--test-reporter=tap", name)
	cmd.Dir = "node"
	cmd.Env = append(plainEnvironment(), env...)
	cmd.Env = append(cmd.Env, "FOB_INTEROP_GRAPH="+emu.GraphURL(), "FOB_INTEROP_CERTIFICATE="+certificate, "FOB_INTEROP_BROWSER="+browserServer(t, emu))
	cmd.Env = append(cmd.Env, desktop(t, emu)...)
	cmd.Env = append(cmd.Env, more...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("node --test %s: %v\n%s", name, err, out)
	}
	if !passed.Match(out) {
		t.Fatalf("node --test %s: no test ran\n%s", name, out)
	}
}

// plainEnvironment is the environment without what would lead clients elsewhere.
func plainEnvironment() []string {
	return slices.DeleteFunc(os.Environ(), func(pair string) bool {
		name, _, _ := strings.Cut(strings.ToUpper(pair), "=")
		return strings.HasPrefix(name, "AZURE_") || strings.HasSuffix(name, "_PROXY") || strings.HasPrefix(name, "NODE_")
	})
}

// browserServer lets a test that is not written in Go use ben's browser: it
// posts the address to visit.
func browserServer(t *testing.T, emu *entratest.Emulator) string {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		address, err := io.ReadAll(r.Body)
		who := newPerson(emu.Client(), entratest.BenUPN, entratest.BenPassword)
		if err == nil {
			err = who.visit(string(address))
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		io.WriteString(w, who.answer)
	}))
	t.Cleanup(srv.Close)
	return srv.URL
}
