"""Models in processes of their own, as an HTTP worker reaches them: through the supervisor."""

import contextlib
import hashlib
import itertools
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict

from gateway.config import Settings
from gateway.contract.execution import Card, HealthState
from gateway.contract.model import Model
from gateway.contract.requests import Request, Result
from gateway.errors import GatewayError, ModelDied, Unavailable, from_words, to_words
from gateway.executors.forks import Closable
from gateway.executors.messages import Channel, Words, connect
from gateway.executors.pending_call import PendingCall
from gateway.executors.ray.bundle_folders import needed_bundles
from gateway.executors.runner import AnswerChecks, batch_key_of, execution_of
from gateway.executors.states import ModelHealth, full, resting
from gateway.executors.transfer import read_bytes, read_outcome, read_question, write_request, write_words
from gateway.spool.anonymous_files import AnonymousFile, MemoryPool, NewFile

logger = logging.getLogger("gateway")

LOST = "The model processes of this server are gone; they are started again."


class ProcessExecutor:
    """Hands requests to the supervisor at ``address``, and waits for their answers.

    ``on_fatal`` is told, in words, of a model that could not be set up at the server's first start; ``on_lost`` that
    the supervisor has gone.
    """

    def __init__(
        self,
        settings: Settings,
        address: str,
        generation: int,
        *,
        on_fatal: Callable[[str], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._settings = settings
        self._memory_pool = MemoryPool(settings.spare_memory)
        self.memory: NewFile | None = self._memory_pool.file
        self._address = address
        self._generation = generation
        self._on_fatal = on_fatal
        self._on_lost = on_lost
        self._models: dict[str, Model] = {}
        self._channel: Channel | None = None
        self._pending: dict[int, PendingCall] = {}
        self._numbers = itertools.count(1)
        self._health: dict[str, ModelHealth] = {}
        self._cards: dict[str, Card] = {}

    def add(self, model: Model) -> None:
        """Take a model in, before ``open``."""
        self._models[model.name] = model

    def open(self) -> None:
        """Connect, and say which models there are. Raises OSError."""
        self._channel = connect(self._address)
        models = [self._declared(model) for model in self._models.values()]
        self._channel.send({"type": "hello", "generation": self._generation, "models": models})
        threading.Thread(target=self._listen, args=[self._channel], name="gateway-supervisor", daemon=True).start()

    def _declared(self, model: Model) -> Words:
        execution = execution_of(model, self._settings)
        return {
            "name": model.name,
            "processes": execution.processes,
            "max_processes": execution.max_processes if self._settings.ray else 0,
            "max_queue": execution.max_queue,
            "batch": asdict(execution.batch) if execution.batch else None,
            "devices": execution.device_names or None,
            "memory": execution.device_bytes,
            "bundles": needed_bundles(self._settings.ray_bundles, model.weights_files()),
        }

    def admit(self, model: Model) -> None:
        """Raises Unavailable where a request for this model would find no room; by what was last heard."""
        known = self._health.get(model.name)
        if known is not None and known.state is HealthState.FAILED:
            raise resting(known.reason, known.retry_after)
        if known is not None and known.state is HealthState.BUSY:
            raise full(known.retry_after)

    def card(self, model: Model) -> Card | None:
        """Return the model's identity in names and digests; None before one of its processes was ready."""
        return self._cards.get(model.name)

    def retry_after(self, model: Model) -> int:
        """Whole seconds, by its usual time, until a request of this model is likely to be over."""
        known = self._health.get(model.name)
        return known.retry_after if known else 1

    def run(self, model: Model, request: Request, checks: AnswerChecks, gone: Callable[[], bool]) -> Result:
        """Have a request answered; see ``InlineExecutor.run``. ``checks`` are made in the model's process."""
        key = batch_key_of(model, request)
        # a digest, since what requests have in common may be larger than a message
        pending, number = PendingCall(request, hashlib.sha256(key.encode()).hexdigest()), next(self._numbers)
        self._pending[number] = pending
        try:
            self._send(model.name, number, pending)
            return pending.result(gone)
        except BaseException:
            self._cancel(number)
            raise
        finally:
            self._pending.pop(number, None)

    def _send(self, name: str, number: int, pending: PendingCall) -> None:
        request = pending.request
        words = {"type": "call", "id": number, "model": name, "key": pending.key, "deadline": request.context.deadline}
        try:
            if self._channel is None:
                raise Unavailable(LOST)
            self._channel.send(words, write_request(request))
        except OSError as error:
            raise Unavailable(LOST) from error

    def _cancel(self, number: int) -> None:
        pending, channel = self._pending.get(number), self._channel
        if channel is not None and pending is not None and not pending.over:
            try:
                channel.send({"type": "cancel", "id": number})
            except OSError:
                return  # the supervisor has gone, and the call with it

    def _listen(self, channel: Channel) -> None:
        """A thread's life: take what the supervisor says."""
        while True:
            try:
                message = channel.receive()
            except OSError:
                message = None
            if message is None:
                break
            self._on_message(*message)
            del message
        self._channel = None
        self._health = {name: ModelHealth(state=HealthState.STARTING, reason=LOST) for name in self._models}
        for pending in list(self._pending.values()):
            pending.settle(ModelDied(LOST))
        self._on_lost()

    def _on_message(self, words: Words, files: list[AnonymousFile]) -> None:
        kind = words["type"]
        if kind == "health":
            name = words["model"]
            self._health[name] = ModelHealth.of(words["health"])
            if words["card"]:
                self._cards[name] = Card(**words["card"])
        elif kind == "fatal":
            self._on_fatal(words["text"])
        elif (pending := self._pending.get(words["id"])) is None:
            return  # nobody waits for it any more
        elif kind == "progress":
            pending.request.context.progress(words["done"], words["total"], words["text"])
        elif kind == "log":
            pending.request.context.log(words["text"])
        elif kind == "ask":
            question = pending.request, words["id"], files
            threading.Thread(target=self._ask, args=question, name="gateway-question", daemon=True).start()
        elif kind == "preview":
            pending.request.context.preview(read_bytes(files[0]), words["text"])
        elif kind == "begun":
            pending.begin(words["queued"])
        else:
            pending.settle(_outcome(words, files))

    def _ask(self, request: Request, number: int, files: list[AnonymousFile]) -> None:
        """Pass a model's question to the caller, and the answer to the model."""
        try:
            words: Words = {"answer": request.context.ask(*read_question(files))}
        except GatewayError as error:
            words = {"error": to_words(error)}
        channel = self._channel
        if channel is not None:
            with contextlib.suppress(OSError):  # the supervisor has gone, and the call with it
                deadline = request.context.deadline  # it has moved meanwhile
                channel.send({"type": "answer", "id": number, "deadline": deadline}, [write_words(words)])

    def health(self) -> Mapping[str, ModelHealth]:
        """Each model's health as the supervisor last told it, the same in every worker; waits for nothing."""
        unknown = ModelHealth(state=HealthState.STARTING, reason="its process is not there yet")
        return {name: self._health.get(name, unknown) for name in self._models}

    @property
    def held(self) -> list[Closable]:
        """What a process that is forked from this one should close."""
        return [self._channel.socket] if self._channel else []

    def close(self) -> None:
        """Leave the supervisor."""
        self._memory_pool.close()
        if self._channel is not None:
            self._channel.hang_up()


def _outcome(words: Words, files: list[AnonymousFile]) -> Result | Exception:
    if "error" in words:
        return from_words(words["error"])
    try:
        return read_outcome(files)
    except Exception as error:  # a broken answer fails its own request, not the thread that all wait for
        logger.error("an answer of a model process could not be read: %s", type(error).__name__)
        return ModelDied("The answer of the model's process could not be read; send the request again.")
