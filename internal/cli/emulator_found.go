package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/fobauth/fob/entratest"
)

// Announcement is how a running emulator is found by other commands: a file in
// the cache directory.
type Announcement struct {
	URL            string    `json:"url"`
	Graph          string    `json:"graph"`
	ARM            string    `json:"arm"`
	Control        string    `json:"control"`
	CAFile         string    `json:"ca_file"`
	TenantID       string    `json:"tenant_id"`
	PublicClientID string    `json:"public_client_id"`
	DaemonClientID string    `json:"daemon_client_id"`
	Environ        []string  `json:"environ"` // for other programs
	PID            int       `json:"pid"`
	Started        time.Time `json:"started"`
}

// announcement describes e.
func announcement(e *entratest.Emulator) (Announcement, error) {
	ca, err := e.CAFile()
	if err != nil {
		return Announcement{}, err
	}
	environ, err := e.Env()
	return Announcement{
		URL: e.URL(), Graph: e.GraphURL(), ARM: e.ARMURL(), Control: e.ControlURL(), CAFile: ca, TenantID: e.TenantID(),
		PublicClientID: entratest.CLIClientID, DaemonClientID: entratest.DaemonClientID,
		Environ: environ, PID: os.Getpid(), Started: time.Now(),
	}, err
}

func announcementDir(cacheDir string) string { return filepath.Join(cacheDir, "emulators") }

// Announce makes e known to the commands that use cacheDir, until withdraw is
// called.
func Announce(cacheDir string, e *entratest.Emulator) (withdraw func(), err error) {
	a, err := announcement(e)
	if err != nil {
		return nil, err
	}
	text, err := json.Marshal(a)
	if err != nil {
		return nil, err
	}
	dir := announcementDir(cacheDir)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the emulator known: %w", err)
	}
	path := filepath.Join(dir, strings.NewReplacer(":", "_", "/", "_").Replace(strings.TrimPrefix(a.URL, "https://"))+".json")
	temp, err := os.CreateTemp(dir, ".tmp-")
	if err != nil {
		return nil, fmt.Errorf("making the emulator known: %w", err)
	}
	_, err = temp.Write(text)
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		os.Remove(temp.Name())
		return nil, fmt.Errorf("making the emulator known: %w", err)
	}
	return func() {
		if now, err := readAnnouncement(path); err == nil && now.PID == a.PID {
			os.Remove(path)
		}
	}, nil
}

func readAnnouncement(path string) (Announcement, error) {
	var a Announcement
	text, err := readBounded(path, 1<<20)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(text, &a); err != nil || a.URL == "" {
		return a, errors.New(path + " does not describe an emulator")
	}
	return a, nil
}

// findEmulator finds the running emulator: the one at the address wanted, or
// the one that was started last. It asks no emulator whether it lives: a
// stored token must not cost a connection.
func (inv *invocation) findEmulator(cacheDir, wanted string) (*Announcement, error) {
	address := strings.Contains(wanted, "://")
	var names []fs.DirEntry
	var err error
	if cacheDir != "" { // or whoever made the directory that we are in could announce one
		names, err = os.ReadDir(announcementDir(cacheDir))
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("looking for the emulator: %w", err)
	}
	var found []Announcement
	var unreadable *fs.PathError
	for _, name := range names {
		if !strings.HasSuffix(name.Name(), ".json") {
			continue
		}
		a, err := readAnnouncement(filepath.Join(announcementDir(cacheDir), name.Name()))
		switch {
		case errors.Is(err, fs.ErrNotExist): // it has just ended
		case err != nil:
			errors.As(err, &unreadable)
		case address && sameOrigin(a.URL, wanted), !address && isRunning(a.PID):
			found = append(found, a)
		}
	}
	switch {
	case len(found) > 0:
		newest := slices.MaxFunc(found, func(a, b Announcement) int { return a.Started.Compare(b.Started) })
		return &newest, nil
	case unreadable != nil:
		return nil, fmt.Errorf("looking for the emulator: %w", unreadable)
	case address && isLoopbackURL(wanted) || address && inv.getenv("SSL_CERT_FILE") != "":
		// One that another user or machine announced: what "fob emulator env"
		// prints is enough to use it.
		return &Announcement{
			URL: strings.TrimRight(wanted, "/"), Graph: strings.TrimRight(wanted, "/"), ARM: strings.TrimRight(wanted, "/"),
			CAFile: inv.getenv("SSL_CERT_FILE"), Control: inv.getenv("FOB_EMULATOR_CONTROL"), TenantID: entratest.TenantID,
			PublicClientID: entratest.CLIClientID, DaemonClientID: entratest.DaemonClientID,
		}, nil
	case address:
		return nil, &problem{status: StatusUnavailable, text: "no emulator is known at " + quoted(wanted), fix: "start one, or set what \"fob emulator env\" prints where it runs", try: "fob emulator"}
	}
	return nil, &problem{status: StatusUnavailable, text: "no emulator is running", fix: "start one in another terminal, or run a command with one of its own", try: "fob emulator run -- " + or(inv.command, "fob token")}
}
