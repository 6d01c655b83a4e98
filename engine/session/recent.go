package session

// ring is a bounded queue in a slice that grows as needed and is reused. It is not safe for concurrent use.
type ring[T any] struct {
	limit int
	items []T
	head  int // of items
	n     int
}

func (r *ring[T]) len() int { return r.n }

// push adds v at the end; false if the ring is full.
func (r *ring[T]) push(v T) bool {
	if r.n == r.limit {
		return false
	}
	if r.n == len(r.items) {
		grown := make([]T, min(max(64, 2*len(r.items)), r.limit))
		copied := copy(grown, r.items[r.head:])
		copy(grown[copied:], r.items[:r.head])
		r.items, r.head = grown, 0
	}
	r.items[(r.head+r.n)%len(r.items)] = v
	r.n++
	return true
}

// peek copies up to n values from the front, which stay.
func (r *ring[T]) peek(n int) []T {
	out := make([]T, 0, min(n, r.n))
	for i := range cap(out) {
		out = append(out, r.items[(r.head+i)%len(r.items)])
	}
	return out
}

// drop removes n values from the front.
func (r *ring[T]) drop(n int) {
	var zero T
	for range n {
		r.items[r.head] = zero
		r.head = (r.head + 1) % len(r.items)
	}
	r.n -= n
}

// recent keeps the newest events of the log in memory, for all followers at once. Events have positions: 0 is the first
// that this process wrote. It is not safe for concurrent use.
type recent struct {
	events []Logged          // the event at position p is events[p % len]
	next   uint64            // position of the event to come
	behind map[Cursor]uint64 // position behind the event of a cursor
}

func newRecent(n int) recent {
	return recent{events: make([]Logged, n), behind: make(map[Cursor]uint64)}
}

// first is the position of the oldest event kept.
func (r *recent) first() uint64 { return r.next - min(r.next, uint64(len(r.events))) }

// newest is the cursor of the last event, "" if there is none.
func (r *recent) newest() Cursor {
	if r.next == 0 {
		return ""
	}
	return r.events[(r.next-1)%uint64(len(r.events))].Cursor
}

// add keeps e and returns the event whose place it took.
func (r *recent) add(e Logged) (gone Logged, ok bool) {
	slot := &r.events[r.next%uint64(len(r.events))]
	gone, ok = *slot, r.next >= uint64(len(r.events))
	if ok {
		delete(r.behind, gone.Cursor)
	}
	*slot = e
	r.next++
	r.behind[e.Cursor] = r.next
	return gone, ok
}

// from copies up to len(buf) events from position p on; ok is false if the oldest of them are not kept any more.
func (r *recent) from(p uint64, buf []Logged) (events []Logged, ok bool) {
	if p < r.first() {
		return nil, false
	}
	n := min(uint64(len(buf)), r.next-p)
	for i := range n {
		buf[i] = r.events[(p+i)%uint64(len(r.events))]
	}
	return buf[:n], true
}
