"""A request that is being answered, around a block of code."""

from collections.abc import Iterator
from contextlib import contextmanager

from gateway.contract.requests import Request, current


@contextmanager
def answering(max_decoded: float) -> Iterator[Request]:
    """Let what the block reads belong to a request whose files may unfold to ``max_decoded`` bytes."""
    request = Request({}, [], "")
    request.context.max_decoded = max_decoded
    token = current.set(request)
    try:
        yield request
    finally:
        current.reset(token)
