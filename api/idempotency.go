package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

const (
	headerIdempotencyKey = "Idempotency-Key"
	idempotencyKept      = 24 * time.Hour
	// idempotencyRunning is how long a request may run. If the process dies meanwhile, the key is free again after it.
	idempotencyRunning = time.Minute
)

// answer is what the store keeps of a request that carried an Idempotency-Key.
type answer struct {
	Request     string `json:"request"` // hash of method, path and body
	Status      int    `json:"status"`  // 0 while it runs
	ContentType string `json:"content_type,omitempty"`
	Location    string `json:"location,omitempty"`
	Body        []byte `json:"body,omitempty"`
}

// idempotent does a request with an Idempotency-Key once, and answers later ones with what was said then.
func (s *Server) idempotent(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := requestOf(r.Context())
		key := r.Header.Get(headerIdempotencyKey)
		if key == "" || !req.op.idempotent {
			next.ServeHTTP(w, r)
			return
		}
		// What was begun is finished, though the client be gone: he will ask again.
		ctx, stop := context.WithTimeout(context.WithoutCancel(r.Context()), idempotencyRunning)
		defer stop()
		item := session.Item{
			Kind: session.KindIdempotency, Project: req.key.ProjectID, ID: "idem_" + digest([]byte(key)),
			Expires: time.Now().Add(idempotencyRunning),
		}
		mine := answer{Request: digest([]byte(r.Method), []byte(r.URL.Path), req.body)}
		before, err := s.begin(ctx, &item, mine)
		switch {
		case err != nil:
			s.fail(w, r, err)
		case before != nil:
			s.replay(w, r, before)
		default:
			s.finish(ctx, w, r.WithContext(ctx), next, item, mine)
		}
	})
}

// begin claims the key, or finds the answer given before.
func (s *Server) begin(ctx context.Context, item *session.Item, mine answer) (*answer, error) {
	var err error
	if item.Value, err = json.Marshal(mine); err != nil {
		return nil, fmt.Errorf("api: idempotency: %w", err)
	}
	err = s.o.Store.Create(ctx, *item)
	if err == nil {
		return nil, nil
	}
	if !errors.Is(err, session.ErrExists) {
		return nil, fmt.Errorf("api: idempotency: %w", err)
	}
	old, err := s.o.Store.Get(ctx, item.Kind, item.Project, item.ID)
	if errors.Is(err, session.ErrNotFound) { // the first one has failed just now
		return nil, engine.Errorf(problem.CodeIdempotencyRunning, "the first request with this key has just ended: repeat this one")
	}
	if err != nil {
		return nil, fmt.Errorf("api: idempotency: %w", err)
	}
	var before answer
	if err := json.Unmarshal(old.Value, &before); err != nil {
		return nil, fmt.Errorf("api: idempotency: %w", err)
	}
	switch {
	case before.Request != mine.Request:
		return nil, engine.Errorf(problem.CodeIdempotencyMismatch, "this Idempotency-Key was used with another request")
	case before.Status == 0:
		return nil, engine.Errorf(problem.CodeIdempotencyRunning, "the first request with this Idempotency-Key is still running")
	}
	return &before, nil
}

// finish runs the request and keeps its answer, unless it is a fault of ours or of the moment: then it may be tried again.
func (s *Server) finish(
	ctx context.Context, w http.ResponseWriter, r *http.Request, next http.Handler, item session.Item, mine answer,
) {
	kept := false
	defer func() {
		if kept { // else, or when the handler panicked, the key is free again
			return
		}
		if err := s.o.Store.Delete(ctx, item.Kind, item.Project, item.ID); err != nil {
			s.o.Logger.ErrorContext(ctx, "an Idempotency-Key could not be freed", "error", err, "request_id", RequestIDFrom(ctx))
		}
	}()
	rec := &recorder{header: w.Header()}
	next.ServeHTTP(rec, r)
	if rec.code() < http.StatusInternalServerError {
		mine.Status, mine.Body = rec.code(), rec.body.Bytes()
		mine.ContentType, mine.Location = w.Header().Get("Content-Type"), w.Header().Get("Location")
		value, err := json.Marshal(mine)
		if err == nil {
			item.Value, item.Expires = value, time.Now().Add(idempotencyKept)
			err = s.o.Store.Put(ctx, item)
		}
		// It was done: better that the key blocks until it expires than that it is done again.
		kept = true
		if err != nil {
			s.o.Logger.ErrorContext(ctx, "the answer to an Idempotency-Key could not be kept", "error", err, "request_id", RequestIDFrom(ctx))
		}
	}
	rec.flush(w)
}

func (s *Server) replay(w http.ResponseWriter, r *http.Request, a *answer) {
	h := w.Header()
	h.Set("Idempotent-Replayed", "true")
	h.Set("Content-Type", a.ContentType)
	if a.Location != "" {
		h.Set("Location", a.Location)
	}
	w.WriteHeader(a.Status)
	if _, err := w.Write(a.Body); err != nil {
		requestOf(r.Context()).err = err
	}
}

// digest is the hex SHA-256 of parts, each with its length before it.
func digest(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:", len(p))
		h.Write(p)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// recorder holds a response back. It shares its header with the response to come.
type recorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *recorder) Header() http.Header { return r.header }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 {
		r.status = status
	}
}

func (r *recorder) Write(b []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	return r.body.Write(b)
}

func (r *recorder) code() int {
	if r.status == 0 {
		return http.StatusOK
	}
	return r.status
}

func (r *recorder) flush(w http.ResponseWriter) {
	w.WriteHeader(r.code())
	_, _ = w.Write(r.body.Bytes()) // the client may be gone
}
