"""Transport to a gateway: a session, its credentials, its timeouts, and its retries."""

import json as jsonlib
import random
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar

import requests
from requests.adapters import HTTPAdapter

from gateway.client.credentials import Credentials
from gateway.client.errors import (
    AnswerCorrupt,
    ClientError,
    Disconnected,
    Refused,
    TimedOut,
    Unreachable,
    beginning,
    failure,
    place,
    refused,
)
from gateway.errors import DeadlineExceeded

DEFAULT_TIMEOUT = 1800.0
"""Seconds without a byte before giving up: three times the ten minutes that a long prediction takes, since a request
may first wait for another's."""

CONNECT_TIMEOUT = 30.0
"""Seconds to connect at most: a network that answers at all does so in three tries of TCP, which take 7 (RFC 6298)."""

DEFAULT_RETRIES = 3
"""Retries of an idempotent request."""

DEADLINE_GRACE = 2.0
"""Seconds to wait beyond the deadline that the server received, so that its own 504 arrives: a busy machine sends it
late by tenths of a second."""

LONGEST_PAUSE = 60.0
"""Seconds between two tries at most, whatever Retry-After says."""

OUTAGE = 300.0
"""Seconds for which a server may be away while a run is watched: a restart with large models takes minutes."""

LONGEST_BRIDGE_PAUSE = 5.0
"""Seconds between two tries meanwhile, at most; someone is waiting."""

LONGEST_JSON = 64 << 20
"""Bytes read of a JSON answer: what is known of 100,000 instances takes some 30 MiB."""

CONNECTIONS = 32
"""Connections kept open for later use; four uploads of eight chunks at once."""

PASSING = (429, 502, 503, 504)
"""Statuses of a trouble that may pass (RFC 6585 4, RFC 9110 15.6)."""

Body = Callable[[], dict[str, Any]]
"""Makes the ``data`` and ``headers`` of one try; those of the last one have been read to their end."""
When = Callable[[ClientError], bool]
T = TypeVar("T")


class Transport:
    """Requests to one gateway, from any thread. All methods raise ClientError.

    ``timeout`` is in seconds; where it is set, ``X-Request-Timeout`` sends it to the server as a deadline, and the
    client waits longer by DEADLINE_GRACE.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout: float | None,
        session: requests.Session | None,
        access: Credentials,
        retries: int,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self.timeout = timeout
        self.retries = retries
        self._session = session or new_session()
        self._access = access
        self._closed = threading.Event()

    @property
    def address(self) -> str:
        """Host and port, without the credentials in a URL."""
        return place(self.base_url)

    def close(self) -> None:
        """Close the connections; pending retries give up."""
        self._closed.set()
        self._session.close()

    def sleep(self, seconds: float) -> bool:
        """Pause, and return True once the connections are closed."""
        return self._closed.wait(seconds)

    @contextmanager
    def response(
        self,
        method: str,
        route: str,
        *,
        timeout: float | None = None,
        silence: float | None = None,
        accepted: Collection[int] = (200,),
        **options: Any,
    ) -> Iterator[requests.Response]:
        """Return a response with an ``accepted`` status and its body unread; every failure is a ClientError.

        ``silence`` bounds each wait for the server, in seconds, without sending it a deadline.
        """
        url = f"{self.base_url}/{route.lstrip('/')}"
        patience = timeout or self.timeout
        deadline = {"X-Request-Timeout": f"{patience:g}"} if patience and silence is None else {}
        options["headers"] = deadline | options.get("headers", {}) | {"Accept-Encoding": "identity"}
        waits = silence or (patience + DEADLINE_GRACE if patience else DEFAULT_TIMEOUT)
        if self._access.token or self._access.api_key:
            options["auth"] = self._access
        try:
            with self._session.request(
                method,
                url,
                timeout=(min(waits, CONNECT_TIMEOUT), waits),
                stream=True,
                allow_redirects=False,
                **self._access.tls,
                **options,
            ) as response:
                if response.status_code not in accepted:
                    raise refused(response, route)
                yield response
        except requests.RequestException as error:
            raise failure(error, url) from error

    def json(self, method: str, route: str, *, body: Body | None = None, **options: Any) -> Any:
        """Return the JSON answer to an idempotent request; retried where that may help.

        Raises AnswerCorrupt for an answer that is not JSON.
        """

        def once() -> Any:
            made = options if body is None else options | body()
            headers = {"Accept": "application/json, application/problem+json"} | made.pop("headers", {})
            with self.response(method, route, headers=headers, **made) as response:
                return _read_json(response)

        return self.retried(once)

    def retried(self, once: Callable[[], T], *, retries: int | None = None, when: When | None = None) -> T:
        """Return the result of ``once``, retried at most ``retries`` times for failures that ``when`` accepts."""
        left = self.retries if retries is None else retries
        passing = when or _may_pass
        for turn in range(left + 1):
            try:
                return once()
            except ClientError as error:
                if turn == left or not passing(error) or self._closed.wait(_pause(error, turn)):
                    raise
        raise AssertionError("a loop of at least one turn ends within it")


class Outage:
    """A time in which a server does not answer, such as a restart: it is bridged up to ``OUTAGE`` seconds."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._began: float | None = None
        self._turn = 0

    def end(self) -> None:
        """Record that the server answers."""
        self._began, self._turn = None, 0

    def bear(self, error: ClientError) -> None:
        """Pause after a failure. Raises it again where it does not pass, or has lasted too long."""
        now = time.monotonic()
        self._began = now if self._began is None else self._began
        if now - self._began > OUTAGE or not (isinstance(error, Unreachable | TimedOut) or _may_pass(error)):
            raise error
        self.pause(error)

    def pause(self, error: ClientError | None = None) -> None:
        """Pause before another try. Raises Disconnected once the client is closed."""
        seconds = min(LONGEST_BRIDGE_PAUSE, _pause(error, self._turn) if error else 0.25 * 2**self._turn)
        self._turn = min(self._turn + 1, 8)
        if self._transport.sleep(seconds):
            raise Disconnected("The client was closed.")


def refused_before_work(error: ClientError) -> bool:
    """Return True if a busy server named a time to retry: no work was begun (RFC 9110 10.2.3)."""
    return isinstance(error, Refused) and error.status == 503 and error.retry_after is not None


class _Session(requests.Session):
    """A session without redirections; requests would read an unused Location, and raise for an invalid one."""

    def resolve_redirects(self, *_: Any, **__: Any) -> Iterator[Any]:
        return iter(())


def new_session() -> requests.Session:
    """Return a session that threads may share: without cookies, and with as many connections as they use."""
    made = _Session()
    made.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    for scheme in ("http://", "https://"):
        made.mount(scheme, HTTPAdapter(pool_maxsize=CONNECTIONS))
    return made


def _read_json(response: requests.Response) -> Any:
    body = beginning(response, LONGEST_JSON + 1)
    try:
        if len(body) > LONGEST_JSON:
            raise ValueError("too long")
        return jsonlib.loads(body)
    except (ValueError, RecursionError) as error:
        raise AnswerCorrupt("The server's answer is not the requested JSON.") from error


def json_object(response: requests.Response) -> dict[str, Any]:
    """Return the JSON object of a response. Raises AnswerCorrupt for anything else."""
    told = _read_json(response)
    if not isinstance(told, dict):
        raise AnswerCorrupt("The server's answer is not a JSON object.")
    return told


def _may_pass(error: ClientError) -> bool:
    """Return True if the trouble may pass; a timeout, here or at the server, has waited long enough already."""
    if isinstance(error, TimedOut) or error.code == DeadlineExceeded.code:
        return False
    return isinstance(error, Disconnected) or (isinstance(error, Refused) and error.status in PASSING)


def _pause(error: ClientError, turn: int) -> float:
    """Return the seconds before a retry: the server's, else doubling from a quarter; with jitter to spread clients."""
    asked = error.retry_after if isinstance(error, Refused) else None
    return min(LONGEST_PAUSE, asked if asked is not None else 0.25 * 2**turn) + random.uniform(0, 0.1)
