"""The models that every door leads to: of a volume, of an attachment, of parameters alone, and one for each fault."""

import time
from typing import Annotated

from pydantic import Field

from gateway import (
    Attachment,
    BoundingBox,
    Classification,
    Gateway,
    LabelMask,
    Mask,
    Requires,
    Settings,
    Volume,
)
from gateway.contract.execution import Execution
from gateway.contract.requests import current_request
from tests.commands import ROOT

Level = Annotated[float, Field(ge=-1024, le=4000)]


def threshold(
    image: Volume, threshold: Level = 200, label: str = "dense", inverted: bool = False
) -> list[Mask | LabelMask | BoundingBox | Classification]:
    """Voxels above a level, two tissues, a box on the first slice, and counts."""
    found = (image.array <= threshold) if inverted else (image.array > threshold)
    tissues = (image.array > 0).astype("uint8") + (image.array > threshold)
    return [
        Mask(found, label),
        LabelMask(tissues, {1: "soft", 2: "hard"}, "tissue"),
        BoundingBox("box", (1, 2), (5, 6), slice=0),
        Classification({"voxels": int(found.sum()), "threshold": threshold}),
    ]


def attached(image: Volume, level: Attachment) -> Mask:
    """Voxels above the level that an attachment has as text."""
    return Mask(image.array > float(level.read()), "attached")


def text(words: Attachment, times: int = 1) -> Classification:
    """The text of an attachment, repeated; no DICOM at all."""
    return Classification({"text": words.read().decode() * times})


def plain(json_input, files, digest):
    """Count what a plain function receives."""
    sizes = sorted(len(file.read()) for file in files)
    return {"study_ml_json": {"sizes": sizes, "level": json_input.get("level")}}, []


def raises(image: Volume) -> Mask:
    """Fail with a text that no client may read."""
    raise RuntimeError("DOE^JANE in /var/data")


def endless(image: Volume) -> Mask:
    """Run until its deadline."""
    while not current_request().cancelled():
        time.sleep(0.01)
    return Mask(image.array > 0)


def make(settings: Settings | None = None) -> Gateway:
    """The service, with settings of a test's own."""
    made = Gateway(__name__, settings=settings)
    made.model("/threshold", version="1.0", deterministic=True)(threshold)
    made.model("/mr", requires=Requires(modality="MR"))(threshold)
    made.model("/endless", execution=Execution(timeout=0.2))(endless)
    for model in (attached, text, raises):
        made.model(f"/{model.__name__}")(model)
    made.add_inference_route("/plain", plain)
    made.add_wasm_route("/otsu", ROOT / "models/wasm/otsu_mask.wasm", finds=Mask)
    return made


app = make()
