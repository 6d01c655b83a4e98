package main

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
)

// w4Result is a number of conferences of a size.
type w4Result struct {
	Rooms   int `json:"rooms"`
	Size    int `json:"size"`
	Talkers int `json:"talkers_per_room"`
	cost        // per participant
}

// conferences is W4: rooms of PCMU callers, of whom 3 talk (2 in rooms under 10); the others send silence. A fresh
// server for each.
func conferences(o options, stop <-chan os.Signal) ([]w4Result, error) {
	fmt.Println("W4: conferences of PCMU callers")
	var out []w4Result
	for i, shape := range o.rooms {
		r := w4Result{Rooms: shape.rooms, Size: shape.size, Talkers: 3}
		if shape.size < 10 {
			r.Talkers = min(2, shape.size)
		}
		var err error
		if r.cost, err = gather(o, r, stop); err != nil {
			return out, err
		}
		if i == 0 {
			fmt.Printf("%6s %5s ", "rooms", "size")
			r.header()
		}
		fmt.Printf("%6d %5d ", r.Rooms, r.Size)
		r.print()
		out = append(out, r)
	}
	fmt.Println()
	return out, nil
}

func gather(o options, r w4Result, stop <-chan os.Signal) (cost, error) {
	c, err := roomCast(r)
	if err != nil {
		return cost{}, err
	}
	e := &exercise{o: o, stop: stop, casts: []*cast{c}, n: r.Rooms * r.Size, pace: 50}
	e.user = func(i int) string { return "room" + strconv.Itoa(i/r.Size) }
	if e.caller, err = newAgent("127.0.0.1:0", func(string) int { return c.port() }, nil); err != nil {
		return cost{}, err
	}
	defer e.caller.close()
	if o.peer == peerJanus {
		var peer *janus
		if peer, e.server, err = startJanus(r.Rooms); err != nil {
			return cost{}, err
		}
		e.connect = func(i int) (netip.AddrPort, error) { return peer.join(i/r.Size, c.port()) }
	} else if e.server, err = serve(o, "127.0.0.1:9"); err != nil {
		return cost{}, err
	}
	defer e.server.stop()
	return e.run()
}

// roomCast are the callers: in each room the first are the talkers, whose tones are apart in time and pitch. All hear
// them, and none himself; of large rooms a few listeners are judged.
func roomCast(r w4Result) (*cast, error) {
	c, err := newCast()
	if err != nil {
		return nil, err
	}
	all := voices()
	silence := silentPCMU()
	for room := range r.Rooms {
		var talkers []*actor
		for k := range r.Size {
			a := &actor{says: silence}
			if k < r.Talkers {
				a.says, a.shift, a.echo = all[(room*r.Talkers+k)%len(all)].pcmu(), (room*13+k*voiceFrames/r.Talkers)%voiceFrames, true
				talkers = append(talkers, a)
			}
			c.actors = append(c.actors, a)
		}
		for k, a := range c.actors[room*r.Size:] {
			for _, t := range talkers {
				if t != a && k < 20 {
					a.hears = append(a.hears, t)
				}
			}
		}
	}
	return c, nil
}
