// Package graphsim shows the emulator's world as Microsoft Graph (v1.0 and
// beta), and a little of it as Azure Resource Manager.
//
// It never guesses: what it does not implement, a path or a query option, is
// refused with the error body that Graph has for it. A test that passes here
// because something was silently ignored would fail against the real service.
//
// One request takes this way: [Server.ServeHTTP] (headers, version), authorize
// (401), route (400, 404, 405, 403, 429), then one method of call an endpoint,
// which reads the query options or the body and answers. routes.go lists the
// endpoints; what each needs is in endpoint-permissions.tsv and
// more-permissions.tsv. Users, groups and apps live in package directory; mail,
// photos and files live here.
package graphsim

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fobauth/fob/entratest/internal/directory"
)

// Request bodies are no larger, before and after decompression.
const (
	maxBody    = 4 << 20
	maxContent = 64 << 20 // of a file
)

// Verdict says what Verify thinks of an access token.
type Verdict int

// The verdicts, in the order in which Graph looks.
const (
	Good         Verdict = iota
	Malformed            // not a JSON web token
	BadSignature         // not signed by a key of this authority
	Expired              // or not yet valid
)

// Server is the Graph and ARM face of a world. Fill World and Verify before
// the first request.
type Server struct {
	// World is what is shown.
	World *directory.World
	// Verify checks signature and times of an access token and returns its
	// claims. Audience and permissions are checked here.
	Verify func(raw string) (map[string]any, Verdict)
	// Signed returns the claims of a JWT that one of some keys has signed. An
	// error says what is wrong with it, without a full stop.
	Signed func(raw string, by []crypto.PublicKey) (map[string]any, error)
	// AuthorityURL returns the address of the authority that belongs to a
	// request, without a trailing slash: 401 answers and ARM's metadata name it.
	AuthorityURL func(*http.Request) string
	// GraphURL and ARMURL are the emulator's own addresses of the two, good as
	// audiences besides Microsoft's.
	GraphURL, ARMURL string
	// PageTokenLife is how long a nextLink works; zero is an hour.
	PageTokenLife time.Duration

	// StorageURL returns the origin that serves uploads and downloads, which
	// take no token: another one than Graph's, so that a client which sends
	// its token along is found out. Nil is Graph's own.
	StorageURL func() string
	// Fault says whether a request inside a batch is to fail.
	Fault func(path string) (status int, retryAfter string, fail bool)

	requests atomic.Uint64 // numbers the request ids
	throttle throttle
	mail     mailboxes
	photos   photoAlbum
	drives   drives
	azure    resourceGroups

	mu         sync.Mutex // guards challenges
	challenges int        // how many calls still get a claims challenge
}

// ChallengeClaims makes the next n calls whose token is good and declares the
// client capability cp1 answer 401 with a claims challenge, as continuous
// access evaluation does.
func (s *Server) ChallengeClaims(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.challenges = n
}

// call is one request on its way through the server.
type call struct {
	*Server
	w        http.ResponseWriter
	r        *http.Request
	id       string // request-id
	clientID string // client-request-id
	version  string // "v1.0" or "beta"
	token    claims
	body     []byte

	at           *route
	args         []string // the {id}s of the path
	me           bool     // the first of args came as /me
	cast         string   // the type that a collection is narrowed to, in lower case
	folder       string   // of mail, that the path names before a message; empty: any
	segmentCount bool     // the path ends with /$count
	references   bool     // the path ends with /$ref
	argument     string   // of a function of a drive: what is in its parentheses
	path         string   // of a drive item, without a leading slash
	byPath       bool
	batched      bool   // part of a $batch
	concerns     string // the object that the log of changes names, if neither the path does nor a Location
	base         string // the origin to name, if not that of the request
}

// ServeHTTP answers a request for Graph.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept-Encoding")
	if acceptsGzip(r) {
		z := &compressor{ResponseWriter: w}
		defer z.close()
		w = z
	}
	c := s.newCall(w, r)
	if c.preflight() {
		return
	}
	h := w.Header()
	h.Set("OData-Version", "4.0")
	// The real service also sends Strict-Transport-Security. On localhost a
	// browser would then refuse every http server of the developer's machine.
	h.Set("x-ms-ags-diagnostic", `{"ServerInfo":{"DataCenter":"Emulator","Slice":"E","Ring":"1","ScaleUnit":"001","RoleInstance":"FOB00001"}}`)

	path, ok := segments(r.URL)
	if !ok {
		c.refuse(http.StatusBadRequest, "BadRequest", "The request path is not properly encoded.")
		return
	}
	switch version := first(path); version {
	case "v1.0", "beta":
		c.version = version
	case "oidc":
		c.oidc(path[1:])
		return
	default:
		c.refuse(http.StatusBadRequest, "BadRequest", "Invalid version: "+version)
		return
	}
	if len(path) == 2 && strings.EqualFold(path[1], "$metadata") && r.Method == http.MethodGet {
		c.csdl() // for everybody
		return
	}
	if !c.authorize() {
		return
	}
	var err error
	switch c.body, err = readBody(w, r, limit(path)); {
	case errors.Is(err, errEncoding):
		c.refuse(http.StatusUnsupportedMediaType, "UnsupportedMediaType", "The content encoding '"+r.Header.Get("Content-Encoding")+"' is not supported: send gzip, or nothing compressed.")
		return
	case errors.Is(err, errTooLarge):
		c.refuse(http.StatusRequestEntityTooLarge, "BadRequest", "The request body is larger than is allowed here.")
		return
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.refuse(http.StatusRequestTimeout, "BadRequest", bodyTooSlow)
		return
	case err != nil:
		c.refuse(http.StatusBadRequest, "BadRequest", "Unable to read the request body: "+err.Error())
		return
	}
	c.route(path[1:])
}

func (s *Server) newCall(w http.ResponseWriter, r *http.Request) *call {
	c := &call{Server: s, w: w, r: r, version: "v1.0"}
	// Counted rather than random, so that two runs of a test give equal answers.
	c.id = fmt.Sprintf("f0b0e000-0000-4000-8000-%012x", s.requests.Add(1))
	c.clientID = r.Header.Get("client-request-id")
	if c.clientID == "" || len(c.clientID) > 128 {
		c.clientID = c.id
	}
	h := w.Header()
	h.Set("request-id", c.id)
	h.Set("client-request-id", c.clientID)
	h.Set("Cache-Control", "no-cache")
	h.Set("Date", s.World.Now().UTC().Format(http.TimeFormat))
	return c
}

// preflight lets single-page applications in, as Graph does. It says whether
// it has answered.
func (c *call) preflight() bool {
	if c.r.Header.Get("Origin") == "" {
		return false
	}
	h := c.w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "ETag, Location, Preference-Applied, Content-Range, request-id, client-request-id, Retry-After, WWW-Authenticate, Authentication-Info")
	if c.r.Method != http.MethodOptions || c.r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", "GET, POST, PATCH, PUT, DELETE, OPTIONS")
	if asked := c.r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Set("Access-Control-Max-Age", "3600")
	c.w.WriteHeader(http.StatusOK)
	return true
}

// refuse answers with Graph's error body. Every client relies on all of it:
// the Go SDK panics when "error" or "message" is missing.
func (c *call) refuse(status int, code, message string) {
	c.send(status, "application/json", c.errorBody(code, message))
}

func (c *call) errorBody(code, message string) object {
	return object{{"error", object{
		{"code", code},
		{"message", message},
		{"innerError", object{
			{"date", c.World.Now().UTC().Format("2006-01-02T15:04:05")},
			{"request-id", c.id},
			{"client-request-id", c.clientID},
		}},
	}}}
}

// Refuse answers a request with an error in Graph's shape: for failures that
// are asked for rather than found.
func (s *Server) Refuse(w http.ResponseWriter, r *http.Request, status int, code, message string) {
	s.newCall(w, r).refuse(status, code, message)
}

// entity answers with one object.
func (c *call) entity(context string, o object) {
	if !c.withoutRepresentation() {
		c.answer(http.StatusOK, context, o)
	}
}

// created answers 201 with a new object, and where it is.
func (c *call) created(context, location string, o object) {
	c.w.Header().Set("Location", c.origin()+"/"+c.version+location)
	if !c.withoutRepresentation() {
		c.answer(http.StatusCreated, context, o)
	}
}

func (c *call) answer(status int, context string, o object) {
	if !c.noMetadata() {
		o = append(object{{"@odata.context", c.metadata(context)}}, o...)
	}
	c.odataStatus(status, o)
}

func (c *call) noContent() { c.w.WriteHeader(http.StatusNoContent) }

func (c *call) odata(v any) { c.odataStatus(http.StatusOK, v) }

func (c *call) odataStatus(status int, v any) { c.send(status, c.contentType(), v) }

func (c *call) contentType() string {
	metadata := "minimal"
	if c.noMetadata() {
		metadata = "none"
	}
	return "application/json;odata.metadata=" + metadata + ";odata.streaming=true;IEEE754Compatible=false;charset=utf-8"
}

func (c *call) noMetadata() bool {
	return strings.Contains(strings.ToLower(strings.ReplaceAll(c.r.Header.Get("Accept"), " ", "")), "odata.metadata=none")
}

func (c *call) send(status int, contentType string, v any) {
	body, err := encode(v)
	if err != nil {
		status, body = http.StatusInternalServerError, []byte(`{"error":{"code":"generalException","message":"the answer could not be encoded"}}`)
	}
	c.w.Header().Set("Content-Type", contentType)
	c.w.WriteHeader(status)
	c.w.Write(body)
}

// metadata is a context URL on the address that the caller used.
func (c *call) metadata(of string) string {
	return c.origin() + "/" + c.version + "/$metadata#" + of
}

func (c *call) origin() string {
	if c.base != "" {
		return c.base
	}
	if c.r.TLS == nil {
		return "http://" + c.r.Host
	}
	return "https://" + c.r.Host
}

// readBody reads a body to its end, decompressing it: the kiota clients
// compress what they send. Some mark a body as compressed that is not, so the
// magic number decides.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return nil, nil
	}
	body := io.Reader(http.MaxBytesReader(w, r.Body, limit))
	switch strings.ToLower(r.Header.Get("Content-Encoding")) {
	default:
		return nil, errEncoding
	case "", "identity":
	case "gzip":
		buffered := bufio.NewReader(body)
		body = buffered
		if magic, _ := buffered.Peek(2); len(magic) == 2 && magic[0] == 0x1f && magic[1] == 0x8b {
			z, err := gzip.NewReader(buffered)
			if err != nil {
				return nil, err
			}
			body = z
		}
	}
	text, err := io.ReadAll(io.LimitReader(body, limit+1))
	if tooLarge := (*http.MaxBytesError)(nil); errors.As(err, &tooLarge) || int64(len(text)) > limit {
		return nil, errTooLarge
	}
	return text, err
}

// bodyTooSlow is said about a body that ended with os.ErrDeadlineExceeded.
const bodyTooSlow = "The request body did not arrive in time."

var (
	errTooLarge = errors.New("too large")
	errEncoding = errors.New("compressed in another way")
)

// limit is how large the body of a request for path may be: files and photos
// are larger than what is JSON.
func limit(path []string) int64 {
	if last := strings.ToLower(path[len(path)-1]); last == "content" || last == "$value" {
		return maxContent
	}
	return maxBody
}

// segments splits a path into its decoded segments. Clients send doubled and
// trailing slashes, keys in parentheses, and # and @ encoded or not.
func segments(u *url.URL) ([]string, bool) {
	escaped := u.EscapedPath()
	var path []string
	if at := drivePath().FindStringSubmatchIndex(escaped); at != nil {
		// root:/reports/2026.pdf:/content names an item by its path.
		head, item, tail := escaped[:at[3]], escaped[at[3]+1:], ""
		if end := strings.IndexByte(item, ':'); end >= 0 {
			item, tail = item[:end], item[end+1:]
		}
		item, err := url.PathUnescape(strings.Trim(item, "/"))
		if err != nil {
			return nil, false
		}
		before, ok := segments(&url.URL{Path: head, RawPath: head})
		after, ok2 := segments(&url.URL{Path: tail, RawPath: tail})
		return append(append(before, ":"+item), after...), ok && ok2
	}
	for raw := range strings.SplitSeq(escaped, "/") {
		if raw == "" {
			continue
		}
		s, err := url.PathUnescape(raw)
		if err != nil {
			return nil, false
		}
		// users('ada@fob.example') is users/ada@fob.example.
		if open := strings.IndexByte(s, '('); open > 0 && strings.HasSuffix(s, ")") {
			key := s[open+1 : len(s)-1]
			path = append(path, s[:open])
			if len(key) >= 2 && key[0] == '\'' && key[len(key)-1] == '\'' {
				key = strings.ReplaceAll(key[1:len(key)-1], "''", "'")
			}
			if key != "" {
				path = append(path, key)
			}
			continue
		}
		path = append(path, s)
	}
	return path, true
}

var drivePath = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)(/root|/items/[^/:]+):/`) })

func first(path []string) string {
	if len(path) == 0 {
		return ""
	}
	return strings.ToLower(path[0])
}

// object is a JSON object that keeps the order of its members.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON writes the members in their order.
func (o object) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, m := range o {
		if i > 0 {
			b = append(b, ',')
		}
		name, err := encode(m.name)
		if err != nil {
			return nil, err
		}
		value, err := encode(m.value)
		if err != nil {
			return nil, err
		}
		b = append(append(append(b, name...), ':'), value...)
	}
	return append(b, '}'), nil
}

// encode is JSON without the escapes for HTML, which the real service does not
// use either: a nextLink can be copied out of an answer as it stands.
func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}
