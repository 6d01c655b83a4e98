package main

import (
	"context"
	"strings"
	"time"

	"github.com/pion/turn/v5"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
	"github.com/tipring/tipring/engine/token"
	"github.com/tipring/tipring/engine/webrtc"
)

// turnTTL is how long a page's TURN credentials serve.
const turnTTL = 12 * time.Hour

// openBrowsers opens the door for browsers, if there is to be one.
func (n *node) openBrowsers(ctx context.Context) error {
	if !n.config.WebRTCListen.IsValid() {
		return nil
	}
	seed, err := session.Secret(ctx, n.store, "browser_tokens", token.SeedSize)
	if err != nil {
		return err
	}
	if n.tokens, err = token.NewKey(seed); err != nil {
		return err
	}
	n.pages, err = webrtc.New(webrtc.Options{
		Listen: webrtc.Listen{
			Addr: n.config.WebRTCListen, Advertise: n.config.WebRTCAdvertise, Lite: n.config.WebRTCLite,
			Loopback: n.config.Dev || n.config.WebRTCListen.Addr().IsLoopback(),
		},
		TURN:  webrtc.TURN{Addr: n.config.TURNListen, Host: first(n.config.WebRTCAdvertise)},
		Media: n.rtp, Tokens: n.tokens, Origins: n.config.APIOrigins, Servers: n.config.iceServers, Node: n.name, Log: n.logger,
		Accept: func(in engine.Incoming, leg engine.Leg) (string, error) {
			c, err := n.engine.Accept(in, leg)
			if err != nil {
				return "", err
			}
			return c.ID(), nil
		},
		Route: n.routePage, Transfer: n.transferPage,
	})
	if err != nil {
		return err
	}
	n.onClose(n.pages.Close)
	return nil
}

// routePage finds who runs the calls of a page: the application of its token; the number's; else the page is connected to what
// it calls.
func (n *node) routePage(ctx context.Context, c token.Claims, to string) (engine.Application, error) {
	if c.ApplicationID != "" {
		app, ok := n.directory.Application(ctx, c.ProjectID, c.ApplicationID)
		if !ok {
			return app, engine.Errorf(engine.CodeNoRoute, "the application of the token is gone")
		}
		return app, nil
	}
	if !c.MayCall(to) {
		return engine.Application{}, engine.Errorf(engine.CodeNoRoute, "the token does not allow calls to %q", to)
	}
	if app, ok := n.directory.Route(ctx, (engine.Address{URI: to}).User()); ok && app.ProjectID == c.ProjectID {
		return app, nil
	}
	app := engine.Application{ProjectID: c.ProjectID, OnIdle: engine.IdleHangup}
	if room, ok := strings.CutPrefix(to, "conference:"); ok && room != "" {
		app.Instructions = []engine.Instruction{{Action: &engine.Join{Conference: room}}}
		return app, nil
	}
	if _, err := engine.ParseAddress(to); err != nil {
		return app, engine.Errorf(engine.CodeNoRoute, "no number matches %q, and it is no address", to)
	}
	app.Instructions = []engine.Instruction{{Action: &engine.Bridge{To: to}}}
	return app, nil
}

// transferPage lets the call that a page's call is bridged with dial somebody else.
func (n *node) transferPage(ctx context.Context, project, callID, to string) error {
	r, err := n.engine.Do(ctx, &engine.Inspect{CallID: callID, ProjectID: project})
	if err != nil {
		return err
	}
	if r.Call == nil || r.Call.BridgedWith == "" {
		return engine.Errorf(engine.CodeInvalidState, "the call talks to nobody who could be transferred")
	}
	b := &engine.Bridge{To: to}
	b.CallID, b.ProjectID = r.Call.BridgedWith, project
	_, err = n.engine.Do(ctx, b)
	return err
}

// iceServers are those that pages are told: TURN servers with credentials that serve for half a day.
func (c *Config) iceServers(identity string) []webrtc.ICEServer {
	list := []webrtc.ICEServer{}
	for _, u := range c.ICEServers {
		s := webrtc.ICEServer{URLs: []string{u}}
		if strings.HasPrefix(u, "turn") && c.TURNSecret != "" {
			var err error
			if s.Username, s.Credential, err = turn.GenerateLongTermTURNRESTCredentials(c.TURNSecret, identity, turnTTL); err != nil {
				continue
			}
		}
		list = append(list, s)
	}
	return list
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}
