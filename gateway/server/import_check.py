"""Try in a process of its own to load an application: ``python -m gateway.server.import_check models.app:app``.

It is imported, and the operator's files of peers and of rules are read: a worker that cannot read them does not start.
"""

import logging
import os
import subprocess
import sys
from typing import Any

from gunicorn.util import import_app

from gateway.config import Settings
from gateway.observe import jsonlogs
from gateway.observe.logs import exception_frames
from gateway.service.service import Service

logger = logging.getLogger("gateway")

SECONDS = 60.0
"""Seconds that an import may take; weights should be loaded in ``setup``."""


def imports(app: str) -> bool:
    """Return True if ``app``, an import string, can be loaded; log the reason where it cannot."""
    path = os.pathsep.join(folder for folder in sys.path if folder)
    command = [sys.executable, "-m", "gateway.server.import_check", app]
    try:
        return subprocess.run(command, env=os.environ | {"PYTHONPATH": path}, timeout=SECONDS).returncode == 0
    except subprocess.TimeoutExpired:
        logger.error("%s was not imported within %.0f s", app, SECONDS)
        return False


def main(app: str) -> int:
    """Return 0 for an application that can be loaded, 1 for one that cannot, whatever it raises."""
    jsonlogs.configure(Settings.from_environment())
    try:
        found = import_app(app)
    except BaseException as error:  # one that exits, with whatever status, is not imported either
        frames = exception_frames(error, with_text=True)  # no request, and so no patient, is in it
        logger.error("%s cannot be imported\n%s", app, frames)
        return 1
    try:
        read_files(found)
    except ValueError as error:
        logger.error("%s would not start: %s", app, error)
        return 1
    return 0


def read_files(app: Any) -> None:
    """Read the files of peers and of rules of a Gateway. Raises ValueError with a sentence for each fault."""
    service = getattr(app, "service", None)
    if not isinstance(service, Service):
        return
    if service.settings.peers is not None:
        from gateway.peers.peers_file import read_peers  # urllib3, which a gateway without peers spares

        read_peers(service.settings.peers)
    if service.settings.routing is not None:
        from gateway.routing.rules_file import rules_of  # pydantic, which a plain service spares

        rules_of(service.settings, service.models)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
