package graphsim

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// resourceGroups are those of the subscriptions, and who may do what in them.
type resourceGroups struct {
	mu          sync.Mutex // guards below
	of          map[string][]resourceGroup
	assignments map[string][]azureAssignment // by tenant; absent: as the world has them
}

type resourceGroup struct {
	name, location string
	tags           map[string]string
}

// locations are where a resource group can be: names, and what people call them.
var locations = [][2]string{{"eastus", "East US"}, {"westus", "West US"}, {"northeurope", "North Europe"}, {"westeurope", "West Europe"},
	{"germanywestcentral", "Germany West Central"}, {"switzerlandnorth", "Switzerland North"}, {"uksouth", "UK South"}, {"japaneast", "Japan East"}}

// inSubscription answers below the subscription of the caller's tenant.
func (c *call) inSubscription(path []string) {
	subscription := SubscriptionID(c.tenant())
	scope := "/subscriptions/" + subscription
	is := func(i int, name string) bool { return i < len(path) && strings.EqualFold(path[i], name) }
	switch {
	case len(path) == 0:
		if c.armGet() && c.readsSubscription(scope) {
			c.armSend(c.subscription(c.tenant()))
		}
	case len(path) == 1 && is(0, "locations"):
		if c.armGet() && c.readsSubscription(scope) {
			all := []object{}
			for _, l := range locations {
				all = append(all, object{{"id", scope + "/locations/" + l[0]}, {"name", l[0]}, {"type", "Region"}, {"displayName", l[1]},
					{"regionalDisplayName", l[1]}, {"metadata", object{{"regionType", "Physical"}}}})
			}
			c.armSend(object{{"value", all}})
		}
	case is(0, "resourceGroups") && len(path) <= 2:
		c.resourceGroups(path[1:])
	case is(0, "providers") && is(1, "Microsoft.Authorization") && len(path) > 2:
		c.authorization(scope, path[2:])
	case is(0, "resourceGroups") && is(2, "providers") && is(3, "Microsoft.Authorization") && len(path) > 4:
		c.azure.mu.Lock()
		at := c.azure.find(subscription, path[1])
		if at >= 0 {
			scope += "/resourceGroups/" + c.azure.of[subscription][at].name
		}
		c.azure.mu.Unlock()
		if at < 0 {
			c.noGroup(path[1])
			return
		}
		c.authorization(scope, path[4:])
	default:
		c.armMissing()
	}
}

// readsSubscription says whether the caller may know of the subscription, which
// everybody may who has a role in it, or answers.
func (c *call) readsSubscription(scope string) bool {
	c.azure.mu.Lock()
	defer c.azure.mu.Unlock()
	return c.inAzure() || c.azureAllowed("Microsoft.Resources/subscriptions/read", scope)
}

// find is where a group is among those of its subscription, -1 if there is none.
// The caller holds the lock.
func (g *resourceGroups) find(subscription, name string) int {
	return slices.IndexFunc(g.of[subscription], func(g resourceGroup) bool { return strings.EqualFold(g.name, name) })
}

func (c *call) noGroup(name string) {
	c.armRefuse(http.StatusNotFound, "ResourceGroupNotFound", "Resource group '"+name+"' could not be found.")
}

func (g resourceGroup) show(subscription string) object {
	o := object{{"id", "/subscriptions/" + subscription + "/resourceGroups/" + g.name}, {"name", g.name}, {"type", "Microsoft.Resources/resourceGroups"}, {"location", g.location}}
	if g.tags != nil {
		o = append(o, member{"tags", g.tags})
	}
	return append(o, member{"properties", object{{"provisioningState", "Succeeded"}}})
}

// resourceGroups answers for all groups of the subscription, or for the one that
// is named.
func (c *call) resourceGroups(named []string) {
	subscription := SubscriptionID(c.tenant())
	for name := range c.r.URL.Query() {
		if !strings.EqualFold(name, "api-version") && !strings.EqualFold(name, "forceDeletionTypes") {
			c.armRefuse(http.StatusBadRequest, "InvalidQueryParameter", "The emulator's resource groups have no query option '"+name+"'.")
			return
		}
	}
	body, err := readBody(c.w, c.r, maxBody)
	if err != nil {
		c.armUnread(err)
		return
	}
	g := &c.azure
	g.mu.Lock()
	defer g.mu.Unlock()
	const action = "Microsoft.Resources/subscriptions/resourceGroups/"
	scope := "/subscriptions/" + subscription
	if len(named) == 0 {
		if c.armGet() && (c.inAzure() || c.azureAllowed(action+"read", scope)) {
			all := []object{}
			for _, one := range g.of[subscription] {
				if c.azureMay(action+"read", scope+"/resourceGroups/"+one.name) {
					all = append(all, one.show(subscription))
				}
			}
			c.armSend(object{{"value", all}})
		}
		return
	}
	name := named[0]
	at := g.find(subscription, name)
	does := "read"
	switch c.r.Method {
	case http.MethodPut:
		does = "write"
	case http.MethodDelete:
		does = "delete"
	}
	switch {
	case !c.armMethod(http.MethodDelete, http.MethodGet, http.MethodHead, http.MethodPut), !c.azureAllowed(action+does, scope+"/resourceGroups/"+name):
	case c.r.Method == http.MethodPut:
		c.putGroup(subscription, name, at, body)
	case at < 0:
		c.noGroup(name)
	case c.r.Method == http.MethodGet:
		c.armSend(g.of[subscription][at].show(subscription))
	case c.r.Method == http.MethodHead:
		c.noContent()
	default: // nothing is in it that would take time
		g.of[subscription] = slices.Delete(slices.Clone(g.of[subscription]), at, at+1)
		c.w.WriteHeader(http.StatusOK)
	}
}

// putGroup makes a group, or gives one other tags. The caller holds the lock.
func (c *call) putGroup(subscription, name string, at int, body []byte) {
	g := &c.azure
	wanted, code, err := readGroup(name, body)
	if err != nil {
		c.armRefuse(http.StatusBadRequest, code, err.Error())
		return
	}
	if at < 0 {
		if g.of == nil {
			g.of = map[string][]resourceGroup{}
		}
		g.of[subscription] = append(g.of[subscription], wanted)
		c.send(http.StatusCreated, "application/json; charset=utf-8", wanted.show(subscription))
		return
	}
	old := &g.of[subscription][at]
	if old.location != wanted.location {
		c.armRefuse(http.StatusConflict, "InvalidResourceGroupLocation", fmt.Sprintf("Invalid resource group location '%s'. The Resource group already exists in location '%s'.", wanted.location, old.location))
		return
	}
	old.tags = wanted.tags
	c.armSend(old.show(subscription))
}

// readGroup reads the group that a body describes. code is Azure's for err.
func readGroup(name string, body []byte) (g resourceGroup, code string, err error) {
	invalid := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-.()_", r) {
			return -1
		}
		return r
	}, name)
	switch {
	case invalid != "":
		return g, "InvalidResourceGroup", fmt.Errorf("The provided resource group name '%s' has these invalid characters: '%s'. The name can only be a letter, digit, '-', '.', '(', ')' or '_'.", name, invalid)
	case len(name) > 90 || strings.HasSuffix(name, "."):
		return g, "InvalidResourceGroup", fmt.Errorf("The provided resource group name '%s' is longer than 90 characters or ends with a period.", name)
	}
	var sent map[string]json.RawMessage
	if json.Unmarshal(body, &sent) != nil || sent == nil {
		return g, "InvalidRequestContent", errors.New("The request content was invalid and could not be deserialized: an object is expected.")
	}
	g.name = name
	for member, value := range sent {
		switch member {
		case "location":
			err = json.Unmarshal(value, &g.location)
		case "tags":
			err = json.Unmarshal(value, &g.tags)
		case "id", "name", "type", "properties", "managedBy":
		default:
			err = errors.New("unknown")
		}
		if err != nil {
			return g, "InvalidRequestContent", fmt.Errorf("The request content was invalid and could not be deserialized: '%s' is not a member of a resource group, or of another type.", member)
		}
	}
	asked := g.location
	g.location = strings.ToLower(strings.ReplaceAll(asked, " ", ""))
	var known []string
	for _, l := range locations {
		known = append(known, l[0])
	}
	switch {
	case asked == "":
		return g, "LocationRequired", errors.New("The location property is required for this definition.")
	case !slices.Contains(known, g.location):
		return g, "LocationNotAvailableForResourceGroup", fmt.Errorf("The provided location '%s' is not available for resource group. List of available regions is '%s'.", asked, strings.Join(known, ","))
	}
	return g, "", nil
}
