"""A request whose files unfold to more than it may use is a 413 that names the limit."""

import json

import pytest

from gateway import Gateway, Image, Mask
from gateway.config import Settings
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.intake.admission import DECODED_FREE, DECODED_RATIO, decoded_bytes
from tests.dicom.studies import image

VALUES = 16 * 16 * 4
"""Bytes of a small image as float32."""


def status(settings: Settings) -> tuple[int, dict[str, object]]:
    """The status of an inference on one image, and the members of the problem."""
    app = Gateway(__name__, settings=settings)

    @app.model("/bright")
    def find_bright(picture: Image) -> Mask:
        return Mask(picture.array > 0, label="bright")

    part = b"--b\r\nContent-Type: application/dicom\r\n\r\n" + convert_dataset_to_bytes(image())
    body = b"--b\r\nContent-Type: application/json\r\n\r\n{}\r\n" + part + b"\r\n--b--\r\n"
    response = app.test_client().post("/bright", data=body, content_type="multipart/related; boundary=b")
    return response.status_code, json.loads(response.data) if response.status_code != 200 else {}


def test_the_largest_that_is_allowed_is_answered() -> None:
    assert status(Settings(max_decoded_bytes=VALUES)) == (200, {})


def test_one_byte_less_is_refused_by_the_name_of_the_setting() -> None:
    code, problem = status(Settings(max_decoded_bytes=VALUES - 1))
    assert (code, problem["limit"], problem["value"]) == (413, "max_decoded_bytes", VALUES - 1)


@pytest.mark.parametrize("size", [0, 1, 1 << 20, 8 << 30])
def test_a_small_request_may_unfold_to_less_than_a_large_one(size: int) -> None:
    settings = Settings()
    found = decoded_bytes(settings, size)
    assert found == min(settings.max_decoded_bytes, DECODED_FREE + DECODED_RATIO * size)
    assert found >= decoded_bytes(settings, 0) == DECODED_FREE
