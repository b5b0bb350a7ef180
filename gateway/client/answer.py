"""An answer of a gateway: read piece by piece, checked against its own hashes, and saved as files."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from gateway.client.errors import AnswerCorrupt, one_line
from gateway.client.upload_body import NewHash
from gateway.contract.brief import Brief
from gateway.errors import AnswerInvalid, GatewayError
from gateway.protocol.digests import Hash
from gateway.wire import Data, Headers, Part, decode, parse_options_header

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Mask = NDArray[np.uint8]

HASHES_LENGTH = 129
"""Two digests in hexadecimal digits with a colon between them."""


@dataclass(frozen=True, repr=False)
class Answer(Brief):
    """A checked answer: the model's JSON, one buffer for each entry of its ``parts``, and both digests.

    ``model`` and ``model_version`` are "" where the gateway does not name them.
    """

    _shown = frozenset({"request_id"})

    json: dict[str, Any]
    buffers: tuple[memoryview, ...]
    media_types: tuple[str, ...]
    input_digest: str
    output_digest: str
    request_id: str = ""
    model: str = ""
    model_version: str = ""

    @property
    def parts(self) -> list[dict[str, Any]]:
        """The JSON entries that describe ``buffers``, in the same order."""
        return list(self.json.get("parts") or self.json.get("aiges") or [])

    def masks(self) -> "list[Mask]":
        """The masks in order: read-only uint8, (timepoints, depth, height, width) as far as declared, C order.

        Probabilities and heatmaps are 0 to 255 for 0 to 1. Raises AnswerCorrupt where a buffer does not fill its shape.
        """
        return [
            _shaped(buffer, part, f"/parts/{index}")
            for index, (part, buffer) in enumerate(zip(self.parts, self.buffers, strict=True))
            if is_mask(part)
        ]

    def save(self, out: Path, *, legacy: bool = False) -> list[Path]:
        """Write ``response.json``, ``output_masks_N.npy`` from 1 and DICOM parts by what they are; returns the paths.

        Those are ``seg_N.dcm``, ``sr_N.dcm``, ``gsps_N.dcm``, ``pm_N.dcm``, ``sc_N.dcm`` and ``dicom_N.dcm``, each from
        0. ``legacy`` writes masks as bare bytes and all DICOM as ``sc_N.dcm``, as the predecessor's tool did. Files of
        an earlier answer in the same folder are replaced, all of them: its second mask beside this one's first would be
        taken for this one's. Raises ClientError where the folder has other files, and OSError; the folder then stays as
        it was.
        """
        from gateway.client.saving import save

        return save(self, out, legacy=legacy)


def read_answer(content_type: str, pieces: Iterable[bytes], request_id: str, new_hash: NewHash) -> Answer:
    """Decode a ``multipart/related`` answer as it arrives and check it against its hashes.

    Raises AnswerCorrupt where it is truncated, not as protocol 1.0 lays it out, or not what the server hashed.
    """
    try:
        digest = new_hash()
        received = list(_receive(content_type, pieces, digest))
        return replace(_checked(received, digest.hexdigest()), request_id=request_id)
    except AnswerCorrupt as error:
        error.request_id = request_id
        raise
    except GatewayError as error:
        raise AnswerCorrupt(
            f"The answer cannot be read: {error.detail or error.title}", request_id=request_id
        ) from error


@dataclass
class _Received:
    name: str
    media_type: str
    data: bytearray

    @classmethod
    def begin(cls, headers: Headers) -> Self:
        disposition = parse_options_header(headers.get("Content-Disposition", ""))[1]
        media_type, _ = parse_options_header(headers.get("Content-Type", ""))
        return cls(disposition.get("name", ""), media_type, bytearray())

    @property
    def is_hashes(self) -> bool:
        return self.name == "hashes" or (not self.name and self.media_type == "text/plain")


def _receive(content_type: str, pieces: Iterable[bytes], digest: Hash) -> Iterator[_Received]:
    """Yield the parts in order, each once it is complete; all but the hashes update ``digest``."""
    media_type, parameters = parse_options_header(content_type)
    if media_type != "multipart/related" or not parameters.get("boundary"):
        raise AnswerCorrupt(f"The answer is {media_type or 'of no media type'}, not multipart/related.")
    part = None
    for event in decode(parameters["boundary"], pieces):
        if isinstance(event, Part):
            if part is not None:
                yield part
            part = _Received.begin(event.headers)
        elif isinstance(event, Data) and part is not None:
            part.data += event.data
            if not part.is_hashes:
                digest.update(event.data)
    if part is not None:
        yield part


def _checked(received: list[_Received], output_digest: str) -> Answer:
    if received and received[-1].name == "problem":
        raise AnswerCorrupt(f"The answer broke off: {_detail(received[-1].data)}")
    if not received or not received[-1].is_hashes or len(received[-1].data) != HASHES_LENGTH:
        raise AnswerCorrupt("The answer does not end with its hashes.")
    *contents, hashes = received
    input_digest, _, declared = hashes.data.decode("ascii", "replace").partition(":")
    if declared != output_digest:
        raise AnswerCorrupt("The answer is damaged: its bytes do not match its own digest.")
    document = _document(contents)
    binary = [part for part in contents[1:] if part.name != "json-body"]
    buffers = tuple(memoryview(part.data).toreadonly() for part in binary)
    media_types = tuple(part.media_type for part in binary)
    answer = Answer(document, buffers, media_types, input_digest, output_digest)
    if len(answer.parts) != len(buffers):
        raise AnswerCorrupt(f"The answer declares {len(answer.parts)} parts and carries {len(buffers)}.")
    return answer


def _document(contents: list[_Received]) -> dict[str, Any]:
    """The JSON object in the first part, with a checked ``parts``; a streamed answer continues with ``aiges``."""
    try:
        document = json.loads(contents[0].data)
        later = [json.loads(part.data) for part in contents[1:] if part.name == "json-body"]
    except (IndexError, ValueError, RecursionError) as error:
        raise AnswerCorrupt("The answer's first part is not JSON.") from error
    for more in (document, *later):
        parts = more.get("parts") or more.get("aiges") or [] if isinstance(more, dict) else None
        if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
            raise AnswerCorrupt("The answer's JSON is not an object with a list of parts.")
    if later:
        document["aiges"] = [entry for more in (document, *later) for entry in more.get("aiges") or []]
    return dict(document)


def _detail(problem: bytearray) -> str:
    try:
        members = json.loads(problem)
        return one_line(str(members.get("detail") or members["title"]))
    except (ValueError, RecursionError, KeyError, AttributeError):
        return "the reason is missing."


def is_mask(part: dict[str, Any]) -> bool:
    """Return True if an entry of ``parts`` describes a mask."""
    from gateway.protocol.kinds import kind_of  # brings numpy

    return kind_of(part).is_mask


def _shaped(buffer: memoryview, part: dict[str, Any], pointer: str) -> "Mask":
    from gateway.representations.answer_files import mask_array  # brings numpy

    try:
        return mask_array(part, buffer, pointer)
    except AnswerInvalid as error:
        raise AnswerCorrupt(error.detail) from error
