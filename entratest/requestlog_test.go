package entratest

import (
	"fmt"
	"io"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestTheLogKeepsTheLastRequestsInOrder(t *testing.T) {
	var l requestLog
	for i := range 2*logSize + 5 {
		l.add(Request{Path: fmt.Sprint(i)})
	}
	all := l.all()
	if len(all) != logSize || all[0].Path != fmt.Sprint(logSize+5) || all[logSize-1].Path != fmt.Sprint(2*logSize+4) {
		t.Errorf("%d requests, from %s to %s", len(all), all[0].Path, all[len(all)-1].Path)
	}
}

func TestSecretsAreRedactedAndTheRestIsNot(t *testing.T) {
	for _, name := range []string{"client_secret", "CLIENT_SECRET", "client_assertion", "assertion", "refresh_token", "access_token", "id_token", "id_token_hint",
		"subject_token", "code", "device_code", "code_verifier", "password", "passwd", "new_password", "pwd"} {
		if got := redact(url.Values{name: {"s3cret"}}).Get(name); got != redacted {
			t.Errorf("%s shows %s", name, got)
		}
	}
	for _, name := range []string{"client_id", "client_assertion_type", "requested_token_use", "scope", "user_code", "code_challenge", "grant_type", "response_type", "$skiptoken", "state"} {
		if got := redact(url.Values{name: {"value"}}).Get(name); got != "value" {
			t.Errorf("%s is hidden", name)
		}
	}
	if got := redact(url.Values{"anything": {"eyJhbGciOiJub25lIn0.e30."}}).Get("anything"); got != redacted {
		t.Errorf("a token under another name shows: %s", got)
	}
	if got := redact(url.Values{"client_secret": {""}}).Get("client_secret"); got != "" {
		t.Errorf("an empty secret became %q", got)
	}
}

func TestAFormIsStillThereAfterItWasLogged(t *testing.T) {
	for name, body := range map[string]string{"small": "a=1", "too large to log": "a=" + strings.Repeat("x", maxForm)} {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		logged := form(r)
		left, err := io.ReadAll(r.Body)
		if err != nil || string(left) != body {
			t.Errorf("%s: %d of %d bytes are left (%v)", name, len(left), len(body), err)
		}
		if (logged.Get("a") == "1") != (name == "small") {
			t.Errorf("%s: logged %d bytes", name, len(logged.Get("a")))
		}
	}
}
