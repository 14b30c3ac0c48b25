package graphsim

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// azureRole is a definition of a role. Microsoft's ids are the same in every
// tenant.
type azureRole struct {
	id, name, description         string
	actions, notActions, dataActs []string
}

var azureRoleDefinitions = sync.OnceValue(func() []azureRole {
	all := []string{"*"}
	blobs, blob := "Microsoft.Storage/storageAccounts/blobServices/containers/", "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/"
	return []azureRole{
		{id: directory.AzureOwner, name: "Owner", description: "Grants full access to manage all resources, including the ability to assign roles in Azure RBAC.", actions: all},
		{id: directory.AzureContributor, name: "Contributor", description: "Grants full access to manage all resources, but does not allow you to assign roles in Azure RBAC, manage assignments in Azure Blueprints, or share image galleries.",
			actions: all, notActions: []string{"Microsoft.Authorization/*/Delete", "Microsoft.Authorization/*/Write", "Microsoft.Authorization/elevateAccess/Action",
				"Microsoft.Blueprint/blueprintAssignments/write", "Microsoft.Blueprint/blueprintAssignments/delete", "Microsoft.Compute/galleries/share/action"}},
		{id: directory.AzureReader, name: "Reader", description: "View all resources, but does not allow you to make any changes.", actions: []string{"*/read"}},
		{id: "18d7d88d-d35e-4fb5-a5c3-7773c20a72d9", name: "User Access Administrator", description: "Lets you manage user access to Azure resources.",
			actions: []string{"*/read", "Microsoft.Authorization/*", "Microsoft.Support/*"}},
		{id: "f58310d9-a9f6-439a-9e8d-f62e7b41a168", name: "Role Based Access Control Administrator", description: "Manage access to Azure resources by assigning roles using Azure RBAC.",
			actions: []string{"Microsoft.Authorization/roleAssignments/write", "Microsoft.Authorization/roleAssignments/delete", "*/read", "Microsoft.Support/*"}},
		{id: "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1", name: "Storage Blob Data Reader", description: "Allows for read access to Azure Storage blob containers and data",
			actions: []string{blobs + "read", "Microsoft.Storage/storageAccounts/blobServices/generateUserDelegationKey/action"}, dataActs: []string{blob + "read"}},
		{id: "ba92f5b4-2d11-453d-a403-e96b0029c9fe", name: "Storage Blob Data Contributor", description: "Allows for read, write and delete access to Azure Storage blob containers and data",
			actions:  []string{blobs + "delete", blobs + "read", blobs + "write", "Microsoft.Storage/storageAccounts/blobServices/generateUserDelegationKey/action"},
			dataActs: []string{blob + "delete", blob + "read", blob + "write", blob + "move/action", blob + "add/action"}},
		{id: "4633458b-17de-408a-b874-0445c86b69e6", name: "Key Vault Secrets User", description: "Read secret contents.",
			dataActs: []string{"Microsoft.KeyVault/vaults/secrets/getSecret/action", "Microsoft.KeyVault/vaults/secrets/readMetadata/action"}},
		{id: "7f951dda-4ed3-4680-a7ca-43fe172d538d", name: "AcrPull", description: "acr pull", actions: []string{"Microsoft.ContainerRegistry/registries/pull/read"}},
	}
})

func isGUID(s string) bool { return len(s) == 36 && guidForm().FindString(s) == s }

func azureRoleByID(id string) (azureRole, bool) {
	i := slices.IndexFunc(azureRoleDefinitions(), func(r azureRole) bool { return strings.EqualFold(r.id, id) })
	if i < 0 {
		return azureRole{}, false
	}
	return azureRoleDefinitions()[i], true
}

// allows says whether a role lets somebody do something.
func (r azureRole) allows(action string) bool {
	matches := func(pattern string) bool {
		start, end, wild := strings.Cut(strings.ToLower(pattern), "*")
		a := strings.ToLower(action)
		if !wild {
			return a == start
		}
		return len(a) >= len(start)+len(end) && strings.HasPrefix(a, start) && strings.HasSuffix(a, end)
	}
	return slices.ContainsFunc(r.actions, matches) && !slices.ContainsFunc(r.notActions, matches)
}

func (r azureRole) permission() object {
	some := func(list []string) []string { return append([]string{}, list...) }
	return object{{"actions", some(r.actions)}, {"notActions", some(r.notActions)}, {"dataActions", some(r.dataActs)}, {"notDataActions", []string{}}}
}

func (r azureRole) show(subscription string) object {
	created := date(time.Date(2015, 2, 2, 21, 55, 9, 0, time.UTC))
	return object{{"properties", object{{"roleName", r.name}, {"type", "BuiltInRole"}, {"description", r.description}, {"assignableScopes", []string{"/"}},
		{"permissions", []object{r.permission()}}, {"createdOn", created}, {"updatedOn", created}, {"createdBy", nil}, {"updatedBy", nil}}},
		{"id", subscription + definitionPath + r.id}, {"type", "Microsoft.Authorization/roleDefinitions"}, {"name", r.id}}
}

const definitionPath = "/providers/Microsoft.Authorization/roleDefinitions/"

// azureAssignment is a role that somebody has in a scope, which is the path of a
// subscription or of a resource group in it.
type azureAssignment struct {
	name, scope, principal, kind, role string
	description, condition, version    any
	by                                 any // who made it; nil: the world began with it
	created, updated                   time.Time
}

func (a azureAssignment) id() string {
	return a.scope + "/providers/Microsoft.Authorization/roleAssignments/" + a.name
}

func (a azureAssignment) show(subscription string) object {
	return object{{"properties", object{{"roleDefinitionId", subscription + definitionPath + a.role}, {"principalId", a.principal}, {"principalType", a.kind}, {"scope", a.scope},
		{"condition", a.condition}, {"conditionVersion", a.version}, {"createdOn", date(a.created)}, {"updatedOn", date(a.updated)}, {"createdBy", a.by}, {"updatedBy", a.by},
		{"delegatedManagedIdentityResourceId", nil}, {"description", a.description}}},
		{"id", a.id()}, {"type", "Microsoft.Authorization/roleAssignments"}, {"name", a.name}}
}

// within says whether a scope is another one or lies in it.
func within(scope, outer string) bool {
	scope, outer = strings.ToLower(scope), strings.ToLower(outer)
	return scope == outer || strings.HasPrefix(scope, outer+"/")
}

// azureAssignments are those of the tenant. The caller holds the lock.
func (c *call) azureAssignments() []azureAssignment {
	g, tenant := &c.azure, c.tenant()
	if g.assignments == nil {
		g.assignments = map[string][]azureAssignment{}
	}
	if _, begun := g.assignments[tenant]; !begun {
		all := []azureAssignment{}
		for _, r := range c.World.AzureRoles(tenant) {
			a := azureAssignment{scope: "/subscriptions/" + SubscriptionID(tenant), principal: r.Principal, role: r.Role, created: c.World.Now()}
			if r.ResourceGroup != "" {
				a.scope += "/resourceGroups/" + r.ResourceGroup
			}
			a.name, a.kind, a.updated = derivedID("azure role", tenant, a.scope, a.principal, a.role), c.principalType(r.Principal), a.created
			all = append(all, a)
		}
		g.assignments[tenant] = all
	}
	return g.assignments[tenant]
}

// principalType is what roles call the kind of an object, empty if there is no
// such object.
func (c *call) principalType(id string) string {
	v, _ := c.object(id)
	switch v.(type) {
	case *directory.User:
		return "User"
	case *directory.Group:
		return "Group"
	case principal:
		return "ServicePrincipal"
	}
	return ""
}

// identities are the caller and the groups that the caller is in.
func (c *call) identities(of string) []string {
	ids := []string{strings.ToLower(of)}
	for _, g := range c.World.GroupsOf(c.tenant(), of) {
		ids = append(ids, strings.ToLower(g.ID))
	}
	return ids
}

// azureMay says whether a role of the caller allows an action in a scope. The
// caller holds the lock.
func (c *call) azureMay(action, scope string) bool {
	if !c.World.AzureRolesCount(c.tenant()) {
		return true
	}
	return slices.ContainsFunc(c.azureRolesHere(scope), func(r azureRole) bool { return r.allows(action) })
}

// azureRolesHere are the roles of the caller that count in a scope. The caller
// holds the lock.
func (c *call) azureRolesHere(scope string) []azureRole {
	me := c.identities(c.token.text("oid"))
	var roles []azureRole
	for _, a := range c.azureAssignments() {
		if r, ok := azureRoleByID(a.role); ok && within(scope, a.scope) && slices.Contains(me, strings.ToLower(a.principal)) {
			roles = append(roles, r)
		}
	}
	return roles
}

// inAzure says whether the caller has a role anywhere in the subscription, and so
// sees that there is one. The caller holds the lock.
func (c *call) inAzure() bool {
	if !c.World.AzureRolesCount(c.tenant()) {
		return true
	}
	me := c.identities(c.token.text("oid"))
	return slices.ContainsFunc(c.azureAssignments(), func(a azureAssignment) bool { return slices.Contains(me, strings.ToLower(a.principal)) })
}

// azureAllowed says whether the caller may do something in a scope, or answers
// 403. The caller holds the lock.
func (c *call) azureAllowed(action, scope string) bool {
	if c.azureMay(action, scope) {
		return true
	}
	client := cmp.Or(c.token.text("appid"), c.token.text("azp"))
	if c.token.delegated() {
		client = cmp.Or(c.token.text("upn"), c.token.text("unique_name"), c.token.text("preferred_username"))
	}
	c.armRefuse(http.StatusForbidden, "AuthorizationFailed", fmt.Sprintf("The client '%s' with object id '%s' does not have authorization to perform action '%s' over scope '%s' or the scope is invalid. If access was recently granted, please refresh your credentials.",
		client, c.token.text("oid"), action, scope))
	return false
}

// authorization answers below Microsoft.Authorization in a scope: a subscription,
// a resource group, or empty for what is above both.
func (c *call) authorization(scope string, path []string) {
	body, err := readBody(c.w, c.r, maxBody)
	if err != nil {
		c.armUnread(err)
		return
	}
	c.azure.mu.Lock()
	defer c.azure.mu.Unlock()
	name := ""
	if len(path) == 2 {
		name = path[1]
	}
	switch kind := strings.ToLower(first(path)); {
	case len(path) > 2:
		c.armMissing()
	case kind == "roledefinitions":
		c.roleDefinitions(scope, name)
	case kind == "permissions" && len(path) == 1 && scope != "":
		if c.armGet() && c.azureAllowed("Microsoft.Authorization/permissions/read", scope) {
			all := []object{}
			for _, r := range c.azureRolesHere(scope) {
				all = append(all, r.permission())
			}
			c.armSend(object{{"value", all}})
		}
	case kind == "roleassignments" && name == "":
		c.azureAssignmentsIn(scope)
	case kind == "roleassignments" && scope != "":
		c.oneAssignment(scope, name, body)
	default:
		c.armMissing()
	}
}

// armFilter reads the $filter of a list: comparisons with eq and functions,
// joined by and. It says whether the request has only options that are known.
func (c *call) armFilter() (map[string]string, bool) {
	terms := map[string]string{}
	for name, values := range c.r.URL.Query() {
		switch strings.ToLower(name) {
		case "api-version", "tenantid":
			continue
		case "$filter":
		default:
			c.armRefuse(http.StatusBadRequest, "InvalidQueryParameter", "The query option '"+name+"' is not supported here.")
			return nil, false
		}
		for term := range strings.SplitSeq(values[0], " and ") {
			m := armTerm().FindStringSubmatch(strings.TrimSpace(term))
			if m == nil {
				c.armRefuse(http.StatusBadRequest, "InvalidFilter", "The filter '"+values[0]+"' is not supported. Supported are 'atScope()', 'assignedTo('{objectId}')', 'principalId eq '{objectId}'', 'roleName eq '{name}'' and 'type eq '{type}''.")
				return nil, false
			}
			terms[strings.ToLower(m[1]+m[3])] = strings.ReplaceAll(m[2]+m[4], "''", "'")
		}
	}
	return terms, true
}

var armTerm = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^(?:(atScope|assignedTo|atScopeAndBelow)\((?:'([^']*)')?\)|(principalId|roleName|type) eq '?((?:[^']|'')*)'?)$`)
})

// roleDefinitions answers for all definitions, or for the one that is named. The
// caller holds the lock.
func (c *call) roleDefinitions(scope, name string) {
	subscription := ""
	if scope != "" {
		subscription = "/subscriptions/" + SubscriptionID(c.tenant())
	}
	filter, ok := c.armFilter()
	if !ok || !c.armGet() || scope != "" && !c.azureAllowed("Microsoft.Authorization/roleDefinitions/read", scope) {
		return
	}
	if name != "" {
		r, ok := azureRoleByID(name)
		if !ok {
			c.noDefinition(name)
			return
		}
		c.armSend(r.show(subscription))
		return
	}
	all := []object{}
	for _, r := range azureRoleDefinitions() {
		wanted, named := filter["rolename"]
		kind, typed := filter["type"]
		if (!named || strings.EqualFold(wanted, r.name)) && (!typed || strings.EqualFold(kind, "BuiltInRole")) {
			all = append(all, r.show(subscription))
		}
	}
	c.armSend(object{{"value", all}})
}

func (c *call) noDefinition(id string) {
	c.armRefuse(http.StatusNotFound, "RoleDefinitionDoesNotExist", "The specified role definition with ID '"+id+"' does not exist.")
}

// azureAssignmentsIn answers with the assignments that count in a scope and those
// further in. The caller holds the lock.
func (c *call) azureAssignmentsIn(scope string) {
	filter, ok := c.armFilter()
	if !ok || !c.armGet() || !c.azureAllowed("Microsoft.Authorization/roleAssignments/read", scope) {
		return
	}
	_, onlyHere := filter["atscope"]
	var of []string
	if id, ok := filter["principalid"]; ok {
		of = []string{strings.ToLower(id)}
	} else if id, ok := filter["assignedto"]; ok {
		of = c.identities(id)
	}
	all := []object{}
	for _, a := range c.azureAssignments() {
		switch {
		case !within(scope, a.scope) && (onlyHere || !within(a.scope, scope)):
		case of != nil && !slices.Contains(of, strings.ToLower(a.principal)):
		default:
			all = append(all, a.show("/subscriptions/"+SubscriptionID(c.tenant())))
		}
	}
	c.armSend(object{{"value", all}})
}

// oneAssignment answers for the assignment that is named. The caller holds the
// lock.
func (c *call) oneAssignment(scope, name string, body []byte) {
	if _, ok := c.armFilter(); !ok || !c.armMethod(http.MethodDelete, http.MethodGet, http.MethodPut) {
		return
	}
	action := map[string]string{http.MethodDelete: "delete", http.MethodGet: "read", http.MethodPut: "write"}[c.r.Method]
	if !c.azureAllowed("Microsoft.Authorization/roleAssignments/"+action, scope+"/providers/Microsoft.Authorization/roleAssignments/"+name) {
		return
	}
	subscription := "/subscriptions/" + SubscriptionID(c.tenant())
	all := c.azureAssignments()
	at := slices.IndexFunc(all, func(a azureAssignment) bool {
		return strings.EqualFold(a.name, name) && strings.EqualFold(a.scope, scope)
	})
	switch {
	case c.r.Method == http.MethodPut:
		c.putAssignment(scope, name, body)
	case at < 0 && c.r.Method == http.MethodDelete:
		c.noContent()
	case at < 0:
		c.armRefuse(http.StatusNotFound, "RoleAssignmentNotFound", "The role assignment '"+name+"' is not found.")
	case c.r.Method == http.MethodDelete:
		gone := all[at]
		c.azure.assignments[c.tenant()] = slices.Delete(slices.Clone(all), at, at+1)
		c.armSend(gone.show(subscription))
	default:
		c.armSend(all[at].show(subscription))
	}
}

// putAssignment gives somebody a role. The caller holds the lock.
func (c *call) putAssignment(scope, name string, body []byte) {
	bad := func(status int, code, format string, args ...any) {
		c.armRefuse(status, code, fmt.Sprintf(format, args...))
	}
	var sent struct {
		Properties struct {
			Role        string `json:"roleDefinitionId"`
			Principal   string `json:"principalId"`
			Kind        string `json:"principalType"`
			Description any    `json:"description"`
			Condition   any    `json:"condition"`
			Version     any    `json:"conditionVersion"`
		} `json:"properties"`
	}
	if err := json.Unmarshal(body, &sent); err != nil {
		bad(http.StatusBadRequest, "InvalidRequestContent", "The request content was invalid and could not be deserialized: '%v'.", err)
		return
	}
	p := sent.Properties
	role, known := azureRoleByID(p.Role[strings.LastIndexByte(p.Role, '/')+1:])
	kind := c.principalType(p.Principal)
	switch {
	case !isGUID(name):
		bad(http.StatusBadRequest, "InvalidRoleAssignmentId", "The role assignment ID '%s' is not valid. The role assignment ID must be a GUID.", name)
		return
	case p.Principal == "" || p.Role == "":
		bad(http.StatusBadRequest, "InvalidCreateRoleAssignmentRequest", "The request to create role assignment '%s' is not valid. Role assignment should have a role definition ID and a principal ID.", name)
		return
	case !isGUID(p.Principal):
		bad(http.StatusBadRequest, "InvalidPrincipalId", "A valid principal ID must be provided for role assignment. It is '%s'.", p.Principal)
		return
	case !known:
		c.noDefinition(p.Role[strings.LastIndexByte(p.Role, '/')+1:])
		return
	case kind == "" && p.Kind == "":
		id := strings.ReplaceAll(p.Principal, "-", "")
		bad(http.StatusBadRequest, "PrincipalNotFound", "Principal %s does not exist in the directory %s. Check that you have the correct principal ID. If you are creating this principal and then immediately assigning a role, this error might be related to a replication delay. In this case, set the role assignment principalType property to a value, such as ServicePrincipal, User, or Group.  See https://aka.ms/docs-principaltype", id, c.tenant())
		return
	case kind != "" && p.Kind != "" && !strings.EqualFold(kind, p.Kind):
		bad(http.StatusBadRequest, "UnmatchedPrincipalType", "The PrincipalId '%s' has type '%s' , which is different from specified PrincipalType '%s'.", strings.ReplaceAll(p.Principal, "-", ""), kind, p.Kind)
		return
	}
	now := c.World.Now()
	wanted := azureAssignment{name: strings.ToLower(name), scope: scope, principal: strings.ToLower(p.Principal), kind: cmp.Or(kind, p.Kind), role: role.id,
		description: p.Description, condition: p.Condition, version: p.Version, by: c.token.text("oid"), created: now, updated: now}
	subscription := "/subscriptions/" + SubscriptionID(c.tenant())
	all := slices.Clone(c.azureAssignments())
	for i, a := range all {
		same := strings.EqualFold(a.principal, wanted.principal) && a.role == wanted.role && strings.EqualFold(a.scope, wanted.scope)
		switch {
		case strings.EqualFold(a.name, wanted.name) && same:
			wanted.created = a.created
			all[i] = wanted
			c.azure.assignments[c.tenant()] = all
			c.armSend(wanted.show(subscription))
			return
		case strings.EqualFold(a.name, wanted.name):
			bad(http.StatusBadRequest, "RoleAssignmentUpdateNotPermitted", "Tenant ID, application ID, principal ID, and scope are not allowed to be updated.")
			return
		case same:
			bad(http.StatusConflict, "RoleAssignmentExists", "The role assignment already exists. The ID of the existing role assignment is %s.", strings.ReplaceAll(a.name, "-", ""))
			return
		}
	}
	c.azure.assignments[c.tenant()] = append(all, wanted)
	c.send(http.StatusCreated, "application/json; charset=utf-8", wanted.show(subscription))
}
