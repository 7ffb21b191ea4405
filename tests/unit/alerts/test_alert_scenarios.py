from functools import cache
from pathlib import Path

import pytest
from support.alert_store import AlertStore
from support.alert_world import START_MS, Fault, World

from alerts.evaluator import Evaluator, EvaluatorConfig, shipped_policy
from alerts.relay import Outcome, Relay, RelayConfig, Target
from schemas.mesh import Mesh, parse_mesh
from schemas.mesh_streams import Stream
from streams.store import StoreConfig

DEMO = Path(__file__).parents[3] / "deploy" / "mesh" / "demo.toml"
TRUNK = "trunk-wuhan-guangzhou-telecom"
PROBE = "demo/unicom-south"
STORE = StoreConfig()


@cache
def demo_mesh() -> Mesh:
    return parse_mesh(DEMO.read_text(encoding="utf-8"), source="demo.toml")


def crosses(segment: str) -> frozenset[int]:
    return frozenset(stream.id for stream in demo_mesh().streams if segment in stream.segments)


def cut(segment: str, from_s: float, until_s: float, share: float = 1.0) -> Fault:
    return Fault(from_s=from_s, until_s=until_s, hits=lambda stream: segment in stream.segments, share=share)


class Play:
    """An evaluator and a relay beside a world, a second at a time."""

    def __init__(self, world: World, policy: str = "demo") -> None:
        self.world = world
        self.store = AlertStore(world)
        self.config = EvaluatorConfig(mesh="demo", store=STORE, policy=policy)
        self.relay_config = RelayConfig(
            mesh="demo", store=STORE, targets=(Target(name="hook", url="http://h/"),), console=False
        )
        self.bodies: list[tuple[int, bytes]] = []
        self.states: dict[int, dict[int, tuple[str, str]]] = {}
        self.restart()

    def restart(self) -> None:
        self.evaluator = Evaluator(self.store, self.config, shipped_policy(self.config.policy))
        self.relay = Relay(self.store, self.relay_config, self._send, lambda _text: None)

    def _send(self, _target: Target, body: bytes) -> Outcome:
        self.bodies.append((self.world.step_s, body))
        return Outcome(delivered=True, status_code=200, detail="OK")

    def until(self, second: int) -> None:
        for now_ms in self.world.run(second):
            self.store.now_ms = now_ms
            found = self.evaluator.round(now_ms)
            self.states[self.world.step_s] = {key: (each.state, each.reason) for key, each in found.verdicts.items()}
            self.relay.step(now_ms)

    def notices(self) -> list[str]:
        return [row["notice"].split("-")[0] for row in self.store.told()]


def play(*faults: Fault, until: int = 90, policy: str = "demo", killed_s: dict[str, float] | None = None) -> Play:
    made = Play(World(mesh=demo_mesh(), seconds=until + 10, faults=faults, killed_s=killed_s or {}), policy)
    made.until(until)
    return made


def test_a_quiet_network_is_green_within_half_a_minute_and_tells_nobody() -> None:
    quiet = play(until=45)
    assert set(quiet.states[20].values()) == {("ok", "")}
    assert quiet.store.tables.get("incident", []) == []


@pytest.mark.parametrize("from_s", [22.0, 25.3, 29.95])
def test_a_cut_trunk_is_one_incident_that_names_it_and_holds_all_its_streams(from_s: float) -> None:
    seen = play(cut(TRUNK, from_s, from_s + 18), until=80)
    (incident,) = seen.store.incidents()
    assert (incident["cause_kind"], incident["cause"], incident["category"]) == ("segment", TRUNK, "network")
    assert set(incident["members"]) == crosses(TRUNK)
    assert seen.notices() == ["open", "resolved"]
    told_s, resolved_s = (second for second, _ in seen.bodies)
    assert told_s - from_s <= 8.0
    assert resolved_s - (from_s + 18) <= 25.0
    assert incident["state"] == "resolved"


def test_streams_that_do_not_cross_the_cut_stay_green_in_both_carriers() -> None:
    seen = play(cut(TRUNK, 25, 43), until=60)
    for second in range(20, 60):
        others = {state for key, state in seen.states[second].items() if key not in crosses(TRUNK)}
        assert others == {("ok", "")}, second


def test_a_cut_turns_its_streams_red_and_the_heal_turns_them_green() -> None:
    seen = play(cut(TRUNK, 25, 43), until=70)
    assert {seen.states[30][key][0] for key in crosses(TRUNK)} == {"down"}
    assert {seen.states[66][key] for key in crosses(TRUNK)} == {("ok", "")}


def test_an_isolated_node_is_one_incident_named_as_the_node() -> None:
    def at_node(stream: Stream) -> bool:
        return "dcp-wuhan/" in stream.source + stream.destination

    seen = play(Fault(from_s=25, until_s=200, hits=at_node), until=60)
    (incident,) = seen.store.incidents()
    assert (incident["cause_kind"], incident["cause"]) == ("node", "dcp-wuhan")
    assert seen.notices() == ["open"]


def test_a_killed_probe_turns_grey_and_is_one_infrastructure_incident_and_no_network_alarm() -> None:
    seen = play(until=95, killed_s={PROBE: 50})
    (incident,) = seen.store.incidents()
    assert (incident["category"], incident["cause_kind"], incident["cause"]) == ("infrastructure", "probe", PROBE)
    own = {stream.id for stream in demo_mesh().streams if stream.probe_id == PROBE}
    assert {seen.states[82][key] for key in own} == {("insufficient", "probe_dead")}
    assert {state for key, state in seen.states[95].items() if key not in own} == {("ok", "")}
    assert seen.notices() == ["open"]


def test_the_script_of_the_demo_gives_one_network_and_one_infrastructure_alarm() -> None:
    seen = play(cut(TRUNK, 22.5, 40.5), until=95, killed_s={PROBE: 54})
    assert sorted(row["category"] for row in seen.store.incidents()) == ["infrastructure", "network"]
    assert seen.notices() == ["open", "resolved", "open"]


def test_single_lost_packets_never_alarm() -> None:
    everywhere = Fault(from_s=0, until_s=500, hits=lambda _stream: True, share=0.0008)
    seen = play(everywhere, until=120)
    assert seen.store.tables.get("incident", []) == []


def test_lasting_loss_on_a_trunk_is_shown_and_called_only_after_its_hold() -> None:
    seen = play(cut(TRUNK, 20, 900, share=0.05), until=300)
    (incident,) = seen.store.incidents()
    assert (incident["cause_kind"], incident["cause"]) == ("segment", TRUNK)
    assert {seen.states[100][key] for key in crosses(TRUNK)} == {("degraded", "loss")}
    (told_s,) = (second for second, _ in seen.bodies)
    assert told_s > 140


def test_an_interruption_shorter_than_the_hold_is_counted_and_calls_nobody() -> None:
    seen = play(cut(TRUNK, 25, 70), until=120, policy="default")
    (incident,) = seen.store.incidents()
    assert incident["state"] == "resolved"
    assert '"flash":true' in incident["evidence"]
    assert seen.bodies == []


def test_a_cut_longer_than_the_hold_calls_once() -> None:
    seen = play(cut(TRUNK, 25, 130), until=280, policy="default")
    assert seen.notices() == ["open", "resolved"]


def test_a_silent_pipeline_makes_everything_late_and_no_probe_dead() -> None:
    world = World(mesh=demo_mesh(), seconds=130, deaf_s=(40, 90))
    seen = Play(world)
    seen.until(85)
    assert set(seen.states[85].values()) == {("insufficient", "late")}
    seen.until(115)
    assert set(seen.states[115].values()) == {("ok", "")}
    assert seen.store.tables.get("incident", []) == []


def test_f48_a_pipeline_that_stays_silent_is_one_infrastructure_incident_and_ends_by_itself() -> None:
    seen = Play(World(mesh=demo_mesh(), seconds=190, deaf_s=(40, 150)))
    seen.until(118)
    assert seen.store.incidents() == []
    seen.until(145)
    (incident,) = seen.store.incidents()
    assert (incident["category"], incident["cause_kind"], incident["cause"]) == ("infrastructure", "pipeline", "demo")
    assert incident["state"] == "open"
    assert len(incident["members"]) == len(demo_mesh().streams)
    seen.until(180)
    assert {row["state"] for row in seen.store.incidents()} == {"resolved"}
    assert set(seen.states[180].values()) == {("ok", "")}
    assert seen.notices() == ["open", "resolved"]


def test_a_mesh_that_nothing_was_ever_heard_of_has_no_silent_pipeline() -> None:
    seen = Play(World(mesh=demo_mesh(), seconds=150, deaf_s=(0, 149)))
    seen.until(120)
    assert [row for row in seen.store.incidents() if row["cause_kind"] == "pipeline"] == []


def test_a_restart_in_the_middle_of_an_incident_tells_nobody_twice() -> None:
    seen = Play(World(mesh=demo_mesh(), seconds=120, faults=(cut(TRUNK, 25, 60),)))
    for second in range(28, 100, 3):
        seen.until(second)
        seen.restart()
    seen.until(100)
    assert seen.notices() == ["open", "resolved"]
    assert len(seen.store.incidents()) == 1


def test_a_store_that_was_away_loses_no_incident_and_doubles_none() -> None:
    seen = Play(World(mesh=demo_mesh(), seconds=120, faults=(cut(TRUNK, 25, 60),)))
    seen.until(30)
    seen.world.advance()
    seen.store.away = True
    with pytest.raises(Exception, match="no answer"):
        seen.evaluator.round(START_MS + 31_000)
    seen.store.away = False
    seen.until(100)
    assert seen.notices() == ["open", "resolved"]


def test_a_dead_reflector_is_infrastructure_and_its_streams_turn_grey() -> None:
    def toward(stream: Stream) -> bool:
        return stream.destination == "dcp-xian/telecom" and stream.method == "stamp"

    seen = play(Fault(from_s=25, until_s=200, hits=toward), until=60)
    (incident,) = seen.store.incidents()
    assert (incident["category"], incident["cause_kind"]) == ("infrastructure", "reflector")
    hit = {stream.id for stream in demo_mesh().streams if toward(stream)}
    assert {seen.states[55][key] for key in hit} == {("insufficient", "reflector_dead")}


def test_two_cuts_at_once_are_two_incidents() -> None:
    other = "trunk-xian-chengdu-unicom"
    seen = play(cut(TRUNK, 25, 200), cut(other, 26, 200), until=60)
    assert sorted(row["cause"] for row in seen.store.incidents()) == sorted((TRUNK, other))


def test_a_relapse_within_the_flap_window_joins_the_same_incident() -> None:
    seen = play(cut(TRUNK, 25, 40), cut(TRUNK, 80, 95), until=130)
    assert len(seen.store.incidents()) == 1
    assert seen.notices() == ["open", "resolved", "open", "resolved"]
