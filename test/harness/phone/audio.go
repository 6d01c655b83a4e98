package phone

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"time"
)

// packetTime is what the phone sends and offers.
const packetTime = 20 * time.Millisecond

// A Packet is one RTP packet that arrived.
type Packet struct {
	At      time.Time
	From    netip.AddrPort
	Seq     uint16
	TS      uint32
	SSRC    uint32
	PT      uint8
	Marker  bool
	Payload []byte
}

// audio is the phone's RTP: a real UDP socket, one packet each 20 ms while the other side wants to hear something.
type audio struct {
	rtp, rtcp *net.UDPConn
	stop      chan struct{}
	done      sync.WaitGroup

	mu       sync.Mutex
	running  bool
	remote   netip.AddrPort
	codec    Payload
	eventOut Payload // telephone-event that we send
	eventIn  uint8   // and receive; 0: none
	sends    bool
	sound    Sound
	frame    int // of sound
	seq      uint16
	ts       uint32
	ssrc     uint32
	keys     []press
	packets  []Packet // received, events included
	reports  [][]byte // RTCP received
	sent     uint64
}

// openAudio binds an even port for RTP and the next one for RTCP.
func openAudio() (*audio, error) {
	for range 100 {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return nil, err
		}
		port := c.LocalAddr().(*net.UDPAddr).Port
		if port%2 == 0 {
			if r, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port + 1}); err == nil {
				a := &audio{rtp: c, rtcp: r, stop: make(chan struct{}), sound: Silence(), seq: uint16(rand.Uint32()), ts: rand.Uint32(), ssrc: rand.Uint32()}
				a.done.Go(a.receive)
				a.done.Go(a.receiveReports)
				return a, nil
			}
		}
		c.Close()
	}
	return nil, fmt.Errorf("phone: no free pair of ports")
}

func (a *audio) port() int { return a.rtp.LocalAddr().(*net.UDPAddr).Port }

// close ends the goroutines and waits for them.
func (a *audio) close() {
	a.mu.Lock()
	select {
	case <-a.stop:
	default:
		close(a.stop)
	}
	a.mu.Unlock()
	a.rtp.Close()
	a.rtcp.Close()
	a.done.Wait()
}

// agree takes what offer and answer came to: the other side's description, and ours with its direction.
func (a *audio) agree(theirs, ours SDP) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if theirs.Port == 0 || !theirs.Addr.IsValid() {
		return
	}
	a.remote = netip.AddrPortFrom(theirs.Addr, uint16(theirs.Port))
	for _, p := range theirs.Payloads { // their order decides, among what we know
		if q, ok := ours.Payload(p.Name); ok && q.Name != "telephone-event" {
			a.codec = p
			break
		}
	}
	a.eventOut, a.eventIn = Payload{}, 0
	if p, ok := theirs.Payload("telephone-event"); ok {
		if q, ok := ours.Payload("telephone-event"); ok {
			a.eventOut, a.eventIn = p, q.PT
		}
	}
	a.sends = (ours.Direction == "sendrecv" || ours.Direction == "sendonly") &&
		(theirs.Direction == "sendrecv" || theirs.Direction == "recvonly")
	if !a.running {
		select {
		case <-a.stop:
		default:
			a.running = true
			a.done.Go(a.send)
		}
	}
}

func (a *audio) play(s Sound) {
	a.mu.Lock()
	a.sound, a.frame = s, 0
	a.mu.Unlock()
}

// send paces by absolute deadlines: a late packet does not make the next one late.
func (a *audio) send() {
	next := time.Now()
	t := time.NewTimer(0)
	defer t.Stop()
	for {
		select {
		case <-a.stop:
			return
		case <-t.C:
		}
		if late := time.Since(next); late > time.Second {
			next = time.Now() // the machine slept: do not burst
		}
		a.sendOne()
		next = next.Add(packetTime)
		t.Reset(time.Until(next))
	}
}

func (a *audio) sendOne() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.sends {
		a.keys = nil // nobody listens any more
		return
	}
	samples := uint32(a.codec.Rate) * uint32(packetTime/time.Millisecond) / 1000
	if len(a.keys) > 0 {
		a.sendKey()
		a.ts += samples
		return
	}
	p := a.sound.payload(a.frame, a.codec.Name)
	a.frame++
	if p != nil {
		a.write(a.codec.PT, a.ts, a.frame == 1, p)
	}
	a.ts += samples
}

func (a *audio) write(pt uint8, ts uint32, marker bool, payload []byte) {
	b := make([]byte, 12, 12+len(payload))
	b[0], b[1] = 0x80, pt
	if marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], a.seq)
	binary.BigEndian.PutUint32(b[4:], ts)
	binary.BigEndian.PutUint32(b[8:], a.ssrc)
	a.seq++
	a.sent++
	a.rtp.WriteToUDPAddrPort(append(b, payload...), a.remote) //nolint:errcheck // a port that is gone shows in what is heard
}

func (a *audio) receive() {
	buf := make([]byte, 2048)
	for {
		n, from, err := a.rtp.ReadFromUDPAddrPort(buf)
		if err != nil {
			select {
			case <-a.stop:
				return
			default:
				continue // ICMP port unreachable of an earlier packet
			}
		}
		p, ok := readPacket(buf[:n])
		if !ok {
			continue
		}
		p.At, p.From = time.Now(), netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
		a.mu.Lock()
		a.packets = append(a.packets, p)
		a.mu.Unlock()
	}
}

func readPacket(b []byte) (Packet, bool) {
	if len(b) < 12 || b[0]>>6 != 2 {
		return Packet{}, false
	}
	head := 12 + 4*int(b[0]&15)
	if b[0]&0x10 != 0 && len(b) >= head+4 {
		head += 4 + 4*int(binary.BigEndian.Uint16(b[head+2:]))
	}
	if head > len(b) {
		return Packet{}, false
	}
	return Packet{
		Seq: binary.BigEndian.Uint16(b[2:]), TS: binary.BigEndian.Uint32(b[4:]), SSRC: binary.BigEndian.Uint32(b[8:]),
		PT: b[1] & 127, Marker: b[1]&128 != 0, Payload: append([]byte(nil), b[head:]...),
	}, true
}

func (a *audio) receiveReports() {
	buf := make([]byte, 2048)
	for {
		n, _, err := a.rtcp.ReadFromUDPAddrPort(buf)
		if err != nil {
			select {
			case <-a.stop:
				return
			default:
				continue
			}
		}
		a.mu.Lock()
		a.reports = append(a.reports, append([]byte(nil), buf[:n]...))
		a.mu.Unlock()
	}
}
