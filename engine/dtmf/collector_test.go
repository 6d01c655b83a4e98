package dtmf_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/dtmf"
)

// act lets a script run: "S" starts the wait, "+300" lets 300 ms pass, anything else is a key. Deadlines that come
// on the way expire, as they do for the Collector's owner.
func act(c *dtmf.Collector, script string) (at int) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := start
	for word := range strings.FieldsSeq(script) {
		switch {
		case word == "S":
			c.Start(now)
		case word[0] == '+':
			d, err := time.ParseDuration(word[1:] + "ms")
			if err != nil {
				panic(err)
			}
			until := now.Add(d)
			if t := c.Deadline(); !t.IsZero() && !t.After(until) {
				if c.Expire(t.Add(-1)) || !c.Expire(t) {
					panic("expired before its time, or not at it")
				}
				return int(t.Sub(start).Milliseconds())
			}
			now = until
		default:
			if c.Push(dtmf.Digit{Key: word[0]}, now) {
				return int(now.Sub(start).Milliseconds())
			}
		}
	}
	return -1
}

func TestCollector(t *testing.T) {
	rules := dtmf.Rules{Min: 2, Max: 4, FinishKeys: "#*", First: 5 * time.Second, InterDigit: time.Second}
	for _, c := range []struct {
		name   string
		rules  dtmf.Rules
		script string
		digits string
		reason dtmf.Reason
		key    byte
		at     int // ms; -1: it goes on
	}{
		{"full", rules, "S 1 2 3 4", "1234", dtmf.ReasonMaxDigits, 0, 0},
		{"finish key", rules, "S 1 2 #", "12", dtmf.ReasonFinishKey, '#', 0},
		{"the other finish key", rules, "S 1 2 *", "12", dtmf.ReasonFinishKey, '*', 0},
		{"finish key at once", rules, "S #", "", dtmf.ReasonFinishKey, '#', 0},
		{"nobody keys", rules, "S +9999", "", dtmf.ReasonTimeout, 0, 5000},
		{"stops keying", rules, "S +3000 1 +900 2 +9999", "12", dtmf.ReasonTimeout, 0, 4900},
		{"slowly, but in time", rules, "S +4999 1 +999 2 +999 3 +999 4", "1234", dtmf.ReasonMaxDigits, 0, 7996},
		{"while the prompt plays no time runs", rules, "+60000 S +1000", "", "", 0, -1},
		{"the wait begins behind the prompt", rules, "+7000 S +9999", "", dtmf.ReasonTimeout, 0, 12000},
		{"a key into the prompt starts the inter-digit time", rules, "+200 1 +9999", "1", dtmf.ReasonTimeout, 0, 1200},
		{"the prompt ends after a key", rules, "1 +800 S +9999", "1", dtmf.ReasonTimeout, 0, 1000},
		{"no time limit", dtmf.Rules{Max: 2}, "S +999999 1 +999999", "1", "", 0, -1},
		{"the first digit in time, the rest for ever", dtmf.Rules{Max: 3, First: time.Second}, "S 1 +999999 2", "12", "", 0, -1},
		{"no finish key", dtmf.Rules{Max: 3}, "S # * 1", "#*1", dtmf.ReasonMaxDigits, 0, 0},
		{"one digit", dtmf.Rules{Max: 1, FinishKeys: "#"}, "S +10 A", "A", dtmf.ReasonMaxDigits, 0, 10},
		{"no maximum is 32", dtmf.Rules{}, "S " + strings.Repeat("7 ", 40), strings.Repeat("7", 32), dtmf.ReasonMaxDigits, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			col := dtmf.NewCollector(c.rules)
			at := act(col, c.script)
			digits, reason, key := col.Result()
			if digits != c.digits || reason != c.reason || key != c.key || at != c.at {
				t.Errorf("%q, %q, %q at %d; want %q, %q, %q at %d", digits, reason, key, at, c.digits, c.reason, c.key, c.at)
			}
			if col.Done() != (c.reason != "") || col.Complete() != (len(digits) >= c.rules.Min) {
				t.Errorf("done %v, complete %v", col.Done(), col.Complete())
			}
		})
	}
}

func TestCollectorStaysDone(t *testing.T) {
	c := dtmf.NewCollector(dtmf.Rules{Max: 2, FinishKeys: "#", First: time.Second, InterDigit: time.Second})
	now := time.Unix(0, 0)
	c.Push(dtmf.Digit{Key: '1'}, now)
	c.Push(dtmf.Digit{Key: '2'}, now)
	if !c.Push(dtmf.Digit{Key: '#'}, now) || !c.Expire(now.Add(time.Hour)) {
		t.Error("it is not done any more")
	}
	c.Start(now)
	digits, reason, key := c.Result()
	if digits != "12" || reason != dtmf.ReasonMaxDigits || key != 0 || !c.Deadline().IsZero() {
		t.Errorf("%q, %q, %q, deadline %v", digits, reason, key, c.Deadline())
	}
}

// FuzzCollector keys, waits and expires at random and compares with the rules told in other words.
func FuzzCollector(f *testing.F) {
	f.Add(uint8(4), "#", uint16(500), uint16(100), []byte("12#"))
	f.Add(uint8(2), "", uint16(0), uint16(100), []byte{'1', 0x80 | 100, '2'})
	f.Add(uint8(0), "*#", uint16(5), uint16(5), []byte{0xFF, 'S', 0xFF, '1'})
	f.Fuzz(func(t *testing.T, most uint8, finish string, first, inter uint16, script []byte) {
		c := dtmf.NewCollector(dtmf.Rules{
			Max: int(most), FinishKeys: finish,
			First: time.Duration(first) * time.Millisecond, InterDigit: time.Duration(inter) * time.Millisecond,
		})
		limit := int(most)
		if limit == 0 {
			limit = dtmf.DefaultMax
		}
		now := time.Unix(0, 0)
		keyed := ""
		for _, b := range script {
			was := c.Done()
			switch {
			case b&0x80 != 0:
				now = now.Add(time.Duration(b&0x7F) * 10 * time.Millisecond)
				due := !c.Deadline().IsZero() && !now.Before(c.Deadline())
				if c.Expire(now) != (was || due) {
					t.Fatalf("expired: %v, due %v, was %v", c.Done(), due, was)
				}
			case b == 'S':
				c.Start(now)
			default:
				ends := strings.IndexByte(finish, b) >= 0
				if !was && !ends {
					keyed += string([]byte{b})
				}
				if done := c.Push(dtmf.Digit{Key: b}, now); done != (was || ends || len(keyed) >= limit) {
					t.Fatalf("done %v behind %q", done, keyed)
				}
			}
			if c.Done() && !c.Deadline().IsZero() {
				t.Fatal("a deadline when all is done")
			}
		}
		digits, reason, key := c.Result()
		if digits != keyed || (reason == "") == c.Done() || (key != 0) && reason != dtmf.ReasonFinishKey {
			t.Fatalf("%q, %q, %q; keyed %q", digits, reason, key, keyed)
		}
	})
}
