"""A wrapper that fails in the way of its parameter ``how``."""

from aiges.dto import Response, ResponseData
from aiges.sdk import StringBodyField, StringParamField, WrapperBase
from aiges.utils.log import log


class UserRequest:
    how = StringParamField(key="how", maxLength=20, required=True, value="good")
    text = StringBodyField(key="text", value=b"x")


class UserResponse:
    accept1 = StringBodyField(key="text")


def good():
    data = ResponseData()
    data.key = "text"
    data.setData(b"fine")
    response = Response()
    response.list = [data]
    return response


def lies():
    response = good()
    response.list[0].len = 99
    return response


def refuses():
    response = Response()
    response.list = []
    return response.response_err(100)


def raises():
    raise RuntimeError("cannot read DOE^JANE in /var/data/secret.dcm")


def exits():
    raise SystemExit(3)


HOW = {"good": good, "lies": lies, "refuses": refuses, "raises": raises, "exits": exits, "int": lambda: 7}


class Wrapper(WrapperBase):
    serviceId = "faulty"
    version = "1.0"
    requestCls = UserRequest()
    responseCls = UserResponse()

    def wrapperInit(self, config):
        return 0

    def wrapperOnceExec(self, params, reqData):
        return HOW[params["how"]]()

    def wrapperError(self, ret):
        return {100: "the picture is too dark"}.get(ret, "")

    def wrapperFini(self):
        log.warning("fini was called")
        return 0
