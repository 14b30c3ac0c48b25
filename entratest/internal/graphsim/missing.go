package graphsim

import (
	"slices"
	"strings"
)

// What Graph has and the emulator has not. Whoever asks for one of these shall
// not look for a typing mistake: they are answered with 501 rather than as
// unknown segments.
var (
	missingSets = strings.Fields(`$metadata admin auditLogs contacts contracts devices directory drives groupSettings identity identityProviders
		invitations me policies reports roleManagement schemaExtensions security shares sites subscribedSkus subscriptions teams`)
	missingActions = strings.Fields(`addKey addPassword changePassword checkMemberGroups checkMemberObjects copy createReply createForward delta
		exportPersonalData findMeetingTimes forward getMailTips getMemberGroups getMemberObjects move removeKey removePassword reply replyAll restore
		setVerifiedPublisher unsetVerifiedPublisher attachments versions thumbnails permissions search $ref $value $count`)
)

// exists says whether Graph has a segment where the emulator has none: the
// first of a path, or a relation, property or action of a type.
func exists(i int, segment string, of *entityType) bool {
	segment = strings.TrimPrefix(strings.ToLower(segment), "microsoft.graph.")
	same := func(name string) bool { return strings.ToLower(name) == segment }
	if i == 0 {
		return slices.ContainsFunc(missingSets, same)
	}
	if slices.ContainsFunc(missingActions, same) {
		return true
	}
	if of == nil {
		return false
	}
	_, property := of.find(segment)
	_, _, relation := of.relation(segment)
	return property || relation
}
