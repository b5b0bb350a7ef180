"""A terminal for a program that looks whether it has one."""

import contextlib
import os
import pty
import subprocess
from collections.abc import Sequence

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
