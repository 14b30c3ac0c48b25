package redact

import "testing"

func TestWhatLooksLikeASecretIsTakenOut(t *testing.T) {
	const opaque = "1.AXoAjE0abcdefghijklmnopqrstuvwxyz012345.AgABAwEAAADnfolhJpSnRYB1SVj"
	for in, want := range map[string]string{
		"the token " + opaque + " has expired":                                                                         "the token [redacted] has expired",
		"code=0.AXoAjE0abcdefghijklmnopqrstuvwxyz&state=s":                                                             "code=[redacted]&state=s",
		"got eyJhbGciOiJSUzI1NiJ9.eyJhdWQiOiJ4In0.c2ln, sorry":                                                         "got [redacted], sorry",
		"a cut one: eyJhbGciOiJSUzI1NiJ9.eyJhdWQ":                                                                      "a cut one: [redacted]",
		"secret abc8Q~verysecretvalue1234567890abcdefgh is bad":                                                        "secret [redacted] is bad",
		"Authorization: Bearer abcdefghijklmnopqrstuvwxyz":                                                             "Authorization: Bearer [redacted]",
		"client_id=a&client_secret=hunter2&scope=s":                                                                    "client_id=a&client_secret=[redacted]&scope=s",
		`{"refresh_token": "hunter2", "scope":"User.Read"}`:                                                            `{"refresh_token": "[redacted]", "scope":"User.Read"}`,
		"AADSTS7000218: The request body must contain the following parameter: 'client_assertion' or 'client_secret'.": "AADSTS7000218: The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
		"AADSTS50126: Error validating credentials due to invalid username or password.":                               "AADSTS50126: Error validating credentials due to invalid username or password.",
		"Trace ID: 1a2b3c4d-0000-4000-8000-00000000a100 Timestamp: 2026-01-05 10:11:12Z":                               "Trace ID: 1a2b3c4d-0000-4000-8000-00000000a100 Timestamp: 2026-01-05 10:11:12Z",
	} {
		if got := Text(in); got != want {
			t.Errorf("%s\n got %s\nwant %s", in, got, want)
		}
	}
}
