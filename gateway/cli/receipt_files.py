"""Sessions that request receipts, and the files of receipts."""

import json
from pathlib import Path

import requests

from gateway.client import AnswerCorrupt
from gateway.observe.audit.receipts import HEADER, LONGEST, PREFERENCE, Receipt, read_receipt


class ReceiptRequests:
    """A hook that requests a receipt with each request of a session; it stores the last one received."""

    def __init__(self, session: requests.Session) -> None:
        self._text = ""
        self.session = session
        session.headers["Prefer"] = PREFERENCE
        session.hooks["response"].append(self._hear)

    @property
    def receipt(self) -> Receipt:
        """The receipt of the last answer. Raises AnswerCorrupt where it is missing."""
        if not self._text:
            raise AnswerCorrupt("The server's answer has no receipt; check that its audit is enabled.")
        try:
            return read_receipt(self._text)
        except ValueError as error:
            raise AnswerCorrupt(str(error)) from error

    def _hear(self, response: requests.Response, *_: object, **__: object) -> None:
        self._text = response.headers.get(HEADER, self._text)


def write(receipt: Receipt, path: Path) -> None:
    """Write a receipt as indented JSON."""
    path.write_text(json.dumps(receipt, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def load(path: Path) -> Receipt:
    """Return the receipt in a file. Raises ValueError with a sentence, OSError."""
    with path.open("rb") as file:
        return read_receipt(file.read(LONGEST + 1).decode("utf-8", "replace"))
