"""The problems that a route can answer, as responses of OpenAPI by their status."""

from collections.abc import Iterable
from typing import Any

from gateway import errors
from gateway.config import Settings
from gateway.contract.model import Model
from gateway.errors import GatewayError

PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
EVERYWHERE: tuple[type[GatewayError], ...] = (
    *(errors.RequestError, errors.Unauthenticated, errors.Forbidden, errors.MisdirectedRequest),
    *(errors.TooManyRequests, errors.Unavailable, errors.GatewayError),
)
"""Errors of access control, of limits, and of the gateway itself."""
BODY = (
    *(errors.BrokenBody, errors.BrokenJSON, errors.RequestStalled, errors.LimitExceeded, errors.UnsupportedMedia),
    *(errors.ParameterRefused, errors.StorageFull),
)
"""Errors of a request's body."""
MODEL = (
    *(errors.StudyRefused, errors.DeadlineExceeded, errors.Cancelled),
    *(errors.ModelFailed, errors.ModelDied, errors.AnswerInvalid),
)
"""Errors of an inference."""
RUN = errors.RunNotFound, errors.RunGone
"""Errors of the id of a run."""
SUBMISSION = errors.WebhookRefused, errors.StudyNotFound
RESULT = *MODEL, errors.StudyNotFound, errors.PathForbidden, errors.RunCancelled, errors.RunAbandoned
"""Errors of a run that has ended without an answer."""


def of_inference(model: Model, settings: Settings, *, asynchronous: bool) -> dict[str, Any]:
    """Return the problems of a model's route; ``asynchronous`` where it answers with a run too."""
    kinds = [*EVERYWHERE, *BODY, *MODEL, *model.problems, errors.RunRequired, errors.NotAcceptable]
    if settings.study_root is not None:
        kinds += [errors.PathForbidden, errors.StudyNotFound]
    if settings.store_folder is not None:
        kinds += [errors.StudyNotFound, errors.PeerFailed]
    if asynchronous:
        kinds += [*RUN, errors.WebhookRefused, errors.RunCancelled, errors.RunAbandoned]
    return responses(kinds)


def responses(kinds: Iterable[type[GatewayError]]) -> dict[str, Any]:
    """Return a response for each status, with the codes that share it."""
    by_status: dict[int, list[str]] = {}
    for kind in dict.fromkeys(kinds):
        by_status.setdefault(kind.status, []).append(f"{kind.code}: {kind.title}")
    return {
        str(status): {"description": "; ".join(codes), "content": PROBLEM}
        for status, codes in sorted(by_status.items())
    }
