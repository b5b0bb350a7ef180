"""The region that a session's model shows, as numbered states and the change that led to each."""

import json
from typing import Any

import numpy as np

from gateway.contract.requests import EncodedAnswer
from gateway.protocol.kinds import kind_of
from gateway.protocol.region_changes import Bounds, Labels, RegionChange


class ShownRegion:
    """The mask that was shown last. ``sequence`` numbers what was shown, from 1; 0 is the region without a voxel."""

    def __init__(self) -> None:
        self.sequence = 0
        self.label = ""
        self.change: RegionChange | None = None
        """What the last number has changed; None before a mask was shown."""
        self._labels: Labels | None = None

    @property
    def size(self) -> int:
        """Bytes of memory."""
        return 0 if self._labels is None else self._labels.nbytes

    def show(self, shown: EncodedAnswer | None, *, expected: bool) -> None:
        """Take what the model shows with a question; an ``expected`` one has a new number even if it is the same.

        What shows no mask leaves the region as it is.
        """
        before, after = self._labels, self._mask(shown)
        after = before if after is None else after
        if after is None:
            self.sequence += expected
            return
        known = before is not None and before.shape == after.shape
        since, number = (self.sequence if known else 0), self.sequence + 1
        change = RegionChange.between(before if known else None, after, since, number)
        if expected or not known or change.bounds is not None:
            self.sequence, self.change, self._labels = number, change, after

    def since(self, number: int) -> RegionChange | None:
        """Return what has changed since a number; where that is not the last one, all of the region, since 0."""
        labels, sequence = self._labels, self.sequence
        if labels is None:
            return None
        if number == sequence:
            return RegionChange(sequence, sequence, (labels.shape[0], labels.shape[1], labels.shape[2]))
        return RegionChange.between(None, labels, 0, sequence)

    def within(self, bounds: Bounds) -> RegionChange | None:
        """Return the values in a box of the region; None before a mask was shown. Raises ValueError for one outside."""
        return None if self._labels is None else RegionChange.within(self._labels, bounds, self.sequence)

    def _mask(self, shown: EncodedAnswer | None) -> Labels | None:
        """Return a copy of the first mask of an answer, since the model may change its own."""
        if shown is None:
            return None
        entries: list[dict[str, Any]] = json.loads(shown.json_bytes).get("parts", [])
        for entry, part in zip(entries, shown.parts, strict=True):
            if kind_of(entry).form is not None:
                self.label = str(entry.get("label", ""))
                sizes = entry["binary_data_shape"]
                shape = sizes.get("depth", 1), sizes["height"], sizes["width"]
                return np.frombuffer(part.data, np.uint8).reshape(shape).copy()
        return None
