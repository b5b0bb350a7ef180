"""A wrapper that returns, in its local run, the answer that the environment names; runs under either aiges."""

import os

from aiges.dto import Response, ResponseData
from aiges.sdk import StringBodyField, StringParamField, WrapperBase


class UserRequest:
    p1 = StringParamField(key="p1", value="x")
    text = StringBodyField(key="text", value=b"hello")


class UserResponse:
    accept1 = StringBodyField(key="text")
    accept2 = StringBodyField(key="more")


def piece(key="text", data=b"fine", kind=0, status=3):
    data_piece = ResponseData()
    data_piece.key, data_piece.status, data_piece.type = key, status, kind
    data_piece.setData(data)
    return data_piece


def answer(*pieces, code=0):
    response = Response()
    response.list = list(pieces)
    response.error_code = code
    return response


ANSWERS = {
    "good": lambda: answer(piece(), piece("more", memoryview(b"yes"))),
    "str data": lambda: answer(piece(data="fine")),
    "duplicate key": lambda: answer(piece(), piece()),
    "unknown key": lambda: answer(piece("other")),
    "status 1": lambda: answer(piece(status=1)),
    "wrong type": lambda: answer(piece(kind=2)),
    "None": lambda: None,
    "error with list": lambda: answer(piece(data="not looked at"), code=100),
    "error without": lambda: answer(code=100),
}


class Wrapper(WrapperBase):
    serviceId = "answers"
    version = "1.0"
    requestCls = UserRequest()
    responseCls = UserResponse()

    def wrapperInit(self, config):
        return int(os.environ.get("INIT", "0"))

    def wrapperOnceExec(self, params, reqData):
        return ANSWERS[os.environ.get("ANSWER", "good")]()

    def wrapperFini(self):
        return int(os.environ.get("FINI", "0"))


if __name__ == "__main__":
    Wrapper().run()
