from msgspec.structs import replace
from support.alert_facts import T0_MS, a_stream

from alerts.facts import ProbeState
from alerts.liveness import pipeline_since_ms, probe_states
from alerts.policy import Liveness

LIMITS = Liveness()
NOW_S = T0_MS // 1000


def state(heard_ms: int | None, *, since_ms: int | None, begin_ms: int = T0_MS - 3_600_000) -> ProbeState:
    heard = {} if heard_ms is None else {"p": heard_ms}
    return probe_states([a_stream(valid_from_ms=begin_ms)], heard, {}, since_ms, LIMITS, T0_MS)["p"]


def test_a_pipeline_lives_since_its_last_gap() -> None:
    seconds = [NOW_S - 170, NOW_S - 160, NOW_S - 60, NOW_S - 50, NOW_S - 30, NOW_S - 8]
    assert pipeline_since_ms(seconds, T0_MS, LIMITS) == (NOW_S - 60) * 1000


def test_a_pipeline_in_which_nothing_moves_lives_since_never() -> None:
    assert pipeline_since_ms([NOW_S - 40], T0_MS, LIMITS) is None
    assert pipeline_since_ms([], T0_MS, LIMITS) is None


def test_a_probe_is_dead_when_it_alone_is_silent_too_long() -> None:
    assert state(T0_MS - 26_000, since_ms=T0_MS - 170_000).dead
    assert not state(T0_MS - 24_000, since_ms=T0_MS - 170_000).dead


def test_a_probe_gets_its_full_time_again_after_a_silence_of_the_pipeline() -> None:
    assert not state(T0_MS - 90_000, since_ms=T0_MS - 20_000).dead
    assert not state(T0_MS - 90_000, since_ms=None).dead


def test_a_probe_never_heard_of_is_learning_first_and_dead_later() -> None:
    young, old = state(None, since_ms=T0_MS - 60_000), state(None, since_ms=T0_MS - 170_000)
    assert (young.learning, young.dead) == (True, False)
    assert (old.learning, old.dead) == (False, True)
    fresh_plan = state(None, since_ms=T0_MS - 170_000, begin_ms=T0_MS - 60_000)
    assert fresh_plan == replace(young)
