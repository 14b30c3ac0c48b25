// Package fob gets, keeps and renews Microsoft Entra ID tokens.
//
// A [Client] is one app registration in one cloud. Its [Client.Token] answers
// from the store while it can, renews what is old, and runs the client's
// [Flow] when nothing usable is stored:
//
//	client := &fob.Client{
//		Authority:  fob.Authority{Tenant: "contoso.onmicrosoft.com"},
//		ID:         "11111111-2222-3333-4444-555555555555",
//		Credential: fob.ClientSecret{Secret: fob.NewSecret(os.Getenv("AZURE_CLIENT_SECRET"))},
//	}
//	token, err := client.Token(ctx, fob.Request{Scopes: []string{"https://graph.microsoft.com/.default"}})
//
// # Which flow
//
// A program that runs without people is a confidential client: set Credential
// ([ClientSecret], [Certificate] or [Assertion]) and leave Flow nil. A person
// at this machine signs in with [AuthorizationCode]; a person with another
// screen with [DeviceCode]. A service that was called with a user's token and
// calls on in that user's name uses [OnBehalfOf]. Who already holds a refresh
// token uses [RefreshToken]. Any other grant goes through [Client.Exchange].
//
// # What is promised
//
// A stored token costs no request, a cold app token exactly one. However many
// goroutines and processes share a [Store], one expired token makes one
// request. A renewal that fails is no failure while the old token lives.
// Secrets are of type [Secret], print as "[redacted]", and go to the token
// endpoint only: redirects are not followed. Every answer is read within
// bounds of size and time, and every text of a server is made harmless before
// it is in an error.
//
// # What is beside it
//
// [Transport] adds the token to the requests of any http.Client; package graph
// knows pages, batches and throttling. Package store/filestore keeps tokens on
// disk and shares them between processes. Package entratest is an Entra ID for
// tests: with its URL as the Authority's Host, and its client, all of this runs
// without a tenant.
package fob
