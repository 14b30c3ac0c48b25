package graphsim

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// field is a member of a request body, by the proper name of the property.
type field struct {
	name  string
	value any
}

// fields are the members of a request body.
type fields []field

// get returns the value of a field, nil if it is not there.
func (f fields) get(name string) any {
	for _, field := range f {
		if field.name == name {
			return field.value
		}
	}
	return nil
}

func (f fields) text(name string) string { return str(f.get(name)) }

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
	// Members twice and bad UTF-8 are no valid JSON here, as in Graph.
	if !jsontext.Value(c.body).IsValid() || json.Unmarshal(c.body, &body) != nil || body == nil {
		c.refuse(http.StatusBadRequest, "BadRequest", "Unable to read JSON request payload. Please ensure Content-Type header is set and payload is of valid JSON format.")
		return nil, false
	}
	return body, true
}

// action reads the parameters of an action, or answers 400. Each is given by its
// name and its type. Clients write the names in any case: msgraph-sdk-go sends
// Message, the documentation says message.
func (c *call) action(name string, required bool, parameters ...string) (map[string]any, bool) {
	body, ok := c.readObject(required)
	if !ok || !c.noOptions() {
		return nil, false
	}
	given := map[string]any{}
	for _, sent := range slices.Sorted(maps.Keys(body)) {
		if annotation(sent) {
			continue
		}
		i := slices.IndexFunc(parameters, func(p string) bool { n, _, _ := strings.Cut(p, " "); return strings.EqualFold(n, sent) })
		if i < 0 {
			c.refuse(http.StatusBadRequest, "BadRequest", "The parameter '"+sent+"' in the request payload is not a valid parameter for the operation '"+name+"'.")
			return nil, false
		}
		proper, edm, _ := strings.Cut(parameters[i], " ")
		if _, twice := given[proper]; twice {
			c.refuse(http.StatusBadRequest, "BadRequest", "The parameter '"+proper+"' of the operation '"+name+"' is given more than once.")
			return nil, false
		}
		value, err := conform(body[sent], edm)
		if err != nil {
			c.nonconforming(err, "parameter '"+proper+"' of the operation '"+name+"'")
			return nil, false
		}
		given[proper] = value
	}
	return given, true
}

// annotation says whether a member of a body is OData's own: msgraph-sdk-go
// says of everything what type it is.
func annotation(name string) bool {
	return strings.HasPrefix(name, "@odata.") || strings.HasSuffix(name, "@odata.type")
}

// fields reads a body that is an object of a type, or answers 400. A request
// with one has no query options.
func (c *call) fields(t *entityType, readOnly []string, also ...string) (fields, bool) {
	body, ok := c.readObject(true)
	if !ok || !c.noOptions() {
		return nil, false
	}
	return c.fieldsOf(body, t, readOnly, also...)
}

// fieldsOf checks the members of an object against a type, or answers 400. What
// belongs to OData is left out, but the names in also are let through.
func (c *call) fieldsOf(body map[string]any, t *entityType, readOnly []string, also ...string) (fields, bool) {
	var out fields
	for _, name := range slices.Sorted(maps.Keys(body)) {
		value := body[name]
		if slices.Contains(also, name) {
			out = append(out, field{name, value})
			continue
		}
		if annotation(name) {
			continue
		}
		proper, ok := t.find(name)
		if !ok {
			c.nonconforming(unknownProperty{name, t.name}, "")
			return nil, false
		}
		if slices.ContainsFunc(out, func(f field) bool { return f.name == proper }) {
			c.refuse(http.StatusBadRequest, "Request_BadRequest", "The property '"+proper+"' is given more than once.")
			return nil, false
		}
		if slices.Contains(readOnly, proper) {
			c.refuse(http.StatusBadRequest, "Request_BadRequest", fmt.Sprintf("Property '%s' is read-only and cannot be set.", proper))
			return nil, false
		}
		edm, _ := t.property(proper)
		value, err := conform(value, edm)
		if err != nil {
			c.nonconforming(err, fmt.Sprintf("property '%s' of resource '%s'", proper, upperFirst(t.name)))
			return nil, false
		}
		out = append(out, field{proper, value})
	}
	return out, true
}

// nonconforming answers 400 for a value that does not conform: the directory
// and Outlook have words of their own for it.
func (c *call) nonconforming(err error, of string) {
	unknown, is := err.(unknownProperty)
	switch {
	case !is:
		c.refuse(http.StatusBadRequest, "Request_BadRequest", "Invalid value specified for "+of+".")
	case c.at.face == directoryWork:
		c.refuse(http.StatusBadRequest, "Request_BadRequest", "Invalid property '"+unknown.name+"'.")
	default:
		c.refuse(http.StatusBadRequest, "RequestBodyRead", err.Error())
	}
}

// unknownProperty is a member that a type does not have.
type unknownProperty struct{ name, of string }

func (u unknownProperty) Error() string {
	return fmt.Sprintf("The property '%s' does not exist on type 'microsoft.graph.%s'. Make sure to only use property names that are defined by the type or mark the type as open type.", u.name, u.of)
}

var errUnfit = errors.New("the value is of another type")

// conform checks a JSON value against an EDM type, and gives the members of
// objects their proper names. Of types that nobody described, and of objects
// that are entities themselves, it only sees that they are objects.
func conform(v any, edm string) (any, error) {
	switch v := v.(type) {
	case map[string]any:
		t := schema()[edm]
		if !fits(v, edm) || t.names == nil || len(t.relations) > 0 {
			break
		}
		out := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if annotation(name) {
				continue
			}
			proper, ok := t.proper[strings.ToLower(name)]
			if !ok {
				return nil, unknownProperty{name, edm}
			}
			value, err := conform(v[name], t.edm[proper])
			if err != nil {
				return nil, err
			}
			out[proper] = value
		}
		return out, nil
	case []any:
		element, ok := strings.CutPrefix(edm, "Collection(")
		if !ok {
			break
		}
		out := make([]any, len(v))
		for i, e := range v {
			value, err := conform(e, strings.TrimSuffix(element, ")"))
			if err != nil || e == nil {
				return nil, cmp.Or(err, errUnfit)
			}
			out[i] = value
		}
		return out, nil
	}
	if !fits(v, edm) {
		return nil, errUnfit
	}
	if members := schema()[edm].members; members != nil && v != nil {
		i := slices.IndexFunc(members, func(m string) bool { return strings.EqualFold(m, str(v)) })
		if i < 0 {
			return nil, errUnfit
		}
		return members[i], nil
	}
	return v, nil
}

// fits says whether a JSON value that is no list can be of an EDM type.
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
	case map[string]any:
		return !strings.HasPrefix(edm, "Edm.") && !strings.HasPrefix(edm, "Collection(")
	}
	return false
}

// require answers 400 if one of some properties is missing or null.
func (c *call) require(given fields, t *entityType, names ...string) bool {
	for _, name := range names {
		if v := given.get(name); v == nil || v == "" {
			c.refuse(http.StatusBadRequest, "Request_BadRequest", fmt.Sprintf("A value is required for property '%s' of resource '%s'.", name, upperFirst(t.name)))
			return false
		}
	}
	return true
}

// reference returns the object that a body's @odata.id refers to, or answers 400
// or 404.
func (c *call) reference() (v any, ok bool) {
	body, ok := c.readObject(true)
	if !ok || !c.noOptions() {
		return nil, false
	}
	for name := range body {
		if !annotation(name) {
			c.refuse(http.StatusBadRequest, "Request_BadRequest", "Invalid property '"+name+"'.")
			return nil, false
		}
	}
	id, ok := c.referred(str(body["@odata.id"]))
	if !ok {
		c.refuse(http.StatusBadRequest, "Request_BadRequest", "Invalid URL format specified in @odata.id property. Please specify a valid URL for the target resource.")
		return nil, false
	}
	if v, ok = c.object(id); !ok {
		c.notFound(id)
	}
	return v, ok
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
	if len(parts) != 2 || !contains([]string{"directoryObjects", "users", "groups", "servicePrincipals", "devices"}, parts[0]) {
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
