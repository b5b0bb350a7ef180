"""A header that is read quickly is the header that pydicom reads, in both forms of VR; its sequences stay bytes."""

import io
import struct
import warnings
from pathlib import Path
from typing import Any

import pydicom
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread, dcmwrite
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.tag import Tag
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from gateway.dicom.reading import fast_headers
from gateway.dicom.reading.elements import MAX_DEPTH, Uncommon
from gateway.dicom.reading.fast_headers import read, read_values
from gateway.dicom.reading.instances import read_instance
from gateway.errors import StudyRefused
from tests.dicom.studies import image

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's files have invalid values on purpose
SET = Path(pydicom.__file__).parent / "data"
PLAIN = {ExplicitVRLittleEndian, ImplicitVRLittleEndian}
SYNTAXES = st.sampled_from(sorted(PLAIN))
UNENDED = b"\x18\x00\x02\x99SQ\0\0\xff\xff\xff\xff"
ITEM, ITEM_END, END = b"\xfe\xff\x00\xe0\0\0\0\0", b"\xfe\xff\x0d\xe0\0\0\0\0", b"\xfe\xff\xdd\xe0\0\0\0\0"
OPEN_ITEM = ITEM[:4] + b"\xff\xff\xff\xff"


def by_pydicom(data: bytes, **options: Any) -> Dataset:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return dcmread(io.BytesIO(data), **options)


def has_plain_pixels(path: Path) -> bool:
    if not path.is_file() or path.read_bytes()[128:132] != b"DICM":
        return False
    dataset = by_pydicom(path.read_bytes())
    return dataset.file_meta.get("TransferSyntaxUID") in PLAIN and "PixelData" in dataset


FILES = [path for path in sorted(SET.rglob("*")) if has_plain_pixels(path)]


def written(dataset: Dataset, syntax: str, stated: str = "") -> bytes:
    """A Part 10 file in one transfer syntax, which states another where ``stated`` names one."""
    dataset.file_meta.TransferSyntaxUID = syntax
    file = io.BytesIO()
    dcmwrite(file, dataset, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True, enforce_file_format=True)
    if not stated or stated == syntax:
        return file.getvalue()
    meta = dataset.file_meta
    meta.TransferSyntaxUID = stated
    head = io.BytesIO()
    pydicom.filewriter.write_file_meta_info(head, meta)
    start = 132 + 12 + struct.unpack_from("<L", file.getvalue(), 140)[0]
    return bytes(128) + b"DICM" + head.getvalue() + file.getvalue()[start:]


def with_elements(elements: bytes) -> bytes:
    """An image in explicit VR with more bytes in its header, just before its pixels."""
    data = written(image(), ExplicitVRLittleEndian)
    at = data.index(b"\xe0\x7f\x10\x00OW")
    return data[:at] + elements + data[at:]


def assert_same(file: bytes) -> None:
    quick, pixels = read(io.BytesIO(file))
    slow = by_pydicom(file, stop_before_pixels=True)
    assert quick == slow
    assert list(quick.keys()) == list(slow.keys())
    assert quick.original_encoding == slow.original_encoding
    assert quick.file_meta == slow.file_meta
    assert file[pixels.start : pixels.start + pixels.length] == by_pydicom(file).get_item(pixels.tag).value


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
@pytest.mark.parametrize("syntax", sorted(PLAIN), ids=lambda syntax: syntax.name.split()[0])
def test_every_file_of_pydicom_is_read_quickly_in_both_forms_of_vr(path: Path, syntax: str) -> None:
    try:
        file = written(by_pydicom(path.read_bytes()), syntax)
    except Exception as error:
        pytest.skip(f"pydicom does not write it: {error}")
    assert_same(file)


NUMBERS = st.lists(st.integers(-9999, 9999), min_size=1, max_size=3)
PRIVATE: Any = st.binary(max_size=8).map(lambda data: DataElement(0x00091001, "UN", data))
VALUES: Any = st.one_of(
    st.builds(DataElement, st.just(Tag("ImageComments")), st.just("LT"), st.text("abc ", max_size=9)),
    st.builds(DataElement, st.just(Tag("ImagerPixelSpacing")), st.just("DS"), NUMBERS),
    st.builds(DataElement, st.just(Tag("SeriesNumber")), st.just("IS"), st.just("")),
    st.builds(DataElement, st.just(Tag("SmallestImagePixelValue")), st.just("US"), st.integers(0, 65535)),
    PRIVATE,
)
SEQUENCES = st.sampled_from(["ReferencedImageSequence", "RequestAttributesSequence", "PrivateSequence"])


@st.composite
def datasets(draw: Any, depth: int = 2) -> Dataset:
    """A few elements, and sequences of defined and undefined length within each other."""
    dataset = Dataset()
    for element in draw(st.lists(VALUES, max_size=4)):
        dataset[element.tag] = element
    for keyword in draw(st.sets(SEQUENCES, max_size=2)) if depth else ():
        tag = 0x00091002 if keyword == "PrivateSequence" else Tag(keyword)
        dataset[tag] = DataElement(tag, "SQ", draw(st.lists(datasets(depth=depth - 1), max_size=2)))
        dataset[tag].is_undefined_length = draw(st.booleans())
        for item in dataset[tag].value:
            item.is_undefined_length_sequence_item = draw(st.booleans())
    return dataset


@given(datasets(), SYNTAXES)
def test_any_header_is_read_quickly_and_as_pydicom_reads_it(more: Dataset, syntax: str) -> None:
    dataset = image()
    dataset.update(more)
    assert_same(written(dataset, syntax))


@given(datasets(), SYNTAXES, SYNTAXES)
def test_a_file_that_states_another_form_of_vr_is_never_read_otherwise_than_by_pydicom(
    more: Dataset, syntax: str, stated: str
) -> None:
    dataset = image()
    dataset.update(more)
    file = written(dataset, syntax, stated)
    slow = by_pydicom(file, stop_before_pixels=True)
    try:
        assert read(io.BytesIO(file))[0] == slow
    except Uncommon:
        assert stated != syntax
    assert read_instance(io.BytesIO(file)).header == slow


def test_uids_are_found_in_implicit_vr_behind_a_sequence() -> None:
    dataset = image()
    dataset.ReferencedStudySequence = [Dataset()]
    dataset["ReferencedStudySequence"].is_undefined_length = True
    for syntax in PLAIN:
        found = read_values(io.BytesIO(written(dataset, syntax)), [Tag("SeriesInstanceUID")], "UI")
        assert found[Tag("SeriesInstanceUID")].rstrip(b"\0").decode() == dataset.SeriesInstanceUID


@pytest.mark.parametrize("items", [ITEM * 3, OPEN_ITEM + ITEM_END, b""], ids=["empty", "of undefined length", "none"])
def test_the_items_of_a_sequence_are_left_as_bytes_until_they_are_used(items: bytes) -> None:
    file = with_elements(UNENDED + items + END)
    header = read(io.BytesIO(file))[0]
    found = header.get_item(0x99020018 if 0x99020018 in header else 0x00189902)
    assert isinstance(found, RawDataElement) and found.value == items
    assert_same(file)


@pytest.mark.parametrize("items", [ITEM * 9, OPEN_ITEM, b"", ITEM[:4] + b"\xff\0\0\0"])
@pytest.mark.parametrize("window", [64 << 10, None])
def test_a_sequence_that_does_not_end_in_its_file_is_refused_before_its_items_are_made(
    items: bytes, window: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fast_headers, "read_header", None)  # pydicom is not asked
    if window:
        monkeypatch.setattr(fast_headers, "WINDOWS", (64, window))
    data = written(image(), ExplicitVRLittleEndian)
    with pytest.raises(StudyRefused, match="cut off within a sequence"):
        read(io.BytesIO(data[: data.index(b"\xe0\x7f\x10\x00OW")] + UNENDED + items))


@pytest.mark.parametrize("depth", [MAX_DEPTH // 2 - 1, MAX_DEPTH, 20_000])
def test_sequences_within_each_other_are_skipped_to_a_depth_and_never_by_recursion(depth: int) -> None:
    file = with_elements((UNENDED + OPEN_ITEM) * depth + (ITEM_END + END) * depth)
    if 2 * depth < MAX_DEPTH:
        assert_same(file)
        return
    with pytest.raises(Uncommon):
        read(io.BytesIO(file))


def test_a_file_in_another_byte_order_is_left_to_pydicom_after_one_look() -> None:
    class Counting(io.BytesIO):
        reads = 0

        def read(self, size: int | None = -1) -> bytes:
            self.reads += 1
            return super().read(size)

    dataset = image()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    plain = io.BytesIO()
    dcmwrite(plain, dataset, implicit_vr=False, little_endian=False, enforce_file_format=True)
    file = Counting(plain.getvalue() + bytes(40 << 10))
    with pytest.raises(Uncommon):
        read(file)
    assert file.reads == 1
