"""Signatures that the reference implementation of Standard Webhooks verifies, and the file of secrets."""

import base64
import json
import time
from pathlib import Path

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from gateway.delivery.signatures import SigningSecrets, new_secret, parse_secrets, signature

SECRET = f"whsec_{base64.b64encode(bytes(32)).decode()}"
ORIGIN = "https://hooks.example.org"
BODY = json.dumps({"id": "a", "route": "/lungs", "state": "finished"}).encode()


def secrets_file(folder: Path, *lines: str) -> Path:
    path = folder / "secrets"
    path.write_text("".join(f"{line}\n" for line in lines))
    path.chmod(0o600)
    return path


def test_the_reference_implementation_verifies_a_signature(tmp_path: Path) -> None:
    secret = new_secret()
    signing = SigningSecrets(secrets_file(tmp_path, "# receivers", "", f"{ORIGIN} {secret}"))
    headers = signing.headers(ORIGIN, "msg_1", int(time.time()), BODY)
    assert Webhook(secret).verify(BODY, headers) == json.loads(BODY)
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(BODY.replace(b"finished", b"failed"), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook(new_secret()).verify(BODY, headers)


def test_the_published_example_has_its_published_signature() -> None:
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signed = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signed == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_two_secrets_of_one_origin_give_two_signatures_while_one_is_replaced(tmp_path: Path) -> None:
    old, new = new_secret(), new_secret()
    path = secrets_file(tmp_path, f"{ORIGIN} {old}", f"{ORIGIN} {new}", f"https://other.example {new_secret()}")
    headers = SigningSecrets(path).headers(ORIGIN, "msg_1", int(time.time()), BODY)
    for secret in (old, new):
        Webhook(secret).verify(BODY, headers)


@pytest.mark.parametrize(
    "line",
    [
        SECRET,
        f"{ORIGIN}/path {SECRET}",
        f"{ORIGIN} whsec_{base64.b64encode(bytes(23)).decode()}",
        f"{ORIGIN} whsec_{base64.b64encode(bytes(65)).decode()}",
        f"{ORIGIN} {base64.b64encode(bytes(32)).decode()}",
        f"{ORIGIN} whsec_not*base64",
        f"{ORIGIN} {SECRET} more",
        "\x00\xff",
    ],
)
def test_a_wrong_line_is_refused_by_its_number_and_without_its_text(line: str) -> None:
    with pytest.raises(ValueError, match="line 2 ") as refused:
        parse_secrets(f"{ORIGIN} {new_secret()}\n{line}\n".encode())
    assert line.split()[-1] not in str(refused.value)


def test_a_file_that_others_may_read_or_without_a_needed_secret_is_refused(tmp_path: Path) -> None:
    path = secrets_file(tmp_path, f"{ORIGIN} {new_secret()}")
    signing = SigningSecrets(path)
    signing.require([ORIGIN])
    with pytest.raises(ValueError, match=r"https://other\.example"):
        signing.require([ORIGIN, "https://other.example"])
    path.chmod(0o640)
    with pytest.raises(ValueError, match="chmod 600"):
        signing.require([ORIGIN])
    path.unlink()
    with pytest.raises(ValueError, match="cannot be read"):
        signing.require([ORIGIN])
