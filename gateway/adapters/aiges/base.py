"""``WrapperBase``, which a wrapper derives from (``aiges.sdk``)."""

import json
from functools import cached_property
from typing import Any

from gateway.adapters.aiges.log import log
from gateway.adapters.aiges.schema import legacy_schema
from gateway.adapters.aiges.stream import SessionManager

__all__ = [
    "WrapperBase",
]


class WrapperBase:
    """A model in the AIGES contract: its verbs in AIGES's names, to be overridden.

    A wrapper overrides ``wrapperInit``, ``wrapperOnceExec`` and ``wrapperFini``; one that streams also
    ``wrapperCreate``, ``wrapperWrite`` and ``wrapperDestroy``.
    """

    serviceId = ""
    version = ""
    config: Any = {}
    requestCls: Any = None
    responseCls: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Accept the arguments of the original's constructor, which are not needed."""

    @cached_property
    def session(self) -> SessionManager:
        """The pool of session threads, for wrappers that stream."""
        return SessionManager()

    def wrapperInit(self, config: Any) -> int:
        """Load the model, once; return 0 or an error code."""
        raise NotImplementedError("write wrapperInit(self, config)")

    def wrapperFini(self) -> int:
        """Release the model, once; return 0 or an error code."""
        raise NotImplementedError("write wrapperFini(self)")

    def wrapperOnceExec(self, params: Any, reqData: Any) -> Any:
        """Answer one request with a Response; may be called by several threads at once."""
        raise NotImplementedError("write wrapperOnceExec(self, params, reqData)")

    def wrapperError(self, ret: int) -> str:
        """Return the text for an error code, shown to the user."""
        return ""

    def wrapperLoadRes(self, reqData: Any, resId: int) -> int:
        """Do nothing: for wrappers that call it; the gateway does not."""
        return 0

    def wrapperUnloadRes(self, resId: int) -> int:
        """Do nothing: for wrappers that call it; the gateway does not."""
        return 0

    def wrapperCreate(self, params: Any, sid: str) -> Any:
        """Open a session; return a SessionCreateResponse."""
        raise NotImplementedError("write wrapperCreate(self, params, sid)")

    def wrapperWrite(self, handle: str, req: Any, sid: str) -> int:
        """Accept a request in an open session; return 0 or an error code."""
        return 0

    def wrapperRead(self, handle: str) -> Any:
        """Return the next Response of a session, for a wrapper that does not use ``callback``."""
        return None

    def wrapperDestroy(self, handle: str) -> int:
        """Close a session; return 0 or an error code."""
        return 0

    def schema(self) -> str:
        """Return the schema as JSON text, in the original's legacy form."""
        return json.dumps(legacy_schema(self), indent=4, ensure_ascii=False)

    def run(self, stream: bool = False) -> None:
        """Run the wrapper locally: log the verdict, and end the process with status 1 if it is bad."""
        from gateway.adapters.aiges.verdict import judge
        from gateway.adapters.aiges.wrapper_model import WrapperModel
        from gateway.config import Settings

        model = WrapperModel("wrapper", self, streams=stream)
        verdict = judge(model, strict=Settings.from_environment().strict)
        log.log(20 if verdict.good else 40, verdict.sentence)
        if not verdict.good:
            raise SystemExit(1)
