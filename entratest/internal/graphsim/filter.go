package graphsim

import (
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// condition is a parsed $filter: a tree.
type condition struct {
	op    string       // and or not; eq ne gt ge lt le in; startswith endswith contains; any all
	parts []*condition // of and, or, not; the predicate of any and all, nil for any()
	of    operand      // what is compared
	with  []literal    // what it is compared to; several for in
}

// operand is a property, a part of one, or the variable of a lambda.
type operand struct {
	path     []string // in their proper case; empty is the variable itself
	variable string   // the name of a lambda's variable that path begins at; empty: the object
	edm      string   // the type it has; empty if that is not known
	count    bool     // the number of its elements
	relation bool     // path is a relation rather than a property
}

func (o operand) String() string { return strings.Join(o.path, "/") }

// literal is a constant of a $filter.
type literal struct {
	edm   string // Edm.String, Edm.Guid, Edm.Boolean, Edm.Int32, Edm.Double, Edm.DateTimeOffset; empty: null
	text  string
	num   float64
	time  time.Time
	truth bool
}

// parseFilter reads a $filter for objects of a type. An error is a text for
// people.
func parseFilter(text string, t *entityType) (*condition, error) {
	p := &filterParser{text: text, t: t, scope: map[string]operand{}}
	if err := p.scan(); err != nil {
		return nil, err
	}
	c, err := p.or()
	if err == nil && p.at < len(p.tokens)-1 {
		err = p.unexpected()
	}
	return c, err
}

// lexeme is a word of a $filter.
type lexeme struct {
	kind string // name, text, literal, punctuation or end
	s    string
	lit  literal
	pos  int
}

type filterParser struct {
	text   string
	t      *entityType
	tokens []lexeme
	at     int
	scope  map[string]operand // variables of lambdas
	depth  int
}

// The forms of literals and names, compiled when the first filter comes.
var (
	guidForm = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}`)
	})
	dateForm = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|z|[+-]\d{2}:\d{2}))?`)
	})
	numberForm = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^-?\d+(\.\d+)?`) })
	nameForm   = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_.$]*`) })
)

func (p *filterParser) scan() error {
	rest := p.text
	for {
		rest = strings.TrimLeft(rest, " \t\r\n")
		t := lexeme{pos: len(p.text) - len(rest)}
		if rest == "" {
			p.tokens = append(p.tokens, lexeme{kind: "end", pos: t.pos})
			return nil
		}
		switch {
		case strings.ContainsRune("(),/:", rune(rest[0])):
			t.kind, t.s = "punctuation", rest[:1]
		case rest[0] == '\'':
			end := 1
			for ; ; end++ {
				if end == len(rest) {
					return fmt.Errorf("There is an unterminated string literal at position %d in '%s'.", t.pos, p.text)
				}
				if rest[end] != '\'' {
					continue
				}
				if end+1 < len(rest) && rest[end+1] == '\'' {
					end++
					continue
				}
				break
			}
			t.kind, t.lit = "literal", literal{edm: "Edm.String", text: strings.ReplaceAll(rest[1:end], "''", "'")}
			t.s = rest[:end+1]
		case guidForm().MatchString(rest):
			t.kind, t.s = "literal", guidForm().FindString(rest)
			t.lit = literal{edm: "Edm.Guid", text: strings.ToLower(t.s)}
		case dateForm().MatchString(rest):
			t.kind, t.s = "literal", dateForm().FindString(rest)
			when, err := parseDate(t.s)
			if err != nil {
				return fmt.Errorf("'%s' is not a date at position %d in '%s'.", t.s, t.pos, p.text)
			}
			t.lit = literal{edm: "Edm.DateTimeOffset", text: t.s, time: when}
		case numberForm().MatchString(rest):
			t.kind, t.s = "literal", numberForm().FindString(rest)
			edm := "Edm.Int32"
			if strings.Contains(t.s, ".") {
				edm = "Edm.Double"
			}
			n, _ := strconv.ParseFloat(t.s, 64)
			t.lit = literal{edm: edm, text: t.s, num: n}
		case nameForm().MatchString(rest):
			t.kind, t.s = "name", nameForm().FindString(rest)
			switch strings.ToLower(t.s) {
			case "true", "false":
				t.kind, t.lit = "literal", literal{edm: "Edm.Boolean", text: t.s, truth: strings.EqualFold(t.s, "true")}
			case "null":
				t.kind = "literal"
			}
		default:
			return fmt.Errorf("Syntax error: character '%c' is not valid at position %d in '%s'.", []rune(rest)[0], t.pos, p.text)
		}
		p.tokens = append(p.tokens, t)
		rest = rest[len(t.s):]
	}
}

func parseDate(s string) (time.Time, error) {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, strings.ToUpper(s)); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("not a date")
}

func (p *filterParser) peek() lexeme { return p.tokens[p.at] }
func (p *filterParser) next() lexeme {
	t := p.tokens[p.at]
	if t.kind != "end" {
		p.at++
	}
	return t
}

// back returns a lexeme that is not what was expected.
func (p *filterParser) back(t lexeme) {
	if t.kind != "end" {
		p.at--
	}
}

func (p *filterParser) unexpected() error {
	return fmt.Errorf("Syntax error at position %d in '%s'.", p.peek().pos, p.text)
}

func (p *filterParser) word(w string) bool {
	if t := p.peek(); t.kind == "name" && strings.EqualFold(t.s, w) {
		p.at++
		return true
	}
	return false
}

func (p *filterParser) mark(m string) bool {
	if t := p.peek(); t.kind == "punctuation" && t.s == m {
		p.at++
		return true
	}
	return false
}

func (p *filterParser) or() (*condition, error)  { return p.chain("or", p.and) }
func (p *filterParser) and() (*condition, error) { return p.chain("and", p.not) }

func (p *filterParser) chain(op string, part func() (*condition, error)) (*condition, error) {
	first, err := part()
	if err != nil {
		return nil, err
	}
	parts := []*condition{first}
	for p.word(op) {
		more, err := part()
		if err != nil {
			return nil, err
		}
		parts = append(parts, more)
	}
	if len(parts) == 1 {
		return first, nil
	}
	return &condition{op: op, parts: parts}, nil
}

// maxDepth bounds how deep conditions nest.
const maxDepth = 100

func (p *filterParser) not() (*condition, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, fmt.Errorf("The filter clause nests deeper than %d levels.", maxDepth)
	}
	defer func() { p.depth-- }()
	if p.word("not") {
		c, err := p.not()
		if err != nil {
			return nil, err
		}
		return &condition{op: "not", parts: []*condition{c}}, nil
	}
	if p.mark("(") {
		c, err := p.or()
		if err == nil && !p.mark(")") {
			err = p.unexpected()
		}
		return c, err
	}
	return p.comparison()
}

func (p *filterParser) comparison() (*condition, error) {
	t := p.peek()
	if t.kind != "name" {
		return nil, p.unexpected()
	}
	switch function := strings.ToLower(t.s); function {
	case "startswith", "endswith", "contains":
		if p.tokens[p.at+1].s == "(" {
			p.at += 2
			return p.function(function)
		}
	}
	of, lambda, err := p.operand()
	if err != nil || lambda != nil {
		return lambda, err
	}
	op := p.next()
	name := strings.ToLower(op.s)
	switch {
	case op.kind != "name":
		if strings.HasPrefix(of.edm, "Edm.Boolean") {
			p.back(op) // a property that is true or false stands for itself
			return &condition{op: "eq", of: of, with: []literal{{edm: "Edm.Boolean", truth: true}}}, nil
		}
		p.back(op)
		return nil, p.unexpected()
	case name == "in":
		with, err := p.list()
		if err == nil {
			err = p.agree(of, with, "In")
		}
		return &condition{op: "in", of: of, with: with}, err
	case slices.Contains([]string{"eq", "ne", "gt", "ge", "lt", "le"}, name):
		v := p.next()
		if v.kind != "literal" {
			p.back(v)
			return nil, p.unexpected()
		}
		kind := map[string]string{"eq": "Equal", "ne": "NotEqual", "gt": "GreaterThan", "ge": "GreaterThanOrEqual", "lt": "LessThan", "le": "LessThanOrEqual"}[name]
		return &condition{op: name, of: of, with: []literal{v.lit}}, p.agree(of, []literal{v.lit}, kind)
	}
	p.back(op)
	return nil, p.unexpected()
}

// function reads what follows "startswith(".
func (p *filterParser) function(name string) (*condition, error) {
	of, lambda, err := p.operand()
	if err != nil {
		return nil, err
	}
	if lambda != nil || !p.mark(",") {
		return nil, p.unexpected()
	}
	v := p.next()
	if v.kind != "literal" || v.lit.edm != "Edm.String" || of.edm != "" && of.edm != "Edm.String" || of.count {
		return nil, fmt.Errorf("No function signature for the function with name '%s' matches the specified arguments. The function signatures considered are: %s(Edm.String Nullable=true, Edm.String Nullable=true).", name, name)
	}
	if !p.mark(")") {
		return nil, p.unexpected()
	}
	c := &condition{op: name, of: of, with: []literal{v.lit}}
	if p.word("eq") { // "startswith(…) eq true" says the same in more words
		truth := p.next()
		if truth.lit.edm != "Edm.Boolean" {
			p.back(truth)
			return nil, p.unexpected()
		}
		if !truth.lit.truth {
			c = &condition{op: "not", parts: []*condition{c}}
		}
	}
	return c, nil
}

func (p *filterParser) list() ([]literal, error) {
	if !p.mark("(") {
		return nil, p.unexpected()
	}
	var with []literal
	for {
		v := p.next()
		if v.kind != "literal" {
			p.back(v)
			return nil, p.unexpected()
		}
		with = append(with, v.lit)
		if p.mark(")") {
			return with, nil
		}
		if !p.mark(",") {
			return nil, p.unexpected()
		}
	}
}

// operand reads a path of properties. If it ends with a lambda, the condition
// is that.
func (p *filterParser) operand() (operand, *condition, error) {
	var of operand
	t := p.next()
	if t.kind != "name" {
		p.back(t)
		return of, nil, p.unexpected()
	}
	if v, ok := p.scope[t.s]; ok {
		of = operand{variable: t.s, edm: v.edm}
	} else if err := p.property(&of, t.s); err != nil {
		return of, nil, err
	}
	for p.mark("/") {
		t := p.next()
		switch name := strings.ToLower(t.s); {
		case t.kind != "name":
			p.back(t)
			return of, nil, p.unexpected()
		case name == "$count":
			if !strings.HasPrefix(of.edm, "Collection(") {
				return of, nil, fmt.Errorf("The property '%s' is not a collection: it has no $count.", of)
			}
			of.count, of.edm = true, "Edm.Int32"
			return of, nil, nil
		case (name == "any" || name == "all") && p.peek().s == "(":
			c, err := p.lambda(name, of)
			return of, c, err
		default:
			if err := p.property(&of, t.s); err != nil {
				return of, nil, err
			}
		}
	}
	if strings.HasPrefix(of.edm, "Collection(") {
		return of, nil, fmt.Errorf("The property '%s' is a collection: write '%s/any(x:x …)'.", of, of)
	}
	return of, nil, nil
}

// property appends a property to a path.
func (p *filterParser) property(of *operand, name string) error {
	t := p.t
	if of.variable != "" || len(of.path) > 0 {
		if strings.HasPrefix(of.edm, "Collection(") {
			return fmt.Errorf("The property '%s' is a collection: write '%s/any(x:x/%s …)'.", of, of, name)
		}
		if _, described := schema()[of.edm]; !described {
			if strings.HasPrefix(of.edm, "Edm.") {
				return fmt.Errorf("The parent value for a property access of a property '%s' is not a single value of a type that has properties.", name)
			}
			of.path, of.edm = append(of.path, name), "" // a type that nobody described
			return nil
		}
		t = &entityType{name: of.edm}
	}
	if proper, ok := t.find(name); ok {
		of.path = append(of.path, proper)
		of.edm, _ = t.property(proper)
		return nil
	}
	if proper, target, ok := t.relation(name); ok && t.strict {
		of.path, of.edm, of.relation = append(of.path, proper), target, true
		return nil
	}
	return t.unknown(name)
}

func (p *filterParser) lambda(name string, of operand) (*condition, error) {
	element, ok := strings.CutPrefix(of.edm, "Collection(")
	if !ok {
		return nil, fmt.Errorf("'%s' can only be used with collections, which '%s' is not.", name, of)
	}
	switch {
	case len(p.scope) > 0:
		return nil, fmt.Errorf("A '%s' inside of another is not supported.", name)
	case name == "all" && !p.t.strict:
		return nil, fmt.Errorf("The query filter contains one or more invalid nodes.")
	}
	p.mark("(")
	c := &condition{op: name, of: of}
	if p.mark(")") {
		if name == "all" {
			return nil, p.unexpected()
		}
		return c, nil
	}
	v := p.next()
	if v.kind != "name" || !p.mark(":") {
		return nil, p.unexpected()
	}
	if _, taken := p.scope[v.s]; taken {
		return nil, fmt.Errorf("The range variable '%s' has already been declared.", v.s)
	}
	p.scope[v.s] = operand{edm: strings.TrimSuffix(element, ")")}
	defer delete(p.scope, v.s)
	inner, err := p.or()
	if err == nil && !p.mark(")") {
		err = p.unexpected()
	}
	c.parts = []*condition{inner}
	c.of.variable = v.s
	return c, err
}

// agree checks that what is compared has one type.
func (p *filterParser) agree(of operand, with []literal, kind string) error {
	for _, l := range with {
		numbers := (of.edm == "Edm.Int32" || of.edm == "Edm.Int64" || of.edm == "Edm.Double") && (l.edm == "Edm.Int32" || l.edm == "Edm.Double")
		enum := l.edm == "Edm.String" && !strings.HasPrefix(of.edm, "Edm.") && schema()[of.edm].names == nil
		if l.edm == "" || of.edm == "" || l.edm == of.edm || numbers || enum {
			continue
		}
		return fmt.Errorf("A binary operator with incompatible types was detected. Found operand types '%s' and '%s' for operator kind '%s'.", of.edm, l.edm, kind)
	}
	return nil
}

// matches evaluates a condition. The variables of lambdas are in vars.
func (c *condition) matches(v any, t *entityType, vars map[string]any) bool {
	switch c.op {
	case "and":
		for _, p := range c.parts {
			if !p.matches(v, t, vars) {
				return false
			}
		}
		return true
	case "or":
		for _, p := range c.parts {
			if p.matches(v, t, vars) {
				return true
			}
		}
		return false
	case "not":
		return !c.parts[0].matches(v, t, vars)
	case "any", "all":
		elements := list(operand{path: c.of.path}.of(v, t, vars))
		if len(c.parts) == 0 {
			return len(elements) > 0
		}
		for _, e := range elements {
			inner := map[string]any{c.of.variable: e}
			for k, v := range vars {
				inner[k] = v
			}
			if c.parts[0].matches(v, t, inner) == (c.op == "any") {
				return c.op == "any"
			}
		}
		return c.op == "all"
	}
	value := c.of.of(v, t, vars)
	if c.of.count {
		value = float64(len(list(value)))
	}
	switch c.op {
	case "startswith", "endswith", "contains":
		s, ok := value.(string)
		if !ok {
			return false
		}
		s, part := strings.ToLower(s), strings.ToLower(c.with[0].text)
		return c.op == "startswith" && strings.HasPrefix(s, part) || c.op == "endswith" && strings.HasSuffix(s, part) || c.op == "contains" && strings.Contains(s, part)
	case "in":
		return slices.ContainsFunc(c.with, func(l literal) bool { return l.equals(value) })
	case "eq":
		return c.with[0].equals(value)
	case "ne":
		return !c.with[0].equals(value)
	}
	order, comparable := c.with[0].compare(value)
	if !comparable {
		return false
	}
	switch c.op {
	case "gt":
		return order > 0
	case "ge":
		return order >= 0
	case "lt":
		return order < 0
	}
	return order <= 0
}

// of is the value of an operand.
func (o operand) of(v any, t *entityType, vars map[string]any) any {
	path := o.path
	if o.variable != "" {
		v = vars[o.variable]
	} else {
		v, _ = t.get(v, path[0])
		path = path[1:]
	}
	for _, name := range path {
		v = inside(v, name)
	}
	return v
}

// inside returns a member of a value that is an object.
func inside(v any, name string) any {
	switch v := v.(type) {
	case map[string]any:
		return v[name]
	case object:
		for _, m := range v {
			if m.name == name {
				return m.value
			}
		}
	}
	return nil
}

// list returns the elements of a value that is a collection.
func list(v any) []any {
	switch v := v.(type) {
	case []any:
		return v
	case []string:
		out := make([]any, len(v))
		for i, s := range v {
			out[i] = s
		}
		return out
	case []object:
		out := make([]any, len(v))
		for i, o := range v {
			out[i] = o
		}
		return out
	}
	return nil
}

func (l literal) equals(v any) bool {
	if l.edm == "" {
		return v == nil
	}
	order, comparable := l.compare(v)
	return comparable && order == 0
}

// compare says how v relates to l: below zero if it is less. The directory
// does not tell upper from lower case.
func (l literal) compare(v any) (order int, comparable bool) {
	switch v := v.(type) {
	case string:
		if l.edm == "Edm.DateTimeOffset" {
			when, err := parseDate(v)
			return when.Compare(l.time), err == nil
		}
		return strings.Compare(strings.ToLower(v), strings.ToLower(l.text)), true
	case bool:
		if v == l.truth {
			return 0, l.edm == "Edm.Boolean"
		}
		return 1, l.edm == "Edm.Boolean"
	case float64:
		return compareNumbers(v, l)
	case int:
		return compareNumbers(float64(v), l)
	case int64:
		return compareNumbers(float64(v), l)
	}
	return 0, false
}

func compareNumbers(v float64, l literal) (int, bool) {
	switch {
	case v < l.num:
		return -1, true
	case v > l.num:
		return 1, true
	}
	return 0, l.edm == "Edm.Int32" || l.edm == "Edm.Double"
}

//go:embed filters.tsv
var filtersTSV string

// capability is a row of filters.tsv, by the heads of its columns.
type capability map[string]string

var capabilities = sync.OnceValue(func() map[string]capability {
	table := map[string]capability{}
	for f := range rows(filtersTSV, 9) {
		row := capability{"eq": f[1], "ne": f[2], "not": f[3], "ge": f[4], "le": f[5], "in": f[6], "startswith": f[7], "null": f[8]}
		name, part, nested := strings.Cut(f[0], " {")
		if !nested {
			table[name] = row
			continue
		}
		part, of, _ := strings.Cut(part, "}")
		switch of {
		case " (Groups)":
			name = "group:" + name
		case " (Users)", " (User)":
			name = "user:" + name
		}
		if part == "extensionAttribute1-15" {
			for i := range 15 {
				table[fmt.Sprintf("%s/extensionAttribute%d", name, i+1)] = row
			}
			continue
		}
		table[name+"/"+part] = row
	}
	return table
})

// What a directory says to a condition.
const (
	always     = "D"
	advanced   = "A" // only with ConsistencyLevel and $count
	notIndexed = "-"
	// Graph knows it, and has it for no property: all, and conditions in an any
	// that are not about its variable.
	unsupported = "!"
)

// names says whether a condition is about a property, or a part of it.
func (c *condition) names(property string) bool {
	return c != nil && (len(c.of.path) > 0 && c.of.path[0] == property || slices.ContainsFunc(c.parts, func(p *condition) bool { return p.names(property) }))
}

// maxAlternatives is how many conditions a default query joins by or.
const maxAlternatives = 15

// alternatives is how many conditions are joined by the longest or. A list of
// values is an or too.
func (c *condition) alternatives() int {
	n := 0
	for _, p := range c.parts {
		if c.op == "or" {
			n += max(1, p.alternatives())
		} else {
			n = max(n, p.alternatives())
		}
	}
	if c.op == "in" {
		n = len(c.with)
	}
	return n
}

// demandsOfCount says what a directory needs to compare the size of a
// collection: it tells none from some, and where owners are counted also one.
func (c *condition) demandsOfCount(t *entityType) string {
	most := 0.0
	if c.of.relation {
		if c.of.String() != "owners" || t != groupType && t != applicationType {
			return notIndexed
		}
		most = 1
	}
	if c.op != "eq" && c.op != "ne" || c.with[0].num > most || c.with[0].num < 0 {
		return unsupported
	}
	return advanced
}

// demands says what a directory needs to evaluate a condition.
func (c *condition) demands(t *entityType, collection operand, negated bool) string {
	switch c.op {
	case "and", "or":
		return worst(c.parts, func(p *condition) string { return p.demands(t, collection, negated) })
	case "not":
		return harder(advanced, c.parts[0].demands(t, collection, !negated))
	case "all":
		return unsupported
	case "any":
		switch {
		case c.of.relation:
			return unsupported
		case len(c.parts) == 0:
			return advanced
		}
		return c.parts[0].demands(t, c.of, negated)
	}
	path := c.of.path
	switch {
	case c.of.variable != "":
		path = slices.Concat(collection.path, path)
	case len(collection.path) > 0:
		return unsupported
	case c.of.count:
		return c.demandsOfCount(t)
	}
	name := strings.Join(path, "/")
	row, ok := capabilities()[t.name+":"+name]
	if !ok {
		row, ok = capabilities()[name]
	}
	if !ok {
		return notIndexed
	}
	need := ""
	switch c.op {
	case "startswith":
		need = row["startswith"]
	case "endswith":
		need = notIndexed
		if slices.Contains([]string{"mail", "otherMails", "userPrincipalName", "proxyAddresses"}, name) {
			need = advanced
		}
	case "contains":
		need = notIndexed
	case "gt", "ge":
		need = row["ge"]
	case "lt", "le":
		need = row["le"]
	default:
		need = row[c.op]
	}
	if slices.ContainsFunc(c.with, func(l literal) bool { return l.edm == "" }) && (c.op == "eq" || c.op == "ne") {
		need = row["null"]
		if c.op == "ne" {
			need = harder(need, advanced)
		}
	}
	if negated {
		need = harder(need, row["not"])
	}
	return need
}

func worst(parts []*condition, of func(*condition) string) string {
	need := always
	for _, p := range parts {
		need = harder(need, of(p))
	}
	return need
}

// harder is the more demanding of two.
func harder(a, b string) string {
	const order = always + advanced + notIndexed + unsupported
	if strings.Index(order, a) > strings.Index(order, b) {
		return a
	}
	return b
}
