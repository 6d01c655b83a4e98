package rtp

// reception is what RFC 3550 §6.4.1 and appendix A count of a stream that comes in.
type reception struct {
	rate    int // of the clock, in Hz
	ssrc    uint32
	started bool
	base    uint32 // first sequence number
	highest uint32 // with the cycles in the upper half
	count   uint32 // received of this SSRC
	odd     uint16 // the number behind the last one that was far off; two in a row restart the count
	oddSeen bool

	transit  int32 // of the last audio packet, in units of the clock
	measured bool
	jitter   float64 // in units of the clock

	received     uint64 // of all SSRCs
	lostBefore   uint64 // in the streams before
	wantedBefore uint64 // expected in the streams before
	priorWanted  uint32 // at the last report
	priorCount   uint32
}

func (r *reception) setClock(rate int) {
	r.rate, r.measured, r.jitter = rate, false, 0
}

// update counts a packet. Only audio tells jitter: the timestamps of an event stand still.
func (r *reception) update(h header, now moment, audio bool) {
	switch {
	case !r.started || h.ssrc != r.ssrc:
		r.restart(h)
	case !r.near(h.sequence):
		if !r.again(h.sequence) {
			r.received++
			return // one number far off is an old packet; two in a row are a new beginning
		}
		r.restart(h)
	}
	r.oddSeen = false
	r.received++
	r.count++
	if ahead := int16(h.sequence - uint16(r.highest)); ahead > 0 {
		r.highest += uint32(ahead)
	}
	if !audio || r.rate <= 0 {
		return
	}
	transit := int32(uint32(int64(now)/1000*int64(r.rate)/1_000_000) - h.timestamp)
	if r.measured {
		d := transit - r.transit
		if d < 0 {
			d = -d
		}
		if int(d) < r.rate { // a leap of a second is a new time line, not jitter
			r.jitter += (float64(d) - r.jitter) / 16
		}
	}
	r.transit, r.measured = transit, true
}

func (r *reception) near(sequence uint16) bool {
	ahead := int16(sequence - uint16(r.highest))
	return ahead > -maxMisorder && ahead < maxDropout
}

// again reports whether a far number follows another far number.
func (r *reception) again(sequence uint16) bool {
	again := r.oddSeen && sequence == r.odd
	r.odd, r.oddSeen = sequence+1, true
	return again
}

func (r *reception) restart(h header) {
	r.lostBefore += r.lostNow()
	r.wantedBefore += uint64(r.wanted())
	r.ssrc, r.started, r.oddSeen = h.ssrc, true, false
	r.base, r.highest = uint32(h.sequence), uint32(h.sequence)
	r.count, r.priorWanted, r.priorCount = 0, 0, 0
	r.measured = false
}

func (r *reception) wanted() uint32 {
	if !r.started {
		return 0
	}
	return r.highest - r.base + 1
}

func (r *reception) lostNow() uint64 {
	if wanted := r.wanted(); wanted > r.count {
		return uint64(wanted - r.count)
	}
	return 0 // duplicates
}

func (r *reception) lost() uint64 { return r.lostBefore + r.lostNow() }

func (r *reception) expected() uint64 { return r.wantedBefore + uint64(r.wanted()) }

// fraction is the loss since the last report in 1/256.
func (r *reception) fraction() uint8 {
	wanted, count := r.wanted()-r.priorWanted, r.count-r.priorCount
	r.priorWanted, r.priorCount = r.wanted(), r.count
	if wanted == 0 || count >= wanted {
		return 0
	}
	return uint8(min(255, uint64(wanted-count)<<8/uint64(wanted)))
}
