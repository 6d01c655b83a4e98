package session_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// faultyStore is a store whose writes fail, or wait, as long as it is told so.
type faultyStore struct {
	session.Store
	broken atomic.Bool
	gate   chan struct{} // if set, an Append takes one from it
}

func (s *faultyStore) Append(ctx context.Context, events []engine.Event) ([]session.Cursor, error) {
	if s.broken.Load() {
		return nil, errors.New("disk full")
	}
	if s.gate != nil {
		select {
		case <-s.gate:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return s.Store.Append(ctx, events)
}

func newLog(tb testing.TB, s session.Store, o session.LogOptions) *session.Log {
	tb.Helper()
	l := session.NewLog(s, o)
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_ = l.Close(ctx)
	})
	return l
}

// next takes an event, which must come.
func next(t *testing.T, f *session.Follower) session.Logged {
	t.Helper()
	select {
	case e, ok := <-f.Events():
		if !ok {
			t.Fatalf("the follower is over: %v", f.Err())
		}
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("no event came")
	}
	return session.Logged{}
}

// over waits for the follower's end.
func over(t *testing.T, f *session.Follower) error {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case _, ok := <-f.Events():
			if !ok {
				return f.Err()
			}
		case <-deadline:
			t.Fatal("the follower did not end")
		}
	}
}

func waitFor(t *testing.T, what string, f func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !f(); {
		if time.Now().After(deadline) {
			t.Fatalf("never came: %s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

// TestBacklogIsReadWithoutPause: a follower far behind reads page after page; it waits only at the end of the log.
func TestBacklogIsReadWithoutPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := session.OpenMemory()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		events := make([]engine.Event, 1000)
		for i := range events {
			events[i] = newEvent("call_1", uint64(i+1))
		}
		for range 2 {
			if _, err := s.Append(t.Context(), events); err != nil {
				t.Fatal(err)
			}
		}
		l := session.NewLog(s, session.LogOptions{})
		ctx, cancel := context.WithCancel(t.Context())
		start := time.Now()
		f := l.Follow(ctx, session.FollowOptions{})
		for range 2000 {
			<-f.Events()
		}
		if waited := time.Since(start); waited != 0 { // the bubble's clock moves only when all wait
			t.Errorf("it waited %v in the midst of the backlog", waited)
		}
		cancel()
		if err := l.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestFollowerSeesBacklogThenLive(t *testing.T) {
	l := newLog(t, memory(t), session.LogOptions{})
	for i := range 700 { // more than a page
		l.Publish(newEvent("call_1", uint64(i+1)))
	}
	waitFor(t, "all written", func() bool { return l.Stats().Written == 700 })
	f := l.Follow(t.Context(), session.FollowOptions{})
	for i := range 700 {
		if i == 350 {
			l.Publish(newEvent("call_1", 701))
		}
		if e := next(t, f); e.Sequence != uint64(i+1) {
			t.Fatalf("event %d has sequence %d", i, e.Sequence)
		}
	}
	if e := next(t, f); e.Sequence != 701 {
		t.Fatalf("behind the backlog came %d", e.Sequence)
	}
}

// TestFollowersMissNothing: followers that begin anywhere, while others write, get what follows: no gap, no duplicate.
func TestFollowersMissNothing(t *testing.T) {
	const calls, each = 4, 400
	l := newLog(t, memory(t), session.LogOptions{Recent: 200, Gap: 2 * time.Millisecond})
	var wg sync.WaitGroup
	for c := range calls {
		wg.Go(func() {
			for i := range each {
				l.Publish(newEvent(fmt.Sprintf("call_%d", c), uint64(i+1)))
			}
		})
	}
	var cursors []session.Cursor // one of each follower's place
	first := l.Follow(t.Context(), session.FollowOptions{CatchUp: true})
	for range 6 {
		for range 50 {
			next(t, first)
		}
		cursors = append(cursors, next(t, first).Cursor)
	}
	var mu sync.Mutex
	rests := make([][]string, len(cursors))
	for i, c := range cursors {
		wg.Go(func() {
			f := l.Follow(t.Context(), session.FollowOptions{After: c, CatchUp: true})
			var got []string
			for range calls*each - (i+1)*51 {
				select {
				case e := <-f.Events():
					got = append(got, e.ID)
				case <-time.After(30 * time.Second):
					t.Errorf("follower %d stands still behind %d events: %+v", i, len(got), l.Stats())
					return
				}
			}
			mu.Lock()
			defer mu.Unlock()
			rests[i] = got
		})
	}
	wg.Wait()
	for i, rest := range rests {
		if whole := rests[0][i*51:]; strings.Join(rest, " ") != strings.Join(whole, " ") {
			t.Errorf("follower %d saw another order or other events than the first", i)
		}
	}
}

func TestFollowFromNowAndFilters(t *testing.T) {
	l := newLog(t, memory(t), session.LogOptions{})
	l.Publish(newEvent("call_old", 1))
	waitFor(t, "written", func() bool { return l.Stats().Written == 1 })
	f := l.Follow(t.Context(), session.FollowOptions{
		FromNow: true, Project: "p2", Match: func(e *engine.Event) bool { return e.CallID == "call_2" },
	})
	for _, e := range []engine.Event{newEvent("call_2", 1), newEvent("call_1", 1), newEvent("call_2", 2)} {
		other := e
		other.ID += "x"
		e.ProjectID = "p2"
		l.Publish(other)
		l.Publish(e)
	}
	for want := range uint64(2) {
		if e := next(t, f); e.CallID != "call_2" || e.ProjectID != "p2" || e.Sequence != want+1 {
			t.Fatalf("got %+v", e)
		}
	}
}

func TestAnswerComesWithLiveEventsOnly(t *testing.T) {
	s := memory(t)
	l := newLog(t, s, session.LogOptions{})
	live := l.Follow(t.Context(), session.FollowOptions{})
	var answered atomic.Int32
	for i := range 50 {
		e := newEvent("call_1", uint64(i+1))
		e.Answer = func(*engine.Instructions, error) { answered.Add(1) }
		l.Publish(e)
	}
	for range 50 {
		if e := next(t, live); e.Answer == nil {
			t.Fatalf("event %d of this process has no Answer", e.Sequence)
		} else {
			e.Answer(nil, nil)
		}
	}
	if answered.Load() != 50 {
		t.Errorf("%d answers arrived", answered.Load())
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	again := newLog(t, s, session.LogOptions{}) // the process was started again
	if e := next(t, again.Follow(t.Context(), session.FollowOptions{})); e.Answer != nil || e.Sequence != 1 {
		t.Errorf("an event of another life: answer set %v, sequence %d", e.Answer != nil, e.Sequence)
	}
}

func TestSlowFollowerLags(t *testing.T) {
	l := newLog(t, memory(t), session.LogOptions{})
	f := l.Follow(t.Context(), session.FollowOptions{FromNow: true, Buffer: 10})
	patient := l.Follow(t.Context(), session.FollowOptions{FromNow: true, Buffer: 10, CatchUp: true})
	for i := range 100 {
		l.Publish(newEvent("call_1", uint64(i+1)))
	}
	waitFor(t, "all written", func() bool { return l.Stats().Written == 100 })
	if err := over(t, f); !errors.Is(err, session.ErrLagged) {
		t.Errorf("the slow follower ended with %v", err)
	}
	for i := range 100 {
		if e := next(t, patient); e.Sequence != uint64(i+1) {
			t.Fatalf("the one that catches up got %d, want %d", e.Sequence, i+1)
		}
	}
}

func TestFollowerFallsOutOfMemory(t *testing.T) {
	l := newLog(t, memory(t), session.LogOptions{Recent: 8})
	f := l.Follow(t.Context(), session.FollowOptions{CatchUp: true})
	for i := range 100 {
		l.Publish(newEvent("call_1", uint64(i+1)))
		if i == 0 {
			if e := next(t, f); e.Sequence != 1 {
				t.Fatal(e.Sequence)
			}
		}
	}
	waitFor(t, "all written", func() bool { return l.Stats().Written == 100 })
	for i := range 99 {
		if e := next(t, f); e.Sequence != uint64(i+2) {
			t.Fatalf("got %d, want %d", e.Sequence, i+2)
		}
	}
}

func TestFollowerEnds(t *testing.T) {
	l := newLog(t, memory(t), session.LogOptions{})
	ctx, cancel := context.WithCancel(t.Context())
	byContext := l.Follow(ctx, session.FollowOptions{})
	badCursor := l.Follow(t.Context(), session.FollowOptions{After: "!"})
	byLog := l.Follow(t.Context(), session.FollowOptions{})
	cancel()
	if err := over(t, byContext); !errors.Is(err, context.Canceled) {
		t.Errorf("by its context: %v", err)
	}
	if err := over(t, badCursor); !errors.Is(err, session.ErrCursor) {
		t.Errorf("by its cursor: %v", err)
	}
	l.Publish(newEvent("call_1", 1))
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if e := next(t, byLog); e.Sequence != 1 {
		t.Errorf("the last event is %+v", e)
	}
	if err := over(t, byLog); !errors.Is(err, session.ErrClosed) {
		t.Errorf("by the log: %v", err)
	}
	waitFor(t, "no follower is left", func() bool { return l.Stats().Followers == 0 })
}

func TestFullQueueDropsAndSaysSo(t *testing.T) {
	s := &faultyStore{Store: memory(t), gate: make(chan struct{})}
	l := newLog(t, s, session.LogOptions{Queue: 100})
	for i := range 49 {
		l.Publish(newEvent("call_1", uint64(i+1)))
	}
	if !l.Healthy() {
		t.Error("unhealthy below the half")
	}
	l.Publish(newEvent("call_1", 50))
	if l.Healthy() {
		t.Error("healthy with a half-full queue")
	}
	for i := range 50 {
		l.Publish(newEvent("call_1", uint64(i+51)))
	}
	var refused error
	e := newEvent("call_1", 101)
	e.Answer = func(_ *engine.Instructions, err error) { refused = err }
	l.Publish(e)
	if st := l.Stats(); st.Dropped != 1 || st.Queued != 100 || st.Published != 100 || !errors.Is(refused, session.ErrDropped) {
		t.Errorf("stats %+v, answer %v", st, refused)
	}
	close(s.gate)
	waitFor(t, "all written", func() bool { return l.Stats().Written == 100 })
	waitFor(t, "healthy again", l.Healthy)
}

func TestStoreErrorsDelayEventsOnly(t *testing.T) {
	s := &faultyStore{Store: memory(t)}
	s.broken.Store(true)
	l := newLog(t, s, session.LogOptions{})
	f := l.Follow(t.Context(), session.FollowOptions{})
	for i := range 10 {
		l.Publish(newEvent("call_1", uint64(i+1)))
	}
	waitFor(t, "two attempts", func() bool { return l.Stats().Retries >= 2 })
	if st := l.Stats(); st.Written != 0 || st.Queued != 10 {
		t.Errorf("stats %+v", st)
	}
	s.broken.Store(false)
	for i := range 10 {
		if e := next(t, f); e.Sequence != uint64(i+1) {
			t.Fatalf("got %d, want %d", e.Sequence, i+1)
		}
	}
}

// TestBrokenEventDoesNotStopTheLog: what can never be written is dropped; the others go on.
func TestBrokenEventDoesNotStopTheLog(t *testing.T) {
	s := &faultyStore{Store: memory(t), gate: make(chan struct{})}
	l := newLog(t, s, session.LogOptions{})
	f := l.Follow(t.Context(), session.FollowOptions{})
	bad := newEvent("call_1", 2)
	bad.Data = []byte(`{"broken`)
	var refused atomic.Value
	bad.Answer = func(_ *engine.Instructions, err error) { refused.Store(err) }
	l.Publish(newEvent("call_1", 1))
	l.Publish(bad)
	l.Publish(newEvent("call_1", 3))
	close(s.gate)
	if a, b := next(t, f), next(t, f); a.Sequence != 1 || b.Sequence != 3 {
		t.Fatalf("got %d and %d", a.Sequence, b.Sequence)
	}
	if st := l.Stats(); st.Dropped != 1 || !errors.Is(refused.Load().(error), session.ErrDropped) {
		t.Errorf("stats %+v, answer %v", st, refused.Load())
	}
}

func TestCloseWritesWhatIsQueued(t *testing.T) {
	s := memory(t)
	l := session.NewLog(s, session.LogOptions{Batch: 7})
	for i := range 500 {
		l.Publish(newEvent("call_1", uint64(i+1)))
	}
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	events, err := s.CallEvents(t.Context(), "p", "call_1", 0, 1000)
	if err != nil || len(events) != 500 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	l.Publish(newEvent("call_1", 501))
	if st := l.Stats(); st.Dropped != 1 || l.Healthy() {
		t.Errorf("a closed log took an event: %+v", st)
	}
}

func TestCloseGivesUpWithItsContext(t *testing.T) {
	s := &faultyStore{Store: memory(t)}
	s.broken.Store(true)
	l := session.NewLog(s, session.LogOptions{})
	answers := make(chan error, 1)
	e := newEvent("call_1", 1)
	e.Answer = func(_ *engine.Instructions, err error) { answers <- err }
	l.Publish(e)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Close(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("close: %v", err)
	}
	if err := <-answers; !errors.Is(err, session.ErrDropped) || l.Stats().Dropped != 1 {
		t.Errorf("answer %v, stats %+v", err, l.Stats())
	}
}

func TestWaitCall(t *testing.T) {
	l := newLog(t, memory(t), session.LogOptions{})
	none, cancel := context.WithCancel(t.Context())
	cancel()
	if events, err := l.WaitCall(none, "p", "call_1", 0, 10); err != nil || len(events) != 0 {
		t.Fatalf("without patience: %v, %v", events, err)
	}
	l.Publish(newEvent("call_1", 1))
	waitFor(t, "written", func() bool { return l.Stats().Written == 1 })
	if events, err := l.WaitCall(none, "p", "call_1", 0, 10); err != nil || len(events) != 1 {
		t.Fatalf("what is there needs no patience: %v, %v", events, err)
	}
	got := make(chan []session.Logged)
	go func() {
		events, err := l.WaitCall(t.Context(), "p", "call_1", 1, 10)
		if err != nil {
			t.Error(err)
		}
		got <- events
	}()
	l.Publish(newEvent("call_2", 1)) // another's
	l.Publish(newEvent("call_1", 2))
	select {
	case events := <-got:
		if len(events) != 1 || events[0].Sequence != 2 {
			t.Fatalf("got %v", events)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the wait did not end")
	}
}

func TestWaitCallEndsWithTheLog(t *testing.T) {
	l := newLog(t, memory(t), session.LogOptions{})
	ended := make(chan error)
	go func() {
		_, err := l.WaitCall(t.Context(), "p", "call_1", 0, 10)
		ended <- err
	}()
	if err := l.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; !errors.Is(err, session.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

// BenchmarkLog is the cost of an event from Publish to a follower, written durably, with a call record in each.
func BenchmarkLog(b *testing.B) {
	l := newLog(b, open(b, b.TempDir()+"/tipring.db", session.Options{}), session.LogOptions{})
	f := l.Follow(b.Context(), session.FollowOptions{FromNow: true, CatchUp: true})
	seen := make(chan struct{})
	var count atomic.Int64
	go func() {
		defer close(seen)
		for range f.Events() {
			count.Add(1)
		}
	}()
	b.ReportAllocs()
	n := int64(0)
	for b.Loop() {
		n++
		call := fmt.Sprintf("call_%d", n/10)
		e := newEvent(call, uint64(n%10+1))
		e.Call = &engine.CallRecord{Info: engine.CallInfo{ID: call, ProjectID: "p", State: engine.CallAnswered, CreatedAt: e.Timestamp}}
		l.Publish(e)
		for n-count.Load() > 10_000 {
			time.Sleep(time.Millisecond)
		}
	}
	for count.Load() < n {
		time.Sleep(time.Millisecond)
	}
	if d := l.Stats().Dropped; d > 0 {
		b.Fatalf("%d dropped", d)
	}
}

// instantStore keeps nothing.
type instantStore struct{ session.Store }

func (instantStore) Append(_ context.Context, events []engine.Event) ([]session.Cursor, error) {
	return make([]session.Cursor, len(events)), nil
}

// BenchmarkPublish is what a call loop pays.
func BenchmarkPublish(b *testing.B) {
	l := newLog(b, instantStore{}, session.LogOptions{})
	e := newEvent("call_1", 1)
	b.ReportAllocs()
	for b.Loop() {
		l.Publish(e)
	}
}
