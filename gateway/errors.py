"""Errors, by whose fault.

GatewayError                      500
├── RequestError                  the caller's fault
│   ├── BrokenBody                400  multipart framing: truncated, no closing boundary, a bad part header
│   ├── BrokenJSON                400  the first part is not a JSON object in its charset
│   ├── QueryRefused              400  a query of DICOMweb that names what is not matched, or has an invalid value
│   ├── Unauthenticated           401  nobody, or somebody whose proof is not accepted
│   ├── Forbidden                 403  a caller without the role or the route
│   ├── PathForbidden             403  a studyPath that leaves the study root
│   ├── StudyNotFound             404  no DICOM file below a studyPath, or nothing of this caller's under a reference
│   ├── ModelNotFound             404  no model of this name or version, in a protocol that names models
│   ├── ResultNotFound            404  no result of this caller's with this id
│   ├── BundleNotFound            404  no bundle of this name, or no such file in it
│   ├── RunNotFound               404  no run of this caller's with this id
│   ├── SessionGone               404  no session of this caller's with this id, or one that has ended
│   ├── ComputeSessionNotFound    404  no session of this caller's with this name or id
│   ├── SessionFileNotFound       404  no file or folder of this path in a session
│   ├── NotAcceptable             406  no representation that the request accepts
│   ├── RequestStalled            408  the body came too slowly
│   ├── InstanceConflict          409  another file with this SOP Instance UID is held; carries both digests
│   ├── RunConflict               409  a run of this id has another route or body
│   ├── RunNotReady               409  a run that has no result yet
│   ├── RunNotWaiting             409  a run that waits for no input
│   ├── RunEnded                  409  a run that cannot be cancelled any more
│   ├── RunCancelled              409  a run without a result, since it was cancelled
│   ├── SessionConflict           409  an input that is not a session's next one
│   ├── ComputeSessionConflict    409  a session of this name has another model, or may not be used again
│   ├── RunGone                   410  a run that has expired
│   ├── LeaseExpired              410  a lease of nnInteractive's protocol that is unknown, or has ended
│   ├── LimitExceeded             413  a named limit
│   ├── UnsupportedMedia          415  not multipart/related, not JSON with a studyPath, or content-encoded
│   ├── MisdirectedRequest        421  a Host that is not this gateway's, where callers need no credential
│   ├── DigestMismatch            422  a file has another digest or size than was said
│   ├── InstanceMismatch          422  a file has other UIDs than was said, or is no DICOM
│   ├── FunctionRefused           422  a WASM function ended with a status other than 0; carries it
│   ├── KeyRefused                422  a bundle's name or key that is not safe as a file's name
│   ├── RunRequired               422  a model that asks its caller while it works, called without a run
│   ├── RunIdRefused              422  an id that a run cannot have
│   ├── ParameterRefused          422  a parameter does not fit what the model declares; carries a JSON pointer
│   ├── StudyRefused              422  the model does not take this study; for handlers to raise
│   ├── WebhookRefused            422  a URL for webhooks that is not one, or whose origin is not allowed
│   ├── TooManyRequests           429  a caller above its own rate or concurrency
│   └── NotOffered                501  a verb of another protocol that this gateway does not have
├── Unavailable                   503  try again later
├── DeadlineExceeded              504  the answer was not there in time
├── Cancelled                     499  nobody waits for the answer any more; for models to raise
├── StorageFull                   507  no room to receive the body, or to keep it
├── PeerFailed                    502  a peer refuses the gateway, or answers what it should not
└── ModelError                    the model's fault
    ├── ModelFailed               500  it raised
    ├── ModelDied                 502  its process ended in the middle of the request
    ├── FunctionFailed            502  a WASM function trapped, or its output is too large
    ├── FunctionTimeout           504  a WASM function ran into its limit of seconds
    ├── RunAbandoned              502  each process that executed the run ended in the middle of it
    ├── ReplayDiverged            500  it asked other questions than the attempt before
    └── AnswerInvalid             500  its answer breaks the protocol; carries a JSON pointer

Each leaf has a status to answer, a stable ``code``, a ``detail`` that is safe to send to the caller, and a ``private``
text that goes to the log only.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

MAX_FAULTS = 20
"""Faults that one problem lists: as many as a caller mends at once. The most that a check needs to find."""


class GatewayError(Exception):
    """The root: an error with a status to answer and a text for each side."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "The gateway failed"
    loggable: ClassVar[bool] = False
    """Whether ``detail`` is the gateway's own sentence without a value, which the log may repeat. A model may raise the
    others, with a text of its own."""

    def __init__(self, detail: str = "", *, private: str = "", **members: Any) -> None:
        """``detail`` is sent to the caller; ``private`` is logged; ``members`` extend the problem (RFC 9457 3.2)."""
        super().__init__(detail or self.title)
        self.detail = detail
        self.private = private
        self.members = members

    @property
    def reason(self) -> str:
        """The text for the log: ``private``, else a ``detail`` that is loggable."""
        return self.private or (self.detail if self.loggable else "")

    def headers(self) -> dict[str, str]:
        """Response headers that belong to this error."""
        return {}

    def problem(self) -> dict[str, Any]:
        """The members of an ``application/problem+json`` body (RFC 9457 3.1), without the request's own id."""
        body: dict[str, Any] = {"type": f"urn:gateway:problem:{self.code}", "title": self.title, "status": self.status}
        if self.detail:
            body["detail"] = self.detail
        return body | self.members


class RequestError(GatewayError):
    """The caller's fault."""

    status = 400
    code = "bad-request"
    title = "The request cannot be read"


class BrokenBody(RequestError):
    """The multipart framing is broken (RFC 2046 5.1)."""

    code = "broken-body"
    loggable = True
    title = "The body is not well-formed multipart/related"


class BrokenJSON(RequestError):
    """The first part is not a JSON object in its charset (RFC 8259)."""

    code = "broken-json"
    loggable = True
    title = "The first part is not a JSON object"


class QueryRefused(RequestError):
    """A query of DICOMweb that names an attribute which is not matched, or has a value that is not of its attribute."""

    code = "query-refused"
    title = "The query cannot be answered"


class Unauthenticated(RequestError):
    """Nobody has shown who they are, or the proof is not accepted; ``proof_given`` tells the two apart.

    ``scheme`` is that of the proof which is asked for (RFC 9110 11.1).
    """

    status = 401
    code = "unauthenticated"
    title = "The gateway does not know who asks"
    proof_given = False
    scheme = "Bearer"

    def __init__(self, detail: str, *, proof_given: bool = False, private: str = "", scheme: str = "Bearer") -> None:
        super().__init__(detail, private=private)
        self.proof_given, self.scheme = proof_given, scheme

    def headers(self) -> dict[str, str]:
        """``WWW-Authenticate`` (RFC 9110 11.6.1), with an error where there was a proof (RFC 6750 3.1)."""
        error = ', error="invalid_token"' if self.proof_given else ""
        return {"WWW-Authenticate": f'{self.scheme} realm="gateway"{error}'}


class Forbidden(RequestError):
    """A known caller who lacks the role, or who may not use the route."""

    status = 403
    code = "forbidden"
    title = "The caller may not do this"

    def headers(self) -> dict[str, str]:
        """``WWW-Authenticate`` with the error of RFC 6750 3.1."""
        return {"WWW-Authenticate": 'Bearer realm="gateway", error="insufficient_scope"'}


class PathForbidden(RequestError):
    """A ``studyPath`` that resolves outside the study root."""

    status = 403
    code = "path-forbidden"
    title = "The study path is not allowed"


class StudyNotFound(RequestError):
    """A ``studyPath`` below which there is no DICOM file, or a reference to what this caller does not hold."""

    status = 404
    code = "study-not-found"
    title = "There is no such study"


class ModelNotFound(RequestError):
    """No model has this name, or the model has not this version."""

    status = 404
    code = "model-not-found"
    loggable = True
    title = "There is no such model"


class ResultNotFound(RequestError):
    """No result of this caller's has this id."""

    status = 404
    code = "result-not-found"
    title = "There is no such result"


class BundleNotFound(RequestError):
    """No bundle has this name, or the bundle has no such file."""

    status = 404
    code = "bundle-not-found"
    title = "There is no such bundle"


class RunNotFound(RequestError):
    """No run of this caller's has this id."""

    status = 404
    code = "run-not-found"
    title = "There is no such run"


class SessionGone(RequestError):
    """No session of this caller's has this id, or it has ended with its idle time or its process."""

    status = 404
    code = "session-gone"
    loggable = True
    title = "There is no such session"


class ComputeSessionNotFound(RequestError):
    """No session of Backend.AI's API with this name or id is stored for this caller."""

    status = 404
    code = "compute-session-not-found"
    loggable = True
    title = "No such session is stored here"


class SessionFileNotFound(RequestError):
    """A session has no file and no folder of this path."""

    status = 404
    code = "session-file-not-found"
    loggable = True
    title = "The session has no such file"


class ComputeSessionConflict(RequestError):
    """A session of this name exists, with another model, or where it may not be used again."""

    status = 409
    code = "compute-session-conflict"
    loggable = True
    title = "A session of this name exists"


class InstanceConflict(RequestError):
    """The caller holds another file of the same SOP Instance UID (RFC 9110 15.5.10); ``conflicts`` has both digests."""

    status = 409
    code = "instance-conflict"
    title = "Another file with this SOP Instance UID is held"


class RunConflict(RequestError):
    """The caller has a run of this id with another route or body (RFC 9110 15.5.10)."""

    status = 409
    code = "run-conflict"
    title = "Another run has this id"


class RunNotReady(RequestError):
    """The run has no result yet; ``retry_after`` is in seconds."""

    status = 409
    code = "run-not-ready"
    title = "The run has not ended"

    def __init__(self, detail: str = "", *, retry_after: int = 1, private: str = "") -> None:
        super().__init__(detail, private=private)
        self.retry_after = retry_after

    def headers(self) -> dict[str, str]:
        """``Retry-After`` in seconds (RFC 9110 10.2.3)."""
        return {"Retry-After": str(self.retry_after)}


class RunNotWaiting(RequestError):
    """The run waits for no input."""

    status = 409
    code = "run-not-waiting"
    title = "The run waits for no input"


class RunEnded(RequestError):
    """The run has ended and cannot be cancelled."""

    status = 409
    code = "run-ended"
    title = "The run has ended"


class RunCancelled(RequestError):
    """The run was cancelled and has no result."""

    status = 409
    code = "run-cancelled"
    title = "The run was cancelled"


class SessionConflict(RequestError):
    """The session is at another place than the request expects."""

    status = 409
    code = "session-conflict"
    loggable = True
    title = "The session does not take this request now"


class LeaseExpired(RequestError):
    """No lease of this caller's has this token, or it has ended (RFC 9110 15.5.11)."""

    status = 410
    code = "lease-expired"
    loggable = True
    title = "There is no such lease"


class RunGone(RequestError):
    """The run has expired, with its input and its result (RFC 9110 15.5.11)."""

    status = 410
    code = "run-gone"
    title = "The run has expired"


class NotAcceptable(RequestError):
    """None of the media types and transfer syntaxes that the request accepts can be sent (RFC 9110 15.5.7)."""

    status = 406
    code = "not-acceptable"
    title = "The gateway has no such representation"


class RequestStalled(RequestError):
    """The body stalled, or came below the minimum rate (RFC 9110 15.5.9)."""

    status = 408
    code = "request-stalled"
    title = "The body came too slowly"


class LimitExceeded(RequestError):
    """More than a named limit allows; ``limit`` is the setting's name, ``value`` its value in its own unit."""

    status = 413
    code = "limit-exceeded"
    loggable = True
    title = "The request is larger than this gateway accepts"

    def __init__(self, limit: str, value: int, unit: str = "bytes", *, what: str = "The request") -> None:
        super().__init__(f"{what} exceeds {limit}, which is {value} {unit} here.", limit=limit, value=value)


class UnsupportedMedia(RequestError):
    """The media type or the content coding is not one that this route reads."""

    status = 415
    code = "unsupported-media-type"
    loggable = True
    title = "The media type is not supported"


class MisdirectedRequest(RequestError):
    """The Host is not a name of this gateway (RFC 9110 15.5.20): DNS of another site may resolve to it."""

    status = 421
    code = "misdirected-request"
    title = "The request is for another host"


class DigestMismatch(RequestError):
    """A file has another digest or size than was said of it; nothing of its chunk is kept."""

    status = 422
    code = "digest-mismatch"
    title = "A file is not the one that was announced"


class InstanceMismatch(RequestError):
    """A file is no DICOM, or holds other UIDs than was said of it; nothing of its chunk is kept."""

    status = 422
    code = "instance-mismatch"
    title = "A file is not the instance that was announced"


class FunctionRefused(RequestError):
    """A WASM function ended with another status than 0: ``exit_status``. ``detail`` has the end of its errors."""

    status = 422
    code = "function-refused"
    title = "The function does not take this input"


class KeyRefused(RequestError):
    """The name of a bundle, or a key in it, that some system would not take as the name of a file below a folder."""

    status = 422
    code = "key-refused"
    title = "The name is not safe"


class RunRequired(RequestError):
    """The model asks its caller while it works, which only a run can answer."""

    status = 422
    code = "run-required"
    title = "The model has to be called by a run"


class RunIdRefused(RequestError):
    """The id is not one that a run can have."""

    status = 422
    code = "run-id-refused"
    title = "The id of the run is not allowed"


class ParameterRefused(RequestError):
    """A parameter is missing, of another type, out of its bounds or unknown.

    ``faults`` are pairs of a JSON pointer (RFC 6901) into the request's JSON and one sentence that quotes no value.
    ``pointer`` is that of the first; ``errors`` in the problem lists the first MAX_FAULTS,
    and ``more`` counts those that ``faults`` leaves out.
    """

    status = 422
    code = "parameter-refused"
    title = "A parameter does not fit this model"

    def __init__(self, faults: Sequence[tuple[str, str]], *, more: int = 0) -> None:
        self.pointer, listed = faults[0][0], faults[:MAX_FAULTS]
        errors = [{"pointer": pointer, "detail": sentence} for pointer, sentence in listed]
        more += len(faults) - len(listed)
        sentences = [*(sentence for _, sentence in listed), *([f"And {more} more."] if more else [])]
        super().__init__(" ".join(sentences), pointer=self.pointer, errors=errors)


class StudyRefused(RequestError):
    """The study is refused, most often by the model. Raise it from a handler; ``detail`` is shown to the user."""

    status = 422
    code = "study-refused"
    title = "The study is refused"


class WebhookRefused(RequestError):
    """A ``Webhook`` that is no absolute URL, or leads to an origin that this gateway does not send to."""

    status = 422
    code = "webhook-refused"
    title = "The gateway does not send webhooks to this URL"


class TooManyRequests(RequestError):
    """A caller above its own rate or concurrency (RFC 6585 4); ``retry_after`` is in seconds."""

    status = 429
    code = "too-many-requests"
    title = "The caller asks too often"

    def __init__(self, detail: str, *, retry_after: int = 1, private: str = "") -> None:
        super().__init__(detail, private=private)
        self.retry_after = retry_after

    def headers(self) -> dict[str, str]:
        """``Retry-After`` in seconds (RFC 9110 10.2.3)."""
        return {"Retry-After": str(self.retry_after)}


class NotOffered(RequestError):
    """A verb of another protocol that this gateway does not have, such as training; 501."""

    status = 501
    code = "not-offered"
    title = "Not offered here"


class Unavailable(GatewayError):
    """The request cannot be served now; ``retry_after`` is in seconds."""

    status = 503
    code = "unavailable"
    title = "The gateway cannot take this request now"

    def __init__(self, detail: str = "", *, retry_after: int = 1, private: str = "") -> None:
        super().__init__(detail, private=private)
        self.retry_after = retry_after

    def headers(self) -> dict[str, str]:
        """``Retry-After`` in seconds (RFC 9110 10.2.3)."""
        return {"Retry-After": str(self.retry_after)}


class DeadlineExceeded(GatewayError):
    """The deadline of the request passed before its answer was there (RFC 9110 15.6.5)."""

    status = 504
    code = "deadline-exceeded"
    title = "The answer was not ready in time"


class Cancelled(GatewayError):
    """Nobody waits for the answer: the client has gone, or its deadline has passed. Long models raise it."""

    status = 499  # nginx's Client Closed Request; nobody reads it
    code = "cancelled"
    title = "The request was cancelled"


class StorageFull(GatewayError):
    """The spool folder or the study store has no room (RFC 4918 11.5)."""

    status = 507
    code = "storage-full"
    title = "The gateway has no room for this request"


class PeerFailed(GatewayError):
    """Another system refuses what the gateway asks of it, or answers what it should not (RFC 9110 15.6.3)."""

    status = 502
    code = "peer-failed"
    loggable = True
    title = "A system that the gateway asked does not answer as it should"
    outcome = "failed"
    """A word for tables, such as ``status-413``; never the peer's own."""

    def __init__(self, detail: str = "", *, private: str = "", outcome: str = "") -> None:
        super().__init__(detail, private=private)
        if outcome:
            self.outcome = outcome


class ModelError(GatewayError):
    """The model's fault."""

    code = "model-error"
    title = "The model failed"


class ModelFailed(ModelError):
    """The model raised, or gave something that is no answer."""

    code = "model-failed"


class ModelDied(ModelError):
    """The process that ran the model ended in the middle of the request (RFC 9110 15.6.3)."""

    status = 502
    code = "model-died"
    title = "The model's process died"


class FunctionFailed(ModelError):
    """A WASM function trapped, or its output exceeds its limit (RFC 9110 15.6.3)."""

    status = 502
    code = "function-failed"
    loggable = True
    title = "The function failed"


class FunctionTimeout(ModelError):
    """A WASM function did not end within its limit of seconds (RFC 9110 15.6.5)."""

    status = 504
    code = "function-timeout"
    loggable = True
    title = "The function ran too long"


class RunAbandoned(ModelError):
    """Each process that executed the run ended in the middle of it, as often as a run is tried."""

    status = 502
    code = "run-abandoned"
    title = "The run was tried too often"


class ReplayDiverged(ModelError):
    """A run that is executed again asks other questions than before, so its stored answers do not belong to them."""

    code = "replay-diverged"
    title = "The model asked other questions than before"


class AnswerInvalid(ModelError):
    """The model's answer breaks protocol 1.0; ``pointer`` is a JSON pointer (RFC 6901) to the fault."""

    code = "answer-invalid"
    title = "The model's answer breaks the protocol"

    def __init__(self, pointer: str, detail: str) -> None:
        super().__init__(detail, pointer=pointer)
        self.pointer = pointer


CROSSING = ("retry_after", "pointer", "proof_given", "scheme")
"""What some errors know beside their texts and members, and tell another process."""


def to_words(error: GatewayError) -> dict[str, Any]:
    """An error as JSON for another process of ours; ``from_words`` is its twin."""
    extra: dict[str, Any] = {name: vars(error)[name] for name in CROSSING if name in vars(error)}
    return {"code": error.code, "detail": error.detail, "private": error.private, "members": error.members, **extra}


def from_words(words: Mapping[str, Any]) -> GatewayError:
    """The error that ``to_words`` told of; a kind that is unknown here comes as a ModelFailed."""
    kind = _by_code(GatewayError).get(words["code"], ModelFailed)
    error = kind.__new__(kind)
    GatewayError.__init__(error, words["detail"], private=words["private"], **words["members"])
    vars(error).update({name: words[name] for name in CROSSING if name in words})
    return error


def _by_code(kind: type[GatewayError]) -> dict[str, type[GatewayError]]:
    found = {kind.code: kind}
    for child in kind.__subclasses__():
        found = _by_code(child) | found
    return found
