package graphsim

import (
	"net/http"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// The root site is all of SharePoint that there is: clients ask it for the host
// that the others would be on.

var siteType = &entityType{name: "site", set: "sites",
	value: func(v any, name string) (any, bool) {
		t := v.(*directory.Tenant)
		switch name {
		case "id":
			return siteID(t.ID), true
		case "displayName", "name":
			return t.Name, true
		case "webUrl":
			return "https://" + siteHost, true
		case "root":
			return object{}, true
		case "siteCollection":
			return object{{"hostname", siteHost}}, true
		}
		return nil, false
	}}

// siteID is made of the host, and of the ids of a site collection and a site.
func siteID(tenant string) string {
	return siteHost + "," + derivedID("site collection", tenant) + "," + derivedID("site", tenant)
}

func (c *call) site() {
	q, ok := c.query(siteType, 0)
	if !ok {
		return
	}
	id := c.arg(0)
	if !strings.EqualFold(id, "root") && !strings.EqualFold(id, siteHost) && !strings.EqualFold(id, siteID(c.tenant())) {
		c.refuse(http.StatusNotFound, "itemNotFound", "Requested site could not be found: the emulator has the root site only.")
		return
	}
	t, _ := c.World.Tenant(c.tenant())
	c.entity("sites"+q.columns()+"/$entity", siteType.show(t, q.selected))
}
