package insight

import (
	"bytes"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/internal/harmless"
	"github.com/go-json-experiment/json"
)

var update = flag.Bool("update", false, "write the golden files anew")

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

// unsigned writes a JWT with a signature that nobody made: reports that verify
// nothing do not look at it, and so golden files stay the same.
func unsigned(t *testing.T, header, claims string) fob.Secret {
	t.Helper()
	return fob.NewSecret(encode(header) + "." + encode(claims) + ".c2lnbmF0dXJl")
}

const (
	appClaims   = `{"aud":"https://graph.microsoft.com","iss":"https://sts.windows.net/22222222-0000-4000-8000-000000000002/","iat":1789984800,"nbf":1789984800,"exp":1789988700,"aio":"k2","app_displayname":"fob-demo","appid":"11111111-0000-4000-8000-000000000001","appidacr":"1","idp":"https://sts.windows.net/22222222-0000-4000-8000-000000000002/","idtyp":"app","oid":"33333333-0000-4000-8000-000000000003","rh":"1.A","roles":["User.Read.All","Mail.Send"],"sub":"33333333-0000-4000-8000-000000000003","tid":"22222222-0000-4000-8000-000000000002","uti":"Zx9","ver":"1.0"}`
	userClaims  = `{"aud":"https://graph.microsoft.com","iss":"https://sts.windows.net/22222222-0000-4000-8000-000000000002/","iat":1789984500,"nbf":1789984500,"exp":1789989600,"acr":"1","amr":["pwd","mfa"],"appid":"04b07795-8ddb-461a-bbee-02f9e1bf7b46","appidacr":"0","family_name":"Lovelace","given_name":"Ada","idtyp":"user","ipaddr":"203.0.113.7","name":"Ada Lovelace","oid":"44444444-0000-4000-8000-000000000004","scp":"User.Read Mail.Read openid","sub":"AAAAsub","tid":"22222222-0000-4000-8000-000000000002","unique_name":"ada@contoso.com","upn":"ada@contoso.com","ver":"1.0","wids":["62e90394-69f5-4237-9190-012177145e10"],"xms_cc":["cp1"]}`
	idClaims    = `{"aud":"11111111-0000-4000-8000-000000000001","iss":"https://login.microsoftonline.com/22222222-0000-4000-8000-000000000002/v2.0","iat":1789984500,"nbf":1789984500,"exp":1789988100,"name":"Ada Lovelace","nonce":"n-1","oid":"44444444-0000-4000-8000-000000000004","preferred_username":"ada@contoso.com","sub":"AAAAsub","tid":"22222222-0000-4000-8000-000000000002","ver":"2.0"}`
	plainHeader = `{"typ":"JWT","alg":"RS256","kid":"k1"}`
	graphHeader = `{"typ":"JWT","nonce":"n","alg":"RS256","x5t":"k1","kid":"k1"}`
	gitHub      = `{"iss":"https://token.actions.githubusercontent.com","sub":"repo:Acme/shop:environment:production","aud":"api://AzureADTokenExchange","iat":1789984800,"nbf":1789984500,"exp":1789985400}`
)

func reports(t *testing.T) map[string]Report {
	t.Helper()
	app, user := unsigned(t, graphHeader, appClaims), unsigned(t, graphHeader, userClaims)
	must := func(r Report, err error) Report {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	pemFile, err := os.ReadFile("testdata/certificate.pem")
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(pemFile)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	shown, err := ReadCertificate(pemFile, fob.Secret{}, noon)
	if err != nil {
		t.Fatal(err)
	}
	verify := func(change, header map[string]any) Report {
		return Verify(t.Context(), fob.NewSecret(mint(t, apiClaims(change), header)), wanted(t))
	}
	federation, err := CompareFederation(unsigned(t, plainHeader, gitHub), []FederatedCredential{
		{"ci-main", "https://token.actions.githubusercontent.com", "repo:Acme/shop:ref:refs/heads/main", []string{"api://AzureADTokenExchange"}},
		{"ci-production", "https://token.actions.githubusercontent.com/", "repo:acme/shop:environment:production", []string{"api://AzureADTokenExchange"}},
	}, noon)
	if err != nil {
		t.Fatal(err)
	}
	return map[string]Report{
		"decode-app":           must(DecodeToken(app, noon)),
		"decode-user":          must(DecodeToken(user, noon)),
		"decode-id":            must(DecodeToken(unsigned(t, plainHeader, idClaims), noon)),
		"decode-hostile":       must(DecodeToken(unsigned(t, `{"alg":"none","jku":"https://evil.example/keys"}`, `{"name":"\u001b[2J\u202egnp.exe","exp":99999999999999999999,"exp":1}`), noon)),
		"decode-encrypted":     must(DecodeToken(fob.NewSecret(encode(`{"alg":"RSA-OAEP","enc":"A256GCM"}`)+".a.b.c.d"), noon)),
		"verify-good":          verify(nil, nil),
		"verify-refused":       verify(map[string]any{"aud": "api://" + appID, "exp": noon.Unix() - 7200}, map[string]any{"jku": "https://evil.example/keys"}),
		"diff":                 must(Diff(app, user, noon)),
		"against-graph":        must(Against(user, Call{Target: "https://graph.microsoft.com/v1.0/users"}, noon)),
		"against-other-api":    must(Against(app, Call{Target: "https://management.azure.com/subscriptions?api-version=2022-12-01", Tenant: "99999999-0000-4000-8000-000000000009"}, noon)),
		"against-good":         must(Against(app, Call{Target: "https://graph.microsoft.com/v1.0/users"}, noon)),
		"explain-code":         Explain("7000215"),
		"explain-near":         Explain("AADSTS700061"),
		"explain-token-error":  Explain(`{"error":"invalid_grant","error_description":"AADSTS50076: Due to a configuration change made by your administrator, you must use multi-factor authentication to access '00000003-0000-0000-c000-000000000000'.\r\nTrace ID: 11111111-aaaa-4bbb-8ccc-000000000700\r\nCorrelation ID: 22222222-aaaa-4bbb-8ccc-111111111111\r\nTimestamp: 2026-01-05 10:11:12Z","error_codes":[50076],"suberror":"basic_action","claims":"{\"access_token\":{\"polids\":{\"essential\":true,\"values\":[\"a\"]}}}"}`),
		"explain-graph":        Explain(`HTTP/1.1 403 Forbidden {"error":{"code":"Authorization_RequestDenied","message":"Insufficient privileges to complete the operation.","innerError":{"date":"2026-03-01T08:15:30","request-id":"5a6b","client-request-id":"77aa"}}}`),
		"explain-challenge":    Explain(`WWW-Authenticate: Bearer realm="", authorization_uri="https://login.microsoftonline.com/common/oauth2/authorize", client_id="00000003-0000-0000-c000-000000000000", error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZSwidmFsdWUiOiIxNzkwMDAwMDAwIn19fQ=="`),
		"explain-redirect":     Explain("http://localhost:51004/?error=access_denied&error_subcode=cancel&error_description=AADSTS65004%3a+User+declined+to+consent+to+access+the+app.&state=abc"),
		"explain-word":         Explain("invalid_scope"),
		"explain-topic":        Explain("redirect uri mismatch"),
		"explain-several":      Explain("AADSTS70002: Error validating credentials. AADSTS50012: Invalid client secret is provided."),
		"explain-unknown":      Explain("the printer is on fire again"),
		"explain-typing-error": Explain("invlaid_grant"),
		"certificate":          shown,
		"certificate-register": must(Register(cert, appID, noon)),
		"doctor-certificate":   CheckCertificate(shown, []KeyCredential{{"old", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=", noon.AddDate(1, 0, 0)}}, []SignIn{{"PS256 with x5t#S256", nil}, {"RS256 with x5t", errors.New("connection refused")}}, noon),
		"doctor-federation":    federation.Checkup(),
		"federation":           federation,
		"doctor-clock":         &Checkup{Area: "clock", Findings: []Finding{CheckClock(noon, noon.Add(-11*time.Minute))}},
		"warnings": &Checkup{Area: "warnings", Findings: Setup{
			Tenant: "<tenant>", ClientID: "1950a258-227b-4e31-a9cf-717495945fc2", Secret: fob.NewSecret("55555555-0000-4000-8000-000000000005"),
			Scopes: []string{"https://graph.microsoft.com/.default", "User.Read"}, Redirect: "“http://localhost”", CredentialEnds: noon.AddDate(0, 0, 12),
		}.Warnings(noon)},
	}
}

func TestReportsAreWrittenAsTheyWere(t *testing.T) {
	for name, report := range reports(t) {
		for _, width := range []int{80, 200} {
			var b bytes.Buffer
			if err := report.Render(&b, Style{Width: width}); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", "golden", fmt.Sprintf("%s.%d.txt", name, width))
			if *update {
				os.MkdirAll(filepath.Dir(path), 0o755)
				if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
				continue
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(want, b.Bytes()) {
				t.Errorf("%s is not as it was; look at it and run: go test ./internal/insight -update\n%s", path, b.String())
			}
		}
	}
}

func TestNoReportHasControlCharactersOrLinesThatAreTooLong(t *testing.T) {
	for name, report := range reports(t) {
		var b bytes.Buffer
		if err := report.Render(&b, Style{Width: 80}); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(b.String()) {
			line = strings.TrimSuffix(line, "\n")
			if i := strings.IndexFunc(line, harmless.Unsafe); i >= 0 {
				t.Errorf("%s: %q", name, line)
			}
			// Commands and JSON are to be copied: they are not broken.
			whole := strings.Contains(line, "fob ") || strings.Contains(line, "chmod") || strings.Contains(line, `"key"`) || strings.Contains(line, "PATCH ")
			if columns(line) > 80 && !whole {
				t.Errorf("%s: %d columns: %s", name, columns(line), line)
			}
		}
		data, err := json.Marshal(report)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if i := strings.IndexFunc(string(data), harmless.Unsafe); i >= 0 {
			t.Errorf("%s: the JSON has %q", name, data[i:min(i+20, len(data))])
		}
	}
}

func TestColourTouchesNothingButTone(t *testing.T) {
	for name, report := range reports(t) {
		var plain, painted bytes.Buffer
		report.Render(&plain, Style{})
		report.Render(&painted, Style{Paint: func(tone Tone, s string) string { return fmt.Sprintf("\x1b[%dm%s\x1b[m", 31+tone, s) }})
		stripped := painted.String()
		for {
			i := strings.Index(stripped, "\x1b[")
			if i < 0 {
				break
			}
			j := i + strings.IndexByte(stripped[i:], 'm')
			stripped = stripped[:i] + stripped[j+1:]
		}
		trim := func(s string) string {
			lines := strings.Split(s, "\n")
			for i := range lines {
				lines[i] = strings.TrimRight(lines[i], " ")
			}
			return strings.Join(lines, "\n")
		}
		if trim(stripped) != trim(plain.String()) {
			t.Errorf("%s is another text in colour", name)
		}
	}
}
