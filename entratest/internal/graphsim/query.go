package graphsim

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Page sizes of directory collections.
const (
	defaultPage = 100
	maxPage     = 999
)

// What a query may ask of an endpoint.
const (
	pageable  = 1 << iota // $top and $skiptoken
	countable             // $count
)

// query is what the query options ask for.
type query struct {
	selected []string // property names, nil for the default ones; "*" for all
	top      int
	count    bool
	offset   int
	again    url.Values // what a nextLink must repeat
}

// columns is the part of a context URL that names the selected properties.
func (q query) columns() string {
	if q.selected == nil {
		return ""
	}
	return "(" + strings.Join(q.selected, ",") + ")"
}

// query reads the query options of a request for objects of type t, or answers
// 400. Nothing is ignored: a misspelt option would otherwise look as if it
// worked.
func (c *call) query(t *entityType, allowed int) (q query, ok bool) {
	bad := func(code, format string, args ...any) (query, bool) {
		c.refuse(http.StatusBadRequest, code, fmt.Sprintf(format, args...))
		return query{}, false
	}
	values, err := url.ParseQuery(c.r.URL.RawQuery)
	if err != nil {
		return bad("BadRequest", "The query string is not properly encoded.")
	}
	q = query{top: defaultPage, again: url.Values{}}
	seen := map[string]bool{}
	for _, sent := range sortedKeys(values) {
		name, value := strings.ToLower(sent), values.Get(sent)
		if seen[name] || len(values[sent]) > 1 {
			return bad("BadRequest", "Query option '%s' was specified more than once, but it must be specified at most once.", sent)
		}
		seen[name] = true
		notForThis := name == "$top" && allowed&pageable == 0 || name == "$skiptoken" && allowed&pageable == 0 || name == "$count" && allowed&countable == 0
		switch {
		case notForThis:
			return bad("BadRequest", "The query option '%s' is not supported for this resource.", sent)
		case name == "$select":
			if q.selected, err = t.properties(value); err != nil {
				return bad("BadRequest", "%v", err)
			}
			if allowed&pageable != 0 && slices.ContainsFunc(q.selected, func(p string) bool { return slices.Contains(singleOnly, p) }) {
				c.refuse(http.StatusNotImplemented, "NotImplemented", "This operation target is not yet supported.")
				return query{}, false
			}
			q.again.Set("$select", value)
		case name == "$top":
			q.top, err = strconv.Atoi(value)
			if err != nil {
				return bad("BadRequest", "Invalid value '%s' for $top query option found. The $top query option requires a non-negative integer value.", value)
			}
			if q.top < 1 || q.top > maxPage {
				return bad("Request_UnsupportedQuery", "Invalid page size specified: '%s'. Must be between 1 and %d inclusive.", value, maxPage)
			}
			q.again.Set("$top", value)
		case name == "$skiptoken":
			if q.offset, err = c.pagePosition(value); err == errExpired {
				return bad("Directory_ExpiredPageToken", "The specified page token value has expired and can no longer be included in your request.")
			} else if err != nil {
				return bad("Request_BadRequest", "Skip token provided is not valid.")
			}
		case name == "$count" && (strings.EqualFold(value, "true") || strings.EqualFold(value, "false")):
			// Without ConsistencyLevel the real service leaves the count out.
			q.count = strings.EqualFold(value, "true") && c.eventual()
			q.again.Set("$count", value)
		case name == "$count":
			return bad("BadRequest", "Invalid value '%s' for $count query option found. Valid values are 'false' and 'true'.", value)
		case name == "$format" && (strings.EqualFold(value, "json") || strings.HasPrefix(strings.ToLower(value), "application/json")):
		case name == "$search" && !c.eventual():
			return bad("Request_UnsupportedQuery", "Request with $search query parameter only works through MSGraph with a special request header: 'ConsistencyLevel: eventual'")
		case slices.Contains([]string{"$filter", "$orderby", "$search", "$expand", "$apply", "$compute", "$format"}, name):
			return bad("Request_UnsupportedQuery", "The emulator does not implement '%s' here.", sent)
		case name == "$skip":
			return bad("Request_BadRequest", "'$skip' is not supported by the service.")
		case !strings.HasPrefix(name, "$") && slices.Contains([]string{"select", "top", "filter", "orderby", "search", "expand", "count", "skiptoken"}, name):
			return bad("BadRequest", "The query option '%s' is not known: write '$%s'.", sent, name)
		default:
			return bad("BadRequest", "The query option '%s' is not known.", sent)
		}
	}
	return q, true
}

func sortedKeys(v url.Values) []string {
	keys := make([]string, 0, len(v))
	for k := range v {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

func (c *call) eventual() bool {
	return strings.EqualFold(c.r.Header.Get("ConsistencyLevel"), "eventual")
}

// page answers with one page of a collection.
func page[T any](c *call, q query, set string, all []T, show func(T) object) {
	begin := min(q.offset, len(all))
	end := min(begin+q.top, len(all))
	value := make([]object, 0, end-begin) // never null: clients iterate over it
	for _, v := range all[begin:end] {
		value = append(value, show(v))
	}
	var o object
	if !c.noMetadata() {
		o = append(o, member{"@odata.context", c.metadata(set + q.columns())})
	}
	if q.count && q.offset == 0 {
		o = append(o, member{"@odata.count", len(all)})
	}
	if end < len(all) {
		// On the caller's own origin, whatever that is: clients refuse to send
		// their token anywhere else.
		next := url.URL{Path: c.r.URL.Path, RawPath: c.r.URL.RawPath}
		options := make([]string, 0, 4)
		for _, name := range sortedKeys(q.again) {
			options = append(options, name+"="+url.QueryEscape(q.again.Get(name)))
		}
		options = append(options, "$skiptoken="+c.pageToken(end))
		o = append(o, member{"@odata.nextLink", c.origin() + next.EscapedPath() + "?" + strings.Join(options, "&")})
	}
	c.odata(append(o, member{"value", value}))
}

var errExpired = fmt.Errorf("page token expired")

// A page token is the position and the time it was made at. Clients must not
// look inside, and nothing is lost when they do.
func (c *call) pageToken(offset int) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "fob1.%d.%d", offset, c.World.Now().Unix()))
}

func (c *call) pagePosition(token string) (int, error) {
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		return 0, err
	}
	var (
		offset int
		made   int64
	)
	if _, err := fmt.Sscanf(string(text), "fob1.%d.%d", &offset, &made); err != nil {
		return 0, err
	}
	if offset < 1 {
		return 0, fmt.Errorf("position %d", offset)
	}
	life := c.PageTokenLife
	if life == 0 {
		life = time.Hour
	}
	if c.World.Now().Sub(time.Unix(made, 0)) > life {
		return 0, errExpired
	}
	return offset, nil
}
