"""JSON Web Tokens of an OpenID Connect issuer (RFC 7519, RFC 8725). Needs PyJWT, the extra ``oidc``."""

import json
import re
from collections.abc import Mapping
from typing import Any

from gateway.extras import hint

try:
    import jwt
except ImportError as error:
    raise ImportError(f"jwt_jwks (GATEWAY_JWT_JWKS) needs PyJWT; {hint('oidc')}") from error

from gateway.access.callers import ANY, Caller, roles
from gateway.access.jwks import KeySet
from gateway.config import Settings
from gateway.errors import Unauthenticated

FAMILIES = {
    **dict.fromkeys(("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"), ("RSA", None)),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
}
"""Algorithms that may be allowed, with the kind of key each needs (RFC 7518 3.1, RFC 8037 3.1). ``none`` and the
symmetric ones are excluded: a program that can verify a token could also issue one."""
MIN_RSA_BITS = 2048
"""RFC 7518 3.3."""
NAME = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")
"""A valid ``sub``: up to 255 printable ASCII characters (OpenID Connect Core 2)."""
SENTENCES: dict[type[Exception], str] = {
    jwt.ExpiredSignatureError: "The token has expired.",
    jwt.ImmatureSignatureError: "The token is not valid yet.",
    jwt.InvalidAudienceError: "The token is for another audience.",
    jwt.InvalidIssuerError: "The token is of another issuer.",
}
"""Reasons that a caller may learn; every other one is "not accepted"."""

KeyName = tuple[str | None, str]
"""``kid`` and algorithm: a key is bound to its algorithm when it is read, not by a token's header."""


class Tokens:
    """The tokens of one issuer."""

    def __init__(self, settings: Settings) -> None:
        """Raises ValueError naming a setting that is missing, or an algorithm that cannot be allowed."""
        if not (settings.jwt_issuer and settings.jwt_audience):
            raise ValueError("jwt_jwks needs jwt_issuer and jwt_audience: others' tokens must not be accepted.")
        self._settings = settings
        self._algorithms = _allowed(settings.jwt_algorithms)
        self._keys: KeySet[KeyName, jwt.PyJWK] = KeySet(
            settings.jwt_jwks,
            self._parse,
            max_age=settings.jwks_max_age,
            min_interval=settings.jwks_min_interval,
        )

    def caller(self, token: str) -> Caller:
        """Return the caller that the token names.

        Raises Unauthenticated; Unavailable while the issuer's keys cannot be fetched.
        """
        try:
            claims = self._verified(token)
        except (jwt.PyJWTError, RecursionError) as error:
            detail = SENTENCES.get(type(error), "The token is not accepted.")
            raise Unauthenticated(detail, proof_given=True, private=f"token: {type(error).__name__}") from None
        name = claims["sub"]
        if not isinstance(name, str) or not NAME.fullmatch(name):
            raise Unauthenticated("The token's sub is no name.", proof_given=True, private="token: sub")
        granted = roles(_items(_claim(claims, self._settings.jwt_roles_claim)))
        return Caller(name, granted, self._routes(claims))

    def _routes(self, claims: Mapping[str, Any]) -> tuple[str, ...]:
        """The routes that the claim lists; none for a token that lacks the configured claim."""
        if not self._settings.jwt_routes_claim:
            return (ANY,)
        listed = _items(_claim(claims, self._settings.jwt_routes_claim))
        return tuple(route for route in listed if isinstance(route, str))

    def _verified(self, token: str) -> dict[str, Any]:
        header = jwt.get_unverified_header(token)
        algorithm, kid = header.get("alg"), header.get("kid")
        if algorithm not in self._algorithms:  # before any key is looked for
            raise jwt.InvalidAlgorithmError
        key = self._keys.find((kid, algorithm))
        if key is None:
            raise jwt.InvalidKeyError
        return jwt.decode(
            token,
            key,
            algorithms=[algorithm],
            issuer=self._settings.jwt_issuer,
            audience=self._settings.jwt_audience,
            leeway=self._settings.jwt_leeway,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )

    def _parse(self, data: bytes) -> Mapping[KeyName, jwt.PyJWK]:
        """The usable keys of a JWKS; unknown ones are ignored (RFC 7517 5)."""
        document = json.loads(data)
        listed = document.get("keys") if isinstance(document, dict) else None
        if not isinstance(listed, list):
            raise ValueError("no JWKS")
        usable = [jwk for jwk in listed if isinstance(jwk, dict) and jwk.get("use", "sig") == "sig" and "d" not in jwk]
        keys = {
            (_kid(jwk), algorithm): key
            for jwk in usable
            for algorithm in self._algorithms
            if (key := _key(jwk, algorithm)) is not None
        }
        nameless = {(None, algorithm): key for (_, algorithm), key in keys.items()} if len(usable) == 1 else {}
        return nameless | keys


def _allowed(text: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    if not names or not set(names) <= FAMILIES.keys():
        raise ValueError(f"jwt_algorithms (GATEWAY_JWT_ALGORITHMS) should be of {', '.join(FAMILIES)}.")
    return names


def _kid(jwk: dict[str, Any]) -> str | None:
    kid = jwk.get("kid")
    return kid if isinstance(kid, str) else None


def _key(jwk: dict[str, Any], algorithm: str) -> jwt.PyJWK | None:
    kind, curve = FAMILIES[algorithm]
    if jwk.get("kty") != kind or jwk.get("alg", algorithm) != algorithm or (curve and jwk.get("crv") != curve):
        return None
    try:
        key = jwt.PyJWK(jwk, algorithm)
    except (jwt.PyJWTError, KeyError, TypeError, ValueError):
        return None
    return key if kind != "RSA" or key.key.key_size >= MIN_RSA_BITS else None


def _claim(claims: Mapping[str, Any], name: str) -> object:
    """Return the claim of this full name, which may have dots (``https://example.org/roles``), else the nested one."""
    if name in claims:
        return claims[name]
    value: object = claims
    for step in name.split("."):
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _items(value: object) -> list[object]:
    """Return a list unchanged, and a string as its words, like ``scope`` (RFC 6749 3.3)."""
    if isinstance(value, str):
        return list(value.split())
    return value if isinstance(value, list) else []
