package sip

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/sip/transaction"
)

// DialogState is all that a node needs to go on with a dialog (RFC 3261 12): a plain value without a role, ours and
// theirs. It is what Leg.State gives as JSON. It may hold credentials: whoever stores it protects it.
type DialogState struct {
	Format  int    `json:"format"` // stateFormat
	Inbound bool   `json:"inbound"`
	Key     string `json:"key"` // of the session: RTP placement

	CallID    string `json:"call_id"`
	LocalTag  string `json:"local_tag"`
	RemoteTag string `json:"remote_tag"`
	Local     string `json:"local"`  // our From or To, without the tag
	Remote    string `json:"remote"` // theirs

	RemoteTarget string   `json:"remote_target"` // their Contact; every target refresh replaces it
	RouteSet     []string `json:"route_set"`     // URIs, nearest first; frozen when the dialog begins
	LocalUser    string   `json:"local_user"`    // of our Contact

	LocalCSeq  uint32 `json:"local_cseq"`
	RemoteCSeq uint32 `json:"remote_cseq"`
	InviteCSeq uint32 `json:"invite_cseq"` // of our last INVITE: its ACK has the same

	Transport string         `json:"transport"` // that the dialog began with
	Source    netip.AddrPort `json:"source"`    // where the far end's messages come from

	Allow       []string            `json:"allow"` // the methods that the far end takes
	Media       MediaState          `json:"media"`
	Timer       TimerState          `json:"timer"`
	Credentials *engine.Credentials `json:"credentials,omitempty"`
	Confirmed   bool                `json:"confirmed"` // 2xx and ACK were exchanged
}

// stateFormat changes when old states cannot be read any more.
const stateFormat = 1

func (s *DialogState) encode() []byte {
	b, err := json.Marshal(s)
	if err != nil {
		return nil // a struct of plain values always marshals
	}
	return b
}

func decodeState(b []byte) (DialogState, error) {
	var s DialogState
	if err := json.Unmarshal(b, &s); err != nil {
		return s, fmt.Errorf("read dialog state: %w", err)
	}
	switch {
	case s.Format != stateFormat:
		return s, fmt.Errorf("read dialog state: format %d", s.Format)
	case s.CallID == "" || s.LocalTag == "" || s.RemoteTag == "" || s.RemoteTarget == "":
		return s, errors.New("read dialog state: not a confirmed dialog")
	case !s.Media.Agreed || s.Media.Audio < 0 || s.Media.Audio >= len(s.Media.Layout):
		return s, errors.New("read dialog state: no media")
	}
	return s, nil
}

// newTag makes a local tag. It is random; in a cluster it will be the sealed token that routes to the owner.
func newTag() string { return rand.Text()[:16] }

// cseqEpoch is where CSeq numbers begin to count: four to the second fit 31 bits for 17 years.
func cseqEpoch() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// nextCSeq is the number of the next request after last. It follows the clock, so that a node that takes the dialog
// over is above all that was sent before, without asking anyone (gaps are allowed: RFC 3261 12.2.2).
func nextCSeq(last uint32, now time.Time) uint32 {
	const limit = 1<<31 - 1 // RFC 3261 8.1.1.5
	clock := now.Sub(cseqEpoch()) / (time.Second / 4)
	if clock > 0 && clock < limit && uint32(clock) > last {
		return uint32(clock)
	}
	return last + 1
}

// newSDPSession is the id in o= of a new leg: random and small enough for every parser.
func newSDPSession() uint64 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return uint64(binary.BigEndian.Uint32(b[:])>>1) + 1
}

// route is the Request-URI and the Route headers of the next request (RFC 3261 12.2.1.1). If the first route is a
// strict router, it becomes the Request-URI and the target goes to the end.
func (s *DialogState) route() (target sip.Uri, routes []string, err error) {
	if err := sip.ParseUri(s.RemoteTarget, &target); err != nil {
		return target, nil, fmt.Errorf("remote target: %w", err)
	}
	if len(s.RouteSet) == 0 {
		return target, nil, nil
	}
	var first sip.Uri
	if err := sip.ParseUri(s.RouteSet[0], &first); err != nil {
		return target, nil, fmt.Errorf("route: %w", err)
	}
	if first.UriParams.Has("lr") {
		return target, s.RouteSet, nil
	}
	first.UriParams.Remove("method")
	first.Headers = nil
	return first, append(slices.Clone(s.RouteSet[1:]), s.RemoteTarget), nil
}

// request builds the next request of the dialog, or the ACK of one (cseq is the INVITE's).
func (s *DialogState) request(method sip.RequestMethod, cseq uint32) (*sip.Request, error) {
	target, routes, err := s.route()
	if err != nil {
		return nil, err
	}
	req := sip.NewRequest(method, target)
	for _, r := range routes {
		req.AppendHeader(sip.NewHeader("Route", "<"+r+">"))
	}
	s.appendDialogHeaders(req, cseq)
	return req, nil
}

func (s *DialogState) appendDialogHeaders(req *sip.Request, cseq uint32) {
	to := s.Remote
	if s.RemoteTag != "" {
		to += ";tag=" + s.RemoteTag
	}
	callID := sip.CallIDHeader(s.CallID)
	maxForwards := sip.MaxForwardsHeader(70)
	req.AppendHeader(&maxForwards)
	req.AppendHeader(sip.NewHeader("From", s.Local+";tag="+s.LocalTag))
	req.AppendHeader(sip.NewHeader("To", to))
	req.AppendHeader(&callID)
	req.AppendHeader(&sip.CSeqHeader{SeqNo: cseq, MethodName: req.Method})
}

// hop is the URI that the next request goes to: the first route, else the Request-URI.
func (s *DialogState) hop() (sip.Uri, error) {
	uri := s.RemoteTarget
	if len(s.RouteSet) > 0 {
		uri = s.RouteSet[0]
	}
	var u sip.Uri
	if err := sip.ParseUri(uri, &u); err != nil {
		return u, fmt.Errorf("next hop: %w", err)
	}
	return u, nil
}

// behindNAT is where to send instead of to hop: if the far end gave an address that cannot be reached from here and
// no proxy stands between, its messages' source is the only way back.
func (s *DialogState) behindNAT(hop sip.Uri) (transaction.Target, bool) {
	contact, err := netip.ParseAddr(strings.Trim(hop.Host, "[]"))
	source := s.Source.Addr()
	if err != nil || len(s.RouteSet) > 0 || !source.IsValid() || contact == source {
		return transaction.Target{}, false
	}
	lost := contact.IsUnspecified() || contact.IsLoopback() && !source.IsLoopback() ||
		contact.IsPrivate() && !source.IsPrivate() && !source.IsLoopback()
	return transaction.Target{Transport: s.Transport, Addr: s.Source}, lost
}

// peerAllows reports whether the far end said that it takes the method.
func (s *DialogState) peerAllows(method sip.RequestMethod) bool {
	return slices.ContainsFunc(s.Allow, func(m string) bool { return strings.EqualFold(m, string(method)) })
}

// readPeer takes from a message of the far end what every message of a dialog may refresh.
func (s *DialogState) readPeer(msg sip.Message) {
	if allow := transaction.Values(msg, "Allow"); len(allow) > 0 && len(allow) <= 32 {
		s.Allow = allow
	}
}

// refreshTarget takes the Contact of a target refresh (RFC 3261 12.2.1.2, 12.2.2).
func (s *DialogState) refreshTarget(contact *sip.ContactHeader) {
	if usableContact(contact) {
		s.RemoteTarget = contact.Address.String()
	}
}

// usableContact reports whether requests can be sent to contact.
func usableContact(contact *sip.ContactHeader) bool {
	return contact != nil && !contact.Address.Wildcard && contact.Address.Host != "" && cleanURI(contact.Address.String())
}

// recordedRoutes are the URIs of the Record-Route headers, in order.
func recordedRoutes(msg sip.Message) []string {
	var routes []string
	for _, v := range transaction.Values(msg, "Record-Route") {
		if _, uri, ok := strings.Cut(v, "<"); ok {
			v, _, _ = strings.Cut(uri, ">")
		}
		routes = append(routes, v)
	}
	return routes
}

// withoutTag is a From or To value without its tag, and the tag.
func withoutTag(name string, uri sip.Uri, params sip.HeaderParams) (value, tag string) {
	params = params.Clone()
	tag, _ = params.Get("tag")
	params.Remove("tag")
	h := sip.FromHeader{DisplayName: name, Address: uri, Params: params}
	return h.Value(), tag
}
