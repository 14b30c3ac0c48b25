package insight

import (
	"slices"
	"strings"
	"testing"

	"github.com/fobauth/fob"
)

func TestAnAPIIsKnownByURLNameAndId(t *testing.T) {
	for text, want := range map[string][2]string{ // name, resource
		"graph":                                           {"Microsoft Graph", "https://graph.microsoft.com"},
		"https://graph.microsoft.com/v1.0/users":          {"Microsoft Graph", "https://graph.microsoft.com"},
		"https://graph.microsoft.com/.default":            {"Microsoft Graph", "https://graph.microsoft.com"},
		"00000003-0000-0000-c000-000000000000":            {"Microsoft Graph", "00000003-0000-0000-c000-000000000000"},
		"https://myvault.vault.azure.net/secrets/a":       {"Key Vault", "https://vault.azure.net"},
		"https://acct.blob.core.windows.net/c/b":          {"Azure Storage", "https://storage.azure.com"},
		"https://dev.azure.com/org/_apis/projects":        {"Azure DevOps", "499b84ac-1321-427f-aa17-267ca6975798"},
		"https://org.crm4.dynamics.com/api/data/v9.2":     {"Dataverse regional hosts", "https://org.crm4.dynamics.com"},
		"https://contoso.sharepoint.com/_api/web":         {"SharePoint Online / OneDrive REST (audience = tenant host)", "https://contoso.sharepoint.com"},
		"api://11111111-0000-4000-8000-000000000001":      {"", "api://11111111-0000-4000-8000-000000000001"},
		"https://evilgraph.microsoft.com.example/v1.0/me": {"", "https://evilgraph.microsoft.com.example/v1.0/me"},
	} {
		api, _ := apiWanted(text)
		if api.Name != want[0] || api.Resource != want[1] {
			t.Errorf("%s: %q, %q", text, api.Name, api.Resource)
		}
	}
}

func TestATokenIsHeldAgainstWhatAnAPIWants(t *testing.T) {
	user := strings.NewReplacer(`"scp":"User.Read Mail.Read openid"`, `"scp":"https://graph.microsoft.com/user.readbasic.all"`).Replace(userClaims)
	for name, tt := range map[string]struct {
		claims string
		call   Call
		failed string // the checks that must fail
		says   string
	}{
		"an app on /users":            {appClaims, Call{Target: "https://graph.microsoft.com/v1.0/users"}, "", "User.Read.All opens GET /users"},
		"an app on /me":               {appClaims, Call{Target: "https://graph.microsoft.com/v1.0/me"}, "permission", "/me is the signed-in user"},
		"a user without permission":   {userClaims, Call{Target: "https://graph.microsoft.com/v1.0/users"}, "permission", "User.ReadBasic.All"},
		"a scope with its URI":        {user, Call{Target: "https://graph.microsoft.com/v1.0/users/"}, "", "opens GET /users"},
		"a user by id":                {userClaims, Call{Target: "https://graph.microsoft.com/beta/users/ada@contoso.com"}, "", "User.Read opens GET /users/{id}"},
		"writing with a read role":    {appClaims, Call{Target: "https://graph.microsoft.com/v1.0/users/1", Method: "delete"}, "permission", "User.DeleteRestore.All"},
		"an unknown operation":        {appClaims, Call{Target: "https://graph.microsoft.com/v1.0/planner/plans"}, "", "does not know what GET /v1.0/planner/plans needs"},
		"another API":                 {appClaims, Call{Target: "arm"}, "audience", "the token is for Microsoft Graph"},
		"the API's id":                {appClaims, Call{Target: graphAppID}, "", ""},
		"a slash at the end":          {strings.Replace(appClaims, `"aud":"https://graph.microsoft.com"`, `"aud":"https://graph.microsoft.com/"`, 1), Call{Target: "graph"}, "", ""},
		"another cloud":               {appClaims, Call{Target: "https://graph.microsoft.us/v1.0/users"}, "audience", ""},
		"one's own API, v1 spelling":  {strings.Replace(appClaims, `"aud":"https://graph.microsoft.com"`, `"aud":"api://`+appID+`"`, 1), Call{Target: appID}, "audience", "api:// before"},
		"one's own API with a slash":  {strings.Replace(appClaims, `"aud":"https://graph.microsoft.com"`, `"aud":"https://api.example.com/"`, 1), Call{Target: "https://api.example.com"}, "audience", "slash"},
		"an ID token":                 {idClaims, Call{Target: "graph"}, "kind audience", "fob token"},
		"another tenant":              {appClaims, Call{Target: "graph", Tenant: appID}, "tenant", "another tenant"},
		"expired":                     {strings.Replace(appClaims, "1789988700", "1789980000", 1), Call{Target: "graph"}, "expires", "new token"},
		"a token of another provider": {gitHub, Call{Target: "graph"}, "kind audience", "--federated-token-file"},
	} {
		f, err := Against(unsigned(t, plainHeader, tt.claims), tt.call, noon)
		if err != nil {
			t.Fatal(err)
		}
		var failed []string
		text := ""
		for _, c := range f.Checks {
			if c.Result == Fail {
				failed = append(failed, c.Name)
			}
			text += c.Found + " " + c.Expected + " " + c.Help + "\n"
		}
		if strings.Join(failed, " ") != tt.failed || f.Fits != (tt.failed == "") || !strings.Contains(text, tt.says) {
			t.Errorf("%s: %v\n%s", name, failed, text)
		}
	}
}

func TestTheCommandThatGetsAFittingTokenHasNothingForAShell(t *testing.T) {
	f, err := Against(unsigned(t, plainHeader, appClaims), Call{Target: "https://x.example/$(reboot)"}, noon)
	if err != nil || f.Fits || strings.Contains(f.Try, "reboot") {
		t.Fatalf("%+v, %v", f, err)
	}
}

func TestListsAreComparedItemByItem(t *testing.T) {
	c, err := Diff(unsigned(t, plainHeader, `{"scp":"a b c","roles":["x"],"tid":"1","iat":1}`), unsigned(t, plainHeader, `{"scp":"c a d","roles":["x"],"tid":"2","iat":2}`), noon)
	if err != nil || len(c.Differences) != 3 || c.Expected != 1 {
		t.Fatalf("%+v, %v", c, err)
	}
	if d := c.Differences[0]; !slices.Equal(d.Removed, []string{"b"}) || !slices.Equal(d.Added, []string{"d"}) {
		t.Errorf("%+v", d)
	}
}

func TestScopesInAnotherOrderAreTheSame(t *testing.T) {
	c, err := Diff(unsigned(t, plainHeader, `{"scp":"a b"}`), unsigned(t, plainHeader, `{"scp":"b a"}`), noon)
	if err != nil || len(c.Differences) != 0 || c.Summary != "Both say the same" {
		t.Fatalf("%+v, %v", c, err)
	}
}

func TestADiffSaysWhichTextIsNoToken(t *testing.T) {
	good := unsigned(t, plainHeader, "{}")
	if _, err := Diff(good, fob.NewSecret("x"), noon); err == nil || !strings.HasPrefix(err.Error(), "the second text is not a token") {
		t.Error(err)
	}
}
