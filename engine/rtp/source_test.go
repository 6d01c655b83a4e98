package rtp

import (
	"net/netip"
	"testing"
	"time"
)

func ap(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// A story of packets: each line comes at a time from an address.
type arrival struct {
	at       time.Duration
	from     string
	ssrc     uint32
	sequence uint16
	want     DropReason
}

func run4(at, step time.Duration, from string, ssrc uint32, first uint16, last DropReason) (l []arrival) {
	for i := range 4 {
		want := DropLearning
		if i == 3 || last == DropSource {
			want = last
		}
		l = append(l, arrival{at + time.Duration(i)*step, from, ssrc, first + uint16(i), want})
	}
	return l
}

func join(lists ...[]arrival) (all []arrival) {
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

func TestSourceRules(t *testing.T) {
	const (
		public    = "203.0.113.7:4000"
		public2   = "203.0.113.7:4711" // same host, NAT's port
		near      = "203.0.113.99:4000"
		stranger  = "198.51.100.1:4000"
		private   = "192.168.1.5:4000"
		signaller = "203.0.113.7"
		ms        = time.Millisecond
	)
	one := func(at time.Duration, from string, ssrc uint32, seq uint16, want DropReason) []arrival {
		return []arrival{{at, from, ssrc, seq, want}}
	}
	tests := map[string]struct {
		sdp, signaling string
		learn          bool
		story          []arrival
		remote         string
	}{
		"SDP's address is accepted at once": {
			public, signaller, false, one(10*ms, public, 1, 1, dropNone), public,
		},
		"a stranger never is, however consecutive": {
			public, signaller, false, run4(10*ms, 20*ms, stranger, 1, 1, DropSource), public,
		},
		"RTPBleed: probing from elsewhere during the call": {
			public, signaller, false, join(one(0, public, 1, 1, dropNone),
				run4(time.Second, 20*ms, stranger, 1, 2, DropSource),
				run4(5*time.Second, 20*ms, stranger, 1, 6, DropSource)), public,
		},
		"symmetric phone: same IP, other port, after four packets": {
			public, signaller, false, run4(10*ms, 20*ms, public2, 1, 65534, dropNone), public2,
		},
		"three packets do not teach": {
			public, signaller, false, run4(10*ms, 20*ms, public2, 1, 1, dropNone)[:3], public,
		},
		"a gap starts the count again": {
			public, signaller, false, join(run4(10*ms, 20*ms, public2, 1, 1, dropNone)[:3],
				run4(100*ms, 20*ms, public2, 1, 9, dropNone)), public2,
		},
		"another SSRC starts the count again": {
			public, signaller, false, join(run4(10*ms, 20*ms, public2, 1, 1, dropNone)[:3],
				one(70*ms, public2, 2, 4, DropLearning)), public,
		},
		"public SDP: the signaller's neighbor is a stranger": {
			public, signaller, false, run4(10*ms, 20*ms, near, 1, 1, DropSource), public,
		},
		"NAT: private SDP, packets from the signaling address": {
			private, signaller, false, run4(10*ms, 20*ms, public2, 1, 1, dropNone), public2,
		},
		"NAT: or from its network": {
			private, signaller, false, run4(10*ms, 20*ms, near, 1, 1, dropNone), near,
		},
		"NAT: but from nowhere else": {
			private, signaller, false, run4(10*ms, 20*ms, stranger, 1, 1, DropSource), private,
		},
		"NAT as told, though SDP looks fine": {
			"203.0.112.1:4000", signaller, true, run4(10*ms, 20*ms, near, 1, 1, dropNone), near,
		},
		"NAT: SDP 0.0.0.0": {
			"0.0.0.0:4000", signaller, false, run4(10*ms, 20*ms, public2, 1, 1, dropNone), public2,
		},
		"NAT: the attacker's packets between do not undo the count": {
			private, signaller, false, []arrival{
				{10 * ms, public2, 1, 1, DropLearning},
				{11 * ms, near, 1, 2, DropLearning},
				{30 * ms, public2, 1, 2, DropLearning},
				{31 * ms, stranger, 1, 3, DropSource},
				{50 * ms, public2, 1, 3, DropLearning},
				{51 * ms, near, 1, 4, DropLearning},
				{70 * ms, public2, 1, 4, dropNone},
				{71 * ms, near, 1, 5, DropSource},
			}, public2,
		},
		"NAT: after the lock only that source": {
			private, signaller, false, join(run4(10*ms, 20*ms, public2, 1, 1, dropNone),
				run4(200*ms, 20*ms, near, 1, 5, DropSource)), public2,
		},
		"NAT: SDP's address takes the lock back": {
			private, signaller, false, join(run4(10*ms, 20*ms, public2, 1, 1, dropNone),
				one(200*ms, private, 1, 5, dropNone), one(220*ms, public2, 1, 6, DropSource)), private,
		},
		"late: after the window the network is no longer enough": {
			private, signaller, false, run4(3001*ms, 20*ms, near, 1, 1, DropSource), private,
		},
		"late: but the signaling address itself is": {
			private, signaller, false, run4(9*time.Second, 20*ms, public2, 1, 1, dropNone), public2,
		},
		"rebinding: silent for 2 s, same SSRC goes on elsewhere": {
			private, signaller, false, join(run4(10*ms, 20*ms, public2, 1, 1, dropNone),
				run4(2200*ms, 20*ms, public, 1, 100, dropNone)), public,
		},
		"rebinding: not while the source sends": {
			private, signaller, false, join(run4(10*ms, 20*ms, public2, 1, 1, dropNone),
				run4(1900*ms, 20*ms, public, 1, 100, DropSource)), public2,
		},
		"rebinding: not with another SSRC": {
			private, signaller, false, join(run4(10*ms, 20*ms, public2, 1, 1, dropNone),
				run4(5*time.Second, 20*ms, public, 2, 100, DropSource)), public2,
		},
		"loopback is its own signaling address": {
			"127.0.0.1:4000", "127.0.0.1", false, run4(10*ms, 20*ms, "127.0.0.2:4000", 1, 1, DropSource), "127.0.0.1:4000",
		},
		"IPv6 /64": {
			"[fe80::1]:4000", "2001:db8:1:2::7", false, run4(10*ms, 20*ms, "[2001:db8:1:2:ffff::1]:9", 1, 1, dropNone),
			"[2001:db8:1:2:ffff::1]:9",
		},
		"IPv6 other network": {
			"[fe80::1]:4000", "2001:db8:1:2::7", false, run4(10*ms, 20*ms, "[2001:db8:1:3::7]:9", 1, 1, DropSource),
			"[fe80::1]:4000",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			const start = moment(time.Hour)
			var f sourceFilter
			f.set(ap(tc.sdp), netip.MustParseAddr(tc.signaling), tc.learn, start)
			for i, a := range tc.story {
				got := f.accept(ap(a.from), header{ssrc: a.ssrc, sequence: a.sequence}, start.add(a.at))
				if got != a.want {
					t.Fatalf("packet %d (%+v): %q, want %q", i, a, got, a.want)
				}
			}
			if f.remote() != ap(tc.remote) {
				t.Errorf("sends to %v, want %v", f.remote(), tc.remote)
			}
		})
	}
}

func TestSourceRulesAfterReInvite(t *testing.T) {
	signaller := netip.MustParseAddr("203.0.113.7")
	var f sourceFilter
	f.set(ap("192.168.1.5:4000"), signaller, false, 0)
	for i := range uint16(4) {
		f.accept(ap("203.0.113.7:9"), header{ssrc: 1, sequence: i}, moment(i))
	}
	f.set(ap("192.168.1.5:4000"), signaller, false, 10)
	if f.remote() != ap("203.0.113.7:9") {
		t.Error("a session refresh lost the learned address")
	}
	if why := f.accept(ap("203.0.113.8:9"), header{ssrc: 1, sequence: 5}, 20); why != DropSource {
		t.Errorf("a session refresh opened the window: %v", why)
	}
	f.set(ap("198.51.100.9:6000"), netip.MustParseAddr("198.51.100.9"), false, 30)
	if f.remote() != ap("198.51.100.9:6000") {
		t.Error("a new SDP address is not used")
	}
	if why := f.accept(ap("203.0.113.7:9"), header{ssrc: 1, sequence: 6}, 40); why != DropSource {
		t.Errorf("the old address is still heard: %v", why)
	}
}

// An attacker on the wire: nothing of his is played, nothing is sent to him, the call goes on.
func TestAttackerHearsAndSaysNothing(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 1})
	a, b, pa, pb := bridge(t, e, mustPCMU(), mustPCMU())
	attacker := newPhone(t, mustPCMU())
	attacker.ssrc = pa.ssrc
	pa.say(a, numbered(0))
	pb.wait("the caller", isNumbered(1))
	for i := range 200 {
		attacker.say(a, filled(0x66))
		if i%50 == 0 {
			pa.say(a, numbered(1+i/50))
		}
	}
	h := pb.wait("the caller again", isNumbered(5))
	for _, p := range h {
		if p.Payload[0] == 0x66 {
			t.Fatal("the attacker is heard")
		}
	}
	eventually(t, "his packets are counted", func() bool { return e.Stats().Drops["source"] >= 200 })
	if n := len(attacker.waitCount(0)); n != 0 {
		t.Errorf("%d packets leaked to the attacker", n)
	}
	eventually(t, "the address is shown", func() bool { return b.Quality().RemoteAddress == pb.addr().String() })
}

// A phone behind NAT says in SDP what nobody can reach; packets go to where its own come from.
func TestNATOnTheWire(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 1})
	s, p := open(t, e, ""), newPhone(t, mustPCMU())
	params := p.params()
	params.Remote = ap("192.168.77.5:4000")
	params.RemoteRTCP = ap("127.0.0.1:9") // not routed anywhere but here
	params.Send = false                   // nothing leaves to the private address in this test
	s.Set(params)
	for range 4 {
		p.say(s, filled(1))
	}
	select {
	case ev := <-s.Events():
		if ev.Kind != SourceChanged || ev.Remote != p.addr() {
			t.Errorf("event %+v", ev)
		}
	case <-time.After(patience):
		t.Fatal("the source was not learned")
	}
	params.Send = true
	s.Set(params)
	p.waitCount(3)
	eventually(t, "three were dropped while learning", func() bool { return e.Stats().Drops["learning"] == 3 })
}

func TestAlienPacketsAreCountedAndDropped(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 1})
	a, _, pa, pb := bridge(t, e, mustPCMU(), mustPCMU())
	raw, _ := pa.packet(filled(7)).Marshal()
	change := func(f func(b []byte) []byte) []byte { return f(append([]byte(nil), raw...)) }
	aliens := map[string][]byte{
		"truncated":    raw[:7],
		"version":      change(func(b []byte) []byte { b[0] = 0x40; return b }),
		"payload_type": change(func(b []byte) []byte { b[1] = 97; return b }),
		"too_long":     append(raw, make([]byte, 1800)...),
		"rtcp":         {0x80, 200, 0, 9, 1, 2, 3, 4},
	}
	before := open(t, e, "") // no Set yet
	pa.sendRaw(before, raw)
	for name, b := range aliens {
		pa.sendRaw(a, b)
		eventually(t, name+" is counted", func() bool { return e.Stats().Drops[name] >= 1 })
	}
	eventually(t, "what came too early is counted", func() bool { return e.Stats().Drops["payload_type"] >= 2 })
	eventually(t, "the session counts too", func() bool { return a.Quality().PacketsDropped == uint64(len(aliens)) })
	for _, p := range pb.waitCount(1) {
		if p.Payload[0] == 7 {
			t.Error("an alien packet was relayed")
		}
	}
}
