package graphsim

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// entityTypes are the types of all that has an id, in a version.
func entityTypes(version string) []*entityType {
	signIns := signInType
	if version == "beta" {
		signIns = betaSignInType
	}
	return []*entityType{userType, groupType, applicationType, principalType, organizationType, domainType, roleType, roleTemplateType, deviceType,
		assignmentType, consentType, federatedType, skuType, licenseType, messageType, folderType, attachmentType, itemAttachmentType, referenceAttachmentType, itemType, signIns, auditType,
		driveType, siteType, {name: "profilePhoto"}, {name: "auditLogRoot"}}
}

// csdl answers with the description of what is here, as OData has it: made of
// the same tables as the answers.
func (c *call) csdl() {
	entities := map[string]*entityType{"entity": nil}
	for _, t := range entityTypes(c.version) {
		entities[t.name] = t
		for _, base := range t.bases {
			if entities[base] == nil && !ofBeta(base) {
				entities[base] = &entityType{name: base}
			}
		}
	}
	d := &description{entities: entities, types: schema(), opaque: map[string]bool{}}
	d.line(0, `<?xml version="1.0" encoding="utf-8"?>`)
	d.line(0, `<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>`)
	d.line(0, `<Schema Namespace="microsoft.graph" Alias="graph" xmlns="http://docs.oasis-open.org/odata/ns/edm">`)
	named := maps.Clone(entities) // some have no properties of their own
	for name := range d.types {
		named[name] = entities[name]
	}
	for _, name := range slices.Sorted(maps.Keys(named)) {
		t := d.types[name]
		switch entity, is := entities[name]; {
		case ofBeta(name):
		case t.members != nil:
			d.enum(name, t.members)
		case is:
			d.entity(name, entity)
		default:
			d.line(1, `<ComplexType Name="%s">`, name)
			d.properties(t)
			d.line(1, `</ComplexType>`)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(d.opaque)) {
		d.line(1, `<ComplexType Name="%s" OpenType="true"/>`, name)
	}
	d.container()
	d.line(0, `</Schema></edmx:DataServices></edmx:Edmx>`)
	c.w.Header().Set("Content-Type", "application/xml")
	c.w.WriteHeader(http.StatusOK)
	_, _ = c.w.Write([]byte(d.String()))
}

// ofBeta says whether a name of the tables stands for what a type has in the
// beta version only.
func ofBeta(name string) bool { return strings.HasPrefix(name, "beta") }

// description is a CSDL document that is being written. Names of the tables
// need no escapes.
type description struct {
	strings.Builder
	entities map[string]*entityType
	types    map[string]typeSchema
	opaque   map[string]bool // types that nobody described
}

func (d *description) line(indent int, format string, args ...any) {
	d.WriteString(strings.Repeat("  ", indent))
	fmt.Fprintf(d, format+"\n", args...)
}

func (d *description) enum(name string, members []string) {
	d.line(1, `<EnumType Name="%s">`, name)
	for i, m := range members {
		d.line(2, `<Member Name="%s" Value="%d"/>`, m, i)
	}
	d.line(1, `</EnumType>`)
}

func (d *description) entity(name string, t *entityType) {
	if t == nil { // entity itself
		d.line(1, `<EntityType Name="%s" Abstract="true">`, name)
		d.line(2, `<Key><PropertyRef Name="id"/></Key>`)
	} else {
		base := "entity"
		for _, b := range t.bases {
			if !ofBeta(b) {
				base = b
			}
		}
		d.line(1, `<EntityType Name="%s" BaseType="graph.%s">`, name, base)
	}
	d.properties(d.types[name])
	if t != nil {
		for _, b := range t.bases {
			if ofBeta(b) {
				d.properties(d.types[b])
			}
		}
	}
	for _, link := range d.types[name].links {
		target := d.types[name].targets[link]
		element := strings.TrimSuffix(strings.TrimPrefix(target, "Collection("), ")")
		if _, described := d.entities[element]; !described || !implemented(t, link) {
			continue
		}
		contained := ""
		if to := d.entities[element]; element != "directoryObject" && (to == nil || rootNode(to.set) == nil) {
			contained = ` ContainsTarget="true"`
		}
		d.line(2, `<NavigationProperty Name="%s" Type="%s"%s/>`, link, qualified(target), contained)
	}
	if t != nil && len(t.keys) > 0 {
		d.line(2, `<Annotation Term="Org.OData.Core.V1.AlternateKeys"><Collection>`)
		for _, key := range t.keys {
			d.line(3, `<Record Type="Org.OData.Core.V1.AlternateKey"><PropertyValue Property="Key"><Collection><Record Type="Org.OData.Core.V1.PropertyRef">`+
				`<PropertyValue Property="Alias" String="%s"/><PropertyValue Property="Name" PropertyPath="%s"/></Record></Collection></PropertyValue></Record>`, key, key)
		}
		d.line(2, `</Collection></Annotation>`)
	}
	d.line(1, `</EntityType>`)
}

func (d *description) properties(t typeSchema) {
	for _, name := range t.names {
		edm := t.edm[name]
		element := strings.TrimSuffix(strings.TrimPrefix(edm, "Collection("), ")")
		if _, described := d.types[element]; !described && !strings.HasPrefix(element, "Edm.") {
			d.opaque[element] = true
		}
		nullable := ""
		if t.solid[name] {
			nullable = ` Nullable="false"`
		}
		d.line(2, `<Property Name="%s" Type="%s"%s/>`, name, qualified(edm), nullable)
	}
}

// container lists where paths begin.
func (d *description) container() {
	d.line(1, `<EntityContainer Name="GraphService">`)
	for _, name := range slices.Sorted(maps.Keys(d.entities)) {
		if t := d.entities[name]; t != nil && rootNode(t.set) != nil {
			d.line(2, `<EntitySet Name="%s" EntityType="graph.%s"/>`, t.set, name)
		}
	}
	d.line(2, `<EntitySet Name="directoryObjects" EntityType="graph.directoryObject"/>`)
	d.line(2, `<Singleton Name="auditLogs" Type="graph.auditLogRoot"/>`)
	d.line(2, `<Singleton Name="me" Type="graph.user"/>`)
	d.line(1, `</EntityContainer>`)
}

// rootNode is the node of a collection that paths begin with.
func rootNode(set string) *node {
	if set == "" {
		return nil
	}
	return routeTree().next[strings.ToLower(set)]
}

// implemented says whether a relation of a type leads anywhere here. That of
// what is inside of others does if its target is described.
func implemented(t *entityType, link string) bool {
	if t == nil || rootNode(t.set) == nil {
		return true
	}
	at := rootNode(t.set).next["{id}"]
	return at != nil && at.next[strings.ToLower(link)] != nil
}

// qualified is a type's name as the document has it.
func qualified(edm string) string {
	if element, ok := strings.CutPrefix(edm, "Collection("); ok {
		return "Collection(" + qualified(strings.TrimSuffix(element, ")")) + ")"
	}
	if strings.HasPrefix(edm, "Edm.") {
		return edm
	}
	return "graph." + edm
}
