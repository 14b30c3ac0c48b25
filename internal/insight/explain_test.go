package insight

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/aadsts"
	"github.com/fobauth/fob/internal/harmless"
)

func TestEveryCodeIsExplainedWithAFixAndACommandThatProvesIt(t *testing.T) {
	n := 0
	for code := range aadsts.All() {
		n++
		e := Explain(code.String())
		if len(e.Causes) != 1 {
			t.Fatalf("%s: %+v", code, e)
		}
		c := e.Causes[0]
		if c.Name != code.String() || c.Fix == "" || c.Cause == "" || c.Owner == "" || !strings.HasPrefix(c.Try, "fob ") {
			t.Errorf("%s: %+v", code, c)
		}
	}
	if n < 280 {
		t.Errorf("only %d codes", n)
	}
}

func TestErrorsAreUnderstoodInEveryForm(t *testing.T) {
	for text, want := range map[string]struct{ cause, source string }{
		"50011":       {"AADSTS50011", "AADSTS code"},
		"aadsts50011": {"AADSTS50011", "AADSTS code"},
		"AADSTS50011: The reply URL does not match":                                                  {"AADSTS50011", "text with"},
		`{"error":"invalid_grant","error_description":"AADSTS70008: expired","error_codes":[70008]}`: {"AADSTS70008", "token endpoint"},
		"HTTP/1.1 400\r\n\r\n" + `{"error":"invalid_client","error_codes":[7000215]}`:                {"AADSTS7000215", "token endpoint"},
		`{"error":"invalid_grant","suberror":"bad_token"}`:                                           {"bad_token", "token endpoint"},
		`{"error":"slow_down"}`: {"slow_down", "token endpoint"},
		`{"error":{"code":"InvalidAuthenticationToken","message":"Access token is empty."}}`:                               {"InvalidAuthenticationToken", "API"},
		`{"error":{"code":"","message":"AADSTS65001: no consent"}}`:                                                        {"AADSTS65001", "API"},
		`{"odata.error":{"code":"Authorization_RequestDenied","message":{"lang":"en","value":"no"}}}`:                      {"Authorization_RequestDenied", "API"},
		`Bearer error="invalid_token", error_description="expired"`:                                                        {"invalid_token", "WWW-Authenticate"},
		`www-authenticate: Bearer authorization="https://login.microsoftonline.com/t", resource="https://vault.azure.net"`: {"401", "WWW-Authenticate"},
		"http://localhost/?error=invalid_scope&error_description=AADSTS70011%3a+no":                                        {"AADSTS70011", "redirect"},
		"http://localhost/#error=login_required&state=x":                                                                   {"login_required", "redirect"},
		"error=consent_required&state=1":                                                                                   {"consent_required", "redirect"},
		`<?xml version="1.0"?><Error><Code>AuthorizationPermissionMismatch</Code><Message>no</Message></Error>`:            {"AuthorizationPermissionMismatch", "output"},
		"Get-MgUser_List: Insufficient privileges\n\nStatus: 403 (Forbidden)\nErrorCode: Authorization_RequestDenied\n":    {"Authorization_RequestDenied", "output"},
		`{"error":{"code":"InvalidAuthenticationToken","message":"Access tok`:                                              {"InvalidAuthenticationToken", "output"},
		`{"message":"{\"error\":{\"code\":\"AuthorizationFailed\"}}"}`:                                                     {"AuthorizationFailed", "output"},
		"MsalUiRequiredException: ErrorCode: interaction_required":                                                         {"interaction_required", "output"},
		`x-ms-diagnostics: 2000003;reason="The audience claim value is invalid";category="invalid_client"`:                 {"invalid_token", "output"},
		"403":                    {"HTTP 403", "answer"},
		"AADSTS\u00a050076: MFA": {"AADSTS50076", "AADSTS code"},
		"AADSTS\u200b50076":      {"AADSTS50076", "AADSTS code"},
		"Bearer EwB" + strings.Repeat("a", 60) + "==":                                                              {"token", "token"},
		`WWW-Authenticate: Negotiate, Bearer error="insufficient_claims"`:                                          {"insufficient_claims", "WWW-Authenticate"},
		"HTTP/1.1 401\r\nWWW-Authenticate: Bearer error=\"insufficient_claims\"\r\nWWW-Authenticate: NTLM\r\n\r\n": {"insufficient_claims", "WWW-Authenticate"},
		"HTTP/1.1 401\r\nWWW-Authenticate: NTLM\r\nWWW-Authenticate: Bearer error=\"insufficient_claims\"\r\n\r\n": {"insufficient_claims", "WWW-Authenticate"},
		"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n":                                                       {"HTTP 407", "answer"},
		"https://login.microsoftonline.com/error?code=50011":                                                       {"AADSTS50011", "AADSTS code"},
		"http 503":        {"HTTP 503", "answer"},
		"status code 401": {"HTTP 401", "answer"},
		"The remote server returned an error: (401) Unauthorized.":                                  {"HTTP 401", "answer"},
		"Response status code does not indicate success: 429 (Too Many Requests).":                  {"HTTP 429", "answer"},
		`{"error":{"code":"Forbidden","message":"no","innererror":{"code":"ForbiddenByFirewall"}}}`: {"ForbiddenByFirewall", "API"},
		`{"error":{"code":"Forbidden","message":"no","innererror":{"code":"SomethingNew"}}}`:        {"Forbidden", "API"},
		"Interaction_Required":                          {"interaction_required", "OAuth error"},
		"client_mismatch":                               {"client_mismatch", "error word"},
		"authorizationfailed":                           {"AuthorizationFailed", "error word"},
		"invalid client":                                {"Invalid client", "topic"},
		encode(plainHeader) + "." + encode("{}") + ".x": {"token", "token"},
	} {
		e := Explain(text)
		if len(e.Causes) == 0 || e.Causes[0].Name != want.cause || !strings.Contains(e.Source, want.source) {
			t.Errorf("%.70s: %+v", text, e)
		}
	}
}

func TestTheInnerCodeOfANestedErrorComesFirst(t *testing.T) {
	e := Explain("AADSTS70002: Error validating credentials. AADSTS50012: Invalid.")
	if len(e.Causes) != 2 || e.Causes[0].Name != "AADSTS50012" || e.Causes[1].Name != "AADSTS70002" {
		t.Fatalf("%+v", e.Causes)
	}
}

func TestCloseCodesAndWordsAreSuggested(t *testing.T) {
	for typed, want := range map[string]string{"AADSTS50001 1": "", "AADSTS500011x": "", "5011": "AADSTS50011", "AADSTS50012345": "", "invalid_grnt": "invalid_grant", "unathorized_client": "unauthorized_client"} {
		e := Explain(typed)
		found := want == ""
		for _, s := range e.Near {
			found = found || s.Name == want
		}
		if !found {
			t.Errorf("%s: %+v does not have %s", typed, e.Near, want)
		}
	}
}

func TestAMisspeltPrefixIsUnderstood(t *testing.T) {
	for typed, want := range map[string]string{
		"AADST7000215": "AADSTS7000215", "Error: AADSTS 50076: blah": "AADSTS50076", "aadts-50011": "AADSTS50011", "ADSTS50011": "AADSTS50011", "AADSTS: 700016": "AADSTS700016",
	} {
		e := Explain(typed)
		if len(e.Causes) == 0 || e.Causes[0].Name != want && !strings.Contains(fmt.Sprintf("%+v", e.Causes[0]), strings.TrimPrefix(want, "AADSTS")) {
			t.Errorf("%s: %+v", typed, e)
		}
	}
	for _, typed := range []string{"standards 50011 met", "data 12345"} {
		if e := Explain(typed); strings.Contains(e.Source, "AADSTS") {
			t.Errorf("%q was taken for a code: %+v", typed, e)
		}
	}
}

func TestIdsAreTakenOffADescription(t *testing.T) {
	for _, space := range []string{"\r\n", " "} {
		e := Explain("AADSTS50011: no." + space + "Trace ID: t-1" + space + "Correlation ID: c-1" + space + "Timestamp: 2026-01-05 10:11:12Z")
		facts := map[string]string{}
		for _, f := range e.Facts {
			facts[f.Name] = f.Value
		}
		if facts["trace id"] != "t-1" || facts["correlation id"] != "c-1" || facts["timestamp"] != "2026-01-05 10:11:12Z" || facts["the server says"] != "AADSTS50011: no." {
			t.Errorf("%q: %v", space, facts)
		}
	}
}

func TestAFailureOfFobItselfIsExplainedWithItsFacts(t *testing.T) {
	e := ExplainFailure(&fob.Error{Status: 401, Code: "invalid_client", Codes: []int{7000222}, Description: "AADSTS7000222: expired", CorrelationID: "c-1", Host: "login.microsoftonline.com"})
	if e.Causes[0].Name != "AADSTS7000222" || len(e.Facts) != 4 {
		t.Fatalf("%+v", e)
	}
}

func TestACommandNeverHasTextOfAServerThatAShellWouldRun(t *testing.T) {
	e := Explain(`Bearer authorization="https://x", resource="$(reboot)"`)
	if strings.Contains(e.Causes[0].Try, "reboot") {
		t.Errorf("%q", e.Causes[0].Try)
	}
	claims := encode(`{"access_token":{"a":{"value":"'; reboot; '"}}}`)
	e = Explain(`Bearer error="insufficient_claims", claims="` + claims + `"`)
	if !strings.Contains(e.Causes[0].Try, `'\''; reboot; '\''`) {
		t.Errorf("%q", e.Causes[0].Try)
	}
}

func FuzzExplain(f *testing.F) {
	for _, text := range []string{"50011", `{"error":{"code":"x","message":"\u001b[2J"}}`, `Bearer a="b", c=d`, "http://x/?error=a&error_description=AADSTS1", "redirect"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e := Explain(text)
		var b bytes.Buffer
		if err := e.Render(&b, Style{Width: 80}); err != nil || e.Summary == "" {
			t.Fatalf("%q: %v", text, err)
		}
		if strings.ContainsFunc(strings.ReplaceAll(b.String(), "\n", ""), harmless.Unsafe) {
			t.Fatalf("%q", b.String())
		}
	})
}

func TestTheAdviceSuitsTheAPIThatAnswered(t *testing.T) {
	for text, want := range map[string]string{
		`{"error":{"code":"InvalidAuthenticationToken","message":"Access token validation failure. Invalid audience."}}`:                                             "fob token --resource graph",
		`{"error":{"code":"InvalidAuthenticationTokenAudience","message":"obtained for wrong audience or resource"}}`:                                                "fob token --resource arm",
		`{"error":{"code":"AuthenticationFailed","message":"Authentication failed. The 'Authorization' header is missing."}}`:                                        "fob get https://management.azure.com/subscriptions?api-version=2022-12-01",
		`{"error":{"code":"Unauthorized","message":"AKV10032: Invalid issuer. Expected one of https://sts.windows.net/a, found b"}}`:                                 "fob token --tenant TENANT --force-refresh",
		`{"error":{"code":"Unauthorized","message":"AKV10022: Invalid audience. Expected https://vault.azure.net"}}`:                                                 "fob decode --for URL",
		`x-ms-diagnostics: 2000003;reason="The audience claim value is invalid";category="invalid_client"`:                                                           "fob decode --for URL",
		`{"error":"invalid_request","error_description":"Identity not found"}`:                                                                                       "",
		`{"error":{"code":"Forbidden","message":"The application 'a' does not have secrets get permission on key vault 'v'.","innererror":{"code":"AccessDenied"}}}`: "",
	} {
		if e := Explain(text); len(e.Causes) != 1 || e.Causes[0].Try != want {
			t.Errorf("%s: %+v", text, e)
		}
	}
}
