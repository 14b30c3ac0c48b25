package directory

import "slices"

// AzureRole is a role that a principal begins with in its tenant's Azure
// subscription.
type AzureRole struct {
	Tenant        string
	Principal     string // object id of a user, a group or a service principal
	Role          string // id of the role's definition
	ResourceGroup string // empty: the whole subscription
}

// The definitions of Azure's roles that the default world uses.
const (
	AzureOwner       = "8e3af657-a8ff-443c-a75c-2fe8c4bcb635"
	AzureContributor = "b24988ac-6180-42a0-ab88-20f7382dd24c"
	AzureReader      = "acdd72a7-3385-48ef-bd42-f606fba81ae7"
)

// AddAzureRole adds a role. enforce makes the roles of the tenant count: until
// then they are shown, and everybody may do everything.
func (w *World) AddAzureRole(r AzureRole, enforce bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.azureRoles = append(w.azureRoles, r)
	if enforce {
		w.azureStrict[r.Tenant] = true
	}
}

// AzureRoles returns the roles that the principals of a tenant begin with.
func (w *World) AzureRoles(tenant string) []AzureRole {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return slices.DeleteFunc(slices.Clone(w.azureRoles), func(r AzureRole) bool { return r.Tenant != tenant })
}

// AzureRolesCount says whether only those may do something in Azure whose role
// allows it.
func (w *World) AzureRolesCount(tenant string) bool {
	w.mu.RLock()
	defer w.mu.RUnlock()
	return w.azureStrict[tenant]
}
