"""Output on a terminal: progress on stderr, results on stdout."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

from gateway.client import printable

Report = Callable[[int, int], None]
"""Called with the bytes done and their total."""


class Terminal:
    """Standard output for results, standard error for progress; bars only on a terminal.

    For a ``script`` standard output has one JSON document, and all else is on standard error.
    """

    def __init__(self, *, script: bool = False) -> None:
        self._script = script
        self._out = Console(highlight=False, soft_wrap=True)
        self._err = Console(highlight=False, soft_wrap=True, stderr=True)

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
            yield _reporter(bar, bar.add_task(doing, total=None), next_step)

    @contextmanager
    def bars(self, *doing: str) -> Iterator[list[Report]]:
        """Show a bar for each of several concurrent tasks."""
        with self._progress() as bar:
            yield [_reporter(bar, bar.add_task(label, total=None), "") for label in doing]

    def _progress(self) -> Progress:
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
        )
        return Progress(*columns, console=self._err, transient=True, disable=not self._err.is_terminal)


def _reporter(bar: Progress, task: TaskID, next_step: str) -> Report:
    spinners: list[TaskID] = []

    def report(completed: int, total: int) -> None:
        bar.update(task, completed=completed, total=total)
        if completed == total and next_step and not spinners:
            bar.update(task, visible=False)
            spinners.append(bar.add_task(next_step, total=None))

    return report
