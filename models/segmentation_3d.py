"""The body in a CT or MR series as a probability mask; in CT also the air and the bone within it."""

from typing import Annotated

import numpy as np
from pydantic import Field
from scipy import ndimage

from gateway import LabelMask, ProbabilityMask, Requires, Volume
from models.anatomy import body

Air = Annotated[float, Field(ge=-1024, le=3071, description="HU below which there is air")]
Bone = Annotated[float, Field(ge=-1024, le=3071, description="HU above which there is bone")]
Slices = Annotated[Volume, Requires(modality=("CT", "MR"), uneven=True)]
"""A series of any steps: each slice is segmented as it is."""


def segment(volume: Slices, air: Air = -500, bone: Bone = 250) -> list[ProbabilityMask | LabelMask]:
    """Find the body, 0.5 at its rim, and in CT the air and the bone within it."""
    values = volume.array
    inside = body(values)
    probability = ndimage.gaussian_filter(inside.astype(np.float32), sigma=(0, 1.5, 1.5)).clip(0, 1)
    found: list[ProbabilityMask | LabelMask] = [ProbabilityMask(probability, "Body")]
    if volume.modality == "CT":
        tissue = inside * ((values < air) + np.uint8(2) * (values > bone))
        found.append(LabelMask(tissue, {1: "Air", 2: "Bone"}, "Tissue"))
    return found
