"""The questions of one attempt: answered as before where an attempt before it was, else by the caller."""

import base64
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from gateway.contract.requests import JSON, EncodedAnswer
from gateway.errors import Cancelled, GatewayError, ModelFailed, ReplayDiverged
from gateway.protocol.questions import is_secret, same_question
from gateway.runs.journals import Journal
from gateway.runs.ledger import Changes, Ledger
from gateway.runs.payloads import read, settled
from gateway.runs.rows import ANSWER, PARTIAL, QUESTION, Run, last_record, row_of, status_of
from gateway.runs.sealing import SealKey
from gateway.studies.blobs import Spoiled
from gateway.studies.tables import run_records
from gateway.wire import OutgoingPart, encode, new_boundary

LOOK_SECONDS = 1.0
"""Seconds between two looks for the answer to a question, whose signal may be lost."""
SEALED = "sealed"
AGAIN = "again"
"""A member of a question whose answer was not stored, and which is asked a second time."""
DIVERGED = "The model asked other questions than before, and so the stored answers are not those to its questions."
SPOILED = "A stored question or answer of this run has changed on the disk; submit it again under another id."


@dataclass
class Conversation:
    """The questions of one attempt, which ``over`` says to stop. ``most`` is the most that it may ask."""

    ledger: Ledger
    run: Run
    holder: str
    journal: Journal
    most: int
    over: Callable[[], bool]
    answered: threading.Event = field(default_factory=threading.Event)
    """Set when the run's question may have been answered."""
    waiting_since: float | None = None
    """By ``time.monotonic``: when it asked the question that it waits for an answer to."""
    waits_for_secret: bool = False
    _past: deque[tuple[JSON, Any]] = field(default_factory=deque)
    """Questions of former attempts, and the records of their answers."""
    _asked: int = 0

    def recall(self) -> None:
        """Read what was asked and answered before; while it is asked again, the caller is told nothing twice."""
        with self.ledger.reading() as connection:
            mine = run_records.c.key == self.run.key, run_records.c.kind.in_((QUESTION, ANSWER))
            rows = connection.execute(select(run_records).where(*mine).order_by(run_records.c.sequence)).all()
        question: JSON | None = None
        for row in rows:
            if row.kind == QUESTION:
                question = self._stored(row)
            elif question is not None and AGAIN not in question:  # that one stands for a question before it
                self._past.append((question, row))
        self.journal.muted = bool(self._past)

    def ask(self, question: JSON, shown: EncodedAnswer | None = None) -> JSON:
        """Return the answer to a question: the stored one, or what the caller answers.

        Raises Cancelled where the run is not wanted or not held any more, ReplayDiverged, and ModelFailed above the
        most questions.
        """
        self._asked += 1
        if self._asked > self.most:
            raise ModelFailed(f"The model asked more questions than run_questions, which is {self.most} here.")
        if not self._past:
            return self._ask(question, shown)
        asked, answer = self._past.popleft()
        self.journal.muted = bool(self._past)
        if not same_question(asked, question):
            self._past.appendleft((asked, answer))  # a model that goes on after this error gets it again
            raise ReplayDiverged(DIVERGED)
        if is_secret(question):
            return self._ask(question | {AGAIN: True}, shown)
        return self._stored(answer)

    def _stored(self, record: Any) -> JSON:
        try:
            return read(self.ledger.store, record)[0]
        except Spoiled:
            raise GatewayError(SPOILED) from None

    def _ask(self, question: JSON, shown: EncodedAnswer | None) -> JSON:
        """Ask the caller, and wait for its input."""
        key = SealKey() if is_secret(question) else None
        self.journal.flush()
        self.answered.clear()
        if shown is not None:
            self._show(shown)
        pieces = [memoryview(key.public)] if key else []
        self.waits_for_secret, self.waiting_since = key is not None, time.monotonic()
        try:
            with settled(self.ledger.store, question, pieces) as payload, self.ledger.changing() as changes:
                if changes.move(self.run.key, lambda status: status.ask(self.holder)) is None:
                    raise Cancelled
                asked = changes.record(self.run.key, QUESTION, payload)
            return self._answer(asked, key)
        finally:
            self.waiting_since = None

    def _show(self, shown: EncodedAnswer) -> None:
        """Store the answer so far in place of the one before, as the body of a response."""
        boundary, parts = new_boundary(), [OutgoingPart.named("json-body", "application/json", shown.json_bytes)]
        for index, part in enumerate(shown.parts):
            parts.append(OutgoingPart.named(f"elem_{index}", part.media_type, bytes(part.data)))
        words = {"media_type": f"multipart/related; boundary={boundary}"}
        pieces = (memoryview(piece) for piece in encode(boundary, parts))
        with settled(self.ledger.store, words, pieces) as payload, self.ledger.changing() as changes:
            self._check_held(changes)
            changes.make_room(self.run.caller, payload.size)
            changes.replace(self.run.key, PARTIAL, payload)

    def _check_held(self, changes: Changes) -> None:
        row = row_of(changes.connection, self.run.key)
        if row is None or not status_of(row).held_by(self.holder):
            raise Cancelled

    def _answer(self, asked: int, key: SealKey | None) -> JSON:
        """Wait for the answer to the question with the number ``asked``."""
        while True:
            self.answered.wait(LOOK_SECONDS)
            self.answered.clear()
            if self.over():
                raise Cancelled
            with self.ledger.reading() as connection:
                row = row_of(connection, self.run.key)
                record = last_record(connection, self.run.key, ANSWER)
            if row is None or not status_of(row).held_by(self.holder):
                raise Cancelled
            if record is not None and record.sequence > asked:
                return self._read(record, key)

    def _read(self, record: Any, key: SealKey | None) -> JSON:
        words = self._stored(record)
        if key is None:
            return words
        with self.ledger.changing() as changes:
            changes.clear(self.run.key, record)
        return key.open(base64.b64decode(words[SEALED]))
