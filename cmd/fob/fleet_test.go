package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/entratest"
	"github.com/fobauth/fob/store/filestore"
)

// buildFob builds the program as its users have it, once for all tests.
var buildFob = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "fob-test-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "fob")
	if runtime.GOOS == "windows" {
		path += ".exe"
	}
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return path, nil
})

// fleet is a signed-in user's cache directory, with an emulator behind it.
type fleet struct {
	fob      string
	emulator *entratest.Emulator
	env      []string
	dir      string
}

func newFleet(t testing.TB) *fleet {
	t.Helper()
	path, err := buildFob()
	if err != nil {
		t.Fatal(err)
	}
	f := &fleet{fob: path, emulator: entratest.New(t), dir: t.TempDir()}
	ca, err := f.emulator.CAFile()
	if err != nil {
		t.Fatal(err)
	}
	// What the shell of whoever runs the tests says about sign-ins is not meant.
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "AZURE_") && !strings.HasPrefix(v, "ARM_") && !strings.HasPrefix(v, "FOB_") {
			f.env = append(f.env, v)
		}
	}
	f.env = append(f.env, "AZURE_AUTHORITY_HOST="+f.emulator.URL(), "SSL_CERT_FILE="+ca, "FOB_CACHE_DIR="+f.dir, "HOME="+t.TempDir(),
		"NO_PROXY=*", "AZURE_TENANT_ID="+entratest.TenantID, "AZURE_CLIENT_ID="+entratest.CLIClientID)
	return f
}

// signIn signs Ada in with a client whose clock is off by skew, so that what
// it stores is that old.
func (f *fleet) signIn(t testing.TB, skew time.Duration) {
	t.Helper()
	store, err := filestore.Open(filepath.Join(f.dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	client := &fob.Client{
		Authority: fob.Authority{Host: f.emulator.URL(), Tenant: entratest.TenantID}, ID: entratest.CLIClientID,
		Store: store, HTTP: f.emulator.Client(),
		Flow: fob.AuthorizationCode{Open: func(ctx context.Context, page string) error {
			return f.emulator.Browse(ctx, page, entratest.AdaUPN)
		}},
	}
	if skew != 0 {
		client.Now = func() time.Time { return time.Now().Add(skew) }
		f.emulator.Advance(skew)
		defer f.emulator.Advance(-skew)
	}
	if _, err := client.SignIn(t.Context(), fob.Request{Scopes: []string{"https://graph.microsoft.com/.default"}}); err != nil {
		t.Fatal(err)
	}
}

func (f *fleet) command(arguments ...string) *exec.Cmd {
	c := exec.Command(f.fob, arguments...)
	c.Env = f.env
	return c
}

func (f *fleet) tokenRequests() int {
	n := 0
	for _, r := range f.emulator.Requests() {
		if strings.HasSuffix(r.Path, "/token") {
			n++
		}
	}
	return n
}

func TestTwoHundredFiftySixProcessesAndOneExpiredTokenMakeOneRequest(t *testing.T) {
	f := newFleet(t)
	f.signIn(t, -2*time.Hour)
	before := f.tokenRequests()
	answers := make([]string, 256)
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			out, err := f.command("token", "--silent", "--timeout", "5m").CombinedOutput()
			if err != nil {
				t.Errorf("process %d: %v: %s", i, err, out)
			}
			answers[i] = string(out)
		})
	}
	wg.Wait()
	if n := f.tokenRequests() - before; n != 1 {
		t.Errorf("%d requests reached the token endpoint", n)
	}
	for i, answer := range answers {
		if answer != answers[0] || strings.Count(answer, ".") != 2 {
			t.Fatalf("process %d printed another token than process 0", i)
		}
	}
}

// What a crash may cost is the request that was under way. The store's own
// tests kill a writer a thousand times; here it is the whole program, between
// the network and the disk.
func TestKillingTheProgramLosesNoSignIn(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	f := newFleet(t)
	f.signIn(t, 0)
	// How long a renewal takes here, so that the kills fall inside it.
	start := time.Now()
	if out, err := f.command("token", "--silent", "--force-refresh").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	whole := time.Since(start)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range rounds / 4 {
				c := f.command("token", "--silent", "--force-refresh")
				if err := c.Start(); err != nil {
					t.Error(err)
					return
				}
				kill := time.AfterFunc(rand.N(2*whole), func() { c.Process.Kill() })
				c.Wait()
				kill.Stop()
			}
		})
	}
	wg.Wait()
	store, err := filestore.Open(filepath.Join(f.dir, "store"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	for record, err := range store.Verify(t.Context()) {
		if err != nil || record.Err != nil {
			t.Errorf("%s: %v %v", record.Key, err, record.Err)
		}
	}
	// The sign-in has survived if the refresh token still gets a token.
	out, err := f.command("token", "--silent", "--force-refresh", "-o", "json").CombinedOutput()
	if err != nil || !strings.Contains(string(out), `"origin":"refresh"`) {
		t.Errorf("after %d kills: %v, %d bytes", rounds, err, len(out))
	}
}
