package graph_test

import (
	"context"
	"errors"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/entratest"
	"github.com/fobauth/fob/graph"
)

// emulated returns a client that signs in to an emulator as its daemon.
func emulated(t *testing.T) (*entratest.Emulator, *graph.Client) {
	t.Helper()
	emu := entratest.New(t)
	return emu, &graph.Client{
		Source: &fob.Client{
			Authority:    fob.Authority{Host: emu.URL(), Tenant: entratest.TenantID},
			ID:           entratest.DaemonClientID,
			Credential:   fob.ClientSecret{Secret: fob.NewSecret(entratest.DaemonSecret)},
			Capabilities: []string{"cp1"},
			HTTP:         emu.Client(),
		},
		Base:      emu.GraphURL() + "/v1.0",
		Audiences: map[string]string{emu.GraphURL(): "https://graph.microsoft.com/.default"},
		HTTP:      emu.Client(),
	}
}

func names(t *testing.T, c *graph.Client, address string) (n int, err error) {
	t.Helper()
	for item, err := range c.Pages(t.Context(), address, nil) {
		if err != nil {
			return n, err
		}
		if !strings.Contains(string(item), "userPrincipalName") {
			t.Errorf("item %s", item)
		}
		n++
	}
	return n, nil
}

func TestTheEmulatorsUsersComePageByPage(t *testing.T) {
	emu, c := emulated(t)
	if n, err := names(t, c, "/users?$top=1&$select=userPrincipalName"); err != nil || n != 3 {
		t.Errorf("%d users, %v", n, err)
	}
	tokens, pages := 0, 0
	for _, r := range emu.Requests() {
		switch {
		case strings.HasSuffix(r.Path, "/token"):
			tokens++
		case strings.HasSuffix(r.Path, "/users"):
			pages++
		}
	}
	if tokens != 1 || pages != 3 {
		t.Errorf("%d tokens for %d pages", tokens, pages)
	}
}

func TestTheEmulatorsClaimsChallengeIsAnswered(t *testing.T) {
	emu, c := emulated(t)
	emu.ChallengeClaims(1)
	if n, err := names(t, c, "/users"); err != nil || n != 3 {
		t.Errorf("%d users, %v", n, err)
	}
}

func TestTheEmulatorsThrottleIsWaitedOut(t *testing.T) {
	emu, c := emulated(t)
	for _, f := range []entratest.Fault{{Path: "/v1.0/users", Status: 429, RetryAfter: "0.01"}, {Path: "/v1.0/users", Drop: true}, {Path: "/v1.0/users", Status: 503, RetryAfter: "0.02"}} {
		if err := emu.Fail(1, f); err != nil {
			t.Fatal(err)
		}
	}
	var waits []graph.Wait
	c.OnWait = func(w graph.Wait) { waits = append(waits, w) }
	if n, err := names(t, c, "/users"); err != nil || n != 3 || len(waits) != 3 || waits[0].Status != 429 || waits[1].Err == nil {
		t.Errorf("%d users, %v, %+v", n, err, waits)
	}
}

func TestTheEmulatorsRefusalIsExplained(t *testing.T) {
	_, c := emulated(t)
	request, _ := http.NewRequest("GET", "/users/nobody@fob.example", nil)
	_, err := c.Do(request)
	var refused *graph.Error
	if !errors.As(err, &refused) || refused.Code != "Request_ResourceNotFound" || refused.RequestID == "" {
		t.Errorf("got %v", err)
	}
	token, err := c.Source.Token(context.Background(), fob.Request{Scopes: []string{"https://graph.microsoft.com/.default"}})
	if err != nil {
		t.Fatal(err)
	}
	if rights, ok := graph.RightsOf(token); !ok || !rights.AppOnly || len(rights.Roles) == 0 {
		t.Errorf("rights %+v, %v", rights, ok)
	}
}

func TestTheEmulatorsUsersAreExported(t *testing.T) {
	_, c := emulated(t)
	if p, err := c.ExportFile(t.Context(), filepath.Join(t.TempDir(), "users.ndjson"), "/users?$top=2", graph.ExportOptions{}); err != nil || p.Items != 3 || p.Pages != 2 {
		t.Errorf("%+v, %v", p, err)
	}
}
