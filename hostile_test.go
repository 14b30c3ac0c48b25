package fob_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode"

	"github.com/fobauth/fob"
)

// hostile is a token server that answers as it likes. It is the one place
// where tests talk to something else than the emulator, which would not do
// this.
func hostile(t *testing.T, answer http.HandlerFunc) *fob.Client {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return &fob.Client{
		Authority:  fob.Authority{Host: server.URL, Tenant: "contoso.example"},
		ID:         "11111111-2222-3333-4444-555555555555",
		Credential: fob.ClientSecret{Secret: fob.NewSecret(canary)},
	}
}

func body(status int, contentType, text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		io.WriteString(w, text)
	}
}

func jsonBody(status int, text string) http.HandlerFunc {
	return body(status, "application/json", text)
}

// endless writes until the client hangs up.
func endless(w http.ResponseWriter, chunk []byte) {
	for {
		if _, err := w.Write(chunk); err != nil {
			return
		}
	}
}

// writeBomb sends mebibytes of zeros, compressed. All that stand behind each
// other are one text, so one is enough to compress.
func writeBomb(w http.ResponseWriter, mebibytes int) {
	w.Header().Set("Content-Encoding", "gzip")
	for one := compressedMebibyte(); mebibytes > 0; mebibytes-- {
		if _, err := w.Write(one); err != nil {
			return
		}
	}
}

var compressedMebibyte = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write(make([]byte, 1<<20))
	z.Close()
	return b.Bytes()
})

const good = `{"token_type":"Bearer","expires_in":3599,"access_token":"at"`

func TestAHostileTokenServerCostsOneClearLine(t *testing.T) {
	tests := []struct {
		name   string
		answer http.HandlerFunc
		want   string // part of the error
	}{
		{"redirect to another host", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example/steal", http.StatusTemporaryRedirect)
		}, "a redirect, which is not followed"},
		{"permanent redirect to itself", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusPermanentRedirect)
		}, "a redirect, which is not followed"},
		{"endless body", func(w http.ResponseWriter, _ *http.Request) {
			endless(w, bytes.Repeat([]byte(" "), 1<<16))
		}, "more than 4 MiB"},
		{"endless string", func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"access_token":"`)
			endless(w, bytes.Repeat([]byte("a"), 1<<16))
		}, "more than 4 MiB"},
		{"compressed bomb", func(w http.ResponseWriter, _ *http.Request) {
			writeBomb(w, 1<<10)
		}, "more than 4 MiB"},
		{"endless header", func(w http.ResponseWriter, _ *http.Request) {
			for i := range 2000 {
				w.Header().Set(fmt.Sprintf("X-%d", i), strings.Repeat("h", 100))
			}
			io.WriteString(w, good+"}")
		}, "server response headers exceeded"},
		{"HTML with status 200", body(200, "text/html", "<html>Welcome to the hotel"), "a web page instead of JSON; a proxy"},
		{"HTML with status 403", body(403, "text/html", "<html>blocked"), "a web page instead of JSON"},
		{"HTML with status 429", body(429, "text/html", "<html>slow down"), "(HTTP 429): too many requests were sent"},
		{"HTML with status 502", body(502, "text/html", "<html>sorry"), "(HTTP 502): the service, or a proxy on the way to it, is in trouble"},
		{"empty body with status 400", jsonBody(400, ""), "an empty body"},
		{"empty body with status 200", jsonBody(200, ""), "an empty body"},
		{"plain text", body(400, "text/plain", "no"), `"text/plain" instead of JSON`},
		{"JSON without an error", jsonBody(400, `{"ok":true}`), "JSON that is no OAuth answer"},
		{"Graph's error object", jsonBody(401, `{"error":{"code":"InvalidAuthenticationToken"}}`), "JSON that is no OAuth answer"},
		{"an array", jsonBody(200, `[]`), "JSON that is no OAuth answer"},
		{"a string", jsonBody(200, `"token"`), "JSON that is no OAuth answer"},
		{"null", jsonBody(200, `null`), "JSON that is no OAuth answer"},
		{"cut off", jsonBody(200, good), "its JSON is broken"},
		{"two objects", jsonBody(200, good+"}{}"), "something stands behind its JSON object"},
		{"access_token twice", jsonBody(200, good+`,"access_token":"other"}`), "the member /access_token stands there twice"},
		{"access_token in another case", jsonBody(200, `{"token_type":"Bearer","expires_in":3599,"ACCESS_TOKEN":"at"}`), "has no access_token"},
		{"access_token a number", jsonBody(200, `{"token_type":"Bearer","expires_in":3599,"access_token":7}`), "wrong type: /access_token"},
		{"access_token an object", jsonBody(200, `{"token_type":"Bearer","expires_in":3599,"access_token":{}}`), "wrong type: /access_token"},
		{"access_token null", jsonBody(200, `{"token_type":"Bearer","expires_in":3599,"access_token":null}`), "has no access_token"},
		{"access_token empty", jsonBody(200, `{"token_type":"Bearer","expires_in":3599,"access_token":""}`), "has no access_token"},
		{"header injection in the token", jsonBody(200, `{"token_type":"Bearer","expires_in":3599,"access_token":"a\r\nX-Evil: 1"}`), "cannot stand in a header"},
		{"space in the token", jsonBody(200, `{"token_type":"Bearer","expires_in":3599,"access_token":"a b"}`), "cannot stand in a header"},
		{"token type pop", jsonBody(200, `{"token_type":"pop","expires_in":3599,"access_token":"at"}`), `"pop", not Bearer`},
		{"no expires_in", jsonBody(200, `{"token_type":"Bearer","access_token":"at"}`), "how long the token lives"},
		{"expires_in zero", jsonBody(200, `{"token_type":"Bearer","expires_in":0,"access_token":"at"}`), "how long the token lives"},
		{"expires_in negative", jsonBody(200, `{"token_type":"Bearer","expires_in":-5,"access_token":"at"}`), "wrong type: /expires_in"},
		{"expires_in huge", jsonBody(200, `{"token_type":"Bearer","expires_in":1e300,"access_token":"at"}`), "wrong type: /expires_in"},
		{"expires_in words", jsonBody(200, `{"token_type":"Bearer","expires_in":"soon","access_token":"at"}`), "wrong type: /expires_in"},
		{"expires_in NaN", jsonBody(200, `{"token_type":"Bearer","expires_in":"NaN","access_token":"at"}`), "wrong type: /expires_in"},
		{"deep nesting", jsonBody(200, good+`,"x":`+strings.Repeat("[", 100)+strings.Repeat("]", 100)+"}"), "nested deeper than 64"},
		{"very deep nesting", jsonBody(200, strings.Repeat(`{"a":`, 100_000)), "nested deeper than 64"},
		{"invalid UTF-8", jsonBody(200, good+",\"x\":\"\xff\xfe\"}"), "its JSON is broken"},
		{"escape sequences in the description", jsonBody(400, `{"error":"invalid_grant","error_description":"AADSTS70000: \u001b]0;owned\u0007\u001b[2J\u202egnp.exe\r\nfob: all is well\u009b31m"}`), "]0;owned [2J gnp.exe fob: all is well 31m"},
		{"secret echoed", jsonBody(401, `{"error":"invalid_client","error_description":"AADSTS7000215: bad secret `+canary+`, see `+"czNjcjN0LWNhbmFyeS12YWx1ZQ=="+`"}`), "bad secret [redacted], see [redacted]"},
		{"secret in the error code", jsonBody(401, `{"error":"`+canary+`"}`), "[redacted], HTTP 401"},
		{"description of a megabyte", jsonBody(400, `{"error":"invalid_request","error_description":"`+strings.Repeat("long ", 200_000)+`"}`), "long long"},
		{"error members of wrong types", jsonBody(400, `{"error":"invalid_grant","error_description":[1],"error_codes":"x","claims":7,"suberror":{},"timestamp":null}`), "invalid_grant, HTTP 400"},
		{"connection dropped", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "POST 127.0.0.1"},
		{"status 600", jsonBody(600, `{}`), "HTTP 600"},
		{"server error", body(503, "text/html", "<html>"), "HTTP 503"},
		{"Retry-After of a year", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "31536000")
			jsonBody(429, `{"error":"temporarily_unavailable","error_description":"AADSTS90055: slow"}`)(w, nil)
		}, "temporarily_unavailable, HTTP 429"},
		{"Retry-After rubbish", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "-1e999 soon")
			jsonBody(503, `{"error":"temporarily_unavailable"}`)(w, nil)
		}, "temporarily_unavailable, HTTP 503"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			client := hostile(t, test.answer)
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			_, err := client.Token(ctx, fob.Request{Scopes: []string{"https://graph.microsoft.com/.default"}})
			switch {
			case err == nil:
				t.Fatal("the answer was taken for a token")
			case ctx.Err() != nil:
				t.Fatalf("the answer held us until the deadline: %v", err)
			}
			text := fmt.Sprintf("%v %+v %#v", err, err, err)
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q does not say %q", err, test.want)
			}
			if strings.Contains(text, canary) {
				t.Errorf("the secret shows in %s", text)
			}
			if strings.ContainsFunc(err.Error(), func(r rune) bool { return unicode.IsControl(r) || r == '\u202e' }) {
				t.Errorf("control characters in %q", err)
			}
			if len(err.Error()) > 4096 {
				t.Errorf("the error has %d bytes", len(err.Error()))
			}
		})
	}
}

func TestAnAnswerThatNeverEndsIsGivenUp(t *testing.T) {
	release := make(chan struct{})
	client := hostile(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, good)
		w.(http.Flusher).Flush()
		<-release
	})
	t.Cleanup(func() { close(release) })
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := client.Token(ctx, fob.Request{Scopes: []string{"s/.default"}})
	if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, fob.ErrUnavailable) {
		t.Errorf("got %v", err)
	}
}

func TestABombTakesNoMoreMemoryThanTheBound(t *testing.T) {
	client := hostile(t, func(w http.ResponseWriter, _ *http.Request) {
		writeBomb(w, 256)
	})
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	client.Token(t.Context(), fob.Request{Scopes: []string{"s/.default"}})
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
		t.Errorf("256 MiB of zeros made us allocate %d MiB", used>>20)
	}
}

func TestARefusedConnectionIsUnavailableAndQuick(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()
	client := &fob.Client{Authority: fob.Authority{Host: "http://" + address, Tenant: "t.example"}, ID: "id",
		Credential: fob.ClientSecret{Secret: fob.NewSecret(canary)}}
	_, err = client.Token(t.Context(), fob.Request{Scopes: []string{"s/.default"}})
	if !errors.Is(err, fob.ErrUnavailable) || !strings.Contains(err.Error(), address) {
		t.Errorf("got %v", err)
	}
}

func TestWhatAProxySaysIsMadeHarmless(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			bufio.NewReader(conn).ReadString('\n')
			io.WriteString(conn, "HTTP/1.1 403 \x1b]0;owned\x07blocked\r\nContent-Length: 0\r\n\r\n")
			conn.Close()
		}
	}()
	c := &fob.Client{Authority: fob.Authority{Tenant: "t.example"}, ID: "id", Credential: fob.ClientSecret{Secret: fob.NewSecret("secret")},
		HTTP: &http.Client{Transport: &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: l.Addr().String()})}}}
	_, err = c.Token(t.Context(), fob.Request{Scopes: graphDefault})
	if !errors.Is(err, fob.ErrUnavailable) || !strings.Contains(err.Error(), "blocked") || strings.ContainsAny(err.Error(), "\x1b\x07") {
		t.Errorf("got %q", err)
	}
}

func TestSecretsGoToOneOriginOnly(t *testing.T) {
	var stolen string
	thief := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		stolen += r.URL.String() + string(b)
	}))
	defer thief.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		client := hostile(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, thief.URL, status) })
		if _, err := client.Token(t.Context(), fob.Request{Scopes: []string{"s/.default"}}); err == nil {
			t.Errorf("%d: no error", status)
		}
	}
	if stolen != "" {
		t.Errorf("the redirect was followed: %s", stolen)
	}
}

func TestBadSettingsAreRefusedBeforeAnythingIsSent(t *testing.T) {
	for name, test := range map[string]struct {
		authority fob.Authority
		id, want  string
	}{
		"plain http":         {fob.Authority{Host: "http://login.example"}, "id", "plain http"},
		"user in the host":   {fob.Authority{Host: "https://login.microsoftonline.com@evil.example"}, "id", "more than a scheme and a host"},
		"path in the host":   {fob.Authority{Host: "https://login.example/tenant"}, "id", "more than a scheme and a host"},
		"empty query":        {fob.Authority{Host: "https://login.example?"}, "id", "more than a scheme and a host"},
		"empty fragment":     {fob.Authority{Host: "https://login.example#"}, "id", "more than a scheme and a host"},
		"other scheme":       {fob.Authority{Host: "ftp://login.example"}, "id", "does not start with https"},
		"no host":            {fob.Authority{Host: "https://:443"}, "id", "not an authority host"},
		"tenant with path":   {fob.Authority{Tenant: "a/../b"}, "id", "is not a tenant"},
		"tenant with query":  {fob.Authority{Tenant: "a?b"}, "id", "is not a tenant"},
		"tenant placeholder": {fob.Authority{Tenant: "<tenant>"}, "id", "is not a tenant"},
		"tenant dots":        {fob.Authority{Tenant: ".."}, "id", "is not a tenant"},
		"no client id":       {fob.Authority{Tenant: "a.example"}, "", "no client id"},
	} {
		client := &fob.Client{Authority: test.authority, ID: test.id, Credential: fob.ClientSecret{Secret: fob.NewSecret("x")}, HTTP: &http.Client{Transport: noNetwork{t}}}
		_, err := client.Token(t.Context(), fob.Request{Scopes: []string{"s/.default"}})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want it to say %q", name, err, test.want)
		}
	}
}

type noNetwork struct{ t *testing.T }

func (n noNetwork) RoundTrip(r *http.Request) (*http.Response, error) {
	n.t.Errorf("a request went to %s", r.URL.Host)
	return nil, errors.New("no network here")
}

// unbuilt is a transport that cannot be made, for lack of a file.
type unbuilt struct{ tries int }

func (u *unbuilt) RoundTrip(*http.Request) (*http.Response, error) {
	u.tries++
	return nil, &fs.PathError{Op: "open", Path: "ca.pem", Err: fs.ErrPermission}
}

func TestAFileThatCannotBeReadIsNotTriedAgain(t *testing.T) {
	transport := &unbuilt{}
	c := &fob.Client{Authority: fob.Authority{Tenant: "t.example"}, ID: "id", Credential: fob.ClientSecret{Secret: fob.NewSecret("secret")},
		HTTP: &http.Client{Transport: transport}}
	if _, err := c.Token(t.Context(), fob.Request{Scopes: graphDefault}); !errors.Is(err, fs.ErrPermission) || transport.tries != 1 {
		t.Errorf("%d tries: %v", transport.tries, err)
	}
}
