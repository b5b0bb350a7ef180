"""Output on a terminal: progress on stderr, results on stdout."""

import getpass
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from gateway.client import printable

Report = Callable[[int, int], None]
"""Called with the bytes done and their total."""
LONGEST_TEXT = 60
"""Characters of a model's own text beside a bar, which a terminal of 100 columns has room for."""


class ShowTask(Protocol):
    """Called with the text of a task, and how much of it is done."""

    def __call__(self, text: str, done: float = 0, total: float | None = None) -> None: ...


class Terminal:
    """Standard output for results, standard error for progress; bars only on a terminal.

    For a ``script`` standard output has one JSON document, and all else is on standard error.
    """

    def __init__(self, *, script: bool = False) -> None:
        self._script = script
        self._out = Console(highlight=False, soft_wrap=True)
        self._err = Console(highlight=False, soft_wrap=True, stderr=True)
        self._live: Progress | None = None
        """The bars that are shown now."""

    def say(self, text: str) -> None:
        """Print a line of the result. Control characters from a server do not reach the terminal."""
        (self._err if self._script else self._out).print(printable(text), markup=False)

    def tell(self, document: Any) -> None:
        """Print the result as JSON for a script."""
        if self._script:
            sys.stdout.write(json.dumps(document, indent=2) + "\n")

    def note(self, text: str) -> None:
        """Print a line of progress, to standard error."""
        self._err.print(printable(text), markup=False, style="dim")

    @contextmanager
    def bar(self, doing: str, next_step: str = "") -> Iterator[Report]:
        """Show a bar that fills while the block reports, then a spinner with ``next_step`` until the block ends."""
        with self._progress() as bar:
            self._live = bar
            try:
                yield _reporter(bar, bar.add_task(doing, total=None), next_step)
            finally:
                self._live = None

    def report(self, text: str, done: float, total: float) -> None:
        """Show how far a model is, in the bar that is shown now."""
        if self._live is not None and self._live.task_ids:
            task, text = self._live.task_ids[-1], printable(text)[:LONGEST_TEXT] or "the model runs"
            self._live.update(task, description=text, completed=done, total=total or None, refresh=True)

    @property
    def can_ask(self) -> bool:
        """Return True where a person can read a question and answer it."""
        return sys.stdin.isatty() and self._err.is_terminal

    def ask(self, prompt: str, *, secret: bool = False) -> str:
        """Return the line that a person types, without an echo of a ``secret``. Raises EOFError at the end of input."""
        if self._live is not None:
            self._live.stop()
        try:
            if secret:
                return getpass.getpass(printable(prompt), stream=sys.stderr)
            self._err.print(printable(prompt), markup=False, end="")
            line = sys.stdin.readline()
            if not line:
                raise EOFError
            return line.rstrip("\n")
        finally:
            if self._live is not None:
                self._live.start()

    @contextmanager
    def bars(self, *doing: str) -> Iterator[list[Report]]:
        """Show a bar for each of several concurrent tasks."""
        with self._progress() as bar:
            yield [_reporter(bar, bar.add_task(label, total=None), "") for label in doing]

    @contextmanager
    def task(self, doing: str) -> Iterator[ShowTask]:
        """Show a bar whose text, done and total are those of the last call; without a total it is a spinner."""
        with self._progress() as bar:
            task = bar.add_task(doing, total=None)

            def show(text: str, done: float = 0, total: float | None = None) -> None:
                text = printable(text)[:LONGEST_TEXT]
                bar.update(task, description=text, completed=done, total=total or None, refresh=True)

            yield show

    @contextmanager
    def counter(self, doing: str, total: int) -> Iterator[Callable[[str], None]]:
        """Show a bar with the rate and the time left, which grows by one with each call; its text is the call's."""
        columns = (MofNCompleteColumn(), _RateColumn(), TimeRemainingColumn())
        with self._progress(*columns) as bar:
            task = bar.add_task(doing, total=total)
            yield lambda text: bar.update(task, description=printable(text)[:LONGEST_TEXT], advance=1)

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table of results; where nobody sees it, lines with tabs between the cells, and no head."""
        if not self._out.is_terminal:
            for row in rows:
                sys.stdout.write("\t".join(map(printable, row)) + "\n")
            return
        table = Table(*columns, box=SIMPLE_HEAD)
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        self._out.print(table)

    def _progress(self, *columns: ProgressColumn) -> Progress:
        """Return bars with ``columns`` behind the text and the bar, or the usual ones."""
        first = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn())
        rest = columns or (TaskProgressColumn(), TimeElapsedColumn())
        return Progress(*first, *rest, console=self._err, transient=True, disable=not self._err.is_terminal)


class _RateColumn(ProgressColumn):
    """Steps in a minute."""

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate * 60:.0f}/min")


def _reporter(bar: Progress, task: TaskID, next_step: str) -> Report:
    spinners: list[TaskID] = []

    def report(completed: int, total: int) -> None:
        bar.update(task, completed=completed, total=total)
        if completed == total and next_step and not spinners:
            bar.update(task, visible=False)
            spinners.append(bar.add_task(next_step, total=None))

    return report
