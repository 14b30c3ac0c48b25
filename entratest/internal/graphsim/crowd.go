package graphsim

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// A tenant may have a crowd: users that are computed from their index. Pages
// of them are written straight into the answer, and filters on what follows
// the index become ranges of it.

// span is a range of indexes of a crowd, without its end.
type span struct{ from, to int }

// spans says which of a crowd may match a condition; exact, which do.
func (c *condition) spans(crowd *directory.Crowd) (list []span, exact bool) {
	everybody := []span{{0, crowd.Len()}}
	if c == nil {
		return everybody, true
	}
	switch c.op {
	case "and", "or":
		for i, p := range c.parts {
			more, sure := p.spans(crowd)
			switch {
			case i == 0:
				list, exact = more, sure
			case c.op == "and":
				list, exact = intersect(list, more), exact && sure
			default:
				list, exact = complement(intersect(complement(list, crowd.Len()), complement(more, crowd.Len())), crowd.Len()), exact && sure
			}
		}
		return list, exact
	case "not":
		if list, exact = c.parts[0].spans(crowd); exact {
			return complement(list, crowd.Len()), true
		}
		return everybody, false
	}
	if c.of.variable != "" || c.of.count {
		return everybody, false
	}
	switch name := c.of.String(); {
	case c.op == "startswith" && (name == "userPrincipalName" || name == "mail"):
		from, to := crowd.Begins(c.with[0].text)
		return []span{{from, to}}, true
	case (c.op == "eq" || c.op == "in") && (name == "userPrincipalName" || name == "mail" || name == "id"):
		for _, l := range c.with {
			if i, ok := crowd.Index(l.text); ok && strings.Contains(l.text, "@") == (name != "id") {
				list = append(list, span{i, i + 1})
			}
		}
		slices.SortFunc(list, func(a, b span) int { return a.from - b.from })
		return slices.Compact(list), true
	case len(c.with) != 1 || c.with[0].edm == "":
		return everybody, false
	case name == "userPrincipalName" || name == "mail":
		return between(c.op, crowd.Up(c.with[0].text), crowd.Up(c.with[0].text+"\x00"), crowd.Len())
	case name == "createdDateTime":
		return between(c.op, crowd.Since(c.with[0].time), crowd.Since(c.with[0].time.Add(1)), crowd.Len())
	}
	return everybody, false
}

// between is the range of a comparison: from is the first that is not less,
// above the first that is more.
func between(op string, from, above, n int) ([]span, bool) {
	switch op {
	case "eq":
		return []span{{from, above}}, true
	case "ge":
		return []span{{from, n}}, true
	case "gt":
		return []span{{above, n}}, true
	case "lt":
		return []span{{0, from}}, true
	case "le":
		return []span{{0, above}}, true
	}
	return []span{{0, n}}, false
}

// intersect is what two sorted lists of spans have in common.
func intersect(a, b []span) []span {
	var out []span
	for i, j := 0, 0; i < len(a) && j < len(b); {
		if s := (span{max(a[i].from, b[j].from), min(a[i].to, b[j].to)}); s.from < s.to {
			out = append(out, s)
		}
		if a[i].to < b[j].to {
			i++
		} else {
			j++
		}
	}
	return out
}

// complement is what a sorted list of spans leaves out of 0 to n.
func complement(list []span, n int) []span {
	var out []span
	at := 0
	for _, s := range list {
		if s.from > at {
			out = append(out, span{at, s.from})
		}
		at = max(at, s.to)
	}
	if at < n {
		out = append(out, span{at, n})
	}
	return out
}

// maxUnordered is the largest crowd that is sorted by what does not follow its
// index.
const maxUnordered = 20_000

// gathering is everybody who may match a query: a few that are kept, and spans
// of a crowd, in one order.
type gathering struct {
	people directory.People
	few    []*directory.User // those that match, in their order
	spans  []span            // counted from the other end where down is set
	exact  bool              // all in the spans match
	key    string            // the property that orders; empty: those that are kept come first
	down   bool
}

// gather finds who matches a query. It is not ok if the crowd cannot be
// ordered that way.
func gather(q query, people directory.People) (g gathering, ok bool) {
	g.people = people
	if len(q.order) > 0 {
		g.key, g.down = q.order[0].of.String(), q.order[0].down
		if len(q.order) > 1 || !slices.Contains([]string{"displayName", "userPrincipalName", "createdDateTime"}, g.key) {
			return g, false
		}
	}
	for _, u := range people.Kept {
		if q.matches(u, userType) {
			g.few = append(g.few, u)
		}
	}
	for _, i := range people.Reached {
		if u := people.Touched[i]; u != nil && q.matches(u, userType) {
			g.few = append(g.few, u)
		}
	}
	if g.key != "" {
		slices.SortStableFunc(g.few, func(a, b *directory.User) int { return q.compare(a, b, userType) })
	}
	g.spans, g.exact = q.filter.spans(people.Crowd)
	g.exact = g.exact && q.search == nil
	if g.down {
		n := people.Crowd.Len()
		slices.Reverse(g.spans)
		for i, s := range g.spans {
			g.spans[i] = span{n - s.to, n - s.from}
		}
	}
	return g, true
}

// id is the id of the j-th of the few.
func (g *gathering) id(j int) string { return g.few[j].ID }

// index is the index of the crowd's i-th in the order of the gathering.
func (g *gathering) index(i int) int {
	if g.down {
		return g.people.Crowd.Len() - 1 - i
	}
	return i
}

// before says whether u, one of the few, comes before the crowd's i-th.
func (g *gathering) before(u *directory.User, i int) bool {
	if g.key == "" {
		at, ofCrowd := g.people.Crowd.Index(u.ID)
		return !ofCrowd || at < i
	}
	a, _ := userValue(u, g.key)
	b, _ := userValue(g.people.Crowd.User(g.index(i)), g.key)
	order := compareValues(a, b)
	return order < 0 != g.down || order == 0
}

// size counts who matches.
func (g *gathering) size(q query) int {
	n := len(g.few)
	for _, s := range g.spans {
		if g.exact {
			n += s.to - s.from
			continue
		}
		for i := s.from; i < s.to; i++ {
			if q.matches(g.people.Crowd.User(g.index(i)), userType) {
				n++
			}
		}
	}
	for _, i := range g.people.Reached { // counted as generated, but they are not
		for _, s := range g.spans {
			if at := g.index(i); s.from <= at && at < s.to && (g.exact || q.matches(g.people.Crowd.User(i), userType)) {
				n--
			}
		}
	}
	return n
}

// buffers hold pages while they are written.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// crowd answers with users of a tenant that has a crowd.
func (c *call) crowd(q query, people directory.People) {
	g, ok := gather(q, people)
	if !ok {
		if people.Crowd.Len() > maxUnordered {
			c.refuse(http.StatusBadRequest, "Request_UnsupportedQuery", "The emulator orders this many generated users by displayName, userPrincipalName or createdDateTime only.")
			return
		}
		c.collect(q, userType, "users", everybody(people), func(v any) object { return userType.show(v, q.selected) })
		return
	}
	if c.segmentCount {
		c.count(g.size(q))
		return
	}
	j, i, ok := c.resumeCrowd(q, &g)
	if !ok {
		return
	}

	buffer := buffers.Get().(*[]byte)
	defer buffers.Put(buffer)
	b := (*buffer)[:0]
	write := writerOf(q.selected, people.Crowd)
	put := func(u *directory.User) bool {
		o, ok := c.expanded(userType.show(u, q.selected), u, q)
		if !ok {
			return false
		}
		text, err := o.MarshalJSON()
		b = append(b, text...)
		return err == nil
	}
	n := 0
	last := i // where the next page goes on
pages:
	for _, s := range g.spans {
		if s.to <= i {
			continue
		}
		for i = max(i, s.from); i < s.to; {
			if n == q.top {
				break pages
			}
			if j < len(g.few) && g.before(g.few[j], i) {
				if n++; n > 1 {
					b = append(b, ',')
				}
				if !put(g.few[j]) {
					return
				}
				if at, ofCrowd := people.Crowd.Index(g.few[j].ID); ofCrowd && g.key == "" {
					last = at + 1
				}
				j++
				continue
			}
			index := g.index(i)
			i++
			if len(people.Touched) > 0 {
				if _, touched := people.Touched[index]; touched {
					continue // one of the few, who comes next: not passed yet
				}
			}
			last = i
			if !g.exact && !q.matches(people.Crowd.User(index), userType) {
				continue
			}
			if n++; n > 1 {
				b = append(b, ',')
			}
			if len(q.expand) > 0 {
				if !put(people.Crowd.User(index)) {
					return
				}
				continue
			}
			b = write.append(b, people.Crowd, index)
		}
	}
	more := n == q.top && (j < len(g.few) || len(g.spans) > 0 && last < g.spans[len(g.spans)-1].to)
	for ; n < q.top && j < len(g.few); j++ { // those behind all of the crowd
		if n++; n > 1 {
			b = append(b, ',')
		}
		if !put(g.few[j]) {
			return
		}
		more = j+1 < len(g.few)
	}
	*buffer = b

	head := make([]byte, 0, 512)
	head = append(head, '{')
	if !c.noMetadata() {
		head = appendMember(head, "@odata.context", c.metadata("users"+q.columns()))
	}
	if q.count && q.token == "" {
		head = append(head, `"@odata.count":`...)
		head = append(strconv.AppendInt(head, int64(g.size(q)), 10), ',')
	}
	if more {
		head = appendMember(head, "@odata.nextLink", c.nextLink(q, c.pageToken(q, strconv.Itoa(last)+"."+bookmark(j, len(g.few), g.id))))
	}
	head = append(head, `"value":[`...)
	h := c.w.Header()
	h.Set("Content-Type", c.contentType())
	h.Set("Content-Length", strconv.Itoa(len(head)+len(b)+2))
	c.w.WriteHeader(http.StatusOK)
	c.w.Write(head)
	c.w.Write(b)
	c.w.Write([]byte("]}"))
}

func appendMember(b []byte, name, value string) []byte {
	b = append(append(append(b, '"'), name...), '"', ':')
	text, _ := encode(value)
	return append(append(b, text...), ',')
}

// resumeCrowd returns where a page begins: among the few, and in the crowd.
func (c *call) resumeCrowd(q query, g *gathering) (j, i int, ok bool) {
	if q.token == "" {
		return 0, 0, true
	}
	position, ok := c.pagePosition(q)
	if !ok {
		return 0, 0, false
	}
	scanned, mark, _ := strings.Cut(position, ".")
	i, err := strconv.Atoi(scanned)
	if j, ok = findBookmark(mark, len(g.few), g.id); !ok || err != nil || i < 0 {
		c.badToken()
		return 0, 0, false
	}
	// Who was changed after the scan had passed has been seen as generated.
	for g.key == "" && j < len(g.few) {
		if at, ofCrowd := g.people.Crowd.Index(g.few[j].ID); !ofCrowd || at >= i {
			break
		}
		j++
	}
	return j, i, true
}

// everybody makes all users, those of a crowd too.
func everybody(p directory.People) []any {
	out := all(p.Kept)
	for i := range p.Crowd.Len() {
		if u, touched := p.Touched[i]; !touched {
			out = append(out, p.Crowd.User(i))
		} else if u != nil {
			out = append(out, u)
		}
	}
	return out
}

// crowdColumn is a property that differs from one of the crowd to the next.
type crowdColumn int

const (
	fixedColumn crowdColumn = iota
	idColumn
	upnColumn
	displayNameColumn
	givenColumn
	surnameColumn
	titleColumn
	departmentColumn
	officeColumn
	phoneColumn
	createdColumn
	nickColumn
	proxyColumn
	identitiesColumn
)

// columnOf is the column of a property, fixedColumn if all of the crowd have the
// same.
func columnOf(property string) crowdColumn {
	switch property {
	case "id":
		return idColumn
	case "userPrincipalName", "mail":
		return upnColumn
	case "displayName":
		return displayNameColumn
	case "givenName":
		return givenColumn
	case "surname":
		return surnameColumn
	case "jobTitle":
		return titleColumn
	case "department":
		return departmentColumn
	case "officeLocation":
		return officeColumn
	case "businessPhones":
		return phoneColumn
	case "createdDateTime", "lastPasswordChangeDateTime", "signInSessionsValidFromDateTime":
		return createdColumn
	case "mailNickname":
		return nickColumn
	case "proxyAddresses":
		return proxyColumn
	case "identities":
		return identitiesColumn
	}
	return fixedColumn
}

// crowdWriter writes users of a crowd as JSON without making them first.
type crowdWriter struct {
	leads   []string // what goes before each column: names, punctuation, and values that are the same for all
	columns []crowdColumn
	tail    string
}

// writerOf returns the writer for some properties, nil for those that are shown
// unasked.
func writerOf(selected []string, crowd *directory.Crowd) *crowdWriter {
	if selected == nil {
		selected = userType.shown
	} else if slices.Contains(selected, "*") {
		selected = userType.names()
	}
	w := &crowdWriter{}
	anyone := crowd.User(0)
	lead := "{"
	for i, name := range selected {
		if i > 0 {
			lead += ","
		}
		lead += `"` + name + `":`
		if column := columnOf(name); column != fixedColumn {
			w.leads, w.columns = append(w.leads, lead), append(w.columns, column)
			lead = ""
			continue
		}
		value, _ := userType.get(anyone, name)
		text, _ := encode(value)
		lead += string(text)
	}
	w.tail = lead + "}"
	return w
}

// append appends one user. Names of a crowd need no escapes.
func (w *crowdWriter) append(b []byte, crowd *directory.Crowd, i int) []byte {
	var f directory.Face
	crowd.Face(i, &f)
	for k, column := range w.columns {
		b = append(b, w.leads[k]...)
		switch column {
		case phoneColumn:
			b = append(b, '[', '"')
			b = append(f.AppendPhone(b), '"', ']')
			continue
		case proxyColumn:
			b = append(b, `["SMTP:`...)
			b = append(f.AppendUPN(b, crowd.Domain), '"', ']')
			continue
		case identitiesColumn:
			b = append(b, `[{"signInType":"userPrincipalName","issuer":"`...)
			b = append(b, crowd.Domain...)
			b = append(b, `","issuerAssignedId":"`...)
			b = append(f.AppendUPN(b, crowd.Domain), `"}]`...)
			continue
		}
		b = append(b, '"')
		switch column {
		case idColumn:
			b = f.AppendID(b)
		case upnColumn:
			b = f.AppendUPN(b, crowd.Domain)
		case displayNameColumn:
			b = f.AppendDisplayName(b)
		case givenColumn:
			b = append(b, f.Given...)
		case surnameColumn:
			b = append(b, f.Surname...)
		case titleColumn:
			b = append(b, f.Title...)
		case departmentColumn:
			b = append(b, f.Department...)
		case officeColumn:
			b = append(b, f.Office...)
		case createdColumn:
			b = f.Created.AppendFormat(b, time.RFC3339)
		case nickColumn:
			b = f.AppendNick(b)
		}
		b = append(b, '"')
	}
	return append(b, w.tail...)
}
