"""One execution of a run, from its claim to its end, through the same exchange as a request."""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import BinaryIO

from gateway.contract.requests import Request, Result
from gateway.dicom.reading.identity import identify
from gateway.errors import Cancelled, DeadlineExceeded, GatewayError, PeerFailed, Unavailable
from gateway.intake.receiving import Received, ReceiveOptions
from gateway.intake.recording import receive_recorded
from gateway.observe.logs import exception_frames
from gateway.runs.archive import open_input
from gateway.runs.consequences import Consequence, StopReason, consequence_of, problem_of
from gateway.runs.conversations import Conversation
from gateway.runs.endings import Ending
from gateway.runs.journals import Journal
from gateway.runs.ledger import Ledger
from gateway.runs.lifecycle import LONGEST_PAUSE, RunState, RunStatus
from gateway.runs.payloads import Words
from gateway.runs.result_payloads import packed
from gateway.runs.rows import Run
from gateway.service.exchange import Exchange, Head, new_request_id
from gateway.service.service import Service
from gateway.studies.references import FetchOrder

logger = logging.getLogger("gateway")

PAUSE_SECONDS = 2.0, LONGEST_PAUSE
"""The least and the longest pause of a run whose place was not free."""


@dataclass
class Attempt:
    """An execution by this process, in a thread of its own."""

    service: Service
    ledger: Ledger
    run: Run
    holder: str
    most: int
    lease_until: float
    """By ``time.monotonic``: where no renewal succeeds before it, another process may have the run."""
    dirty: threading.Event
    request_id: str = field(default_factory=new_request_id)
    journal: Journal = field(init=False)
    ending: Ending = field(init=False)
    conversation: Conversation = field(init=False)
    _request: Request | None = None
    _answered: bool = False

    def __post_init__(self) -> None:
        self.journal = Journal(self.ledger, self.run.key, self.holder, self.dirty)
        lease = self.service.settings.run_lease
        self.ending = Ending(self.ledger, self.run, self.holder, self.journal, full_seconds=lease)
        most = self.service.settings.run_questions
        self.conversation = Conversation(self.ledger, self.run, self.holder, self.journal, most, self._over)

    def stop(self, why: StopReason) -> None:
        """Have the model stop, as when a client leaves."""
        self.ending.stop(why)
        self.conversation.answered.set()

    def _gone(self) -> bool:
        if time.monotonic() >= self.lease_until:
            self.stop(StopReason.LOST)
        return self.ending.stopped is not None

    def _over(self) -> bool:
        """Return True once no answer to a question is waited for."""
        return self._gone() or (self._request is not None and self._request.context.cancelled())

    def execute(self) -> None:
        """Execute the run, and record its end. Raises StorageFull and Unavailable where that cannot be recorded."""
        try:
            words, file = self._input()
            self.conversation.recall()
            with file:
                self._infer(words, file)
        except Exception as error:
            self._settle(error)

    def _input(self) -> tuple[Words, BinaryIO]:
        found = open_input(self.ledger, self.run)
        if found is None:
            raise self.ending.lost()
        return found

    def _infer(self, words: Words, file: BinaryIO) -> None:
        head = Head(
            door=words.get("door", "runs"),  # which runs of former versions do not name
            request_id=self.request_id,
            caller=self.run.caller,
            accept=words["accept"],
            traceparent=words["traceparent"],
            no_cache=words["no_cache"],
            gone=self._gone,
            progress=self.journal.progress,
            log=self.journal.log,
            preview=self.journal.preview,
            ask=self.conversation.ask,
        )
        model = self.service.models[self.run.route]
        with self.service.open_exchange(model, head, lambda: words["timeout"]) as exchange:
            request = exchange.receive(partial(self._receive, words, file))
            self._request = request
            result = exchange.infer(request)
            self._answered = True
            exchange.answer(result)
            self._finish(exchange, result)
        exchange.close()

    def _receive(self, words: Words, file: BinaryIO, receive_options: ReceiveOptions) -> Received:
        """Receive the recorded body, and note studies that only now are known: those below a path, or by reference."""
        fetch = None if receive_options.fetch is None else partial(self._fetch, receive_options.fetch)
        received = receive_recorded(words["body"], file, replace(receive_options, fetch=fetch))
        studies = {instance.study_instance_uid for instance in received.held}
        if not words["studies_known"] and not studies:
            studies = _studies(received)
        if studies:
            with self.ledger.changing() as changes:
                changes.note_studies(self.run.key, studies)
        return received

    def _fetch(self, fetch: Callable[[FetchOrder], None], order: FetchOrder) -> None:
        """Fetch a study from its peer; one that cannot be reached is waited for, for ``run_peer_wait`` at most.

        Raises PeerFailed after that, and what ``fetch`` raises.
        """
        try:
            fetch(order)
        except (Unavailable, DeadlineExceeded) as error:
            most = self.service.settings.run_peer_wait
            with self.ledger.reading() as connection:
                waited = self.ledger.now(connection) - self.run.created_at
            if waited < most:
                raise
            sentence = f"{error.detail} The run has waited for it for {most:g} seconds (run_peer_wait): submit another."
            raise PeerFailed(sentence, private=error.private) from error

    def _finish(self, exchange: Exchange, result: Result) -> None:
        """Store the answer with its receipt, and end the run."""
        receipt, output_digest = exchange.receipt(), exchange.finish()
        algorithm = exchange.settings.digest
        self.ending.finish(*packed(result, output_digest=output_digest, algorithm=algorithm, receipt=receipt))

    def _settle(self, error: Exception) -> None:
        """Record what becomes of the run after an error."""
        self._log(error)
        word = consequence_of(error, queued=not self._begun, stop=self.ending.stopped)
        if word is Consequence.LEAVE:
            return
        with suppress(Cancelled):  # another process has the run by now
            if word is Consequence.REFUSE or word is Consequence.FAIL or not self._moved(word, error):
                state = RunState.REFUSED if word is Consequence.REFUSE else RunState.FAILED
                self.ending.fail(state, problem_of(error), self.request_id)

    @property
    def _begun(self) -> bool:
        """Return True once the model has begun, or its answer was found without it."""
        return self._answered or (self._request is not None and self._request.context.began is not None)

    def _log(self, error: Exception) -> None:
        """Log an error without the caller's id of the run, which may be a name."""
        if isinstance(error, GatewayError):
            logger.warning("a run ended its attempt: %d %s [%s]", error.status, error.code, self.request_id)
        else:
            frames = exception_frames(error, with_text=self.service.settings.log_exception_text)
            logger.error("exception [%s]\n%s", self.request_id, frames)

    def _moved(self, word: Consequence, error: Exception) -> bool:
        """Cancel the run or queue it again; return False where it has no attempt left."""
        moves: dict[Consequence, Callable[[RunStatus, float], RunStatus | None]] = {
            Consequence.CANCEL: lambda status, _now: status.end(self.holder, RunState.CANCELLED),
            Consequence.RETRY: lambda status, _now: status.retry(self.holder, self.most),
            Consequence.GIVE_BACK: lambda status, now: status.give_back(self.holder, now + self._pause(error)),
        }
        return self.ending.move(moves[word]) is not None or word is not Consequence.RETRY

    def _pause(self, error: Exception) -> float:
        """Return the seconds before the run is tried again: none where it waits for input, or its worker stops."""
        if self.ending.stopped in (StopReason.PARKED, StopReason.DRAINING):
            return 0.0
        shortest, longest = PAUSE_SECONDS
        return min(longest, max(shortest, getattr(error, "retry_after", 0.0)))


def _studies(received: Received) -> set[str]:
    """Return the Study Instance UIDs of received files; one that is no DICOM, or cannot be read, has none."""
    studies = set()
    for file in received.instances:
        try:
            studies.add(identify(file).study_instance_uid)
        except GatewayError:
            continue
        finally:
            file.seek(0)
    return studies - {""}
