package fob

import (
	"net/http"
	"net/url"
	"testing"
)

const (
	challengeJSON = `{"access_token":{"nbf":{"essential":true,"value":"1790000000"}}}`
	challenge64   = "eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNzkwMDAwMDAwIn19fQ"
)

func TestAClaimsChallengeIsFoundHoweverItIsWritten(t *testing.T) {
	for name, headers := range map[string][]string{
		"Graph":                 {`Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000", error="insufficient_claims", claims="` + challenge64 + `=="`},
		"without padding":       {`Bearer error="insufficient_claims", claims="` + challenge64 + `"`},
		"other order":           {`Bearer claims="` + challenge64 + `==", error="insufficient_claims"`},
		"separated by spaces":   {`Bearer error="insufficient_claims" claims="` + challenge64 + `"`},
		"behind another scheme": {`PoP nonce="a,b=c", Bearer error="insufficient_claims", claims="` + challenge64 + `=="`},
		"second header":         {`Negotiate`, `bearer error="insufficient_claims", claims="` + challenge64 + `"`},
		"token68 before":        {`Negotiate YWJj==, Bearer error="insufficient_claims", claims="` + challenge64 + `"`},
		"unquoted":              {`Bearer error=insufficient_claims, claims=` + challenge64},
	} {
		got := ClaimsChallenge(http.Header{"Www-Authenticate": headers})
		if got != challengeJSON {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestWhatIsNoClaimsChallengeIsNone(t *testing.T) {
	for _, header := range []string{
		"", "Bearer", `Bearer error="invalid_token"`, `Bearer error="insufficient_claims"`, `Bearer error="insufficient_claims", claims="!!"`,
		`Basic error="insufficient_claims", claims="` + challenge64 + `"`, `Bearer error="insufficient_claims", claims="bm8ganNvbg=="`,
		`=`, `==,==`, `"`, `Bearer claims="`, `Bearer \`, `,,,,`,
	} {
		if got := ClaimsChallenge(http.Header{"Www-Authenticate": {header}}); got != "" {
			t.Errorf("%s: %q", header, got)
		}
	}
}

func FuzzClaimsChallenge(f *testing.F) {
	f.Add(`Bearer realm="", error="insufficient_claims", claims="` + challenge64 + `=="`)
	f.Add(`PoP nonce="x\"y", Bearer a=b c="d"`)
	f.Fuzz(func(t *testing.T, header string) {
		if claims := ClaimsChallenge(http.Header{"Www-Authenticate": {header}}); claims != "" {
			if err := decodeObject([]byte(claims), new(map[string]any)); err != nil {
				t.Errorf("%q gave claims that are no object: %q", header, claims)
			}
		}
	})
}

func TestATokenIsMeantForItsExactOriginOnly(t *testing.T) {
	transport := &Transport{Request: Request{Scopes: []string{"https://graph.microsoft.com/.default"}}}
	for address, want := range map[string]bool{
		"https://graph.microsoft.com/v1.0/me":                 true,
		"https://GRAPH.microsoft.com:443/v1.0/me":             true,
		"http://graph.microsoft.com/v1.0/me":                  false,
		"https://graph.microsoft.com:444/v1.0/me":             false,
		"https://graph.microsoft.com.evil.example/v1.0/me":    false,
		"https://user@graph.microsoft.com/v1.0/me":            false,
		"https://graph.microsoft.com@evil.example/":           false,
		"https://evil.example/?x=https://graph.microsoft.com": false,
		"https://graph.microsoft.us/v1.0/me":                  false,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := transport.meant(u); got != want || err != nil {
			t.Errorf("%s: %v, %v", address, got, err)
		}
	}
	for _, scopes := range [][]string{nil, {"User.Read"}, {"api://app/.default"}, {"http://api.example/.default"}} {
		transport := &Transport{Request: Request{Scopes: scopes}}
		u, _ := url.Parse("https://graph.microsoft.com/")
		if _, err := transport.meant(u); err == nil {
			t.Errorf("scopes %v: a transport that does not know its origin said nothing", scopes)
		}
	}
}
