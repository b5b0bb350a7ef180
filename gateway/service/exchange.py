"""The exchange: one inference from admission to outcome, in the same verbs for every door.

::

    with service.open_exchange(model, head) as exchange:
        request = exchange.receive(partial(receive_body, body))
        result = exchange.infer(request)
        exchange.answer(result)
        ...                     # send it
        digest = exchange.finish()
    exchange.close()            # with the last byte
"""

import logging
import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from gateway.config import Settings
from gateway.contract.execution import Card, RequestContext
from gateway.contract.model import Model
from gateway.contract.requests import JSON, EncodedAnswer, Request, Result
from gateway.errors import GatewayError, ModelFailed
from gateway.intake.admission import Ticket, decoded_bytes
from gateway.intake.receiving import Received, ReceiveOptions, Source
from gateway.observe.audit.receipts import Receipt, receipt_of
from gateway.observe.logs import TaggedLogger
from gateway.observe.outcomes import Outcome
from gateway.observe.phases import Phases
from gateway.protocol.accept import accepts_dicom
from gateway.protocol.digests import Digest, hash_function
from gateway.protocol.kinds import DICOM

if TYPE_CHECKING:
    from gateway.service.result_cache import CacheEntry
    from gateway.service.service import Service

logger = logging.getLogger("gateway")

PROGRESS_SECONDS = 1.0
"""The least time between two log lines about one request's progress."""


def new_request_id() -> str:
    """Return a fresh id of 128 random bits in hexadecimal."""
    return os.urandom(16).hex()


def _connected() -> bool:
    return False


def _unheard(*_: object) -> None:
    """Drop what a model tells a caller that only waits for the answer."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """The head of a request, known before its input is read. The request's time starts when it is made.

    ``door`` names the protocol of the request: a label of metrics, audit and logs. ``accept`` is the answer that the
    caller takes, as in an Accept header (RFC 9110 12.5.1). ``no_cache`` asks for a new answer (RFC 9111 5.2.1.4).
    ``received`` is the time of receipt with its zone; a replay sets it. ``gone`` returns True once the client has
    disconnected. ``progress``, ``log`` and ``preview`` receive what the model tells its caller while it runs; ``ask``
    receives a question, and the answer so far where the model shows it, and returns the caller's answer. ``renews``
    gives the model the whole timeout again after each answer.
    """

    door: str
    request_id: str
    caller: str = ""
    accept: str = ""
    traceparent: str = ""
    no_cache: bool = False
    received: datetime = field(default_factory=lambda: datetime.now(UTC))
    gone: Callable[[], bool] = _connected
    progress: Callable[[float, float, str], None] = _unheard
    log: Callable[[str], None] = _unheard
    preview: Callable[[bytes, str], None] = _unheard
    ask: Callable[[JSON, EncodedAnswer | None], JSON] = RequestContext().ask
    renews: bool = False
    phases: Phases = field(default_factory=partial(Phases, "receive"))

    def tags(self, route: str) -> dict[str, str]:
        """Return the tags of the request's log lines."""
        return {"request_id": self.request_id, "route": route, "door": self.door}

    def facts(self, route: str) -> dict[str, Any]:
        """Return the members of an ``Outcome`` that the head determines."""
        return {
            "door": self.door,
            "request_id": self.request_id,
            "route": route,
            "received": self.received,
            "caller": self.caller,
            "traceparent": self.traceparent,
        }


class _ObservedContext(RequestContext):
    """The context of a request that reports to the exchange and to the caller."""

    def __init__(self, timeout: float, report: Callable[[float, float], None], head: Head) -> None:
        super().__init__(time.monotonic() + timeout)
        self._timeout, self._report, self._head = timeout, report, head

    def progress(self, done: float, total: float, text: str = "") -> None:
        """See ``RequestContext.progress``."""
        super().progress(done, total, text)
        self._report(done, total)
        self._head.progress(done, total, text)

    def log(self, text: str) -> None:
        """See ``RequestContext.log``."""
        self._head.log(text)

    def preview(self, picture: bytes, text: str = "") -> None:
        """See ``RequestContext.preview``."""
        self._head.preview(picture, text)

    def ask(self, question: JSON, shown: EncodedAnswer | None = None) -> JSON:
        """See ``RequestContext.ask``."""
        with self.waiting():
            answer = self._head.ask(question, shown)
        if self._head.renews:
            self.renew(self._timeout)
        return answer


class Exchange:
    """A request and its answer. A context manager that releases everything where its block raises.

    Where the block succeeds, the answer is still being sent, and ``close`` is the sender's last call. Call the verbs in
    the order of the module's example, in one thread; ``close`` at any time and any number of times.
    """

    def __init__(self, service: "Service", model: Model, head: Head, ticket: Ticket, timeout: float) -> None:
        self.model = model
        self.head = head
        self.timeout = timeout
        """Seconds from the head to the answer at most."""
        self.age: int | None = None
        """Seconds since a cached answer was made (RFC 9111 5.1); None for a new one."""
        self.logger = TaggedLogger(logger)
        self.logger.add_tags(head.tags(model.name))
        self._service = service
        self.ticket = ticket
        """The admission ticket of the request, which a door lends while it waits for a slow client."""
        self._phases = head.phases
        self._context = _ObservedContext(self.timeout, self._progressed, head)
        self._output = Digest(hash_function(service.settings.digest), overlap=ticket.idle_core)
        self._output_digest = ""
        self._size_out = 0
        self._received: Received | None = None
        self._spooled = 0
        self._result: Result | None = None
        self._cache_entry: CacheEntry | None = None
        self._facts = head.facts(model.name) | {"status": 200}
        """Members of the outcome, as they become known."""
        self._logged = -math.inf
        self._waited = 0.0
        """Seconds of waiting for the caller's input."""
        self._closed = False
        service.metrics.in_flight.inc()

    @property
    def settings(self) -> Settings:
        """The settings of the service."""
        return self._service.settings

    @property
    def deadline(self) -> float:
        """The request's deadline, in seconds of ``time.monotonic``."""
        return self._context.deadline

    @property
    def held(self) -> int:
        """Bytes of the input, and of what the model has decoded from it in this process; 0 once it is closed."""
        return 0 if self._received is None else self._received.size + self._context.decoded

    def limit(self, seconds: float) -> None:
        """Let the request end after ``seconds`` from its head, where it was granted more. Call it before ``infer``."""
        if seconds < self.timeout:
            self._context.deadline -= self.timeout - seconds
            self.timeout = seconds

    def restart(self) -> None:
        """Let ``infer`` be called again, with the whole timeout."""
        self._context.restart(self.timeout)

    def receive(self, source: Source, *, named: bool = False) -> Request:
        """Read the input; ``named`` reads the names of its parts too.

        Raises what the source raises: BrokenBody, BrokenJSON, DeadlineExceeded, LimitExceeded, UnsupportedMedia,
        Unavailable, StorageFull, and those of a study by path, by reference or from a peer.
        """
        service = self._service
        received = self._received = source(
            ReceiveOptions(
                service.settings,
                self.ticket,
                self._phases,
                self._context.deadline,
                service.executor(self.model).memory,
                service.resolver(self.head.caller),
                service.fetcher(self.head, self._context.deadline),
                self.model.list_parameters,
            )
        )
        if not received.in_memory:
            self._spooled = received.size
            service.metrics.spool_bytes.inc(received.size)
        size, count = received.size, len(received.instances)
        self._facts.update(input_digest=received.input_digest, bytes_in=size, instances=count)
        self._context.max_decoded = decoded_bytes(self.settings, size)
        self.logger.add_tags({"input_hash": received.input_digest})
        self.logger.debug("received %d bytes, %d files", received.size, len(received.instances))
        return Request(
            received.json,
            received.instances,
            received.input_digest,
            self.head.request_id,
            self.head.accept,
            self.head.received,
            self._context,
            received.names() if named else (),
        )

    def infer(self, request: Request) -> Result:
        """Return the answer: the cached one where there is one, else the model's, checked.

        Raises AnswerInvalid, StudyRefused, ParameterRefused, Unavailable, DeadlineExceeded, Cancelled, ModelDied, and
        what the model itself raises.
        """
        result = self._cached(request)
        if result is None:
            result = self._inferred(request)
        if result.card.version:
            self.logger.add_tags({"model_version": result.card.version})
        return result

    def _cached(self, request: Request) -> Result | None:
        """Return the cached answer to the same request; without one, note where to cache the new answer."""
        cache = self._service.cache
        if cache is None or self._received is None or not self._received.held:
            return None
        card = self._service.executor(self.model).card(self.model)
        self._cache_entry = cache.entry(self.model, card, request, self.head.caller, self._received.held)
        if self._cache_entry is None or card is None or self.head.no_cache:
            return None
        stored = cache.find(self._cache_entry, card, request.input_digest)
        if stored is None:
            return None
        self.age, self._output_digest = stored.age, stored.output_digest
        self._describe(replace(card, parameters_digest=self._cache_entry.parameters_digest), 1)
        self._facts.update(cached=True)
        self._cache_entry = None
        return stored.result

    def _inferred(self, request: Request) -> Result:
        """Return the model's answer; time that it does not account for was spent queued or in transfer."""
        self._phases.begin("queue")
        try:
            result = self._service.infer(self.model, request, log=self.logger, gone=self.head.gone)
        except BaseException:
            if self._context.began is not None:  # the time since then is the model's, and not the queue's
                ran = time.monotonic() - self._context.began - self._context.waited
                self._phases.add("predict", max(0.0, ran), of="queue")
            raise
        finally:
            self._waited += self._context.waited
            self._phases.add("queue", -self._context.waited)
        for phase, seconds in result.phases.items():
            self._phases.add(phase, seconds, of="queue")
        self._phases.begin("encode")
        self._describe(result.card, result.batch_size)
        return result

    def begin(self, phase: str) -> None:
        """Account for the time from now on as ``phase``, a name of ``outcomes.PHASES``."""
        self._phases.begin(phase)

    def hash(self, *pieces: memoryview) -> None:
        """Add bytes of the answer to its digest, beside what the caller does next; they must not change until then."""
        with self._phases.measure("hash"):
            for piece in pieces:
                self._size_out += piece.nbytes
                self._output.update(piece.nbytes, [piece])

    def answer(self, result: Result) -> None:
        """Take ``result`` as the whole answer: hash it, and cache it once its digest is known.

        A cached answer is not hashed again: it leaves under the digest of its first time.
        """
        self._result, data = result, [memoryview(result.json_bytes), *(part.data for part in result.parts)]
        if self._output_digest:
            self._size_out = sum(piece.nbytes for piece in data)
        else:
            self.hash(*data)

    def receipt(self) -> Receipt:
        """Return the receipt of the whole answer, signed where there is a key. Waits for the answer's digest."""
        self._facts["output_digest"] = self._output_digest or self._output.hexdigest()
        service, outcome = self._service, Outcome(**self._facts, seconds=perf_counter() - self._phases.started)
        accept = DICOM if accepts_dicom(self.head.accept) else ""
        return receipt_of(outcome, algorithm=service.settings.digest, accept=accept, key=service.key)

    def finish(self) -> str:
        """Return the digest of the whole answer, in hexadecimal; cache the answer where it is worth it."""
        digest = self._output_digest = self._output_digest or self._output.hexdigest()
        self._facts.update(output_digest=digest, bytes_out=self._size_out)
        self.logger.add_tags({"output_hash": digest})
        if self._result is not None and self._cache_entry is not None and self._service.cache is not None:
            self._service.cache.store(self._cache_entry, self._result, digest)
        return digest

    def fail(self, error: BaseException) -> None:
        """Note that the request is answered with a problem: ``error``'s, or that of a model that raised it."""
        problem = error if isinstance(error, GatewayError) else ModelFailed()
        self._facts.update(status=problem.status, reason=problem.code)

    def broke_off(self, error: GatewayError) -> None:
        """Note why a streamed answer ended early; its status has been sent."""
        self._facts["reason"] = error.code

    def close(self) -> None:
        """Release the input, the place and the hashing thread; notify the sinks. Repeated calls do nothing."""
        if self._closed:
            return
        self._closed = True
        now = self._phases.begin("")
        self._output.close()
        service, self._received = self._service, None
        if self._spooled:
            service.metrics.spool_bytes.dec(self._spooled)
        self.ticket.leave()
        service.metrics.in_flight.dec()
        seconds = now - self._phases.started - self._waited
        if "bytes_out" in self._facts:  # finished
            model = "" if self._result is None else f", model {self._result.seconds:.3f} s"
            self.logger.info("answered in %.3f s%s, %d bytes out", seconds, model, self._size_out)
        service.notify(Outcome(**self._facts, seconds=seconds, phases=dict(self._phases.seconds)))

    def _describe(self, card: Card, batch_size: int) -> None:
        """Note which model answered."""
        self._facts.update(
            batch_size=batch_size,
            model_name=card.name,
            model_version=card.version,
            model_digest=card.model_digest,
            weights_digest=card.weights_digest,
            parameters_digest=card.parameters_digest,
            deterministic=card.deterministic,
        )

    def _progressed(self, completed: float, total: float) -> None:
        """Log a model's progress. Its text is the author's and may quote the study: it is not logged."""
        self._service.metrics.progress(self.model.name)
        now = time.monotonic()
        if now - self._logged >= PROGRESS_SECONDS or completed >= total:
            self._logged = now
            self.logger.info("progress: %g of %g", completed, total)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.fail(error)
            self.close()
