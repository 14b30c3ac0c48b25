package graphsim

import (
	"encoding/xml"
	"slices"
	"strings"
	"testing"
)

// edmx is what of a CSDL document these tests look at.
type edmx struct {
	Schema struct {
		Enums []struct {
			Name string `xml:",attr"`
		} `xml:"EnumType"`
		Complex   []edmType `xml:"ComplexType"`
		Entities  []edmType `xml:"EntityType"`
		Container struct {
			Sets []struct {
				Name, EntityType string `xml:",attr"`
			} `xml:"EntitySet"`
			Singletons []struct {
				Name, Type string `xml:",attr"`
			} `xml:"Singleton"`
		} `xml:"EntityContainer"`
	} `xml:"DataServices>Schema"`
}

type edmType struct {
	Name       string `xml:",attr"`
	BaseType   string `xml:",attr"`
	Properties []struct {
		Name, Type string `xml:",attr"`
	} `xml:"Property"`
	Links []struct {
		Name, Type string `xml:",attr"`
	} `xml:"NavigationProperty"`
}

func (f *face) metadata(version string) edmx {
	f.t.Helper()
	a := f.get("/"+version+"/$metadata", "").want(f.t, "metadata", 200, "")
	var doc edmx
	if err := xml.Unmarshal([]byte(a.text), &doc); err != nil || a.header.Get("Content-Type") != "application/xml" {
		f.t.Fatalf("%v, %s", err, a.header.Get("Content-Type"))
	}
	return doc
}

func TestMetadataDescribesItselfCompletely(t *testing.T) {
	f := start(t)
	for _, version := range []string{"v1.0", "beta"} {
		s := f.metadata(version).Schema
		var known []string
		for _, e := range s.Enums {
			known = append(known, e.Name)
		}
		for _, ty := range slices.Concat(s.Complex, s.Entities) {
			known = append(known, ty.Name)
		}
		if slices.Sort(known); len(known) < 80 || len(slices.Compact(slices.Clone(known))) != len(known) {
			t.Errorf("%s: %d types, some twice: %v", version, len(known), known)
		}
		refers := func(from, to string) {
			to = strings.TrimSuffix(strings.TrimPrefix(to, "Collection("), ")")
			if name, own := strings.CutPrefix(to, "graph."); own && !slices.Contains(known, name) || !own && !strings.HasPrefix(to, "Edm.") {
				t.Errorf("%s: %s refers to %s, which is not described", version, from, to)
			}
		}
		for _, ty := range slices.Concat(s.Complex, s.Entities) {
			if ty.BaseType != "" {
				refers(ty.Name, ty.BaseType)
			}
			for _, p := range slices.Concat(ty.Properties, ty.Links) {
				refers(ty.Name+"/"+p.Name, p.Type)
			}
		}
		for _, set := range s.Container.Sets {
			refers(set.Name, set.EntityType)
		}
		for _, one := range s.Container.Singletons {
			refers(one.Name, one.Type)
		}
	}
}

func TestMetadataSaysWhatAnswersHave(t *testing.T) {
	f := start(t)
	s := f.metadata("v1.0").Schema
	find := func(name string) edmType {
		i := slices.IndexFunc(s.Entities, func(e edmType) bool { return e.Name == name })
		if i < 0 {
			t.Fatalf("no entity type %s", name)
		}
		return s.Entities[i]
	}
	for _, set := range s.Container.Sets {
		if set.Name == "directoryObjects" || set.Name == "signIns" || set.Name == "sites" { // there is no list of them
			continue
		}
		a := f.get("/v1.0/"+set.Name+"?$select=*", user("Directory.AccessAsUser.All")).want(t, set.Name, 200, "")
		var names []string
		for ty := set.EntityType; ty != ""; {
			e := find(strings.TrimPrefix(ty, "graph."))
			for _, p := range e.Properties {
				names = append(names, p.Name)
			}
			ty = e.BaseType
		}
		if len(a.body["value"].([]any)) == 0 {
			continue
		}
		for name := range a.body["value"].([]any)[0].(map[string]any) {
			if !strings.HasPrefix(name, "@") && !slices.Contains(names, name) {
				t.Errorf("%s has %s, which $metadata does not", set.Name, name)
			}
		}
	}
	links := func(name string) (out []string) {
		for _, l := range find(name).Links {
			out = append(out, l.Name)
		}
		return out
	}
	if got := links("user"); !slices.Contains(got, "memberOf") || !slices.Contains(got, "messages") || slices.Contains(got, "calendar") {
		t.Errorf("relations of users: %v", got)
	}
	beta := f.metadata("beta").Schema
	has := func(types []edmType) bool {
		return slices.ContainsFunc(types, func(e edmType) bool {
			return e.Name == "signIn" && slices.ContainsFunc(e.Properties, func(p struct {
				Name, Type string `xml:",attr"`
			}) bool {
				return p.Name == "signInEventTypes"
			})
		})
	}
	if has(s.Entities) || !has(beta.Entities) {
		t.Error("signInEventTypes is not of the beta version alone")
	}
	f.write("POST", "/v1.0/$metadata", app("User.Read.All"), `{}`).want(t, "POST", 501, "NotImplemented")
}
