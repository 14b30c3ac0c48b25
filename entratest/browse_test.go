package entratest_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/fobauth/fob/entratest"
)

// authorizeURL asks for a code for the given app, to be brought to redirect.
func authorizeURL(e *entratest.Emulator, client, redirect, mode string) string {
	return e.URL() + "/" + entratest.TenantID + "/oauth2/v2.0/authorize?" + url.Values{
		"client_id": {client}, "response_type": {"code"}, "redirect_uri": {redirect}, "response_mode": {mode},
		"scope": {"openid User.Read"}, "state": {"s-1"},
	}.Encode()
}

func TestBrowseSignsInAndBringsTheAnswerToLoopback(t *testing.T) {
	e := entratest.New(t)
	for _, mode := range []string{"query", "form_post"} {
		var got url.Values
		app := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			r.ParseForm()
			got = r.Form
		}))
		redirect := strings.Replace(app.URL, "127.0.0.1", "localhost", 1)
		if err := e.Browse(t.Context(), authorizeURL(e, entratest.CLIClientID, redirect, mode), entratest.BenUPN); err != nil {
			t.Errorf("%s: %v", mode, err)
		}
		if got.Get("code") == "" || got.Get("state") != "s-1" {
			t.Errorf("%s: the app got %v", mode, got)
		}
		app.Close()
	}
}

func TestBrowseReportsWhatAPersonWouldHaveRead(t *testing.T) {
	e := entratest.New(t)
	for name, test := range map[string]struct{ page, user, want string }{
		"redirect not registered": {authorizeURL(e, entratest.CLIClientID, "http://localhost:1/elsewhere", "query"), entratest.AdaUPN, "AADSTS50011"},
		"unknown app":             {authorizeURL(e, "f0b00000-dead-4000-8000-000000000000", "http://localhost:1", "query"), entratest.AdaUPN, "AADSTS700016"},
		"nobody listens":          {authorizeURL(e, entratest.CLIClientID, "http://localhost:1", "query"), entratest.AdaUPN, "redirect URI"},
		"unknown user":            {authorizeURL(e, entratest.CLIClientID, "http://localhost:1", "query"), "nobody@fob.example", "no such user"},
		"answer leaves the machine": {authorizeURL(e, entratest.CLIClientID, "https://login.microsoftonline.com/common/oauth2/nativeclient", "query"),
			entratest.AdaUPN, "not on this machine"},
	} {
		if err := e.Browse(t.Context(), test.page, test.user); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want it to say %q", name, err, test.want)
		}
	}
}
