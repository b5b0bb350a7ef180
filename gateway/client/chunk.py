"""Some files in one request that may be sent more than once, counted as they leave."""

import json
from collections.abc import Sequence
from typing import Any

from gateway.client.parallel import Tally
from gateway.client.upload import Source, Upload


class Chunk:
    """``words`` as JSON, then files of ``size`` bytes in all; ``tally`` hears of them."""

    def __init__(self, words: Any, media_type: str, files: Sequence[Source], size: int, tally: Tally) -> None:
        self._words = json.dumps(words).encode()
        self._media_type = media_type
        self._files = files
        self._size = size
        self._tally = tally
        self._counted = 0

    def body(self) -> dict[str, Any]:
        """The body of one more try; what the last one sent is to be sent again."""
        self._report(0, 1)
        files = ((self._media_type, file) for file in self._files)
        made = Upload([("application/json", self._words), *files], self._report, None)
        return {"data": made, "headers": {"Content-Type": made.content_type}}

    def _report(self, sent: int, total: int) -> None:
        """Bytes of the body as bytes of the files, which are nearly all of it."""
        now = sent * self._size // total
        self._tally.add(now - self._counted)
        self._counted = now
