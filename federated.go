package fob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// isJWT reports whether text can be a signed JWT. What cannot be one may be a
// secret from the wrong file, and is not sent.
func isJWT(text string) bool { return strings.Count(text, ".") == 2 && isTokenText(text) }

// maxAssertion is more than any identity provider signs.
const maxAssertion = 64 << 10

// AssertionFile returns an assertion that is read from path anew for every
// exchange, because whoever wrote it (Kubernetes, a CI system) replaces it
// before it expires.
func AssertionFile(path string) Assertion {
	return func(context.Context) (Secret, error) {
		f, err := os.Open(path)
		if err != nil {
			// Whoever gave the token in place of the file's name does not want
			// to see it again.
			var p *fs.PathError
			if errors.As(err, &p) && strings.HasPrefix(path, "eyJ") {
				err = p.Err
			}
			return Secret{}, fmt.Errorf("reading the federated token: %w", err)
		}
		defer f.Close()
		text, err := io.ReadAll(io.LimitReader(f, maxAssertion+1))
		switch {
		case err != nil:
			return Secret{}, fmt.Errorf("reading the federated token: %w", err)
		case len(text) > maxAssertion:
			return Secret{}, fmt.Errorf("the federated token file %s has more than 64 KiB; it should hold one JWT", path)
		}
		token := strings.TrimSpace(string(text))
		if !isJWT(token) {
			return Secret{}, fmt.Errorf("the federated token file %s does not hold a JWT (three parts with dots between)", path)
		}
		return NewSecret(token), nil
	}
}
