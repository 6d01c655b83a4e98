package rtp

import (
	"time"

	"github.com/tipring/tipring/engine/codec"
)

const (
	jitterSlots  = 64 // packets; 200 ms are 20 at most
	jitterStart  = 40 * time.Millisecond
	jitterLimit  = 200 * time.Millisecond // of audio that waits
	jitterTarget = 160 * time.Millisecond // the longest delay that is aimed at
	jitterStep   = packetTime             // by which the delay grows and shrinks
	// jitterWindow is how many pops are watched before the delay shrinks: 2 s.
	jitterWindow = 100
)

// A jitterBuffer puts packets into the order of their sequence numbers, waits for late ones, and gives audio at the
// pace at which it is asked: one packet time per pop, cut by timestamps, so packets may be of any length. It has no
// clock of its own and does not allocate once its slots have grown. The delay starts at 40 ms, grows by 20 ms for each
// packet that comes too late, and shrinks again when for 2 s more audio waited than that.
type jitterBuffer struct {
	codec codec.Codec
	step  uint32 // units of the clock in a packet time
	slots [jitterSlots]jitterSlot
	count int // slots in use
	out   []byte

	ssrc    uint32
	begun   bool   // sequence, newest are valid
	next    uint16 // the number to play next
	newest  uint16 // the highest number that came
	end     uint32 // timestamp behind it
	play    uint32 // timestamp to play next
	playing bool
	played  bool   // playing has begun once, so what is older than next is over
	first   moment // arrival of the first packet since playing stopped

	target  time.Duration
	stretch int    // pops that repeat nothing, so that the delay grows
	least   uint32 // that waited in this window
	window  int

	expect    uint16 // the number behind the last one that was played or given up
	lost      bool   // what the last pop did not give was lost, not a pause
	following []byte // the payload behind it, for codecs whose payloads cannot be cut

	lateCount uint64 // came too late
	discarded uint64 // came early enough, but there was too much
}

type jitterSlot struct {
	used      bool
	sequence  uint16
	timestamp uint32
	length    uint32 // in units of the clock
	payload   []byte
}

func newJitterBuffer(c codec.Codec) *jitterBuffer {
	return &jitterBuffer{codec: c, step: ticks(packetTime, c.ClockRate), target: jitterStart}
}

// unplayed is how many packets came and were not played.
func (j *jitterBuffer) unplayed() uint64 { return j.lateCount + j.discarded }

// push takes a packet that arrived at now and copies its payload.
func (j *jitterBuffer) push(h header, payload []byte, now moment) DropReason {
	if len(payload) == 0 {
		return DropTruncated
	}
	if !j.begun || h.ssrc != j.ssrc || j.tooFar(h.sequence) {
		j.restart(h)
	}
	if int16(h.sequence-j.next) < 0 {
		if j.played || int16(h.sequence-j.newest) <= -jitterSlots/2 {
			return j.late()
		}
		j.next = h.sequence
	}
	slot := &j.slots[h.sequence%jitterSlots]
	if slot.used {
		return DropLate // a duplicate
	}
	if j.count == 0 && !j.playing {
		j.first = now
	}
	slot.used, slot.sequence, slot.timestamp = true, h.sequence, h.timestamp
	slot.length, slot.payload = j.duration(payload), append(slot.payload[:0], payload...)
	j.count++
	if int16(h.sequence-j.newest) >= 0 {
		j.newest, j.end = h.sequence, h.timestamp+slot.length
	}
	return j.bound(now)
}

func (j *jitterBuffer) duration(payload []byte) uint32 {
	if d := j.codec.Duration(payload); d > 0 {
		return ticks(d, j.codec.ClockRate)
	}
	return j.step
}

func (j *jitterBuffer) tooFar(sequence uint16) bool {
	d := int16(sequence - j.next)
	return d >= jitterSlots || d <= -maxMisorder
}

// restart begins anew with h: another SSRC, or numbers that have nothing to do with the last ones.
func (j *jitterBuffer) restart(h header) {
	for i := range j.slots {
		j.slots[i].used = false
	}
	j.discarded += uint64(j.count)
	j.count = 0
	j.ssrc, j.begun, j.playing, j.played = h.ssrc, true, false, false
	j.next, j.newest, j.end = h.sequence, h.sequence, h.timestamp
	j.expect = h.sequence
	j.stretch = 0
}

// late answers a packet whose time is over: the delay grows.
func (j *jitterBuffer) late() DropReason {
	j.lateCount++
	if j.target < jitterTarget {
		j.target += jitterStep
		if j.playing {
			j.stretch++
		}
	}
	return DropLate
}

// bound throws the oldest audio away when too much waits.
func (j *jitterBuffer) bound(now moment) DropReason {
	limit := ticks(jitterLimit, j.codec.ClockRate)
	if j.playing && j.count == 1 && j.waiting() > limit {
		j.playing, j.first = false, now // the time line leapt: begin again with this packet
	}
	why := dropNone
	for j.count > 1 && j.waiting() > limit {
		oldest := j.seek()
		if oldest == nil {
			break
		}
		j.drop(oldest)
		j.discarded++
		why = DropOverflow
		if n := j.seek(); n != nil {
			j.play = n.timestamp
		}
	}
	return why
}

// waiting is how much audio is there, from what is to be played next to the newest.
func (j *jitterBuffer) waiting() uint32 {
	from := j.play
	if !j.playing {
		slot := j.seek()
		if slot == nil {
			return 0
		}
		from = slot.timestamp
	}
	return uint32(max(0, int32(j.end-from)))
}

// seek is the slot with the lowest number from next on, and makes that next; nil if nothing waits.
func (j *jitterBuffer) seek() *jitterSlot {
	if j.count == 0 {
		return nil
	}
	for n := j.next; int16(j.newest-n) >= 0; n++ {
		if slot := &j.slots[n%jitterSlots]; slot.used && slot.sequence == n {
			j.next = n
			return slot
		}
	}
	return nil
}

func (j *jitterBuffer) drop(slot *jitterSlot) {
	slot.used = false
	j.count--
	j.next = slot.sequence + 1
	j.expect = j.next
}

// pop gives the next packet time of audio; what is missing in it is silence. nil: there is none at all. The result
// is valid until the next pop.
func (j *jitterBuffer) pop(now moment) []byte {
	j.lost, j.following = false, nil
	if !j.playing && !j.start(now) {
		return nil
	}
	if j.stretch > 0 {
		j.stretch--
		return nil
	}
	j.shrink()
	if bytewise(j.codec) {
		return j.cut()
	}
	return j.whole()
}

// start begins to play when the first packet has waited long enough; half a packet time less, since pops come when
// they come.
func (j *jitterBuffer) start(now moment) bool {
	if j.count == 0 || now.sub(j.first) < j.target-packetTime/2 {
		return false
	}
	slot := j.seek()
	if slot == nil {
		return false
	}
	j.play, j.playing, j.played = slot.timestamp, true, true
	j.window, j.least = 0, ^uint32(0)
	return true
}

// shrink leaves a packet time out when for a whole window there was that much too much.
func (j *jitterBuffer) shrink() {
	j.least = min(j.least, j.waiting())
	if j.window++; j.window < jitterWindow {
		return
	}
	if enough := ticks(j.target+jitterStep, j.codec.ClockRate); j.least > enough {
		j.play += j.step
		j.skipTo(j.play)
	}
	if j.target > jitterStart {
		j.target -= jitterStep / 4
	}
	j.window, j.least = 0, ^uint32(0)
}

// skipTo drops what lies wholly before timestamp.
func (j *jitterBuffer) skipTo(timestamp uint32) {
	for slot := j.seek(); slot != nil && int32(slot.timestamp+slot.length-timestamp) <= 0; slot = j.seek() {
		j.drop(slot)
	}
}

// cut takes one packet time out of payloads that can be cut anywhere.
func (j *jitterBuffer) cut() []byte {
	j.out = j.out[:0]
	audio := false
	end := j.play + j.step
	for j.play != end {
		slot := j.seek()
		if slot == nil {
			break
		}
		offset := int32(j.play - slot.timestamp)
		switch {
		case offset < 0 && uint32(-offset) >= end-j.play: // a pause, or a loss: the packet is for later
			j.lost = !audio && slot.sequence != j.expect
			j.fill(end)
			continue
		case offset < 0:
			j.fill(slot.timestamp)
			continue
		case uint32(offset) >= slot.length:
			if uint32(offset) > j.codecTicks(jitterLimit) {
				j.play, end = slot.timestamp, slot.timestamp+j.step-uint32(len(j.out)) // the clock was set back
				continue
			}
			j.drop(slot) // played already
			continue
		}
		n := min(slot.length-uint32(offset), end-j.play)
		j.out = append(j.out, slot.payload[offset:uint32(offset)+n]...)
		j.play += n
		audio = true
		if uint32(offset)+n == slot.length {
			j.drop(slot)
		}
	}
	if j.play == end && !audio {
		return nil
	}
	if j.play != end { // nothing more: wait again
		j.playing = false
		if !audio {
			return nil
		}
		j.fill(end)
	}
	return j.out
}

func (j *jitterBuffer) codecTicks(d time.Duration) uint32 { return ticks(d, j.codec.ClockRate) }

// fill plays silence up to timestamp.
func (j *jitterBuffer) fill(timestamp uint32) {
	for ; j.play != timestamp; j.play++ {
		j.out = append(j.out, j.codec.Silence())
	}
}

// whole takes the payload whose time has come, for codecs whose payloads cannot be cut.
func (j *jitterBuffer) whole() []byte {
	slot := j.seek()
	if slot == nil {
		j.playing = false
		return nil
	}
	if ahead := int32(slot.timestamp - j.play); ahead >= int32(j.step) {
		j.play += j.step
		if j.lost = slot.sequence != j.expect; j.lost && ahead < 2*int32(j.step) {
			j.following = slot.payload
		}
		return nil
	}
	j.play = slot.timestamp + slot.length
	j.out = append(j.out[:0], slot.payload...)
	j.drop(slot)
	return j.out
}
