package fob

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
)

// maxAssertion is more than any identity provider signs.
const maxAssertion = 64 << 10

// AssertionFile returns an assertion that is read from path anew for every
// exchange, because whoever wrote it (Kubernetes, a CI system) replaces it
// before it expires.
func AssertionFile(path string) Assertion {
	return func(context.Context) (Secret, error) {
		f, err := os.Open(path)
		if err != nil {
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
		if strings.Count(token, ".") != 2 || !isTokenText(token) {
			return Secret{}, fmt.Errorf("the federated token file %s does not hold a JWT (three parts with dots between)", path)
		}
		return NewSecret(token), nil
	}
}
