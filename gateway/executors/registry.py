"""The executor of each model, and the health of all models."""

from collections.abc import Callable, Mapping
from typing import Protocol

from gateway.config import Settings
from gateway.contract.execution import Card
from gateway.contract.model import Model
from gateway.contract.requests import Request, Result
from gateway.executors.inline import InlineExecutor
from gateway.executors.remote import ProcessExecutor
from gateway.executors.runner import AnswerChecks, execution_of
from gateway.executors.states import ModelHealth
from gateway.spool.anonymous_files import NewFile


class Executor(Protocol):
    """Runs models."""

    @property
    def memory(self) -> NewFile | None:
        """A maker of memory for requests that another process can read; None where it is not needed."""

    def add(self, model: Model) -> None:
        """Take a model in."""

    def admit(self, model: Model) -> None:
        """Raises Unavailable where a request for this model would find no room now."""

    def card(self, model: Model) -> Card | None:
        """Return the model's identity in names and digests; None before it is set up."""

    def retry_after(self, model: Model) -> int:
        """Whole seconds, by its usual time, until a request of this model is likely to be over."""

    def run(self, model: Model, request: Request, checks: AnswerChecks, gone: Callable[[], bool]) -> Result:
        """Have a request answered. Raises Unavailable, DeadlineExceeded, Cancelled, and what the model raises."""

    def health(self) -> Mapping[str, ModelHealth]:
        """Each model's health by its name; waits for no model."""

    def close(self) -> None:
        """Let go."""


class Executors:
    """The executors of one HTTP worker: its own threads, and the model processes where there are any."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self.inline = InlineExecutor(settings)
        self.processes: ProcessExecutor | None = None
        self._chosen: dict[str, Executor] = {}

    def add(self, model: Model) -> None:
        """Take a model in: to its processes where it has some and they can be reached, else to threads of this one."""
        apart = self.processes is not None and execution_of(model, self._settings).processes
        chosen: Executor = self.processes if self.processes is not None and apart else self.inline
        self._chosen[model.name] = chosen
        chosen.add(model)

    def of(self, model: Model) -> Executor:
        """The one that runs this model."""
        return self._chosen.get(model.name, self.inline)

    def loads(self, model: Model) -> bool:
        """Return True if a model is to be loaded in this process."""
        return self.of(model) is self.inline and model.needs_loading

    def health(self) -> dict[str, ModelHealth]:
        """Of every model, by its name."""
        remote = self.processes.health() if self.processes else {}
        return {**self.inline.health(), **remote}

    def close(self) -> None:
        """Close both."""
        self.inline.close()
        if self.processes is not None:
            self.processes.close()
