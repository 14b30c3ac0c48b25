package cli

import (
	"net/url"
	"testing"
)

func TestTheDirectoryIsAskedForWhatItCallsAdvanced(t *testing.T) {
	for address, want := range map[string]struct {
		why   string
		count bool
	}{
		"/v1.0/users": {},
		"/v1.0/users?$filter=accountEnabled eq true":                                {},
		"/v1.0/users?$filter=displayName eq 'not ne'":                               {},
		"/v1.0/users?$filter=startswith(displayName,'endswith(')":                   {},
		"/v1.0/users?$search=\"displayName:a\"":                                     {"$search", false},
		"/v1.0/users?$count=true":                                                   {"$count", false},
		"/v1.0/users/$count":                                                        {"$count", false},
		"/v1.0/users?$filter=companyName ne null":                                   {"ne", true},
		"/v1.0/users?%24filter=companyName%20ne%20null":                             {"ne", true},
		"/v1.0/users?$filter=not(companyName eq 'x')&$count=true":                   {"not", false},
		"/v1.0/users?$filter=(accountEnabled eq true) and not startswith(mail,'a')": {"not", true},
		"/v1.0/users?$filter=endsWith(mail,'@x')":                                   {"endsWith", true},
		"/v1.0/users?$filter=assignedLicenses/$count eq 0":                          {"$count in $filter", true},
		"/v1.0/users?$filter=accountEnabled eq true&$orderby=displayName":           {"$filter and $orderby together", true},
		"/v1.0/me/transitiveMemberOf/microsoft.graph.group":                         {"a cast", true},
		"/v1.0/groups/1/members?$search=\"displayName:a\"":                          {"$search", false},
		"/v1.0/me/messages?$search=\"hello\"":                                       {},
		"/v1.0/me/events?$count=true":                                               {},
		"/v1.0/sites?$search=x":                                                     {},
		"/v1.0/users/ada@x/messages?$filter=isRead ne true":                         {},
	} {
		u, err := url.Parse("https://graph.microsoft.com" + address)
		if err != nil {
			t.Fatal(err)
		}
		if why, count := advanced(u); why != want.why || count != want.count {
			t.Errorf("%s: %q, %v; want %q, %v", address, why, count, want.why, want.count)
		}
	}
}

func TestTheHeaderAndTheCountAreSentAndSaid(t *testing.T) {
	run, requests := recording(t, 200, `{"value":[]}`)
	got := run("", "get", "/users?$filter=companyName ne null", "-v")
	r := (*requests)[0]
	if got.status != StatusDone || r.header.Get("ConsistencyLevel") != "eventual" || r.query != "$filter=companyName%20ne%20null&$count=true" {
		t.Errorf("%+v, sent %+v", got, r)
	}
	if run("", "get", "/users?$filter=companyName ne null", "--consistency", "session"); (*requests)[1].header.Get("ConsistencyLevel") != "session" || (*requests)[1].query != "$filter=companyName%20ne%20null" {
		t.Errorf("the caller's own word does not count: %+v", (*requests)[1])
	}
}
