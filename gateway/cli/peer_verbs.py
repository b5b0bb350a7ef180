"""``peers``: the operator's view of the systems that the gateway calls, and searches and transfers by hand."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.cli.connection_options import count
from gateway.errors import GatewayError

if TYPE_CHECKING:
    from gateway.cli.terminal import Terminal
    from gateway.peers.peer import Level, Match, Peer
    from gateway.peers.peer_directory import PeerDirectory
    from gateway.peers.peer_entries import PeerEntry

PROGRAM = "python -m gateway"
VARIABLE = "GATEWAY_PEERS"
EPILOG = f"""\
examples:
  {PROGRAM} peers list                                          the peers of the file, without their secrets
  {PROGRAM} peers echo                                          ask each whether it answers
  {PROGRAM} peers find pacs PatientID=4711 StudyDate=20260101-  studies, by attributes as DICOM matches them
  {PROGRAM} peers find pacs --study 1.2.3 --level series
  {PROGRAM} peers fetch pacs 1.2.3 -o ct                        a study into a folder, as it is stored there
  {PROGRAM} peers send pacs ct/                                 DICOM files to the peer

exit status: 0 done, 1 refused or failed, 2 wrong usage
"""
COLUMNS: "Mapping[Level, Sequence[tuple[str, str]]]" = {
    "study": (
        ("StudyInstanceUID", "0020000D"),
        ("StudyDate", "00080020"),
        ("PatientID", "00100020"),
        ("ModalitiesInStudy", "00080061"),
        ("StudyDescription", "00081030"),
        ("Instances", "00201208"),
    ),
    "series": (
        ("SeriesInstanceUID", "0020000E"),
        ("Modality", "00080060"),
        ("SeriesNumber", "00200011"),
        ("SeriesDescription", "0008103E"),
        ("Instances", "00201209"),
    ),
    "instance": (("SOPInstanceUID", "00080018"), ("SOPClassUID", "00080016"), ("InstanceNumber", "00200013")),
}


def add_arguments(verb: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """Add the arguments of ``peers``."""
    verb.set_defaults(json=False)
    actions = verb.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="list the peers of the file", allow_abbrev=False)
    echo = actions.add_parser("echo", help="ask peers whether they answer", allow_abbrev=False)
    echo.add_argument("names", metavar="PEER", nargs="*", help="all without one")
    find = actions.add_parser("find", help="search for studies, series or instances", allow_abbrev=False)
    find.add_argument("peer", metavar="PEER")
    find.add_argument("filters", metavar="KEYWORD=VALUE", nargs="*", help="attributes to match, such as PatientID=4711")
    find.add_argument("--level", choices=tuple(COLUMNS), default="study", help="what to search for (%(default)s)")
    find.add_argument("--study", metavar="UID", default="", help="within this study")
    find.add_argument("--series", metavar="UID", default="", help="within this series of the study")
    find.add_argument("--limit", type=count, default=100, metavar="N", help="N matches at most (%(default)s)")
    fetch = actions.add_parser("fetch", help="fetch a study into a folder", allow_abbrev=False)
    fetch.add_argument("peer", metavar="PEER")
    fetch.add_argument("study", metavar="UID", help="Study Instance UID")
    fetch.add_argument("--series", metavar="UID", default="", help="this series alone")
    fetch.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER", help="new or empty")
    send = actions.add_parser("send", help="send DICOM files", allow_abbrev=False)
    send.add_argument("peer", metavar="PEER")
    send.add_argument("paths", type=Path, nargs="+", metavar="PATH", help="files, and folders with all below them")
    for action in (listing, echo, find, fetch, send):
        action.add_argument("--file", default=environ.get(VARIABLE, ""), help=f"file of peers (${VARIABLE})")
    for action in (listing, find, send):
        action.add_argument("--json", action="store_true", help="print JSON, for a script")


def run(arguments: argparse.Namespace, screen: "Terminal") -> str:
    """Run the action; return what failed, "" for nothing. Raises ValueError with a sentence, OSError, GatewayError."""
    with _directory(arguments.file) as peers:
        return ACTIONS[arguments.action](arguments, screen, peers)


@contextmanager
def _directory(file: str) -> Iterator["PeerDirectory"]:
    from gateway.observe.logs import quiet_libraries
    from gateway.peers.peer_directory import PeerDirectory

    if not file:
        raise ValueError(f"peers needs a file: --file FILE, or {VARIABLE}.")
    quiet_libraries(log_exception_text=False)
    peers = PeerDirectory.open(Path(file), lambda *_: None)
    try:
        yield peers
    finally:
        peers.close()


def _peer(peers: "PeerDirectory", name: str) -> "Peer":
    try:
        return peers.peer(name)
    except KeyError:
        raise ValueError(f"The file of peers has no {name}; it has {', '.join(peers.entries)}.") from None


def _list(arguments: argparse.Namespace, screen: "Terminal", peers: "PeerDirectory") -> str:
    words = [_words(entry) for entry in peers.entries.values()]
    if arguments.json:
        screen.tell(words)
    else:
        screen.table(tuple(words[0]), ([str(value) for value in each.values()] for each in words))
    return ""


def _words(entry: "PeerEntry") -> dict[str, str]:
    web, dimse = entry.web, entry.dimse
    kind = "token" if web and (web.token or web.token_file) else "basic" if web and web.user else ""
    certificate = "certificate" if web and web.certificate else ""
    return {
        "name": entry.name,
        "dicomweb": web.url if web else "",
        "credentials": " and ".join(filter(None, (kind, certificate))) or "none",
        "dimse": f"{dimse.aet} at {dimse.host}:{dimse.port}" if dimse else "",
        "callers": " ".join(entry.callers) or "none",
    }


def _echo(arguments: argparse.Namespace, screen: "Terminal", peers: "PeerDirectory") -> str:
    chosen = [_peer(peers, name) for name in arguments.names or peers.entries]
    failed = []
    for peer in chosen:
        try:
            peer.echo()
            screen.say(f"ok      {peer.name}")
        except GatewayError as error:
            failed.append(peer.name)
            screen.say(f"failed  {peer.name}: {error.detail}{f' ({error.private})' if error.private else ''}")
    return f"{len(failed)} of {len(chosen)} peers failed: {', '.join(failed)}" if failed else ""


def _find(arguments: argparse.Namespace, screen: "Terminal", peers: "PeerDirectory") -> str:
    from gateway.dicom.web.query_attributes import is_defined
    from gateway.peers.peer import PeerQuery

    if any("=" not in text for text in arguments.filters):
        raise ValueError("A filter is a keyword of DICOM and a value, such as PatientID=4711.")
    filters = dict(text.split("=", 1) for text in arguments.filters)
    for keyword in filters:
        if not is_defined(keyword):  # a peer may ignore it, and match everything
            raise ValueError(f"{keyword} is no keyword of DICOM (PS3.6), such as PatientID.")
    columns = COLUMNS[arguments.level]
    fields = [name for name, _ in columns if name != "Instances"]
    query = PeerQuery(arguments.level, arguments.study, arguments.series, filters, fields, arguments.limit)
    matches = list(_peer(peers, arguments.peer).find(query))
    if arguments.json:
        screen.tell(matches)
    else:
        screen.table([name for name, _ in columns], ([_text(match, tag) for _, tag in columns] for match in matches))
    return ""


def _text(match: "Match", tag: str) -> str:
    """Return the values of an attribute, as DICOM separates them (PS3.5 6.4)."""
    values = match.get(tag, {}).get("Value")
    return "\\".join(str(value) for value in values) if isinstance(values, list) else ""


def _fetch(arguments: argparse.Namespace, screen: "Terminal", peers: "PeerDirectory") -> str:
    from gateway.cli.peer_folder import FolderSink
    from gateway.config import Settings
    from gateway.peers.peer import FetchLimits, FetchTarget

    settings, target = Settings.from_environment(), FetchTarget(arguments.study, arguments.series)
    limits = FetchLimits(settings.max_body_bytes, settings.max_study_files)
    with FolderSink(arguments.output, arguments.study) as sink, screen.task("fetching") as show:
        peer = _peer(peers, arguments.peer)
        peer.fetch(target, sink, limits, lambda: show(f"fetching: {_files(sink.files)}"))
        sink.keep()
    screen.say(f"fetched {_files(sink.files)} into {arguments.output}")
    return ""


def _send(arguments: argparse.Namespace, screen: "Terminal", peers: "PeerDirectory") -> str:
    from gateway.cli.peer_folder import outgoing
    from gateway.peers.peer import SendReport
    from gateway.peers.web_store import batches

    found, skipped = outgoing(arguments.paths)
    if not found:
        raise ValueError("There is no DICOM file at these paths.")
    peer, done, outcome = _peer(peers, arguments.peer), 0, SendReport()
    with screen.task("sending") as show:
        for batch in batches(found):
            show(f"sending: {done} of {_files(len(found))}", done, len(found))
            part = peer.store(batch)
            outcome.stored += part.stored
            outcome.refused += part.refused
            done += len(batch)
    for refused in outcome.refused:
        screen.note(f"refused {refused.sop_instance_uid}: {_reason(refused.reason)}")
    screen.say(f"stored  {_files(len(outcome.stored))}{f'; {_files(skipped)} of another kind' if skipped else ''}")
    refusals = [{"sop_instance_uid": each.sop_instance_uid, "reason": each.reason} for each in outcome.refused]
    screen.tell({"stored": [each.sop_instance_uid for each in outcome.stored], "refused": refusals})
    return f"the peer did not store {_files(len(outcome.refused))}" if outcome.refused else ""


def _reason(reason: int) -> str:
    return f"reason {reason:04X}H" if reason else "without a reason"


def _files(number: int) -> str:
    return f"{number} file{'' if number == 1 else 's'}"


ACTIONS = {"list": _list, "echo": _echo, "find": _find, "fetch": _fetch, "send": _send}
