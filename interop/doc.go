// Package interop holds nothing but tests: clients that know nothing of fob,
// Microsoft's own among them, sign in at the emulator of package entratest.
//
// They are the emulator's judges. What fob's library makes of an answer proves
// little, because both could share a mistake; what MSAL for Go, azidentity,
// golang.org/x/oauth2, go-oidc, golang-jwt, HashiCorp's SDK, MSAL for Node, for
// browsers and for Python, @azure/identity, openid-client, jose, jwks-rsa, the
// Graph clients for Go and JavaScript and Azure CLI make of it, unmodified and
// by default settings where they have some, is what users will meet. Only how a
// client is pointed at another authority differs from production: each test
// file begins with that.
//
// This is a module of its own so that none of these clients is a dependency of
// fob. The JavaScript clients are in node/ and run by TestNode; they need
// Chromium and
//
//	npm ci --prefix interop/node
//
// MSAL for Python is Debian's package python3-msal. Azure CLI is tried where it
// is installed.
package interop
