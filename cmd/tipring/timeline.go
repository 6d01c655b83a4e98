package main

import (
	"github.com/tipring/tipring/api"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// keepTrails makes what keeps the trails of calls; nil if none are to be kept.
func (n *node) keepTrails() engine.Trails {
	if !n.config.CallTimeline {
		return nil
	}
	w := session.NewTrailWriter(n.store, n.config.Retention, n.logger)
	n.onClose(func() error {
		if n.engine != nil {
			n.engine.SaveTrails()
		}
		return w.Close()
	})
	n.monitor.Counter("call_trails_dropped_total", "Timelines of calls that the store was too slow to keep.",
		func() float64 { return float64(w.Dropped()) })
	return w
}

// nodes are the nodes as the API shows them: this one.
func (n *node) nodes() []api.Node {
	st := n.engine.Stats()
	v := api.Node{
		Name: n.name, State: api.Active, Version: versionText(), StartedAt: n.started, Calls: st.Active, Conferences: st.Conferences,
	}
	if st.Draining {
		v.State = api.Draining
	}
	if n.pages != nil {
		v.Pages = n.pages.Stats().Pages
	}
	if limit := n.config.MaxCalls; limit > 0 {
		v.MaxCalls = &limit
	}
	address := n.layer.LocalAddr().String()
	v.SIPAddress = &address
	return []api.Node{v}
}
