package main

import (
	"bytes"
	crand "crypto/rand"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fobauth/fob/entratest"
)

func TestAnUploadThatIsKilledAgainAndAgainSendsNothingTwice(t *testing.T) {
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	f := newFleet(t)
	app, err := f.emulator.AddApp(entratest.App{Name: "uploader", Secrets: []string{"a-secret-of-sixteen-characters"},
		Granted: map[string][]string{"https://graph.microsoft.com": {"Files.ReadWrite.All"}}})
	if err != nil {
		t.Fatal(err)
	}
	f.env = append(f.env, "AZURE_CLIENT_ID="+app.ClientID, "AZURE_CLIENT_SECRET=a-secret-of-sixteen-characters")
	const size = 61<<20 + 3 // seven pieces
	address := "/users/" + entratest.AdaID + "/drive/root:/big.bin:/content"
	file, down := filepath.Join(t.TempDir(), "big.bin"), filepath.Join(t.TempDir(), "down.bin")
	put := []string{"put", address, "--body", "@" + file, "--graph-host", f.emulator.GraphURL()}
	get := []string{"get", address, "--output-file", down, "--graph-host", f.emulator.GraphURL()}
	content := make([]byte, size)
	rewrite := func() {
		crand.Read(content)
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	rewrite()
	// How long it takes here, so that the kills fall inside it.
	whole := time.Hour
	for range 3 {
		start := time.Now()
		if out, err := f.command(put...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		whole = min(whole, time.Since(start))
	}

	allKills, resumed := 0, 0
	for round := 0; round < rounds || (allKills < rounds || resumed < 2) && round < 4*rounds && !testing.Short(); round++ {
		rewrite()
		f.emulator.ClearRequests()
		kills := 0
		for complete := false; !complete; {
			c := f.command(put...)
			var out bytes.Buffer
			c.Stdout, c.Stderr = &out, &out
			start := time.Now()
			if err := c.Start(); err != nil {
				t.Fatal(err)
			}
			delay := rand.N(whole / 2)
			if kills == 20 {
				delay = time.Hour // now it has its way
			}
			kill := time.AfterFunc(delay, func() { c.Process.Kill() })
			err := c.Wait()
			killed := !kill.Stop()
			switch {
			case err == nil:
				complete = true
				if kills == 0 { // the machine has become faster
					whole = min(whole, time.Since(start))
				}
			case !killed:
				t.Fatalf("after %d kills: %v: %s", kills, err, out.String())
			default:
				kills++
				// It may have died when all was done, before it could say so.
				left, err := filepath.Glob(filepath.Join(f.dir, "store", "upload-*"))
				complete = err == nil && len(left) == 0 && uploadsOf(f.emulator).bytes == size
			}
		}
		allKills += kills
		u := uploadsOf(f.emulator)
		resumed += u.asked
		if u.bytes != size || u.repeated || len(u.lost) > kills || len(u.sessions) != 1 || u.tokens > 0 {
			t.Errorf("round %d: of %d bytes after %d kills: %+v", round, size, kills, u)
		}
		if out, err := f.command(get...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		if got, err := os.ReadFile(down); err != nil || !bytes.Equal(got, content) {
			t.Errorf("round %d: what came back differs, %v", round, err)
		}
		if out, err := f.command("cache", "list", "-o", "json").CombinedOutput(); err != nil || bytes.Contains(out, []byte(`"upload"`)) {
			t.Errorf("%v: %s", err, out)
		}
	}
	if !testing.Short() && (allKills < rounds || resumed < 2) {
		t.Errorf("%d kills and %d runs that went on: the test kills too late or too soon", allKills, resumed)
	}
	t.Logf("an upload takes %s; %d kills, %d runs went on", whole, allKills, resumed)
}

// sent is what the emulator got of an upload.
type sent struct {
	sessions    map[string]bool // that something was sent to
	asked       int             // how far it has come
	taken, lost []string        // pieces. One is lost if it broke off, or came too late
	bytes       int             // that were taken
	repeated    bool            // what was there, or what does not follow it
	tokens      int             // requests that had one
}

func uploadsOf(e *entratest.Emulator) sent {
	s := sent{sessions: map[string]bool{}}
	for _, r := range e.Requests() {
		if !strings.HasPrefix(r.Path, "/storage/upload/") {
			continue
		}
		s.sessions[r.Path] = true
		if r.Authorization != "" {
			s.tokens++
		}
		switch {
		case r.Method == "GET" && r.Status == 200:
			s.asked++
		case r.Method == "PUT" && (r.Status == 200 || r.Status == 201 || r.Status == 202):
			var from, to int
			if _, err := fmt.Sscanf(r.Range, "bytes %d-%d/", &from, &to); err != nil || from != s.bytes {
				s.repeated = true
			}
			s.taken, s.bytes = append(s.taken, r.Range), s.bytes+to+1-from
		case r.Method == "PUT":
			s.lost = append(s.lost, r.Range)
		}
	}
	return s
}
