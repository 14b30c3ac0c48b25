package insight

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/fobauth/fob/internal/harmless"
)

// member is one member of a JSON object, in the order of the text.
type member struct {
	name  string
	value jsontext.Value
}

const (
	maxDepth   = 64
	maxMembers = 1000
)

// parseObject reads a JSON object within bounds. Members that come twice and
// bytes that are no UTF-8 do not end it, because a report should show them: they
// are said in odd.
func parseObject(data []byte) (members []member, odd []string, err error) {
	if harmless.Depth(data, maxDepth) > maxDepth {
		return nil, nil, fmt.Errorf("its JSON is nested more than %d levels deep", maxDepth)
	}
	if !utf8.Valid(data) {
		odd = append(odd, "it has bytes that are no UTF-8")
	}
	dec := jsontext.NewDecoder(bytes.NewBuffer(data), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true)) // a Buffer is not copied
	if dec.PeekKind() != '{' {
		return nil, nil, errors.New("it is no JSON object")
	}
	dec.ReadToken() // the brace just seen
	seen := make(map[string]bool, 32)
	for dec.PeekKind() == '"' {
		name, err := dec.ReadToken()
		if err != nil {
			return nil, nil, errors.New("its JSON is broken")
		}
		m := member{name: name.String()}
		value, err := dec.ReadValue()
		if err != nil {
			return nil, nil, errors.New("its JSON is broken")
		}
		if len(members) == maxMembers {
			return nil, nil, fmt.Errorf("it has more than %d members", maxMembers)
		}
		if seen[m.name] {
			odd = append(odd, fmt.Sprintf("%q is in it twice; readers disagree which one counts, so nobody should accept it", clean(m.name, 60)))
		}
		seen[m.name] = true
		m.value = value.Clone()
		members = append(members, m)
	}
	if end, err := dec.ReadToken(); err != nil || end.Kind() != '}' {
		return nil, nil, errors.New("its JSON is broken")
	}
	if _, err := dec.ReadToken(); err != io.EOF {
		return nil, nil, errors.New("there is more behind its JSON object")
	}
	return members, odd, nil
}

// object is the members of a JSON object by name; of two with one name the
// first counts, and whoever cares has refused the text.
type object []member

func (o object) raw(name string) jsontext.Value {
	for _, m := range o {
		if m.name == name {
			return m.value
		}
	}
	return nil
}

func (o object) has(name string) bool { return o.raw(name) != nil }

// text returns a member that is a string, exactly as it is; "" for others.
func (o object) text(name string) string { return stringOf(o.raw(name)) }

func stringOf(v jsontext.Value) string {
	var s string
	if v.Kind() != '"' || json.Unmarshal(v, &s, jsontext.AllowInvalidUTF8(true)) != nil {
		return ""
	}
	return s
}

// mistyped says of the registered claims (RFC 7519 section 4.1), and of those
// that a verdict depends on, which have another type than they must.
func (o object) mistyped() []string {
	var all []string
	for _, m := range o {
		is := map[jsontext.Kind]string{'n': "null", 't': "true", 'f': "false", '"': "a text", '0': "a number", '{': "an object", '[': "a list"}[m.value.Kind()]
		switch m.name {
		case "iss", "sub", "jti", "tid", "ver", "nonce":
			if m.value.Kind() != '"' {
				all = append(all, m.name+" is "+is+", not a text")
			}
		case "exp", "nbf", "iat":
			if m.value.Kind() != '0' {
				all = append(all, m.name+" is "+is+", not a number")
			}
		case "aud":
			var list []jsontext.Value
			switch {
			case m.value.Kind() == '"':
			case m.value.Kind() != '[', json.Unmarshal(m.value, &list, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)) != nil:
				all = append(all, "aud is "+is+", neither a text nor a list of texts")
			case slices.ContainsFunc(list, func(v jsontext.Value) bool { return v.Kind() != '"' }):
				all = append(all, "aud is a list of something else than texts")
			}
		}
	}
	return all
}

// number returns a member that is an integer, as JSON number or, as MSAL.NET
// writes the times of client assertions, in a string.
func (o object) number(name string) (int64, bool) {
	v := o.raw(name)
	text := string(v)
	switch v.Kind() {
	case '"':
		text = stringOf(v)
	case '0':
	default:
		return 0, false
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, true
	}
	// RFC 7519 allows fractions. Longer numbers than any time has are not read.
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || f < -1e15 || f > 1e15 || f != f {
		return 0, false
	}
	return int64(f), true
}

// texts returns a member that is a list of strings, or one string.
func (o object) texts(name string) []string {
	v := o.raw(name)
	if v.Kind() == '"' {
		return []string{stringOf(v)}
	}
	var list []jsontext.Value
	if v.Kind() != '[' || json.Unmarshal(v, &list, jsontext.AllowInvalidUTF8(true), jsontext.AllowDuplicateNames(true)) != nil {
		return nil
	}
	var all []string
	for _, item := range list {
		if s := stringOf(item); s != "" {
			all = append(all, s)
		}
	}
	return all
}

// shown is a JSON value as people read it: strings without quotes, lists with
// commas, the rest as it is written.
func shown(v jsontext.Value) string {
	switch v.Kind() {
	case '"':
		return tidy(stringOf(v))
	case '[':
		if all := (object{{"", v}}).texts(""); all != nil && len(all) == strings.Count(string(v), ",")+1 {
			return tidy(strings.Join(all, ", "))
		}
	}
	return tidy(string(v))
}

// harmlessJSON writes a JSON value so that no character of it hides text or steers
// a terminal, however it is marshalled later: what JSON does not escape by
// itself (C1, bidirectional and invisible marks) becomes U+FFFD.
func harmlessJSON(v jsontext.Value) jsontext.Value {
	var out bytes.Buffer
	dec := jsontext.NewDecoder(bytes.NewReader(v), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	enc := jsontext.NewEncoder(&out, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	for {
		token, err := dec.ReadToken()
		if err != nil {
			return bytes.TrimSpace(out.Bytes()) // the end: the value has been parsed before
		}
		if token.Kind() == '"' {
			token = jsontext.String(strings.Map(func(r rune) rune {
				if r >= 0x7f && harmless.Unsafe(r) {
					return utf8.RuneError
				}
				return r
			}, strings.ToValidUTF8(token.String(), "\uFFFD")))
		}
		if enc.WriteToken(token) != nil {
			return bytes.TrimSpace(out.Bytes())
		}
	}
}
