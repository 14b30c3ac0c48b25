package entratest

import (
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// controlEndpoint is one call of the control server.
type controlEndpoint struct {
	pattern string // method and path, as http.ServeMux reads them
	does    string // for the help
	answer  func(*http.Request) (any, error)
}

// maxControlBody bounds what the control server reads.
const maxControlBody = 1 << 20

// controlHandler serves the controls of the emulator over HTTP, for tests that
// are not written in Go.
func (e *Emulator) controlHandler() http.Handler {
	endpoints := []controlEndpoint{
		{"GET /world", "the ids of tenants, users, groups and apps", func(*http.Request) (any, error) { return e.describe(), nil }},
		{"GET /device", "the device codes that wait for a person", func(*http.Request) (any, error) { return e.PendingDevices(), nil }},
		{"POST /device/approve", `{"user_code": "…", "user": "ada@fob.example"} signs a user in at a device code`, func(r *http.Request) (any, error) {
			var in struct {
				UserCode string `json:"user_code"`
				User     string `json:"user"`
			}
			if err := decode(r, &in); err != nil {
				return nil, err
			}
			return done, e.Approve(in.UserCode, in.User)
		}},
		{"POST /device/deny", `{"user_code": "…"} declines a device code`, func(r *http.Request) (any, error) {
			var in struct {
				UserCode string `json:"user_code"`
			}
			if err := decode(r, &in); err != nil {
				return nil, err
			}
			return done, e.Deny(in.UserCode)
		}},
		{"GET /clock", "the emulator's time", func(*http.Request) (any, error) { return e.clock(), nil }},
		{"POST /clock", `{"advance": "90m"} or {"set": "2026-12-24T18:00:00Z"} moves the clock`, e.moveClock},
		{"POST /fail", `{"n": 2, "status": 503, "retry_after": "1", "path": "/v1.0/users"} or {"n": 1, "code": 50196} or {"n": 1, "drop": true} makes the next requests fail; {"n": 0} forgets`, func(r *http.Request) (any, error) {
			var in struct {
				N *int `json:"n"`
				Fault
			}
			if err := decode(r, &in); err != nil {
				return nil, err
			}
			if in.N == nil {
				return nil, errNoNumber
			}
			return done, e.Fail(*in.N, in.Fault)
		}},
		{"POST /challenge", `{"n": 1} makes the next calls to Graph answer with a claims challenge, if the client understands one`, func(r *http.Request) (any, error) {
			var in struct {
				N *int `json:"n"`
			}
			if err := decode(r, &in); err != nil {
				return nil, err
			}
			if in.N == nil {
				return nil, errNoNumber
			}
			e.ChallengeClaims(*in.N)
			return done, nil
		}},
		{"POST /throttle", `{"units": 100, "writes": 20, "retry_after": "decimal"} makes Graph answer 429 to who asks too much; {} stops it`, func(r *http.Request) (any, error) {
			var in Throttle
			if err := decode(r, &in); err != nil {
				return nil, err
			}
			return done, e.Throttle(in)
		}},
		{"POST /keys/rotate", "makes a new key for signing tokens", func(*http.Request) (any, error) { return done, e.RotateKeys() }},
		{"POST /revoke", `{"user": "ada@fob.example"} ends the sessions of a user`, func(r *http.Request) (any, error) {
			var in struct {
				User string `json:"user"`
			}
			if err := decode(r, &in); err != nil {
				return nil, err
			}
			return done, e.Revoke(in.User)
		}},
		{"GET /requests", "the last requests, oldest first, without their secrets", func(*http.Request) (any, error) { return e.Requests(), nil }},
		{"DELETE /requests", "forgets the requests", func(*http.Request) (any, error) { e.ClearRequests(); return done, nil }},
		{"POST /apps/{clientid}/certificate", "a certificate in PEM, registered for the app", func(r *http.Request) (any, error) {
			text, err := io.ReadAll(http.MaxBytesReader(nil, r.Body, maxControlBody))
			if err != nil {
				return nil, err
			}
			block, rest := pem.Decode(text)
			for block != nil && block.Type != "CERTIFICATE" { // the file may begin with the key, which is not looked at
				block, rest = pem.Decode(rest)
			}
			if block == nil {
				return nil, errors.New("there is no certificate in PEM in the body: send it with curl --data-binary @cert.pem")
			}
			cert, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, err
			}
			return done, e.AddCertificate(r.PathValue("clientid"), cert)
		}},
	}
	mux := http.NewServeMux()
	help := []map[string]string{}
	for _, c := range endpoints {
		help = append(help, map[string]string{"call": c.pattern, "does": c.does})
		mux.HandleFunc(c.pattern, func(w http.ResponseWriter, r *http.Request) {
			answer, err := c.answer(r)
			if err != nil {
				status, text := http.StatusBadRequest, err.Error()
				switch tooLarge := (*http.MaxBytesError)(nil); {
				case errors.As(err, &tooLarge):
					status, text = http.StatusRequestEntityTooLarge, "the body is larger than 1 MiB, and no call needs as much"
				case errors.Is(err, os.ErrDeadlineExceeded):
					status, text = http.StatusRequestTimeout, "the body did not come in time: send it without a pause"
				}
				reply(w, status, problem{text})
				return
			}
			reply(w, http.StatusOK, answer)
		})
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		reply(w, http.StatusOK, map[string]any{"about": "controls of the fob emulator at " + e.URL(), "calls": help})
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// A web page that somebody has open must not be able to approve a sign-in:
		// browsers cannot lie in these three headers.
		switch {
		case r.Header.Get("Origin") != "":
			reply(w, http.StatusForbidden, problem{"requests with an Origin header are refused: the control server is not for web pages"})
			return
		case !loopbackHost(r.Host):
			reply(w, http.StatusForbidden, problem{"the host " + r.Host + " is refused: call the control server as 127.0.0.1 or localhost"})
			return
		case r.Header.Get("Sec-Fetch-Site") != "" && r.Header.Get("Sec-Fetch-Site") != "none" && r.Header.Get("Sec-Fetch-Site") != "same-origin":
			reply(w, http.StatusForbidden, problem{"requests of other sites are refused: the control server is not for web pages"})
			return
		}
		r = e.pace.of(w, r)
		if _, pattern := mux.Handler(r); pattern == "" {
			e.unknownControl(w, r, endpoints)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// unknownControl tells a wrong method from a wrong path.
func (e *Emulator) unknownControl(w http.ResponseWriter, r *http.Request, endpoints []controlEndpoint) {
	var methods []string
	for _, c := range endpoints {
		method, path, _ := strings.Cut(c.pattern, " ")
		if path == r.URL.Path {
			methods = append(methods, method)
		}
	}
	if methods != nil {
		w.Header().Set("Allow", strings.Join(methods, ", "))
		reply(w, http.StatusMethodNotAllowed, problem{r.Method + " is not allowed for " + r.URL.Path + ": use " + strings.Join(methods, " or ")})
		return
	}
	reply(w, http.StatusNotFound, problem{"there is no " + r.URL.Path + ": GET / lists what there is"})
}

func loopbackHost(hostport string) bool {
	host := hostname(hostport)
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// errNoNumber is for who forgot n: no faults are what {"n": 0} asks for.
var errNoNumber = errors.New(`n is missing: say how many requests, {"n": 0} forgets those to come`)

type problem struct {
	Error string `json:"error"`
}

// done is the answer of calls that have nothing else to say.
var done = struct {
	OK bool `json:"ok"`
}{true}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	_ = encoder.Encode(v)
}

// decode reads a JSON body strictly: a misspelt member is an error, and so is
// anything behind the object.
func decode(r *http.Request, v any) error {
	d := json.NewDecoder(http.MaxBytesReader(nil, r.Body, maxControlBody))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		if errors.Is(err, io.EOF) {
			return errors.New("the body is empty: send a JSON object")
		}
		return fmt.Errorf("the body is not the JSON object that is expected here: %w", err)
	}
	switch _, err := d.Token(); {
	case err == nil:
		return errors.New("there is more in the body than one JSON object: make a call for each")
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("there is more in the body than one JSON object: %w", err)
	}
	return nil
}

func (e *Emulator) clock() any { return map[string]time.Time{"now": e.Now().UTC()} }

func (e *Emulator) moveClock(r *http.Request) (any, error) {
	var in struct {
		Advance string     `json:"advance"`
		Set     *time.Time `json:"set"`
	}
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	// A clock further from the real one than a duration is long would stand
	// somewhere else than it was told.
	const century = 100 * 365 * 24 * time.Hour
	far := func(t time.Time) bool { return t.Before(time.Now().Add(-century)) || t.After(time.Now().Add(century)) }
	switch {
	case in.Advance != "" && in.Set == nil:
		d, err := time.ParseDuration(in.Advance)
		if err != nil {
			return nil, errors.New(`advance is not a duration: write "90s", "15m" or "2h"`)
		}
		if d < -2*century || d > 2*century || far(e.Now().Add(d)) {
			return nil, errors.New("the clock moves within a hundred years of the real one")
		}
		e.Advance(d)
	case in.Advance == "" && in.Set != nil:
		if far(*in.Set) {
			return nil, errors.New("the clock moves within a hundred years of the real one")
		}
		e.SetTime(*in.Set)
	default:
		return nil, errors.New(`say {"advance": "90m"} or {"set": "2026-12-24T18:00:00Z"}`)
	}
	return e.clock(), nil
}

// describe lists the ids of the world, as a script needs them.
func (e *Emulator) describe() any {
	type named struct {
		ID   string `json:"id"`
		Name string `json:"name"`
	}
	type tenant struct {
		named
		Domains []string `json:"domains"`
		Users   []named  `json:"users"`
		Groups  []named  `json:"groups"`
		Apps    []named  `json:"apps"`
	}
	tenants := []tenant{}
	for _, t := range e.world.Tenants() {
		d := tenant{named: named{t.ID, t.Name}, Domains: t.Domains, Users: []named{}, Groups: []named{}, Apps: []named{}}
		for _, u := range e.world.Users(t.ID) {
			d.Users = append(d.Users, named{u.ID, u.UPN})
		}
		for _, g := range e.world.Groups(t.ID) {
			d.Groups = append(d.Groups, named{g.ID, g.Name})
		}
		for _, a := range e.world.Apps(t.ID) {
			if !a.FirstParty {
				d.Apps = append(d.Apps, named{a.ClientID, a.Name})
			}
		}
		tenants = append(tenants, d)
	}
	return map[string]any{"authority": e.URL(), "graph": e.GraphURL(), "arm": e.ARMURL(), "tenants": tenants}
}
