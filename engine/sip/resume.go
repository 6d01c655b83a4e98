package sip

import (
	"context"
	"errors"
	"net/netip"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/sip/transaction"
)

var errLegLives = errors.New("sip: the state is of a leg that lives on this node")

// Resume implements engine.Dialer: it goes on with a confirmed dialog of another node by a re-INVITE from this one, with
// only the codec in use, the same direction and o= raised. SignalAnswered says that the far end took it; if it does
// not, the leg ends.
func (d *Door) Resume(_ context.Context, state []byte) (engine.Leg, error) {
	s, err := decodeState(state)
	if err != nil {
		return nil, err
	}
	if d.find(s.CallID, s.LocalTag) != nil {
		return nil, errLegLives
	}
	session, err := d.o.Media.Open(s.Key)
	if err != nil {
		return nil, engine.Errorf(engine.CodeCapacity, "this node has no RTP port left")
	}
	l := d.newLeg(s.CallID, s.LocalTag, s.Inbound, session)
	l.state = s
	l.auth.credentials, l.auth.sealed = s.Credentials, true
	l.hold, l.held = s.Media.Hold, s.Media.HeldByPeer
	l.enter(talking)
	if !d.add(l) {
		session.Close()
		return nil, engine.Errorf(engine.CodeDraining, "this node takes no new calls")
	}
	l.publish()
	if err := l.post(l.resume); err != nil {
		session.Close()
		d.remove(l)
		return nil, err
	}
	d.stats.began(l)
	l.listen()
	return l, nil
}

// resume sends the re-INVITE of a leg that came from another node.
func (l *Leg) resume() {
	m := l.state.Media
	m.Address = netip.AddrPortFrom(l.door.mediaAddress(transaction.Target{Transport: l.state.Transport, Addr: l.state.Source}), uint16(l.rtp.Port()))
	m.narrow()
	m.Version++
	m.Local = nil
	if err := m.describe(m.resumed()); err != nil {
		l.dropDialog(engine.Cause{Reason: engine.ReasonInternal, Source: engine.SourceSystem})
		return
	}
	l.modify(&reinvite{media: m, resume: true})
}

// resumed is the direction in which a session goes on: as it was, but a far end that held us may take us back in its
// answer.
func (m *MediaState) resumed() direction {
	if m.HeldByPeer {
		return m.Direction
	}
	return m.wanted()
}
