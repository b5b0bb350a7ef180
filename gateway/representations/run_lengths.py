"""Masks as run lengths in JSON: the lengths of the runs of equal voxels, and the value of each run."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.protocol.kinds import kind_of
from gateway.representations.answer_files import Answered, mask_array, parts_of

MEMBER = "runs"


def with_run_lengths(answer: Answered) -> dict[str, Any]:
    """Return the JSON of an answer with ``runs`` in the entry of each mask: a list of ``[value, length]``.

    The runs follow each other over the mask in C order, and their lengths add up to its voxels. Raises AnswerInvalid
    for a mask that does not fill its shape.
    """
    parts = [dict(part) for part in parts_of(answer)]
    for index, (part, data) in enumerate(zip(parts, answer.buffers, strict=True)):
        if kind_of(part).is_mask:
            part[MEMBER] = runs(mask_array(part, data, f"/parts/{index}").reshape(-1)).tolist()
    return answer.json | {"parts": parts} if parts else answer.json


def runs(values: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the runs of equal ``values``: int64, (run, 2), the value and the length of each."""
    if not values.size:
        return np.zeros((0, 2), np.int64)
    starts = np.concatenate([[0], np.flatnonzero(values[1:] != values[:-1]) + 1])
    lengths = np.diff(starts, append=values.size)
    return np.stack([values[starts].astype(np.int64), lengths], axis=1)
