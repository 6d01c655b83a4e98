package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/tipring/tipring/api"
	"github.com/tipring/tipring/api/stream"
	"github.com/tipring/tipring/api/webhook"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/egress"
	"github.com/tipring/tipring/engine/monitor"
	"github.com/tipring/tipring/engine/recording"
	"github.com/tipring/tipring/engine/rtp"
	"github.com/tipring/tipring/engine/session"
	"github.com/tipring/tipring/engine/sip"
	"github.com/tipring/tipring/engine/sip/transaction"
	"github.com/tipring/tipring/engine/token"
	"github.com/tipring/tipring/engine/webrtc"
	"github.com/tipring/tipring/web"
)

// collectAt is the growth of the heap, in percent, at which garbage is collected, unless GOGC says otherwise. A call
// set-up makes much garbage and little heap: at Go's 100 the collector takes a quarter of its CPU.
const collectAt = 200

// node is one running Tipring: the parts, and how they end.
type node struct {
	config  *Config
	logger  *slog.Logger
	name    string
	apiKey  string // of dev mode
	monitor *monitor.Monitor

	store      session.Store
	recordings *recording.Disk
	log        *session.Log
	directory  *session.Directory
	keys       *session.Keys
	egress     *egress.Client
	rtp        *rtp.Engine
	layer      *transaction.Layer
	door       *sip.Door
	engine     *engine.Engine
	tokens     *token.Key
	pages      *webrtc.Door
	webhooks   *webhook.Service
	stream     *stream.Server

	started     time.Time
	http, admin net.Listener
	failed      chan error // of parts that the node cannot do without

	stops []func() error // run last to first by close
	work  sync.WaitGroup // of background
}

// newNode builds a node and starts it. What was built is closed again if something fails.
func newNode(ctx context.Context, c *Config, logger *slog.Logger) (*node, error) {
	n := &node{config: c, logger: logger, name: c.Node, started: time.Now().UTC().Truncate(time.Millisecond), monitor: monitor.New(versionText()), failed: make(chan error, 8)}
	if n.name == "" {
		host, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("the host has no name, so node must be set: %w", err)
		}
		n.name = host
	}
	for _, build := range []func(context.Context) error{
		n.listen, n.openStore, n.openRecordings, n.openMedia, n.openBrowsers, n.openCalls, n.openAPI, n.start,
	} {
		if err := build(ctx); err != nil {
			return nil, errors.Join(err, n.close())
		}
	}
	logger.Info("ready", "version", versionText(), "node", n.name, "http", n.http.Addr().String(),
		"admin", n.admin.Addr().String(), "sip", n.layer.LocalAddr().String(), "data_dir", c.DataDir)
	return n, nil
}

// onClose has f run by close, before what was given earlier.
func (n *node) onClose(f func() error) { n.stops = append(n.stops, f) }

// close ends what was built, the last first.
func (n *node) close() error {
	var errs []error
	for _, stop := range slices.Backward(n.stops) {
		errs = append(errs, stop())
	}
	n.stops = nil
	n.work.Wait()
	return errors.Join(errs...)
}

// background runs f until close, which ends its context and waits for it. An error of f ends the node.
func (n *node) background(what string, f func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	n.work.Go(func() {
		defer close(done)
		if err := f(ctx); err != nil && ctx.Err() == nil {
			n.failed <- fmt.Errorf("%s: %w", what, err)
		}
	})
	n.onClose(func() error {
		cancel()
		<-done
		return nil
	})
}

// listen takes the TCP addresses before anything else, so that a port that is taken is said at once.
func (n *node) listen(ctx context.Context) (err error) {
	var lc net.ListenConfig
	if n.http, err = lc.Listen(ctx, "tcp", n.config.HTTPListen); err != nil {
		return fmt.Errorf("http_listen: %w", err)
	}
	n.onClose(func() error { return ignoreClosed(n.http.Close()) })
	if n.admin, err = lc.Listen(ctx, "tcp", n.config.AdminListen); err != nil {
		return fmt.Errorf("admin_listen: %w", err)
	}
	n.onClose(func() error { return ignoreClosed(n.admin.Close()) })
	return nil
}

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// openStore opens the store and what reads it.
func (n *node) openStore(ctx context.Context) (err error) {
	if err := os.MkdirAll(n.config.DataDir, 0o750); err != nil {
		return fmt.Errorf("data_dir: %w", err)
	}
	path := filepath.Join(n.config.DataDir, "tipring.db")
	if n.store, err = session.OpenEmbedded(path, session.Options{Logger: n.logger}); err != nil {
		return err
	}
	n.onClose(n.store.Close)
	n.monitor.Check("store", func(ctx context.Context) error { _, err := n.store.Tail(ctx); return err })

	if err := n.setKey(ctx); err != nil {
		return err
	}
	if n.config.Dev {
		if err := seedDemos(ctx, n.store); err != nil {
			return err
		}
	}
	reading, stop := context.WithCancel(ctx)
	n.onClose(func() error { stop(); return nil })
	n.keys = session.NewKeys(reading, n.store)
	if n.directory, err = session.NewDirectory(reading, n.store); err != nil {
		return err
	}
	if err := n.directory.Damaged(); err != nil {
		n.logger.Error("part of the directory cannot be read and is left out", "error", err)
	}
	return nil
}

// setKey writes the key that the configuration names; in dev mode there is always one.
func (n *node) setKey(ctx context.Context) (err error) {
	if n.apiKey = n.config.APIKey; n.apiKey == "" && n.config.Dev {
		if n.apiKey, err = devKey(n.config.DataDir); err != nil {
			return err
		}
	}
	watching, stop := context.WithCancel(ctx)
	defer stop()
	keys := session.NewKeys(watching, n.store)
	if n.apiKey != "" {
		_, err := keys.Bootstrap(ctx, n.apiKey)
		return err
	}
	if some, _, err := keys.List(ctx, "", session.Page{Limit: 1}); err != nil || len(some) > 0 {
		return err
	}
	n.logger.Warn("there is no API key, so nobody can use the API: set TIPRING_API_KEY")
	return nil
}

// openMedia opens the media threads, and the processors for them: each has a thread of its own, and the rest of the
// program needs two at least.
func (n *node) openMedia(context.Context) (err error) {
	threads := n.config.MediaThreads
	if threads == 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), threads+2))
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	n.rtp, err = rtp.New(rtp.Options{
		Bind: n.config.RTPBind, MinPort: n.config.RTPPorts.First, MaxPort: n.config.RTPPorts.Last, Shards: threads,
		MediaTimeout: n.config.MediaTimeout, Opus: n.config.opus(), Log: n.logger,
	})
	if err != nil {
		return err
	}
	n.onClose(n.rtp.Close)
	n.monitor.Check("rtp_ports", func(context.Context) error {
		if n.rtp.Stats().PortsFree == 0 {
			return errors.New("every port of rtp_ports is in use")
		}
		return nil
	})
	return nil
}

// openCalls opens the event log, the engine and the SIP door.
func (n *node) openCalls(ctx context.Context) (err error) {
	n.egress = egress.New(egress.Options{
		AllowPrivate: n.config.AllowPrivateURLs, Allow: n.config.AllowNetworks, MaxBytes: n.config.MediaMaxBytes,
		UserAgent: n.config.UserAgent,
	})
	n.onClose(func() error { n.egress.CloseIdle(); return nil })
	files, folder, err := promptFiles(n.config)
	if err != nil {
		return err
	}
	n.onClose(folder.Close)
	if err := n.openLog(ctx); err != nil {
		return err
	}
	n.layer, err = transaction.Listen(transaction.Options{
		Listen: n.config.SIPListen, Advertise: n.config.SIPAdvertise, UserAgent: n.config.UserAgent, Log: n.logger,
		Guard: transaction.Guard{
			Rate: n.config.SIPRate, Burst: int(5 * max(n.config.SIPRate, 0)), Exempt: n.config.SIPExempt,
		},
	})
	if err != nil {
		return fmt.Errorf("sip_listen: %w", err)
	}
	n.onClose(n.layer.Close)
	n.door, err = sip.New(sip.Options{
		Layer: n.layer, Media: n.rtp, MediaAddress: n.mediaAddress(), Codecs: n.config.codecs(),
		SessionExpires: n.config.SIPSessionExpires, Trail: n.config.CallTimeline, Log: n.logger,
		Rejected: func(r engine.Rejection) { n.engine.TellRejection(r) },
		TrunkChanged: func(t engine.Trunk, change engine.TrunkChange, data map[string]any) {
			n.engine.TellTrunk(t, change, data)
		},
		Accept: func(in engine.Incoming, leg engine.Leg) error {
			if _, err := n.engine.Accept(in, leg); err != nil {
				return err
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	dialers := map[string]engine.Dialer{"sip": n.door, "tel": n.door}
	if n.pages != nil {
		dialers["client"] = n.pages
	}
	n.engine = engine.New(engine.Options{
		Node: n.name, Project: session.DefaultProject, Sink: n.monitor.Sink(n.log), Directory: n.directory, Records: n.store,
		Dialers:   dialers,
		Prompts:   engine.NewLibrary(engine.LibraryOptions{Files: files, Fetch: n.egress.Fetch}),
		Recorders: n.recordings, Trails: n.keepTrails(),
		Log: n.logger, MaxCalls: n.config.MaxCalls, MaxDuration: n.config.MaxCallDuration,
		AskTimeout: n.config.AskTimeout, AnswerTimeout: n.config.AnswerTimeout,
	})
	return nil
}

// openLog starts the event log and ends in it the calls that a crash left open.
func (n *node) openLog(ctx context.Context) error {
	n.log = session.NewLog(n.store, session.LogOptions{Logger: n.logger})
	n.onClose(func() error { return n.closeLog(endTimeout) })
	n.monitor.Check("event_log", func(context.Context) error {
		if st := n.log.Stats(); !n.log.Healthy() {
			return fmt.Errorf("%d of %d events wait to be written", st.Queued, st.Capacity)
		}
		return nil
	})
	lost, err := session.EndLost(ctx, n.store, n.log, n.name, n.recovered)
	if err != nil {
		return err
	}
	if lost > 0 {
		n.logger.Warn("calls were lost when this node ended; their end was published", "calls", lost)
	}
	return nil
}

func (n *node) closeLog(timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	if err := n.log.Close(ctx); err != nil {
		return fmt.Errorf("the event log was closed before all was written: %w", err)
	}
	return nil
}

// mediaAddress is what peers send audio to; the zero Addr leaves it to the door.
func (n *node) mediaAddress() netip.Addr {
	if n.config.RTPAdvertise.IsValid() {
		return n.config.RTPAdvertise
	}
	host := n.config.SIPAdvertise
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	return addr
}

// openAPI starts what customers talk to.
func (n *node) openAPI(context.Context) error {
	n.stream = stream.Handler(stream.Options{
		Commander: n.engine, Log: n.log, Tail: n.store.Tail, Origins: n.config.APIOrigins, Logger: n.logger,
		Key: func(ctx context.Context) (session.Key, bool) {
			k := api.KeyFrom(ctx)
			return k, k.ID != ""
		},
		Valid: func(ctx context.Context, k session.Key) bool {
			_, err := n.keys.Get(ctx, k.ProjectID, k.ID)
			return !errors.Is(err, session.ErrNotFound)
		},
	})
	n.webhooks = webhook.New(webhook.Options{
		Log: n.log, Store: n.store, Directory: n.directory, Commander: n.engine, Egress: n.egress, Logger: n.logger,
		Node: n.name, AskTimeout: n.config.WebhookTimeout, Timeout: n.config.WebhookTimeout, Retain: n.config.Retention,
	})
	o := api.Options{
		Commander: n.engine, Store: n.directory.Fresh(n.store), Log: n.log, Keys: n.keys, Stream: n.stream, CheckURL: n.egress.Check,
		Redeliver: n.webhooks.Redeliver, Nodes: n.nodes, CheckTarget: checkTarget, TrunkStatus: n.trunkStatus, Diagnose: n.engine.Diagnose, Recordings: recordingFiles{n.recordings},
		Logger: n.logger, Version: versionText(), Rate: n.config.APIRate, Origins: n.config.APIOrigins,
		AllowPrivateURLs: n.config.AllowPrivateURLs, Tokens: n.tokens,
	}
	if n.pages != nil {
		o.Pages, o.SDK = n.pages, web.SDK("/sdk/")
	}
	if n.config.Console {
		o.Console = web.Console("/console/")
	}
	server, err := api.New(o)
	if err != nil {
		return err
	}
	n.serveHTTP("http", server.HTTPServer(n.http.Addr().String()), n.http, n.stream.Close)
	return nil
}

// serveHTTP serves until close, which lets requests end for a few seconds. before is run first then.
func (n *node) serveHTTP(what string, s *http.Server, l net.Listener, before func(context.Context) error) {
	n.work.Go(func() {
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			n.failed <- fmt.Errorf("%s: %w", what, err)
		}
	})
	n.onClose(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if before != nil {
			_ = before(ctx) // what is left is cut off below
		}
		if err := s.Shutdown(ctx); err != nil {
			return s.Close()
		}
		return nil
	})
}

// start lets calls in. When it is closed, SIP ends first; then the log, so that who reads it has seen all events
// before their connections are closed; then the webhooks, when they have had time for the last events.
func (n *node) start(context.Context) error {
	n.metrics()
	n.background("store", n.prune)
	n.background("memory", n.tidy)
	n.background("webhooks", n.webhooks.Run)
	n.onClose(func() error { n.settleWebhooks(); return n.closeLog(endTimeout) })
	n.background("sip", n.door.Serve)
	n.background("trunks", n.watchTrunks)
	n.serveHTTP("admin", &http.Server{
		Handler: n.monitor.Handler(), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(n.logger.Handler(), slog.LevelDebug),
	}, n.admin, nil)
	return nil
}

// prune forgets what is older than the retention time, every ten minutes. It ends with ctx.
func (n *node) prune(ctx context.Context) error {
	tick := time.NewTicker(10 * time.Minute)
	defer tick.Stop()
	for {
		if err := n.store.Prune(ctx, time.Now().Add(-n.config.Retention)); err != nil && ctx.Err() == nil {
			n.logger.Error("old events and calls could not be removed", "error", err)
		}
		if err := n.pruneRecordings(ctx); err != nil && ctx.Err() == nil {
			n.logger.Error("old recordings could not be removed", "error", err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}
