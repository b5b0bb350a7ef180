"""The gunicorn side: its master and worker, connections, sockets with a minimum rate, its logger class."""

from typing import Any


def __getattr__(name: str) -> Any:
    """Import ``Logger`` when gunicorn looks for it (PEP 562)."""
    if name != "Logger":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from gateway.server.master import Logger

    return Logger
