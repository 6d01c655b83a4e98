package main

import (
	"context"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
	"github.com/tipring/tipring/engine/sip"
)

// watchTrunks lets the door watch the trunks that there are. It ends with ctx.
func (n *node) watchTrunks(ctx context.Context) error {
	changes := n.store.Watch(ctx, session.KindTrunk)
	tick := time.NewTicker(2 * time.Second) // the directory may learn a moment later
	defer tick.Stop()
	for {
		n.door.WatchTrunks(n.directory.Trunks())
		select {
		case <-changes:
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// trunkStatus is how a trunk is now.
func (n *node) trunkStatus(t engine.Trunk) *engine.TrunkStatus {
	s, watched := n.door.TrunkStatus(t.ID)
	if !watched {
		s.Targets = []engine.TargetStatus{}
		for _, target := range t.Targets {
			s.Targets = append(s.Targets, engine.TargetStatus{URI: target.URI, State: engine.TrunkUnknown})
		}
	}
	s.Calls = n.engine.TrunkCalls()[t.ID]
	return &s
}

func checkTarget(uri string) error {
	_, err := sip.ParseTarget(uri)
	return err
}
