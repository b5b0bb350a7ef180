"""``batch``: a model over every study of an archive."""

import argparse
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.connection_options import add_devices, add_skip_unreadable, count
from gateway.contract.requests import MODALITY
from gateway.errors import GatewayError
from gateway.intake.admission import CORES

if TYPE_CHECKING:
    from gateway.app import Gateway
    from gateway.batch.batch_tables import BatchTables, StudyRow
    from gateway.batch.batches import BatchTally
    from gateway.batch.study_finder import FoundStudy
    from gateway.cli.terminal import Terminal
    from gateway.contract.model import Model
    from gateway.service.service import Service

PROGRAM = "python -m gateway"
EPILOG = f"""\
examples:
  {PROGRAM} batch models.app:app -i archive -o results --model /segmentation-3d
  {PROGRAM} batch nodules.py -i archive -o results --jobs 4 --param threshold=-500
  {PROGRAM} batch nodules.py -i archive -o results --resume      go on after an interruption
  {PROGRAM} batch nodules.py -i archive -o results --output dicom --pictures
  {PROGRAM} batch nodules.py --convention grand-challenge        one job, from /input to /output

OUT then has studies.csv, a row for each study; findings.csv, a row for each finding; results, a folder for each study
with the files that send writes; and batch.log. A study that is refused or fails never ends the batch.

exit status: 0 every study answered, 1 some refused or failed, 2 wrong usage, 130 interrupted: --resume goes on
"""
LOG = "batch.log"


class BatchRefused(GatewayError):
    """An application without the model that a batch is to run."""


def add_arguments(verb: argparse.ArgumentParser, option: Any) -> None:
    """Add the arguments of ``batch``; ``option`` reads KEY=VALUE."""
    add = verb.add_argument
    add("app", metavar="APP", help="module:name or file.py of an application or a model, such as models.app:app")
    add("-i", "--input", type=Path, dest="archive", metavar="ARCHIVE", help="folder with studies below")
    add("-o", "--out", type=Path, metavar="OUT", help="folder for tables and results")
    add("-r", "--model", "--route", dest="route", metavar="ROUTE", help="route of the model (the only one, else /)")
    add("--param", help="parameters of the model", type=option, metavar="KEY=VALUE", dest="options", nargs="+")
    add("--modality", default="", help="modality of NIfTI files, such as CT: they do not state it")
    add("--jobs", type=count, default=CORES, metavar="N", help="studies at once, in processes (%(default)s, cores)")
    add_devices(verb)
    add("--ray", metavar="ADDRESS", help="run the model in a Ray cluster: host:port, auto or local (GATEWAY_RAY)")
    add("--resume", action="store_true", help="go on with a batch: settled studies are passed, failed ones tried again")
    add("--output", choices=("arrays", "dicom"), default="arrays", help="masks as .npy, or DICOM objects (%(default)s)")
    add("--pictures", action="store_true", help="draw each study with its findings, and a contact sheet")
    add_skip_unreadable(verb)
    add(
        "--convention",
        choices=("grand-challenge", "map"),
        help="one job of grand-challenge, or of a MAP of MONAI Deploy",
    )
    summary = "output socket of grand-challenge for a label of the model; unset, the label in lower case with hyphens"
    add("--socket", type=option, metavar="LABEL=SLUG", dest="sockets", nargs="+", help=summary)
    add("--json", action="store_true", help="print the counts as one JSON document, for a script")
    verb.set_defaults(options=[], sockets=[])


def run(arguments: argparse.Namespace, screen: "Terminal") -> bool:
    """Run a batch; return True if every study was answered.

    Raises NoTarget, BatchRefused, OtherBatch, ParameterRefused, SourceUnreadable and OSError, each with a sentence.
    """
    from gateway.batch import conventions
    from gateway.batch.batch_tables import BatchTables
    from gateway.batch.study_finder import find_studies

    if arguments.devices is not None:
        os.environ["GATEWAY_DEVICES"] = arguments.devices
    os.environ.setdefault("GATEWAY_MODEL_PROCESSES", str(arguments.jobs))  # every process reads its settings there
    if arguments.ray is not None:
        os.environ["GATEWAY_RAY"] = arguments.ray
    app = _application(arguments.app)
    model = _only(app.service.models, arguments.route)
    if arguments.convention is not None:
        found = conventions.places(arguments.convention)
        arguments.archive, arguments.out = arguments.archive or found.input, arguments.out or found.output
    if arguments.convention == conventions.GRAND_CHALLENGE:
        return _job(arguments, screen, app, model)
    if arguments.convention == conventions.PACKAGE:
        arguments.output = "dicom"
    with screen.task("looking for studies") as show:
        studies = find_studies(arguments.archive, lambda files: show(f"looking for studies: {files:,} files"))
    if not studies:
        raise BatchRefused(f"There is no DICOM file, no NIfTI file and no image below {arguments.archive}.")
    arguments.options += [(MODALITY, arguments.modality)] if arguments.modality else []
    order = {"app": arguments.app, "model": model.name, "parameters": dict(arguments.options)}
    order |= {"output": arguments.output}
    tables = BatchTables.open(arguments.out, order, resume=arguments.resume, studies=studies)
    try:
        with _logged(arguments.out / LOG) as log, _opened(app, arguments.app, log):
            for warning in _unknown(app, model.name, arguments.options):
                screen.note(warning)
            tally = _run(arguments, screen, app.service, model, studies, tables)
    finally:
        tables.close()
    _summarise(tally, arguments.out, screen)
    return tally.whole


def _run(
    arguments: argparse.Namespace,
    screen: "Terminal",
    service: "Service",
    model: "Model",
    studies: "list[FoundStudy]",
    tables: "BatchTables",
) -> "BatchTally":
    from gateway.batch.batches import run_batch
    from gateway.batch.study_inference import StudyInference

    parameters = dict(arguments.options) | ({"output": "dicom"} if arguments.output == "dicom" else {})
    inference = StudyInference(service, model, parameters, skip_unreadable=arguments.skip_unreadable)
    screen.note(f"studies: {len(studies):,}, {arguments.jobs} at once, model {model.name}")
    with screen.counter("studies", len(studies)) as step:

        def report(row: "StudyRow | None") -> None:
            step("studies")
            if row is not None and row.reason:
                screen.note(f"{row.state} {row.study}: {row.reason}")

        pictures = arguments.pictures
        return run_batch(studies, inference, tables, jobs=arguments.jobs, pictures=pictures, report=report)


def _job(arguments: argparse.Namespace, screen: "Terminal", app: "Gateway", model: "Model") -> bool:
    """Run one job of grand-challenge, in this process."""
    from gateway.batch.conventions import Places, run_challenge
    from gateway.batch.study_inference import StudyInference

    app.open()
    try:
        inference = StudyInference(app.service, model, {})
        where, parameters = Places(arguments.archive, arguments.out), dict(arguments.options)
        for path in run_challenge(inference, model, where, parameters, dict(arguments.sockets)):
            screen.say(f"wrote   {path}")
    finally:
        app.close()
    return True


def _unknown(app: "Gateway", route: str, options: list[tuple[str, str]]) -> Iterator[str]:
    """Return a sentence for each parameter that the model does not have."""
    from gateway.cli import undeclared
    from gateway.client import Client
    from gateway.client.wsgi import LOCAL, session

    return undeclared.warnings((name for name, _ in options), route, Client(LOCAL, session=session(app)))


def _application(target: str) -> "Gateway":
    from gateway.app import Gateway
    from gateway.targets import servable

    app = servable(target)
    if not isinstance(app, Gateway):
        raise BatchRefused(f"{target} is not a Gateway")
    return app


def _only(models: "dict[str, Model]", route: str | None) -> "Model":
    """Remove all models but the one to run, so that no other is set up; return it. Raises BatchRefused."""
    if route is None:
        route = next(iter(models)) if len(models) == 1 else "/"
    route = f"/{route.lstrip('/')}"
    if route not in models:
        raise BatchRefused(f"there is no model on {route}; this application has {', '.join(models)}: name one with -r")
    for other in models.keys() - {route}:
        del models[other]
    return models[route]


@contextmanager
def _logged(path: Path) -> Iterator[int]:
    """Write the log to a file within the block, beside the progress bar on the terminal; yield its descriptor."""
    from gateway.config import Settings
    from gateway.observe import jsonlogs

    root = logging.getLogger()
    with path.open("a", encoding="utf-8") as file:
        handler = logging.StreamHandler(file)
        root.addHandler(handler)
        root.setLevel(logging.INFO)
        jsonlogs.format_lines(handler, Settings.from_environment())
        try:
            yield file.fileno()
        finally:
            root.removeHandler(handler)


@contextmanager
def _opened(app: "Gateway", target: str, log: int) -> Iterator[None]:
    """Have the models of an application in processes within the block, as ``serve`` runs them."""
    from gateway.cli.serving import importable
    from gateway.server.shared_state import SupervisorLauncher

    try:
        launcher = SupervisorLauncher(importable(target), log) if app.settings.model_processes else None
    except ValueError as error:  # settings that do not fit together
        raise BatchRefused(str(error)) from error
    try:
        if launcher is not None:
            launcher.ensure()
        app.open(launcher.address if launcher is not None else "")
        yield
    finally:
        app.close()
        if launcher is not None:
            launcher.close()


def _summarise(tally: "BatchTally", out: Path, screen: "Terminal") -> None:
    from gateway.batch.batch_tables import FINDINGS, STUDIES, StudyState

    counts = {state.value: tally.states[state] for state in StudyState}
    words = ", ".join(f"{number:,} {state}" for state, number in counts.items())
    screen.say(f"studies {words}" + (f"; {tally.passed:,} were done before" if tally.passed else ""))
    screen.say(f"wrote   {out / STUDIES}, {out / FINDINGS}")
    screen.tell(counts | {"passed": tally.passed, "studies": str(out / STUDIES), "findings": str(out / FINDINGS)})
