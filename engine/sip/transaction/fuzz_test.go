package transaction

import (
	"slices"
	"strings"
	"testing"

	"github.com/emiago/sipgo/sip"
)

// FuzzMessage sends any bytes through guard, parser and transactions to a handler that answers.
func FuzzMessage(f *testing.F) {
	for _, tt := range tortures() {
		f.Add(tt.raw)
	}
	for _, method := range []string{"INVITE", "ACK", "CANCEL", "BYE", "OPTIONS"} {
		f.Add(text{method: method}.String())
	}
	f.Add(reply(text{method: "INVITE"}.String(), 200, "x"))
	f.Add("\r\n\r\n")
	f.Fuzz(func(t *testing.T, raw string) {
		w := &world{}
		l := newLayer(Options{Lanes: 1, Guard: Guard{Rate: -1}}.withDefaults(), w, nil)
		l.local = far
		l.handler = funcs{request: func(req *sip.Request, tx *Server) {
			_ = answer(tx, 180, "Ringing")
			_ = answer(tx, 200, "OK")
		}}
		n := l.lanes[0]
		for range 2 { // the second time it is a retransmission
			l.arrive(raw, origin{addr: far})
			for _, m := range n.take(nil) {
				n.do(&m)
			}
		}
		if s := l.Stats(); s.Panics != 0 {
			t.Fatalf("panic; %+v", s)
		}
		for _, d := range w.sent {
			if msg, bad := parse(d.raw); bad != nil {
				// What is echoed of a malformed request may be malformed too, but then it is an error response.
				if res, ok := msg.(*sip.Response); !ok || res.StatusCode < 400 {
					t.Errorf("sent %q: %v", d.raw, bad)
				}
			}
		}
		roundTrip(t, raw)
	})
}

// roundTrip checks that a message that parses is written so that it parses to the same again.
func roundTrip(t *testing.T, raw string) {
	t.Helper()
	msg, bad := parse(raw)
	if bad != nil {
		return
	}
	once := string(encode(msg))
	again, bad := parse(once)
	if bad != nil {
		t.Fatalf("%v in %q, which was written for %q", bad, once, raw)
	}
	if twice := string(encode(again)); once != twice {
		t.Errorf("first %q, then %q", once, twice)
	}
}

// FuzzStream cuts a stream anywhere: the messages are the same.
func FuzzStream(f *testing.F) {
	two := text{method: "OPTIONS", body: "\r\n\r\n"}.String() + "\r\n\r\n" + text{method: "BYE"}.String()
	f.Add(two, []byte{1, 2, 3})
	f.Add("\r\n"+two+"\r", []byte{0, 255, 7})
	f.Add(strings.Replace(two, "Content-Length: 4", "l:\r\n  4", 1), []byte{9})
	f.Add(strings.Replace(two, "Content-Length: 4", "Content-Length: x", 1), []byte{100})
	for _, tt := range tortures() {
		f.Add(tt.raw, []byte{5})
	}
	f.Fuzz(func(t *testing.T, stream string, cuts []byte) {
		g := Guard{HeaderBytes: 2000, MessageBytes: 4000}.withDefaults()
		whole := splitter{guard: &g}
		whole.add([]byte(stream))
		want, wantErr := drain(&whole)
		chunked := splitter{guard: &g}
		var got []string
		var gotErr error
		for rest, i := stream, 0; rest != "" && gotErr == nil; i++ {
			n := len(rest)
			if len(cuts) > 0 {
				n = min(n, int(cuts[i%len(cuts)])+1)
			}
			chunked.add([]byte(rest[:n]))
			rest = rest[n:]
			var more []string
			more, gotErr = drain(&chunked)
			got = append(got, more...)
		}
		if !slices.Equal(got, want) || gotErr != wantErr { //nolint:errorlint // the very same error
			t.Errorf("whole %q (%v), in chunks %q (%v)", want, wantErr, got, gotErr)
		}
	})
}

// drain gives all that a splitter has, keep-alives as "ping".
func drain(s *splitter) (messages []string, err error) {
	for {
		raw, ping, err := s.next()
		switch {
		case err != nil:
			return messages, err
		case ping:
			messages = append(messages, "ping")
		case raw == "":
			return messages, nil
		default:
			messages = append(messages, raw)
		}
	}
}
