"""The sockets of a grand-challenge algorithm: what stands in ``/input`` as tensors and parameters of a model.

``inputs.json`` lists the inputs of a job, each with the socket that it fills: a slug, a path relative to the folder,
and whether it is an image or a value (grand-challenge.org, documentation, "Runtime environment").
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.batch.itk_images import ItkImage, read_image
from gateway.contract.model import Argument
from gateway.errors import GatewayError
from gateway.protocol.tensors import BYTES, DTYPES, MEMBER, Tensor

INPUTS = "inputs.json"
SUFFIXES = (".mha", ".tif", ".tiff")
"""The formats of images there."""
MODALITIES = {"ct": "CT", "mr": "MR", "mri": "MR", "pet": "PT", "ultrasound": "US", "mammography": "MG"}
"""Words of a slug that name a modality, which these images do not state themselves."""


class ChallengeRefused(GatewayError):
    """Inputs of a job that the model does not take."""


@dataclass(frozen=True)
class ChallengeJob:
    """A job: the JSON of its request, the tensors behind it in their order, and its images by argument."""

    words: dict[str, Any]
    tensors: Sequence[NDArray[Any]]
    images: Mapping[str, ItkImage]


@dataclass(frozen=True)
class _Socket:
    slug: str
    path: Path
    is_image: bool

    @property
    def name(self) -> str:
        """The slug as an argument of a Python function."""
        return self.slug.replace("-", "_")


def read_job(folder: Path, arguments: Sequence[Argument]) -> ChallengeJob:
    """Read the inputs of a job for a model with these arguments.

    An image is the argument that its slug names, or the only one. Raises ChallengeRefused, StudyRefused, ImportError.
    """
    sockets = _sockets(folder)
    takers = {one.name: one.type for one in arguments if one.type in ("Volume", "Image") and not one.many}
    pictures = [one for one in sockets if one.is_image]
    names = {one.name: one for one in pictures if one.name in takers}
    if len(pictures) == len(takers) == 1:
        names = {next(iter(takers)): pictures[0]}
    if left := [one.slug for one in pictures if one not in names.values()]:
        raise ChallengeRefused(
            f"no argument of the model is named after the image {left[0]}; it takes {', '.join(takers) or 'no image'}"
        )
    tensors: list[tuple[str, NDArray[Any]]] = []
    images: dict[str, ItkImage] = {}
    for name, socket in names.items():
        images[name] = image = read_image(_only_file(socket.path))
        if takers[name] == "Volume" and image.array.ndim != 3:
            raise ChallengeRefused(f"the image {socket.slug} is a picture, and {name} is a volume")
        tensors += _tensors(name, image, socket.slug, volume=takers[name] == "Volume")
    described = [
        Tensor(name, _datatype(array), array.shape or (1,), at).entry() for at, (name, array) in enumerate(tensors)
    ]
    values = {one.name: _json(one.path) for one in sockets if not one.is_image}
    return ChallengeJob(values | {MEMBER: described}, [array for _, array in tensors], images)


def _sockets(folder: Path) -> list[_Socket]:
    listed = _json(folder / INPUTS)
    found = []
    for entry in listed if isinstance(listed, list) else [None]:
        members = entry if isinstance(entry, dict) else {}
        socket: Any = members.get("socket") or members.get("interface")
        try:
            slug, relative = str(socket["slug"]), str(socket["relative_path"])
            is_image = socket.get("super_kind") == "Image" or relative.startswith("images/")
        except (TypeError, KeyError):
            raise ChallengeRefused(f"{INPUTS} should be a list of inputs with a socket each") from None
        path = folder / relative
        if not path.resolve().is_relative_to(folder.resolve()):
            raise ChallengeRefused(f"the socket {slug} lies outside of the input")
        found.append(_Socket(slug, path, is_image))
    return found


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ChallengeRefused(f"{path.name} cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise ChallengeRefused(f"{path.name} is not JSON") from error


def _only_file(folder: Path) -> Path:
    found = [path for path in sorted(folder.glob("*")) if path.suffix.lower() in SUFFIXES]
    if len(found) != 1:
        raise ChallengeRefused(f"{folder.name} should have one image of {', '.join(SUFFIXES)}; it has {len(found)}")
    return found[0]


def _tensors(name: str, image: ItkImage, slug: str, *, volume: bool) -> list[tuple[str, NDArray[Any]]]:
    """Return an image and what it states as tensors, by their names."""
    array = image.array.astype(np.uint8) if image.array.dtype == np.bool_ else image.array
    found: list[tuple[str, NDArray[Any]]] = [(name, array.astype(array.dtype.newbyteorder("<"), copy=False))]
    if volume:
        found.append((f"{name}.affine", image.affine))
    else:
        found.append((f"{name}.spacing", np.array(image.spacing[1::-1], np.float64)))
    if modality := next((MODALITIES[word] for word in slug.split("-") if word in MODALITIES), ""):
        found.append((f"{name}.modality", np.array(modality.encode())))
    return found


def _datatype(array: NDArray[Any]) -> str:
    return next((datatype for datatype, name in DTYPES.items() if np.dtype(name) == array.dtype), BYTES)
