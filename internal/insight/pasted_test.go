package insight

import (
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"
)

func jwtWith(payload string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256","typ":"JWT"}`)) + "." + encode([]byte(payload)) + "." + encode([]byte(strings.Repeat("signature", 20)))
}

var (
	pastedAccess = jwtWith(`{"aud":"https://graph.microsoft.com","appid":"11111111-2222-4333-8444-555555555555","scp":"User.Read","ver":"1.0","exp":1795000000,"iat":1794990000}`)
	pastedID     = jwtWith(`{"aud":"11111111-2222-4333-8444-555555555555","iss":"https://login.microsoftonline.com/f0b00000-1000-4000-8000-000000000001/v2.0","tid":"f0b00000-1000-4000-8000-000000000001","sub":"s","nonce":"n","ver":"2.0","exp":1795000000,"iat":1794990000}`)
)

// pastes are what people copy, what is understood of it, and what has to be
// said. All contain what must not be.
var pastes = []struct {
	name, text, cause string
	facts             map[string]string
}{
	{"a token answer", `{"token_type":"Bearer","scope":"User.Read","expires_in":3599,"access_token":"` + pastedAccess + `","refresh_token":"1.AVeryLongRefreshTokenThatSignsIn","id_token":"` + pastedID + `"}`,
		"tokens", map[string]string{"access token": "a user's access token (v1) for Microsoft Graph", "ID token": "an ID token (v2)", "refresh token": "signs in", "scope": "User.Read", "expires_in": "3599"}},
	{"az account get-access-token", "{\n  \"accessToken\": \"" + pastedAccess + "\",\n  \"expiresOn\": \"2026-11-22 10:00:00.000000\",\n  \"tokenType\": \"Bearer\"\n}\n",
		"tokens", map[string]string{"access token": "until 2026-11-18", "expiresOn": "2026-11-22"}},
	{"a token that was cut", `{"access_token":"` + pastedAccess[:40] + `"}`, "tokens", map[string]string{"access token": "cut"}},
	{"a device code answer", `{"user_code":"ABCD1234","device_code":"1.ADeviceCodeThatSignsIn-hush","verification_uri":"https://microsoft.com/devicelogin","expires_in":900,"interval":5,"message":"To sign in"}`,
		"device code", map[string]string{"user code": "ABCD1234"}},
	{"curl -i", "HTTP/2 403 \r\ncache-control: no-cache\r\ncontent-type: application/json\r\nrequest-id: r-header\r\nx-ms-ags-diagnostic: {\"ServerInfo\":{\"DataCenter\":\"West Europe\",\"Slice\":\"E\"}}\r\nset-cookie: hush-cookie\r\n\r\n" +
		`{"error":{"code":"Authorization_RequestDenied","message":"Insufficient privileges to complete the operation.","innerError":{"request-id":"r-body"}}}`,
		"Authorization_RequestDenied", map[string]string{"HTTP status": "403 Forbidden", "request id": "r-body", "data centre": "West Europe"}},
	{"curl -v", "* Connected\n> GET /v1.0/me HTTP/2\n> authorization: Bearer " + pastedAccess + "\n>\n* Mark bundle\n< HTTP/2 401 \n< request-id: r-1\n< www-authenticate: Bearer realm=\"\", error=\"insufficient_claims\", claims=\"" +
		base64.StdEncoding.EncodeToString([]byte(`{"access_token":{"nbf":{"essential":true,"value":"1"}}}`)) + "\"\n<\n{\"error\":{\"code\":\"InvalidAuthenticationToken\",\"message\":\"Continuous access evaluation resulted in challenge\"}}",
		"insufficient_claims", map[string]string{"HTTP status": "401", "claims challenge": "nbf", "request id": "r-1", "error code": "InvalidAuthenticationToken"}},
	{"an answer without a body", "HTTP/1.1 301 Moved\nLocation: /x\n\nHTTP/1.1 429 Too Many Requests\nRetry-After: 17\n\n", "HTTP 429", map[string]string{"wait": "17"}},
	{"an HTML answer", "HTTP/1.1 502 Bad Gateway\nServer: x\n\n<html>hush-page</html>", "HTTP 502", nil},
	{"an error of Graph in a log", `2026-11-22T10:00:00 DEBUG {"authorization":"Bearer ` + pastedAccess + `"} answered {"error":{"code":"Request_ResourceNotFound","message":"Resource 'x' does not exist."}} in {0.2s}`,
		"Request_ResourceNotFound", map[string]string{"the API says": "Resource 'x' does not exist."}},
	{"one answer of a batch", `{"responses":[{"id":"1","status":404,"headers":{"x":"hush-header"},"body":{"error":{"code":"itemNotFound","message":"m"}}}]}`, "itemNotFound", nil},
	{"MSAL for .NET", "Unhandled exception. MSAL.NetCore.4.61.3.0.MsalServiceException:\n\tErrorCode: invalid_client\nMicrosoft.Identity.Client.MsalServiceException: A configuration issue is preventing authentication. Original exception: AADSTS7000215: Invalid client secret provided. Trace ID: t-1 Correlation ID: c-1 Timestamp: 2026-01-05 10:11:12Z\n   at Microsoft.Identity.Client.OAuth2.OAuth2Client.ThrowServerException(hush-argument)\n   at System.Threading\n\tStatusCode: 401",
		"AADSTS7000215", map[string]string{"the server says": "AADSTS7000215: Invalid client secret provided.", "trace id": "t-1", "timestamp": "2026-01-05 10:11:12Z"}},
	{"az", "ERROR: AADSTS700082: The refresh token has expired due to inactivity. Trace ID: t-2 Correlation ID: c-2 Timestamp: 2026-01-05 10:11:12Z\nInteractive authentication is needed. Please run:\naz login --password hush-word\n",
		"AADSTS700082", map[string]string{"correlation id": "c-2"}},
	{"a Python stack", "Traceback (most recent call last):\n  File \"/opt/az/lib/python3.12/site-packages/knack/cli.py\", line 233, in invoke\n    login(word='hush')\nmsal.exceptions.MsalServiceError: AADSTS700016: Application with identifier 'x' was not found in the directory 'y'.\nDuring handling: hush",
		"AADSTS700016", map[string]string{"the server says": "AADSTS700016: Application with identifier 'x' was not found in the directory 'y'."}},
	{"azidentity", "ClientSecretCredential authentication failed.\nPOST https://login.microsoftonline.com/x/oauth2/v2.0/token\n----\nRESPONSE 401: 401 Unauthorized\n----\n{\n  \"error\": \"invalid_client\",\n  \"error_description\": \"AADSTS7000222: The provided client secret keys are expired. Trace ID: t\",\n  \"error_codes\": [7000222]\n}\n----\nTo troubleshoot, visit {https://aka.ms}",
		"AADSTS7000222", map[string]string{"error": "invalid_client"}},
	{"Terraform", `Error: building account: could not acquire access token: clientCredentialsToken: received HTTP status 401 with response: {"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.","error_codes":[7000215]} (hush {x})`,
		"AADSTS7000215", nil},
	{"a page of Entra", "<!DOCTYPE html><html><head><title>Sign in</title></head><body><script>//<![CDATA[\n$Config={\"iErrorCode\":50011,\"strServiceExceptionMessage\":\"AADSTS50011: The redirect URI \\u0027http://localhost\\u0027 is not registered.\",\"sCtx\":\"hush-context\",\"sFT\":\"hush-flow-token\"};\n//]]></script></body></html>",
		"AADSTS50011", map[string]string{"the server says": "AADSTS50011: The redirect URI 'http://localhost' is not registered."}},
	{"a page with its ids", `<html><script>$Config={"strServiceExceptionMessage":"AADSTS50020: User account does not exist. Trace ID: t-3\",\"hush\":1","sCtx":"hush-context"}</script><div>hush</div></html>`,
		"AADSTS50020", map[string]string{"trace id": "t-3"}},
	{"a page without a script", `<html><body><div>AADSTS900561: The endpoint only accepts POST requests.</div><input type="hidden" name="canary" value="hush-canary"></body></html>`,
		"AADSTS900561", map[string]string{"the server says": "AADSTS900561: The endpoint only accepts POST requests."}},
	{"a redirect that worked", "http://localhost:8400/?code=1.hush-AXoA&state=hush-state&session_state=x", "redirect", nil},
	{"a redirect with tokens", "http://localhost/#access_token=" + pastedAccess + "&token_type=Bearer", "redirect", nil},
	{"a page in lower case", "<html>hush-page\n<p>aadsts50011: no</p>hush", "AADSTS50011", map[string]string{"the server says": "aadsts50011: no"}},
	{"JSON in JSON, cut", `{"body":"{\"error\":\"invalid_client\",\"error_description\":\"AADSTS7000215: Invalid client secret provided.\",\"hush\":1`,
		"AADSTS7000215", map[string]string{"the server says": "AADSTS7000215: Invalid client secret provided."}},
}

func TestWhatIsCopiedOutOfATerminalIsUnderstoodWithoutItsSecrets(t *testing.T) {
	for _, paste := range pastes {
		e := Explain(paste.text)
		if len(e.Causes) == 0 || e.Causes[0].Name != paste.cause {
			t.Errorf("%s: understood as %+v", paste.name, e)
			continue
		}
		for name, want := range paste.facts {
			if i := slices.IndexFunc(e.Facts, func(f Fact) bool { return f.Name == name }); i < 0 || !strings.Contains(e.Facts[i].Value, want) {
				t.Errorf("%s: %s is not %q in %+v", paste.name, name, want, e.Facts)
			}
		}
		var words strings.Builder
		if err := e.Render(&words, Style{Width: 1 << 16}); err != nil {
			t.Fatal(err)
		}
		form, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range []string{words.String(), string(form)} {
			for _, secret := range []string{pastedAccess[:30], pastedID[30:60], "RefreshTokenThatSigns", "ADeviceCode", "hush", "c2lnbmF0dXJl"} {
				if strings.Contains(text, secret) {
					t.Errorf("%s repeats %q: %s", paste.name, secret, text)
				}
			}
		}
	}
}

func TestWhatIsLongerThanAnyTokenIsNone(t *testing.T) {
	if e := Explain(strings.Repeat("a", maxToken)); e.Source != "token" {
		t.Errorf("%+v", e)
	}
	began := time.Now()
	for _, text := range []string{strings.Repeat("a", maxToken+1), strings.Repeat("{", 10<<20), strings.Repeat(`{"a":`, 2<<20), "HTTP/1.1 200 OK\n" + strings.Repeat("a: b\n", 1<<20), strings.Repeat("HTTP/1.1 401\n\n", 1<<18)} {
		if e := Explain(text); e.Source == "token" {
			t.Errorf("%.20s: %+v", text, e)
		}
	}
	if took := time.Since(began); took > 20*time.Second {
		t.Errorf("it took %s", took)
	}
}
