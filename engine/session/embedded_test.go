package session_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/id"
	"github.com/tipring/tipring/engine/session"
	"github.com/tipring/tipring/engine/session/sessiontest"
)

func open(tb testing.TB, path string, o session.Options) session.Store {
	tb.Helper()
	s, err := session.OpenEmbedded(path, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func memory(tb testing.TB) session.Store {
	tb.Helper()
	s, err := session.OpenMemory()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = s.Close() })
	return s
}

func newEvent(call string, sequence uint64) engine.Event {
	return engine.Event{
		ID: id.New("evt"), Type: "call.test", Timestamp: time.Now(), Sequence: sequence, ProjectID: "p", CallID: call,
		Data: []byte(`{"direction":"inbound","from":"+4930123456","to":"+4930654321"}`),
	}
}

func TestEmbedded(t *testing.T) {
	path := ""
	sessiontest.Run(t, func(t *testing.T) session.Store {
		t.Helper()
		path = filepath.Join(t.TempDir(), "tipring.db")
		return open(t, path, session.Options{NoSync: true})
	}, func(t *testing.T, s session.Store) session.Store {
		t.Helper()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		return open(t, path, session.Options{NoSync: true})
	})
}

func TestMemory(t *testing.T) {
	sessiontest.Run(t, func(t *testing.T) session.Store {
		t.Helper()
		return memory(t)
	})
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	used := filepath.Join(dir, "used.db")
	open(t, used, session.Options{})
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte(strings.Repeat("no store ", 2000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		used:                            "in use by another process",
		file:                            "no store of Tipring",
		filepath.Join(file, "store.db"): "cannot be made",
		dir:                             "cannot be opened for writing",
	} {
		s, err := session.OpenEmbedded(path, session.Options{LockTimeout: 50 * time.Millisecond})
		if err == nil {
			_ = s.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path[:len(dir)]) {
			t.Errorf("open %s: %v, want an error with %q and the path", path, err, want)
		}
	}
}

func TestClosedStoreRefuses(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "tipring.db"), session.Options{})
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("closing again: %v", err)
	}
	if _, err := s.Append(t.Context(), []engine.Event{newEvent("c", 1)}); !errors.Is(err, session.ErrClosed) {
		t.Errorf("append: %v", err)
	}
	if _, err := s.Get(t.Context(), session.KindKey, "", "x"); !errors.Is(err, session.ErrClosed) {
		t.Errorf("get: %v", err)
	}
}

// TestCompact: a file that is half empty is smaller after the next opening, and holds the same.
func TestCompact(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tipring.db")
	o := session.Options{NoSync: true, CompactFrom: 1 << 20}
	s := open(t, path, o)
	old := time.Now().Add(-time.Hour)
	for i := range 10 {
		var events []engine.Event
		for j := range 60 {
			e := newEvent(fmt.Sprintf("call_%d", i), uint64(j+1))
			e.Timestamp, e.ClientState = old, strings.Repeat("x", 40_000)
			events = append(events, e)
		}
		if _, err := s.Append(t.Context(), events); err != nil {
			t.Fatal(err)
		}
	}
	last := newEvent("call_last", 1)
	cursors, err := s.Append(t.Context(), []engine.Event{last})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Prune(t.Context(), time.Now().Add(-time.Minute)); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before := size(t, path)
	s = open(t, path, o)
	if after := size(t, path); after*2 > before {
		t.Errorf("%d bytes became %d", before, after)
	}
	events, next, err := s.Events(t.Context(), "", "", 10)
	if err != nil || len(events) != 1 || events[0].ID != last.ID || next != cursors[0] {
		t.Errorf("after compacting: %v, next %s, %v", events, next, err)
	}
	if more, err := s.Append(t.Context(), []engine.Event{newEvent("call_last", 2)}); err != nil || more[0] == cursors[0] {
		t.Errorf("the cursors did not go on: %v, %v", more, err)
	}
}

func size(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}

// TestKill9: a process that is killed while many write loses nothing that it was told is written.
func TestKill9(t *testing.T) {
	if path := os.Getenv("SESSION_TEST_KILL9"); path != "" {
		writeUntilKilled(path)
		return
	}
	path := filepath.Join(t.TempDir(), "tipring.db")
	for round := range 3 {
		acknowledged := killWriter(t, path)
		s := open(t, path, session.Options{})
		written := map[string]bool{}
		for after := session.Cursor(""); ; {
			events, next, err := s.Events(t.Context(), "", after, 1000)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				written[e.ID] = true
			}
			if next == after {
				break
			}
			after = next
		}
		for _, id := range acknowledged {
			if strings.HasPrefix(id, "evt_") && !written[id] {
				t.Errorf("round %d: event %s was acknowledged and is lost", round, id)
			}
			if strings.HasPrefix(id, "num_") {
				if _, err := s.Get(t.Context(), session.KindNumber, "p", id); err != nil {
					t.Errorf("round %d: item %s was acknowledged: %v", round, id, err)
				}
			}
		}
		t.Logf("round %d: %d writes acknowledged, %d events in the log", round, len(acknowledged), len(written))
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// killWriter lets a child process write, kills it in the midst, and returns the ids that it said are written.
func killWriter(t *testing.T, path string) []string {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestKill9$")
	child.Env = append(os.Environ(), "SESSION_TEST_KILL9="+path)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	var ids []string
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if line := lines.Text(); strings.HasPrefix(line, "evt_") || strings.HasPrefix(line, "num_") {
			ids = append(ids, line)
		}
		if len(ids) == 1000 {
			_ = child.Process.Kill()
		}
	}
	_ = child.Wait()
	if len(ids) < 1000 {
		t.Fatalf("the child wrote only %d: %v", len(ids), lines.Err())
	}
	if !strings.HasSuffix(ids[len(ids)-1], "\x00") { // a line may be cut off by the kill
		ids = ids[:len(ids)-1]
	}
	return ids
}

func writeUntilKilled(path string) {
	s, err := session.OpenEmbedded(path, session.Options{})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	var mu sync.Mutex
	say := func(id string) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Println(id)
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 100_000 {
				e := newEvent(fmt.Sprintf("call_%d_%d", os.Getpid(), w), uint64(i+1))
				if _, err := s.Append(context.Background(), []engine.Event{e}); err != nil {
					return
				}
				say(e.ID)
				it := session.Item{Kind: session.KindNumber, Project: "p", ID: id.New("num"), Value: []byte(`{}`)}
				if err := s.Put(context.Background(), it); err != nil {
					return
				}
				say(it.ID)
			}
		})
	}
	wg.Wait()
}

func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("%d_writers", writers), func(b *testing.B) {
			s := open(b, filepath.Join(b.TempDir(), "tipring.db"), session.Options{})
			b.ReportAllocs()
			work := make(chan uint64)
			var wg sync.WaitGroup
			for w := range writers {
				wg.Go(func() {
					call := fmt.Sprintf("call_%d", w)
					for n := range work {
						e := newEvent(call, n)
						e.Call = &engine.CallRecord{Info: engine.CallInfo{ID: call, ProjectID: "p", State: engine.CallAnswered}}
						if _, err := s.Append(context.Background(), []engine.Event{e}); err != nil {
							b.Error(err)
						}
					}
				})
			}
			for n := uint64(1); b.Loop(); n++ {
				work <- n
			}
			close(work)
			wg.Wait()
		})
	}
}
