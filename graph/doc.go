// Package graph calls Microsoft Graph, Azure Resource Manager and the other
// APIs that take Entra ID tokens, as fast as their throttles allow.
//
//	client := &graph.Client{Source: tokens} // any fob.TokenSource, such as a *fob.Client
//	for user, err := range client.Pages(ctx, "/users?$select=id,displayName", nil) {
//		if err != nil {
//			return err
//		}
//		fmt.Println(user) // one JSON object
//	}
//
// # Which call
//
// [Client.Do] sends one request. [Client.Pages] walks a collection,
// [Client.Delta] what changed since the last time. [Client.Export] and
// [Client.ExportFile] copy a collection of any size to NDJSON in flat memory.
// [Client.Batch] sends many small requests by the twenty. [Client.Upload],
// [Client.Download] and [Client.DownloadFile] move files that may be larger
// than one request, and go on in the next process where one was killed.
//
// # What is promised
//
// The token follows from the address: [Audience] knows the scope of each API,
// and a host that it does not know gets no token and no request. A token goes
// to the origin (scheme, host and port) that the call was made for and nowhere
// else: links to further pages must stay there, redirects that lead away carry
// no Authorization, upload and download addresses never see one. Plain http is
// for loopback only.
//
// Throttling (429), outages (5xx) and broken connections are waited out within
// [Client.Patience] and the deadline of the context, whichever ends first, but
// only what is safe to repeat is repeated. A 401 with a claims challenge is
// answered once, with a token that satisfies it.
//
// A refusal is an [*Error]; errors.Is(err, fob.ErrUnavailable) says that the
// same call may succeed later. Every text of a server is made harmless before
// it is in an error, and no error holds an address with its query, which may
// be a secret.
package graph
