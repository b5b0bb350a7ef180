"""The issuer's public keys (JWKS, RFC 7517), from a file or by HTTPS, cached for a limited time."""

import logging
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import urlsplit

from gateway.access.listeners import is_loopback
from gateway.access.reloading_file import MAX_BYTES, ReloadingFile
from gateway.errors import Unavailable

logger = logging.getLogger("gateway")

CONNECT_SECONDS, READ_SECONDS = 3.0, 5.0
"""Seconds that a fetch waits for the connection, and for each piece of the response."""
FETCH_SECONDS = 8.0
"""Seconds that a fetch takes at most, however small the pieces."""
WAITERS = 2
"""Requests that wait for a fetch, each in a thread; anyone can send such requests, and probes need threads too."""
RETRY_AFTER = 10
"""Retry-After in seconds while the issuer's keys are unavailable."""

Name = TypeVar("Name", bound=Hashable)
Key = TypeVar("Key")


@dataclass(frozen=True)
class _Fetched(Generic[Name, Key]):
    keys: Mapping[Name, Key]
    at: float


class KeySet(Generic[Name, Key]):
    """The keys of one issuer by their names, as ``parse`` reads them from the bytes of a JWKS.

    Keys are trusted for ``max_age`` seconds and fetched again after half of that, so an issuer may be unreachable for
    the other half. An unknown name causes a fetch at once, at most every ``min_interval`` seconds.
    """

    def __init__(
        self,
        source: str,
        parse: Callable[[bytes], Mapping[Name, Key]],
        *,
        max_age: float,
        min_interval: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._load = _loader(source, parse)
        self._max_age, self._min_interval, self._clock = max_age, min_interval, clock
        self._lock = threading.Lock()
        self._waiters = threading.Semaphore(WAITERS)
        self._fetched: _Fetched[Name, Key] | None = None
        self._tried: float | None = None

    def find(self, name: Name) -> Key | None:
        """Return the key of this name; None for an unknown name. Raises Unavailable while no keys are trusted."""
        fetched = self._trusted()
        if fetched is None or name not in fetched.keys:
            self._wait()
            fetched = self._trusted()
        elif self._clock() - fetched.at > self._max_age / 2:
            self._refresh(wait=False)
        if fetched is None:
            raise Unavailable("The gateway cannot reach the issuer of tokens.", retry_after=RETRY_AFTER)
        return fetched.keys.get(name)

    def _trusted(self) -> _Fetched[Name, Key] | None:
        fetched = self._fetched
        return None if fetched is None or self._clock() - fetched.at > self._max_age else fetched

    def _wait(self) -> None:
        """Wait for a fetch. Raises Unavailable where WAITERS requests wait already."""
        if not self._waiters.acquire(blocking=False):
            raise Unavailable("The gateway is asking the issuer of tokens for its keys; try again.", retry_after=1)
        try:
            self._refresh(wait=True)
        finally:
            self._waiters.release()

    def _refresh(self, *, wait: bool) -> None:
        """Fetch, unless that was tried recently; without ``wait``, leave a fetch under way to its thread."""
        if not self._lock.acquire(blocking=wait):
            return
        try:
            now = self._clock()
            if self._tried is None or now - self._tried >= self._min_interval:
                self._tried = now
                self._fetched = _Fetched(self._load(), now)
        except (OSError, ValueError, RecursionError) as error:  # errors of requests are OSErrors
            logger.warning("the issuer's keys could not be read: %s", type(error).__name__)
        finally:
            self._lock.release()


def _loader(source: str, parse: Callable[[bytes], Mapping[Name, Key]]) -> Callable[[], Mapping[Name, Key]]:
    url = urlsplit(source)
    if url.scheme not in ("http", "https"):
        return ReloadingFile(Path(source), parse).get
    if url.scheme == "http" and not is_loopback(url.hostname or ""):
        raise ValueError("jwt_jwks (GATEWAY_JWT_JWKS) should be an https URL: over http anyone could answer with keys.")
    return lambda: parse(_fetch(source))


def _fetch(url: str) -> bytes:
    """Return the bytes at ``url``. Raises OSError, ValueError.

    A thread reads them: neither a name lookup nor a head that arrives byte by byte has a timeout of its own.
    """
    answer: Future[bytes] = Future()
    threading.Thread(target=_settle, args=[answer, url], name="gateway-jwks", daemon=True).start()
    return answer.result(FETCH_SECONDS)


def _settle(answer: "Future[bytes]", url: str) -> None:
    try:
        answer.set_result(_read(url))
    except Exception as error:
        answer.set_exception(error)


def _read(url: str) -> bytes:
    import requests  # imported late: a service without tokens does not need it

    timeout = (CONNECT_SECONDS, READ_SECONDS)
    with requests.get(url, timeout=timeout, allow_redirects=False, stream=True) as answer:
        if answer.status_code != 200:
            raise ValueError(f"the issuer answered with {answer.status_code}")
        data = bytearray()
        for piece in answer.iter_content(1 << 16):
            data += piece
            if len(data) > MAX_BYTES:
                raise ValueError("the issuer's answer is too large")
    return bytes(data)
