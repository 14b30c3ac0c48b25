package graphsim

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// subscription is a product of a tenant, and how many of its users have it.
type subscription struct {
	directory.SKU
	tenant *directory.Tenant
	used   int
}

var skuType = &entityType{name: "subscribedSku", set: "subscribedSkus",
	value: func(v any, name string) (any, bool) {
		s := v.(subscription)
		switch name {
		case "id":
			return s.id(), true
		case "accountId":
			return s.tenant.ID, true
		case "accountName":
			return s.tenant.Name, true
		case "appliesTo":
			return "User", true
		case "capabilityStatus":
			return "Enabled", true
		case "consumedUnits":
			return s.used, true
		case "prepaidUnits":
			return object{{"enabled", s.Units}, {"suspended", 0}, {"warning", 0}, {"lockedOut", 0}}, true
		case "servicePlans":
			return plans(s.SKU, nil), true
		case "skuId":
			return s.ID, true
		case "skuPartNumber":
			return s.Name, true
		case "subscriptionIds":
			return []string{derivedID("subscription", s.tenant.ID, s.ID)}, true
		}
		return nil, false
	}}

func (s subscription) id() string { return s.tenant.ID + "_" + s.ID }

// plans are the service plans of a product, those that are disabled too.
func plans(sku directory.SKU, disabled []string) []object {
	out := []object{}
	for _, p := range sku.Plans {
		status := "Success"
		if slices.Contains(disabled, p.ID) {
			status = "Disabled"
		}
		out = append(out, object{{"servicePlanId", p.ID}, {"servicePlanName", p.Name}, {"provisioningStatus", status}, {"appliesTo", "User"}})
	}
	return out
}

func (c *call) subscriptions() []subscription {
	t, _ := c.World.Tenant(c.tenant())
	users := c.World.Users(t.ID) // nobody of a crowd has a license who was not given one
	var out []subscription
	for _, sku := range directory.SKUs() {
		s := subscription{SKU: sku, tenant: t}
		for _, u := range users {
			if u.Licensed(sku.ID) {
				s.used++
			}
		}
		out = append(out, s)
	}
	return out
}

func (c *call) subscribedSkus() {
	c.list(skuType, 0, func() []any { return all(c.subscriptions()) })
}

func (c *call) subscribedSku() {
	q, ok := c.query(skuType, 0)
	if !ok {
		return
	}
	for _, s := range c.subscriptions() {
		if strings.EqualFold(s.id(), c.arg(0)) {
			c.entity("subscribedSkus"+q.columns()+"/$entity", skuType.show(s, q.selected))
			return
		}
	}
	c.notFound(c.arg(0))
}

// licensed is a product that a user has.
type licensed struct {
	directory.License
	sku  directory.SKU
	user string
}

var licenseType = &entityType{name: "licenseDetails", set: "licenseDetails",
	value: func(v any, name string) (any, bool) {
		l := v.(licensed)
		switch name {
		case "id":
			return derivedToken("license", l.user, l.SKU), true
		case "skuId":
			return l.SKU, true
		case "skuPartNumber":
			return l.sku.Name, true
		case "servicePlans":
			return plans(l.sku, l.Disabled), true
		}
		return nil, false
	}}

// licensesOf are the products that a user has.
func licensesOf(u *directory.User) []licensed {
	var out []licensed
	for _, l := range u.Licenses {
		if sku, ok := skuOf(l.SKU); ok {
			out = append(out, licensed{l, sku, u.ID})
		}
	}
	return out
}

func skuOf(id string) (directory.SKU, bool) {
	skus := directory.SKUs()
	i := slices.IndexFunc(skus, func(s directory.SKU) bool { return strings.EqualFold(s.ID, id) })
	if i < 0 {
		return directory.SKU{}, false
	}
	return skus[i], true
}

func (c *call) licenseDetails() {
	q, ok := c.query(licenseType, 0)
	if !ok {
		return
	}
	if u, ok := c.findUser(c.arg(0)); ok {
		c.collect(q, licenseType, "users('"+u.ID+"')/licenseDetails", all(licensesOf(u)), func(v any) object { return licenseType.show(v, q.selected) })
	}
}

// licenseValue is one of the properties of a user that follow from the user's
// licenses.
func licenseValue(u *directory.User, name string) []object {
	out := []object{}
	for _, l := range licensesOf(u) {
		switch name {
		case "assignedLicenses":
			out = append(out, object{{"disabledPlans", append([]string{}, l.Disabled...)}, {"skuId", l.SKU}})
			continue
		case "licenseAssignmentStates":
			out = append(out, object{{"skuId", l.SKU}, {"disabledPlans", append([]string{}, l.Disabled...)}, {"assignedByGroup", nil}, {"state", "Active"}, {"error", "None"}})
			continue
		}
		for _, p := range l.sku.Plans {
			capability, status := "Enabled", "Success"
			if slices.Contains(l.Disabled, p.ID) {
				capability, status = "Deleted", "Disabled"
			}
			if name == "provisionedPlans" {
				out = append(out, object{{"capabilityStatus", capability}, {"provisioningStatus", status}, {"service", p.Service}})
				continue
			}
			out = append(out, object{{"assignedDateTime", date(u.Created)}, {"capabilityStatus", capability}, {"service", p.Service}, {"servicePlanId", p.ID}})
		}
	}
	return out
}

func (c *call) assignLicense() {
	given, ok := c.action("assignLicense", true, "addLicenses Collection(assignedLicense)", "removeLicenses Collection(Edm.Guid)")
	if !ok {
		return
	}
	for _, name := range []string{"addLicenses", "removeLicenses"} {
		if given[name] == nil {
			c.invalid(errors.New("A value is required for parameter '" + name + "' of the operation 'assignLicense': an empty list if there is none."))
			return
		}
	}
	u, ok := c.findUser(c.arg(0))
	if !ok {
		return
	}
	subscriptions := c.subscriptions()
	err := c.World.UpdateUser(c.tenant(), u.ID, func(u *directory.User) error {
		if usage := str(u.More["usageLocation"]); usage == "" && len(list(given["addLicenses"])) > 0 {
			return errors.New("License assignment cannot be done for user with invalid usage location.")
		}
		licenses := slices.Clone(u.Licenses)
		for _, id := range stringsIn(given["removeLicenses"]) {
			if sku, ok := skuOf(id); !ok || !u.Licensed(sku.ID) {
				return errors.New("User does not have a corresponding license.")
			}
			licenses = slices.DeleteFunc(licenses, func(l directory.License) bool { return strings.EqualFold(l.SKU, id) })
		}
		for _, v := range list(given["addLicenses"]) {
			id := str(inside(v, "skuId"))
			i := slices.IndexFunc(subscriptions, func(s subscription) bool { return strings.EqualFold(s.ID, id) })
			if i < 0 {
				return fmt.Errorf("License %s does not correspond to a valid company License.", id)
			}
			s := subscriptions[i]
			l := directory.License{SKU: s.ID}
			for _, plan := range stringsIn(inside(v, "disabledPlans")) {
				at := slices.IndexFunc(s.Plans, func(p directory.ServicePlan) bool { return strings.EqualFold(p.ID, plan) })
				if at < 0 {
					return fmt.Errorf("Service plan %s is not a part of the license %s.", plan, s.ID)
				}
				l.Disabled = append(l.Disabled, s.Plans[at].ID)
			}
			if !u.Licensed(s.ID) && s.used >= s.Units {
				return fmt.Errorf("Subscription with SKU %s does not have any available licenses.", s.ID)
			}
			licenses = append(slices.DeleteFunc(licenses, func(l directory.License) bool { return l.SKU == s.ID }), l)
		}
		u.Licenses = licenses
		return nil
	})
	if c.conflict(err, "assignedLicenses") {
		return
	}
	u, _ = c.World.User(c.tenant(), u.ID)
	c.entity("users/$entity", userType.show(u, nil))
}
