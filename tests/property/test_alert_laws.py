from collections.abc import Sequence
from functools import partial

from hypothesis import given
from hypothesis import strategies as st
from support.alert_facts import ALIVE, T0_MS, a_slot, a_stream

from alerts.converge import converge
from alerts.evaluator import shipped_policy
from alerts.facts import ProbeState, SlotFacts
from alerts.incident import Incident
from alerts.judge import judge
from alerts.localise import build_index, localise
from alerts.situation import Situation
from alerts.verdict import Verdict

POLICY = shipped_policy("demo")
STREAMS = [
    a_stream(
        number, source=f"{a}/x", destination=f"{b}/x", source_node=a, destination_node=b, segments=segments, probe_id=a
    )
    for number, (a, b, segments) in enumerate(
        [
            ("a", "b", ("s", "t")),
            ("b", "a", ("s", "t")),
            ("a", "c", ("s", "u")),
            ("c", "a", ("s", "u")),
            ("b", "c", ("t", "u")),
            ("c", "b", ("t", "u")),
        ]
    )
]
INDEX = build_index(STREAMS)


@st.composite
def slots(draw: st.DrawFn) -> list[SlotFacts]:
    found = []
    for position in draw(st.lists(st.integers(0, 20), unique=True, max_size=8).map(sorted)):
        sent = draw(st.integers(0, 130))
        received = draw(st.integers(0, sent))
        found.append(
            a_slot(
                position,
                sent=sent,
                received=received,
                complete=draw(st.booleans()),
                loss_runs=draw(st.integers(0, 5)),
                loss_run_max=draw(st.integers(0, 300)) if received < sent else 0,
                turns=draw(st.sampled_from([None, -1, 0, 1])),
                loaded=draw(st.booleans()),
                sick=draw(st.booleans()),
                spool=draw(st.sampled_from(["s1", "s2"])),
            )
        )
    return found


@given(slots(), st.integers(0, 300_000))
def test_judge_is_a_function_and_never_green_on_nothing(found: list[SlotFacts], later_ms: int) -> None:
    now_ms = T0_MS + later_ms
    verdict = judge(STREAMS[0], found, ALIVE, POLICY, now_ms)
    assert verdict == judge(STREAMS[0], list(found), ALIVE, POLICY, now_ms)
    whole = [slot for slot in found if slot.complete and not slot.loaded and not slot.sick]
    if len(whole) == 0 or now_ms > T0_MS + 240_000:
        assert verdict.state != "ok"
    assert verdict.known_ms >= verdict.since_ms or verdict.up is not False


states = st.sampled_from(["ok", "down", "recovering", "late", "dead"])


def verdicts(names: Sequence[str], at_ms: int) -> dict[int, Verdict]:
    found = {}
    for stream, name in zip(STREAMS, names, strict=True):
        verdict = partial(Verdict, stream_id=stream.stream_id, rule=POLICY.rule[0].id, rule_version=1)
        found[stream.stream_id] = {
            "ok": verdict(state="ok", reason="", up=True, known_ms=at_ms),
            "down": verdict(state="down", reason="loss_run", up=False, since_ms=at_ms - 3000, known_ms=at_ms),
            "recovering": verdict(
                state="degraded", reason="recovering", up=True, since_ms=at_ms - 2000, known_ms=at_ms
            ),
            "late": verdict(state="insufficient", reason="late"),
            "dead": verdict(state="insufficient", reason="probe_dead"),
        }[name]
    return found


@given(st.lists(st.lists(states, min_size=6, max_size=6), min_size=1, max_size=6), st.sets(st.sampled_from("abc")))
def test_converge_is_idempotent_and_keeps_every_incident_whole(rounds: list[list[str]], dead: set[str]) -> None:
    known: dict[str, Incident] = {}
    for number, names in enumerate(rounds):
        now_ms = T0_MS + number * 10_000
        seen = verdicts(names, now_ms)
        situation = Situation(
            mesh="m",
            causes=localise(INDEX, seen.values()),
            verdicts=seen,
            probes={name: ProbeState(probe_id=name, heard_ms=T0_MS - 60_000, dead=name in dead) for name in "abc"},
            probe_streams={name: tuple(s.stream_id for s in STREAMS if s.probe_id == name) for name in "abc"},
            probe_endpoints={name: frozenset({(f"{name}/x", name)}) for name in "abc"},
            exercise=True,
        )
        for change in converge(situation, list(known.values()), POLICY, now_ms):
            before = known.get(change.incident.incident_id)
            assert change.incident.revision == (1 if before is None else before.revision + 1)
            assert before is None or set(before.members) <= set(change.incident.members)
            assert change.incident.exercise
            known[change.incident.incident_id] = change.incident
        assert converge(situation, list(known.values()), POLICY, now_ms) == []
        causes = {member for cause in situation.causes for member in cause.members}
        held = {member for each in known.values() if each.state != "resolved" for member in each.members}
        assert causes <= held
