package recording

import (
	"encoding/binary"
	"sync/atomic"
)

// ring is a queue of pieces between one media thread and one writer: no lock, no allocation.
type ring struct {
	buf  []byte
	head atomic.Uint64 // bytes ever put in
	tail atomic.Uint64 // bytes ever taken out
	next uint64        // head to be, of what is reserved; the media thread's
}

// A piece is what passed in one direction in one turn.
type piece struct {
	turn   uint32
	kind   kind
	out    bool // the direction
	codec  uint8
	rate   int    // of PCM, in Hz
	length int    // of data
	data   []byte // a payload, or PCM with the low byte first
}

type kind uint8

const (
	kindNone    kind = iota // silence
	kindPayload             // data in codec
	kindPCM
	kindLost // a payload that did not come
	kindSkip // nothing: the ring goes on at its start
)

// A piece in the ring: turn, kind and direction, codec, rate / 100, length, two bytes of nothing, data; padded to 4 bytes.
const (
	pieceHead = 12
	outBit    = 0x80
)

func newRing(size int) ring { return ring{buf: make([]byte, (size+3)&^3)} }

// reserve finds room for a piece, all but its data, for which it returns the place; false if there is none. The piece
// is in the ring after commit.
func (r *ring) reserve(p *piece) (data []byte, ok bool) {
	size := uint64(len(r.buf))
	need := uint64(pieceHead+p.length+3) &^ 3
	head := r.head.Load()
	at := head % size
	var skip uint64 // a piece lies in one stretch
	if at+need > size {
		skip = size - at
	}
	if head-r.tail.Load()+skip+need > size {
		return nil, false
	}
	if skip >= pieceHead {
		r.buf[at+4] = byte(kindSkip)
	}
	at = (at + skip) % size
	b := r.buf[at : at+need]
	binary.LittleEndian.PutUint32(b, p.turn)
	b[4], b[5] = byte(p.kind), p.codec
	if p.out {
		b[4] |= outBit
	}
	binary.LittleEndian.PutUint16(b[6:], uint16(p.rate/100))
	binary.LittleEndian.PutUint16(b[8:], uint16(p.length))
	r.next = head + skip + need
	return b[pieceHead : pieceHead+p.length], true
}

func (r *ring) commit() { r.head.Store(r.next) }

// peek reads the oldest piece, whose data lies in the ring until drop.
func (r *ring) peek() (p piece, ok bool) {
	size, head := uint64(len(r.buf)), r.head.Load()
	for {
		tail := r.tail.Load()
		if tail == head {
			return piece{}, false
		}
		at := tail % size
		left := size - at
		if left < pieceHead || kind(r.buf[at+4]) == kindSkip {
			r.tail.Store(tail + left)
			continue
		}
		b := r.buf[at:]
		p.turn = binary.LittleEndian.Uint32(b)
		p.kind, p.out, p.codec = kind(b[4]&^outBit), b[4]&outBit != 0, b[5]
		p.rate = int(binary.LittleEndian.Uint16(b[6:])) * 100
		p.length = int(binary.LittleEndian.Uint16(b[8:]))
		p.data = b[pieceHead : pieceHead+p.length]
		return p, true
	}
}

// drop removes the piece that peek has read.
func (r *ring) drop(p *piece) {
	r.tail.Store(r.tail.Load() + uint64(pieceHead+p.length+3)&^3)
}
