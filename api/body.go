package api

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"net/http"
	"time"

	"github.com/tipring/tipring/api/problem"
	"github.com/tipring/tipring/engine"
)

const (
	maxBody     = 1 << 20
	bodyTimeout = 20 * time.Second // for a client to send its body
)

// readBody reads the body of operations that take one, whole: it is small, and validated, hashed and decoded in turn.
func (s *Server) readBody(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req := requestOf(r.Context())
		rc := http.NewResponseController(w)
		_ = rc.SetReadDeadline(time.Now().Add(bodyTimeout)) // not every ResponseWriter has one: tests' recorders
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		_ = rc.SetReadDeadline(time.Time{})
		if err == nil {
			err = checkMediaType(r, req.op, len(body))
		}
		if err != nil {
			s.fail(w, r, unreadable(err))
			return
		}
		req.body = body
		r.Body = io.NopCloser(bytes.NewReader(body))
		r.ContentLength = int64(len(body))
		next.ServeHTTP(w, r)
	})
}

// unreadable is the error of a body that did not arrive whole.
func unreadable(err error) error {
	switch err.(type) { //nolint:errorlint // both are as MaxBytesReader and we made them
	case *http.MaxBytesError, *engine.Error:
		return err
	}
	return engine.Errorf(problem.CodeMalformed, "the body could not be read: %v", err)
}

func checkMediaType(r *http.Request, op *operation, size int) error {
	switch {
	case size == 0:
		return nil
	case op.body == nil:
		return engine.Errorf(problem.CodeMalformed, "%s takes no body", op.OperationID)
	}
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		return engine.Errorf(problem.CodeMediaType, "send Content-Type: application/json")
	}
	return nil
}

// parseBody reads JSON into maps and slices. Nothing but white space may follow it.
func parseBody(body []byte) (any, error) {
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return nil, engine.Errorf(problem.CodeMalformed, "the body is not JSON: %v", err)
	}
	return value, nil
}
