package cli

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/fobauth/fob/graph"
)

// longPatience is how long an export waits for a service, all waits together.
const longPatience = 2 * time.Hour

// snapshot is what "fob export --delta" remembers beside its file: from where
// to ask for changes.
type snapshot struct {
	Version int       `json:"version"`
	Address string    `json:"address"` // what is exported
	Link    string    `json:"link"`    // to the changes since
	Whole   bool      `json:"whole"`   // the file holds everything up to Link
	Updated time.Time `json:"updated"`
}

const snapshotVersion = 1

func snapshotFile(name string) string { return name + ".delta" }

// keepCurrent makes a snapshot, or applies to it what has changed since.
func (x *export) keepCurrent(ctx context.Context) error {
	state, err := x.loadSnapshot()
	if err != nil {
		return err
	}
	if state != nil && state.Whole && x.replace {
		state = nil
	}
	if state == nil || !state.Whole {
		return x.makeSnapshot(ctx, state)
	}
	m := x.inv.meter("")
	known, resync, link, err := x.changes(ctx, state.Link, m)
	m.clear()
	switch {
	case errors.Is(err, graph.ErrExpired):
		x.inv.note("the last run is too long ago to ask for changes; exporting everything again")
		if err := removeIfThere(snapshotFile(x.to)); err != nil {
			return err
		}
		x.replace = true
		return x.makeSnapshot(ctx, nil)
	case err != nil:
		return x.refused(err)
	}
	counts, err := x.apply(known, resync)
	if err != nil {
		return err
	}
	state.Link, state.Updated = link, time.Now().UTC()
	if err := x.saveSnapshot(state); err != nil {
		return err
	}
	if m.term.is || x.inv.flags.verbose {
		x.inv.note("%s: %d new, %d changed, %d removed", x.to, counts.added, counts.changed, counts.removed)
	}
	return nil
}

// makeSnapshot exports everything. The link to the changes is asked for first:
// what changes meanwhile comes with them, too late rather than never.
func (x *export) makeSnapshot(ctx context.Context, state *snapshot) error {
	_, err := os.Stat(graph.CheckpointFile(x.to))
	resumes := state != nil && err == nil
	if !resumes {
		if _, err := os.Stat(x.to); err == nil && !x.replace && state == nil {
			return &problem{status: StatusUsage, text: quoted(x.to) + " exists, and nothing says from where to ask for changes",
				fix: "choose another name, or say with --replace that it may be written over"}
		}
		latest, err := x.deltaAddress("$deltatoken=latest")
		switch {
		case err != nil:
			return err
		case len(x.related()) > 0:
			return x.makeWithRelations(ctx)
		}
		now := x.client.Delta(latest, x.header)
		for _, err := range now.Items(ctx) { // none, usually: they come with the export
			if err != nil {
				return x.refused(err)
			}
		}
		state = &snapshot{Version: snapshotVersion, Address: x.address, Link: now.Link(), Updated: time.Now().UTC()}
		if err := x.saveSnapshot(state); err != nil {
			return err
		}
	}
	// What an interrupted run left without a checkpoint is only its beginning.
	if err := x.toFile(ctx, true); err != nil {
		return err
	}
	state.Whole = true
	return x.saveSnapshot(state)
}

// makeWithRelations makes a snapshot that holds relations, too: lists have no
// $select for these, so all of it comes from the list of changes.
func (x *export) makeWithRelations(ctx context.Context) error {
	address, err := x.deltaAddress()
	if err != nil {
		return err
	}
	m := x.inv.meter("")
	known, _, link, err := x.changes(ctx, address, m)
	m.clear()
	if err != nil {
		return x.refused(err)
	}
	if err := replaceFile(x.to, func(io.Writer) error { return nil }); err != nil {
		return err
	}
	if _, err := x.apply(known, true); err != nil {
		return err
	}
	return x.saveSnapshot(&snapshot{Version: snapshotVersion, Address: x.address, Link: link, Whole: true, Updated: time.Now().UTC()})
}

// related are the relations that $select names.
func (x *export) related() []string {
	named := selected(x.target.RawQuery)
	return slices.DeleteFunc(slices.Clone(relations), func(relation string) bool {
		return !slices.ContainsFunc(named, func(name string) bool { return strings.EqualFold(name, relation) })
	})
}

// relations are what lists of changes tell of besides properties. A user has
// one manager, all others lead to many.
var relations = []string{"members", "owners", "manager", "registeredOwners", "registeredUsers", "scopedRoleMembers"}

// deltaAddress is the delta function of the collection, with more options.
func (x *export) deltaAddress(more ...string) (string, error) {
	u := *x.target
	var kept []string
	for option := range strings.SplitSeq(u.RawQuery, "&") {
		name, _, _ := strings.Cut(option, "=")
		switch name = strings.TrimPrefix(strings.ToLower(unescaped(name)), "$"); name {
		case "", "top":
		case "select":
			kept = append(kept, option)
		default:
			return "", &problem{status: StatusUsage, text: "--delta cannot be combined with $" + oneLine(name) + ": a list of changes has no such option", fix: "leave it out; $select is possible"}
		}
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + "/delta"
	u.RawPath = ""
	u.RawQuery = strings.Join(append(kept, more...), "&")
	return u.String(), nil
}

func (x *export) loadSnapshot() (*snapshot, error) {
	name := snapshotFile(x.to)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var state snapshot
	again := "remove it to export everything again"
	switch err := json.Unmarshal(text, &state); {
	case err != nil || state.Version != snapshotVersion:
		return nil, &problem{text: quoted(name) + " is damaged or of another version", fix: again}
	case state.Address != x.address:
		other, err := url.Parse(state.Address)
		if err != nil {
			other = &url.URL{}
		}
		return nil, &problem{status: StatusUsage, text: fmt.Sprintf("%s is kept current from %s, not from this address", quoted(x.to), quoted(other.Host+other.RequestURI())),
			fix: "choose another name, or " + strings.Replace(again, "it", name, 1)}
	}
	if _, err := os.Stat(x.to); state.Whole && errors.Is(err, fs.ErrNotExist) {
		return nil, nil // there is nothing to keep current
	}
	return &state, nil
}

func (x *export) saveSnapshot(state *snapshot) error {
	text, err := json.Marshal(state)
	if err != nil {
		return err
	}
	return replaceFile(snapshotFile(x.to), func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}

// change is the latest that is known about an item.
type change struct {
	item    jsontext.Value // nil: it is gone
	fresh   bool           // it is there again: nothing of what it was before is left
	turn    int            // in which order they came
	applied bool
}

// changes asks for what has changed since link.
func (x *export) changes(ctx context.Context, link string, m *meter) (known map[string]*change, resync bool, next string, err error) {
	list := newChangeList()
	d := x.client.Delta(link, x.header)
	for item, err := range d.Items(ctx) {
		if err != nil {
			return nil, false, "", err
		}
		if d.Resync() && !resync {
			resync, list = true, newChangeList()
		}
		if err := list.add(item); err != nil {
			return nil, false, "", err
		}
		if m.due() {
			m.show(thousands(int64(len(list.known))) + " changes")
		}
	}
	return list.known, resync || d.Resync(), d.Link(), nil
}

// changeList holds changes until all of them are there, for only then is the
// file touched.
type changeList struct {
	known map[string]*change
	left  int // bytes that it may still have
}

func newChangeList() *changeList {
	return &changeList{map[string]*change{}, 1 << 30} // two million users
}

// changeSize is about what a change takes beside its item.
const changeSize = 200

func (l *changeList) add(item jsontext.Value) error {
	id, removed, err := identify(item)
	if err != nil {
		return err
	}
	latest := l.known[id]
	if latest == nil {
		l.left -= changeSize + len(id)
	} else {
		l.left += len(latest.item)
	}
	switch {
	case removed:
		latest = &change{turn: len(l.known)}
	case latest == nil || latest.item == nil:
		latest = &change{item: item.Clone(), fresh: latest != nil, turn: len(l.known)}
	default:
		if latest.item, err = merge(latest.item, item); err != nil {
			return err
		}
	}
	l.known[id] = latest
	if l.left -= len(latest.item); l.left < 0 {
		return &problem{text: "the service tells of more than 1 GiB of changes, or of changes without end",
			fix: "name less with $select, or copy everything again: --replace"}
	}
	return nil
}

// identify returns the id of an item, and whether it says that it is gone.
func identify(item jsontext.Value) (id string, removed bool, err error) {
	if item.Kind() != '{' {
		return "", false, errors.New("an item that is no object")
	}
	d := jsontext.NewDecoder(bytes.NewReader(item), jsontext.AllowDuplicateNames(true))
	if _, err := d.ReadToken(); err != nil {
		return "", false, err
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return "", false, err
		}
		switch name.String() {
		case "id":
			value, err := d.ReadToken()
			if err != nil {
				return "", false, err
			}
			id = value.String()
			continue
		case "@removed":
			removed = true
		}
		if err := d.SkipValue(); err != nil {
			return "", false, err
		}
	}
	if id == "" {
		return "", false, &problem{text: "an item has no id, by which changes are applied", fix: "add id to the $select"}
	}
	return id, removed, nil
}

// merge returns old with the members of news in place of its own: a list of
// changes need not repeat what stayed the same. What it tells of a relation
// ("members@delta") is added to what it told before.
func merge(old, news jsontext.Value) (jsontext.Value, error) {
	fresh := map[string]jsontext.Value{}
	var order []string
	if err := eachMember(news, func(name string, value jsontext.Value) {
		if _, twice := fresh[name]; !twice {
			order = append(order, name)
		}
		fresh[name] = value.Clone()
	}); err != nil {
		return nil, err
	}
	merged := []byte{'{'}
	if err := eachMember(old, func(name string, value jsontext.Value) {
		if replaced, ok := fresh[name]; ok {
			if strings.HasSuffix(name, "@delta") && value.Kind() == '[' && replaced.Kind() == '[' {
				replaced = concatenate(value, replaced)
			}
			value = replaced
			delete(fresh, name)
		}
		merged = appendMember(merged, name, value)
	}); err != nil {
		return nil, err
	}
	for _, name := range order {
		if value, ok := fresh[name]; ok {
			merged = appendMember(merged, name, value)
		}
	}
	return append(merged, '}'), nil
}

// appendMember goes on with an object.
func appendMember(object []byte, name string, value jsontext.Value) []byte {
	if len(object) > 1 {
		object = append(object, ',')
	}
	object, _ = jsontext.AppendQuote(object, name) // only bad UTF-8 is an error, and is replaced
	return append(append(object, ':'), value...)
}

// concatenate joins two arrays.
func concatenate(a, b jsontext.Value) jsontext.Value {
	first, second := bytes.TrimSpace(a[1:len(a)-1]), bytes.TrimSpace(b[1:len(b)-1])
	joined := append([]byte{'['}, first...)
	if len(first) > 0 && len(second) > 0 {
		joined = append(joined, ',')
	}
	return append(append(joined, second...), ']')
}

// fold carries out what an item tells of its relations: "members@delta" adds to
// "members" and takes away from it. Relations that are not among related are
// left out: nobody knows what they were before.
func fold(item jsontext.Value, related []string) (jsontext.Value, error) {
	if !bytes.Contains(item, []byte("@delta")) {
		return item, nil
	}
	before, changed := map[string]jsontext.Value{}, map[string]bool{} // by the name of the relation
	if err := eachMember(item, func(name string, value jsontext.Value) {
		if relation, isDelta := strings.CutSuffix(name, "@delta"); isDelta {
			changed[relation] = slices.Contains(related, relation)
		} else if slices.Contains(related, name) {
			before[name] = value.Clone()
		}
	}); err != nil {
		return nil, err
	}
	folded := []byte{'{'}
	var failed error
	err := eachMember(item, func(name string, value jsontext.Value) {
		relation, isDelta := strings.CutSuffix(name, "@delta")
		switch {
		case isDelta && changed[relation]:
			list, err := relatives(before[relation], value)
			failed = errors.Join(failed, err)
			switch {
			case relation != "manager":
				value = append(append([]byte{'['}, bytes.Join(list, []byte{','})...), ']')
			case len(list) == 0:
				value = jsontext.Value("null")
			default:
				value = list[len(list)-1] // there is only one
			}
			folded = appendMember(folded, relation, value)
		case !isDelta && !changed[name]:
			folded = appendMember(folded, name, value)
		}
	})
	return append(folded, '}'), errors.Join(err, failed)
}

// relatives are those of before, a list or one of them, with changes carried
// out.
func relatives(before, changes jsontext.Value) (list [][]byte, err error) {
	at := map[string]int{} // by id, in list
	put := func(v jsontext.Value) error {
		id, removed, err := identify(v)
		i, known := at[id]
		switch {
		case err != nil:
			return err
		case removed && known:
			list[i] = nil
			delete(at, id)
		case removed:
		case known:
			list[i] = v.Clone()
		default:
			at[id] = len(list)
			list = append(list, v.Clone())
		}
		return nil
	}
	for _, v := range []jsontext.Value{before, changes} {
		switch v.Kind() {
		case '[':
			d := jsontext.NewDecoder(bytes.NewReader(v), jsontext.AllowDuplicateNames(true))
			d.ReadToken()
			for d.PeekKind() != ']' && err == nil {
				var one jsontext.Value
				if one, err = d.ReadValue(); err == nil {
					err = put(one)
				}
			}
		case '{':
			err = put(v)
		}
		if err != nil {
			return nil, err
		}
	}
	return slices.DeleteFunc(list, func(v []byte) bool { return v == nil }), nil
}

// eachMember goes through an object, all members included.
func eachMember(v jsontext.Value, do func(name string, value jsontext.Value)) error {
	d := jsontext.NewDecoder(bytes.NewReader(v), jsontext.AllowDuplicateNames(true))
	if _, err := d.ReadToken(); err != nil {
		return err
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		text := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return err
		}
		do(text, value)
	}
	return nil
}

type changeCounts struct{ added, changed, removed int }

// apply writes the file anew with the changes in it, in memory for these. When
// the service sent everything again, nothing of the old file stays.
func (x *export) apply(known map[string]*change, resync bool) (counts changeCounts, err error) {
	if len(known) == 0 && !resync {
		return counts, nil
	}
	related := x.related()
	err = replaceFile(x.to, func(w io.Writer) error {
		out := bufio.NewWriterSize(w, 128<<10)
		if err := eachLine(x.to, func(line jsontext.Value) error {
			id, _, err := identify(line)
			if err != nil {
				return err
			}
			latest := known[id]
			switch {
			case latest == nil && resync, latest != nil && latest.applied:
				counts.removed += boolInt(latest == nil)
				return nil
			case latest == nil:
			case latest.item == nil:
				latest.applied = true
				counts.removed++
				return nil
			default:
				latest.applied = true
				before := line
				if resync || latest.fresh {
					line = latest.item
				} else if line, err = merge(line, latest.item); err != nil {
					return err
				}
				if line, err = fold(line, related); err != nil {
					return err
				}
				counts.changed += boolInt(!bytes.Equal(before, line))
			}
			_, err = out.Write(append(line, '\n'))
			return err
		}); err != nil {
			return err
		}
		for _, latest := range slices.SortedFunc(maps.Values(known), func(a, b *change) int { return a.turn - b.turn }) {
			if latest.applied || latest.item == nil {
				continue
			}
			counts.added++
			item, err := fold(latest.item, related)
			if err == nil {
				err = item.Compact(jsontext.AllowDuplicateNames(true))
			}
			if err != nil {
				return err
			}
			if _, err := out.Write(append(item, '\n')); err != nil {
				return err
			}
		}
		return out.Flush()
	})
	return counts, err
}

// eachLine goes through an NDJSON file. The line is good until do returns.
func eachLine(name string, do func(jsontext.Value) error) error {
	file, err := os.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	in := bufio.NewReaderSize(file, 128<<10)
	var whole []byte
	for n := 1; ; n++ {
		whole = whole[:0]
		for {
			part, err := in.ReadSlice('\n')
			whole = append(whole, part...)
			if err == nil {
				break
			}
			if err == io.EOF {
				if len(bytes.TrimSpace(whole)) > 0 {
					return do(whole)
				}
				return nil
			}
			if err != bufio.ErrBufferFull {
				return err
			}
		}
		line := bytes.TrimSpace(whole)
		if len(line) == 0 {
			continue
		}
		if err := do(line); err != nil {
			return fmt.Errorf("line %d of %s: %w", n, name, err)
		}
	}
}

func removeIfThere(name string) error {
	if err := os.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// writeInto writes to a device or a pipe. Nobody wants /dev/null replaced.
func writeInto(name string, write func(io.Writer) error) error {
	to, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return &problem{text: "writing " + quoted(name), err: err}
	}
	return errors.Join(write(to), to.Close())
}

// replaceFile writes a file in one step and makes it last: whatever happens,
// there is the old one or the new one.
func replaceFile(name string, write func(io.Writer) error) error {
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		return writeInto(name, write)
	}
	temp, err := os.CreateTemp(filepath.Dir(name), ".fob-*")
	if err != nil {
		return &problem{text: "writing " + quoted(name), err: err}
	}
	err = write(temp)
	if err == nil {
		err = temp.Sync()
	}
	if closeErr := temp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(temp.Name(), name)
	}
	if err != nil {
		os.Remove(temp.Name())
	}
	return err
}
