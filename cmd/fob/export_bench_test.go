package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fobauth/fob/internal/cli"
)

// exportSetting is a sign-in that gives tokens without asking, and a server
// with a million users, in a process of its own.
type exportSetting struct {
	measure string   // the program that serves, and measures the floors
	server  string   // its address
	args    []string // of every command
	env     []string
}

// export is the command that writes all users to file, which may be stdout.
func (s *exportSetting) export(file string) []string {
	return slices.Concat([]string{"export", "/users?$top=999", "--replace", "--to", file}, s.args)
}

func newExportSetting(b *testing.B) *exportSetting {
	b.Helper()
	s := &exportSetting{measure: filepath.Join(b.TempDir(), "measure.exe")}
	if out, err := exec.Command("go", "build", "-o", s.measure, "../../graph/testdata/measure").CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	server := exec.Command(s.measure, "server")
	server.Stderr = os.Stderr
	input, err := server.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	output, err := server.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := server.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { input.Close(); server.Wait() })
	address, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		b.Fatal(err)
	}
	s.server = strings.TrimSpace(address)

	authority := httptest.NewTLSServer(tokenEndpoint(b))
	b.Cleanup(authority.Close)
	ca := filepath.Join(b.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Certificate().Raw}), 0o600); err != nil {
		b.Fatal(err)
	}
	s.args = []string{"--authority-host", authority.URL, "--ca-file", ca, "--graph-host", s.server}
	s.env = append(os.Environ(), "AZURE_CLIENT_SECRET=a-secret-of-sixteen-characters", "AZURE_CLIENT_ID=11111111-2222-4333-8444-555555555555",
		"AZURE_TENANT_ID=tenant.example", "FOB_CACHE_DIR="+b.TempDir(), "HOME="+b.TempDir())
	return s
}

func tokenEndpoint(t testing.TB) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasSuffix(r.URL.Path, "/oauth2/v2.0/token") {
			t.Errorf("the authority was asked for %s", r.URL.Path)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"the-token","token_type":"Bearer","expires_in":3600}`)
	}
}

const exportedUsers = 1_000_000

// BenchmarkExport exports 1,000,000 users from a server on this machine to an
// NDJSON file with the program as it ships: with checkpoints and until all of
// it is on the disk, and to a plain stdout. It shows the speed and the memory:
// resident at most, resident after a tenth, and of its own. Allocations are
// counted in a run inside this process. The floors, from the same server in the
// same run: the bytes alone, without a look at them, and the usual way, the
// standard decoder into structs.
func BenchmarkExport(b *testing.B) {
	s := newExportSetting(b)
	program, err := buildFob()
	if err != nil {
		b.Fatal(err)
	}
	for _, way := range []string{"fob", "stdout", "transport", "standard"} {
		b.Run(way, func(b *testing.B) {
			file := filepath.Join(b.TempDir(), "users.ndjson")
			var took time.Duration
			ours := way == "fob" || way == "stdout"
			var most memory
			var allocations float64
			for b.Loop() {
				cmd := exec.Command(s.measure, way, s.server, file)
				var out, errs bytes.Buffer
				cmd.Stdout, cmd.Stderr = &out, &errs
				switch way {
				case "fob":
					cmd = exec.Command(program, s.export(file)...)
					cmd.Stderr = &errs
				case "stdout":
					cmd = exec.Command(program, s.export("-")...)
					to, err := os.Create(file)
					if err != nil {
						b.Fatal(err)
					}
					defer to.Close()
					cmd.Stdout, cmd.Stderr = to, &errs
				}
				cmd.Env = s.env
				began := time.Now()
				if err := cmd.Start(); err != nil {
					b.Fatal(err)
				}
				m, err := weigh(cmd, file)
				took += time.Since(began)
				if err != nil {
					b.Fatalf("%v: %s", err, errs.String())
				}
				most = memory{max(most.early, m.early), max(most.resident, m.resident), max(most.private, m.private)}
				if !ours {
					var m struct{ Items, Allocs float64 }
					if err := json.Unmarshal(out.Bytes(), &m); err != nil || m.Items != exportedUsers {
						b.Fatalf("%s, %v", out.String(), err)
					}
					allocations += m.Allocs
					continue
				}
				if n := countLines(b, file); n != exportedUsers {
					b.Fatalf("%d lines", n)
				}
			}
			users := float64(b.N) * exportedUsers
			if ours {
				allocations = s.allocations(b, file) * float64(b.N)
			}
			b.ReportMetric(users/took.Seconds(), "users/s")
			b.ReportMetric(allocations/users, "allocs/user")
			b.ReportMetric(most.resident, "MiB-resident")
			b.ReportMetric(most.private, "MiB-private")
			if ours {
				b.ReportMetric(most.early, "MiB-early")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkForms prints the same million users to a file in each of the forms
// that programs and people ask for, two of them from an export, too. The floor
// is the transport of BenchmarkExport.
func BenchmarkForms(b *testing.B) {
	s := newExportSetting(b)
	program, err := buildFob()
	if err != nil {
		b.Fatal(err)
	}
	get := []string{"get", "/users?$top=999", "--all", "-o"}
	for _, way := range []struct {
		name  string
		args  []string
		lines int
	}{
		{"get-ndjson", append(get, "ndjson"), exportedUsers},
		{"get-json", append(get, "json"), exportedUsers + 2},
		{"get-csv", append(get, "csv"), exportedUsers + 1},
		{"get-table", append(get, "table"), exportedUsers + 1},
		{"export-ndjson", []string{"export", "/users?$top=999", "--to", "-"}, exportedUsers},
		{"export-csv", []string{"export", "/users?$top=999", "--to", "-", "-o", "csv"}, exportedUsers + 1},
	} {
		b.Run(way.name, func(b *testing.B) {
			file := filepath.Join(b.TempDir(), "users")
			var took time.Duration
			var most memory
			for b.Loop() {
				to, err := os.Create(file)
				if err != nil {
					b.Fatal(err)
				}
				cmd := exec.Command(program, slices.Concat(way.args, s.args)...)
				var errs bytes.Buffer
				cmd.Env, cmd.Stdout, cmd.Stderr = s.env, to, &errs
				began := time.Now()
				if err := cmd.Start(); err != nil {
					b.Fatal(err)
				}
				m, err := weigh(cmd, file)
				took += time.Since(began)
				to.Close()
				if n := countLines(b, file); err != nil || n != way.lines {
					b.Fatalf("%v, %d lines: %s", err, n, errs.String())
				}
				most = memory{max(most.early, m.early), max(most.resident, m.resident), max(most.private, m.private)}
			}
			b.ReportMetric(float64(b.N)*exportedUsers/took.Seconds(), "users/s")
			b.ReportMetric(most.resident, "MiB-resident")
			b.ReportMetric(most.private, "MiB-private")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// allocations runs the export in this process and counts.
func (s *exportSetting) allocations(b *testing.B, file string) float64 {
	b.Helper()
	var errs bytes.Buffer
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	status := cli.Run(b.Context(), cli.Env{Args: s.export(file), Environ: s.env, Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: &errs})
	runtime.ReadMemStats(&after)
	if status != cli.StatusDone {
		b.Fatalf("status %d: %s", status, errs.String())
	}
	return float64(after.Mallocs - before.Mallocs)
}

func countLines(t testing.TB, name string) int {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	n, buffer := 0, make([]byte, 1<<20)
	for {
		k, err := file.Read(buffer)
		n += bytes.Count(buffer[:k], []byte{'\n'})
		if err == io.EOF {
			return n
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// memory is what a process had at most, in MiB.
type memory struct {
	early    float64 // resident when its file was a tenth of what such users take
	resident float64 // all of it, with what it touched of its own file
	private  float64 // without that, which the system shares and takes back at will
}

// weigh waits for the end of a process and looks at its memory while it runs:
// the system's own count of a child begins with the memory of its parent.
func weigh(cmd *exec.Cmd, file string) (most memory, err error) {
	const tenth = exportedUsers / 10 * 300
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return most, err
		case <-tick.C:
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
		if err != nil {
			continue // not on Linux, or it has just ended
		}
		for line := range strings.Lines(string(status)) {
			f := strings.Fields(line)
			if len(f) < 2 {
				continue
			}
			kib, _ := strconv.ParseFloat(f[1], 64)
			switch f[0] {
			case "VmHWM:":
				most.resident = max(most.resident, kib/1024)
			case "RssAnon:":
				most.private = max(most.private, kib/1024)
			}
		}
		if info, err := os.Stat(file); err == nil && info.Size() < tenth {
			most.early = most.resident
		}
	}
}
