package phone

import (
	"encoding/binary"
	"strings"
	"time"
)

const keypad = "0123456789*#ABCD" // RFC 4733 3.2: event codes 0 to 15

// press is one key being sent as RFC 4733 events.
type press struct {
	code     byte
	packets  int // event packets in all, then three ends
	sent     int
	start    uint32 // timestamp
	pauses   int    // packets of nothing behind it
	skipEnd  bool   // the ends are lost on the way
	skipHead bool   // so is the beginning
}

// key queues presses of 100 ms, 80 ms apart.
func (a *audio) key(digits string, edit func(*press)) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.eventOut.PT == 0 {
		return false
	}
	for _, c := range []byte(digits) {
		p := press{code: byte(strings.IndexByte(keypad, c)), packets: 5, pauses: 4}
		if edit != nil {
			edit(&p)
		}
		a.keys = append(a.keys, p)
	}
	return true
}

// sendKey sends the next packet of the first queued press. The caller holds the lock.
func (a *audio) sendKey() {
	k := &a.keys[0]
	if k.sent == 0 {
		k.start = a.ts
	}
	k.sent++
	end := k.sent > k.packets
	if k.sent > k.packets+3 { // over: the pause between keys
		if k.pauses--; k.pauses <= 0 {
			a.keys = a.keys[1:]
		}
		return
	}
	duration := min(k.sent, k.packets) * a.eventOut.Rate / 50
	b := []byte{k.code, 10, 0, 0}
	if end {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], uint16(min(duration, 65535)))
	if end && k.skipEnd || k.sent <= 2 && k.skipHead {
		a.seq++ // lost on the way
		return
	}
	a.write(a.eventOut.PT, k.start, k.sent == 1, b)
}

// keysLeft reports how many presses are still to be sent.
func (a *audio) keysLeft() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.keys)
}

// A Key is one RFC 4733 event that was heard.
type Key struct {
	Key      byte
	Duration time.Duration
	Ends     int // packets with the end bit
	Packets  int
}

// keysOf gathers the events among packets: one key per timestamp.
func keysOf(packets []Packet, pt uint8) []Key {
	type id struct {
		ssrc, ts uint32
	}
	var out []Key
	at := map[id]int{}
	for _, p := range packets {
		if pt == 0 || p.PT != pt || len(p.Payload) < 4 || int(p.Payload[0]) >= len(keypad) {
			continue
		}
		k := id{p.SSRC, p.TS}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, Key{Key: keypad[p.Payload[0]]})
		}
		out[i].Packets++
		out[i].Duration = max(out[i].Duration, time.Duration(binary.BigEndian.Uint16(p.Payload[2:]))*time.Second/rate)
		if p.Payload[1]&0x80 != 0 {
			out[i].Ends++
		}
	}
	return out
}
