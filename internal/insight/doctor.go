package insight

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/fobauth/fob"
)

// Network is what [Network.Check] looks at. The zero value looks at the sign-in
// host and Microsoft Graph of the public cloud from this machine.
type Network struct {
	// Hosts are the origins to reach, "https://login.microsoftonline.com".
	Hosts []string
	// Transport makes the requests. Nil means one with the proxies of the
	// environment and the system's certificate authorities.
	Transport *http.Transport
	// Getenv reads the environment. Nil means os.Getenv.
	Getenv func(string) string
	// Lookup finds a host's addresses. Nil means the system's resolver.
	Lookup func(ctx context.Context, host string) ([]netip.Addr, error)
	// Now reads the clock. Nil means time.Now.
	Now func() time.Time
}

const stepTime = 10 * time.Second

// Check looks at the way to each host: proxy, names, connections over both
// kinds of address, the certificate chain and who signed it, and the clock
// against the server's. It sends one GET without credentials to each.
func (n Network) Check(ctx context.Context) *Checkup {
	c := &Checkup{Area: "network"}
	if len(n.Hosts) == 0 {
		n.Hosts = []string{fob.Public.AuthorityHost, fob.Public.Graph}
	}
	if n.Getenv == nil {
		n.Getenv = os.Getenv
	}
	if n.Lookup == nil {
		n.Lookup = func(ctx context.Context, host string) ([]netip.Addr, error) {
			return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
		}
	}
	if n.Now == nil {
		n.Now = time.Now
	}
	if n.Transport == nil {
		n.Transport = http.DefaultTransport.(*http.Transport).Clone()
	}
	n.environment(c)
	for _, host := range n.Hosts {
		u, err := url.Parse(host)
		if err != nil || u.Hostname() == "" {
			c.say(Problem, clean(host, 80)+" is no address", "", "write it like "+fob.Public.AuthorityHost, "")
			continue
		}
		if ctx.Err() != nil {
			c.say(Note, u.Host+" was not looked at: the time was up", "", "", "")
			continue
		}
		n.host(ctx, c, u)
	}
	return c
}

// Clock compares this machine's clock with each host's, and looks at nothing
// else.
func (n Network) Clock(ctx context.Context) *Checkup {
	all := n.Check(ctx)
	c := &Checkup{Area: "clock"}
	for _, f := range all.Findings {
		if strings.Contains(f.What, "clock") {
			c.Findings = append(c.Findings, f)
		}
	}
	if len(c.Findings) == 0 {
		c.say(Problem, "no server told the time", "none could be reached", "look at the network first", "fob doctor network")
	}
	return c
}

func (n Network) environment(c *Checkup) {
	for _, name := range []string{"HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		value := first(n.Getenv(name), n.Getenv(strings.ToLower(name)))
		if value == "" {
			continue
		}
		c.say(Note, name+" is set: "+withoutUser(value), "", "", "")
		if name == UnreadableProxy(n.Getenv) {
			c.say(Problem, name+" holds no address", "connections are made without that proxy then", "write it like http://proxy.example:8080; of a user name and a password what is no letter or digit in percent, %40 for @", "")
		}
		if name == "SSL_CERT_FILE" {
			if _, err := os.Stat(value); err != nil {
				c.say(Problem, "SSL_CERT_FILE names a file that cannot be read", "no certificate authority is trusted then", "correct or unset it", "")
			}
		}
	}
}

// UnreadableProxy returns the variable of the environment that should name a
// proxy and holds no address, or "". Go's package http passes over it then, or
// asks a host that nobody meant, and says nothing.
func UnreadableProxy(getenv func(string) string) string {
	for _, name := range []string{"HTTPS_PROXY", "HTTP_PROXY"} {
		value := first(getenv(name), getenv(strings.ToLower(name)))
		address := value
		if !strings.Contains(value, "://") { // a name and a port alone do
			address = "http://" + value
		}
		u, err := url.Parse(address)
		if value != "" && (err != nil || u.Hostname() == "") {
			return name
		}
	}
	return ""
}

// withoutUser takes the user and password out of a proxy's address.
func withoutUser(address string) string {
	if u, err := url.Parse(address); err == nil && u.User != nil {
		u.User = url.User("...")
		return tidy(u.String())
	}
	if i := strings.LastIndexByte(address, '@'); i >= 0 {
		return tidy("...@" + address[i+1:])
	}
	return tidy(address)
}

func (n Network) host(ctx context.Context, c *Checkup, u *url.URL) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.Scheme+"://"+u.Host+"/", nil)
	if err != nil {
		c.say(Problem, tidy(u.Host)+" is no address", "", "", "")
		return
	}
	target, proxied := u, false
	if n.Transport.Proxy != nil {
		proxy, err := n.Transport.Proxy(r)
		switch {
		case err != nil:
			c.say(Problem, "the proxy for "+u.Host+" has no readable address", tidy(err.Error()), "correct HTTPS_PROXY: http://proxy.example:8080", "")
			return
		case proxy != nil:
			target, proxied = proxy, true
			c.say(Note, u.Host+" is reached by the proxy "+tidy(proxy.Host), "", "", "")
		}
	}
	if !n.reach(ctx, c, target, proxied) {
		return
	}
	n.https(ctx, c, r)
}

// reach looks names up and connects; it reports whether going on makes sense.
func (n Network) reach(ctx context.Context, c *Checkup, target *url.URL, proxied bool) bool {
	host := target.Hostname()
	what, findIt, openIt := host, "check the network connection and DNS; behind a proxy set HTTPS_PROXY", "ask whoever runs the network to allow it, or set HTTPS_PROXY"
	if proxied {
		what = "the proxy " + host
		findIt = "correct HTTPS_PROXY (http://proxy.example:8080), or unset it where no proxy is needed"
		openIt = findIt
	}
	port := first(target.Port(), map[string]string{"https": "443", "http": "80", "socks5": "1080"}[target.Scheme])
	step, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	var addresses []netip.Addr
	if address, err := netip.ParseAddr(host); err == nil {
		addresses = []netip.Addr{address}
	} else if addresses, err = n.Lookup(step, host); err != nil || len(addresses) == 0 {
		why := "the name has no address"
		if err != nil {
			why = tidy(err.Error())
		}
		c.say(Problem, "the name of "+what+" cannot be found", why, findIt, "")
		return false
	}
	var worked, failed []string
	var last error
	for _, v6 := range []bool{false, true} {
		i := slices.IndexFunc(addresses, func(a netip.Addr) bool { return a.Unmap().Is6() == v6 })
		if i < 0 {
			continue
		}
		family := map[bool]string{false: "IPv4", true: "IPv6"}[v6]
		dialer := net.Dialer{Timeout: stepTime}
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(addresses[i].Unmap().String(), port))
		if err != nil {
			failed, last = append(failed, family), err
			continue
		}
		conn.Close()
		worked = append(worked, family)
	}
	switch {
	case len(worked) == 0:
		c.say(Problem, "no connection to "+what+", port "+port, tidy(last.Error()), openIt, "")
		return false
	case len(failed) > 0 && failed[0] == "IPv6":
		c.say(Warning, what+" has an IPv6 address that cannot be reached", "programs that try it first wait for nothing", "repair IPv6, or switch it off on this machine", "")
	case len(failed) > 0:
		c.say(Warning, what+" cannot be reached over "+strings.Join(failed, ", "), "programs that try it first wait for nothing", "", "")
	}
	c.say(OK, "connected to "+what+" over "+strings.Join(worked, " and "), "", "", "")
	return true
}

func (n Network) https(ctx context.Context, c *Checkup, r *http.Request) {
	host := r.URL.Host
	step, cancel := context.WithTimeout(ctx, stepTime)
	defer cancel()
	sent := n.Now()
	resp, err := n.Transport.RoundTrip(r.WithContext(step))
	if err != nil {
		n.failed(c, host, err)
		return
	}
	resp.Body.Close()
	answered := n.Now()
	if resp.StatusCode == http.StatusProxyAuthRequired {
		c.say(Problem, "the proxy wants a name and a password", "", "put them into HTTPS_PROXY: http://name:password@proxy.example:8080", "")
		return
	}
	if resp.TLS != nil {
		chain := resp.TLS.PeerCertificates
		if len(resp.TLS.VerifiedChains) > 0 {
			chain = resp.TLS.VerifiedChains[0]
		}
		top := chain[len(chain)-1]
		switch name := authorityName(top); {
		case isMicrosoft(r.URL.Hostname()) && !publicAuthority(chain):
			c.say(Warning, "TLS to "+host+" is intercepted by "+name, "somebody on the way, a company proxy or a virus scanner, reads everything, tokens too; this machine trusts it",
				"other programs (Node, Python, containers) may not trust it: give them its certificate with NODE_EXTRA_CA_CERTS, REQUESTS_CA_BUNDLE", "")
		default:
			c.say(OK, host+" speaks "+tls.VersionName(resp.TLS.Version)+", certificate of "+name, "", "", "")
		}
	}
	if date, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		f := CheckClock(date, sent.Add(answered.Sub(sent)/2))
		f.What = f.What + " (compared with " + host + ")"
		c.Findings = append(c.Findings, f)
	}
}

func (n Network) failed(c *Checkup, host string, err error) {
	var broken *tls.CertificateVerificationError
	var hostname x509.HostnameError
	switch {
	case errors.As(err, &hostname):
		c.say(Problem, "the certificate of "+host+" is for another name: "+tidy(strings.Join(hostname.Certificate.DNSNames, ", ")), "something else answers in its place: a captive portal, a proxy, wrong DNS", "sign in to the network's portal, or set HTTPS_PROXY", "")
	case errors.As(err, &broken) && len(broken.UnverifiedCertificates) > 0:
		chain := broken.UnverifiedCertificates
		name := authorityName(chain[len(chain)-1])
		var invalid x509.CertificateInvalidError
		if errors.As(err, &invalid) && invalid.Reason == x509.Expired {
			c.say(Problem, "the certificate of "+host+" has expired, or this machine's clock is wrong", tidy(invalid.Error()), "compare this machine's clock with the real time", "")
			return
		}
		c.say(Problem, "TLS to "+host+" is signed by "+name+", which this machine does not trust",
			"a company proxy or a virus scanner probably opens the connection; it would read every token",
			"get its CA certificate from whoever runs it and pass it with --ca-file or SSL_CERT_FILE", "")
	case errors.Is(err, context.DeadlineExceeded):
		c.say(Problem, "no answer from "+host, "nothing came in time", "ask whoever runs the network to allow HTTPS to it", "")
	default:
		c.say(Problem, "no answer from "+host, tidy(err.Error()), "ask whoever runs the network to allow HTTPS to it", "")
	}
}

// authorityName names who signed a certificate, as people know them.
func authorityName(cert *x509.Certificate) string {
	for _, names := range [][]string{cert.Issuer.Organization, {cert.Issuer.CommonName}, cert.Subject.Organization, {cert.Subject.CommonName}} {
		if name := tidy(strings.Join(names, ", ")); name != "" {
			if common := tidy(cert.Issuer.CommonName); common != "" && common != name {
				return name + " (" + common + ")"
			}
			return name
		}
	}
	return "somebody without a name"
}

func isMicrosoft(host string) bool {
	for _, suffix := range []string{".microsoftonline.com", ".microsoft.com", ".azure.com", ".windows.net", ".microsoftonline.us", ".microsoft.us", ".office.com", ".chinacloudapi.cn", ".microsoftonline.cn"} {
		if strings.HasSuffix(host, suffix) {
			return true
		}
	}
	return false
}

// publicAuthority reports whether a chain ends with one of the authorities that
// sign for Microsoft's hosts.
func publicAuthority(chain []*x509.Certificate) bool {
	for _, cert := range chain {
		for _, organization := range cert.Issuer.Organization {
			for _, known := range []string{"Microsoft Corporation", "DigiCert", "Baltimore", "Entrust", "GlobalSign", "CERTIFICATE AUTHORITY OF WOTRUS", "Let's Encrypt", "Sectigo"} {
				if strings.Contains(organization, known) {
					return true
				}
			}
		}
	}
	return false
}

// CheckClock compares this machine's clock with a server's.
func CheckClock(server, local time.Time) Finding {
	apart := local.Sub(server)
	side := "ahead"
	if apart < 0 {
		side = "behind"
	}
	distance := strings.TrimPrefix(relative(apart.Abs()), "in ")
	switch {
	case apart.Abs() > clockSkew:
		return Finding{Problem, "this machine's clock is " + distance + " " + side, "signed assertions and tokens are refused as expired or not yet valid (AADSTS700024)",
			"set the clock; let the system do so by itself (NTP)", "fob doctor clock"}
	case apart.Abs() > 30*time.Second:
		return Finding{Warning, "this machine's clock is " + distance + " " + side, "more than five minutes are refused", "let the system set it by itself (NTP)", "fob doctor clock"}
	}
	return Finding{OK, "the clock is right", "", "", ""}
}

// CacheRecord is one stored record, as the store reports it.
type CacheRecord struct {
	Name string
	// Damaged says why the record cannot be read; empty when it can.
	Damaged string
}

// maxDamaged is how many damaged records are told one by one.
const maxDamaged = 5

// CheckCache looks at the directory of a token cache: who may read it, what is
// in it, which records are damaged. It opens no record.
func CheckCache(dir string, records []CacheRecord) *Checkup {
	c := &Checkup{Area: "cache"}
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		c.say(Note, "there is no cache yet: "+tidy(dir), "nobody has signed in with fob here", "", "fob login")
		return c
	case err != nil:
		c.say(Problem, "the cache cannot be opened", tidy(err.Error()), "check who owns the directory", "")
		return c
	case !info.IsDir():
		c.say(Problem, tidy(dir)+" is no directory", "", "move it away, or choose another with --cache-dir", "")
		return c
	}
	loose := 0
	if runtime.GOOS != "windows" { // which has no such modes; the profile's ACL protects there
		if info.Mode().Perm()&0o077 != 0 {
			c.say(Problem, fmt.Sprintf("others may look into the cache (mode %04o)", info.Mode().Perm()), "whoever reads the key and the records can sign in as you", "close it", "chmod 700 "+quotePath(dir))
		}
		filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || path == dir {
				return nil
			}
			if info, err := d.Info(); err == nil && info.Mode()&fs.ModeSymlink == 0 && info.Mode().Perm()&0o077 != 0 {
				loose++
			}
			return nil
		})
		if loose > 0 {
			c.say(Warning, count(int64(loose), "file")+" in the cache may be read by others", "only the directory's own mode keeps them out", "close them", "chmod -R go= "+quotePath(dir))
		}
	}
	kinds := map[string]int{}
	damaged := 0
	for _, r := range records {
		kind, _, _ := strings.Cut(r.Name, "-")
		kinds[kind]++
		if r.Damaged != "" {
			if damaged++; damaged > maxDamaged {
				continue
			}
			c.say(Warning, "the record "+clean(r.Name, 40)+" cannot be read: "+tidy(r.Damaged), "fob behaves as if it were not there", "remove the damaged records; the next sign-in writes new ones", "fob cache verify")
		}
	}
	if more := damaged - maxDamaged; more > 0 {
		c.say(Warning, count(int64(more), "more record")+" cannot be read", "the key may be another than they were sealed with", "remove the damaged records; the next sign-in writes new ones", "fob cache verify")
	}
	var parts []string
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		parts = append(parts, count(int64(kinds[kind]), tidy(kind)+" record"))
	}
	if damaged == 0 && c.Worst() == OK {
		c.say(OK, "the cache is closed to others and holds "+first(strings.Join(parts, ", "), "nothing")+": "+tidy(dir), "", "", "")
	} else {
		c.say(Note, "it holds "+first(strings.Join(parts, ", "), "nothing")+": "+tidy(dir), "", "", "")
	}
	return c
}

// quotePath makes a path one word of a shell.
func quotePath(path string) string {
	path = tidy(path)
	if shellSafe(path) == path {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}

// KeyCredential is a certificate that is registered with an app, as Microsoft
// Graph lists it.
type KeyCredential struct {
	DisplayName string `json:"displayName"`
	// CustomKeyIdentifier is the SHA-1 thumbprint, base64 or hexadecimal.
	CustomKeyIdentifier string    `json:"customKeyIdentifier"`
	End                 time.Time `json:"endDateTime"`
}

// SignIn is one try to sign in with a credential.
type SignIn struct {
	Form string // "PS256 with x5t#S256"
	Err  error  // nil when the server accepted it
}

// CheckCertificate looks at a certificate that should sign in: itself, whether
// it is among those that are registered (nil: not asked), and which forms of
// assertion the server accepted (none: not tried).
func CheckCertificate(cert *Certificate, registered []KeyCredential, tried []SignIn, now time.Time) *Checkup {
	c := &Checkup{Area: "certificate", Findings: slices.Clone(cert.Findings)}
	if c.Worst() == OK {
		c.say(OK, cert.Subject+": "+cert.KeyType+fmt.Sprintf(" %d bits, ", cert.KeyBits)+"good until "+cert.NotAfter.text(), "", "", "")
	}
	if registered != nil {
		var names []string
		found := false
		for _, r := range registered {
			names = append(names, first(tidy(r.DisplayName), "without a name")+" ("+tidy(r.CustomKeyIdentifier)+")")
			id := strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(r.CustomKeyIdentifier), "=")
			if strings.EqualFold(r.CustomKeyIdentifier, cert.SHA1) || id == cert.X5T {
				found = true
				expiring(c.say, "the registration", r.End.Sub(now))
			}
		}
		switch {
		case found:
			c.say(OK, "the app registration has this certificate", "", "", "")
		case len(names) == 0:
			c.say(Problem, "the app registration has no certificates", "Entra knows nobody who could sign (AADSTS700027)", "upload this one", "fob cert show FILE")
		default:
			c.say(Problem, "the app registration has other certificates: "+strings.Join(names, ", "), "this one's thumbprint is "+cert.SHA1+" (x5t "+cert.X5T+"); Entra refuses what it signs (AADSTS700027)", "upload this one, or sign with one of those", "fob cert show FILE")
		}
	}
	for i := 0; i < len(tried); i++ {
		s, code := tried[i], tried[i].code()
		for code != 0 && i+1 < len(tried) && tried[i+1].code() == code { // one refusal is said once
			i++
			s.Form += ", " + tried[i].Form
		}
		c.Findings = append(c.Findings, s.Finding())
	}
	return c
}

// code is the number that the server refused with, 0 if it did not.
func (s SignIn) code() int {
	var refusal *fob.Error
	if errors.As(s.Err, &refusal) {
		return refusal.AADSTS()
	}
	return 0
}

// Finding says what came of the try.
func (s SignIn) Finding() Finding {
	var refusal *fob.Error
	switch {
	case s.Err == nil:
		return Finding{OK, "the server accepted " + tidy(s.Form), "", "", ""}
	case !errors.As(s.Err, &refusal):
		return Finding{Problem, "no answer about " + tidy(s.Form), tidy(s.Err.Error()), "", "fob doctor network"}
	}
	do := ""
	if e := ExplainFailure(refusal); len(e.Causes) > 0 {
		do = e.Causes[0].Fix
	}
	return Finding{Problem, "the server refused " + tidy(s.Form), tidy(refusal.Description), do, ""}
}

// Checkup turns a federation comparison into findings, for "fob doctor".
func (f *Federation) Checkup() *Checkup {
	c := &Checkup{Area: "federation"}
	if f.Matched != "" {
		c.say(OK, f.Summary, "", "", "")
	}
	for _, m := range f.Credentials {
		for _, p := range m.Parts {
			severity := Problem
			if f.Matched != "" {
				severity = Note
			}
			c.say(severity, fmt.Sprintf("credential %s: %s %q is registered, %q is presented", m.Name, p.Part, p.Registered, p.Presented), p.Why, "", "")
		}
	}
	c.Findings = append(c.Findings, f.Findings...)
	return c
}
