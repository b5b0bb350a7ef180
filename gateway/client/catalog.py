"""Studies and results of a gateway, requested as JSON."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from urllib.parse import quote

from gateway.client.errors import ClientError, one_line
from gateway.client.inference_requests import encoded
from gateway.client.study_upload import entries_of
from gateway.client.transport import Transport, json_object
from gateway.client.upload_body import UploadBody
from gateway.contract.brief import Brief

Record = dict[str, Any]
"""An entry of a list, as the gateway returns it (docs/studies.md)."""

PAGE = 1000
"""Entries of one request."""


@dataclass(frozen=True, repr=False)
class Verdict(Brief):
    """A verdict on a study by the model on the route ``model``; ``reasons`` are sentences on why it is not accepted.

    ``series`` has a verdict for each series: does it match one of the model's arguments?
    """

    _shown = frozenset({"model"})

    model: str
    accepted: bool
    reasons: tuple[str, ...]
    series: tuple[Record, ...] = ()

    @property
    def words(self) -> Record:
        """For a script."""
        return {
            "model": self.model,
            "accepted": self.accepted,
            "reasons": list(self.reasons),
            "series": list(self.series),
        }


def pages(
    transport: Transport, route: str, member: str, wanted: Mapping[str, str], limit: int | None = None
) -> Iterator[Record]:
    """Yield every entry of a paged list, ``limit`` of them at most."""
    return islice(_pages(transport, route, member, wanted, min(limit or PAGE, PAGE)), limit)


def _pages(transport: Transport, route: str, member: str, wanted: Mapping[str, str], count: int) -> Iterator[Record]:
    params: dict[str, str | int] = {name: value for name, value in wanted.items() if value} | {"limit": count}
    while True:
        told = transport.json("GET", route, params=params)
        yield from entries_of(told, member)
        after = told.get("next")
        if not after or after == params.get("after"):
            return
        params["after"] = str(after)


def forget(transport: Transport, study_instance_uid: str) -> Record:
    """Forget a study. After a broken connection the retry may answer 404: the study is gone then."""
    record = transport.json("DELETE", f"/studies/{safe(study_instance_uid)}")
    return record if isinstance(record, dict) else {}


def description(transport: Transport, timeout: float | None) -> Record:
    """Request ``/openapi.json``, once. Raises AnswerCorrupt for an answer that is not a JSON object."""
    with transport.response("GET", "/openapi.json", timeout=timeout) as response:
        return json_object(response)


def preflight(transport: Transport, request: Mapping[str, Any], headers: Sequence[bytes] | None) -> list[Verdict]:
    """Check a study that ``words`` name, or that has these headers."""

    def body() -> dict[str, Any]:
        data = encoded(request)
        if headers is None:
            return {"data": data, "headers": {"Content-Type": "application/json"}}
        made = UploadBody([("application/json", data), *(("application/dicom", one) for one in headers)], None, None)
        return {"data": made, "headers": {"Content-Type": made.content_type}}

    verdicts = entries_of(transport.json("POST", "/preflight", body=body), "models")
    return [
        Verdict(one_line(str(one.get("model", ""))), one.get("accepted") is True, _reasons(one), _series(one))
        for one in verdicts
    ]


def safe(word: str) -> str:
    """Return a name as one segment of a path. Raises ClientError for an invalid one."""
    if word in ("", ".", "..") or "/" in word or not word.isprintable():
        raise ClientError(f"{one_line(word)!r} is not a name; use one word without slashes.")
    return quote(word, safe="")


def _reasons(verdict: Record) -> tuple[str, ...]:
    reasons = verdict.get("reasons")
    return tuple(one_line(str(reason)) for reason in reasons) if isinstance(reasons, list) else ()


def _series(verdict: Record) -> tuple[Record, ...]:
    series = verdict.get("series")
    return tuple(each for each in series if isinstance(each, dict)) if isinstance(series, list) else ()
