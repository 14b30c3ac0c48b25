package graph

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/fobauth/fob/internal/origin"
)

// BatchRequest is one request of a batch. It reads and writes as the items of
// Graph's $batch do.
type BatchRequest struct {
	// ID names the request in DependsOn and in the answer. Empty means a
	// number of the batch's own. Ids are compared without regard to case.
	ID     string `json:"id,omitzero"`
	Method string `json:"method"` // empty means GET
	// URL is relative to the version, such as "/users?$top=1", or an absolute
	// address at the client's Base.
	URL    string            `json:"url"`
	Header map[string]string `json:"headers,omitzero"`
	// Body is a JSON object, or a JSON string with base64 for other bodies.
	Body jsontext.Value `json:"body,omitzero"`
	// DependsOn are the ids of requests that must succeed before this one.
	// Graph knows two patterns: a chain, and many that depend on the same one.
	DependsOn []string `json:"dependsOn,omitzero"`
}

// BatchResponse is the answer to one request of a batch.
type BatchResponse struct {
	ID     string            `json:"id"`
	Status int               `json:"status"` // 0 if there was no answer, see Err
	Header map[string]string `json:"headers,omitzero"`
	Body   jsontext.Value    `json:"body,omitzero"`
	// Err is why the request did not succeed: an [*Error] if it was refused, an
	// [ErrUncertain] if it is a write that was sent and got no answer.
	Err error `json:"-"`
}

// batchLimit is how many requests Graph takes at once.
const batchLimit = 20

// Batch sends any number of requests by the twenty and returns their answers
// in the order of the requests. Requests that depend on each other travel
// together and apart from all others, in their order. What is throttled or
// failed for a moment is sent again, with what depends on it, as [Client.Do]
// would: the answer to each request is the last one.
//
// The error is about the batch as such: it is malformed, or could not be
// sent. That a request was refused is in the Err of its response. Batches have
// no order among each other where [Client.Parallel] is set.
func (c *Client) Batch(ctx context.Context, requests []BatchRequest) ([]BatchResponse, error) {
	b, err := c.plan(requests)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	lanes := make(chan struct{}, max(1, c.Parallel))
	var all sync.WaitGroup
	for _, group := range b.groups {
		lanes <- struct{}{}
		all.Go(func() {
			defer func() { <-lanes }()
			for chunk := range slices.Chunk(group, batchLimit) {
				if ctx.Err() != nil {
					return
				}
				if err := b.run(ctx, chunk); err != nil {
					cancel(err)
					return
				}
			}
		})
	}
	all.Wait()
	err = context.Cause(ctx)
	why := err
	if sent := (*uncertain)(nil); errors.As(err, &sent) {
		why = sent.error
	}
	for i := range b.responses {
		if r := &b.responses[i]; r.Status == 0 && r.Err == nil {
			r.Err = fmt.Errorf("not sent: %w", why)
		}
	}
	return b.responses, err
}

// CheckBatch reports what [Client.Batch] would refuse to send: an address of
// another service, an id that is there twice, one that depends on nobody. It
// sends nothing.
func (c *Client) CheckBatch(requests []BatchRequest) error {
	_, err := c.plan(requests)
	return err
}

// batch is the state of one call of Batch. Groups touch different requests, so
// nothing here needs a lock.
type batch struct {
	c         *Client
	requests  []BatchRequest
	responses []BatchResponse
	homes     []string       // the version that each request is for, as an address
	index     map[string]int // by id in lower case
	groups    [][]int
}

// plan checks the requests and puts them into groups: what depends on each
// other, in order, and all others by the version that they are for.
func (c *Client) plan(requests []BatchRequest) (*batch, error) {
	b := &batch{c: c, requests: slices.Clone(requests), index: map[string]int{},
		responses: make([]BatchResponse, len(requests)), homes: make([]string, len(requests))}
	for i := range b.requests {
		if id := strings.ToLower(b.requests[i].ID); id != "" {
			if _, twice := b.index[id]; twice {
				return nil, fmt.Errorf("two requests of the batch have the id %q (case does not count)", shown(id))
			}
			b.index[id] = i
		}
	}
	for i, next := 0, 1; i < len(b.requests); i++ {
		r := &b.requests[i]
		for r.ID == "" {
			id := strconv.Itoa(next)
			next++
			if _, taken := b.index[id]; !taken {
				r.ID, b.index[id] = id, i
			}
		}
		b.responses[i].ID = requests[i].ID
		if b.responses[i].ID == "" {
			b.responses[i].ID = r.ID
		}
		if r.Method == "" {
			r.Method = http.MethodGet
		}
		r.Method = strings.ToUpper(r.Method)
		if !plainMethod(r.Method) {
			return nil, fmt.Errorf("request %q of the batch has the method %q, which is none; GET, POST, PATCH, PUT and DELETE are", shown(r.ID), shown(r.Method))
		}
		var err error
		if b.homes[i], r.URL, err = c.relative(r.URL); err != nil {
			return nil, fmt.Errorf("request %q of the batch: %w", shown(r.ID), err)
		}
	}
	return b, b.group()
}

func plainMethod(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < 'A' || r > 'Z' })
}

// relative splits an address into the version and what is asked of it.
func (c *Client) relative(address string) (home, rest string, err error) {
	base, err := c.Resolve("/")
	if err != nil {
		return "", "", err
	}
	root := strings.TrimRight(base.String(), "/")
	u, err := c.Resolve(address)
	if err != nil {
		return "", "", err
	}
	if origin.Of(u) != origin.Of(base) {
		return "", "", fmt.Errorf("%s is another service than %s, where the batch goes", shown(u.Host), base.Host)
	}
	whole := u.String()
	if i := strings.LastIndexByte(root, '/'); isVersion(root[i+1:]) {
		for _, version := range []string{"v1.0", "beta"} {
			if strings.HasPrefix(whole, root[:i+1]+version+"/") {
				root = root[:i+1] + version
			}
		}
	}
	rest, ok := strings.CutPrefix(whole, root)
	switch {
	case !ok || !strings.HasPrefix(rest, "/"):
		return "", "", fmt.Errorf("%s is not below %s", shown(whole), shown(root))
	case strings.HasPrefix(strings.ToLower(rest), "/$batch"), strings.HasPrefix(strings.ToLower(rest), "/%24batch"):
		return "", "", errors.New("a batch inside a batch is not possible")
	}
	return root, rest, nil
}

func (b *batch) group() error {
	n := len(b.requests)
	group := make([]int, n) // a forest: each points to one that it belongs with
	for i := range group {
		group[i] = i
	}
	root := func(i int) int {
		for group[i] != i {
			group[i] = group[group[i]]
			i = group[i]
		}
		return i
	}
	linked := make([]bool, n)
	for i, r := range b.requests {
		for _, id := range r.DependsOn {
			j, ok := b.index[strings.ToLower(id)]
			switch {
			case !ok:
				return fmt.Errorf("request %q of the batch depends on %q, which is not in it", shown(r.ID), shown(id))
			case b.homes[i] != b.homes[j]:
				return fmt.Errorf("request %q of the batch depends on %q, which is for another version", shown(r.ID), shown(id))
			}
			group[root(i)] = root(j)
			linked[i], linked[j] = true, true
		}
	}
	const ( // where a request is on its way into its group
		waiting = iota
		begun   // what it depends on comes first
		placed
	)
	state := make([]int, n)
	members := map[string][]int{}
	var keys []string
	var place func(i int) bool
	place = func(i int) bool {
		if state[i] != waiting {
			return state[i] == placed
		}
		state[i] = begun
		for _, id := range b.requests[i].DependsOn {
			if !place(b.index[strings.ToLower(id)]) {
				return false
			}
		}
		state[i] = placed
		key := b.homes[i]
		if linked[i] {
			key = strconv.Itoa(root(i))
		}
		if members[key] == nil {
			keys = append(keys, key)
		}
		members[key] = append(members[key], i)
		return true
	}
	for i := range b.requests {
		if !place(i) {
			return errors.New("requests of the batch depend on each other in a circle")
		}
	}
	for _, key := range keys {
		if linked[members[key][0]] {
			b.groups = append(b.groups, members[key])
			continue
		}
		// Requests on their own may go side by side.
		for chunk := range slices.Chunk(members[key], batchLimit) {
			b.groups = append(b.groups, chunk)
		}
	}
	return nil
}

// run sends one batch, and what is left of it again, until every request has
// its last answer.
func (b *batch) run(ctx context.Context, chunk []int) error {
	home, err := parseAddress(b.homes[chunk[0]] + "/$batch")
	if err != nil {
		return err
	}
	rounds := b.c.attempts(http.MethodPost, call{home: home})
	tries := map[int]*attempts{}
	for _, i := range chunk {
		tries[i] = b.c.attempts(b.requests[i].Method, call{home: home})
	}
	for open := chunk; ; {
		open = b.refuseDependents(open)
		if len(open) == 0 {
			return nil
		}
		if err := b.send(ctx, home, open); err != nil {
			return err
		}
		var again []int
		var asked time.Duration
		for _, i := range open {
			r := &b.responses[i]
			var refused *Error
			if errors.As(r.Err, &refused) {
				asked = max(asked, refused.RetryAfter)
			}
			var worth bool
			switch {
			case r.Err == nil:
			case r.Status == 0:
				worth = tries[i].worth(0, false, &unreachable{r.Err})
			case r.Status == http.StatusFailedDependency:
				worth = slices.ContainsFunc(b.requests[i].DependsOn, func(id string) bool {
					return slices.Contains(again, b.index[strings.ToLower(id)])
				})
			default:
				worth = tries[i].worth(r.Status, refused.RetryAfter > 0, nil)
			}
			if worth {
				again = append(again, i)
			}
		}
		rounds.tries++
		if len(again) == 0 || !rounds.pause(ctx, b.responses[again[0]].Status, asked, nil) {
			return ctx.Err()
		}
		open = again
	}
}

// refuseDependents answers the requests whose dependency has failed for good
// in an earlier batch, and returns the others.
func (b *batch) refuseDependents(open []int) []int {
	var left []int
	for _, i := range open { // what a request depends on stands before it
		failed := slices.IndexFunc(b.requests[i].DependsOn, func(id string) bool {
			j := b.index[strings.ToLower(id)]
			return b.responses[j].Err != nil && !slices.Contains(left, j)
		})
		if failed < 0 {
			left = append(left, i)
			continue
		}
		b.responses[i].Status = http.StatusFailedDependency
		b.responses[i].Err = &Error{Method: b.requests[i].Method, Path: withoutQuery(b.requests[i].URL), Status: http.StatusFailedDependency,
			Message: fmt.Sprintf("not sent, because request %q, on which it depends, failed", shown(b.requests[i].DependsOn[failed]))}
	}
	return left
}

// unanswered says why the requests got no answer, and of those that may have
// been carried out just that. What they were answered before, if they are sent
// again, counts as long as nothing was sent.
func (b *batch) unanswered(open []int, err error) {
	var sent *uncertain
	errors.As(err, &sent)
	for _, i := range open {
		r := &b.responses[i]
		switch {
		case sent != nil && isRepeatable(b.requests[i].Method, call{}):
			*r = BatchResponse{ID: r.ID, Err: sent.error}
		case sent != nil:
			*r = BatchResponse{ID: r.ID, Err: sent}
		case r.Status == 0:
			r.Err = err
		}
	}
}

type batchAnswer struct {
	Responses []struct {
		ID     string         `json:"id"`
		Status int            `json:"status"`
		Header map[string]any `json:"headers"`
		Body   jsontext.Value `json:"body"`
	} `json:"responses"`
}

func (b *batch) send(ctx context.Context, home *url.URL, open []int) error {
	var items struct {
		Requests []BatchRequest `json:"requests"`
	}
	safe := true
	for _, i := range open {
		r := b.requests[i]
		// What was done in an earlier batch is not in this one to depend on.
		r.DependsOn = slices.DeleteFunc(slices.Clone(r.DependsOn), func(id string) bool {
			return !slices.Contains(open, b.index[strings.ToLower(id)])
		})
		if len(r.DependsOn) == 0 {
			r.DependsOn = nil
		}
		safe = safe && isRepeatable(r.Method, call{})
		items.Requests = append(items.Requests, r)
	}
	body, err := json.Marshal(items)
	if err != nil {
		return fmt.Errorf("the batch cannot be written as JSON: %w", err)
	}
	// Older services answer 424 to a batch of which a part was throttled.
	how := call{home: home, safe: safe, answers: []int{http.StatusFailedDependency}}
	var answer batchAnswer
	if _, err = b.c.fetch(ctx, http.MethodPost, how, body, &answer); err == nil && answer.Responses == nil {
		err = fmt.Errorf("%s gave no usable answer: there are no responses in it", how.place())
		if !safe {
			err = &uncertain{err}
		}
	}
	if err != nil {
		b.unanswered(open, err)
		return err
	}
	b.unanswered(open, &uncertain{&unreachable{errors.New("the answer to the batch has no part for this request")}})
	for _, a := range answer.Responses {
		i, ok := b.index[strings.ToLower(a.ID)]
		if !ok || !slices.Contains(open, i) || b.responses[i].Status != 0 || a.Status == 0 {
			continue
		}
		r := &b.responses[i]
		r.Status, r.Body, r.Err, r.Header = a.Status, a.Body, nil, map[string]string{}
		h := http.Header{}
		for name, value := range a.Header {
			// Strings by the book; numbers have been seen.
			r.Header[name] = fmt.Sprint(value)
			h.Set(name, r.Header[name])
		}
		if a.Status >= 400 {
			e := refusalOf(a.Status, h, a.Body)
			e.Method, e.Host, e.Path = b.requests[i].Method, home.Host, withoutQuery(b.requests[i].URL)
			r.Err = e
		}
	}
	return nil
}
