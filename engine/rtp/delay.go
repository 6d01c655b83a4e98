package rtp

import "time"

const (
	delayStart  = 30 * time.Millisecond  // until arrivals have told more
	delayLimit  = 160 * time.Millisecond // the longest delay that is aimed at
	delayMargin = time.Millisecond       // above what arrivals ask for: pops come a little early at times
	delayBin    = 4 * time.Millisecond
	delayBins   = 64
	// delayMemory is after how many packets what was seen counts half: 10 s.
	delayMemory = 500
	// delayFirst is how many packets must have come before they are believed, delayEvery how often the aim is set anew.
	delayFirst, delayEvery = 50, 25
	// delayWindow is how long the fastest packet is remembered, at least: long enough to have seen one, short enough to
	// follow a clock that drifts (200 ppm are 2 ms in it).
	delayWindow = 5 * time.Second
	// delayLeap is how far a packet may be off before its sender's clock is taken to have been set.
	delayLeap = time.Second
)

// A delay learns from the arrivals of a stream how long its packets should wait, so that almost all are there when their
// time comes: the fastest packet of the last seconds is the measure, how much later others come makes a histogram, and
// the aim is what 98 of 100 packets need. It is some milliseconds on a quiet network.
type delay struct {
	rate int // of the stream's clock, in Hz

	begun     bool
	timestamp uint32 // of the last packet
	units     int64  // it, counted from the first packet's

	fastest    [2]int64 // transit, in ns: the least of the window at hand, and of the one before
	windowEnds moment

	bins  [delayBins]uint16
	total int
	until int // packets until aim is set anew
	aim   time.Duration
}

func newDelay(rate int) delay { return delay{rate: rate, aim: delayStart, until: delayFirst} }

// transit is when unit n of the clock came, or is played, by the receiver's clock, against when it was said.
func (d *delay) transit(n int64, at moment) int64 {
	rate := int64(d.rate)
	return int64(at) - n/rate*int64(time.Second) - n%rate*int64(time.Second)/rate
}

// units of the clock since the first packet, for a timestamp near the last one.
func (d *delay) unwrap(timestamp uint32) int64 { return d.units + int64(int32(timestamp-d.timestamp)) }

func (d *delay) least() int64 { return min(d.fastest[0], d.fastest[1]) }

// observe notes that the packet with timestamp came at now.
func (d *delay) observe(timestamp uint32, now moment) {
	if !d.begun {
		d.begin(timestamp, now)
		return
	}
	units := d.unwrap(timestamp)
	transit := d.transit(units, now)
	late := transit - d.least()
	if late > int64(delayLeap) || late < -int64(delayLeap) {
		d.begin(timestamp, now)
		return
	}
	if int32(timestamp-d.timestamp) > 0 {
		d.timestamp, d.units = timestamp, units
	}
	if now >= d.windowEnds {
		d.fastest[1], d.fastest[0] = d.fastest[0], transit
		d.windowEnds = now.add(delayWindow)
	}
	d.fastest[0] = min(d.fastest[0], transit)
	d.count(time.Duration(max(0, late)))
}

func (d *delay) begin(timestamp uint32, now moment) {
	d.begun, d.timestamp, d.units = true, timestamp, 0
	d.fastest = [2]int64{int64(now), int64(now)}
	d.windowEnds = now.add(delayWindow)
}

func (d *delay) count(late time.Duration) {
	d.bins[min(delayBins-1, int(late/delayBin))]++
	if d.total++; d.total >= 2*delayMemory {
		d.total = 0
		for i := range d.bins {
			d.bins[i] /= 2
			d.total += int(d.bins[i])
		}
	}
	if d.until--; d.until <= 0 {
		d.until, d.aim = delayEvery, d.quantile()
	}
}

// quantile is what 98 of 100 packets need.
func (d *delay) quantile() time.Duration {
	rest := d.total / 50
	for i := delayBins - 1; i > 0; i-- {
		if rest -= int(d.bins[i]); rest < 0 {
			return min(delayLimit, time.Duration(i+1)*delayBin+delayMargin)
		}
	}
	return delayMargin // the first bin is noise of timers
}

// lag is how much later than its fastest packet the stream is heard if timestamp is played at now.
func (d *delay) lag(timestamp uint32, now moment) time.Duration {
	return time.Duration(d.transit(d.unwrap(timestamp), now) - d.least())
}
