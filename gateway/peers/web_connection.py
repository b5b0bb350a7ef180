"""HTTP to one peer: one host, its credentials, verified TLS, bounded waits and answers, and retries of what is safe."""

import base64
import math
import ssl
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from urllib3.exceptions import HTTPError, InsecureRequestWarning, MaxRetryError, NewConnectionError, SSLError
from urllib3.util import Retry, Timeout

from gateway.config import KiB, MiB
from gateway.errors import BrokenJSON, PeerFailed, StudyNotFound, Unavailable
from gateway.peers.peer import Check
from gateway.peers.peer_entries import WebAddress
from gateway.protocol.request import count_values, parse_value
from gateway.spool.disk import read_regular

PIECE = 256 * KiB
MAX_SECRET_BYTES = 64 << 10
"""Of a file with a token or a password; a token of an identity provider has some KiB."""
MAX_JSON_BYTES, MAX_JSON_VALUES = 32 * MiB, 2_000_000
"""Of one answer: a page of 1,000 matches with fifty attributes takes 10 MiB and 300,000 values."""
TRIES = 2
"""Retries of a request that changes nothing."""
PASSING = (429, 502, 503, 504)
"""Statuses of a trouble that may pass (RFC 6585 4, RFC 9110 15.6)."""
LONGEST_PAUSE = 5
"""Seconds between two tries, whatever Retry-After says; a longer wait is the caller's to decide."""
RETRY_SECONDS = 30
"""When a caller may try again where the peer named no time."""
LONGEST_RETRY = 3600
"""Seconds of the peer's Retry-After that are passed on, at most."""

Query = Iterable[tuple[str, str]]


class WebConnection:
    """Connections to one peer, from any thread; as many at once as its entry allows.

    A pool of one host: no redirection and no address of an answer can lead the credentials to another one.
    """

    def __init__(self, name: str, address: WebAddress, connections: int) -> None:
        """Raises ValueError with a sentence for a certificate that cannot be loaded."""
        self.name, self.address = name, address
        self._root = urllib3.util.parse_url(address.url).path or ""
        options: dict[str, Any] = {} if address.url.startswith("http:") else {"ssl_context": tls_context(name, address)}
        self._pool = urllib3.connection_from_url(
            address.url,
            maxsize=connections,
            block=True,
            timeout=Timeout(connect=address.connect_seconds, read=address.read_seconds),
            **options,
        )

    def close(self) -> None:
        """Close the connections."""
        self._pool.close()

    @contextmanager
    def get(
        self, path: str, accept: str, check: Check, query: Query = (), accepted: Collection[int] = (200,)
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """Yield the response to a GET with its body unread; retried where that may help."""
        retries = Retry(
            TRIES,
            other=0,  # such as a certificate that is not valid
            redirect=False,
            status_forcelist=PASSING,
            allowed_methods=("GET",),
            backoff_factor=0.25,
            backoff_jitter=0.1,
            raise_on_status=False,
            retry_after_max=LONGEST_PAUSE,
        )
        target = path + (f"?{urlencode(list(query))}" if query else "")
        with self._exchange("GET", target, {"Accept": accept}, None, retries, check, accepted) as response:
            yield response

    @contextmanager
    def post(
        self, path: str, headers: Mapping[str, str], body: Iterable[Any], check: Check, accepted: Collection[int]
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """Yield the response to a POST, whose body is made once; only a connection is tried again."""
        retries = Retry(TRIES, connect=TRIES, read=0, status=0, other=0, redirect=False, backoff_factor=0.25)
        with self._exchange("POST", path, headers, body, retries, check, accepted) as response:
            yield response

    @contextmanager
    def _exchange(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: Iterable[Any] | None,
        retries: Retry,
        check: Check,
        accepted: Collection[int],
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        check()
        sent = {"User-Agent": "inference-gateway", "Accept-Encoding": "identity", **headers, **self._credentials()}
        with self._translated():
            response = self._pool.urlopen(
                method,
                f"{self._root}{path}",
                body,
                sent,
                retries=retries,
                redirect=False,
                pool_timeout=math.ceil(self.address.read_seconds),
                preload_content=False,
                decode_content=False,
            )
        whole = False
        try:
            if response.status not in accepted:
                raise self._refusal(method, response)
            if response.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise PeerFailed(f"The peer {self.name} encodes its answer, which was not accepted.")
            yield response
            whole = True
        finally:
            if not whole:  # what is left of the answer is not waited for
                response.close()
            response.release_conn()  # a closed one, too, has a place among those that are allowed

    def pieces(self, response: urllib3.BaseHTTPResponse, check: Check) -> Iterator[bytes]:
        """Yield the bytes of an answer as they arrive; each piece is one read, and ``check`` is called between two."""
        while True:
            check()
            with self._translated():
                piece = response.read1(PIECE, decode_content=False)
            if not piece:
                return
            yield piece

    def json(self, response: urllib3.BaseHTTPResponse, check: Check) -> Any:
        """Return the JSON of an answer; None for an empty one. Raises PeerFailed for anything else."""
        text = bytearray()
        for piece in self.pieces(response, check):
            text += piece
            if len(text) > MAX_JSON_BYTES:
                raise PeerFailed(f"The answer of the peer {self.name} is longer than {MAX_JSON_BYTES} bytes.")
        try:
            if not text:
                return None
            if count_values(text) > MAX_JSON_VALUES:
                raise BrokenJSON(f"It has more than {MAX_JSON_VALUES} values.")
            return parse_value(text.decode())
        except (BrokenJSON, UnicodeDecodeError) as error:
            detail = f"The peer {self.name} does not answer with JSON of DICOM (PS3.18 F)."
            raise PeerFailed(detail, private=type(error).__name__) from None

    def _credentials(self) -> dict[str, str]:
        """Return the header of the credentials; a file is read for each request, so that a token may rotate."""
        address = self.address
        token = address.token or self._secret(address.token_file)
        if token:
            return {"Authorization": f"Bearer {token}"}
        if address.user:
            password = address.password or self._secret(address.password_file)
            pair = base64.b64encode(f"{address.user}:{password}".encode()).decode()
            return {"Authorization": f"Basic {pair}"}
        return {}

    def _secret(self, path: Path | None) -> str:
        if path is None:
            return ""
        try:
            text = read_regular(path, MAX_SECRET_BYTES).decode("ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise self._unavailable(f"the secret of {self.name}: {type(error).__name__}") from None
        if not text or not text.isprintable():
            raise self._unavailable(f"the secret of {self.name}: it is empty, or has several lines")
        return text

    def _unavailable(self, private: str, retry_after: int = RETRY_SECONDS) -> Unavailable:
        detail = f"The peer {self.name} does not answer now; try again later."
        return Unavailable(detail, retry_after=retry_after, private=f"peer {self.name}: {private}")

    def _refusal(self, method: str, response: urllib3.BaseHTTPResponse) -> Exception:
        """Return the error of a status. The peer's own text is not repeated: it may quote a patient's name."""
        status, name = response.status, self.name
        if status in PASSING:
            return self._unavailable(f"status {status}", _seconds(response.headers.get("Retry-After", "")))
        if status in (404, 410) and method == "GET":
            return StudyNotFound(f"The peer {name} has no such study, series or instance.")
        detail = f"The peer {name} {_MEANINGS.get(status, f'answers with status {status}')}."
        return PeerFailed(detail, outcome=f"status-{status}")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        """Raise the errors of urllib3 as those of the gateway, without their texts: these quote the address."""
        try:
            yield
        except MaxRetryError as error:
            raise self._failure(error.reason or error) from None
        except (HTTPError, OSError) as error:
            raise self._failure(error) from None

    def _failure(self, error: BaseException) -> Exception:
        if isinstance(error, SSLError | ssl.SSLError):
            reason = getattr(_first(error, ssl.SSLError), "reason", None) or "TLS"
            detail = f"The connection to the peer {self.name} is not secure: {_plain(reason)}."
            return PeerFailed(detail, outcome="tls")
        connected = "" if isinstance(error, NewConnectionError) else "after the connection: "
        return self._unavailable(f"{connected}{type(error).__name__}")


_MEANINGS = {
    **dict.fromkeys((301, 302, 303, 307, 308), "redirects; name the address that it redirects to in the file of peers"),
    206: "sends only a part of what it has",
    401: "does not accept the gateway's credentials",
    403: "does not allow this to the gateway",
    **dict.fromkeys((404, 410), "has no such service at the address in the file of peers"),
    406: "does not send instances as they are stored",
    409: "stored none of the instances",
    413: "does not accept as many bytes at once",
    415: "does not accept DICOM files",
}


def _first(error: BaseException, kind: type[BaseException]) -> BaseException | None:
    """Return the error of a kind that this one wraps."""
    return next((arg for arg in (error, *error.args) if isinstance(arg, kind)), None)


def _plain(reason: str) -> str:
    return reason.replace("_", " ").lower()


def _seconds(text: str) -> int:
    """Return Retry-After in seconds, bounded; a date, which few servers send, counts as none (RFC 9110 10.2.3)."""
    return min(int(text), LONGEST_RETRY) if text.isascii() and text.isdigit() and len(text) < 10 else RETRY_SECONDS


def tls_context(name: str, address: WebAddress) -> ssl.SSLContext:
    """Return the TLS of a peer: its own authority or the system's, and the gateway's certificate where it has one."""
    try:
        context = ssl.create_default_context(cafile=address.ca and str(address.ca))
        if address.certificate is not None:
            context.load_cert_chain(address.certificate, address.key, password=_no_password)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise ValueError(f"peers.{name}: certificate, key or ca cannot be loaded: {type(error).__name__}.") from None
    if not address.verify:
        urllib3.disable_warnings(InsecureRequestWarning)  # at each request; the start has logged a sentence of its own
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _no_password() -> str:
    raise ValueError("The key is encrypted")  # OpenSSL would ask for its password on the terminal
