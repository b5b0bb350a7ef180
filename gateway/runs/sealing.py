"""Answers that are never stored in the clear: sealed to the attempt that asked, whose key is in its memory alone.

The receiving process encrypts an answer by an ephemeral X25519 key (RFC 7748), HKDF-SHA256 (RFC 5869) and
ChaCha20-Poly1305 (RFC 8439). With the attempt ends the only key that opens it.
"""

import json
from typing import TYPE_CHECKING

from gateway.contract.requests import JSON
from gateway.errors import ModelFailed
from gateway.extras import hint

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

KEY_LENGTH = 32
INFO = b"gateway sealed answer 1"
PADDED = 1_024
"""Sealed texts have multiples of so many bytes, which hides the length of a password."""
NONCE = bytes(12)
"""Each key encrypts once."""


class SealKey:
    """The key pair of one question."""

    def __init__(self) -> None:
        """Raises ModelFailed without the package cryptography."""
        try:
            from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
        except ImportError as error:
            raise ModelFailed(f"A run that asks for a password needs cryptography; {hint('store')}") from error
        self._private = X25519PrivateKey.generate()

    @property
    def public(self) -> bytes:
        """The public key, KEY_LENGTH bytes."""
        return self._private.public_key().public_bytes_raw()

    def open(self, sealed: bytes) -> JSON:
        """Return the sealed answer. Raises ModelFailed for what was sealed to another key, or has changed."""
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

        sender, text = sealed[:KEY_LENGTH], sealed[KEY_LENGTH:]
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(sender))
            words: JSON = json.loads(_cipher(shared, sender + self.public).decrypt(NONCE, text, None))
        except (InvalidTag, ValueError):
            raise ModelFailed("The sealed answer cannot be opened.") from None
        return words


def seal(public: bytes, answer: JSON) -> bytes:
    """Return an answer that only the owner of the key pair of ``public`` can read."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

    ephemeral, text = X25519PrivateKey.generate(), json.dumps(answer).encode()
    sender = ephemeral.public_key().public_bytes_raw()
    shared = ephemeral.exchange(X25519PublicKey.from_public_bytes(public))
    padded = text.ljust(-(-len(text) // PADDED) * PADDED)
    return sender + _cipher(shared, sender + public).encrypt(NONCE, padded, None)


def _cipher(shared: bytes, keys: bytes) -> "ChaCha20Poly1305":
    from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return ChaCha20Poly1305(HKDF(SHA256(), KEY_LENGTH, salt=None, info=INFO + keys).derive(shared))
