"""``aiges.utils.log`` without its side effects: no handler on the root logger, no file below ``/log``."""

import logging
from typing import Any

__all__ = [
    "getFileLogger",
    "getLogger",
    "log",
]

log = logging.getLogger("aiges")
"""What wrappers write to; its lines go where the service's configuration sends them."""


def getLogger(*_: Any, name: str = "wrapper", **__: Any) -> logging.Logger:
    """A logger below ``aiges``; format and level are the service's to choose."""
    return log.getChild(name)


getFileLogger = getLogger
"""The original opens a file; here a wrapper's lines go where all others go."""
