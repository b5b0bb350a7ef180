"""The store of one application, and what is read and written through it."""

from dataclasses import dataclass, field

from gateway.studies.bundles import Bundles
from gateway.studies.forgetting import Sink, log_forgotten
from gateway.studies.references import References
from gateway.studies.results import Results
from gateway.studies.store import Store


@dataclass
class StoreContext:
    """A store with its references, results and bundles; ``audit`` is notified of each study that was forgotten."""

    store: Store
    audit: Sink = log_forgotten
    references: References = field(init=False)
    results: Results = field(init=False)
    bundles: Bundles = field(init=False)

    def __post_init__(self) -> None:
        self.references = References(self.store)
        self.results = Results(self.store)
        self.bundles = Bundles(self.store)
