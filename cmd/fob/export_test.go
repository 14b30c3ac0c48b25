package main

import (
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// pacedUsers is a server whose users come slowly enough to be interrupted: one
// page every few milliseconds. It knows the filters of an export in parallel.
type pacedUsers struct {
	fitting sync.Map // filter to the user principal names that fit it
	pace    *time.Ticker
	firsts  atomic.Int64 // requests for the first page of anything
}

const usersOfAPage = 50

func newPacedUsers(t testing.TB, n int) *pacedUsers {
	p := &pacedUsers{pace: time.NewTicker(4 * time.Millisecond)}
	t.Cleanup(p.pace.Stop)
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("%c%05d@contoso.example", "abcdefgh0189_ö"[i%14], i))
	}
	p.fitting.Store("", names)
	return p
}

// names are the user principal names that fit a filter.
func (p *pacedUsers) names(filter string) []string {
	if known, ok := p.fitting.Load(filter); ok {
		return known.([]string)
	}
	var names []string
	for _, name := range p.names("") {
		if fits(name, filter) {
			names = append(names, name)
		}
	}
	p.fitting.Store(filter, names)
	return names
}

func (p *pacedUsers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/oauth2/v2.0/token") {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"the-token","token_type":"Bearer","expires_in":3600}`)
		return
	}
	<-p.pace.C
	query := r.URL.Query()
	names := p.names(query.Get("$filter"))
	from, _ := strconv.Atoi(query.Get("$skiptoken"))
	if from == 0 {
		p.firsts.Add(1)
	}
	to := min(from+usersOfAPage, len(names))
	next := ""
	if to < len(names) {
		query.Set("$skiptoken", fmt.Sprint(to))
		next = fmt.Sprintf(`"@odata.nextLink":"https://%s%s?%s",`, r.Host, r.URL.Path, query.Encode())
	}
	var items []string
	for _, name := range names[from:to] {
		items = append(items, fmt.Sprintf(`{"userPrincipalName":%q}`, name))
	}
	fmt.Fprintf(w, `{%s"value":[%s]}`, next, strings.Join(items, ","))
}

// fits understands startswith(userPrincipalName,'a') and its negations, joined
// by and.
func fits(name, filter string) bool {
	for condition := range strings.SplitSeq(filter, " and ") {
		_, rest, _ := strings.Cut(condition, "'")
		prefix, _, _ := strings.Cut(rest, "'")
		if strings.HasPrefix(name, prefix) == strings.HasPrefix(condition, "not(") {
			return false
		}
	}
	return true
}

func TestAnExportThatIsKilledAgainAndAgainIsComplete(t *testing.T) {
	program, err := buildFob()
	if err != nil {
		t.Fatal(err)
	}
	kills := 6
	if testing.Short() {
		kills = 3
	}
	for _, parallel := range []string{"1", "4"} {
		t.Run(parallel+" at once", func(t *testing.T) {
			t.Parallel()
			users := newPacedUsers(t, 30_000)
			server := httptest.NewTLSServer(users)
			defer server.Close()
			dir := t.TempDir()
			ca, file := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "users.ndjson")
			if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600); err != nil {
				t.Fatal(err)
			}
			run := func() *exec.Cmd {
				c := exec.Command(program, "export", "/users", "--to", file, "--parallel", parallel, "--authority-host", server.URL, "--graph-host", server.URL, "--ca-file", ca)
				c.Env = append(os.Environ(), "AZURE_CLIENT_SECRET=a-secret-of-sixteen-characters", "AZURE_CLIENT_ID=11111111-2222-4333-8444-555555555555",
					"AZURE_TENANT_ID=tenant.example", "FOB_CACHE_DIR="+dir, "HOME="+dir)
				return c
			}
			complete := false
			for i := 0; i < kills && !complete; i++ {
				c := run()
				if err := c.Start(); err != nil {
					t.Fatal(err)
				}
				// A checkpoint is written every second: some die before their first.
				kill := time.AfterFunc(time.Duration(i%3)*700*time.Millisecond+rand.N(700*time.Millisecond), func() { c.Process.Kill() })
				complete = c.Wait() == nil // sooner than it was killed
				kill.Stop()
			}
			if !complete {
				if out, err := run().CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
			want := make([]string, len(users.names("")))
			for i, name := range users.names("") {
				want[i] = fmt.Sprintf(`{"userPrincipalName":%q}`, name)
			}
			if parallel != "1" {
				slices.Sort(got)
				slices.Sort(want)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d lines, %d of them different, of %d users", len(got), len(slices.Compact(slices.Sorted(slices.Values(got)))), len(want))
			}
			if left, _ := filepath.Glob(file + ".*"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
			if n := users.firsts.Load(); parallel == "1" && n > int64(kills) {
				t.Errorf("%d of %d runs began at the first page: none went on from a checkpoint", n, kills+1)
			}
		})
	}
}
