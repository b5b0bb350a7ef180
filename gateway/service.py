"""The run of a request: model, check, result. No HTTP in it."""

import time
from collections.abc import Callable

from gateway.contract import Model, Request, Result
from gateway.errors import ModelFailed
from gateway.protocol.response import check, unpack
from gateway.protocol.serializer import InferenceSerializer


def infer(
    model: Model,
    request: Request,
    *,
    serializer: InferenceSerializer,
    strict: bool = True,
    warn: Callable[[str], None],
) -> Result:
    """Run ``model`` on ``request`` and check its answer.

    ``strict`` refuses an answer whose content breaks the protocol; otherwise each fault goes to ``warn``. Raises
    AnswerInvalid or StudyRefused; what the model itself raises passes through.
    """
    started = time.perf_counter()
    try:
        answer = model.predict(request)
    except SystemExit as error:  # would end the worker, not the request
        raise ModelFailed("The model tried to end the process.") from error
    seconds = time.perf_counter() - started
    json_response, buffers = unpack(answer)
    json_bytes, parts = check(json_response, buffers, serializer=serializer, strict=strict, warn=warn)
    return Result(json_bytes, parts, request.input_digest, seconds)
