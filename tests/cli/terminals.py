"""A terminal for a program that looks whether it has one."""

import contextlib
import os
import pty
import subprocess
from collections.abc import Sequence

from tests.conftest import ROOT


def seen_by_a_terminal(words: Sequence[object], **environment: str) -> str:
    """What a program that ends well writes to its standard error, read as it comes: a terminal holds little."""
    ours, theirs = pty.openpty()
    environ = os.environ | {"TERM": "xterm"} | environment
    process = subprocess.Popen(list(map(str, words)), cwd=ROOT, env=environ, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    seen = b""
    with contextlib.suppress(OSError):  # Linux's end of a terminal whose other side is closed
        while piece := os.read(ours, 1 << 16):
            seen += piece
    os.close(ours)
    assert process.wait() == 0
    return seen.decode(errors="replace")
