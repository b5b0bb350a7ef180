"""``upload``, ``results``, ``bundle`` and ``preflight``: the verbs of a gateway's store."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.connection_options import add_access, add_address, add_skip_unreadable, count
from gateway.cli.connection_options import client as connect

if TYPE_CHECKING:
    from gateway.cli.terminal import Terminal
    from gateway.client import Client, Moved, Uploaded, Verdict

UPLOAD, RESULTS, BUNDLE, PREFLIGHT = "upload", "results", "bundle", "preflight"
PROGRAM = "python -m gateway"
EPILOGS = {
    UPLOAD: f"""\
examples:
  {PROGRAM} upload -i study                             only missing instances are sent
  {PROGRAM} upload -i study --on-conflict keep --json

Interrupted and run again, it sends the rest.
""",
    RESULTS: f"""\
examples:
  {PROGRAM} results --study 1.2.3 --model /lungs
  {PROGRAM} results --since 2026-11-01T00:00:00Z --json
""",
    BUNDLE: f"""\
examples:
  {PROGRAM} bundle push lungs weights                   make the gateway's bundle equal to the folder
  {PROGRAM} bundle pull lungs weights                   other files in the folder stay
""",
    PREFLIGHT: f"""\
examples:
  {PROGRAM} preflight -i study                          which models accept it, and the reasons of others
  {PROGRAM} preflight --study 1.2.3 --model /lungs      a study stored on the gateway
""",
}
MiB = 1 << 20


def add_upload(verb: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """Add the arguments of ``upload``."""
    add = verb.add_argument
    add(
        "-i",
        "--input",
        type=Path,
        dest="files",
        metavar="STUDY",
        required=True,
        help="DICOM file or folder, or a folder of images",
    )
    add(
        "--on-conflict", choices=("fail", "keep", "replace"), default="fail",
        help="action where the gateway stores another file with the same SOP Instance UID (%(default)s)",
    )  # fmt: skip
    add_skip_unreadable(verb)
    add("--chunk", type=count, default=16, metavar="N", help="instances of one request (%(default)s)")
    add("--parallel", type=count, default=8, metavar="N", help="requests at a time (%(default)s)")
    _add_common(verb, environ)


def add_results(verb: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """Add the arguments of ``results``."""
    add = verb.add_argument
    add("--study", default="", metavar="UID", help="of this study")
    add("--series", default="", metavar="UID", help="of this series")
    add("--model", default="", metavar="ROUTE", help="of this model")
    add("--version-of-model", dest="version", default="", metavar="V", help="of this version of the model")
    add("--since", default="", metavar="TIME", help="created at this time or later, such as 2026-11-21T13:00:00Z")
    add("--until", default="", metavar="TIME", help="created before this time")
    add("--limit", type=count, metavar="N", help="the newest N (all)")
    _add_common(verb, environ)


def add_bundle(verb: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """Add the arguments of ``bundle``."""
    add = verb.add_argument
    add("action", choices=("push", "pull"), help="to the gateway, or from the gateway")
    add("name", metavar="NAME", help="name of the bundle")
    add("folder", type=Path, metavar="FOLDER", help="local folder of its files")
    _add_common(verb, environ)


def add_preflight(verb: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """Add the arguments of ``preflight``."""
    study = verb.add_mutually_exclusive_group(required=True)
    study.add_argument(
        "-i", "--input", type=Path, dest="files", metavar="STUDY", help="DICOM file or folder, or a folder of images"
    )
    study.add_argument("--study", default="", metavar="UID", help="a study stored on the gateway")
    verb.add_argument("--model", dest="models", action="append", default=[], metavar="ROUTE", help="this model only")
    add_skip_unreadable(verb)
    _add_common(verb, environ)


ARGUMENTS = {UPLOAD: add_upload, RESULTS: add_results, BUNDLE: add_bundle, PREFLIGHT: add_preflight}
SUMMARIES = {
    UPLOAD: "upload a study once",
    RESULTS: "list stored results",
    BUNDLE: "push or pull the files of a model",
    PREFLIGHT: "check which models accept a study",
}


def run(arguments: argparse.Namespace, screen: "Terminal") -> None:
    """Run one of these verbs. Raises ClientError, GatewayError and OSError, each with a sentence."""
    with connect(arguments) as client:
        document, lines = _DOING[arguments.verb](arguments, screen, client)
    if arguments.json:
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    for line in lines:
        screen.say(line)


Told = tuple[Any, Iterator[str]]
"""The result of a verb: a document for a script, and lines for a person."""


def _upload(arguments: argparse.Namespace, screen: "Terminal", client: "Client") -> Told:
    with screen.bars("hashing", "sending") as (hashing, sending):
        uploaded = client.upload(
            arguments.files,
            on_conflict=arguments.on_conflict,
            progress=sending,
            hashing=hashing,
            chunk=arguments.chunk,
            parallel=arguments.parallel,
            skip_unreadable=arguments.skip_unreadable,
        )
    return uploaded.words, _of_upload(uploaded)


def _of_upload(uploaded: "Uploaded") -> Iterator[str]:
    from gateway.cli.sending import of_skipped

    yield f"sent    {uploaded.sent} of {len(uploaded.entries)} instances, {uploaded.bytes_sent / MiB:.1f} MiB"
    if uploaded.ignored:
        yield f"ignored {uploaded.ignored} that {'is' if uploaded.ignored == 1 else 'are'} not DICOM"
    yield from of_skipped(uploaded.skipped)
    if uploaded.retained:
        yield f"retained {len(uploaded.retained)} that are stored on the gateway with other bytes"
    for uid in uploaded.study_instance_uids:
        yield f"study   {uid}"


def _results(arguments: argparse.Namespace, screen: "Terminal", client: "Client") -> Told:
    names = ("study", "series", "model", "version", "since", "until", "limit")
    with screen.bar("asking"):
        entries = client.results(**{name: getattr(arguments, name) for name in names})
    if not entries:
        screen.note("a gateway stores the results of models with deterministic=True, on studies in its store")
    return entries, _of_results(entries)


def _of_results(entries: list[dict[str, Any]]) -> Iterator[str]:
    for entry in entries:
        model = " ".join(str(entry[name]) for name in ("model", "version") if entry.get(name))
        studies = ", ".join(map(str, entry.get("studies", [])))
        name = str(entry.get("id", ""))[:12]
        yield f"{entry.get('created', '')}  {name}  {model}  {entry.get('instances', 0)} instances of {studies}"
    if not entries:
        yield "no results"


def _bundle(arguments: argparse.Namespace, screen: "Terminal", client: "Client") -> Told:
    move = client.push_bundle if arguments.action == "push" else client.pull_bundle
    with screen.bar(f"{arguments.action}ing") as progress:
        outcome = move(arguments.name, arguments.folder, progress=progress)
    return outcome.words, _of_bundle(outcome, "sent" if arguments.action == "push" else "fetched")


def _of_bundle(outcome: "Moved", moved: str) -> Iterator[str]:
    yield f"{moved:7} {len(outcome.moved)} of {outcome.files} files, {outcome.bytes_moved / MiB:.1f} MiB"
    if outcome.removed:
        yield f"removed {len(outcome.removed)} that the folder does not have"


def _preflight(arguments: argparse.Namespace, screen: "Terminal", client: "Client") -> Told:
    from gateway.client import Reference

    study: Path | Reference = arguments.files or Reference(study=arguments.study)
    with screen.bar("asking"):
        verdicts = client.preflight(study, arguments.models, skip_unreadable=arguments.skip_unreadable)
    return [verdict.words for verdict in verdicts], map(_of_verdict, verdicts)


def _of_verdict(verdict: "Verdict") -> str:
    return f"{verdict.model}  {'yes' if verdict.accepted else 'no: ' + ' '.join(verdict.reasons)}"


_DOING: dict[str, Callable[[argparse.Namespace, "Terminal", "Client"], Told]] = {
    UPLOAD: _upload,
    RESULTS: _results,
    BUNDLE: _bundle,
    PREFLIGHT: _preflight,
}


def _add_common(verb: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    verb.add_argument("--json", action="store_true", help="print one JSON document, for a script")
    add_address(verb)
    add_access(verb, environ)
