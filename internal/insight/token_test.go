package insight

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/internal/harmless"
	"github.com/go-json-experiment/json"
)

func TestHostileTextsAreRefusedInOneLine(t *testing.T) {
	deep := strings.Repeat("[", 5000) + strings.Repeat("]", 5000)
	many := `{"a0":1` + strings.Repeat(`,"a":1`, 5000) + "}"
	for name, text := range map[string]string{
		"ten megabytes":       strings.Repeat("a", 10<<20),
		"thousands of dots":   strings.Repeat("ey.", 200_000),
		"deep JSON":           encode(plainHeader) + "." + encode(`{"a":`+deep+`}`) + ".x",
		"thousands of claims": encode(plainHeader) + "." + encode(many) + ".x",
		"no JSON":             encode("hello") + "." + encode("{}") + ".x",
		"broken JSON":         encode(plainHeader) + "." + encode(`{"a":`) + ".x",
		"two values":          encode(plainHeader) + "." + encode(`{}{}`) + ".x",
		"an array":            encode(plainHeader) + "." + encode(`[]`) + ".x",
		"no base64":           "ey\x1b[2J.\x1b[31m.x",
		"empty":               "",
		"words":               "hello world",
	} {
		got, err := DecodeToken(fob.NewSecret(text), noon)
		if err == nil {
			t.Errorf("%s: accepted as %s", name, got.Kind)
			continue
		}
		if !errors.Is(err, ErrNoToken) || len(err.Error()) > 200 || strings.ContainsFunc(err.Error(), harmless.Unsafe) {
			t.Errorf("%s: %q", name, err)
		}
		if v := Verify(t.Context(), fob.NewSecret(text), VerifyOptions{Keys: testKeys(t), Now: noon}); v.Verdict != Refused || len(v.Checks) != 1 {
			t.Errorf("%s: verified as %s", name, v.Verdict)
		}
	}
}

func TestTokensThatOnlyTheirReceiverCanReadAreNamed(t *testing.T) {
	for text, want := range map[string]Kind{
		"EwB" + strings.Repeat("oA9cB", 40):                                      PersonalToken,
		"1.AXoA" + strings.Repeat("aB3-_", 40):                                   RefreshToken,
		"M.C123_BAY.0.U." + strings.Repeat("aB3-", 30):                           RefreshToken,
		encode(`{"alg":"dir","enc":"A128GCM"}`) + ".." + "aXY.Y2lwaGVy.dGFn":     EncryptedToken,
		"gho_16C7e42F292c6912E7710c838347Ae178B4aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa": OpaqueToken,
	} {
		got, err := DecodeToken(fob.NewSecret(text), noon)
		if err != nil || got.Kind != want {
			t.Errorf("%.20s: %v, %v; want %s", text, got, err, want)
			continue
		}
		var b bytes.Buffer
		got.Render(&b, Style{})
		if strings.Contains(b.String(), "invalid") || strings.Contains(b.String(), text[10:30]) || !strings.Contains(b.String(), "Nothing was verified") {
			t.Errorf("%s: %s", want, &b)
		}
	}
}

func TestATokenIsFoundInWhatPeopleCopy(t *testing.T) {
	token := unsigned(t, plainHeader, idClaims).Reveal()
	for _, text := range []string{"Bearer " + token, "Authorization: Bearer " + token + "\r\n", `"` + token + `"`, " " + token + "\n"} {
		if got, err := DecodeToken(fob.NewSecret(text), noon); err != nil || got.Kind != IDToken {
			t.Errorf("%.30q: %v", text, err)
		}
	}
}

func TestTheKindOfATokenFollowsFromItsClaims(t *testing.T) {
	const iss = `"iss":"https://login.microsoftonline.com/22222222-0000-4000-8000-000000000002/v2.0"`
	for claims, want := range map[string]struct {
		kind Kind
		who  string
	}{
		appClaims:  {AccessToken, "app"},
		userClaims: {AccessToken, "user"},
		idClaims:   {IDToken, "user"},
		gitHub:     {FederatedToken, ""},
		`{"iss":"a","sub":"a","aud":"https://login.microsoftonline.com/t/oauth2/v2.0/token"}`: {ClientAssertion, ""},
		`{"aud":"api",` + iss + `,"azp":"x","azpacr":"1","oid":"o","sub":"o"}`:                {AccessToken, "app"},
		`{"a":1}`: {UnidentifiedJSON, ""},
	} {
		got, err := DecodeToken(unsigned(t, plainHeader, claims), noon)
		if err != nil || got.Kind != want.kind || got.SpeaksFor != want.who {
			t.Errorf("%.60s: %+v, %v; want %+v", claims, got, err, want)
		}
	}
}

func TestNumbersOfClaimsStayAsTheyWere(t *testing.T) {
	got, err := DecodeToken(unsigned(t, plainHeader, `{"big":123456789012345678901234567890,"exp":1e400,"nbf":-5,"iat":"1789984800"}`), noon)
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(got)
	if err != nil || !strings.Contains(string(data), `"value":123456789012345678901234567890`) {
		t.Fatalf("%s, %v", data, err)
	}
	if got.Expires != nil || got.NotBefore != nil || got.Issued == nil {
		t.Errorf("%+v %+v %+v", got.Expires, got.NotBefore, got.Issued)
	}
}

func TestProblemsOfATokenAreSaid(t *testing.T) {
	for name, tt := range map[string]struct{ header, claims, want string }{
		"expired":       {plainHeader, strings.Replace(appClaims, `"exp":1789988700`, `"exp":1789980000`, 1), "expired 80 minutes ago"},
		"not yet":       {plainHeader, strings.Replace(appClaims, `"nbf":1789984800`, `"nbf":1789994800`, 1), "not valid yet"},
		"no end":        {plainHeader, strings.Replace(appClaims, `"exp":1789988700,`, ``, 1), "never ends"},
		"end in a text": {plainHeader, strings.Replace(appClaims, `"exp":1789988700`, `"exp":"1789988700"`, 1), "exp is a text, not a number"},
		"as MSAL.NET":   {plainHeader, `{"iss":"app","sub":"app","aud":"https://login.microsoftonline.com/t/oauth2/v2.0/token","nbf":"1789984800","exp":"1789988700"}`, "nbf is a text, not a number; exp is a text"},
		"no roles":      {plainHeader, strings.Replace(appClaims, `"roles":["User.Read.All","Mail.Send"],`, ``, 1), "without roles"},
		"no scopes":     {plainHeader, strings.Replace(userClaims, `"scp":"User.Read Mail.Read openid",`, ``, 1), "without scopes"},
		"not signed":    {`{"alg":"none"}`, appClaims, "not signed"},
		"shared secret": {`{"alg":"HS256"}`, appClaims, "shared secret"},
		"many groups":   {plainHeader, strings.Replace(userClaims, `"ver"`, `"hasgroups":true,"ver"`, 1), "groups"},
	} {
		got, err := DecodeToken(unsigned(t, tt.header, tt.claims), noon)
		if err != nil {
			t.Fatal(err)
		}
		found := false
		for _, f := range got.Findings {
			found = found || strings.Contains(f.What, tt.want)
		}
		if !found {
			t.Errorf("%s: %+v does not say %q", name, got.Findings, tt.want)
		}
	}
}

func TestPermissionsAreSaidInWords(t *testing.T) {
	for name, want := range map[string][2]string{ // delegated, application
		"User.Read.All":                        {"read every user that the user may see", "read every user of the tenant"},
		"Mail.Send":                            {"send mail of the signed-in user", "send mail of every user"},
		"GroupMember.ReadWrite.All":            {"read and write every group member that the user may see", "read and write every group member of the tenant"},
		"Application.ReadWrite.OwnedBy":        {"read and write application that the app owns", "read and write application that the app owns"},
		"https://graph.microsoft.com/.default": {"everything that was granted for this API", "everything that was granted for this API"},
		"Tasks":                                {"", ""},
	} {
		if got := [2]string{permission(name, false).Words, permission(name, true).Words}; got != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func FuzzDecodeToken(f *testing.F) {
	f.Add(encode(plainHeader), encode(appClaims))
	f.Add(encode(`{"alg":"none"}`), encode(`{"exp":1e9,"a":{"b":[1,"x"]}}`))
	f.Fuzz(func(t *testing.T, header, payload string) {
		for _, text := range []string{header + "." + payload + ".x", header, encode(header) + "." + encode(payload) + "."} {
			token, err := DecodeToken(fob.NewSecret(text), noon)
			if err != nil {
				continue
			}
			var b bytes.Buffer
			if err := token.Render(&b, Style{}); err != nil {
				t.Fatal(err)
			}
			data, err := json.Marshal(token)
			if err != nil {
				t.Fatal(err)
			}
			for _, out := range []string{strings.ReplaceAll(b.String(), "\n", ""), string(data)} {
				if strings.ContainsFunc(out, harmless.Unsafe) {
					t.Fatalf("%q", out)
				}
			}
		}
	})
}

func TestATokenIsReadWholeHoweverItWasCopied(t *testing.T) {
	token := pastedAccess
	for _, copied := range []string{
		token + "\r\n", "Bearer " + token, "Authorization: Bearer " + token, `"Bearer ` + token + `"`, `'` + token + `',`,
		`-H "Authorization: Bearer ` + token + `"`, "“" + token + "”;", token[:60] + "\r\n" + token[60:120] + "\n" + token[120:],
	} {
		if parsed, err := parseJWT(trimToken(copied)); err != nil || parsed.compact != token {
			t.Errorf("%.60q: %v", copied, err)
		}
	}
	if e := Explain("the\nserver\nanswered\nsomething\nthat\nnobody\nunderstands\nat\nall"); e.Source == "token" {
		t.Errorf("words were taken for a token: %+v", e)
	}
}
