package graphsim

import (
	"encoding/json"
	"net/http"
	"strings"
)

// upsertKeys are the keys by which an object that is missing can be made, by the
// sets that they are of.
var upsertKeys = map[string]string{"applications": "uniqueName", "groups": "uniqueName", "servicePrincipals": "appId"}

// upsert turns a PATCH of something that is named by such a key, but is not
// there, into the POST that makes it, if the client prefers that
// (Prefer: create-if-missing). It returns the path to go on with.
func (c *call) upsert(path []string) []string {
	if c.r.Method != http.MethodPatch || len(path) != 2 || !c.prefers("create-if-missing") {
		return path
	}
	for set, key := range upsertKeys {
		name, value, named := strings.Cut(path[1], "=")
		if !strings.EqualFold(path[0], set) || !named || !strings.EqualFold(strings.TrimSpace(name), key) || unquote(value) == value {
			continue
		}
		var body map[string]any
		if _, there := c.idBy(typeOfSet(set), key, unquote(value)); there || json.Unmarshal(c.body, &body) != nil || body == nil {
			return path
		}
		body[key] = unquote(value)
		if set == "servicePrincipals" {
			delete(body, "displayName") // it has that of the app
		}
		c.body, _ = json.Marshal(body)
		c.r = c.r.Clone(c.r.Context())
		c.r.Method = http.MethodPost
		c.applied("create-if-missing")
		return path[:1]
	}
	return path
}
