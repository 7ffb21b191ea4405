"""The signed envelope: who says this, and on which topic (Ed25519, RFC 8032).

The signature covers topic, NUL and value, so that a record cannot be replayed on another topic. It travels in message
headers with the id of the key; the mesh file says which key speaks for which probe and when.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from schemas.errors import WireError

KEY_HEADER: Final = "isochrone-key"
SIGNATURE_HEADER: Final = "isochrone-signature"
Headers = Sequence[tuple[str, bytes]]


class Signer:
    """A private key and its id; signs values for a topic."""

    def __init__(self, key_id: str, seed: bytes) -> None:
        self.key_id = key_id
        self._key = SigningKey(seed)

    @property
    def public(self) -> bytes:
        """Return the 32 bytes of the public key."""
        return bytes(self._key.verify_key)

    def sign(self, topic: str, value: bytes) -> list[tuple[str, bytes]]:
        """Return the headers that prove the value on this topic."""
        signature = self._key.sign(_signed(topic, value)).signature
        return [(KEY_HEADER, self.key_id.encode()), (SIGNATURE_HEADER, signature)]


def signing_key_id(headers: Headers) -> str:
    """Return the id of the key that claims to have signed.

    Raises:
        WireError: "envelope", when the header is absent or unreadable.
    """
    try:
        return _header(headers, KEY_HEADER).decode()
    except UnicodeDecodeError as err:
        raise WireError("envelope", f"header {KEY_HEADER} is not UTF-8") from err


def check_signature(topic: str, value: bytes, headers: Headers, public_keys: Mapping[str, bytes]) -> str:
    """Return the id of the key whose signature holds.

    Raises:
        WireError: "envelope" (no or broken headers), "unknown_key", or "signature" (bytes, topic or key differ).
    """
    key_id = signing_key_id(headers)
    signature = _header(headers, SIGNATURE_HEADER)
    public = public_keys.get(key_id)
    if public is None:
        raise WireError("unknown_key", f"key {key_id!r} is not in the mesh")
    try:
        VerifyKey(public).verify(_signed(topic, value), signature)
    except (BadSignatureError, ValueError) as err:
        raise WireError("signature", f"signature of key {key_id!r} does not hold on {topic}") from err
    return key_id


def _signed(topic: str, value: bytes) -> bytes:
    return topic.encode() + b"\0" + value


def _header(headers: Headers, name: str) -> bytes:
    found = [value for key, value in headers if key == name]
    if len(found) != 1:
        raise WireError("envelope", f"header {name} stands {len(found)} times, wanted once")
    return found[0]
