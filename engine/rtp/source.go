package rtp

import (
	"net/netip"
	"time"
)

const (
	// learnWindow is how long after Set an address may be learned that SDP does not name.
	learnWindow = 3 * time.Second
	// silentSource is how long a source must be quiet until another address may continue its stream.
	silentSource = 2 * time.Second
	// learnPackets is how many plausible packets in a row teach an address.
	learnPackets = 4
)

// A sourceFilter decides whose packets are the far end's (RFC 7362 §4-5 asks for it, RTPBleed is what happens
// without). It holds one locked source:
//
//   - the address in SDP is accepted at once, and takes the lock back whenever it sends;
//   - another address needs four consecutive packets (negotiated payload type, one SSRC, sequence + 1). Within 3 s
//     after a new Set it must have the IP address of SDP or, in NAT mode, lie in the signaling address's network
//     (/24, IPv6 /64); after that window, as long as nothing was ever accepted, it must have exactly one of the two
//     IP addresses;
//   - when the locked source has been silent for 2 s, an address that may be learned can continue the same SSRC;
//   - everything else is refused. SSRC alone proves nothing: it is on the wire.
type sourceFilter struct {
	sdp       netip.AddrPort
	signaling netip.Addr
	learn     bool // as asked for by Params.Learn
	nat       bool
	setAt     moment

	locked     netip.AddrPort
	ssrc       uint32
	lastPacket moment
	candidates *[4]candidate // so many at once: an attacker's packets must not undo the count of the far end's; nil: none
}

// A candidate is an address that may become the source.
type candidate struct {
	from     netip.AddrPort
	ssrc     uint32
	sequence uint16
	count    int
	last     moment
}

// set starts over when the far end's addresses changed. A re-INVITE that repeats them keeps the lock, so that a
// session refresh opens no window.
func (f *sourceFilter) set(sdp netip.AddrPort, signaling netip.Addr, learn bool, now moment) {
	signaling = signaling.Unmap()
	if f.sdp == sdp && f.signaling == signaling && f.learn == learn {
		return
	}
	*f = sourceFilter{sdp: sdp, signaling: signaling, learn: learn, setAt: now}
	f.nat = learn || signaling.IsValid() && sdp.Addr() != signaling && unroutable(sdp.Addr())
}

// unroutable reports that a far end behind NAT may have put a into SDP without being reachable there.
func unroutable(a netip.Addr) bool {
	return !a.IsValid() || a.IsUnspecified() || a.IsPrivate() || a.IsLoopback() || a.IsLinkLocalUnicast() ||
		carrierNAT(a)
}

// carrierNAT is 100.64.0.0/10 (RFC 6598).
func carrierNAT(a netip.Addr) bool {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{100, 64, 0, 0}), 10).Contains(a)
}

// remote is where packets go: to the locked source, else to SDP's address if that names one.
func (f *sourceFilter) remote() netip.AddrPort {
	switch {
	case f.locked.IsValid():
		return f.locked
	case f.sdp.IsValid() && !f.sdp.Addr().IsUnspecified() && f.sdp.Port() != 0:
		return f.sdp
	}
	return netip.AddrPort{}
}

// accept judges a packet whose payload type was negotiated.
func (f *sourceFilter) accept(from netip.AddrPort, h header, now moment) DropReason {
	if from == f.locked || from == f.sdp {
		f.lock(from, h, now)
		return dropNone
	}
	if !f.mayLearn(from, h, now) {
		return DropSource
	}
	if f.count(from, h, now) < learnPackets {
		return DropLearning
	}
	f.lock(from, h, now)
	return dropNone
}

func (f *sourceFilter) lock(from netip.AddrPort, h header, now moment) {
	if f.locked != from {
		f.locked = from
		f.candidates = nil
	}
	f.ssrc, f.lastPacket = h.ssrc, now
}

func (f *sourceFilter) mayLearn(from netip.AddrPort, h header, now moment) bool {
	ip := from.Addr()
	exact := ip == f.sdp.Addr() || f.nat && ip == f.signaling
	near := exact || f.nat && sameNetwork(ip, f.signaling)
	if f.locked.IsValid() {
		return near && h.ssrc == f.ssrc && now.sub(f.lastPacket) > silentSource
	}
	if now.sub(f.setAt) <= learnWindow {
		return near
	}
	return exact
}

func sameNetwork(a, b netip.Addr) bool {
	if !b.IsValid() || a.Is4() != b.Is4() {
		return false
	}
	length := 24
	if b.Is6() {
		length = 64
	}
	network, err := b.Prefix(length)
	return err == nil && network.Contains(a)
}

// count counts packets in a row from one address. The candidate heard longest ago gives way to a new one.
func (f *sourceFilter) count(from netip.AddrPort, h header, now moment) int {
	if f.candidates == nil {
		f.candidates = new([4]candidate)
	}
	oldest := &f.candidates[0]
	for i := range f.candidates {
		c := &f.candidates[i]
		if c.from == from {
			if c.ssrc == h.ssrc && h.sequence == c.sequence+1 {
				c.count++
			} else {
				c.count = 1
			}
			c.ssrc, c.sequence, c.last = h.ssrc, h.sequence, now
			return c.count
		}
		if c.last < oldest.last {
			oldest = c
		}
	}
	*oldest = candidate{from: from, ssrc: h.ssrc, sequence: h.sequence, count: 1, last: now}
	return 1
}
