"""Ray for the slow tests: 450 MB, in a folder of its own, since no other test needs it."""

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.util import find_spec

from tests.commands import ROOT
from tests.require import require

RAY = "ray==2.60.0"
MISSING = "no package index offers ray for this Python; this test installs it, some 450 MB"
FOLDER = "GATEWAY_TEST_RAY"
"""The variable of a folder that has it already."""


@contextlib.contextmanager
def installed() -> Iterator[str]:
    """Have Ray in a folder within the block; yield the folder, "" where it is installed here."""
    if find_spec("ray") is not None or FOLDER in os.environ:
        yield os.environ.get(FOLDER, "")
        return
    with tempfile.TemporaryDirectory(prefix="gateway-test-ray-") as folder:
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--retries", "1", "--target", folder, RAY]
        done = subprocess.run(install, capture_output=True, text=True, check=False)
        require(done.returncode == 0, MISSING)
        yield folder


def ray_variables(folder: str) -> dict[str, str]:
    """Variables with which a process finds Ray in that folder."""
    return {"PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), folder]))}
