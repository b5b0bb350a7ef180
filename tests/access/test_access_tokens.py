"""Tokens: only those that the issuer signed for this gateway and this time are accepted."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from gateway import Settings
from gateway.access import jwks
from gateway.access.tokens import Tokens
from gateway.errors import Unauthenticated, Unavailable
from tests.access.issuer import AUDIENCE, ISSUER, Issuer, assembled, claims, jwk, pem, rsa_key, token

KEY = rsa_key("one")


def settings(source: object, **changes: Any) -> Settings:
    return Settings(jwt_jwks=str(source), jwt_issuer=ISSUER, jwt_audience=AUDIENCE, **changes)


def tokens(folder: Path, *keys: dict[str, Any], **changes: Any) -> Tokens:
    path = folder / "jwks.json"
    path.write_text(json.dumps({"keys": keys}))
    return Tokens(settings(path, **changes))


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    return tokens(tmp_path_factory.mktemp("jwks"), jwk(KEY, "one"))


def hs256(secret: bytes) -> str:
    """Signed with the public key as if it were a shared secret; PyJWT itself would refuse to make it."""
    unsigned = assembled({"alg": "HS256", "kid": "one"}, claims()).rpartition(".")[0]
    signature = hmac.digest(secret, unsigned.encode(), hashlib.sha256)
    return unsigned + assembled({}, {}, signature)[assembled({}, {}).rindex(".") :]


NOW = int(time.time())
REFUSED = {
    "alg none": lambda: assembled({"alg": "none"}, claims()),
    "alg none with a kid": lambda: assembled({"alg": "none", "kid": "one"}, claims()),
    "alg nOnE": lambda: assembled({"alg": "nOnE", "kid": "one"}, claims()),
    "no alg": lambda: assembled({"kid": "one"}, claims()),
    "alg a list": lambda: assembled({"alg": ["RS256"], "kid": "one"}, claims()),
    "no signature": lambda: token(KEY).rpartition(".")[0] + ".",
    "the public key as a shared secret": lambda: hs256(pem(KEY)),
    "the JWK as a shared secret": lambda: hs256(json.dumps(jwk(KEY, "one")).encode()),
    "an algorithm that is not allowed": lambda: token(KEY, algorithm="RS512"),
    "another key": lambda: token(rsa_key("two")),
    "an unknown kid": lambda: token(KEY, "two"),
    "a kid that is an object": lambda: assembled({"alg": "RS256", "kid": {"a": 1}}, claims()),
    "a key brought along": lambda: token(rsa_key("two"), None),
    "an unknown critical extension": lambda: assembled({"alg": "RS256", "kid": "one", "crit": ["x"], "x": 1}, claims()),
    "another audience": lambda: token(KEY, aud="other"),
    "no audience": lambda: token(KEY, aud=None),
    "another issuer": lambda: token(KEY, iss=ISSUER + "/"),
    "no issuer": lambda: token(KEY, iss=None),
    "expired": lambda: token(KEY, exp=NOW - 3600),
    "no expiry": lambda: token(KEY, exp=None),
    "not valid yet": lambda: token(KEY, nbf=NOW + 3600),
    "issued in the future": lambda: token(KEY, iat=NOW + 3600),
    "no subject": lambda: token(KEY, sub=None),
    "a subject that breaks a log line": lambda: token(KEY, sub="a\nb"),
    "a subject of 256 characters": lambda: token(KEY, sub="a" * 256),
    "claims that are a list": lambda: assembled({"alg": "RS256", "kid": "one"}, []),
    "nested without end": lambda: assembled({"alg": "RS256"}, {}) + "[" * 4000,
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_token_that_is_not_for_here_and_now_is_refused(known: Tokens, case: str) -> None:
    with pytest.raises(Unauthenticated) as refusal:
        known.caller(REFUSED[case]())
    assert 'error="invalid_token"' in refusal.value.headers()["WWW-Authenticate"]


@given(st.data())
def test_a_token_with_a_character_changed_is_refused(known: Tokens, data: st.DataObject) -> None:
    good = token(KEY)
    place = data.draw(st.integers(0, len(good) - 2))  # the last character of a signature has bits that mean nothing
    other = data.draw(st.characters(max_codepoint=255).filter(lambda char: char != good[place]))
    with pytest.raises(Unauthenticated):
        known.caller(good[:place] + other + good[place + 1 :])


@given(st.text(st.characters(max_codepoint=255)))
def test_whatever_is_sent_as_a_token_is_refused_and_nothing_else_happens(known: Tokens, text: str) -> None:
    with pytest.raises(Unauthenticated):
        known.caller(text)


def test_a_good_token_names_its_caller_and_the_roles_that_are_known(known: Tokens) -> None:
    one = known.caller(token(KEY, roles=["infer", "delete", "owner", 7, None]))
    assert (one.name, one.roles, one.routes) == ("alice", {"infer", "delete"}, ("*",))


def test_the_leeway_forgives_a_clock(known: Tokens) -> None:
    now = int(time.time())
    assert known.caller(token(KEY, exp=now - 5, nbf=now + 5)).name == "alice"


@pytest.mark.parametrize(
    ("claim", "value", "roles"),
    [
        ("scope", {"scope": "openid read infer"}, {"read", "infer"}),
        ("realm_access.roles", {"realm_access": {"roles": ["admin"]}}, {"admin"}),
        ("https://a.example/roles", {"https://a.example/roles": ["write"]}, {"write"}),
        ("realm_access.roles", {"realm_access": "roles"}, set()),
        ("roles", {"roles": {"infer": True}}, set()),
        ("missing", {}, set()),
    ],
)
def test_roles_are_read_from_the_named_claim_in_any_form(
    tmp_path: Path, claim: str, value: dict[str, Any], roles: set[str]
) -> None:
    known = tokens(tmp_path, jwk(KEY, "one"), jwt_roles_claim=claim)
    assert known.caller(token(KEY, **value)).roles == roles


@pytest.mark.parametrize(
    ("value", "routes"),
    [
        ({"gateway": {"routes": ["/lungs", 7, "/liver"]}}, ("/lungs", "/liver")),
        ({"gateway": {"routes": "/lungs /liver"}}, ("/lungs", "/liver")),
        ({"gateway": {"routes": ["*"]}}, ("*",)),
        ({"gateway": {"routes": {"/lungs": True}}}, ()),
        ({"gateway": {"routes": []}}, ()),
        ({"routes": ["/lungs"]}, ()),
        ({}, ()),
    ],
)
def test_routes_are_read_from_the_named_claim_and_a_token_without_it_has_no_route(
    tmp_path: Path, value: dict[str, Any], routes: tuple[str, ...]
) -> None:
    known = tokens(tmp_path, jwk(KEY, "one"), jwt_routes_claim="gateway.routes")
    assert known.caller(token(KEY, **value)).routes == routes


def elliptic(curve: ec.EllipticCurve) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(curve)


@pytest.mark.parametrize(
    ("algorithm", "key"),
    [
        ("RS384", KEY),
        ("PS256", KEY),
        ("ES256", elliptic(ec.SECP256R1())),
        ("ES384", elliptic(ec.SECP384R1())),
        ("ES512", elliptic(ec.SECP521R1())),
        ("EdDSA", ed25519.Ed25519PrivateKey.generate()),
    ],
)
def test_every_algorithm_that_may_be_allowed_works_with_its_own_kind_of_key(
    tmp_path: Path, algorithm: str, key: Any
) -> None:
    known = tokens(tmp_path, jwk(key, "one"), jwk(rsa_key("two"), "two"), jwt_algorithms=f"{algorithm}, RS256")
    assert known.caller(token(key, algorithm=algorithm)).name == "alice"
    assert known.caller(token(rsa_key("two"), "two")).name == "alice"


@pytest.mark.parametrize(
    "published",
    [
        jwk(KEY, "one", alg="RS512"),
        jwk(KEY, "one", use="enc"),
        {"kty": "oct", "kid": "one", "k": "c2VjcmV0"},
        {"kty": "RSA", "kid": "one", "n": "AQAB"},
        {"kty": "RSA", "kid": "one", "n": 7, "e": []},
    ],
)
def test_a_published_key_is_used_for_nothing_it_is_not_meant_for(tmp_path: Path, published: dict[str, Any]) -> None:
    known = tokens(tmp_path, published)
    with pytest.raises(Unauthenticated):
        known.caller(token(KEY))


def test_an_rsa_key_that_could_be_factored_is_not_used(tmp_path: Path) -> None:
    small = rsa_key("small", 1024)
    with pytest.warns(jwt.warnings.InsecureKeyLengthWarning):
        signed = token(small)
    with pytest.raises(Unauthenticated):
        tokens(tmp_path, jwk(small, "one")).caller(signed)


def test_a_token_without_a_kid_is_taken_where_there_is_one_key_only(tmp_path: Path) -> None:
    assert tokens(tmp_path, jwk(KEY, "one")).caller(token(KEY, None)).name == "alice"
    with pytest.raises(Unauthenticated):
        tokens(tmp_path, jwk(KEY, "one"), jwk(rsa_key("two"), "two")).caller(token(KEY, None))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"jwt_issuer": ""}, "jwt_issuer"),
        ({"jwt_audience": ""}, "jwt_audience"),
        ({"jwt_algorithms": "HS256"}, "jwt_algorithms"),
        ({"jwt_algorithms": "RS256,none"}, "jwt_algorithms"),
        ({"jwt_algorithms": ""}, "jwt_algorithms"),
        ({"jwt_jwks": "http://issuer.example/jwks"}, "https"),
    ],
)
def test_settings_that_would_let_in_too_many_are_refused(changes: dict[str, str], sentence: str) -> None:
    given = {"jwt_jwks": "jwks.json", "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE} | changes
    with pytest.raises(ValueError, match=sentence):
        Tokens(Settings(**given))


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer(jwk(KEY, "one")).listening() as issuer:
        yield issuer


def test_a_new_key_is_fetched_when_a_token_names_it_and_an_old_one_expires(issuer: Issuer) -> None:
    known = Tokens(settings(issuer.url, jwks_min_interval=1e-6))
    assert [known.caller(token(KEY)).name for _ in range(5)] == ["alice"] * 5
    assert issuer.asked == 1
    issuer.keys = [jwk(rsa_key("two"), "two")]
    assert known.caller(token(rsa_key("two"), "two")).name == "alice"
    with pytest.raises(Unauthenticated):
        known.caller(token(KEY))


def test_tokens_of_unknown_keys_do_not_make_the_issuer_work(issuer: Issuer) -> None:
    known = Tokens(settings(issuer.url, jwks_min_interval=3600.0))
    known.caller(token(KEY))
    for number in range(50):
        with pytest.raises(Unauthenticated):
            known.caller(token(KEY, f"unknown-{number}"))
        with pytest.raises(Unauthenticated):
            known.caller(assembled({"alg": "none", "kid": f"{number}"}, claims()))
    assert issuer.asked == 1  # the next fetch comes an hour after the first


def test_an_issuer_that_fails_is_outlived_by_its_keys_until_they_are_old(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, now = Tokens(settings(issuer.url, jwks_min_interval=1e-6)), time.monotonic()
    monkeypatch.setattr(known._keys, "_clock", lambda: now)
    known.caller(token(KEY))
    issuer.status = 500
    now += Settings().jwks_max_age - 1
    known.caller(token(KEY))
    now += 2
    with pytest.raises(Unavailable) as refusal:
        known.caller(token(KEY))
    assert "127.0.0.1" not in refusal.value.detail
    issuer.status, now = 200, now + 1
    assert known.caller(token(KEY)).name == "alice"


def test_an_issuer_that_sends_its_keys_drop_by_drop_is_not_waited_for(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "FETCH_SECONDS", 0.5)
    issuer.pause = 0.05  # before each byte: half a minute in all
    known = Tokens(settings(issuer.url, jwks_min_interval=3600.0))
    with pytest.raises(Unavailable):
        known.caller(token(KEY))


@pytest.mark.slow
def test_few_requests_wait_for_an_issuer_that_hangs_and_others_get_a_retry_after(
    issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "FETCH_SECONDS", 5.0)
    issuer.pause = 0.1
    known, together = Tokens(settings(issuer.url)), threading.Barrier(8)

    def ask(number: int) -> int | None:
        together.wait()
        with pytest.raises(Unavailable) as refusal:
            known.caller(token(KEY, f"unknown-{number}"))
        return refusal.value.retry_after

    with ThreadPoolExecutor(8) as threads:
        told = sorted(str(seconds) for seconds in threads.map(ask, range(8)))
    assert told == ["1"] * (8 - jwks.WAITERS) + ["10"] * jwks.WAITERS
    assert issuer.asked == 1


def test_an_issuer_whose_answer_has_no_end_has_no_keys(issuer: Issuer) -> None:
    issuer.keys = [{"kty": "x" * 3_000_000}]
    with pytest.raises(Unavailable):
        Tokens(settings(issuer.url)).caller(token(KEY))


@pytest.mark.parametrize("answer", ["redirect", "no JSON", "no JWKS"])
def test_an_issuer_that_answers_something_else_has_no_keys(issuer: Issuer, answer: str, tmp_path: Path) -> None:
    if answer == "redirect":
        issuer.status = 302
        source = issuer.url
    else:
        source = str(tmp_path / "jwks.json")
        Path(source).write_text("{" if answer == "no JSON" else '["keys"]')
    with pytest.raises(Unavailable):
        Tokens(settings(source)).caller(token(KEY))


def test_a_file_of_keys_is_read_again_when_it_changes(tmp_path: Path) -> None:
    known = tokens(tmp_path, jwk(KEY, "one"), jwks_min_interval=1e-6)
    known.caller(token(KEY))
    (tmp_path / "jwks.json").write_text(json.dumps({"keys": [jwk(rsa_key("two"), "two")]}))
    assert known.caller(token(rsa_key("two"), "two")).name == "alice"
