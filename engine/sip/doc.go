// Package sip is the SIP user agent: dialogs, inbound and outbound calls with their RTP, as legs of the engine.
//
// The life of a dialog, on the lane of its Call-ID (package transaction); every arrow is a function of a Leg:
//
//	inbound                                                     outbound
//	INVITE ── invite ──▶ calling ◀── start ◀── Dial
//	                      │    │ ring: 180, 183                  │ provisional: 18x, early media
//	        reject, CANCEL│    │ answer: 2xx                     │ refused: 401 407 422 3xx, once more
//	                      │    ▼                                 │ cancel: CANCEL
//	                      │  answering ── lost: no ACK ─┐        │
//	                      │    │ ack                    │        │ accepted: 2xx, ACK
//	                      │    ▼                        │        ▼
//	                      │  talking ◀────────────────────── talking
//	                      │    │  reinvited, updated, info: the far end's requests
//	                      │    │  sync, modify: ours, one at a time; 491 waits and tries again
//	                      │    │  armSession: refresh, expire
//	                      ▼    ▼                        │
//	                     ended ◀──── hangup, byeReceived, expire, gone
//	                      │ BYE, ACK and forks are finished
//	                      ▼
//	                    forget
//
// What we do of the RFCs:
//
//	RFC 3261  SIP                  yes: UAS and UAC over UDP and TCP, forked 2xx, strict and loose routes, 3xx;
//	                               REGISTER and OPTIONS to trunks; no: proxy, registrar, TLS, S/MIME, multipart bodies
//	RFC 3262  100rel, PRACK        no: not offered, 420 if required
//	RFC 2782  SRV                  the order of a trunk's targets: priority and weight
//	RFC 3263  finding servers      partly: A and AAAA, SRV for trunks, no NAPTR; a trunk's next server when one does not answer
//	RFC 3264  offer/answer         yes: one audio stream, others refused with port 0
//	RFC 3311  UPDATE               yes in; out without a session description
//	RFC 3323  privacy              partly: anonymous From when the caller has no address
//	RFC 3325  asserted identity    yes, out, on trunks: P-Asserted-Identity, or Remote-Party-ID
//	RFC 3326  Reason               yes, both ways, SIP and Q.850
//	RFC 3398  ISUP mapping         yes: causes, both ways
//	RFC 3515  REFER                no: 405
//	RFC 3551  RTP/AVP              yes: PCMU, PCMA and G722, static numbers without rtpmap
//	RFC 3605  a=rtcp               yes, read
//	RFC 3960  early media          yes: per To-tag, the last description wins
//	RFC 4028  session timers       yes: UAC and UAS, either refresher, 422
//	RFC 4733  telephone-event      yes, negotiated here with the clock of the codec, carried by package rtp
//	RFC 5806  Diversion            passed to and from applications, as other headers are
//	RFC 6026  INVITE corrections   yes, in package transaction
//	RFC 6086  INFO packages        partly: DTMF bodies; other packages 469
//	RFC 6337  offer/answer usage   yes: hold, glare, offerless INVITE
//	RFC 7587  Opus                 yes: opus/48000/2; the far end's parameters reach the encoder; stereo taken, mono sent
//	RFC 7616  digest, RFC 8760     yes as client: MD5, SHA-256, SHA-512-256; auth and auth-int; stale; not as server
//	RFC 8866  SDP                  yes
package sip
