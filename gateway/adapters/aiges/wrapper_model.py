"""A wrapper as a model: loaded, started once, called, and closed."""

import inspect
import json
import logging
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

from gateway.adapters.aiges import modules
from gateway.adapters.aiges.constants import DataEnd, DataOnce
from gateway.adapters.aiges.fields import DicomBodyField, declared
from gateway.adapters.aiges.wrapper_answers import Item, Rules, VerbFailed, read_items
from gateway.adapters.aiges.wrapper_class import at_home, is_stream, load_class
from gateway.adapters.aiges.wrapper_inputs import request_list
from gateway.adapters.aiges.wrapper_parameters import read_params
from gateway.contract.execution import Execution
from gateway.contract.model import Model, ModelDescription
from gateway.contract.requests import JSON, BinaryPart, EncodedAnswer, ModelAnswer, Request
from gateway.errors import AnswerInvalid, GatewayError, ModelFailed
from gateway.observe.logs import exception_frames
from gateway.protocol.jsontext import Report

logger = logging.getLogger("gateway")


def load(name: str, path: Path, *, stream: bool | None = None) -> "WrapperModel":
    """Load the wrapper in the file ``path``, without starting it. It streams if ``is_stream``, or as ``stream`` sets.

    Raises what importing the file raises, ImportError without a class ``Wrapper``, NotImplementedError without
    ``wrapperInit``, ``wrapperOnceExec`` or ``wrapperFini``.
    """
    path = path.resolve(strict=True)
    ours = modules.acquire()
    try:
        with at_home(path.parent):
            cls, module = load_class(path)
            streams = is_stream(cls) if stream is None else stream
            if streams and not ours:
                raise ImportError(f"{path.name} streams, which needs the gateway's own aiges: uninstall the package")
            return WrapperModel(name, cls(), streams=streams, module=module, home=path.parent, ours=ours)
    except BaseException:
        if ours:
            modules.release()
        raise


class WrapperModel(Model):
    """A wrapper on one route. ``setup`` and ``close`` run once each; other methods in many threads."""

    durable = False

    def __init__(
        self,
        name: str,
        wrapper: Any,
        *,
        streams: bool = False,
        module: ModuleType | None = None,
        home: Path | None = None,
        ours: bool = False,
    ) -> None:
        sdk = import_module("aiges.sdk")
        self.name = name
        self.wrapper = wrapper
        self.streams = streams
        self.params = declared(wrapper.requestCls, sdk.ParamField)
        self.inputs = declared(wrapper.requestCls, sdk.PayloadField)
        self.outputs = declared(wrapper.responseCls, sdk.PayloadField)
        self.uses_callback = any(value is sdk.callback for value in vars(module).values()) if module else True
        self._response_class = sdk.Response
        self._home = home or Path.cwd()
        self._ours = ours
        self._process = 0
        self._failure: GatewayError | None = ModelFailed("The wrapper was not started.")
        if home:
            sys.path.append(str(home))  # for imports that a wrapper makes later, behind all others

    needs_loading = True
    execution = Execution(processes=0)  # it was started where it was registered

    def setup(self) -> None:
        """Call ``wrapperInit``, once. A failure is not raised: every request is answered with it."""
        if self._process:
            return
        self._process = os.getpid()
        try:
            with at_home(self._home):
                code = self.wrapper.wrapperInit(self.wrapper.config)
        except (Exception, SystemExit) as error:
            logger.error("wrapperInit of %s raised\n%s", self.name, exception_frames(error))
            self._failure = ModelFailed("The wrapper did not start: its wrapperInit raised an exception.")
            return
        self._failure = self._refusal("wrapperInit", code)
        if self._failure:
            logger.error("%s did not start: %s", self.name, self._failure.detail)

    def warm_up(self) -> None:
        """Raise the failure of the start; no request is made for practice."""
        self.check_started()

    def close(self) -> None:
        """Call ``wrapperFini`` if the wrapper was started, and release the modules of aiges."""
        if refusal := self.finish():
            logger.error("%s did not close well: %s", self.name, refusal.detail)

    def finish(self) -> GatewayError | None:
        """Close as ``close`` does; return its failure."""
        started = self._failure is None and self._process == os.getpid()  # a forked child has started nothing
        self._failure = ModelFailed("The wrapper is closed.")
        refusal = self._fini() if started else None
        if self._ours:
            self._ours = False
            sys.path.remove(str(self._home))
            modules.release()
        return refusal

    def predict(self, request: Request) -> ModelAnswer:
        """Answer one request, whose parts may have names, checked by AIGES' rules rather than by protocol 1.0."""
        params, faults = self.read_params(request.json), list[AnswerInvalid]()
        names = request.names or (None,) * len(request.instances)
        pieces = request_list(self.inputs, list(zip(names, request.instances, strict=True)), DataOnce)
        items = self.exec(params, pieces, report=faults.append)
        parts = [BinaryPart(item.media_type, item.data) for item in items]
        encoded = EncodedAnswer(encode_json(items), parts)
        return ModelAnswer(describe(items), [item.data for item in items], faults=faults, encoded=encoded)

    def describe(self) -> ModelDescription:
        """See ``Model.describe``."""
        return ModelDescription(name="an AIGES wrapper")

    def exec(self, params: JSON, request: Any, *, report: Report) -> list[Item]:
        """Call ``wrapperOnceExec`` and check its response. Raises what the wrapper raises."""
        self.check_started()
        try:
            response = self.wrapper.wrapperOnceExec(params, request)
        except SystemExit as error:  # would end the worker, not the request
            raise ModelFailed("The wrapper tried to end the process.") from error
        return self.read(response, report=report)

    def read(self, response: Any, *, report: Report) -> list[Item]:
        """Return the items to send of a Response; ``report`` receives each fault of its content."""
        dicom = {field.key for field in self.outputs if isinstance(field, DicomBodyField)}
        return read_items(response, self.rules(), report=report, explain=self.explain, dicom=dicom)

    def rules(self) -> Rules:
        """Return the rules for the wrapper's answers; without a ``responseCls`` any key and type are accepted."""
        accepts = {field.key: field.data_type for field in self.outputs} if self.wrapper.responseCls else None
        return Rules(self._response_class, accepts, self.streams)

    def read_params(self, params: JSON) -> JSON:
        """Return the members of a request's JSON as the wrapper declared them."""
        return read_params(self.params, params)

    def check_started(self) -> None:
        """Raise the failure of the start, if it failed."""
        if self._failure:
            raise type(self._failure)(self._failure.detail, **self._failure.members)

    def explain(self, code: int) -> str:
        """Return the wrapper's text for an error code."""
        try:
            return str(self.wrapper.wrapperError(code) or "")
        except Exception as error:  # the code itself must still travel
            logger.error("wrapperError of %s raised\n%s", self.name, exception_frames(error))
            return ""

    def refuse(self, verb: str, code: Any) -> None:
        """Raise the problem for the error code that ``verb`` returned, unless it is 0."""
        if refusal := self._refusal(verb, code):
            raise refusal

    def _refusal(self, verb: str, code: Any) -> GatewayError | None:
        if not isinstance(code, int):
            return ModelFailed(f"The wrapper's {verb} should return 0 or an error code.")
        text = self.explain(code) if code else ""
        return VerbFailed(f"{verb} failed. {text or f'Its error code is {code}.'}", error_code=code) if code else None

    def _fini(self) -> GatewayError | None:
        try:
            return self._refusal("wrapperFini", self.wrapper.wrapperFini())
        except Exception as error:
            logger.error("wrapperFini of %s raised\n%s", self.name, exception_frames(error))
            return ModelFailed("The wrapper's wrapperFini raised an exception.")


def describe(items: Sequence[Item]) -> JSON:
    """Return the JSON of an answer."""
    return {"aiges": [item.entry() for item in items]}


def encode_json(items: Sequence[Item]) -> bytes:
    """Return the JSON of an answer as it is sent."""
    return json.dumps(describe(items), separators=(",", ":")).encode("ascii")


def ends(items: Sequence[Item]) -> bool:
    """Return True if this answer of a stream is its last."""
    return any(item.status == DataEnd for item in items)


def call(verb: Any, *arguments: Any) -> Any:
    """Call a verb with as many arguments as it has parameters: some examples of AIGES leave out ``sid``."""
    try:
        parameters = inspect.signature(verb).parameters.values()
    except (TypeError, ValueError):
        return verb(*arguments)
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return verb(*arguments)
    count = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
    return verb(*arguments[:count])
