package fob

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// AuthorizationCode is the flow for a person with a browser on this machine:
// the authorization code grant with PKCE (RFC 7636) and a listener on the
// loopback interface (RFC 8252). The app registration needs the redirect URI
// "http://localhost" under "Mobile and desktop applications"; Entra ignores
// the port.
type AuthorizationCode struct {
	// Open shows the sign-in page, usually in the browser. It returns once the
	// page was opened. An error ends the flow.
	Open func(ctx context.Context, page string) error
	// LoginHint fills in the user name.
	LoginHint string
	// Prompt is "select_account", "login", "consent" or empty.
	Prompt string
	// Port is the loopback port; 0 takes any free one.
	Port int
}

// Acquire opens the sign-in page and waits for the browser to come back to
// the loopback listener, which takes one answer and closes.
func (f AuthorizationCode) Acquire(ctx context.Context, c *Client, req Request) (*Token, error) {
	if f.Open == nil {
		return nil, errors.New("the authorization code flow has no Open to show the sign-in page with")
	}
	authority := c.Authority.WithTenant(req.Tenant)
	if err := authority.Check(); err != nil {
		return nil, err
	}
	if c.ID == "" {
		return nil, errors.New("no client id; give the Application (client) ID of your app registration")
	}
	claims, err := c.claims(req)
	if err != nil {
		return nil, err
	}
	state, nonce, verifier := rand.Text(), rand.Text(), newVerifier()
	callback, err := listenForCallback(f.Port, state)
	if err != nil {
		return nil, err
	}
	defer callback.close()

	redirect := "http://localhost:" + strconv.Itoa(callback.port)
	challenge := sha256.Sum256([]byte(verifier))
	query := url.Values{
		"client_id": {c.ID}, "response_type": {"code"}, "redirect_uri": {redirect},
		"scope": {c.scope(req, true)}, "state": {state}, "nonce": {nonce},
		// A code in a POST body stays out of the browser's history.
		"response_mode": {"form_post"}, "client_info": {"1"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(challenge[:])}, "code_challenge_method": {"S256"},
	}
	for name, value := range map[string]string{"claims": claims, "login_hint": f.LoginHint, "prompt": f.Prompt} {
		if value != "" {
			query.Set(name, value)
		}
	}
	if err := f.Open(ctx, authority.AuthorizationEndpoint()+"?"+query.Encode()); err != nil {
		return nil, err
	}
	answer, err := callback.wait(ctx)
	if err != nil {
		return nil, err
	}
	if code := answer.Get("error"); code != "" {
		return nil, signInRefusal(answer, hostOf(authority.AuthorizationEndpoint()))
	}
	token, err := c.Exchange(ctx, req, url.Values{
		"grant_type": {grantAuthorizationCode}, "code": {answer.Get("code")},
		"redirect_uri": {redirect}, "code_verifier": {verifier},
	})
	if err != nil {
		return nil, err
	}
	return token, c.checkSignIn(ctx, authority, token, nonce)
}

// newVerifier makes a PKCE code verifier: 43 characters, 256 bits.
func newVerifier() string {
	var random [32]byte
	rand.Read(random[:])
	return base64.RawURLEncoding.EncodeToString(random[:])
}

// signInRefusal turns an error answer of the authorization endpoint (RFC 6749
// section 4.1.2.1) into an *Error. It came through the browser, so it is not
// trusted further than for its text.
func signInRefusal(answer url.Values, host string) *Error {
	e := &Error{
		Status: http.StatusBadRequest, Host: host, Code: clean(answer.Get("error")),
		Description: clean(answer.Get("error_description")), Suberror: clean(answer.Get("error_subcode")),
	}
	e.Description, e.TraceID, e.CorrelationID, e.Timestamp = splitTrailer(e.Description)
	e.Codes = aadstsNumbers(e.Description)
	return e
}

// callback is the loopback listener of one sign-in.
type callback struct {
	port   int
	server *http.Server
	served sync.WaitGroup // the Serve goroutines

	once   sync.Once
	answer chan url.Values
}

func listenForCallback(port int, state string) (*callback, error) {
	listeners, err := listenOnLoopback(port)
	if err != nil {
		return nil, fmt.Errorf("listening for the browser's answer: %w", err)
	}
	cb := &callback{port: listeners[0].Addr().(*net.TCPAddr).Port, answer: make(chan url.Values, 1)}
	cb.server = &http.Server{
		Handler:           cb.handler(state),
		ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 20 * time.Second,
		WriteTimeout: 20 * time.Second, MaxHeaderBytes: maxHeader,
		ErrorLog: log.New(io.Discard, "", 0), // nil would write to stderr
	}
	for _, l := range listeners {
		cb.served.Go(func() { cb.server.Serve(l) })
	}
	return cb, nil
}

// listenOnLoopback listens on 127.0.0.1 and ::1 at the same port, 0 is any:
// "localhost" may mean either to a browser, so a port that another program has
// at one of them does not do. An address that this machine lacks is left out.
func listenOnLoopback(port int) ([]net.Listener, error) {
	var err error
	for range 10 {
		var listeners []net.Listener
		at, taken := port, false
		for _, host := range []string{"127.0.0.1", "::1"} {
			var l net.Listener
			if l, err = net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(at))); err == nil {
				at = l.Addr().(*net.TCPAddr).Port
				listeners = append(listeners, l)
			} else if any, lacking := net.Listen("tcp", net.JoinHostPort(host, "0")); lacking == nil {
				any.Close()
				taken = true
				break
			}
		}
		if len(listeners) > 0 && !taken {
			return listeners, nil
		}
		for _, l := range listeners {
			l.Close()
		}
		if port != 0 || !taken {
			break // another try would end like this one
		}
	}
	return nil, err
}

// wait returns the parameters of the one good answer.
func (cb *callback) wait(ctx context.Context) (url.Values, error) {
	select {
	case answer := <-cb.answer:
		return answer, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting for the browser to sign in: %w", ctx.Err())
	}
}

// close lets the page that is being written go out, then ends the listener.
func (cb *callback) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if cb.server.Shutdown(ctx) != nil {
		cb.server.Close()
	}
	cb.served.Wait()
}

func (cb *callback) handler(state string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		refuse := func(status int, text string) {
			w.WriteHeader(status)
			io.WriteString(w, page("Not signed in", text))
		}
		// Another site may point a name of its own at this port (DNS
		// rebinding): only our own names are answered.
		if host, port, err := net.SplitHostPort(r.Host); err != nil || port != strconv.Itoa(cb.port) || host != "localhost" && host != "127.0.0.1" && host != "::1" {
			refuse(http.StatusMisdirectedRequest, "This address belongs to a program that is waiting for a sign-in.")
			return
		}
		var answer url.Values
		switch {
		case r.URL.Path != "/":
			refuse(http.StatusNotFound, "There is nothing here.")
			return
		case r.Method == http.MethodGet:
			answer = r.URL.Query()
		case r.Method == http.MethodPost:
			r.Body = http.MaxBytesReader(w, r.Body, maxHeader)
			if r.ParseForm() != nil {
				refuse(http.StatusBadRequest, "The sign-in page sent something that is no form.")
				return
			}
			answer = r.PostForm
		default:
			w.Header().Set("Allow", "GET, POST")
			refuse(http.StatusMethodNotAllowed, "The sign-in page answers with GET or POST.")
			return
		}
		// Anyone on this machine, and any web page, can send a request here.
		// One without our state is not from our sign-in: it is answered and
		// forgotten, and the wait goes on.
		if got := answer["state"]; len(got) != 1 || got[0] != state {
			refuse(http.StatusBadRequest, "This answer does not belong to the sign-in that is waiting. Start it again.")
			return
		}
		if len(answer["code"]) != 1 && answer.Get("error") == "" {
			refuse(http.StatusBadRequest, "The answer has neither a code nor an error.")
			return
		}
		taken := false
		cb.once.Do(func() { cb.answer <- answer; taken = true })
		switch {
		case !taken:
			refuse(http.StatusGone, "This sign-in was already answered.")
		case answer.Get("error") != "":
			refuse(http.StatusOK, "The sign-in was refused. The program that asked for it says why.")
		default:
			io.WriteString(w, page("Done in the browser", "Close this page and go back to the terminal, which says how the sign-in went on."))
		}
	})
}

// page is the one static page that a browser sees here.
func page(title, text string) string {
	return `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>fob: ` + html.EscapeString(title) +
		`</title><style>:root{color-scheme:light dark}body{font:1.1rem/1.5 system-ui,sans-serif;max-width:32rem;margin:20vh auto;padding:0 1rem}</style><h1>` +
		html.EscapeString(title) + `</h1><p>` + html.EscapeString(text) + `</p>` + "</html>\n"
}
