package transaction

import "sync/atomic"

// Stats counts what a Layer did since it was made, and what is open now.
type Stats struct {
	Received      uint64 // messages read, keep-alives not among them
	Sent          uint64 // messages handed to the network, retransmissions among them
	Retransmitted uint64 // requests and responses that we sent again
	Repeated      uint64 // requests that came again and were answered or absorbed
	Malformed     uint64 // messages that did not parse
	Refused       uint64 // requests answered without a transaction (400, 481, 482, 483, 500, 503, 505 …)
	Stray         uint64 // responses and ACKs that belong to nothing
	SendErrors    uint64 // messages that the network did not take
	Panics        uint64 // recovered in handlers

	// What the guard dropped, by rule.
	DroppedSize        uint64 // messages over the limits of size or number of headers
	DroppedRate        uint64 // initial requests over the rate of their source
	DroppedOpen        uint64 // requests answered 503 since too many transactions were open
	DroppedQueue       uint64 // messages for a lane or connection whose queue was full
	DroppedDo          uint64 // functions given to Do for a lane whose queue was full
	DroppedConnections uint64 // connections over the limits
	Evicted            uint64 // finished transactions forgotten before their time

	OpenServer  int64 // server transactions that wait for a final response or an ACK
	OpenClient  int64 // client transactions, those that only repeat an ACK among them
	Finished    int64 // server transactions kept to answer retransmissions
	Connections int64
}

type counters struct {
	received, sent, retransmitted, repeated, malformed, refused, stray, sendErrors, panics      atomic.Uint64
	droppedSize, droppedRate, droppedOpen, droppedQueue, droppedDo, droppedConnections, evicted atomic.Uint64
	openServer, openClient, finished, connections                                               atomic.Int64
}

// Stats are the layer's counters so far.
func (l *Layer) Stats() Stats {
	c := &l.count
	return Stats{
		Received: c.received.Load(), Sent: c.sent.Load(), Retransmitted: c.retransmitted.Load(),
		Repeated: c.repeated.Load(), Malformed: c.malformed.Load(), Refused: c.refused.Load(), Stray: c.stray.Load(),
		SendErrors: c.sendErrors.Load(), Panics: c.panics.Load(),
		DroppedSize: c.droppedSize.Load(), DroppedRate: c.droppedRate.Load(), DroppedOpen: c.droppedOpen.Load(),
		DroppedQueue: c.droppedQueue.Load(), DroppedDo: c.droppedDo.Load(),
		DroppedConnections: c.droppedConnections.Load(), Evicted: c.evicted.Load(),
		OpenServer: c.openServer.Load(), OpenClient: c.openClient.Load(),
		Finished: c.finished.Load(), Connections: c.connections.Load(),
	}
}
