package graphsim

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// entityType is a type of Graph: the properties it has, the ones it shows
// unasked, and where the values of those that the world knows come from.
type entityType struct {
	name  string
	set   string   // the collection it lives in, for context URLs
	bases []string // types whose properties it has too
	shown []string // nil: all of them
	// keys are the properties, besides id, that name an object in parentheses:
	// applications(appId='…').
	keys    []string
	expands []string // the relations that can be shown inside
	// value returns a property by its proper name, as JSON has it: nil, string,
	// bool, number, []string, object, []object, or what decoding JSON gives.
	// Not known means that nothing in the world fills it.
	value func(v any, name string) (value any, known bool)
	// strict types obey the rules that directory objects have for $filter,
	// $orderby and $search.
	strict bool
}

// singleOnly are properties that another service keeps: a single user has
// them, a collection answers 501.
var singleOnly = []string{"aboutMe", "birthday", "hireDate", "interests", "mySite", "pastProjects", "preferredName", "responsibilities", "schools", "skills", "mailboxSettings"}

// show writes the selected properties of v, or those that are shown unasked.
// A property that exists but that nothing in the world fills is null, or an
// empty collection.
func (t *entityType) show(v any, selected []string) object {
	names := selected
	if names == nil {
		names = t.shown
	}
	if names == nil || slices.Contains(names, "*") {
		names = t.names()
	}
	o := make(object, 0, len(names))
	for _, name := range names {
		if value, exists := t.get(v, name); exists {
			o = append(o, member{name, value})
		}
	}
	return o
}

// get returns a property. It does not exist if it was selected in a mixed
// collection and is of another type.
func (t *entityType) get(v any, name string) (value any, exists bool) {
	if value, known := t.value(v, name); known {
		return value, true
	}
	edm, exists := t.property(name)
	if strings.HasPrefix(edm, "Collection(") {
		return []any{}, exists
	}
	return nil, exists
}

// properties parses a $select and gives the names their proper case.
func (t *entityType) properties(list string) ([]string, error) {
	var out []string
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if name == "*" {
			out = append(out, name)
			continue
		}
		proper, ok := t.find(name)
		if !ok {
			return nil, t.unknown(name)
		}
		if !slices.Contains(out, proper) {
			out = append(out, proper)
		}
	}
	return out, nil
}

func (t *entityType) unknown(name string) error {
	return fmt.Errorf("Could not find a property named '%s' on type 'microsoft.graph.%s'.", name, t.name)
}

// family are the types whose members t has, its own ones last.
func (t *entityType) family() []string { return append([]string{"entity"}, append(t.bases, t.name)...) }

func (t *entityType) names() []string {
	var names []string
	for _, of := range t.family() {
		names = append(names, schema()[of].names...)
	}
	return names
}

// find returns the proper spelling of a property.
func (t *entityType) find(name string) (string, bool) {
	for _, of := range t.family() {
		if proper, ok := schema()[of].proper[strings.ToLower(name)]; ok {
			return proper, true
		}
	}
	return "", false
}

// property returns the EDM type of a property, by its proper name.
func (t *entityType) property(name string) (string, bool) {
	for _, of := range t.family() {
		if edm, ok := schema()[of].edm[name]; ok {
			return edm, true
		}
	}
	return "", false
}

// relation says whether t has a relation, and returns its proper spelling and
// the type that it leads to.
func (t *entityType) relation(name string) (proper, target string, ok bool) {
	for _, of := range t.family() {
		if proper, ok := schema()[of].relations[strings.ToLower(name)]; ok {
			return proper, schema()[of].targets[proper], true
		}
	}
	return "", "", false
}

type typeSchema struct {
	names     []string          // of properties, in the schema's order
	proper    map[string]string // lower case to proper name
	edm       map[string]string // proper name to EDM type
	solid     map[string]bool   // proper names of those that are never null
	links     []string          // of relations, in the schema's order
	relations map[string]string // lower case to proper name
	targets   map[string]string // proper name of a relation to the type it leads to
	members   []string          // of an enumeration
}

//go:embed properties.tsv
var propertiesTSV string

var schema = sync.OnceValue(func() map[string]typeSchema {
	types := map[string]typeSchema{}
	for f := range rows(propertiesTSV, 4) {
		t, ok := types[f[0]]
		if !ok {
			t = typeSchema{proper: map[string]string{}, edm: map[string]string{}, solid: map[string]bool{}, relations: map[string]string{}, targets: map[string]string{}}
		}
		switch {
		case f[2] == "enum":
			t.members = append(t.members, f[1])
		case f[3] == "nav":
			t.links = append(t.links, f[1])
			t.relations[strings.ToLower(f[1])] = f[1]
			t.targets[f[1]] = f[2]
		default:
			t.names = append(t.names, f[1])
			t.proper[strings.ToLower(f[1])] = f[1]
			t.edm[f[1]], t.solid[f[1]] = f[2], f[3] == "false"
		}
		types[f[0]] = t
	}
	return types
})

// rows yields the lines of a table that have n columns and are no comments.
func rows(table string, n int) func(yield func([]string) bool) {
	return func(yield func([]string) bool) {
		for line := range strings.Lines(table) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			if f := strings.Split(strings.TrimRight(line, "\r\n"), "\t"); len(f) == n && !yield(f) {
				return
			}
		}
	}
}
