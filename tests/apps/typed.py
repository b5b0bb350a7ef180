"""A service of typed models, served by the tests under real gunicorn."""

import os
import time
from pathlib import Path
from typing import Annotated

from pydantic import Field

from gateway import Gateway, Image, Mask, Requires, Volume

app = Gateway(__name__)


@app.model("/dense", version="1.2.0", requires=Requires(modality="CT"))
def dense(ct: Volume, threshold: Annotated[float, Field(ge=-1024, le=3071, description="HU")] = 100) -> Mask:
    """Everything above a threshold."""
    return Mask(ct.array > threshold, "Dense")


@app.model("/images")
def images(images: list[Image], seconds: float = 0) -> list[Mask]:
    """Everything that is not black, after a while."""
    time.sleep(seconds)
    return [Mask(image.array.reshape(*image.shape, -1).max(axis=-1) > 0, "Bright", of=image) for image in images]


@app.model("/slow", forbid_unknown=True)
class Slow:
    """Loads for as long as a file exists, and writes a note when it is closed."""

    def setup(self) -> None:
        while (hold := os.environ.get("HOLD")) and Path(hold).exists():
            time.sleep(0.01)
        self.threshold = 100

    def predict(self, ct: Volume) -> Mask:
        return ct.array > self.threshold

    def close(self) -> None:
        if folder := os.environ.get("NOTES"):
            Path(folder, "closed").write_text("closed")
