"""What an inference request and the study store have to do with each other: studies by name, and answers kept.

Imported only where there is a store, which brings SQLAlchemy.
"""

import logging
from dataclasses import dataclass
from typing import Any

import flask

from gateway.contract import Model, Request, Result
from gateway.endpoints.kept import Kept, caller_name, kept
from gateway.errors import GatewayError
from gateway.protocol.digests import hash_function
from gateway.running import Card
from gateway.studies.instances import Held
from gateway.studies.references import MEMBERS, Resolved, is_reference
from gateway.studies.results import KeptResult, Key

logger = logging.getLogger("gateway")


@dataclass(frozen=True)
class Named:
    """The studies that one caller may name."""

    kept: Kept
    caller: str

    def is_in(self, words: dict[str, Any]) -> bool:
        """Whether a request's JSON names something."""
        return is_reference(words)

    def without(self, words: dict[str, Any]) -> dict[str, Any]:
        """The request's JSON as it would be if it brought its study: what a model is given."""
        return {name: value for name, value in words.items() if name not in MEMBERS}

    def resolve(self, words: dict[str, Any]) -> Resolved:
        """See ``References.resolve``."""
        return self.kept.references.resolve(words, self.caller)

    def input_digest(self, text: bytes, resolved: Resolved) -> str:
        """See ``References.input_digest``."""
        algorithm = self.kept.store.settings.digest
        return self.kept.references.input_digest(text, resolved, algorithm, hash_function(algorithm))


def named() -> Named:
    """The studies that the caller of this request may name."""
    return Named(kept(), caller_name())


@dataclass(frozen=True)
class Recall:
    """One answer that is worth keeping: of a deterministic model, on instances that the store holds."""

    kept: Kept
    caller: str
    held: tuple[Held, ...]
    model: str
    output: str
    parameters_digest: str

    @classmethod
    def of(cls, model: Model, card: Card | None, request: Request, held: tuple[Held, ...]) -> "Recall | None":
        """Where an answer to ``request`` is kept; None where it is not. Raises ParameterRefused.

        ``card`` is None for a model that is still loading: whether its answer is kept, that answer says.
        """
        identify = getattr(model, "identify", None)
        if not held or identify is None or not (card is None or card.deterministic):
            return None
        return cls(kept(), caller_name(), held, model.name, *identify(request))

    def find(self, card: Card | None, input_digest: str) -> KeptResult | None:
        """The answer as it was given, but for a caller who wants a new one (``no-cache``, RFC 9111 5.2.1.4)."""
        if card is None or flask.request.cache_control.no_cache:
            return None
        return self.kept.results.find(self._key(card), self.caller, input_digest)

    def keep(self, result: Result, output_digest: str) -> None:
        """Keep an answer under the card of the model that made it; where there is no room for it, it is not kept."""
        if not result.card.deterministic:
            return
        try:
            self.kept.results.keep(self._key(result.card), self.caller, result, output_digest, self.held)
        except GatewayError as error:
            logger.warning("an answer was not kept: %s", error.code)

    def _key(self, card: Card) -> Key:
        return Key(
            instances=tuple(one.sha256 for one in self.held),
            model=self.model,
            version=card.version,
            model_digest=card.model_digest,
            weights_digest=card.weights_digest,
            parameters_digest=self.parameters_digest,
            output=self.output,
        )
