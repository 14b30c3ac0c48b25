package graphsim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// Delta queries begin with everything, page by page, and end with a deltaLink.
// Whoever follows it gets what has changed since the first page was asked for.

const (
	deltaPage = 200
	deltaLife = 7 * 24 * time.Hour
)

// deltaState is what is in a token: no need to repeat the options of the first
// request.
type deltaState struct {
	Made     int64    `json:"t"`           // seconds
	Since    uint64   `json:"s"`           // the change after which changes are told
	Pages    bool     `json:"p,omitempty"` // more pages of everything come, or of the changes
	Until    uint64   `json:"u,omitempty"` // of the pages of changes: the last of them
	Offset   int      `json:"o,omitempty"`
	Mark     string   `json:"b,omitempty"` // the bookmark of the pages of everything
	Crowd    int      `json:"g,omitempty"` // how far into a crowd they have come
	Selected []string `json:"c,omitempty"`
	IDs      []string `json:"i,omitempty"` // the only objects that are followed
	Minimal  bool     `json:"m,omitempty"` // only properties that changed
	Changes  bool     `json:"d,omitempty"` // the pages are of changes
}

// tracked is a kind of object that delta queries follow.
type tracked struct {
	kind string
	t    *entityType
	// relation can be selected and is followed too: manager or members.
	relation string
}

func (c *call) usersDelta() { c.delta(tracked{directory.UserKind, userType, "manager"}) }

func (c *call) groupsDelta() { c.delta(tracked{directory.GroupKind, groupType, "members"}) }

func (c *call) delta(of tracked) {
	state, ok := c.deltaRequest(of)
	if !ok {
		return
	}
	if state.Changes {
		c.deltaChanges(of, state)
		return
	}
	if state.Offset == -1 { // $deltaToken=latest
		c.deltaAnswer(of, state, nil, false)
		return
	}

	// Everything, as it is now: what changes meanwhile is told again later. The
	// crowd never moves, those who are kept do.
	var everything func(i int) (any, bool)
	kept, n := 0, 0
	if of.kind == directory.UserKind {
		p := c.World.People(c.tenant())
		kept, n = len(p.Kept), len(p.Kept)
		if p.Crowd != nil {
			n += p.Crowd.Len()
		}
		everything = func(i int) (any, bool) {
			if i < len(p.Kept) {
				return p.Kept[i], true
			}
			i -= len(p.Kept)
			if u, touched := p.Touched[i]; touched {
				return u, u != nil
			}
			return p.Crowd.User(i), true
		}
	} else {
		groups := c.World.Groups(c.tenant())
		kept, n = len(groups), len(groups)
		everything = func(i int) (any, bool) { return groups[i], true }
	}
	id := func(i int) string { v, _ := everything(i); return idOf(v) }
	i := 0
	switch {
	case state.Crowd > 0:
		i = min(kept+state.Crowd, n)
	case state.Mark != "":
		if i, ok = findBookmark(state.Mark, kept, id); !ok {
			c.badDeltaToken()
			return
		}
	}
	var page []object
	for ; i < n && len(page) < deltaPage; i++ {
		v, ok := everything(i)
		if !ok || state.IDs != nil && !contains(state.IDs, idOf(v)) {
			continue
		}
		page = append(page, c.deltaObject(of, state, v, nil))
	}
	if state.Crowd = max(0, i-kept); state.Crowd == 0 {
		state.Mark = bookmark(i, kept, id)
	}
	c.deltaAnswer(of, state, page, i < n)
}

// deltaRequest reads the options of a delta query, or answers 400 or 410.
func (c *call) deltaRequest(of tracked) (state deltaState, ok bool) {
	options, err := c.options()
	if err != nil {
		c.refuse(http.StatusBadRequest, "BadRequest", err.Error())
		return state, false
	}
	state = deltaState{Made: c.World.Now().Unix(), Since: c.World.Seq(), Minimal: strings.EqualFold(c.preference("return"), "minimal")}
	if state.Minimal {
		c.applied("return=minimal")
	}
	fresh := state
	for _, o := range options {
		switch {
		case (o.name == "$deltatoken" || o.name == "$skiptoken") && len(options) > 1 && !strings.EqualFold(o.value, "latest") && o.value != "":
			c.refuse(http.StatusBadRequest, "BadRequest", "A token of a delta query contains its options: do not repeat them.")
			return state, false
		case o.name == "$deltatoken" && strings.EqualFold(o.value, "latest"):
			state.Offset = -1
		case (o.name == "$deltatoken" || o.name == "$skiptoken") && o.value == "": // from the beginning, as a 410 says
		case o.name == "$deltatoken", o.name == "$skiptoken":
			if state, ok = c.deltaToken(of, o.value, o.name == "$deltatoken"); !ok {
				return state, false
			}
			state.Minimal = fresh.Minimal
			return state, true
		case o.name == "$select":
			plain := slices.DeleteFunc(strings.Split(o.value, ","), func(s string) bool { return strings.EqualFold(strings.TrimSpace(s), of.relation) })
			names := []string{}
			if len(plain) > 0 {
				if names, err = of.t.properties(strings.Join(plain, ",")); err != nil {
					c.refuse(http.StatusBadRequest, "BadRequest", err.Error())
					return state, false
				}
			}
			if of.t == userType && slices.ContainsFunc(names, func(p string) bool { return slices.Contains(singleOnly, p) }) {
				c.refuse(http.StatusNotImplemented, "NotImplemented", "This operation target is not yet supported.")
				return state, false
			}
			if !slices.Contains(names, "id") {
				names = append(names, "id")
			}
			if len(plain) < strings.Count(o.value, ",")+1 {
				names = append(names, of.relation)
			}
			state.Selected = names
		case o.name == "$filter":
			if state.IDs, ok = idsOf(o.value, of.t); !ok {
				c.refuse(http.StatusBadRequest, "Request_UnsupportedQuery", "The $filter of a delta query can only be 'id eq …', up to 50 of them joined by or.")
				return state, false
			}
		case strings.HasPrefix(o.name, "$"):
			c.refuse(http.StatusBadRequest, "Request_UnsupportedQuery", "The query option '"+o.sent+"' is not supported by delta queries.")
			return state, false
		default:
			c.refuse(http.StatusBadRequest, "BadRequest", "The query option '"+o.sent+"' is not known.")
			return state, false
		}
	}
	return state, true
}

// idsOf reads a filter that is nothing but ids.
func idsOf(filter string, t *entityType) ([]string, bool) {
	cond, err := parseFilter(filter, t)
	if err != nil {
		return nil, false
	}
	parts := []*condition{cond}
	if cond.op == "or" {
		parts = cond.parts
	}
	ids := []string{}
	for _, p := range parts {
		if p.op != "eq" || p.of.String() != "id" {
			return nil, false
		}
		ids = append(ids, p.with[0].text)
	}
	return ids, len(ids) <= 50
}

func (c *call) deltaSeal(of tracked, s deltaState) string {
	text, _ := json.Marshal(s)
	return seal("delta\n"+c.tenant()+"\n"+of.kind, string(text))
}

func (c *call) badDeltaToken() {
	c.refuse(http.StatusBadRequest, "syncStateInvalid", "The sync state of the token is not valid.")
}

// deltaToken reads a token, or answers 410 if it is too old.
func (c *call) deltaToken(of tracked, token string, link bool) (s deltaState, ok bool) {
	text, ok := unseal("delta\n"+c.tenant()+"\n"+of.kind, token)
	if !ok || json.Unmarshal([]byte(text), &s) != nil || s.Offset < 0 || link == s.Pages {
		c.badDeltaToken()
		return s, false
	}
	_, _, reaches := c.World.Changes(c.tenant(), of.kind, s.Since)
	if c.World.Now().Sub(time.Unix(s.Made, 0)) > deltaLife || !reaches {
		c.w.Header().Set("Location", c.origin()+c.r.URL.EscapedPath()+"?$deltatoken=")
		c.refuse(http.StatusGone, "resyncRequired", "The sync state generation is not found: resynchronize from the beginning.")
		return s, false
	}
	if link {
		s.Changes, s.Pages, s.Offset, s.Until = true, false, 0, c.World.Seq()
	}
	return s, true
}

// deltaChanges answers with a page of what has changed.
func (c *call) deltaChanges(of tracked, state deltaState) {
	changes, _, _ := c.World.Changes(c.tenant(), of.kind, state.Since)
	type story struct {
		before directory.Change // the first change: what it was
		after  directory.Change // the last one
	}
	stories := map[string]*story{}
	var order []string
	for _, ch := range changes {
		if ch.Seq > state.Until || state.IDs != nil && !contains(state.IDs, ch.ID) {
			continue
		}
		s, known := stories[ch.ID]
		if !known {
			s = &story{before: ch}
			stories[ch.ID] = s
			order = append(order, ch.ID)
		}
		s.after = ch
	}
	var page []object
	i := state.Offset
	for ; i < len(order) && len(page) < deltaPage; i++ {
		id := order[i]
		s := stories[id]
		var v, before any
		found := false
		if of.kind == directory.UserKind {
			var u *directory.User
			u, found = c.World.User(c.tenant(), id)
			v = u
			if s.before.User != nil {
				before = s.before.User
			}
		} else {
			var g *directory.Group
			g, found = c.World.Group(c.tenant(), id)
			v = g
			if s.before.Group != nil {
				before = s.before.Group
			}
		}
		switch {
		case found && s.before.Removed != "" && s.after.Removed == "" && before != nil && !state.Minimal:
			page = append(page, c.deltaObject(of, state, v, nil)) // restored: all of it
		case found:
			page = append(page, c.deltaObject(of, state, v, before))
		case s.after.Removed != "" && before != nil:
			page = append(page, object{{"id", id}, {"@removed", object{{"reason", s.after.Removed}}}})
		}
	}
	state.Offset = i
	c.deltaAnswer(of, state, page, i < len(order))
}

// deltaObject shows an object with its relation. before is what it was, nil if
// it is new.
func (c *call) deltaObject(of tracked, state deltaState, v, before any) object {
	names := slices.DeleteFunc(slices.Clone(state.Selected), func(s string) bool { return s == of.relation })
	if state.Selected == nil {
		names = of.t.shown
	}
	if state.Minimal && before != nil {
		names = slices.DeleteFunc(slices.Clone(names), func(name string) bool {
			was, _ := of.t.get(before, name)
			is, _ := of.t.get(v, name)
			a, _ := encode(was)
			b, _ := encode(is)
			return name != "id" && string(a) == string(b)
		})
	}
	o := of.t.show(v, names)
	// Groups tell of their members unasked, users of their manager on demand.
	if slices.Contains(state.Selected, of.relation) || state.Selected == nil && of.kind == directory.GroupKind {
		was := []string{}
		if before != nil {
			was = relatives(before)
		}
		changes := []object{}
		for _, id := range relatives(v) {
			if !slices.Contains(was, id) {
				if other, ok := c.object(id); ok {
					changes = append(changes, object{{"@odata.type", "#microsoft.graph." + typeOf(other).name}, {"id", id}})
				}
			}
		}
		for _, id := range was {
			if !slices.Contains(relatives(v), id) {
				kind := "user"
				if other, ok := c.object(id); ok {
					kind = typeOf(other).name
				}
				changes = append(changes, object{{"@odata.type", "#microsoft.graph." + kind}, {"id", id}, {"@removed", object{{"reason", "deleted"}}}})
			}
		}
		if len(changes) > 0 {
			o = append(o, member{of.relation + "@delta", changes})
		}
	}
	return o
}

// relatives are the ids that the followed relation of an object leads to.
func relatives(v any) []string {
	switch v := v.(type) {
	case *directory.User:
		if v.Manager != "" {
			return []string{v.Manager}
		}
	case *directory.Group:
		return v.Members
	}
	return nil
}

// deltaAnswer answers with a page and a link to the next one, or to what will
// change after it.
func (c *call) deltaAnswer(of tracked, state deltaState, page []object, more bool) {
	var o object
	if !c.noMetadata() {
		columns := ""
		if state.Selected != nil {
			columns = "(" + strings.Join(state.Selected, ",") + ")"
		}
		o = append(o, member{"@odata.context", c.metadata(of.t.set + columns)})
	}
	address := c.origin() + c.r.URL.EscapedPath() + "?"
	if more {
		state.Pages = true
		o = append(o, member{"@odata.nextLink", address + "$skiptoken=" + c.deltaSeal(of, state)})
	} else {
		next := deltaState{Made: c.World.Now().Unix(), Since: state.Since, Selected: state.Selected, IDs: state.IDs}
		if state.Changes {
			next.Since = state.Until
		}
		o = append(o, member{"@odata.deltaLink", address + "$deltatoken=" + c.deltaSeal(of, next)})
	}
	if page == nil {
		page = []object{}
	}
	c.odata(append(o, member{"value", page}))
}
