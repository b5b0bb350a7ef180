"""The models of ``durable``, which wait as they are told, and one of volumes."""

from gateway import Mask, Volume
from tests.apps import durable

app = durable.make()


@app.model("/dense")
def dense(ct: Volume, threshold: float = 200) -> Mask:
    """Return what is denser than the threshold."""
    return Mask(ct.array > threshold, "dense")
