"""One short seed of chaos on a real broker and engine: what the bench proves at length, in the suite.

The kinds of fault stand in the names; `python -m chaos` runs any seed, and the long profile.
"""

from collections.abc import Iterator

import msgspec
import pytest
from chaos.plan import FAULTS, PROFILES, Fault, Profile, faults_of
from chaos.run import run_seed
from chaos.stage import Stage, running_stage
from support.broker import require_broker_tools
from support.engine import require_engine
from support.traffic import Fleet, traffic

END_MS = 1_760_000_400_000
SMALL: Profile = msgspec.structs.replace(PROFILES["short"], probes=24, slots=9)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    """Yield services of this module's own: they are killed."""
    require_broker_tools()
    require_engine()
    with running_stage() as running:
        yield running


@pytest.mark.needs_engine
@pytest.mark.needs_broker
@pytest.mark.timeout(180)
def test_f03_f07_f10_f11_nothing_is_lost_and_nothing_counted_twice(stage: Stage) -> None:
    faults = [
        Fault("worker_dies_at_point", 0.1, 0.5, 1),
        Fault("acknowledgement_lost", 0.1, 0.5, 1),
        Fault("answer_lost", 0.1, 0.5, 1),
        Fault("engine_down", 0.1, 0.5, 0),
    ]
    outcome = run_seed(stage, 7, SMALL, lambda _: None, faults=faults)
    assert outcome.holds, outcome.text or outcome.verdict
    assert outcome.restarts >= 1
    assert outcome.repeats > 0


def test_the_same_seed_makes_the_same_faults_and_the_same_traffic() -> None:
    fleet = Fleet(probes=8, peers=1, moves_at_ms=END_MS - 60_000)
    first, again, other = (traffic(seed, fleet, slots=12, end_ms=END_MS) for seed in (5, 5, 6))
    assert first == again
    assert first != other
    assert faults_of(5, PROFILES["short"]) == faults_of(5, PROFILES["short"])


def test_a_few_seeds_meet_every_kind_of_fault() -> None:
    short = PROFILES["short"]
    met = {fault.kind for seed in range(len(FAULTS)) for fault in faults_of(seed, short)}
    assert met == set(FAULTS)
