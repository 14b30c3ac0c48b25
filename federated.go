package fob

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"strings"
)

// isJWT reports whether text can be a signed JWT. What cannot be one may be a
// secret from the wrong file, and is not sent.
func isJWT(text string) bool { return strings.Count(text, ".") == 2 && isTokenText(text) }

// maxAssertion is more than any identity provider signs.
const maxAssertion = 64 << 10

// AssertionFile is the path of a file with an assertion. It is read anew for
// every exchange, because whoever wrote it (Kubernetes, a CI system) replaces
// it before it expires. A pipe is good for one exchange, and gets every stored
// token.
type AssertionFile string

func (f AssertionFile) authenticate(ctx context.Context, c *Client, audience string, form url.Values) error {
	assertion, err := f.read()
	if err != nil {
		return err
	}
	return assertion.authenticate(ctx, c, audience, form)
}

func (f AssertionFile) read() (ClientAssertion, error) {
	path := string(f)
	file, err := os.Open(path)
	if err != nil {
		// Whoever gave the token in place of the file's name does not want
		// to see it again.
		var p *fs.PathError
		if errors.As(err, &p) && strings.HasPrefix(path, "eyJ") {
			err = p.Err
		}
		return ClientAssertion{}, fmt.Errorf("reading the federated token: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxAssertion+1))
	switch {
	case err != nil:
		return ClientAssertion{}, fmt.Errorf("reading the federated token: %w", err)
	case len(text) > maxAssertion:
		return ClientAssertion{}, fmt.Errorf("the federated token file %s has more than 64 KiB; it should hold one JWT", path)
	}
	token := strings.TrimSpace(string(text))
	if !isJWT(token) {
		return ClientAssertion{}, fmt.Errorf("the federated token file %s does not hold a JWT (three parts with dots between)", path)
	}
	return ClientAssertion{NewSecret(token)}, nil
}

// mark cannot be told while the file cannot be opened: a stored token gets a
// program over that. What is there and is no assertion gets no token. To look
// into a pipe would take from the exchange what is in it.
func (f AssertionFile) mark() string {
	if info, err := os.Stat(string(f)); err != nil || !info.Mode().IsRegular() {
		return ""
	}
	assertion, err := f.read()
	var missing *fs.PathError
	switch {
	case errors.As(err, &missing):
		return ""
	case err != nil:
		return "no assertion"
	}
	return assertion.mark()
}

// assertedBy is what stays the same from one assertion to the next: who says
// it, of whom, and to whom, which is what a federated credential is compared
// with. An app that signs for itself always says the same, so there the key
// counts, too. Nothing of it is verified: a forged assertion finds the token
// that its owner could read from the same store.
func assertedBy(token string) []string {
	header, rest, _ := strings.Cut(token, ".")
	payload, _, _ := strings.Cut(rest, ".")
	var from assertionHeader
	var says assertionClaims
	for _, part := range []struct {
		text string
		into record
	}{{header, &from}, {payload, &says}} {
		text, err := base64.RawURLEncoding.DecodeString(part.text)
		if err != nil || decodeRecord(text, part.into) != nil {
			return []string{token} // the server may see more in it
		}
	}
	who := append([]string{says.issuer, says.subject}, says.audience...)
	if says.issuer == says.subject {
		who = append(who, from.keys...)
	}
	return who
}

type assertionHeader struct{ keys []string }

func (h *assertionHeader) member(r *recordReader, name string) {
	switch name {
	case "kid", "x5t", "x5t#S256":
		var key string
		r.text(&key)
		h.keys = append(h.keys, name, key)
	default:
		r.skip()
	}
}

type assertionClaims struct {
	issuer, subject string
	audience        []string // of one element for a text
}

func (c *assertionClaims) member(r *recordReader, name string) {
	switch name {
	case "iss":
		r.text(&c.issuer)
	case "sub":
		r.text(&c.subject)
	case "aud":
		r.oneOrMore(&c.audience)
	default:
		r.skip()
	}
}
