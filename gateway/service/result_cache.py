"""Answers of deterministic models on stored instances, cached by their input, model and parameters.

Imported only where there is a store, which brings SQLAlchemy.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from gateway.contract.execution import Card
from gateway.contract.model import Model
from gateway.contract.requests import Request, Result
from gateway.errors import GatewayError
from gateway.studies.instance_rows import HeldInstance
from gateway.studies.results import ResultKey, Results, StoredResult

logger = logging.getLogger("gateway")


@dataclass(frozen=True)
class CacheEntry:
    """The identity of one answer: its model, instances, parameters and caller."""

    caller: str
    instances: tuple[HeldInstance, ...]
    model: str
    output: str
    parameters_digest: str

    def key(self, card: Card) -> ResultKey:
        """Return the key of the answer by the model of ``card``."""
        return ResultKey(
            instances=tuple(instance.sha256 for instance in self.instances),
            model=self.model,
            version=card.version,
            model_digest=card.model_digest,
            weights_digest=card.weights_digest,
            parameters_digest=self.parameters_digest,
            output=self.output,
        )


class ResultCache:
    """The cached answers of one store. A store that fails costs a cached answer, never the answer of a request."""

    def __init__(self, results: Results, on_failure: Callable[[], None] = lambda: None) -> None:
        """``on_failure`` is called for each answer that could not be stored, or could not be looked for."""
        self._results, self._on_failure = results, on_failure

    def entry(
        self, model: Model, card: Card | None, request: Request, caller: str, instances: tuple[HeldInstance, ...]
    ) -> CacheEntry | None:
        """Return the entry of the answer to ``request``; None where the model's answers are not cached.

        ``card`` is None for a model that is still loading: its answer's own card then decides. Raises ParameterRefused.
        """
        if card is not None and not card.deterministic:
            return None
        identity = model.identify(request)
        return None if identity is None else CacheEntry(caller, instances, model.name, *identity)

    def find(self, entry: CacheEntry, card: Card, input_digest: str) -> StoredResult | None:
        """Return the answer in its place; None where there is none to the same input, or the store cannot be read."""
        try:
            return self._results.find(entry.key(card), entry.caller, input_digest)
        except GatewayError as error:
            self._report("could not be looked for", error)
            return None

    def store(self, entry: CacheEntry, result: Result, output_digest: str) -> None:
        """Store an answer under its model's card, where the store can take it."""
        if not result.card.deterministic:
            return
        try:
            self._results.keep(entry.key(result.card), entry.caller, result, output_digest, entry.instances)
        except GatewayError as error:
            self._report("was not stored", error)

    def _report(self, what: str, error: GatewayError) -> None:
        """Log and count an error of the store."""
        logger.warning("an answer %s: %s %s", what, error.code, error.private)
        self._on_failure()
