"""A streaming wrapper in the manner of the examples of AIGES: one answer each fifth of a second, by callback.

Where ``STREAM_GATE`` is set, an answer waits for the file of its number in that folder, or for ``all``.
"""

import os
import time
from pathlib import Path

from aiges.dto import Response, ResponseData, SessionCreateResponse, callback
from aiges.sdk import IntegerParamField, StringBodyField, WrapperBase
from aiges.stream import StreamHandleThread
from aiges.types import DataContinue, DataEnd


class UserRequest:
    count = IntegerParamField(key="count", minimum=1, maximum=100, required=True, value=3)
    pause = IntegerParamField(key="pause", minimum=0, maximum=1000, value=10)
    fault = IntegerParamField(key="fault", minimum=0, maximum=100, value=0)
    text = StringBodyField(key="text", value=b"word")


class UserResponse:
    accept1 = StringBodyField(key="word")


class Wrapper(WrapperBase):
    serviceId = "words"
    version = "1.0"
    requestCls = UserRequest()
    responseCls = UserResponse()

    def wrapperInit(self, config):
        self.session.init_wrapper_config(config)
        self.session.init_handle_pool("thread", 2, Words)
        return 0

    def wrapperOnceExec(self, params, reqData):
        return None

    def wrapperCreate(self, params, sid):
        created = SessionCreateResponse()
        handle = self.session.get_idle_handle()
        if not handle:
            created.error_code = 10
            return created
        session = self.session.get_session(handle=handle)
        session.setup_sid(sid)
        session.setup_params(params)
        session.setup_callback_fn(callback)
        created.handle = handle
        return created

    def wrapperWrite(self, handle, req, sid):
        self.session.get_session(handle=handle).in_q.put(req)
        return 0

    def wrapperError(self, ret):
        return {10: "every place is taken", 20: "the model is tired"}.get(ret, "")

    def wrapperFini(self):
        return 0


class Words(StreamHandleThread):
    def run(self):
        while True:
            self.infer(self.in_q.get())

    def infer(self, req):
        params, sid = self.session_thread.params, self.session_thread.sid
        answer, word = Response(), ResponseData()  # the same objects each time, as careless wrappers do
        answer.list = [word]
        for number in range(params["count"]):
            if params.get("fault") == number + 1:
                raise RuntimeError("a secret of the model")
            _wait_for_gate(number)
            word.key = "word"
            word.setData(b"%s %d" % (req.list[0].data, number))
            word.status = DataEnd if number + 1 == params["count"] else DataContinue
            self.session_thread.callback_fn(answer, sid)
            time.sleep(params.get("pause", 10) / 1000)
        self.session_thread.reset()


def _wait_for_gate(number):
    gate = os.environ.get("STREAM_GATE")
    while gate and not (Path(gate, "all").exists() or Path(gate, str(number)).exists()):
        time.sleep(0.01)
