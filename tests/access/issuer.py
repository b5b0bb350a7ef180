"""An issuer of tokens: its keys, its JWKS on a loopback port, and any token that a test needs."""

import base64
import contextlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

ISSUER, AUDIENCE = "https://issuer.example", "gateway"
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@cache
def rsa_key(name: str, bits: int = 2048) -> rsa.RSAPrivateKey:
    """One key for each name; making one is slow."""
    return rsa.generate_private_key(65537, bits)


def jwk(key: Private, kid: str | None, **members: str) -> dict[str, Any]:
    """The public half as JSON (RFC 7517)."""
    public = key.public_key()
    key_members: dict[str, Any]
    if isinstance(public, rsa.RSAPublicKey):
        key_members = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
    elif isinstance(public, ec.EllipticCurvePublicKey):
        key_members = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
    else:
        key_members = jwt.algorithms.OKPAlgorithm.to_jwk(public, as_dict=True)
    key_members = {name: value for name, value in key_members.items() if name != "key_ops"} | members
    return key_members | ({} if kid is None else {"kid": kid})


def pem(key: Private) -> bytes:
    """The public half as PEM, which a confused verifier would use as an HMAC secret."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def claims(**changes: Any) -> dict[str, Any]:
    """The claims of a valid token; a change to None leaves one out."""
    now = int(time.time())
    good = {"iss": ISSUER, "aud": AUDIENCE, "sub": "alice", "exp": now + 300, "nbf": now - 5, "roles": ["infer"]}
    return {name: value for name, value in (good | changes).items() if value is not None}


def token(key: Any, kid: str | None = "one", algorithm: str = "RS256", **changes: Any) -> str:
    """A signed token."""
    return jwt.encode(claims(**changes), key, algorithm, headers=None if kid is None else {"kid": kid})


def assembled(header: dict[str, Any], body: dict[str, Any], signature: bytes = b"") -> str:
    """A token put together by hand, as an attacker would."""
    parts = [json.dumps(header).encode(), json.dumps(body).encode(), signature]
    return ".".join(base64.urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


class Issuer:
    """The response of the issuer at ``url``: its keys, or a failure."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.status = 200
        self.asked = 0
        self.pause = 0.0
        """Seconds before each byte of an answer."""
        self.url = ""
        self.listens = False

    @contextmanager
    def listening(self) -> Iterator["Issuer"]:
        """Answer on a free loopback port meanwhile."""
        issuer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                data = json.dumps({"keys": issuer.keys}).encode()
                self.send_response(issuer.status)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                if issuer.pause:
                    self.drip(data)
                else:
                    self.wfile.write(data)

            def drip(self, data: bytes) -> None:
                with contextlib.suppress(OSError):
                    for byte in data:
                        if not issuer.listens:
                            return
                        time.sleep(issuer.pause)
                        self.wfile.write(bytes([byte]))

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        self.listens = True
        self.url = f"http://127.0.0.1:{server.server_port}/jwks"
        try:
            yield self
        finally:
            self.listens = False
            server.shutdown()
            thread.join()
            server.server_close()
