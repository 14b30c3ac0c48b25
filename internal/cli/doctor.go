package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/spf13/cobra"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/internal/insight"
	"github.com/fobauth/fob/internal/spelling"
)

var doctorAreas = []string{"network", "certificate", "federation", "cache", "clock", "all"}

func (inv *invocation) doctorCommand() *cobra.Command {
	var registered string
	cmd := &cobra.Command{
		Use: "doctor [AREA…] [flags]", Short: "Find out what keeps signing in from working",
		Long: "Looks at what signing in needs, and says of each finding what it is, why it\n" +
			"matters and what to do:\n\n" +
			"  network      proxy, names, connections, who signed the TLS certificate, clock\n" +
			"  clock        this machine's clock against the servers'\n" +
			"  cache        who may read what is stored, and whether it can be read\n" +
			"  certificate  the file of --certificate; with --tenant and --client-id it signs\n" +
			"               in with each form of assertion, and compares with the app's list\n" +
			"  federation   the token of --federated-token-file against the app's federated\n" +
			"               credentials, letter by letter\n\n" +
			"Without an area, all that what was given allows. The app's credentials are read\n" +
			"from Microsoft Graph as the signed-in user, or as the app if it can sign in, or\n" +
			"from --registered. The exit status is 1 if there is a problem.",
		Example: "fob doctor\n" +
			"fob doctor certificate --certificate app.pem -t TENANT -c CLIENT_ID\n" +
			"fob doctor federation --federated-token-file token.jwt --registered credentials.json",
		ValidArgs: doctorAreas,
		Args: func(cmd *cobra.Command, args []string) error {
			for _, area := range args {
				if !slices.Contains(doctorAreas, area) {
					p := &problem{status: StatusUsage, text: quoted(area) + " is none of " + strings.Join(doctorAreas, ", "), try: "fob doctor all"}
					for _, known := range doctorAreas {
						if spelling.Distance(known, area) < 3 {
							p.try = "fob doctor " + known
						}
					}
					return p
				}
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&registered, "registered", "", "`file` with the app's credentials as Microsoft Graph lists them; nothing is asked then")
	inv.outputFlag(cmd.Flags(), "text", "json")
	inv.sharedFlags(cmd.Flags(), whoFlags|whereFlags|storeFlags|credentialFlags)
	return inv.define(cmd, func(cmd *cobra.Command, args []string) error {
		s, err := inv.resolveForDoctor()
		if err != nil {
			return err
		}
		inv.tellSettings(s)
		d := &doctor{inv: inv, s: s, registered: registered}
		found, err := d.examine(cmd.Context(), args)
		if err != nil {
			return err
		}
		for _, x := range found {
			if x.Worst() == insight.Problem {
				inv.status = StatusFailed
			}
		}
		if inv.flags.output == "json" {
			return inv.printJSON(found)
		}
		var b strings.Builder
		for i, x := range found {
			if i > 0 {
				b.WriteByte('\n')
			}
			if err := x.Render(&b, inv.reportStyle()); err != nil {
				return err
			}
		}
		return inv.print(b.String())
	})
}

// resolveForDoctor finds the settings without the credential: that it cannot
// be read is a finding, no error.
func (inv *invocation) resolveForDoctor() (*settings, error) {
	s, err := inv.resolve(whoFlags | whereFlags | storeFlags)
	if err != nil {
		return s, err
	}
	s.defaultsOfEmulator()
	return s, nil
}

// examination is what was found in one area.
type examination struct {
	*insight.Checkup
	// Comparison is the assertion held against what is registered.
	Comparison *insight.Federation `json:"comparison,omitempty"`
}

// Render writes the findings for people.
func (x examination) Render(w io.Writer, style insight.Style) error {
	if x.Comparison != nil {
		return x.Comparison.Render(w, style)
	}
	return x.Checkup.Render(w, style)
}

// doctor examines with the settings of one command.
type doctor struct {
	inv        *invocation
	s          *settings
	registered string // file with the app's credentials
}

// examine looks at the areas that were named; none means all that what was
// given allows.
func (d *doctor) examine(ctx context.Context, areas []string) ([]examination, error) {
	inv := d.inv
	everything := len(areas) == 0 || slices.Contains(areas, "all")
	certificate := first(value{inv.flags.certificate, "--certificate"}, inv.variable(d.s, "AZURE_CLIENT_CERTIFICATE_PATH"), inv.variable(d.s, "ARM_CLIENT_CERTIFICATE_PATH"))
	assertion := first(value{inv.flags.federatedTokenFile, "--federated-token-file"}, inv.variable(d.s, "AZURE_FEDERATED_TOKEN_FILE"), inv.variable(d.s, "ARM_OIDC_TOKEN_FILE_PATH"))
	wants := func(area string, given bool) bool { return slices.Contains(areas, area) || everything && given }
	inv.watch()

	var found []examination
	if wants("network", true) || wants("clock", false) {
		n, err := d.network()
		if err != nil {
			return nil, err
		}
		look := n.Clock
		if wants("network", true) { // which looks at the clock as well
			look = n.Check
		}
		step, cancel, err := inv.withTimeout(ctx)
		if err != nil {
			return nil, err
		}
		found = append(found, examination{Checkup: look(step)})
		cancel()
	}
	if wants("cache", true) {
		c, err := d.cache(ctx)
		if err != nil {
			return nil, err
		}
		found = append(found, examination{Checkup: c})
	}
	if wants("certificate", certificate.text != "") {
		c, err := d.certificate(ctx, certificate)
		if err != nil {
			return nil, err
		}
		found = append(found, examination{Checkup: c})
	}
	if wants("federation", assertion.text != "") {
		x, err := d.federation(ctx, assertion)
		if err != nil {
			return nil, err
		}
		found = append(found, x)
	}
	return found, ctx.Err()
}

func (d *doctor) network() (insight.Network, error) {
	transport, err := d.inv.transport(d.s)
	if err != nil {
		return insight.Network{}, err
	}
	transport.DisableKeepAlives = true // each host is looked at once
	hosts := []string{withScheme(d.s.authority.Host)}
	if d.s.authority.Host == "" {
		hosts[0] = d.s.cloud.AuthorityHost
	}
	if !sameOrigin(hosts[0], d.s.graph.text) {
		hosts = append(hosts, d.s.graph.text)
	}
	return insight.Network{Hosts: hosts, Transport: transport, Getenv: d.inv.getenv}, nil
}

func (d *doctor) cache(ctx context.Context) (*insight.Checkup, error) {
	if err := d.s.hasPlace(); err != nil {
		return &insight.Checkup{Area: "cache", Findings: []insight.Finding{{Severity: insight.Warning, What: "there is no place to keep tokens",
			Why: oneLine(err.Error()), Do: "set HOME, or name a directory with --cache-dir or FOB_CACHE_DIR"}}}, nil
	}
	dir := storeDir(d.s)
	if _, err := os.Stat(dir); err != nil {
		return insight.CheckCache(dir, nil), nil
	}
	var records []insight.CacheRecord
	store, err := d.inv.openStore(d.s)
	if err != nil {
		c := insight.CheckCache(dir, nil)
		c.Findings = slices.DeleteFunc(c.Findings, func(f insight.Finding) bool { return f.Severity == insight.Note }) // that it holds nothing
		c.Findings = append(c.Findings, insight.Finding{Severity: insight.Problem, What: "the store does not open", Why: oneLine(err.Error()),
			Do: "repair what it says, or forget everything and sign in again", Try: "fob cache clear"})
		return c, nil
	}
	for record, err := range store.Verify(ctx) {
		if err != nil {
			return nil, err
		}
		r := insight.CacheRecord{Name: record.Key}
		if record.Err != nil {
			r.Damaged = record.Err.Error()
		}
		records = append(records, r)
	}
	c := insight.CheckCache(dir, records)
	// A lock is written like a record, and swept away.
	unlock, err := store.Lock(ctx, "token-0")
	switch {
	case err == nil:
		unlock()
	case ctx.Err() != nil:
		return nil, ctx.Err()
	default:
		c.Findings = append(c.Findings, lockFinding(dir, err))
	}
	return c, nil
}

// lockFinding says what it means that a store gives no lock.
func lockFinding(dir string, err error) insight.Finding {
	if fix := adviseSystem(err); fix != "" {
		return insight.Finding{Severity: insight.Problem, What: "its records cannot be locked", Why: oneLine(err.Error()), Do: fix}
	}
	return insight.Finding{Severity: insight.Problem, What: "nothing can be written to it", Why: "what is renewed is not kept: " + oneLine(err.Error()),
		Do: "let yourself write to " + dir + ", or name another directory with --cache-dir or FOB_CACHE_DIR"}
}

// certificate looks at the certificate's file, tries to sign in with it if it
// is known as whom, and compares with what is registered.
func (d *doctor) certificate(ctx context.Context, file value) (*insight.Checkup, error) {
	inv := d.inv
	if file.text == "" {
		return nil, &problem{status: StatusUsage, text: "there is no certificate to look at", fix: "name its file with --certificate (PEM or PFX)", try: "fob doctor certificate --certificate app.pem"}
	}
	seen, err := inv.lookAtCertificate(file.text)
	if err != nil {
		return nil, err
	}
	credential, err := inv.certificate(d.s, file.from, file.text)
	if err != nil {
		// What is wrong is among the findings, or it has no key to sign with.
		c := insight.CheckCertificate(seen, nil, nil, time.Now())
		if c.Worst() != insight.Problem {
			c.Findings = append(c.Findings, insight.Finding{Severity: insight.Problem, What: "it cannot sign in", Why: oneLine(err.Error()), Do: "export certificate and key together"})
		}
		return c, nil
	}
	var tried []insight.SignIn
	app := d.app(credential)
	if d.knowsApp() {
		for _, form := range []struct {
			name, algorithm string
			chain           bool
		}{{"PS256 with x5t#S256", "PS256", false}, {"RS256 with x5t", "RS256", false}, {"PS256 with x5c", "PS256", true}} {
			again := *credential
			again.Algorithm, again.SendChain = form.algorithm, form.chain
			err := d.signIn(ctx, d.app(&again))
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			tried = append(tried, insight.SignIn{Form: form.name, Err: err})
		}
	}
	var list struct {
		Value []insight.KeyCredential `json:"keyCredentials"`
	}
	remark, err := d.ask(ctx, app, "?$select=keyCredentials", &list)
	if err != nil {
		return nil, err
	}
	if remark == nil && list.Value == nil {
		list.Value = []insight.KeyCredential{}
	}
	c := insight.CheckCertificate(seen, list.Value, tried, time.Now())
	if remark != nil {
		c.Findings = append(c.Findings, *remark)
	}
	return c, nil
}

// federation holds the assertion against the app's federated credentials.
func (d *doctor) federation(ctx context.Context, file value) (examination, error) {
	if file.text == "" {
		return examination{}, &problem{status: StatusUsage, text: "there is no token of another issuer to look at", fix: "name its file with --federated-token-file",
			try: "fob doctor federation --federated-token-file token.jwt"}
	}
	data, err := readBounded(file.text, maxSecretFile)
	if err != nil {
		return examination{}, &problem{status: StatusUsage, text: "reading the token of " + file.from, err: err}
	}
	assertion := fob.NewSecret(strings.TrimSpace(string(data)))
	var list struct {
		Value []insight.FederatedCredential `json:"value"`
	}
	app := d.app(fob.ClientAssertion{Secret: assertion}) // a pipe cannot be read again
	remark, err := d.ask(ctx, app, "/federatedIdentityCredentials", &list)
	if err != nil {
		return examination{}, err
	}
	compared, err := insight.CompareFederation(assertion, list.Value, time.Now())
	if err != nil {
		return examination{}, &problem{status: StatusFailed, text: "the token of " + file.from, err: err, fix: "give the JWT that the other issuer made, alone in its file"}
	}
	var tried []insight.Finding
	if d.knowsApp() {
		err := d.signIn(ctx, app)
		if ctx.Err() != nil {
			return examination{}, ctx.Err()
		}
		tried = []insight.Finding{insight.SignIn{Form: "the token", Err: err}.Finding()}
	}
	if remark == nil {
		compared.Findings = append(tried, compared.Findings...)
		return examination{compared.Checkup(), compared}, nil
	}
	// What is registered is not known, so only what is presented can be told.
	p := compared.Presented
	c := &insight.Checkup{Area: "federation", Findings: []insight.Finding{
		{Severity: insight.Note, What: "issuer presented: " + p.Issuer}, {Severity: insight.Note, What: "subject presented: " + p.Subject},
		{Severity: insight.Note, What: "audience presented: " + strings.Join(p.Audiences, ", ")},
	}}
	c.Findings = append(append(c.Findings, tried...), *remark)
	return examination{Checkup: c}, nil
}

// app is the app that the credential belongs to. What it gets is not kept.
func (d *doctor) app(credential fob.Credential) *fob.Client {
	return &fob.Client{Authority: d.s.authority, ID: d.s.clientID.text, Credential: credential, Store: fob.MemoryStore(),
		HTTP: &http.Client{Transport: d.inv.roundTripper(d.s)}}
}

func (d *doctor) knowsApp() bool { return d.s.clientID.text != "" && d.s.tenant.text != "" }

// signIn tries whether the app gets a token.
func (d *doctor) signIn(ctx context.Context, app *fob.Client) error {
	ctx, cancel, err := d.inv.withTimeout(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	_, err = app.Token(ctx, fob.Request{Scopes: []string{d.s.graphAudience + "/.default"}})
	return err
}

// ask reads a part of the app's registration into form: from --registered, or
// from Microsoft Graph, as the signed-in user or else as the app itself. If
// neither may, it returns a remark that says so.
func (d *doctor) ask(ctx context.Context, app *fob.Client, part string, form any) (*insight.Finding, error) {
	path, _, _ := strings.Cut(part, "?") // a shell would read $select
	unknown := func(why string) *insight.Finding {
		return &insight.Finding{Severity: insight.Note, What: "what is registered with the app was not compared", Why: oneLine(why),
			Do:  "sign in as somebody who may read the app (Application.Read.All), or save what Microsoft Graph shows and give it with --registered",
			Try: "fob get \"/applications(appId='" + or(d.s.clientID.text, "CLIENT_ID") + "')" + path + "\" > registered.json"}
	}
	if d.registered != "" {
		data, err := readBounded(d.registered, maxCertificateFile)
		if err == nil {
			err = json.Unmarshal(data, form, jsontext.AllowDuplicateNames(true))
		}
		if err != nil {
			return nil, &problem{status: StatusUsage, text: "reading --registered", err: err}
		}
		return nil, nil
	}
	if !d.knowsApp() {
		return unknown("it is not known which app: --tenant and --client-id are not given"), nil
	}
	var why []string
	for _, source := range []func(context.Context) (fob.TokenSource, fob.Request, error){d.user, func(context.Context) (fob.TokenSource, fob.Request, error) {
		return app, fob.Request{Scopes: []string{d.s.graphAudience + "/.default"}}, nil
	}} {
		who, req, err := source(ctx)
		if err == nil && who != nil {
			if err = d.read(ctx, who, req, part, form); err == nil {
				return nil, nil
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		var refusal *fob.Error
		switch {
		case who == nil && err == nil:
			why = append(why, "nobody of the tenant is signed in")
		case errors.As(err, &refusal) && refusal.AADSTS() != 0:
			why = append(why, fmt.Sprintf("a sign-in was refused (AADSTS%d)", refusal.AADSTS()))
		default:
			why = append(why, oneLine(err.Error()))
		}
	}
	return unknown(strings.Join(slices.Compact(why), "; ")), nil
}

// user is the signed-in user of the app's tenant, if there is one.
func (d *doctor) user(ctx context.Context) (fob.TokenSource, fob.Request, error) {
	if d.s.hasPlace() != nil {
		return nil, fob.Request{}, nil
	}
	all, _, err := d.inv.storedAccounts(ctx, d.s)
	if err != nil {
		return nil, fob.Request{}, err
	}
	for _, known := range all {
		if strings.EqualFold(known.Account.Tenant, d.s.tenant.text) && sameOrigin(known.Authority, withScheme(d.s.authority.Host)) &&
			(d.inv.flags.account == "" || strings.EqualFold(d.inv.flags.account, known.Account.Username) || strings.EqualFold(d.inv.flags.account, known.Account.ID)) {
			store, err := d.inv.openStore(d.s)
			if err != nil {
				return nil, fob.Request{}, err
			}
			c := &fob.Client{Authority: d.s.authority, ID: known.ClientID, Store: store, HTTP: &http.Client{Transport: d.inv.roundTripper(d.s)}, Warn: d.inv.warn}
			return c, fob.Request{Scopes: []string{d.s.graphAudience + "/.default"}, Account: known.Account.ID}, nil
		}
	}
	return nil, fob.Request{}, nil
}

// read gets a part of the app's registration from Microsoft Graph.
func (d *doctor) read(ctx context.Context, who fob.TokenSource, req fob.Request, part string, form any) error {
	ctx, cancel, err := d.inv.withTimeout(ctx)
	if err != nil {
		return err
	}
	defer cancel()
	address := d.s.graph.text + "/v1.0/applications(appId='" + url.PathEscape(d.s.clientID.text) + "')" + part
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	graph, err := url.Parse(d.s.graph.text)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: &fob.Transport{Source: who, Request: req, Origins: []string{plainAddress(graph)}, Base: d.inv.roundTripper(d.s)}}
	resp, err := client.Do(r)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxCertificateFile))
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("Microsoft Graph answered HTTP %d", resp.StatusCode)
	}
	return json.Unmarshal(body, form, jsontext.AllowDuplicateNames(true))
}
