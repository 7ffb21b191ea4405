"""The script as data: what is cut, killed and tested, and at which share of the time. Pure."""

from collections.abc import Callable
from typing import Final

import msgspec

from deploy.lab.topology import Impairment
from deploy.stack import Load
from probes.config import ThroughputSlot
from probes.plan import LoadedSpan
from schemas.clock import Clock, wall_ms
from schemas.mesh import Mesh

DRAIN_MS: Final = 2_000  # a queue that a test filled is empty again

GREEN_DEADLINE_S: Final = 45.0
# A slot under test is not green. In a short script the test waits until all cells have been, or have failed to be: the
# deadline, the start of the parts that follow the probes, and the slot that the test begins in.
LEAST_TEST_AFTER_S: Final = GREEN_DEADLINE_S + 15.0


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """One demonstration over a mesh; the shares are of its length."""

    seconds: float = 90.0
    cut_segment: str = "trunk-wuhan-guangzhou-telecom"
    killed_probe: str = "demo/unicom-south"
    test_source: str = "cluster-zhangjiakou/telecom"
    test_destination: str = "dcp-beijing/telecom"
    test_segment: str = "access-zhangjiakou-telecom"
    test_bps: int = 10_000_000
    test_ms: int = 3_000
    cut_at: float = 0.25
    heal_at: float = 0.45
    kill_at: float = 0.60
    test_at: float = 0.75


def planted(scenario: Scenario) -> dict[str, Impairment]:
    """Return what the lab does beside its delays: the link of the throughput test is limited to the rate asked for."""
    return {scenario.test_segment: Impairment(rate_bps=scenario.test_bps)}


def load_of(scenario: Scenario, mesh: Mesh, clock: Clock) -> Callable[[], Load]:
    """Return the throughput test, to be placed from the moment that the probes are started."""

    def load() -> Load:
        after_s = max(scenario.test_at * scenario.seconds, LEAST_TEST_AFTER_S)
        start_ms = wall_ms(clock) + round(after_s * 1000)
        return Load(slots=(_slot(scenario, mesh, start_ms),), spans=(_span(scenario, mesh, start_ms),))

    return load


def streams_over(mesh: Mesh, segment: str) -> list[int]:
    """Return the streams whose packets or replies cross a segment."""
    return [stream.id for stream in mesh.streams if segment in stream.segments]


def _slot(scenario: Scenario, mesh: Mesh, start_ms: int) -> ThroughputSlot:
    return ThroughputSlot(
        id=f"demo-{start_ms}",
        start_ms=start_ms,
        duration_ms=scenario.test_ms,
        source=scenario.test_source,
        destination=scenario.test_destination,
        source_address=mesh.endpoint_by_id[scenario.test_source].address,
        destination_address=mesh.endpoint_by_id[scenario.test_destination].address,
        set_bps=scenario.test_bps,
    )


def _span(scenario: Scenario, mesh: Mesh, start_ms: int) -> LoadedSpan:
    return LoadedSpan(
        from_ms=start_ms,
        until_ms=start_ms + scenario.test_ms + DRAIN_MS,
        endpoints=(scenario.test_source, scenario.test_destination),
        streams=tuple(streams_over(mesh, scenario.test_segment)),
    )
