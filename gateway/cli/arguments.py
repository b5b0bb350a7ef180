"""The command line's arguments. argparse, since the predecessor's flags take several values each (``-a FILE FILE``)."""

import argparse
import os
import ssl
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gateway import __version__
from gateway.cli import (
    audits,
    batching,
    delivery_verbs,
    keys,
    networking,
    ohif_verb,
    pair_verbs,
    peer_verbs,
    routing_verbs,
    run_verbs,
    storing,
    study_verbs,
    webhook_verbs,
)
from gateway.cli.connection_options import (
    add_access,
    add_devices,
    add_skip_unreadable,
    count,
    count_or_zero,
    port_number,
)
from gateway.config import DEFAULT_PORT

PROGRAM = "python -m gateway"
STATUS = "exit status: 0 done, 1 refused or failed, 2 wrong usage, 3 no connection, 130 interrupted"

EPILOG = f"""\
examples:
  {PROGRAM} phantom study                   a study to try things with
  {PROGRAM} serve models.app:app            serve the example models
  {PROGRAM} send -i study -o answer         send the study to the model on /

{STATUS}
"""

SERVE_EPILOG = f"""\
examples:
  {PROGRAM} serve models.app:app
  GATEWAY_API_KEYS_FILE=keys.json {PROGRAM} serve service:app --host 0.0.0.0 --port 80 --workers 2
  {PROGRAM} serve models.app:app --workers 4 --model-processes 1   each model once, behind four HTTP processes

Defaults come from HOST, PORT, WEB_CONCURRENCY and THREADS where these are set, and the gateway's own settings from
GATEWAY_* variables.
"""

SEND_EPILOG = f"""\
examples:
  {PROGRAM} send -i study -o answer -l                       draw labels on the pictures
  {PROGRAM} send -i study -o answer -a lung.nii rules.json   two attachments, sent before the DICOM files
  {PROGRAM} send -i study -o answer -R threshold=0.4 side=left
  {PROGRAM} send -o answer --request-study-path 2026/ct-17   the server reads it below its own study root
  {PROGRAM} send -i study -r /lungs --run                    show the model's progress; interrupted, the run goes on
  {PROGRAM} send -i study -r /lungs --async                  print the run's id, and end

Long names may be written with underscores. The answer's hashes are checked before anything is written.
{STATUS}
"""

RUN_EPILOG = f"""\
examples:
  {PROGRAM} run models.segmentation_3d:segment -i study -o answer
  {PROGRAM} run nodules:find -i study --param threshold=-500 --profile
  {PROGRAM} run lesion.py -i study --answer 12,40,37 --answer liver
  {PROGRAM} run music/wrapper.py     run with its own test values, checked by its contract

{STATUS}
"""

DOCTOR_EPILOG = f"""\
examples:
  {PROGRAM} doctor
  {PROGRAM} doctor --app models.app:app --port 80
  {PROGRAM} doctor --json

It reads the environment as serve does. exit status: 0 no failed check, 1 a failed check, 2 wrong usage
"""

STUDY = "folder of DICOM, PNG or JPEG files, or a NIfTI file"
MODALITY_HELP = "modality of a NIfTI file, such as CT: it does not state it"
SEVERAL: dict[str, Any] = {"nargs": "+", "action": "extend", "default": []}
MODELS = (
    ("mask", "-s", "--segmentation-model", "a segmentation"),
    ("box", "-b", "--bounding-box-model", "bounding boxes"),
    ("label", "-cl", "--classification-model", "labels"),
)


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Read a command line; wrong usage ends the program with status 2."""
    texts = sys.argv[1:] if argv is None else argv
    root = parser(os.environ)
    arguments = root.parse_args([_dashed(text) for text in texts])
    if arguments.verb == "send" and not (arguments.study or arguments.study_path):
        root.error("send needs a study: -i STUDY, or --request-study-path PATH of one below the server's study root")
    if arguments.verb == "send" and (arguments.detached or arguments.run_id or arguments.webhook):
        arguments.as_run = True
    if arguments.verb == "send" and arguments.detached and arguments.receipt:
        root.error("--receipt is of an answer, which --async does not wait for: leave out one of them")
    if getattr(arguments, "cert_key", None) and not arguments.cert:
        root.error("--cert-key needs --cert, the certificate that the key belongs to")
    if arguments.verb == "batch" and not arguments.convention and not (arguments.archive and arguments.out):
        root.error("batch needs an archive and a folder for its results: -i ARCHIVE -o OUT")
    if arguments.verb == "replay" and bool(arguments.target) == bool(arguments.url):
        root.error("replay needs a model: TARGET, to run it here, or --url of a gateway that serves it")
    return arguments


def parser(environ: Mapping[str, str]) -> argparse.ArgumentParser:
    """Return the parser of the whole command line; ``serve`` takes its defaults from ``environ``."""
    root = argparse.ArgumentParser(PROGRAM, description="Serve imaging models, and try them.", epilog=EPILOG)
    root.formatter_class = argparse.RawDescriptionHelpFormatter
    root.add_argument("--version", action="version", version=f"gateway {__version__}")
    verbs = root.add_subparsers(dest="verb", metavar="VERB", required=True)
    _add_serve(_verb(verbs, "serve", "serve an application with gunicorn", SERVE_EPILOG), environ)
    send = _verb(verbs, "send", "send a study, check the answer and draw it", SEND_EPILOG)
    _add_study(send)
    add_skip_unreadable(send)
    _add_request(send)
    add_access(send, environ)
    _add_answer(send)
    run = _verb(verbs, "run", "run a model without a server and check its answer", RUN_EPILOG)
    _add_run(run)
    batching.add_arguments(
        _verb(verbs, "batch", "run a model over every study of an archive", batching.EPILOG), _option
    )
    for name, add_arguments in storing.ARGUMENTS.items():
        add_arguments(_verb(verbs, name, storing.SUMMARIES[name], storing.EPILOGS[name] + f"\n{STATUS}\n"), environ)
    run_verbs.add_arguments(_verb(verbs, "runs", "look at runs, wait for them, cancel them", run_verbs.EPILOG), environ)
    studies = _verb(verbs, "studies", "list studies that arrived and what became of them", study_verbs.EPILOG)
    study_verbs.add_arguments(studies, environ)
    webhooks = _verb(verbs, "webhooks", "list and retry webhooks, and add their secrets", webhook_verbs.EPILOG)
    webhook_verbs.add_arguments(webhooks, environ)
    deliveries = _verb(verbs, "deliveries", "list and retry results on their way to peers", delivery_verbs.EPILOG)
    delivery_verbs.add_arguments(deliveries, environ)
    peers = _verb(verbs, "peers", "search other systems, fetch studies from them and send files", peer_verbs.EPILOG)
    peer_verbs.add_arguments(peers, environ)
    routing = _verb(verbs, "routing", "check a file of rules, and which rule takes a study", routing_verbs.EPILOG)
    routing_verbs.add_arguments(routing, environ)
    dimse = _verb(verbs, "dimse", "serve the DICOM network beside the HTTP server", networking.EPILOG)
    networking.add_arguments(dimse, environ)
    ohif = _verb(verbs, "ohif", "serve OHIF, which shows the studies of a gateway's DICOMweb", ohif_verb.EPILOG)
    ohif_verb.add_arguments(ohif, environ)
    schema = _verb(verbs, "schema", "print the OpenAPI description of an application")
    schema.add_argument("app", metavar="APP", help="module:name of a Gateway, such as models.app:app")
    new = _verb(verbs, "new", "create a model project with a test and a Dockerfile")
    new.add_argument("name", metavar="NAME", help="lower-case letters, digits and underscores, such as lung_nodules")
    new.add_argument("--gateway", metavar="WHERE", help="checkout or wheel to take the gateway from")
    phantom = _verb(verbs, "phantom", "write a CT-like series with known spheres")
    phantom.add_argument("out", type=Path, metavar="OUT", help="folder for its slices")
    keys.add_arguments(_verb(verbs, "keys", "add, list and revoke API callers", keys.EPILOG), environ)
    pairs = _verb(verbs, "key-pairs", "add, list and revoke key pairs of Backend.AI's API", pair_verbs.EPILOG)
    pair_verbs.add_arguments(pairs, environ)
    audits.add_arguments(_verb(verbs, "audit", "verify the audit chain", audits.EPILOG))
    _add_replay(_verb(verbs, "replay", "reproduce an answer from its receipt, and compare", audits.REPLAY_EPILOG))
    _add_doctor(_verb(verbs, "doctor", "check this machine, its settings and its codecs", DOCTOR_EPILOG))
    return root


def _verb(verbs: Any, name: str, summary: str, epilog: str = "") -> argparse.ArgumentParser:
    verb: argparse.ArgumentParser = verbs.add_parser(name, help=summary, epilog=epilog, allow_abbrev=False)
    verb.description = f"{summary[0].upper()}{summary[1:]}."
    verb.formatter_class = argparse.RawDescriptionHelpFormatter
    return verb


def _dashed(word: str) -> str:
    """Return a long option with dashes; the predecessor's has underscores."""
    name, equals, value = word.partition("=")
    return name.replace("_", "-") + equals + value if name.startswith("--") else word


def _add_serve(verb: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    add = verb.add_argument
    host, port = environ.get("HOST") or "127.0.0.1", environ.get("PORT") or str(DEFAULT_PORT)
    workers, threads = environ.get("WEB_CONCURRENCY") or "1", environ.get("THREADS") or None
    add("app", metavar="APP", help="module:name or file.py of an application or a model, such as models.app:app")
    add("--host", default=host, help="address to listen on (%(default)s)")
    add("-p", "--port", type=port_number, default=port, help="port to listen on, 0 for any free one (%(default)s)")
    add(
        "--workers",
        type=count,
        default=workers,
        metavar="N",
        help="HTTP processes, each with its models where those have no processes of their own (%(default)s)",
    )
    add("--threads", type=count, default=threads, metavar="N", help="requests at once in each process (16)")
    add(
        "--model-processes",
        type=count_or_zero,
        metavar="N",
        help="processes for each model, shared by all workers; 0 runs models in the workers (GATEWAY_MODEL_PROCESSES)",
    )
    add_devices(verb)
    add("--ray", metavar="ADDRESS", help="run models in a Ray cluster: host:port, auto or local (GATEWAY_RAY)")
    add("--timeout", type=count, metavar="S", help="seconds without a sign of life before a worker is killed (900)")
    add("--graceful-timeout", type=count, metavar="S", help="seconds for running requests after SIGTERM (630)")
    add(
        "--allow-anonymous",
        action="store_true",
        help="serve callers without a name beyond this machine, the study store included (GATEWAY_ALLOW_ANONYMOUS)",
    )
    tls = verb.add_argument_group("TLS").add_argument
    tls("--certfile", metavar="PEM", help="certificate chain of the server")
    tls("--keyfile", metavar="PEM", help="its private key")
    tls("--ca-certs", metavar="PEM", help="CA certificates for client certificates")
    verify: dict[str, Any] = {"action": "store_const", "const": int(ssl.CERT_REQUIRED), "dest": "cert_reqs"}
    tls("--require-client-certificate", help="require a client certificate", **verify)


def _add_doctor(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    add("--app", metavar="APP", help="module:name of a Gateway: import it too, and check its models' files")
    add("-p", "--port", type=port_number, help=f"port to listen on (PORT, else {DEFAULT_PORT})")
    add("--json", action="store_true", help="one JSON object instead of a table")


def _add_study(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument_group("the study").add_argument
    files: dict[str, Any] = {"type": Path, "metavar": "FILE"} | SEVERAL
    add("-i", "--input", type=Path, dest="study", metavar="STUDY", help=STUDY)
    add("--modality", default="", help=MODALITY_HELP)
    add("-a", "--attachments", help="sent first", **files)
    add(
        "--request-study-path",
        dest="study_path",
        default="",
        metavar="PATH",
        help="path below the server's study root, instead of -i",
    )


def _add_run(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument
    options: dict[str, Any] = {"type": _option, "metavar": "KEY=VALUE", "dest": "options"} | SEVERAL
    add(
        "target",
        metavar="TARGET",
        help="module:name or file.py:name of a model or an application, or the file of an AIGES wrapper",
    )
    add("-i", "--input", type=Path, dest="study", metavar="STUDY", help=STUDY)
    add("--modality", default="", help=MODALITY_HELP)
    add("-a", "--attachments", help="given first", type=Path, metavar="FILE", **SEVERAL)
    add("--param", help="parameters of the model", **options)
    add_skip_unreadable(verb)
    add("-r", "--route", default="/", help="route of the model, where TARGET is an application (%(default)s)")
    add(
        "--answer",
        dest="answers",
        metavar="VALUE",
        action="append",
        default=[],
        help="answer to the next question of an interactive model: a text, a number, s,r,c or JSON; repeat it in order",
    )
    add("--devices", metavar="DEVICE", help="device of the model: cuda:1, auto or none (GATEWAY_DEVICES)")
    add("--profile", action="store_true", help="profile time and memory")
    _add_answer(verb)
    verb.set_defaults(
        host="127.0.0.1", port=DEFAULT_PORT, study_path="", command="", kind=None, study_size=False, timeout=None
    )
    verb.set_defaults(digest="sha256", store=False, as_run=False, detached=False, run_id=None, webhook=None)


def _add_replay(verb: argparse.ArgumentParser) -> None:
    audits.add_replay(verb)
    add_skip_unreadable(verb)
    verb.add_argument("-a", "--attachments", help="sent first", type=Path, metavar="FILE", **SEVERAL)
    _add_members(verb.add_argument)


def _add_request(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument_group("the request").add_argument
    add("--host", default="127.0.0.1", help="name or address of the gateway, or a whole URL (%(default)s)")
    add("-p", "--port", type=port_number, default=DEFAULT_PORT, help="its port (%(default)s)")
    add("--store", action="store_true", help="upload the study once, and request by reference")
    add("-r", "--route", default="/", help="route of the model (%(default)s)")
    _add_members(add)
    add("--timeout", type=count, metavar="S", help="seconds to wait for a silent server (1800)")
    add("--digest", choices=["sha256", "blake3"], default="sha256", help="digest algorithm of the server (%(default)s)")
    _add_as_run(verb)
    add("--receipt", type=Path, metavar="FILE", help="request a receipt of the answer, and write it to this file")


def _add_as_run(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument_group("as a run, which outlives this command (the gateway needs a store)").add_argument
    add("--run", dest="as_run", action="store_true", help="show the model's progress, and outlive a broken connection")
    add("--async", dest="detached", action="store_true", help="print the run's id, and do not wait for the answer")
    add("--id", dest="run_id", metavar="ID", help="id of the run; with the same input it continues that run")
    add("--webhook", metavar="URL", help="receives the end of the run, where the gateway allows its origin")


def _add_members(add: Any) -> None:
    """Add the options for members of a request's JSON; the command is one."""
    options: dict[str, Any] = {"type": _option, "metavar": "KEY=VALUE", "dest": "options"} | SEVERAL
    add("-c", "--inference-command", dest="command", default="", metavar="COMMAND", help="its inference_command")
    for kind, short, name, findings in MODELS:
        add(short, name, dest="kind", action="store_const", const=kind, help=f"choose the command for {findings}")
    add("-S", "--send-study-size", dest="study_size", action="store_true", help="send depth, height and width")
    add("-R", "--request-options", help="further JSON members, as strings", **options)


def _add_answer(verb: argparse.ArgumentParser) -> None:
    add = verb.add_argument_group("the answer").add_argument
    add("-o", "--output", type=Path, dest="out", default=Path("output"), metavar="OUT", help="folder (%(default)s)")
    add("-l", "--include-label-plots", dest="labels", action="store_true", help="draw labels on the pictures")
    add("--nifti", action="store_true", help="write each mask as mask_N.nii.gz too (extra nifti)")
    add("--legacy-output", dest="legacy", action="store_true", help="masks as bare bytes, all DICOM as sc_N.dcm")
    add("--json", action="store_true", help="print one JSON document, for a script")


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not key or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE")
    return key, value
