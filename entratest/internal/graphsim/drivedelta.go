package graphsim

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A drive's delta tells the latest state of what has changed since a token was
// made, each item once. Its parents come along, so that whoever sees a drive for
// the first time knows where an item belongs, but not their path: items inside
// of a folder that is renamed do not change.

const (
	driveDeltaPage = 200
	maxDeltaPage   = 1000
	maxGone        = 10_000 // deleted items that a drive remembers
)

// driveState is what is in a token. It stands for its options.
type driveState struct {
	Drive    int64    `json:"d"`           // when the drive was made, in nanoseconds: it dies with the emulator
	Made     int64    `json:"t"`           // seconds
	Since    uint64   `json:"s"`           // the change after which changes are told
	Until    uint64   `json:"u,omitempty"` // of the pages of one answer: the last change that they tell
	After    int      `json:"a,omitempty"` // the item that the page before ended with, by the order of their making
	Top      int      `json:"n,omitempty"`
	Selected []string `json:"c,omitempty"`
}

func (c *call) driveDelta() {
	options, err := c.options()
	if err != nil {
		c.refuse(http.StatusBadRequest, "invalidRequest", err.Error())
		return
	}
	var state driveState
	token, inPath := c.functionArgument("token")
	for _, o := range options {
		switch o.name {
		case "token":
			if inPath {
				c.refuse(http.StatusBadRequest, "invalidRequest", "The token was specified more than once.")
				return
			}
			token, inPath = o.value, true
		case "$select":
			if state.Selected, err = itemType.properties(o.value); err != nil {
				c.refuse(http.StatusBadRequest, "invalidRequest", err.Error())
				return
			}
		case "$top":
			if state.Top, err = strconv.Atoi(o.value); err != nil || state.Top < 1 {
				c.refuse(http.StatusBadRequest, "invalidRequest", "Invalid value '"+o.value+"' for $top query option found. The $top query option requires a positive integer value.")
				return
			}
		default:
			c.refuse(http.StatusBadRequest, "invalidRequest", "The query option '"+o.sent+"' is not supported by the delta of a drive.")
			return
		}
	}
	c.onItem(false, func(t *tree, i *item) {
		if i.parent != "" {
			c.refuse(http.StatusBadRequest, "notSupported", "The delta of a drive begins at its root, not at an item within.")
			return
		}
		c.tellDelta(t, token, state)
	})
}

// tellDelta answers with a page of changes. The caller holds the lock.
func (c *call) tellDelta(t *tree, token string, state driveState) {
	fresh := state
	switch at, err := time.Parse(time.RFC3339, token); {
	case token == "":
	case strings.EqualFold(token, "latest"):
		state.Since = t.seq
	case err == nil:
		for _, i := range slices.Concat(t.items, t.gone) {
			if !i.modified.After(at) {
				state.Since = max(state.Since, i.seq)
			}
		}
	default:
		text, ok := unseal("drive delta\n"+t.owner, token)
		if !ok || json.Unmarshal([]byte(text), &state) != nil {
			c.refuse(http.StatusBadRequest, "invalidRequest", "The token of the delta is not one of this drive.")
			return
		}
		if fresh.Selected != nil {
			state.Selected = fresh.Selected
		}
		if fresh.Top != 0 {
			state.Top = fresh.Top
		}
		if state.Drive != t.items[0].created.UnixNano() || c.World.Now().Sub(time.Unix(state.Made, 0)) > deltaLife {
			c.resync()
			return
		}
	}
	if state.Since != 0 && state.Since < t.forgot {
		c.resync()
		return
	}
	if state.Until == 0 {
		state.Until = t.seq
	}
	told := slices.Clone(t.items)
	if state.Since > 0 { // who begins has nothing to delete
		told = append(told, t.gone...)
	}
	told = slices.DeleteFunc(told, func(i *item) bool { return i.seq <= state.Since || i.seq > state.Until || i.made < state.After })
	slices.SortFunc(told, func(a, b *item) int { return a.made - b.made })
	next := driveState{Drive: t.items[0].created.UnixNano(), Made: c.World.Now().Unix(), Since: state.Until, Top: state.Top, Selected: state.Selected}
	link := "@odata.deltaLink"
	top := state.Top
	if top == 0 {
		top = driveDeltaPage
	}
	if top = min(top, maxDeltaPage); len(told) > top {
		next.Since, next.Until, next.After = state.Since, state.Until, told[top].made
		link, told = "@odata.nextLink", told[:top]
	}
	if c.r.Header.Get("deltaExcludeParent") == "" {
		told = t.withParents(told)
	}
	slices.SortStableFunc(told, func(a, b *item) int { return t.depth(a) - t.depth(b) })
	shown := []object{}
	for _, i := range told {
		shown = append(shown, c.showChange(t, i, state.Selected))
	}
	var o object
	if !c.noMetadata() {
		o = object{{"@odata.context", c.metadata("Collection(driveItem)")}}
	}
	text, _ := json.Marshal(next)
	c.odata(append(o, member{link, c.deltaAddress() + "?token=" + seal("drive delta\n"+t.owner, string(text))}, member{"value", shown}))
}

// deltaAddress is the address of the request, without a token.
func (c *call) deltaAddress() string {
	path := c.r.URL.EscapedPath()
	return c.origin() + path[:strings.LastIndexByte(strings.TrimSuffix(path, "/"), '/')] + "/delta"
}

// resync answers that a token is of too long ago, and where to begin anew.
func (c *call) resync() {
	c.w.Header().Set("Location", c.deltaAddress())
	body := c.errorBody("resyncRequired", "Resync required. Replace any local items with the server's version (including deletes) if you're sure that the service was up to date with your local changes when you last sync'd. Upload any local changes that the server doesn't know about.")
	inner := body[0].value.(object)
	inner[2].value = append(object{{"code", "resyncChangesApplyDifferences"}}, inner[2].value.(object)...)
	c.send(http.StatusGone, "application/json", body)
}

// withParents adds the folders that some items are in.
func (t *tree) withParents(items []*item) []*item {
	have := map[string]bool{}
	for _, i := range items {
		have[i.id] = true
	}
	for n := 0; n < len(items); n++ {
		if up := t.byID(items[n].parent); up != nil && !have[up.id] {
			have[up.id] = true
			items = append(items, up)
		}
	}
	return items
}

// depth is how many folders an item is in. What is deleted comes last.
func (t *tree) depth(i *item) int {
	if i.deleted {
		return 1 << 20
	}
	n := 0
	for at := t.byID(i.parent); at != nil; at = t.byID(at.parent) {
		n++
	}
	return n
}

// showChange shows an item as a delta does: without its cTag and the path of its
// parent; of a deleted one, that it is, asked for or not, and little more.
func (c *call) showChange(t *tree, i *item, selected []string) object {
	var o object
	if i.deleted {
		o = slices.DeleteFunc(itemType.show(i, []string{"id", "size", "parentReference", "file", "folder", "deleted"}), func(m member) bool {
			return m.value == nil || selected != nil && m.name != "id" && m.name != "deleted" && !slices.Contains(selected, m.name)
		})
	} else {
		o = slices.DeleteFunc(c.showItem(t.shown(i), selected), func(m member) bool { return m.name == "cTag" })
	}
	for n := range o {
		if o[n].name == "parentReference" {
			o[n].value = slices.DeleteFunc(o[n].value.(object), func(m member) bool { return m.name == "path" })
		}
	}
	return o
}

// functionArgument returns the value of a function's parameter, written in
// parentheses behind its name.
func (c *call) functionArgument(name string) (value string, given bool) {
	sent, value, _ := strings.Cut(c.argument, "=")
	if !strings.EqualFold(strings.TrimSpace(sent), name) {
		return "", false
	}
	return unquote(strings.TrimSpace(value)), true
}

// unquote takes the quotes of OData off a value.
func unquote(s string) string {
	if len(s) >= 2 && s[0] == '\'' && s[len(s)-1] == '\'' {
		return strings.ReplaceAll(s[1:len(s)-1], "''", "'")
	}
	return s
}

// searchDrive answers with the items below one whose name has all words that
// are looked for; with all of them if there are none.
func (c *call) searchDrive() {
	words, ok := c.functionArgument("q")
	if !ok {
		c.refuse(http.StatusBadRequest, "invalidRequest", "The parameter 'q' is missing: write search(q='words').")
		return
	}
	q, ok := c.queryOf(itemType, collection&^expandable, driveDeltaPage, maxDeltaPage)
	if !ok {
		return
	}
	c.onItem(false, func(t *tree, below *item) {
		var rows []any
		for _, i := range t.items {
			name := strings.ToLower(i.name)
			if i.parent != "" && t.within(i, below) && !slices.ContainsFunc(strings.Fields(strings.ToLower(words)), func(w string) bool { return !strings.Contains(name, w) }) {
				rows = append(rows, t.shown(i))
			}
		}
		c.collect(q, itemType, "Collection(driveItem)", rows, func(v any) object { return c.showItem(v.(*item), q.selected) })
	})
}

// within says whether an item is inside of another, or inside of a folder that
// is, or is that.
func (t *tree) within(i, of *item) bool {
	for at := i; at != nil; at = t.byID(at.parent) {
		if at.id == of.id {
			return true
		}
	}
	return false
}
