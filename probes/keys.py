"""The probe's private key: one small file of mode 0600, made once by `isochrone probe enrol`."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from schemas.config import load
from schemas.envelope import Signer
from schemas.errors import ConfigError

SEED_BYTES: Final = 32
_OTHERS: Final = 0o077  # bits of a mode that let anyone but the owner in


class KeyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the file holds, as TOML."""

    id: str
    seed: str  # 32 bytes in hex, Ed25519


def enrol(key_path: Path, probe_id: str, *, random_bytes: Callable[[int], bytes] = os.urandom) -> str:
    """Make the key unless it is there, and return the lines to paste into the mesh file.

    Raises:
        ConfigError: The file cannot be written, or the one that is there is not a key or open to others.
    """
    if not key_path.exists():
        _write_key(key_path, random_bytes(SEED_BYTES))
    signer = load_signer(key_path)
    return f'[[probe]]\nid = "{probe_id}"\nkeys = [{{ id = "{signer.key_id}", public = "{signer.public.hex()}" }}]'


def load_signer(path: Path) -> Signer:
    """Return the signer of a key file.

    Raises:
        ConfigError: No file, not a key, or readable by others than its owner.
    """
    try:
        mode = path.stat().st_mode & 0o777
        text = path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as err:
        raise ConfigError(f"key {path}: {err}; `isochrone probe enrol` makes one") from err
    if mode & _OTHERS != 0:
        raise ConfigError(f"key {path} has mode {mode:04o}, others may read it; chmod 600 {path}, or enrol anew")
    key = load(text, KeyFile, source=str(path))
    return Signer(key.id, _seed(key.seed, path))


def _seed(text: str, path: Path) -> bytes:
    try:
        seed = bytes.fromhex(text)
    except ValueError as err:
        raise ConfigError(f"key {path}: seed is not hex; enrol anew with another file") from err
    if len(seed) != SEED_BYTES:
        raise ConfigError(f"key {path}: seed has {len(seed)} bytes, wanted {SEED_BYTES}; enrol anew with another file")
    return seed


def _write_key(path: Path, seed: bytes) -> None:
    """Write the file whole or not at all; its id is a digest of the public key."""
    key_id = hashlib.blake2b(Signer("", seed).public, digest_size=4).hexdigest()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(f'id = "{key_id}"\nseed = "{seed.hex()}"\n')
            file.flush()
            os.fsync(descriptor)
    except OSError as err:
        raise ConfigError(f"key {path}: {err}; give a path that can be written") from err
