"""The ``params`` of an answer: the names of its regions, and what the model says beside its masks."""

from collections.abc import Mapping
from enum import StrEnum

from gateway.contract.execution import Card
from gateway.contract.requests import JSON
from gateway.errors import ParameterRefused


class LabelOutput(StrEnum):
    """The form of an answer, as the query states it: the mask, ``params``, both in a form, or DICOM."""

    IMAGE = "image"
    JSON = "json"
    ALL = "all"
    DICOM_SEG = "dicom_seg"

    @classmethod
    def read(cls, text: str) -> "LabelOutput":
        """Read the parameter ``output``; "" stands for both. Raises ParameterRefused."""
        try:
            return cls(text or cls.ALL)
        except ValueError:
            raise ParameterRefused([("/output", f"output should be one of {', '.join(cls)}.")]) from None


def answer_words(document: JSON, names: Mapping[str, int], card: Card) -> JSON:
    """Return ``params``: ``label_names`` has the value of each region, ``answer`` the JSON of protocol 1.0.

    ``document`` is that JSON; its ``parts`` are the masks, which are sent as one file or not at all.
    """
    answer = {name: value for name, value in document.items() if name != "parts"}
    return {"label_names": dict(names), "model": card.name, "version": card.version, "answer": answer}
