package insight

import (
	_ "embed"
	"net/url"
	"regexp"
	"strings"
	"sync"
)

//go:embed data/apis.tsv
var apisTable string

//go:embed data/clients.tsv
var clientsTable string

//go:embed data/hosts.tsv
var hostsTable string

// API is one API that tokens are for.
type API struct {
	// Name is what people call it; empty when it is not one of Microsoft's.
	Name string `json:"name,omitempty"`
	// Resource is the audience as a URI or an application id.
	Resource string `json:"resource"`
	// AppID is the API's application id, when it is known.
	AppID string `json:"appId,omitempty"`
	// URIs are the resource URIs that mean this API.
	URIs []string `json:"-"`
}

const graphAppID = "00000003-0000-0000-c000-000000000000"

var guidForm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)
})

func isGUID(s string) bool { return len(s) == 36 && guidForm().MatchString(s) }

func tableRows(table string) [][]string {
	var rows [][]string
	for line := range strings.Lines(table) {
		if line = strings.TrimRight(line, "\n"); line != "" && line[0] != '#' {
			rows = append(rows, strings.Split(line, "\t"))
		}
	}
	return rows
}

var knownAPIs = sync.OnceValue(func() []API {
	var all []API
	for _, row := range tableRows(apisTable) {
		all = append(all, API{Name: row[1], AppID: row[0], Resource: row[0], URIs: strings.Fields(row[2])})
	}
	return all
})

var knownClients = sync.OnceValue(func() map[string]string {
	all := map[string]string{}
	for _, row := range tableRows(clientsTable) {
		all[row[0]] = row[1]
	}
	return all
})

var knownHosts = sync.OnceValue(func() [][]string { return tableRows(hostsTable) })

// apiOf says which API an audience names: an application id, a resource URI in
// any spelling, or api:// and one of them.
func apiOf(audience string) API {
	plain := strings.ToLower(strings.TrimRight(audience, "/"))
	for _, a := range knownAPIs() {
		if a.AppID == plain || a.AppID == strings.TrimPrefix(plain, "api://") {
			return API{a.Name, audience, a.AppID, a.URIs}
		}
		for _, uri := range a.URIs {
			if uri == plain {
				return API{a.Name, audience, a.AppID, a.URIs}
			}
		}
	}
	for _, row := range knownHosts() {
		if strings.EqualFold(row[1], plain) || row[1] == "{scheme}://{host}" && strings.HasPrefix(plain, "https://") && hostMatches(row[0], plain[len("https://"):]) {
			return API{Name: row[2], Resource: audience}
		}
	}
	if strings.HasPrefix(strings.ToLower(audience), "api://azureadtokenexchange") {
		return API{Name: "Entra's token exchange (workload identity federation)", Resource: audience}
	}
	return API{Resource: audience}
}

// shortNames are the words that stand for an API.
var shortNames = map[string]string{
	"graph": "https://graph.microsoft.com", "msgraph": "https://graph.microsoft.com",
	"arm": "https://management.azure.com", "azure": "https://management.azure.com",
	"vault": "https://vault.azure.net", "keyvault": "https://vault.azure.net",
	"storage": "https://storage.azure.com", "sql": "https://database.windows.net",
	"devops": "499b84ac-1321-427f-aa17-267ca6975798", "powerbi": "https://analysis.windows.net/powerbi/api",
	"outlook": "https://outlook.office365.com", "kusto": "https://kusto.kusto.windows.net",
	"servicebus": "https://servicebus.azure.net", "eventhubs": "https://eventhubs.azure.net",
}

// apiWanted says which API is behind what a person typed: a URL to call, a
// resource URI, an application id, a scope or a short name.
func apiWanted(text string) (api API, address *url.URL) {
	text = strings.TrimSpace(text)
	if uri, ok := shortNames[strings.ToLower(text)]; ok {
		return apiOf(uri), nil
	}
	resource := strings.TrimSuffix(text, "/.default")
	if known := apiOf(resource); known.Name != "" {
		u, err := url.Parse(resource)
		if err != nil || u.Path == "" || u.Path == "/" || known.Name == "Power BI" {
			return known, nil
		}
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" {
		return apiOf(resource), nil
	}
	best := -1
	var row []string
	for _, r := range knownHosts() {
		if size := len(strings.ReplaceAll(r[0], "*", "")); size > best && hostMatches(r[0], u.Hostname()) {
			best, row = size, r
		}
	}
	if row == nil {
		return API{Resource: resource}, u
	}
	if row[1] == "{scheme}://{host}" {
		return API{Name: row[2], Resource: u.Scheme + "://" + strings.ToLower(u.Hostname())}, u
	}
	api = apiOf(row[1])
	if api.Name == "" {
		api.Name = row[2]
	}
	return api, u
}

// hostMatches compares a host with a pattern in which "*" stands for at least
// one character.
func hostMatches(pattern, host string) bool {
	host = strings.ToLower(host)
	pieces := strings.Split(pattern, "*")
	if len(pieces) == 1 {
		return pattern == host
	}
	if !strings.HasPrefix(host, pieces[0]) || !strings.HasSuffix(host, pieces[len(pieces)-1]) || len(host) < len(pattern) {
		return false
	}
	host = host[len(pieces[0]):]
	for _, piece := range pieces[1:] {
		if len(host) < 1+len(piece) {
			return false
		}
		i := strings.Index(host[1:], piece)
		if i < 0 {
			return false
		}
		host = host[1+i+len(piece):]
	}
	return true
}

// label names an API for people.
func (a API) label() string {
	switch {
	case a.Name == "":
		return tidy(a.Resource)
	case a.Resource == "":
		return a.Name
	}
	return a.Name + " (" + tidy(a.Resource) + ")"
}
