"""WADO-RS: the bytes that were stored, what can be made of them, and words for what cannot."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from pydicom.uid import ExplicitVRLittleEndian

from tests.endpoints.dicomweb.web import (
    AS_STORED,
    DICOM,
    PARTS,
    PLAIN_OCTETS,
    Web,
    application,
    encoded,
    place,
    sample,
    split,
    uids,
)
from tests.studies.files import file, files

OCTETS = 'multipart/related; type="application/octet-stream"'
SAMPLES = {
    name: sample(name)
    for name in (
        "CT_small.dcm",
        "MR_small_RLE.dcm",
        "JPEG2000.dcm",
        "SC_rgb_rle_2frame.dcm",
        "examples_ybr_color.dcm",
        "rtdose.dcm",
        "image_dfl.dcm",
    )
}


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Web:
    made = Web(application(Path(tmp_path_factory.mktemp("wado"))))
    assert made.store(*SAMPLES.values()).status_code == 200
    return made


def dataset(data: bytes) -> pydicom.Dataset:
    return pydicom.dcmread(io.BytesIO(data))


@pytest.mark.parametrize("name", SAMPLES)
def test_an_instance_comes_back_byte_by_byte_where_that_is_accepted(web: Web, name: str) -> None:
    answer = web.get(place(SAMPLES[name]), AS_STORED)
    ((fields, data),) = split(answer)
    assert (fields["Content-Type"], data) == (DICOM, SAMPLES[name])
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    alone = web.get(place(SAMPLES[name]), f"{DICOM}; transfer-syntax=*")
    assert (alone.headers["Content-Type"], alone.content) == (DICOM, SAMPLES[name])


@pytest.mark.parametrize("name", SAMPLES)
def test_an_instance_is_sent_in_explicit_vr_little_endian_by_default(web: Web, name: str) -> None:
    for accept in ("", "*/*", PARTS, f"{PARTS}; transfer-syntax={ExplicitVRLittleEndian}"):
        ((_, data),) = split(web.get(place(SAMPLES[name]), accept))
        sent, stored = dataset(data), dataset(SAMPLES[name])
        assert sent.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert sent.SOPInstanceUID == stored.SOPInstanceUID
        if name != "examples_ybr_color.dcm":  # whose colours pydicom leaves as YBR
            assert np.array_equal(sent.pixel_array, stored.pixel_array)


def test_a_study_is_sent_in_parts_in_a_fixed_order(web: Web) -> None:
    sent = files(4, study="parts")
    web.store(*(one.data for one in sent))
    study = sent[0].entry.study_instance_uid
    parts = split(web.get(f"/studies/{study}", AS_STORED))
    assert [data for _, data in parts] == [one.data for one in sorted(sent, key=lambda one: one.entry.sop_instance_uid)]
    assert parts[0][0]["Content-Location"].startswith(f"http://gateway.local/dicomweb/studies/{study}/series/")
    assert web.get(f"/studies/{study}", DICOM).status_code == 406


def test_the_preferred_transfer_syntax_that_is_possible_is_sent(web: Web) -> None:
    j2k, mr = SAMPLES["JPEG2000.dcm"], SAMPLES["MR_small_RLE.dcm"]
    accept = f"{PARTS}; transfer-syntax={dataset(j2k).file_meta.TransferSyntaxUID}"
    assert split(web.get(place(j2k), accept))[0][1] == j2k
    assert web.get(place(mr), accept).status_code == 406
    ((_, data),) = split(web.get(place(mr), f"{accept}, {PARTS};q=0.5"))
    assert dataset(data).file_meta.TransferSyntaxUID == ExplicitVRLittleEndian


@pytest.mark.parametrize("accept", ["image/png", "application/pdf", f"{PARTS};q=0", 'multipart/related; type="text/x"'])
def test_a_representation_that_does_not_exist_is_not_acceptable(web: Web, accept: str) -> None:
    answer = web.get(place(SAMPLES["CT_small.dcm"]), accept)
    assert (answer.status_code, answer.json()["type"]) == (406, "urn:gateway:problem:not-acceptable")


def test_what_cannot_be_decoded_is_sent_as_it_is_stored_alone(web: Web) -> None:
    made = dataset(SAMPLES["CT_small.dcm"])
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = "1.2.3.99"
    made.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.102"  # MPEG-4, of which nothing is decoded here
    made.PixelData = pydicom.encaps.encapsulate([b"\0\0\0\x18ftypmp42"])
    data = encoded(made)
    assert web.store(data).status_code == 200
    assert [web.get(place(data), accept).status_code for accept in (PARTS, AS_STORED)] == [406, 200]
    assert web.get(f"{place(data)}/frames/1", OCTETS).status_code == 406


def test_metadata_has_addresses_of_large_values_and_no_pixels(web: Web) -> None:
    data = SAMPLES["CT_small.dcm"]
    study, series, sop = uids(data)
    for path in (place(data), f"/studies/{study}/series/{series}", f"/studies/{study}"):
        models = json.loads(web.get(f"{path}/metadata").content)
        (model,) = (one for one in models if one["00080018"]["Value"] == [sop])
        assert model["00100010"]["Value"] == [{"Alphabetic": "CompressedSamples^CT1"}]
        assert model["7FE00010"]["vr"] == "OW"
        assert not [tag for tag in model if tag.startswith("0002")]
    answer = web.session.get(model["7FE00010"]["BulkDataURI"], headers={"Accept": "application/octet-stream"})
    assert answer.content == dataset(data).PixelData


def test_metadata_is_sent_in_xml_where_that_is_asked(web: Web) -> None:
    accept = 'multipart/related; type="application/dicom+xml"'
    ((fields, document),) = split(web.get(f"{place(SAMPLES['CT_small.dcm'])}/metadata", accept))
    assert fields["Content-Type"] == "application/dicom+xml"
    assert b'<DicomAttribute tag="00100010" vr="PN" keyword="PatientName"><PersonName number="1">' in document
    assert b"<FamilyName>CompressedSamples</FamilyName>" in document


def test_a_nested_large_value_has_an_address(web: Web) -> None:
    made = dataset(file("nested").data)
    item = pydicom.Dataset()
    item.add_new(0x00420011, "OB", bytes(range(256)) * 8)
    made.ReferencedImageSequence = [pydicom.Dataset(), item]
    data = encoded(made)
    web.store(data)
    (model,) = json.loads(web.get(f"{place(data)}/metadata").content)
    address = model["00081140"]["Value"][1]["00420011"]["BulkDataURI"]
    ((_, value),) = split(web.session.get(address, headers={"Accept": 'multipart/related; type="*/*"'}))
    assert value == bytes(range(256)) * 8
    assert web.session.get(f"{address}/0/00420011").status_code == 404
    assert web.get(f"{place(data)}/bulkdata/../../etc/passwd").status_code == 404


@pytest.mark.parametrize("name", ["CT_small.dcm", "MR_small_RLE.dcm", "JPEG2000.dcm", "rtdose.dcm", "image_dfl.dcm"])
def test_frames_are_decoded_to_little_endian(web: Web, name: str) -> None:
    stored = dataset(SAMPLES[name])
    values = stored.pixel_array
    last = int(stored.get("NumberOfFrames", 1) or 1)
    for accept in ("", OCTETS, 'multipart/related; type="*/*"', f"{OCTETS}; transfer-syntax=*"):
        parts = split(web.get(f"{place(SAMPLES[name])}/frames/{last},1", accept))
        assert parts[0][0]["Content-Type"] == "application/octet-stream; transfer-syntax=1.2.840.10008.1.2.1"
        expected = [values[last - 1], values[0]] if last > 1 else [values, values]
        assert [data for _, data in parts] == [one.tobytes() for one in expected]


def test_frames_of_single_bits_are_packed_from_their_own_start(web: Web) -> None:
    made = dataset(file("bits").data)
    made.Rows, made.Columns, made.NumberOfFrames = 5, 7, 4
    made.BitsAllocated = made.BitsStored = 1
    made.HighBit = made.PixelRepresentation = 0
    frames = np.random.default_rng(1).integers(0, 2, (4, 35), np.uint8)
    made.PixelData = np.packbits(frames, bitorder="little").tobytes()
    data = encoded(made)
    web.store(data)
    parts = split(web.get(f"{place(data)}/frames/2,4", OCTETS))
    for (_, packed), frame in zip(parts, frames[[1, 3]], strict=True):
        assert np.array_equal(np.unpackbits(np.frombuffer(packed, np.uint8), bitorder="little")[:35], frame)
    ((_, whole),) = split(web.get(f"{place(data)}/bulkdata/7FE00010", OCTETS))
    assert whole == made.PixelData[:18]


def test_frames_are_sent_as_their_codestreams_where_that_is_accepted(web: Web) -> None:
    data = SAMPLES["JPEG2000.dcm"]
    syntax = dataset(data).file_meta.TransferSyntaxUID
    codestream = next(pydicom.encaps.generate_frames(dataset(data).PixelData, number_of_frames=1))
    for accept in (
        f'multipart/related; type="image/jp2"; transfer-syntax={syntax}',
        'multipart/related; type="*/*"; transfer-syntax=*',
        "multipart/related; type=image/jp2",
    ):
        ((fields, sent),) = split(web.get(f"{place(data)}/frames/1", accept))
        assert (fields["Content-Type"], sent) == (f"image/jp2; transfer-syntax={syntax}", codestream)
    alone = web.get(f"{place(data)}/frames/1", "image/jp2")
    assert alone.content == codestream
    assert web.get(f"{place(data)}/frames/1", 'multipart/related; type="image/jls"').status_code == 406


@pytest.mark.parametrize("numbers", ["0", "31", "1,31", "x", "-1", "1.5", "9999999999"])
def test_a_frame_that_is_none_is_not_found(web: Web, numbers: str) -> None:
    assert web.get(f"{place(SAMPLES['examples_ybr_color.dcm'])}/frames/{numbers}").status_code == 404


@pytest.mark.parametrize(
    ("accept", "kind"), [("", "JPEG"), ("image/png", "PNG"), ("image/png;q=0.5, image/jpeg", "JPEG")]
)
def test_an_instance_is_drawn(web: Web, accept: str, kind: str) -> None:
    answer = web.get(f"{place(SAMPLES['CT_small.dcm'])}/rendered", accept)
    picture = Image.open(io.BytesIO(answer.content))
    assert (picture.format, picture.size) == (kind, (128, 128))


def test_a_window_and_a_viewport_are_applied(web: Web) -> None:
    path = f"{place(SAMPLES['CT_small.dcm'])}/rendered"
    values = dataset(SAMPLES["CT_small.dcm"]).pixel_array.astype(int) - 1024
    picture = np.asarray(Image.open(io.BytesIO(web.get(path, "image/png", window="0,1,linear").content)))[..., 0]
    assert np.array_equal(picture > 127, values > -1)
    small = web.get(path, "image/png", viewport="32,64,0,0,64,64")
    assert Image.open(io.BytesIO(small.content)).size == (32, 32)


@pytest.mark.parametrize(
    "parameters",
    [
        {"window": "1"},
        {"window": "1,0,linear"},
        {"window": "nan,1,linear"},
        {"window": "1,1,cubic"},
        {"viewport": "1"},
        {"viewport": "0,10"},
        {"viewport": "99999,10"},
        {"viewport": "10,10,0,0,500,500"},
        {"quality": "0"},
    ],
    ids=str,
)
def test_a_parameter_of_a_rendering_that_is_none_is_refused(web: Web, parameters: dict[str, str]) -> None:
    answer = web.get(f"{place(SAMPLES['CT_small.dcm'])}/rendered", **parameters)
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:gateway:problem:query-refused")


def test_a_series_is_drawn_in_parts(web: Web) -> None:
    sent = files(3, study="drawn")
    web.store(*(one.data for one in sent))
    path = f"/studies/{sent[0].entry.study_instance_uid}/series/{sent[0].entry.series_instance_uid}/rendered"
    parts = split(web.get(path, 'multipart/related; type="image/png"'))
    assert [Image.open(io.BytesIO(data)).format for _, data in parts] == ["PNG"] * 3
    assert web.get(path, "image/png").status_code == 406


def test_what_is_not_stored_is_not_found(web: Web) -> None:
    for path in ("/studies/1.2.3", "/studies/1.2.3/metadata", "/studies/..", "/studies/1.2.3/series/x/instances/y"):
        assert web.get(path).status_code == 404


@pytest.mark.parametrize("name", ["image_dfl.dcm", "ExplVR_BigEnd.dcm", "SC_rgb_small_odd_big_endian.dcm"])
def test_metadata_of_each_encoding_has_the_address_of_the_pixels(tmp_path: Path, name: str) -> None:
    made, data = Web(application(tmp_path)), sample(name)
    made.store(data)
    (model,) = json.loads(made.get(f"{place(data)}/metadata").content)
    assert not [tag for tag in model if tag.endswith("0000")]
    answer = made.session.get(model["7FE00010"]["BulkDataURI"], headers={"Accept": "application/octet-stream"})
    stored = dataset(data)
    order = "big" if stored.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.2" else "little"
    values = np.frombuffer(answer.content, f"<u{stored.BitsAllocated // 8}")
    assert values.size == stored.Rows * stored.Columns * stored.SamplesPerPixel
    assert order == "big" or answer.content == stored.PixelData[: len(answer.content)]
    if order == "big":
        assert np.array_equal(values, stored.pixel_array.ravel())


def test_numbers_that_json_lacks_are_texts(web: Web) -> None:
    made = dataset(file("numbers").data)
    made.add_new(0x00180050, "DS", "")
    data = encoded(made)
    place_of_value = data.find(b"\x18\x00\x50\x00DS")
    broken = data[: place_of_value + 6] + b"\x06\x00-1e999" + data[place_of_value + 8 :]
    assert web.store(broken).status_code == 200
    (model,) = json.loads(web.get(f"{place(data)}/metadata").content, parse_constant=pytest.fail)
    assert model["00180050"] == {"vr": "DS", "Value": ["-inf"]}


def test_pixels_that_are_too_few_are_refused_before_a_byte_is_sent(tmp_path: Path) -> None:
    web, made = Web(application(tmp_path)), dataset(file("few").data)
    made.PixelData = made.PixelData[:-10]
    web.store(encoded(made))
    for path in ("frames/1", "rendered"):
        assert web.get(f"{place(encoded(made))}/{path}").status_code == 406
    assert web.get(f"{place(encoded(made))}/bulkdata/7FE00010", PLAIN_OCTETS).content == made.PixelData


def test_a_report_beside_images_is_not_drawn(web: Web) -> None:
    sent = [one.data for one in files(2, study="reported")]
    report = dataset(sent[0])
    report.SOPInstanceUID = report.file_meta.MediaStorageSOPInstanceUID = "1.2.9.9"
    report.Modality = "SR"
    for keyword in ("Rows", "Columns", "PixelData"):
        delattr(report, keyword)
    web.store(*sent, encoded(report))
    path = f"/studies/{report.StudyInstanceUID}/rendered"
    assert len(split(web.get(path, 'multipart/related; type="image/jpeg"'))) == 2
    assert web.get(f"{place(encoded(report))}/rendered").status_code == 406


@pytest.mark.parametrize(
    ("keyword", "vr", "code"), [("FloatPixelData", "OF", "f4"), ("DoubleFloatPixelData", "OD", "f8")]
)
def test_pixels_of_floating_point_have_an_address(tmp_path: Path, keyword: str, vr: str, code: str) -> None:
    made, stored = Web(application(tmp_path)), dataset(file("floats").data)
    values = np.arange(stored.Rows * stored.Columns, dtype=f"<{code}") / 7
    del stored.PixelData
    stored.BitsAllocated = values.itemsize * 8
    setattr(stored, keyword, values.tobytes())
    assert made.store(encoded(stored)).status_code == 200
    root, tag = place(encoded(stored)), f"{int(stored[keyword].tag):08X}"
    (model,) = json.loads(made.get(f"{root}/metadata").content)
    assert model[tag]["vr"] == vr
    for answer in (
        made.session.get(model[tag]["BulkDataURI"], headers={"Accept": PLAIN_OCTETS}),
        made.get(f"{root}/frames/1", PLAIN_OCTETS),
    ):
        assert answer.content == values.tobytes()


@pytest.mark.parametrize("name", ["MR_small.dcm", "MR_small_RLE.dcm", "image_dfl.dcm", "ExplVR_BigEnd.dcm"])
def test_what_stands_after_the_pixels_is_in_the_metadata(tmp_path: Path, name: str) -> None:
    made, stored = Web(application(tmp_path)), dataset(sample(name))
    stored.add_new(0x7FE10010, "LO", "GATEWAY")
    stored.add_new(0x7FE11001, "OW", bytes(range(256)) * 8)
    stored.add_new(0x7FE11002, "OW", b"\1\2")
    data = encoded(stored)
    made.store(data)
    (model,) = json.loads(made.get(f"{place(data)}/metadata").content)
    assert model["7FE10010"]["Value"] == ["GATEWAY"]
    big = stored.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.2"
    assert base64.b64decode(model["7FE11002"]["InlineBinary"]) == (b"\2\1" if big else b"\1\2")
    words = np.frombuffer(bytes(range(256)) * 8, ">u2" if big else "<u2")
    answer = made.session.get(model["7FE11001"]["BulkDataURI"], headers={"Accept": PLAIN_OCTETS})
    assert np.array_equal(np.frombuffer(answer.content, "<u2"), words)


@pytest.mark.parametrize(
    "rest", [b"\0" * 64, b"\xe1\x7f\x10\x00LO\xff\x00cut", b"garbage without an element"], ids=["zeros", "cut", "text"]
)
def test_what_cannot_be_read_after_the_pixels_is_left_out(tmp_path: Path, rest: bytes) -> None:
    made, data = Web(application(tmp_path)), file("rest").data + rest
    assert made.store(data).status_code == 200
    (model,) = json.loads(made.get(f"{place(data)}/metadata").content)
    assert max(model) == "7FE00010"


def test_a_big_endian_file_is_sent_in_little_endian(tmp_path: Path) -> None:
    made, data = Web(application(tmp_path)), sample("MR_small_bigendian.dcm")
    made.store(data)
    assert (
        made.get(f"{place(data)}/frames/1", PLAIN_OCTETS).content == dataset(data).pixel_array.astype("<i2").tobytes()
    )
    sent = dataset(split(made.get(place(data)))[0][1])
    assert sent.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert np.array_equal(sent.pixel_array, dataset(data).pixel_array)
