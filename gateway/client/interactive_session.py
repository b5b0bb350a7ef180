"""A click session: a region that grows with each click, until it is finished."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from gateway.client.catalog import Record, safe
from gateway.client.errors import AnswerCorrupt, ClientError, Refused, one_line
from gateway.client.inference_requests import Inference, checked, encoded, naming
from gateway.client.inference_run import RunInput
from gateway.client.result import InferenceCall, InferenceResult
from gateway.client.transport import Transport, json_object
from gateway.contract.brief import line_of

if TYPE_CHECKING:
    from gateway.protocol.region_changes import Labels

Place = Sequence[float]
"""Indices of a voxel: slice, row, column."""
AXES = 3


@dataclass(frozen=True)
class SessionRequests:
    """The requests about sessions of one transport. All methods raise ClientError."""

    transport: Transport
    inference: Inference

    def open(self, route: str, body: Callable[[], dict[str, Any]], timeout: float | None) -> Record:
        """Open a session; not repeated, since the first try may have opened one."""
        made = body()
        headers = made.pop("headers") | {"Accept": "application/json, application/problem+json"}
        options: dict[str, Any] = {"params": {"route": route}, "timeout": timeout, "accepted": (201,)}
        with self.transport.response("POST", "/sessions", headers=headers, **made, **options) as response:
            return json_object(response)

    def send(self, id: str, words: Record) -> Record:
        """Send an input, repeated where its response was lost: its ``after`` lets the gateway take it once."""
        return self._object("POST", id, "/input", data=encoded(words), headers={"Content-Type": "application/json"})

    def read(self, id: str) -> Record:
        """Return the session as it is."""
        return self._object("GET", id)

    def region(self, id: str) -> Any:
        """Return all of the region, as a change since 0."""
        return self._object("GET", id, "/region").get("region")

    def end(self, id: str) -> None:
        """End a session; one that has ended is not an error."""

        def once() -> None:
            with self.transport.response("DELETE", _path(id), accepted=(204,)):
                pass

        try:
            self.transport.retried(once)
        except Refused as error:
            if error.code != "session-gone":
                raise

    def _object(self, method: str, id: str, path: str = "", **options: Any) -> Record:
        def once() -> Record:
            with self.transport.response(method, _path(id) + path, **options) as response:
                return json_object(response)

        return self.transport.retried(once)


class InteractiveSession:
    """A session of a gateway, as ``Client.session`` opens it. Leaving its ``with`` ends it, finished or not.

    ``mask`` is the region after the last input: uint8, (slice, row, column) of the volume, 0 for the outside. All
    methods raise ClientError.
    """

    def __init__(self, requests: SessionRequests, record: Record, given: RunInput) -> None:
        self._requests, self._given = requests, given
        self._record: Record = {}
        self._mask: Labels | None = None
        self._known = 0
        self._take(record)

    @property
    def id(self) -> str:
        """The session's id."""
        return one_line(str(self._record.get("id", "")))

    @property
    def route(self) -> str:
        """The route of the model."""
        return one_line(str(self._record.get("route", "")))

    @property
    def state(self) -> str:
        """``working``, ``waiting`` for an input, ``finished`` or ``failed``, as of the last response."""
        return one_line(str(self._record.get("state", "")))

    @property
    def question(self) -> Record | None:
        """What the model asks; None where it asks nothing any more."""
        question = self._record.get("question")
        return question if isinstance(question, dict) else None

    @property
    def mask(self) -> "Labels":
        """A copy of the region. Raises ValueError before the model has shown one."""
        if self._mask is None:
            raise ValueError("the model has shown no region yet")
        return self._mask.copy()

    def click(self, *points: Place, positive: bool = True) -> Self:
        """Click on voxels, (slice, row, column) each; with ``positive`` False they do not belong to the region.

        Raises ValueError for what is no place.
        """
        return self._input({"points": [{"at": _numbers(point), "positive": positive} for point in points]})

    def box(self, first: Place, last: Place, *, positive: bool = True) -> Self:
        """Draw a box by two corners that are in it. Raises ValueError for what is no place."""
        return self._input({"boxes": [{"box": [_numbers(first), _numbers(last)], "positive": positive}]})

    def undo(self, inputs: int = 1) -> Self:
        """Take back the last inputs."""
        return self._input({"undo": inputs})

    def reset(self) -> Self:
        """Take back all inputs."""
        return self._input({"reset": True})

    def answer(self, value: Any) -> Self:
        """Answer a question of another kind than clicks."""
        return self._input({"answer": value})

    def refresh(self) -> Self:
        """Read the session and all of its region, as after inputs of another client."""
        self._take(self._requests.read(self.id) | {"region": self._requests.region(self.id)})
        return self

    def finish(self) -> InferenceResult:
        """Accept the region; return the answer of the model as ``Client.infer`` does."""
        with naming([instance.source for instance in self._given.source]):
            answer = self._requests.inference.posted(f"{_path(self.id)}/finish")
        if self._given.digest is not None:
            checked(answer, self._given.digest())
        self._record |= {"state": "finished", "question": None}
        call = InferenceCall(self.route, self._given.words or {}, datetime.now(UTC))
        return InferenceResult(answer, self._given.source, call, self._given.skipped)

    def end(self) -> None:
        """End the session."""
        self._requests.end(self.id)

    def _input(self, words: Record) -> Self:
        self._take(self._requests.send(self.id, words | {"after": self._sequence}))
        return self

    @property
    def _sequence(self) -> int:
        sequence = self._record.get("sequence")
        return sequence if isinstance(sequence, int) else 0

    def _take(self, record: Record) -> None:
        """Take what the gateway describes, and change the region by it."""
        region = record.pop("region", None)
        self._record = record
        if region is None:
            return
        try:
            self._apply(region)
        except ValueError as error:
            raise AnswerCorrupt(f"The server's answer is {error}.") from error

    def _apply(self, words: Record) -> None:
        from gateway.protocol.region_changes import RegionChange  # numpy, which other requests spare

        change = RegionChange.of(words)
        if change.since and change.since != self._known:  # what was between is unknown
            change = RegionChange.of(self._requests.region(self.id))
        if not change.since:
            self._mask = change.empty()
        if self._mask is not None:
            change.apply(self._mask)
        self._known = change.sequence

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            self.end()
        except ClientError:
            if kind is None:
                raise

    def __repr__(self) -> str:
        return line_of("InteractiveSession", self.id, self.route, self.state)


def _path(id: str) -> str:
    return f"/sessions/{safe(id)}"


def _numbers(place: Place) -> list[float]:
    numbers = [float(number) for number in place]
    if len(numbers) != AXES or not all(map(math.isfinite, numbers)):
        raise ValueError(f"a point is three finite numbers, slice, row and column, and not {numbers}")
    return numbers
