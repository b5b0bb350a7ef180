"""From a command line to one function, and from an exception to one line and an exit status."""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.arguments import parse
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from gateway.cli.terminal import Terminal
    from gateway.client import StudyUnreadable

DONE, FAILED, USAGE, NO_CONNECTION, INTERRUPTED = 0, 1, 2, 3, 130
"""Exit statuses; argparse itself ends with 2 for wrong usage, and a shell counts 128 + SIGINT."""


class CommandFailed(Exception):
    """A sentence for the user and its exit status; ``document`` is JSON for a script, if any."""

    def __init__(self, sentence: str, status: int = FAILED, document: Mapping[str, object] | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.document = document


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status."""
    arguments = parse(argv)
    try:
        VERBS[arguments.verb](arguments)
    except KeyboardInterrupt:
        return INTERRUPTED
    except CommandFailed as failure:
        if failure.document and getattr(arguments, "json", False):
            sys.stdout.write(json.dumps(failure.document, indent=2) + "\n")
        return _complain(str(failure), failure.status)
    except GatewayError as error:
        return _complain(error.detail or error.title, FAILED)
    except OSError as error:
        return _complain(_system_reason(error), FAILED)
    except UnicodeEncodeError:
        return _complain("an argument or a file name is not text in this locale; set LC_ALL=C.UTF-8", FAILED)
    return DONE


def _system_reason(error: OSError) -> str:
    """The system's reason for a failure; pydicom raises it again with a traceback in its text."""
    first = error if error.errno else error.__context__
    if not isinstance(first, OSError) or not first.strerror:
        return next(iter(str(error).splitlines()), "the system refused without a reason")
    return f"{first.filename}: {first.strerror}" if first.filename else first.strerror


def _complain(sentence: str, status: int) -> int:
    sys.stderr.write(f"error: {sentence}\n")
    return status


# Each verb imports what it needs when it runs: a server should not carry the client's libraries into its workers.


def _serve(arguments: argparse.Namespace) -> None:
    from gateway.access.listeners import refuse_anonymous
    from gateway.cli.serving import importable, require_free, require_known, require_servable
    from gateway.config import Settings
    from gateway.executors.ray.cluster import require_ray
    from gateway.server.master import serve

    require_servable(arguments)
    require_known(os.environ, arguments.host)
    refuse_anonymous()
    handled = ("app", "verb", "model_processes", "devices", "ray", "allow_anonymous")
    options = {name: value for name, value in vars(arguments).items() if name not in handled}
    if arguments.model_processes is not None:
        os.environ["GATEWAY_MODEL_PROCESSES"] = str(arguments.model_processes)  # every process reads its settings there
    if arguments.devices is not None:
        os.environ["GATEWAY_DEVICES"] = arguments.devices
    if arguments.ray is not None:
        os.environ["GATEWAY_RAY"] = arguments.ray
    if arguments.allow_anonymous:
        os.environ["GATEWAY_ALLOW_ANONYMOUS"] = "1"
    try:
        require_ray(Settings.from_environment())
    except ValueError as error:
        raise CommandFailed(str(error), USAGE) from error
    except ImportError as error:
        raise CommandFailed(str(error)) from error
    require_free(arguments.host, arguments.port, os.environ)
    serve(importable(arguments.app), **options)


def _send(arguments: argparse.Namespace) -> None:
    from gateway.cli import connection_options, receipt_files
    from gateway.cli.send_options import SendOptions
    from gateway.cli.sending import send
    from gateway.cli.terminal import Terminal
    from gateway.client import Client
    from gateway.client.transport import new_session
    from gateway.protocol.digests import hash_function

    try:
        hash_function(arguments.digest)
    except ValueError as error:
        raise CommandFailed(str(error)) from error
    order = SendOptions.from_arguments(arguments)
    asking = receipt_files.ReceiptRequests(new_session()) if arguments.receipt else None
    session = asking.session if asking else None
    with _client_failures():
        access = connection_options.access(arguments)
        client = Client(order.url, timeout=order.patience, session=session, digest=order.digest, **access)
        send(order, Terminal(script=arguments.json), client)
        if asking:
            receipt_files.write(asking.receipt, arguments.receipt)


def _store(arguments: argparse.Namespace) -> None:
    from gateway.cli import storing
    from gateway.cli.terminal import Terminal

    with _client_failures():
        storing.run(arguments, Terminal())


def _runs(arguments: argparse.Namespace) -> None:
    from gateway.cli import run_verbs
    from gateway.cli.terminal import Terminal

    with _client_failures():
        failure = run_verbs.run(arguments, Terminal(script=arguments.json))
    if failure:
        raise CommandFailed(failure)


def _studies(arguments: argparse.Namespace) -> None:
    from gateway.cli import study_verbs

    _operate(study_verbs.run, arguments)


def _webhooks(arguments: argparse.Namespace) -> None:
    from gateway.cli import webhook_verbs

    _operate(webhook_verbs.run, arguments)


def _deliveries(arguments: argparse.Namespace) -> None:
    from gateway.cli import delivery_verbs

    _operate(delivery_verbs.run, arguments)


def _peers(arguments: argparse.Namespace) -> None:
    from gateway.cli import peer_verbs

    _operate(peer_verbs.run, arguments)


def _routing(arguments: argparse.Namespace) -> None:
    from gateway.cli import routing_verbs

    _operate(routing_verbs.run, arguments, invalid=FAILED)


def _operate(
    run: "Callable[[argparse.Namespace, Terminal], str | None]", arguments: argparse.Namespace, *, invalid: int = USAGE
) -> None:
    """Run a verb of the operator, which returns why it failed, if it did; ``invalid`` is the status of a ValueError."""
    from gateway.cli.terminal import Terminal

    try:
        failure = run(arguments, Terminal(script=arguments.json))
    except ValueError as error:
        raise CommandFailed(str(error), invalid) from error
    if failure:
        raise CommandFailed(failure)


def _dimse(arguments: argparse.Namespace) -> None:
    from gateway.cli import networking
    from gateway.cli.serving import require_known

    require_known(os.environ, arguments.host)
    try:
        networking.run(arguments)
    except ValueError as error:
        raise CommandFailed(str(error), USAGE) from error
    except ImportError as error:
        raise CommandFailed(str(error)) from error


def _ohif(arguments: argparse.Namespace) -> None:
    from gateway.cli import ohif_verb
    from gateway.cli.serving import require_free

    try:
        viewer = ohif_verb.viewer(arguments)
    except ValueError as error:
        raise CommandFailed(str(error), USAGE) from error
    require_free(arguments.host, arguments.port, os.environ)
    ohif_verb.serve(viewer, arguments)


@contextmanager
def _client_failures() -> Iterator[None]:
    from gateway.cli.connection_options import API_KEY, TOKEN
    from gateway.client import ClientError, StudyUnreadable, Unreachable

    try:
        yield
    except StudyUnreadable as error:
        raise _unreadable(error) from error
    except ClientError as error:
        request = f" [request {error.request_id}]" if error.request_id else ""
        key = f" Give a key in {API_KEY}, or a token in {TOKEN} or --token-file." if error.status == 401 else ""
        raise CommandFailed(
            error.detail + request + key, NO_CONNECTION if isinstance(error, Unreachable) else FAILED
        ) from error


def _unreadable(error: "StudyUnreadable") -> CommandFailed:
    """Return the failure of a study with unreadable files, which a script can read."""
    return CommandFailed(error.detail, document={"unreadable": [file.words for file in error.files]})


def _run(arguments: argparse.Namespace) -> None:
    file = Path(arguments.target)
    if file.suffix == ".py" and not file.exists():
        raise CommandFailed(f"{file} is not a file")
    if _is_wrapper(file):
        _judge_wrapper(arguments)
        return
    from gateway.cli.running import ModelRaised, run
    from gateway.cli.send_options import SendOptions
    from gateway.cli.terminal import Terminal
    from gateway.client import ClientError, SourceUnreadable, StudyUnreadable

    if arguments.study is None:
        raise CommandFailed("run needs a study: -i STUDY", USAGE)
    if devices := arguments.devices or os.environ.get("GATEWAY_DEVICES"):
        from gateway.executors.own_device import take_first

        try:
            take_first(devices)
        except ValueError as error:
            raise CommandFailed(str(error), USAGE) from error
    try:
        run(
            arguments.target,
            SendOptions.from_arguments(arguments),
            Terminal(script=arguments.json),
            profile=arguments.profile,
            answers=arguments.answers,
        )
    except StudyUnreadable as error:
        raise _unreadable(error) from error
    except SourceUnreadable as error:
        raise CommandFailed(error.detail) from error
    except ModelRaised as error:
        sys.stderr.write(error.traceback)
        raise CommandFailed(f"the model raised an exception: {error}") from error
    except ClientError as error:
        raise CommandFailed(f"a gateway would refuse: {error.detail}") from error


def _batch(arguments: argparse.Namespace) -> None:
    from gateway.cli import batching
    from gateway.cli.terminal import Terminal
    from gateway.client import SourceUnreadable

    try:
        answered = batching.run(arguments, Terminal(script=arguments.json))
    except SourceUnreadable as error:
        raise CommandFailed(error.detail) from error
    except ImportError as error:
        raise CommandFailed(str(error)) from error
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: what is done is kept; the same command with --resume goes on\n")
        raise
    if not answered:
        raise CommandFailed("some studies were refused or failed: studies.csv says why")


def _is_wrapper(path: Path) -> bool:
    """Return True for a Python file that has a ``Wrapper``, as one of AIGES does."""
    named = path.suffix == ".py" and path.is_file()
    return named and re.search(r"\bWrapper\b", path.read_text("utf-8", "replace")) is not None


def _judge_wrapper(arguments: argparse.Namespace) -> None:
    from gateway.adapters import aiges
    from gateway.cli.terminal import Terminal
    from gateway.config import Settings

    verdict = aiges.run(Path(arguments.target), strict=Settings.from_environment().strict)
    if not verdict.good:
        raise CommandFailed(verdict.sentence)
    screen = Terminal(script=arguments.json)
    screen.say(verdict.sentence)
    screen.tell({"good": True, "verdict": verdict.sentence})


def _schema(arguments: argparse.Namespace) -> None:
    from gateway.protocol.openapi import openapi
    from gateway.targets import application

    app = application(arguments.app)
    sys.stdout.write(json.dumps(openapi(app.service.models, app.settings), indent=2) + "\n")


def _new(arguments: argparse.Namespace) -> None:
    from gateway.cli.scaffold import write
    from gateway.cli.terminal import Terminal

    folder = write(arguments.name, Path.cwd(), arguments.gateway)
    screen = Terminal()
    screen.say(f"wrote   {folder}")
    screen.say(f"next    cd {folder.name} && python -m pip install -r requirements.txt && python -m pytest")


def _phantom(arguments: argparse.Namespace) -> None:
    from gateway.cli.terminal import Terminal
    from gateway.dicom.samples import phantom

    paths = phantom.write(arguments.out)
    Terminal().say(f"{len(paths)} slices in {arguments.out}")


def _keys(arguments: argparse.Namespace) -> None:
    from gateway.cli import keys

    try:
        keys.run(arguments)
    except ValueError as error:
        raise CommandFailed(str(error)) from error


def _key_pairs(arguments: argparse.Namespace) -> None:
    from gateway.cli import pair_verbs

    try:
        pair_verbs.run(arguments)
    except ValueError as error:
        raise CommandFailed(str(error)) from error


def _doctor(arguments: argparse.Namespace) -> None:
    from gateway.cli.doctor import doctor

    if stopping := doctor(arguments):
        raise CommandFailed(f"this machine would not serve: {', '.join(stopping)}")


def _audit(arguments: argparse.Namespace) -> None:
    from gateway.cli import audits
    from gateway.cli.terminal import Terminal

    try:
        whole = audits.run(arguments, Terminal(script=arguments.json))
    except ValueError as error:
        raise CommandFailed(str(error), USAGE) from error
    if not whole:
        raise CommandFailed("the audit chain is broken")


def _replay(arguments: argparse.Namespace) -> None:
    from gateway.cli import replaying
    from gateway.cli.terminal import Terminal
    from gateway.client import ClientError, Unreachable

    try:
        same = replaying.replay(replaying.Replay.from_arguments(arguments), Terminal())
    except ValueError as error:
        raise CommandFailed(str(error)) from error
    except ClientError as error:
        raise CommandFailed(error.detail, NO_CONNECTION if isinstance(error, Unreachable) else FAILED) from error
    if not same:
        raise CommandFailed("the answer could not be reproduced")


VERBS: dict[str, Callable[[argparse.Namespace], None]] = {
    "serve": _serve,
    "send": _send,
    "run": _run,
    "batch": _batch,
    "upload": _store,
    "results": _store,
    "bundle": _store,
    "preflight": _store,
    "runs": _runs,
    "studies": _studies,
    "webhooks": _webhooks,
    "deliveries": _deliveries,
    "peers": _peers,
    "routing": _routing,
    "dimse": _dimse,
    "ohif": _ohif,
    "schema": _schema,
    "new": _new,
    "phantom": _phantom,
    "audit": _audit,
    "replay": _replay,
    "keys": _keys,
    "key-pairs": _key_pairs,
    "doctor": _doctor,
}
