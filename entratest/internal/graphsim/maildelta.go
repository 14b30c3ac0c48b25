package graphsim

import (
	"cmp"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// The delta of mail is that of one folder's messages, or of all folders. It
// begins with everything there is and ends with a deltaLink; whoever follows it
// gets each thing that has changed since, once, and what is gone or was moved
// elsewhere as removed.

// history is when what has changed in a mailbox, by numbers that grow with
// every change.
type history struct {
	seq     uint64            // of the last change
	forgot  uint64            // nothing is remembered of what is gone since before this one
	gone    []lost            // oldest first
	touched map[string]uint64 // the last change of a folder or of how much is in it, by its key
}

// lost is a message that is not in a folder any more or, where in is empty, a
// folder that has been deleted.
type lost struct {
	id, in     string
	since, seq uint64 // the change by which it came, the one by which it went
}

// touch notes changes of folders, one each, for pages end between two of them. It
// returns the number of the last one.
func (h *history) touch(keys ...string) uint64 {
	if h.touched == nil {
		h.touched = map[string]uint64{}
	}
	for _, key := range keys {
		h.seq++
		h.touched[key] = h.seq
	}
	return h.seq
}

// lose notes that something is gone.
func (h *history) lose(id, in string, since uint64) {
	seq := h.touch(cmp.Or(in, mailRoot))
	if len(h.gone) >= maxGone {
		h.forgot = h.gone[maxGone/2-1].seq
		h.gone = slices.Delete(h.gone, 0, maxGone/2)
	}
	h.gone = append(h.gone, lost{id, in, since, seq})
	if in == "" {
		delete(h.touched, id)
	}
}

// mailState is what is in a token. It stands for the options of the first
// request, which nobody repeats.
type mailState struct {
	Box     int64  `json:"b"`           // when the mailbox was made: it dies with the emulator
	Since   uint64 `json:"s"`           // the change after which changes are told
	Until   uint64 `json:"u,omitempty"` // of the pages of one answer: the last change that they tell
	After   place  `json:"a"`           // where the page before ended
	Pages   bool   `json:"p,omitempty"` // more pages come
	Changes bool   `json:"d,omitempty"` // they are of changes
	Options string `json:"o,omitempty"` // as they were sent
	Kind    string `json:"k,omitempty"` // changeType: created, updated or deleted
}

// place is where something stands in the order in which it is told: by a date,
// newest first, and then by a number.
type place struct {
	Date   string `json:"d,omitempty"`
	Number uint64 `json:"n,omitempty"`
}

// told is a line of an answer.
type told struct {
	at      place
	kind    string // created, updated or deleted
	removed string // the id of what is gone
	value   any
}

// messagesDelta tells what has changed among the messages of a folder.
func (c *call) messagesDelta() {
	u, in, ok := c.mailbox()
	if !ok {
		return
	}
	state, q, ok := c.mailDeltaRequest(u, in.key, messageType, pageable|filterable|expandable)
	if !ok {
		return
	}
	if q.search != nil || len(q.order) > 0 && (len(q.order) > 1 || q.order[0].of.String() != "receivedDateTime" || !q.order[0].down) {
		c.refuse(http.StatusBadRequest, "BadRequest", "Of $orderby and $search, the delta of messages supports $orderby=receivedDateTime desc only.")
		return
	}
	if q.filter != nil && (q.filter.op != "ge" && q.filter.op != "gt" || q.filter.of.String() != "receivedDateTime") {
		c.refuse(http.StatusBadRequest, "BadRequest", "The delta of messages supports $filter=receivedDateTime ge or gt a date only.")
		return
	}
	c.preferBody()
	c.mail.mu.Lock()
	b := c.mail.box(u.ID)
	var lines []told
	here := map[string]bool{}
	for _, m := range b.messages {
		if m.folder != in.key || !q.matches(m, messageType) {
			continue
		}
		here[m.id] = true
		line := told{at: place{str(m.values["receivedDateTime"]), m.arrived}, kind: "created", value: m}
		if state.Changes {
			line.at = place{"", m.changed}
			if m.arrived <= state.Since {
				line.kind = "updated"
			}
		}
		lines = append(lines, line)
	}
	if state.Changes {
		for _, g := range b.gone {
			if g.in == in.key && g.since <= state.Since && !here[g.id] {
				lines = append(lines, told{at: place{"", g.seq}, kind: "deleted", removed: g.id})
			}
		}
	}
	c.mail.mu.Unlock()
	c.tellMail(u, in.key, messageType, state, q, lines, func(v any) object { return c.showMessage(v.(*message), q.selected) })
}

// mailFoldersDelta tells what has changed among all folders.
func (c *call) mailFoldersDelta() {
	u, ok := c.mailboxOwner()
	if !ok {
		return
	}
	state, q, ok := c.mailDeltaRequest(u, "", folderType, 0)
	if !ok {
		return
	}
	all := c.folders(u)
	c.mail.mu.Lock()
	b := c.mail.box(u.ID)
	var lines []told
	for i, f := range all {
		if f.key == mailRoot {
			continue
		}
		line := told{at: place{"", uint64(i)}, kind: "created", value: f}
		switch {
		case state.Changes:
			line.at.Number = b.touched[f.key]
		case f.arrived > 0: // later than those that were always there
			line.at.Number = uint64(len(wellKnown)) + f.arrived
		}
		lines = append(lines, line)
	}
	if state.Changes {
		for _, g := range b.gone {
			if g.in == "" && g.since <= state.Since {
				lines = append(lines, told{at: place{"", g.seq}, kind: "deleted", removed: g.id})
			}
		}
	}
	c.mail.mu.Unlock()
	c.tellMail(u, "", folderType, state, q, lines, func(v any) object { return folderType.show(v, q.selected) })
}

// mailDeltaRequest reads the options and the token of a delta query, or answers
// 400 or 410. The options of the first request are those of all that follow.
func (c *call) mailDeltaRequest(u *directory.User, folder string, t *entityType, allowed int) (state mailState, q query, ok bool) {
	options, err := c.options()
	if err != nil {
		c.refuse(http.StatusBadRequest, "BadRequest", err.Error())
		return state, q, false
	}
	c.mail.mu.Lock()
	b := c.mail.box(u.ID)
	made, seq, forgot := b.made, b.seq, b.forgot
	c.mail.mu.Unlock()
	state = mailState{Box: made, Until: seq}
	var keep []string
	for _, o := range options {
		switch token := o.name == "$deltatoken" || o.name == "$skiptoken"; {
		case token && o.value == "": // from the beginning, as a 410 says
		case token && len(options) > 1:
			c.refuse(http.StatusBadRequest, "BadRequest", "A token of a delta query contains its options: do not repeat them.")
			return state, q, false
		case token:
			text, good := unseal(c.mailListing(u, folder), o.value)
			if !good || json.Unmarshal([]byte(text), &state) != nil || state.Pages != (o.name == "$skiptoken") {
				c.badDeltaToken()
				return state, q, false
			}
			if state.Box != made || state.Since > seq || (state.Changes || !state.Pages) && state.Since < forgot {
				c.w.Header().Set("Location", c.origin()+c.r.URL.EscapedPath()+"?$deltatoken=")
				c.refuse(http.StatusGone, "syncStateNotFound", "The sync state generation is not found.")
				return state, q, false
			}
			if !state.Pages {
				state.Changes, state.Until = true, seq
			}
			keep = []string{state.Options}
		case o.name == "changetype" && t == messageType:
			if state.Kind = strings.ToLower(o.value); !slices.Contains([]string{"created", "updated", "deleted"}, state.Kind) {
				c.refuse(http.StatusBadRequest, "BadRequest", "The value '"+o.value+"' of changeType is none of created, updated and deleted.")
				return state, q, false
			}
		default:
			keep = append(keep, o.raw)
		}
	}
	state.Options = strings.Join(keep, "&")
	page, ok := c.maxPageSize()
	if !ok {
		return state, q, false
	}
	first := *c.r.URL
	first.RawQuery = state.Options
	again := c.r.Clone(c.r.Context())
	again.URL, c.r = &first, again
	if q, ok = c.queryOf(t, allowed, page, maxMailPage); ok && q.selected != nil && !slices.Contains(q.selected, "id") && !slices.Contains(q.selected, "*") {
		q.selected = append(q.selected, "id")
	}
	return state, q, ok
}

func (c *call) mailListing(u *directory.User, folder string) string {
	return "mail delta\n" + u.ID + "\n" + folder
}

// tellMail answers with a page of what a delta tells: of all lines those that
// are due, in their order.
func (c *call) tellMail(u *directory.User, folder string, t *entityType, state mailState, q query, lines []told, show func(any) object) {
	compare := func(a, b place) int {
		if by := strings.Compare(b.Date, a.Date); by != 0 || a.Date == "" {
			return cmp.Or(by, cmp.Compare(a.Number, b.Number))
		}
		return cmp.Compare(b.Number, a.Number)
	}
	due := slices.DeleteFunc(lines, func(l told) bool {
		switch {
		case state.After != (place{}) && compare(l.at, state.After) <= 0:
			return true
		case state.Changes:
			return l.at.Number <= state.Since || l.at.Number > state.Until || state.Kind != "" && l.kind != state.Kind
		}
		return false
	})
	slices.SortFunc(due, func(a, b told) int { return compare(a.at, b.at) })

	next, link, parameter := mailState{Box: state.Box, Since: state.Until, Options: state.Options, Kind: state.Kind}, "@odata.deltaLink", "$deltatoken="
	if len(due) > q.top {
		due = due[:q.top]
		next, link, parameter = state, "@odata.nextLink", "$skiptoken="
		next.Pages, next.After = true, due[q.top-1].at
	}
	value := []object{}
	for _, l := range due {
		o := object{{"id", l.removed}, {"@removed", object{{"reason", "deleted"}}}}
		if l.value != nil {
			var ok bool
			if o, ok = c.expanded(show(l.value), l.value, q); !ok {
				return
			}
		}
		if !c.noMetadata() {
			o = append(object{{"@odata.type", "#microsoft.graph." + t.name}}, o...)
		}
		value = append(value, o)
	}
	var o object
	if !c.noMetadata() {
		o = object{{"@odata.context", c.metadata("Collection(" + t.name + ")")}}
	}
	text, _ := json.Marshal(next)
	address := c.origin() + c.r.URL.EscapedPath() + "?" + parameter + seal(c.mailListing(u, folder), string(text))
	c.odata(append(o, member{link, address}, member{"value", value}))
}

// untracked answers for messages without a folder, which have no delta.
func (c *call) untracked() {
	c.refuse(http.StatusBadRequest, "BadRequest", "Change tracking is not supported against 'microsoft.graph.message'.")
}
