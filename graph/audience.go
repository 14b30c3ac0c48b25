package graph

import (
	_ "embed"
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"sync"
)

//go:embed audiences.tsv
var audienceTable string

// ErrUnknownHost says that no token is sent to a host, because nothing says
// which one it may have.
var ErrUnknownHost = errors.New("no audience is known for this host")

// Audience returns the scope to ask for in order to call address, an absolute
// URL, and the name of the service there. It knows some 140 hosts and patterns
// of hosts of the public and the national clouds; where two services share one
// (Service Bus and Event Hubs) it takes the first. An address that no token
// may go to, such as one with plain http, is an error; so is, as
// [ErrUnknownHost], a host that is not in the table.
func Audience(address string) (scope, service string, err error) {
	u, err := parseAddress(address)
	if err != nil {
		return "", "", err
	}
	return audience(u)
}

func audience(u *url.URL) (scope, service string, err error) {
	host := strings.ToLower(u.Hostname())
	for _, row := range audiences() {
		if ok, _ := path.Match(row.pattern, host); !ok {
			continue
		}
		// The patterns are about hosts; another port is another service.
		if port := u.Port(); u.Scheme != "https" || port != "" && port != "443" {
			break
		}
		if strings.HasPrefix(row.service, "Dataverse") {
			host = strings.Replace(host, ".api.crm", ".crm", 1)
		}
		return strings.NewReplacer("{scheme}", u.Scheme, "{host}", host).Replace(row.scope), row.service, nil
	}
	return "", "", fmt.Errorf("%s gets no token: %w; if it may have one, name what for with --resource or --scope (in Go: graph.Client.Scopes or Audiences)",
		shown(u.Host), ErrUnknownHost)
}

type audienceRow struct{ pattern, scope, service string }

// audiences is the table, the most specific pattern first: a plain host, then
// by the length of what follows the last star.
var audiences = sync.OnceValue(func() []audienceRow {
	var rows []audienceRow
	for line := range strings.Lines(audienceTable) {
		column := strings.Split(strings.TrimSpace(line), "\t")
		if strings.HasPrefix(line, "#") || len(column) != 5 || column[0] == "pattern" {
			continue
		}
		rows = append(rows, audienceRow{column[0], column[1], column[4]})
	}
	literal := func(r audienceRow) int {
		star := strings.LastIndexByte(r.pattern, '*')
		if star < 0 {
			return 1000
		}
		return len(r.pattern) - star
	}
	slices.SortStableFunc(rows, func(a, b audienceRow) int { return literal(b) - literal(a) })
	return rows
})
