package cli

import (
	"net/url"
	"slices"
	"strings"
)

// consistent adds the header that the directory wants for what it calls
// advanced queries, and the $count that goes with it. A header or a flag of
// the caller's own wins.
func (c *call) consistent() {
	if c.header.Get("ConsistencyLevel") != "" {
		return
	}
	if c.consistency != "" {
		c.header.Set("ConsistencyLevel", c.consistency)
		return
	}
	why, count := advanced(c.target)
	if why == "" {
		return
	}
	c.header.Set("ConsistencyLevel", "eventual")
	c.inv.tell("ConsistencyLevel: eventual is sent, because the directory wants it for %s", why)
	if count {
		c.target.RawQuery += "&$count=true"
		c.inv.tell("$count=true is added, which goes with it")
	}
}

// advanced tells whether the directory answers a query only with
// ConsistencyLevel: eventual, what of it, and whether $count has to be added.
func advanced(u *url.URL) (why string, count bool) {
	segments := strings.Split(strings.Trim(strings.ToLower(u.Path), "/"), "/")
	if len(segments) < 2 || !isDirectory(segments[1:]) {
		return "", false
	}
	options := map[string]string{}
	for option := range strings.SplitSeq(u.RawQuery, "&") {
		name, value, _ := strings.Cut(option, "=")
		if name, err := url.QueryUnescape(name); err == nil {
			value, _ = url.QueryUnescape(value)
			options[strings.TrimPrefix(strings.ToLower(name), "$")] = strings.ToLower(value)
		}
	}
	last := segments[len(segments)-1]
	counted := options["count"] == "true"
	filter := " " + outsideQuotes(options["filter"])
	for _, need := range []struct {
		is   bool
		what string
	}{
		{strings.Contains(filter, " ne ") || strings.Contains(filter, "(ne "), "ne"},
		{strings.Contains(filter, " not ") || strings.Contains(filter, " not(") || strings.Contains(filter, "(not"), "not"},
		{strings.Contains(filter, "endswith("), "endsWith"},
		{strings.Contains(filter, "/$count"), "$count in $filter"},
		{filter != " " && options["orderby"] != "", "$filter and $orderby together"},
		{len(segments) > 3 && strings.HasPrefix(last, "microsoft.graph."), "a cast"},
	} {
		if need.is {
			return need.what, !counted && options["search"] == ""
		}
	}
	switch {
	case options["search"] != "":
		return "$search", false
	case counted, last == "$count":
		return "$count", false
	}
	return "", false
}

// isDirectory reports whether a path, without the version and in lower case,
// is about objects of the directory: only these know the header, and some of
// the others refuse it.
func isDirectory(path []string) bool {
	objects := []string{"users", "groups", "applications", "serviceprincipals", "devices", "contacts", "administrativeunits", "directoryobjects", "oauth2permissiongrants"}
	relation := 2
	switch {
	case path[0] == "me":
		relation = 1
	case path[0] == "directory":
		return true
	case !slices.Contains(objects, path[0]):
		return false
	case len(path) > 1 && path[1] == "$count":
		return true
	}
	return len(path) <= relation || slices.Contains([]string{"memberof", "transitivememberof", "members", "transitivemembers", "owners", "ownedobjects", "owneddevices",
		"registereddevices", "registeredowners", "registeredusers", "createdobjects", "directreports", "approleassignments", "approleassignedto", "oauth2permissiongrants"}, path[relation])
}

// outsideQuotes blanks the strings of a $filter: what they say is no operator.
func outsideQuotes(filter string) string {
	var b strings.Builder
	inside := false
	for _, r := range filter {
		if r == '\'' {
			inside = !inside
		} else if !inside {
			b.WriteRune(r)
		}
	}
	return b.String()
}
