package graph

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"

	"github.com/fobauth/fob"
)

func TestPermissionsAreFoundByRealPaths(t *testing.T) {
	for _, test := range []struct{ method, path, delegated, application string }{
		{"GET", "/me", "User.Read", ""},
		{"GET", "/v1.0/me?$select=id", "User.Read", ""},
		{"GET", "/users", "User.ReadBasic.All", "User.ReadBasic.All"},
		{"HEAD", "/beta/users/", "User.ReadBasic.All", "User.ReadBasic.All"},
		{"GET", "/users/$count", "User.ReadBasic.All", "User.ReadBasic.All"},
		{"GET", "/users/mira@fabrikam.example", "User.ReadBasic.All", "User.ReadBasic.All"},
		{"GET", "/users('mira@fabrikam.example')", "User.ReadBasic.All", "User.ReadBasic.All"},
		{"DELETE", "/users/1", "User.DeleteRestore.All", "User.DeleteRestore.All"},
		{"GET", "/users/delta()", "User.Read.All", "User.Read.All"},
		{"GET", "/users/microsoft.graph.delta", "User.Read.All", "User.Read.All"},
		{"get", "/applications(appId='5')", "Application.Read.All", "Application.Read.All"},
		{"GET", "/me/transitiveMemberOf/microsoft.graph.group", "User.Read", ""},
		{"POST", "/me/sendMail", "Mail.Send", "Mail.Send"},
		{"POST", "/users/1/microsoft.graph.getMemberGroups", "Application.Read.All", "Application.Read.All"},
		{"GET", "/me/photo/$value", "User.Read", ""},
	} {
		delegated, application, ok := Permissions(test.method, test.path)
		if !ok {
			t.Errorf("%s %s is not known", test.method, test.path)
			continue
		}
		for kind, pair := range map[string][2]any{"delegated": {delegated, test.delegated}, "application": {application, test.application}} {
			names, want := pair[0].([]string), pair[1].(string)
			if want == "" && len(names) > 0 || want != "" && !slices.Contains(names, want) {
				t.Errorf("%s %s: %s %q, want %q", test.method, test.path, kind, names, want)
			}
		}
	}
}

func TestPathsThatAreNotInTheTableAreNotGuessed(t *testing.T) {
	for _, path := range []string{"", "/", "/$batch", "/v1.0/$batch", "/nothing", "/users/1/nothing", "/me/messages/1/2/3"} {
		if _, _, ok := Permissions("GET", path); ok {
			t.Errorf("%q is known", path)
		}
	}
	if _, _, ok := Permissions("DELETE", "/me"); ok {
		t.Error("DELETE /me is known")
	}
}

func jwtOf(payload string) *fob.Token {
	encode := base64.RawURLEncoding.EncodeToString
	return &fob.Token{Access: fob.NewSecret(encode([]byte(`{"alg":"none"}`)) + "." + encode([]byte(payload)) + ".x")}
}

func TestRightsAreReadFromAToken(t *testing.T) {
	if r, ok := RightsOf(jwtOf(`{"scp":"User.Read Mail.Send","roles":[]}`)); !ok || r.AppOnly || !slices.Equal(r.Scopes, []string{"User.Read", "Mail.Send"}) {
		t.Errorf("%+v, %v", r, ok)
	}
	if r, ok := RightsOf(jwtOf(`{"roles":["User.Read.All"],"idtyp":"app"}`)); !ok || !r.AppOnly || r.Roles[0] != "User.Read.All" {
		t.Errorf("%+v, %v", r, ok)
	}
	for _, token := range []*fob.Token{nil, {}, {Access: fob.NewSecret("opaque")}, {Access: fob.NewSecret("a.!.c")}, {Access: fob.NewSecret("a.eA.c")}} {
		if _, ok := RightsOf(token); ok {
			t.Errorf("%v has rights", token)
		}
	}
}

func TestARefusalIsExplainedByWhatTheTokenLacks(t *testing.T) {
	for _, test := range []struct {
		method, path string
		have         Rights
		want         []string
	}{
		{"GET", "/users", Rights{Scopes: []string{"User.Read"}}, []string{"one of the delegated permissions User.ReadBasic.All", "the token has User.Read", "consent"}},
		{"GET", "/users", Rights{AppOnly: true}, []string{"application permissions", "the token has none"}},
		{"GET", "/me", Rights{AppOnly: true, Roles: []string{"User.Read.All"}}, []string{"sign a user in", "User.Read"}},
		{"GET", "/users", Rights{Scopes: []string{"User.Read.All"}}, []string{"has User.Read.All", "the user may lack"}},
		{"GET", "/users", Rights{AppOnly: true, Roles: []string{"Directory.Read.All"}}, []string{"has Directory.Read.All", "policy"}},
	} {
		got := Explain403(test.method, test.path, test.have)
		for _, want := range test.want {
			if !strings.Contains(got, want) {
				t.Errorf("%s %s %+v: %q does not say %q", test.method, test.path, test.have, got, want)
			}
		}
	}
	if got := Explain403("GET", "/nothing", Rights{}); got != "" {
		t.Errorf("an unknown endpoint is explained: %q", got)
	}
}
