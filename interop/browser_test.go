package interop

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
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

// useBrowser puts a browser on PATH for programs that open the desktop's own.
func useBrowser(t *testing.T, emu *entratest.Emulator) {
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
	script := "#!/bin/sh\nexec '" + program + "' visit \"$1\"\n"
	if err := os.WriteFile(filepath.Join(dir, "xdg-open"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv(browserCA, ca)
	t.Setenv("PATH", dir+string(os.PathListSeparator)+os.Getenv("PATH"))
}
