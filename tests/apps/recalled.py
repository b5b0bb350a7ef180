"""Models that tell how often they ran, in the file that TEST_CALLS names: one that always gives the same, one that may
not. TEST_VERSION and TEST_WEIGHTS are those of the first."""

import os
from pathlib import Path

from gateway import Gateway, Mask, Volume

app = Gateway(__name__)


def counted() -> None:
    with Path(os.environ["TEST_CALLS"]).open("a") as file:
        file.write("x")


@app.model(
    "/same",
    version=os.environ.get("TEST_VERSION", "1.0"),
    weights=[os.environ["TEST_WEIGHTS"]] if "TEST_WEIGHTS" in os.environ else [],
    deterministic=True,
    forbid_unknown=True,
)
def same(ct: Volume, threshold: float = 100) -> Mask:
    """Everything above a threshold; refuses unknown parameters."""
    counted()
    return Mask(ct.array > threshold, "Dense")


@app.model("/free")
def free(ct: Volume, threshold: float = 100) -> Mask:
    """The same, and promises nothing."""
    counted()
    return Mask(ct.array > threshold, "Dense")
