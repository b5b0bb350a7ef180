"""Checks of ``serve`` before it starts processes, each of which would end in a traceback."""

import argparse
import ast
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
    path = arguments.app.partition(":")[0]
    package = path.partition(".")[0]
    if not _is_file(path) and not (
        package.isidentifier() and (PathFinder.find_spec(package, [str(Path.cwd())]) or find_spec(package))
    ):
        raise Unservable(f"no module {package} can be imported from here; name the application as module:name")
    for path in (arguments.certfile, arguments.keyfile, arguments.ca_certs):
        if path is not None and not Path(path).is_file():
            raise Unservable(f"{path} is not a file; name the file of the certificate or key")


def importable(target: str) -> str:
    """Return what gunicorn imports for a target: a file, a module or a function of one becomes an application."""
    path, _, name = target.partition(":")
    if "(" in target or (name and not _is_file(path) and not _is_function(path, name)):
        return target
    return f"gateway.targets:servable({target!r})"


def _is_file(path: str) -> bool:
    return path.endswith(".py") or os.sep in path


def _is_function(module: str, name: str) -> bool:
    """Return True for a function or a class by the text of its module, which is not imported here."""
    file = Path.cwd() / f"{module.replace('.', os.sep)}.py"
    if not file.is_file():
        return False
    try:
        statements = ast.parse(file.read_bytes()).body
    except (SyntaxError, ValueError):  # the worker reports it
        return False
    return any(getattr(each, "name", "") == name for each in statements)


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
