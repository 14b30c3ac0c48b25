package graphsim

import (
	"cmp"
	"crypto"
	"crypto/rand"
	"crypto/sha1"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

func passwords(secrets []directory.AppSecret) []object {
	out := []object{}
	for _, s := range secrets {
		out = append(out, password(s, false))
	}
	return out
}

// password shows a secret; its text only when it was just made.
func password(s directory.AppSecret, reveal bool) object {
	var secret any
	if reveal {
		secret = s.Value
	}
	return object{{"customKeyIdentifier", nil}, {"displayName", text(s.Name)}, {"endDateTime", date(s.Expires)}, {"hint", text(s.Value[:min(3, len(s.Value))])},
		{"keyId", s.ID}, {"secretText", secret}, {"startDateTime", date(s.Begins)}}
}

func keys(a *directory.App) []object {
	out := []object{}
	for _, cert := range a.Certificates {
		out = append(out, key(a, cert))
	}
	return out
}

func key(a *directory.App, cert directory.AppCertificate) object {
	from, until := cert.Validity()
	return object{{"customKeyIdentifier", strings.ToUpper(thumbprint(cert))}, {"displayName", cmp.Or(cert.Name, cert.Subject.String())},
		{"endDateTime", date(until)}, {"key", nil}, {"keyId", keyID(a, cert)},
		{"startDateTime", date(from)}, {"type", "AsymmetricX509Cert"}, {"usage", "Verify"}}
}

// thumbprint is how people name a certificate: the hexadecimal of its SHA-1.
func thumbprint(cert directory.AppCertificate) string { return fmt.Sprintf("%x", sha1.Sum(cert.Raw)) }

func keyID(a *directory.App, cert directory.AppCertificate) string {
	sum := sha1.Sum(cert.Raw)
	return cmp.Or(cert.ID, derivedID("key", a.ClientID, string(sum[:])))
}

// certificatesIn reads what is to be the keyCredentials of an app. An entry
// without a key is one that is there already: the service never tells a key again.
func certificatesIn(v any, a *directory.App) ([]directory.AppCertificate, error) {
	var out []directory.AppCertificate
	for _, k := range list(v) {
		cert, err := certificateIn(k, a)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(out, func(c directory.AppCertificate) bool { return c.Equal(cert.Certificate) }) {
			out = append(out, cert)
		}
	}
	return out, nil
}

// A credentialError is what Graph says about dates of a key that cannot be.
type credentialError struct{ code, message string }

func (e credentialError) Error() string { return e.message }

func certificateIn(k any, a *directory.App) (cert directory.AppCertificate, err error) {
	cert = directory.AppCertificate{ID: strings.ToLower(str(inside(k, "keyId"))), Name: str(inside(k, "displayName"))}
	cert.Begins, _ = parseDate(str(inside(k, "startDateTime"))) // it conforms, or is not there
	cert.Expires, _ = parseDate(str(inside(k, "endDateTime")))
	key := str(inside(k, "key"))
	if key == "" {
		named := str(inside(k, "customKeyIdentifier"))
		i := slices.IndexFunc(a.Certificates, func(c directory.AppCertificate) bool {
			return strings.EqualFold(keyID(a, c), cert.ID) || strings.EqualFold(thumbprint(c), named)
		})
		if i < 0 {
			return cert, errors.New("no key")
		}
		from, until := a.Certificates[i].Validity()
		if !cert.Begins.IsZero() && date(cert.Begins) != date(from) || !cert.Expires.IsZero() && date(cert.Expires) != date(until) {
			return cert, credentialError{"Request_BadRequest", "Update to existing credential with KeyId '" + keyID(a, a.Certificates[i]) + "' is not allowed."}
		}
		return a.Certificates[i], nil
	}
	der, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return cert, err
	}
	if cert.Certificate, err = x509.ParseCertificate(der); err != nil {
		return cert, err
	}
	if from, until := cert.Validity(); until.After(cert.NotAfter) || !until.After(from) {
		return cert, credentialError{"KeyCredentialsInvalidEndDate", "Key credential end date is invalid."}
	}
	return cert, nil
}

// defaultSecretLife is how long a secret lives that was asked for without an end.
const defaultSecretLife = 2 * 365 * 24 * time.Hour

func (c *call) addPassword() {
	given, ok := c.action("addPassword", false, "passwordCredential passwordCredential")
	if !ok {
		return
	}
	a, secrets, ok := c.secretsOf()
	if !ok {
		return
	}
	asked := given["passwordCredential"]
	s := directory.AppSecret{ID: c.World.NewID("secret"), Name: str(inside(asked, "displayName")), Begins: c.World.Now()}
	if begins := str(inside(asked, "startDateTime")); begins != "" {
		s.Begins, _ = parseDate(begins) // it conforms
	}
	s.Expires = s.Begins.Add(defaultSecretLife)
	if expires := str(inside(asked, "endDateTime")); expires != "" {
		s.Expires, _ = parseDate(expires)
	}
	if !s.Expires.After(s.Begins) {
		c.invalid(errors.New("Invalid value specified for property 'endDateTime' of resource 'PasswordCredential'."))
		return
	}
	s.Value = newSecret()
	c.World.UpdateApp(a.ClientID, func(a *directory.App) { *secrets(a) = append(*secrets(a), s) })
	c.entity("microsoft.graph.passwordCredential", password(s, true))
}

// secretsOf finds the app that the path begins with and which of its secrets
// are meant: those of the registration or those of the service principal.
func (c *call) secretsOf() (a *directory.App, secrets func(*directory.App) *[]directory.AppSecret, ok bool) {
	v, ok := c.subject()
	if !ok {
		return nil, nil, false
	}
	p, ok := v.(principal)
	if !ok {
		return v.(*directory.App), func(a *directory.App) *[]directory.AppSecret { return &a.Secrets }, true
	}
	if p.app.Tenant != c.tenant() {
		c.refuse(http.StatusNotImplemented, "NotImplemented", "The emulator changes service principals of the tenant's own apps only.")
		return nil, nil, false
	}
	return p.app, func(a *directory.App) *[]directory.AppSecret { return &a.PrincipalSecrets }, true
}

// newSecret makes a secret of the form that Entra's have.
func newSecret() string {
	raw := make([]byte, 30)
	rand.Read(raw)
	s := base64.RawURLEncoding.EncodeToString(raw)
	return s[:3] + "8Q~" + s[3:37]
}

func (c *call) removePassword() {
	given, ok := c.action("removePassword", true, "keyId Edm.Guid")
	if !ok {
		return
	}
	a, secrets, ok := c.secretsOf()
	if !ok {
		return
	}
	id := str(given["keyId"])
	if !slices.ContainsFunc(*secrets(a), func(s directory.AppSecret) bool { return strings.EqualFold(s.ID, id) }) {
		c.invalid(fmt.Errorf("No password credential found with keyId '%s'.", id))
		return
	}
	c.World.UpdateApp(a.ClientID, func(a *directory.App) {
		*secrets(a) = slices.DeleteFunc(*secrets(a), func(s directory.AppSecret) bool { return strings.EqualFold(s.ID, id) })
	})
	c.noContent()
}

// rollable finds the app whose keys are to be rolled, or answers 403 or 404. An
// app needs no permission to roll its own.
func (c *call) rollable(needs string) (*directory.App, bool) {
	a, ok := c.lookupApp(c.arg(0))
	switch own := ok && !c.token.delegated() && c.token.client() == a.ClientID; {
	case own:
		return a, true
	case !c.may(needs) || c.token.delegated() && !appKeeper(c):
		c.denied()
		return nil, false
	}
	return c.findApp(c.arg(0))
}

// proofAudience is whom the proof of possession is for: the directory, by the
// name of its old API.
const proofAudience = "00000002-0000-0000-c000-000000000000"

// proven checks the proof that the caller holds one of an app's keys: a JWT
// signed with it, for ten minutes at most. Else it answers: with what little
// Graph says, and the reason where people look who read all of an error.
func (c *call) proven(a *directory.App, proof string) bool {
	const life, skew = 10 * time.Minute, 5 * time.Minute
	if proof == "" {
		c.denied()
		return false
	}
	now := c.World.Now()
	var valid []crypto.PublicKey
	for _, k := range a.Certificates {
		if k.Good(now) {
			valid = append(valid, k.PublicKey)
		}
	}
	signed, err := c.Signed(proof, valid)
	got := claims(signed)
	expires, _ := got["exp"].(float64)
	begins, _ := got["nbf"].(float64)
	from, until := time.Unix(int64(begins), 0), time.Unix(int64(expires), 0)
	reason := ""
	switch {
	case len(valid) == 0:
		reason = "The application has no valid certificate that could prove anything: update its keyCredentials instead."
	case strings.Contains(proof, "="):
		reason = "The proof has padding (=), which a JWT has not."
	case err != nil:
		reason = "The proof is refused: " + err.Error() + "."
	case !strings.EqualFold(got.text("aud"), proofAudience):
		reason = "The aud of the proof is '" + got.text("aud") + "', not '" + proofAudience + "'."
	case !strings.EqualFold(got.text("iss"), a.ObjectID):
		reason = "The iss of the proof is '" + got.text("iss") + "', not '" + a.ObjectID + "', the object id of the application."
	case expires == 0 || now.After(until.Add(skew)) || now.Before(from.Add(-skew)):
		reason = "The proof is not valid now: it has expired, begins later or has no exp."
	case until.Sub(now) > life+skew, begins != 0 && until.Sub(from) > life:
		reason = "The proof is valid for more than ten minutes."
	default:
		return true
	}
	body := c.errorBody("Authentication_MissingOrMalformed", "Access Token missing or malformed.")
	inner := body[0].value.(object)
	inner[2].value = append(object{{"message", reason}}, inner[2].value.(object)...)
	c.send(http.StatusUnauthorized, "application/json", body)
	return false
}

func (c *call) addKey() {
	given, ok := c.action("addKey", true, "keyCredential keyCredential", "passwordCredential passwordCredential", "proof Edm.String")
	if !ok {
		return
	}
	a, ok := c.rollable("POST /applications/{id}/addkey")
	if !ok {
		return
	}
	credential := given["keyCredential"]
	kind, usage := str(inside(credential, "type")), str(inside(credential, "usage"))
	switch {
	case kind == "X509CertAndPassword":
		c.refuse(http.StatusNotImplemented, "NotImplemented", "The emulator's applications have keys of the type AsymmetricX509Cert only.")
		return
	case kind != "AsymmetricX509Cert":
		c.invalid(errors.New("Invalid value specified for property 'type' of resource 'KeyCredential'."))
		return
	case usage != "Verify":
		c.invalid(errors.New("Invalid value specified for property 'usage' of resource 'KeyCredential'."))
		return
	}
	cert, err := certificateIn(credential, &directory.App{})
	switch dates := (credentialError{}); {
	case errors.As(err, &dates):
		c.invalid(err)
		return
	case err != nil:
		c.invalid(errors.New("Key credential is invalid: its key is not the base64 of a certificate."))
		return
	}
	if !c.proven(a, str(given["proof"])) {
		return
	}
	if slices.ContainsFunc(a.Certificates, func(k directory.AppCertificate) bool { return k.Equal(cert.Certificate) }) {
		c.invalid(errors.New("A key credential with this certificate exists already."))
		return
	}
	c.World.UpdateApp(a.ClientID, func(a *directory.App) { a.Certificates = append(a.Certificates, cert) })
	c.entity("microsoft.graph.keyCredential", key(a, cert))
}

func (c *call) removeKey() {
	given, ok := c.action("removeKey", true, "keyId Edm.Guid", "proof Edm.String")
	if !ok {
		return
	}
	a, ok := c.rollable("POST /applications/{id}/removekey")
	if !ok || !c.proven(a, str(given["proof"])) {
		return
	}
	id := str(given["keyId"])
	named := func(k directory.AppCertificate) bool { return strings.EqualFold(keyID(a, k), id) }
	if !slices.ContainsFunc(a.Certificates, named) {
		c.invalid(fmt.Errorf("No key credential found with keyId '%s'.", id))
		return
	}
	c.World.UpdateApp(a.ClientID, func(a *directory.App) { a.Certificates = slices.DeleteFunc(a.Certificates, named) })
	c.noContent()
}
