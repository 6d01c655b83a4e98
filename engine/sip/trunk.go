package sip

import (
	"cmp"
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/emiago/sipgo/sip"

	"github.com/tipring/tipring/engine"
)

// defaultFailover is how long a target of a trunk may say nothing before the next is asked.
const defaultFailover = 4 * time.Second

// trunkCall is what an outbound leg keeps of its trunk.
type trunkCall struct {
	trunk    *engine.Trunk
	targets  []hop // still to be tried, best first
	failover time.Duration
}

// hop is one try: what stands in the Request-URI, and whose address it goes to.
type hop struct {
	uri, via sip.Uri
	found    bool // via is what SRV gave
}

// newTrunkCall makes the Request-URIs of a number, in the order in which they are tried.
func (d *Door) newTrunkCall(t *engine.Trunk, number string) (*trunkCall, error) {
	c := &trunkCall{trunk: t, failover: time.Duration(t.FailoverMS) * time.Millisecond}
	if c.failover <= 0 {
		c.failover = defaultFailover
	}
	order := orderTargets(t.Targets, rand.IntN)
	slices.SortStableFunc(order, func(a, b engine.TrunkTarget) int { // what is down comes last
		return cmp.Compare(btoi(d.down(t.ID, a.URI)), btoi(d.down(t.ID, b.URI)))
	})
	for _, target := range order {
		uri, err := ParseTarget(target.URI)
		if err != nil {
			return nil, engine.Errorf(engine.CodeNoRoute, "the trunk %s has the target %q: %v", t.Name, target.URI, err)
		}
		via := uri
		uri.User = formatNumber(number, t.NumberFormat)
		uri.UriParams = uri.UriParams.Clone()
		uri.UriParams.Add("user", "phone")
		c.targets = append(c.targets, hop{uri: uri, via: via})
	}
	if len(c.targets) == 0 {
		return nil, engine.Errorf(engine.CodeNoRoute, "the trunk %s has no targets", t.Name)
	}
	return c, nil
}

// ParseTarget reads the address of a SIP server: "sip:host:port;transport=tcp", without a user.
func ParseTarget(s string) (sip.Uri, error) {
	var u sip.Uri
	if err := sip.ParseUri(s, &u); err != nil || u.Scheme != "sip" || u.Host == "" || u.User != "" || !cleanURI(s) {
		return u, engine.Invalid("", `write sip:host, sip:host:port or sip:host:port;transport=tcp`)
	}
	u.Headers = nil
	u.UriParams = u.UriParams.Clone()
	return u, nil
}

// orderTargets sorts by priority and, within one, by chance in proportion to the weights (RFC 2782). below gives a random
// number below n.
func orderTargets(targets []engine.TrunkTarget, below func(n int) int) []engine.TrunkTarget {
	rest := slices.Clone(targets)
	slices.SortStableFunc(rest, func(a, b engine.TrunkTarget) int { return cmp.Compare(a.Priority, b.Priority) })
	var out []engine.TrunkTarget
	for len(rest) > 0 {
		same, sum := 0, 0
		for same < len(rest) && rest[same].Priority == rest[0].Priority {
			sum += max(rest[same].Weight, 1)
			same++
		}
		at := 0
		for n := below(sum); at < same-1; at++ {
			if n -= max(rest[at].Weight, 1); n < 0 {
				break
			}
		}
		out = append(out, rest[at])
		rest = slices.Delete(rest, at, at+1)
	}
	return out
}

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

func formatNumber(number, format string) string {
	if format == "digits" && len(number) > 1 && number[0] == '+' {
		return number[1:]
	}
	return number
}

// headers are those of the trunk and of the call, which win.
func (c *trunkCall) headers(own map[string]string) map[string]string {
	all := maps.Clone(c.trunk.Headers)
	if all == nil {
		all = map[string]string{}
	}
	maps.Copy(all, own)
	return all
}

// from is the caller on the trunk, at our address or the trunk's domain, and how it is asserted (RFC 3325).
func (l *Leg) trunkFrom(a engine.Address, local sip.Uri) (value string, identity sip.Header) {
	t := l.out.trunk.trunk
	if t.FromDomain != "" {
		local.Host, local.Port = t.FromDomain, 0
	}
	uri := sip.Uri{Scheme: "sip", User: formatNumber(a.User(), t.NumberFormat), Host: local.Host, Port: local.Port}
	if uri.User == "" || !cleanURI(uri.String()) {
		return l.from(engine.Address{}, local), nil // anonymous
	}
	if (engine.Address{URI: a.User()}).Scheme() == "tel" {
		uri.UriParams = sip.HeaderParams{{K: "user", V: "phone"}}
	}
	l.state.LocalUser = contactUser(uri.User)
	value, _ = withoutTag(escape(a.Name), uri, nil)
	switch t.Identity {
	case "pai":
		identity = sip.NewHeader("P-Asserted-Identity", "<"+uri.String()+">")
	case "rpid":
		identity = sip.NewHeader("Remote-Party-ID", "<"+uri.String()+">;party=calling;screen=yes;privacy=off")
	}
	return value, identity
}

// failsOver reports whether a failure says something of the trunk's target, not of who was called: another may do better
// (RFC 3263 4.3, and what carriers mean by 5xx).
func failsOver(status int) bool {
	switch status {
	case 408, 500, 502, 503, 504:
		return true
	}
	return false
}

// nextTarget tries the trunk's next target; false if there is none.
func (l *Leg) nextTarget() bool {
	o := l.out
	if o == nil || o.cancelled || o.trunk == nil || len(o.trunk.targets) == 0 || o.invites >= maxInvites {
		return false
	}
	next := o.trunk.targets[0]
	o.trunk.targets = o.trunk.targets[1:]
	l.log.Info("the trunk's next target is asked", "target", next.via.String())
	l.stopTimer()
	// Whatever the one before says from now on is not of the INVITE under way.
	o.target, o.client, o.request, o.answered, o.contacts = next.uri, nil, new(sip.Request), nil, nil
	l.seek(next)
	return true
}

// services puts the servers that SRV has for a hop in its place, and goes on; without any the hop's own address is tried.
func (l *Leg) services(h hop) {
	o := l.out
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	l.door.layer.Services(ctx, h.via, func(servers []sip.Uri) {
		cancel()
		l.postSoon(func() {
			if l.out != o || l.phase() == ended {
				return
			}
			hops := []hop{{uri: h.uri, via: h.via, found: true}}
			for i, s := range servers {
				if i == 0 {
					hops = hops[:0]
				}
				hops = append(hops, hop{uri: h.uri, via: s, found: true})
			}
			o.trunk.targets = append(hops[1:], o.trunk.targets...)
			l.seek(hops[0])
		}, laneRetries)
	})
}

// awaitTarget gives up a target that says nothing, if there is another.
func (l *Leg) awaitTarget() {
	o := l.out
	if o.trunk == nil || len(o.trunk.targets) == 0 {
		return
	}
	client := o.client
	l.arm(o.trunk.failover, func() {
		if l.out != o || o.client != client || o.cancelled {
			return
		}
		client.Cancel(`SIP;cause=408;text="No answer in time"`)
		l.nextTarget()
	})
}
