"""From a command line to one function, and from an exception to one line and an exit status."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gateway.cli.arguments import parse
from gateway.errors import GatewayError

DONE, FAILED, NO_CONNECTION, INTERRUPTED = 0, 1, 3, 130
"""Exit statuses; argparse itself ends with 2 for wrong usage, and a shell counts 128 + SIGINT."""


class Failure(Exception):
    """A sentence for the user and the exit status that goes with it."""

    def __init__(self, sentence: str, status: int = FAILED) -> None:
        super().__init__(sentence)
        self.status = status


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status."""
    arguments = parse(argv)
    try:
        VERBS[arguments.verb](arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Failure as failure:
        return _complain(str(failure), failure.status)
    except GatewayError as error:
        return _complain(error.detail or error.title, FAILED)
    except OSError as error:
        return _complain(f"{error.filename}: {error.strerror}" if error.filename else str(error), FAILED)
    return DONE


def _complain(sentence: str, status: int) -> int:
    sys.stderr.write(f"error: {sentence}\n")
    return status


# Each verb imports what it needs when it runs: a server should not carry the client's libraries into its workers.


def _serve(arguments: argparse.Namespace) -> None:
    from gateway.server import serve

    options = {name: value for name, value in vars(arguments).items() if name not in ("app", "verb")}
    serve(arguments.app, **options)


def _send(arguments: argparse.Namespace) -> None:
    from gateway.cli.orders import Order
    from gateway.cli.screen import Screen
    from gateway.cli.sending import send
    from gateway.client import ClientError, Unreachable
    from gateway.protocol.digests import hash_function

    try:
        hash_function(arguments.digest)
    except ValueError as error:
        raise Failure(str(error)) from error
    try:
        send(Order.from_arguments(arguments), Screen())
    except ClientError as error:
        request = f" [request {error.request_id}]" if error.request_id else ""
        raise Failure(error.detail + request, NO_CONNECTION if isinstance(error, Unreachable) else FAILED) from error


def _run(arguments: argparse.Namespace) -> None:
    from gateway.adapters import aiges
    from gateway.cli.screen import Screen

    if not arguments.target.endswith(".py"):
        raise Failure(f"{arguments.target} is not the file of a wrapper, such as wrapper.py")
    verdict = aiges.run(Path(arguments.target))
    if not verdict.good:
        raise Failure(verdict.sentence)
    Screen().say(verdict.sentence)


def _phantom(arguments: argparse.Namespace) -> None:
    from gateway.cli.screen import Screen
    from gateway.dicom import phantom

    paths = phantom.write(arguments.out)
    Screen().say(f"{len(paths)} slices in {arguments.out}")


VERBS: dict[str, Callable[[argparse.Namespace], None]] = {
    "serve": _serve,
    "send": _send,
    "run": _run,
    "phantom": _phantom,
}
