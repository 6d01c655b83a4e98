package rtp

import "encoding/binary"

const (
	headerSize  = 12
	maxDatagram = 1500 // longer ones are no telephony
	payloadCN   = 13   // comfort noise, RFC 3389
)

// A header is the fixed part of an RTP packet (RFC 3550 §5.1).
type header struct {
	marker      bool
	payloadType uint8
	sequence    uint16
	timestamp   uint32
	ssrc        uint32
}

// isRTCP tells RTCP from RTP on one port (RFC 5761 §4): packet types 192 to 223 lie where RTP has its marker and
// payload types 64 to 95.
func isRTCP(b []byte) bool { return len(b) >= 2 && b[1] >= 192 && b[1] <= 223 }

// parse reads the header of b and finds the payload, b[start:end], behind contributing sources and extension and
// before padding. A packet that contradicts itself has a reason to be dropped.
func parse(b []byte) (h header, start, end int, why DropReason) {
	if len(b) < headerSize {
		return h, 0, 0, DropTruncated
	}
	if b[0]>>6 != 2 {
		return h, 0, 0, DropVersion
	}
	h = header{
		marker: b[1]&0x80 != 0, payloadType: b[1] & 0x7f, sequence: binary.BigEndian.Uint16(b[2:]),
		timestamp: binary.BigEndian.Uint32(b[4:]), ssrc: binary.BigEndian.Uint32(b[8:]),
	}
	start, end = headerSize+4*int(b[0]&0x0f), len(b)
	if b[0]&0x10 != 0 {
		if start+4 > end {
			return h, 0, 0, DropTruncated
		}
		start += 4 + 4*int(binary.BigEndian.Uint16(b[start+2:]))
	}
	if start > end {
		return h, 0, 0, DropTruncated
	}
	if b[0]&0x20 != 0 {
		if start == end || b[end-1] == 0 || int(b[end-1]) > end-start {
			return h, 0, 0, DropTruncated
		}
		end -= int(b[end-1])
	}
	return h, start, end, dropNone
}

// put writes h in front of a payload: no padding, no extension, no contributing sources.
func (h header) put(b []byte) {
	_ = b[headerSize-1]
	b[0], b[1] = 0x80, h.payloadType
	if h.marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], h.sequence)
	binary.BigEndian.PutUint32(b[4:], h.timestamp)
	binary.BigEndian.PutUint32(b[8:], h.ssrc)
}
