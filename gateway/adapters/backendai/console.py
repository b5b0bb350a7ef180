"""Events of a run as records of a console."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

from gateway.adapters.backendai.execution_words import Record

SVG, HTML = "image/svg+xml", "text/html"
MEDIA_BYTES = 8 << 20
"""Bytes of a picture in the console: a 1,024 x 1,024 colour preview as PNG is 3 MiB at most."""


def record_of_log(data: dict[str, Any]) -> Record:
    """Return the lines that a model has logged, on standard output."""
    return ["stdout", f"{data.get('text', '')}\n"]


def record_of_progress(data: dict[str, Any], at: float) -> Record:
    """Return a progress as a line of a log: level, time (ISO 8601), source and text."""
    moment = datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")
    text = f"{data.get('done', 0):g} of {data.get('total', 0):g} {data.get('text', '')}".rstrip()
    return ["log", ["info", moment, "progress", text]]


def record_of_media(media_type: str, data: memoryview) -> Record:
    """Return a picture: SVG as XML, HTML as it is, all others as a data URI (RFC 2397)."""
    if data.nbytes > MEDIA_BYTES:
        return ["stderr", f"A picture of {data.nbytes} bytes is not shown.\n"]
    if media_type == HTML:
        return ["html", bytes(data).decode("utf-8", "replace")]
    if media_type == SVG:
        return ["media", [SVG, bytes(data).decode("utf-8", "replace")]]
    return ["media", [media_type, f"data:{media_type};base64,{base64.b64encode(data).decode()}"]]


def record_of_question(data: dict[str, Any]) -> Record:
    """Return a question as a prompt on standard output: its own text where it has one, else its JSON."""
    text = next((data[name] for name in ("question", "text") if isinstance(data.get(name), str)), None)
    prompt = text if text is not None else json.dumps(data)
    choices = data.get("choices")
    return ["stdout", f"{prompt} ({', '.join(map(str, choices))})\n" if choices else f"{prompt}\n"]
