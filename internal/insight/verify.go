package insight

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha256" // the digests of the algorithms
	_ "crypto/sha512"
	"encoding/base64"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fobauth/fob"
	"github.com/go-jose/go-jose/v4"
)

// VerifyOptions says what a token is held against. The zero value checks
// signature, issuer and times of a token of Microsoft's clouds.
type VerifyOptions struct {
	// Keys are the keys to trust. Nil means: fetch them from Authority.
	Keys *KeySet
	// Authority is where keys are fetched. Zero means the authority that the
	// token's issuer names, if that is one of Microsoft's: an address that only
	// the token knows is not asked.
	Authority fob.Authority
	// Issuer is the issuer to expect. Empty means the one that the key, or the
	// authority's metadata, is published for.
	Issuer string
	// Audience are the values of aud to accept: the API's application id and
	// its resource URI. Empty skips the check.
	Audience []string
	// Tenant is the tenant id to expect. Empty skips the check.
	Tenant string
	// Nonce is the nonce of the sign-in request. Empty skips the check.
	Nonce string
	// Algorithms are the signature algorithms to accept, out of RS256 to PS512
	// and ES256 to ES512. Empty means RS256, the only one that Entra uses.
	Algorithms []string
	// HTTP fetches keys. Nil means http.DefaultClient.
	HTTP *http.Client
	// Now is the time to check against.
	Now time.Time
}

// Verdict is what came out of a verification.
type Verdict string

// The verdicts.
const (
	Verified   Verdict = "verified"   // every check that was asked for passed, the signature among them
	Refused    Verdict = "refused"    // a check failed
	Unverified Verdict = "unverified" // no check failed, but the signature could not be judged
)

// Verification is the outcome of [Verify]: one line a check.
type Verification struct {
	Verdict Verdict `json:"verdict"`
	Summary string  `json:"summary"`
	Checks  []Check `json:"checks"`
}

// Names of the checks of [Verify], in their order.
const (
	CheckForm      = "form"
	CheckAlgorithm = "algorithm"
	CheckHeader    = "header"
	CheckKey       = "key"
	CheckSignature = "signature"
	CheckIssuer    = "issuer"
	CheckTenant    = "tenant"
	CheckAudience  = "audience"
	CheckExpires   = "expires"
	CheckNotBefore = "not before"
	CheckNonce     = "nonce"
)

var signatureAlgorithms = []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS384, jose.PS512, jose.ES256, jose.ES384, jose.ES512}

// SignatureAlgorithms are the names that VerifyOptions.Algorithms may have.
func SignatureAlgorithms() []string {
	var names []string
	for _, a := range signatureAlgorithms {
		names = append(names, string(a))
	}
	return names
}

// Verify checks a token and says of each check what was expected and what was
// found. The checks that cost nothing come first; keys are fetched, and a
// signature is computed, only for a token that passed those that make no sense
// to go on after. Keys come from where opt says, never from the token.
func Verify(ctx context.Context, raw fob.Secret, opt VerifyOptions) *Verification {
	v := &Verification{Checks: make([]Check, 0, 12)}
	t, err := parseJWT(trimToken(raw.Reveal()))
	if err != nil {
		help := "only signed JWTs can be verified; \"fob decode\" says what this is"
		v.add(Check{CheckForm, Fail, "a signed JWT", strings.TrimPrefix(err.Error(), ErrNoToken.Error()+": "), help})
		return v.judge()
	}
	if len(t.odd) > 0 {
		v.add(Check{CheckForm, Fail, "JSON that reads the same for everybody", tidy(strings.Join(t.odd, "; ")), "refuse the token: it was made to be read in two ways"})
		return v.judge()
	}
	if wrong := t.payload.mistyped(); len(wrong) > 0 {
		v.add(Check{CheckForm, Fail, "claims of the types that RFC 7519 gives them", strings.Join(wrong, "; "), "refuse the token: one reader takes such a claim for what it looks like, another for none"})
		return v.judge()
	}
	v.add(Check{Name: CheckForm, Result: Pass, Found: "a signed JWT"})
	algorithm, ok := v.algorithm(t, opt)
	if ok = v.header(t) && ok; ok {
		v.signature(ctx, t, algorithm, &opt)
	}
	v.claims(t, opt)
	return v.judge()
}

func (v *Verification) add(c Check) bool {
	v.Checks = append(v.Checks, c)
	return c.Result != Fail
}

func (v *Verification) algorithm(t *parsedToken, opt VerifyOptions) (jose.SignatureAlgorithm, bool) {
	allowed := opt.Algorithms
	if len(allowed) == 0 {
		allowed = []string{"RS256"}
	}
	found := t.header.text("alg")
	algorithm := jose.SignatureAlgorithm(found)
	check := Check{Name: CheckAlgorithm, Result: Fail, Expected: strings.Join(allowed, " or "), Found: tidy(found)}
	switch {
	case strings.EqualFold(found, "none"), found == "":
		check.Help = "the token is not signed: anybody can have written it"
	case strings.HasPrefix(found, "HS"):
		check.Help = "a signature with a shared secret proves nothing where the key is public: this is how tokens are forged with an issuer's public key"
	case !slices.Contains(allowed, found), !slices.Contains(signatureAlgorithms, algorithm):
		check.Help = "Entra signs with RS256; allow another algorithm only for an issuer of which you know that it uses it"
	default:
		check.Result, check.Expected = Pass, ""
	}
	return algorithm, v.add(check)
}

func (v *Verification) header(t *parsedToken) bool {
	if t.header.has("crit") {
		return v.add(Check{CheckHeader, Fail, "no critical extensions", "crit " + shown(t.header.raw("crit")), "the signer demands that a verifier understands these members; fob does not"})
	}
	if typ := t.header.text("typ"); strings.EqualFold(typ, "pop") || strings.EqualFold(typ, "dpop+jwt") {
		return v.add(Check{CheckHeader, Fail, "typ JWT", "typ " + tidy(typ), "this is a proof of possession, not a token; the token is in its member at"})
	}
	var ignored []string
	for _, name := range []string{"jku", "x5u", "jwk", "x5c"} {
		if t.header.has(name) {
			ignored = append(ignored, name)
		}
	}
	if len(ignored) > 0 {
		v.add(Check{CheckHeader, Pass, "", "keys that the token brings itself were ignored: " + strings.Join(ignored, ", "), ""})
	}
	return true
}

// signature finds the key and checks the signature. What the key is published
// for becomes the expected issuer.
func (v *Verification) signature(ctx context.Context, t *parsedToken, algorithm jose.SignatureAlgorithm, opt *VerifyOptions) {
	keys := opt.Keys
	if keys == nil {
		authority := opt.Authority
		if authority == (fob.Authority{}) {
			var known bool
			if authority, known = microsoftIssuer(t.payload.text("iss")); !known {
				v.add(Check{CheckKey, Skipped, "", "the issuer is not one of Microsoft's, so its keys are not fetched unasked", "say where the keys are: --authority-host with --tenant, or --keys FILE"})
				v.add(Check{Name: CheckSignature, Result: Skipped, Help: "there is no key to check it with"})
				return
			}
		}
		var err error
		if keys, err = FetchKeys(ctx, opt.HTTP, authority, t.payload.text("ver")); err != nil {
			v.add(Check{CheckKey, Skipped, "", tidy(err.Error()), "\"fob doctor network\" looks at the way to the authority"})
			v.add(Check{Name: CheckSignature, Result: Skipped, Help: "there is no key to check it with"})
			return
		}
	}
	kid := t.header.text("kid")
	k, outcome, mismatch := keys.judge(t.compact, t.header, algorithm)
	switch outcome {
	case noKey:
		help := "the token is from another issuer or cloud, its key was withdrawn, or it is forged; for apps with signing keys of their own the keys are elsewhere (claims mapping)"
		if kid == "" {
			help = "the token does not say which key signed it, and there are several"
		}
		v.add(Check{CheckKey, Fail, "a key of " + tidy(keys.origin), first(tidy(kid), "no key id"), help})
		v.add(Check{Name: CheckSignature, Result: Skipped, Help: "there is no key to check it with"})
		return
	case unfitKey:
		v.add(Check{CheckKey, Fail, "a key for " + string(algorithm), mismatch, "the token names a key that cannot have signed it: it is forged or badly made"})
		v.add(Check{Name: CheckSignature, Result: Skipped, Help: "the key does not fit the algorithm"})
		return
	case goodSignature:
		v.add(Check{Name: CheckKey, Result: Pass, Found: first(tidy(k.KeyID), "the only one") + " of " + tidy(keys.origin)})
		v.add(Check{Name: CheckSignature, Result: Pass, Found: "made with that key"})
		if opt.Issuer == "" {
			opt.Issuer = first(k.issuer, keys.issuer)
			// Keys carry the v2 form of the issuer also where they sign v1 tokens.
			if t.payload.text("ver") == "1.0" && keys.issuer != "" {
				opt.Issuer = keys.issuer
			}
		}
		return
	}
	v.add(Check{Name: CheckKey, Result: Pass, Found: first(tidy(kid), "the only one") + " of " + tidy(keys.origin)})
	if t.header.has("nonce") {
		api := apiOf(strings.Join(t.payload.texts("aud"), " "))
		v.add(Check{CheckSignature, Skipped, "", "cannot be verified by anybody but " + first(api.Name, "the API itself"),
			"the header has a nonce: the signature was made over a header with the nonce's digest, which only the API that the token is for puts back. " +
				"The token may be perfectly good. Do not verify tokens for other APIs; if you write an API, ask for tokens for your own (api://<your app id>/.default)"})
		return
	}
	v.add(Check{CheckSignature, Fail, "a signature made with that key", "another one", "the token was changed after it was signed, was cut when copied, or is forged"})
}

// outcome is what became of a signature.
type outcome int

const (
	noKey outcome = iota
	unfitKey
	badSignature
	goodSignature
)

// judge checks a compact JWS against the keys that its header names. It returns
// the key that signed, or why the last key cannot have.
func (s *KeySet) judge(compact string, header object, algorithm jose.SignatureAlgorithm) (key, outcome, string) {
	found := s.candidates(header.text("kid"), header.text("x5t"))
	if len(found) == 0 {
		return key{}, noKey, ""
	}
	mismatch, fits := "", 0
	for _, k := range found {
		if why := unfit(k, algorithm); why != "" {
			mismatch = why
		} else {
			found[fits] = k
			fits++
		}
	}
	if fits == 0 {
		return key{}, unfitKey, mismatch
	}
	// The signature is checked with the standard library: go-jose would read the
	// header once more, and takes RSA-PSS salts of any length where RFC 7518
	// section 3.5 wants the digest's.
	dot := strings.LastIndexByte(compact, '.')
	signature, err := base64.RawURLEncoding.Strict().DecodeString(compact[dot+1:])
	if dot < 0 || err != nil {
		return key{}, badSignature, ""
	}
	hash := map[byte]crypto.Hash{'2': crypto.SHA256, '3': crypto.SHA384, '5': crypto.SHA512}[algorithm[2]]
	digester := hash.New()
	io.WriteString(digester, compact[:dot])
	digest := digester.Sum(nil)
	for _, k := range found[:fits] {
		if signs(k.Key, algorithm, hash, digest, signature) {
			return k, goodSignature, ""
		}
	}
	return key{}, badSignature, ""
}

// signs reports whether signature is the key's over digest. The key has been
// found to fit the algorithm.
func signs(public any, algorithm jose.SignatureAlgorithm, hash crypto.Hash, digest, signature []byte) bool {
	switch public := public.(type) {
	case *rsa.PublicKey:
		if algorithm[0] == 'P' {
			return rsa.VerifyPSS(public, hash, digest, signature, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash}) == nil
		}
		return rsa.VerifyPKCS1v15(public, hash, digest, signature) == nil
	case *ecdsa.PublicKey:
		size := (public.Curve.Params().BitSize + 7) / 8
		if len(signature) != 2*size {
			return false
		}
		r, s := new(big.Int).SetBytes(signature[:size]), new(big.Int).SetBytes(signature[size:])
		return ecdsa.Verify(public, digest, r, s)
	}
	return false
}

// unfit says why a key cannot have made a signature with algorithm.
func unfit(k key, algorithm jose.SignatureAlgorithm) string {
	if k.Algorithm != "" && k.Algorithm != string(algorithm) {
		return "a key for " + tidy(k.Algorithm)
	}
	switch public := k.Key.(type) {
	case *rsa.PublicKey:
		if strings.HasPrefix(string(algorithm), "ES") {
			return "an RSA key"
		}
	case *ecdsa.PublicKey:
		curve := map[jose.SignatureAlgorithm]elliptic.Curve{jose.ES256: elliptic.P256(), jose.ES384: elliptic.P384(), jose.ES512: elliptic.P521()}[algorithm]
		if curve != public.Curve {
			return "an EC key on " + public.Curve.Params().Name
		}
	}
	return ""
}

func (v *Verification) claims(t *parsedToken, opt VerifyOptions) {
	c := t.payload
	tenant := c.text("tid")
	issuer := c.text("iss")
	switch {
	case opt.Issuer == "":
		v.add(Check{CheckIssuer, Skipped, "", tidy(issuer), "without the issuer's keys there is nothing to compare it with"})
	default:
		want := strings.ReplaceAll(opt.Issuer, "{tenantid}", tenant)
		check := Check{CheckIssuer, Pass, tidy(want), tidy(issuer), ""}
		switch {
		case issuer != want:
			check.Result, check.Help = Fail, issuerHelp(issuer, want)
		case strings.Contains(opt.Issuer, "{tenantid}") && !isGUID(tenant):
			check.Result, check.Help = Fail, "the key signs for every tenant, so the token must name its own (tid)"
		case issuerTenant(issuer) != "" && tenant != "" && issuerTenant(issuer) != tenant:
			check.Result, check.Help, check.Expected = Fail, "the tenant in the issuer is not the token's tenant", "an issuer of tenant "+tidy(tenant)
		}
		v.add(check)
	}
	if opt.Tenant != "" {
		check := Check{CheckTenant, Pass, tidy(opt.Tenant), tidy(tenant), ""}
		if !strings.EqualFold(tenant, opt.Tenant) {
			check.Result, check.Help = Fail, "the token is from another tenant; give the tenant's id (a GUID), not a domain"
		}
		v.add(check)
	} else {
		v.add(Check{CheckTenant, Skipped, "", tidy(tenant), "no tenant to expect was given (--tenant); an API must know whose tokens it takes"})
	}
	audience := c.texts("aud")
	switch check := (Check{CheckAudience, Pass, tidy(strings.Join(opt.Audience, " or ")), tidy(strings.Join(audience, ", ")), ""}); {
	case len(opt.Audience) == 0:
		check.Result, check.Help = Skipped, "no audience to expect was given (--audience); an API that does not check it takes tokens that were meant for others"
		v.add(check)
	case !slices.ContainsFunc(audience, func(a string) bool { return slices.Contains(opt.Audience, a) }):
		check.Result, check.Help = Fail, audienceHelp(audience, opt.Audience)
		v.add(check)
	default:
		v.add(check)
	}
	v.times(c, opt.Now)
	if opt.Nonce != "" {
		check := Check{CheckNonce, Pass, "the sign-in's nonce", tidy(c.text("nonce")), ""}
		if c.text("nonce") != opt.Nonce {
			check.Result, check.Expected, check.Help = Fail, tidy(opt.Nonce), "the token does not belong to this sign-in; somebody may have replayed it"
		}
		v.add(check)
	}
}

func (v *Verification) times(c object, now time.Time) {
	exp, ok := c.number("exp")
	switch at := momentAt(exp, now); {
	case !ok:
		v.add(Check{CheckExpires, Fail, "a time", "", "a token without an end is good for ever for whoever steals it"})
	case now.Unix() > exp+int64(clockSkew/time.Second):
		v.add(Check{CheckExpires, Fail, "a time after " + now.Format("15:04:05 -07:00"), first(at.text(), "no time of a calendar"), "get a new token; if this one is new, this machine's clock is ahead (fob doctor clock)"})
	default:
		v.add(Check{Name: CheckExpires, Result: Pass, Found: first(at.text(), "far away")})
	}
	nbf, ok := c.number("nbf")
	switch at := momentAt(nbf, now); {
	case !c.has("nbf"):
	case !ok:
		v.add(Check{CheckNotBefore, Fail, "a time before " + now.Format("15:04:05 -07:00"), "no time of a calendar", "the token cannot be used at any time: it is badly made"})
	case nbf-int64(clockSkew/time.Second) > now.Unix():
		v.add(Check{CheckNotBefore, Fail, "a time before " + now.Format("15:04:05 -07:00"), first(at.text(), "no time of a calendar"), "this machine's clock is behind, or the issuer's ahead (fob doctor clock)"})
	default:
		v.add(Check{Name: CheckNotBefore, Result: Pass, Found: at.text()})
	}
}

func issuerHelp(found, want string) string {
	switch {
	case strings.TrimSuffix(found, "/") == strings.TrimSuffix(want, "/"):
		return "only the slash at the end differs, and issuers are compared letter by letter"
	case strings.EqualFold(found, want):
		return "only capital letters differ, and issuers are compared letter by letter"
	case strings.HasPrefix(found, "https://sts.windows.net/") && strings.HasSuffix(want, "/v2.0"):
		return "this is a v1 token where a v2 one was expected: the API's registration chooses (api.requestedAccessTokenVersion: 2)"
	case strings.HasSuffix(found, "/v2.0") && strings.HasPrefix(want, "https://sts.windows.net/"):
		return "this is a v2 token where a v1 one was expected: the API's registration chooses (api.requestedAccessTokenVersion: 1)"
	case issuerTenant(found) != "" && issuerTenant(want) != "" && issuerTenant(found) != issuerTenant(want):
		return "the token is from another tenant"
	}
	return "the token is from somebody else"
}

func audienceHelp(found, want []string) string {
	for _, f := range found {
		for _, w := range want {
			if help := audienceSpelling(f, w); help != "" {
				return help
			}
		}
	}
	if len(found) > 0 {
		if api := apiOf(found[0]); api.Name != "" {
			return "the token is for " + api.Name + ": ask for one for your API (its application id or api:// URI and /.default)"
		}
	}
	for _, w := range want {
		if len(found) > 0 && isGUID(found[0]) && strings.HasPrefix(w, "api://") {
			return "a v2 token names the API by its application id: if that is this API's, expect it with --audience " + clean(found[0], 60) + "; else the token is for another API"
		}
	}
	return "the token is for another API: ask for one for this API (its application id or api:// URI and /.default)"
}

// audienceSpelling explains two audiences that name the same API in different
// words; "" if they do not.
func audienceSpelling(found, want string) string {
	a, b := strings.ToLower(strings.TrimRight(found, "/")), strings.ToLower(strings.TrimRight(want, "/"))
	switch {
	case found == want:
		return ""
	case strings.TrimRight(found, "/") == strings.TrimRight(want, "/"):
		return "only the slash at the end differs: v1 tokens repeat the resource as it was asked for. Ask for the exact spelling (a resource that ends in / makes the scope end in //.default), or accept both"
	case a == b:
		return "only capital letters differ; ask for the exact spelling"
	case strings.TrimPrefix(a, "api://") == strings.TrimPrefix(b, "api://"):
		return "one has api:// before the application id: v1 tokens carry the URI, v2 tokens the bare id. Accept both, or set api.requestedAccessTokenVersion"
	}
	if x, y := apiOf(found), apiOf(want); x.AppID != "" && x.AppID == y.AppID {
		return "both name " + x.Name + ", one by its application id or another URI; an API compares letter by letter"
	}
	return ""
}

func (v *Verification) judge() *Verification {
	v.Verdict = Unverified
	var failed, skipped []string
	for _, c := range v.Checks {
		switch {
		case c.Result == Fail:
			failed = append(failed, c.Name)
		case c.Result == Skipped:
			skipped = append(skipped, c.Name)
		case c.Name == CheckSignature:
			v.Verdict = Verified
		}
	}
	switch {
	case len(failed) > 0:
		v.Verdict = Refused
		v.Summary = "Refused: " + strings.Join(failed, ", ")
	case v.Verdict == Verified && len(skipped) > 0:
		v.Summary = fmt.Sprintf("The signature is good. Not checked: %s", strings.Join(skipped, ", "))
	case v.Verdict == Verified:
		v.Summary = "Verified"
	default:
		v.Summary = "Not verified: no check failed, but the signature could not be judged"
	}
	return v
}

// Check returns the check called name, or nil if it was not made.
func (v *Verification) Check(name string) *Check {
	for i := range v.Checks {
		if v.Checks[i].Name == name {
			return &v.Checks[i]
		}
	}
	return nil
}

// Render writes the verification for people.
func (v *Verification) Render(w io.Writer, style Style) error {
	p := newPage(w, style)
	p.title(v.Summary)
	p.checks(v.Checks)
	return p.err
}
