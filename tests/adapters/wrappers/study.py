"""A wrapper that serves a DICOM study: counts its slices and returns the first."""

import json

from aiges.core.types import Once
from aiges.dto import Response, ResponseData
from aiges.sdk import DicomBodyField, JsonBodyField, NumberParamField, StringBodyField, WrapperBase


class UserRequest:
    threshold = NumberParamField(key="threshold", minimum=-1024, maximum=3071, value=-600)
    note = StringBodyField(key="note", value=b"none")
    study = DicomBodyField(key="study", path="phantom")


class UserResponse:
    accept1 = JsonBodyField(key="found")
    accept2 = DicomBodyField(key="first")


class Wrapper(WrapperBase):
    serviceId = "slices"
    version = "1.0"
    requestCls = UserRequest()
    responseCls = UserResponse()

    def wrapperInit(self, config):
        import pydicom  # heavy: not before it is needed

        self.read = pydicom.dcmread
        return 0

    def wrapperOnceExec(self, params, reqData):
        from io import BytesIO

        slices = [node.data for node in reqData.list if node.key == "study"]
        heights = [float(self.read(BytesIO(data)).ImagePositionPatient[2]) for data in slices]
        note = reqData.get("note")
        summary = {
            "slices": len(slices),
            "sorted": heights in (sorted(heights), sorted(heights, reverse=True)),
            "threshold": params.get("threshold"),
            "note": note.data.decode() if note else None,
        }
        response = Response()
        text = ResponseData()
        text.key, text.data, text.type, text.status = "found", json.dumps(summary).encode(), 0, Once
        text.len = len(text.data)
        first = ResponseData()
        first.key = "first"
        first.setData(slices[0])
        first.setDataType(2)
        response.list = [text, first]
        return response

    def wrapperFini(self):
        return 0
