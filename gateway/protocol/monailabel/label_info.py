"""What ``GET /info/`` and ``GET /datastore/`` say: the models, and the images that are there."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.contract.model import Model, ModelDescription
from gateway.contract.requests import JSON
from gateway.protocol.monailabel.label_requests import LAST, OUTPUT, OVERLAP, REFUSE, STATED

NAME, DESCRIPTION = "Inference gateway", "Models that were written for this gateway, as MONAI Label's clients see them."
MASKS = frozenset({"Mask", "LabelMask", "ProbabilityMask", "Heatmap"})
"""The classes of findings that a label map is made of."""
MODALITIES = ("CT", "MR", "PT", "NM", "US")
"""Modalities of volumes (PS3.3 C.7.3.1.1.1); a request may state others."""
SCALARS = (bool, int, float, str)
ROOT_MODEL = "default"
"""The name of the model on ``/``."""


def label_model_name(route: str) -> str:
    """Return the name of a route's model: the path without its first slash."""
    return route.strip("/") or ROOT_MODEL


def model_type(model: Model, description: ModelDescription) -> str:
    """Return MONAI Label's word for what a model does (``InferType``); 3D Slicer has a panel for some of them."""
    findings = description.findings
    if model.interactive:
        return "deepgrow"
    if findings is None or MASKS & set(findings):
        return "segmentation"
    if "BoundingBox" in findings:
        return "detection"
    return "classification" if "Classification" in findings else "others"


def model_words(model: Model) -> JSON:
    """Return a model; ``config`` are the defaults of its parameters, which 3D Slicer shows as a table."""
    description = model.describe()
    types = [one.type for one in description.arguments or ()]
    return {
        "type": model_type(model, description),
        "labels": [],  # an answer names its own
        "dimension": 2 if types and "Image" in types and "Volume" not in types else 3,
        "description": description.text.partition("\n")[0] or description.name,
        "config": dict(_defaults(model.parameters_schema("#/{model}"))) | dict(_options(description)),
    }


def _options(description: ModelDescription) -> Iterable[tuple[str, list[str]]]:
    """Options of the gateway's own, of which 3D Slicer chooses the first unless a person chooses another."""
    if description.findings is None or MASKS & set(description.findings):
        yield OVERLAP, [REFUSE, LAST]
    if any(one.type == "Volume" for one in description.arguments or ()):
        yield STATED, ["", *MODALITIES]


def _defaults(schema: JSON) -> Iterable[tuple[str, Any]]:
    properties: dict[str, JSON] = schema.get("properties", {})
    for name, one in properties.items():
        default = one.get("default")
        if name == OUTPUT:
            continue
        if isinstance(one.get("enum"), list) and default in one["enum"]:
            yield name, [str(default), *(str(value) for value in one["enum"] if value != default)]
        elif isinstance(default, SCALARS):
            yield name, float(default) if one.get("type") == "number" else default


def info_words(models: Mapping[str, Model], version: str, datastore: JSON) -> JSON:
    """Return the application; ``models`` by their names. It trains nothing and chooses no samples."""
    return {
        "name": NAME,
        "description": DESCRIPTION,
        "version": version,
        "labels": [],
        "models": {name: model_words(model) for name, model in models.items()},
        "trainers": {},
        "strategies": {},
        "scoring": {},
        "train_stats": {},
        "datastore": datastore,
    }


@dataclass(frozen=True)
class LabelImage:
    """An image of the datastore: a stored series, and when it was stored, in seconds since 1970."""

    series_instance_uid: str
    study_instance_uid: str
    stored_at: float

    def words(self) -> JSON:
        """Return its entry in the list of the datastore, as MONAI Label writes it."""
        return {"image": {"ext": ".nii.gz", "info": self.info()}, "labels": {}}

    def info(self) -> JSON:
        """Return what is known of it; no name of a patient."""
        return {
            "ts": int(self.stored_at),
            "name": f"{self.series_instance_uid}.nii.gz",
            "StudyInstanceUID": self.study_instance_uid,
            "SeriesInstanceUID": self.series_instance_uid,
        }


def status_words(total: int) -> JSON:
    """Return the counts of the datastore; labels are not stored."""
    return {"total": total, "completed": 0, "label_tags": {}, "label_names": {}}


def datastore_words(images: Iterable[LabelImage]) -> JSON:
    """Return all images of the datastore by their ids."""
    objects = {image.series_instance_uid: image.words() for image in images}
    return {"name": NAME, "description": "Series of the study store", "objects": objects}
