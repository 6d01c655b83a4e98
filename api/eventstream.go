package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/tipring/tipring/engine/session"
)

const (
	sseHeartbeat    = 15 * time.Second // a comment, so that proxies keep the connection
	sseWriteTimeout = 10 * time.Second // for a client to take what was written
	sseRetry        = time.Second      // what a client waits before it connects again
)

// eventStream is a response of Server-Sent Events (WHATWG HTML 9.2): the events that a follower gives, until the client
// leaves or is too slow to take them.
type eventStream struct {
	stop     context.CancelFunc
	follower *session.Follower
}

// VisitListEventsResponse implements ListEventsResponseObject.
func (s *eventStream) VisitListEventsResponse(w http.ResponseWriter) error {
	defer s.stop()
	out := sseWriter{w: w, rc: http.NewResponseController(w)}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // nginx
	w.WriteHeader(http.StatusOK)
	heartbeat := time.NewTicker(sseHeartbeat)
	defer heartbeat.Stop()
	// A write that fails says that the client is gone: there is nobody to tell.
	err := out.write(fmt.Appendf(nil, "retry: %d\n\n", sseRetry.Milliseconds()))
	for err == nil {
		select {
		case e, ok := <-s.follower.Events():
			if !ok {
				return nil // the client is gone, or the node stops: the client connects again
			}
			err = out.event(e)
		case <-heartbeat.C:
			err = out.write([]byte(": ping\n\n"))
		}
	}
	return nil
}

// sseWriter writes Server-Sent Events.
type sseWriter struct {
	w   http.ResponseWriter
	rc  *http.ResponseController
	buf bytes.Buffer
}

func (o *sseWriter) event(e session.Logged) error {
	data, err := json.Marshal(e.Event)
	if err != nil {
		return err
	}
	o.buf.Reset()
	fmt.Fprintf(&o.buf, "id: %s\nevent: %s\ndata: %s\n\n", e.Cursor, e.Type, data)
	return o.write(o.buf.Bytes())
}

func (o *sseWriter) write(b []byte) error {
	_ = o.rc.SetWriteDeadline(time.Now().Add(sseWriteTimeout)) // not every ResponseWriter has one
	if _, err := o.w.Write(b); err != nil {
		return err
	}
	return o.rc.Flush()
}
