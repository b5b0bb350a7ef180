"""A wrapper whose start fails with an error code."""

from aiges.sdk import StringBodyField, WrapperBase


class UserRequest:
    text = StringBodyField(key="text")


class Wrapper(WrapperBase):
    requestCls = UserRequest()
    responseCls = UserRequest()

    def wrapperInit(self, config):
        return 5

    def wrapperError(self, ret):
        return "no licence" if ret == 5 else ""

    def wrapperOnceExec(self, params, reqData):
        raise AssertionError("asked although it did not start")

    def wrapperFini(self):
        return 0
