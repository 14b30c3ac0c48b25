package interop

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fobauth/fob/entratest"
)

// browserCA makes this program act as the browser of ben's desktop: it holds the
// file with the certificate authority that the browser trusts.
const browserCA = "FOB_INTEROP_BROWSER_CA"

func TestMain(m *testing.M) {
	if file := os.Getenv(browserCA); file != "" && len(os.Args) == 3 && os.Args[1] == "visit" {
		if err := browse(file, os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, "browser:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func browse(caFile, address string) error {
	ca, err := os.ReadFile(caFile)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	return newPerson(client, entratest.BenUPN, entratest.BenPassword).visit(address)
}

// desktop returns the environment of a desktop whose browser is ben's, for
// programs that open it by themselves: on PATH, and as $BROWSER.
func desktop(t *testing.T, emu *entratest.Emulator) []string {
	t.Helper()
	ca, err := emu.CAFile()
	if err != nil {
		t.Fatal(err)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	opener := filepath.Join(dir, "xdg-open")
	script := "#!/bin/sh\nexec '" + program + "' visit \"$1\"\n"
	if err := os.WriteFile(opener, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	return []string{browserCA + "=" + ca, "BROWSER=" + opener, "PATH=" + dir + string(os.PathListSeparator) + os.Getenv("PATH")}
}

// useDesktop makes this process run on that desktop.
func useDesktop(t *testing.T, emu *entratest.Emulator) {
	t.Helper()
	for _, pair := range desktop(t, emu) {
		name, value, _ := strings.Cut(pair, "=")
		t.Setenv(name, value)
	}
}
