"""Checks of the peers: their file, whether each answers and accepts the gateway, and how long its certificate lasts."""

import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TypeVar

from urllib3.util import parse_url

from gateway.config import Settings
from gateway.doctor.diagnoses import Diagnosis, Level
from gateway.errors import GatewayError
from gateway.peers.peer_directory import open_peer
from gateway.peers.peer_entries import DimseAddress, PeerEntry, WebAddress
from gateway.peers.peers_file import read_peers
from gateway.peers.web_connection import tls_context

Address = TypeVar("Address", WebAddress | None, DimseAddress | None)

MOST_SECONDS = 5.0
"""Seconds to wait for one peer, whatever its own entry allows: someone waits for the doctor."""
DAYS = 30
"""Days that a certificate should last: time enough to ask for another."""


def checks(own: Settings) -> list[tuple[str, Callable[[], Diagnosis]]]:
    """Return a check for each peer; one for the file where it is wrong."""
    try:
        entries = read_peers(own.peers) if own.peers else {}
    except ValueError as error:
        fault = Diagnosis("peers", Level.FAIL, str(error), "Correct the file, or unset GATEWAY_PEERS.")
        return [("peers", lambda: fault)]
    return [(f"peer {name}", partial(peer, entry)) for name, entry in entries.items()]


def peer(entry: PeerEntry) -> Diagnosis:
    """Ask one peer for a study that is nowhere, or by C-ECHO."""
    name, web = f"peer {entry.name}", entry.web
    entry = replace(entry, web=_hasty(web), dimse=_hasty(entry.dimse))
    try:
        opened = open_peer(entry)
    except ValueError as error:
        return Diagnosis(name, Level.FAIL, str(error), "Correct the file of peers.")
    try:
        opened.echo()
    except GatewayError as error:
        private = f" ({error.private})" if error.private else ""
        return Diagnosis(name, Level.WARN, error.detail + private, "Fetches from it fail until then.")
    finally:
        opened.close()
    if web is not None and web.warnings:
        return Diagnosis(name, Level.WARN, " ".join(web.warnings), "Correct its entry in the file of peers.")
    days = days_left(entry.name, web) if web is not None and web.url.startswith("https:") else None
    if days is not None and days < DAYS:
        return Diagnosis(name, Level.WARN, f"Its certificate ends in {days:.0f} days.", "Ask for another one there.")
    return Diagnosis(name, Level.OK, "It answers, and accepts the gateway.")


def _hasty(address: Address) -> Address:
    """Return an address with shorter waits; None for none."""
    if address is None:
        return address
    shorter = min(MOST_SECONDS, address.connect_seconds), min(MOST_SECONDS, address.read_seconds)
    return replace(address, connect_seconds=shorter[0], read_seconds=shorter[1])


def days_left(name: str, web: WebAddress) -> float | None:
    """Return the days until the peer's certificate ends; None where that is not known."""
    url = parse_url(web.url)
    try:
        with (
            socket.create_connection((url.hostname, url.port or 443), MOST_SECONDS) as plain,
            tls_context(name, web).wrap_socket(plain, server_hostname=url.hostname) as secured,
        ):
            certificate = secured.getpeercert() or {}
    except (OSError, ValueError):
        return None
    end = certificate.get("notAfter")
    return (ssl.cert_time_to_seconds(end) - time.time()) / 86_400 if isinstance(end, str) else None
