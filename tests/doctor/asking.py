"""Run the doctor as an operator does: in a process of its own, with an environment of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.commands import ROOT, command
from tests.waiting import PATIENCE


@dataclass(frozen=True)
class Told:
    """Its exit status, its output, and its findings by name."""

    status: int
    out: str
    err: str

    @property
    def findings(self) -> dict[str, dict[str, str]]:
        """The output of ``--json``."""
        return {finding["name"]: finding for finding in json.loads(self.out)["findings"]}

    def level(self, name: str) -> str:
        """ok, note, warn or fail."""
        return self.findings[name]["level"]

    def text(self, name: str) -> str:
        """The sentence."""
        return self.findings[name]["text"]


def ask(
    *arguments: object,
    before: str = "",
    folder: Path = ROOT,
    environ: Mapping[str, str] | None = None,
    port: str = "0",
    cold: bool = False,
) -> Told:
    """Run the verb; ``before`` is Python that runs first in its process, ``environ`` extends a plain one.

    Its process has the libraries already, unless it is ``cold``.
    """
    plain = {name: text for name, text in os.environ.items() if not name.startswith("GATEWAY_")}
    plain = {name: text for name, text in plain.items() if name not in ("HOST", "PORT", "WEB_CONCURRENCY", "THREADS")}
    paths = os.pathsep.join([str(folder), str(ROOT)])
    environment = {**plain, "PYTHONPATH": paths, **(environ or {})}
    line = ["doctor", *map(str, arguments), *(["--port", port] if port else [])]
    ran = (_cold if cold else command)(*line, before=before, folder=folder, environ=environment)
    assert "Traceback" not in ran.stderr, ran.stderr
    return Told(ran.returncode, ran.stdout, ran.stderr)


def _cold(*line: str, before: str, folder: Path, environ: Mapping[str, str]) -> "subprocess.CompletedProcess[str]":
    script = f"import sys\n{before}\nfrom gateway.cli import main\nsys.exit(main({list(line)!r}))"
    words = [sys.executable, "-c", script]
    return subprocess.run(words, cwd=folder, env=environ, capture_output=True, text=True, timeout=PATIENCE)
