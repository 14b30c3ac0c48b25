package fob

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/go-cmp/cmp"
)

// What json writes of a record, decodeRecord reads: a member that is forgotten
// there is found here, because every field is filled.
func TestRecordsAreReadAsTheyAreWritten(t *testing.T) {
	for _, want := range []record{new(storedToken), new(storedAccount), new(indexRecord)} {
		fill(t, reflect.ValueOf(want).Elem())
		text, err := json.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got := reflect.New(reflect.TypeOf(want).Elem()).Interface().(record)
		if err := decodeRecord(text, got); err != nil {
			t.Fatalf("%T: %v\n%s", want, err, text)
		}
		if diff := cmp.Diff(want, got, cmp.AllowUnexported(storedToken{}, storedAccount{}, indexRecord{}, accountRecord{})); diff != "" {
			t.Errorf("%T: written (-), read (+)\n%s", want, diff)
		}
	}
}

// fill gives every field that is written a value other than zero.
func fill(t *testing.T, v reflect.Value) {
	t.Helper()
	switch v.Type() {
	case reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Date(2026, 11, 22, 4, 30, 1, 123456789, time.UTC)))
		return
	case reflect.TypeFor[Secret](): // written as a text of its own
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(`a "text" of ` + v.Type().String() + " \u2026\n")
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(t, v.Index(0))
		fill(t, v.Index(1))
	case reflect.Struct:
		for i := range v.NumField() {
			fill(t, v.Field(i))
		}
	default:
		t.Fatalf("fill does not know %s", v.Type())
	}
}

// decodeRecord takes and refuses what json does.
func TestRecordsAreReadAsStrictlyAsByJSON(t *testing.T) {
	for _, text := range []string{
		`{}`, ` { } `, `null`, `{"access_token":null,"scopes":null,"expires":null,"account":null}`,
		`{"new":{"deep":[1,{"x":null}]},"access_token":"t","account":{"id":"a","newer":1}}`,
		`{"scopes":[]}`, `{"scopes":["a",null,"b"]}`,
		``, `[]`, `"x"`, `1`, `{`, `{"access_token"`, `{"access_token":"t"`, `{"scopes":["a"`, `{"scopes":["a"}`, `{"account":{"id":"a"`,
		`{} {}`, `{}x`, `{"access_token":1}`, `{"access_token":{}}`, `{"scopes":"a"}`, `{"scopes":[1]}`, `{"account":"a"}`, `{"account":[]}`,
		`{"expires":""}`, `{"expires":"yesterday"}`, `{"expires":1}`, `{"expires":"2026-11-22T04:30:01Z"}`, `{"expires":"2026-11-22 04:30:01"}`,
		`{"access_token":"a","access_token":"b"}`, `{"new":1,"new":2}`, `{"account":{"id":"a","id":"b"}}`, "{\"access_token\":\"\xff\"}", `{"access_token":"\ud800"}`,
		`{"new":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`,
	} {
		var want, got storedToken
		wantErr, err := json.Unmarshal([]byte(text), &want), decodeRecord([]byte(text), &got)
		if (err == nil) != (wantErr == nil) {
			t.Errorf("%.80s: %v, by json: %v", text, err, wantErr)
		}
		if diff := cmp.Diff(want, got); err == nil && wantErr == nil && len(want.Scopes)+len(got.Scopes) > 0 && diff != "" {
			t.Errorf("%.80s: by json (-), by decodeRecord (+)\n%s", text, diff)
		}
	}
}

func FuzzRecordsAreReadAsByJSON(f *testing.F) {
	f.Add([]byte(`{"accounts":[{"id":"a","username":"b"},null],"newer":{"x":[1]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		var want, got indexRecord
		wantErr, err := json.Unmarshal(text, &want), decodeRecord(text, &got)
		if (err == nil) != (wantErr == nil) {
			t.Errorf("%q: %v, by json: %v", text, err, wantErr)
		}
		if err == nil && !slices.Equal(want.Accounts, got.Accounts) {
			t.Errorf("%q: %v, by json: %v", text, got, want)
		}
	})
}
