// Package rtp moves RTP and RTCP packets over UDP for the audio lines of SIP legs.
//
// An [Engine] runs a few shards: goroutines that are locked to their thread, each with its own epoll set and a wheel
// of 2 ms slots over the packet time of 20 ms. A [Session] is one leg: an even UDP port for RTP, the next one for
// RTCP. It belongs to one shard at a time, and only that shard's thread touches its wire state, so there is no lock,
// no channel and no allocation on the way of a packet. The control side hands closures over (Session.do); they
// run when the shard wakes, in the order in which they were given.
//
//	           Hear, Set, Tap, Mute, Close
//	                      │ closures + eventfd
//	                      ▼
//	socket ──► source rules ──► statistics ─┬─► forward on arrival (relay) ──► hearer's socket
//	                                        └─► jitter buffer ─► Mic ─► encode ─► hearer's socket (wheel)
//
// A session that hears the mic of a session on another shard moves there, together with all that hear each other:
// the engine decides under one lock (place.go), the shards carry it out. A link between a mic and its hearer exists
// only while both are on one shard; each packet time tries to make a missing one.
//
// It needs a 64-bit Linux: epoll, eventfd and raw sockets.
package rtp
