package fob_test

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/fobauth/fob"
)

const canary = "s3cr3t-canary-value"

// holder has a secret everywhere that formatting by reflection reaches.
type holder struct {
	Public  fob.Secret
	private fob.Secret
	Map     map[string]fob.Secret
	List    []fob.Secret
	Pointer *fob.Secret
	Any     any
}

func TestSecretIsNeverShownHoweverItIsPrinted(t *testing.T) {
	s := fob.NewSecret(canary)
	values := []any{s, &s, []fob.Secret{s}, map[string]fob.Secret{"k": s}, fob.ClientSecret{Secret: s}, fob.ClientAssertion{Secret: s},
		holder{s, s, map[string]fob.Secret{"k": s}, []fob.Secret{s}, &s, s},
		fob.Token{Access: s, Refresh: s, ID: s}, &fob.Client{Credential: fob.ClientSecret{Secret: s}},
		fob.OnBehalfOf{Assertion: s}, fob.RefreshToken{Token: s}, errors.Join(fmt.Errorf("with %v", s)),
		map[fob.Secret]int{s: 1}}
	var out bytes.Buffer
	for _, v := range values {
		for _, verb := range "vsdqxXtbcoUeEfFgGpT" {
			for _, flag := range []string{"", "+", "#", "-30", " "} {
				fmt.Fprintf(&out, "%"+flag+string(verb)+"\n", v)
			}
		}
		fmt.Fprintln(&out, v)
		for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
			slog.New(handler).Info("m", "v", v)
		}
		if text, err := json.Marshal(v); err == nil {
			out.Write(text)
		}
		if text, err := xml.Marshal(v); err == nil {
			out.Write(text)
		}
		if gob.NewEncoder(&out).Encode(v) == nil && fmt.Sprintf("%T", v) == "fob.Secret" {
			t.Errorf("gob encoded a secret")
		}
	}
	for _, leak := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary), fmt.Sprint([]byte(canary))} {
		if strings.Contains(out.String(), leak) {
			t.Errorf("%q shows in the output", leak)
		}
	}
	if !strings.Contains(out.String(), "[redacted]") {
		t.Error("nothing says [redacted], so nothing was printed at all")
	}
}

func TestSecretRevealsWhatItHolds(t *testing.T) {
	if got := fob.NewSecret(canary).Reveal(); got != canary {
		t.Errorf("revealed %q", got)
	}
	if !fob.NewSecret("").IsZero() || fob.NewSecret(canary).IsZero() || (fob.Secret{}).Reveal() != "" {
		t.Error("the empty secret is not the zero secret")
	}
	if !fob.NewSecret(canary).Equal(fob.NewSecret(canary)) || fob.NewSecret(canary).Equal(fob.NewSecret("other")) {
		t.Error("Equal compares something else than the values")
	}
}
