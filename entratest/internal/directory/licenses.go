package directory

import "slices"

// SKU is a product that a tenant has bought licenses of.
type SKU struct {
	ID, Name string // Name is the part number
	Units    int    // how many users may have one
	Plans    []ServicePlan
}

// ServicePlan is a service that a product contains.
type ServicePlan struct{ ID, Name, Service string }

// License is a product that a user has, without some of its service plans.
type License struct {
	SKU      string   // an id
	Disabled []string // ids of service plans
}

// SKUs returns the products of every tenant: one that there is plenty of, and
// one that soon runs out.
func SKUs() []SKU {
	return []SKU{
		{"6fd2c87f-b296-42f0-b197-1e91e994b900", "ENTERPRISEPACK", 25, []ServicePlan{
			{"efb87545-963c-4e0d-99df-69c6916d9eb0", "EXCHANGE_S_ENTERPRISE", "exchange"},
			{"5dbe027f-2339-4123-9542-606e4d348a72", "SHAREPOINTENTERPRISE", "SharePoint"},
			{"57ff2da0-773e-42df-b2af-ffb7a2317929", "TEAMS1", "TeamspaceAPI"},
		}},
		{"b05e124f-c7cc-45a0-a6aa-8cf78c946968", "EMSPREMIUM", 2, []ServicePlan{
			{"41781fb2-bc02-4b7c-bd55-b576c07bb09d", "AAD_PREMIUM", "AADPremiumService"},
			{"eec0eb4f-6444-4f95-aba0-50c24d67f998", "AAD_PREMIUM_P2", "AADPremiumService"},
			{"c1ec4a95-1f05-45b3-a911-aa3fa01094f5", "INTUNE_A", "SCO"},
		}},
	}
}

// Licensed says whether u has a product.
func (u *User) Licensed(sku string) bool {
	return slices.ContainsFunc(u.Licenses, func(l License) bool { return l.SKU == sku })
}
