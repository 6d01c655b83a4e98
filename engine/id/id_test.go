package id_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/id"
)

func TestIDsLookAsPromised(t *testing.T) {
	got := id.New("call")
	digits, ok := strings.CutPrefix(got, "call_")
	if !ok || len(digits) != 26 || strings.Trim(digits, "0123456789abcdefghjkmnpqrstvwxyz") != "" {
		t.Errorf("got %q", got)
	}
	at := time.Date(2026, 7, 1, 12, 0, 0, 123_456_000, time.UTC)
	// The first ten digits are a ULID's: 48 bits of milliseconds in base 32; two of microseconds follow.
	if got := id.At("x", at); !strings.HasPrefix(got, "x_01kwersrkv"+"e8") {
		t.Errorf("got %q", got)
	}
}

func TestIDsSortByTime(t *testing.T) {
	at := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	last := id.At("x", at)
	for _, step := range []time.Duration{
		time.Microsecond, 998 * time.Microsecond, time.Microsecond, time.Millisecond, time.Second, time.Hour, 1000 * 24 * time.Hour,
	} {
		at = at.Add(step)
		now := id.At("x", at)
		if now <= last {
			t.Errorf("%s after %v is not behind %s", now, step, last)
		}
		last = now
	}
}

func TestTimeIsReadBack(t *testing.T) {
	at := time.Date(2026, 7, 1, 12, 0, 0, 123_456_789, time.UTC)
	if got, ok := id.Time(id.At("sess", at)); !ok || !got.Equal(at.Truncate(time.Microsecond)) {
		t.Errorf("got %v, %v", got, ok)
	}
	if got, ok := id.Time(id.At("x", time.Unix(-5, 0))); !ok || got.UnixMicro() != 0 {
		t.Errorf("a time before 1970 gives %v, %v", got, ok)
	}
	for _, bad := range []string{"", "call", "call_", "call_123", "01kwe", id.New("x") + "0", "x_" + strings.Repeat("u", 26), "x_" + strings.Repeat("z", 26)} {
		if got, ok := id.Time(bad); ok {
			t.Errorf("%q has time %v", bad, got)
		}
	}
}

func TestIDsAreUnique(t *testing.T) {
	const each = 20_000
	var mu sync.Mutex
	seen := map[string]bool{}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			own := make([]string, each)
			for i := range own {
				own[i] = id.New("x")
			}
			mu.Lock()
			defer mu.Unlock()
			for _, v := range own {
				seen[v] = true
			}
		})
	}
	wg.Wait()
	if len(seen) != 4*each {
		t.Errorf("%d ids, %d of them different", 4*each, len(seen))
	}
}

func FuzzTime(f *testing.F) {
	f.Add(id.New("call"))
	f.Add("call_")
	f.Add("x_zzzzzzzzzzzzzzzzzzzzzzzzzz")
	f.Fuzz(func(t *testing.T, s string) {
		at, ok := id.Time(s)
		if !ok {
			return
		}
		prefix, digits := s[:len(s)-27], s[len(s)-26:]
		if again := id.At(prefix, at); again[:len(prefix)+13] != prefix+"_"+digits[:12] {
			t.Errorf("%s has time %v, which gives %s", s, at, again)
		}
	})
}

func BenchmarkNew(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		_ = id.New("call")
	}
}
