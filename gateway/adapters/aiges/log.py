"""``aiges.utils.log`` without its side effects: no handler on the root logger, no file below ``/log``."""

import logging
from typing import Any

__all__ = [
    "getFileLogger",
    "getLogger",
    "log",
]

log = logging.getLogger("aiges")
"""The logger of wrappers; the service's configuration handles its lines."""


def getLogger(*_: Any, name: str = "wrapper", **__: Any) -> logging.Logger:
    """Return a logger below ``aiges``; the service's configuration sets format and level."""
    return log.getChild(name)


getFileLogger = getLogger
"""The original opens a file; here a wrapper's lines are handled as all others."""
