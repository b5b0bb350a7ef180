"""The gateway with a threshold on a tensor, and on the same bytes as a file of a multipart request."""

from typing import Any, BinaryIO

import numpy as np

from gateway import Gateway, Mask, Volume

app = Gateway(__name__)


@app.model("/threshold")
def threshold(volume: Volume) -> Mask:
    """Voxels above 0."""
    return Mask(volume.array > 0)


def multipart(json_input: dict[str, Any], files: list[BinaryIO], digest: str) -> tuple[dict[str, Any], list[Any]]:
    """Voxels above 0 of a file of float32."""
    depth, height, width = json_input["shape"]
    values = np.frombuffer(files[0].getbuffer(), np.float32)  # type: ignore[attr-defined]  # as a part has it
    shape = {"timepoints": 1, "depth": depth, "height": height, "width": width}
    words = {"parts": [{"binary_type": "boolean_mask", "binary_data_shape": shape}]}
    return words, [(values > 0).reshape(depth, height, width)]


app.add_inference_route("/multipart", multipart)
