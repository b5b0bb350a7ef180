"""Settings: frozen, from keyword arguments and ``GATEWAY_*`` variables; every limit with its unit and its reason."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self

KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30
DEFAULT_PORT = 8900
"""The port that ``serve`` binds and ``send`` calls, as the predecessor's test tool did."""


def _setting(default: Any, why: str) -> Any:
    return field(default=default, metadata={"why": why})


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What an operator may set. Each is also read from ``GATEWAY_<NAME>``; a keyword argument wins."""

    max_body_bytes: int = _setting(8 * GiB, "bytes of one request; a 4,000-slice CT of 512 x 512 is 2 GiB")
    max_bytes_in_flight: int = _setting(16 * GiB, "bytes of all requests in one process; two of the largest")
    max_parts: int = _setting(20_000, "parts of one request; five times a 4,000-slice study")
    max_part_header_bytes: int = _setting(16 * KiB, "bytes of one part's header; nginx and Apache allow 8 KiB a line")
    max_part_headers: int = _setting(32, "header fields of one part; clients send two or three")
    max_json_bytes: int = _setting(16 * MiB, "bytes of the JSON part; it carries options, not pixels")
    study_root: Path | None = _setting(None, "folder below which a studyPath may lie; unset refuses every studyPath")
    max_study_files: int = _setting(20_000, "files below one studyPath, as many as parts in one request")
    spool_threshold: int = _setting(
        256 * MiB, "bytes of one request held in memory, about 500 CT slices; more go to an unnamed file"
    )
    spool_folder: Path | None = _setting(None, "folder of those files; unset takes the system's temporary folder")
    reserved_threads: int = _setting(2, "threads of a worker that no inference takes: one for probes, one for refusals")
    head_timeout: float = _setting(10.0, "seconds from connecting to the end of a request's head; Apache allows 20")
    read_timeout: float = _setting(30.0, "seconds between two pieces of a body or of an answer; nginx allows 60")
    min_rate: int = _setting(
        16 * KiB, "bytes per second that a client must move while waited for; ADSL has ten times it"
    )
    rate_grace: float = _setting(10.0, "seconds of waiting before the minimum rate is held against a client")
    digest: str = _setting("sha256", "sha256, or blake3 (extra) where both ends are yours")
    strict: bool = _setting(True, "refuse an answer whose content breaks the protocol; false logs a warning instead")
    log_exception_text: bool = _setting(False, "log messages of exceptions; they can hold a patient's name")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None, **given: Any) -> Self:
        """Read ``GATEWAY_*`` variables; ``given`` keyword arguments win. Raises ValueError naming a bad variable."""
        environ = os.environ if environ is None else environ
        found = {
            f.name: _read(f.name, str(f.type), environ[name])
            for f in fields(cls)
            if (name := f"GATEWAY_{f.name.upper()}") in environ and f.name not in given
        }
        return cls(**found, **given)


_WORDS = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}


def _read(name: str, kind: str, text: str) -> Any:
    try:
        if "bool" in kind:
            return _WORDS[text.strip().lower()]
        if "int" in kind:
            return int(text)
        if "float" in kind:
            return float(text)
        if "Path" in kind:
            return Path(text) if text else None
    except (KeyError, ValueError):
        raise ValueError(
            f"GATEWAY_{name.upper()} should be {kind}, such as {'true' if 'bool' in kind else 1000}"
        ) from None
    return text
