package fob

import (
	"context"
	"errors"
	"net/url"
)

// RefreshToken is the flow of someone who already holds a refresh token, from
// another tool or an earlier sign-in. The token is bound to the client id that
// it was issued to. [Client.SignIn] keeps it (and what it is rotated to) in
// the store.
type RefreshToken struct {
	Token Secret
}

// Acquire exchanges the refresh token.
func (f RefreshToken) Acquire(ctx context.Context, c *Client, req Request) (*Token, error) {
	switch {
	case f.Token.IsZero():
		return nil, errors.New("the refresh token is empty; the variable or file it came from may be unset")
	case !isTokenText(f.Token.Reveal()):
		return nil, errors.New("the refresh token has spaces or line breaks in it; copy it again as one word")
	}
	return c.Exchange(ctx, req, url.Values{
		"grant_type":    {grantRefreshToken},
		"refresh_token": {f.Token.Reveal()},
	})
}
