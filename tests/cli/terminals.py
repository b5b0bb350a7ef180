"""A terminal for a program that looks whether it has one."""

import contextlib
import os
import pty
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.conftest import ROOT


def seen_by_a_terminal(command: Sequence[object], **environment: str) -> str:
    """Return the standard error of a program, read as it is written: a terminal buffers little."""
    terminal, other_end = pty.openpty()
    environ = os.environ | {"TERM": "xterm"} | environment
    process = subprocess.Popen(
        list(map(str, command)), cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=other_end
    )
    os.close(other_end)
    output = b""
    with contextlib.suppress(OSError):  # Linux's end of a terminal whose other side is closed
        while piece := os.read(terminal, 1 << 16):
            output += piece
    os.close(terminal)
    assert process.wait() == 0
    return output.decode(errors="replace")


def conversation(command: Sequence[object], lines: Sequence[tuple[str, str]], *, folder: Path) -> str:
    """Run a program on a terminal of its own; type each line once its prompt is there; return all that is shown."""
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(folder)
        environ = os.environ | {"TERM": "dumb", "PYTHONPATH": str(ROOT)}
        os.execvpe(str(command[0]), list(map(str, command)), environ)  # noqa: S606 - no shell
    output, seen, rest = b"", 0, list(lines)
    with contextlib.suppress(OSError):  # Linux's end of a terminal whose other side is closed
        while piece := os.read(terminal, 1 << 16):
            output += piece
            if rest and rest[0][0].encode() in output[seen:]:
                seen, line = len(output), rest.pop(0)[1]
                os.write(terminal, f"{line}\n".encode())
    os.close(terminal)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, output
    assert not rest
    return output.decode(errors="replace")
