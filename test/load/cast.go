package main

import (
	"encoding/binary"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/zaf/g711"
	"golang.org/x/sys/unix"
	"gopkg.in/hraban/opus.v2"
)

// A cast is the RTP of all calls of a side whose audio is checked: one socket, from which each actor sends his stream on
// a grid of 1 ms, and what each hears in the window is kept for later.
type cast struct {
	conn   *net.UDPConn
	actors []*actor
	stop   chan struct{}
	done   sync.WaitGroup
	late   atomic.Int64 // ticks begun more than 5 ms late
	from   atomic.Int64 // the window, ns since the epoch
	until  atomic.Int64

	mu     sync.Mutex
	byPort map[uint16]*actor // of the server
}

// An actor is one end of one call.
type actor struct {
	says  *stream
	shift int           // of the loop, in frames
	hears []*actor      // whose tones are to be heard here
	echo  bool          // his own tone must not be
	opus  *opus.Decoder // of what comes; nil: PCMU

	to     atomic.Pointer[netip.AddrPort]
	ssrc   uint32
	seq    uint16
	sentAt []int64 // by frame, ns; the pacer's until it stopped

	sent  int64 // in the window
	heard []heardPacket
}

type heardPacket struct {
	at      int64 // ns, by the kernel
	seq     uint16
	payload []byte
}

func newCast() (*cast, error) {
	conn, err := listenStamped()
	if err != nil {
		return nil, err
	}
	c := &cast{conn: conn, stop: make(chan struct{}), byPort: map[uint16]*actor{}}
	c.until.Store(0)
	return c, nil
}

func (c *cast) port() int { return c.conn.LocalAddr().(*net.UDPAddr).Port }

// start lets the actors speak; whom connect named does.
func (c *cast) start() {
	for i, a := range c.actors {
		a.ssrc = uint32(c.port())<<16 | uint32(i)
	}
	c.done.Go(c.receive)
	c.done.Go(c.send)
}

func (c *cast) close() {
	close(c.stop)
	c.conn.Close()
	c.done.Wait()
}

// connect tells where actor i's call has its RTP.
func (c *cast) connect(i int, to netip.AddrPort) {
	c.mu.Lock()
	c.byPort[to.Port()] = c.actors[i]
	c.mu.Unlock()
	c.actors[i].to.Store(&to)
}

func (c *cast) receive() {
	buf, oob := make([]byte, 2048), make([]byte, 128)
	for {
		n, m, _, from, err := c.conn.ReadMsgUDPAddrPort(buf, oob)
		if err != nil {
			return
		}
		at := arrival(oob[:m])
		if n <= headBytes || at < c.from.Load() || at >= c.until.Load() {
			continue
		}
		if pt := buf[1] & 0x7f; pt != 0 && pt != opusPT {
			continue // RTCP, events
		}
		c.mu.Lock()
		if a := c.byPort[from.Port()]; a != nil {
			a.heard = append(a.heard, heardPacket{at, binary.BigEndian.Uint16(buf[2:]), slices.Clone(buf[headBytes:n])})
		}
		c.mu.Unlock()
	}
}

func (c *cast) send() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	pkt := make([]byte, 1500)
	pkt[0] = 0x80
	start := time.Now()
	for tick := 0; ; tick++ {
		due := start.Add(time.Duration(tick) * time.Millisecond)
		if d := time.Until(due); d > 0 {
			ts := unix.NsecToTimespec(int64(d))
			unix.Nanosleep(&ts, nil) //nolint:errcheck // an interrupted sleep is an early tick
		} else if d < -5*time.Millisecond {
			c.late.Add(1)
		}
		select {
		case <-c.stop:
			return
		default:
		}
		for i := tick % 20; i < len(c.actors); i += 20 {
			c.speak(c.actors[i], tick/20, pkt)
		}
	}
}

func (c *cast) speak(a *actor, frame int, pkt []byte) {
	now := time.Now().UnixNano()
	for len(a.sentAt) < frame { // a tick may have been left out
		a.sentAt = append(a.sentAt, now)
	}
	a.sentAt = append(a.sentAt, now)
	to := a.to.Load()
	if to == nil {
		return
	}
	a.seq++
	pkt[1] = a.says.pt
	binary.BigEndian.PutUint16(pkt[2:], a.seq)
	binary.BigEndian.PutUint32(pkt[4:], uint32(frame)*a.says.step)
	binary.BigEndian.PutUint32(pkt[8:], a.ssrc)
	n := copy(pkt[headBytes:], a.says.packets[(frame+a.shift)%len(a.says.packets)])
	if now >= c.from.Load() && now < c.until.Load() {
		a.sent++
	}
	c.conn.WriteToUDPAddrPort(pkt[:headBytes+n], *to) //nolint:errcheck // what is lost is counted as lost
}

// verdict is what was heard in the window, over many actors.
type verdict struct {
	sent, heard, lost int64
	tones, missing    int // onsets found; actors that did not hear a tone that they should
	echoes            int // actors that heard themselves
	delays            []time.Duration
}

// judge listens to what a heard.
func (v *verdict) judge(a *actor) {
	v.sent += a.sent
	v.heard += int64(len(a.heard))
	if len(a.heard) == 0 {
		v.missing += min(1, len(a.hears))
		return
	}
	slices.SortStableFunc(a.heard, func(x, y heardPacket) int { return int(int16(x.seq - y.seq)) })
	first := a.heard[0].seq
	v.lost += int64(a.heard[len(a.heard)-1].seq-first) + 1 - int64(len(a.heard))
	if len(a.hears) == 0 && !a.echo {
		return
	}
	pcm, at := a.listen(first)
	for _, speaker := range a.hears {
		found := onsets(pcm, speaker.says.voice.hz)
		if len(found) == 0 && len(pcm) > 2*voiceLength {
			v.missing++
		}
		for _, n := range found {
			if arrived := at[n/frameSize]; arrived > 0 {
				if d, ok := speaker.delay(arrived + int64(n%frameSize)*int64(time.Second)/voiceRate); ok {
					v.delays = append(v.delays, d)
					v.tones++
				}
			}
		}
	}
	if a.echo && present(pcm, a.says.voice.hz) {
		v.echoes++
	}
}

// listen is what a heard as PCM, and when each packet of it came; 0: it did not.
func (a *actor) listen(first uint16) (pcm []int16, at []int64) {
	out := make([]int16, frameSize*6)
	for _, p := range a.heard {
		for want := int(p.seq - first); len(at) < want; {
			at, pcm = append(at, 0), append(pcm, make([]int16, frameSize)...)
		}
		n := 0
		if a.opus != nil {
			n, _ = a.opus.Decode(p.payload, out) // what cannot be decoded is silence
		} else {
			for n < len(p.payload) && n < len(out) {
				out[n] = g711.DecodeUlawFrame(p.payload[n])
				n++
			}
		}
		clear(out[min(n, frameSize):frameSize])
		at, pcm = append(at, p.at), append(pcm, out[:frameSize]...)
	}
	return pcm, at
}

// delay is how much before t a's tone began last, less than a second.
func (a *actor) delay(t int64) (time.Duration, bool) {
	const frame, offset = toneAt / frameSize, toneAt % frameSize
	for f, sent := range slices.Backward(a.sentAt) {
		if (f+a.shift)%voiceFrames != frame {
			continue
		}
		d := time.Duration(t - sent - offset*int64(time.Second)/voiceRate)
		if d > -10*time.Millisecond && d < time.Second {
			return d, true
		}
	}
	return 0, false
}
