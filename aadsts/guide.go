package aadsts

import (
	"slices"
	"strings"
)

// Guide is advice about one kind of trouble, which may come with any of several
// codes.
type Guide struct {
	// Title names the trouble as people do: "Invalid scope".
	Title string
	// Cause is a paragraph: what is usually behind it.
	Cause string
	// Fix is a paragraph: what to do, the likeliest first.
	Fix string
	// Codes are the codes that belong to it, the likeliest first. Each is in
	// the table.
	Codes []int

	words []string // what people type for it, folded
}

// Guides returns the guides, in the order in which newcomers need them.
func Guides() []Guide {
	return []Guide{
		{
			Title: "Invalid scope",
			Cause: "The token request names a permission that the server cannot find: a typo, a bare word that belongs to " +
				"another API than Microsoft Graph, several APIs in one request, no scope at all, or the v1 parameter " +
				"resource at a v2 endpoint. An app that signs in as itself (client credentials) may not name single " +
				"permissions. A scope that exists and was never consented to is refused too.",
			Fix: "Write scopes in full and for one API: https://graph.microsoft.com/User.Read. An app that signs in as itself " +
				"asks for <resource>/.default and gets what an administrator granted. Add offline_access when a refresh token " +
				"is wanted. If the name is right, publish the scope on the API or have it consented to.",
			Codes: []int{70011, 1002012, 28003, 900144, 700022, 700023, 650053, 65001, 65002, 500011, 650057, 901002},
			words: []string{"invalid scope", "scope", "scopes", "bad scope", "wrong scope", "missing scope", "empty scope"},
		},
		{
			Title: "Invalid client",
			Cause: "The server does not accept the app or its credential. Most often the secret's id was copied in place of its " +
				"value, the secret has expired, or the client id and the tenant do not belong together. A public client " +
				"without 'Allow public client flows' is asked for a secret that it cannot have; with a certificate the " +
				"thumbprint, the audience or the clock is wrong.",
			Fix: "Compare the Application (client) ID and the tenant with the app's overview page. Create a new secret and copy its " +
				"value at once, or better use a certificate. For device code and browser sign-in turn on 'Allow public " +
				"client flows' and send no secret. For certificates upload the very one that signs, and set the clock.",
			Codes: []int{7000215, 7000222, 7000218, 700016, 7000229, 7000112, 700025, 700027, 50027, 700024, 700021, 90002, 900023, 50194},
			words: []string{"invalid client", "client", "bad client", "unknown client", "unauthorized client", "invalid client secret", "invalid secret", "client secret", "secret"},
		},
		{
			Title: "Expired token",
			Cause: "Everything that signs in has an end. An access token lives for about an hour (an API then answers 401 " +
				"InvalidAuthenticationToken, which is no AADSTS code); a refresh token ends after 90 days without use, 24 " +
				"hours for single-page apps, or when the password changes, an administrator revokes it or a policy wants a " +
				"fresh sign-in; a device code ends after 15 minutes; a signed client assertion after minutes.",
			Fix: "Let a client renew access tokens from the refresh token before they end, and store each new refresh token that " +
				"comes back. When the refresh token itself is refused, sign in again: fob login. Sign every client assertion " +
				"anew and check the clock. Start a new device-code request when the code has expired.",
			Codes: []int{700082, 70008, 50173, 700084, 70043, 700081, 50078, 50076, 700024, 70019, 70020},
			words: []string{"expired token", "token expired", "expired", "expiry", "token", "access token expired", "refresh token expired", "invalid authentication token", "invalidauthenticationtoken", "lifetime"},
		},
		{
			Title: "Redirect URI mismatch",
			Cause: "The redirect_uri of the request is not registered for the app, letter by letter: path, case, scheme, a slash " +
				"at the end, localhost against 127.0.0.1. Or it is registered under another platform: a single-page URI may " +
				"only be redeemed by script in a browser, with PKCE, and a Web URI asks for a secret. The token request must " +
				"repeat the redirect_uri of the sign-in request.",
			Fix: "Register exactly the URI that is sent. For command-line and desktop apps register http://localhost under 'Mobile " +
				"and desktop applications': the port is then ignored. Send the same redirect_uri in both requests.",
			Codes: []int{50011, 500112, 500113, 9002325, 9002326, 9002327, 700051, 700054},
			words: []string{"redirect uri mismatch", "redirect", "redirect uri", "redirect url", "redirect mismatch", "invalid redirect", "invalid redirect uri", "reply url", "reply url mismatch", "reply address"},
		},
	}
}

// Topic returns the guide that a word or two stand for: "invalid_scope",
// "Invalid-Client", "expired token" and "redirect" all work, in any case, and
// so do other usual names of the same trouble.
func Topic(words string) (Guide, bool) {
	// Compared without spaces, so that "InvalidScope" works too.
	squash := func(s string) string { return strings.ReplaceAll(fold(s), " ", "") }
	asked := strings.TrimSuffix(squash(words), "error")
	for _, guide := range Guides() {
		if slices.ContainsFunc(guide.words, func(w string) bool { return squash(w) == asked }) {
			return guide, true
		}
	}
	return Guide{}, false
}
