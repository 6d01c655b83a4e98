package transaction

import (
	"container/heap"
	"time"
)

// A timer waits in its lane's heap. All fields are guarded by the lane's mu.
type timer struct {
	at    time.Duration // since the layer was made
	place int           // in the heap, from 1; 0: not armed
	owner expirer
}

// An expirer is told that one of its timers is due. It is called with the lane's mu held and returns what is to be
// called without it, or nil.
type expirer interface {
	expire(t *timer) (call func())
}

// timerHeap is a heap of timers, the earliest first.
type timerHeap []*timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at < h[j].at }

func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].place, h[j].place = i+1, j+1
}

func (h *timerHeap) Push(x any) {
	t := x.(*timer)
	*h = append(*h, t)
	t.place = len(*h)
}

func (h *timerHeap) Pop() any {
	old := *h
	t := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	t.place = 0
	return t
}

// arm sets t to fire after d, from now on. mu is held.
func (n *lane) arm(t *timer, owner expirer, d time.Duration) {
	t.at, t.owner = n.layer.now()+d, owner
	if t.place > 0 {
		heap.Fix(&n.timers, t.place-1)
	} else {
		heap.Push(&n.timers, t)
	}
	if t.place == 1 {
		n.signal()
	}
}

// disarm stops t; false if it was not armed. mu is held.
func (n *lane) disarm(t *timer) bool {
	if t.place == 0 {
		return false
	}
	heap.Remove(&n.timers, t.place-1)
	return true
}

// Timer is a function that waits for its time on a lane.
type Timer struct {
	lane  *lane
	f     func()
	timer timer
}

// After runs f on the lane of callID after d, in one line with its messages.
func (l *Layer) After(callID string, d time.Duration, f func()) *Timer {
	n := l.lane(callID)
	t := &Timer{lane: n, f: f}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.arm(&t.timer, t, d)
	return t
}

// Stop prevents the function from running; false if it runs, ran or was stopped already.
func (t *Timer) Stop() bool {
	t.lane.mu.Lock()
	defer t.lane.mu.Unlock()
	return t.lane.disarm(&t.timer)
}

func (t *Timer) expire(*timer) func() { return t.f }
