"""The loop: read rows, judge every stream, find causes, converge, write.

Its state is the tables: a restart in the middle of an incident goes on with it and tells nobody twice.
"""

from collections.abc import Mapping
from importlib import resources
from threading import Event, Thread

import msgspec
import structlog
from msgspec.structs import replace

from alerts.converge import converge, excuse
from alerts.door import Door
from alerts.facts import PlannedStream, ProbeState
from alerts.incident import Change, Incident
from alerts.judge import expected_slot_ms, judge
from alerts.ledger import read_present, write_changes, write_verdicts
from alerts.liveness import pipeline_silent_since_ms, pipeline_since_ms, probe_states
from alerts.localise import Cause, localise
from alerts.messages import cause_name, summary
from alerts.plan import Plan, read_plan, read_version
from alerts.policy import Policy, load_policy
from alerts.relay import RelayConfig, run_relay
from alerts.situation import Situation
from alerts.verdict import Verdict
from alerts.window import RowWindow
from schemas.clock import Clock, wall_ms
from schemas.errors import ConfigError, StoreTransientError
from streams.store import StoreConfig, open_store

log = structlog.get_logger(__name__)

_DAY_S = 86_400
_PULSE_S = 180  # longer than any limit of silence in a policy's liveness


class EvaluatorConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the evaluator judges, by which policy, and whom it tells."""

    mesh: str
    store: StoreConfig
    policy: str = "default"  # a shipped policy: default or demo
    policy_text: str = ""  # the text of a policy file; it is used instead when not empty
    relay: RelayConfig | None = None  # None: the relay runs elsewhere
    exercise: bool = False  # a drill: marks every row and message
    period_s: float = 1.0
    refresh_s: int = 50  # an unchanged verdict is repeated: readers trust none older than two minutes
    overlap_s: int = 5  # rows become visible a little out of order
    sweep_s: int = 20  # every so often all recent rows are read, whenever they were received
    recent_s: int = 90  # how far back a sweep looks for late revisions
    plan_s: int = 3  # how often a new version of the mesh is looked for
    reload_s: int = 60  # how often the incidents are read again


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """What one round did."""

    verdicts: Mapping[int, Verdict]  # by stream id, as shown
    written: int
    causes: tuple[Cause, ...]
    changes: tuple[Change, ...]


_NOTHING = Round(verdicts={}, written=0, causes=(), changes=())


def shipped_policy(name: str) -> Policy:
    """Return a policy that ships with the software.

    Raises:
        ConfigError: there is none of that name.
    """
    folder = resources.files("alerts") / "policy"
    file = folder / f"{name}.toml"
    if not name.isidentifier() or not file.is_file():
        known = ", ".join(sorted(each.name.removesuffix(".toml") for each in folder.iterdir()))
        raise ConfigError(f"no shipped policy `{name}`; known: {known}; or give the text of a file")
    return load_policy(file.read_text(encoding="utf-8"), source=f"policy {name}")


class Evaluator:
    """Judges round by round. What it keeps is a cache of the tables, filled again whenever it is in doubt."""

    def __init__(self, store: Door, config: EvaluatorConfig, policy: Policy) -> None:
        self._store = store
        self._config = config
        self._policy = policy
        self._plan: Plan | None = None
        self._forget()

    def _forget(self) -> None:
        self._window = RowWindow()
        self._heard_ms: dict[str, int] = {}
        self._verdicts: dict[int, Verdict] = {}  # before any excuse
        self._judged: dict[int, tuple[int, ProbeState]] = {}  # what a verdict rested on beside rows
        self._written: dict[int, tuple[Verdict, int]] = {}  # as shown, and when
        self._incidents: dict[str, Incident] | None = None
        self._due_ms: dict[str, int] = {}

    def round(self, now_ms: int) -> Round:
        """Judge now, converge and write.

        Raises:
            StoreTransientError: the store is away; the next round starts from the tables.
        """
        try:
            return self._round(now_ms)
        except StoreTransientError:
            self._forget()
            raise

    def _round(self, now_ms: int) -> Round:
        plan = self._current_plan(now_ms)
        if plan is None:
            return _NOTHING
        touched = self._read_rows(now_ms)
        probes, silent_since_ms = self._heard(plan, now_ms)
        self._judge(plan, touched, probes, now_ms)
        causes = localise(plan.index, self._verdicts.values())
        changes = self._converge(plan, causes, probes, silent_since_ms, now_ms)
        shown = self._shown(causes)
        written = self._write_verdicts(shown, now_ms)
        return Round(verdicts=shown, written=written, causes=tuple(causes), changes=tuple(changes))

    def _due(self, what: str, every_s: int, now_ms: int) -> bool:
        """Return whether a slower task is due, and take note that it is done; a stepped clock makes it due."""
        if 0 <= self._due_ms.get(what, 0) - now_ms <= every_s * 1000:
            return False
        self._due_ms[what] = now_ms + every_s * 1000
        return True

    def _current_plan(self, now_ms: int) -> Plan | None:
        if self._plan is not None and not self._due("plan", self._config.plan_s, now_ms):
            return self._plan
        version = read_version(self._store, self._config.mesh, now_ms)
        if version is None or (self._plan is not None and self._plan.version == version):
            return self._plan
        self._plan = read_plan(self._store, version)
        self._forget()
        log.info("plan in force", mesh=version.mesh, version=version.version, streams=len(self._plan.streams))
        return self._plan

    def _read_rows(self, now_ms: int) -> set[int]:
        first = self._window.newest_received_ms == 0
        sweep = self._due("sweep", self._config.sweep_s, now_ms)
        back_s = self._policy.liveness.lookback_s if first else self._config.recent_s
        rows = self._store.rows(
            "judge_rows",
            mesh=self._config.mesh,
            from_s=now_ms // 1000 - back_s,
            until_s=now_ms // 1000 + _DAY_S,
            received_from_ms=0 if sweep else self._window.newest_received_ms - self._config.overlap_s * 1000,
        )
        if sweep:
            self._window.forget_before(now_ms - self._policy.liveness.lookback_s * 1000)
        return self._window.add(rows)

    def _heard(self, plan: Plan, now_ms: int) -> tuple[dict[str, ProbeState], int | None]:
        """Return the state of every probe, and since when the whole pipeline is silent, None when it is not."""
        limits = self._policy.liveness
        back_s = 7 * _DAY_S if len(self._heard_ms) == 0 else 2 * _PULSE_S
        for row in self._store.rows("judge_heard", mesh=self._config.mesh, from_s=now_ms // 1000 - back_s):
            self._heard_ms[row["probe_id"]] = max(row["heard_ms"], self._heard_ms.get(row["probe_id"], 0))
        pulse = self._store.rows("judge_pulse", mesh=self._config.mesh, from_s=now_ms // 1000 - _PULSE_S)
        since_ms = pipeline_since_ms((row["second"] for row in pulse), now_ms, limits)
        complete_ms = self._window.complete_slot_ms
        probes = probe_states(plan.streams, self._heard_ms, complete_ms, since_ms, limits, now_ms)
        return probes, pipeline_silent_since_ms(self._heard_ms.values(), since_ms, limits, now_ms)

    def _judge(self, plan: Plan, touched: set[int], probes: Mapping[str, ProbeState], now_ms: int) -> None:
        """Judge the streams whose rows, probe or expected slot changed: the others would get the same verdict."""
        for stream in plan.streams:
            probe = probes[stream.probe_id]
            basis = self._basis(stream, probe, now_ms)
            if stream.stream_id not in touched and self._judged.get(stream.stream_id) == basis:
                continue
            facts = self._window.facts(stream.stream_id)
            self._verdicts[stream.stream_id] = judge(stream, facts, probe, self._policy, now_ms)
            self._judged[stream.stream_id] = basis

    def _basis(self, stream: PlannedStream, probe: ProbeState, now_ms: int) -> tuple[int, ProbeState]:
        expected = expected_slot_ms(stream, self._policy, now_ms)
        ahead = probe.complete_slot_ms >= expected
        still = replace(probe, heard_ms=None, complete_slot_ms=expected if ahead else -1)
        young = now_ms < stream.valid_from_ms + self._policy.liveness.probe_dead_s * 1000
        return expected - int(young), still

    def _converge(
        self,
        plan: Plan,
        causes: list[Cause],
        probes: Mapping[str, ProbeState],
        silent_since_ms: int | None,
        now_ms: int,
    ) -> list[Change]:
        situation = Situation(
            mesh=self._config.mesh,
            causes=causes,
            verdicts=self._verdicts,
            probes=probes,
            probe_streams=plan.probe_streams,
            probe_endpoints=plan.probe_endpoints,
            exercise=self._config.exercise,
            silent_since_ms=silent_since_ms,
        )
        known = self._present(now_ms)
        changes = [_named(change, plan) for change in converge(situation, list(known.values()), self._policy, now_ms)]
        if len(changes) > 0:
            texts = [summary(change.incident, plan.version.timezone) for change in changes]
            write_changes(self._store, changes, texts)
        for change in changes:
            known[change.incident.incident_id] = change.incident
            log.info("incident changed", **_told(change))
        return changes

    def _present(self, now_ms: int) -> dict[str, Incident]:
        if self._incidents is None or self._due("incidents", self._config.reload_s, now_ms):
            since_ms = now_ms - self._policy.incident.flap_window_s * 1000
            present = read_present(self._store, self._config.mesh, since_ms)
            self._incidents = {each.incident_id: each for each in present}
        return self._incidents

    def _shown(self, causes: list[Cause]) -> dict[int, Verdict]:
        reflectors = [cause for cause in causes if cause.kind == "reflector"]
        if len(reflectors) == 0:
            return dict(self._verdicts)
        return {stream_id: excuse(verdict, reflectors) for stream_id, verdict in self._verdicts.items()}

    def _write_verdicts(self, shown: Mapping[int, Verdict], now_ms: int) -> int:
        news = [verdict for verdict in shown.values() if self._is_news(verdict, now_ms)]
        if len(news) > 0:
            write_verdicts(self._store, self._config.mesh, news, now_ms, exercise=self._config.exercise)
        for verdict in news:
            self._written[verdict.stream_id] = (verdict, now_ms)
        return len(news)

    def _is_news(self, verdict: Verdict, now_ms: int) -> bool:
        before = self._written.get(verdict.stream_id)
        if before is None or not 0 <= now_ms - before[1] < self._config.refresh_s * 1000:
            return True
        old = before[0]
        return (old.state, old.reason, old.rule) != (verdict.state, verdict.reason, verdict.rule)


def run_evaluator(config: EvaluatorConfig, *, clock: Clock, stop: Event) -> None:
    """Judge about once a `period_s` until `stop` is set; a store that is away is waited for.

    Raises:
        ConfigError: the policy does not hold.
        StorePermanentError: the store refuses a query or a row.
    """
    policy = _policy(config)
    with open_store(config.store) as store:
        relay = _start_relay(config, clock, stop)
        evaluator = Evaluator(store, config, policy)
        log.info("evaluator started", mesh=config.mesh, policy=policy.id, policy_version=policy.version)
        while not stop.is_set():
            begun_ns = clock.mono_ns()
            try:
                evaluator.round(wall_ms(clock))
            except StoreTransientError as err:
                log.warning("store away, judging later", error=str(err))
            stop.wait(max(0.05, config.period_s - (clock.mono_ns() - begun_ns) / 1e9))
        if relay is not None:
            relay.join(timeout=10.0)


def _policy(config: EvaluatorConfig) -> Policy:
    if config.policy_text != "":
        return load_policy(config.policy_text, source="policy_text")
    return shipped_policy(config.policy)


def _start_relay(config: EvaluatorConfig, clock: Clock, stop: Event) -> Thread | None:
    if config.relay is None:
        return None
    thread = Thread(
        target=run_relay, args=(config.relay,), kwargs={"clock": clock, "stop": stop}, name="relay", daemon=True
    )
    thread.start()
    return thread


def _named(change: Change, plan: Plan) -> Change:
    incident = change.incident
    zh, en = cause_name(incident.cause_kind, incident.cause, plan.names)
    trail = replace(incident.trail, name_zh=zh, name_en=en)
    return replace(change, incident=replace(incident, trail=trail))


def _told(change: Change) -> dict[str, object]:
    incident = change.incident
    return {
        "incident_id": incident.incident_id,
        "state": incident.state,
        "category": incident.category,
        "cause": f"{incident.cause_kind}:{incident.cause}",
        "members": len(incident.members),
        "events": [kind for kind, _ in change.events],
    }
