package localca

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

const microsoft = "login.microsoftonline.com"

func TestGoAcceptsTheListenerUnderEveryNameOfTheAuthority(t *testing.T) {
	a := must(t, []string{microsoft, "10.1.2.3", "fd00::7"})
	leaf := leafOf(t, a)
	for _, name := range []string{"localhost", "127.0.0.1", "::1", microsoft, "10.1.2.3", "fd00::7"} {
		if err := verify(a, leaf, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAnAuthorityCannotSpeakForOtherNames(t *testing.T) {
	a := must(t, []string{microsoft})
	// A certificate forged with the authority's key, as a thief would.
	thief := &Authority{names: []string{"graph.microsoft.com"}, cert: a.cert, key: a.key}
	err := verify(a, leafOf(t, thief), "graph.microsoft.com")
	if err == nil || !strings.Contains(err.Error(), "not permitted") {
		t.Errorf("a name outside the constraints: got %v, want a refusal", err)
	}
	thief.names = []string{"192.0.2.1"}
	if err := verify(a, leafOf(t, thief), "192.0.2.1"); err == nil {
		t.Error("an address outside the constraints was accepted")
	}
}

func TestTheConstraintsAreCritical(t *testing.T) {
	for _, e := range must(t, nil).Certificate().Extensions {
		if e.Id.String() == "2.5.29.30" {
			if !e.Critical {
				t.Error("name constraints are not critical")
			}
			return
		}
	}
	t.Error("no name constraints")
}

func TestARestartKeepsTheAuthority(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir, microsoft, "LOCALHOST")
	second := open(t, dir, "Login.MicrosoftOnline.com.")
	if string(first.PEM()) != string(second.PEM()) {
		t.Error("the second start made another authority")
	}
	if err := verify(first, leafOf(t, second), microsoft); err != nil {
		t.Errorf("a client of the first start refuses the second: %v", err)
	}
}

func TestOtherNamesMakeAnotherAuthority(t *testing.T) {
	dir := t.TempDir()
	first := open(t, dir)
	second := open(t, dir, microsoft)
	if string(first.PEM()) == string(second.PEM()) {
		t.Fatal("the authority kept its old names")
	}
	text, err := os.ReadFile(second.File())
	if err != nil || string(text) != string(second.PEM()) {
		t.Errorf("the file that clients trust is not the new authority's (%v)", err)
	}
}

func TestAnAuthorityAboutToEndIsReplaced(t *testing.T) {
	dir := t.TempDir()
	a := open(t, dir)
	reopened := func(left time.Duration) bool {
		// Sign the same authority again with another end.
		c := *a.cert
		c.NotAfter = time.Now().Add(left)
		der, err := x509.CreateCertificate(rand.Reader, &c, &c, &a.key.PublicKey, a.key)
		if err != nil {
			t.Fatal(err)
		}
		old := &Authority{key: a.key, cert: parse(t, der)}
		key, _ := x509.MarshalPKCS8PrivateKey(a.key)
		if err := os.WriteFile(filepath.Join(dir, authorityFile), append(old.PEM(), pemKey(key)...), 0o600); err != nil {
			t.Fatal(err)
		}
		return string(open(t, dir).PEM()) == string(old.PEM())
	}
	if !reopened(spare + time.Hour) {
		t.Error("an authority with more than a day left was thrown away")
	}
	if reopened(spare - time.Hour) {
		t.Error("an authority with less than a day left was kept")
	}
}

func TestTheKeyIsReadableByItsOwnerOnly(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no permission bits")
	}
	dir := filepath.Join(t.TempDir(), "state")
	first := open(t, dir)
	path := filepath.Join(dir, authorityFile)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %v %v, want 0600", info.Mode().Perm(), err)
	}
	// Once others could read the key, it is no longer worth trusting.
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if second := open(t, dir); string(first.PEM()) == string(second.PEM()) {
		t.Error("a key that others could read was used again")
	}
}

func TestADamagedAuthorityIsReplaced(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	path := filepath.Join(dir, authorityFile)
	text, _ := os.ReadFile(path)
	if err := os.WriteFile(path, text[:len(text)/2], 0o600); err != nil {
		t.Fatal(err)
	}
	a := open(t, dir)
	if err := verify(a, leafOf(t, a), "localhost"); err != nil {
		t.Error(err)
	}
}

func TestNamesThatAreNotHostNamesAreRefused(t *testing.T) {
	for _, name := range []string{"", ".com", "*.microsoft.com", "https://localhost", "localhost:8443", "a..b"} {
		if _, err := New([]string{name}); err == nil {
			t.Errorf("%q was accepted", name)
		}
	}
}

// TestOtherProgramsAcceptTheListener asks the TLS stacks that clients are
// written with, as far as they are installed.
func TestOtherProgramsAcceptTheListener(t *testing.T) {
	a := open(t, t.TempDir(), microsoft)
	url := serve(t, a)
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(url, "https://"))
	impersonated := "https://" + microsoft + ":" + port + "/"
	for name, command := range map[string][]string{
		"curl":             {"curl", "-sS", "--noproxy", "*", "--cacert", a.File(), url},
		"curl by name":     {"curl", "-sS", "--noproxy", "*", "--resolve", microsoft + ":" + port + ":127.0.0.1", "--cacert", a.File(), impersonated},
		"openssl":          {"openssl", "s_client", "-connect", "127.0.0.1:" + port, "-servername", "localhost", "-verify_hostname", "localhost", "-verify_return_error", "-x509_strict", "-CAfile", a.File(), "-brief"},
		"python":           {"python3", "-c", "import os,ssl,urllib.request as u;c=ssl.create_default_context();c.verify_flags|=ssl.VERIFY_X509_STRICT;print(u.build_opener(u.ProxyHandler({}),u.HTTPSHandler(context=c)).open('" + url + "').read().decode())"},
		"node":             {"node", "-e", "require('https').get('" + url + "',r=>r.pipe(process.stdout)).on('error',e=>{console.error(e.message);process.exit(1)})"},
		"curl without it":  {"curl", "-sS", "--noproxy", "*", url},
		"curl other names": {"curl", "-sS", "--noproxy", "*", "--resolve", "graph.microsoft.com:" + port + ":127.0.0.1", "--cacert", a.File(), "https://graph.microsoft.com:" + port + "/"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path, err := exec.LookPath(command[0])
			if err != nil {
				t.Skipf("%s is not installed", command[0])
			}
			cmd := exec.Command(path, command[1:]...)
			cmd.Env = os.Environ()
			refused := strings.HasPrefix(name, "curl without") || strings.HasPrefix(name, "curl other")
			if !refused {
				cmd.Env = append(cmd.Env, "SSL_CERT_FILE="+a.File(), "NODE_EXTRA_CA_CERTS="+a.File())
			}
			out, err := cmd.CombinedOutput()
			if refused != (err != nil) {
				t.Errorf("refused: %v, want %v\n%s", err, refused, out)
			}
		})
	}
}

func BenchmarkNewAuthorityAndLeaf(b *testing.B) {
	for b.Loop() {
		a, err := New([]string{microsoft})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := a.Leaf(); err != nil {
			b.Fatal(err)
		}
	}
}

func serve(t *testing.T, a *Authority) string {
	t.Helper()
	leaf, err := a.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }))
	s.Config.ErrorLog = nil
	s.TLS = &tls.Config{Certificates: []tls.Certificate{leaf}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL
}

func verify(a *Authority, leaf *x509.Certificate, name string) error {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	_, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name})
	return err
}

func must(t *testing.T, names []string) *Authority {
	t.Helper()
	a, err := New(names)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func open(t *testing.T, dir string, names ...string) *Authority {
	t.Helper()
	a, err := Open(dir, names)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func leafOf(t *testing.T, a *Authority) *x509.Certificate {
	t.Helper()
	leaf, err := a.Leaf()
	if err != nil {
		t.Fatal(err)
	}
	return leaf.Leaf
}

func parse(t *testing.T, der []byte) *x509.Certificate {
	t.Helper()
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pemKey(der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
