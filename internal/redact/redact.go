// Package redact takes out of texts what looks like a secret.
package redact

import (
	"regexp"
	"sync"
)

// Mark stands where a secret was.
const Mark = "[redacted]"

// Text replaces what looks like a secret, wherever in a text it
// stands: JWTs; Entra's opaque codes, refresh tokens and client secrets;
// credentials behind Bearer, PoP and Basic; the values of parameters and members
// that hold secrets. It is for texts of which nobody knows what is in them, and
// no replacement for taking out the secrets that are known.
func Text(text string) string {
	for _, form := range secretForms() {
		text = form.ReplaceAllString(text, "${lead}"+Mark)
	}
	return text
}

var secretForms = sync.OnceValue(func() []*regexp.Regexp {
	return []*regexp.Regexp{
		regexp.MustCompile(`(?P<lead>)ey[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\.?[A-Za-z0-9_.-]*`),
		regexp.MustCompile(`(?P<lead>)\b(?:[01]\.A[A-Za-z0-9_-]{20,}|M\.[CR][A-Za-z0-9_.!*$-]{20,}|EwB[A-Za-z0-9+/=_-]{20,}|[A-Z]AQABA[A-Za-z0-9_-]{20,})[A-Za-z0-9._-]*`),
		regexp.MustCompile(`(?P<lead>)[A-Za-z0-9_~.-]{3}[0-9]Q~[A-Za-z0-9_~.-]{20,}`),
		regexp.MustCompile(`(?i)(?P<lead>\b(?:bearer|pop|basic)\s+)[A-Za-z0-9+/=._~-]{20,}`),
		regexp.MustCompile(`(?i)(?P<lead>\b(?:client_secret|client_assertion|assertion|refresh_token|access_token|id_token|device_code|code_verifier|password)(?:=|["']\s*:\s*["']))[^\s"'&]{6,}`),
	}
})
