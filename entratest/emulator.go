package entratest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
	"github.com/fobauth/fob/entratest/internal/graphsim"
	"github.com/fobauth/fob/entratest/internal/localca"
	"github.com/fobauth/fob/entratest/internal/sts"
)

// Emulator is Microsoft Entra ID and Microsoft Graph for one process. Make one
// with [New], [Start] or [Handler]. All its methods are safe for concurrent
// use.
type Emulator struct {
	cfg   Config
	world *directory.World
	sts   *sts.Server
	graph *graphsim.Server
	log   requestLog
	pace  pace
	paths pathFaults

	address    string // that is listened on, empty for Handler
	caPEM      []byte // what a client must trust
	transport  *http.Transport
	servers    []*http.Server
	serving    sync.WaitGroup
	controlURL string

	certificateShown *tls.Config // nil for Handler

	mu         sync.Mutex // guards below, and servers once it listens
	storageURL string     // empty until somebody needs it
	caFile     string     // empty until somebody asks for it
	caTemp     bool       // made by us, removed by Close
	closed     bool
}

// TB is what New needs of a *testing.T, *testing.B or *testing.F.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
}

// New starts an emulator for a test, which ends with it. Each change may fill
// in the configuration:
//
//	emu := entratest.New(t, func(cfg *entratest.Config) { cfg.DeviceInterval = time.Second })
func New(t TB, changes ...func(*Config)) *Emulator {
	t.Helper()
	var cfg Config
	for _, change := range changes {
		change(&cfg)
	}
	e, err := Start(cfg)
	if err != nil {
		t.Fatalf("entratest: %v", err)
		return nil
	}
	t.Cleanup(func() { _ = e.Close() })
	return e
}

// Start starts an emulator. It answers when Start returns, until Close.
func Start(cfg Config) (*Emulator, error) {
	cfg, err := cfg.check()
	if err != nil {
		return nil, fmt.Errorf("starting the emulator: %w", err)
	}
	e := &Emulator{pace: usualPace()}
	if err := e.start(cfg); err != nil {
		_ = e.Close()
		return nil, fmt.Errorf("starting the emulator: %w", err)
	}
	return e, nil
}

// Handler returns an emulator that does not listen: mount it on a server of
// your own as an http.Handler. AuthorityURL must name that server. Client,
// CAPEM and CAFile have nothing to offer then; all else works.
func Handler(cfg Config) (*Emulator, error) {
	cfg, err := cfg.check()
	switch {
	case err != nil:
	case cfg.AuthorityURL == "":
		err = errors.New("AuthorityURL is empty: give the origin of the server that the handler is mounted on")
	case cfg.ControlListen != "":
		err = errors.New("ControlListen is set, but a handler does not listen: call the methods of Emulator, or use Start")
	}
	if err != nil {
		return nil, fmt.Errorf("making the emulator: %w", err)
	}
	e := &Emulator{pace: usualPace()}
	if err := e.open(cfg); err != nil {
		return nil, fmt.Errorf("making the emulator: %w", err)
	}
	return e, nil
}

// open loads the world and builds what answers. cfg knows its AuthorityURL.
func (e *Emulator) open(cfg Config) error {
	if cfg.GraphURL == "" {
		cfg.GraphURL = cfg.AuthorityURL
	}
	if cfg.ARMURL == "" {
		cfg.ARMURL = cfg.AuthorityURL
	}
	e.cfg = cfg
	e.world = directory.Default()
	text, dir, what := cfg.World, ".", "world"
	if cfg.WorldFile != "" {
		var err error
		if text, err = os.ReadFile(cfg.WorldFile); err != nil {
			return fmt.Errorf("reading the world file: %w", err)
		}
		dir, what = filepath.Dir(cfg.WorldFile), "world file "+cfg.WorldFile
	}
	if text != nil {
		if err := directory.Load(e.world, text, dir); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	service := sts.Config{World: e.world, BaseURL: cfg.AuthorityURL, GraphURL: cfg.GraphURL, ARMURL: cfg.ARMURL,
		DeviceInterval: int(cfg.DeviceInterval / time.Second), TokenLifetime: cfg.TokenLifetime}
	if service.ARMURL == service.GraphURL {
		service.ARMURL = "" // one origin cannot be two resources: it is Graph
	}
	e.sts = sts.New(service)
	e.graph = &graphsim.Server{World: e.world, Verify: e.verify, Signed: sts.Signed, AuthorityURL: e.authorityOf, GraphURL: cfg.GraphURL, ARMURL: cfg.ARMURL,
		StorageURL: e.StorageURL, Fault: e.batchFault}
	e.graph.Throttle(graphsim.Throttle(cfg.Throttle))
	return e.world.Generate(e.TenantID(), cfg.GeneratedUsers)
}

func (e *Emulator) start(cfg Config) error {
	listeners, err := listen(cfg.Listen)
	if err != nil {
		return err
	}
	// Whatever goes wrong from here on, servers own their listeners and Close
	// closes servers; until then the listeners are closed here.
	owned := false
	defer func() {
		if !owned {
			for _, l := range listeners {
				l.Close()
			}
		}
	}()
	e.address = listeners[0].Addr().String()
	if cfg.AuthorityURL == "" {
		cfg.AuthorityURL = "https://" + publicHost(cfg.Listen, e.address)
	}
	if err := e.open(cfg); err != nil {
		return err
	}
	certificate, pool, err := e.certificate()
	if err != nil {
		return err
	}
	var control net.Listener
	if cfg.ControlListen != "" {
		if control, err = net.Listen("tcp", cfg.ControlListen); err != nil {
			return fmt.Errorf("control server: %w", err)
		}
	}
	main := e.newServer(e)
	e.certificateShown = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
	main.TLSConfig = e.certificateShown.Clone()
	owned = true
	for _, l := range listeners {
		e.serving.Go(func() { _ = main.ServeTLS(l, "", "") })
	}
	if control != nil {
		e.controlURL = "http://" + control.Addr().String()
		c := e.newServer(e.controlHandler())
		e.serving.Go(func() { _ = c.Serve(control) })
	}
	e.transport = e.newTransport(pool)
	return nil
}

func (e *Emulator) newServer(h http.Handler) *http.Server {
	s := &http.Server{Handler: h, ErrorLog: e.cfg.ErrorLog, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10}
	e.servers = append(e.servers, s)
	return s
}

// listen opens an address. On IPv4 loopback the same port of ::1 is opened
// too if it can be, because "localhost" means ::1 first to many clients and
// some do not try again.
func listen(address string) ([]net.Listener, error) {
	first, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := first.Addr().(*net.TCPAddr); ok && tcp.IP.Equal(net.IPv4(127, 0, 0, 1)) {
		if second, err := net.Listen("tcp", net.JoinHostPort("::1", fmt.Sprint(tcp.Port))); err == nil {
			return []net.Listener{first, second}, nil
		}
	}
	return []net.Listener{first}, nil
}

// publicHost is the name that the emulator gives itself.
func publicHost(asked, got string) string {
	host, _, _ := net.SplitHostPort(asked)
	_, port, _ := net.SplitHostPort(got)
	if ip := net.ParseIP(host); ip == nil || ip.IsLoopback() || ip.IsUnspecified() {
		host = "localhost" // what certificates and redirect URIs like best
	}
	return withoutDefaultPort(net.JoinHostPort(host, port))
}

// certificate returns what the listener shows and the pool that trusts it.
func (e *Emulator) certificate() (tls.Certificate, *x509.CertPool, error) {
	pool := x509.NewCertPool()
	if e.cfg.TLSCert != "" {
		certificate, err := tls.LoadX509KeyPair(e.cfg.TLSCert, e.cfg.TLSKey)
		if err != nil {
			return certificate, nil, fmt.Errorf("reading TLSCert and TLSKey: %w", err)
		}
		if e.caPEM, err = os.ReadFile(e.cfg.TLSCert); err != nil {
			return certificate, nil, fmt.Errorf("reading TLSCert: %w", err)
		}
		e.caFile = e.cfg.TLSCert
		if system, err := x509.SystemCertPool(); err == nil {
			pool = system
		}
		pool.AppendCertsFromPEM(e.caPEM)
		return certificate, pool, nil
	}
	ca, err := e.authority(e.names())
	if err != nil {
		return tls.Certificate{}, nil, err
	}
	e.caPEM, e.caFile = ca.PEM(), ca.File()
	pool.AddCert(ca.Certificate())
	certificate, err := ca.Leaf()
	return certificate, pool, err
}

func (e *Emulator) authority(names []string) (*localca.Authority, error) {
	if e.cfg.StateDir == "" {
		return localca.New(names)
	}
	return localca.Open(e.cfg.StateDir, names)
}

// names are the hosts, besides loopback, that the certificate must cover.
func (e *Emulator) names() []string {
	names := append(append([]string{}, e.cfg.Names...), e.cfg.Impersonate...)
	for _, o := range []string{e.cfg.AuthorityURL, e.cfg.GraphURL, e.cfg.ARMURL} {
		if u, err := url.Parse(o); err == nil {
			names = append(names, u.Hostname())
		}
	}
	return names
}

// newTransport trusts nothing but the emulator, uses no proxy, and finds the
// emulator by all its names whatever the name service says.
func (e *Emulator) newTransport(pool *x509.CertPool) *http.Transport {
	ours := map[string]bool{}
	for _, name := range e.names() {
		ours[strings.ToLower(name)] = true
	}
	target := e.address
	ourHost, ourPort, _ := net.SplitHostPort(target)
	if net.ParseIP(ourHost).IsUnspecified() {
		target = net.JoinHostPort("127.0.0.1", ourPort)
	}
	dialer := &net.Dialer{Timeout: 10 * time.Second}
	return &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		ForceAttemptHTTP2: true,
		IdleConnTimeout:   30 * time.Second,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			host, port, err := net.SplitHostPort(address)
			if err == nil && ours[strings.ToLower(host)] && (host != "localhost" || port == ourPort) {
				address = target // not what else this machine serves: an app waiting for its answer
			}
			return dialer.DialContext(ctx, network, address)
		},
	}
}

// URL is the origin of sign-in, without a slash at the end: the authority of a
// tenant is URL + "/" + tenant.
func (e *Emulator) URL() string { return e.cfg.AuthorityURL }

// GraphURL is the origin of Microsoft Graph: GraphURL + "/v1.0/me".
func (e *Emulator) GraphURL() string { return e.cfg.GraphURL }

// ARMURL is the origin of Azure Resource Manager.
func (e *Emulator) ARMURL() string { return e.cfg.ARMURL }

// ControlURL is the origin of the control server, empty when there is none.
func (e *Emulator) ControlURL() string { return e.controlURL }

// Addr is the address that is listened on, empty for a [Handler].
func (e *Emulator) Addr() string { return e.address }

// TenantID is the id of the first tenant: the constant [TenantID], unless a
// world file says otherwise.
func (e *Emulator) TenantID() string {
	if _, ok := e.world.Tenant(TenantID); ok {
		return TenantID
	}
	if all := e.world.Tenants(); len(all) > 0 {
		return all[0].ID
	}
	return ""
}

// Client returns an HTTP client that trusts the emulator and nobody else, and
// that finds it by all its names, impersonated ones included.
func (e *Emulator) Client() *http.Client {
	if e.transport == nil { // a Handler
		return &http.Client{}
	}
	return &http.Client{Transport: e.transport}
}

// CAPEM is what a client must trust, in PEM: the emulator's certificate
// authority, or the certificate that was brought.
func (e *Emulator) CAPEM() []byte { return append([]byte(nil), e.caPEM...) }

// CAFile is the path of a file with CAPEM. Without a StateDir it is a temporary
// file, which Close removes.
func (e *Emulator) CAFile() (string, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.caFile != "":
		return e.caFile, nil
	case e.closed:
		return "", errors.New("writing the CA file: the emulator is closed")
	case e.caPEM == nil:
		return "", errors.New("writing the CA file: a handler has no certificate: ask the server that it is mounted on")
	}
	f, err := os.CreateTemp("", "fob-emulator-ca-*.pem")
	if err != nil {
		return "", fmt.Errorf("writing the CA file: %w", err)
	}
	_, err = f.Write(e.caPEM)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(f.Name())
		return "", fmt.Errorf("writing the CA file: %w", err)
	}
	e.caFile, e.caTemp = f.Name(), true
	return e.caFile, nil
}

// Env returns the environment that makes other clients use the emulator, as
// KEY=VALUE. SSL_CERT_FILE and its like make a program trust the emulator and,
// most of them, nobody else.
func (e *Emulator) Env() ([]string, error) {
	env := []string{"FOB_EMULATOR=" + e.URL(), "AZURE_AUTHORITY_HOST=" + e.URL() + "/", "AZURE_TENANT_ID=" + e.TenantID()}
	if app, ok := e.world.Registration(DaemonClientID); ok && len(app.Secrets) > 0 {
		env = append(env, "AZURE_CLIENT_ID="+DaemonClientID, "AZURE_CLIENT_SECRET="+app.Secrets[0].Value)
	}
	if e.controlURL != "" {
		env = append(env, "FOB_EMULATOR_CONTROL="+e.controlURL)
	}
	file, err := e.CAFile()
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"} {
		env = append(env, name+"="+file)
	}
	return env, nil
}

// closeTimeout is how long Close waits for requests under way. Nothing here
// takes longer; what does is a client that does not read.
const closeTimeout = time.Second

// Close stops the emulator: it lets requests under way finish, for a second,
// and removes its temporary file. Calling it again does nothing.
func (e *Emulator) Close() error {
	e.mu.Lock()
	done := e.closed
	e.closed = true
	servers := e.servers
	e.mu.Unlock()
	if done {
		return nil
	}
	if e.transport != nil {
		e.transport.CloseIdleConnections()
	}
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	var errs []error
	for _, s := range servers {
		if s.Shutdown(ctx) != nil {
			errs = append(errs, s.Close())
		}
	}
	e.serving.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.caTemp {
		errs = append(errs, os.Remove(e.caFile))
	}
	return errors.Join(errs...)
}
