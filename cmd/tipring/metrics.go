package main

import (
	"runtime"
	"time"
)

// metrics shows the figures that the parts keep.
func (n *node) metrics() {
	m := n.monitor
	n.logMetrics()
	n.mediaMetrics()
	n.sipMetrics()
	n.recordingMetrics()
	n.browserMetrics()
	m.Counter("calls_refused_total", "Calls that the engine refused: no number, no room, or stopping.",
		func() float64 { return float64(n.engine.Stats().Refused) })
	m.Counter("call_panics_total", "Faults of ours that ended one call each.",
		func() float64 { return float64(n.engine.Stats().Panics) })
	m.Counter("commands_refused_total", "Commands that were refused since their call's queue was full.",
		func() float64 { return float64(n.engine.Stats().CommandsRefused) })
	m.Counter("digits_dropped_total", "Digits that were keyed when nobody gathered, beyond what is kept.",
		func() float64 { return float64(n.engine.Stats().DigitsDropped) })
	m.CounterBy("webhook_events_total", "Events for webhooks, by what became of them.", "outcome", func() map[string]float64 {
		st := n.webhooks.Stats()
		return map[string]float64{
			"delivered": float64(st.Delivered), "failed_try": float64(st.Failed), "given_up": float64(st.GivenUp),
			"dropped": float64(st.Dropped), "asked": float64(st.Asked), "answered": float64(st.Answered),
		}
	})
	m.Gauge("webhook_lanes", "Calls with webhooks pending.", func() float64 { return float64(n.webhooks.Stats().Lanes) })
	m.Gauge("webhook_requests", "Webhook requests under way.", func() float64 { return float64(n.webhooks.Stats().InFlight) })
	m.Gauge("webhook_sockets", "Open WebSockets to applications.", func() float64 { return float64(n.webhooks.Stats().Sockets) })
	m.Gauge("stream_connections", "Open conversations on /v1/stream.",
		func() float64 { return float64(n.stream.Connections()) })
	m.Gauge("processors", "GOMAXPROCS.", func() float64 { return float64(runtime.GOMAXPROCS(0)) })
}

func (n *node) logMetrics() {
	m := n.monitor
	m.Gauge("event_log_queue", "Events that wait to be written.", func() float64 { return float64(n.log.Stats().Queued) })
	m.Gauge("event_log_queue_limit", "Events that can wait.", func() float64 { return float64(n.log.Stats().Capacity) })
	m.Gauge("event_log_followers", "Readers of the live log.", func() float64 { return float64(n.log.Stats().Followers) })
	m.Counter("event_log_written_total", "Events written.", func() float64 { return float64(n.log.Stats().Written) })
	m.Counter("event_log_dropped_total", "Events lost since the queue was full.", func() float64 { return float64(n.log.Stats().Dropped) })
	m.Counter("event_log_retries_total", "Writes that failed and were tried again.", func() float64 { return float64(n.log.Stats().Retries) })
}

func (n *node) mediaMetrics() {
	m := n.monitor
	m.Gauge("rtp_sessions", "Legs with audio.", func() float64 { return float64(n.rtp.Stats().Sessions) })
	m.Gauge("rtp_ports_free", "Pairs of ports that can be opened.", func() float64 { return float64(n.rtp.Stats().PortsFree) })
	m.CounterBy("rtp_packets_total", "RTP packets: in, out, and of those the relayed ones.", "way", func() map[string]float64 {
		st := n.rtp.Stats()
		return map[string]float64{"in": float64(st.PacketsIn), "out": float64(st.PacketsOut), "relayed": float64(st.Relayed)}
	})
	m.CounterBy("rtp_dropped_total", "RTP packets that were not taken, by why.", "reason", func() map[string]float64 {
		drops := map[string]float64{}
		for reason, count := range n.rtp.Stats().Drops {
			drops[reason] = float64(count)
		}
		return drops
	})
	m.Counter("rtp_source_faults_total", "Audio sources and taps that were ended by a fault.",
		func() float64 { return float64(n.rtp.Stats().SourceFaults) })
	m.Counter("rtp_slots_skipped_total", "Media slots left out because a thread was late.",
		func() float64 { return float64(n.rtp.Stats().SlotsSkipped) })
	m.GaugeBy("rtp_slot_lateness_seconds", "How late media slots ran.", "quantile", func() map[string]float64 {
		st := n.rtp.Stats()
		return map[string]float64{
			"0.5": seconds(st.LatenessP50), "0.99": seconds(st.LatenessP99), "1": seconds(st.LatenessMax),
		}
	})
}

func (n *node) sipMetrics() {
	m := n.monitor
	m.CounterBy("sip_messages_total", "SIP messages, by what became of them.", "kind", func() map[string]float64 {
		st := n.layer.Stats()
		return map[string]float64{
			"received": float64(st.Received), "sent": float64(st.Sent), "retransmitted": float64(st.Retransmitted),
			"repeated": float64(st.Repeated), "malformed": float64(st.Malformed), "refused": float64(st.Refused),
			"stray": float64(st.Stray), "send_error": float64(st.SendErrors),
		}
	})
	m.CounterBy("sip_dropped_total", "SIP messages that the guard did not let in, by rule.", "rule", func() map[string]float64 {
		st := n.layer.Stats()
		return map[string]float64{
			"size": float64(st.DroppedSize), "rate": float64(st.DroppedRate), "open": float64(st.DroppedOpen),
			"queue": float64(st.DroppedQueue + st.DroppedDo), "connections": float64(st.DroppedConnections),
		}
	})
	m.GaugeBy("sip_transactions", "SIP transactions, by state.", "state", func() map[string]float64 {
		st := n.layer.Stats()
		return map[string]float64{
			"server": float64(st.OpenServer), "client": float64(st.OpenClient), "finished": float64(st.Finished),
		}
	})
	m.Gauge("sip_connections", "Open TCP connections.", func() float64 { return float64(n.layer.Stats().Connections) })
	m.Counter("sip_panics_total", "Faults of ours while handling a message.", func() float64 { return float64(n.layer.Stats().Panics) })
	m.Gauge("sip_legs", "Legs that live.", func() float64 { return float64(n.door.Stats().Legs) })
	m.CounterBy("sip_legs_total", "Legs, by what became of them.", "kind", func() map[string]float64 {
		st := n.door.Stats()
		return map[string]float64{
			"inbound": float64(st.Inbound), "outbound": float64(st.Outbound), "refused": float64(st.Refused),
			"forked": float64(st.Forks),
		}
	})
	m.Counter("sip_signals_dropped_total", "Signals of legs that the engine did not read.",
		func() float64 { return float64(n.door.Stats().SignalsDropped) })
}

func seconds(d time.Duration) float64 { return d.Seconds() }

// browserMetrics tells of the pages that are connected, and their calls.
func (n *node) browserMetrics() {
	if n.pages == nil {
		return
	}
	m := n.monitor
	m.Gauge("pages_connected", "Browser pages, those that were cut off less than a minute ago included.",
		func() float64 { return float64(n.pages.Stats().Pages) })
	m.Gauge("page_calls", "Calls of browser pages that live here.", func() float64 { return float64(n.pages.Stats().Calls) })
	m.Counter("ice_failures_total", "Peer connections of pages that failed or were closed under a call.",
		func() float64 { return float64(n.pages.Stats().ICEFailures) })
	m.Counter("pages_refused_total", "Pages that were not let in: token, origin, or no hello.",
		func() float64 { return float64(n.pages.Stats().RefusedSessions) })
}

func (n *node) recordingMetrics() {
	m := n.monitor
	m.Gauge("recordings_running", "Recordings that are not complete yet.", func() float64 { return float64(n.recordings.Stats().Running) })
	m.Counter("recordings_bytes_total", "Bytes of recordings written.", func() float64 { return float64(n.recordings.Stats().Bytes) })
	m.Counter("recordings_dropped_total", "Packet times that recordings lost since the disk was too slow.",
		func() float64 { return float64(n.recordings.Stats().Dropped) })
	m.CounterBy("recordings_total", "Recordings, by what became of them.", "outcome", func() map[string]float64 {
		st := n.recordings.Stats()
		return map[string]float64{"saved": float64(st.Saved), "failed": float64(st.Failed)}
	})
	m.Gauge("conferences", "Conferences that live here.", func() float64 { return float64(n.engine.Stats().Conferences) })
}
