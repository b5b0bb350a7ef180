"""The rule for the bits of a sample, the same for every codec.

A stored value is in the low Bits Stored bits of its sample, unsigned or in two's complement as Pixel Representation
says; what lies above does not count (PS3.5 8.1.1). That holds for a codestream too, whose own depth and sign may be
others. Where two sound readers would differ, the image is refused.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gateway.errors import StudyRefused

Integers = NDArray[np.integer[Any]]


class StoredBits(NamedTuple):
    """The samples of a header: bits allocated and stored, and the sign."""

    allocated: int
    bits: int
    signed: bool

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(f"{'ui'[self.signed]}{self.allocated // 8}")

    def holds(self, values: Integers) -> bool:
        """Return True if all values lie in the range of the bits stored."""
        largest = (1 << (self.bits - self.signed)) - 1
        return bool(values.size == 0 or (-largest - 1) * self.signed <= values.min() and values.max() <= largest)


def numbers_of(samples: Integers, precision: int, *, signed: bool, at_top: bool) -> Integers:
    """The numbers that a codec decoded, from unsigned samples of ``precision`` bits or their two's complement.

    ``at_top``, they lie in the high bits of their container, signed ones above zero.
    """
    spare = 8 * samples.dtype.itemsize - precision
    if not signed:
        return samples >> spare if at_top and spare else samples
    top = samples ^ (1 << (8 * samples.dtype.itemsize - 1)) if at_top else samples << spare
    numbers: Integers = top.view(f"<i{samples.dtype.itemsize}") >> spare
    return numbers


def stored_values(numbers: Integers, precision: int, *, signed: bool, stored: StoredBits, lossless: bool) -> Integers:
    """The stored values in the numbers that a codec decoded. Raises StudyRefused where readers would differ."""
    if stored.signed and not signed and precision < stored.bits and numbers.max() >> (precision - 1):
        raise StudyRefused("The codestream of an image has fewer bits than Bits Stored, so its signs cannot be told.")
    if stored.holds(numbers):
        return numbers.astype(stored.dtype, copy=False)
    if signed and (stored.signed or precision != stored.bits):
        raise StudyRefused("The codestream of an image is signed, and holds values that Bits Stored has no room for.")
    if not signed and precision > stored.bits and not lossless:
        raise StudyRefused("A lossy codestream of an image holds values that Bits Stored has no room for.")
    unused = stored.allocated - stored.bits
    return (numbers.astype(stored.dtype) << unused) >> unused
