package cli

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/pem"
	"io"
	"io/fs"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/spf13/cobra"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/entratest"
	"github.com/fobauth/fob/internal/insight"
)

// canaries are the secrets that must not come out: those that the test has
// made, and every one that it saw on the wire.
type canaries struct {
	mu  sync.Mutex
	all map[string]string // by what they are
}

func (c *canaries) add(what, secret string) {
	if len(secret) < 8 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all[secret] = what
	if parts := strings.Split(secret, "."); len(parts) == 3 {
		c.all[parts[2]] = "the signature of " + what
	}
}

var secretNames = []string{"client_secret", "client_assertion", "refresh_token", "access_token", "id_token", "code", "code_verifier", "device_code", "assertion", "password", "state"}

// watch is next, with an eye on the secrets that pass.
func (c *canaries) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		form, _ := url.ParseQuery(string(body))
		for _, values := range []url.Values{form, r.URL.Query()} {
			for _, name := range secretNames {
				c.add("the request's "+name, values.Get(name))
			}
		}
		_, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		c.add("the Authorization header", bearer)
		answer := httptest.NewRecorder()
		next.ServeHTTP(answer, r)
		var members map[string]any
		if json.Unmarshal(answer.Body.Bytes(), &members) == nil {
			for _, name := range secretNames {
				if text, ok := members[name].(string); ok {
					c.add("the answer's "+name, text)
				}
			}
		}
		if location, err := url.Parse(answer.Header().Get("Location")); err == nil {
			c.add("the code of a redirect", location.Query().Get("code"))
		}
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes())
	})
}

// find returns what of the canaries is in text.
func (c *canaries) find(text string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var found []string
	for secret, what := range c.all {
		if strings.Contains(text, secret) {
			found = append(found, what)
		}
	}
	if m := wholeJWT.FindString(text); m != "" {
		found = append(found, "a token: "+m[:12]+"…")
	}
	return found
}

var wholeJWT = regexp.MustCompile(`ey[\w-]{8,}\.ey[\w-]{8,}\.[\w-]{40,}`)

// TestNoCommandShowsASecret runs every command with marked secrets, as it works
// and as it is refused, in every form of output and of trace, and looks for them
// in all that comes out.
func TestNoCommandShowsASecret(t *testing.T) {
	known := &canaries{all: map[string]string{}}
	var emulator *entratest.Emulator
	server := httptest.NewUnstartedServer(known.watch(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		emulator.ServeHTTP(w, r)
		for _, d := range emulator.PendingDevices() { // the person at the other screen
			emulator.Approve(d.UserCode, entratest.AdaUPN)
		}
	})))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // the doctor looks at connections and sends nothing
	server.StartTLS()
	defer server.Close()
	emulator = entratest.New(t, func(cfg *entratest.Config) { cfg.AuthorityURL, cfg.DeviceInterval = server.URL, time.Second })
	secret, password := "canary-"+rand.Text(), "canary-"+rand.Text()
	known.add("the client secret", secret)
	known.add("the password of the PFX file", password)
	if err := emulator.AddSecret(entratest.DaemonClientID, secret); err != nil {
		t.Fatal(err)
	}
	pair, err := insight.NewCertificate("canary", 2048, 1, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := emulator.AddCertificate(entratest.DaemonClientID, pair.Certificate); err != nil {
		t.Fatal(err)
	}
	pfx, err := pair.PFX(fob.NewSecret(password))
	if err != nil {
		t.Fatal(err)
	}
	private, err := pair.PEM()
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Fields(private.Reveal())[3:8] {
		known.add("the private key", line)
	}
	assertion := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"RS256","typ":"JWT","kid":"x"}`)) + "." +
		base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"https://issuer.example","sub":"job","aud":"api://AzureADTokenExchange","exp":4102444800}`)) + "." + rand.Text() + rand.Text()
	known.add("the assertion", assertion)

	dir := t.TempDir()
	work := func(name string) string { return filepath.Join(dir, name) }
	given := map[string]string{
		"secret.txt": secret + "\n", "wrong.txt": "wrong-" + rand.Text(), "app.pfx": pfx.Reveal(), "app.pem": private.Reveal(), "password.txt": password,
		"assertion.txt": assertion, "unregistered.txt": "refresh-" + rand.Text(),
		"ca.pem":  string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
		"app.cer": string(pair.CertificatePEM()), "error.json": `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret"}`,
	}
	known.add("the wrong secret", given["wrong.txt"])
	known.add("the refresh token", given["unregistered.txt"])
	for name, text := range given {
		if err := os.WriteFile(work(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	place := []string{"--authority-host", server.URL, "--graph-host", server.URL, "--ca-file", work("ca.pem"), "-t", entratest.TenantID}
	user := append([]string{"-c", entratest.CLIClientID}, place...)
	daemon := append([]string{"-c", entratest.DaemonClientID}, place...)
	with := func(base []string, more ...string) []string { return append(append([]string{}, base...), more...) }

	// What each command is run with: as it works, and as it is refused. Others
	// than these are run as they are.
	runs := map[string][][]string{
		"login": {with(user, "--browser"), with(user, "--refresh-token-file", work("unregistered.txt"))},
		"token": {
			with(daemon, "--client-secret-file", work("secret.txt"), "--force-refresh"), with(daemon, "--client-secret-file", work("wrong.txt"), "--no-cache"),
			with(daemon, "--certificate", work("app.pfx"), "--certificate-password-file", work("password.txt"), "--no-cache"),
			with(daemon, "--certificate", work("app.pfx"), "--no-cache"),
			with(daemon, "--federated-token-file", work("assertion.txt"), "--no-cache"), with(user, "--force-refresh"), with(user, "--refresh-token-file", work("unregistered.txt")),
			with(daemon, "--client-secret", secret), {secret},
		},
		"header":  {with(daemon, "--client-secret-file", work("secret.txt"), "--force-refresh"), with(daemon, "--client-secret-file", work("wrong.txt"), "--no-cache")},
		"get":     {with(daemon, "/users", "--client-secret-file", work("secret.txt")), with(user, "/nowhere", "--force-refresh"), with(daemon, "/users", "--client-secret-file", work("wrong.txt"), "--no-cache")},
		"post":    {with(user, "/groups", "--body", `{"displayName":"x"}`), with(daemon, "/users", "--body", "{}", "--client-secret-file", work("wrong.txt"), "--no-cache")},
		"delete":  {with(user, "/users/nobody", "--force-refresh")},
		"verify":  {with(place, work("token.txt")), with(place, work("token.txt"), "--audience", "other"), with(place, secret)},
		"decode":  {{work("token.txt")}, {work("token.txt"), "--for", "graph"}, {assertion}, {secret}},
		"diff":    {{work("token.txt"), work("assertion.txt")}, {work("token.txt"), work("secret.txt")}},
		"explain": {{}, {"7000215"}, {work("error.json")}, {work("token.txt")}},
		"doctor": {
			with(daemon, "--certificate", work("app.pfx"), "--certificate-password-file", work("password.txt")),
			with(daemon, "certificate", "--certificate", work("app.pfx")), with(daemon, "federation", "--federated-token-file", work("assertion.txt")),
		},
		"cert new":    {{"--out", work("new"), "--certificate-password-file", work("password.txt")}},
		"cert show":   {{work("app.pem")}, {work("app.pfx")}, {work("app.pfx"), "--certificate-password-file", work("password.txt")}, {work("secret.txt")}},
		"cache clear": {{"--cache-dir", work("another")}}, // what is stored is wanted by the next
		"logout":      {{"--account", secret}},
	}
	leftOut := map[string]string{
		"emulator": "runs until it is interrupted", "emulator env": "prints a public secret, for others to use", "emulator run": "runs another program",
	}

	environ := []string{"FOB_CACHE_DIR=" + work("cache"), "NO_COLOR=1"}
	command := func(t *testing.T, args ...string) (stdout, stderr string) {
		var out, errors bytes.Buffer
		Run(t.Context(), Env{Args: args, Environ: environ, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &errors,
			Open: func(ctx context.Context, page string) error { return emulator.Browse(ctx, page, entratest.AdaUPN) }})
		return out.String(), errors.String()
	}
	for _, args := range [][]string{with([]string{"login", "--browser"}, user...), with([]string{"login", "--device-code", "--trace=" + work("device.md"), "-v"}, user...)} {
		stdout, stderr := command(t, args...)
		if !strings.Contains(stdout, entratest.AdaUPN) {
			t.Fatalf("%q: %s%s", args, stdout, stderr)
		}
		for _, what := range known.find(stdout + stderr) {
			t.Errorf("%q shows %s", args, what)
		}
	}
	token, problems := command(t, with([]string{"token"}, with(daemon, "--client-secret-file", work("secret.txt"))...)...)
	if wholeJWT.FindString(token) == "" {
		t.Fatalf("no token: %s", problems)
	}
	if err := os.WriteFile(work("token.txt"), []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	given["token.txt"] = token

	ran := 0
	var each func(t *testing.T, cmd *cobra.Command)
	each = func(t *testing.T, cmd *cobra.Command) {
		for _, c := range cmd.Commands() {
			each(t, c)
		}
		name := strings.TrimPrefix(cmd.CommandPath(), "fob")
		name = strings.TrimSpace(name)
		if name == "" || name == "help" || leftOut[name] != "" {
			return
		}
		cases := runs[name]
		if cases == nil {
			cases = [][]string{{}}
		}
		forms := []string{""}
		if output := cmd.Flags().Lookup("output"); output != nil {
			forms = append(forms, output.Value.(*choice).among...)
		}
		traces := []string{""}
		if cmd.Flags().Lookup("trace") != nil {
			traces = append(traces, "--trace", "--trace="+work("t.html"), "--trace="+work("t.md"), "--trace="+work("t.har"), "--trace="+work("t.txt"))
		}
		for _, args := range cases {
			for i, form := range forms {
				for _, trace := range traces {
					if trace != "" && i > 0 && strings.HasSuffix(trace, "l") {
						continue // one form of output with every form of trace, the others with most
					}
					line := append(strings.Fields(name), args...)
					if form != "" {
						line = append(line, "-o", form)
					}
					if trace != "" {
						line = append(line, trace)
					}
					if cmd.Flags().Lookup("verbose") != nil {
						line = append(line, "-v")
					}
					stdout, stderr := command(t, line...)
					ran++
					for _, what := range known.find(stderr) {
						t.Errorf("%q shows on stderr %s", line, what)
					}
					if name == "token" || name == "header" {
						stdout = "" // that is what they are for
					}
					for _, what := range known.find(stdout) {
						t.Errorf("%q shows %s", line, what)
					}
					for _, made := range []string{"new.pem", "new.cer", "new.pfx"} {
						os.Remove(work(made)) // a key in a file of its own is what was asked for
					}
				}
			}
		}
	}
	each(t, (&invocation{}).root())
	if ran < 200 {
		t.Errorf("only %d commands were run", ran)
	}

	// What was written: traces, the last failure, and what is stored, sealed.
	files := 0
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || given[filepath.Base(path)] != "" {
			return err
		}
		files++
		text, err := os.ReadFile(path)
		for _, what := range known.find(string(text)) {
			t.Errorf("the file %s holds %s", filepath.Base(path), what)
		}
		return err
	})
	if err != nil || files < 6 {
		t.Errorf("%d files were written, %v", files, err)
	}
	if len(known.all) < 100 {
		t.Errorf("only %d secrets were seen: the test looks for too little", len(known.all))
	}
}
