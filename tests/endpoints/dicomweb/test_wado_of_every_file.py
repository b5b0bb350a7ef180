"""Every file of pydicom's package: what DICOMweb sends of it, beside what pydicom itself makes of the file."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset

from tests.endpoints.dicomweb.web import AS_STORED, PLAIN_OCTETS, Web, application, place, split

PATHS = sorted(Path(pydicom.__file__).parent.glob("data/*_files/*.dcm"))
PIXELS = ("7FE00008", "7FE00009", "7FE00010")
NO_UIDS = {
    *("ExplVR_BigEndNoMeta", "ExplVR_LitEndNoMeta", "UN_sequence", "chrSQEncoding", "chrSQEncoding1"),
    *("JPEGLSNearLossless_08", "JPEGLSNearLossless_16", "SC_rgb_jls_lossy_line", "SC_rgb_jls_lossy_sample"),
    *("empty_charset_LEI", "meta_missing_tsyntax", "nested_priv_SQ", "no_meta", "no_meta_group_length", "priv_SQ"),
    *("rtstruct", "rtplan_truncated", "MR_truncated"),
}
"""Files that are not stored: without valid UIDs or a preamble, or cut off."""
NO_FRAMES = {
    *("JPEG-lossy", "JPGExtended", "JPEG2000-embedded-sequence-delimiter"),  # which no decoder here decodes
    *("badVR", "liver_1frame", "liver_expb_1frame"),  # with an invalid Number of Frames
}

INVALID = {("badVR", "00280008")}
"""Values that are not of their VR, which no model can represent."""


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Web:
    return Web(application(tmp_path_factory.mktemp("files")))


@pytest.mark.slow
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_it_is_sent_as_pydicom_reads_it(web: Web, path: Path) -> None:
    data = path.read_bytes()
    stored = web.store(data)
    assert stored.status_code == (409 if path.stem in NO_UIDS else 200)
    if path.stem in NO_UIDS:
        return
    try:
        dataset, root = pydicom.dcmread(io.BytesIO(data)), place(data)
        (model,) = json.loads(web.get(f"{root}/metadata").content, parse_constant=pytest.fail)
        names = [f"{int(element.tag):08X}" for element in dataset if element.tag.element]
        assert list(model) == [name for name in names if (path.stem, name) not in INVALID]
        compare(web, model, dataset, binary="big" if dataset.file_meta.TransferSyntaxUID.endswith("1.2.2") else "")
        (xml,) = split(web.get(f"{root}/metadata", 'multipart/related; type="application/dicom+xml"'))
        assert len(ElementTree.fromstring(xml[1])) == len(model)
        assert split(web.get(root, AS_STORED))[0][1] == data
        if set(model) & set(PIXELS):
            check_image(web, root, dataset, decodable=path.stem not in NO_FRAMES)
    finally:
        web.delete(root.rpartition("/series/")[0])


def compare(web: Web, model: dict[str, Any], dataset: Dataset, binary: str, depth: int = 0) -> None:
    """Compare a model with pydicom's own, and bulk data with the values of the data set."""
    for element in dataset:
        name = f"{int(element.tag):08X}"
        if name not in model or (name in PIXELS and not depth) or name == "00080005":
            continue
        found = model[name]
        assert found["vr"] == element.VR
        if element.VR == "SQ":
            assert len(found.get("Value", [])) == len(element.value)
            for below, item in zip(found.get("Value", []), element.value, strict=True):
                compare(web, below, item, binary, depth + 1)
        elif "BulkDataURI" in found:
            answer = web.session.get(found["BulkDataURI"], headers={"Accept": PLAIN_OCTETS})
            assert binary or answer.content == element.value
        else:
            expected = element.to_json_dict(None, 0)
            for member in expected.keys() - ({"InlineBinary"} if binary else set()):
                assert found[member] == expected[member], name


def check_image(web: Web, root: str, dataset: Dataset, *, decodable: bool) -> None:
    frame, drawn = web.get(f"{root}/frames/1", PLAIN_OCTETS), web.get(f"{root}/rendered", "image/png")
    bulk, sent = web.get(f"{root}/bulkdata/7FE00010", PLAIN_OCTETS), web.get(root)
    if not decodable:
        assert (frame.status_code, drawn.status_code) == (406, 406)
        return
    assert (frame.status_code, drawn.status_code, bulk.status_code) == (200, 200, 200)
    explicit = pydicom.dcmread(io.BytesIO(split(sent)[0][1]))
    values = dataset.pixel_array
    assert explicit.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    assert np.array_equal(explicit.pixel_array, values)
    if dataset.PhotometricInterpretation == "YBR_FULL_422" or dataset.get("PlanarConfiguration"):
        return  # which pydicom converts, and a frame has as it is stored
    first = next(frames_of(dataset, values))
    assert frame.content == first
    if dataset.BitsAllocated > 1:
        expected = b"".join(frames_of(dataset, values))
        assert bulk.content[: len(expected)] == expected
        assert len(bulk.content) - len(expected) in (0, 1) or dataset.file_meta.TransferSyntaxUID.endswith(".2.1")


def frames_of(dataset: Dataset, values: np.ndarray[Any, Any]) -> Iterator[bytes]:
    """The frames of an image in little endian."""
    for frame in values if int(dataset.get("NumberOfFrames") or 1) > 1 else [values]:
        if dataset.BitsAllocated == 1:
            yield np.packbits(frame.ravel(), bitorder="little").tobytes()
        else:
            yield frame.astype(frame.dtype.newbyteorder("<")).tobytes()
