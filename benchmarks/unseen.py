"""The gateway's own models where nobody is told what happens: the baseline of being seen."""

from typing import Any

from benchmarks.models import MODELS
from gateway import Gateway


class _Nobody:
    """A gauge that keeps no number."""

    def inc(self, amount: float = 1) -> None:
        """Nothing."""

    dec = inc


class Unseen(Gateway):
    """A gateway without sinks."""

    def open(self, *args: Any, **kwargs: Any) -> None:
        """As ever, and then let the sinks go."""
        super().open(*args, **kwargs)
        service = self.service
        service.sinks.clear()
        vars(service.metrics)["in_flight"] = vars(service.metrics)["spool_bytes"] = _Nobody()


app = Unseen(__name__)
for route, model in MODELS.items():
    app.add_inference_route(route, model)
