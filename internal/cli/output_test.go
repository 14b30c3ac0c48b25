package cli

import (
	"bytes"
	"encoding/csv"
	stdjson "encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/itchyny/gojq"
)

const twoUsers = `{"value":[
 {"id":"1","displayName":"Ada","phones":["+41 1"],"age":7,"manager":null},
 {"id":"2","displayName":"=HYPERLINK(\"evil\")","phones":[],"age":-5,"manager":null}]}`

func TestTheFormsOfAList(t *testing.T) {
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-o", "ndjson"}, `{"id":"1","displayName":"Ada","phones":["+41 1"],"age":7,"manager":null}` + "\n" +
			`{"id":"2","displayName":"=HYPERLINK(\"evil\")","phones":[],"age":-5,"manager":null}` + "\n"},
		{[]string{"-o", "csv"}, "id,displayName,phones,age,manager\r\n1,Ada,\"[\"\"+41 1\"\"]\",7,\r\n2,\"'=HYPERLINK(\"\"evil\"\")\",,-5,\r\n"},
		{[]string{"-o", "table"}, "displayName         phones     age  id\nAda                 [\"+41 1\"]    7  1\n=HYPERLINK(\"evil\")              -5  2\n"},
		{[]string{"--jq", ".value[].displayName"}, "Ada\n=HYPERLINK(\"evil\")\n"},
		{[]string{"--jq", ".value[] | {id, n: .age}"}, `{"id":"1","n":7}` + "\n" + `{"id":"2","n":-5}` + "\n"},
		{[]string{"--jq", ".value[0].displayName", "-o", "json"}, "\"Ada\"\n"},
		{[]string{"--jq", ".value[0]|{id}", "-o", "json"}, `{"id":"1"}` + "\n"},
		{[]string{"--jq", "[.value[].id]", "-o", "json"}, `["1","2"]` + "\n"},
		{[]string{"--jq", ".value[].id", "-o", "json"}, "\"1\"\n\"2\"\n"},
		{[]string{"--jq", "empty", "-o", "json"}, ""},
		{[]string{"--jq", ".id", "-o", "json", "--all"}, "[\n\"1\",\n\"2\"\n]\n"},
		{[]string{"--jq", "empty", "-o", "json", "--all"}, "[]\n"},
		{[]string{"--jq", "select(.age > 0) | .id", "--all"}, "1\n"},
		{[]string{"--jq", ".id", "-o", "ndjson"}, "\"1\"\n\"2\"\n"},
		{[]string{"--jq", "{id, age}", "-o", "csv"}, "age,id\r\n7,1\r\n-5,2\r\n"},
		{[]string{"--jq", "halt", "--all"}, ""},
	} {
		call, _ := api(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, twoUsers) })
		if got := call(append([]string{"/users"}, test.args...)...); got.status != StatusDone || got.stdout != test.want {
			t.Errorf("%v: %d\n%s\nwant\n%s\n%s", test.args, got.status, got.stdout, test.want, got.stderr)
		}
	}
}

func TestAFilterForItemsThatGetsTheirListIsToldSo(t *testing.T) {
	const list = "the answer is a list"
	for filter, noted := range map[string]bool{
		".displayName": true, "{displayName}.displayName": true, ".value[0].manager": false, `."@odata.nextLink"`: false, "{displayName}": false, "empty": false,
	} {
		call, _ := api(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, twoUsers) })
		if got := call("/users", "--jq", filter); got.status != StatusDone || strings.Contains(got.stderr, list) != noted {
			t.Errorf("%s: %+v", filter, got)
		}
		if got := call("/users", "--jq", filter, "--all"); strings.Contains(got.stderr, list) {
			t.Errorf("%s, of each item: %+v", filter, got)
		}
	}
	call, _ := api(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"id":"1"}`) })
	if got := call("/me", "--jq", ".displayName"); got.stdout != "null\n" || strings.Contains(got.stderr, list) {
		t.Errorf("an object: %+v", got)
	}
}

// full is a disk without room.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestAFullDiskIsSaidOnce(t *testing.T) {
	server, environ := apiServer(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, twoUsers) })
	for _, args := range [][]string{{"--all"}, {"-o", "ndjson"}, {"-o", "csv"}, {"-o", "table"}, {"--jq", ".value"}, {}} {
		var stderr bytes.Buffer
		status := Run(t.Context(), Env{Args: append(append([]string{"get", "/users"}, args...), server...), Environ: environ, Stdin: strings.NewReader(""), Stdout: full{}, Stderr: &stderr})
		if status != StatusFailed || strings.Count(stderr.String(), "no space left") != 1 || strings.Contains(stderr.String(), "reading") {
			t.Errorf("%v: %d, %s", args, status, stderr.String())
		}
	}
}

func TestAListEndsWhenNobodyTakesItsItems(t *testing.T) {
	for _, form := range []string{"ndjson", "json", "csv", "table"} {
		pages := 0
		server, environ := apiServer(t, func(w http.ResponseWriter, r *http.Request) {
			pages++
			fmt.Fprintf(w, `{"@odata.nextLink":"https://%s/v1.0/users?p=%d","value":[{"id":1}%s]}`, r.Host, pages, strings.Repeat(`,{"id":2}`, sample))
			if pages > 20 {
				panic(http.ErrAbortHandler)
			}
		})
		var stderr bytes.Buffer
		args := append([]string{"get", "/users", "--all", "-o", form}, server...)
		if status := Run(t.Context(), Env{Args: args, Environ: environ, Stdin: strings.NewReader(""), Stdout: full{}, Stderr: &stderr}); status != StatusFailed || pages > 2 {
			t.Errorf("%s: status %d after %d pages: %s", form, status, pages, stderr.String())
		}
	}
}

func TestAnAnswerThatIsLookedIntoIsBounded(t *testing.T) {
	call, _ := api(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"value":["`)
		for chunk := []byte(strings.Repeat("x", 64<<10)); ; {
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	for _, args := range [][]string{{"--all"}, {"-o", "ndjson"}, {"--jq", "."}} {
		if got := call(append([]string{"/users"}, args...)...); got.status != StatusFailed || !strings.Contains(got.stderr, "an answer of more than 64 MiB") || got.stdout != "" {
			t.Errorf("%v: %+v", args, got)
		}
	}
}

func TestTextsThatWereCutWithinACharacterArePrinted(t *testing.T) {
	for body, want := range map[string]string{
		`{"value":[{"a":"x\ud83d"}]}`:           `{"a":"x\ufffd"}`,
		"{\"value\":[{\"a\":\"x\xf0\x9f\"}]}":   `{"a":"x\ufffd"}`,
		"\ufeff" + `{"value":[{"a":"x"}]}`:      `{"a":"x"}`,
		`{"value":[null,{"a":"\ud83d\ude00"}]}`: `{"a":"\ud83d\ude00"}`,
	} {
		call, _ := api(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) })
		for _, args := range [][]string{{"-o", "ndjson"}, {"--all", "-o", "ndjson"}} {
			if got := call(append([]string{"/users"}, args...)...); got.status != StatusDone || got.stdout != want+"\n" {
				t.Errorf("%q: %+v", body, got)
			}
		}
	}
}

func TestTheColumnsAreThoseOfTheSelect(t *testing.T) {
	call, _ := api(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"value":[{"DisplayName":"Ada","id":"1","extra":true},{"id":"2"}]}`)
	})
	if got := call("/users?$select=id,displayName", "-o", "csv"); got.stdout != "id,displayName\r\n1,Ada\r\n2,\r\n" {
		t.Errorf("%+v", got)
	}
	if got := call("/users?$select=id,mail", "-o", "table"); got.stdout != "id  mail\n1\n2\n" {
		t.Errorf("%+v", got)
	}
}

func TestAColumnThatOnlyLaterItemsHaveIsSaid(t *testing.T) {
	call, _ := api(t, func(w http.ResponseWriter, r *http.Request) {
		items := strings.Repeat(`{"id":"1"},`, sample) + `{"id":"2","late":1}`
		fmt.Fprintf(w, `{"value":[%s]}`, items)
	})
	for _, form := range []string{"csv", "table"} {
		got := call("/users", "-o", form)
		if lines := strings.Count(got.stdout, "\n"); lines != sample+2 || !strings.Contains(got.stderr, "no column for late") {
			t.Errorf("%s: %d lines, %s", form, lines, got.stderr)
		}
	}
}

func TestLongItemsAreNotGatheredForTheirColumns(t *testing.T) {
	item := jsontext.Value(`{"long":"` + strings.Repeat("x", sampleBytes/4) + `"}`)
	for _, form := range []string{"csv", "table"} {
		var out bytes.Buffer
		to := sinkTo(&out, form)
		for range 5 {
			if err := to.item(item); err != nil {
				t.Fatal(err)
			}
		}
		if out.Len() < sampleBytes {
			t.Errorf("%s: of %d bytes that came %d were written", form, 5*len(item), out.Len())
		}
	}
}

func TestOneLongTextFillsNotEveryLineOfATable(t *testing.T) {
	var out bytes.Buffer
	table := sinkTo(&out, "table")
	for _, item := range []string{`{"a":"` + strings.Repeat("x", 100_000) + `","b":1}`, `{"a":"y","b":2}`} {
		if err := table.item(jsontext.Value(item)); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.end(true); err != nil || out.Len() > 100_000+3*(widest+10) {
		t.Errorf("%d bytes, %v", out.Len(), err)
	}
}

func TestAnInterruptedListIsNoWholeArray(t *testing.T) {
	call, _ := api(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.RawQuery != "" {
			w.WriteHeader(400)
			return
		}
		fmt.Fprintf(w, `{"value":[{"id":1}],"@odata.nextLink":"https://%s/v1.0/users?p=2"}`, r.Host)
	})
	got := call("/users", "--all")
	if got.status != StatusFailed || jsontext.Value(got.stdout).IsValid() || !strings.Contains(got.stdout, `{"id":1}`) {
		t.Errorf("%+v", got)
	}
}

func TestAFilterKeepsLongNumbersAndHasNoEnvironment(t *testing.T) {
	call, _ := api(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"n":12345678901234567890}`) })
	if got := call("/me", "--jq", ".n"); got.stdout != "12345678901234567890\n" {
		t.Errorf("%+v", got)
	}
	if got := call("/me", "--jq", "$ENV, env | length"); got.stdout != "0\n0\n" {
		t.Errorf("%+v", got)
	}
	if got := call("/me", "--jq", ".n.m"); got.status != StatusFailed || !strings.Contains(got.stderr, "the filter of --jq") {
		t.Errorf("%+v", got)
	}
}

func TestFormulasAreDefusedAndEveryCellSurvivesAReader(t *testing.T) {
	for _, text := range []string{"=1", "+1", "-1", "@SUM", "plain", "＝1", "＋1", "－1", "＠SUM", "\t=1", "\r=1", "\n@x", "\tplain", "\rplain", " =1", "a,b", `a"b`, " padded ", "", "x;y", "ü=", "'=1"} {
		line := appendCSV(nil, []tableCell{{text: []byte(text)}, {text: []byte("-7"), number: true}})
		row, err := csv.NewReader(bytes.NewReader(line)).Read()
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		want := text
		if formula := strings.ContainsAny(text, "=+-@＝＋－＠\t\r\n") && text != "ü=" && text != "'=1"; formula {
			want = "'" + strings.ReplaceAll(text, "\r\n", "\n")
		}
		if row[0] != want || row[1] != "-7" {
			t.Errorf("%q became %q", text, row)
		}
	}
}

func TestAnItemWithManyMembersIsPrintedInTime(t *testing.T) {
	var item strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&item, `,"k%d":1`, i)
	}
	call, _ := api(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"id":"1"`+item.String()+`}`) })
	for _, form := range []string{"csv", "table"} {
		began := time.Now()
		got := call("/users", "-o", form)
		if took := time.Since(began); got.status != StatusDone || took > 10*time.Second || !strings.Contains(got.stderr, "no column for k") {
			t.Errorf("%s: %d after %s: %s", form, got.status, took, got.stderr)
		}
	}
	inv := &invocation{Env: Env{Stdout: io.Discard, Stderr: io.Discard}}
	inv.flags.output = "table"
	table := inv.sink(io.Discard, nil, false).(*tableWriter)
	table.term = terminal{is: true, width: 40}
	began := time.Now()
	if err := table.item(jsontext.Value(`{"long":"` + strings.Repeat("x", 1<<20) + `"` + item.String() + `}`)); err != nil {
		t.Fatal(err)
	}
	if err := table.end(true); err != nil || time.Since(began) > 10*time.Second || len(table.shown) > 40 {
		t.Errorf("%v, %d columns after %s", err, len(table.shown), time.Since(began))
	}
}

func TestATableFitsItsTerminal(t *testing.T) {
	var out bytes.Buffer
	var notes bytes.Buffer
	inv := &invocation{Env: Env{Stdout: &out, Stderr: &notes}}
	inv.flags.output = "table"
	table := inv.sink(&out, nil, false).(*tableWriter)
	table.term = terminal{is: true, width: 40}
	for range 3 {
		if err := table.item(jsontext.Value(`{"id":"11111111-2222-4333-8444-555555555555","name":"田中さくら田中さくら田中さくら","b":"` + strings.Repeat("b", 30) + `","c":"` + strings.Repeat("c", 30) + `"}`)); err != nil {
			t.Fatal(err)
		}
	}
	if err := table.end(true); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(out.String()) {
		if w := cellWidth(strings.TrimRight(line, "\n")); w > 40 {
			t.Errorf("%d columns: %s", w, line)
		}
	}
	if !strings.Contains(out.String(), "田中さくら") || !strings.Contains(notes.String(), "the terminal has no room for c, id") {
		t.Errorf("%s%s", out.String(), notes.String())
	}
}

func TestWhatATerminalWouldActOnIsInNoForm(t *testing.T) {
	call, _ := api(t, func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"value":[{"a":"x\u001b[31my\u202ez\u009b","b":"line\nbreak"}]}`)
	})
	for _, form := range []string{"ndjson", "table", "csv"} {
		got := call("/users", "-o", form)
		if strings.ContainsAny(got.stdout, "\x1b\u202e\u009b") || strings.Count(got.stdout, "\n") > 2 {
			t.Errorf("%s: %q", form, got.stdout)
		}
	}
}

// aUser has the members that Graph gives users by default.
const aUser = `{"businessPhones":["+41 44 555 01 02"],"displayName":"Mira \"Mi\" Keller","givenName":"Mira","jobTitle":"Platform Engineer, =1","mail":"mira.keller@fabrikam.example","mobilePhone":null,"officeLocation":"Zürich, 3/21","preferredLanguage":"de-CH","surname":"Keller","userPrincipalName":"mira.keller@fabrikam.example","id":"3f0c4a52-7a41-4c35-9d2e-5d2f0f6a1b10"}`

func sinkTo(w io.Writer, form string) sink {
	inv := &invocation{Env: Env{Stdout: w, Stderr: io.Discard}}
	inv.flags.output = form
	return inv.sink(w, nil, false)
}

func TestAnItemOfALongListCostsNoMemory(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes things out of pools")
	}
	for _, form := range []string{"ndjson", "json", "csv", "table"} {
		out, item := sinkTo(io.Discard, form), jsontext.Value(aUser)
		print := func() {
			if err := out.item(item); err != nil {
				t.Fatal(err)
			}
		}
		for range sample { // which are kept, to find the columns
			print()
		}
		if n := testing.AllocsPerRun(1000, print); n > 0 {
			t.Errorf("%s: %v allocations an item", form, n)
		}
	}
}

// BenchmarkForms prints users in each form.
func BenchmarkForms(b *testing.B) {
	for _, form := range []string{"ndjson", "json", "csv", "table"} {
		b.Run(form, func(b *testing.B) {
			out, item := sinkTo(io.Discard, form), jsontext.Value(aUser)
			b.SetBytes(int64(len(item)))
			b.ReportAllocs()
			for b.Loop() {
				if err := out.item(item); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestAFilterSeesTheValuesThatWereSent(t *testing.T) {
	for _, text := range []string{
		`null`, `true`, `""`, `0`, `-0`, `-7`, `1.50`, `1e400`, `12345678901234567890`, `"a\u0000\ud83d\ude00\n"`, `[]`, `{}`, `[[],{},[{}]]`,
		`{"a":1,"b":[1,"x",null,{"a":2}],"":false}`, `{"a":1,"a":2}`,
		`{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"j":10}`,
	} {
		d := stdjson.NewDecoder(strings.NewReader(text))
		d.UseNumber()
		var want any
		if err := d.Decode(&want); err != nil {
			t.Fatal(err)
		}
		r := valueReader{d: jsontext.NewDecoder(strings.NewReader(text), jsontext.AllowDuplicateNames(true)), names: map[string]string{}}
		got, err := r.value()
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := gojq.Marshal(got); string(got) != string(must(gojq.Marshal(want))) {
			t.Errorf("%s became %s", text, got)
		}
	}
	// The empty ones are shared, and no filter changes them.
	var out bytes.Buffer
	filter, err := compileJQ(`.[0].a = 1 | .[1] += [2] | .[1][5] = 1 | .[3].b |= 3`)
	if err != nil {
		t.Fatal(err)
	}
	f := &filtered{ctx: t.Context(), filter: filter, to: sinkTo(&out, "ndjson")}
	for range 2 {
		if err := f.item(jsontext.Value(`[{},[],{},{}]`)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.end(true); err != nil {
		t.Fatal(err)
	}
	if want := `[{"a":1},[2,null,null,null,null,1],{},{"b":3}]`; out.String() != want+"\n"+want+"\n" {
		t.Errorf("got %s", out.String())
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

func TestAFilterCountsTheMemoryOfWhatItGets(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector takes memory of its own")
	}
	unique := func(n int) string { return fmt.Sprintf(`{"k%d":%d}`, n, n) }
	for name, shape := range map[string]func(int) string{
		"empty objects": func(int) string { return `{}` }, "one short member": func(int) string { return `{"":0}` }, "ints": func(int) string { return `1000` },
		"short texts": func(int) string { return `"a"` }, "fractions": func(int) string { return `1.5` }, "arrays of one": func(int) string { return `[1]` },
		"nine members": func(int) string { return `{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1}` }, "names that differ": unique,
		"one large object": func(n int) string { return strings.Trim(unique(n), "{}") },
		"nested":           func(int) string { return strings.Repeat(`{"":`, 1000) + "0" + strings.Repeat("}", 1000) },
	} {
		open, end := "[", "]"
		if name == "one large object" {
			open, end = "{", "}"
		}
		page := func(size int) []byte {
			b := []byte(open + shape(0))
			for n := 1; len(b) < size; n++ {
				b = append(append(b, ','), shape(n)...)
			}
			return append(b, end...)
		}
		body := page(1 << 20)
		r := valueReader{d: jsontext.NewDecoder(bytes.NewBuffer(body), jsontext.AllowDuplicateNames(true)), names: map[string]string{}}
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		v, err := r.value()
		runtime.GC()
		runtime.ReadMemStats(&after)
		if err != nil {
			t.Fatal(name, err)
		}
		if took := int(after.HeapAlloc - before.HeapAlloc); took > r.taken+r.taken/10 {
			t.Errorf("%s: %d bytes were counted, and it took %d", name, r.taken, took)
		}
		runtime.KeepAlive(v)
		runtime.KeepAlive(body)
	}

	call, _ := api(t, func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `{"value":[`+strings.Repeat(`{"":0},`, 1<<20)+`0]}`)
	})
	got := call("/users", "--jq", ".value[0]")
	if got.status != StatusFailed || got.stdout != "" || !strings.Contains(got.stderr, "--jq would take more than 256 MiB of memory for one answer") || !strings.Contains(got.stderr, "fix:   let it see less at a time: with --all") {
		t.Errorf("%+v", got)
	}
}
