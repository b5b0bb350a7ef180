"""The other end of the wire: send a study to a gateway and read a checked answer. Knows no Flask.

::

    with Client("http://127.0.0.1:8900") as client:
        answer = client.infer({"studyUID": uid}, sorted(Path("study").iterdir()), route="/segmentation")
        mask = answer.masks()[0]
"""

from gateway.client.answer import Answer
from gateway.client.connection import DEFAULT_TIMEOUT, Client
from gateway.client.errors import (
    AnswerCorrupt,
    ClientError,
    Disconnected,
    Refused,
    SourceUnreadable,
    Unreachable,
    printable,
)
from gateway.client.upload import Progress, Source

__all__ = [
    "DEFAULT_TIMEOUT",
    "Answer",
    "AnswerCorrupt",
    "Client",
    "ClientError",
    "Disconnected",
    "Progress",
    "Refused",
    "Source",
    "SourceUnreadable",
    "Unreachable",
    "printable",
]
