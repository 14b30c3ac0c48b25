package graphsim

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// maxBatch is how many requests a batch may have.
const maxBatch = 20

// batchItem is a request of a batch.
type batchItem struct {
	ID        string            `json:"id"`
	Method    string            `json:"method"`
	URL       string            `json:"url"`
	Headers   map[string]string `json:"headers"`
	Body      json.RawMessage   `json:"body"`
	DependsOn []string          `json:"dependsOn"`
}

// batch answers a list of requests one after the other. Each is a request of
// its own: with the caller's token, and with permissions, throttling and
// faults of its own.
func (c *call) batch() {
	if c.batched {
		c.refuse(http.StatusBadRequest, "BadRequest", "A batch cannot contain a batch.")
		return
	}
	if _, ok := c.readObject(true); !ok || !c.noOptions() {
		return
	}
	var body struct {
		Requests []batchItem `json:"requests"`
	}
	if err := json.Unmarshal(c.body, &body); err != nil {
		c.refuse(http.StatusBadRequest, "BadRequest", "Invalid batch payload format.")
		return
	}
	if !c.checkBatch(body.Requests) {
		return
	}
	answers := []object{}
	status := map[string]int{}
	lanes := map[string]int{} // requests that Outlook would run at a time, by mailbox
	limited := c.throttling()
	for _, item := range inOrder(body.Requests) {
		if m := mailboxOf().FindStringSubmatch(item.URL); m != nil && limited && len(item.DependsOn) == 0 {
			if lanes[strings.ToLower(m[1])]++; lanes[strings.ToLower(m[1])] > mailLanes {
				answers = append(answers, c.overLanes(item))
				status[strings.ToLower(item.ID)] = http.StatusTooManyRequests
				continue
			}
		}
		failed := slices.ContainsFunc(item.DependsOn, func(id string) bool { return status[strings.ToLower(id)] >= 400 })
		answer, code := c.batchAnswer(item, failed)
		status[strings.ToLower(item.ID)] = code
		answers = append(answers, answer)
	}
	c.send(http.StatusOK, "application/json", object{{"responses", answers}})
}

// mailLanes is how many requests of a batch Outlook runs at a time for one
// mailbox.
const mailLanes = 4

var mailboxOf = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^/?(me|users/[^/?]+)/(?:messages|mailFolders|sendMail)\b`)
})

// overLanes is Outlook's answer to one request too many for a mailbox.
func (c *call) overLanes(item batchItem) object {
	return object{{"id", item.ID}, {"status", http.StatusTooManyRequests}, {"headers", object{{"Content-Type", "application/json"}, {"Retry-After", "1"}}},
		{"body", c.errorBody("ApplicationThrottled", "Application is over its MailboxConcurrency limit.")}}
}

// inOrder sorts requests so that each comes after what it depends on.
func inOrder(items []batchItem) []batchItem {
	var out []batchItem
	done := map[string]bool{}
	for len(out) < len(items) {
		for _, item := range items {
			id := strings.ToLower(item.ID)
			if !done[id] && !slices.ContainsFunc(item.DependsOn, func(d string) bool { return !done[strings.ToLower(d)] }) {
				done[id] = true
				out = append(out, item)
			}
		}
	}
	return out
}

// checkBatch answers 400 for a batch that is wrong as a whole.
func (c *call) checkBatch(items []batchItem) bool {
	bad := func(format string, args ...any) bool {
		c.refuse(http.StatusBadRequest, "BadRequest", fmt.Sprintf(format, args...))
		return false
	}
	if len(items) == 0 {
		return bad("Invalid batch payload format: there are no requests.")
	}
	if len(items) > maxBatch {
		body := c.errorBody("BadRequest", fmt.Sprintf("Number of batch request steps exceeds the maximum value of %d.", maxBatch))
		inner := body[0].value.(object)
		inner[2].value = append(object{{"code", "MaximumValueExceeded"}}, inner[2].value.(object)...)
		c.send(http.StatusBadRequest, "application/json", body)
		return false
	}
	at := map[string]int{}
	for i, item := range items {
		id := strings.ToLower(item.ID)
		if _, twice := at[id]; id == "" || twice {
			return bad("Request Id has to be unique in a batch, and not empty: '%s'.", item.ID)
		}
		at[id] = i
		switch {
		case item.Method == "" || item.URL == "":
			return bad("The request '%s' of the batch has no method or no url.", item.ID)
		case strings.Contains(item.URL, "#"):
			return bad("The url '%s' of the batch has a fragment: write %%23 for a #.", item.URL)
		case strings.Contains(item.URL, "://"):
			return bad("The url '%s' of the batch is not relative.", item.URL)
		}
	}
	// A serial chain, or all on the same: each item waits for one at most, and
	// nothing waits for itself.
	for _, item := range items {
		if len(item.DependsOn) > 1 {
			return bad("The request '%s' depends on more than one other: the batch must be parallel, serial, or all depend on the same.", item.ID)
		}
		steps := 0
		for next := item; len(next.DependsOn) > 0; steps++ {
			i, known := at[strings.ToLower(next.DependsOn[0])]
			if !known {
				return bad("The request '%s' depends on '%s', which is not in the batch.", next.ID, next.DependsOn[0])
			}
			if next = items[i]; steps > len(items) {
				return bad("The request '%s' depends on itself, directly or through others.", item.ID)
			}
		}
	}
	return true
}

// recorder keeps what would be sent.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}
func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}

// batchAnswer serves one request of a batch.
func (c *call) batchAnswer(item batchItem, failedBefore bool) (object, int) {
	w := &recorder{header: http.Header{}}
	c.batchServe(w, item, failedBefore)
	headers := object{}
	for _, name := range []string{"Cache-Control", "Content-Type", "ETag", "Location", "OData-Version", "Preference-Applied", "Retry-After", "x-ms-resource-unit",
		"x-ms-throttle-information", "x-ms-throttle-limit-percentage", "x-ms-throttle-scope"} {
		if v := w.header.Get(name); v != "" {
			headers = append(headers, member{name, v})
		}
	}
	answer := object{{"id", item.ID}, {"status", max(w.status, 200)}, {"headers", headers}}
	switch text := w.body.Bytes(); {
	case len(text) == 0: // no body rather than null
	case strings.HasPrefix(w.header.Get("Content-Type"), "application/json"):
		answer = append(answer, member{"body", json.RawMessage(text)})
	case strings.HasPrefix(w.header.Get("Content-Type"), "text/"):
		answer = append(answer, member{"body", string(text)})
	default:
		answer = append(answer, member{"body", base64.StdEncoding.EncodeToString(text)})
	}
	return answer, max(w.status, 200)
}

func (c *call) batchServe(w *recorder, item batchItem, failedBefore bool) {
	address := "/" + strings.TrimLeft(item.URL, "/")
	path, query, _ := strings.Cut(address, "?")
	// An old JavaScript client leaves the version in.
	if v := "/" + c.version; strings.HasPrefix(strings.ToLower(path), v+"/") {
		path = path[len(v):]
	}
	u, err := url.Parse("/" + c.version + path)
	if err == nil {
		u.RawQuery = strings.ReplaceAll(query, " ", "%20")
	} else {
		u = &url.URL{Path: "/"}
	}
	r := (&http.Request{Method: strings.ToUpper(item.Method), URL: u, Host: c.r.Host, TLS: c.r.TLS, Header: http.Header{}, Body: http.NoBody, Proto: c.r.Proto, RemoteAddr: c.r.RemoteAddr}).WithContext(c.r.Context())
	for name, value := range item.Headers {
		r.Header.Set(name, value)
	}
	in := c.Server.newCall(w, r)
	in.version, in.token, in.batched, in.clientID = c.version, c.token, true, c.clientID
	w.header.Set("OData-Version", "4.0")
	if err != nil {
		in.refuse(http.StatusBadRequest, "BadRequest", "The url '"+item.URL+"' of the batch is not a URL.")
		return
	}
	if failedBefore {
		in.refuse(http.StatusFailedDependency, "FailedDependency", "The request could not be processed because a request that it depends on failed.")
		return
	}
	if c.Fault != nil {
		if status, retryAfter, fail := c.Fault(u.Path); fail {
			if retryAfter != "" {
				w.header.Set("Retry-After", retryAfter)
			}
			if status == http.StatusTooManyRequests {
				in.tooMany()
				return
			}
			in.refuse(status, strings.ReplaceAll(http.StatusText(status), " ", ""), "The emulator was asked to fail this request.")
			return
		}
	}
	if text := bytes.TrimSpace(item.Body); len(text) > 0 && string(text) != "null" {
		in.body = text
		if text[0] == '"' { // binary, or text: base64
			var encoded string
			_ = json.Unmarshal(text, &encoded)
			raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(strings.NewReplacer("+", "-", "/", "_").Replace(encoded), "="))
			if err != nil {
				in.refuse(http.StatusBadRequest, "BadRequest", "The body of the request '"+item.ID+"' is neither an object nor base64.")
				return
			}
			in.body = raw
		}
		if r.Header.Get("Content-Type") == "" {
			in.refuse(http.StatusBadRequest, "BadRequest", "Write requests (excluding DELETE) must contain the Content-Type header declaration.")
			return
		}
	}
	r.Body = io.NopCloser(bytes.NewReader(in.body))
	segments, ok := segments(u)
	if !ok || len(segments) == 0 {
		in.refuse(http.StatusBadRequest, "BadRequest", "The url '"+item.URL+"' of the batch is not properly encoded.")
		return
	}
	in.route(segments[1:])
}
