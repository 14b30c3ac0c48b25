package cli

import (
	"sort"
	"strings"
	"sync"

	"github.com/fobauth/fob"
)

// resources are the short names of --resource in the public, US Government and
// China cloud; an empty one means that it is the public cloud's, "-" that
// there is none that we know of.
var resources = sync.OnceValue(func() map[string][3]string {
	return map[string][3]string{
		"graph":         {"https://graph.microsoft.com", "https://graph.microsoft.us", "https://microsoftgraph.chinacloudapi.cn"},
		"arm":           {"https://management.azure.com", "https://management.usgovcloudapi.net", "https://management.chinacloudapi.cn"},
		"vault":         {"https://vault.azure.net", "https://vault.usgovcloudapi.net", "https://vault.azure.cn"},
		"managedhsm":    {"https://managedhsm.azure.net", "https://managedhsm.usgovcloudapi.net", "https://managedhsm.azure.cn"},
		"storage":       {"https://storage.azure.com"}, // the same in all clouds
		"sql":           {"https://database.windows.net", "https://database.usgovcloudapi.net", "https://database.chinacloudapi.cn"},
		"ossrdbms":      {"https://ossrdbms-aad.database.windows.net", "https://ossrdbms-aad.database.usgovcloudapi.net", "https://ossrdbms-aad.database.chinacloudapi.cn"},
		"devops":        {"499b84ac-1321-427f-aa17-267ca6975798", "-", "-"},
		"kusto":         {"https://kusto.kusto.windows.net", "https://kusto.kusto.usgovcloudapi.net", "-"},
		"powerbi":       {"https://analysis.windows.net/powerbi/api", "-", "-"},
		"fabric":        {"https://api.fabric.microsoft.com", "-", "-"},
		"servicebus":    {"https://servicebus.azure.net/"},
		"eventhubs":     {"https://eventhubs.azure.net/"},
		"cosmos":        {"https://cosmos.azure.com", "https://cosmos.azure.us", "-"},
		"search":        {"https://search.azure.com", "https://search.azure.us", "https://search.azure.cn"},
		"cognitive":     {"https://cognitiveservices.azure.com", "-", "-"},
		"databricks":    {"2ff814a6-3304-4ab8-85cb-cd0e6f879c1d"},
		"aks":           {"6dae42f8-4368-4678-94ff-3960e28e3630"},
		"acr":           {"https://containerregistry.azure.net", "-", "-"},
		"loganalytics":  {"https://api.loganalytics.io", "https://api.loganalytics.us", "https://api.loganalytics.azure.cn"},
		"appinsights":   {"https://api.applicationinsights.io", "-", "-"},
		"batch":         {"https://batch.core.windows.net", "https://batch.core.usgovcloudapi.net", "https://batch.chinacloudapi.cn"},
		"monitor":       {"https://monitor.azure.com/", "-", "-"},
		"powerplatform": {"https://service.powerapps.com", "-", "-"},
	}
})

// resourceAliases are other usual words for the same.
var resourceAliases = sync.OnceValue(func() map[string]string {
	return map[string]string{
		"msgraph": "graph", "ms-graph": "graph", "resourcemanager": "arm", "azure": "arm", "management": "arm",
		"keyvault": "vault", "oss-rdbms": "ossrdbms", "postgres": "ossrdbms", "mysql": "ossrdbms", "database": "sql",
		"ado": "devops", "azuredevops": "devops", "adx": "kusto", "dataexplorer": "kusto", "power-bi": "powerbi",
		"openai": "cognitive", "blob": "storage", "containerregistry": "acr", "cosmosdb": "cosmos", "eventhub": "eventhubs",
	}
})

// resourceScope turns a resource into the scope that stands for all that was
// granted there. A resource that ends in a slash gets a second one: it is part
// of the resource's name, and the token's audience keeps it.
func resourceScope(resource string, cloud fob.Cloud) (string, error) {
	resource = strings.TrimSpace(resource)
	switch {
	case resource == "":
		return "", &problem{status: StatusUsage, text: "--resource is empty", fix: "name a resource: " + strings.Join(resourceNames(), ", ") + ", a URL or an id"}
	case strings.HasSuffix(resource, "/.default"):
		return resource, nil
	case strings.Contains(resource, "://"), isGUID(resource):
		return resource + "/.default", nil
	}
	name := strings.ToLower(resource)
	if alias := resourceAliases()[name]; alias != "" {
		name = alias
	}
	known, ok := resources()[name]
	if !ok {
		p := &problem{status: StatusUsage, text: "there is no resource " + quoted(resource),
			fix: "give its URL (https://…), its id, or one of " + strings.Join(resourceNames(), ", ")}
		if strings.Contains(resource, ".") {
			p.fix = "write it as a URL"
			p.try = "fob token --resource https://" + resource
		}
		return "", p
	}
	id := known[map[string]int{"public": 0, "usgov": 1, "china": 2}[cloud.Name]]
	if id == "" {
		id = known[0]
	}
	if id == "-" {
		return "", &problem{status: StatusUsage, text: "fob does not know the resource " + quoted(resource) + " of the cloud " + cloud.Name, fix: "give its URL"}
	}
	return id + "/.default", nil
}

func resourceNames() []string {
	names := make([]string, 0, len(resources()))
	for name := range resources() {
		names = append(names, name)
	}
	sort.Strings(names)
	return names
}

// defaultScopeOf is the scope that stands for everything of the resource of
// scope.
func defaultScopeOf(scope string) string {
	if strings.HasSuffix(scope, "/.default") {
		return scope
	}
	if i := strings.LastIndexByte(scope, '/'); i >= 0 && strings.Contains(scope, "://") {
		if prefix := scope[:i]; !strings.HasSuffix(prefix, ":/") && !strings.HasSuffix(prefix, ":") {
			return prefix + "/.default"
		}
		return scope + "/.default"
	}
	if isGUID(scope) {
		return scope + "/.default"
	}
	return fob.Public.Graph + "/.default" // a bare word means Graph
}

// isGUID reports whether s has the form of an id of Entra's.
func isGUID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i := range len(s) {
		switch c := s[i]; {
		case i == 8 || i == 13 || i == 18 || i == 23:
			if c != '-' {
				return false
			}
		case !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'f'):
			return false
		}
	}
	return true
}
