package transaction

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// keep is a handler that keeps the last server transaction and counts.
type keep struct {
	funcs
	tx      *Server
	acks    int
	cancels int
	lost    []error
	seen    []string
}

func (k *keep) handler(*world) Handler {
	k.funcs = funcs{
		request: func(req *sip.Request, tx *Server) {
			k.tx = tx
			k.seen = append(k.seen, string(req.Method))
		},
		cancel: func(*Server) { k.cancels++ },
		ack:    func(*sip.Request) { k.acks++ },
		lost:   func(_ *Server, err error) { k.lost = append(k.lost, err) },
	}
	return k.funcs
}

// Defect S2: a final response after the final response changes nothing, and the first one is what is sent again.
func TestTwoFinals(t *testing.T) {
	var k keep
	inWorld(t, Options{}, k.handler, func(w *world) {
		w.arrive(text{method: "INVITE"})
		if err := answer(k.tx, 486, "Busy Here"); err != nil {
			t.Fatal(err)
		}
		for _, late := range []int{180, 200, 603} {
			if err := answer(k.tx, late, "Late"); !errors.Is(err, ErrFinalSent) {
				t.Errorf("Respond(%d) after 486: %v", late, err)
			}
		}
		w.arrive(text{method: "INVITE"}) // again
		w.sleep(3 * time.Second)         // and by timer G
		sent := w.take()
		if len(sent) < 4 {
			t.Errorf("486 was sent %d times only", len(sent))
		}
		for _, d := range sent {
			if !strings.HasPrefix(d.raw, "SIP/2.0 486 ") {
				t.Errorf("sent %q", d.raw)
			}
		}
	})
}

// Defect S2: a 200 that comes too late for a cancelled call is never sent, not even when the INVITE comes again.
func TestCancelThenLate200(t *testing.T) {
	var k keep
	inWorld(t, Options{}, k.handler, func(w *world) {
		w.arrive(text{method: "INVITE"}, text{method: "CANCEL"})
		if k.cancels != 1 {
			t.Fatalf("Cancel was called %d times", k.cancels)
		}
		if ok := w.takeOne("SIP/2.0 200 "); field(ok, "CSeq") != "1 CANCEL" {
			t.Errorf("200 is of %q", field(ok, "CSeq"))
		}
		if err := answer(k.tx, 487, "Request Terminated"); err != nil {
			t.Fatal(err)
		}
		if err := answer(k.tx, 200, "OK"); !errors.Is(err, ErrFinalSent) {
			t.Errorf("late 200: %v", err)
		}
		w.arrive(text{method: "INVITE"})
		w.sleep(40 * time.Second)
		for _, d := range w.take() {
			if !strings.HasPrefix(d.raw, "SIP/2.0 487 ") {
				t.Errorf("sent %q", d.raw)
			}
		}
	})
}

// A CANCEL that comes again is answered again, and the handler hears of it once.
func TestCancelAgain(t *testing.T) {
	var k keep
	inWorld(t, Options{}, k.handler, func(w *world) {
		w.arrive(text{method: "INVITE"}, text{method: "CANCEL"}, text{method: "CANCEL"})
		if got := len(times(w.take(), "SIP/2.0 200 ")); got != 2 || k.cancels != 1 {
			t.Errorf("%d times 200, %d times Cancel", got, k.cancels)
		}
		// After the final response a CANCEL has no effect, but it is answered.
		if err := answer(k.tx, 200, "OK"); err != nil {
			t.Fatal(err)
		}
		k.tx.Acked()
		w.take()
		w.arrive(text{method: "CANCEL"})
		ok := w.takeOne("SIP/2.0 200 ")
		if field(ok, "CSeq") != "1 CANCEL" || !strings.Contains(field(ok, "To"), "tag=ours") || k.cancels != 1 {
			t.Errorf("CANCEL after 200: %q, Cancel %d times", ok, k.cancels)
		}
	})
}

// A phone behind a NAT may change its sent-by between INVITE and CANCEL; a CANCEL of nothing gets 481.
func TestNatCancel(t *testing.T) {
	var k keep
	inWorld(t, Options{}, k.handler, func(w *world) {
		w.arrive(text{method: "INVITE", via: "SIP/2.0/UDP 10.0.0.5:5060;rport"})
		w.arrive(text{method: "CANCEL", via: "SIP/2.0/UDP 203.0.113.9:61234;rport"})
		w.takeOne("SIP/2.0 200 ")
		if k.cancels != 1 {
			t.Errorf("Cancel was called %d times", k.cancels)
		}
		for name, stray := range map[string]text{
			"branch":   {method: "CANCEL", branch: "z9hG4bKother"},
			"Call-ID":  {method: "CANCEL", callID: "call-2"},
			"CSeq":     {method: "CANCEL", cseq: 2},
			"From tag": {method: "CANCEL", fromTag: "other"},
		} {
			w.arrive(stray)
			if got := w.take(); len(got) != 1 || !strings.HasPrefix(got[0].raw, "SIP/2.0 481 ") {
				t.Errorf("CANCEL with another %s: %q", name, firstLines(got))
			}
		}
		if k.cancels != 1 {
			t.Errorf("Cancel was called %d times", k.cancels)
		}
		// The ACK of the 487 comes from the changed sent-by too.
		if err := answer(k.tx, 487, "Request Terminated"); err != nil {
			t.Fatal(err)
		}
		w.take()
		w.arrive(text{method: "ACK", via: "SIP/2.0/UDP 203.0.113.9:61234;rport", toTag: "ours"})
		w.sleep(40 * time.Second)
		if got := w.take(); len(got) != 0 || k.acks != 0 || len(k.lost) != 0 {
			t.Errorf("after the ACK: sent %q, %d ACKs, lost %v", firstLines(got), k.acks, k.lost)
		}
	})
}

// RFC 3261 13.3.1.4: a 2xx is sent at 0, 0.5, 1.5, 3.5, 7.5, 11.5 … s until the ACK.
func Test2xxRetransmit(t *testing.T) {
	var k keep
	inWorld(t, Options{}, k.handler, func(w *world) {
		w.arrive(text{method: "INVITE"})
		if err := answer(k.tx, 200, "OK"); err != nil {
			t.Fatal(err)
		}
		w.sleep(12 * time.Second)
		w.arrive(text{method: "INVITE"}) // absorbed: RFC 6026
		w.arrive(text{method: "ACK", branch: "z9hG4bKack", toTag: "ours"})
		if k.acks != 1 {
			t.Fatalf("%d ACKs", k.acks)
		}
		k.tx.Acked()
		w.sleep(60 * time.Second)
		want := seconds(0, .5, 1.5, 3.5, 7.5, 11.5)
		if got := times(w.take(), "SIP/2.0 200 "); !slices.Equal(got, want) {
			t.Errorf("200 was sent at %v, want %v", got, want)
		}
		if len(k.lost) != 0 || w.layer.Stats().OpenServer != 0 || w.layer.Stats().Finished != 0 {
			t.Errorf("lost %v, %+v", k.lost, w.layer.Stats())
		}
	})
}

// A 2xx without an ACK is lost after 64*T1.
func TestNoACK(t *testing.T) {
	for _, status := range []int{200, 486} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			var k keep
			inWorld(t, Options{}, k.handler, func(w *world) {
				w.arrive(text{method: "INVITE"})
				if err := answer(k.tx, status, "Final"); err != nil {
					t.Fatal(err)
				}
				w.sleep(32*time.Second - time.Millisecond)
				if w.take(); len(k.lost) != 0 {
					t.Fatal("lost too early")
				}
				w.sleep(time.Millisecond)
				w.take()
				if len(k.lost) != 1 || !errors.Is(k.lost[0], ErrNoACK) {
					t.Fatalf("lost %v", k.lost)
				}
				w.sleep(time.Minute)
				if got := w.take(); len(got) != 0 || len(k.lost) != 1 {
					t.Errorf("afterwards: %q, lost %v", firstLines(got), k.lost)
				}
			})
		})
	}
}

// Timers G and I: a failure response is sent at 0, 0.5, 1.5, 3.5, 7.5 s until its ACK, which is absorbed each time.
func TestFailureRetransmit(t *testing.T) {
	var k keep
	inWorld(t, Options{}, k.handler, func(w *world) {
		w.arrive(text{method: "INVITE"})
		if err := answer(k.tx, 404, "Not Found"); err != nil {
			t.Fatal(err)
		}
		w.sleep(4 * time.Second)
		for range 3 {
			w.arrive(text{method: "ACK", toTag: "ours"})
		}
		w.arrive(text{method: "INVITE"})
		w.sleep(time.Minute)
		want := seconds(0, .5, 1.5, 3.5)
		if got := times(w.take(), "SIP/2.0 404 "); !slices.Equal(got, want) {
			t.Errorf("404 was sent at %v, want %v", got, want)
		}
		if k.acks != 0 || len(k.seen) != 1 {
			t.Errorf("%d ACKs, requests %v", k.acks, k.seen)
		}
	})
}

// RFC 3261 17.2.1: an INVITE without a response gets 100 after 200 ms; one with a response does not.
func TestTrying(t *testing.T) {
	var k keep
	inWorld(t, Options{}, k.handler, func(w *world) {
		w.arrive(text{method: "INVITE"})
		w.sleep(199 * time.Millisecond)
		if got := w.take(); len(got) != 0 {
			t.Fatalf("sent %q at once", firstLines(got))
		}
		w.sleep(time.Millisecond)
		if trying := w.takeOne("SIP/2.0 100 "); strings.Contains(field(trying, "To"), "tag=") {
			t.Errorf("100 has a To tag: %q", trying)
		}
		w.arrive(text{method: "INVITE"})
		w.takeOne("SIP/2.0 100 ")
		w.arrive(text{method: "INVITE", callID: "call-2"})
		if err := answer(k.tx, 180, "Ringing"); err != nil {
			t.Fatal(err)
		}
		w.sleep(time.Minute)
		w.takeOne("SIP/2.0 180 ")
	})
}

// Timer J: a request that comes again in 32 s gets the same answer without the handler; later it is a new one.
func TestRequestAgain(t *testing.T) {
	seen := 0
	handler := func(*world) Handler {
		return funcs{request: func(_ *sip.Request, tx *Server) {
			if seen++; seen > 1 {
				tx.Request().To().Params.Add("tag", "second")
			}
			if err := answer(tx, 200, "OK"); err != nil {
				t.Error(err)
			}
		}}
	}
	inWorld(t, Options{}, handler, func(w *world) {
		w.arrive(text{method: "OPTIONS"})
		ok := w.takeOne("SIP/2.0 200 ")
		w.sleep(32*time.Second - time.Millisecond)
		w.arrive(text{method: "OPTIONS"})
		if again := w.takeOne("SIP/2.0 200 "); again != ok || seen != 1 {
			t.Errorf("again: %q after %d requests", again, seen)
		}
		w.sleep(time.Millisecond)
		w.arrive(text{method: "OPTIONS"})
		if w.takeOne("SIP/2.0 200 "); seen != 2 {
			t.Errorf("%d requests after timer J", seen)
		}
	})
}

// What only answers retransmissions is bounded by number: the oldest is forgotten first.
func TestFinishedBounded(t *testing.T) {
	seen := 0
	handler := func(*world) Handler {
		return funcs{request: func(_ *sip.Request, tx *Server) { seen++; _ = answer(tx, 200, "OK") }}
	}
	inWorld(t, Options{Lanes: 1, Guard: Guard{Finished: 10, Rate: -1}}, handler, func(w *world) {
		for i := range 1000 {
			w.arrive(text{method: "OPTIONS", callID: fmt.Sprint("call-", i)})
		}
		s := w.layer.Stats()
		if s.Finished != 10 || s.Evicted != 990 || len(w.layer.lanes[0].servers) != 10 {
			t.Errorf("%d finished, %d evicted, %d in the table", s.Finished, s.Evicted, len(w.layer.lanes[0].servers))
		}
		if q := w.layer.lanes[0].finished; cap(q.records) > 300 {
			t.Errorf("the queue of 10 has room for %d", cap(q.records))
		}
		w.arrive(text{method: "OPTIONS", callID: "call-999"})
		if w.arrive(text{method: "OPTIONS", callID: "call-989"}); seen != 1001 {
			t.Errorf("%d requests: want the evicted one again, the kept one not", seen)
		}
	})
}

// RFC 3261 8.2.2.2: the same request by two ways is one request; the second gets 482. A failed one may be tried again.
func TestMerged(t *testing.T) {
	var k keep
	inWorld(t, Options{}, k.handler, func(w *world) {
		w.arrive(text{method: "INVITE"})
		w.arrive(text{method: "INVITE", branch: "z9hG4bKtwo"})
		merged := w.takeOne("SIP/2.0 482 ")
		_, tag, _ := strings.Cut(field(merged, "To"), ";tag=")
		w.arrive(text{method: "ACK", branch: "z9hG4bKtwo", toTag: tag})
		if len(k.seen) != 1 || k.acks != 0 {
			t.Errorf("requests %v, %d ACKs", k.seen, k.acks)
		}
		if err := answer(k.tx, 401, "Unauthorized"); err != nil {
			t.Fatal(err)
		}
		w.arrive(text{method: "ACK", toTag: "ours"})
		if w.arrive(text{method: "INVITE", branch: "z9hG4bKthree"}); len(k.seen) != 2 {
			t.Errorf("after 401 requests are %v", k.seen)
		}
	})
}

// A request within a dialog that comes by two ways is for the dialog to judge.
func TestMergedInDialog(t *testing.T) {
	var k keep
	inWorld(t, Options{}, k.handler, func(w *world) {
		w.arrive(text{method: "INFO", toTag: "ours"}, text{method: "INFO", toTag: "ours", branch: "z9hG4bKtwo"})
		if len(k.seen) != 2 {
			t.Errorf("requests %v", k.seen)
		}
	})
}

func TestMaxForwardsZero(t *testing.T) {
	for method, want := range map[string]string{"INVITE": "483", "MESSAGE": "483", "OPTIONS": "", "BYE": "in dialog"} {
		t.Run(method, func(t *testing.T) {
			var k keep
			inWorld(t, Options{}, k.handler, func(w *world) {
				m := text{method: method, extra: []string{"Max-Forwards: 0"}}
				if want == "in dialog" {
					m.toTag = "ours"
				}
				w.arrive(m)
				if want == "483" {
					w.takeOne("SIP/2.0 483 ")
				} else if len(k.seen) != 1 {
					t.Errorf("requests %v", k.seen)
				}
			})
		})
	}
}

// A request without a final response is forgotten after 64*T1, and answering it then is an error.
func TestNoFinal(t *testing.T) {
	var k keep
	inWorld(t, Options{}, k.handler, func(w *world) {
		w.arrive(text{method: "NEWMETHOD"})
		if len(k.seen) != 1 || k.seen[0] != "NEWMETHOD" {
			t.Fatalf("requests %v", k.seen)
		}
		w.sleep(33 * time.Second)
		if err := answer(k.tx, 501, "Not Implemented"); !errors.Is(err, ErrTimeout) {
			t.Errorf("late answer: %v", err)
		}
		if s := w.layer.Stats(); s.OpenServer != 0 || len(w.take()) != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// A response that cannot be sent ends an INVITE with Lost.
func TestServerTransportError(t *testing.T) {
	var k keep
	inWorld(t, Options{}, k.handler, func(w *world) {
		w.arrive(text{method: "INVITE"})
		w.fail = errors.New("network is down")
		if err := answer(k.tx, 200, "OK"); err != nil {
			t.Fatal(err)
		}
		w.take()
		if len(k.lost) != 1 || !errors.Is(k.lost[0], ErrTransport) || !errors.Is(k.lost[0], w.fail) {
			t.Errorf("lost %v", k.lost)
		}
	})
}

// Beyond the limit of open transactions new requests get 503 with Retry-After, dialogs go on; the ACK of the 503 is
// nobody's.
func TestOpenBounded(t *testing.T) {
	var k keep
	inWorld(t, Options{Guard: Guard{Open: 3}}, k.handler, func(w *world) {
		for i := range 5 {
			w.arrive(text{method: "INVITE", callID: fmt.Sprint("call-", i)})
		}
		sent := w.take()
		if len(sent) != 2 || len(k.seen) != 3 {
			t.Fatalf("%d refused, %d let in", len(sent), len(k.seen))
		}
		busy := sent[0].raw
		if !strings.HasPrefix(busy, "SIP/2.0 503 ") || field(busy, "Retry-After") == "" {
			t.Errorf("refused with %q", busy)
		}
		_, tag, _ := strings.Cut(field(busy, "To"), ";tag=")
		w.arrive(text{method: "ACK", callID: "call-3", toTag: tag})
		if k.acks != 0 {
			t.Error("the ACK of a 503 went to the handler")
		}
		w.arrive(text{method: "BYE", callID: "call-0", toTag: "ours", cseq: 2})
		if len(k.seen) != 4 || w.layer.Stats().DroppedOpen != 2 {
			t.Errorf("requests %v, %+v", k.seen, w.layer.Stats())
		}
	})
}

// Clients of RFC 2543 may have one branch for all, or none.
func TestBranchWithoutCookie(t *testing.T) {
	var k keep
	inWorld(t, Options{}, k.handler, func(w *world) {
		for cseq := 1; cseq <= 2; cseq++ {
			w.arrive(text{method: "INVITE", branch: "1", cseq: cseq}, text{method: "INVITE", branch: "1", cseq: cseq})
		}
		if len(k.seen) != 2 {
			t.Errorf("requests %v", k.seen)
		}
		if err := answer(k.tx, 486, "Busy Here"); err != nil {
			t.Fatal(err)
		}
		if w.arrive(text{method: "ACK", branch: "1", cseq: 2, toTag: "ours"}); k.acks != 0 {
			t.Error("the ACK of the 486 went to the handler")
		}
	})
}
