package rtp

import (
	"time"

	"github.com/tipring/tipring/engine/codec"
)

const (
	jitterSlots = 64                     // packets; 200 ms are 20 at most
	jitterLimit = 200 * time.Millisecond // of audio that waits
	// jitterSlack is how much more delay than aimed at is left alone: pops come every packet time, so that much is due
	// to their rhythm.
	jitterSlack = packetTime + 4*time.Millisecond
	// jitterPatience is for how many pops an excess of delay waits for a quiet moment before audio is left out.
	jitterPatience = 100
	// jitterStarving is how many pops in a row may find nothing before that is a pause of the far end.
	jitterStarving = 5
	// jitterProtected is for how many packets after a loss one packet time more is waited, so that the payload behind
	// a lost one is there when it is missed: 10 s.
	jitterProtected = 500
)

// A jitterBuffer puts packets into the order of their sequence numbers, waits for late ones, and gives audio at the
// pace at which it is asked: one packet time per pop, cut by timestamps, so packets may be of any length. It has no
// clock of its own and does not allocate once its slots have grown.
//
// Each talk-spurt begins with the delay that arrivals ask for. When a packet is not there at its time it is either late,
// then the delay has grown by the time it was waited for, or lost, then what follows is played in its time. Delay that
// is not needed any more is given back a packet time at a time, in a quiet moment if there is one soon. A far end whose
// clock drifts makes that happen once in 100 s for 200 ppm.
type jitterBuffer struct {
	codec codec.Codec
	step  uint32 // units of the clock in a packet time
	delay delay
	slots [jitterSlots]jitterSlot
	count int      // slots in use
	spare [][]byte // payloads of slots that are not: few packets wait at a time
	out   []byte

	ssrc    uint32
	begun   bool   // sequence, newest are valid
	next    uint16 // the number to play next
	newest  uint16 // the highest number that came
	end     uint32 // timestamp behind it
	play    uint32 // timestamp to play next
	playing bool
	played  bool // playing has begun once, so what is older than next is over
	pausing bool // the far end said that it says nothing

	starved   int // pops in a row that found nothing
	excess    int // pops in a row with more delay than needed
	protected int // packets for which the payload behind a lost one is waited for

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
	return &jitterBuffer{codec: c, step: ticks(packetTime, c.ClockRate), delay: newDelay(c.ClockRate)}
}

// unplayed is how many packets came and were not played.
func (j *jitterBuffer) unplayed() uint64 { return j.lateCount + j.discarded }

// target is the delay that is aimed at.
func (j *jitterBuffer) target() time.Duration {
	if j.protected > 0 && !bytewise(j.codec) {
		return min(delayLimit, j.delay.aim+packetTime)
	}
	return j.delay.aim
}

// push takes a packet that arrived at now and copies its payload.
func (j *jitterBuffer) push(h header, payload []byte, now moment) DropReason {
	if len(payload) == 0 {
		return DropTruncated
	}
	if !j.begun || h.ssrc != j.ssrc || j.tooFar(h.sequence) {
		j.restart(h)
	}
	j.delay.observe(h.timestamp, now)
	if int16(h.sequence-j.next) < 0 {
		if j.played || int16(h.sequence-j.newest) <= -jitterSlots/2 {
			j.lateCount++
			return DropLate
		}
		j.next = h.sequence
	}
	slot := &j.slots[h.sequence%jitterSlots]
	if slot.used {
		return DropLate // a duplicate
	}
	j.pausing = j.codec.Discontinuous(payload)
	j.protected = max(0, j.protected-1)
	slot.used, slot.sequence, slot.timestamp = true, h.sequence, h.timestamp
	slot.length = j.duration(payload)
	if n := len(j.spare); n > 0 {
		slot.payload, j.spare = j.spare[n-1], j.spare[:n-1]
	}
	slot.payload = append(slot.payload[:0], payload...)
	j.count++
	if int16(h.sequence-j.newest) >= 0 {
		j.newest, j.end = h.sequence, h.timestamp+slot.length
	}
	return j.bound()
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
		if slot := &j.slots[i]; slot.used {
			j.drop(slot)
			j.discarded++
		}
	}
	j.ssrc, j.begun, j.playing, j.played = h.ssrc, true, false, false
	j.next, j.newest, j.end = h.sequence, h.sequence, h.timestamp
	j.expect = h.sequence
	j.starved, j.excess, j.delay.begun = 0, 0, false
}

// pause says that the far end says nothing until its next packet: what is missing then is not lost.
func (j *jitterBuffer) pause() { j.pausing = true }

// bound throws the oldest audio away when too much waits.
func (j *jitterBuffer) bound() DropReason {
	limit := ticks(jitterLimit, j.codec.ClockRate)
	if j.playing && j.count == 1 && j.waiting() > limit {
		j.playing = false // the time line leapt: begin again with this packet
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
	j.spare, slot.payload = append(j.spare, slot.payload), nil
	j.count--
	j.next = slot.sequence + 1
	j.expect = j.next
}

// pop gives the next packet time of audio; what is missing in it is silence. nil: there is none at all, and lost says
// whether there should be. The result is valid until the next pop.
func (j *jitterBuffer) pop(now moment) []byte {
	j.lost, j.following = false, nil
	if !j.playing && !j.start(now) {
		return nil
	}
	slot := j.seek()
	if slot == nil {
		j.starve()
		return nil
	}
	if ahead := int32(slot.timestamp - j.play); ahead > 0 && !j.await(slot, uint32(ahead), now) {
		return nil
	}
	j.starved = 0
	j.shrink(now)
	if bytewise(j.codec) {
		return j.cut()
	}
	return j.whole()
}

// start begins a talk-spurt when its first packet has waited long enough.
func (j *jitterBuffer) start(now moment) bool {
	slot := j.seek()
	if slot == nil || j.delay.lag(slot.timestamp, now) < j.target() {
		return false
	}
	j.play, j.playing, j.played = slot.timestamp, true, true
	j.starved, j.excess = 0, 0
	return true
}

// starve is a pop that finds nothing: the next packet is late, or lost, or the far end pauses.
func (j *jitterBuffer) starve() {
	if j.starved++; j.pausing || j.starved > jitterStarving {
		j.playing = false
		return
	}
	j.lost = true
}

// await deals with a slot whose time has not come: what is before it was lost or never said. It is false when a pause
// is not over. The time that was waited for it has passed.
func (j *jitterBuffer) await(slot *jitterSlot, ahead uint32, now moment) bool {
	if slot.sequence == j.expect && ahead >= j.step {
		j.playing = false
		return j.start(now)
	}
	missed := slot.sequence != j.expect
	if missed {
		j.protected = jitterProtected
	}
	passed := min(uint32(j.starved)*j.step, ahead)
	if missed && !bytewise(j.codec) && j.delay.lag(j.play+passed, now) < j.target() {
		passed = 0 // it is made up for once more, with the payload behind it: from now on that is there in time
	}
	j.play += passed
	return true
}

// shrink leaves a packet time out when the delay was longer than needed for some time, and nothing is said or it was
// so for long.
func (j *jitterBuffer) shrink(now moment) {
	if j.delay.lag(j.play, now) <= j.target()+jitterSlack {
		j.excess = 0
		return
	}
	if j.excess++; j.excess < jitterPatience && (j.excess < jitterPatience/10 || !j.quiet()) {
		return
	}
	j.excess = 0
	j.play += j.step
	j.skipTo(j.play)
}

// quiet reports whether nothing is said in the payload that is next. Of codecs that need decoding to know it is false.
func (j *jitterBuffer) quiet() bool {
	slot := j.seek()
	if slot == nil || !bytewise(j.codec) {
		return false
	}
	// The codes of G.711 are sign and magnitude around that of silence: less than 24 is less than -45 dBov.
	silence := j.codec.Silence()
	for i := 0; i < len(slot.payload); i += 4 {
		if (slot.payload[i]^silence)&0x7f >= 24 {
			return false
		}
	}
	return true
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
	if !audio {
		return nil
	}
	for len(j.out) < int(j.step) { // the rest is not there yet, or lost: it is waited for behind this
		j.out = append(j.out, j.codec.Silence())
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
