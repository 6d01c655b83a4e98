package rtp

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	pion "github.com/pion/rtp"
)

// A pipe is a Transport that keeps what is sent by it.
type pipe struct {
	mu   sync.Mutex
	rtp  []pion.Packet
	rtcp int
	fail bool
}

func (p *pipe) SendRTP(b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail {
		return errors.New("closed")
	}
	var pkt pion.Packet
	if err := pkt.Unmarshal(slices.Clone(b)); err != nil {
		return err
	}
	p.rtp = append(p.rtp, pkt)
	return nil
}

func (p *pipe) SendRTCP([]byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rtcp++
	return nil
}

func (p *pipe) sent() []pion.Packet {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.rtp)
}

// say delivers packets of 20 ms to a session until the test ends.
func sayBy(t *testing.T, s *Session, p *phone, payload []byte) {
	t.Helper()
	stop := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		tick := time.NewTicker(packetTime)
		defer tick.Stop()
		for {
			select {
			case <-stop:
				return
			case <-tick.C:
				b, _ := p.packet(payload).Marshal()
				s.Deliver(b)
			}
		}
	})
	t.Cleanup(func() { close(stop); done.Wait() })
}

// A session that a Transport carries is one like others: it relays, transcodes, sends reports, and ends.
func TestTransport(t *testing.T) {
	for _, name := range []string{"PCMU", "PCMA"} { // of the far end on UDP: relayed, transcoded
		t.Run(name, func(t *testing.T) {
			e := loopbackEngine(t, Options{Shards: 2})
			far := newPhone(t, codecNamed(t, name))
			udp := open(t, e, "")
			udp.Set(far.params())
			by, voice := new(pipe), newPhone(t, mustPCMU())
			s, err := e.OpenOn("", by, 0x77)
			if err != nil {
				t.Fatal(err)
			}
			s.Set(voice.params())
			s.Hear(udp.Mic())
			udp.Hear(s.Mic())
			sayBy(t, s, voice, filled(0x10))
			far.talk(udp, tonePayload(t, far.codec, 700))
			far.wait("what was delivered", func(h []heard) bool {
				return len(h) > 20 && h[len(h)-1].Payload[0]&0x7f < 0x40 // loud in both laws
			})
			eventually(t, "the carried side hears", func() bool { return len(by.sent()) > 30 })
			for _, p := range by.sent() {
				if p.SSRC != 0x77 {
					t.Fatalf("SSRC %x", p.SSRC)
				}
			}
			if q := s.Quality(); q.Relayed != (name == "PCMU") || q.PacketsReceived == 0 {
				t.Errorf("%+v", q)
			}
			next := new(pipe)
			s.Carry(next, 0x88)
			eventually(t, "another Transport carries on", func() bool { return len(next.sent()) > 5 })
			last := by.sent()
			first := next.sent()[0]
			if first.SSRC != 0x88 || first.SequenceNumber != last[len(last)-1].SequenceNumber+1 {
				t.Errorf("%+v follows %+v", first.Header, last[len(last)-1].Header)
			}
			s.Close()
			for range s.Events() { // until it is over
			}
			s.Deliver([]byte{0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1})
			if next.rtcp == 0 {
				t.Error("no BYE")
			}
		})
	}
}

// More packets than the media thread can take are dropped and counted.
func TestTransportFlood(t *testing.T) {
	e, sh := handEngine(t)
	s, err := e.OpenOn("", new(pipe), 1)
	if err != nil {
		t.Fatal(err)
	}
	p := newPhone(t, mustPCMU())
	s.Set(p.params())
	sh.drain(t)
	for range 10 * inboxSize {
		b, _ := p.packet(filled(1)).Marshal()
		s.Deliver(b)
	}
	s.Deliver(make([]byte, maxDatagram+1))
	s.Deliver(nil)
	sh.drain(t)
	if s.in.statistics.received != inboxSize || s.drops != 9*inboxSize {
		t.Errorf("%d taken, %d dropped", s.in.statistics.received, s.drops)
	}
}
