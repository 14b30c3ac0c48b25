package sts

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/fobauth/fob/entratest/internal/directory"
)

func TestSigningOutEndsTheSession(t *testing.T) {
	for _, path := range []string{"/common/oauth2/v2.0/logout", "/" + directory.TenantID + "/oauth2/logout"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			t.Run(method+path, func(t *testing.T) {
				s := newSurfer(t)
				s.get(authorizePath, webRequest()).ben().answered(webRedirect)
				var form url.Values
				if method == http.MethodPost {
					form = url.Values{"logout_hint": {"ben"}}
				}
				s.do(method, s.origin+path, form).shows(200, "You signed out of your account")
				s.get(authorizePath, webRequest("prompt", "none")).told(webRedirect, "login_required", "AADSTS50058")
			})
		}
	}
}

func TestSigningOutLeadsBackOnlyToAnAppsAddress(t *testing.T) {
	s := newSurfer(t)
	path := "/" + directory.TenantID + "/oauth2/v2.0/logout"
	for _, c := range []struct {
		client, to string
		goes       string
	}{
		{"", "https://localhost/callback", "https://localhost/callback?state=a+b"},
		{directory.WebAppID, "https://localhost/callback", "https://localhost/callback?state=a+b"},
		{directory.CLIAppID, "https://localhost/callback", ""},
		{"", "https://evil.example/", ""},
		{"", "https://localhost.evil.example/callback", ""},
		{"", "//evil.example", ""},
		{"", "/\\evil.example", ""},
		{"", "javascript:alert(1)", ""},
		{"", "https://localhost/callback\r\nX-Evil: 1", ""},
	} {
		v := s.get(path, change(url.Values{"state": {"a b"}, "post_logout_redirect_uri": {c.to}}, []string{"client_id", c.client}))
		switch {
		case c.goes == "":
			v.shows(200, "You signed out of your account")
			if v.header.Get("X-Evil") != "" || strings.Contains(v.body, "evil") {
				t.Errorf("%q shows", c.to)
			}
		case v.away == nil || v.away.String() != c.goes:
			t.Errorf("%q leads to %v, want %s", c.to, v.away, c.goes)
		}
	}
	if v := s.get(path, url.Values{"post_logout_redirect_uri": {"https://localhost/callback"}}); v.away == nil || v.away.String() != "https://localhost/callback" {
		t.Errorf("without a state it leads to %v", v.away)
	}
}

func TestAUserRealmIsManaged(t *testing.T) {
	s := newSurfer(t)
	for path, want := range map[string]string{
		"/common/UserRealm/ben@fob.example?api-version=1.0":                       "Managed fob.example",
		"/common/userrealm/ben@fob.example?api-version=1.0":                       "Managed fob.example",
		"/" + directory.TenantID + "/UserRealm/ben%40fob.example?api-version=1.0": "Managed fob.example",
		"/common/UserRealm/zed@nowhere.example?api-version=1.0":                   "Unknown nowhere.example",
		"/common/UserRealm/nobody?api-version=1.0":                                "Unknown ",
	} {
		v := s.do(http.MethodGet, s.origin+path, nil)
		var got map[string]string
		if err := json.Unmarshal([]byte(v.body), &got); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if got["account_type"]+" "+got["domain_name"] != want || got["cloud_instance_name"] != "microsoftonline.com" || got["cloud_audience_urn"] != "urn:federation:MicrosoftOnline" || got["ver"] != "1.0" {
			t.Errorf("%s: %v, want %s", path, got, want)
		}
	}
}

func TestAppsAreToldThatABrowserHasSignedOut(t *testing.T) {
	s := newSurfer(t)
	logsOut := func(app, at string) {
		s.sts.World.UpdateApp(app, func(a *directory.App) { a.LogoutURL = at })
	}
	logsOut(directory.WebAppID, "https://web.example/out?from=entra")
	logsOut(directory.SPAAppID, "https://spa.example/out") // which nobody signs in to
	logsOut(directory.CLIAppID, "javascript:alert(1)")
	back := url.Values{"post_logout_redirect_uri": {"https://localhost/callback"}, "state": {"a b"}}
	q := s.get(authorizePath, webRequest()).ben().answered(webRedirect)
	s.get(authorizePath, webRequest()).answered(webRedirect) // once more, to be told once
	s.get(authorizePath, cliRequest()).answered(cliRedirect)
	v := s.get("/"+directory.TenantID+"/oauth2/v2.0/logout", back).shows(200, "You signed out of your account")
	called := "https://web.example/out?from=entra&amp;sid=" + q.Get("session_state") + "&amp;iss=" + url.QueryEscape(s.origin+"/"+directory.TenantID+"/v2.0")
	if strings.Count(v.body, "<iframe") != 1 || !strings.Contains(v.body, `src="`+called+`"`) || strings.Contains(v.body, "javascript") {
		t.Errorf("the page does not call %s alone: %s", called, v.body)
	}
	if policy := v.header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-src https://web.example") {
		t.Errorf("policy %s", policy)
	}
	if !strings.Contains(v.body, `content="1;url=https://localhost/callback?state=a+b"`) {
		t.Errorf("the page goes nowhere: %s", v.body)
	}
	v = s.get("/"+directory.TenantID+"/oauth2/v2.0/logout", back) // nobody is signed in any more
	if v.away == nil || v.away.String() != "https://localhost/callback?state=a+b" {
		t.Errorf("the second time it leads to %v", v.away)
	}
}
