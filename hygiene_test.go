package fob_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// These tests keep the repository in shape. Each says what to do about what it
// finds. "go vet" is not among them: scripts/check runs it.

const modulePath = "github.com/fobauth/fob"

func TestGoFilesAreFormatted(t *testing.T) {
	// The program and not go/format, which the race detector would slow down.
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := exec.Command(filepath.Join(strings.TrimSpace(string(out)), "bin", "gofmt"), "-l", ".").CombinedOutput()
	if err != nil || len(files) > 0 {
		t.Errorf("not formatted, %v; run: gofmt -w .\n%s", err, files)
	}
}

func TestGoModIsTidy(t *testing.T) {
	out, err := exec.Command("go", "mod", "tidy", "-diff").CombinedOutput()
	if err == nil {
		return
	}
	offline := regexp.MustCompile(`dial tcp|no such host|i/o timeout|connection refused|lookup disabled by GOPROXY=off`)
	if cause := offline.Find(out); cause != nil && os.Getenv("CI") != "true" {
		t.Skipf("offline, so whether go.mod is tidy cannot be told: %s", cause)
	}
	t.Errorf("go.mod or go.sum is not tidy; run: go mod tidy\n%s", out)
}

type importRule struct {
	who  string   // a package of ours; "" is the library at the root
	what []string // the packages of ours that it may import
	why  string
}

// mayImport says which packages of this module each package may import, tests
// aside. The first pattern that matches a package counts; "/..." at the end
// means everything below, too.
var mayImport = []importRule{
	{"internal/harmless", nil,
		"what a text must not have is the same everywhere, and depends on nothing"},
	{"internal/spelling", nil,
		"how alike two words are is a question of letters, and depends on nothing"},
	{"internal/redact", nil,
		"what looks like a secret looks so everywhere, and depends on nothing; apart from harmless because regular expressions cost every start"},
	{"internal/origin", nil,
		"where a token may go has one answer, and depends on nothing"},
	{"internal/pfx", nil,
		"what a PFX file may ask of the machine has one answer, and depends on nothing"},
	{"", []string{"internal/harmless", "internal/origin", "internal/pfx"},
		"the library is linked by everybody: it carries nothing but itself and these three answers"},
	{"aadsts", nil,
		"a table that the client and the emulator share depends on neither"},
	{"internal/trace", []string{"internal/harmless", "internal/redact"},
		"it watches HTTP and works around any client"},
	{"graph", []string{"", "internal/harmless", "internal/origin", "internal/redact", "internal/spelling"},
		"it needs a token source and no more"},
	{"store/...", []string{"", "store/..."},
		"a store keeps the library's contract and knows nothing above it"},
	{"internal/insight", []string{"", "aadsts", "internal/harmless", "internal/origin", "internal/pfx", "internal/redact", "internal/spelling"},
		"reports look at tokens and codes; the command line looks at reports"},
	{"entratest/...", []string{"aadsts", "entratest/...", "internal/spelling"},
		"the emulator never imports the client: a bug in both must not cancel itself out"},
	{"internal/cli/...", []string{"", "aadsts", "graph", "store/...", "internal/...", "entratest"},
		"the command line is the library's first user, and uses the emulator by its public face"},
	{"cmd/fob", []string{"internal/cli"},
		"main is a few lines; what it does is in internal/cli, where it can be tested"},
}

func TestPackagesImportOnlyWhatTheyMay(t *testing.T) {
	used := make([]bool, len(mayImport))
	for _, p := range listPackages(t, "./...") {
		who := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, modulePath), "/")
		i := slices.IndexFunc(mayImport, func(r importRule) bool { return covers(r.who, who) })
		if i < 0 {
			t.Errorf("package %s has no line in mayImport (hygiene_test.go): say there what it may import, and why", who)
			continue
		}
		used[i] = true
		for path, file := range p.imports(t) {
			what, own := strings.CutPrefix(path, modulePath)
			what = strings.TrimPrefix(what, "/")
			if own && !slices.ContainsFunc(mayImport[i].what, func(pattern string) bool { return covers(pattern, what) }) {
				t.Errorf("%s imports %s, which package %s may not: %s", file, path, p.ImportPath, mayImport[i].why)
			}
		}
	}
	for i, rule := range mayImport {
		if !used[i] {
			t.Errorf("mayImport has a line for %s, and there is no such package", rule.who)
		}
	}
}

func covers(pattern, name string) bool {
	if tree, ok := strings.CutSuffix(pattern, "/..."); ok {
		return name == tree || strings.HasPrefix(name, tree+"/")
	}
	return name == pattern
}

func TestNothingHeavyIsLinked(t *testing.T) {
	forbidden := map[string]string{
		"github.com/microsoftgraph/msgraph-sdk-go": "it takes minutes to build and 24 MB; call the REST API",
		"k8s.io/client-go":                         "an exec credential is 20 lines of JSON",
		"go.opentelemetry.io/otel/sdk":             "programs that want telemetry bring their own",
	}
	for _, p := range listPackages(t, "-deps", "./cmd/fob") {
		for path, why := range forbidden {
			if p.ImportPath == path || strings.HasPrefix(p.ImportPath, path+"/") {
				t.Errorf("cmd/fob links %s: %s; \"go mod why %[1]s\" shows who brings it", p.ImportPath, why)
			}
		}
	}
}

func TestNoTemplates(t *testing.T) {
	for _, p := range listPackages(t, "./...") {
		for path, file := range p.imports(t) {
			if path == "html/template" || path == "text/template" {
				t.Errorf("%s imports %s, which makes the linker keep every exported method (the binary doubles); "+
					"write the page with fmt and html.EscapeString", file, path)
			}
		}
	}
}

func TestEveryDirectRequirementHasAReason(t *testing.T) {
	content, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	requirement := regexp.MustCompile(`(?m)^(?:require)?\s+([\w./~-]+\.[\w./~-]+) (v\S+)(.*)$`)
	found := requirement.FindAllStringSubmatch(string(content), -1)
	if len(found) == 0 {
		t.Fatal("found no requirement in go.mod: this test does not understand its form")
	}
	for _, m := range found {
		reason, _ := strings.CutPrefix(strings.TrimSpace(m[3]), "//")
		if strings.Contains(reason, "indirect") {
			continue
		}
		if len(strings.Fields(reason)) < 2 {
			t.Errorf("go.mod: %s has no reason; write one behind it: %[1]s %s // what it is for", m[1], m[2])
		}
	}
}

func TestNoFileNamesAPlaceOnOneMachine(t *testing.T) {
	// In pieces, so that this file does not find itself.
	places := regexp.MustCompile(`(?:^|[\s"'=(` + "`" + `])(?:/(?:work/|root/(?:go|\.)|home/\w+/|Users/\w+/)\w?|[A-Z]:\\Users\\\w|\.\./` + `shared)`)
	// What a place begins with; most files have none of it, and need no long look.
	hint := []string{"/work", "/root", "/home/", "/Users/", `\Users`, "../" + "shared"}
	for name, content := range textFiles(t) {
		if !slices.ContainsFunc(hint, func(s string) bool { return bytes.Contains(content, []byte(s)) }) {
			continue
		}
		for i, line := range strings.Split(string(content), "\n") {
			if m := places.FindString(line); m != "" {
				t.Errorf("%s:%d names %q, a place that other machines do not have; write a relative path, ~ or a variable", name, i+1, strings.TrimSpace(m))
			}
		}
	}
}

func TestEveryExportIsDocumented(t *testing.T) {
	for _, p := range listPackages(t, "./...") {
		files := p.parse(t, parser.ParseComments|parser.SkipObjectResolution)
		if !slices.ContainsFunc(files, func(f *ast.File) bool { return f.Doc != nil }) {
			t.Errorf("package %s has no package comment; write above one package clause what it is for", p.ImportPath)
		}
		if p.Name == "main" {
			continue
		}
		c := docCheck{t, p.fset, strings.Contains(p.ImportPath, "/internal/")}
		for _, file := range files {
			for _, decl := range file.Decls {
				switch decl := decl.(type) {
				case *ast.FuncDecl:
					c.function(decl)
				case *ast.GenDecl:
					c.declaration(decl)
				}
			}
		}
	}
}

type docCheck struct {
	t        *testing.T
	fset     *token.FileSet
	internal bool // the package is no part of the public interface
}

func (c docCheck) complain(at token.Pos, format string, args ...any) {
	c.t.Helper()
	p := c.fset.Position(at)
	c.t.Errorf("%s:%d: %s", relativePath(p.Filename), p.Line, fmt.Sprintf(format, args...))
}

func (c docCheck) function(f *ast.FuncDecl) {
	if !f.Name.IsExported() || f.Recv != nil && !exportedReceiver(f.Recv.List[0].Type) {
		return
	}
	c.starts(f.Name, f.Doc)
}

func exportedReceiver(t ast.Expr) bool {
	switch t := t.(type) {
	case *ast.StarExpr:
		return exportedReceiver(t.X)
	case *ast.IndexExpr:
		return exportedReceiver(t.X)
	case *ast.IndexListExpr:
		return exportedReceiver(t.X)
	case *ast.Ident:
		return t.IsExported()
	}
	return false
}

// starts wants a doc comment that begins with the name it documents, an
// article before it allowed.
func (c docCheck) starts(name *ast.Ident, doc *ast.CommentGroup) {
	text := doc.Text()
	for _, article := range []string{"A ", "An ", "The "} {
		text = strings.TrimPrefix(text, article)
	}
	rest, ok := strings.CutPrefix(text, name.Name)
	switch {
	case doc.Text() == "":
		c.complain(name.Pos(), "%s is exported and has no comment; write one: // %[1]s ...", name.Name)
	case strings.HasPrefix(text, "Deprecated:"):
	case !ok || rest == "" || !strings.ContainsAny(rest[:1], " ,'\n"):
		c.complain(name.Pos(), "the comment on %s should begin: // %[1]s ...", name.Name)
	}
}

func (c docCheck) declaration(d *ast.GenDecl) {
	for _, spec := range d.Specs {
		switch spec := spec.(type) {
		case *ast.TypeSpec:
			if !spec.Name.IsExported() {
				continue
			}
			doc := spec.Doc
			if doc == nil && !d.Lparen.IsValid() {
				doc = d.Doc
			}
			c.starts(spec.Name, doc)
			switch t := spec.Type.(type) {
			case *ast.StructType:
				c.fields(spec.Name.Name, t.Fields.List)
			case *ast.InterfaceType:
				c.fields(spec.Name.Name, t.Methods.List)
			}
		case *ast.ValueSpec:
			// One comment may speak for a whole group of constants or
			// variables, so any will do.
			if d.Doc == nil && spec.Doc == nil && spec.Comment == nil && spec.Names[0].IsExported() {
				c.complain(spec.Pos(), "%s is exported and has no comment, nor has its group", spec.Names[0].Name)
			}
		}
	}
}

// fields wants a comment in every group of exported fields or methods: lines
// that follow each other without an empty line or a comment line between them.
// For a struct of a single group the comment on the type may speak. Fields with
// a tag are named by a format that is documented elsewhere, embedded ones by
// their own type.
func (c docCheck) fields(owner string, list []*ast.Field) {
	if c.internal {
		return // the comment on the type may speak for them
	}
	var bare *ast.Field // the group's first exported field, while nothing in the group has a comment
	commented, last, groups := false, -1, 0
	judge := func(more bool) {
		groups++
		if bare != nil && !commented && (more || groups > 1) {
			c.complain(bare.Pos(), "%s.%s is exported and nothing in its group of lines has a comment", owner, bare.Names[0].Name)
		}
	}
	for _, f := range list {
		if last > 0 && (f.Doc != nil || c.fset.Position(f.Pos()).Line != last+1) {
			judge(true)
			bare, commented = nil, false
		}
		last = c.fset.Position(f.End()).Line
		commented = commented || f.Doc != nil || f.Comment != nil
		if bare == nil && f.Tag == nil && len(f.Names) > 0 && f.Names[0].IsExported() {
			bare = f
		}
	}
	judge(false)
}

// TestReadmeCompiles vets every Go block of the README as the file it claims to
// be.
func TestReadmeCompiles(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := regexp.MustCompile("(?ms)^```go\n(.*?)^```$").FindAllSubmatch(readme, -1)
	if len(blocks) == 0 {
		t.Fatal("README.md has no Go block: this test checks nothing")
	}
	for i, block := range blocks {
		name := fmt.Sprintf("readme%d.go", i+1)
		if bytes.Contains(block[1], []byte("testing.T")) {
			name = fmt.Sprintf("readme%d_test.go", i+1)
		}
		file := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(file, block[1], 0o600); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("go", "vet", file).CombinedOutput(); err != nil {
			t.Errorf("Go block %d of README.md does not compile; change it to what the packages offer now:\n%s", i+1, out)
		}
	}
}

// listed is what these tests use of "go list -json".
type listed struct {
	Dir, ImportPath, Name   string
	GoFiles, IgnoredGoFiles []string // those for this system, and those for others
	fset                    *token.FileSet
}

func listPackages(t *testing.T, args ...string) []*listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=Dir,ImportPath,Name,GoFiles,IgnoredGoFiles"}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list %s: %v\n%s", strings.Join(args, " "), err, &stderr)
	}
	var all []*listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		p := &listed{fset: token.NewFileSet()}
		if err := dec.Decode(p); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) == 0 {
		t.Fatalf("go list %s names no package: this test checks nothing", strings.Join(args, " "))
	}
	return all
}

// parse reads the package's files for every system, without its tests.
func (p *listed) parse(t *testing.T, mode parser.Mode) []*ast.File {
	t.Helper()
	var files []*ast.File
	for _, name := range slices.Concat(p.GoFiles, p.IgnoredGoFiles) {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(p.fset, filepath.Join(p.Dir, name), nil, mode)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	return files
}

// imports returns what the package imports, and one file that does.
func (p *listed) imports(t *testing.T) map[string]string {
	t.Helper()
	by := map[string]string{}
	for _, file := range p.parse(t, parser.ImportsOnly) {
		for _, spec := range file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			by[path] = relativePath(p.fset.Position(spec.Pos()).Filename)
		}
	}
	return by
}

func relativePath(path string) string {
	if wd, err := os.Getwd(); err == nil {
		if rel, err := filepath.Rel(wd, path); err == nil {
			return filepath.ToSlash(rel)
		}
	}
	return path
}

// textFiles returns the repository's text files by their slash-separated names.
func textFiles(t *testing.T) map[string][]byte {
	t.Helper()
	files := map[string][]byte{}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if slices.Contains([]string{".git", "node_modules", "dist"}, d.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		if info, err := d.Info(); err != nil || info.Size() > 4<<20 {
			return err // built binaries and the like
		}
		content, err := os.ReadFile(path)
		if err == nil && !bytes.ContainsRune(content, 0) {
			files[filepath.ToSlash(path)] = content
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}
