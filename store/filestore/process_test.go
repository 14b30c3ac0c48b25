package filestore

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fobauth/fob"
)

// These tests run the test binary again as other processes that use the store.
const (
	childRole = "FILESTORE_TEST_ROLE"
	childDir  = "FILESTORE_TEST_DIR"
	// childFailed is not the status of a killed process on any system.
	childFailed = 3
)

var childRoles = map[string]func(dir string) error{
	"put without end": putWithoutEnd,
	"increment":       incrementCounter,
	"open first":      openFirst,
	"hold a lock":     holdLock,
}

func TestMain(m *testing.M) {
	if role := os.Getenv(childRole); role != "" {
		if err := childRoles[role](os.Getenv(childDir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(childFailed)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// plainBinary builds these tests without the race detector, which makes a
// process several times as dear to start: too dear for a thousand, and it has
// nothing to find in a role that does one thing after the other.
func plainBinary(t *testing.T) string {
	t.Helper()
	if !raceEnabled {
		return os.Args[0]
	}
	path := filepath.Join(t.TempDir(), "plain.exe")
	build := exec.Command("go", "test", "-c", "-race=false", "-trimpath", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return path
}

// child prepares a process with a role. It ends with the test.
func child(t *testing.T, role, dir string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	// With the race detector every process would sleep for a second at its end.
	cmd.Env = append(os.Environ(), childRole+"="+role, childDir+"="+dir, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	return cmd
}

var crashKeys = []string{"account-00", "token-01", "token-02"}

// crashRecord is record number n. Its size, up to 40 KiB, and every word of it
// follow from n, so that a torn or mixed record shows.
func crashRecord(n uint64) []byte {
	words := 2 + n*7919%5000
	record := make([]byte, 0, 8*words)
	for i := range words {
		record = binary.BigEndian.AppendUint64(record, n*(i+1))
	}
	return record
}

// crashNumber returns the number of a record, and that there is such a record.
func crashNumber(record []byte) (n uint64, ok bool) {
	if len(record) < 8 {
		return 0, false
	}
	n = binary.BigEndian.Uint64(record)
	return n, bytes.Equal(record, crashRecord(n))
}

// putWithoutEnd puts one numbered record after the other and prints the number
// of each that is stored.
func putWithoutEnd(dir string) error {
	s, err := Open(dir)
	if err != nil {
		return err
	}
	ctx := context.Background()
	var n uint64
	for _, key := range crashKeys {
		record, err := s.Get(ctx, key)
		if errors.Is(err, fob.ErrNotStored) {
			continue
		}
		if err != nil {
			return err
		}
		stored, _ := crashNumber(record)
		n = max(n, stored)
	}
	for {
		n++
		if err := s.Put(ctx, crashKeys[n%3], crashRecord(n)); err != nil {
			return err
		}
		fmt.Println(n)
	}
}

func TestNoRecordIsDamagedOrLostWhenProcessesAreKilled(t *testing.T) {
	const shards = 4
	kills := 1000
	if testing.Short() {
		kills = 50
	}
	var left, puts atomic.Int64
	left.Store(int64(kills))
	program := plainBinary(t)
	t.Run("shards", func(t *testing.T) {
		for range shards {
			t.Run("", func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(tempDir(t), "store")
				acknowledged := make(map[string]uint64)
				for left.Add(-1) >= 0 && !t.Failed() {
					last := killWriter(t, program, dir, acknowledged)
					checkAfterKill(t, dir, acknowledged, last)
				}
				puts.Add(int64(max(acknowledged[crashKeys[0]], acknowledged[crashKeys[1]], acknowledged[crashKeys[2]])))
			})
		}
	})
	t.Logf("%d kills, %d acknowledged puts", kills, puts.Load())
}

// killWriter starts a writer and kills it after some records and some time, both
// at random. It notes by key what the writer acknowledged and returns the last
// number ever acknowledged.
func killWriter(t *testing.T, program, dir string, acknowledged map[string]uint64) (last uint64) {
	cmd := child(t, "put without end", dir)
	cmd.Path = program
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	records, delay := rand.IntN(4), rand.N(3*time.Millisecond)
	if records == 0 {
		delay *= 5 // it has to start and to open the store first
	}
	kill := func() { time.AfterFunc(delay, func() { cmd.Process.Kill() }) }
	lines := bufio.NewScanner(stdout)
	for i := 0; ; i++ {
		if i == records {
			kill()
		}
		if !lines.Scan() {
			break
		}
		if last, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
			t.Fatalf("the writer printed %q", lines.Text())
		}
		acknowledged[crashKeys[last%3]] = last
	}
	err = cmd.Wait()
	if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() == childFailed {
		t.Fatalf("the writer was not killed: %v", err)
	}
	for _, n := range acknowledged {
		last = max(last, n)
	}
	return last
}

func checkAfterKill(t *testing.T, dir string, acknowledged map[string]uint64, last uint64) {
	s, err := Open(dir)
	if err != nil {
		t.Fatalf("opening the store after a kill: %v", err)
	}
	defer s.Close()
	for _, key := range crashKeys {
		record, err := s.Get(t.Context(), key)
		if errors.Is(err, fob.ErrNotStored) && !errors.Is(err, ErrDamaged) && acknowledged[key] == 0 {
			continue
		}
		if err != nil {
			t.Fatalf("%s, acknowledged %d: %v", key, acknowledged[key], err)
		}
		n, ok := crashNumber(record)
		switch {
		case !ok || crashKeys[n%3] != key:
			t.Fatalf("%s has a record of %d bytes that nobody put", key, len(record))
		case n < acknowledged[key]:
			t.Fatalf("%s went back to record %d, but %d was acknowledged", key, n, acknowledged[key])
		case n > last+1:
			t.Fatalf("%s has record %d, but the last put was of %d", key, n, last+1)
		}
		// It may be one that was stored, but killed before it was acknowledged.
		acknowledged[key] = n
	}
}

const counterKey = "token-00"

// incrementCounter adds to a counter in the store a few times.
func incrementCounter(dir string) error {
	s, err := Open(dir)
	if err != nil {
		return err
	}
	increment := func() error {
		unlock, err := s.Lock(context.Background(), counterKey)
		if err != nil {
			return err
		}
		defer unlock()
		var n uint64
		record, err := s.Get(context.Background(), counterKey)
		if err == nil {
			n = binary.BigEndian.Uint64(record)
		} else if !errors.Is(err, fob.ErrNotStored) {
			return err
		}
		return s.Put(context.Background(), counterKey, binary.BigEndian.AppendUint64(nil, n+1))
	}
	for range 4 {
		if err := increment(); err != nil {
			return err
		}
	}
	return nil
}

func TestNoUpdateOf64ProcessesIsLost(t *testing.T) {
	countWith64Processes(t, open(t, tempDir(t)))
}

func TestNoUpdateIsLostWhileLocksAreRemoved(t *testing.T) {
	s := open(t, tempDir(t))
	var removing sync.WaitGroup
	var counted atomic.Bool
	var removed int
	name := filepath.Join(locksName, counterKey+".lock")
	removing.Go(func() {
		for !counted.Load() {
			before, err := s.root.Lstat(name)
			s.removeLock(filepath.Base(name))
			if after, errAfter := s.root.Lstat(name); err == nil && (errAfter != nil || !os.SameFile(before, after)) {
				removed++
			}
		}
	})
	countWith64Processes(t, s)
	counted.Store(true)
	removing.Wait()
	if removed == 0 && runtime.GOOS != "windows" {
		t.Error("no lock was ever removed")
	}
}

func countWith64Processes(t *testing.T, s *Store) {
	const processes = 64
	var wg sync.WaitGroup
	for range processes {
		wg.Go(func() {
			if err := child(t, "increment", s.Dir()).Run(); err != nil {
				t.Errorf("a process: %v", err)
			}
		})
	}
	wg.Wait()
	record, err := s.Get(t.Context(), counterKey)
	if err != nil {
		t.Fatal(err)
	}
	if n := binary.BigEndian.Uint64(record); n != 4*processes {
		t.Errorf("%d processes counted to %d, want %d", processes, n, 4*processes)
	}
}

const firstDirs = 10

// openFirst waits for the end of its input and then opens one new store after
// the other, as others do that wait for the same. In each it puts a record.
func openFirst(dir string) error {
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	for i := range firstDirs {
		s, err := Open(filepath.Join(dir, strconv.Itoa(i), "store"))
		if err != nil {
			return err
		}
		if err := s.Put(context.Background(), fmt.Sprintf("token-%x", os.Getpid()), []byte(dir)); err != nil {
			return err
		}
	}
	return nil
}

func TestProcessesThatStartAtOnceAgreeOnOneKey(t *testing.T) {
	const processes = 32
	dir := tempDir(t)
	start, startWriter, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer start.Close()
	defer startWriter.Close()
	var children []*exec.Cmd
	for range processes {
		cmd := child(t, "open first", dir)
		cmd.Stdin = start
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		children = append(children, cmd)
	}
	startWriter.Close() // they all see the end of their input now
	for _, cmd := range children {
		if err := cmd.Wait(); err != nil {
			t.Errorf("a process: %v", err)
		}
	}
	for i := range firstDirs {
		s := open(t, filepath.Join(dir, strconv.Itoa(i), "store"))
		for _, cmd := range children {
			wantRecord(t, s, fmt.Sprintf("token-%x", cmd.Process.Pid), dir)
		}
		if names := strings.Join(dirNames(t, s.Dir()), " "); strings.Contains(names, tempPrefix) {
			t.Errorf("store %d has temporary files: %s", i, names)
		}
	}
}

// holdLock locks a key, says so and keeps it until its input ends.
func holdLock(dir string) error {
	s, err := Open(dir)
	if err != nil {
		return err
	}
	if _, err := s.Lock(context.Background(), counterKey); err != nil {
		return err
	}
	fmt.Println("locked")
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func TestTheLockOfAKilledProcessIsFree(t *testing.T) {
	s := open(t, tempDir(t))
	cmd := child(t, "hold a lock", s.Dir())
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(stdout).ReadString('\n'); line != "locked\n" {
		t.Fatalf("the process printed %q, %v", line, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.Lock(ctx, counterKey); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("locking what another process holds: error %v, want context.DeadlineExceeded", err)
	}
	cmd.Process.Kill()
	cmd.Wait()
	unlock, err := s.Lock(t.Context(), counterKey)
	if err != nil {
		t.Fatal(err)
	}
	unlock()
}
