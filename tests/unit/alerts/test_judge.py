import pytest
from msgspec.structs import replace
from support.alert_facts import ALIVE, T0_MS, a_slot, a_stream, after

from alerts.evaluator import shipped_policy
from alerts.facts import SlotFacts, merge_facts, slot_facts
from alerts.judge import judge, judge_figure
from alerts.policy import Rule
from alerts.verdict import Verdict
from alerts.wilson import wilson
from schemas.errors import ConfigError

POLICY = shipped_policy("default")
CLEAN = [a_slot(0), a_slot(1), a_slot(2)]
EARLY = a_slot(3, complete=False, sent=60, received=50, loss_runs=1, loss_run_max=10, turns=1, revisions=1)


def judged(slots: list[SlotFacts], now_ms: int | None = None) -> Verdict:
    at_ms = after((slots[-1].start_ms - T0_MS) // 10_000) if now_ms is None else now_ms
    return judge(a_stream(), slots, ALIVE, POLICY, at_ms)


def state(slots: list[SlotFacts], now_ms: int | None = None) -> tuple[str, str]:
    found = judged(slots, now_ms)
    return found.state, found.reason


def rule(name: str) -> Rule:
    return next(each for each in POLICY.rule if each.id == name)


def test_an_early_revision_that_ends_in_a_run_is_down_with_the_onset_by_its_packets() -> None:
    found = judged([*CLEAN, EARLY], T0_MS + 38_500)
    assert (found.state, found.reason, found.rule) == ("down", "loss_run", "down-loss-run")
    assert (found.since_ms, found.known_ms) == (T0_MS + 35_000, T0_MS + 36_000)
    assert (found.value, found.limit, found.sent, found.lost) == (1000.0, 1000.0, 60, 10)


def test_the_revision_after_the_return_is_recovering_and_not_down() -> None:
    back = replace(EARLY, sent=80, received=65, loss_run_max=15, turns=0, revisions=2)
    assert state([*CLEAN, back], T0_MS + 39_000) == ("degraded", "recovering")


@pytest.mark.parametrize("loss_run_max", [9, 4])
def test_a_shorter_run_is_not_down(loss_run_max: int) -> None:
    short = replace(EARLY, received=60 - loss_run_max, loss_run_max=loss_run_max)
    assert state([*CLEAN, short], T0_MS + 38_500)[0] == "ok"


def test_life_ends_where_a_short_silence_at_the_end_begins() -> None:
    short = replace(EARLY, received=51, loss_run_max=9)
    assert judged([*CLEAN, short], T0_MS + 38_500).known_ms == T0_MS + 36_000 - 900


def test_a_slot_that_lost_everything_is_down_whatever_else_is_unknown() -> None:
    dark = a_slot(3, received=0, loss_runs=0, loss_run_max=150, turns=None)
    assert state([*CLEAN, dark])[0] == "down"


def test_a_row_that_does_not_tell_how_it_ended_is_taken_as_down_when_its_run_is_long() -> None:
    unclear = a_slot(3, received=80, loss_runs=2, loss_run_max=15, turns=None)
    assert state([*CLEAN, unclear])[0] == "down"


def test_a_clean_slot_after_the_return_clears_the_cut() -> None:
    returned = a_slot(3, received=40, loss_runs=0, loss_run_max=160, turns=-1)
    assert state([*CLEAN, returned]) == ("degraded", "recovering")
    assert state([*CLEAN, returned, a_slot(4)]) == ("ok", "")


def test_an_outage_is_no_share_of_loss_of_the_time_the_path_is_there() -> None:
    returned = a_slot(3, received=40, loss_runs=0, loss_run_max=160, turns=-1)
    found = judged([*CLEAN, returned, a_slot(4)])
    assert (found.value, found.sent) == (0.0, 400)


def test_absent_rows_are_late_and_never_green() -> None:
    assert state(CLEAN, after(2, 20.5)) == ("insufficient", "late")
    assert state([], after(2)) == ("insufficient", "late")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sick": True}, "probe_sick"),
        ({"loaded": True}, "under_load"),
        ({"mesh_version": "v0"}, "not_scheduled"),
        ({"sent": 130}, "probe_sick"),
    ],
)
def test_a_row_that_cannot_be_trusted_says_why(changes: dict[str, object], reason: str) -> None:
    assert state([*CLEAN, a_slot(3, **changes)]) == ("insufficient", reason)


def test_f30_two_agents_of_one_identity_are_a_sick_probe_within_a_slot_and_no_fault_of_the_network() -> None:
    here, there = a_slot(3, spool="s1"), a_slot(3, spool="s2", received=0, loss_run_max=100)
    found = judged([*CLEAN, merge_facts([here, there])])
    assert (found.state, found.reason, found.alarms) == ("insufficient", "probe_sick", False)


def test_a_loaded_slot_that_loses_everything_never_alarms() -> None:
    dark = a_slot(3, received=0, loss_run_max=100, loaded=True)
    assert not judged([*CLEAN, dark]).alarms


def test_loaded_slots_leave_no_trace_in_the_figures() -> None:
    loaded = [replace(slot, loaded=True) for slot in lossy(20, 20, 20)]
    found = judged([*loaded, a_slot(3), a_slot(4)])
    assert (found.state, found.lost, found.sent) == ("ok", 0, 200)


def test_a_slot_with_too_few_packets_is_not_green() -> None:
    assert state([*CLEAN, a_slot(3, sent=60, received=60)]) == ("insufficient", "late")
    assert state([*CLEAN, a_slot(3, sent=60, received=60, spool="s2")]) == ("insufficient", "learning")
    assert state([*CLEAN, a_slot(3, sent=0, received=0, send_failed=100)]) == ("insufficient", "probe_sick")


def test_a_dead_probe_is_the_reason_whatever_the_rows_say() -> None:
    found = judge(a_stream(), [*CLEAN, EARLY], replace(ALIVE, dead=True), POLICY, T0_MS + 38_500)
    assert (found.state, found.reason) == ("insufficient", "probe_dead")


def test_a_stream_that_its_probe_does_not_name_is_not_scheduled() -> None:
    ahead = replace(ALIVE, complete_slot_ms=T0_MS + 90_000)
    assert judge(a_stream(), CLEAN, ahead, POLICY, after(9)).reason == "not_scheduled"


def lossy(*lost: int) -> list[SlotFacts]:
    return [
        a_slot(at, received=100 - count, loss_runs=count, loss_run_max=min(count, 1), turns=0)
        for at, count in enumerate(lost)
    ]


def test_half_a_percent_raises_on_the_lower_bound_alone() -> None:
    assert wilson(6, 600)[0] < 0.005 < wilson(7, 600)[0]
    assert state(lossy(1, 1, 1, 1, 1, 1))[0] == "ok"
    assert state(lossy(1, 1, 1, 1, 1, 2)) == ("degraded", "loss")


def test_one_burst_is_no_degradation() -> None:
    assert state(lossy(0, 0, 0, 0, 0, 9))[0] == "ok"


def test_half_a_percent_clears_within_three_minutes_of_a_clean_heal() -> None:
    bad = (2, 2, 2, 2, 2, 2)
    cleared = next(clean for clean in range(1, 30) if state(lossy(*bad, *(0,) * clean))[0] == "ok")
    assert 8 <= cleared <= 18


def test_a_figure_is_judged_only_when_its_whole_error_lies_on_one_side() -> None:
    circle = rule("circle-20ms-optical")
    common = {"sent": 864_000, "lost": 0, "planned": 864_000, "window_start_ms": T0_MS, "window_s": 86_400}

    def graded(value: float, error: float) -> str:
        return judge_figure(1, circle, "one_way", value=value, error=error, **common).state

    assert [graded(15.0, 1.0), graded(19.5, 1.0), graded(20.5, 1.0), graded(22.0, 1.0)] == [
        "ok",
        "insufficient",
        "insufficient",
        "degraded",
    ]


def test_a_figure_of_another_direction_is_refused() -> None:
    with pytest.raises(ConfigError, match="one_way"):
        judge_figure(
            1,
            rule("circle-20ms-optical"),
            "round_trip",
            value=1.0,
            sent=1,
            lost=0,
            planned=1,
            window_start_ms=0,
            window_s=1,
        )


def test_coverage_caps_a_good_grade() -> None:
    found = judge_figure(
        1,
        rule("circle-20ms-optical"),
        "one_way",
        value=5.0,
        sent=400_000,
        lost=0,
        planned=864_000,
        window_start_ms=T0_MS,
        window_s=86_400,
    )
    assert found.state == "insufficient"


@pytest.mark.parametrize(
    ("changes", "turns"),
    [
        ({"received": 50, "pairs": 50, "loss_runs": 1, "delay_n": 50}, 1),
        ({"received": 50, "pairs": 49, "loss_runs": 0, "delay_n": 50}, -1),
        ({"received": 90, "pairs": 89, "loss_runs": 1, "delay_n": 90}, 0),
        ({"received": 90, "pairs": 89, "loss_runs": 1, "delay_n": 89}, None),
        ({"received": 90, "pairs": 89, "loss_runs": 1, "delay_n": 90, "send_failed": 1}, None),
        ({"received": 90, "pairs": 0, "loss_runs": 1, "delay_n": 90}, None),
    ],
)
def test_pairs_and_runs_tell_how_a_slot_ended(changes: dict[str, int], turns: int | None) -> None:
    row = {
        "start_ms": T0_MS,
        "complete": 1,
        "sent": 100,
        "send_failed": 0,
        "planned": 100,
        "loss_run_max": 10,
        "spool": "s",
        "loaded": 0,
        "probe_sick": 0,
        "clock_synchronised": 0,
        "clock_error_us": 0,
        "mesh_version": "v1",
        "revision": 1,
    }
    assert slot_facts(row | changes).turns == turns
