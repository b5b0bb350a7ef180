"""The gateway's own models without observability: the baseline of its cost."""

from typing import Any

from benchmarks.models import MODELS
from gateway import Gateway


class _Nobody:
    """A gauge that discards its number."""

    def inc(self, amount: float = 1) -> None:
        """Do nothing."""

    dec = inc


class Unseen(Gateway):
    """A gateway without sinks."""

    def open(self, *args: Any, **kwargs: Any) -> None:
        """Open the gateway, then drop the sinks."""
        super().open(*args, **kwargs)
        service = self.service
        service.sinks.clear()
        vars(service.metrics)["in_flight"] = vars(service.metrics)["spool_bytes"] = _Nobody()


app = Unseen(__name__)
for route, model in MODELS.items():
    app.add_inference_route(route, model)
