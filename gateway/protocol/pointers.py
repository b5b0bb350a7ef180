"""JSON pointers (RFC 6901) to a fault in an answer."""

from collections.abc import Iterable


def pointer(tokens: Iterable[str | int]) -> str:
    """Join tokens into a pointer; ``()`` is ``""``, the whole document. ``~`` and ``/`` are escaped (RFC 6901 3)."""
    return "".join(f"/{str(token).replace('~', '~0').replace('/', '~1')}" for token in tokens)


def tokens(text: str) -> list[str]:
    """Split a pointer into its tokens (RFC 6901 4)."""
    return [token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:]]
