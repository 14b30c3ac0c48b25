package graph

import (
	"bufio"
	stdjson "encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	code := m.Run()
	if measureDir != "" {
		os.RemoveAll(measureDir)
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, "goroutines that nobody waits for:", err)
		code = 1
	}
	os.Exit(code)
}

// measureProgram builds testdata/measure: some of these tests need a process
// of its own, to weigh its memory or to kill it.
var measureProgram = sync.OnceValues(func() (program string, err error) {
	if measureDir, err = os.MkdirTemp("", "measure"); err != nil {
		return "", err
	}
	program = filepath.Join(measureDir, "measure.exe")
	if out, err := exec.Command("go", "build", "-o", program, "./testdata/measure").CombinedOutput(); err != nil {
		return program, fmt.Errorf("building testdata/measure: %w\n%s", err, out)
	}
	return program, nil
})

var measureDir string

func child(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	program, err := measureProgram()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	return cmd
}

// userServer starts a server with a million users and returns its address.
func userServer(t testing.TB) string {
	t.Helper()
	server := child(t, "server")
	input, err := server.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	output, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { input.Close(); server.Wait() })
	address, err := bufio.NewReader(output).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(address)
}

// measured is what testdata/measure prints.
type measured struct {
	Items    int
	Seconds  float64
	Allocs   uint64
	Resident int // KiB at the most
	Early    int // KiB after a tenth
}

func measure(t testing.TB, how, base, file string) measured {
	t.Helper()
	out, err := child(t, how, base, file).Output()
	if err != nil {
		t.Fatal(err)
	}
	var m measured
	if err := stdjson.Unmarshal(out, &m); err != nil {
		t.Fatal(err)
	}
	if m.Items != 1_000_000 {
		t.Fatalf("%d users", m.Items)
	}
	return m
}

// BenchmarkExport exports 1,000,000 users from a server on this machine to an
// NDJSON file, each process measured alone. Beside it are its floor, reading
// the same bytes without a look at them, and the usual way, the standard
// decoder.
func BenchmarkExport(b *testing.B) {
	base := userServer(b)
	for _, how := range []string{"transport", "export", "standard"} {
		b.Run(how, func(b *testing.B) {
			file := filepath.Join(b.TempDir(), "users.ndjson")
			var sum measured
			for b.Loop() {
				m := measure(b, how, base, file)
				sum.Items += m.Items
				sum.Seconds += m.Seconds
				sum.Allocs += m.Allocs
				sum.Resident = max(sum.Resident, m.Resident)
				sum.Early = max(sum.Early, m.Early)
			}
			b.ReportMetric(float64(sum.Items)/sum.Seconds, "users/s")
			b.ReportMetric(float64(sum.Allocs)/float64(sum.Items), "allocs/user")
			b.ReportMetric(float64(sum.Resident)/1024, "MiB-resident")
			if how == "export" {
				b.ReportMetric(float64(sum.Early)/1024, "MiB-early")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}

// BenchmarkPage measures the reading of one page alone.
func BenchmarkPage(b *testing.B) {
	user := `{"businessPhones":["+41 44 555 01 02"],"displayName":"Mira Keller","givenName":"Mira","jobTitle":"Platform Engineer","mail":"mira.keller@fabrikam.example","mobilePhone":null,"officeLocation":"Z3/21","preferredLanguage":"de-CH","surname":"Keller","userPrincipalName":"mira.keller@fabrikam.example","id":"3f0c4a52-7a41-4c35-9d2e-5d2f0f6a1b10"}`
	const users = 999
	p := &page{body: []byte(`{"@odata.nextLink":"http://x/","value":[` + strings.Repeat(user+",", users-1) + user + "]}")}
	b.SetBytes(int64(len(p.body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := p.parse(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*users/b.Elapsed().Seconds(), "users/s")
}
