import httpx2
import msgspec
import pytest
from support.alert_store import AlertStore
from support.alert_world import START_MS, World
from support.meshes import SMALL

from alerts.incident import Change, Incident, Trail
from alerts.ledger import write_changes
from alerts.messages import summary
from alerts.relay import Outcome, Relay, RelayConfig, Target, check_targets, post
from schemas.errors import ConfigError
from schemas.mesh import parse_mesh
from streams.store import StoreConfig

TARGET = Target(name="hook", url="http://hook.example.org/in")
YES, NO = Outcome(delivered=True, status_code=204, detail=""), Outcome(delivered=False, status_code=503, detail="busy")


def an_incident(revision: int = 1, state: str = "open", *, exercise: bool = False) -> Incident:
    return Incident(
        mesh="small",
        incident_id="inc-1",
        revision=revision,
        category="network",
        cause_kind="segment",
        cause="trunk-a-b",
        state=state,  # type: ignore[arg-type]  # the test's own word
        opened_ms=START_MS,
        updated_ms=START_MS,
        members=(1, 2, 3),
        confidence=0.5,
        trail=Trail(
            grade="down",
            severity="P2",
            seen_ms=START_MS,
            known_ms=START_MS,
            notice=state,  # type: ignore[arg-type]  # the test's own word
            told=(state,),
            equal=("segment:c",),
            name_zh="甲 — 乙 干线（电信）",
            name_en="trunk A - B (Telecom)",
        ),
        rule_versions="down-loss-run@1",
        exercise=exercise,
    )


class Desk:
    """A store with notices, a relay and a target that answers as told."""

    def __init__(self, *incidents: Incident, console: bool = False) -> None:
        self.store = AlertStore(World(mesh=parse_mesh(SMALL, source="small"), seconds=10))
        for each in incidents:
            write_changes(self.store, [Change(incident=each, events=())], [summary(each, "Asia/Shanghai")])
        self.answers: list[Outcome] = []
        self.bodies: list[bytes] = []
        self.printed: list[str] = []
        self.config = RelayConfig(mesh="small", store=StoreConfig(), targets=(TARGET,), console=console)

    def step(self, after_s: float = 0.0) -> int:
        relay = Relay(self.store, self.config, self._send, self.printed.append)  # a new one: it keeps nothing
        return relay.step(START_MS + round(after_s * 1000))

    def _send(self, target: Target, body: bytes) -> Outcome:
        assert target is TARGET
        self.bodies.append(body)
        return self.answers.pop(0) if len(self.answers) > 0 else YES


def test_a_notice_arrives_once_and_has_its_proof() -> None:
    desk = Desk(an_incident())
    assert [desk.step(), desk.step(1), desk.step(600)] == [1, 0, 0]
    (row,) = desk.store.tables["delivery"]
    assert (row["outcome"], row["status_code"], row["notice"], row["attempt"]) == ("delivered", 204, "open-1", 1)


def test_a_refused_notice_is_sent_again_ever_more_slowly_until_it_arrives() -> None:
    desk = Desk(an_incident())
    desk.answers = [NO, NO, NO]
    arrived = [desk.step(after_s) for after_s in (0, 0.5, 1.0, 2.0, 3.0, 6.9, 7.0, 8.0)]
    assert arrived == [0, 0, 0, 0, 0, 0, 1, 0]
    assert [row["outcome"] for row in desk.store.tables["delivery"]] == ["failed", "failed", "failed", "delivered"]


def test_the_end_is_not_told_before_the_beginning_arrived() -> None:
    desk = Desk(an_incident(), an_incident(2, "resolved"))
    desk.answers = [NO]
    desk.step(0)
    desk.step(0.1)
    desk.step(1.5)
    desk.step(1.6)
    assert [msgspec.json.decode(body)["notice"] for body in desk.bodies] == ["open-1", "open-1", "resolved-2"]


def test_a_notice_older_than_the_limit_is_abandoned_on_record() -> None:
    desk = Desk(an_incident())
    desk.answers = [NO, NO]
    desk.step(0)
    desk.step(86_500)
    desk.step(90_000)
    assert [row["outcome"] for row in desk.store.tables["delivery"]] == ["failed", "abandoned"]


def test_the_message_says_what_broke_how_wide_how_sure_what_to_check_and_how_to_acknowledge() -> None:
    desk = Desk(an_incident(exercise=True), console=True)
    desk.step()
    body = msgspec.json.decode(desk.bodies[0])
    assert (body["cause"], body["members"], body["confidence"], body["exercise"]) == ("trunk-a-b", 3, 0.5, True)
    assert "甲 — 乙 干线" in body["text_zh"]
    assert body["text_zh"].startswith("【演练】")
    assert body["text_en"].startswith("[DRILL] [open] segment trunk A - B (Telecom) down since 2027-")
    assert len(body["first_checks_zh"]) == len(body["first_checks_en"]) == 3
    assert body["acknowledge"].endswith("inc-1")
    assert body["resolved_ms"] is None
    assert "甲 — 乙" in desk.printed[0]
    assert "trunk A - B" in desk.printed[0]
    assert all(row["exercise"] == 1 for row in desk.store.tables["delivery"])


def test_the_end_says_from_when_to_when() -> None:
    zh, en = summary(
        msgspec.structs.replace(an_incident(2, "resolved"), resolved_ms=START_MS + 90_000), "Asia/Shanghai"
    )
    assert "down from 2027-01-15 16:00:00+08:00, confirmed clear 2027-01-15 16:01:30+08:00" in en
    assert "确认恢复" in zh


@pytest.mark.parametrize("code", [301, 302, 400, 404, 429, 500])
def test_only_a_2xx_is_arrival_and_a_redirect_is_not_followed(code: int) -> None:
    calls = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        calls.append(request.url.host)
        return httpx2.Response(code, headers={"location": "http://elsewhere.example.org/"})

    with httpx2.Client(transport=httpx2.MockTransport(answer), follow_redirects=False) as client:
        outcome = post(client, TARGET, b"{}")
    assert (outcome.delivered, outcome.status_code) == (False, code)
    assert calls == ["hook.example.org"]


def test_a_target_that_does_not_answer_is_a_failure_with_its_cause() -> None:
    def hang(_request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ReadTimeout("too slow")

    with httpx2.Client(transport=httpx2.MockTransport(hang)) as client:
        assert post(client, TARGET, b"{}") == Outcome(delivered=False, status_code=0, detail="ReadTimeout: too slow")


@pytest.mark.parametrize(
    "targets",
    [
        (Target(name="a", url="ftp://x/"),),
        (Target(name="a", url="http:///no-host"),),
        (Target(name="console", url="http://x/"),),
        (TARGET, TARGET),
    ],
)
def test_a_target_that_cannot_be_called_is_refused(targets: tuple[Target, ...]) -> None:
    with pytest.raises(ConfigError, match="relay target"):
        check_targets(targets)
