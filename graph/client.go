package graph

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	"github.com/google/uuid"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/internal/origin"
)

// Client calls APIs with the tokens of a source. Its zero value with a Source
// talks to Microsoft Graph in the public cloud. It is safe for concurrent use
// and must not be copied or changed after its first use.
type Client struct {
	// Source gives the tokens, usually a [fob.Client].
	Source fob.TokenSource
	// Base is what addresses without a host are relative to. Empty means
	// https://graph.microsoft.com/v1.0.
	Base string
	// ResourceManager is what addresses without a host that are for Azure
	// Resource Manager are relative to: those below /subscriptions/, /providers,
	// /tenants and /metadata/endpoints, and those with an api-version. Empty
	// means the one of the cloud that Base is in.
	ResourceManager string
	// HTTP sends the requests; only its Transport is used. Where that fails, a
	// request is not repeated if the error is an [io/fs.PathError], or has a
	// method Permanent() bool that says true. Nil means a transport of this
	// package's own with bounded headers and the proxy of the environment.
	HTTP *http.Client

	// Scopes are asked for whatever the address is, and allow every host.
	// Empty means what [Audience] says.
	Scopes []string
	// Audiences adds to what [Audience] knows: from an origin, such as
	// "https://localhost:8443", to the scope for it.
	Audiences map[string]string
	// Tenant and Account choose among what the Source has, as in
	// [fob.Request].
	Tenant, Account string

	// UserAgent names the program to the services. Empty means "fob".
	UserAgent string
	// Patience is how long one call may wait, all waits together, for a
	// service that throttles or fails. Zero means five minutes; below zero
	// nothing is tried again.
	Patience time.Duration
	// Stall is how long a connection may stand still, before an answer and
	// within it. Zero means 100 seconds, what Microsoft's gateways take.
	Stall time.Duration
	// MaxPage bounds the size of one page of a collection in bytes, after
	// decompression. Zero means 64 MiB. Where pages are read side by side, those
	// of more than 2 MiB share one and a half times as much and wait for each
	// other: they cost time, not memory.
	MaxPage int
	// Parallel is how many requests a batch of batches has under way at once.
	// Zero means one after the other.
	Parallel int
	// OnWait, if set, is told before every wait. It may be called from several
	// goroutines.
	OnWait func(Wait)
	// Now is the clock. Nil means time.Now.
	Now func() time.Time

	lanes  lanes
	waited atomic.Int64                               // nanoseconds of all waits so far
	sleep  func(context.Context, time.Duration) error // nil: real time; tests move a clock
	jitter func() float64                             // in [0, 1); nil: random
}

// Base addresses of Microsoft Graph, and the Resource Manager of the same cloud.
const publicGraph = "https://graph.microsoft.com/v1.0"

var resourceManagers = map[string]string{
	"graph.microsoft.com":             "https://management.azure.com",
	"graph.microsoft.us":              "https://management.usgovcloudapi.net",
	"dod-graph.microsoft.us":          "https://management.usgovcloudapi.net",
	"microsoftgraph.chinacloudapi.cn": "https://management.chinacloudapi.cn",
}

// Resolve returns the absolute form of an address as people write it: a URL, a
// path of Graph ("/users", "/beta/users") or a path of Azure Resource Manager
// ("/subscriptions/..."). Characters that a URL cannot hold, such as the
// spaces of a $filter, are percent-encoded.
func (c *Client) Resolve(address string) (*url.URL, error) {
	if scheme, rest, ok := strings.Cut(address, "://"); ok && !strings.ContainsAny(scheme, "/?#") {
		host, tail := rest, ""
		if i := strings.IndexAny(rest, "/?#"); i >= 0 {
			host, tail = rest[:i], encodeLoose(rest[i:])
		}
		return parseAddress(scheme + "://" + host + tail)
	}
	base := c.Base
	if base == "" {
		base = publicGraph
	}
	home, err := parseAddress(strings.TrimRight(base, "/"))
	if err != nil {
		return nil, fmt.Errorf("the base of the client: %w", err)
	}
	if strings.HasPrefix(address, "//") || address == "" {
		return nil, fmt.Errorf("%q is no address; write a path like /users or a whole URL", shown(address))
	}
	address = "/" + strings.TrimPrefix(encodeLoose(address), "/")
	if isResourceManagers(address) {
		manager := c.ResourceManager
		if manager == "" {
			manager = resourceManagers[strings.ToLower(home.Hostname())]
		}
		if manager == "" {
			return nil, fmt.Errorf("%s is for Azure Resource Manager, and no host of it is known beside %s; write the whole URL (in Go: set graph.Client.ResourceManager)", shown(address), home.Host)
		}
		return parseAddress(strings.TrimRight(manager, "/") + address)
	}
	root := home.String()
	if first, _, _ := strings.Cut(address[1:], "/"); isVersion(first) {
		if i := strings.LastIndexByte(root, '/'); isVersion(root[i+1:]) {
			root = root[:i]
		}
	}
	return parseAddress(root + address)
}

func isVersion(s string) bool { return s == "v1.0" || s == "beta" }

// isResourceManagers tells a path of Azure Resource Manager by what Graph does
// not have. Graph's own subscriptions, without an api-version, are reached
// with "/v1.0/subscriptions/...".
func isResourceManagers(address string) bool {
	path, query, _ := strings.Cut(strings.ToLower(address), "?")
	if first, _, _ := strings.Cut(path[1:], "/"); isVersion(first) {
		return false
	}
	path += "/"
	return strings.HasPrefix(path, "/subscriptions/") && path != "/subscriptions/" ||
		strings.HasPrefix(path, "/providers/") || strings.HasPrefix(path, "/tenants/") || strings.HasPrefix(path, "/metadata/endpoints/") ||
		strings.HasPrefix(query, "api-version=") || strings.Contains(query, "&api-version=")
}

// encodeLoose percent-encodes what people type and URLs cannot hold.
func encodeLoose(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c == ' ' || c > 0x7e || strings.IndexByte("\"<>^`{|}", c) >= 0 {
			fmt.Fprintf(&b, "%%%02X", c)
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Do sends one request and returns the answer, whose body the caller closes.
// The request's address may be relative, see [Client.Resolve]. An answer that
// is a refusal is an [*Error], so are redirects of a write; only 2xx and 304
// are returned. An Authorization header of the caller's own is used instead of
// a token, for the same origin alone.
//
// A request with a body is tried again only if it has GetBody, as
// [http.NewRequest] arranges for the readers of packages bytes and strings.
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	home, err := c.Resolve(req.URL.String())
	if err != nil {
		closeBody(req.Body)
		return nil, err
	}
	return c.send(req, call{home: home})
}

// call is what decides how a request is sent.
type call struct {
	home    *url.URL    // where it goes, and the only place that its token goes
	open    bool        // the address itself is the permission: no token
	safe    bool        // it only reads, although its method does not say so
	once    bool        // the caller tries again itself
	answers []int       // statuses that are no refusal here, besides 2xx and 304
	header  http.Header // of the caller's own, for fetch
}

func (c *Client) send(req *http.Request, how call) (*http.Response, error) {
	transport, err := c.transport(req, how)
	if err != nil {
		closeBody(req.Body)
		return nil, err
	}
	out := req.Clone(req.Context())
	out.URL, out.Host = how.home, ""
	c.decorate(out.Header, how)
	h := http.Client{Transport: transport, CheckRedirect: redirects(how.home)}
	resp, err := h.Do(out)
	if err != nil {
		return nil, c.failed(req, how, err)
	}
	if coding := resp.Header.Get("Content-Encoding"); coding != "" && out.Header.Get("Accept-Encoding") == plain && req.Header.Get("Accept-Encoding") == "" {
		resp.Body.Close()
		return nil, badAnswer(how, resp, nil, "compressed with "+shown(coding)+", which was not asked for")
	}
	s := resp.StatusCode
	if 200 <= s && s < 300 || s == http.StatusNotModified || slices.Contains(how.answers, s) {
		return resp, nil
	}
	return nil, refusal(resp, how)
}

// transport is what a request passes on its way out: tried again where that is
// safe, authorized for its home, watched for standing still, sent.
func (c *Client) transport(req *http.Request, how call) (http.RoundTripper, error) {
	var way http.RoundTripper = defaultTransport()
	if c.HTTP != nil && c.HTTP.Transport != nil {
		way = c.HTTP.Transport
	}
	way = watched{way, c.stall()}
	if !how.open && req.Header.Get("Authorization") == "" {
		scopes, err := c.scopes(how.home)
		if err != nil {
			return nil, err
		}
		if c.Source == nil {
			return nil, errors.New("the client has no Source of tokens")
		}
		way = &fob.Transport{
			Source:  c.Source,
			Request: fob.Request{Scopes: scopes, Tenant: c.Tenant, Account: c.Account},
			Origins: []string{origin.Of(how.home)},
			Base:    way,
		}
	}
	if !how.once {
		way = retrying{way, c, how}
	}
	return way, nil
}

func (c *Client) scopes(u *url.URL) ([]string, error) {
	if len(c.Scopes) > 0 {
		return c.Scopes, nil
	}
	for known, scope := range c.Audiences {
		if k, err := parseAddress(known); err == nil && origin.Of(k) == origin.Of(u) {
			return []string{scope}, nil
		}
	}
	scope, _, err := audience(u)
	return []string{scope}, err
}

// plain is asked of services on this machine: there, compressing a page takes
// longer than copying it, and an export twice the time.
const plain = "identity"

func (c *Client) decorate(h http.Header, how call) {
	if h.Get("User-Agent") == "" {
		agent := c.UserAgent
		if agent == "" {
			agent = "fob"
		}
		h.Set("User-Agent", agent)
	}
	if h.Get("Accept-Encoding") == "" && origin.IsLoopback(how.home.Hostname()) {
		h.Set("Accept-Encoding", plain)
	}
	// One id for a call, all its attempts included: what Microsoft's support
	// finds it by.
	if !how.open && h.Get("Client-Request-Id") == "" {
		h.Set("Client-Request-Id", uuid.NewString())
	}
}

// fetch sends a request and reads the whole answer into v, if there is one.
func (c *Client) fetch(ctx context.Context, method string, how call, in jsontext.Value, v any) (http.Header, error) {
	tries := c.attempts(method, how)
	for {
		req, err := http.NewRequestWithContext(ctx, method, how.home.String(), bytes.NewReader(in))
		if err != nil {
			return nil, err
		}
		maps.Copy(req.Header, how.header.Clone())
		if in == nil {
			req.Body, req.GetBody = nil, nil
		} else {
			req.Header.Set("Content-Type", "application/json")
		}
		req.Header.Set("Accept", "application/json")
		resp, err := c.send(req, how)
		if err != nil {
			return nil, err
		}
		body, err := readAll(c.whole(resp), maxAnswer)
		resp.Body.Close()
		if err == nil && len(body) > 0 && v != nil {
			err = json.Unmarshal(MendJSON(body), v, jsontext.AllowDuplicateNames(true))
			if errors.Is(err, io.ErrUnexpectedEOF) {
				// As good as a broken connection: not every proxy tells them apart.
				err = &unreachable{io.ErrUnexpectedEOF}
			} else if err != nil {
				err = badAnswer(how, resp, body, "not the JSON that was expected")
				if !isRepeatable(method, how) {
					err = &uncertain{err}
				}
				return nil, err
			}
		}
		if err == nil {
			return resp.Header, nil
		}
		if how.once || !tries.again(ctx, nil, err) {
			return nil, c.failed(req, how, orEnd(ctx, err))
		}
	}
}

// whole is the body of an answer that is wanted whole.
func (c *Client) whole(resp *http.Response) io.Reader {
	return &steady{ReadCloser: resp.Body, limit: c.stall()}
}

const maxAnswer = 16 << 20 // bytes of an answer that is no page and no file

func readAll(r io.Reader, limit int64) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err == nil && int64(len(body)) > limit {
		return nil, fmt.Errorf("an answer of more than %d MiB", limit>>20)
	}
	return body, err
}

// failed says which call got no answer. http's own error would hold the query.
func (c *Client) failed(req *http.Request, how call, err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var refused *Error
	if errors.As(err, &refused) {
		if how.open {
			refused.Path = ""
		}
		return refused // it says all of this itself
	}
	var lost *unreachable
	var left *interrupted
	sent := errors.As(err, &left) || errors.As(err, &lost) && !lost.unsent()
	err = fmt.Errorf("%s %s: %w", req.Method, how.place(), err)
	if sent && !isRepeatable(req.Method, how) {
		return &uncertain{err}
	}
	return err
}

// place names the address in a message, without what may be a secret in it.
func (how call) place() string {
	if how.open {
		return shown(how.home.Host)
	}
	return shown(how.home.Host + how.home.Path)
}

func closeBody(b io.Closer) {
	if b != nil {
		b.Close()
	}
}

func (c *Client) now() time.Time {
	if c.Now != nil {
		return c.Now()
	}
	return time.Now()
}

func (c *Client) stall() time.Duration {
	if c.Stall > 0 {
		return c.Stall
	}
	return 100 * time.Second
}

func (c *Client) maxPage() int {
	if c.MaxPage > 0 {
		return c.MaxPage
	}
	return 64 << 20
}
