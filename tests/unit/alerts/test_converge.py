from collections.abc import Iterable

import pytest
from msgspec.structs import replace
from support.alert_facts import T0_MS

from alerts.converge import converge, member_state
from alerts.evaluator import shipped_policy
from alerts.facts import ProbeState
from alerts.incident import Incident
from alerts.localise import Cause
from alerts.policy import Policy
from alerts.situation import Situation
from alerts.verdict import Reason, State, Verdict

DEMO, DEFAULT = shipped_policy("demo"), shipped_policy("default")
ALIVE = {"p": ProbeState(probe_id="p", heard_ms=T0_MS)}


def a_cause(key: str = "trunk", members: Iterable[int] = (1, 2, 3, 4), **changes: object) -> Cause:
    cause = Cause(kind="segment", key=key, grade="down", members=tuple(members), since_ms=T0_MS, known_ms=T0_MS + 3_000)
    return replace(cause, **changes)


def a_verdict(number: int, state: State = "down", reason: Reason = "loss_run") -> Verdict:
    rule = DEFAULT.rule[0].id
    return Verdict(stream_id=number, state=state, reason=reason, rule=rule, rule_version=1, up=state != "down")


def situation(*causes: Cause, clear: Iterable[int] = (), exercise: bool = False, dead: bool = False) -> Situation:
    back = set(clear)
    verdicts = {number: a_verdict(number, "ok", "") if number in back else a_verdict(number) for number in range(1, 9)}
    return Situation(
        mesh="m",
        causes=causes,
        verdicts=verdicts,
        probes={"p": replace(ALIVE["p"], dead=dead)},
        probe_streams={"p": (1, 2)},
        probe_endpoints={"p": frozenset({("a/x", "a")})},
        exercise=exercise,
    )


class Story:
    """Rounds of converge, its own output fed back."""

    def __init__(self, policy: Policy = DEMO) -> None:
        self.policy = policy
        self.known: dict[str, Incident] = {}
        self.notices: list[str] = []

    def see(self, seen: Situation, after_s: float) -> "Story":
        for change in converge(seen, list(self.known.values()), self.policy, T0_MS + round(after_s * 1000)):
            self.known[change.incident.incident_id] = change.incident
            if change.incident.notice != "":
                self.notices.append(change.incident.notice)
        return self

    def one(self) -> Incident:
        (incident,) = self.known.values()
        return incident

    def live(self) -> list[Incident]:
        return [each for each in self.known.values() if each.state != "resolved"]


def test_a_certain_cause_is_told_at_once_and_an_uncertain_one_when_it_settled() -> None:
    assert Story().see(situation(a_cause()), 4).notices == ["open-1"]
    unsure = Story().see(situation(a_cause(confidence=0.5)), 4)
    assert (unsure.notices, unsure.one().state) == ([], "suspected")
    assert unsure.see(situation(a_cause(confidence=0.5)), 6).notices == ["open-2"]


def test_a_refined_cause_keeps_the_incident() -> None:
    story = Story().see(situation(a_cause("guess", (1, 2), confidence=0.3)), 4)
    story.see(situation(a_cause("trunk", (1, 2, 3, 4))), 5)
    assert (story.one().cause, story.one().members, story.notices) == ("trunk", (1, 2, 3, 4), ["open-2"])


def test_an_open_incident_tells_its_refined_cause_only_where_the_policy_says_so() -> None:
    for policy, told in (
        (DEMO, ["open-1"]),
        (replace(DEMO, incident=replace(DEMO.incident, notify_updates=True)), ["open-1", "update-2"]),
    ):
        story = Story(policy).see(situation(a_cause("guess")), 4).see(situation(a_cause("trunk")), 5)
        assert (story.notices, story.one().cause) == (told, "trunk")


def test_a_heal_that_reaches_some_members_first_does_not_rename_the_cause() -> None:
    story = Story().see(situation(a_cause()), 4)
    story.see(situation(a_cause("narrow", (1,)), clear=(2, 3, 4)), 20)
    assert story.one().cause == "trunk"


def test_an_open_network_incident_does_not_turn_into_infrastructure() -> None:
    story = Story().see(situation(a_cause()), 4).see(situation(a_cause("r", kind="reflector")), 8)
    assert (story.one().category, story.one().cause) == ("network", "trunk")


def test_a_suspicion_that_another_incident_explains_is_merged_without_a_word() -> None:
    story = Story(DEFAULT).see(situation(a_cause("x", (1, 2)), a_cause("y", (3,))), 4)
    assert len(story.live()) == 2
    story.see(situation(a_cause("trunk", (1, 2, 3, 4))), 5)
    assert [each.cause for each in story.live()] == ["trunk"]
    assert story.notices == []


def test_one_member_in_fault_keeps_the_incident_open() -> None:
    story = Story().see(situation(a_cause()), 4).see(situation(clear=(1, 2, 3)), 20)
    assert story.one().state == "open"
    assert story.see(situation(clear=(1, 2, 3, 4)), 21).notices == ["open-1", "resolved-2"]


def test_a_member_of_a_dead_probe_does_not_hold_up_the_end_but_a_late_one_does() -> None:
    verdict = {name: member_state(a_verdict(1, "insufficient", name)) for name in ("probe_dead", "late", "learning")}
    assert verdict == {"probe_dead": "gone", "late": "wait", "learning": "wait"}


def test_the_clear_time_is_held_and_grows_with_every_flap() -> None:
    story = Story(DEFAULT).see(situation(a_cause(known_ms=T0_MS + 70_000)), 80)
    assert story.notices == ["open-1"]
    story.see(situation(clear=range(9)), 100).see(situation(clear=range(9)), 159)
    assert story.one().state == "open"
    assert story.see(situation(clear=range(9)), 160).one().state == "resolved"
    again = a_cause(since_ms=T0_MS + 200_000, known_ms=T0_MS + 270_000)
    story.see(situation(again), 280).see(situation(clear=range(9)), 300).see(situation(clear=range(9)), 419)
    assert story.one().state == "open"
    assert story.see(situation(clear=range(9)), 420).one().trail.flaps == 1


def test_an_isolated_node_calls_without_a_hold() -> None:
    assert Story(DEFAULT).see(situation(a_cause("a", kind="node")), 4).notices == ["open-1"]
    assert Story(DEFAULT).see(situation(a_cause()), 4).notices == []


def test_the_probe_in_an_isolated_node_is_no_incident_of_its_own() -> None:
    assert len(Story().see(situation(a_cause("a", kind="node"), dead=True), 30).known) == 1
    assert len(Story().see(situation(a_cause("b", kind="node"), dead=True), 30).known) == 2


def test_a_dead_probe_is_infrastructure_and_ends_when_it_is_heard_again() -> None:
    story = Story().see(situation(clear=range(9), dead=True), 26)
    assert (story.one().category, story.one().members) == ("infrastructure", (1, 2))
    assert story.see(situation(clear=range(9)), 60).notices == ["open-1", "resolved-2"]


@pytest.mark.parametrize("exercise", [True, False])
def test_a_drill_marks_every_revision(exercise: bool) -> None:
    story = Story().see(situation(a_cause(), exercise=exercise), 4)
    assert story.one().exercise is exercise
    story.see(situation(clear=range(9), exercise=exercise), 30)
    assert story.one().exercise is exercise
