"""Commands of ``python -m gateway``, each in a process that is forked from one with the libraries loaded.

A new interpreter takes a second to import them, and a fork some hundredths. What happens at the start of an
interpreter is tested with ``subprocess``.
"""

import atexit
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.waiting import PATIENCE

ROOT = Path(__file__).parent.parent
FORKING = multiprocessing.get_context("forkserver")
# No application: it would have read its settings.
FORKING.set_forkserver_preload(
    [
        *("gateway.cli.sending", "gateway.cli.running", "gateway.cli.replaying", "gateway.cli.storing"),
        *("gateway.cli.doctor", "gateway.dicom.decoding.pool", "gateway.dicom.samples.specimens"),
        *("gateway.targets", "gateway.server.master", "gateway.worker", "gateway.binding.typed_model"),
        *("gateway.endpoints.runs", "gateway.endpoints.studies", "gateway.delivery.webhooks", "boto3", "scipy.ndimage"),
        *("alembic.command", "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql.psycopg"),
    ]
)


class Command:
    """A running command, in a session of its own, with the methods of a Popen."""

    def __init__(
        self,
        words: Sequence[object],
        folder: Path,
        environ: Mapping[str, str],
        outputs: Sequence[Path],
        before: str = "",
    ) -> None:
        line = [str(word) for word in words]
        files = [str(file) for file in outputs]
        self._process = FORKING.Process(target=_run, args=(line, str(folder), dict(environ), files, before))
        self._process.start()
        self.pid = self._process.pid or 0

    def poll(self) -> int | None:
        """Return the exit status, None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Return the exit status. Raises TimeoutExpired."""
        self._process.join(timeout)
        status = self.poll()
        if status is None:
            raise subprocess.TimeoutExpired("gateway", timeout or 0.0)
        return status

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


def command(
    *words: object, folder: Path = ROOT, environ: Mapping[str, str] = os.environ, before: str = ""
) -> "subprocess.CompletedProcess[str]":
    """Run ``python -m gateway`` in ``folder``, which it imports from; ``before`` is Python that runs first."""
    with tempfile.TemporaryDirectory() as outputs:
        files = [Path(outputs, name) for name in ("out", "err")]
        running = Command(words, folder, environ, files, before)
        try:
            status = running.wait(PATIENCE)
        finally:
            running.send_signal(signal.SIGKILL)
        return subprocess.CompletedProcess(words, status, *(file.read_text() for file in files))


def _run(line: list[str], folder: str, environ: Mapping[str, str], files: Sequence[str], before: str) -> None:
    os.setsid()
    os.closerange(0, 1)
    os.open(os.devnull, os.O_RDONLY)
    _write_to(files)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.path[:0] = [folder, *filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))]
    from gateway.cli import main

    try:
        exec(before, {})
        sys.exit(main(line))
    finally:
        atexit._run_exitfuncs()
        sys.stdout.flush()


def _write_to(files: Sequence[str]) -> None:
    """Write standard output, and standard error if there are two, to files; to one file otherwise."""
    for number, file in zip((1, 2), (files[0], files[-1]), strict=True):
        os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), number)
    streams = (os.fdopen(number, "w", encoding="utf-8", buffering=1) for number in (1, 2))
    sys.stdout, sys.stderr = streams
