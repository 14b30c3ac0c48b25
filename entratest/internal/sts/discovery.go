package sts

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// publish answers with a document that anybody may read, from a browser too.
func (s *Server) publish(w http.ResponseWriter, r *http.Request, document any) {
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Allow-Methods", "GET, OPTIONS")
	if r.Method == http.MethodOptions {
		h.Set("Access-Control-Allow-Headers", r.Header.Get("Access-Control-Request-Headers"))
		w.WriteHeader(http.StatusNoContent)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD, OPTIONS")
		refused := no(900561, "The endpoint only accepts GET, OPTIONS requests. Received a %s request.", r.Method)
		refused.Status = http.StatusMethodNotAllowed
		s.write(w, r, refused)
		return
	}
	h.Set("Cache-Control", "max-age=86400, private")
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Ms-Request-Id", newTraceID())
	data, err := marshal(document)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	h.Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data)
}

type cloudHost struct {
	Network string   `json:"preferred_network"`
	Cache   string   `json:"preferred_cache"`
	Aliases []string `json:"aliases"`
}

// instanceDiscovery says whether a host is a sign-in service. The emulator
// knows Microsoft's and itself.
func (s *Server) instanceDiscovery(w http.ResponseWriter, r *http.Request, at authority) {
	q := r.URL.Query()
	version := q.Get("api-version")
	asked, err := url.Parse(q.Get("authorization_endpoint"))
	if version != "1.0" && version != "1.1" || err != nil || asked.Scheme != "https" && asked.Scheme != "http" || asked.Host == "" {
		s.refuse(w, r, 50050, "The request to the discovery endpoint is malformed. It needs the parameters 'api-version' (1.0 or 1.1) and 'authorization_endpoint' (an absolute URL).")
		return
	}
	host := strings.ToLower(asked.Host)
	own := ""
	if u, err := url.Parse(s.BaseURL); err == nil {
		own = strings.ToLower(u.Host)
	}
	if bare, _, _ := strings.Cut(host, ":"); host != own && !microsoftHost(bare) {
		s.refuse(w, r, 50049, "Unknown or invalid instance.")
		return
	}
	tenant, _, _ := strings.Cut(strings.TrimPrefix(asked.Path, "/"), "/")
	if tenant == "" {
		tenant = "common"
	}
	answer := struct {
		Endpoint string      `json:"tenant_discovery_endpoint"`
		Version  string      `json:"api-version,omitempty"`
		Metadata []cloudHost `json:"metadata,omitempty"`
	}{Endpoint: "https://" + host + "/" + tenant + "/.well-known/openid-configuration"}
	if strings.Contains(asked.Path, "/v2.0/") {
		answer.Endpoint = "https://" + host + "/" + tenant + "/v2.0/.well-known/openid-configuration"
	}
	if version == "1.1" {
		answer.Version = version
		for i, group := range cloudHosts {
			c := cloudHost{group[0], group[0], group}
			if i == 0 {
				c.Cache = "login.windows.net"
			}
			answer.Metadata = append(answer.Metadata, c)
		}
		if own != "" && !microsoftHost(own) {
			answer.Metadata = append(answer.Metadata, cloudHost{own, own, []string{own}})
		}
	}
	s.publish(w, r, answer)
}

// openIDConfiguration is a discovery document, its members in the order in which
// Microsoft sends them.
type openIDConfiguration struct {
	Token             string   `json:"token_endpoint"`
	TokenAuth         []string `json:"token_endpoint_auth_methods_supported"`
	JWKS              string   `json:"jwks_uri"`
	ResponseModes     []string `json:"response_modes_supported"`
	SubjectTypes      []string `json:"subject_types_supported"`
	SigningAlgs       []string `json:"id_token_signing_alg_values_supported"`
	ResponseTypes     []string `json:"response_types_supported"`
	Scopes            []string `json:"scopes_supported"`
	Issuer            string   `json:"issuer"`
	MultiRefresh      bool     `json:"microsoft_multi_refresh_token,omitempty"`
	RequestURI        bool     `json:"request_uri_parameter_supported"`
	UserInfo          string   `json:"userinfo_endpoint"`
	Authorization     string   `json:"authorization_endpoint"`
	Device            string   `json:"device_authorization_endpoint"`
	HTTPLogout        bool     `json:"http_logout_supported"`
	FrontLogout       bool     `json:"frontchannel_logout_supported"`
	EndSession        string   `json:"end_session_endpoint"`
	Claims            []string `json:"claims_supported"`
	Kerberos          string   `json:"kerberos_endpoint"`
	Region            *string  `json:"tenant_region_scope"`
	CloudInstance     string   `json:"cloud_instance_name"`
	CloudGraph        string   `json:"cloud_graph_host_name"`
	MSGraph           string   `json:"msgraph_host"`
	RoleBasedControls string   `json:"rbac_url"`
}

func (s *Server) openIDConfigurationV1(w http.ResponseWriter, r *http.Request, at authority) {
	c := s.openIDConfiguration(at, 1)
	c.JWKS = at.Base + "/common/discovery/keys"
	c.ResponseTypes = append(c.ResponseTypes, "token")
	c.Scopes = c.Scopes[:1]
	c.MultiRefresh = true
	s.publishConfiguration(w, r, c)
}

func (s *Server) openIDConfigurationV2(w http.ResponseWriter, r *http.Request, at authority) {
	s.publishConfiguration(w, r, s.openIDConfiguration(at, 2))
}

// publishConfiguration leads who asks for the document of an app to the keys of
// that app. Here they are everybody's.
func (s *Server) publishConfiguration(w http.ResponseWriter, r *http.Request, c openIDConfiguration) {
	if app := r.URL.Query().Get("appid"); app != "" {
		c.JWKS += "?appid=" + url.QueryEscape(app)
	}
	s.publish(w, r, c)
}

func (s *Server) openIDConfiguration(at authority, version int) openIDConfiguration {
	v := ""
	if version == 2 {
		v = "v2.0/"
	}
	issued := at.name()
	if at.Tenant == nil && issued != consumerTenant {
		issued = "{tenantid}" // to be filled in from the token
	}
	c := openIDConfiguration{
		Token:             at.url("oauth2/" + v + "token"),
		TokenAuth:         []string{"client_secret_post", "private_key_jwt", "client_secret_basic"},
		JWKS:              at.url("discovery/" + v + "keys"),
		ResponseModes:     []string{"query", "fragment", "form_post"},
		SubjectTypes:      []string{"pairwise"},
		SigningAlgs:       []string{"RS256"},
		ResponseTypes:     []string{"code", "id_token", "code id_token", "id_token token"},
		Scopes:            []string{"openid", "profile", "email", "offline_access"},
		Issuer:            at.issuer(issued, version),
		UserInfo:          "https://graph.microsoft.com/oidc/userinfo",
		Authorization:     at.url("oauth2/" + v + "authorize"),
		Device:            at.url("oauth2/" + v + "devicecode"),
		HTTPLogout:        true,
		FrontLogout:       true,
		EndSession:        at.url("oauth2/" + v + "logout"),
		Claims:            []string{"sub", "iss", "cloud_instance_name", "cloud_instance_host_name", "cloud_graph_host_name", "msgraph_host", "aud", "exp", "iat", "auth_time", "acr", "nonce", "preferred_username", "name", "tid", "ver", "at_hash", "c_hash", "email"},
		Kerberos:          at.url("kerberos"),
		CloudInstance:     "microsoftonline.com",
		CloudGraph:        "graph.windows.net",
		MSGraph:           "graph.microsoft.com",
		RoleBasedControls: "https://pas.windows.net",
	}
	if at.Tenant != nil {
		region := "EU"
		c.Region = &region
	}
	if u, err := url.Parse(s.GraphURL); err == nil && s.GraphURL != "" && at.Base == s.BaseURL {
		c.UserInfo, c.MSGraph = s.GraphURL+"/oidc/userinfo", u.Host
	}
	return c
}
