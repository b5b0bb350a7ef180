"""``routing``: the operator's file of rules checked, and what each rule would do with a study."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.cli.terminal import Terminal
    from gateway.contract.model import Model
    from gateway.routing.rehearsal import Rehearsal
    from gateway.routing.rule_matching import StudySender
    from gateway.routing.rules import Rule

PROGRAM = "python -m gateway"
EPILOG = f"""\
examples:
  {PROGRAM} routing check rules.toml                             each fault of the file, with a sentence
  {PROGRAM} routing check rules.toml service:app                 of its models and their parameters, too
  {PROGRAM} routing check rules.toml service:app --study ct      which rule would take the study, and why others not
  {PROGRAM} routing check rules.toml service:app --study ct --ae CT1   as of this sender

Names of peers are checked where GATEWAY_PEERS is set, and an AE title where GATEWAY_DIMSE_TITLES_FILE is.
exit status: 0 a sound file, and a rule whose model takes the study; 1 neither; 2 wrong usage
"""
COLUMNS = ("rule", "study", "series", "model", "why")


def add_arguments(verb: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """Add the arguments of ``routing``."""
    actions = verb.add_subparsers(dest="action", metavar="ACTION", required=True)
    check = actions.add_parser("check", help="check a file of rules, and try a study on it", allow_abbrev=False)
    check.add_argument("file", type=Path, metavar="FILE", help="file of rules, as GATEWAY_ROUTING names it")
    check.add_argument("app", metavar="APP", nargs="?", help="module:name or file.py of the application that it is for")
    check.add_argument("--study", type=Path, metavar="FOLDER", help="a study: which rule would take it, and why not")
    check.add_argument("--ae", metavar="TITLE", default="", help="AE title that sends it (any sender)")
    check.add_argument("--caller", metavar="NAME", default="", help="caller that owns it (that of the AE title)")
    check.add_argument("--json", action="store_true", help="print JSON, for a script")


def run(arguments: argparse.Namespace, screen: "Terminal") -> str:
    """Check the file, and the study where one is named; return what failed, "" for nothing.

    Raises ValueError with a sentence, GatewayError, OSError.
    """
    from gateway.access.toml_tables import FileFaults
    from gateway.config import Settings
    from gateway.peers.peers_file import read_peers
    from gateway.routing.rules_file import Surroundings, read_rules

    settings = Settings.from_environment()
    peers = None if settings.peers is None else read_peers(settings.peers)
    models = _models(arguments.app)
    try:
        rules = read_rules(arguments.file, Surroundings(models, peers))
    except FileFaults as error:
        for fault in error.faults:
            screen.say(f"fault   {fault}")
        screen.tell({"faults": list(error.faults)})
        return f"{arguments.file} has {_count(len(error.faults), 'fault')}"
    if peers is None and any(rule.destinations or rule.completeness.count_from for rule in rules):
        screen.note("names of peers are not checked: GATEWAY_PEERS is unset")
    if models is None:
        screen.note("models and parameters are not checked: name the application, such as service:app")
    if arguments.study is None:
        screen.say(f"ok      {_count(len(rules), 'rule')}: {', '.join(rule.name for rule in rules)}")
        screen.tell([{"rule": rule.name, "model": rule.model} for rule in rules])
        return ""
    sender = _sender(settings.dimse_titles_file, arguments.ae, arguments.caller)
    return _rehearse(rules, arguments.study, sender, models or {}, screen, json=arguments.json)


def _models(target: str | None) -> "Mapping[str, Model] | None":
    from gateway.targets import served

    return None if target is None else served(target).service.models


def _sender(file: Path | None, title: str, caller: str) -> "StudySender | None":
    """Return who sends the study; None for any sender. Raises ValueError for a title that is not admitted."""
    from gateway.dimse.known_titles import KnownTitles
    from gateway.routing.rule_matching import StudySender

    if not title:
        return StudySender(caller) if caller else None
    if file is not None:
        known = KnownTitles(file).all()
        if title not in known:
            raise ValueError(f"{file}, the file of AE titles, has no {title}: what it sends is rejected.")
        if "store" not in known[title].may:
            raise ValueError(f"{file}, the file of AE titles: {title} may not store.")
        caller = caller or known[title].caller
    return StudySender(caller, (title,))


def _rehearse(
    rules: "Sequence[Rule]",
    study: Path,
    sender: "StudySender | None",
    models: "Mapping[str, Model]",
    screen: "Terminal",
    *,
    json: bool,
) -> str:
    from gateway.dicom.reading.instances import group_by_series, read_study
    from gateway.routing.rehearsal import rehearse

    instances = read_study(study)
    series = len(group_by_series(instances))
    rehearsals = rehearse(rules, instances, sender, models)
    if json:
        screen.tell([_words(one) for one in rehearsals])
    else:
        screen.table(COLUMNS, [_row(one, series) for one in rehearsals])
    return "" if any(one.analysed for one in rehearsals) else "the study would not be analysed by any rule"


def _row(rehearsal: "Rehearsal", series: int) -> Sequence[str]:
    verdict, opinion = rehearsal.verdict, rehearsal.model
    study = "taken" if verdict.taken else "not taken"
    model = "" if not verdict.taken else "not asked" if opinion is None else _opinion(rehearsal.analysed)
    return verdict.rule.name, study, f"{len(verdict.series)} of {series}", model, " ".join(rehearsal.reasons)


def _opinion(accepted: bool) -> str:
    return "accepts" if accepted else "refuses"


def _words(rehearsal: "Rehearsal") -> dict[str, Any]:
    return {
        "rule": rehearsal.verdict.rule.name,
        "model": rehearsal.verdict.rule.model,
        "taken": rehearsal.verdict.taken,
        "series": list(rehearsal.verdict.series),
        "accepted": None if rehearsal.model is None else rehearsal.model.request.accepted,
        "reasons": list(rehearsal.reasons),
    }


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
