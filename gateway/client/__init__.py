"""The client: send a study to a gateway and read a checked answer. Independent of Flask.

::

    with Client("http://127.0.0.1:8900") as client:
        study = client.upload("study")
        result = client.infer(study, "/segmentation-3d")
        result.to_nifti("answer")
"""

from gateway.client.answer import Answer
from gateway.client.bundles import Moved
from gateway.client.catalog import Record, Verdict
from gateway.client.client import DEFAULT_TIMEOUT, Client
from gateway.client.errors import (
    AnswerCorrupt,
    ClientError,
    Conflict,
    ConflictingInstance,
    Disconnected,
    Refused,
    SourceUnreadable,
    TimedOut,
    Unreachable,
    printable,
)
from gateway.client.event_stream import StreamedEvent
from gateway.client.inference_run import InferenceRun
from gateway.client.interactive_session import InteractiveSession
from gateway.client.result import InferenceResult
from gateway.client.study_upload import Reference, Uploaded
from gateway.client.unreadable import StudyUnreadable, Unreadable
from gateway.client.upload_body import OnProgress, Source

__all__ = [
    "DEFAULT_TIMEOUT",
    "Answer",
    "AnswerCorrupt",
    "ConflictingInstance",
    "Client",
    "ClientError",
    "Conflict",
    "Disconnected",
    "Moved",
    "OnProgress",
    "Record",
    "Reference",
    "Refused",
    "InferenceResult",
    "InferenceRun",
    "InteractiveSession",
    "StreamedEvent",
    "Source",
    "SourceUnreadable",
    "StudyUnreadable",
    "TimedOut",
    "Unreachable",
    "Unreadable",
    "Uploaded",
    "Verdict",
    "printable",
]
