"""The file of peers: what it may say, and a sentence for each fault."""

from pathlib import Path

import pytest

from gateway.errors import ParameterRefused
from gateway.peers.peer_directory import PeerDirectory
from gateway.peers.peer_entries import DimseAddress
from gateway.peers.peers_file import read_peers

WHOLE = """
[peers.pacs]
dicomweb = "https://pacs.example/dicom-web/"
callers = ["viewer"]
user = "gateway"
password_file = "pacs.password"
stow = "/in"
read_seconds = 300
connections = 2
dimse = {host = "pacs.example", port = 104, aet = "PACS"}

[peers.archive]
dimse = {host = "10.0.0.7", port = 11112, aet = "ARCHIVE"}
"""


def written(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "peers.toml"
    path.write_text(text)
    path.chmod(mode)
    return path


def secret(folder: Path, name: str, mode: int = 0o600) -> Path:
    path = folder / name
    path.write_text("hush\n")
    path.chmod(mode)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(ValueError) as caught:
        read_peers(path)
    return str(caught.value)


def test_a_peer_has_addresses_of_both_protocols_and_files_beside_its_own(tmp_path: Path) -> None:
    secret(tmp_path, "pacs.password")
    pacs, archive = read_peers(written(tmp_path, WHOLE, 0o644)).values()
    assert (pacs.name, pacs.callers, pacs.connections) == ("pacs", ("viewer",), 2)
    assert pacs.web is not None
    assert (pacs.web.url, pacs.web.stow, pacs.web.read_seconds) == ("https://pacs.example/dicom-web", "/in", 300)
    assert pacs.web.password_file == tmp_path / "pacs.password"
    assert pacs.dimse == DimseAddress("pacs.example", 104, "PACS")
    assert archive.web is None
    assert archive.dimse == DimseAddress("10.0.0.7", 11112, "ARCHIVE")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("token_flie = 'x'", "token_file is"),
        ("dicomweb = 'ftp://pacs'", "dicomweb should be"),
        ("dicomweb = 'http://me:hush@pacs'", "dicomweb should be"),
        ("dicomweb = 'https://pacs/?x=1'", "dicomweb should be"),
        ("callers = 'viewer'", "callers should be"),
        ("verify = 'no'", "verify should be"),
        ("read_seconds = 0", "read_seconds should be"),
        ("connections = 1000", "connections should be"),
        ("user = 'gateway'", "user needs one of"),
        ("password = 'hush'", "user needs one of"),
        ("token = 'a'\nuser = 'b'\npassword = 'c'", "give one credential"),
        ("key = 'pacs.password'", "key needs certificate"),
        ("ca = 'missing.pem'", "cannot be read"),
        ("dimse = {host = 'x', port = 104}", "aet is missing"),
        ("dimse = {host = 'x', port = 70000, aet = 'A'}", "port should be"),
        ("dimse = {host = 'x', port = 104, aet = 'A', tsl = true}", "'tsl' is not a key; tls is"),
        ("dimse = {host = 'x', port = 104, aet = 'A', ca = 'ca.pem'}", "set tls = true"),
    ],
)
def test_each_fault_has_a_sentence_that_names_its_place_and_no_secret(tmp_path: Path, line: str, word: str) -> None:
    secret(tmp_path, "pacs.password")
    base = "" if line.startswith("dicomweb") else 'dicomweb = "https://pacs"\n'
    text = refusal(written(tmp_path, f"[peers.pacs]\n{base}{line}\n"))
    assert word in text
    assert "peers.pacs" in text
    assert "hush" not in text


@pytest.mark.parametrize(
    "text", ["[peers.pacs]\ncallers = []\n", "[peers]\n", "[peer.pacs]\n", "peers = 1\n", "[peers.'a b']\n", "[peers"]
)
def test_a_file_without_a_usable_peer_is_refused(tmp_path: Path, text: str) -> None:
    assert "the file of peers" in refusal(written(tmp_path, text))


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "peers.toml")


def test_secrets_are_for_the_owner_of_the_file(tmp_path: Path) -> None:
    text = '[peers.pacs]\ndicomweb = "https://pacs"\ntoken = "hush"\n'
    assert "chmod 600" in refusal(written(tmp_path, text, 0o644))
    assert read_peers(written(tmp_path, text))["pacs"].web is not None
    secret(tmp_path, "token", 0o644)
    assert "chmod 600" in refusal(written(tmp_path, text.replace("token =", "token_file =").replace("hush", "token")))
    (tmp_path / "token").chmod(0o640)  # how Kubernetes hands a secret to a group
    read_peers(written(tmp_path, text.replace("token =", "token_file =").replace("hush", "token")))


def test_no_representation_has_a_secret(tmp_path: Path) -> None:
    text = '[peers.pacs]\ndicomweb = "https://pacs"\nuser = "me"\npassword = "hush"\n'
    assert "hush" not in repr(read_peers(written(tmp_path, text)))


def test_what_is_not_safe_is_a_warning_and_no_refusal(tmp_path: Path) -> None:
    text = (
        '[peers.pacs]\ndicomweb = "https://pacs"\nverify = false\n[peers.old]\ndicomweb = "http://old"\ntoken = "t"\n'
    )
    pacs, old = read_peers(written(tmp_path, text)).values()
    assert [len(entry.web.warnings) for entry in (pacs, old) if entry.web] == [1, 1]


def test_a_peer_is_for_the_callers_that_it_names(tmp_path: Path) -> None:
    tables = [
        f'[peers.{name}]\ndicomweb = "https://pacs"\n{callers}\n'
        for name, callers in (("some", 'callers = ["viewer"]'), ("all", 'callers = ["*"]'), ("none", ""))
    ]
    directory = PeerDirectory(read_peers(written(tmp_path, "".join(tables))), lambda *_: None)
    admitted = set()
    for name in ("some", "all", "none", "unknown"):
        for caller in ("viewer", "other", ""):
            try:
                admitted.add((directory.admitted(name, caller).name, caller))
            except ParameterRefused as error:
                assert error.members["errors"][0]["pointer"] == "/from"
    assert admitted == {("some", "viewer"), ("all", "viewer"), ("all", "other"), ("all", "")}
    directory.close()
