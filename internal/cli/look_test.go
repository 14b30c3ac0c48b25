package cli

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fobauth/fob/aadsts"
)

func TestEveryCodeIsExplainedWithACommandThatProvesTheFix(t *testing.T) {
	n := 0
	for code := range aadsts.All() {
		n++
		e := explainText(code.String())
		if !understood(e) || len(e.Causes) != 1 || e.Causes[0].Fix == "" || e.Causes[0].Owner == "" || !strings.HasPrefix(e.Causes[0].Try, "fob ") {
			t.Errorf("%s: %+v", code, e)
			continue
		}
		checkExample(t, e.Causes[0].Try)
	}
	if n < 280 {
		t.Errorf("only %d codes", n)
	}
}

// Package insight advises commands of this one, without knowing it.
func TestEveryCommandThatReportsAdviseExists(t *testing.T) {
	var advised []string
	files, err := filepath.Glob("../insight/*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
				if text, err := strconv.Unquote(lit.Value); err == nil && strings.HasPrefix(text, "fob ") {
					advised = append(advised, text)
				}
			}
			return true
		})
	}
	table, err := os.ReadFile("../insight/data/errors.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		if columns := strings.Split(strings.TrimSpace(line), "\t"); strings.HasPrefix(columns[len(columns)-1], "fob ") {
			advised = append(advised, columns[len(columns)-1])
		}
	}
	if len(advised) < 40 {
		t.Fatalf("only %d commands are advised: this test does not find them", len(advised))
	}
	sentence := regexp.MustCompile(`^fob (does|cannot|behaves) `)
	for _, line := range advised {
		open := strings.HasSuffix(line, " ") || strings.HasSuffix(line, "'") // its end is filled in
		if !open && !sentence.MatchString(line) {
			checkExample(t, line)
		}
	}
}

func TestTheTokenOfAnAnswerIsFound(t *testing.T) {
	for text, want := range map[string]string{
		"a.b.c\n":                           "a.b.c\n",
		`{"accessToken":"a.b.c","x":{}}`:    "a.b.c",
		` {"access_token":"a.b.c"}`:         "a.b.c",
		`{"id_token":"i.j.k"}`:              "i.j.k",
		`{"access_token":1,"token":"t.u.v"`: `{"access_token":1,"token":"t.u.v"`,
	} {
		if got := tokenIn(text).Reveal(); got != want {
			t.Errorf("in %s: %s, want %s", text, got, want)
		}
	}
}

func TestOnlyATraceOfOursIsReplaced(t *testing.T) {
	for text, want := range map[string]bool{
		"<title>What went over the wire</title>": true, "# What went over the wire\n\n": true,
		"{\n  \"log\": {\n    \"comment\": \"Secrets were removed when this was recorded.\"": true,
		"Get a token for the app itself\n  > POST https://localhost/\n  < 200 OK":            true,
		"# My notes\n# What went over the wire\n":                                            false, "{\"log\":{}}": false, "<html>": false, "> quoted": false,
	} {
		if got := isTrace([]byte(text)); got != want {
			t.Errorf("%q is a trace of ours: %v", text, got)
		}
	}
}

func TestAHostileTokenIsRefusedInOneLine(t *testing.T) {
	for name, text := range map[string]string{
		"ten megabytes": strings.Repeat("a", 10<<20), "thousands of dots": "ey" + strings.Repeat(".", 100_000),
		"escapes": "ey\x1b[2J.\x1b]0;x\x07.\u202e", "nothing": " \n",
	} {
		file := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, command := range []string{"decode", "verify", "explain"} {
			got := runFob(t, nil, command, file)
			all := got.stdout + got.stderr
			nothing := command == "explain" && name == "nothing" && got.status == StatusUsage
			if got.status != StatusFailed && !nothing || len(all) > 2000 || strings.ContainsAny(all, "\x1b\x07\u202e") {
				t.Errorf("%s of %s: status %d, %.300q", command, name, got.status, all)
			}
		}
	}
}

func TestATextWithAByteOrderMarkIsReadAsWhatItSays(t *testing.T) {
	for data, want := range map[string]string{
		"\xff\xfee\x00y\x00\x3d\xd8\x00\xde": "ey\U0001f600", "\xfe\xff\x00e\x00y": "ey", "\xef\xbb\xbfey": "ey", "ey": "ey",
		"\xff\xfe": "", "\xff\xfee": "", "\xff": "\xff", "": "",
	} {
		if got := plainText([]byte(data)); got != want {
			t.Errorf("%q is read as %q", data, got)
		}
	}
}

func TestTheDoctorGivesUpAfterTheTimeThatWasGiven(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0") // connects, and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	address := "http://" + silent.Addr().String()
	for _, area := range []string{"network", "clock"} {
		began := time.Now()
		ran := runFob(t, nil, "doctor", area, "--authority-host", address, "--graph-host", "http://127.0.0.1:9", "--timeout", "50ms")
		if took := time.Since(began); ran.status != StatusFailed || took > 5*time.Second {
			t.Errorf("%s took %s: %+v", area, took, ran)
		}
		if area == "network" && (!strings.Contains(ran.stdout, "no answer from "+silent.Addr().String()) || !strings.Contains(ran.stdout, "127.0.0.1:9 was not looked at")) {
			t.Error(ran.stdout)
		}
	}
}
