"""The operator's file of peers: TOML with one table for each, checked as a whole before the gateway serves.

::

    [peers.pacs]
    dicomweb = "https://pacs.example/dicom-web"
    callers = ["viewer"]
    token_file = "pacs.token"
    dimse = {host = "pacs.example", port = 104, aet = "PACS"}
"""

import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from urllib3.exceptions import LocationParseError
from urllib3.util import Url, parse_url

from gateway.access.toml_tables import (
    AE_TITLE,
    NAMING,
    SECONDS,
    FileFaults,
    TomlTable,
    is_ae_title,
    is_flag,
    is_list_of,
    is_name,
    is_seconds,
    is_table,
    is_text,
    is_whole,
    read_toml,
)
from gateway.peers.peer_entries import (
    ANY,
    CALLING,
    CONNECT_SECONDS,
    CONNECTIONS,
    READ_SECONDS,
    DimseAddress,
    PeerEntry,
    WebAddress,
)

FILES = ("token_file", "password_file", "certificate", "key", "ca")
SECRET_FILES = ("token_file", "password_file", "key")
WHAT = "the file of peers"


def read_peers(path: Path) -> dict[str, PeerEntry]:
    """Read the file. Raises ValueError with a sentence for each fault; none has a secret."""
    document = read_toml(path, WHAT, secret=True)
    reader = _Reader(path)
    entries = reader.entries(document)
    reader.check_mode(path.stat().st_mode, document)
    if reader.faults:
        raise FileFaults(f"{path}, {WHAT}", reader.faults)
    return entries


class _Reader:
    def __init__(self, path: Path) -> None:
        self.faults: list[str] = []
        self._path = path

    def entries(self, document: Mapping[str, Any]) -> dict[str, PeerEntry]:
        top = TomlTable("the file", document, self.faults)
        tables = top.take("peers", {}, "tables, such as [peers.pacs]", is_table)
        top.end()
        if not tables and not self.faults:
            top.fault("it names no peer; begin one with [peers.NAME].")
        return {name: self._entry(name, values) for name, values in tables.items()}

    def _entry(self, name: str, values: Any) -> PeerEntry:
        table = TomlTable(f"peers.{name}", values, self.faults)
        if not is_name(name):
            table.fault(f"a name has {NAMING}.")
        entry = PeerEntry(
            name,
            tuple(table.take("callers", (), 'a list of names, or ["*"] for all', is_list_of(_is_caller))),
            table.take("connections", CONNECTIONS, "a whole number from 1 to 64", lambda value: is_whole(value, 1, 64)),
            self._web(table),
            self._dimse(name, table),
        )
        table.end()
        if entry.web is None and entry.dimse is None and not {"dicomweb", "dimse"} & table.values.keys():
            table.fault("it needs dicomweb, a URL, or dimse, a table of host, port and aet.")
        return entry

    def _web(self, table: TomlTable) -> WebAddress | None:
        text = "text that is not empty"
        url = table.take("dicomweb", None, "an http or https URL without user, query and fragment", _is_root)
        paths = {
            name: table.take(name, "", 'a path such as "/qido"', _is_path).rstrip("/")
            for name in ("qido", "wado", "stow")
        }
        texts = {name: table.take(name, "", text, is_text) for name in ("token", "user", "password")}
        files = {name: self._file(table, name) for name in FILES}
        web = WebAddress(
            (url or "").rstrip("/"),
            qido=paths["qido"],
            wado=paths["wado"],
            stow=paths["stow"],
            token=texts["token"],
            user=texts["user"],
            password=texts["password"],
            token_file=files["token_file"],
            password_file=files["password_file"],
            certificate=files["certificate"],
            key=files["key"],
            ca=files["ca"],
            verify=table.take("verify", True, "true or false", is_flag),
            connect_seconds=table.take("connect_seconds", CONNECT_SECONDS, SECONDS, is_seconds),
            read_seconds=table.take("read_seconds", READ_SECONDS, SECONDS, is_seconds),
        )
        if url is None:
            return None
        for sentence in _conflicts(web):
            table.fault(sentence)
        return web

    def _file(self, table: TomlTable, key: str) -> Path | None:
        """Return the file that a key names, relative to the folder of the file of peers."""
        name = table.take(key, None, "the name of a file", is_text)
        if name is None:
            return None
        path: Path = self._path.parent / name
        try:
            mode = path.stat().st_mode
        except OSError as error:
            table.fault(f"{key}: {path} cannot be read: {error.strerror}.")
            return path
        if not stat.S_ISREG(mode):
            table.fault(f"{key}: {path} is not a file.")
        elif key in SECRET_FILES and mode & stat.S_IRWXO:
            table.fault(f"{key}: {path} may be read by every user: chmod 600.")
        return path

    def _dimse(self, name: str, table: TomlTable) -> DimseAddress | None:
        values = table.take("dimse", None, "a table of host, port and aet", is_table)
        if values is None:
            return None
        inner = TomlTable(f"peers.{name}.dimse", values, self.faults)
        host = inner.take("host", "", "a name or an address", is_text)
        port = inner.take("port", 0, "a number from 1 to 65535", lambda value: is_whole(value, 1, 65_535))
        address = DimseAddress(
            host,
            port,
            inner.take("aet", "", AE_TITLE, is_ae_title),
            inner.take("calling", CALLING, AE_TITLE, is_ae_title),
            inner.take("tls", False, "true or false", is_flag),
            **{key: self._file(inner, key) for key in ("certificate", "key", "ca")},
            connect_seconds=inner.take("connect_seconds", CONNECT_SECONDS, SECONDS, is_seconds),
            read_seconds=inner.take("read_seconds", READ_SECONDS, SECONDS, is_seconds),
        )
        inner.end()
        if not address.tls and (address.certificate or address.key or address.ca):
            inner.fault("certificate, key and ca are of TLS: set tls = true.")
        inner.require("host", "port", "aet")
        return address

    def check_mode(self, mode: int, document: Mapping[str, Any]) -> None:
        """A file with a secret is for its owner; one without may be read, and not written, by others."""
        tables = document.get("peers")
        peers: Iterable[Any] = tables.values() if isinstance(tables, dict) else ()
        secret = any(isinstance(peer, dict) and {"token", "password"} & peer.keys() for peer in peers)
        if secret and mode & (stat.S_IRWXG | stat.S_IRWXO):
            self.faults.append("it has a secret and may be read by others: chmod 600, or use token_file.")
        elif mode & stat.S_IWOTH:
            self.faults.append("it may be written by every user: chmod 644.")


def _conflicts(web: WebAddress) -> Iterable[str]:
    """Yield what contradicts itself in an address."""
    if sum(map(bool, (web.token, web.token_file, web.user))) > 1:
        yield "give one credential: token, token_file, or user with its password."
    if bool(web.user) != bool(web.password or web.password_file) or (web.password and web.password_file):
        yield "user needs one of password and password_file, and these need user."
    if web.key and not web.certificate:
        yield "key needs certificate."
    if web.url.startswith("http:") and (web.certificate or web.ca or not web.verify):
        yield "certificate, ca and verify are of TLS, and the URL is http."
    if not web.verify and web.ca:
        yield "ca is not used where verify is false; leave one of them out."


def _is_root(value: Any) -> bool:
    url = _parsed(value) if isinstance(value, str) and value.isascii() and value.isprintable() else None
    return url is not None and bool(url.host) and not (url.auth or url.query or url.fragment)


def _parsed(text: str) -> Url | None:
    """Return the parts of a URL, by the parser that the connection is made by."""
    try:
        url = parse_url(text)
    except LocationParseError:
        return None
    return url if url.scheme in ("http", "https") and text.lower().startswith(("http://", "https://")) else None


def _is_path(value: Any) -> bool:
    return is_text(value) and value.startswith("/") and not set(value) & set("?#")


def _is_caller(value: Any) -> bool:
    return value == ANY or is_name(value)
