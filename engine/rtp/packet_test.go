package rtp

import (
	"bytes"
	"testing"

	pion "github.com/pion/rtp"
)

func TestParse(t *testing.T) {
	good := func(first byte, rest ...byte) []byte {
		return append([]byte{first, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}, rest...)
	}
	tests := map[string]struct {
		packet []byte
		why    DropReason
		start  int
		end    int
	}{
		"empty":                       {nil, DropTruncated, 0, 0},
		"11 bytes":                    {good(0x80)[:11], DropTruncated, 0, 0},
		"version 0":                   {good(0x00, 1), DropVersion, 0, 0},
		"version 1":                   {good(0x40, 1), DropVersion, 0, 0},
		"version 3":                   {good(0xc0, 1), DropVersion, 0, 0},
		"STUN":                        {append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...), DropVersion, 0, 0},
		"header alone":                {good(0x80), dropNone, 12, 12},
		"payload":                     {good(0x80, 7, 8), dropNone, 12, 14},
		"CSRC missing":                {good(0x81, 7), DropTruncated, 0, 0},
		"one CSRC":                    {good(0x81, 1, 2, 3, 4, 7), dropNone, 16, 17},
		"extension header missing":    {good(0x90, 1, 2), DropTruncated, 0, 0},
		"extension longer than all":   {good(0x90, 0, 0, 0, 9, 1, 2, 3, 4), DropTruncated, 0, 0},
		"extension":                   {good(0x90, 0, 0, 0, 1, 1, 2, 3, 4, 7), dropNone, 20, 21},
		"padding of nothing":          {good(0xa0), DropTruncated, 0, 0},
		"padding of 0":                {good(0xa0, 7, 0), DropTruncated, 0, 0},
		"padding longer than payload": {good(0xa0, 7, 3), DropTruncated, 0, 0},
		"padding":                     {good(0xa0, 7, 0, 2), dropNone, 12, 13},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, start, end, why := parse(tc.packet)
			if why != tc.why || start != tc.start || end != tc.end {
				t.Errorf("got [%d:%d] %v, want [%d:%d] %v", start, end, why, tc.start, tc.end, tc.why)
			}
		})
	}
}

// Whatever comes, reading stays within the packet; what we accept, pion reads the same way; what we write too.
func FuzzRTP(f *testing.F) {
	f.Add([]byte{0x80, 0x80, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 9, 9})
	f.Add([]byte{0xb2, 101, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 1, 1, 1, 1, 2, 2, 2, 2, 0xbe, 0xde, 0, 1, 0x10, 1, 0, 0, 5, 0, 0, 3})
	f.Add([]byte{0x90, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0xff, 0xff})
	f.Add([]byte{0xa0, 8, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 200})
	f.Fuzz(func(t *testing.T, b []byte) {
		h, start, end, why := parse(b)
		var p pion.Packet
		err := p.Unmarshal(b)
		if why != dropNone {
			return
		}
		if start < headerSize || start > end || end > len(b) {
			t.Fatalf("payload [%d:%d] of %d bytes", start, end, len(b))
		}
		if err == nil {
			same := h == header{p.Marker, p.PayloadType, p.SequenceNumber, p.Timestamp, p.SSRC}
			if !same || !p.Extension && !bytes.Equal(p.Payload, b[start:end]) {
				t.Fatalf("we read %+v %x, pion %+v %x", h, b[start:end], p.Header, p.Payload)
			}
		}
		out := append(make([]byte, headerSize), b[start:end]...)
		h.put(out)
		again, start2, end2, why := parse(out)
		if why != dropNone || again != h || !bytes.Equal(out[start2:end2], b[start:end]) {
			t.Fatalf("wrote %+v, read %+v", h, again)
		}
	})
}
