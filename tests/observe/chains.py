"""Outcomes and chains for the tests of the audit."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.observe.audit.auditor import Auditor
from gateway.observe.audit.file import ChainFile
from gateway.observe.outcomes import PHASES, Outcome

KEY = b"k" * 32
OTHER_KEY = b"o" * 32


def outcome(**changes: Any) -> Outcome:
    """One answered request."""
    members: dict[str, Any] = {
        "request_id": "0123456789abcdef",
        "route": "/dense",
        "status": 200,
        "received": datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC),
        "seconds": 1.25,
        "phases": dict.fromkeys(PHASES, 0.001),
        "caller": "radiology",
        "input_digest": "a" * 64,
        "output_digest": "b" * 64,
        "parameters_digest": "c" * 64,
        "model_name": "dense",
        "model_version": "1.2.0",
        "model_digest": "d" * 64,
        "weights_digest": "e" * 64,
        "deterministic": True,
    }
    return Outcome(**(members | changes))


def written(path: Path, count: int, key: bytes = KEY) -> list[bytes]:
    """The lines of a chain of ``count`` records, written by one auditor to ``path``."""
    auditor = Auditor(ChainFile(path, key))
    for number in range(count):
        auditor(outcome(status=200 + number))
    auditor.close()
    return lines(path)


def lines(path: Path) -> list[bytes]:
    """The lines of a file, with their ends."""
    return path.read_bytes().splitlines(keepends=True)


def heads(path: Path) -> Iterator[str]:
    """The head that each line of ``path`` makes, NUMBER:DIGEST."""
    from gateway.observe.audit.chain import unseal

    for line in lines(path):
        yield str(unseal(line.rstrip(b"\n"), None).head)
