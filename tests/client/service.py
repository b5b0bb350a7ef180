"""Models that return one finding of each kind for a volume; ``calls`` counts their runs."""

import os
from pathlib import Path

import numpy as np

from gateway import (
    BoundingBox,
    Classification,
    Gateway,
    Heatmap,
    LabelMask,
    LinearMeasurement,
    Mask,
    ProbabilityMask,
    Requires,
    Volume,
)

app = Gateway(__name__)
Everything = Mask | ProbabilityMask | LabelMask | Heatmap | BoundingBox | LinearMeasurement | Classification


@app.model("/everything", version="1.0", deterministic=True)
def everything(ct: Volume, threshold: float = 300) -> list[Everything]:
    """One finding of each kind that has a place."""
    if calls := os.environ.get("TEST_CALLS"):
        with Path(calls).open("a") as file:
            file.write("x")
    chance = np.clip(ct.array / 1000, 0, 1)
    labels = (ct.array > 0).astype(np.uint8) + (ct.array > threshold)
    return [
        Mask(ct.array > threshold, "dense"),
        ProbabilityMask(chance, "chance", threshold=0.25),
        LabelMask(labels, {1: "soft", 2: "hard"}, "tissue"),
        Heatmap(chance, "heat", palette=[(0, (0, 0, 0, 0)), (1, (255, 0, 0, 255))]),
        BoundingBox("box", (1, 2), (10, 12), slice=3),
        LinearMeasurement("across", (1, 2), (10, 2), slice=2),
        Classification({"side": "left", "score": 0.5}),
    ]


@app.model("/mr", requires=Requires(modality="MR"))
def for_mr(mr: Volume) -> Mask:
    """Never accepts the phantom, which is CT."""
    return Mask(mr.array > 0)


@app.model("/dense")
def dense(ct: Volume) -> Mask:
    """A mask alone, which in DICOM is a segmentation alone."""
    return Mask(ct.array > 200, "dense")


@app.model("/umlaut", version="2; 50 % ß")
def größe(ct: Volume) -> Classification:
    """A name and a version that a header field cannot have as they are."""
    return Classification({"slices": ct.shape[0]})
