package cli

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"

	"github.com/spf13/pflag"

	"github.com/fobauth/fob"
)

const (
	maxSecretFile      = 64 << 10 // more than any secret or token
	maxCertificateFile = 1 << 20
)

// argvSecrets are flags that other tools have and that take a secret as their
// value, with what to use here.
var argvSecrets = []struct{ name, instead string }{
	{"client-secret", "--client-secret-file"}, {"secret", "--client-secret-file"},
	{"password", "--client-secret-file"},
	{"certificate-password", "--certificate-password-file"},
	{"refresh-token", "--refresh-token-file"},
	{"federated-token", "--federated-token-file"},
	{"client-assertion", "--federated-token-file"},
	{"access-token", ""},
}

// refuseSecretFlags adds hidden flags that catch secrets on the command line.
func (inv *invocation) refuseSecretFlags(fs *pflag.FlagSet) {
	for _, s := range argvSecrets {
		if fs.Lookup(s.name) == nil {
			fs.Var(&argvSecret{inv, s.name}, s.name, "refused")
			fs.Lookup(s.name).Hidden = true
		}
	}
}

// argvSecret notes that it was given, and forgets its value at once. It does
// not fail: pflag would repeat the value in its error.
type argvSecret struct {
	inv  *invocation
	name string
}

func (a *argvSecret) Set(string) error { a.inv.argvSecret = a.name; return nil }
func (a *argvSecret) String() string   { return "" }
func (a *argvSecret) Type() string     { return "secret" }

// secretOnCommandLine says what to do instead.
func secretOnCommandLine(name string) error {
	p := &problem{status: StatusUsage, text: "--" + name + " is refused: a secret on the command line is shown to every process and kept in the shell's history",
		fix: "renew it, because it is in the history now, and then give it in a file or on stdin"}
	for _, s := range argvSecrets {
		switch {
		case s.name != name:
		case s.instead == "":
			p.fix = "fob gets access tokens and does not take them; this one is good until it expires, so clear the history"
		case s.instead == "--client-secret-file":
			p.fix += "; the environment variable AZURE_CLIENT_SECRET works too"
			p.try = "fob token --client-secret-file -   # and paste it"
		case s.instead == "--refresh-token-file":
			p.fix = "sign out everywhere to make it worthless, because it is in the history now, and then give a new one in a file or on stdin"
			p.try = "fob login --refresh-token-file -   # and paste it"
		default:
			p.try = "fob token " + s.instead + " FILE"
		}
	}
	return p
}

// offer is a credential that was given somewhere.
type offer struct {
	kind string // "client secret"
	from string // the flag or variable
	load func() (fob.Credential, error)
}

// resolveCredential finds the credential, and a refresh token if one is given.
// Flags win over AZURE_ variables, these over ARM_ variables; two different
// credentials on one level contradict each other.
func (inv *invocation) resolveCredential(s *settings, groups flagGroup) error {
	if err := inv.checkIdentityFlags(); err != nil {
		return err
	}
	f := &inv.flags
	if f.refreshTokenFile != "" {
		token, err := inv.secretFile(s, "--refresh-token-file", f.refreshTokenFile)
		if err != nil {
			return err
		}
		s.refreshToken, s.refreshFrom = token, "--refresh-token-file"
	}
	if f.deviceCode && !s.refreshToken.IsZero() {
		return &problem{status: StatusUsage, text: "--device-code signs a user in, and --refresh-token-file is a sign-in already", fix: "leave one of them out"}
	}
	if groups&credentialFlags == 0 {
		return nil
	}
	var byFlag []offer
	if f.secretFile != "" {
		byFlag = append(byFlag, offer{"client secret", "--client-secret-file", func() (fob.Credential, error) {
			s.secretFile = f.secretFile
			secret, err := inv.secretFile(s, "--client-secret-file", f.secretFile)
			return fob.ClientSecret{Secret: secret}, err
		}})
	}
	if f.certificate != "" {
		byFlag = append(byFlag, offer{"certificate", "--certificate", func() (fob.Credential, error) {
			return inv.certificate(s, "--certificate", f.certificate)
		}})
	}
	if f.federatedTokenFile != "" {
		byFlag = append(byFlag, offer{"federated token", "--federated-token-file", func() (fob.Credential, error) {
			return inv.federated(s, "--federated-token-file", f.federatedTokenFile)
		}})
	}
	for _, offers := range [][]offer{
		byFlag,
		inv.credentialVariables(s, "AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH", "AZURE_FEDERATED_TOKEN_FILE"),
		append(inv.credentialVariables(s, "ARM_CLIENT_SECRET", "ARM_CLIENT_CERTIFICATE_PATH", "ARM_OIDC_TOKEN_FILE_PATH"), inv.oidcToken(s)...),
	} {
		switch {
		case len(offers) == 0:
			continue
		case offers[0].from[0] != '-' && (f.deviceCode || f.account != ""):
			// A flag says that a person is meant, and flags come first.
			inv.tell("%s is not used: the flags ask for a user's token", offers[0].from)
			continue
		case len(offers) > 1:
			return &problem{status: StatusUsage, text: "both " + offers[0].from + " and " + offers[1].from + " are given, and an app signs in with one credential",
				fix: "leave one of them out"}
		case !s.refreshToken.IsZero() && offers[0].from[0] != '-':
			// A refresh token of a public client: the variables are about
			// another app, unless they name the same client.
			if s.clientID.from == "--client-id" {
				inv.tell("%s is not used: the refresh token is of the client that --client-id names", offers[0].from)
				return nil
			}
		}
		credential, err := offers[0].load()
		if err != nil {
			return err
		}
		s.credential, s.credentialFrom = credential, offers[0].from
		inv.sameFamily(s)
		break
	}
	return inv.checkCredentialFlags(s)
}

// checkIdentityFlags refuses flags that say who signs in and were given
// empty. Without them somebody else would sign in: the user in place of the
// app, or another user.
func (inv *invocation) checkIdentityFlags() error {
	f := &inv.flags
	for _, flag := range []struct{ name, value string }{
		{"account", f.account}, {"client-secret-file", f.secretFile}, {"certificate", f.certificate},
		{"federated-token-file", f.federatedTokenFile}, {"refresh-token-file", f.refreshTokenFile},
	} {
		if flag.value == "" && f.set(flag.name) {
			return &problem{status: StatusUsage, text: "--" + flag.name + " is empty", cause: "a variable that is not set, most likely", fix: "set it, or leave the flag out"}
		}
	}
	return nil
}

// checkCredentialFlags refuses flags that would have no effect.
func (inv *invocation) checkCredentialFlags(s *settings) error {
	f := &inv.flags
	if f.deviceCode && s.credential != nil {
		return &problem{status: StatusUsage, text: "--device-code signs a user in, but " + s.credentialFrom + " makes the app sign in as itself", fix: "leave one of them out"}
	}
	if _, ok := s.credential.(*fob.Certificate); ok {
		return nil
	}
	for _, flag := range []struct {
		name  string
		given bool
	}{
		{"--certificate-password-file", f.certificatePassword != ""}, {"--certificate-thumbprint", f.certificateThumbprint != ""},
		{"--assertion-algorithm", f.assertionAlgorithm != ""}, {"--send-certificate-chain", f.sendChain},
	} {
		if flag.given {
			return &problem{status: StatusUsage, text: flag.name + " is about a certificate, and none is given", fix: "add --certificate FILE (PEM or PFX)"}
		}
	}
	return nil
}

func (inv *invocation) credentialVariables(s *settings, secret, certificate, federated string) []offer {
	var offers []offer
	if v := inv.variable(s, secret); v.text != "" {
		offers = append(offers, offer{"client secret", secret, func() (fob.Credential, error) {
			text, err := inv.cleanSecret(secret, []byte(v.text))
			return fob.ClientSecret{Secret: text}, err
		}})
	}
	if v := inv.variable(s, certificate); v.text != "" {
		offers = append(offers, offer{"certificate", certificate, func() (fob.Credential, error) {
			return inv.certificate(s, certificate, v.text)
		}})
	}
	if v := inv.variable(s, federated); v.text != "" {
		offers = append(offers, offer{"federated token", federated, func() (fob.Credential, error) {
			return inv.federated(s, federated, v.text)
		}})
	}
	return offers
}

// federated is a federated token in a file, which is there by now although it
// is read later, and again. "-" is stdin, which is read once, as are pipes.
func (inv *invocation) federated(s *settings, from, path string) (fob.Credential, error) {
	if info, err := os.Stat(path); path == "-" || err == nil && !info.Mode().IsRegular() {
		token, err := inv.secretFile(s, from, path)
		return fob.ClientAssertion{Secret: token}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, secretFileProblem(from, err)
	}
	f.Close()
	return fob.AssertionFile(path), nil
}

// oidcToken is the federated token that Terraform's variable holds itself.
func (inv *invocation) oidcToken(s *settings) []offer {
	const name = "ARM_OIDC_TOKEN"
	v := inv.variable(s, name)
	if v.text == "" {
		return nil
	}
	return []offer{{"federated token", name, func() (fob.Credential, error) {
		token, err := inv.cleanSecret(name, []byte(v.text))
		return fob.ClientAssertion{Secret: token}, err
	}}}
}

// sameFamily takes the client id and the tenant from the variables that the
// credential is from: AZURE_CLIENT_ID and ARM_CLIENT_SECRET may be of two apps.
func (inv *invocation) sameFamily(s *settings) {
	family, _, _ := strings.Cut(s.credentialFrom, "_")
	if family != "AZURE" && family != "ARM" {
		return
	}
	for name, v := range map[string]*value{"_CLIENT_ID": &s.clientID, "_TENANT_ID": &s.tenant} {
		if own := inv.variable(s, family+name); own.text != "" && !strings.HasPrefix(v.from, "--") {
			*v = own
		}
	}
}

// certificate reads a certificate with its key.
func (inv *invocation) certificate(s *settings, from, path string) (*fob.Certificate, error) {
	if path == "-" {
		return nil, &problem{status: StatusUsage, text: from + " wants a file; stdin is for secrets", fix: "put certificate and key into a file that only you can read"}
	}
	data, err := readBounded(path, maxCertificateFile)
	if err != nil {
		p := &problem{status: StatusUsage, text: "reading the certificate of " + from, err: err}
		if len(path) > 5 && strings.EqualFold(path[:5], "cert:") {
			p.fix = "fob reads files: export the certificate with its key from the store (Export-PfxCertificate), and give the PFX file with --certificate-password-file"
		}
		return nil, p
	}
	var password fob.Secret
	switch family, _, _ := strings.Cut(from, "_"); {
	case inv.flags.certificatePassword != "":
		if password, err = inv.secretFile(s, "--certificate-password-file", inv.flags.certificatePassword); err != nil {
			return nil, err
		}
	case family == "ARM":
		password = fob.NewSecret(inv.getenv("ARM_CLIENT_CERTIFICATE_PASSWORD"))
	default:
		password = fob.NewSecret(inv.getenv("AZURE_CLIENT_CERTIFICATE_PASSWORD"))
	}
	certificate, err := fob.ParseCertificate(data, password)
	if err != nil {
		return nil, &problem{status: StatusUsage, text: from + " " + path, err: err}
	}
	if want := inv.flags.certificateThumbprint; want != "" {
		sum1, sum256 := sha1.Sum(certificate.Leaf.Raw), sha256.Sum256(certificate.Leaf.Raw)
		got := strings.ToLower(strings.NewReplacer(":", "", " ", "").Replace(want))
		if got != hex.EncodeToString(sum1[:]) && got != hex.EncodeToString(sum256[:]) {
			return nil, &problem{status: StatusUsage, text: fmt.Sprintf("the certificate in %s has the thumbprint %X, not the one of --certificate-thumbprint", path, sum1)}
		}
	}
	certificate.Algorithm = inv.flags.assertionAlgorithm
	certificate.SendChain = inv.flags.sendChain || truthy(inv.getenv("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN"))
	return certificate, nil
}

// secretFile reads a secret from a file, or from stdin for "-".
func (inv *invocation) secretFile(s *settings, flag, path string) (fob.Secret, error) {
	var data []byte
	var err error
	if path == "-" {
		if s.usedStdin != "" {
			return fob.Secret{}, &problem{status: StatusUsage, text: s.usedStdin + " and " + flag + " cannot both read stdin", fix: "put one of them into a file"}
		}
		s.usedStdin = flag
		data, err = inv.readStdinSecret(flag)
	} else {
		data, err = readBounded(path, maxSecretFile)
	}
	if err != nil {
		return fob.Secret{}, secretFileProblem(flag, err)
	}
	return inv.cleanSecret(flag, data)
}

// secretFileProblem words why a secret could not be read. What stands in the
// place of the file's name may be the secret itself, so it is not repeated.
func secretFileProblem(flag string, err error) error {
	p := &problem{status: StatusUsage, text: "reading the file of " + flag, err: err}
	var path *fs.PathError
	if errors.As(err, &path) {
		p.err = path.Err
		p.fix = "check the file's name; if that was the secret itself, it is in the shell's history now: renew it, and give it in a file or on stdin (" + flag + " -)"
	}
	return p
}

// cleanSecret removes what editors and shells add to a secret, and says so
// where it is not a matter of course.
func (inv *invocation) cleanSecret(from string, data []byte) (fob.Secret, error) {
	if rest, found := bytes.CutPrefix(data, []byte("\ufeff")); found {
		inv.note("%s begins with a byte order mark, which is left out", from)
		data = rest
	}
	if isUTF16(data) {
		return fob.Secret{}, &problem{status: StatusUsage, text: from + " is written in UTF-16, as Windows PowerShell's > does",
			fix: "write it as text without a byte order mark: Set-Content -NoNewline -Encoding ascii"}
	}
	data = bytes.TrimRight(data, "\r\n")
	switch {
	case len(bytes.TrimSpace(data)) == 0:
		return fob.Secret{}, &problem{status: StatusUsage, text: from + " is empty", cause: "the variable or the command that should have written it gave nothing"}
	case bytes.ContainsAny(data, "\r\n"):
		return fob.Secret{}, &problem{status: StatusUsage, text: from + " has more than one line; it should hold the secret and nothing else"}
	case !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0:
		return fob.Secret{}, &problem{status: StatusUsage, text: from + " is not text"}
	}
	return fob.NewSecret(string(data)), nil
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	if path == "" {
		return nil, errors.New("the file's name is empty")
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.IsDir() {
		return nil, fmt.Errorf("%s is a directory", path)
	}
	return readAtMost(f, path, limit)
}

func readAtMost(r io.Reader, name string, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	switch {
	case err != nil:
		return nil, err
	case int64(len(data)) > limit:
		return nil, errors.New(name + " has more than " + fmt.Sprint(limit>>10) + " KiB; it cannot be what was meant")
	}
	return data, nil
}
