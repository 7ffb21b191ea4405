"""Who may say what, and since when: the plans of the mesh as the worker knows them (pure)."""

from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

PLAN_GRACE_MS: Final = 60_000  # a probe learns of a new plan within a minute of it
_NONE: Final[frozenset[int]] = frozenset()


class MemberKey(msgspec.Struct, frozen=True, kw_only=True):
    """A public key of a probe; valid in [from_ms, until_ms), None is unbounded."""

    probe_id: str
    key_id: str
    public: bytes
    from_ms: int | None = None
    until_ms: int | None = None

    def holds_at(self, at_ms: int) -> bool:
        """Return whether the key speaks at an instant."""
        return (self.from_ms is None or self.from_ms <= at_ms) and (self.until_ms is None or at_ms < self.until_ms)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a mesh, in force from `valid_from_ms` until the next one of the same mesh."""

    mesh: str
    version: str
    valid_from_ms: int
    keys: tuple[MemberKey, ...]
    probe_of_stream: Mapping[int, str]
    probe_of_endpoint: Mapping[str, str]
    streams_of_probe: Mapping[str, frozenset[int]]

    def knows(self, probe_id: str) -> bool:
        """Return whether the probe serves anything or has a key in this plan."""
        return probe_id in self.streams_of_probe or any(key.probe_id == probe_id for key in self.keys)


def make_plan(
    *,
    mesh: str,
    version: str,
    valid_from_ms: int,
    keys: Sequence[MemberKey],
    probe_of_stream: Mapping[int, str],
    probe_of_endpoint: Mapping[str, str],
) -> Plan:
    """Return a plan with the streams gathered by probe."""
    streams: dict[str, set[int]] = {}
    for stream_id, probe_id in probe_of_stream.items():
        streams.setdefault(probe_id, set()).add(stream_id)
    for probe_id in probe_of_endpoint.values():
        streams.setdefault(probe_id, set())
    return Plan(
        mesh=mesh,
        version=version,
        valid_from_ms=valid_from_ms,
        keys=tuple(keys),
        probe_of_stream=probe_of_stream,
        probe_of_endpoint=probe_of_endpoint,
        streams_of_probe={probe_id: frozenset(ids) for probe_id, ids in streams.items()},
    )


class Membership:
    """All plans that may still matter; asked by probe, key and instant."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self.plans = sorted(plans, key=lambda plan: (plan.mesh, plan.valid_from_ms, plan.version))
        self._by_mesh: dict[str, list[Plan]] = {}
        self._keys: dict[tuple[str, str], list[MemberKey]] = {}
        for plan in self.plans:
            self._by_mesh.setdefault(plan.mesh, []).append(plan)
            for key in plan.keys:
                self._keys.setdefault((key.probe_id, key.key_id), []).append(key)
        self._key_ids = {key_id for _, key_id in self._keys}
        self._planned: dict[str, int] = {}
        for plan in self.plans:
            for probe_id, streams in plan.streams_of_probe.items():
                self._planned[probe_id] = max(self._planned.get(probe_id, 0), len(streams))

    def most_streams(self, probe_id: str) -> int:
        """Return how many streams the probe has in the plan that gives it most."""
        return self._planned.get(probe_id, 0)

    def public_keys(self, probe_id: str, key_id: str) -> list[bytes]:
        """Return the different public keys that the probe ever had under this id."""
        return list(dict.fromkeys(key.public for key in self._keys.get((probe_id, key_id), [])))

    def is_key_of_another(self, probe_id: str, key_id: str) -> bool:
        """Return whether the id is a key, but not of this probe."""
        return key_id in self._key_ids and (probe_id, key_id) not in self._keys

    def plans_at(self, mesh: str, at_ms: int) -> list[Plan]:
        """Return the plans in force within the grace around an instant; none before the first."""
        plans = self._by_mesh.get(mesh, [])
        ends = [plan.valid_from_ms for plan in plans[1:]]
        in_force = []
        for index, plan in enumerate(plans):
            ended = index < len(ends) and ends[index] + PLAN_GRACE_MS <= at_ms
            if plan.valid_from_ms - PLAN_GRACE_MS <= at_ms and not ended:
                in_force.append(plan)
        return in_force

    def is_key_in_force(self, plans: Sequence[Plan], probe_id: str, public: bytes, at_ms: int) -> bool:
        """Return whether one of the plans lets this key speak for the probe at the instant."""
        return any(
            key.probe_id == probe_id and key.public == public and key.holds_at(at_ms)
            for plan in plans
            for key in plan.keys
        )


def streams_of(plans: Sequence[Plan], probe_id: str) -> frozenset[int]:
    """Return the streams that one of the plans gives to the probe."""
    return _NONE.union(*(plan.streams_of_probe.get(probe_id, _NONE) for plan in plans))


def owner_of(plans: Sequence[Plan], stream_id: int) -> str | None:
    """Return the probe that the newest of the plans gives the stream to, or None."""
    found = (plan.probe_of_stream.get(stream_id) for plan in reversed(plans))
    return next((probe_id for probe_id in found if probe_id is not None), None)
