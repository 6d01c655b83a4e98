package api

import (
	"context"
	"log/slog"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/go-chi/chi/v5/middleware"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/id"
	"github.com/tipring/tipring/engine/session"
)

// request is what the server knows of a request under way. The outer handlers make it, the inner ones fill it in.
type request struct {
	id     string
	key    session.Key
	op     *operation
	body   []byte
	stream bool  // Server-Sent Events are asked for
	err    error // a fault of ours, for the log
	start  time.Time
	header http.Header
}

type requestKey struct{}

// requestOf is the request that a context belongs to.
func requestOf(ctx context.Context) *request {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		return r
	}
	return &request{}
}

// KeyFrom is the API key of the request that ctx belongs to; the zero Key if there is none.
func KeyFrom(ctx context.Context) session.Key { return requestOf(ctx).key }

// RequestIDFrom is the id of the request that ctx belongs to, as its X-Request-Id header and the log have it.
func RequestIDFrom(ctx context.Context) string { return requestOf(ctx).id }

// identify gives the request an id.
func (s *Server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := &request{id: id.New("req"), start: time.Now(), header: r.Header}
		w.Header().Set("X-Request-Id", req.id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestKey{}, req)))
	})
}

// log writes the access log: who did what, how it went. Never a query, a body or a secret: queries have numbers.
func (s *Server) log(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ww := middleware.NewWrapResponseWriter(w, r.ProtoMajor)
		next.ServeHTTP(ww, r)
		req := requestOf(r.Context())
		level := slog.LevelInfo
		attrs := []slog.Attr{
			slog.String("request_id", req.id), slog.String("method", r.Method), slog.String("path", r.URL.Path),
			slog.Int("status", ww.Status()), slog.Int("bytes", ww.BytesWritten()),
			slog.Duration("duration", time.Since(req.start)), slog.String("remote", r.RemoteAddr),
		}
		if req.op != nil {
			attrs = append(attrs, slog.String("operation", req.op.OperationID))
		}
		if req.key.ID != "" {
			attrs = append(attrs, slog.String("key", req.key.ID), slog.String("project", req.key.ProjectID))
		}
		if req.err != nil {
			level = slog.LevelError
			attrs = append(attrs, slog.String("error", req.err.Error()))
		}
		s.o.Logger.LogAttrs(r.Context(), level, "request", attrs...)
	})
}

// recoverPanic answers a panic with a problem, if nothing was sent yet, and logs it.
func (s *Server) recoverPanic(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if p == nil {
				return
			}
			if err, ok := p.(error); ok && err == http.ErrAbortHandler { //nolint:errorlint // a sentinel, never wrapped
				panic(p)
			}
			s.o.Logger.ErrorContext(r.Context(), "a request handler panicked", "request_id", RequestIDFrom(r.Context()),
				"panic", p, "stack", string(debug.Stack()))
			if ww, ok := w.(middleware.WrapResponseWriter); ok && ww.Status() == 0 {
				s.fail(w, r, engine.Errorf(engine.CodeInternal, "a fault of ours: the log has it under the request_id"))
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// cors lets scripts of the configured origins call the API (Fetch standard, CORS protocol).
func (s *Server) cors(next http.Handler) http.Handler {
	if len(s.o.Origins) == 0 {
		return next
	}
	origins := map[string]bool{}
	for _, o := range s.o.Origins {
		origins[o] = true
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Add("Vary", "Origin")
		origin := r.Header.Get("Origin")
		if !origins[origin] {
			next.ServeHTTP(w, r)
			return
		}
		h := w.Header()
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", "Location, Idempotent-Replayed, RateLimit, RateLimit-Policy, Retry-After, X-Request-Id")
		if r.Method == http.MethodOptions && r.Header.Get("Access-Control-Request-Method") != "" {
			h.Set("Access-Control-Allow-Methods", "GET, POST, PATCH, DELETE")
			h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key, Last-Event-ID")
			h.Set("Access-Control-Max-Age", "600")
			w.WriteHeader(http.StatusNoContent)
			return
		}
		next.ServeHTTP(w, r)
	})
}
