"""Every public class has a ``repr`` of one short line without a patient: both notebooks and logs are shared."""

import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import gateway
import gateway.client as client
from gateway.client.scanning import ScannedInstance
from gateway.contract.requests import BinaryPart
from gateway.dicom.reading.files import convert_dataset_to_bytes
from gateway.dicom.reading.instances import Instance, read_instance
from tests.dicom.studies import image
from tests.house.imports import public_names

LONGEST = 200
NAME = "Planted^Patience"


def planted() -> Instance:
    dataset = image(frames=1)
    dataset.PatientName = dataset.PatientID = dataset.SeriesDescription = NAME
    data = BytesIO(convert_dataset_to_bytes(dataset))
    return replace(read_instance(data), source=Path(f"/{NAME}.dcm"))


ONE = planted()
PIXELS = np.full((64, 512, 512), 213, np.uint8)
IMAGE = gateway.Image(((ONE, 0),))
JSON = {"study_ml_json": {"name": NAME}, "bounding_boxes_2d": [{"label": "nodule"}] * 99, "note": [NAME] * 1000}
ANSWER = client.Answer(JSON, (memoryview(PIXELS.tobytes()),), ("application/binary",), "a" * 64, "b" * 64, "c" * 32)
CALL = client.result.InferenceCall("/lungs", {"note": NAME}, datetime.now(UTC))
RUN = {
    "id": "scan-17" * 9,
    "route": "/lungs",
    "state": "running",
    "progress": {"done": 3.0, "total": 64.0, "text": NAME},
    "problem": {"detail": NAME},
}
POINT = gateway.Point(12.25, 511.5, 0.5)
ENTRY = ScannedInstance(Path(f"/{NAME}.dcm"), "1.2", "1.3", "1.4", 5, "d" * 64)

EXAMPLES: dict[str, Callable[[], Any]] = {
    "Answer": lambda: ANSWER,
    "AnswerCorrupt": lambda: client.AnswerCorrupt("The answer is damaged."),
    "Ask": lambda: gateway.Ask(f"Where is {NAME}?", "choice", [NAME], NAME, gateway.Mask(PIXELS), IMAGE),
    "Attachment": lambda: gateway.Attachment(BytesIO(NAME.encode())),
    "Batch": lambda: gateway.Batch(8),
    "BoundingBox": lambda: gateway.BoundingBox("nodule", (1, 2), (3, 4), of=IMAGE),
    "Box": lambda: gateway.Box(POINT, POINT),
    "BoxClick": lambda: gateway.BoxClick(gateway.Box(POINT, POINT)),
    "Cancelled": lambda: gateway.Cancelled(),
    "Classification": lambda: gateway.Classification({"name": NAME, "score": 0.5}, IMAGE),
    "Click": lambda: gateway.Click(POINT, positive=False),
    "Clicks": lambda: gateway.Clicks((gateway.Click(POINT),) * 999),
    "Client": lambda: client.Client("http://127.0.0.1:9", token=NAME),
    "ClientError": lambda: client.ClientError("A sentence."),
    "Code": lambda: gateway.Code("39607008", "SCT", "Lung"),
    "Conflict": lambda: client.Conflict([client.ConflictingInstance("1.2", "a" * 64, "b" * 64)]),
    "ConflictingInstance": lambda: client.ConflictingInstance("1." * 31 + "1", "a" * 64, "b" * 64),
    "Conformance": lambda: gateway.Conformance(f"Thin slices of {NAME}", True),
    "Disconnected": lambda: client.Disconnected("It broke."),
    "Execution": lambda: gateway.Execution(processes=2, batch=gateway.Batch(4)),
    "Gateway": lambda: gateway.Gateway("service"),
    "GatewayError": lambda: gateway.GatewayError("A sentence."),
    "Heatmap": lambda: gateway.Heatmap(PIXELS, "heat", IMAGE, [(0.0, (0, 0, 0, 0)), (1.0, (9, 9, 9, 9))]),
    "Image": lambda: IMAGE,
    "InferenceResult": lambda: client.InferenceResult(ANSWER, (ONE,) * 64, CALL),
    "InferenceRun": lambda: client.InferenceRun(None, None, RUN, client.inference_run.RunInput()),
    "InteractiveSession": lambda: client.InteractiveSession(
        None, RUN | {"state": "waiting"}, client.inference_run.RunInput()
    ),
    "InferenceSerializer": lambda: gateway.InferenceSerializer(),
    "Label": lambda: gateway.Label("Lung", gateway.Code("39607008", "SCT", "Lung")),
    "LabelMask": lambda: gateway.LabelMask(PIXELS, {n: f"organ {n}" for n in range(1, 99)}, of=IMAGE),
    "LinearMeasurement": lambda: gateway.LinearMeasurement("length", (1, 2, 3), (4, 5, 6), of=IMAGE),
    "LocalClient": lambda: object.__new__(gateway.LocalClient),
    "Mask": lambda: gateway.Mask(PIXELS > 3, "bright", IMAGE, gateway.Code("39607008", "SCT", "Lung")),
    "Model": lambda: gateway.Model(),
    "ModelAnswer": lambda: gateway.ModelAnswer(JSON, [PIXELS]),
    "Moved": lambda: client.Moved("weights", 99, tuple(f"{n}.bin" for n in range(99)), 1 << 40),
    "Point": lambda: POINT,
    "Preview": lambda: gateway.Preview(PIXELS[0], NAME),
    "ProbabilityMask": lambda: gateway.ProbabilityMask(PIXELS / 255, "chance " * 99, IMAGE),
    "Progress": lambda: gateway.Progress(3, 64, NAME),
    "Reference": lambda: client.Reference(digests=("a" * 64,) * 99),
    "Refused": lambda: client.Refused("No."),
    "Request": lambda: gateway.Request(JSON, [BytesIO()] * 64, "a" * 64, "b" * 32, names=(f"{NAME}.dcm",)),
    "Requires": lambda: gateway.Requires(modality="CT", min_slices=9, description=re.compile("lung"), choose=max),
    "Result": lambda: gateway.Result(b"{}" * 999, [BinaryPart("application/binary", ANSWER.buffers[0])], "a" * 64, 1.5),
    "SecondaryCapture": lambda: gateway.SecondaryCapture(ONE.header, "picture", IMAGE),
    "Series": lambda: gateway.Series((ONE,)),
    "Settings": lambda: gateway.Settings(audit_sql=f"postgresql://{NAME}@host/database", max_queue=3),
    "SourceUnreadable": lambda: client.SourceUnreadable("It is absent."),
    "StreamedEvent": lambda: client.StreamedEvent(7, "log", {"text": NAME}),
    "StructuredReport": lambda: gateway.StructuredReport(ONE.header, "report", IMAGE),
    "Study": lambda: gateway.Study((gateway.Series((ONE,)),)),
    "StudyRefused": lambda: gateway.StudyRefused("Slices are missing."),
    "StudyUnreadable": lambda: client.StudyUnreadable([client.Unreadable("1.dcm", "It is empty.")]),
    "TimedOut": lambda: client.TimedOut("No answer."),
    "Unreachable": lambda: client.Unreachable("No server."),
    "Unreadable": lambda: client.Unreadable(f"{NAME}.dcm", "It is empty."),
    "Uploaded": lambda: client.Uploaded((ENTRY,) * 64, 64, 1 << 30, retained=("1.2",) * 64),
    "Verdict": lambda: client.Verdict("/lungs", False, (NAME,), ({"description": NAME},)),
    "Volume": lambda: gateway.Volume(((ONE, 0),) * 64, np.eye(4)),
}
"""An example of each public class, as full as it gets."""

INNER = {
    "InferenceCall": lambda: CALL,
    "Instance": lambda: ONE,
    "ScannedInstance": lambda: ENTRY,
    "BinaryPart": lambda: BinaryPart("application/binary", ANSWER.buffers[0]),
}
"""Classes that the public ones lead to."""


def public_classes() -> set[str]:
    homes = {name: import_module(home) for name, home in public_names().items()}
    public = {name: getattr(home, name) for name, home in homes.items()}
    public |= {name: getattr(client, name) for name in client.__all__}
    return {name for name, value in public.items() if isinstance(value, type)}


def test_every_public_class_has_an_example_here() -> None:
    assert EXAMPLES.keys() == public_classes()


@pytest.mark.parametrize("name", [*EXAMPLES, *INNER])
def test_a_repr_is_one_short_line_without_the_patient(name: str) -> None:
    line = repr((EXAMPLES | INNER)[name]())
    assert len(line) <= LONGEST
    assert "\n" not in line
    assert "Planted" not in line


def test_a_repr_states_kind_size_and_label() -> None:
    assert repr(EXAMPLES["Mask"]()) == "<Mask array=(64, 512, 512) bool, label='bright', of=Image, code=Code>"
    assert repr(EXAMPLES["Classification"]()) == "<Classification labels=(2), of=Image>"
    assert repr(EXAMPLES["InferenceResult"]()) == "<InferenceResult 99 bounding boxes, 1 label, of 64 instances>"


def test_the_table_of_a_notebook_names_findings_without_texts_of_the_study() -> None:
    html = EXAMPLES["InferenceResult"]()._repr_html_()
    assert html.count("<tr>") == 52
    assert "<td>bounding box</td><td>nodule</td>" in html
    assert "and 50 more" in html
    assert "Planted" not in html
    assert "<img" not in html


def test_the_table_of_a_notebook_escapes_the_text_of_a_model() -> None:
    parts = {"parts": [{"binary_type": "<script>", "label": "<img src=x>"}]}
    answer = client.Answer(parts, (memoryview(b""),), ("application/x",), "", "")
    html = client.InferenceResult(answer, (), CALL)._repr_html_()
    assert "<script>" not in html
    assert "<img" not in html
