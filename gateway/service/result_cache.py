"""Answers of deterministic models on stored instances: found again by what made them, instead of computed again.

Imported only where there is a store, which brings SQLAlchemy.
"""

import logging
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
    """The place of one answer: of which model, on which instances, for which caller."""

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
    """The cached answers of one store."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def entry(
        self, model: Model, card: Card | None, request: Request, caller: str, instances: tuple[HeldInstance, ...]
    ) -> CacheEntry | None:
        """Return the place of the answer to ``request``; None where its model's answers are not cached.

        ``card`` is None for a model that is still loading: its answer's own card then decides. Raises ParameterRefused.
        """
        if card is not None and not card.deterministic:
            return None
        identity = model.identify(request)
        return None if identity is None else CacheEntry(caller, instances, model.name, *identity)

    def find(self, entry: CacheEntry, card: Card, input_digest: str) -> StoredResult | None:
        """Return the answer in its place; None where there is none to the same input."""
        return self._results.find(entry.key(card), entry.caller, input_digest)

    def store(self, entry: CacheEntry, result: Result, output_digest: str) -> None:
        """Store an answer under the card of the model that made it; log where there is no room for it."""
        if not result.card.deterministic:
            return
        try:
            self._results.keep(entry.key(result.card), entry.caller, result, output_digest, entry.instances)
        except GatewayError as error:
            logger.warning("an answer was not stored: %s", error.code)
