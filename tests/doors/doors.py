"""The table of doors. A row sends a question through one door, and reads the findings back.

A door that is added is one more row: its name, its ``ask``, and where it differs from the others ``cannot`` (questions
that its protocol has no words for), ``only`` (the few that it has words for, or that show enough) and ``otherwise``
(the status and code by which it reports a fault).
"""

import gzip
import io
import json
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Self

import numpy as np
import pydicom
import requests
import SimpleITK
from nibabel.nifti1 import Nifti1Image
from pynetdicom import build_context
from requests_toolbelt import multipart

from gateway import LocalClient
from gateway.client import Refused
from gateway.client.errors import refused
from tests.compat import client as toolbelt
from tests.dimse.serving import associate
from tests.doors.questions import Masks, Question, in_space, values
from tests.endpoints.dicomweb.web import BOUNDARY, PARTS, body
from tests.endpoints.tensors import Outputs, elements, entry, message, outputs
from tests.waiting import PATIENCE

Answer = tuple[Masks, dict[str, Any]]
"""Bool masks (slice, row, column) in spatial order by label, one for each label of a label mask, and the labels of the
study; these are {} where the door has no place for them."""
SEGMENTATION = "1.2.840.10008.5.1.4.1.1.66.4"


@dataclass(frozen=True)
class Gate:
    """What the doors lead to: a server, an association, and a client without a server, all on the same models.

    ``keys`` are those of the callers by name.
    """

    url: str
    keys: Mapping[str, str]
    port: int
    local: LocalClient
    key: str = ""

    def of(self, caller: str) -> Self:
        """The same, as one of the callers, or without a key for ""."""
        return replace(self, key=self.keys.get(caller, ""))

    @property
    def headers(self) -> dict[str, str]:
        """The proof of the caller."""
        return {"Authorization": f"Bearer {self.key}"} if self.key else {}

    def post(self, path: str, **options: Any) -> requests.Response:
        """The response to a POST. Raises Refused."""
        headers = self.headers | options.pop("headers", {})
        return checked(requests.post(self.url + path, headers=headers, timeout=PATIENCE, **options))

    def get(self, path: str, **options: Any) -> requests.Response:
        """The response to a GET. Raises Refused."""
        return checked(requests.get(self.url + path, headers=self.headers, timeout=PATIENCE, **options))


Ask = Callable[[Gate, Question, Sequence[Path]], Answer]


@dataclass(frozen=True)
class Door:
    """A row: ``ask`` raises Refused."""

    name: str
    ask: Ask
    cannot: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()
    otherwise: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    carries_labels: bool = True
    audited: bool = True
    caller: str = "doors"

    def asks(self, question: Question) -> bool:
        """Whether the protocol has words for a question."""
        return question.name not in self.cannot and (not self.only or question.name in self.only)

    def fault(self, question: Question) -> tuple[int, str]:
        """The status and the code by which the door reports a fault."""
        return self.otherwise.get(question.name, (question.status, question.code))


def checked(response: requests.Response) -> requests.Response:
    """Return a response with a good status. Raises Refused."""
    if response.status_code >= 300:
        raise refused(response)
    return response


def read(document: Mapping[str, Any], buffers: Sequence[bytes | memoryview]) -> Answer:
    """Read the masks of an answer of protocol 1.0, or its segmentations."""
    masks: dict[str, Any] = {}
    for part, buffer in zip(document["parts"], buffers, strict=True):
        if part["binary_type"] == "dicom_secondary_capture":
            continue
        shape = part["binary_data_shape"]
        array = np.frombuffer(buffer, np.uint8).reshape([shape.get(axis, 1) for axis in ("depth", "height", "width")])
        labels = part.get("label_map")
        masks |= {part["label"]: array == 1} if labels is None else {labels[key]: array == int(key) for key in labels}
    return masks, dict(document.get("study_ml_json", {}))


def read_segmentations(objects: Sequence[bytes], files: Sequence[Path]) -> Answer:
    """Read the segments of DICOM objects over the images of ``files`` by highdicom."""
    from highdicom.seg import segread

    source, masks = [one.SOPInstanceUID for one in in_space(files)], {}
    for data in objects:
        if pydicom.dcmread(io.BytesIO(data), stop_before_pixels=True).SOPClassUID != SEGMENTATION:
            continue
        seg = segread(io.BytesIO(data))
        pixels = seg.get_pixels_by_source_instance(
            source, combine_segments=False, ignore_spatial_locations=False, assert_missing_frames_are_empty=True
        )
        for number in seg.segment_numbers:
            masks[seg.get_segment_description(number).segment_label] = pixels[..., number - 1] == 1
    return masks, {}


def _bytes(files: Sequence[Path]) -> list[bytes]:
    return [path.read_bytes() for path in files]


def _encoded(question: Question, files: Sequence[Path]) -> tuple[Any, dict[str, str]]:
    """A ``multipart/related`` body by requests-toolbelt, and its media type."""
    encoder = toolbelt.encode(dict(question.parameters), list(question.attachments), _bytes(files))
    return encoder, {"Content-Type": f"multipart/related; boundary={encoder.boundary_value}"}


def _decoded(response: requests.Response) -> Answer:
    answer = toolbelt.decode(response)
    return read(answer.json, answer.masks)


def related(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Ask by ``multipart/related``, as existing clients do."""
    data, headers = _encoded(question, files)
    return _decoded(gate.post(question.route, data=data, headers=headers))


def dapr(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Ask by an invocation of Dapr."""
    data, headers = _encoded(question, files)
    return _decoded(gate.post(f"/v1.0/invoke/doors/method{question.route}", data=data, headers=headers))


def bytes_tensor(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Ask by the Open Inference Protocol, with the study as a tensor of files."""
    return _infer(gate, question, [elements("study", *_bytes(files))] if files else [])


def array_tensor(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Ask by the Open Inference Protocol, with the values of the study as a tensor, computed here."""
    if not files:
        return _infer(gate, question, [])
    exact = values(files)
    array = exact.astype(np.int16) if np.array_equal(exact, exact.astype(np.int16)) else exact.astype(np.float32)
    modality = elements("image.modality", str(in_space(files)[0].Modality).encode())
    return _infer(gate, question, [(entry("image", array), array.tobytes()), modality])


def _infer(gate: Gate, question: Question, tensors: Sequence[tuple[dict[str, Any], bytes]]) -> Answer:
    name = question.route.strip("/")
    attached = {"attached": "level", "text": "words"}.get(name, "")
    tensors = [*tensors, *(elements(attached, one) for one in question.attachments)]
    parameters = {**question.parameters, "binary_data_output": True}
    data, headers = message({"inputs": [one for one, _ in tensors], "parameters": parameters}, *(b for _, b in tensors))
    response = gate.post(f"/v2/models/{name}/infer", data=data, headers=headers)
    return _read_tensors(outputs(response.content, response.headers))


def _read_tensors(found: Outputs) -> Answer:
    masks: dict[str, Any] = {}
    for name, (said, array) in found.items():
        if name.startswith("boolean_mask"):
            masks[said["parameters"]["label"]] = array.reshape(-1, *array.shape[-2:])
        if name.startswith("numeric_label_mask"):
            labels = json.loads(said["parameters"]["label_map"])
            masks |= {labels[key]: array == int(key) for key in labels}
    return masks, json.loads(found["study_ml_json"][1][0]) if "study_ml_json" in found else {}


def form(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Ask by ``multipart/form-data`` as requests sends it, with one field for each parameter."""
    sent = [("file", (path.name, path.read_bytes())) for path in files]
    sent += [("attachment", ("note", data)) for data in question.attachments]
    return _decoded(gate.post(question.route, data=_fields(question), files=sent or [("", ("", b""))]))


def form_last(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Ask by ``multipart/form-data`` whose parameters follow the files, as one field of JSON."""
    sent = [("file", (f"{number}", data)) for number, data in enumerate([*question.attachments, *_bytes(files)])]
    sent.append(("json", (None, json.dumps(question.parameters), "application/json")))
    return _decoded(gate.post(question.route, files=sent))


def form_run(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Ask for a run by ``multipart/form-data``, and wait for its answer."""
    sent = [("file", (f"{number}", data)) for number, data in enumerate([*question.attachments, *_bytes(files)])]
    headers = {"Prefer": "respond-async, wait=30"}
    return _decoded(gate.post(question.route, data=_fields(question), files=sent, headers=headers))


def instance(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Ask with one instance as the body, and parameters in the query."""
    (path,) = files
    headers = {"Content-Type": "application/dicom"}
    return _decoded(gate.post(question.route, params=_fields(question), data=path.read_bytes(), headers=headers))


def nifti(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Ask with a NIfTI file as the body, made here of the study, its rows upwards as dcm2niix writes them."""
    fields = _fields(question) | {"$modality": "CT"}
    headers = {"Content-Type": "application/x-nifti"}
    return _decoded(gate.post(question.route, params=fields, data=_as_nifti(files), headers=headers))


def nifti_form(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Ask for a run by ``multipart/form-data`` with a packed NIfTI file."""
    fields, sent = _fields(question) | {"$modality": "CT"}, [("file", ("scan.nii.gz", gzip.compress(_as_nifti(files))))]
    headers = {"Prefer": "respond-async, wait=30"}
    return _decoded(gate.post(question.route, data=fields, files=sent, headers=headers))


def _as_nifti(files: Sequence[Path]) -> bytes:
    ordered, voxels = in_space(files), values(files).astype(np.int16)
    row, column = np.reshape(ordered[0].ImageOrientationPatient, (2, 3)).astype(float)
    first, last = (np.asarray(ordered[place].ImagePositionPatient, float) for place in (0, -1))
    step = (last - first) / (len(ordered) - 1) if len(ordered) > 1 else np.cross(row, column)
    between = np.asarray(ordered[0].PixelSpacing, float)
    affine = np.eye(4)
    affine[:3] = np.c_[
        row * between[1], -column * between[0], step, first + column * between[0] * (voxels.shape[1] - 1)
    ]
    image = Nifti1Image(voxels[:, ::-1].T, np.diag([-1.0, -1, 1, 1]) @ affine)
    return bytes(image.to_bytes())


def folder(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Ask with a folder in a ZIP archive."""
    packed = _zip([*question.attachments, *_bytes(files)])
    headers = {"Content-Type": "application/zip"}
    return _decoded(gate.post(question.route, params=_fields(question), data=packed, headers=headers))


def attachment(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Ask with an attachment as the body."""
    assert not files
    headers = {"Content-Type": "application/octet-stream"}
    return _decoded(gate.post(question.route, params=_fields(question), data=question.attachments[0], headers=headers))


def zip_answer(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Ask by ``multipart/related`` for an archive of files."""
    data, headers = _encoded(question, files)
    response = gate.post(question.route, data=data, headers=headers | {"Accept": "application/zip"})
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        document, *masks = archive.namelist()
        arrays = [np.load(io.BytesIO(archive.read(name))) for name in masks]
        return read(json.loads(archive.read(document)), [array.tobytes() for array in arrays])


def nifti_answer(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Ask by ``multipart/related`` for an archive whose masks are NIfTI files, and read these by nibabel."""
    data, headers = _encoded(question, files)
    response = gate.post(question.route, data=data, headers=headers | {"Accept": "application/zip; masks=nifti"})
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        document, *masks = archive.namelist()
        images = [Nifti1Image.from_bytes(gzip.decompress(archive.read(name))) for name in masks]
        return read(json.loads(archive.read(document)), [np.asarray(one.dataobj).T.tobytes() for one in images])


def json_answer(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Ask by ``multipart/related`` for JSON with masks as run lengths."""
    data, headers = _encoded(question, files)
    document = gate.post(question.route, data=data, headers=headers | {"Accept": "application/json; masks=rle"}).json()
    runs = [np.array(part["runs"]) for part in document["parts"]]
    return read(document, [np.repeat(one[:, 0], one[:, 1]).astype(np.uint8).tobytes() for one in runs])


def _fields(question: Question) -> dict[str, str]:
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in question.parameters.items()}


def monai_file(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Ask by MONAI Label's API, with the study in an archive, for a segmentation of 3D Slicer."""
    return _label(gate, question, {}, {"file": ("study.zip", _zip(_bytes(files)))})


def monai_session(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Send the study once, as files of a session, and ask about it by MONAI Label's API."""
    sent = [("files", (path.name, path.read_bytes())) for path in files]
    put = requests.put(f"{gate.url}/monai/session/", headers=gate.headers, files=sent, timeout=PATIENCE)
    session = checked(put).json()["session_id"]
    return _label(gate, question, {"session_id": session}, {})


def _label(gate: Gate, question: Question, query: dict[str, str], file: dict[str, Any]) -> Answer:
    """The regions by SimpleITK, each from its layer."""
    params = {**question.parameters, "result_extension": ".seg.nrrd", "result_compress": True}
    fields = {"params": (None, json.dumps(params)), **file}
    path = f"/monai/infer/{question.route.strip('/')}"
    response = gate.post(path, params={"image": "", **query}, files=fields)
    found = multipart.MultipartDecoder.from_response(response).parts
    with NamedTemporaryFile(suffix=".seg.nrrd") as named:
        named.write(found[1].content)
        named.flush()
        image = SimpleITK.ReadImage(named.name)
    array, masks = SimpleITK.GetArrayFromImage(image), {}
    layers = array[..., None] if array.ndim == 3 else array
    for number in range(sum(key.endswith("_LabelValue") for key in image.GetMetaDataKeys())):
        name, layer, value = (image.GetMetaData(f"Segment{number}_{key}") for key in ("Name", "Layer", "LabelValue"))
        masks[name] = layers[..., int(layer)] == int(value)
    return masks, dict(json.loads(found[0].content)["answer"].get("study_ml_json", {}))


def _zip(data: Sequence[bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for number, one in enumerate(data):
            archive.writestr(f"study/{number:03}", one)
    return packed.getvalue()


def local(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Ask without a server."""
    answer = gate.local.ask(
        dict(question.parameters), files, question.route, attachments=[io.BytesIO(one) for one in question.attachments]
    )
    return read(answer.json, answer.buffers)


def runs(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Submit a run, wait for its end, and fetch its result."""
    data, headers = _encoded(question, files)
    path = gate.post("/runs", params={"route": question.route}, data=data, headers=headers).headers["Location"]
    while gate.get(path).json()["ended"] is None:
        gate.get(path, params={"wait": 1})
    return _decoded(gate.get(f"{path}/result"))


def dicomweb(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Store a study by STOW-RS, ask about it, and read segmentations back."""
    gate.post("/dicomweb/studies", data=body(_bytes(files)), headers={"Content-Type": f"{PARTS}; boundary={BOUNDARY}"})
    return _ask_about_stored(gate, question, files)


def dimse(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    """Store a study by C-STORE, ask about it, and read segmentations back."""
    datasets = [pydicom.dcmread(path) for path in files]
    kinds = {(one.SOPClassUID, one.file_meta.TransferSyntaxUID) for one in datasets}
    with _association(gate.port, [build_context(*kind) for kind in kinds]) as association:
        for status in [association.send_c_store(dataset).Status for dataset in datasets]:
            if status:
                raise Refused("C-STORE was refused", status=status, code="c-store")
    return _ask_about_stored(gate, question, files)


@contextmanager
def _association(port: int, contexts: list[Any]) -> Iterator[Any]:
    association = associate(port, contexts, "DOORS")
    assert association.is_established
    try:
        yield association
    finally:
        association.release()


def _ask_about_stored(gate: Gate, question: Question, files: Sequence[Path]) -> Answer:
    study = str(pydicom.dcmread(files[0], stop_before_pixels=True).StudyInstanceUID)
    asked = json.dumps({**question.parameters, "study": study, "output": "dicom"})
    headers = {"Content-Type": "application/json"}
    answer = toolbelt.decode(gate.post(question.route, data=asked.encode(), headers=headers))
    return read_segmentations(answer.masks, files)


WITHOUT_ATTACHMENTS = frozenset({"attachment", "attachment alone", "plain function"})
"""Questions that a study of DICOM in the store cannot ask, or whose answer has no form in DICOM."""

OF_ONE = frozenset(
    {
        "one instance",
        "compressed",
        "not a number",
        "wrong modality",
        "not DICOM",
        "raises",
        "deadline",
        "without a key",
        "WASM function",
    }
)
"""Questions about one file."""

OF_VOLUMES = (OF_ONE - {"WASM function", "not DICOM"}) | {
    "defaults",
    "parameters",
    "series of a scanner",
    "out of bounds",
    "too many bytes",
}
"""Questions to a model of a Volume, which a file of one answers as well as a study."""

DOORS = (
    Door("multipart/related", related),
    Door("form-data", form, cannot=frozenset({"plain function"})),
    Door("form-data, JSON last", form_last),
    Door("form-data, run", form_run, cannot=frozenset({"plain function"})),
    Door("application/dicom", instance, only=OF_ONE),
    Door("application/x-nifti", nifti, only=OF_VOLUMES),
    Door("NIfTI in a form, run", nifti_form, only=frozenset({"parameters", "wrong modality"})),
    Door("application/zip", folder, cannot=frozenset({"plain function"})),
    Door("archive as the answer", zip_answer),
    Door("NIfTI as the answer", nifti_answer, only=frozenset({"parameters", "compressed", "attachment"})),
    Door("JSON as the answer", json_answer),
    Door("application/octet-stream", attachment, only=frozenset({"attachment alone"})),
    Door("LocalClient", local, cannot=frozenset({"without a key"}), audited=False),
    Door("runs", runs),
    Door("Dapr", dapr),
    Door("OIP, files", bytes_tensor),
    Door(
        "OIP, array", array_tensor, cannot=frozenset({"plain function", "WASM function", "not DICOM", "too many files"})
    ),
    Door("MONAI Label, file", monai_file, cannot=WITHOUT_ATTACHMENTS),
    Door("MONAI Label, session", monai_session, cannot=WITHOUT_ATTACHMENTS),
    Door(
        "DICOMweb",
        dicomweb,
        cannot=WITHOUT_ATTACHMENTS,
        otherwise={"not DICOM": (409, "http-409")},
        carries_labels=False,
    ),
    Door("DIMSE", dimse, cannot=WITHOUT_ATTACHMENTS | {"not DICOM"}, carries_labels=False, caller="modality"),
)
