package graphsim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"maps"
	"net"
	"net/http"
	"slices"
	"strings"

	"github.com/fobauth/fob/aadsts"
	"github.com/fobauth/fob/entratest/internal/directory"
)

const logPage = 1000

var (
	signInType = &entityType{name: "signIn", set: "signIns",
		shown: []string{"id", "createdDateTime", "userDisplayName", "userPrincipalName", "userId", "appId", "appDisplayName", "ipAddress", "clientAppUsed",
			"correlationId", "conditionalAccessStatus", "isInteractive", "riskDetail", "riskLevelAggregated", "riskLevelDuringSignIn", "riskState", "riskEventTypes",
			"riskEventTypes_v2", "resourceDisplayName", "resourceId", "status", "deviceDetail", "location", "appliedConditionalAccessPolicies"},
		value: func(v any, name string) (any, bool) { return signInValue(v.(directory.SignIn), name) }}
	// betaSignInType knows those of apps, too.
	betaSignInType = &entityType{name: "signIn", set: "signIns", bases: []string{"betaSignIn"},
		value: func(v any, name string) (any, bool) { return signInValue(v.(directory.SignIn), name) }}
	auditType = &entityType{name: "directoryAudit", set: "directoryAudits",
		value: func(v any, name string) (any, bool) { return auditValue(v.(directory.Audit), name) }}
)

func signInValue(s directory.SignIn, name string) (any, bool) {
	u, resource := s.User, s.Resource
	if u == nil {
		u = &directory.User{}
	}
	if resource == nil {
		resource = &directory.App{}
	}
	switch name {
	case "id":
		return s.ID, true
	case "createdDateTime":
		return date(s.At), true
	case "correlationId":
		return s.Correlation, true
	case "userId":
		return u.ID, true
	case "userPrincipalName":
		if s.Account != nil { // of guests, the name that they sign in with
			return strings.ToLower(s.Account.UPN), true
		}
		return strings.ToLower(u.UPN), true
	case "userDisplayName":
		return u.DisplayName, true
	case "appId":
		return s.App.ClientID, true
	case "appDisplayName":
		return s.App.Name, true
	case "resourceId":
		return text(resource.ClientID), true
	case "resourceDisplayName":
		return text(resource.Name), true
	case "ipAddress":
		return s.IP, true
	case "userAgent":
		return text(s.UserAgent), true
	case "isInteractive":
		return s.Kind == "interactiveUser", true
	case "signInEventTypes":
		return []string{s.Kind}, true
	case "authenticationProtocol":
		return s.Protocol, true
	case "servicePrincipalId", "servicePrincipalName":
		switch {
		case s.User != nil:
			return "", true
		case name == "servicePrincipalName":
			return s.App.Name, true
		}
		return directory.PrincipalID(s.Tenant, s.App), true
	case "clientAppUsed":
		if strings.HasPrefix(s.UserAgent, "Mozilla/") {
			return "Browser", true
		}
		return "Mobile Apps and Desktop clients", true
	case "status":
		reason, more := "Other.", any(nil)
		if s.Code != 0 {
			reason = s.Reason
			if known, ok := aadsts.Lookup(s.Code); ok {
				more = text(known.Fix)
			}
		}
		return object{{"errorCode", s.Code}, {"failureReason", reason}, {"additionalDetails", more}}, true
	case "conditionalAccessStatus":
		return "notApplied", true
	case "riskDetail", "riskLevelAggregated", "riskLevelDuringSignIn", "riskState":
		return "none", true
	case "deviceDetail":
		return object{{"deviceId", ""}, {"displayName", ""}, {"operatingSystem", ""}, {"browser", ""}, {"isCompliant", false}, {"isManaged", false}, {"trustType", ""}}, true
	case "location":
		return object{{"city", ""}, {"state", ""}, {"countryOrRegion", ""}, {"geoCoordinates", object{{"altitude", nil}, {"latitude", nil}, {"longitude", nil}}}}, true
	}
	return nil, false
}

func auditValue(a directory.Audit, name string) (any, bool) {
	switch name {
	case "id":
		return a.ID, true
	case "correlationId":
		return a.Correlation, true
	case "activityDateTime":
		return date(a.At), true
	case "activityDisplayName":
		return a.Activity, true
	case "category":
		return a.Category, true
	case "operationType":
		return a.Operation, true
	case "loggedByService":
		return "Core Directory", true
	case "result":
		return "success", true
	case "resultReason":
		return "", true
	case "initiatedBy":
		if a.User != nil {
			return object{{"app", nil}, {"user", object{{"displayName", a.User.DisplayName}, {"id", a.User.ID}, {"ipAddress", a.IP}, {"userPrincipalName", a.User.UPN}}}}, true
		}
		if a.App == nil {
			return object{{"app", nil}, {"user", nil}}, true
		}
		return object{{"app", object{{"appId", a.App.ClientID}, {"displayName", a.App.Name}, {"servicePrincipalId", directory.PrincipalID(a.Tenant, a.App)},
			{"servicePrincipalName", nil}}}, {"user", nil}}, true
	case "targetResources":
		out := []object{}
		for _, t := range a.Targets {
			changed := []object{}
			for _, p := range t.Changed {
				changed = append(changed, object{{"displayName", p.Name}, {"newValue", text(p.New)}, {"oldValue", text(p.Old)}})
			}
			out = append(out, object{{"displayName", text(t.Name)}, {"groupType", nil}, {"id", t.ID}, {"modifiedProperties", changed}, {"type", t.Type}, {"userPrincipalName", text(t.UPN)}})
		}
		return out, true
	}
	return nil, false
}

// signIns answers with the sign-ins of people. Those of apps, and those without
// a person at hand, are in the beta version for who asks for them.
func (c *call) signIns() {
	t := signInType
	if c.version == "beta" {
		t = betaSignInType
	}
	q, ok := c.queryOf(t, pageable|filterable, logPage, logPage)
	if !ok {
		return
	}
	var rows []any
	for _, s := range c.World.SignIns(c.tenant()) {
		if s.Kind == "interactiveUser" || q.filter.names("signInEventTypes") {
			rows = append(rows, s)
		}
	}
	c.collect(q, t, "auditLogs/signIns", rows, func(v any) object { return t.show(v, q.selected) })
}

func (c *call) signIn() {
	q, ok := c.query(signInType, 0)
	if !ok {
		return
	}
	for _, s := range c.World.SignIns(c.tenant()) {
		if strings.EqualFold(s.ID, c.arg(0)) {
			c.entity("auditLogs/signIns"+q.columns()+"/$entity", signInType.show(s, q.selected))
			return
		}
	}
	c.notFound(c.arg(0))
}

func (c *call) directoryAudits() {
	q, ok := c.queryOf(auditType, pageable|filterable, logPage, logPage)
	if !ok {
		return
	}
	c.collect(q, auditType, "auditLogs/directoryAudits", all(c.World.Audits(c.tenant())), func(v any) object { return auditType.show(v, q.selected) })
}

func (c *call) directoryAudit() {
	q, ok := c.query(auditType, 0)
	if !ok {
		return
	}
	for _, a := range c.World.Audits(c.tenant()) {
		if strings.EqualFold(a.ID, c.arg(0)) {
			c.entity("auditLogs/directoryAudits"+q.columns()+"/$entity", auditType.show(a, q.selected))
			return
		}
	}
	c.notFound(c.arg(0))
}

// audited serves a write and, if it was done, writes it down.
func (c *call) audited() {
	before, id := c.target()
	observed := &statusOf{ResponseWriter: c.w}
	c.w = observed
	written := c.at.audit
	entry := directory.Audit{ID: c.id, Correlation: c.clientID, Tenant: c.tenant(), At: c.World.Now(), Category: written.category, Operation: written.operation, Activity: written.activity}
	if c.token.delegated() {
		entry.User, _ = c.World.User(c.tenant(), c.token.text("oid"))
	}
	entry.App, _ = c.World.App(c.tenant(), c.token.client())
	if entry.IP, _, _ = net.SplitHostPort(c.r.RemoteAddr); entry.IP == "" {
		entry.IP = c.r.RemoteAddr
	}
	// The client may ask for the log as soon as it has the answer.
	observed.before = func(status int) {
		if status >= 300 {
			return
		}
		if made := c.w.Header().Get("Location"); made != "" {
			id = made[strings.LastIndexByte(made, '/')+1:]
		}
		id = cmp.Or(c.concerns, id)
		after, _ := c.object(id)
		target := c.auditTarget(id, before, after)
		entry.Activity = strings.ReplaceAll(entry.Activity, "%s", strings.ToLower(target.Type))
		entry.Category = strings.ReplaceAll(entry.Category, "%s", target.Type)
		if member, ok := c.object(c.referenced()); ok { // who came or went, before where
			entry.Targets = append(entry.Targets, c.auditTarget(idOf(member), nil, member))
		}
		entry.Targets = append(entry.Targets, target)
		c.World.AddAudit(entry)
	}
	c.at.serve(c)
}

// target is the object that a path changes, and its id.
func (c *call) target() (v any, id string) {
	if len(c.args) == 0 {
		return nil, ""
	}
	if u, ok := c.World.User(c.tenant(), c.arg(0)); ok && c.at.person {
		return u, u.ID
	}
	if v, ok := c.object(c.arg(0)); ok {
		return v, idOf(v)
	}
	for _, d := range c.World.DeletedItems(c.tenant()) {
		if strings.EqualFold(d.ID, c.arg(0)) {
			_, v = deletedType(d)
		}
	}
	return v, c.arg(0)
}

// referenced is the id of the object that a write of a reference is about.
func (c *call) referenced() string {
	if !strings.HasSuffix(c.at.pattern, "/$ref") {
		return ""
	}
	if len(c.args) > 1 {
		return c.arg(1)
	}
	var body map[string]any
	_ = json.Unmarshal(c.body, &body) // it was read before
	id, _ := c.referred(str(body["@odata.id"]))
	return id
}

// auditTarget says what of an object was changed, by the members of the
// request.
func (c *call) auditTarget(id string, before, after any) directory.AuditTarget {
	t := directory.AuditTarget{ID: id, Type: "Other"}
	v := after
	if v == nil {
		v = before
	}
	if v == nil {
		return t
	}
	of := typeOf(v)
	name, _ := of.value(v, "displayName")
	t.Type, t.Name = upperFirst(of.name), str(name)
	if u, ok := v.(*directory.User); ok {
		t.UPN = u.UPN
	}
	var body map[string]any
	if json.Unmarshal(c.body, &body) != nil {
		return t
	}
	asJSON := func(v any, name string) string {
		if v == nil {
			return ""
		}
		value, _ := of.get(v, name)
		text, _ := encode(value)
		if bytes.Equal(text, []byte("null")) {
			return ""
		}
		return string(text)
	}
	for _, sent := range slices.Sorted(maps.Keys(body)) {
		proper, ok := of.find(sent)
		if !ok || proper == "passwordProfile" {
			continue
		}
		t.Changed = append(t.Changed, directory.AuditChange{Name: upperFirst(proper), Old: asJSON(before, proper), New: asJSON(after, proper)})
	}
	return t
}

// auditing is what the log of changes calls a write.
type auditing struct{ category, operation, activity string }

func audit(category, operation, activity string) *auditing {
	return &auditing{category, operation, activity}
}

// statusOf sees the status of an answer before it is sent.
type statusOf struct {
	http.ResponseWriter
	before func(status int)
	told   bool
}

func (s *statusOf) WriteHeader(status int) {
	if !s.told {
		s.told = true
		s.before(status)
	}
	s.ResponseWriter.WriteHeader(status)
}

func (s *statusOf) Write(b []byte) (int, error) {
	if !s.told {
		s.WriteHeader(http.StatusOK)
	}
	return s.ResponseWriter.Write(b)
}
