"""``run``: run a model without a server, and check its answer as for a request."""

import cProfile
import os
import pstats
import re
import resource
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import gateway
from gateway.app import Gateway
from gateway.cli.asking import TerminalCaller
from gateway.cli.send_options import SendOptions
from gateway.cli.sending import send
from gateway.cli.terminal import Terminal
from gateway.client import Client, Refused
from gateway.client.local_caller import LOCAL_CALLER, Unanswered
from gateway.client.wsgi import LOCAL, session
from gateway.endpoints.problems import RAISED
from gateway.errors import AnswerInvalid, GatewayError
from gateway.observe.places import in_one_line, is_library
from gateway.targets import served

NOT_FOUND, WRONG = 404, 500
"""Statuses of a missing route, and of an answer that breaks the protocol."""
SHOWN = 20
"""Functions that a profile lists."""
_PLUMBING = re.compile(
    r"gateway/(cli|client|endpoints|app\.py)|(requests|urllib3|flask|werkzeug|rich)/|contextlib|importlib|^~|^<"
)
"""Files that only pass a request on."""
_LIBRARY = re.compile(rf"{re.escape(str(Path(gateway.__file__).parent))}|site-packages|{re.escape(os.__file__[:-5])}")


def run(
    target: str, order: SendOptions, screen: Terminal, *, profile: bool = False, answers: Sequence[str] = ()
) -> list[Path]:
    """Run the model that ``target`` names; return the files written. Raises as ``send`` does, and NoTarget.

    ``answers`` are those to the questions of an interactive model, in order; its previews lie beside the output.
    """
    app = served(target)
    previews = order.out.with_name(f"{order.out.resolve().name}-previews")
    caller = app.extensions[LOCAL_CALLER] = TerminalCaller(answers, screen, previews)
    raised = app.extensions[RAISED] = list[BaseException]()
    try:
        with _profiled(screen) if profile else _timed(screen):
            files = send(order, screen, Client(LOCAL, session=session(app), digest=app.settings.digest))
    except Refused as error:
        if raised and isinstance(raised[0], Unanswered):
            raise Rejected(raised[0].detail) from error
        if raised and not isinstance(raised[0], GatewayError):
            raise ModelRaised(raised[0]) from error
        raise Rejected(_verdict(error, raised, app, order.route)) from error
    if caller.left:
        screen.note(f"answers that no question has taken: {caller.left}")
    screen.say("verdict good: a gateway would send this answer")
    return files


class Rejected(GatewayError):
    """A study or parameters that a gateway would refuse, or an answer that it would not send."""


def _verdict(error: Refused, raised: list[BaseException], app: Gateway, route: str) -> str:
    if error.status == NOT_FOUND and not raised:
        routes = ", ".join(app.service.models) or "none"
        return f"there is no model on the route {route}; this application has {routes}: name one with -r"
    pointer = next((each.pointer for each in raised if isinstance(each, AnswerInvalid)), "")
    verdict = "the answer is wrong" if error.status == WRONG else "a gateway would refuse"
    return f"{verdict}: {f'{pointer} ' if pointer else ''}{error.detail}"


class ModelRaised(Exception):
    """A model that raised; ``traceback`` is Python's, from the author's first frame on."""

    def __init__(self, error: BaseException) -> None:
        super().__init__(in_one_line(error))
        told = traceback.TracebackException.from_exception(error)
        _drop_callers(told)
        self.traceback = "".join(told.format())


def _drop_callers(told: traceback.TracebackException | None) -> None:
    """Drop the frames above the author's, of this error and of those that it came from."""
    while told is not None:
        frames = list(told.stack)
        first = next((number for number, frame in enumerate(frames) if not is_library(frame.filename)), 0)
        told.stack = traceback.StackSummary.from_list(frames[first:])
        told = told.__cause__ or (None if told.__suppress_context__ else told.__context__)


@contextmanager
def _timed(screen: Terminal) -> Iterator[None]:
    started = time.perf_counter()
    yield
    screen.say(f"time    {time.perf_counter() - started:.2f} s, peak memory {_peak()} MiB")


@contextmanager
def _profiled(screen: Terminal) -> Iterator[None]:
    """Print time and memory by function, even if the answer is refused."""
    before, profilers = _peak(), list[cProfile.Profile]()
    try:
        with _timed(screen), _profiling(profilers):
            yield
    finally:
        for line in _rows(pstats.Stats(*profilers)):
            screen.say(line)
        screen.say(f"memory  {before} MiB before, {_peak()} MiB at its peak")


@contextmanager
def _profiling(profilers: list[cProfile.Profile]) -> Iterator[None]:
    """Profile this thread and those that it starts, one of which runs the model."""

    def begin(*_: object) -> None:
        profilers.append(mine := cProfile.Profile())
        mine.enable()

    if sys.version_info < (3, 12):  # from there on one profiler hears of all threads
        threading.setprofile(begin)
    begin()
    try:
        yield
    finally:
        threading.setprofile(None)
        profilers[0].disable()


def _rows(stats: pstats.Stats) -> Iterator[str]:
    """Return the author's functions first, then those of the gateway and of libraries, the longest first."""
    entries = stats.stats.items()  # type: ignore[attr-defined]
    rows = [(not _LIBRARY.search(place[0]), entry[3], entry[2], entry[0], place) for place, entry in entries]
    shown = [row for row in rows if not _PLUMBING.search(row[4][0])]
    yield "seconds  own      calls  function"
    for _, total, own, calls, (file, line, name) in sorted(shown, reverse=True)[:SHOWN]:
        yield f"{total:7.3f}  {own:7.3f}  {calls:5d}  {Path(file).name}:{line} {name}"


def _peak() -> int:
    """Return the peak resident set of the process, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
