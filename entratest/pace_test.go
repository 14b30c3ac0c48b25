package entratest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose connections stay in memory, so that time can be the
// test's.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// slow is an emulator that is reached by connections in memory.
type slow struct {
	*testing.T
	dial, control func() net.Conn
}

// inSlowMotion runs a test in which an hour takes no time.
func inSlowMotion(t *testing.T, test func(slow)) {
	synctest.Test(t, func(t *testing.T) {
		e, err := Handler(Config{AuthorityURL: "https://localhost"})
		if err != nil {
			t.Fatal(err)
		}
		serve := func(h http.Handler) func() net.Conn {
			l, s := make(pipes), e.newServer(h)
			s.Protocols = new(http.Protocols)
			s.Protocols.SetHTTP1(true)
			s.Protocols.SetUnencryptedHTTP2(true)
			go s.Serve(l)
			t.Cleanup(func() { close(l); s.Close() })
			return func() net.Conn {
				client, server := net.Pipe()
				l <- server
				return client
			}
		}
		test(slow{t, serve(e), serve(e.controlHandler())})
	})
}

// send sends a request whose body body writes, and returns the answer, its text
// and how long it took until the server let go of the connection.
func (s slow) send(conn net.Conn, head string, body func(io.Writer)) (*http.Response, string, time.Duration) {
	s.Helper()
	var sending sync.WaitGroup
	defer sending.Wait()
	defer conn.Close()
	started := time.Now()
	sending.Go(func() {
		fmt.Fprint(conn, strings.ReplaceAll(head, "\n", "\r\n")+"\r\n\r\n")
		body(conn)
	})
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		s.Errorf("%.40s: no answer: %v", head, err)
		return &http.Response{}, "", 0
	}
	text, _ := io.ReadAll(res.Body)
	if res.Close {
		io.Copy(io.Discard, conn)
	}
	return res, string(text), time.Since(started)
}

// token is an access token of the daemon for a resource.
func (s slow) token(resource string) string {
	s.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {DaemonClientID}, "client_secret": {DaemonSecret}, "scope": {resource + "/.default"}}.Encode()
	_, text, _ := s.send(s.dial(), fmt.Sprintf("POST /%s/oauth2/v2.0/token HTTP/1.1\nHost: localhost\nContent-Type: application/x-www-form-urlencoded\nContent-Length: %d", TenantID, len(form)),
		func(w io.Writer) { io.WriteString(w, form) })
	var got struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(text), &got); err != nil || got.Token == "" {
		s.Fatalf("no token: %s", text)
	}
	return got.Token
}

// everyDoor are requests with bodies, of every kind of answer.
func (s slow) everyDoor(test func(name, head string, dial func() net.Conn, says string)) {
	graph := "\nContent-Type: application/json\nAuthorization: Bearer " + s.token("https://graph.microsoft.com")
	arm := "\nAuthorization: Bearer " + s.token("https://management.azure.com")
	form := "\nContent-Type: application/x-www-form-urlencoded"
	test("token", "POST /"+TenantID+"/oauth2/v2.0/token HTTP/1.1\nHost: localhost"+form, s.dial, `"error_codes":[9002313]`)
	test("authorize", "POST /"+TenantID+"/oauth2/v2.0/authorize HTTP/1.1\nHost: localhost"+form, s.dial, "AADSTS9002313")
	test("logout", "POST /"+TenantID+"/oauth2/v2.0/logout HTTP/1.1\nHost: localhost"+form, s.dial, "AADSTS9002313")
	test("Graph", "POST /v1.0/users HTTP/1.1\nHost: localhost"+graph, s.dial, `"code":"BadRequest"`)
	test("Resource Manager", "PUT /subscriptions/"+SubscriptionID(TenantID)+"/resourcegroups/one?api-version=2022-09-01 HTTP/1.1\nHost: management.azure.com"+arm, s.dial, `{"error":{"code":"Request`)
	test("storage", "PUT /storage/upload/nothing HTTP/1.1\nHost: localhost", s.dial, `"code":"invalidRequest"`)
	test("controls", "POST /clock HTTP/1.1\nHost: localhost", s.control, `"error": "the body `)
}

func TestABodyThatComesByDropsIsGivenUp(t *testing.T) {
	inSlowMotion(t, func(s slow) {
		drip := func(w io.Writer) {
			for range 100_000 {
				time.Sleep(time.Second)
				if _, err := w.Write([]byte{' '}); err != nil {
					return
				}
			}
		}
		s.everyDoor(func(name, head string, dial func() net.Conn, says string) {
			res, text, took := s.send(dial(), head+"\nContent-Length: 100000", drip)
			if res.StatusCode != http.StatusRequestTimeout || !strings.Contains(text, says) || took > 40*time.Second || !res.Close {
				s.Errorf("%s: %d after %v, closed %v: %s", name, res.StatusCode, took, res.Close, text)
			}
		})
		// Nor does one that nobody wants to read.
		res, _, took := s.send(s.dial(), "POST /v1.0/users HTTP/1.1\nHost: localhost\nContent-Length: 100000", drip)
		if res.StatusCode != http.StatusUnauthorized || took > 40*time.Second || !res.Close {
			s.Errorf("without a token: %d after %v, closed %v", res.StatusCode, took, res.Close)
		}
	})
}

func TestABodyThatComesByDropsOverHTTP2IsGivenUp(t *testing.T) {
	inSlowMotion(t, func(s slow) {
		transport := &http.Transport{Protocols: new(http.Protocols), DialContext: func(context.Context, string, string) (net.Conn, error) { return s.dial(), nil }}
		transport.Protocols.SetUnencryptedHTTP2(true)
		defer transport.CloseIdleConnections()
		body, drops := io.Pipe()
		var sending sync.WaitGroup
		sending.Go(func() {
			for range 100_000 {
				time.Sleep(time.Second)
				if _, err := drops.Write([]byte{' '}); err != nil {
					return
				}
			}
		})
		started := time.Now()
		res, err := (&http.Client{Transport: transport}).Post("http://localhost/"+TenantID+"/oauth2/v2.0/token", "application/x-www-form-urlencoded", body)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		body.Close()
		sending.Wait()
		if took := time.Since(started); res.StatusCode != http.StatusRequestTimeout || res.ProtoMajor != 2 || took > 40*time.Second {
			t.Errorf("%s over %s after %v", res.Status, res.Proto, took)
		}
	})
}

func TestABodyThatNeverEndsIsRefused(t *testing.T) {
	inSlowMotion(t, func(s slow) {
		s.everyDoor(func(name, head string, dial func() net.Conn, says string) {
			sent := 0
			res, text, _ := s.send(dial(), head+"\nTransfer-Encoding: chunked", func(w io.Writer) {
				chunk := "10000\r\n" + strings.Repeat(" ", 64<<10) + "\r\n"
				for ; sent < 2000; sent++ {
					if _, err := io.WriteString(w, chunk); err != nil {
						return
					}
				}
			})
			if res.StatusCode != http.StatusRequestEntityTooLarge || !strings.Contains(text, says) || !res.Close || sent == 2000 {
				s.Errorf("%s: %d after %d chunks, closed %v: %s", name, res.StatusCode, sent, res.Close, text)
			}
		})
	})
}

func TestALargeFileOverASlowLineArrives(t *testing.T) {
	inSlowMotion(t, func(s slow) {
		const size, speed = 4 << 20, 20 << 10
		// There is no such upload, which is said when all of it has arrived.
		res, text, took := s.send(s.dial(), fmt.Sprintf("PUT /storage/upload/nothing HTTP/1.1\nHost: localhost\nContent-Length: %d\nContent-Range: bytes 0-%d/%d", size, size-1, size), func(w io.Writer) {
			for range size / speed {
				time.Sleep(time.Second)
				w.Write(make([]byte, speed))
			}
			w.Write(make([]byte, size%speed))
		})
		if res.StatusCode != http.StatusNotFound || !strings.Contains(text, "uploadSessionNotFound") || took < 3*time.Minute || res.Close {
			s.Errorf("%d after %v, closed %v: %s", res.StatusCode, took, res.Close, text)
		}
	})
}
