"""``runs``: the runs of a caller on a gateway."""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli.connection_options import add_access, add_address, count, count_or_zero, seconds, url_of
from gateway.cli.connection_options import client as connect

if TYPE_CHECKING:
    from gateway.cli.terminal import Terminal
    from gateway.client import Client, InferenceRun

PROGRAM = "python -m gateway"
EPILOG = f"""\
examples:
  {PROGRAM} send -i study -r /lungs --async            submit a run, and print its id
  {PROGRAM} runs list --state running
  {PROGRAM} runs wait scan-17                          show its progress until it ends
  {PROGRAM} runs result scan-17 -o answer              wait for its answer, and save it
  {PROGRAM} runs events scan-17 --json                 each event as a line of JSON
  {PROGRAM} runs cancel scan-17                        end a run that has not ended
  {PROGRAM} runs forget scan-17                        delete a run that has ended

Pictures need the study: repeat the command that submitted the run, with --run --id ID in place of --async.

exit status: 0 done, and for wait and result: finished; 1 refused, failed, cancelled or not ended in time,
2 wrong usage, 3 no connection, 130 interrupted: the run goes on
"""
COLUMNS = ("id", "state", "route", "progress", "created", "ended")


def add_arguments(verb: argparse.ArgumentParser, environ: Mapping[str, str]) -> None:
    """Add the arguments of ``runs``."""
    actions = verb.add_subparsers(dest="action", metavar="ACTION", required=True)
    for name, (summary, add) in ARGUMENTS.items():
        action = actions.add_parser(name, help=summary, allow_abbrev=False)
        action.description = f"{summary[0].upper()}{summary[1:]}."
        if name != "list":
            action.add_argument("id", metavar="ID", help="id of the run")
        add(action.add_argument)
        action.add_argument("--json", action="store_true", help="print JSON, for a script")
        add_address(action)
        add_access(action, environ)


def _add_list(add: Any) -> None:
    add("--state", default="", help="in this state, such as running or failed")
    add("-r", "--route", default="", metavar="ROUTE", help="of this model")
    add("--since", default="", metavar="TIME", help="created at this time or later, such as 2026-11-21T13:00:00Z")
    add("--limit", type=count, metavar="N", help="the newest N (all)")


def _add_result(add: Any) -> None:
    add("-o", "--output", type=Path, dest="out", default=Path("output"), metavar="OUT", help="folder (%(default)s)")
    add("--legacy-output", dest="legacy", action="store_true", help="masks as bare bytes, all DICOM as sc_N.dcm")
    add("--digest", choices=["sha256", "blake3"], default="sha256", help="digest algorithm of the server (%(default)s)")


def _add_wait(add: Any) -> None:
    add("--for", dest="seconds", type=seconds, metavar="S", help="wait this many seconds at most")


def _add_events(add: Any) -> None:
    add("--after", type=count_or_zero, default=0, metavar="N", help="those behind this number (%(default)s)")


def _add_nothing(add: Any) -> None:
    """The id is all."""


ARGUMENTS: dict[str, tuple[str, Callable[[Any], None]]] = {
    "list": ("list runs, the newest first", _add_list),
    "show": ("show a run", _add_nothing),
    "wait": ("show the progress of a run until it ends", _add_wait),
    "events": ("print the events of a run until it ends", _add_events),
    "result": ("wait for the answer of a run, and save it", _add_result),
    "cancel": ("cancel a run that has not ended", _add_nothing),
    "forget": ("delete a run that has ended, with its input and its answer", _add_nothing),
}


def run(arguments: argparse.Namespace, screen: "Terminal") -> str:
    """Run the action; return why it failed, "" if it did not. Raises ClientError and OSError."""
    with connect(arguments) as client:
        return ACTIONS[arguments.action](arguments, screen, client)


def _list(arguments: argparse.Namespace, screen: "Terminal", client: "Client") -> str:
    found = client.runs(state=arguments.state, route=arguments.route, since=arguments.since, limit=arguments.limit)
    if arguments.json:
        screen.tell([each.words for each in found])
    else:
        screen.table(COLUMNS, map(_row, found))
    return ""


def _row(run: "InferenceRun") -> list[str]:
    return [run.id, run.state, run.route, progress_of(run), *(str(run.words.get(name) or "") for name in COLUMNS[4:])]


def progress_of(run: "InferenceRun") -> str:
    """Return the progress of a run for a person, with the model's own text."""
    from gateway.client.errors import one_line

    progress = run.progress or {}
    numbers = [progress.get(name) for name in ("done", "total")]
    counts = " of ".join(f"{number:g}" for number in numbers if isinstance(number, int | float))
    return one_line(" ".join(filter(None, (counts, str(progress.get("text") or "")))))


def _show(arguments: argparse.Namespace, screen: "Terminal", client: "Client") -> str:
    _describe(client.run(arguments.id), screen)
    return ""


def _describe(run: "InferenceRun", screen: "Terminal") -> None:
    from gateway.cli.run_following import doing

    screen.say(f"run     {run.id}")
    screen.say(f"route   {run.route}")
    screen.say(f"state   {doing(run)}")
    for name in ("created", "started", "ended"):
        if run.words.get(name):
            screen.say(f"{name:7} {run.words[name]}")
    if progress := progress_of(run):
        screen.say(f"done    {progress}")
    if run.problem:
        screen.say(f"problem {_problem(run)}")
    screen.tell(run.words)


def _wait(arguments: argparse.Namespace, screen: "Terminal", client: "Client") -> str:
    from gateway.cli.run_following import follow, going_on

    run = client.run(arguments.id)
    with going_on(run, url_of(arguments.host, arguments.port), screen):
        if arguments.seconds is None:
            follow(run, screen)
            run.refresh()
        else:
            with screen.task(run.state):
                run.wait(arguments.seconds)
    _describe(run, screen)
    return _verdict(run)


def _verdict(run: "InferenceRun") -> str:
    if not run.ended:
        return f"the run {run.id} has not ended yet; it goes on"
    return (
        ""
        if run.state == "finished"
        else f"the run {run.id} is {run.state}{': ' if run.problem else ''}{_problem(run)}"
    )


def _problem(run: "InferenceRun") -> str:
    from gateway.client.errors import one_line

    problem = run.problem or {}
    return one_line(str(problem.get("detail") or problem.get("title") or ""))


def _events(arguments: argparse.Namespace, screen: "Terminal", client: "Client") -> str:
    from gateway.cli.run_following import going_on

    run = client.run(arguments.id)
    with going_on(run, url_of(arguments.host, arguments.port), screen):
        for event in run.events(arguments.after):
            if arguments.json:
                words = {"sequence": event.sequence, "event": event.kind, "data": event.data}
                sys.stdout.write(json.dumps(words) + "\n")
                sys.stdout.flush()
            else:
                text = event.data.get("state") if event.kind == "state" else json.dumps(event.data)
                screen.say(f"{event.sequence:<7} {event.kind:9} {text}")
    return ""


def _result(arguments: argparse.Namespace, screen: "Terminal", client: "Client") -> str:
    from gateway.cli.run_following import follow, going_on
    from gateway.cli.send_options import SendOptions
    from gateway.cli.sending import document, summary
    from gateway.client.folders import require_free

    order = SendOptions(out=arguments.out, host=arguments.host, port=arguments.port, digest=arguments.digest)
    order.out.mkdir(parents=True, exist_ok=True)  # fails now, and not after the run
    require_free(order.out)
    run = client.run(arguments.id)
    with going_on(run, order.url, screen):
        follow(run, screen)
        answer = run.answer()
    files = answer.save(order.out, legacy=arguments.legacy)
    for line in summary(order, answer, files, []):
        screen.say(line)
    screen.tell(document(order, answer, files))
    return ""


def _cancel(arguments: argparse.Namespace, screen: "Terminal", client: "Client") -> str:
    run = client.run(arguments.id)
    run.cancel()
    screen.say(f"run     {run.id} is asked to end")
    screen.tell(run.words)
    return ""


def _forget(arguments: argparse.Namespace, screen: "Terminal", client: "Client") -> str:
    run = client.run(arguments.id)
    run.forget()
    screen.say(f"run     {run.id} is deleted")
    screen.tell({"id": run.id, "forgotten": True})
    return ""


ACTIONS: dict[str, Callable[[argparse.Namespace, "Terminal", "Client"], str]] = {
    "list": _list,
    "show": _show,
    "wait": _wait,
    "events": _events,
    "result": _result,
    "cancel": _cancel,
    "forget": _forget,
}
