package transaction

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emiago/sipgo/sip"
)

// got is what a client transaction told.
type got struct {
	statuses []int
	errs     []error
	stray    []int // 2xx for Handler.Response
}

func (g *got) on(res *sip.Response, err error) {
	if err != nil {
		g.errs = append(g.errs, err)
		return
	}
	g.statuses = append(g.statuses, res.StatusCode)
}

func (g *got) handler(*world) Handler {
	return funcs{response: func(res *sip.Response) { g.stray = append(g.stray, res.StatusCode) }}
}

func (w *world) request(req *sip.Request, g *got) *Client {
	w.t.Helper()
	c, err := w.layer.Request(req, Target{Addr: far}, g.on)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func seconds(at ...float64) []time.Duration {
	var d []time.Duration
	for _, s := range at {
		d = append(d, time.Duration(math.Round(s*1000))*time.Millisecond)
	}
	return d
}

// RFC 3261 17.1.1.2 and 17.1.2.2: timers A and B, E and F.
func TestRequestTimers(t *testing.T) {
	tests := []struct {
		method sip.RequestMethod
		want   []time.Duration
	}{
		{sip.INVITE, seconds(0, .5, 1.5, 3.5, 7.5, 15.5, 31.5)},
		{sip.OPTIONS, seconds(0, .5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5)},
	}
	for _, tt := range tests {
		t.Run(string(tt.method), func(t *testing.T) {
			var g got
			inWorld(t, Options{UserAgent: "Tipring"}, g.handler, func(w *world) {
				w.request(outbound(tt.method, "c"), &g)
				w.sleep(32*time.Second - time.Millisecond)
				if len(g.errs) != 0 {
					t.Fatal("given up too early")
				}
				w.sleep(time.Minute)
				if len(g.errs) != 1 || !errors.Is(g.errs[0], ErrTimeout) || len(g.statuses) != 0 {
					t.Errorf("told %+v", g)
				}
				sent := w.take()
				if at := times(sent, string(tt.method)); !slices.Equal(at, tt.want) {
					t.Errorf("sent at %v, want %v", at, tt.want)
				}
				for _, d := range sent {
					if d.raw != sent[0].raw || d.to != far {
						t.Errorf("sent %q to %v, first %q", d.raw, d.to, sent[0].raw)
					}
				}
				first := sent[0].raw
				via := field(first, "Via")
				if !strings.HasPrefix(via, "SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK") || !strings.Contains(via, ";rport") {
					t.Errorf("Via: %q", via)
				}
				for name, want := range map[string]string{"Max-Forwards": "70", "User-Agent": "Tipring", "Content-Length": "0"} {
					if v := field(first, name); v != want {
						t.Errorf("%s: %q, want %q", name, v, want)
					}
				}
				if s := w.layer.Stats(); s.OpenClient != 0 {
					t.Errorf("%+v", s)
				}
			})
		})
	}
}

// After a provisional response an INVITE is not sent again and waits; another request goes on every T2.
func TestProvisional(t *testing.T) {
	for method, want := range map[sip.RequestMethod][]time.Duration{
		sip.INVITE: seconds(0), sip.OPTIONS: seconds(0, 4.1, 8.1, 12.1, 16.1, 20.1, 24.1, 28.1),
	} {
		t.Run(string(method), func(t *testing.T) {
			var g got
			inWorld(t, Options{}, g.handler, func(w *world) {
				w.request(outbound(method, "c"), &g)
				w.sleep(100 * time.Millisecond)
				first := w.take()
				w.arrive(raw(reply(first[0].raw, 100, "")), raw(reply(first[0].raw, 183, "x")))
				w.sleep(3 * time.Minute)
				if at := times(append(first, w.take()...), string(method)); !slices.Equal(at, want) {
					t.Errorf("sent at %v, want %v", at, want)
				}
				if !slices.Equal(g.statuses, []int{100, 183}) {
					t.Errorf("told %v", g.statuses)
				}
				if timedOut := len(g.errs) == 1; timedOut != (method != sip.INVITE) {
					t.Errorf("errors %v", g.errs)
				}
			})
		})
	}
}

// RFC 3261 17.1.1.3: a failure response is acknowledged by the layer, each time it comes, and told once.
func TestFailureACK(t *testing.T) {
	var g got
	inWorld(t, Options{}, g.handler, func(w *world) {
		req := outbound(sip.INVITE, "c")
		req.AppendHeader(&sip.RouteHeader{Address: sip.Uri{Scheme: "sip", Host: "192.0.2.7"}})
		w.request(req, &g)
		invite := w.takeOne("INVITE ")
		busy := reply(invite, 486, "theirs")
		w.arrive(raw(busy))
		ack := w.takeOne("ACK ")
		for _, name := range []string{"Via", "From", "Call-ID", "Route", "Max-Forwards"} {
			if field(ack, name) == "" || field(ack, name) != field(invite, name) {
				t.Errorf("ACK has %s %q, INVITE %q", name, field(ack, name), field(invite, name))
			}
		}
		if field(ack, "To") != field(busy, "To") || field(ack, "CSeq") != "7 ACK" {
			t.Errorf("ACK: %q", ack)
		}
		w.sleep(20 * time.Second)
		w.arrive(raw(busy))
		if again := w.takeOne("ACK "); again != ack {
			t.Errorf("ACK again: %q", again)
		}
		w.sleep(13 * time.Second) // timer D
		if w.arrive(raw(busy)); len(w.take()) != 0 {
			t.Error("acknowledged after timer D")
		}
		if !slices.Equal(g.statuses, []int{486}) || len(g.errs) != 0 {
			t.Errorf("told %+v", g)
		}
	})
}

// The first 2xx of an INVITE is told to its caller, others to the handler (forks and repetitions).
func TestFurther2xx(t *testing.T) {
	var g got
	inWorld(t, Options{}, g.handler, func(w *world) {
		w.request(outbound(sip.INVITE, "c"), &g)
		invite := w.takeOne("INVITE ")
		w.arrive(raw(reply(invite, 200, "a")), raw(reply(invite, 200, "a")), raw(reply(invite, 202, "b")), raw(reply(invite, 180, "b")))
		if !slices.Equal(g.statuses, []int{200}) || !slices.Equal(g.stray, []int{200, 202}) {
			t.Errorf("told %+v", g)
		}
		if s := w.layer.Stats(); s.Stray != 1 || s.OpenClient != 0 || len(w.take()) != 0 {
			t.Errorf("%+v", s)
		}
	})
}

// Defect S3: when the 200 wins the race against our CANCEL, the dialog hears of it and can ACK and BYE.
func TestCancelGets200(t *testing.T) {
	var g got
	inWorld(t, Options{}, g.handler, func(w *world) {
		c := w.request(outbound(sip.INVITE, "c"), &g)
		invite := w.takeOne("INVITE ")
		c.Cancel("")
		if got := w.take(); len(got) != 0 {
			t.Fatalf("CANCEL before a provisional response: %q", firstLines(got))
		}
		w.arrive(raw(reply(invite, 180, "a")))
		cancel := w.takeOne("CANCEL ")
		w.arrive(raw(reply(invite, 200, "a")), raw(reply(cancel, 200, "a")))
		if !slices.Equal(g.statuses, []int{180, 200}) || len(g.errs) != 0 {
			t.Errorf("told %+v", g)
		}
		w.sleep(time.Minute)
		if got := w.take(); len(got) != 0 || len(g.errs) != 0 || w.layer.Stats().OpenClient != 0 {
			t.Errorf("afterwards: %q, %+v", firstLines(got), g)
		}
	})
}

// Defect S4: a CANCEL goes where its INVITE went, whatever the Request-URI and the routes say, with the same branch.
func TestCancelDestination(t *testing.T) {
	var g got
	inWorld(t, Options{UserAgent: "Tipring"}, g.handler, func(w *world) {
		req := outbound(sip.INVITE, "c")
		req.AppendHeader(&sip.RouteHeader{Address: sip.Uri{Scheme: "sip", Host: "proxy.example.org"}})
		c := w.request(req, &g)
		invite := w.takeOne("INVITE ")
		ringing := strings.Replace(reply(invite, 180, "a"), "CSeq:", "Record-Route: <sip:198.51.100.1;lr>\r\nCSeq:", 1)
		w.arrive(raw(ringing))
		c.Cancel(`SIP;cause=200;text="Call completed elsewhere"`)
		c.Cancel("again")
		sent := w.take()
		if len(sent) != 1 || sent[0].to != far {
			t.Fatalf("sent %+v", sent)
		}
		cancel := sent[0].raw
		if !strings.HasPrefix(cancel, "CANCEL sip:b@example.org SIP/2.0\r\n") || field(cancel, "CSeq") != "7 CANCEL" {
			t.Errorf("CANCEL: %q", cancel)
		}
		for _, name := range []string{"Via", "From", "To", "Call-ID", "Route"} {
			if field(cancel, name) == "" || field(cancel, name) != field(invite, name) {
				t.Errorf("CANCEL has %s %q, INVITE %q", name, field(cancel, name), field(invite, name))
			}
		}
		if r := field(cancel, "Reason"); r != `SIP;cause=200;text="Call completed elsewhere"` {
			t.Errorf("Reason: %q", r)
		}
		w.sleep(2 * time.Second)
		if at := times(w.take(), "CANCEL "); len(at) != 2 {
			t.Errorf("CANCEL was sent again at %v", at)
		}
		w.arrive(raw(reply(cancel, 200, "a")), raw(reply(invite, 487, "a")))
		w.takeOne("ACK ")
		if !slices.Equal(g.statuses, []int{180, 487}) {
			t.Errorf("told %+v", g)
		}
	})
}

// RFC 3261 9.1: after 64*T1 a cancelled INVITE is given up, even if the far end never says another word.
func TestCancelTimeout(t *testing.T) {
	for name, provisional := range map[string]bool{"ringing": true, "silent": false} {
		t.Run(name, func(t *testing.T) {
			var g got
			inWorld(t, Options{}, g.handler, func(w *world) {
				c := w.request(outbound(sip.INVITE, "c"), &g)
				invite := w.takeOne("INVITE ")
				if provisional {
					w.arrive(raw(reply(invite, 180, "a")))
				}
				c.Cancel("")
				w.sleep(10 * time.Second)
				if provisional {
					w.arrive(raw(reply(invite, 180, "a"))) // does not prolong it
				}
				w.sleep(22*time.Second + time.Millisecond)
				if len(g.errs) != 1 || !errors.Is(g.errs[0], ErrTimeout) {
					t.Errorf("told %+v", g)
				}
				w.sleep(time.Minute)
				if s := w.layer.Stats(); s.OpenClient != 0 || len(g.errs) != 1 {
					t.Errorf("%+v, told %+v", s, g)
				}
			})
		})
	}
}

// CANCEL is for INVITE alone, and not after the final response.
func TestCancelNothing(t *testing.T) {
	var g got
	inWorld(t, Options{}, g.handler, func(w *world) {
		bye := w.request(outbound(sip.BYE, "c"), &g)
		raw1 := w.takeOne("BYE ")
		w.arrive(raw(reply(raw1, 100, "")))
		bye.Cancel("")
		invite := w.request(outbound(sip.INVITE, "d"), &g)
		raw2 := w.takeOne("INVITE ")
		w.arrive(raw(reply(raw2, 603, "a")))
		w.takeOne("ACK ")
		invite.Cancel("")
		if got := w.take(); len(got) != 0 {
			t.Errorf("sent %q", firstLines(got))
		}
	})
}

// A request that the network does not take is told as ErrTransport, from the lane.
func TestClientTransportError(t *testing.T) {
	var g got
	inWorld(t, Options{}, g.handler, func(w *world) {
		w.fail = errors.New("network is down")
		w.request(outbound(sip.INVITE, "c"), &g)
		w.sleep(time.Minute)
		if len(g.errs) != 1 || !errors.Is(g.errs[0], ErrTransport) || !errors.Is(g.errs[0], w.fail) {
			t.Errorf("told %+v", g)
		}
		if len(w.take()) != 1 || w.layer.Stats().OpenClient != 0 {
			t.Errorf("%+v", w.layer.Stats())
		}
	})
}

// Requests that cannot be sent are refused at once.
func TestRequestRefused(t *testing.T) {
	var g got
	inWorld(t, Options{}, g.handler, func(w *world) {
		bare := sip.NewRequest(sip.OPTIONS, sip.Uri{Scheme: "sip", Host: "example.org"})
		tests := []struct {
			name string
			req  *sip.Request
			to   Target
		}{
			{"no headers", bare, Target{Addr: far}},
			{"ACK", outbound(sip.ACK, "c"), Target{Addr: far}},
			{"no address", outbound(sip.OPTIONS, "c"), Target{}},
			{"TLS", outbound(sip.OPTIONS, "c"), Target{Transport: "TLS", Addr: far}},
		}
		for _, tt := range tests {
			if _, err := w.layer.Request(tt.req, tt.to, g.on); err == nil {
				t.Errorf("%s: sent", tt.name)
			}
		}
		if len(w.take()) != 0 {
			t.Error("something was sent")
		}
	})
}

// A request may be sent again as a new transaction, as after 401: it has one Via, with a new branch.
func TestRequestWithNewBranch(t *testing.T) {
	var g got
	inWorld(t, Options{}, g.handler, func(w *world) {
		req := outbound(sip.REGISTER, "c")
		w.request(req, &g)
		first := w.takeOne("REGISTER ")
		w.arrive(raw(reply(first, 401, "a")))
		req.CSeq().SeqNo++
		w.request(req, &g)
		second := w.takeOne("REGISTER ")
		if strings.Count(second, "Via:") != 1 || field(first, "Via") == field(second, "Via") {
			t.Errorf("first %q, second %q", first, second)
		}
	})
}

// ACK of a 2xx: a branch of its own, and the same message each time.
func TestACK(t *testing.T) {
	var g got
	inWorld(t, Options{}, g.handler, func(w *world) {
		ack := outbound(sip.ACK, "c")
		for range 2 {
			if err := w.layer.ACK(ack, Target{Addr: far}); err != nil {
				t.Fatal(err)
			}
		}
		sent := w.take()
		if len(sent) != 2 || sent[0].raw != sent[1].raw || !strings.Contains(field(sent[0].raw, "Via"), "branch=z9hG4bK") {
			t.Errorf("sent %+v", sent)
		}
		w.fail = errors.New("network is down")
		if err := w.layer.ACK(ack, Target{Addr: far}); !errors.Is(err, w.fail) {
			t.Errorf("ACK: %v", err)
		}
	})
}

// After and Do run on the lane of their Call-ID, in order; a timer that is stopped does not run.
func TestDoAndAfter(t *testing.T) {
	var order []string
	inWorld(t, Options{Guard: Guard{Queue: 4}}, (&got{}).handler, func(w *world) {
		note := func(s string) func() { return func() { order = append(order, s) } }
		w.layer.After("c", 2*time.Second, note("two"))
		w.layer.After("c", time.Second, note("one"))
		stopped := w.layer.After("c", time.Second, note("stopped"))
		if !stopped.Stop() || stopped.Stop() {
			t.Error("Stop does not tell whether it stopped")
		}
		if !w.layer.Do("c", note("now")) {
			t.Error("Do refused")
		}
		w.layer.After("c", 3*time.Second, func() { panic("in a timer") })
		w.layer.After("c", 4*time.Second, note("after the panic"))
		w.sleep(10 * time.Second)
		if want := []string{"now", "one", "two", "after the panic"}; !slices.Equal(order, want) {
			t.Errorf("ran %v, want %v", order, want)
		}
		if w.layer.Stats().Panics != 1 {
			t.Errorf("%+v", w.layer.Stats())
		}
		// A lane that is busy takes twice Guard.Queue functions, then refuses.
		hold, held := make(chan struct{}), make(chan struct{})
		w.layer.Do("c", func() { close(held); <-hold })
		<-held
		taken := 0
		for range 20 {
			if w.layer.Do("c", func() {}) {
				taken++
			}
		}
		if w.layer.Stats().DroppedDo != 12 || taken != 8 {
			t.Errorf("took %d, dropped %d", taken, w.layer.Stats().DroppedDo)
		}
		for i := range 10 {
			w.layer.arrive(text{method: "OPTIONS", callID: "c", branch: fmt.Sprint("z9hG4bK", i)}.String(), origin{addr: far})
		}
		if s := w.layer.Stats(); s.DroppedQueue != 10 {
			t.Errorf("dropped %d messages", s.DroppedQueue)
		}
		close(hold)
	})
}

// A lane's queue is bounded in bytes too.
func TestQueueBytes(t *testing.T) {
	n := newLane(nil)
	big := work{raw: strings.Repeat("x", 60000)}
	if !n.put(big, 4) {
		t.Error("an empty queue does not take a long message")
	}
	if n.put(big, 4) {
		t.Error("two long messages where four short ones are allowed")
	}
	n.take(nil)
	if !n.put(big, 4) {
		t.Error("room is not made again")
	}
}
