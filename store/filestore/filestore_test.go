package filestore

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fobauth/fob"
	"github.com/fobauth/fob/store/storetest"
)

func TestStoreKeepsTheContract(t *testing.T) {
	storetest.Test(t, func(t *testing.T) fob.Store { return open(t, tempDir(t)) })
}

func TestStoresInOneDirectoryKeepTheContract(t *testing.T) {
	storetest.TestShared(t, func(t *testing.T) (one, other fob.Store) {
		dir := tempDir(t)
		return open(t, dir), open(t, dir)
	})
}

func TestOpenCreatesMissingParents(t *testing.T) {
	dir := filepath.Join(tempDir(t), "some", "where", "else")
	put(t, open(t, dir), "token-0a", "a")
	wantRecord(t, open(t, dir), "token-0a", "a")
}

func TestOpenRefusesAnEmptyName(t *testing.T) {
	if _, err := Open(""); err == nil {
		t.Fatal("no error")
	}
}

func TestOpenRefusesAFile(t *testing.T) {
	file := filepath.Join(tempDir(t), "file")
	writeFile(t, file, nil)
	if _, err := Open(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Fatalf("error %v, want one that names %s", err, file)
	}
}

func TestOpenLeavesTheDirectoryToItsOnlyRecords(t *testing.T) {
	s := open(t, tempDir(t))
	put(t, s, "token-0a", "a")
	put(t, s, "token-0a", "b")
	if names := dirNames(t, s.Dir()); !slices.Equal(names, []string{"key", "locks", "token-0a"}) {
		t.Errorf("the directory has %q", names)
	}
}

func TestDirIsAbsolute(t *testing.T) {
	t.Chdir(tempDir(t))
	if dir := open(t, "store").Dir(); !filepath.IsAbs(dir) || filepath.Base(dir) != "store" {
		t.Errorf("Dir is %s", dir)
	}
}

func TestNoMethodTakesAnInvalidKey(t *testing.T) {
	s := open(t, tempDir(t))
	before := dirNames(t, s.Dir())
	for _, key := range []string{
		"", "key", "locks", "token", "token-", "-0a", "Token-0a", "token-0A", "token-0g", "token-0a-0a",
		"../token-0a", "locks/token-0a", `a\token-0a`, ".tmp-0a", "token-0a.lock", "token-0a\x00", "tökén-0a",
		"token-" + strings.Repeat("0", 75),
	} {
		_, getErr := s.Get(t.Context(), key)
		_, lockErr := s.Lock(t.Context(), key)
		for method, err := range map[string]error{
			"Get": getErr, "Lock": lockErr, "Delete": s.Delete(t.Context(), key), "Put": s.Put(t.Context(), key, nil),
		} {
			if err == nil || errors.Is(err, fob.ErrNotStored) {
				t.Errorf("%s of %q: error %v, want one that calls the key wrong", method, key, err)
			}
		}
	}
	if after := dirNames(t, s.Dir()); !slices.Equal(after, before) {
		t.Errorf("the directory had %q and now has %q", before, after)
	}
}

func TestPutRefusesARecordThatIsTooLarge(t *testing.T) {
	s := open(t, tempDir(t))
	if err := s.Put(t.Context(), "token-0a", make([]byte, MaxRecord+1)); err == nil {
		t.Fatal("no error")
	}
	wantNotStored(t, s, "token-0a")
}

func TestAnEndedContextEndsEveryMethod(t *testing.T) {
	s := open(t, tempDir(t))
	put(t, s, "token-0a", "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, getErr := s.Get(ctx, "token-0a")
	_, lockErr := s.Lock(ctx, "token-0a")
	var listErr, verifyErr error
	for _, listErr = range s.List(ctx) {
	}
	for _, verifyErr = range s.Verify(ctx) {
	}
	for method, err := range map[string]error{
		"Get": getErr, "Lock": lockErr, "List": listErr, "Verify": verifyErr, "Clear": s.Clear(ctx),
		"Put": s.Put(ctx, "token-0a", nil), "Delete": s.Delete(ctx, "token-0a"),
	} {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: error %v, want context.Canceled", method, err)
		}
	}
	wantRecord(t, s, "token-0a", "a")
}

func TestRecordsAreSealed(t *testing.T) {
	s := open(t, tempDir(t))
	put(t, s, "token-0a", "a secret in plain sight")
	put(t, s, "token-0b", "a secret in plain sight")
	one, other := readFile(t, s.path("token-0a")), readFile(t, s.path("token-0b"))
	if bytes.Contains(one, []byte("secret")) {
		t.Error("the record can be read in the file")
	}
	if bytes.Equal(one[headerSize:headerSize+nonceSize], other[headerSize:headerSize+nonceSize]) {
		t.Error("two records have the same nonce")
	}
}

func TestADamagedRecordCountsAsNotStored(t *testing.T) {
	s := open(t, tempDir(t))
	put(t, s, "token-0a", "a")
	put(t, s, "token-0b", "b")
	whole, other := readFile(t, s.path("token-0a")), readFile(t, s.path("token-0b"))
	for name, content := range map[string][]byte{
		"empty":                       {},
		"text":                        []byte("this was never a record, but it is as long as one"),
		"only the header":             whole[:headerSize],
		"of a later format":           slices.Concat([]byte(magic), []byte{formatVersion + 1}, whole[headerSize:]),
		"followed by something":       append(slices.Clone(whole), 0),
		"written twice":               slices.Concat(whole, whole),
		"the record of another key":   other,
		"zeros, as after a power cut": make([]byte, len(whole)),
	} {
		t.Run(name, func(t *testing.T) {
			writeFile(t, s.path("token-0a"), content)
			wantDamaged(t, s, "token-0a")
		})
	}
	wantRecord(t, s, "token-0b", "b")
}

func TestEveryChangedOrMissingByteIsNoticed(t *testing.T) {
	k := newSealer(make([]byte, keySize))
	sealed := k.seal("token-0a", []byte("record"))
	if record, err := k.open("token-0a", sealed); err != nil || string(record) != "record" {
		t.Fatalf("open: %q, %v", record, err)
	}
	for i := range sealed {
		if _, err := k.open("token-0a", sealed[:i]); err == nil {
			t.Errorf("nobody noticed that %d bytes of %d are all there is", i, len(sealed))
		}
		for bit := range 8 {
			changed := slices.Clone(sealed)
			changed[i] ^= 1 << bit
			if _, err := k.open("token-0a", changed); err == nil {
				t.Errorf("nobody noticed the change of bit %d in byte %d", bit, i)
			}
		}
	}
}

func FuzzOpeningARecordNeverPanics(f *testing.F) {
	k := newSealer(make([]byte, keySize))
	sealed := k.seal("token-0a", []byte("record"))
	f.Add(sealed)
	f.Add(sealed[:headerSize])
	f.Add([]byte(nil))
	f.Fuzz(func(t *testing.T, content []byte) {
		record, err := k.open("token-0a", content)
		if err == nil && len(record)+int(sealOverhead) != len(content) {
			t.Fatalf("%x opened as %q", content, record)
		}
		if _, ok := errors.AsType[defect](err); err != nil && !ok {
			t.Fatalf("%x is refused with %v, which is no defect", content, err)
		}
	})
}

func TestAHugeFileIsRefusedInLittleMemory(t *testing.T) {
	s := open(t, tempDir(t))
	writeFile(t, s.path("token-0a"), nil)
	if err := os.Truncate(s.path("token-0a"), 1<<32); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	wantDamaged(t, s, "token-0a")
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > MaxRecord {
		t.Errorf("looking at it took %d bytes", used)
	}
}

func TestPutReplacesADamagedRecord(t *testing.T) {
	s := open(t, tempDir(t))
	writeFile(t, s.path("token-0a"), []byte("damaged"))
	put(t, s, "token-0a", "a")
	wantRecord(t, s, "token-0a", "a")
}

func TestDeleteRemovesADamagedRecord(t *testing.T) {
	s := open(t, tempDir(t))
	writeFile(t, s.path("token-0a"), []byte("damaged"))
	if err := s.Delete(t.Context(), "token-0a"); err != nil {
		t.Fatal(err)
	}
	wantNotStored(t, s, "token-0a")
}

func TestARecordSealedWithAnotherKeyIsDamaged(t *testing.T) {
	s, other := open(t, tempDir(t)), open(t, tempDir(t))
	put(t, other, "token-0a", "a")
	writeFile(t, s.path("token-0a"), readFile(t, other.path("token-0a")))
	wantDamaged(t, s, "token-0a")
}

func TestAKeyThatIsCutIsRefused(t *testing.T) {
	dir := tempDir(t)
	put(t, open(t, dir), "token-0a", "a")
	writeFile(t, filepath.Join(dir, keyName), []byte("short"))
	_, err := Open(dir)
	if err == nil || !strings.Contains(err.Error(), "fob cache clear") {
		t.Fatalf("open: error %v, want one that says what to do", err)
	}
	if err := Clear(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	wantNotStored(t, s, "token-0a")
	put(t, s, "token-0a", "b")
	wantRecord(t, s, "token-0a", "b")
}

func TestListYieldsTheKeysSorted(t *testing.T) {
	s := open(t, tempDir(t))
	for _, key := range []string{"token-0b", "account-0c", "token-0a"} {
		put(t, s, key, key)
	}
	writeFile(t, s.path("notes.txt"), nil)
	writeFile(t, s.path(tempPrefix+"0a"), nil)
	var keys []string
	for key, err := range s.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, key)
	}
	if want := []string{"account-0c", "token-0a", "token-0b"}; !slices.Equal(keys, want) {
		t.Errorf("listed %q, want %q", keys, want)
	}
}

func TestListCanBeLeftEarly(t *testing.T) {
	s := open(t, tempDir(t))
	put(t, s, "token-0a", "a")
	put(t, s, "token-0b", "b")
	for key := range s.List(t.Context()) {
		if key != "token-0a" {
			t.Errorf("went on to %s", key)
		}
		break
	}
}

func TestVerifyReportsGoodAndDamagedRecords(t *testing.T) {
	s := open(t, tempDir(t))
	put(t, s, "token-0a", "good")
	put(t, s, "token-0b", "bad")
	writeFile(t, s.path("token-0b"), []byte("damaged"))
	put(t, s, "token-0c", "good, too")
	then := time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC)
	if err := os.Chtimes(s.path("token-0a"), then, then); err != nil {
		t.Fatal(err)
	}
	var found []Record
	for r, err := range s.Verify(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		found = append(found, r)
	}
	if len(found) != 3 {
		t.Fatalf("found %d records, want 3: %v", len(found), found)
	}
	good, bad, last := found[0], found[1], found[2]
	if good.Key != "token-0a" || good.Err != nil || good.Size != sealOverhead+4 || !good.ModTime.Equal(then) {
		t.Errorf("of a good record it reports %+v", good)
	}
	if bad.Key != "token-0b" || !errors.Is(bad.Err, ErrDamaged) || bad.Size != 7 {
		t.Errorf("of a damaged record it reports %+v", bad)
	}
	if last.Key != "token-0c" || last.Err != nil {
		t.Errorf("of the record after a damaged one it reports %+v", last)
	}
}

func TestClearRemovesRecordsAndKey(t *testing.T) {
	s := open(t, tempDir(t))
	put(t, s, "token-0a", "a")
	writeFile(t, s.path("token-0b"), []byte("damaged"))
	if err := s.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	if names := dirNames(t, s.Dir()); !slices.Equal(names, []string{"locks"}) {
		t.Errorf("it left %q", names)
	}
}

func TestClearSaysWhatStays(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	for _, name := range []string{"account-00", "token-00", "token-01"} { // no files, and not empty
		if err := os.MkdirAll(filepath.Join(dir, name, "x"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	err := s.Clear(t.Context())
	if err == nil || !strings.Contains(err.Error(), "account-00") || !strings.HasSuffix(err.Error(), ", and 2 more of its records") {
		t.Errorf("the error is %v", err)
	}
	if _, err := os.Lstat(filepath.Join(dir, keyName)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the key is left: %v", err)
	}
}

func TestAStoreStartsOverAfterClear(t *testing.T) {
	s := open(t, tempDir(t))
	put(t, s, "token-0a", "old")
	key := readFile(t, s.path(keyName))
	if err := s.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantNotStored(t, s, "token-0a")
	put(t, s, "token-0a", "new")
	wantRecord(t, s, "token-0a", "new")
	if bytes.Equal(readFile(t, s.path(keyName)), key) {
		t.Error("the key is the old one")
	}
}

func TestAStoreFollowsWhenAnotherProcessClears(t *testing.T) {
	dir := tempDir(t)
	s, other := open(t, dir), open(t, dir)
	put(t, s, "token-0a", "old")
	if err := other.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, other, "token-0b", "theirs")
	wantRecord(t, s, "token-0b", "theirs")
	if err := other.Clear(t.Context()); err != nil {
		t.Fatal(err)
	}
	put(t, s, "token-0a", "ours")
	wantRecord(t, other, "token-0a", "ours")
	wantRecord(t, open(t, dir), "token-0a", "ours")
}

func TestClearingWhatDoesNotExistCreatesNothing(t *testing.T) {
	dir := filepath.Join(tempDir(t), "store")
	if err := Clear(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(dir); err == nil {
		t.Error("it created the directory")
	}
}

func TestTheFirstPutRemovesWhatCrashedWritersLeft(t *testing.T) {
	s := open(t, tempDir(t))
	old, young := s.path(tempPrefix+"OLD"), s.path(tempPrefix+"YOUNG")
	writeFile(t, old, []byte("half a reco"))
	writeFile(t, young, []byte("half a reco"))
	past := time.Now().Add(-tempLife - time.Minute)
	if err := os.Chtimes(old, past, past); err != nil {
		t.Fatal(err)
	}
	put(t, s, "token-0a", "a")
	if names := dirNames(t, s.Dir()); !slices.Equal(names, []string{filepath.Base(young), "key", "locks", "token-0a"}) {
		t.Errorf("the directory has %q", names)
	}
}

func TestTokensAndLocksOfLastWeekAreRemoved(t *testing.T) {
	s := open(t, tempDir(t))
	for _, key := range []string{"account-01", "token-02", "token-03", "token-04", "upload-06"} {
		put(t, s, key, "a")
		unlock, err := s.Lock(t.Context(), key)
		if err != nil {
			t.Fatal(err)
		}
		if key == "token-04" {
			defer unlock() // somebody has it
		} else {
			unlock()
		}
		if key == "token-03" {
			continue // is younger
		}
		past := time.Now().Add(-tokenLife - time.Minute)
		for _, name := range []string{key, filepath.Join(locksName, key+".lock")} {
			if err := os.Chtimes(s.path(name), past, past); err != nil {
				t.Fatal(err)
			}
		}
	}
	put(t, s, "token-05", "a")
	if _, err := s.Get(t.Context(), "token-02"); err != nil {
		t.Errorf("they are looked for at every put: %v", err)
	}
	next := open(t, s.Dir())
	put(t, next, "token-05", "a")
	if names := dirNames(t, s.Dir()); !slices.Equal(names, []string{"account-01", "key", "locks", "token-03", "token-05", "upload-06"}) {
		t.Errorf("the directory has %q", names)
	}
	want := []string{"account-01.lock", "key.lock", "token-03.lock", "token-04.lock"}
	if names := dirNames(t, s.path(locksName)); !slices.Equal(names, want) {
		t.Errorf("there are the locks %q, want %q", names, want)
	}
}

func TestAPutThatCannotFinishLeavesNothingBehind(t *testing.T) {
	s := open(t, tempDir(t))
	if err := os.MkdirAll(s.path("token-0a/occupied"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(t.Context(), "token-0a", []byte("a")); err == nil || !strings.Contains(err.Error(), s.path("token-0a")) {
		t.Errorf("put: error %v, want one that names the file", err)
	}
	if names := dirNames(t, s.Dir()); !slices.Equal(names, []string{"key", "locks", "token-0a"}) {
		t.Errorf("the directory has %q", names)
	}
}

func TestUnlockingTwiceIsHarmless(t *testing.T) {
	s := open(t, tempDir(t))
	unlock, err := s.Lock(t.Context(), "token-0a")
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	unlock() // a mistake
	if unlock, err = s.Lock(t.Context(), "token-0a"); err != nil {
		t.Fatal(err)
	}
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := s.Lock(ctx, "token-0a"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second lock: error %v, want context.DeadlineExceeded", err)
	}
}

// BenchmarkGet reads a record the size of a stored token; ×ReadFile says how
// many times as long that takes as reading a plain file of the same size.
func BenchmarkGet(b *testing.B) {
	s := open(b, tempDir(b))
	put(b, s, "token-0a", strings.Repeat("x", 3000))
	benchmarkBesideReadFile(b, s, func() error {
		_, err := s.Get(b.Context(), "token-0a")
		return err
	})
}

// BenchmarkOpenAndGet is what a command does that prints a stored token.
func BenchmarkOpenAndGet(b *testing.B) {
	s := open(b, tempDir(b))
	put(b, s, "token-0a", strings.Repeat("x", 3000))
	benchmarkBesideReadFile(b, s, func() error {
		s, err := Open(s.Dir())
		if err != nil {
			return err
		}
		defer s.Close()
		_, err = s.Get(b.Context(), "token-0a")
		return err
	})
}

// BenchmarkPut is dominated by two flushes to the disk.
func BenchmarkPut(b *testing.B) {
	s := open(b, tempDir(b))
	record := make([]byte, 3000)
	for b.Loop() {
		if err := s.Put(b.Context(), "token-0a", record); err != nil {
			b.Fatal(err)
		}
	}
}

func benchmarkBesideReadFile(b *testing.B, s *Store, get func() error) {
	b.ReportAllocs()
	for b.Loop() {
		if err := get(); err != nil {
			b.Fatal(err)
		}
	}
	took := b.Elapsed()
	start := time.Now()
	for range b.N {
		if _, err := os.ReadFile(s.path("token-0a")); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(took)/float64(time.Since(start)), "×ReadFile")
}

func open(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func put(t testing.TB, s *Store, key, record string) {
	t.Helper()
	if err := s.Put(t.Context(), key, []byte(record)); err != nil {
		t.Fatal(err)
	}
}

func wantRecord(t testing.TB, s *Store, key, want string) {
	t.Helper()
	record, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if string(record) != want {
		t.Fatalf("got %q, want %q", record, want)
	}
}

func wantNotStored(t testing.TB, s *Store, key string) {
	t.Helper()
	if _, err := s.Get(t.Context(), key); !errors.Is(err, fob.ErrNotStored) || errors.Is(err, ErrDamaged) {
		t.Fatalf("get: error %v, want only fob.ErrNotStored", err)
	}
}

func wantDamaged(t testing.TB, s *Store, key string) {
	t.Helper()
	_, err := s.Get(t.Context(), key)
	if !errors.Is(err, fob.ErrNotStored) || !errors.Is(err, ErrDamaged) {
		t.Fatalf("get: error %v, want ErrDamaged and fob.ErrNotStored", err)
	}
	if !strings.Contains(err.Error(), s.path(key)) {
		t.Fatalf("the error does not name the file: %v", err)
	}
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func writeFile(t testing.TB, path string, content []byte) {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
}

func dirNames(t testing.TB, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// tempDir returns a new directory that only the user can write, which that of
// t.TempDir is not under every umask.
func tempDir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	return dir
}
