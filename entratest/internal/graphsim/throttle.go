package graphsim

import (
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Throttle says how much an app may ask of a tenant. The zero value lets
// everything through.
type Throttle struct {
	// Units are the resource units of an app and tenant per 10 seconds. Zero
	// does not throttle; below zero is what the real service gives a tenant of
	// its size.
	Units int
	// Writes per 150 seconds; zero does not throttle them.
	Writes int
	// RetryAfter is how the header is written: "" for whole seconds, "decimal",
	// "date", or "none".
	RetryAfter string
}

const (
	unitWindow  = 10 * time.Second
	writeWindow = 150 * time.Second
)

// throttle keeps the accounts.
type throttle struct {
	mu       sync.Mutex // guards below
	rules    Throttle
	accounts map[string]*account // by app and tenant
}

// account is two buckets that fill with time.
type account struct {
	units, writes float64
	at            time.Time
}

// Throttle sets the limits and begins anew.
func (s *Server) Throttle(rules Throttle) {
	s.throttle.mu.Lock()
	defer s.throttle.mu.Unlock()
	s.throttle.rules, s.throttle.accounts = rules, nil
}

// throttling says whether there are limits.
func (s *Server) throttling() bool {
	s.throttle.mu.Lock()
	defer s.throttle.mu.Unlock()
	return s.throttle.rules.Units != 0 || s.throttle.rules.Writes != 0
}

// cost is how many resource units a request costs.
func (c *call) cost() int {
	pattern := strings.ToLower(c.at.pattern)
	pattern = strings.NewReplacer("/{cast}", "", "{person}", "users/{id}").Replace(pattern)
	n := 1
	switch pattern {
	case "/applications", "/oauth2permissiongrants", "/oauth2permissiongrants/{id}", "/serviceprincipals/{id}/approleassignments", "/users":
		n = 2
	case "/users/{id}/memberof", "/users/{id}/transitivememberof", "/users/{id}/getmembergroups", "/groups/{id}/getmembergroups":
		n = 2
	case "/groups/{id}/members", "/directoryobjects/getbyids":
		n = 3
	case "/users/{id}/checkmembergroups", "/groups/{id}/checkmembergroups":
		n = 4
	case "/groups/{id}/transitivemembers":
		n = 5
	}
	if c.r.Method != http.MethodGet && n == 2 && !strings.Contains(pattern, "get") {
		n = 1 // the table is about reading
	}
	options, _ := c.options()
	for _, o := range options {
		switch o.name {
		case "$select":
			n--
		case "$expand":
			n++
		case "$top":
			if top, err := strconv.Atoi(o.value); err == nil && top < 20 {
				n--
			}
		}
	}
	return max(1, n)
}

// throttled charges a request to its app, and says whether it has answered
// 429. What is refused counts too.
func (c *call) throttled() bool {
	if c.at.face != directoryWork || c.at.pattern == "/$batch" {
		return false
	}
	units := c.cost()
	c.w.Header().Set("x-ms-resource-unit", strconv.Itoa(units))
	t := &c.Server.throttle
	t.mu.Lock()
	defer t.mu.Unlock()
	limit, writes := float64(t.rules.Units), float64(t.rules.Writes)
	if limit < 0 {
		switch n := c.World.People(c.tenant()).Len(); {
		case n < 50:
			limit = 3500
		case n <= 500:
			limit = 5000
		default:
			limit = 8000
		}
	}
	if limit == 0 && writes == 0 {
		return false
	}
	app := c.token.client()
	now := c.World.Now()
	key := app + "/" + c.tenant()
	a := t.accounts[key]
	if a == nil {
		a = &account{limit, writes, now}
		if t.accounts == nil {
			t.accounts = map[string]*account{}
		}
		t.accounts[key] = a
	}
	passed := max(0, now.Sub(a.at).Seconds())
	a.at = now
	a.units = min(limit, a.units+passed*limit/unitWindow.Seconds())
	a.writes = min(writes, a.writes+passed*writes/writeWindow.Seconds())

	var wait float64 // seconds until there is enough
	scope, reason := "Read", "ResourceUnitLimitExceeded"
	if limit > 0 {
		// A bucket that is overdrawn without end would never let go again.
		a.units = max(a.units-float64(units), -limit)
		if a.units < 0 {
			wait = -a.units * unitWindow.Seconds() / limit
		}
		if used := 1 - a.units/limit; used >= 0.8 {
			c.w.Header().Set("x-ms-throttle-limit-percentage", strconv.FormatFloat(min(used, 1.8), 'f', 2, 64))
		}
	}
	if c.r.Method != http.MethodGet && writes > 0 {
		a.writes = max(a.writes-1, -writes)
		if a.writes < 0 {
			wait, scope, reason = max(wait, -a.writes*writeWindow.Seconds()/writes), "Write", "WriteLimitExceeded"
		}
	}
	if wait == 0 {
		return false
	}
	h := c.w.Header()
	h.Set("x-ms-throttle-scope", "Tenant_Application/"+scope+"/"+app+"/"+c.tenant())
	h.Set("x-ms-throttle-information", reason)
	switch t.rules.RetryAfter {
	case "none":
	case "decimal":
		h.Set("Retry-After", strconv.FormatFloat(math.Ceil(wait*1000)/1000, 'f', 3, 64))
	case "date":
		h.Set("Retry-After", now.Add(time.Duration(math.Ceil(wait))*time.Second).UTC().Format(http.TimeFormat))
	default:
		h.Set("Retry-After", fmt.Sprint(math.Ceil(wait)))
	}
	c.tooMany()
	return true
}

// tooMany answers 429 in the words of the directory.
func (c *call) tooMany() {
	c.send(http.StatusTooManyRequests, "application/json", object{{"error", object{
		{"code", "TooManyRequests"},
		{"message", "Too many requests. The limit of the application in this tenant is exceeded."},
		{"innerError", object{
			{"code", "429"}, {"status", "429"}, {"message", "Please retry after"},
			{"date", c.World.Now().UTC().Format("2006-01-02T15:04:05")},
			{"request-id", c.id},
			{"client-request-id", c.clientID},
		}},
	}}})
}
