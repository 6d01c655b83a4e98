package transaction

import (
	"strconv"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"
)

// A serverKey names a request. Together with the branch it matches a retransmission, ACK or CANCEL to its transaction.
//
// RFC 3261 17.2.3 matches by branch, sent-by and method, where sent-by tells clients apart that chose the same branch.
// Call-ID, From tag and CSeq do that too, and they stay the same when a phone behind a NAT changes its sent-by between
// INVITE and CANCEL. The same key with another branch is a merged request (8.2.2.2).
type serverKey struct {
	callID, fromTag string
	cseq            uint32
	method          sip.RequestMethod // INVITE for ACK and CANCEL too
}

// keyOf gives the key of a request and its branch. A branch without the magic cookie is one of RFC 2543, which may be
// the same for every request; the sent-by goes with it (17.2.3).
func keyOf(req *sip.Request) (key serverKey, branch string) {
	via := req.Via()
	branch, _ = via.Params.Get("branch")
	if !strings.HasPrefix(branch, sip.RFC3261BranchMagicCookie) {
		branch = via.Host + ":" + strconv.Itoa(via.Port) + ";" + branch
	}
	key.callID, key.cseq, key.method = string(*req.CallID()), req.CSeq().SeqNo, req.Method
	key.fromTag, _ = req.From().Params.Get("tag")
	if req.Method == sip.ACK || req.Method == sip.CANCEL {
		key.method = sip.INVITE
	}
	return key, branch
}

// A serverRecord is what a lane knows of a server transaction. It outlives the request: when the transaction only
// answers retransmissions, tx is nil and nothing of the request is kept.
type serverRecord struct {
	key       serverKey
	branch    string
	next      *serverRecord // the same request by another way
	tx        *Server       // nil: finished
	from      origin
	last      []byte // the last response, sent again when the request comes again
	tag       string // To tag of our responses
	final     int    // status of the final response, 0 before
	cancelled bool
	gone      bool          // no longer in the table
	due       time.Duration // when a finished one is forgotten
}

// find gives the record of a request, and whether there is one of the same request by another way. mu is held.
func (n *lane) find(key serverKey, branch string) (rec *serverRecord, merged bool) {
	for rec = n.servers[key]; rec != nil; rec = rec.next {
		if rec.branch == branch {
			return rec, false
		}
		// A failed request may come again with a new branch and, from careless clients, the same CSeq.
		merged = merged || rec.final < 300
	}
	return nil, merged
}

func (n *lane) insert(rec *serverRecord) {
	rec.next = n.servers[rec.key]
	n.servers[rec.key] = rec
}

func (n *lane) remove(rec *serverRecord) {
	if rec.gone {
		return
	}
	rec.gone = true
	head := n.servers[rec.key]
	if head == rec {
		if rec.next == nil {
			delete(n.servers, rec.key)
		} else {
			// The map keeps the old key; the records that are left have an equal one.
			n.servers[rec.key] = rec.next
		}
		return
	}
	for ; head != nil; head = head.next {
		if head.next == rec {
			head.next = rec.next
			return
		}
	}
}

// finish ends the life of an open transaction. With linger its record stays for 64*T1 to answer or absorb what comes
// again: timers I, J and L in one, since all that matters is that none is too short. mu is held.
func (n *lane) finish(rec *serverRecord, linger bool) {
	if rec.tx == nil {
		return
	}
	n.disarm(&rec.tx.resend)
	n.disarm(&rec.tx.limit)
	rec.tx = nil
	n.layer.count.openServer.Add(-1)
	n.remove(rec)
	if !linger {
		return
	}
	if rec.key.method == sip.INVITE {
		rec.last = nil // absorbed from here on
	}
	// The key's strings are slices of the whole request; copies let go of it.
	rec.key.callID, rec.key.fromTag = strings.Clone(rec.key.callID), strings.Clone(rec.key.fromTag)
	rec.key.method = sip.RequestMethod(strings.Clone(string(rec.key.method)))
	rec.branch, rec.tag = strings.Clone(rec.branch), strings.Clone(rec.tag)
	rec.gone = false
	n.insert(rec)
	rec.due = n.layer.now() + 64*n.layer.options.T1
	n.finished.push(rec)
	n.layer.count.finished.Add(1)
	if n.finished.len() > n.layer.maxFinished {
		n.layer.count.evicted.Add(1)
		n.forgetOldest()
	}
}

// forget drops the finished transactions whose time is over and tells how long the next has. mu is held.
func (n *lane) forget(now time.Duration) time.Duration {
	for n.finished.len() > 0 {
		if wait := n.finished.oldest().due - now; wait > 0 {
			return wait
		}
		n.forgetOldest()
	}
	return time.Hour
}

func (n *lane) forgetOldest() {
	n.remove(n.finished.pop())
	n.layer.count.finished.Add(-1)
}

// finishedQueue holds finished transactions in the order of their end, which is the order in which they are forgotten.
type finishedQueue struct {
	records []*serverRecord
	head    int
}

func (q *finishedQueue) len() int              { return len(q.records) - q.head }
func (q *finishedQueue) oldest() *serverRecord { return q.records[q.head] }

func (q *finishedQueue) push(rec *serverRecord) {
	if q.head > 64 && q.head > len(q.records)/2 {
		rest := copy(q.records, q.records[q.head:])
		clear(q.records[rest:])
		q.records, q.head = q.records[:rest], 0
	}
	q.records = append(q.records, rec)
}

func (q *finishedQueue) pop() *serverRecord {
	rec := q.records[q.head]
	q.records[q.head] = nil
	q.head++
	return rec
}
