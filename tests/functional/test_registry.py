"""The registry reads who may speak from the table `mesh`, and looks again when a stranger does."""

import pytest
from support import wire_messages as wire
from support.meshes import SMALL

from schemas.clock import ManualClock, SystemClock, floor_ms, wall_ms
from schemas.envelope import Signer
from schemas.mesh import Mesh, parse_mesh, with_probe_keys
from schemas.tables import MESH
from streams.flush import Flusher
from streams.messages import RawMessage
from streams.registry import KEPT_MS, Registry
from streams.store import Store

pytestmark = pytest.mark.needs_engine
SIGNER = Signer("key-a", b"\x05" * 32)


def enrolled() -> Mesh:
    bare = parse_mesh(SMALL, source="small.toml")
    return with_probe_keys(bare, {bare.probes[0].id: [(SIGNER.key_id, SIGNER.public.hex())]})


def apply_mesh(store: Store, mesh: Mesh, valid_from_ms: int) -> None:
    store.insert(MESH, [(mesh.id, mesh.version, valid_from_ms // 1000, mesh.timezone, mesh.canonical)])


def message(mesh: Mesh, now_ms: int) -> RawMessage:
    probe_id = mesh.probes[0].id
    own = [stream.id for stream in mesh.streams if stream.probe_id == probe_id]
    batch = wire.summary(own, mesh=mesh.id, probe_id=probe_id, slot_start_ms=floor_ms(now_ms, 10_000))
    return wire.message(batch, signer=SIGNER, received_ms=now_ms)


def test_a_probe_enrolled_after_the_worker_started_is_known_at_its_first_message(store: Store) -> None:
    clock = SystemClock()
    flusher = Flusher(store, Registry(clock, refresh_s=3600, stranger_s=0.0), clock)
    mesh, now_ms = enrolled(), wall_ms(clock)
    assert flusher.flush([message(mesh, now_ms)]).foreign == 1
    apply_mesh(store, mesh, floor_ms(now_ms - 120_000, 60_000))
    report = flusher.flush([message(mesh, now_ms)])
    assert (report.foreign, report.faults) == (0, 0)
    assert report.stored > 0


def test_plans_are_read_again_when_they_are_old_and_not_before(store: Store) -> None:
    clock = ManualClock(wall_ns=SystemClock().wall_ns())
    registry = Registry(clock, refresh_s=5)
    assert registry.refresh(store)
    apply_mesh(store, enrolled(), wall_ms(clock))
    clock.advance_s(4.9)
    assert not registry.refresh(store)
    assert registry.refresh(store, stranger=True)
    clock.advance_s(0.5)
    assert not registry.refresh(store, stranger=True)
    clock.advance_s(4.5)
    assert registry.refresh(store)
    assert [plan.mesh for plan in registry.membership.plans] == ["small"]


def test_plans_that_no_taken_message_can_need_are_left_out(store: Store) -> None:
    clock = ManualClock(wall_ns=SystemClock().wall_ns())
    mesh, now_ms = enrolled(), wall_ms(clock)
    for age_ms in (3 * KEPT_MS, 2 * KEPT_MS, KEPT_MS // 2):
        apply_mesh(store, mesh, floor_ms(now_ms - age_ms, 60_000))
    registry = Registry(clock, refresh_s=5)
    registry.refresh(store)
    assert [plan.valid_from_ms for plan in registry.membership.plans] == [
        floor_ms(now_ms - age_ms, 60_000) for age_ms in (2 * KEPT_MS, KEPT_MS // 2)
    ]


def test_a_mesh_that_cannot_be_read_does_not_take_the_others_with_it(store: Store) -> None:
    clock = SystemClock()
    store.insert(MESH, [("broken", "v", 60, "UTC", "{}")])
    apply_mesh(store, enrolled(), 60_000)
    registry = Registry(clock, refresh_s=5)
    registry.refresh(store)
    assert [plan.mesh for plan in registry.membership.plans] == ["small"]
