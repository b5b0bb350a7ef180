"""The modules of the gateway that one request passes, in order: traced, not guessed.

``python -m tests.house.request_trace`` prints them, with their number and that of the changes of room.
"""

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from gateway import Gateway, Mask, Volume
from gateway.dicom.samples import phantom
from gateway.wire import OutgoingPart, encode, new_boundary


def application() -> Gateway:
    """A typed model that is run inline, as the documents draw it."""
    app = Gateway(__name__)

    @app.model("/bone")
    def bone(ct: Volume, threshold: float = 300) -> Mask:
        return Mask(ct.array > threshold)

    return app


def message() -> tuple[str, bytes]:
    """A boundary, and a request with a phantom study."""
    boundary, parts = new_boundary(), [OutgoingPart.named("json", "application/json", b"{}")]
    for number, dataset in enumerate(phantom.datasets(slices=4, size=32)):
        dataset.save_as(file := io.BytesIO(), enforce_file_format=True)
        parts.append(OutgoingPart.named(str(number), "application/dicom", file.getvalue()))
    return boundary, b"".join(bytes(piece) for piece in encode(boundary, parts))


def send(app: Gateway, boundary: str, body: bytes) -> None:
    """Send a request and read the whole answer."""
    content_type = f'multipart/related; boundary="{boundary}"'
    with app.test_client().post("/bone", data=body, content_type=content_type) as answer:
        assert answer.status_code == 200, answer.get_data(as_text=True)
        assert answer.data


def passed() -> list[str]:
    """The modules whose functions are called while a request is answered, such as ``service.exchange``, as called."""
    boundary, body = message()
    send(application(), boundary, body)  # imports and caches of the process are not part of a request's way
    called: list[str] = []
    app = application()  # its model's thread is new, and traced
    app.open()
    with _traced(called):
        send(app, boundary, body)
    return called


@contextmanager
def _traced(called: list[str]) -> Iterator[None]:
    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            name = str(frame.f_globals.get("__name__", "")).removeprefix("gateway.")
            if str(frame.f_globals.get("__name__", "")).startswith("gateway.") and called[-1:] != [name]:
                called.append(name)

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)


if __name__ == "__main__":
    way = passed()
    rooms = [name.partition(".")[0] for name in way]
    changes = sum(one != other for one, other in zip(rooms, rooms[1:], strict=False))
    sys.stdout.write(f"{len(set(way))} modules, {len(set(rooms))} rooms, {changes} changes of room\n")
    sys.stdout.writelines(f"{name}\n" for name in dict.fromkeys(way))
