package main

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/entratest"
	"github.com/fobauth/fob/internal/cli"
)

// The scripts in testdata are the specification of the command line. Beside
// testscript's own commands they have those of scriptCommands.

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"fob":  func() { os.Exit(run()) },
		"surf": surf,
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("FOB_CACHE_DIR", env.WorkDir+"/cache")
			// With the race detector every process would sleep for a second at
			// its end.
			env.Setenv("GORACE", "atexit_sleep_ms=0")
			env.Values[emulatorKey{}] = new(running)
			return nil
		},
		Cmds:               scriptCommands,
		RequireUniqueNames: true,
	})
}

var scriptCommands = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"emulator":    startEmulator,
	"requests":    countRequests,
	"fail":        failRequests,
	"certificate": writeCertificate,
	"refresh":     writeRefreshToken,
	"revoke":      revoke,
	"blob":        writeBlob,
	"status":      checkStatus,
}

// running is the emulator of a script.
type running struct {
	*entratest.Emulator
	asked int // requests that were counted
}

type emulatorKey struct{}

func emulatorOf(ts *testscript.TestScript) *running {
	e := ts.Value(emulatorKey{}).(*running)
	if e.Emulator == nil {
		ts.Fatalf("start the emulator first")
	}
	return e
}

// startEmulator starts an emulator that fob finds with --emulator, and sets
// EMULATOR, TENANT, CLI, DAEMON and SECRET. A browser is there too: it signs
// in as the user of $AS. Arguments are a world file and a number of generated
// users: emulator world.toml 5000
func startEmulator(ts *testscript.TestScript, neg bool, args []string) {
	c := entratest.Config{DeviceInterval: time.Second, ControlListen: "127.0.0.1:0"}
	if len(args) > 0 {
		c.WorldFile = ts.MkAbs(args[0])
	}
	if len(args) > 1 {
		n, err := strconv.Atoi(args[1])
		ts.Check(err)
		c.GeneratedUsers = n
	}
	e, err := entratest.Start(c)
	ts.Check(err)
	ts.Defer(func() { e.Close() })
	withdraw, err := cli.Announce(ts.Getenv("FOB_CACHE_DIR"), e)
	ts.Check(err)
	ts.Defer(withdraw)
	person := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page, user := r.FormValue("page"), r.FormValue("as")
		var err error
		switch {
		case !strings.HasSuffix(page, "/devicelogin"):
			err = e.Browse(r.Context(), page, user)
		default:
			for _, d := range e.PendingDevices() {
				if user == "nobody" {
					err = e.Deny(d.UserCode)
				} else {
					err = e.Approve(d.UserCode, user)
				}
			}
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	}))
	ts.Defer(person.Close)
	ca, err := e.CAFile()
	ts.Check(err)
	for name, value := range map[string]string{
		"EMULATOR": e.URL(), "CA": ca, "TENANT": e.TenantID(), "CLI": entratest.CLIClientID, "DAEMON": entratest.DaemonClientID,
		"SECRET": entratest.DaemonSecret, "SECRET_ID": entratest.DaemonSecretID, "CONTROL": e.ControlURL(),
		"PERSON": person.URL, "BROWSER": "surf", "AS": entratest.AdaUPN,
	} {
		ts.Setenv(name, value)
	}
	ts.Value(emulatorKey{}).(*running).Emulator = e
}

// surf is the browser of the scripts: it asks the person in the test process
// to visit a page.
func surf() {
	resp, err := http.PostForm(os.Getenv("PERSON"), url.Values{"page": {os.Args[1]}, "as": {os.Getenv("AS")}})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		io.Copy(os.Stderr, resp.Body)
		os.Exit(1)
	}
}

// countRequests checks how many requests there were since the last count:
// requests 1 /token
func countRequests(ts *testscript.TestScript, neg bool, args []string) {
	e := emulatorOf(ts)
	if len(args) != 2 {
		ts.Fatalf("usage: requests N PATH")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	all := e.Requests()
	got := 0
	for _, r := range all[e.asked:] {
		if strings.Contains(r.Path, args[1]) {
			got++
		}
	}
	e.asked = len(all)
	if got != want {
		ts.Fatalf("%d requests to %s, want %d", got, args[1], want)
	}
}

// failRequests makes the next requests fail: fail 1 503 /v1.0/users, or with
// an AADSTS number: fail 1 50076.
func failRequests(ts *testscript.TestScript, neg bool, args []string) {
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	code, err := strconv.Atoi(args[1])
	ts.Check(err)
	fault := entratest.Fault{Code: code}
	if code < 600 {
		fault = entratest.Fault{Status: code}
	}
	if len(args) > 2 {
		fault.Path = args[2]
	}
	ts.Check(emulatorOf(ts).Fail(n, fault))
}

// writeCertificate writes a certificate with its key, and registers it with
// the daemon: certificate FILE
func writeCertificate(ts *testscript.TestScript, neg bool, args []string) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	ts.Check(err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "script"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	ts.Check(err)
	leaf, err := x509.ParseCertificate(der)
	ts.Check(err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})...)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), text, 0o600))
	ts.Check(emulatorOf(ts).AddCertificate(entratest.DaemonClientID, leaf))
}

// writeRefreshToken writes a refresh token of Ada's, as another tool would
// have got it: refresh FILE
func writeRefreshToken(ts *testscript.TestScript, neg bool, args []string) {
	e := emulatorOf(ts)
	c := &fob.Client{Authority: fob.Authority{Host: e.URL(), Tenant: e.TenantID()}, ID: entratest.CLIClientID, HTTP: e.Client()}
	c.Flow = fob.AuthorizationCode{Open: func(ctx context.Context, page string) error { return e.Browse(ctx, page, entratest.AdaUPN) }}
	token, err := c.SignIn(context.Background(), fob.Request{Scopes: []string{"https://graph.microsoft.com/.default"}})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(token.Refresh.Reveal()+"\n"), 0o600))
	e.asked = len(e.Requests())
}

// revoke ends the sessions of a user: revoke ada@fob.example
func revoke(ts *testscript.TestScript, neg bool, args []string) {
	ts.Check(emulatorOf(ts).Revoke(args[0]))
}

// writeBlob writes a file of so many random bytes: blob FILE 6000000
func writeBlob(ts *testscript.TestScript, neg bool, args []string) {
	size, err := strconv.Atoi(args[1])
	ts.Check(err)
	content := make([]byte, size)
	rand.Read(content)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), content, 0o600))
}

// checkStatus runs a command and checks its exit status: status 3 fob token
func checkStatus(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if (got == want) == neg {
		ts.Fatalf("%s ended with status %d", strings.Join(args[1:], " "), got)
	}
}
