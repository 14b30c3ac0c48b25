package fob

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestRetryAfterIsSecondsDecimalsADateOrNothing(t *testing.T) {
	now := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"":                              0,
		"7":                             7 * time.Second,
		" 7 ":                           7 * time.Second,
		"0.5":                           500 * time.Millisecond,
		"0":                             0,
		"-3":                            0,
		"NaN":                           0,
		"1e400":                         0,
		"soon":                          0,
		"Mon, 05 Jan 2026 10:00:30 GMT": 30 * time.Second,
		"Mon, 05 Jan 2026 09:00:00 GMT": 0,
	} {
		if got := retryAfter(http.Header{"Retry-After": {value}}, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}

func TestRenewalStartsWhereTheServerOrTheLifeSays(t *testing.T) {
	now := time.Date(2026, 1, 5, 10, 0, 0, 0, time.UTC)
	for _, test := range []struct{ life, in, want time.Duration }{
		{time.Hour, 0, 55 * time.Minute},
		{24 * time.Hour, 0, 12 * time.Hour},
		{24 * time.Hour, 3 * time.Hour, 3 * time.Hour},
		{time.Hour, 2 * time.Hour, 55 * time.Minute}, // a refresh_in past the end is no help
		{8 * time.Minute, 0, 6 * time.Minute},
		{time.Second, 0, 750 * time.Millisecond},
	} {
		if got := refreshOn(now, now.Add(test.life), test.in).Sub(now); got != test.want {
			t.Errorf("life %v, refresh_in %v: renewal after %v, want %v", test.life, test.in, got, test.want)
		}
	}
}

func TestCleanTakesOutWhatATerminalObeys(t *testing.T) {
	for in, want := range map[string]string{
		"plain":                        "plain",
		"a\r\nb\tc":                    "a b c",
		"\x1b[31mred\x1b[0m":           "[31mred [0m",
		"\u009b2J":                     "2J",
		"exe.\u202egpj":                "exe. gpj",
		"zero\u200bwidth":              "zero width",
		"tag\U000e0041s":               "tag s",
		"bad \xff utf8":                "bad utf8",
		"Grüße 日本 👍":                   "Grüße 日本 👍",
		strings.Repeat("x", maxText+9): strings.Repeat("x", maxText) + "…",
	} {
		if got := clean(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestTheIDsAtTheEndOfADescriptionBecomeFields(t *testing.T) {
	for _, separator := range []string{"\r\n", " "} {
		body := `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided.` +
			strings.ReplaceAll(separator+"Trace ID: t-1"+separator+"Correlation ID: c-1"+separator+"Timestamp: 2026-01-05 10:11:12Z", "\r\n", `\r\n`) + `"}`
		e := &Error{}
		if !e.decode([]byte(body), strings.Clone) {
			t.Fatal("not decoded")
		}
		if e.Description != "AADSTS7000215: Invalid client secret provided." || e.TraceID != "t-1" || e.CorrelationID != "c-1" || e.Timestamp != "2026-01-05 10:11:12Z" {
			t.Errorf("%+v", e)
		}
		if e.AADSTS() != 7000215 {
			t.Errorf("code %d", e.AADSTS())
		}
	}
}

func TestTheLastOfNestedCodesIsTheCause(t *testing.T) {
	e := &Error{}
	e.decode([]byte(`{"error":"invalid_grant","error_description":"AADSTS70002: Error validating credentials. AADSTS50012: too old"}`), strings.Clone)
	if e.AADSTS() != 50012 {
		t.Errorf("cause %d of %v", e.AADSTS(), e.Codes)
	}
	e = &Error{}
	e.decode([]byte(`{"error":"invalid_grant","error_codes":["70002",500133]}`), strings.Clone)
	if e.AADSTS() != 500133 {
		t.Errorf("cause %d of %v", e.AADSTS(), e.Codes)
	}
}

func TestAPersonIsAskedForWhereSigningInHelps(t *testing.T) {
	for _, test := range []struct {
		refusal Error
		want    bool
	}{
		{Error{Code: "invalid_grant", Grant: grantRefreshToken}, true},
		{Error{Code: "invalid_grant", Grant: grantRefreshToken, Suberror: "basic_action"}, true},
		{Error{Code: "invalid_grant", Grant: grantRefreshToken, Suberror: "message_only"}, false},
		{Error{Code: "invalid_grant", Grant: grantRefreshToken, Suberror: "client_mismatch"}, false},
		{Error{Code: "interaction_required", Grant: grantRefreshToken, Suberror: "protection_policy_required"}, false},
		{Error{Code: "invalid_grant", Grant: grantOnBehalfOf}, false},
		{Error{Code: "invalid_grant", Grant: grantOnBehalfOf, Suberror: "consent_required"}, true},
		{Error{Code: "interaction_required", Grant: grantOnBehalfOf}, true},
		{Error{Code: "interaction_required", Grant: grantClientCredentials}, false},
		{Error{Code: "expired_token", Grant: grantDeviceCode}, true},
		{Error{Code: "invalid_client", Grant: grantRefreshToken}, false},
		{Error{Code: "temporarily_unavailable", Grant: grantRefreshToken, Status: 503}, false},
	} {
		if got := errors.Is(&test.refusal, ErrInteraction); got != test.want {
			t.Errorf("%s %s of %s: %v", test.refusal.Code, test.refusal.Suberror, test.refusal.Grant, got)
		}
	}
}

func TestClaimsAreMergedWithCapabilities(t *testing.T) {
	c := &Client{Capabilities: []string{"cp1"}}
	for claims, want := range map[string]string{
		"": `{"access_token":{"xms_cc":{"values":["cp1"]}}}`,
		`{"access_token":{"nbf":{"essential":true}}}`:      `{"access_token":{"nbf":{"essential":true},"xms_cc":{"values":["cp1"]}}}`,
		`{"id_token":{"auth_time":{"essential":true}}}`:    `{"access_token":{"xms_cc":{"values":["cp1"]}},"id_token":{"auth_time":{"essential":true}}}`,
		`{"access_token":{"xms_cc":{"values":["other"]}}}`: `{"access_token":{"xms_cc":{"values":["cp1"]}}}`,
	} {
		got, err := c.claims(Request{Claims: claims})
		if err != nil || got != want {
			t.Errorf("%s: %s, %v", claims, got, err)
		}
	}
	for _, bad := range []string{"nonsense", "[]", `{"access_token":7}`, "eyJhY2Nlc3NfdG9rZW4iOnt9fQ=="} {
		if _, err := c.claims(Request{Claims: bad}); err == nil {
			t.Errorf("%s was accepted", bad)
		}
	}
}

func TestSecondsAreNumbersOrNumericStrings(t *testing.T) {
	for text, want := range map[string]seconds{"3599": 3599, `"3599"`: 3599, "3599.0": 3599, "0": 0} {
		var got seconds
		if err := got.UnmarshalJSON([]byte(text)); err != nil || got != want {
			t.Errorf("%s: %d, %v", text, got, err)
		}
	}
}

func TestEveryParameterThatIsASecretIsTakenOut(t *testing.T) {
	for _, field := range secretFields {
		hide := redactor(url.Values{field: {"p@ss/w+rd secret"}, "client_id": {"visible"}})
		if got := hide("x p@ss/w+rd secret p%40ss%2Fw%2Brd+secret visible"); got != "x [redacted] [redacted] visible" {
			t.Errorf("%s: %s", field, got)
		}
	}
}
