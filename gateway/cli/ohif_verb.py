"""``ohif``: OHIF beside a gateway, on a port of its own."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.access.listeners import is_loopback
from gateway.cli.connection_options import port_number
from gateway.config import DEFAULT_PORT

if TYPE_CHECKING:
    from gateway.endpoints.ohif import OhifViewer

PROGRAM = "python -m gateway"
PORT = 8901
FOLDER = "GATEWAY_OHIF"
EPILOG = f"""\
examples:
  npm pack @ohif/app && tar xzf ohif-app-*.tgz
  {PROGRAM} ohif --dist package/dist
  {PROGRAM} ohif --dist package/dist --host 0.0.0.0 --certfile ohif.pem --login https://gateway.example/ui/

The gateway needs GATEWAY_DICOMWEB=1, and keys where other machines reach OHIF. exit status: 0 stopped, 1 failed,
2 wrong usage
"""


def add_arguments(verb: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """Add the arguments of ``ohif``."""
    add = verb.add_argument
    folder = environ.get(FOLDER) or None
    summary = f"folder dist of the package @ohif/app, as it is published (${FOLDER})"
    add("--dist", type=Path, metavar="FOLDER", default=folder, required=folder is None, help=summary)
    add("--host", default="127.0.0.1", help="address to listen on (%(default)s)")
    add("-p", "--port", type=port_number, default=PORT, help="port to listen on, 0 for any free one (%(default)s)")
    add("--login", default="", metavar="URL", help="where a browser logs in, such as http://127.0.0.1:8900/ui/")
    gateway = verb.add_argument_group("the gateway").add_argument
    gateway("--gateway", default=f"http://127.0.0.1:{DEFAULT_PORT}", metavar="URL", help="its URL (%(default)s)")
    gateway("--ca", type=Path, metavar="FILE", help="certificates to trust instead of the system's")
    gateway("--allow-anonymous", action="store_true", help="show all studies of a gateway without keys to any machine")
    tls = verb.add_argument_group("TLS").add_argument
    tls("--certfile", metavar="PEM", help="certificate chain of this address")
    tls("--keyfile", metavar="PEM", help="its private key")


def viewer(arguments: argparse.Namespace) -> "OhifViewer":
    """Return the application of a command line. Raises ValueError with a sentence; OSError."""
    from gateway.endpoints.ohif import OhifViewer

    made = OhifViewer(Path(arguments.dist), arguments.gateway, login=arguments.login, ca=arguments.ca)
    if not (is_loopback(arguments.host) or arguments.allow_anonymous or made.is_closed()):
        raise ValueError(
            f"{arguments.gateway} asks for no key, and {arguments.host} is reached by other machines. Set "
            "GATEWAY_API_KEYS_FILE for the gateway, listen on 127.0.0.1, or use --allow-anonymous."
        )
    return made


def serve(app: "OhifViewer", arguments: argparse.Namespace) -> None:
    """Serve until a signal."""
    from gateway.server.master import serve_beside

    serve_beside(app, host=arguments.host, port=arguments.port, certfile=arguments.certfile, keyfile=arguments.keyfile)
