// Package transaction carries SIP messages in order: sockets, guard and transactions (RFC 3261 17 and 18).
//
//	UDP socket ─┐                     ┌─ lane 0 ─ parse ─ transactions ─┐
//	            ├─ guard ─ Call-ID ───┼─ lane 1 ─ parse ─ transactions ─┼─ Handler
//	TCP stream ─┘  sizes, rates       └─ lane n ─ parse ─ transactions ─┘
//
// A lane is one goroutine with one bounded queue. All messages, timers and functions of a Call-ID run on the same lane,
// one after the other and in the order of arrival, so an INVITE is seen before its CANCEL and a digit before the next.
// There is no goroutine per transaction.
//
// Transactions are RFC 3261 17 with the corrections of RFC 6026. A server transaction gives exactly one final response;
// a 2xx to an INVITE is sent again by the layer until the dialog says that the ACK came (13.3.1.4). A client transaction
// remembers where its request went, and CANCEL and ACK go the same way.
//
// Messages are those of github.com/emiago/sipgo/sip; the parser is our own, since what arrives must be judged with a
// status (400, 505, silence) and must parse for all of RFC 4475.
package transaction
