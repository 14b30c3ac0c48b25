package graphsim

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// SubscriptionID is the one Azure subscription of a tenant.
func SubscriptionID(tenant string) string {
	if tenant == directory.TenantID {
		return "f0b00000-1005-4000-8000-000000000001"
	}
	return derivedID("subscription", tenant)
}

// ARM answers what clients of Azure Resource Manager ask while they sign in:
// the cloud's endpoints, the tenants and the subscriptions; and keeps resource
// groups, which are empty, and roles.
func (s *Server) ARM(w http.ResponseWriter, r *http.Request) {
	c := s.newCall(w, r)
	if c.preflight() {
		return
	}
	w.Header().Set("x-ms-request-id", c.id)
	w.Header().Set("x-ms-correlation-request-id", c.id)
	// Unlike in Graph, parentheses are part of a name.
	path := strings.FieldsFunc(r.URL.Path, func(r rune) bool { return r == '/' })
	version := ""
	for name, values := range r.URL.Query() {
		if strings.EqualFold(name, "api-version") {
			version = values[0]
		}
	}
	switch {
	case version == "":
		c.armRefuse(http.StatusBadRequest, "MissingApiVersionParameter", "The api-version query parameter (?api-version=) is required for all requests.")
		return
	case !validAPIVersion(version):
		c.armRefuse(http.StatusBadRequest, "InvalidApiVersionParameter", "The api-version '"+version+"' is invalid. The supported versions are dates such as '2022-12-01'.")
		return
	}
	if first(path) == "metadata" && len(path) == 2 && strings.EqualFold(path[1], "endpoints") {
		if c.armGet() {
			c.armMetadata(version)
		}
		return
	}
	if !c.armAuthorize() {
		return
	}
	tenant := c.tenant()
	switch {
	case first(path) == "subscriptions" && len(path) == 1:
		if c.armGet() {
			all := []object{}
			c.azure.mu.Lock()
			if c.inAzure() {
				all = append(all, c.subscription(tenant))
			}
			c.azure.mu.Unlock()
			c.armSend(object{{"value", all}, {"count", object{{"type", "Total"}, {"value", len(all)}}}})
		}
	case first(path) == "subscriptions":
		if !strings.EqualFold(path[1], SubscriptionID(tenant)) {
			c.armRefuse(http.StatusNotFound, "SubscriptionNotFound", "The subscription '"+path[1]+"' could not be found.")
			return
		}
		c.inSubscription(path[2:])
	case first(path) == "providers" && len(path) > 2 && strings.EqualFold(path[1], "Microsoft.Authorization") && strings.EqualFold(path[2], "roleDefinitions"):
		c.authorization("", path[2:])
	case first(path) == "tenants" && len(path) == 1:
		if c.armGet() {
			t, _ := c.World.Tenant(tenant)
			c.armSend(object{{"value", []object{{{"id", "/tenants/" + t.ID}, {"tenantId", t.ID}, {"tenantCategory", "Home"}, {"displayName", t.Name},
				{"defaultDomain", slices.Concat(t.Domains, []string{""})[0]}, {"domains", t.Domains}, {"countryCode", "CH"}, {"tenantType", "AAD"}}}}})
		}
	default:
		c.armMissing()
	}
}

func (c *call) armMissing() {
	c.armRefuse(http.StatusNotFound, "NotFound", "The emulator's Resource Manager has no '"+c.r.URL.Path+"': it has /tenants, /metadata/endpoints, /subscriptions and in them locations, resourceGroups, roleAssignments, roleDefinitions and permissions.")
}

func validAPIVersion(v string) bool {
	day, _, _ := strings.Cut(v, "-preview")
	_, err := time.Parse(time.DateOnly, day)
	return err == nil
}

// armGet says whether the method is GET.
func (c *call) armGet() bool { return c.armMethod(http.MethodGet) }

// armMethod says whether the method is one of those that are implemented.
func (c *call) armMethod(implemented ...string) bool {
	if slices.Contains(implemented, c.r.Method) {
		return true
	}
	c.w.Header().Set("Allow", strings.Join(implemented, ", "))
	c.armRefuse(http.StatusMethodNotAllowed, "HttpMethodNotSupported", "The http method '"+c.r.Method+"' is not supported for a resource.")
	return false
}

func (c *call) subscription(tenant string) object {
	t, _ := c.World.Tenant(tenant)
	id := SubscriptionID(tenant)
	return object{{"id", "/subscriptions/" + id}, {"authorizationSource", "RoleBased"}, {"managedByTenants", []any{}}, {"subscriptionId", id},
		{"tenantId", tenant}, {"displayName", t.Name + " Subscription"}, {"state", "Enabled"},
		{"subscriptionPolicies", object{{"locationPlacementId", "Public_2014-09-01"}, {"quotaId", "PayAsYouGo_2014-09-01"}, {"spendingLimit", "Off"}}}}
}

// armAuthorize checks the bearer token as Resource Manager does and says
// whether the request may go on.
func (c *call) armAuthorize() bool {
	deny := func(code, message string) bool {
		c.w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer authorization_uri="%s/%s", error="invalid_token", error_description="%s"`,
			c.AuthorityURL(c.r), directory.TenantID, strings.ReplaceAll(message, `"`, `'`)))
		c.armRefuse(http.StatusUnauthorized, code, message)
		return false
	}
	raw, key, err := c.accessToken()
	switch {
	case err != nil:
		return deny("InvalidAuthenticationToken", err.Error())
	case raw == "":
		return deny("AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing.")
	}
	token, verdict := c.Verify(raw)
	switch verdict {
	case Malformed, BadSignature:
		return deny("InvalidAuthenticationToken", "The access token is invalid.")
	case Expired:
		return deny("ExpiredAuthenticationToken", "The access token has expired or is not yet valid.")
	}
	c.token = token
	allowed := []string{"https://management.core.windows.net/", "https://management.azure.com/"}
	if !audience(c.token.text("aud"), directory.ARMAppID, append(allowed, c.ARMURL)...) {
		return deny("InvalidAuthenticationTokenAudience", fmt.Sprintf("The access token has been obtained for wrong audience or resource '%s'. It should exactly match with one of the allowed audiences '%s'.",
			c.token.text("aud"), strings.Join(allowed, "','")))
	}
	if _, ok := c.World.Tenant(c.tenant()); !ok {
		return deny("InvalidAuthenticationTokenTenant", "The access token is from the wrong issuer.")
	}
	if err := c.heldBy(key); err != nil {
		return deny("InvalidAuthenticationToken", err.Error())
	}
	return true
}

// armMetadata describes the emulator as a cloud. The answer's shape follows
// the api-version: one object from 2022 on and before 2019, a list between.
func (c *call) armMetadata(version string) {
	arm, authority, graph := c.ARMURL, c.AuthorityURL(c.r), c.GraphURL
	if strings.HasPrefix(c.r.Host, "management.") { // reached under its real name
		arm, graph = c.origin(), strings.Replace(c.origin(), "//management.azure.com", "//graph.microsoft.com", 1)
	}
	audiences := []string{"https://management.core.windows.net/", "https://management.azure.com/"}
	cloud := object{
		{"name", "FobEmulator"}, {"portal", authority}, {"resourceManager", arm}, {"gallery", arm}, {"graph", graph},
		{"graphAudience", "https://graph.microsoft.com/"}, {"microsoftGraphResourceId", graph + "/"},
		{"authentication", object{{"loginEndpoint", authority}, {"audiences", audiences}, {"tenant", "common"}, {"identityProvider", "AAD"}}},
		{"suffixes", object{{"keyVaultDns", "vault.azure.net"}, {"storage", "core.windows.net"}, {"sqlServerHostname", "database.windows.net"}}},
	}
	if version >= "2019" && version < "2022-09-01" {
		c.armSend([]object{cloud})
		return
	}
	c.armSend(append(cloud, member{"galleryEndpoint", arm}, member{"graphEndpoint", graph}, member{"portalEndpoint", authority}))
}

// armUnread says why a body could not be read.
func (c *call) armUnread(err error) {
	switch {
	case errors.Is(err, errTooLarge):
		c.armRefuse(http.StatusRequestEntityTooLarge, "RequestContentTooLarge", "The request content is larger than 4 MiB.")
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.armRefuse(http.StatusRequestTimeout, "RequestTimeout", bodyTooSlow)
	default:
		c.armRefuse(http.StatusBadRequest, "InvalidRequestContent", "The request content could not be read: "+err.Error())
	}
}

func (c *call) armSend(v any) {
	c.send(http.StatusOK, "application/json; charset=utf-8", v)
}

func (c *call) armRefuse(status int, code, message string) {
	c.send(status, "application/json; charset=utf-8", object{{"error", object{{"code", code}, {"message", message}}}})
}
