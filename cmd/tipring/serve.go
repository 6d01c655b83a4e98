package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/monitor"
)

// serve runs a node until a signal comes or something that it cannot do without fails. The first SIGTERM or SIGINT
// drains it: it is not ready any more, refuses new calls and lets the live ones go on for the grace time; the second
// ends them now.
func serve(c *Config, stdout, stderr io.Writer) error {
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)

	logger := newLogger(c, stderr)
	n, err := newNode(context.Background(), c, logger)
	if err != nil {
		return err
	}
	if c.Dev {
		writeBanner(stdout, n.apiKey, n.http.Addr().String(), n.layer.LocalAddr().String())
	}
	var failure error
	select {
	case s := <-signals:
		logger.Info("stopping", "signal", s.String(), "calls", n.engine.Calls(), "grace", c.ShutdownGrace)
	case failure = <-n.failed:
		logger.Error("stopping: a part of the node failed", "error", failure)
	}
	n.drain(signals)
	return errors.Join(failure, n.close())
}

// newLogger makes the program's logger. "auto" is text on a terminal.
func newLogger(c *Config, w io.Writer) *slog.Logger {
	format := monitor.LogFormat(c.LogFormat)
	if c.LogFormat == "auto" {
		format = monitor.LogJSON
		if f, ok := w.(*os.File); ok {
			if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
				format = monitor.LogText
			}
		}
	}
	return monitor.NewLogger(w, monitor.LogOptions{Level: c.LogLevel, Format: format, ShowNumbers: c.LogNumbers})
}

const (
	endTimeout  = 10 * time.Second // for legs to end once they were told to, and for the log to be written
	lastAnswers = 3 * time.Second  // for peers to answer our last BYEs, and for webhooks of the last events
)

// drain takes no new calls and returns when none is left: after the grace time, or with the next signal, it ends them.
func (n *node) drain(signals <-chan os.Signal) {
	n.monitor.Drain("the node is stopping")
	defer n.awaitAnswers()
	ctx, cancel := context.WithTimeout(context.Background(), n.config.ShutdownGrace)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- n.engine.Drain(ctx) }() // ends with ctx
	select {
	case err := <-drained:
		if err == nil {
			return
		}
	case <-signals:
	}
	if n.engine.Calls() == 0 {
		return
	}
	n.logger.Info("ending the calls that are left", "calls", n.engine.Calls())
	n.engine.HangupAll(engine.Cause{Reason: engine.ReasonUnavailable, Source: engine.SourceSystem, Text: "the node is stopping"})
	ending, cancelEnding := context.WithTimeout(context.Background(), endTimeout)
	defer cancelEnding()
	if err := n.engine.Drain(ending); err != nil {
		n.logger.Error("calls did not end", "calls", n.engine.Calls())
	}
}

// awaitAnswers leaves time for the requests that ended the last calls: one that got lost is sent again.
func (n *node) awaitAnswers() {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(lastAnswers); time.Now().Before(deadline); <-tick.C {
		if st := n.layer.Stats(); st.OpenClient == 0 && n.door.Stats().Legs == 0 {
			return
		}
	}
}

// settleWebhooks leaves time for the last events to be delivered. What cannot be now is carried after the next start.
func (n *node) settleWebhooks() {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	quiet := 0
	for deadline := time.Now().Add(lastAnswers); quiet < 3 && time.Now().Before(deadline); <-tick.C {
		if st := n.webhooks.Stats(); n.log.Stats().Queued == 0 && st.Lanes == 0 && st.InFlight == 0 {
			quiet++
		} else {
			quiet = 0
		}
	}
}
