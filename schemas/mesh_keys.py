"""Which key speaks for which probe at an instant."""

from typing import NamedTuple

from schemas.mesh import Mesh
from schemas.mesh_file import ProbeKey, key_bytes


class SpeakingKey(NamedTuple):
    """A public key (32 bytes) and the one probe that it speaks for."""

    probe_id: str
    public: bytes


def keys_at(mesh: Mesh, at_ms: int) -> dict[str, SpeakingKey]:
    """Return the keys whose window holds an instant (UTC milliseconds), by key id."""
    found: dict[str, SpeakingKey] = {}
    for probe in mesh.probes:
        for key in probe.keys:
            public = key_bytes(key.public)
            if public is not None and _holds(key, at_ms):
                found[key.id] = SpeakingKey(probe.id, public)
    return found


def _holds(key: ProbeKey, at_ms: int) -> bool:
    begun = key.valid_from is None or at_ms >= key.valid_from.timestamp() * 1000
    return begun and (key.valid_until is None or at_ms < key.valid_until.timestamp() * 1000)
