"""Labels for a study and its series: what the images are, and how much of them is body."""

from typing import Any

import numpy as np

from gateway import Classification, Image
from models.anatomy import body, brightness


def classify(images: list[Image]) -> list[Classification]:
    """Answer free-form labels, shown to the user as they are."""
    series: dict[str, list[Image]] = {}
    for image in images:
        series.setdefault(image.series_instance_uid, []).append(image)
    study = Classification({"images": len(images), "series": len(series)})
    return [study, *(Classification(_describe(found), of=found[0]) for found in series.values())]


def _describe(images: list[Image]) -> dict[str, Any]:
    pixels = [brightness(image) for image in images]
    masks = [body(values) for values in pixels]
    inside = np.concatenate([values[mask] for values, mask in zip(pixels, masks, strict=True)])
    return {
        "modality": images[0].modality or "unknown",
        "images": len(images),
        "body fraction": round(float(np.mean([mask.mean() for mask in masks])), 3),
        "mean value in body": round(float(inside.mean()), 1) if inside.size else None,
    }
