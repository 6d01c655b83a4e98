package problem

import (
	"net/http"
	"slices"

	"github.com/tipring/tipring/engine"
)

// Doc documents a code.
type Doc struct {
	Code   engine.Code
	Status int    // of HTTP
	Title  string // the same for every occurrence
	Text   string // when it happens, and what to do
}

// Lookup finds the documentation of a code.
func Lookup(code engine.Code) (Doc, bool) {
	i := slices.IndexFunc(table[:], func(d Doc) bool { return d.Code == code })
	if i < 0 {
		return Doc{}, false
	}
	return table[i], true
}

// Docs is the documentation of every code, by status.
func Docs() []Doc { return slices.Clone(table[:]) }

//nolint:gochecknoglobals // never written to
var table = [...]Doc{
	{
		CodeMalformed, http.StatusBadRequest, "The request cannot be read",
		"The body is not JSON, or the path or a query parameter does not have the form that the contract asks for. Nothing was done.",
	},
	{
		CodeUnauthorized, http.StatusUnauthorized, "No valid API key",
		"Send `Authorization: Bearer tpk_…` with a key that was not revoked.",
	},
	{
		CodeScopeMissing, http.StatusForbidden, "The key may not do this",
		"The API key is valid, but lacks the scope that the operation needs. Use another key, or create one with the scope.",
	},
	{
		CodeOriginRefused, http.StatusForbidden, "Browsers of this origin are not admitted",
		"A browser opened the stream from a page of another origin. The operator can list the origins that may.",
	},
	{
		engine.CodeCallNotFound, http.StatusNotFound, "There is no such call",
		"No call of this id exists in the key's project, or it has ended so long ago that it was forgotten.",
	},
	{
		engine.CodeConferenceNotFound, http.StatusNotFound, "There is no such conference",
		"No conference of this id, and none that runs of this name, exists in the key's project.",
	},
	{
		engine.CodeParticipantNotFound, http.StatusNotFound, "The call is not in this conference",
		"The call has no seat in the conference, or has left it.",
	},
	{
		engine.CodeNotFound, http.StatusNotFound, "There is no such resource",
		"No resource of this id exists in the key's project, or the path names nothing that the API has.",
	},
	{
		CodeMethodNotAllowed, http.StatusMethodNotAllowed, "The method is not allowed here",
		"The path exists, but not with this method. The Allow header lists those that do.",
	},
	{
		CodeNotAcceptable, http.StatusNotAcceptable, "No acceptable representation",
		"The Accept header excludes every form in which the API can answer.",
	},
	{
		engine.CodeCallEnded, http.StatusConflict, "The call has ended",
		"The call exists, but is over: nothing can be done with it any more. Its record says when and why.",
	},
	{
		engine.CodeConferenceEnded, http.StatusConflict, "The conference has ended",
		"The conference exists, but is over: nothing can be done with it any more. A call that joins its name opens a new one.",
	},
	{
		engine.CodeConferenceLocked, http.StatusConflict, "The conference is locked",
		"The conference lets nobody but moderators in until it is unlocked.",
	},
	{
		engine.CodeInvalidState, http.StatusConflict, "The call cannot do that now",
		"The command does not fit the state that the call is in, such as unbridging a call that is not bridged. Read the call's state and events.",
	},
	{
		engine.CodeConflict, http.StatusConflict, "It exists already, or is in use",
		"A resource with this unique value exists already, or others still refer to the one that should go. The detail names it.",
	},
	{
		CodeIdempotencyRunning, http.StatusConflict, "The first request is still running",
		"A request with the same Idempotency-Key has not finished yet. Repeat this one in a moment.",
	},
	{
		CodeTooLarge, http.StatusRequestEntityTooLarge, "The request is too large",
		"The body, or a frame of the stream, is over the limit.",
	},
	{
		CodeMediaType, http.StatusUnsupportedMediaType, "The body must be JSON",
		"Send the body as `Content-Type: application/json`.",
	},
	{
		engine.CodeValidation, http.StatusUnprocessableEntity, "A parameter is missing or wrong",
		"The request can be read, but a value is not acceptable. `errors` points to each one and says what is expected.",
	},
	{
		engine.CodeUnsupported, http.StatusUnprocessableEntity, "Not possible with this call",
		"The command is known, but the other side of this call, or the way it is connected, cannot do it.",
	},
	{
		engine.CodeNoRoute, http.StatusUnprocessableEntity, "Nothing can dial this address",
		"No way leads to the address: its scheme is not served here, or no trunk takes the number.",
	},
	{
		engine.CodeDestinationDenied, http.StatusForbidden, "The number may not be dialled",
		"No trunk's `destinations` name the number or a prefix of it. Add it to a trunk if calls to it are meant to be possible.",
	},
	{
		engine.CodeMediaUnavailable, http.StatusUnprocessableEntity, "The audio could not be had",
		"The file is not there, is too large, is no audio that we read, or its server did not answer or is not one that we may ask.",
	},
	{
		CodeIdempotencyMismatch, http.StatusUnprocessableEntity, "The Idempotency-Key was used with another body",
		"A key belongs to one request for 24 hours. Use a new key for a new request.",
	},
	{
		CodeRateLimited, http.StatusTooManyRequests, "Too many requests",
		"The key has used up its rate. Wait for the time that Retry-After and the RateLimit headers give, then go on.",
	},
	{
		engine.CodeInternal, http.StatusInternalServerError, "A fault of ours",
		"Something failed that should not. The operator finds it in the log by the request_id.",
	},
	{
		CodeWebhookFailed, http.StatusBadGateway, "The application did not answer",
		"The application's webhook and its fallback could not be reached, or did not answer with 2xx in time. The delivery lists the attempts.",
	},
	{
		engine.CodeCapacity, http.StatusServiceUnavailable, "The node is full",
		"A limit of this node is reached. Calls that run are not touched; try again later, or on another node.",
	},
	{
		engine.CodeDraining, http.StatusServiceUnavailable, "The node takes no new calls",
		"The node is about to stop. Calls that run go on; start new ones on another node.",
	},
	{
		CodeUnavailable, http.StatusServiceUnavailable, "Not available at the moment",
		"A part that the request needs, such as the store, does not work at the moment. Try again.",
	},
	{
		engine.CodeTimeout, http.StatusGatewayTimeout, "It took too long",
		"The command was not carried out in time. It may still take effect; the call's events tell.",
	},
}
