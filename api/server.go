package api

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/go-chi/chi/v5"

	"github.com/tipring/tipring/api/docs"
	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/egress"
	"github.com/tipring/tipring/engine/session"
	"github.com/tipring/tipring/engine/token"
)

// A Commander runs commands: the engine, or the router of a cluster around it.
type Commander interface {
	Do(ctx context.Context, cmd engine.Command) (engine.Reply, error)
}

// Recordings are the files behind the records of recordings.
type Recordings interface {
	// Open reads the file of a recording that was saved; fs.ErrNotExist if it is gone.
	Open(ctx context.Context, r engine.RecordingInfo) (file io.ReadSeekCloser, changed time.Time, err error)
	// Delete removes it. One that is not there does not matter.
	Delete(ctx context.Context, r engine.RecordingInfo) error
}

// Options is what a Server is made of. Commander, Store, Log and Keys are required.
type Options struct {
	Commander Commander
	Store     session.Store
	Log       *session.Log
	Keys      *session.Keys
	// Stream serves GET /v1/stream. The request has been authenticated: see KeyFrom.
	Stream http.Handler
	// Tokens makes the tokens of browsers, and Pages serves their WebSocket, GET /rtc; nil: browsers are not let in.
	Tokens *token.Key
	Pages  http.Handler
	// SDK serves what is under /sdk/: the browsers' SDK and its example; nil: nothing is.
	SDK http.Handler
	// Console serves what is under /console/; nil: nothing is.
	Console http.Handler
	// Recordings are the files of recordings; nil: there are none.
	Recordings Recordings
	// Redeliver sends a webhook delivery once more; session.ErrNotFound or an *engine.Error if it cannot.
	Redeliver func(ctx context.Context, project, deliveryID string) error
	// Nodes are the processes that run calls; nil: none is shown.
	Nodes func() []Node
	// Diagnose says what would become of an inbound call; nil: nobody knows.
	Diagnose func(ctx context.Context, project, to string, source netip.Addr) engine.Diagnosis
	// TrunkStatus is how a trunk is now; nil: it is not shown.
	TrunkStatus func(t Trunk) *engine.TrunkStatus
	// CheckTarget refuses what is no address of a SIP server; nil: nothing is refused.
	CheckTarget func(uri string) error
	// CheckURL refuses URLs that customers may not give us; nil: by the rules of package egress.
	CheckURL func(rawURL string, schemes ...string) error
	Logger   *slog.Logger // nil: nothing is logged
	Version  string       // of Tipring, shown by /v1/whoami

	// Rate and Burst limit the requests of one key per second; 0: 500, and twice the rate. A negative Rate: no limit.
	Rate  float64
	Burst int
	// Origins are the web origins ("https://app.example.com") whose scripts may call the API; none: no CORS at all.
	Origins []string
	// AllowPrivateURLs admits webhooks on private addresses. For development.
	AllowPrivateURLs bool
	// ValidateResponses checks each response against the contract and fails those that do not fit. For tests.
	ValidateResponses bool
}

// A Server answers the customers' HTTP requests. It is an http.Handler.
type Server struct {
	o        Options
	contract *contract
	limits   *limiter
	router   chi.Router
	handlers *handlers
	stop     context.CancelFunc // ends what waits for events
}

// New makes a Server.
func New(o Options) (*Server, error) {
	if o.Commander == nil || o.Store == nil || o.Log == nil || o.Keys == nil {
		return nil, errors.New("api: Commander, Store, Log and Keys are required")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.CheckURL == nil {
		o.CheckURL = egress.New(egress.Options{AllowPrivate: o.AllowPrivateURLs}).Check
	}
	contract, err := loadContract()
	if err != nil {
		return nil, err
	}
	s := &Server{o: o, contract: contract, limits: newLimiter(o.Rate, o.Burst, time.Now), handlers: &handlers{Options: o}}
	s.handlers.life, s.stop = context.WithCancel(context.Background())
	pages, err := docs.New(docs.Options{Document: contract.doc, Source: contractSource(), Errors: problem.Docs()})
	if err != nil {
		return nil, fmt.Errorf("api: documentation: %w", err)
	}
	s.router = s.routes(pages)
	return s, nil
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.router.ServeHTTP(w, r) }

// Close ends the streams and long polls that wait for events; all else goes on.
func (s *Server) Close() { s.stop() }

// Routes lists what the server answers, for tests of the contract.
func (s *Server) Routes() chi.Routes { return s.router }

// Document is the contract. It must not be changed.
func (s *Server) Document() *openapi3.T { return s.contract.doc }

// HTTPServer is an http.Server for s with time-outs against slow clients. Bodies have one of their own, streams one for
// each write; the one for writing leaves room for the longest poll. Its Shutdown ends what waits for events.
func (s *Server) HTTPServer(address string) *http.Server {
	server := &http.Server{
		Addr: address, Handler: s, ReadHeaderTimeout: 10 * time.Second, WriteTimeout: 90 * time.Second,
		IdleTimeout:    2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: slog.NewLogLogger(s.o.Logger.Handler(), slog.LevelDebug),
	}
	server.RegisterOnShutdown(s.Close)
	return server
}

// routes is the router: pages for humans, and the operations of the contract behind their chain.
func (s *Server) routes(pages http.Handler) chi.Router {
	r := chi.NewRouter()
	r.Use(s.identify, s.log, s.recoverPanic, s.cors)
	r.NotFound(func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, engine.Errorf(engine.CodeNotFound, "the API has no path %s: see /docs", r.URL.Path))
	})
	r.MethodNotAllowed(s.methodNotAllowed)
	for _, path := range []string{"/", "/docs", "/docs/*", "/openapi.yaml"} {
		r.Get(path, pages.ServeHTTP)
		r.Head(path, pages.ServeHTTP)
	}
	if s.o.Tokens != nil {
		r.Get("/.well-known/jwks.json", s.jwks)
	}
	if s.o.Pages != nil {
		r.Get("/rtc", s.o.Pages.ServeHTTP)
	}
	if s.o.SDK != nil {
		r.Get("/sdk", http.RedirectHandler("/sdk/", http.StatusMovedPermanently).ServeHTTP)
		r.Get("/sdk/*", s.o.SDK.ServeHTTP)
	}

	if s.o.Console != nil {
		r.Get("/console", http.RedirectHandler("/console/", http.StatusMovedPermanently).ServeHTTP)
		r.Get("/console/*", s.o.Console.ServeHTTP)
	}

	operations := r.With(s.checkResponse, s.authenticate, s.limitRate, s.readBody, s.validate, s.idempotent)
	strict := NewStrictHandlerWithOptions(s.handlers, nil, StrictHTTPServerOptions{
		RequestErrorHandlerFunc: func(w http.ResponseWriter, r *http.Request, err error) {
			s.fail(w, r, decodeError(err))
		},
		ResponseErrorHandlerFunc: s.fail,
	})
	HandlerWithOptions(strict, ChiServerOptions{
		BaseRouter: operations,
		ErrorHandlerFunc: func(w http.ResponseWriter, r *http.Request, err error) {
			s.fail(w, r, engine.Errorf(problem.CodeMalformed, "%v", err))
		},
	})
	operations.Get("/v1/stream", s.stream)
	return r
}

// jwks is the public part of the key that browsers' tokens are signed with.
func (s *Server) jwks(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "max-age=300")
	_, _ = w.Write(s.o.Tokens.JWKS()) // who does not read it gets none
}

func (s *Server) stream(w http.ResponseWriter, r *http.Request) {
	if s.o.Stream == nil {
		s.fail(w, r, engine.Errorf(problem.CodeUnavailable, "this node serves no stream"))
		return
	}
	s.o.Stream.ServeHTTP(w, r)
}
