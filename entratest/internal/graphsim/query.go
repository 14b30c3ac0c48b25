package graphsim

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// What a query may ask of an endpoint. $select is always allowed.
const (
	pageable   = 1 << iota // $top and $skiptoken
	countable              // $count
	filterable             // $filter, $orderby and $search
	expandable             // $expand
	skippable              // $skip
	plain                  // not even $select

	collection = pageable | countable | filterable | expandable
)

// Page sizes of directory collections.
const (
	defaultPage = 100
	maxPage     = 999
	maxExpanded = 20 // of each relation
)

// query is what the query options ask for.
type query struct {
	selected []string // property names, nil for the default ones; "*" for all
	filter   *condition
	order    []orderKey
	search   *search
	expand   []expansion
	top      int // page size
	skip     int
	count    bool // whether @odata.count is wanted, and may be had
	token    string
	again    []string // the options that a nextLink must repeat, as they were sent
	narrowed []string // the options that say what is in the list, and in which order
}

// orderKey is a part of $orderby.
type orderKey struct {
	of   operand
	down bool
}

// expansion is a part of $expand.
type expansion struct {
	relation string
	selected []string
}

// columns is the part of a context URL that names the selected properties.
func (q query) columns() string {
	names := slices.Clone(q.selected)
	for _, e := range q.expand {
		names = append(names, e.relation+"()")
	}
	if names == nil {
		return ""
	}
	return "(" + strings.Join(names, ",") + ")"
}

// option is a query option as it was sent.
type option struct{ raw, sent, name, value string }

// options splits the query string. Names come in any case, with their dollar
// encoded or not, and once.
func (c *call) options() ([]option, error) {
	var all []option
	for raw := range strings.SplitSeq(c.r.URL.RawQuery, "&") {
		if raw == "" {
			continue
		}
		name, value, _ := strings.Cut(raw, "=")
		sent, err := url.QueryUnescape(name)
		if err == nil {
			value, err = url.QueryUnescape(value)
		}
		if err != nil || strings.Contains(raw, ";") {
			return nil, fmt.Errorf("The query string is not properly encoded.")
		}
		all = append(all, option{raw, sent, strings.ToLower(sent), value})
	}
	slices.SortStableFunc(all, func(a, b option) int { return strings.Compare(a.name, b.name) })
	for i := range all {
		if i > 0 && all[i-1].name == all[i].name {
			return nil, fmt.Errorf("Query option '%s' was specified more than once, but it must be specified at most once.", all[i-1].sent)
		}
	}
	return all, nil
}

// query reads the query options of a request for objects of type t, or
// answers 400. Nothing is ignored: a misspelt option would otherwise look as
// if it worked.
func (c *call) query(t *entityType, allowed int) (q query, ok bool) {
	return c.queryOf(t, allowed, defaultPage, maxPage)
}

func (c *call) queryOf(t *entityType, allowed, page, maxTop int) (q query, ok bool) {
	bad := func(code, format string, args ...any) (query, bool) {
		c.refuse(http.StatusBadRequest, code, fmt.Sprintf(format, args...))
		return query{}, false
	}
	options, err := c.options()
	if err != nil {
		return bad("BadRequest", "%v", err)
	}
	q = query{top: page}
	filter, order, find, expand := "", "", "", ""
	counting := false
	needs := map[string]int{"$top": pageable, "$skiptoken": pageable, "$count": countable, "$filter": filterable, "$orderby": filterable,
		"$search": filterable, "$expand": expandable, "$skip": skippable}
	for _, o := range options {
		name, value := o.name, o.value
		if name != "$skiptoken" {
			q.again = append(q.again, o.raw)
		}
		if name == "$filter" || name == "$orderby" || name == "$search" || name == "$skip" {
			q.narrowed = append(q.narrowed, name+"="+value)
		}
		need := needs[name]
		if name == "$select" && allowed&plain != 0 {
			need = plain << 1 // nobody allows it
		}
		if c.segmentCount && name != "$filter" && name != "$search" && name != "$count" {
			need = plain << 1
		}
		switch {
		case name == "$search" && t != messageType && !t.strict: // words are looked for in mail
			return bad("BadRequest", "The query option '%s' is not supported for this resource.", o.sent)
		case name == "$skip" && allowed&skippable == 0:
			return bad("Request_BadRequest", "'$skip' is not supported by the service.")
		case need&^allowed != 0:
			return bad("BadRequest", "The query option '%s' is not supported for this resource.", o.sent)
		case name == "$select":
			if q.selected, err = t.properties(value); err != nil {
				return bad("BadRequest", "%v", err)
			}
			if t == userType && allowed&pageable != 0 && slices.ContainsFunc(q.selected, func(p string) bool { return slices.Contains(singleOnly, p) }) {
				c.refuse(http.StatusNotImplemented, "NotImplemented", "This operation target is not yet supported.")
				return query{}, false
			}
		case name == "$top" || name == "$skip":
			n, err := strconv.Atoi(value)
			if err != nil {
				return bad("BadRequest", "Invalid value '%s' for %s query option found. The %s query option requires a non-negative integer value.", value, name, name)
			}
			if name == "$skip" {
				if q.skip = n; n < 0 {
					return bad("BadRequest", "Invalid value '%s' for $skip query option found. The $skip query option requires a non-negative integer value.", value)
				}
				continue
			}
			if q.top = n; n < 1 || n > maxTop {
				return bad("Request_UnsupportedQuery", "Invalid page size specified: '%s'. Must be between 1 and %d inclusive.", value, maxTop)
			}
		case name == "$skiptoken":
			q.token = value
		case name == "$count" && (strings.EqualFold(value, "true") || strings.EqualFold(value, "false")):
			counting = strings.EqualFold(value, "true")
		case name == "$count":
			return bad("BadRequest", "Invalid value '%s' for $count query option found. Valid values are 'false' and 'true'.", value)
		case name == "$format" && (strings.EqualFold(value, "json") || strings.HasPrefix(strings.ToLower(value), "application/json")):
		case name == "$filter":
			filter = value
		case name == "$orderby":
			order = value
		case name == "$search":
			find = value
		case name == "$expand":
			expand = value
		case slices.Contains([]string{"$apply", "$compute", "$format", "$deltatoken"}, name):
			return bad("Request_UnsupportedQuery", "The emulator does not implement '%s' here.", o.sent)
		case !strings.HasPrefix(name, "$") && slices.Contains([]string{"select", "top", "filter", "orderby", "search", "expand", "count", "skiptoken", "skip"}, name):
			return bad("BadRequest", "The query option '%s' is not known: write '$%s'.", o.sent, name)
		default:
			return bad("BadRequest", "The query option '%s' is not known.", o.sent)
		}
	}
	// Without ConsistencyLevel the directory leaves the count out.
	q.count = counting && (c.eventual() || !t.strict)
	isAdvanced := c.eventual() && (counting || c.segmentCount || find != "")
	if c.segmentCount && t.strict && !c.eventual() {
		return bad("Request_BadRequest", "$count is not currently supported.")
	}
	demand := always
	if filter != "" {
		if q.filter, err = parseFilter(filter, t); err != nil {
			return bad("BadRequest", "Invalid filter clause: %v", err)
		}
		if t.strict {
			demand = q.filter.demands(t, operand{}, false)
			if n := q.filter.alternatives(); n > maxAlternatives && !isAdvanced {
				return bad("Request_UnsupportedQuery", "Too many child clauses specified in search filter expression containing 'OR' operators: %d. Max allowed: %d.", n, maxAlternatives)
			}
		}
	} else if slices.ContainsFunc(options, func(o option) bool { return o.name == "$filter" }) {
		return bad("BadRequest", "Invalid filter clause: The filter is empty.")
	}
	switch demand {
	case notIndexed:
		return bad("Request_UnsupportedQuery", "The request uses a filter property that is not indexed")
	case unsupported:
		return bad("Request_UnsupportedQuery", "Unsupported Query.")
	}
	if order != "" {
		need, err := q.parseOrder(order, t)
		if err != nil {
			return bad("BadRequest", "%v", err)
		}
		if need == notIndexed {
			return bad("Request_UnsupportedQuery", "Unsupported sort property '%s' for '%s'.", q.order[0].of, upperFirst(t.name))
		}
		if demand = harder(demand, need); filter != "" && t.strict {
			demand = advanced
		}
	}
	if find != "" {
		if t.strict && !c.eventual() {
			return bad("Request_UnsupportedQuery", "Request with $search query parameter only works through MSGraph with a special request header: 'ConsistencyLevel: eventual'")
		}
		if q.search, err = parseSearch(find, t); err != nil {
			return bad("Request_UnsupportedQuery", "%v", err)
		}
	}
	if demand == advanced && !isAdvanced {
		return bad("Request_UnsupportedQuery", "Unsupported Query.")
	}
	if expand != "" {
		if isAdvanced && t.strict {
			return bad("Request_UnsupportedQuery", "$expand is not supported together with advanced query capabilities.")
		}
		if code, err := q.parseExpand(expand, t); err != nil {
			return bad(code, "%v", err)
		}
		q.top = min(q.top, defaultPage)
	}
	return q, true
}

func upperFirst(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

// parseOrder reads an $orderby and says what a directory needs for it.
func (q *query) parseOrder(text string, t *entityType) (need string, err error) {
	need = always
	for part := range strings.SplitSeq(text, ",") {
		fields := strings.Fields(part)
		if len(fields) == 0 || len(fields) > 2 || len(fields) == 2 && !strings.EqualFold(fields[1], "asc") && !strings.EqualFold(fields[1], "desc") {
			return "", fmt.Errorf("Syntax error in '$orderby=%s'.", text)
		}
		p := &filterParser{text: fields[0], t: t, scope: map[string]operand{}}
		if err := p.scan(); err != nil {
			return "", err
		}
		of, lambda, err := p.operand()
		if err != nil {
			return "", err
		}
		if lambda != nil || p.peek().kind != "end" {
			return "", fmt.Errorf("Syntax error in '$orderby=%s'.", text)
		}
		q.order = append(q.order, orderKey{of, len(fields) == 2 && strings.EqualFold(fields[1], "desc")})
		if !t.strict {
			continue
		}
		switch name := of.String(); {
		case name == "displayName" && (t == userType || t == groupType), name == "userPrincipalName" && t == userType:
		case name == "displayName", name == "createdDateTime", name == "deletedDateTime":
			need = harder(need, advanced)
		default:
			need = notIndexed
			q.order[0] = q.order[len(q.order)-1] // for the message
		}
	}
	return need, nil
}

// parseExpand reads an $expand: a relation, perhaps with a $select.
func (q *query) parseExpand(text string, t *entityType) (code string, err error) {
	const bad = "BadRequest"
	relation, rest, nested := strings.Cut(strings.TrimSpace(text), "(")
	if strings.Contains(relation, ",") {
		return "Request_UnsupportedQuery", fmt.Errorf("Only one relation can be expanded in a request.")
	}
	if cast, of, qualified := strings.Cut(relation, "/"); qualified && t == attachmentType && strings.EqualFold(cast, "microsoft.graph.itemAttachment") {
		t, relation = itemAttachmentType, of
	}
	proper, _, ok := t.relation(relation)
	if !ok {
		return bad, fmt.Errorf("Parsing OData Select and Expand failed: Could not find a property named '%s' on type 'microsoft.graph.%s'.", relation, t.name)
	}
	if !slices.Contains(t.expands, proper) {
		return "ExpandNotSupported", fmt.Errorf("Expand is not allowed for property '%s' according to the entity schema.", upperFirst(proper))
	}
	e := expansion{relation: proper}
	if nested {
		inside, ok := strings.CutSuffix(rest, ")")
		name, value, _ := strings.Cut(inside, "=")
		if !ok || !strings.EqualFold(strings.TrimSpace(name), "$select") || strings.Contains(value, ";") {
			return "Request_UnsupportedQuery", fmt.Errorf("Of the options inside of $expand only $select is supported.")
		}
		to := objectType
		switch t {
		case messageType:
			to = attachmentType
		case itemAttachmentType:
			to = messageType
		}
		if e.selected, err = to.properties(value); err != nil {
			return bad, err
		}
	}
	q.expand = append(q.expand, e)
	return "", nil
}

func (c *call) eventual() bool {
	return strings.EqualFold(c.r.Header.Get("ConsistencyLevel"), "eventual")
}

// matches says whether v passes $filter and $search.
func (q query) matches(v any, t *entityType) bool {
	return (q.filter == nil || q.filter.matches(v, t, nil)) && (q.search == nil || q.search.matches(v, t))
}

// sort orders rows by $orderby; equal ones stay as they are.
func (q query) sort(rows []any, t *entityType) {
	if len(q.order) > 0 {
		slices.SortStableFunc(rows, func(a, b any) int { return q.compare(a, b, t) })
	}
}

func (q query) compare(a, b any, t *entityType) int {
	for _, k := range q.order {
		order := compareValues(k.of.of(a, t, nil), k.of.of(b, t, nil))
		if k.down {
			order = -order
		}
		if order != 0 {
			return order
		}
	}
	return 0
}

// compareValues orders two values of one property, null first.
func compareValues(a, b any) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	switch a := a.(type) {
	case string:
		b, _ := b.(string)
		return strings.Compare(strings.ToLower(a), strings.ToLower(b))
	case bool:
		if b, _ := b.(bool); a == b {
			return 0
		}
		if a {
			return 1
		}
		return -1
	}
	x, _ := strconv.ParseFloat(fmt.Sprint(a), 64)
	y, _ := strconv.ParseFloat(fmt.Sprint(b), 64)
	switch {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// search is a parsed $search: alternatives of terms that must all be there.
type search struct{ any [][]term }

type term struct{ property, text string }

// The properties that a directory searches: some by their words, the others by
// their beginning.
var (
	wordsSearched  = []string{"displayName", "description"}
	startsSearched = []string{"mail", "userPrincipalName", "mailNickname", "givenName", "surname", "appId", "publisherDomain"}
)

// parseSearch reads a $search: "property:text" in quotes, joined by AND and OR;
// for mail, words to look for.
func parseSearch(text string, t *entityType) (*search, error) {
	s := &search{any: [][]term{nil}}
	rest := strings.TrimSpace(text)
	if !t.strict {
		words := strings.Trim(rest, `"`)
		if strings.ContainsAny(words, `:()"`) {
			return nil, fmt.Errorf("The emulator searches mail for words; it does not implement '%s'.", text)
		}
		for _, w := range strings.Fields(words) {
			s.any[0] = append(s.any[0], term{"", w})
		}
		return s, nil
	}
	joined := true
	for rest != "" {
		last := len(s.any) - 1
		switch {
		case rest[0] == '"' && joined:
			quoted, after, ok := strings.Cut(rest[1:], `"`)
			name, value, colon := strings.Cut(quoted, ":")
			proper, known := t.find(name)
			if can := slices.Contains(wordsSearched, proper) || slices.Contains(startsSearched, proper); !ok || !colon || !known || !can {
				return nil, fmt.Errorf("Syntax error in '$search=%s': write \"property:text\" with a property that can be searched.", text)
			}
			s.any[last] = append(s.any[last], term{proper, value})
			rest, joined = strings.TrimSpace(after), false
		case strings.HasPrefix(rest, "AND ") && !joined:
			rest, joined = strings.TrimSpace(rest[4:]), true
		case strings.HasPrefix(rest, "OR ") && !joined:
			s.any = append(s.any, nil)
			rest, joined = strings.TrimSpace(rest[3:]), true
		default:
			return nil, fmt.Errorf("Syntax error in '$search=%s'.", text)
		}
	}
	if joined {
		return nil, fmt.Errorf("Syntax error in '$search=%s'.", text)
	}
	return s, nil
}

func (s *search) matches(v any, t *entityType) bool {
	return slices.ContainsFunc(s.any, func(all []term) bool {
		return !slices.ContainsFunc(all, func(m term) bool { return !m.matches(v, t) })
	})
}

func (m term) matches(v any, t *entityType) bool {
	if m.property == "" {
		return mailHas(v, m.text)
	}
	value, _ := t.get(v, m.property)
	s, _ := value.(string)
	s, looked := strings.ToLower(s), strings.ToLower(strings.TrimSpace(m.text))
	if !slices.Contains(wordsSearched, m.property) {
		return strings.HasPrefix(s, looked)
	}
	words := strings.FieldsFunc(s, notInWord)
	for _, part := range strings.FieldsFunc(looked, notInWord) {
		if !slices.ContainsFunc(words, func(w string) bool { return strings.HasPrefix(w, part) }) {
			return false
		}
	}
	return true
}

func notInWord(r rune) bool {
	return !(r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r > 127)
}
