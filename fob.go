package fob

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"
)

// TokenSource gives access tokens. A [*Client] is one, and so is anything that
// wraps one. Implementations are safe for concurrent use.
type TokenSource interface {
	// Token returns an access token that satisfies req. The token is shared:
	// callers must not modify it.
	Token(ctx context.Context, req Request) (*Token, error)
}

// Request says which token is wanted. Everything that changes the answer is in
// it; nothing of it travels in a context.
type Request struct {
	// Scopes names what the token is for, in Entra's spelling:
	// "https://graph.microsoft.com/.default" or "User.Read". One request names
	// one resource; order and repetition do not matter.
	Scopes []string
	// Tenant is a tenant id or one of its domains. Empty means the tenant of
	// the client's Authority.
	Tenant string
	// Account picks one signed-in user by account id or user name, in any
	// case. Empty means the only one known.
	Account string
	// Claims is a claims challenge to satisfy, as the JSON text that an API or
	// the token endpoint sent. A request with claims is never answered from
	// the store.
	Claims string
	// Fresh asks for a token that was not stored before this call.
	Fresh bool
	// MinValid is how much life the token must have left. Zero means enough
	// for the next request, [DefaultMinValid].
	MinValid time.Duration
}

// DefaultMinValid is the life a stored token must have left to be handed out
// when [Request.MinValid] is zero. Renewal is tried earlier than that, see
// [Token.RefreshOn]; this is only the point from which an unrenewed token no
// longer does.
const DefaultMinValid = 30 * time.Second

// Token is one access token and what arrived with it.
type Token struct {
	// Access is the access token, opaque to its holder.
	Access Secret
	// Refresh is the refresh token that came with it. It is set only on tokens
	// that come straight from [Client.Exchange] or [Client.SignIn]; stored
	// refresh tokens stay in the store.
	Refresh Secret
	// ID is the ID token that came with it, a signed JWT; often empty.
	ID Secret
	// Type is the token type of the Authorization header, "Bearer".
	Type string
	// Scopes is what was granted. Where the server named none, it is what was
	// asked for (RFC 6749 section 5.1).
	Scopes []string
	// Expires is the end of the token's life by the local clock.
	Expires time.Time
	// RefreshOn is when renewal should first be tried. It is never zero and
	// never after Expires.
	RefreshOn time.Time
	// Origin says where this answer came from.
	Origin Origin
	// Account is the signed-in user that the token speaks for; its zero value
	// means that the token speaks for the application itself.
	Account Account
	// Tenant is the tenant that was asked.
	Tenant string
}

// Valid reports whether the token has at least d of life left at time now.
func (t *Token) Valid(now time.Time, d time.Duration) bool {
	return t != nil && !t.Access.IsZero() && t.Expires.Sub(now) > d
}

// Origin says where a token came from.
type Origin string

// The origins of a token.
const (
	OriginCache   Origin = "cache"   // it was stored; no request was made
	OriginRefresh Origin = "refresh" // a stored refresh token was exchanged for it
	OriginFlow    Origin = "flow"    // the client's Flow acquired it
)

// Account is a user who signed in. It holds no secret.
type Account struct {
	// ID identifies the account for good: the object id and the tenant id of
	// its home, joined by a dot (MSAL's home account id).
	ID string `json:"id"`
	// Username is the sign-in name, which people may change.
	Username string `json:"username,omitempty"`
	// Name is the display name.
	Name string `json:"name,omitempty"`
	// Tenant is the id of the tenant that the account signed in to.
	Tenant string `json:"tenant,omitempty"`
}

// is reports whether name is the account's id or user name.
func (a Account) is(name string) bool {
	return strings.EqualFold(a.ID, name) || strings.EqualFold(a.Username, name)
}

// Secret holds a value that must not be shown. However it is formatted, logged
// or marshalled it reads "[redacted]"; only [Secret.Reveal] gives the value
// away. The zero value is the empty secret.
type Secret struct {
	// A pointer, because package fmt walks unexported fields without asking
	// their methods: inside another struct it finds an address, not the text.
	value *string
}

const redacted = "[redacted]"

// NewSecret wraps value. Wrap it the moment it arrives.
func NewSecret(value string) Secret {
	if value == "" {
		return Secret{}
	}
	return Secret{&value}
}

// Reveal returns the secret itself, for the wire or the user's own pipe.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero reports whether the secret is empty.
func (s Secret) IsZero() bool { return s.value == nil }

// Equal reports whether both secrets are the same, in time that does not
// depend on where they differ.
func (s Secret) Equal(other Secret) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// Format writes "[redacted]" for every verb and flag.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, redacted) }

// String returns "[redacted]".
func (s Secret) String() string { return redacted }

// MarshalText returns "[redacted]"; JSON, XML and TOML encoders use it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// GobEncode refuses: a secret has no encoding of its own.
func (s Secret) GobEncode() ([]byte, error) {
	return nil, errors.New("a fob.Secret is not encoded; reveal it where it is needed")
}

// LogValue returns "[redacted]".
func (s Secret) LogValue() slog.Value { return slog.StringValue(redacted) }
