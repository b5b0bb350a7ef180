"""What ``serve`` looks at before it starts processes, each of which would only end in a traceback."""

import argparse
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from gateway.errors import GatewayError


class Unservable(GatewayError):
    """A command line whose application or certificate is not there."""


def require_servable(arguments: argparse.Namespace) -> None:
    """Raise Unservable for a module or a file of TLS that is not there. Nothing is imported: the workers do that."""
    package = arguments.app.partition(":")[0].partition(".")[0]
    if not (package.isidentifier() and (PathFinder.find_spec(package, [str(Path.cwd())]) or find_spec(package))):
        raise Unservable(f"there is no module {package} to serve from here; name it as module:name")
    for path in (arguments.certfile, arguments.keyfile, arguments.ca_certs):
        if path is not None and not Path(path).is_file():
            raise Unservable(f"{path} is no file of a certificate or a key")
