"""Labels for a study and its series: what the images are, and how much of them is body."""

from typing import Any, BinaryIO

import numpy as np

from models.anatomy import Slice, body, read_images


def classify(json_input: dict[str, Any], dicom_instances: list[BinaryIO], input_digest: str) -> Any:
    """Answer free-form labels, shown to the user as they are."""
    series: dict[str, list[Slice]] = {}
    for image in read_images(dicom_instances):
        series.setdefault(image.header.SeriesInstanceUID, []).append(image)
    answer = {
        "protocol_version": "1.0",
        "parts": [],
        "study_ml_json": {"images": sum(map(len, series.values())), "series": len(series)},
        "series_ml_json": {uid: _describe(images) for uid, images in series.items()},
    }
    return answer, []


def _describe(images: list[Slice]) -> dict[str, Any]:
    masks = [body(image.pixels) for image in images]
    inside = np.concatenate([image.pixels[mask] for image, mask in zip(images, masks, strict=True)])
    return {
        "modality": str(images[0].header.get("Modality", "unknown")),
        "images": len(images),
        "body fraction": round(float(np.mean([mask.mean() for mask in masks])), 3),
        "mean value in body": round(float(inside.mean()), 1) if inside.size else None,
    }
