package graphsim

import (
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strings"
)

// field is a member of a request body, by the proper name of the property.
type field struct {
	name  string
	value any
}

// readObject decodes the body, which must be a JSON object, or answers 400. A
// body that nobody sent is an empty object where that is enough.
func (c *call) readObject(required bool) (map[string]any, bool) {
	if len(c.body) == 0 && !required {
		return map[string]any{}, true
	}
	kind, _, _ := mime.ParseMediaType(c.r.Header.Get("Content-Type"))
	switch {
	case len(c.body) == 0:
		c.refuse(http.StatusBadRequest, "BadRequest", "Empty Payload. JSON content expected.")
		return nil, false
	case c.r.Header.Get("Content-Type") == "":
		c.refuse(http.StatusBadRequest, "BadRequest", "Write requests (excluding DELETE) must contain the Content-Type header declaration.")
		return nil, false
	case kind != "application/json" && !strings.HasSuffix(kind, "+json"):
		c.refuse(http.StatusUnsupportedMediaType, "UnsupportedMediaType", "The content type '"+kind+"' is not supported: send application/json.")
		return nil, false
	}
	var body map[string]any
	if err := json.Unmarshal(c.body, &body); err != nil || body == nil {
		c.refuse(http.StatusBadRequest, "BadRequest", "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.")
		return nil, false
	}
	return body, true
}

// parameter returns a parameter of an action. Clients write their names in any
// case: msgraph-sdk-go sends Message, the documentation says message.
func parameter(body map[string]any, name string) any {
	if v, ok := body[name]; ok {
		return v
	}
	for k, v := range body {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return nil
}

// fields checks the members of a body against a type, or answers 400. What
// belongs to OData is left out, but the names in also are let through.
func (c *call) fields(body map[string]any, t *entityType, readOnly []string, also ...string) ([]field, bool) {
	names := make([]string, 0, len(body))
	for name := range body {
		names = append(names, name)
	}
	slices.Sort(names)
	var out []field
	for _, name := range names {
		value := body[name]
		if slices.Contains(also, name) {
			out = append(out, field{name, value})
			continue
		}
		if strings.HasPrefix(name, "@odata.") {
			continue // msgraph-sdk-go says of everything what type it is
		}
		proper, ok := t.find(name)
		if !ok {
			c.refuse(http.StatusBadRequest, "Request_BadRequest", fmt.Sprintf("One or more property values specified are invalid: the property '%s' does not exist on type '%s'.", name, t.name))
			return nil, false
		}
		if slices.Contains(readOnly, proper) {
			c.refuse(http.StatusBadRequest, "Request_BadRequest", fmt.Sprintf("Property '%s' is read-only and cannot be set.", proper))
			return nil, false
		}
		edm, _ := t.property(proper)
		if !fits(value, edm) {
			c.refuse(http.StatusBadRequest, "Request_BadRequest", fmt.Sprintf("Invalid value specified for property '%s' of resource '%s'.", proper, upperFirst(t.name)))
			return nil, false
		}
		out = append(out, field{proper, value})
	}
	return out, true
}

// fits says whether a JSON value can be of an EDM type.
func fits(v any, edm string) bool {
	switch v := v.(type) {
	case nil:
		return !strings.HasPrefix(edm, "Collection(")
	case string:
		if edm == "Edm.DateTimeOffset" {
			_, err := parseDate(v)
			return err == nil
		}
		return edm == "Edm.String" || edm == "Edm.Guid" || edm == "Edm.Binary" || !strings.HasPrefix(edm, "Edm.") && schema()[edm].names == nil
	case bool:
		return edm == "Edm.Boolean"
	case float64:
		return edm == "Edm.Int32" || edm == "Edm.Int64" || edm == "Edm.Double"
	case []any:
		element, ok := strings.CutPrefix(edm, "Collection(")
		return ok && !slices.ContainsFunc(v, func(e any) bool { return e == nil || !fits(e, strings.TrimSuffix(element, ")")) })
	case map[string]any:
		return !strings.HasPrefix(edm, "Edm.") && !strings.HasPrefix(edm, "Collection(")
	}
	return false
}

// require answers 400 if one of some properties is missing or null.
func (c *call) require(fields []field, t *entityType, names ...string) bool {
	for _, name := range names {
		i := slices.IndexFunc(fields, func(f field) bool { return f.name == name })
		if i < 0 || fields[i].value == nil || fields[i].value == "" {
			c.refuse(http.StatusBadRequest, "Request_BadRequest", fmt.Sprintf("A value is required for property '%s' of resource '%s'.", name, upperFirst(t.name)))
			return false
		}
	}
	return true
}

// reference returns the object id at the end of a body's @odata.id, or answers
// 400.
func (c *call) reference() (id string, ok bool) {
	body, ok := c.readObject(true)
	if !ok {
		return "", false
	}
	address, _ := body["@odata.id"].(string)
	if id, ok = c.referred(address); !ok {
		c.refuse(http.StatusBadRequest, "Request_BadRequest", "Invalid URL format specified in @odata.id property. Please specify a valid URL for the target resource.")
	}
	return id, ok
}

// referred returns the object id that an address ends with. Whatever host it
// names: scripts write graph.microsoft.com in bodies that go elsewhere.
func (c *call) referred(address string) (id string, ok bool) {
	path := address
	if _, rest, absolute := strings.Cut(address, "://"); absolute {
		_, path, _ = strings.Cut(rest, "/")
	}
	parts := strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune("/()'", r) })
	if len(parts) > 0 && (parts[0] == "v1.0" || parts[0] == "beta") {
		parts = parts[1:]
	}
	if len(parts) != 2 || !contains([]string{"directoryObjects", "users", "groups", "servicePrincipals"}, parts[0]) {
		return "", false
	}
	return parts[1], true
}

func str(v any) string { s, _ := v.(string); return s }

func stringsIn(v any) []string {
	var out []string
	for _, e := range list(v) {
		if s, ok := e.(string); ok {
			out = append(out, s)
		}
	}
	return out
}
