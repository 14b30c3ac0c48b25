package graphsim

import (
	"net/http"
	"strings"
)

// What Graph has and the emulator has not. Whoever asks for one of these shall
// not look for a typing mistake: they are answered with 501 rather than as
// unknown segments.
const (
	missingSets = `$metadata admin auditLogs contacts contracts devices directory drives groupSettings identity identityProviders
		me policies reports roleManagement schemaExtensions security shares sites subscribedSkus subscriptions teams`
	missingActions = `addKey addPassword changePassword checkMemberGroups checkMemberObjects copy createForward createReply createReplyAll
		createUploadSession delta exportPersonalData findMeetingTimes forward getMailTips getMemberGroups getMemberObjects move permanentDelete
		removeKey removePassword reply replyAll restore search setVerifiedPublisher unsetVerifiedPublisher`
	missingInDrives = `analytics bundles checkin checkout createLink delta follow following invite list listItem preview recent sharedWithMe
		special subscriptions unfollow workbook`
	missingSegments = `attachments permissions thumbnails versions $ref $value $count`
)

// exists says whether Graph has a segment where the emulator has none: the
// first of a path, or a relation, property or action of a type.
func exists(i int, segment string, of *entityType) bool {
	segment = strings.TrimPrefix(strings.ToLower(segment), "microsoft.graph.")
	switch {
	case i == 0:
		return contains(strings.Fields(missingSets), segment)
	case contains(strings.Fields(missingSegments), segment), missingAction(segment):
		return true
	case of == nil:
		return false
	case of == itemType && contains(strings.Fields(missingInDrives), segment):
		return true
	}
	_, property := of.find(segment)
	_, _, relation := of.relation(segment)
	return property || relation
}

func missingAction(segment string) bool { return contains(strings.Fields(missingActions), segment) }

func (c *call) missing(segment string) {
	c.refuse(http.StatusNotImplemented, "NotImplemented", "The emulator's Graph has no '"+segment+"' here.")
}
