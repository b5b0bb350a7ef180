"""The doctor asks each peer of the file."""

from pathlib import Path

from gateway import Settings
from gateway.doctor import peer_checks
from gateway.doctor.diagnoses import Level
from gateway.peers.peer_entries import WebAddress
from tests.access.certificates import Authority, named
from tests.delivery.receivers import receiving
from tests.peers.scripted import response, scripted


def levels(path: Path, text: str) -> dict[str, Level]:
    path.write_text(text)
    path.chmod(0o600)
    return {name: check().level for name, check in peer_checks.checks(Settings(peers=path))}


def test_a_peer_that_answers_is_fine_and_another_one_a_warning(tmp_path: Path) -> None:
    path = tmp_path / "peers.toml"
    with scripted(lambda asked: response(204 if "good" in asked.target else 401)) as peer:
        url = f"http://127.0.0.1:{peer.port}"
        text = f'[peers.good]\ndicomweb = "{url}/good"\n[peers.bad]\ndicomweb = "{url}/bad"\n'
        assert levels(path, text) == {"peer good": Level.OK, "peer bad": Level.WARN}
        clear = f'[peers.good]\ndicomweb = "{url}/good"\ntoken = "hush"\n'
        assert levels(path, clear) == {"peer good": Level.WARN}
        assert levels(path, "[peers.good]\n") == {"peers": Level.FAIL}


def test_the_days_of_a_certificate_are_counted(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with receiving(authority.sign(named(CN="pacs"), "server.pem")) as receiver:
        web = WebAddress(receiver.origin, ca=authority.path)
        days = peer_checks.days_left("pacs", web)
    assert days is not None
    assert 0.9 < days < 1.1
