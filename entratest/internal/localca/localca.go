// Package localca makes the emulator's certificates: a certificate authority
// for one machine and a few weeks, and a certificate for the listener.
//
// The authority is safe to trust by mistake. It is name-constrained
// (critically) to loopback and to the names it was asked for, so that a leaked
// key cannot impersonate anything else; it lives [Life]; its key is never
// readable by others; and nothing here installs it anywhere.
package localca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// Life is how long an authority and its certificates are good for.
const Life = 30 * 24 * time.Hour

// spare is the life an authority found on disk must still have to be used
// again: nobody likes one that ends during the working day.
const spare = 24 * time.Hour

// The files of a directory given to [Open]. Certificate and key of the
// authority share one file so that no crash or race can pair a key with
// another's certificate.
const (
	certFile      = "ca.pem"           // the certificate alone: what clients are pointed at
	authorityFile = "ca-private.pem"   // certificate and key
	lockFile      = "ca-private.lock"  // held while the two are looked at
	commonName    = "fob emulator CA"  // of the authority
	organisation  = "fob (tests only)" // of the authority and of its certificates
)

// Authority is a certificate authority limited to a few names.
type Authority struct {
	names []string
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	file  string // where the certificate is kept; empty: in memory only
}

// New makes an authority that is kept in memory only. It may speak for
// localhost, loopback addresses and names: host names or IP addresses.
func New(names []string) (*Authority, error) {
	now := time.Now()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the key of the certificate authority: %w", err)
	}
	names, err = normalise(names)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber:                serial(),
		Subject:                     pkix.Name{CommonName: commonName + " " + now.UTC().Format("2006-01-02 15:04:05"), Organization: []string{organisation}},
		NotBefore:                   now.Add(-time.Hour), // containers and their hosts disagree about the time
		NotAfter:                    now.Add(Life),
		IsCA:                        true,
		BasicConstraintsValid:       true,
		MaxPathLenZero:              true,
		KeyUsage:                    x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		PermittedDNSDomainsCritical: true,
		PermittedDNSDomains:         []string{"localhost"},
		PermittedIPRanges: []*net.IPNet{
			{IP: net.IPv4(127, 0, 0, 0).To4(), Mask: net.CIDRMask(8, 32)},
			{IP: net.IPv6loopback, Mask: net.CIDRMask(128, 128)},
		},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.PermittedIPRanges = append(template.PermittedIPRanges, single(ip))
		} else {
			template.PermittedDNSDomains = append(template.PermittedDNSDomains, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, fmt.Errorf("signing the certificate authority: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading back the certificate authority: %w", err)
	}
	return &Authority{names: names, cert: cert, key: key}, nil
}

// Open returns the authority kept in dir, so that clients that trust it keep
// trusting it after a restart. It makes a new one, and replaces the old, when
// there is none, when it ends within a day, when it was made for other names,
// or when its key was readable by others.
func Open(dir string, names []string) (*Authority, error) {
	names, err := normalise(names)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the directory of the certificate authority: %w", err)
	}
	// Two emulators that start together in one directory share one authority.
	lock := flock.New(filepath.Join(dir, lockFile), flock.SetPermissions(0o600))
	if err := lock.Lock(); err != nil {
		return nil, fmt.Errorf("locking the certificate authority in %s: %w", dir, err)
	}
	defer lock.Unlock()

	path := filepath.Join(dir, authorityFile)
	a, err := read(path)
	switch {
	case err == nil && slices.Equal(a.names, names) && time.Until(a.cert.NotAfter) > spare:
		a.file = filepath.Join(dir, certFile)
		return a, a.writeCertificate()
	case err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, errUnusable):
		return nil, fmt.Errorf("reading the certificate authority: %w", err)
	}
	if a, err = New(names); err != nil {
		return nil, err
	}
	a.file = filepath.Join(dir, certFile)
	key, err := x509.MarshalPKCS8PrivateKey(a.key)
	if err != nil {
		return nil, fmt.Errorf("encoding the key of the certificate authority: %w", err)
	}
	both := append(a.PEM(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	if err := replace(path, both, 0o600); err != nil {
		return nil, fmt.Errorf("keeping the certificate authority: %w", err)
	}
	return a, a.writeCertificate()
}

// PEM is the authority's certificate: what a client must trust.
func (a *Authority) PEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})
}

// File is the path of the authority's certificate, empty for one that is kept
// in memory.
func (a *Authority) File() string { return a.file }

// Certificate is the authority's certificate.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// Leaf makes a certificate for a listener: for localhost, 127.0.0.1, ::1 and
// every name of the authority. It ends when the authority does.
func (a *Authority) Leaf() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making the listener's key: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{Organization: []string{organisation}},
		NotBefore:    a.cert.NotBefore,
		NotAfter:     a.cert.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		// Python 3.13 verifies strictly: it wants the extension to be there.
		BasicConstraintsValid: true,
		DNSNames:              []string{"localhost"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1).To4(), net.IPv6loopback},
	}
	for _, name := range a.names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("signing the listener's certificate: %w", err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("reading back the listener's certificate: %w", err)
	}
	// The authority is sent along so that `openssl s_client -showcerts` shows it.
	return tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// errUnusable marks a kept authority that is better replaced than repaired.
var errUnusable = errors.New("unusable certificate authority")

func read(path string) (*Authority, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file: remove it", path)
	}
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, errUnusable
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, errUnusable
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errUnusable
	}
	a := &Authority{cert: pair.Leaf, key: key}
	for _, name := range a.cert.PermittedDNSDomains {
		if name != "localhost" {
			a.names = append(a.names, name)
		}
	}
	for _, r := range a.cert.PermittedIPRanges {
		if !r.IP.IsLoopback() {
			a.names = append(a.names, r.IP.String())
		}
	}
	slices.Sort(a.names)
	return a, nil
}

func (a *Authority) writeCertificate() error {
	if old, err := os.ReadFile(a.file); err == nil && string(old) == string(a.PEM()) {
		return nil
	}
	if err := replace(a.file, a.PEM(), 0o644); err != nil {
		return fmt.Errorf("writing the certificate that clients trust: %w", err)
	}
	return nil
}

// replace puts content at path as a whole or not at all.
func replace(path string, content []byte, mode fs.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".ca-*") // made with 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(content)
	if err == nil {
		err = f.Chmod(mode)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// normalise sorts names, lower-cases them and drops what every certificate
// holds anyway.
func normalise(names []string) ([]string, error) {
	var out []string
	for _, name := range names {
		name = strings.ToLower(strings.TrimSuffix(name, "."))
		ip := net.ParseIP(name)
		switch {
		case name == "localhost", ip != nil && ip.IsLoopback():
			continue
		case ip != nil:
			name = ip.String()
		case !validHost(name):
			return nil, fmt.Errorf("%q is not a host name or an IP address: give a bare name such as login.microsoftonline.com", name)
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// validHost is strict: a constraint with an empty label or a leading dot would
// permit more than the one name that was asked for.
func validHost(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "" {
			return false
		}
	}
	return true
}

func single(ip net.IP) *net.IPNet {
	if v4 := ip.To4(); v4 != nil {
		return &net.IPNet{IP: v4, Mask: net.CIDRMask(32, 32)}
	}
	return &net.IPNet{IP: ip, Mask: net.CIDRMask(128, 128)}
}

func serial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b)            // never fails
	b[0] = b[0]&0x7f | 0x40 // positive, and always 16 bytes long
	return new(big.Int).SetBytes(b)
}
