"""The service of ``durable``, and a model whose answers are stored as results, for the tests of several hosts."""

from gateway import Classification, Volume
from tests.apps.durable import make


def measured(ct: Volume) -> Classification:
    """Answer the same for the same images."""
    return Classification({"slices": str(len(ct.array))})


app = make()
app.model("/measured", version="1.0", deterministic=True)(measured)
