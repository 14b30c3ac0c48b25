package graphsim

import (
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// route is an endpoint.
type route struct {
	method string
	// pattern is the path below the version. {id} is any segment and becomes an
	// argument; {person} is me or users/{id}, {drive} a drive by any of its
	// names, {:path} a path in a drive, {cast} the name of a type or nothing.
	pattern string
	serve   func(*call)
	// needs is the row of the tables of permissions, such as "GET /users/{id}";
	// empty is the method and the pattern.
	needs string
	// right says whether the signed-in user may do it; nil if every member of
	// the tenant may. Apps have all rights that their permissions name.
	right func(*call) bool
	// relation is what serve follows, of those that are relations. They can be
	// counted, by $count at the end of the path, and referred to, by $ref.
	relation string
	counted  bool // other collections that can be counted
	// audit is what the log of changes calls it; nil: it is not written down.
	audit *auditing
	// person is set for paths that begin with a user.
	person bool
	face   workload
}

// workload is the service behind an endpoint: each has its own words for no.
type workload int

const (
	directoryWork workload = iota
	mailWork
	driveWork
)

// open marks endpoints that need no permission of their own.
const open = "-"

// routes returns all endpoints. They are a function's because one of them, the
// batch, leads to all others.
func routes() []route {
	return []route{
		{method: "POST", pattern: "/$batch", serve: (*call).batch, needs: open},

		{method: "GET", pattern: "/users", counted: true, serve: (*call).users},
		{method: "POST", pattern: "/users", serve: (*call).createUser, right: administrator(userAdministrator), audit: audit("UserManagement", "Add", "Add user")},
		{method: "GET", pattern: "/users/delta", serve: (*call).usersDelta},
		{method: "GET", pattern: "/{person}", serve: (*call).user},
		{method: "PATCH", pattern: "/{person}", serve: (*call).updateUser, right: orSelf(administrator(userAdministrator)), audit: audit("UserManagement", "Update", "Update user")},
		{method: "DELETE", pattern: "/users/{id}", serve: (*call).deleteUser, right: administrator(userAdministrator), audit: audit("UserManagement", "Delete", "Delete user")},
		{method: "GET", pattern: "/{person}/memberOf/{cast}", serve: (*call).relation, relation: "memberOf", needs: "GET /users/{id}/memberof"},
		{method: "GET", pattern: "/{person}/transitiveMemberOf/{cast}", serve: (*call).relation, relation: "transitiveMemberOf", needs: "GET /users/{id}/transitivememberof"},
		{method: "GET", pattern: "/{person}/manager", serve: (*call).manager},
		{method: "GET", pattern: "/{person}/manager/$ref", serve: (*call).manager, needs: "GET /users/{id}/manager"},
		{method: "PUT", pattern: "/{person}/manager/$ref", serve: (*call).setManager, needs: "PUT /users/{id}/manager", right: administrator(userAdministrator), audit: audit("UserManagement", "Update", "Set user manager")},
		{method: "DELETE", pattern: "/{person}/manager/$ref", serve: (*call).removeManager, needs: "PUT /users/{id}/manager", right: administrator(userAdministrator), audit: audit("UserManagement", "Update", "Remove user manager")},
		{method: "GET", pattern: "/{person}/directReports/{cast}", serve: (*call).relation, relation: "directReports", needs: "GET /users/{id}/directreports"},
		{method: "GET", pattern: "/{person}/ownedDevices/{cast}", serve: (*call).relation, relation: "ownedDevices", needs: "GET /users/{id}/devices"},
		{method: "GET", pattern: "/{person}/registeredDevices/{cast}", serve: (*call).relation, relation: "registeredDevices", needs: "GET /users/{id}/devices"},
		{method: "GET", pattern: "/{person}/ownedObjects/{cast}", serve: (*call).relation, relation: "ownedObjects", needs: "GET /users/{id}/ownedobjects"},
		{method: "GET", pattern: "/{person}/licenseDetails", serve: (*call).licenseDetails},
		{method: "POST", pattern: "/{person}/assignLicense", serve: (*call).assignLicense, right: administrator(licenseAdministrator, userAdministrator), audit: audit("UserManagement", "Update", "Change user license")},
		{method: "POST", pattern: "/{person}/getMemberGroups", serve: (*call).getMemberGroups},
		{method: "POST", pattern: "/{person}/checkMemberGroups", serve: (*call).checkMemberGroups},
		{method: "POST", pattern: "/{person}/getMemberObjects", serve: (*call).getMemberObjects},
		{method: "POST", pattern: "/{person}/checkMemberObjects", serve: (*call).checkMemberObjects, needs: "POST /users/{id}/getmemberobjects"},
		{method: "POST", pattern: "/{person}/revokeSignInSessions", serve: (*call).revokeSignInSessions, right: orSelf(administrator(userAdministrator)), audit: audit("UserManagement", "Update", "Update StsRefreshTokenValidFrom Timestamp")},
		{method: "GET", pattern: "/{person}/appRoleAssignments", serve: (*call).appRoleAssignments},
		{method: "POST", pattern: "/{person}/appRoleAssignments", serve: (*call).assignToUser, right: administrator(applicationAdministrator, cloudApplicationAdministrator), audit: audit("UserManagement", "Assign", "Add app role assignment grant to user")},
		{method: "GET", pattern: "/{person}/oauth2PermissionGrants", serve: (*call).userGrants},

		{method: "GET", pattern: "/groups", counted: true, serve: (*call).groups},
		{method: "POST", pattern: "/groups", serve: (*call).createGroup, audit: audit("GroupManagement", "Add", "Add group")},
		{method: "GET", pattern: "/groups/delta", serve: (*call).groupsDelta},
		{method: "GET", pattern: "/groups/{id}", serve: (*call).group},
		{method: "PATCH", pattern: "/groups/{id}", serve: (*call).updateGroup, right: groupKeeper, audit: audit("GroupManagement", "Update", "Update group")},
		{method: "DELETE", pattern: "/groups/{id}", serve: (*call).deleteGroup, right: groupKeeper, audit: audit("GroupManagement", "Delete", "Delete group")},
		{method: "GET", pattern: "/groups/{id}/members/{cast}", serve: (*call).relation, relation: "members", needs: "GET /groups/{id}/members"},
		{method: "POST", pattern: "/groups/{id}/members/$ref", serve: (*call).addMember, needs: "POST /groups/{id}/members", right: groupKeeper, audit: audit("GroupManagement", "Assign", "Add member to group")},
		{method: "DELETE", pattern: "/groups/{id}/members/{id}/$ref", serve: (*call).removeMember, needs: "DELETE /groups/{id}/members", right: groupKeeper, audit: audit("GroupManagement", "Unassign", "Remove member from group")},
		{method: "GET", pattern: "/groups/{id}/transitiveMembers/{cast}", serve: (*call).relation, relation: "transitiveMembers", needs: "GET /groups/{id}/transitivemembers"},
		{method: "GET", pattern: "/groups/{id}/memberOf/{cast}", serve: (*call).relation, relation: "memberOf", needs: "GET /groups/{id}/memberof"},
		{method: "GET", pattern: "/groups/{id}/transitiveMemberOf/{cast}", serve: (*call).relation, relation: "transitiveMemberOf", needs: "GET /groups/{id}/transitivememberof"},
		{method: "GET", pattern: "/groups/{id}/owners/{cast}", serve: (*call).relation, relation: "owners", needs: "GET /groups/{id}/owners"},
		{method: "POST", pattern: "/groups/{id}/owners/$ref", serve: (*call).addOwner, needs: "POST /groups/{id}/owners", right: groupKeeper, audit: audit("GroupManagement", "Assign", "Add owner to group")},
		{method: "DELETE", pattern: "/groups/{id}/owners/{id}/$ref", serve: (*call).removeOwner, needs: "POST /groups/{id}/owners", right: groupKeeper, audit: audit("GroupManagement", "Unassign", "Remove owner from group")},
		{method: "POST", pattern: "/groups/{id}/getMemberGroups", serve: (*call).getMemberGroups},
		{method: "POST", pattern: "/groups/{id}/checkMemberGroups", serve: (*call).checkMemberGroups, needs: "POST /groups/{id}/getmembergroups"},
		{method: "POST", pattern: "/groups/{id}/getMemberObjects", serve: (*call).getMemberObjects, needs: "POST /groups/{id}/getmembergroups"},
		{method: "POST", pattern: "/groups/{id}/checkMemberObjects", serve: (*call).checkMemberObjects, needs: "POST /groups/{id}/getmembergroups"},
		{method: "GET", pattern: "/groups/{id}/appRoleAssignments", serve: (*call).appRoleAssignments},

		{method: "GET", pattern: "/applications", counted: true, serve: (*call).applications},
		{method: "POST", pattern: "/applications", serve: (*call).createApplication, audit: audit("ApplicationManagement", "Add", "Add application")},
		{method: "GET", pattern: "/applications/{id}", serve: (*call).application},
		{method: "PATCH", pattern: "/applications/{id}", serve: (*call).updateApplication, right: appKeeper, audit: audit("ApplicationManagement", "Update", "Update application")},
		{method: "DELETE", pattern: "/applications/{id}", serve: (*call).deleteApplication, right: appKeeper, audit: audit("ApplicationManagement", "Delete", "Delete application")},
		{method: "POST", pattern: "/applications/{id}/addPassword", serve: (*call).addPassword, right: appKeeper, audit: audit("ApplicationManagement", "Update", "Update application – Certificates and secrets management")},
		{method: "POST", pattern: "/applications/{id}/removePassword", serve: (*call).removePassword, right: appKeeper, audit: audit("ApplicationManagement", "Update", "Update application – Certificates and secrets management")},
		// An app may always roll its own keys.
		{method: "POST", pattern: "/applications/{id}/addKey", serve: (*call).addKey, needs: open, audit: audit("ApplicationManagement", "Update", "Update application – Certificates and secrets management")},
		{method: "POST", pattern: "/applications/{id}/removeKey", serve: (*call).removeKey, needs: open, audit: audit("ApplicationManagement", "Update", "Update application – Certificates and secrets management")},
		{method: "GET", pattern: "/applications/{id}/owners/{cast}", serve: (*call).relation, relation: "owners", needs: "GET /applications/{id}/owners"},
		{method: "POST", pattern: "/applications/{id}/owners/$ref", serve: (*call).addAppOwner, needs: "POST /applications/{id}/owners", right: appKeeper, audit: audit("ApplicationManagement", "Assign", "Add owner to application")},
		{method: "DELETE", pattern: "/applications/{id}/owners/{id}/$ref", serve: (*call).removeAppOwner, needs: "POST /applications/{id}/owners", right: appKeeper, audit: audit("ApplicationManagement", "Unassign", "Remove owner from application")},
		{method: "GET", pattern: "/applications/{id}/federatedIdentityCredentials", serve: (*call).federatedCredentials},
		{method: "POST", pattern: "/applications/{id}/federatedIdentityCredentials", serve: (*call).addFederatedCredential, right: appKeeper, audit: audit("ApplicationManagement", "Update", "Update application")},
		{method: "GET", pattern: "/applications/{id}/federatedIdentityCredentials/{id}", serve: (*call).federatedCredential, needs: "GET /applications/{id}/federatedidentitycredentials"},
		{method: "PATCH", pattern: "/applications/{id}/federatedIdentityCredentials/{id}", serve: (*call).updateFederatedCredential, needs: "POST /applications/{id}/federatedidentitycredentials", right: appKeeper, audit: audit("ApplicationManagement", "Update", "Update application")},
		{method: "DELETE", pattern: "/applications/{id}/federatedIdentityCredentials/{id}", serve: (*call).removeFederatedCredential, needs: "POST /applications/{id}/federatedidentitycredentials", right: appKeeper, audit: audit("ApplicationManagement", "Update", "Update application")},

		{method: "GET", pattern: "/servicePrincipals", counted: true, serve: (*call).principals},
		{method: "POST", pattern: "/servicePrincipals", serve: (*call).createPrincipal, right: appAdministrator, audit: audit("ApplicationManagement", "Add", "Add service principal")},
		{method: "GET", pattern: "/servicePrincipals/{id}", serve: (*call).principal},
		{method: "PATCH", pattern: "/servicePrincipals/{id}", serve: (*call).updatePrincipal, right: principalKeeper, audit: audit("ApplicationManagement", "Update", "Update service principal")},
		{method: "DELETE", pattern: "/servicePrincipals/{id}", serve: (*call).deletePrincipal, needs: "PATCH /serviceprincipals/{id}", right: principalKeeper, audit: audit("ApplicationManagement", "Delete", "Remove service principal")},
		{method: "GET", pattern: "/servicePrincipals/{id}/appRoleAssignments", serve: (*call).appRoleAssignments},
		{method: "POST", pattern: "/servicePrincipals/{id}/appRoleAssignments", serve: (*call).assignRole, right: administrator(privilegedRoleAdministrator), audit: audit("ApplicationManagement", "Assign", "Add app role assignment to service principal")},
		{method: "DELETE", pattern: "/servicePrincipals/{id}/appRoleAssignments/{id}", serve: (*call).unassignRole, needs: "DELETE /serviceprincipals/{id}/approleassignments", right: administrator(privilegedRoleAdministrator), audit: audit("ApplicationManagement", "Unassign", "Remove app role assignment from service principal")},
		{method: "GET", pattern: "/servicePrincipals/{id}/appRoleAssignedTo", serve: (*call).assignedTo},
		{method: "POST", pattern: "/servicePrincipals/{id}/appRoleAssignedTo", serve: (*call).assignRole, needs: "POST /serviceprincipals/{id}/approleassignments", right: administrator(privilegedRoleAdministrator), audit: audit("ApplicationManagement", "Assign", "Add app role assignment to service principal")},
		{method: "DELETE", pattern: "/servicePrincipals/{id}/appRoleAssignedTo/{id}", serve: (*call).unassignRole, needs: "DELETE /serviceprincipals/{id}/approleassignments", right: administrator(privilegedRoleAdministrator), audit: audit("ApplicationManagement", "Unassign", "Remove app role assignment from service principal")},
		{method: "GET", pattern: "/servicePrincipals/{id}/oauth2PermissionGrants", serve: (*call).principalGrants},
		{method: "GET", pattern: "/servicePrincipals/{id}/owners/{cast}", serve: (*call).relation, relation: "owners", needs: "GET /serviceprincipals/{id}/owners"},
		{method: "POST", pattern: "/servicePrincipals/{id}/owners/$ref", serve: (*call).addPrincipalOwner, needs: "PATCH /serviceprincipals/{id}", right: principalKeeper, audit: audit("ApplicationManagement", "Assign", "Add owner to service principal")},
		{method: "DELETE", pattern: "/servicePrincipals/{id}/owners/{id}/$ref", serve: (*call).removePrincipalOwner, needs: "PATCH /serviceprincipals/{id}", right: principalKeeper, audit: audit("ApplicationManagement", "Unassign", "Remove owner from service principal")},
		{method: "GET", pattern: "/servicePrincipals/{id}/ownedObjects/{cast}", serve: (*call).relation, relation: "ownedObjects", needs: "GET /serviceprincipals/{id}/owners"},
		{method: "POST", pattern: "/servicePrincipals/{id}/addPassword", serve: (*call).addPassword, needs: "PATCH /serviceprincipals/{id}", right: principalKeeper, audit: audit("ApplicationManagement", "Update", "Add service principal credentials")},
		{method: "POST", pattern: "/servicePrincipals/{id}/removePassword", serve: (*call).removePassword, needs: "PATCH /serviceprincipals/{id}", right: principalKeeper, audit: audit("ApplicationManagement", "Update", "Remove service principal credentials")},
		{method: "GET", pattern: "/servicePrincipals/{id}/memberOf/{cast}", serve: (*call).relation, relation: "memberOf", needs: "GET /serviceprincipals/{id}/memberof"},
		{method: "GET", pattern: "/servicePrincipals/{id}/transitiveMemberOf/{cast}", serve: (*call).relation, relation: "transitiveMemberOf", needs: "GET /serviceprincipals/{id}/memberof"},
		{method: "POST", pattern: "/servicePrincipals/{id}/getMemberGroups", serve: (*call).getMemberGroups, needs: "GET /serviceprincipals/{id}/memberof"},
		{method: "POST", pattern: "/servicePrincipals/{id}/checkMemberGroups", serve: (*call).checkMemberGroups, needs: "GET /serviceprincipals/{id}/memberof"},
		{method: "POST", pattern: "/servicePrincipals/{id}/getMemberObjects", serve: (*call).getMemberObjects, needs: "GET /serviceprincipals/{id}/memberof"},
		{method: "POST", pattern: "/servicePrincipals/{id}/checkMemberObjects", serve: (*call).checkMemberObjects, needs: "GET /serviceprincipals/{id}/memberof"},

		{method: "GET", pattern: "/oauth2PermissionGrants", serve: (*call).grants},
		{method: "POST", pattern: "/oauth2PermissionGrants", serve: (*call).createGrant, right: appAdministrator, audit: audit("ApplicationManagement", "Assign", "Add delegated permission grant")},
		{method: "GET", pattern: "/oauth2PermissionGrants/{id}", serve: (*call).grant, needs: "GET /oauth2permissiongrants"},
		{method: "PATCH", pattern: "/oauth2PermissionGrants/{id}", serve: (*call).updateGrant, needs: "PATCH /oauth2permissiongrants", right: appAdministrator, audit: audit("ApplicationManagement", "Assign", "Add delegated permission grant")},
		{method: "DELETE", pattern: "/oauth2PermissionGrants/{id}", serve: (*call).deleteGrant, needs: "PATCH /oauth2permissiongrants", right: appAdministrator, audit: audit("ApplicationManagement", "Unassign", "Remove delegated permission grant")},

		{method: "GET", pattern: "/organization", serve: (*call).organizations},
		{method: "GET", pattern: "/organization/{id}", serve: (*call).organization},
		{method: "GET", pattern: "/domains", serve: (*call).domains},
		{method: "GET", pattern: "/directoryRoles", serve: (*call).directoryRoles},
		{method: "GET", pattern: "/directoryRoles/{id}", serve: (*call).directoryRole, needs: "GET /directoryroles"},
		{method: "GET", pattern: "/directoryRoles/{id}/members/{cast}", serve: (*call).roleMembers, needs: "GET /directoryroles/{id}/members"},
		{method: "POST", pattern: "/directoryRoles/{id}/members/$ref", serve: (*call).addRoleMember, needs: "POST /directoryroles/{id}/members", right: administrator(privilegedRoleAdministrator), audit: audit("RoleManagement", "Assign", "Add member to role")},
		{method: "DELETE", pattern: "/directoryRoles/{id}/members/{id}/$ref", serve: (*call).removeRoleMember, needs: "POST /directoryroles/{id}/members", right: administrator(privilegedRoleAdministrator), audit: audit("RoleManagement", "Unassign", "Remove member from role")},
		{method: "GET", pattern: "/directoryRoleTemplates", serve: (*call).roleTemplates},
		{method: "POST", pattern: "/invitations", serve: (*call).invite, audit: audit("UserManagement", "Invite", "Invite external user")},
		{method: "POST", pattern: "/directoryObjects/getByIds", serve: (*call).getByIDs},
		{method: "GET", pattern: "/directoryObjects/{id}", serve: (*call).directoryObject},
		{method: "POST", pattern: "/directoryObjects/{id}/getMemberGroups", serve: (*call).getMemberGroups},
		{method: "POST", pattern: "/directoryObjects/{id}/checkMemberGroups", serve: (*call).checkMemberGroups, needs: "POST /directoryobjects/{id}/getmembergroups"},
		{method: "POST", pattern: "/directoryObjects/{id}/getMemberObjects", serve: (*call).getMemberObjects, needs: "POST /directoryobjects/{id}/getmembergroups"},
		{method: "POST", pattern: "/directoryObjects/{id}/checkMemberObjects", serve: (*call).checkMemberObjects, needs: "POST /directoryobjects/{id}/getmembergroups"},

		{method: "GET", pattern: "/devices", counted: true, serve: (*call).devices},
		{method: "GET", pattern: "/devices/{id}", serve: (*call).device, needs: "GET /devices"},
		{method: "PATCH", pattern: "/devices/{id}", serve: (*call).updateDevice, right: administrator(cloudDeviceAdministrator), audit: audit("Device", "Update", "Update device")},
		{method: "DELETE", pattern: "/devices/{id}", serve: (*call).deleteDevice, needs: "PATCH /devices/{id}", right: administrator(cloudDeviceAdministrator), audit: audit("Device", "Delete", "Delete device")},
		{method: "GET", pattern: "/devices/{id}/registeredOwners/{cast}", serve: (*call).relation, relation: "registeredOwners", needs: "GET /devices"},
		{method: "GET", pattern: "/devices/{id}/registeredUsers/{cast}", serve: (*call).relation, relation: "registeredUsers", needs: "GET /devices"},
		{method: "GET", pattern: "/devices/{id}/memberOf/{cast}", serve: (*call).relation, relation: "memberOf", needs: "GET /devices"},
		{method: "GET", pattern: "/devices/{id}/transitiveMemberOf/{cast}", serve: (*call).relation, relation: "transitiveMemberOf", needs: "GET /devices"},
		{method: "POST", pattern: "/devices/{id}/getMemberGroups", serve: (*call).getMemberGroups, needs: "GET /devices"},
		{method: "POST", pattern: "/devices/{id}/checkMemberGroups", serve: (*call).checkMemberGroups, needs: "GET /devices"},
		{method: "POST", pattern: "/devices/{id}/getMemberObjects", serve: (*call).getMemberObjects, needs: "GET /devices"},
		{method: "POST", pattern: "/devices/{id}/checkMemberObjects", serve: (*call).checkMemberObjects, needs: "GET /devices"},

		{method: "GET", pattern: "/subscribedSkus", serve: (*call).subscribedSkus},
		{method: "GET", pattern: "/subscribedSkus/{id}", serve: (*call).subscribedSku, needs: "GET /subscribedskus"},

		{method: "GET", pattern: "/auditLogs/signIns", serve: (*call).signIns, right: logReader},
		{method: "GET", pattern: "/auditLogs/signIns/{id}", serve: (*call).signIn, needs: "GET /auditlogs/signins", right: logReader},
		{method: "GET", pattern: "/auditLogs/directoryAudits", serve: (*call).directoryAudits, right: logReader},
		{method: "GET", pattern: "/auditLogs/directoryAudits/{id}", serve: (*call).directoryAudit, needs: "GET /auditlogs/directoryaudits", right: logReader},

		// What kind of object it is decides about the permission.
		{method: "GET", pattern: "/directory/deletedItems/{cast}", serve: (*call).deletedItems, needs: open},
		{method: "GET", pattern: "/directory/deletedItems/{id}", serve: (*call).deletedItem, needs: open},
		{method: "POST", pattern: "/directory/deletedItems/{id}/restore", serve: (*call).restore, needs: open, audit: audit("%sManagement", "Restore", "Restore %s")},
		{method: "DELETE", pattern: "/directory/deletedItems/{id}", serve: (*call).purge, needs: open, audit: audit("%sManagement", "Delete", "Hard Delete %s")},

		{method: "GET", pattern: "/{person}/{messages}", counted: true, serve: (*call).messages, needs: "GET /users/{id}/messages", face: mailWork},
		{method: "POST", pattern: "/{person}/{messages}", serve: (*call).createMessage, needs: "POST /users/{id}/messages", face: mailWork},
		{method: "GET", pattern: "/{person}/{messages}/{id}", serve: (*call).message, needs: "GET /users/{id}/messages/{id}", face: mailWork},
		{method: "PATCH", pattern: "/{person}/{messages}/{id}", serve: (*call).updateMessage, needs: "POST /users/{id}/messages", face: mailWork},
		{method: "DELETE", pattern: "/{person}/{messages}/{id}", serve: (*call).deleteMessage, needs: "POST /users/{id}/messages", face: mailWork},
		{method: "GET", pattern: "/{person}/{messages}/{id}/$value", serve: (*call).messageMIME, needs: "GET /users/{id}/messages/{id}", face: mailWork},
		{method: "POST", pattern: "/{person}/{messages}/{id}/move", serve: (*call).moveMessage, needs: "POST /users/{id}/messages", face: mailWork},
		{method: "POST", pattern: "/{person}/{messages}/{id}/copy", serve: (*call).copyMessage, needs: "POST /users/{id}/messages", face: mailWork},
		{method: "POST", pattern: "/{person}/{messages}/{id}/send", serve: (*call).sendDraft, needs: "POST /users/{id}/sendmail", face: mailWork},
		{method: "POST", pattern: "/{person}/{messages}/{id}/reply", serve: (*call).reply, needs: "POST /users/{id}/sendmail", face: mailWork},
		{method: "POST", pattern: "/{person}/{messages}/{id}/replyAll", serve: (*call).replyAll, needs: "POST /users/{id}/sendmail", face: mailWork},
		{method: "POST", pattern: "/{person}/{messages}/{id}/forward", serve: (*call).forward, needs: "POST /users/{id}/sendmail", face: mailWork},
		{method: "POST", pattern: "/{person}/{messages}/{id}/createReply", serve: (*call).createReply, needs: "POST /users/{id}/messages", face: mailWork},
		{method: "POST", pattern: "/{person}/{messages}/{id}/createReplyAll", serve: (*call).createReplyAll, needs: "POST /users/{id}/messages", face: mailWork},
		{method: "POST", pattern: "/{person}/{messages}/{id}/createForward", serve: (*call).createForward, needs: "POST /users/{id}/messages", face: mailWork},
		{method: "GET", pattern: "/{person}/{messages}/{id}/attachments", counted: true, serve: (*call).attachments, needs: "GET /users/{id}/messages/{id}/attachments", face: mailWork},
		{method: "POST", pattern: "/{person}/{messages}/{id}/attachments", serve: (*call).addAttachment, needs: "POST /users/{id}/messages", face: mailWork},
		{method: "POST", pattern: "/{person}/{messages}/{id}/attachments/createUploadSession", serve: (*call).createAttachmentSession, needs: "POST /users/{id}/messages", face: mailWork},
		{method: "GET", pattern: "/{person}/{messages}/{id}/attachments/{id}", serve: (*call).oneAttachment, needs: "GET /users/{id}/messages/{id}/attachments", face: mailWork},
		{method: "DELETE", pattern: "/{person}/{messages}/{id}/attachments/{id}", serve: (*call).deleteAttachment, needs: "POST /users/{id}/messages", face: mailWork},
		{method: "GET", pattern: "/{person}/{messages}/{id}/attachments/{id}/$value", serve: (*call).attachmentValue, needs: "GET /users/{id}/messages/{id}/attachments", face: mailWork},
		{method: "POST", pattern: "/{person}/sendMail", serve: (*call).sendMail, face: mailWork},
		{method: "GET", pattern: "/{person}/messages/delta", serve: (*call).untracked, needs: "GET /users/{id}/messages", face: mailWork},
		{method: "GET", pattern: "/{person}/mailFolders/{id}/messages/delta", serve: (*call).messagesDelta, needs: "GET /users/{id}/messages", face: mailWork},
		{method: "GET", pattern: "/{person}/mailFolders/delta", serve: (*call).mailFoldersDelta, needs: "GET /users/{id}/mailfolders", face: mailWork},
		{method: "GET", pattern: "/{person}/mailFolders", counted: true, serve: (*call).mailFolders, face: mailWork},
		{method: "POST", pattern: "/{person}/mailFolders", serve: (*call).createMailFolder, needs: "POST /users/{id}/messages", face: mailWork},
		{method: "GET", pattern: "/{person}/mailFolders/{id}", serve: (*call).mailFolder, needs: "GET /users/{id}/mailfolders", face: mailWork},
		{method: "PATCH", pattern: "/{person}/mailFolders/{id}", serve: (*call).updateMailFolder, needs: "POST /users/{id}/messages", face: mailWork},
		{method: "DELETE", pattern: "/{person}/mailFolders/{id}", serve: (*call).deleteMailFolder, needs: "POST /users/{id}/messages", face: mailWork},
		{method: "GET", pattern: "/{person}/mailFolders/{id}/childFolders", counted: true, serve: (*call).mailFolders, needs: "GET /users/{id}/mailfolders", face: mailWork},
		{method: "POST", pattern: "/{person}/mailFolders/{id}/childFolders", serve: (*call).createMailFolder, needs: "POST /users/{id}/messages", face: mailWork},

		{method: "GET", pattern: "/{person}/photo", serve: (*call).photo},
		{method: "GET", pattern: "/{person}/photo/$value", serve: (*call).photoValue, needs: "GET /users/{id}/photo"},
		{method: "PUT", pattern: "/{person}/photo/$value", serve: (*call).setPhoto, needs: "PUT /users/{id}/photo", right: orSelf(administrator(userAdministrator))},
		{method: "PATCH", pattern: "/{person}/photo/$value", serve: (*call).setPhoto, needs: "PUT /users/{id}/photo", right: orSelf(administrator(userAdministrator))},
		{method: "GET", pattern: "/{person}/photos", serve: (*call).photos, needs: "GET /users/{id}/photo"},
		{method: "GET", pattern: "/{person}/photos/{id}", serve: (*call).photo, needs: "GET /users/{id}/photo"},
		{method: "GET", pattern: "/{person}/photos/{id}/$value", serve: (*call).photoValue, needs: "GET /users/{id}/photo"},

		{method: "GET", pattern: "/{person}/drives", serve: (*call).drivesOf, needs: "GET /users/{id}/drive", face: driveWork},
		{method: "GET", pattern: "/sites/{id}", serve: (*call).site, face: driveWork},
		{method: "GET", pattern: "/{drive}", serve: (*call).drive, needs: "GET /users/{id}/drive", face: driveWork},
		{method: "GET", pattern: "/{drive}/{item}", serve: (*call).driveItem, needs: "GET /users/{id}/driveitems", face: driveWork},
		{method: "PATCH", pattern: "/{drive}/{item}", serve: (*call).updateItem, needs: "PUT /users/{id}/drive", face: driveWork},
		{method: "DELETE", pattern: "/{drive}/{item}", serve: (*call).deleteItem, needs: "PUT /users/{id}/drive", face: driveWork},
		{method: "GET", pattern: "/{drive}/{item}/children", serve: (*call).children, needs: "GET /users/{id}/driveitems", face: driveWork},
		{method: "POST", pattern: "/{drive}/{item}/children", serve: (*call).createFolder, needs: "PUT /users/{id}/drive", face: driveWork},
		{method: "GET", pattern: "/{drive}/{item}/content", serve: (*call).download, needs: "GET /users/{id}/driveitems", face: driveWork},
		{method: "PUT", pattern: "/{drive}/{item}/content", serve: (*call).putContent, needs: "PUT /users/{id}/drive", face: driveWork},
		{method: "POST", pattern: "/{drive}/{item}/copy", serve: (*call).copyItem, needs: "PUT /users/{id}/drive", face: driveWork},
		{method: "GET", pattern: "/{drive}/{item}/delta", serve: (*call).driveDelta, needs: "GET /users/{id}/driveitems", face: driveWork},
		{method: "GET", pattern: "/{drive}/{item}/search", serve: (*call).searchDrive, needs: "GET /users/{id}/driveitems", face: driveWork},
		{method: "GET", pattern: "/{drive}/search", serve: (*call).searchDrive, needs: "GET /users/{id}/driveitems", face: driveWork},
		{method: "POST", pattern: "/{drive}/{item}/createUploadSession", serve: (*call).createUploadSession, needs: "PUT /users/{id}/drive", face: driveWork},
	}
}

// spellings are what stands for a placeholder of a pattern.
var spellings = []struct {
	mark    string
	written []string
}{
	{"{person}", []string{"me", "users/{id}"}},
	{"{messages}", []string{"messages", "mailFolders/{id}/messages"}},
	{"{drive}", []string{"me/drive", "users/{id}/drive", "drives/{id}"}},
	{"{item}", []string{"root", "items/{id}", "root/{:path}", "items/{id}/{:path}"}},
	{"{cast}", []string{"", "{cast}"}},
}

// node is a segment in the tree of all patterns.
type node struct {
	next    map[string]*node
	methods map[string]*route
}

var (
	treeOnce sync.Once
	theTree  *node
)

// routeTree is the tree of all patterns, grown once.
func routeTree() *node {
	treeOnce.Do(func() { theTree = grow(routes()) })
	return theTree
}

func grow(all []route) *node {
	root := &node{}
	for i := range all {
		r := &all[i]
		r.person = strings.HasPrefix(r.pattern, "/{person}") || strings.HasPrefix(r.pattern, "/users/{id}") || strings.HasPrefix(r.pattern, "/{drive}")
		if r.needs == "" {
			r.needs = r.method + " " + strings.ToLower(strings.Replace(r.pattern, "{person}", "users/{id}", 1))
		}
		patterns := []string{strings.TrimPrefix(r.pattern, "/")}
		for _, spelt := range spellings {
			var more []string
			for _, p := range patterns {
				if !strings.Contains(p, spelt.mark) {
					more = append(more, p)
					continue
				}
				for _, w := range spelt.written {
					more = append(more, strings.TrimSuffix(strings.Replace(p, spelt.mark, w, 1), "/"))
				}
			}
			patterns = more
		}
		for _, p := range slices.Clone(patterns) {
			if r.method == http.MethodGet && (r.counted || r.relation != "") {
				patterns = append(patterns, p+"/$count")
			}
			if r.relation != "" && !strings.HasSuffix(p, "{cast}") {
				patterns = append(patterns, p+"/$ref")
			}
		}
		for _, p := range patterns {
			at := root
			for segment := range strings.SplitSeq(p, "/") {
				segment = strings.ToLower(segment)
				if at.next == nil {
					at.next = map[string]*node{}
				}
				if at.next[segment] == nil {
					at.next[segment] = &node{}
				}
				at = at.next[segment]
			}
			if at.methods == nil {
				at.methods = map[string]*route{}
			}
			if at.methods[r.method] != nil && at.methods[r.method] != r {
				panic("graphsim: two routes for " + r.method + " " + p)
			}
			at.methods[r.method] = r
		}
	}
	return root
}

// endpoint returns the endpoint of a pattern, nil if there is none.
func endpoint(method string, pattern ...string) *route {
	at := routeTree()
	for _, segment := range pattern {
		if at = at.next[strings.ToLower(segment)]; at == nil {
			return nil
		}
	}
	return at.methods[method]
}

// namesTenant says whether a segment means the caller's own tenant, as clients
// that come from Azure AD Graph write it after the version.
func (c *call) namesTenant(segment string) bool {
	if strings.EqualFold(segment, "myorganization") {
		return true
	}
	t, ok := c.World.Tenant(segment)
	return ok && t.ID == c.tenant()
}

// route finds the endpoint of a path below the version and serves the call.
func (c *call) route(path []string) {
	if len(path) > 1 && c.namesTenant(path[0]) {
		path = path[1:]
	}
	if n := len(path) - 1; n > 0 && contains([]string{"delta", "search"}, strings.TrimPrefix(strings.ToLower(path[n-1]), "microsoft.graph.")) && strings.Contains(path[n], "=") {
		path, c.argument = path[:n], path[n]
	}
	path = c.upsert(path)
	at, unknown := routeTree(), -1
	for i, segment := range path {
		if i > 0 {
			var ok bool
			if segment, ok = c.key(path[i-1], segment); !ok {
				return
			}
		}
		next := c.step(at, segment)
		if next == nil {
			unknown = i
			break
		}
		at = next
	}
	if len(path) > 0 && strings.EqualFold(path[0], "me") {
		if !c.token.delegated() {
			c.refuse(http.StatusBadRequest, "BadRequest", "/me request is only valid with delegated authentication flow.")
			return
		}
		c.args = append([]string{c.token.text("oid")}, c.args...)
		c.me = true
	}
	if i := slices.IndexFunc(path, func(s string) bool { return strings.EqualFold(s, "mailFolders") }); i >= 0 && len(path) > i+2 && strings.EqualFold(path[i+2], "messages") {
		// A message is named the same whether its folder stands before it or not.
		c.folder = c.args[1]
		c.args = slices.Delete(c.args, 1, 2)
	}
	if len(path) > 0 && strings.EqualFold(path[0], "drives") && len(c.args) > 0 {
		owner, ok := driveOwner(c.args[0])
		if !ok {
			c.refuse(http.StatusNotFound, "itemNotFound", "The resource could not be found.")
			return
		}
		c.args[0] = owner
	}
	if unknown < 0 && at.methods == nil && len(path) > 0 { // a part of what there is
		c.missing(path[len(path)-1])
		return
	}
	if unknown < 0 && at.methods == nil {
		unknown = 0
	}
	if unknown >= 0 {
		segment := strings.Join(path[min(unknown, len(path)):min(unknown+1, len(path))], "")
		if exists(unknown, segment, typeAt(path[:min(unknown, len(path))])) {
			c.missing(segment)
			return
		}
		c.refuse(http.StatusBadRequest, "BadRequest", "Resource not found for the segment '"+segment+"'.")
		return
	}
	r := at.methods[c.r.Method]
	if c.argument != "" && (r == nil || r.face != driveWork) {
		c.refuse(http.StatusBadRequest, "BadRequest", "Resource not found for the segment '"+c.argument+"'.")
		return
	}
	if last := path[len(path)-1]; r == nil && c.r.Method == http.MethodPost && missingAction(last) {
		c.missing(last)
		return
	}
	if r == nil {
		allowed := make([]string, 0, len(at.methods))
		for m := range at.methods {
			allowed = append(allowed, m)
		}
		slices.Sort(allowed)
		c.w.Header().Set("Allow", strings.Join(allowed, ", "))
		c.refuse(http.StatusMethodNotAllowed, "Request_BadRequest", "Specified HTTP method is not allowed for the request target.")
		return
	}
	c.at = r
	switch {
	case !c.allowed():
		c.denied()
	case c.throttled():
	case r.audit != nil:
		c.audited()
	case r.face == mailWork:
		if strings.EqualFold(c.preference("IdType"), "ImmutableId") {
			c.applied(`IdType="ImmutableId"`)
		}
		r.serve(c)
	default:
		r.serve(c)
	}
}

// typeAt is the type of what a path has come to, if it is one that has
// relations.
func typeAt(path []string) *entityType {
	if len(path) == 0 {
		return nil
	}
	switch first := strings.ToLower(path[0]); {
	case first == "drives", slices.ContainsFunc(path, func(s string) bool { return strings.EqualFold(s, "drive") }):
		return itemType
	case first == "sites":
		return siteType
	case first == "me":
		return userType
	case first == "organization":
		return organizationType
	default:
		return typeOfSet(first)
	}
}

// step goes from a node to the one of a segment.
func (c *call) step(at *node, segment string) *node {
	name := strings.ToLower(segment)
	if next, ok := at.next[name]; ok && name[0] != '{' {
		switch name {
		case "$count":
			c.segmentCount = true
		case "$ref":
			c.references = true
		}
		return next
	}
	if cast, qualified := strings.CutPrefix(name, "microsoft.graph."); qualified {
		if next, ok := at.next[cast]; ok { // a function by its full name
			return next
		}
		if next, ok := at.next["{cast}"]; ok {
			c.cast = cast
			return next
		}
		return nil
	}
	if path, ok := strings.CutPrefix(segment, ":"); ok {
		c.path, c.byPath = path, true
		return at.next["{:path}"]
	}
	next, ok := at.next["{id}"]
	if !ok || strings.HasPrefix(name, "$") || name == "delta" { // which is nobody's id
		return nil
	}
	c.args = append(c.args, segment)
	return next
}

// arg is the i-th {id} of the path. For /me the user is the first.
func (c *call) arg(i int) string { return c.args[i] }

// administrator is the right of those who have one of some roles, or the one
// that includes all others.
func administrator(roles ...string) func(*call) bool {
	return func(c *call) bool {
		u, ok := c.World.User(c.tenant(), c.token.text("oid"))
		return ok && slices.ContainsFunc(u.Roles, func(r string) bool {
			return r == directory.GlobalAdministrator || slices.Contains(roles, r)
		})
	}
}

// logReader is the right of those who may see who signed in and what changed.
var logReader = administrator(reportsReader, securityReader)

var appAdministrator = administrator(applicationAdministrator, cloudApplicationAdministrator)

// orSelf is a right that everybody has on the own record.
func orSelf(right func(*call) bool) func(*call) bool {
	return func(c *call) bool { return c.self(c.arg(0)) || right(c) }
}

// groupKeeper is the right of a group's owners and of administrators.
func groupKeeper(c *call) bool {
	g, ok := c.World.Group(c.tenant(), c.arg(0))
	return ok && slices.Contains(g.Owners, c.token.text("oid")) || administrator(userAdministrator, groupsAdministrator)(c)
}

// appKeeper is the right of an app's owners and of administrators.
func appKeeper(c *call) bool {
	a, ok := c.lookupApp(c.arg(0))
	return ok && slices.Contains(a.Owners, c.token.text("oid")) || appAdministrator(c)
}
