package fob

import (
	"context"
	"errors"
	"net/url"
)

// ClientCredentials is the flow of an application that speaks for itself
// (RFC 6749 section 4.4). The client needs a Credential and a tenant of its
// own ("organizations" does not do), and the request the scope
// "<resource>/.default". It is the default flow of a client with a Credential.
type ClientCredentials struct{}

// Acquire exchanges the client's credential for a token.
func (ClientCredentials) Acquire(ctx context.Context, c *Client, req Request) (*Token, error) {
	if c.Credential == nil {
		return nil, errors.New("client credentials need a credential: a client secret, a certificate or a federated token")
	}
	return c.Exchange(ctx, req, url.Values{"grant_type": {grantClientCredentials}})
}
