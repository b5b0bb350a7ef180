"""A client written for the predecessor, against a service written for the predecessor, under gunicorn."""

import email
import http.client
import json
import re
from email.encoders import encode_noop
from email.mime.application import MIMEApplication
from email.mime.multipart import MIMEMultipart
from email.policy import HTTP
from typing import Any
from urllib.parse import urlsplit

import numpy
import pydicom
import pytest
import requests

from tests.compat.client import decode, encode, hashes, post, split_on_boundary
from tests.compat.conftest import Service
from tests.waiting import PATIENCE

OPTIONS = {"inference_command": "other", "größe": [1, 2.5, None]}


def test_a_volume_is_answered_with_one_mask_of_its_shape(service: Service, series: list[bytes]) -> None:
    answer = decode(post(service.url + "/", {}, series))
    shape = answer.json["parts"][0]["binary_data_shape"]
    assert answer.response.status_code == 200
    assert shape == {"timepoints": 1, "depth": len(series), "height": 16, "width": 16}
    mask = numpy.frombuffer(answer.masks[0], numpy.uint8).reshape(len(series), 16, 16)
    assert set(numpy.unique(mask)) == {0, 255}


def test_parts_have_the_order_names_and_media_types_of_the_contract(service: Service, series: list[bytes]) -> None:
    answer = decode(post(service.url + "/slices", {}, series))
    count = len(series)
    assert answer.names == ["json-body", *(f"elem_{i}" for i in range(count)), "hashes"]
    assert answer.media_types == ["application/json", *["application/binary"] * count, "text/plain"]
    assert [part["dicom_image"]["SOPInstanceUID"] for part in answer.json["parts"]] == [
        pydicom.dcmread(pydicom.filebase.DicomBytesIO(data), stop_before_pixels=True).SOPInstanceUID for data in series
    ]


def test_the_hashes_are_those_of_the_sent_and_the_received_bytes(service: Service, series: list[bytes]) -> None:
    answer = decode(post(service.url + "/", OPTIONS, series))
    sent = [json.dumps(OPTIONS).encode("utf-8"), *series]
    assert len(answer.hashes) == 129
    assert answer.hashes == hashes(sent, answer.contents[:-1])


def test_boxes_and_labels_have_no_binary_parts(service: Service, image: bytes) -> None:
    boxes, labels = (decode(post(service.url + route, {}, [image])) for route in ("/boxes", "/labels"))
    assert boxes.names == labels.names == ["json-body", "hashes"]
    assert boxes.json["bounding_boxes_2d"][0]["bottom_right"] == [123, 123]
    assert labels.json["study_ml_json"] == {"emphysema": {"probability": 0.25}}


def test_the_handler_sees_attachments_before_dicom_and_the_digest_that_the_answer_carries(
    service: Service, image: bytes
) -> None:
    answer = decode(post(service.url + "/describe", OPTIONS, [image], [b"12345", b""]))
    assert answer.json["study_ml_json"] == {
        "options": OPTIONS,
        "digest": answer.hashes.split(":")[0],
        "sizes": [5, 0, len(image)],
    }
    sent = [json.dumps(OPTIONS).encode("utf-8"), b"12345", b"", image]
    assert answer.hashes == hashes(sent, answer.contents[:-1])


def test_the_boundary_stands_bare_at_the_end_of_the_content_type_for_clients_that_split_on_it(
    service: Service, image: bytes
) -> None:
    response = post(service.url + "/slices", {}, [image])
    assert re.fullmatch(r"multipart/related; boundary=[0-9a-f]{32,70}", response.headers["Content-Type"])
    first, mask, last = split_on_boundary(response)
    assert first.startswith(b'Content-Disposition: form-data; name="json-body"; filename="json-body"\r\n')
    assert len(mask.partition(b"\r\n\r\n")[2]) == 128 * 128
    assert len(last.partition(b"\r\n\r\n")[2]) == 129


def test_the_boundary_is_new_with_every_answer(service: Service, image: bytes) -> None:
    answers = [post(service.url + "/boxes", {}, [image]).headers["Content-Type"] for _ in range(3)]
    assert len(set(answers)) == 3


def test_the_response_has_a_content_length(service: Service, image: bytes) -> None:
    response = post(service.url + "/slices", {}, [image])
    assert int(response.headers["Content-Length"]) == len(response.content)


@pytest.mark.parametrize(
    "content_type",
    [
        'multipart/related; boundary="{}"',
        "multipart/related; boundary={}",
        "Multipart/RELATED;BOUNDARY={}",
        'multipart/related; type="text/json"; start="<request>"; boundary="{}"; charset=utf-8',
    ],
)
def test_a_boundary_is_found_however_its_header_is_written(service: Service, image: bytes, content_type: str) -> None:
    body = encode({}, [], [image])
    headers = {"Content-Type": content_type.format(body.boundary_value)}
    answer = decode(requests.post(service.url + "/", data=body.to_string(), headers=headers, timeout=PATIENCE))
    assert answer.hashes == hashes([b"{}", image], answer.contents[:-1])


def test_a_chunked_upload_is_the_same_study(service: Service, series: list[bytes]) -> None:
    body = encode({}, [], series)
    headers = {"Content-Type": f"multipart/related; boundary={body.boundary_value}"}
    pieces = iter(lambda: body.read(1000), b"")
    answer = decode(requests.post(service.url + "/", data=pieces, headers=headers, timeout=PATIENCE))
    assert answer.response.request.headers["Transfer-Encoding"] == "chunked"
    assert answer.hashes == hashes([b"{}", *series], answer.contents[:-1])


def test_a_request_built_and_an_answer_read_by_the_standard_library_alone(service: Service) -> None:
    blob = bytes(byte for byte in range(256) if byte not in b"\r\n")  # email folds line ends, so it is given none
    message = MIMEMultipart("related", policy=HTTP)
    message.attach(MIMEApplication(b'{"a": 1}', "json", encode_noop, policy=HTTP))
    message.attach(MIMEApplication(blob, "octet-stream", encode_noop, policy=HTTP))
    body = message.as_bytes().partition(b"\r\n\r\n")[2]

    connection = http.client.HTTPConnection(urlsplit(service.url).netloc, timeout=PATIENCE)
    connection.request("POST", "/describe", body, {"Content-Type": " ".join(message["Content-Type"].split())})
    response = connection.getresponse()
    head = f"Content-Type: {response.headers['Content-Type']}\r\n\r\n".encode("ascii")
    answer = email.message_from_bytes(head + response.read())
    connection.close()

    parts: Any = answer.get_payload()
    first, last = parts
    described = json.loads(first.get_payload())["study_ml_json"]
    assert described["options"] == {"a": 1}
    assert described["sizes"] == [len(blob)]
    assert last.get_payload() == hashes([b'{"a": 1}', blob], [first.get_payload().encode("ascii")])
