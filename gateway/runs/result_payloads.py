"""The answer of a run as a payload: its parts end to end, and the words that take them apart. Twins."""

from dataclasses import asdict

from gateway.contract.execution import Card
from gateway.contract.requests import BinaryPart, Result
from gateway.observe.audit.receipts import Receipt
from gateway.runs.payloads import Words


def packed(result: Result, *, output_digest: str, algorithm: str, receipt: Receipt) -> tuple[Words, list[memoryview]]:
    """Return the words about an answer, and its bytes in pieces. ``algorithm`` made its digests."""
    pieces = [memoryview(result.json_bytes), *(part.data for part in result.parts)]
    media_types = ["application/json", *(part.media_type for part in result.parts)]
    words = {
        "input_digest": result.input_digest,
        "output_digest": output_digest,
        "algorithm": algorithm,
        "seconds": result.seconds,
        "model": asdict(result.card),
        "receipt": receipt,
        "parts": [[media_type, piece.nbytes] for media_type, piece in zip(media_types, pieces, strict=True)],
    }
    return words, pieces


def unpacked(words: Words, body: memoryview) -> Result:
    """Return the answer."""
    parts, start = list[BinaryPart](), 0
    for media_type, size in words["parts"]:
        parts.append(BinaryPart(media_type, body[start : start + size]))
        start += size
    card = Card(**words.get("model", {}))
    return Result(bytes(parts[0].data), parts[1:], words["input_digest"], words["seconds"], card=card)
