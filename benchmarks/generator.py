"""Load from a process of its own, with one thread and one selector. It reports its cost and never blocks on a reply.

Closed loop: a number of clients, each with one request after the other. Open loop: a number of requests a second,
sent even if earlier ones are pending; a latency counts from the time at which its request was due.
"""

import contextlib
import heapq
import json
import random
import resource
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from benchmarks.ready import Ports
from benchmarks.servers import ROOT
from benchmarks.studies import study

RETRY_SECONDS = 0.02
RECEIVE = 1 << 18
END_OF_HEAD = b"\r\n\r\n"
Asked = tuple[str, dict[str, Any], int, int]
"""Path, JSON, files and the size of each."""


@dataclass(frozen=True, kw_only=True)
class Order:
    """The requests of a load: one of ``asked`` is drawn for each request.

    ``rate`` requests a second, or with 0 ``clients`` of them at once; ``once``: each client ends with its first
    answer that is not a refusal. ``probed`` sends only to those of the ``ports`` that are ready.
    """

    ports: list[int]
    asked: list[Asked]
    seconds: float
    clients: int = 0
    rate: float = 0.0
    once: bool = False
    probed: bool = False
    patience: float = 30.0


@dataclass(frozen=True)
class Reply:
    """Outcome of one request: its due time in seconds from the start, its duration, its status (0 for no answer)."""

    due: float
    seconds: float
    status: int
    retry_after: bool = False
    fault: str = ""


@dataclass
class Load:
    """All replies; ``busy`` is the generator's own CPU as a share of one core, ``late`` its worst delay in seconds."""

    replies: list[Reply] = field(default_factory=list)
    seconds: float = 0.0
    busy: float = 0.0
    late: float = 0.0

    def of(self, *statuses: int) -> list[Reply]:
        """The replies with one of these statuses."""
        return [reply for reply in self.replies if reply.status in statuses]

    def rate(self, since: float = 0.0) -> float:
        """Return the rate of good answers per second that arrived within the load, after ``since``."""
        ends = [reply.due + reply.seconds for reply in self.of(200)]
        return sum(since < end <= self.seconds for end in ends) / (self.seconds - since)


class Running:
    """A load that is under way."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    def stopped(self) -> Load:
        """Send no more, and wait for the last replies."""
        self._process.send_signal(signal.SIGUSR1)
        return self.result()

    def result(self) -> Load:
        """Wait for the load to end and return it."""
        text, _ = self._process.communicate()
        words = json.loads(text)
        return Load([Reply(*reply) for reply in words.pop("replies")], **words)


@contextlib.contextmanager
def running(order: Order) -> Iterator[Running]:
    """Send while the block lasts, up to the time in the order."""
    command = [sys.executable, "-m", "benchmarks.generator", json.dumps(asdict(order))]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it sends from now on
        try:
            yield Running(process)
        finally:
            if process.poll() is None:
                process.terminate()


def run(order: Order) -> Load:
    """Send, and wait for the last reply."""
    with running(order) as load:
        return load.result()


class Exchange:
    """A request on a connection of its own."""

    def __init__(self, port: int, message: bytes, due: float, patience: float) -> None:
        self.due = due
        self.ends = time.perf_counter() + patience
        self._left = memoryview(message)
        self._came = bytearray()
        self._whole = -1
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.connect_ex(("127.0.0.1", port))

    @property
    def events(self) -> int:
        """The selector events that the exchange waits for."""
        return selectors.EVENT_READ | (selectors.EVENT_WRITE if self._left else 0)

    def go_on(self, mask: int) -> bool:
        """Send and receive without waiting; return True when the answer is complete. Raises OSError on failure."""
        if mask & selectors.EVENT_READ and self._receive():
            return True
        if mask & selectors.EVENT_WRITE and self._left:
            with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
                self._left = self._left[self.socket.send(self._left) :]
        return False

    def _receive(self) -> bool:
        try:
            data = self.socket.recv(RECEIVE)
        except BlockingIOError:
            return False
        if not data:
            raise ConnectionError("hung up")
        self._came += data
        if self._whole < 0 and (end := self._came.find(END_OF_HEAD)) >= 0:
            head = bytes(self._came[:end]).lower()
            self._whole = end + len(END_OF_HEAD) + int(head.split(b"content-length:")[1].split(b"\r")[0])
        return 0 <= self._whole <= len(self._came)

    def reply(self, start: float, fault: str = "") -> Reply:
        """Return the outcome."""
        seconds = time.perf_counter() - self.due
        self.socket.close()
        if fault:
            return Reply(self.due - start, seconds, 0, fault=fault)
        head, _, body = bytes(self._came).partition(END_OF_HEAD)
        status = int(head[9:12])
        told = "" if status == 200 else body.decode(errors="replace")
        return Reply(self.due - start, seconds, status, b"\nretry-after:" in head.lower(), told)


class Generator:
    """Execute an order."""

    def __init__(self, order: Order) -> None:
        self._order = order
        self._messages = [_message(*one) for one in order.asked]
        self._selector = selectors.DefaultSelector()
        self._open: set[Exchange] = set()
        self._due: list[float] = []
        self._draw = random.Random(1)
        self._ports = Ports(order.ports, probed=order.probed)
        self.load = Load(seconds=order.seconds)

    def stop(self, *_: object) -> None:
        """Send no further requests; a signal handler."""
        self._stop = 0.0

    def _stop_sending(self) -> None:
        self._due.clear()
        self.load.seconds = min(self.load.seconds, time.perf_counter() - self._start)

    def run(self) -> Load:
        """Run until every request has its reply."""
        self._start = time.perf_counter()
        self._stop = self._start + self._order.seconds
        self._due = self._schedule()
        sys.stdout.write("\n")
        sys.stdout.flush()
        while self._due or self._open:
            if not self._stop and self._due:
                self._stop_sending()
            self._send_due()
            self._take()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        self.load.busy = (usage.ru_utime + usage.ru_stime) / (time.perf_counter() - self._start)
        return self.load

    def _schedule(self) -> list[float]:
        order = self._order
        if order.rate:
            return [self._start + number / order.rate for number in range(int(order.rate * order.seconds))]
        return [self._start] * order.clients

    def _send_due(self) -> None:
        now = time.perf_counter()
        while self._due and self._due[0] <= now:
            due = heapq.heappop(self._due)
            self.load.late = max(self.load.late, now - due)
            message = self._draw.choice(self._messages)
            exchange = Exchange(self._ports.next(), message, due if self._order.rate else now, self._order.patience)
            self._open.add(exchange)
            self._selector.register(exchange.socket, exchange.events, exchange)

    def _take(self) -> None:
        pause = max(0.0, self._due[0] - time.perf_counter()) if self._due else 1.0
        for key, mask in self._selector.select(min(pause, 1.0)):
            exchange: Exchange = key.data
            before = exchange.events
            try:
                if exchange.go_on(mask):
                    self._end(exchange)
                elif exchange.events != before:
                    self._selector.modify(exchange.socket, exchange.events, exchange)
            except OSError as error:
                self._end(exchange, str(error) or type(error).__name__)
        for exchange in [one for one in self._open if one.ends < time.perf_counter()]:
            self._end(exchange, "no answer")

    def _end(self, exchange: Exchange, fault: str = "") -> None:
        self._selector.unregister(exchange.socket)
        self._open.discard(exchange)
        reply = exchange.reply(self._start, fault)
        self.load.replies.append(reply)
        now = time.perf_counter()
        if self._order.once:
            if reply.status == 503:
                heapq.heappush(self._due, now + RETRY_SECONDS)
        elif not self._order.rate and now < self._stop:
            heapq.heappush(self._due, now + (RETRY_SECONDS if reply.status != 200 else 0.0))


def _message(path: str, question: dict[str, Any], files: int, size: int) -> bytes:
    made = study(files, path=path, part_size=size, **question)
    return made.head.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n") + b"".join(made.pieces)


def main(text: str) -> None:
    """Print all replies as JSON."""
    words = json.loads(text)
    generator = Generator(Order(**words))
    signal.signal(signal.SIGUSR1, generator.stop)
    load = generator.run()
    replies = [[one.due, one.seconds, one.status, one.retry_after, one.fault] for one in load.replies]
    json.dump({**vars(load), "replies": replies}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
