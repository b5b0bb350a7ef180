"""Checks of ``serve`` before it starts processes, each of which would end in a traceback."""

import argparse
import errno
import os
import sys
import time
from collections.abc import Mapping
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path

from gateway.access.listeners import is_loopback
from gateway.config import unknown_variables
from gateway.errors import GatewayError

TRIES, PAUSE = 4, 1.0
"""Further tries to listen, and the seconds before each: gunicorn's own."""


class Unservable(GatewayError):
    """A command line or an environment that would not serve, or not as meant."""


def require_servable(arguments: argparse.Namespace) -> None:
    """Raise Unservable for a missing module or TLS file. Nothing is imported: the workers do that."""
    package = arguments.app.partition(":")[0].partition(".")[0]
    if not (package.isidentifier() and (PathFinder.find_spec(package, [str(Path.cwd())]) or find_spec(package))):
        raise Unservable(f"no module {package} can be imported from here; name the application as module:name")
    for path in (arguments.certfile, arguments.keyfile, arguments.ca_certs):
        if path is not None and not Path(path).is_file():
            raise Unservable(f"{path} is not a file; name the file of the certificate or key")


def require_free(host: str, port: int, environ: Mapping[str, str]) -> None:
    """Raise Unservable for an address that cannot be listened on, unless a socket is handed over.

    An old server may take a moment to stop, so it is tried for as long as gunicorn would.
    """
    from gateway.doctor.network import REMEDIES, listen

    if environ.get("GUNICORN_FD") or environ.get("LISTEN_FDS"):
        return
    for pause in (*[PAUSE] * TRIES, 0.0):
        try:
            listen(host, port)
            return
        except OSError as error:
            failure = error
        if failure.errno != errno.EADDRINUSE:
            break
        time.sleep(pause)
    remedy = REMEDIES.get(failure.errno or 0, "Choose another address or port.")
    raise Unservable(f"{host}, port {port}: {failure.strerror or 'this address cannot be used'}. {remedy}")


def require_known(environ: Mapping[str, str], host: str) -> None:
    """Warn of ``GATEWAY_*`` variables that nothing reads. Raises Unservable where other machines reach ``host``.

    A limit or a file of keys that is misspelt would leave the server without it.
    """
    unknown = [f"{name}{f' (near: {near})' if near else ''}" for name, near in unknown_variables(environ).items()]
    if not unknown:
        return
    sentence = f"nothing reads {', '.join(unknown)}; correct the name, or unset it"
    if not is_loopback(host) or environ.get("LISTEN_PID") == str(os.getpid()):  # systemd's sockets may be any
        raise Unservable(sentence)
    sys.stderr.write(f"warning: {sentence}\n")
