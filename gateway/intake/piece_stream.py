"""The pieces of a body, read in stretches of other lengths."""

from collections.abc import Iterator

from gateway.errors import BrokenBody
from gateway.intake.body import Piece


class PieceStream:
    """The pieces of a body, cut where its tensors end. A piece is valid until the next is taken."""

    def __init__(self, pieces: Iterator[Piece]) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")

    def take(self, size: int) -> Iterator[memoryview]:
        """Yield the next ``size`` bytes, fewer at the end of the body."""
        while size > 0 and (self._rest or self._fill()):
            taken, self._rest = self._rest[:size], self._rest[size:]
            size -= len(taken)
            yield taken

    def _fill(self) -> bool:
        """Take the next piece; return False at the end."""
        self._rest = memoryview(next(self._pieces, b""))
        return len(self._rest) > 0

    def exactly(self, size: int) -> bytearray:
        """Return the next ``size`` bytes. Raises BrokenBody where the body ends before."""
        found = bytearray()
        for piece in self.take(size):
            found += piece
        if len(found) < size:
            raise BrokenBody(f"The body ends {size - len(found)} bytes before the end of its array; send it again.")
        return found
