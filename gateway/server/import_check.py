"""Try in a process of its own to import an application: ``python -m gateway.server.import_check models.app:app``."""

import logging
import os
import subprocess
import sys

from gunicorn.util import import_app

from gateway.config import Settings
from gateway.observe import jsonlogs
from gateway.observe.logs import exception_frames

logger = logging.getLogger("gateway")

SECONDS = 60.0
"""Seconds that an import may take; weights should be loaded in ``setup``."""


def imports(app: str) -> bool:
    """Return True if ``app``, an import string, can be imported; log the reason where it cannot."""
    path = os.pathsep.join(folder for folder in sys.path if folder)
    command = [sys.executable, "-m", "gateway.server.import_check", app]
    try:
        return subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, timeout=SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        logger.error("%s was not imported within %.0f s", app, SECONDS)
        return False


def main(app: str) -> int:
    """Return 0 for an application that can be imported, 1 for one that cannot, whatever it raises."""
    jsonlogs.configure(Settings.from_environment())
    try:
        import_app(app)
    except BaseException as error:  # one that exits, with whatever status, is not imported either
        frames = exception_frames(error, with_text=True)  # no request, and so no patient, is in it
        logger.error("%s cannot be imported\n%s", app, frames)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
