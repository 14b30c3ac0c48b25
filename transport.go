package fob

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/fobauth/fob/internal/origin"
)

// Transport is an [http.RoundTripper] that sends every request to its origins
// with an access token, and answers a claims challenge once: it gets a token
// that satisfies the challenge and sends the request again. Requests to other
// origins, also those that a redirect leads to, pass through without a token.
type Transport struct {
	// Source gives the tokens.
	Source TokenSource
	// Request says which token.
	Request Request
	// Origins are the schemes, hosts and ports that the token is for, such as
	// "https://graph.microsoft.com". Empty means the origin of the first
	// scope, if that is a URL.
	Origins []string
	// Base sends the requests. Nil means http.DefaultTransport.
	Base http.RoundTripper
}

// RoundTrip sends r. The response to a claims challenge that could not be
// answered is the API's 401 itself, so that callers see what the API said.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	meant, err := t.meant(r.URL)
	switch {
	case err != nil:
		closeBody(r)
		return nil, err
	case !meant:
		return t.base().RoundTrip(r)
	}
	token, err := t.Source.Token(r.Context(), t.Request)
	if err != nil {
		closeBody(r)
		return nil, fmt.Errorf("getting a token for %s: %w", r.URL.Host, err)
	}
	resp, err := t.base().RoundTrip(authorized(r, token))
	if err != nil || resp.StatusCode != http.StatusUnauthorized {
		return resp, err
	}
	claims := ClaimsChallenge(resp.Header)
	if claims == "" || r.Body != nil && r.Body != http.NoBody && r.GetBody == nil {
		return resp, nil
	}
	again := t.Request
	again.Claims = claims
	fresh, err := t.Source.Token(r.Context(), again)
	if err != nil || fresh.Access.Equal(token.Access) {
		return resp, nil
	}
	second := authorized(r, fresh)
	if r.GetBody != nil {
		if second.Body, err = r.GetBody(); err != nil {
			return resp, nil
		}
	}
	// The connection is only reused when the first answer was read.
	io.CopyN(io.Discard, resp.Body, maxHeader)
	resp.Body.Close()
	return t.base().RoundTrip(second)
}

func (t *Transport) base() http.RoundTripper {
	if t.Base != nil {
		return t.Base
	}
	return http.DefaultTransport
}

// meant reports whether the token is for address.
func (t *Transport) meant(address *url.URL) (bool, error) {
	origins := t.Origins
	if len(origins) == 0 && len(t.Request.Scopes) > 0 {
		origins = t.Request.Scopes[:1]
	}
	got := origin.Of(address)
	known := false
	for _, o := range origins {
		u, err := url.Parse(o)
		if err != nil || u.Host == "" || u.Scheme != "https" && !(u.Scheme == "http" && origin.IsLoopback(u.Hostname())) {
			continue
		}
		known = true
		if origin.Of(u) == got && address.User == nil {
			return true, nil
		}
	}
	if !known {
		return false, errors.New("the transport does not know where its token may go; set Origins")
	}
	return false, nil
}

func authorized(r *http.Request, t *Token) *http.Request {
	clone := r.Clone(r.Context())
	clone.Header.Set("Authorization", t.Type+" "+t.Access.Reveal())
	return clone
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		r.Body.Close()
	}
}

// ClaimsChallenge returns the claims that an API's 401 answer asks for, as
// JSON for [Request.Claims], or "" if it is no claims challenge
// (https://learn.microsoft.com/entra/identity-platform/claims-challenge). The
// header may hold several challenges, and the claims base64 of either
// alphabet, with padding or without.
func ClaimsChallenge(header http.Header) string {
	for _, value := range header.Values("WWW-Authenticate") {
		for _, challenge := range parseChallenges(value) {
			if !strings.EqualFold(challenge.scheme, "Bearer") || challenge.parameters["error"] != "insufficient_claims" {
				continue
			}
			text := strings.NewReplacer("-", "+", "_", "/", "=", "").Replace(challenge.parameters["claims"])
			claims, err := base64.RawStdEncoding.DecodeString(text)
			if err == nil && decodeObject(claims, new(map[string]any)) == nil {
				return string(claims)
			}
		}
	}
	return ""
}

type challenge struct {
	scheme     string
	parameters map[string]string // names in lower case
}

// parseChallenges reads a WWW-Authenticate header (RFC 9110 section 11.6.1).
// Services separate parameters by commas or by spaces.
func parseChallenges(s string) []challenge {
	var all []challenge
	for {
		s = strings.TrimLeft(s, " \t,")
		if s == "" || len(all) > 16 {
			return all
		}
		end := strings.IndexAny(s, " \t,=")
		if end < 0 {
			end = len(s)
		}
		word, rest := s[:end], strings.TrimLeft(s[end:], " \t")
		if !strings.HasPrefix(rest, "=") {
			all = append(all, challenge{word, map[string]string{}})
			s = rest
			continue
		}
		var value string
		value, s = parameterValue(strings.TrimLeft(rest[1:], " \t"))
		if len(all) > 0 {
			all[len(all)-1].parameters[strings.ToLower(word)] = value
		}
	}
}

// parameterValue takes a quoted string or a token from the front of s.
func parameterValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		end := strings.IndexAny(s, " \t,")
		if end < 0 {
			end = len(s)
		}
		return s[:end], s[end:]
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case s[i] == '"':
			return b.String(), s[i+1:]
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), ""
}
