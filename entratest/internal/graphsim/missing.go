package graphsim

import (
	"slices"
	"strings"
)

// What Graph has and the emulator has not. Whoever asks for one of these shall
// not look for a typing mistake: they are answered with 501 rather than as
// unknown segments.
var (
	missingSets = strings.Fields(`$batch $metadata admin applications auditLogs contacts contracts devices directory directoryObjects
		directoryRoles directoryRoleTemplates domains drives groupSettings identity identityProviders invitations
		oauth2PermissionGrants policies reports roleManagement schemaExtensions security servicePrincipals shares sites
		subscribedSkus subscriptions teams`)
	missingOfUser = strings.Fields(`activities adhocCalls agreementAcceptances appRoleAssignments authentication calendar calendarGroups calendars
		calendarView chats cloudClipboard cloudPCs contactFolders contacts createdObjects dataSecurityAndGovernance
		deviceManagementTroubleshootingEvents directReports drive drives employeeExperience events extensions
		followedSites inferenceClassification insights joinedTeams licenseDetails mailFolders managedAppRegistrations
		managedDevices manager messages oauth2PermissionGrants onenote onlineMeetings onPremisesSyncBehavior outlook
		ownedDevices ownedObjects people permissionGrants photo photos planner presence registeredDevices
		scopedRoleMemberOf settings solutions sponsorOf sponsors teamwork todo transitiveMemberOf
		changePassword checkMemberGroups checkMemberObjects delta exportPersonalData findMeetingTimes getMailTips getMemberGroups
		getMemberObjects revokeSignInSessions sendMail`)
	missingOfGroup = strings.Fields(`acceptedSenders appRoleAssignments calendar calendarView conversations createdOnBehalfOf drive drives events
		extensions groupLifecyclePolicies memberOf membersWithLicenseErrors onenote onPremisesSyncBehavior owners
		permissionGrants photo photos planner rejectedSenders settings sites team threads transitiveMemberOf
		transitiveMembers
		checkMemberGroups checkMemberObjects delta getMemberGroups getMemberObjects`)
)

// missing says whether a segment is one of a list, in any case, perhaps with
// the namespace that functions are called by.
func missing(list []string, segment string) bool {
	segment = strings.TrimPrefix(strings.ToLower(segment), "microsoft.graph.")
	return slices.ContainsFunc(list, func(name string) bool { return strings.ToLower(name) == segment })
}
