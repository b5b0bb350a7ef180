"""One run: an inference on the gateway that outlives the connection, its client and the server's process."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from gateway.client.answer import Answer
from gateway.client.catalog import Record, safe
from gateway.client.errors import ClientError, TimedOut, one_line
from gateway.client.event_stream import ENDED, StreamedEvent
from gateway.client.inference_requests import Inference, checked, naming
from gateway.client.result import InferenceCall, InferenceResult
from gateway.client.run_requests import RunRequests
from gateway.client.transport import Outage
from gateway.client.unreadable import Unreadable
from gateway.contract.brief import Brief, line_of
from gateway.contract.interaction import Reply
from gateway.protocol.questions import reply_words

if TYPE_CHECKING:
    from gateway.dicom.reading.instances import Instance

WAITING = "waiting-input"
"""The state of a run whose model has asked a question."""
STATE_MEMBERS = ("state", "position", "problem", "question", "started", "ended")
"""Members of a run that an event of its state may have."""


@dataclass(frozen=True, repr=False)
class RunInput(Brief):
    """What this client submitted a run with; empty for a run of another client. ``digest`` computes its digest."""

    source: "tuple[Instance, ...]" = ()
    words: Mapping[str, Any] | None = None
    skipped: tuple[Unreadable, ...] = ()
    digest: Callable[[], str] | None = None


class InferenceRun:
    """A run of a gateway, as ``Client.submit``, ``Client.run`` and ``Client.runs`` return it.

    ``state``, ``progress`` and ``problem`` are those of the last look: ``refresh``, ``wait`` and ``events`` look again.
    The run goes on without this object. All methods raise ClientError.
    """

    def __init__(self, requests: RunRequests, inference: Inference, record: Record, given: RunInput) -> None:
        self._requests, self._inference, self._given = requests, inference, given
        self._record = record

    @property
    def id(self) -> str:
        """The run's id, by which ``Client.run`` finds it again."""
        return one_line(str(self._record.get("id", "")))

    @property
    def route(self) -> str:
        """The route of the model."""
        return one_line(str(self._record.get("route", "")))

    @property
    def state(self) -> str:
        """``queued``, ``running``, ``waiting-input``, ``finished``, ``refused``, ``failed`` or ``cancelled``."""
        return one_line(str(self._record.get("state", "")))

    @property
    def ended(self) -> bool:
        """True once the state does not change any more."""
        return self.state in ENDED

    @property
    def progress(self) -> Record | None:
        """The model's last report, ``done``, ``total`` and ``text``; None without one."""
        return _member(self._record, "progress")

    @property
    def question(self) -> Record | None:
        """What the model asked while the state is ``waiting-input``: answer it with ``reply``."""
        return _member(self._record, "question")

    @property
    def problem(self) -> Record | None:
        """The problem (RFC 9457) of a refused or failed run."""
        return _member(self._record, "problem")

    @property
    def words(self) -> Record:
        """The run as the gateway describes it, for a script."""
        return dict(self._record)

    def refresh(self) -> "InferenceRun":
        """Look at the run again; returns itself."""
        self._record = self._requests.read(self.id)
        return self

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the run has ended or asks a question, ``timeout`` seconds at most; returns True if it has ended.

        A server that is away, restarted for example, is waited for.
        """
        if self.state == WAITING:  # somebody else may have answered since
            self.refresh()
        deadline = None if timeout is None else time.monotonic() + timeout
        outage = Outage(self._requests.transport)
        while not self.ended and self.state != WAITING:
            left = float("inf") if deadline is None else deadline - time.monotonic()
            if left <= 0:
                return False
            try:
                self._record = self._requests.wait(self.id, self._sequence, left)
                outage.end()
            except ClientError as error:
                outage.bear(error)
        return self.ended

    def events(self, after: int = 0) -> Iterator[StreamedEvent]:
        """Yield the run's events from number ``after`` on until it ends; a broken connection is made again.

        None is left out or repeated, but for reports of progress, of which the newest counts.
        """
        for event in self._requests.events(self.id, after):
            news = {name: event.data[name] for name in STATE_MEMBERS if name in event.data}
            if event.kind == "progress":
                news = {"progress": event.data}
            if event.kind == "question":
                news = {"question": event.data | {"sequence": event.sequence}}
            self._record = self._record | news | {"sequence": event.sequence}
            yield event

    def result(self, timeout: float | None = None) -> InferenceResult:
        """Wait for the result, and return it as ``Client.infer`` does. Raises as ``answer``.

        It has the geometry of the study where this object submitted it; a run of another client has no local files.
        """
        answer = self.answer(timeout)
        call = InferenceCall(self.route, self._given.words or {}, datetime.now(UTC))
        return InferenceResult(answer, self._given.source, call, self._given.skipped)

    def answer(self, timeout: float | None = None) -> Answer:
        """Wait for the answer, and return it as ``Client.ask`` does, checked against the submitted bytes.

        Raises Refused with the problem of a run that was refused, failed or cancelled, and TimedOut after ``timeout``
        seconds, or at a question of the model: the run then goes on.
        """
        if not self.wait(timeout):
            if self.state == WAITING:
                raise TimedOut(f"The run {self.id} asks a question: answer it with reply, then wait again.")
            raise TimedOut(f"The run {self.id} has not ended yet; it goes on, and can be waited for again.")
        with naming([instance.source for instance in self._given.source]):
            answer = self._inference.kept(f"/runs/{safe(self.id)}/result")
        return checked(answer, self._given.digest()) if self._given.digest else answer

    def reply(self, answer: Mapping[str, Any] | Reply) -> None:
        """Answer the question of a run in the state ``waiting-input``: by a value such as Point or a text, or as JSON.

        Raises Refused where the run does not wait, or asks another question than the last one seen here.
        """
        words = answer if isinstance(answer, Mapping) else reply_words(answer)
        number = (self.question or {}).get("sequence")
        self._record = self._requests.reply(self.id, words, number if isinstance(number, int) else None)

    def cancel(self) -> None:
        """Ask a live run to end; its state becomes ``cancelled`` soon. Raises Refused for one that has ended."""
        self._record = self._requests.cancel(self.id)

    def forget(self) -> None:
        """Delete an ended run on the gateway, with its body, its events and its answer."""
        self._requests.forget(self.id)

    def __repr__(self) -> str:
        progress = self.progress or {}
        done = [f"{progress['done']:g} of {progress['total']:g}"] if _counts(progress) else []
        return line_of("InferenceRun", self.id, self.route, self.state, *done)

    @property
    def _sequence(self) -> int:
        sequence = self._record.get("sequence")
        return sequence if isinstance(sequence, int) else 0


def _member(record: Record, name: str) -> Record | None:
    value = record.get(name)
    return value if isinstance(value, dict) else None


def _counts(progress: Record) -> bool:
    return all(isinstance(progress.get(name), int | float) for name in ("done", "total"))
