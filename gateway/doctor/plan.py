"""The configuration to check: the gateway's settings, and those that ``serve`` passes to gunicorn."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from gateway.config import DEFAULT_PORT, Settings

SERVING = {"PORT": (0, 65535), "WEB_CONCURRENCY": (1, None), "THREADS": (1, None)}
"""Variables that ``serve`` reads besides the gateway's own, with the least and the largest value of each."""
CONNECTIONS = 1000
"""gunicorn's own worker_connections: open connections of one worker, at most."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """``workers`` processes of ``threads`` and ``connections`` each; times in seconds."""

    settings: Settings = Settings()
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    workers: int = 1
    threads: int = 16
    connections: int = CONNECTIONS
    timeout: int = 900
    graceful_timeout: int = 630

    @classmethod
    def read(cls, environ: Mapping[str, str], gunicorn: Mapping[str, Any], **options: Any) -> Self:
        """Read the plan as ``serve`` would: ``options`` override the environment, and that ``gunicorn``'s settings.

        An unreadable variable counts as unset; the check of the settings names it.
        """
        values = {
            "settings": readable(environ),
            "host": environ.get("HOST") or "127.0.0.1",
            "connections": gunicorn.get("worker_connections", CONNECTIONS),
            **{name: gunicorn[name] for name in ("threads", "timeout", "graceful_timeout") if name in gunicorn},
            **{
                field: int(environ[name])
                for name, field in (("PORT", "port"), ("WEB_CONCURRENCY", "workers"), ("THREADS", "threads"))
                if environ.get(name) and not misread(name, environ[name])
            },
        }
        return cls(**values | {name: value for name, value in options.items() if value is not None})

    @property
    def places(self) -> int:
        """Requests that one worker serves at once; the other threads are reserved for probes and refusals."""
        return max(1, self.threads - self.settings.reserved_threads)


def misread(name: str, text: str) -> str:
    """Return why ``serve`` refuses a variable of ``SERVING``, in a sentence without its value; "" where it does not."""
    least, largest = SERVING[name]
    if text.isdecimal() and least <= int(text) and (largest is None or int(text) <= largest):
        return ""
    return f"{name} should be a whole number from {least}" + (f" to {largest}." if largest else ".")


def faults(environ: Mapping[str, str]) -> dict[str, str]:
    """Return each unreadable ``GATEWAY_*`` variable, with a sentence that describes a valid value."""
    sentences = {}
    for name, text in environ.items():
        try:
            Settings.from_environment({name: text})
        except ValueError as error:
            sentences[name] = str(error)
    return sentences


def readable(environ: Mapping[str, str]) -> Settings:
    """Return the settings without the unreadable variables."""
    bad = faults(environ)
    try:
        return Settings.from_environment({name: text for name, text in environ.items() if name not in bad})
    except ValueError:  # each is valid by itself, but two of them contradict each other
        return Settings()
