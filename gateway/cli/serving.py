"""Checks of ``serve`` before it starts processes, each of which would end in a traceback."""

import argparse
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from gateway.errors import GatewayError


class Unservable(GatewayError):
    """A command line whose application or certificate is missing."""


def require_servable(arguments: argparse.Namespace) -> None:
    """Raise Unservable for a missing module or TLS file. Nothing is imported: the workers do that."""
    package = arguments.app.partition(":")[0].partition(".")[0]
    if not (package.isidentifier() and (PathFinder.find_spec(package, [str(Path.cwd())]) or find_spec(package))):
        raise Unservable(f"no module {package} can be imported from here; name the application as module:name")
    for path in (arguments.certfile, arguments.keyfile, arguments.ca_certs):
        if path is not None and not Path(path).is_file():
            raise Unservable(f"{path} is not a file; name the file of the certificate or key")
