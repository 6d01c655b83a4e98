package rtp

import (
	"sync"
	"testing"
	"time"

	"github.com/tipring/tipring/engine/media/mediatest"
	"github.com/tipring/tipring/engine/mixer"
)

// waitTones waits until a phone hears all of hz for half a second, and not those of without.
func waitTones(t *testing.T, p *phone, hz []float64, without ...float64) {
	t.Helper()
	p.wait("the tones", func(h []heard) bool {
		if len(h) < 25 {
			return false
		}
		pcm := hear(t, p.codec, h[len(h)-25:])
		for _, f := range hz {
			if mediatest.ToneLevel(pcm, 8000, f) < -25 {
				return false
			}
		}
		for _, f := range without {
			if mediatest.ToneLevel(pcm, 8000, f) > -40 {
				return false
			}
		}
		return true
	})
}

// Sessions on several threads that join a room at once come together on one of them, where the room reads their mics
// without a detour; each hears the others. One goes to another room, and one into a bridge.
func TestARoomComesTogether(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 3})
	room, other := mixer.NewRoom(mixer.Options{}), mixer.NewRoom(mixer.Options{})
	const n = 12
	tones := []float64{500, 900, 1300}
	sessions, phones := make([]*Session, n), make([]*phone, n)
	for i := range n {
		name := "PCMU"
		if i%2 == 1 {
			name = "PCMA"
		}
		sessions[i], phones[i] = open(t, e, ""), newPhone(t, codecNamed(t, name))
		phones[i].ssrc = uint32(100 + i)
		sessions[i].Set(phones[i].params())
		if i < len(tones) {
			phones[i].talk(sessions[i], tonePayload(t, phones[i].codec, tones[i]))
		} else {
			silence := phones[i].codec.AppendSilence(nil, 20)
			phones[i].talk(sessions[i], func(int) []byte { return silence })
		}
	}
	var joining sync.WaitGroup
	for _, s := range sessions {
		joining.Go(func() { s.Hear(room.Join(s.Mic(), 8000, mixer.State{})) })
	}
	joining.Wait()
	for i, p := range phones {
		var others, own []float64
		for k, hz := range tones {
			if k == i {
				own = append(own, hz)
			} else {
				others = append(others, hz)
			}
		}
		waitTones(t, p, others, own...)
	}
	eventually(t, "all are on one thread and read there", func() bool {
		home := sessions[0].owner.Load()
		for _, s := range sessions {
			if s.owner.Load() != home || s.mic.exchange.Load() != nil {
				return false
			}
		}
		return true
	})
	for _, i := range []int{0, 5} {
		sessions[i].Hear(other.Join(sessions[i].Mic(), 8000, mixer.State{}))
	}
	waitTones(t, phones[5], []float64{500})
	sessions[1].Hear(sessions[6].Mic())
	sessions[6].Hear(sessions[1].Mic())
	waitTone(t, phones[6], phones[6].codec, 900)
	if st := room.Stats(); st.Faults != 0 {
		t.Errorf("%+v", st)
	}
	for _, p := range phones {
		checkStream(t, p.waitCount(0))
	}
}

// One far end sends as fast as it can; the packets of a call on the same thread go on.
func TestAFloodOnOneLeg(t *testing.T) {
	e := loopbackEngine(t, Options{Shards: 1})
	a, b, pa, pb := bridge(t, e, mustPCMU(), mustPCMU())
	pa.say(a, filled(1))
	pb.say(b, filled(2))
	eventually(t, "the bridge relays", func() bool { return a.Quality().Relayed && b.Quality().Relayed })
	victim, flooder := open(t, e, ""), newPhone(t, mustPCMU())
	victim.Set(flooder.params())
	victim.Hear(victim.Mic()) // so that its packets wait for somebody
	stop, flooded := make(chan struct{}), make(chan int)
	go func() {
		sent := 0
		for {
			select {
			case <-stop:
				flooded <- sent
				return
			default:
				flooder.say(victim, filled(3))
				sent++
			}
		}
	}()
	const packets = 50
	before := len(pb.waitCount(0))
	for range packets {
		pa.say(a, filled(4))
		time.Sleep(packetTime)
	}
	h := pb.wait("the call's packets", func(h []heard) bool { return len(h) >= before+packets-2 })
	close(stop)
	if n := <-flooded; n < 2*packets {
		t.Errorf("only %d packets were the flood", n)
	}
	checkStream(t, h)
	if j := victim.Quality(); j.PacketsReceived == 0 {
		t.Errorf("%+v", j)
	}
}

// The far end changes its payload type without saying so: what was not negotiated is dropped and counted, and the call
// goes on when it is back.
func TestThePayloadTypeChangesByItself(t *testing.T) {
	sh, s, p := handSingle(t, mustPCMU(), nil)
	s.Hear(s.Mic())
	sh.drain(t)
	for i := range 30 {
		pkt := p.packet(filled(0x10))
		if i >= 10 && i < 20 {
			pkt.PayloadType = 8
		}
		p.send(s, pkt)
		sh.expect(t, 1)
		sh.pass(packetTime)
	}
	if d := s.drops; d != 10 {
		t.Errorf("%d were dropped of 10", d)
	}
	if got := s.in.statistics.received; got != 20 {
		t.Errorf("%d were taken of 20", got)
	}
	var loud int
	for _, h := range p.wait("the echo", func(h []heard) bool { return len(h) >= 24 }) {
		if h.Payload[0] == 0x10 {
			loud++
		}
	}
	if loud < 12 {
		t.Errorf("%d packets came back", loud)
	}
}
