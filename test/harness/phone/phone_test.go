package phone

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// pair is a call between two phones, answered.
func pair(t *testing.T, a, b Options) (caller, callee *Call) {
	t.Helper()
	alice, bob := New(t, a), New(t, b)
	caller = alice.Call(bob.URI(), CallOptions{})
	callee = bob.Expect()
	callee.Ring()
	caller.WaitEarly(180)
	callee.Answer()
	caller.WaitAnswered()
	callee.WaitAnswered()
	return caller, callee
}

func TestToneBothWays(t *testing.T) {
	for _, transport := range []string{"UDP", "TCP"} {
		for _, codec := range []string{"PCMU", "PCMA"} {
			t.Run(transport+" "+codec, func(t *testing.T) {
				a, b := pair(t, Options{User: "alice", Transport: transport}, Options{User: "bob", Transport: transport, Codecs: []string{codec}})
				a.Play(Tone(440))
				b.Play(Tone(1000, 1300))
				b.WaitTone(440)
				a.WaitTone(1000, 1300)
				h := b.HeardSince(time.Now().Add(-window))
				if l := h.Level(); l < -17 || l > -13 { // a sine of amplitude 8192: -15 dBFS RMS
					t.Errorf("level %.1f dBFS, want -15", l)
				}
				if s := h.Share(1000); s > 0.05 {
					t.Errorf("a tone of 440 Hz has %.2f of its energy at 1000 Hz", s)
				}
				a.Play(Silence())
				b.WaitQuiet()
				a.Hangup()
				if e := b.WaitEnded(); e.Method != "BYE" {
					t.Errorf("ended by %+v", e)
				}
			})
		}
	}
}

func TestNumberedPacketsArriveInOrder(t *testing.T) {
	a, b := pair(t, Options{User: "alice"}, Options{User: "bob"})
	since := time.Now()
	a.Play(Numbered())
	h := b.WaitPackets(40, since)
	n := h.Numbers()
	if len(n) < 30 || !slices.IsSorted(n) || int(n[len(n)-1]-n[0]) != len(n)-1 {
		t.Errorf("numbers %v", n)
	}
	if h.Missing() != 0 || len(h.SSRCs()) != 1 {
		t.Errorf("missing %d, SSRCs %d", h.Missing(), len(h.SSRCs()))
	}
}

func TestLossIsSeen(t *testing.T) {
	h := Heard{Packets: []Packet{{Seq: 65534, SSRC: 1}, {Seq: 65535, SSRC: 1}, {Seq: 2, SSRC: 1}, {Seq: 9, SSRC: 2}, {Seq: 11, SSRC: 2}}}
	if got := h.Missing(); got != 3 {
		t.Errorf("missing %d, want 3", got)
	}
}

func TestKeys(t *testing.T) {
	a, b := pair(t, Options{User: "alice"}, Options{User: "bob"})
	a.SendKeys("12*#D")
	b.WaitDigits("12*#D")
	for _, k := range b.Heard().Keys {
		if k.Ends != 3 || k.Duration != 100*time.Millisecond {
			t.Errorf("key %c: %d ends, %v", k.Key, k.Ends, k.Duration)
		}
	}
	b.SendInfo("7")
	if i := a.Infos(); len(i) != 1 || i[0].Body != "Signal=7\r\nDuration=160\r\n" {
		t.Errorf("INFO %v", i)
	}
	a.SendKeysLossy("5")
	a.SendLongKey('6', time.Second)
	b.WaitDigits("12*#D56")
	keys := b.Heard().Keys
	if keys[5].Ends != 0 || keys[6].Duration != time.Second {
		t.Errorf("lossy key %+v, long key %+v", keys[5], keys[6])
	}
}

func TestHold(t *testing.T) {
	a, b := pair(t, Options{User: "alice"}, Options{User: "bob"})
	b.Play(Tone(440))
	a.WaitTone(440)
	if d := a.Hold("sendonly"); d != "recvonly" {
		t.Errorf("answer to sendonly: %s", d)
	}
	since := time.Now().Add(100 * time.Millisecond) // what is on its way still comes
	a.Play(Tone(600))
	b.WaitTone(600)
	if n := len(a.HeardSince(since).Packets); n != 0 {
		t.Errorf("%d packets from a phone on hold", n)
	}
	if d := a.Unhold(); d != "sendrecv" {
		t.Errorf("answer to sendrecv: %s", d)
	}
	a.WaitTone(440)
	b.RefuseOffers(491)
	if m := a.Request("INVITE", a.Ours().String()); m.Status() != 491 {
		t.Errorf("refused re-INVITE: %s", m.Start)
	}
	if len(b.Offers()) != 2 {
		t.Errorf("%d offers", len(b.Offers()))
	}
}

func TestEarlyMediaThenReject(t *testing.T) {
	alice, bob := New(t, Options{User: "alice"}), New(t, Options{User: "bob"})
	a := alice.Call(bob.URI(), CallOptions{Headers: []Field{{"X-Test", "1"}}})
	b := bob.Expect()
	if b.Invite().Get("x-test") != "1" {
		t.Error("the header did not arrive")
	}
	b.EarlyMedia()
	b.Play(Tone(425))
	a.WaitEarly(183)
	a.WaitTone(425)
	b.Reject(486, "Busy Here", Field{"Reason", "Q.850;cause=17"})
	if e := a.WaitEnded(); e.Status != 486 || e.Reason != "Q.850;cause=17" {
		t.Errorf("ended %+v", e)
	}
}

func TestCancel(t *testing.T) {
	alice, bob := New(t, Options{User: "alice"}), New(t, Options{User: "bob"})
	a := alice.Call(bob.URI(), CallOptions{})
	b := bob.Expect()
	b.Ring()
	a.WaitEarly(180)
	a.Hangup()
	if e := a.WaitEnded(); e.Status != 487 {
		t.Errorf("caller: %+v", e)
	}
	if e := b.WaitEnded(); e.Method != "CANCEL" {
		t.Errorf("callee: %+v", e)
	}
}

func TestOfferless(t *testing.T) {
	alice, bob := New(t, Options{User: "alice"}), New(t, Options{User: "bob"})
	a := alice.Call(bob.URI(), CallOptions{NoOffer: true})
	b := bob.Expect()
	b.Answer()
	a.WaitAnswered()
	b.WaitAnswered()
	a.Play(Tone(500))
	b.WaitTone(500)
}

func TestNoCommonCodec(t *testing.T) {
	alice, bob := New(t, Options{User: "alice", Codecs: []string{"PCMA"}}), New(t, Options{User: "bob", Codecs: []string{"PCMU"}})
	if e := alice.Call(bob.URI(), CallOptions{}).WaitEnded(); e.Status != 488 {
		t.Errorf("ended %+v", e)
	}
}

func TestDigest(t *testing.T) {
	for _, alg := range []string{"MD5", "SHA-256"} {
		for _, password := range []string{"secret", "wrong"} {
			t.Run(alg+" "+password, func(t *testing.T) {
				bob := New(t, Options{User: "bob", Challenge: &Challenge{Realm: "r", Username: "u", Password: "secret", Algorithm: alg}})
				alice := New(t, Options{User: "alice", Username: "u", Password: password})
				a := alice.Call(bob.URI(), CallOptions{})
				if password == "wrong" {
					if e := a.WaitEnded(); e.Status != 407 {
						t.Errorf("ended %+v", e)
					}
					return
				}
				b := bob.Expect()
				b.Answer()
				a.WaitAnswered()
				b.WaitAnswered()
			})
		}
	}
}

// TestDigestExample is the example of RFC 7616 3.9.1.
func TestDigestExample(t *testing.T) {
	for alg, want := range map[string]string{
		"MD5":     "8ca523f5e9506fed4657c9700eebdbec",
		"SHA-256": "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1",
	} {
		got := digestResponse(alg, "Mufasa", "http-auth@example.org", "Circle of Life", "GET", "/dir/index.html",
			"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", "00000001", "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ", "auth")
		if got != want {
			t.Errorf("%s: %s, want %s", alg, got, want)
		}
	}
}

// TestRetransmission: a request that nobody answers is sent again, and a repeated request gets the same answer.
func TestRetransmission(t *testing.T) {
	alice, bob := New(t, Options{User: "alice"}), New(t, Options{User: "bob", Manual: true})
	a := alice.Call(bob.URI(), CallOptions{})
	b := bob.Expect()
	b.Answer()
	a.WaitAnswered()
	b.WaitAnswered()
	done := make(chan Message, 1)
	go func() { done <- a.Request("INFO", "x", Field{"Content-Type", "text/plain"}) }()
	b.WaitRequest("INFO")
	again := b.WaitRequest("INFO") // the same one, after T1
	b.Reply(again, 200, "OK", "")
	if m := <-done; m.Status() != 200 {
		t.Errorf("answer %s", m.Start)
	}
}

func TestNoACKRepeats200(t *testing.T) {
	alice, bob := New(t, Options{User: "alice"}), New(t, Options{User: "bob"})
	a := alice.Call(bob.URI(), CallOptions{NoACK: true})
	bob.Expect().Answer()
	a.WaitAnswered()
	alice.await("200 comes again", func() bool {
		n := 0
		for _, s := range alice.Messages() {
			if s.Message.Status() == 200 {
				n++
			}
		}
		return n >= 2
	}, nil)
}

func TestRawMessages(t *testing.T) {
	alice, bob := New(t, Options{User: "alice"}), New(t, Options{User: "bob"})
	alice.Send(`OPTIONS sip:bob SIP/2.0
v: SIP/2.0/UDP {local};branch=z9hG4bKraw1
f: <sip:alice@{local}>;tag=1
t: <sip:bob>
i: raw@1
CSeq: 7 OPTIONS
l: 0

`, bob.Addr())
	m := alice.WaitMessage("200", func(m Message) bool { return m.Status() == 200 })
	if n, method := m.CSeq(); n != 7 || method != "OPTIONS" || m.Branch() != "z9hG4bKraw1" {
		t.Errorf("response %v", m)
	}
}

func TestList(t *testing.T) {
	got := list(`"a, b" <sip:x@h;p=1,2>, <sip:y@h>;q=1,sip:z@h`)
	want := []string{`"a, b" <sip:x@h;p=1,2>`, `<sip:y@h>;q=1`, `sip:z@h`}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q", got)
	}
}

func FuzzMessage(f *testing.F) {
	f.Add([]byte("INVITE sip:a@b SIP/2.0\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nl: 3\r\n\r\nabcdef"))
	f.Add([]byte("SIP/2.0 200 OK\r\nSubject: a\r\n b\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Parse(b)
		if err != nil {
			return
		}
		again, err := Parse([]byte(m.String()))
		if err != nil {
			t.Fatalf("what we write we cannot read: %v", err)
		}
		if again.Body != m.Body || again.Status() != m.Status() || again.Method() != m.Method() {
			t.Errorf("%+v\n%+v", m, again)
		}
	})
}

func FuzzSDP(f *testing.F) {
	f.Add("v=0\r\no=- 1 2 IN IP4 1.2.3.4\r\nc=IN IP4 1.2.3.4\r\nm=audio 4000 RTP/AVP 0 101\r\na=rtpmap:101 telephone-event/8000\r\na=sendonly\r\n")
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseSDP(s)
		if err != nil || !d.Addr.IsValid() {
			return
		}
		if _, err := ParseSDP(d.String()); err != nil {
			t.Errorf("what we write we cannot read: %v\n%s", err, d)
		}
	})
}
