package fob

import (
	"context"
	"errors"
	"net/url"
)

// OnBehalfOf is the flow of a service that was called with a user's access
// token and calls another API in that user's name
// (https://learn.microsoft.com/entra/identity-platform/v2-oauth2-on-behalf-of-flow).
// Tokens are stored per assertion.
type OnBehalfOf struct {
	// Assertion is the access token that the service was called with. Its
	// audience is the service itself.
	Assertion Secret
}

// Acquire exchanges the assertion for a token for the API of req.
func (f OnBehalfOf) Acquire(ctx context.Context, c *Client, req Request) (*Token, error) {
	switch {
	case f.Assertion.IsZero():
		return nil, errors.New("on-behalf-of needs the access token that the service was called with")
	case c.Credential == nil:
		return nil, errors.New("on-behalf-of needs a credential: a client secret, a certificate or a federated token")
	}
	return c.Exchange(ctx, req, url.Values{
		"grant_type":          {grantOnBehalfOf},
		"assertion":           {f.Assertion.Reveal()},
		"requested_token_use": {"on_behalf_of"},
	})
}
