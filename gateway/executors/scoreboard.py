"""The scoreboard: each HTTP worker's state of its models, in memory that all workers share, so that all give the same
answer.

Made in the master before it forks; each worker writes in a place of its own, and reads them all without waiting.
"""

import json
import mmap
import struct
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gateway.executors.states import ModelHealth, worst

SLOTS = 256
"""Workers at once, those that are being replaced among them."""
SLOT_SIZE = 64 << 10
"""Bytes for one worker's words; pages that nobody writes to cost nothing."""
HEADER = struct.Struct("<QQ")
"""Of a place: a count that is odd while its worker writes, and the length of the words."""
TRIES = 100


class Scoreboard:
    """The shared memory: how far the server has started, and a place for each worker."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, mmap.PAGESIZE + SLOTS * SLOT_SIZE)
        self._writing = threading.Lock()

    @property
    def started(self) -> bool:
        """True once every model of the server has been ready."""
        return self._memory[0] == 1

    def start(self) -> None:
        """Note that every model of the server has been ready."""
        self._memory[0] = 1

    @property
    def booted(self) -> bool:
        """True once a worker has loaded the application."""
        return self._memory[1] == 1

    def boot(self) -> None:
        """Note that a worker has loaded the application."""
        self._memory[1] = 1

    @property
    def given_up(self) -> bool:
        """True once a worker, or the master, has found that the server cannot start."""
        return self._memory[2] == 1

    def give_up(self) -> None:
        """Note that the server cannot start; its master ends it."""
        self._memory[2] = 1

    @property
    def generation(self) -> int:
        """The number of times that the server's code was reloaded (SIGHUP)."""
        return int.from_bytes(self._memory[8:16], "little")

    def renew(self) -> None:
        """The code is loaded anew; called in the master."""
        self._memory[8:16] = (self.generation + 1).to_bytes(8, "little")

    def slot(self, number: int) -> "Slot":
        """The place of a worker that is about to be forked; ``number`` is its own among those that live."""
        return Slot(self, number, self.generation)

    def write(self, number: int, words: Mapping[str, Any]) -> None:
        """Write what a worker has to say; too much of it is not told at all.

        Nor is it where another thread, or the code that a signal has interrupted, is just writing: it is told with the
        next, half a second later at most.
        """
        text, offset = json.dumps(words).encode(), _slot_offset(number)
        if len(text) <= SLOT_SIZE - HEADER.size and self._writing.acquire(blocking=False):
            try:
                self._write(text, offset)
            finally:
                self._writing.release()

    def _write(self, text: bytes, offset: int) -> None:
        count, _ = HEADER.unpack_from(self._memory, offset)
        HEADER.pack_into(self._memory, offset, count | 1, 0)
        self._memory[offset + HEADER.size : offset + HEADER.size + len(text)] = text
        HEADER.pack_into(self._memory, offset, (count | 1) + 1, len(text))

    def clear(self, number: int) -> dict[str, Any]:
        """Forget a worker that has ended, and return its last words; called in the master."""
        words = self._read(_slot_offset(number))
        HEADER.pack_into(self._memory, _slot_offset(number), 0, 0)
        return words

    def read(self) -> list[dict[str, Any]]:
        """Return the last state of every worker."""
        return [words for number in range(SLOTS) if (words := self._read(_slot_offset(number)))]

    def _read(self, offset: int) -> dict[str, Any]:
        for _ in range(TRIES):
            count, length = HEADER.unpack_from(self._memory, offset)
            text = self._memory[offset + HEADER.size : offset + HEADER.size + length]
            if count % 2 == 0 and HEADER.unpack_from(self._memory, offset)[0] == count:
                return dict(json.loads(text)) if text else {}
        return {}  # a worker that was killed while it wrote


@dataclass(frozen=True)
class Slot:
    """A worker's slot in the scoreboard, and the generation of the code that it was forked with."""

    scoreboard: Scoreboard
    number: int
    generation: int

    def publish(self, words: Mapping[str, Any]) -> None:
        """Write what this worker has to say."""
        self.scoreboard.write(self.number, {**words, "generation": self.generation})

    def read(self) -> list[dict[str, Any]]:
        """What every worker of the newest generation has said last."""
        newest = self.scoreboard.generation
        return [words for words in self.scoreboard.read() if words["generation"] == newest]


def _slot_offset(number: int) -> int:
    """The offset of a worker's slot in the memory."""
    return mmap.PAGESIZE + number % SLOTS * SLOT_SIZE


def together(reports: Iterable[Mapping[str, ModelHealth]]) -> dict[str, ModelHealth]:
    """Each model's health over all workers: the worst state with its reason, and the sum of what is counted."""
    found: dict[str, ModelHealth] = {}
    for report in reports:
        for name, health in report.items():
            known = found.get(name)
            found[name] = health if known is None else _both(known, health)
    return found


def _both(one: ModelHealth, other: ModelHealth) -> ModelHealth:
    chosen = one if worst([one.state, other.state]) == one.state else other
    return replace(
        chosen,
        queued=one.queued + other.queued,
        running=one.running + other.running,
        places=one.places + other.places,
        restarts=one.restarts + other.restarts,
        service_seconds=max(one.service_seconds, other.service_seconds),
    )
