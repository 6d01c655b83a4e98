package api

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"time"

	"github.com/tipring/tipring/engine"
	"github.com/tipring/tipring/engine/session"
)

// ListRecordings implements StrictServerInterface.
func (h *handlers) ListRecordings(ctx context.Context, r ListRecordingsRequestObject) (ListRecordingsResponseObject, error) {
	p := r.Params
	filter := session.RecordingFilter{
		CallID: or(p.CallID, ""), ConferenceID: or(p.ConferenceID, ""), SessionID: or(p.SessionID, ""), State: or(p.State, ""),
	}
	list, next, err := h.Store.Recordings(ctx, project(ctx), filter, page(p.Limit, p.After))
	if err != nil {
		return nil, err
	}
	return ListRecordings200JSONResponse{Data: some(list), HasMore: next != "", NextCursor: optional(next)}, nil
}

func (h *handlers) recording(ctx context.Context, id string) (Recording, error) {
	r, err := h.Store.Recording(ctx, project(ctx), id)
	return r, notFound(err, "recording", id)
}

// GetRecording implements StrictServerInterface.
func (h *handlers) GetRecording(ctx context.Context, r GetRecordingRequestObject) (GetRecordingResponseObject, error) {
	rec, err := h.recording(ctx, r.RecordingID)
	return GetRecording200JSONResponse(rec), err
}

// DeleteRecording implements StrictServerInterface.
func (h *handlers) DeleteRecording(ctx context.Context, r DeleteRecordingRequestObject) (DeleteRecordingResponseObject, error) {
	rec, err := h.recording(ctx, r.RecordingID)
	if err != nil {
		return nil, err
	}
	switch rec.State {
	case engine.RecordingRunning, engine.RecordingPaused:
		return nil, engine.Errorf(engine.CodeInvalidState, "the recording is under way: stop it first")
	case engine.RecordingDeleted:
		return DeleteRecording204Response{}, nil
	case engine.RecordingSaved, engine.RecordingFailed:
	}
	if h.Recordings != nil {
		if err := h.Recordings.Delete(ctx, rec); err != nil {
			return nil, err
		}
	}
	rec.State = engine.RecordingDeleted
	return DeleteRecording204Response{}, h.Store.PutRecording(ctx, rec)
}

// DownloadRecording implements StrictServerInterface.
func (h *handlers) DownloadRecording(
	ctx context.Context, r DownloadRecordingRequestObject,
) (DownloadRecordingResponseObject, error) {
	rec, err := h.recording(ctx, r.RecordingID)
	if err != nil {
		return nil, err
	}
	if rec.State == engine.RecordingRunning || rec.State == engine.RecordingPaused {
		return nil, engine.Errorf(engine.CodeInvalidState, "the recording is under way: its file is there when it is saved")
	}
	gone := engine.Errorf(engine.CodeNotFound, "the file of the recording %q is gone", rec.ID)
	if h.Recordings == nil || rec.State == engine.RecordingDeleted {
		return nil, gone
	}
	file, changed, err := h.Recordings.Open(ctx, rec)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, gone
	}
	if err != nil {
		return nil, err
	}
	return &download{recording: rec, file: file, changed: changed, header: requestOf(ctx).header}, nil
}

// download is a file as an answer: whole, in part, or not at all if the customer has it.
type download struct {
	recording Recording
	file      io.ReadSeekCloser
	changed   time.Time
	header    http.Header // of the request
}

// VisitDownloadRecordingResponse implements DownloadRecordingResponseObject.
func (d *download) VisitDownloadRecordingResponse(w http.ResponseWriter) error {
	kind := "audio/wav"
	if d.recording.Format == "ogg" {
		kind = "audio/ogg"
	}
	name := d.recording.ID + "." + d.recording.Format
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", mime.FormatMediaType("attachment", map[string]string{"filename": name}))
	if d.recording.SHA256 != "" {
		h.Set("ETag", `"`+d.recording.SHA256+`"`)
	}
	http.ServeContent(w, &http.Request{Method: http.MethodGet, Header: d.header}, name, d.changed, d.file)
	return d.file.Close()
}
