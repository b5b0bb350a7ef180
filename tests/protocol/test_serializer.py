"""Each thing that a model may return as a buffer, as the bytes that are sent."""

import array
import io
import json
import mmap
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pydicom.data import get_testdata_file

from gateway.errors import AnswerInvalid
from gateway.protocol.kinds import BINARY, DICOM, KINDS
from gateway.protocol.serializer import InferenceSerializer, as_bytes

MASK = numpy.arange(24, dtype=numpy.uint8).reshape(2, 3, 4)


def serialize(binary_type, buffer):
    ((media_type, data),) = InferenceSerializer()({"parts": [{"binary_type": binary_type}]}, [buffer])
    return media_type, bytes(data)


def read_test_file(name):
    """A Dataset of its own: pydicom keeps no handle on bytes in memory."""
    return pydicom.dcmread(io.BytesIO(Path(get_testdata_file(name)).read_bytes()))


def new_dataset(**values):
    dataset = pydicom.Dataset()
    dataset.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    dataset.SOPInstanceUID = "2.25.1"
    dataset.PatientName = "Phantom"
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


@pytest.mark.parametrize("binary_type", KINDS)
def test_each_kind_travels_as_its_media_type(binary_type):
    assert serialize(binary_type, b"bytes") == (DICOM if binary_type.startswith("dicom") else BINARY, b"bytes")


@pytest.mark.parametrize("entry", [{}, {"binary_type": "hologram"}, {"binary_type": ["a"]}, 7, None])
def test_an_unknown_kind_travels_as_plain_bytes(entry):
    ((media_type, data),) = InferenceSerializer()({"parts": [entry]}, [b"x"])
    assert (media_type, bytes(data)) == ("application/binary", b"x")


@pytest.mark.parametrize("answer", [{}, {"parts": []}])
def test_an_answer_without_parts_has_no_binary_part(answer):
    assert list(InferenceSerializer()(answer, [])) == []


def test_a_buffer_without_an_entry_is_an_error():
    with pytest.raises(ValueError, match="longer"):
        list(InferenceSerializer()({}, [b"x"]))


@settings(deadline=None)
@given(
    arrays.arrays(
        dtype=arrays.scalar_dtypes(),
        shape=arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5),
    ),
    st.data(),
)
def test_an_array_of_any_strides_is_sent_in_c_order(whole, data):
    view = whole[data.draw(arrays.basic_indices(whole.shape, allow_newaxis=True))] if whole.ndim else whole
    for buffer in (view, numpy.asarray(view).T, numpy.asfortranarray(view)):
        assert bytes(as_bytes(buffer, "")) == numpy.ascontiguousarray(buffer).tobytes()


BUFFERS = {
    "array": MASK,
    "read-only array": numpy.frombuffer(MASK.tobytes(), numpy.uint8),
    "bytes": MASK.tobytes(),
    "bytearray": bytearray(MASK.tobytes()),
    "memoryview": memoryview(MASK),
    "memoryview of two strides": memoryview(numpy.repeat(MASK.ravel(), 2))[::2],
    "BytesIO": io.BytesIO(MASK.tobytes()),
    "array.array": array.array("B", MASK.tobytes()),
}


@pytest.mark.parametrize("buffer", BUFFERS.values(), ids=BUFFERS)
def test_each_kind_of_buffer_gives_its_bytes(buffer):
    data = as_bytes(buffer, "")
    assert isinstance(data, memoryview)
    assert (data.format, data.ndim, bytes(data)) == ("B", 1, MASK.tobytes())


@pytest.mark.parametrize("empty", [b"", io.BytesIO(), numpy.zeros((0, 4), numpy.uint8), bytearray()])
def test_an_empty_buffer_is_an_empty_part(empty):
    assert as_bytes(empty, "").nbytes == 0


@pytest.mark.parametrize("buffer", [MASK, bytearray(b"abc"), memoryview(MASK)])
def test_contiguous_memory_is_not_copied(buffer):
    assert numpy.shares_memory(numpy.asarray(as_bytes(buffer, "")), numpy.asarray(memoryview(buffer)))


def test_a_bool_array_is_sent_as_zeros_and_ones():
    assert serialize("boolean_mask", numpy.array([[True, False], [False, True]])) == (BINARY, b"\1\0\0\1")


@pytest.mark.parametrize("make", [tempfile.TemporaryFile, tempfile.SpooledTemporaryFile, io.BytesIO])
def test_a_file_is_read_from_its_start_wherever_it_stands(make):
    with make() as file:
        file.write(b"all of it")
        assert bytes(as_bytes(file, "")) == b"all of it"


def test_a_mapped_file_gives_its_bytes():
    with mmap.mmap(-1, 16) as mapped:
        mapped[:4] = b"DICM"
        data = as_bytes(mapped, "")
        assert bytes(data) == b"DICM" + bytes(12)
        del data


def closed_file():
    file = io.BytesIO(b"x")
    file.close()
    return file


NO_BUFFERS = {
    "nothing": (None, "NoneType is no buffer"),
    "a text": ("mask", "str is no buffer"),
    "a list": ([[0, 1]], "list is no buffer"),
    "a dict": ({}, "dict is no buffer"),
    "a text file": (io.StringIO("mask"), "'rb'"),
    "a closed file": (closed_file(), "still open"),
    "an array of objects": (numpy.array([object()]), "Python objects"),
    "a record of objects": (numpy.zeros(1, [("a", object)]), "Python objects"),
}


@pytest.mark.parametrize(("buffer", "words"), NO_BUFFERS.values(), ids=NO_BUFFERS)
def test_what_holds_no_bytes_is_refused_at_its_entry(buffer, words):
    with pytest.raises(AnswerInvalid) as caught:
        list(InferenceSerializer()({"parts": [{}, {}]}, [b"", buffer]))
    assert caught.value.pointer == "/parts/1"
    assert words in caught.value.detail


def test_a_new_dataset_is_sent_as_a_part_10_file_with_its_meta_filled_in():
    dataset = new_dataset()
    media_type, data = serialize("dicom", dataset)
    read = pydicom.dcmread(io.BytesIO(data))
    assert media_type == "application/dicom"
    assert data[:132] == bytes(128) + b"DICM"
    assert read == dataset
    assert read.file_meta.MediaStorageSOPInstanceUID == "2.25.1"
    assert read.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert not hasattr(dataset, "file_meta")


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "JPEG2000.dcm"])
def test_a_dataset_that_was_read_keeps_its_pixels_and_syntax_but_not_its_preamble(name):
    dataset = read_test_file(name)
    dataset.preamble = b"II*\0" + bytes(124)
    data = bytes(as_bytes(dataset, ""))
    read = pydicom.dcmread(io.BytesIO(data))
    assert data[:128] == bytes(128)
    assert read.file_meta.TransferSyntaxUID == dataset.file_meta.TransferSyntaxUID
    assert read.PixelData == dataset.PixelData
    assert dataset.preamble[:4] == b"II*\0"


@pytest.mark.parametrize("name", ["MR_small_implicit.dcm", "MR_small_bigendian.dcm"])
def test_a_dataset_that_lost_its_transfer_syntax_keeps_its_pixels(name):
    dataset = read_test_file(name)
    expected = dataset.pixel_array
    del dataset.file_meta.TransferSyntaxUID
    read = pydicom.dcmread(io.BytesIO(as_bytes(dataset, "")))
    assert numpy.array_equal(read.pixel_array, expected)
    assert "TransferSyntaxUID" not in dataset.file_meta


def compressed_without_a_syntax():
    dataset = read_test_file("JPEG2000.dcm")
    del dataset.file_meta.TransferSyntaxUID
    return dataset


@pytest.mark.parametrize(
    "make",
    [pydicom.Dataset, compressed_without_a_syntax, lambda: new_dataset(TransferSyntaxUID="1.2.840.10008.1.2.1")],
    ids=["without UIDs", "compressed without a transfer syntax", "meta elements outside the meta"],
)
def test_a_dataset_that_makes_no_file_is_refused_without_its_values(make):
    with pytest.raises(AnswerInvalid) as caught:
        as_bytes(make(), "/parts/3")
    assert caught.value.pointer == "/parts/3"
    assert "SOPClassUID" in caught.value.detail
    assert "Phantom" not in str(caught.value.problem())


def test_serializing_a_mask_never_loads_pydicom_or_flask():
    code = (
        "import sys, numpy, json; from gateway.protocol.serializer import InferenceSerializer as S;"
        "list(S()({'parts': [{'binary_type': 'heatmap'}]}, [numpy.zeros(4, numpy.uint8)]));"
        "print(json.dumps([name for name in ('pydicom', 'flask', 'pydantic') if name in sys.modules]))"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=True, cwd=Path(__file__).parents[2]
    )
    assert json.loads(loaded.stdout) == []
