"""What a person sees while a study is on its way: progress on stderr, results on stdout."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from gateway.client import Progress as Report
from gateway.client import printable


class Screen:
    """Standard output for what was done, standard error for what is being done; bars only on a terminal."""

    def __init__(self) -> None:
        self._out = Console(highlight=False, soft_wrap=True)
        self._err = Console(highlight=False, soft_wrap=True, stderr=True)

    def say(self, text: str) -> None:
        """One line of the result. Text that a server sent cannot steer the terminal."""
        self._out.print(printable(text), markup=False)

    def note(self, text: str) -> None:
        """One line on what is happening, kept out of a pipe."""
        self._err.print(printable(text), markup=False, style="dim")

    @contextmanager
    def sending(self) -> Iterator[Report]:
        """A bar that fills while the study leaves, then a spinner until the model has answered."""
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeElapsedColumn(),
        )
        bar = Progress(*columns, console=self._err, transient=True, disable=not self._err.is_terminal)
        with bar:
            yield _reporter(bar, bar.add_task("sending", total=None))


def _reporter(bar: Progress, task: TaskID) -> Report:
    def report(sent: int, total: int) -> None:
        bar.update(task, completed=sent, total=total)
        if sent == total:
            bar.update(task, description="the model runs", total=None)

    return report
