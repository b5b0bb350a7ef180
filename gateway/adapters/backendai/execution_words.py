"""An execution as a client asks for it, and as it is answered (Backend.AI's API, v6.20220315)."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from gateway.errors import ParameterRefused

MODES = ("query", "batch", "continue", "continued", "input", "complete")
"""``continued`` is that of the documentation's loop, ``continue`` that of the client."""
CONTINUED, WAITING, CLEANED, BUILT, FINISHED = (
    *("continued", "waiting-input", "clean-finished"),
    *("build-finished", "finished"),
)
"""The statuses of a result."""
EXECUTION_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
COMMANDS = ("clean", "build", "exec")
DONE, FAULT, INTERRUPTED = 0, 1, 130
"""Exit codes: done, refused or failed, cancelled (as a shell has it for SIGINT)."""

Record = list[Any]
"""A record of the console: its kind and its content."""


@dataclass(frozen=True)
class ExecuteRequest:
    """The body of an execution: ``code`` is JSON for a query, and the answer for an input; "" for the other modes.

    ``commands`` are those of a batch, None for one that is not wanted.
    """

    mode: str
    code: str = ""
    run_id: str = ""
    commands: Mapping[str, str | None] = field(default_factory=dict)

    @classmethod
    def of(cls, words: Mapping[str, Any]) -> Self:
        """Read a body, or the first message of a stream. Raises ParameterRefused."""
        mode, code, run_id = words.get("mode") or "complete", words.get("code") or "", words.get("runId") or ""
        options = words.get("options") or {}
        if mode not in MODES:
            raise ParameterRefused([("/mode", f"mode should be one of {', '.join(MODES)}.")])
        if not isinstance(code, str):
            raise ParameterRefused([("/code", "code should be text.")])
        if not isinstance(run_id, str) or (run_id and not EXECUTION_ID.fullmatch(run_id)):
            raise ParameterRefused([("/runId", "runId should be 1 to 64 letters, digits, dots, _ and -.")])
        if not isinstance(options, dict):
            raise ParameterRefused([("/options", "options should be an object.")])
        return cls(mode, code, run_id, _commands(options) if mode == "batch" else {})


def _commands(options: Mapping[str, Any]) -> dict[str, str | None]:
    for name in COMMANDS:
        if not isinstance(options.get(name), str | None):
            raise ParameterRefused([(f"/options/{name}", f"{name} should be text.")])
    return {name: options.get(name) or None for name in COMMANDS}


@dataclass
class ExecutionResult:
    """What an execution is answered with: the console since the last answer, and the status.

    ``files`` are names and URLs of results. ``options`` of a waiting execution has ``is_password``, and ``question`` is
    the number of what it asks, for this side alone.
    """

    run_id: str
    status: str
    exit_code: int | None = None
    console: list[Record] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)
    files: list[dict[str, str]] = field(default_factory=list)
    question: int = 0

    @property
    def words(self) -> dict[str, Any]:
        """The result as JSON."""
        return {
            "runId": self.run_id,
            "status": self.status,
            "exitCode": self.exit_code,
            "console": self.console,
            "options": self.options,
            "files": self.files,
        }

    @classmethod
    def refused(cls, run_id: str, sentence: str, status: str = FINISHED) -> Self:
        """Return the result of what is not done, with the reason on standard error."""
        return cls(run_id, status, FAULT, [["stderr", f"{sentence}\n"]])


def read_code(code: str) -> dict[str, Any]:
    """Return the JSON object that the code of a query is. Raises ValueError with a sentence."""
    try:
        words = json.loads(code, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        words = None
    if not isinstance(words, dict):
        raise ValueError('The code of a query should be the JSON of a request, such as {"threshold": 0.5}.')
    return words


def _no_constant(_: str) -> None:
    raise ValueError
