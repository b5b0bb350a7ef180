"""The service of one process: its models, executors, admission, store, and sinks of outcomes."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from gateway.config import Settings
from gateway.contract.model import Model
from gateway.contract.requests import Request, Result
from gateway.errors import GatewayError, ParameterRefused
from gateway.executors.registry import Executor, Executors
from gateway.executors.remote import ProcessExecutor
from gateway.executors.runner import AnswerChecks, retire
from gateway.executors.scoreboard import Slot, together
from gateway.executors.states import ModelHealth, worst
from gateway.intake.admission import Admission, Ticket
from gateway.observe.audit.auditor import Auditor, open_auditor, signing_key
from gateway.observe.logs import TaggedLogger
from gateway.observe.metrics import Metrics
from gateway.observe.outcomes import Outcome, Sink
from gateway.observe.traces import open_traces
from gateway.peers.peer_entries import NOT_ADMITTED
from gateway.protocol.serializer import InferenceSerializer
from gateway.service.exchange import Exchange, Head

if TYPE_CHECKING:
    from gateway.intake.fetching import Fetches
    from gateway.observe.spans import Spans
    from gateway.peers.peer_directory import PeerDirectory
    from gateway.service.result_cache import ResultCache
    from gateway.studies.delivery_rows import Delivery
    from gateway.studies.forgetting import Forgotten
    from gateway.studies.references import FetchOrder, Resolver
    from gateway.studies.store_context import StoreContext

DRAINING = "draining"


@dataclass(frozen=True)
class Report:
    """The state of the whole server: each model over all workers, and whether it drains."""

    models: dict[str, ModelHealth]
    draining: bool
    started: bool

    @property
    def word(self) -> str:
        """``ready``, ``draining``, or the worst state of a model."""
        return DRAINING if self.draining else worst(health.state for health in self.models.values())

    @property
    def ready(self) -> bool:
        """Return True if the server should receive requests."""
        return not self.draining and all(health.serves for health in self.models.values())


@dataclass
class Service:
    """The service that the doors of one application share."""

    settings: Settings
    serializer: InferenceSerializer
    admission: Admission = field(init=False)
    executors: Executors = field(init=False)
    metrics: Metrics = field(init=False)
    models: dict[str, Model] = field(default_factory=dict)
    sinks: list[Sink] = field(default_factory=list)
    slot: Slot | None = None
    """Where this worker publishes the state of its models; None in a process without other workers."""
    draining: bool = False
    fatal: str = ""
    """Why this server cannot start, in one line."""
    supervisor_lost: bool = False
    """True once the supervisor of the model processes has ended."""
    key: bytes | None = None
    """The key that signs receipts, if any."""
    auditor: Auditor | None = None
    store: "StoreContext | None" = None
    """The study store, where the settings name a folder for one."""
    cache: "ResultCache | None" = None
    """Answers of deterministic models on stored instances."""
    peers: "PeerDirectory | None" = None
    """The systems that the gateway calls, where the settings name a file of them."""
    fetches: "Fetches | None" = None
    """Studies on their way from peers into the store."""
    _spans: "Spans | None" = None

    def __post_init__(self) -> None:
        self.admission = Admission(self.settings)
        self.executors = Executors(self.settings)
        self.metrics = Metrics(self.models)

    def open_exchange(self, model: Model, head: Head, timeout: Callable[[], float | None] = lambda: None) -> Exchange:
        """Admit a request for ``model`` before its input is read.

        ``timeout`` returns the requested timeout in seconds; None means the model's own, which is the maximum.
        Raises Unavailable, and what ``timeout`` raises; the sinks are notified of both.
        """
        declared = model.execution.timeout
        largest = self.settings.request_timeout if declared is None else declared
        try:
            requested = timeout()
            ticket = self._admit(model)
        except GatewayError as error:
            self._refused(model, head, error)
            raise
        return Exchange(self, model, head, ticket, largest if requested is None else min(requested, largest))

    def _refused(self, model: Model, head: Head, error: GatewayError) -> None:
        """Notify the sinks of a request that ended at its head."""
        seconds = head.phases.begin("") - head.phases.started
        facts, phases = head.facts(model.name), dict(head.phases.seconds)
        self.notify(Outcome(**facts, status=error.status, reason=error.code, seconds=seconds, phases=phases))

    def _admit(self, model: Model) -> Ticket:
        if self.auditor is not None:
            self.auditor.ready()
        executor = self.executor(model)
        executor.admit(model)
        return self.admission.enter(executor.retry_after(model), abandoned=self.executors.inline.abandoned())

    @property
    def occupied(self) -> int:
        """Places that are not free: of requests in flight, of lent tickets that return, and of hung calls."""
        return self.admission.requests + self.admission.returning + self.executors.inline.abandoned()

    @property
    def free_places(self) -> float:
        """Places that are free; infinity where nothing bounds them."""
        most = self.admission.max_requests
        return math.inf if most is None else most - self.occupied

    def executor(self, model: Model) -> Executor:
        """Return the executor of a model."""
        return self.executors.of(model)

    def resolver(self, caller: str) -> "Resolver | None":
        """Return the resolver of studies that ``caller`` may reference; None without a store."""
        return None if self.store is None else self.store.references.of(caller)

    def fetcher(self, head: Head, deadline: float) -> "Callable[[FetchOrder], None] | None":
        """Return what fetches studies for the caller of a request; None without a store, or without peers."""
        if self.fetches is None:
            return None
        return partial(
            self.fetches.fetch,
            caller=head.caller,
            again=head.no_cache,
            deadline=deadline,
            gone=head.gone,
            progress=head.progress,
        )

    def require_peer(self, name: str, caller: str) -> None:
        """Raise ParameterRefused unless ``caller`` may have studies fetched from the peer."""
        if self.fetches is None or self.peers is None:
            raise ParameterRefused([("/from", NOT_ADMITTED)])
        self.peers.admitted(name, caller)

    def infer(self, model: Model, request: Request, *, log: TaggedLogger, gone: Callable[[], bool]) -> Result:
        """Run ``model`` on ``request`` and check its answer; ``gone`` is True once its caller has left.

        ``settings.strict`` refuses an answer whose content breaks the protocol; otherwise each fault is a warning in
        ``log``. Raises AnswerInvalid, StudyRefused, Unavailable, DeadlineExceeded, Cancelled, ModelDied; what the model
        itself raises passes through.
        """
        checks = AnswerChecks(self.serializer, self.settings.strict, log.warning)
        return self.executor(model).run(model, request, checks, gone)

    def open(self, address: str, slot: Slot | None) -> None:
        """Set up executors for the models; ``address`` is that of model processes, or "".

        Raises OSError, and ValueError for the file of peers.
        """
        self.slot = slot
        if self.settings.peers is not None:
            from gateway.peers.peer_directory import PeerDirectory  # urllib3, which a gateway without peers spares

            self.peers = PeerDirectory.open(self.settings.peers, self.metrics.peer)
            if self.store is not None:
                from gateway.intake.fetching import Fetches

                self.fetches = Fetches(self.peers, self.store.store, self._fetched)
        if address:
            generation = slot.generation if slot else 0
            self.executors.processes = ProcessExecutor(
                self.settings, address, generation, on_fatal=self.die, on_lost=self._lose
            )
        for model in self.models.values():
            self.executors.add(model)
        if self.executors.processes is not None:
            self.executors.processes.open()
        self.metrics.open(lambda: self.report().models)
        self._open_sinks()

    def open_store(self, *, authenticated: bool) -> "StoreContext":
        """Open the study store that the settings name. Raises as ``Store.open``."""
        from gateway.service.result_cache import ResultCache  # SQLAlchemy, which a gateway without a store spares
        from gateway.studies.store import Store
        from gateway.studies.store_context import StoreContext

        self.store = StoreContext(Store.open(self.settings, authenticated=authenticated), self._forgotten)
        self.cache = ResultCache(self.store.results, lambda: self.metrics.store_failures.inc())
        return self.store

    def _forgotten(self, record: "Forgotten") -> None:
        """Log and audit that a study was forgotten."""
        from gateway.studies.forgetting import log_forgotten

        log_forgotten(record)
        if self.auditor is not None:
            self.auditor.event("forgotten", record.caller, **record.members)

    def _fetched(self, caller: str, **members: str | int) -> None:
        """Audit a fetch that is over."""
        if self.auditor is not None:
            self.auditor.event("peer-fetch", caller, **members)

    def delivered(self, delivery: "Delivery", word: str, outcome: str, instances: int) -> None:
        """Count a try to deliver to a peer, and audit it: ``instances`` are those that the peer has now."""
        self.metrics.delivery(delivery.destination, word)
        if self.auditor is not None:
            from gateway.studies.blobs import quarantine_label

            self.auditor.event(
                "peer-delivery",
                delivery.caller,
                peer=delivery.destination,
                study=quarantine_label(delivery.study_instance_uid),
                instances=instances,
                state=word,
                outcome=outcome,
            )

    def _open_sinks(self) -> None:
        """Open the sinks that the settings and the environment name, in the process that their threads live in."""
        self.key = signing_key(self.settings)
        self.auditor = open_auditor(self.settings, lambda _sink: self.metrics.audit_failures.inc())
        self._spans = open_traces()
        self.sinks += [self.metrics.count, *([self._spans.trace] if self._spans else [])]
        self.sinks += [self.auditor] if self.auditor else []

    def die(self, text: str) -> None:
        """Record why this server cannot start; one that has been ready before continues with its present models."""
        self.fatal = text

    def _lose(self) -> None:
        self.supervisor_lost = True

    @property
    def lost(self) -> str:
        """Why this worker cannot go on, in a sentence; "" while it can."""
        if self.supervisor_lost:
            return "The supervisor of the model processes has ended."
        return "The device of a model has failed." if self.executors.inline.device_failed else ""

    @property
    def in_server(self) -> bool:
        """True in a worker of a server, False in a test or a script that calls the application."""
        return self.slot is not None

    def to_set_up(self) -> list[Model]:
        """Return the models that this process itself must load."""
        return [model for model in self.models.values() if self.executors.loads(model)]

    def close(self) -> None:
        """Close the models that this process loaded, the last one first."""
        self.executors.close()
        if self.peers is not None:
            self.peers.close()
        for sink in (self.auditor, self._spans):
            if sink is not None:
                sink.close()
        for model in reversed(self.to_set_up()):
            retire(model)

    def notify(self, outcome: Outcome) -> None:
        """Pass an outcome to every sink."""
        for sink in self.sinks:
            sink(outcome)

    def publish(self) -> None:
        """Publish the state of this worker's models to the other workers."""
        if self.slot is not None:
            models = {name: health.words() for name, health in self.executors.inline.health().items()}
            self.slot.publish({"models": models, "draining": self.draining})
            if not self.slot.scoreboard.started and all(health.serves for health in self.executors.health().values()):
                self.slot.scoreboard.start()

    def report(self) -> Report:
        """Return the state of the server, the same from each of its workers; waits for no model."""
        own = self.executors.health()
        if self.slot is None:
            return Report(own, self.draining, all(health.serves for health in own.values()))
        self.publish()
        workers = self.slot.read()
        models = ({name: ModelHealth.of(state) for name, state in worker["models"].items()} for worker in workers)
        draining = any(worker["draining"] for worker in workers)
        return Report({**own, **together(models)}, draining, self.slot.scoreboard.started)
