package sts

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fobauth/fob/entratest/internal/directory"
)

func TestOpenIDConfiguration(t *testing.T) {
	v := serve(t)
	id, base := directory.TenantID, v.BaseURL
	for path, want := range map[string][4]string{ // issuer, token endpoint, jwks_uri, device endpoint
		"/" + id + "/v2.0":                  {base + "/" + id + "/v2.0", base + "/" + id + "/oauth2/v2.0/token", base + "/" + id + "/discovery/v2.0/keys", base + "/" + id + "/oauth2/v2.0/devicecode"},
		"/Fob.Example/v2.0":                 {base + "/" + id + "/v2.0", base + "/" + id + "/oauth2/v2.0/token", base + "/" + id + "/discovery/v2.0/keys", base + "/" + id + "/oauth2/v2.0/devicecode"},
		"/common/v2.0":                      {base + "/{tenantid}/v2.0", base + "/common/oauth2/v2.0/token", base + "/common/discovery/v2.0/keys", base + "/common/oauth2/v2.0/devicecode"},
		"/organizations/v2.0":               {base + "/{tenantid}/v2.0", base + "/organizations/oauth2/v2.0/token", base + "/organizations/discovery/v2.0/keys", base + "/organizations/oauth2/v2.0/devicecode"},
		"/consumers/v2.0":                   {base + "/" + consumerTenant + "/v2.0", base + "/" + consumerTenant + "/oauth2/v2.0/token", base + "/" + consumerTenant + "/discovery/v2.0/keys", base + "/" + consumerTenant + "/oauth2/v2.0/devicecode"},
		"/" + id:                            {base + "/" + id + "/", base + "/" + id + "/oauth2/token", base + "/common/discovery/keys", base + "/" + id + "/oauth2/devicecode"},
		"/common":                           {base + "/{tenantid}/", base + "/common/oauth2/token", base + "/common/discovery/keys", base + "/common/oauth2/devicecode"},
		"/fobexample.onmicrosoft.com/v2.0/": {base + "/" + id + "/v2.0", base + "/" + id + "/oauth2/v2.0/token", base + "/" + id + "/discovery/v2.0/keys", base + "/" + id + "/oauth2/v2.0/devicecode"},
	} {
		a := v.get(strings.TrimSuffix(path, "/") + "/.well-known/openid-configuration").ok()
		got := [4]string{a.text("issuer"), a.text("token_endpoint"), a.text("jwks_uri"), a.text("device_authorization_endpoint")}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", path, diff)
		}
		if a.header.Get("Access-Control-Allow-Origin") != "*" || a.header.Get("Cache-Control") != "max-age=86400, private" {
			t.Errorf("%s: headers %v", path, a.header)
		}
		if !strings.Contains(a.raw, `"form_post"`) || !strings.Contains(a.raw, `"RS256"`) {
			t.Errorf("%s: %s", path, a.raw)
		}
	}
}

func TestTheDocumentOfAnAppLeadsToItsKeys(t *testing.T) {
	v := serve(t)
	for _, path := range []string{"/.well-known/openid-configuration", "/v2.0/.well-known/openid-configuration"} {
		a := v.get("/" + directory.TenantID + path + "?appid=" + directory.DaemonAppID).ok()
		keys := a.text("jwks_uri")
		if !strings.HasSuffix(keys, "?appid="+directory.DaemonAppID) {
			t.Errorf("%s: keys at %s", path, keys)
		}
		if a := v.get(strings.TrimPrefix(keys, v.BaseURL)).ok(); a.body["keys"] == nil {
			t.Errorf("keys: %s", a.raw)
		}
	}
}

func TestMicrosoftsNamesAreAnsweredWithThemselves(t *testing.T) {
	v := serve(t)
	r, err := http.NewRequest(http.MethodGet, v.BaseURL+"/"+directory.TenantID+"/.well-known/openid-configuration", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "login.microsoftonline.com"
	a := v.do(r).ok()
	if a.text("issuer") != "https://sts.windows.net/"+directory.TenantID+"/" || a.text("token_endpoint") != "https://login.microsoftonline.com/"+directory.TenantID+"/oauth2/token" ||
		a.text("userinfo_endpoint") != "https://graph.microsoft.com/oidc/userinfo" {
		t.Errorf("%s", a.raw)
	}
	r, err = http.NewRequest(http.MethodPost, v.BaseURL+tokenPath, strings.NewReader(fields("grant_type", "client_credentials", "client_id", directory.DaemonAppID,
		"client_secret", "daemon-secret-value-1", "scope", graphAll).Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Host = "login.microsoftonline.com"
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if iss := v.do(r).ok().claims("access_token")["iss"]; iss != "https://sts.windows.net/"+directory.TenantID+"/" {
		t.Errorf("iss %v", iss)
	}
}

func TestInstanceDiscovery(t *testing.T) {
	v := serve(t)
	own := strings.TrimPrefix(v.BaseURL, "https://")
	ask := func(version, endpoint string) answer {
		return v.get("/common/discovery/instance?" + url.Values{"api-version": {version}, "authorization_endpoint": {endpoint}}.Encode())
	}
	for _, host := range []string{"login.microsoftonline.com", "login.windows.net", "sts.windows.net", "login.microsoftonline.us", "login.partner.microsoftonline.cn", own} {
		a := ask("1.1", "https://"+host+"/fob.example/oauth2/v2.0/authorize").ok()
		if a.text("tenant_discovery_endpoint") != "https://"+host+"/fob.example/v2.0/.well-known/openid-configuration" {
			t.Errorf("%s: %s", host, a.raw)
		}
		var m struct{ Metadata []cloudHost }
		if err := json.Unmarshal([]byte(a.raw), &m); err != nil {
			t.Fatal(err)
		}
		found := false
		for _, c := range m.Metadata {
			for _, alias := range c.Aliases {
				found = found || alias == host
			}
		}
		if !found {
			t.Errorf("%s is in no list of aliases: %s", host, a.raw)
		}
	}
	old := ask("1.0", "https://login.microsoftonline.com/common/oauth2/authorize").ok()
	if old.body["metadata"] != nil || old.text("tenant_discovery_endpoint") != "https://login.microsoftonline.com/common/.well-known/openid-configuration" {
		t.Errorf("1.0: %s", old.raw)
	}
	for _, host := range []string{"localhost:1", "login.microsoftonline.com.evil.example", "evil.example"} {
		ask("1.1", "https://"+host+"/common/oauth2/v2.0/authorize").refusedWith(50049, "invalid_instance", http.StatusBadRequest)
	}
}

func TestPublishedKeysNameTheirIssuerAtVersion2Only(t *testing.T) {
	v := serve(t)
	for path, issuer := range map[string]string{
		"/common/discovery/keys":                                  "",
		"/" + directory.TenantID + "/discovery/keys":              "",
		"/common/discovery/v2.0/keys":                             v.BaseURL + "/{tenantid}/v2.0",
		"/" + directory.TenantID + "/discovery/v2.0/keys":         v.BaseURL + "/" + directory.TenantID + "/v2.0",
		"/" + directory.TenantID + "/discovery/v2.0/keys?appid=x": v.BaseURL + "/" + directory.TenantID + "/v2.0",
	} {
		var set struct{ Keys []jwk }
		if err := json.Unmarshal([]byte(v.get(path).ok().raw), &set); err != nil {
			t.Fatal(err)
		}
		if len(set.Keys) != 1 || set.Keys[0].Issuer != issuer || set.Keys[0].ID != set.Keys[0].X5T || len(set.Keys[0].ID) != 27 {
			t.Errorf("%s: %+v", path, set)
		}
		if der, err := base64.StdEncoding.DecodeString(set.Keys[0].X5C[0]); err != nil || string(der) != string(testOnlyKey().cert) {
			t.Errorf("%s: x5c is not the certificate of the key: %v", path, err)
		}
	}
}

func TestTheFirstKeyIsAlwaysTheSame(t *testing.T) {
	if a, b := New(Config{}), New(Config{}); a.keys.current().id != b.keys.current().id {
		t.Error("two servers start with different keys")
	}
}

func TestPathsAreFoundInAnyCase(t *testing.T) {
	v := serve(t)
	v.get("/COMMON/V2.0/.well-known/OpenID-Configuration").ok()
	v.post("/"+strings.ToUpper(directory.TenantID)+"/OAuth2/V2.0/Token", "grant_type", "client_credentials", "client_id", strings.ToUpper(directory.DaemonAppID),
		"client_secret", "daemon-secret-value-1", "scope", graphAll).ok()
}

func TestDocumentsAreOnlyRead(t *testing.T) {
	v := serve(t)
	for _, path := range []string{"/common/v2.0/.well-known/openid-configuration", "/common/discovery/v2.0/keys", "/common/discovery/instance?api-version=1.1&authorization_endpoint=https%3A%2F%2Flogin.microsoftonline.com%2Fcommon%2Foauth2%2Fv2.0%2Fauthorize"} {
		for method, status := range map[string]int{"GET": 200, "HEAD": 200, "OPTIONS": 204, "POST": 405, "PUT": 405, "DELETE": 405} {
			r, err := http.NewRequest(method, v.BaseURL+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			a := v.do(r)
			if a.status != status || status == 405 && (a.header.Get("Allow") != "GET, HEAD, OPTIONS" || !strings.Contains(a.raw, "AADSTS900561: ")) {
				t.Errorf("%s %s: %d %v %s", method, path, a.status, a.header, a.raw)
			}
		}
	}
}
