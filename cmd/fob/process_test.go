package main

import (
	"bufio"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// What only a process of its own shows: signals and broken pipes.

func fobProcess(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath("fob") // testscript put it there
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Env = append(os.Environ(), "FOB_CACHE_DIR="+dir, "HOME="+dir, "GORACE=atexit_sleep_ms=0")
	return cmd
}

func TestTheEmulatorRunsUntilItIsInterrupted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows sends no interrupts to other processes")
	}
	dir := t.TempDir()
	emulator := fobProcess(t, dir, "emulator", "--listen", "127.0.0.1:0", "-o", "json")
	out, err := emulator.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := emulator.Start(); err != nil {
		t.Fatal(err)
	}
	ready, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(ready, `"url":"https://localhost:`) {
		t.Fatalf("%s, %v", ready, err)
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("daemon-secret-value-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := fobProcess(t, dir, "get", "/users", "--emulator", "--client-secret-file", secret).CombinedOutput(); err != nil || !strings.Contains(string(got), "Cleo Marsh") {
		t.Errorf("%s, %v", got, err)
	}
	if err := emulator.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := emulator.Wait(); err != nil {
		t.Errorf("the emulator ended with %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(dir, "emulators", "*")); err != nil || len(left) > 0 {
		t.Errorf("the emulator that has ended is still announced: %v, %v", left, err)
	}
}

func TestAnEmulatorWhoseTerminalGoesAwayLeavesNothingBehind(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows sends no hang-ups")
	}
	dir := t.TempDir()
	temp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	run := fobProcess(t, dir, "emulator", "run", "--", "sh", "-c", "echo started; exec sleep 60")
	run.Env = append(run.Env, "TMPDIR="+temp)
	out, err := run.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "started\n" {
		t.Fatalf("%q, %v", line, err)
	}
	if err := run.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, out); err != nil { // which ends when the child does
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := run.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("ended with %v", err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestAnEmulatorUnderNohupStays(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows sends no hang-ups")
	}
	dir := t.TempDir()
	fob := fobProcess(t, dir)
	emulator := exec.Command("sh", "-c", `trap "" HUP; exec "$0" emulator --listen 127.0.0.1:0 -o json`, fob.Path)
	emulator.Env = fob.Env
	out, err := emulator.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := emulator.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); !strings.Contains(line, `"url"`) {
		t.Fatalf("%q, %v", line, err)
	}
	if err := emulator.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("daemon-secret-value-1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 3 { // processes, in whose time one that heeds the signal has ended
		if text, err := fobProcess(t, dir, "token", "--emulator", "--client-secret-file", secret, "--no-cache").CombinedOutput(); err != nil {
			t.Fatalf("%s, %v", text, err)
		}
	}
	if err := emulator.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if err := emulator.Wait(); err != nil {
		t.Errorf("the emulator ended with %v", err)
	}
}

func TestCtrlCAtASignInIsStatus130(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows sends no interrupts to other processes")
	}
	login := fobProcess(t, t.TempDir(), "emulator", "run", "--", "fob", "login", "--emulator", "--device-code")
	errs, err := login.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	var answer strings.Builder
	login.Stdout = &answer
	if err := login.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(errs)
	for lines.Scan() && !strings.Contains(lines.Text(), "Ctrl-C gives up") {
	}
	if err := login.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(errs)
	if err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := login.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("ended with %v: %s", err, rest)
	}
	if answer.Len() > 0 || strings.Contains(string(rest), "error") {
		t.Errorf("stdout %q, stderr %q", answer.String(), rest)
	}
}

// hostile is a server that gives tokens, and answers calls as it is told. The
// command finds it with the flags.
func hostile(t *testing.T, dir string, answer http.HandlerFunc) (flags []string) {
	t.Helper()
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/oauth2/v2.0/token") {
			tokenEndpoint(t)(w, r)
			return
		}
		answer(w, r)
	}))
	t.Cleanup(server.Close)
	ca, secret := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "secret")
	for name, text := range map[string][]byte{ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), secret: []byte("a-secret-of-sixteen-characters")} {
		if err := os.WriteFile(name, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return []string{"--authority-host", server.URL, "--graph-host", server.URL, "--ca-file", ca, "--client-secret-file", secret,
		"--client-id", "11111111-2222-4333-8444-555555555555", "--tenant", "tenant.example"}
}

func TestWhatAServerSendsUnaskedIsNotPrinted(t *testing.T) {
	dir := t.TempDir()
	flags := hostile(t, dir, func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 5\r\n\r\n{\"a\":unasked")
		conn.Close()
	})
	cmd := fobProcess(t, dir, append([]string{"get", "/users", "--all"}, flags...)...)
	var errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Run(); err == nil || !strings.HasPrefix(errs.String(), "fob: error: ") || strings.Contains(errs.String(), "asked") {
		t.Errorf("%v: %s", err, errs.String())
	}
}

func TestCtrlCWithinABatchSaysWhatMayHaveHappened(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows sends no interrupts to other processes")
	}
	dir := t.TempDir()
	arrived := make(chan bool)
	flags := hostile(t, dir, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		arrived <- true
		<-r.Context().Done()
	})
	cmd := fobProcess(t, dir, append([]string{"batch", "-"}, flags...)...)
	var out, errs strings.Builder
	cmd.Stdin = strings.NewReader(`{"url":"/me"}{"url":"/groups","method":"POST","body":{}}`)
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-arrived
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 130 {
		t.Errorf("ended with %v", err)
	}
	if !strings.Contains(errs.String(), "may have been carried out before you send them again: 1") || !strings.Contains(out.String(), `"id":"2","status":0,"error":"POST`) || strings.Count(out.String(), "may have been carried out") != 1 {
		t.Errorf("%s%s", out.String(), errs.String())
	}
}

func TestABrokenPipeIsQuiet(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("pipes break differently on Windows")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	cmd := fobProcess(t, t.TempDir(), "explain", "50011")
	var errs strings.Builder
	cmd.Stdout, cmd.Stderr = w, &errs
	err = cmd.Run()
	w.Close()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || errs.Len() > 0 {
		t.Errorf("%v, stderr %q", err, errs.String())
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() && status.Signal() != syscall.SIGPIPE {
		t.Errorf("ended by %v", status.Signal())
	}
}

func TestWhatAProxyRefusesIsSaidWithWhatToDo(t *testing.T) {
	dir := t.TempDir()
	flags := hostile(t, dir, func(http.ResponseWriter, *http.Request) {})
	flags[slices.Index(flags, "--authority-host")+1] = "https://login.example" // hosts of this machine are reached without a proxy
	for _, of := range []struct {
		user, scheme string
		status       int
		fix          string
	}{
		{"", "Basic realm=x", 407, "fix:   put user and password into HTTPS_PROXY: http://USER:PASSWORD@"},
		{"me:proxy-password@", "Basic realm=x", 407, "fix:   correct them; "},
		{"", "Negotiate", 407, "fix:   run a local proxy that does"},
		{"", "", 403, "fix:   ask whoever runs the proxy to allow login.example:443"},
		{"", "", 502, "fix:   check the host's name"},
	} {
		var asked atomic.Int32
		proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			if of.scheme != "" {
				w.Header().Set("Proxy-Authenticate", of.scheme)
			}
			w.WriteHeader(of.status)
		}))
		address := strings.TrimPrefix(proxy.URL, "http://")
		cmd := fobProcess(t, dir, append([]string{"token", "--no-cache"}, flags...)...)
		cmd.Env = append(cmd.Env, "HTTPS_PROXY=http://"+of.user+address)
		text, err := cmd.CombinedOutput()
		proxy.Close()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 5 || !strings.Contains(string(text), of.fix) ||
			!strings.Contains(string(text), "the proxy "+address+" did not connect to login.example:443: "+http.StatusText(of.status)) || strings.Contains(string(text), "proxy-password") {
			t.Errorf("%d %s: %v: %s", of.status, of.scheme, err, text)
		}
		if n := asked.Load(); n > 1 && of.status < 500 {
			t.Errorf("%d %s: asked %d times, which may lock the password", of.status, of.scheme, n)
		}
	}
}

func TestACertificateThatWillNotDoIsSaidWithWhatToDo(t *testing.T) {
	dir := t.TempDir()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for _, of := range []struct {
		name        string
		begin, end  time.Time
		cause, fix  string
		speaksNoTLS bool
	}{
		{"localhost", now.AddDate(0, -2, 0), now.AddDate(0, -1, 0), "cause: the server's certificate ended on " + now.AddDate(0, -1, 0).UTC().Format(time.DateOnly), "fix:   set the clock", false},
		{"localhost", now.AddDate(0, 1, 0), now.AddDate(0, 2, 0), "cause: the server's certificate is good only from ", "fix:   set the clock", false},
		{"portal.example", now.Add(-time.Hour), now.Add(time.Hour), "cause: whoever answers there is not localhost", "fix:   check the host's name", false},
		{"localhost", now.Add(-time.Hour), now.Add(time.Hour), "cause: what answers there does not speak TLS", "fix:   check the host and the port", true},
	} {
		template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: of.begin, NotAfter: of.end, DNSNames: []string{of.name}, IsCA: true, BasicConstraintsValid: true}
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		ca := filepath.Join(dir, "ca.pem")
		if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		server := httptest.NewUnstartedServer(http.NotFoundHandler())
		server.Config.ErrorLog = log.New(io.Discard, "", 0)
		if server.TLS = (&tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}); of.speaksNoTLS {
			server.Start()
		} else {
			server.StartTLS()
		}
		_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
		secret := filepath.Join(dir, "secret")
		if err := os.WriteFile(secret, []byte("a-secret-of-sixteen-characters"), 0o600); err != nil {
			t.Fatal(err)
		}
		text, err := fobProcess(t, dir, "token", "--no-cache", "--authority-host", "https://localhost:"+port, "--ca-file", ca, "--client-secret-file", secret,
			"--client-id", "11111111-2222-4333-8444-555555555555", "--tenant", "tenant.example").CombinedOutput()
		server.Close()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 5 || !strings.Contains(string(text), of.cause) || !strings.Contains(string(text), of.fix) {
			t.Errorf("%s: %v: %s", of.cause, err, text)
		}
	}
}
