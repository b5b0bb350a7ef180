"""The ``params`` of an inference -> the parameters of a model, the clicks, and the form of the mask."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Self

from gateway.contract.requests import JSON, MODALITY
from gateway.errors import ParameterRefused
from gateway.protocol.monailabel.label_points import BACKGROUND, FOREGROUND, LabelPoints

NRRD, SEG_NRRD, NIFTI_GZ, NIFTI = ".nrrd", ".seg.nrrd", ".nii.gz", ".nii"
EXTENSIONS = (NRRD, SEG_NRRD, NIFTI_GZ, NIFTI)
"""The files that a mask is sent as, by the extension that 3D Slicer's settings have."""
EXTENSION, DTYPE, COMPRESS = "result_extension", "result_dtype", "result_compress"
OVERLAP, REFUSE, LAST = "result_overlap", "refuse", "last"
"""What becomes of regions that overlap in a label map: it is refused, or the last region covers the others."""
STATED = "modality"
"""The modality of a NIfTI file, which states none; "" leaves it open."""
OUTPUT = "output"
"""A typed model's word for the form of its answer, which the address states here."""
OWN = frozenset({EXTENSION, DTYPE, COMPRESS, OVERLAP, STATED, FOREGROUND, BACKGROUND})
"""Words that the gateway reads itself."""
OTHERS = frozenset(
    {
        *("client_id", "description", "device", "image", "label", "label_info", "label_tag", "logging", "model"),
        *("multi_gpu", "gpus", "result_write_to_file", "save_label", "session", "user"),
    }
)
"""Words of the clients, and of MONAI Label's own models. One goes to a model that declares a parameter of its name."""


@dataclass(frozen=True)
class LabelRequest:
    """An inference as its ``params`` state it: the model's parameters, the clicks, and the mask's file."""

    parameters: JSON
    points: LabelPoints = LabelPoints()
    extension: str = ""
    """One of EXTENSIONS, "" where the request leaves it open."""
    compress: bool = False
    covers: bool = False
    """True where the last of regions that overlap covers the others."""

    @classmethod
    def of(cls, params: JSON, declared: Collection[str]) -> Self:
        """Read ``params``; ``declared`` are the names of the model's own parameters. Raises ParameterRefused."""
        chosen = {name: _chosen(params, name) for name in CHOICES}
        points = LabelPoints.of(params.get(FOREGROUND), params.get(BACKGROUND))
        foreign = (OWN | OTHERS) - frozenset(declared) | {OUTPUT}
        own = {name: value for name, value in params.items() if name not in foreign}
        if STATED in foreign and params.get(STATED):
            own[MODALITY] = params[STATED]
        return cls(own, points, chosen[EXTENSION], chosen[COMPRESS], chosen[OVERLAP] == LAST)


CHOICES: Mapping[str, tuple[Any, ...]] = {
    EXTENSION: ("", *EXTENSIONS),
    DTYPE: ("uint8",),
    COMPRESS: (False, True),
    OVERLAP: (REFUSE, LAST),
}
"""The values of the gateway's own words, the default first."""


def _chosen(params: JSON, name: str) -> Any:
    value, choices = params.get(name), CHOICES[name]
    if value is None:
        return choices[0]
    if value not in choices:
        raise _refused(name, f"{name} should be one of {', '.join(map(json.dumps, choices))}.")
    return value


def _refused(name: str, sentence: str) -> ParameterRefused:
    return ParameterRefused([(f"/{name}", sentence)])


def declared_names(schema: JSON) -> Collection[str]:
    """Return the names of the parameters that a model's JSON Schema declares."""
    properties: dict[str, Any] = schema.get("properties", {})
    return properties.keys()
