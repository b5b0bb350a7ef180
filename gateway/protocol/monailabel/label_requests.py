"""The ``params`` of an inference -> the parameters of a model, the clicks, and the form of the mask."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Self

from gateway.contract.requests import JSON
from gateway.errors import ParameterRefused
from gateway.protocol.monailabel.label_points import BACKGROUND, FOREGROUND, LabelPoints

NRRD, SEG_NRRD, NIFTI_GZ, NIFTI = ".nrrd", ".seg.nrrd", ".nii.gz", ".nii"
EXTENSIONS = (NRRD, SEG_NRRD, NIFTI_GZ, NIFTI)
"""The files that a mask is sent as, by the extension that 3D Slicer's settings have."""
EXTENSION, DTYPE, COMPRESS = "result_extension", "result_dtype", "result_compress"
OUTPUT = "output"
"""A typed model's word for the form of its answer, which the address states here."""
OWN = frozenset({EXTENSION, DTYPE, COMPRESS, FOREGROUND, BACKGROUND})
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

    @classmethod
    def of(cls, params: JSON, declared: Collection[str]) -> Self:
        """Read ``params``; ``declared`` are the names of the model's own parameters. Raises ParameterRefused."""
        extension, dtype, compress = params.get(EXTENSION, ""), params.get(DTYPE, "uint8"), params.get(COMPRESS, False)
        if extension not in ("", None, *EXTENSIONS):
            raise _refused(EXTENSION, f"{EXTENSION} should be one of {', '.join(EXTENSIONS)}.")
        if dtype not in (None, "uint8"):
            raise _refused(DTYPE, f"{DTYPE} should be uint8, which every mask is here.")
        if compress not in (None, True, False):
            raise _refused(COMPRESS, f"{COMPRESS} should be true or false.")
        points = LabelPoints.of(params.get(FOREGROUND), params.get(BACKGROUND))
        foreign = (OWN | OTHERS) - frozenset(declared) | {OUTPUT}
        own = {name: value for name, value in params.items() if name not in foreign}
        return cls(own, points, extension or "", bool(compress))


def _refused(name: str, sentence: str) -> ParameterRefused:
    return ParameterRefused([(f"/{name}", sentence)])


def declared_names(schema: JSON) -> Collection[str]:
    """Return the names of the parameters that a model's JSON Schema declares."""
    properties: dict[str, Any] = schema.get("properties", {})
    return properties.keys()
