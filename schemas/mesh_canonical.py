"""The canonical form of a mesh file: equal for two files that say the same, and the version that it hashes to."""

import hashlib
from typing import Any, Final

import msgspec

from schemas.errors import ConfigError
from schemas.mesh_file import MeshFile

DERIVATION_RULE: Final = 1  # goes up when the same file would give another plan, so that its version changes too
_VERSION_BYTES: Final = 8


class _Canonical(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    derivation: int
    file: MeshFile


def canonical_form(file: MeshFile) -> str:
    """Return JSON with every default written out, blind to order and comments.

    Two orders carry meaning and are kept: source and destination of a pair, and a carrier's networks (the first is
    the one that groups measure).
    """
    return _json(_ordered(msgspec.to_builtins(_Canonical(derivation=DERIVATION_RULE, file=file)), "")).decode()


def from_canonical(text: str, *, source: str) -> MeshFile:
    """Return the file of a canonical form.

    Raises:
        ConfigError: it is none, or another version of the software wrote it.
    """
    try:
        return msgspec.json.decode(text, type=_Canonical).file
    except msgspec.DecodeError as err:
        raise ConfigError(f"{source}: not the canonical form of a mesh: {err}; apply the mesh file anew") from err


def version_of(canonical: str) -> str:
    """Return the version of a mesh: 16 hex digits of BLAKE2b over its canonical form."""
    return hashlib.blake2b(canonical.encode(), digest_size=_VERSION_BYTES).hexdigest()


def _ordered(value: Any, key: str) -> Any:  # noqa: ANN401 - a tree of builtins
    if isinstance(value, dict):
        return {name: _ordered(value[name], name) for name in sorted(value)}
    if isinstance(value, list | tuple):
        items = [_ordered(each, "") for each in value]
        is_pair, are_networks = key == "", key == "networks" and any(isinstance(each, dict) for each in items)
        return items if is_pair or are_networks else sorted(items, key=_json)
    return value


def _json(value: object) -> bytes:
    return msgspec.json.encode(value)
