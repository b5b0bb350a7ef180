"""``replay``: reproduce an answer from its receipt and its study, and compare it bit by bit."""

import argparse
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Self

import requests

from gateway.app import Gateway
from gateway.cli import receipt_files
from gateway.cli.audits import API_KEY, find_key
from gateway.cli.send_options import SendOptions
from gateway.cli.terminal import Terminal
from gateway.client.answer import Answer, read_answer
from gateway.client.credentials import Credentials
from gateway.client.inference_requests import encoded
from gateway.client.study_files import load
from gateway.client.transport import Transport, new_session
from gateway.client.unreadable import Skipping
from gateway.client.upload_body import PIECE, Source, UploadBody
from gateway.dicom.reading.instances import Instance
from gateway.intake.receiving import receive_files
from gateway.observe.audit.comparison import Line, compare
from gateway.observe.audit.receipts import Receipt, is_signed
from gateway.protocol.digests import hash_function
from gateway.service.exchange import Head, new_request_id
from gateway.targets import NoTarget, served

Parts = list[tuple[str, Source]]


@dataclass(frozen=True, kw_only=True)
class Replay:
    """The answer to reproduce. ``json`` is the request's first part as it was sent, else ``order`` makes it."""

    receipt: Receipt
    order: SendOptions
    target: str = ""
    url: str = ""
    json: Path | None = None
    key: bytes | None = None
    access: Credentials = field(default_factory=Credentials)

    @classmethod
    def from_arguments(cls, arguments: argparse.Namespace) -> Self:
        """Return the replay of a command line. Raises ValueError for an invalid receipt or key, OSError."""
        names = ("study", "skip_unreadable", "attachments", "command", "kind", "study_size", "options")
        order = SendOptions(out=Path(), **{name: getattr(arguments, name) for name in names})
        options = {name: getattr(arguments, name) for name in ("target", "url", "json")}
        receipt, key = receipt_files.load(arguments.receipt), find_key(arguments.key)
        return cls(
            receipt=receipt, order=order, key=key, access=Credentials(api_key=os.environ.get(API_KEY, "")), **options
        )


def replay(options: Replay, screen: Terminal) -> bool:
    """Print what is the same and what differs; return True if all is the same.

    Raises ClientError, GatewayError, OSError."""
    genuine = _signature(options, screen)
    parts = _parts(options)
    lines = list(compare(options.receipt, _ask(options, parts)))
    for line in lines:
        screen.say(f"{line.name:<11}{line.sentence}")
    same = all(line.same is not False for line in lines)
    screen.say(f"verdict    {_verdict(lines) if genuine else 'the receipt is FORGED or was changed'}")
    return same and genuine


def _verdict(lines: Sequence[Line]) -> str:
    different = [line.name for line in lines if line.same is False]
    return f"NOT the same: {', '.join(different)}" if different else "the same request, model and answer"


def _signature(options: Replay, screen: Terminal) -> bool:
    receipt = options.receipt
    genuine = options.key is None or is_signed(receipt, options.key)
    verdict = "not checked: no key" if options.key is None else "holds" if genuine else "DOES NOT HOLD"
    screen.say(f"receipt    of {receipt['time']}, request {receipt['request']}")
    screen.say(f"signature  {verdict}")
    return genuine


def _parts(options: Replay) -> Parts:
    """Return the request's parts in the order whose digest is the receipt's, else in spatial order."""
    skipping = Skipping(options.order.skip_unreadable)
    instances = load(options.order.study, skipping) if options.order.study else []
    json = options.json.read_bytes() if options.json else encoded(options.order.request(instances))
    first: Parts = [("application/json", json)]
    first += [("application/octet-stream", path) for path in options.order.attachments]
    orders = [first + [("application/dicom", instance.source) for instance in order] for order in _orders(instances)]
    new_hash = hash_function(options.receipt["algorithm"])
    return next((parts for parts in orders if _digest(parts, new_hash) == options.receipt["input"]), orders[0])


def _orders(instances: Sequence[Instance]) -> Iterator[Sequence[Instance]]:
    """Yield the files in the order of ``send``, then in the order of their names."""
    yield instances
    yield sorted(instances, key=lambda instance: str(instance.source))


def _digest(parts: Parts, new_hash: Callable[[], Any]) -> str:
    body = UploadBody(parts, None, new_hash)
    deque(body, maxlen=0)
    return body.input_digest


def _ask(options: Replay, parts: Parts) -> Receipt:
    """Return the receipt of a new answer, from a running gateway or from an application in this process."""
    return _ask_server(options, parts) if options.url else _ask_here(options, parts)


def _ask_here(options: Replay, parts: Parts) -> Receipt:
    """Return the receipt of an answer made in this process, at the receipt's time, which DICOM objects contain."""
    receipt, app = options.receipt, served(options.target)
    app.open()
    service = app.service
    model = service.models[_route(app, receipt["route"])]
    head = Head(door="replay", request_id=new_request_id(), accept=_accept(receipt), received=_moment(receipt["time"]))
    json, *files = (_open(source) for _, source in parts)
    with service.open_exchange(model, head) as exchange:
        request = exchange.receive(partial(receive_files, json.read(), files))
        exchange.answer(exchange.infer(request))
        exchange.finish()
        answer = exchange.receipt()
    exchange.close()
    return answer


def _open(source: Source) -> BinaryIO:
    if isinstance(source, Path):
        return source.open("rb")
    file = BytesIO(source) if isinstance(source, bytes) else source
    file.seek(0)
    return file


def _ask_server(options: Replay, parts: Parts) -> Receipt:
    """Return the receipt of an answer over HTTP, with the digests of the bytes sent and received."""
    receipt = options.receipt
    asking = receipt_files.ReceiptRequests(new_session())
    new_hash = hash_function(receipt["algorithm"])
    body = UploadBody(parts, None, new_hash)
    headers = {"Content-Type": body.content_type, "Accept": _accept(receipt)}
    transport = Transport(options.url, timeout=None, session=asking.session, access=options.access, retries=0)
    try:
        with transport.response("POST", receipt["route"], headers=headers, data=body) as response:
            answer = _read(response, new_hash)
            now = asking.receipt
    finally:
        transport.close()
    return {**now, "input": body.input_digest, "output": answer.output_digest}


def _read(response: requests.Response, new_hash: Callable[[], Any]) -> Answer:
    content_type = response.headers.get("Content-Type", "")
    return read_answer(content_type, response.iter_content(PIECE), response.headers.get("X-Request-ID", ""), new_hash)


def _accept(receipt: Receipt) -> str:
    """The original Accept header; DICOM objects are related parts too."""
    media_type = receipt.get("accept")
    return f'multipart/related; type="{media_type}"' if media_type == "application/dicom" else "multipart/related"


def _route(app: Gateway, route: str) -> str:
    """Return the model's route: the receipt's, or the only one of an application made for a model."""
    models = app.service.models
    if route in models:
        return route
    if len(models) == 1:
        return str(next(iter(models)))
    raise NoTarget("the application has several models and no model on the receipt's route; name the model instead")


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):  # the latter for a year that UTC does not reach
        raise NoTarget("the receipt's time is invalid") from None
