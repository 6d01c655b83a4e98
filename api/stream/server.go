package stream

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/gorilla/websocket"

	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/id"
	"github.com/tipring/tipring/engine/session"
)

// Options of a Server. Commander, Log, Tail and Key are required.
type Options struct {
	Commander Commander
	Log       *session.Log
	// Tail is where the log ends now: session.Store has it.
	Tail func(ctx context.Context) (session.Cursor, error)
	// Key is the key that the request was authenticated with.
	Key func(ctx context.Context) (session.Key, bool)
	// Valid is asked now and then whether a key still is; nil: it is.
	Valid func(ctx context.Context, k session.Key) bool
	// Origins lists the origins ("https://app.example.com", or "*") whose pages may connect, beside the server's own.
	Origins []string
	// Queue is how many events a subscriber may be behind before it is told that it lags; 0: 4,096. It is to be well
	// over what the log writes, and so shows, at once.
	Queue int
	// MaxConnections is how many may be open; 0: 1,000.
	MaxConnections int
	Pace           Pace
	Logger         *slog.Logger
	NewID          func(prefix string) string // nil: id.New
}

// Server serves GET /v1/stream. Close ends its conversations.
type Server struct {
	o    Options
	up   websocket.Upgrader
	ctx  context.Context //nolint:containedctx // of conversations: ends with Close
	stop context.CancelFunc

	mu   sync.Mutex
	open int
	done sync.WaitGroup
}

// Handler makes a Server.
func Handler(o Options) *Server {
	if o.Queue <= 0 {
		o.Queue = 4096
	}
	if o.MaxConnections <= 0 {
		o.MaxConnections = 1000
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.NewID == nil {
		o.NewID = id.New
	}
	s := &Server{o: o}
	s.ctx, s.stop = context.WithCancel(context.Background())
	s.up = websocket.Upgrader{
		ReadBufferSize: 4096, WriteBufferSize: 4096,
		CheckOrigin: func(*http.Request) bool { return true }, // done before
		Error: func(w http.ResponseWriter, _ *http.Request, status int, reason error) {
			code := problem.CodeMalformed
			if status == http.StatusMethodNotAllowed {
				code = problem.CodeMethodNotAllowed
			}
			_ = problem.New(code, o.NewID("req"), "This is a WebSocket: "+reason.Error()).Write(w)
		},
	}
	return s
}

// ServeHTTP takes a connection that has been authenticated and speaks until it is over.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	key, err := s.admit(r)
	if err == nil {
		err = s.enter()
	}
	if err != nil {
		_ = problem.From(err, s.o.NewID("req")).Write(w)
		return
	}
	defer s.leave()
	ws, err := s.up.Upgrade(w, r, nil)
	if err != nil {
		return // Upgrade has answered
	}
	log := s.o.Logger.With("project", key.ProjectID, "key", key.ID)
	log.Info("stream opened", "remote", r.RemoteAddr)
	err = Converse(s.ctx, ws, s.terms(key, log))
	log.Info("stream closed", "reason", err)
}

// admit checks who comes from where.
func (s *Server) admit(r *http.Request) (session.Key, error) {
	if !s.sameOrigin(r) {
		return session.Key{}, engine.Errorf(problem.CodeOriginRefused, "pages of %.200q may not connect", r.Header.Get("Origin"))
	}
	key, ok := s.o.Key(r.Context())
	if !ok {
		return key, engine.Errorf(problem.CodeUnauthorized, "the stream needs an API key")
	}
	if !key.May(session.ScopeEventsRead) && !key.May(session.ScopeCallsWrite) {
		return key, scopeMissing(session.ScopeEventsRead)
	}
	return key, nil
}

// sameOrigin refuses browsers that show a page of somebody else. Programs send no Origin (RFC 6455 10.2).
func (s *Server) sameOrigin(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(s.o.Origins, "*") || slices.Contains(s.o.Origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && strings.EqualFold(u.Host, r.Host)
}

func (s *Server) terms(key session.Key, log *slog.Logger) Terms {
	t := Terms{
		Project: key.ProjectID, Commander: s.o.Commander, Logger: log, Pace: s.o.Pace, NewID: s.o.NewID,
		Subscribe: func(ctx context.Context, sub *Subscription) (Source, session.Cursor, error) {
			return s.subscribe(ctx, key, sub)
		},
	}
	if !key.May(session.ScopeCallsWrite) {
		t.MayCommand = scopeMissing(session.ScopeCallsWrite)
	}
	if s.o.Valid != nil {
		t.Valid = func(ctx context.Context) bool { return s.o.Valid(ctx, key) }
	}
	return t
}

// subscribe follows the log. Who starts from now learns where that is, so that he can resume even if he loses the
// connection before the first event.
func (s *Server) subscribe(ctx context.Context, key session.Key, sub *Subscription) (Source, session.Cursor, error) {
	if !key.May(session.ScopeEventsRead) {
		return nil, "", scopeMissing(session.ScopeEventsRead)
	}
	o := session.FollowOptions{Project: key.ProjectID, Buffer: s.o.Queue, Match: sub.Match}
	if sub.After != nil {
		o.After = *sub.After
	} else {
		tail, err := s.o.Tail(ctx)
		if err != nil {
			return nil, "", fmt.Errorf("stream: the log's end: %w", err)
		}
		o.After = tail
	}
	return s.o.Log.Follow(ctx, o), o.After, nil
}

func scopeMissing(scope session.Scope) error {
	return engine.Errorf(problem.CodeScopeMissing, "the key lacks the scope %s", scope)
}

func (s *Server) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.ctx.Err() != nil:
		return engine.Errorf(engine.CodeDraining, "the node is stopping")
	case s.open >= s.o.MaxConnections:
		return engine.Errorf(engine.CodeCapacity, "%d streams are open, which is all that this node takes", s.open)
	}
	s.open++
	s.done.Add(1)
	return nil
}

func (s *Server) leave() {
	s.mu.Lock()
	s.open--
	s.mu.Unlock()
	s.done.Done()
}

// Connections is how many conversations are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.open
}

// Close ends all conversations (close code 1001) and waits for them, or until ctx ends.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	over := make(chan struct{})
	go func() { // ends with the last conversation, which is soon
		s.done.Wait()
		close(over)
	}()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return errors.New("stream: conversations are still open")
	}
}
