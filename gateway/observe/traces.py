"""Traces of requests for OpenTelemetry: a server span, and a span below it for each phase.

Off unless the standard ``OTEL_*`` variables name a collector; ``gateway.observe.spans`` uses the packages.
"""

import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from gateway.extras import hint

if TYPE_CHECKING:
    from gateway.observe.spans import Spans

logger = logging.getLogger("gateway")

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
MISSING = "traces are enabled, but %s is missing; %s"


def enabled(environ: Mapping[str, str] | None = None) -> bool:
    """Return True if the environment enables traces: it names a collector, or ``OTEL_TRACES_EXPORTER`` is ``otlp``.

    ``OTEL_SDK_DISABLED=true`` and any other exporter disable them.
    """
    environ = os.environ if environ is None else environ
    exporter = environ.get("OTEL_TRACES_EXPORTER", "").strip()
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true" or exporter not in ("", "otlp"):
        return False
    return exporter == "otlp" or any(environ.get(name) for name in ENDPOINTS)


def open_traces() -> "Spans | None":
    """Open the spans that the environment enables; None without traces, or without the extra ``otel``.

    Call it in the worker, never before the fork: the thread that exports belongs to one process.
    """
    if not enabled():
        return None
    try:
        from gateway.observe.spans import Spans
    except ImportError as error:
        logger.warning(MISSING, error.name, hint("otel"))
        return None
    return Spans()
