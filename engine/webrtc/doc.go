// Package webrtc lets browsers in: their signalling over one WebSocket, their peer connections by pion, as legs of the
// engine.
//
// A page opens GET /rtc and says who it is by a token (package token); frames are JSON, of the shapes of /v1/stream. What
// outlives a page's socket is its page: events with a sequence, and its calls, whose audio goes on without it. A call of a
// page is a Leg: ICE, DTLS and SRTP are pion's, all browsers on one UDP port (and the TCP port of the same number); the
// packets are those of an rtp.Session that a peer connection carries, so that all a phone's call can a browser's can too.
//
//	page                       door                        engine
//	hello ── token ──▶ attach ──▶ page
//	command call, offer ────▶ Leg, peer ── Accept ──▶ Call
//	                       reply: answer, resume token
//	                          ◀── Ring, Answer, Hangup ──
//	event call.ringing, call.answered, call.ended
//	                       Dial client:identity ◀──────── Originate, Bridge
//	event call.incoming, of every page of the identity
//	command accept, offer ──▶ peer ── SignalAnswered ──▶
package webrtc
