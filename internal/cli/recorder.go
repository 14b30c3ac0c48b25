package cli

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// recorder is a round tripper that remembers what went over the wire, without
// its secrets: they are taken out before anything is remembered.
type recorder struct {
	base   http.RoundTripper
	tenant string // shown as {tenant}

	mu    sync.Mutex // guards below
	kept  []exchange
	count int
}

// exchange is one request and its answer, as they may be shown.
type exchange struct {
	method, address string
	sent            []field
	status          int
	answer          []field
	items           []string // of an answer that is a list
	took            time.Duration
}

type field struct{ name, value string }

// take returns what was remembered since the last time.
func (r *recorder) take() []exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	kept := r.kept
	r.kept = nil
	return kept
}

// describe is a request as it may be shown.
func (r *recorder) describe(method string, address *url.URL) exchange {
	shown := *address
	shown.RawQuery = ""
	return exchange{method: method, address: strings.ReplaceAll(shown.String(), r.tenant, "{tenant}"), sent: formFields(address.Query())}
}

// RoundTrip sends req and remembers it.
func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	x := r.describe(req.Method, req.URL)
	if req.Header.Get("Authorization") != "" {
		x.sent = append(x.sent, field{"Authorization", "Bearer [redacted]"})
	}
	if req.Body != nil && req.GetBody != nil {
		if body, err := req.GetBody(); err == nil {
			text, _ := io.ReadAll(io.LimitReader(body, 1<<20))
			if form, err := url.ParseQuery(string(text)); err == nil {
				x.sent = append(x.sent, formFields(form)...)
			}
		}
	}
	began := time.Now()
	resp, err := r.base.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	resp.Body.Close()
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(body))
	x.status, x.took = resp.StatusCode, time.Since(began)
	x.answer, x.items = answerFields(body, r.tenant)
	r.mu.Lock()
	r.kept, r.count = append(r.kept, x), r.count+1
	r.mu.Unlock()
	return resp, nil
}

// secretFields are the form fields that let whoever reads them sign in.
var secretFields = map[string]bool{"client_secret": true, "client_assertion": true, "refresh_token": true, "device_code": true,
	"code": true, "code_verifier": true, "password": true, "assertion": true}

// fieldOrder is the order in which a person would explain them.
var fieldOrder = []string{"grant_type", "client_id", "client_secret", "client_assertion_type", "client_assertion", "device_code",
	"refresh_token", "code", "code_verifier", "response_type", "response_mode", "redirect_uri", "scope",
	"code_challenge", "code_challenge_method", "state", "nonce", "client_info"}

func formFields(form url.Values) []field {
	var fields []field
	for name, values := range form {
		value := strings.Join(values, " ")
		if secretFields[name] && value != "" {
			value = "[redacted]"
		}
		fields = append(fields, field{name, oneLine(value)})
	}
	rank := func(name string) int {
		if i := slices.Index(fieldOrder, name); i >= 0 {
			return i
		}
		return len(fieldOrder)
	}
	slices.SortFunc(fields, func(a, b field) int {
		if d := rank(a.name) - rank(b.name); d != 0 {
			return d
		}
		return strings.Compare(a.name, b.name)
	})
	return fields
}

// answerFields reads an answer: the members of an object, the items of a list,
// or the error on a web page.
func answerFields(body []byte, tenant string) (fields []field, items []string) {
	d := jsontext.NewDecoder(bytes.NewReader(body))
	if d.PeekKind() != '{' {
		if i := bytes.Index(body, []byte("AADSTS")); i >= 0 {
			text, _, _ := strings.Cut(string(body[i:]), "<")
			return []field{{"page", oneLine(html.UnescapeString(text))}}, nil
		}
		return nil, nil
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, nil
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return fields, items
		}
		member := name.String()
		raw, err := d.ReadValue()
		if err != nil {
			return fields, items
		}
		switch value, nested := textOf(raw), []jsontext.Value(nil); {
		case member == "value" && json.Unmarshal(raw, &nested) == nil:
			for _, item := range nested {
				items = append(items, itemText(item))
			}
		case member == "error" && raw.Kind() == '{':
			var e struct {
				Code    string `json:"code"`
				Message string `json:"message"`
			}
			_ = json.Unmarshal(raw, &e)
			fields = append(fields, field{"code", oneLine(e.Code)}, field{"message", oneLine(e.Message)})
		case strings.HasSuffix(member, "_token") || member == "device_code":
			fields = append(fields, field{member, short(value)})
		case member == "error_codes":
			fields = append(fields, field{member, strings.Trim(value, "[]")})
		case member == "error_description":
			value, _, _ = strings.Cut(value, " Trace ID:")
			fields = append(fields, field{member, oneLine(value)})
		default:
			fields = append(fields, field{member, strings.ReplaceAll(oneLine(value), tenant, "{tenant}")})
		}
	}
	return fields, items
}

func textOf(raw jsontext.Value) string {
	var s string
	if raw.Kind() == '"' && json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// itemText is one object of a directory in a line.
func itemText(raw jsontext.Value) string {
	var o struct {
		Type string `json:"@odata.type"`
		Name string `json:"displayName"`
		UPN  string `json:"userPrincipalName"`
		Job  string `json:"jobTitle"`
	}
	_ = json.Unmarshal(raw, &o)
	var words []string
	for _, s := range []string{o.Name, o.UPN, o.Job, strings.TrimPrefix(o.Type, "#microsoft.graph.")} {
		if s != "" {
			words = append(words, oneLine(s))
		}
	}
	return strings.Join(words, ", ")
}

// short shows enough of a token to recognise it, and not enough to use it.
func short(token string) string {
	if len(token) <= 24 {
		return "[redacted]"
	}
	return oneLine(token[:10]) + "… " + fmt.Sprintf("(%d characters)", len(token))
}
