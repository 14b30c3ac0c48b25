package graphsim

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fobauth/fob/entratest/internal/directory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// face is a server under test over HTTPS. Its access tokens are JSON claims
// after a verdict: what a signature proves is the sign-in service's business.
type face struct {
	*Server
	t   *testing.T
	url string
	hc  *http.Client
}

func start(t *testing.T) *face {
	t.Helper()
	s := &Server{
		World: directory.Default(),
		Verify: func(raw string) (map[string]any, Verdict) {
			verdict, encoded, _ := strings.Cut(raw, ".")
			v, ok := map[string]Verdict{"good": Good, "forged": BadSignature, "expired": Expired}[verdict]
			if !ok {
				return nil, Malformed
			}
			var claims map[string]any
			text, _ := base64.RawURLEncoding.DecodeString(encoded)
			if err := json.Unmarshal(text, &claims); err != nil {
				return nil, Malformed
			}
			return claims, v
		},
		AuthorityURL: func(*http.Request) string { return "https://localhost:9" },
	}
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/arm") {
			http.StripPrefix("/arm", http.HandlerFunc(s.ARM)).ServeHTTP(w, r)
			return
		}
		s.ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	s.GraphURL, s.ARMURL = srv.URL, srv.URL
	return &face{Server: s, t: t, url: srv.URL, hc: srv.Client()}
}

func token(verdict string, claims map[string]any) string {
	text, _ := json.Marshal(claims)
	return verdict + "." + base64.RawURLEncoding.EncodeToString(text)
}

func user(scp string, more ...any) string {
	c := map[string]any{"aud": "https://graph.microsoft.com", "tid": directory.TenantID, "oid": directory.AdaID, "sub": "pairwise", "scp": scp}
	for i := 0; i < len(more); i += 2 {
		c[more[i].(string)] = more[i+1]
	}
	return token("good", c)
}

func app(roles ...string) string {
	return token("good", map[string]any{"aud": directory.GraphAppID, "tid": directory.TenantID, "oid": "sp", "roles": roles})
}

type answer struct {
	status int
	header http.Header
	body   map[string]any
	text   string
}

func (a answer) code() string    { return a.err("code") }
func (a answer) message() string { return a.err("message") }
func (a answer) err(name string) string {
	e, _ := a.body["error"].(map[string]any)
	s, _ := e[name].(string)
	return s
}

func (f *face) do(method, path, token string, header ...string) answer {
	f.t.Helper()
	return f.send(method, path, token, nil, header...)
}

func (f *face) send(method, path, token string, body io.Reader, header ...string) answer {
	f.t.Helper()
	if !strings.HasPrefix(path, "https://") {
		path = f.url + path
	}
	r, err := http.NewRequest(method, path, body)
	if err != nil {
		f.t.Fatal(err)
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
		if header[i] == "Host" {
			r.Host = header[i+1]
		}
	}
	res, err := f.hc.Do(r)
	if err != nil {
		f.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		f.t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, text: string(text)}
	if strings.HasPrefix(res.Header.Get("Content-Type"), "application/json") && bytes.HasPrefix(text, []byte("{")) {
		if err := json.Unmarshal(text, &a.body); err != nil {
			f.t.Fatalf("%s %s: %v in %s", method, path, err, text)
		}
	}
	return a
}

func (f *face) get(path, token string, header ...string) answer {
	f.t.Helper()
	return f.do("GET", path, token, header...)
}

func TestEveryRefusalHasGraphsStatusCodeAndText(t *testing.T) {
	f := start(t)
	all := app("User.Read.All", "Group.Read.All", "Organization.Read.All")
	ada := user("User.Read")
	for _, c := range []struct {
		trigger, method, path, token string
		status                       int
		code, message                string
	}{
		{"no token", "GET", "/v1.0/me", "", 401, "InvalidAuthenticationToken", "Access token is empty."},
		{"a token that is none", "GET", "/v1.0/me", "rubbish", 401, "InvalidAuthenticationToken", "CompactToken parsing failed with error code: 80049217"},
		{"an expired token", "GET", "/v1.0/me", token("expired", nil), 401, "InvalidAuthenticationToken", "Access token has expired or is not yet valid."},
		{"a forged token", "GET", "/v1.0/me", token("forged", nil), 401, "InvalidAuthenticationToken", "Access token validation failure. Invalid signature."},
		{"a token for another API", "GET", "/v1.0/me", user("User.Read", "aud", "api://fob-api"), 401, "InvalidAuthenticationToken", "Access token validation failure. Invalid audience."},
		{"a token without audience", "GET", "/v1.0/me", user("User.Read", "aud", ""), 401, "InvalidAuthenticationToken", "Access token validation failure. Invalid audience."},
		{"a tenant that is gone", "GET", "/v1.0/me", user("User.Read", "tid", "f0b00000-9999-4000-8000-000000000000"), 401, "Authorization_IdentityNotFound", "The identity of the calling application could not be established."},
		{"no token at a path that does not exist", "GET", "/v1.0/userss", "", 401, "InvalidAuthenticationToken", "Access token is empty."},
		{"/me with an app's token", "GET", "/v1.0/me", all, 400, "BadRequest", "/me request is only valid with delegated authentication flow."},
		{"/me/memberOf with an app's token", "GET", "/v1.0/me/memberOf", all, 400, "BadRequest", "/me request is only valid with delegated authentication flow."},
		{"no permission for users", "GET", "/v1.0/users", user("User.Read"), 403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."},
		{"no permission at all", "GET", "/v1.0/users", app(), 403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."},
		{"a role that is for another endpoint", "GET", "/v1.0/groups", app("User.Read.All"), 403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."},
		{"another user with User.Read", "GET", "/v1.0/users/ben@fob.example", ada, 403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."},
		{"another user's groups with User.Read", "GET", "/v1.0/users/ben@fob.example/memberOf", ada, 403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."},
		{"organization without permission", "GET", "/v1.0/organization", app("Group.Read.All"), 403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."},
		{"a misspelt path", "GET", "/v1.0/userss", all, 400, "BadRequest", "Resource not found for the segment 'userss'."},
		{"a misspelt relation", "GET", "/v1.0/users/ada@fob.example/memberof/x", all, 400, "BadRequest", "Resource not found for the segment 'x'."},
		{"no path at all", "GET", "/v1.0/", all, 400, "BadRequest", "Resource not found for the segment ''."},
		{"an unknown version", "GET", "/v2.0/users", all, 400, "BadRequest", "Invalid version: v2.0"},
		{"a set that only Graph has", "GET", "/v1.0/policies", all, 501, "NotImplemented", "The emulator's Graph has no 'policies' here."},
		{"the beginning of a path", "GET", "/v1.0/auditLogs", all, 501, "NotImplemented", "The emulator's Graph has no 'auditLogs' here."},
		{"a relation that only Graph has", "GET", "/v1.0/me/Calendar", ada, 501, "NotImplemented", "The emulator's Graph has no 'Calendar' here."},
		{"a function that only Graph has", "GET", "/v1.0/me/microsoft.graph.findMeetingTimes()", ada, 501, "NotImplemented", "The emulator's Graph has no 'microsoft.graph.findMeetingTimes' here."},
		{"a property as a path", "GET", "/v1.0/groups/x/displayName", all, 501, "NotImplemented", "The emulator's Graph has no 'displayName' here."},
		{"an unknown user", "GET", "/v1.0/users/nobody@fob.example", all, 404, "Request_ResourceNotFound", "Resource 'nobody@fob.example' does not exist or one of its queried reference-property objects are not present."},
		{"a group by its name", "GET", "/v1.0/groups/Platform", all, 404, "Request_ResourceNotFound", "Resource 'Platform' does not exist or one of its queried reference-property objects are not present."},
		{"another organization", "GET", "/v1.0/organization/" + directory.OtherTenantID, all, 404, "Request_ResourceNotFound", "Resource '" + directory.OtherTenantID + "' does not exist or one of its queried reference-property objects are not present."},
		{"a method that is not allowed", "PUT", "/v1.0/users/ada@fob.example", all, 405, "Request_BadRequest", "Specified HTTP method is not allowed for the request target."},
		{"a change that the permissions are only for reading of", "DELETE", "/v1.0/users/ada@fob.example", all, 403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."},
		{"a page that is too large", "GET", "/v1.0/users?$top=1000", all, 400, "Request_UnsupportedQuery", "Invalid page size specified: '1000'. Must be between 1 and 999 inclusive."},
		{"a page of nothing", "GET", "/v1.0/users?$top=0", all, 400, "Request_UnsupportedQuery", "Invalid page size specified: '0'. Must be between 1 and 999 inclusive."},
		{"a page size in words", "GET", "/v1.0/users?$top=ten", all, 400, "BadRequest", "Invalid value 'ten' for $top query option found. The $top query option requires a non-negative integer value."},
		{"$top on one user", "GET", "/v1.0/users/ada@fob.example?$top=1", all, 400, "BadRequest", "The query option '$top' is not supported for this resource."},
		{"an unknown property", "GET", "/v1.0/users?$select=id,shoeSize", all, 400, "BadRequest", "Could not find a property named 'shoeSize' on type 'microsoft.graph.user'."},
		{"an empty property", "GET", "/v1.0/users?$select=", all, 400, "BadRequest", "Could not find a property named '' on type 'microsoft.graph.user'."},
		{"a property of a single user on a collection", "GET", "/v1.0/users?$select=aboutMe", all, 501, "NotImplemented", "This operation target is not yet supported."},
		{"a filter that is no clause", "GET", "/v1.0/users?$filter=displayName%20like%20%27A%27", all, 400, "BadRequest", "Invalid filter clause: Syntax error at position 12 in 'displayName like 'A''."},
		{"an order that there is no index for", "GET", "/v1.0/users?%24orderBy=jobTitle", all, 400, "Request_UnsupportedQuery", "Unsupported sort property 'jobTitle' for 'User'."},
		{"an expansion that is not allowed", "GET", "/v1.0/users?$expand=photo", all, 400, "ExpandNotSupported", "Expand is not allowed for property 'Photo' according to the entity schema."},
		{"$search without its header", "GET", `/v1.0/users?$search=%22displayName:a%22`, all, 400, "Request_UnsupportedQuery", "Request with $search query parameter only works through MSGraph with a special request header: 'ConsistencyLevel: eventual'"},
		{"$skip", "GET", "/v1.0/users?$skip=1", all, 400, "Request_BadRequest", "'$skip' is not supported by the service."},
		{"an option without its dollar", "GET", "/v1.0/users?top=2", all, 400, "BadRequest", "The query option 'top' is not known: write '$top'."},
		{"an unknown option", "GET", "/v1.0/users?$tpo=2", all, 400, "BadRequest", "The query option '$tpo' is not known."},
		{"an option twice", "GET", "/v1.0/users?$top=1&$Top=2", all, 400, "BadRequest", "Query option '$top' was specified more than once, but it must be specified at most once."},
		{"a page token that is none", "GET", "/v1.0/users?$skiptoken=abc", all, 400, "Request_BadRequest", "Skip token provided is not valid."},
		{"a count in words", "GET", "/v1.0/users?$count=yes", all, 400, "BadRequest", "Invalid value 'yes' for $count query option found. Valid values are 'false' and 'true'."},
		{"/$count without its header", "GET", "/v1.0/users/$count", all, 400, "Request_BadRequest", "$count is not currently supported."},
		{"userinfo without openid", "GET", "/oidc/userinfo", ada, 403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation."},
		{"userinfo for an app", "GET", "/oidc/userinfo", all, 400, "BadRequest", "/oidc/userinfo request is only valid with delegated authentication flow."},
	} {
		t.Run(c.trigger, func(t *testing.T) {
			a := f.do(c.method, c.path, c.token)
			if a.status != c.status || a.code() != c.code {
				t.Errorf("got %d %s, want %d %s", a.status, a.code(), c.status, c.code)
			}
			if a.message() != c.message {
				t.Errorf("message\n got %s\nwant %s", a.message(), c.message)
			}
			inner, _ := a.body["error"].(map[string]any)["innerError"].(map[string]any)
			for _, name := range []string{"date", "request-id", "client-request-id"} {
				if s, _ := inner[name].(string); s == "" {
					t.Errorf("innerError has no %s: %s", name, a.text)
				}
			}
			if (a.status == 401) != (a.header.Get("WWW-Authenticate") != "") {
				t.Errorf("WWW-Authenticate is %q", a.header.Get("WWW-Authenticate"))
			}
		})
	}
}

func TestTheChallengeNamesTheAuthority(t *testing.T) {
	a := start(t).get("/v1.0/me", "")
	want := `Bearer realm="", authorization_uri="https://localhost:9/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000"`
	if got := a.header.Get("WWW-Authenticate"); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestMeShowsTheDefaultPropertiesOfTheSignedInUser(t *testing.T) {
	f := start(t)
	a := f.get("/v1.0/me", user("User.Read"))
	want := `{"@odata.context":"` + f.url + `/v1.0/$metadata#users/$entity","businessPhones":["+41 44 555 01 01"],"displayName":"Ada Quill",` +
		`"givenName":"Ada","jobTitle":"Platform Lead","mail":"ada@fob.example","mobilePhone":null,"officeLocation":"Tower 3","preferredLanguage":"en-GB",` +
		`"surname":"Quill","userPrincipalName":"ada@fob.example","id":"` + directory.AdaID + `"}`
	if a.text != want {
		t.Errorf("got  %s\nwant %s", a.text, want)
	}
}

func TestAUserIsFoundUnderEverySpellingOfItsKey(t *testing.T) {
	f := start(t)
	f.World.PutUser(&directory.User{ID: "f0b00000-1001-4000-8000-0000000000aa", Tenant: directory.TenantID, UPN: "guest_partner.example#EXT#@fob.example", DisplayName: "O'Guest"})
	f.World.PutUser(&directory.User{ID: "f0b00000-1001-4000-8000-0000000000ab", Tenant: directory.TenantID, UPN: "o'neil@fob.example"})
	for path, want := range map[string]string{
		"/v1.0/users('o''neil@fob.example')":                        "f0b00000-1001-4000-8000-0000000000ab",
		"/v1.0/users/" + directory.BenID:                            directory.BenID,
		"/v1.0/users/" + strings.ToUpper(directory.BenID):           directory.BenID,
		"/v1.0/users/ben@fob.example":                               directory.BenID,
		"/v1.0/users/ben%40fob.example/":                            directory.BenID,
		"/v1.0//users/BEN@fob.example":                              directory.BenID,
		"/v1.0/users('ben@fob.example')":                            directory.BenID,
		"/v1.0/users(%27ben@fob.example%27)":                        directory.BenID,
		"/beta/Users/ben@fob.example":                               directory.BenID,
		"/v1.0/users/guest_partner.example%23EXT%23@fob.example":    "f0b00000-1001-4000-8000-0000000000aa",
		"/v1.0/users/ben@fob.example?%24select=id":                  directory.BenID,
		"/v1.0/users/ben@fob.example?$SELECT=ID":                    directory.BenID,
		"/v1.0/users/ben@fob.example?$select=id&$format=json":       directory.BenID,
		"/v1.0/users/ben@fob.example?%24select=id%2CdisplayName%20": directory.BenID,
	} {
		if a := f.get(path, app("User.Read.All")); a.status != 200 || a.body["id"] != want {
			t.Errorf("%s: %d %s", path, a.status, a.text)
		}
	}
}

func TestUsersComeInPagesOnTheCallersOwnAddress(t *testing.T) {
	f := start(t)
	tok := app("User.Read.All")
	a := f.get("/v1.0/users?%24top=2&%24select=displayName", tok)
	if got := names(a); got != "Ada Quill, Ben Ostrow" {
		t.Fatalf("first page: %s", a.text)
	}
	next, _ := a.body["@odata.nextLink"].(string)
	if !strings.HasPrefix(next, f.url+"/v1.0/users?") || !strings.Contains(next, "$skiptoken=") {
		t.Fatalf("nextLink %q is not on %s", next, f.url)
	}
	if !strings.Contains(a.text, next) {
		t.Errorf("the nextLink cannot be copied out of %s", a.text)
	}
	if b := f.get("/beta/users?$top=2", tok, "Host", "graph.microsoft.com:8443"); !strings.HasPrefix(b.body["@odata.nextLink"].(string), "https://graph.microsoft.com:8443/beta/users?") {
		t.Errorf("under another name: %s", b.text)
	}
	a = f.get(next, tok)
	if got := names(a); got != "Cleo Marsh" || a.body["@odata.nextLink"] != nil {
		t.Errorf("second page: %s", a.text)
	}
	if want := f.url + "/v1.0/$metadata#users(displayName)"; a.body["@odata.context"] != want {
		t.Errorf("context %v, want %s", a.body["@odata.context"], want)
	}
}

func TestAPageThatEndsWithTheCollectionHasNoNextLink(t *testing.T) {
	f := start(t)
	if a := f.get("/v1.0/users?$top=3", app("User.Read.All")); a.body["@odata.nextLink"] != nil || names(a) != "Ada Quill, Ben Ostrow, Cleo Marsh" {
		t.Error(a.text)
	}
}

func TestUsersAreOneHundredAPage(t *testing.T) {
	f := start(t)
	for i := range 100 {
		f.World.PutUser(&directory.User{ID: fmt.Sprintf("f0b00000-1001-4000-8000-0000000f%04x", i), Tenant: directory.TenantID, UPN: fmt.Sprintf("u%d@fob.example", i)})
	}
	tok := app("User.Read.All")
	a := f.get("/v1.0/users", tok)
	if n := len(a.body["value"].([]any)); n != 100 {
		t.Errorf("first page has %d users", n)
	}
	next, _ := a.body["@odata.nextLink"].(string)
	if a = f.get(next, tok); len(a.body["value"].([]any)) != 3 {
		t.Errorf("second page: %s", a.text)
	}
}

func TestAnOldNextLinkIsRefused(t *testing.T) {
	f := start(t)
	tok := app("User.Read.All")
	next := f.get("/v1.0/users?$top=1", tok).body["@odata.nextLink"].(string)
	f.World.Advance(61 * time.Minute)
	if a := f.get(next, tok); a.status != 400 || a.code() != "Directory_ExpiredPageToken" {
		t.Errorf("got %d %s", a.status, a.text)
	}
}

func TestTheCountComesOnTheFirstPageAndOnlyWithItsHeader(t *testing.T) {
	f := start(t)
	tok := app("User.Read.All")
	if a := f.get("/v1.0/users?$count=true&$top=2", tok); a.status != 200 || a.body["@odata.count"] != nil {
		t.Errorf("without ConsistencyLevel: %s", a.text)
	}
	a := f.get("/v1.0/users?$count=true&$top=2", tok, "ConsistencyLevel", "eventual")
	if a.body["@odata.count"] != 3.0 {
		t.Errorf("first page: %s", a.text)
	}
	if a = f.get(a.body["@odata.nextLink"].(string), tok, "ConsistencyLevel", "eventual"); a.status != 200 || a.body["@odata.count"] != nil {
		t.Errorf("second page: %s", a.text)
	}
	if a = f.get("/v1.0/users/$count", tok, "ConsistencyLevel", "eventual"); a.text != "3" || a.header.Get("Content-Type") != "text/plain" {
		t.Errorf("$count segment: %q", a.text)
	}
}

func TestSelectGivesNullAndEmptyCollectionsForWhatNobodyFilledIn(t *testing.T) {
	a := start(t).get("/v1.0/users/cleo@fob.example?$select=city,ASSIGNEDLICENSES,accountEnabled,userType,department", app("User.Read.All"))
	_, body, _ := strings.Cut(a.text, `$entity",`)
	if want := `"city":null,"assignedLicenses":[],"accountEnabled":true,"userType":"Member","department":"Finance"}`; body != want {
		t.Errorf("got %s\nwant …%s", a.text, want)
	}
}

func TestMembersAreOfSeveralTypes(t *testing.T) {
	f := start(t)
	f.World.PutGroup(&directory.Group{ID: "f0b00000-1002-4000-8000-0000000000aa", Tenant: directory.TenantID, Name: "All", Members: []string{directory.PlatformGroupID, directory.CleoID}})
	a := f.get("/v1.0/groups/f0b00000-1002-4000-8000-0000000000aa/members?$select=id,displayName", app("Directory.Read.All"))
	_, got, _ := strings.Cut(a.text, `"value":`)
	want := `[{"@odata.type":"#microsoft.graph.group","id":"` + directory.PlatformGroupID + `","displayName":"Platform"},` +
		`{"@odata.type":"#microsoft.graph.user","id":"` + directory.CleoID + `","displayName":"Cleo Marsh"}]}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestMembersThatTheTokenMayNotReadShowTheirIdOnly(t *testing.T) {
	a := start(t).get("/v1.0/me/memberOf?$select=id,displayName", user("User.Read", "oid", directory.BenID))
	_, got, _ := strings.Cut(a.text, `"value":`)
	want := `[{"@odata.type":"#microsoft.graph.group","id":"` + directory.PlatformGroupID + `","displayName":null},` +
		`{"@odata.type":"#microsoft.graph.group","id":"` + directory.ReadersGroupID + `","displayName":null}]}`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestMemberOfListsGroupsAndDirectoryRoles(t *testing.T) {
	a := start(t).get("/v1.0/me/memberOf", user("User.Read Directory.Read.All"))
	if got := names(a); got != "Platform, Global Administrator" {
		t.Errorf("got %s: %s", got, a.text)
	}
}

func TestOneOwnRecordNeedsUserReadOnly(t *testing.T) {
	f := start(t)
	for _, path := range []string{"/v1.0/users/" + directory.AdaID, "/v1.0/users/ADA@fob.example", "/v1.0/users/ada@fob.example/memberOf"} {
		if a := f.get(path, user("User.Read")); a.status != 200 {
			t.Errorf("%s: %s", path, a.text)
		}
	}
}

func TestGroupsAndTheOrganizationAreShown(t *testing.T) {
	f := start(t)
	tok := app("Group.Read.All", "Organization.Read.All")
	if got := names(f.get("/v1.0/groups", tok)); got != "Platform, Readers" {
		t.Errorf("groups: %s", got)
	}
	if a := f.get("/v1.0/groups/"+directory.PlatformGroupID, tok); a.body["displayName"] != "Platform" || a.body["securityEnabled"] != true {
		t.Errorf("group: %s", a.text)
	}
	a := f.get("/v1.0/organization?$select=id,displayName,verifiedDomains", tok)
	_, got, _ := strings.Cut(a.text, `"value":`)
	want := `[{"id":"` + directory.TenantID + `","displayName":"Fob Example","verifiedDomains":[` +
		`{"capabilities":"Email, OfficeCommunicationsOnline","isDefault":true,"isInitial":false,"name":"fob.example","type":"Managed"},` +
		`{"capabilities":"Email, OfficeCommunicationsOnline","isDefault":false,"isInitial":true,"name":"fobexample.onmicrosoft.com","type":"Managed"}]}]}`
	if got != want {
		t.Errorf("organization\n got %s\nwant %s", got, want)
	}
}

func TestEveryAudienceOfGraphIsAccepted(t *testing.T) {
	f := start(t)
	for _, aud := range []string{"https://graph.microsoft.com", "https://graph.microsoft.com/", directory.GraphAppID, f.url, f.url + "/"} {
		if a := f.get("/v1.0/me", user("User.Read", "aud", aud)); a.status != 200 {
			t.Errorf("%s: %s", aud, a.text)
		}
	}
}

func TestUserinfoTellsWhoSignedIn(t *testing.T) {
	f := start(t)
	for _, method := range []string{"GET", "POST"} {
		a := f.do(method, "/oidc/userinfo", user("openid profile email"))
		want := `{"sub":"pairwise","name":"Ada Quill","family_name":"Quill","given_name":"Ada","picture":"` + f.url + `/v1.0/me/photo/$value","email":"ada@fob.example"}`
		if a.text != want {
			t.Errorf("%s\n got %s\nwant %s", method, a.text, want)
		}
	}
}

func TestTheNextCallsGetAClaimsChallengeWhenTheClientUnderstandsIt(t *testing.T) {
	f := start(t)
	f.ChallengeClaims(1)
	if a := f.get("/v1.0/me", user("User.Read")); a.status != 200 {
		t.Fatalf("a client that does not declare cp1 was challenged: %s", a.text)
	}
	capable := user("User.Read", "xms_cc", []string{"CP1"})
	a := f.get("/v1.0/me", capable)
	if a.status != 401 || a.code() != "InvalidAuthenticationToken" || !strings.Contains(a.message(), "Continuous access evaluation") {
		t.Fatalf("got %d %s", a.status, a.text)
	}
	if c := challengeOf(t, a); !strings.HasPrefix(c, `{"access_token":{"nbf":{"essential":true,"value":"`) {
		t.Errorf("claims %s", c)
	}
	if a = f.get("/v1.0/me", capable); a.status != 200 {
		t.Errorf("the challenge came twice: %s", a.text)
	}
}

func TestTokensFromBeforeARevocationAreChallenged(t *testing.T) {
	f := start(t)
	issued := f.World.Now().Unix()
	f.World.RevokeSessions(directory.AdaID)
	if a := f.get("/v1.0/me", user("User.Read", "xms_cc", "cp1", "iat", issued)); challengeOf(t, a) == "" {
		t.Errorf("no challenge: %s", a.text)
	}
	if a := f.get("/v1.0/me", user("User.Read", "iat", issued)); a.status != 200 {
		t.Errorf("a client without cp1: %s", a.text)
	}
	if a := f.get("/v1.0/me", user("User.Read", "xms_cc", "cp1", "iat", f.World.Now().Unix()+1)); a.status != 200 {
		t.Errorf("a token from after the revocation: %s", a.text)
	}
}

func TestTheTokensOfAnAccountThatIsBlockedOrGoneAreChallenged(t *testing.T) {
	f := start(t)
	capable := user("User.Read", "xms_cc", "cp1")
	if a := f.get("/v1.0/me", capable); a.status != 200 {
		t.Fatalf("before: %s", a.text)
	}
	if err := f.World.UpdateUser(directory.TenantID, directory.AdaID, func(u *directory.User) error { u.Disabled = true; return nil }); err != nil {
		t.Fatal(err)
	}
	if a := f.get("/v1.0/me", capable); a.status != 401 || challengeOf(t, a) == "" {
		t.Errorf("blocked: %s", a.text)
	}
	if a := f.get("/v1.0/me", user("User.Read")); a.status != 200 {
		t.Errorf("a client without cp1 learns it when its token ends: %s", a.text)
	}
	f.World.DeleteUser(directory.TenantID, directory.AdaID)
	if a := f.get("/v1.0/me", capable); a.status != 401 || challengeOf(t, a) == "" {
		t.Errorf("deleted: %s", a.text)
	}
}

func challengeOf(t *testing.T, a answer) string {
	t.Helper()
	_, rest, ok := strings.Cut(a.header.Get("WWW-Authenticate"), `error="insufficient_claims", claims="`)
	if !ok {
		t.Fatalf("WWW-Authenticate: %s", a.header.Get("WWW-Authenticate"))
	}
	text, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSuffix(rest, `"`))
	if err != nil {
		t.Fatalf("claims are not strict base64: %v", err)
	}
	return string(text)
}

func TestHeadersAreThoseOfGraph(t *testing.T) {
	f := start(t)
	a := f.get("/v1.0/users", app("User.Read.All"), "client-request-id", "8e3d9f0a-0000-4000-8000-000000000001")
	for name, want := range map[string]string{
		"Content-Type":      "application/json;odata.metadata=minimal;odata.streaming=true;IEEE754Compatible=false;charset=utf-8",
		"OData-Version":     "4.0",
		"Cache-Control":     "no-cache",
		"client-request-id": "8e3d9f0a-0000-4000-8000-000000000001",
		"request-id":        "f0b0e000-0000-4000-8000-000000000001",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if a = f.get("/v1.0/users", ""); a.header.Get("client-request-id") != a.header.Get("request-id") || a.header.Get("request-id") == "" {
		t.Errorf("without a client's id: %v", a.header)
	}
}

func TestMetadataCanBeLeftOut(t *testing.T) {
	a := start(t).get("/v1.0/users?$select=id&$top=1", app("User.Read.All"), "Accept", "application/json; odata.metadata=none")
	if a.body["@odata.context"] != nil || a.body["@odata.nextLink"] == nil {
		t.Error(a.text)
	}
}

func TestCompressedBodiesAreRead(t *testing.T) {
	f := start(t)
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, "{}")
	z.Close()
	for name, c := range map[string]struct {
		body   string
		status int
	}{
		"compressed":                  {b.String(), 400}, // an object without what a user needs
		"said to be, but is not":      {"{}", 400},
		"cut off":                     {b.String()[:b.Len()-9], 400},
		"larger than anybody needs":   {strings.Repeat("x", maxBody+1), 413},
		"compressed and far too much": {bomb(), 413},
	} {
		a := f.send("POST", "/v1.0/users", app("User.ReadWrite.All"), strings.NewReader(c.body), "Content-Encoding", "gzip", "Content-Type", "application/json")
		if a.status != c.status {
			t.Errorf("%s: got %d, want %d: %s", name, a.status, c.status, a.text)
		}
		if read := strings.Contains(a.message(), "A value is required"); read != (name == "compressed" || name == "said to be, but is not") {
			t.Errorf("%s: %s", name, a.message())
		}
	}
}

func TestBodiesThatAreCompressedInAnotherWayAreNotGuessedAt(t *testing.T) {
	f := start(t)
	for _, encoding := range []string{"br", "deflate", "gzip, gzip"} {
		f.send("PATCH", "/v1.0/users/ben@fob.example", app("User.ReadWrite.All"), strings.NewReader(`{"city":"Bern"}`), "Content-Encoding", encoding, "Content-Type", "application/json").
			want(t, encoding, 415, "UnsupportedMediaType")
	}
}

func bomb() string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(make([]byte, 2*maxBody))
	z.Close()
	return b.String()
}

func TestBrowsersMayCall(t *testing.T) {
	f := start(t)
	a := f.do("OPTIONS", "/v1.0/me", "", "Origin", "https://spa.example", "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "authorization")
	if a.status != 200 || a.header.Get("Access-Control-Allow-Headers") != "authorization" || a.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("preflight: %d %v", a.status, a.header)
	}
	if a = f.get("/v1.0/me", user("User.Read"), "Origin", "https://spa.example"); a.header.Get("Access-Control-Allow-Origin") != "*" {
		t.Errorf("call: %v", a.header)
	}
}

func TestResourceManagerListsTenantsAndSubscriptions(t *testing.T) {
	f := start(t)
	tok := user("user_impersonation", "aud", "https://management.core.windows.net/")
	a := f.get("/arm/subscriptions?api-version=2019-11-01", tok)
	sub := a.body["value"].([]any)[0].(map[string]any)
	if sub["subscriptionId"] != SubscriptionID(directory.TenantID) || sub["tenantId"] != directory.TenantID || sub["state"] != "Enabled" {
		t.Error(a.text)
	}
	if a = f.get("/arm/tenants?api-version=2019-11-01", tok); a.body["value"].([]any)[0].(map[string]any)["tenantId"] != directory.TenantID {
		t.Error(a.text)
	}
	if a = f.get("/arm/subscriptions/"+SubscriptionID(directory.TenantID)+"?api-version=2019-11-01", tok); a.body["subscriptionId"] != SubscriptionID(directory.TenantID) {
		t.Error(a.text)
	}
	if a = f.get("/arm/metadata/endpoints?api-version=2022-09-01", ""); a.body["microsoftGraphResourceId"] != f.url+"/" {
		t.Error(a.text)
	}
	if a = f.get("/arm/metadata/endpoints?api-version=2020-06-01", ""); !strings.HasPrefix(a.text, "[{") {
		t.Error(a.text)
	}
}

func TestResourceGroupsAreKept(t *testing.T) {
	f := start(t)
	tok := user("user_impersonation", "aud", "https://management.azure.com/")
	at := "/arm/subscriptions/" + SubscriptionID(directory.TenantID)
	const v = "?api-version=2024-03-01"
	if a := f.get(at+"/resourcegroups"+v, tok).want(t, "none", 200, ""); a.text != `{"value":[]}` {
		t.Errorf("at first: %s", a.text)
	}
	f.do("HEAD", at+"/resourceGroups/Lab(1)"+v, tok).want(t, "exists", 404, "")
	f.write("PUT", at+"/resourceGroups/Lab(1)"+v, tok, `{"location":"West Europe","tags":{"for":"tests"}}`).want(t, "make", 201, "")
	a := f.get(at+"/RESOURCEGROUPS/lab(1)"+v, tok).want(t, "get", 200, "")
	if a.str("name") != "Lab(1)" || a.str("location") != "westeurope" || !strings.Contains(a.text, `"tags":{"for":"tests"},"properties":{"provisioningState":"Succeeded"}`) || a.str("id") != strings.TrimPrefix(at, "/arm")+"/resourceGroups/Lab(1)" {
		t.Errorf("group: %s", a.text)
	}
	f.do("HEAD", at+"/resourceGroups/Lab(1)"+v, tok).want(t, "exists", 204, "")
	if a := f.write("PUT", at+"/resourceGroups/lab(1)"+v, tok, `{"location":"westeurope"}`).want(t, "put again", 200, ""); strings.Contains(a.text, "tags") {
		t.Errorf("tags: %s", a.text)
	}
	if a := f.get(at+"/locations"+v, tok); !strings.Contains(fmt.Sprint(a.values("name")), "westeurope") {
		t.Errorf("locations: %s", a.text)
	}
	for _, c := range []struct {
		trigger, method, path, body string
		status                      int
		code                        string
	}{
		{"another location", "PUT", "/resourceGroups/Lab(1)", `{"location":"eastus"}`, 409, "InvalidResourceGroupLocation"},
		{"no location", "PUT", "/resourceGroups/x", `{}`, 400, "LocationRequired"},
		{"nowhere", "PUT", "/resourceGroups/x", `{"location":"atlantis"}`, 400, "LocationNotAvailableForResourceGroup"},
		{"a bad name", "PUT", "/resourceGroups/x*y", `{"location":"eastus"}`, 400, "InvalidResourceGroup"},
		{"no body", "PUT", "/resourceGroups/x", ``, 400, "InvalidRequestContent"},
		{"a misspelt member", "PUT", "/resourceGroups/x", `{"location":"eastus","tag":{}}`, 400, "InvalidRequestContent"},
		{"no such group", "GET", "/resourceGroups/x", ``, 404, "ResourceGroupNotFound"},
		{"nothing to delete", "DELETE", "/resourceGroups/x", ``, 404, "ResourceGroupNotFound"},
		{"roles of no group", "GET", "/resourceGroups/x/providers/Microsoft.Authorization/roleAssignments", ``, 404, "ResourceGroupNotFound"},
		{"another method", "PATCH", "/resourceGroups/Lab(1)", `{}`, 405, "HttpMethodNotSupported"},
		{"what it has not", "GET", "/resourceGroups/Lab(1)/resources", ``, 404, "NotFound"},
		{"providers", "GET", "/providers", ``, 404, "NotFound"},
	} {
		f.write(c.method, at+c.path+v, tok, c.body).want(t, c.trigger, c.status, c.code)
	}
	f.get(at+"/resourceGroups"+v+"&$top=1", tok).want(t, "an option that it has not", 400, "InvalidQueryParameter")
	f.get(at+"/resourceGroups", tok).want(t, "no version", 400, "MissingApiVersionParameter")
	f.do("DELETE", at+"/resourceGroups/LAB(1)"+v, tok).want(t, "delete", 200, "")
	f.get(at+"/resourceGroups/Lab(1)"+v, tok).want(t, "deleted", 404, "ResourceGroupNotFound")
}

func TestResourceManagersRefusals(t *testing.T) {
	f := start(t)
	tok := user("user_impersonation", "aud", "https://management.azure.com/")
	for _, c := range []struct {
		trigger, method, path, token string
		status                       int
		code                         string
	}{
		{"no api-version", "GET", "/arm/subscriptions", tok, 400, "MissingApiVersionParameter"},
		{"an api-version that is no date", "GET", "/arm/subscriptions?api-version=1", tok, 400, "InvalidApiVersionParameter"},
		{"no token", "GET", "/arm/subscriptions?api-version=2019-11-01", "", 401, "AuthenticationFailed"},
		{"garbage", "GET", "/arm/subscriptions?api-version=2019-11-01", "x", 401, "InvalidAuthenticationToken"},
		{"expired", "GET", "/arm/subscriptions?api-version=2019-11-01", token("expired", map[string]any{}), 401, "ExpiredAuthenticationToken"},
		{"a token for Graph", "GET", "/arm/subscriptions?api-version=2019-11-01", user("User.Read"), 401, "InvalidAuthenticationTokenAudience"},
		{"an unknown subscription", "GET", "/arm/subscriptions/x?api-version=2019-11-01", tok, 404, "SubscriptionNotFound"},
		{"an unknown path", "GET", "/arm/providers?api-version=2019-11-01", tok, 404, "NotFound"},
		{"a write", "POST", "/arm/tenants?api-version=2019-11-01", tok, 405, "HttpMethodNotSupported"},
	} {
		t.Run(c.trigger, func(t *testing.T) {
			if a := f.do(c.method, c.path, c.token); a.status != c.status || a.code() != c.code || a.message() == "" {
				t.Errorf("got %d %s, want %d %s: %s", a.status, a.code(), c.status, c.code, a.text)
			}
		})
	}
}

// names are the display names of a collection.
func names(a answer) string {
	var out []string
	list, _ := a.body["value"].([]any)
	for _, v := range list {
		s, _ := v.(map[string]any)["displayName"].(string)
		out = append(out, s)
	}
	return strings.Join(out, ", ")
}
