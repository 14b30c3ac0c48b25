package graph

import (
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fobauth/fob"
)

func TestAudienceFollowsFromTheHost(t *testing.T) {
	for address, want := range map[string]string{
		"https://graph.microsoft.com/v1.0/me":                       "https://graph.microsoft.com/.default",
		"https://GRAPH.microsoft.com:443/v1.0/me":                   "https://graph.microsoft.com/.default",
		"https://dod-graph.microsoft.us/v1.0/me":                    "https://dod-graph.microsoft.us/.default",
		"https://microsoftgraph.chinacloudapi.cn/v1.0/me":           "https://microsoftgraph.chinacloudapi.cn/.default",
		"https://management.azure.com/subscriptions":                "https://management.azure.com/.default",
		"https://management.core.windows.net/":                      "https://management.core.windows.net//.default",
		"https://v.vault.azure.net/secrets":                         "https://vault.azure.net/.default",
		"https://v.vault.usgovcloudapi.net/secrets":                 "https://vault.usgovcloudapi.net/.default",
		"https://acc.blob.core.windows.net/c":                       "https://storage.azure.com/.default",
		"https://a.b.dfs.core.chinacloudapi.cn/c":                   "https://storage.azure.com/.default",
		"https://dev.azure.com/org/_apis":                           "499b84ac-1321-427f-aa17-267ca6975798/.default",
		"https://ns.servicebus.windows.net/q":                       "https://servicebus.azure.net//.default",
		"https://x.ingest.monitor.azure.com/":                       "https://monitor.azure.com//.default",
		"https://contoso.sharepoint.com/_api/web":                   "https://contoso.sharepoint.com/.default",
		"https://org.crm4.dynamics.com/api/data":                    "https://org.crm4.dynamics.com/.default",
		"https://org.api.crm4.dynamics.com/api/data":                "https://org.crm4.dynamics.com/.default",
		"https://api.powerbi.com/v1.0/myorg":                        "https://analysis.windows.net/powerbi/api/.default",
		"https://api.bap.microsoft.com/providers":                   "https://service.powerapps.com/.default",
		"https://api.security.microsoft.com/api":                    "https://api.security.microsoft.com/.default",
		"https://eu.api.security.microsoft.com/api":                 "https://api.securitycenter.microsoft.com/.default",
		"https://cluster.westeurope.kusto.windows.net/v1/rest/ping": "https://kusto.kusto.windows.net/.default",
	} {
		scope, service, err := Audience(address)
		if err != nil || scope != want || service == "" {
			t.Errorf("Audience(%q) = %q, %q, %v; want %q", address, scope, service, err, want)
		}
	}
}

func TestHostsThatAreNotInTheTableGetNoToken(t *testing.T) {
	for _, address := range []string{
		"https://graph.microsoft.com.evil.example/v1.0/me",
		"https://evilgraph.microsoft.com/me",
		"https://graph.microsoft.com:8443/v1.0/me",
		"https://vault.azure.net/secrets",
		"https://notvault.azure.net/",
		"https://xblob.core.windows.net/",
		"https://example.com/",
		"https://localhost:8443/v1.0/me",
		"http://127.0.0.1:8080/v1.0/me",
	} {
		if scope, _, err := Audience(address); !errors.Is(err, ErrUnknownHost) {
			t.Errorf("Audience(%q) = %q, %v; want ErrUnknownHost", address, scope, err)
		} else {
			wantError(t, err, "--resource", "graph.Client.Scopes")
		}
	}
}

func TestAddressesThatNoTokenMayGoToAreRefused(t *testing.T) {
	for _, address := range []string{
		"http://graph.microsoft.com/v1.0/me",
		"ftp://graph.microsoft.com/v1.0/me",
		"https://user@graph.microsoft.com/v1.0/me",
		"https://user:pass@graph.microsoft.com/v1.0/me",
		"https://10.0.0.1/v1.0/me",
		"https://[fe80::1]/v1.0/me",
		"https://graph.microsoft.com./v1.0/me",
		"https://graph.microsoft.com\\@evil.example/",
		"https://gr\u0430ph.microsoft.com/",
		"https://graph.microsoft.com%2eevil.example/",
		"https:graph.microsoft.com/v1.0/me",
		"https:///v1.0/me",
		"javascript:alert(1)",
		"https://graph..microsoft.com/",
	} {
		if scope, _, err := Audience(address); err == nil || errors.Is(err, ErrUnknownHost) {
			t.Errorf("Audience(%q) = %q, %v; want a refusal of the address", address, scope, err)
		}
		c := &Client{Source: &tokens{}, Scopes: []string{"x"}}
		if _, err := c.Resolve(address); err == nil && !strings.HasPrefix(address, "https:g") && !strings.HasPrefix(address, "javascript") {
			t.Errorf("Resolve(%q) does not refuse it", address)
		}
	}
}

func TestEveryRowOfTheAudienceTableIsReachable(t *testing.T) {
	if n := len(audiences()); n < 140 {
		t.Fatalf("the table has %d rows", n)
	}
	shadowed := 0
	for _, row := range audiences() {
		host := strings.ReplaceAll(strings.ReplaceAll(row.pattern, "crm*", "crm4"), "*", "name")
		scope, service, err := Audience("https://" + host + "/")
		if err != nil {
			t.Errorf("%s: %v", row.pattern, err)
		} else if service != row.service && scope != row.scope {
			shadowed++ // Event Hubs share the host of Service Bus
		}
	}
	if shadowed > 1 {
		t.Errorf("%d rows of the table are never used", shadowed)
	}
}

func TestAddressesResolveAsPeopleWriteThem(t *testing.T) {
	c := &Client{}
	gov := &Client{Base: "https://graph.microsoft.us/v1.0/"}
	for _, test := range []struct {
		c             *Client
		address, want string
	}{
		{c, "/users", "https://graph.microsoft.com/v1.0/users"},
		{c, "users", "https://graph.microsoft.com/v1.0/users"},
		{c, "/beta/users", "https://graph.microsoft.com/beta/users"},
		{c, "/v1.0/users", "https://graph.microsoft.com/v1.0/users"},
		{c, "https://graph.microsoft.com/beta/me?$select=id", "https://graph.microsoft.com/beta/me?$select=id"},
		{c, "/users?$filter=displayName eq 'A B'", "https://graph.microsoft.com/v1.0/users?$filter=displayName%20eq%20'A%20B'"},
		{c, "/users?$search=\"displayName:ü\"", "https://graph.microsoft.com/v1.0/users?$search=%22displayName:%C3%BC%22"},
		{c, "/users/a%23EXT%23@x.example", "https://graph.microsoft.com/v1.0/users/a%23EXT%23@x.example"},
		{c, "/subscriptions/0/resourceGroups?api-version=2021-04-01", "https://management.azure.com/subscriptions/0/resourceGroups?api-version=2021-04-01"},
		{c, "/subscriptions?api-version=2022-12-01", "https://management.azure.com/subscriptions?api-version=2022-12-01"},
		{c, "/subscriptions", "https://graph.microsoft.com/v1.0/subscriptions"},
		{c, "/Providers/Microsoft.Billing", "https://management.azure.com/Providers/Microsoft.Billing"},
		{c, "/tenants", "https://management.azure.com/tenants"},
		{c, "/metadata/endpoints", "https://management.azure.com/metadata/endpoints"},
		{c, "/tenantRelationships/x", "https://graph.microsoft.com/v1.0/tenantRelationships/x"},
		{c, "/$metadata", "https://graph.microsoft.com/v1.0/$metadata"},
		{c, "/v1.0/subscriptions?api-version=1", "https://graph.microsoft.com/v1.0/subscriptions?api-version=1"},
		{c, "/v1.0/subscriptions/7", "https://graph.microsoft.com/v1.0/subscriptions/7"},
		{gov, "/me", "https://graph.microsoft.us/v1.0/me"},
		{gov, "/tenants?api-version=2022-12-01", "https://management.usgovcloudapi.net/tenants?api-version=2022-12-01"},
	} {
		u, err := test.c.Resolve(test.address)
		if err != nil || u.String() != test.want {
			t.Errorf("Resolve(%q) = %v, %v; want %s", test.address, u, err, test.want)
		}
	}
}

func TestARequestCarriesItsTokenAndOneIdForAllTries(t *testing.T) {
	var ids []string
	w := serve(t, answers(
		func(w http.ResponseWriter, r *http.Request) {
			ids = append(ids, r.Header.Get("Client-Request-Id"))
			says(503, "")(w, r)
		},
		func(w http.ResponseWriter, r *http.Request) {
			ids = append(ids, r.Header.Get("Client-Request-Id"))
			if r.Header.Get("Authorization") != "Bearer secret" || r.URL.Path != "/v1.0/me" || r.Header.Get("User-Agent") != "fob" {
				t.Errorf("got %s with %v", r.URL, r.Header)
			}
			says(200, `{"id":"1"}`)(w, r)
		}))
	if text, err := get(t, w, "/me"); err != nil || text != `{"id":"1"}` {
		t.Errorf("got %q, %v", text, err)
	}
	if len(ids) != 2 || ids[0] == "" || ids[0] != ids[1] {
		t.Errorf("client-request-ids of the tries: %q", ids)
	}
	if got := w.source.asked[0].Scopes; len(got) != 1 || got[0] != testScope {
		t.Errorf("asked for a token for %q", got)
	}
}

func TestARefusalIsReadWhateverItsForm(t *testing.T) {
	for _, test := range []struct {
		name, body, contentType   string
		status                    int
		code, inner, message, rid string
	}{
		{"graph", `{"error":{"code":"Request_ResourceNotFound","message":"Resource 'x' does not exist.","innerError":{"date":"2026-03-01T08:15:30","request-id":"r-1","client-request-id":"c-1"}}}`, "", 404,
			"Request_ResourceNotFound", "", "Resource 'x' does not exist.", "r-1"},
		{"drive", `{"error":{"code":"activityLimitReached","message":"slow","innererror":{"code":"throttledRequest","innererror":{"code":"quota"}}}}`, "", 403,
			"activityLimitReached", "quota", "slow", ""},
		{"oauth", `{"error":"invalid_request","error_description":"no"}`, "", 400, "invalid_request", "", "no", ""},
		{"odata 3", `{"odata.error":{"code":"Request_BadRequest","message":{"lang":"en","value":"old"}}}`, "", 400, "Request_BadRequest", "", "old", ""},
		{"storage", `<?xml version="1.0"?><Error><Code>AuthenticationFailed</Code><Message>Server failed.</Message></Error>`, "application/xml", 403, "AuthenticationFailed", "", "Server failed.", ""},
		{"web api", `{"Message":"No HTTP resource was found"}`, "", 404, "", "", "No HTTP resource was found", ""},
		{"html", `<!DOCTYPE html><html>Proxy</html>`, "text/html", 403, "", "", "an HTML page instead of an answer; is a proxy or a sign-in page in the way?", ""},
		{"empty", ``, "", 403, "", "", "forbidden, without a reason", ""},
		{"no text", `{"error":{"code":"","message":""}}`, "", 403, "", "", "an answer that is no error of this API", ""},
		{"escapes", `{"error":{"code":"a\u001b[31mb","message":"line\nbreak \u202e eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0.c2ln"}}`, "", 400, "a [31mb", "", "line break [redacted]", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := serve(t, says(test.status, test.body, "Content-Type", test.contentType))
			_, err := get(t, w, "/users/1?$select=secret")
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v", err)
			}
			if e.Status != test.status || e.Code != test.code || e.Inner != test.inner || e.Message != test.message || test.rid != "" && e.RequestID != test.rid {
				t.Errorf("got %+v", e)
			}
			wantError(t, err, "GET "+e.Host+"/v1.0/users/1", "HTTP")
		})
	}
}

func TestWhatMayBetterLaterIsUnavailable(t *testing.T) {
	for status, want := range map[int]bool{400: false, 403: false, 404: false, 408: true, 429: true, 500: true, 501: false, 503: true, 504: true, 507: false} {
		if got := errors.Is(&Error{Status: status}, fob.ErrUnavailable); got != want {
			t.Errorf("%d: unavailable is %v", status, got)
		}
	}
}

func TestAClaimsChallengeIsAnsweredOnceWithItsClaims(t *testing.T) {
	claims := `{"access_token":{"nbf":{"essential":true,"value":"1772353000"}}}`
	challenge := `Bearer realm="", authorization_uri="https://login.example/x", error="insufficient_claims", claims="` + base64.StdEncoding.EncodeToString([]byte(claims)) + `"`
	requests, bodies := 0, ""
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		requests++
		body, _ := io.ReadAll(r.Body)
		bodies += string(body)
		if r.Header.Get("Authorization") == "Bearer secret-with-claims" && r.URL.Path == "/v1.0/good" {
			says(204, "")(w, r)
			return
		}
		says(401, `{"error":{"code":"InvalidAuthenticationToken","message":"challenge"}}`, "WWW-Authenticate", challenge)(w, r)
	})
	if _, err := do(t, w, "POST", "/good", "body"); err != nil || requests != 2 || bodies != "bodybody" {
		t.Errorf("%v after %d requests with bodies %q", err, requests, bodies)
	}
	if got := w.source.asked[1].Claims; got != claims {
		t.Errorf("asked for claims %q", got)
	}
	requests = 0
	_, err := do(t, w, "POST", "/bad", "body")
	var e *Error
	if !errors.As(err, &e) || e.Claims != claims || requests != 2 || !errors.Is(err, fob.ErrInteraction) {
		t.Errorf("%v after %d requests", err, requests)
	}
}

func TestARedirectIsFollowedWithoutTheToken(t *testing.T) {
	other := stranger(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Referer") != "" {
			t.Error("the address of the page before was sent along")
		}
		says(200, "content")(w, r)
	})
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL+"/blob", http.StatusFound)
	})
	req, _ := http.NewRequest("GET", "/me/photo/$value", nil)
	req.Header.Set("Cookie", "a=secret")
	resp, err := w.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); string(text) != "content" {
		t.Errorf("got %q", text)
	}
}

func TestAnAuthorizationHeaderOfTheCallersOwnStaysAtHome(t *testing.T) {
	other := stranger(t, says(200, "content"))
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer my-secret" {
			t.Errorf("got %q", r.Header.Get("Authorization"))
		}
		http.Redirect(w, r, other.URL, http.StatusFound)
	})
	req, _ := http.NewRequest("GET", "/me", nil)
	req.Header.Set("Authorization", "Bearer my-secret")
	resp, err := w.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if len(w.source.asked) != 0 {
		t.Error("a token was asked for")
	}
}

func TestRedirectsThatAreNotFollowed(t *testing.T) {
	for name, target := range map[string]string{
		"plain http":    "http://storage.example/x",
		"user":          "https://a@storage.example/x",
		"address":       "https://169.254.169.254/metadata",
		"endless":       "/v1.0/me",
		"another sort":  "file:///etc/passwd",
		"trailing dot":  "https://storage.example./x",
		"encoded host":  "https://storage%2eexample/x",
		"empty address": "https://",
	} {
		t.Run(name, func(t *testing.T) {
			requests := 0
			w := serve(t, func(w http.ResponseWriter, r *http.Request) {
				requests++
				w.Header().Set("Location", target)
				w.WriteHeader(http.StatusFound)
			})
			_, err := get(t, w, "/me")
			wantError(t, err, "GET")
			if requests > maxRedirects+1 {
				t.Errorf("%d requests", requests)
			}
		})
	}
}

func TestEveryRedirectOfEveryMethodKeepsTheTokenAtHome(t *testing.T) {
	other := stranger(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead || r.ContentLength > 0 {
			t.Errorf("a stranger got a %s with %d bytes", r.Method, r.ContentLength)
		}
		says(200, "elsewhere")(w, r)
	})
	for _, method := range []string{"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE"} {
		for status := 300; status <= 308; status++ {
			for name, location := range map[string]string{"home": "/v1.0/there", "relative": "there", "stranger": other.URL + "/x", "scheme": "ftp://HOST/x", "nowhere": "", "broken": "http://[/"} {
				requests, moved := 0, false
				w := serve(t, func(w http.ResponseWriter, r *http.Request) {
					requests++
					if r.URL.Path == "/v1.0/there" {
						moved = true
						if r.Header.Get("Authorization") != "Bearer secret" {
							t.Error("at home the token was lost")
						}
						says(200, "there")(w, r)
						return
					}
					if location != "" {
						w.Header().Set("Location", strings.ReplaceAll(location, "HOST", r.Host))
					}
					w.WriteHeader(status)
				})
				w.Patience = -1
				_, err := do(t, w, method, "/here", "body")
				reads := method == "GET" || method == "HEAD"
				followed := reads && (status <= 303 && status > 300 || status >= 307)
				switch {
				case status == http.StatusNotModified: // an answer
					followed = true
				case name == "scheme" || name == "nowhere" || name == "broken":
					followed = false
				}
				if (err == nil) != followed || requests > 2 || !reads && moved {
					t.Errorf("%s, %d to %s: %v after %d requests", method, status, name, err, requests)
				}
			}
		}
	}
}

func TestAServiceOnTheNetDoesNotRedirectToThisMachine(t *testing.T) {
	home, _ := url.Parse("https://graph.microsoft.com/v1.0/me")
	for _, target := range []string{"https://127.0.0.1/x", "http://localhost:8080/x", "https://[::1]/"} {
		u, _ := url.Parse(target)
		if err := away(home, u); err == nil {
			t.Errorf("%s is followed", target)
		}
	}
}

func TestAWriteIsNotRedirected(t *testing.T) {
	other := stranger(t, func(w http.ResponseWriter, r *http.Request) { t.Error("the write was sent on") })
	w := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, other.URL, http.StatusTemporaryRedirect)
	})
	_, err := do(t, w, "POST", "/users", "{}")
	wantError(t, err, "redirect", "HTTP 307")
}

func TestAClientWithoutASourceSaysSo(t *testing.T) {
	c := &Client{}
	req, _ := http.NewRequest("GET", "/me", nil)
	_, err := c.Do(req)
	wantError(t, err, "Source")
}
