"""Two models that rules send studies to: one of any CT, and one that wants many slices."""

from typing import Annotated

from gateway import BoundingBox, Gateway, Requires, Settings, Volume

app = Gateway(__name__, settings=Settings())


@app.model("/lungs")
def lungs(ct: Volume) -> BoundingBox:
    """Return one box."""
    return BoundingBox("lung", (1, 1), (3, 3), slice=0, of=ct)


@app.model("/thick")
def thick(ct: Annotated[Volume, Requires(min_slices=100)]) -> BoundingBox:
    """Refuse all but long series."""
    return BoundingBox("lung", (1, 1), (3, 3), slice=0, of=ct)
