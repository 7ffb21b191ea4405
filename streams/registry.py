"""The membership of the mesh as the store has it, read again every few seconds and when a stranger speaks."""

from itertools import pairwise
from typing import Final

import structlog

from schemas.clock import Clock, wall_ms
from schemas.errors import ConfigError
from schemas.mesh import mesh_from_canonical
from schemas.mesh_file import ProbeKey, key_bytes
from schemas.topics import DAY_MS
from streams.membership import MemberKey, Membership, Plan, make_plan
from streams.store import Store
from streams.verify import MAX_AGE_MS

KEPT_MS: Final = MAX_AGE_MS + DAY_MS  # a plan that ended before it speaks for no message that is still taken

log = structlog.get_logger(__name__)


class Registry:
    """The plans in memory; one text of a mesh is derived once."""

    def __init__(self, clock: Clock, *, refresh_s: float, stranger_s: float = 1.0) -> None:
        """Remember how often to look.

        Args:
            clock: its monotonic time counts.
            refresh_s: the age at which the plans are read again.
            stranger_s: the least age at which they are read again for an unknown sender.
        """
        self.membership = Membership([])
        self._clock = clock
        self._refresh_ns = round(refresh_s * 1e9)
        self._stranger_ns = round(stranger_s * 1e9)
        self._read_ns: int | None = None
        self._plans: dict[tuple[str, str, int], Plan | None] = {}

    def refresh(self, store: Store, *, stranger: bool = False) -> bool:
        """Read the plans again when they are old enough; return whether they were read.

        Raises:
            StoreTransientError: the store is away.
            StorePermanentError: it refuses the query.
        """
        age_ns = None if self._read_ns is None else self._clock.mono_ns() - self._read_ns
        if age_ns is not None and age_ns < (self._stranger_ns if stranger else self._refresh_ns):
            return False
        wanted = _in_use(_versions(store), wall_ms(self._clock))
        self._plans = {key: self._plans[key] if key in self._plans else _load(store, *key) for key in wanted}
        self.membership = Membership([plan for plan in self._plans.values() if plan is not None])
        self._read_ns = self._clock.mono_ns()
        return True


def _versions(store: Store) -> list[tuple[str, str, int]]:
    rows = store.rows("verify_mesh_versions")
    return [(str(row["mesh"]), str(row["version"]), int(row["valid_from_s"]) * 1000) for row in rows]


def _in_use(versions: list[tuple[str, str, int]], now_ms: int) -> list[tuple[str, str, int]]:
    """Return the versions that a message of the last days may be judged by; they come in order of mesh and time."""
    ended = {before for before, after in pairwise(versions) if before[0] == after[0] and after[2] < now_ms - KEPT_MS}
    return [version for version in versions if version not in ended]


def _load(store: Store, mesh_id: str, version: str, valid_from_ms: int) -> Plan | None:
    text = str(store.rows("verify_mesh", mesh=mesh_id, version=version)[0]["canonical"])
    try:
        mesh = mesh_from_canonical(text, source=f"mesh {mesh_id} version {version} in the store")
    except ConfigError as err:
        log.warning("mesh unreadable", mesh=mesh_id, version=version, remedy="apply the mesh file anew", error=str(err))
        return None
    return make_plan(
        mesh=mesh_id,
        version=version,
        valid_from_ms=valid_from_ms,
        keys=[_member_key(probe.id, key) for probe in mesh.probes for key in probe.keys],
        probe_of_stream={stream.id: stream.probe_id for stream in mesh.streams},
        probe_of_endpoint={endpoint.id: endpoint.probe_id for endpoint in mesh.endpoints},
    )


def _member_key(probe_id: str, key: ProbeKey) -> MemberKey:
    public = key_bytes(key.public)
    if public is None:
        raise ConfigError(f"probe {probe_id}: key {key.id}: not a public key; enrol the probe anew")
    return MemberKey(
        probe_id=probe_id,
        key_id=key.id,
        public=public,
        from_ms=None if key.valid_from is None else round(key.valid_from.timestamp() * 1000),
        until_ms=None if key.valid_until is None else round(key.valid_until.timestamp() * 1000),
    )
